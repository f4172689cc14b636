/**
 * fnv1_64: Fowler, Noll and Vo's hash 1, 64 bits, cut to 32.
 *
 *   width low 32 bits of a 64-bit FNV; the prime is 2^40 + 0x1b3, so the low half never needs the high half
 *   initial value 0x84222325 (of 0xcbf29ce484222325) · prime 0x1b3 · bytes sign-extended (see hash.ts)
 *   per byte: h *= prime; h ^= byte
 *   check "123456789": 0x2bf916d6
 *
 * Source: twemproxy 0.5.0, nc_fnv.c.
 */
/** As engines hold it in a register, from the first byte on. */
const START = 0x84222325 | 0;

export function fnv1_64(bytes: Uint8Array, start: number, end: number): number {
  let h = START;
  for (let i = start; i < end; i++) {
    h = Math.imul(h, 0x1b3) ^ ((bytes[i]! << 24) >> 24);
  }
  return h >>> 0;
}
