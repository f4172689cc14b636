/** Commands that wait: on a connection of their own, so that nobody else waits with them, and for as long as they like. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Proxy, type Server } from "../lib/servers.ts";

async function pool(
  f: Fixture,
  count: number,
  keys: Record<string, unknown> = {},
): Promise<{ proxy: Proxy; servers: Server[] }> {
  const servers: Server[] = [];
  for (let i = 0; i < count; i++) servers.push(await f.redis());
  const proxy = await f.proxy(
    "compiled",
    poolYml({ alpha: { servers, hash_tag: '"{}"', hash: "murmur", databases: 4, ...keys } }),
  );
  return { proxy, servers };
}

/** Resolves when the pool's servers have `count` blocked clients. */
async function blocked(f: Fixture, proxy: Proxy, count: number): Promise<void> {
  const client = await f.client(proxy);
  await poll(async () => {
    return new RegExp(`blocked_clients:${count}\r`).test(await client.command("INFO", "clients") as string);
  }, `${count} blocked clients`);
  client.close();
}

const WAITS: readonly { wait: string[]; push: string[]; reply: unknown }[] = [
  { wait: ["BLPOP", "{k}a", "{k}b", "0"], push: ["RPUSH", "{k}b", "v"], reply: ["{k}b", "v"] },
  { wait: ["BRPOP", "{k}a", "0"], push: ["RPUSH", "{k}a", "v"], reply: ["{k}a", "v"] },
  { wait: ["BLMOVE", "{k}a", "{k}m", "LEFT", "RIGHT", "0"], push: ["RPUSH", "{k}a", "v"], reply: "v" },
  { wait: ["BRPOPLPUSH", "{k}a", "{k}m", "0"], push: ["RPUSH", "{k}a", "v"], reply: "v" },
  {
    wait: ["BLMPOP", "0", "2", "{k}a", "{k}b", "LEFT"],
    push: ["RPUSH", "{k}b", "v"],
    reply: ["{k}b", ["v"]],
  },
  { wait: ["BZPOPMIN", "{k}z", "0"], push: ["ZADD", "{k}z", "1", "v"], reply: ["{k}z", "v", "1"] },
  { wait: ["BZPOPMAX", "{k}z", "0"], push: ["ZADD", "{k}z", "1", "v"], reply: ["{k}z", "v", "1"] },
  {
    wait: ["BZMPOP", "0", "1", "{k}z", "MIN"],
    push: ["ZADD", "{k}z", "1", "v"],
    reply: ["{k}z", [["v", "1"]]],
  },
  {
    wait: ["XREAD", "BLOCK", "0", "STREAMS", "{k}s", "$"],
    push: ["XADD", "{k}s", "1-1", "f", "v"],
    reply: [["{k}s", [["1-1", ["f", "v"]]]]],
  },
];

Deno.test("blocking commands wait until somebody pushes, and hold up nobody; timeout does not concern them", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3, { timeout: 1000 });
  const of = (i: number, words: readonly string[]) => words.map((word) => word.replace("{k}", `{k${i}}`));
  const waiters = await Promise.all(WAITS.map(async ({ wait }, i) => {
    const waiter = await f.client(proxy);
    await waiter.send(request(...of(i, wait)));
    return waiter;
  }));
  await blocked(f, proxy, WAITS.length);
  const pusher = await f.client(proxy);
  // Longer than the pool's timeout.
  const untilMs = performance.now() + 1500;
  while (performance.now() < untilMs) {
    strictEqual(await pusher.command("PING"), "PONG");
    strictEqual(await pusher.command("GET", "{k0}other"), null);
  }
  for (const [i, { wait, push, reply }] of WAITS.entries()) {
    await pusher.command(...of(i, push));
    const expected = JSON.parse(JSON.stringify(reply).replace("{k}", `{k${i}}`));
    deepStrictEqual((await waiters[i]!.readReply()).value, expected, wait.join(" "));
    strictEqual(await waiters[i]!.command("PING"), "PONG");
  }
});

Deno.test("blocking commands: pipelined requests keep their order before and after", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  const client = await f.client(proxy);
  deepStrictEqual(
    await client.pipeline(
      ["RPUSH", "{k}l", "a", "b"],
      ["GET", "other"],
      ["BLPOP", "{k}l", "0"],
      ["LLEN", "{k}l"],
      ["BLPOP", "{k}l", "0"],
      ["BLPOP", "{k}l", "0.01"],
      ["SET", "other", "1"],
      ["PING"],
    ),
    [2, null, ["{k}l", "a"], 1, ["{k}l", "b"], null, "OK", "PONG"],
  );
});

Deno.test("blocking commands: keys of two servers are CROSSSLOT, wrong ones say what the server says", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  const client = await f.client(proxy);
  const keys = Array.from({ length: 30 }, (_, i) => `key${i}`);
  for (
    const [args, pattern] of [
      [["BLPOP", ...keys, "0"], /^CROSSSLOT /],
      [["BLPOP", "{k}l", "x"], /^ERR timeout is not a float or out of range$/],
      [["BLPOP", "{k}l", "-1"], /^ERR timeout is negative$/],
      [["BLMPOP", "0", "x", "{k}l", "LEFT"], /^ERR numkeys should be greater than 0$/],
    ] as const
  ) {
    const reply = await client.command(...args);
    ok(reply instanceof ReplyError);
    match(reply.message, pattern);
  }
});

Deno.test("a hundred clients wait; each element goes to exactly one", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  const waiters = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const client = await f.client(proxy);
    await client.send(request("BLPOP", `{q${i % 5}}l`, "0"));
    return client;
  }));
  await blocked(f, proxy, 100);
  const pusher = await f.client(proxy);
  await pusher.pipeline(...Array.from({ length: 100 }, (_, i) => ["RPUSH", `{q${i % 5}}l`, `e${i}`]));
  const got = await Promise.all(waiters.map(async (w) => ((await w.readReply()).value as string[])[1]!));
  deepStrictEqual(got.sort(), Array.from({ length: 100 }, (_, i) => `e${i}`).sort());
  for (const waiter of waiters) strictEqual(waiter.unread, "");
});

Deno.test("WAIT and WAITAOF ask all servers, and the worst answer counts", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  const client = await f.client(proxy);
  deepStrictEqual(
    await client.pipeline(["SET", "k", "v"], ["WAIT", "0", "0"], ["WAIT", "1", "10"], ["GET", "k"]),
    [
      "OK",
      0,
      0,
      "v",
    ],
  );
  ok(await client.command("WAIT", "x", "0") instanceof ReplyError);
});

Deno.test("CLIENT UNBLOCK ends the wait of a client of the pool, with a nil or an error", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  const other = await f.client(proxy);
  for (const how of ["TIMEOUT", "ERROR"]) {
    const waiter = await f.client(proxy);
    const id = await waiter.command("CLIENT", "ID") as number;
    strictEqual(await other.command("CLIENT", "UNBLOCK", id), 0);
    await waiter.send(request("BLPOP", "list", "0"));
    await blocked(f, proxy, 1);
    strictEqual(await other.command("CLIENT", "UNBLOCK", id, how), 1);
    const { value } = await waiter.readReply();
    if (how === "TIMEOUT") strictEqual(value, null);
    else match((value as ReplyError).message, /^UNBLOCKED client unblocked via CLIENT UNBLOCK$/);
    strictEqual(await waiter.command("PING"), "PONG");
    waiter.close();
  }
  match(
    (await other.command("CLIENT", "UNBLOCK", "1", "NOW") as ReplyError).message,
    /reason should be TIMEOUT or ERROR/,
  );
});

Deno.test("a server that is lost ends the wait with an error, and the client goes on", async () => {
  await using f = new Fixture();
  const { proxy, servers } = await pool(f, 1);
  const waiter = await f.client(proxy);
  await waiter.send(concat([request("BLPOP", "list", "0"), request("PING")]));
  await blocked(f, proxy, 1);
  await servers[0]!.crash();
  match(((await waiter.readReply()).value as ReplyError).message, /^ERR Connection reset by peer/);
  strictEqual((await waiter.readReply()).value, "PONG");
  await servers[0]!.start();
  await poll(async () => await waiter.command("RPUSH", "list", "a") === 1, "the server to be back");
  deepStrictEqual(await waiter.command("BLPOP", "list", "0"), ["list", "a"]);
});

Deno.test("blocking commands work in every database and both protocols", async () => {
  await using f = new Fixture();
  const { proxy } = await pool(f, 3);
  for (let db = 0; db < 4; db++) {
    for (const resp of ["2", "3"]) {
      const client = await f.client(proxy);
      const pusher = await f.client(proxy);
      for (const c of [client, pusher]) {
        await c.command("HELLO", resp);
        await c.command("SELECT", db);
      }
      await client.send(request("BZPOPMIN", "z", "0"));
      await blocked(f, proxy, 1);
      await pusher.command("ZADD", "z", "1.5", `db${db}`);
      deepStrictEqual((await client.readReply()).value, ["z", `db${db}`, resp === "3" ? 1.5 : "1.5"]);
      client.close();
      pusher.close();
    }
  }
});
