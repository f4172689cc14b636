/**
 * The simulator's time. Nothing here waits: time jumps to the next event.
 *
 *   queue by (time, order of asking) ──► one turn: all events that are due ──► afterTurn callbacks ──► next turn
 *
 * An event that an event of this turn asks for "now" belongs to the next turn, as with a real poll.
 */
import type { Clock } from "../../src/net/net.ts";

interface Event {
  readonly atMs: number;
  readonly serial: number;
  run: (() => void) | null;
  /** A handler's, not the network's: in a long turn it comes behind the sockets' events, as in a real loop. */
  isTimer: boolean;
  /** It is on the heap. */
  queued: boolean;
}

/** So many turns without time passing means that something runs in a circle. */
const STUCK_TURNS = 100_000;

export class SimClock implements Clock {
  private readonly heap: Event[] = [];
  private nextTurn: (() => void)[] = [];
  private serial = 0;
  private now = 0;
  private cancelled = 0;
  /** Turns since the start. */
  turns = 0;
  /** Asked how long each turn takes; absent: no time at all. What becomes due meanwhile belongs to the same turn. */
  turnMs: (() => number) | null = null;

  /** @param epochMs wall time at the start, in ms since 1970 */
  constructor(private readonly epochMs = 1_700_000_000_000) {}

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return this.epochMs + this.now;
  }

  setTimer(afterMs: number, run: () => void): Event {
    if (Number.isNaN(afterMs)) throw new RangeError("setTimer: expected milliseconds, found NaN");
    const event = this.at(this.now + Math.max(0, afterMs), run);
    event.isTimer = true;
    return event;
  }

  clearTimer(id: unknown): void {
    const event = id as Event | null | undefined;
    if (event === null || event === undefined || event.run === null) return;
    event.run = null;
    if (event.queued && ++this.cancelled * 2 > this.heap.length) this.sweep();
  }

  afterTurn(run: () => void): void {
    this.nextTurn.push(run);
  }

  /** As setTimer, but at a time of the clock; one that has passed means in the next turn. */
  at(atMs: number, run: () => void): Event {
    const event: Event = {
      atMs: Math.max(this.now, atMs),
      serial: this.serial++,
      run,
      isTimer: false,
      queued: true,
    };
    this.push(event);
    return event;
  }

  /** Events and callbacks that are still to come. */
  get waiting(): number {
    return this.heap.length - this.cancelled + this.nextTurn.length;
  }

  /** When the next turn will be, in ms; Infinity if nothing is to come. */
  nextMs(): number {
    this.dropCancelled();
    return this.nextTurn.length > 0 ? this.now : this.heap[0]?.atMs ?? Infinity;
  }

  /** One turn, after a jump to its time. False if nothing was to come. */
  turn(): boolean {
    const atMs = this.nextMs();
    if (atMs === Infinity) return false;
    this.now = Math.max(this.now, atMs);
    this.turns++;
    const last = this.serial;
    const endMs = this.now + (this.turnMs?.() ?? 0);
    const timers: Event[] = [];
    for (;;) {
      this.dropCancelled();
      const event = this.heap[0];
      if (event === undefined || event.atMs > endMs || event.serial >= last) break;
      this.pop();
      event.queued = false;
      if (event.isTimer && endMs > atMs) timers.push(event);
      else {
        this.now = Math.max(this.now, event.atMs);
        fire(event);
      }
    }
    this.now = endMs;
    for (const event of timers) fire(event);
    const callbacks = this.nextTurn;
    this.nextTurn = [];
    for (const run of callbacks) run();
    return true;
  }

  /**
   * Takes turns until `untilMs`, or until nothing is to come; then it is `untilMs` (if that is finite).
   * @param stop asked after each turn; true ends the run early
   * @throws Error if turns go on without time passing
   */
  run(untilMs = Infinity, stop?: () => boolean): void {
    let stuck = 0;
    while (this.nextMs() <= untilMs) {
      const before = this.now;
      if (!this.turn()) break;
      stuck = this.now === before ? stuck + 1 : 0;
      if (stuck > STUCK_TURNS) throw new Error(`${stuck} turns at ${this.now} ms without time passing`);
      if (stop?.()) return;
    }
    if (untilMs !== Infinity) this.now = Math.max(this.now, untilMs);
  }

  /**
   * As `run`, for code that waits for promises: between turns they get to run. Ends when `done` is true.
   * @throws Error if nothing is to come and `done` is still false
   */
  async runAsync(done: () => boolean): Promise<void> {
    for (;;) {
      // A whole round of the real loop, so that chains of promises come to rest.
      await new Promise((resolve) => setImmediate(resolve));
      if (done()) return;
      if (!this.turn()) throw new Error(`nothing is to come at ${this.now} ms, and it is not done`);
    }
  }

  private push(event: Event): void {
    const { heap } = this;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length > 0) this.sink(last, 0);
  }

  private sink(event: Event, i: number): void {
    const { heap } = this;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, event)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = event;
  }

  private dropCancelled(): void {
    while (this.heap.length > 0 && this.heap[0]!.run === null) {
      this.pop();
      this.cancelled--;
    }
  }

  private sweep(): void {
    const living = this.heap.filter((event) => event.run !== null);
    this.heap.length = 0;
    this.cancelled = 0;
    for (const event of living) this.push(event);
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || a.atMs === b.atMs && a.serial < b.serial;
}

function fire(event: Event): void {
  const { run } = event;
  event.run = null;
  // Null: cancelled since the turn has begun.
  run?.();
}
