/** The options of CLIENT TRACKING: each, each combination that Redis refuses, and what is made of them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  parseTracking,
  PREFIXES_MAX,
  redirectOf,
  trackingConflict,
  trackingInfo,
  type TrackingOptions,
  trackingRequest,
} from "../../src/protocol/redis/tracking_options.ts";
import { textOf } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";
import { OTHER, OwnTracking, TRACKING_CASES } from "../lib/tracking_cases.ts";

const ID = 17;
const PLAIN: TrackingOptions = {
  on: true,
  redirect: 0,
  bcast: false,
  prefixes: [],
  optin: false,
  optout: false,
  noloop: false,
};

for (const { name, steps } of TRACKING_CASES) {
  Deno.test(`CLIENT TRACKING, ${name}`, () => {
    const own = new OwnTracking(ID);
    for (const [words, reply] of steps) {
      assert.equal(own.tracking(words.replaceAll(OTHER, String(ID)).split(" ")), `${reply}\r\n`, words);
    }
  });
}

function parsed(...words: string[]): TrackingOptions {
  const { bytes, args } = scanned(["CLIENT", "TRACKING", ...words]);
  const options = parseTracking(bytes, args, () => null);
  assert.ok(!(options instanceof Uint8Array), `${words} is right`);
  return options;
}

/** words → what differs from PLAIN → what a server is told, of an ear with the id 5. */
const READ: readonly (readonly [words: string, options: Partial<TrackingOptions>, told: string])[] = [
  ["ON", {}, "CLIENT TRACKING ON REDIRECT 5"],
  ["ON REDIRECT 9", { redirect: 9 }, "CLIENT TRACKING ON REDIRECT 5"],
  ["ON BCAST", { bcast: true, prefixes: [""] }, "CLIENT TRACKING ON REDIRECT 5 BCAST"],
  [
    "ON BCAST PREFIX b PREFIX a",
    { bcast: true, prefixes: ["b", "a"] },
    "CLIENT TRACKING ON REDIRECT 5 BCAST PREFIX b PREFIX a",
  ],
  ["ON OPTIN NOLOOP", { optin: true, noloop: true }, "CLIENT TRACKING ON REDIRECT 5 OPTIN NOLOOP"],
  ["ON OPTOUT", { optout: true }, "CLIENT TRACKING ON REDIRECT 5 OPTOUT"],
];

for (const [words, options, told] of READ) {
  Deno.test(`parseTracking() and trackingRequest(): ${words}`, () => {
    const found = parsed(...words.split(" "));
    assert.deepEqual(found, { ...PLAIN, ...options });
    assert.equal(textOf(trackingRequest(found, 5)), asRequest(told.split(" ")));
    const itself = told.replace(" REDIRECT 5", "").split(" ");
    assert.equal(textOf(trackingRequest(found, 0)), asRequest(itself));
  });
}

function asRequest(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

Deno.test("trackingRequest() passes prefixes on byte by byte", () => {
  const options = parsed("ON", "BCAST", "PREFIX", "\xff\r\n\0");
  assert.equal(
    textOf(trackingRequest(options, 0)),
    asRequest(["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "\xff\r\n\0"]),
  );
});

Deno.test("mergeTracking() adds prefixes in order and replaces all else", () => {
  const own = new OwnTracking(ID);
  own.tracking(["ON", "BCAST", "NOLOOP", "PREFIX", "c", "PREFIX", "a"]);
  own.tracking(["ON", "BCAST", "PREFIX", "b", "REDIRECT", String(ID)]);
  assert.deepEqual(own.state?.options, { ...PLAIN, bcast: true, prefixes: ["a", "b", "c"], redirect: ID });
});

Deno.test("trackingInfo() and redirectOf() where tracking is off", () => {
  assert.equal(redirectOf(null), -1);
  assert.equal(
    textOf(trackingInfo(null, 2)),
    "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n",
  );
});

/** options → state → the flags in Redis' order. */
const FLAGS: readonly (readonly [words: string, said: boolean, broken: boolean, flags: string])[] = [
  ["ON", false, false, "on"],
  ["ON OPTIN", false, false, "on optin"],
  ["ON OPTIN", true, false, "on optin caching-yes"],
  ["ON OPTOUT NOLOOP", true, false, "on optout caching-no noloop"],
  ["ON BCAST NOLOOP", false, true, "on bcast noloop broken_redirect"],
];

for (const [words, cachingSaid, broken, flags] of FLAGS) {
  Deno.test(`trackingInfo() of ${words}: ${flags}`, () => {
    const options = parsed(...words.split(" "));
    const list = flags.split(" ");
    const text = list.map((flag) => `$${flag.length}\r\n${flag}\r\n`).join("");
    const prefixes = options.bcast ? "*1\r\n$0\r\n\r\n" : "*0\r\n";
    assert.equal(
      textOf(trackingInfo({ options, cachingSaid, broken }, 3)),
      `%3\r\n$5\r\nflags\r\n~${list.length}\r\n${text}$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n${prefixes}`,
    );
  });
}

/** Each prefix compared with each, as Redis does it. */
function conflictOf(wanted: readonly string[], present: readonly string[]): string | null {
  const overlap = (a: string, b: string) => a.startsWith(b) || b.startsWith(a);
  if (wanted.length === 1 && wanted[0] === "") return null;
  for (const [i, prefix] of wanted.entries()) {
    const old = present.find((other) => overlap(prefix, other));
    const other = wanted.find((other, k) => k > i && overlap(prefix, other));
    if (old === undefined && other === undefined) continue;
    const what = old === undefined ? "another provided prefix" : "an existing prefix";
    return `-ERR Prefix '${prefix}' overlaps with ${what} '${old ?? other}'. ` +
      "Prefixes for a single client must not overlap.\r\n";
  }
  return null;
}

Deno.test("trackingConflict() names the prefixes that Redis names", () => {
  const prefix = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 4 });
  const bcast = { ...PLAIN, bcast: true };
  fc.assert(fc.property(
    fc.array(prefix, { minLength: 1, maxLength: 5 }),
    fc.array(prefix, { maxLength: 3 }),
    (wanted, present) => {
      const found = trackingConflict({ ...bcast, prefixes: wanted }, { ...bcast, prefixes: present });
      assert.equal(found === null ? null : textOf(found), conflictOf(wanted, present));
    },
  ));
});

Deno.test("trackingConflict() refuses more prefixes than a client may have, said at once or one after the other", () => {
  const bcast = { ...PLAIN, bcast: true };
  const prefixes = Array.from({ length: PREFIXES_MAX }, (_, i) => `p${1e6 + i}`);
  const present = { ...bcast, prefixes: prefixes.slice(0, -1) };
  assert.equal(trackingConflict({ ...bcast, prefixes }, null), null);
  assert.equal(trackingConflict({ ...bcast, prefixes: ["q"] }, present), null);
  const refused = trackingConflict({ ...bcast, prefixes: ["q", "r"] }, present);
  assert.match(textOf(refused!), /^-ERR too many prefixes/);
});
