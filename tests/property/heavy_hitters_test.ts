/** Hot keys against an exact count: bounds that hold for every stream, and the first ten of a Zipf load. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { BIG_KEPT_MS, BIG_KEYS, BIG_MIN, BigKeys, mergeBig } from "../../src/stats/big_keys.ts";
import { Draws, GAP_MIN, PER_SECOND } from "../../src/stats/draws.ts";
import {
  HALF_LIFE_MS,
  HeavyHitters,
  type HotKeys,
  KEY_KEPT,
  KEYS_MAX,
  mergeHot,
} from "../../src/stats/heavy_hitters.ts";
import { latin1 } from "../lib/bytes.ts";
import { runs, thorough } from "../lib/runs.ts";
import { Random } from "../lib/random.ts";

/** Draws numbers from 0 on: n is drawn 1 / (n + 1) ** s times as often as 0. */
class Zipf {
  readonly #sums: Float64Array;

  constructor(private readonly random: Random, count: number, s: number) {
    let sum = 0;
    this.#sums = Float64Array.from({ length: count }, (_, i) => sum += 1 / (i + 1) ** s);
  }

  next(): number {
    const sums = this.#sums;
    const wanted = this.random.next() * sums.at(-1)!;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = low + high >> 1;
      if (sums[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Counts as HeavyHitters does, with no bound. */
class Exact {
  readonly counts = new Map<string, number>();
  total = 0;
  #nowMs = 0;

  add(key: string, weight: number, nowMs: number): void {
    this.#fade(nowMs);
    this.total += weight;
    this.counts.set(key, (this.counts.get(key) ?? 0) + weight);
  }

  #fade(nowMs: number): void {
    const by = 2 ** ((this.#nowMs - nowMs) / HALF_LIFE_MS);
    if (by === 1) return;
    for (const [key, count] of this.counts) this.counts.set(key, count * by);
    this.total *= by;
    this.#nowMs = nowMs;
  }
}

function add(hitters: HeavyHitters, key: string, weight: number, nowMs: number): void {
  const bytes = latin1(`<${key}>`);
  hitters.add(bytes, 1, bytes.length - 1, weight, nowMs);
}

/** What the list promises of each key. @param floor how often a key may have been asked for where it is not listed */
function checkBounds(list: HotKeys, exact: Exact, floor = 0): void {
  const slack = exact.total * 1e-9;
  ok(Math.abs(list.total - exact.total) <= exact.total * 1e-6, "the total is exact");
  const listed = new Set<string>();
  for (const { key, size, count, error } of list.keys) {
    strictEqual(size, key.length);
    const real = exact.counts.get(key) ?? 0;
    ok(count - error <= real + slack, `${key}: ${count} - ${error} is no more than ${real}`);
    ok(real <= count + floor + slack, `${key}: ${real} is no more than ${count} + ${floor}`);
    ok(error <= list.total / KEYS_MAX + slack, `${key}: an error of ${error} of ${list.total}`);
    listed.add(key);
  }
  for (const [key, count] of exact.counts) {
    ok(listed.has(key) || count <= list.floor + slack, `${key} with ${count} is listed`);
  }
  ok(list.floor <= list.total / KEYS_MAX + slack, "the floor is the smallest of KEYS_MAX counts");
}

for (let seed = 1; seed <= runs(4); seed++) {
  Deno.test(`hot keys are within their stated error, whatever comes and however it fades (seed ${seed})`, () => {
    const random = new Random(seed);
    const keys = new Zipf(random, 200 + random.below(4000), 0.2 + random.next());
    const hitters = new HeavyHitters(0);
    const exact = new Exact();
    let nowMs = 0;
    for (let k = 0; k < 6000; k++) {
      // Now and then nothing comes for so long that all counts are divided.
      if (random.below(100) === 0) {
        nowMs += random.below(random.below(20) === 0 ? 60 * HALF_LIFE_MS : HALF_LIFE_MS / 8);
      }
      const key = `k${keys.next()}`;
      const weight = 1 + random.below(50);
      add(hitters, key, weight, nowMs);
      exact.add(key, weight, nowMs);
      if (k % 1500 === 0) hitters.invariants();
    }
    hitters.invariants();
    checkBounds(hitters.list(KEYS_MAX, nowMs), exact);
  });
}

for (const s of [0.99, 1.2]) {
  thorough(
    `of a Zipf load of exponent ${s} the ten hottest keys are nine of the true ones, drawn and over three workers`,
    () => {
      const random = new Random(11);
      const keys = new Zipf(random, 100_000, s);
      const workers = [1, 2, 3].map((seed) => ({
        hitters: new HeavyHitters(0),
        draws: new Draws(seed, 0),
        left: 1,
      }));
      const [perMs, ms] = [50, 20_000];
      for (let i = 0; i < perMs * ms; i++) {
        const nowMs = i / perMs;
        const worker = workers[random.below(workers.length)]!;
        const key = keys.next();
        if (--worker.left > 0) continue;
        add(worker.hitters, `${key}`, worker.draws.mean, nowMs);
        worker.left = worker.draws.next(nowMs);
      }
      const top = mergeHot(workers.map(({ hitters }) => hitters.list(100, ms)), 10).keys;
      const found = top.filter(({ key }) => Number(key) < 10).map(({ key }) => key);
      ok(found.length >= 9, `found ${found}`);
    },
  );
}

Deno.test("hot keys of several workers, merged, are within the sum of their errors", () => {
  const random = new Random(5);
  const keys = new Zipf(random, 3000, 0.8);
  const exact = new Exact();
  const workers = [0, 1, 2].map(() => new HeavyHitters(0));
  for (let k = 0; k < 9000; k++) {
    const key = `${keys.next()}`;
    add(random.pick(workers), key, 1, 0);
    exact.add(key, 1, 0);
  }
  const lists = workers.map((worker) => worker.list(KEYS_MAX, 0));
  const merged = mergeHot(lists, Infinity);
  checkBounds(merged, exact, merged.floor);
});

Deno.test("a hot key that has cooled down makes way within minutes", () => {
  const hitters = new HeavyHitters(0);
  add(hitters, "yesterday", 1_000_000, 0);
  add(hitters, "now", 1000, 10 * HALF_LIFE_MS);
  const { keys, total, seen } = hitters.list(1, 10 * HALF_LIFE_MS);
  deepStrictEqual(keys.map(({ key }) => key), ["now"]);
  ok(Math.abs(total - 1000 - 1_000_000 / 1024) < 1);
  ok(seen > 0.999);
});

Deno.test("long keys are kept as their beginnings, and told apart by what is behind", () => {
  const hitters = new HeavyHitters(0);
  const start = "x".repeat(KEY_KEPT);
  for (const [end, weight] of [["a", 3], ["b", 2], ["a", 3], ["y".repeat(5000), 1]] as const) {
    add(hitters, start + end, weight, 0);
  }
  deepStrictEqual(
    hitters.list(10, 0).keys.map(({ key, size, count }) => [key === start, size - KEY_KEPT, count]),
    [[true, 1, 6], [true, 1, 2], [true, 5000, 1]],
  );
});

// ---- what is drawn

/** How often each place of a load that repeats itself is drawn, and how often in all. */
function drawn(
  period: number,
  perSecond: number,
  seconds: number,
): { readonly places: number[]; all: number } {
  const draws = new Draws(7, 0);
  const places = new Array(period).fill(0);
  let all = 0;
  let at = draws.next(0);
  while (at < perSecond * seconds) {
    places[at % period] += draws.mean;
    all++;
    at += draws.next(at / perSecond * 1000);
  }
  return { places, all };
}

Deno.test("a load that repeats itself is drawn evenly: nothing hides between two draws", () => {
  for (const period of [2, 16, 50]) {
    const { places } = drawn(period, 50_000, 60);
    const fair = 50_000 * 60 / period;
    for (const count of places) {
      ok(Math.abs(count - fair) < 0.25 * fair, `${count} of ${fair}, period ${period}`);
    }
  }
});

Deno.test("draws are about as many a second as they should be, and never more than one in GAP_MIN", () => {
  for (const perSecond of [20_000, 100_000, 1_000_000]) {
    const { all } = drawn(1, perSecond, 60);
    ok(all > 45 * PER_SECOND && all < 80 * PER_SECOND, `${all} in a minute of ${perSecond} a second`);
  }
  const { all } = drawn(1, 100, 6000);
  ok(Math.abs(all - 600_000 / GAP_MIN) < 0.05 * 600_000 / GAP_MIN, `${all} of 600000`);
});

Deno.test("a load that grows a thousandfold at once is drawn less often at once, and more when it has gone", () => {
  const draws = new Draws(3, 0);
  // Without a turn between them.
  let requests = 0;
  for (let i = 0; i < 1000; i++) requests += draws.next(0);
  ok(requests > 1_000_000, `${requests} in a thousand draws`);
  // As few as one in a second.
  for (let i = 0; i < 2000; i++) draws.next(i * 1000);
  strictEqual(draws.mean, GAP_MIN);
});

// ---- large values

for (let seed = 1; seed <= runs(4); seed++) {
  Deno.test(`big keys are the largest that have passed within the hour (seed ${seed})`, () => {
    const random = new Random(seed);
    const big = new BigKeys();
    const passed: { readonly key: string; readonly bytes: number; readonly atMs: number }[] = [];
    let nowMs = 0;
    for (let k = 0; k < 2000; k++) {
      nowMs += random.below(3000);
      const key = `k${random.below(300)}`;
      const bytes = random.below(40) * 1024;
      passed.push({ key, bytes, atMs: nowMs });
      const name = latin1(key);
      big.note(name, 0, name.length, bytes, "reply", "get", nowMs);
    }
    const list = big.list(nowMs);
    ok(list.length <= BIG_KEYS);
    ok(list.every(({ bytes, atMs }) => bytes > BIG_MIN && nowMs - atMs < BIG_KEPT_MS));
    for (const { key, bytes, atMs } of list) {
      ok(passed.some((each) => each.key === key && each.bytes === bytes && each.atMs === atMs));
    }
    // The largest of all that is new is first: nothing pushes it out.
    const largest = Math.max(
      ...passed.filter(({ atMs }) => nowMs - atMs < BIG_KEPT_MS).map(({ bytes }) => bytes),
    );
    strictEqual(list[0]?.bytes, largest);
  });
}

Deno.test("big keys of several workers are one list, a key once, with its largest", () => {
  const one = { key: "a", size: 1, bytes: 20, atMs: 1, command: "set", side: "request" } as const;
  const two = { ...one, bytes: 30 };
  const other = { ...one, key: "b", bytes: 25 };
  deepStrictEqual(mergeBig([[one, other], [two]], 10), [two, other]);
  deepStrictEqual(mergeBig([[one, other], [two]], 1), [two]);
});
