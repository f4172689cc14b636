/** The proxy as the command line asks for it, on the runtime that there is. */
import { currentRuntime } from "../runtime/runtime.ts";
import { sourceOf } from "./conf_file.ts";
import type { RunOptions } from "./flags.ts";
import type { Io } from "./io.ts";
import { run } from "./run.ts";

/** As `run`. */
export function serve(
  options: RunOptions,
  argv: readonly string[],
  program: string,
  io: Io,
): Promise<number> {
  return run(sourceOf(options), options, argv, currentRuntime(), program, io);
}
