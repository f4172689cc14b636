/** The smaller parts of src/protocol/memcached: numbers, base64 keys, split and join of gets, joined stats. */
import assert from "node:assert/strict";
import { latin1 as textOf } from "../../src/bytes/ascii.ts";
import { ANSWER_BAD_FORMAT_AND_BLANK, ANSWER_NONE, ANSWERS } from "../../src/protocol/memcached/answers.ts";
import { decodeKey } from "../../src/protocol/memcached/base64.ts";
import { isSigned, isUnsigned, lowBits } from "../../src/protocol/memcached/integers.ts";
import {
  firstError,
  joinedSizeMax,
  joinGet,
  type Keys,
  type Replies,
} from "../../src/protocol/memcached/join.ts";
import {
  MemcachedRequest,
  RequestScan,
  scanRequest,
  STATS_GENERAL,
  STATS_ITEMS,
  STATS_SETTINGS,
  STATS_SLABS,
} from "../../src/protocol/memcached/request.ts";
import { GetSplit, writeFragment } from "../../src/protocol/memcached/split.ts";
import { joinStats } from "../../src/protocol/memcached/stats.ts";
import { latin1 } from "../lib/bytes.ts";

const LIMITS = { keysMax: 100_000, getLineMax: 1 << 24, valueSizeMax: 1 << 30, reading: 0 };

/** Word, low 32 bits as a signed number; null if not one. As safe_strtol, safe_strtoul of a 64-bit memcached. */
const NUMBERS: readonly [string, number | null, number | null][] = [
  ["0", 0, 0],
  ["12", 12, 12],
  ["007", 7, 7],
  ["+5", 5, 5],
  ["-5", -5, null],
  ["-0", 0, 0],
  ["\t5", 5, 5],
  ["\v\f\r\n5", 5, 5],
  ["5\tjunk", 5, 5],
  ["5x", null, null],
  ["x5", null, null],
  ["- 5", null, null],
  ["+-5", null, null],
  ["-", null, null],
  ["", null, null],
  ["\t", null, null],
  ["5\0", null, null],
  ["2147483647", 2147483647, 2147483647],
  ["2147483648", -2147483648, -2147483648],
  ["4294967296", 0, 0],
  ["4294967299", 3, 3],
  ["-4294967295", 1, null],
  ["9223372036854775807", -1, -1],
  ["9223372036854775808", null, 0],
  ["-9223372036854775808", 0, null],
  ["-9223372036854775809", null, -1],
  ["18446744073709551615", null, -1],
  ["18446744073709551616", null, null],
  ["-18446744073709551615", null, 1],
  ["-18446744073709551616", null, null],
  ["99999999999999999999999999", null, null],
  ["000000000000000000000000000001", 1, 1],
  ["18446744073709551615\t-", null, null],
  ["9\t-", 9, 9],
];

Deno.test("isSigned() and isUnsigned() take what memcached's strtol does", () => {
  for (const [word, signed, unsigned] of NUMBERS) {
    const bytes = latin1(`9${word}9`);
    const end = bytes.length - 1;
    assert.equal(isSigned(bytes, 1, end) ? lowBits() | 0 : null, signed, `signed ${JSON.stringify(word)}`);
    assert.equal(
      isUnsigned(bytes, 1, end) ? lowBits() | 0 : null,
      unsigned,
      `unsigned ${JSON.stringify(word)}`,
    );
  }
});

Deno.test("decodeKey() decodes as leniently as memcached", () => {
  const cases: [string, string][] = [
    ["aGl0", "hit"],
    ["aGl0aQ==", "hiti"],
    ["aGk=", "hi"],
    ["aA==", "h"],
    ["aGl0!", "hit"],
    ["aG=0", "h`"],
    ["aGk=aGl0", "hi"],
    ["/+8A", "\xff\xef\0"],
    ["aGl", ""],
    ["!!!!", ""],
    ["====", ""],
    ["a===", ""],
    ["", ""],
  ];
  const to = new Uint8Array(250);
  for (const [text, key] of cases) {
    const bytes = latin1(`..${text}..`);
    assert.equal(textOf(to, 0, decodeKey(bytes, 2, bytes.length - 2, to)), key, text);
  }
  assert.equal(decodeKey(latin1("A".repeat(248)), 0, 248, to), 186);
});

function request(line: string): { bytes: Uint8Array; out: MemcachedRequest } {
  const bytes = latin1(line);
  const out = new MemcachedRequest();
  assert.equal(scanRequest(bytes, 0, bytes.length, LIMITS, new RequestScan(), out), bytes.length);
  return { bytes, out };
}

/** Lines by fragment, as "server: line". */
function fragments(
  line: string,
  servers: number[],
  serverCount: number,
): { lines: string[]; split: GetSplit } {
  const { bytes, out } = request(line);
  const split = new GetSplit();
  split.split(out, Int32Array.from(servers), serverCount);
  const lines = Array.from({ length: split.count }, (_, f) => {
    const to = new Uint8Array(split.sizes[f]!);
    assert.equal(writeFragment(bytes, out, split, f, to, 0), to.length);
    return `${split.servers[f]}: ${textOf(to)}`;
  });
  return { lines, split };
}

Deno.test("GetSplit.split() makes one line per server, keys in order, duplicates kept", () => {
  const cases: [string, number[], string[]][] = [
    ["get a b c a\r\n", [1, 0, 1, 1], ["1: get a c a\r\n", "0: get b\r\n"]],
    ["gets  a   b \r\n", [2, 2], ["2: gets a b\r\n"]],
    ["gat 60 a b\r\n", [0, 1], ["0: gat 60 a\r\n", "1: gat 60 b\r\n"]],
    ["gats -1 a b\n", [1, 1], ["1: gats -1 a b\r\n"]],
    ["bget a b\r\n", [0, 1], ["0: get a\r\n", "1: get b\r\n"]],
    ["get one\r\n", [2], ["2: get one\r\n"]],
  ];
  for (const [line, servers, lines] of cases) assert.deepEqual(fragments(line, servers, 3).lines, lines);
});

Deno.test("GetSplit.split() keeps gat lines short enough for every memcached, get lines whole", () => {
  const keys = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(200, "x"));
  const servers = keys.map((_, i) => i % 2);
  const gat = fragments(`gat 0 ${keys.join(" ")}\r\n`, servers, 2);
  assert.equal(gat.lines.length, 10);
  for (const line of gat.lines) assert.ok(line.length - "0: ".length - 1 <= 2048, line);
  assert.deepEqual(
    gat.lines.flatMap((line) => line.slice(3, -2).split(" ").slice(2)).sort(),
    [...keys].sort(),
  );
  assert.equal(fragments(`get ${keys.join(" ")}\r\n`, servers, 2).lines.length, 2);
});

Deno.test("GetSplit.split() takes thousands of keys over many servers", () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `key${i}`);
  const { lines, split } = fragments(`get ${keys.join(" ")}\r\n`, keys.map((_, i) => i % 300), 300);
  assert.equal(lines.length, 300);
  assert.equal(split.keyFragments[301], 1);
});

function replies(texts: string[]): Replies {
  return {
    bytes: texts.map((text) => latin1(`??${text}??`)),
    starts: texts.map(() => 2),
    ends: texts.map((text) => text.length + 2),
    count: texts.length,
  };
}

function joined(keys: string[], owners: number[], texts: string[]): string | number {
  const bytes = latin1(keys.join(""));
  let at = 0;
  const starts = Int32Array.from(keys, (key) => (at += key.length) - key.length);
  const where: Keys = {
    bytes,
    starts,
    ends: starts.map((start, i) => start + keys[i]!.length),
    first: 0,
    count: keys.length,
  };
  const all = replies(texts);
  const to = new Uint8Array(joinedSizeMax(all) + 1);
  const end = joinGet(where, Int32Array.from(owners), all, to, 1);
  return end < 0 ? end : textOf(to, 1, end);
}

const value = (key: string, data = `<${key}>`, cas = "") =>
  `VALUE ${key} 0 ${data.length}${cas}\r\n${data}\r\n`;

Deno.test("joinGet() gives hits in request order with one END", () => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((key) => value(key));
  const cases: [string[], number[], string[], string][] = [
    [["a", "b", "c", "d"], [0, 1, 0, 1], [`${a}${c}END\r\n`, `${b}${d}END\r\n`], `${a}${b}${c}${d}END\r\n`],
    [["a", "b", "c", "d"], [0, 1, 0, 1], [`${c}END\r\n`, `${b}END\r\n`], `${b}${c}END\r\n`],
    [["a", "b"], [0, 1], ["END\r\n", "END\r\n"], "END\r\n"],
    [["a", "b", "a"], [0, 1, 0], [`${a}${a}END\r\n`, "END\r\n"], `${a}${a}END\r\n`],
    [["a", "ab"], [0, 0], [`${value("ab")}END\r\n`], `${value("ab")}END\r\n`],
    [["ab", "a"], [0, 0], [`${a}END\r\n`], `${a}END\r\n`],
    [["a", "b"], [0, 1], [
      `${value("a", "VALUE b 0 1\r\nx\r\nEND\r\n")}END\r\n`,
      `${value("b", "", " 7")}END\r\n`,
    ], `${value("a", "VALUE b 0 1\r\nx\r\nEND\r\n")}${value("b", "", " 7")}END\r\n`],
  ];
  for (const [keys, owners, texts, expected] of cases) assert.equal(joined(keys, owners, texts), expected);
});

Deno.test("joinGet() names the fragment that cannot be joined", () => {
  const cases: [string[], number[], string[], number][] = [
    [["a", "b"], [0, 1], ["END\r\n", "SERVER_ERROR no\r\n"], -2],
    [["a", "b"], [0, 1], ["STORED\r\n", "END\r\n"], -1],
    // A value of another key, or one too many: not asked for.
    [["a", "b"], [0, 1], ["END\r\n", `${value("c")}END\r\n`], -2],
    [["a", "b"], [0, 1], [`${value("a")}${value("a")}END\r\n`, "END\r\n"], -1],
    [["a", "b"], [0, 0], [`${value("b")}${value("a")}END\r\n`], -1],
    // Not framed by scanReply: must not run past the end.
    [["a"], [0], ["VALUE a 0 100\r\nEND\r\n"], -1],
    [["a"], [0], ["VALUE a 0 99999999999999\r\nEND\r\n"], -1],
  ];
  for (const [keys, owners, texts, expected] of cases) assert.equal(joined(keys, owners, texts), expected);
});

Deno.test("firstError() finds the reply that spoils the joined one", () => {
  assert.equal(firstError(replies(["OK\r\n", "OK\r\n"])), -1);
  assert.equal(firstError(replies(["OK\r\n", "CLIENT_ERROR flush_all not allowed\r\n", "ERROR\r\n"])), 1);
  assert.equal(firstError(replies(["OK\r\n", "nonsense\r\n"])), 1);
});

Deno.test("joinStats() adds up, or follows its table", () => {
  const cases: [number, string[], string][] = [
    [
      STATS_GENERAL,
      [
        "STAT pid 3\r\nSTAT uptime 90\r\nSTAT time 1000\r\nSTAT version 1.6.18\r\nSTAT rusage_user 0.250000\r\n" +
        "STAT bytes_read 9007199254740993\r\nSTAT accepting_conns 1\r\nSTAT threads 4\r\nEND\r\n",
        "STAT pid 4\r\nSTAT uptime 10\r\nSTAT time 1001\r\nSTAT version 1.6.9\r\nSTAT rusage_user 1.500000\r\n" +
        "STAT bytes_read 1\r\nSTAT accepting_conns 0\r\nSTAT threads 4\r\nSTAT extra 5\r\nEND\r\n",
      ],
      "STAT pid 3\r\nSTAT uptime 10\r\nSTAT time 1001\r\nSTAT version 1.6.18\r\nSTAT rusage_user 1.750000\r\n" +
      "STAT bytes_read 9007199254740994\r\nSTAT accepting_conns 0\r\nSTAT threads 8\r\nSTAT extra 5\r\nEND\r\n",
    ],
    [STATS_ITEMS, [
      "STAT items:1:number 3\r\nSTAT items:1:age 7\r\nEND\r\n",
      "END\r\n",
      "STAT items:1:number 4\r\nSTAT items:1:age 9\r\nSTAT items:2:number 1\r\nEND\r\n",
    ], "STAT items:1:number 7\r\nSTAT items:1:age 9\r\nSTAT items:2:number 1\r\nEND\r\n"],
    [STATS_SLABS, [
      "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 5\r\nSTAT active_slabs 1\r\nEND\r\n",
      "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 6\r\nSTAT active_slabs 2\r\nEND\r\n",
    ], "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 11\r\nSTAT active_slabs 2\r\nEND\r\n"],
    [STATS_SETTINGS, [
      "STAT maxbytes 10\r\nSTAT item_size_max 8\r\nSTAT inter NULL\r\nSTAT evictions on\r\nEND\r\n",
      "STAT maxbytes 20\r\nSTAT item_size_max 4\r\nSTAT inter a b\r\nSTAT evictions off\r\nEND\r\n",
    ], "STAT maxbytes 10\r\nSTAT item_size_max 4\r\nSTAT inter NULL\r\nSTAT evictions on\r\nEND\r\n"],
  ];
  for (const [subcommand, texts, expected] of cases) {
    assert.equal(textOf(joinStats(replies(texts), subcommand)), expected);
  }
});

Deno.test("ANSWERS are lines of their own", () => {
  for (const [code, line] of ANSWERS.entries()) {
    if (code === ANSWER_NONE) continue;
    assert.match(textOf(line), code === ANSWER_BAD_FORMAT_AND_BLANK ? /^.+\r\n\r\n$/ : /^[A-Z][^\r\n]*\r\n$/);
  }
});
