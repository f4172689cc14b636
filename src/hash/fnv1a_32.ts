/**
 * fnv1a_32: Fowler, Noll and Vo's hash 1a, 32 bits.
 *
 *   width 32 bits
 *   initial value 0x811c9dc5 · prime 0x01000193 · bytes sign-extended (see hash.ts)
 *   per byte: h ^= byte; h *= prime
 *   check "123456789": 0xbb86b11c
 *
 * Source: twemproxy 0.5.0, nc_fnv.c.
 */
/** As engines hold it in a register, from the first byte on. */
const START = 0x811c9dc5 | 0;

export function fnv1a_32(bytes: Uint8Array, start: number, end: number): number {
  let h = START;
  for (let i = start; i < end; i++) {
    h = Math.imul(h ^ ((bytes[i]! << 24) >> 24), 0x01000193);
  }
  return h >>> 0;
}
