import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { Clock } from "../../src/net/net.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";

/** A loop that runs due timers first, and then reads its sockets, as Deno's does. */
class Loop implements Clock {
  ms = 1000;
  private readonly timers: { readonly atMs: number; run: (() => void) | null }[] = [];

  nowMs = () => this.ms;
  wallMs = () => this.ms;
  afterTurn = (run: () => void) => run();

  setTimer(afterMs: number, run: () => void): unknown {
    const timer = { atMs: this.ms + afterMs, run };
    this.timers.push(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    (timer as { run: null }).run = null;
  }

  /** One turn, so much later. */
  turn(afterMs: number, read: () => void = () => {}): void {
    this.ms += afterMs;
    const due = this.timers.filter((timer) => timer.atMs <= this.ms);
    for (const timer of due) this.timers.splice(this.timers.indexOf(timer), 1);
    for (const timer of due) timer.run?.();
    read();
  }
}

Deno.test("RunningClock reads what is ready before it judges, however short the stop was", () => {
  for (const stopMs of [50, 50.3, 51, 60, 69, 71, 5000]) {
    const loop = new Loop();
    const clock = new RunningClock(loop);
    const said: string[] = [];
    const timer = clock.setTimer(50, () => said.push("timed out"));
    loop.turn(stopMs, () => {
      said.push("read");
      clock.clearTimer(timer);
    });
    for (let i = 0; i < 50; i++) loop.turn(1);
    deepStrictEqual(said, ["read"], `after ${stopMs} ms`);
  }
});

Deno.test("RunningClock: what nothing was read for is judged in the next turn", () => {
  const loop = new Loop();
  const clock = new RunningClock(loop);
  let calls = 0;
  clock.setTimer(50, () => calls++);
  loop.turn(60);
  strictEqual(calls, 0);
  loop.turn(1);
  strictEqual(calls, 1);
});

Deno.test("RunningClock: a timer in time waits for nothing", () => {
  const loop = new Loop();
  const clock = new RunningClock(loop);
  let calls = 0;
  clock.setTimer(50, () => calls++);
  // Whoever reads a socket looks at the time.
  loop.turn(49, () => clock.nowMs());
  strictEqual(calls, 0);
  loop.turn(1);
  strictEqual(calls, 1);
});

Deno.test("RunningClock: timers run although every turn is long", () => {
  const loop = new Loop();
  const clock = new RunningClock(loop);
  let calls = 0;
  const again = () => {
    calls++;
    clock.setTimer(5, again);
  };
  again();
  for (let i = 0; i < 100; i++) loop.turn(15);
  strictEqual(calls > 40, true, `${calls}`);
});
