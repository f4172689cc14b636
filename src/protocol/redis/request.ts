/**
 * Finds the end of one Redis request and where its arguments lie.
 *
 *   *2\r\n$3\r\nGET\r\n$4\r\nuser\r\n
 *   ▲start      ▲───▲ argument 0      ▲──▲ argument 1    ▲ returned offset
 *
 * Only framing that every Redis accepts is let through: a length with a sign or a leading zero, or a bulk that
 * does not end in CRLF, would make the server drop the connection that other clients share. Redis itself is
 * laxer about CRLF and twemproxy about zeros.
 * Source: RESP2 as in the Redis 7 protocol page; error texts as in networking.c of Redis 7.0, measured.
 */
import { GUESS_MARGIN } from "../../bytes/inbox.ts";
import type { Args } from "./args.ts";

export const NEED_MORE = -1;
/** The bytes are an inline command, not an array: see inline.ts. */
export const INLINE = -2;
/** Any code at or below this one is a protocol error; its text is `requestError(code)`. */
export const BAD_COUNT = -10;
export const BAD_LENGTH = -11;
export const BAD_TYPE = -12;
export const BAD_END = -13;
export const TOO_MANY_ARGUMENTS = -14;
export const TOO_LARGE = -15;
export const BAD_QUOTES = -16;
export const INLINE_TOO_LONG = -17;

/** What one request may measure; see max_request_size and max_arguments. */
export interface RequestLimits {
  readonly requestSizeMax: number;
  readonly argumentsMax: number;
}

/**
 * Where a scan that ran out of bytes goes on, relative to the request's start. Saved with the unparsed bytes, so a
 * request that arrives in many pieces is walked once.
 */
export class RequestResume {
  /** Arguments announced; 0 = the header has not been read. */
  count = 0;
  /** Arguments already walked over. */
  index = 0;
  /** Offset of the next argument's `$`. */
  at = 0;
  /** The request is at least this long; 0 = unknown. */
  needed = 0;

  reset(): void {
    this.count =
      this.index =
      this.at =
      this.needed =
        0;
  }
}

const CR = 13;
const LF = 10;
/** Redis reads numbers of at most this many digits here. */
const DIGITS_MAX = 10;
/** By fewer arguments than this nobody can tell what the others will be like. */
const GUESS_MIN = 32;

/**
 * Scans the request at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param args filled when the request is whole; `count` 0 for `*0` and `*-1`, which Redis skips silently
 * @param resume fresh (`reset`) for a new request, else as left by the last NEED_MORE on the same request
 * @returns offset just past the request; NEED_MORE; INLINE; or an error code ≤ BAD_COUNT
 */
export function scanRequest(
  bytes: Uint8Array,
  start: number,
  end: number,
  args: Args,
  limits: RequestLimits,
  resume: RequestResume,
): number {
  if (resume.count > 0) {
    const { at: from, count, index } = resume;
    const at = walk(bytes, start, start + from, end, count, index, args, 0, limits, resume);
    if (at < 0) return at;
    // The first arguments were walked in an earlier call: note their places now that all bytes are here.
    resume.reset();
    return scanRequest(bytes, start, end, args, limits, resume);
  }
  if (start >= end) return NEED_MORE;
  if (bytes[start] !== 42 /* * */) return INLINE;
  let at = start + 1;
  let count = 0;
  let digits = 0;
  for (;; at++) {
    if (at >= end) return NEED_MORE;
    const digit = bytes[at]! - 48;
    if (digit >= 0 && digit <= 9) {
      if (++digits > DIGITS_MAX || (digits > 1 && count === 0)) return BAD_COUNT;
      count = count * 10 + digit;
    } else if (bytes[at] === CR && digits > 0) break;
    else return scanNullArray(bytes, start, end, args);
  }
  if (at + 1 >= end) return NEED_MORE;
  if (bytes[at + 1] !== LF) return BAD_COUNT;
  at += 2;
  if (count > limits.argumentsMax) return TOO_MANY_ARGUMENTS;
  args.count = count;
  return walk(bytes, start, at, end, count, 0, args, count, limits, resume);
}

/** About how many bytes a half-received request will have, by what has come of it; 0 = unknown. Only a guess. */
export function expectedSize(resume: RequestResume, limits: RequestLimits): number {
  const { at, count, index, needed } = resume;
  if (index < GUESS_MIN) return needed;
  return Math.max(needed, Math.min(Math.ceil(at / index * count * GUESS_MARGIN), limits.requestSizeMax));
}

/**
 * As scanRequest, for a request whose header has been read (`resume.count`): only finds its end, and leaves `args` without
 * meaning. Of a request of a million arguments nobody wants to walk all of them twice in a row.
 */
export function skimRequest(
  bytes: Uint8Array,
  start: number,
  end: number,
  args: Args,
  limits: RequestLimits,
  resume: RequestResume,
): number {
  const { count, index, at } = resume;
  return walk(bytes, start, start + at, end, count, index, args, 0, limits, resume);
}

/**
 * Notes some arguments of a request that has been scanned before as arguments `index`, … of `args`.
 *
 * @param at offset of the first one's `$`
 * @param count how many at most; a multiple of `step`
 * @param step only so many are noted together
 * @param bytesMax no more are noted when they have this many bytes
 * @returns offset past the last one noted
 */
export function noteArguments(
  bytes: Uint8Array,
  at: number,
  index: number,
  count: number,
  step: number,
  bytesMax: number,
  args: Args,
): number {
  args.reserve(index + count);
  const { starts, ends } = args;
  const atMax = at + bytesMax;
  for (let noted = 0; noted < count && (at < atMax || noted % step !== 0); noted++) {
    let length = 0;
    for (at++; bytes[at] !== CR; at++) length = length * 10 + bytes[at]! - 48;
    starts[index] = at + 2;
    ends[index] = at + 2 + length;
    index++;
    at += length + 4;
  }
  args.count = index;
  return at;
}

/**
 * Walks arguments `index`… from their `$` at `at`. Returns like scanRequest; on NEED_MORE fills `resume`.
 * @param noted how many arguments of the request are noted in `args`
 */
function walk(
  bytes: Uint8Array,
  start: number,
  at: number,
  end: number,
  count: number,
  index: number,
  args: Args,
  noted: number,
  limits: RequestLimits,
  resume: RequestResume,
): number {
  const sizeMax = limits.requestSizeMax;
  let starts = args.starts;
  let ends = args.ends;
  for (; index < count; index++) {
    const header = at;
    let length = -1;
    // `$d\r\n` and `$dd\r\n` are nearly every header there is: no loop, and one check of `end` for all of it.
    if (at + 4 < end && bytes[at] === 36 /* $ */) {
      const first = bytes[at + 1]! - 48;
      const second = bytes[at + 2]! - 48;
      if (second === CR - 48) {
        if (bytes[at + 3] === LF && first >= 0 && first <= 9) {
          length = first;
          at += 4;
        }
      } else if (
        bytes[at + 3] === CR && bytes[at + 4] === LF && first > 0 && first <= 9 && second >= 0 && second <= 9
      ) {
        length = first * 10 + second;
        at += 5;
      }
    }
    if (length < 0) {
      if (at >= end) return pauseAt(resume, start, count, index, header, 0);
      if (bytes[at] !== 36) return BAD_TYPE;
      at++;
      length = 0;
      let digits = 0;
      for (;; at++) {
        if (at >= end) return pauseAt(resume, start, count, index, header, 0);
        const digit = bytes[at]! - 48;
        if (digit >= 0 && digit <= 9) {
          if (++digits > DIGITS_MAX || (digits > 1 && length === 0)) return BAD_LENGTH;
          length = length * 10 + digit;
        } else if (bytes[at] === CR && digits > 0) break;
        else return BAD_LENGTH;
      }
      if (at + 1 >= end) return pauseAt(resume, start, count, index, header, 0);
      if (bytes[at + 1] !== LF) return BAD_LENGTH;
      at += 2;
    }
    const dataEnd = at + length;
    if (dataEnd + 2 - start > sizeMax) return TOO_LARGE;
    if (dataEnd + 2 > end) return pauseAt(resume, start, count, index, header, dataEnd + 2 - start);
    if (bytes[dataEnd] !== CR || bytes[dataEnd + 1] !== LF) return BAD_END;
    if (index < noted) {
      if (index >= starts.length) {
        args.reserve(index + 1);
        starts = args.starts;
        ends = args.ends;
      }
      starts[index] = at;
      ends[index] = dataEnd;
    }
    at = dataEnd + 2;
  }
  return at;
}

function pauseAt(
  resume: RequestResume,
  start: number,
  count: number,
  index: number,
  at: number,
  needed: number,
): number {
  resume.count = count;
  resume.index = index;
  resume.at = at - start;
  resume.needed = needed;
  return NEED_MORE;
}

/** `*-N\r\n`: Redis skips it. Anything else after `*` is an error. */
function scanNullArray(bytes: Uint8Array, start: number, end: number, args: Args): number {
  if (bytes[start + 1] !== 45 /* - */) return BAD_COUNT;
  let at = start + 2;
  while (at < end && bytes[at]! >= 48 && bytes[at]! <= 57) at++;
  if (at - start > DIGITS_MAX + 2) return BAD_COUNT;
  if (at < end && (bytes[at] !== CR || at === start + 2)) return BAD_COUNT;
  if (at + 1 >= end) return NEED_MORE;
  if (bytes[at + 1] !== LF) return BAD_COUNT;
  args.count = 0;
  return at + 2;
}

/** The error reply's text for a code of scanRequest or scanInline; `at` is not known, so no excerpt of hostile bytes. */
export function requestError(code: number, limits: RequestLimits): string {
  switch (code) {
    case BAD_COUNT:
      return "Protocol error: invalid multibulk length";
    case BAD_LENGTH:
      return "Protocol error: invalid bulk length";
    case BAD_TYPE:
      return "Protocol error: expected '$' before an argument";
    case BAD_END:
      return "Protocol error: expected CRLF after an argument";
    case TOO_MANY_ARGUMENTS:
      return `Protocol error: too many arguments (max_arguments is ${limits.argumentsMax})`;
    case TOO_LARGE:
      return `Protocol error: request too large (max_request_size is ${limits.requestSizeMax} bytes)`;
    case BAD_QUOTES:
      return "Protocol error: unbalanced quotes in request";
    case INLINE_TOO_LONG:
      return "Protocol error: too big inline request";
    default:
      throw new Error(`not an error code of the request scanner: ${code}`);
  }
}
