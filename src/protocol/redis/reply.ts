/**
 * Finds the end of one Redis reply, RESP2 or RESP3, without building anything from it.
 *
 *   *2\r\n$1\r\na\r\n:7\r\n      open elements: 1 → 2 → 1 → 0 = end
 *
 * The whole state is two numbers, an offset and how many elements are still open: an array of n closes one and
 * opens n. So depth costs nothing, and a reply in a thousand pieces is walked once.
 * Source: RESP2/RESP3 as in the Redis 7 protocol page. Streamed forms (`$?`, `*?`, `~?`, `%?`) are walked too,
 * although no released server sends them. Stricter than twemproxy and hiredis, since whatever no server sends is a
 * sign that the place of replies is lost: only `$` and `*` have a null form (-1), and a line ends in CRLF. Laxer
 * where framing is certain: zeros may lead a length, and `:` may lack digits, as with twemproxy.
 */
import { latin1 } from "../../bytes/ascii.ts";
import { GUESS_MARGIN } from "../../bytes/inbox.ts";

export const NEED_MORE = -1;
export const BAD_REPLY = -2;

/** A text line (`+…`, `-…`, `(…`) may be as long as a bulk in Redis: scripts make such replies. Longer is garbage. */
const LINE_MAX = 512 * 1024 * 1024;
/** What has come of a text line that is longer than this counts as done: it may leave, or be dropped, before its end has come. */
const LINE_PART_MIN = 64 * 1024;
/** More than this of it may still come. */
const LINE_AHEAD = 32 * 1024 * 1024;
/** A double: Redis writes at most 5 KiB. */
const SCALAR_LINE_MAX = 8192;
/** More open elements than this no server has memory for. */
const OPEN_MAX = 2 ** 40;
const BULK_MAX = 2 ** 40;
const STREAM_DEPTH_MAX = 32;

/** Where a scan that ran out of bytes goes on, relative to the reply's start. */
export class ReplyResume {
  at = 0;
  /** Elements still open; means nothing while `at` is 0 and nothing has been forgotten. */
  open = 0;
  /** Elements of this reply have been forgotten. */
  begun = false;
  /** The reply is at least this long; 0 = unknown. */
  needed = 0;
  /** About how long it will be, by what has come of it, or `needed` if that is more; only a guess. 0 = unknown. */
  expected = 0;
  /** The element at `at` is a line that does not end before this offset; 0 = unknown. */
  line = 0;
  /** `at` is inside of a text line, of which so many bytes lie before it; 0 = it is not. */
  lineBytes = 0;
  /** For each streamed form around the offset, two numbers: elements open outside it, and what it may hold. */
  readonly streams: number[] = [];

  /** Nothing of the reply has been looked at. */
  get isFresh(): boolean {
    return this.at === 0 && this.needed === 0 && this.expected === 0 && this.line === 0 && !this.begun;
  }

  /** The first `count` bytes of the reply, finished elements, are gone from where it lies. */
  forget(count: number): void {
    this.begun = true;
    this.at -= count;
    if (this.needed > 0) this.needed -= count;
    this.expected = Math.max(this.needed, this.expected - count);
    this.line = Math.max(0, this.line - count);
  }

  reset(): void {
    this.begun = false;
    this.at =
      this.open =
      this.needed =
      this.expected =
      this.line =
      this.lineBytes =
        0;
    // Even to the same value, setting a length costs 100 ns on Bun.
    if (this.streams.length > 0) this.streams.length = 0;
  }
}

const CR = 13;
const LF = 10;

/** What a streamed form may hold: pieces; elements; pairs of elements, and whether the first of a pair is there. */
const PIECES = 0;
const ELEMENTS = 1;
const PAIRS = 2;
const HALF_PAIR = 3;

/** What readLength has read; STREAMED for `?`. */
let lineValue = 0;
const STREAMED = -3;
/** How far skipLine has looked. */
let lineSeen = 0;

/**
 * Scans the reply at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param resume fresh for a new reply, else as left by the last NEED_MORE on the same reply; fresh again on return of an offset
 * @returns offset just past the reply, NEED_MORE, or BAD_REPLY if it can never become one
 */
export function scanReply(bytes: Uint8Array, start: number, end: number, resume: ReplyResume): number {
  if (resume.at === 0 && resume.line === 0 && !resume.begun) {
    const whole = wholeScalar(bytes, start, end);
    if (whole > 0) {
      resume.open = resume.needed = resume.expected = 0;
      return whole;
    }
  }
  return walk(bytes, start, end, resume);
}

/**
 * Offset past the bulk, null, status, error or integer at `at` if it is all here and well-formed; else 0: scanReply says
 * what it is. The short way for what most replies and nearly all elements are.
 */
export function wholeScalar(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return 0;
  switch (bytes[at]) {
    case 36: // $
      if (bytes[at + 1] === 45 /* - */) {
        return at + 5 <= end && bytes[at + 2] === 49 && bytes[at + 3] === CR && bytes[at + 4] === LF
          ? at + 5
          : 0;
      }
      return wholeBulk(bytes, at, end);
    case 43: // +
    case 45: { // -
      const last = end - 1;
      do at++; while (at < last && bytes[at]! !== CR && bytes[at]! !== LF);
      return at < last && bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : 0;
    }
    case 58: { // :
      const last = end - 1;
      let digits = -1;
      do {
        at++;
        digits++;
      } while (at < last && bytes[at]! >= 48 && bytes[at]! <= 57);
      return at < last && digits < 20 && bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : 0;
    }
    default:
      return 0;
  }
}

/** Offset past `$len\r\n…\r\n` at `at` if it is all here and well-formed; else 0, and walk says what is wrong. */
function wholeBulk(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  const first = ++at;
  for (;; at++) {
    if (at >= end) return 0;
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) break;
    length = length * 10 + digit;
  }
  const digits = at - first;
  const dataEnd = at + 2 + length;
  if (digits === 0 || digits > 9 || dataEnd + 2 > end) return 0;
  if (bytes[at] !== CR || bytes[at + 1] !== LF || bytes[dataEnd] !== CR || bytes[dataEnd + 1] !== LF) {
    return 0;
  }
  return dataEnd + 2;
}

function walk(bytes: Uint8Array, start: number, end: number, resume: ReplyResume): number {
  let at = start + resume.at;
  const streams = resume.streams;
  let open = resume.at === 0 && !resume.begun ? 1 : resume.open;
  const line = start + resume.line;
  while (open > 0 || streams.length > 0) {
    const element = at;
    if (at >= end) return pauseAt(resume, start, element, open, 0);
    if (resume.lineBytes > 0) {
      at = skipLine(bytes, at, end, at, LINE_MAX - resume.lineBytes);
      if (at === NEED_MORE) return pauseInLine(resume, start, element, open);
      if (at < 0) return BAD_REPLY;
      resume.lineBytes = 0;
      open--;
      continue;
    }
    const type = bytes[at]!;
    // Inside a streamed form parts come until its end mark, however many: `open` rests at 0 between them.
    if (open === 0) {
      const kind = streams[streams.length - 1]!;
      if (kind === PIECES) {
        if (type !== 59 /* ; */) return BAD_REPLY;
        at = readPiece(bytes, at + 1, end);
        if (at < 0) return failOrPause(at, resume, start, element, open);
        if (lineValue === 0) open = closeStream(streams);
        continue;
      }
      if (type === 46 /* . */) {
        if (kind === HALF_PAIR) return BAD_REPLY;
        at = lineEnd(bytes, at + 1, end);
        if (at < 0) return failOrPause(at, resume, start, element, open);
        open = closeStream(streams);
        continue;
      }
      if (kind !== ELEMENTS) streams[streams.length - 1] = kind === PAIRS ? HALF_PAIR : PAIRS;
      open = 1;
    }
    switch (type) {
      case 36: // $ bulk
      case 61: // = verbatim
      case 33: { // ! bulk error
        let whole = type === 61 ? 0 : wholeBulk(bytes, at, end);
        if (whole > 0) {
          // Mostly the elements of an MGET's reply: one after the other without looking around.
          do {
            at = whole;
            open--;
            whole = open > 0 && at < end && bytes[at] === 36 ? wholeBulk(bytes, at, end) : 0;
          } while (whole > 0);
          break;
        }
        at = readLength(bytes, at + 1, end);
        if (at < 0) return failOrPause(at, resume, start, element, open);
        if (lineValue >= 0) {
          // Verbatim text starts with its format: `txt:`.
          if (type === 61 && lineValue < 4) return BAD_REPLY;
          const dataEnd = at + lineValue;
          if (dataEnd + 2 > end) return pauseAt(resume, start, element, open, dataEnd + 2 - start);
          if (bytes[dataEnd] !== CR || bytes[dataEnd + 1] !== LF) return BAD_REPLY;
          if (type === 61 && bytes[at + 3] !== 58) return BAD_REPLY;
          at = dataEnd + 2;
        } else if (type !== 36) return BAD_REPLY;
        else if (lineValue === STREAMED) {
          if (!openStream(streams, open - 1, PIECES)) return BAD_REPLY;
          open = 0;
          break;
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
        if (at < 0) return failOrPause(at, resume, start, element, open);
        if (lineValue >= 0) {
          if (type !== 124) open--;
          open += type === 37 || type === 124 ? lineValue * 2 : lineValue;
          if (open > OPEN_MAX) return BAD_REPLY;
        } else if (lineValue === STREAMED) {
          if (type === 62 || type === 124) return BAD_REPLY;
          if (!openStream(streams, open - 1, type === 37 ? PAIRS : ELEMENTS)) return BAD_REPLY;
          open = 0;
        } else if (type !== 42) return BAD_REPLY;
        else open--;
        break;
      }
      case 58: // : integer
        at = readInteger(bytes, at + 1, end);
        if (at < 0) return failOrPause(at, resume, start, element, open);
        open--;
        break;
      case 95: // _ null
        at = lineEnd(bytes, at + 1, end);
        if (at < 0) return failOrPause(at, resume, start, element, open);
        open--;
        break;
      case 43: // + simple string
      case 45: // - error
      case 44: // , double
      case 35: // # boolean
      case 40: { // ( big number
        const isText = type !== 44 && type !== 35;
        at = skipLine(bytes, at + 1, end, line, isText ? LINE_MAX : SCALAR_LINE_MAX);
        if (at === NEED_MORE) {
          resume.line = lineSeen - start;
          if (isText && lineSeen - element > LINE_PART_MIN) return pauseInLine(resume, start, element, open);
          return pauseAt(resume, start, element, open, 0);
        }
        if (at < 0 || !isScalar(type, bytes, element + 1, at - 2)) return BAD_REPLY;
        open--;
        break;
      }
      default:
        return BAD_REPLY;
    }
  }
  resume.begun = false;
  resume.at =
    resume.open =
    resume.needed =
    resume.expected =
    resume.line =
      0;
  return at;
}

function openStream(streams: number[], openOutside: number, kind: number): boolean {
  streams.push(openOutside, kind);
  return streams.length <= 2 * STREAM_DEPTH_MAX;
}

/** Returns how many elements are open outside the innermost streamed form, which ends here. */
function closeStream(streams: number[]): number {
  streams.pop();
  return streams.pop()!;
}

function pauseAt(resume: ReplyResume, start: number, at: number, open: number, needed: number): number {
  const closed = resume.open - open;
  if (closed > 0 && resume.at > 0) {
    // What is open will be like what has just been walked.
    const elementBytes = (at - start - resume.at) / closed;
    resume.expected = Math.ceil(at - start + open * elementBytes * GUESS_MARGIN);
  }
  if (resume.expected < needed) resume.expected = needed;
  resume.at = at - start;
  resume.open = open;
  resume.needed = needed;
  return NEED_MORE;
}

/** Pauses where skipLine has stopped, in the text line that begins, or goes on, at `from`. */
function pauseInLine(resume: ReplyResume, start: number, from: number, open: number): number {
  resume.lineBytes += lineSeen - from;
  resume.line = 0;
  pauseAt(resume, start, lineSeen, open, 0);
  // Where it has to be kept, it is not to be copied into a bigger array again and again.
  resume.expected = Math.max(resume.expected, lineSeen - start + LINE_AHEAD);
  return NEED_MORE;
}

function failOrPause(code: number, resume: ReplyResume, start: number, at: number, open: number): number {
  return code === NEED_MORE ? pauseAt(resume, start, at, open, 0) : BAD_REPLY;
}

/** Reads a length (`-1` and `?` = STREAMED too) up to its CRLF into lineValue. Returns the offset past it, NEED_MORE or BAD_REPLY. */
function readLength(bytes: Uint8Array, at: number, end: number): number {
  const first = at;
  if (at >= end) return NEED_MORE;
  if (bytes[at] === 63 /* ? */ || bytes[at] === 45 /* - */) return readOddLength(bytes, at, end);
  let value = 0;
  for (;; at++) {
    if (at - first > 15) return BAD_REPLY;
    if (at >= end) return NEED_MORE;
    const digit = bytes[at]! - 48;
    if (digit >= 0 && digit <= 9) value = value * 10 + digit;
    else if (bytes[at] === CR && at > first) break;
    else return BAD_REPLY;
  }
  if (value > BULK_MAX) return BAD_REPLY;
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

/** `len\r\n…\r\n` after the `;`, lineValue = len; `0\r\n` is the last piece. */
function readPiece(bytes: Uint8Array, at: number, end: number): number {
  at = readLength(bytes, at, end);
  if (at < 0) return at;
  if (lineValue < 0) return BAD_REPLY;
  if (lineValue === 0) return at;
  return lineEnd(bytes, at + lineValue, end);
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

/** Goes to the end of the line whose text, of at most `max` bytes, starts at `first`; nothing before `from` needs looking at again. */
function skipLine(bytes: Uint8Array, first: number, end: number, from: number, max: number): number {
  let at = from > first ? from : first;
  while (at < end && bytes[at] !== CR) {
    if (bytes[at] === LF) return BAD_REPLY;
    at++;
  }
  lineSeen = at;
  return at - first > max ? BAD_REPLY : lineEnd(bytes, at, end);
}

/** Is `bytes[start, end)` what a line of this type may hold? */
function isScalar(type: number, bytes: Uint8Array, start: number, end: number): boolean {
  // A script can make a server send anything as a big number: it only sees to the line's end.
  if (type === 43 || type === 45 || type === 40) return true;
  if (type === 35) return end - start === 1 && (bytes[start] === 116 /* t */ || bytes[start] === 102 /* f */);
  if (start === end) return false;
  for (let i = start; i < end; i++) {
    const b = bytes[i]!;
    if (b >= 48 && b <= 57) continue;
    if (!isDoubleSign(b)) return false;
  }
  return true;
}

/** What a double has besides digits: signs, point, exponent, and the letters of `inf` and `nan`. */
function isDoubleSign(b: number): boolean {
  if (b === 45 || b === 43 || b === 46) return true;
  b |= 32;
  return b === 101 || b === 105 || b === 110 || b === 102 || b === 97;
}

// ---- what a whole reply is

const skipping = new ReplyResume();

/** Offset of the type byte of the whole reply at `start`: attributes come before it. */
function bodyOf(bytes: Uint8Array, start: number, end: number): number {
  while (bytes[start] === 124 /* | */) {
    let at = readLength(bytes, start + 1, end);
    for (let left = lineValue * 2; at >= 0 && left > 0; left--) {
      skipping.reset();
      at = scanReply(bytes, at, end, skipping);
    }
    if (at < 0) return start;
    start = at;
  }
  return start;
}

/** True for `-…` and `!…`. */
export function isError(bytes: Uint8Array, start: number): boolean {
  const type = bytes[start] === 124 ? bytes[bodyOf(bytes, start, bytes.length)] : bytes[start];
  return type === 45 || type === 33;
}

/** True for a RESP3 push (`>…`), which answers no request. */
export function isPush(bytes: Uint8Array, start: number): boolean {
  const type = bytes[start] === 124 ? bytes[bodyOf(bytes, start, bytes.length)] : bytes[start];
  return type === 62;
}

/**
 * The integer reply `:n` at `start`.
 * @returns NaN if it is not one, or one that a double does not hold exactly
 */
export function integerOf(bytes: Uint8Array, start: number, end: number): number {
  let at = bodyOf(bytes, start, end);
  if (bytes[at] !== 58) return NaN;
  const negative = bytes[++at] === 45;
  if (negative || bytes[at] === 43) at++;
  let value = 0;
  for (; at < end - 2; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  if (value > Number.MAX_SAFE_INTEGER) return NaN;
  return negative ? -value : value;
}

/** The count of the array (or set, map, push) reply at `start`: -1 for a null one, NaN if it is something else or streamed. */
export function countOf(bytes: Uint8Array, start: number, end: number): number {
  const body = bodyOf(bytes, start, end);
  const type = bytes[body];
  if (type !== 42 && type !== 126 && type !== 62 && type !== 37) return NaN;
  return readLength(bytes, body + 1, end) < 0 || lineValue === STREAMED ? NaN : lineValue;
}

/** The type byte of the whole reply at `start`, attributes left out. */
export function typeOf(bytes: Uint8Array, start: number, end: number): number {
  return bytes[bodyOf(bytes, start, end)]!;
}

/**
 * The bulk and verbatim strings of a whole reply, in their order and whatever they are nested in, as latin1 text; for
 * the control plane.
 */
export function bulksOf(bytes: Uint8Array, start: number, end: number): string[] {
  const found: string[] = [];
  for (let at = start; at < end;) {
    const type = bytes[at];
    const next = bytes.indexOf(LF, at) + 1;
    if (next === 0) break;
    const length = type === 36 || type === 61 ? Number(latin1(bytes, at + 1, next - 2)) : -1;
    at = next;
    if (!(length >= 0)) continue;
    found.push(latin1(bytes, type === 61 ? at + 4 : at, at + length));
    at += length + 2;
  }
  return found;
}

/**
 * Offset of the first element if the whole reply at `start` is an array of `count` elements; else -1. What typeOf, countOf
 * and firstElement say, in one step.
 */
export function arrayBody(bytes: Uint8Array, start: number, end: number, count: number): number {
  const body = bodyOf(bytes, start, end);
  if (bytes[body] !== 42) return -1;
  const at = readLength(bytes, body + 1, end);
  return at >= 0 && lineValue === count ? at : -1;
}

/** Offset of the first element of the array reply at `start`. */
export function firstElement(bytes: Uint8Array, start: number): number {
  let at = bodyOf(bytes, start, bytes.length);
  while (at < bytes.length && bytes[at] !== LF) at++;
  return at + 1;
}
