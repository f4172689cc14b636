/** Decimal numbers in byte arrays. Lengths and counts of both protocols; no strings on the way. */

/** Offset past the digits of `value` (integer, 0 ≤ value < 2^53) written to `to` at `at`. */
export function writeDecimal(to: Uint8Array, at: number, value: number): number {
  const end = at + decimalLength(value);
  let i = end;
  do {
    const tens = Math.floor(value / 10);
    to[--i] = 48 + (value - tens * 10);
    value = tens;
  } while (value > 0);
  return end;
}

/** How many digits `value` (integer, 0 ≤ value < 2^53) has. */
export function decimalLength(value: number): number {
  let digits = 1;
  while (value >= 10) {
    value = Math.floor(value / 10);
    digits++;
  }
  return digits;
}

/**
 * The number that `bytes[start, end)` spells: digits only, at most 15 of them.
 * @returns -1 for anything else (empty, sign, letter, too long)
 */
export function parseDecimal(bytes: Uint8Array, start: number, end: number): number {
  if (end <= start || end - start > 15) return -1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}
