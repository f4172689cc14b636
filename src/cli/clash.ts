/**
 * Two listeners of one process on one address, as far as only the start can tell: host names have been looked up, and flags have
 * said where the statistics are. What the file alone tells, its parser has refused.
 */
import type { Config } from "../config/config.ts";
import { findClashes, namesToResolve } from "../config/listens.ts";
import type { Address } from "../net/net.ts";
import type { RunOptions } from "./flags.ts";

/** What flags say of addresses. */
export type ListenOptions = Pick<RunOptions, "statsAddress" | "admin"> & {
  /** null: nobody listens for statistics. */
  readonly statsPort: number | null;
};

interface Listening {
  readonly what: string;
  readonly address: Address;
}

/**
 * What is wrong, or null.
 * @param file the configuration's, for the message
 * @param resolve the addresses of a host name; none if it has none
 */
export async function clashAtStart(
  config: Config,
  file: string,
  options: ListenOptions,
  resolve: (host: string) => Promise<readonly string[]>,
): Promise<string | null> {
  const listenings = listeningsOf(config, file, options);
  const names = namesToResolve(listenings.map((each) => each.address));
  const hosts = new Map(await Promise.all(names.map(async (name) => [name, await resolve(name)] as const)));
  const clashes = findClashes(listenings, (each) => each.address, hosts);
  if (clashes.length === 0) return null;
  return clashes.map(({ first, second }) => `${second.what} and ${first.what} are one address`).join("\n") +
    "; each needs one of its own";
}

function listeningsOf({ pools, process }: Config, file: string, options: ListenOptions): Listening[] {
  const listenings: Listening[] = pools
    .map(({ name, listen, listenText, listenLine }) => ({
      what: `listen ${JSON.stringify(listenText)} of pool ${JSON.stringify(name)} (${file}:${listenLine})`,
      address: listen,
      line: listenLine,
    }))
    .sort((a, b) => a.line - b.line);
  const { statsAddress: host, statsPort: port } = options;
  if (port !== null) {
    listenings.push({ what: `the statistics address ${host}:${port} (-a and -s)`, address: { host, port } });
  }
  const admin = options.admin ?? { address: process.admin, text: process.adminText };
  if (admin.address !== null) listenings.push({ what: `admin ${admin.text}`, address: admin.address });
  return listenings;
}
