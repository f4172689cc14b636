/**
 * Finds where a memcached reply ends and what it is, without being told what was asked: the first word of a
 * reply is enough, because no command that Ringmaster forwards has a reply that starts like another's.
 *
 *   HD O17\r\n            VALUE k 0 3\r\n abc\r\n END\r\n        STAT pid 7\r\n … END\r\n
 *   one line              blocks up to END                   lines up to END
 *
 * Every length is checked, and CRLF must stand where it belongs: a byte too many or too few would give a
 * client somebody else's value. What cannot be a reply is BAD_REPLY, and its connection must be closed; so is
 * "SERVER_ERROR out of memory writing get response", since memcached forgets the replies of earlier pipelined
 * requests before it says so. Truth: protocol.txt and proto_text.c of 1.6, and memcached 1.6.18 over a socket.
 */
import { encode } from "../../bytes/ascii.ts";
import {
  REPLY_CLASS,
  REPLY_CLIENT_ERROR,
  REPLY_DELETED,
  REPLY_EN,
  REPLY_END,
  REPLY_ERROR,
  REPLY_EX,
  REPLY_EXISTS,
  REPLY_HD,
  REPLY_ME,
  REPLY_MN,
  REPLY_NF,
  REPLY_NONE,
  REPLY_NOT_FOUND,
  REPLY_NOT_STORED,
  REPLY_NS,
  REPLY_NUMBER,
  REPLY_OK,
  REPLY_RESET,
  REPLY_SERVER_ERROR,
  REPLY_STAT,
  REPLY_STORED,
  REPLY_TOUCHED,
  REPLY_VA,
  REPLY_VALUE,
  REPLY_VERSION,
} from "./reply_types.ts";
import { NEED_MORE, NO_LIST, type Scan, STAT_LIST, VALUE_LIST } from "./scan.ts";

export { NEED_MORE };
/** These bytes can never become a reply. */
export const BAD_REPLY = -2;

/** Bytes of a reply line before its LF: `stats settings` can name paths, nothing else comes near. */
export const REPLY_LINE_MAX = 8192;
/** Bytes of one value; memcached's own limit is 2^30. */
const VALUE_SIZE_MAX = 0x7fffffff - 2;

const ONE_LINE = 0;
const DATA_LINE = 1;
const VALUES = 2;
const STATS = 3;

interface Word {
  readonly text: Uint8Array;
  readonly type: number;
  readonly shape: number;
  /** Words may follow on the line. */
  readonly open: boolean;
}

const word = (text: string, type: number, open = false, shape = ONE_LINE): Word => ({
  text: encode(text),
  type,
  shape,
  open,
});

const WORDS: readonly Word[] = [
  word("VALUE", REPLY_VALUE, true, VALUES),
  word("END", REPLY_END),
  word("STORED", REPLY_STORED),
  word("HD", REPLY_HD, true),
  word("VA", REPLY_VA, true, DATA_LINE),
  word("EN", REPLY_EN, true),
  word("NOT_FOUND", REPLY_NOT_FOUND),
  word("NOT_STORED", REPLY_NOT_STORED),
  word("NF", REPLY_NF, true),
  word("NS", REPLY_NS, true),
  word("EX", REPLY_EX, true),
  word("EXISTS", REPLY_EXISTS),
  word("DELETED", REPLY_DELETED),
  word("TOUCHED", REPLY_TOUCHED),
  // With flags from a server started with meta_response_old.
  word("OK", REPLY_OK, true),
  word("MN", REPLY_MN),
  word("ME", REPLY_ME, true),
  word("VERSION", REPLY_VERSION, true),
  word("RESET", REPLY_RESET),
  word("STAT", REPLY_STAT, true, STATS),
  word("ERROR", REPLY_ERROR, true),
  word("CLIENT_ERROR", REPLY_CLIENT_ERROR, true),
  word("SERVER_ERROR", REPLY_SERVER_ERROR, true),
];

const BY_LETTER: readonly (readonly Word[])[] = wordsByLetter();

function wordsByLetter(): readonly (readonly Word[])[] {
  const found: Word[][] = [];
  for (let letter = 0; letter < 256; letter++) found.push([]);
  for (const entry of WORDS) found[entry.text[0]!]!.push(entry);
  return found;
}

const ORDER_LOST = encode("SERVER_ERROR out of memory writing get response");

/**
 * Finds the end of the reply that starts at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param scan of this server connection; how far earlier calls came with the same reply
 * @returns offset just past the reply, with `scan.type` telling what it is; NEED_MORE (-1) if it is not all here, with `scan.needed` telling how many
 *   bytes from `start` on it takes at least (0 if unknown); BAD_REPLY (-2) if it can never become one
 */
export function scanReply(bytes: Uint8Array, start: number, end: number, scan: Scan): number {
  if (end - start < scan.needed) return NEED_MORE;
  let at = start + scan.at;
  let { list } = scan;
  for (;;) {
    let lf = at + scan.seen;
    while (lf < end && bytes[lf] !== 10) lf++;
    const length = lf - at;
    if (length > REPLY_LINE_MAX) return bad(scan);
    if (lf === end) return pauseAt(scan, at - start, list, length, 0);
    if (length < 2 || bytes[lf - 1] !== 13) return bad(scan);
    const found = findWord(bytes, at, lf - 1);
    if (found === undefined) {
      if (list !== NO_LIST || !isNumber(bytes, at, lf - 1)) return bad(scan);
      return done(scan, lf + 1, REPLY_NUMBER);
    }
    let next = lf + 1;
    switch (found.shape) {
      case ONE_LINE:
        if (list !== NO_LIST) {
          if (found.type !== REPLY_END) return bad(scan);
        } else if (found.type === REPLY_SERVER_ERROR && losesOrder(bytes, at, lf - 1)) return bad(scan);
        return done(
          scan,
          next,
          list === VALUE_LIST ? REPLY_VALUE : list === STAT_LIST ? REPLY_STAT : found.type,
        );
      case STATS:
        if (list === VALUE_LIST) return bad(scan);
        list = STAT_LIST;
        break;
      default: {
        const isValue = found.shape === VALUES;
        if (list === STAT_LIST || (list === VALUE_LIST && !isValue)) return bad(scan);
        const size = isValue ? valueSize(bytes, at + 6, lf - 1) : dataSize(bytes, at + 3, lf - 1);
        if (size < 0) return bad(scan);
        next += size + 2;
        if (next > end) return pauseAt(scan, at - start, list, length, next - start);
        if (bytes[next - 2] !== 13 || bytes[next - 1] !== 10) return bad(scan);
        if (!isValue) return done(scan, next, REPLY_VA);
        list = VALUE_LIST;
      }
    }
    at = next;
    scan.seen = 0;
  }
}

function pauseAt(scan: Scan, at: number, list: number, seen: number, needed: number): number {
  scan.at = at;
  scan.list = list;
  scan.seen = seen;
  scan.needed = needed;
  return NEED_MORE;
}

function done(scan: Scan, at: number, type: number): number {
  scan.reset();
  scan.type = type;
  return at;
}

function bad(scan: Scan): number {
  scan.reset();
  return BAD_REPLY;
}

/** The entry for the first word of the line `bytes[start, stop)`, if the line may go on as it does. */
function findWord(bytes: Uint8Array, start: number, stop: number): Word | undefined {
  if (start >= stop) return undefined;
  const words = BY_LETTER[bytes[start]!]!;
  for (let k = 0; k < words.length; k++) {
    const entry = words[k]!;
    const text = entry.text;
    const past = start + text.length;
    if (past > stop) continue;
    let i = 1;
    while (i < text.length && bytes[start + i] === text[i]) i++;
    if (i < text.length) continue;
    if (past === stop) return entry.shape === ONE_LINE ? entry : undefined;
    // "ERROR: shutdown not enabled" is memcached's.
    if (entry.open && (bytes[past] === 32 || (bytes[past] === 58 && entry.type === REPLY_ERROR))) {
      return entry;
    }
  }
  return undefined;
}

/** Up to 20 digits, then perhaps spaces: what incr and decr answer. */
function isNumber(bytes: Uint8Array, start: number, stop: number): boolean {
  let at = start;
  while (at < stop && isDigit(bytes[at]!)) at++;
  if (at === start || at - start > 20) return false;
  while (at < stop && bytes[at] === 32) at++;
  return at === stop;
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57;
}

function losesOrder(bytes: Uint8Array, start: number, stop: number): boolean {
  if (stop - start < ORDER_LOST.length) return false;
  for (let i = 0; i < ORDER_LOST.length; i++) if (bytes[start + i] !== ORDER_LOST[i]) return false;
  return true;
}

/** Length of the data after "VALUE key flags length[ cas]", of which `bytes[at, stop)` is what follows "VALUE "; -1 if malformed. */
function valueSize(bytes: Uint8Array, at: number, stop: number): number {
  const key = at;
  while (at < stop && bytes[at] !== 32) at++;
  if (at === key || at === stop) return -1;
  const flags = ++at;
  while (at < stop && isDigit(bytes[at]!)) at++;
  if (at === flags || at === stop || bytes[at] !== 32) return -1;
  const length = ++at;
  while (at < stop && isDigit(bytes[at]!)) at++;
  const size = toSize(bytes, length, at);
  if (at === stop || size < 0) return size;
  if (bytes[at] !== 32) return -1;
  const cas = ++at;
  while (at < stop && isDigit(bytes[at]!)) at++;
  return at === cas || at < stop ? -1 : size;
}

/** Length of the data after "VA length[ flags]", of which `bytes[at, stop)` is what follows "VA "; -1 if malformed. */
function dataSize(bytes: Uint8Array, at: number, stop: number): number {
  const length = at;
  while (at < stop && isDigit(bytes[at]!)) at++;
  if (at < stop && bytes[at] !== 32) return -1;
  return toSize(bytes, length, at);
}

function toSize(bytes: Uint8Array, start: number, stop: number): number {
  if (stop === start || stop - start > 10) return -1;
  let size = 0;
  for (let i = start; i < stop; i++) size = size * 10 + bytes[i]! - 48;
  return size <= VALUE_SIZE_MAX ? size : -1;
}

/**
 * REPLY_… of the reply `bytes[start, end)`, of which at least the first line must be there; REPLY_NONE if it
 * is none.
 */
export function replyType(bytes: Uint8Array, start: number, end: number): number {
  const stopMax = Math.min(end, start + REPLY_LINE_MAX + 1);
  let lf = start;
  while (lf < stopMax && bytes[lf] !== 10) lf++;
  if (lf === stopMax || lf - start < 2 || bytes[lf - 1] !== 13) return REPLY_NONE;
  const found = findWord(bytes, start, lf - 1);
  if (found !== undefined) return found.type;
  return isNumber(bytes, start, lf - 1) ? REPLY_NUMBER : REPLY_NONE;
}

/** CLASS_… of the reply `bytes[start, end)`. */
export function replyClass(bytes: Uint8Array, start: number, end: number): number {
  return REPLY_CLASS[replyType(bytes, start, end)]!;
}
