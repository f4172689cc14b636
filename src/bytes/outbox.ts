/**
 * Bytes waiting to be written to one socket.
 *
 *   head             middle (shared)         tail
 *   ░░░░██████████   ██████████████████████  ███████░░░░░░
 *       ▲ start              …                      ▲ end: append goes here
 *
 * Appends are copied into pooled chunks that double up to PIECE_MAX; arrays of SHARE_MIN bytes or more
 * that are handed over (`appendShared`) become chunks of their own. Most of the time there is only a tail, or, while
 * a promise writes it, only a head. An empty outbox holds no memory, so ten thousand idle sockets cost nothing here.
 * Chunks come from and return to chunks.ts. Checked by tests/property/outbox_test.ts.
 */
import { copy } from "./ascii.ts";
import { giveChunk, keepOffered, takeChunk } from "./chunks.ts";

/** From this size on, an array that is handed over is sent as it is; smaller ones are copied into chunks that are warm. */
export const SHARE_MIN = 2 * 1024 * 1024;
/** Chunks of an outbox are at most this large. */
const PIECE_MAX = 256 * 1024;

/** So many bytes of a chunk that is offered are not copied: it is kept. It will leave by itself, with a system call of its own. */
export const KEEP_MIN: number = 64 * 1024;

/** An outbox starts with a chunk as large as it last filled, up to this: a peer that stops reading holds on to it. */
const USUAL_MAX = 16 * 1024;

interface Segment {
  readonly chunk: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly shared: boolean;
}

const NONE = new Uint8Array(0);

export class Outbox {
  /** The oldest chunk, if it is full, shared or lent; else NONE, and then there is no middle either. */
  private head: Uint8Array = NONE;
  private headStart = 0;
  private headEnd = 0;
  private headShared = false;
  /** Chunks between head and tail, oldest first, from `next` on. */
  private middle: (Segment | null)[] | null = null;
  private next = 0;
  private tail: Uint8Array = NONE;
  private tailStart = 0;
  private tailEnd = 0;
  /** What the last tail held when it was written: the next one starts as large, instead of growing copy by copy. */
  private usual = 0;
  /** Bytes held. */
  size = 0;

  /** Copies `bytes[start, end)` to the end; borrowed, unless it lies in a chunk that is offered. */
  append(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length >= KEEP_MIN && keepOffered(bytes)) return this.appendChunk(bytes, start, end);
    this.size += length;
    if (this.tailEnd + length > this.tail.length && !this.makeRoom(length)) {
      return this.appendPieces(bytes, start, end);
    }
    this.tailEnd = copy(this.tail, this.tailEnd, bytes, start, end);
  }

  /** Puts `bytes[start, end)` at the end, without a copy if they are many; the array must never change again. */
  appendShared(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < SHARE_MIN) return this.append(bytes, start, end);
    this.retireTail();
    this.retire(bytes, start, end, true);
    this.size += end - start;
  }

  /** Takes over a chunk from `takeChunk`, of which `chunk[start, end)`, not empty, is to be sent. It leaves by itself. */
  appendChunk(chunk: Uint8Array, start: number, end: number): void {
    this.retireTail();
    this.retire(chunk, start, end, false);
    this.size += end - start;
  }

  /** Takes over all that `other` holds, without a copy; it is empty afterwards. */
  adopt(other: Outbox): void {
    this.retireTail();
    other.retireTail();
    this.size += other.size;
    while (other.head !== NONE) {
      this.retire(other.head, other.headStart, other.headEnd, other.headShared);
      other.headShared = true;
      other.dropHead();
    }
    other.size = 0;
  }

  /** Appends all that is held to `other`, and goes on holding it. */
  copyTo(other: { append(bytes: Uint8Array, start: number, end: number): void }): void {
    if (this.head !== NONE) other.append(this.head, this.headStart, this.headEnd);
    const { middle } = this;
    for (let i = this.next; middle !== null && i < middle.length; i++) {
      const { chunk, start, end } = middle[i]!;
      other.append(chunk, start, end);
    }
    if (this.tailEnd > this.tailStart) other.append(this.tail, this.tailStart, this.tailEnd);
  }

  /** Moves all that is held to the beginning of `to`; returns how many bytes those are. */
  moveTo(to: Uint8Array): number {
    let at = 0;
    while (this.size > 0) {
      const { chunk, start, end } = this;
      at = copy(to, at, chunk, start, end);
      this.consume(end - start);
    }
    return at;
  }

  /** The oldest unwritten bytes: `chunk[start, end)`. Only when `size > 0`. */
  get chunk(): Uint8Array {
    return this.head !== NONE ? this.head : this.tail;
  }
  get start(): number {
    return this.head !== NONE ? this.headStart : this.tailStart;
  }
  get end(): number {
    return this.head !== NONE ? this.headEnd : this.tailEnd;
  }

  /** Forgets the first `count` bytes, count ≤ end - start. Gives their chunk back to the pool when it is used up. */
  consume(count: number): void {
    this.size -= count;
    if (this.head !== NONE) {
      if ((this.headStart += count) === this.headEnd) this.dropHead();
      return;
    }
    this.tailStart += count;
    if (this.tailStart === this.tailEnd && this.tail !== NONE) {
      this.usual = Math.min(this.tailEnd, USUAL_MAX);
      giveChunk(this.tail);
      this.tail = NONE;
      this.tailStart = this.tailEnd = 0;
    }
  }

  /** Forgets the first `count` bytes, of those that are held. */
  skip(count: number): void {
    while (count > 0) {
      const part = Math.min(count, this.end - this.start);
      this.consume(part);
      count -= part;
    }
  }

  /**
   * The oldest chunk is lent to a writer that works on while more is appended (Deno's write is a promise):
   * appends go elsewhere until it is consumed.
   */
  seal(): void {
    if (this.head === NONE) this.retireTail();
  }

  /** Forgets everything. `lent`: the oldest chunk is still being written, so nobody else may have it. */
  clear(lent = false): void {
    if (lent) this.headShared = true;
    while (this.head !== NONE) this.dropHead();
    if (this.tail !== NONE) giveChunk(this.tail);
    this.tail = NONE;
    this.tailStart = this.tailEnd = this.size = 0;
  }

  /** Makes the tail long enough for `length` more bytes; false if they are too many for one chunk. */
  private makeRoom(length: number): boolean {
    const held = this.tailEnd - this.tailStart;
    if (held + length > PIECE_MAX) return false;
    const expected = this.tail === NONE ? this.usual : Math.min(this.tail.length * 2, PIECE_MAX);
    const bigger = takeChunk(Math.max(held + length, expected));
    if (held > 0) copy(bigger, 0, this.tail, this.tailStart, this.tailEnd);
    if (this.tail !== NONE) giveChunk(this.tail);
    this.tail = bigger;
    this.tailStart = 0;
    this.tailEnd = held;
    return true;
  }

  /** Fills the tail, and then as many chunks as it takes. */
  private appendPieces(bytes: Uint8Array, start: number, end: number): void {
    // A little in a small chunk would leave by itself, with a system call of its own.
    const held = this.tailEnd - this.tailStart;
    if (this.tail.length < PIECE_MAX && held < PIECE_MAX / 2) this.makeRoom(PIECE_MAX - held);
    while (start < end) {
      if (this.tailEnd === this.tail.length) {
        this.retireTail();
        this.tail = takeChunk(Math.min(end - start, PIECE_MAX));
      }
      const count = Math.min(end - start, this.tail.length - this.tailEnd);
      this.tailEnd = copy(this.tail, this.tailEnd, bytes, start, start + count);
      start += count;
    }
  }

  private retireTail(): void {
    if (this.tailEnd > this.tailStart) this.retire(this.tail, this.tailStart, this.tailEnd, false);
    else if (this.tail !== NONE) giveChunk(this.tail);
    this.tail = NONE;
    this.tailStart = this.tailEnd = 0;
  }

  private retire(chunk: Uint8Array, start: number, end: number, shared: boolean): void {
    if (this.head !== NONE) {
      (this.middle ??= []).push({ chunk, start, end, shared });
      return;
    }
    this.head = chunk;
    this.headStart = start;
    this.headEnd = end;
    this.headShared = shared;
  }

  private dropHead(): void {
    if (!this.headShared) giveChunk(this.head);
    const { middle } = this;
    if (middle === null) {
      this.head = NONE;
      return;
    }
    const segment = middle[this.next]!;
    middle[this.next++] = null;
    this.head = segment.chunk;
    this.headStart = segment.start;
    this.headEnd = segment.end;
    this.headShared = segment.shared;
    if (this.next === middle.length) {
      this.middle = null;
      this.next = 0;
    } else if (this.next > 256 && this.next * 2 > middle.length) {
      middle.splice(0, this.next);
      this.next = 0;
    }
  }
}
