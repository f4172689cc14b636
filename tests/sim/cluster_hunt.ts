/**
 * Worlds of a cluster, one seed after the other; ends with what was found, a line a kind:
 *
 *   deno task sim:cluster --seeds=1000 --first=1
 *   deno task sim:cluster --seeds=1 --first=17      with the log of that world, if it finds something
 *   deno task sim:cluster --minutes=3 --first=1     as many as there is time for
 */
import { parseArgs } from "node:util";
import { ClusterFailure, runClusterSeed } from "./cluster_world.ts";

/** Worlds whose logs are shown. */
const SHOWN_MAX = 3;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000000" },
    minutes: { type: "string", default: "60" },
    first: { type: "string", default: "1" },
  },
});
const [seeds, first] = [Number(values.seeds), Number(values.first)];
const found = new Map<string, number[]>();
const sums = { requests: 0, moved: 0, asks: 0, tryAgains: 0, refused: 0 };
const endMs = performance.now() + Number(values.minutes) * 60_000;
let seed = first;
for (; seed < first + seeds && performance.now() < endMs; seed++) {
  try {
    const result = await runClusterSeed(seed);
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += result[name];
  } catch (error) {
    if (!(error instanceof ClusterFailure)) throw error;
    const kind = error.why.split("\n").slice(0, 2).join(" ").replace(/\d+/g, "#").slice(0, 160);
    const list = found.get(kind) ?? [];
    found.set(kind, [...list, seed]);
    if (list.length === 0 && found.size <= SHOWN_MAX) console.log(`${error.message}\n`);
  }
}
console.log(`${seed - first} seeds from ${first}: ${JSON.stringify(sums)}`);
for (const [kind, list] of found) {
  console.log(`${list.length} × ${kind}: seeds ${list.slice(0, 12).join(" ")}`);
}
if (found.size > 0) Deno.exit(1);
