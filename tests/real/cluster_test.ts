/** `cluster: true` in front of a real cluster: one address, whatever its slots do. One cluster for all. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { RawClient } from "../lib/client.ts";
import { type Cluster, type ClusterNode, keyOf, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy } from "../lib/servers.ts";

/** Keys of each third of the slots. */
const EVERYWHERE = [keyOf(1, "k"), keyOf(8000, "k"), keyOf(16_000, "k")];

class Stand {
  constructor(
    readonly f: Fixture,
    readonly cluster: Cluster,
    readonly proxy: Proxy,
    readonly client: RawClient,
  ) {}

  get primaries(): [ClusterNode, ClusterNode, ClusterNode] {
    return this.cluster.nodes.slice(0, 3) as [ClusterNode, ClusterNode, ClusterNode];
  }

  /** Resolves when so many clients wait at the node. */
  async waiting(node: ClusterNode, count: number): Promise<void> {
    await poll(
      async () => String(await node.tell("INFO", "clients")).includes(`blocked_clients:${count}\r\n`),
      `${count} clients to wait at ${node.address}`,
    );
  }
}

type Case = (stand: Stand) => Promise<void>;

const CASES: Readonly<Record<string, Case>> = {
  "keys of all nodes are one keyspace": async ({ client }) => {
    strictEqual(await client.command("MSET", ...EVERYWHERE.flatMap((key, i) => [key, i])), "OK");
    deepStrictEqual(await client.command("MGET", ...EVERYWHERE), ["0", "1", "2"]);
    strictEqual(await client.command("DBSIZE"), 3);
    deepStrictEqual((await client.command("KEYS", "*") as string[]).sort(), [...EVERYWHERE].sort());
    strictEqual(await client.command("DEL", ...EVERYWHERE, "none"), 3);
  },

  "a slot on its way: keys are found on both sides, and again when it has arrived": async (stand) => {
    const { client, cluster, primaries: [from, to] } = stand;
    const [stays, goes, none] = [keyOf(7, "stays"), keyOf(7, "goes"), keyOf(7, "none")];
    await client.command("MSET", stays, "s", goes, "g");
    await cluster.openSlot(7, from, to);
    await cluster.migrate([new TextEncoder().encode(goes)], from, to);
    deepStrictEqual(
      await client.pipeline(["GET", goes], ["GET", stays], ["GET", none], ["SET", goes, "g2"], [
        "GET",
        goes,
      ], ["EVAL", "return redis.call('GET',KEYS[1])", "1", goes]),
      ["g", "s", null, "OK", "g2", "g2"],
    );
    // A new key is made where the slot goes, and nowhere else.
    strictEqual(await client.command("SET", none, "n"), "OK");
    strictEqual(await from.tell("CLUSTER", "COUNTKEYSINSLOT", 7), 1);
    deepStrictEqual(
      await client.pipeline(["MULTI"], ["APPEND", none, "n"], ["GET", none], ["EXEC"]),
      ["OK", "QUEUED", "QUEUED", [2, "nn"]],
    );
    while (await cluster.moveKeys(7, from, to) > 0);
    await cluster.closeSlot(7, from, to);
    deepStrictEqual(await client.command("MGET", stays, goes, none), ["s", "g2", "nn"]);
  },

  "what needs keys of both sides waits until the slot has moved": async (stand) => {
    const { client, cluster, primaries: [from, to] } = stand;
    const [a, b] = [keyOf(8, "a"), keyOf(8, "b")];
    await client.command("MSET", a, "1", b, "2");
    await cluster.openSlot(8, from, to);
    await cluster.migrate([new TextEncoder().encode(a)], from, to);
    const other = await stand.f.client(stand.proxy);
    const both = client.command("MGET", a, b);
    // Nobody else is held up by that.
    strictEqual(await other.command("GET", a), "1");
    while (await cluster.moveKeys(8, from, to) > 0);
    await cluster.closeSlot(8, from, to);
    deepStrictEqual(await both, ["1", "2"]);
  },

  "a pipeline keeps its order while slots move under it": async ({ client, cluster, primaries: [, to] }) => {
    const moves = cluster.moveSlots(Array.from({ length: 100 }, (_, i) => 100 + i), to);
    let done = false;
    const moved = moves.finally(() => done = true);
    for (let n = 1; !done || n < 20; n++) {
      const commands = Array.from({ length: 30 }, (_, i) => ["SET", keyOf(100 + i * 3), `${n}.${i}`]);
      const reads = commands.map(([, key]) => ["GET", key!]);
      const replies = await client.pipeline(...commands.flatMap((each, i) => [each, reads[i]!]));
      replies.forEach((reply, i) => strictEqual(reply, i % 2 === 0 ? "OK" : `${n}.${i >> 1}`));
    }
    await moved;
  },

  "a pop that waits is served by the new owner of its slot": async (stand) => {
    const { client, cluster, primaries: [from, , to] } = stand;
    const popper = await stand.f.client(stand.proxy);
    const popped = popper.command("BLPOP", keyOf(9, "list"), "0");
    await stand.waiting(from, 1);
    await cluster.moveSlots([9], to);
    strictEqual(await client.command("RPUSH", keyOf(9, "list"), "x"), 1);
    deepStrictEqual(await popped, [keyOf(9, "list"), "x"]);
  },

  "a planned failover: nobody is told of it, pops and subscribers go on": async (stand) => {
    const { client, cluster, primaries: [primary] } = stand;
    const [replica] = await cluster.replicasOf(primary);
    const popper = await stand.f.client(stand.proxy);
    const popped = popper.command("BLPOP", keyOf(10, "list"), "0");
    await stand.waiting(primary, 1);
    const channel = keyOf(11, "channel");
    const subscriber = await stand.f.client(stand.proxy);
    strictEqual((await subscriber.command("SSUBSCRIBE", channel) as Value[])[2], 1);
    let done = false;
    const failover = cluster.failover(replica!).finally(() => done = true);
    for (let n = 0; !done || n < 20; n++) {
      strictEqual(await client.command("SET", keyOf(10, "k"), n), "OK");
      strictEqual(await client.command("GET", keyOf(10, "k")), String(n));
    }
    await failover;
    strictEqual(await client.command("RPUSH", keyOf(10, "list"), "y"), 1);
    deepStrictEqual(await popped, [keyOf(10, "list"), "y"]);
    // Until it has subscribed there nobody receives it.
    await poll(
      async () => await client.command("SPUBLISH", channel, "hello") === 1,
      "the subscriber to be back",
    );
    deepStrictEqual((await subscriber.readReply()).value, ["smessage", channel, "hello"]);
    await cluster.settled();
  },

  "a primary dies: its keys fail, at most, until its replica has taken over": async (stand) => {
    const { client, cluster, primaries: [, second] } = stand;
    const [replica] = await cluster.replicasOf(second);
    const key = keyOf(8001, "k");
    await client.command("SET", key, "v");
    await client.command("WAIT", "1", "1000");
    await poll(
      async () => await replica!.ask("CLUSTER", "COUNTKEYSINSLOT", 8001) === 1,
      "the replica to have it",
    );
    await second.crash();
    await cluster.knownAsPrimary(replica!);
    await cluster.ok();
    await poll(async () => await client.command("GET", key) === "v", "the key to be read again");
    ok(!(await client.command("SET", key, "w") instanceof ReplyError));
  },
};

Deno.test("a real cluster behind one address", async (t) => {
  await using f = new Fixture();
  const cluster = await startCluster(f, { nodeTimeoutMs: 1500 });
  const yml = poolYml({
    alpha: { servers: cluster.seeds(2), hash: undefined, distribution: undefined, cluster: true },
  });
  const proxy = await f.proxy("compiled", yml);
  const stand = new Stand(f, cluster, proxy, await f.client(proxy));
  for (const [name, run] of Object.entries(CASES)) await t.step(name, () => run(stand));
});
