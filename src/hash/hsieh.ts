/**
 * hsieh: Paul Hsieh's SuperFastHash, started at 0 instead of at the length.
 *
 *   width 32 bits · initial value 0 · blocks of 4 bytes as two little-endian halves · empty input: 0
 *   tail of 3: the third byte is sign-extended (see hash.ts); tail of 1: the byte is unsigned
 *   check "123456789": 0xe4fc1670
 *
 * Source: twemproxy 0.5.0, nc_hsieh.c.
 */
export function hsieh(bytes: Uint8Array, start: number, end: number): number {
  let h = 0;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    h = (h + halfAt(bytes, i)) | 0;
    h = (h << 16) ^ (halfAt(bytes, i + 2) << 11) ^ h;
    h = (h + (h >>> 11)) | 0;
  }
  switch (end - i) {
    case 3:
      h = (h + halfAt(bytes, i)) | 0;
      h ^= h << 16;
      h ^= ((bytes[i + 2]! << 24) >> 24) << 18;
      h = (h + (h >>> 11)) | 0;
      break;
    case 2:
      h = (h + halfAt(bytes, i)) | 0;
      h ^= h << 11;
      h = (h + (h >>> 17)) | 0;
      break;
    case 1:
      h = (h + bytes[i]!) | 0;
      h ^= h << 10;
      h = (h + (h >>> 1)) | 0;
      break;
  }
  // Forces avalanching of the last bits; 0 stays 0, which is the value of the empty input.
  h ^= h << 3;
  h = (h + (h >>> 5)) | 0;
  h ^= h << 4;
  h = (h + (h >>> 17)) | 0;
  h ^= h << 25;
  return (h + (h >>> 6)) >>> 0;
}

function halfAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}
