/**
 * The real clock, and the one place that asks for the end of a turn. Works the same on Deno and Bun.
 *
 *   poll ─► ready socket 1 … ready socket n ─► setImmediate: every afterTurn in order ─► poll
 *
 * setImmediate runs once after all sockets that were ready, on both runtimes; microtasks and nextTick do not
 * (Bun runs them after each socket). Measured on Deno 2.9.6 and Bun 1.4.5; checked by tests/runtime/contract.ts.
 */
import type { Clock, TimerId } from "../net/net.ts";

/** setTimeout turns longer waits into 1 ms. */
const TIMEOUT_MAX_MS = 0x7fffffff;

let runs: (() => void)[] = [];
let spare: (() => void)[] = [];
let scheduled = false;

/** Runs `run` at the end of this turn, after everything asked for earlier. Asked for at the end of a turn: next turn. */
export function afterTurn(run: () => void): void {
  runs.push(run);
  if (!scheduled) {
    scheduled = true;
    setImmediate(runAll);
  }
}

function runAll(): void {
  const due = runs;
  runs = spare;
  scheduled = false;
  let i = 0;
  try {
    while (i < due.length) due[i++]!();
  } finally {
    // Only after a throw: the others still get their turn, before anything they have asked for since.
    for (; i < due.length; i++) afterTurn(due[i]!);
    due.length = 0;
    spare = due;
  }
}

export class SystemClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  /** A pending timer keeps the process alive. `afterMs` above 24.8 days means 24.8 days. */
  setTimer(afterMs: number, run: () => void): TimerId {
    return setTimeout(run, Math.min(afterMs, TIMEOUT_MAX_MS));
  }

  clearTimer(id: TimerId): void {
    clearTimeout(id as number);
  }

  afterTurn(run: () => void): void {
    afterTurn(run);
  }
}
