/**
 * One connection to a server, shared by many clients: requests go out back to back, replies are matched first in,
 * first out.
 *
 *   forward ──► outbox ──► server ──► receive ──► head of the queue ──► its client
 *   (before the greetings have been answered: forward ──► backlog)
 *
 * A large reply is passed on in parts as it comes, if it is its client's turn (`passOn`).
 * A reply that nobody asked for, or bytes that are no reply, could hand one client's data to another: the connection is
 * closed and everything in flight on it fails. No request is ever sent twice.
 */
import { copy, latin1 } from "../bytes/ascii.ts";
import { newArray } from "../bytes/chunks.ts";
import { Inbox } from "../bytes/inbox.ts";
import { Outbox, SHARE_MIN } from "../bytes/outbox.ts";
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
import { type GetBatch, giveBatch, takeBatch } from "./get_batch.ts";
import { ACCEPT, GREETING, REQUEST } from "./illness.ts";
import { type Internal, KeptRequest, Request } from "./request.ts";
import type { Server } from "./server.ts";
import type { Flushable } from "./turn.ts";

/** With more unsent bytes than this after a flush, clients that send to the connection have to wait. */
const CONGESTED = 1024 * 1024;
/** A value of which at least this much is still to come is collected in pieces. */
const PIECES_MIN = 64 * 1024;
/** How far the end of a begun reply is looked for at first, if its size is not known. */
const REST_MIN = 512;

/** Who has a connection to itself. */
export interface Holder {
  /** A reply has been delivered; the connection may have more to answer. */
  answered(connection: ServerConnection): void;
  /** The connection is gone; what was in flight on it has got its errors. */
  lost(connection: ServerConnection): void;
  /** The server has left the pool or has moved: what is not under way yet should not begin here. Absent: let it finish. */
  detached?(connection: ServerConnection): void;
  /** It only waits for what is in flight: a detached connection ends then. Absent: it has more to ask. */
  readonly finishing?: boolean;
  /** The server pushed something that answers no request; borrowed. */
  pushed(bytes: Uint8Array, start: number, end: number): void;
}

/** Requests that were never written to a socket, with their bytes; whoever has them owns them. */
export interface Unsent {
  /** Linked by `nextInFlight`, in order. */
  readonly first: Request;
  /** The oldest that has not timed out. */
  readonly oldest: Request | null;
  /** The bytes of all of them, in that order. */
  readonly bytes: Outbox;
}

/** Who waits until a connection is not congested any more. */
export interface Waiter {
  waitOver(): void;
}

export class ServerConnection implements Flushable {
  dirty = false;
  socket: Socket = NO_SOCKET;
  head: Request | null = null;
  private tail: Request | null = null;
  /** The oldest request that has not timed out. */
  private oldest: Request | null = null;
  /** Set while one client has the connection to itself: told of each answer, and of the end. */
  holder: Holder | null = null;
  /** Who waits until the backlog has left. */
  readonly waiters: Waiter[] = [];
  congested = false;
  /** Nobody gets it any more: it ends when it owes nothing (Endpoint.detach). */
  detached = false;
  private open = false;
  private closed = false;
  /** All greetings answered. */
  private greeted: boolean;
  /** Its holder has something to send first, when it knows what. */
  private held = false;
  /** Neither: requests go straight to the socket. */
  private ready: boolean;
  private backlog: Outbox | null = null;
  /** Its line is not written yet: gets that come in this turn may join it. Its first get is the tail. */
  private openBatch: GetBatch | null = null;
  /** No reply has come yet. */
  private fresh = true;
  /** The server has said that it does not serve this connection. */
  private turnedAway = false;
  private readonly inbox = new Inbox();
  private resume: ReplyScan;
  private connectTimer: TimerId | null = null;
  /** A large value that is coming in, and how many of its bytes are missing. */
  private pieces: Outbox | null = null;
  private missing = 0;
  /** The first elements of the reply that is coming in have been passed on, or dropped since nobody wants it. */
  private begun = false;
  /** When the last bytes of a reply that is begun came. */
  private partAtMs = 0;
  /** Bytes ever put into the socket or the backlog. */
  private written = 0;
  /** When the first of the requests that are overdue now timed out; -1 = none, or something has come since. */
  private silentSinceMs = -1;
  private lastTimeoutFailureMs = -Infinity;
  private connectAtMs = 0;
  /** The front's: how much of what was written elsewhere is known to be at its other end (redis/writes.ts). */
  reached = -1;

  readonly server: Server;

  /**
   * @param connectionClass which (protocol version, database) it is for
   * @param waitMs it connects only then, and holds what is asked of it until it may be sent
   */
  constructor(readonly endpoint: Endpoint, readonly connectionClass: number, waitMs = 0) {
    this.server = endpoint.server;
    const { pool } = this.server;
    this.resume = pool.front.newReplyScan();
    if (waitMs === 0) {
      const greetings = this.connect();
      this.ready = this.greeted = greetings.length === 0;
      if (!this.ready) this.backlog = new Outbox();
      this.greetAll(greetings);
      return;
    }
    this.ready = this.greeted = false;
    this.backlog = new Outbox();
    this.connectTimer = pool.clock.setTimer(waitMs, () => this.connectLate());
  }

  private connect(): readonly Greeting[] {
    const { endpoint } = this;
    const { pool } = this.server;
    this.connectAtMs = pool.clock.nowMs();
    this.socket = pool.net.connect(endpoint.spec.address, pool.serverHandler, this);
    this.connectTimer = pool.clock.setTimer(pool.config.connectTimeoutMs, () => {
      this.connectTimer = null;
      if (!this.open) this.fail("ETIMEDOUT");
    });
    return pool.front.greetings(this.connectionClass, endpoint.role);
  }

  private greetAll(greetings: readonly Greeting[]): void {
    for (let i = 0; i < greetings.length; i++) this.greet(greetings[i]!, i === greetings.length - 1);
  }

  /** The handshake goes before what has been asked meanwhile. */
  private connectLate(): void {
    const { head, tail, oldest, written } = this;
    this.head = this.tail = this.oldest = null;
    this.written = 0;
    const greetings = this.connect();
    this.greetAll(greetings);
    const size = this.written;
    for (let r = head; r !== null; r = r.nextInFlight) r.sentAt += size;
    this.written += written;
    if (head !== null) {
      if (this.tail === null) this.head = head;
      else (this.tail as Request).nextInFlight = head;
      this.tail = tail;
      this.oldest ??= oldest;
    }
    if (greetings.length > 0) return;
    this.greeted = true;
    this.becomeReady();
  }

  /** Bytes of memory that would be free without this connection. */
  get holdsBytes(): number {
    return this.unfinishedBytes + this.socket.queuedBytes + (this.backlog?.size ?? 0);
  }

  /** Of those, the bytes of a reply that is not all here. */
  get unfinishedBytes(): number {
    return this.inbox.heldBytes + (this.pieces?.size ?? 0);
  }

  /** Whose reply is coming in next. */
  get receiver(): Client | null {
    const { head, inbox } = this;
    if (head === null) return null;
    if (head.batch !== null) return head.batch.receiver(inbox.bytes, inbox.start, inbox.end);
    return head.client ?? head.split?.parent.client ?? null;
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
    if (this.openBatch !== null) this.closeBatch(this.openBatch);
    if (this.tail === null) this.head = request;
    else this.tail.nextInFlight = request;
    this.tail = request;
    if (pool.timeoutMs > 0 && !patient) {
      request.deadlineMs = pool.turn.now() + pool.timeoutMs;
      if (this.oldest === null) this.oldest = request;
      if (!pool.sweeping) pool.startSweep();
    }
    this.server.counters[REQUESTS]!++;
  }

  /** Starts the deadline of a patient request: all of it has been written now. Only if it is the last in flight. */
  startClock(request: Request): void {
    const { pool } = this.server;
    if (pool.timeoutMs <= 0) return;
    request.deadlineMs = pool.turn.now() + pool.timeoutMs;
    this.oldest ??= request;
    if (!pool.sweeping) pool.startSweep();
  }

  /** Appends bytes of the request queued last; borrowed, or shared if there are SHARE_MIN or more. */
  write(bytes: Uint8Array, start: number, end: number): void {
    // writePart and wrote in one piece: this is every request's way.
    const size = end - start;
    if (this.ready) {
      if (size >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
      else this.socket.send(bytes, start, end);
    } else this.backlog!.appendShared(bytes, start, end);
    const request = this.tail!;
    request.size += size;
    this.written += size;
    request.sentAt = this.written;
    this.server.counters[REQUEST_BYTES]! += size;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** As `write`, for a request of many parts: when all are written, `wrote` has to be told how many bytes they were. */
  writePart(bytes: Uint8Array, start: number, end: number): void {
    if (!this.ready) this.backlog!.appendShared(bytes, start, end);
    else if (end - start >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
    else this.socket.send(bytes, start, end);
  }

  /** As `writePart`, for all that `chunks` holds, without a copy; empty afterwards. */
  writeChunks(chunks: Outbox): void {
    if (!this.ready) this.backlog!.adopt(chunks);
    else this.socket.sendChunks(chunks);
  }

  wrote(size: number): void {
    const request = this.tail!;
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

  /**
   * Sends a get of the key `bytes[start, end)`, borrowed: in one line with those of this turn before it, if no other request has
   * come between. @param name of the command, the same wherever `request.check` is
   */
  forwardGet(request: Request, name: Uint8Array, bytes: Uint8Array, start: number, end: number): void {
    const { openBatch, server } = this;
    const { check } = request;
    if (openBatch !== null && openBatch.takes(check, end - start, this.endpoint.valuesAtOnce())) {
      openBatch.add(request, bytes, start, end);
      this.tail!.batch = openBatch;
      server.counters[REQUESTS]!++;
      return;
    }
    this.enqueue(request);
    const batch = this.openBatch = takeBatch();
    batch.begin(name, check);
    batch.add(request, bytes, start, end);
    if (!this.dirty) server.pool.turn.touchServer(this);
  }

  private closeBatch(batch: GetBatch): void {
    this.openBatch = null;
    batch.close();
    this.write(batch.line, 0, batch.lineEnd);
    // A get that was left alone is a request like any other.
    if (batch.size === 1) giveBatch(batch);
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

  /** Greetings go before the backlog, and are not counted as requests. */
  private greet(greeting: Greeting, last: boolean): void {
    const request = new Request(null);
    request.swallowed = true;
    request.internal = (bytes, start, end, failed) => {
      if (failed) return;
      const { front } = this.server.pool;
      const code = front.illness(bytes, start, end, GREETING)?.code ?? greeting.check(bytes, start, end);
      if (code !== null) return this.turnAway(code, bytes, start, end);
      if (!last) return;
      this.greeted = true;
      this.endpoint.connected();
      if (!this.held) this.becomeReady();
    };
    this.enqueue(request);
    this.server.counters[REQUESTS]!--;
    this.socket.send(greeting.bytes, 0, greeting.bytes.length);
    request.size = greeting.bytes.length;
    request.sentAt = this.written += greeting.bytes.length;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  /** Queues `request`, and holds back what is written until `release` says what its bytes are. Nothing may be in flight. */
  hold(request: Request): void {
    this.held = true;
    this.ready = false;
    this.backlog ??= new Outbox();
    this.enqueue(request);
    request.sentAt = this.written;
  }

  /** Sends the bytes of the request that `hold` has queued, and what has been held back behind it. */
  release(request: Request, bytes: Uint8Array): void {
    if (this.closed) return;
    this.held = false;
    this.socket.send(bytes, 0, bytes.length);
    request.size = bytes.length;
    this.written += bytes.length;
    this.server.counters[REQUEST_BYTES]! += bytes.length;
    for (let r: Request | null = request; r !== null; r = r.nextInFlight) r.sentAt += bytes.length;
    if (this.greeted) this.becomeReady();
    else if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  private becomeReady(): void {
    this.socket.sendChunks(this.backlog!);
    this.ready = true;
    this.backlog = null;
    if (!this.dirty) this.server.pool.turn.touchServer(this);
  }

  flush(): void {
    if (this.closed) return;
    if (this.openBatch !== null) this.closeBatch(this.openBatch);
    this.socket.flush();
    const waiting = this.socket.queuedBytes + (this.backlog === null ? 0 : this.backlog.size);
    this.congested = waiting > CONGESTED;
  }

  drained(): void {
    if (this.backlog !== null && this.backlog.size > 0) return;
    this.congested = false;
    this.releaseWaiters();
  }

  private releaseWaiters(): void {
    for (const waiter of this.waiters.splice(0)) waiter.waitOver();
  }

  // ---- receiving

  opened(): void {
    this.open = true;
    this.endpoint.opened(this.server.pool.clock.nowMs() - this.connectAtMs);
    this.server.counters[SERVER_CONNECTIONS]!++;
    this.stopConnectTimer();
    if (this.server.pool.log.level >= INFO) {
      this.server.pool.log.write(INFO, `connected to server '${this.server.config.name}'`);
    }
  }

  receive(view: Uint8Array): void {
    this.silentSinceMs = -1;
    if (this.begun) this.partAtMs = this.server.pool.turn.now();
    if (this.pieces !== null) return this.receivePiece(this.pieces, view);
    this.receiveFrom(view, 0);
  }

  private receiveFrom(view: Uint8Array, from: number): void {
    if (this.inbox.size > 0) from = this.receiveRest(view, from);
    if (from === view.length || this.closed) return;
    const at = this.takeReplies(view, from, view.length);
    if (at < view.length && !this.closed) this.keep(view, at);
  }

  /** Keeps the first bytes of a reply that is not all here. */
  private keep(view: Uint8Array, at: number): void {
    // A reply too many is one as soon as it begins: else whoever asks next would get it. A new connection may be turned away.
    if (this.head === null && !this.fresh && !this.server.pool.front.isPush(view, at)) {
      return this.fail("ESTRAY");
    }
    const { needed } = this.resume;
    const missing = needed - (view.length - at);
    if (missing >= PIECES_MIN && !this.begun && this.server.pool.front.isOneValue(view, at)) {
      this.pieces = new Outbox();
      this.pieces.append(view, at, view.length);
      this.missing = missing;
      return;
    }
    this.inbox.append(view, at, view.length);
    this.passOn();
    this.makeRoom();
  }

  /**
   * A large reply is not kept until it is whole: the elements that are all here go on to its client if it is the client's turn, and
   * are dropped if nobody wants them. Else (replies owed before it, a split) they count against client_output_limit.
   */
  private passOn(): void {
    const { inbox, head, resume } = this;
    if (inbox.size < this.server.pool.passMin || head === null) return;
    const { start } = inbox;
    if (resume.at > 0 && (this.begun || this.mayBegin(head, inbox.bytes, start))) {
      const end = start + resume.at;
      inbox.pin();
      this.passPart(head, inbox.bytes, start, end);
      inbox.unpin(end, end - start >= SHARE_MIN);
      resume.forget(end - start);
    }
    this.charge(head, inbox.size);
  }

  /** `bytes` of a half reply are kept here for a client: more than it may leave unread end it. */
  private charge(head: Request, bytes: number): void {
    this.receiver?.mayHold(bytes + (head.split?.heldBytes ?? 0));
  }

  /** Asks the inbox for room: for all of the reply only if it will not go on in parts. */
  private makeRoom(): void {
    const { needed, expected } = this.resume;
    const { passMin } = this.server.pool;
    const inParts = this.begun || this.inbox.size < passMin;
    const total = inParts ? Math.max(needed, Math.min(expected, 2 * passMin)) : expected;
    if (total > 0) this.inbox.reserve(total);
  }

  private mayBegin(head: Request, bytes: Uint8Array, start: number): boolean {
    const { front } = this.server.pool;
    if (front.isPush(bytes, start)) return false;
    return unwanted(head) || isTurnOf(head) && front.fitsSoFar(head, this.resume);
  }

  /** From now on the deadline is for the next part. */
  private begin(head: Request): void {
    if (this.begun) return;
    const { pool } = this.server;
    this.begun = true;
    this.partAtMs = pool.turn.now();
    if (this.oldest === head) this.oldest = head.nextInFlight;
    head.deadlineMs = Infinity;
    if (pool.timeoutMs > 0 && !pool.sweeping) pool.startSweep();
  }

  private passPart(head: Request, bytes: Uint8Array, start: number, end: number): void {
    this.begin(head);
    if (head.client === null) return;
    this.server.counters[RESPONSE_BYTES]! += end - start;
    if (!head.muted) head.client.sendPart(bytes, start, end);
  }

  /**
   * Collects a large value in chunks that its client's socket takes over. Its size is known and it is one element, so
   * nothing has to be scanned but the CRLF at its end.
   */
  private receivePiece(pieces: Outbox, view: Uint8Array): void {
    if (view.length < this.missing) {
      this.missing -= view.length;
      pieces.append(view, 0, view.length);
      // Its CR may be the last byte here.
      if (this.missing === 1 && view[view.length - 1] !== CR) return this.fail("EPROTO");
      if (pieces.size >= this.server.pool.passMin) this.passPieces(pieces);
      return;
    }
    const end = this.missing;
    if ((end > 1 && view[end - 2] !== CR) || view[end - 1] !== LF) return this.fail("EPROTO");
    this.pieces = null;
    this.missing = 0;
    this.resume = this.server.pool.front.newReplyScan();
    if (!this.takePieces(pieces, view, end) || end === view.length) return;
    this.receiveFrom(view, end);
  }

  /** As passOn, for a value in pieces. */
  private passPieces(pieces: Outbox): void {
    const { head } = this;
    if (head === null) return;
    if (this.begun || mayLeave(head)) {
      this.begin(head);
      this.sendPieces(head, pieces);
    } else this.charge(head, pieces.size);
  }

  private sendPieces(head: Request, pieces: Outbox): void {
    if (head.client !== null) this.server.counters[RESPONSE_BYTES]! += pieces.size;
    if (head.client === null || head.muted) pieces.clear();
    else head.client.sendPartChunks(pieces);
  }

  /** Delivers a reply that lies in pieces and `last[0, end)`: one after the other if it is the client's turn, else joined. */
  private takePieces(pieces: Outbox, last: Uint8Array, end: number): boolean {
    const { head } = this;
    if (head !== null && (this.begun || mayLeave(head))) {
      this.sendPieces(head, pieces);
      return this.takeReply(last, 0, end, false);
    }
    const whole = newArray(pieces.size + end);
    copy(whole, pieces.moveTo(whole), last, 0, end);
    return this.takeReply(whole, 0, whole.length, true);
  }

  /**
   * Adds to the reply in the inbox what it lacks, and delivers it. Not more: what lies behind it is taken from `view`
   * without a copy.
   * @returns how far `view` has been used
   */
  private receiveRest(view: Uint8Array, from: number): number {
    const { inbox } = this;
    let step = REST_MIN;
    while (from < view.length) {
      const before = inbox.size;
      const lacking = this.resume.needed - before;
      const piece = Math.min(lacking > 0 ? lacking : step, view.length - from);
      inbox.append(view, from, from + piece);
      if (piece < lacking) {
        this.passOn();
        return view.length;
      }
      const { start } = inbox;
      inbox.pin();
      const taken = this.takeReplies(inbox.bytes, start, inbox.end) - start;
      inbox.unpin(taken > 0 ? inbox.end : start, taken >= SHARE_MIN);
      if (this.closed) return view.length;
      if (taken > 0) return from + taken - before;
      this.passOn();
      if (this.closed) return view.length;
      this.makeRoom();
      from += piece;
      step *= 2;
    }
    return from;
  }

  /** Delivers whole replies from `bytes[at, end)`; returns the offset of the first one that is not all here. */
  private takeReplies(bytes: Uint8Array, at: number, end: number): number {
    const front = this.server.pool.front;
    while (at < end) {
      const next = front.scanReply(bytes, at, end, this.resume);
      if (next < 0) {
        if (next !== NEED_MORE) this.fail("EPROTO");
        else if (this.resume.at > 0 && this.head?.batch) at = this.takeValues(this.head.batch, bytes, at);
        break;
      }
      const whole = !this.begun;
      if (whole && front.isPush(bytes, at)) this.holder?.pushed(bytes, at, next);
      else if (!this.takeReply(bytes, at, next, whole)) break;
      at = next;
    }
    return at;
  }

  /** Delivers the values at `at` that are all here, of a reply to many; returns the offset past them. */
  private takeValues(batch: GetBatch, bytes: Uint8Array, at: number): number {
    const { counters } = this.server;
    const size = this.resume.at;
    const { waiting } = batch;
    if (batch.takeValues(bytes, at, at + size) !== at + size) this.failUnasked();
    counters[RESPONSES]! += waiting - batch.waiting;
    counters[RESPONSE_BYTES]! += size;
    batch.valueBytes += size;
    this.resume.forget(size);
    return at + size;
  }

  private failUnasked(): void {
    this.endpoint.askApart();
    this.fail("EPROTO", "a value that was not asked for; its keys are asked for one at a time for a while");
  }

  /** As takeReply, for the last bytes of a reply to many. */
  private finishBatch(
    request: Request,
    batch: GetBatch,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { server } = this;
    const { waiting } = batch;
    if (!batch.finish(bytes, start, end)) {
      this.answerFailed(request, failureOf("EPROTO"));
      this.failUnasked();
      return false;
    }
    server.counters[RESPONSES]! += waiting;
    server.counters[RESPONSE_BYTES]! += end - start;
    this.endpoint.noteValues(batch.valueBytes + end - start, batch.size);
    request.batch = null;
    giveBatch(batch);
    return true;
  }

  /**
   * Hands one reply to whoever waits for it. False if the connection was given up.
   * @param whole false if these are only its last bytes
   */
  private takeReply(bytes: Uint8Array, start: number, end: number, whole: boolean): boolean {
    const request = this.head;
    if (this.fresh) {
      this.fresh = false;
      if (whole && this.isTurnedAway(bytes, start, end)) return false;
      // Without greetings; else it may yet be refused.
      if (this.greeted) this.endpoint.connected();
    }
    if (request === null) {
      this.fail("ESTRAY");
      return false;
    }
    if (request.check !== 0 && !this.server.pool.front.fits(request, bytes, start, end)) {
      this.fail("EPROTO");
      return false;
    }
    this.begun = false;
    const next = request.nextInFlight;
    this.head = next;
    if (next === null) this.tail = null;
    if (this.oldest === request) this.oldest = next;
    const server = this.server;
    if (!request.swallowed) {
      const illness = whole ? server.pool.front.illness(bytes, start, end, REQUEST) : null;
      if (illness !== null) this.endpoint.ill(illness);
      else if (server.failures !== 0) this.endpoint.succeeded();
    }
    if (request.batch !== null) return this.finishBatch(request, request.batch, bytes, start, end);
    const client = request.client;
    if (client !== null) {
      server.counters[RESPONSES]!++;
      server.counters[RESPONSE_BYTES]! += end - start;
      client.deliver(request, bytes, start, end);
    } else if (request.split !== null) {
      server.counters[RESPONSES]!++;
      server.counters[RESPONSE_BYTES]! += end - start;
      request.split.take(request.fragment, bytes, start, end, false);
    } else {
      if (request.replies > 1) this.expectMore(request);
      if (request.internal !== null) request.internal(bytes, start, end, false);
    }
    if (this.holder !== null && !request.swallowed && !this.closed) this.holder.answered(this);
    return !this.closed;
  }

  /** Puts back a request that has just had one of its replies. */
  private expectMore(request: Request): void {
    request.replies--;
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
    this.turnedAway = true;
    this.fail(code, bytes[start] === MINUS ? latin1(bytes, start, end).trimEnd() : "");
  }

  // ---- deadlines

  /** The pool's timeout has changed. What is in flight waits no longer than what is sent now, since deadlines are looked at in its order. */
  timeoutChanged(): void {
    const { timeoutMs, turn } = this.server.pool;
    const lastMs = turn.now() + timeoutMs;
    for (let r = this.oldest; r !== null; r = r.nextInFlight) {
      r.deadlineMs = timeoutMs > 0 ? Math.min(r.deadlineMs, lastMs) : Infinity;
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
    // After a turn longer than `timeout` its first get may be overdue before its line is written: nobody may join it any more.
    if (this.openBatch !== null) this.closeBatch(this.openBatch);
    if (!this.ready && this.failOverdue(nowMs)) overdue = true;
    while (this.oldest !== null && this.oldest.deadlineMs <= nowMs) {
      const request: Request = this.oldest;
      this.oldest = request.nextInFlight;
      overdue = true;
      this.answerFailed(request, failureOf("ETIMEDOUT"));
      if (request.swallowed) return this.giveUpSilent();
    }
    if (this.begun && this.head!.client !== null && nowMs - this.partAtMs >= this.server.pool.timeoutMs) {
      overdue = true;
      this.breakOff(failureOf("ETIMEDOUT"), "stopped");
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
      if (r.deadlineMs > nowMs || r.swallowed || unwanted(r)) continue;
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
    this.closed = true;
    this.stopConnectTimer();
    this.socket.destroy();
    if (this.open) this.server.counters[SERVER_CONNECTIONS]!--;
    this.endpoint.lost(this);
    this.failAll(failure);
  }

  /**
   * Takes out of its queue, in order, what may be asked of another: reads that are sent once more (retry_reads), and then what certainly
   * has not reached the server, held back for the handshake or not given to the kernel (that ends the connection). Between two turns,
   * and only of a shared connection: of one that has a holder some of a request may be here and the rest not.
   * @returns null if there is nothing
   */
  takeUnsent(): Unsent | null {
    // First: a read that has not left stays behind a write that has not.
    const unwritten = this.takeUnwritten();
    return join(this.takeKept(), unwritten);
  }

  /** The reads that are sent once more, out of what has been sent. The connection has come to its end, or is about to. */
  takeKept(): Unsent | null {
    if (!this.server.pool.config.retryReads || this.holder !== null) return null;
    const bytes = new Outbox();
    let first: Request | null = null;
    let last: Request | null = null;
    let oldest: Request | null = null;
    let before: Request | null = null;
    for (let r = this.head; r !== null;) {
      const next: Request | null = r.nextInFlight;
      const begun = this.begun && r === this.head;
      if (!(r instanceof KeptRequest) || r.again || begun || unwanted(r)) before = r;
      else {
        if (before === null) this.head = next;
        else before.nextInFlight = next;
        if (last === null) first = r;
        else last.nextInFlight = r;
        last = r;
        r.nextInFlight = null;
        r.again = true;
        bytes.append(r.bytes, 0, r.bytes.length);
        if (oldest === null && r.deadlineMs < Infinity) oldest = r;
      }
      r = next;
    }
    this.tail = before;
    return first === null ? null : { first, oldest, bytes };
  }

  private takeUnwritten(): Unsent | null {
    if (this.holder !== null) return null;
    const bytes = new Outbox();
    if (!this.ready) {
      bytes.adopt(this.backlog!);
      this.written -= bytes.size;
    } else {
      if (this.socket.queuedBytes === 0) return null;
      this.written = this.socket.withdraw(bytes);
    }
    let last: Request | null = null;
    let first = this.head;
    while (first !== null && (first.swallowed || first.sentAt - first.size < this.written)) {
      last = first;
      first = first.nextInFlight;
    }
    if (last === null) this.head = null;
    else last.nextInFlight = null;
    this.tail = last;
    if (this.oldest === null || !this.oldest.swallowed) this.oldest = null;
    if (first === null) return null;
    // The rest of one that has left in part.
    skip(bytes, first.sentAt - first.size - this.written);
    return this.sift(first, bytes);
  }

  /**
   * What the proxy itself asks is meant for this very process (CLIENT UNBLOCK), or is asked again elsewhere by whoever hears that it
   * has failed: it stays in the queue.
   */
  private sift(unsent: Request, bytes: Outbox): Unsent | null {
    let first: Request | null = null;
    let last: Request | null = null;
    let oldest: Request | null = null;
    let at = 0;
    let all: Uint8Array | null = null;
    let before: Request | null = null;
    for (let r: Request | null = unsent; r !== null;) {
      const next: Request | null = r.nextInFlight;
      const goes: boolean = r.internal !== null
        ? next?.split?.endsRequestBefore === true
        : r.split?.endsRequestBefore !== true || before?.internal != null && before === last;
      r.nextInFlight = null;
      if (goes) {
        if (last === null) first = r;
        else last.nextInFlight = r;
        last = r;
        if (oldest === null && r.deadlineMs < Infinity && !unwanted(r)) oldest = r;
        if (all !== null) bytes.append(all, at, at + r.size);
      } else {
        if (this.tail === null) this.head = r;
        else this.tail.nextInFlight = r;
        this.tail = r;
        if (all === null) {
          all = new Uint8Array(bytes.size);
          bytes.moveTo(all);
          bytes.append(all, 0, at);
        }
      }
      at += r.size;
      before = r;
      r = next;
    }
    return first === null ? null : { first, oldest, bytes };
  }

  /** Sends what another connection of its class had not sent yet, before anything else that clients ask for. Their deadlines stay. */
  takeOver({ first, oldest, bytes }: Unsent): void {
    const { pool } = this.server;
    if (!this.ready) this.backlog!.adopt(bytes);
    else this.socket.sendChunks(bytes);
    if (this.tail === null) this.head = first;
    else this.tail.nextInFlight = first;
    for (let r: Request | null = first; r !== null; r = r.nextInFlight) {
      this.tail = r;
      r.sentAt = this.written += r.size;
    }
    this.oldest ??= oldest;
    if (this.oldest !== null) pool.sweepSoon();
    if (!this.dirty) pool.turn.touchServer(this);
  }

  wasClosed(error: NetError | null): void {
    if (!this.closed) this.end(error === null ? failureOf("EOF") : failureOf(error.code, error.message), "");
  }

  private end(failure: Failure, detail: string): void {
    this.closed = true;
    this.stopConnectTimer();
    const server = this.server;
    if (this.open) server.counters[SERVER_CONNECTIONS]!--;
    const alreadyCounted = failure.code === "ETIMEDOUT" && this.silentSinceMs >= 0;
    if (!alreadyCounted) server.counters[failure.counter]!++;
    const inVain = !this.open || this.turnedAway;
    const slot = this.endpoint.lost(this);
    // An idle disconnect is no failure: servers close idle connections and restart.
    const idle = this.head === null && this.open && !this.turnedAway;
    if (!idle && !alreadyCounted) this.endpoint.failed(failure);
    // To connect again at once would be for nothing, whether nobody is there or nobody is let in.
    if (inVain) this.endpoint.connectFailed(failure);
    else if (failure.code === "ETIMEDOUT") this.endpoint.noteTrouble(failure);
    this.logEnd(failure, detail, idle);
    if (slot >= 0) this.goElsewhere(slot, failure);
    this.failAll(failure);
  }

  /** What has not been sent, or may be sent again, goes to the next connection in this one's slot. */
  private goElsewhere(slot: number, failure: Failure): void {
    const { endpoint } = this;
    let unsent = null;
    if (!this.ready) unsent = endpoint.holds ? this.takeUnwritten() : null;
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
    if (this.begun) this.breakOff(failure, "ended");
    this.begun = false;
    const unanswered = this.head;
    this.openBatch = null;
    this.head = this.tail = this.oldest = null;
    for (let r = unanswered; r !== null; r = r.nextInFlight) this.answerFailed(r, failure);
    this.inbox.clear();
    this.pieces?.clear();
    this.pieces = null;
    this.backlog?.clear();
    this.releaseWaiters();
    const holder = this.holder;
    this.holder = null;
    holder?.lost(this);
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
    answerFailed(request, this.server, failure);
  }

  private stopConnectTimer(): void {
    if (this.connectTimer !== null) this.server.pool.clock.clearTimer(this.connectTimer);
    this.connectTimer = null;
  }

  /** Adds this connection's queues to a row of SERVER_METRICS. */
  addGauges(row: Float64Array): void {
    const left = this.ready ? this.socket.flushedBytes : 0;
    for (let r = this.head; r !== null; r = r.nextInFlight) {
      const sent = r.sentAt <= left;
      row[sent ? OUT_QUEUE : IN_QUEUE]! += r.batch?.waiting ?? 1;
      row[sent ? OUT_QUEUE_BYTES : IN_QUEUE_BYTES]! += r.size;
    }
  }
}

/** Answers a request that will have no reply with an error of the proxy's. */
export function answerFailed(request: Request, server: Server, failure: Failure): void {
  const { client, split, internal, batch } = request;
  if (client === null && split === null && internal === null && batch === null) return;
  const reply = server.errorReply(failure);
  if (batch !== null) {
    request.batch = null;
    batch.fail(reply);
    return giveBatch(batch);
  }
  request.client = request.split = request.internal = null;
  if (client !== null) {
    client.countForwardError();
    client.deliver(request, reply, 0, reply.length);
  } else if (split !== null) split.take(request.fragment, reply, 0, reply.length, true);
  else internal!(reply, 0, reply.length, true);
}

/** Nobody waits for its reply any more: the client is gone, or has been told that it timed out. */
function unwanted({ client, split, internal, batch }: Request): boolean {
  return client === null && internal === null && batch === null &&
    (split === null || split.parent.client === null);
}

/** Nothing is owed to its client before its reply. */
function isTurnOf(head: Request): boolean {
  return head.client !== null && head.client.head === head;
}

/** A part of a single value may leave before the rest has come, or be dropped. */
function mayLeave(head: Request): boolean {
  return unwanted(head) || isTurnOf(head) && head.check === 0;
}

/** Failures of a connection that say that the server is gone, and nothing about what it was asked. */
const WENT_AWAY: ReadonlySet<string> = new Set(["EOF", "ECONNRESET", "EPIPE"]);

/** One behind the other. */
function join(first: Unsent | null, then: Unsent | null): Unsent | null {
  if (first === null || then === null) return first ?? then;
  let last = first.first;
  while (last.nextInFlight !== null) last = last.nextInFlight;
  last.nextInFlight = then.first;
  first.bytes.adopt(then.bytes);
  return { first: first.first, oldest: first.oldest ?? then.oldest, bytes: first.bytes };
}

/** Forgets the first `count` bytes. */
function skip(bytes: Outbox, count: number): void {
  while (count > 0) {
    const part = Math.min(count, bytes.end - bytes.start);
    bytes.consume(part);
    count -= part;
  }
}

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

const NEED_MORE = -1;
const MINUS = 45;
const CR = 13;
const LF = 10;
