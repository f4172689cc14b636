import { ok, strictEqual } from "node:assert/strict";
import { RunningTime } from "../../src/runtime/running_time.ts";

Deno.test("RunningTime leaves a stop out, and goes on just before the timer that was due next", () => {
  let real = 1000;
  const time = new RunningTime(() => real);
  strictEqual(time.look(1050), 1000);
  real += 10;
  strictEqual(time.look(1050), 1010);
  // A sleep until the timer, a little late.
  real = 1055;
  strictEqual(time.look(1050), 1055);
  real += 3000;
  strictEqual(time.look(1100), 1090);
  real += 10;
  strictEqual(time.look(1100), 1100);
  // Overdue already when the process stopped.
  real += 3000;
  strictEqual(time.look(1095), 1100);
});

Deno.test("RunningTime: who has no timers may sleep", () => {
  let real = 0;
  const time = new RunningTime(() => real);
  real = 3_600_000;
  strictEqual(time.look(Infinity), 3_600_000);
});

Deno.test("RunningTime goes on although every turn is long", () => {
  let real = 0;
  const time = new RunningTime(() => real);
  let dueMs = 50;
  for (let i = 0; i < 100; i++) {
    real += 100;
    const nowMs = time.look(dueMs);
    // The turn looks more than once.
    real += 0.1;
    ok(time.look(dueMs) >= nowMs);
    if (nowMs >= dueMs) dueMs = nowMs + 50;
  }
  ok(time.look(dueMs) > 900);
});
