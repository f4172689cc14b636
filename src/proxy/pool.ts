/**
 * One pool: a listening address, the servers behind it, and the clients in front of it.
 *
 *   listener ──► clients ──► front (Redis or memcached) ──► placement ──► servers
 *
 * The pool owns all of them and the timers that serve them. It receives network, clock, randomness and log, so
 * the simulator can run it as it is.
 */
import { assert } from "../bytes/assert.ts";
import type { PoolConfig } from "../config/config.ts";
import { type Log, NOTICE } from "../net/log.ts";
import type { Address, Clock, Handler, Listener, Net, Socket, TimerId } from "../net/net.ts";
import type { Placement } from "../ring/placement.ts";
import { atOnce } from "../ring/steps.ts";
import type { Board, PoolBoard } from "../stats/board.ts";
import type { Quotas } from "../stats/quotas.ts";
import {
  CLIENT_CONNECTIONS,
  LIMIT_CONNECTIONS,
  LIMIT_IDLE,
  LIMIT_MAX_CONNECTIONS,
  LIMIT_MEMORY,
  REQUESTS_TOTAL,
  TLS_FAILURES,
  TLS_HANDSHAKES,
} from "../stats/metrics.ts";
import { keysDiffer } from "../topology/change.ts";
import type { ServerState, Sign } from "../topology/state.ts";
import { placementSteps, samePlacement } from "../topology/placement.ts";
import { type CertificateSeen, type TlsListening, tlsOf, type TlsTally, towards } from "../net/tls.ts";
import { Client, OUTPUT } from "./client.ts";
import { ipOfPeer } from "../net/ip_range.ts";
import { Door, Lines } from "./door.ts";
import { Ejection } from "./ejection.ts";
import type { Front } from "./front.ts";
import { Greeting, type Guest } from "./greeting.ts";
import type { HttpGuard } from "./http_guard.ts";
import { Limits, type Measure } from "./limits.ts";
import { LOOK_MS } from "./leave.ts";
import { type Memory, MEMORY_FULL_TEXT } from "./memory.ts";
import { type ClientQuestion, GONE, type Told } from "./client_question.ts";
import { Seen } from "./seen.ts";
import { Server } from "./server.ts";
import type { ServerConnection } from "./server_connection.ts";
import { Timing } from "./timing.ts";
import type { Turn } from "./turn.ts";

/** What a pool needs from the process around it. */
export interface Surroundings {
  readonly net: Net;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly random: () => number;
  readonly log: Log;
  readonly memory: Memory;
  readonly httpGuard: HttpGuard;
  readonly seat: Seat;
  /** What the file limit leaves for clients of all pools and workers together. */
  readonly clientsMax: number;
  /** TLS handshakes with clients that a worker may have at a time. */
  readonly handshakesMax: number;
  /** Absent: SLICE_ARGUMENTS. */
  readonly sliceArguments?: number;
  /** Absent: PASS_MIN. */
  readonly passMin?: number;
  /** Absent: STREAM_MIN. */
  readonly streamMin?: number;
}

/** A worker's place among those of the process. */
export interface Seat {
  /** From 0; worker 0 is the one that serves unix sockets. */
  readonly worker: number;
  readonly board: Board;
  /** Some of a pool's servers have been ejected or restored: the other workers should look at the board. */
  serversChanged(pool: number): void;
  /** The other workers should know of a request for every server (Front.knows). @param words its arguments, latin1 */
  tellOthers(pool: number, words: readonly string[]): void;
  /** Whoever looks after where the pool's servers are should know this of one (topology/state.ts). Absent: nobody does. */
  sign?(pool: number, server: string, sign: Sign, cause: string): void;
  /** Asks another worker about its clients of a pool. `told` is called once, later, and in bounded time. */
  ask(worker: number, pool: number, question: ClientQuestion, told: Told): void;
}

/** Arguments of one request that one turn takes care of; see redis/slices.ts. */
const SLICE_ARGUMENTS = 4096;
/** Bytes of one reply that are kept in the hope of the rest; see ServerConnection.passOn. */
const PASS_MIN = 1024 * 1024;
/** With at least so many bytes still to come a request streams, on a connection that it leases; see redis/large.ts. */
const STREAM_MIN = 512 * 1024;
/** What decides which server has a key, and where that server is. */
const RING_KEYS = ["servers", "hash", "hashTag", "distribution"] as const;
/** What a connection to a server is made with: if one of these changes, all are made anew. */
const CONNECTION_KEYS = [
  "redisAuth",
  "serverAuth",
  "redisDb",
  "serverConnections",
  "failover",
  "serverTls",
] as const;
const SWEEP_MIN_MS = 5;
const SWEEP_MAX_MS = 50;
export const TOO_MANY_CLIENTS = "max number of clients reached";
const IDLE_SWEEP_MS = 1000;
/** Requests of one turn that go into the slow log. */
const SLOW_MAX = 16;
/** Refused clients that may take their time to close. */
const REFUSED_MAX = 8;
/** Clients' serials of one worker; more than it will ever accept. */
const SERIALS = 2 ** 40;

/** A listener, and its side of TLS; null: it speaks none. */
export interface Opened {
  readonly listener: Listener;
  readonly tls: TlsListening | null;
}

export class Pool {
  /** What a reload changes, all at once and between two turns; `epoch` counts how often keys may have moved. */
  servers: readonly Server[];
  placement: Placement;
  epoch = 0;
  /** Counts how often servers have left the ring or returned. */
  rings = 0;
  /** Counts how often keys may have moved, by a reload or because the ring has changed. */
  get moves(): number {
    return this.epoch + this.rings;
  }
  /** Servers that have left, with connections that still owe something. */
  private readonly leaving = new Set<Server>();
  readonly ejection: Ejection;
  /** 1 = on the ring, by server. */
  live: Uint8Array;
  readonly clients: Set<Client> = new Set();
  /** Connections of which it is not known yet whose they are. */
  readonly greetings: Set<Greeting> = new Set();
  /** "ip:port" of clients that a load balancer has announced: see Client.peer. */
  readonly announced: Map<Client, string> = new Map();
  readonly worker: number;
  /** One value a row of POOL_METRICS, on the board. */
  readonly counters: Float64Array;
  /** What this worker counts of its clients' requests. */
  readonly timing: Timing;
  /** 1 + the class (stats/latency.ts) of the request that is taken now, until it is counted or in its client's queue; else 0. */
  counting = 0;
  /** Why a request that needs a server is refused: MEMORY_FULL or HAD_ENOUGH (limits.ts), or both; 0 = it is not. */
  refusing = 0;
  readonly front: Front;
  readonly seen: Seen;
  readonly memory: Memory;
  readonly limits: Limits;
  timeoutMs: number;
  sweeping = false;
  stopped = false;
  /** The proxy is stopping: see drain.ts. */
  private draining = false;
  /** The last few that were refused, oldest first. */
  private readonly refused: Socket[] = [];
  private listener: Listener | null = null;
  /** The listener's; null: it speaks no TLS. */
  private tls: TlsListening | null = null;
  /** Who may connect; null: everybody. */
  private door: Door | null;
  private readonly lines: Lines;
  private watchesIdle = false;
  private watchesLeave = false;
  /** How many of the turn at that time have gone into the slow log. */
  private slowAtMs = -1;
  private slowCount = 0;
  private readonly timers = new Set<TimerId>();

  constructor(
    public config: PoolConfig,
    readonly board: PoolBoard,
    private readonly around: Surroundings,
    makeFront: (pool: Pool) => Front,
    placement: Placement | null = null,
  ) {
    this.timeoutMs = config.timeoutMs;
    this.worker = around.seat.worker;
    this.counters = this.board.row(this.worker);
    this.timing = new Timing(this.board.latency.block(this.worker), around.turn);
    this.placement = placement ?? atOnce(this.placementSteps(config));
    this.servers = config.servers.map((server, i) => new Server(this, server, this.board.servers[i]!, i));
    this.live = new Uint8Array(this.servers.length).fill(1);
    this.ejection = new Ejection(this);
    this.seen = new Seen(
      config.name,
      1 + this.board.id * this.board.workers + this.worker,
      this.counters[REQUESTS_TOTAL]!,
      around.clock.nowMs(),
    );
    this.lines = new Lines(around.log, config.name);
    this.door = Door.make(config, this, this.lines);
    this.memory = around.memory;
    this.memory.add(this);
    this.front = makeFront(this);
    this.limits = new Limits(this, around.seat.board.quotas, (client) => ipOfPeer(client.peer()));
    // Whoever replaces a worker begins with the servers that are ejected already.
    this.ejection.lookAtBoard();
    if (config.preconnect) { for (const server of this.servers) server.connection(0, 0); }
    this.watchIdle();
    this.watchLeave();
  }

  get net(): Net {
    return this.around.net;
  }
  /** How often logins of whom have failed of late, over all workers. */
  get failures(): Quotas {
    return this.around.seat.board.failures;
  }
  /** The net to connect to servers with. */
  get serverNet(): Net {
    return towards(this.around.net, this.config.serverTls, this.around.log);
  }
  get clock(): Clock {
    return this.around.clock;
  }
  get turn(): Turn {
    return this.around.turn;
  }
  get log(): Log {
    return this.around.log;
  }
  get random(): () => number {
    return this.around.random;
  }
  get httpGuard(): HttpGuard {
    return this.around.httpGuard;
  }
  /** Requests with more arguments go out in slices. */
  get sliceArguments(): number {
    return this.around.sliceArguments ?? SLICE_ARGUMENTS;
  }
  /** A reply of which so much has come, but not all, goes on in parts. */
  get passMin(): number {
    return this.around.passMin ?? PASS_MIN;
  }
  /** A request of which so much is still to come is not kept, but streams (redis/large.ts). */
  get streamMin(): number {
    return this.around.streamMin ?? STREAM_MIN;
  }

  async listen(): Promise<void> {
    this.accepts(await this.openListener(this.config));
  }

  /**
   * Listens where `config` says; its clients are this pool's at once. Null if another worker does it: two threads cannot share a
   * unix socket. Rejects if the address cannot be had.
   */
  async openListener(config: PoolConfig): Promise<Opened | null> {
    if ("path" in config.listen && this.worker !== 0) return null;
    const { net, log, handshakesMax } = this.around;
    const tls = config.tls === null ? null : tlsOf(net).listening(config.name, config.tls, this.tally, log);
    const listener = await (tls?.net ?? net).listen(config.listen, this.clientHandler, {
      backlog: config.backlog,
      reusePort: config.reusePort || this.board.workers > 1,
      keepAlive: config.tcpKeepalive,
      place: this.worker,
      handshakesMax,
      admits: (socket) => this.door === null || this.door.opens(socket),
      preface: () => this.door?.expectsHeader ? this.door : null,
    });
    return { listener, tls };
  }

  /** Takes this listener for its own, in place of the one it has, if any. One that is to end takes none. */
  accepts(opened: Opened | null): void {
    this.closeListener();
    if (opened === null) return;
    if (this.draining || this.stopped) return opened.listener.close();
    this.listener = opened.listener;
    this.tls = opened.tls;
    this.countConnection(1);
    const { config } = this;
    this.log.write(
      NOTICE,
      `listening on '${config.listenText}' in ${
        config.redis ? "redis" : "memcache"
      } pool '${config.name}' with ${config.servers.length} servers`,
    );
  }

  /** The port in use, or 0. */
  get port(): number {
    return this.listener?.port ?? 0;
  }

  /** What a process that takes this one's place can go on with; null if there is nothing. @param given it does */
  heirloom(given: boolean): { readonly at: Address; readonly fd: number } | null {
    const fd = this.listener?.fd;
    if (fd === undefined) return null;
    if (given) this.listener!.bequeath!();
    return { at: this.config.listen, fd };
  }

  countConnection(change: 1 | -1): void {
    const { board, worker } = this.around.seat;
    board.connectionsCurrent[worker]! += change;
    if (change > 0) board.connectionsTotal[worker]!++;
  }

  // ---- clients

  private readonly clientHandler: Handler = {
    open: (socket) => this.accept(socket),
    data: (socket, bytes) => {
      const guest = socket.owner as Guest | undefined;
      if (guest === undefined) return;
      guest.receive(bytes);
      this.memory.note(bytes.length);
    },
    eof: (socket) => {
      const guest = socket.owner as Guest | undefined;
      if (guest === undefined) socket.end();
      else guest.peerEnded();
    },
    drain: (socket) => (socket.owner as Guest | undefined)?.drained(),
    close: (socket, error) => (socket.owner as Guest | undefined)?.wasClosed(error),
    passed: (socket, count) => (socket.owner as Client).passed(count),
  };

  private accept(socket: Socket): void {
    const { seat, clientsMax } = this.around;
    const { door } = this;
    if (door !== null && !door.letsOn(socket)) return socket.destroy();
    if (this.memory.full || this.memory.crowded) {
      this.counters[LIMIT_MEMORY]!++;
      this.tellRefused(socket.announced || socket.peer(), MEMORY_FULL_TEXT);
      return this.refuse(socket, MEMORY_FULL_TEXT);
    }
    const poolMax = this.config.clientConnectionsMax || Infinity;
    if (this.stopped || !seat.board.admit(this.board, this.worker, poolMax, clientsMax)) {
      this.counters[LIMIT_CONNECTIONS]!++;
      if (!this.stopped) {
        this.tellRefused(socket.announced || socket.peer(), `${TOO_MANY_CLIENTS}: ${this.whyFull(poolMax)}`);
      }
      return this.refuse(socket, TOO_MANY_CLIENTS);
    }
    this.memory.noteClient(this);
    this.countConnection(1);
    if (socket.announced !== undefined || door === null || !door.expectsHeader) {
      this.welcome(socket, socket.announced ?? "");
    } else {
      const greeting = new Greeting(socket, this, door);
      socket.owner = greeting;
      this.greetings.add(greeting);
    }
  }

  /** @param announced its address, "" for that of the socket */
  private welcome(socket: Socket, announced: string): Client | null {
    const serial = this.worker * SERIALS + this.board.countAccepted(this.worker);
    const client = new Client(socket, this, serial);
    if (announced !== "") this.announced.set(client, announced);
    let full = this.limits.admit(client);
    if (full === null) {
      client.session = this.front.newSession(client);
      full = this.front.admit?.(client) ?? null;
    }
    if (full !== null) {
      this.isTooMany(client, full);
      client.allowance?.leave();
      this.announced.delete(client);
      this.leavesPlace();
      this.refuse(socket, TOO_MANY_CLIENTS);
      return null;
    }
    client.isActive();
    socket.owner = client;
    this.clients.add(client);
    this.counters[CLIENT_CONNECTIONS]!++;
    if (this.draining) client.startLeaving();
    return client;
  }

  /** The most clients that the pool may have, by its own limit or by that of open files; 0 = no limit. */
  get clientsMax(): number {
    const most = Math.min(this.config.clientConnectionsMax || Infinity, this.around.clientsMax);
    return most === Infinity ? 0 : most;
  }

  /** Which of the two limits is reached, and what to raise. */
  private whyFull(poolMax: number): string {
    return Atomics.load(this.board.clients, 0) >= poolMax
      ? `client_connections is ${poolMax}`
      : `the limit of open files leaves ${this.around.clientsMax} (ulimit -n; LimitNOFILE of a service)`;
  }

  /** @param who "ip:port" */
  private tellRefused(who: string, why: string): void {
    this.lines.write(this.turn.now(), `client ${who} refused: ${why}`);
  }

  /** There are as many of its address or user as may be: counts it, and says so. */
  isTooMany(client: Client, { tooMany }: Measure): void {
    this.counters[LIMIT_MAX_CONNECTIONS]!++;
    this.tellRefused(client.peer(), tooMany);
  }

  /** Its header has come, and the client may stay, unless there are too many of its address: then it has been told. */
  greeted(greeting: Greeting, announced: string): Client | null {
    this.greetings.delete(greeting);
    return this.welcome(greeting.socket, announced);
  }

  /** Nobody comes of it; its socket has been closed. */
  greetingOver(greeting: Greeting): void {
    if (this.greetings.delete(greeting)) this.leavesPlace();
  }

  /** Is this the serial of a client that another worker accepts? */
  isOfOtherWorker(serial: number): boolean {
    const worker = this.workerOf(serial);
    return worker !== this.worker && worker >= 0;
  }

  /** The worker that accepts, or accepted, clients with such a serial; -1 = none. */
  workerOf(serial: number): number {
    const worker = Math.floor(serial / SERIALS);
    return worker >= 0 && worker < this.board.workers ? worker : -1;
  }

  /** Asks a worker, perhaps this one, about its clients of this pool. `told` is called once, now or later. */
  askWorker(worker: number, question: ClientQuestion, told: Told): void {
    if (worker !== this.worker) this.around.seat.ask(worker, this.board.id, question, told);
    else if (this.front.answerQuestion) this.front.answerQuestion(question, told);
    else told(GONE);
  }

  private refuse(socket: Socket, text: string): void {
    const error = this.front.errorReply(text);
    socket.send(error, 0, error.length);
    socket.flush();
    socket.end();
    // Until its client closes too it takes a file, and with none left nobody would even be refused (Bun spins then).
    this.refused.push(socket);
    if (this.refused.length > REFUSED_MAX) this.refused.shift()!.destroy();
  }

  /** A client's socket is closed. */
  forget(client: Client): void {
    if (!this.clients.delete(client)) return;
    client.allowance?.leave();
    this.announced.delete(client);
    this.leavesPlace();
  }

  private leavesPlace(): void {
    this.countConnection(-1);
    this.around.seat.board.release(this.board, this.worker);
  }

  /** Starts looking for idle clients, if any may have to go. */
  private watchIdle(): void {
    const { idleTimeoutMs, redisAuth, users } = this.config;
    if (this.watchesIdle || (idleTimeoutMs <= 0 && redisAuth === null && users === null)) return;
    this.watchesIdle = true;
    this.sweepIdleClients();
  }

  /** Starts looking whether servers' primaries may be written to, if that has to be granted. */
  private watchLeave(): void {
    if (this.watchesLeave || this.config.failover !== "promote") return;
    this.watchesLeave = true;
    const look = () => {
      for (const server of this.servers) server.lookAtLeave();
      this.setTimer(LOOK_MS, look);
    };
    this.setTimer(LOOK_MS, look);
  }

  private sweepIdleClients(): void {
    this.setTimer(IDLE_SWEEP_MS, () => {
      const nowMs = this.clock.nowMs();
      const idleMs = this.config.idleTimeoutMs || Infinity;
      for (const client of this.clients) {
        // One whose request is being prepared, or waits for a server, is owed nothing yet, and is not idle; one that does not read is.
        if (client.head !== null || (client.blocked & ~OUTPUT) !== 0 || client.closing) continue;
        if (nowMs - client.lastActiveMs < (this.front.idleMax?.(client, idleMs) ?? idleMs)) continue;
        this.counters[LIMIT_IDLE]!++;
        client.closeAfterReplies();
      }
      this.sweepIdleClients();
    });
  }

  // ---- servers

  /**
   * Where keys will be under `config`, for `adopt`: making a ring takes some ms if the servers are many, and nobody is to wait for
   * that at the change. The present one if keys do not move.
   */
  *placementSteps(config: PoolConfig): Generator<number, Placement> {
    const present = this.placement as Placement | undefined;
    if (present !== undefined && samePlacement(present, this.config, config)) return present;
    const ejected = new Set(
      this.servers?.filter((server) => server.ejected).map(({ config }) => config.name),
    );
    const live = Uint8Array.from(config.servers, ({ name }) => ejected.has(name) ? 0 : 1);
    return yield* placementSteps(config, live, this.random);
  }

  /**
   * Goes on under another configuration, whose servers the board has adopted already. To be called between two turns.
   *
   * Servers that stay keep their connections, unless these say what is no longer right. What is in flight finishes where it
   * is; a client that is owed something sends its next request when it has been answered, so that nothing overtakes.
   *
   * @param placement what `placementSteps` has made of it, if it was asked before
   */
  adopt(config: PoolConfig, placement: Placement = atOnce(this.placementSteps(config))): void {
    const { config: before, epoch } = this;
    const reconnect = keysDiffer(before, config, CONNECTION_KEYS);
    const left = new Map(this.servers.map((server) => [server.cells, server]));
    this.config = config;
    this.door = Door.make(config, this, this.lines);
    this.adoptTimeout(config.timeoutMs);
    if (config.slowlogThresholdMs !== before.slowlogThresholdMs) {
      for (const server of this.everyServer) {
        for (const connection of server.connections) connection.slowLogChanged();
      }
    }
    // Replicas of a cluster's nodes come and go, and no key moves with them.
    const moved = config.cluster ? placement !== this.placement : keysDiffer(before, config, RING_KEYS);
    if (reconnect || moved) this.epoch++;
    const added: Server[] = [];
    this.servers = config.servers.map((server, i) => {
      const cells = this.board.servers[i]!;
      const present = left.get(cells);
      if (present === undefined) {
        const made = new Server(this, server, cells, i);
        added.push(made);
        return made;
      }
      left.delete(cells);
      present.adopt(server, i, reconnect);
      return present;
    });
    for (const server of left.values()) {
      server.leave(this.servers.some(({ config: { heirOf } }) => heirOf === server.config.name));
      if (server.connections.length > 0) this.leaving.add(server);
    }
    // With no other server there would be nobody to ask meanwhile: they are told what they lack while clients see them.
    const others = this.servers.some((server) => !server.ejected && !added.includes(server));
    for (const server of added) {
      if (others) this.ejection.join(server);
      else this.ejection.moved(server);
    }
    this.placement = placement;
    this.placeLive();
    this.ejection.adopt();
    this.ejection.lookAtBoard();
    this.front.adopt();
    if (config.perAddress !== before.perAddress) this.limits.adopt();
    if (config.users !== before.users || config.perUser !== before.perUser) this.limits.usersChanged();
    if (this.epoch !== epoch) { for (const client of this.clients) client.settle(); }
    this.watchIdle();
    this.watchLeave();
    if (config.preconnect) { for (const server of this.servers) server.connection(0, 0); }
  }

  /** Servers are somewhere else now. To be called between two turns. */
  follow(states: readonly ServerState[]): void {
    for (const state of states) {
      const server = this.servers.find(({ config }) => config.name === state.server);
      server?.follow(state);
      server?.lookAtLeave();
    }
  }

  /** Others may take the place of its servers: who is written to has to be a primary at the time. */
  get replaceable(): boolean {
    return this.config.failover !== "none";
  }

  /** Its servers are nodes of a cluster: keys are in slots, and a node may say that another one owns a slot. */
  get cluster(): boolean {
    return this.config.cluster;
  }

  /** Servers that come, or come back, are told the scripts that clients rely on. */
  get tellsScripts(): boolean {
    return this.config.autoEjectHosts || this.config.cluster;
  }

  /**
   * Reads what the listener that it has needs for another configuration.
   * @returns what makes it count for the handshakes to come; null: nothing has to
   * @throws TlsFileError
   */
  prepareTls({ tls }: PoolConfig): (() => void) | null {
    return this.tls === null || tls === null ? null : this.tls.prepare(tls);
  }

  private readonly tally: TlsTally = {
    shook: () => void this.counters[TLS_HANDSHAKES]!++,
    failed: () => void this.counters[TLS_FAILURES]!++,
  };

  /** Takes certificates that have changed, at once. @returns those in use, by the key of the configuration that names them */
  lookAtCertificates(): { readonly key: "tls" | "server_tls"; readonly seen: readonly CertificateSeen[] }[] {
    const { serverTls } = this.config;
    return [
      { key: "tls", seen: this.tls?.look() ?? [] },
      { key: "server_tls", seen: serverTls === null ? [] : tlsOf(this.net).look(serverTls) },
    ];
  }

  private adoptTimeout(timeoutMs: number): void {
    if (timeoutMs === this.timeoutMs) return;
    this.timeoutMs = timeoutMs;
    for (const server of this.everyServer) {
      for (const connection of server.connections) connection.timeoutChanged();
    }
  }

  /** One that has left owes something again. */
  watchLeaving(server: Server): void {
    this.leaving.add(server);
    this.sweepSoon();
  }

  /** Those that have left but still owe something too. */
  get everyServer(): readonly Server[] {
    return this.leaving.size === 0 ? this.servers : [...this.servers, ...this.leaving];
  }

  /** Makes the ring of those that are not ejected. */
  placeLive(): void {
    this.live = Uint8Array.from(this.servers, (server) => server.ejected ? 0 : 1);
    this.placement.setLive(this.live);
  }

  /** The servers that are not ejected: who is asked for what concerns all of them. Empty if none is left. */
  onRing(): readonly Server[] {
    return this.servers.filter((server) => !server.ejected);
  }

  /** A connection that has begun anew owns its new socket alone. */
  readonly serverHandler: Handler = {
    open: (socket) => connectionOf(socket)?.opened(),
    data: (socket, bytes) => {
      connectionOf(socket)?.receive(bytes);
      this.memory.note(bytes.length);
    },
    eof: (socket) => connectionOf(socket)?.fail("EOF"),
    drain: (socket) => connectionOf(socket)?.drained(),
    close: (socket, error) => connectionOf(socket)?.wasClosed(error),
    passed: (socket, count) => connectionOf(socket)?.passed(count),
  };

  /** Starts looking for overdue requests; stops by itself when none can be. */
  startSweep(): void {
    this.sweeping = true;
    const every = Math.min(SWEEP_MAX_MS, Math.max(SWEEP_MIN_MS, this.timeoutMs / 16));
    this.setTimer(every, () => this.sweep());
  }

  /** As `startSweep`, whoever has started it already: a connection has to be seen to its end. */
  sweepSoon(): void {
    if (!this.sweeping) this.startSweep();
  }

  private sweep(): void {
    this.sweeping = false;
    const now = this.clock.nowMs();
    let more = false;
    for (const server of this.everyServer) {
      for (const endpoint of server.endpoints) {
        for (const connection of endpoint.connections) if (connection.sweep(now)) more = true;
      }
      if (server.gone && server.connections.length === 0) this.leaving.delete(server);
    }
    if (more && !this.sweeping) this.startSweep();
  }

  /** Throws if something is not as it must be between two events. */
  invariants(): void {
    this.servers.forEach((server, i) => {
      assert(server.index === i && !server.gone, "a server knows its place");
      assert((this.live[i] === 0) === server.ejected, "the ring has those that are not ejected");
    });
    for (const server of this.leaving) assert(server.gone && server.index < 0, "who leaves has no place");
  }

  // ---- timers and the end

  /** A timer that dies with the pool. */
  setTimer(afterMs: number, run: () => void): TimerId {
    const id = this.clock.setTimer(afterMs, () => {
      this.timers.delete(id);
      run();
    });
    this.timers.add(id);
    return id;
  }

  clearTimer(id: TimerId): void {
    this.timers.delete(id);
    this.clock.clearTimer(id);
  }

  /** Accepts no more clients. */
  closeListener(): void {
    if (this.listener === null) return;
    this.listener.close();
    this.listener = null;
    this.tls = null;
    this.countConnection(-1);
  }

  get listening(): boolean {
    return this.listener !== null;
  }

  /**
   * Accepts no more clients, and each one present ends at its next moment of rest (see drain.ts). The listener is closed at
   * the end of a turn, when all that waited in the kernel to be accepted has just been: closing resets those.
   */
  drain(): void {
    this.draining = true;
    this.clock.afterTurn(() => this.closeListener());
    for (const client of this.clients) client.startLeaving();
  }

  /** Closes everything at once. */
  stop(): void {
    this.closeListener();
    this.stopped = true;
    for (const greeting of [...this.greetings]) greeting.leave();
    for (const client of this.clients) client.socket.destroy();
    for (const server of this.everyServer) {
      for (const connection of server.connections) connection.retire();
    }
    this.front.stop();
    for (const id of this.timers) this.clock.clearTimer(id);
    this.timers.clear();
  }

  /**
   * A server has taken long for a request, or has failed it.
   * @param head the first bytes of what it was sent; null = they are not known any more
   */
  logSlow(
    server: Server,
    client: Client | null,
    head: Uint8Array | null,
    waitedMs: number,
    servedMs: number,
  ): void {
    const { config, clock, turn } = this;
    const nowMs = turn.now();
    if (nowMs !== this.slowAtMs) this.slowCount = 0;
    this.slowAtMs = nowMs;
    // When a server has stood still there are thousands, all for the same reason.
    if (++this.slowCount > SLOW_MAX) return;
    this.board.slowLog.add({
      atMs: clock.wallMs(),
      server: server.config.name,
      client: client?.peer() ?? "",
      clientName: client === null ? "" : this.front.nameOf?.(client) ?? "",
      words: head === null ? [] : this.front.wordsOf(head, config.slowlogMask),
      waitedUs: Math.round(waitedMs * 1000),
      servedUs: Math.round(servedMs * 1000),
    });
  }

  /** Tells the other workers that a server was ejected or restored. */
  serversChanged(): void {
    this.around.seat.serversChanged(this.board.id);
  }

  /** See Seat. @param cause for people; no line ends */
  sign(server: Server, sign: Sign, cause: string): void {
    this.around.seat.sign?.(this.board.id, server.config.name, sign, cause);
  }

  /** See Seat. */
  tellOthers(words: readonly string[]): void {
    this.around.seat.tellOthers(this.board.id, words);
  }
}

function connectionOf(socket: Socket): ServerConnection | null {
  return socket.owner as ServerConnection | null;
}
