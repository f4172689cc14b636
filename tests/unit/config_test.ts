/** Configuration: values and errors of every key, twemproxy's grammars and verdicts, and that no text does worse than a ConfigError. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { encode } from "../../src/bytes/ascii.ts";
import type { Config, HashName, PoolConfig } from "../../src/config/config.ts";
import { adviceFor } from "../../src/config/advice.ts";
import { configMarkdown, exampleConfig, keyNames } from "../../src/config/describe.ts";
import {
  ConfigError,
  editDistance,
  loadConfig,
  parseConfig,
  parseServers,
  type Problem,
} from "../../src/config/parse.ts";
import {
  FROM_KEYS,
  KEYS,
  LOG_KEYS,
  POOL_KEYS,
  PROCESS_KEYS,
  REPLICATION_KEYS,
  SERVER_KEYS,
  UNAVAILABLE_KEYS,
} from "../../src/config/schema.ts";
import { ROOT } from "../lib/repo.ts";
import { runs, thorough } from "../lib/runs.ts";
import PLACEMENT from "../vectors/placement.json" with { type: "json" };
import NUTCRACKER from "../vectors/config/nutcracker.json" with { type: "json" };

function problemsOf(text: string): readonly Problem[] {
  try {
    parseConfig(text, "x.yml");
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.ok(error.problems.length > 0);
    assert.equal(error.message, error.problems.map((each) => each.text).join("\n"));
    return error.problems;
  }
  return [];
}

function textsOf(text: string): string[] {
  return problemsOf(text).map((each) => each.text);
}

/** A pool with one more line (or several, indented as they should be). */
function poolWith(lines: string, servers = "[ h:1:1 ]", listen = "127.0.0.1:1"): string {
  return `p:\n  listen: ${listen}\n  servers: ${servers}\n  ${lines}\n`;
}

function poolOf(text: string): PoolConfig {
  return parseConfig(text, "x.yml").pools[0]!;
}

const MINIMAL = "p:\n  listen: 127.0.0.1:1\n  servers:\n    - h:1:1\n";

/** What a server has that is no more than an address. */
const ALONE = { master: null, replicas: [], zone: null, slots: null };

/** What a pool has that says nothing but listen and servers. */
const DEFAULTS: PoolConfig = {
  name: "p",
  listen: { host: "127.0.0.1", port: 1 },
  listenText: "127.0.0.1:1",
  listenLine: 2,
  hash: "fnv1a_64",
  hashTag: null,
  distribution: "ketama",
  timeoutMs: -1,
  backlog: 512,
  clientConnectionsMax: 0,
  redis: false,
  redisAuth: null,
  redisDb: 0,
  tcpKeepalive: false,
  preconnect: false,
  autoEjectHosts: false,
  serverConnections: 1,
  serverRetryTimeoutMs: 30000,
  serverFailureLimit: 2,
  reusePort: false,
  connectTimeoutMs: 1000,
  idleTimeoutMs: 0,
  requestSizeMax: 512 * 1024 * 1024,
  argumentsMax: 1048576,
  inFlightMax: 10000,
  clientOutputMax: 256 * 1024 * 1024,
  probeTimeoutMs: 1000,
  dangerousCommands: false,
  databases: 1,
  announceCluster: false,
  announce: [],
  tls: null,
  serverTls: null,
  serverAuth: null,
  users: null,
  serversFrom: null,
  perAddress: null,
  perUser: null,
  allow: null,
  deny: null,
  proxyProtocol: false,
  proxyFrom: null,
  failover: "none",
  sentinels: [],
  sentinelAuth: null,
  readFrom: "primary",
  maxLag: { ms: 10_000 },
  readYourWrites: false,
  retryReads: false,
  maxEjected: 1,
  promoter: true,
  cluster: false,
  clusterRefreshMs: 5000,
  clusterTryagainMs: 5000,
  slowlogThresholdMs: 0,
  slowlogMaxLen: 128,
  slowlogMask: false,
  servers: [{ name: "h:1", address: { host: "h", port: 1 }, addressText: "h:1", weight: 1, ...ALONE }],
};

const PROCESS_DEFAULTS: Config["process"] = {
  workers: 1,
  shutdownTimeoutMs: 10000,
  log: { level: null, format: "text", output: "stderr" },
  memoryMax: 0,
  watch: false,
  zone: null,
  zones: null,
  maxMoved: null,
  admin: null,
  adminText: "off",
  adminToken: null,
  adminTokenFile: null,
  adminTls: null,
  otlp: null,
  otlpHeaders: null,
  otlpIntervalMs: 15000,
  accessLog: null,
  accessLogRate: 100,
  otlpSpans: 0,
};

Deno.test("parseConfig() gives every field its default", () => {
  assert.deepEqual(parseConfig(MINIMAL, "x.yml"), { process: PROCESS_DEFAULTS, pools: [DEFAULTS] });
});

/** key, text in the file, field, value. Every key of a pool is here; a test below counts. */
const GOOD: readonly (readonly [string, string, keyof PoolConfig, unknown])[] = [
  ["announce_cluster", "false", "announceCluster", false],
  ["allow", '[ "::1" ]', "allow", [{ ip: [...Array(15).fill(0), 1], bits: 128, text: "::1" }]],
  ["deny", "[ 10.0.0.0/8, '::ffff:10.1.0.0/112' ]", "deny", [
    { ip: [10, 0, 0, 0], bits: 8, text: "10.0.0.0/8" },
    { ip: [10, 1, 0, 0], bits: 16, text: "::ffff:10.1.0.0/112" },
  ]],
  ["proxy_protocol", "off", "proxyProtocol", false],
  ["hash", "md5", "hash", "md5"],
  ["hash", '"one_at_a_time"', "hash", "one_at_a_time"],
  ["hash_tag", '"{}"', "hashTag", Uint8Array.of(123, 125)],
  ["hash_tag", "{}", "hashTag", Uint8Array.of(123, 125)],
  ["hash_tag", "[]", "hashTag", Uint8Array.of(91, 93)],
  ["hash_tag", "$$", "hashTag", Uint8Array.of(36, 36)],
  ["hash_tag", "'é'", "hashTag", Uint8Array.of(0xc3, 0xa9)],
  ["distribution", "modula", "distribution", "modula"],
  ["distribution", "random", "distribution", "random"],
  [
    "per_address",
    "{ max_requests_per_s: 1000, max_bytes_per_s: 1mb }",
    "perAddress",
    { requestsMax: 1000, bytesMax: 1 << 20, connectionsMax: 0 },
  ],
  ["timeout", "400", "timeoutMs", 400],
  ["timeout", "0", "timeoutMs", -1],
  ["timeout", "0007", "timeoutMs", 7],
  ["timeout", '"5"', "timeoutMs", 5],
  ["timeout", "2147483647", "timeoutMs", 2147483647],
  ["backlog", "0", "backlog", 0],
  ["client_connections", "10000", "clientConnectionsMax", 10000],
  ["redis", "true", "redis", true],
  ["redis", '"true"', "redis", true],
  ["redis", "false", "redis", false],
  ["redis_auth", "s3cret word\n  redis: true", "redisAuth", new TextEncoder().encode("s3cret word")],
  ["redis_auth", "100%\n  redis: true", "redisAuth", new TextEncoder().encode("100%")],
  ["redis_db", "5", "redisDb", 5],
  ["tcpkeepalive", "true", "tcpKeepalive", true],
  ["preconnect", "true", "preconnect", true],
  ["auto_eject_hosts", "true", "autoEjectHosts", true],
  ["server_connections", "4", "serverConnections", 4],
  ["server_retry_timeout", "0", "serverRetryTimeoutMs", 0],
  ["server_failure_limit", "0", "serverFailureLimit", 1],
  ["server_failure_limit", "3", "serverFailureLimit", 3],
  ["reuseport", "true", "reusePort", true],
  ["connect_timeout", "1", "connectTimeoutMs", 1],
  ["idle_timeout", "60000", "idleTimeoutMs", 60000],
  ["max_request_size", "64", "requestSizeMax", 64],
  ["max_request_size", "64kb", "requestSizeMax", 65536],
  ["max_request_size", "1gb", "requestSizeMax", 1 << 30],
  ["max_request_size", "2MB", "requestSizeMax", 2 << 20],
  ["max_arguments", "1", "argumentsMax", 1],
  ["max_in_flight", "7", "inFlightMax", 7],
  ["client_output_limit", "1024b", "clientOutputMax", 1024],
  ["probe_timeout", "250", "probeTimeoutMs", 250],
  ["dangerous_commands", "allow", "dangerousCommands", true],
  ["dangerous_commands", "deny", "dangerousCommands", false],
  ["databases", "16\n  redis: true", "databases", 16],
  ["failover", "none", "failover", "none"],
  ["failover", "none", "failover", "none"],
  ["read_from", "primary", "readFrom", "primary"],
  ["read_from", "prefer_replica\n  redis: true", "readFrom", "prefer_replica"],
  ["max_lag", "10s", "maxLag", { ms: 10_000 }],
  ["max_lag", "250ms\n  redis: true", "maxLag", { ms: 250 }],
  ["max_lag", "1mb\n  redis: true", "maxLag", { bytes: 1 << 20 }],
  ["read_your_writes", "true\n  redis: true", "readYourWrites", true],
  ["retry_reads", "true\n  redis: true", "retryReads", true],
  ["max_ejected", "50%", "maxEjected", 0.5],
  ["promoter", "true", "promoter", true],
  ["cluster", "false", "cluster", false],
  ["cluster_refresh", "5000", "clusterRefreshMs", 5000],
  ["cluster_tryagain", "5000", "clusterTryagainMs", 5000],
  ["slowlog_threshold", "10", "slowlogThresholdMs", 10],
  ["slowlog_max_len", "256", "slowlogMaxLen", 256],
  ["slowlog_mask", "true", "slowlogMask", true],
];

for (const [key, text, field, value] of GOOD) {
  Deno.test(`parseConfig() reads ${key}: ${text.split("\n")[0]}`, () => {
    const pool = poolOf(poolWith(`${key}: ${text}`));
    const expected = { ...DEFAULTS, redis: text.includes("redis: true"), [field]: value };
    assert.deepEqual(pool, expected);
  });
}

/** key, text in the file, what is expected there. */
const BAD: readonly (readonly [string, string, RegExp])[] = [
  ["listen", "127.0.0.1", /found "127.0.0.1", expected HOST:PORT/],
  ["servers", "h:1:1", /found "h:1:1", expected a list/],
  ["servers", "[]", /found an empty list, expected a list/],
  ["servers", "", /found nothing, expected a list/],
  ["servers_from", "{dns: a:1}", /found servers as well, expected one of servers and servers_from$/],
  ["allow", "10.0.0.0/8", /found "10.0.0.0\/8", expected a list of at most 1000 ranges/],
  ["allow", "[]", /found an empty list, expected a list/],
  ["allow", `[ ${"10.0.0.1, ".repeat(1001)} ]`, /found a longer list, expected a list of at most 1000/],
  ["allow", "[ 10.1.2.3/8 ]", /found "10.1.2.3\/8", expected 10.0.0.0\/8, or 10.1.2.3 alone/],
  ["deny", "[ localhost ]", /found "localhost", expected an address or a range of them/],
  ["deny", "[ [ 10.0.0.1 ] ]", /found a list, expected an address or a range of them/],
  [
    "per_address",
    "1000",
    /found "1000", expected a mapping of max_requests_per_s, max_bytes_per_s, max_conn/,
  ],
  ["per_address", "{}", /found no limit, expected one that is not 0, or no per_address/],
  ["per_address", "{ max_requests_per_s: 0 }", /found no limit/],
  ["proxy_protocol", "true", /found "true", expected off or on/],
  [
    "proxy_from",
    "[ 10.0.0.5 ]",
    /found proxy_from without proxy_protocol, expected proxy_protocol: on as well/,
  ],
  ["hash", "FNV1a_64", /found "FNV1a_64", expected one of one_at_a_time, md5, /],
  ["hash_tag", "abc", /found "abc", expected exactly two bytes/],
  ["hash_tag", "{a: b}", /found a mapping, expected exactly two bytes/],
  ["hash_tag", "", /found nothing/],
  ["distribution", "ring", /expected one of ketama, modula, random/],
  [
    "timeout",
    "abc",
    /found "abc", expected a number of milliseconds \(0 to 2147483647, or absent for none\)/,
  ],
  ["timeout", "-1", /found "-1"/],
  ["timeout", "1.0", /found "1.0"/],
  ["timeout", "0x5", /found "0x5"/],
  ["timeout", "2147483648", /0 to 2147483647/],
  ["timeout", "4294967297", /0 to 2147483647/],
  ["timeout", "[ 1 ]", /found a list/],
  ["backlog", "'5 '", /found "5 ", expected a whole number \(0 to 2147483647\)/],
  ["client_connections", "many", /expected a whole number/],
  ["redis", "yes", /found "yes", expected true or false/],
  ["redis", "True", /found "True"/],
  ["redis", "", /found nothing, expected true or false/],
  ["redis_auth", '""\n  redis: true', /found nothing, expected some text/],
  ["redis_auth", "x", /found a password in a memcached pool, expected redis: true, or no redis_auth/],
  ["redis_db", "-1", /found "-1"/],
  ["tcpkeepalive", "1", /true or false/],
  ["preconnect", "on", /true or false/],
  ["auto_eject_hosts", "~", /found "~", expected true or false/],
  ["server_connections", "0", /found "0", expected a whole number \(1 to 2147483647\)/],
  ["server_retry_timeout", "30s", /found "30s", expected a number of milliseconds/],
  ["server_failure_limit", "two", /expected a whole number/],
  ["reuseport", "TRUE", /true or false/],
  ["connect_timeout", "0", /\(1 to 2147483647\)/],
  ["idle_timeout", "x", /milliseconds/],
  ["max_request_size", "63", /\(64 to 4294967296 bytes\)/],
  ["max_request_size", "1 kb", /found "1 kb"/],
  ["max_request_size", "5gb", /a size in bytes/],
  ["max_arguments", "0", /\(1 to /],
  ["max_in_flight", "0", /\(1 to /],
  ["client_output_limit", "1023", /\(1024 to /],
  ["probe_timeout", "0", /\(1 to /],
  ["dangerous_commands", "maybe", /expected deny or allow/],
  ["databases", "0", /\(1 to 16384\)/],
  ["databases", "16", /redis: true, or 1/],
  ["announce_cluster", "yes", /true or false/],
  ["announce_cluster", "true", /found announce_cluster in a memcached pool, expected redis: true/],
  [
    "announce",
    "[h:1]\n  redis: true",
    /found announce without announce_cluster, expected announce_cluster: true/,
  ],
  [
    "announce",
    "h:1\n  redis: true",
    /found "h:1", expected a list of at most 100 HOST:PORT, one proxy each/,
  ],
  ["announce", "[]\n  redis: true", /found an empty list/],
  ["announce", "[h]\n  redis: true", /found "h", expected HOST:PORT at which clients reach a proxy/],
  ["announce", "[0:1]\n  redis: true", /found "0:1", expected HOST:PORT at which clients reach a proxy/],
  [
    "announce",
    "[/run/r]\n  redis: true",
    /found "\/run\/r", expected HOST:PORT at which clients reach a proxy/,
  ],
  ["announce", "[h:1, h:1]\n  redis: true", /found "h:1" twice, expected each once/],
  ["announce", "[h:1, H:1]\n  redis: true", /found "H:1", which is "h:1", expected each once/],
  [
    "announce",
    "['[::1]:1', '[0:0:0:0:0:0:0:1]:1']\n  redis: true",
    /found "\[0:0:0:0:0:0:0:1\]:1", which is "\[::1\]:1", expected each once/,
  ],
  [
    "announce",
    `[${Array.from({ length: 101 }, (_, i) => `h:${i + 1}`)}]\n  redis: true`,
    /found a longer list, expected a list of at most 100/,
  ],
  ["failover", "sentinels", /found "sentinels", expected one of none, sentinel, promote$/],
  ["failover", "promote", /found failover in a memcached pool, expected redis: true: memcached servers/],
  ["sentinels", "h:1\n  redis: true", /found "h:1", expected a list of HOST:PORT/],
  ["sentinels", "[h]\n  redis: true", /found "h", expected HOST:PORT of a sentinel/],
  ["sentinels", "[/run/s]\n  redis: true", /found "\/run\/s", expected HOST:PORT of a sentinel/],
  ["sentinels", "[h:1, h:1]\n  redis: true", /found "h:1" twice, expected each once/],
  [
    "sentinels",
    "[h:1]\n  redis: true",
    /found sentinels with failover: none, expected failover: sentinel$/,
  ],
  ["sentinel_auth", '"u:"\n  redis: true', /found a value, expected a password, or USER:PASSWORD/],
  [
    "sentinel_auth",
    "x\n  redis: true",
    /found sentinel_auth with failover: none, expected failover: sentinel/,
  ],
  ["read_from", "replicas", /expected one of primary, prefer_replica, replica, any, nearest/],
  ["read_from", "any", /found read_from in a memcached pool/],
  [
    "read_from",
    "nearest\n  redis: true",
    /found "nearest" without a zone of the proxy, expected zone under ringmaster/,
  ],
  ["max_lag", "10", /found "10", expected a time such as 10s or 500ms, or bytes such as 1mb/],
  ["max_lag", "0s", /found "0s"/],
  ["read_your_writes", "yes", /true or false/],
  ["retry_reads", "true", /found retry_reads in a memcached pool/],
  ["max_ejected", "101%", /a share from 0% to 100%/],
  ["max_ejected", "0.5", /a share from 0% to 100%/],
  ["promoter", "false\n  redis: true", /found promoter with failover: none, expected failover: promote/],
  ["cluster", "yes", /found "yes", expected true or false/],
  ["cluster_refresh", "99", /expected a number of milliseconds \(100 to/],
  ["slowlog_threshold", "-1", /expected a number of milliseconds/],
  ["slowlog_threshold", "10ms", /expected a number of milliseconds/],
  ["slowlog_max_len", "257", /found "257", expected .*256/],
  ["slowlog_mask", "yes", /found "yes", expected true or false/],
  ["cluster_tryagain", "1", /found cluster_tryagain without a cluster, expected cluster: true/],
];

for (const [key, text, expected] of BAD) {
  Deno.test(`parseConfig() refuses ${key}: ${text.split("\n")[0]}`, () => {
    const lines = { listen: "127.0.0.1:1", servers: "[ h:1:1 ]", [key]: text };
    const yaml = "p:\n" + Object.entries(lines).map(([name, value]) => `  ${name}: ${value}\n`).join("");
    const problems = problemsOf(yaml);
    assert.equal(problems.length, 1, JSON.stringify(problems));
    const problem = problems[0]!;
    assert.equal(problem.key, key);
    assert.equal(problem.line, 2 + Object.keys(lines).indexOf(key));
    assert.equal(
      problem.text,
      `x.yml:${problem.line}:${problem.column}: ${key}: found ${problem.found}, expected ${problem.expected}`,
    );
    assert.match(problem.text, expected);
  });
}

Deno.test("a field is of the type that its row says, and no field is without a row", () => {
  const pool = poolOf(MINIMAL);
  const hash: HashName = pool.hash;
  const password: Uint8Array | null = pool.redisAuth;
  const dangerous: boolean = pool.dangerousCommands;
  const limit: number = pool.serverFailureLimit;
  assert.deepEqual([hash, password, dangerous, limit], ["fnv1a_64", null, false, 2]);
  // @ts-expect-error: absent it is null
  const tag: Uint8Array = pool.hashTag;
  // @ts-expect-error: no row has this field
  assert.deepEqual([tag, pool.noSuchField], [null, undefined]);
});

Deno.test("admin_token_file says what is wrong with its token, and shows nothing of it", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const says = (token: string): string => {
      Deno.writeTextFileSync(`${folder}/token`, token);
      try {
        parseConfig("ringmaster: { admin_token_file: token }\n" + MINIMAL, `${folder}/x.yml`);
        return "";
      } catch (error) {
        return (error as Error).message.replace(/^.*?found/, "found");
      }
    };
    const expected = ", expected a file of one line: 16 to 1024 letters, digits and signs without spaces";
    assert.equal(says("\n"), `found "token", which is empty${expected}`);
    assert.equal(says("sesame\n"), `found "token", which has 6 characters${expected}`);
    assert.equal(
      says("sesame sesame sesame"),
      `found "token", which has a space, or a sign that is none of ASCII${expected}`,
    );
    assert.equal(
      says("sesamesesamesesame\nsesame"),
      `found "token", which has more than one line${expected}`,
    );
    assert.equal(says("sesamesesamesesame\n"), "");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("every key of a pool has valid and invalid cases here", () => {
  for (const key of POOL_KEYS) {
    // In tls_test.ts.
    if (["tls", "server_tls", "users", "per_user", "server_auth"].includes(key.name)) continue;
    const notAlone = [
      "listen",
      "servers",
      "servers_from",
      "sentinels",
      "sentinel_auth",
      "announce",
      "proxy_from",
    ];
    if (!notAlone.includes(key.name)) {
      assert.ok(GOOD.some((row) => row[0] === key.name), key.name);
    }
    assert.ok(BAD.some((row) => row[0] === key.name), key.name);
  }
});

Deno.test("per_address has its own keys", () => {
  const says = (limits: string) => textsOf(poolWith(`per_address: ${limits}`))[0]!;
  assert.match(says("{ max_clients: 3 }"), /max_clients: found a key that is none of limits/);
  assert.match(says("{ max_bytes_per_s: 2gb }"), /max_bytes_per_s: found "2gb", expected a size in bytes/);
});

Deno.test("proxy_protocol needs proxy_from, but on a unix socket", () => {
  const { proxyProtocol, proxyFrom } = poolOf(poolWith("proxy_protocol: on\n  proxy_from: [ 10.0.0.5 ]"));
  assert.equal(proxyProtocol, true);
  assert.deepEqual(proxyFrom, [{ ip: [10, 0, 0, 5], bits: 32, text: "10.0.0.5" }]);
  assert.deepEqual(problemsOf(poolWith("proxy_protocol: on", "[ h:1:1 ]", "/run/r.sock")), []);
  assert.match(
    textsOf(poolWith("proxy_protocol: on"))[0]!,
    /proxy_from: found nothing, expected a list of at most 1000 .*: whoever may send the header may say to be anybody/,
  );
});

Deno.test("announce names proxies; with a unix socket cluster clients need it", () => {
  const announcing = "redis: true\n  announce_cluster: true";
  const { announceCluster, announce } = poolOf(
    poolWith(`${announcing}\n  announce: [p1.example.com:7, "[::1]:8"]`),
  );
  assert.equal(announceCluster, true);
  assert.deepEqual(announce, [
    { address: { host: "p1.example.com", port: 7 }, text: "p1.example.com:7" },
    { address: { host: "::1", port: 8 }, text: "[::1]:8" },
  ]);
  // Whoever writes the same in another way announces the same nodes.
  const otherwise = poolOf(poolWith(`${announcing}\n  announce: [P1.Example.COM:7, "[0:0:0:0:0:0:0:1]:8"]`));
  assert.deepEqual(otherwise.announce.map(({ address }) => address), announce.map(({ address }) => address));
  const [problem] = textsOf(poolWith(announcing, "[ h:1:1 ]", "/run/r.sock"));
  assert.match(
    problem!,
    /found announce_cluster with listen: "\/run\/r.sock", expected a listen of HOST:PORT, or announce/,
  );
  assert.deepEqual(problemsOf(poolWith(`${announcing}\n  announce: [h:1]`, "[ h:1:1 ]", "/run/r.sock")), []);
});

Deno.test("adviceFor() tells who announces a cluster of several servers without a hash tag", () => {
  const advice = (lines: string, servers = "[ h:1:1, h:2:1 ]") =>
    adviceFor(parseConfig(poolWith(`redis: true\n  ${lines}`, servers), "x.yml"));
  assert.match(
    advice("announce_cluster: true")[0]!,
    /^pool p: announce_cluster without hash_tag: "{}": .* CROSSSLOT$/,
  );
  assert.equal(advice('announce_cluster: true\n  hash_tag: "[]"').length, 1);
  assert.deepEqual(advice('announce_cluster: true\n  hash_tag: "{}"'), []);
  assert.deepEqual(advice("announce_cluster: true", "[ h:1:1 ]"), []);
  assert.deepEqual(advice("announce_cluster: false"), []);
});

Deno.test("adviceFor() tells of a pool that is its own server, and what a listen of * is", () => {
  const advice = (listen: string, servers: string) =>
    adviceFor(parseConfig(poolWith("redis: true", servers, listen), "x.yml"));
  const OWN = /^pool p: server (b|127.0.0.1:7) is where the pool listens itself/;
  for (
    const [listen, server] of [["h:7", "h:7:1 b"], ["0.0.0.0:7", "127.0.0.1:7:1"], [
      "'[::]:7'",
      "localhost:7:1 b",
    ], [
      "/r",
      "/r:1 b",
    ]] as const
  ) {
    const [line, ...more] = advice(listen, `[ 'h:1:1', '${server}' ]`);
    assert.match(line!, OWN, listen);
    assert.deepEqual(more, []);
  }
  // Others may have the same port, elsewhere.
  for (const server of ["h:7:1", "10.0.0.1:7:1", "127.0.0.1:8:1", "/r:1"]) {
    assert.deepEqual(advice("0.0.0.0:7", `[ '${server}' ]`), [], server);
  }
  assert.match(advice("'*:7'", "[ h:1:1 ]")[0]!, /^pool p: listen: "\*" is 127\.0\.0\.1 or ::1 alone/);
  assert.match(
    advice("localhost:7", "[ h:1:1 ]")[0]!,
    /^pool p: listen: localhost is 127\.0\.0\.1 or ::1 alone/,
  );
});

/** The lines of a Redis pool behind its listen, and what differs from the defaults or is wrong. */
const FAILOVERS: readonly (readonly [string, string, Partial<PoolConfig> | RegExp])[] = [
  [
    "masters by name",
    "failover: sentinel\n  sentinels: [h:1, 's:26379']\n  servers: [{name: a, master: m1}, {master: m2, weight: 3, zone: z}]",
    {
      failover: "sentinel",
      sentinels: [
        { address: { host: "h", port: 1 }, text: "h:1" },
        { address: { host: "s", port: 26379 }, text: "s:26379" },
      ],
      servers: [
        { ...ALONE, name: "a", address: null, addressText: "master m1", weight: 1, master: "m1" },
        { ...ALONE, name: "m2", address: null, addressText: "master m2", weight: 3, master: "m2", zone: "z" },
      ],
    },
  ],
  ...([["secret", { user: null, password: "secret" }], ["u:pass:word", {
    user: "u",
    password: "pass:word",
  }], [":pass:word", { user: null, password: "pass:word" }]] as const).map(([text, sentinelAuth]) =>
    [
      `sentinel_auth of ${text}`,
      `failover: sentinel\n  sentinels: [h:1]\n  sentinel_auth: "${text}"\n  servers: [{master: m}]`,
      {
        failover: "sentinel" as const,
        sentinels: [{ address: { host: "h", port: 1 }, text: "h:1" }],
        sentinelAuth,
        servers: [{ ...ALONE, name: "m", address: null, addressText: "master m", weight: 1, master: "m" }],
      },
    ] as const
  ),
  [
    "replicas with and without zones",
    "servers: [{address: h:1, zone: b, replicas: [h:2, {address: /run/r, zone: a}]}]",
    {
      servers: [{
        ...DEFAULTS.servers[0]!,
        zone: "b",
        replicas: [
          { address: { host: "h", port: 2 }, text: "h:2", zone: null },
          { address: { path: "/run/r" }, text: "/run/r", zone: "a" },
        ],
      }],
    },
  ],
  [
    "promotion",
    "failover: promote\n  promoter: false\n  servers: [{address: h:1, replicas: [h:2, h:3]}]",
    {
      failover: "promote",
      promoter: false,
      servers: [{
        ...DEFAULTS.servers[0]!,
        replicas: [2, 3].map((port) => ({ address: { host: "h", port }, text: `h:${port}`, zone: null })),
      }],
    },
  ],
  [
    "promotion of the only replica",
    "failover: promote\n  servers: [{address: h:1, replicas: [h:2]}]",
    /^x.yml:5:13: replicas: found "h:1" with one replica, expected two replicas or more/,
  ],
  [
    "a replica of itself",
    "servers: [{address: h:1, replicas: [h:2, h:1]}]",
    /^x.yml:4:38: replicas: found "h:1", which is the server's own address, expected the addresses of others/,
  ],
  [
    "sets that share a member",
    "failover: promote\n  servers: [{name: a, address: h:1, replicas: [h:2, h:3]}, {name: b, address: h:4, replicas: [h:2, h:5]}]",
    /^x.yml:5:\d+: replicas: found "h:2", which server 'a' of pool 'p' has too, with others, expected sets that are equal or share none/,
  ],
  [
    "promotion of none",
    "failover: promote\n  servers: [h:1:1]",
    /^x.yml:5:13: replicas: found "h:1" with no replicas, expected two replicas or more/,
  ],
  [
    "promotion on a path",
    "failover: promote\n  servers: [{address: h:1, replicas: [h:2, /run/r]}]",
    /^x.yml:5:13: replicas: found "h:1" on a unix socket, expected HOST:PORT of each/,
  ],
  [
    "promotion of whoever is found",
    "failover: promote\n  servers_from: {file: /x}",
    /^x.yml:4:13: failover: found failover: promote with servers_from, expected servers, each with its replicas/,
  ],
  [
    "no sentinels",
    "failover: sentinel\n  servers: [{master: m}]",
    /^x.yml:4:13: sentinels: found nothing, expected a list of HOST:PORT, .* as failover: sentinel needs$/,
  ],
  [
    "an address among masters",
    "failover: sentinel\n  sentinels: [h:1]\n  servers: [{master: m}, h:1:1]",
    /servers: found "h:1", expected a mapping of name and master/,
  ],
  [
    "an address beside a master",
    "failover: sentinel\n  sentinels: [h:1]\n  servers: [{master: m, address: h:1}]",
    /address: found address beside master, expected master alone/,
  ],
  [
    "replicas beside a master",
    "failover: sentinel\n  sentinels: [h:1]\n  servers: [{master: m, replicas: [h:1]}]",
    /replicas: found replicas beside master, expected master alone/,
  ],
  [
    "a master and no sentinel",
    "servers: [{master: m}]",
    /master: found "m", expected an address, or failover: sentinel/,
  ],
  ["neither address nor master", "servers: [{name: m}]", /address: found nothing, expected HOST:PORT/],
  [
    "servers from elsewhere",
    "failover: sentinel\n  sentinels: [h:1]\n  servers_from: {dns: a:1}",
    /failover: found failover: sentinel with servers_from, expected servers, each with its master/,
  ],
  ["a replica twice", "servers: [{address: h:1, replicas: [h:2, h:2]}]", /replicas: found "h:2" twice/],
  [
    "a replica under two spellings",
    "servers: [{address: h:1, replicas: [h:2, h.:2]}]",
    /found "h.:2", which is "h:2"/,
  ],
  [
    "its own replica",
    "servers: [{address: h:1, replicas: [H:1, h:2]}]",
    /found "H:1", which is the server's own/,
  ],
  [
    "a replica that is none",
    "servers: [{address: h:1, replicas: [{address: h:2, zones: 1}]}]",
    /zones: found a key that is none of a replica, expected perhaps zone/,
  ],
  ["no replica", "servers: [{address: h:1, replicas: []}]", /replicas: found an empty list/],
];

for (const [name, lines, expected] of FAILOVERS) {
  Deno.test(`parseConfig() with ${name}`, () => {
    const yaml = `p:\n  listen: 127.0.0.1:1\n  redis: true\n  ${lines}\n`;
    if (expected instanceof RegExp) {
      const texts = textsOf(yaml);
      assert.equal(texts.length, 1, texts.join("\n"));
      assert.match(texts[0]!, expected);
    } else assert.deepEqual(poolOf(yaml), { ...DEFAULTS, redis: true, ...expected });
  });
}

Deno.test("parseConfig() takes no replication in a memcached pool", () => {
  const yaml = "p:\n  listen: 127.0.0.1:1\n  failover: sentinel\n  sentinels: [h:1]\n  sentinel_auth: x\n" +
    "  read_from: any\n  max_lag: 1s\n  read_your_writes: true\n  retry_reads: true\n" +
    "  promoter: false\n  servers: [{address: h:1, replicas: [h:2]}, {master: m}]\n";
  const problems = problemsOf(yaml);
  assert.deepEqual(problems.map((each) => each.key), [...REPLICATION_KEYS, "replicas", "master"]);
  for (const each of problems) assert.match(each.text, /in a memcached pool, expected redis: true/);
});

const SEED = { ...ALONE, weight: 1, slots: "" };
const CLUSTER: Partial<PoolConfig> = {
  cluster: true,
  hashTag: encode("{}"),
  serversFrom: {
    seeds: [{ address: { host: "h", port: 7001 }, text: "h:7001", zone: null }],
    intervalMs: 5000,
  },
  servers: [{ ...SEED, name: "h:7001", addressText: "h:7001", address: { host: "h", port: 7001 } }],
};

/** The lines of a pool of a cluster behind its listen, and what differs from the defaults or is wrong. */
const CLUSTERS: readonly (readonly [string, string, Partial<PoolConfig> | RegExp])[] = [
  ["a seed", "servers: [h:7001]", CLUSTER],
  ["a seed in twemproxy's form", "servers: ['h:7001:1']", CLUSTER],
  ["what is the default anyway", "servers: [h:7001]\n  hash: fnv1a_64\n  failover: none", CLUSTER],
  ["its own keys", "servers: [h:7001]\n  cluster_refresh: 100\n  cluster_tryagain: 0", {
    ...CLUSTER,
    serversFrom: { ...CLUSTER.serversFrom!, intervalMs: 100 } as PoolConfig["serversFrom"],
    clusterRefreshMs: 100,
    clusterTryagainMs: 0,
  }],
  ["seeds of all forms", "servers: [a:10, {address: '[::1]:7', zone: z}]", {
    ...CLUSTER,
    serversFrom: {
      seeds: [
        { address: { host: "a", port: 10 }, text: "a:10", zone: null },
        { address: { host: "::1", port: 7 }, text: "[::1]:7", zone: "z" },
      ],
      intervalMs: 5000,
    },
    servers: [
      { ...SEED, name: "a:10", addressText: "a:10", address: { host: "a", port: 10 } },
      { ...SEED, name: "[::1]:7", addressText: "[::1]:7", address: { host: "::1", port: 7 }, zone: "z" },
    ],
  }],
  [
    "a weight",
    "servers: ['h:7001:2']",
    /servers: found "h:7001:2", expected HOST:PORT of a node of the cluster/,
  ],
  ["a name", "servers: ['h:7001:1 a']", /servers: found "h:7001:1 a", expected HOST:PORT of a node/],
  ["a server without a port", "servers: [h]", /servers: found "h", expected HOST:PORT of a node/],
  [
    "a seed twice",
    "servers: [h:1, h:1]",
    /a second server named "h:1" .*, expected each node of the cluster once/,
  ],
  [
    "replicas",
    "servers: [{address: h:1, replicas: [h:2]}]",
    /replicas: found replicas of a node of a cluster/,
  ],
  ["a path", "servers: [/tmp/a.sock]", /found "?\/tmp\/a.sock"?, expected HOST:PORT .* none by a path/],
  ["a path and a weight", "servers: ['/tmp/a.sock:1']", /expected HOST:PORT .* none by a path/],
  ["a path in a mapping", "servers: [{address: /tmp/a.sock}]", /expected HOST:PORT .* none by a path/],
  ["a hash", "servers: [h:1]\n  hash: md5", /hash: found hash with cluster: true, expected no hash/],
  ["a hash tag", "servers: [h:1]\n  hash_tag: '{}'", /hash_tag: found hash_tag with cluster: true/],
  ["servers_from", "servers_from: {dns: h:1}", /servers_from: found servers_from with cluster: true/],
  ["no servers", "timeout: 1", /servers: found nothing, expected a list/],
  ["ejection", "servers: [h:1]\n  auto_eject_hosts: true", /auto_eject_hosts with cluster: true/],
  ["failover", "servers: [h:1]\n  failover: promote", /failover: found failover with cluster: true/],
  [
    "memcached",
    "servers: [h:1]\n  redis: false",
    /cluster: found a cluster in a memcached pool, expected redis/,
  ],
];

for (const [name, lines, expected] of CLUSTERS) {
  Deno.test(`parseConfig() of a cluster with ${name}`, () => {
    const redis = lines.includes("redis:") ? "" : "  redis: true\n";
    const yaml = `p:\n  listen: 127.0.0.1:1\n${redis}  cluster: true\n  ${lines}\n`;
    if (expected instanceof RegExp) {
      const texts = textsOf(yaml);
      assert.equal(texts.length, 1, texts.join("\n"));
      assert.match(texts[0]!, expected);
    } else assert.deepEqual(poolOf(yaml), { ...DEFAULTS, redis: true, ...expected });
  });
}

Deno.test("parseConfig() takes read_from: nearest where the proxy has a zone", () => {
  const yaml = "ringmaster: { zone: a }\n" + poolWith("read_from: nearest\n  redis: true");
  assert.equal(poolOf(yaml).readFrom, "nearest");
});

const DNS = { dns: "redis.test", port: 6379, intervalMs: 5000, nameserver: null };

/** The text of `servers_from:` in a file in /etc, and what it means. */
const FROM: readonly (readonly [string, PoolConfig["serversFrom"] | RegExp])[] = [
  ["{dns: redis.test:6379}", DNS],
  ["{dns: Redis.Test.:6379, interval: 100}", { ...DNS, intervalMs: 100 }],
  ["{dns: redis.test:6379, nameserver: 127.0.0.1:53}", { ...DNS, nameserver: "127.0.0.1:53" }],
  ["{dns: redis.test:6379, nameserver: '[::1]:53'}", { ...DNS, nameserver: "[::1]:53" }],
  ["{dns: _redis._tcp.redis.test}", { ...DNS, dns: "_redis._tcp.redis.test", port: null }],
  ["{file: servers.txt}", { file: "/etc/servers.txt" }],
  ["{file: /run/servers}", { file: "/run/servers" }],
  ["redis.test:6379", /servers_from: found "redis.test:6379", expected a mapping of dns/],
  ["{}", /servers_from: found neither dns nor file, expected one of the two/],
  ["{dns: a:1, file: b}", /servers_from: found both dns and file, expected one of the two/],
  ["{file: b, interval: 200}", /interval: found a key of dns beside file, expected file alone/],
  ["{dns: redis.test}", /dns: found "redis.test", expected NAME:PORT, or _SERVICE/],
  ["{dns: _redis._tcp.a:1}", /dns: found "_redis._tcp.a:1", expected NAME:PORT, or _SERVICE/],
  ["{dns: /run/x}", /dns: found/],
  ["{dns: a:1, interval: 99}", /interval: found "99", expected a number of milliseconds \(100 to/],
  ["{dns: a:1, nameserver: b:53}", /nameserver: found "b:53", expected the IP address and port/],
  ["{dns: a:1, nameserver: 127.0.0.1}", /nameserver: found "127.0.0.1", expected/],
  [
    "{dns: a:1, intervall: 99}",
    /intervall: found a key that is none of servers_from, expected perhaps interval/,
  ],
  ["{dns: a:1, dns: b:1}", /dns: found a second time/],
];

for (const [text, expected] of FROM) {
  Deno.test(`parseConfig() with servers_from: ${text}`, () => {
    const yaml = `p:\n  listen: 127.0.0.1:1\n  servers_from: ${text}\n`;
    if (expected instanceof RegExp) {
      const problems = problemsOf(yaml);
      assert.equal(problems.length, 1, JSON.stringify(problems));
      assert.match(problems[0]!.text, expected);
    } else {
      const config = parseConfig(yaml, "/etc/x.yml");
      assert.deepEqual(config.pools, [{ ...DEFAULTS, serversFrom: expected, servers: [] }]);
    }
  });
}

/** Files of servers, and their servers or what is wrong. */
const SERVER_FILES: readonly (readonly [string, string, readonly string[] | RegExp])[] = [
  ["nothing", "", []],
  ["comments alone", "# none\n\n  # yet\n", []],
  ["lines", "h:1:1 b\n\n# two\n  h:2:3 a # named\r\n", ["a h:2 3", "b h:1 1"]],
  ["an IPv6 address", "[::1]:6379:1\n", ["[::1]:6379 [::1]:6379 1"]],
  ["a unix socket", "/run/x:1 x\n", ["x /run/x 1"]],
  ["a YAML list", "# all\n- h:1:1 b\n- { address: h:2, name: a }\n", ["a h:2 1", "b h:1 1"]],
  ["a YAML list in flow style", "[h:1:1, h:2:1]\n", ["h:1 h:1 1", "h:2 h:2 1"]],
  ["a YAML document", "---\n- h:1:1\n", ["h:1 h:1 1"]],
  ["a line that is none", "h:1:1\nh:2\n", /^x:2:1: servers: found "h:2", expected HOST:PORT:WEIGHT/],
  ["a name twice", "h:1:1 a\nh:2:1 a\n", /^x:2:1: servers: found a second server named "a"/],
  ["a master", "- { master: m }\n", /^x:1:3: master: found "m", expected an address, or failover/],
  ["a list in a list", "- - h:1:1\n", /^x:1:3: servers: found a list/],
  ["broken YAML", "- h:1:1\n- {\n", /^x:/],
];

for (const [name, text, expected] of SERVER_FILES) {
  Deno.test(`parseServers() with ${name}`, () => {
    if (expected instanceof RegExp) assert.throws(() => parseServers(text, "x"), { message: expected });
    else {
      const found = parseServers(text, "x").map((each) => `${each.name} ${each.addressText} ${each.weight}`);
      assert.deepEqual(found, expected);
    }
  });
}

/** The text of `ringmaster:`, and what differs from the defaults. */
const PROCESS: readonly (readonly [string, Partial<Config["process"]> | RegExp])[] = [
  ["{ workers: auto }", { workers: 0 }],
  ["{ workers: 256 }", { workers: 256 }],
  ["{ workers: 0 }", /workers: found "0", expected a whole number \(1 to 256\) or auto/],
  ["{ workers: 257 }", /workers/],
  ["{ shutdown_timeout: 0 }", { shutdownTimeoutMs: 0 }],
  ["{ shutdown_timeout: 10s }", /shutdown_timeout: found "10s"/],
  ["{ max_memory: 4gb }", { memoryMax: 4 * 2 ** 30 }],
  ["{ zone: eu-1 }", { zone: "eu-1" }],
  ["{ zone: e u }", /zone: found "e u", expected a name without spaces/],
  ["{ zones: { a: [10.0.1.0/24, '::1', Redis-1, '*.A.example.com'], b: [10.0.2.7] } }", {
    zones: [{
      name: "a",
      places: [
        { ip: [10, 0, 1, 0], bits: 24, text: "10.0.1.0/24" },
        { ip: [...new Array(15).fill(0), 1], bits: 128, text: "::1" },
        { host: "redis-1", text: "Redis-1" },
        { host: ".a.example.com", text: "*.A.example.com" },
      ],
    }, { name: "b", places: [{ ip: [10, 0, 2, 7], bits: 32, text: "10.0.2.7" }] }],
  }],
  ["{ zones: [a] }", /zones: found a list, expected a mapping of zones/],
  ["{ zones: {} }", /zones: found an empty mapping, expected a mapping of zones/],
  [
    "{ zones: { a: [] } }",
    /zones: found an empty list, expected a list of at most 1000: an address, a range/,
  ],
  ["{ zones: { a: 10.0.0.1 } }", /zones: found "10.0.0.1", expected a list of at most 1000/],
  ["{ zones: { a: [10.0.0.1/8] } }", /zones: found "10.0.0.1\/8", expected an address, a range of them/],
  ["{ zones: { a: ['10.0.0.1:6379'] } }", /zones: found "10.0.0.1:6379", expected an address/],
  ["{ zones: { a: ['x*.com'] } }", /zones: found "x\*.com", expected an address/],
  ["{ zones: { a: [h], a: [i] } }", /a/],
  ["{ zones: { 'a b': [h] } }", /zones: found a zone named "a b", expected names without spaces/],
  ["{ max_memory: half }", /max_memory: found "half", expected a size/],
  ["{ admin: off }", { admin: null, adminText: "off" }],
  ["{ admin: 127.0.0.1:8080 }", { admin: { host: "127.0.0.1", port: 8080 }, adminText: "127.0.0.1:8080" }],
  ["{ admin: '[::1]:8080' }", { admin: { host: "::1", port: 8080 }, adminText: "[::1]:8080" }],
  ["{ admin: 127.0.0.1 }", /admin: found "127.0.0.1", expected off, or HOST:PORT/],
  ["{ admin: /tmp/a.sock }", /admin: found "\/tmp\/a.sock", expected off, or HOST:PORT/],
  [
    "{ admin: 0.0.0.0:8080 }",
    /^x.yml:1:22: admin: found "0.0.0.0:8080" without a token, expected .*admin_token_file as well/,
  ],
  ["{ admin: 127.evil.test:80 }", /without a token/],
  ["{ admin_token_file: none/here }", /^x.yml:1:33: admin_token_file: found "none\/here", no such file/],
  ["{ otlp: 'http://127.0.0.1:4318' }", { otlp: "http://127.0.0.1:4318" }],
  ["{ otlp: 'HTTPS://Collector.example/base/' }", { otlp: "https://collector.example/base" }],
  ["{ otlp: 127.0.0.1:4318 }", /otlp: found "127.0.0.1:4318", expected a URL of http or https/],
  [
    "{ otlp: 'http://user:secret@host:4318' }",
    /otlp: found a value, expected a URL of http or https without user/,
  ],
  ["{ otlp: 'http://host:4318/?key=secret' }", /otlp: found a value, expected a URL/],
  ["{ otlp: 'http//user:secret@host' }", /otlp: found a value, expected a URL/],
  ["{ admin: 'http://user:secret@host:80' }", /admin: found a value without a token/],
  ["{ otlp: 'http://host:99999' }", /otlp: /],
  ["{ otlp: 'http:host' }", /otlp: /],
  ["{ otlp: 'grpc://host:4317' }", /otlp: /],
  ["{ otlp_headers: 'Authorization=Bearer%20a=b , x-scope=1' }", {
    otlpHeaders: [["authorization", "Bearer a=b"], ["x-scope", "1"]],
  }],
  ["{ otlp_headers: secret }", /otlp_headers: found a value, expected NAME=VALUE/],
  ["{ otlp_headers: 'a=b,A=c' }", /otlp_headers: /],
  ["{ otlp_headers: 'a=%0d%0ab' }", /otlp_headers: /],
  ["{ otlp_headers: 'a=%' }", /otlp_headers: /],
  ["{ otlp_headers: 'content-length=1' }", /otlp_headers: /],
  ["{ otlp_interval: 1000 }", { otlpIntervalMs: 1000 }],
  ["{ otlp_spans: 1000 }", { otlpSpans: 1000 }],
  ["{ otlp_spans: 1001 }", /otlp_spans: found "1001"/],
  ["{ otlp_interval: 999 }", /otlp_interval: found "999"/],
  ["{ log: { level: debug } }", { log: { level: 7, format: "text", output: "stderr" } }],
  ["{ log: { level: 11, format: json, output: /var/log/rm.log } }", {
    log: { level: 11, format: "json", output: "/var/log/rm.log" },
  }],
  ["{ log: { level: 12 } }", /level: found "12", expected 0 to 11 or one of emerg, /],
  ["{ log: { format: xml } }", /format: found "xml", expected text or json/],
  ["{ log: loud }", /log: found "loud", expected a mapping of level, format, output/],
  ["{ log: { colour: red } }", /colour: found a key that is none of log/],
  ["{ listn: 1 }", /listn: found a key that is none of the process/],
  [
    "{ xyzzyx: 1 }",
    /found a key that is none of the process, expected one of the \d+ that docs\/configuration\.md, or "ringmaster/,
  ],
  ["{ timeout: 1 }", /timeout: found a key that is none of the process, expected it in a pool/],
  ["3", /ringmaster: found "3", expected a mapping of workers, /],
];

for (const [text, expected] of PROCESS) {
  Deno.test(`parseConfig() with ringmaster: ${text}`, () => {
    const yaml = `ringmaster: ${text}\n${MINIMAL}`;
    if (expected instanceof RegExp) {
      const texts = textsOf(yaml);
      assert.equal(texts.length, 1, texts.join("\n"));
      assert.match(texts[0]!, expected);
    } else assert.deepEqual(parseConfig(yaml, "x.yml").process, { ...PROCESS_DEFAULTS, ...expected });
  });
}

Deno.test("parseConfig() takes a ringmaster that listens for a pool, as an old nutcracker.yml may have", () => {
  const config = parseConfig(MINIMAL.replace("p:", "ringmaster:"), "x.yml");
  assert.deepEqual(config, { process: PROCESS_DEFAULTS, pools: [{ ...DEFAULTS, name: "ringmaster" }] });
});

/** A server as it is written in a flow list, and name, address, weight; or why not. */
const SERVERS: readonly (readonly [string, readonly [string, unknown, number] | RegExp])[] = [
  ["h:6379:1", ["h:6379", { host: "h", port: 6379 }, 1]],
  ["h:6379:1 shard1", ["shard1", { host: "h", port: 6379 }, 1]],
  ["h:11211:7", ["h", { host: "h", port: 11211 }, 7]],
  ["h:011211:1", ["h", { host: "h", port: 11211 }, 1]],
  ["h:06379:01", ["h:06379", { host: "h", port: 6379 }, 1]],
  ["h:1:1 na:me", ["na:me", { host: "h", port: 1 }, 1]],
  ["::1:6379:1", ["::1:6379", { host: "::1", port: 6379 }, 1]],
  ["::1:11211:1", ["::1", { host: "::1", port: 11211 }, 1]],
  ["[::1]:6379:1", ["[::1]:6379", { host: "::1", port: 6379 }, 1]],
  ["/run/a.sock:1", ["/run/a.sock:", { path: "/run/a.sock" }, 1]],
  ["/run/a.sock:3 n", ["n", { path: "/run/a.sock" }, 3]],
  ["/a b:1 n", ["n", { path: "/a b" }, 1]],
  ["h:1:1 my name", /expected one space after the weight, and a name without blanks/],
  ["h:1:1 my na:me", /expected .* a name without blanks/],
  ["/a:1 my name", /expected .* a name without blanks/],
  ["h:1:1  name", /expected one space after the weight/],
  ["h:1:1 ", /expected a name after the space/],
  [":1:1", /expected a host before the port/],
  ["[::1]:6379", /expected \[HOST\]:PORT:WEIGHT of an IPv6 address/],
  ["[::1:6379:1", /expected \[HOST\]:PORT:WEIGHT of an IPv6 address/],
  ["h:0:1", /expected a port of 1 to 65535/],
  ["h:65536:1", /expected a port/],
  ["h:1:0", /expected a weight of 1 to 2147483647/],
  ["h:1:+1", /expected a weight/],
  ["h:1", /expected HOST:PORT:WEIGHT \[NAME\]/],
  ["h", /expected HOST:PORT:WEIGHT \[NAME\]/],
  ["h:1:99999999999", /expected a weight/],
  ["/a:b:1", /expected a path without colons/],
  ["/a", /expected HOST:PORT:WEIGHT/],
  [`/${"x".repeat(107)}:1`, /expected a path of 2 to 107 bytes/],
];

for (const [text, expected] of SERVERS) {
  Deno.test(`parseConfig() with server ${JSON.stringify(text.slice(0, 30))}`, () => {
    const yaml = poolWith("", `[ ${JSON.stringify(text)} ]`);
    if (expected instanceof RegExp) {
      const texts = textsOf(yaml);
      assert.equal(texts.length, 1);
      assert.match(texts[0]!, /^x\.yml:3:14: servers: found "/);
      assert.match(texts[0]!, expected);
      return;
    }
    const [name, address, weight] = expected;
    const addressText = text.replace(/:[0-9]+( [^ ]*)?$/, "");
    assert.deepEqual(poolOf(yaml).servers, [{ name, address, addressText, weight, ...ALONE }]);
  });
}

Deno.test("parseConfig() reads servers that are mappings", () => {
  const yaml = `p:
  listen: 127.0.0.1:1
  servers:
    - { name: shard2, address: 127.0.0.1:6380, weight: 3 }
    - address: 10.0.0.1:11211
    - { address: "[::1]:1", name: s }
    - address: /run/r.sock
      weight: "2"
`;
  assert.deepEqual(poolOf(yaml).servers, [
    { name: "s", address: { host: "::1", port: 1 }, addressText: "[::1]:1", weight: 1, ...ALONE },
    {
      name: "shard2",
      address: { host: "127.0.0.1", port: 6380 },
      addressText: "127.0.0.1:6380",
      weight: 3,
      ...ALONE,
    },
    {
      name: "10.0.0.1",
      address: { host: "10.0.0.1", port: 11211 },
      addressText: "10.0.0.1:11211",
      weight: 1,
      ...ALONE,
    },
    {
      name: "/run/r.sock:",
      address: { path: "/run/r.sock" },
      addressText: "/run/r.sock",
      weight: 2,
      ...ALONE,
    },
  ]);
  const bad = poolWith(
    "",
    "[ {name: a b, address: x}, {name: c}, {address: h:1, replicas: []}, {address: h:2, wight: 2} ]",
  );
  assert.deepEqual(problemsOf(bad).map((each) => [each.column, each.key]), [
    [21, "name"],
    [35, "address"],
    [39, "address"],
    [75, "replicas"],
    [95, "wight"],
  ]);
});

/** listen as written, and the address; or why not. */
const LISTENS: readonly (readonly [string, unknown])[] = [
  ["127.0.0.1:22121", { host: "127.0.0.1", port: 22121 }],
  ["localhost:0022", { host: "localhost", port: 22 }],
  ["0:22121", { host: "0.0.0.0", port: 22121 }],
  ["::1:22121", { host: "::1", port: 22121 }],
  ["[::]:22121", { host: "::", port: 22121 }],
  ["/tmp/x", { path: "/tmp/x" }],
  ["/tmp/x 0666", { path: "/tmp/x", mode: 0o666 }],
  ["/tmp/x 777", { path: "/tmp/x", mode: 0o777 }],
  ["/tmp/x +7", { path: "/tmp/x", mode: 7 }],
  ["/tmp/x 07x", { path: "/tmp/x", mode: 7 }],
  ["/tmp/x abc", { path: "/tmp/x" }],
  ["/tmp/x 999", { path: "/tmp/x" }],
  ["/tmp/x ", { path: "/tmp/x" }],
  ["/tmp/x  7", { path: "/tmp/x ", mode: 7 }],
  ["/tmp/a:b", { path: "/tmp/a:b" }],
  ["/tmp/x 1000", /octal permissions of at most 0777/],
  ["/tmp/x -1", /octal permissions/],
  [`/${"x".repeat(107)}`, /a path of 2 to 107 bytes/],
  ["127.0.0.1:0", /a port of 1 to 65535/],
  ["127.0.0.1:65536", /a port/],
  ["127.0.0.1:", /a port/],
  [":22121", /HOST:PORT/],
  ["127.0.0.1:2 0777", /HOST:PORT/],
];

for (const [text, expected] of LISTENS) {
  Deno.test(`parseConfig() with listen ${JSON.stringify(text.slice(0, 30))}`, () => {
    const yaml = poolWith("", undefined, JSON.stringify(text));
    if (expected instanceof RegExp) {
      const problems = problemsOf(yaml);
      assert.deepEqual(problems.map((each) => [each.line, each.column, each.key]), [[2, 11, "listen"]]);
      assert.match(problems[0]!.text, expected);
    } else {
      const pool = poolOf(yaml);
      assert.deepEqual(pool.listen, expected);
      assert.equal(pool.listenText, text);
    }
  });
}

for (
  const row of NUTCRACKER as readonly { id: string; yaml: string; nutcracker: string; differs?: string }[]
) {
  Deno.test(`parseConfig() agrees with nutcracker: ${JSON.stringify(row.id)}${row.differs ? ", or knows why not" : ""}`, () => {
    const verdict = problemsOf(row.yaml).length === 0 ? "ok" : "invalid";
    if (row.differs === undefined) assert.equal(verdict, row.nutcracker, textsOf(row.yaml).join("\n"));
    else assert.notEqual(verdict, row.nutcracker, row.differs);
  });
}

for (const row of PLACEMENT.configs) {
  Deno.test(`parseConfig() gives ${row.id} its servers, by nutcracker's names and in its order`, () => {
    const pool = poolOf(row.yaml);
    assert.deepEqual(
      pool.servers.map((server) => [server.name, server.weight, `${server.addressText}:${server.weight}`]),
      row.servers.map((server) => [server.hashed_name, server.weight, server.address]),
    );
  });
}

Deno.test("parseConfig() sorts pools by length of the name, then bytes", () => {
  const names = ["zebra", "ab", "b", "longername", "aa", "é"];
  const yaml = names.map((name, i) =>
    MINIMAL.replace("p:", `${name}:`).replace("127.0.0.1:1", `127.0.0.1:${i + 1}`)
  ).join("");
  assert.deepEqual(parseConfig(yaml, "x.yml").pools.map((pool) => pool.name), [
    "b",
    "aa",
    "ab",
    "é",
    "zebra",
    "longername",
  ]);
});

/** Texts that load and mean the same as MINIMAL. */
const STYLES: readonly (readonly [string, string])[] = [
  ["flow style", "{p: {listen: 127.0.0.1:1, servers: [h:1:1]}}"],
  ["a document start and end", `---\n${MINIMAL}...\n`],
  ["a directive", `%YAML 1.1\n---\n${MINIMAL}`],
  ["anchors", "p:\n  listen: &l 127.0.0.1:1\n  servers: &s\n    - h:1:1\n"],
  ["quoted keys", "\"p\":\n  'listen': '127.0.0.1:1'\n  \"servers\":\n  - 'h:1:1'\n"],
  ["servers first", "p:\n  servers:\n  - h:1:1\n  listen: 127.0.0.1:1\n"],
  ["folded text", "p:\n  listen: >-\n    127.0.0.1:1\n  servers:\n    - h:1:1\n"],
  ["a byte order mark", `\uFEFF${MINIMAL}`],
  ["CRLF", MINIMAL.replaceAll("\n", "\r\n")],
  ["comments", `# x\n${MINIMAL.replaceAll("\n", " # y\n")}`],
];

for (const [name, text] of STYLES) {
  Deno.test(`parseConfig() reads ${name}`, () => {
    const [pool, ...more] = parseConfig(text, "x.yml").pools;
    assert.deepEqual([{ ...pool, listenLine: 2 }, ...more], [DEFAULTS]);
  });
}

Deno.test("parseConfig() follows aliases and merges", () => {
  const yaml = `a: &a
  listen: 127.0.0.1:1
  timeout: &t 5
  servers: [ h:1:1 ]
b:
  <<: *a
  listen: 127.0.0.1:2
  server_retry_timeout: *t
`;
  const [a, b] = parseConfig(yaml, "x.yml").pools;
  assert.deepEqual(a, { ...DEFAULTS, name: "a", timeoutMs: 5 });
  assert.deepEqual(b, {
    ...a,
    name: "b",
    listen: { host: "127.0.0.1", port: 2 },
    listenText: "127.0.0.1:2",
    listenLine: 7,
    serverRetryTimeoutMs: 5,
  });
});

/** Texts that are wrong as a whole, and every problem they have. */
const WRONG: readonly (readonly [string, string, readonly RegExp[]])[] = [
  ["an empty file", "", [/^x\.yml:1:1: found an empty file, expected at least one pool/]],
  ["only comments", "# x\n", [/found an empty file/]],
  ["only the process", "ringmaster: { workers: 2 }\n", [
    /^x\.yml:1:1: found no pool, expected at least one pool/,
  ]],
  ["a list", "- a\n", [/^x\.yml:1:1: found a list, expected pools/]],
  ["a word", "hello", [/found "hello", expected pools/]],
  ["a pool of nothing", "p:\n", [/^x\.yml:1:\d: p: found nothing, expected a pool/]],
  ["a pool that is a number", "p: 1\n", [/^x\.yml:1:4: p: found "1", expected a pool/]],
  ["an empty pool", "p: {}\n", [
    /^x\.yml:1:1: listen: found nothing, expected HOST:PORT/,
    /servers: found nothing/,
  ]],
  ["two documents", `${MINIMAL}---\n${MINIMAL}`, [
    /^x\.yml:5:1: found a second document \(of 2\), expected one document/,
  ]],
  ["a key twice", poolWith("timeout: 1\n  timeout: 2"), [
    /^x\.yml:5:3: timeout: found a second time \(first at line 4, column 3\), expected the key once$/,
  ]],
  ["a pool twice", MINIMAL + MINIMAL.replace("127.0.0.1:1", "127.0.0.1:2"), [
    /^x\.yml:5:1: p: found a second time \(first at line 1, column 1\), expected one pool of this name/,
  ]],
  ["an address twice", MINIMAL + MINIMAL.replace("p:", "q:"), [
    /^x\.yml:6:11: listen: found "127.0.0.1:1" for pool "q", where pool "p" listens already \(line 2\)/,
  ]],
  ["a socket twice", "a: {listen: /x 0600, servers: [h:1:1]}\nb: {listen: /x, servers: [h:1:1]}\n", [
    /^x\.yml:2:13: listen: found "\/x" for pool "b", where pool "a" listens already \("\/x 0600", line 1\)/,
  ]],
  ["a server's name twice", poolWith("", "[ h:1:1, h:1:2 ]"), [
    /^x\.yml:3:21: servers: found a second server named "h:1" \(first at line 3\)/,
  ]],
  ["a name that is another's address", poolWith("", "[ h:1:1, g:2:1 h:1 ]"), [/a second server named "h:1"/]],
  ["an unknown key", poolWith("timout: 5"), [
    /^x\.yml:4:3: timout: found a key that is none of a pool, expected perhaps timeout$/,
  ]],
  ["a key spelled as elsewhere", poolWith("reuse_port: true"), [
    /reuse_port: .* expected perhaps reuseport$/,
  ]],
  ["a key like no other", poolWith("zzzzzzzzzz: 5"), [
    /zzzzzzzzzz: .* expected one of the \d+ that docs\/conf/,
  ]],
  ["a key of the process in a pool", poolWith("max_moved: 5%"), [
    /max_moved: .* expected it under ringmaster: beside the pools$/,
  ]],
  ["an unknown alias", poolWith("timeout: *t"), [
    /found an alias of nothing, expected an anchor of its name before it/,
  ]],
  ["a list inside itself", poolWith("timeout: &t [*t]"), [
    /timeout: found a list/,
    /found an alias inside the list it stands for, expected a list that ends/,
  ]],
  ["a tag", poolWith("timeout: !!int 5"), [
    /found a mistake in the YAML \(Unresolved tag.*expected a plain value/,
  ]],
  ["a tab", "p:\n\tlisten: 127.0.0.1:1\n", [
    /^x\.yml:2:1: found a mistake in the YAML \(Tabs are not allowed as indentation\), expected spaces$/,
  ]],
  // One slip, one line: what the library finds behind it in the line follows from it.
  ["a line too far to the right", "p:\n  listen: h:1\n   timeout: 1\n  servers: [ h:1:1 ]\n", [
    /^x\.yml:2:11: found a mistake in the YAML \(.*\), expected this line and the next to begin in the same column, /,
  ]],
  ["a value with a colon", poolWith("hash_tag: a: b"), [
    /^x\.yml:\d:13: found a mistake in the YAML .*, or quotes around a value that has a colon and a space in it$/,
  ]],
  ["no space behind a colon", poolWith("timeout:5"), [
    /, expected NAME: VALUE, with a space behind the colon$/,
  ]],
  ["no colon", poolWith("timeout 5"), [/, expected NAME: VALUE, with a space behind the colon$/]],
  ["no value", "p\n", [/^x\.yml:1:1: found "p", expected pools: /]],
  ["a reserved sign", poolWith("hash_tag: @@"), [/, expected quotes around it$/]],
  ["a sign of block text", poolWith("hash_tag: ||"), [/, expected quotes around it$/]],
  ["an open bracket", poolWith("", "[ h:1:1"), [/found a mistake in the YAML/]],
  ["a key that is a list", `? [a]\n: 1\n${MINIMAL}`, [
    /found a key that is a list or a mapping, expected a name/,
  ]],
  ["deep nesting", "[".repeat(100_000), [/expected at most 64 levels/]],
  ["deep nesting in blocks", "- ".repeat(100_000), [/expected at most 64 levels/]],
  ["a mistake before and after broken YAML", "p:\n  timeout: x\n  listen: '\n  backlog: y\n", [
    /^x\.yml:2:12: timeout: found "x"/,
    /^x\.yml:3:11: listen: found " backlog: y"/,
    /^x\.yml:5:1: found a mistake in the YAML \(Missing closing/,
  ]],
  ["many mistakes", "a:\n  timeout: x\n  redis: y\nb: 1\nc:\n  listen: 0\n  servers: [ h:1, g:1:0 ]\n", [
    /^x\.yml:1:1: listen/,
    /^x\.yml:1:1: servers/,
    /^x\.yml:2:12: timeout/,
    /^x\.yml:3:10: redis/,
    /^x\.yml:4:4: b/,
    /^x\.yml:6:11: listen/,
    /^x\.yml:7:14: servers/,
    /^x\.yml:7:19: servers/,
  ]],
];

for (const [name, text, expected] of WRONG) {
  Deno.test(`parseConfig() tells all that is wrong with ${name}`, () => {
    const texts = textsOf(text);
    assert.equal(texts.length, expected.length, texts.join("\n"));
    expected.forEach((pattern, i) => assert.match(texts[i]!, pattern));
  });
}

for (const key of UNAVAILABLE_KEYS) {
  Deno.test(`parseConfig() says that ${key.name} is known but not available`, () => {
    const text = key.scope === "pool"
      ? poolWith(`${key.name}: {}`)
      : poolWith("", `[ { address: h:1, ${key.name}: x } ]`);
    const problems = problemsOf(text);
    assert.deepEqual(problems.map((each) => each.key), [key.name]);
    assert.match(problems[0]!.text, /is known but not available in this version/);
  });
}

/** A key that is wrong, and what would be wrong if the key said nothing, or its default. */
const TOLD_ONCE = [
  "redis: ture\n  redis_auth: x\n  databases: 2\n  servers: [ h:2:1 ]",
  "redis: true\n  failover: sentinal\n  sentinels: [ h:3 ]\n  servers: [ { name: a, master: m } ]",
  "redis: true\n  failover: sentinel\n  sentinels: [ h ]\n  servers: [ { name: a, master: m } ]",
  "redis: true\n  cluster: tru\n  cluster_refresh: 3000\n  servers: [ h:2:1 ]",
  "redis: true\n  announce_cluster: tru\n  announce: [ h:4 ]\n  servers: [ h:2:1 ]",
  "redis: true\n  proxy_protocol: onn\n  proxy_from: [ 127.0.0.1 ]\n  servers: [ h:2:1 ]",
  "redis: true\n  proxy_protocol: on\n  proxy_from: [ foo ]\n  servers: [ h:2:1 ]",
  "redis: true\n  per_user: { max_connections: 1 }\n  users: [ { name: a, password: x, rules: +gett } ]\n  servers: [ h:2:1 ]",
  "redis: true\n  tls: { key: none }\n  users: [ { name: a, rules: +get } ]\n  servers: [ h:2:1 ]",
  'redis: true\n  read_from: nearest\n  servers: [ h:2:1 ]\nringmaster:\n  zone: ""',
];

for (const lines of TOLD_ONCE) {
  Deno.test(`parseConfig() tells one mistake as one: ${lines.replaceAll("\n", ";")}`, () => {
    assert.equal(textsOf(`p:\n  listen: 127.0.0.1:1\n  ${lines}\n`).length, 1);
  });
}

Deno.test("parseConfig() never shows a password", () => {
  const texts = textsOf(poolWith("redis_auth: hunter2")).concat(textsOf(poolWith("redis_auth: [ hunter2 ]")));
  assert.equal(texts.length, 2);
  for (const text of texts) assert.ok(!text.includes("hunter2"), text);
});

Deno.test("parseConfig() ends on aliases that multiply and on mappings that merge themselves", () => {
  let yaml = "a0: &a0 { x: 1 }\n";
  for (let i = 1; i < 40; i++) yaml += `a${i}: &a${i} { <<: [ ${`*a${i - 1}, `.repeat(9)} ] }\n`;
  assert.ok(problemsOf(yaml).length > 0);
  assert.ok(problemsOf("a: &a\n  <<: *a\n").length > 0);
  assert.ok(problemsOf("a: &a\n  <<: &b { <<: *a }\n").length > 0);
});

/** Pieces that configurations are made of, and what breaks them. */
const PIECES = [
  "p:",
  "listen:",
  "servers:",
  "ringmaster:",
  "log:",
  "hash_tag:",
  " ",
  "  ",
  "\n",
  "\n  ",
  "\n    - ",
  "- ",
  "? ",
  ": ",
]
  .concat([
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!x ",
    "'",
    '"',
    "|\n",
    ">-\n",
    "#",
    "%",
    "---\n",
    "...\n",
    "\t",
  ])
  .concat([
    "h:1:1",
    "127.0.0.1:1",
    "/x 0777",
    "true",
    "0",
    "~",
    "__proto__:",
    "constructor: ",
    "\0",
    "\uFEFF",
    "\uD800",
    "é",
    "\r\n",
  ]);

Deno.test("parseConfig() throws nothing but ConfigError, whatever the text", () => {
  const check = (text: string) => void problemsOf(text);
  // fast-check's own `unit: "binary"` is the same but for surrogates, and makes tables for seconds.
  const points = fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 200 });
  const anything = points.map((all) => String.fromCodePoint(...all));
  fc.assert(fc.property(anything, check), { numRuns: runs(40) });
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((pieces) => pieces.join("")),
      check,
    ),
    { numRuns: runs(100) },
  );
  const example = exampleConfig();
  const damaged = fc.tuple(fc.nat(example.length), fc.nat(20), fc.constantFrom(...PIECES));
  fc.assert(
    fc.property(damaged, ([at, cut, piece]) => {
      check(example.slice(0, at) + piece + example.slice(at + cut));
    }),
    { numRuns: runs(8) },
  );
});

thorough("parseConfig() bounds what it reads and what it tells", () => {
  const commas = textsOf("p: [" + ",".repeat(1_000_001));
  assert.equal(commas.length, 1);
  assert.match(commas[0]!, /found more YAML than any configuration, expected at most 1000000 pieces/);
  const unknown = textsOf("p:\n" + Array.from({ length: 1100 }, (_, i) => `  key${i}: 1\n`).join(""));
  assert.equal(unknown.length, 1001);
  assert.equal(unknown[1000], "x.yml: found 102 problems more, expected none");
});

/** Small texts that stand for more than anybody could read. */
const BOMBS: Readonly<Record<string, string>> = {
  "lists of lists": "ABCDEFGHIJ".split("").map((name, i, names) => {
    const item = i === 0 ? "x" : `*${names[i - 1]}`;
    return `${name}: &${name} [${Array(9).fill(item).join(",")}]\n`;
  }).join(""),
  "one list of servers for all pools":
    `p: &p\n  listen: h:1\n  servers: [${Array.from({ length: 1000 }, (_, i) => `h:1:1 n${i}`)}]\n` +
    Array.from({ length: 1000 }, (_, i) => `q${i}: *p\n`).join(""),
  "one mapping merged by one, many times": `a: &a {${Array.from({ length: 900 }, (_, i) => `k${i}: 1`)}}\n` +
    `q: {<<: [${Array(1000).fill("*a")}]}\n`,
  "one list of merges": `a: &a {k: 1}\nl: &l [${Array(1000).fill("*a")}]\n` +
    Array.from({ length: 1000 }, (_, i) => `q${i}: {<<: *l}\n`).join(""),
  "one long text": `a: &a ${"x".repeat(100_000)}\nq: {servers: [${Array(1000).fill("*a")}]}\n`,
  "one long text, merged": `a: &a {hash: ${"x".repeat(100_000)}}\n` +
    Array.from({ length: 1000 }, (_, i) => `q${i}: {<<: *a}\n`).join(""),
};

for (const [name, text] of Object.entries(BOMBS)) {
  (name.includes("all pools") ? thorough : Deno.test)(
    `parseConfig() bounds what aliases stand for: ${name}`,
    () => {
      const found = textsOf(text).at(-1)!;
      assert.match(
        found,
        /found aliases that stand for more than any configuration, expected at most 200000 pieces/,
      );
    },
  );
}

thorough("parseConfig() takes aliases as an operator writes them, and any file without", () => {
  const servers = Array.from({ length: 100 }, (_, i) => `h:1:1 n${i}`);
  const pools = Array.from({ length: 100 }, (_, i) => `p${i}: {<<: *d, listen: h:${i + 1}, servers: *s}\n`)
    .join("");
  const config = parseConfig(`p: &d {listen: g:1, timeout: 5, servers: &s [${servers}]}\n${pools}`, "x.yml");
  assert.deepEqual(config.pools.map((pool) => pool.servers.length), Array(101).fill(100));
  const many = Array.from({ length: 5000 }, (_, i) => `{address: "h:1", name: n${i}, weight: 1}`);
  assert.equal(poolOf(`p: {listen: g:1, servers: [${many}]}\n`).servers.length, 5000);
});

thorough("loadConfig() says which file it cannot read, and why", () => {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  try {
    const problemOf = (file: string) => {
      try {
        loadConfig(file);
      } catch (error) {
        assert.ok(error instanceof ConfigError, String(error));
        return error.message;
      }
      return "";
    };
    assert.equal(
      problemOf(`${folder}/none.yml`),
      `${folder}/none.yml: found no such file, expected a configuration file that can be read`,
    );
    assert.match(problemOf(folder), /found a directory, expected a configuration file/);
    // Nothing in them ends, whatever size they say they have.
    for (const device of ["/dev/zero", "/dev/null"]) {
      assert.equal(
        problemOf(device),
        `${device}: found a device, expected a configuration file that can be read`,
      );
    }
    const file = `${folder}/a.yml`;
    writeFileSync(file, Uint8Array.of(112, 58, 10, 32, 0xff));
    assert.equal(problemOf(file), `${file}:2:2: found bytes that are not UTF-8, expected UTF-8 text`);
    writeFileSync(file, new Uint8Array(16 * 1024 * 1024 + 1));
    assert.match(problemOf(file), /found a file too large for a configuration, expected at most 16 MiB/);
    const large = MINIMAL + "# x\n".repeat(100_000);
    for (const text of [large, MINIMAL]) {
      writeFileSync(file, text);
      assert.deepEqual(loadConfig(file).pools, [DEFAULTS]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

for (const file of ["nutcracker.yml", "redis.yml", "memcached.yml", "tls.yml"]) {
  Deno.test(`conf/${file} loads`, () => {
    assert.ok(loadConfig(`${ROOT}/conf/${file}`).pools.length > 0);
  });
}

Deno.test("conf/ringmaster.yml is what the table says: deno task docs writes it", () => {
  assert.equal(readFileSync(`${ROOT}/conf/ringmaster.yml`, "utf8"), exampleConfig());
});

Deno.test("conf/ringmaster.yml has every key, with its default", () => {
  const text = exampleConfig();
  for (const key of [...PROCESS_KEYS, ...LOG_KEYS, ...POOL_KEYS, ...SERVER_KEYS, ...FROM_KEYS]) {
    assert.match(text, new RegExp(`^ +(# +)?(# +)?(- )?${key.name}:`, "m"), key.name);
  }
  const config = parseConfig(text, "x.yml");
  const admin = { host: "127.0.0.1", port: 22280 };
  assert.deepEqual(config.process, { ...PROCESS_DEFAULTS, admin, adminText: "127.0.0.1:22280" });
  const pool = config.pools[0]!;
  const { name, listen, listenText, listenLine, servers } = pool;
  assert.deepEqual(pool, { ...DEFAULTS, name, listen, listenText, listenLine, servers, redis: true });
});

Deno.test("no complaint shows a password, be it without its quotes or in a URL", () => {
  const values = [
    "redis_auth: *hunter2",
    "redis_auth: !hunter2",
    "redis_auth: !<hunter2>",
    "redis_auth: !hunter2!x y",
    "redis_auth: |hunter2",
    "redis_auth: >hunter2",
    "redis_auth: @hunter2",
    "redis_auth: %hunter2",
    'redis_auth: "\\hunter2"',
    "redis_auth: &hunter2 [a]",
    "redis_auth: {hunter2: x}",
    "redis_auth: [hunter2]",
    "redis_auth: 'hunter2",
    "sentinel_auth: 'hunter2:'",
    "hash: redis://u:hunter2@host",
    "timeout: u:hunter2@host",
    "sentinels: ['redis://u:hunter2@host']",
    "read_from: replica\n  replicas: ['redis://u:hunter2@host']",
  ];
  for (const value of values) {
    for (const { text } of problemsOf(poolWith(value))) assert.doesNotMatch(text, /hunter2/, value);
  }
  for (const { text } of problemsOf(poolWith("", "[ 'redis://u:hunter2@host' ]"))) {
    assert.doesNotMatch(text, /hunter2/);
  }
});

Deno.test("configMarkdown() names every key of the table, and the table names no key twice", () => {
  const text = configMarkdown();
  for (const name of keyNames()) assert.ok(text.includes(`| \`${name}\``), name);
  const ids = KEYS.map((key) => `${key.scope} ${key.name}`);
  assert.equal(new Set(ids).size, ids.length);
  for (const key of KEYS) assert.match(key.sentence, /\.$/, key.name);
});

Deno.test("editDistance() counts letters added, dropped or changed", () => {
  assert.deepEqual([editDistance("", "ab"), editDistance("timout", "timeout"), editDistance("abc", "xbz")], [
    2,
    1,
    2,
  ]);
});
