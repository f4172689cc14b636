/**
 * A get, gets, gat or gats of very many keys, which goes out in slices: what `redis/slices.ts` is for MGET.
 *
 *   get k1 … k100000  ──►  slice: k1 … k4096    ──► fragments ──► joined ─┐
 *                          slice: k4097 … k8192 ──► fragments ──► joined ─┼─► VALUE … END
 *                          …     each when the one before has been answered ┘
 *
 * In one piece 100,000 keys take 20 to 40 ms to place, copy and put back into order, and everybody waits. Order is kept by a
 * barrier: nothing is owed to the client when it begins, and nothing more is taken until its reply has left. The first slice that
 * fails ends it: its error is the answer. `timeout` is for each slice. The values are charged to the client as they come.
 */
import { Outbox } from "../bytes/outbox.ts";
import { replyClass } from "../protocol/memcached/reply.ts";
import { CLASS_ERROR } from "../protocol/memcached/reply_types.ts";
import { MemcachedRequest } from "../protocol/memcached/request.ts";
import { END } from "../protocol/memcached/value_block.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { type Client, SLICED } from "../proxy/client.ts";
import { type GetParts, placeKeys, sendParts, SplitOfGet } from "./split.ts";
import { Request } from "../proxy/request.ts";
import { SCRATCH } from "../proxy/split.ts";
import type { Postponed } from "../proxy/turn.ts";

/** The slice at hand: the line's first words, and some of its keys. */
const part = new MemcachedRequest();

export class SlicedGet implements Postponed {
  private readonly request: Request;
  /** The line, and where its words are; all of it ours. */
  private readonly bytes: Uint8Array;
  private readonly starts: Int32Array;
  private readonly ends: Int32Array;
  private readonly row: number;
  /** The words before the keys, and the next key's word. */
  private readonly first: number;
  private at: number;
  private readonly values = new Outbox();

  /**
   * @param asked as scanned from `bytes`, both borrowed. The client is at rest.
   * @param over called once, when nothing is left to do here
   */
  constructor(
    private readonly client: Client,
    bytes: Uint8Array,
    asked: MemcachedRequest,
    private readonly over: () => void,
  ) {
    const { keyFirst, keyCount, wordStarts, wordEnds } = asked;
    const from = wordStarts[0]!;
    const words = keyFirst + keyCount;
    this.bytes = bytes.slice(from, wordEnds[words - 1]);
    this.starts = wordStarts.slice(0, words);
    this.ends = wordEnds.slice(0, words);
    for (let i = 0; i < words && from > 0; i++) {
      this.starts[i]! -= from;
      this.ends[i]! -= from;
    }
    this.row = asked.row;
    this.first = this.at = keyFirst;
    this.request = new Request(client);
    client.enqueue(this.request);
    client.block(SLICED);
    client.pool.turn.later(this);
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.bytes.length + 2 * this.starts.byteLength + this.values.size;
  }

  /** Called by the turn: one slice. */
  resume(): void {
    const { client, first } = this;
    if (this.request.client === null) return;
    const next = Math.min(this.at + client.pool.sliceArguments, this.starts.length);
    part.reserve(first + next - this.at);
    part.row = this.row;
    part.keyFirst = first;
    part.keyCount = next - this.at;
    part.wordStarts.set(this.starts.subarray(0, first));
    part.wordEnds.set(this.ends.subarray(0, first));
    part.wordStarts.set(this.starts.subarray(this.at, next), first);
    part.wordEnds.set(this.ends.subarray(this.at, next), first);
    this.at = next;
    if (placeKeys(client.pool, this.bytes, 0, part) === NO_SERVER) {
      client.countForwardError();
      return this.finish(client.pool.front.noLiveServer);
    }
    sendParts(client, this.bytes, part, (parts) => new Slice(this, this.request, parts));
  }

  /** The reply to one slice: `joined[0, end)`, owned unless it lies in SCRATCH. */
  took(joined: Uint8Array, end: number): void {
    if (replyClass(joined, 0, end) >= CLASS_ERROR) return this.finish(joined.slice(0, end));
    const past = end - END.length;
    if (joined === SCRATCH.bytes) this.values.append(joined, 0, past);
    else this.values.appendShared(joined, 0, past);
    if (!this.client.mayHold(this.values.size)) return;
    if (this.at < this.starts.length) return this.client.pool.turn.later(this);
    // As nothing is owed before it, the reply can leave in pieces.
    if (this.values.size > 0) this.client.sendPartChunks(this.values);
    this.finish(END);
  }

  private finish(reply: Uint8Array): void {
    this.client.deliver(this.request, reply, 0, reply.length);
    this.over();
    this.client.unblock(SLICED);
  }
}

/** The fragments of one slice: their joined reply is a part of the whole one. */
class Slice extends SplitOfGet {
  constructor(private readonly whole: SlicedGet, request: Request, parts: GetParts) {
    super(request, parts);
  }

  protected override deliver(_client: Client, joined: Uint8Array, end: number): void {
    this.whole.took(joined, end);
  }
}
