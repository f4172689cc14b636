/**
 * One server of a pool: its connections, what is counted for it, and how it is doing.
 *
 * Health has two sides. After failed connects, and after connections that were turned away, it is left alone for a short, growing time (`blockedUntilMs`), in which
 * requests fail at once instead of queueing for a connection that will not come. And with auto_eject_hosts
 * its failures are counted towards ejection (see ejection.ts).
 */
import type { ServerConfig } from "../config/config.ts";
import type { Address } from "../net/net.ts";
import type { ServerCells } from "../stats/board.ts";
import { IN_QUEUE, IN_QUEUE_BYTES, OUT_QUEUE, OUT_QUEUE_BYTES } from "../stats/metrics.ts";
import { type Failure, failureOf } from "./failures.ts";
import type { Pool } from "./pool.ts";
import { BATCH_VALUES_MAX } from "./get_batch.ts";
import { type Holder, ServerConnection } from "./server_connection.ts";

/** Wait after the first failed connect; doubles with each further one. */
const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 250;
/** Where a server is that has no address yet: nobody is there. */
export const NOWHERE: Address = { host: "127.0.0.1", port: 0 };
/** Unused leased connections kept open. */
const SPARE_MAX = 8;

/** Bytes of a value, before one is known. */
const VALUE_GUESS = 4096;
/** A value's share in what is expected of the next. */
const VALUE_WEIGHT = 1 / 8;
/** How long a server that has brought a value nobody asked for is asked for one key at a time; each time so many times as long. */
const APART_MS = 60_000;
const APART_TIMES = 60;

const QUEUES = [IN_QUEUE, IN_QUEUE_BYTES, OUT_QUEUE, OUT_QUEUE_BYTES];

export class Server {
  /** One value a row of SERVER_METRICS, on the pool's board; gauges of queues are computed when asked for. */
  readonly counters: Float64Array;
  /** Failures without a good reply between them; see ejection.ts. */
  failures = 0;
  ejected = false;
  /** Ejected, and this worker's probe of this number is under way or due; 0 = none. */
  probe = 0;
  /** When it was last brought back; -Infinity = never. */
  returnedAtMs = -Infinity;
  private connectFailures = 0;
  private blockedUntilMs = 0;
  private lastFailure: Failure = failureOf("ECONNREFUSED");
  /** By connection class × server_connections + the client's turn among them. */
  private readonly slots: (ServerConnection | undefined)[] = [];
  /** All connections, the leased and probing ones included. */
  readonly connections: Set<ServerConnection> = new Set();
  /** Clean leased connections that wait for the next who needs one, newest last. */
  private readonly spare: ServerConnection[] = [];
  /** About how large the values are that are asked for many at once. */
  private valueBytes = VALUE_GUESS;
  private apartMs = APART_MS;
  private apartUntilMs = -Infinity;
  private readonly errorReplies = new Map<string, Uint8Array>();
  /** It has left the pool; what is under way with it still finishes. */
  gone = false;

  /** @param index its place in the pool, until a reload gives it another: keep the server, not the place */
  constructor(
    readonly pool: Pool,
    public config: ServerConfig,
    readonly cells: ServerCells,
    public index: number,
  ) {
    this.counters = this.cells.row(pool.worker);
  }

  /**
   * The shared connection that a client of this class and serial always uses; made if need be.
   * @returns null while the server is left alone after failed connects: answer with `refusal`
   */
  connection(connectionClass: number, serial: number): ServerConnection | null {
    const each = this.pool.config.serverConnections;
    const slot = connectionClass * each + (each === 1 ? 0 : serial % each);
    const present = this.slots[slot];
    if (present !== undefined) return present;
    if (this.connectFailures > 0 && this.pool.turn.now() < this.blockedUntilMs) return null;
    const connection = this.connect(connectionClass);
    if (!this.gone) this.slots[slot] = connection;
    return connection;
  }

  // ---- servers that change while it runs

  /**
   * Goes on under another configuration, between two turns.
   * @param reconnect present connections say or are what is no longer right (password, how many there are)
   */
  adopt(config: ServerConfig, index: number, reconnect: boolean): void {
    const moves = config.addressText !== this.config.addressText;
    if (moves || reconnect) this.detach();
    this.config = config;
    this.index = index;
    if (moves) {
      this.connectFailures = this.failures = 0;
      this.pool.ejection.moved(this);
    }
  }

  /** It is no longer of the pool: nobody asks it anything new. */
  leave(): void {
    this.detach();
    this.gone = true;
    this.index = -1;
  }

  /** No request goes to the present connections any more; each ends when it has answered what is in flight on it. */
  private detach(): void {
    this.slots.length = 0;
    for (const connection of this.spare.splice(0)) connection.retire();
    for (const connection of [...this.connections]) {
      connection.detached = true;
      connection.holder?.detached?.(connection);
    }
    if (this.connections.size > 0) this.pool.sweepSoon();
  }

  /** A connection for words about `other` (CLIENT UNBLOCK): to the very process at its other end. */
  connectionBeside(other: ServerConnection): ServerConnection | null {
    if (!other.detached) return this.connection(0, 0);
    const beside = this.connect(0, other.address);
    beside.detached = true;
    this.pool.sweepSoon();
    return beside;
  }

  /** A connection of its own, for a probe or a lease. */
  connect(connectionClass: number, address: Address = this.config.address ?? NOWHERE): ServerConnection {
    const connection = new ServerConnection(this, address, connectionClass);
    connection.detached = this.gone;
    this.connections.add(connection);
    this.pool.countConnection(1);
    return connection;
  }

  /**
   * A connection for one holder alone (a transaction with WATCH, a blocking command); give it back with `giveBack`.
   * @returns null while the server is left alone after failed connects
   */
  lease(connectionClass: number, holder: Holder): ServerConnection | null {
    let i = this.spare.length - 1;
    while (i >= 0 && this.spare[i]!.connectionClass !== connectionClass) i--;
    const spare = i >= 0 ? this.spare.splice(i, 1)[0]! : null;
    if (spare === null && this.connectFailures > 0 && this.pool.turn.now() < this.blockedUntilMs) return null;
    const connection = spare ?? this.connect(connectionClass);
    connection.holder = holder;
    return connection;
  }

  /**
   * Takes a leased connection back. Only one that has answered everything may be clean; anything else is closed, so
   * that nobody ever meets another's WATCH, MULTI or late reply.
   * @param code of the failure that what is in flight is answered with, if anybody still waits for that
   */
  giveBack(connection: ServerConnection, clean: boolean, code = "ESHUTDOWN"): void {
    connection.holder = null;
    if (clean && connection.idle && !connection.detached && this.spare.length < SPARE_MAX) {
      this.spare.push(connection);
    } else connection.retire(code);
  }

  /** The error reply for a request that was not even tried. */
  refusal(): Uint8Array {
    return this.errorReply(this.lastFailure);
  }

  errorReply(failure: Failure): Uint8Array {
    let reply = this.errorReplies.get(failure.text);
    if (reply === undefined) {
      reply = this.pool.front.errorReply(`${failure.text} (server ${this.config.name})`);
      if (this.errorReplies.size < 64) this.errorReplies.set(failure.text, reply);
    }
    return reply;
  }

  /** So many gets may be in one line. Where values are large, this is 1 most of the time. */
  valuesAtOnce(): number {
    if (this.apartUntilMs > this.pool.turn.now()) return 1;
    const count = Math.floor(BATCH_VALUES_MAX / this.valueBytes);
    if (count > 1) return count;
    // They may have become smaller: try two now and then.
    this.valueBytes *= 1 - VALUE_WEIGHT;
    return 1;
  }

  /** The keys of its values are not those it was asked for: some proxies change them. Asked for one at a time it is understood. */
  askApart(): void {
    this.apartUntilMs = this.pool.turn.now() + this.apartMs;
    this.apartMs *= APART_TIMES;
  }

  /** Learns from a reply of so many bytes to so many gets. */
  noteValues(bytes: number, count: number): void {
    this.valueBytes += (bytes / count - this.valueBytes) * VALUE_WEIGHT;
  }

  /** A new connection has been answered: whoever asks is let in. */
  connected(): void {
    this.connectFailures = 0;
  }

  /** Nobody was there, or nobody was let in. */
  connectFailed(): void {
    const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.connectFailures, 20));
    this.connectFailures++;
    const { autoEjectHosts, serverFailureLimit } = this.pool.config;
    // The first ones eject it: whoever waited for those would only read more errors.
    if (autoEjectHosts && this.connectFailures <= serverFailureLimit) return;
    // Half of the wait is drawn, so that many proxies do not come back in step.
    this.blockedUntilMs = this.pool.turn.now() + wait / 2 + this.pool.random() * wait / 2;
  }

  lost(connection: ServerConnection): void {
    this.connections.delete(connection);
    this.pool.countConnection(-1);
    const spare = this.spare.indexOf(connection);
    if (spare >= 0) this.spare.splice(spare, 1);
    const slot = this.slots.indexOf(connection);
    if (slot >= 0) this.slots[slot] = undefined;
  }

  failed(failure: Failure): void {
    this.lastFailure = failure;
    this.pool.ejection.failed(this);
  }

  succeeded(): void {
    this.failures = 0;
  }

  /** Brings the gauges of queues up to date. */
  measureQueues(): void {
    for (const gauge of QUEUES) this.counters[gauge] = 0;
    for (const connection of this.connections) connection.addGauges(this.counters);
  }
}
