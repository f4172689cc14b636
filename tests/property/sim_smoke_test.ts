/** A few simulated worlds, as a smoke test; tests/sim/ runs thousands. */
import { runSeed } from "../sim/world.ts";

Deno.test("simulation: 60 seeds", async () => {
  for (let seed = 1; seed <= 60; seed++) await runSeed(seed);
});
