/**
 * Ringmaster: composes arguments, configuration, runtime and proxy. What a thread does decides what it loads: a worker has no command
 * line, the proxy none of the tools (docs/decisions/53-first-request.md).
 *
 * Exit codes: 0 success and clean stop, 1 configuration or start-up failure, 2 wrong command line.
 */
import { Buffer } from "node:buffer";
import { readFileSync, writeSync } from "node:fs";
import type { Io } from "./src/cli/io.ts";
import { isMainThread, started } from "./src/runtime/threads.ts";
import { isErrand } from "./src/service/errand_order.ts";

const io: Io = {
  out: (data) => writeAll(1, typeof data === "string" ? Buffer.from(data) : data),
  err: (text) => writeAll(2, Buffer.from(text)),
  stdin: () => readFileSync(0),
};

/** A pipe may take less than it is given, or nothing for the moment. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
    }
  }
}

// Other threads are this program again (src/service/workers.ts, errands.ts).
if (isMainThread()) {
  const { command } = await import("./src/cli/command.ts");
  process.exit(await command(process.argv.slice(2), import.meta.url, io));
} else {
  started(async (starter) => {
    if (isErrand(starter.given)) {
      const { doErrand } = await import("./src/service/errands.ts");
      return doErrand(starter, starter.given);
    }
    const { work } = await import("./src/service/worker.ts");
    const { currentRuntime } = await import("./src/runtime/runtime.ts");
    work(currentRuntime(), starter);
  });
}
