/**
 * Copies of bytes that have been sent, for as long as they may have to be sent again: what is answered first has been sent first.
 *
 *   ░░░░░░████████████████░░░░░░░░   then, beyond MOST: rest (an outbox)
 *         ▲ start         ▲ end: append goes here
 *
 * Every request passes through here, so it is one array that stays, and one copy: what a turn has brought is given to the socket from
 * here, in one piece (`giveLast`). It costs no more than KEPT when it is empty; what is much goes into chunks, which leave one by one.
 * Checked by tests/property/sent_log_test.ts.
 */
import { copy } from "./ascii.ts";
import { giveChunk, takeChunk } from "./chunks.ts";
import { Outbox } from "./outbox.ts";

/** The array that stays is of so many bytes, */
const KEPT = 16 * 1024;
/** and grows up to this. */
const MOST = 256 * 1024;

const NONE = new Uint8Array(0);

export class SentLog {
  private bytes: Uint8Array = NONE;
  private start = 0;
  private end = 0;
  /** What is behind that, while there is much. */
  private rest: Outbox | null = null;

  /** Bytes held. */
  get size(): number {
    return this.end - this.start + (this.rest === null ? 0 : this.rest.size);
  }

  /** As `append`, if they find room in the one array; else nothing is done. */
  appendHere(from: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    if (this.rest !== null || this.end + length > this.bytes.length && !this.makeRoom(length)) return false;
    this.end = copy(this.bytes, this.end, from, start, end);
    return true;
  }

  /** Gives `to` the last `count` bytes, all of which `appendHere` has taken, and keeps them. */
  giveLast(count: number, to: { send(bytes: Uint8Array, start: number, end: number): void }): void {
    to.send(this.bytes, this.end - count, this.end);
  }

  /** Copies `from[start, end)` to the end; borrowed, or shared if SHARE_MIN or more. */
  append(from: Uint8Array, start: number, end: number): void {
    if (!this.appendHere(from, start, end)) this.appendRest(from, start, end);
  }

  /** Forgets the first `count` bytes. */
  skip(count: number): void {
    const held = this.end - this.start;
    if (count < held) this.start += count;
    else {
      this.start = this.end = 0;
      if (this.rest !== null || this.bytes.length > KEPT) this.shrink(count - held);
    }
  }

  /** Takes out the first `count` bytes; owned. */
  take(count: number): Uint8Array {
    const taken = new Uint8Array(count);
    const here = Math.min(count, this.end - this.start);
    let at = copy(taken, 0, this.bytes, this.start, this.start + here);
    this.skip(here);
    while (at < count) {
      const rest = this.rest!;
      const { chunk, start } = rest;
      const part = Math.min(count - at, rest.end - start);
      at = copy(taken, at, chunk, start, start + part);
      this.skip(part);
    }
    return taken;
  }

  /** Puts `bytes` before all that is held; borrowed. */
  prepend(bytes: Uint8Array): void {
    const held = this.take(this.size);
    this.append(bytes, 0, bytes.length);
    this.append(held, 0, held.length);
  }

  /** Forgets everything, and lets go of all memory. */
  clear(): void {
    giveChunk(this.bytes);
    this.bytes = NONE;
    this.start = this.end = 0;
    this.rest?.clear();
    this.rest = null;
  }

  /** Makes room for `length` more bytes; false if that is too much for one array. */
  private makeRoom(length: number): boolean {
    const held = this.end - this.start;
    const wanted = held + length;
    if (wanted > MOST) return false;
    if (wanted <= this.bytes.length / 2) this.bytes.copyWithin(0, this.start, this.end);
    else {
      const bigger = takeChunk(Math.min(Math.max(2 * wanted, KEPT), MOST));
      copy(bigger, 0, this.bytes, this.start, this.end);
      giveChunk(this.bytes);
      this.bytes = bigger;
    }
    this.start = 0;
    this.end = held;
    return true;
  }

  private appendRest(from: Uint8Array, start: number, end: number): void {
    this.rest ??= new Outbox();
    this.rest.appendShared(from, start, end);
  }

  /** What was in the array is gone, and `count` more bytes. */
  private shrink(count: number): void {
    const { rest } = this;
    if (rest !== null) {
      rest.skip(count);
      if (rest.size > 0) return;
      this.rest = null;
    }
    if (this.bytes.length <= KEPT) return;
    giveChunk(this.bytes);
    this.bytes = NONE;
  }
}
