/**
 * One client connection: takes requests out of the bytes it sends, and stops reading when there is no place for more.
 *
 *   bytes ──► inbox ──► front.step ──► request ──► server …
 *   socket ◄── replies (reply_queue.ts: in order) ◄── deliver
 *
 * `blocked` tells why no further request is taken; the socket is paused meanwhile, and what is left of the
 * received bytes waits in the inbox. Nothing here is called from inside a socket call, and work that could be
 * long is cut into turns (STEPS_MAX), so one pipeline does not stall the others.
 */
import { assert } from "../bytes/assert.ts";
import { endOffer, offerChunk } from "../bytes/chunks.ts";
import { Inbox } from "../bytes/inbox.ts";
import { KEEP_MIN, type Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import { INFO, NOTICE } from "../net/log.ts";
import type { NetError, Socket } from "../net/net.ts";
import {
  CLIENT_CONNECTIONS,
  CLIENT_EOF,
  CLIENT_ERR,
  FORWARD_ERROR,
  LIMIT_IN_FLIGHT,
  LIMIT_OUTPUT,
} from "../stats/metrics.ts";
import type { Allowance } from "./limits.ts";
import type { Pool } from "./pool.ts";
import { ReplyQueue, type ReplySink } from "./reply_queue.ts";
import { Request } from "./request.ts";
import type { ServerConnection } from "./server_connection.ts";
import { type Flushable, NO_STAMP, type Postponed, type Stamp } from "./turn.ts";

/** Reasons, as bits, why a client's next request has to wait. */
export const BUDGET = 1;
export const IN_FLIGHT = 2;
export const OUTPUT = 4;
export const SERVER = 8;
export const LEARNING = 16;
/** Its next request may only go out when everything before it has been answered. */
export const BARRIER = 32;
/** A request of its own, on a leased connection, has to be answered first. */
export const LEASED = 64;
/** A request that goes out in slices has to be answered first. */
export const SLICED = 128;
/** Who it is has to be found out first. */
export const LOGIN = 256;

/** A client that waits for these alone is read on, so that its end is noticed, up to AHEAD_MAX bytes. */
const READ_ON = LEASED | SLICED | LOGIN;
const AHEAD_MAX = 1024 * 1024;
/** … and a stranger up to this many. */
const LOGIN_AHEAD_MAX = 64 * 1024;

/** How far the end of a begun request is looked for at first, if its size is not known. */
const REST_MIN = 512;
/** Requests taken from one client in one turn. */
const STEPS_MAX = 256;
/**
 * A client with this many unread reply bytes is not read from until they have left, or until it has taken none of them for
 * PATIENCE_MS: then it may be one that writes its whole pipeline before it reads, and would wait for us as we for it. Such a one is
 * read on, up to client_output_limit, until all its replies have left. The other reasons to wait end without its reading.
 */
const OUTPUT_HIGH = 1024 * 1024;
const PATIENCE_MS = 20;

/**
 * A client has no more requests under way than would, with replies like its recent ones, bring this many bytes. Replies that
 * nobody reads have to be swallowed if it goes away, and until then those of others wait behind them.
 */
const EXPECTED_MAX = 16 * 1024 * 1024;
/** But always this many. */
const IN_FLIGHT_MIN = 4;
const REPLIES_REMEMBERED = 8;
/** What one of them counts for. */
const ONE_REPLY = 1 / REPLIES_REMEMBERED;

/** What the record of a request takes, about. */
const REQUEST_BYTES = 160;

/** What a connection has come to. */
const TALKING = 0;
/** The peer has sent FIN: it still gets the replies that it is owed. */
const ENDING = 1;
/** Nothing more is taken from it; the socket ends when all replies owed have been sent. */
const CLOSING = 2;
const CLOSED = 3;
/** Which of them may follow which: a bit each. Each may end at once. */
const MOVES = [1 << ENDING | 1 << CLOSING | 1 << CLOSED, 1 << CLOSING | 1 << CLOSED, 1 << CLOSED, 0];

/** How far it has come with going, when the proxy stops (service/drain.ts): its connection ends at the next moment of rest. */
const STAYS = 0;
const LEAVES = 1;
/** Since it leaves, it has sent more while it was owed replies. */
const PIPELINES = 2;
/** It pipelines and never rests: its next moment without debts will have to do. */
const HURRIED = 3;

/** Whether it reads its replies. */
const READS = 0;
/** Much is unread, and it is being watched. */
const WATCHED = 1;
/** It writes before it reads: OUTPUT_HIGH does not hold, until all replies have left. */
const WRITES_FIRST = 2;

export class Client implements Flushable, Postponed, ReplySink {
  dirty = false;
  blocked = 0;
  /** Replies to requests taken while this is set are dropped (CLIENT REPLY OFF, SKIP). */
  muted = false;
  private phase = TALKING;
  private going = STAYS;
  /** What is owed to it. */
  readonly replies: ReplyQueue = new ReplyQueue(this);
  /** About REPLIES_REMEMBERED times the size of its recent replies; to begin with, large ones are expected. */
  private recentBytes = REPLIES_REMEMBERED * 256 * 1024;
  /** Congested connections that this client waits for. */
  waits = 0;
  /** Of the turn in which the last bytes came from it. */
  stamp: Stamp = NO_STAMP;
  /** All that has ever come from it. */
  receivedBytes = 0;
  /** Makes more of a long reply when there is room for it. */
  private toGoOn: Postponed | null = null;
  readonly inbox = new Inbox();
  /** Of a half-received request, in bytes: without how many its scan cannot go on, and about how many it will have. 0 = unknown. */
  private needed = 0;
  private expected = 0;
  private postponed = false;
  private lent = false;
  /** Its end counts as an error, not as an end of file. */
  private broken = false;
  /** Nothing more is read. */
  private deaf = false;
  private reading = READS;
  /** Requests that may still be taken in this turn. */
  private budget = 0;
  /** Requests are being taken: what is behind them in the inbox is not left over. */
  private taking = false;

  /** What it may do; null: as much as it likes. */
  allowance: Allowance | null = null;

  /** The front's own state for this client, made of it (Front.newSession). */
  session: unknown = null;

  /** @param serial counts up; chooses among several connections to a server */
  constructor(readonly socket: Socket, readonly pool: Pool, readonly serial: number) {}

  // ---- what it has come to

  private become(phase: number): void {
    assert((MOVES[this.phase]! >> phase & 1) === 1, "a client's phase follows MOVES");
    this.phase = phase;
  }

  /** Nothing more is taken from it. */
  get closing(): boolean {
    return this.phase >= CLOSING;
  }

  get closed(): boolean {
    return this.phase === CLOSED;
  }

  /** The proxy is stopping. */
  get leaving(): boolean {
    return this.going !== STAYS;
  }

  /** Since it is leaving, it has sent more while it was owed replies. */
  get pipelines(): boolean {
    return this.going >= PIPELINES;
  }

  /** "ip:port" of it that a load balancer has announced, if one has. */
  get announced(): string | undefined {
    return this.pool.announced.get(this);
  }

  /** "ip:port" of the client, as announced or of the socket, or "unix". For people; may allocate. */
  peer(): string {
    return this.announced ?? this.socket.peer();
  }

  /** The oldest request that is owed a reply. */
  get head(): Request | null {
    return this.replies.head;
  }

  /** Throws if something is not as it must be between two events. */
  invariants(): void {
    this.replies.invariants(this);
    assert(
      !this.closed || this.head === null && this.inbox.size === 0,
      "a client that is closed holds nothing",
    );
    assert(
      (this.blocked & SERVER) === 0 || this.waits > 0,
      "a client that waits for servers has one to wait for",
    );
    assert(
      this.replies.woven === false || this.closed || (this.blocked & BARRIER) !== 0,
      "nothing is taken amid a woven reply",
    );
  }

  // ---- received bytes

  /** Turn time. */
  get lastActiveMs(): number {
    return this.stamp.readMs;
  }

  /** It counts as idle from now on. */
  isActive(): void {
    this.stamp = this.pool.turn.stamp();
  }

  receive(view: Uint8Array): void {
    this.isActive();
    this.receivedBytes += view.length;
    if (this.closing) return;
    // Half a request in the inbox: these bytes are the rest of what was sent before the replies.
    if (this.going === LEAVES && this.head !== null && this.inbox.size === 0) this.going = PIPELINES;
    const from = this.inbox.size > 0 && this.blocked === 0 ? this.receiveRest(view) : 0;
    if (this.closing || from === view.length) return;
    if (this.blocked === 0 && this.inbox.size === 0) {
      const at = this.takeRequests(view, from, view.length);
      this.lent = false;
      if (at < view.length && !this.closing) {
        if (this.expected > 0) this.inbox.reserve(this.expected);
        this.inbox.append(view, at, view.length);
      }
      return;
    }
    this.inbox.append(view, from, view.length);
    if (this.blocked !== 0 && this.inbox.size > this.aheadMax) this.socket.pause();
  }

  /** Bytes of a request that is under way have gone to its server, unseen (Socket.passTo). */
  passed(count: number): void {
    this.isActive();
    this.receivedBytes += count;
    if (!this.closed) this.pool.front.passed!(this, count);
  }

  /**
   * Adds to the request in the inbox what it lacks, and takes it. Not more: what lies behind it is taken from `view`
   * without a copy.
   * @returns how far `view` has been used
   */
  private receiveRest(view: Uint8Array): number {
    const { inbox } = this;
    let from = 0;
    let step = REST_MIN;
    while (from < view.length) {
      const before = inbox.size;
      const lacking = this.needed - before;
      const piece = Math.min(lacking > 0 ? lacking : step, view.length - from);
      inbox.append(view, from, from + piece);
      from += piece;
      if (piece < lacking) break;
      this.takeFromInbox();
      if (this.closing) return view.length;
      if (this.blocked !== 0) break;
      const left = inbox.size;
      if (left <= piece && left < before + piece) {
        // Something was taken, and what is left came just now.
        inbox.clear();
        return from - left;
      }
      step *= 2;
    }
    return from;
  }

  private takeFromInbox(): void {
    const { inbox, needed } = this;
    inbox.pin();
    // One large request and nothing else: its server's outbox may have the chunk it lies in.
    const offers = needed >= KEEP_MIN && needed === inbox.size;
    if (offers) offerChunk(inbox.bytes);
    const at = this.takeRequests(inbox.bytes, inbox.start, inbox.end);
    const kept = offers && endOffer();
    inbox.unpin(this.closing ? inbox.end : at, this.lent || kept);
    this.lent = false;
    if (this.closing) return;
    if (this.expected > 0) inbox.reserve(this.expected);
  }

  /** Takes whole requests from `bytes[at, end)` until something blocks; returns the offset of the first one not taken. */
  private takeRequests(bytes: Uint8Array, at: number, end: number): number {
    const front = this.pool.front;
    this.budget = STEPS_MAX;
    this.lacks(0);
    this.taking = true;
    while (at < end) {
      if (this.budget-- <= 0) {
        this.block(BUDGET);
        this.postpone();
        break;
      }
      if (this.allowance !== null) this.allowance.before();
      const next = front.step(this, bytes, at, end);
      if (this.allowance !== null) this.allowance.after(next - at);
      if (next < 0) break;
      if (next - at >= SHARE_MIN) this.lent = true;
      at = next;
      if (this.blocked !== 0 || this.closing) break;
    }
    this.taking = false;
    return at;
  }

  /**
   * The front's: the request at hand is not all here.
   * @param needed bytes of it without which its scan cannot go on; 0 = unknown
   * @param expected about how many it will have, at least `needed`
   */
  lacks(needed: number, expected = needed): void {
    this.needed = needed;
    this.expected = expected;
  }

  block(reason: number): void {
    this.blocked |= reason;
    // While reading is paused nobody tells us that the client is gone, and its BLPOP would go on without it.
    if ((this.blocked & ~READ_ON) !== 0) this.socket.pause();
  }

  unblock(reason: number): void {
    if ((this.blocked & reason) === 0) return;
    this.blocked &= ~reason;
    if (this.blocked === 0) this.postpone();
    else this.listen();
  }

  /** How much it may have sent while it waits. */
  private get aheadMax(): number {
    return (this.blocked & LOGIN) === 0 ? AHEAD_MAX : LOGIN_AHEAD_MAX;
  }

  /** Reads on, if nothing speaks against it. */
  private listen(): void {
    if (this.deaf) return;
    if (this.blocked === 0 || ((this.blocked & ~READ_ON) === 0 && this.inbox.size <= this.aheadMax)) {
      this.socket.resume();
    }
  }

  private postpone(): void {
    if (this.postponed) return;
    this.postponed = true;
    this.pool.turn.later(this);
  }

  resume(): void {
    this.postponed = false;
    if (this.closed) return;
    this.blocked &= ~BUDGET;
    if (this.blocked !== 0) return;
    // What is taken now has been read before.
    if (this.stamp.over) this.stamp = this.pool.turn.stampOf(this.stamp.readMs);
    if (this.inbox.size > 0 && !this.closing && this.inbox.size >= this.needed) this.takeFromInbox();
    this.listen();
    this.endIfDone();
  }

  /** Waits until `connection` has got rid of its backlog. */
  waitFor(connection: ServerConnection): void {
    this.waits++;
    connection.waiters.push(this);
    this.block(SERVER);
  }

  waitOver(): void {
    if (--this.waits === 0) this.unblock(SERVER);
  }

  // ---- requests and replies

  /** Puts a request into the queue. */
  enqueue(request: Request): void {
    assert(this.phase !== CLOSED, "nothing is owed to a client that is gone");
    const { pool } = this;
    request.enter(this.stamp, this.muted, pool.counting);
    pool.counting = 0;
    this.replies.add(request);
    const inFlight = this.replies.length;
    if (inFlight >= this.pool.config.inFlightMax) {
      if ((this.blocked & IN_FLIGHT) === 0) this.pool.counters[LIMIT_IN_FLIGHT]!++;
      this.block(IN_FLIGHT);
    } else if (inFlight * this.recentBytes > REPLIES_REMEMBERED * EXPECTED_MAX && inFlight >= IN_FLIGHT_MIN) {
      this.block(IN_FLIGHT);
    }
  }

  /** How many requests may be taken in one go, without anybody looking at the client in between; less than one: none. */
  get room(): number {
    if (this.allowance !== null || this.muted || this.stamp.over) return 0;
    return Math.min(this.inFlightMax - 1 - this.replies.length, this.budget + 1);
  }

  /** Puts `count` requests into the queue, from `first` to `last`, which have entered; no more than there is room for. */
  enqueueRun(first: Request, last: Request, count: number): void {
    assert(this.phase !== CLOSED, "nothing is owed to a client that is gone");
    this.replies.addRun(first, last, count);
    this.budget -= count - 1;
  }

  /** How many requests may be under way before the client has to wait. */
  private get inFlightMax(): number {
    const expected = Math.floor(REPLIES_REMEMBERED * EXPECTED_MAX / this.recentBytes);
    return Math.min(this.pool.config.inFlightMax, Math.max(IN_FLIGHT_MIN, expected));
  }

  /** Answers the next request from here, in its turn. `bytes` are shared: never written to again. */
  answer(bytes: Uint8Array): void {
    if (this.replies.head === null && !this.muted) {
      this.countHere();
      return this.send(bytes, 0, bytes.length);
    }
    const request = new Request(this);
    this.enqueue(request);
    this.deliver(request, bytes, 0, bytes.length);
  }

  /** The request at hand has been answered, and was never in the queue: counts it, unless that has been done. */
  countHere(): void {
    const { pool } = this;
    if (pool.counting > 0) pool.timing.over(pool.counting - 1, this.lastActiveMs, -1);
    pool.counting = 0;
  }

  /** Delivers a request's reply: now if it is the oldest, else when its turn comes. Bytes as for Split.take. */
  deliver(request: Request, bytes: Uint8Array, start: number, end: number): void {
    if (!request.isSettled) this.account(request, end - start);
    if (this.replies.deliver(request, bytes, start, end)) this.delivered();
  }

  /** As `deliver`, for a reply that is followed by all of `rest`, which is small. */
  deliverBoth(request: Request, bytes: Uint8Array, start: number, end: number, rest: Uint8Array): void {
    if (!request.isSettled) this.account(request, end - start + rest.length);
    if (this.replies.deliverBoth(request, bytes, start, end, rest)) this.delivered();
  }

  /** As `deliver`, for a reply before which `head[0, headEnd)` comes; borrowed, and small. */
  deliverHeaded(
    request: Request,
    head: Uint8Array,
    headEnd: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (!request.isSettled) this.account(request, headEnd + end - start);
    if (this.replies.deliverHeaded(request, head, headEnd, bytes, start, end)) this.delivered();
  }

  /** Counts a request that has its answer of so many bytes, and tells who looks at it. */
  private account(request: Request, bytes: number): void {
    const { seen, turn, clock, timing } = this.pool;
    timing.answered(request);
    if (request.isFollowed) seen.answered(request, bytes, turn.now(), clock.wallMs());
  }

  /**
   * As `deliver`, for whole replies to `count` requests in a row, up to `last`, of which none is muted and all have been counted. The
   * first one's is the oldest owed, if there are several.
   */
  deliverRun(
    first: Request,
    last: Request,
    count: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (first !== this.replies.head) {
      this.replies.holdUntouched(first, bytes, start, end);
      return;
    }
    this.replies.deliverRun(last, count, bytes, start, end);
    if (count > 1) {
      // As if one had come after the other.
      const each = (end - start) / count;
      let recent = this.recentBytes - (end - start);
      for (let i = 1; i < count; i++) recent += each + 1 - (recent + each) * ONE_REPLY;
      this.recentBytes = recent + each;
    }
    this.delivered();
  }

  private delivered(): void {
    // Never quite 0: numbers next to it are slow.
    this.recentBytes += 1 - this.recentBytes * ONE_REPLY;
    if ((this.blocked & IN_FLIGHT) !== 0 && this.replies.length <= this.inFlightMax >> 1) {
      this.unblock(IN_FLIGHT);
    }
    if (this.replies.head === null) {
      if ((this.blocked & BARRIER) !== 0) this.barrierPassed();
      if (this.phase !== TALKING) this.endIfDone();
    }
  }

  /**
   * True if nothing is owed to the client, so that what comes next cannot overtake anything. Otherwise it waits, and has
   * to offer its request again.
   */
  atRest(): boolean {
    if (this.head === null) return true;
    this.block(BARRIER);
    return false;
  }

  /** Keys have moved: the next request waits until nothing is owed, so that it cannot overtake one for the same key elsewhere. */
  settle(): void {
    // One that waits on its server takes nothing before that anyway, and has to be read on.
    if (this.head !== null && !this.pool.front.waits?.(this)) this.block(BARRIER);
  }

  /**
   * Sends bytes that answer no request (a push, a message of a subscription), but never in the middle of a reply. Borrowed, or
   * shared from SHARE_MIN on.
   */
  push(bytes: Uint8Array, start: number, end: number): void {
    if (!this.closed) this.replies.push(bytes, start, end);
  }

  /** Sends a part of the reply to the oldest request, whose end `deliver` will bring. Bytes as for `push`. */
  sendPart(bytes: Uint8Array, start: number, end: number): void {
    if (this.closed) return;
    if (this.head?.isFollowed) this.pool.seen.part(this.head, end - start);
    this.replies.sendPart(bytes, start, end);
  }

  /** As `sendPart`, for all that `chunks` holds; empty afterwards. */
  sendPartChunks(chunks: Outbox): void {
    if (this.closed) return chunks.clear();
    if (this.head?.isFollowed) this.pool.seen.part(this.head, chunks.size);
    this.replies.sendPartChunks(chunks);
  }

  /** As `sendPart`, for bytes that have gone to the socket already, unseen (Socket.passTo). */
  partPassed(count: number): void {
    if (this.closed) return;
    if (this.head?.isFollowed) this.pool.seen.part(this.head, count);
    this.recentBytes += count;
    if (!this.dirty) this.pool.turn.touchClient(this);
  }

  /** Until everything in the queue has been answered, what leaves is one reply, and no further request is taken. */
  beginWoven(): void {
    this.replies.beginWoven();
    this.block(BARRIER);
  }

  private barrierPassed(): void {
    if (this.replies.woven) this.replies.endWoven();
    this.unblock(BARRIER);
  }

  // ---- what leaves

  sendChunks(chunks: Outbox): void {
    this.recentBytes += chunks.size;
    this.socket.sendChunks(chunks);
    if (!this.dirty) this.pool.turn.touchClient(this);
  }

  holdsMore(): void {
    const { heldBytes } = this.replies;
    if (heldBytes > this.pool.config.clientOutputMax) this.refuseToHoldMore();
    // What is queued besides may have left by the end of the turn; if not, that is too much as well.
    else if (!this.dirty && heldBytes + this.socket.queuedBytes > this.pool.config.clientOutputMax) {
      this.pool.turn.touchClient(this);
    }
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.recentBytes += end - start;
    if (end - start >= SHARE_MIN) this.socket.sendShared(bytes, start, end);
    else this.socket.send(bytes, start, end);
    if (!this.dirty) this.pool.turn.touchClient(this);
  }

  flush(): void {
    const socket = this.socket;
    if (this.leaving) this.flushLeaving();
    else socket.flush();
    const queued = socket.queuedBytes;
    if (queued + this.replies.heldBytes > this.pool.config.clientOutputMax) this.refuseToHoldMore();
    else if (queued >= OUTPUT_HIGH && this.reading !== WRITES_FIRST) {
      this.block(OUTPUT);
      if (this.reading === READS) this.watchReading();
    }
  }

  drained(): void {
    if (this.reading === WRITES_FIRST) this.reading = READS;
    this.goOn();
  }

  /**
   * True if more of a long reply may be made now; else `work` goes on when there is room for it: when all that is queued has left,
   * or the client turns out to write before it reads. It may be gone by then.
   */
  hasRoom(work: Postponed): boolean {
    if (this.reading === WRITES_FIRST || this.socket.queuedBytes < OUTPUT_HIGH) return true;
    this.toGoOn = work;
    if (this.reading === READS) this.watchReading();
    return false;
  }

  private goOn(): void {
    this.unblock(OUTPUT);
    const { toGoOn } = this;
    if (toGoOn === null) return;
    this.toGoOn = null;
    this.pool.turn.later(toGoOn);
  }

  /** Waits until its unread replies have left, or none of them leaves any more. */
  private watchReading(): void {
    const { flushedBytes } = this.socket;
    this.reading = WATCHED;
    this.pool.setTimer(PATIENCE_MS, () => {
      this.reading = READS;
      if (this.closed || ((this.blocked & OUTPUT) === 0 && this.toGoOn === null)) return;
      if (this.socket.flushedBytes !== flushedBytes) return this.watchReading();
      this.reading = WRITES_FIRST;
      this.goOn();
    });
  }

  /**
   * Is there room for a reply of so many bytes, of which some are still to come? If not, the client is closed: sooner or later
   * it would be.
   */
  mayHold(bytes: number): boolean {
    if (bytes > this.pool.config.clientOutputMax) this.refuseToHoldMore(bytes);
    return !this.closed;
  }

  private refuseToHoldMore(bytes = this.socket.queuedBytes + this.replies.heldBytes): void {
    if (this.closed) return;
    this.pool.counters[LIMIT_OUTPUT]!++;
    this.giveUp(`does not read its replies: ${bytes} bytes are more than client_output_limit`);
  }

  /** Closes the connection at once. @param reason for the log: completes "client …" */
  giveUp(reason: string): void {
    if (this.closed) return;
    this.pool.log.write(
      NOTICE,
      `c ${this.serial} '${this.peer()}' in pool '${this.pool.config.name}' ${reason}, closing`,
    );
    this.hangUp();
  }

  /** Closes the connection at once, without a word, with whatever is owed. */
  hangUp(): void {
    if (this.closed) return;
    this.broken = true;
    this.socket.destroy();
    this.abandon();
  }

  /** Bytes of memory that would be free without this client. */
  get holdsBytes(): number {
    const { heldBytes, length } = this.replies;
    return this.inbox.heldBytes + this.socket.queuedBytes + heldBytes + length * REQUEST_BYTES +
      (this.pool.front.holdsBytes?.(this) ?? 0);
  }

  countForwardError(): void {
    this.pool.counters[FORWARD_ERROR]!++;
  }

  // ---- the end

  /** Takes no more requests; the connection ends when the replies owed have left. */
  closeAfterReplies(): void {
    if (!this.closing) this.become(CLOSING);
    this.needed = 0;
    this.endIfDone();
  }

  /** The proxy is stopping. */
  startLeaving(): void {
    if (this.going === STAYS) this.going = LEAVES;
    this.pool.front.interrupt?.(this);
  }

  /** The proxy cannot wait much longer for it to rest. */
  hurry(): void {
    if (this.going === PIPELINES) this.going = HURRIED;
  }

  /** Nothing is owed, half received, kept for later, or about to be taken. */
  get resting(): boolean {
    return this.head === null && this.inbox.size === 0 && this.blocked === 0 && !this.postponed &&
      !this.pool.front.midway?.(this);
  }

  /** A reply that is the last and the end leave together: in between the next request could be sent. */
  private flushLeaving(): void {
    this.isActive();
    if (!this.closing && this.going !== PIPELINES && this.resting) this.closeAfterReplies();
    else this.socket.flush();
  }

  /** Reads nothing more, and ends when what has been received is answered. */
  lastCall(): void {
    if (this.closed) return;
    this.deaf = true;
    this.socket.pause();
    this.peerEnded();
  }

  /** The client does not speak the protocol: counts as an error, unlike QUIT. */
  protocolError(): void {
    this.broken = true;
    this.closeAfterReplies();
  }

  /** The client's FIN. It still gets the replies it is owed, except those it might wait for without end. */
  peerEnded(): void {
    if (this.phase === TALKING) this.become(ENDING);
    if (!this.deaf && this.pool.front.waits?.(this)) {
      this.socket.destroy();
      return this.abandon();
    }
    this.endIfDone();
  }

  private endIfDone(): void {
    if (this.head !== null || this.closed) return;
    // A blocked client may have whole requests left in its inbox: those are still served after its FIN.
    const waiting = this.blocked !== 0 || this.postponed || this.taking;
    if (!this.closing && (this.phase !== ENDING || (waiting && this.inbox.size > 0))) return;
    if (this.inbox.size > 0) {
      this.pool.log.write(INFO, `eof c ${this.serial} discarding incomplete req len ${this.inbox.size}`);
    }
    if (!this.closing) this.become(CLOSING);
    this.inbox.clear();
    this.socket.end();
  }

  /** The socket is gone: nothing more can be delivered. */
  wasClosed(error: NetError | null): void {
    const orderly = !this.broken && (error === null || this.phase !== TALKING);
    this.pool.counters[orderly ? CLIENT_EOF : CLIENT_ERR]!++;
    this.abandon();
    this.pool.forget(this);
  }

  /** Leaves requests in flight without an owner: their replies will be swallowed. */
  private abandon(): void {
    if (this.closed) return;
    this.become(CLOSED);
    this.pool.counters[CLIENT_CONNECTIONS]!--;
    for (let r = this.replies.head; r !== null; r = r.next) {
      this.pool.timing.answered(r);
      if (r.isFollowed) this.pool.seen.forget(r);
    }
    this.replies.abandon();
    this.inbox.clear();
    this.pool.front.abandoned(this);
  }
}
