/** The twelve hash functions by their configuration names; one file each, all after twemproxy 0.5.0 on x86-64. */

/**
 * Hashes `bytes[start, end)`.
 * @returns an unsigned 32-bit integer
 */
export type Hash = (bytes: Uint8Array, start: number, end: number) => number;
