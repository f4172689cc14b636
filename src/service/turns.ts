/**
 * Turns of a thread for work that may wait: answers of the admin side, which may be long, in steps between the turns of the traffic.
 *
 *   answer ──► all(its work) ────┐
 *   answer ──► all(its work) ────┼─► some steps a turn, whosever they are ──► the thread that carries traffic, perhaps
 *   reload ──► rarely(its work) ─┘
 *
 * Work is a generator as of ring/steps.ts. What it says it has taken depends on what it does, so the steps are the same on any machine,
 * and a test can count what is done in each (tests/sim/admin_steps_test.ts).
 */
import type { Clock } from "../net/net.ts";

/** About what all steps of one turn take, µs, once the code is warm; when it runs for the first time some ms. */
const TURN_US = 100;
/** What is done rarely takes so long a turn, ms. */
const RARE_TURN_MS = 1;

export class Turns {
  private readonly waiting: ((leftUs: number) => void)[] = [];
  /** Somebody's steps are taken, or will be in the next turn. */
  private busy = false;

  constructor(private readonly clock: Clock) {}

  /** Does all of it, some steps a turn, by what they say. Rejects with what it throws. */
  async all<T>(work: Generator<number, T>): Promise<T> {
    for (;;) {
      let leftUs = await this.next();
      try {
        do {
          const { done, value } = work.next();
          if (done) return value;
          leftUs -= value;
        } while (leftUs > 0);
      } finally {
        this.pass(leftUs);
      }
    }
  }

  /** As `all`, but by the clock: of what is done rarely (a reload) the code is cold, and takes ten times what it says, and more. */
  async rarely<T>(work: Generator<number, T>): Promise<T> {
    for (;;) {
      await this.next();
      try {
        const endMs = this.clock.nowMs() + RARE_TURN_MS;
        do {
          const { done, value } = work.next();
          if (done) return value;
        } while (this.clock.nowMs() < endMs);
      } finally {
        this.pass(0);
      }
    }
  }

  /**
   * Resolves in a turn with what is left of it, µs; first come, first served. Who has been waited for says with `pass` what he has not
   * used: nobody else goes on before.
   */
  private next(): Promise<number> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.begin();
    });
  }

  /** What is left of this turn is for the next one who waits; nothing = he has the next turn. */
  private pass(leftUs: number): void {
    const next = leftUs > 0 ? this.waiting.shift() : undefined;
    if (next !== undefined) return next(leftUs);
    this.busy = false;
    this.begin();
  }

  private begin(): void {
    if (this.busy || this.waiting.length === 0) return;
    this.busy = true;
    this.clock.setTimer(0, () => this.pass(TURN_US));
  }
}

/** Resolves when all that is ready has had its turn. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(0, resolve));
}
