/** What `route --explain` and /api/route tell: the server is the placement's, whatever the pool, the key and who is off the ring. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { encode } from "../../src/bytes/ascii.ts";
import type { PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { explain, type Explanation, explanationText } from "../../src/topology/explain.ts";
import { placementOf } from "../../src/topology/placement.ts";
import { runs } from "../lib/runs.ts";

function poolOf(lines: string, servers: readonly string[]): PoolConfig {
  const list = servers.map((server) => `    - ${server}\n`).join("");
  return parseConfig(`p:\n  listen: 127.0.0.1:1\n${lines}  servers:\n${list}`, "x.yml").pools[0]!;
}

const told = (pool: PoolConfig, key: string, off: readonly string[] = []): Explanation =>
  explain(pool, encode(key), {
    zone: null,
    offRing: (server) => off.includes(pool.servers[server]!.name) ? "off" : null,
    addressOf: (server) => pool.servers[server]!.addressText,
    replicasOf: () => [],
  });

Deno.test("explain() names the server that the placement gives, and skips only those that are off the ring", () => {
  const pool = fc.record({
    hash: fc.constantFrom(...Object.keys(HASHES)),
    distribution: fc.constantFrom("ketama", "modula"),
    tag: fc.boolean(),
    weights: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 }),
    off: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
    key: fc.string({ unit: fc.constantFrom("{", "}", "a", "b", "é", "\0"), maxLength: 9 }),
  });
  fc.assert(
    fc.property(pool, ({ hash, distribution, tag, weights, off, key }) => {
      const config = poolOf(
        `  hash: ${hash}\n  distribution: ${distribution}\n${tag ? '  hash_tag: "{}"\n' : ""}`,
        weights.map((weight, i) => `10.0.0.1:${i + 1}:${weight} s${i}`),
      );
      const away = config.servers.filter((_, i) => off[i]).map(({ name }) => name);
      const live = Uint8Array.from(config.servers, ({ name }) => away.includes(name) ? 0 : 1);
      const bytes = encode(key);
      const index = placementOf(config, () => 0, live).serverOf(bytes, 0, bytes.length);
      const explanation = told(config, key, away);
      strictEqual(explanation.server, index < 0 ? null : config.servers[index]!.name);
      const skipped = explanation.skipped.map(({ server }) => server);
      strictEqual(new Set(skipped).size, skipped.length);
      ok(skipped.every((name) => away.includes(name)));
      if (away.length === 0 && config.servers.length > 1) strictEqual(skipped.length, 0);
      ok(!explanationText(explanation).includes("\0"));
    }),
    { numRuns: runs(60) },
  );
});

Deno.test("explain() tells what is hashed, and what happens with one server, none, and any", () => {
  const three = ["h:1:1 a", "h:2:1 b", "h:3:1 c"];
  const tagged = poolOf('  hash_tag: "{}"\n', three);
  strictEqual(told(tagged, "user:{42}:cart").hashed, "42");
  strictEqual(told(tagged, "user:{}:cart").hashed, "user:{}:cart");
  const one = told(poolOf("", ["h:1:1 a"]), "k");
  deepStrictEqual([one.server, one.hash_value], ["a", null]);
  match(told(tagged, "k", ["a", "b", "c"]).place, /no server is on the ring/);
  const random = told(poolOf("  distribution: random\n", three), "k");
  deepStrictEqual([random.server, random.skipped], [null, []]);
  match(random.place, /any server/);
  const cluster = parseConfig(
    "p:\n  listen: 127.0.0.1:1\n  redis: true\n  cluster: true\n  servers: [ 127.0.0.1:7000 ]\n",
    "x.yml",
  ).pools[0]!;
  const node = { ...cluster.servers[0]!, weight: 1, replicas: [] };
  const servers = [{ ...node, name: "a", slots: "0-8000" }, { ...node, name: "b", slots: "8001-16000" }];
  const here = told({ ...cluster, servers }, "{foo}bar");
  deepStrictEqual([here.slot, here.server, here.hashed], [12182, "b", "foo"]);
  match(told({ ...cluster, servers: [servers[0]!] }, "foo").place, /nobody owns slot 12182/);
});
