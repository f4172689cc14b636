/**
 * Finds where a memcached request ends, what it asks, and which of its bytes must not reach a server.
 *
 *   set key 5 0 3 noreply\r\n abc\r\n         mg key v q O17\r\n
 *       ─── cut ▲────────▲    ─── data              cut ▲─▲
 *       words[1]
 *
 * What keeps order is one rule: one request forwarded, one reply back. So `noreply` and `q` are cut out and
 * their effect is made here (`noreply`: the reply is swallowed; `q`: `quietDrops` says which are). A line is
 * forwarded only if it is certain how many bytes memcached will take after it and that it will answer once;
 * every other line is answered here in memcached's words, and what follows it is read as memcached would.
 * And only if every memcached since 1.6.18 reads it alike. 1.6.40 has another parser: it refuses what 1.6.18 took ("+8",
 * "8\t", lengths that wrap, blanks before the name), runs the data block of some refused lines as commands, and takes
 * `noreply` where 1.6.18 takes a key. One reply too many or too few on a shared connection is somebody else's value. So what
 * goes to a server has: no blanks before the name (they are not forwarded), no NUL, numbers of plain digits within their range,
 * flags of `ms` that are letters, each once. Every other line is answered here; whether a data block follows it is 1.6.18's
 * reading, whatever was answered: a client that knows its server is never out of step.
 *
 * Truth: memcached 1.6.18, tried over a socket (tests/real/memcached_protocol_test.ts). What that showed:
 *  - Words are separated by spaces only; a tab or a carriage return is part of a key. A line ends at LF; one CR
 *    before it is dropped (not if it is alone on the line). A NUL hides the rest of the line.
 *  - A storage line that fails (words, key over 250 bytes, a number) takes no data block: the data is read as
 *    the next commands. From a good line on, length + 2 bytes are taken whatever they are, even when the value
 *    is too large or its last two bytes are not CRLF. In `ms`, bad flags still take the data, too many do not.
 *  - `noreply` counts only as the last word of a line with a right number of words; then even errors are silent.
 *    Errors of meta commands are never silent.
 *  - `get` with a key over 250 bytes makes memcached forget the replies of earlier pipelined requests: such a
 *    line must never be forwarded.
 *  - A line of more than 2048 bytes may end the connection, except `get` and `gets`; this is why a long gat is
 *    split into several lines, and why other long lines are a fault here whether or not memcached got them whole.
 *  - After `ma` with `q` and `N` has created an item, 1.6.18 shows HD or VA, though `q` hides it otherwise; with `q`
 *    cut out nobody can tell, so the proxy hides it always, as the documentation says.
 */
import {
  ANSWER_BAD_EXPTIME,
  ANSWER_BAD_FORMAT,
  ANSWER_DELETE_USAGE,
  ANSWER_DUPLICATE_FLAG,
  ANSWER_END,
  ANSWER_ERROR,
  ANSWER_FLAGS_TOO_LONG,
  ANSWER_INVALID_FLAG,
  ANSWER_INVALID_OR_DUPLICATE_FLAG,
  ANSWER_LINE_TOO_LONG,
  ANSWER_MG_FLAGS_TOO_LONG,
  ANSWER_MN,
  ANSWER_NONE,
  ANSWER_OK,
  ANSWER_STATS_REFUSED,
  ANSWER_TOO_LARGE,
  ANSWER_TOO_MANY_KEYS,
} from "./answers.ts";
import {
  ANSWER,
  findCommand,
  FORM,
  FORM_CAS,
  FORM_DELETE,
  FORM_FLUSH_ALL,
  FORM_GAT,
  FORM_GET,
  FORM_META,
  FORM_META_DEBUG,
  FORM_META_SET,
  FORM_NUMBER,
  FORM_STATS,
  FORM_STORE,
  FORM_VERBOSITY,
  KEY_MAX,
  KEY_WORD,
  KIND,
  LENGTH_MAX,
  LOCAL,
  REFUSED,
  ROW_HTTP,
  ROW_MN,
  ROW_VERSION,
  rowOf,
  SPLIT_GET,
  UNKNOWN,
  WORDS_MAX,
  WORDS_MIN,
} from "./commands.ts";
import { encode, equals } from "../../bytes/ascii.ts";
import { isSigned, isStrict, isUnsigned, lowBits, SIGNED_32, UNSIGNED_32, UNSIGNED_64 } from "./integers.ts";
import { isHttpWord } from "../http.ts";
import { CUT, lengthBehind, rereadLine } from "./newer.ts";
import { NEED_MORE, Scan } from "./scan.ts";

export { KEY_MAX, NEED_MORE, ROW_HTTP };
/** Give `ANSWERS[out.answer]` in its turn, unless `out.noreply`; then drop `out.needed` bytes from `start` on as they come. */
export const SKIP = -2;
/** Protocol fault: answer `ANSWERS[out.answer]` after all earlier replies, then close. */
export const FAULT = -3;
/** The connection begins with a packet of the binary protocol (binary.ts): nothing has been scanned. */
export const BINARY_CLIENT = -4;
/** The answer hangs on what the pool's servers are: to be scanned again when `limits.reading` says it. */
export const NOT_LEARNED = -5;

// As which memcached lines are read that are answered here: `RequestLimits.reading`.
export const READ_AS_1_6_18 = 0;
/** As 1.6.40 and later: see newer.ts. */
export const READ_AS_NEWER = 1;
export const NOBODY_KNOWS = 2;

/** Bytes of a line before its LF that every memcached takes; only `get` and `gets` may be longer. */
export const LINE_MAX = 2048;
/** Words of a meta command's line, the name included. */
const META_WORDS_MAX = 19;
/** The last word that memcached's tokenizer looks at, where it looks for "HTTP/". */
const TOKENS_MAX = 23;

// Subcommands of stats.
export const STATS_GENERAL = 0;
export const STATS_ITEMS = 1;
export const STATS_SLABS = 2;
export const STATS_SIZES = 3;
export const STATS_SETTINGS = 4;
export const STATS_RESET = 5;
/** Ours: the proxy's own figures. */
export const STATS_PROXY = 6;
const STATS_KNOWN = 7;
/** Without END, endless, or of one connection only: cannot be joined. */
const STATS_NAMES: readonly Uint8Array[] = [
  "",
  "items",
  "slabs",
  "sizes",
  "settings",
  "reset",
  "proxy",
  "conns",
  "detail",
  "cachedump",
  "extstore",
  "sizes_enable",
  "sizes_disable",
].map(encode);

const NOREPLY = encode("noreply");
const HTTP = encode("HTTP/");
const MG = rowOf("mg");
const MS = rowOf("ms");
const ROW_BGET = rowOf("bget");

/** Limits of one pool. */
export interface RequestLimits {
  /** Keys of one get; more are answered ANSWER_TOO_MANY_KEYS. */
  readonly keysMax: number;
  /** Bytes of a get, gets, gat or gats line; a longer one is a FAULT. */
  readonly getLineMax: number;
  /** Bytes of a value; larger ones are answered ANSWER_TOO_LARGE and skipped. */
  readonly valueSizeMax: number;
  /** READ_AS_…, NOBODY_KNOWS */
  reading: number;
}

/** The scan state of a client connection. */
export class RequestScan extends Scan {
  /** 1 once a request has been read: memcached looks for the binary protocol at a connection's first byte only. */
  started = 0;
  /** The words so far of a long line that is not all here, counted from the line's start; null if there is none such. */
  words: MemcachedRequest | null = null;
  /** So far they have been looked for. */
  wordsAt = 0;

  override reset(): void {
    super.reset();
    if (this.words === null) return;
    this.words = null;
    this.wordsAt = 0;
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.words === null ? 0 : 2 * this.words.wordStarts.byteLength;
  }
}

/**
 * The last scanned request; offsets into the array that was scanned. One per thread, written by scanRequest
 * and read before the next scan, as `Args` is for Redis.
 */
export class MemcachedRequest {
  /** Row of COMMANDS, UNKNOWN, or ROW_HTTP. */
  row = UNKNOWN;
  /** KEYED, SPLIT_GET, LOCAL, EVERY_SERVER or REFUSED. LOCAL and REFUSED wherever `answer` is set. */
  kind = LOCAL;
  /** Line to answer with instead of asking a server; ANSWER_NONE if there is none. Not given if `noreply`. */
  answer = ANSWER_NONE;
  /** Words of the line, name included, and where they are. */
  wordCount = 0;
  wordStarts: Int32Array = new Int32Array(64);
  wordEnds: Int32Array = new Int32Array(64);
  /** Keys are the words [keyFirst, keyFirst + keyCount); at most KEY_MAX bytes each if there is no `answer`. */
  keyFirst = 0;
  keyCount = 0;
  /** Bytes not to forward: `noreply` or `q` with the spaces before. Both 0 if there are none. */
  cutStart = 0;
  cutEnd = 0;
  /** Just past the line's LF. */
  lineEnd = 0;
  /** The value without its CRLF; both `lineEnd` if the command has none. */
  dataStart = 0;
  dataEnd = 0;
  /** 1: the client gets no reply, not even an error. */
  noreply = 0;
  /** 1: the client gets no reply of the types for which `quietDrops(row, type)`. */
  quiet = 0;
  /** 1: the key is base64 text, to be hashed as `decodeKey` says (as it stands if that says 0). */
  base64 = 0;
  /** 1: the request carries an opaque; 1: it asks for its key back. Servers answer both by themselves. */
  opaque = 0;
  returnsKey = 0;
  /** 1: the last two bytes of the data block are not CRLF. Servers answer "CLIENT_ERROR bad data chunk", once. */
  badData = 0;
  /** STATS_… if the row is stats. */
  stats = STATS_GENERAL;
  /** 1: a get that must go through splitGet: several keys, or a line too long to forward as it is. */
  split = 0;
  /** Bytes of the whole request, once its line is known; 0 before. */
  needed = 0;
  /** 1: not all memcacheds would read the line alike. It is answered here. */
  strange = 0;
  /** Where a word begins whose end is not here yet; -1 if there is none such. */
  openWord = -1;

  /** Makes room for `count` words, keeping what is there. */
  reserve(count: number): void {
    if (count <= this.wordStarts.length) return;
    const size = Math.max(count, this.wordStarts.length * 2);
    const starts = new Int32Array(size);
    const ends = new Int32Array(size);
    starts.set(this.wordStarts);
    ends.set(this.wordEnds);
    this.wordStarts = starts;
    this.wordEnds = ends;
  }
}

/**
 * Finds the end of the request that starts at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param scan of this client; how far earlier calls came with the same request
 * @param out what the request is. Valid when an offset or SKIP is returned, and also with NEED_MORE if
 *   `out.needed > 0`: then only the data block is not all here (`badData` is not known yet)
 * @returns offset just past the request; NEED_MORE (-1) if it is not all here, with `scan.needed` telling how
 *   many bytes from `start` on it takes (0 if unknown); SKIP (-2) for a value over the limit; FAULT (-3); BINARY_CLIENT (-4);
 *   NOT_LEARNED (-5)
 */
export function scanRequest(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: RequestLimits,
  scan: RequestScan,
  out: MemcachedRequest,
): number {
  out.needed = 0;
  if (end <= start) return NEED_MORE;
  if (scan.started === 0 && bytes[start] === 0x80) return BINARY_CLIENT;

  let lf = start + scan.seen;
  while (lf < end && bytes[lf] !== 10) lf++;
  const length = lf - start;
  if (length > LINE_MAX && (length > limits.getLineMax || !isGetLine(bytes, start))) {
    return fault(scan, out, ANSWER_LINE_TOO_LONG);
  }
  if (lf === end) {
    scan.seen = length;
    scan.needed = 0;
    if (length > LINE_MAX) readOn(bytes.subarray(start, end), false, limits, scan);
    return NEED_MORE;
  }

  out.lineEnd = lf + 1;
  const stop = length > 1 && bytes[lf - 1] === 13 ? lf - 1 : lf;
  if (scan.words !== null) takeWords(readOn(bytes.subarray(start, stop), true, limits, scan), start, out);
  else readWords(bytes, start, stop, limits.keysMax + 2, out);
  let dataLength = readLine(bytes, length, limits, out);
  if (out.strange === 1 && out.answer === ANSWER_NONE && out.row !== ROW_HTTP) answer(out, ANSWER_BAD_FORMAT);
  if (limits.reading !== READ_AS_1_6_18 && differs(start, length, out)) {
    if (limits.reading === NOBODY_KNOWS) {
      // What is known of a long line stays known, so that it is not read anew in one turn.
      if (scan.words !== null) moveWords(scan.words, -start);
      scan.seen = length;
      scan.started = 1;
      return NOT_LEARNED;
    }
    dataLength = readAsNewer(bytes, start, lf, limits, out);
  }
  const dataEnd = out.lineEnd + Math.max(dataLength, 0);
  out.dataStart = out.lineEnd;
  out.dataEnd = dataEnd;
  const requestEnd = dataLength < 0 ? out.lineEnd : dataEnd + 2;
  const needed = requestEnd - start;
  out.needed = needed;
  if (dataLength > limits.valueSizeMax) {
    if (out.answer === ANSWER_NONE) answer(out, ANSWER_TOO_LARGE);
    scan.reset();
    scan.started = 1;
    return SKIP;
  }
  if (requestEnd > end) {
    scan.seen = length;
    scan.needed = needed;
    return NEED_MORE;
  }
  if (dataLength >= 0 && (bytes[dataEnd] !== 13 || bytes[dataEnd + 1] !== 10)) out.badData = 1;
  scan.reset();
  scan.started = 1;
  return requestEnd;
}

/** May the answer to the line be another by the version of memcached? */
function differs(start: number, length: number, out: MemcachedRequest): boolean {
  switch (out.answer) {
    case ANSWER_NONE:
      return out.row === ROW_HTTP || out.row === ROW_BGET || out.row === ROW_VERSION ||
        out.wordStarts[0] !== start;
    case ANSWER_MN:
      return length < 3 || out.wordStarts[0] !== start;
    case ANSWER_TOO_MANY_KEYS:
    case ANSWER_STATS_REFUSED:
      return false;
  }
  return true;
}

function readAsNewer(
  bytes: Uint8Array,
  start: number,
  lf: number,
  limits: RequestLimits,
  out: MemcachedRequest,
): number {
  if (out.row === ROW_VERSION && out.wordStarts[0] === start) return -1;
  const length = rereadLine(bytes, start, lf, out);
  if (length > CUT) return length;
  const { noreply, wordCount } = out;
  const keptEnd = out.wordEnds[wordCount - 1]!;
  out.strange = bytes.subarray(start, keptEnd).includes(0) ? 1 : 0;
  const dataLength = readLine(bytes, lf - start, limits, out);
  out.noreply = noreply;
  if (out.answer !== ANSWER_NONE || out.strange === 1) {
    answer(out, ANSWER_BAD_FORMAT);
    return lengthBehind(length);
  }
  out.cutStart = keptEnd;
  out.cutEnd = bytes[lf - 1] === 13 ? lf - 1 : lf;
  return dataLength;
}

function fault(scan: RequestScan, out: MemcachedRequest, code: number): number {
  out.row = UNKNOWN;
  answer(out, code);
  scan.reset();
  return FAULT;
}

function answer(out: MemcachedRequest, code: number): void {
  out.answer = code;
  if (out.kind !== REFUSED) out.kind = LOCAL;
}

/** The line starting at `start` has more than LINE_MAX bytes: true if it is one that may. Looks at the first LINE_MAX only. */
function isGetLine(bytes: Uint8Array, start: number): boolean {
  const stop = start + LINE_MAX;
  let at = start;
  while (at < stop && bytes[at] === 32) at++;
  const name = at;
  while (at < stop && bytes[at] !== 32) at++;
  if (at === stop) return false;
  const row = findCommand(bytes, name, at);
  return row !== UNKNOWN && KIND[row] === SPLIT_GET;
}

/**
 * Reads on in a long line, so that its end does not bring the work for all of it.
 * @param line what is here of it
 * @param whole that is all of it
 */
function readOn(
  line: Uint8Array,
  whole: boolean,
  limits: RequestLimits,
  scan: RequestScan,
): MemcachedRequest {
  const words = scan.words ??= new MemcachedRequest();
  // The CR that came last was taken for a part of a word; before LF it is none.
  if (scan.wordsAt > line.length && scan.wordsAt < Infinity) scan.wordsAt = line.length;
  if (words.openWord >= line.length) words.openWord = -1;
  if (scan.wordsAt < line.length || words.openWord >= 0) {
    scan.wordsAt = readMore(line, scan.wordsAt, line.length, whole, limits.keysMax + 2, words);
  }
  return words;
}

/** The words of a long line become those of `out`, now that it begins at `start`. */
function takeWords(words: MemcachedRequest, start: number, out: MemcachedRequest): void {
  moveWords(words, start);
  out.wordStarts = words.wordStarts;
  out.wordEnds = words.wordEnds;
  out.wordCount = words.wordCount;
  out.strange = words.strange;
}

function moveWords({ wordStarts, wordEnds, wordCount }: MemcachedRequest, by: number): void {
  for (let i = 0; i < wordCount && by !== 0; i++) {
    wordStarts[i]! += by;
    wordEnds[i]! += by;
  }
}

/** Notes the words of a line that is all here, `bytes[start, stop)`, at most `countMax` and one more: every request's way. */
function readWords(
  bytes: Uint8Array,
  start: number,
  stop: number,
  countMax: number,
  out: MemcachedRequest,
): void {
  let starts = out.wordStarts;
  let ends = out.wordEnds;
  let count = 0;
  let at = start;
  out.strange = 0;
  while (at < stop) {
    let byte = bytes[at]!;
    if (byte === 32) {
      at++;
      continue;
    }
    if (byte === 0) {
      out.strange = 1;
      break;
    }
    const wordStart = at;
    do byte = bytes[++at]!; while (at < stop && byte !== 32 && byte !== 0);
    if (count === starts.length) {
      out.reserve(count + 1);
      starts = out.wordStarts;
      ends = out.wordEnds;
    }
    starts[count] = wordStart;
    ends[count++] = at;
    if (count > countMax && count > TOKENS_MAX) break;
  }
  out.wordCount = count;
}

/**
 * Adds the words of `bytes[at, stop)` to those of `out`, up to `countMax` and one more.
 * @param whole the line ends at `stop`; if not, its last word stays open
 * @returns how far it has come; Infinity if what follows does not matter
 */
function readMore(
  bytes: Uint8Array,
  at: number,
  stop: number,
  whole: boolean,
  countMax: number,
  out: MemcachedRequest,
): number {
  let starts = out.wordStarts;
  let ends = out.wordEnds;
  let count = out.wordCount;
  let open = out.openWord;
  let over = false;
  while (at < stop || (whole && open >= 0)) {
    if (open < 0) {
      const byte = bytes[at]!;
      if (byte === 32) {
        at++;
        continue;
      }
      if (byte === 0) {
        out.strange = 1;
        over = true;
        break;
      }
      open = at++;
    }
    while (at < stop && bytes[at] !== 32 && bytes[at] !== 0) at++;
    if (at === stop && !whole) break;
    if (count === starts.length) {
      out.reserve(count + 1);
      starts = out.wordStarts;
      ends = out.wordEnds;
    }
    starts[count] = open;
    ends[count++] = at;
    open = -1;
    if (count > countMax && count > TOKENS_MAX) {
      over = true;
      break;
    }
  }
  out.wordCount = count;
  out.openWord = open;
  return over ? Infinity : at;
}

/** Fills `out` from its words. Returns the value's length, -1 if no data block follows. */
function readLine(bytes: Uint8Array, length: number, limits: RequestLimits, out: MemcachedRequest): number {
  out.row = UNKNOWN;
  out.kind = LOCAL;
  out.answer = ANSWER_NONE;
  out.keyFirst = out.keyCount = 0;
  out.cutStart = out.cutEnd = 0;
  out.noreply =
    out.quiet =
    out.base64 =
    out.opaque =
    out.returnsKey =
    out.badData =
      0;
  out.stats = STATS_GENERAL;
  out.split = 0;

  const starts = out.wordStarts;
  const ends = out.wordEnds;
  const count = out.wordCount;
  if (count === 0 || ends[0]! - starts[0]! < 2) return refuse(out, ANSWER_ERROR);
  const row = findCommand(bytes, starts[0]!, ends[0]!);
  if (row === UNKNOWN) {
    if (isHttp(bytes, out)) out.row = ROW_HTTP;
    else answer(out, ANSWER_ERROR);
    return -1;
  }
  out.row = row;
  out.kind = KIND[row]!;
  if (count < WORDS_MIN[row]! || count > WORDS_MAX[row]!) return refuse(out, ANSWER_ERROR);

  const keyWord = KEY_WORD[row]!;
  switch (FORM[row]) {
    case FORM_STORE:
    case FORM_CAS:
      return readStore(bytes, FORM[row] === FORM_CAS, out);
    case FORM_GAT:
      if (!readNumber(bytes, 1, SIGNED_32, out) || out.strange === 1) return refuse(out, ANSWER_BAD_EXPTIME);
      // memcached answers so to a gat without keys.
      if (count === 2) return refuse(out, ANSWER_END);
      return readKeys(length, limits.keysMax, keyWord, out);
    case FORM_GET:
      return readKeys(length, limits.keysMax, keyWord, out);
    case FORM_META:
    case FORM_META_SET:
    case FORM_META_DEBUG:
      return readMeta(bytes, out);
    case FORM_NUMBER:
      readNoreply(bytes, out);
      // `touch k noreply`: the word is taken twice, as a number that fails and for silence. And with one of two cut off, the
      // other would ask the server for silence.
      if (out.noreply === 1 && (count === 3 || equals(bytes, starts[2]!, ends[2]!, NOREPLY))) {
        return refuse(out, ANSWER_BAD_FORMAT);
      }
      return readKey(keyWord, out);
    case FORM_DELETE:
      return readDelete(bytes, out);
    case FORM_VERBOSITY:
      readNoreply(bytes, out);
      // How talkative the servers are is not for a client to say; the proxy nods.
      return refuse(out, isUnsigned(bytes, starts[1]!, ends[1]!) ? ANSWER_OK : ANSWER_BAD_FORMAT);
    case FORM_FLUSH_ALL:
      readNoreply(bytes, out);
      if (count !== 1 + out.noreply && !isSigned(bytes, starts[1]!, ends[1]!)) {
        answer(out, ANSWER_BAD_EXPTIME);
      }
      return -1;
    case FORM_STATS:
      return readStats(bytes, out);
    default:
      if (row === ROW_MN) answer(out, ANSWER_MN);
      else if (ANSWER[row] !== ANSWER_NONE) answer(out, ANSWER[row]!);
      return -1;
  }
}

/** Answers here; no data block follows. */
function refuse(out: MemcachedRequest, code: number): number {
  answer(out, code);
  return -1;
}

/**
 * Browsers and probes: memcached hangs up at "HTTP/", if the name starts with none of the letters it looks at first. At the words
 * that redis-server hangs up at, too, we do here.
 */
function isHttp(bytes: Uint8Array, out: MemcachedRequest): boolean {
  const nameStart = out.wordStarts[0]!;
  if (isHttpWord(bytes, nameStart, out.wordEnds[0]!)) return true;
  switch (bytes[nameStart]) {
    case 97: // a
    case 99: // c
    case 100: // d
    case 103: // g
    case 105: // i
    case 115: // s
    case 116: // t
      return false;
    case 109: // m
      if (out.wordEnds[0]! - nameStart === 2) return false;
  }
  const last = Math.min(out.wordCount, TOKENS_MAX) - 1;
  const start = out.wordStarts[last]!;
  return out.wordEnds[last]! - start >= HTTP.length && equals(bytes, start, start + HTTP.length, HTTP);
}

/** Takes `noreply` if it is the last word; it may be any word but the name. */
function readNoreply(bytes: Uint8Array, out: MemcachedRequest): void {
  const last = out.wordCount - 1;
  if (last === 0 || !equals(bytes, out.wordStarts[last]!, out.wordEnds[last]!, NOREPLY)) return;
  out.noreply = 1;
  cut(out, last);
}

function cut(out: MemcachedRequest, word: number): void {
  out.cutStart = out.wordEnds[word - 1]!;
  out.cutEnd = out.wordEnds[word]!;
}

function readKey(word: number, out: MemcachedRequest): number {
  if (out.wordEnds[word]! - out.wordStarts[word]! > KEY_MAX) return refuse(out, ANSWER_BAD_FORMAT);
  out.keyFirst = word;
  out.keyCount = 1;
  return -1;
}

function readKeys(lineLength: number, keysMax: number, first: number, out: MemcachedRequest): number {
  const count = out.wordCount;
  for (let i = first; i < count; i++) {
    if (out.wordEnds[i]! - out.wordStarts[i]! > KEY_MAX) return refuse(out, ANSWER_BAD_FORMAT);
  }
  if (count - first > keysMax) return refuse(out, ANSWER_TOO_MANY_KEYS);
  out.keyFirst = first;
  out.keyCount = count - first;
  // What has to be written anew, since not every version knows bget, is written by splitGet.
  out.split = count - first > 1 || lineLength > LINE_MAX || out.row === ROW_BGET ? 1 : 0;
  return -1;
}

function readStore(bytes: Uint8Array, hasCas: boolean, out: MemcachedRequest): number {
  const starts = out.wordStarts;
  const ends = out.wordEnds;
  readNoreply(bytes, out);
  readKey(1, out);
  if (out.answer !== ANSWER_NONE) return -1;
  if (hasCas && !readNumber(bytes, 5, UNSIGNED_64, out)) return refuse(out, ANSWER_BAD_FORMAT);
  if (
    !readNumber(bytes, 2, UNSIGNED_32, out) || !readNumber(bytes, 3, SIGNED_32, out) ||
    !isSigned(bytes, starts[4]!, ends[4]!)
  ) return refuse(out, ANSWER_BAD_FORMAT);
  return readLength(bytes, 4, out);
}

/** True if 1.6.18 takes the word for a number; notes if other versions do not. */
function readNumber(bytes: Uint8Array, word: number, range: number, out: MemcachedRequest): boolean {
  const start = out.wordStarts[word]!;
  const end = out.wordEnds[word]!;
  const good = range === SIGNED_32 ? isSigned(bytes, start, end) : isUnsigned(bytes, start, end);
  if (good && !isStrict(bytes, start, end, range)) out.strange = 1;
  return good;
}

/** The length of a data block, for which `isSigned` has just said true. */
function readLength(bytes: Uint8Array, word: number, out: MemcachedRequest): number {
  const length = lowBits();
  if (length < 0 || length > LENGTH_MAX) return refuse(out, ANSWER_BAD_FORMAT);
  if (!isStrict(bytes, out.wordStarts[word]!, out.wordEnds[word]!, UNSIGNED_32)) out.strange = 1;
  return length;
}

function readDelete(bytes: Uint8Array, out: MemcachedRequest): number {
  const count = out.wordCount;
  // `delete noreply`, perhaps what is left of `delete noreply noreply`: since 1.6.40 the word is taken twice, as the key and for silence.
  if (equals(bytes, out.wordStarts[1]!, out.wordEnds[1]!, NOREPLY)) out.strange = 1;
  if (count > 2) {
    readNoreply(bytes, out);
    const start = out.wordStarts[2]!;
    const zero = out.wordEnds[2]! - start === 1 && bytes[start] === 48;
    const good = count === 3 ? zero || out.noreply === 1 : zero && out.noreply === 1;
    if (!good) return refuse(out, ANSWER_DELETE_USAGE);
  }
  return readKey(1, out);
}

function readMeta(bytes: Uint8Array, out: MemcachedRequest): number {
  const row = out.row;
  const form = FORM[row];
  const count = out.wordCount;
  const starts = out.wordStarts;
  const ends = out.wordEnds;
  // Only `me` gets here without a key.
  if (count < 2 || ends[1]! - starts[1]! > KEY_MAX) return refuse(out, ANSWER_BAD_FORMAT);
  out.keyFirst = out.keyCount = 1;
  if (form === FORM_META_DEBUG) {
    if (count > 2 && ends[2]! - starts[2]! === 1 && bytes[starts[2]!] === 98) out.base64 = 1;
    return -1;
  }
  let length = -1;
  let first = 2;
  if (form === FORM_META_SET && count === 2) return refuse(out, ANSWER_BAD_FORMAT);
  if (count > META_WORDS_MAX) {
    return refuse(out, row === MG ? ANSWER_MG_FLAGS_TOO_LONG : ANSWER_FLAGS_TOO_LONG);
  }
  if (form === FORM_META_SET) {
    if (!isSigned(bytes, starts[2]!, ends[2]!)) return refuse(out, ANSWER_BAD_FORMAT);
    length = readLength(bytes, 2, out);
    if (length < 0) return -1;
    first = 3;
  }
  let quietWords = 0;
  let letters = 0;
  let foreign = false;
  for (let i = first; i < count; i++) {
    const flag = bytes[starts[i]!]!;
    const letter = (flag | 32) - 97;
    // Bits 0 to 25 for either case: two different letters never pass for one, at worst "t" and "T" are looked at again below.
    if (letter < 0 || letter > 25 || flag > 122 || (letters >>> letter & 1) !== 0) foreign = true;
    else letters |= 1 << letter;
    switch (flag) {
      case 113: // q
        quietWords++;
        cut(out, i);
        break;
      case 98: // b
        out.base64 = 1;
        break;
      case 79: // O
        out.opaque = 1;
        break;
      case 107: // k
        out.returnsKey = 1;
        break;
    }
  }
  if (quietWords === 1) out.quiet = 1;
  // One cut would hide the error that two q are; any other bad flag is for the server to name.
  if (quietWords > 1) {
    out.cutStart = out.cutEnd = 0;
    answer(out, row === MG || row === MS ? flagFault(bytes, first, out) : ANSWER_INVALID_OR_DUPLICATE_FLAG);
  } else if (foreign && form === FORM_META_SET) refuseFlags(bytes, first, out);
  return length;
}

/**
 * A flag of `ms` that is no letter: 1.6.40 and later take no data block behind it. And flags given twice: nothing says that every
 * version takes one.
 */
function refuseFlags(bytes: Uint8Array, first: number, out: MemcachedRequest): void {
  for (let i = first; i < out.wordCount; i++) {
    const flag = bytes[out.wordStarts[i]!]!;
    const letter = (flag | 32) - 97;
    let bad = letter < 0 || letter > 25 || flag > 122;
    for (let k = first; k < i; k++) if (bytes[out.wordStarts[k]!] === flag) bad = true;
    if (bad) return answer(out, flagFault(bytes, first, out));
  }
}

const FLAGS = encode("bNTROPLkstcfvhuqlFCMJDI");
const IS_FLAG = new Uint8Array(256);
FLAGS.forEach((flag) => IS_FLAG[flag] = 1);

/** What is wrong first with flags of which one is given twice. */
function flagFault(bytes: Uint8Array, first: number, out: MemcachedRequest): number {
  for (let i = first; i < out.wordCount; i++) {
    const flag = bytes[out.wordStarts[i]!]!;
    // memcached keeps 127 places for "seen" and calls what lies beyond a duplicate.
    if (flag >= 127) return ANSWER_DUPLICATE_FLAG;
    for (let k = first; k < i; k++) if (bytes[out.wordStarts[k]!] === flag) return ANSWER_DUPLICATE_FLAG;
    if (IS_FLAG[flag] === 0) return ANSWER_INVALID_FLAG;
  }
  return ANSWER_DUPLICATE_FLAG;
}

function readStats(bytes: Uint8Array, out: MemcachedRequest): number {
  if (out.wordCount === 1) return -1;
  let sub = 1;
  while (
    sub < STATS_NAMES.length && !equals(bytes, out.wordStarts[1]!, out.wordEnds[1]!, STATS_NAMES[sub]!)
  ) sub++;
  if (sub === STATS_NAMES.length) return refuse(out, ANSWER_ERROR);
  if (sub >= STATS_KNOWN) return refuse(out, ANSWER_STATS_REFUSED);
  out.stats = sub;
  if (sub === STATS_PROXY) out.kind = LOCAL;
  return -1;
}
