/** What the kernel says about a process: CPU time, memory, open files. Source: proc(5). */
import { run } from "../lib/process.ts";

/** User and system time of all threads, in microseconds, from utime + stime (steps of a clock tick, usually 10 ms). */
export function cpuUs(pid: number): number {
  // pid (name) state ppid …; utime and stime are fields 14 and 15 and include threads that have ended
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * (1e6 / TICKS_PER_SECOND);
}
const TICKS_PER_SECOND = Number((await run("getconf", ["CLK_TCK"])).stdout) || 100;

/** Resident memory now, in bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

export function openFiles(pid: number): number {
  let count = 0;
  for (const _ of Deno.readDirSync(`/proc/${pid}/fd`)) count++;
  return count;
}

/**
 * A finer stopwatch for CPU time: the scheduler's own nanoseconds summed over all threads that live; falls back to
 * utime + stime where the kernel does not keep them, or when a thread has ended meanwhile.
 */
export class CpuWatch {
  readonly #startTicksUs: number;
  readonly #start: Map<string, number>;

  constructor(private readonly pid: number) {
    this.#startTicksUs = cpuUs(pid);
    this.#start = threadNs(pid);
  }

  /** Microseconds of CPU time since the watch was made. */
  elapsedUs(): number {
    const ticksUs = cpuUs(this.pid) - this.#startTicksUs;
    const now = threadNs(this.pid);
    let ns = 0;
    for (const [thread, value] of now) ns += value - (this.#start.get(thread) ?? 0);
    const ended = [...this.#start.keys()].some((thread) => !now.has(thread));
    return ns === 0 || ended ? ticksUs : ns / 1000;
  }
}

function threadNs(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const entry of Deno.readDirSync(`/proc/${pid}/task`)) {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${entry.name}/schedstat`);
      times.set(entry.name, Number(text.split(" ")[0]));
    }
  } catch {
    // no schedstat here, or a thread ended while we looked
  }
  return times;
}
