/**
 * Ringmaster: composes arguments, configuration, runtime and proxy. What a thread does decides what it loads: a worker has no command
 * line, the proxy none of the tools (docs/decisions/53-first-request.md).
 *
 * Exit codes: 0 success and clean stop, 1 configuration or start-up failure, 2 wrong command line.
 */
import { Buffer } from "node:buffer";
import { readFileSync, writeSync } from "node:fs";
import type { Io } from "./src/cli/io.ts";
import { reasonOf } from "./src/bytes/os_error.ts";
import { isMainThread, started } from "./src/runtime/threads.ts";
import { isErrand } from "./src/service/errand_order.ts";

const io: Io = {
  out: (data) => orEnd("write to standard output", () => writeAll(1, bytesOf(data))),
  err: (text) => {
    try {
      writeAll(2, bytesOf(text));
    } catch {
      // Nobody is there to hear it.
    }
  },
  stdin: () => orEnd("read standard input", () => readFileSync(0)),
};

function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? Buffer.from(data) : data;
}

/** Half an answer is none: a full disk must not look like success, nor like the difference that compare looks for. */
function orEnd<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    io.err(`ringmaster: cannot ${what}: ${reasonOf(error)}\n`);
    return process.exit(process.argv[2] === "compare" ? 2 : 1);
  }
}

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
