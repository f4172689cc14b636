/**
 * CLIENT TRACKING over many servers: a server remembers what a connection has read, so a tracking client gets
 * connections of its own, a `Line` to every server, and what any of them invalidates is passed on.
 *
 *   RESP3 client   reads ──► connection ──► server        RESP2 client   reads ──► connection ──► server
 *                        ◄── pushes ────────┘                                 ear ◄── pushes ─────┘
 *
 * RESP2 has no pushes, so there the server redirects them to a second connection, the ear, which speaks RESP3. Whom they go
 * to is decided here: the client itself, or the one that REDIRECT names (a client of the same worker; its id is the proxy's).
 * That one gets a push if it speaks RESP3, else a message of `__redis__:invalidate` if it is subscribed to anything, as with Redis.
 *
 * A client whose invalidations come in RESP3 on the connection that it reads on takes its order for the order of what happened:
 * what is invalidated is said at once, and again behind a reply that had been given before and leaves later.
 *
 * What is read inside a transaction with WATCH, or by a blocking command, takes another connection and is not tracked.
 * Lines are pinged, so that one that is gone is noticed although nobody asks it anything.
 *
 * Whenever invalidations may have been lost (a connection is gone, keys have moved) everything is invalidated. Costs as many
 * connections as there are servers, twice that in RESP2, for that client alone; they end with TRACKING OFF or with the client.
 */
import { concat, copy, encode, startsWith } from "../bytes/ascii.ts";
import type { TimerId } from "../net/net.ts";
import { bulk, command } from "../protocol/redis/encode.ts";
import { OK } from "../protocol/redis/reply_writer.ts";
import { integerOf, isError } from "../protocol/redis/reply.ts";
import {
  mergeTracking,
  type TrackingOptions,
  trackingRequest,
  type TrackingState,
} from "../protocol/redis/tracking_options.ts";
import type { Client } from "../proxy/client.ts";
import { Inserted } from "../proxy/reply_queue.ts";
import { failureOf } from "../proxy/failures.ts";
import type { RedisSession } from "./session.ts";
import { type Internal, Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder, ServerConnection } from "../proxy/server_connection.ts";

const HEAD = encode(">2\r\n$10\r\ninvalidate\r\n");
const INVALIDATE_ALL = encode(">2\r\n$10\r\ninvalidate\r\n_\r\n");
const MESSAGE_HEAD = encode("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
const MESSAGE_NULL = encode("$-1\r\n");
const CLIENT_ID = command("CLIENT", "ID");
const NO_EAR = encode("-ERR The client ID you want redirect to does not exist");
const UNDERSCORE = 95;
/** Connections of RESP3 clients in the pool's own database: invalidations are the same in all. */
const EAR_CLASS = 1;
const PING = command("PING");
/** How often lines are asked whether they are still there. */
const PING_MS = 30_000;
/** Wait before a lost line of a broadcasting client is tried again. */
const RETRY_MS = 250;

/** With more bytes than this to be said again behind one reply, everything is invalidated there. */
const REPEATED_MAX = 4096;

/** How a request to all servers has ended: OK, an error, or what stands for it. */
type Answer = (reply: Uint8Array) => void;

export class Tracking implements TrackingState {
  /** By server, then by connection class: SELECT and HELLO begin new lines, and the old ones go on listening. */
  private readonly lines = new Map<Server, (Line | undefined)[]>();
  /** CLIENT CACHING YES|NO, to be sent right before each part of the next request. */
  caching: Uint8Array | null = null;
  broken = false;
  private movedSinceMulti = false;
  private stopped = false;
  private retryTimer: TimerId | null = null;
  private pingTimer: TimerId | null = null;
  /** Of the CLIENT TRACKING that is under way. */
  private missing = 0;
  private error: Uint8Array | null = null;
  private failure: Uint8Array | null = null;
  private succeeded = false;
  readonly client: Client;
  private answer: Answer | null = null;

  /** @param target who gets the invalidations: the client itself, or whom REDIRECT names */
  constructor(readonly session: RedisSession, public options: TrackingOptions, private target: Client) {
    this.client = session.client;
  }

  get cachingSaid(): boolean {
    return this.caching !== null;
  }

  private get connectionClass(): number {
    return this.session.connectionClass;
  }

  /** Begins to track on all servers. @param answer called once, later, when each has answered or failed */
  start(answer: Answer): void {
    this.answer = answer;
    this.missing = 1;
    this.error = this.failure = null;
    this.succeeded = false;
    this.openLines();
    if (this.pingTimer === null) this.pingLater();
    // Said in the next turn, if no server can be had at all, so that the caller has its object first.
    this.client.pool.turn.later({ resume: () => this.settle() });
  }

  /**
   * CLIENT TRACKING ON said again; options as checked against the present ones. If no server takes them, or one refuses them, the
   * old ones hold.
   */
  change(options: TrackingOptions, target: Client, answer: Answer): void {
    const [oldOptions, oldTarget] = [this.options, this.target];
    this.options = mergeTracking(this.options, options);
    this.target = target;
    this.broken = false;
    const present = [...this.eachLine()];
    this.start((reply) => {
      if (isError(reply, 0)) this.goBack(oldOptions, oldTarget);
      answer(reply);
    });
    for (const line of present) if (line.change(options)) this.missing++;
  }

  /**
   * A line may be silent for days, and who listens does not notice that there is nobody left to speak (a firewall that forgets
   * idle connections is enough). The client cannot find out: its PING is answered here.
   */
  private pingLater(): void {
    this.pingTimer = this.client.pool.setTimer(PING_MS, () => {
      // First: what a lost line leads to may end all of this.
      this.pingLater();
      for (const line of [...this.eachLine()]) line.ping();
    });
  }

  /** Some servers may have been told of the new options: they are told anew, when they are needed. */
  private goBack(options: TrackingOptions, target: Client): void {
    this.options = options;
    this.target = target;
    this.closeLines();
    this.invalidateAll();
  }

  private closeLines(): void {
    for (const line of this.eachLine()) line.close();
    this.lines.clear();
  }

  private *eachLine(): Generator<Line> {
    for (const classes of this.lines.values()) for (const line of classes) if (line !== undefined) yield line;
  }

  /** The line to a server for what the client says now. */
  private lineTo(server: Server): Line | undefined {
    return this.lines.get(server)?.[this.connectionClass];
  }

  private openLines(): void {
    const { pool } = this.client;
    const servers = pool.onRing();
    if (servers.length === 0) this.failure = pool.front.noLiveServer;
    for (const server of servers) if (this.connection(server) === null) this.failure = server.refusal();
  }

  /** The client's own connection to a server; null while the server is left alone after failed connects. */
  connection(server: Server): ServerConnection | null {
    const present = this.lineTo(server);
    if (present !== undefined) return present.connection;
    const { connectionClass } = this;
    const line = Line.open(this, server, connectionClass);
    if (line === null) return null;
    const classes = this.lines.get(server);
    if (classes !== undefined) classes[connectionClass] = line;
    else {
      const first: Line[] = [];
      first[connectionClass] = line;
      this.lines.set(server, first);
    }
    if (this.answer !== null) this.missing++;
    return line.connection;
  }

  /** To be called right before a request, or a part of it, is sent on `connection`. */
  beforeRequest(connection: ServerConnection): void {
    const { caching } = this;
    if (caching !== null) connection.forward(new Request(null), caching, 0, caching.length);
  }

  /** CLIENT CACHING was for the one request that has now been taken: for all of its slices, or of a transaction. */
  cachingUsed(caching: Uint8Array | null): void {
    const { transaction, sliced } = this.session;
    if (this.caching === caching && !transaction?.queueing && sliced === null) this.caching = null;
  }

  /** EXEC goes where the keys of its transaction were when they came. */
  execSent(): void {
    if (this.movedSinceMulti) this.keysMoved();
    this.movedSinceMulti = false;
  }

  // ---- from the lines

  /** A server has answered CLIENT TRACKING. */
  told(reply: Uint8Array, failed: boolean): void {
    if (failed) this.failure = reply;
    else if (isError(reply, 0)) this.error ??= reply;
    else this.succeeded = true;
    this.settle();
  }

  private settle(): void {
    const { answer } = this;
    if (answer === null || --this.missing > 0) return;
    this.answer = null;
    // With some servers away it is on, as it would be if they went now.
    const failure = this.succeeded ? null : this.failure;
    if (this.error === null && failure !== null) this.client.countForwardError();
    answer(this.error ?? failure ?? OK);
    if (this.options.bcast) this.retryLater();
  }

  lineLost(line: Line): void {
    const classes = this.lines.get(line.server);
    if (classes?.[line.connectionClass] === line) classes[line.connectionClass] = undefined;
    if (this.stopped) return;
    if (line.tracks) this.invalidateAll();
    if (this.options.bcast) this.retryLater();
  }

  /** Others read what a broadcasting client has to invalidate: its lines do not wait for a request of its own. */
  private retryLater(): void {
    const { pool } = this.client;
    if (this.retryTimer !== null || this.stopped) return;
    if (pool.onRing().every((server) => this.lineTo(server) !== undefined)) return;
    this.retryTimer = pool.setTimer(RETRY_MS, () => {
      this.retryTimer = null;
      this.openLines();
      this.retryLater();
    });
  }

  /** The line's server has left or has moved: a new line is begun when it is needed. */
  lineDetached(line: Line): void {
    const classes = this.lines.get(line.server);
    if (classes?.[line.connectionClass] === line) classes[line.connectionClass] = undefined;
  }

  /** The pool has other servers; `keysMoved` comes behind. */
  adopt(): void {
    for (const server of this.lines.keys()) if (server.gone) this.lines.delete(server);
    if (!this.options.bcast || this.answer !== null) return;
    this.openLines();
    this.retryLater();
  }

  /** A line is in place again: what was read in between, by whomever, has not been invalidated. */
  lineOpened(): void {
    if (this.answer === null && this.options.bcast) this.invalidateAll();
  }

  /** Everything that has been read may be stale. */
  private invalidateAll(): void {
    this.pushed(INVALIDATE_ALL, 0, INVALIDATE_ALL.length, this.client.replies.lastAnswered(null));
  }

  /** Keys have another server. What is under way may be answered by the old one, where nobody changes them any more. */
  keysMoved(): void {
    const { transaction } = this.session;
    if (transaction?.queueing) this.movedSinceMulti = true;
    // A server that has returned is listened to again.
    if (this.options.bcast && this.answer === null) this.retryLater();
    // While CLIENT TRACKING is under way nothing else is.
    const last = this.answer === null ? this.client.replies.tail : null;
    this.pushed(INVALIDATE_ALL, 0, INVALIDATE_ALL.length, last);
  }

  /**
   * `request` is about to be answered by who does not tell what becomes of these keys: whoever keeps them is told to forget them, right
   * behind the reply.
   * @param request in the client's queue
   * @param keys null: there are many, or nobody knows
   */
  readUnheard(request: Request, keys: readonly Uint8Array[] | null): void {
    const bytes = keys === null
      ? INVALIDATE_ALL
      : concat(HEAD, keys.reduce((all, key) => concat(all, bulk(key)), encode(`*${keys.length}\r\n`)));
    const { client, target } = this;
    if (this.stopped) return;
    if (target === client && this.session.resp === 3) client.replies.insertBehind(request, bytes);
    else this.pushed(bytes, 0, bytes.length, null);
  }

  /**
   * Passes on that keys have changed.
   * @param bytes borrowed
   * @param behind the last request whose reply may have been read before; null = no such reply is still to leave
   */
  pushed(
    bytes: Uint8Array,
    start: number,
    end: number,
    behind: Request | null,
  ): void {
    const { target, options } = this;
    if (this.stopped) return;
    if (options.redirect !== 0 && target.closing) return this.tellBroken();
    const { resp, subscriptions } = target.session as RedisSession;
    if (resp === 3) {
      target.push(bytes, start, end);
      if (target === this.client && behind !== null) this.repeat(behind, bytes, start, end);
    } else if (options.redirect !== 0 && subscriptions !== null && subscriptions.total > 0) {
      if (!startsWith(bytes, start, end, HEAD)) return;
      const message = asMessage(bytes, start + HEAD.length, end);
      target.push(message, 0, message.length);
    }
  }

  /**
   * Replies leave in the order of requests, so one that was given before the keys have changed may leave after we have said so, and
   * a client that takes its connection's order for what happened would keep it. So it is said again right behind.
   */
  private repeat(behind: Request, bytes: Uint8Array, start: number, end: number): void {
    const { client } = this;
    if (!(behind instanceof Inserted)) client.replies.insertBehind(behind, bytes.slice(start, end));
    else if (behind.reply !== INVALIDATE_ALL) {
      const both = concat(behind.reply, bytes.subarray(start, end));
      client.replies.replaceHeld(behind, both.length > REPEATED_MAX ? INVALIDATE_ALL : both);
    }
  }

  private tellBroken(): void {
    this.broken = true;
    if (this.session.resp !== 3) return;
    const bytes = encode(`>2\r\n$21\r\ntracking-redir-broken\r\n:${this.options.redirect}\r\n`);
    this.client.push(bytes, 0, bytes.length);
  }

  /** No line is ever given back: another client must not get these invalidations. */
  stop(): void {
    this.stopped = true;
    this.answer = null;
    for (const timer of [this.retryTimer, this.pingTimer]) {
      if (timer !== null) this.client.pool.clearTimer(timer);
    }
    this.closeLines();
  }
}

/** One server's connection of a tracking client, and its ear if the connection speaks RESP2. */
class Line implements Holder {
  /** The server has said that it tracks. */
  tracks = false;
  private over = false;
  /** Its server has left or has moved, and what is in flight is still answered. */
  finishing = false;
  private ear: ServerConnection | null = null;
  /** The server's id of the ear; 0 = there is none, or it is not known yet. */
  private earId = 0;
  /** Connections that owe an answer to PING. */
  private readonly pinged = new Set<ServerConnection>();

  /** Set by `open`, before anybody can ask. */
  connection!: ServerConnection;

  private constructor(
    private readonly tracking: Tracking,
    readonly server: Server,
    readonly connectionClass: number,
  ) {}

  /** null while the server is left alone after failed connects. */
  static open(tracking: Tracking, server: Server, connectionClass: number): Line | null {
    const line = new Line(tracking, server, connectionClass);
    const connection = server.lease(connectionClass, line);
    if (connection === null) return null;
    line.connection = connection;
    if (server.pool.cluster) connection.keepSent();
    if (connectionClass % 2 === 1) line.track();
    else if (!line.listen(server)) {
      connection.endpoint.giveBack(connection, false);
      return null;
    }
    return line;
  }

  private track(): void {
    const bytes = trackingRequest(this.tracking.options, 0);
    this.connection.forward(this.request(), bytes, 0, bytes.length);
  }

  /** Gets an ear. Requests are held back until the server has been told of it. False if it cannot be had. */
  private listen(server: Server): boolean {
    const ear = server.lease(EAR_CLASS, this);
    if (ear === null) return false;
    this.ear = ear;
    const request = this.request();
    this.connection.hold(request);
    ear.ask(CLIENT_ID, (bytes, start, end, failed) => {
      // What is held is still to be answered, and nobody else hears of the ear any more.
      if (this.finishing && failed) return this.connection.fail("EOF");
      if (this.over && !this.finishing || failed) return;
      this.earId = integerOf(bytes, start, end);
      if (!(this.earId > 0)) return ear.fail("EPROTO");
      this.connection.release(request, trackingRequest(this.tracking.options, this.earId));
    });
    return true;
  }

  /** Tells the server of other options. False if it will hear them anyway, once the ear is known. */
  change(options: TrackingOptions): boolean {
    if (this.ear !== null && this.earId === 0) return false;
    const bytes = trackingRequest(options, this.earId);
    this.connection.forward(this.request(), bytes, 0, bytes.length);
    return true;
  }

  /** Asks both connections for a sign of life. One that has not answered the last time is given up. */
  ping(): void {
    for (const connection of [this.connection, this.ear]) {
      if (connection === null || this.over) continue;
      if (this.pinged.has(connection)) connection.fail("ETIMEDOUT");
      else {
        this.pinged.add(connection);
        connection.ask(PING, () => this.pinged.delete(connection));
      }
    }
  }

  /** CLIENT TRACKING on its way to the server. */
  private request(): Request {
    const request = new Request(null);
    request.internal = this.told;
    return request;
  }

  private readonly told: Internal = (bytes, start, end, failed) => {
    // The server has lost the ear, of which the client knows nothing, and we have not heard of that yet.
    const deaf = !failed && this.ear !== null && startsWith(bytes, start, end, NO_EAR);
    const reply = deaf ? this.server.errorReply(failureOf("EOF")) : bytes.slice(start, end);
    const refused = failed || isError(reply, 0);
    if (!this.over) {
      if (!refused && !this.tracks) this.tracking.lineOpened();
      this.tracks ||= !refused;
      // Nothing may be read where nothing is tracked.
      if (refused) this.giveUp(deaf ? "EOF" : failed ? "ETIMEDOUT" : "ETRACKING");
    }
    this.tracking.told(reply, failed || deaf);
  };

  private giveUp(code: string): void {
    this.close(code);
    this.tracking.lineLost(this);
  }

  answered(): void {}

  lost(connection: ServerConnection): void {
    if (this.over) return;
    this.over = true;
    const { ear } = this;
    // The one is of no use without the other; nor is another in its place, which would wait for an ear without end.
    if (connection === ear) this.connection.endpoint.giveBack(this.connection, false, "EOF");
    else ear?.endpoint.giveBack(ear, false);
    this.tracking.lineLost(this);
  }

  /** What is in flight is still answered; what it reads is invalidated behind its reply (Tracking.keysMoved). */
  detached(): void {
    if (this.over) return;
    this.over = this.finishing = true;
    this.tracking.lineDetached(this);
    this.connection.detached = true;
    if (this.ear === null) return;
    this.connection.holder = this.ear.holder = null;
    this.ear.detached = true;
  }

  pushed(bytes: Uint8Array, start: number, end: number): void {
    // Between two replies that are still in flight it is said as ever.
    if (this.over && !this.finishing) return;
    const { tracking } = this;
    tracking.pushed(bytes, start, end, tracking.client.replies.lastAnswered(this.oldest));
  }

  /**
   * The client's first request that waits for this server, which answers it after what it pushes now, or the rest of it: of one request
   * it may have several parts.
   */
  private get oldest(): Request | null {
    // Of a request in slices it may have answered some and not others; nothing is behind that one.
    if (this.tracking.session.sliced !== null) return null;
    for (let r = this.connection.head; r !== null; r = r.nextInFlight) {
      // In a cluster: what the client has asked after it, this server may have answered before.
      if (r.split?.isSentOn) continue;
      const request = r.split?.parent ?? r;
      if (request.client !== null) return request;
    }
    return null;
  }

  /** @param code of the failure that what is in flight is answered with */
  close(code?: string): void {
    if (this.over) return;
    this.over = true;
    const { ear, connection } = this;
    connection.endpoint.giveBack(connection, false, code);
    ear?.endpoint.giveBack(ear, false);
  }
}

/** `>2 invalidate body` as the message that a RESP2 subscriber reads. @param start of the body */
function asMessage(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const all = bytes[start] === UNDERSCORE;
  const message = new Uint8Array(MESSAGE_HEAD.length + (all ? MESSAGE_NULL.length : end - start));
  message.set(MESSAGE_HEAD);
  if (all) message.set(MESSAGE_NULL, MESSAGE_HEAD.length);
  else copy(message, MESSAGE_HEAD.length, bytes, start, end);
  return message;
}
