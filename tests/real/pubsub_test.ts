/** Pub/sub over three servers: what subscribers of both protocols read, counts, shard channels, and servers that go and return. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import type { RawClient, Target } from "../lib/client.ts";
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
  const numpat = async () => await Promise.all(direct.map((d) => d.command("PUBSUB", "NUMPAT")));
  await poll(async () => (await numpat()).every((n) => n === 0), "the upstream patterns to end");
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
  // SKIP of another SKIP, or of OFF: these count, though nothing is said to them.
  const reply = (how: string) => request("CLIENT", "REPLY", how);
  await client.send(concat([reply("SKIP"), reply("SKIP"), request("ECHO", "1"), request("ECHO", "2")]));
  strictEqual((await client.readReply()).value, "2");
  await client.send(concat([reply("SKIP"), reply("OFF"), request("ECHO", "3"), reply("ON")]));
  strictEqual((await client.readReply()).value, "OK");
  await client.send(concat([reply("SKIP"), reply("ON"), request("ECHO", "4")]));
  strictEqual((await client.readReply()).value, "OK");
  strictEqual((await client.readReply()).value, "4");
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

Deno.test("two pools of one server's databases: each hears of its own alone, by the numbers its clients know", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const common = { servers, hash_tag: '"{}"', hash: "murmur", dangerous_commands: "allow" };
  const proxy = await f.proxy(
    "compiled",
    poolYml({ low: { ...common, databases: 2 }, high: { ...common, databases: 3, redis_db: 5 } }),
  );
  const [lowAt, highAt] = proxy.targets as [Target, Target];
  const low = await f.client(lowAt);
  const high = await f.client(highAt);
  await low.command("CONFIG", "SET", "notify-keyspace-events", "KEA");
  for (const resp of [2, 3]) {
    const exact = await f.client(highAt);
    const globs = await f.client(highAt);
    const lows = await f.client(lowAt);
    for (const client of [exact, globs, lows]) await client.command("HELLO", resp);
    // 3 is none of the pool's, whatever the servers call 3 or 8.
    await subscribe(exact, "SUBSCRIBE", "__keyevent@1__:set", "__keyevent@3__:set");
    const patterns = ["__key*@1__:*", "__keyspace@[0-2]__:*", "__keyspace@3__:*"];
    deepStrictEqual(
      await subscribe(globs, "PSUBSCRIBE", ...patterns),
      patterns.map((pattern, i) => ["psubscribe", pattern, i + 1]),
    );
    await subscribe(lows, "PSUBSCRIBE", "__keyevent@*__:set");
    for (const [client, db] of [[low, 0], [low, 1], [high, 0], [high, 1]] as const) {
      await client.command("SELECT", db);
      await client.command("SET", `k${db}`, "v");
    }
    deepStrictEqual(await next(exact), ["message", "__keyevent@1__:set", "k1"]);
    const seen: string[] = [];
    for (let i = 0; i < 4; i++) seen.push((await next(globs)).join(" "));
    deepStrictEqual(seen.sort(), [
      "pmessage __key*@1__:* __keyevent@1__:set k1",
      "pmessage __key*@1__:* __keyspace@1__:k1 set",
      "pmessage __keyspace@[0-2]__:* __keyspace@0__:k0 set",
      "pmessage __keyspace@[0-2]__:* __keyspace@1__:k1 set",
    ]);
    deepStrictEqual((await next(lows)).slice(2), ["__keyevent@0__:set", "k0"]);
    deepStrictEqual((await next(lows)).slice(2), ["__keyevent@1__:set", "k1"]);
    // Its pattern is a receiver to the server, though not to the pool.
    await lows.send(request("PUNSUBSCRIBE"));
    deepStrictEqual(await next(lows), ["punsubscribe", "__keyevent@*__:set", 0]);
    await poll(
      async () => await low.command("PUBSUB", "NUMPAT") === 3,
      "the pattern to be gone from the servers",
    );
    // By hand it is a channel like any other, but of this pool.
    strictEqual(await high.command("PUBLISH", "__keyevent@1__:set", "by hand"), 2);
    deepStrictEqual((await next(exact)).at(-1), "by hand");
    deepStrictEqual((await next(globs)).slice(1), ["__key*@1__:*", "__keyevent@1__:set", "by hand"]);
    deepStrictEqual(
      await high.command("PUBSUB", "NUMSUB", "a", "__keyevent@1__:set", "__keyevent@0__:set"),
      ["a", 0, "__keyevent@1__:set", 1, "__keyevent@0__:set", 0],
    );
    const many = Array.from({ length: 600 }, (_, i) => `__keyevent@${i}__:set`);
    const counts = await high.command("PUBSUB", "NUMSUB", ...many) as Value[];
    deepStrictEqual(counts.slice(0, 8), many.slice(0, 4).flatMap((name, i) => [name, i % 2]));
    strictEqual(counts.length, 1200);
    deepStrictEqual((await high.command("PUBSUB", "CHANNELS") as string[]).sort(), [
      "__keyevent@1__:set",
      "__keyevent@3__:set",
    ]);
    deepStrictEqual(await high.command("PUBSUB", "CHANNELS", "__*@[0-1]__:s?t"), ["__keyevent@1__:set"]);
    await exact.send(request("UNSUBSCRIBE", "__keyevent@1__:set"));
    deepStrictEqual(await next(exact), ["unsubscribe", "__keyevent@1__:set", 1]);
    strictEqual(await high.command("PUBLISH", "__keyevent@1__:set", "x"), 1);
    deepStrictEqual((await next(globs)).at(-1), "x");
    for (const client of [exact, globs, lows]) strictEqual(client.unread, "");
    for (const client of [exact, globs, lows]) await client[Symbol.asyncDispose]();
    await poll(
      async () => (await high.command("PUBSUB", "CHANNELS") as string[]).length === 0,
      "no channel to be left",
    );
  }
});

Deno.test("SWAPDB and INFO keyspace name the client's databases", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const proxy = await f.proxy(
    "compiled",
    poolYml({ high: { servers, databases: 3, redis_db: 5, dangerous_commands: "allow" } }),
  );
  const client = await f.client(proxy);
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  for (const d of direct) {
    for (const db of [0, 4, 5, 8]) await d.pipeline(["SELECT", db], ["SET", `other${db}`, "x"]);
  }
  await client.pipeline(["SELECT", "1"], ["SET", "a", "1"], ["SET", "b", "1", "EX", "1000"]);
  const keyspace = async () => {
    const text = await client.command("INFO", "keyspace") as string;
    return [...text.matchAll(/^db(\d+):keys=(\d+)/gm)].map((found) => `${found[1]}: ${found[2]}`);
  };
  deepStrictEqual(await keyspace(), ["0: 2", "1: 2"]);
  strictEqual(await client.command("SWAPDB", "1", "2"), "OK");
  deepStrictEqual(await keyspace(), ["0: 2", "2: 2"]);
  for (
    const [a, b, error] of [["1", "3", "DB index is out of range"], ["x", "3", "invalid first DB index"]]
  ) {
    match((await client.command("SWAPDB", a!, b!) as ReplyError).message, new RegExp(`^ERR ${error}$`));
  }
  for (const d of direct) {
    for (const db of [0, 4, 5, 8]) {
      deepStrictEqual(await d.pipeline(["SELECT", db], ["KEYS", "*"]), ["OK", [`other${db}`]]);
    }
  }
});
