/**
 * Bytes waiting to be written to one socket.
 *
 *   chunk 0          chunk 1 (shared)        chunk 2
 *   ░░░░██████████   ██████████████████████  ███████░░░░░░
 *       ▲ start              …                      ▲ end: append goes here
 *
 * Small appends are copied into pooled chunks that double up to CHUNK_MAX; arrays of SHARE_MIN bytes or more
 * that are handed over (`appendShared`) become chunks of their own. An empty outbox holds no memory, so ten
 * thousand idle sockets cost nothing here. Chunks come from and return to one pool per thread.
 */
import { copy } from "./ascii.ts";

/** From this size on, handing an array over is cheaper than copying it: below, a second system call costs more. */
export const SHARE_MIN = 64 * 1024;
const CHUNK_MIN = 2 * 1024;
const CHUNK_MAX = 256 * 1024;
/** How many bytes of unused chunks the pool keeps for the next turn. */
const POOL_BYTES_MAX = 8 * 1024 * 1024;

const pool: Uint8Array[][] = [];
let pooledBytes = 0;

function sizeClass(size: number): number {
  return 32 - Math.clz32((Math.max(size, CHUNK_MIN) - 1) / CHUNK_MIN);
}

function takeChunk(size: number): Uint8Array {
  const k = sizeClass(size);
  const chunk = pool[k]?.pop();
  if (chunk === undefined) return new Uint8Array(CHUNK_MIN << k);
  pooledBytes -= chunk.length;
  return chunk;
}

function giveChunk(chunk: Uint8Array): void {
  if (chunk.length > CHUNK_MAX || pooledBytes + chunk.length > POOL_BYTES_MAX) return;
  pooledBytes += chunk.length;
  (pool[sizeClass(chunk.length)] ??= []).push(chunk);
}

const NONE = new Uint8Array(0);

export class Outbox {
  /** Full chunks before `tail`, oldest first, from `first` on. */
  private chunks: Uint8Array[] = [];
  private starts: number[] = [];
  private ends: number[] = [];
  private shared: boolean[] = [];
  private first = 0;
  private tail: Uint8Array = NONE;
  private tailStart = 0;
  private tailEnd = 0;
  /** Bytes held. */
  size = 0;

  /** Copies `bytes[start, end)` to the end; borrowed. */
  append(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (this.tailEnd + length > this.tail.length) this.makeRoom(length);
    this.tailEnd = copy(this.tail, this.tailEnd, bytes, start, end);
    this.size += length;
  }

  /** Puts `bytes[start, end)` at the end, without a copy if they are many; the array must never change again. */
  appendShared(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < SHARE_MIN) return this.append(bytes, start, end);
    this.retireTail();
    this.pushChunk(bytes, start, end, true);
    this.size += end - start;
  }

  /** The oldest unwritten bytes: `chunk[start, end)`. Only when `size > 0`. */
  get chunk(): Uint8Array {
    return this.first < this.chunks.length ? this.chunks[this.first]! : this.tail;
  }
  get start(): number {
    return this.first < this.chunks.length ? this.starts[this.first]! : this.tailStart;
  }
  get end(): number {
    return this.first < this.chunks.length ? this.ends[this.first]! : this.tailEnd;
  }

  /** Forgets the first `count` bytes, count ≤ end - start. Gives their chunk back to the pool when it is used up. */
  consume(count: number): void {
    this.size -= count;
    if (this.first < this.chunks.length) {
      if ((this.starts[this.first]! += count) === this.ends[this.first]!) this.dropFirst();
      return;
    }
    this.tailStart += count;
    if (this.tailStart === this.tailEnd) {
      giveChunk(this.tail);
      this.tail = NONE;
      this.tailStart = this.tailEnd = 0;
    }
  }

  /**
   * The oldest chunk is lent to a writer that works on while more is appended (Deno's write is a promise):
   * appends go elsewhere until it is consumed.
   */
  seal(): void {
    if (this.first >= this.chunks.length && this.size > 0) this.retireTail();
  }

  clear(): void {
    while (this.first < this.chunks.length) this.dropFirst();
    if (this.tail !== NONE) giveChunk(this.tail);
    this.tail = NONE;
    this.tailStart = this.tailEnd = this.size = 0;
  }

  private makeRoom(length: number): void {
    const held = this.tailEnd - this.tailStart;
    const wanted = held + length;
    if (this.tail.length < CHUNK_MAX && wanted <= CHUNK_MAX) {
      const bigger = takeChunk(Math.max(wanted, Math.min(this.tail.length * 2, CHUNK_MAX)));
      if (held > 0) copy(bigger, 0, this.tail, this.tailStart, this.tailEnd);
      if (this.tail !== NONE) giveChunk(this.tail);
      this.tail = bigger;
      this.tailStart = 0;
      this.tailEnd = held;
      return;
    }
    this.retireTail();
    this.tail = takeChunk(length);
  }

  private retireTail(): void {
    if (this.tailEnd > this.tailStart) this.pushChunk(this.tail, this.tailStart, this.tailEnd, false);
    else if (this.tail !== NONE) giveChunk(this.tail);
    this.tail = NONE;
    this.tailStart = this.tailEnd = 0;
  }

  private pushChunk(chunk: Uint8Array, start: number, end: number, shared: boolean): void {
    this.chunks.push(chunk);
    this.starts.push(start);
    this.ends.push(end);
    this.shared.push(shared);
  }

  private dropFirst(): void {
    if (!this.shared[this.first]) giveChunk(this.chunks[this.first]!);
    this.chunks[this.first] = NONE;
    if (++this.first === this.chunks.length) {
      this.chunks.length = this.starts.length = this.ends.length = this.shared.length = this.first = 0;
    } else if (this.first > 256 && this.first * 2 > this.chunks.length) {
      this.chunks.splice(0, this.first);
      this.starts.splice(0, this.first);
      this.ends.splice(0, this.first);
      this.shared.splice(0, this.first);
      this.first = 0;
    }
  }
}
