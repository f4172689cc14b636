/** Every mistake made on purpose is noticed within a few seeds: the checkers see. */
import assert from "node:assert/strict";
import { CANARIES } from "./canaries.ts";
import { runSeed, SimFailure, World } from "./world.ts";

const SEEDS_MAX = 150;

for (const canary of CANARIES) {
  Deno.test(`simulation notices: ${canary.name}`, async () => {
    const takeBack = canary.plant();
    try {
      for (let seed = 1, ran = 0; ran < SEEDS_MAX; seed++) {
        if (canary.where !== undefined && !canary.where(new World(seed).plan)) continue;
        ran++;
        try {
          await runSeed(seed);
        } catch (error) {
          assert(error instanceof SimFailure);
          if (Deno.env.has("SIM_SHOW")) console.log(`  seed ${seed}: ${error.why.split("\n")[0]}`);
          return;
        }
      }
    } finally {
      takeBack();
    }
    assert.fail(`${SEEDS_MAX} seeds ran without a complaint`);
  });
}
