/**
 * The whole proxy of one thread: its pools, their common turn, and the statistics port.
 *
 *   Config ──► Proxy ──► Pool, Pool, …
 *                └─────► statistics listener: one document a connection, as twemproxy does
 */
import type { Config, PoolConfig } from "../config/config.ts";
import { ALERT, type Log } from "../net/log.ts";
import type { Address, Clock, Net } from "../net/net.ts";
import type { Announced } from "../protocol/redis/announced.ts";
import type { Host, ReplicaSeen } from "../protocol/redis/answers.ts";
import type { Server } from "../proxy/server.ts";
import type { Board, PoolBoard, PoolMemory } from "../stats/board.ts";
import type { ProcessStats } from "../stats/document.ts";
import { CLIENT_CONNECTIONS, REQUESTS_TOTAL } from "../stats/metrics.ts";
import { sumStats } from "../stats/sum.ts";
import { VERSION } from "../stats/version.ts";
import { clientsMax, handshakesMax, makeBoard, memoryMax } from "./ceilings.ts";
import { Drain } from "./drain.ts";
import type { Front } from "../proxy/front.ts";
import { HttpGuard } from "../proxy/http_guard.ts";
import { MemcachedFront } from "../memcached/front.ts";
import { Memory } from "../proxy/memory.ts";
import { type ConfigChange, listenerDiffers, poolDiffers, type Stamp } from "../topology/change.ts";
import { type EventsSeen, NO_EVENTS } from "../topology/events.ts";
import type { ServerState, Sign } from "../topology/state.ts";
import type { Placement } from "../ring/placement.ts";
import { atOnce } from "../ring/steps.ts";
import { placementSteps } from "../topology/placement.ts";
import { type Opened, Pool, type Seat, type Surroundings } from "../proxy/pool.ts";
import { type ClientQuestion, GONE, type Told } from "../proxy/client_question.ts";
import { PoolIdentity } from "../redis/identity.ts";
import { RedisFront } from "../redis/front.ts";
import { answerOf, type ArgumentOf, type Gathered, type QuestionKind } from "./questions.ts";
import { StatsPort } from "./stats_port.ts";
import { Turn } from "../proxy/turn.ts";
import { Turns } from "./turns.ts";

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
  /** Which configuration this is; absent: the first. */
  readonly stamp?: Stamp;
  /** When the process started, ms since the epoch; absent: now. */
  readonly startedAtMs?: number;
  /** What whoever looks after the servers has said already, by pool; absent: nothing. */
  readonly states?: ReadonlyMap<string, readonly ServerState[]>;
  readonly events?: EventsSeen;
  /** Who is told what is seen of the servers; absent: nobody. Not if there is a seat, which has its own. */
  readonly sign?: (pool: string, server: string, sign: Sign, cause: string) => void;
  /** Of this thread; absent: nobody else has any, so a reload is done at once. */
  readonly turns?: Turns;
  /** Arguments of a slice (see redis/slices.ts): few, if the simulator wants to see slices. */
  readonly sliceArguments?: number;
  /** Bytes of a reply from which on it goes on in parts: few, if the simulator wants to see parts. */
  readonly passMin?: number;
  /** Bytes of a request still to come from which on it streams: few, if the simulator wants to see that. */
  readonly streamMin?: number;
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

/** A configuration that all is ready for. */
export interface Prepared {
  readonly config: Config;
  readonly memory: readonly PoolMemory[];
  readonly stamp: Stamp;
  /** In the configuration's order: those that stay, and new ones. */
  readonly pools: Pool[];
  /** Of those that stay and are to be others. */
  readonly placements: Map<Pool, Placement>;
  /** What makes other settings of TLS count, of those whose listener stays. */
  readonly tls: (() => void)[];
  readonly listeners: Map<Pool, Opened | null>;
  /** They will listen where another pool does now, or they themselves with TLS, or without. */
  readonly late: Pool[];
}

/** Wait before an address that is still in use is tried again. */
const LISTEN_AGAIN_MS = 200;

export class Proxy {
  pools: readonly Pool[];
  /** As it is now; a reload replaces it. */
  config: Config;
  private readonly around: Surroundings;
  /** Pools that a reload has removed, with clients that are not done. */
  private readonly parting = new Set<Pool>();
  readonly turn: Turn;
  /** For what may wait. */
  readonly turns: Turns;
  readonly memory: Memory;
  private readonly seat: Seat;
  private readonly startedAtMs: number;
  private statsServer: StatsPort | null = null;
  /** It has been told to end: no other configuration comes into force. */
  private stopping = false;
  private stamp: Stamp;
  private events: EventsSeen;

  constructor(private readonly options: ProxyOptions) {
    const { config, clock } = options;
    this.events = options.events ?? NO_EVENTS;
    this.config = config;
    this.stamp = options.stamp ?? { epoch: 0, cause: "start", atMs: options.startedAtMs ?? clock.wallMs() };
    this.turn = new Turn(clock);
    this.turns = options.turns ?? new Turns(clock);
    this.startedAtMs = options.startedAtMs ?? clock.wallMs();
    this.seat = options.seat ??
      {
        worker: 0,
        board: makeBoard(config, 1),
        serversChanged: () => {},
        tellOthers: () => {},
        sign: (pool, server, sign, cause) => {
          const found = this.poolOf(pool);
          if (found !== undefined) options.sign?.(found.config.name, server, sign, cause);
        },
        ask: (_w, _p, _q, told) => told(GONE),
      };
    const { system } = options;
    const { workers } = this.seat.board;
    const processMax = memoryMax(config, system.memoryTotal ?? 0);
    this.memory = new Memory({
      ...options,
      turn: this.turn,
      max: processMax / workers,
      collect: system.collect ? () => system.collect!() : null,
      residentBytes: () => system.memoryBytes(),
      processMax,
      handshakes: () => options.net.tls?.handshakes ?? 0,
    });
    this.around = {
      ...options,
      turn: this.turn,
      memory: this.memory,
      httpGuard: new HttpGuard(clock, options.log, workers),
      seat: this.seat,
      clientsMax: clientsMax(config, system.filesMax, processMax, workers),
      handshakesMax: handshakesMax(system.filesMax, processMax, workers),
    };
    this.pools = config.pools.map((pool, i) => this.makePool(pool, this.seat.board.pools[i]!));
    for (const [pool, states] of options.states ?? []) this.follow(pool, states);
  }

  /** @param placement its keys', if that has been made already */
  private makePool(config: PoolConfig, board: PoolBoard, placement: Placement | null = null): Pool {
    return new Pool(config, board, this.around, (pool) => this.makeFront(pool), placement);
  }

  private makeFront(pool: Pool): Front {
    if (!pool.config.redis) {
      const { processId } = this.options.system;
      return new MemcachedFront(pool, {
        processId,
        stats: () => this.stats(),
        topology: () => this.topology,
      });
    }
    const identity = new PoolIdentity(pool);
    return new RedisFront(pool, this.redisHost(pool, identity), identity);
  }

  private redisHost(pool: Pool, identity: PoolIdentity): Host {
    const { clock, system } = this.options;
    /** Made once a list. */
    let announced: { readonly list: PoolConfig["announce"]; readonly told: Announced } | null = null;
    // Settings are asked for anew: a reload may have changed them.
    return {
      poolName: pool.config.name,
      zone: this.options.config.process.zone,
      replicas: () => pool.config.readFrom === "primary" ? [] : pool.servers.flatMap(replicasSeen),
      topology: () => this.topology,
      get announced() {
        const { announceCluster, announce } = pool.config;
        if (!announceCluster) return null;
        if (announced?.list !== announce) {
          const nodes = announce.map(({ address }) => address);
          announced = { list: announce, told: { nodes, hostName: system.hostName } };
        }
        return announced.told;
      },
      get cluster() {
        return pool.cluster;
      },
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
        return pool.clientsMax;
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

  private get topology(): Stamp & EventsSeen {
    return { ...this.stamp, ...this.events };
  }

  private uptimeSeconds(): number {
    return Math.floor((this.options.clock.wallMs() - this.startedAtMs) / 1000);
  }

  /** Starts listening, statistics first, then the pools in order. Rejects with the first address that cannot be had. */
  async listen(statsAddress: Address | null): Promise<void> {
    if (statsAddress !== null) {
      this.statsServer = await StatsPort.listen(this.options.net, statsAddress, async () => this.stats());
    }
    for (const pool of this.pools) {
      if (this.stopping) return;
      await pool.listen();
    }
  }

  get statsPort(): number {
    return this.statsServer?.port ?? 0;
  }

  /** Of the whole process; gauges of queues and memory are fresh for this worker only. */
  stats(): ProcessStats {
    this.measure();
    const head = {
      source: this.options.system.hostName,
      version: VERSION,
      uptimeSeconds: this.uptimeSeconds(),
      timestampSeconds: Math.floor(this.options.clock.wallMs() / 1000),
    };
    return sumStats(head, this.config.pools, this.seat.board);
  }

  get board(): Board {
    return this.seat.board;
  }

  /** See questions.ts; of the only worker. */
  async gather<K extends QuestionKind>(kind: K, argument: ArgumentOf<K>): Promise<readonly Gathered<K>[]> {
    const answer = await answerOf(this, kind, argument, this.turns);
    return answer === null ? [] : [{ worker: 0, answer }];
  }

  /** Brings this worker's gauges on the board up to date that are not kept so all the time: queues, memory. */
  measure(): void {
    for (const pool of this.pools) for (const server of pool.servers) server.measureQueues();
    this.memory.refresh();
  }

  // ---- another configuration

  /**
   * Goes on under another configuration: all of it, or nothing.
   * @param memory of its pools, on the board (Board.arrange)
   * @returns what `commit` or `abandon` has to be called with. Rejects, with nothing changed, if an address cannot be had.
   */
  async prepare(config: Config, memory: readonly PoolMemory[], stamp: Stamp): Promise<Prepared> {
    const prepared: Prepared = {
      config,
      memory,
      stamp,
      pools: [],
      placements: new Map(),
      tls: [],
      listeners: new Map(),
      late: [],
    };
    const { turns } = this.options;
    const done = <T>(work: Generator<number, T>): T | Promise<T> => turns?.rarely(work) ?? atOnce(work);
    try {
      for (const [i, next] of config.pools.entries()) {
        const board = this.seat.board.boardOf(memory[i]!);
        const present = this.poolOf(board.id);
        const differs = present === undefined || poolDiffers(present.config, next);
        let pool = present;
        if (pool === undefined) {
          pool = this.makePool(
            next,
            board,
            await done(placementSteps(next, undefined, this.options.random)),
          );
        } else if (differs) prepared.placements.set(pool, await done(pool.placementSteps(next)));
        prepared.pools.push(pool);
        if (present !== undefined && !listenerDiffers(present.config, next)) {
          const take = differs ? present.prepareTls(next) : null;
          if (take !== null) prepared.tls.push(take);
          continue;
        }
        // Who has the address now gives it up at the commit.
        if (this.pools.some((other) => other.config.listenText === next.listenText)) prepared.late.push(pool);
        else prepared.listeners.set(pool, await pool.openListener(next));
      }
      return prepared;
    } catch (error) {
      this.abandon(prepared);
      throw error;
    }
  }

  /** Forgets what has been prepared. */
  abandon({ pools, listeners }: Prepared): void {
    for (const opened of listeners.values()) opened?.listener.close();
    for (const pool of pools) if (!this.pools.includes(pool)) this.discard(pool);
  }

  /** All of it, in a process of one thread. Rejects, with nothing changed, if that has been told to end meanwhile as well. */
  async reload({ after, arrangement }: ConfigChange, stamp: Stamp): Promise<void> {
    const prepared = await this.prepare(after, this.seat.board.arrange(arrangement), stamp);
    if (this.stopping) {
      this.abandon(prepared);
      throw new Error("the process is stopping");
    }
    this.commit(prepared);
  }

  /** To be called between two turns, on all workers about the same time. */
  commit({ config, memory, stamp, pools, placements, tls, listeners, late }: Prepared): void {
    this.stamp = stamp;
    const left = this.pools.filter((pool) => !pools.includes(pool));
    this.seat.board.adopt(memory);
    this.config = config;
    this.pools = pools;
    for (const pool of left) this.part(pool);
    pools.forEach((pool, i) => {
      const placement = placements.get(pool);
      if (placement !== undefined) pool.adopt(config.pools[i]!, placement);
    });
    for (const take of tls) take();
    for (const pool of late) pool.closeListener();
    for (const [pool, listener] of listeners) pool.accepts(listener);
    for (const pool of late) this.listenLate(pool);
  }

  /** At the address that another pool, or its own listener, has just given up. */
  private listenLate(pool: Pool): void {
    if (pool.stopped || pool.listening || !this.pools.includes(pool)) return;
    const { config } = pool;
    pool.openListener(config).then(
      (opened) => {
        if (pool.config === config && !pool.listening) return pool.accepts(opened);
        opened?.listener.close();
        // Another configuration has come meanwhile.
        this.listenLate(pool);
      },
      (error: Error) => {
        if (pool.listening) return;
        const text = `cannot listen on '${config.listenText}' yet: ${error.message}`;
        this.options.log.write(ALERT, text);
        pool.setTimer(LISTEN_AGAIN_MS, () => this.listenLate(pool));
      },
    );
  }

  /** A pool is removed: its clients end as they do when the proxy stops. */
  private part(pool: Pool): void {
    const { clock, log } = this.options;
    this.parting.add(pool);
    pool.closeListener();
    const what = `pool '${pool.config.name}' is removed`;
    void new Drain([pool], clock, log, this.config.process.shutdownTimeoutMs, what).run().then(() => {
      this.parting.delete(pool);
      this.discard(pool);
    });
  }

  private discard(pool: Pool): void {
    pool.stop();
    this.memory.remove(pool);
  }

  /** Servers of the pool of this name are somewhere else now. To be called between two turns. */
  follow(pool: string, states: readonly ServerState[]): void {
    this.pools.find(({ config }) => config.name === pool)?.follow(states);
  }

  /** The primary of this server may be written to for so long, ms. */
  grant(pool: string, server: string, ms: number): void {
    const found = this.pools.find(({ config }) => config.name === pool);
    found?.servers.find(({ config }) => config.name === server)?.cells.grant(ms);
  }

  /** There have been events. */
  tellEvents(seen: EventsSeen): void {
    this.events = seen;
  }

  private poolOf(id: number): Pool | undefined {
    return this.pools.find((pool) => pool.board.id === id);
  }

  /** Another worker, or an operator, has ejected or restored servers of a pool. */
  serversChanged(pool: number): void {
    this.poolOf(pool)?.ejection.lookAtBoard();
  }

  /** Another worker has sent such a request to every server. */
  knows(pool: number, words: readonly string[]): void {
    this.poolOf(pool)?.front.knows?.(words);
  }

  /** Another worker asks about the clients of a pool. `told` is called once, now or later. */
  asked(pool: number, question: ClientQuestion, told: Told): void {
    const { worker } = this.seat;
    const asked = this.poolOf(pool);
    if (asked === undefined) told(GONE);
    else asked.askWorker(worker, question, told);
  }

  /**
   * Stops gracefully: refuses new clients, answers what has been accepted, ends every connection (see drain.ts).
   * Resolves when that is done, or after `timeoutMs`.
   * @returns how many clients were cut off with replies owed to them
   */
  drain(timeoutMs: number): Promise<number> {
    const { clock, log } = this.options;
    this.stopping = true;
    return new Drain([...this.pools, ...this.parting], clock, log, timeoutMs).run().then((owed) => {
      this.stop();
      return owed;
    });
  }

  /** Closes everything at once. */
  stop(): void {
    this.stopping = true;
    this.statsServer?.close();
    this.memory.stop();
    for (const pool of [...this.pools, ...this.parting]) pool.stop();
  }
}

function replicasSeen({ config, replicas }: Server): ReplicaSeen[] {
  return replicas.map(({ spec, readsAnswered }) => ({
    server: config.name,
    address: spec.text,
    zone: spec.zone,
    reads: readsAnswered,
  }));
}
