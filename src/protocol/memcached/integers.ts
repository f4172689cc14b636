/**
 * Whether memcached would take a word for a number, and which 32 bits it would see.
 *
 * memcached reads numbers with strtol, strtoul and strtoull into 64 bits, lets white space stand before them
 * and anything after white space behind them ("\t5", "5\tjunk"), then keeps the low 32 bits of lengths, times
 * and flags: `set k 0 0 4294967299` really is a value of 3 bytes. Since a line whose numbers fail is not
 * followed by a data block, the proxy has to agree to the last case, or the two would disagree about where the
 * next request starts. Source: safe_strtol, safe_strtoul, safe_strtoull of 1.6; C locale; 64-bit long.
 */

/** The word is a number of the wanted kind; `low32` is set. */
let low32 = 0;

/** Low 32 bits, signed, of the last word for which `isSigned` or `isUnsigned` said true. */
export function lowBits(): number {
  return low32;
}

function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13);
}

/** 10^9: numbers are held as high · 10^9 + low, exact up to 2^64. */
const HALF = 1_000_000_000;

/** True if `bytes[start, end)` passes memcached's safe_strtol: a 64-bit signed number. */
export function isSigned(bytes: Uint8Array, start: number, end: number): boolean {
  return parse(bytes, start, end, true);
}

/** True if `bytes[start, end)` passes memcached's safe_strtoul or safe_strtoull (the same on 64-bit machines). */
export function isUnsigned(bytes: Uint8Array, start: number, end: number): boolean {
  return parse(bytes, start, end, false);
}

/** The digits of a number that fits into 31 bits whatever they are. */
const PLAIN_MAX = 9;

/** The last word asked about was plain. */
let plain = false;

function parse(bytes: Uint8Array, start: number, end: number, signed: boolean): boolean {
  plain = parsePlain(bytes, start, end);
  return plain || parseAny(bytes, start, end, signed);
}

// What `isStrict` may expect of a word.
export const UNSIGNED_32 = 0;
export const SIGNED_32 = 1;
export const UNSIGNED_64 = 2;

/**
 * Whether every memcached reads the number alike, of the word for which `isSigned` or `isUnsigned` has just said true: since
 * 1.6.40 nothing but digits is taken (and a minus), and nothing wraps. Plain digits, as few as the range has, within it.
 */
export function isStrict(bytes: Uint8Array, start: number, end: number, range: number): boolean {
  if (plain) return true;
  let at = start;
  if (range === SIGNED_32 && bytes[at] === 45) at++;
  const digits = end - at;
  if (digits < 1 || digits > (range === UNSIGNED_64 ? 20 : 10)) return false;
  let value = 0;
  for (; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return false;
    value = value * 10 + digit;
  }
  // Whether 20 digits are below 2^64 has been asked before.
  return range === UNSIGNED_64 || value <= (range === SIGNED_32 ? 0x7fffffff : 0xffffffff);
}

/** True for one to nine digits and nothing else, which is what clients send. */
function parsePlain(bytes: Uint8Array, start: number, end: number): boolean {
  if (end === start || end - start > PLAIN_MAX) return false;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return false;
    value = value * 10 + digit;
  }
  low32 = value;
  return true;
}

function parseAny(bytes: Uint8Array, start: number, end: number, signed: boolean): boolean {
  let at = start;
  while (at < end && isSpace(bytes[at]!)) at++;
  let negative = false;
  if (at < end && (bytes[at] === 45 || bytes[at] === 43)) negative = bytes[at++] === 45;
  const digits = at;
  let high = 0;
  let low = 0;
  let overflow = false;
  for (; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) break;
    low = low * 10 + digit;
    const carry = Math.floor(low / HALF);
    low -= carry * HALF;
    high = high * 10 + carry;
    if (high > 18446744073) {
      overflow = true;
      high = 18446744073;
    }
  }
  if (at === digits || overflow) return false;
  if (at < end && !isSpace(bytes[at]!)) return false;
  // 2^63 = 9223372036 854775808, 2^64 = 18446744073 709551616.
  const beyondSigned = high > 9223372036 ||
    (high === 9223372036 && low > (signed && negative ? 854775808 : 854775807));
  if (signed) {
    if (beyondSigned) return false;
  } else {
    if (high === 18446744073 && low > 709551615) return false;
    // strtoul negates without complaint; memcached then refuses what looks negative and has a '-' anywhere.
    const looksNegative = negative
      ? high !== 0 || low !== 0 ? !(high > 9223372036 || (high === 9223372036 && low > 854775808)) : false
      : beyondSigned;
    if (looksNegative && hasMinus(bytes, start, end)) return false;
  }
  const magnitude = (Math.imul(high, HALF) + low) | 0;
  low32 = negative ? -magnitude | 0 : magnitude;
  return true;
}

function hasMinus(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 45) return true;
  return false;
}
