/**
 * A request of very many arguments that is not split over servers, but answered here as its arguments are walked: COMMAND INFO,
 * SUBSCRIBE, PUBSUB NUMSUB and kin.
 *
 *   SUBSCRIBE c1 … c100000  ──►  slice: c1 … c512      ──► SliceWork ──► a part of the reply ─┐
 *                                slice: c513 … c1024   ──► SliceWork ──► a part of the reply ─┴─► leaves as it grows
 *
 * The counterpart of redis/slices.ts: one slice a turn, so that nobody waits for all of it, and no more of the reply is made
 * while the client has not read what there is (Client.hasRoom). Order is kept by a barrier: nothing is owed to the client when it begins, and
 * nothing more is taken until the reply has ended.
 */
import { SHARE_MIN } from "../bytes/outbox.ts";
import { Args } from "../protocol/redis/args.ts";
import { noteArguments } from "../protocol/redis/request.ts";
import { type Client, SLICED } from "../proxy/client.ts";
import type { RedisSession } from "./session.ts";
import { Request } from "../proxy/request.ts";
import { SLICE_BYTES } from "./slices.ts";
import { type Joiner, SCRATCH, Split } from "../proxy/split.ts";
import type { Postponed } from "../proxy/turn.ts";

/** What is made of the arguments. */
export interface SliceWork {
  /**
   * Takes the arguments from index 1 on of `args`, which lie in `bytes`; borrowed, as is the walk's turn. Afterwards it calls
   * `walk.goOn` or `walk.finish`, now or later, once.
   */
  slice(walk: Walk, bytes: Uint8Array, args: Args): void;
  /** No arguments are left. Calls `walk.finish`, now or later. */
  end(walk: Walk): void;
  /** So many arguments at most are a slice; absent = WALK_ARGUMENTS. */
  readonly most?: number;
  /** Bytes of memory that it keeps; absent = few. */
  readonly holdsBytes?: number;
}

/** A slice ends when it has this many arguments. */
export const WALK_ARGUMENTS = 256;

const LF = 10;
const NOTHING = new Uint8Array(0);

/** The arguments of the slice at hand. */
const args = new Args();

export class Walk implements Postponed {
  readonly client: Client;
  readonly request: Request;
  private readonly bytes: Uint8Array;
  /** Offset of the next argument's `$`. */
  private at: number;
  /** Arguments from `at` on. */
  private left: number;
  private over = false;

  /**
   * Takes over the whole request `bytes[start, end)` of `count` arguments; borrowed, or shared if SHARE_MIN or more. The client
   * is at rest.
   * @param names so many arguments are the command's name, and are not walked
   */
  constructor(
    readonly session: RedisSession,
    bytes: Uint8Array,
    start: number,
    end: number,
    names: number,
    count: number,
    private readonly work: SliceWork,
  ) {
    const shared = end - start >= SHARE_MIN;
    this.bytes = shared ? bytes : bytes.slice(start, end);
    const first = this.bytes.indexOf(LF, shared ? start : 0) + 1;
    this.at = noteArguments(this.bytes, first, 0, names, 1, Infinity, args);
    this.left = count - names;
    const client = this.client = session.client;
    this.request = new Request(client);
    client.enqueue(this.request);
    client.block(SLICED);
    session.sliced = this;
    client.pool.turn.later(this);
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.bytes.length + (this.work.holdsBytes ?? 0);
  }

  /** The client is gone: nobody waits for the rest. */
  get abandoned(): boolean {
    return this.request.client === null;
  }

  /** Called by the turn: one slice. */
  resume(): void {
    if (this.abandoned || this.over) return;
    if (!this.client.hasRoom(this)) return;
    if (this.left === 0) return this.work.end(this);
    const most = Math.min(this.left, this.work.most ?? WALK_ARGUMENTS, this.client.pool.sliceArguments);
    // Whoever sends a slice on finds its first argument behind this end.
    args.ends[0] = this.at - 2;
    this.at = noteArguments(this.bytes, this.at, 1, most, 1, SLICE_BYTES, args);
    this.left -= args.count - 1;
    this.work.slice(this, this.bytes, args);
  }

  /** The slice is done; the next one follows in a turn of its own. */
  goOn(): void {
    if (!this.abandoned && !this.over) this.client.pool.turn.later(this);
  }

  /** Sends a part of the reply. Borrowed, or shared from SHARE_MIN on. */
  sendPart(part: Uint8Array, start = 0, end = part.length): void {
    if (!this.abandoned && !this.request.muted && end > start) this.client.sendPart(part, start, end);
  }

  /** Ends the reply, with `rest` as its last bytes. What is left is not walked. */
  finish(rest: Uint8Array = NOTHING): void {
    if (this.over) return;
    this.over = true;
    if (this.abandoned) return;
    this.session.sliced = null;
    this.client.deliver(this.request, rest, 0, rest.length);
    this.client.unblock(SLICED);
  }
}

const NO_OWNERS = new Uint16Array(0);

/** What servers have said of a slice, or of all: ends the walk with it, unless told what else to do. */
export class WalkSplit extends Split {
  /** @param took gets `joined[0, end)`, owned unless it lies in SCRATCH */
  constructor(
    private readonly walk: Walk,
    join: Joiner,
    detail = 0,
    private readonly took: ((joined: Uint8Array, end: number) => void) | null = null,
  ) {
    super(walk.request, join, NO_OWNERS, detail);
  }

  protected override deliver(_client: Client, joined: Uint8Array, end: number): void {
    if (this.took !== null) this.took(joined, end);
    else this.walk.finish(joined === SCRATCH.bytes ? joined.slice(0, end) : joined);
  }
}
