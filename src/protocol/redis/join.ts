/**
 * Makes one reply of the replies that a split request got from several servers.
 *
 * All functions take whole replies `bytes[start, end)` and return owned bytes. If any of them is an error, that error is
 * the answer: the first one in the order of the fragments, as the server said it.
 */
import { copy, encode } from "../../bytes/ascii.ts";
import { decimalLength, writeDecimal } from "../../bytes/decimal.ts";
import { JOIN } from "./command.ts";
import { countOf, firstElement, integerOf, isError, ReplyResume, scanReply } from "./reply.ts";

/** One fragment's reply: `bytes[start, end)`. */
export interface Part {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

const OK = encode("+OK\r\n");
const MISMATCH = encode("-ERR Invalid argument: the servers' replies do not fit together\r\n");

const resume = new ReplyResume();

/** The first error among the parts, as owned bytes; null if there is none. */
export function firstError(parts: readonly Part[]): Uint8Array | null {
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (isError(part.bytes, part.start)) return part.bytes.slice(part.start, part.end);
  }
  return null;
}

/**
 * MGET: arrays of values, put back in the order of the keys.
 * @param owners for each key the part that holds its value; a part's values are in the order of its keys
 */
export function joinValues(parts: readonly Part[], owners: Uint16Array): Uint8Array {
  const error = firstError(parts);
  if (error !== null) return error;
  const cursors = new Float64Array(parts.length);
  const lefts = new Int32Array(parts.length);
  let size = 3 + decimalLength(owners.length);
  for (let i = 0; i < parts.length; i++) {
    const { bytes, start, end } = parts[i]!;
    const count = countOf(bytes, start, end);
    if (!(count >= 0)) return MISMATCH;
    lefts[i] = count;
    cursors[i] = firstElement(bytes, start);
    size += end - cursors[i]!;
  }
  for (let i = 0; i < owners.length; i++) lefts[owners[i]!]!--;
  for (let i = 0; i < parts.length; i++) if (lefts[i] !== 0) return MISMATCH;
  const joined = new Uint8Array(size);
  let at = arrayHeader(joined, owners.length);
  for (let i = 0; i < owners.length;) {
    const owner = owners[i]!;
    const { bytes, end } = parts[owner]!;
    const from = cursors[owner]!;
    let to = from;
    // Neighbours from one server are one copy.
    do {
      to = elementEnd(bytes, to, end);
      i++;
    } while (i < owners.length && owners[i] === owner);
    at = copy(joined, at, bytes, from, to);
    cursors[owner] = to;
  }
  return joined;
}

function elementEnd(bytes: Uint8Array, at: number, end: number): number {
  // `$len\r\n…\r\n` with a short length is nearly every element there is.
  if (bytes[at] === 36 && bytes[at + 1] !== 45) {
    let length = 0;
    let i = at + 1;
    for (; bytes[i] !== 13; i++) length = length * 10 + bytes[i]! - 48;
    return i + 2 + length + 2;
  }
  resume.reset();
  return scanReply(bytes, at, end, resume);
}

function arrayHeader(to: Uint8Array, count: number): number {
  to[0] = 42;
  const at = writeDecimal(to, 1, count);
  to[at] = 13;
  to[at + 1] = 10;
  return at + 2;
}

/** MSET: +OK if every server said so. */
export function joinOk(parts: readonly Part[]): Uint8Array {
  return firstError(parts) ?? OK;
}

/** Joins the replies of a request that went to every server; `kind` is one of JOIN. */
export function joinEvery(parts: readonly Part[], kind: number): Uint8Array {
  if (kind === JOIN.ONE_OK) {
    const good = parts.find((p) => !isError(p.bytes, p.start)) ?? parts[0]!;
    return good.bytes.slice(good.start, good.end);
  }
  const error = firstError(parts);
  if (error !== null) return error;
  switch (kind) {
    case JOIN.SUM:
      return joinIntegers(parts, (a, b) => a + b);
    case JOIN.MIN:
      return joinIntegers(parts, Math.min);
    case JOIN.CONCAT:
      return joinArrays(parts);
    case JOIN.AND:
      return joinFlags(parts);
    default:
      return parts[0]!.bytes.slice(parts[0]!.start, parts[0]!.end);
  }
}

/** DEL and kin: the sum of integer replies. */
export function joinSum(parts: readonly Part[]): Uint8Array {
  return firstError(parts) ?? joinIntegers(parts, (a, b) => a + b);
}

function joinIntegers(parts: readonly Part[], add: (a: number, b: number) => number): Uint8Array {
  let total = NaN;
  for (const { bytes, start, end } of parts) {
    const value = integerOf(bytes, start, end);
    total = Number.isNaN(total) ? value : add(total, value);
    if (Number.isNaN(total)) return MISMATCH;
  }
  return encode(`:${total}\r\n`);
}

/** Arrays (sets in RESP3), one after the other; the first one's type is kept. */
function joinArrays(parts: readonly Part[]): Uint8Array {
  let count = 0;
  let size = 0;
  for (const { bytes, start, end } of parts) {
    const n = countOf(bytes, start, end);
    if (!(n >= 0)) return MISMATCH;
    count += n;
    size += end - firstElement(bytes, start);
  }
  const joined = new Uint8Array(3 + decimalLength(count) + size);
  let at = arrayHeader(joined, count);
  joined[0] = parts[0]!.bytes[parts[0]!.start]!;
  for (const { bytes, start, end } of parts) at = copy(joined, at, bytes, firstElement(bytes, start), end);
  return joined;
}

/** SCRIPT EXISTS: 1 where every server says 1. */
function joinFlags(parts: readonly Part[]): Uint8Array {
  const joined = parts[0]!.bytes.slice(parts[0]!.start, parts[0]!.end);
  for (const { bytes, start, end } of parts) {
    if (end - start !== joined.length) return MISMATCH;
    for (let i = 0; i < joined.length; i++) if (bytes[start + i] === 48 && joined[i] === 49) joined[i] = 48;
  }
  return joined;
}
