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
import type { Socket } from "../net/net.ts";

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

const waiting = new Map<Lingering, Limits>();
let timer: ReturnType<typeof setTimeout> | undefined;

/** `end` was called, and the queue is not empty yet. */
export function watchStall(socket: Lingering): void {
  watch(socket, STALL_MAX_MS, Infinity);
}

/** Everything is said; only the peer's FIN or reset is missing. */
export function watchLinger(socket: Lingering): void {
  watch(socket, QUIET_MAX_MS, LINGER_MAX_MS);
}

/** It has closed. */
export function unwatch(socket: Lingering): void {
  if (waiting.delete(socket) && waiting.size === 0) {
    clearTimeout(timer);
    timer = undefined;
  }
}

function watch(socket: Lingering, quietMaxMs: number, maxMs: number): void {
  const nowMs = performance.now();
  waiting.set(socket, { heardMs: nowMs, quietMaxMs, endMs: nowMs + maxMs });
  timer ??= setTimeout(sweep, SWEEP_MS);
}

function sweep(): void {
  timer = undefined;
  const nowMs = performance.now();
  for (const [socket, limits] of waiting) {
    if (socket.heard) {
      socket.heard = false;
      limits.heardMs = nowMs;
    }
    if (nowMs - limits.heardMs >= limits.quietMaxMs || nowMs >= limits.endMs) {
      waiting.delete(socket);
      socket.giveUp();
    }
  }
  if (waiting.size > 0) timer ??= setTimeout(sweep, SWEEP_MS);
}
