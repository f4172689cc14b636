/**
 * What a redis-server makes of lines and of broken requests, compared with the scanners: inline quoting must be the
 * same to the last byte; for broken requests the table says which of Redis' texts we share and where we are stricter.
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Args } from "../../src/protocol/redis/args.ts";
import { inlineToArray, scanInline } from "../../src/protocol/redis/inline.ts";
import {
  BAD_QUOTES,
  INLINE,
  NEED_MORE,
  requestError,
  RequestResume,
  scanRequest,
} from "../../src/protocol/redis/request.ts";
import { isPush, ReplyResume, scanReply } from "../../src/protocol/redis/reply.ts";
import { concat, latin1, request, show, textOf } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { ReplyError } from "../lib/resp.ts";
import { type Version, versionOf } from "../lib/versions.ts";

const LIMITS = { requestSizeMax: 2 ** 29, argumentsMax: 2 ** 20 };

/** The words that we find in a line; null for unbalanced quotes. */
function wordsOf(line: string): string[] | null {
  const bytes = latin1(line);
  strictEqual(scanInline(bytes, 0, bytes.length, 0), bytes.length);
  const array = inlineToArray(bytes, 0, bytes.length);
  if (array === BAD_QUOTES) return null;
  if (array.length === 0) return [];
  const args = new Args();
  strictEqual(scanRequest(array, 0, array.length, args, LIMITS, new RequestResume()), array.length);
  return Array.from({ length: args.count }, (_, i) => textOf(array, args.starts[i], args.ends[i]));
}

// No NUL: Redis 7.0 looks for the line's end with strchr, so it would wait for ever.
const PIECES = [
  ..."ab01xn\\\\\\\\\"\"\"'''   \t\r\v\f",
  "\\x41",
  "\\xfF",
  "\\x4",
  "\\n",
  "\\'",
  '\\"',
  '" ',
  "' ",
  ' "',
  " '",
  "\x01",
  "\x80",
  "\xff",
];

Deno.test("inlineToArray() finds the same words as redis-server in 2,000 random lines", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  let client = await f.client(redis);
  const version = await versionOf(client);
  // Valkey 9 reads quotes inside words otherwise (the test below), drops bytes 0xff that are not escaped, and has fewer blanks.
  const looser = version === "valkey 9.1";
  const pieces = looser ? PIECES.filter((piece) => !"\xff\v\f".includes(piece)) : PIECES;
  const random = new Random(1);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    let words = "";
    for (let n = random.below(12); n >= 0; n--) words += random.pick(pieces);
    const line = `EVAL "return ARGV" 0 ${words}${random.pick(["\n", "\r\n"])}`;
    const ours = wordsOf(line);
    await client.send(line);
    const { value, raw } = await client.readReply();
    const what = `line ${i} of seed 1: ${JSON.stringify(line)}`;
    if (value instanceof ReplyError) {
      strictEqual(textOf(raw), `-ERR ${requestError(BAD_QUOTES, LIMITS)}\r\n`, what);
      if (!looser) strictEqual(ours, null, what);
      await client.readToEnd();
      client.close();
      client = await f.client(redis);
      refused++;
    } else if (!looser || !/[^\s]['"]|['"][^\s]/.test(words)) {
      deepStrictEqual(ours?.slice(3), elementsOf(raw), what);
    }
  }
  // Both kinds must have been seen, or the comparison is worth little.
  if (!looser && (refused < 200 || refused > 1800)) throw new Error(`${refused} of 2000 lines were refused`);
});

Deno.test("where a word goes on behind a quote: Redis and we refuse the line, Valkey 9 takes it", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  const version = await versionOf(await f.client(redis));
  const lines: [words: string, valkey: string[]][] = [["'a'b", ["ab"]], ['"a"b', ["ab"]], ['a"b c"d', [
    "ab cd",
  ]]];
  for (const [words, valkey] of lines) {
    const line = `EVAL "return ARGV" 0 ${words}\r\n`;
    const client = await f.client(redis);
    await client.send(line);
    const { text, raw } = await client.readReply();
    if (version === "valkey 9.1") deepStrictEqual(elementsOf(raw), valkey, line);
    else strictEqual(text, `-ERR ${requestError(BAD_QUOTES, LIMITS)}\r\n`, line);
    strictEqual(wordsOf(line), null, line);
  }
});

/** The bulks of an array reply, one character a byte. */
function elementsOf(raw: Uint8Array): string[] {
  const args = new Args();
  strictEqual(scanRequest(raw, 0, raw.length, args, LIMITS, new RequestResume()), raw.length);
  return Array.from({ length: args.count }, (_, i) => textOf(raw, args.starts[i], args.ends[i]));
}

/** Ours is what the scanner says; Redis' is what comes back before the connection closes. */
interface Broken {
  name: string;
  bytes: string;
  /** Redis' text without "-ERR " and CRLF; null if Redis takes the request (and answers PONG after it). */
  redis: string | null;
  /** Ours, if it is another one. */
  ours?: string;
  /** Of newer servers, where it is another than `redis`; "" if it waits for more. */
  newer?: Partial<Record<Version, string>>;
}

const COUNT = "Protocol error: invalid multibulk length";
const LENGTH = "Protocol error: invalid bulk length";
const TYPE = "Protocol error: expected '$' before an argument";
const END = "Protocol error: expected CRLF after an argument";
/** Valkey 9 looks at the two bytes, too. */
const CRLF = { "valkey 9.1": "Protocol error: invalid CRLF in request" };
const PING = "*1\r\n$4\r\nPING\r\n";

const BROKEN: Broken[] = [
  { name: "count without digits", bytes: "*\r\n", redis: COUNT },
  { name: "count of a letter", bytes: "*x\r\n", redis: COUNT },
  { name: "count with a plus", bytes: "*+1\r\n", redis: COUNT },
  { name: "count with a leading zero", bytes: "*01\r\n", redis: COUNT },
  { name: "count of 11 digits", bytes: "*12345678901\r\n", redis: COUNT },
  {
    name: "count above 2^31",
    bytes: "*2147483648\r\n",
    redis: COUNT,
    ours: "Protocol error: too many arguments (max_arguments is 1048576)",
  },
  { name: "length without digits", bytes: "*1\r\n$\r\n", redis: LENGTH },
  { name: "length of -1", bytes: "*1\r\n$-1\r\n", redis: LENGTH },
  { name: "length with a plus", bytes: "*1\r\n$+4\r\n", redis: LENGTH },
  { name: "length with a leading zero", bytes: "*1\r\n$04\r\n", redis: LENGTH },
  { name: "length with a letter", bytes: "*1\r\n$4x\r\n", redis: LENGTH },
  // Ours does not quote the client's byte.
  {
    name: "an integer as argument",
    bytes: "*1\r\n:4\r\n",
    redis: "Protocol error: expected '$', got ':'",
    ours: TYPE,
  },
  {
    name: "an array as argument",
    bytes: "*1\r\n*1\r\n",
    redis: "Protocol error: expected '$', got '*'",
    ours: TYPE,
  },
  {
    name: "length above proto-max-bulk-len",
    bytes: "*1\r\n$536870913\r\n",
    redis: LENGTH,
    ours: "Protocol error: request too large (max_request_size is 536870912 bytes)",
  },
  { name: "unbalanced quotes", bytes: 'SET a "b\r\n', redis: "Protocol error: unbalanced quotes in request" },
  {
    name: "an inline command of 80 KiB",
    bytes: "a".repeat(80 * 1024),
    redis: "Protocol error: too big inline request",
  },
  // A line of digits without end: Redis waits for 64 KiB of it and then has words of its own.
  {
    name: "count of 80 KiB",
    bytes: `*${"1".repeat(80 * 1024)}`,
    redis: "Protocol error: too big mbulk count string",
    ours: COUNT,
  },
  {
    name: "length of 80 KiB",
    bytes: `*1\r\n$${"1".repeat(80 * 1024)}`,
    redis: "Protocol error: too big bulk count string",
    ours: LENGTH,
    newer: { "redis 8.6": "" },
  },
  // Here we are stricter, since we forward what we take: Redis skips two bytes after an argument and the one after a
  // CR unseen. twemproxy refuses these as well.
  { name: "an argument that ends in xx", bytes: "*1\r\n$4\r\nPINGxx", redis: null, ours: END, newer: CRLF },
  { name: "a count that ends in CR x", bytes: "*1\rx$4\r\nPING\r\n", redis: null, ours: COUNT, newer: CRLF },
  {
    name: "a length that ends in CR x",
    bytes: "*1\r\n$4\rxPING\r\n",
    redis: null,
    ours: LENGTH,
    newer: CRLF,
  },
  // And here both go on: no arguments, no reply.
  { name: "no arguments", bytes: `*0\r\n${PING}`, redis: null },
  { name: "-1 arguments", bytes: `*-1\r\n${PING}`, redis: null },
  { name: "empty lines", bytes: `\r\n\n  \r\n${PING}`, redis: null },
];

Deno.test("scanRequest() and redis-server on broken requests", async (t) => {
  await using f = new Fixture();
  const server = await f.redis();
  const version = await versionOf(await f.client(server));
  for (const { name, bytes, redis: old, ours, newer } of BROKEN) {
    await t.step(name, async () => {
      strictEqual(verdict(latin1(bytes)), ours ?? old);
      const redis = newer?.[version] ?? old;
      const client = await f.client(server);
      await client.send(bytes);
      if (redis === null) strictEqual(await client.readLine(), "+PONG");
      else if (redis === "") {
        await client.closeWrite();
        strictEqual(await client.readToEnd(), "");
      } else strictEqual(await client.readToEnd(), `-ERR ${redis}\r\n`);
      client.close();
    });
  }
});

/** The error text for the first broken request in `bytes`; null if there is none. */
function verdict(bytes: Uint8Array): string | null {
  const args = new Args();
  for (let at = 0; at < bytes.length;) {
    let next = scanRequest(bytes, at, bytes.length, args, LIMITS, new RequestResume());
    if (next === INLINE) {
      const line = scanInline(bytes, at, bytes.length, at);
      next = line > 0 && inlineToArray(bytes, at, line) === BAD_QUOTES ? BAD_QUOTES : line;
    }
    if (next === NEED_MORE) throw new Error(`incomplete at ${at}`);
    if (next < 0) return requestError(next, LIMITS);
    at = next;
  }
  return null;
}

/** Requests whose replies are of every type a redis-server has; the pushes and attributes among them are its own. */
const ALL_TYPES: string[][] = [
  ...[
    "string",
    "integer",
    "double",
    "null",
    "array",
    "set",
    "map",
    "attrib",
    "push",
    "verbatim",
    "true",
    "false",
    "bignum",
  ]
    .map((type) => ["DEBUG", "PROTOCOL", type]),
  ["NOSUCHCOMMAND"],
  ["GET", "missing"],
  ["HSET", "h", "a", "1", "b", ""],
  ["HGETALL", "h"],
  ["CONFIG", "GET", "*"],
  ["COMMAND"],
  ["INFO"],
  ["MULTI"],
  ["SUBSCRIBE", "x"],
  ["UNSUBSCRIBE", "x"],
  ["EXEC"],
  ["EVAL", "return redis.status_reply(string.rep('x', 3000000))", "0"],
  ["EVAL", "return redis.error_reply(string.rep('x', 3000000))", "0"],
  ["EVAL", "return {1, {2, {}, {3}}, false, 'x', redis.error_reply('a\\r\\nb')}", "0"],
  ["EVAL", "redis.setresp(3); return {{double=1/3}, {double=1/0}, {map={a=1}}, {set={b=true}}, true}", "0"],
];

for (const version of ["2", "3"]) {
  Deno.test(`scanReply() finds the end of every type of reply of redis-server in RESP${version}`, async () => {
    await using f = new Fixture();
    const server = await f.redis({ args: ["--enable-debug-command", "yes"] });
    const client = await f.client(server);
    const requests = [["HELLO", version], ...ALL_TYPES, ["ECHO", "the last reply"]];
    await client.send(concat(requests.map((words) => request(...words))));
    const bytes = latin1(await client.readUntil("the last reply\r\n"));
    let replies = 0;
    let pushes = 0;
    let last = 0;
    for (let at = 0; at < bytes.length;) {
      const end = scanReply(bytes, at, bytes.length, new ReplyResume());
      if (end < 0) throw new Error(`reply ${replies}: ${end} at ${show(bytes.subarray(at), 300)}`);
      if (isPush(bytes, at)) pushes++;
      else replies++;
      last = at;
      at = end;
    }
    strictEqual(textOf(bytes, last), "$14\r\nthe last reply\r\n");
    // DEBUG PROTOCOL push sends one before its reply. Those of SUBSCRIBE are inside EXEC's array, as its elements; a
    // message published to oneself would be there too, beyond the count: there Redis breaks its own framing.
    strictEqual(pushes, version === "3" ? 1 : 0);
    strictEqual(replies, requests.length);
  });
}
