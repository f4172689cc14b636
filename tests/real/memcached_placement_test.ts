/**
 * The same memcached pools run by nutcracker 0.5.0 and by Ringmaster: every key lands on the same server.
 *
 *   set ──► nutcracker ──► servers ◄── Ringmaster ◄── get        and the other way round
 *                             ▲
 *             Placement of src/ring: get straight from the server it names
 *
 * Servers on port 11211 are hashed by their host alone, as libmemcached does; so each memcached here listens on port 11211
 * of a loopback address of its own, besides a free port.
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { Placement } from "../../src/ring/placement.ts";
import { textOf } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { type PoolKeys, poolYml, type Server } from "../lib/servers.ts";

const SEED = 20260802;
const KEYS = 3000;
/** Requests sent before their replies are read. */
const BATCH = 500;
const SERVERS = 5;

/** Nobody else's: 127/8 is all ours, and the process number tells runs apart. */
const host = (i: number) => `127.77.${Deno.pid & 255}.${(Deno.pid >> 8 & 31) * 8 + i + 1}`;

const SHAPES: Record<string, (servers: readonly Server[]) => string[]> = {
  "port 11211": (servers) => servers.map((_, i) => `${host(i)}:11211:1`),
  "port 11211, weighted": (servers) => servers.map((_, i) => `${host(i)}:11211:${[1, 2, 3, 10, 1][i]}`),
  "port 11211 and named": (servers) =>
    servers.map((_, i) => `${host(i)}:11211:1 ${["d", "b", "aa", "cc", "s10"][i]}`),
  "some on port 11211, weighted": (servers) =>
    servers.map((s, i) => i % 2 === 0 ? `${host(i)}:11211:${i + 1}` : `127.0.0.1:${s.port}:2`),
  "other ports": (servers) => servers.map((s) => `127.0.0.1:${s.port}:1`),
  "other ports, weighted": (servers) => servers.map((s, i) => `127.0.0.1:${s.port}:${[1, 2, 3, 10, 1][i]}`),
  "one server": (servers) => servers.slice(0, 1).map((s) => `127.0.0.1:${s.port}:1`),
};

interface Case {
  hash: string;
  distribution: string;
  shape: string;
  hashTag?: string;
}

function cases(): Case[] {
  const all: Case[] = [];
  const hashes = Object.keys(HASHES);
  const shapes = Object.keys(SHAPES).filter((shape) => shape !== "one server");
  for (const distribution of ["ketama", "modula"]) {
    // Every hash and every shape with each distribution; with ketama, where names count, the usual hash meets all shapes.
    hashes.forEach((hash, i) => all.push({ hash, distribution, shape: shapes[i % shapes.length]! }));
    all.push({ hash: "fnv1a_64", distribution, shape: "port 11211, weighted", hashTag: "{}" });
  }
  for (const shape of shapes) all.push({ hash: "fnv1a_64", distribution: "ketama", shape });
  all.push({ hash: "fnv1a_64", distribution: "ketama", shape: "one server" });
  return all;
}

/** Any bytes that both take in a key; in every second one some are delimiters of hash tags. */
function randomKeys(random: Random): string[] {
  const keys: string[] = [];
  for (let i = 0; i < KEYS; i++) {
    const key = random.bytes(random.between(1, 60)).map((byte) =>
      byte < 33 || byte === 127 ? 97 + byte % 26 : byte
    );
    if (i % 2 === 0) {
      for (let j = random.below(5); j > 0; j--) key[random.below(key.length)] = random.pick([123, 125]);
    }
    keys.push(textOf(key));
  }
  return [...new Set(keys)];
}

async function write(client: RawClient, keys: readonly string[], mark: string): Promise<void> {
  for (let from = 0; from < keys.length; from += BATCH) {
    const batch = keys.slice(from, from + BATCH);
    await client.send(batch.map((key, i) => `set ${key} 0 0 6\r\n${value(mark, from + i)}\r\n`).join(""));
    strictEqual(textOf(await client.readExact(batch.length * 8)), "STORED\r\n".repeat(batch.length));
  }
}

function value(mark: string, i: number): string {
  return mark + String(i).padStart(5, "0");
}

/** Reads the keys of `places`, a hundred a get, and compares with what was written. */
async function readBack(
  client: RawClient,
  keys: readonly string[],
  places: readonly number[],
  mark: string,
  from: string,
): Promise<void> {
  for (let at = 0; at < places.length; at += 100) {
    const batch = places.slice(at, at + 100);
    await client.send(`get ${batch.map((place) => keys[place]).join(" ")}\r\n`);
    const expected = batch.map((place) => `VALUE ${keys[place]} 0 6\r\n${value(mark, place)}\r\n`).join("") +
      "END\r\n";
    const actual = await client.readUntil("END\r\n");
    if (actual !== expected) strictEqual(actual, expected, `read from ${from}`);
  }
}

Deno.test("memcached keys land where nutcracker puts them: every hash and distribution, port 11211, weights, names", async (t) => {
  await using f = new Fixture();
  const servers: Server[] = [];
  for (let i = 0; i < SERVERS; i++) {
    servers.push(await f.memcached({ port: 0, args: ["-l", `${host(i)}:11211`] }));
  }
  const pools = cases();
  const configured = (): string => {
    const all: Record<string, PoolKeys> = {};
    pools.forEach(({ hash, distribution, shape, hashTag }, i) => {
      const tag = hashTag === undefined ? undefined : `"${hashTag}"`;
      all[`pool${i}`] = { hash, distribution, redis: false, hash_tag: tag, servers: SHAPES[shape]!(servers) };
    });
    // Only the listening ports differ between the two.
    return poolYml(all);
  };
  const nutcracker = await f.proxy("nutcracker", configured());
  const ringmaster = await f.proxy("compiled", configured());
  const config = parseConfig(Deno.readTextFileSync(ringmaster.file), ringmaster.file);
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  const keys = randomKeys(new Random(SEED));
  const everywhere = keys.map((_, i) => i);

  for (const [i, { hash, distribution, shape, hashTag }] of pools.entries()) {
    const tagged = hashTag === undefined ? "" : `, hash_tag ${hashTag}`;
    await t.step(`${hash} × ${distribution}, ${shape}${tagged}`, async () => {
      for (const client of direct) {
        await client.send("flush_all\r\n");
        strictEqual(await client.readLine(), "OK");
      }
      const pool = config.pools.find((p) => p.name === `pool${i}`)!;
      await using old = await f.client(nutcracker.targets[i]!);
      await using ours = await f.client(ringmaster.targets[i]!);

      await write(old, keys, "o");
      await readBack(ours, keys, everywhere, "o", "Ringmaster");

      const placement = new Placement({
        hash: HASHES[pool.hash],
        distribution: pool.distribution,
        hashTag: pool.hashTag,
        servers: pool.servers,
        random: () => 0,
      });
      const owned: number[][] = servers.map(() => []);
      keys.forEach((key, k) => {
        const bytes = Uint8Array.from(key, (c) => c.charCodeAt(0));
        const { address } = pool.servers[placement.serverOf(bytes, 0, bytes.length)]!;
        const { host: at, port } = address as { host: string; port: number };
        const owner = servers.findIndex((s, j) => port === s.port || at === host(j));
        owned[owner]!.push(k);
      });
      for (const [s, client] of direct.entries()) await readBack(client, keys, owned[s]!, "o", `server ${s}`);

      const before = await Promise.all(direct.map(sets));
      await write(ours, keys, "n");
      await readBack(old, keys, everywhere, "n", "nutcracker");
      const after = await Promise.all(direct.map(sets));
      deepStrictEqual(
        after.map((n, s) => n - before[s]!),
        owned.map((places) => places.length),
        "sets by server",
      );
    });
  }
});

/** How many sets the server has seen. */
async function sets(client: RawClient): Promise<number> {
  await client.send("stats\r\n");
  const text = await client.readUntil("END\r\n");
  return Number(/^STAT cmd_set (\d+)/m.exec(text)![1]);
}
