/**
 * scanReply(), replyType(), replyClass(), replyFits() and quietDrops() of src/protocol/memcached: what a reply is, where
 * it ends, and what is none. tests/real/memcached_protocol_test.ts frames what memcached itself says.
 */
import assert from "node:assert/strict";
import { COMMANDS, quietDrops, replyFits, rowOf } from "../../src/protocol/memcached/commands.ts";
import {
  BAD_REPLY,
  NEED_MORE,
  replyClass,
  replyType,
  scanReply,
} from "../../src/protocol/memcached/reply.ts";
import {
  CLASS_BAD,
  CLASS_CLIENT_ERROR,
  CLASS_ERROR,
  CLASS_MISS,
  CLASS_OK,
  CLASS_SERVER_ERROR,
  REPLY_NAMES,
} from "../../src/protocol/memcached/reply_types.ts";
import { Scan } from "../../src/protocol/memcached/scan.ts";
import { latin1 } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";

function scanned(input: string): number {
  const scan = new Scan();
  return feedScan(latin1(input), (bytes, start, end) => {
    const needed = scan.needed;
    const code = scanReply(bytes, start, end, scan);
    if (needed > end - start) assert.equal(code, NEED_MORE);
    if (code !== NEED_MORE) assert.deepEqual([scan.at, scan.seen, scan.needed], [0, 0, 0], "scan is reset");
    return code;
  }, { start0: () => scan.reset() }).result;
}

const K250 = "k".repeat(250);

/** One whole reply, its type and its class. */
const REPLIES: readonly [string, string, number][] = [
  ["STORED\r\n", "STORED", CLASS_OK],
  ["NOT_STORED\r\n", "NOT_STORED", CLASS_MISS],
  ["EXISTS\r\n", "EXISTS", CLASS_MISS],
  ["NOT_FOUND\r\n", "NOT_FOUND", CLASS_MISS],
  ["DELETED\r\n", "DELETED", CLASS_OK],
  ["TOUCHED\r\n", "TOUCHED", CLASS_OK],
  ["OK\r\n", "OK", CLASS_OK],
  ["OK kk O1\r\n", "OK", CLASS_OK],
  ["0\r\n", "number", CLASS_OK],
  ["18446744073709551615\r\n", "number", CLASS_OK],
  ["99 \r\n", "number", CLASS_OK],
  ["VERSION 1.6.18\r\n", "VERSION", CLASS_OK],
  ["RESET\r\n", "RESET", CLASS_OK],
  ["END\r\n", "END", CLASS_MISS],
  ["VALUE a 0 3\r\nabc\r\nEND\r\n", "VALUE", CLASS_OK],
  ["VALUE a 0 3 18446744073709551615\r\nabc\r\nEND\r\n", "VALUE", CLASS_OK],
  ["VALUE a 0 0\r\n\r\nVALUE b 4294967295 5\r\nEND\r\n\r\nEND\r\n", "VALUE", CLASS_OK],
  ["VALUE a\tb\r 0 1\r\nx\r\nEND\r\n", "VALUE", CLASS_OK],
  [`VALUE ${K250} 0 1\r\nx\r\nEND\r\n`, "VALUE", CLASS_OK],
  ["STAT pid 1\r\nSTAT inter NULL\r\nSTAT empty \r\nEND\r\n", "STAT", CLASS_OK],
  ["HD\r\n", "HD", CLASS_OK],
  ["HD kk b O1 c7\r\n", "HD", CLASS_OK],
  ["VA 0\r\n\r\n", "VA", CLASS_OK],
  ["VA 3 f0 W\r\nabc\r\n", "VA", CLASS_OK],
  ["NS\r\n", "NS", CLASS_MISS],
  ["EX O1\r\n", "EX", CLASS_MISS],
  ["NF kk\r\n", "NF", CLASS_MISS],
  ["EN\r\n", "EN", CLASS_MISS],
  ["EN kk O1\r\n", "EN", CLASS_MISS],
  ["MN\r\n", "MN", CLASS_OK],
  ["ME a exp=-1 la=0\r\n", "ME", CLASS_OK],
  ["ERROR\r\n", "ERROR", CLASS_ERROR],
  ["ERROR: shutdown not enabled\r\n", "ERROR", CLASS_ERROR],
  ["CLIENT_ERROR bad data chunk\r\n", "CLIENT_ERROR", CLASS_CLIENT_ERROR],
  ["SERVER_ERROR object too large for cache\r\n", "SERVER_ERROR", CLASS_SERVER_ERROR],
  ["SERVER_ERROR out of memory storing object\r\n", "SERVER_ERROR", CLASS_SERVER_ERROR],
];

for (const [input, name, kind] of REPLIES) {
  Deno.test(`scanReply() frames ${JSON.stringify(input.slice(0, 50))}`, () => {
    const bytes = latin1(input);
    assert.equal(scanned(input), input.length);
    assert.equal(scanned(input + "STORED\r\n"), input.length);
    assert.equal(REPLY_NAMES[replyType(bytes, 0, bytes.length)], name);
    assert.equal(replyClass(bytes, 0, bytes.length), kind);
    for (let size = 0; size < input.length; size++) {
      assert.equal(scanReply(bytes, 0, size, new Scan()), NEED_MORE, `first ${size} bytes`);
    }
  });
}

const BAD: readonly string[] = [
  "\r\n",
  "\n",
  "STORED\n",
  " STORED\r\n",
  "STORED \r\n",
  "stored\r\n",
  "STOREDX\r\n",
  "-1\r\n",
  "1x\r\n",
  " 1\r\n",
  "123456789012345678901\r\n",
  "ENDD\r\n",
  "END \r\n",
  "HDX\r\n",
  "VALUE\r\n",
  "VALUE \r\n",
  "VALUE a\r\n",
  "VALUE a 0\r\n",
  "VALUE a 0 x\r\n",
  "VALUE a 0 -1\r\n",
  "VALUE a x 1\r\n",
  "VALUE  a 0 1\r\n",
  "VALUE a 0  1\r\n",
  "VALUE a 0 1 \r\n",
  "VALUE a 0 1 2 3\r\n",
  "VALUE a 0 99999999999\r\n",
  "VALUE a 0 2147483647\r\n",
  "VALUE a 0 1\n",
  "VALUE a 0 3\r\nabcd\r\n",
  "VALUE a 0 3\r\nabc\n\r",
  "VALUE a 0 3\r\nabc\r\nSTORED\r\n",
  "VALUE a 0 3\r\nabc\r\nSERVER_ERROR x\r\n",
  "VALUE a 0 3\r\nabc\r\n7\r\n",
  "VALUE a 0 3\r\nabc\r\nSTAT a 1\r\n",
  "VALUE a 0 3\r\nabc\r\nVA 1\r\n",
  "VALUE a 0 3\r\nabc\r\n\r\n",
  "STAT a 1\r\nVALUE a 0 3\r\n",
  "STAT a 1\r\nOK\r\n",
  "STAT a 1\r\n5\r\n",
  "STAT\r\n",
  "VA\r\n",
  "VA \r\n",
  "VA x\r\n",
  "VA 1x\r\n",
  "VA 3\r\nabcd\r\n",
  "ITEM a [1 b; 0 s]\r\n",
  "x".repeat(8193),
  // memcached has forgotten replies of earlier requests when it says so.
  "SERVER_ERROR out of memory writing get response\r\n",
];

for (const input of BAD) {
  Deno.test(`scanReply() refuses ${JSON.stringify(input.slice(0, 50))}`, () => {
    assert.equal(scanned(input), BAD_REPLY);
  });
}

Deno.test("scanReply() says how much a value needs, and does not look before it is there", () => {
  const scan = new Scan();
  const bytes = latin1("VALUE a 0 1\r\nx\r\nVALUE b 0 100000\r\nabc");
  assert.equal(scanReply(bytes, 0, bytes.length, scan), NEED_MORE);
  assert.equal(scan.needed, 16 + 18 + 100000 + 2);
  assert.equal(scanReply(new Uint8Array(20000), 0, 20000, scan), NEED_MORE);
});

Deno.test("replyType() and replyClass() say nothing of half a line or of nonsense", () => {
  for (const input of ["", "STOR", "STORED", "nonsense\r\n", "\r\n", "STORED\n"]) {
    assert.equal(replyType(latin1(input), 0, input.length), 0, input);
    assert.equal(replyClass(latin1(input), 0, input.length), CLASS_BAD);
  }
});

const TYPES: Record<string, number> = Object.fromEntries(REPLY_NAMES.map((name, type) => [name, type]));

Deno.test("quietDrops() is memcached 1.6.18's q, by command", () => {
  const dropped: Record<string, string> = { mg: "EN", ms: "OK HD", md: "OK HD", ma: "OK HD VA" };
  for (let row = 0; row < COMMANDS.length; row++) {
    const names = REPLY_NAMES.filter((_, type) => quietDrops(row, type)).join(" ");
    assert.equal(names, dropped[COMMANDS[row]!.name] ?? "", COMMANDS[row]!.name);
  }
});

Deno.test("replyFits() knows replies that cannot answer the request", () => {
  const cases: [string, string, boolean][] = [
    ["get", "VALUE", true],
    ["get", "END", true],
    ["get", "STORED", false],
    ["get", "SERVER_ERROR", true],
    ["set", "STORED", true],
    ["set", "VALUE", false],
    ["incr", "number", true],
    ["incr", "STORED", false],
    ["mg", "EN", true],
    ["mg", "END", false],
    ["ms", "VA", false],
    ["stats", "RESET", true],
    ["stats", "none", false],
  ];
  for (const [name, type, fits] of cases) {
    assert.equal(replyFits(rowOf(name), TYPES[type]!), fits, `${name} ${type}`);
  }
});
