/**
 * The in-memory Redis (src/demo/memory_redis.ts) against a real redis-server: the same seeded random commands on a
 * few keys go to both, and the replies must be the same bytes; where Redis defines no order, the same bytes sorted.
 *
 * Times to live are given as absolute times here, so that the clock has no part in a reply. Relative ones are
 * tested with a fake clock in tests/unit/demo_redis_test.ts.
 */
import assert from "node:assert/strict";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { abortsNested, inVersion, versionOf } from "../lib/versions.ts";
import { RawClient } from "../lib/client.ts";
import { Random } from "../lib/random.ts";
import { parseReply, type Value } from "../lib/resp.ts";
import { startRedis } from "../lib/servers.ts";

const KEYS = ["a", "b", "c", "d", "e", "{t}f"];
const VALUES = [
  "",
  "x",
  "hello",
  "10",
  "-5",
  "3.5",
  "0.1",
  "abc\r\n\0\xff",
  "9223372036854775807",
  "007",
  " 7",
  "+1",
];
const NUMBERS = ["0", "1", "-1", "2", "-2", "3", "100", "-100", "x", "1.5", "9223372036854775807", "", "-0"];
const FLOATS = ["0.1", "1.5", "-3", "1e3", "5.0e-3", "123.456", "inf", "nan", "x", "", "1e", ".5", "7."];
const SCORES = ["0", "1", "2", "-1", "1.5", "0.1", "3e10", "1e21", "inf", "-inf", "x", "1e-7"];
const BOUNDS = ["-inf", "+inf", "0", "(1", "1.5", "(2", "x", "("];
const LEX = ["-", "+", "[x", "(hello", "[10", "x"];
const AT_S = ["33177117420", "32503680000", "4102444800"];
const AT_MS = ["33177117420123", "32503680000456", "4102444800789"];

/** What a template's words stand for; other words are sent as they are. */
const WORDS: Readonly<Record<string, (random: Random) => string[]>> = {
  k: (r) => [r.pick(KEYS)],
  "k+": (r) => list(r, 1, 3, () => r.pick(KEYS)),
  v: (r) => [r.pick(VALUES)],
  "v+": (r) => list(r, 1, 4, () => r.pick(VALUES)),
  n: (r) => [r.pick(NUMBERS)],
  bad: (r) => [r.pick(["0", "-1", "x", "", "1.5", "9223372036854775807"])],
  small: (r) => [String(r.between(-3, 5))],
  count: (r) => [String(r.between(-1, 4))],
  f: (r) => [r.pick(FLOATS)],
  s: (r) => [r.pick(SCORES)],
  bound: (r) => [r.pick(BOUNDS)],
  lex: (r) => [r.pick(LEX)],
  "kv+": (r) => list(r, 1, 3, () => r.pick(KEYS), () => r.pick(VALUES)),
  "vv+": (r) => list(r, 1, 3, () => r.pick(VALUES), () => r.pick(VALUES)),
  "sv+": (r) => list(r, 1, 3, () => r.pick(SCORES), () => r.pick(VALUES)),
  side: (r) => [r.pick(["LEFT", "right", "middle"])],
  where: (r) => [r.pick(["BEFORE", "after", "x"])],
  nxxx: (r) => r.pick([[], ["NX"], ["xx"], ["GT"], ["lt"], ["nx", "gt"], ["gt", "lt"], ["Foo"]]),
  set: (r) =>
    list(
      r,
      0,
      3,
      () =>
        r.pick([
          "NX",
          "XX",
          "GET",
          "KEEPTTL",
          "EXAT 33177117420",
          "pxat 32503680000456",
          "EX 0",
          "PX x",
          "EX",
          "FOO",
        ]),
    ),
  getex: (r) =>
    r.pick([[], ["PERSIST"], ["EXAT", r.pick(AT_S)], ["PXAT", r.pick(AT_MS)], ["EX", "0"], ["EX"]]),
  zadd: (r) => list(r, 0, 2, () => r.pick(["NX", "xx", "GT", "LT", "CH", "INCR"])),
  at: (r) => [r.pick(AT_S)],
  atms: (r) => [r.pick(AT_MS)],
  glob: (r) => [r.pick(["*", "?", "[a-c]", "[^ab]", "\\a", "{t}*", "h*o", "*e*l", "", "[", "[a", "[b-"])],
  zopt: (r) =>
    list(r, 0, 2, () => r.pick(["WITHSCORES", "LIMIT 0 2", "LIMIT 1 -1", "REV", "BYSCORE", "BYLEX", "FOO"])),
};

function list(random: Random, min: number, max: number, ...makers: (() => string)[]): string[] {
  const words: string[] = [];
  for (let n = random.between(min, max); n > 0; n--) {
    for (const make of makers) {
      const word = make();
      words.push(...(/^(EX|LIMIT|EXAT|pxat|PX) /.test(word) ? word.split(" ") : [word]));
    }
  }
  return words;
}

/** One command a line; its class says how its reply is compared: as it is, as a set, or as a set of pairs. */
const TEMPLATES:
  readonly (readonly [order: "" | "set" | "pairs" | "scan" | "scanpairs", template: string])[] = [
    ...([
      "GET k",
      "SET k v set",
      "SET k v",
      "SETNX k v",
      "GETSET k v",
      "GETDEL k",
      "GETEX k getex",
      "SETEX k bad v",
      "PSETEX k bad v",
      "MGET k+",
      "MSET kv+",
      "MSETNX kv+",
      "MSET kv+ k",
      "APPEND k v",
      "STRLEN k",
      "INCR k",
      "DECR k",
      "INCRBY k n",
      "DECRBY k n",
      "INCRBYFLOAT k f",
      "GETRANGE k small small",
      "SUBSTR k small n",
      "SETRANGE k small v",
      "DEL k+",
      "UNLINK k",
      "EXISTS k+",
      "TOUCH k+",
      "TYPE k",
      "RENAME k k",
      "RENAMENX k k",
      "DBSIZE",
      "EXPIREAT k at nxxx",
      "PEXPIREAT k atms nxxx",
      "EXPIRETIME k",
      "PEXPIRETIME k",
      "PERSIST k",
      "EXPIRE k -1",
      "PEXPIRE k x",
      "EXPIRE k 9223372036854775807",
      "EXPIREAT k 1",
      "TTL missing",
      "PTTL missing",
      "HSET k vv+",
      "HSET k vv+ v",
      "HMSET k vv+",
      "HSETNX k v v",
      "HGET k v",
      "HMGET k v+",
      "HDEL k v+",
      "HEXISTS k v",
      "HLEN k",
      "HSTRLEN k v",
      "HINCRBY k v n",
      "HINCRBYFLOAT k v f",
      "LPUSH k v+",
      "RPUSH k v+",
      "LPUSHX k v+",
      "RPUSHX k v+",
      "LPOP k",
      "RPOP k",
      "LPOP k count",
      "RPOP k count",
      "LPOP k n",
      "LLEN k",
      "LRANGE k small small",
      "LRANGE k n n",
      "LINDEX k small",
      "LSET k small v",
      "LREM k small v",
      "LTRIM k small small",
      "LMOVE k k side side",
      "RPOPLPUSH k k",
      "LINSERT k where v v",
      "SADD k v+",
      "SREM k v+",
      "SISMEMBER k v",
      "SMISMEMBER k v+",
      "SCARD k",
      "SMOVE k k v",
      "SINTERSTORE k k+",
      "SUNIONSTORE k k+",
      "SDIFFSTORE k k+",
      "SPOP k 0",
      "SPOP k -1",
      "SPOP missing",
      "ZADD k zadd sv+",
      "ZADD k sv+",
      "ZREM k v+",
      "ZSCORE k v",
      "ZMSCORE k v+",
      "ZCARD k",
      "ZINCRBY k s v",
      "ZRANK k v",
      "ZREVRANK k v",
      "ZRANGE k small small zopt",
      "ZRANGE k bound bound BYSCORE zopt",
      "ZRANGE k lex lex BYLEX zopt",
      "ZRANGEBYSCORE k bound bound zopt",
      "ZREVRANGEBYSCORE k bound bound zopt",
      "ZREVRANGE k small small WITHSCORES",
      "ZREVRANGE k small small zopt",
      "ZCOUNT k bound bound",
      "ZLEXCOUNT k lex lex",
      "ZREMRANGEBYSCORE k bound bound",
      "ZREMRANGEBYRANK k small small",
      "ZPOPMIN k",
      "ZPOPMAX k",
      "ZPOPMIN k count",
      "ZPOPMAX k n",
      "ZRANGEBYLEX k lex lex zopt",
      "ECHO v",
      "PING",
      "PING v",
      "PING a b",
      "SELECT n",
      "SELECT 0",
      "SELECT 1",
      "MULTI",
      "EXEC",
      "DISCARD",
      "WATCH k+",
      "UNWATCH",
      "CLIENT GETNAME",
      "CLIENT SETNAME v",
      "CLIENT FOO",
      "CLIENT GETNAME x",
      "FLUSHDB x",
      "KEYS",
      "GET",
      "GET k k",
      "NOPE",
      "NOPE v v",
      "SCAN x",
      "SCAN 0 COUNT 0",
      "SCAN 0 FOO",
      "AUTH x",
      "AUTH default x",
      "AUTH a b c d",
      "LMOVE k k side",
      "RANDOMKEY x",
      "EXPIRE k n Foo",
      "SETEX k 0 v",
      "PSETEX k -1 v",
      "HELLO x",
      "HELLO 4",
      "COMMAND FOO",
      "CONFIG",
      "CLIENT",
      "HELLO 2 SETNAME",
    ] as const).map((template) => ["", template] as const),
    ["set", "KEYS glob"],
    ["scan", "SCAN 0 COUNT 1000"],
    ["scan", "SCAN 0 MATCH glob COUNT 1000"],
    ["scan", "SCAN 0 COUNT 1000 TYPE list"],
    ["pairs", "HGETALL k"],
    ["set", "HKEYS k"],
    ["set", "HVALS k"],
    ["scanpairs", "HSCAN k 0 MATCH glob"],
    ["set", "SMEMBERS k"],
    ["set", "SINTER k+"],
    ["set", "SUNION k+"],
    ["set", "SDIFF k+"],
    ["set", "SPOP k 1000"],
    ["set", "SRANDMEMBER k 1000"],
    ["scan", "SSCAN k 0"],
    ["scanpairs", "ZSCAN k 0"],
    ["scanpairs", "ZSCAN k 0 MATCH glob"],
  ];

/** The reply with its parts sorted where their order is free. */
function normal(order: string, text: string): string {
  // What a HELLO that went through EXEC tells of the server, and the client's id.
  text = text.replace(
    /(\$6\r\nserver\r\n)\$\d\r\n\w+(\r\n\$7\r\nversion\r\n)\$\d+\r\n[\d.]+/g,
    "$1SERVER$2VERSION",
  ).replace(/\$2\r\nid\r\n:\d+/g, "$2\r\nid\r\n:ID")
    .replace(
      /(\$7\r\nmodules\r\n)(\*0|\*1\r\n[%*]\d\r\n\$4\r\nname\r\n[^]*?\$4\r\nargs\r\n\*0)/g,
      "$1MODULES",
    );
  if (order === "" || !/^[*~%]/.test(text)) return text;
  const bytes = latin1(text);
  const value = parseReply(bytes, 0, bytes.length)!.value;
  const head = text.slice(0, text.indexOf("\r\n"));
  const scan = order.startsWith("scan");
  let items: Value[] = value instanceof Map
    ? [...value].flat()
    : [...(scan ? (value as Value[])[1] : value) as Value[]];
  if (order.endsWith("pairs")) {
    const pairs: Value[] = [];
    for (let i = 0; i < items.length; i += 2) pairs.push(JSON.stringify([items[i], items[i + 1]]));
    items = pairs;
  }
  return `${head} ${scan ? (value as Value[])[0] : ""} ${JSON.stringify(items.sort())}`;
}

/** Inside a transaction replies come together, so it is only queued with commands whose replies have an order. */
function make(random: Random, inTransaction: boolean): { order: string; args: string[] } {
  for (;;) {
    const [order, template] = random.pick(TEMPLATES);
    if (inTransaction && order !== "") continue;
    const args = template.split(" ").flatMap((word) =>
      Object.hasOwn(WORDS, word) ? WORDS[word](random) : [word]
    );
    if (random.below(4) === 0) args[0] = args[0].toLowerCase();
    return { order, args };
  }
}

for (const protocol of [2, 3]) {
  Deno.test(`MemoryRedis answers random commands as redis-server does, RESP${protocol}`, async () => {
    await using server = await startRedis();
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed * 10 + protocol);
      await using client = await RawClient.connect(server.target);
      const version = await versionOf(client);
      const memory = new MemoryRedis({ nowMs: Date.now, random: () => random.next() });
      const session = memory.session();
      await client.command("FLUSHALL");
      if (protocol === 3) {
        await client.command("HELLO", 3);
        session.feed(request("HELLO", 3));
      }
      const history: string[] = [];
      let inTransaction = false;
      for (let i = 0; i < 4000; i++) {
        const { order, args } = make(random, inTransaction);
        // A second MULTI or a WATCH would spoil the transaction there.
        if (inTransaction && abortsNested(version) && /^(multi|watch)$/i.test(args[0])) {
          args.splice(0, args.length, "PING");
        }
        const name = args[0].toUpperCase();
        if (name === "MULTI") inTransaction = true;
        if (name === "EXEC" || name === "DISCARD") inTransaction = false;
        const bytes = request(...args.map(latin1));
        history.push(JSON.stringify(args));
        await client.send(bytes);
        const theirs = normal(order, (await client.readReply()).text);
        const ours = inVersion(version, args, normal(order, textOf(session.feed(bytes))));
        if (ours !== theirs) {
          assert.fail(
            `seed ${seed}, command ${i}: ${history.at(-1)}\n redis-server ${JSON.stringify(theirs)}\n` +
              ` MemoryRedis  ${JSON.stringify(ours)}\n after ${history.slice(-15, -1).join("\n       ")}`,
          );
        }
        if (name === "HELLO" && protocol === 3) {
          await client.command("HELLO", 3);
          session.feed(request("HELLO", 3));
        }
      }
    }
  });
}

const BROKEN = [
  "*x\r\n",
  "*1\r\n:3\r\n",
  "*1\r\n$x\r\n",
  "*1\r\n$-1\r\n",
  "*-5\r\nPING\r\n",
  "*0\r\nPING\r\n",
  "\r\nPING\r\n",
  'ECHO "a b\\x41\\n"\r\n',
  "ECHO 'it\\'s'\r\n",
  'ECHO "open\r\n',
  "ECHO 'a'b\r\n",
  "  PING  \n",
  "PING\r\n*1\r\n$4\r\nPING\r\nQUIT\r\n",
  "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$01\r\n",
  "*2147483648\r\n",
  "*1\r\n$536870913\r\n",
  "quit now\r\n",
  `*1\r\n$${"1".repeat(40)}\r\n`,
];

Deno.test("MemoryRedis answers broken and inline requests as redis-server does", async () => {
  await using server = await startRedis();
  for (const text of BROKEN) {
    await using client = await RawClient.connect(server.target);
    const version = await versionOf(client);
    await client.send(text);
    await client.closeWrite();
    const theirs = await client.readToEnd();
    const memory = new MemoryRedis({ nowMs: Date.now, random: () => 0 });
    const whole = textOf(memory.session().feed(latin1(text)));
    assert.equal(inVersion(version, [text.trim()], whole), theirs, JSON.stringify(text));
    const cut = memory.session();
    let replies = "";
    for (const byte of latin1(text)) replies += textOf(cut.feed(Uint8Array.of(byte)));
    assert.equal(replies, whole, `${JSON.stringify(text)} byte by byte`);
  }
});

Deno.test("MemoryRedis with a password answers as redis-server does", async () => {
  await using server = await startRedis({ args: ["--requirepass", "secret"] });
  await using client = await RawClient.connect(server.target);
  await using admin = await RawClient.connect(server.target);
  await admin.command("AUTH", "secret");
  const version = await versionOf(admin);
  // Valkey 9 asks for the password before it looks at the command.
  const [early, after] = version === "valkey 9.1"
    ? [/^-ERR (unknown command|wrong number of arguments)[^]*/, "-NOAUTH Authentication required.\r\n"]
    : [/$^/, ""];
  const session = new MemoryRedis({ nowMs: Date.now, random: () => 0, password: "secret" }).session();
  const requests = [
    ["GET", "a"],
    ["NOPE"],
    ["GET"],
    ["AUTH", "wrong"],
    ["AUTH", "me", "secret"],
    ["HELLO", "3"],
    ["AUTH", "default", "secret"],
    ["GET", "a"],
    ["AUTH", "wrong"],
    ["GET", "a"],
  ];
  for (const args of requests) {
    const bytes = request(...args);
    await client.send(bytes);
    const ours = inVersion(version, args, textOf(session.feed(bytes))).replace(early, after);
    assert.equal(ours, (await client.readReply()).text, args.join(" "));
  }
});
