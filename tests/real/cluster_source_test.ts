/** Who the servers of a pool are when a real cluster says it: while slots move, primaries change and die, and the file is read again. */
import assert from "node:assert/strict";
import { type Cluster, type ClusterNode, keyOf, startCluster } from "../lib/cluster.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { ROOT } from "../lib/repo.ts";
import { ReplyError } from "../lib/resp.ts";
import { freeze, type Proxy } from "../lib/servers.ts";

const yml = (port: number, servers: readonly string[], ...more: string[]) =>
  `alpha:\n  listen: 127.0.0.1:${port}\n  redis: true\n  servers: [ ${servers.join(", ")} ]\n` +
  more.map((line) => `  ${line}\n`).join("");

/** The pool's counters of each server, by name; only servers of the moment. */
async function servers(proxy: Proxy): Promise<Record<string, Record<string, number>>> {
  const alpha = (await proxy.stats()).alpha as Record<string, Record<string, number>>;
  return Object.fromEntries(Object.entries(alpha).filter(([, value]) => typeof value === "object"));
}

const places = async (proxy: Proxy): Promise<string> => Object.keys(await servers(proxy)).sort().join();

const placesOf = (...nodes: readonly ClusterNode[]): string =>
  nodes.map(({ address }) => address).sort().join();

async function served(client: RawClient): Promise<void> {
  for (let slot = 0; slot < 16384; slot += 1311) {
    assert.equal(await client.command("SET", keyOf(slot), slot), "OK");
  }
}

async function writes(client: RawClient, proxy: Proxy, what: string): Promise<void> {
  await poll(
    async () => {
      for (let slot = 0; slot < 16384; slot += 1311) {
        if (await client.command("SET", keyOf(slot), slot) !== "OK") return false;
      }
      return true;
    },
    () => `${what}\n${proxy.log}`,
  );
}

Deno.test("a cluster says who the servers are", async (t) => {
  await using f = new Fixture();
  const cluster: Cluster = await startCluster(f, { nodeTimeoutMs: 1000 });
  const port = freePort();
  // At first what no hint asks for comes too late for this test; where nobody can see anything the interval has to do.
  const rarely = ["cluster: true", "cluster_refresh: 600000"];
  const keys = ["cluster: true", "cluster_refresh: 1000"];
  const proxy = await f.proxy("deno", yml(port, cluster.seeds(1), ...rarely));
  const client = await f.client(proxy);
  const [a, b, c] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];

  await t.step("all that own slots", async () => {
    assert.equal(await places(proxy), placesOf(a, b, c));
    await served(client);
    const slotless = await client.command("GET", keyOf(0));
    assert.equal(slotless, "0");
  });

  await t.step("slots that move are asked for at once where they are; counters stay", async () => {
    const before = (await servers(proxy))[a.address]!.requests!;
    await cluster.moveSlots([0, 1, 2, 3], b);
    assert.equal(await client.command("GET", keyOf(0)), "0");
    await poll(() => proxy.log.includes(`slots 0-3 move from ${a.address} to ${b.address}`), () => proxy.log);
    const then = (await servers(proxy))[b.address]!.requests!;
    assert.equal(await client.command("GET", keyOf(0)), "0");
    assert.equal((await servers(proxy))[b.address]!.requests!, then + 1);
    assert.ok((await servers(proxy))[a.address]!.requests! >= before);
    assert.match(
      String(await client.command("INFO", "ringmaster")),
      /ringmaster_topology_cause:cluster .*slots 0-3 move/,
    );
  });

  await t.step("route names slot and node", async () => {
    const args = ["run", "-A", "main.ts", "route", "-c", proxy.file, keyOf(0), keyOf(16383)];
    const { stdout } = await run(Deno.execPath(), args, { cwd: ROOT });
    assert.deepEqual(stdout.trim().split("\n"), [
      [keyOf(0), "alpha", b.address, b.address, 0].join("\t"),
      [keyOf(16383), "alpha", c.address, c.address, 16383].join("\t"),
    ]);
  });

  await t.step("a planned failover, without an error", async () => {
    const [replica] = await cluster.replicasOf(c);
    let over = false;
    const errors: unknown[] = [];
    const load = (async () => {
      while (!over) {
        const reply = await client.command("SET", keyOf(16383), 1);
        if (reply !== "OK") errors.push(reply);
      }
    })();
    await cluster.failover(replica!);
    await poll(async () => await places(proxy) === placesOf(a, b, replica!), () => proxy.log);
    await cluster.failover(c);
    await poll(async () => await places(proxy) === placesOf(a, b, c), () => proxy.log);
    over = true;
    await load;
    assert.deepEqual(errors, []);
  });

  await t.step("a reload may change all but that it is a cluster", async () => {
    const listed = [a, b, c].map(({ address }) => `${address}:1`);
    await Deno.writeTextFile(proxy.file, yml(port, listed));
    proxy.kill("SIGHUP");
    await poll(() => proxy.log.includes("pool alpha: cluster changes from true to false"), () => proxy.log);
    // The source goes on, whatever else the file says.
    await Deno.writeTextFile(
      proxy.file,
      yml(port, cluster.seeds(2), ...keys, "read_from: prefer_replica"),
    );
    proxy.kill("SIGHUP");
    await poll(() => proxy.log.includes("is read from: it is well"), () => proxy.log);
    await cluster.moveSlots([0, 1, 2, 3], a);
    await poll(() => proxy.log.includes(`slots 0-3 move from ${b.address} to ${a.address}`), () => proxy.log);
    await served(client);
  });

  await t.step("replicas answer reads; of a slot that they do not have the primary does", async () => {
    const calls = async (nodes: readonly ClusterNode[]) => {
      let sum = 0;
      for (const node of nodes) {
        const info = String(await node.tell("INFO", "commandstats"));
        sum += Number(/cmdstat_strlen:calls=(\d+)/.exec(info)?.[1] ?? 0);
      }
      return sum;
    };
    const replicas = cluster.nodes.slice(3);
    await poll(async () => {
      const before = await calls(replicas);
      for (let slot = 100; slot < 16384; slot += 2000) {
        assert.equal(typeof await client.command("STRLEN", keyOf(slot)), "number");
      }
      return await calls(replicas) - before === 9;
    }, () => `all reads to be the replicas'\n${proxy.log}`);
    // The replicas of the old owner know nothing of it, or have not heard: whoever answers, the client reads what there is.
    await client.command("SET", keyOf(5), "moved");
    await cluster.moveSlots([5], b);
    // A replica of the new owner has the key a moment after its primary.
    await poll(async () => {
      const value = await client.command("GET", keyOf(5));
      assert.ok(value === "moved" || value === null, String(value));
      return value === "moved";
    }, () => `what has moved to be read\n${proxy.log}`);
  });

  await t.step(
    "nodes are called as they call themselves: by host name, or by the host that was asked",
    async () => {
      const set = async (name: string, value: string) => {
        for (const node of cluster.nodes) await node.tell("CONFIG", "SET", name, value);
      };
      const named = [a, b, c].map(({ port }) => `localhost:${port}`).sort().join();
      await set("cluster-announce-hostname", "localhost");
      await set("cluster-preferred-endpoint-type", "hostname");
      await poll(async () => await places(proxy) === named, () => proxy.log);
      await served(client);
      await set("cluster-preferred-endpoint-type", "unknown-endpoint");
      await cluster.moveSlots([6], b);
      assert.equal(await client.command("SET", keyOf(6), 1), "OK");
      await set("cluster-preferred-endpoint-type", "ip");
      await poll(async () => await places(proxy) === placesOf(a, b, c), () => proxy.log);
      await served(client);
    },
  );

  await t.step(
    "a primary that is frozen: what it has not answered fails, the rest is its replica's",
    async () => {
      const [heir] = await cluster.replicasOf(a);
      const stuck = await f.client(proxy);
      await freeze(a.server);
      try {
        const reply = stuck.command("INCR", keyOf(700));
        await poll(async () => (await places(proxy)).includes(heir!.address), () => proxy.log);
        assert.match(String(await reply), /The server was replaced while this was under way/);
        await writes(client, proxy, "the heir");
      } finally {
        a.server.kill("SIGCONT");
      }
      await poll(async () => !await a.isPrimary(), "the old primary to follow");
      await cluster.settled();
      assert.equal(await places(proxy), placesOf(heir!, b, c));
    },
  );

  await t.step(
    "a cluster that is gone is told of once, and found again; so it is by a proxy that starts meanwhile",
    async () => {
      for (const node of cluster.nodes) await node.crash();
      await poll(() => /cluster .*; the servers stay as they are/.test(proxy.log), () => proxy.log);
      const late = await f.proxy("deno", yml(freePort(), cluster.seeds(2), ...keys));
      const early = await f.client(late);
      assert.ok(await early.command("GET", "a") instanceof ReplyError);
      for (const node of cluster.nodes) await node.restart();
      await writes(early, late, "the late proxy");
      await writes(client, proxy, "the first proxy");
      assert.match(proxy.log, /cluster .*: answers again/);
      // Whoever has started later may be where another has taken over meanwhile, and each hears of that by itself.
      await poll(async () => await places(late) === await places(proxy), () => `${late.log}\n${proxy.log}`);
      assert.equal(proxy.log.match(/the servers stay as they are/g)!.length, 1);
    },
  );
});

Deno.test("a node that joins a cluster is told the scripts and the functions that clients rely on", async () => {
  await using f = new Fixture();
  // Else whoever has given away its last slot follows the one that got it.
  const args = ["--cluster-allow-replica-migration", "no"];
  const cluster = await startCluster(f, { replicas: 0, slots: [[[0, 8191]], [[8192, 16383]], []], args });
  const proxy = await f.proxy(
    "deno",
    yml(freePort(), cluster.seeds(1), "cluster: true", "cluster_refresh: 500"),
  );
  const client = await f.client(proxy);
  const joins = cluster.nodes[2]!;
  const sha = String(await client.command("SCRIPT", "LOAD", "return KEYS[1]"));
  const library = (body: string) =>
    `#!lua name=lib\nredis.register_function('f', function(keys) return ${body} end)`;
  assert.equal(await client.command("FUNCTION", "LOAD", library("keys[1]")), "lib");
  await cluster.moveSlots([100, 101], joins);
  const key = keyOf(100);
  await poll(async () => {
    const replies = [
      await client.command("EVALSHA", sha, 1, key),
      await client.command("FCALL", "f", 1, key),
    ];
    return replies.every((reply) => reply === key);
  }, () => proxy.log);
  await poll(async () => await places(proxy) === placesOf(...cluster.nodes), () => proxy.log);
  // One that has libraries of its own keeps them, as a replica that has taken over has to: they may be newer.
  await cluster.moveSlots([100, 101], cluster.nodes[0]!);
  await poll(
    async () => await places(proxy) === placesOf(cluster.nodes[0]!, cluster.nodes[1]!),
    () => proxy.log,
  );
  await joins.tell("FUNCTION", "LOAD", "REPLACE", library("'newer'"));
  await joins.tell("SCRIPT", "FLUSH");
  await cluster.moveSlots([100, 101], joins);
  await poll(async () => await client.command("EVALSHA", sha, 1, key) === key, () => proxy.log);
  assert.equal(await client.command("FCALL", "f", 1, key), "newer");
});

Deno.test("a node that gives all of its slots away has no traffic, and counts on when it gets some again", async () => {
  await using f = new Fixture();
  // Else it would follow the one that got them.
  const args = ["--cluster-allow-replica-migration", "no"];
  const cluster = await startCluster(f, { replicas: 0, slots: [[[0, 8191]], [[8192, 16383]], []], args });
  const [a, b, comes] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
  const proxy = await f.proxy(
    "deno",
    yml(freePort(), cluster.seeds(1), "cluster: true", "cluster_refresh: 500"),
  );
  const client = await f.client(proxy);
  const slots = [100, 101];
  const keys = [100, 101, 102, 9000].map((slot) => keyOf(slot));
  const channel = keyOf(100, "channel");
  const heard: string[] = [];
  for (
    const [how, name] of [["SUBSCRIBE", "news"], ["PSUBSCRIBE", "ne?s"], ["SSUBSCRIBE", channel]] as const
  ) {
    const subscriber = await f.client(proxy);
    await subscriber.command(how, name);
    const listen = async () => {
      for (;;) {
        const message = (await subscriber.readReply()).value as string[];
        if (/message$/.test(message[0]!)) heard.push(`${how} ${message.at(-1)}`);
      }
    };
    // Until it is closed.
    void listen().catch(() => {});
  }
  let said = 0;
  const all = async () => {
    for (const key of keys) assert.equal(await client.command("SET", key, key), "OK");
    assert.equal(await client.command("DBSIZE"), keys.length);
    const found: string[] = [];
    for (let cursor = "0";;) {
      const [next, page] = await client.command("SCAN", cursor) as [string, string[]];
      found.push(...page);
      if ((cursor = next) === "0") break;
    }
    assert.deepEqual(found.sort(), [...keys].sort());
    const sha = await client.command("SCRIPT", "LOAD", "return KEYS[1]");
    for (const key of keys) assert.equal(await client.command("EVALSHA", String(sha), 1, key), key);
    const text = String(said++);
    await poll(async () => {
      await client.pipeline(["PUBLISH", "news", text], ["SPUBLISH", channel, text]);
      return ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"].every((how) => heard.includes(`${how} ${text}`));
    }, () => `${heard}\n${proxy.log}`);
  };
  const requests = async () => (await servers(proxy))[comes.address]?.requests ?? -1;
  const untouched = async () => {
    const calls = String(await comes.tell("INFO", "commandstats")).match(
      /cmdstat_(set|get|dbsize|scan|script\S*|evalsha|publish|spublish|subscribe|psubscribe|ssubscribe):calls/g,
    );
    assert.equal(calls, null);
  };
  await all();
  await untouched();
  let counted = 0;
  for (let round = 0; round < 2; round++) {
    await cluster.moveSlots(slots, comes);
    await poll(async () => await places(proxy) === placesOf(a, b, comes), () => proxy.log);
    await all();
    const now = await requests();
    assert.ok(now > counted, `round ${round}: ${now} requests, ${counted} before`);
    counted = now;
    await cluster.moveSlots(slots, a);
    await poll(async () => await places(proxy) === placesOf(a, b), () => proxy.log);
    await comes.tell("CONFIG", "RESETSTAT");
    await all();
    await untouched();
  }
});
