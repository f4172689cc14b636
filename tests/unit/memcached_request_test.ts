/**
 * scanRequest() of src/protocol/memcached: where requests end, what is in them, what is answered without a server.
 * Every row was seen on memcached 1.6.18; tests/real/memcached_protocol_test.ts asks the server itself.
 */
import assert from "node:assert/strict";
import { latin1 as textOf } from "../../src/bytes/ascii.ts";
import { ANSWERS } from "../../src/protocol/memcached/answers.ts";
import { COMMANDS, findCommand, UNKNOWN } from "../../src/protocol/memcached/commands.ts";
import {
  BINARY_CLIENT,
  FAULT,
  MemcachedRequest,
  NEED_MORE,
  type RequestLimits,
  RequestScan,
  ROW_HTTP,
  scanRequest,
  SKIP,
} from "../../src/protocol/memcached/request.ts";
import { latin1 } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";

const LIMITS: RequestLimits = { keysMax: 100, getLineMax: 10_000, valueSizeMax: 1000, reading: 0 };
const K250 = "k".repeat(250);
const K251 = "k".repeat(251);
const SPACES = " ".repeat(2100);
const BAD = "CLIENT_ERROR bad command line format";

/** What a request says, in text; fields that say nothing are left out. */
interface Seen {
  result: number;
  name?: string;
  keys?: string[];
  data?: string;
  /** The bytes that would be forwarded, if any are cut out. */
  cut?: string;
  answer?: string;
  flags?: string;
}

function seen(input: string): Seen {
  const scan = new RequestScan();
  let out = new MemcachedRequest();
  let array: Uint8Array = new Uint8Array(0);
  let last = NEED_MORE;
  const restart = () => {
    scan.reset();
    scan.started = 0;
    out = new MemcachedRequest();
  };
  const { result, noted } = feedScan(latin1(input), (bytes, start, end) => {
    array = bytes;
    const needed = scan.needed;
    const code = scanRequest(bytes, start, end, LIMITS, scan, out);
    if (needed > 0 && end - start < needed) assert.equal(code, NEED_MORE);
    if (needed > 0 && end - start >= needed) assert.notEqual(code, NEED_MORE, "needed was not enough");
    last = code;
    if (code !== NEED_MORE) assert.deepEqual([scan.seen, scan.needed], [0, 0], "scan is reset");
    return code;
  }, {
    start0: restart,
    note: (start) => last === NEED_MORE ? {} : describe(array, start, out),
  });
  return { result, ...noted };
}

function describe(bytes: Uint8Array, start: number, out: MemcachedRequest): Omit<Seen, "result"> {
  const text: Omit<Seen, "result"> = {};
  if (out.row === ROW_HTTP) text.name = "HTTP";
  else if (out.row !== UNKNOWN) text.name = COMMANDS[out.row]!.name;
  if (out.answer !== 0) text.answer = textOf(ANSWERS[out.answer]!).trimEnd();
  if (out.keyCount > 0 && out.answer === 0) {
    text.keys = Array.from(
      { length: out.keyCount },
      (_, i) => textOf(bytes, out.wordStarts[out.keyFirst + i], out.wordEnds[out.keyFirst + i]),
    );
  }
  if (out.dataEnd > out.dataStart && out.needed <= LIMITS.valueSizeMax) {
    text.data = textOf(bytes, out.dataStart, out.dataEnd);
  }
  if (out.cutEnd > 0) text.cut = textOf(bytes, start, out.cutStart) + textOf(bytes, out.cutEnd, out.lineEnd);
  const flags = (["noreply", "quiet", "base64", "opaque", "returnsKey", "badData", "split"] as const)
    .filter((name) => out[name] === 1).join(" ");
  if (flags !== "") text.flags = flags;
  return text;
}

/** Input, and what is seen of it; `result` is all of the input unless given. */
const CASES: readonly [string, Partial<Seen>][] = [
  ["get a\r\n", { name: "get", keys: ["a"] }],
  ["get a\n", { name: "get", keys: ["a"] }],
  ["  get  a  \r\n", { name: "get", keys: ["a"] }],
  ["gets a b a\r\n", { name: "gets", keys: ["a", "b", "a"], flags: "split" }],
  ["gat 0 a\r\n", { name: "gat", keys: ["a"] }],
  ["gats -1 a b\r\n", { name: "gats", keys: ["a", "b"], flags: "split" }],
  ["bget a b\r\n", { name: "bget", keys: ["a", "b"], flags: "split" }],
  ["get a\tb\r\n", { name: "get", keys: ["a\tb"] }],
  ["get a\r\r\n", { name: "get", keys: ["a\r"] }],
  ["get a\0 b\r\n", { name: "get", answer: BAD }],
  ["get \xff\r\n", { name: "get", keys: ["\xff"] }],
  [`get ${K250}\r\n`, { name: "get", keys: [K250] }],
  [`get a ${K251}\r\n`, { name: "get", answer: BAD }],
  ["get\r\n", { name: "get", answer: "ERROR" }],
  ["gat 0\r\n", { name: "gat", answer: "END" }],
  ["gat x k\r\n", { name: "gat", answer: "CLIENT_ERROR invalid exptime argument" }],
  [`get${" k".repeat(101)}\r\n`, { name: "get", answer: "CLIENT_ERROR too many keys in one request" }],
  [`get${SPACES}k\r\n`, { name: "get", keys: ["k"], flags: "split" }],
  [`gat 0${SPACES}k\r\n`, { name: "gat", keys: ["k"], flags: "split" }],
  [`${SPACES}get k\r\n`, { result: FAULT, answer: "CLIENT_ERROR line too long" }],
  [`mg k${SPACES}v\r\n`, { result: FAULT, answer: "CLIENT_ERROR line too long" }],
  [`get${SPACES.repeat(5)}k\r\n`, { result: FAULT, answer: "CLIENT_ERROR line too long" }],
  ["x".repeat(2049), { result: FAULT, answer: "CLIENT_ERROR line too long" }],
  ["x".repeat(2047) + "\r\n", { answer: "ERROR" }],
  ["\x80", { result: BINARY_CLIENT }],

  ["set a 1 0 3\r\nabc\r\n", { name: "set", keys: ["a"], data: "abc" }],
  ["set a 1 0 3\nabc\r\n", { name: "set", keys: ["a"], data: "abc" }],
  ["set a 1 0 0\r\n\r\n", { name: "set", keys: ["a"] }],
  ["add a 1 0 5\r\na\r\nbc\r\n", { name: "add", keys: ["a"], data: "a\r\nbc" }],
  ["replace a 1 0 1 noreply\r\nx\r\n", {
    name: "replace",
    keys: ["a"],
    data: "x",
    cut: "replace a 1 0 1\r\n",
    flags: "noreply",
  }],
  ["append a 1 0 1   noreply \r\nx\r\n", {
    name: "append",
    keys: ["a"],
    data: "x",
    cut: "append a 1 0 1 \r\n",
    flags: "noreply",
  }],
  ["prepend a 1 0 1 noreply\0\r\nx\r\n", {
    name: "prepend",
    answer: BAD,
    data: "x",
    cut: "prepend a 1 0 1\0\r\n",
    flags: "noreply",
  }],
  ["set a 1 0 1 other\r\nx\r\n", { name: "set", keys: ["a"], data: "x" }],
  ["set a -1 0 1\r\n", { name: "set", answer: BAD }],
  ["set a 1 0 -1\r\n", { name: "set", answer: BAD }],
  ["set a 1 0 1x\r\n", { name: "set", answer: BAD }],
  // What 1.6.18 takes and 1.6.40 does not is answered here; the data block goes with it, as 1.6.18 would have it.
  ["set a 4294967295 -2147483647 1\r\nx\r\n", { name: "set", keys: ["a"], data: "x" }],
  ["cas a 1 0 1 18446744073709551615\r\nx\r\n", { name: "cas", keys: ["a"], data: "x" }],
  ...["\t1", "+1", "1\t", "1\r", "1\0", "4294967297", "0000000000001"].flatMap((
    length,
  ): [string, Partial<Seen>][] => [
    [`set a 1 0 ${length}\r\nx\r\n`, { name: "set", answer: BAD, data: "x" }],
    [`ms a ${length}\r\nx\r\n`, { name: "ms", answer: BAD, data: "x" }],
  ]),
  ...["+1", "1\t", "4294967296", "-0"].map((flags): [string, Partial<Seen>] => [
    `set a ${flags} 0 1\r\nx\r\n`,
    { name: "set", answer: BAD, data: "x" },
  ]),
  ["set a 1 4294967296 1\r\nx\r\n", { name: "set", answer: BAD, data: "x" }],
  ["cas a 1 0 1 +1\r\nx\r\n", { name: "cas", answer: BAD, data: "x" }],
  ["set a\0b 1 0 1\r\n", { name: "set", answer: "ERROR" }],
  ["ms a 1 !\r\nx\r\n", { name: "ms", answer: "CLIENT_ERROR invalid flag", data: "x" }],
  ["ms a 1 7\r\nx\r\n", { name: "ms", answer: "CLIENT_ERROR invalid flag", data: "x" }],
  ["ms a 1 \xff\r\nx\r\n", { name: "ms", answer: "CLIENT_ERROR duplicate flag", data: "x" }],
  ["ms a 1 T1 T2\r\nx\r\n", { name: "ms", answer: "CLIENT_ERROR duplicate flag", data: "x" }],
  ["ms a 1 c C1 T1\r\nx\r\n", { name: "ms", keys: ["a"], data: "x" }],
  ["  set a 1 0 1\r\nx\r\n", { name: "set", keys: ["a"], data: "x" }],
  ["gat +1 a\r\n", { name: "gat", answer: "CLIENT_ERROR invalid exptime argument" }],
  ["bget a\r\n", { name: "bget", keys: ["a"], flags: "split" }],
  ["set a 1 0 2147483646\r\n", { name: "set", answer: BAD }],
  ["set a 1 0 noreply\r\n", { name: "set", answer: BAD, cut: "set a 1 0\r\n", flags: "noreply" }],
  [`set ${K251} 1 0 1\r\n`, { name: "set", answer: BAD }],
  ["set a 1 0\r\n", { name: "set", answer: "ERROR" }],
  ["set a 1 0 1 noreply x\r\n", { name: "set", answer: "ERROR" }],
  ["set a 1 0 3\r\nabcde", { name: "set", keys: ["a"], data: "abc", flags: "badData" }],
  ["set a 1 0 1001\r\n", { result: SKIP, name: "set", answer: "SERVER_ERROR object too large for cache" }],
  ["cas a 1 0 1 7\r\nx\r\n", { name: "cas", keys: ["a"], data: "x" }],
  ["cas a 1 0 1 7 noreply\r\nx\r\n", {
    name: "cas",
    keys: ["a"],
    data: "x",
    cut: "cas a 1 0 1 7\r\n",
    flags: "noreply",
  }],
  ["cas a 1 0 1 -1\r\n", { name: "cas", answer: BAD }],
  ["cas a 1 0 1\r\n", { name: "cas", answer: "ERROR" }],
  ["cas a 1 0 1 noreply\r\n", { name: "cas", answer: BAD, cut: "cas a 1 0 1\r\n", flags: "noreply" }],

  ["delete a\r\n", { name: "delete", keys: ["a"] }],
  ["delete a 0\r\n", { name: "delete", keys: ["a"] }],
  ["delete noreply\r\n", { name: "delete", answer: BAD }],
  ["delete noreply noreply\r\n", {
    name: "delete",
    answer: BAD,
    cut: "delete noreply\r\n",
    flags: "noreply",
  }],
  ["delete a 0 noreply\r\n", { name: "delete", keys: ["a"], cut: "delete a 0\r\n", flags: "noreply" }],
  ["delete a 1\r\n", { name: "delete", answer: `${BAD}.  Usage: delete <key> [noreply]` }],
  ["delete a 0 0 0\r\n", { name: "delete", answer: "ERROR" }],
  ["incr a 1\r\n", { name: "incr", keys: ["a"] }],
  ["incr a x\r\n", { name: "incr", keys: ["a"] }],
  ["decr a 1 noreply\r\n", { name: "decr", keys: ["a"], cut: "decr a 1\r\n", flags: "noreply" }],
  ["touch a 1\r\n", { name: "touch", keys: ["a"] }],
  ["touch a noreply\r\n", { name: "touch", answer: BAD, cut: "touch a\r\n", flags: "noreply" }],
  ["touch a\r\n", { name: "touch", answer: "ERROR" }],

  ["mg a\r\n", { name: "mg", keys: ["a"] }],
  ["mg a v q O9 k\r\n", {
    name: "mg",
    keys: ["a"],
    cut: "mg a v O9 k\r\n",
    flags: "quiet opaque returnsKey",
  }],
  ["mg a qx\r\n", { name: "mg", keys: ["a"], cut: "mg a\r\n", flags: "quiet" }],
  ["mg YQ== v b\r\n", { name: "mg", keys: ["YQ=="], flags: "base64" }],
  ["mg a z\r\n", { name: "mg", keys: ["a"] }],
  ["mg a q q\r\n", { name: "mg", answer: "CLIENT_ERROR duplicate flag" }],
  ["mg a z q q\r\n", { name: "mg", answer: "CLIENT_ERROR invalid flag" }],
  ["md a q q\r\n", { name: "md", answer: "CLIENT_ERROR invalid or duplicate flag" }],
  [`mg ${K251} q\r\n`, { name: "mg", answer: BAD }],
  ["mg\r\n", { name: "mg", answer: "ERROR" }],
  [`mg a${" v".repeat(18)}\r\n`, { name: "mg", answer: "CLIENT_ERROR options flags are too long" }],
  [`ma a${" v".repeat(18)}\r\n`, { name: "ma", answer: "CLIENT_ERROR options flags too long" }],
  ["ms a 3 q T0\r\nabc\r\n", { name: "ms", keys: ["a"], data: "abc", cut: "ms a 3 T0\r\n", flags: "quiet" }],
  ["ms a 3 q q\r\nabc\r\n", { name: "ms", answer: "CLIENT_ERROR duplicate flag", data: "abc" }],
  ["ms a 3 z\r\nabc\r\n", { name: "ms", keys: ["a"], data: "abc" }],
  ["ms a q\r\n", { name: "ms", answer: BAD }],
  ["ms a\r\n", { name: "ms", answer: BAD }],
  [`ms a 1${" v".repeat(17)}\r\n`, { name: "ms", answer: "CLIENT_ERROR options flags too long" }],
  ["me a\r\n", { name: "me", keys: ["a"] }],
  ["me YQ== b\r\n", { name: "me", keys: ["YQ=="], flags: "base64" }],
  ["me\r\n", { name: "me", answer: BAD }],
  ["mn\r\n", { name: "mn", answer: "MN" }],
  ["mn x\r\n", { name: "mn", answer: "MN" }],

  ["version x\r\n", { name: "version" }],
  ["verbosity 1\r\n", { name: "verbosity", answer: "OK" }],
  ["verbosity 1 noreply\r\n", { name: "verbosity", answer: "OK", cut: "verbosity 1\r\n", flags: "noreply" }],
  ["verbosity x\r\n", { name: "verbosity", answer: BAD }],
  ["quit\r\n", { name: "quit" }],
  ["flush_all\r\n", { name: "flush_all" }],
  ["flush_all 3 noreply\r\n", { name: "flush_all", cut: "flush_all 3\r\n", flags: "noreply" }],
  ["flush_all x\r\n", { name: "flush_all", answer: "CLIENT_ERROR invalid exptime argument" }],
  ["stats\r\n", { name: "stats" }],
  ["stats proxy\r\n", { name: "stats" }],
  ["stats nonsense\r\n", { name: "stats", answer: "ERROR" }],
  ["stats sizes_enable\r\n", { name: "stats", answer: textOf(ANSWERS[19]!).trimEnd() }],
  ["shutdown\r\n", { name: "shutdown", answer: "ERROR: shutdown not enabled" }],
  ["watch\r\n", { name: "watch", answer: "CLIENT_ERROR watch commands not allowed" }],
  ["cache_memlimit\r\n", { name: "cache_memlimit", answer: "ERROR" }],
  ["slabs automove 1\r\n", { name: "slabs", answer: textOf(ANSWERS[18]!).trimEnd() }],

  ["\r\n", { answer: "ERROR" }],
  ["\n", { answer: "ERROR" }],
  ["\0\r\n", { answer: "ERROR" }],
  ["GET a\r\n", { answer: "ERROR" }],
  ["m\r\n", { answer: "ERROR" }],
  ["mx a\r\n", { answer: "ERROR" }],
  ["GET / HTTP/1.1\r\n", { name: "HTTP" }],
  ["POST / HTTP/1.1\r\n", { name: "HTTP" }],
  ["pOsT\r\n", { name: "HTTP" }],
  ["Host: x:11211\r\n", { name: "HTTP" }],
  ["  hosT:\0 x\n", { name: "HTTP" }],
  ["Host:x\r\n", { answer: "ERROR" }],
  ["POSTS\r\n", { answer: "ERROR" }],
  ["get / HTTP/1.1\r\n", { name: "get", keys: ["/", "HTTP/1.1"], flags: "split" }],
  ["gx HTTP/1.1\r\n", { answer: "ERROR" }],
];

for (const [input, expected] of CASES) {
  const name = input.length > 60 ? `${input.slice(0, 40)}… (${input.length})` : input;
  Deno.test(`scanRequest() reads ${JSON.stringify(name)}`, () => {
    assert.deepEqual(seen(input), { result: input.length, ...expected });
  });
}

Deno.test("scanRequest() asks for more at every prefix of a request", () => {
  for (const input of ["get a b\r\n", "set a 0 0 3 noreply\r\nabc\r\n", "ms a 3 q\r\na\r\n\r\n", "mn\r\n"]) {
    for (let size = 0; size < input.length; size++) {
      assert.equal(seen(input.slice(0, size)).result, NEED_MORE, input.slice(0, size));
    }
  }
});

Deno.test("scanRequest() knows from the line on how much a set needs and where it goes", () => {
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  const bytes = latin1("xxset key 0 0 900 noreply\r\nabc");
  assert.equal(scanRequest(bytes, 2, bytes.length, LIMITS, scan, out), NEED_MORE);
  assert.equal(scan.needed, 25 + 900 + 2);
  assert.equal(out.needed, scan.needed);
  assert.equal(textOf(bytes, out.wordStarts[out.keyFirst], out.wordEnds[out.keyFirst]), "key");
  assert.equal(out.noreply, 1);
});

Deno.test("scanRequest() takes the binary protocol's first byte for text after a first request", () => {
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  const bytes = latin1("mn\r\n\x80\r\n");
  assert.equal(scanRequest(bytes, 0, bytes.length, LIMITS, scan, out), 4);
  assert.equal(scanRequest(bytes, 4, bytes.length, LIMITS, scan, out), 7);
  assert.equal(textOf(ANSWERS[out.answer]!), "ERROR\r\n");
});

Deno.test("findCommand() finds every row by its name and nothing else", () => {
  for (let row = 0; row < COMMANDS.length; row++) {
    const name = latin1(COMMANDS[row]!.name);
    assert.equal(findCommand(name, 0, name.length), row);
    assert.equal(findCommand(name, 0, name.length - 1), name.length > 1 ? findPrefix(name) : UNKNOWN);
  }
  assert.equal(findCommand(latin1(""), 0, 0), UNKNOWN);
});

/** "get" is a prefix of "gets". */
function findPrefix(name: Uint8Array): number {
  return COMMANDS.findIndex((command) => command.name === textOf(name, 0, name.length - 1));
}
