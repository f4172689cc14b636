/**
 * jenkins: Bob Jenkins' lookup3, the little-endian byte version (hashlittle).
 *
 *   width 32 bits · initval 13 · a = b = c = 0xdeadbeef + length + initval · blocks of 12 bytes, little-endian,
 *   unsigned; the last 1 to 12 bytes are padded with zeros · empty input: c as it started, not mixed
 *   check "123456789": 0x19777af6
 *
 * Source: twemproxy 0.5.0, nc_jenkins.c.
 */
import { partialWordAt, wordAt } from "./word.ts";

export function jenkins(bytes: Uint8Array, start: number, end: number): number {
  let a = (0xdeadbeef + (end - start) + 13) | 0;
  let b = a;
  let c = a;
  if (start >= end) return c >>> 0;
  let i = start;
  // More than 12, not 12 or more: a last whole block goes through the final mix, not through this one.
  for (; end - i > 12; i += 12) {
    a = (a + wordAt(bytes, i)) | 0;
    b = (b + wordAt(bytes, i + 4)) | 0;
    c = (c + wordAt(bytes, i + 8)) | 0;
    a = ((a - c) | 0) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  a = (a + partialWordAt(bytes, i, end)) | 0;
  b = (b + partialWordAt(bytes, i + 4, end)) | 0;
  c = (c + partialWordAt(bytes, i + 8, end)) | 0;
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  return ((c ^ b) - rotate(b, 24)) >>> 0;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
