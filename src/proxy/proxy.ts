/**
 * The whole proxy of one thread: its pools, their common turn, and the statistics port.
 *
 *   Config ──► Proxy ──► Pool, Pool, …
 *                └─────► statistics listener: one document a connection, as twemproxy does
 */
import type { Config } from "../config/config.ts";
import type { Log } from "../net/log.ts";
import type { Address, Clock, Net } from "../net/net.ts";
import type { Host } from "../protocol/redis/answers.ts";
import { Board } from "../stats/board.ts";
import type { ProcessStats } from "../stats/document.ts";
import { CLIENT_CONNECTIONS, REQUESTS_TOTAL } from "../stats/metrics.ts";
import { sumStats } from "../stats/sum.ts";
import { VERSION } from "../stats/version.ts";
import { Drain } from "./drain.ts";
import type { Front } from "./front.ts";
import { HttpGuard } from "./http_guard.ts";
import { MemcachedFront } from "./memcached_front.ts";
import { Memory } from "./memory.ts";
import { Pool, type Seat } from "./pool.ts";
import { type ClientQuestion, GONE, type Told } from "./redis_clients.ts";
import { PoolIdentity } from "./redis_identity.ts";
import { RedisFront } from "./redis_front.ts";
import { StatsPort } from "./stats_port.ts";
import { Turn } from "./turn.ts";

export interface ProxyOptions {
  readonly config: Config;
  readonly net: Net;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly system: System;
  /** This worker's place among several; absent: it is the only one. */
  readonly seat?: Seat;
  /** When the process started, ms since the epoch; absent: now. */
  readonly startedAtMs?: number;
  /** Arguments of a slice (see redis_slices.ts): few, if the simulator wants to see slices. */
  readonly sliceArguments?: number;
  /** Bytes of a reply from which on it goes on in parts: few, if the simulator wants to see parts. */
  readonly passMin?: number;
}

/** What the proxy tells of the machine and the process it runs in. */
export interface System {
  readonly hostName: string;
  readonly processId: number;
  /** "Linux 6.1.0 x86_64" or the like. */
  readonly os: string;
  /** Sockets the process may have open; 0 = unknown. */
  readonly filesMax: number;
  /** Resident memory, bytes. */
  memoryBytes(): number;
  /** What the machine or container has, bytes; 0 or absent = unknown. */
  readonly memoryTotal?: number;
  /** Gives unused memory back to the system, if the runtime can. */
  collect?(): void;
}

/** Files kept back from clients: log, listeners, statistics, clients being refused, what the runtime opens (Bun 8, Deno 22). */
const FILES_RESERVED = 48;
/** And for each worker thread's own loop. */
const FILES_WORKER = 16;

export class Proxy {
  readonly pools: readonly Pool[];
  readonly turn: Turn;
  readonly memory: Memory;
  private readonly seat: Seat;
  private readonly startedAtMs: number;
  private statsServer: StatsPort | null = null;

  constructor(private readonly options: ProxyOptions) {
    const { config, clock } = options;
    this.turn = new Turn(clock);
    this.startedAtMs = options.startedAtMs ?? clock.wallMs();
    this.seat = options.seat ??
      {
        worker: 0,
        board: makeBoard(config, 1),
        serversChanged: () => {},
        ask: (_w, _p, _q, told) => told(GONE),
      };
    const { system } = options;
    this.memory = new Memory({
      ...options,
      turn: this.turn,
      max: memoryMax(config, system.memoryTotal ?? 0) / this.seat.board.workers,
      collect: system.collect ? () => system.collect!() : null,
      residentBytes: () => system.memoryBytes(),
      processMax: memoryMax(config, system.memoryTotal ?? 0),
    });
    const around = {
      ...options,
      turn: this.turn,
      memory: this.memory,
      httpGuard: new HttpGuard(clock, options.log, this.seat.board.workers),
      seat: this.seat,
      clientsMax: clientsMax(config, options.system.filesMax, this.seat.board.workers),
    };
    this.pools = config.pools.map((pool, i) => new Pool(pool, i, around, (p) => this.makeFront(p)));
  }

  private makeFront(pool: Pool): Front {
    if (!pool.config.redis) {
      const { processId } = this.options.system;
      return new MemcachedFront(pool, { processId, stats: () => this.stats() });
    }
    const identity = new PoolIdentity(pool);
    return new RedisFront(pool, this.redisHost(pool, identity), identity);
  }

  private redisHost(pool: Pool, identity: PoolIdentity): Host {
    const { clock, system } = this.options;
    // Settings are asked for anew: a reload may have changed them.
    return {
      poolName: pool.config.name,
      get password() {
        return pool.config.redisAuth;
      },
      get databases() {
        return pool.config.databases;
      },
      get redisDb() {
        return pool.config.redisDb;
      },
      resp3: true,
      get identity() {
        return identity.current;
      },
      ringmasterVersion: VERSION,
      get port() {
        return pool.port;
      },
      processId: system.processId,
      os: system.os,
      get idleTimeoutSeconds() {
        return Math.ceil(pool.config.idleTimeoutMs / 1000);
      },
      get clientsMax() {
        return pool.config.clientConnectionsMax;
      },
      get bulkSizeMax() {
        return pool.config.requestSizeMax;
      },
      wallMs: () => clock.wallMs(),
      uptimeSeconds: () => this.uptimeSeconds(),
      connectedClients: () => pool.board.total(CLIENT_CONNECTIONS),
      memoryBytes: () => system.memoryBytes(),
      connectionsTotal: () => pool.board.acceptedTotal,
      requestsTotal: () => pool.board.total(REQUESTS_TOTAL),
      serverCount: () => pool.servers.length,
      liveServerCount: () => pool.onRing().length,
      poolTotal: (metric) => pool.board.total(metric),
    };
  }

  private uptimeSeconds(): number {
    return Math.floor((this.options.clock.wallMs() - this.startedAtMs) / 1000);
  }

  /** Starts listening, statistics first, then the pools in order. Rejects with the first address that cannot be had. */
  async listen(statsAddress: Address | null): Promise<void> {
    if (statsAddress !== null) {
      this.statsServer = await StatsPort.listen(this.options.net, statsAddress, async () => this.stats());
    }
    for (const pool of this.pools) await pool.listen();
  }

  get statsPort(): number {
    return this.statsServer?.port ?? 0;
  }

  /** Of the whole process; gauges of queues are fresh for this worker only. */
  stats(): ProcessStats {
    this.measureQueues();
    const head = {
      source: this.options.system.hostName,
      version: VERSION,
      uptimeSeconds: this.uptimeSeconds(),
      timestampSeconds: Math.floor(this.options.clock.wallMs() / 1000),
    };
    return sumStats(head, this.options.config.pools, this.seat.board);
  }

  /** Brings this worker's gauges of queues on the board up to date. */
  measureQueues(): void {
    for (const pool of this.pools) for (const server of pool.servers) server.measureQueues();
  }

  /** Another worker has ejected or restored servers of a pool. */
  serversChanged(pool: number): void {
    this.pools[pool]!.ejection.lookAtBoard();
  }

  /** Another worker asks about the clients of a pool. `told` is called once, now or later. */
  asked(pool: number, question: ClientQuestion, told: Told): void {
    const { worker } = this.seat;
    this.pools[pool]!.askWorker(worker, question, told);
  }

  /**
   * Stops gracefully: refuses new clients, answers what has been accepted, ends every connection (see drain.ts).
   * Resolves when that is done, or after `timeoutMs`.
   * @returns how many clients were cut off with replies owed to them
   */
  drain(timeoutMs: number): Promise<number> {
    const { clock, log } = this.options;
    return new Drain(this.pools, clock, log, timeoutMs).run().then((owed) => {
      this.stop();
      return owed;
    });
  }

  /** Closes everything at once. */
  stop(): void {
    this.statsServer?.close();
    this.memory.stop();
    for (const pool of this.pools) pool.stop();
  }
}

/** What the file limit leaves for clients, as twemproxy counts it. */
function clientsMax(config: Config, filesMax: number, workers: number): number {
  if (filesMax === 0) return Infinity;
  let reserved = FILES_RESERVED + (workers > 1 ? workers * FILES_WORKER : 0);
  for (const pool of config.pools) reserved += (pool.serverConnections * pool.servers.length + 1) * workers;
  return Math.max(1, filesMax - reserved);
}

/** max_memory in bytes; 0 is half of what there is. */
function memoryMax(config: Config, total: number): number {
  return config.process.memoryMax || (total === 0 ? Infinity : total / 2);
}

/** A board for what this configuration has. */
export function makeBoard(config: Config, workers: number): Board {
  return Board.make(workers, config.pools.map((pool) => pool.servers.length));
}
