/** What a proxy is made of in this process, on whichever thread it runs. */
import { readFileSync } from "node:fs";
import { hostname, machine, release, totalmem, type as osType } from "node:os";
import type { Config } from "../config/config.ts";
import type { Log } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import type { ProxyOptions } from "./proxy.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** The process's randomness: what draws waits and servers, nothing secret. */
export const random: () => number = Math.random;

/** Resolves when all that is ready has had its turn. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(0, resolve));
}

/** So long work is done in one turn, ms, where it may be done in several. */
const TURN_MS = 1;

/**
 * Does work in steps (ring/steps.ts) a while a turn, from the next one on. By the clock, unlike Steps of turns.ts: a reload is rare, so
 * its code is cold, and takes ten times what it says and more.
 */
export async function inTurns<T>(steps: Generator<number, T>, clock: Clock): Promise<T> {
  for (;;) {
    await nextTurn(clock);
    const endMs = clock.nowMs() + TURN_MS;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (clock.nowMs() < endMs);
  }
}

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
    inTurns: (steps) => inTurns(steps, runtime.clock),
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
