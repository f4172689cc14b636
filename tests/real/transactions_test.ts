/**
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH over several servers: Redis' own replies when all keys are on one server, CROSSSLOT
 * otherwise. One server alone is compared byte for byte by the differential fuzz; who dies in between, by lease_hygiene_test.ts.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request, textOf } from "../lib/bytes.ts";
import { FakeServer } from "../conformance/fake_server.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Proxy, type Server } from "../lib/servers.ts";

async function three(
  f: Fixture,
  keys: Record<string, unknown> = {},
): Promise<{ proxy: Proxy; servers: Server[] }> {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const pool = { servers, hash_tag: '"{}"', hash: "murmur", databases: 4, ...keys };
  return { proxy: await f.proxy("compiled", poolYml({ alpha: pool })), servers };
}

/** Two keys on different servers: found by what the proxy says of RENAME. */
async function apart(client: RawClient): Promise<[string, string]> {
  for (let i = 0; i < 100; i++) {
    const reply = await client.command("RENAMENX", "apart:a", `apart:${i}`);
    if (reply instanceof ReplyError && reply.message.startsWith("CROSSSLOT")) {
      return ["apart:a", `apart:${i}`];
    }
  }
  throw new Error("100 keys are on one server");
}

function error(value: unknown, pattern: RegExp): void {
  ok(value instanceof ReplyError, `expected an error, found ${Deno.inspect(value)}`);
  match(value.message, pattern);
}

Deno.test("MULTI: all keys by hash tag on one server; the transaction is one", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  deepStrictEqual(
    await client.pipeline(
      ["MULTI"],
      ["SET", "{t}a", "1"],
      ["INCR", "{t}a"],
      ["LPUSH", "{t}a", "x"],
      ["MGET", "{t}a", "{t}b"],
      ["MSET", "{t}b", "2", "{t}c", "3"],
      ["DEL", "{t}b", "{t}c"],
      ["EVAL", "return redis.call('get', KEYS[1])", "1", "{t}a"],
      ["BLPOP", "{t}none", "0"],
      ["PING"],
      ["EXEC"],
    ).then((replies) =>
      replies.map((r) => Array.isArray(r) ? r.map((v) => v instanceof Error ? v.message : v) : r)
    ),
    [
      "OK",
      ...Array(9).fill("QUEUED"),
      [
        "OK",
        2,
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        ["2", null],
        "OK",
        2,
        "2",
        null,
        "PONG",
      ],
    ],
  );
});

Deno.test("MULTI: keys of two servers are refused while queueing, and EXEC aborts", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  const [a, b] = await apart(client);
  const replies = await client.pipeline(["MULTI"], ["SET", a, "1"], ["SET", b, "1"], ["EXEC"], ["EXISTS", a]);
  deepStrictEqual(replies.slice(0, 2), ["OK", "QUEUED"]);
  error(replies[2], /^CROSSSLOT /);
  error(
    replies[3],
    /^EXECABORT Transaction discarded because of: CROSSSLOT .*\(command 2, 'SET'\).*hash tag, \{tag\}/,
  );
  strictEqual(replies[4], 0);
  const whole = await client.pipeline(["MULTI"], ["MGET", a, b], ["EXEC"]);
  error(whole[1], /^CROSSSLOT /);
  error(whole[2], /^EXECABORT /);
});

Deno.test("MULTI: what cannot be part of it says so; DISCARD and errors end it as Redis does", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f, { dangerous_commands: "allow" });
  const client = await f.client(proxy);
  for (
    const args of [["SCAN", "0"], ["DBSIZE"], ["SELECT", "1"], ["SUBSCRIBE", "x"], ["FLUSHALL"]]
  ) {
    const replies = await client.pipeline(["MULTI"], args, ["EXEC"]);
    error(replies[1], /cannot be part of a transaction through this proxy$/);
    error(replies[2], /^EXECABORT /);
  }
  const nested = await client.pipeline(["MULTI"], ["MULTI"], ["SET", "k", "1"], ["EXEC"]);
  error(nested[1], /^ERR MULTI calls can not be nested$/);
  deepStrictEqual(nested[3], ["OK"]);
  const wrong = await client.pipeline(["MULTI"], ["GET"], ["EXEC"], ["EXEC"]);
  error(wrong[1], /^ERR wrong number of arguments for 'get' command$/);
  error(wrong[2], /^EXECABORT /);
  error(wrong[3], /^ERR EXEC without MULTI$/);
  deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "k", "2"], ["DISCARD"], ["GET", "k"]), [
    "OK",
    "QUEUED",
    "OK",
    "1",
  ]);
});

Deno.test("MULTI: what the proxy answers itself, and messages for other servers' channels, stand in their places in EXEC", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  const id = await client.command("CLIENT", "ID");
  const mixed = await client.pipeline(
    ["MULTI"],
    ["CLIENT", "ID"],
    ["SET", "k", "1"],
    ["CLIENT", "SETNAME", "me"],
    ["SELECT", "0"],
    ["SELECT", "99"],
    ["INCR", "k"],
    ["INFO", "server"],
    ["CLIENT", "GETNAME"],
    ["EXEC"],
    ["GET", "k"],
  );
  const [ownId, set, named, select, range, incr, info, name, ...more] = mixed[9] as unknown[];
  deepStrictEqual([ownId, set, named, select, incr, name, more], [id, "OK", "OK", "OK", 2, "me", []]);
  error(range, /^ERR DB index is out of range/);
  match(String(info), /redis_version/);
  strictEqual(mixed[10], "2");
  deepStrictEqual((await client.pipeline(["MULTI"], ["CLIENT", "ID"], ["EXEC"], ["PING"])).slice(2), [
    [id],
    "PONG",
  ]);
  // A transaction that does not happen changes nothing here either.
  const [a, b] = await apart(client);
  await client.pipeline(["MULTI"], ["SET", a, "1"], ["CLIENT", "SETNAME", "other"], ["SET", b, "1"], [
    "EXEC",
  ]);
  strictEqual(await client.command("CLIENT", "GETNAME"), "me");
  // Of many channels some are on every server.
  const channels = Array.from({ length: 20 }, (_, i) => `chan${i}`);
  const messages = channels.map((channel) => ["PUBLISH", channel, "hi"]);
  const reader = await f.client(proxy);
  for (const channel of channels) await reader.command("SUBSCRIBE", channel);
  const published = await client.pipeline(["MULTI"], ...messages, ["SET", "k", "3"], ["EXEC"]);
  deepStrictEqual(published.at(-1), [...channels.map(() => 1), "OK"]);
  const heard: string[] = [];
  for (const _ of channels) heard.push(/chan[0-9]+/.exec(Deno.inspect(await reader.readReply()))![0]);
  deepStrictEqual(heard.sort(), [...channels].sort());
});

for (const count of [1, 3]) {
  Deno.test(`EXEC of 100,000 commands, ${count} servers: the GETs of others are answered meanwhile`, async () => {
    await using f = new Fixture();
    const servers: Server[] = [];
    while (servers.length < count) servers.push(await f.redis());
    const pool = { servers, hash_tag: '"{}"', timeout: 10_000 };
    const proxy = await f.proxy("compiled", poolYml({ alpha: pool }));
    const writer = await f.client(proxy);
    let over = false;
    let answered = 0;
    const others = Promise.all([0, 1].map(async (watcher) => {
      const client = await f.client(proxy);
      for (let i = 0; !over; i++, answered++) {
        strictEqual(await client.command("GET", `k${watcher}:${i % 20}`), null);
      }
    }));
    // If the test fails elsewhere, these end with it: that is not to hide why.
    others.catch(() => {});
    const commands = Array.from({ length: 100_000 }, (_, i) => request("INCR", `{t}${i % 10}`));
    const transaction = concat([request("MULTI"), ...commands, request("EXEC")]);
    const queued = `+OK\r\n${"+QUEUED\r\n".repeat(commands.length)}`;
    // This process reads for all of them, and on a busy machine it may find everything there at once when it comes to look,
    // with no turn for the others: then another transaction is to show it. More than two: two were asked before.
    let first = 1;
    let meanwhile = 0;
    const run = async () => {
      const answeredBefore = answered;
      const sent = writer.send(transaction);
      ok(textOf(await writer.readExact(queued.length)) === queued, "not all were queued");
      const { value } = await writer.readReply();
      deepStrictEqual(value, Array.from({ length: 100_000 }, (_, i) => first + Math.floor(i / 10)));
      await sent;
      first += 10_000;
      meanwhile = Math.max(meanwhile, answered - answeredBefore);
    };
    await run();
    if (count === 1) {
      strictEqual(await writer.command("WATCH", "{t}w"), "OK");
      await run();
    }
    for (let i = 0; meanwhile <= 2 && i < 10; i++) await run();
    ok(meanwhile > 2, "nobody was answered meanwhile: the test shows nothing");
    over = true;
    await others;
  });
}

for (const how of ["in one piece", "in slices", "refused in part"]) {
  Deno.test(`EXEC's large reply is passed on as it comes (${how})`, async () => {
    await using f = new Fixture();
    const value = "x".repeat(2_000_000);
    const refused = how === "refused in part";
    let execs = 0;
    const server = f.add(FakeServer.start(([name, key]) => {
      if (name === "MULTI") return "+OK\r\n";
      if (name !== "EXEC") return key === "full" ? "-OOM no room\r\n" : "+QUEUED\r\n";
      return refused && ++execs === 2 ? "-EXECABORT because\r\n" : `*2\r\n$${value.length}\r\n${value}\r\n`;
    }));
    const client = await f.client(
      await f.proxy("compiled", poolYml({ alpha: { servers: [`${server.address}:1`] } })),
    );
    const gets = Array(how === "in slices" ? 5000 : 2).fill(["GET", "k"]);
    const replies = await client.pipeline(["MULTI"], ...gets);
    deepStrictEqual(replies, ["OK", ...gets.map(() => "QUEUED")]);
    await client.send(request("EXEC"));
    strictEqual(await client.readLine(), "*2");
    ok(await client.readLine() === `$${value.length}`);
    ok(textOf(await client.readExact(value.length + 2)) === `${value}\r\n`);
    // Only now is there a second element.
    server.send("+second\r\n");
    strictEqual(await client.readLine(), "+second");
    if (!refused) return;
    const aborted = (await client.pipeline(["MULTI"], ["SET", "full", "1"], ["EXEC"])).at(-1);
    error(aborted, /^EXECABORT Transaction discarded because of: OOM no room$/);
  });
}

Deno.test("WATCH: a change by somebody else, or by the client itself, makes EXEC nil; UNWATCH and DISCARD end it", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  const other = await f.client(proxy);
  for (const writer of [other, client]) {
    strictEqual(await client.command("WATCH", "{w}a", "{w}b"), "OK");
    strictEqual(await writer.command("SET", "{w}b", "theirs"), "OK");
    deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "{w}a", "mine"], ["EXEC"]), [
      "OK",
      "QUEUED",
      null,
    ]);
  }
  for (const end of ["UNWATCH", "DISCARD", "EXEC"]) {
    strictEqual(await client.command("WATCH", "{w}a"), "OK");
    if (end !== "UNWATCH") await client.command("MULTI");
    await client.command(end);
    await other.command("SET", "{w}a", "theirs");
    deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "{w}a", end], ["EXEC"]), ["OK", "QUEUED", [
      "OK",
    ]]);
  }
  const [a, b] = await apart(client);
  error(await client.command("WATCH", a, b), /^CROSSSLOT /);
  strictEqual(await client.command("WATCH", a), "OK");
  error(await client.command("WATCH", b), /^CROSSSLOT /);
  const replies = await client.pipeline(["MULTI"], ["SET", b, "1"], ["EXEC"]);
  error(replies[1], /^CROSSSLOT /);
  strictEqual(await client.command("UNWATCH"), "OK");
});

Deno.test("WATCH: one that is lost with its connection and one made since are both over after EXEC, DISCARD or UNWATCH", async () => {
  await using f = new Fixture();
  const { proxy, servers } = await three(f);
  const client = await f.client(proxy);
  const other = await f.client(proxy);
  const [a, b] = await apart(client);
  const transact = () => client.pipeline(["MULTI"], ["SET", a, "1"], ["EXEC"]);
  for (const end of ["EXEC", "DISCARD", "UNWATCH"]) {
    strictEqual(await client.command("WATCH", a), "OK");
    for (const server of servers) {
      await (await f.client(server)).command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    // What is not known of yet when a key is read has been read of behind it.
    await poll(
      async () =>
        (await client.pipeline(["GET", a], ["GET", b])).every((reply) => !(reply instanceof ReplyError)),
      "new connections",
    );
    strictEqual(await client.command("WATCH", b), "OK");
    await other.command("SET", b, end);
    if (end !== "UNWATCH") strictEqual(await client.command("MULTI"), "OK");
    if (end === "EXEC") strictEqual(await client.command("EXEC"), null);
    else strictEqual(await client.command(end), "OK");
    // It watches nothing any more, and may go anywhere.
    deepStrictEqual(await transact(), ["OK", "QUEUED", ["OK"]], end);
  }
});

Deno.test("WATCH outlives SELECT and HELLO: the transaction runs in the database and form chosen since", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  const client = await f.client(proxy);
  const other = await f.client(proxy);
  await client.command("HSET", "{k}h", "f", "db0");
  strictEqual(await client.command("WATCH", "{k}w"), "OK");
  await client.command("SELECT", "2");
  await client.command("HELLO", "3");
  await client.command("HSET", "{k}h", "f", "db2");
  deepStrictEqual(await client.pipeline(["MULTI"], ["HGETALL", "{k}h"], ["EXEC"]), [
    "OK",
    "QUEUED",
    [new Map([["f", "db2"]])],
  ]);
  // The watch is on database 0 all the same.
  await client.command("SELECT", "0");
  strictEqual(await client.command("WATCH", "{k}w"), "OK");
  await client.command("SELECT", "1");
  await other.command("SET", "{k}w", "touched");
  deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "{k}x", "1"], ["EXEC"]), ["OK", "QUEUED", null]);
  // The leased connection, which was elsewhere, is not handed to the next who watches.
  strictEqual(await other.command("WATCH", "{k}h"), "OK");
  deepStrictEqual(await other.pipeline(["MULTI"], ["HGETALL", "{k}h"], ["EXEC"]), ["OK", "QUEUED", [[
    "f",
    "db0",
  ]]]);
});

Deno.test("EXECABORT names the error that only the server could know", async () => {
  await using f = new Fixture();
  const { proxy, servers } = await three(f);
  for (const server of servers) await (await f.client(server)).command("CONFIG", "SET", "maxmemory", "1");
  const client = await f.client(proxy);
  const replies = await client.pipeline(["MULTI"], ["SET", "k", "1"], ["EXEC"]);
  deepStrictEqual(replies.slice(0, 2), ["OK", "QUEUED"]);
  error(replies[2], /^EXECABORT Transaction discarded because of: OOM command not allowed/);
});

Deno.test("increments by WATCH and retry of twenty clients lose none", async () => {
  await using f = new Fixture();
  const { proxy } = await three(f);
  let conflicts = 0;
  await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const client = await f.client(proxy);
    if (i % 2 === 0) await client.command("HELLO", "3");
    for (let done = 0; done < 10;) {
      // All in one write, but for the value that has to be read first.
      await client.send(concat([request("WATCH", "counter"), request("GET", "counter")]));
      await client.readReply();
      const value = Number((await client.readReply()).value ?? 0);
      const replies = await client.pipeline(["MULTI"], ["SET", "counter", String(value + 1)], ["EXEC"]);
      if (replies[2] === null) conflicts++;
      else done++;
    }
  }));
  const client = await f.client(proxy);
  strictEqual(await client.command("GET", "counter"), "200");
  ok(conflicts > 0, "there were no conflicts: the test shows nothing");
});
