/**
 * The same configuration run by nutcracker 0.5.0 and by Ringmaster: every key lands on the same server.
 *
 *   SET key value ──► nutcracker ──► servers ◄── Ringmaster ◄── GET key        and the other way round
 *                                       ▲
 *                        Placement of src/ring: GET straight from the server it names, DBSIZE
 *
 * All configurations are pools of one file, so each proxy is started once. Values have one size and replies are
 * compared as whole blocks of bytes, which is what lets 10,000 keys a configuration take a fraction of a second.
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { Placement } from "../../src/ring/placement.ts";
import { concat, latin1, request, textOf } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { type PoolKeys, poolYml, type Proxy, type Server } from "../lib/servers.ts";

const SEED = 20260801;
const KEYS = 10_000;
const KEY_SIZE_MAX = 64;
/** Requests sent before their replies are read. */
const BATCH = 1000;
const SERVERS = 5;
const VALUE_SIZE = 10;

/** How the servers of a pool are written: what the ring is made of. */
const SHAPES: Record<string, (servers: readonly Server[]) => string[]> = {
  ports: (servers) => servers.map((s) => `127.0.0.1:${s.port}:1`),
  "weighted ports": (servers) => servers.map((s, i) => `127.0.0.1:${s.port}:${[1, 2, 3, 10, 1][i]}`),
  named: (servers) =>
    servers.map((s, i) => `127.0.0.1:${s.port}:1 ${["delta", "b", "aa", "cc", "server10"][i]}`),
  "weighted and named": (servers) =>
    servers.map((s, i) =>
      `127.0.0.1:${s.port}:${[7, 1, 4, 1, 2][i]} ${["z", "shard-2", "shard-1", "m", "aa"][i]}`
    ),
  "two servers": (servers) => servers.slice(0, 2).map((s) => `127.0.0.1:${s.port}:1`),
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
  const shapes = ["ports", "weighted ports", "named", "weighted and named"];
  for (const distribution of ["ketama", "modula"]) {
    Object.keys(HASHES).forEach((hash, i) => {
      // Each hash meets two shapes, one with each distribution; each shape meets each distribution three times.
      all.push({ hash, distribution, shape: shapes[(i + (distribution === "ketama" ? 0 : 1)) % 4]! });
    });
  }
  for (const distribution of ["ketama", "modula"]) {
    for (const hashTag of ["{}", "$$"]) all.push({ hash: "murmur", distribution, shape: "named", hashTag });
    all.push({ hash: "fnv1a_64", distribution, shape: "two servers" });
  }
  all.push({ hash: "fnv1a_64", distribution: "ketama", shape: "one server" });
  return all;
}

/** Random bytes; in every second key some of them are delimiters, so that hash tags of all kinds come up. */
function randomKeys(random: Random): Uint8Array<ArrayBuffer>[] {
  const keys: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 0; i < KEYS; i++) {
    const key = random.bytes(random.between(0, KEY_SIZE_MAX));
    if (i % 2 === 0) {
      for (let j = random.below(5); j > 0 && key.length > 0; j--) {
        key[random.below(key.length)] = latin1(random.pick(["{", "}", "$"]))[0]!;
      }
    }
    keys.push(key);
  }
  return keys;
}

function value(i: number, mark: string): string {
  return mark + String(i).padStart(VALUE_SIZE - 1, "0");
}

async function write(client: RawClient, keys: readonly Uint8Array[], mark: string): Promise<void> {
  for (let from = 0; from < keys.length; from += BATCH) {
    const batch = keys.slice(from, from + BATCH);
    await client.send(concat(batch.map((key, i) => request("SET", key, value(from + i, mark)))));
    const replies = textOf(await client.readExact(batch.length * 5));
    strictEqual(replies, "+OK\r\n".repeat(batch.length));
  }
}

/** Reads all keys and compares with what was written last under each. */
async function readBack(
  client: RawClient,
  keys: readonly Uint8Array[],
  expected: (i: number) => string,
  from: string,
): Promise<void> {
  for (let at = 0; at < keys.length; at += BATCH) {
    const batch = keys.slice(at, at + BATCH);
    await client.send(concat(batch.map((key) => request("GET", key))));
    for (let i = 0; i < batch.length; i++) {
      const { text } = await client.readReply();
      const right = `$${VALUE_SIZE}\r\n${expected(at + i)}\r\n`;
      if (text !== right) {
        strictEqual(text, right, `key ${JSON.stringify(textOf(batch[i]!))} (${at + i}) read from ${from}`);
      }
    }
  }
}

Deno.test("placement is nutcracker's for 10,000 random keys: every hash × distribution, weights, names, tags", async (t) => {
  await using f = new Fixture();
  const servers: Server[] = [];
  for (let i = 0; i < SERVERS; i++) servers.push(await f.redis({ port: 0 }));
  const pools = cases();
  const configured = (): string => {
    const all: Record<string, PoolKeys> = {};
    pools.forEach(({ hash, distribution, shape, hashTag }, i) => {
      const tag = hashTag === undefined ? undefined : `"${hashTag}"`;
      all[`pool${i}`] = { hash, distribution, hash_tag: tag, servers: SHAPES[shape]!(servers) };
    });
    // Only the listening ports differ between the two.
    return poolYml(all);
  };
  const nutcracker = await f.proxy("nutcracker", configured());
  const ringmaster = await f.proxy("compiled", configured());
  const config = parseConfig(Deno.readTextFileSync(ringmaster.file), ringmaster.file);
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  const keys = randomKeys(new Random(SEED));
  // A short key may come up twice: the last write counts.
  const lastWrite = new Map<string, number>();
  keys.forEach((key, i) => lastWrite.set(textOf(key), i));
  const last = keys.map((key) => lastWrite.get(textOf(key))!);

  for (const [i, { hash, distribution, shape, hashTag }] of pools.entries()) {
    const tagged = hashTag === undefined ? "" : `, hash_tag ${hashTag}`;
    await t.step(`${hash} × ${distribution}, ${shape}${tagged}`, async () => {
      for (const client of direct) strictEqual(await client.command("FLUSHALL"), "OK");
      const pool = config.pools.find((p) => p.name === `pool${i}`)!;
      await using old = await clientOf(f, nutcracker, i);
      await using ours = await clientOf(f, ringmaster, i);

      await write(old, keys, "o");
      await readBack(ours, keys, (k) => value(last[k]!, "o"), "Ringmaster");

      const placement = new Placement({
        hash: HASHES[pool.hash],
        distribution: pool.distribution,
        hashTag: pool.hashTag,
        servers: pool.servers,
        random: () => 0,
      });
      const byServer = new Map<number, { keys: Uint8Array[]; last: number[] }>();
      const distinct = new Map<number, Set<string>>();
      keys.forEach((key, k) => {
        const owner = pool.servers[placement.serverOf(key, 0, key.length)]!;
        const port = (owner.address as { port: number }).port;
        if (!byServer.has(port)) byServer.set(port, { keys: [], last: [] });
        byServer.get(port)!.keys.push(key);
        byServer.get(port)!.last.push(last[k]!);
        if (!distinct.has(port)) distinct.set(port, new Set());
        distinct.get(port)!.add(textOf(key));
      });
      const sizes = await Promise.all(direct.map((client) => client.command("DBSIZE")));
      deepStrictEqual(sizes, servers.map((s) => distinct.get(s.port)?.size ?? 0), "DBSIZE by server");
      for (const [s, server] of servers.entries()) {
        const own = byServer.get(server.port);
        if (own !== undefined) {
          await readBack(direct[s]!, own.keys, (k) => value(own.last[k]!, "o"), `server ${s}`);
        }
      }

      await write(ours, keys, "n");
      await readBack(old, keys, (k) => value(last[k]!, "n"), "nutcracker");
      deepStrictEqual(await Promise.all(direct.map((client) => client.command("DBSIZE"))), sizes);
    });
  }
});

function clientOf(f: Fixture, proxy: Proxy, pool: number): Promise<RawClient> {
  return f.client(proxy.targets[pool]!);
}
