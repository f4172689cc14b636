/** Bytes as pairs of hex digits, and back. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** `bytes[start, end)`, in small letters. */
export function hexOf(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  let text = "";
  for (let at = start; at < end; at++) text += HEX[bytes[at]!];
  return text;
}

/** What `digits[start, end)` spell, in letters of either size; null if they are no pairs of hex digits. */
export function unhex(digits: Uint8Array, start = 0, end: number = digits.length): Uint8Array | null {
  if ((end - start) % 2 === 1) return null;
  const bytes = new Uint8Array((end - start) >> 1);
  for (let i = 0; i < bytes.length; i++) {
    const high = digitOf(digits[start + 2 * i]!);
    const low = digitOf(digits[start + 2 * i + 1]!);
    if (high < 0 || low < 0) return null;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** -1: it is none. */
function digitOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}
