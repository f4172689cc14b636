import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Timers } from "../../src/runtime/timers.ts";
import { Random } from "../lib/random.ts";

Deno.test("Timers run what is due, soonest first, and of equals the one set first", () => {
  const timers = new Timers();
  const ran: string[] = [];
  for (const [dueMs, name] of [[5, "c"], [1, "a"], [5, "d"], [9, "e"], [1, "b"]] as const) {
    timers.add(dueMs, () => ran.push(name));
  }
  timers.runDue(0.5);
  deepStrictEqual([ran, timers.nextMs, timers.size], [[], 1, 5]);
  timers.runDue(5);
  deepStrictEqual([ran, timers.nextMs, timers.size], [["a", "b", "c", "d"], 9, 1]);
  timers.runDue(100);
  deepStrictEqual([ran.at(-1), timers.nextMs, timers.size], ["e", Infinity, 0]);
});

Deno.test("Timers remove() calls off, once, also what is due, and not what has run", () => {
  const timers = new Timers();
  const ran: number[] = [];
  const ids = [1, 2, 3].map((dueMs) => timers.add(dueMs, () => ran.push(dueMs)));
  timers.remove(ids[1]!);
  timers.remove(ids[1]!);
  strictEqual(timers.size, 2);
  timers.runDue(2);
  timers.remove(ids[0]!);
  strictEqual(timers.size, 1);
  timers.runDue(9);
  deepStrictEqual([ran, timers.size], [[1, 3], 0]);
});

Deno.test("Timers set while timers run wait for the next call", () => {
  const timers = new Timers();
  let runs = 0;
  const again = () => void (runs++, timers.add(0, again));
  timers.add(0, again);
  timers.runDue(10);
  timers.runDue(10);
  strictEqual(runs, 2);
});

for (let seed = 1; seed <= 10; seed++) {
  Deno.test(`Timers do what a sorted list would, seed ${seed}`, () => {
    const random = new Random(seed);
    const timers = new Timers();
    let list: { dueMs: number; serial: number; id: object }[] = [];
    const ran: number[] = [];
    let nowMs = 0;
    for (let serial = 0; serial < 3000; serial++) {
      const dueMs = nowMs + random.below(50);
      list.push({ dueMs, serial, id: timers.add(dueMs, () => ran.push(serial)) });
      // Most are called off, so that the heap is cleared of dead ones.
      while (list.length > 0 && random.below(5) > 1) {
        timers.remove(list.splice(random.below(list.length), 1)[0]!.id);
      }
      if (random.below(10) > 0) continue;
      nowMs += random.below(10);
      ran.length = 0;
      timers.runDue(nowMs);
      const due = list.filter((timer) => timer.dueMs <= nowMs);
      due.sort((a, b) => a.dueMs - b.dueMs || a.serial - b.serial);
      deepStrictEqual(ran, due.map((timer) => timer.serial));
      list = list.filter((timer) => timer.dueMs > nowMs);
      strictEqual(timers.size, list.length);
    }
  });
}
