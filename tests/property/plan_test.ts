/**
 * `ringmaster plan` against placement counted key by key, and the shares of two rings against lookups hash by hash.
 *
 * The hash space is 2^32, so exactness over the whole of it is shown on a small space (every hash looked up), and on the
 * whole one by real keys: their counts must agree with the shares as a sample does.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { encode } from "../../src/bytes/ascii.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES, type HashName, hashSpace } from "../../src/hash/hash.ts";
import { Placement } from "../../src/ring/placement.ts";
import { DISTRIBUTIONS, type RingServer } from "../../src/ring/ring.ts";
import { sortServers } from "../../src/ring/server_order.ts";
import { sharedHashes } from "../../src/ring/shares.ts";
import { changesOf, type PoolPlan } from "../../src/topology/plan.ts";
import { percent, planText } from "../../src/topology/plan_text.ts";
import { runs } from "../lib/runs.ts";

const KEYS = 8_000;

const servers = fc.uniqueArray(
  fc.record({
    name: fc.integer({ min: 1, max: 40 }).map((n) => `s${n}`),
    weight: fc.integer({ min: 1, max: 50 }),
  }),
  { minLength: 2, maxLength: 9, selector: (server) => server.name },
).map(sortServers);

const ringOf = (distribution: "ketama" | "modula", of: readonly RingServer[]) =>
  DISTRIBUTIONS[distribution](of, new Uint8Array(of.length).fill(1), () => 0)!;

Deno.test("the shares of two rings are those of every hash looked up, whatever the distributions", () => {
  const distribution = fc.constantFrom("ketama" as const, "modula" as const);
  // Past 2^32 / 160 there is a point here and there; the last space ends in the middle of a round of modula's.
  const space = fc.constantFrom(1, 7, 2 ** 15, 200_003);
  fc.assert(
    fc.property(servers, servers, distribution, distribution, space, (a, b, da, db, space) => {
      const [before, after] = [ringOf(da, a), ringOf(db, b)];
      const expected = new Float64Array(a.length * b.length);
      for (let h = 0; h < space; h++) expected[before.lookup(h) * b.length + after.lookup(h)]!++;
      assert.deepEqual(sharedHashes(before, after, [a.length, b.length], space), expected);
    }),
    { numRuns: runs(30) },
  );
});

Deno.test("the shares of two rings are the whole space, and at its borders those of the lookups", () => {
  fc.assert(
    fc.property(servers, servers, (a, b) => {
      for (const [da, db] of [["ketama", "ketama"], ["modula", "ketama"], ["modula", "modula"]] as const) {
        const counts = sharedHashes(ringOf(da, a), ringOf(db, b), [a.length, b.length], 2 ** 32)!;
        assert.equal(counts.reduce((sum, count) => sum + count, 0), 2 ** 32);
      }
      const ring = ringOf("ketama", a);
      if (!("values" in ring)) throw new Error("expected a ring of points");
      // What a server owns, by its points alone.
      const own = new Float64Array(a.length);
      const values = [...ring.values as Uint32Array];
      values.forEach((value, k) => own[ring.lookup(value)]! += k === 0 ? value + 1 : value - values[k - 1]!);
      own[ring.lookup(0xffffffff)]! += 2 ** 32 - 1 - values.at(-1)!;
      assert.deepEqual(sharedHashes(ring, null, [a.length, 1], 2 ** 32), own);
    }),
    { numRuns: runs(20) },
  );
});

/** A pool's text; servers as twemproxy writes them. */
const pool = (text: string, servers: string[]): string =>
  `p:\n  listen: 127.0.0.1:1\n${text.split("\n").map((line) => `  ${line}\n`).join("")}  servers:\n` +
  servers.map((server) => `    - ${server}\n`).join("");

const NAMED = ["10.0.0.1:1:1 a", "10.0.0.2:1:1 bb", "10.0.0.3:1:2 ccc", "10.0.0.4:1:1 dddd"];
const PLAIN = ["10.0.0.1:6379:1", "10.0.0.2:6379:1", "10.0.0.3:6379:3", "10.0.0.10:6379:1"];

/** Changes of a pool's servers. */
const CHANGES: Record<string, (servers: string[]) => string[]> = {
  "one more": (s) => [...s, "10.0.0.99:7:2 new"],
  "one less": (s) => s.slice(1),
  reweighted: (s) =>
    s.map((server, i) => i === 0 ? server.replace(":1 ", ":5 ").replace(/:1$/, ":5") : server),
  "only one": (s) => s.slice(0, 1),
  "another order": (s) => [...s].reverse(),
  "one for another": (s) => [...s.slice(0, -1), "10.0.0.98:7:1 other"],
};

const cases: { name: string; before: string; after: string }[] = [];
for (const [c, [change, of]] of Object.entries(CHANGES).entries()) {
  for (const distribution of ["ketama", "modula"]) {
    for (const redis of [true, false]) {
      const hash = Object.keys(HASHES)[(c * 4 + cases.length) % 12]!;
      const text = `redis: ${redis}\nhash: ${hash}\ndistribution: ${distribution}${
        redis ? '\nhash_tag: "{}"' : ""
      }`;
      const list = redis ? NAMED : PLAIN;
      cases.push({
        name: `${change}, ${distribution}, ${hash}, ${redis ? "Redis" : "memcached"}`,
        before: pool(text, list),
        after: pool(text, of(list)),
      });
    }
  }
}
for (const redis of [true, false]) {
  const text = (distribution: string) => `redis: ${redis}\nhash: murmur\ndistribution: ${distribution}`;
  for (const [from, to] of [["ketama", "modula"], ["modula", "ketama"]] as const) {
    cases.push({
      name: `${from} to ${to}, ${redis}`,
      before: pool(text(from), PLAIN),
      after: pool(text(to), PLAIN.slice(1)),
    });
  }
  cases.push({
    name: `random of one server to ketama, ${redis}`,
    before: pool(text("random"), PLAIN.slice(0, 1)),
    after: pool(text("ketama"), PLAIN),
  });
}

function planOf(before: string, after: string, keys: readonly Uint8Array[] | null = null): PoolPlan {
  const [change] = changesOf(parseConfig(before, "old.yml").pools, parseConfig(after, "new.yml").pools);
  for (const key of keys ?? []) change!.count(key, 0, key.length);
  return change!.plan(keys !== null);
}

const random = (() => {
  let state = 20261129;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
})();
const keys = Array.from({ length: KEYS }, () => encode(`user:{${random().toString(36)}}:${random()}`));

/** Counted by asking both placements for each key. */
function counted(before: string, after: string): { moved: number; moves: Map<string, number> } {
  const [a, b] = [before, after].map((text) => {
    const config = parseConfig(text, "x.yml").pools[0]!;
    const placement = new Placement({ ...config, hash: HASHES[config.hash], random: () => 0 });
    return (key: Uint8Array) => config.servers[placement.serverOf(key, 0, key.length)]!.name;
  });
  const moves = new Map<string, number>();
  let moved = 0;
  for (const key of keys) {
    const [from, to] = [a!(key), b!(key)];
    if (from === to) continue;
    moved++;
    moves.set(`${from} → ${to}`, (moves.get(`${from} → ${to}`) ?? 0) + 1);
  }
  return { moved, moves };
}

assert.ok(cases.length >= 30);
for (const { name, before, after } of cases) {
  Deno.test(`plan agrees with placement counted key by key: ${name}`, () => {
    const expected = counted(before, after);
    const byKeys = planOf(before, after, keys);
    assert.equal(Math.round(byKeys.moved! * KEYS), expected.moved);
    assert.deepEqual(
      new Map(byKeys.moves.map((m) => [`${m.from} → ${m.to}`, Math.round(m.share * KEYS)])),
      expected.moves,
    );
    const overRing = planOf(before, after);
    // Five standard deviations of a sample of so many keys.
    const near = (share: number, count: number, what: string) =>
      assert.ok(
        Math.abs(share - count / KEYS) <= 5 * Math.sqrt(share * (1 - share) / KEYS) + 1e-12,
        `${what}: the ring says ${percent(share)}, ${count} of ${KEYS} keys`,
      );
    near(overRing.moved!, expected.moved, "moved");
    for (const { from, to, share } of overRing.moves) {
      near(share, expected.moves.get(`${from} → ${to}`) ?? 0, `${from} → ${to}`);
    }
    for (const side of ["before", "after"] as const) {
      const sum = overRing.servers.reduce((sum, server) => sum + (server[side] ?? 0), 0);
      assert.ok(Math.abs(sum - 1) < 1e-9, `${side}: ${sum}`);
    }
  });
}

Deno.test("crc32 has fifteen bits, and every other hash uses more than 31", () => {
  for (const hash of Object.keys(HASHES) as HashName[]) {
    const highest = Math.max(...keys.map((key) => HASHES[hash](key, 0, key.length)));
    assert.ok(highest < hashSpace(hash) && highest > hashSpace(hash) / 2, `${hash}: ${highest}`);
  }
});

Deno.test("a renamed server is the same one, and one that moves is known by its name", () => {
  const text = "redis: true\ndistribution: modula\nhash: fnv1a_64";
  const renamed = planOf(pool(text, NAMED), pool(text, NAMED.map((s) => s.replace(" a", " e"))));
  assert.equal(renamed.moved, 0);
  assert.deepEqual(renamed.notes, ["a is renamed e; its place on the ring is another one"]);
  const { before, after, ...row } = renamed.servers[0]!;
  assert.deepEqual(row, { name: "e", formerly: "a", address: "10.0.0.1:1" });
  assert.deepEqual([percent(before!), percent(after!)], ["20.0 %", "20.0 %"]);
  const moved = planOf(
    pool(text, NAMED),
    pool(text, NAMED.map((s) => s.replace("10.0.0.4:1", "10.0.0.5:2"))),
  );
  assert.equal(moved.moved, 0);
  assert.match(moved.notes[0]!, /^dddd moves from 10\.0\.0\.4:1 to 10\.0\.0\.5:2; /);
  assert.equal(planOf(pool(text, NAMED), pool(text, NAMED)).change, "same");
});

Deno.test("what cannot be told is not told", () => {
  const text = (more: string) => `redis: true\n${more}`;
  const random = planOf(pool(text("distribution: random"), NAMED), pool(text("distribution: random"), PLAIN));
  assert.deepEqual([random.moved, random.basis, random.moves.length], [null, "unknown", 0]);
  assert.match(planText(random), /what moves cannot be told: with distribution random no key has a server/);
  const hash = planOf(pool(text("hash: md5"), NAMED), pool(text("hash: murmur"), NAMED));
  assert.match(hash.why, /^hash changes from md5 to murmur/);
  const tag = planOf(pool(text("hash: md5"), NAMED), pool(text('hash: md5\nhash_tag: "{}"'), NAMED));
  assert.match(tag.why, /^hash_tag changes from none to "\{\}"; --keys FILE/);
  // With one server on a side nothing is hashed there.
  assert.ok(planOf(pool(text("hash: md5"), NAMED.slice(0, 1)), pool(text("hash: murmur"), NAMED)).moved! > 0);
});

Deno.test("percent() never shows a part as nothing or as everything", () => {
  assert.deepEqual([0, 1e-9, 0.25, 0.9999, 1].map(percent), [
    "0.0 %",
    "< 0.1 %",
    "25.0 %",
    "> 99.9 %",
    "100.0 %",
  ]);
});
