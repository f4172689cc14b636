/** The simulator's model of a cluster says what real servers say: the same table for both. One cluster for all. */
import { strictEqual } from "node:assert/strict";
import { RawClient } from "../lib/client.ts";
import { slotOf, startCluster } from "../lib/cluster.ts";
import { latin1 } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { CASES, shownReply } from "../sim/cluster_cases.ts";

Deno.test("the simulator's model of a cluster says what servers say while a slot moves", async () => {
  await using f = new Fixture();
  const cluster = await startCluster(f, { primaries: 2, replicas: 1 });
  const [target, source, , replica] = cluster.nodes;
  const slot = slotOf("{a}");
  const nodes = { T: target!, S: source!, R: replica! };
  const manner = cluster.version.startsWith("valkey") ? "valkey" : "redis";
  for (const { name, manner: only, phase, moved, says } of CASES) {
    if (only !== undefined && only !== manner) continue;
    await source!.tell("MSET", "{a}1", "one", "{a}2", "two");
    await source!.tell("WAIT", 1, 5000);
    if (phase !== "none") await target!.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", source!.id);
    if (phase === "both") await source!.tell("CLUSTER", "SETSLOT", slot, "MIGRATING", target!.id);
    if (moved !== undefined) await cluster.migrate(moved.map(latin1), source!, target!);
    const clients = new Map<string, RawClient>();
    for (const [to, text, reply] of says) {
      let client = clients.get(to);
      if (client === undefined) {
        client = f.add(await RawClient.connect(nodes[to.charAt(0) as "T"].server.target));
        clients.set(to, client);
      }
      const words = text.split(" ").map((word) => word.split("~")[0]!);
      await client.send(
        `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`,
      );
      const said = shownReply((await client.readReply()).text)
        .replace(target!.address, "10.0.0.1:7000").replace(source!.address, "10.0.0.2:7000");
      strictEqual(said, reply, `${name}: ${to} ${text}`);
    }
    await cluster.abandonSlot(slot, source!, target!);
    for (const node of [source!, target!]) await node.tell("FLUSHALL");
  }
});
