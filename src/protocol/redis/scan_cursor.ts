/**
 * SCAN over several servers: the cursor that clients see carries the server it goes on with.
 *
 *   client's cursor = server's cursor × servers + server's index        0 = start, and end
 *
 * A server's cursor is below the size of its hash table, so the product stays far below 2^64. When a server
 * says 0 the next one's turn begins at its own 0. Each server is walked whole, so Redis' promise holds for the pool: a
 * key that is there from beginning to end is seen.
 */
import { copy, encode, latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { NEED_MORE, ReplyResume, scanReply } from "./reply.ts";

const CURSOR_MAX = 2n ** 64n;

export interface ScanPlace {
  readonly server: number;
  /** The server's own cursor, in digits. */
  readonly cursor: string;
}

/** What the cursor in argument 1 means with `servers` servers; null if it is no cursor. */
export function readCursor(bytes: Uint8Array, args: Args, servers: number): ScanPlace | null {
  const text = latin1(bytes, args.starts[1]!, Math.min(args.ends[1]!, args.starts[1]! + 22));
  // Redis 7.0 reads with strtoul, for which nothing is 0 and a minus counts down from 2^64; newer ones take neither.
  if (!/^\+?[0-9]{1,20}$/.test(text)) return null;
  const cursor = BigInt(text);
  if (cursor >= CURSOR_MAX) return null;
  return { server: Number(cursor % BigInt(servers)), cursor: String(cursor / BigInt(servers)) };
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
  server: number,
  servers: number,
): Uint8Array {
  // *2\r\n$<n>\r\n<cursor>\r\n…
  if (bytes[start] !== 42 || bytes[start + 1] !== 50) return bytes.slice(start, end);
  const from = start + 4;
  resume.reset();
  const to = scanReply(bytes, from, end, resume);
  if (to === NEED_MORE || to < 0 || bytes[from] !== 36) return bytes.slice(start, end);
  const digits = latin1(bytes, from, to).split("\r\n")[1] ?? "";
  if (!/^[0-9]{1,20}$/.test(digits)) return bytes.slice(start, end);
  const next = nextCursor(BigInt(digits), server, servers);
  return splice(bytes, start, end, from, to, encode(`$${next.length}\r\n${next}\r\n`));
}

function nextCursor(cursor: bigint, server: number, servers: number): string {
  if (cursor !== 0n) return String(cursor * BigInt(servers) + BigInt(server));
  return server + 1 < servers ? String(server + 1) : "0";
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
