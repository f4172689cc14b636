/**
 * The requests of one client that are under way, in order, and what leaves for them.
 *
 *   add ──► tail … request, request … head ──► deliver: the head's reply leaves, and with it the replies held behind it
 *                    └─ a reply that comes before its turn is held
 *   push ──► leaves between two replies; in the middle of one it waits for its end
 *
 * A reply may leave in parts (`sendPart`, whose end `deliver` brings), or be woven of several requests' replies (EXEC's).
 */
import { Arena } from "../bytes/arena.ts";
import { assert } from "../bytes/assert.ts";
import { Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import type { Client } from "./client.ts";
import { DONE, OWED, Request } from "./request.ts";
import { giveRequest } from "./spare_requests.ts";

/** From this size on a held reply leaves in the chunk it lies in: a system call of its own costs less than the copy. */
const HAND_OVER_MIN = 32 * 1024;

/** What is under way, so that nothing may come between, as bits: parts of the head's reply, replies that make one together. */
const PARTS = 1;
const WOVEN = 2;

const arena = new Arena();
const handOver = new Outbox();

/** Stands in a client's queue for bytes that answer no request. */
export class Inserted extends Request {}

/** Where replies leave: the client's socket. */
export interface ReplySink {
  /** Borrowed, or shared from SHARE_MIN on. */
  send(bytes: Uint8Array, start: number, end: number): void;
  /** All that `chunks` holds; empty afterwards. */
  sendChunks(chunks: Outbox): void;
  /** More is held than before. */
  holdsMore(): void;
}

export class ReplyQueue {
  /** The oldest request, which is answered next; null = nothing is owed. */
  head: Request | null = null;
  tail: Request | null = null;
  /** How many there are. */
  length = 0;
  /** Bytes of replies that wait for earlier ones, and of pushes that wait. */
  heldBytes = 0;
  private amid = 0;
  /** What answers no request and waits until nothing is under way. */
  private pushes: Outbox | null = null;

  constructor(private readonly sink: ReplySink) {}

  add(request: Request): void {
    assert(request.next === null && request.progress !== DONE, "what is put into a client's queue is new");
    if (this.tail === null) this.head = request;
    else this.tail.next = request;
    this.tail = request;
    this.length++;
  }

  /** As `add`, for `count` new requests in a row. */
  addRun(first: Request, last: Request, count: number): void {
    assert(last.next === null, "what is put into a client's queue is new");
    if (this.tail === null) this.head = first;
    else this.tail.next = first;
    this.tail = last;
    this.length += count;
  }

  /**
   * A request's reply: leaves now if it is the oldest, with the held ones behind it; else when its turn comes. Bytes as for Split.take.
   * @returns true if something has left
   */
  deliver(request: Request, bytes: Uint8Array, start: number, end: number): boolean {
    if (request !== this.head) {
      this.hold(request, bytes, start, end);
      return false;
    }
    if (!request.muted) this.sink.send(bytes, start, end);
    if ((this.amid & PARTS) !== 0) this.ended(PARTS);
    this.left(unlink(request), 1);
    return true;
  }

  /**
   * As `deliver`, for whole replies to the oldest request and those behind it up to `last`, of which none is muted. Nothing else has become
   * of them: nobody may ask for them any more.
   */
  deliverRun(last: Request, count: number, bytes: Uint8Array, start: number, end: number): void {
    this.sink.send(bytes, start, end);
    if ((this.amid & PARTS) !== 0) this.ended(PARTS);
    for (let r = this.head!;;) {
      const next = unlink(r);
      if (r.isUsedAgain) giveRequest(r);
      if (r === last) return this.left(next, count);
      r = next!;
    }
  }

  /** The `count` oldest requests have been sent their replies; `head` is the next. Those behind them that are held leave too. */
  private left(head: Request | null, count: number): void {
    this.length -= count;
    while (head !== null && head.progress === DONE) {
      this.sendHeld(head);
      const next = unlink(head);
      if (head.isUsedAgain) {
        head.dropReply();
        giveRequest(head);
      }
      head = next;
      this.length--;
    }
    this.head = head;
    if (head === null) {
      this.tail = null;
      assert(this.length === 0, "an empty queue counts nothing");
    }
  }

  /** As `deliver`, for a reply that is followed by all of `rest`, which is small. */
  deliverBoth(request: Request, bytes: Uint8Array, start: number, end: number, rest: Uint8Array): boolean {
    if (request !== this.head) {
      arena.keepBoth(bytes, start, end, rest);
      this.holdKept(request);
      return false;
    }
    if (!request.muted) this.sink.send(bytes, start, end);
    return this.deliver(request, rest, 0, rest.length);
  }

  /** As `deliver`, for a reply before which `head[0, headEnd)` comes; borrowed, and small. */
  deliverHeaded(
    request: Request,
    head: Uint8Array,
    headEnd: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (request !== this.head) {
      arena.keepHeaded(head, headEnd, bytes, start, end);
      this.holdKept(request);
      return false;
    }
    if (!request.muted) this.sink.send(head, 0, headEnd);
    return this.deliver(request, bytes, start, end);
  }

  /** Sends a part of the reply to the oldest request, whose end `deliver` will bring. Bytes as for `push`. */
  sendPart(bytes: Uint8Array, start: number, end: number): void {
    this.amid |= PARTS;
    this.sink.send(bytes, start, end);
  }

  /** As `sendPart`, for all that `chunks` holds; empty afterwards. */
  sendPartChunks(chunks: Outbox): void {
    this.amid |= PARTS;
    this.sink.sendChunks(chunks);
  }

  /** What leaves until nothing is owed is one reply. */
  beginWoven(): void {
    this.amid |= WOVEN;
  }

  get woven(): boolean {
    return (this.amid & WOVEN) !== 0;
  }

  /** The woven reply has left: all that was owed has been answered. */
  endWoven(): void {
    assert(this.head === null, "a woven reply ends when nothing is owed");
    this.ended(PARTS | WOVEN);
  }

  private ended(what: number): void {
    this.amid &= ~what;
    const { pushes } = this;
    if (this.amid !== 0 || pushes === null) return;
    this.pushes = null;
    this.heldBytes -= pushes.size;
    this.sink.sendChunks(pushes);
  }

  /**
   * Sends bytes that answer no request (a push, a message of a subscription), but never in the middle of a reply. Borrowed, or
   * shared from SHARE_MIN on.
   */
  push(bytes: Uint8Array, start: number, end: number): void {
    if (this.amid === 0) return this.sink.send(bytes, start, end);
    this.pushes ??= new Outbox();
    this.pushes.appendShared(bytes, start, end);
    this.heldBytes += end - start;
    this.sink.holdsMore();
  }

  /**
   * The last request in the queue up to `end` (null = in all of it) of which a server has answered all or a part, or what has been inserted
   * behind that; or null.
   */
  lastAnswered(end: Request | null): Request | null {
    let last = null;
    let r = this.head;
    for (; r !== end && r !== null; r = r.next) if (r.progress !== OWED) last = r;
    if (r === null || r.progress === OWED) return last;
    while (r.next instanceof Inserted) r = r.next;
    return r;
  }

  /** Puts bytes that answer no request into the queue, to leave right behind the reply to `request`, which is in it; owned. */
  insertBehind(request: Request, bytes: Uint8Array): void {
    const inserted = new Inserted(request.client);
    inserted.next = request.next;
    request.next = inserted;
    if (this.tail === request) this.tail = inserted;
    this.length++;
    this.holdHere(inserted, bytes, 0, bytes.length);
  }

  /** Gives a request that is done and waits for its turn other bytes; owned. */
  replaceHeld(request: Request, bytes: Uint8Array): void {
    assert(request.progress === DONE, "only a reply that is held can be replaced");
    this.heldBytes -= request.replyEnd - request.replyStart;
    request.dropReply();
    this.holdHere(request, bytes, 0, bytes.length);
  }

  /** As `deliver`, for a reply whose turn has not come, to a request as those of `deliverRun`. */
  holdUntouched(request: Request, bytes: Uint8Array, start: number, end: number): void {
    const again = request.isUsedAgain;
    this.hold(request, bytes, start, end);
    request.isUsedAgain = again;
  }

  private hold(request: Request, bytes: Uint8Array, start: number, end: number): void {
    if (end - start >= SHARE_MIN) return this.holdHere(request, bytes, start, end);
    arena.keep(bytes, start, end);
    this.holdKept(request);
  }

  /** Holds what the arena has just kept. */
  private holdKept(request: Request): void {
    request.ownsReply = arena.own;
    this.holdHere(request, arena.bytes, arena.start, arena.end);
  }

  /** Holds a reply that is owned or shared. */
  private holdHere(request: Request, bytes: Uint8Array, start: number, end: number): void {
    request.progress = DONE;
    request.isUsedAgain = false;
    request.reply = bytes;
    request.replyStart = start;
    request.replyEnd = end;
    this.heldBytes += end - start;
    this.sink.holdsMore();
  }

  private sendHeld(request: Request): void {
    const { reply, replyStart, replyEnd } = request;
    const size = replyEnd - replyStart;
    this.heldBytes -= size;
    if (request.ownsReply && size >= HAND_OVER_MIN && !request.muted) {
      request.ownsReply = false;
      handOver.appendChunk(reply, replyStart, replyEnd);
      return this.sink.sendChunks(handOver);
    }
    if (!request.muted) this.sink.send(reply, replyStart, replyEnd);
    if (request.ownsReply) request.dropReply();
  }

  /** Leaves requests in flight without an owner: their replies will be swallowed. Nothing leaves any more. */
  abandon(): void {
    for (let r = this.head; r !== null; r = unlink(r)) {
      r.client = null;
      r.dropReply();
    }
    this.head = this.tail = null;
    this.length = this.heldBytes = this.amid = 0;
    this.pushes?.clear();
    this.pushes = null;
  }

  /** Throws if something is not as it must be between two events. @param owner whose requests these are */
  invariants(owner: Client): void {
    let length = 0;
    let heldBytes = this.pushes?.size ?? 0;
    let last: Request | null = null;
    for (let r = this.head; r !== null; r = r.next) {
      assert(r.client === owner || r.client === null, "a client's queue has its own requests only");
      if (r.progress === DONE) heldBytes += r.replyEnd - r.replyStart;
      last = r;
      length++;
    }
    assert(this.tail === last, "the tail of a client's queue is the last request");
    assert(this.length === length, "a client's queue counts its requests");
    assert(this.heldBytes === heldBytes, "a client's queue counts what it holds");
    assert(this.head?.progress !== DONE, "the oldest request of a client is not answered");
    assert(this.pushes === null || this.amid !== 0, "pushes wait in the middle of a reply only");
  }
}

/**
 * It leaves the queue. Who has left must not know who comes behind: the collector, which looks at what is old more seldom, would keep
 * all that ever came after one that was kept once.
 * @returns the next
 */
function unlink(request: Request): Request | null {
  const { next } = request;
  request.next = null;
  return next;
}
