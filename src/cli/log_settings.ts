/** Where the log goes, how much of it, and in which form. */
import type { Config } from "../config/config.ts";
import { type RunOptions, VERBOSE_DEFAULT } from "./flags.ts";

/** Flags win over the file. */
export function logSettings(options: RunOptions, config: Config) {
  const { level, format, output } = config.process.log;
  return {
    path: options.output ?? output,
    level: options.verbose ?? level ?? VERBOSE_DEFAULT,
    json: (options.logFormat ?? format) === "json",
  };
}
