/** INFO of several servers: what becomes of every field that servers have, and that no number is made up for one we do not know. */
import assert from "node:assert/strict";
import type { Host } from "../../src/protocol/redis/answers.ts";
import { pairRulesOf, RULE, ruleOf } from "../../src/protocol/redis/info_fields.ts";
import { UNKNOWN } from "../../src/protocol/redis/identity.ts";
import { joinInfoTexts } from "../../src/protocol/redis/info_join.ts";
import { Random } from "../lib/random.ts";
import { thorough } from "../lib/runs.ts";
import CAPTURED from "../vectors/info.json" with { type: "json" };

const EVERYTHING = new Set(["everything"]);

const HOST = {
  databases: 4,
  redisDb: 0,
  identity: UNKNOWN,
  port: 22121,
  processId: 4711,
  clientsMax: 100,
  wallMs: () => 0,
  uptimeSeconds: () => 90_000,
  connectedClients: () => 3,
  connectionsTotal: () => 9,
  requestsTotal: () => 1000,
  memoryBytes: () => 0,
  serverCount: () => 2,
  liveServerCount: () => 2,
  topology: () => ({ epoch: 3, cause: "SIGHUP", atMs: 1_700_000_000_500, count: 0, last: null }),
  poolTotal: () => 0,
} as unknown as Host;

function joined(...texts: string[][]): Map<string, string[]> {
  const wire = texts.map((lines) => lines.map((line) => `${line}\r\n`).join(""));
  const fields = new Map<string, string[]>();
  for (const line of joinInfoTexts(wire, EVERYTHING, HOST).split("\r\n")) {
    const colon = line.indexOf(":");
    if (line.startsWith("#") || colon < 0) continue;
    const field = line.slice(0, colon);
    fields.set(field, [...fields.get(field) ?? [], line.slice(colon + 1)]);
  }
  return fields;
}

/** Joined, of servers that have these lines in one section. */
function section(name: string, ...servers: string[]): Map<string, string[]> {
  return joined(...servers.map((lines) => [`# ${name}`, ...lines.split(" ")]));
}

for (const [server, lines] of Object.entries(CAPTURED)) {
  Deno.test(`INFO of ${server}: the table decides about every field`, () => {
    const undecided = lines.filter((line) => /^[^#:]+:/.test(line)).map((line) => line.split(":")[0]!)
      .filter((field) => ruleOf(field) === undefined && pairRulesOf(field) === undefined);
    assert.deepEqual(undecided, []);
  });
}

for (const [name, lines] of Object.entries(CAPTURED).filter(([server]) => server.endsWith("primary"))) {
  Deno.test(`INFO of twice ${name}: counts are doubled, and nothing else is`, () => {
    const once = joined(lines);
    const twice = joined(lines, lines);
    for (const [field, [value]] of once) {
      const rule = ruleOf(field);
      const after = twice.get(field)?.[0];
      if (rule === RULE.SUM || rule === RULE.LIMIT) assert.equal(Number(after), 2 * Number(value), field);
      else if (rule === RULE.HUMAN) assert.notEqual(after, undefined);
      else if (rule === RULE.DROP) assert.equal(after, undefined);
      else if (pairRulesOf(field) === undefined && !field.startsWith("ringmaster")) {
        assert.equal(after, value, field);
      }
    }
    assert.equal(twice.has("listener0"), false);
    assert.deepEqual(twice.get("tcp_port"), ["22121"]);
  });
}

Deno.test("INFO joined: each rule on its own", () => {
  const cases: [section: string, servers: string[], expected: Record<string, string>][] = [
    ["Memory", ["used_memory:1000 used_memory_human:1000B", "used_memory:1048 used_memory_human:1.02K"], {
      used_memory: "2048",
      used_memory_human: "2.00K",
    }],
    ["Memory", ["used_memory_peak_time:1795945393", "used_memory_peak_time:1795945400"], {
      used_memory_peak_time: "1795945400",
    }],
    ["Memory", ["maxmemory:100 maxmemory_policy:noeviction", "maxmemory:50 maxmemory_policy:allkeys-lru"], {
      maxmemory: "150",
      maxmemory_policy: "allkeys-lru",
    }],
    ["Memory", ["maxmemory:100 maxmemory_human:100B", "maxmemory:0 maxmemory_human:0B"], {
      maxmemory: "0",
      maxmemory_human: "0B",
    }],
    ["Memory", ["used_memory_peak_perc:99.5%", "used_memory_peak_perc:100.16%"], {
      used_memory_peak_perc: "100.16%",
    }],
    ["Persistence", ["loading:0 rdb_last_save_time:20", "loading:1 rdb_last_save_time:10"], {
      loading: "1",
      rdb_last_save_time: "10",
    }],
    ["Persistence", ["aof_last_write_status:ok", "aof_last_write_status:err"], {
      aof_last_write_status: "err",
    }],
    ["CPU", ["used_cpu_sys:0.100000", "used_cpu_sys:0.250000"], { used_cpu_sys: "0.350000" }],
    ["Stats", ["new_total:7", "new_total:8"], { new_total: "7" }],
    ["Stats", ["keyspace_hits:7", "other:1"], { keyspace_hits: "7", other: "1" }],
    ["Replication", ["role:master connected_slaves:1", "role:slave master_host:h connected_slaves:0"], {
      role: "master",
      connected_slaves: "1",
    }],
    ["Commandstats", [
      "cmdstat_get:calls=1,usec=3,usec_per_call=3.00,newfield=4",
      "cmdstat_get:calls=3,usec=5,usec_per_call=1.67,newfield=4",
    ], { cmdstat_get: "calls=4,usec=8,usec_per_call=2.00,newfield=4" }],
    ["Latencystats", [
      "latency_percentiles_usec_get:p50=1.003,p99.9=7.000",
      "latency_percentiles_usec_get:p50=2.003,p99.9=5.000",
    ], { latency_percentiles_usec_get: "p50=2.003,p99.9=7.000" }],
    ["Keyspace", [
      "db0:keys=5,expires=1,avg_ttl=100,subexpiry=1 db9:keys=1,expires=0,avg_ttl=0",
      "db0:keys=7,expires=3,avg_ttl=200,subexpiry=0",
    ], { db0: "keys=12,expires=4,avg_ttl=175,subexpiry=1" }],
    ["Keysizes", ["db0_distrib_strings_sizes:1=4,2K=1", "db0_distrib_strings_sizes:2K=2,4K=1"], {
      db0_distrib_strings_sizes: "1=4,2K=3,4K=1",
    }],
    ["Scripting Engines", [
      "engines_count:1 engine_0:name=LUA,module=lua,abi_version=4,used_memory=10,memory_overhead=1",
      "engines_count:1 engine_0:name=LUA,module=lua,abi_version=4,used_memory=30,memory_overhead=1",
    ], {
      engines_count: "1",
      engine_0: "name=LUA,module=lua,abi_version=4,used_memory=40,memory_overhead=2",
    }],
  ];
  for (const [name, servers, expected] of cases) {
    const found = section(name, ...servers);
    const theirs = ([field]: [string, string[]]) => servers.some((lines) => lines.includes(`${field}:`));
    assert.deepEqual(
      [...found].filter(theirs),
      Object.entries(expected).map(([f, v]) => [f, [v]]),
      servers.join(" | "),
    );
  }
});

Deno.test("INFO joined: the identity is that of the server that can do the least, all of it", () => {
  const valkey9 =
    "redis_version:7.2.4 server_name:valkey valkey_version:9.1.2 server_mode:standalone redis_build_id:9";
  const valkey8 =
    "redis_version:7.2.4 server_name:valkey valkey_version:8.1.1 server_mode:cluster redis_build_id:8";
  const redis8 = "redis_version:8.6.3 redis_mode:cluster redis_build_id:r8";
  const redis7 = "redis_version:7.0.15 redis_mode:standalone redis_build_id:r7";
  const names = [
    "redis_version",
    "server_name",
    "valkey_version",
    "redis_build_id",
    "server_mode",
    "redis_mode",
  ];
  const of = (...servers: string[]) => {
    const found = section("Server", ...servers);
    return names.map((name) => found.get(name)?.[0]).join(" ");
  };
  assert.equal(of(redis8, valkey9, valkey8), "7.2.4 valkey 8.1.1 8 standalone standalone");
  assert.equal(of(valkey9, redis7), "7.0.15   r7 standalone standalone");
  assert.equal(of(redis8), "8.6.3   r8  standalone");
});

Deno.test("INFO joined: modules are those that all servers have, also where one server has several", () => {
  const a = "module:name=a,ver=1";
  assert.deepEqual(section("Modules", `${a} module:name=b,ver=2`).get("module"), [
    "name=a,ver=1",
    "name=b,ver=2",
  ]);
  const two = section("Modules", `${a} module:name=b,ver=2`, "module:name=b,ver=3 module:name=c,ver=1");
  assert.deepEqual(two.get("module"), ["name=b,ver=2"]);
  assert.equal(section("Modules", a, "x:1").get("module"), undefined);
});

thorough(
  "property: of a field that the table does not know one of the servers has said what is shown",
  () => {
    const random = new Random(11);
    const values = [
      "1",
      "0",
      "17",
      "1795945393",
      "0.50",
      "12.5%",
      "1.04M",
      "ok",
      "x",
      "a=1",
      "a=1,b=2",
      "p50=3",
    ];
    const names = [
      "fresh",
      "total_fresh_bytes",
      "instantaneous_fresh",
      "used_memory_fresh",
      "fresh_human",
      "port9",
    ];
    for (let round = 0; round < 3000; round++) {
      const servers = Array.from(
        { length: 2 + random.below(4) },
        () =>
          names.filter(() => random.below(4) > 0)
            .map((name) => `${name}:${values[random.below(values.length)]}`).join(" ") || "only:1",
      );
      for (const [field, shown] of section("Fresh", ...servers)) {
        if (field.startsWith("ringmaster")) continue;
        assert.ok(
          servers.some((lines) => lines.split(" ").includes(`${field}:${shown[0]}`)),
          `${field} ${shown}`,
        );
      }
    }
  },
);
