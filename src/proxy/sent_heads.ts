/**
 * The first bytes of what a server connection has been sent lately, for the slow log: by the time a request turns out to have been slow
 * its own bytes are long gone.
 *
 *   position   how many bytes had been written on the connection before
 *   bytes      a ring of RING bytes, written at the position: what lies further back than that has been overwritten
 */
import { copy } from "../bytes/ascii.ts";

/** So many bytes are kept of the beginning of one request. */
export const HEAD_BYTES = 4096;
const RING = 64 * 1024;

export class SentHeads {
  private readonly bytes = new Uint8Array(RING);
  /** Just past what has been kept last; and before which nothing is known. */
  private end = 0;
  private from = 0;

  /** Memory it takes. */
  get heldBytes(): number {
    return RING;
  }

  /** Keeps `bytes[start, end)`, borrowed, which is written at `position`. Positions go up. */
  keep(position: number, bytes: Uint8Array, start: number, end: number): void {
    const at = position & (RING - 1);
    this.end = position + end - start;
    if (at + end - start <= RING) copy(this.bytes, at, bytes, start, end);
    else {
      const first = start + RING - at;
      copy(this.bytes, at, bytes, start, first);
      copy(this.bytes, 0, bytes, first, end);
    }
  }

  /** What has been written before this position is not known, or is elsewhere. */
  forget(position: number): void {
    this.from = position;
  }

  /** The first bytes of a request that was written at `position`, `size` in all; null = they are not known any more. A copy. */
  read(position: number, size: number): Uint8Array | null {
    if (position < this.from || position < this.end - RING) return null;
    const length = Math.min(size, HEAD_BYTES);
    const head = new Uint8Array(length);
    const at = position & (RING - 1);
    const first = Math.min(length, RING - at);
    head.set(this.bytes.subarray(at, at + first));
    head.set(this.bytes.subarray(0, length - first), first);
    return head;
  }
}
