/**
 * What each address or user may still do, in memory that all workers share: so many requests and bytes a second, so many connections.
 *
 *   Who ──► a slot: pool | high | low | said | clock | requests left | bytes left | connections | of worker 0, 1, …
 *
 * What is left grows with time, up to a second's worth, and may fall below 0: what has been let in although it was more is paid back
 * before anything else is. So over a long time exactly as much gets through as may, however many workers there are.
 *
 * A slot belongs to a Who while it has connections, and until nothing would be forgotten: it has been idle until it was full again.
 * Slots are found and given under a lock; who holds it and dies is buried by the main thread, which opens it. All else are cells that
 * anybody changes by Atomics. There are SLOTS of them; who finds none shares one with all others who did not.
 */

/** Whose slot it is: two numbers of 32 bits, of its kind and pool. */
export interface Who {
  /** ADDRESS, USER or LOCAL. */
  readonly kind: number;
  readonly high: number;
  readonly low: number;
}

export const ADDRESS = 1;
export const USER = 2;
/** Everybody on a unix socket. */
export const LOCAL = 3;

/** How much of something; 0 = as much as one likes. At most 2^30. */
export interface Rates {
  readonly requestsMax: number;
  readonly bytesMax: number;
  readonly connectionsMax: number;
}

const NO_RATES: Rates = { requestsMax: 0, bytesMax: 0, connectionsMax: 0 };

/** What a Who has had enough of. */
export const ENOUGH_NOTHING = 0;
export const ENOUGH_REQUESTS = 1;
export const ENOUGH_BYTES = 2;

/** Who can have a slot of his own at one time. */
export const SLOTS = 16_384;
/** Places that are looked at for one Who. */
const PROBES = 64;
/** Slot 0: of all who have found none. */
const SHARED = 0;

/** A slot is full again when it has been idle for so long, unless more than it had was let in. */
const FULL_MS = 1000;
/** … which is forgotten after so long. */
const DEBT_MS = 600_000;
/** The clock of the machine has been set back if it is further back than workers may differ. */
const BACK_MS = 2000;
/** More than what a slot can gain: what would overflow is not computed. */
const GAIN_MS = 1_000_000;
const LEAST = -(2 ** 31) + 1;
/** Between two lines of one Who in the log. */
const SAY_MS = 10_000;

// Cells before the slots.
const LOCK = 0;
const HEAD = 32;
// Cells of a slot.
const POOL_KIND = 0;
const HIGH = 1;
const LOW = 2;
const SAID = 3;
const CLOCK = 4;
const REQUESTS_LEFT = 5;
const BYTES_LEFT = 6;
const CONNECTIONS = 7;
const OF_WORKER = 8;

export class Quotas {
  private readonly cells: Int32Array;
  private readonly size: number;

  /**
   * @param buffer that of `memory` of another thread's; null = new
   * @param slots how many there are
   * @param debtMs for how long what was more than it had is not forgotten
   */
  constructor(
    private readonly workers: number,
    buffer: SharedArrayBuffer | null,
    private readonly slots: number = SLOTS,
    private readonly debtMs: number = DEBT_MS,
  ) {
    this.size = OF_WORKER + workers;
    this.cells = new Int32Array(buffer ?? new SharedArrayBuffer(4 * (HEAD + slots * this.size)));
  }

  get memory(): SharedArrayBuffer {
    return this.cells.buffer as SharedArrayBuffer;
  }

  /**
   * Counts one more connection of `who`.
   * @param pool the number of its board
   * @param forced it stands already, and counts however many there are
   * @param nowMs ms since the epoch of Unix, here and below: what all threads have in common
   * @returns its slot, for `leave`; -1 = it has as many as it may
   */
  enter(pool: number, who: Who, worker: number, rates: Rates, forced: boolean, nowMs: number): number {
    const { cells } = this;
    const tag = Math.imul(pool, 4) + who.kind;
    this.lock(worker);
    try {
      const slot = this.find(tag, who, rates, nowMs | 0);
      const at = this.at(slot);
      const max = rates.connectionsMax;
      if (!forced && max > 0 && Atomics.load(cells, at + CONNECTIONS) >= max) return -1;
      Atomics.add(cells, at + CONNECTIONS, 1);
      Atomics.add(cells, at + OF_WORKER + worker, 1);
      return slot;
    } finally {
      this.unlock(worker);
    }
  }

  leave(slot: number, worker: number): void {
    const at = this.at(slot);
    Atomics.sub(this.cells, at + OF_WORKER + worker, 1);
    Atomics.sub(this.cells, at + CONNECTIONS, 1);
  }

  /** What of `rates` its Who has had enough of for now: ENOUGH_NOTHING if it may go on. */
  enough(slot: number, rates: Rates, nowMs: number): number {
    const at = this.at(slot);
    this.refill(at, rates, nowMs | 0);
    if (rates.requestsMax > 0 && Atomics.load(this.cells, at + REQUESTS_LEFT) <= 0) return ENOUGH_REQUESTS;
    if (rates.bytesMax > 0 && Atomics.load(this.cells, at + BYTES_LEFT) <= 0) return ENOUGH_BYTES;
    return ENOUGH_NOTHING;
  }

  /** Its Who has done so much, whether or not it was to. */
  spend(slot: number, rates: Rates, requests: number, bytes: number): void {
    const at = this.at(slot);
    if (rates.requestsMax > 0 && requests > 0) this.add(at + REQUESTS_LEFT, -requests, rates.requestsMax);
    if (rates.bytesMax > 0 && bytes > 0) this.add(at + BYTES_LEFT, -bytes, rates.bytesMax);
  }

  /**
   * Counts something that `who`, who has no connections here, has done once more.
   * @returns how often he has in a row, with no longer between than `debtMs`; for ever more if nobody finds a slot of his own
   */
  inARow(pool: number, who: Who, worker: number, nowMs: number): number {
    const { cells } = this;
    const now = nowMs | 0;
    this.lock(worker);
    try {
      const at = this.at(this.find(Math.imul(pool, 4) + who.kind, who, NO_RATES, now));
      const idleMs = Math.abs(now - Atomics.exchange(cells, at + CLOCK, now) | 0);
      // What it owes: so its slot is kept.
      const before = idleMs > this.debtMs ? 0 : Atomics.load(cells, at + REQUESTS_LEFT);
      const after = Math.max(LEAST, before - 1);
      Atomics.store(cells, at + REQUESTS_LEFT, after);
      return -after;
    } finally {
      this.unlock(worker);
    }
  }

  /** True once in a while: something is to be said of its Who. */
  says(slot: number, nowMs: number): boolean {
    const at = this.at(slot) + SAID;
    const before = Atomics.load(this.cells, at);
    // 0 is never.
    const now = (nowMs | 0) || 1;
    if (before !== 0 && Math.abs(now - before | 0) < SAY_MS) return false;
    return Atomics.compareExchange(this.cells, at, before, now) === before;
  }

  /** Connections of its Who, over all workers. */
  connections(slot: number): number {
    return Atomics.load(this.cells, this.at(slot) + CONNECTIONS);
  }

  /** A worker has died: its connections are gone, and the lock is open. Call it when its thread runs no more. */
  bury(worker: number): void {
    Atomics.compareExchange(this.cells, LOCK, 1 + worker, 0);
    for (let slot = 0; slot < this.slots; slot++) {
      const at = this.at(slot);
      const gone = Atomics.exchange(this.cells, at + OF_WORKER + worker, 0);
      if (gone !== 0) Atomics.sub(this.cells, at + CONNECTIONS, gone);
    }
  }

  private at(slot: number): number {
    return HEAD + slot * this.size;
  }

  // ---- slots

  /** With the lock. */
  private find(tag: number, { high, low }: Who, rates: Rates, now: number): number {
    const { cells } = this;
    const first = hash(tag, high, low);
    let free = SHARED;
    for (let i = 0; i < PROBES; i++) {
      const slot = 1 + (first + i) % (this.slots - 1);
      const at = this.at(slot);
      if (cells[at + POOL_KIND] === tag && cells[at + HIGH] === high && cells[at + LOW] === low) return slot;
      if (free === SHARED && this.isFree(at, now)) free = slot;
    }
    const at = this.at(free);
    if (free === SHARED && !this.isFree(at, now)) return SHARED;
    cells[at + POOL_KIND] = tag;
    cells[at + HIGH] = high;
    cells[at + LOW] = low;
    Atomics.store(cells, at + SAID, 0);
    Atomics.store(cells, at + CLOCK, now);
    Atomics.store(cells, at + REQUESTS_LEFT, rates.requestsMax);
    Atomics.store(cells, at + BYTES_LEFT, rates.bytesMax);
    return free;
  }

  private isFree(at: number, now: number): boolean {
    const { cells } = this;
    if (cells[at + POOL_KIND] === 0) return true;
    if (Atomics.load(cells, at + CONNECTIONS) > 0) return false;
    const idleMs = Math.abs(now - Atomics.load(cells, at + CLOCK) | 0);
    const owes = Atomics.load(cells, at + REQUESTS_LEFT) < 0 || Atomics.load(cells, at + BYTES_LEFT) < 0;
    return idleMs >= (owes ? this.debtMs : FULL_MS);
  }

  private lock(worker: number): void {
    for (;;) {
      const holder = Atomics.compareExchange(this.cells, LOCK, 0, 1 + worker);
      if (holder === 0) return;
      // It is held for some µs, unless its thread is not running, or has died.
      Atomics.wait(this.cells, LOCK, holder, 1);
    }
  }

  private unlock(worker: number): void {
    Atomics.compareExchange(this.cells, LOCK, 1 + worker, 0);
  }

  // ---- what is left

  /** Whoever moves the clock on brings what has been gained by that. */
  private refill(at: number, { requestsMax, bytesMax }: Rates, now: number): void {
    const { cells } = this;
    const then = Atomics.load(cells, at + CLOCK);
    const ms = now - then | 0;
    if (ms === 0 || (ms < 0 && ms > -BACK_MS)) return;
    if (Atomics.compareExchange(cells, at + CLOCK, then, now) !== then || ms < 0) return;
    if (requestsMax > 0) this.add(at + REQUESTS_LEFT, gained(then, ms, requestsMax), requestsMax);
    if (bytesMax > 0) this.add(at + BYTES_LEFT, gained(then, ms, bytesMax), bytesMax);
  }

  private add(at: number, change: number, max: number): void {
    const { cells } = this;
    for (let before = Atomics.load(cells, at);;) {
      const after = Math.max(LEAST, Math.min(max, before + change));
      const found = Atomics.compareExchange(cells, at, before, after);
      if (found === before) return;
      before = found;
    }
  }
}

/** Whole ones that come in `ms` after `then`, at `rate` a second: in a row of such stretches none is lost. */
function gained(then: number, ms: number, rate: number): number {
  const phase = (then % 1000 + 1000) % 1000;
  const till = phase + Math.min(ms, GAIN_MS);
  return Math.floor(till * rate / 1000) - Math.floor(phase * rate / 1000);
}

function hash(a: number, b: number, c: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 15 ^ b, 0xc2b2ae35);
  h = Math.imul(h ^ h >>> 13 ^ c, 0x27d4eb2f);
  h = Math.imul(h ^ h >>> 16, 0x165667b1);
  return (h ^ h >>> 15) >>> 1;
}
