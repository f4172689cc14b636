/**
 * announce_cluster: a hashed pool answers as a real cluster of one node does, byte by byte in both protocols; several proxies tell
 * the same; a reload changes it. Ids, bus ports and the lengths that follow from them may differ, nothing else.
 * What the libraries make of it: tests/clients/cluster_clients_test.ts.
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { slotOf, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, RUNTIMES } from "../lib/servers.ts";

/**
 * A server that owns all slots, and knows its address. Not of startCluster, whose nodes find themselves in a file without shards: Valkey 9.1
 * leaves such a one out of its own CLUSTER SHARDS.
 */
async function oneNodeCluster(f: Fixture): Promise<RawClient> {
  const args = ["--cluster-enabled", "yes", "--cluster-port", String(freePort())];
  const node = await f.redis({ port: 0, args: [...args, "--cluster-announce-ip", "127.0.0.1"] });
  const client = await f.client(node);
  strictEqual(await client.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383), "OK");
  await client.command("CLUSTER", "BUMPEPOCH");
  await poll(
    async () => String(await client.command("CLUSTER", "INFO")).startsWith("cluster_state:ok"),
    "the cluster to be ok",
  );
  return client;
}

/** The reply with what is a node's own made alike. */
async function normal(client: RawClient, line: string, id: string): Promise<string> {
  await client.send(request(...line.replace("ID", id).split(" ")));
  const { text } = await client.readReply();
  return text
    .replace(/[0-9a-f]{40}/g, "ID")
    .replace(/(?<=\$4\r\nport\r\n|127\.0\.0\.1\r\n):\d+/g, ":PORT")
    .replace(/127\.0\.0\.1:\d+@\d+/g, "127.0.0.1:PORT@BUS")
    .replace(/(?<=\$2\r\nid\r\n):\d+/g, ":CLIENT")
    .replace(/^([$=])\d+(?=\r\n(?:txt:)?ID )/, "$1LENGTH");
}

const ALIKE: readonly string[] = [
  "CLUSTER INFO",
  "CLUSTER SLOTS",
  "CLUSTER SHARDS",
  "CLUSTER NODES",
  "CLUSTER MYID",
  "CLUSTER KEYSLOT {foo}bar",
  "CLUSTER LINKS",
  "CLUSTER REPLICAS ID",
  "CLUSTER SLAVES ID",
  "CLUSTER REPLICAS x",
  "CLUSTER COUNT-FAILURE-REPORTS ID",
  "CLUSTER COUNT-FAILURE-REPORTS x",
  "CLUSTER COUNTKEYSINSLOT 16384",
  "CLUSTER COUNTKEYSINSLOT -1",
  "CLUSTER COUNTKEYSINSLOT x",
  "CLUSTER GETKEYSINSLOT 5 -1",
  "CLUSTER GETKEYSINSLOT 16384 1",
  "CLUSTER GETKEYSINSLOT 5 x",
  "CLUSTER NOPE",
  "CLUSTER KEYSLOT",
  "CLUSTER",
  "READONLY",
  "READWRITE",
  "ASKING",
  "CONFIG GET cluster-enabled",
  "INFO cluster",
];

for (const runtime of RUNTIMES) {
  Deno.test(`announce_cluster: the answers are those of a real node (${runtime})`, async () => {
    await using f = new Fixture();
    const node = await oneNodeCluster(f);
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const keys = { hash_tag: '"{}"', announce_cluster: true };
    const proxy = await f.proxy(runtime, poolYml({ alpha: { servers, ...keys } }));
    const client = await f.client(proxy);
    const [mine, theirs] = [await client.command("CLUSTER", "MYID"), await node.command("CLUSTER", "MYID")];
    // By HELLO the pool learns what its servers are; of one that takes its time nobody waits to hear.
    await poll(
      async () =>
        await normal(client, "HELLO 2", String(mine)) === await normal(node, "HELLO 2", String(theirs)),
      "the pool to know its servers",
    );
    for (const hello of ["HELLO 2", "HELLO 3"]) {
      for (const line of [hello, ...ALIKE]) {
        strictEqual(
          await normal(client, line, String(mine)),
          await normal(node, line, String(theirs)),
          `${hello}: ${line}`,
        );
      }
    }
    const words = Array.from({ length: 300 }, (_, i) => {
      const key = String.fromCharCode(...Array.from({ length: i % 7 }, (_, n) => (i * 31 + n * 101) & 255));
      return ["CLUSTER", "KEYSLOT", ["", "{", "{}", "a{b}"][i % 4] + key + "}{x"[i % 3]];
    });
    deepStrictEqual(await client.pipeline(...words), await node.pipeline(...words));
  });
}

Deno.test("announce: several proxies tell the same slots, and a reload tells others", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const listens = [0, 1, 2].map(() => `127.0.0.1:${freePort()}`);
  const keys = { servers, hash_tag: '"{}"', announce_cluster: true };
  const yml = (listen: string, announce: string[] | null) =>
    poolYml({
      alpha: { listen, ...keys, ...announce === null ? {} : { announce: `[ ${announce.join(", ")} ]` } },
    });
  const proxies = await Promise.all(listens.map(async (listen, i) => {
    const announce = [...listens.slice(i), ...listens.slice(0, i)];
    return await f.proxy("compiled", yml(listen, announce), { args: i === 1 ? ["--workers", "2"] : [] });
  }));
  const clients = await Promise.all(proxies.map((proxy) => f.client(proxy)));
  const slots = await Promise.all(clients.map((client) => client.command("CLUSTER", "SLOTS")));
  deepStrictEqual(slots[1], slots[0]);
  deepStrictEqual(slots[2], slots[0]);
  const ranges = slots[0] as unknown as [first: number, last: number, node: [host: string, port: number]][];
  deepStrictEqual(ranges.map(([first, last]) => [first, last]), [[0, 5460], [5461, 10922], [10923, 16383]]);
  deepStrictEqual(ranges.map(([, , [host, port]]) => `${host}:${port}`).sort(), [...listens].sort());
  const ids = await Promise.all(clients.map((client) => client.command("CLUSTER", "MYID")));
  strictEqual(new Set(ids).size, 3, "each knows itself by its address");
  // Whoever is asked serves every key.
  for (const [i, client] of clients.entries()) {
    for (let key = 0; key < 20; key++) strictEqual(await client.command("SET", `${i}:${key}`, key), "OK");
  }

  const [proxy] = proxies;
  const [client] = clients;
  Deno.writeTextFileSync(proxy!.file, yml(listens[0]!, ["proxy.example.com:6379"]));
  proxy!.kill("SIGHUP");
  await poll(
    async () =>
      JSON.stringify(await client!.command("CLUSTER", "SLOTS")).includes('"proxy.example.com",6379'),
    "the new list",
  );
  strictEqual(await client!.command("GET", "0:1"), "1");
  Deno.writeTextFileSync(proxy!.file, yml(listens[0]!, null).replace("announce_cluster: true", ""));
  proxy!.kill("SIGHUP");
  await poll(async () => await client!.command("CLUSTER", "SLOTS") instanceof ReplyError, "no cluster");
  match(String(await client!.command("INFO", "server")), /redis_mode:standalone/);
});

for (const announced of [false, true]) {
  Deno.test(`cluster: true: CLUSTER answers by slot, and ${announced ? "announces itself" : "names no node"}`, async () => {
    await using f = new Fixture();
    const cluster = await startCluster(f, { primaries: 3, replicas: 0 });
    const seeds = cluster.nodes.map(({ address }) => address);
    const keys = { servers: seeds, cluster: true, announce_cluster: announced };
    const proxy = await f.proxy("compiled", poolYml({ alpha: keys }));
    const client = await f.client(proxy);
    const names = ["a", "b", "c", "{t}1", "{t}2"];
    await client.command("MSET", ...names.flatMap((name) => [name, "v"]));
    for (const name of names) {
      const slot = slotOf(name);
      strictEqual(await client.command("CLUSTER", "KEYSLOT", name), slot);
      const mates = names.filter((other) => slotOf(other) === slot);
      strictEqual(await client.command("CLUSTER", "COUNTKEYSINSLOT", slot), mates.length);
      const found = await client.command("CLUSTER", "GETKEYSINSLOT", slot, 10) as string[];
      deepStrictEqual(found.sort(), mates);
    }
    const said = async (...words: string[]) =>
      String((await client.command("CLUSTER", ...words) as Error).message);
    strictEqual(await said("COUNTKEYSINSLOT", "16384"), "ERR Invalid slot");
    strictEqual(await said("GETKEYSINSLOT", "x", "1"), "ERR value is not an integer or out of range");
    match(await said("FAILOVER"), /^ERR 'CLUSTER FAILOVER' /);
    if (announced) {
      const told = JSON.stringify(await client.command("CLUSTER", "SLOTS"));
      match(told, new RegExp(`^\\[\\[0,16383,\\["127.0.0.1",${proxy.port},"\\w{40}",`));
    } else strictEqual(await said("SLOTS"), "ERR This instance has cluster support disabled");
    match(
      String(await client.command("INFO", "server")),
      announced ? /redis_mode:cluster/ : /redis_mode:standalone/,
    );
  });
}
