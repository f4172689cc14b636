/**
 * The guard that does not depend on the machine's mood: how many system calls a proxy makes per request, by strace.
 *
 * What the number should be, for unpipelined requests: one recv and one send on the client's socket, and little more,
 * because the server side is shared by all clients that were ready in the same turn. nutcracker 0.5.0 needs 4.7.
 */
import { pollProcess } from "../lib/poll.ts";
import { Process } from "../lib/process.ts";
import { need, which } from "../lib/repo.ts";
import { redisBenchmark, type RedisLoad } from "./redis_benchmark.ts";

export interface Syscalls {
  perRequest: number;
  requests: number;
  /** Calls by name, most frequent first. */
  calls: readonly [string, number][];
}

/** Traces a running process while `work` makes `requests` requests through it. `dir` is for strace's output. */
export async function countSyscalls(
  pid: number,
  dir: string,
  requests: number,
  work: () => Promise<unknown>,
): Promise<Syscalls> {
  const output = `${dir}/strace.${pid}.${requests}.txt`;
  const trace = new Process(need("strace"), ["-f", "-c", "-o", output, "-p", String(pid)], {
    output: `${output}.log`,
  });
  try {
    await pollProcess(trace, () => /attached/.test(trace.stderr), `strace to attach to ${pid}`);
    await work();
  } finally {
    // On INT it lets go of the process and writes its table.
    await trace.stop("SIGINT");
  }
  return { ...parseTable(await Deno.readTextFile(output), requests) };
}

/** Reads strace's table: `% time  seconds  usecs/call  calls  [errors]  syscall`. */
export function parseTable(text: string, requests: number): Syscalls {
  const calls: [string, number][] = [];
  for (const match of text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z_0-9]+)$/gm)) {
    if (match[2] !== "total") calls.push([match[2], Number(match[1])]);
  }
  if (calls.length === 0) throw new Error(`cannot read strace's table:\n${text}`);
  calls.sort((a, b) => b[1] - a[1]);
  return { perRequest: calls.reduce((sum, [, count]) => sum + count, 0) / requests, requests, calls };
}

/** System calls per GET of a proxy on `port`, with 50 clients unless told otherwise. */
export function syscallsOfGet(
  proxy: { pid: number; port: number },
  dir: string,
  { requests = 20_000, clients = 50, pipeline = 1 }: Partial<
    Pick<RedisLoad, "requests" | "clients" | "pipeline">
  > = {},
): Promise<Syscalls> {
  const command = ["GET", "key:__rand_int__"];
  const load: RedisLoad = { port: proxy.port, requests, clients, pipeline, keyspace: 1000, command };
  return countSyscalls(proxy.pid, dir, requests, () => redisBenchmark(load));
}

/** "2.31 per request: recvfrom 20123, sendto 20090, …" */
export function showSyscalls({ perRequest, calls }: Syscalls): string {
  return `${perRequest.toFixed(2)} per request: ${
    calls.slice(0, 6).map(([name, count]) => `${name} ${count}`).join(", ")
  }`;
}

/** Whether strace is there and may attach to a process that it did not start. */
export function canTrace(): boolean {
  if (which("strace") === null) return false;
  if (Deno.uid() === 0) return true;
  try {
    return Deno.readTextFileSync("/proc/sys/kernel/yama/ptrace_scope").trim() === "0";
  } catch {
    return true;
  }
}
