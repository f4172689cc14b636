/** A short run of the scanners' fuzz; `deno task fuzz:scanners --runs=N` goes on for as long as wanted. */
import { strictEqual } from "node:assert/strict";
import { fuzzScanner, SCANNERS } from "../fuzz/scanners.ts";

for (const name of SCANNERS) {
  Deno.test(`${name}: 20,000 mutated inputs, whole and in pieces`, () => {
    strictEqual(fuzzScanner(name, 20_000, 1).found, null);
  });
}
