/**
 * Sockets that have said everything and sent FIN, waiting for the peer's.
 *
 *   end() ─► queue drained ─► FIN ─► read and discard ─► peer's FIN: closed
 *                                        └─► idle or too long: give up
 *
 * Closing at once instead would make the kernel answer bytes that are still arriving with RST, and RST throws
 * away what the peer has not read yet (oven-sh/bun#35947: 4 of 8 MiB arrived). The two limits are like nginx's
 * lingering_timeout and lingering_time, the latter shorter than its 30 s: who has not read an error after 10 s of sending
 * on does not read. One timer for all sockets, and none while there are none.
 */
import type { Clock, Socket, TimerId } from "../net/net.ts";
import { SystemClock } from "./clock.ts";
import { RunningClock } from "./running_clock.ts";

/** After FIN: nothing came from the peer for this long. */
const QUIET_MAX_MS = 5000;
/** After FIN: the peer goes on sending, but nobody will ever read it. */
const LINGER_MAX_MS = 10_000;
/** Before FIN: the peer has taken nothing for this long, so it never will. */
const STALL_MAX_MS = 60_000;
const SWEEP_MS = 500;

export interface Lingering extends Socket {
  /** Set by the socket whenever the peer sent or took something; cleared here. */
  heard: boolean;
  /** Time is up. */
  giveUp(): void;
}

interface Limits {
  heardMs: number;
  quietMaxMs: number;
  endMs: number;
}

export class Lingerers {
  private readonly waiting = new Map<Lingering, Limits>();
  private timer: TimerId | null = null;

  constructor(private readonly clock: Clock) {}

  /** `end` was called, and the queue is not empty yet. */
  watchStall(socket: Lingering): void {
    this.watch(socket, STALL_MAX_MS, Infinity);
  }

  /** Everything is said; only the peer's FIN or reset is missing. */
  watchLinger(socket: Lingering): void {
    this.watch(socket, QUIET_MAX_MS, LINGER_MAX_MS);
  }

  /** It has closed. */
  unwatch(socket: Lingering): void {
    if (!this.waiting.delete(socket) || this.waiting.size > 0 || this.timer === null) return;
    this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private watch(socket: Lingering, quietMaxMs: number, maxMs: number): void {
    const nowMs = this.clock.nowMs();
    this.waiting.set(socket, { heardMs: nowMs, quietMaxMs, endMs: nowMs + maxMs });
    this.timer ??= this.clock.setTimer(SWEEP_MS, () => this.sweep());
  }

  private sweep(): void {
    this.timer = null;
    const nowMs = this.clock.nowMs();
    for (const [socket, limits] of this.waiting) {
      if (socket.heard) {
        socket.heard = false;
        limits.heardMs = nowMs;
      }
      if (nowMs - limits.heardMs >= limits.quietMaxMs || nowMs >= limits.endMs) {
        this.waiting.delete(socket);
        socket.giveUp();
      }
    }
    if (this.waiting.size > 0) this.timer ??= this.clock.setTimer(SWEEP_MS, () => this.sweep());
  }
}

/** Those of Bun's and Deno's own sockets. */
export const lingerers: Lingerers = new Lingerers(new RunningClock(new SystemClock()));
