/** Which thread this is. */
import { builtin } from "../bytes/builtin.ts";

const threads = builtin<typeof import("node:worker_threads")>("node:worker_threads");

/** Whether this is the thread that the process has begun with. */
export function isMainThread(): boolean {
  return "Bun" in globalThis ? Bun.isMainThread : threads().isMainThread;
}

/** What the thread that has started this one has given it. */
export function workerData(): unknown {
  return threads().workerData;
}
