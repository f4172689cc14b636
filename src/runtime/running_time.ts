/**
 * Time in which this thread ran, for deadlines: what a stop takes (SIGSTOP, a paused machine, swapping, a turn of seconds) is
 * nobody's fault, and what came meanwhile has not been read yet.
 *
 *   real     ──────┬───────────── stopped ─────────────┬────────►
 *   running  ──────┴─►(GRACE_MS before the next timer)─┴────────►
 *
 * The thread looks at the time in every turn, and sleeps until its next timer at most. A look later than that by more than LATE_MS
 * means that it did not run: time then goes on just before that timer, so that sockets are read first and timers judge afterwards.
 * Stops without end (each turn is that long) must not keep timers from running: of every other one LATE_MS count.
 */

/** Lateness that is usual on a busy machine. */
const LATE_MS = 20;
/** For reading what came during a stop. */
const GRACE_MS = 10;

export class RunningTime {
  private nowMs: number;
  /** By the real time. */
  lookedMs: number;
  private graceUntilMs = -Infinity;

  /** @param real monotonic ms */
  constructor(private readonly real: () => number) {
    this.nowMs = this.lookedMs = real();
  }

  /**
   * Monotonic ms.
   * @param dueMs until when at most the thread meant to sleep: its next timer is due, by this time; Infinity = there is none
   * @param realMs a reading that somebody has just made
   */
  look(dueMs: number, realMs: number = this.real()): number {
    const passedMs = realMs - this.lookedMs;
    this.lookedMs = realMs;
    if (passedMs <= LATE_MS || this.nowMs + passedMs <= dueMs + LATE_MS) return this.nowMs += passedMs;
    if (this.nowMs < this.graceUntilMs) return this.nowMs += LATE_MS;
    this.nowMs = Math.max(this.nowMs, dueMs - GRACE_MS);
    this.graceUntilMs = this.nowMs + GRACE_MS;
    return this.nowMs;
  }
}
