/**
 * Received bytes that do not yet make a whole message: the unparsed tail of one socket.
 *
 *   bytes  ░░░░░░████████████████░░░░░░░░
 *          0     start           end     length
 *
 * A socket that is between messages holds no memory here. Growth is by half the size at least, so a message that
 * arrives in any number of pieces costs O(its size) in copies; a known size (`reserve`) saves most of those, but only
 * RESERVE_MAX or RESERVE_TIMES ahead, since a size that the peer merely announces must not cost memory before its bytes come. All but the
 * smallest arrays come from and return to chunks.ts.
 *
 * Beyond CHUNK_MAX copies would stop everybody: 16 MB take a millisecond on a good machine and 50 on a bad one, mostly for
 * pages that the kernel has to find. So an inbox leaps to the size expected early, into an array that costs memory only as bytes
 * come (`makeUntouched`): each read pays for its own pages, and nothing is copied again.
 */
import { copy } from "./ascii.ts";
import { CHUNK_MAX, CHUNK_MIN, giveChunk, takeChunk } from "./chunks.ts";

const NONE = new Uint8Array(0);
const SIZE_MIN = 512;
/** An announced size is trusted for at most this many bytes beyond what has come, or this many times what has come. */
const RESERVE_MAX = 256 * 1024;
const RESERVE_TIMES = 4;
/** For sizes that are guessed: one that was guessed too low costs a copy of everything, one too high costs nothing. */
export const GUESS_MARGIN = 1.125;
/** With more than this, an inbox that expects more than CHUNK_MAX leaps to what it expects, */
const LEAP_MIN = 256 * 1024;
/** but at most this far ahead. */
const LEAP_MAX = 64 * 1024 * 1024;

export class Inbox {
  bytes: Uint8Array = NONE;
  start = 0;
  end = 0;
  private pinned = false;
  /** Size of the message under way, if it was announced; else 0. */
  private expected = 0;

  get size(): number {
    return this.end - this.start;
  }

  /** Bytes of memory that it holds. */
  get heldBytes(): number {
    const { length } = this.bytes;
    return length > CHUNK_MAX ? this.end : length;
  }

  /** Copies `from[start, end)` to the end; borrowed. */
  append(from: Uint8Array, start: number, end: number): void {
    if (this.end + end - start > this.bytes.length) this.makeRoom(this.size + end - start);
    this.end = copy(this.bytes, this.end, from, start, end);
  }

  /** Says that the message will have about `total` bytes, the present ones included: when room is made next, it is for those. */
  reserve(total: number): void {
    this.expected = total;
  }

  /** Forgets everything before `start`; an empty inbox lets its memory go. */
  consumeTo(start: number): void {
    this.start = start;
    this.expected = 0;
    if (start === this.end) this.clear();
  }

  clear(): void {
    if (!this.pinned) giveChunk(this.bytes);
    this.bytes = NONE;
    this.start = this.end = this.expected = 0;
  }

  /** Somebody reads from `bytes` until `unpin`: the array is not used again meanwhile, even if the inbox is cleared. */
  pin(): void {
    this.pinned = true;
  }

  /**
   * The reading is over: forgets everything before `start`, as `consumeTo`.
   * @param shared somebody keeps the array: what is unparsed moves to another one
   */
  unpin(start: number, shared: boolean): void {
    this.pinned = shared;
    if (this.bytes !== NONE) {
      this.consumeTo(start);
      if (shared && this.size > 0) this.grow(Math.max(this.size, SIZE_MIN));
    }
    this.pinned = false;
  }

  /** @param wanted bytes that must fit, the present ones included */
  private makeRoom(wanted: number): void {
    const { expected, size } = this;
    if (expected > CHUNK_MAX && wanted > LEAP_MIN) {
      // An expectation that creeps up must not mean a copy of everything each time.
      return this.grow(Math.max(wanted, Math.min(expected, size + LEAP_MAX), size + (size >> 1)));
    }
    const ahead = Math.max(
      wanted,
      Math.min(expected, Math.max(wanted + RESERVE_MAX, wanted * RESERVE_TIMES)),
    );
    // Chunks double from size to size by themselves; other arrays are of the size asked for.
    if (ahead >= CHUNK_MIN && ahead <= CHUNK_MAX) return this.grow(ahead);
    if (wanted > expected) return this.grow(Math.max(wanted, size * 2, SIZE_MIN));
    this.grow(Math.max(ahead, Math.min(expected, size * 2), size + (size >> 1)));
  }

  private grow(length: number): void {
    const bigger = length < CHUNK_MIN ? new Uint8Array(length) : takeChunk(length);
    copy(bigger, 0, this.bytes, this.start, this.end);
    if (!this.pinned) giveChunk(this.bytes);
    this.end -= this.start;
    this.start = 0;
    this.bytes = bigger;
  }
}
