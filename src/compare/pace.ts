/** So many a second, and no more. */
import type { Clock } from "../net/net.ts";

export class Pace {
  private nextMs: number;

  constructor(private readonly clock: Clock, private readonly perSecond: number) {
    this.nextMs = clock.nowMs();
  }

  /** Resolves when `count` more may be done. What was not used in time is not made up for. */
  async take(count: number): Promise<void> {
    const { clock } = this;
    const nowMs = clock.nowMs();
    const startMs = Math.max(this.nextMs, nowMs - LATE_MS);
    this.nextMs = startMs + count / this.perSecond * 1000;
    const waitMs = startMs - nowMs;
    if (waitMs >= 1) await new Promise<void>((then) => clock.setTimer(waitMs, then));
  }
}

/** What a timer may be late. */
const LATE_MS = 20;
