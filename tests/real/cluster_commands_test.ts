/** Transactions and blocking commands through `cluster: true`, whose slot is on the move: nothing is lost, and nothing done twice. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { createHash } from "node:crypto";
import { type ClusterNode, keyOf, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

/** By itself it would not look who owns what in so long: what nodes say has to do. */
const LONG_MS = 600_000;

for (const runtime of ["deno", "compiled"] satisfies Runtime[]) {
  Deno.test(`transactions and blocking commands of a cluster whose slots move (${runtime})`, async (t) => {
    await using f = new Fixture();
    const cluster = await startCluster(f, { primaries: 2, replicas: 0 });
    const [here, there] = cluster.nodes;
    const proxy = await f.proxy(
      runtime,
      poolYml({
        alpha: {
          servers: cluster.seeds(),
          cluster: true,
          cluster_refresh: LONG_MS,
          hash: undefined,
          distribution: undefined,
        },
      }),
    );
    const client = await f.client(proxy);
    await poll(async () => await client.command("SET", "a", "1") === "OK", "the cluster to be served");
    const slot = 77;
    const [a, b] = [keyOf(slot, "a"), keyOf(slot, "b")];
    const exec = (...commands: string[][]) => client.pipeline(["MULTI"], ...commands, ["EXEC"]);
    const result = async (...commands: string[][]) => (await exec(...commands)).at(-1);

    await t.step("its keys have gone ahead: the other node is asked, behind ASKING", async () => {
      deepStrictEqual(await result(["SET", a, "1"], ["INCR", a], ["SET", b, "x"]), ["OK", 2, "OK"]);
      await cluster.openSlot(slot, here!, there!);
      strictEqual(await cluster.moveKeys(slot, here!, there!), 2);
      deepStrictEqual(await result(["INCR", a], ["GET", b]), [3, "x"]);
      strictEqual(await client.command("GET", a), "3");
    });

    await t.step("some of its keys have: it is tried again until they are together", async () => {
      // Back where they came from, one of them.
      await cluster.closeSlot(slot, here!, there!);
      await cluster.settled();
      deepStrictEqual(await result(["INCR", a]), [4]);
      await cluster.openSlot(slot, there!, here!);
      strictEqual(await cluster.moveKeys(slot, there!, here!, 1), 1);
      const waits = result(["MSET", a, "10", b, "20"], ["MGET", a, b]);
      let answered = false;
      void waits.then(() => answered = true);
      // Others are served meanwhile.
      const other = await f.client(proxy);
      strictEqual(await other.command("SET", "elsewhere", "1"), "OK");
      strictEqual(answered, false);
      await cluster.moveKeys(slot, there!, here!);
      await cluster.closeSlot(slot, there!, here!);
      await cluster.settled();
      deepStrictEqual(await waits, ["OK", ["10", "20"]]);
    });

    await t.step(
      "keys of two slots, which have come to two nodes since: nobody is sent to and fro",
      async () => {
        const other = keyOf(slot + 1, "d");
        await cluster.moveSlots([slot + 1], there!);
        await cluster.settled();
        const reply = await result(["SET", a, "1"], ["SET", other, "1"]) as ReplyError;
        // What the nodes have said the proxy knows by the next time, and says it at once.
        match(
          reply.message,
          /^EXECABORT Transaction discarded because of: CROSSSLOT Keys in request don't hash to the same slot/,
        );
        strictEqual(await client.command("EXISTS", other), 0);
        strictEqual(await client.command("GET", a), "10");
        await cluster.moveSlots([slot + 1], here!);
        await cluster.settled();
      },
    );

    await t.step("a script that its node lacks: it is told before the transaction", async () => {
      const c = keyOf(slot, "c");
      const adds = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
      const evaluated = "return redis.call('INCR', KEYS[1])";
      const digests = [adds, evaluated].map((text) => createHash("sha1").update(text).digest("hex"));
      const watcher = await f.client(proxy);
      strictEqual(await client.command("SCRIPT", "LOAD", adds), digests[0]);
      strictEqual(await client.command("EVAL", evaluated, "1", c), 1);
      const run = [["EVALSHA", digests[0]!.toUpperCase(), "1", c, "10"], ["EVALSHA", digests[1]!, "1", c]];
      for (const node of cluster.nodes) await node.tell("SCRIPT", "FLUSH");
      deepStrictEqual(await result(...run), [11, 12]);
      await cluster.openSlot(slot, here!, there!);
      await cluster.moveKeys(slot, here!, there!);
      deepStrictEqual(await result(...run), [22, 23]);
      await cluster.closeSlot(slot, here!, there!);
      await cluster.settled();
      deepStrictEqual(await result(...run), [33, 34]);
      // The proxy may hear only now who has the slot, and a watch ends then.
      let watched: unknown = null;
      await poll(async () => {
        strictEqual(await watcher.command("WATCH", c), "OK");
        await there!.tell("SCRIPT", "FLUSH");
        watched = (await watcher.pipeline(["MULTI"], ...run, ["EXEC"])).at(-1);
        return watched !== null;
      }, "a watch to last");
      deepStrictEqual(watched, [44, 45]);
      // Nobody knows that one.
      const unknown = (await result(["EVALSHA", "f".repeat(40), "1", c], ["INCR", c])) as unknown[];
      strictEqual((unknown[0] as ReplyError).message.startsWith("NOSCRIPT "), true);
      strictEqual(unknown[1], 46);
      await cluster.moveSlots([slot], here!);
      await cluster.settled();
    });

    await t.step(
      "a function that its node lacks: it is told before the transaction, unless it has been deleted",
      async () => {
        const c = keyOf(slot, "counted");
        const library = (name: string) =>
          `#!lua name=${name}\nredis.register_function('${name}_adds', function(keys, args) ` +
          "return redis.call('INCRBY', keys[1], args[1]) end)";
        for (const name of ["one", "two"]) {
          strictEqual(await client.command("FUNCTION", "LOAD", library(name)), name);
        }
        const run = ["one", "two"].map((name) => ["FCALL", `${name}_adds`, "1", c, "10"]);
        // As a node that has joined.
        await there!.tell("FUNCTION", "FLUSH");
        deepStrictEqual(await result(...run), [10, 20]);
        await cluster.openSlot(slot, here!, there!);
        await cluster.moveKeys(slot, here!, there!);
        const other = await f.client(proxy);
        const replies = await Promise.all([result(...run), other.pipeline(["MULTI"], ...run, ["EXEC"])]);
        // Whoever of the two was first.
        const both = [replies[0], replies[1].at(-1)].sort((one, two) => String(one) < String(two) ? -1 : 1);
        deepStrictEqual(both, [[30, 40], [50, 60]]);
        await cluster.closeSlot(slot, here!, there!);
        await cluster.settled();
        // What the client sends behind it comes behind it, also where the node has to be told first.
        const late = await f.client(proxy);
        await late.command("HELLO", "3");
        await there!.tell("FUNCTION", "FLUSH");
        const told = await late.pipeline(["SET", c, "0"], ["MULTI"], ...run, ["EXEC"], ["GET", c], [
          "DEL",
          c,
        ]);
        deepStrictEqual(told.slice(4), [[10, 20], "20", 1]);
        // Deleted through another proxy: it does not come back.
        for (const node of cluster.nodes) await node.tell("FUNCTION", "DELETE", "two");
        await there!.tell("FUNCTION", "DELETE", "one");
        await cluster.moveSlots([slot], here!);
        await cluster.settled();
        await late.command("HELLO", "2");
        await client.command("FUNCTION", "LOAD", "REPLACE", library("three"));
        const [one, two] = await result(...run) as unknown[];
        strictEqual(one, 10);
        match((two as ReplyError).message, /^ERR Function not found/);
        deepStrictEqual(await here!.tell("FUNCTION", "LIST", "LIBRARYNAME", "two"), []);
        for (const name of ["one", "three"]) await client.command("FUNCTION", "DELETE", name);
      },
    );

    await t.step(
      "what is watched while its slot moves: no step is lost, and nobody has a lock twice",
      async () => {
        const [counter, lock] = [keyOf(slot, "counter"), keyOf(slot, "lock")];
        let counted = 0;
        let locked = 0;
        let holders = 0;
        let moving = true;
        const done = (reply: unknown) => {
          if (reply instanceof ReplyError) throw reply;
          return reply !== null;
        };
        const counts = async () => {
          await using own = await f.client(proxy);
          while (moving || counted === 0) {
            const [, before] = await own.pipeline(["WATCH", counter], ["GET", counter]);
            const next = String(Number(before) + 1);
            const replies = await own.pipeline(["MULTI"], ["SET", counter, next], ["EXEC"]);
            if (done(replies.at(-1))) counted++;
          }
        };
        const locks = async () => {
          await using own = await f.client(proxy);
          while (moving || locked === 0) {
            const [, there] = await own.pipeline(["WATCH", lock], ["EXISTS", lock]);
            if (there !== 0) {
              await own.command("UNWATCH");
              continue;
            }
            const replies = await own.pipeline(["MULTI"], ["SET", lock, "mine"], ["EXEC"]);
            if (!done(replies.at(-1))) continue;
            strictEqual(++holders, 1, "one has the lock");
            locked++;
            await own.command("PING");
            holders--;
            strictEqual(await own.command("DEL", lock), 1);
          }
        };
        const move = async () => {
          for (let i = 0; i < 6; i++) {
            const [from, to] = i % 2 === 0 ? [here!, there!] : [there!, here!];
            await cluster.openSlot(slot, from, to);
            // Keys come anew on the other side, and those that do not come have stayed.
            while (await cluster.moveKeys(slot, from, to, 1) > 0);
            await cluster.closeSlot(slot, from, to);
            // Nodes that are told faster than they tell each other may disagree for long.
            await cluster.settled();
          }
          moving = false;
        };
        await Promise.all([
          move().finally(() => moving = false),
          counts(),
          counts(),
          locks(),
          locks(),
          locks(),
        ]);
        strictEqual(await client.command("GET", counter), String(counted));
      },
    );

    await t.step("keys of two slots are refused, as by a node", async () => {
      const replies = await exec(["SET", a, "1"], ["SET", keyOf(slot + 1), "2"]);
      strictEqual(replies.at(-1) instanceof ReplyError, true);
      strictEqual(await client.command("GET", a), "10");
    });

    await t.step("who waits for an element goes where its slot goes, and gets it", async () => {
      const waiting = await f.client(proxy);
      const list = keyOf(slot, "list");
      const popped = waiting.command("BLPOP", list, "60");
      const waits = async (node: ClusterNode) =>
        String(await node.tell("CLIENT", "LIST")).split("\n").some((line) =>
          /cmd=blpop/.test(line) && /flags=[^ ]*b/.test(line)
        );
      await poll(() => waits(here!), "BLPOP to wait on the owner");
      await cluster.moveSlots([slot], there!);
      await poll(() => waits(there!), "BLPOP to wait on the next owner");
      await cluster.moveSlots([slot], here!);
      await poll(() => waits(here!), "BLPOP to wait on the owner again");
      strictEqual(await client.command("RPUSH", list, "element"), 1);
      deepStrictEqual(await popped, [list, "element"]);
      strictEqual(await client.command("EXISTS", list), 0);
      // What its own time says.
      strictEqual(await waiting.command("BLPOP", list, "0.05"), null);
      // Nobody is left behind, and CLIENT UNBLOCK finds who waits.
      const id = await waiting.command("CLIENT", "ID");
      const again = waiting.command("BRPOP", list, "0");
      await poll(
        async () => await client.command("CLIENT", "UNBLOCK", String(id), "ERROR") === 1,
        "it to wait",
      );
      strictEqual((await again) instanceof ReplyError, true);
    });

    await t.step("a wait begins where the slot is by now, and where an element has gone ahead", async () => {
      const list = keyOf(slot, "other");
      strictEqual(await client.command("RPUSH", list, "x"), 1);
      await cluster.openSlot(slot, here!, there!);
      await cluster.moveKeys(slot, here!, there!);
      deepStrictEqual(await client.command("BLPOP", list, "60"), [list, "x"]);
      await cluster.closeSlot(slot, here!, there!);
      const waiting = await f.client(proxy);
      const popped = waiting.command("BLMOVE", list, keyOf(slot, "to"), "LEFT", "LEFT", "60");
      strictEqual(await client.command("RPUSH", list, "y"), 1);
      strictEqual(await popped, "y");
      await cluster.moveSlots([slot], here!);
    });

    await t.step("what is wrong with it is said as ever", async () => {
      const aborted = await result(["SET", a, "1"], ["SET", a]);
      strictEqual(aborted instanceof ReplyError, true);
      deepStrictEqual(await result(["GET", a]), ["10"]);
      deepStrictEqual(await result(["PING"]), ["PONG"]);
    });
  });
}
