/** The drawing of a plan, of however many servers. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { planSvg } from "../../src/topology/plan_svg.ts";
import type { PoolPlan } from "../../src/topology/plan.ts";

/** `count` servers become one more. */
function oneMore(count: number): PoolPlan {
  const names = Array.from({ length: count + 1 }, (_, k) => `server-${k + 1}`);
  const [before, after] = [1 / count, 1 / (count + 1)];
  return {
    name: "p",
    change: "changed",
    basis: "ring",
    why: "",
    keys: 0,
    moved: after,
    servers: names.map((name, k) => ({
      name,
      formerly: name,
      address: "10.0.0.1:1",
      before: k < count ? before : null,
      after,
    })),
    moves: names.slice(0, count).map((from) => ({ from, to: names.at(-1)!, share: before - after })),
    notes: [],
  };
}

for (const count of [1, 5, 93, 94, 200, 1000]) {
  Deno.test(`planSvg() draws ${count} servers within the picture, each with a height`, () => {
    const svg = planSvg([oneMore(count)]);
    const bars = [...svg.matchAll(/<rect x="[\d.]+" y="([\d.-]+)" width="\d+" height="([\d.-]+)"/g)]
      .map(([, y, height]) => ({ y: Number(y), height: Number(height) }));
    deepStrictEqual(bars.length, 2 * count + 1);
    for (const { y, height } of bars) ok(height > 0 && y >= 0 && y + height <= 360, `${y} ${height}`);
    ok(!/[ "]-\d|NaN|Infinity/.test(svg));
  });
}
