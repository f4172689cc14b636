/**
 * Client libraries in cluster mode give the same results through a pool with announce_cluster as against a real cluster:
 *
 *   library ──► one redis-server that owns all slots                              the truth
 *   library ──► Ringmaster ──► 3 redis-servers, by hash                           must be the same
 *   library ──► 2 Ringmasters that announce each other ──► a cluster of 3 nodes   too
 */
import { deepStrictEqual } from "node:assert/strict";
import { startCluster } from "../lib/cluster.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, within } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import type { Value } from "../lib/resp.ts";
import { poolYml } from "../lib/servers.ts";
import {
  CLUSTER_LIBRARIES,
  type ClusterConnection,
  type ClusterLibrary,
  type Keyed,
} from "./cluster_libraries.ts";
import { type Plain, plain, sorted } from "./plain.ts";

const STEP_MS = 60_000;

/** The second word is the key. */
const on = (line: string): Keyed => {
  const args = line.split(" ");
  return { key: args[1]!, args };
};
const all = (...lines: string[]) => lines.map(on);
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

async function attempt(reply: Promise<unknown>): Promise<Plain> {
  try {
    return plain(await reply);
  } catch (error) {
    return plain(error);
  }
}

async function each(c: ClusterConnection, commands: readonly Keyed[]): Promise<Plain[]> {
  const replies: Plain[] = [];
  for (const command of commands) replies.push(await attempt(c.call(command)));
  return replies;
}

const ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

/** In their order, over one connection; undefined: the library has no means for it. */
const SCENARIOS: readonly (readonly [string, (c: ClusterConnection) => Promise<Plain> | undefined])[] = [
  [
    "commands of every kind",
    (c) =>
      each(
        c,
        all(
          "SET a 1",
          "GET a",
          "INCR a",
          "GET none",
          "LPUSH l x y",
          "LRANGE l 0 -1",
          "BLPOP l 1",
          "HSET h f v",
          "HGETALL h",
          "SADD s m",
          "SMEMBERS s",
          "ZADD z 1.5 m",
          "ZSCORE z m",
          "XADD x 1-1 f v",
          "XRANGE x - +",
          "EXPIRE a 100",
          "TYPE z",
        ),
      ),
  ],
  [
    "several keys of one slot",
    (c) =>
      each(
        c,
        all(
          "MSET {t}1 a {t}2 b",
          "MGET {t}1 {t}2 {t}3",
          "RENAME {t}1 {t}4",
          "SINTERSTORE {t}5 {t}6 {t}7",
          "EXISTS {t}1 {t}2 {t}4",
          "DEL {t}2 {t}4",
        ),
      ),
  ],
  ["errors", (c) => each(c, all("SET e v", "LPUSH e x", "INCR e", "GET e e", "NOSUCH e"))],
  [
    "60 commands at once over many slots",
    async (c) => plain(await Promise.all(range(60).map((i) => c.call(on(`INCRBY many:${i} ${i}`))))),
  ],
  ["a pipeline", (c) => c.pipeline?.(all("SET {p}a 1", "INCR {p}a", "GET {p}a", "LPUSH {p}l x")).then(plain)],
  ["a transaction", (c) => c.transaction?.(all("SET {m}a 1", "INCR {m}a", "GET {m}a")).then(plain)],
  [
    "a script, first unknown",
    (c) => c.script && Promise.all(range(5).map((i) => attempt(c.script!(ADD, `sum:${i}`, [`${i}`])))),
  ],
  ["the library's own methods", (c) => c.own && attempt(c.own())],
  ["SCAN", async (c) => sorted([...new Set(await c.scanAll())])],
];

/** What one library reads on one side. @param nodes where the cluster's nodes are */
async function play(
  library: ClusterLibrary,
  port: number,
  nodes: readonly string[],
): Promise<Map<string, Plain>> {
  const results = new Map<string, Plain>();
  const c = await within(library.connect(port), `${library.name} to connect`);
  try {
    deepStrictEqual((await c.nodes()).sort(), [...nodes].sort(), "the nodes");
    for (const [name, run] of SCENARIOS) {
      const result = run(c);
      if (result !== undefined) results.set(name, await within(result, `${library.name}: ${name}`, STEP_MS));
    }
    if (library.listen !== undefined) {
      const listening = await within(library.listen(port, "news", "snews"), `${library.name} to subscribe`);
      try {
        await subscribed(port, library.sharded);
        await c.call(on("PUBLISH news hello"));
        if (library.sharded) await c.call(on("SPUBLISH snews there"));
        const messages = listening.messages(library.sharded ? 2 : 1);
        results.set("messages", sorted(await within(messages, `${library.name}: messages`, STEP_MS)));
      } finally {
        await listening.close();
      }
    }
    return results;
  } finally {
    await c.close();
  }
}

/** Some subscribe behind their user's back. */
async function subscribed(port: number, sharded: boolean): Promise<void> {
  await using client = await RawClient.connect({ port });
  await poll(async () => {
    const [, one] = await client.command("PUBSUB", "NUMSUB", "news") as Value[];
    const [, other] = await client.command("PUBSUB", "SHARDNUMSUB", "snews") as Value[];
    return one === 1 && (other === 1 || !sharded);
  }, "the subscriptions");
}

Deno.test({
  name: "libraries in cluster mode do through announced proxies what they do on a cluster",
  // They keep timers and sockets of their own past the end of a connection.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using f = new Fixture();
    const [{ nodes: [node] }, cluster] = await Promise.all(
      [1, 3].map((primaries) => startCluster(f, { primaries, replicas: 0 })),
    );
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const keys = { servers, hash_tag: '"{}"', announce_cluster: true };
    const alone = await f.proxy("compiled", poolYml({ alpha: keys }));
    const listens = [0, 1].map(() => `127.0.0.1:${freePort()}`);
    const announcing = { ...keys, announce: `[ ${listens.join(", ")} ]`, hash_tag: undefined, cluster: true };
    const seeds = cluster.nodes.map(({ address }) => address);
    const pair = await Promise.all(
      listens.map((listen) =>
        f.proxy("compiled", poolYml({ alpha: { ...announcing, listen, servers: seeds } }))
      ),
    );
    const everyone = [node!.server, ...servers, ...cluster.nodes.map(({ server }) => server)];
    const empty = await Promise.all(everyone.map((server) => f.client(server)));
    for (const library of CLUSTER_LIBRARIES) {
      await t.step({
        name: library.name,
        sanitizeOps: false,
        sanitizeResources: false,
        async fn() {
          try {
            const fresh = async () => {
              for (const client of empty) await client.pipeline(["FLUSHALL"], ["SCRIPT", "FLUSH"]);
            };
            await fresh();
            const expected = await play(library, node!.port, [node!.address]);
            await fresh();
            const found = await play(library, alone.port, [`127.0.0.1:${alone.port}`]);
            deepStrictEqual(found, expected, "one proxy");
            await fresh();
            const shared = await play(library, pair[0]!.port, listens);
            deepStrictEqual(shared, expected, "two proxies before a cluster");
          } finally {
            await library.dispose?.();
          }
        },
      });
    }
  },
});
