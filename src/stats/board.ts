/**
 * What a process counts, in memory that all its workers share: each writes rows of its own, anybody may read them.
 *
 *   Board ─┬─ process      connections of each worker, clients of all, the log level
 *          ├─ quotas       what each address and user may still do (quotas.ts)
 *          ├─ failures     of logins, how many in a row of each address: in a table of the same kind
 *          └─ PoolBoard    one a pool: clients of all workers | clients of worker 0, 1, …, then a block a worker:
 *               │          POOL_METRICS | accepted
 *               └─ ServerCells  one a server: wait factor | prober | told | held, then a block a worker: SERVER_METRICS
 *   behind both: Latency (latency.ts); behind that of a pool: SlowLog (slow_log.ts)
 *
 * Each box is a buffer of its own, so that pools and servers can come and go while it runs and the others keep theirs:
 * the main thread `arrange`s the pools of a new configuration, each thread `adopt`s them. What has been counted never
 * goes backwards.
 *
 * A worker that dies leaves its rows; `bury` takes its gauges out, and whoever replaces it counts on. Rows are plain
 * Float64Arrays: one writer each, and 8 bytes are read whole on every machine that both runtimes run on. What several
 * workers write (limits, ejections) are cells, changed by Atomics only. A Float64Array on a SharedArrayBuffer costs no
 * more than another: 0.84 ns for two increments on Bun 1.4.5, 3.48 ns on Deno 2.9.6, both ways.
 */
import { Latency } from "./latency.ts";
import { Quotas } from "./quotas.ts";
import { SlowLog } from "./slow_log.ts";
import { type Metric, POOL_METRICS, SERVER_METRICS } from "./metrics.ts";

/** Blocks of two workers share no cache line, and no pair of lines that is fetched together. */
const ALIGN_BYTES = 128;
/** Numbers of a pool's servers go round here; a pool has fewer servers at any time. */
export const SERVER_NUMBERS = 65536;

/** So many servers of a pool that have left are remembered. */
const PAST_MAX = 64;

/** Addresses whose failed logins are remembered, and for how long after the last one. */
const FAILURES_MAX = 4096;
const FAILURES_MS = 60_000;

/** What goes to another thread; the memory is shared, not copied. */
export interface BoardMemory {
  readonly workers: number;
  readonly process: SharedArrayBuffer;
  readonly quotas: SharedArrayBuffer;
  readonly failures: SharedArrayBuffer;
  readonly pools: readonly PoolMemory[];
}

export interface PoolMemory {
  /** Never given to another pool of this process. */
  readonly id: number;
  readonly buffer: SharedArrayBuffer;
  readonly servers: readonly ServerMemory[];
}

export interface ServerMemory {
  readonly number: number;
  readonly buffer: SharedArrayBuffer;
}

/** Where a pool of a new configuration comes from: places on the board as it is, -1 for what is new. */
export interface PoolArrangement {
  readonly pool: number;
  readonly servers: readonly number[];
  /** Of each: which place had been its under another name, -1 if none; what an operator did to a machine stays done to it. */
  readonly renamed?: readonly number[];
  /** Where servers leave and return, as nodes of a cluster do that give all slots away for a while: who they were and are. */
  readonly names?: { readonly before: readonly string[]; readonly after: readonly string[] };
}

export type Arrangement = readonly PoolArrangement[];

export class Board {
  #pools: readonly PoolBoard[];
  /** New ones that are not in use yet, by id. */
  readonly #prepared = new Map<number, PoolBoard>();
  /** Removed ones that still have clients. */
  #leaving: PoolBoard[] = [];
  #nextId: number;
  private readonly buffer: SharedArrayBuffer;
  /** Connections a worker has opened since the start, of whatever kind; by worker. */
  readonly connectionsTotal: Float64Array;
  /** Connections and listeners a worker has open; by worker. */
  readonly connectionsCurrent: Float64Array;
  /** CLIENTS, LOG_LEVEL. */
  private readonly cells: Int32Array;
  readonly quotas: Quotas;
  readonly failures: Quotas;

  private constructor(
    readonly workers: number,
    pools: readonly PoolBoard[],
    buffer: SharedArrayBuffer | null,
    quotas: SharedArrayBuffer | null,
    failures: SharedArrayBuffer | null,
  ) {
    this.quotas = new Quotas(workers, quotas);
    this.failures = new Quotas(workers, failures, FAILURES_MAX, FAILURES_MS);
    this.#pools = pools;
    this.#nextId = pools.length;
    this.buffer = buffer ?? new SharedArrayBuffer(16 * workers + 4 * CELLS);
    this.connectionsTotal = new Float64Array(this.buffer, 0, workers);
    this.connectionsCurrent = new Float64Array(this.buffer, 8 * workers, workers);
    this.cells = new Int32Array(this.buffer, 16 * workers, CELLS);
  }

  /** @param servers how many servers each pool has */
  static make(workers: number, servers: readonly number[]): Board {
    const board = new Board(workers, [], null, null, null);
    board.adopt(board.arrange(servers.map((count) => ({ pool: -1, servers: new Array(count).fill(-1) }))));
    return board;
  }

  /** The board that another thread has made. */
  static of({ workers, process, quotas, failures, pools }: BoardMemory): Board {
    return new Board(workers, pools.map((pool) => new PoolBoard(workers, pool)), process, quotas, failures);
  }

  get pools(): readonly PoolBoard[] {
    return this.#pools;
  }

  get memory(): BoardMemory {
    const { workers, buffer, quotas, failures } = this;
    return {
      workers,
      process: buffer,
      quotas: quotas.memory,
      failures: failures.memory,
      pools: this.#pools.map((pool) => pool.memory),
    };
  }

  // ---- pools that come and go

  /** The memory for pools that change: new where -1 stands, else what is there. The board itself stays as it is; main thread only. */
  arrange(plan: Arrangement): PoolMemory[] {
    return plan.map(({ pool, servers, renamed, names }) => {
      const present = pool < 0 ? null : this.#pools[pool]!;
      if (present !== null && names !== undefined) present.remember(names.before, servers);
      let last = present?.lastNumber ?? -1;
      const taken = new Set(
        [...present?.servers ?? [], ...present?.left ?? []].map((server) => server.number),
      );
      const next = (): number => {
        do last = (last + 1) % SERVER_NUMBERS; while (taken.has(last));
        taken.add(last);
        return last;
      };
      const cells = servers.map((server, i) => {
        if (server >= 0) return present!.servers[server]!.memory;
        const row = names === undefined ? null : present?.returning(names.after[i]!) ?? null;
        // A number is never that of one that has left: walks (SCAN) that were beyond that would not come to what it owns now.
        const made = { number: next(), buffer: row ?? withLatency(serverBytes(this.workers), this.workers) };
        const was = renamed?.[i] ?? -1;
        if (was >= 0) new ServerCells(this.workers, made).hold(present!.servers[was]!.held);
        return made;
      });
      const { id, buffer } = present?.memory ??
        { id: this.#nextId++, buffer: withLatency(poolBytes(this.workers) + SlowLog.bytes, this.workers) };
      return { id, buffer, servers: cells };
    });
  }

  /** The board of a pool that `arrange` has given memory: the present one, or one that `adopt` will take. */
  boardOf(memory: PoolMemory): PoolBoard {
    const present = this.#pools.find((pool) => pool.id === memory.id) ?? this.#prepared.get(memory.id);
    if (present !== undefined) return present;
    const made = new PoolBoard(this.workers, memory);
    this.#prepared.set(memory.id, made);
    return made;
  }

  /** Takes what `arrange` has made, here or on the main thread. Boards of pools and servers that stay remain the objects they are. */
  adopt(pools: readonly PoolMemory[]): void {
    const before = this.#pools;
    this.#pools = pools.map((memory) => {
      const board = this.boardOf(memory);
      board.adopt(memory.servers);
      return board;
    });
    this.#prepared.clear();
    this.#leaving.push(...before.filter((pool) => !this.#pools.includes(pool)));
  }

  /** Clients of all pools and workers. */
  get clients(): number {
    return Atomics.load(this.cells, CLIENTS);
  }

  get logLevel(): number {
    return Atomics.load(this.cells, LOG_LEVEL);
  }

  set logLevel(level: number) {
    Atomics.store(this.cells, LOG_LEVEL, level);
  }

  /**
   * Takes a client's place in a pool. False if the pool has `poolMax` clients or the process `processMax`, over all
   * workers; exact, however many workers ask at once.
   */
  admit({ clients }: PoolBoard, worker: number, poolMax: number, processMax: number): boolean {
    if (!take(this.cells, CLIENTS, processMax)) return false;
    if (!take(clients, 0, poolMax)) {
      Atomics.sub(this.cells, CLIENTS, 1);
      return false;
    }
    Atomics.add(clients, 1 + worker, 1);
    return true;
  }

  /** Gives the place back. */
  release({ clients }: PoolBoard, worker: number): void {
    Atomics.sub(clients, 1 + worker, 1);
    Atomics.sub(clients, 0, 1);
    Atomics.sub(this.cells, CLIENTS, 1);
  }

  /** A worker has died: what it had is gone, what it has counted stays. Call it when its thread runs no more. */
  bury(worker: number): void {
    this.connectionsCurrent[worker] = 0;
    this.quotas.bury(worker);
    this.failures.bury(worker);
    this.#leaving = this.#leaving.filter((pool) => Atomics.load(pool.clients, 0) > 0);
    for (const pool of [...this.#pools, ...this.#leaving]) {
      Atomics.sub(this.cells, CLIENTS, pool.bury(worker));
    }
  }

  /** Clients that a worker has, those of removed pools included. */
  clientsOf(worker: number): number {
    return [...this.#pools, ...this.#leaving].reduce((sum, pool) => sum + pool.clients[1 + worker]!, 0);
  }
}

const CLIENTS = 0;
const LOG_LEVEL = 1;
const CELLS = 2;

export class PoolBoard {
  readonly id: number;
  /** Clients of all workers, then those of each; changed by Board.admit and release. */
  readonly clients: Int32Array;
  /** Clients ever accepted; by worker. Cut from the workers' blocks. */
  private readonly accepted: readonly Float64Array[];
  private readonly counters: readonly Float64Array[];
  /** Of requests as clients see them: each once. */
  readonly latency: Latency;
  readonly slowLog: SlowLog;
  private readonly buffer: SharedArrayBuffer;
  #servers: readonly ServerCells[];
  /** The highest number given so far; the next new server gets one after it. */
  lastNumber: number;
  /** Servers that have left and may return, the latest last; main thread only. */
  private readonly past = new Map<string, ServerCells>();

  constructor(readonly workers: number, { id, buffer, servers }: PoolMemory) {
    this.id = id;
    this.buffer = buffer;
    this.clients = new Int32Array(buffer, 0, 1 + workers);
    const rows = cutRows(buffer, poolHead(workers), workers, POOL_METRICS.length + 1);
    this.counters = rows.map((row) => row.subarray(0, POOL_METRICS.length));
    this.accepted = rows.map((row) => row.subarray(POOL_METRICS.length));
    this.latency = new Latency(buffer, poolBytes(workers), workers);
    this.slowLog = new SlowLog(buffer, poolBytes(workers) + Latency.bytes(workers));
    this.#servers = servers.map((memory) => new ServerCells(workers, memory));
    this.lastNumber = highest(servers, -1);
  }

  /** In the configuration's order, which a reload may change: keep the cells, not the place. */
  get servers(): readonly ServerCells[] {
    return this.#servers;
  }

  get memory(): PoolMemory {
    return { id: this.id, buffer: this.buffer, servers: this.#servers.map((server) => server.memory) };
  }

  /** See Board.adopt. */
  adopt(servers: readonly ServerMemory[]): void {
    const before = this.#servers;
    this.#servers = servers.map((memory) =>
      before.find((server) => server.number === memory.number) ?? new ServerCells(this.workers, memory)
    );
    this.lastNumber = highest(servers, this.lastNumber);
  }

  // ---- servers that leave and return

  /** Of the present servers, with these names, those that are not among `stay` may leave. */
  remember(names: readonly string[], stay: readonly number[]): void {
    this.#servers.forEach((server, i) => {
      if (stay.includes(i)) return;
      this.past.delete(names[i]!);
      this.past.set(names[i]!, server);
    });
    for (const name of this.past.keys()) {
      if (this.past.size <= PAST_MAX) break;
      this.past.delete(name);
    }
  }

  get left(): Iterable<ServerCells> {
    return this.past.values();
  }

  /** What had been counted for it when it left: it counts on there. Nothing else of what was is true of it any more. */
  returning(name: string): SharedArrayBuffer | null {
    const cells = this.past.get(name);
    if (cells === undefined) return null;
    cells.hold(FREE);
    cells.forgetTold();
    cells.waitFactor = 0;
    return cells.memory.buffer;
  }

  // ---- rows

  /** A worker's own row of POOL_METRICS. */
  row(worker: number): Float64Array {
    return this.counters[worker]!;
  }

  /** Counts a client accepted by a worker; returns how many that makes for this worker and those it replaces. */
  countAccepted(worker: number): number {
    return ++this.accepted[worker]![0]!;
  }

  get acceptedTotal(): number {
    return this.accepted.reduce((sum, cell) => sum + cell[0]!, 0);
  }

  /** One of POOL_METRICS over all workers. */
  total(metric: number): number {
    return totalOf(POOL_METRICS[metric]!, this.counters, metric);
  }

  /** All of POOL_METRICS over all workers; a copy. */
  totals(): Float64Array {
    return totalsOf(POOL_METRICS, this.counters);
  }

  /** Returns how many clients the worker had. */
  bury(worker: number): number {
    clearGauges(POOL_METRICS, this.row(worker));
    for (const server of [...this.#servers, ...this.past.values()]) {
      clearGauges(SERVER_METRICS, server.row(worker));
    }
    const clients = Atomics.exchange(this.clients, 1 + worker, 0);
    Atomics.sub(this.clients, 0, clients);
    return clients;
  }

  // ---- who is off the ring

  /**
   * Ejects a server for all workers; `worker` will probe it. However many workers do so at once, no more than `max` servers
   * of the pool are off the ring: each claims first and counts then, so the last to claim sees all others. Two that claim the
   * last place in the same moment may both be refused.
   */
  eject(server: ServerCells, worker: number, max: number): Ejected {
    if (!server.claim(worker)) return server.prober < 0 ? "not now" : "already";
    if (this.#servers.filter((each) => each.claimed).length > max) {
      server.withdraw(worker);
      return this.#servers.filter((each) => each.isOff).length >= max ? "full" : "not now";
    }
    server.settle(worker);
    return "now";
  }

  /** Brings a server back for all workers. */
  restore(server: ServerCells): void {
    server.restore();
    for (const each of this.#servers) each.forgetTold();
  }

  /** Gives what one worker probes to another. True if there was anything. */
  inherit(from: number, to: number): boolean {
    return this.#servers.filter((server) => server.inherit(from, to)).length > 0;
  }
}

/**
 * What came of it: this worker ejected it and probes it; another had done so before; it stays on the ring, since as many as may are
 * off it; or others were claiming places in the same moment, and the next failure has to ask again.
 */
export type Ejected = "now" | "already" | "full" | "not now";

/** What is counted for one server, and who probes it. */
export class ServerCells {
  /** Of no other server of the pool, and of none that has left for long: 0 to SERVER_NUMBERS. The same on all workers. */
  readonly number: number;
  private readonly buffer: SharedArrayBuffer;
  private readonly rows: readonly Float64Array[];
  /**
   * PROBER: 0 = live, 1 + the worker that probes it, or -1 - the worker that counts whether it may be ejected. TOLD: 1 or 0.
   * HELD: what an operator has done to it; it goes before PROBER. LEAVE: see `leave`.
   */
  private readonly cells: Int32Array;
  private readonly factors: Float64Array;
  /** Of what it was sent: requests and fragments. */
  readonly latency: Latency;

  constructor(workers: number, { number, buffer }: ServerMemory) {
    this.number = number;
    this.buffer = buffer;
    this.factors = new Float64Array(buffer, 0, 1);
    this.cells = new Int32Array(buffer, 8, 4);
    this.rows = cutRows(buffer, ALIGN_BYTES, workers, SERVER_METRICS.length);
    this.latency = new Latency(buffer, serverBytes(workers), workers);
  }

  get memory(): ServerMemory {
    return { number: this.number, buffer: this.buffer };
  }

  /** A worker's own row of SERVER_METRICS. */
  row(worker: number): Float64Array {
    return this.rows[worker]!;
  }

  /** One of SERVER_METRICS over all workers. */
  total(metric: number): number {
    return totalOf(SERVER_METRICS[metric]!, this.rows, metric);
  }

  /** All of SERVER_METRICS over all workers; a copy. */
  totals(): Float64Array {
    return totalsOf(SERVER_METRICS, this.rows);
  }

  /** How many times the retry timeout it has to wait when ejected. Written by the worker that ejects. */
  get waitFactor(): number {
    return this.factors[0]!;
  }

  set waitFactor(times: number) {
    this.factors[0] = times;
  }

  /** The worker that probes it; -1 = it is live. */
  get prober(): number {
    return Math.max(Atomics.load(this.cells, PROBER), 0) - 1;
  }

  /** Ejects it for all workers if it is live, however many are; `worker` will probe it. False if another worker was quicker. */
  eject(worker: number): boolean {
    return Atomics.compareExchange(this.cells, PROBER, 0, 1 + worker) === 0;
  }

  /** See PoolBoard.eject: it counts as ejected until `withdraw`, and is ejected with `settle`. */
  claim(worker: number): boolean {
    return this.held === FREE && Atomics.compareExchange(this.cells, PROBER, 0, -1 - worker) === 0;
  }

  get claimed(): boolean {
    return Atomics.load(this.cells, PROBER) !== 0 || this.held !== FREE;
  }

  /** Nobody is to ask it anything: it has failed, or an operator has said so. */
  get isOff(): boolean {
    return this.prober >= 0 || this.held !== FREE;
  }

  /** What an operator has done to it: FREE, EJECTED or DRAINED. It stays off the ring until it is FREE again. */
  get held(): Held {
    return Atomics.load(this.cells, HELD) as Held;
  }

  /** By the main thread, which tells the workers to look. Nobody probes what is held. */
  hold(held: Held): void {
    Atomics.store(this.cells, HELD, held);
    this.restore();
  }

  settle(worker: number): void {
    Atomics.compareExchange(this.cells, PROBER, -1 - worker, 1 + worker);
  }

  withdraw(worker: number): void {
    Atomics.compareExchange(this.cells, PROBER, -1 - worker, 0);
  }

  /** Brings it back for all workers. */
  restore(): void {
    Atomics.store(this.cells, PROBER, 0);
  }

  /** Another worker probes it if `from` does. True if that was so. */
  inherit(from: number, to: number): boolean {
    this.withdraw(from);
    return Atomics.compareExchange(this.cells, PROBER, 1 + from, 1 + to) === 1 + from;
  }

  /** True once, for the worker that says that it fails and stays on the ring, until one has returned to that. */
  tell(): boolean {
    return Atomics.exchange(this.cells, TOLD, 1) === 0;
  }

  forgetTold(): void {
    Atomics.store(this.cells, TOLD, 0);
  }

  /** What was granted last: ms, and above those a number that is another each time, so that workers see that it is news; ≥ 0. */
  get leave(): number {
    return Atomics.load(this.cells, LEAVE);
  }

  /** By the main thread: workers may write to its primary for so long from now on. */
  grant(ms: number): void {
    const number = Math.floor(this.leave / (LEAVE_MAX_MS + 1)) + 1;
    const word = number % LEAVE_NUMBERS * (LEAVE_MAX_MS + 1) +
      Math.max(0, Math.min(Math.floor(ms), LEAVE_MAX_MS));
    Atomics.store(this.cells, LEAVE, word);
  }
}

const PROBER = 0;
const TOLD = 1;
const HELD = 2;
const LEAVE = 3;

/** Nothing longer is granted. */
export const LEAVE_MAX_MS = 4095;
/** How long after it has been asked for a majority's word allows to write (docs/decisions/39). The same in all proxies. */
export const LEASE_MS = 2000;
const LEAVE_NUMBERS = 2 ** 31 / (LEAVE_MAX_MS + 1);

/** Of `held`: nothing; off the ring; off the ring, and its connections close when they owe nothing. */
export const FREE = 0;
export const EJECTED = 1;
export const DRAINED = 2;
export type Held = typeof FREE | typeof EJECTED | typeof DRAINED;

const highest = (servers: readonly ServerMemory[], least: number): number =>
  Math.max(least, ...servers.map((server) => server.number));

const poolHead = (workers: number): number => aligned(4 * (1 + workers));
const poolBytes = (workers: number): number =>
  poolHead(workers) + workers * aligned(8 * (POOL_METRICS.length + 1));
const serverBytes = (workers: number): number => ALIGN_BYTES + workers * aligned(8 * SERVER_METRICS.length);

const withLatency = (bytes: number, workers: number): SharedArrayBuffer =>
  new SharedArrayBuffer(bytes + Latency.bytes(workers));

/** A row of so many doubles for each worker, each in lines of its own. */
function cutRows(buffer: SharedArrayBuffer, at: number, workers: number, length: number): Float64Array[] {
  return Array.from(
    { length: workers },
    (_, k) => new Float64Array(buffer, at + k * aligned(8 * length), length),
  );
}

/** One metric over the rows of all workers. */
function totalOf(metric: Metric, rows: readonly Float64Array[], index: number): number {
  return rows.reduce((sum, row) => combine(metric, sum, row[index]!), 0);
}

/** All metrics over the rows of all workers. */
function totalsOf(metrics: readonly Metric[], [first, ...others]: readonly Float64Array[]): Float64Array {
  const totals = first!.slice();
  for (const row of others) {
    for (let i = 0; i < totals.length; i++) totals[i] = combine(metrics[i]!, totals[i]!, row[i]!);
  }
  return totals;
}

/** Adds one to a cell unless it has reached `max`. */
function take(cells: Int32Array, index: number, max: number): boolean {
  for (let count = Atomics.load(cells, index); count < max;) {
    const found = Atomics.compareExchange(cells, index, count, count + 1);
    if (found === count) return true;
    count = found;
  }
  return false;
}

/** What two workers say of one metric, as one number: the later time, or the sum. */
function combine(metric: Metric, a: number, b: number): number {
  return metric.kind === "timestamp" ? Math.max(a, b) : a + b;
}

function clearGauges(metrics: readonly Metric[], row: Float64Array): void {
  metrics.forEach((metric, i) => {
    if (metric.kind === "gauge") row[i] = 0;
  });
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;
}
