/** Finding and testing the configuration file. */
import { existsSync } from "node:fs";
import { adviceFor } from "../config/advice.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import type { Config } from "../config/config.ts";
import type { Clock, Net } from "../net/net.ts";
import { fileReader } from "../topology/file.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

/** Looked for in this order where -c names none. */
export const CONF_FILES: readonly string[] = ["conf/ringmaster.yml", "conf/nutcracker.yml"];

/** The file that -c names, or the first default that exists, or the first default: loading it then says what is wrong. */
export function findConfFile(given: string | null): string {
  return given ?? CONF_FILES.find((file) => existsSync(file)) ?? CONF_FILES[0]!;
}

/** Tells of a configuration that cannot be used: every problem, then nutcracker's verdict or, where there is no file, what to do. */
export function complaint(error: ConfigError, file: string): string {
  const verdict = existsSync(file)
    ? `configuration file '${file}' syntax is invalid`
    : "nothing to start from: name a configuration file with -c, or try 'ringmaster demo'";
  return `${error.message}\nringmaster: ${verdict}\n`;
}

/**
 * -t: every problem, each with its place, and the verdict in nutcracker's words. All to standard error, as there. Files of
 * servers are read, DNS is not asked.
 */
export async function testConf(
  file: string,
  io: Io,
  { clock, net }: { readonly clock: Clock; readonly net: Net },
): Promise<number> {
  let advice: string[];
  try {
    const config = loadConfig(file, clock.wallMs());
    advice = adviceFor(config);
    const refusal = tlsRefusal(config, net);
    if (refusal !== null) {
      io.err(`ringmaster: cannot start: ${refusal}\n`);
      return EXIT_FAILURE;
    }
    for (const { serversFrom } of config.pools) {
      if (serversFrom === null || !("file" in serversFrom)) continue;
      const wrong = await wrongWith(serversFrom.file);
      if (wrong === null) continue;
      io.err(
        `file ${serversFrom.file}: ${wrong}\nringmaster: configuration file '${file}' syntax is invalid\n`,
      );
      return EXIT_FAILURE;
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.err(complaint(error, file));
    return EXIT_FAILURE;
  }
  for (const line of advice) io.err(`ringmaster: ${line}\n`);
  io.err(`ringmaster: configuration file '${file}' syntax is ok\n`);
  return EXIT_OK;
}

/** Why there can be no TLS here, if the configuration wants it; null = there can, or it does not. */
export function tlsRefusal({ pools }: Config, net: Net): string | null {
  const pool = pools.find(({ tls, serverTls }) => tls !== null || serverTls !== null);
  if (pool === undefined || net.tls !== undefined) return null;
  const key = pool.tls !== null ? "tls" : "server_tls";
  return `pool '${pool.name}': ${key}: this runtime's TLS is not sound enough under a proxy; use the executable, or Bun`;
}

/** What is wrong with a file of servers; null: nothing. */
async function wrongWith(file: string): Promise<string | null> {
  try {
    return (await fileReader(file)()).length > 0 ? null : "names no server";
  } catch (error) {
    return (error as Error).message;
  }
}
