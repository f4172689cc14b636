/**
 * Turns of a thread for work that may wait: answers of the admin side, which may be long, in steps between the turns of the traffic.
 *
 *   answer ──► Steps.all(its work) ──┐
 *   answer ──► Steps.all(its work) ──┴─► Turns: one step a turn, whoever's it is ──► the thread that carries traffic, perhaps
 *
 * Work is a generator as of ring/steps.ts. What it says it has taken depends on what it does, so the steps are the same on any machine,
 * and a test can count what is done in each (tests/sim/admin_steps_test.ts).
 */
import type { Clock } from "../net/net.ts";

/** About what a step takes, µs, once the code is warm; when it runs for the first time some ms. */
const STEP_US = 500;

export class Turns {
  private readonly waiting: (() => void)[] = [];
  private armed = false;

  constructor(private readonly clock: Clock) {}

  /** Resolves in a turn of its own: nobody else's that has waited here too. First come, first served. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.waiting.push(resolve);
      this.arm();
    });
    // Not before: where promises go on less often than there are turns (runtime/loop.ts), several would in one.
    this.armed = false;
    this.arm();
  }

  private arm(): void {
    if (this.armed || this.waiting.length === 0) return;
    this.armed = true;
    this.clock.setTimer(0, () => this.waiting.shift()!());
  }
}

/** The steps of one piece of work, or of several one after the other. */
export class Steps {
  /** Nothing is done before there has been a turn: others may have begun something in this one. */
  private leftUs = 0;

  constructor(private readonly turns: Turns) {}

  /** Does all of it, some a turn. Rejects with what it throws. */
  async all<T>(work: Generator<number, T>): Promise<T> {
    for (;;) {
      if (this.leftUs <= 0) {
        await this.turns.next();
        this.leftUs = STEP_US;
      }
      const { done, value } = work.next();
      if (done) return value;
      this.leftUs -= value;
    }
  }
}
