/** CLIENT LIST, INFO, KILL and UNBLOCK with several workers: one set of clients, whichever worker is asked. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Proxy, type Runtime } from "../lib/servers.ts";
import { inVersion, versionOf } from "../lib/versions.ts";

const WORKERS = 2;
/** What lies between the first CLIENT ID of one worker and that of the next. */
const WORKER_IDS = 2 ** 40;

async function start(f: Fixture, runtime: Runtime): Promise<Proxy> {
  const servers = [await f.redis(), await f.redis()];
  const yml = `ringmaster: { workers: ${WORKERS} }\n` +
    poolYml({ alpha: { servers, databases: 4, dangerous_commands: "allow" } });
  const proxy = await f.proxy(runtime, yml);
  await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
  return proxy;
}

async function idOf(client: RawClient): Promise<number> {
  return await client.command("CLIENT", "ID") as number;
}

/** A client of each worker. */
async function oneOfEach(f: Fixture, to: Proxy): Promise<RawClient[]> {
  const found: (RawClient | undefined)[] = Array.from({ length: WORKERS });
  await poll(async () => {
    const client = await f.client(to);
    const worker = Math.floor(await idOf(client) / WORKER_IDS);
    if (found[worker] === undefined) found[worker] = client;
    else client.close();
    return found.every((one) => one !== undefined);
  }, "a client of each worker");
  return found as RawClient[];
}

async function list(client: RawClient, ...options: string[]): Promise<Map<string, string>[]> {
  const text = await client.command("CLIENT", "LIST", ...options);
  ok(typeof text === "string", String(text));
  return text.split("\n").slice(0, -1).map((line) =>
    new Map(line.split(" ").map((field) => field.split("=") as [string, string]))
  );
}

async function names(client: RawClient, ...options: string[]): Promise<string[]> {
  return (await list(client, ...options)).map((fields) => fields.get("name")!).filter((name) => name !== "");
}

for (const runtime of ["compiled", "deno"] as const) {
  Deno.test(`CLIENT LIST and KILL see the clients of all workers (${runtime})`, async () => {
    await using f = new Fixture();
    const proxy = await start(f, runtime);
    const [a, b] = await oneOfEach(f, proxy) as [RawClient, RawClient];
    strictEqual(await a.command("CLIENT", "SETNAME", "a"), "OK");
    strictEqual(await b.command("CLIENT", "SETNAME", "b"), "OK");
    for (const client of [a, b]) {
      await poll(async () => (await list(client)).length === 2, "those that were closed to be gone");
      deepStrictEqual(await names(client), ["a", "b"]);
    }
    strictEqual(await b.command("SELECT", "3"), "OK");
    const id = String(await idOf(b));
    const [fields] = await list(a, "ID", id);
    strictEqual(fields!.get("id"), id);
    strictEqual(fields!.get("db"), "3");
    match(fields!.get("addr")!, /^127\.0\.0\.1:\d+$/);
    strictEqual(fields!.get("laddr"), `127.0.0.1:${proxy.port}`);
    match(await a.command("CLIENT", "INFO") as string, /name=a .*cmd=client\|info/);

    // A waiting client of the other worker.
    await b.send(request("BLPOP", "list", "0"));
    await poll(async () => (await names(a, "FLAGS", "b")).length === 1, "b to wait");
    strictEqual(await a.command("CLIENT", "UNBLOCK", id), 1);
    strictEqual((await b.readReply()).value, null);
    await b.send(request("BLPOP", "list", "0"));
    await poll(async () => (await names(a, "FLAGS", "b")).length === 1, "b to wait again");
    strictEqual(await a.command("CLIENT", "KILL", "ID", id), 1);
    strictEqual(await b.readToEnd(), "");
    deepStrictEqual(await names(a), ["a"]);
    await a.command("RPUSH", "list", "x");
    strictEqual(await a.command("LPOP", "list"), "x", "nobody pops for the one that has been ended");

    // A subscriber, wherever it is.
    const [c, d] = await oneOfEach(f, proxy) as [RawClient, RawClient];
    await d.send(request("SUBSCRIBE", "ch"));
    await d.readReply();
    const [subscriber] = await list(a, "TYPE", "pubsub");
    strictEqual(subscriber!.get("sub"), "1");
    strictEqual(await a.command("CLIENT", "KILL", subscriber!.get("addr")!), "OK");
    strictEqual(await d.readToEnd(), "");
    // Its worker tells the servers so after it has closed it.
    await poll(async () => await a.command("PUBLISH", "ch", "m") === 0, "nobody to be subscribed");

    // Itself last: its reply still comes.
    strictEqual(await c.command("PING"), "PONG");
    await a.send(request("CLIENT", "KILL", "SKIPME", "no"));
    ok(await a.readReply().then(({ value }) => value as number >= 2));
    strictEqual(await a.readToEnd(), "");
    strictEqual(await c.readToEnd(), "");
    strictEqual(await (await f.client(proxy)).command("PING"), "PONG");
  });
}

Deno.test("CLIENT LIST of a worker that dies meanwhile goes on without it", async () => {
  await using f = new Fixture();
  const servers = [await f.redis()];
  const magic = "make-this-worker-throw";
  const proxy = await f.proxy(
    "compiled",
    `ringmaster: { workers: ${WORKERS} }\n` + poolYml({ alpha: { servers } }),
    {
      env: { RINGMASTER_TEST_CRASH: magic },
    },
  );
  await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
  const [a, b] = await oneOfEach(f, proxy) as [RawClient, RawClient];
  await a.command("CLIENT", "SETNAME", "a");
  await b.command("CLIENT", "SETNAME", "b");
  await b.send(request("GET", magic));
  // Asked in the very moment, and after.
  await a.send(request("CLIENT", "LIST"));
  ok(/name=a /.test((await a.readReply()).value as string));
  strictEqual(await b.readToEnd(), "");
  await poll(async () => (await names(a)).join() === "a", "b to be gone from the list");
});

Deno.test("CLIENT LIST tells the address that a client has come to, also where the pool listens on all or by a name, and a socket's path", async () => {
  await using f = new Fixture();
  const port = freePort();
  const path = `${f.dir}/pool.sock`;
  const servers = [await f.redis()];
  const named = freePort();
  const yml = poolYml({
    any: { listen: `0.0.0.0:${port}`, servers },
    // A name, but in need of no resolver.
    named: { listen: `0x7f.1:${named}`, servers },
    unix: { listen: path, servers },
  });
  for (const runtime of ["compiled", "deno"] as const) {
    const proxy = await f.proxy(runtime, yml);
    const client = await f.client({ port });
    strictEqual((await list(client))[0]!.get("laddr"), `127.0.0.1:${port}`);
    const byName = await f.client({ port: named });
    strictEqual((await list(byName))[0]!.get("laddr"), `127.0.0.1:${named}`);
    const local = await f.client({ path });
    const [fields] = await list(local, "FLAGS", "U");
    deepStrictEqual([fields!.get("addr"), fields!.get("laddr")], [`${path}:0`, `${path}:0`]);
    await proxy.stop();
  }
});

Deno.test("CLIENT KILL needs dangerous_commands; CLIENT LIST does not", async () => {
  await using f = new Fixture();
  const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [await f.redis()] } }));
  const client = await f.client(proxy);
  strictEqual((await list(client)).length, 1);
  match(
    (await client.command("CLIENT", "KILL", "TYPE", "normal") as ReplyError).message,
    /dangerous_commands: allow/,
  );
  match((await client.command("CLIENT", "PAUSE", "10") as ReplyError).message, /cannot be kept/);
});

Deno.test("wrong options of CLIENT LIST and KILL read as redis-server words them", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  const proxy = await f.proxy(
    "compiled",
    poolYml({ alpha: { servers: [redis], dangerous_commands: "allow" } }),
  );
  const [direct, through] = [await f.client(redis), await f.client(proxy)];
  const version = await versionOf(direct);
  const requests = [
    "LIST TYPE x",
    "LIST TYPE replica",
    "LIST FOO",
    "LIST ID",
    "LIST ID 1 x",
    "LIST ID 999999",
    "LIST TYPE normal x",
    "KILL",
    "KILL 1.2.3.4:5",
    "KILL ID 999999",
    "KILL ID 0",
    "KILL ID x",
    "KILL TYPE foo",
    "KILL USER nobody",
    "KILL SKIPME maybe",
    "KILL FOO bar",
    "KILL ADDR 1.2.3.4:5",
  ];
  for (const line of requests) {
    const words = ["CLIENT", ...line.split(" ")];
    const replies: string[] = [];
    for (const client of [direct, through]) {
      await client.send(request(...words));
      replies.push((await client.readReply()).text);
    }
    strictEqual(inVersion(version, words, replies[1]!), replies[0], line);
  }
});
