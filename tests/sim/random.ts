/**
 * The simulator's randomness: sfc32 (Chris Doty-Humphrey's Small Fast Counting generator, 128 bits of state), seeded
 * with one number. All chance in a simulation comes from one root and its forks, so a run is its seed.
 *
 * Parts that should not disturb each other get a fork each: drawing once more in one leaves the others as they were.
 */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private counter: number;

  /** @param seed an integer, 0 ≤ seed < 2^53 */
  constructor(seed: number) {
    this.a = seed >>> 0;
    this.b = Math.floor(seed / 2 ** 32) >>> 0;
    this.c = 0x9e3779b9;
    this.counter = 1;
    for (let i = 0; i < 15; i++) this.bits();
  }

  /** 32 random bits as an integer, 0 ≤ result < 2^32. */
  bits(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum | 0;
    return sum >>> 0;
  }

  /** 0 ≤ result < 1; bound, so that it can stand in for Math.random. */
  next = (): number => (this.bits() * 2 ** 21 + (this.bits() >>> 11)) / 2 ** 53;

  /** An integer, min ≤ result ≤ max. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** An integer, min ≤ result ≤ max, each order of magnitude about as likely as the next; min ≥ 1. */
  magnitude(min: number, max: number): number {
    return Math.min(max, Math.floor(min * (max / min + 1) ** this.next()));
  }

  /** True once in a while; 0 never draws true, 1 always. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  bytes(size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i++) bytes[i] = this.bits();
    return bytes;
  }

  /** A generator of its own, decided by where this one stands, which stays there: for what worlds have had no part of before. */
  aside(): Random {
    return new Random((this.a >>> 0) * 2 ** 20 + (this.c >>> 12));
  }

  /** A generator of its own, decided by this one's next draw. */
  fork(): Random {
    return new Random(this.bits() * 2 ** 20 + (this.bits() >>> 12));
  }
}
