/**
 * The twelve hash functions by their configuration names; one file each, all after twemproxy 0.5.0 on x86-64.
 *
 *   key bytes ──► hash tag (ring/) ──► one of these ──► uint32 ──► ring (ring/)
 *
 * Signs: twemproxy is C with plain `char`, which x86 sign-extends: byte 0x80..0xff counts as -128..-1 in
 * one_at_a_time, fnv* and hsieh. Linux on ARM has an unsigned `char`, so a twemproxy built there places keys
 * with such bytes differently. We always give the x86 values, on every machine. hash.json notes the ARM
 * values (`unsigned_char_variant`); nothing here computes them.
 *
 * Checked against tests/vectors/hash.json.
 */
import { crc16 } from "./crc16.ts";
import { crc32 } from "./crc32.ts";
import { crc32a } from "./crc32a.ts";
import { fnv1_32 } from "./fnv1_32.ts";
import { fnv1_64 } from "./fnv1_64.ts";
import { fnv1a_32 } from "./fnv1a_32.ts";
import { fnv1a_64 } from "./fnv1a_64.ts";
import { hsieh } from "./hsieh.ts";
import { jenkins } from "./jenkins.ts";
import { md5 } from "./md5.ts";
import { murmur } from "./murmur.ts";
import { oneAtATime } from "./one_at_a_time.ts";

/**
 * Hashes `bytes[start, end)`; bytes are borrowed, nothing outside the range is read, nothing is allocated.
 * Never fails. The empty range has a value too, but twemproxy does not route by it: see ring/placement.ts.
 * @returns an unsigned 32-bit integer
 */
export type Hash = (bytes: Uint8Array, start: number, end: number) => number;

/** In the order in which twemproxy lists them. */
export const HASHES = {
  one_at_a_time: oneAtATime,
  md5,
  crc16,
  crc32,
  crc32a,
  fnv1_64,
  fnv1a_64,
  fnv1_32,
  fnv1a_32,
  hsieh,
  murmur,
  jenkins,
} as const satisfies Readonly<Record<string, Hash>>;

export type HashName = keyof typeof HASHES;

/** How many values a hash may have: 0 ≤ value < this. crc32 keeps fifteen bits, all others 32. */
export function hashSpace(name: HashName): number {
  return name === "crc32" ? 2 ** 15 : 2 ** 32;
}
