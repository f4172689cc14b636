/**
 * `ringmaster compare OLD NEW`: sampled reads of both beside each other, and a verdict.
 *
 *   two files, or addresses ──► pools in pairs ──► keys (scan.ts, or a file) ──► Comparison ──► report, exit code
 */
import { BATCH, CannotCompare, Comparison, type KeyAt } from "../compare/comparison.ts";
import { placingDifferences } from "../compare/cause.ts";
import { Pace } from "../compare/pace.ts";
import type { Peer } from "../compare/peer.ts";
import {
  type Load,
  type PoolReport,
  reportJson,
  reportText,
  type Verdict,
  verdictOf,
} from "../compare/report.ts";
import { type Scanned, scanned } from "../compare/scan.ts";
import { Side } from "../compare/side.ts";
import { Tally } from "../compare/tally.ts";
import type { PoolConfig } from "../config/config.ts";
import { quoted } from "../config/config_error.ts";
import { encode, latin1 } from "../bytes/ascii.ts";
import { unhex } from "../bytes/hex.ts";
import { ConfigError } from "../config/parse.ts";
import { random } from "../service/proxy_options.ts";
import { SourceError } from "../topology/source.ts";
import { type SourceAround, Sources } from "../topology/sources.ts";
import { tlsRefusal } from "./conf_file.ts";
import { LABELS, type Named, named, type Pair, pairsOf, Peers, samePlace } from "./compare_sides.ts";
import type { CompareOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, type Io } from "./io.ts";
import { FileError, linesOf } from "./key_lines.ts";
import { Progress } from "./progress.ts";
import { record, replay } from "./replay.ts";
import { UsageError } from "./usage_error.ts";

/** Nothing is known: neither that there is a difference, nor that there is none. */
const EXIT_UNKNOWN = EXIT_USAGE;
const EXIT_OF: Readonly<Record<Verdict, number>> = {
  "no difference": EXIT_OK,
  "differences": EXIT_FAILURE,
  "could not compare": EXIT_UNKNOWN,
};

/** @returns 0: no difference, 1: differences, 2: could not compare; what is wrong has been printed to io.err */
export async function compare(
  options: CompareOptions,
  around: Omit<SourceAround, "random">,
  io: Io,
): Promise<number> {
  if (options.record !== null) return await record(options, options.record, around.clock, io);
  if (options.replay !== null) return await replay(options, options.replay, around, io);
  const sources = new Sources({ ...around, random });
  const progress = new Progress(() => around.clock.nowMs(), io);
  let peers: Peers | null = null;
  try {
    const sides: Named[] = [];
    for (const [i, text] of options.sides.entries()) {
      const side = await named(text, sources);
      const refusal = "config" in side && options.direct ? tlsRefusal(side.config, around.net) : null;
      if (refusal !== null) throw new UsageError(`${LABELS[i]}: ${refusal}`);
      sides.push(side);
    }
    for (const line of sources.silent()) io.err(`ringmaster compare: ${line}\n`);
    peers = new Peers(options, around);
    const { pairs, alone } = pairsOf([sides[0]!, sides[1]!], options.pool);
    refuse(options, pairs, sides);
    const reports: PoolReport[] = [];
    for (const pair of pairs) {
      const one = new PoolComparison(pair, options, peers, around, progress);
      reports.push(await one.run());
    }
    progress.end();
    io.out(options.json ? reportJson(reports, alone) : reportText(reports, alone));
    return EXIT_OF[verdictOf(reports, alone)];
  } catch (error) {
    progress.end();
    if (error instanceof ConfigError || error instanceof SourceError) io.err(error.message + "\n");
    else if (error instanceof FileError || error instanceof UsageError || error instanceof CannotCompare) {
      io.err(`ringmaster compare: ${error.message}\n`);
    } else throw error;
    return EXIT_UNKNOWN;
  } finally {
    progress.end();
    peers?.close();
    sources.stop();
  }
}

/** @throws UsageError */
function refuse({ at, direct, keys }: CompareOptions, pairs: readonly Pair[], sides: readonly Named[]): void {
  const addresses = sides.some((side) => "address" in side);
  if (direct && addresses) throw new UsageError("--direct reads the servers of files: expected two files");
  if (direct && at.some((each) => each !== null)) {
    throw new UsageError("found --direct and --old-at or --new-at: the servers are read, or the proxies");
  }
  for (const { name, sides } of direct ? pairs : []) {
    for (const { label, pool } of sides) {
      const lost = pool?.servers.find(({ address }) => address === null);
      if (lost === undefined) continue;
      throw new UsageError(
        `--direct reads the servers of files: ${label}'s ${lost.name} of pool ${name} has no address there, but a master`,
      );
    }
  }
  if (pairs.length > 1 && at.some((each) => each !== null)) {
    const names = pairs.map(({ name }) => name).join(", ");
    throw new UsageError(`--old-at and --new-at are one pool's: expected --pool, one of ${names}`);
  }
  if (pairs.length > 1 && keys === "-") throw new UsageError("--keys - is read once: expected --pool");
  if (keys === null && sides.every((side) => "address" in side)) {
    throw new UsageError("no file names servers to scan: expected --keys");
  }
}

class PoolComparison {
  private readonly tally: Tally;
  private readonly loads = new Map<string, number>();
  private readonly sides: readonly [Side, Side];
  private readonly scannedServers: readonly Scanned[];
  private keysRead = 0;

  constructor(
    private readonly pair: Pair,
    private readonly options: CompareOptions,
    private readonly peers: Peers,
    private readonly around: Omit<SourceAround, "random">,
    private readonly progress: Progress,
  ) {
    this.tally = new Tally(options.show);
    const arrived = (server: string, requests: number) => this.arrived(server, requests);
    const sides = pair.sides.map((each) => {
      const { label, pool } = each;
      const proxy = options.direct ? null : peers.proxy(each, pair.redis);
      const servers = pool?.servers.map((_, at) => peers.server(pool, at, pool.redisDb)) ?? [];
      return new Side(label, pool, proxy, servers, arrived);
    });
    this.sides = [sides[0]!, sides[1]!];
    this.scannedServers = this.toScan();
  }

  async run(): Promise<PoolReport> {
    const { tally, around, options, pair, sides } = this;
    await this.greet();
    const pace = new Pace(around.clock, options.perSecond);
    const counted = {
      take: (count: number) => {
        this.keysRead += count;
        return pace.take(count);
      },
    };
    const comparison = new Comparison(sides[0], sides[1], tally, {
      clock: around.clock,
      pace: counted,
      random,
    });
    const cpuBefore = await this.cpu();
    const startMs = around.clock.nowMs();
    let stopped: string | null = null;
    try {
      for await (const keys of this.keys()) {
        await comparison.take(keys);
        this.progress.tell(() => {
          const left = options.count === Infinity ? "" : ` of at most ${options.count}`;
          return `ringmaster compare: pool ${pair.name}: ${tally.keys} keys${left}`;
        });
      }
      await comparison.end();
    } catch (error) {
      if (!(error instanceof CannotCompare)) throw error;
      stopped = error.message;
    }
    const seconds = (around.clock.nowMs() - startMs) / 1000;
    const [old, young] = pair.sides;
    this.note();
    return {
      pool: pair.name,
      old: wayOf(sides[0]),
      young: wayOf(sides[1]),
      tally,
      settings: old.pool !== null && young.pool !== null ? placingDifferences(old.pool, young.pool) : [],
      causes: comparison.causes(),
      load: await this.load(seconds, cpuBefore),
      stopped,
    };
  }

  /** @throws CannotCompare: one of the proxies is not there, or no server is; UsageError: both are the same */
  private async greet(): Promise<void> {
    const { pair, sides } = this;
    const [old, young] = [sides[0].proxy, sides[1].proxy];
    if (old !== null && young !== null && samePlace(old, young)) {
      throw new UsageError(
        `pool ${pair.name}: OLD and NEW are both at ${old.place.text}: say where one of them is with --old-at or --new-at, or read the servers with --direct`,
      );
    }
    for (const { label, proxy } of sides) {
      const why = proxy === null ? null : await proxy.greet();
      if (why === null) continue;
      const kind = pair.redis ? "Redis" : "memcached";
      const hint = /was closed|reset/.test(why)
        ? `; is it a ${kind} pool, without TLS and PROXY headers?`
        : /credentials|AUTH/.test(why)
        ? "; expected --password-file, and --user where it has users"
        : /refused|No such file|no connection/i.test(why)
        ? "; without proxies, --direct reads the servers"
        : "";
      throw new CannotCompare(`pool ${pair.name}: ${label} at ${proxy!.place.text}: ${why}${hint}`);
    }
    const servers = this.scannedServers;
    const wrong = await Promise.all(servers.map(({ peer }) => peer.greet()));
    if (this.options.keys !== null) return;
    if (servers.length === 0) {
      throw new CannotCompare(
        `pool ${pair.name}: no server has an address of its own to be scanned: expected --keys`,
      );
    }
    const some = wrong.find((why) => why !== null);
    if (wrong.every((why) => why !== null)) {
      throw new CannotCompare(
        `pool ${pair.name}: no server can be scanned: ${
          servers[0]!.address
        }: ${some}; --keys names keys itself`,
      );
    }
  }

  // ---- keys

  /** Each server once, in whatever file it is. */
  private toScan(): Scanned[] {
    const found = new Map<Peer, string>();
    const { pair, peers, sides } = this;
    for (const { pool, servers } of sides) {
      servers.forEach((peer, at) => {
        if (peer !== null) found.set(peer, pool!.servers[at]!.addressText);
      });
    }
    // Where twemproxy did not select what its file says.
    for (const { pool } of pair.sides) {
      if (pool === null || !selectsNothing(pool)) continue;
      pool.servers.forEach((server, at) => {
        const peer = peers.server(pool, at, 0);
        if (peer !== null) found.set(peer, server.addressText);
      });
    }
    return [...found].map(([peer, address]) => ({ peer, address }));
  }

  private async *keys(): AsyncGenerator<readonly KeyAt[]> {
    const { options: { keys, count }, tally } = this;
    if (keys !== null) return yield* this.listed(keys);
    yield* scanned(this.scannedServers, count, (address, why) => {
      if (tally.unscanned.length < UNSCANNED_SHOWN) tally.unscanned.push(`${address}: ${why}`);
    });
  }

  private async *listed(path: string): AsyncGenerator<readonly KeyAt[]> {
    let left = this.options.count;
    let line = 0;
    for (const { bytes, ends } of linesOf(path, "--keys")) {
      for (let i = 0; i < ends.length && left > 0; i += 2 * BATCH) {
        const batch: KeyAt[] = [];
        for (let j = i; j < Math.min(ends.length, i + 2 * BATCH) && left > 0; j += 2) {
          line++;
          const key = bytes.slice(ends[j], ends[j + 1]);
          batch.push({ key: this.options.hex ? spelled(key, `${path}:${line}`) : key, foundAt: null });
          left--;
        }
        yield batch;
      }
      if (left <= 0) return;
    }
  }

  // ---- around it

  private note(): void {
    const { tally, pair, options } = this;
    for (const { label, pool } of pair.sides) {
      if (pool === null) continue;
      if (selectsNothing(pool)) {
        tally.notes.push(
          `${label}'s file has redis_db: ${pool.redisDb} with ${
            pool.redisAuth !== null ? "redis_auth" : "servers on unix sockets"
          }: twemproxy 0.5.0 leaves such keys in database 0, Ringmaster uses ${pool.redisDb}; both were scanned`,
        );
      }
      if (pool.distribution === "random" && pool.servers.length > 1) {
        tally.notes.push(`${label}'s file has distribution random: no key has a server of its own`);
      }
    }
    if (tally.keys === 0) {
      tally.notes.push(options.keys === null ? "the servers have no keys" : `${options.keys} has no keys`);
    }
  }

  private arrived(server: string, requests: number): void {
    this.loads.set(server, (this.loads.get(server) ?? 0) + requests);
  }

  private async cpu(): Promise<Map<Scanned, number>> {
    const found = new Map<Scanned, number>();
    await Promise.all(this.scannedServers.map(async (server) => {
      const seconds = await server.peer.cpuSeconds();
      if (seconds !== null) found.set(server, seconds);
    }));
    return found;
  }

  private async load(seconds: number, cpuBefore: ReadonlyMap<Scanned, number>): Promise<Load> {
    const { options, sides, scannedServers } = this;
    const asked = scannedServers.reduce((sum, { peer }) => sum + peer.asked, 0);
    const bytes = scannedServers.reduce((sum, { peer }) => sum + peer.answeredBytes, 0);
    const sent = sides.flatMap(({ label, proxy }) =>
      proxy === null ? [] : [{
        to: `${label} at ${proxy.place.text}`,
        requests: proxy.asked,
        answeredBytes: proxy.answeredBytes,
      }]
    );
    if (asked > 0) sent.push({ to: "servers directly", requests: asked, answeredBytes: bytes });
    const cpuAfter = await this.cpu();
    return {
      seconds,
      rate: options.perSecond,
      keysRead: this.keysRead,
      sent,
      servers: [...this.loads].map(([address, requests]) => ({ address, requests })),
      cpu: [...cpuAfter].flatMap(([server, after]) => {
        const before = cpuBefore.get(server);
        return before === undefined
          ? []
          : [{ address: server.address, seconds: Math.max(0, after - before) }];
      }),
    };
  }
}

const UNSCANNED_SHOWN = 20;

const wayOf = ({ proxy }: Side): string =>
  proxy === null ? "the servers themselves" : `at ${proxy.place.text}`;

/** twemproxy 0.5.0 says SELECT before AUTH, where it is refused, and never on a unix socket. */
function selectsNothing({ redisDb, redisAuth, servers }: PoolConfig): boolean {
  const onPaths = servers.some(({ address }) => address !== null && "path" in address);
  return redisDb > 0 && (redisAuth !== null || onPaths);
}

function spelled(line: Uint8Array, place: string): Uint8Array {
  const text = latin1(line).trim();
  const key = unhex(encode(text));
  if (key !== null) return key;
  throw new UsageError(`${place}: found ${quoted(text.slice(0, 80))}, expected pairs of hex digits`);
}
