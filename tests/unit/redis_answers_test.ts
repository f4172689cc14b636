/**
 * Answers, errors and refusals that no real server can confirm, because they are ours: passwords as twemproxy takes
 * them, INFO of a pool, limits. What Redis says too is compared with it in tests/real/redis_commands_test.ts.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  answer,
  canAnswer,
  CLIENT_ATTRIBUTE_MAX,
  type Host,
  type Session,
} from "../../src/protocol/redis/answers.ts";
import { COMMANDS, findByName, resolve, ROUTE, TOP_COMMANDS } from "../../src/protocol/redis/commands.ts";
import {
  arityError,
  CROSSSLOT,
  crossSlot,
  errorReply,
  isRefused,
  refusal,
  unknownError,
} from "../../src/protocol/redis/errors.ts";
import { findKeys, KeyList } from "../../src/protocol/redis/keys.ts";
import { UNKNOWN } from "../../src/protocol/redis/identity.ts";
import { ReplyWriter } from "../../src/protocol/redis/reply_writer.ts";
import { LIMIT_OUTPUT, PROTOCOL_ERROR, REQUESTS_TOTAL } from "../../src/stats/metrics.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { parseReply, type Value } from "../lib/resp.ts";
import { runs } from "../lib/runs.ts";
import { scanned } from "../lib/scanned.ts";

const NONE = new Uint8Array(0);

function newSession(changes: Partial<Session> = {}): Session {
  return {
    id: 7,
    name: NONE,
    libName: NONE,
    libVersion: NONE,
    resp: 2,
    db: 0,
    authenticated: true,
    canRedirect: false,
    tracking: null,
    sinceMs: 1_700_000_000_000,
    address: () => "127.0.0.1:1",
    localAddress: () => "127.0.0.1:2",
    ...changes,
  };
}

function newHost(changes: Partial<Host> = {}): Host {
  return {
    poolName: "alpha",
    password: null,
    databases: 1,
    redisDb: 0,
    resp3: true,
    identity: UNKNOWN,
    ringmasterVersion: "1.2.3",
    port: 22121,
    processId: 99,
    os: "Linux 6.1 x86_64",
    clientsMax: 10000,
    bulkSizeMax: 1048576,
    idleTimeoutSeconds: 0,
    wallMs: () => 1_700_000_012_345,
    uptimeSeconds: () => 90000,
    memoryBytes: () => 4096,
    connectedClients: () => 3,
    connectionsTotal: () => 5,
    requestsTotal: () => 8,
    serverCount: () => 2,
    liveServerCount: () => 1,
    topology: () => ({ epoch: 3, cause: "SIGHUP", atMs: 1_700_000_000_500, count: 0, last: null }),
    poolTotal: (metric) => 100 + metric,
    ...changes,
  };
}

function raw(line: string, session = newSession(), host = newHost()): string {
  const { bytes, args } = scanned(line.split(" "));
  return textOf(answer(resolve(bytes, args)!, bytes, args, session, host));
}

function value(line: string, session = newSession(), host = newHost()): Value {
  const reply = latin1(raw(line, session, host));
  const parsed = parseReply(reply, 0, reply.length)!;
  assert.equal(parsed.end, reply.length, `${line} is one reply`);
  return parsed.value;
}

Deno.test("answer() has an answer for every local command, and for no other", () => {
  for (const command of COMMANDS) {
    const container = command.subcommands !== null && command.name !== "COMMAND";
    const local = command.route === ROUTE.LOCAL && !container;
    assert.equal(canAnswer(command), local, command.name);
  }
});

Deno.test("answer() of anything is one whole reply, in both protocols", () => {
  const words: fc.Arbitrary<string[]> = fc.array(
    fc.constantFrom(
      "on",
      "off",
      "1",
      "3",
      "x",
      "auth",
      "setname",
      "lib-name",
      "type",
      "id",
      "",
      "*",
      "get",
      "\r\n",
      "\xff",
    ),
    {
      maxLength: 6,
    },
  );
  const local = COMMANDS.filter(canAnswer);
  fc.assert(
    fc.property(
      fc.constantFrom(...local),
      words,
      fc.constantFrom(2 as const, 3 as const),
      (command, rest, resp) => {
        const session = newSession({ resp });
        const head = command.lower.split("|");
        while (head.length + rest.length < Math.abs(command.arity)) rest = [...rest, "y"];
        const { bytes, args } = scanned([...head, ...rest]);
        const reply = answer(command, bytes, args, session, newHost());
        const parsed = parseReply(reply, 0, reply.length);
        assert.equal(parsed?.end, reply.length);
        if (resp === 2 && session.resp === 2) assert.ok(!/^[%~_=]/.test(textOf(reply)));
      },
    ),
    { numRuns: runs(700) },
  );
});

Deno.test("answer() to AUTH is twemproxy's where there is one argument", () => {
  const cases: [line: string, password: string | null, before: boolean, reply: string, after: boolean][] = [
    ["auth secret", "secret", false, "+OK\r\n", true],
    ["auth wrong", "secret", false, "-ERR invalid password\r\n", false],
    ["auth wrong", "secret", true, "-ERR invalid password\r\n", false],
    ["auth secre", "secret", true, "-ERR invalid password\r\n", false],
    ["auth secretsecret", "secret", true, "-ERR invalid password\r\n", false],
    ["auth ", "secret", true, "-ERR invalid password\r\n", false],
    ["auth x", null, true, "-ERR Client sent AUTH, but no password is set\r\n", true],
    ["auth default secret", "secret", false, "+OK\r\n", true],
    [
      "auth default wrong",
      "secret",
      true,
      "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
      true,
    ],
    [
      "auth defaultx secret",
      "secret",
      false,
      "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
      false,
    ],
    ["auth default x", null, true, "+OK\r\n", true],
  ];
  for (const [line, password, before, reply, after] of cases) {
    const session = newSession({ authenticated: before });
    const host = newHost({ password: password === null ? null : latin1(password) });
    assert.equal(raw(line, session, host), reply, line);
    assert.equal(session.authenticated, after, line);
  }
});

Deno.test("answer() to HELLO changes the session, or nothing", () => {
  const session = newSession({ authenticated: false });
  const host = newHost({ password: latin1("secret") });
  assert.match(raw("hello 3 setname x", session, host), /^-NOAUTH HELLO must/);
  assert.match(raw("hello 3 setname x auth default wrong", session, host), /^-WRONGPASS/);
  assert.deepEqual([session.resp, session.name.length, session.authenticated], [2, 0, false]);
  const reply = value("HELLO 3 AUTH default secret SETNAME me", session, host) as Map<Value, Value>;
  assert.deepEqual(Object.fromEntries(reply as Map<string, Value>), {
    server: "redis",
    version: "7.4.0",
    proto: 3,
    id: 7,
    mode: "standalone",
    role: "master",
    modules: [],
  });
  assert.deepEqual([session.resp, textOf(session.name), session.authenticated], [3, "me", true]);
  assert.equal(value("client getname", session, host), "me");
});

Deno.test("answer() to HELLO 3 is NOPROTO where RESP3 is off", () => {
  const session = newSession();
  assert.equal(
    raw("hello 3", session, newHost({ resp3: false })),
    "-NOPROTO unsupported protocol version\r\n",
  );
  assert.equal(session.resp, 2);
});

Deno.test("answer() to SELECT stays within the pool's databases", () => {
  const session = newSession();
  const host = newHost({ databases: 4 });
  assert.equal(raw("select 3", session, host), "+OK\r\n");
  assert.equal(raw("select 4", session, host), "-ERR DB index is out of range\r\n");
  assert.equal(session.db, 3);
  const alone = newHost({ databases: 1 });
  const hint = ": this pool has only database 0, set databases: N for more";
  assert.equal(raw("select 1", session, alone), `-ERR DB index is out of range${hint}\r\n`);
  assert.equal(raw("select -1", session, alone), "-ERR DB index is out of range\r\n");
});

Deno.test("answer() to RESET takes everything back", () => {
  const session = newSession({ resp: 3, db: 2, name: latin1("me") });
  raw("client capa nosuch redirect", session);
  assert.equal(session.canRedirect, true);
  assert.equal(raw("reset", session, newHost({ password: latin1("p") })), "+RESET\r\n");
  assert.deepEqual([session.resp, session.db, session.name.length], [2, 0, 0]);
  assert.deepEqual([session.authenticated, session.canRedirect], [false, false]);
  raw("reset", session);
  assert.equal(session.authenticated, true, "no password, no need to give one");
});

Deno.test("answer() keeps a client's names as copies, and not long ones", () => {
  const session = newSession();
  const { bytes, args } = scanned(["client", "setname", "me"]);
  answer(resolve(bytes, args)!, bytes, args, session, newHost());
  bytes.fill(120);
  assert.equal(textOf(session.name), "me");
  assert.equal(raw("client setinfo lib-name redis-py(x_1)", session), "+OK\r\n");
  assert.equal(raw("client setinfo LIB-VER 1.0", session), "+OK\r\n");
  assert.equal(raw("client setinfo lib-color red", session), "-ERR Unrecognized option 'lib-color'\r\n");
  assert.equal(
    raw("client setinfo lib-ver 1\t0", session),
    "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n",
  );
  assert.match(
    raw(`client setname ${"x".repeat(CLIENT_ATTRIBUTE_MAX + 1)}`, session),
    /^-ERR Client names cannot be longer than 4096 bytes/,
  );
  assert.equal(textOf(session.libName), "redis-py(x_1)");
  assert.equal(textOf(session.libVersion), "1.0");
});

Deno.test("answer() promises nothing that cannot be kept", () => {
  for (const word of ["no-evict", "no-touch"]) {
    assert.match(
      raw(`client ${word} on`),
      new RegExp(`^-ERR 'CLIENT ${word.toUpperCase()} ON' cannot be kept: `),
    );
    assert.equal(raw(`client ${word} off`), "+OK\r\n");
    assert.equal(raw(`client ${word} maybe`), "-ERR syntax error\r\n");
  }
});

Deno.test("answer() to INFO says what clients wait for", () => {
  const text = value("info") as string;
  for (
    const line of [
      "redis_version:7.4.0",
      "redis_mode:standalone",
      "role:master",
      "loading:0",
      "uptime_in_days:1",
      "ringmaster_servers:2",
      "ringmaster_live_servers:1",
      `ringmaster_requests_total:${100 + REQUESTS_TOTAL}`,
      `ringmaster_limit_output:${100 + LIMIT_OUTPUT}`,
      `ringmaster_protocol_error:${100 + PROTOCOL_ERROR}`,
    ]
  ) {
    assert.ok(text.includes(`${line}\r\n`), line);
  }
  assert.match(text, /^# Server\r\n/);
  // What is in twemproxy's document is not said twice.
  assert.ok(!text.includes("ringmaster_fragments"));
  assert.equal(value("info replication") as string, value("info REPLICATION nope") as string);
  assert.ok((value("info replication persistence") as string).split("\r\n\r\n").length === 2);
  assert.equal(value("info everything"), text);
  assert.match(raw("info server", newSession({ resp: 3 })), /^=\d+\r\ntxt:# Server\r\n/);
});

Deno.test("answer() to CONFIG GET tells the pool's own settings", () => {
  assert.deepEqual(value("config get databases timeout"), ["databases", "1", "timeout", "0"]);
  assert.deepEqual(value("config get save appendonly"), []);
  assert.deepEqual(value("config get requirepass"), []);
  assert.ok((value("config get *", newSession({ resp: 3 })) as Map<Value, Value>).size === 6);
});

Deno.test("answer() to CLIENT IMPORT-SOURCE refuses ON alone, as a Valkey that imports nothing", () => {
  assert.equal(raw("client import-source Off"), "+OK\r\n");
  assert.equal(raw("client import-source on"), "-ERR Server is not in import mode\r\n");
});

Deno.test("answer() to TIME reads the host's clock", () => {
  assert.deepEqual(value("time"), ["1700000012", "345000"]);
});

Deno.test("answer() to COMMAND lists the table", () => {
  const entries = value("command") as Value[][];
  assert.equal(entries.length, TOP_COMMANDS.length);
  assert.equal(value("command count"), TOP_COMMANDS.length);
  assert.ok(entries.every((entry) => entry.length === 10));
  const get = entries.find((entry) => entry[0] === "get")!;
  assert.deepEqual(get.slice(0, 7), ["get", 2, ["readonly", "fast"], 1, 1, 1, ["@read", "@string", "@fast"]]);
  assert.equal(raw("command"), raw("command info"));
  const docs = value("command docs get client", newSession({ resp: 3 })) as Map<string, Map<string, Value>>;
  assert.deepEqual([...docs.keys()], ["get", "client"]);
  assert.equal(docs.get("get")!.get("group"), "string");
  assert.ok((docs.get("client")!.get("subcommands") as Map<Value, Value>).has("client|id"));
  assert.deepEqual(value("command getkeysandflags get k"), [["k", ["RO", "access"]]]);
});

Deno.test("answer() to a container that lacks its word is an error", () => {
  assert.match(raw("object"), /^-ERR /);
});

Deno.test("refusal() says why and what to do", () => {
  const cases: [string, boolean, RegExp][] = [
    ["MONITOR", true, /^-ERR 'MONITOR' concerns one server.*itself/],
    ["CLIENT|PAUSE", true, /^-ERR 'CLIENT PAUSE' cannot be kept.*pause at what writes/],
    ["CLIENT|KILL", false, /^-ERR 'CLIENT KILL' is refused.*dangerous_commands: allow/],
    ["FLUSHALL", false, /^-ERR 'FLUSHALL' is refused.*dangerous_commands: allow/],
    ["CONFIG|SET", false, /^-ERR 'CONFIG SET' is refused/],
    ["SCRIPT|FLUSH", false, /^-ERR 'SCRIPT FLUSH' is refused.*dangerous_commands: allow/],
    ["FUNCTION|FLUSH", false, /^-ERR 'FUNCTION FLUSH' is refused/],
    ["FUNCTION|RESTORE", false, /^-ERR 'FUNCTION RESTORE' is refused/],
    ["SLOWLOG|RESET", false, /^-ERR 'SLOWLOG RESET' is refused/],
    ["COMMANDLOG|RESET", false, /^-ERR 'COMMANDLOG RESET' is refused/],
    ["LATENCY|RESET", false, /^-ERR 'LATENCY RESET' is refused/],
    ["MEMORY|PURGE", false, /^-ERR 'MEMORY PURGE' is refused/],
  ];
  for (const [name, evenIfAllowed, text] of cases) {
    const command = findByName(name)!;
    assert.equal(isRefused(command, false), true, name);
    assert.equal(isRefused(command, true), evenIfAllowed, name);
    assert.match(textOf(refusal(command)), text);
  }
  assert.equal(isRefused(findByName("GET")!, false), false);
});

Deno.test("crossSlot() has a hint where keys in braces are not tagged", () => {
  const hint = /^-CROSSSLOT Keys in request don't hash to the same server: .*set hash_tag: "\{\}" .*\r\n$/;
  const plain = /^-CROSSSLOT Keys in request don't hash to the same server\r\n$/;
  const cases: [string, string | null, RegExp][] = [
    ["rename {a}1 {a}2", null, hint],
    ["rename x {a}2", null, hint],
    ["rename a b", null, plain],
    ["rename {} }x{", null, plain],
    ["rename {a}1 {b}2", "{}", plain],
    ["rename {a}1 {a}2", "$$", plain],
    ["lmpop 2 a b left count {9}", null, plain],
  ];
  const keys = new KeyList();
  for (const [line, tag, expected] of cases) {
    const { bytes, args } = scanned(line.split(" "));
    findKeys(resolve(bytes, args)!, bytes, args, keys);
    assert.match(textOf(crossSlot(bytes, args, keys, tag === null ? null : latin1(tag))), expected, line);
  }
});

Deno.test("error replies are one line, whatever is in them", () => {
  assert.equal(textOf(CROSSSLOT), "-CROSSSLOT Keys in request don't hash to the same server\r\n");
  assert.equal(textOf(errorReply("ERR a\r\n+OK\r\n")), "-ERR a  +OK  \r\n");
  assert.equal(
    textOf(arityError(findByName("CLIENT|SETNAME")!)),
    "-ERR wrong number of arguments for 'client|setname' command\r\n",
  );
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary-ascii", maxLength: 200 }), { minLength: 1, maxLength: 20 }),
      (words) => {
        const { bytes, args } = scanned(words);
        const reply = textOf(unknownError(bytes, args));
        assert.match(reply, /^-ERR unknown [^\r\n]*\r\n$/);
        assert.ok(reply.length < 400);
      },
    ),
  );
});

Deno.test("ReplyWriter writes what each protocol has for it", () => {
  const write = (resp: 2 | 3) =>
    textOf(
      new ReplyWriter(resp).map(1).bulk("k").set(1).null().text("é").integer(-5).status("OK").array(0).take(),
    );
  assert.equal(write(2), "*2\r\n$1\r\nk\r\n*1\r\n$-1\r\n$2\r\n\xc3\xa9\r\n:-5\r\n+OK\r\n*0\r\n");
  assert.equal(write(3), "%1\r\n$1\r\nk\r\n~1\r\n_\r\n=6\r\ntxt:\xc3\xa9\r\n:-5\r\n+OK\r\n*0\r\n");
  const long = "x".repeat(100_000);
  assert.equal(textOf(new ReplyWriter(3).text(long).take()), `=100004\r\ntxt:${long}\r\n`);
});

Deno.test("answer() of a pool with announce_cluster: HELLO, INFO and CONFIG say cluster, READONLY is OK; of others not", () => {
  const hosts = [newHost(), newHost({ announced: { nodes: [], hostName: "box1" } })];
  const both = (line: string) => hosts.map((host) => raw(line, newSession(), host));
  const modes = hosts.map((host) => (value("HELLO 3", newSession(), host) as Map<Value, Value>).get("mode"));
  assert.deepEqual(modes, ["standalone", "cluster"]);
  const [alone, cluster] = both("INFO");
  assert.ok(alone!.includes("redis_mode:standalone\r\n") && alone!.includes("cluster_enabled:0\r\n"));
  assert.ok(cluster!.includes("redis_mode:cluster\r\n") && cluster!.includes("cluster_enabled:1\r\n"));
  const disabled = "-ERR This instance has cluster support disabled\r\n";
  for (const line of ["READONLY", "READWRITE", "ASKING"]) assert.deepEqual(both(line), [disabled, "+OK\r\n"]);
  for (const line of ["CLUSTER SLOTS", "CLUSTER HELP", "CLUSTER MYID"]) {
    const [before, now] = both(line);
    assert.equal(before, disabled);
    assert.match(now!, /^[*$]/);
  }
  assert.match(both("CLUSTERSCAN 0")[1]!, /^-ERR 'CLUSTERSCAN' .* SCAN walks all keys/);
  assert.match(both("CONFIG GET cluster-enabled")[1]!, /\r\nyes\r\n$/);
});

Deno.test("answer() before a cluster that is not announced: a slot is told, nodes are not", () => {
  const host = newHost({ cluster: true });
  const said = (line: string) => raw(line, newSession(), host);
  assert.equal(said("CLUSTER KEYSLOT foo"), ":12182\r\n");
  for (
    const line of [
      "CLUSTER SLOTS",
      "CLUSTER NODES",
      "CLUSTER SHARDS",
      "CLUSTER INFO",
      "CLUSTER MYID",
      "READONLY",
    ]
  ) {
    assert.equal(said(line), "-ERR This instance has cluster support disabled\r\n", line);
  }
  assert.match(said("CLUSTER FAILOVER"), /^-ERR 'CLUSTER FAILOVER' concerns the cluster's own nodes; /);
  assert.ok(said("INFO").includes("redis_mode:standalone\r\n"));
});

Deno.test("HELLO and INFO tell the zone if there is one, and INFO the replicas that are read from", () => {
  const zoned = newHost({
    zone: "eu-1a",
    replicas: () => [{ server: "a", address: "10.0.0.2:6379", zone: "eu-1b", reads: 12 }],
  });
  const hello = value("HELLO 3", newSession(), zoned) as Map<Value, Value>;
  assert.deepEqual([...hello.keys()].slice(-3), ["role", "availability_zone", "modules"]);
  assert.equal(hello.get("availability_zone"), "eu-1a");
  const info = String(value("INFO", newSession(), zoned));
  assert.match(info, /\r\navailability_zone:eu-1a\r\n/);
  assert.match(
    info,
    /\r\nringmaster_replica0:server=a,address=10\.0\.0\.2:6379,zone=eu-1b,reads_by_this_worker=12\r\n/,
  );
  assert.ok(!(value("HELLO 3", newSession(), newHost()) as Map<Value, Value>).has("availability_zone"));
  assert.doesNotMatch(
    String(value("INFO", newSession(), newHost())),
    /availability_zone|ringmaster_replica0/,
  );
});
