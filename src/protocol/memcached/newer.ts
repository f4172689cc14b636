/**
 * Lines that are answered here, read as memcached has read them since 1.6.40: with the parser of its proxy (proto_parser.c, vendor/mcmc).
 *
 *   scanRequest ── read as 1.6.18: forwarded as it is? ── yes ─► every version reads it alike
 *                                                      └─ no ──► rereadLine, if the pool's servers are of that line
 *
 * What differs: too few words are a bad format, not an unknown command; too many do not matter; a refused storage line takes its data block
 * with it as soon as its length is a number; `noreply` counts as the last word of any command, known or not; words end at blanks only.
 * The rule of request.ts stays: nothing is forwarded but what every version reads alike. Words too many are cut off, and what is left is;
 * what is not, though these versions would do it, is refused as a bad format (docs/memcached-binary.md has what that is).
 *
 * Seldom asked: nothing here has to be fast.
 */
import { encode, startsWith } from "../../bytes/ascii.ts";
import { isHttpWord } from "../http.ts";
import {
  ANSWER_BAD_DELTA,
  ANSWER_BAD_EXPTIME,
  ANSWER_BAD_FORMAT,
  ANSWER_BAD_FORMAT_AND_BLANK,
  ANSWER_DUPLICATE_FLAG,
  ANSWER_ERROR,
  ANSWER_INVALID_FLAG,
  ANSWER_INVALID_OR_DUPLICATE_FLAG,
  ANSWER_MG_FLAGS_TOO_LONG,
  ANSWER_NONE,
  ANSWER_OK,
  ANSWER_SHUTDOWN_NEWER,
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
  FORM_STORE,
  FORM_VERBOSITY,
  KEY_MAX,
  KIND,
  LENGTH_MAX,
  LOCAL,
  REFUSED,
  ROW_HTTP,
  rowOf,
  UNKNOWN,
} from "./commands.ts";
import { isSigned, isUnsigned, SIGNED_32, UNSIGNED_32, UNSIGNED_64 } from "./integers.ts";
import type { MemcachedRequest } from "./request.ts";

/**
 * `rereadLine` returns this, or less: without the words behind `out.wordCount` every version reads the line alike. It is to be read once
 * more, and they are cut off. See lengthBehind.
 */
export const CUT = -2;

/** Bytes of the shortest line that may be a command, its end included. */
const LINE_MIN = 4;
/** Words that the parser looks at. */
const WORDS_LOOKED_AT = 23;
/** Words of a meta command's line, the name included. */
const META_WORDS = 20;
/** Every flag that some meta command takes. */
const FLAGS = new Set(encode("bNTRlOPLkstcfvhuqxFCEMJDI"));
/** So many words a line has at least, by form. */
const WORDS_LEAST: Record<number, number> = {
  [FORM_GET]: 2,
  [FORM_GAT]: 3,
  [FORM_STORE]: 5,
  [FORM_CAS]: 5,
  [FORM_NUMBER]: 3,
  [FORM_DELETE]: 2,
  [FORM_META]: 2,
  [FORM_META_DEBUG]: 2,
  [FORM_META_SET]: 3,
};
/** Digits of a number, at most, whatever it is. */
const DIGITS = [11, 11, 22];

const NOREPLY = encode("noreply");
const HTTP = encode("HTTP/");
const BGET = rowOf("bget");
const TOUCH = rowOf("touch");
const MA = rowOf("ma");
const SHUTDOWN = rowOf("shutdown");
/** Commands that are looked for only where no other has been found: by the first word, so that blanks may stand before it. */
const LATE = new Set(
  ["shutdown", "slabs", "cache_memlimit", "flush_all", "lru_crawler", "verbosity", "lru", "extstore"].concat(
    "refresh_certs",
  ).map(rowOf),
);
/** Of those: refused here only if they have arguments. */
const WITH_ARGUMENTS = new Set(["cache_memlimit", "lru", "extstore"].map(rowOf));

/**
 * Reads the line `bytes[start, lf)` anew, of which `out` says that it is answered here, or that it begins with a blank.
 * @returns as readLine of request.ts: the value's length, -1 if no data block follows; or CUT, or less
 */
export function rereadLine(bytes: Uint8Array, start: number, lf: number, out: MemcachedRequest): number {
  const longKey = hasLongKey(out);
  out.kind = LOCAL;
  out.row = UNKNOWN;
  out.noreply =
    out.quiet =
    out.split =
    out.keyCount =
      0;
  out.cutStart = out.cutEnd = 0;
  if (lf + 1 - start < LINE_MIN) return refuse(out, ANSWER_BAD_FORMAT);
  const stop = bytes[lf - 1] === 13 ? lf - 1 : lf;
  readWords(bytes, start, stop, out);
  const { wordStarts, wordEnds } = out;
  let row = out.wordCount > 0 ? findCommand(bytes, wordStarts[0]!, wordEnds[0]!) : UNKNOWN;
  if (row === BGET || out.wordCount > 0 && wordStarts[0] !== start && !LATE.has(row)) row = UNKNOWN;
  if (row === UNKNOWN) return readUnknown(bytes, out);
  out.row = row;
  const form = FORM[row]!;
  const least = WORDS_LEAST[form] ?? 0;
  if (out.wordCount < least) return refuse(out, ANSWER_BAD_FORMAT);
  switch (form) {
    case FORM_STORE:
    case FORM_CAS:
      return readStore(bytes, form === FORM_CAS, out);
    case FORM_GAT:
      if (!isNumber(bytes, 1, SIGNED_32, out)) return refuse(out, ANSWER_BAD_EXPTIME);
      return refuse(out, longKey ? ANSWER_BAD_FORMAT_AND_BLANK : ANSWER_BAD_FORMAT);
    case FORM_GET:
      return refuse(out, longKey ? ANSWER_BAD_FORMAT_AND_BLANK : ANSWER_BAD_FORMAT);
    case FORM_NUMBER: {
      readNoreply(bytes, out);
      if (isLong(1, out)) return refuse(out, ANSWER_BAD_FORMAT);
      const touches = row === TOUCH;
      if (!isNumber(bytes, 2, touches ? SIGNED_32 : UNSIGNED_64, out)) {
        return refuse(out, touches ? ANSWER_BAD_EXPTIME : ANSWER_BAD_DELTA);
      }
      return cut(3, -1, out);
    }
    case FORM_DELETE:
      readNoreply(bytes, out);
      return isLong(1, out) ? refuse(out, ANSWER_BAD_FORMAT) : cut(2, -1, out);
    case FORM_META:
      return refuse(out, flagFault(bytes, 2, out, row === MA));
    case FORM_META_SET: {
      const length = lengthAt(bytes, 2, out);
      if (length < 0 || !areFlagWords(bytes, 3, out)) return refuse(out, ANSWER_BAD_FORMAT);
      return refuse(out, flagFault(bytes, 3, out, false), length);
    }
    case FORM_VERBOSITY:
      readNoreply(bytes, out);
      return refuse(
        out,
        out.wordCount > 1 && isNumber(bytes, 1, UNSIGNED_32, out) ? ANSWER_OK : ANSWER_BAD_FORMAT,
      );
    case FORM_FLUSH_ALL:
      readNoreply(bytes, out);
      if (out.wordCount === 1 + out.noreply) return cut(1, -1, out);
      return isNumber(bytes, 1, SIGNED_32, out) ? cut(2, -1, out) : refuse(out, ANSWER_BAD_EXPTIME);
    case FORM_META_DEBUG:
      return refuse(out, ANSWER_BAD_FORMAT);
  }
  if (KIND[row] === REFUSED) {
    readNoreply(bytes, out);
    if (row === SHUTDOWN) return refuse(out, ANSWER_SHUTDOWN_NEWER);
    if (WITH_ARGUMENTS.has(row) && out.wordCount === 1) return refuse(out, ANSWER_ERROR);
    out.kind = REFUSED;
    out.answer = ANSWER[row]!;
  }
  // What is left has the answer that it had.
  return -1;
}

function refuse(out: MemcachedRequest, code: number, length = -1): number {
  out.answer = code;
  return length;
}

/** What is behind the first `words` words says nothing. If there is nothing, the line is one that 1.6.18 reads otherwise. */
function cut(words: number, length: number, out: MemcachedRequest): number {
  out.answer = ANSWER_BAD_FORMAT;
  if (out.wordCount < words) return length;
  out.wordCount = words;
  return CUT - 1 - length;
}

/** The value's length that a line has, of which `rereadLine` has returned CUT or less; -1 if no data block follows. */
export function lengthBehind(cut: number): number {
  return CUT - 1 - cut;
}

/** The words, those behind the last that is looked at left out. */
function readWords(bytes: Uint8Array, start: number, stop: number, out: MemcachedRequest): void {
  const { wordStarts, wordEnds } = out;
  let count = 0;
  for (let at = start; at < stop && count < WORDS_LOOKED_AT;) {
    if (bytes[at] === 32) {
      at++;
      continue;
    }
    wordStarts[count] = at;
    while (at < stop && bytes[at] !== 32) at++;
    wordEnds[count++] = at;
  }
  out.wordCount = count;
}

/** Has any word of a line too many bytes for a key? As it has been read before: gets may have very many. */
function hasLongKey({ wordStarts, wordEnds, wordCount }: MemcachedRequest): boolean {
  for (let i = 1; i < wordCount; i++) if (wordEnds[i]! - wordStarts[i]! > KEY_MAX) return true;
  return false;
}

function isLong(word: number, out: MemcachedRequest): boolean {
  return out.wordEnds[word]! - out.wordStarts[word]! > KEY_MAX;
}

function readNoreply(bytes: Uint8Array, out: MemcachedRequest): void {
  const last = out.wordCount - 1;
  const start = out.wordStarts[last]!;
  const end = out.wordEnds[last]!;
  if (end - start === NOREPLY.length && startsWith(bytes, start, end, NOREPLY)) out.noreply = 1;
}

function readUnknown(bytes: Uint8Array, out: MemcachedRequest): number {
  const { wordStarts, wordEnds, wordCount } = out;
  out.answer = ANSWER_ERROR;
  if (wordCount === 0) return -1;
  const last = wordCount - 1;
  // Ours: at the words that redis-server hangs up at.
  if (
    isHttpWord(bytes, wordStarts[0]!, wordEnds[0]!) ||
    last > 0 && startsWith(bytes, wordStarts[last]!, wordEnds[last]!, HTTP)
  ) {
    out.row = ROW_HTTP;
    out.answer = ANSWER_NONE;
    return -1;
  }
  readNoreply(bytes, out);
  return -1;
}

function readStore(bytes: Uint8Array, hasCas: boolean, out: MemcachedRequest): number {
  const { wordStarts, wordEnds } = out;
  const length = lengthAt(bytes, 4, out);
  if (length < 0) return refuse(out, ANSWER_BAD_FORMAT);
  readNoreply(bytes, out);
  const good = !isLong(1, out) && isUnsigned(bytes, wordStarts[2]!, wordEnds[2]!) &&
    isSigned(bytes, wordStarts[3]!, wordEnds[3]!) && (!hasCas || isNumber(bytes, 5, UNSIGNED_64, out));
  return good ? cut(hasCas ? 6 : 5, length, out) : refuse(out, ANSWER_BAD_FORMAT, length);
}

/** The length that a word says, -1 if it says none. */
function lengthAt(bytes: Uint8Array, word: number, out: MemcachedRequest): number {
  if (!isNumber(bytes, word, SIGNED_32, out)) return -1;
  const start = out.wordStarts[word]!;
  const negative = bytes[start] === 45;
  let length = 0;
  for (let at = start + (negative ? 1 : 0); at < out.wordEnds[word]!; at++) {
    length = length * 10 + bytes[at]! - 48;
  }
  return negative && length > 0 || length > LENGTH_MAX ? -1 : length;
}

/** Digits, with a minus where it may be negative: a minus alone is 0. Nothing wraps. */
function isNumber(bytes: Uint8Array, word: number, range: number, out: MemcachedRequest): boolean {
  if (word >= out.wordCount) return false;
  const start = out.wordStarts[word]!;
  const end = out.wordEnds[word]!;
  if (end - start > DIGITS[range]!) return false;
  let value = 0n;
  const first = range === SIGNED_32 && bytes[start] === 45 ? start + 1 : start;
  for (let at = first; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return false;
    value = value * 10n + BigInt(digit);
  }
  if (range === UNSIGNED_64) return value < 2n ** 64n;
  if (range === UNSIGNED_32) return value < 2n ** 32n;
  return value < 2n ** 31n || first > start && value === 2n ** 31n;
}

/** Does every word from `first` on begin as a flag may? If not, the line is none. */
function areFlagWords(bytes: Uint8Array, first: number, out: MemcachedRequest): boolean {
  for (let i = first; i < out.wordCount; i++) {
    const byte = bytes[out.wordStarts[i]!]!;
    if (!(byte > 64 && byte < 123 || byte >= 48 && byte <= 57)) return false;
  }
  return true;
}

/** What is wrong first with a meta line. @param adds `ma` has one answer for all that may be wrong with flags */
function flagFault(bytes: Uint8Array, first: number, out: MemcachedRequest, adds: boolean): number {
  if (!areFlagWords(bytes, first, out)) return ANSWER_BAD_FORMAT;
  const code = isLong(1, out) ? ANSWER_BAD_FORMAT : faultOf(bytes, first, out);
  return adds ? ANSWER_INVALID_OR_DUPLICATE_FLAG : code;
}

function faultOf(bytes: Uint8Array, first: number, out: MemcachedRequest): number {
  if (out.wordCount > META_WORDS) return ANSWER_MG_FLAGS_TOO_LONG;
  const seen = new Set<number>();
  for (let i = first; i < out.wordCount; i++) {
    const flag = bytes[out.wordStarts[i]!]!;
    if (seen.has(flag)) return ANSWER_DUPLICATE_FLAG;
    seen.add(flag);
    if (!FLAGS.has(flag)) return ANSWER_INVALID_FLAG;
  }
  // These versions would take it.
  return out.wordCount === META_WORDS ? ANSWER_MG_FLAGS_TOO_LONG : ANSWER_BAD_FORMAT;
}
