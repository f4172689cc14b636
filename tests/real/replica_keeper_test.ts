/** The keeper of replicas against real ones: what they say while they load, synchronise, lose their link or lag. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { NOTICE } from "../../src/net/log.ts";
import { SystemClock } from "../../src/runtime/clock.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { dialLinks, ReplicaKeeper } from "../../src/topology/replicas.ts";
import type { ServerState } from "../../src/topology/state.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import type { Server } from "../lib/servers.ts";

/** A keeper of one server, and what it has said. */
class Kept implements AsyncDisposable {
  state: ServerState | null = null;
  readonly logged: string[] = [];
  private readonly keeper: ReplicaKeeper;

  constructor(primary: Server, replicas: readonly Server[], keys = "") {
    const yml = `p:\n  listen: 127.0.0.1:1\n  redis: true\n  read_from: prefer_replica\n${keys}  servers:\n` +
      `    - { address: ${primary.address}, name: a` +
      (replicas.length === 0 ? "" : `, replicas: [${replicas.map(({ address }) => address).join(", ")}]`) +
      " }\n";
    const clock = new SystemClock();
    const around = {
      pool: parseConfig(yml, "test.yml").pools[0]!,
      net: new DenoNet(),
      clock,
      random: () => 0.5,
      log: { level: NOTICE, write: (_: number, text: string) => void this.logged.push(text) },
      known: new Map(),
      event: () => {},
    };
    this.keeper = new ReplicaKeeper(around, null, dialLinks(around));
    this.keeper.start((states) => this.state = states.at(-1)!);
  }

  async readsFrom(...servers: readonly Server[]): Promise<void> {
    const wanted = servers.map(({ address }) => address).join(" ");
    await poll(
      () => (this.state?.replicas ?? []).map(({ text }) => text).join(" ") === wanted,
      () =>
        `reads from ${wanted || "nobody"}, not from ${JSON.stringify(this.state)}; ${this.logged.join("; ")}`,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.keeper.stop();
    return Promise.resolve();
  }
}

/** A primary with a password, some keys and a replica that takes its time to load. */
async function pair(f: Fixture, password: string): Promise<[Server, Server, RawClient, RawClient]> {
  const auth = password === "" ? [] : ["--requirepass", password, "--masterauth", password];
  const primary = await f.redis({ port: 0, args: auth });
  const slow = ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"];
  const replica = await f.redis({ port: 0, args: [...auth, ...slow] });
  const clients: RawClient[] = [];
  for (const server of [primary, replica]) {
    const client = await f.client(server);
    if (password !== "") await client.command("AUTH", password);
    clients.push(client);
  }
  const [atPrimary, atReplica] = clients as [RawClient, RawClient];
  await atPrimary.pipeline(...Array.from({ length: 5000 }, (_, i) => ["SET", `key${i}`, "x".repeat(20)]));
  return [primary, replica, atPrimary, atReplica];
}

const fields = async (client: RawClient): Promise<string> =>
  String(await client.command("INFO", "replication")) + String(await client.command("INFO", "persistence"));

Deno.test("a replica is read from when its full synchronisation and its loading are over, and not while its link is broken", async () => {
  await using f = new Fixture();
  const [primary, replica, , atReplica] = await pair(f, "secret");
  const kept = f.add(new Kept(primary, [replica], "  redis_auth: secret\n"));
  await poll(() => kept.logged.some((line) => line.includes("it is no replica")), "the keeper to look");
  await atReplica.command("REPLICAOF", "127.0.0.1", String(primary.port));
  await poll(async () => (await fields(atReplica)).includes("\r\nloading:1"), "the replica to load");
  assert.deepEqual(kept.state?.replicas ?? [], []);
  await kept.readsFrom(replica);
  assert.match(await fields(atReplica), /\r\nloading:0/);
  // Nobody lets it in any more.
  await atReplica.command("CONFIG", "SET", "masterauth", "wrong");
  await atReplica.command("CLIENT", "KILL", "TYPE", "master");
  await kept.readsFrom();
  await atReplica.command("CONFIG", "SET", "masterauth", "secret");
  await kept.readsFrom(replica);
});

Deno.test("replicas are learned from the primary; one that is killed is left out, and back when it has all again", async () => {
  await using f = new Fixture();
  const [primary, replica, , atReplica] = await pair(f, "");
  await atReplica.command("REPLICAOF", "127.0.0.1", String(primary.port));
  const kept = f.add(new Kept(primary, []));
  await kept.readsFrom(replica);
  await replica.crash();
  await kept.readsFrom();
  // A process of the same address that is no replica.
  await replica.start();
  const again = await f.client(replica);
  await again.command("REPLICAOF", "127.0.0.1", String(primary.port));
  await kept.readsFrom(replica);
  // Its primary is gone: for as long as it may lag it is the best there is.
  await primary.crash();
  await kept.readsFrom(replica);
  assert.equal(await again.command("GET", "key1"), "x".repeat(20));
});

Deno.test("a replica that stands still is left out by its lag", async () => {
  await using f = new Fixture();
  const [primary, replica, atPrimary, atReplica] = await pair(f, "");
  await atReplica.command("REPLICAOF", "127.0.0.1", String(primary.port));
  const kept = f.add(new Kept(primary, [replica], "  max_lag: 2s\n"));
  await kept.readsFrom(replica);
  // It answers, but takes nothing from its primary.
  await atReplica.command("CLIENT", "PAUSE", "60000", "WRITE");
  await poll(async () => {
    await atPrimary.command("SET", "k", "v");
    return kept.state?.replicas.length === 0;
  }, "the replica to be left out");
  assert.match(kept.logged.at(-1)!, /it lags \d/);
  await atReplica.command("CLIENT", "UNPAUSE");
  await kept.readsFrom(replica);
});
