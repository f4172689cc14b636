/**
 * How many cores this process may use: what the scheduler grants (affinity), and what its control group may consume, for
 * a container on a machine of 64 cores may have a quota of two.
 *
 * A part of a core counts as one. Source: sched_setaffinity(2) by node:os on both runtimes; cpu.max of the kernel's
 * cgroup-v2.rst, looked for in the group and in all those above it; cpu.cfs_quota_us of cgroup v1 at the mount's root.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** ≥ 1 */
export function coresAvailable(granted: number = availableParallelism(), read = readOrNull): number {
  return Math.max(1, Math.min(granted, Math.ceil(quota(read))));
}

/** Cores' worth of time; Infinity if there is no limit or no control group. */
function quota(read: (path: string) => string | null): number {
  let least = Infinity;
  const group = /^0::(\/.*)$/m.exec(read("/proc/self/cgroup") ?? "")?.[1] ?? "/";
  for (let path = group;; path = path.slice(0, path.lastIndexOf("/"))) {
    const [time, period] = (read(`/sys/fs/cgroup${path.replace(/\/$/, "")}/cpu.max`) ?? "").trim().split(" ");
    least = Math.min(least, ratio(time, period));
    if (path === "" || path === "/") break;
  }
  const old = "/sys/fs/cgroup/cpu/cpu.cfs_";
  return Math.min(least, ratio(read(`${old}quota_us`)?.trim(), read(`${old}period_us`)?.trim()));
}

/** Infinity for "max", for -1 and for what is not there. */
function ratio(time: string | undefined, period: string | undefined): number {
  const cores = Number(time) / Number(period);
  return cores > 0 ? cores : Infinity;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
