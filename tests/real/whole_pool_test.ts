/**
 * Commands that concern all servers of a pool at once, and those that must not: SCAN and kin, counts, scripts and functions,
 * INFO, databases, and what says CROSSSLOT.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { pairRulesOf, ruleOf } from "../../src/protocol/redis/info_fields.ts";
import { request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { FakeServer } from "../conformance/fake_server.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy, type Server } from "../lib/servers.ts";
import { versionOf } from "../lib/versions.ts";

async function three(
  f: Fixture,
  keys: Record<string, unknown> = {},
): Promise<{ proxy: Proxy; servers: Server[]; client: RawClient; direct: RawClient[] }> {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const pool = {
    servers,
    hash_tag: '"{}"',
    hash: "murmur",
    databases: 4,
    dangerous_commands: "allow",
    ...keys,
  };
  const proxy = await f.proxy("compiled", poolYml({ alpha: pool }));
  return {
    proxy,
    servers,
    client: await f.client(proxy),
    direct: await Promise.all(servers.map((s) => f.client(s))),
  };
}

function error(value: unknown, pattern: RegExp): void {
  ok(value instanceof ReplyError, `expected an error, found ${Deno.inspect(value)}`);
  match(value.message, pattern);
}

/** One whole iteration; `between` is called after each page. */
async function scan(
  client: RawClient,
  options: string[],
  between?: () => Promise<void>,
): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  let cursor = "0";
  do {
    const [next, keys] = await client.command("SCAN", cursor, ...options) as [string, string[]];
    for (const key of keys) seen.set(key, (seen.get(key) ?? 0) + 1);
    cursor = next;
    await between?.();
  } while (cursor !== "0");
  return seen;
}

Deno.test("SCAN: 10,000 keys of three servers, each seen; once, while nothing changes", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  const keys = Array.from({ length: 10_000 }, (_, i) => `key:${i}`);
  for (let i = 0; i < keys.length; i += 1000) {
    await client.command("MSET", ...keys.slice(i, i + 1000).flatMap((k) => [k, "v"]));
  }
  for (const count of [10, 777, 100_000]) {
    const seen = await scan(client, ["COUNT", String(count)]);
    strictEqual(seen.size, keys.length);
    ok([...seen.values()].every((n) => n === 1), "a key came twice");
  }
  strictEqual(await client.command("DBSIZE"), 10_000);
  strictEqual((await client.command("KEYS", "key:1?") as string[]).length, 10);
});

for (const seed of [1, 2, 3]) {
  Deno.test(`SCAN: keys that stay are seen while others come and go (seed ${seed})`, async () => {
    await using f = new Fixture();
    const { client, proxy } = await three(f);
    const other = await f.client(proxy);
    const random = new Random(seed);
    const staying = Array.from({ length: 2000 }, (_, i) => `stay:${i}`);
    await client.command("MSET", ...staying.flatMap((k) => [k, "v"]));
    let serial = 0;
    const alive: string[] = [];
    const seen = await scan(client, ["COUNT", "20"], async () => {
      // Enough to make the servers' tables grow and shrink under the scan.
      const batch: string[][] = [];
      for (let i = random.below(200); i > 0; i--) {
        const key = `go:${serial++}`;
        alive.push(key);
        batch.push(["SET", key, "v"]);
      }
      if (random.below(10) === 0 && alive.length > 0) batch.push(["DEL", ...alive.splice(0, alive.length)]);
      if (batch.length > 0) await other.pipeline(...batch);
    });
    for (const key of staying) ok(seen.has(key), `${key} was not seen`);
  });
}

Deno.test("SCAN: MATCH, COUNT and TYPE are kept on every server; wrong cursors and options are errors", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  for (let i = 0; i < 60; i++) {
    await client.pipeline(["SET", `s:${i}`, "v"], ["RPUSH", `l:${i}`, "v"], ["HSET", `h:${i}`, "f", "v"], [
      "ZADD",
      `z:${i}`,
      "1",
      "m",
    ]);
  }
  const names = (prefix: string) => Array.from({ length: 60 }, (_, i) => `${prefix}:${i}`).sort();
  deepStrictEqual([...(await scan(client, ["TYPE", "list"])).keys()].sort(), names("l"));
  deepStrictEqual([...(await scan(client, ["MATCH", "h:*", "COUNT", "7"])).keys()].sort(), names("h"));
  deepStrictEqual(
    [...(await scan(client, ["MATCH", "z:1?", "TYPE", "zset"])).keys()].sort(),
    names("z").filter((k) => /^z:1.$/.test(k)),
  );
  strictEqual((await scan(client, ["MATCH", "none*"])).size, 0);
  for (const cursor of ["abc", "", "-1", "-0", " 1", "1 ", "0x1", "+00000000000000000001x"]) {
    error(await client.command("SCAN", cursor), /^ERR invalid cursor$/);
  }
  error(await client.command("SCAN", "18446744073709551616"), /^ERR invalid cursor$/);
  error(await client.command("SCAN", "0", "COUNT", "0"), /^ERR syntax error$/);
  error(await client.command("SCAN", "0", "COUNT"), /^ERR syntax error$/);
});

Deno.test("FUNCTION LIST: an argument of several lines never comes back as more than one reply, in MULTI neither", async () => {
  await using f = new Fixture();
  const { client, direct } = await three(f);
  const valkey = await versionOf(direct[0]!) === "valkey 9.1";
  const raw = async (from: RawClient, ...words: string[]) => {
    await from.send(request(...words));
    return (await from.readReply()).text;
  };
  for (
    const words of [["a\r\n+b"], ["WITHCODE", "\n"], ["libraryname", "x", "\r:1\r\n"], [
      "withcode",
      "WITHCODE\r",
    ]]
  ) {
    const text = await raw(client, "FUNCTION", "LIST", ...words);
    strictEqual(text, `-ERR Unknown argument ${words.at(-1)!.replace(/[\r\n]/g, " ")}\r\n`);
    if (!valkey) strictEqual(await raw(direct[0]!, "FUNCTION", "LIST", ...words), text);
    const replies = await client.pipeline(["MULTI"], ["FUNCTION", "LIST", ...words], ["EXEC"], [
      "ECHO",
      "mine",
    ]);
    error(replies[1], /^ERR Unknown argument /);
    error(replies[2], /^EXECABORT /);
    strictEqual(replies[3], "mine");
  }
  deepStrictEqual(await client.command("FUNCTION", "LIST", "LIBRARYNAME", "a\r\nb"), []);
});

Deno.test("RANDOMKEY finds keys of all servers, and nothing in an empty pool", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  strictEqual(await client.command("RANDOMKEY"), null);
  const keys = Array.from({ length: 12 }, (_, i) => `r${i}`);
  await client.command("MSET", ...keys.flatMap((k) => [k, "v"]));
  const seen = new Set<Value>();
  for (let i = 0; i < 400; i++) seen.add(await client.command("RANDOMKEY"));
  deepStrictEqual([...seen].sort(), keys.slice().sort());
  await client.command("DEL", ...keys.slice(1));
  for (let i = 0; i < 20; i++) strictEqual(await client.command("RANDOMKEY"), "r0");
});

Deno.test("FLUSHALL, FLUSHDB and SWAPDB reach all servers where they are allowed, and are refused where not", async () => {
  await using f = new Fixture();
  const { client, direct } = await three(f);
  const fill = async () => {
    for (const db of ["0", "1"]) {
      await client.command("SELECT", db);
      for (let i = 0; i < 30; i++) await client.command("SET", `k${i}`, `db${db}`);
    }
  };
  await fill();
  strictEqual(await client.command("FLUSHDB"), "OK");
  strictEqual(await client.command("DBSIZE"), 0);
  await client.command("SELECT", "0");
  strictEqual(await client.command("DBSIZE"), 30);
  strictEqual(await client.command("SWAPDB", "0", "1"), "OK");
  strictEqual(await client.command("DBSIZE"), 0);
  strictEqual(await client.command("FLUSHALL", "SYNC"), "OK");
  for (const d of direct) deepStrictEqual(await d.command("INFO", "keyspace"), "# Keyspace\r\n");
  error(await client.command("FLUSHALL", "NOW"), /^ERR syntax error$/);
  await using g = new Fixture();
  const careful = await three(g, { dangerous_commands: "deny" });
  const refused = [
    "FLUSHALL",
    "FLUSHDB",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH SYNC",
    "SLOWLOG RESET",
    "LATENCY RESET",
  ];
  for (const line of [...refused, "MEMORY PURGE"]) {
    error(await careful.client.command(...line.split(" ")), /is refused because it can harm/);
  }
});

Deno.test("SELECT: each database has connections of its own; data and replies never mix", async () => {
  await using f = new Fixture();
  const { proxy, direct } = await three(f);
  await Promise.all(Array.from({ length: 16 }, async (_, i) => {
    const client = await f.client(proxy);
    const random = new Random(i);
    if (i % 2 === 1) await client.command("HELLO", "3");
    for (let round = 0; round < 40; round++) {
      const db = String(random.below(4));
      const key = `own:${i}`;
      deepStrictEqual(
        await client.pipeline(
          ["SELECT", db],
          ["SET", key, `db${db}`],
          ["SELECT", "3"],
          ["SET", key, "db3"],
          ["SELECT", db],
          ["GET", key],
          ["EXISTS", key],
        ),
        ["OK", "OK", "OK", "OK", "OK", `db${db}`, 1],
      );
    }
    error(await client.command("SELECT", "4"), /^ERR DB index is out of range$/);
    error(await client.command("SELECT", "x"), /^ERR value is not an integer or out of range$/);
  }));
  // Every value is in the database whose name it bears.
  for (const d of direct) {
    for (let db = 0; db < 4; db++) {
      await d.command("SELECT", db);
      for (const key of await d.command("KEYS", "*") as string[]) {
        strictEqual(await d.command("GET", key), `db${db}`);
      }
    }
  }
});

Deno.test("MOVE and COPY name the client's databases: redis_db is added, `databases` is the limit, in MULTI too", async () => {
  await using f = new Fixture();
  const { client, direct } = await three(f, { redis_db: 4 });
  const out = /^ERR DB index is out of range$/;
  deepStrictEqual(await client.pipeline(["SET", "{t}a", "1"], ["COPY", "{t}a", "{t}b", "DB", "2"]), [
    "OK",
    1,
  ]);
  strictEqual(await client.command("MOVE", "{t}a", "1"), 1);
  error(await client.command("MOVE", "{t}b", "4"), out);
  error(await client.command("COPY", "{t}b", "{t}c", "DB", "4"), out);
  await client.pipeline(
    ["MULTI"],
    ["SET", "{t}d", "1"],
    ["COPY", "{t}d", "{t}e", "DB", "1"],
    ["MOVE", "{t}d", "3"],
  );
  deepStrictEqual(await client.command("EXEC"), ["OK", 1, 1]);
  for (const refused of [["MOVE", "{t}d", "4"], ["COPY", "{t}d", "{t}f", "DB", "4"]]) {
    await client.command("MULTI");
    error(await client.command(...refused), out);
    error(await client.command("EXEC"), /^EXECABORT /);
  }
  const found: string[] = [];
  for (const d of direct) {
    for (let db = 0; db < 16; db++) {
      await d.command("SELECT", db);
      found.push(...(await d.command("KEYS", "*") as string[]).map((key) => `${key} ${db}`));
    }
  }
  deepStrictEqual(found.sort(), ["{t}a 5", "{t}b 6", "{t}d 7", "{t}e 5"]);
});

Deno.test("a request after SELECT does not overtake one before it", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  for (let i = 0; i < 100; i++) {
    deepStrictEqual(
      await client.pipeline(
        ["SELECT", "0"],
        ["SET", "moved", String(i)],
        ["COPY", "moved", "moved", "DB", "1", "REPLACE"],
        ["SELECT", "1"],
        ["GET", "moved"],
      ),
      ["OK", "OK", 1, "OK", String(i)],
    );
  }
});

Deno.test("SCRIPT and FUNCTION: loaded, listed, found and flushed on all servers", async () => {
  await using f = new Fixture();
  const { client, direct } = await three(f);
  const sha = await client.command("SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])") as string;
  strictEqual(sha.length, 40);
  for (let i = 0; i < 12; i++) strictEqual(await client.command("EVALSHA", sha, "1", `n${i}`), 1);
  deepStrictEqual(await client.command("SCRIPT", "EXISTS", sha, "f".repeat(40)), [1, 0]);
  // Known to some servers only is not known.
  await direct[1]!.command("SCRIPT", "FLUSH");
  deepStrictEqual(await client.command("SCRIPT", "EXISTS", sha), [0]);
  strictEqual(await client.command("SCRIPT", "FLUSH"), "OK");
  for (const d of direct) deepStrictEqual(await d.command("SCRIPT", "EXISTS", sha), [0]);
  error(await client.command("EVALSHA", sha, "1", "n0"), /^NOSCRIPT /);
  error(await client.command("SCRIPT", "KILL"), /^NOTBUSY /);

  const library =
    "#!lua name=lib\nredis.register_function('up', function(k) return redis.call('incr', k[1]) end)";
  strictEqual(await client.command("FUNCTION", "LOAD", library), "lib");
  for (let i = 0; i < 12; i++) strictEqual(await client.command("FCALL", "up", "1", `f${i}`), 1);
  error(await client.command("FUNCTION", "LOAD", library), /^ERR Library 'lib' already exists$/);
  strictEqual((await client.command("FUNCTION", "LIST") as Value[]).length, 1);
  const dump = await client.command("FUNCTION", "DUMP") as string;
  strictEqual(await client.command("FUNCTION", "DELETE", "lib"), "OK");
  for (const d of direct) deepStrictEqual(await d.command("FUNCTION", "LIST"), []);
  const bytes = Uint8Array.from(dump, (c) => c.charCodeAt(0));
  await client.send(
    new TextEncoder().encode(`*3\r\n$8\r\nFUNCTION\r\n$7\r\nRESTORE\r\n$${bytes.length}\r\n`),
  );
  await client.send(bytes);
  await client.send("\r\n");
  strictEqual((await client.readReply()).value, "OK");
  for (const d of direct) strictEqual((await d.command("FUNCTION", "LIST") as Value[]).length, 1);
  ok(Array.isArray(await client.command("FUNCTION", "STATS")));
  strictEqual(await client.command("FUNCTION", "FLUSH"), "OK");
});

Deno.test("SCRIPT KILL gets through while a script runs on the shared connection", async () => {
  await using f = new Fixture();
  const { client, proxy } = await three(f);
  const other = await f.client(proxy);
  await client.command("CONFIG", "SET", "busy-reply-threshold", "20");
  await client.send("*3\r\n$4\r\nEVAL\r\n$15\r\nwhile 1 do end \r\n$1\r\n0\r\n");
  for (;;) {
    const reply = await other.command("SCRIPT", "KILL");
    if (reply === "OK") break;
    error(reply, /^NOTBUSY /);
  }
  error((await client.readReply()).value, /Script killed by user|Error running script/);
  strictEqual(await other.command("SET", "k", "v"), "OK");
});

Deno.test("INFO is the pool's: sums of the servers, and a section of its own", async () => {
  await using f = new Fixture();
  const { client, servers, direct, proxy } = await three(f);
  for (let i = 0; i < 50; i++) {
    await client.command("SET", `${i * 7919}:session:${i}`, "v", ...(i % 5 === 0 ? ["EX", "1000"] : []));
  }
  const onFirst = await direct[0]!.command("DBSIZE") as number;
  const fields = async (...sections: string[]) => {
    const text = await client.command("INFO", ...sections) as string;
    return new Map([...text.matchAll(/^([^#:\r\n]+):(.*)\r$/gm)].map((m) => [m[1]!, m[2]!]));
  };
  const all = await fields();
  match(all.get("db0")!, /^keys=50,expires=10,avg_ttl=\d+(,|$)/);
  strictEqual(all.get("connected_clients"), "1");
  strictEqual(all.get("role"), "master");
  strictEqual(all.get("redis_mode"), "standalone");
  strictEqual(all.get("ringmaster_servers"), "3");
  ok(Number(all.get("used_memory")) > 3 * 500_000);
  deepStrictEqual([...(await fields("keyspace")).keys()], ["db0"]);
  match(await client.command("INFO", "commandstats") as string, /cmdstat_set:calls=50,/);
  deepStrictEqual([...(await fields("ringmaster")).keys()].slice(0, 2), [
    "ringmaster_version",
    "ringmaster_pool",
  ]);
  strictEqual(await client.command("INFO", "nonsense"), "");
  const everything = await fields("everything");
  // Added to each other, these would be numbers that no server has said.
  strictEqual(everything.get("tcp_port"), String(proxy.port));
  strictEqual(everything.has("listener0"), false);
  ok(Number(everything.get("lru_clock")) < 2 ** 24);
  ok(Number(everything.get("used_memory_peak_time") ?? 0) < Date.now() / 1000 + 60);
  const said = await direct[0]!.command("INFO", "everything") as string;
  const undecided = [...said.matchAll(/^([^#:\r\n]+):/gm)].map((found) => found[1]!)
    .filter((field) => ruleOf(field) === undefined && pairRulesOf(field) === undefined);
  deepStrictEqual(undecided, [], "fields that info_fields.ts does not know");
  await client.command("HELLO", "3");
  strictEqual((await fields("keyspace")).get("db0")?.startsWith("keys=50,"), true);
  // One server away: the others speak.
  await servers[0]!.crash();
  const left = await fields("keyspace");
  strictEqual(Number(/keys=(\d+)/.exec(left.get("db0") ?? "")?.[1]), 50 - onFirst);
  for (const server of servers.slice(1)) await server.crash();
  match(await client.command("INFO") as string, /redis_version:.*ringmaster_servers:3\r/s);
});

Deno.test("COMMAND DOCS are a server's, and our own while none answers", async () => {
  await using f = new Fixture();
  const { client, servers, direct } = await three(f);
  const docs = async (...names: string[]) =>
    await client.command("COMMAND", "DOCS", ...names) as Map<string, Map<string, Value>>;
  for (const connection of [client, direct[0]!]) await connection.command("HELLO", "3");
  deepStrictEqual(await docs("get", "nosuch"), await direct[0]!.command("COMMAND", "DOCS", "get", "nosuch"));
  const ours = await docs();
  const theirs = await direct[0]!.command("COMMAND", "DOCS") as typeof ours;
  for (const [name, doc] of theirs) {
    if (doc.has("subcommands") || /^Refused/.test(ours.get(name)!.get("summary") as string)) continue;
    deepStrictEqual(ours.get(name), doc, name);
  }
  for (const server of servers) await server.crash();
  match((await docs("mget")).get("mget")!.get("summary") as string, /^Split by server/);
});

Deno.test("MEMORY USAGE and OBJECT go to the key's server", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  for (let i = 0; i < 12; i++) {
    await client.command("SET", `k${i}`, String(i));
    ok(Number(await client.command("MEMORY", "USAGE", `k${i}`)) > 0);
    ok(Number(await client.command("MEMORY", "USAGE", `k${i}`, "SAMPLES", "0")) > 0);
    strictEqual(await client.command("OBJECT", "ENCODING", `k${i}`), "int");
    strictEqual(typeof await client.command("OBJECT", "IDLETIME", `k${i}`), "number");
    ok(Number(await client.command("OBJECT", "REFCOUNT", `k${i}`)) > 0);
  }
  strictEqual(await client.command("OBJECT", "ENCODING", "none"), null);
  ok(Array.isArray(await client.command("OBJECT", "HELP")));
});

Deno.test("braces in a pool without hash_tag: CROSSSLOT says what to set, in WATCH and MULTI too", async () => {
  await using f = new Fixture();
  const { client } = await three(f, { hash_tag: undefined });
  const hint = /^CROSSSLOT Keys in request don't hash to the same server: .*set hash_tag: "\{\}"/;
  const keys = Array.from({ length: 20 }, (_, i) => `{t}${i}`);
  error(await client.command("SINTER", ...keys), hint);
  error(await client.command("BLPOP", ...keys, "1"), hint);
  error(await client.command("WATCH", ...keys), hint);
  error((await client.pipeline(...keys.map((key) => ["WATCH", key]))).find((r) => r !== "OK")!, hint);
  await client.command("UNWATCH");
  strictEqual(await client.command("MULTI"), "OK");
  error((await client.pipeline(...keys.map((key) => ["GET", key]))).find((r) => r !== "QUEUED")!, hint);
  error(await client.command("EXEC"), /^EXECABORT .*hash_tag/);
});

Deno.test("commands with keys of several servers say CROSSSLOT; with a hash tag they work; MGET, MSET, DEL are split", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  const many = Array.from({ length: 30 }, (_, i) => `key${i}`);
  // A partner of key0 on another server.
  let partner = "";
  for (const key of many.slice(1)) {
    if (await client.command("RENAMENX", "key0", key) instanceof ReplyError) {
      const reply = await client.command("RENAMENX", "key0", key) as ReplyError;
      if (reply.message.startsWith("CROSSSLOT")) partner = key;
    }
  }
  ok(partner !== "");
  for (
    const args of [
      ["RENAME", "key0", partner],
      ["COPY", "key0", partner],
      ["SMOVE", "key0", partner, "m"],
      ["LMOVE", "key0", partner, "LEFT", "LEFT"],
      ["RPOPLPUSH", "key0", partner],
      ["MSETNX", "key0", "1", partner, "2"],
      ["SINTER", "key0", partner],
      ["SUNIONSTORE", "key0", partner, "key0"],
      ["ZUNIONSTORE", "key0", "2", "key0", partner],
      ["ZINTER", "2", "key0", partner],
      ["PFCOUNT", "key0", partner],
      ["PFMERGE", "key0", partner],
      ["BITOP", "AND", "key0", "key0", partner],
      ["SORT", "key0", "STORE", partner],
      ["LCS", "key0", partner],
      ["GEOSEARCHSTORE", "key0", partner, "FROMLONLAT", "0", "0", "BYRADIUS", "1", "m"],
      ["EVAL", "return 1", "2", "key0", partner],
      ["XREAD", "STREAMS", "key0", partner, "0", "0"],
      ["LMPOP", "2", "key0", partner, "LEFT"],
    ]
  ) error(await client.command(...args), /^CROSSSLOT Keys in request don't hash to the same server$/);
  strictEqual(await client.command("SADD", "{t}a", "m"), 1);
  strictEqual(await client.command("SMOVE", "{t}a", "{t}b", "m"), 1);
  strictEqual(await client.command("COPY", "{t}b", "{t}c"), 1);
  strictEqual(await client.command("RENAME", "{t}c", "{t}d"), "OK");
  strictEqual(await client.command("MSET", ...many.flatMap((key, i) => [key, String(i)])), "OK");
  deepStrictEqual(await client.command("MGET", ...many, "none"), [...many.map((_, i) => String(i)), null]);
  strictEqual(await client.command("EXISTS", ...many, "none"), 30);
  strictEqual(await client.command("TOUCH", ...many), 30);
  strictEqual(await client.command("UNLINK", ...many.slice(0, 10)), 10);
  strictEqual(await client.command("DEL", ...many), 20);
});

Deno.test("SORT with BY and GET patterns is refused unless the patterns' keys are on the key's server, in MULTI too", async () => {
  await using f = new Fixture();
  const { client } = await three(f);
  await client.pipeline(["RPUSH", "{t}l", "1", "2", "3"], ["RPUSH", "l", "1", "2"]);
  for (const i of [1, 2, 3]) {
    await client.pipeline(["SET", `{t}w${i}`, String(10 - i)], ["HSET", `{t}h${i}`, "name", `n${i}`]);
  }
  const refused = /^ERR (BY|GET) option of SORT denied, .* own hash tag, \{tag\}weight_\*$/;
  for (const sort of ["SORT", "SORT_RO"]) {
    for (const words of ["l BY w*", "{t}l GET w*", "{t}l BY w*->x", "{t}l BY {t*}w", "{t}l GET # GET *{t}"]) {
      error(await client.command(sort, ...words.split(" ")), refused);
    }
    deepStrictEqual(await client.command(sort, "{t}l", "BY", "{t}w*"), ["3", "2", "1"]);
    deepStrictEqual(
      await client.command(sort, "{t}l", "BY", "w{t}*", "GET", "{t}h*->name", "LIMIT", "0", "1"),
      ["n1"],
    );
    deepStrictEqual(await client.command(sort, "l", "BY", "nosort", "GET", "#"), ["1", "2"]);
    deepStrictEqual(await client.command(sort, "l", "GET", "#", "GET", "fix"), ["1", null, "2", null]);
    error(await client.command(sort, "l", "NONE", "BY", "w*"), /^ERR syntax error$/);
  }
  error(await client.command("SORT", "{t}l", "BY", "w*", "STORE", "{t}d"), refused);
  strictEqual(await client.command("SORT", "{t}l", "BY", "{t}w*", "STORE", "{t}d"), 3);
  error(await client.command("SORT_RO", "{t}l", "STORE", "d"), /^ERR syntax error$/);
  await client.command("MULTI");
  strictEqual(await client.command("SORT", "{t}l", "BY", "{t}w*"), "QUEUED");
  deepStrictEqual(await client.command("EXEC"), [["3", "2", "1"]]);
  for (const sort of ["SORT", "SORT_RO"]) {
    await client.command("MULTI");
    error(await client.command(sort, "{t}l", "BY", "w*"), refused);
    error(await client.command("EXEC"), /^EXECABORT .*: command 1, 'SORT.*': ERR BY option of SORT denied/);
  }
  const one = await f.proxy("compiled", poolYml({ one: { servers: [await f.redis()] } }));
  const alone = await f.client(one);
  await alone.pipeline(["RPUSH", "l", "1", "2"], ["MSET", "w1", "2", "w2", "1"]);
  deepStrictEqual(await alone.command("SORT", "l", "BY", "w*"), ["2", "1"]);
  deepStrictEqual(await alone.command("SORT_RO", "l", "BY", "w*", "GET", "w*"), ["1", "2"]);
});

for (const dangerous of ["deny", "allow"]) {
  Deno.test(`CONFIG GET (dangerous_commands: ${dangerous}): the servers' settings and the pool's own, no passwords`, async () => {
    await using f = new Fixture();
    const { client, servers, direct, proxy } = await three(f, {
      dangerous_commands: dangerous,
      redis_auth: "secret",
    });
    strictEqual(await client.command("AUTH", "secret"), "OK");
    const get = async (...names: string[]) => await client.command("CONFIG", "GET", ...names);
    for (const d of direct) {
      await d.pipeline(
        ["CONFIG", "SET", "maxmemory", "100mb"],
        ["CONFIG", "SET", "notify-keyspace-events", "KEx"],
        ["CONFIG", "SET", "masterauth", "secret"],
        ["CONFIG", "SET", "requirepass", "secret"],
      );
    }
    deepStrictEqual(await get("maxmemory-policy"), ["maxmemory-policy", "noeviction"]);
    await direct[1]!.pipeline(["AUTH", "secret"], ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    deepStrictEqual(await get("maxmemory-policy"), ["maxmemory-policy", "allkeys-lru"]);
    deepStrictEqual(await get("m?xmemory"), ["maxmemory", String(300 * 1024 * 1024)]);
    deepStrictEqual([...(await get("notify-keyspace-events") as string[])[1]!].sort().join(""), "EKx");
    const memory = await client.command("INFO", "memory") as string;
    match(memory, /\r\nmaxmemory:314572800\r\n[^]*\r\nmaxmemory_policy:allkeys-lru\r\n/);
    deepStrictEqual(await get("databases"), ["databases", "4"]);
    error(await get(...Array.from({ length: 2000 }, (_, i) => `n${i}`)), /^ERR too many patterns/);
    deepStrictEqual(await get("port"), ["port", String(proxy.port)]);
    for (const name of ["requirepass", "masterauth", "tls-key-file*"]) deepStrictEqual(await get(name), []);
    await client.command("HELLO", "3");
    const all = await get("*") as Map<string, string>;
    strictEqual([...all].some(([name, value]) => name.includes("pass") || value === "secret"), false);
    strictEqual(all.has("dir"), dangerous === "allow");
    strictEqual(all.get("maxmemory-policy"), "allkeys-lru");
    await client.command("MULTI");
    strictEqual(await get("maxmemory"), "QUEUED");
    deepStrictEqual(await client.command("EXEC"), [new Map([["maxmemory", "314572800"]])]);
    // The others speak while one is away; without any, what is not the pool's is an error.
    await servers[1]!.crash();
    deepStrictEqual(await get("maxmemory-policy"), new Map([["maxmemory-policy", "noeviction"]]));
    for (const server of servers) await server.crash();
    error(await get("maxmemory-policy"), /\(server /);
    deepStrictEqual(await get("timeout"), new Map([["timeout", "0"]]));
  });
}

Deno.test("HELLO and INFO tell one story, that of the servers", async () => {
  await using f = new Fixture();
  const { client, servers, direct } = await three(f);
  const direct0 = await direct[0]!.command("HELLO", "3") as Map<string, Value>;
  // Of a server that takes its time nobody waits to hear.
  const hello = await poll(async () => {
    const told = await client.command("HELLO", "3") as Map<string, Value>;
    return told.get("version") === direct0.get("version") && told;
  }, "HELLO to tell the servers' version");
  for (const field of ["server", "version", "mode", "role", "proto"]) {
    strictEqual(hello.get(field), direct0.get(field), field);
  }
  deepStrictEqual(hello.get("modules"), direct0.get("modules"));
  const told = async () => {
    const text = await client.command("INFO", "server") as string;
    return /^(?:valkey|redis)_version:(.*)\r$/m.exec(
      text.replace(/^redis_version:(?=[^]*valkey_version)/m, ""),
    )![1];
  };
  strictEqual(await told(), hello.get("version"));
  // While some are away the others speak; a client does not wait for what is gone.
  await servers[0]!.crash();
  deepStrictEqual(
    (await client.command("HELLO", "3") as Map<string, Value>).get("version"),
    hello.get("version"),
  );
  // What they were is remembered, in INFO too, when none is there.
  for (const server of servers.slice(1)) await server.crash();
  deepStrictEqual(
    (await client.command("HELLO", "3") as Map<string, Value>).get("version"),
    hello.get("version"),
  );
  strictEqual(await told(), hello.get("version"));
});

Deno.test("HELLO waits for no server that is silent, and asks one that was replaced again", async () => {
  await using f = new Fixture();
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`;
  let version: string | null = null;
  const server = f.add(FakeServer.start((words) => {
    if (version === null || words[0] !== "HELLO") return null;
    return `*4\r\n${bulk("server")}${bulk("valkey")}${bulk("version")}${bulk(version)}`;
  }));
  const silent = f.add(FakeServer.start(() => null));
  const proxy = await f.proxy(
    "compiled",
    poolYml({ alpha: { servers: [`${server.address}:1`, `${silent.address}:1`] } }),
  );
  const told = async (client: RawClient) => {
    const hello = await client.command("HELLO", "3") as Map<string, Value>;
    return `${hello.get("server")} ${hello.get("version")}`;
  };
  // None has said anything: what most clients can do with.
  match(await told(await f.client(proxy)), /^redis 7\.\d/);
  version = "8.0.0";
  const client = await f.client(proxy);
  server.closeConnections();
  await poll(async () => await told(client) === "valkey 8.0.0", "HELLO to know the server");
  version = "9.1.2";
  strictEqual(await told(client), "valkey 8.0.0");
  server.closeConnections();
  await poll(async () => await told(client) === "valkey 9.1.2", "HELLO to know the new server");
  // A connection is asked once, however many clients there are.
  strictEqual(server.requests.filter(([name]) => name === "HELLO").length, 3);
});
