/**
 * The whole proxy of one thread: its pools, their common turn, and the statistics port.
 *
 *   Config ──► Proxy ──► Pool, Pool, …
 *                └─────► statistics listener: one document a connection, as twemproxy does
 */
import { encode } from "../bytes/ascii.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { type Log, NOTICE } from "../net/log.ts";
import type { Address, Clock, Handler, Listener, Net, Socket } from "../net/net.ts";
import type { Host } from "../protocol/redis/answers.ts";
import { type ProcessStats, statsDocument } from "../stats/document.ts";
import { CLIENT_CONNECTIONS, REQUESTS_TOTAL } from "../stats/metrics.ts";
import { REDIS_VERSION, VERSION } from "../stats/version.ts";
import type { Front } from "./front.ts";
import { type ConnectionCount, Pool } from "./pool.ts";
import { RedisFront } from "./redis_front.ts";
import { Turn } from "./turn.ts";

export interface ProxyOptions {
  readonly config: Config;
  readonly net: Net;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly system: System;
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
}

/** Files kept back from clients: log, listeners, statistics, what the runtime itself opens. */
const FILES_RESERVED = 32;

/** How long clients that are owed nothing may take to close after our FIN when the process stops. */
const PARTING_MS = 200;

export class Proxy {
  readonly pools: readonly Pool[];
  readonly turn: Turn;
  private readonly connections: ConnectionCount;
  private readonly startedAtMs: number;
  private statsListener: Listener | null = null;
  private readonly statsSockets = new Set<Socket>();

  constructor(private readonly options: ProxyOptions) {
    const { config, clock } = options;
    this.turn = new Turn(clock);
    this.startedAtMs = clock.wallMs();
    this.connections = {
      total: 0,
      current: 0,
      clients: 0,
      clientsMax: clientsMax(config, options.system.filesMax),
    };
    const around = { ...options, turn: this.turn, connections: this.connections };
    this.pools = config.pools.map((pool) => new Pool(pool, around, (p) => this.makeFront(p)));
  }

  private makeFront(pool: Pool): Front {
    if (!pool.config.redis) throw new Error("memcached pools are not available in this version");
    return new RedisFront(pool, this.redisHost(pool, pool.config));
  }

  private redisHost(pool: Pool, config: PoolConfig): Host {
    const { clock, system } = this.options;
    return {
      poolName: config.name,
      password: config.redisAuth,
      databases: config.databases,
      resp3: true,
      version: REDIS_VERSION,
      ringmasterVersion: VERSION,
      get port() {
        return pool.port;
      },
      processId: system.processId,
      os: system.os,
      idleTimeoutSeconds: Math.ceil(config.idleTimeoutMs / 1000),
      clientsMax: config.clientConnectionsMax,
      bulkSizeMax: config.requestSizeMax,
      wallMs: () => clock.wallMs(),
      uptimeSeconds: () => this.uptimeSeconds(),
      connectedClients: () => pool.counters[CLIENT_CONNECTIONS]!,
      memoryBytes: () => system.memoryBytes(),
      connectionsTotal: () => pool.clientsTotal,
      requestsTotal: () => pool.counters[REQUESTS_TOTAL]!,
      serverCount: () => pool.servers.length,
      liveServerCount: () => pool.servers.filter((s) => !s.ejected).length,
    };
  }

  private uptimeSeconds(): number {
    return Math.floor((this.options.clock.wallMs() - this.startedAtMs) / 1000);
  }

  /** Starts listening, statistics first, then the pools in order. Rejects with the first address that cannot be had. */
  async listen(statsAddress: Address | null): Promise<void> {
    if (statsAddress !== null) {
      this.statsListener = await this.options.net.listen(statsAddress, this.statsHandler, {
        backlog: 128,
        reusePort: true,
        keepAlive: false,
      });
    }
    for (const pool of this.pools) await pool.listen();
  }

  get statsPort(): number {
    return this.statsListener?.port ?? 0;
  }

  stats(): ProcessStats {
    return {
      source: this.options.system.hostName,
      version: VERSION,
      uptimeSeconds: this.uptimeSeconds(),
      timestampSeconds: Math.floor(this.options.clock.wallMs() / 1000),
      totalConnections: this.connections.total,
      currConnections: this.connections.current,
      pools: this.pools.map((pool) => pool.stats()),
    };
  }

  /** Writes the document and closes; never waits for what the reader sends. */
  private readonly statsHandler: Handler = {
    open: (socket) => {
      this.statsSockets.add(socket);
      const document = encode(statsDocument(this.stats()) + "\n");
      socket.send(document, 0, document.length);
      socket.flush();
      socket.end();
    },
    data: () => {},
    eof: () => {},
    drain: () => {},
    close: (socket) => this.statsSockets.delete(socket),
  };

  /**
   * Stops gracefully: refuses new clients, answers what has been accepted, ends every connection.
   * Resolves when all clients are gone; a little after the last reply has left, since a client that rests does not notice
   * our FIN; or after `timeoutMs`.
   * @returns how many clients were cut off with replies owed to them
   */
  drain(timeoutMs: number): Promise<number> {
    const { clock, log } = this.options;
    log.write(NOTICE, `stopping: ${this.connections.clients} clients to finish`);
    for (const pool of this.pools) pool.drain();
    const deadline = clock.nowMs() + timeoutMs;
    let busyAtMs = clock.nowMs();
    return new Promise((resolve) => {
      const look = () => {
        const now = clock.nowMs();
        const busy = this.clientsBusy();
        if (busy > 0) busyAtMs = now;
        if (this.connections.clients > 0 && now < deadline && now - busyAtMs < PARTING_MS) {
          clock.setTimer(5, look);
          return;
        }
        this.stop();
        resolve(busy);
      };
      look();
    });
  }

  /** Clients that are owed something. */
  private clientsBusy(): number {
    let busy = 0;
    for (const pool of this.pools) {
      for (const client of pool.clients) if (client.head !== null || client.socket.queuedBytes > 0) busy++;
    }
    return busy;
  }

  /** Closes everything at once. */
  stop(): void {
    this.statsListener?.close();
    for (const socket of this.statsSockets) socket.destroy();
    for (const pool of this.pools) pool.stop();
  }
}

/** What the file limit leaves for clients, as twemproxy counts it. */
function clientsMax(config: Config, filesMax: number): number {
  if (filesMax === 0) return Infinity;
  let reserved = FILES_RESERVED;
  for (const pool of config.pools) reserved += pool.serverConnections * pool.servers.length + 1;
  return Math.max(1, filesMax - reserved);
}
