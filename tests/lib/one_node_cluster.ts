/** A cluster of one redis-server, which owns all slots. */
import { strictEqual } from "node:assert/strict";
import { RawClient } from "./client.ts";
import type { Fixture } from "./fixture.ts";
import { poll } from "./poll.ts";
import { freePort } from "./ports.ts";
import type { Server } from "./servers.ts";

/** Resolves when it serves. It knows its address, which it would otherwise learn from other nodes. */
export async function oneNodeCluster(f: Fixture): Promise<Server> {
  const args = ["--cluster-enabled", "yes", "--cluster-port", String(freePort())];
  const node = await f.redis({ port: 0, args: [...args, "--cluster-announce-ip", "127.0.0.1"] });
  await using client = await RawClient.connect(node.target);
  strictEqual(await client.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383), "OK");
  await client.command("CLUSTER", "BUMPEPOCH");
  await poll(
    async () => String(await client.command("CLUSTER", "INFO")).startsWith("cluster_state:ok"),
    "the cluster to be ok",
  );
  return node;
}
