/**
 * SCAN over several servers: the cursor that clients see carries the server it goes on with.
 *
 *   client's cursor = MARK + server's cursor × SERVER_NUMBERS + server's number        0 = start, and end
 *
 * Servers are walked in the order of their numbers, which they keep while the pool's servers change (stats/board.ts): a new
 * one comes last, and where one is gone the next one's turn begins. Each is walked whole, so Redis' promise holds for the
 * pool: a key that is there from beginning to end is seen. A pool that has never had more than one server passes its cursors as they are;
 * MARK tells them from ours if it gets more.
 *
 * A server's cursor is below the size of its hash table: up to 2^36 (68 billion keys) ours stay below 2^53, which is what
 * clients can count on that keep them as doubles.
 */
import { copy, encode, latin1 } from "../../bytes/ascii.ts";
import { SERVER_NUMBERS } from "../../stats/board.ts";
import type { Args } from "./args.ts";
import { NEED_MORE, ReplyResume, scanReply } from "./reply.ts";

const CURSOR_MAX = 2n ** 64n;
const MARK = 2n ** 52n;
const NUMBERS = BigInt(SERVER_NUMBERS);

/** Servers of a pool as a cursor sees them. */
export interface ScanServers {
  /** Ascending; never empty. */
  readonly numbers: readonly number[];
  /** The one that was the pool's only server, or is; -1 = there has always been another. */
  readonly alone: number;
  /** The pool has, or has had, several. */
  readonly several: boolean;
}

/**
 * @param numbers of the servers there are, in any order; never empty
 * @param before what was known until now
 */
export function scanServersOf(numbers: readonly number[], before: ScanServers | null): ScanServers {
  const one = numbers.length === 1;
  return {
    numbers: numbers.toSorted((a, b) => a - b),
    alone: one ? numbers[0]! : before?.alone ?? -1,
    several: !one || (before?.several ?? false),
  };
}

export interface ScanPlace {
  /** The server's number. */
  readonly number: number;
  /** The server's own cursor, in digits. */
  readonly cursor: string;
}

/** The cursor in argument 1; null if it is none. */
export function readCursor(bytes: Uint8Array, args: Args): bigint | null {
  const text = latin1(bytes, args.starts[1]!, Math.min(args.ends[1]!, args.starts[1]! + 22));
  // Redis 7.0 reads with strtoul, for which nothing is 0 and a minus counts down from 2^64; newer ones take neither.
  if (!/^\+?[0-9]{1,20}$/.test(text)) return null;
  const cursor = BigInt(text);
  return cursor < CURSOR_MAX ? cursor : null;
}

/** Where a client's cursor goes on; null if there is nothing left to walk. */
export function placeOf(cursor: bigint, { numbers, alone, several }: ScanServers): ScanPlace | null {
  if (cursor === 0n) return { number: numbers[0]!, cursor: "0" };
  // A cursor of ours may come to a pool of one server that is not known to have had several: by a worker that has been replaced.
  if (!several && (cursor < MARK || cursor >= 2n * MARK)) {
    return { number: numbers[0]!, cursor: String(cursor) };
  }
  if (cursor < MARK) {
    return numbers.includes(alone)
      ? { number: alone, cursor: String(cursor) }
      : { number: numbers[0]!, cursor: "0" };
  }
  const number = Number((cursor - MARK) % NUMBERS);
  if (numbers.includes(number)) return { number, cursor: String((cursor - MARK) / NUMBERS) };
  const next = numberAfter(number, numbers);
  return next < 0 ? null : { number: next, cursor: "0" };
}

/** The next server's number; -1 if there is none. */
export function numberAfter(number: number, numbers: readonly number[]): number {
  return numbers.find((each) => each > number) ?? -1;
}

/** The request `bytes[start, end)` with the server's own cursor in place of the client's; owned. */
export function scanRequestFor(
  bytes: Uint8Array,
  start: number,
  end: number,
  args: Args,
  cursor: string,
): Uint8Array {
  // From the `$` of argument 1 to past its CRLF.
  const from = args.ends[0]! + 2;
  return splice(bytes, start, end, from, args.ends[1]! + 2, encode(`$${cursor.length}\r\n${cursor}\r\n`));
}

const resume = new ReplyResume();

/** The server's reply with the client's next cursor in place of its own; errors pass as they are. Owned. */
export function scanReplyFrom(
  bytes: Uint8Array,
  start: number,
  end: number,
  number: number,
  servers: ScanServers,
): Uint8Array {
  // *2\r\n$<n>\r\n<cursor>\r\n…
  if (bytes[start] !== 42 || bytes[start + 1] !== 50) return bytes.slice(start, end);
  const from = start + 4;
  resume.reset();
  const to = scanReply(bytes, from, end, resume);
  if (to === NEED_MORE || to < 0 || bytes[from] !== 36) return bytes.slice(start, end);
  const digits = latin1(bytes, from, to).split("\r\n")[1] ?? "";
  if (!/^[0-9]{1,20}$/.test(digits)) return bytes.slice(start, end);
  const next = nextCursor(BigInt(digits), number, servers);
  return splice(bytes, start, end, from, to, encode(`$${next.length}\r\n${next}\r\n`));
}

/** A page without keys that goes on behind the server of this number. */
export function emptyPageAfter(number: number, servers: ScanServers): Uint8Array {
  const next = nextCursor(0n, number, servers);
  return encode(`*2\r\n$${next.length}\r\n${next}\r\n*0\r\n`);
}

function nextCursor(cursor: bigint, number: number, { numbers, several }: ScanServers): string {
  if (!several) return String(cursor);
  if (cursor !== 0n) return String(MARK + cursor * NUMBERS + BigInt(number));
  const next = numberAfter(number, numbers);
  return next < 0 ? "0" : String(MARK + BigInt(next));
}

function splice(
  bytes: Uint8Array,
  start: number,
  end: number,
  from: number,
  to: number,
  middle: Uint8Array,
): Uint8Array {
  const joined = new Uint8Array(end - start - (to - from) + middle.length);
  let at = copy(joined, 0, bytes, start, from);
  at = copy(joined, at, middle, 0, middle.length);
  copy(joined, at, bytes, to, end);
  return joined;
}
