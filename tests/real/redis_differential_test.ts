/**
 * A few thousand random commands, RESP2 and RESP3, give the same bytes from a redis-server and from a pool of one; long
 * runs by `deno task fuzz`. The seeds are those that found something, and what a mended difference was is said there.
 */
import { strictEqual } from "node:assert/strict";
import { compare } from "../fuzz/differential.ts";
import { startSides } from "../fuzz/sides.ts";
import { Fixture } from "../lib/fixture.ts";

/** Commands of each seed. */
const COMMANDS = 1200;

const SEEDS: readonly (readonly [seed: number, found: string])[] = [
  [1, "MULTI inside MULTI does not spoil the transaction; EXEC with arguments forgets it"],
  [2, "SCAN with an empty or negative cursor, which only 7.0 takes"],
  [3, "EVALSHA without a number of keys says NOSCRIPT first"],
];

for (const [seed, found] of SEEDS) {
  Deno.test(`differential: seed ${seed} (${found})`, async () => {
    await using f = new Fixture();
    const sides = await startSides(f, "compiled");
    const outcome = await compare(sides, seed, (o) => o.commands >= COMMANDS);
    const shown = outcome.differences.map((d) =>
      `round ${d.round}: ${d.command}\n  direct:  ${d.direct}\n  through: ${d.through}\n    ${
        d.before.join("\n    ")
      }`
    );
    strictEqual(shown.join("\n"), "");
  });
}
