/** lib/cluster.ts: what it says that it does to a cluster, the servers say too. One cluster for all. */
import { strictEqual } from "node:assert/strict";
import { type Cluster, keyOf, slotOf, SLOTS, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";

Deno.test("a cluster moves slots and lets replicas become primaries", async (t) => {
  await using f = new Fixture();
  const cluster = await startCluster(f);
  const [a, b] = cluster.nodes as [Cluster["nodes"][0], Cluster["nodes"][0]];
  await t.step("slots of keys are those of the servers", async () => {
    for (const key of ["a", "{user}:1", "{}x", "a{b", "{{x}}", "", keyOf(16_383, "k")]) {
      strictEqual(slotOf(key), await a.tell("CLUSTER", "KEYSLOT", key), key);
    }
    strictEqual((await cluster.owners()).filter((each) => each !== null).length, SLOTS);
  });
  await t.step("a slot moves step by step: ASK while a key is gone, MOVED afterwards", async () => {
    const [key, other] = [keyOf(0, "x"), keyOf(0, "y")];
    await a.tell("MSET", key, "1", other, "2");
    const told = async (key: string) => {
      const reply = await a.ask("GET", key);
      return reply instanceof ReplyError ? reply.message.split(" ")[0] : reply;
    };
    await cluster.openSlot(0, a, b);
    strictEqual(await told(key), "1");
    strictEqual(await cluster.moveKeys(0, a, b), 2);
    strictEqual(await told(other), "ASK");
    await cluster.closeSlot(0, a, b);
    strictEqual(await told(key), "MOVED");
    strictEqual(await b.tell("GET", key), "1");
    strictEqual(await cluster.ownerOf(0), b);
  });
  await t.step("many slots move", async () => {
    await a.tell("SET", keyOf(1000), "v");
    await cluster.moveSlots([999, 1000, 1001], b);
    strictEqual(await b.tell("GET", keyOf(1000)), "v");
  });
  await t.step("a replica takes over, and follows again", async () => {
    const [replica] = await cluster.replicasOf(b);
    await cluster.failover(replica!);
    strictEqual(await cluster.ownerOf(0), replica);
    await cluster.settled();
    await poll(
      async () => (await cluster.replicasOf(replica!))[0] === b,
      "who was the primary to be a replica",
    );
  });
});
