/** Addresses and ranges of them. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { contains, ipOfPeer, ipText, readIp, readIpRange } from "../../src/net/ip_range.ts";

const TEXTS: Readonly<Record<string, string | null>> = {
  "10.0.0.1": "10.0.0.1",
  "0.0.0.0": "0.0.0.0",
  "255.255.255.255": "255.255.255.255",
  "::": "::",
  "::1": "::1",
  "1::": "1::",
  "2001:DB8:0:0:1::0:1": "2001:db8::1:0:0:1",
  "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
  "1:2:3:4:5:6:7::": "1:2:3:4:5:6:7:0",
  "::ffff:10.0.0.1": "10.0.0.1",
  "::ffff:a00:1": "10.0.0.1",
  "64:ff9b::10.0.0.1": "64:ff9b::a00:1",
  "1:2:3:4:5:6:10.0.0.1": "1:2:3:4:5:6:a00:1",
  "": null,
  "10.0.0": null,
  "10.0.0.1.2": null,
  "10.0.0.256": null,
  "10.0.0.01": null,
  "010.0.0.1": null,
  " 10.0.0.1": null,
  "0x0a.0.0.1": null,
  ":": null,
  ":::": null,
  "1::2::3": null,
  "1:2:3:4:5:6:7": null,
  "1:2:3:4:5:6:7:8:9": null,
  "1:2:3:4:5:6:7:8::": null,
  "12345::": null,
  "::g": null,
  "::10.0.0.1:1": null,
  "10.0.0.1::": null,
  "[::1]": null,
  "fe80::1%eth0": null,
};

Deno.test("an address is read from every form of its text, and from no other text", () => {
  for (const [text, expected] of Object.entries(TEXTS)) {
    const ip = readIp(text);
    strictEqual(ip === null ? null : ipText(ip), expected, text);
  }
});

Deno.test("a socket's peer has its address, whatever stands around it", () => {
  for (
    const [peer, expected] of [
      ["10.0.0.1:6379", "10.0.0.1"],
      ["[::1]:6379", "::1"],
      ["[::ffff:10.0.0.1]:6379", "10.0.0.1"],
      ["[fe80::1%eth0]:6379", "fe80::1"],
    ]
  ) {
    strictEqual(ipText(ipOfPeer(peer!)!), expected);
  }
  strictEqual(ipOfPeer("unix"), null);
});

/** A range, what is in it and what is not. */
const RANGES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], [
    "11.0.0.0",
    "9.255.255.255",
    "::",
    "a00::",
  ]],
  ["192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]],
  ["192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]],
  ["0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1"]],
  ["::/0", ["::", "::1", "ffff::"], ["1.2.3.4", "::ffff:1.2.3.4"]],
  ["2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db7::", "2001:db9::", "32.1.13.184"]],
  ["2001:db8::/33", ["2001:db8:7fff::"], ["2001:db8:8000::"]],
  ["::1", ["::1"], ["::", "::2", "0.0.0.1"]],
  ["::ffff:10.0.0.0/104", ["10.200.0.1", "::ffff:10.0.0.1"], ["11.0.0.0", "::10.0.0.1"]],
  ["::ffff:0:0/96", ["1.2.3.4"], ["::1"]],
];

Deno.test("a range has its own addresses; mapped ones are IPv4, and the families do not meet", () => {
  for (const [text, inside, outside] of RANGES) {
    const range = readIpRange(text);
    ok(typeof range !== "string", text);
    for (const ip of inside) strictEqual(contains(range, readIp(ip)!), true, `${ip} in ${text}`);
    for (const ip of outside) strictEqual(contains(range, readIp(ip)!), false, `${ip} in ${text}`);
  }
});

Deno.test("what is no range is told what would be", () => {
  const said = (text: string) => {
    const read = readIpRange(text);
    return typeof read === "string" ? read : `taken: ${text}`;
  };
  for (
    const text of [
      "",
      "all",
      "10.0.0.0/",
      "10.0.0.0/08",
      "10.0.0.0/-1",
      "10.0/8",
      "/8",
      "10.0.0.0/8/8",
      "localhost",
    ]
  ) {
    match(said(text), /an address or a range of them/);
  }
  match(said("10.0.0.0/33"), /^0 to 32 bits/);
  match(said("::/129"), /^0 to 128 bits/);
  deepStrictEqual(said("10.1.2.3/8"), "10.0.0.0/8, or 10.1.2.3 alone: bits beyond the first 8 do not count");
  match(said("2001:db8::1/64"), /^2001:db8::\/64, or 2001:db8::1 alone/);
});
