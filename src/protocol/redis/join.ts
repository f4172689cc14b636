/**
 * Makes one reply of the replies that a split request got from several servers.
 *
 * All functions take whole replies `bytes[start, end)` and return owned bytes. If any of them is an error, that error is
 * the answer: the first one in the order of the fragments, as the server said it. Replies that do not fit together (a
 * count that is not that of the keys, another type) make an error reply: nothing here throws.
 *
 * RESP3 attributes before a reply are left out; inside an array they stay with their element.
 */
import { copy, encode } from "../../bytes/ascii.ts";
import { newArray } from "../../bytes/chunks.ts";
import type { Scratch } from "../../bytes/scratch.ts";
import { decimalLength, writeDecimal } from "../../bytes/decimal.ts";
import { JOIN } from "./command.ts";
import { OK } from "./reply_writer.ts";
import {
  arrayBody,
  countOf,
  firstElement,
  integerOf,
  isError,
  ReplyResume,
  scanReply,
  typeOf,
  wholeScalar,
} from "./reply.ts";

/** One fragment's reply: `bytes[start, end)`. */
export interface Part {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The server has said nothing: it could not be asked. */
  readonly failed?: boolean;
}

const ARRAY = 42;
const PUSH = 62;
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

/** For each part where its next value begins, and how many values it should have; grow. */
let cursors = new Float64Array(16);
let lefts = new Float64Array(16);

/**
 * MGET: arrays of values, put back in the order of the keys.
 * @param owners for each key the part that holds its value; a part's values are in the order of its keys
 * @param scratch where to put the reply if it fits; the caller then takes `scratch.bytes[0, scratch.end)`
 * @returns owned bytes, or `scratch.bytes`
 */
export function joinValues(
  parts: readonly Part[],
  owners: Uint16Array,
  scratch: Scratch | null = null,
): Uint8Array {
  const error = firstError(parts);
  if (error !== null) return error;
  const count = parts.length;
  if (count > cursors.length) {
    cursors = new Float64Array(count * 2);
    lefts = new Float64Array(count * 2);
  }
  for (let i = 0; i < count; i++) lefts[i] = 0;
  for (let i = 0; i < owners.length; i++) lefts[owners[i]!]!++;
  let size = 3 + decimalLength(owners.length);
  for (let i = 0; i < count; i++) {
    const { bytes, start, end } = parts[i]!;
    const from = arrayBody(bytes, start, end, lefts[i]!);
    if (from < 0) return MISMATCH;
    cursors[i] = from;
    size += end - from;
  }
  const joined = scratch?.arrayFor(size) ?? newArray(size);
  const at = joinRuns(parts, owners, joined);
  if (at !== size) return MISMATCH;
  if (joined === scratch?.bytes) scratch.end = size;
  return joined;
}

/** Writes the header and the values; returns the end, or -1 if a part is not what it said. */
function joinRuns(parts: readonly Part[], owners: Uint16Array, joined: Uint8Array): number {
  resume.reset();
  let at = arrayHeader(joined, owners.length);
  for (let i = 0; i < owners.length;) {
    const owner = owners[i]!;
    const { bytes, end } = parts[owner]!;
    const from = cursors[owner]!;
    let to = from;
    // Neighbours from one server are one copy.
    do {
      const whole = wholeScalar(bytes, to, end);
      to = whole > 0 ? whole : scanReply(bytes, to, end, resume);
      if (to < 0) return -1;
      i++;
    } while (i < owners.length && owners[i] === owner);
    at = copy(joined, at, bytes, from, to);
    cursors[owner] = to;
  }
  return at;
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
  const error = firstError(parts);
  if (error !== null) return error;
  for (let i = 0; i < parts.length; i++) {
    const { bytes, start, end } = parts[i]!;
    if (end - start !== OK.length) return MISMATCH;
    for (let j = 0; j < OK.length; j++) if (bytes[start + j] !== OK[j]) return MISMATCH;
  }
  return OK;
}

/** Joins the replies of a request that went to every server; `kind` is one of JOIN. */
export function joinEvery(parts: readonly Part[], kind: number): Uint8Array {
  if (kind === JOIN.ONE_OK) {
    const said = parts.find((p) => !isError(p.bytes, p.start)) ?? parts.find((p) => p.failed !== true);
    const good = said ?? parts[0]!;
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
    if (!Number.isSafeInteger(total)) return MISMATCH;
  }
  return encode(`:${total}\r\n`);
}

/** Arrays (in RESP3 sets or maps too, if all are), one after the other. */
function joinArrays(parts: readonly Part[]): Uint8Array {
  const type = typeOf(parts[0]!.bytes, parts[0]!.start, parts[0]!.end);
  let count = 0;
  let size = 0;
  for (const { bytes, start, end } of parts) {
    const n = countOf(bytes, start, end);
    if (!(n >= 0) || type === PUSH || typeOf(bytes, start, end) !== type) return MISMATCH;
    count += n;
    size += end - firstElement(bytes, start);
  }
  const joined = new Uint8Array(3 + decimalLength(count) + size);
  let at = arrayHeader(joined, count);
  joined[0] = type;
  for (const { bytes, start, end } of parts) at = copy(joined, at, bytes, firstElement(bytes, start), end);
  return joined;
}

/** SCRIPT EXISTS: 1 where every server says 1. */
function joinFlags(parts: readonly Part[]): Uint8Array {
  const count = flagsOf(parts[0]!);
  if (count < 0) return MISMATCH;
  const joined = new Uint8Array(3 + decimalLength(count) + FLAG_SIZE * count);
  const head = arrayHeader(joined, count);
  for (let p = 0; p < parts.length; p++) {
    const { bytes, start, end } = parts[p]!;
    if (flagsOf(parts[p]!) !== count) return MISMATCH;
    const from = firstElement(bytes, start);
    if (p === 0) copy(joined, head, bytes, from, end);
    for (let i = 1; i < FLAG_SIZE * count; i += FLAG_SIZE) if (bytes[from + i] === 48) joined[head + i] = 48;
  }
  return joined;
}

/** `:0\r\n` or `:1\r\n` */
const FLAG_SIZE = 4;

/** How many flags the array `part` has; -1 if it is something else. */
function flagsOf({ bytes, start, end }: Part): number {
  const count = countOf(bytes, start, end);
  if (typeOf(bytes, start, end) !== ARRAY || !(count >= 0)) return -1;
  const from = firstElement(bytes, start);
  if (from + FLAG_SIZE * count !== end) return -1;
  for (let at = from; at < end; at += FLAG_SIZE) {
    if (bytes[at] !== 58 || (bytes[at + 1] !== 48 && bytes[at + 1] !== 49)) return -1;
  }
  return count;
}
