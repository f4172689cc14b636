/** What a proxy is made of in this process, on whichever thread it runs. */
import { readFileSync } from "node:fs";
import { hostname, machine, release, totalmem, type as osType } from "node:os";
import type { Config } from "../config/config.ts";
import type { Log } from "../net/log.ts";
import type { ProxyOptions } from "./proxy.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** The process's randomness: what draws waits and servers, nothing secret. */
export const random: () => number = Math.random;

export function proxyOptions(
  config: Config,
  runtime: Pick<Runtime, "net" | "clock" | "collect">,
  log: Log,
): ProxyOptions {
  return {
    config,
    net: runtime.net,
    clock: runtime.clock,
    random,
    log,
    system: {
      hostName: hostname(),
      processId: process.pid,
      os: `${osType()} ${release()} ${machine()}`,
      filesMax: filesMax(),
      memoryBytes: () => process.memoryUsage().rss,
      memoryTotal: memoryTotal(),
      collect: runtime.collect,
    },
  };
}

/** What the machine has, or the container if that is less; bytes. */
export function memoryTotal(): number {
  let total = totalmem();
  for (const file of ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]) {
    try {
      const limit = Number(readFileSync(file, "utf8"));
      if (limit > 0 && limit < total) total = limit;
    } catch {
      // no such kind of control group
    }
  }
  return total;
}

/** The soft limit of open files; 0 if the system does not say. */
export function filesMax(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return line === null ? 0 : Number(line[1]);
  } catch {
    return 0;
  }
}
