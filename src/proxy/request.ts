/**
 * One request on its way: in its client's queue until it is answered, in a server connection's until the
 * server has answered it.
 *
 *   client.head ─next─► request ─next─► request        replies leave in this order
 *   connection.head ─nextInFlight─► request ─► …        replies arrive in this order
 *
 * One that has left a queue points to no other of it (see unlink in reply_queue.ts).
 *
 * A client that is gone, or a request that timed out, leaves its record in the connection's queue with `client`
 * null: the reply that still comes is swallowed in its turn.
 */
import { giveChunk } from "../bytes/chunks.ts";
import type { Client } from "./client.ts";
import type { RequestLine } from "./request_line.ts";
import type { Split } from "./split.ts";
import { NO_STAMP, type Stamp } from "./turn.ts";

const NONE = new Uint8Array(0);

/** Called with the reply of a request that the proxy itself made, or with the error reply that stands for it. */
export type Internal = (bytes: Uint8Array, start: number, end: number, failed: boolean) => void;

/** How far a request has been answered. BEGUN: a part of its reply has come: what one server has said of several, or one slice. */
export const OWED = 0;
export const BEGUN = 1;
/** The reply, or an error in its place, has come and waits for its turn. */
export const DONE = 2;

/** Of `Request.bits`. */
const PROGRESS = 3;
const MUTED = 4;
const OWNS_REPLY = 8;
const UNCOUNTED = 16;
const FAILED = 32;
/** Somebody looks at its reply (proxy/seen.ts). */
const FOLLOWED = 64;
/** `writtenMs` says when it was written: it is one of several, or was asked of another before. */
const TIMED = 128;
/** When it has been answered its record serves another (proxy/spare_requests.ts): nobody may know it any more then. */
const AGAIN = 256;
const CLASS = 9;
/** Of `bits`, what tells that something has become of it. */
const TOUCHED = (1 << CLASS) - 1 & ~AGAIN;

/** `Request.replies` of one at whose reply nobody but the proxy looks (AUTH, SELECT). */
export const SWALLOWED = 0;

/** One is made for each request of a client's: 18 fields are 160 bytes on Bun, one more would make 224 of them. */
export class Request {
  next: Request | null = null;
  nextInFlight: Request | null = null;
  /** Set on a fragment: where its reply goes. */
  split: Split | null = null;
  /** A fragment's place in its split. */
  fragment = 0;
  internal: Internal | null = null;
  /** Set if others have joined it: its reply is for all of them, itself included. */
  line: RequestLine | null = null;
  /** Turn time at which the client gets an error instead; Infinity = never. */
  deadlineMs = Infinity;
  /** When its bytes came, and when it was written, as a rule (ServerConnection.writtenMs). */
  stamp: Stamp = NO_STAMP;
  /** When the first of it was written to a server; -1 = nothing has been, or nobody has answered yet; see `written`. */
  writtenMs = -1;
  /** Bytes sent to the server for it. */
  size = 0;
  /** The connection's byte count just past it: tells whether it has left. */
  sentAt = 0;
  /**
   * PROGRESS, MUTED, OWNS_REPLY, UNCOUNTED, FAILED, FOLLOWED and AGAIN, and from CLASS on 1 + the class (stats/latency.ts): one field, for the size of
   * the record.
   */
  private bits = OWED;
  /** What the front needs to know to check the reply (see Front.fits); 0 = any reply will do. */
  check = 0;
  /** So many replies of the server's are still to come for it: more than one only without a client and a split. Or SWALLOWED, of one. */
  replies = 1;
  reply: Uint8Array = NONE;
  replyStart = 0;
  replyEnd = 0;

  constructor(public client: Client | null) {}

  /** OWED, BEGUN or DONE. */
  get progress(): number {
    return this.bits & PROGRESS;
  }

  set progress(progress: number) {
    this.bits = this.bits & ~PROGRESS | progress;
  }

  /** Its reply is dropped instead of sent (CLIENT REPLY OFF). */
  get muted(): boolean {
    return (this.bits & MUTED) !== 0;
  }

  set muted(muted: boolean) {
    this.bits = muted ? this.bits | MUTED : this.bits & ~MUTED;
  }

  /** `reply` is a chunk with nothing else in it: whoever drops the reply gives it back. */
  get ownsReply(): boolean {
    return (this.bits & OWNS_REPLY) !== 0;
  }

  set ownsReply(owns: boolean) {
    this.bits = owns ? this.bits | OWNS_REPLY : this.bits & ~OWNS_REPLY;
  }

  /**
   * It is its client's.
   * @param stamp of the turn in which its bytes came
   * @param counts 1 + its class (stats/latency.ts), if it is to be counted as one request of a client's; else 0
   */
  enter(stamp: Stamp, muted: boolean, counts: number): void {
    this.stamp = stamp;
    const bits = this.bits & ~(MUTED | UNCOUNTED) | (muted ? MUTED : 0);
    this.bits = counts === 0 ? bits : bits | UNCOUNTED | counts << CLASS;
  }

  /** As a new one of `client`'s; it is used again (proxy/spare_requests.ts). All else is as in a new one already. */
  serve(client: Client | null): void {
    this.client = client;
    this.deadlineMs = Infinity;
    this.size = 0;
    this.bits = AGAIN;
  }

  get isUsedAgain(): boolean {
    return (this.bits & AGAIN) !== 0;
  }

  set isUsedAgain(again: boolean) {
    this.bits = again ? this.bits | AGAIN : this.bits & ~AGAIN;
  }

  /** 1 + its class; 0 = none: the proxy's own, or a part of another. */
  get counts(): number {
    return this.bits >> CLASS;
  }

  /** It counts as one request of its client's and has not been counted yet. */
  get uncounted(): boolean {
    return (this.bits & UNCOUNTED) !== 0;
  }

  counted(): void {
    this.bits &= ~UNCOUNTED;
  }

  /** It has been counted, or has not to be, and nobody looks at its reply. */
  get isSettled(): boolean {
    return (this.bits & (UNCOUNTED | FOLLOWED)) === 0;
  }

  /** It is as a client's request is, as a rule, when its one reply comes: to be counted by its stamp, and nobody looks at it. */
  get isPlain(): boolean {
    return (this.bits & (UNCOUNTED | FOLLOWED | FAILED | TIMED)) === UNCOUNTED;
  }

  /** As isPlain, and as it was when it was queued: nothing of its reply has come, and that will be sent. */
  get isUntouched(): boolean {
    return (this.bits & TOUCHED) === UNCOUNTED && this.check === 0 && this.line === null;
  }

  /** A server that it, or a part of it, was written to at `ms` has answered. */
  written(ms: number): void {
    if (this.writtenMs >= 0 && this.writtenMs <= ms) return;
    this.writtenMs = ms;
    this.bits |= TIMED;
  }

  /** Equal for those that are counted alike. */
  get kind(): number {
    return this.bits;
  }

  /** As `counted`, of one of that kind. */
  countedAs(kind: number): void {
    this.bits = kind & ~UNCOUNTED;
  }

  /** Its server's failure has been counted for it: a late reply is not. */
  get hasFailed(): boolean {
    return (this.bits & FAILED) !== 0;
  }

  failed(): void {
    this.bits |= FAILED;
  }

  /** Its reply is looked at. */
  get isFollowed(): boolean {
    return (this.bits & FOLLOWED) !== 0;
  }

  follow(): void {
    this.bits |= FOLLOWED;
  }

  get swallowed(): boolean {
    return this.replies === SWALLOWED;
  }

  /** Lets go of a reply that is held. */
  dropReply(): void {
    if (this.ownsReply) giveChunk(this.reply);
    this.ownsReply = false;
    this.reply = NONE;
    this.replyStart = this.replyEnd = 0;
  }
}

/** The class (stats/latency.ts) of those that are counted and of this kind. */
export function classOf(kind: number): number {
  return (kind >> CLASS) - 1;
}

/** Larger reads are not kept. */
export const KEPT_MAX: number = 64 * 1024;

/**
 * A read whose bytes are kept (retry_reads): if its server goes away before any of its reply has been passed on, it is sent once more
 * to whoever has taken the server's place. A write never is: nobody knows whether it has been done.
 */
export class KeptRequest extends Request {
  /** It has been sent a second time. */
  again = false;
  /** All of it; owned. */
  bytes: Uint8Array = NONE;
}

/** Nobody waits for its reply any more: the client is gone, or has been told that it timed out. */
export function isUnwanted({ client, split, internal, line }: Request): boolean {
  return client === null && internal === null && line === null &&
    (split === null || split.parent.client === null);
}
