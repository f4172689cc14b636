/**
 * Makes one reply of the replies of a split get.
 *
 *   keys       a   b   c   d            fragment 0 (a c): VALUE c … END
 *   fragments  0   1   0   1            fragment 1 (b d): VALUE b … VALUE d … END
 *                                       joined:           VALUE b … VALUE c … VALUE d … END
 *
 * A server sends hits only, in the order of its line; so walking the keys in request order and taking the
 * next VALUE of the key's fragment if it has that key gives request order, duplicates repeated: what
 * twemproxy gives, and what one memcached would.
 */
import { copy } from "../../bytes/ascii.ts";
import { replyType } from "./reply.ts";
import { CLASS_ERROR, REPLY_CLASS, REPLY_END, REPLY_VALUE } from "./reply_types.ts";
import { blockEnd, blockHasKey, END } from "./value_block.ts";

/** The replies of one split request, by fragment: reply f is bytes[f][starts[f], ends[f]), as scanReply framed it. */
export interface Replies {
  readonly bytes: readonly Uint8Array[];
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
  readonly count: number;
}

/** Where the keys of the split request are; the bytes are a copy, since the request is long gone. */
export interface Keys {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Key i is at starts[first + i]. */
  readonly first: number;
  readonly count: number;
}

/** Bytes that joinGet will write at most. */
export function joinedSizeMax(replies: Replies): number {
  let size = END.length;
  for (let f = 0; f < replies.count; f++) size += replies.ends[f]! - replies.starts[f]!;
  return size;
}

let cursors = new Int32Array(16);

/**
 * Writes the joined reply to `to` at `at`.
 *
 * @param keyFragments fragment of each key, as GetSplit gives it
 * @param to at least joinedSizeMax bytes from `at` on
 * @returns the offset just past it; -1 - f if the reply of fragment f is no list of values, or has values that were
 *   not asked for. Then nothing useful is in `to`, and the client is to get SERVER_ERROR: the other servers' values
 *   are withheld, since a missing VALUE would read as a miss.
 */
export function joinGet(
  keys: Keys,
  keyFragments: Int32Array,
  replies: Replies,
  to: Uint8Array,
  at: number,
): number {
  const fragments = replies.count;
  if (cursors.length < fragments) cursors = new Int32Array(fragments * 2);
  for (let f = 0; f < fragments; f++) {
    const type = replyType(replies.bytes[f]!, replies.starts[f]!, replies.ends[f]!);
    if (type !== REPLY_VALUE && type !== REPLY_END) return -1 - f;
    cursors[f] = replies.starts[f]!;
  }
  for (let i = 0; i < keys.count; i++) {
    const f = keyFragments[i]!;
    const bytes = replies.bytes[f]!;
    const end = replies.ends[f]!;
    const start = cursors[f]!;
    const keyStart = keys.starts[keys.first + i]!;
    const keyEnd = keys.ends[keys.first + i]!;
    if (!blockHasKey(bytes, start, end, keys.bytes, keyStart, keyEnd)) continue;
    const next = blockEnd(bytes, start, keyEnd - keyStart, end);
    if (next < 0) return -1 - f;
    at = copy(to, at, bytes, start, next);
    cursors[f] = next;
  }
  for (let f = 0; f < fragments; f++) {
    const start = cursors[f]!;
    if (replies.ends[f]! - start !== END.length || replies.bytes[f]![start] !== END[0]) return -1 - f;
  }
  return copy(to, at, END, 0, END.length);
}

/**
 * For requests sent to every server: the first reply that is an error, -1 if none is. If none is, the replies
 * of flush_all and `stats reset` are all the same, and any of them is the joined reply.
 */
export function firstError(replies: Replies): number {
  for (let f = 0; f < replies.count; f++) {
    const type = replyType(replies.bytes[f]!, replies.starts[f]!, replies.ends[f]!);
    if (REPLY_CLASS[type]! >= CLASS_ERROR) return f;
  }
  return -1;
}
