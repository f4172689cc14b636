/**
 * What every client library is asked to do, once against one redis-server and once through a pool of three; the two results
 * must be equal. Nothing here expects a value: the real server does.
 *
 * A scenario is a list of commands, or a function where order between connections matters. Each one starts with empty
 * servers. Keys that a command needs together share a {tag}.
 */
import { strictEqual } from "node:assert/strict";
import { createHash } from "node:crypto";
import { latin1 } from "../lib/bytes.ts";
import { poll, within } from "../lib/poll.ts";
import type { Argument, Connection } from "./driver.ts";
import { type Plain, plain, sorted } from "./plain.ts";

/** Where a scenario plays. */
export interface Stage {
  /** A new connection of the library, closed when the scenario ends. */
  connect(): Promise<Connection>;
  /** How many connections wait at the redis-servers, by their own count. */
  blockedClients(): Promise<number>;
  /** Kills all redis-servers and starts them again, empty. */
  restartServers(): Promise<void>;
  /** Kills what the library is connected to, redis-server or proxy, and starts it again. */
  restartPeer(): Promise<void>;
}

/** A command; in brackets of its own, its reply is a list whose order Redis leaves open. */
type Step = Argument[] | [Argument[]];

export interface Scenario {
  readonly name: string;
  readonly run: (stage: Stage) => Promise<Plain>;
}

function steps(name: string, ...list: Step[]): Scenario {
  return {
    name,
    async run(stage: Stage): Promise<Plain> {
      const connection = await stage.connect();
      const results: Plain[] = [];
      for (const step of list) {
        if (Array.isArray(step[0])) results.push(sorted(await connection.call(...step[0])));
        else results.push(await attempt(connection.call(...step as Argument[])));
      }
      return results;
    },
  };
}

/** A reply, or the error in its place. */
async function attempt(reply: Promise<unknown>): Promise<Plain> {
  try {
    return plain(await reply);
  } catch (error) {
    return plain(error);
  }
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const EVERY_BYTE = Uint8Array.from(range(256));
const LARGE = 50_000_000;
const ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

const ADD_SHA = createHash("sha1").update(ADD).digest("hex");
const LIBRARY = `#!lua name=testlib
redis.register_function('test_set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
redis.register_function{function_name='test_get', callback=function(keys) return redis.call('GET', keys[1]) end,
  flags={'no-writes'}}`;

function largeValue(): Uint8Array {
  const bytes = new Uint8Array(LARGE);
  for (let i = 0; i < LARGE; i++) bytes[i] = (i * 31 + (i >> 12)) & 255;
  return bytes;
}

export const SCENARIOS: readonly Scenario[] = [
  steps("connect", ["PING"], ["ECHO", "hello"], ["SET", "a", "1"], ["GET", "a"]),
  steps(
    "strings",
    ["SET", "s", "v"],
    ["SET", "s", "w", "NX"],
    ["SET", "s", "w", "XX", "GET"],
    ["GET", "s"],
    ["GET", "none"],
    ["GETSET", "s", "x"],
    ["GETDEL", "s"],
    ["APPEND", "s", "abc"],
    ["STRLEN", "s"],
    ["GETRANGE", "s", 1, -1],
    ["SETRANGE", "s", 5, "z"],
    ["GET", "s"],
    ["INCR", "n"],
    ["INCRBY", "n", 41],
    ["DECR", "n"],
    ["INCRBYFLOAT", "f", "3.25"],
    ["MSET", "m1", "a", "m2", "b", "m3", "c"],
    ["MGET", "m1", "none", "m2", "m3"],
    ["EXISTS", "m1", "m2", "m3", "none"],
    ["DEL", "m1", "m2", "none"],
    ["UNLINK", "m3"],
    ["TYPE", "s"],
    ["SET", "unicode", "grüß 😀"],
    ["GET", "unicode"],
    ["MSETNX", "{t}1", "a", "{t}2", "b"],
    ["LCS", "{t}1", "{t}2"],
    ["RENAME", "{t}1", "{t}3"],
    ["COPY", "{t}3", "{t}4"],
    ["DUMP", "none"],
  ),
  steps(
    "hashes",
    ["HSET", "h", "a", 1, "b", "two", "c", ""],
    ["HGETALL", "h"],
    ["HGETALL", "none"],
    ["HGET", "h", "b"],
    ["HMGET", "h", "a", "none", "c"],
    ["HKEYS", "h"],
    ["HVALS", "h"],
    ["HLEN", "h"],
    ["HINCRBY", "h", "a", 4],
    ["HINCRBYFLOAT", "h", "a", "0.5"],
    ["HEXISTS", "h", "zzz"],
    ["HSETNX", "h", "a", 9],
    ["HDEL", "h", "a", "zzz"],
    ["HSTRLEN", "h", "b"],
    ["HRANDFIELD", "none", -2],
    ["HSCAN", "h", 0, "COUNT", 100],
  ),
  steps(
    "lists",
    ["RPUSH", "l", "a", "b", "c", "b"],
    ["LPUSH", "l", "z"],
    ["LRANGE", "l", 0, -1],
    ["LINDEX", "l", 1],
    ["LPOS", "l", "b", "COUNT", 0],
    ["LINSERT", "l", "BEFORE", "b", "x"],
    ["LSET", "l", 0, "first"],
    ["LREM", "l", 1, "b"],
    ["LPOP", "l"],
    ["RPOP", "l", 2],
    ["LPOP", "none", 2],
    ["LLEN", "l"],
    ["LTRIM", "l", 0, 0],
    ["RPUSH", "{t}l", 1, 2, 3],
    ["LMOVE", "{t}l", "{t}m", "LEFT", "RIGHT"],
    ["LMPOP", 2, "{t}none", "{t}l", "LEFT", "COUNT", 2],
  ),
  steps(
    "sets",
    ["SADD", "s", "a", "b", "c", "a"],
    [["SMEMBERS", "s"]],
    ["SISMEMBER", "s", "a"],
    ["SMISMEMBER", "s", "a", "z"],
    ["SCARD", "s"],
    ["SREM", "s", "a", "z"],
    ["SADD", "{t}1", 1, 2, 3],
    ["SADD", "{t}2", 2, 3, 4],
    [["SINTER", "{t}1", "{t}2"]],
    [["SUNION", "{t}1", "{t}2"]],
    [["SDIFF", "{t}1", "{t}2"]],
    ["SINTERCARD", 2, "{t}1", "{t}2"],
    ["SUNIONSTORE", "{t}3", "{t}1", "{t}2"],
    ["SMOVE", "{t}1", "{t}2", 1],
    [["SPOP", "{t}3", 10]],
    ["SRANDMEMBER", "none"],
    ["SSCAN", "{t}1", 0],
  ),
  steps(
    "sorted sets",
    ["ZADD", "z", "1.5", "a", 2, "b", "-inf", "c", "1e300", "d"],
    ["ZADD", "z", "GT", "CH", 5, "b"],
    ["ZSCORE", "z", "a"],
    ["ZSCORE", "z", "c"],
    ["ZSCORE", "z", "none"],
    ["ZMSCORE", "z", "a", "none"],
    ["ZINCRBY", "z", "0.1", "a"],
    ["ZRANGE", "z", 0, -1],
    ["ZRANGE", "z", 0, -1, "WITHSCORES"],
    ["ZREVRANGE", "z", 0, 1, "WITHSCORES"],
    ["ZRANGEBYSCORE", "z", "(1", "+inf", "LIMIT", 0, 2],
    ["ZRANK", "z", "b"],
    ["ZCOUNT", "z", "-inf", 3],
    ["ZPOPMIN", "z"],
    ["ZPOPMAX", "z", 2],
    ["ZCARD", "z"],
    ["ZADD", "{t}1", 1, "a", 2, "b"],
    ["ZADD", "{t}2", 10, "a", 20, "c"],
    ["ZUNION", 2, "{t}1", "{t}2", "WEIGHTS", 1, 2, "WITHSCORES"],
    ["ZINTERSTORE", "{t}3", 2, "{t}1", "{t}2"],
    ["ZSCAN", "{t}3", 0],
    ["ZRANDMEMBER", "{t}3", 1, "WITHSCORES"],
    ["ZMPOP", 1, "{t}1", "MAX"],
  ),
  steps(
    "streams",
    ["XADD", "x", "1-1", "f", "v", "g", "w"],
    ["XADD", "x", "2-1", "f", "v2"],
    ["XADD", "x", "1-5", "f", "too small"],
    ["XLEN", "x"],
    ["XRANGE", "x", "-", "+"],
    ["XREVRANGE", "x", "+", "-", "COUNT", 1],
    ["XREAD", "COUNT", 10, "STREAMS", "x", 0],
    ["XREAD", "STREAMS", "none", 0],
    ["XGROUP", "CREATE", "x", "g", 0],
    ["XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "x", ">"],
    ["XPENDING", "x", "g"],
    ["XACK", "x", "g", "1-1"],
    ["XTRIM", "x", "MAXLEN", 1],
    ["XDEL", "x", "2-1"],
    ["XINFO", "GROUPS", "x"],
    ["XADD", "{t}1", "1-1", "a", 1],
    ["XADD", "{t}2", "2-2", "b", 2],
    ["XREAD", "STREAMS", "{t}1", "{t}2", 0, 0],
  ),
  steps(
    "geo",
    ["GEOADD", "g", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"],
    ["GEODIST", "g", "Palermo", "Catania", "km"],
    ["GEODIST", "g", "Palermo", "none"],
    ["GEOPOS", "g", "Palermo", "none"],
    ["GEOHASH", "g", "Palermo", "Catania"],
    ["GEOSEARCH", "g", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "ASC"],
    [
      "GEOSEARCH",
      "g",
      "FROMLONLAT",
      15,
      37,
      "BYBOX",
      400,
      400,
      "km",
      "ASC",
      "WITHCOORD",
      "WITHDIST",
      "WITHHASH",
    ],
    ["GEORADIUS", "g", 15, 37, 200, "km", "WITHDIST", "ASC"],
  ),
  steps(
    "hyperloglog",
    ["PFADD", "p", ...range(1000)],
    ["PFADD", "p", 1, 2, 3],
    ["PFCOUNT", "p"],
    ["PFADD", "{p}2", "x"],
    ["PFADD", "{p}3", "y"],
    ["PFMERGE", "{p}4", "{p}2", "{p}3"],
    ["PFCOUNT", "{p}2", "{p}3"],
  ),
  steps(
    "bitmaps",
    ["SETBIT", "b", 7, 1],
    ["SETBIT", "b", 100, 1],
    ["GETBIT", "b", 100],
    ["BITCOUNT", "b"],
    ["BITCOUNT", "b", 0, 7, "BIT"],
    ["BITPOS", "b", 1, 1],
    ["BITFIELD", "b", "SET", "u8", 0, 255, "GET", "i4", 4, "OVERFLOW", "FAIL", "INCRBY", "u2", 0, 9],
    ["SET", "{t}1", "abc"],
    ["SET", "{t}2", "ab"],
    ["BITOP", "XOR", "{t}3", "{t}1", "{t}2"],
    ["STRLEN", "{t}3"],
  ),
  {
    name: "pipelines of 1,000",
    async run(stage) {
      const c = await stage.connect();
      const mixed: Argument[][] = range(1000).map((i) =>
        [["SET", `k${i}`, i], ["GET", `k${i - 1}`], ["LPUSH", `k${i - 2}`, 1], ["NOSUCH", i]][i % 4]
      );
      return [
        plain(await c.pipeline(range(1000).map((i) => ["INCRBY", `p${i % 500}`, i]))),
        plain(await c.pipeline(range(1000).map((i) => ["GET", `p${i}`]))),
        plain(await c.pipeline(mixed)),
      ];
    },
  },
  {
    name: "MGET and MSET of 1,000 keys",
    async run(stage) {
      const c = await stage.connect();
      return [
        await attempt(c.call("MSET", ...range(1000).flatMap((i) => [`key:${i}`, `value ${i}`]))),
        await attempt(c.call("MGET", ...range(1002).map((i) => `key:${i}`))),
        await attempt(c.call("EXISTS", ...range(1002).map((i) => `key:${i}`))),
        await attempt(c.call("TOUCH", ...range(1002).map((i) => `key:${i}`))),
        await attempt(c.call("DEL", ...range(1002).map((i) => `key:${i}`))),
      ];
    },
  },
  steps(
    "EVAL and EVALSHA",
    ["EVALSHA", ADD_SHA, 1, "n", 5],
    ["EVAL", ADD, 1, "n", 5],
    ["EVAL", "return {1, 'two', {3, 4}, false}", 0],
    ["EVAL", "return redis.error_reply('MINE is this')", 0],
    ["EVAL", "return redis.call('GET', KEYS[1])", 1],
    ["EVAL", "this is no Lua", 0],
    ["EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "n"],
    // EVAL leaves its script on the one server of its keys, SCRIPT LOAD on all; EXISTS means all.
    ["SCRIPT", "LOAD", "return 42"],
    ["SCRIPT", "EXISTS", "1fa00e76656cc152ad327c13fe365858fd7be306", "0".repeat(40)],
    ["EVALSHA", "1fa00e76656cc152ad327c13fe365858fd7be306", 0],
    ...range(20).map((i): Step => ["EVALSHA", "1fa00e76656cc152ad327c13fe365858fd7be306", 1, `k${i}`]),
    ["EVALSHA", "0".repeat(40), 0],
  ),
  {
    name: "scripts by the library's helper (NOSCRIPT, then loaded)",
    async run(stage) {
      const c = await stage.connect();
      const results: Plain[] = [];
      for (const i of [...range(20), ...range(20)]) {
        results.push(await attempt(c.script(ADD, [`counter:${i}`], [i])));
      }
      return results;
    },
  },
  steps(
    "functions",
    ["FUNCTION", "LOAD", LIBRARY],
    ["FUNCTION", "LOAD", LIBRARY],
    ["FUNCTION", "LOAD", "REPLACE", LIBRARY],
    ...range(12).flatMap((
      i,
    ): Step[] => [["FCALL", "test_set", 1, `f${i}`, i], ["FCALL_RO", "test_get", 1, `f${i}`]]),
    ["FCALL", "no_such", 0],
    ["FUNCTION", "DELETE", "testlib"],
    ["FUNCTION", "LIST"],
  ),
  {
    name: "values of 50 MB",
    async run(stage) {
      const c = await stage.connect();
      const value = largeValue();
      return [
        await attempt(c.call("SET", "large", value)),
        await attempt(c.call("STRLEN", "large")),
        await attempt(c.callBytes("GET", "large")),
        await attempt(c.call("SET", "small", "after it")),
        await attempt(c.call("GET", "small")),
        await attempt(c.callBytes("MGET", "small", "large", "none")),
      ];
    },
  },
  {
    name: "binary keys and values",
    async run(stage) {
      const c = await stage.connect();
      const results: Plain[] = [];
      for (const key of [EVERY_BYTE, latin1("\r\n"), latin1("\0"), latin1("\xff\xfe*1\r\n$4"), latin1("")]) {
        results.push(await attempt(c.call("SET", key, EVERY_BYTE)));
        results.push(await attempt(c.callBytes("GET", key)));
        results.push(await attempt(c.callBytes("MGET", key, EVERY_BYTE, "none")));
        results.push(await attempt(c.call("DEL", key)));
      }
      return results;
    },
  },
  steps(
    "errors: wrong type, unknown command, wrong number of arguments",
    ["SET", "s", "v"],
    ["LPUSH", "s", 1],
    ["INCR", "s"],
    ["NOSUCHCOMMAND", "a", "b"],
    ["CONFIG", "NOSUCH"],
    ["GET"],
    ["GET", "a", "b"],
    ["SET", "a"],
    ["MSET", "a", 1, "b"],
    ["MGET"],
    ["HSET", "h", "f"],
    ["EXPIRE", "s", "soon"],
    ["SETEX", "s", 0, "v"],
    ["EVAL", "return 1", "x"],
    ["ZADD", "z", "x", "a"],
    ["SELECT", 99],
    ["GET", "s"],
  ),
  {
    name: "expiry",
    async run(stage) {
      const c = await stage.connect();
      const results = [
        await attempt(c.call("SET", "a", 1, "EX", 100)),
        await attempt(c.call("TTL", "a")),
        await attempt(c.call("PERSIST", "a")),
        await attempt(c.call("TTL", "a")),
        await attempt(c.call("EXPIREAT", "a", 4102444800)),
        await attempt(c.call("EXPIRETIME", "a")),
        await attempt(c.call("GETEX", "a", "PERSIST")),
        await attempt(c.call("TTL", "none")),
        await attempt(c.call("SETEX", "b", 100, "v")),
        await attempt(c.call("PEXPIRE", "b", 30)),
      ];
      await poll(async () => await c.call("GET", "b") === null, "b to expire");
      return results;
    },
  },
  {
    name: "the library's own methods",
    async run(stage) {
      const c = await stage.connect();
      return await attempt(c.own());
    },
  },
  {
    name: "many connections",
    async run(stage) {
      const all = await Promise.all(range(20).map(() => stage.connect()));
      const results = await Promise.all(
        all.map((c, i) =>
          c.pipeline(range(20).flatMap((n) => [["SET", `${i}:${n}`, n], ["GET", `${i}:${n}`]]))
        ),
      );
      return plain(results);
    },
  },
  {
    name: "reconnects after the servers restart",
    async run(stage) {
      const c = await stage.connect();
      const before = await attempt(c.call("SET", "a", 1));
      await stage.restartServers();
      await usable(c);
      return [
        before,
        await attempt(c.call("GET", "a")),
        await attempt(c.call("SET", "a", 2)),
        await attempt(c.call("GET", "a")),
      ];
    },
  },
  {
    name: "reconnects after what it is connected to restarts",
    async run(stage) {
      const c = await stage.connect();
      const before = await attempt(c.call("SET", "a", 1));
      await stage.restartPeer();
      await usable(c);
      return [before, await attempt(c.call("SET", "a", 2)), await attempt(c.call("GET", "a"))];
    },
  },
  {
    name: "QUIT and disconnect",
    async run(stage) {
      const [a, b] = [await stage.connect(), await stage.connect()];
      const results = [await attempt(a.call("SET", "a", 1)), await attempt(a.quit())];
      await b.disconnect();
      return [...results, await attempt((await stage.connect()).call("GET", "a"))];
    },
  },
  {
    name: "MULTI, and WATCH with a conflict",
    async run(stage) {
      const [a, b] = [await stage.connect(), await stage.connect()];
      const results = [
        await attempt(
          a.transaction([["SET", "{t}a", 1], ["INCR", "{t}a"], ["LPUSH", "{t}l", "x"], ["GET", "{t}a"]]),
        ),
        await attempt(a.transaction([["SET", "{t}a", "x"], ["INCR", "{t}a"], ["GET", "{t}a"]])),
        await attempt(a.transaction([["SET", "{t}a", 5], ["NOSUCH"], ["GET", "{t}a"]])),
        await attempt(a.call("GET", "{t}a")),
      ];
      // Nobody interferes.
      results.push(await attempt(a.watch("{t}a")));
      results.push(await attempt(a.transaction([["SET", "{t}a", 10], ["GET", "{t}a"]])));
      // Somebody does.
      results.push(await attempt(a.watch("{t}a", "{t}b")));
      results.push(await attempt(b.call("SET", "{t}b", "changed")));
      results.push(await attempt(a.transaction([["SET", "{t}a", 11]])));
      results.push(await attempt(a.call("GET", "{t}a")));
      results.push(await attempt(a.watch("{t}a")));
      results.push(await attempt(b.call("SET", "{t}a", "changed")));
      results.push(await attempt(a.unwatch()));
      results.push(await attempt(a.transaction([["SET", "{t}a", 12]])));
      results.push(await attempt(a.call("GET", "{t}a")));
      return results;
    },
  },
  {
    name: "blocking pop across two clients",
    async run(stage) {
      const [a, b] = [await stage.connect(), await stage.connect()];
      const results: Plain[] = [];
      const waits: [Argument[], Argument[]][] = [
        [["BLPOP", "{q}1", "{q}2", 0], ["RPUSH", "{q}2", "x", "y"]],
        [["BRPOP", "q3", 0], ["RPUSH", "q3", "z"]],
        [["BLMOVE", "{q}4", "{q}5", "LEFT", "RIGHT", 0], ["RPUSH", "{q}4", "m"]],
        [["BZPOPMIN", "z", 0], ["ZADD", "z", "1.5", "member"]],
        [["BLMPOP", 0, 1, "q6", "LEFT"], ["RPUSH", "q6", "n"]],
        [["XREAD", "BLOCK", 0, "STREAMS", "x", "$"], ["XADD", "x", "5-5", "f", "v"]],
      ];
      for (const [wait, push] of waits) {
        const waiting = attempt(a.call(...wait));
        await poll(async () => await stage.blockedClients() === 1, `${wait[0]} to block`);
        await b.call(...push);
        results.push(await within(waiting, `${wait[0]} to return`));
      }
      results.push(await attempt(a.call("BLPOP", "empty", "0.05")));
      results.push(await attempt(a.call("RPUSH", "there", 1)));
      results.push(await attempt(a.call("BLPOP", "there", 0)));
      return results;
    },
  },
  {
    name: "pub/sub with patterns",
    async run(stage) {
      const [subscriber, publisher] = [await stage.connect(), await stage.connect()];
      const channels = range(10).map((i) => `news:${i}`);
      await subscriber.subscribe(channels, ["news:[3-5]", "p*"]);
      const counts: Plain[] = [];
      for (const channel of [...channels, "plain", "quiet"]) {
        counts.push(await attempt(publisher.call("PUBLISH", channel, `text of ${channel}`)));
      }
      // Order holds within a channel; across channels there is none to keep.
      const first = sorted(await within(subscriber.messages(14), "14 messages"));
      await subscriber.unsubscribe(channels.slice(1), ["news:[3-5]"]);
      for (const channel of ["news:1", "news:4", "news:0", "plain"]) {
        counts.push(await attempt(publisher.call("PUBLISH", channel, "second")));
      }
      const second = sorted(await within(subscriber.messages(2), "2 messages"));
      return [counts, first, second];
    },
  },
  {
    name: "SCAN over 10,000 keys",
    async run(stage) {
      const c = await stage.connect();
      for (const part of range(10)) {
        await c.call("MSET", ...range(1000).flatMap((i) => [`scan:${part}:${i}`, i]));
      }
      const results: Plain[] = [];
      for (
        const options of [{}, { count: 500 }, { match: "scan:3:*", count: 1000 }, {
          match: "no:*",
          count: 1000,
        }]
      ) {
        const keys = new Set(await c.scanAll(options));
        results.push(sorted([...keys].sort()), keys.size);
      }
      strictEqual(results[1], 10_000);
      return results;
    },
  },
  steps(
    "KEYS, DBSIZE, RANDOMKEY",
    ["RANDOMKEY"],
    ["MSET", "k1", 1, "k2", 2, "k3", 3, "other", 4],
    [["KEYS", "k*"]],
    ["DBSIZE"],
    ["DEL", "k1", "k2", "k3"],
    ["RANDOMKEY"],
  ),
];

/** Waits until commands work again: until then the library may fail them, or keep them until it has reconnected. */
async function usable(connection: Connection): Promise<void> {
  await poll(async () => {
    // Keys enough to touch every server.
    for (const i of range(20)) await connection.call("GET", `usable:${i}`);
    return true;
  }, "commands to work again");
}
