/** Pub/sub over three servers: what subscribers of both protocols read, counts, shard channels, and servers that go and return. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Push, ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy, type Server } from "../lib/servers.ts";

async function three(f: Fixture): Promise<{ proxy: Proxy; servers: Server[] }> {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const pool = {
    servers,
    hash_tag: '"{}"',
    hash: "murmur",
    databases: 2,
    dangerous_commands: "allow",
  };
  return { proxy: await f.proxy("compiled", poolYml({ alpha: pool })), servers };
}

/** The next message or acknowledgement, whatever the protocol. */
async function next(client: RawClient): Promise<Value[]> {
  const { value } = await client.readReply();
  if (value instanceof Push) return [...value.items];
  ok(Array.isArray(value), `expected a message, found ${Deno.inspect(value)}`);
  return value;
}

async function subscribe(client: RawClient, word: string, ...names: string[]): Promise<Value[][]> {
  await client.send(request(word, ...names));
  const acks: Value[][] = [];
  for (let i = 0; i < names.length; i++) acks.push(await next(client));
  return acks;
}

for (const resp of [2, 3] as const) {
  Deno.test(`RESP${resp}: acknowledgements, messages and patterns of channels on all servers, byte for byte`, async () => {
    await using f = new Fixture();
    const { proxy } = await three(f);
    const subscriber = await f.client(proxy);
    if (resp === 3) await subscriber.command("HELLO", "3");
    const type = resp === 3 ? ">" : "*";
    const channels = Array.from({ length: 12 }, (_, i) => `ch${i}`);
    await subscriber.send(request("SUBSCRIBE", ...channels));
    for (let i = 0; i < channels.length; i++) {
      const size = channels[i]!.length;
      strictEqual(
        (await subscriber.readReply()).text,
        `${type}3\r\n$9\r\nsubscribe\r\n$${size}\r\n${channels[i]}\r\n:${i + 1}\r\n`,
      );
    }
    await subscriber.send(request("PSUBSCRIBE", "ch?", "nothing*"));
    strictEqual((await subscriber.readReply()).text, `${type}3\r\n$10\r\npsubscribe\r\n$3\r\nch?\r\n:13\r\n`);
    strictEqual(
      (await subscriber.readReply()).text,
      `${type}3\r\n$10\r\npsubscribe\r\n$8\r\nnothing*\r\n:14\r\n`,
    );
    const publisher = await f.client(proxy);
    for (const channel of channels) {
      const matched = channel.length === 3;
      strictEqual(await publisher.command("PUBLISH", channel, `to ${channel}`), matched ? 2 : 1);
      const got = [await next(subscriber)];
      if (matched) got.push(await next(subscriber));
      // Two upstream connections of one server keep no order between a message and its pattern's.
      const expected: Value[][] = [["message", channel, `to ${channel}`]];
      if (matched) expected.push(["pmessage", "ch?", channel, `to ${channel}`]);
      deepStrictEqual(got, expected);
    }
    strictEqual(await publisher.command("PUBLISH", "nobody", "x"), 0);
    strictEqual(subscriber.unread, "");
    // One name, several, one never subscribed, all that are left, none left.
    await subscriber.send(request("UNSUBSCRIBE", "ch3", "never"));
    deepStrictEqual(await next(subscriber), ["unsubscribe", "ch3", 13]);
    deepStrictEqual(await next(subscriber), ["unsubscribe", "never", 13]);
    await subscriber.send(request("UNSUBSCRIBE"));
    const left = new Set<Value>();
    for (let i = 0; i < 11; i++) {
      const [word, name, count] = await next(subscriber);
      strictEqual(word, "unsubscribe");
      strictEqual(count, 12 - i);
      left.add(name!);
    }
    deepStrictEqual(left, new Set(channels.filter((c) => c !== "ch3")));
    await subscriber.send(request("PUNSUBSCRIBE", "ch?", "nothing*"));
    deepStrictEqual(await next(subscriber), ["punsubscribe", "ch?", 1]);
    deepStrictEqual(await next(subscriber), ["punsubscribe", "nothing*", 0]);
    await subscriber.send(request("UNSUBSCRIBE"));
    deepStrictEqual(await next(subscriber), ["unsubscribe", null, 0]);
    await subscriber.send(request("PUNSUBSCRIBE"));
    deepStrictEqual(await next(subscriber), ["punsubscribe", null, 0]);
    strictEqual(await subscriber.command("SET", "back", "to normal"), "OK");
  });
}

Deno.test("RESP2 subscribers may only do what Redis allows, in its words; RESP3 subscribers anything", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const two = await f.client(proxy);
  await subscribe(two, "SUBSCRIBE", "a");
  const refused = await two.command("GET", "k") as ReplyError;
  strictEqual(
    refused.message,
    "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
  );
  await two.send(concat([request("PING"), request("PING", "hi")]));
  deepStrictEqual(await next(two), ["pong", ""]);
  deepStrictEqual(await next(two), ["pong", "hi"]);
  strictEqual(await two.command("RESET"), "RESET");
  strictEqual(await two.command("GET", "k"), null);

  const three_ = await f.client(proxy);
  await three_.command("HELLO", "3");
  await subscribe(three_, "SUBSCRIBE", "a");
  strictEqual(await three_.command("SET", "k", "v"), "OK");
  strictEqual(await three_.command("PING"), "PONG");
  deepStrictEqual(await three_.pipeline(["MULTI"], ["GET", "k"], ["EXEC"]), ["OK", "QUEUED", ["v"]]);
  const publisher = await f.client(proxy);
  strictEqual(await publisher.command("PUBLISH", "a", "m"), 1);
  deepStrictEqual(await next(three_), ["message", "a", "m"]);
});

Deno.test("counts: PUBLISH and PUBSUB see each subscriber of the pool once", async () => {
  await using f = new Fixture();
  const { proxy, servers } = await three(f);
  const direct = await Promise.all(servers.map((s) => f.client(s)));
  const publisher = await f.client(proxy);
  const subscribers = await Promise.all(Array.from({ length: 5 }, async (_, i) => {
    const client = await f.client(proxy);
    if (i % 2 === 1) await client.command("HELLO", "3");
    await subscribe(client, "SUBSCRIBE", "news", `own${i}`);
    return client;
  }));
  await subscribe(subscribers[0]!, "PSUBSCRIBE", "n*");
  await subscribe(subscribers[2]!, "PSUBSCRIBE", "n*", "*s");
  strictEqual(await publisher.command("PUBLISH", "news", "x"), 5 + 2 + 1);
  strictEqual(await publisher.command("PUBLISH", "own3", "x"), 1);
  deepStrictEqual(await publisher.command("PUBSUB", "NUMSUB", "news", "own1", "none"), [
    "news",
    5,
    "own1",
    1,
    "none",
    0,
  ]);
  strictEqual(await publisher.command("PUBSUB", "NUMPAT"), 2);
  deepStrictEqual((await publisher.command("PUBSUB", "CHANNELS") as string[]).sort(), [
    "news",
    "own0",
    "own1",
    "own2",
    "own3",
    "own4",
  ]);
  deepStrictEqual((await publisher.command("PUBSUB", "CHANNELS", "own[12]") as string[]).sort(), [
    "own1",
    "own2",
  ]);
  // One upstream subscription, whoever shares it; gone with the last subscriber.
  const numsub = async () =>
    (await Promise.all(direct.map((d) => d.command("PUBSUB", "NUMSUB", "news")))).map((r) =>
      (r as Value[])[1]
    );
  deepStrictEqual((await numsub()).sort(), [0, 0, 1]);
  for (const subscriber of subscribers) subscriber.close();
  await poll(async () => (await numsub()).every((n) => n === 0), "the upstream subscription to end");
  for (const d of direct) strictEqual(await d.command("PUBSUB", "NUMPAT"), 0);
});

Deno.test("shard channels: SSUBSCRIBE, SPUBLISH, SUNSUBSCRIBE and their counts", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const a = await f.client(proxy);
  const b = await f.client(proxy);
  await b.command("HELLO", "3");
  deepStrictEqual(await subscribe(a, "SSUBSCRIBE", "s1", "s2"), [["ssubscribe", "s1", 1], [
    "ssubscribe",
    "s2",
    2,
  ]]);
  deepStrictEqual(await subscribe(b, "SSUBSCRIBE", "s1"), [["ssubscribe", "s1", 1]]);
  // Counted apart from channels.
  deepStrictEqual(await subscribe(b, "SUBSCRIBE", "s1"), [["subscribe", "s1", 1]]);
  const publisher = await f.client(proxy);
  strictEqual(await publisher.command("SPUBLISH", "s1", "x"), 2);
  strictEqual(await publisher.command("PUBLISH", "s1", "y"), 1);
  deepStrictEqual(await next(a), ["smessage", "s1", "x"]);
  deepStrictEqual(await next(b), ["smessage", "s1", "x"]);
  deepStrictEqual(await next(b), ["message", "s1", "y"]);
  deepStrictEqual(await publisher.command("PUBSUB", "SHARDNUMSUB", "s1", "s2"), ["s1", 2, "s2", 1]);
  deepStrictEqual((await publisher.command("PUBSUB", "SHARDCHANNELS") as string[]).sort(), ["s1", "s2"]);
  await a.send(request("SUNSUBSCRIBE"));
  const gone = [await next(a), await next(a)];
  deepStrictEqual(gone.map((ack) => ack[2]), [1, 0]);
  strictEqual(await a.command("GET", "k"), null);
});

Deno.test("a message published after the acknowledgement is never missed", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const publisher = await f.client(proxy);
  for (let i = 0; i < 100; i++) {
    const subscriber = await f.client(proxy);
    await subscribe(subscriber, i % 2 === 0 ? "SUBSCRIBE" : "PSUBSCRIBE", `fresh${i}`);
    strictEqual(await publisher.command("PUBLISH", `fresh${i}`, "x"), 1);
    strictEqual((await next(subscriber)).at(-1), "x");
    subscriber.close();
  }
});

Deno.test("subscriptions come back with their server, and subscribing while it is away is an error", async () => {
  await using f = new Fixture();
  const { proxy, servers } = await three(f);
  const subscriber = await f.client(proxy);
  const channels = Array.from({ length: 9 }, (_, i) => `back${i}`);
  await subscribe(subscriber, "SUBSCRIBE", ...channels);
  await subscribe(subscriber, "PSUBSCRIBE", "b*");
  const publisher = await f.client(proxy);
  for (const server of servers) {
    await server.crash();
    const failing = await f.client(proxy);
    await failing.send(request("PSUBSCRIBE", "other*"));
    const { value } = await failing.readReply();
    ok(value instanceof ReplyError, Deno.inspect(value));
    match(value.message, /^ERR Connection (refused|reset)|^ERR No such file/);
    strictEqual(await failing.command("PING"), "PONG");
    failing.close();
    await server.start();
    // PUBLISH counts 2 (channel, pattern) once both are back.
    for (const channel of channels) {
      await poll(
        async () => await publisher.command("PUBLISH", channel, "probe") === 2,
        `${channel} to be back`,
      );
    }
  }
  await publisher.command("PUBLISH", "back0", "last");
  const seen: Value[] = [];
  while (seen.at(-1) !== "last") seen.push((await next(subscriber)).at(-1)!);
  ok(seen.length > 1);
});

Deno.test("keyspace notifications of all servers reach a subscriber of the pool", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  strictEqual(await client.command("CONFIG", "SET", "notify-keyspace-events", "KEA"), "OK");
  const subscriber = await f.client(proxy);
  await subscribe(subscriber, "PSUBSCRIBE", "__keyspace@0__:*");
  const events = await f.client(proxy);
  await subscribe(events, "SUBSCRIBE", "__keyevent@0__:set");
  const keys = Array.from({ length: 12 }, (_, i) => `note${i}`);
  for (const key of keys) await client.command("SET", key, "v");
  const seen: Value[] = [];
  for (let i = 0; i < keys.length; i++) seen.push((await next(subscriber))[2]!);
  deepStrictEqual(seen.sort(), keys.map((key) => `__keyspace@0__:${key}`).sort());
  const sets: Value[] = [];
  for (let i = 0; i < keys.length; i++) sets.push((await next(events))[2]!);
  deepStrictEqual(sets.sort(), keys.slice().sort());
  deepStrictEqual(await client.command("PUBSUB", "NUMSUB", "__keyevent@0__:set"), ["__keyevent@0__:set", 1]);
});

Deno.test("CLIENT REPLY OFF silences replies, not messages", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  await client.command("HELLO", "3");
  await client.send(
    concat([request("CLIENT", "REPLY", "OFF"), request("SET", "k", "v"), request("SUBSCRIBE", "a")]),
  );
  deepStrictEqual(await next(client), ["subscribe", "a", 1]);
  const publisher = await f.client(proxy);
  strictEqual(await publisher.command("PUBLISH", "a", "m"), 1);
  deepStrictEqual(await next(client), ["message", "a", "m"]);
  await client.send(concat([request("GET", "k"), request("CLIENT", "REPLY", "ON")]));
  strictEqual((await client.readReply()).value, "OK");
  await client.send(concat([request("CLIENT", "REPLY", "SKIP"), request("GET", "k"), request("GET", "k")]));
  strictEqual((await client.readReply()).value, "v");
  strictEqual(await client.command("PING"), "PONG");
});

Deno.test("large and binary messages pass whole to many subscribers", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const subscribers = await Promise.all(Array.from({ length: 4 }, async () => {
    const client = await f.client(proxy);
    await subscribe(client, "SUBSCRIBE", "big\r\n\0");
    return client;
  }));
  const publisher = await f.client(proxy);
  for (const size of [0, 1, 20_000, 3_000_000]) {
    const message = "\0\r\n".repeat(Math.ceil(size / 3)).slice(0, size);
    strictEqual(await publisher.command("PUBLISH", "big\r\n\0", message), 4);
    for (const subscriber of subscribers) {
      deepStrictEqual(await next(subscriber), ["message", "big\r\n\0", message]);
    }
  }
});
