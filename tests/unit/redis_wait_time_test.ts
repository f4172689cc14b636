/** What is asked for when a command that waits is sent once more. */
import { strictEqual } from "node:assert/strict";
import { waitLeft } from "../../src/protocol/redis/wait_time.ts";
import { request, textOf } from "../lib/bytes.ts";

const CASES: readonly (readonly [text: string, passedMs: number, left: string])[] = [
  ["BLPOP a b 10", 0, "BLPOP a b 10"],
  ["BLPOP a b 10", 2500, "BLPOP a b 7.5"],
  ["blpop a 1.5", 1000, "blpop a 0.5"],
  ["BRPOP a 1", 5000, "BRPOP a 0.001"],
  ["BLPOP a 0", 5000, "BLPOP a 0"],
  ["BLPOP a x", 5000, "BLPOP a x"],
  ["BLPOP", 5000, "BLPOP"],
  ["BLMOVE a b LEFT RIGHT 3", 1000, "BLMOVE a b LEFT RIGHT 2"],
  ["BRPOPLPUSH a b 3", 1000, "BRPOPLPUSH a b 2"],
  ["BZPOPMIN a 3", 1000, "BZPOPMIN a 2"],
  ["BZPOPMAX a 3", 1000, "BZPOPMAX a 2"],
  ["BLMPOP 3 1 a LEFT", 1000, "BLMPOP 2 1 a LEFT"],
  ["BZMPOP 3 1 a MIN", 1000, "BZMPOP 2 1 a MIN"],
  ["XREAD COUNT 1 BLOCK 3000 STREAMS a $", 1000, "XREAD COUNT 1 BLOCK 2000 STREAMS a $"],
  ["XREADGROUP GROUP g c BLOCK 3000 STREAMS a >", 1000, "XREADGROUP GROUP g c BLOCK 2000 STREAMS a >"],
  ["XREAD STREAMS a 0", 1000, "XREAD STREAMS a 0"],
];

for (const [text, passedMs, left] of CASES) {
  Deno.test(`waitLeft() of ${text}, ${passedMs} ms later`, () => {
    strictEqual(textOf(waitLeft(request(...text.split(" ")), passedMs)), textOf(request(...left.split(" "))));
  });
}
