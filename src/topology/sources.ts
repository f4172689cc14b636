/**
 * The sources of all pools: which there are, what each has said last, and what of it is in force.
 *
 *   Config ──fill──► asks those that are new ──► Config with servers ──► in force: keep ──► watched from then on
 *   a source says something else ──► changed(key) ──► withServers(Config) ──► in force: take
 *
 * One source for all pools with the same `servers_from`. To add a kind: its keys in config/schema.ts, a file that asks, and
 * a line in `sourceOf`.
 */
import type { Config, PoolConfig } from "../config/config.ts";
import { type Log, NOTICE } from "../net/log.ts";
import type { Clock, Net } from "../net/net.ts";
import { towards } from "../net/tls.ts";
import { ClusterSource } from "./cluster.ts";
import { askDns, type Dns } from "./dns.ts";
import { fileReader } from "./file.ts";
import { serverAuth } from "./redis_link.ts";
import { AskedSource, type Servers, SourceError, type TopologySource } from "./source.ts";
import type { Sign } from "./state.ts";

export interface SourceAround {
  readonly net: Net;
  readonly clock: Clock;
  readonly dns: Dns;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Workers say what there is to say of certificates. */
const SILENT: Log = { level: -1, write() {} };

/** How often a file is looked at, ms. */
const FILE_MS = 1000;

/** @param pool has a `serversFrom` */
export function sourceOf(pool: PoolConfig, around: SourceAround): TopologySource {
  const { clock, dns } = around;
  const from = pool.serversFrom!;
  if ("seeds" in from) {
    const net = towards(around.net, pool.serverTls, SILENT);
    return new ClusterSource(from, serverAuth(pool), { ...around, net });
  }
  return "file" in from
    ? new AskedSource(`file ${from.file}`, fileReader(from.file), FILE_MS, clock)
    : new AskedSource(`dns ${from.dns}`, () => askDns(from, dns), from.intervalMs, clock);
}

interface Running {
  readonly source: TopologySource;
  /** What the configuration in force has, and what the source has said since. */
  taken: Servers;
  latest: Servers;
  watched: boolean;
}

export class Sources {
  private readonly running = new Map<string, Running>();
  /** Sources of the pools in force, by the pools' names. */
  private readonly inForce = new Map<string, string>();
  private watching: { readonly log: Log; readonly changed: (key: string) => void } | null = null;

  constructor(private readonly around: SourceAround) {}

  /**
   * `config` with the servers of all pools. Rejects with a SourceError; `keep` has to follow in either case. A pool starts with the nodes
   * that the file names although none of them answers; one that knows its cluster does not forget it for such.
   */
  async fill(config: Config): Promise<Config> {
    const pools = new Map(config.pools.map((pool) => [keyOf(pool), pool]));
    const asked = await Promise.allSettled([...pools].map(async ([key, pool]) => {
      if (key === null || this.running.has(key)) return;
      const source = sourceOf(pool, this.around);
      const servers = await source.first();
      if (source.silence && this.knows(pool.name)) {
        source.stop();
        throw new SourceError(`pool ${pool.name}: ${source.text}: ${source.silence}`);
      }
      this.running.set(key, { source, taken: servers, latest: servers, watched: false });
    }));
    for (const each of asked) if (each.status === "rejected") throw each.reason;
    return this.with(config, (_, { taken }) => taken);
  }

  /** This is in force: what it does not name stops, what it names is watched. */
  keep(config: Config): void {
    const keys = new Set(config.pools.map(keyOf));
    this.inForce.clear();
    for (const pool of config.pools) {
      const key = keyOf(pool);
      if (key !== null) this.inForce.set(pool.name, key);
    }
    for (const [key, running] of this.running) {
      if (keys.has(key)) this.look(key, running);
      else {
        running.source.stop();
        this.running.delete(key);
      }
    }
  }

  /** From now on. @param changed the source of this key says something else */
  watch(log: Log, changed: (key: string) => void): void {
    this.watching = { log, changed };
    for (const [key, running] of this.running) this.look(key, running);
  }

  /** Of those that have not said anything yet why, for people. */
  silent(): string[] {
    return [...this.running.values()].flatMap(({ source: { silence, text } }) =>
      silence ? [`${text}: ${silence}`] : []
    );
  }

  /** Workers have seen this of a server. */
  hint(pool: PoolConfig, server: string, sign: Sign): void {
    const key = keyOf(pool);
    if (key !== null) this.running.get(key)?.source.hint?.(server, sign);
  }

  /** What this source has said last, and its name for people; null: there is no such source any more. */
  latestOf(key: string): { readonly text: string; readonly servers: Servers } | null {
    const running = this.running.get(key);
    return running === undefined ? null : { text: running.source.text, servers: running.latest };
  }

  /** `config` as it is if these servers of a source are taken. */
  withServers(config: Config, key: string, servers: Servers): Config {
    return this.with(config, (each, { taken }) => each === key ? servers : taken);
  }

  /** They are in force. */
  take(key: string, servers: Servers): void {
    const running = this.running.get(key);
    if (running !== undefined) running.taken = servers;
  }

  /** Those whose latest word is not in force. */
  waiting(): string[] {
    return [...this.running].filter(([, { taken, latest }]) => taken !== latest).map(([key]) => key);
  }

  stop(): void {
    this.watching = null;
    for (const { source } of this.running.values()) source.stop();
    this.running.clear();
  }

  /** Does a pool of this name have servers whose slots are known? */
  private knows(pool: string): boolean {
    const running = this.running.get(this.inForce.get(pool) ?? "");
    return running !== undefined && running.taken.some(({ slots }) => (slots ?? "") !== "");
  }

  private look(key: string, running: Running): void {
    if (this.watching === null || running.watched) return;
    running.watched = true;
    const { log, changed } = this.watching;
    const { source, latest } = running;
    log.write(NOTICE, `${source.text}: ${latest.length === 1 ? "one server" : `${latest.length} servers`}`);
    source.watch(log, (servers) => {
      running.latest = servers;
      changed(key);
    });
  }

  private with(config: Config, serversOf: (key: string, running: Running) => Servers): Config {
    const pools = config.pools.map((pool) => {
      const key = keyOf(pool);
      const running = key === null ? undefined : this.running.get(key);
      if (running === undefined) return pool;
      const servers = serversOf(key!, running);
      return servers === pool.servers ? pool : { ...pool, servers };
    });
    return { ...config, pools };
  }
}

/** The same for pools that ask the same; null: the file names the servers. Not to be shown: it may have a password. */
function keyOf(pool: PoolConfig): string | null {
  const { serversFrom } = pool;
  if (serversFrom === null) return null;
  return JSON.stringify(
    "seeds" in serversFrom ? [serversFrom, serverAuth(pool), pool.serverTls] : serversFrom,
  );
}
