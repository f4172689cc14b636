/**
 * What client libraries send when they connect, as bytes, and what each needs to read in the replies. For those that can be
 * run here, clients_test.ts has the libraries themselves; the others (Jedis, Lettuce, go-redis, StackExchange.Redis,
 * phpredis, redis-py 8) are only here. Read in their sources in August 2026 (phpredis: October 2024).
 *
 * One step is one write of the client; it reads all the replies owed before it goes on.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { Push, ReplyError, type Value } from "../lib/resp.ts";
import { poolYml } from "../lib/servers.ts";

/** One command in words, and what the client does with its reply. */
type Exchange = [command: string, needs: (reply: Value) => void];

interface Handshake {
  client: string;
  /** Why the replies matter: what the client does otherwise. */
  note: string;
  steps: Exchange[][];
}

const equals = (expected: Value) => (reply: Value) => deepStrictEqual(reply, expected);
const isOk = equals("OK");
/** The client goes on whatever it says, as long as the connection stays and the reply is one. */
const anything = () => {};
const isError = (start: RegExp) => (reply: Value) => {
  ok(reply instanceof ReplyError, `an error was expected, found ${Deno.inspect(reply)}`);
  ok(start.test(reply.message), reply.message);
};

/** HELLO's reply, as a map (RESP3) or as the list of its pairs. */
function hello(resp: 2 | 3, mode = "standalone") {
  return (reply: Value) => {
    ok(resp === 3 ? reply instanceof Map : Array.isArray(reply), Deno.inspect(reply));
    const map = reply instanceof Map ? reply : pairs(reply as Value[]);
    deepStrictEqual([...map.keys()], ["server", "version", "proto", "id", "mode", "role", "modules"]);
    strictEqual(map.get("server"), "redis");
    ok(/^\d+\.\d+\.\d+$/.test(map.get("version") as string));
    strictEqual(map.get("proto"), resp);
    ok((map.get("id") as number) > 0);
    strictEqual(map.get("mode"), mode);
    strictEqual(map.get("role"), "master");
    deepStrictEqual(map.get("modules"), []);
  };
}

function pairs(list: Value[]): Map<Value, Value> {
  const map = new Map<Value, Value>();
  for (let i = 0; i < list.length; i += 2) map.set(list[i], list[i + 1]);
  return map;
}

/** A text of lines with these beginnings. */
const lines = (...starts: string[]) => (reply: Value) => {
  strictEqual(typeof reply, "string");
  for (const start of starts) {
    ok((reply as string).split("\r\n").some((line) => line.startsWith(start)), start);
  }
};

const setting = (name: string, resp: 2 | 3 = 2) => (reply: Value) => {
  const map = resp === 3 ? reply as Map<Value, Value> : pairs(reply as Value[]);
  strictEqual(typeof map.get(name), "string", `${name} in ${Deno.inspect(reply)}`);
};

const SETINFO = (name: string): Exchange[] => [
  [`CLIENT SETINFO LIB-NAME ${name}`, isOk],
  ["CLIENT SETINFO LIB-VER 1.2.3", isOk],
];
/** Modes that only Redis' own hosting has: "auto" is content with an error. */
const NO_MAINTENANCE = isError(/^ERR /);
/** As redis-server that is no cluster. */
const NO_CLUSTER = isError(/^ERR This instance has cluster support disabled$/);

const HANDSHAKES: Handshake[] = [
  {
    client: "redis-py 4.6 to 7",
    note: "errors are ignored, a close is fatal",
    steps: [...SETINFO("redis-py").map((exchange) => [exchange]), [["PING", equals("PONG")]]],
  },
  {
    client: "redis-py 8",
    note: "no way back to RESP2: a HELLO that fails, or a map whose proto is not 3, is fatal",
    steps: [
      [["HELLO 3", hello(3)]],
      [["CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", NO_MAINTENANCE]],
      [["CLIENT SETNAME app", isOk]],
      ...SETINFO("redis-py").map((exchange) => [exchange]),
      [["SELECT 0", isOk]],
    ],
  },
  {
    client: "redis-py 8 with a password, where the pool has none",
    note: "a server without password lets the default user in with any",
    steps: [[["HELLO 3 AUTH default secret", hello(3)]]],
  },
  {
    client: "node-redis 4 and 5",
    note: "a refused SETINFO is ignored",
    steps: [[["CLIENT SETNAME app", isOk], ...SETINFO("node-redis"), ["SELECT 0", isOk]]],
  },
  {
    client: "node-redis 6",
    note: "one pipeline; a HELLO that fails is fatal, maintenance is not",
    steps: [[
      ["HELLO 3", hello(3)],
      ["CLIENT SETNAME app", isOk],
      ...SETINFO("node-redis"),
      ["CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", NO_MAINTENANCE],
    ]],
  },
  {
    client: "ioredis 6",
    note: "goes back to RESP2 only on NOPROTO or an unknown HELLO; then INFO until loading is 0",
    steps: [
      [["HELLO 3", hello(3)], ["CLIENT SETNAME app", isOk], ["READONLY", NO_CLUSTER], ...SETINFO("ioredis")],
      [["INFO", lines("loading:0", "redis_version:", "role:master", "redis_mode:standalone")]],
    ],
  },
  {
    client: "ioredis 5",
    note: "INFO until loading is 0",
    steps: [[["CLIENT SETINFO LIB-NAME ioredis", isOk], ["INFO", lines("loading:0", "redis_version:")]]],
  },
  {
    client: "go-redis 9",
    note: "an error in place of HELLO is well, a close is fatal",
    steps: [
      [["HELLO 3 SETNAME app", hello(3)]],
      [["CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", NO_MAINTENANCE]],
      [["SELECT 0", isOk], ["READONLY", NO_CLUSTER]],
      SETINFO("go-redis(,go1.26)"),
    ],
  },
  {
    client: "Jedis 4 and 5",
    note: "a close is fatal",
    steps: [SETINFO("jedis"), [["SELECT 0", isOk]], [["PING", equals("PONG")]]],
  },
  {
    client: "Jedis 8",
    note:
      "the reply to HELLO must contain proto; those to SETNAME, SETINFO and READONLY are read later, unchecked",
    steps: [
      [["HELLO 3", hello(3)]],
      [["CLIENT SETNAME app", isOk], ...SETINFO("jedis"), ["READONLY", NO_CLUSTER], ["SELECT 0", isOk]],
    ],
  },
  {
    client: "Lettuce 6 and 7",
    note: "takes id, mode, version and role from the map",
    steps: [
      [["HELLO 3", hello(3)]],
      [["SELECT 0", isOk], ["READONLY", NO_CLUSTER]],
      SETINFO("Lettuce"),
      [["CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type internal-ip", NO_MAINTENANCE]],
      [["PING", equals("PONG")]],
    ],
  },
  {
    client: "StackExchange.Redis 3, first connection",
    note: "everything in one go; it drops what is refused and closes on anything that is no reply",
    steps: [
      [
        ["HELLO 3", hello(3)],
        ["CLIENT SETNAME app", isOk],
        ...SETINFO("SE.Redis"),
        ["CLIENT ID", (reply) => ok((reply as number) > 0)],
        ["CONFIG GET timeout", setting("timeout", 3)],
        ["CONFIG GET replica-read-only", setting("replica-read-only", 3)],
        ["CONFIG GET databases", setting("databases", 3)],
        ["SENTINEL MASTERS", isError(/^ERR /)],
        ["INFO replication", lines("role:master")],
        ["INFO server", lines("redis_version:", "redis_mode:standalone")],
        ["CLUSTER NODES", isError(/^ERR This instance has cluster support disabled/)],
        ["GET __Booksleeve_TieBreak", equals(null)],
        ["ECHO 0123456789abcdef", equals("0123456789abcdef")],
      ],
      [["PING", equals("PONG")]],
    ],
  },
  {
    client: "StackExchange.Redis 2, second connection",
    note: "subscribes on a connection of its own, in RESP2",
    steps: [
      [
        ["CLIENT SETNAME app", isOk],
        ["SUBSCRIBE __Booksleeve_MasterChanged", equals(["subscribe", "__Booksleeve_MasterChanged", 1])],
      ],
      [["PING", equals(["pong", ""])]],
    ],
  },
  {
    client: "StackExchange.Redis 3, RESP3 on one connection",
    note: "a subscription is confirmed by a push, and other commands go on",
    steps: [
      [["HELLO 3", hello(3)]],
      [["SUBSCRIBE c", equals(new Push(["subscribe", "c", 1]))], ["GET k", equals(null)]],
    ],
  },
  {
    client: "phpredis",
    note: "a connection taken from the pool must echo a challenge",
    steps: [[["SELECT 0", isOk]], [["ECHO phpredis:1a2b3c", equals("phpredis:1a2b3c")]]],
  },
  {
    client: "predis, hiredis and others that ask for RESP2 by HELLO",
    note: "a list in place of the map",
    steps: [[["HELLO 2", hello(2)]], [["HELLO", hello(2)]]],
  },
  {
    client: "a client of a RESP still to come",
    note: "the text by which ioredis 6, Lettuce and go-redis fall back",
    steps: [[["HELLO 4", isError(/^NOPROTO unsupported protocol version/)]], [["PING", equals("PONG")]]],
  },
  {
    client: "redis-cli and redis-benchmark",
    note: "an error is only a warning",
    steps: [
      [["COMMAND DOCS GET", (reply) => strictEqual((reply as Value[])[0], "get")]],
      [["COMMAND COUNT", (reply) => ok((reply as number) > 200)]],
      [["CONFIG GET save", setting("save")], ["CONFIG GET appendonly", setting("appendonly")]],
    ],
  },
  {
    client: "cluster clients that probe (redis-py, ioredis, Lettuce, redis-benchmark --cluster)",
    note: "take this text for a single server",
    steps: [[
      ["CLUSTER SLOTS", isError(/^ERR This instance has cluster support disabled/)],
      ["CLUSTER SHARDS", isError(/^ERR This instance has cluster support disabled/)],
      ["CLUSTER INFO", isError(/^ERR This instance has cluster support disabled/)],
      ["READWRITE", NO_CLUSTER],
      ["ASKING", isError(/^ERR This instance has cluster support disabled/)],
    ]],
  },
  {
    client: "clients that cache (RESP3 client-side caching)",
    note: "must be told whether they may",
    steps: [[["HELLO 3", hello(3)]], [["CLIENT TRACKING ON", anything]], [["PING", equals("PONG")]]],
  },
  {
    client: "pools that reset a connection before it is given out",
    note: "back to RESP2 and no name",
    steps: [
      [["HELLO 3 SETNAME app", hello(3)]],
      [["RESET", equals("RESET")]],
      [["CLIENT GETNAME", equals(null)], ["HELLO", hello(2)]],
    ],
  },
];

/** One node with all slots, as CLUSTER SLOTS has it: what Jedis, go-redis and redis-py read of it. */
const oneNode = (reply: Value) => {
  const [[first, last, [host, port, id]], ...more] = reply as [number, number, [string, number, string]][];
  deepStrictEqual([first, last, host, typeof port, id!.length, more], [
    0,
    16383,
    "127.0.0.1",
    "number",
    40,
    [],
  ]);
};
/** As CLUSTER NODES has it: what Lettuce and StackExchange.Redis read. The port ends at the @. */
const oneLine = (reply: Value) => {
  ok(/^\w{40} 127\.0\.0\.1:\d+@\d+ myself,master - \d+ \d+ \d+ connected 0-16383\n$/.test(reply as string));
};
/** Whatever has one node for a request policy asks one: every proxy answers for all servers. */
const withoutPolicies = (reply: Value) => {
  const rows = reply as Value[][];
  ok(rows.length > 200);
  for (const row of rows) deepStrictEqual([...row[7] as Value[]], []);
};

/** In cluster mode: the pool has announce_cluster. */
const IN_CLUSTER_MODE: Handshake[] = [
  {
    client: "go-redis 9, ClusterClient",
    note: "by the tips of COMMAND it splits keys and asks several nodes",
    steps: [
      [["HELLO 3", hello(3, "cluster")]],
      SETINFO("go-redis(,go1.26)"),
      [["CLUSTER SLOTS", oneNode]],
      [["COMMAND", withoutPolicies]],
      [["READONLY", isOk], ["GET a", equals(null)]],
    ],
  },
  {
    client: "Jedis, JedisCluster",
    note: "wants each of 16,384 slots once",
    steps: [SETINFO("jedis"), [["CLUSTER SLOTS", oneNode]], [["PING", equals("PONG")]]],
  },
  {
    client: "Lettuce 6 and 7, RedisClusterClient",
    note: "each node's own line is the one with myself; connected_clients orders the nodes",
    steps: [
      [["HELLO 3", hello(3, "cluster")]],
      [...SETINFO("Lettuce"), ["CLUSTER NODES", oneLine], ["INFO", lines("connected_clients:")]],
      [["CLUSTER MYID", (reply) => strictEqual((reply as string).length, 40)], ["READWRITE", isOk]],
    ],
  },
  {
    client: "StackExchange.Redis 3, which finds out by itself",
    note: "redis_mode and CLUSTER NODES make it a cluster client",
    steps: [[
      ["HELLO 3", hello(3, "cluster")],
      ["INFO server", lines("redis_version:", "redis_mode:cluster")],
      ["CLUSTER NODES", oneLine],
      ["CONFIG GET cluster-enabled", setting("cluster-enabled", 3)],
    ]],
  },
  {
    client: "redis-py, RedisCluster",
    note: "cluster_enabled has to be 1",
    steps: [[["INFO", lines("cluster_enabled:1")]], [["CLUSTER SLOTS", oneNode]], [[
      "COMMAND",
      withoutPolicies,
    ]]],
  },
  {
    client: "clients that follow ASK, or scale reads",
    note: "are told OK, and served",
    steps: [[["ASKING", isOk], ["SET {a}1 x", isOk]], [["READONLY", isOk]], [["GET {a}1", equals("x")]]],
  },
];

/** What only differs with a password: the pool has redis_auth. */
const WITH_PASSWORD: Handshake[] = [
  {
    client: "redis-py 8, go-redis 9, ioredis 6",
    note: "password and protocol at once",
    steps: [[["HELLO 3 AUTH default secret", hello(3)]], [["SET a 1", isOk]]],
  },
  {
    client: "node-redis 4 and 5, ioredis 5, Jedis, phpredis",
    note: "one argument",
    steps: [[["AUTH secret", isOk], ["SELECT 0", isOk]], [["SET a 1", isOk]]],
  },
  {
    client: "redis-py 4 to 7 with a user name",
    note: "two arguments",
    steps: [[["AUTH default secret", isOk]], [["SET a 1", isOk]]],
  },
  {
    client: "a wrong password",
    note: "clients know it by WRONGPASS",
    steps: [
      [["HELLO 3 AUTH default wrong", isError(/^WRONGPASS /)]],
      [["AUTH default wrong", isError(/^WRONGPASS /)]],
      [["GET a", isError(/^NOAUTH Authentication required/)]],
      [["AUTH secret", isOk]],
      [["GET a", anything]],
    ],
  },
  {
    client: "no password",
    note: "clients know it by NOAUTH; HELLO, AUTH and QUIT are all they may",
    steps: [
      [["HELLO 3", isError(/^NOAUTH /)]],
      [["PING", isError(/^NOAUTH /)]],
      [["CLIENT SETNAME x", isError(/^NOAUTH /)]],
      [["QUIT", isOk]],
    ],
  },
];

async function replay(f: Fixture, port: number, { steps }: Handshake): Promise<void> {
  await using client = await f.client({ port });
  for (const step of steps) {
    await client.send(concat(step.map(([command]) => request(...command.split(" ")))));
    for (const [command, needs] of step) {
      const { value, text } = await client.readReply();
      try {
        needs(value);
      } catch (error) {
        throw new Error(`${command} → ${JSON.stringify(text)}: ${(error as Error).message}`);
      }
    }
  }
  // Nothing is left over that would be taken for the next reply.
  if (steps.at(-1)!.at(-1)![0] === "QUIT") strictEqual(await client.readToEnd(), "");
  else {
    await client.send(request("ECHO", "end"));
    if (
      !steps.flat().some(([command]) => /^SUBSCRIBE/.test(command)) || steps[0][0][0].startsWith("HELLO 3")
    ) {
      strictEqual((await client.readReply()).value, "end");
    } else isError(/^ERR Can't execute 'echo'/)((await client.readReply()).value);
  }
}

for (
  const [how, handshakes, more] of [
    ["", HANDSHAKES, {}],
    [", with a password", WITH_PASSWORD, { redis_auth: "secret" }],
    [", in cluster mode", IN_CLUSTER_MODE, { announce_cluster: true, hash_tag: '"{}"' }],
  ] as const
) {
  for (const runtime of ["compiled", "deno"] as const) {
    Deno.test(`handshakes through the proxy (${runtime})${how}`, async (t) => {
      await using f = new Fixture();
      const args = "redis_auth" in more ? ["--requirepass", "secret"] : [];
      const servers = [await f.redis({ args }), await f.redis({ args })];
      const proxy = await f.proxy(runtime, poolYml({ alpha: { servers, ...more } }));
      for (const handshake of handshakes) {
        await t.step(`${handshake.client}: ${handshake.note}`, () => replay(f, proxy.port, handshake));
      }
    });
  }
}
