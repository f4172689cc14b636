/**
 * Copies of byte ranges that must outlive the view they came in (replies that wait for their turn).
 *
 * One array serves many small copies, so a copy costs no object of its own; an array is freed when the last copy in
 * it is forgotten. It is small, so that one long-lived copy pins little. A larger copy gets a chunk of its own (chunks.ts),
 * which has to be given back: left to the collector, 80 MB of held replies of 100 KB became 1.1 GB.
 */
import { copy } from "./ascii.ts";
import { CHUNK_MIN, takeChunk } from "./chunks.ts";

const SHARED_SIZE = 16 * 1024;

export class Arena {
  /** Where the last copy lies: `bytes[start, end)`. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** `bytes` is a chunk with nothing else in it, the caller's until `giveChunk`. */
  own = false;
  private shared: Uint8Array = new Uint8Array(0);
  private used = 0;

  /** Copies `from[start, end)`; then `bytes`, `start`, `end` tell where it is. The copy is never written to again. */
  keep(from: Uint8Array, start: number, end: number): void {
    const at = this.room(end - start);
    this.end = copy(this.bytes, at, from, start, end);
  }

  /** As `keep`, for `from[start, end)` and then all of `rest`. */
  keepBoth(from: Uint8Array, start: number, end: number, rest: Uint8Array): void {
    const at = this.room(end - start + rest.length);
    const middle = copy(this.bytes, at, from, start, end);
    this.end = copy(this.bytes, middle, rest, 0, rest.length);
  }

  /** As `keep`, for `head[0, headEnd)` and then `from[start, end)`. */
  keepHeaded(head: Uint8Array, headEnd: number, from: Uint8Array, start: number, end: number): void {
    const at = this.room(headEnd + end - start);
    const middle = copy(this.bytes, at, head, 0, headEnd);
    this.end = copy(this.bytes, middle, from, start, end);
  }

  /** Makes `bytes` an array with room for `length` bytes from `start` on; returns `start`. */
  private room(length: number): number {
    this.own = length > CHUNK_MIN;
    if (this.own) {
      this.bytes = takeChunk(length);
      return this.start = 0;
    }
    if (this.used + length > this.shared.length) {
      this.shared = new Uint8Array(SHARED_SIZE);
      this.used = 0;
    }
    this.bytes = this.shared;
    this.start = this.used;
    this.used += length;
    return this.start;
  }
}
