/**
 * The in-memory Redis (src/demo/memory_redis.ts) where a comparison with a real server cannot look: time, chance,
 * several clients, requests cut anywhere. Its replies are compared in tests/real/demo_redis_test.ts.
 */
import assert from "node:assert/strict";
import { MemoryRedis, type MemoryRedisSession } from "../../src/demo/memory_redis.ts";
import { addDecimals } from "../../src/demo/redis/numbers.ts";
import { formatDouble } from "../../src/demo/redis/resp.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";

function setUp(password?: string) {
  const time = { nowMs: 1_700_000_000_000 };
  const random = new Random(7);
  const memory = new MemoryRedis({ nowMs: () => time.nowMs, random: () => random.next(), password });
  return { time, memory };
}

function ask(session: MemoryRedisSession, line: string): string {
  return textOf(session.feed(request(...line.split(" "))));
}

Deno.test("MemoryRedis lets keys die at their time and not before", () => {
  const { time, memory } = setUp();
  const session = memory.session();
  const steps: [atMs: number, line: string, reply: string][] = [
    [0, "SET a 1 PX 1000", "+OK\r\n"],
    [0, "SETEX b 2 x", "+OK\r\n"],
    [0, "SET c 1", "+OK\r\n"],
    [0, "EXPIRE c 3", ":1\r\n"],
    [0, "EXPIRE c 2 GT", ":0\r\n"],
    [0, "TTL a", ":1\r\n"],
    [499, "PTTL a", ":501\r\n"],
    [501, "TTL a", ":0\r\n"],
    [999, "APPEND a 2", ":2\r\n"],
    [999, "GET a", "$2\r\n12\r\n"],
    [1000, "GET a", "$-1\r\n"],
    [1000, "TTL a", ":-2\r\n"],
    [1999, "EXISTS b c", ":2\r\n"],
    [2000, "EXISTS b c", ":1\r\n"],
    [2000, "GETEX c EX 5", "$1\r\n1\r\n"],
    [6999, "INCR c", ":2\r\n"],
    [7000, "INCR c", ":1\r\n"],
    [7000, "TTL c", ":-1\r\n"],
    [7000, "TIME", "*2\r\n$10\r\n1700000007\r\n$1\r\n0\r\n"],
  ];
  for (const [atMs, line, reply] of steps) {
    time.nowMs = 1_700_000_000_000 + atMs;
    assert.equal(ask(session, line), reply, `${line} after ${atMs} ms`);
  }
});

Deno.test("MemoryRedis answers the same however requests are cut", () => {
  const stream = new Uint8Array([
    ...request("SET", "a", "x".repeat(300)),
    ...latin1("PING\r\nECHO 'a b'\n"),
    ...request("MGET", "a", "b"),
    ...request("QUIT"),
    ...request("PING"),
  ]);
  const whole = textOf(setUp().memory.session().feed(stream));
  assert.match(whole, /^\+OK\r\n\+PONG\r\n\$3\r\na b\r\n\*2\r\n[^]*\+OK\r\n$/);
  for (let cut = 0; cut <= stream.length; cut++) {
    const session = setUp().memory.session();
    const first = stream.slice(0, cut);
    const replies = textOf(session.feed(first));
    first.fill(0xdd);
    assert.equal(replies + textOf(session.feed(stream.subarray(cut))), whole, `cut at ${cut}`);
    assert.ok(session.ended);
  }
});

Deno.test("EXEC is refused when another client or time changed a watched key", () => {
  const changes: [change: string, aborts: boolean][] = [
    ["SET k 2", true],
    ["GET k", false],
    ["DEL k", true],
    ["EXPIRE k 100", true],
    ["FLUSHALL", true],
    ["SET other 1", false],
    ["RENAME other k", true],
    ["HSET k f v", false],
  ];
  for (const [change, aborts] of changes) {
    const { memory } = setUp();
    const [a, b] = [memory.session(), memory.session()];
    ask(b, "MSET k 1 other 1");
    assert.equal(ask(a, "WATCH k"), "+OK\r\n");
    ask(b, change);
    ask(a, "MULTI");
    assert.equal(ask(a, "PING"), "+QUEUED\r\n");
    assert.equal(ask(a, "EXEC"), aborts ? "*-1\r\n" : "*1\r\n+PONG\r\n", change);
    assert.equal(ask(a, "MULTI") + ask(a, "EXEC"), "+OK\r\n*0\r\n", "the watch is over");
  }
  const { memory, time } = setUp();
  const session = memory.session();
  ask(session, "SET k 1 PX 10");
  ask(session, "WATCH k");
  ask(session, "MULTI");
  time.nowMs += 10;
  assert.equal(ask(session, "EXEC"), "*-1\r\n");
});

Deno.test("SCAN shows every key that lives all along, whatever else changes", () => {
  const { memory } = setUp();
  const session = memory.session();
  for (let i = 0; i < 100; i++) ask(session, `SET stay${i} ${i}`);
  const seen = new Set<string>();
  let cursor = "0";
  let turns = 0;
  do {
    ask(session, `SET new${turns} 1`);
    ask(session, `SET old${turns} 1`);
    ask(session, `DEL old${turns - 1}`);
    const reply = ask(session, `SCAN ${cursor} COUNT 7 MATCH stay*`).split("\r\n");
    cursor = reply[2];
    for (const line of reply) if (line.startsWith("stay")) seen.add(line);
  } while (cursor !== "0" && ++turns < 100);
  assert.equal(seen.size, 100);
  assert.ok(turns > 10 && turns < 100);
});

Deno.test("SPOP, SRANDMEMBER and RANDOMKEY choose by the given randomness", () => {
  const run = (): string[] => {
    const session = setUp().memory.session();
    const lines = [
      "SADD s a b c d e",
      "SPOP s",
      "SPOP s 2",
      "SRANDMEMBER s -5",
      "SET k 1",
      "RANDOMKEY",
      "SCARD s",
    ];
    return lines.map((line) => ask(session, line));
  };
  const replies = run();
  assert.deepEqual(run(), replies);
  assert.match(replies[2], /^\*2\r\n/);
  assert.match(replies[3], /^\*5\r\n/);
  assert.equal(replies[6], ":2\r\n");
});

Deno.test("a password keeps clients out until they say it, and HELLO can", () => {
  const { memory } = setUp("secret");
  const session = memory.session();
  assert.equal(ask(session, "GET a"), "-NOAUTH Authentication required.\r\n");
  assert.match(ask(session, "AUTH x"), /^-WRONGPASS/);
  assert.match(ask(session, "HELLO 3 AUTH default secret SETNAME me"), /^%7\r\n/);
  assert.equal(ask(session, "GET a"), "_\r\n");
  assert.equal(ask(session, "CLIENT GETNAME"), "$2\r\nme\r\n");
});

const SUMS: [a: string, b: string, sum: string][] = [
  ["0.1", "0.2", "0.3"],
  ["10.50", "0.1", "10.6"],
  ["5.0e3", "200", "5200"],
  ["-1.5", "1.5", "0"],
  ["9223372036854775807", "3.5", "9223372036854775810"],
  ["1e-18", "0", "0"],
  ["-3", ".25", "-2.75"],
];

Deno.test("addDecimals() adds as an 80-bit float does", () => {
  for (const [a, b, sum] of SUMS) assert.equal(addDecimals(a, b), sum, `${a} + ${b}`);
  for (const bad of ["", "x", "1e", "inf", "."]) assert.equal(addDecimals(bad, "1"), null, bad);
});

Deno.test("formatDouble() writes what printf %.17g writes", () => {
  const cases: [value: number, text: string][] = [
    [0.1, "0.10000000000000001"],
    [1, "1"],
    [-0, "-0"],
    [1e21, "1e+21"],
    [1e16, "10000000000000000"],
    [1e17, "1e+17"],
    [1.5e-7, "1.4999999999999999e-07"],
    [0.0001, "0.0001"],
    [Infinity, "inf"],
    [100, "100"],
  ];
  for (const [value, text] of cases) assert.equal(formatDouble(value), text);
});
