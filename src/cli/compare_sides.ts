/** Who is compared with whom: files and addresses become pools, proxies and servers that can be read. */
import { existsSync } from "node:fs";
import { MemcachedPeer } from "../compare/memcached_peer.ts";
import type { Peer } from "../compare/peer.ts";
import { RedisPeer } from "../compare/redis_peer.ts";
import type { Config, PoolConfig, ServerTlsConfig } from "../config/config.ts";
import { ConfigError, quoted } from "../config/config_error.ts";
import { firstLine, readConfigFile } from "../config/file.ts";
import { loadConfig } from "../config/parse.ts";
import { isAnyHost, readListen } from "../config/values.ts";
import type { Log } from "../net/log.ts";
import type { Address, Clock, Net } from "../net/net.ts";
import { towards } from "../net/tls.ts";
import { type LinkOptions, serverAuth } from "../topology/redis_link.ts";
import type { Sources } from "../topology/sources.ts";
import type { CompareOptions } from "./flags.ts";
import { FileError } from "./key_lines.ts";
import { UsageError } from "./usage_error.ts";

export const LABELS = ["OLD", "NEW"] as const;
const SCHEMES: Readonly<Record<string, { readonly redis: boolean; readonly tls: boolean }>> = {
  redis: { redis: true, tls: false },
  rediss: { redis: true, tls: true },
  memcached: { redis: false, tls: false },
  memcacheds: { redis: false, tls: true },
};
const SILENT: Log = { level: -1, write() {} };

/** What a word of the command line stands for. */
export type Named =
  | { readonly text: string; readonly config: Config }
  | { readonly text: string; readonly address: Address; readonly redis: boolean; readonly tls: boolean };

/** @throws UsageError, ConfigError, SourceError (as a rejection) */
export async function named(text: string, sources: Sources): Promise<Named> {
  const url = /^([a-z]+):\/\/(.*)$/.exec(text);
  if (url === null) {
    if (!existsSync(text) && /^[^/\s]+:[0-9]+$/.test(text)) {
      throw new UsageError(`found ${quoted(text)}, expected a file, or an address as redis://${text}`);
    }
    return { text, config: await sources.fill(loadConfig(text)) };
  }
  const scheme = SCHEMES[url[1]!];
  const read = readListen(url[2]!.replace(/\/$/, ""));
  if (scheme === undefined || !("value" in read) || url[2]!.includes("@")) {
    const schemes = Object.keys(SCHEMES).map((each) => `${each}://`).join(", ");
    throw new UsageError(
      `found ${quoted(text)}, expected a file, or HOST:PORT after one of ${schemes}, without a password`,
    );
  }
  return { text, address: read.value.address, ...scheme };
}

/** One pool, or one address, on each side. */
export interface Pair {
  readonly name: string;
  readonly redis: boolean;
  readonly sides: readonly [PairSide, PairSide];
}

export interface PairSide {
  readonly label: string;
  readonly named: Named;
  /** null: only an address is known. */
  readonly pool: PoolConfig | null;
}

/** Pools that only one file has. */
export interface Pairs {
  readonly pairs: readonly Pair[];
  /** Sentences. */
  readonly alone: readonly string[];
}

/** @throws UsageError */
export function pairsOf(sides: readonly [Named, Named], pool: string | null): Pairs {
  const known = sides.map((side) => "config" in side ? side.config.pools : null);
  const names = [...new Set(known.flatMap((pools) => pools?.map(({ name }) => name) ?? []))];
  if (pool !== null && !names.includes(pool)) {
    const expected = names.length === 0 ? "no pool, as neither is a file" : `one of ${names.join(", ")}`;
    throw new UsageError(`option --pool: found ${quoted(pool)}, expected ${expected}`);
  }
  const wanted = pool === null ? names : [pool];
  if (known.some((pools) => pools === null) && wanted.length > 1) {
    throw new UsageError(`an address is one pool: expected --pool, one of ${wanted.join(", ")}`);
  }
  const pairs: Pair[] = [];
  const alone: string[] = [];
  for (const name of wanted.length > 0 ? wanted : ["(address)"]) {
    const [old, young] = sides.map((side, i) => ({
      label: LABELS[i]!,
      named: side,
      pool: known[i]?.find((each) => each.name === name) ?? null,
    })) as [PairSide, PairSide];
    const missing = [old, young].find(({ pool, named }) => pool === null && "config" in named);
    if (missing !== undefined) {
      alone.push(`pool ${name}: ${missing.label} (${missing.named.text}) has none of this name`);
      continue;
    }
    const [a, b] = [isRedis(old), isRedis(young)];
    if (a !== b) {
      const word = (redis: boolean) => redis ? "Redis" : "memcached";
      alone.push(`pool ${name}: OLD speaks ${word(a)}, NEW ${word(b)}`);
    } else pairs.push({ name, redis: a, sides: [old, young] });
  }
  return { pairs, alone };
}

const isRedis = ({ named, pool }: PairSide): boolean => "redis" in named ? named.redis : pool!.redis;

export interface PeersAround {
  readonly net: Net;
  readonly clock: Clock;
}

/** Makes peers, each server once, whoever names it. */
export class Peers {
  private readonly servers = new Map<string, Peer>();
  private readonly all: Peer[] = [];
  private readonly password: string | null;

  /** @throws FileError */
  constructor(private readonly options: CompareOptions, private readonly around: PeersAround) {
    this.password = options.passwordFile === null ? null : passwordIn(options.passwordFile);
  }

  /** @throws UsageError: it is not said where, or how */
  proxy({ label, named, pool }: PairSide, redis: boolean): Peer {
    const given = this.options.at[LABELS.indexOf(label as typeof LABELS[number])] ?? null;
    const address = reachable(given ?? ("address" in named ? named.address : pool!.listen));
    const text = addressText(address);
    const speaksTls = "tls" in named ? named.tls : pool!.tls !== null;
    const net = speaksTls ? this.secure(label, text) : this.around.net;
    const around = { ...this.around, net };
    const place = { address, text, auth: this.authOf(pool) };
    return this.made(redis ? new RedisPeer(place, 0, around) : new MemcachedPeer(place, false, around));
  }

  /** A server of a pool; null: it has no address of its own. */
  server(pool: PoolConfig, at: number, database: number): Peer | null {
    const { address, addressText } = pool.servers[at]!;
    if (address === null) return null;
    const auth = serverAuth(pool);
    const key = JSON.stringify([address, auth, database, pool.serverTls, pool.redis]);
    const known = this.servers.get(key);
    if (known !== undefined) return known;
    const around = { ...this.around, net: towards(this.around.net, pool.serverTls, SILENT) };
    const place = { address, text: addressText, auth };
    const peer = this.made(
      pool.redis ? new RedisPeer(place, database, around) : new MemcachedPeer(place, true, around),
    );
    this.servers.set(key, peer);
    return peer;
  }

  close(): void {
    for (const peer of this.all) peer.close();
  }

  private made<T extends Peer>(peer: T): T {
    this.all.push(peer);
    return peer;
  }

  /** As a client of the proxy. Who asks for nothing is told nothing: twemproxy hangs up on a user's name, and on a password it has no use for. */
  private authOf(pool: PoolConfig | null): LinkOptions["auth"] {
    const { password, options: { user } } = this;
    const given = password === null ? null : { user, password };
    if (pool === null) return given;
    const own = pool.redisAuth === null ? null : { user: null, password: decoder.decode(pool.redisAuth) };
    if (pool.users !== null) return given ?? own;
    return own !== null && user === null ? given ?? own : own;
  }

  private secure(label: string, text: string): Net {
    const { net } = this.around;
    const { ca } = this.options;
    if (net.tls === undefined) {
      throw new UsageError(`${label} at ${text} speaks TLS, which this runtime has not: use the executable`);
    }
    if (ca === null) {
      throw new UsageError(`${label} at ${text} speaks TLS: expected --ca, who signs its certificate`);
    }
    if (!existsSync(ca)) throw new FileError(`option --ca: ${ca}: no such file`);
    return towards(net, { ...TLS, ca }, SILENT);
  }
}

/** The name is whatever it is: addresses in files are seldom names that certificates have. */
const TLS: ServerTlsConfig = {
  ca: null,
  name: null,
  certificate: null,
  key: null,
  verify: "signature",
  minVersion: "1.2",
  maxVersion: "1.3",
};

const decoder = new TextDecoder();

function passwordIn(file: string): string {
  let found: string;
  try {
    const line = firstLine(readConfigFile(file));
    if (line !== null && line !== "") return line;
    found = `a first line that is ${line === null ? "not UTF-8" : "empty"}`;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    found = error.problems[0]!.found;
  }
  throw new FileError(
    `option --password-file: ${
      quoted(file)
    }: found ${found}, expected a file whose first line is the password`,
  );
}

/** Who listens on every address is found on this machine. */
function reachable(address: Address): Address {
  if (!isAnyHost(address) || "path" in address) return address;
  return { ...address, host: address.host === "::" ? "::1" : "127.0.0.1" };
}

function addressText(address: Address): string {
  if ("path" in address) return address.path;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Are they read by the same way, so that nothing can differ? */
export const samePlace = (a: Peer, b: Peer): boolean => a.place.text === b.place.text;
