/**
 * One connection to a server, shared by many clients: requests go out back to back, replies are matched first in,
 * first out.
 *
 *   forward ──► outbox ──► server ──► receive ──► head of the queue ──► its client
 *   (before the greetings have been answered: forward ──► backlog)
 *
 * How replies are found in the bytes, and passed on in parts if they are large: reply_stream.ts.
 * A reply that nobody asked for, or bytes that are no reply, could hand one client's data to another: the connection is
 * closed and everything in flight on it fails. No request is ever sent twice.
 */
import { latin1 } from "../bytes/ascii.ts";
import { assert } from "../bytes/assert.ts";
import { Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import { SentLog } from "../bytes/sent_log.ts";
import { DEBUG, INFO, WARN } from "../net/log.ts";
import type { NetError, Socket, TimerId } from "../net/net.ts";
import {
  IN_QUEUE,
  IN_QUEUE_BYTES,
  OUT_QUEUE,
  OUT_QUEUE_BYTES,
  REQUEST_BYTES,
  REQUESTS,
  RESPONSE_BYTES,
  RESPONSES,
  SERVER_CONNECTIONS,
  SERVER_TIMEDOUT,
} from "../stats/metrics.ts";
import type { Client } from "./client.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Failure, failureOf } from "./failures.ts";
import type { Greeting, ReplyScan } from "./front.ts";
import { ACCEPT, GREETING as AS_GREETING, REQUEST } from "./illness.ts";
import type { Leave } from "./leave.ts";
import { ReplyStream, type ReplyTaker } from "./reply_stream.ts";
import { type Internal, isUnwanted, KeptRequest, Request, SWALLOWED } from "./request.ts";
import type { RequestLine } from "./request_line.ts";
import type { Server } from "./server.ts";
import { giveTimedRequest } from "./spare_requests.ts";
import { type Flushable, NO_STAMP } from "./turn.ts";
import { type Flight, joinUnsent, putBehind, takeKept, takeUnwritten, type Unsent } from "./unsent.ts";
import { CLASS_BLOCKING } from "../stats/latency.ts";
import { HEAD_BYTES, SentHeads } from "./sent_heads.ts";
import { WrittenTimes } from "./written_times.ts";

/** With more unsent bytes than this after a flush, clients that send to the connection have to wait. */
const CONGESTED = 1024 * 1024;
/** The same for bytes of what has been sent, where these are kept until it has been answered. With half of them they may go on. */
const KEPT_MOST = 8 * 1024 * 1024;
/** Requests of a cluster's pool that are so large do not begin on a connection that is congested (ServerConnection.holdsUp). */
const BULKY = 64 * 1024;

/** Replies that are passed on in one piece. */
const RUN_REPLIES_MAX = 256;

/** So many bytes of one request are not gathered with others before they are given to the socket. */
const ALONE_MIN = 4 * 1024;

/** What a connection has come to. */
const CONNECTING = 0;
/** Open, and no reply has come: the first line may be one that nobody asked for (ACCEPT, illness.ts). */
const FRESH = 1;
const SERVING = 2;
/** The server has said that it does not serve this connection. */
const TURNED_AWAY = 3;
const CLOSED = 4;
/** Which of them may follow which: a bit each. */
const MOVES = [
  1 << FRESH | 1 << CLOSED,
  1 << SERVING | 1 << CLOSED,
  1 << TURNED_AWAY | 1 << CLOSED,
  1 << CLOSED,
  // A lease that begins anew.
  1 << CONNECTING,
];

/** Why what is written waits in the backlog, as bits; 0 = it goes to the socket. */
const GREETING = 1;
/** Its holder has something to send first, when it knows what. */
const HELD = 2;

/** While a new connection may not be written to yet: it is looked again after so long. */
const GRANT_LOOK_MS = 10;

/** Who has a connection to itself. */
export interface Holder {
  /** A reply has been delivered; the connection may have more to answer. */
  answered(connection: ServerConnection): void;
  /** The connection is gone; what was in flight on it has got its errors. @param failure why */
  lost(connection: ServerConnection, failure: Failure): void;
  /** The server has left the pool or has moved: what is not under way yet should not begin here. Absent: let it finish. */
  detached?(connection: ServerConnection): void;
  /** It only waits for what is in flight: a detached connection ends then. Absent: it has more to ask. */
  readonly finishing?: boolean;
  /** What comes while nothing is in flight has been pushed, whatever it looks like: a subscriber of RESP2. */
  readonly listens?: boolean;
  /** The server pushed something that answers no request; borrowed. */
  pushed(bytes: Uint8Array, start: number, end: number): void;
}

/** Who waits until a connection is not congested any more. */
export interface Waiter {
  waitOver(): void;
}

export class ServerConnection implements Flushable, ReplyTaker, Flight {
  dirty = false;
  socket: Socket = NO_SOCKET;
  head: Request | null = null;
  tail: Request | null = null;
  /** The oldest request that has not timed out. */
  oldest: Request | null = null;
  /** Set while one client has the connection to itself: told of each answer, and of the end. */
  holder: Holder | null = null;
  /** Who waits until the backlog has left. */
  readonly waiters: Waiter[] = [];
  congested = false;
  /** Nobody gets it any more: it ends when it owes nothing (Endpoint.detach). */
  detached = false;
  private phase = CONNECTING;
  /** Bits of GREETING and HELD. */
  private gate = 0;
  /** Greetings at the head of the queue. */
  private greetings = 0;
  private backlog: Outbox | null = null;
  /** Its bytes are not written yet: requests that come in this turn may join it. Its first is the tail. */
  openLine: RequestLine | null = null;
  private replies: ReplyStream;
  private connectTimer: TimerId | null = null;
  /** When the last bytes of a reply that is begun came. */
  private partAtMs = 0;
  /** Bytes ever put into the socket or the backlog. */
  written = 0;
  /** When the first of the requests that are overdue now timed out; -1 = none, or something has come since. */
  private silentSinceMs = -1;
  /**
   * When what was written was written, of what did not leave at the end of its turn: of the bytes behind `lateFrom` up to `lateTo`, which is
   * Infinity until all have left; 0 = of none.
   */
  private readonly times = new WrittenTimes();
  private lateFrom = 0;
  private lateTo = 0;
  /** The first bytes of what is in flight, for the pool's slow log; null: it has none. */
  private heads: SentHeads | null = null;
  /** Bytes of the request being written that `written` does not have yet. */
  private parts = 0;
  private lastTimeoutFailureMs = -Infinity;
  private connectAtMs = 0;
  /**
   * The bytes of all that is in flight (greetings excepted), in the queue's order: of connections on which nodes of a cluster may say that
   * another one is to be asked (Front.redirects). Null on all others.
   */
  private sent: SentLog | null = null;
  /** Of those, the bytes at the end that the socket has not been given yet: it is at the end of the turn, all at once. */
  private unsent = 0;
  /**
   * The front's: how much of what was written elsewhere is known to be at its other end (redis/writes.ts), or whether meta commands are
   * understood there (memcached/binary_front.ts); -1 = not known.
   */
  reached = -1;

  readonly server: Server;

  /**
   * @param endpoint another one if it moves before anything has been sent on it
   * @param connectionClass which (protocol version, database) it is for
   * @param waitMs it connects only then, and holds what is asked of it until it may be sent
   */
  constructor(public endpoint: Endpoint, readonly connectionClass: number, waitMs = 0) {
    this.server = endpoint.server;
    const { pool } = this.server;
    this.replies = new ReplyStream(pool, this);
    this.slowLogChanged();
    if (waitMs === 0) {
      const greetings = this.connect();
      if (greetings.length > 0) this.closeGate(GREETING);
      this.greetAll(greetings);
      return;
    }
    this.closeGate(GREETING);
    this.wait(waitMs);
  }

  private wait(ms: number): void {
    this.connectTimer = this.server.pool.clock.setTimer(ms, () => this.connectLate());
  }

  private become(phase: number): void {
    assert((MOVES[this.phase]! >> phase & 1) === 1, "a server connection's phase follows MOVES");
    this.phase = phase;
  }

  get closed(): boolean {
    return this.phase === CLOSED;
  }

  /** The socket has been opened, and counts. */
  get isOpen(): boolean {
    return this.phase !== CONNECTING && this.phase !== CLOSED;
  }

  private connect(): readonly Greeting[] {
    const { endpoint } = this;
    const { pool } = this.server;
    this.connectAtMs = pool.clock.nowMs();
    this.socket = pool.serverNet.connect(endpoint.spec.address, pool.serverHandler, this);
    this.connectTimer = pool.clock.setTimer(pool.config.connectTimeoutMs, () => {
      this.connectTimer = null;
      if (this.phase === CONNECTING) this.fail("ETIMEDOUT");
    });
    return pool.front.greetings(this.connectionClass, endpoint.role);
  }

  private greetAll(greetings: readonly Greeting[]): void {
    for (let i = 0; i < greetings.length; i++) this.greet(greetings[i]!, i === greetings.length - 1);
  }

  /** The handshake goes before what has been asked meanwhile. */
  private connectLate(): void {
    const { endpoint } = this;
    if (endpoint.nowhere) return this.fail("ENOPRIMARY");
    const waitMs = this.holder === null ? 0 : endpoint.turnToTry();
    if (waitMs > 0) return endpoint.holds ? this.wait(waitMs) : this.abandon(endpoint.lastFailure);
    const { head, tail, oldest, written } = this;
    this.head = this.tail = this.oldest = null;
    this.written = 0;
    const greetings = this.connect();
    this.greetAll(greetings);
    const size = this.written;
    for (let r = head; r !== null; r = r.nextInFlight) r.sentAt += size;
    this.written += written;
    this.forgetHeads();
    if (head !== null) {
      if (this.tail === null) this.head = head;
      else (this.tail as Request).nextInFlight = head;
      this.tail = tail;
      this.oldest ??= oldest;
    }
    if (greetings.length === 0) this.openGate(GREETING);
  }

  /** What is asked here by clients may have to be asked elsewhere: its bytes are kept until it has been answered. Nothing is in flight. */
  keepSent(): void {
    assert(this.tail === null || this.tail.swallowed, "bytes are kept from the first request on");
    this.sent ??= new SentLog();
  }

  /** Bytes of memory that would be free without this connection. */
  get holdsBytes(): number {
    return this.unfinishedBytes + this.socket.queuedBytes + (this.backlog?.size ?? 0) +
      (this.heads?.heldBytes ?? 0) +
      (this.sent?.size ?? 0);
  }

  /** Of those, the bytes of a reply that is not all here. */
  get unfinishedBytes(): number {
    return this.replies.heldBytes;
  }

  /** Whose reply is coming in next. */
  get receiver(): Client | null {
    return this.replies.receiver;
  }

  // ---- sending

  /** Nothing is in flight, and it can be used again. */
  get idle(): boolean {
    return this.head === null && !this.closed;
  }

  /**
   * Queues a request whose bytes are about to be written with `write`.
   * @param patient it may wait on the server for as long as it likes (BLPOP): no deadline
   */
  enqueue(request: Request, patient = false): void {
    const pool = this.server.pool;
    if (this.openLine !== null) this.closeLine(this.openLine);
    assert(this.phase !== CLOSED, "nothing is asked of a connection that is closed");
    if (this.tail === null) this.head = request;
    else this.tail.nextInFlight = request;
    this.tail = request;
    if (request.stamp.over) this.stampAgain(request);
    if (pool.timeoutMs > 0 && !patient) {
      request.deadlineMs = pool.turn.now() + pool.timeoutMs;
      if (this.oldest === null) this.oldest = request;
      if (!pool.sweeping) pool.startSweep();
    }
    this.server.counters[REQUESTS]!++;
  }

  /** `queue` and `writeRun` may be used: what is written leaves at the end of the turn. */
  get takesRuns(): boolean {
    return this.gate === 0 && this.heads === null && this.openLine === null && !this.congested &&
      this.phase !== CLOSED;
  }

  /** As `enqueue`, for a request whose `size` bytes `writeRun` writes, with those of others that are queued before and after it. */
  queue(request: Request, size: number): void {
    if (this.tail === null) this.head = request;
    else this.tail.nextInFlight = request;
    this.tail = request;
    const { pool } = this.server;
    if (pool.timeoutMs > 0) {
      request.deadlineMs = pool.turn.now() + pool.timeoutMs;
      if (this.oldest === null) this.oldest = request;
      if (!pool.sweeping) pool.startSweep();
    }
    request.size = size;
    request.sentAt = this.written += size;
  }

  /** Appends the bytes of the `count` requests that were queued last; borrowed. */
  writeRun(bytes: Uint8Array, start: number, end: number, count: number): void {
    const { server, sent } = this;
    if (sent === null) this.socket.send(bytes, start, end);
    else this.writeKept(sent, bytes, start, end);
    server.counters[REQUESTS]! += count;
    server.counters[REQUEST_BYTES]! += end - start;
    if (!this.dirty) server.pool.turn.touchServer(this);
  }

  /** A request of the proxy's own, or one that was read in an earlier turn, is sent in this one. */
  private stampAgain(request: Request): void {
    const { turn } = this.server.pool;
    const { stamp } = request;
    request.stamp = stamp === NO_STAMP ? turn.stamp() : turn.stampOf(stamp.readMs);
  }

  /** Starts the deadline of a patient request: all of it has been written now. Only if it is the last in flight. */
  startClock(request: Request): void {
    const { pool } = this.server;
    if (request.stamp.over) this.stampAgain(request);
    if (pool.timeoutMs <= 0) return;
    request.deadlineMs = pool.turn.now() + pool.timeoutMs;
    this.oldest ??= request;
    if (!pool.sweeping) pool.startSweep();
  }

  /** Appends bytes of the request queued last; borrowed, or shared if there are SHARE_MIN or more. */
  write(bytes: Uint8Array, start: number, end: number): void {
    // writePart and wrote in one piece: this is every request's way.
    const size = end - start;
    if (this.sent !== null) this.writeKept(this.sent, bytes, start, end);
    else if (this.gate === 0) {
      if (size >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
      else this.socket.send(bytes, start, end);
    } else this.backlog!.appendShared(bytes, start, end);
    if (this.heads !== null) this.keepHead(this.heads, bytes, start, end);
    const request = this.tail!;
    this.parts = 0;
    request.size += size;
    this.written += size;
    request.sentAt = this.written;
    this.server.counters[REQUEST_BYTES]! += size;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** As `write`, for a request of many parts: when all are written, `wrote` has to be told how many bytes they were. */
  writePart(bytes: Uint8Array, start: number, end: number): void {
    if (this.sent !== null) this.writeKept(this.sent, bytes, start, end);
    else if (this.gate !== 0) this.backlog!.appendShared(bytes, start, end);
    else if (end - start >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
    else this.socket.send(bytes, start, end);
    if (this.heads !== null) this.keepHead(this.heads, bytes, start, end);
  }

  /** Keeps what belongs to the first HEAD_BYTES of the request that is being written. */
  private keepHead(heads: SentHeads, bytes: Uint8Array, start: number, end: number): void {
    const tail = this.tail!;
    const before = tail.size + this.parts;
    if (before < HEAD_BYTES) {
      const head = this.head!;
      // Of the one that is being written it is not known yet where it ends.
      const owed = head === tail ? this.written - tail.size : head.sentAt - head.size;
      heads.keep(this.written + this.parts, bytes, start, Math.min(end, start + HEAD_BYTES - before), owed);
    }
    this.parts += end - start;
  }

  /** What has been written so far is not, or not only, what its position says. */
  private forgetHeads(): void {
    this.heads?.forget(this.written);
  }

  /** The pool keeps a slow log, or does not any more. */
  slowLogChanged(): void {
    const { slowlogThresholdMs } = this.server.pool.config;
    if (slowlogThresholdMs <= 0) this.heads = null;
    else if (this.heads === null) {
      this.heads = new SentHeads();
      this.forgetHeads();
    }
  }

  /** As `writePart`, for bytes that are kept: they go into the log, and from there to the socket when the turn ends. */
  private writeKept(sent: SentLog, bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (this.gate !== 0) this.backlog!.appendShared(bytes, start, end);
    else if (size < ALONE_MIN && sent.appendHere(bytes, start, end)) {
      this.unsent += size;
      return;
    } else {
      this.giveUnsent();
      if (size >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
      else this.socket.send(bytes, start, end);
    }
    sent.append(bytes, start, end);
    // Many may come in one turn.
    if (this.keeps(KEPT_MOST)) this.congested = true;
  }

  /** What is to be sent next goes behind all that has been written. */
  private giveUnsent(): void {
    const { unsent } = this;
    if (unsent === 0) return;
    this.unsent = 0;
    this.sent!.giveLast(unsent, this.socket);
  }

  /** As `writePart`, for all that `chunks` holds, without a copy; empty afterwards. */
  writeChunks(chunks: Outbox): void {
    this.giveUnsent();
    if (this.sent !== null) chunks.copyTo(this.sent);
    if (this.gate !== 0) this.backlog!.adopt(chunks);
    else this.socket.sendChunks(chunks);
  }

  /** What comes from `from` next, `count` bytes of the request queued last, may go straight to the socket; `wrote` is told of what does. */
  letPass(from: Socket, count: number): void {
    if (this.gate === 0 && this.sent === null && this.server.writeLeave === null) {
      from.passTo?.(this.socket, count);
    }
  }

  wrote(size: number): void {
    const request = this.tail!;
    this.parts = 0;
    request.size += size;
    this.written += size;
    request.sentAt = this.written;
    this.server.counters[REQUEST_BYTES]! += size;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  forward(request: Request, bytes: Uint8Array, start: number, end: number): void {
    this.enqueue(request);
    this.write(bytes, start, end);
  }

  /** The request queued last, of which nothing is written, is the first of `line`; others may join until something else is queued. */
  beginLine(line: RequestLine): void {
    this.openLine = line;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** A request has joined the open line. */
  joined(line: RequestLine): void {
    this.tail!.line = line;
    this.server.counters[REQUESTS]!++;
  }

  private closeLine(line: RequestLine): void {
    this.openLine = null;
    line.close();
    this.write(line.bytes, 0, line.end);
    // A request that was left alone is like any other.
    if (this.tail!.line === null) line.release();
  }

  /** Sends a request of the proxy's own; the reply or failure goes to `done`. @param patient see `enqueue` */
  ask(bytes: Uint8Array, done: Internal, patient = false): void {
    const request = new Request(null);
    request.internal = done;
    this.enqueue(request, patient);
    this.write(bytes, 0, bytes.length);
    this.server.counters[REQUESTS]!--;
    this.server.counters[REQUEST_BYTES]! -= bytes.length;
  }

  /**
   * The reply to `request`, a fragment, goes to a client as it is: `by` takes its place. False if it is not the one whose reply is
   * next, it has not left yet (what has not may yet go elsewhere, see sift), or nobody waits for it any more.
   */
  replaceHead(request: Request, by: Request): boolean {
    if (this.head !== request || request.split === null || by.client === null) return false;
    if (this.socket.flushedBytes < request.sentAt) return false;
    this.putInPlace(request, by);
    return true;
  }

  /** `by` is the oldest in flight from now on, in place of the fragment that was. */
  private putInPlace(head: Request, by: Request): void {
    by.stamp = by.stamp.writtenAs(head.stamp);
    head.split = null;
    by.nextInFlight = head.nextInFlight;
    head.nextInFlight = null;
    by.deadlineMs = head.deadlineMs;
    by.size = head.size;
    by.sentAt = head.sentAt;
    this.head = by;
    if (this.tail === head) this.tail = by;
    if (this.oldest === head) this.oldest = by;
  }

  /** Sends what no reply in the queue is the answer to: what comes back is its holder's, who listens. */
  say(bytes: Uint8Array): void {
    assert(
      this.holder?.listens === true && !this.closed,
      "only who listens hears an answer that nobody waits for",
    );
    this.giveUnsent();
    if (this.gate === 0) this.socket.send(bytes, 0, bytes.length);
    else this.backlog!.append(bytes, 0, bytes.length);
    this.written += bytes.length;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** Greetings go before the backlog, and are not counted as requests. */
  private greet(greeting: Greeting, last: boolean): void {
    const request = new Request(null);
    request.replies = SWALLOWED;
    request.internal = (bytes, start, end, failed) => {
      if (failed) return;
      this.greetings--;
      const { front } = this.server.pool;
      const code = front.illness(bytes, start, end, AS_GREETING)?.code ?? greeting.check(bytes, start, end);
      if (code !== null) return this.turnAway(code, bytes, start, end);
      if (bytes[start] === MINUS) this.endpoint.refuses(latin1(bytes, start + 1, end).trimEnd());
      if (last) this.greeted();
    };
    this.enqueue(request);
    this.greetings++;
    this.server.counters[REQUESTS]!--;
    this.socket.send(greeting.bytes, 0, greeting.bytes.length);
    request.size = greeting.bytes.length;
    request.sentAt = this.written += greeting.bytes.length;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** Its handshake has been answered. */
  private greeted(): void {
    const { writeLeave } = this;
    if (writeLeave === null || writeLeave.holdsForNew) this.serve();
    else this.awaitLeave(writeLeave.nowMs);
  }

  /** It serves when a majority has certainly been asked since: of whoever is there now. What ends meanwhile is nothing to it. */
  private awaitLeave(sinceMs: number): void {
    this.connectTimer = this.server.pool.clock.setTimer(GRANT_LOOK_MS, () => {
      this.connectTimer = null;
      if (this.writeLeave?.holdsSince(sinceMs) !== false) return this.serve();
      this.endpoint.needsLeave();
      this.awaitLeave(sinceMs);
    });
  }

  private serve(): void {
    this.endpoint.connected();
    this.openGate(GREETING);
  }

  /** Queues `request`, and holds back what is written until `release` says what its bytes are. Nothing may be in flight. */
  hold(request: Request): void {
    this.closeGate(HELD);
    this.enqueue(request);
    request.sentAt = this.written;
  }

  /** Sends the bytes of the request that `hold` has queued, and what has been held back behind it. */
  release(request: Request, bytes: Uint8Array): void {
    if (this.closed) return;
    if ((this.gate & GREETING) === 0) this.socket.send(bytes, 0, bytes.length);
    else {
      const behind = this.backlog!;
      this.backlog = new Outbox();
      this.backlog.append(bytes, 0, bytes.length);
      this.backlog.adopt(behind);
    }
    request.size = bytes.length;
    this.written += bytes.length;
    this.server.counters[REQUEST_BYTES]! += bytes.length;
    for (let r: Request | null = request; r !== null; r = r.nextInFlight) {
      r.sentAt += bytes.length;
      if (r.stamp.over) this.stampAgain(r);
    }
    this.sent?.prepend(bytes);
    this.forgetHeads();
    this.openGate(HELD);
  }

  private closeGate(reason: number): void {
    this.giveUnsent();
    this.gate |= reason;
    this.backlog ??= new Outbox();
  }

  private openGate(reason: number): void {
    this.gate &= ~reason;
    if (this.gate === 0) {
      this.socket.sendChunks(this.backlog!);
      this.backlog = null;
    }
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** By which it is written to; null: nobody has to grant that. */
  private get writeLeave(): Leave | null {
    const { server, endpoint } = this;
    return server.writeLeave !== null && endpoint === server.primary ? server.writeLeave : null;
  }

  flush(): void {
    if (this.closed) return;
    const { server } = this;
    if (this.writeLeave?.holds === false) return server.lapsesSoon();
    if (this.openLine !== null) this.closeLine(this.openLine);
    this.giveUnsent();
    this.socket.flush();
    if (this.lateTo !== 0 || this.socket.flushedBytes < this.written) {
      this.noteWritten(this.server.pool.turn.flushMs);
    }
    const waiting = this.socket.queuedBytes + (this.backlog === null ? 0 : this.backlog.size);
    this.congested = waiting > CONGESTED || this.keeps(KEPT_MOST);
  }

  /** Should a request of this size wait rather than be kept here as well? */
  holdsUp(size: number): boolean {
    return this.congested && this.sent !== null && size >= BULKY;
  }

  private keeps(size: number): boolean {
    return this.sent !== null && this.sent.size > size;
  }

  /** Something has been answered that was kept. */
  private relieved(): void {
    if (this.keeps(KEPT_MOST / 2) || this.socket.queuedBytes > CONGESTED) return;
    this.mayGoOn();
  }

  drained(): void {
    this.noteWritten(this.server.pool.turn.now());
    this.mayGoOn();
  }

  /** Not all has left when it should, or had not the last time: notes how much has by now. */
  private noteWritten(nowMs: number): void {
    const { written, head, socket: { flushedBytes } } = this;
    const rest = flushedBytes < written;
    if (this.lateTo === 0) {
      if (!rest) return;
      this.beginLate(flushedBytes);
    }
    this.times.note(flushedBytes, nowMs);
    if (rest) this.lateTo = Infinity;
    else if (this.lateTo === Infinity) this.lateTo = written;
    else if (head === null || head.sentAt > this.lateTo) this.lateTo = 0;
  }

  /** What lies behind the first `bytes` does not leave at the end of its turn. */
  private beginLate(bytes: number): void {
    this.times.clear();
    this.lateFrom = bytes;
    this.lateTo = Infinity;
  }

  private isLate(request: Request): boolean {
    return request.sentAt <= this.lateTo && request.sentAt > this.lateFrom;
  }

  private mayGoOn(): void {
    if (this.backlog !== null && this.backlog.size > 0 || this.keeps(KEPT_MOST)) return;
    this.congested = false;
    this.releaseWaiters();
  }

  private releaseWaiters(): void {
    for (const waiter of this.waiters.splice(0)) waiter.waitOver();
  }

  // ---- receiving

  opened(): void {
    this.become(FRESH);
    this.endpoint.opened(this.server.pool.clock.nowMs() - this.connectAtMs);
    this.server.counters[SERVER_CONNECTIONS]!++;
    // What has waited for this leaves at once.
    if (!this.dirty) this.server.pool.turn.touchServer(this);
    this.stopConnectTimer();
    if (this.server.pool.log.level >= INFO) {
      this.server.pool.log.write(INFO, `connected to server '${this.server.config.name}'`);
    }
  }

  receive(view: Uint8Array): void {
    this.silentSinceMs = -1;
    if (this.replies.begun) this.partAtMs = this.server.pool.turn.now();
    this.replies.receive(view);
  }

  /** So many bytes of the reply that is begun have gone to its client, unseen. */
  passed(count: number): void {
    this.silentSinceMs = -1;
    this.partAtMs = this.server.pool.turn.now();
    this.replies.passed(count);
    const { head } = this;
    if (head === null || isUnwanted(head)) return;
    this.server.counters[RESPONSE_BYTES]! += count;
    head.client!.partPassed(count);
  }

  letPartPass(head: Request, count: number): boolean {
    const { client } = head;
    if (client === null || head.muted || client.closed) return false;
    return this.socket.passTo?.(client.socket, count) ?? false;
  }

  get expectsNothing(): boolean {
    return this.head === null && this.phase >= SERVING && !this.listens;
  }

  get listens(): boolean {
    return this.head === null && this.holder?.listens === true;
  }

  /** From now on the deadline is for the next part. */
  letGo(): void {
    const { head } = this;
    const own = head?.split?.letGo() ?? null;
    if (head !== null && own !== null) this.putInPlace(head, own);
  }

  partsBegin(head: Request): void {
    const { pool } = this.server;
    this.partAtMs = pool.turn.now();
    if (this.oldest === head) this.oldest = head.nextInFlight;
    head.deadlineMs = Infinity;
    if (pool.timeoutMs > 0 && !pool.sweeping) pool.startSweep();
  }

  takePart(head: Request, bytes: Uint8Array, start: number, end: number): void {
    if (isUnwanted(head)) return;
    this.server.counters[RESPONSE_BYTES]! += end - start;
    if (head.split !== null) head.split.takePart(bytes, start, end);
    else if (!head.muted) head.client!.sendPart(bytes, start, end);
  }

  takePartChunks(head: Request, chunks: Outbox): void {
    if (head.client !== null) this.server.counters[RESPONSE_BYTES]! += chunks.size;
    if (head.client === null || head.muted) chunks.clear();
    else head.client.sendPartChunks(chunks);
  }

  pushed(bytes: Uint8Array, start: number, end: number): void {
    this.holder?.pushed(bytes, start, end);
  }

  takeLineParts(line: RequestLine, bytes: Uint8Array, start: number, end: number): boolean {
    const { counters } = this.server;
    const { waiting } = line;
    this.lineComes(line, this.head!);
    const fits = line.takeParts(bytes, start, end);
    counters[RESPONSES]! += waiting - line.waiting;
    counters[RESPONSE_BYTES]! += end - start;
    if (!fits) this.fail("EPROTO", line.misfit);
    return fits;
  }

  /** As takeReply, for the last bytes of a reply to many. */
  private finishLine(
    request: Request,
    line: RequestLine,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { waiting, misfit } = line;
    this.lineComes(line, request);
    if (this.heads !== null) {
      this.lookSlow(this.heads, request, line.receiver(bytes, start, end), this.writtenMs(request));
    }
    if (!line.finish(bytes, start, end)) {
      this.answerFailed(request, failureOf("EPROTO"));
      this.fail("EPROTO", misfit);
      return false;
    }
    const { counters } = this.server;
    counters[RESPONSES]! += waiting;
    counters[RESPONSE_BYTES]! += end - start;
    request.line = null;
    line.release();
    return true;
  }

  /**
   * Hands over replies of the kind that nearly all are: whole scalars that are no errors, to clients' plain requests. Those that lie next
   * to each other, and leave next to each other, do so in one piece.
   */
  takeRun(bytes: Uint8Array, at: number, end: number, scan: ReplyScan): number {
    let first = this.head;
    if (first === null || first.client === null) return at;
    const { server, lateTo, sent } = this;
    const { pool: { front }, counters, timing } = server;
    if (front.scanPlain === undefined || this.heads !== null || this.holder !== null) return at;
    const from = at;
    let replies = 0;
    while (
      first !== null && at < end && this.phase === SERVING && server.failures === 0 && first.isUntouched &&
      first.sentAt > lateTo
    ) {
      const { client, stamp, kind } = first;
      if (client === null || !stamp.over || stamp.writtenMs < 0) break;
      let next = front.scanPlain(bytes, at, end, scan);
      if (next === 0) break;
      first.countedAs(kind);
      let last: Request = first;
      let { oldest } = this;
      let { size } = first;
      if (oldest === first) oldest = first.nextInFlight;
      let count = 1;
      // Held replies are held one by one.
      const most = first === client.head ? RUN_REPLIES_MAX : 1;
      while (count < most && next < end) {
        const request: Request | null = last.nextInFlight;
        if (request === null || request !== last.next || request.client !== client) break;
        if (request.kind !== kind || request.stamp !== stamp || !request.isUntouched) break;
        const after = front.scanPlain(bytes, next, end, scan);
        if (after === 0) break;
        request.countedAs(kind);
        if (oldest === request) oldest = request.nextInFlight;
        last.nextInFlight = null;
        last = request;
        size += request.size;
        next = after;
        count++;
      }
      this.oldest = oldest;
      this.head = last.nextInFlight;
      if (this.head === null) this.tail = null;
      last.nextInFlight = null;
      if (sent !== null) this.forget(sent, size);
      timing.repliedRun(stamp, kind, count);
      client.deliverRun(first, last, count, bytes, at, next);
      at = next;
      replies += count;
      first = this.head;
    }
    if (replies > 0) {
      counters[RESPONSES]! += replies;
      counters[RESPONSE_BYTES]! += at - from;
    }
    return at;
  }

  /**
   * Hands one reply to whoever waits for it. False if the connection was given up.
   * @param whole false if these are only its last bytes
   */
  takeReply(bytes: Uint8Array, start: number, end: number, whole: boolean): boolean {
    const request = this.head;
    if (this.phase === FRESH) {
      this.become(SERVING);
      if (whole && this.isTurnedAway(bytes, start, end)) return false;
      // Without greetings; else it may yet be refused.
      if ((this.gate & GREETING) === 0) this.endpoint.connected();
    }
    if (request === null) {
      if (this.listens) this.pushed(bytes, start, end);
      else this.fail("ESTRAY");
      return this.isOpen;
    }
    if (request.check !== 0 && !this.server.pool.front.fits(request, bytes, start, end)) {
      this.fail("EPROTO");
      return false;
    }
    this.replies.begun = false;
    const next = request.nextInFlight;
    this.head = next;
    if (next === null) this.tail = null;
    request.nextInFlight = null;
    if (this.oldest === request) this.oldest = next;
    const server = this.server;
    if (!request.swallowed) {
      const illness = whole ? server.pool.front.illness(bytes, start, end, REQUEST) : null;
      if (illness !== null) this.endpoint.ill(illness);
      else if (server.failures !== 0) this.endpoint.succeeded();
    }
    if (request.line !== null) return this.finishLine(request, request.line, bytes, start, end);
    if (this.sent !== null && request.replies === 1) {
      if (bytes[start] === MINUS && whole && this.isRedirected(request, bytes, start, end)) {
        return !this.closed;
      }
      this.forget(this.sent, request.size);
    }
    if (this.heads !== null) this.lookSlow(this.heads, request, request.client, this.writtenMs(request));
    const untouched = whole && request.isUntouched;
    if (request.sentAt > this.lateTo) server.timing.replied(request);
    else server.timing.served(request, this.writtenMs(request));
    const client = request.client;
    if (client !== null) {
      server.counters[RESPONSES]!++;
      server.counters[RESPONSE_BYTES]! += end - start;
      client.deliver(request, bytes, start, end);
      // Where it waits for its turn it is not used again.
      if (untouched && request.isUsedAgain) giveTimedRequest(request);
    } else if (request.split !== null) {
      server.counters[RESPONSES]!++;
      server.counters[RESPONSE_BYTES]! += end - start;
      request.split.take(request.fragment, bytes, start, end, false);
      if (request.isUsedAgain) giveTimedRequest(request);
    } else {
      if (request.replies > 1) this.expectMore(request);
      if (request.internal !== null) request.internal(bytes, start, end, false);
    }
    if (this.holder !== null && !request.swallowed && !this.closed) this.holder.answered(this);
    return this.isOpen;
  }

  /** The oldest requests that are kept, of so many bytes together, have been answered. */
  private forget(sent: SentLog, size: number): void {
    this.giveOldest(sent, size);
    sent.skip(size);
    if (this.congested) this.relieved();
  }

  /** The oldest so many bytes that are kept leave now, if a reply has come before its request has left. */
  private giveOldest(sent: SentLog, size: number): void {
    if (this.unsent > 0 && sent.size - size < this.unsent) this.giveUnsent();
  }

  /** When a request was written that has been answered. Not every runtime says at once what the kernel has taken. */
  private writtenMs(request: Request): number {
    if (!this.isLate(request)) return request.stamp.writtenMs;
    const ms = this.times.take(request.sentAt);
    return ms >= 0 ? ms : this.server.pool.turn.flushMs;
  }

  /** Puts a request that has been answered, or has failed, into the slow log if it was slow. What blocks is meant to be. */
  private lookSlow(heads: SentHeads, request: Request, asks: Client | null, writtenMs: number): void {
    const { server } = this;
    const { pool } = server;
    const nowMs = pool.turn.now();
    const { readMs } = request.stamp;
    if (nowMs - readMs < pool.config.slowlogThresholdMs || request.hasFailed) return;
    const asked = request.split?.parent ?? request;
    if (asked.counts === 0 || asked.counts === 1 + CLASS_BLOCKING) return;
    const waitedMs = (writtenMs < 0 ? nowMs : writtenMs) - readMs;
    const head = heads.read(request.sentAt - request.size, request.size);
    pool.logSlow(server, asks ?? asked.client, head, waitedMs, nowMs - readMs - waitedMs);
  }

  private lineComes(line: RequestLine, first: Request): void {
    line.comes(this.server.timing, this.isLate(first) ? this.writtenMs(first) : null);
  }

  /** A node of a cluster says that another is to be asked, or that none can answer: that is seen to, and nobody is answered yet. */
  private isRedirected(request: Request, bytes: Uint8Array, start: number, end: number): boolean {
    const { server, sent } = this;
    const redirects = server.pool.front.redirects ?? null;
    if (redirects === null || !redirects.sees(this, request, bytes, start, end)) return false;
    server.counters[RESPONSES]!++;
    server.counters[RESPONSE_BYTES]! += end - start;
    request.nextInFlight = null;
    server.timing.served(request, this.writtenMs(request));
    this.giveOldest(sent!, request.size);
    const again = sent!.take(request.size);
    if (this.congested) this.relieved();
    redirects.follow(this, request, again, bytes, start, end);
    if (this.holder !== null && !this.closed) this.holder.answered(this);
    return true;
  }

  /** Puts back a request that has just had one of its replies. */
  private expectMore(request: Request): void {
    request.replies--;
    request.nextInFlight = this.head;
    this.head = request;
    this.tail ??= request;
    // It has not timed out.
    if (request.internal !== null && request.deadlineMs < Infinity) this.oldest = request;
  }

  /** The server's first line may be one that it says to whoever connects, whatever was asked. */
  private isTurnedAway(bytes: Uint8Array, start: number, end: number): boolean {
    const illness = this.server.pool.front.illness(bytes, start, end, ACCEPT);
    if (illness !== null) this.turnAway(illness.code, bytes, start, end);
    return illness !== null;
  }

  private turnAway(code: string, bytes: Uint8Array, start: number, end: number): void {
    this.become(TURNED_AWAY);
    this.fail(code, bytes[start] === MINUS ? latin1(bytes, start, end).trimEnd() : "");
  }

  // ---- deadlines

  /** The pool's timeout has changed. What is in flight waits no longer than what is sent now, since deadlines are looked at in its order. */
  timeoutChanged(): void {
    const { timeoutMs, turn } = this.server.pool;
    const lastMs = turn.now() + timeoutMs;
    for (let r = this.oldest; r !== null; r = r.nextInFlight) {
      // What may wait for as long as it likes goes on doing so: it has often CLIENT ID before it, which has a deadline.
      if (r.deadlineMs < Infinity) r.deadlineMs = timeoutMs > 0 ? Math.min(r.deadlineMs, lastMs) : Infinity;
    }
    if (timeoutMs <= 0) this.oldest = null;
    // The rest of a reply that is begun has all of the new time.
    this.partAtMs = turn.now();
    if (this.head !== null) this.server.pool.sweepSoon();
  }

  /** Fails what is overdue; the late replies will be swallowed. True if requests remain that can time out. */
  sweep(nowMs: number): boolean {
    if (this.detached && this.idle && (this.holder === null || this.holder.finishing === true)) {
      this.retire();
      return false;
    }
    if (this.server.pool.timeoutMs <= 0) return this.detached && this.head !== null;
    let overdue = false;
    // After a turn longer than `timeout` its first may be overdue before the line is written: nobody may join it any more.
    if (this.openLine !== null) this.closeLine(this.openLine);
    if (this.gate !== 0 && this.failOverdue(nowMs)) overdue = true;
    while (this.oldest !== null && this.oldest.deadlineMs <= nowMs) {
      const request: Request = this.oldest;
      this.oldest = request.nextInFlight;
      overdue = true;
      this.answerFailed(request, failureOf("ETIMEDOUT"));
      if (request.swallowed) return this.giveUpSilent();
    }
    if (
      this.replies.begun && !isUnwanted(this.head!) && nowMs - this.partAtMs >= this.server.pool.timeoutMs
    ) {
      overdue = true;
      if (this.head!.split !== null) this.answerFailed(this.head!, failureOf("ETIMEDOUT"));
      else this.breakOff(failureOf("ETIMEDOUT"), "stopped");
    }
    if (overdue) this.timedOut(nowMs);
    if (this.closed) return false;
    // Nothing at all has come for another timeout since the first request was overdue: the server hangs.
    if (this.silentSinceMs >= 0 && nowMs - this.silentSinceMs >= this.server.pool.timeoutMs) {
      return this.giveUpSilent();
    }
    return this.head !== null;
  }

  /** What waits for the handshake may have waited elsewhere before: it is older than the handshake then. */
  private failOverdue(nowMs: number): boolean {
    let overdue = false;
    for (let r = this.head; r !== null; r = r.nextInFlight) {
      if (r.deadlineMs > nowMs || r.swallowed || isUnwanted(r)) continue;
      overdue = true;
      this.answerFailed(r, this.endpoint.whyLate);
    }
    return overdue;
  }

  private giveUpSilent(): boolean {
    this.fail("ETIMEDOUT");
    return false;
  }

  /** Requests that time out together, and those of the same timeout after them, are one failure of the server. */
  private timedOut(nowMs: number): void {
    if (this.silentSinceMs < 0) this.silentSinceMs = nowMs;
    if (nowMs - this.lastTimeoutFailureMs < this.server.pool.timeoutMs) return;
    this.lastTimeoutFailureMs = nowMs;
    this.server.counters[SERVER_TIMEDOUT]!++;
    this.endpoint.failed(failureOf("ETIMEDOUT"));
  }

  // ---- the end

  /** Gives the connection up. @param detail the server's own words, if it said any */
  fail(code: string, detail = ""): void {
    if (this.closed) return;
    this.socket.destroy();
    this.end(failureOf(code), detail);
  }

  /** Ends a connection that is no longer needed: no failure, and nothing is counted or said. */
  retire(code = "ESHUTDOWN"): void {
    this.abandon(failureOf(code));
  }

  /** As `retire`. @param failure what those read who wait for something */
  abandon(failure: Failure): void {
    if (this.closed) return;
    if (this.isOpen) this.server.counters[SERVER_CONNECTIONS]!--;
    this.become(CLOSED);
    this.stopConnectTimer();
    this.socket.destroy();
    this.endpoint.lost(this);
    this.failAll(failure);
  }

  /**
   * Takes out of its queue, in order, what may be asked of another: reads that are sent once more (retry_reads), and then what certainly
   * has not reached the server, held back for the handshake or not given to the kernel (that ends the connection). See unsent.ts.
   * @returns null if there is nothing
   */
  takeUnsent(): Unsent | null {
    // First: a read that has not left stays behind a write that has not.
    const unwritten = this.takeUnwritten();
    return joinUnsent(this.takeKept(), unwritten);
  }

  /** Takes out what waits for the handshake; the connection stays, and may yet be used. Of shared connections only. */
  takeWaiting(): Unsent | null {
    if ((this.gate & GREETING) === 0) return null;
    const unsent = this.takeUnwritten();
    this.failWaiting();
    return unsent;
  }

  /** What goes nowhere else has no bytes here any more either: left in the queue, it would be given the replies of what comes behind it. */
  private failWaiting(): void {
    let last: Request | null = null;
    let first = this.head;
    for (; first?.swallowed; first = first.nextInFlight) last = first;
    if (first === null) return;
    if (last === null) this.head = null;
    else last.nextInFlight = null;
    this.tail = last;
    const { server } = this;
    const failure = failureOf("ESWITCHED");
    // Whoever hears of it may ask for something else at once.
    server.pool.turn.later({
      resume: () => {
        for (let r: Request | null = first; r !== null; r = r.nextInFlight) answerFailed(r, server, failure);
      },
    });
  }

  private takeKept(): Unsent | null {
    if (!this.server.pool.config.retryReads || this.holder !== null) return null;
    return takeKept(this, this.replies.begun);
  }

  private takeUnwritten(): Unsent | null {
    if (this.holder !== null) return null;
    const bytes = new Outbox();
    if (this.gate !== 0) {
      bytes.adopt(this.backlog!);
      this.written -= bytes.size;
    } else {
      this.giveUnsent();
      if (this.socket.queuedBytes === 0) return null;
      this.written = this.socket.withdraw(bytes);
    }
    return takeUnwritten(this, bytes);
  }

  /** Sends what another connection of its class had not sent yet, before anything else that clients ask for. */
  takeOver(unsent: Unsent): void {
    const { pool } = this.server;
    this.giveUnsent();
    if (this.gate !== 0) this.backlog!.adopt(unsent.bytes);
    else this.socket.sendChunks(unsent.bytes);
    putBehind(this, unsent);
    for (let r: Request | null = unsent.first; r !== null; r = r.nextInFlight) {
      if (r.stamp.over) this.stampAgain(r);
    }
    this.forgetHeads();
    if (this.oldest !== null) pool.sweepSoon();
    if (!this.dirty) pool.turn.touchServer(this);
  }

  wasClosed(error: NetError | null): void {
    if (!this.closed) this.end(error === null ? failureOf("EOF") : failureOf(error.code, error.message), "");
  }

  private end(failure: Failure, detail: string): void {
    const { server, isOpen } = this;
    const inVain = !isOpen || this.phase === TURNED_AWAY;
    const unheard = this.phase === FRESH && this.head !== null && this.replies.heldBytes === 0;
    this.become(CLOSED);
    this.stopConnectTimer();
    if (isOpen) server.counters[SERVER_CONNECTIONS]!--;
    const alreadyCounted = failure.code === "ETIMEDOUT" && this.silentSinceMs >= 0;
    if (!alreadyCounted) server.counters[failure.counter]!++;
    if (!inVain) this.writeLeave?.connectionEnded();
    const slot = this.endpoint.lost(this);
    const nothingLeft = !isOpen || this.gate !== 0;
    // An idle disconnect is no failure: servers close idle connections and restart.
    const idle = this.head === null && !inVain;
    if (!idle && !alreadyCounted) this.endpoint.failed(failure);
    // To connect again at once would be for nothing, whether nobody is there or nobody is let in.
    if (inVain) this.endpoint.connectFailed(failure);
    else if (unheard && WENT_AWAY.has(failure.code)) this.endpoint.closedUnheard(failure);
    else if (failure.code === "ETIMEDOUT") this.endpoint.noteTrouble(failure);
    this.logEnd(failure, detail, idle);
    if (slot >= 0) {
      if (this.sent === null) this.goElsewhere(slot, failure);
      else this.placeAgain(failure, nothingLeft, WENT_AWAY.has(failure.code), PAUSES);
    }
    if (this.mayBeginAnew && this.endpoint.holds) return this.beginAnew(this.endpoint);
    this.failAll(failure);
  }

  /** It is leased, and nothing but its handshake has been sent: for its holder another connection is as good. */
  get mayBeginAnew(): boolean {
    return this.holder !== null && (this.gate & GREETING) !== 0;
  }

  /** Ends here, and begins anew where the server is now, for the same holder, with all that has been asked of it. */
  moveTo(heir: Endpoint): void {
    if (this.isOpen) this.server.counters[SERVER_CONNECTIONS]!--;
    this.become(CLOSED);
    this.stopConnectTimer();
    this.socket.destroy();
    this.endpoint.lost(this);
    this.beginAnew(heir);
  }

  private beginAnew(endpoint: Endpoint): void {
    this.become(CONNECTING);
    this.endpoint = endpoint;
    endpoint.admit(this);
    // What the old one has yet to say is nothing to us.
    this.socket.owner = null;
    this.socket = NO_SOCKET;
    this.replies.clear();
    this.replies = new ReplyStream(this.server.pool, this);
    this.beginLate(0);
    this.heads = null;
    this.slowLogChanged();
    this.silentSinceMs = -1;
    this.reached = -1;
    for (; this.greetings > 0; this.greetings--) {
      const greeting = this.head!;
      this.head = greeting.nextInFlight;
      if (this.oldest === greeting) this.oldest = this.head;
    }
    if (this.head === null) this.tail = null;
    const greeted = this.written - this.backlog!.size;
    for (let r = this.head; r !== null; r = r.nextInFlight) r.sentAt = Math.max(0, r.sentAt - greeted);
    this.written = this.backlog!.size;
    this.wait(endpoint.waitMs);
  }

  /**
   * The node has no slots any more: what has not been sent to it goes where its slots are now. What has been is answered here.
   * @param failed it is not, since another node has taken its place: reads that are kept are sent once more (retry_reads)
   */
  leaveUnsent(failed: boolean): void {
    if (this.sent === null || this.holder !== null) return;
    const nothingLeft = !this.isOpen || this.gate !== 0;
    if (!nothingLeft && !failed) return;
    const failure = failureOf("ESWITCHED");
    this.placeAgain(failure, nothingLeft, failed, AT_ONCE);
    this.abandon(failure);
  }

  /**
   * Of a shared connection that ends: what certainly has not left, and reads that are sent once more (retry_reads), are asked of whoever
   * has their slots then.
   */
  private placeAgain(failure: Failure, nothingLeft: boolean, wentAway: boolean, pauses: boolean): void {
    const { front, config } = this.server.pool;
    const redirects = front.redirects ?? null;
    const keeps = config.retryReads && wentAway;
    if (redirects === null || !nothingLeft && !keeps) return;
    this.unsent = 0;
    const begun = this.replies.begun ? this.head : null;
    let before: Request | null = null;
    for (let r = this.head; r !== null;) {
      const next: Request | null = r.nextInFlight;
      const bytes: Uint8Array = r.swallowed ? NOTHING : this.sent!.take(r.size);
      const may = nothingLeft || r instanceof KeptRequest && !r.again && r !== begun;
      if (may && !isUnwanted(r) && !r.swallowed && redirects.placeAgain(this, r, bytes, failure, pauses)) {
        if (before === null) this.head = next;
        else before.nextInFlight = next;
      } else before = r;
      r = next;
    }
    this.tail = before;
    this.oldest = null;
  }

  /** What has not been sent, or may be sent again, goes to the next connection in this one's slot. */
  private goElsewhere(slot: number, failure: Failure): void {
    const { endpoint } = this;
    let unsent = null;
    if (this.gate !== 0) unsent = endpoint.holds ? this.takeUnwritten() : null;
    else if (WENT_AWAY.has(failure.code)) unsent = this.takeKept();
    if (unsent !== null) endpoint.hold(slot, this.connectionClass, unsent);
  }

  /** A client that has a part of its reply can be told nothing, and the rest will not come. */
  private breakOff(failure: Failure, how: string): void {
    const { head } = this;
    if (head === null || head.client === null) return;
    if (head.muted) return this.answerFailed(head, failure);
    head.client.countForwardError();
    head.client.giveUp(`cannot have the rest of a reply, which has ${how} in the middle`);
  }

  private failAll(failure: Failure): void {
    if (this.replies.begun) this.breakOff(failure, "ended");
    const unanswered = this.head;
    this.openLine = null;
    this.head = this.tail = this.oldest = null;
    for (let r = unanswered; r !== null; r = r.nextInFlight) this.answerFailed(r, failure);
    this.replies.clear();
    this.unsent = 0;
    this.sent?.clear();
    this.backlog?.clear();
    this.releaseWaiters();
    const holder = this.holder;
    this.holder = null;
    holder?.lost(this, failure);
  }

  private logEnd(failure: Failure, detail: string, idle: boolean): void {
    const level = idle ? DEBUG : WARN;
    const log = this.server.pool.log;
    if (log.level < level) return;
    const said = detail === "" ? "" : `: ${detail}`;
    log.write(
      level,
      `close s '${this.server.config.name}' in pool '${this.server.pool.config.name}': ${failure.text}${said}`,
    );
  }

  private answerFailed(request: Request, failure: Failure): void {
    const writtenMs = this.isLate(request) ? this.times.find(request.sentAt) : request.stamp.writtenMs;
    if (this.heads !== null) this.lookSlow(this.heads, request, request.client, writtenMs);
    answerFailed(request, this.server, failure, writtenMs);
  }

  private stopConnectTimer(): void {
    if (this.connectTimer !== null) this.server.pool.clock.clearTimer(this.connectTimer);
    this.connectTimer = null;
  }

  /** Throws if something is not as it must be between two events. */
  invariants(): void {
    assert(this.phase !== CLOSED, "its endpoint has no connection that is closed");
    this.replies.invariants();
    assert((this.gate !== 0) === (this.backlog !== null), "what waits for the gate is in the backlog");
    let last: Request | null = null;
    let oldestSeen = this.oldest === null;
    let sentAt = 0;
    for (let r = this.head; r !== null; r = r.nextInFlight) {
      if (r === this.oldest) oldestSeen = true;
      assert(r.sentAt >= sentAt, "requests in flight are in the order of their bytes");
      ({ sentAt } = r);
      last = r;
    }
    assert(this.tail === last, "the tail of a connection's queue is the last request");
    assert(oldestSeen, "the oldest request that has not timed out is in flight");
    assert(sentAt <= this.written, "no request ends behind what was written");
    if (this.sent === null) return;
    assert(
      this.gate === 0 || this.unsent === 0,
      "what waits for the gate is in the backlog, and not for the end of the turn",
    );
    let kept = 0;
    for (let r = this.head; r !== null; r = r.nextInFlight) if (!r.swallowed) kept += r.size;
    assert(this.sent.size === kept, "of what is in flight all bytes are kept, and no others");
  }

  /** Adds this connection's queues to a row of SERVER_METRICS. */
  addGauges(row: Float64Array): void {
    const left = this.gate === 0 ? this.socket.flushedBytes : 0;
    for (let r = this.head; r !== null; r = r.nextInFlight) {
      const sent = r.sentAt <= left;
      row[sent ? OUT_QUEUE : IN_QUEUE]! += r.line?.waiting ?? 1;
      row[sent ? OUT_QUEUE_BYTES : IN_QUEUE_BYTES]! += r.size;
    }
  }
}

/**
 * Answers a request that will have no reply with an error of the proxy's.
 * @param writtenMs when it was written to the server; -1 = it has not been
 */
export function answerFailed(request: Request, server: Server, failure: Failure, writtenMs = -1): void {
  const { client, split, internal, line } = request;
  if (line !== null) line.comes(server.timing, writtenMs);
  else server.timing.served(request, writtenMs);
  request.failed();
  if (client === null && split === null && internal === null && line === null) return;
  const reply = server.errorReply(failure);
  if (line !== null) {
    request.line = null;
    line.fail(reply);
    return line.release();
  }
  request.client = request.split = request.internal = null;
  if (client !== null) {
    client.countForwardError();
    client.deliver(request, reply, 0, reply.length);
  } else if (split !== null) split.take(request.fragment, reply, 0, reply.length, true);
  else internal!(reply, 0, reply.length, true);
}

/** Failures of a connection that say that the server is gone, and nothing about what it was asked. */
const WENT_AWAY: ReadonlySet<string> = new Set(["EOF", "ECONNRESET", "EPIPE"]);

/** Whether what goes elsewhere waits a little first: who cannot be reached now may have been replaced then. */
const PAUSES = true;
const AT_ONCE = false;
const NOTHING = new Uint8Array(0);

/** Of a connection that is not to connect yet. */
const NO_SOCKET: Socket = {
  owner: null,
  queuedBytes: 0,
  flushedBytes: 0,
  send: () => {},
  sendShared: () => {},
  sendChunks: () => {},
  flush: () => {},
  pause: () => {},
  resume: () => {},
  end: () => {},
  destroy: () => {},
  withdraw: () => 0,
  peer: () => "none",
  local: () => "none",
};

const MINUS = 45;
