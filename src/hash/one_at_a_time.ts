/**
 * one_at_a_time: Bob Jenkins' first byte-wise hash.
 *
 *   width 32 bits · initial value 0 · no seed · bytes sign-extended (see hash.ts)
 *   per byte: h += byte; h += h << 10; h ^= h >>> 6 · end: h += h << 3; h ^= h >>> 11; h += h << 15
 *   check "123456789": 0xc66b58c5
 *
 * Source: twemproxy 0.5.0, nc_one_at_a_time.c.
 */
export function oneAtATime(bytes: Uint8Array, start: number, end: number): number {
  let h = 0;
  for (let i = start; i < end; i++) {
    h = (h + ((bytes[i]! << 24) >> 24)) | 0;
    h = (h + (h << 10)) | 0;
    h ^= h >>> 6;
  }
  h = (h + (h << 3)) | 0;
  h ^= h >>> 11;
  return (h + (h << 15)) >>> 0;
}
