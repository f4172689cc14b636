/**
 * For how long a worker may write to a server's primary (`failover: promote`): others count on it that nobody does for longer
 * (docs/decisions/39), so it holds while the main thread, this one or all of the process is stopped as well.
 *
 *   main thread: a majority says so ──grant(ms)──► board ──look──► Leave ──holds?──► ServerConnection.flush
 *
 * When the main thread has written what stands on the board this thread cannot know, but that it was after the look before: from then on
 * it counts. So a thread has to look often, and none that has been stopped takes what was written before the stop for new.
 */
import type { Clock } from "../net/net.ts";
import { LEASE_MS, LEAVE_MAX_MS, type ServerCells } from "../stats/board.ts";

/** Every leave is shorter by this at most. */
export const LOOK_MS = 100;

export class Leave {
  private word: number;
  private lookedAtMs: number;
  /** Nothing is known before the main thread has granted something to this worker. */
  private untilMs = Infinity;
  private endedAtMs = -Infinity;

  constructor(private readonly cells: ServerCells, private readonly clock: Clock) {
    this.word = cells.leave;
    this.lookedAtMs = this.nowMs;
  }

  /** Real ms (Clock.realMs). */
  get nowMs(): number {
    return this.clock.realMs?.() ?? this.clock.nowMs();
  }

  /** One of the primary's connections has ended, and we have not let go of it: its process may have ended with it. */
  connectionEnded(): void {
    this.endedAtMs = this.nowMs;
  }

  /**
   * May a connection that has been made just now be written to at once? Who is there may be another process than the one that a majority
   * was asked about, and know nothing of what that one was told by hand: then it has to have been asked since (`holdsSince`).
   */
  get holdsForNew(): boolean {
    return this.holdsSince(this.endedAtMs);
  }

  /** Does it hold, and has a majority certainly been asked for it since then? @param ms as `nowMs` */
  holdsSince(ms: number): boolean {
    return this.holds && this.untilMs - LEASE_MS >= ms;
  }

  /** Looks at the board: may something be written at this moment? */
  get holds(): boolean {
    const { nowMs } = this;
    const word = this.cells.leave;
    if (word !== this.word) {
      this.word = word;
      this.untilMs = this.lookedAtMs + word % (LEAVE_MAX_MS + 1);
    }
    this.lookedAtMs = nowMs;
    return nowMs < this.untilMs;
  }
}
