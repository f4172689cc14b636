/**
 * The first bytes of what a server connection has been sent lately, for the slow log: by the time a request turns out to have been slow
 * its own bytes are long gone.
 *
 *   position   how many bytes had been written on the connection before
 *   bytes      a ring, written at the position: what lies further back than its size has been overwritten
 *
 * The ring has RING bytes, and more while more than that is behind a request that has not been answered: just then it will be slow.
 */
import { copy } from "../bytes/ascii.ts";

/** So many bytes are kept of the beginning of one request. */
export const HEAD_BYTES = 4096;
const RING = 64 * 1024;
/** 10,000 requests of 50 bytes, behind a server that stands still. Of who has more behind it the words are lost. */
const RING_MAX = 512 * 1024;
/** A larger ring is given back when so many times its size has been written without a need for it: a copy a turn would be dear. */
const CALM = 16;

export class SentHeads {
  /** A power of two. */
  private bytes = new Uint8Array(RING);
  /** Just past what has been kept last; and before which nothing is known. */
  private end = 0;
  private from = 0;
  /** Since then RING bytes have been enough. */
  private calmFrom = 0;

  /** Memory it takes. */
  get heldBytes(): number {
    return this.bytes.length;
  }

  /**
   * Keeps `bytes[start, end)`, borrowed, which is written at `position`. Positions go up.
   * @param owed where the first request begins that has not been answered
   */
  keep(position: number, bytes: Uint8Array, start: number, end: number, owed: number): void {
    const past = position + end - start;
    const { length } = this.bytes;
    if (past - owed > RING) {
      this.calmFrom = past;
      if (past - owed > length && length < RING_MAX) this.resize(past - owed);
    } else if (length > RING && past - this.calmFrom > CALM * length) this.resize(RING);
    this.end = past;
    this.put(position, bytes, start, end);
  }

  private put(position: number, bytes: Uint8Array, start: number, end: number): void {
    const { length } = this.bytes;
    const at = position & (length - 1);
    if (at + end - start <= length) copy(this.bytes, at, bytes, start, end);
    else {
      const first = start + length - at;
      copy(this.bytes, at, bytes, start, first);
      copy(this.bytes, 0, bytes, first, end);
    }
  }

  /** What is kept stays, the latest of it if there is too much. */
  private resize(needed: number): void {
    const before = this.bytes;
    let length = RING;
    while (length < needed && length < RING_MAX) length *= 2;
    this.bytes = new Uint8Array(length);
    const from = this.end - Math.min(length, before.length, this.end);
    const at = from & (before.length - 1);
    const first = Math.min(before.length - at, this.end - from);
    this.put(from, before, at, at + first);
    this.put(from + first, before, 0, this.end - from - first);
    // What lay further back than the ring before had room for is not there.
    this.from = Math.max(this.from, from);
  }

  /** What has been written before this position is not known, or is elsewhere. */
  forget(position: number): void {
    this.from = position;
  }

  /** The first bytes of a request that was written at `position`, `size` in all; null = they are not known any more. A copy. */
  read(position: number, size: number): Uint8Array | null {
    if (position < this.from || position < this.end - this.bytes.length) return null;
    const length = Math.min(size, HEAD_BYTES);
    const head = new Uint8Array(length);
    const at = position & (this.bytes.length - 1);
    const first = Math.min(length, this.bytes.length - at);
    head.set(this.bytes.subarray(at, at + first));
    head.set(this.bytes.subarray(0, length - first), first);
    return head;
  }
}
