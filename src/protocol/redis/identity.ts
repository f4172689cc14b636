/**
 * What a server is (its program, version, role and modules), and what a pool of several says that it is.
 *
 *   Valkey 9.1.2, Redis 8.6.3   ──▶  HELLO: server valkey, version 9.1.2     INFO: redis_version:7.2.4, valkey_version:9.1.2
 *
 * That of the server that can do the least: what it can do, all can. HELLO and INFO both choose by `leastOf`, so they tell one story.
 */
import { latin1 } from "../../bytes/ascii.ts";
import { REDIS_VERSION } from "../../stats/version.ts";
import { bulksOf, isError } from "./reply.ts";

export interface Identity {
  /** "redis", "valkey", or another of the kind. */
  readonly server: string;
  /** Its own, "9.1.2". */
  readonly version: string;
  /** "master" or "replica", as HELLO says it. */
  readonly role: string;
  readonly modules: readonly Module[];
}

export interface Module {
  readonly name: string;
  readonly version: number;
  /** With the arguments it was loaded with; null where HELLO does not tell them (before Redis 7.0). */
  readonly path: string | null;
  readonly args: readonly string[];
}

/** Of a pool none of whose servers has been heard: clients switch features by it. */
export const UNKNOWN: Identity = { server: "redis", version: REDIS_VERSION, role: "master", modules: [] };

/** What every Valkey says in its `redis_version`. */
const VALKEY_AS_REDIS = "7.2.4";

/** Its `redis_version` in INFO. */
export function redisVersion({ server, version }: Identity): string {
  return server === "valkey" ? VALKEY_AS_REDIS : version;
}

const MODULE =
  /\*[48]\r\n\$4\r\nname\r\n\$\d+\r\n([^\r\n]*)\r\n\$3\r\nver\r\n:(\d+)\r\n(?:\$4\r\npath\r\n\$\d+\r\n([^\r\n]*)\r\n\$4\r\nargs\r\n\*\d+\r\n((?:\$\d+\r\n[^\r\n]*\r\n)*))?/g;

/** Reads the whole reply to HELLO 2; null if it is an error, or nothing of the kind. */
export function identityFromHello(bytes: Uint8Array, start: number, end: number): Identity | null {
  if (isError(bytes, start)) return null;
  const texts = bulksOf(bytes, start, end);
  const after = (name: string) => texts[texts.indexOf(name) + 1];
  if (texts[0] !== "server" || texts[2] !== "version") return null;
  const modules = [...latin1(bytes, start, end).matchAll(MODULE)]
    .map(([, name, version, path = null, args = ""]) => ({
      name: name!,
      version: Number(version),
      path,
      args: [...args.matchAll(/\$\d+\r\n([^\r\n]*)\r\n/g)].map((arg) => arg[1]!),
    }));
  return { server: texts[1]!, version: texts[3]!, role: after("role") ?? "master", modules };
}

/** Reads the whole reply to INFO, of a server that does not know HELLO (before Redis 6). */
export function identityFromInfo(bytes: Uint8Array, start: number, end: number): Identity | null {
  if (isError(bytes, start)) return null;
  const [text = ""] = bulksOf(bytes, start, end);
  const field = (name: string) => new RegExp(`^${name}:(.*)\r$`, "m").exec(text)?.[1];
  const version = field("redis_version");
  return version === undefined
    ? null
    : { server: "redis", version, role: field("role") === "slave" ? "replica" : "master", modules: [] };
}

/** @param known of the servers that have been heard, of `servers` that the pool has */
export function poolIdentity(known: readonly Identity[], servers: number): Identity {
  if (known.length === 0) return UNKNOWN;
  const least = known[leastOf(known.map((one) => ({ redis: redisVersion(one), own: one.version })))]!;
  return {
    ...least,
    // A pool is one primary to its clients, whatever its servers are to each other.
    role: servers === 1 ? least.role : "master",
    modules: least.modules.filter(({ name }) =>
      known.every(({ modules }) => modules.some((other) => other.name === name))
    ),
  };
}

/** The place of the lowest versions; 0 if nobody says any. @param versions `own`: where every version has the same `redis` */
export function leastOf(
  versions: readonly ({ readonly redis: string; readonly own: string } | null)[],
): number {
  let least = 0;
  let lowest = [Infinity, Infinity];
  versions.forEach((version, i) => {
    if (version === null) return;
    const ranks = [rank(version.redis), rank(version.own)];
    if (ranks[0]! > lowest[0]! || (ranks[0] === lowest[0] && ranks[1]! >= lowest[1]!)) return;
    lowest = ranks;
    least = i;
  });
  return least;
}

function rank(version: string): number {
  const [major, minor, patch] = version.split(".").map((part) => Number.parseInt(part));
  return (major || 0) * 1e6 + (minor || 0) * 1e3 + (patch || 0);
}
