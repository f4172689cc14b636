/**
 * Turns of a thread for work that may wait: answers of the admin side, which may be long, in steps between the turns of the traffic.
 *
 *   answer ──► Steps.all(its work) ──┐
 *   answer ──► Steps.all(its work) ──┴─► Turns: some steps a turn, whosever they are ──► the thread that carries traffic, perhaps
 *
 * Work is a generator as of ring/steps.ts. What it says it has taken depends on what it does, so the steps are the same on any machine,
 * and a test can count what is done in each (tests/sim/admin_steps_test.ts).
 */
import type { Clock } from "../net/net.ts";

/** About what all steps of one turn take, µs, once the code is warm; when it runs for the first time some ms. */
const TURN_US = 200;

export class Turns {
  private readonly waiting: ((leftUs: number) => void)[] = [];
  /** Somebody's steps are taken, or will be in the next turn. */
  private busy = false;

  constructor(private readonly clock: Clock) {}

  /**
   * Resolves in a turn with what is left of it, µs; first come, first served. Who has been waited for says with `pass` what he has not
   * used: nobody else goes on before.
   */
  next(): Promise<number> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.begin();
    });
  }

  /** What is left of this turn is for the next one who waits; nothing = he has the next turn. */
  pass(leftUs: number): void {
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

/** For work that is done in steps. */
export class Steps {
  constructor(private readonly turns: Turns) {}

  /** Does all of it, some a turn. Rejects with what it throws. */
  async all<T>(work: Generator<number, T>): Promise<T> {
    for (;;) {
      let leftUs = await this.turns.next();
      try {
        do {
          const { done, value } = work.next();
          if (done) return value;
          leftUs -= value;
        } while (leftUs > 0);
      } finally {
        this.turns.pass(leftUs);
      }
    }
  }
}
