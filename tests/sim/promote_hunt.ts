/**
 * Worlds of promotion, one seed after the other, until the time is up or one of them finds something:
 *
 *   deno task sim:promote --minutes=1 --seed=1000
 */
import { parseArgs } from "node:util";
import { PromoteWorld } from "./promote_world.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now()) },
  },
});
const endMs = performance.now() + Number(values.minutes) * 60_000;
const first = Number(values.seed);
let [seed, switches, writes] = [first, 0, 0];
for (; performance.now() < endMs; seed++) {
  const result = await PromoteWorld.run(seed);
  switches += result.switches;
  writes += result.writes;
}
console.log(`${seed - first} seeds from ${first}, ${switches} switches, ${writes} writes: nothing found`);
