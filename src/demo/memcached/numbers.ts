/** Numbers in memcached's command lines, as its C functions take them. */

/** A signed number cut to 32 bits, or null if the text is none. */
export function parseSigned(text: string): number | null {
  if (!/^[+-]?\d+$/.test(text)) return null;
  const value = BigInt(text.replace("+", ""));
  return value >= 2n ** 63n || value < -(2n ** 63n) ? null : Number(BigInt.asIntN(32, value));
}

/** An unsigned number cut to 32 bits, or null. */
export function parseFlags(text: string): number | null {
  const value = parseUnsigned(text);
  return value === null || value >= 2n ** 63n ? null : Number(BigInt.asUintN(32, value));
}

/** An unsigned number of 64 bits, or null. */
export function parseUnsigned(text: string): bigint | null {
  if (!/^\+?\d+$/.test(text)) return null;
  const value = BigInt(text.replace("+", ""));
  return value < 2n ** 64n ? value : null;
}
