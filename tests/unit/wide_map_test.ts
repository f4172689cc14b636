/** WideMap against Map: the same answers, before and after it has been split, and whoever walks it misses nothing that stays. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { WideMap } from "../../src/bytes/wide_map.ts";
import { Random } from "../lib/random.ts";
import { thorough } from "../lib/runs.ts";

for (
  const [what, name] of [
    ["names that are counted up", (i: number) => `channel:${i}`],
    ["names that end alike", (i: number) => `${i}:and the same end for all`],
    ["short names", (i: number) => i.toString(36)],
  ] as const
) {
  thorough(`WideMap is a Map: ${what}`, () => {
    const random = new Random(1);
    const wide = new WideMap<number>();
    const map = new Map<string, number>();
    for (const range of [100, 20_000, 3]) {
      for (let i = 0; i < 40_000; i++) {
        const key = name(random.below(range));
        if (random.below(3) > 0) {
          wide.set(key, i);
          map.set(key, i);
        } else strictEqual(wide.delete(key), map.delete(key));
        strictEqual(wide.get(key), map.get(key));
        strictEqual(wide.has(key), map.has(key));
        strictEqual(wide.size, map.size);
      }
      deepStrictEqual([...wide.keys()].sort(), [...map.keys()].sort());
      deepStrictEqual([...wide.values()].sort(), [...map.values()].sort());
    }
    for (const key of map.keys()) ok(wide.delete(key));
    strictEqual(wide.size, 0);
    deepStrictEqual([...wide.keys()], []);
  });
}

Deno.test("WideMap keeps the order of a few, and a walk goes on over a split", () => {
  const wide = new WideMap<number>();
  for (let i = 0; i < 4000; i++) wide.set(`k${4000 - i}`, i);
  deepStrictEqual([...wide.values()], Array.from({ length: 4000 }, (_, i) => i));
  const walk = wide.values();
  const seen = new Set<number>();
  for (let i = 0; i < 10; i++) seen.add(walk.next().value!);
  for (let i = 4000; i < 10_000; i++) wide.set(`k${i + 1}`, i);
  for (const value of walk) seen.add(value);
  for (let i = 0; i < 4000; i++) ok(seen.has(i), `${i} was missed`);
});
