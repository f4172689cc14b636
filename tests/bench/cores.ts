/**
 * Who runs where while measuring with `--pin`.
 *
 *   cores 0 … n-2   the load, the servers, the benchmark itself
 *   core  n-1       the subject being measured, alone
 *
 * Left to the system, four busy processes on few cores settle in one of several ways, each for seconds: the same program then
 * takes 6 or 10 µs a request, and seven pairs tell little. With a core to itself the ratios of pairs spread by a few percent.
 * What limits requests/s is the load and the servers then, so it is CPU time that is to be compared.
 */
import { run } from "../lib/process.ts";
import { which } from "../lib/repo.ts";

export interface Cores {
  /** Lists as taskset takes them. */
  subject: string;
  others: string;
}

/** Null where there is only one core, or no taskset (util-linux). */
export function chooseCores(): Cores | null {
  if (which("taskset") === null) return null;
  const cores = allowedCores(Deno.readTextFileSync("/proc/self/status"));
  const subject = cores.pop();
  return cores.length === 0 ? null : { subject: String(subject), others: cores.join(",") };
}

/** The cores this process may use: a container may have only some, e.g. "Cpus_allowed_list: 2-3,6". */
export function allowedCores(status: string): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "";
  return list.split(",").filter((range) => range !== "").flatMap((range) => {
    const [first, last] = range.split("-").map(Number);
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, i) => first! + i);
  });
}

/** Moves a process and all its threads; what it starts later inherits it. */
export async function pin(pid: number, cores: string): Promise<void> {
  const args = ["--all-tasks", "--cpu-list", "--pid", cores, String(pid)];
  const { code, stderr } = await run("taskset", args);
  if (code !== 0) throw new Error(`taskset ${args.join(" ")}: ${stderr.trim()}`);
}
