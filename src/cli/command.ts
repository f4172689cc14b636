/** The main thread's part: what the command line asks for, and of the program what that takes. */
import { useEnvironment } from "../config/secrets.ts";
import { type Flags, parseFlags, subcommandOf } from "./flags.ts";
import { EXIT_USAGE, type Io } from "./io.ts";
import { UsageError, usageText } from "./usage_error.ts";

/**
 * Resolves with the exit code.
 * @param argv without the program
 * @param program URL of the module that starts the program, and its other threads
 */
export async function command(argv: readonly string[], program: string, io: Io): Promise<number> {
  useEnvironment(process.env);
  let flags: Flags;
  try {
    flags = parseFlags(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.err(usageText(error.message, subcommandOf(argv)));
    return EXIT_USAGE;
  }
  if (flags.command !== "run") {
    const { tool } = await import("./tools.ts");
    return await tool(flags, program, io);
  }
  const { serve } = await import("./serve.ts");
  return await serve(flags.options, argv, program, io);
}
