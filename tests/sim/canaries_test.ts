/** Every mistake made on purpose is noticed within a few seeds: the checkers see. */
import assert from "node:assert/strict";
import { CANARIES } from "./canaries.ts";
import { planOf } from "./plan.ts";
import { Random } from "./random.ts";
import { runSeed, SimFailure } from "./world.ts";

/** Most need a few; the rarest (a reply in parts, cut off, from the only server) some 150. */
const SEEDS_MAX = 400;

for (const canary of CANARIES) {
  for (const protocol of ["redis", "memcached"]) {
    const redis = protocol === "redis";
    if (canary.only !== undefined && canary.only !== protocol) continue;
    Deno.test(`simulation notices, ${protocol}: ${canary.name}`, async () => {
      const takeBack = canary.plant();
      try {
        for (let seed = canary.from ?? 1, ran = 0; ran < SEEDS_MAX; seed++) {
          const plan = planOf(new Random(seed).fork(), canary.meeting);
          if (plan.redis !== redis || canary.where?.(plan) === false) continue;
          ran++;
          try {
            await runSeed(seed, canary.meeting);
          } catch (error) {
            assert(error instanceof SimFailure);
            // A canary that breaks by itself, because src/ has changed under it, shows nothing.
            assert(!thrower(error.why).includes("canaries.ts"), error.why);
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
}

/** The line of a stack that names who has thrown; empty for what is no stack. */
function thrower(why: string): string {
  return why.split("\n").find((line) => /^ +at /.test(line)) ?? "";
}
