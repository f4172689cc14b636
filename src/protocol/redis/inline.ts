/**
 * Inline commands: `SET key "a value"\r\n`, what people type into telnet.
 *
 * They are turned into the array form before anything else looks at them, so servers only ever see arrays.
 * Quoting is that of sdssplitargs in Redis 7: "…" with \n \r \t \b \a \xHH, '…' with \' only; a quote may open inside a
 * word, and a closing one must be followed by a space or the end. Vertical tab and form feed separate words but do not
 * end one, and a NUL ends the line, as in C. (Redis 7 itself waits on for a line end without a NUL before it.) Checked
 * against a redis-server in tests/real/redis_inline_test.ts. Not a hot path.
 */
import { commandOf } from "./encode.ts";
import { BAD_QUOTES, INLINE_TOO_LONG, NEED_MORE } from "./request.ts";

/** As PROTO_INLINE_MAX_SIZE in Redis. */
export const INLINE_SIZE_MAX = 64 * 1024;

/**
 * Finds the end of the line at `start`.
 * @param from where to go on searching (bytes before it hold no LF)
 * @returns offset just past its LF, NEED_MORE or INLINE_TOO_LONG
 */
export function scanInline(bytes: Uint8Array, start: number, end: number, from: number): number {
  const limit = Math.min(end, start + INLINE_SIZE_MAX);
  for (let at = from; at < limit; at++) if (bytes[at] === 10) return at + 1;
  return end - start >= INLINE_SIZE_MAX ? INLINE_TOO_LONG : NEED_MORE;
}

/**
 * The line `bytes[start, end)`, its LF included, in array form.
 * @returns owned bytes; empty for a blank line; BAD_QUOTES
 */
export function inlineToArray(bytes: Uint8Array, start: number, end: number): Uint8Array | typeof BAD_QUOTES {
  end--;
  if (end > start && bytes[end - 1] === 13) end--;
  const nul = bytes.indexOf(0, start);
  if (nul >= 0 && nul < end) end = nul;
  const words: number[][] = [];
  let at = start;
  for (;;) {
    while (at < end && isSpace(bytes[at]!)) at++;
    if (at >= end) break;
    const word: number[] = [];
    at = readWord(bytes, at, end, word);
    if (at < 0) return BAD_QUOTES;
    words.push(word);
  }
  return toArray(words);
}

/** Offset past the word at `at`, whose bytes are appended to `word`; -1 for unbalanced quotes. */
function readWord(bytes: Uint8Array, at: number, end: number, word: number[]): number {
  while (at < end && !endsWord(bytes[at]!)) {
    const b = bytes[at]!;
    if (b === 34 || b === 39) {
      at = b === 34 ? readDouble(bytes, at + 1, end, word) : readSingle(bytes, at + 1, end, word);
      if (at < 0 || (at < end && !isSpace(bytes[at]!))) return -1;
      return at;
    }
    word.push(b);
    at++;
  }
  return at;
}

const ESCAPES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, b: 8, a: 7 };

function readDouble(bytes: Uint8Array, at: number, end: number, word: number[]): number {
  for (; at < end; at++) {
    const b = bytes[at]!;
    if (b === 34) return at + 1;
    if (b !== 92 || at + 1 >= end) {
      word.push(b);
      continue;
    }
    const hex = bytes[at + 1] === 120 ? hexByte(bytes, at + 2, end) : -1;
    if (hex >= 0) {
      word.push(hex);
      at += 3;
      continue;
    }
    at++;
    word.push(ESCAPES[String.fromCharCode(bytes[at]!)] ?? bytes[at]!);
  }
  return -1;
}

function readSingle(bytes: Uint8Array, at: number, end: number, word: number[]): number {
  for (; at < end; at++) {
    if (bytes[at] === 92 && bytes[at + 1] === 39 && at + 1 < end) word.push(bytes[++at]!);
    else if (bytes[at] === 39) return at + 1;
    else word.push(bytes[at]!);
  }
  return -1;
}

function hexByte(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 >= end) return -1;
  const text = String.fromCharCode(bytes[at]!, bytes[at + 1]!);
  return /^[0-9a-fA-F]{2}$/.test(text) ? parseInt(text, 16) : -1;
}

function isSpace(b: number): boolean {
  return b === 32 || (b >= 9 && b <= 13);
}

function endsWord(b: number): boolean {
  return b === 32 || b === 9 || b === 10 || b === 13;
}

function toArray(words: number[][]): Uint8Array {
  return words.length === 0 ? new Uint8Array(0) : commandOf(words.map((word) => Uint8Array.from(word)));
}
