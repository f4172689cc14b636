/** A few simulated worlds, as a smoke test; tests/sim/ runs thousands. */
import { runs } from "../lib/runs.ts";
import { runSeed } from "../sim/world.ts";

Deno.test("simulation: the first seeds", async () => {
  for (let seed = 1; seed <= runs(25); seed++) await runSeed(seed);
});
