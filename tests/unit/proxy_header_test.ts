/** Headers of the PROXY protocol: what is one, and what is none. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { HEADER_MAX, type ProxyHeader, readProxyHeader } from "../../src/protocol/proxy_header.ts";
import { concat, latin1 } from "../lib/bytes.ts";
import { header2 } from "../lib/proxy_header.ts";

const V4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xc7, 0x38, 0x18, 0xeb];
const V6 = [0x20, 0x01, 0x0d, 0xb8, ...Array(11).fill(0), 7, ...Array(15).fill(0), 1, 0xc7, 0x38, 0x18, 0xeb];
const MAPPED = [...Array(10).fill(0), 255, 255, 192, 0, 2, 7, ...Array(15).fill(0), 1, 0, 80, 0, 80];

function read(bytes: Uint8Array | string): ProxyHeader {
  const all = typeof bytes === "string" ? latin1(bytes) : bytes;
  const header = readProxyHeader(all);
  ok(header !== null && typeof header === "object", `${header}: ${bytes}`);
  return header;
}

Deno.test("version 1: the client's address and port, and how long the header is", () => {
  const line = "PROXY TCP4 192.0.2.7 10.0.0.1 51000 6379\r\n";
  deepStrictEqual(read(line + "PING\r\n"), {
    size: line.length,
    ip: [192, 0, 2, 7],
    client: "192.0.2.7:51000",
  });
  strictEqual(read("PROXY TCP6 2001:DB8::7 ::1 51000 6379\r\n").client, "[2001:db8::7]:51000");
  strictEqual(read("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 65535\r\n").client, "192.0.2.7:1");
  for (
    const line of [
      "PROXY UNKNOWN\r\n",
      "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
      "PROXY UNKNOWN x  y\r\n",
    ]
  ) {
    deepStrictEqual(read(line), { size: line.length, ip: null, client: "" });
  }
  const longest = `PROXY UNKNOWN ${"x".repeat(107 - 16)}\r\n`;
  strictEqual(read(longest).size, 107);
});

const NOT_1: Readonly<Record<string, RegExp>> = {
  "*1\r\n$4\r\nPING\r\n": /does not begin/,
  "proxy TCP4 192.0.2.7 10.0.0.1 51000 6379\r\n": /does not begin/,
  "PROXY\tTCP4 192.0.2.7 10.0.0.1 51000 6379\r\n": /does not begin/,
  "PROXY tcp4 192.0.2.7 10.0.0.1 51000 6379\r\n": /family/,
  "PROXY TCP 192.0.2.7 10.0.0.1 51000 6379\r\n": /family/,
  "PROXY UNKNOWNS\r\n": /family/,
  "PROXY UDP4 192.0.2.7 10.0.0.1 51000 6379\r\n": /family/,
  "PROXY  TCP4 192.0.2.7 10.0.0.1 51000 6379\r\n": /family/,
  "PROXY TCP4  192.0.2.7 10.0.0.1 51000 6379\r\n": /one space/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 51000 6379 \r\n": /one space/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 51000\r\n": /one space/,
  "PROXY TCP4\r\n": /one space/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 51000 6379\n": /carriage return/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 51000 6379\rX": /carriage return/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 0 6379\r\n": /port/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 65536 6379\r\n": /port/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 51000 65536\r\n": /port/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 051000 6379\r\n": /port/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 +1 6379\r\n": /port/,
  "PROXY TCP4 192.0.2.7 10.0.0.1 -1 6379\r\n": /port/,
  "PROXY TCP4 2001:db8::7 ::1 51000 6379\r\n": /IPv4/,
  "PROXY TCP4 192.0.2.256 10.0.0.1 51000 6379\r\n": /IPv4/,
  "PROXY TCP4 192.0.02.7 10.0.0.1 51000 6379\r\n": /IPv4/,
  "PROXY TCP6 192.0.2.7 10.0.0.1 51000 6379\r\n": /IPv6/,
  "PROXY TCP6 ::1 10.0.0.1 51000 6379\r\n": /IPv6/,
  [`PROXY UNKNOWN ${"x".repeat(108 - 16)}\r\n`]: /longer than 107/,
  ["PROXY UNKNOWN " + "x".repeat(200)]: /longer than 107/,
};

Deno.test("version 1: what is not exactly a header is none", () => {
  for (const [text, why] of Object.entries(NOT_1)) match(String(readProxyHeader(latin1(text))), why, text);
});

Deno.test("version 2: the client's address and port; TLVs are skipped, LOCAL says nothing", () => {
  deepStrictEqual(read(concat([header2(0x21, 0x11, V4), latin1("PING\r\n")])), {
    size: 28,
    ip: [192, 0, 2, 7],
    client: "192.0.2.7:51000",
  });
  strictEqual(read(header2(0x21, 0x21, V6)).client, "[2001:db8::7]:51000");
  strictEqual(read(header2(0x21, 0x21, MAPPED)).client, "192.0.2.7:80");
  const tlvs = [0x04, 0, 3, 0, 0, 0, 0x20, 0, 5, 7, 0, 0, 0, 0, 0xe0, 0, 0];
  strictEqual(read(header2(0x21, 0x11, [...V4, ...tlvs])).client, "192.0.2.7:51000");
  strictEqual(read(header2(0x21, 0x11, [...V4, 4, 15, 157, ...Array(3997).fill(1)])).size, 28 + 4000);
  for (
    const [family, body] of [[0x00, []], [0x11, V4], [0x31, []], [0xff, [1]], [0x00, [1, 2, 3]]] as const
  ) {
    deepStrictEqual(read(header2(0x20, family, body)), { size: 16 + body.length, ip: null, client: "" });
  }
  strictEqual(read(header2(0x20, 0, Array(HEADER_MAX - 16).fill(9))).size, HEADER_MAX);
});

Deno.test("version 2: what is not exactly a header is none", () => {
  const wrong = (bytes: Uint8Array, why: RegExp) => match(String(readProxyHeader(bytes)), why);
  wrong(header2(0x11, 0x11, V4), /version/);
  wrong(header2(0x22, 0x11, V4), /command/);
  for (const family of [0x00, 0x10, 0x12, 0x20, 0x22, 0x31, 0x41]) wrong(header2(0x21, family, V6), /family/);
  wrong(header2(0x21, 0x11, V4.slice(1)), /too short/);
  wrong(header2(0x21, 0x21, V4), /too short/);
  wrong(header2(0x21, 0x11, [...V4, 4, 0, 2, 0]), /TLV/);
  wrong(header2(0x21, 0x11, [...V4, 4, 0]), /TLV/);
  // Said at once, and not when all of it has come.
  wrong(header2(0x20, 0, Array(HEADER_MAX - 15).fill(0)).subarray(0, 16), /16385 bytes/);
  const other = header2(0x21, 0x11, V4);
  other[11] = 0x0b;
  wrong(other, /does not begin/);
});
