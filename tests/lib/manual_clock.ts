/** Time that stands still but for `pass`; promises that are settled get their turn between two timers. */
import { setImmediate } from "node:timers";
import type { Clock, TimerId } from "../../src/net/net.ts";

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  private now = 0;
  private readonly timers = new Set<Timer>();

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return this.now;
  }

  setTimer(afterMs: number, run: () => void): TimerId {
    const timer = { atMs: this.now + afterMs, run };
    this.timers.add(timer);
    return timer;
  }

  clearTimer(id: TimerId): void {
    this.timers.delete(id as Timer);
  }

  afterTurn(run: () => void): void {
    this.setTimer(0, run);
  }

  /** How many timers wait. */
  get pending(): number {
    return this.timers.size;
  }

  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    for (;;) {
      await settled();
      const [next] = [...this.timers].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > until) break;
      this.timers.delete(next);
      this.now = Math.max(this.now, next.atMs);
      next.run();
    }
    this.now = until;
    await settled();
  }
}

/** What has been promised and can go on has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
