/** CLIENT TRACKING over three servers: invalidations of each reach the client that has read the key, and only it. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Push, ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy, type Server } from "../lib/servers.ts";

const KEYS = Array.from({ length: 12 }, (_, i) => `key${i}`);

async function three(
  f: Fixture,
): Promise<{ proxy: Proxy; servers: Server[]; client: RawClient; other: RawClient }> {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const proxy = await f.proxy(
    "compiled",
    poolYml({ alpha: { servers, hash: "murmur", databases: 2, dangerous_commands: "allow" } }),
  );
  const client = await f.client(proxy);
  await client.command("HELLO", "3");
  return { proxy, servers, client, other: await f.client(proxy) };
}

/** The keys of the next invalidation; null = everything. */
async function invalidated(client: RawClient): Promise<Value> {
  const { value } = await client.readReply();
  ok(value instanceof Push, `expected an invalidation, found ${Deno.inspect(value)}`);
  strictEqual(value.items[0], "invalidate");
  return value.items[1]!;
}

/** Nothing has been pushed: whatever the servers had to say is here once they have answered. */
async function quiet(client: RawClient): Promise<void> {
  for (const key of KEYS) ok(!((await client.command("TTL", key)) instanceof Push));
  strictEqual(client.unread, "");
}

Deno.test("TRACKING ON: what has been read is invalidated once, wherever it is", async () => {
  await using f = new Fixture();
  const { client, other } = await three(f);
  strictEqual(await client.command("CLIENT", "TRACKING", "ON"), "OK");
  for (const key of KEYS) await client.command("GET", key);
  // Split over the servers, and in a transaction.
  await client.command("MGET", "a", "b", "c", "d", "e");
  deepStrictEqual(await client.pipeline(["MULTI"], ["GET", "m"], ["EXEC"]), ["OK", "QUEUED", [null]]);
  const read = [...KEYS, "a", "b", "c", "d", "e", "m"];
  for (const key of read) {
    await other.command("SET", key, "1");
    deepStrictEqual(await invalidated(client), [key]);
    await other.command("SET", key, "2");
  }
  await quiet(client);
});

Deno.test("TRACKING: OPTIN, OPTOUT, BCAST with prefixes, NOLOOP", async () => {
  await using f = new Fixture();
  const { proxy, other } = await three(f);
  const start = async (...options: string[]) => {
    const client = await f.client(proxy);
    await client.command("HELLO", "3");
    strictEqual(await client.command("CLIENT", "TRACKING", "ON", ...options), "OK");
    return client;
  };
  const optin = await start("OPTIN");
  for (const key of KEYS) {
    await optin.command("GET", key);
    deepStrictEqual(await optin.pipeline(["CLIENT", "CACHING", "YES"], ["GET", `in:${key}`]), ["OK", null]);
  }
  match(
    (await optin.command("CLIENT", "CACHING", "NO") as ReplyError).message,
    /only valid when tracking is enabled in OPTOUT/,
  );
  const optout = await start("OPTOUT");
  for (const key of KEYS) {
    await optout.command("GET", key);
    deepStrictEqual(await optout.pipeline(["CLIENT", "CACHING", "NO"], ["GET", `in:${key}`]), ["OK", null]);
  }
  const bcast = await start("BCAST", "PREFIX", "in:", "PREFIX", "out:");
  const noloop = await start("NOLOOP");
  for (const key of KEYS) await noloop.command("GET", key);
  for (const key of KEYS) {
    await other.command("SET", `in:${key}`, "1");
    deepStrictEqual(await invalidated(optin), [`in:${key}`]);
    deepStrictEqual(await invalidated(bcast), [`in:${key}`]);
    await noloop.command("SET", key, "1");
    deepStrictEqual(await invalidated(optout), [key]);
  }
  for (const client of [optin, optout, bcast, noloop]) await quiet(client);
});

Deno.test("TRACKING OFF, TRACKINGINFO, and what is refused", async () => {
  await using f = new Fixture();
  const { client, other } = await three(f);
  const info = async () => await client.command("CLIENT", "TRACKINGINFO") as Map<string, Value>;
  deepStrictEqual((await info()).get("flags"), new Set(["off"]));
  match(
    (await client.command("CLIENT", "CACHING", "YES") as ReplyError).message,
    /can be called only when the client is in tracking mode/,
  );
  match(
    (await client.command("CLIENT", "TRACKING", "ON", "REDIRECT", "999999") as ReplyError).message,
    /The client ID you want redirect to does not exist/,
  );
  ok(await client.command("CLIENT", "TRACKING", "ON", "OPTIN", "OPTOUT") instanceof ReplyError);
  deepStrictEqual((await info()).get("flags"), new Set(["off"]));
  strictEqual(await client.command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x"), "OK");
  deepStrictEqual((await info()).get("flags"), new Set(["on", "bcast"]));
  deepStrictEqual((await info()).get("prefixes"), ["x"]);
  strictEqual(await client.command("CLIENT", "TRACKING", "OFF"), "OK");
  deepStrictEqual((await info()).get("flags"), new Set(["off"]));
  await other.command("SET", "x", "1");
  await quiet(client);
});

/** The keys of the next message that redirected invalidations become for a RESP2 subscriber; null = everything. */
async function told(client: RawClient): Promise<Value> {
  const { value } = await client.readReply();
  ok(Array.isArray(value), `expected a message, found ${Deno.inspect(value)}`);
  deepStrictEqual(value.slice(0, 2), ["message", "__redis__:invalidate"]);
  return value[2]!;
}

/** Nothing has been told to a subscriber. */
async function quietSubscriber(client: RawClient): Promise<void> {
  deepStrictEqual(await client.command("PING", "x"), ["pong", "x"]);
}

async function redirected(f: Fixture, ...options: string[]) {
  const pool = await three(f);
  const { proxy } = pool;
  const reader = await f.client(proxy);
  const subscriber = await f.client(proxy);
  const id = await subscriber.command("CLIENT", "ID") as number;
  deepStrictEqual(await subscriber.command("SUBSCRIBE", "__redis__:invalidate"), [
    "subscribe",
    "__redis__:invalidate",
    1,
  ]);
  strictEqual(await reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", String(id), ...options), "OK");
  return { ...pool, reader, subscriber, id };
}

Deno.test("REDIRECT in RESP2: a subscriber of __redis__:invalidate hears of the keys of all servers", async () => {
  await using f = new Fixture();
  const { reader, subscriber, other, id, client } = await redirected(f);
  strictEqual(await reader.command("CLIENT", "GETREDIR"), id);
  deepStrictEqual(await reader.command("CLIENT", "TRACKINGINFO"), [
    "flags",
    ["on"],
    "redirect",
    id,
    "prefixes",
    [],
  ]);
  for (const key of KEYS) await reader.command("GET", key);
  await reader.command("MGET", "a", "b", "c", "d", "e");
  deepStrictEqual(await reader.pipeline(["MULTI"], ["GET", "m"], ["EXEC"]), ["OK", "QUEUED", [null]]);
  // Databases have connections of their own; what was read in the first is still heard of.
  strictEqual(await reader.command("SELECT", "1"), "OK");
  strictEqual(await reader.command("SET", "x", "in 1"), "OK");
  strictEqual(await other.command("GET", "x"), null);
  for (const key of [...KEYS, "a", "b", "c", "d", "e", "m"]) {
    await other.command("SET", key, "1");
    deepStrictEqual(await told(subscriber), [key]);
    await other.command("SET", key, "2");
  }
  await quietSubscriber(subscriber);
  strictEqual(await reader.command("GET", "x"), "in 1");
  await other.command("FLUSHALL");
  // Each connection that tracks says so: one a server, and one for what was read in database 1.
  for (let connection = 0; connection < 3 + 1; connection++) strictEqual(await told(subscriber), null);
  // A RESP3 client's can go there too, and a RESP2 client's to a RESP3 client, which need not subscribe.
  strictEqual(await client.command("CLIENT", "TRACKING", "ON", "REDIRECT", String(id)), "OK");
  const third = String(await client.command("CLIENT", "ID"));
  strictEqual(await reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", third), "OK");
  for (const key of KEYS) {
    await client.command("GET", `c${key}`);
    await reader.command("GET", `r${key}`);
    await other.pipeline(["SET", `c${key}`, "1"], ["SET", `r${key}`, "1"]);
    deepStrictEqual(await told(subscriber), [`c${key}`]);
    deepStrictEqual(await invalidated(client), [`r${key}`]);
  }
  strictEqual(await reader.command("CLIENT", "TRACKING", "OFF"), "OK");
  strictEqual(await reader.command("CLIENT", "GETREDIR"), -1);
});

Deno.test("REDIRECT with OPTIN: CLIENT CACHING is for all parts of the next request", async () => {
  await using f = new Fixture();
  const { reader, subscriber, other } = await redirected(f, "OPTIN");
  await reader.command("MGET", ...KEYS);
  const yes = KEYS.map((key) => `in:${key}`);
  strictEqual(
    (await reader.pipeline(["CLIENT", "CACHING", "YES"], ["MGET", ...yes], ["MGET", ...KEYS])).length,
    3,
  );
  await reader.pipeline(["CLIENT", "CACHING", "YES"], ["MULTI"], ["GET", "m"], ["EXEC"], ["GET", "n"]);
  for (const key of [...KEYS, "n"]) await other.command("SET", key, "1");
  for (const key of [...yes, "m"]) {
    await other.command("SET", key, "1");
    deepStrictEqual(await told(subscriber), [key]);
  }
  await quietSubscriber(subscriber);
});

Deno.test("REDIRECT with BCAST: prefixes are added, and servers that were away are heard of again", async () => {
  await using f = new Fixture();
  const { reader, subscriber, other, servers, id } = await redirected(f, "BCAST", "PREFIX", "in:");
  const again = (...options: string[]) =>
    reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", String(id), ...options);
  match(
    (await again("BCAST", "PREFIX", "in:k") as ReplyError).message,
    /overlaps with an existing prefix 'in:'/,
  );
  match((await again() as ReplyError).message, /You can't switch BCAST mode/);
  strictEqual(await again("BCAST", "PREFIX", "out:"), "OK");
  const hears = async () => {
    for (const key of KEYS) {
      await other.pipeline(["SET", key, "1"], ["SET", `in:${key}`, "1"]);
      deepStrictEqual(await told(subscriber), [`in:${key}`]);
      await other.command("SET", `out:${key}`, "1");
      deepStrictEqual(await told(subscriber), [`out:${key}`]);
    }
    await quietSubscriber(subscriber);
  };
  await hears();
  for (const server of servers) {
    await server.crash();
    strictEqual(await told(subscriber), null);
    await server.start();
    // The reader has nothing to say meanwhile.
    strictEqual(await told(subscriber), null);
  }
  for (const key of KEYS) {
    await poll(async () => !((await other.command("DEL", key)) instanceof Error), "the server to be back");
  }
  await hears();
});

Deno.test("a redirection to a client that is gone is broken: RESP3 is told, and nothing is left behind", async () => {
  await using f = new Fixture();
  const { client, reader, subscriber, other, id, servers } = await redirected(f);
  strictEqual(await client.command("CLIENT", "TRACKING", "ON", "REDIRECT", String(id)), "OK");
  await client.command("GET", "a");
  await reader.command("GET", "a");
  strictEqual(await subscriber.command("QUIT"), "OK");
  await subscriber.readToEnd();
  await other.command("SET", "a", "1");
  const { value } = await client.readReply();
  ok(value instanceof Push);
  deepStrictEqual(value.items, ["tracking-redir-broken", id]);
  for (const tracking of [client, reader]) {
    const info = await tracking.command("CLIENT", "TRACKINGINFO");
    match(Deno.inspect(info), /broken_redirect/);
  }
  match(
    (await reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", String(id)) as ReplyError).message,
    /does not exist/,
  );
  // Both go without a word: their connections to the servers go with them.
  client.close();
  reader.close();
  for (const server of servers) {
    const direct = await f.client(server);
    await poll(
      async () => !/ flags=t|redir=[1-9]/.test(await direct.command("CLIENT", "LIST") as string),
      "connections that track to be closed",
    );
  }
});

Deno.test("SELECT and HELLO while tracking: requests take connections of the new kind", async () => {
  await using f = new Fixture();
  const { client, other } = await three(f);
  strictEqual(await client.command("CLIENT", "TRACKING", "ON"), "OK");
  for (const key of KEYS) await client.command("GET", key);
  strictEqual(await client.command("SELECT", "1"), "OK");
  for (const key of KEYS) strictEqual(await client.command("SET", `one:${key}`, "1"), "OK");
  for (const key of KEYS) strictEqual(await other.command("GET", `one:${key}`), null);
  strictEqual(await client.command("SELECT", "0"), "OK");
  strictEqual((await client.command("HELLO", "2") as Value[])[5], 2);
  deepStrictEqual(await client.command("HGETALL", "none"), []);
  deepStrictEqual(await client.command("CONFIG", "GET", "databases"), ["databases", "2"]);
});

Deno.test("with several workers a redirection to a client of another one is refused with the reason", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const yml = `ringmaster:\n  workers: 2\n${poolYml({ alpha: { servers } })}`;
  const proxy = await f.proxy("compiled", yml);
  const reader = await f.client(proxy);
  const answers = new Set<string>();
  await poll(async () => {
    const target = await f.client(proxy);
    const id = String(await target.command("CLIENT", "ID"));
    const answer = await reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", id);
    answers.add(answer instanceof ReplyError ? answer.message : answer as string);
    return answers.size === 2;
  }, "clients of both workers");
  ok(answers.has("OK"));
  answers.delete("OK");
  match([...answers][0]!, /served by another worker of this proxy.*workers: 1/);
});

Deno.test("a tracked server that is lost invalidates everything, and is tracked again afterwards", async () => {
  await using f = new Fixture();
  const { client, other, servers } = await three(f);
  strictEqual(await client.command("CLIENT", "TRACKING", "ON"), "OK");
  for (const server of servers) {
    await server.crash();
    strictEqual(await invalidated(client), null);
    await server.start();
    for (const key of KEYS) {
      await poll(async () => await client.command("GET", key) === null || true, "the server to be back");
      await poll(async () => !((await other.command("DEL", key)) instanceof Error), "the server to be back");
    }
  }
  // FLUSHALL of each server invalidates all too.
  for (const key of KEYS) ok(!(await client.command("GET", key) instanceof Error));
  for (const key of KEYS) {
    await other.command("SET", key, "1");
    deepStrictEqual(await invalidated(client), [key]);
  }
});

Deno.test("pushes come between replies, never inside one, under pipelines", async () => {
  await using f = new Fixture();
  const { client, other } = await three(f);
  strictEqual(await client.command("CLIENT", "TRACKING", "ON"), "OK");
  await other.pipeline(...KEYS.map((key) => ["SET", key, "x".repeat(5000)]));
  const writing = (async () => {
    for (let i = 0; i < 200; i++) await other.command("SET", KEYS[i % KEYS.length]!, String(i).repeat(2000));
  })();
  let pushes = 0;
  for (let round = 0; round < 50; round++) {
    await client.send(
      concat([
        ...KEYS.map((key) => request("GET", key)),
        request("MGET", ...KEYS),
        request("ECHO", `r${round}`),
      ]),
    );
    let replies = 0;
    while (replies < KEYS.length + 2) {
      const { value } = await client.readReply();
      if (value instanceof Push) pushes++;
      else if (++replies <= KEYS.length) ok(/^(x+|(\d+))$/.test(value as string));
      else if (replies === KEYS.length + 1) strictEqual((value as Value[]).length, KEYS.length);
      else strictEqual(value, `r${round}`);
    }
  }
  await writing;
  ok(pushes > 0);
});
