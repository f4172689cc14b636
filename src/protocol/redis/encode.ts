/** The one writer of Redis commands: what the proxy itself says to servers. For constants and the control plane. */
import { copy } from "../../bytes/ascii.ts";
import { decimalLength, writeDecimal } from "../../bytes/decimal.ts";

/** An argument; of a text, one byte a character. */
export type Word = string | number | Uint8Array;

/** A whole command; owned. */
export function command(...words: readonly Word[]): Uint8Array {
  return write(words.length, words);
}

/** As `command`, for however many words. */
export function commandOf(words: readonly Word[]): Uint8Array {
  return write(words.length, words);
}

/** The beginning of a command of `count` words, of which these are the first: the others are written by whoever has them. Owned. */
export function commandHead(count: number, ...words: readonly Word[]): Uint8Array {
  return write(count, words);
}

function write(count: number, words: readonly Word[]): Uint8Array {
  let size = headLength(count);
  for (const word of words) size += bulkLength(word);
  const bytes = new Uint8Array(size);
  let at = writeHead(bytes, 0, 42, count);
  for (const word of words) at = writeBulk(bytes, at, word);
  return bytes;
}

/** One word, as a bulk string; owned. */
export function bulk(word: Word): Uint8Array {
  const bytes = new Uint8Array(bulkLength(word));
  writeBulk(bytes, 0, word);
  return bytes;
}

function bulkLength(word: Word): number {
  const size = typeof word === "number" ? String(word).length : word.length;
  return headLength(size) + size + 2;
}

function headLength(count: number): number {
  return 1 + decimalLength(count) + 2;
}

/** @param type `*` or `$` */
function writeHead(to: Uint8Array, at: number, type: number, count: number): number {
  to[at] = type;
  return writeEnd(to, writeDecimal(to, at + 1, count));
}

function writeBulk(to: Uint8Array, at: number, word: Word): number {
  if (typeof word === "number") return writeBulk(to, at, String(word));
  at = writeHead(to, at, 36, word.length);
  if (typeof word !== "string") at = copy(to, at, word, 0, word.length);
  else for (let i = 0; i < word.length; i++) to[at++] = word.charCodeAt(i);
  return writeEnd(to, at);
}

function writeEnd(to: Uint8Array, at: number): number {
  to[at] = 13;
  to[at + 1] = 10;
  return at + 2;
}
