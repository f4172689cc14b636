/**
 * murmur: Austin Appleby's MurmurHash2, 32 bits.
 *
 *   width 32 bits · m 0x5bd1e995 · r 24 · seed 0xdeadbeef × length (mod 2^32), as libmemcached has it ·
 *   blocks of 4 bytes, little-endian, unsigned
 *   check "123456789": 0xb7760690
 *
 * Source: twemproxy 0.5.0, nc_murmur.c.
 */
import { partialWordAt, wordAt } from "./word.ts";

const M = 0x5bd1e995;

export function murmur(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  let h = Math.imul(0xdeadbeef, length) ^ length;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    let k = Math.imul(wordAt(bytes, i), M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  if (i < end) h = Math.imul(h ^ partialWordAt(bytes, i, end), M);
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return (h ^ (h >>> 15)) >>> 0;
}
