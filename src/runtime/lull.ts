/**
 * The time after a busy one, in which memory is let go of that only that one has needed.
 *
 *   start, load ──► busy ──► a whole interval nearly without work ──► `rest` once ──► … ──► busy again ──► …
 *
 * Whoever works little but all the time is never busy, so `rest`, which may take some tens of ms, is not among his requests again and
 * again. One look an interval, at the process's CPU time: all threads are calm, or none is.
 */
import type { Clock } from "../net/net.ts";

const FIRST_MS = 1000;
const EVERY_MS = 4000;
/** Shares of one core: busy from, and calm up to. */
const BUSY = 0.1;
const CALM = 0.02;

export class Lull {
  /** Something is to be let go of. */
  private wasBusy = true;
  private lookedAtMs: number;
  private cpuMs: number;

  /** @param cpuMs what the process has used of its cores since some time */
  constructor(
    private readonly clock: Clock,
    private readonly cpuTimeMs: () => number,
    private readonly rest: () => void,
  ) {
    this.lookedAtMs = clock.nowMs();
    this.cpuMs = cpuTimeMs();
    clock.setTimer(FIRST_MS, () => this.look());
  }

  private look(): void {
    const [nowMs, cpuMs] = [this.clock.nowMs(), this.cpuTimeMs()];
    const share = (cpuMs - this.cpuMs) / Math.max(nowMs - this.lookedAtMs, 1);
    if (share >= BUSY) this.wasBusy = true;
    else if (this.wasBusy && share < CALM) {
      this.wasBusy = false;
      this.rest();
    }
    this.lookedAtMs = this.clock.nowMs();
    this.cpuMs = this.cpuTimeMs();
    this.clock.setTimer(EVERY_MS, () => this.look());
  }
}
