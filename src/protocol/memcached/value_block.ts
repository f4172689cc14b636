/**
 * One value in a reply to get, gets, gat or gats that scanReply has framed:
 *
 *   VALUE key flags length[ cas]\r\n
 *   data\r\n
 */
import { encode } from "../../bytes/ascii.ts";

/** What ends the values of a reply. */
export const END: Uint8Array = encode("END\r\n");

const V = 86;
const SPACE = 32;
const LF = 10;
/** Bytes of "VALUE ". */
const WORD = 6;

/** True if a block for the key `keys[keyStart, keyEnd)` starts at `start`; its line may end behind `end`, its key may not. */
export function blockHasKey(
  bytes: Uint8Array,
  start: number,
  end: number,
  keys: Uint8Array,
  keyStart: number,
  keyEnd: number,
): boolean {
  // A V is VALUE: scanReply has seen to it.
  let at = start + WORD;
  if (at + keyEnd - keyStart >= end || bytes[start] !== V) return false;
  for (let i = keyStart; i < keyEnd; i++) if (bytes[at++] !== keys[i]) return false;
  return bytes[at] === SPACE;
}

/** Offset past the block at `start`, whose key has `keyLength` bytes; -1 if it does not end at `end` or before. */
export function blockEnd(bytes: Uint8Array, start: number, keyLength: number, end: number): number {
  // At the flags.
  let at = start + WORD + keyLength + 1;
  while (at < end && bytes[at] !== SPACE && bytes[at] !== LF) at++;
  let size = 0;
  for (at++; at < end && bytes[at]! >= 48 && bytes[at]! <= 57; at++) size = size * 10 + bytes[at]! - 48;
  while (at < end && bytes[at] !== LF) at++;
  at += 1 + size + 2;
  return at <= end ? at : -1;
}
