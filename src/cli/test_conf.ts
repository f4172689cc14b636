/** -t: would a process start with this configuration, and these flags? */
import { adminRefusal } from "../admin/side.ts";
import { adviceFor } from "../config/advice.ts";
import { ConfigError } from "../config/parse.ts";
import type { Clock, Net } from "../net/net.ts";
import { fileReader } from "../topology/file.ts";
import { clashAtStart, type ListenOptions } from "./clash.ts";
import { complaint, type ConfSource, tlsRefusal } from "./conf_file.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

/**
 * Every problem, each with its place, and the verdict in nutcracker's words. All to standard error, as there. Files of
 * servers are read, DNS is not asked. What servers of the command line stand for goes to standard output: a file to go on from.
 */
export async function testConf(
  source: ConfSource,
  io: Io,
  { clock, net }: { readonly clock: Clock; readonly net: Net },
  options: ListenOptions,
): Promise<number> {
  let advice: string[];
  try {
    const config = source.load(clock.wallMs());
    advice = adviceFor(config);
    const refusal = adminRefusal(config, options.admin) ?? tlsRefusal(config, net) ??
      await clashAtStart(config, source.name, options, () => Promise.resolve([]));
    if (refusal !== null) {
      io.err(`ringmaster: cannot start: ${refusal}\n`);
      return EXIT_FAILURE;
    }
    for (const { serversFrom } of config.pools) {
      if (serversFrom === null || !("file" in serversFrom)) continue;
      const wrong = await wrongWith(serversFrom.file);
      if (wrong === null) continue;
      io.err(
        `file ${serversFrom.file}: ${wrong}\nringmaster: configuration file '${source.name}' syntax is invalid\n`,
      );
      return EXIT_FAILURE;
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.err(complaint(error, source));
    return EXIT_FAILURE;
  }
  for (const line of advice) io.err(`ringmaster: ${line}\n`);
  if (source.isFile) io.err(`ringmaster: configuration file '${source.name}' syntax is ok\n`);
  else io.out(source.text());
  return EXIT_OK;
}

/** What is wrong with a file of servers; null: nothing. */
async function wrongWith(file: string): Promise<string | null> {
  try {
    return (await fileReader(file)()).length > 0 ? null : "names no server";
  } catch (error) {
    return (error as Error).message;
  }
}
