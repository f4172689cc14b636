/** What has happened to servers: how much of it is kept, how long it has lasted, and what is logged of it. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Events, EVENTS_MAX } from "../../src/topology/events.ts";
import { SimClock } from "../sim/clock.ts";

function stand() {
  const clock = new SimClock(1_700_000_000_000);
  const lines: string[] = [];
  const events = new Events(clock, { level: 11, write: (_level, text) => lines.push(text) });
  return { clock, lines, events };
}

Deno.test("Events: what ends something says how long it has lasted", () => {
  const { clock, lines, events } = stand();
  events.record("down", "alpha", "m1", "Connection refused");
  clock.run(400);
  events.record("down", "alpha", "m1", "Connection refused");
  events.record("down", "beta", "m1", "Connection refused");
  clock.run(1234);
  events.record("switched", "alpha", "m1", "10.0.0.2:6379: +switch-master");
  events.record("switched", "alpha", "m1", "10.0.0.3:6379: +switch-master");
  deepStrictEqual(events.latest().map(({ kind, durationMs }) => `${kind} ${durationMs}`), [
    "down 0",
    "down 0",
    "down 0",
    "switched 1234",
    "switched 0",
  ]);
  strictEqual(
    lines[3],
    "pool 'alpha' server 'm1' switched: 10.0.0.2:6379: +switch-master (after 1234 ms)",
  );
  strictEqual(events.seen.last!.atMs, 1_700_000_001_234);
});

Deno.test("Events: whoever ejects or reloads has logged it", () => {
  const { lines, events } = stand();
  events.record("ejected", "alpha", "m1", "server_failure_limit");
  events.record("returned", "alpha", "m1", "it answers again");
  events.record("reload", "", "", "SIGHUP");
  deepStrictEqual(lines, []);
  events.record("source failed", "alpha", "", "no sentinel\r\nanswers");
  deepStrictEqual(lines, ["pool 'alpha' source failed: no sentinel answers"]);
});

Deno.test("Events: the last ones are kept, all are counted, and who asked is told", () => {
  const { events } = stand();
  let told = 0;
  events.told = ({ count }) => told = count;
  for (let i = 0; i < EVENTS_MAX + 20; i++) events.record("followed", "alpha", `s${i}`, "10.0.0.1:6379");
  const kept = events.latest();
  strictEqual(kept.length, EVENTS_MAX);
  strictEqual(kept[0]!.server, "s20");
  strictEqual(kept.at(-1), events.seen.last);
  strictEqual(kept.at(-1)!.server, `s${EVENTS_MAX + 19}`);
  strictEqual(events.seen.count, EVENTS_MAX + 20);
  strictEqual(told, EVENTS_MAX + 20);
  strictEqual(events.counts.get("followed"), EVENTS_MAX + 20);
  strictEqual(events.counts.get("down"), 0);
});

Deno.test("Events: slots that move one after the other take one place", () => {
  const { lines, events } = stand();
  for (let i = 0; i < EVENTS_MAX + 5; i++) {
    events.record("down", "alpha", `s${i}`, "Connection refused");
    for (let slot = 0; slot < 3; slot++) events.record("slots", "alpha", "", `slot ${slot} moves`);
    const [before, last] = events.latest().slice(-2);
    deepStrictEqual([before!.server, last!.cause], [`s${i}`, "slot 2 moves"]);
  }
  events.record("slots", "beta", "", "slot 7 moves");
  deepStrictEqual(events.latest().slice(-2).map(({ pool }) => pool), ["alpha", "beta"]);
  strictEqual(events.seen.count, 4 * (EVENTS_MAX + 5) + 1);
  strictEqual(lines.some((line) => line.includes("slot")), false);
});
