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
    (await client.command("CLIENT", "TRACKING", "ON", "REDIRECT", "1") as ReplyError).message,
    /not possible through a proxy/,
  );
  match((await other.command("CLIENT", "TRACKING", "ON") as ReplyError).message, /needs RESP3/);
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
