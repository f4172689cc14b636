/** When memory is let go of: once after each busy time. */
import { deepStrictEqual } from "node:assert/strict";
import { Lull } from "../../src/runtime/lull.ts";
import { ManualClock } from "../lib/manual_clock.ts";

Deno.test("Lull rests once after the start and after each busy time, and never for who works little all the time", async () => {
  const clock = new ManualClock();
  let cpuMs = 500;
  let rests = 0;
  new Lull(clock, () => cpuMs, () => {
    rests++;
    // What the rest itself takes is no work.
    cpuMs += 1000;
  });
  const found: number[] = [];
  // CPU ms in each of the intervals: calm, calm, some, calm, busy, some, calm, calm, busy, calm.
  for (const took of [10, 40, 200, 40, 3000, 200, 40, 40, 600, 10]) {
    cpuMs += took;
    await clock.pass(4000);
    found.push(rests);
  }
  deepStrictEqual(found, [1, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
});
