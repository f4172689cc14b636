/**
 * Finds the end of one Redis reply, RESP2 or RESP3, without building anything from it.
 *
 *   *2\r\n$1\r\na\r\n:7\r\n      open elements: 1 → 2 → 1 → 0 = end
 *
 * The whole state is two numbers, an offset and how many elements are still open: an array of n closes one and
 * opens n. So depth costs nothing, and a reply in a thousand pieces is walked once.
 * Source: RESP2/RESP3 as in the Redis 7 protocol page. Streamed forms (`$?`, `*?`) are walked too, although no
 * released server sends them.
 */
export const NEED_MORE = -1;
export const BAD_REPLY = -2;

/** A line (`+…`, `-…`, a length) longer than this is garbage: Redis cuts errors far below. */
const LINE_MAX = 1024 * 1024;
/** More open elements than this no server has memory for. */
const OPEN_MAX = 2 ** 40;
const BULK_MAX = 2 ** 40;
const STREAM_DEPTH_MAX = 32;

/** Where a scan that ran out of bytes goes on, relative to the reply's start. */
export class ReplyResume {
  at = 0;
  /** Elements still open; means nothing while `at` is 0. */
  open = 0;
  /** The reply is at least this long; 0 = unknown. */
  needed = 0;
  /** For each streamed aggregate around the offset: elements open outside it. */
  readonly streams: number[] = [];

  reset(): void {
    this.at = this.open = this.needed = 0;
    this.streams.length = 0;
  }
}

const CR = 13;
const LF = 10;
let lineValue = 0;

/**
 * Scans the reply at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param resume fresh for a new reply, else as left by the last NEED_MORE on the same reply; fresh again on return of an offset
 * @returns offset just past the reply, NEED_MORE, or BAD_REPLY if it can never become one
 */
export function scanReply(bytes: Uint8Array, start: number, end: number, resume: ReplyResume): number {
  let at = start + resume.at;
  let open = resume.at === 0 ? 1 : resume.open;
  while (open > 0 || resume.streams.length > 0) {
    const element = at;
    if (at >= end) return pauseAt(resume, start, element, open, 0);
    const type = bytes[at]!;
    // Inside a streamed aggregate elements come until its end mark, however many: `open` rests at 0 between them.
    if (open === 0 && type !== 46 && type !== 59) open = 1;
    switch (type) {
      case 36: // $ bulk
      case 61: // = verbatim
      case 33: { // ! bulk error
        at = readLength(bytes, at + 1, end);
        if (at < 0) return at === BAD_REPLY ? BAD_REPLY : pauseAt(resume, start, element, open, 0);
        if (lineValue === STREAMED) {
          if (!openStream(resume, open - 1)) return BAD_REPLY;
          open = 0;
          break;
        }
        if (lineValue >= 0) {
          const dataEnd = at + lineValue;
          if (dataEnd + 2 > end) return pauseAt(resume, start, element, open, dataEnd + 2 - start);
          if (bytes[dataEnd] !== CR || bytes[dataEnd + 1] !== LF) return BAD_REPLY;
          at = dataEnd + 2;
        }
        open--;
        break;
      }
      case 42: // * array
      case 126: // ~ set
      case 62: // > push
      case 37: // % map
      case 124: { // | attribute: comes before the element it describes
        at = readLength(bytes, at + 1, end);
        if (at < 0) return at === BAD_REPLY ? BAD_REPLY : pauseAt(resume, start, element, open, 0);
        if (lineValue === STREAMED) {
          if (!openStream(resume, open - 1)) return BAD_REPLY;
          open = 0;
          break;
        }
        if (type !== 124) open--;
        if (lineValue > 0) open += type === 37 || type === 124 ? lineValue * 2 : lineValue;
        if (open > OPEN_MAX) return BAD_REPLY;
        break;
      }
      case 58: // : integer
        at = readInteger(bytes, at + 1, end);
        if (at < 0) return at === BAD_REPLY ? BAD_REPLY : pauseAt(resume, start, element, open, 0);
        open--;
        break;
      case 43: // + simple string
      case 45: // - error
      case 95: // _ null
      case 44: // , double
      case 35: // # boolean
      case 40: // ( big number
        at = skipLine(bytes, at + 1, end);
        if (at < 0) return at === BAD_REPLY ? BAD_REPLY : pauseAt(resume, start, element, open, 0);
        open--;
        break;
      case 46: // . end of a streamed aggregate
      case 59: // ; piece of a streamed string
        if (resume.streams.length === 0 || open > 0) return BAD_REPLY;
        at = type === 46 ? skipLine(bytes, at + 1, end) : readPiece(bytes, at + 1, end);
        if (at < 0) return at === BAD_REPLY ? BAD_REPLY : pauseAt(resume, start, element, open, 0);
        if (type === 46 || lineValue === 0) open = resume.streams.pop()!;
        break;
      default:
        return BAD_REPLY;
    }
  }
  resume.at = resume.open = resume.needed = 0;
  return at;
}

const STREAMED = -3;

function openStream(resume: ReplyResume, openOutside: number): boolean {
  resume.streams.push(openOutside);
  return resume.streams.length <= STREAM_DEPTH_MAX;
}

function pauseAt(resume: ReplyResume, start: number, at: number, open: number, needed: number): number {
  resume.at = at - start;
  resume.open = open;
  resume.needed = needed;
  return NEED_MORE;
}

/** Reads a length (`-1` allowed, `?` = STREAMED) up to its CRLF into lineValue. Returns the offset past it, NEED_MORE or BAD_REPLY. */
function readLength(bytes: Uint8Array, at: number, end: number): number {
  const first = at;
  if (at >= end) return NEED_MORE;
  if (bytes[at] === 63 /* ? */ || bytes[at] === 45 /* - */) return readOddLength(bytes, at, end);
  let value = 0;
  for (;; at++) {
    if (at >= end) return at - first > 15 ? BAD_REPLY : NEED_MORE;
    const digit = bytes[at]! - 48;
    if (digit >= 0 && digit <= 9) value = value * 10 + digit;
    else if (bytes[at] === CR && at > first) break;
    else return BAD_REPLY;
  }
  if (at - first > 15 || value > BULK_MAX) return BAD_REPLY;
  lineValue = value;
  return lineEnd(bytes, at, end);
}

function readOddLength(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] === 63) {
    lineValue = STREAMED;
    return lineEnd(bytes, at + 1, end);
  }
  if (at + 1 >= end) return NEED_MORE;
  if (bytes[at + 1] !== 49) return BAD_REPLY;
  lineValue = -1;
  return lineEnd(bytes, at + 2, end);
}

function readPiece(bytes: Uint8Array, at: number, end: number): number {
  at = readLength(bytes, at, end);
  if (at < 0) return at;
  if (lineValue < 0) return BAD_REPLY;
  if (lineValue === 0) return at;
  if (at + lineValue + 2 > end) return NEED_MORE;
  if (bytes[at + lineValue] !== CR || bytes[at + lineValue + 1] !== LF) return BAD_REPLY;
  return at + lineValue + 2;
}

function lineEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return NEED_MORE;
  if (bytes[at] !== CR) return BAD_REPLY;
  if (at + 1 >= end) return NEED_MORE;
  return bytes[at + 1] === LF ? at + 2 : BAD_REPLY;
}

/** `[+-]digits\r\n`; no digits at all is tolerated, as twemproxy does. */
function readInteger(bytes: Uint8Array, at: number, end: number): number {
  const first = at;
  if (at < end && (bytes[at] === 45 || bytes[at] === 43)) at++;
  while (at < end && bytes[at]! >= 48 && bytes[at]! <= 57) at++;
  if (at - first > 32) return BAD_REPLY;
  return lineEnd(bytes, at, end);
}

function skipLine(bytes: Uint8Array, at: number, end: number): number {
  const first = at;
  while (at < end && bytes[at] !== CR) {
    if (bytes[at] === LF) return BAD_REPLY;
    at++;
  }
  if (at >= end) return at - first > LINE_MAX ? BAD_REPLY : NEED_MORE;
  return lineEnd(bytes, at, end);
}

/** True for `-…` and `!…`. */
export function isError(bytes: Uint8Array, start: number): boolean {
  return bytes[start] === 45 || bytes[start] === 33;
}

/** True for a RESP3 push (`>…`), which answers no request. */
export function isPush(bytes: Uint8Array, start: number): boolean {
  return bytes[start] === 62;
}

/**
 * The integer reply `:n` at `start`.
 * @returns NaN if it is not one
 */
export function integerOf(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] !== 58) return NaN;
  let at = start + 1;
  const negative = bytes[at] === 45;
  if (negative) at++;
  let value = 0;
  for (; at < end - 2; at++) value = value * 10 + bytes[at]! - 48;
  return negative ? -value : value;
}

/** The count of the array (or set, map, push) reply at `start`: -1 for a null one, NaN if it is something else. */
export function countOf(bytes: Uint8Array, start: number, end: number): number {
  const type = bytes[start];
  if (type !== 42 && type !== 126 && type !== 62 && type !== 37) return NaN;
  const at = readLength(bytes, start + 1, end);
  return at < 0 ? NaN : lineValue;
}

/** Offset of the first element of the array reply at `start`. */
export function firstElement(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] !== LF) at++;
  return at + 1;
}
