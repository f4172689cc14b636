/**
 * Where Deno reads to: one buffer per socket, since a pending read holds on to its own.
 *
 *   4 KiB ─ filled ─► 16 KiB ─ filled ─► … 512 KiB
 *   4 KiB ◄─ a quarter or less was used ─ …
 *
 * A read costs about 10 µs whatever its size, so bulk wants few and large ones, while ten thousand idle sockets must
 * not hold 64 KiB each (measured: 60 KiB a connection instead of 10). A socket that falls idle keeps the size of its
 * last read, which GROWN_BYTES_MAX bounds for all sockets of the thread together. Bun has one buffer for all sockets
 * and needs none of this.
 */
export const READ_MIN = 4 * 1024;
export const READ_MAX = 512 * 1024;
/** All buffers larger than READ_MIN together; past it, sockets get small ones. */
const GROWN_BYTES_MAX = 32 * 1024 * 1024;
/** Unused buffers kept for the next one that asks. */
const SPARE_BYTES_MAX = 2 * 1024 * 1024;

const spares = new Map<number, Uint8Array[]>();
let spareBytes = 0;
let grownBytes = 0;

/** The size for the next read after one of `count` bytes into `size`. */
export function nextSize(size: number, count: number): number {
  if (count === size) return Math.min(size * 4, READ_MAX);
  if (count * 4 <= size) return Math.max(size / 4, READ_MIN);
  return size;
}

/** A buffer of `size` bytes, or READ_MIN if large ones are used up. Comes back through `giveBuffer`. */
export function takeBuffer(size: number): Uint8Array<ArrayBuffer> {
  if (size > READ_MIN) {
    if (grownBytes + size > GROWN_BYTES_MAX) size = READ_MIN;
    else grownBytes += size;
  }
  const spare = spares.get(size)?.pop() as Uint8Array<ArrayBuffer> | undefined;
  if (spare === undefined) return new Uint8Array(size);
  spareBytes -= size;
  return spare;
}

/** Nobody reads to or from it any more. */
export function giveBuffer(buffer: Uint8Array): void {
  if (buffer.length > READ_MIN) grownBytes -= buffer.length;
  if (spareBytes + buffer.length > SPARE_BYTES_MAX) return;
  spareBytes += buffer.length;
  const list = spares.get(buffer.length);
  if (list === undefined) spares.set(buffer.length, [buffer]);
  else list.push(buffer);
}
