import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { Leave } from "../../src/proxy/leave.ts";
import { makeBoard } from "../../src/service/ceilings.ts";
import { LEAVE_MAX_MS } from "../../src/stats/board.ts";
import { runs } from "../lib/runs.ts";

const CONFIG = parseConfig("p: {listen: 127.0.0.1:1, redis: true, servers: [127.0.0.1:2:1]}", "x");

/** A server's cells, and a thread that may write by them; its running time stands still. */
function made() {
  const cells = makeBoard(CONFIG, 2).pools[0]!.servers[0]!;
  const now = { ms: 1000 };
  const clock = { nowMs: () => 0, realMs: () => now.ms } as never;
  return { cells, now, leave: new Leave(cells, clock) };
}

Deno.test("Leave: what was granted counts from the look before it was seen", () => {
  const { cells, now, leave } = made();
  ok(leave.holds, "nothing has been granted yet");
  now.ms += 100;
  cells.grant(2000);
  now.ms += 50;
  ok(leave.holds);
  now.ms = 2999;
  ok(leave.holds);
  now.ms = 3000;
  equal(leave.holds, false);
  cells.grant(2000);
  now.ms = 4999;
  ok(leave.holds);
});

Deno.test("Leave: what was granted right before a stop is not new behind it", () => {
  const { cells, now, leave } = made();
  cells.grant(2000);
  ok(leave.holds);
  cells.grant(2000);
  now.ms += 10_000;
  equal(leave.holds, false);
  equal(leave.holds, false);
  // The main thread has asked again.
  cells.grant(1500);
  ok(leave.holds);
});

Deno.test("Leave: who has waited since then may write when it has been asked since, whatever has ended meanwhile", () => {
  const { cells, now, leave } = made();
  cells.grant(2000);
  ok(leave.holds && leave.holdsForNew, "nothing has ended");
  now.ms += 10;
  leave.connectionEnded();
  equal(leave.holdsForNew, false);
  const sinceMs = now.ms += 5;
  // Asked before.
  now.ms += 20;
  cells.grant(1970);
  equal(leave.holdsSince(sinceMs), false);
  now.ms += 20;
  cells.grant(2000);
  leave.connectionEnded();
  ok(leave.holdsSince(sinceMs));
  equal(leave.holdsForNew, false);
});

Deno.test("Leave: nobody writes for longer than has been granted, whoever is stopped when", () => {
  const event = fc.oneof(
    fc.record({ grant: fc.integer({ min: -10, max: 6000 }) }),
    fc.record({ passes: fc.integer({ min: 0, max: 5000 }) }),
    fc.constant({ look: true }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const { cells, now, leave } = made();
      let untilMs = Infinity;
      for (const each of events) {
        if ("grant" in each) {
          cells.grant(each.grant);
          const granted = now.ms + Math.min(Math.max(each.grant, 0), LEAVE_MAX_MS);
          untilMs = untilMs === Infinity ? granted : Math.max(untilMs, granted);
        } else if ("passes" in each) now.ms += each.passes;
        else if (leave.holds) ok(now.ms < untilMs, `${now.ms} is not before ${untilMs}`);
      }
    }),
    { numRuns: runs(300) },
  );
});
