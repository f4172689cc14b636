/**
 * Arrays for bytes under way, used again and again: one pool a thread, in sizes of CHUNK_MIN × 2^k.
 *
 * A fresh array of 64 KiB costs more than copying 64 KiB into a warm one (Bun: 2.4 µs to make, 0.6 to fill, and the
 * kernel's page faults on top), and somebody has to collect it. So what is received and sent is copied into these.
 */

export const CHUNK_MIN = 2 * 1024;
/** Larger arrays are made for the purpose, with anything in them, and left to the collector. */
export const CHUNK_MAX = 2 * 1024 * 1024;
/** How many bytes of unused chunks are kept. */
const POOL_BYTES_MAX = 16 * 1024 * 1024;

/** Makes an array whose memory nobody has touched: it costs memory page by page, as it is written to. */
let makeUntouched = (size: number): Uint8Array => new Uint8Array(size);

/** Lets the runtime bring a way that does not fill the array with zeros first. */
export function useUntouched(make: (size: number) => Uint8Array): void {
  makeUntouched = make;
}

const pool: Uint8Array[][] = [];
let pooledBytes = 0;
let poisoned = false;

function sizeClass(size: number): number {
  return size <= CHUNK_MIN ? 0 : 32 - Math.clz32((size - 1) / CHUNK_MIN);
}

/** An array of just `size` bytes with anything in it, for the collector. */
export function newArray(size: number): Uint8Array {
  return size > CHUNK_MAX ? makeUntouched(size) : new Uint8Array(size);
}

/** An array of at least `size` bytes with anything in it; the caller's until `giveChunk`. */
export function takeChunk(size: number): Uint8Array {
  if (size > CHUNK_MAX) return makeUntouched(size);
  const k = sizeClass(size);
  const chunk = pool[k]?.pop();
  if (chunk === undefined) return new Uint8Array(CHUNK_MIN << k);
  pooledBytes -= chunk.length;
  return chunk;
}

/** Gives an array from `takeChunk` back: nobody reads or writes it any more. */
export function giveChunk(chunk: Uint8Array): void {
  const size = chunk.length;
  if (size < CHUNK_MIN || size > CHUNK_MAX || pooledBytes + size > POOL_BYTES_MAX) return;
  if (poisoned) chunk.fill(0xdd);
  pooledBytes += size;
  (pool[sizeClass(size)] ??= []).push(chunk);
}

/** From now on whatever is given back is overwritten: who still reads it is found out. For tests. */
export function poisonChunks(): void {
  poisoned = true;
}
