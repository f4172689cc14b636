/**
 * A request that was split over several servers: collects the fragments' replies and joins them into one.
 *
 * Replies may come in any order; the join waits for all. How they are joined is the protocol's business (`Joiner`).
 */
import { SHARE_MIN } from "../bytes/outbox.ts";
import { Arena } from "../bytes/arena.ts";
import { giveChunk } from "../bytes/chunks.ts";
import { Scratch } from "../bytes/scratch.ts";
import type { Client } from "./client.ts";
import { BEGUN, OWED, type Request } from "./request.ts";

/** What a fragment came back with: `bytes[start, end)`, owned. */
export interface FragmentReply {
  bytes: Uint8Array;
  start: number;
  end: number;
  /** `bytes` is a chunk with nothing else in it. */
  ownsBytes: boolean;
  /** The bytes were made here because the server failed. */
  failed: boolean;
}

/** Makes one reply of all; returns owned bytes, or `SCRATCH.bytes`, whose end is `SCRATCH.end`. */
export type Joiner = (split: Split) => Uint8Array;

/** Where joins may write what fits: delivered, and so copied, before the next join. */
export const SCRATCH = new Scratch();

const arena = new Arena();

export class Split {
  readonly replies: FragmentReply[] = [];
  private missing = 0;
  private failed = false;

  /**
   * @param parent the request in the client's queue
   * @param join called once, when all fragments have answered
   * @param owners which fragment holds element i of the joined reply, for joins that need it; owned
   * @param detail a number for the joiner (a join kind, a protocol version)
   */
  constructor(
    readonly parent: Request,
    readonly join: Joiner,
    readonly owners: Uint16Array,
    readonly detail: number,
  ) {}

  /** A fragment is the end of what the request before it on its connection has begun: it goes nowhere without that one. */
  get endsRequestBefore(): boolean {
    return false;
  }

  /**
   * A large reply to its only fragment, which is no error, has begun to come. If that may be the client's at once, in parts, returns the
   * request that takes the fragment's place on its connection; this split has no part in it any more.
   */
  letGo(): Request | null {
    return null;
  }

  /** A large reply to its only fragment, which begins so, may be taken in parts: `takePart` …, and `take` with the last of it. */
  takesParts(_bytes: Uint8Array, _start: number): boolean {
    return false;
  }

  /** Whole elements of such a reply; more follow, or `take` says that it failed. Borrowed, or shared from SHARE_MIN on. */
  takePart(_bytes: Uint8Array, _start: number, _end: number): void {}

  /** Bytes of the replies that have come. */
  get heldBytes(): number {
    let bytes = 0;
    for (const reply of this.replies) bytes += reply.end - reply.start;
    return bytes;
  }

  /** Makes room for one more fragment; returns its place. */
  add(): number {
    this.missing++;
    this.replies.push({ bytes: EMPTY, start: 0, end: 0, ownsBytes: false, failed: false });
    return this.replies.length - 1;
  }

  /** Takes a fragment's reply; borrowed unless it has SHARE_MIN bytes or more, then shared. */
  take(fragment: number, bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    const reply = this.replies[fragment]!;
    const last = --this.missing === 0;
    if (this.parent.progress === OWED) this.parent.progress = BEGUN;
    // The last one is joined before the call returns: borrowing is enough.
    if (last || end - start >= SHARE_MIN) {
      reply.bytes = bytes;
      reply.start = start;
      reply.end = end;
    } else {
      arena.keep(bytes, start, end);
      reply.bytes = arena.bytes;
      reply.start = arena.start;
      reply.end = arena.end;
      reply.ownsBytes = arena.own;
    }
    reply.failed = failed;
    if (failed) this.failed = true;
    if (last) this.finish();
  }

  private finish(): void {
    const client = this.parent.client;
    if (client !== null) {
      const joined = this.join(this);
      if (this.failed) client.countForwardError();
      this.deliver(client, joined, joined === SCRATCH.bytes ? SCRATCH.end : joined.length);
    }
    for (const reply of this.replies) if (reply.ownsBytes) giveChunk(reply.bytes);
  }

  /** Hands `joined[0, end)` on; owned unless it lies in SCRATCH. */
  protected deliver(client: Client, joined: Uint8Array, end: number): void {
    client.deliver(this.parent, joined, 0, end);
  }
}

const EMPTY = new Uint8Array(0);
