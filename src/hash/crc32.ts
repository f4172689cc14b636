/**
 * crc32: fifteen bits of CRC-32, as libmemcached cut it.
 *
 *   width 15 bits: bits 16..30 of crc32a (its parameters are there), so 0 ≤ value ≤ 32767
 *   check "123456789": 0x4bf4
 *
 * With ketama nearly every key falls before the first point and lands on one server (200 of 200 keys seen);
 * it is kept because pools with modula use it. crc32a is the whole CRC.
 * Source: twemproxy 0.5.0, nc_crc32.c (hash_crc32).
 */
import { crc32a } from "./crc32a.ts";

export function crc32(bytes: Uint8Array, start: number, end: number): number {
  return (crc32a(bytes, start, end) >>> 16) & 0x7fff;
}
