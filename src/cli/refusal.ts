/** Why this process cannot run with a configuration that is right by itself: what flags, the system and other files say. */
import { adminRefusal } from "../admin/side.ts";
import type { Config } from "../config/config.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AccessLog } from "../service/access_log.ts";
import { clashAtStart } from "./clash.ts";
import { tlsRefusal } from "./conf_file.ts";
import type { RunOptions } from "./flags.ts";

/**
 * For people; null: it can.
 * @param file the configuration's name
 */
export async function refusal(
  config: Config,
  file: string,
  options: RunOptions,
  runtime: Runtime,
): Promise<string | null> {
  return adminRefusal(config, options.admin) ?? AccessLog.refusal(config.process) ??
    tlsRefusal(config, runtime.net) ?? await clashAtStart(config, file, options, runtime.resolve);
}
