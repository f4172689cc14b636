/** The cluster that a pool with announce_cluster is to its clients: nodes, slots and the bytes of the answers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Announcer, clusterAnswer, slotOf } from "../../src/protocol/redis/announced.ts";
import { resolve } from "../../src/protocol/redis/commands.ts";
import { UNKNOWN } from "../../src/protocol/redis/identity.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { parseReply, ReplyError, type Value } from "../lib/resp.ts";
import { runs } from "../lib/runs.ts";
import { scanned } from "../lib/scanned.ts";

const VALKEY = { ...UNKNOWN, server: "valkey", version: "9.1.2" };

/** A pool at 127.0.0.1:22121 of a machine "box1" that announces nobody, asked in RESP2. */
function announcer(changes: Partial<Announcer> = {}): Announcer {
  return {
    announce: [],
    hostName: "box1",
    port: 22121,
    localAddress: "127.0.0.1:22121",
    identity: UNKNOWN,
    resp: 2,
    nowMs: 1_700_000_000_123.4,
    ...changes,
  };
}

/** p1:1, p2:2, … */
const proxies = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ host: `p${i + 1}`, port: i + 1 }));

function raw(line: string, changes: Partial<Announcer> = {}): string {
  const { bytes, args } = scanned(`CLUSTER ${line}`.split(" "));
  return textOf(clusterAnswer(resolve(bytes, args)!, announcer(changes), bytes, args));
}

function value(line: string, changes: Partial<Announcer> = {}): Value {
  const reply = latin1(raw(line, changes));
  const parsed = parseReply(reply, 0, reply.length)!;
  assert.equal(parsed.end, reply.length, `${line} is one reply`);
  return parsed.value;
}

type Range = [first: number, last: number, node: [host: string, port: number, id: string, metadata: Value]];
const ranges = (changes?: Partial<Announcer>) => value("SLOTS", changes) as unknown as Range[];

const ID = 40;

Deno.test("one node owns all slots, at the address that the client is connected to", () => {
  const node = (localAddress: string) => {
    const [[first, last, [host, port, id]]] = ranges({ localAddress }) as [Range];
    assert.deepEqual([first, last, id.length], [0, 16383, ID]);
    return `${host} ${port}`;
  };
  assert.equal(node("127.0.0.1:22121"), "127.0.0.1 22121");
  assert.equal(node("[::1]:22121"), "::1 22121");
  assert.equal(node("[::ffff:10.0.0.7]:22121"), "10.0.0.7 22121");
  assert.equal(node("proxy.example.com:22121"), "proxy.example.com 22121");
});

Deno.test("a node's id is that of its address, whoever tells it, and today's", () => {
  const mine = value("MYID") as string;
  assert.equal(mine, "4c4327e5b42cf2d025bf636e8f9fb503a7d935f0");
  assert.equal(value("MYID", { hostName: "box2", nowMs: 0, resp: 3 }), mine);
  assert.notEqual(value("MYID", { localAddress: "127.0.0.1:22122" }), mine);
  assert.notEqual(value("MYSHARDID"), mine);
  assert.equal(
    value("MYID", { announce: [{ host: "127.0.0.1", port: 22121 }], localAddress: "10.1.1.1:9" }),
    mine,
  );
});

Deno.test("several proxies share the slots: each slot once, alike on all of them, whatever the order of their lists", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.infiniteStream(fc.nat()), (count, draws) => {
      const announce = proxies(count);
      const told = raw("SLOTS", { announce });
      let next = 0;
      for (const [first, last] of ranges({ announce })) {
        assert.equal(first, next);
        assert.ok(last >= first);
        next = last + 1;
      }
      assert.equal(next, 16384);
      const shuffled = announce.map((node) => [draws.next().value, node] as const)
        .sort((a, b) => a[0] - b[0]).map(([, node]) => node);
      assert.equal(raw("SLOTS", { announce: shuffled, hostName: "x", localAddress: "10.2.2.2:5" }), told);
    }),
    { numRuns: runs(20) },
  );
  // As redis-cli shares them among three.
  assert.deepEqual(ranges({ announce: proxies(3) }).map(([first, last]) => [first, last]), [[0, 5460], [
    5461,
    10922,
  ], [
    10923,
    16383,
  ]]);
});

Deno.test("who of several answers is told by the address, by the machine's name, or by the port", () => {
  const announce = [{ host: "a.example.com", port: 1 }, { host: "10.0.0.7", port: 1 }, {
    host: "c",
    port: 3,
  }];
  const me = (changes: Partial<Announcer>) =>
    /(\S+)@0\S* myself,master/.exec(value("NODES", { announce, ...changes }) as string)![1];
  assert.equal(me({ localAddress: "10.0.0.7:1" }), "10.0.0.7:1");
  assert.equal(me({ hostName: "a" }), "a.example.com:1");
  assert.equal(me({ hostName: "c" }), "c:3");
  assert.equal(me({ port: 3 }), "c:3");
  // Two have this port, and nothing else tells them apart: the first of all.
  assert.equal(me({ port: 1 }), "10.0.0.7:1");
});

Deno.test("the bytes are those of the real servers", () => {
  const id = value("MYID") as string;
  const shard = value("MYSHARDID") as string;
  assert.equal(
    raw("SLOTS"),
    `*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:22121\r\n$40\r\n${id}\r\n*0\r\n`,
  );
  assert.equal(
    raw("SLOTS", { resp: 3 }),
    `*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:22121\r\n$40\r\n${id}\r\n%0\r\n`,
  );
  const line = `${id} 127.0.0.1:22121@0 myself,master - 0 0 1 connected 0-16383\n`;
  assert.equal(raw("NODES"), `$${line.length}\r\n${line}\r\n`);
  assert.equal(raw("NODES", { resp: 3 }), `=${line.length + 4}\r\ntxt:${line}\r\n`);
  const node = ["id", id, "port", ":22121", "ip", "127.0.0.1", "endpoint", "127.0.0.1", "role", "master"]
    .concat("replication-offset", ":0", "health", "online")
    .map((word) => word.startsWith(":") ? `${word}\r\n` : `$${word.length}\r\n${word}\r\n`).join("");
  const slots = "$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n";
  assert.equal(raw("SHARDS"), `*1\r\n*4\r\n${slots}*14\r\n${node}`);
  assert.equal(raw("SHARDS", { resp: 3 }), `*1\r\n%2\r\n${slots}%7\r\n${node}`);
  assert.equal(
    raw("SHARDS", { resp: 3, identity: VALKEY }),
    `*1\r\n%3\r\n${slots}%7\r\n${node}$2\r\nid\r\n$40\r\n${shard}\r\n`,
  );
  assert.match(raw("INFO"), /^\$312\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\n/);
  assert.match(raw("INFO", { identity: VALKEY, resp: 3 }), /^=628\r\ntxt:cluster_state:ok\r\n/);
  assert.deepEqual([raw("LINKS"), raw(`REPLICAS ${id}`), raw(`SLAVES ${id}`)], [
    "*0\r\n",
    "*0\r\n",
    "*0\r\n",
  ]);
  assert.equal(raw(`COUNT-FAILURE-REPORTS ${id}`), ":0\r\n");
  assert.equal(raw("REPLICAS x"), "-ERR Unknown node x\r\n");
});

Deno.test("a name is told as the endpoint and the host name, several nodes with an epoch each", () => {
  const announce = proxies(2);
  const [, second] = value("SHARDS", { announce, resp: 3 }) as Map<Value, Value>[];
  const [node] = second!.get("nodes") as Map<Value, Value>[];
  assert.deepEqual([...node!.entries()].slice(1, 5), [["port", 2], ["ip", "p2"], ["endpoint", "p2"], [
    "hostname",
    "p2",
  ]]);
  const [first, other] = (value("NODES", { announce, hostName: "p1" }) as string).split("\n");
  assert.match(first!, /^\w{40} p1:1@0,p1 myself,master - 0 0 1 connected 0-8191$/);
  assert.match(other!, /^\w{40} p2:2@0,p2 master - 0 1700000000123 2 connected 8192-16383$/);
  const info = value("INFO", { announce, hostName: "p2" }) as string;
  assert.match(
    info,
    /cluster_known_nodes:2\r\ncluster_size:2\r\ncluster_current_epoch:2\r\ncluster_my_epoch:2\r\n/,
  );
});

Deno.test("what only servers with slots could do is an error that says so; what is wrong is Redis' own", () => {
  for (const line of ["ADDSLOTS 1", "FAILOVER", "RESET", "SETSLOT 1 STABLE", "SLOT-STATS SLOTSRANGE 0 1"]) {
    const reply = value(line);
    assert.ok(reply instanceof ReplyError && reply.message.includes("that Ringmaster announces"), line);
  }
  assert.equal(raw("COUNTKEYSINSLOT 16384"), "-ERR Invalid slot\r\n");
  assert.equal(raw("COUNTKEYSINSLOT x"), "-ERR value is not an integer or out of range\r\n");
  assert.equal(raw("GETKEYSINSLOT 5 -1"), "-ERR Invalid slot or number of keys\r\n");
  assert.match(raw("COUNTKEYSINSLOT 5"), /^-ERR 'CLUSTER COUNTKEYSINSLOT' .* use SCAN, and CLUSTER KEYSLOT/);
});

Deno.test("slotOf() is CLUSTER KEYSLOT", () => {
  const slot = (key: string) => slotOf(latin1(key), 0, key.length);
  // Told by redis-server 7.0.15.
  const told: readonly (readonly [string, number])[] = [["", 0], ["foo", 12182], ["{foo}bar", 12182], [
    "123456789",
    12739,
  ]];
  for (const [key, expected] of told) assert.equal(slot(key), expected, key);
  assert.equal(slot("a{foo}{bar}"), 12182);
  assert.notEqual(slot("{}foo"), 12182);
});
