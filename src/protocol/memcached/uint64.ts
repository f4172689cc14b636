/**
 * Unsigned 64-bit integers as two unsigned halves, and how they are spelled: cas values, deltas and initial values, which are
 * small most of the time.
 */
import { latin1 } from "../../bytes/ascii.ts";
import { parseDecimal, writeDecimal } from "../../bytes/decimal.ts";

/** Above this half a number is no safe integer. */
const HIGH_SAFE = 0x200000;
const TWO_32 = 0x100000000;

/** The halves of the number that `readUint64` read last. */
export const read = { high: 0, low: 0 };

/** Offset past the digits of `high` · 2^32 + `low`, written to `to` at `at`: 20 at most. */
export function writeUint64(to: Uint8Array, at: number, high: number, low: number): number {
  if (high < HIGH_SAFE) return writeDecimal(to, at, high * TWO_32 + low);
  const text = ((BigInt(high) << 32n) | BigInt(low)).toString();
  for (let i = 0; i < text.length; i++) to[at++] = text.charCodeAt(i);
  return at;
}

/** Reads the digits `bytes[start, end)` into `read`. False if they are none, or too large a number. */
export function readUint64(bytes: Uint8Array, start: number, end: number): boolean {
  const value = parseDecimal(bytes, start, end);
  if (value >= 0) {
    read.high = value < TWO_32 ? 0 : Math.floor(value / TWO_32);
    read.low = value >>> 0;
    return true;
  }
  if (end - start < 16 || end - start > 20) return false;
  for (let i = start; i < end; i++) if (bytes[i]! < 48 || bytes[i]! > 57) return false;
  const big = BigInt(latin1(bytes, start, end));
  read.high = Number(big >> 32n);
  read.low = Number(big & 0xffffffffn);
  return read.high < TWO_32;
}
