import assert from "node:assert/strict";
import { HASHES } from "../../src/hash/hash.ts";
import { patternError } from "../../src/protocol/redis/sort_patterns.ts";
import { Placement } from "../../src/ring/placement.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";

function placementOf(tag: string | null, servers: number): Placement {
  return new Placement({
    hash: HASHES.murmur,
    distribution: "ketama",
    hashTag: tag === null ? null : latin1(tag),
    servers: Array.from({ length: servers }, (_, i) => ({ name: `server${i}`, weight: 1 })),
    random: () => 0,
  });
}

function refused(line: string, tag: string | null = "{}"): string | null {
  const { bytes, args } = scanned(line.split(" "));
  const error = patternError(bytes, args, placementOf(tag, 50), tag === null ? null : latin1(tag));
  return error === null ? null : /^-ERR (BY|GET) option/.exec(textOf(error))![1]!;
}

Deno.test("patternError(): a pattern's keys are known to be on the key's server by a tag that is whole before the *", () => {
  const cases: [line: string, found: string | null][] = [
    ["sort k", null],
    ["sort k by nosort get # get fix", null],
    ["sort k by", null],
    ["sort k by w*", "BY"],
    ["SORT k Get w*", "GET"],
    ["sort k get # by nosort get w_*", "GET"],
    ["sort {t}k by {t}w*", null],
    ["sort {t}k by w{t}* get {t}h*->name get #", null],
    ["sort t by {t}w*", null],
    ["sort {t}k by {u}w*", "BY"],
    ["sort {t}k by {t*}", "BY"],
    ["sort {t}k by {*t}", "BY"],
    ["sort {t}k by *{t}", "BY"],
    ["sort {t}k by {}{t}*", "BY"],
    ["sort k by {k*->f", "BY"],
    ["sort {t}k by {t}w* get w*", "GET"],
    ["sort k limit by w*", null],
    ["sort k limit 0 1 store by desc asc alpha by w*", "BY"],
    // The server finds the error first.
    ["sort k by nosort what get w*", null],
    ["sort_ro k by w*", "BY"],
  ];
  for (const [line, found] of cases) assert.equal(refused(line), found, line);
  assert.equal(refused("sort {t}k by {t}w*", null), "BY");
  assert.equal(refused("sort {t}k by {t}w*", "()"), "BY");
  assert.equal(refused("sort (t)k by (t)w*", "()"), null);
  assert.equal(refused("sort $t$k by $t$w*", "$$"), null);
});

Deno.test("patternError(): what has no * is not looked for beyond its end", () => {
  const words = ["sort", "k", ...Array.from({ length: 100_000 }, () => ["get", "x"]).flat(), "get", "w*"];
  const { bytes, args } = scanned(words);
  assert.notEqual(patternError(bytes, args, placementOf("{}", 2), latin1("{}")), null);
});
