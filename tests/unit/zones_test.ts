/** Which zone an address stands in. */
import assert from "node:assert/strict";
import { type HostPlace, readPlace, type Zone, zoneOf } from "../../src/net/zones.ts";
import type { IpRange } from "../../src/net/ip_range.ts";

function zone(name: string, ...texts: string[]): Zone {
  const places = texts.map((text) => {
    const place = readPlace(text);
    assert.ok(typeof place !== "string", text);
    return place as IpRange | HostPlace;
  });
  return { name, places };
}

const ZONES = [
  zone("a", "10.0.1.0/24", "2001:db8:a::/48", "*.a.example.com", "redis1"),
  zone("b", "10.0.0.0/8", "redis1", "*.example.com", "192.0.2.7"),
];

Deno.test("zoneOf() finds addresses by ranges and names by what they end in; the first zone that has it counts", () => {
  const rows: [string, string | null][] = [
    ["10.0.1.9", "a"],
    ["10.0.2.9", "b"],
    ["::ffff:10.0.1.9", "a"],
    ["2001:DB8:a::1", "a"],
    ["2001:db8:b::1", null],
    ["r.A.example.com", "a"],
    ["a.example.com", "b"],
    ["example.com", null],
    ["badexample.com", null],
    ["Redis1", "a"],
    ["redis11", null],
    ["192.0.2.7", "b"],
    ["192.0.2.77", null],
  ];
  for (const [host, name] of rows) assert.equal(zoneOf(ZONES, { host, port: 1 }), name, host);
  assert.equal(zoneOf(ZONES, { path: "/run/redis" }), null);
  assert.equal(zoneOf(ZONES, null), null);
  assert.equal(zoneOf([], { host: "10.0.1.9", port: 1 }), null);
});

Deno.test("readPlace() refuses what would never be found", () => {
  for (
    const text of [
      "",
      "*",
      "*.",
      "a..b",
      ".a",
      "10.0.0",
      "10.0.0.1:6379",
      "10.0.0.1/33",
      "::g",
      "h:1",
      "a b",
      "/run/x",
    ]
  ) {
    assert.equal(typeof readPlace(text), "string", text);
  }
});
