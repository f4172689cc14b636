/** Heads of requests to the admin side: what is read of them, and what is refused because two readers could differ. */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Refused } from "../../src/admin/answer.ts";
import { endOfHead, headOf, readHead, TARGET_MAX } from "../../src/admin/http.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (sign) => sign.charCodeAt(0));

const GOOD: readonly (readonly [string, Partial<ReturnType<typeof readHead>>])[] = [
  ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", {
    method: "GET",
    target: "/",
    stays: true,
    bodySize: 0,
    waits: false,
  }],
  ["GET /a?b=%20 HTTP/1.1\r\n\r\n", { target: "/a?b=%20", rawHeaders: [] }],
  ["GET / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", { stays: false, waits: false }],
  ["GET / HTTP/1.1\r\nConnection: keep-alive, CLOSE\r\n\r\n", { stays: false }],
  ["GET / HTTP/1.1\r\nConnection: keep-alive\r\nconnection: close\r\n\r\n", { stays: false }],
  ["POST / HTTP/1.1\r\nContent-Length: 012\r\nexpect: 100-Continue\r\n\r\n", { bodySize: 12, waits: true }],
  ["GET / HTTP/1.1\r\nA: \t b c\t \r\nB:\r\nC: \xa0\xff\r\n\r\n", {
    rawHeaders: ["A", "b c", "B", "", "C", "\xa0\xff"],
  }],
];

const BAD: readonly (readonly [number, string])[] = [
  [400, "nonsense\r\n\r\n"],
  [400, "\r\n\r\n"],
  [400, "\r\nGET / HTTP/1.1\r\n\r\n"],
  [400, "GET  / HTTP/1.1\r\n\r\n"],
  [400, "GET / HTTP/1.1 \r\n\r\n"],
  [400, "GET /\u00e9 HTTP/1.1\r\n\r\n"],
  [400, "G(T / HTTP/1.1\r\n\r\n"],
  [400, "GET / HTTP/11\r\n\r\n"],
  [400, "GET / HTTP/1.1\n\n"],
  [400, "GET / HTTP/1.1\r\nHost: a\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\n: a\r\n\r\n"],
  [400, "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"],
  [505, "PRI * HTTP/2.0\r\n\r\n"],
  [414, `GET /${"x".repeat(TARGET_MAX)} HTTP/1.1\r\n\r\n`],
  [400, "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"],
  [400, "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n"],
  [400, "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"],
  [400, "POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n"],
  [400, "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n"],
  [400, "POST / HTTP/1.1\r\nContent-Length: 9999999999999999\r\n\r\n"],
  [411, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"],
  [411, "POST / HTTP/1.1\r\nContent-Length: 1\r\ntransfer-encoding: identity\r\n\r\n"],
];

Deno.test("readHead() tells what is asked", () => {
  for (const [text, expected] of GOOD) {
    const head = readHead(bytes(text));
    deepStrictEqual({ ...head, ...expected }, head, JSON.stringify(text));
  }
});

Deno.test("readHead() refuses what another reader could understand differently", () => {
  for (const [status, text] of BAD) {
    throws(
      () => readHead(bytes(text)),
      (error) => error instanceof Refused && error.status === status,
      JSON.stringify(text.slice(0, 100)),
    );
  }
});

Deno.test("endOfHead() finds the empty line wherever the bytes were cut, and nothing of what is behind it", () => {
  for (const [, text] of BAD) {
    const all = bytes(`${text}GET / HTTP/1.1\r\n\r\n`);
    const end = text.startsWith("\r\nGET") ? text.length : endOfHead(all, 0);
    ok(end > 0 && end <= text.length, JSON.stringify(text.slice(0, 100)));
    let found = -1;
    for (let size = 1; found < 0; size++) found = endOfHead(all.subarray(0, size), size - 1);
    strictEqual(found, end, JSON.stringify(text.slice(0, 100)));
  }
});

Deno.test("readHead() of blanks, and of as many headers as there may be, takes no longer than its bytes", () => {
  // 16,000 of them: what went back for each would take seconds.
  for (const filler of [" ", "\t", "a ", ": "]) {
    const value = filler.repeat(16_000 / filler.length);
    for (const text of [`GET / HTTP/1.1\r\nA:${value}\0\r\n\r\n`, `GET / HTTP/1.1\r\nA${value}\r\n\r\n`]) {
      try {
        readHead(bytes(text));
      } catch (error) {
        ok(error instanceof Refused);
      }
    }
  }
});

Deno.test("headOf() ends what has no length by closing", () => {
  const head = (size: number | null, stays: boolean) =>
    new TextDecoder().decode(headOf(200, "text/plain", size, stays, "now"));
  ok(
    /^HTTP\/1\.1 200 OK\r\nDate: now\r\n[^]*Content-Type: text\/plain\r\nContent-Length: 3\r\n\r\n$/.test(
      head(3, true),
    ),
  );
  ok(head(3, false).endsWith("Content-Length: 3\r\nConnection: close\r\n\r\n"));
  ok(head(null, true).endsWith("Content-Type: text/plain\r\nConnection: close\r\n\r\n"));
});
