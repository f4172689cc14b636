/** Lines that are answered here, as memcached before and since 1.6.40 reads them; the table in docs/memcached-binary.md says the same. */
import assert from "node:assert/strict";
import { latin1 as textOf } from "../../src/bytes/ascii.ts";
import { ANSWER_NONE, ANSWERS } from "../../src/protocol/memcached/answers.ts";
import {
  MemcachedRequest,
  NOBODY_KNOWS,
  NOT_LEARNED,
  READ_AS_1_6_18,
  READ_AS_NEWER,
  RequestScan,
  ROW_HTTP,
  scanRequest,
} from "../../src/protocol/memcached/request.ts";
import { latin1 } from "../lib/bytes.ts";
import { ROOT } from "../lib/repo.ts";

const LIMITS = { keysMax: 100, getLineMax: 10_000, valueSizeMax: 1000 };
const BAD = "CLIENT_ERROR bad command line format\r\n";
const K251 = "k".repeat(251);

/** What is answered, and in angle brackets what goes to a server. */
function said(input: string, reading: number): string {
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  const bytes = latin1(input);
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const start = at;
    at = scanRequest(bytes, at, bytes.length, { ...LIMITS, reading }, scan, out);
    if (at === NOT_LEARNED) return text + "?";
    assert.ok(at > start, `${JSON.stringify(input)} at ${start}: ${at}`);
    if (out.row === ROW_HTTP && out.answer === ANSWER_NONE) return text + "<closed>";
    if (out.noreply === 1) text += "<silent>";
    if (out.answer !== ANSWER_NONE) text += out.noreply === 1 ? "" : textOf(ANSWERS[out.answer]!);
    else {
      const kept = out.cutEnd > 0
        ? textOf(bytes, out.wordStarts[0]!, out.cutStart) + textOf(bytes, out.cutEnd, at)
        : textOf(bytes, out.wordStarts[0]!, at);
      text += `<${kept}>`;
    }
  }
  return text;
}

/** Input, and what is said to it before and since 1.6.40. */
const CASES: readonly [input: string, older: string, newer: string][] = [
  ["\r\n", "ERROR\r\n", BAD],
  ["\n", "ERROR\r\n", BAD],
  ["a\r\n", "ERROR\r\n", BAD],
  ["ab\r\n", "ERROR\r\n", "ERROR\r\n"],
  ["    \r\n", "ERROR\r\n", "ERROR\r\n"],
  ["mn\n", "MN\r\n", BAD],
  ["mn\r\n", "MN\r\n", "MN\r\n"],
  [" mn\r\n", "MN\r\n", "ERROR\r\n"],
  [" get a\r\n", "<get a\r\n>", "ERROR\r\n"],
  ["  flush_all 0\r\n", "<flush_all 0\r\n>", "<flush_all 0\r\n>"],
  ["bget a\r\n", "<bget a\r\n>", "ERROR\r\n"],
  ["foo noreply\r\n", "ERROR\r\n", "<silent>"],
  ["noreply\r\n", "ERROR\r\n", "<silent>"],
  ["foo HTTP/1.1\r\n", "<closed>", "<closed>"],
  ["gx HTTP/1.1\r\n", "ERROR\r\n", "<closed>"],
  ["HTTP/1.1\r\n", "<closed>", "ERROR\r\n"],
  ["GET / HTTP/1.1\r\n", "<closed>", "<closed>"],
  [`get a ${K251}\r\n`, BAD, BAD + "\r\n"],
  [`gat 0 ${K251}\r\n`, BAD, BAD + "\r\n"],
  [`get ${"a ".repeat(60)}${K251}\r\n`, BAD, BAD + "\r\n"],
  ["get a\0b\r\n", BAD, BAD],
  ["gat - a\r\n", "CLIENT_ERROR invalid exptime argument\r\n", BAD],
  [`set ${K251} 0 0 2\r\nmn\r\n`, BAD + "MN\r\n", BAD],
  ["set a 0 0 x\r\nmn\r\n", BAD + "MN\r\n", BAD + "MN\r\n"],
  ["set a 0 0 -0\r\n\r\n", BAD, BAD],
  ["set a 0 0 +2\r\nmn\r\n", BAD, BAD + "MN\r\n"],
  ["set a\0 0 0 2\r\nmn\r\n", "ERROR\r\nMN\r\n", BAD],
  ["set a 0 0 2 1 noreply\r\nmn\r\n", "ERROR\r\nMN\r\n", "<silent><set a 0 0 2\r\nmn\r\n>"],
  ["set a 0 0 2 1 2 3\nmn\r\n", "ERROR\r\nMN\r\n", "<set a 0 0 2\nmn\r\n>"],
  ["set a\0 0 0 2 1 2 3\r\nmn\r\n", "ERROR\r\nMN\r\n", BAD],
  ["set a 0 0 x noreply\r\n", "<silent>", BAD],
  ["set a y 0 2 noreply\r\nmn\r\n", "<silent>MN\r\n", "<silent>"],
  ["cas a 0 0 2 9 1 2\r\nmn\r\n", "ERROR\r\nMN\r\n", "<cas a 0 0 2 9\r\nmn\r\n>"],
  ["incr a noreply\r\n", "<silent>", "<silent>"],
  ["incr a 1 2 noreply\r\n", "ERROR\r\n", "<silent><incr a 1\r\n>"],
  ["touch a 1 2 3\r\n", "ERROR\r\n", "<touch a 1\r\n>"],
  ["touch a x 2 3\r\n", "ERROR\r\n", "CLIENT_ERROR invalid exptime argument\r\n"],
  ["delete a 5 noreply\r\n", "<silent>", "<silent><delete a\r\n>"],
  ["delete noreply\r\n", BAD, "<silent>"],
  ["flush_all 0 0 0\r\n", "ERROR\r\n", "<flush_all 0\r\n>"],
  ["flush_all noreply noreply\r\n", "<silent>", "<silent>"],
  ["ms a 2 \xff\r\nmn\r\n", "CLIENT_ERROR duplicate flag\r\n", BAD + "MN\r\n"],
  [`ms ${K251} 2\r\nmn\r\n`, BAD + "MN\r\n", BAD],
  [`ma ${K251}\r\n`, BAD, "CLIENT_ERROR invalid or duplicate flag\r\n"],
  [
    `mg a ${"v ".repeat(19)}\r\n`,
    "CLIENT_ERROR options flags are too long\r\n",
    "CLIENT_ERROR options flags are too long\r\n",
  ],
  [
    "cache_memlimit 1 2 3\r\n",
    "ERROR\r\n",
    "CLIENT_ERROR command not allowed through a proxy, ask the server itself\r\n",
  ],
  [
    "lru noreply\r\n",
    "CLIENT_ERROR command not allowed through a proxy, ask the server itself\r\n",
    "<silent>",
  ],
];

Deno.test("lines that are answered here, as before and since 1.6.40", () => {
  for (const [input, older, newer] of CASES) {
    assert.equal(said(input, READ_AS_1_6_18), older, `${JSON.stringify(input)} before`);
    assert.equal(said(input, READ_AS_NEWER), newer, `${JSON.stringify(input)} since`);
  }
});

Deno.test("docs/memcached-binary.md: what its table says of lines is what is said", () => {
  let rows = 0;
  const page = Deno.readTextFileSync(`${ROOT}/docs/memcached-binary.md`);
  const told = (cell: string, text: string, why: string) => {
    if (cell === "nothing") return assert.equal(text, "<silent>", why);
    if (cell.startsWith("done")) return assert.match(text, /^<[a-z]/, why);
    const words = cell.slice(1, -1).replaceAll("⏎", "\r\n").replace(/^ | $/g, "");
    const usage = words.indexOf("…");
    if (usage > 0) return assert.ok(text.startsWith(words.slice(0, usage)), why);
    assert.equal(text, `${words}\r\n`, why);
  };
  for (const [, line, older, newer] of page.matchAll(/^\| `([a-z].*?)` +\| (.*?) +\| (.*?) +\|$/gm)) {
    const isSaid = (cell: string) => /^`[A-Z]|^nothing$|^done/.test(cell);
    if (!isSaid(older!) || !isSaid(newer!)) continue;
    rows++;
    const input = line!.replaceAll("⏎", "\r\n") + "\r\n";
    told(older!, said(input, READ_AS_1_6_18), `${line} before`);
    told(newer!, said(input, READ_AS_NEWER), `${line} since`);
  }
  assert.ok(rows >= 20, String(rows));
});

Deno.test("only lines whose answer hangs on the version wait for it", () => {
  for (
    const input of [
      "get a\r\n",
      "set a 0 0 1\r\nx\r\n",
      "mn\r\n",

      "quit\r\n",
      "ms a 1\r\nx\r\n",
    ]
  ) {
    assert.equal(said(input, NOBODY_KNOWS), said(input, READ_AS_NEWER), input);
  }
  for (
    const input of ["version\r\n", "get\r\n", " get a\r\n", "bget a\r\n", "foo\r\n", "GET / HTTP/1.1\r\n"]
  ) {
    assert.equal(said(input, NOBODY_KNOWS), "?", input);
  }
});

Deno.test("a long line that waits for what servers are is not read a second time, wherever it lies then", () => {
  const keys = Array.from({ length: 1000 }, (_, i) => `key${i}`);
  const line = latin1(`bget ${keys.join(" ")}\r\n`);
  const limits = { ...LIMITS, keysMax: 2000, reading: NOBODY_KNOWS };
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  const before = latin1("noop\r\n");
  const all = new Uint8Array([...before, ...line]);
  const half = before.length + 3000;
  assert.ok(scanRequest(all, before.length, half, limits, scan, out) < 0);
  assert.equal(scanRequest(all, before.length, all.length, limits, scan, out), NOT_LEARNED);
  const { words, seen } = scan;
  assert.ok(words !== null && seen === line.length - 1);
  // What stood before it has gone meanwhile.
  assert.equal(
    scanRequest(line, 0, line.length, { ...limits, reading: READ_AS_1_6_18 }, scan, out),
    line.length,
  );
  assert.equal(out.wordStarts, words.wordStarts);
  assert.deepEqual(
    Array.from({ length: out.wordCount }, (_, i) => textOf(line, out.wordStarts[i]!, out.wordEnds[i]!)),
    ["bget", ...keys],
  );
});
