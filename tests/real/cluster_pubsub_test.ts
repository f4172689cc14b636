/** Pub/sub through `cluster: true`: every message once, from whichever node, and while slots move. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { RawClient } from "../lib/client.ts";
import { keyOf, slotOf, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import type { Value } from "../lib/resp.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

/** What workers see has to make it look who owns what: in so long it would not by itself. */
const LONG_MS = 600_000;

const clusterPool = (servers: string[]) =>
  poolYml({
    alpha: { servers, cluster: true, cluster_refresh: LONG_MS, hash: undefined, distribution: undefined },
  });

/** What is pushed until `last` is: its last word. */
async function heard(client: RawClient, last: string): Promise<Value[][]> {
  const all: Value[][] = [];
  for (;;) {
    const { value } = await client.readReply();
    const words = value as Value[];
    if (words.at(-1) === last) return all;
    all.push(words);
  }
}

for (const runtime of ["deno", "compiled"] satisfies Runtime[]) {
  Deno.test(`pub/sub of a cluster: every message once, from all nodes, while slots move (${runtime})`, async (t) => {
    await using f = new Fixture();
    const cluster = await startCluster(f, {
      primaries: 3,
      replicas: 0,
      args: ["--notify-keyspace-events", "KEA"],
    });
    const [first, second] = cluster.nodes;
    const proxy = await f.proxy(runtime, clusterPool(cluster.seeds()));
    const client = await f.client(proxy);
    await poll(async () => await client.command("SET", "a", "1") === "OK", "the cluster to be served");

    await t.step("a pattern hears a message once, and keyspace notifications of all nodes", async () => {
      const subscriber = await f.client(proxy);
      await subscriber.command("PSUBSCRIBE", "news.*");
      await subscriber.command("PSUBSCRIBE", "__keyevent@0__:set");
      const keys = ["a", "b", "c", "d", "e", "f"];
      for (const key of keys) {
        await client.command("PUBLISH", `news.${key}`, key);
        await client.command("SET", key, "2");
      }
      // On whichever node it is said.
      await second!.tell("PUBLISH", "news.z", "z");
      // Nodes do not wait for each other: first all that is owed, then what would be too much.
      const all: Value[][] = [];
      while (all.length < 2 * keys.length + 1) all.push((await subscriber.readReply()).value as Value[]);
      await client.command("PUBLISH", "news.end", "end");
      all.push(...await heard(subscriber, "end"));
      const messages = all.filter((words) => words[1] === "news.*").map((words) => words[3]);
      deepStrictEqual(messages.toSorted(), [...keys, "z"]);
      const events = all.filter((words) => words[1] !== "news.*").map((words) => words[3]);
      deepStrictEqual(events.toSorted(), keys);
    });

    await t.step("a shard channel is heard where its slot goes, and back", async () => {
      const slot = [...Array(16384).keys()].find((each) => each > 100)!;
      const channel = keyOf(slot, "news");
      strictEqual(slotOf(channel), slot);
      const subscriber = await f.client(proxy);
      deepStrictEqual(await subscriber.command("SSUBSCRIBE", channel), ["ssubscribe", channel, 1]);
      for (const target of [second!, first!]) {
        await cluster.moveSlots([slot], target);
        await cluster.settled();
        // Acknowledged when the new owner has acknowledged it, for all who listen.
        const late = await f.client(proxy);
        deepStrictEqual(await late.command("SSUBSCRIBE", channel), ["ssubscribe", channel, 1]);
        strictEqual(await client.command("SPUBLISH", channel, "end"), 2);
        deepStrictEqual(await heard(subscriber, "end"), []);
        deepStrictEqual(await heard(late, "end"), []);
        late.close();
      }
    });
  });
}
