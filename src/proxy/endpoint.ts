/**
 * One address of a server: its connections, who gets which of them, and when nobody tries to connect.
 *
 *   server.primary ──► endpoint ──► slots    shared, by class × the client's serial
 *                                ├► leased   one holder's alone: a WATCH, a BLPOP, a large request
 *                                └► spare    leased ones that were given back clean
 *
 * After failed connects, and after connections that were turned away or closed without a word, the address is left alone for a short, growing time
 * (`blockedUntilMs`), in which requests fail at once instead of queueing for a connection that will not come.
 * What is counted is the server's. How an address ends: `retire` when the server has moved or left and what is in flight may finish
 * there, `abandon` when nothing may reach it any more.
 */
import { assert } from "../bytes/assert.ts";
import { WARN } from "../net/log.ts";
import type { EndpointSpec, Sign } from "../topology/state.ts";
import { type Failure, failureOf } from "./failures.ts";
import { ANYBODY, PRIMARY, REPLICA } from "./front.ts";
import type { Request } from "./request.ts";
import type { Server } from "./server.ts";
import { answerFailed, type Holder, ServerConnection } from "./server_connection.ts";
import type { Unsent } from "./unsent.ts";

/** Wait after the first failed connect; doubles with each further one. */
const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 250;
/** The same where another may take the server's place: as soon as it has, everybody wants to be there. */
const REPLACEABLE_WAIT_MS = 50;
/** How long requests are held, from the first of such failures on, in the hope that the next one is none. */
const HOLD_MS = 1000;
/** A sign of the same kind is given this often, ms; and after a -READONLY the role of a server is asked again. */
const SIGN_EVERY_MS = 100;
/** What Redis says of a password that is wrong, or missing; that there is none to be given hurts nobody. */
const LOGIN_REFUSED = /^(WRONGPASS|NOAUTH|ERR invalid password)/;
/** It is said again after so long. */
const REFUSED_AGAIN_MS = 60_000;
/** Unused leased connections kept open. */
const SPARE_MAX = 8;

export class Endpoint {
  /** By connection class × server_connections + the client's turn among them. */
  private readonly slots: (ServerConnection | undefined)[] = [];
  /** All connections, the leased and probing ones included. */
  readonly connections: Set<ServerConnection> = new Set();
  /** Clean leased connections that wait for the next who needs one, newest last. */
  private readonly spare: ServerConnection[] = [];
  /** It is its server's no more: what is made now is to end when it has been answered. */
  gone = false;
  private connectFailures = 0;
  private blockedUntilMs = 0;
  /** When it was last said that it refuses our login. */
  private refusedAtMs = -Infinity;
  /** There is nobody to connect to. */
  nowhere = false;
  /** Since when nobody could be connected, or nobody who is a primary; -1 = all is well. */
  private troubleSinceMs = -1;
  private signedAtMs = -Infinity;
  private demotedAtMs = -Infinity;
  /** When one of the leases that wait has tried last. */
  private triedAtMs = -Infinity;
  /** Why it is left alone, if it is. */
  lastFailure: Failure = failureOf("ECONNREFUSED");
  /** What the protocol has learned of requests that share a line here; its own to make (memcached/get_pace.ts). */
  pace: unknown = null;

  // Of reads that may go to replicas (redis/reads.ts).

  /** What it is drawn by. */
  readonly seed: number;
  /** It has just failed to answer one: until then others are asked first. */
  restUntilMs = -Infinity;
  /** How many it has answered as a replica. */
  readsAnswered = 0;
  /** The shortest time in which a connection was made, ms; 0 before the first. */
  connectMs = 0;

  /**
   * @param spec of its fields only the zone ever changes
   * @param aside it is a node that the server has named, and not the server's own (Server.aside)
   */
  constructor(readonly server: Server, public spec: EndpointSpec, private readonly aside = false) {
    let seed = 0;
    for (let i = 0; i < spec.text.length; i++) seed = Math.imul(seed, 31) + spec.text.charCodeAt(i) | 0;
    this.seed = seed;
  }

  /**
   * The shared connection that a client of this class and serial always uses; made if need be.
   * @returns null while the address is left alone after failed connects
   */
  connection(connectionClass: number, serial: number): ServerConnection | null {
    const each = this.server.pool.config.serverConnections;
    const slot = connectionClass * each + (each === 1 ? 0 : serial % each);
    return this.slots[slot] ??
      ((this.blocked || this.nowhere) && !this.holds ? null : this.connectSlot(slot, connectionClass));
  }

  /** While it is to be left alone, one that waits. */
  private connectSlot(slot: number, connectionClass: number): ServerConnection {
    const connection = this.connect(connectionClass, this.waitMs);
    if (this.server.pool.cluster && this.role !== REPLICA) connection.keepSent();
    if (!this.gone) this.slots[slot] = connection;
    return connection;
  }

  private get blocked(): boolean {
    return this.connectFailures > 0 && this.server.pool.turn.now() < this.blockedUntilMs;
  }

  /** For how long it is still left alone. */
  get waitMs(): number {
    return this.blocked ? this.blockedUntilMs - this.server.pool.turn.now() : 0;
  }

  /** Stands for a server of which nobody has said yet where it is: requests are held here until somebody does, for `waitMs` at most. */
  static nowhere(server: Server, waitMs = HOLD_MS): Endpoint {
    const endpoint = new Endpoint(server, { address: { host: "", port: 0 }, text: "nowhere", zone: null });
    endpoint.nowhere = true;
    endpoint.connectFailures = 1;
    endpoint.blockedUntilMs = server.pool.turn.now() + waitMs;
    return endpoint;
  }

  /** Whoever is at the other end has to be a primary, or nothing is written: another may have taken its place. */
  get mustBePrimary(): boolean {
    return this.server.pool.replaceable && this.server.primary === this;
  }

  /** Nobody could be connected there, the last time. */
  get isDown(): boolean {
    return this.connectFailures > 0;
  }

  /** Somebody else may do its work soon, and whoever knows should be told when it does not. */
  private get mayBeReplaced(): boolean {
    const { pool, primary } = this.server;
    return (pool.replaceable || pool.cluster) && primary === this;
  }

  /**
   * Requests for it are held for a while although nobody can be connected now. Where nobody can take a server's place they would only
   * wait for an error.
   */
  get holds(): boolean {
    if (this.nowhere) return this.blocked;
    if (!this.mayBeReplaced || this.gone || this.server.gone) return false;
    return this.troubleSinceMs >= 0 && this.server.pool.turn.now() - this.troubleSinceMs < HOLD_MS;
  }

  /** The connection in a slot has ended, and this is for the next one there. */
  hold(slot: number, connectionClass: number, unsent: Unsent): void {
    (this.slots[slot] ?? this.connectSlot(slot, connectionClass)).takeOver(unsent);
  }

  /**
   * Many leases may wait for a primary, and one of them at a time tries.
   * @returns after how many ms this one is to ask again; 0: it tries
   */
  turnToTry(): number {
    if (this.troubleSinceMs < 0) return 0;
    const nowMs = this.server.pool.turn.now();
    const leftMs = this.triedAtMs + REPLACEABLE_WAIT_MS - nowMs;
    if (leftMs > 0) return leftMs;
    this.triedAtMs = nowMs;
    return 0;
  }

  /** A leased connection that begins anew is here from now on. */
  admit(connection: ServerConnection): void {
    connection.detached = this.gone;
    this.connections.add(connection);
    this.server.pool.countConnection(1);
    this.server.connected(this);
  }

  /** A connection of its own, for a probe or a lease. @param waitMs see ServerConnection */
  connect(connectionClass: number, waitMs = 0): ServerConnection {
    const connection = new ServerConnection(this, connectionClass, waitMs);
    this.admit(connection);
    return connection;
  }

  /** A connection for words about `other` (CLIENT UNBLOCK): to the very process at its other end. */
  connectionBeside(other: ServerConnection): ServerConnection | null {
    if (!other.detached) return this.connection(0, 0);
    const beside = this.connect(0);
    beside.detached = true;
    this.server.pool.sweepSoon();
    return beside;
  }

  /** See Server.lease. @returns null while the address is left alone after failed connects */
  lease(connectionClass: number, holder: Holder): ServerConnection | null {
    let i = this.spare.length - 1;
    while (i >= 0 && this.spare[i]!.connectionClass !== connectionClass) i--;
    const spare = i >= 0 ? this.spare.splice(i, 1)[0]! : null;
    if (spare === null && (this.blocked || this.nowhere) && !this.holds) return null;
    const connection = spare ?? this.connect(connectionClass, this.waitMs);
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

  // ---- how it is doing

  /** What whoever is at the other end has to be, or nothing is written to it. */
  get role(): number {
    if (this.aside) return ANYBODY;
    if (this.server.primary !== this) return REPLICA;
    return this.server.pool.replaceable ? PRIMARY : ANYBODY;
  }

  /** A connection was made in so many ms. */
  opened(ms: number): void {
    if (this.connectMs === 0 || ms < this.connectMs) this.connectMs = ms;
  }

  /** It does not take our handshake, and serves all the same: clients read why, without knowing that it is not of them. */
  refuses(text: string): void {
    if (LOGIN_REFUSED.test(text)) this.refusesOwn("login (server_auth, or redis_auth)", text);
  }

  /** The same of something that the proxy itself has said there for a client. @param what for people */
  refusesOwn(what: string, text: string): void {
    const { pool, config } = this.server;
    const nowMs = pool.turn.now();
    if (nowMs < this.refusedAtMs + REFUSED_AGAIN_MS) return;
    this.refusedAtMs = nowMs;
    pool.log.write(
      WARN,
      `pool '${pool.config.name}' server '${config.name}' at ${this.spec.text} refuses the proxy's own ${what}: ${text}`,
    );
  }

  /** A new connection has been answered: whoever asks is let in. */
  connected(): void {
    this.connectFailures = 0;
    if (this.troubleSinceMs < 0) return;
    this.troubleSinceMs = -1;
    this.server.pool.sign(this.server, "primary answers", this.spec.text);
  }

  /** Nobody was there, nobody was let in, or whoever is there is no primary. */
  connectFailed(failure: Failure): void {
    if (this.nowhere) return;
    const { pool } = this.server;
    if (this.mayBeReplaced) {
      this.noteTrouble(failure);
      this.connectFailures++;
      this.blockedUntilMs = pool.turn.now() + REPLACEABLE_WAIT_MS * (1 + pool.random());
      return;
    }
    const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.connectFailures, 20));
    this.connectFailures++;
    const { autoEjectHosts, serverFailureLimit } = pool.config;
    // The first ones eject it: whoever waited for those would only read more errors.
    if (autoEjectHosts && this.connectFailures <= serverFailureLimit) return;
    // Half of the wait is drawn, so that many proxies do not come back in step.
    this.blockedUntilMs = pool.turn.now() + wait / 2 + pool.random() * wait / 2;
  }

  /** A connection was accepted and closed without a word to what was asked. Once may be chance: a server that was about to restart. */
  closedUnheard(failure: Failure): void {
    if (this.connectFailures > 0 || this.mayBeReplaced) this.connectFailed(failure);
    else this.connectFailures = 1;
  }

  /** Whoever knows where the server is should look. */
  noteTrouble(failure: Failure): void {
    if (!this.mayBeReplaced) return;
    if (this.troubleSinceMs < 0) this.troubleSinceMs = this.server.pool.turn.now();
    const sign = NO_PRIMARY.has(failure.code) ? "not a primary" : "primary unreachable";
    this.sign(sign, `${this.spec.text}: ${failure.text}`);
  }

  /** A new connection may not be written to yet (Leave.holdsForNew): whoever grants that should look. */
  needsLeave(): void {
    this.sign("needs leave", this.spec.text);
  }

  private sign(sign: Sign, cause: string): void {
    const { pool } = this.server;
    const nowMs = pool.turn.now();
    if (nowMs - this.signedAtMs < SIGN_EVERY_MS) return;
    this.signedAtMs = nowMs;
    pool.sign(this.server, sign, cause);
  }

  /** What those are told who have waited too long for a connection. */
  get whyLate(): Failure {
    return this.troubleSinceMs < 0 ? failureOf("ETIMEDOUT") : this.lastFailure;
  }

  /** What the server has answered to a request says that it cannot serve. */
  ill(illness: Failure): void {
    if (illness.code === "EREADONLY") return this.demoted(illness);
    if (NO_PRIMARY.has(illness.code)) this.noteTrouble(illness);
    this.failed(illness);
  }

  /** It takes no writes: what is asked from now on goes to connections that have asked for its role. */
  private demoted(illness: Failure): void {
    const nowMs = this.server.pool.turn.now();
    if (!this.mayBeReplaced || nowMs - this.demotedAtMs < SIGN_EVERY_MS) return;
    this.demotedAtMs = nowMs;
    this.noteTrouble(illness);
    // A node of a cluster says itself who has its slots now.
    if (this.mustBePrimary) this.detach();
  }

  /** Something has failed here: counts for the server if this is its primary. */
  failed(failure: Failure): void {
    this.lastFailure = failure;
    if (this.server.primary === this) this.server.failed();
  }

  /** A good reply has come. To be called if the server has failures to forget. */
  succeeded(): void {
    if (this.server.primary === this) this.server.failures = 0;
  }

  // ---- the end

  /** No request goes to the present connections any more; each ends when it has answered what is in flight on it. */
  detach(): void {
    this.slots.length = 0;
    for (const connection of this.spare.splice(0)) connection.retire();
    for (const connection of [...this.connections]) {
      connection.detached = true;
      connection.holder?.detached?.(connection);
    }
    if (this.connections.size > 0) this.server.pool.sweepSoon();
  }

  /** The server has no slots any more: what has not been sent goes where they are now (Front.redirects). */
  leaveUnsent(failed = false): void {
    for (const connection of this.slots) connection?.leaveUnsent(failed);
  }

  /**
   * Another is about to take its place: what is under way finishes here, what has not left waits with `heir`, and leases that only wait
   * end as when a server moves. It may yet stay what it was.
   */
  yieldTo(heir: Endpoint): void {
    const { slots } = this;
    for (let slot = 0; slot < slots.length; slot++) {
      const unsent = slots[slot]?.takeWaiting() ?? null;
      if (unsent !== null) heir.connectSlot(slot, slots[slot]!.connectionClass).takeOver(unsent);
    }
    for (const connection of this.spare.splice(0)) connection.retire();
    const shared = new Set(slots);
    for (const connection of [...this.connections]) {
      if (shared.has(connection)) continue;
      if (connection.mayBeginAnew) connection.moveTo(heir);
      else {
        connection.detached = true;
        connection.holder?.detached?.(connection);
      }
    }
    if (this.connections.size > 0) this.server.pool.sweepSoon();
  }

  /** It is its server's no more, and ends when it has answered what is in flight. Its server's to call. */
  retire(): void {
    this.gone = true;
    this.detach();
  }

  /**
   * It is its server's no more, and nothing more is written to it: what is in flight fails at once, leases end as when a server
   * dies. What connections hold back for a handshake goes to the heir, since no byte of it has left. Its server's to call.
   *
   * @param failure what clients read whose requests were written, or may have been: what became of them nobody knows
   * @param heir where clients will find the connections of their slots, so nothing may have been asked there; null = nobody takes
   *   over: they read the server's refusal
   */
  abandon(failure: Failure, heir: Endpoint | null): void {
    this.gone = true;
    const { slots } = this;
    for (let slot = 0; slot < slots.length; slot++) {
      const unsent = slots[slot]?.takeUnsent() ?? null;
      if (unsent === null) continue;
      if (heir === null) refuseAll(unsent, this.server);
      else (heir.slots[slot] ?? heir.connectSlot(slot, slots[slot]!.connectionClass)).takeOver(unsent);
    }
    slots.length = this.spare.length = 0;
    for (const connection of [...this.connections]) {
      if (!connection.mayBeginAnew) connection.abandon(failure);
      else if (heir === null) connection.abandon(this.server.whyRefused);
      else connection.moveTo(heir);
    }
  }

  /** Throws if something is not as it must be between two events. */
  invariants(): void {
    for (const connection of this.slots) {
      if (connection === undefined) continue;
      assert(this.connections.has(connection), "a connection that clients share is among all");
      assert(
        !connection.detached && connection.holder === null,
        "a connection that clients share is nobody's own",
      );
    }
    assert(this.spare.length <= SPARE_MAX, "few connections wait for a holder");
    for (const connection of this.spare) {
      assert(this.connections.has(connection), "a connection that waits for a holder is among all");
      assert(connection.idle && connection.holder === null, "a connection that waits for a holder is clean");
    }
    assert(
      !this.gone || this.slots.length + this.spare.length === 0,
      "nobody finds a connection to what is gone",
    );
    for (const connection of this.connections) {
      assert(connection.endpoint === this, "a connection knows its endpoint");
      assert(!this.gone || connection.detached, "connections to what is gone end when they owe nothing");
    }
  }

  /** One of its connections is gone. @returns the slot it had; -1 = none */
  lost(connection: ServerConnection): number {
    this.connections.delete(connection);
    this.server.pool.countConnection(-1);
    const spare = this.spare.indexOf(connection);
    if (spare >= 0) this.spare.splice(spare, 1);
    const slot = this.slots.indexOf(connection);
    if (slot >= 0) this.slots[slot] = undefined;
    if (this.gone && this.connections.size === 0) this.server.forget(this);
    return slot;
  }
}

/** Codes of failures that say: somebody is there, but does not do a primary's work. */
const NO_PRIMARY: ReadonlySet<string> = new Set([
  "EROLE",
  "ENOROLE",
  "ENOCLUSTER",
  "EREADONLY",
  "ELOADING",
  "EMASTERDOWN",
]);

function refuseAll({ first, bytes }: Unsent, server: Server): void {
  bytes.clear();
  for (let r: Request | null = first; r !== null;) {
    const next: Request | null = r.nextInFlight;
    answerFailed(r, server, server.whyRefused);
    r = next;
  }
}
