/**
 * Keys of meta commands with the `b` flag: hashed as the bytes that their base64 stands for, so that a key
 * lands on the same server whether a client sends it as text or as base64.
 *
 * Follows memcached 1.6's base64_decode, which is lenient: bytes outside the alphabet are skipped, "=" counts
 * as a zero wherever it stands, and the block that holds one ends the key.
 */

/** No byte of a key decodes to this. */
const SKIP = 0x80;
const VALUES = new Uint8Array(256).fill(SKIP);
[..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].forEach((letter, value) => {
  VALUES[letter.charCodeAt(0)] = value;
});
VALUES["=".charCodeAt(0)] = 0;

/**
 * Writes what the base64 text `bytes[start, end)` stands for to the front of `to`.
 *
 * @param to at least ¾ of the text's length
 * @returns how many bytes were written; 0 if memcached would say "error decoding key"
 */
export function decodeKey(bytes: Uint8Array, start: number, end: number, to: Uint8Array): number {
  let count = 0;
  for (let i = start; i < end; i++) if (VALUES[bytes[i]!] !== SKIP) count++;
  if (count === 0 || count % 4 !== 0) return 0;
  let at = 0;
  let held = 0;
  let bits = 0;
  let pad = 0;
  for (let i = start; i < end; i++) {
    const value = VALUES[bytes[i]!]!;
    if (value === SKIP) continue;
    if (bytes[i] === 61) pad++;
    bits = (bits << 6) | value;
    if (++held < 4) continue;
    if (pad > 2) return 0;
    to[at++] = bits >> 16;
    if (pad < 2) to[at++] = bits >> 8;
    if (pad < 1) to[at++] = bits;
    if (pad > 0) break;
    held = 0;
    bits = 0;
  }
  return at;
}

const ALPHABET = Uint8Array.from(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
  (letter) => letter.charCodeAt(0),
);
const PAD = 61;

/**
 * Writes the key `bytes[start, end)` in base64 to `to` at `at`.
 * @returns the offset past it: 4 bytes for every 3, begun ones too
 */
export function encodeKey(
  bytes: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): number {
  for (let i = start; i < end; i += 3) {
    const bits = bytes[i]! << 16 | (i + 1 < end ? bytes[i + 1]! << 8 : 0) | (i + 2 < end ? bytes[i + 2]! : 0);
    to[at++] = ALPHABET[bits >> 18]!;
    to[at++] = ALPHABET[bits >> 12 & 63]!;
    to[at++] = i + 1 < end ? ALPHABET[bits >> 6 & 63]! : PAD;
    to[at++] = i + 2 < end ? ALPHABET[bits & 63]! : PAD;
  }
  return at;
}
