/**
 * md5: the first four bytes of an MD5 digest, and the whole digest for ketama's points.
 *
 *   width 32 bits (of 128) · digest bytes 0..3 read as a little-endian word · blocks of 64 bytes
 *   check "123456789": 0x94e7f925 (digest 25f9e794323b453885f5181f1b624d0b)
 *
 * An own implementation because node:crypto makes a hash object, a digest array and a copy for every key;
 * this one works in two module-wide scratch arrays (no call can interrupt another). Not for secrets.
 * Source: RFC 1321; twemproxy 0.5.0, nc_md5.c.
 */
import { wordAt } from "./word.ts";

/** K[i] = floor(2^32 × |sin(i + 1)|); literals, since engines may round Math.sin differently. */
// deno-fmt-ignore
const K = Int32Array.of(
  0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
  0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
  0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
  0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
  0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
  0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
  0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
  0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
);

const block = new Int32Array(16);
const state = new Int32Array(4);

export function md5(bytes: Uint8Array, start: number, end: number): number {
  md5Into(bytes, start, end, state);
  return state[0]! >>> 0;
}

/**
 * The whole digest of `bytes[start, end)`.
 * @param bytes borrowed
 * @param out owned by the caller; its first four elements become the digest as little-endian words (digest
 *   bytes 0..3, 4..7, 8..11, 12..15), signed: `>>> 0` makes a ketama point of one
 */
export function md5Into(bytes: Uint8Array, start: number, end: number, out: Int32Array): void {
  out[0] = 0x67452301;
  out[1] = 0xefcdab89 | 0;
  out[2] = 0x98badcfe | 0;
  out[3] = 0x10325476;
  let i = start;
  for (; i + 64 <= end; i += 64) {
    for (let w = 0; w < 16; w++) block[w] = wordAt(bytes, i + w * 4);
    compress(out);
  }

  // The tail: its bytes, one set bit, zeros, and the length in bits as the last two words.
  for (let w = 0; w < 16; w++) block[w] = 0;
  const tail = end - i;
  for (let b = 0; b < tail; b++) block[b >> 2]! |= bytes[i + b]! << ((b & 3) << 3);
  block[tail >> 2]! |= 0x80 << ((tail & 3) << 3);
  if (tail >= 56) {
    compress(out);
    for (let w = 0; w < 14; w++) block[w] = 0;
  }
  const length = end - start;
  block[14] = length << 3;
  block[15] = Math.floor(length / 0x20000000);
  compress(out);
}

/** Stirs `block` into the digest: four rounds of sixteen steps, written four steps a time so that shifts are constants. */
function compress(digest: Int32Array): void {
  let a = digest[0]!;
  let b = digest[1]!;
  let c = digest[2]!;
  let d = digest[3]!;
  for (let i = 0; i < 16; i += 4) {
    a = step(a, (b & c) | (~b & d), b, K[i]!, block[i]!, 7);
    d = step(d, (a & b) | (~a & c), a, K[i + 1]!, block[i + 1]!, 12);
    c = step(c, (d & a) | (~d & b), d, K[i + 2]!, block[i + 2]!, 17);
    b = step(b, (c & d) | (~c & a), c, K[i + 3]!, block[i + 3]!, 22);
  }
  for (let i = 16; i < 32; i += 4) {
    a = step(a, (d & b) | (~d & c), b, K[i]!, block[(5 * i + 1) & 15]!, 5);
    d = step(d, (c & a) | (~c & b), a, K[i + 1]!, block[(5 * i + 6) & 15]!, 9);
    c = step(c, (b & d) | (~b & a), d, K[i + 2]!, block[(5 * i + 11) & 15]!, 14);
    b = step(b, (a & c) | (~a & d), c, K[i + 3]!, block[(5 * i + 16) & 15]!, 20);
  }
  for (let i = 32; i < 48; i += 4) {
    a = step(a, b ^ c ^ d, b, K[i]!, block[(3 * i + 5) & 15]!, 4);
    d = step(d, a ^ b ^ c, a, K[i + 1]!, block[(3 * i + 8) & 15]!, 11);
    c = step(c, d ^ a ^ b, d, K[i + 2]!, block[(3 * i + 11) & 15]!, 16);
    b = step(b, c ^ d ^ a, c, K[i + 3]!, block[(3 * i + 14) & 15]!, 23);
  }
  for (let i = 48; i < 64; i += 4) {
    a = step(a, c ^ (b | ~d), b, K[i]!, block[(7 * i) & 15]!, 6);
    d = step(d, b ^ (a | ~c), a, K[i + 1]!, block[(7 * i + 7) & 15]!, 10);
    c = step(c, a ^ (d | ~b), d, K[i + 2]!, block[(7 * i + 14) & 15]!, 15);
    b = step(b, d ^ (c | ~a), c, K[i + 3]!, block[(7 * i + 21) & 15]!, 21);
  }
  digest[0]! += a;
  digest[1]! += b;
  digest[2]! += c;
  digest[3]! += d;
}

function step(word: number, mixed: number, next: number, k: number, x: number, bits: number): number {
  const sum = (((word + mixed) | 0) + ((k + x) | 0)) | 0;
  return (((sum << bits) | (sum >>> (32 - bits))) + next) | 0;
}
