/** What an address may still do: exact over any time and any number of workers, places given back, a table that is full. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  ADDRESS,
  ENOUGH_BYTES,
  ENOUGH_NOTHING,
  ENOUGH_REQUESTS,
  LOCAL,
  Quotas,
  type Rates,
  SLOTS,
  USER,
} from "../../src/stats/quotas.ts";
import { Random } from "../lib/random.ts";

const FREE: Rates = { requestsMax: 0, bytesMax: 0, connectionsMax: 0 };
const START_MS = 1_795_990_000_000;

function who(low: number, kind = ADDRESS) {
  return { kind, high: -1, low };
}

/** The same memory as several workers see it. */
function workers(count: number): Quotas[] {
  const first = new Quotas(count, null);
  return [first, ...Array.from({ length: count - 1 }, () => new Quotas(count, first.memory))];
}

Deno.test("what is let through is the rate and a second's worth, to one request a worker, whoever asks when", () => {
  const random = new Random(1);
  for (let round = 0; round < 40; round++) {
    const all = workers(random.between(1, 4));
    const requestsMax = [1, 3, 7, 999, 1000, 12_345][round % 6]!;
    const rates = { ...FREE, requestsMax };
    const slots = all.map((quotas, w) => quotas.enter(1, who(9), w, rates, false, START_MS));
    deepStrictEqual(new Set(slots).size, 1);
    let [taken, ms] = [0, 0];
    const end = 20_000;
    for (
      ;
      ms <= end;
      ms = ms < end ? Math.min(end, ms + random.between(0, random.below(10) === 0 ? 900 : 9)) : end + 1
    ) {
      // Clocks of threads are not read at the same time.
      const w = random.below(all.length);
      const nowMs = START_MS + Math.max(0, ms - random.below(3));
      while (all[w]!.enough(slots[w]!, rates, nowMs) === ENOUGH_NOTHING) {
        all[w]!.spend(slots[w]!, rates, 1, 0);
        taken++;
      }
    }
    const due = requestsMax * (1 + end / 1000);
    ok(taken <= due + all.length && taken >= due * 0.999 - 1, `${taken} of ${due}`);
  }
});

Deno.test("bytes that were more than there were are paid back before anything else is let through", () => {
  const [quotas] = workers(1);
  const rates = { ...FREE, bytesMax: 1000 };
  const slot = quotas!.enter(0, who(1), 0, rates, false, START_MS);
  quotas!.spend(slot, rates, 1, 6000);
  const at = (ms: number) => quotas!.enough(slot, rates, START_MS + ms);
  deepStrictEqual([at(10), at(4999), at(5000), at(5001)], [
    ENOUGH_BYTES,
    ENOUGH_BYTES,
    ENOUGH_BYTES,
    ENOUGH_NOTHING,
  ]);
  // More than 32 bits is not forgiven, and does not become much.
  for (let i = 0; i < 5; i++) quotas!.spend(slot, rates, 0, 2 ** 31 - 1);
  strictEqual(at(900_000), ENOUGH_BYTES);
});

Deno.test("other rates count at once, up and down, and what has no limit is not counted", () => {
  const [quotas] = workers(1);
  const rates = { ...FREE, requestsMax: 1_000_000 };
  const slot = quotas!.enter(0, who(1), 0, rates, false, START_MS);
  const fewer = { ...FREE, requestsMax: 2 };
  strictEqual(quotas!.enough(slot, fewer, START_MS + 1), ENOUGH_NOTHING);
  quotas!.spend(slot, fewer, 2, 0);
  strictEqual(quotas!.enough(slot, fewer, START_MS + 2), ENOUGH_REQUESTS);
  strictEqual(quotas!.enough(slot, rates, START_MS + 3), ENOUGH_NOTHING);
  quotas!.spend(slot, FREE, 1_000_000, 1_000_000);
  strictEqual(quotas!.enough(slot, FREE, START_MS + 3), ENOUGH_NOTHING);
});

Deno.test("a machine's clock that is set back or forward stops nobody for long", () => {
  const [quotas] = workers(1);
  const rates = { ...FREE, requestsMax: 10 };
  const slot = quotas!.enter(0, who(1), 0, rates, false, START_MS);
  quotas!.spend(slot, rates, 20, 0);
  strictEqual(quotas!.enough(slot, rates, START_MS - 3_600_000), ENOUGH_REQUESTS);
  strictEqual(quotas!.enough(slot, rates, START_MS - 3_600_000 + 1200), ENOUGH_NOTHING);
  quotas!.spend(slot, rates, 20, 0);
  const farMs = START_MS + 40 * 86_400_000;
  ok([ENOUGH_REQUESTS, ENOUGH_NOTHING].includes(quotas!.enough(slot, rates, farMs)));
  strictEqual(quotas!.enough(slot, rates, farMs + 2000), ENOUGH_NOTHING);
});

Deno.test("connections are counted over workers, by address, kind and pool, and given back; a dead worker's are gone", () => {
  const [a, b] = workers(2);
  const rates = { ...FREE, connectionsMax: 3 };
  const enter = (of: Quotas, worker: number, pool = 0, kind = ADDRESS, forced = false) =>
    of.enter(pool, who(5, kind), worker, rates, forced, START_MS);
  const slot = enter(a!, 0);
  deepStrictEqual([enter(b!, 1), enter(b!, 1), enter(a!, 0), enter(b!, 1)], [slot, slot, -1, -1]);
  ok(enter(a!, 0, 1) >= 0 && enter(a!, 0, 0, USER) >= 0, "another pool, another kind");
  strictEqual(enter(a!, 0, 0, ADDRESS, true), slot);
  strictEqual(a!.connections(slot), 4);
  a!.bury(1);
  strictEqual(a!.connections(slot), 2);
  a!.leave(slot, 0);
  a!.leave(slot, 0);
  strictEqual(b!.connections(slot), 0);
});

Deno.test("who has gone is remembered until nothing would be forgotten, and then leaves the place", () => {
  const [quotas] = workers(1);
  const rates = { ...FREE, requestsMax: 10 };
  const visit = (low: number, nowMs: number) => {
    const slot = quotas!.enter(0, who(low), 0, rates, false, nowMs);
    const enough = quotas!.enough(slot, rates, nowMs);
    quotas!.spend(slot, rates, 10, 0);
    quotas!.leave(slot, 0);
    return enough;
  };
  strictEqual(visit(1, START_MS), ENOUGH_NOTHING);
  for (let i = 2; i < SLOTS / 2; i++) strictEqual(visit(i, START_MS), ENOUGH_NOTHING);
  strictEqual(visit(1, START_MS), ENOUGH_REQUESTS);
  // Ten times as many as there are places, some at a time.
  for (let i = 0; i < 10 * SLOTS; i++) {
    strictEqual(visit(1e6 + i, START_MS + 2000 + i), ENOUGH_NOTHING);
  }
});

Deno.test("more addresses than there are places: those who found none share one, and no limit is exceeded", () => {
  const [quotas] = workers(1);
  const rates = { ...FREE, connectionsMax: 2 };
  const slots: number[] = [];
  for (let i = 0; i < SLOTS + 500; i++) {
    const slot = quotas!.enter(0, who(i), 0, rates, false, START_MS);
    if (slot >= 0) slots.push(slot);
  }
  ok(slots.length > SLOTS * 0.9 && slots.length <= SLOTS + 1, `${slots.length}`);
  strictEqual(slots.filter((slot) => slot === 0).length, 2);
  for (const slot of slots) quotas!.leave(slot, 0);
  ok(quotas!.enter(0, who(-1), 0, rates, false, START_MS + 2000) > 0);
});

Deno.test("threads that ask at once get no more than there is, and leave nothing behind", async () => {
  const count = 3;
  const rates = { requestsMax: 50_000, bytesMax: 0, connectionsMax: 0 };
  const quotas = new Quotas(count, null);
  const threads = Array.from(
    { length: count },
    () => new Worker(new URL("./quotas_thread.ts", import.meta.url), { type: "module" }),
  );
  const answers = await Promise.all(
    threads.map((thread, worker) =>
      new Promise<{ taken: number; most: number; slot: number }>((resolve, reject) => {
        thread.onmessage = ({ data }) => resolve(data);
        thread.onerror = reject;
        thread.postMessage({ memory: quotas.memory, workers: count, worker, rates, nowMs: START_MS });
      })
    ),
  );
  for (const thread of threads) thread.terminate();
  const taken = answers.reduce((sum, answer) => sum + answer.taken, 0);
  ok(taken >= rates.requestsMax && taken < rates.requestsMax + count, `${taken}`);
  strictEqual(new Set(answers.map(({ slot }) => slot)).size, 1);
  ok(answers.every(({ most }) => most <= count));
  for (let low = 0; low < 8; low++) {
    const slot = quotas.enter(0, who(low), 0, rates, true, START_MS);
    strictEqual(quotas.connections(slot), 1);
  }
});

Deno.test("what is done in a row is counted over all workers, forgotten after a while, and shared where there is no slot", () => {
  const first = new Quotas(2, null, 128, 60_000);
  const all = [first, new Quotas(2, first.memory, 128, 60_000)];
  const done = (worker: number, low: number, ms: number, kind = ADDRESS) =>
    all[worker]!.inARow(3, who(low, kind), worker, START_MS + ms);
  deepStrictEqual([done(0, 1, 0), done(1, 1, 5), done(1, 2, 6), done(0, 1, 59_000)], [1, 2, 1, 3]);
  // Others pass by meanwhile.
  deepStrictEqual([done(0, 1, 59_000, LOCAL), done(1, 1, 118_000)], [1, 4]);
  deepStrictEqual([done(1, 1, 118_000 + 60_001), done(0, 1, 118_000 + 60_002)], [1, 2]);
  const counts = Array.from({ length: 1000 }, (_, i) => done(i % 2, 1000 + i, 300_000 + i));
  // Those without a slot of their own have one together, and no more than there are begin with it.
  strictEqual(counts.filter((count) => count === 1).length, 128);
  strictEqual(Math.max(...counts), 1000 - 127);
  strictEqual(done(0, 5000, 400_000), 1);
});
