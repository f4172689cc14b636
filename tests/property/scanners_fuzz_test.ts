/** A short run of the scanners' fuzz; `deno task fuzz:scanners --runs=N` goes on for as long as wanted. */
import { strictEqual } from "node:assert/strict";
import { runs } from "../lib/runs.ts";
import { fuzzScanner, SCANNERS } from "../fuzz/scanners.ts";

for (const name of SCANNERS) {
  Deno.test(`${name}: ${runs(20_000)} mutated inputs, whole and in pieces`, () => {
    strictEqual(fuzzScanner(name, runs(20_000), 1).found, null);
  });
}
