/**
 * The binary protocol of src/protocol/memcached: where packets end and what they ask, the lines that servers are asked instead, and what
 * is read out of their replies. Every row was seen on memcached 1.6.18; tests/real/memcached_binary_test.ts asks the server itself.
 */
import assert from "node:assert/strict";
import {
  ASKS,
  NEED_MORE,
  OPCODES,
  Packet,
  PACKET_FAULT,
  PACKET_SKIP,
  scanPacket,
} from "../../src/protocol/memcached/binary.ts";
import {
  KEY_BASE64,
  KEY_PLAIN,
  KEY_UNSAYABLE,
  keyForm,
  LINE_SIZE_MAX,
  writeLine,
} from "../../src/protocol/memcached/binary_lines.ts";
import { readReply, said } from "../../src/protocol/memcached/binary_replies.ts";
import {
  statPackets,
  STATS_REFUSED,
  STATS_UNKNOWN,
  statsNamed,
} from "../../src/protocol/memcached/binary_stats.ts";
import { decodeKey, encodeKey } from "../../src/protocol/memcached/base64.ts";
import { read, readUint64, writeUint64 } from "../../src/protocol/memcached/uint64.ts";
import { addExtras, allSaid, type Ask, number, packet, storeExtras } from "../lib/binary.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";

const VALUE_MAX = 1000;
const K250 = "k".repeat(250);

function scanned(text: string): { result: number; noted: string } {
  const out = new Packet();
  let last = NEED_MORE;
  let array = new Uint8Array(0);
  return feedScan(latin1(text), (bytes, start, end) => {
    array = bytes as Uint8Array<ArrayBuffer>;
    last = scanPacket(bytes, start, end, VALUE_MAX, out);
    if (last === NEED_MORE) assert.ok(out.needed > end - start, "needed was not enough");
    return last;
  }, {
    note: (start) => {
      if (last === PACKET_FAULT) return `fault ${out.fault}`;
      if (last === PACKET_SKIP) return `skip ${out.needed}`;
      if (last === NEED_MORE) return "more";
      return `${out.asks} ${textOf(array, out.key, out.keyEnd)} ${out.end - out.keyEnd} ${
        out.extras - start
      }`;
    },
  });
}

const SHAPES: readonly [why: string, ask: Ask, noted: string][] = [
  ["a get", { opcode: 0, key: "k" }, "1 k 0 24"],
  ["data type and vbucket do not matter", { opcode: 0, key: "k", dataType: 5, vbucket: 7 }, "1 k 0 24"],
  ["the longest key", { opcode: 0x0d, key: K250 }, `1 ${K250} 0 24`],
  ["a key too long", { opcode: 0, key: "k".repeat(251) }, "fault 4"],
  ["no key", { opcode: 0 }, "fault 4"],
  ["extras where none belong", { opcode: 0, key: "k", extras: "\0" }, "fault 4"],
  ["a value where none belongs", { opcode: 4, key: "k", value: "v" }, "fault 4"],
  ["a set", { opcode: 1, key: "k", extras: storeExtras(), value: "abc" }, "4 k 3 24"],
  ["a set without extras", { opcode: 1, key: "k", value: "abc" }, "fault 4"],
  ["an append with extras", { opcode: 0x0e, key: "k", extras: storeExtras(), value: "abc" }, "fault 4"],
  ["an incr", { opcode: 5, key: "k", extras: addExtras(1) }, "8 k 0 24"],
  ["an incr with a value", { opcode: 5, key: "k", extras: addExtras(1), value: "v" }, "fault 4"],
  ["a noop with a body", { opcode: 0x0a, key: "k" }, "fault 4"],
  ["a flush with a time", { opcode: 8, extras: number(9, 4) }, "11  0 24"],
  ["a flush with two bytes", { opcode: 8, extras: "\0\0" }, "fault 4"],
  ["a key that is longer than the body", { opcode: 0, key: "kk", lies: { bodySize: 1 } }, "fault 129"],
  ["extras that are longer than the body", {
    opcode: 1,
    key: "k",
    extras: storeExtras(),
    lies: { bodySize: 8 },
  }, "fault 129"],
  ["another magic", { opcode: 0, key: "k", lies: { magic: 0x81 } }, "fault 0"],
  [
    "a value over the limit",
    { opcode: 1, key: "k", extras: storeExtras(), value: "v".repeat(1001) },
    "skip 1034",
  ],
  ["4 GB", { opcode: 1, key: "k", extras: storeExtras(), lies: { bodySize: 0xffffffff } }, "fault 3"],
  ["an unknown opcode", { opcode: 0x30, key: "k", value: "v" }, "0 k 1 24"],
  ["an unknown opcode with a key too long", { opcode: 0x30, key: "k".repeat(251) }, "fault 4"],
];

for (const [why, ask, noted] of SHAPES) {
  Deno.test(`scanPacket(): ${why}`, () => {
    const text = packet(ask);
    const { result, noted: actual } = scanned(text);
    assert.equal(actual, noted);
    if (result >= 0) assert.equal(result, text.length);
  });
}

Deno.test("scanPacket() waits for as much as memcached before it judges: the header, extras and key", () => {
  assert.equal(
    scanned(packet({ opcode: 0, key: "k".repeat(300), lies: { extrasSize: 9 } }).slice(0, 300)).noted,
    "more",
  );
  assert.equal(scanned("\x80\0").noted, "more");
});

Deno.test("every opcode that memcached knows is in the table once", () => {
  assert.equal(new Set(OPCODES.map(({ code }) => code)).size, OPCODES.length);
  for (let code = 0; code < 256; code++) {
    const known = code <= 0x1a || code >= 0x1c && code <= 0x1e || code >= 0x20 && code <= 0x24;
    assert.equal(ASKS[code] !== 0, known, code.toString(16));
  }
});

const LINES: readonly [ask: Ask, line: string][] = [
  [{ opcode: 0x00, key: "a b" }, "mg YSBi b v f c"],
  [{ opcode: 0x1d, key: "k", extras: number(60, 4) }, "gats 60 k"],
  [{ opcode: 0x23, key: "\0", extras: number(60, 4) }, "mg AA== b v f c T60"],
  [{ opcode: 0x1d, key: "k", extras: number(0x80000000, 4) }, "gats 0 k"],
  [{ opcode: 0x1c, key: "k", extras: number(0x7fffffff, 4) }, "mg k f c T2147483647"],
  [{ opcode: 0x01, key: "k", extras: storeExtras(), value: "abc" }, "ms k 3 c"],
  [{ opcode: 0x11, key: "k", extras: storeExtras(0xffffffff, 60), value: "" }, "ms k 0 c F4294967295 T60"],
  [{ opcode: 0x02, key: "k", extras: storeExtras(), value: "abc" }, "ms k 3 c ME"],
  [{ opcode: 0x13, key: " ", extras: storeExtras(), value: "abc" }, "ms IA== 3 b c MR"],
  [{ opcode: 0x02, key: "k", extras: storeExtras(), cas: 2n ** 64n - 1n }, "ms k 0 c C18446744073709551615"],
  [{ opcode: 0x0e, key: "k", value: "x", cas: 7n }, "ms k 1 c MA C7"],
  [{ opcode: 0x1a, key: "k", value: "x" }, "ms k 1 c MP"],
  [{ opcode: 0x04, key: "k" }, "md k"],
  [{ opcode: 0x14, key: "k\r", cas: 5n }, "md aw0= b C5"],
  [{ opcode: 0x05, key: "k", extras: addExtras(2, 10, 0) }, "ma k v c D2 N0 J10"],
  [
    { opcode: 0x16, key: "k", extras: addExtras(2n ** 63n, 2n ** 64n - 1n, 60), cas: 1n },
    `ma k v c MD D${2n ** 63n} N60 J${2n ** 64n - 1n} C1`,
  ],
  [{ opcode: 0x05, key: "k", extras: addExtras(1, 5, 0xffffffff) }, "ma k v c D1"],
  [{ opcode: 0x05, key: "k", extras: addExtras(1, 5, 0xfffffffe) }, "ma k v c D1 N0 J5"],
];

for (const [ask, line] of LINES) {
  Deno.test(`writeLine(): ${line}`, () => {
    const bytes = latin1(`xx${packet(ask)}`);
    const out = new Packet();
    assert.equal(scanPacket(bytes, 2, bytes.length, VALUE_MAX, out), bytes.length);
    const to = new Uint8Array(LINE_SIZE_MAX);
    const end = writeLine(bytes, out, keyForm(bytes, out.key, out.keyEnd), to);
    assert.equal(textOf(to, 0, end), `${line}\r\n`);
  });
}

Deno.test("the longest line fits", () => {
  const to = new Uint8Array(LINE_SIZE_MAX);
  for (const key of [K250, "\0".repeat(186)]) {
    const extras = addExtras(2n ** 64n - 1n, 2n ** 64n - 1n, 0x7fffffff);
    const bytes = latin1(packet({ opcode: 0x06, key, extras, cas: 2n ** 64n - 1n }));
    const out = new Packet();
    scanPacket(bytes, 0, bytes.length, VALUE_MAX, out);
    const end = writeLine(bytes, out, keyForm(bytes, out.key, out.keyEnd), to);
    assert.equal(textOf(to, end - 2, end), "\r\n");
  }
});

Deno.test("keyForm(): which keys a line can carry", () => {
  const form = (key: string) => keyForm(latin1(key), 0, key.length);
  for (const key of ["k", K250, "\xff\x80", "é"]) assert.equal(form(key), KEY_PLAIN, key);
  for (const key of [" ", "a b", "\0", "\t", "\r", "\x7f", `${"k".repeat(185)} `]) {
    assert.equal(form(key), KEY_BASE64, key);
  }
  assert.equal(form(`${"k".repeat(186)} `), KEY_UNSAYABLE);
  assert.equal(form(`${"k".repeat(186)}\t`), KEY_PLAIN);
});

Deno.test("encodeKey() makes what decodeKey() takes apart", () => {
  for (let size = 1; size <= 186; size++) {
    const key = Uint8Array.from({ length: size }, (_, i) => i * 37 + size);
    const to = new Uint8Array(300);
    const end = encodeKey(key, 0, size, to, 1);
    assert.equal(textOf(to, 1, end), btoa(textOf(key)));
    const back = new Uint8Array(200);
    assert.equal(decodeKey(to, 1, end, back), size);
    assert.deepEqual(back.subarray(0, size), key);
    assert.ok(end - 1 <= 250);
  }
});

Deno.test("numbers of 64 bits are written and read as BigInt spells them", () => {
  const to = new Uint8Array(20);
  for (
    const value of [
      0n,
      9n,
      2n ** 32n - 1n,
      2n ** 32n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 53n + 1n,
      10n ** 15n,
      2n ** 64n - 1n,
    ]
  ) {
    const end = writeUint64(to, 0, Number(value >> 32n), Number(value & 0xffffffffn));
    assert.equal(textOf(to, 0, end), String(value));
    assert.ok(readUint64(to, 0, end));
    assert.equal(BigInt(read.high) << 32n | BigInt(read.low), value);
  }
  for (const text of ["", "x", "18446744073709551616", "1".repeat(21), "1234567890123456x"]) {
    assert.ok(!readUint64(latin1(text), 0, text.length), text);
  }
});

/** Reply, what was asked, status, cas, flags, value; null: it answers something else. */
const REPLIES: readonly [reply: string, opcode: number, expected: [number, number, number, string] | null][] =
  [
    ["HD c7\r\n", 0x01, [0, 7, 0, ""]],
    ["OK c7\r\n", 0x01, [0, 7, 0, ""]],
    ["HD\r\n", 0x01, null],
    ["HD c7 k123\r\n", 0x01, null],
    ["NS c0\r\n", 0x02, [2, 0, 0, ""]],
    ["NS c0\r\n", 0x13, [1, 0, 0, ""]],
    ["NS\r\n", 0x0e, [5, 0, 0, ""]],
    ["EX c0\r\n", 0x01, [2, 0, 0, ""]],
    ["NF c0\r\n", 0x01, [1, 0, 0, ""]],
    ["HD\r\n", 0x04, [0, 0, 0, ""]],
    ["HD c7\r\n", 0x04, null],
    ["EX\r\n", 0x04, [2, 0, 0, ""]],
    ["HD f5 c18446744073709551615\r\n", 0x1c, [0, 0xffffffff, 5, ""]],
    ["HD f5 c7 W\r\n", 0x1c, [0, 7, 5, ""]],
    ["HD c7\r\n", 0x1c, null],
    ["EN\r\n", 0x1c, [1, 0, 0, ""]],
    ["VA 3 f5 c7\r\nabc\r\n", 0x00, [0, 7, 5, "abc"]],
    ["VA 3 b f5 c7 W Z\r\nabc\r\n", 0x00, [0, 7, 5, "abc"]],
    ["VA 3 f5\r\nabc\r\n", 0x00, null],
    ["VALUE k 5 3 7\r\nabc\r\nEND\r\n", 0x1d, [0, 7, 5, "abc"]],
    ["VALUE k 5 3\r\nabc\r\nEND\r\n", 0x1d, null],
    ["END\r\n", 0x1d, [1, 0, 0, ""]],
    ["VA 2 c9\r\n41\r\n", 0x05, [0, 9, 0, "41"]],
    ["VA 2\r\n41\r\n", 0x05, null],
    ["CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", 0x05, [6, 0, 0, ""]],
    ["SERVER_ERROR object too large for cache\r\n", 0x01, [3, 0, 0, ""]],
    ["SERVER_ERROR out of memory storing object\r\n", 0x01, [0x82, 0, 0, ""]],
    ["SERVER_ERROR Connection refused\r\n", 0x00, [0x84, 0, 0, ""]],
    ["CLIENT_ERROR x\r\n", 0x00, [0x84, 0, 0, ""]],
    ["ERROR\r\n", 0x04, [0x81, 0, 0, ""]],
  ];

for (const [reply, opcode, expected] of REPLIES) {
  Deno.test(`readReply(): ${JSON.stringify(reply)} to opcode ${opcode.toString(16)}`, () => {
    const bytes = latin1(`xx${reply}`);
    const fits = readReply(bytes, 2, bytes.length, ASKS[opcode]!, opcode);
    assert.equal(fits, expected !== null);
    if (expected === null) return;
    assert.deepEqual(
      [said.status, said.casLow, said.flags, textOf(bytes, said.value, said.valueEnd)],
      expected,
    );
  });
}

Deno.test("readReply() has the words of an error that memcached has no status for", () => {
  const bytes = latin1("SERVER_ERROR Connection refused: x\r\n");
  readReply(bytes, 0, bytes.length, ASKS[0]!, 0);
  assert.equal(textOf(said.text), "Connection refused: x");
});

Deno.test("statPackets() makes a packet of each line, and an end", () => {
  const text = latin1(
    "STAT pid 7\r\nSTAT version 1.6.18 (x)\r\nSTAT empty \r\nSTAT  nameless\r\nSTAT \r\nSTAT none\r\nEND\r\n",
  );
  const { said: packets, rest } = allSaid(textOf(statPackets(text, 0, text.length, 0x10, -2)));
  assert.equal(rest, "");
  assert.deepEqual(packets.map(({ key, value }) => [key, value]), [
    ["pid", "7"],
    ["version", "1.6.18 (x)"],
    ["empty", ""],
    ["none", ""],
    ["", ""],
  ]);
  for (const { opcode, opaque, status } of packets) {
    assert.deepEqual([opcode, opaque, status], [0x10, 0xfffffffe, 0]);
  }
  const end = latin1("RESET\r\n");
  assert.equal(statPackets(end, 0, end.length, 0x10, 0).length, 24);
});

Deno.test("statsNamed() knows what cannot be asked through a proxy", () => {
  assert.equal(statsNamed("settings"), 4);
  for (const name of ["conns", "detail dump", "cachedump 1 2"]) assert.equal(statsNamed(name), STATS_REFUSED);
  for (const name of ["x", "itemsx", "items "]) assert.equal(statsNamed(name), STATS_UNKNOWN);
});
