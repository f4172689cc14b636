/** Transactions through `cluster: true`, whose slot is on the move: nothing of them is lost, and nothing is done twice. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { keyOf, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

/** By itself it would not look who owns what in so long: what nodes say has to do. */
const LONG_MS = 600_000;

for (const runtime of ["deno", "compiled"] satisfies Runtime[]) {
  Deno.test(`transactions of a cluster whose slots move (${runtime})`, async (t) => {
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
      deepStrictEqual(await waits, ["OK", ["10", "20"]]);
    });

    await t.step("keys of two slots are refused, as by a node", async () => {
      const replies = await exec(["SET", a, "1"], ["SET", keyOf(slot + 1), "2"]);
      strictEqual(replies.at(-1) instanceof ReplyError, true);
      strictEqual(await client.command("GET", a), "10");
    });

    await t.step("what is wrong with it is said as ever", async () => {
      const aborted = await result(["SET", a, "1"], ["SET", a]);
      strictEqual(aborted instanceof ReplyError, true);
      deepStrictEqual(await result(["GET", a]), ["10"]);
      deepStrictEqual(await result(["PING"]), ["PONG"]);
    });
  });
}
