/**
 * A request of very many keys, or of very many bytes, that goes out in slices: MGET, MSET, DEL and kin.
 *
 *   MGET k1 … k1000000  ──►  slice: k1 … k4096     ──► fragments ──► joined ─┐
 *                            slice: k4097 … k8192  ──► fragments ──► joined ─┼─► one reply
 *                            …      each when the one before has been answered ┘
 *
 * In one piece it would hold up everybody: a million keys take the proxy 100 ms and more to place, copy and put back into order,
 * and each server as long for its fragment. So a turn does the work of one slice, no server gets a second slice before it has
 * answered the first, and requests of others go in between.
 *
 * Order is kept by a barrier, as with large requests: nothing is owed to the client when it begins, and nothing more is taken
 * until its reply has left. The first slice that fails ends it: its error is the answer, and the rest is not sent. `timeout` is
 * for each slice. If all keys are on one server it goes there whole, as MSET is atomic there; finding that out takes turns too.
 */
import { encode } from "../bytes/ascii.ts";
import { Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import { Args } from "../protocol/redis/args.ts";
import { type Command, ROUTE } from "../protocol/redis/command.ts";
import { firstElement, integerOf, isError } from "../protocol/redis/reply.ts";
import { OK } from "../protocol/redis/reply_writer.ts";
import { noteArguments } from "../protocol/redis/request.ts";
import { type Client, SLICED } from "../proxy/client.ts";
import { pace } from "../proxy/fan_out.ts";
import type { RedisSession } from "./session.ts";
import { placeSlots, sendSlots } from "./slot_split.ts";
import { MANY, NONE_LIVE, placeKeys, sendFragments } from "./split.ts";
import { Request } from "../proxy/request.ts";
import { type Joiner, SCRATCH, Split } from "../proxy/split.ts";
import type { Postponed } from "../proxy/turn.ts";

/** A slice ends when it has this many bytes, and a request of more than that is cut, however few keys it has. */
export const SLICE_BYTES = 4 * 1024 * 1024;

const NOTHING = new Uint8Array(0);
const LF = 10;
const NONE_YET = -3;

/** The arguments of the slice at hand. */
const args = new Args();

/** How a request is cut, and its replies are joined. */
export interface Cut {
  readonly command: Command;
  /** 1: every argument is a key; 2: every other one. */
  readonly step: number;
  readonly join: Joiner;
  /** Arguments after the name; a multiple of `step`. */
  readonly count: number;
}

export class SlicedRequest implements Postponed {
  private readonly request: Request;
  private readonly bytes: Uint8Array;
  private readonly start: number;
  private readonly end: number;
  /** Offset of the first key's `$`, and of the next slice's. */
  private readonly first: number;
  private at: number;
  /** Arguments from `at` on. */
  private left: number;
  /** The server of all keys so far, in a cluster their slot. While there is only one, nothing is sent: perhaps all of it can go there whole. */
  private only = NONE_YET;
  /** `Pool.moves` when `only` was found. */
  private moves: number;
  private sending = false;
  /** The values of the slices so far. */
  private readonly values = new Outbox();
  private sum = 0;

  /**
   * Takes over the whole request `bytes[start, end)`; borrowed, or shared if SHARE_MIN or more. The client is at rest.
   * @param over called once, when nothing is left to do here
   */
  constructor(
    private readonly client: Client,
    private readonly cut: Cut,
    bytes: Uint8Array,
    start: number,
    end: number,
    private readonly over: () => void,
  ) {
    const shared = end - start >= SHARE_MIN;
    this.bytes = shared ? bytes : bytes.slice(start, end);
    this.start = shared ? start : 0;
    this.end = this.start + end - start;
    const name = this.bytes.indexOf(LF, this.start) + 1;
    this.first = this.at = noteArguments(this.bytes, name, 0, 1, 1, Infinity, args);
    this.left = cut.count;
    this.moves = client.pool.moves;
    this.request = new Request(client);
    client.enqueue(this.request);
    client.block(SLICED);
    client.pool.turn.later(this);
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.bytes.length + this.values.size;
  }

  /** Called by the turn: one slice. */
  resume(): void {
    if (this.request.client === null) return;
    const { moves } = this.client.pool;
    if (!this.sending && this.moves !== moves) {
      this.moves = moves;
      this.only = NONE_YET;
      if (this.at !== this.first) return this.startOver();
    }
    const next = this.noteSlice();
    const server = this.placeSlice();
    if (server === NONE_LIVE) return this.failWithoutServer();
    if (!this.sending && (server === MANY || this.only !== NONE_YET && server !== this.only)) {
      this.sending = true;
      // What has only been looked at until now has to be sent first.
      if (this.at !== this.first) return this.startOver();
    }
    this.at = next;
    this.left -= args.count - 1;
    if (this.sending) return this.send();
    this.only = server;
    if (this.left > 0) this.client.pool.turn.later(this);
    else this.sendWhole(server);
  }

  /** The server of the slice at hand, in a cluster its slot; or MANY, or NONE_LIVE. */
  private placeSlice(): number {
    const { pool } = this.client;
    const place = pool.cluster ? placeSlots : placeKeys;
    return place(pool, this.bytes, args, this.cut.step);
  }

  private noteSlice(): number {
    const { step } = this.cut;
    const most = Math.min(this.left, this.client.pool.sliceArguments);
    args.ends[0] = this.at - 2;
    return noteArguments(this.bytes, this.at, 1, Math.max(step, most - most % step), step, SLICE_BYTES, args);
  }

  private startOver(): void {
    this.at = this.first;
    this.left = this.cut.count;
    this.client.pool.turn.later(this);
  }

  private send(): void {
    const { command, step, join } = this.cut;
    const values = command.route === ROUTE.SPLIT_VALUES;
    const makeSplit = (owners: Uint16Array) => new Slice(this, this.request, join, owners);
    const sendAll = this.client.pool.cluster ? sendSlots : sendFragments;
    sendAll(this.client, command, this.bytes, args, step, join, values, makeSplit);
  }

  private sendWhole(place: number): void {
    const { client } = this;
    const { pool } = client;
    const server = pool.servers[pool.cluster ? pool.placement.serverOfSlot(place) : place]!;
    const session = client.session as RedisSession;
    const { bytes, start, end } = this;
    if (
      this.cut.command.onReplica &&
      session.reads?.sendQueued(session, server, this.request, bytes, start, end)
    ) {
      return this.leave();
    }
    const connection = client.pool.front.connectionTo(client, server);
    if (connection === null) {
      client.countForwardError();
      return this.finish(server.refusal());
    }
    connection.forward(this.request, bytes, start, end);
    pace(client, connection);
    this.leave();
  }

  /** The reply to one slice: `joined[0, end)`, owned unless it lies in SCRATCH. */
  took(joined: Uint8Array, end: number): void {
    const { route } = this.cut.command;
    if (isError(joined, 0)) return this.finish(joined.slice(0, end));
    if (route === ROUTE.SPLIT_SUM) this.sum += integerOf(joined, 0, end);
    if (route === ROUTE.SPLIT_VALUES && !this.keep(joined, end)) return;
    if (this.left > 0) this.client.pool.turn.later(this);
    else this.succeed();
  }

  /** Keeps a slice's values. False if the client has been closed because of them. */
  private keep(joined: Uint8Array, end: number): boolean {
    const from = firstElement(joined, 0);
    if (joined === SCRATCH.bytes) this.values.append(joined, from, end);
    else this.values.appendShared(joined, from, end);
    return this.client.mayHold(this.values.size);
  }

  private succeed(): void {
    switch (this.cut.command.route) {
      case ROUTE.SPLIT_PAIRS:
        return this.finish(OK);
      case ROUTE.SPLIT_SUM:
        return this.finish(encode(`:${this.sum}\r\n`));
      default:
        return this.deliverValues();
    }
  }

  /** As nothing is owed before it, the reply can leave in pieces. */
  private deliverValues(): void {
    const { client, values } = this;
    const head = encode(`*${this.cut.count}\r\n`);
    if (this.request.muted) values.clear();
    else {
      client.sendPart(head, 0, head.length);
      client.sendPartChunks(values);
    }
    this.finish(NOTHING);
  }

  private failWithoutServer(): void {
    this.client.countForwardError();
    this.finish(this.client.pool.front.noLiveServer);
  }

  private finish(reply: Uint8Array): void {
    this.client.deliver(this.request, reply, 0, reply.length);
    this.leave();
  }

  private leave(): void {
    this.over();
    this.client.unblock(SLICED);
  }
}

/** The fragments of one slice: their joined reply is a part of the whole one. */
class Slice extends Split {
  constructor(private readonly whole: SlicedRequest, request: Request, join: Joiner, owners: Uint16Array) {
    super(request, join, owners, 0);
  }

  protected override deliver(_client: Client, joined: Uint8Array, end: number): void {
    this.whole.took(joined, end);
  }
}
