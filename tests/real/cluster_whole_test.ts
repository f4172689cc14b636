/** What concerns the whole pool, through `cluster: true`: of all nodes, also while a slot moves to a node that has just joined. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { keyOf, slotOf, SLOTS, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Push, ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

/** What workers see has to make it look who owns what: in so long it would not by itself. */
const LONG_MS = 600_000;
const KEYS = Array.from({ length: 200 }, (_, i) => `key:${i}`);
const SCRIPT = "return redis.call('GET', KEYS[1])";
const LIBRARY =
  "#!lua name=lib\nredis.register_function('read', function(k) return redis.call('GET', k[1]) end)";

for (const runtime of ["deno", "compiled"] satisfies Runtime[]) {
  Deno.test(`what concerns all nodes of a cluster, and one that joins (${runtime})`, async (t) => {
    await using f = new Fixture();
    const half = SLOTS / 2;
    const cluster = await startCluster(f, {
      primaries: 3,
      replicas: 0,
      slots: [[[0, half - 1]], [[half, SLOTS - 1]], []],
    });
    const proxy = await f.proxy(
      runtime,
      poolYml({
        alpha: {
          servers: cluster.seeds(2),
          cluster: true,
          cluster_refresh: LONG_MS,
          dangerous_commands: "allow",
          hash: undefined,
          distribution: undefined,
        },
      }),
    );
    const client = await f.client(proxy);
    const ask = (...words: string[]) => client.command(...words);
    await poll(async () => await ask("SET", "key:0", "0") === "OK", "the cluster to be served");
    await client.pipeline(...KEYS.map((key, i) => ["SET", key, String(i)]));
    const slot = slotOf("key:0");
    const [source, target] = [await cluster.ownerOf(slot), cluster.nodes[2]!];
    const staying = KEYS.filter((key) => slotOf(key) !== slot);

    await t.step("DBSIZE, KEYS, RANDOMKEY and INFO are of all nodes", async () => {
      strictEqual(await ask("DBSIZE"), KEYS.length);
      deepStrictEqual((await ask("KEYS", "*") as string[]).toSorted(), KEYS.toSorted());
      ok(KEYS.includes(String(await ask("RANDOMKEY"))));
      match(String(await ask("INFO", "keyspace")), /^db0:keys=200,/m);
    });

    let digest = "";
    await t.step("scripts and functions are with all nodes, and where a slot is on its way to", async () => {
      digest = String(await ask("SCRIPT", "LOAD", SCRIPT));
      deepStrictEqual(await ask("SCRIPT", "EXISTS", digest), [1]);
      strictEqual(await ask("FUNCTION", "LOAD", LIBRARY), "lib");
      await cluster.openSlot(slot, source, target);
      await cluster.moveKeys(slot, source, target);
      strictEqual(await ask("EVALSHA", digest, "1", "key:0"), "0");
      strictEqual(await ask("FCALL", "read", "1", "key:0"), "0");
      match(String(await ask("EVAL", SCRIPT, "2", "a", "b")), /CROSSSLOT/);
    });

    await t.step(
      "who tracks is told to forget what it reads there, and hears of changes once it has joined",
      async () => {
        const tracking = await f.client(proxy);
        await tracking.command("HELLO", "3");
        strictEqual(await tracking.command("CLIENT", "TRACKING", "ON"), "OK");
        const invalidated = async (): Promise<Value> => {
          const { value } = await tracking.readReply();
          ok(value instanceof Push, `expected an invalidation, found ${Deno.inspect(value)}`);
          return value.items[1]!;
        };
        strictEqual(await tracking.command("GET", "key:0"), "0");
        deepStrictEqual(await invalidated(), ["key:0"]);
        let cursor = "0";
        const seen = new Set<string>();
        let closed = false;
        do {
          const [next, keys] = await ask("SCAN", cursor, "COUNT", "20") as [string, string[]];
          for (const key of keys) seen.add(key);
          cursor = next;
          // Meanwhile the node joins the pool.
          if (!closed && seen.size > 20) await cluster.closeSlot(slot, source, target);
          closed ||= seen.size > 20;
          await ask("GET", "key:0");
        } while (cursor !== "0");
        deepStrictEqual(staying.filter((key) => !seen.has(key)), []);
        strictEqual(await invalidated(), null);
        await poll(async () => await ask("DBSIZE") === KEYS.length, "the node to be a server");
        strictEqual(await tracking.command("GET", "key:0"), "0");
        await ask("SET", "key:0", "1");
        // Another node that says so may have made another change of it.
        let changed = await invalidated();
        while (changed === null) changed = await invalidated();
        deepStrictEqual(changed, ["key:0"]);
        tracking.close();
      },
    );

    await t.step("a node that has joined has its part in all of that", async () => {
      deepStrictEqual((await ask("KEYS", "*") as string[]).toSorted(), KEYS.toSorted());
      await poll(
        async () => ((await target.ask("SCRIPT", "EXISTS", digest)) as Value[])[0] === 1,
        "the script to be there",
      );
      strictEqual(await ask("SET", keyOf(slot, "new"), "x"), "OK");
      strictEqual(await ask("DBSIZE"), KEYS.length + 1);
      strictEqual(await ask("FLUSHALL"), "OK");
      strictEqual(await ask("DBSIZE"), 0);
    });

    await t.step("where one is down it is named", async () => {
      await target.crash();
      for (const words of [["DBSIZE"], ["KEYS", "*"], ["SCRIPT", "LOAD", SCRIPT], ["FLUSHALL"]]) {
        const reply = await ask(...words);
        ok(reply instanceof ReplyError && reply.message.includes(target.address), `${words[0]}: ${reply}`);
      }
    });
  });
}
