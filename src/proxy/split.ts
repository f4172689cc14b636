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
import { BEGUN, OWED, Request } from "./request.ts";
import { giveTimedRequest, takeRequest } from "./spare_requests.ts";

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

/** Splits that have been answered and serve the next ones, at most so many: what 64 clients have under way in pipelines of 16. */
const SPARES_MAX = 1024;
/** Whose keys are of more than this is not kept with them. */
const OWNERS_MAX = 128;
const REPLIES_MAX = 4 * SPARES_MAX;
let spares: Split[] = [];
let spareReplies: FragmentReply[] = [];

/** For a lull: what only a load needs goes with the next collection. */
export function forgetSplits(): void {
  spares = [];
  spareReplies = [];
}

export const NO_OWNERS: Uint16Array = new Uint16Array(0);

export class Split {
  readonly replies: FragmentReply[] = [];
  private missing = 0;
  private failed = false;
  /** When all have answered well it serves the next one, as its parent does: nobody else knows either. */
  private isUsedAgain = false;

  /**
   * @param parent the request in the client's queue
   * @param join called once, when all fragments have answered
   * @param owners which fragment holds element i of the joined reply, for joins that need it; owned
   * @param detail a number for the joiner (a join kind, a protocol version)
   */
  constructor(
    public parent: Request,
    public join: Joiner,
    public owners: Uint16Array,
    readonly detail: number,
  ) {}

  /**
   * As a new one with a parent of `client`'s, which is not in its queue yet.
   * @param keys of so many `owners` is to tell, and is not filled; 0 = of none
   */
  static take(client: Client, join: Joiner, keys: number): Split {
    const parent = takeRequest(client);
    let split = spares.pop();
    if (split === undefined) {
      split = new Split(parent, join, NO_OWNERS, 0);
      split.isUsedAgain = true;
    } else {
      split.parent = parent;
      split.join = join;
    }
    if (split.owners.length !== keys) split.owners = keys === 0 ? NO_OWNERS : new Uint16Array(keys);
    return split;
  }

  /** Its reply has been delivered, to a client that was owed nothing before it if `atOnce`. */
  private give(atOnce: boolean): void {
    const { parent, replies } = this;
    if (atOnce) giveTimedRequest(parent);
    this.parent = GIVEN;
    for (let i = 0; i < replies.length; i++) {
      const reply = replies[i]!;
      reply.bytes = EMPTY;
      reply.start = reply.end = 0;
      reply.ownsBytes = reply.failed = false;
      if (spareReplies.length < REPLIES_MAX) spareReplies.push(reply);
    }
    replies.length = 0;
    if (this.owners.length > OWNERS_MAX) this.owners = NO_OWNERS;
    spares.push(this);
  }

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

  /** Is it a request that has been sent on, so that its connection may have answered later ones of its client before? */
  get isSentOn(): boolean {
    return false;
  }

  /** Bytes of the replies that have come. */
  get heldBytes(): number {
    let bytes = 0;
    for (const reply of this.replies) bytes += reply.end - reply.start;
    return bytes;
  }

  /** Makes room for one more fragment; returns its place. */
  add(): number {
    this.missing++;
    this.replies.push(
      spareReplies.pop() ?? { bytes: EMPTY, start: 0, end: 0, ownsBytes: false, failed: false },
    );
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
    const { client, isFollowed, isUsedAgain } = this.parent;
    const atOnce = client !== null && client.head === this.parent;
    if (client !== null) {
      const joined = this.join(this);
      if (this.failed) client.countForwardError();
      this.deliver(client, joined, joined === SCRATCH.bytes ? SCRATCH.end : joined.length);
    }
    const { replies } = this;
    for (let i = 0; i < replies.length; i++) if (replies[i]!.ownsBytes) giveChunk(replies[i]!.bytes);
    if (this.isUsedAgain && !this.failed && spares.length < SPARES_MAX) {
      this.give(atOnce && isUsedAgain && !isFollowed);
    }
  }

  /** Hands `joined[0, end)` on; owned unless it lies in SCRATCH. */
  protected deliver(client: Client, joined: Uint8Array, end: number): void {
    client.deliver(this.parent, joined, 0, end);
  }
}

const EMPTY = new Uint8Array(0);
/** The parent of those that are spare. */
const GIVEN = new Request(null);
