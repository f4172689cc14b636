/**
 * When what a connection has sent was written: the kernel takes the bytes of many requests at a time, so the time is kept once a
 * write, with how many bytes had been written by then, and not with each request.
 *
 *   bytes   ──── 120 @ 5.1 ms ──── 260 @ 5.4 ms ──── 300 @ 6.0 ms      a request that ends at 200 was written at 5.4
 */

const FIRST = 8;
/** With more writes that nothing has been answered of, the last ones count as one. */
const MOST = 1024;

export class WrittenTimes {
  private bytes = new Float64Array(FIRST);
  private ms = new Float64Array(FIRST);
  /** Of a ring of a power of two: the oldest, and how many there are. */
  private head = 0;
  private size = 0;
  private lastBytes = 0;
  /** Of the oldest: what is asked for most. -1 = there is none. */
  private oldestBytes = -1;
  private oldestMs = -1;

  /** So many bytes have been written by now; of any number of calls with the same number the first counts. */
  note(bytes: number, nowMs: number): void {
    if (bytes <= this.lastBytes) return;
    this.lastBytes = bytes;
    if (this.size === this.bytes.length && !this.grow()) {
      this.bytes[(this.head + this.size - 1) & (MOST - 1)] = bytes;
      return this.lookAtOldest();
    }
    const at = (this.head + this.size++) & (this.bytes.length - 1);
    this.bytes[at] = bytes;
    this.ms[at] = nowMs;
    if (this.size === 1) this.lookAtOldest();
  }

  private lookAtOldest(): void {
    this.oldestBytes = this.size > 0 ? this.bytes[this.head]! : -1;
    this.oldestMs = this.size > 0 ? this.ms[this.head]! : -1;
  }

  private grow(): boolean {
    const { bytes, ms, head, size } = this;
    if (size >= MOST) return false;
    this.bytes = new Float64Array(2 * size);
    this.ms = new Float64Array(2 * size);
    for (let i = 0; i < size; i++) {
      this.bytes[i] = bytes[(head + i) & (size - 1)]!;
      this.ms[i] = ms[(head + i) & (size - 1)]!;
    }
    this.head = 0;
    return true;
  }

  /** When byte number `end` was written, of a request that has been answered: nobody asks for earlier ones any more. -1 = it has not been. */
  take(end: number): number {
    return end <= this.oldestBytes ? this.oldestMs : this.advance(end);
  }

  private advance(end: number): number {
    const mask = this.bytes.length - 1;
    while (this.size > 0 && this.bytes[this.head]! < end) {
      this.head = (this.head + 1) & mask;
      this.size--;
    }
    this.lookAtOldest();
    return this.oldestMs;
  }

  /** As `take`, of one that earlier ones may be asked for after. */
  find(end: number): number {
    const mask = this.bytes.length - 1;
    for (let i = 0; i < this.size; i++) {
      const at = (this.head + i) & mask;
      if (this.bytes[at]! >= end) return this.ms[at]!;
    }
    return -1;
  }

  /** Another socket begins. */
  clear(): void {
    this.size = this.lastBytes = 0;
    this.lookAtOldest();
  }
}
