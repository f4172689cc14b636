/**
 * Received bytes that do not yet make a whole message: the unparsed tail of one socket.
 *
 *   bytes  ░░░░░░████████████████░░░░░░░░
 *          0     start           end     length
 *
 * A socket that is between messages holds no memory here. Growth doubles, so a message that arrives in n
 * pieces costs O(its size) in copies; a known size (`reserve`) saves even those, up to RESERVE_MAX, since a
 * size that the peer merely announces must not cost memory before its bytes come.
 */
import { copy } from "./ascii.ts";

const NONE = new Uint8Array(0);
const SIZE_MIN = 512;
/** An announced size is trusted for at most this many bytes beyond what has come. */
const RESERVE_MAX = 1024 * 1024;

export class Inbox {
  bytes: Uint8Array = NONE;
  start = 0;
  end = 0;

  get size(): number {
    return this.end - this.start;
  }

  /** Copies `from[start, end)` to the end; borrowed. */
  append(from: Uint8Array, start: number, end: number): void {
    const size = this.size;
    const wanted = size + end - start;
    if (this.end + end - start > this.bytes.length) this.grow(Math.max(wanted, size * 2, SIZE_MIN));
    this.end = copy(this.bytes, this.end, from, start, end);
  }

  /** Makes room for a message of `total` bytes, the present ones included, as far as RESERVE_MAX allows. */
  reserve(total: number): void {
    const wanted = Math.min(total, this.size + RESERVE_MAX);
    if (wanted > this.bytes.length - this.start) this.grow(wanted);
  }

  /** Forgets everything before `start`; an empty inbox lets its memory go. */
  consumeTo(start: number): void {
    this.start = start;
    if (start === this.end) this.clear();
  }

  clear(): void {
    this.bytes = NONE;
    this.start = this.end = 0;
  }

  /** Leaves the present array to whoever shares it; what is unparsed moves to a new one. */
  detach(): void {
    if (this.start === this.end) this.clear();
    else this.grow(Math.max(this.size, SIZE_MIN));
  }

  private grow(length: number): void {
    const bigger = new Uint8Array(length);
    copy(bigger, 0, this.bytes, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.bytes = bigger;
  }
}
