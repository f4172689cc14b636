/**
 * Copies of small byte ranges that must outlive the view they came in (replies that wait for their turn).
 *
 * One array serves many copies, so a copy costs no object of its own; an array is freed when the last copy in
 * it is forgotten. It is small, so that one long-lived copy pins little.
 */
import { copy } from "./ascii.ts";
import { newArray } from "./chunks.ts";

const CHUNK_SIZE = 16 * 1024;
/** A larger copy gets an array of its own. */
const SMALL_MAX = 2 * 1024;

export class Arena {
  /** Where the last copy lies: `bytes[start, end)`. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  private chunk: Uint8Array = new Uint8Array(0);
  private used = 0;

  /** Copies `from[start, end)`; then `bytes`, `start`, `end` tell where it is. The copy is never written to again. */
  keep(from: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length > SMALL_MAX) {
      this.bytes = from.slice(start, end);
      this.start = 0;
      this.end = length;
      return;
    }
    const at = this.room(length);
    this.end = copy(this.bytes, at, from, start, end);
  }

  /** As `keep`, for `from[start, end)` and then all of `rest`. */
  keepBoth(from: Uint8Array, start: number, end: number, rest: Uint8Array): void {
    const at = this.room(end - start + rest.length);
    const middle = copy(this.bytes, at, from, start, end);
    this.end = copy(this.bytes, middle, rest, 0, rest.length);
  }

  /** Makes `bytes` an array with room for `length` bytes from `start` on; returns `start`. */
  private room(length: number): number {
    if (length > SMALL_MAX) {
      this.bytes = newArray(length);
      return this.start = 0;
    }
    if (this.used + length > this.chunk.length) {
      this.chunk = new Uint8Array(CHUNK_SIZE);
      this.used = 0;
    }
    this.bytes = this.chunk;
    this.start = this.used;
    this.used += length;
    return this.start;
  }
}
