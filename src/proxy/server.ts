/**
 * One server of a pool, a place on the ring: its name, what is counted for it, how it is doing, and where it is.
 *
 * Where it is may change, and no key moves with that: its primary and its replicas are endpoints (endpoint.ts), an address each. Those
 * it has had and that still owe something are kept until they have answered.
 * With auto_eject_hosts the failures of its primary are counted towards ejection (ejection.ts).
 */
import type { ServerConfig } from "../config/config.ts";
import type { EndpointSpec, ServerState } from "../topology/state.ts";
import { NOTICE } from "../net/log.ts";
import type { ServerCells } from "../stats/board.ts";
import { IN_QUEUE, IN_QUEUE_BYTES, OUT_QUEUE, OUT_QUEUE_BYTES } from "../stats/metrics.ts";
import { Endpoint } from "./endpoint.ts";
import { type Failure, failureOf } from "./failures.ts";
import { Leave } from "./leave.ts";
import type { Pool } from "./pool.ts";
import type { Holder, ServerConnection } from "./server_connection.ts";
import { Timing } from "./timing.ts";

/** A cluster in which a node names so many others that are none of its primaries is being made, or unmade. */
const ASIDE_MAX = 16;
const QUEUES = [IN_QUEUE, IN_QUEUE_BYTES, OUT_QUEUE, OUT_QUEUE_BYTES];

export class Server {
  /** One value a row of SERVER_METRICS, on the pool's board; gauges of queues are computed when asked for. */
  readonly counters: Float64Array;
  /** What this worker counts of what the server is sent. */
  readonly timing: Timing;
  /** Failures without a good reply between them; see ejection.ts. */
  failures = 0;
  ejected = false;
  /** New, and off the ring only until it has been told what clients rely on (ejection.ts). */
  joins = false;
  /** Ejected, and this worker's probe of this number is under way or due; 0 = none. */
  probe = 0;
  /** When it was last brought back; -Infinity = never. */
  returnedAtMs: number;
  /** Where its keys are; null = nobody knows now, and requests are refused with `why`. Changed by `replace`. */
  primary: Endpoint | null;
  /** In place of a primary that a keeper is about to name: the first one (a reload may add servers), or one that replaces what there was. */
  nowhere: Endpoint | null;
  /** For how long its primary may be written to; null: for as long as it is that. */
  writeLeave: Leave | null;
  /** What was its primary when the leave had run out. */
  private lapsed: EndpointSpec | null = null;
  /** The primary that is about to be replaced: nothing new is asked of it, and it may stay after all. */
  private yielding: Endpoint | null = null;
  /** Those that may be read from. */
  replicas: readonly Endpoint[] = [];
  /** For people: why there is no primary, if there is none. */
  why = "no address is known";
  /** Nodes that it has named for what it has not, and that are no servers of the pool, or not yet (Redis Cluster). */
  private aside: Endpoint[] = [];
  /** Those that were its own, with connections that still owe something. */
  private readonly past = new Set<Endpoint>();
  /** Of the state that has been followed last; -1 = none, it is where the configuration says. */
  private term = -1;
  /** The last primary that a state has named. */
  private lastPrimary = "";
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
    this.timing = new Timing(this.cells.latency.block(pool.worker), pool.turn, pool.timing);
    // Whoever replaces a worker does not know when it came back, but that it has been off and on.
    this.returnedAtMs = cells.waitFactor > 1 ? pool.turn.now() : -Infinity;
    // Where it was configured to be, another may have its place by now: its keeper says it first.
    this.primary = pool.config.failover === "promote" ? null : this.endpointOf(config);
    this.nowhere = this.primary === null ? Endpoint.nowhere(this) : null;
    this.writeLeave = this.leaveNow();
  }

  private leaveNow(): Leave | null {
    const { config, clock } = this.pool;
    return config.failover === "promote" ? this.writeLeave ?? new Leave(this.cells, clock) : null;
  }

  /** Null if the configuration has no address for it. */
  private endpointOf({ address, addressText, zone }: ServerConfig): Endpoint | null {
    return address === null ? null : new Endpoint(this, { address, text: addressText, zone });
  }

  /**
   * The shared connection that a client of this class and serial always uses; made if need be.
   * @returns null while there is no primary, or while it is left alone after failed connects: answer with `refusal`
   */
  connection(connectionClass: number, serial: number): ServerConnection | null {
    const { primary } = this;
    if (primary !== null) return primary.connection(connectionClass, serial);
    return this.nowhere?.connection(connectionClass, serial) ?? null;
  }

  /**
   * A connection for one holder alone (a transaction with WATCH, a blocking command); give it back with `giveBack` of its endpoint.
   * @returns null as `connection` does
   */
  lease(connectionClass: number, holder: Holder): ServerConnection | null {
    return (this.primary ?? this.nowhere)?.lease(connectionClass, holder) ?? null;
  }

  // ---- where it is

  /** All that have connections: its own, and those that still finish. */
  get endpoints(): readonly Endpoint[] {
    return this.past.size === 0 ? this.own : [...this.own, ...this.past];
  }

  private get own(): readonly Endpoint[] {
    const first = this.primary ?? this.nowhere;
    const { aside } = this;
    if (first === null) return aside.length === 0 ? this.replicas : [...this.replicas, ...aside];
    return [first, ...this.replicas, ...aside];
  }

  /** Of all endpoints; a copy. */
  get connections(): ServerConnection[] {
    return this.endpoints.flatMap((endpoint) => [...endpoint.connections]);
  }

  /**
   * Goes on under another configuration, between two turns.
   * @param reconnect present connections say or are what is no longer right (password, how many there are)
   */
  adopt(config: ServerConfig, index: number, reconnect: boolean): void {
    const moves = this.moves(config);
    if (this.aside.length > 0) this.forgetAside();
    this.config = config;
    this.index = index;
    this.writeLeave = this.leaveNow();
    if (moves) {
      this.dropYielding();
      this.replace(this.endpointOf(config));
    } else if (reconnect) { for (const endpoint of this.own) endpoint.detach(); }
  }

  /** Where a keeper has said where it is, that is what counts. */
  private moves(config: ServerConfig): boolean {
    // Where sentinels know a server that has had an address until now, it stays there until they say otherwise.
    if (this.term < 0 && config.address === null && this.primary !== null) return false;
    if (this.term < 0) return config.addressText !== this.config.addressText;
    if (this.pool.replaceable) return false;
    this.term = -1;
    this.lastPrimary = "";
    return config.addressText !== this.primary?.spec.text;
  }

  /**
   * Its primary is another one from now on, between two turns; null = none is known (`why`).
   * @param abandoned the one it had is not to be written to any more, and what is in flight on it fails so (Endpoint.abandon);
   *   null = it still answers that
   */
  replace(primary: Endpoint | null, abandoned: Failure | null = null): void {
    const before = this.primary;
    this.primary = primary;
    this.failures = 0;
    if (before !== null) {
      if (abandoned !== null) before.abandon(abandoned, primary);
      else before.retire();
      if (before.connections.size > 0) this.past.add(before);
    }
    this.pool.ejection.moved(this);
  }

  /** A keeper has said where it is. Between two turns. An old term is old news, and the same primary is no change. */
  follow({ term, primary, replicas, why, waitMs = 0 }: ServerState): void {
    const { pool } = this;
    if (this.gone || term < this.term) return;
    this.why = why;
    this.lapsed = null;
    if (primary === null && waitMs > 0) {
      this.yield(waitMs);
      this.term = term;
      return this.readFrom(replicas);
    }
    if (primary !== null && primary.text === this.yielding?.spec.text) this.stay(this.yielding);
    if (primary !== null && primary.text === this.primary?.spec.text) this.primary.spec = primary;
    if (primary?.text !== this.primary?.spec.text && this.mayFollow(term, primary)) {
      this.replace(primary === null ? null : new Endpoint(this, primary), failureOf("ESWITCHED"));
      pool.front.ringChanged();
      if (pool.config.preconnect) this.connection(0, 0);
    }
    if (this.nowhere !== null) {
      this.nowhere.abandon(failureOf("ESWITCHED"), this.primary);
      this.nowhere = null;
    }
    this.dropYielding();
    if (primary !== null) this.lastPrimary = primary.text;
    this.term = term;
    this.readFrom(replicas);
  }

  /** To be called often: the leave may have run out, or been granted again. Between two turns. */
  lookAtLeave(): void {
    if (this.writeLeave === null) return;
    if (!this.writeLeave.holds) return this.lapse();
    const { lapsed, term, primary } = this;
    if (lapsed === null || primary !== null) return;
    const replicas = this.replicas.map(({ spec }) => spec);
    this.follow({ server: this.config.name, term, primary: lapsed, replicas, cause: "leave again", why: "" });
  }

  /** There was something to be written, and no leave. */
  lapsesSoon(): void {
    this.pool.turn.later({ resume: () => this.lapse() });
  }

  /** Nothing is written to its primary any more, which another proxy may have replaced: requests wait until somebody says who it is. */
  private lapse(): void {
    const { primary, pool } = this;
    if (primary === null || this.gone) return;
    this.lapsed = primary.spec;
    this.why =
      "this proxy was stopped, or has not heard that it may write, for longer than it may do so unasked";
    pool.log.write(NOTICE, `pool '${pool.config.name}' server '${this.config.name}': ${this.why}`);
    this.nowhere = Endpoint.nowhere(this);
    this.primary = null;
    primary.abandon(failureOf("ESWITCHED"), this.nowhere);
    if (primary.connections.size > 0) this.past.add(primary);
    pool.ejection.moved(this);
  }

  /** Somebody is about to take its primary's place: what is under way finishes there, all else waits for whoever it will be. */
  private yield(waitMs: number): void {
    if (this.nowhere !== null) return;
    this.nowhere = Endpoint.nowhere(this, waitMs);
    if (this.primary === null) return;
    this.yielding = this.primary;
    this.past.add(this.primary);
    this.primary = null;
    this.yielding.yieldTo(this.nowhere);
  }

  /** It has been replaced. */
  private dropYielding(): void {
    const { yielding } = this;
    if (yielding === null) return;
    this.yielding = null;
    this.past.delete(yielding);
    yielding.abandon(failureOf("ESWITCHED"), null);
  }

  /** It is not replaced after all. */
  private stay(primary: Endpoint): void {
    this.past.delete(primary);
    this.yielding = null;
    this.primary = primary;
  }

  /** In one term there is one primary, though it may be lost and found. */
  private mayFollow(term: number, primary: EndpointSpec | null): boolean {
    return term > this.term || primary === null || this.lastPrimary === "" ||
      primary.text === this.lastPrimary;
  }

  private readFrom(specs: readonly EndpointSpec[]): void {
    const before = new Map(this.replicas.map((endpoint) => [endpoint.spec.text, endpoint]));
    this.replicas = specs.map((spec) => {
      const present = before.get(spec.text);
      before.delete(spec.text);
      if (present === undefined) return new Endpoint(this, spec);
      present.spec = spec;
      return present;
    });
    // What has been asked there is asked elsewhere, now: it may never answer.
    for (const endpoint of before.values()) {
      endpoint.abandon(failureOf("EREPLICA"), null);
      if (endpoint.connections.size > 0) this.past.add(endpoint);
    }
  }

  /** Where a node is asked that this one has named, until the pool's servers change. Null if it has named too many, or has left. */
  besides(spec: EndpointSpec): Endpoint | null {
    const present = this.aside.find(({ spec: { text } }) => text === spec.text);
    if (present !== undefined) return present;
    if (this.gone || this.aside.length >= ASIDE_MAX) return null;
    const endpoint = new Endpoint(this, spec, true);
    this.aside.push(endpoint);
    return endpoint;
  }

  private forgetAside(): void {
    for (const endpoint of this.aside) {
      endpoint.leaveUnsent();
      endpoint.retire();
      if (endpoint.connections.size > 0) this.past.add(endpoint);
    }
    this.aside = [];
  }

  /**
   * It is no longer of the pool: nobody asks it anything new.
   * @param failed another has taken its place since it died: no answer is waited for. Else it finishes what is in flight
   */
  leave(failed = false): void {
    this.gone = true;
    this.index = -1;
    this.forgetAside();
    for (const endpoint of this.own) {
      endpoint.leaveUnsent(failed && endpoint === this.primary);
      if (failed && endpoint === this.primary) endpoint.abandon(failureOf("ESWITCHED"), null);
      else endpoint.retire();
    }
  }

  /** Its connections close when they have answered everything; whoever asks it again has new ones made. */
  detach(): void {
    for (const endpoint of this.own) endpoint.detach();
  }

  /**
   * An endpoint has a new connection, which has to be seen to its end: also of one, or of a server, that had left and owed nothing any
   * more, when somebody who had asked it before asks it once more.
   */
  connected(endpoint: Endpoint): void {
    if (!this.endpoints.includes(endpoint)) this.past.add(endpoint);
    if (this.gone) this.pool.watchLeaving(this);
  }

  /** An endpoint that is gone owes nothing any more. */
  forget(endpoint: Endpoint): void {
    this.past.delete(endpoint);
  }

  // ---- how it is doing

  /** Nobody could be connected where its primary is, the last time, or nobody knows where that is. */
  get isDown(): boolean {
    return this.primary === null || this.primary.isDown;
  }

  /** There is a connection to its primary, or one is being made. */
  get isTried(): boolean {
    return this.primary !== null && this.primary.connections.size > 0;
  }

  /**
   * Somebody wants to know how it is, and it was down: tried again, if it may be by now. Else it would be down until the next request, which
   * a load balancer that has been told so sends elsewhere.
   */
  tryAgain(): void {
    if (!this.isDown || this.isTried || this.ejected || this.gone) return;
    this.primary?.connection(0, 0)?.ask(this.pool.front.probe, () => {});
  }

  /** Its primary has failed once. */
  failed(): void {
    this.pool.ejection.failed(this);
  }

  /** The error reply for a request that was not even tried. */
  refusal(): Uint8Array {
    return this.errorReply(this.whyRefused);
  }

  get whyRefused(): Failure {
    if (this.primary !== null) return this.primary.lastFailure;
    const { code, text, counter } = failureOf("ENOPRIMARY");
    return { code, text: `${text}: ${this.why}`, counter };
  }

  errorReply(failure: Failure): Uint8Array {
    let reply = this.errorReplies.get(failure.text);
    if (reply === undefined) {
      reply = this.pool.front.errorReply(`${failure.text} (server ${this.config.name})`);
      if (this.errorReplies.size < 64) this.errorReplies.set(failure.text, reply);
    }
    return reply;
  }

  /** Brings the gauges of queues up to date. */
  measureQueues(): void {
    for (const gauge of QUEUES) this.counters[gauge] = 0;
    for (const connection of this.connections) connection.addGauges(this.counters);
  }
}
