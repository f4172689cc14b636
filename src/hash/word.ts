/** Little-endian 32-bit words out of byte arrays at any offset, as the block hashes (md5, murmur, jenkins) read them. */

/** The word at `bytes[at, at + 4)`, as a signed 32-bit integer. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** The word at `bytes[at, at + 4)` with every byte from `end` on taken as zero and not read; `at` may be past `end`. */
export function partialWordAt(bytes: Uint8Array, at: number, end: number): number {
  const length = end - at;
  if (length >= 4) return wordAt(bytes, at);
  let word = 0;
  if (length > 2) word = bytes[at + 2]! << 16;
  if (length > 1) word |= bytes[at + 1]! << 8;
  if (length > 0) word |= bytes[at]!;
  return word;
}
