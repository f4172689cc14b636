import assert from "node:assert/strict";
import { joinSettings, POOL_SETTINGS } from "../../src/protocol/redis/settings.ts";

const NONE = new Map<string, string>();

function joined(servers: Record<string, string>[], every = false, own = NONE): Record<string, string> {
  return Object.fromEntries(joinSettings(servers.map((s) => new Map(Object.entries(s))), own, every));
}

Deno.test("joinSettings(): one value where servers differ, and none made up", () => {
  const cases: [name: string, values: string[], expected: string][] = [
    ["maxmemory", ["100", "50"], "150"],
    ["maxmemory", ["100", "0"], "0"],
    ["maxmemory", ["100"], "100"],
    ["maxmemory-policy", ["noeviction", "noeviction"], "noeviction"],
    ["maxmemory-policy", ["noeviction", "allkeys-lru"], "allkeys-lru"],
    ["maxmemory-policy", ["volatile-ttl", "noeviction"], "volatile-ttl"],
    ["appendonly", ["yes", "no"], "no"],
    ["save", ["3600 1", ""], "3600 1"],
    ["notify-keyspace-events", ["AKE", "AKE"], "AKE"],
    ["notify-keyspace-events", ["AKE", "xE"], "Ex"],
    ["notify-keyspace-events", ["xKE", ""], ""],
    ["notify-keyspace-events", ["AKEm", "AEm"], "AEm"],
    ["notify-keyspace-events", ["Kgx", "AK"], "Kgx"],
  ];
  for (const [name, values, expected] of cases) {
    assert.deepEqual(
      joined(values.map((value) => ({ [name]: value }))),
      { [name]: expected },
      values.join(" "),
    );
  }
  assert.deepEqual(joined([]), {});
  assert.deepEqual(joined([{ "maxmemory": "5" }, {}]), { "maxmemory": "5" });
});

Deno.test("joinSettings(): the pool's own are never the servers', the secret ones are never shown, others only on demand", () => {
  const server = Object.fromEntries([
    ...[...POOL_SETTINGS].map((name) => [name, "theirs"]),
    ..."requirepass masterauth primaryauth masteruser primaryuser tls-key-file tls-key-file-pass tls-client-key-file \
tls-client-key-file-pass some-module.password api-token".split(/\s+/).map((name) => [name, "secret"]),
    ["dir", "/var/lib/redis"],
    ["aclfile", ""],
    ["maxmemory-samples", "5"],
  ]);
  const own = new Map([["databases", "1"]]);
  assert.deepEqual(joined([server, server], false, own), { "maxmemory-samples": "5", databases: "1" });
  assert.deepEqual(joined([server], true, own), {
    dir: "/var/lib/redis",
    aclfile: "",
    "maxmemory-samples": "5",
    databases: "1",
  });
});
