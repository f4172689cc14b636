/**
 * Copies of small byte ranges that must outlive the view they came in (replies that wait for their turn).
 *
 * One array serves many copies, so a copy costs no object of its own; an array is freed when the last copy in
 * it is forgotten. It is small, so that one long-lived copy pins little.
 */
import { copy } from "./ascii.ts";

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
    if (this.used + length > this.chunk.length) {
      this.chunk = new Uint8Array(CHUNK_SIZE);
      this.used = 0;
    }
    this.bytes = this.chunk;
    this.start = this.used;
    this.end = this.used = copy(this.chunk, this.used, from, start, end);
  }
}
