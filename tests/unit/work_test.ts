/**
 * What the core does for a request, counted, so that no busy machine can upset it: copies (every byte that goes through the proxy is put
 * somewhere by Outbox.append, Arena.keep or, behind it a cluster, SentLog.append), sends and records of requests; with ceilings. System calls: tests/real/syscalls_test.ts.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Arena } from "../../src/bytes/arena.ts";
import { Outbox } from "../../src/bytes/outbox.ts";
import { SentLog } from "../../src/bytes/sent_log.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryMemcached } from "../../src/demo/memory_memcached.ts";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { ReplyQueue } from "../../src/proxy/reply_queue.ts";
import type { Request } from "../../src/proxy/request.ts";
import { CoreNet } from "../bench/core_net.ts";
import { concat, latin1, request } from "../lib/bytes.ts";
import { owningSlots } from "../lib/slots.ts";
import { quietProxy } from "../lib/quiet_proxy.ts";

const CLIENTS = 4;
/** Meanwhile they become few that are looked at. */
const WARM_ROUNDS = 400;
const key = (n: number) => `key:${String((n * 7919) % 1000).padStart(12, "0")}`;
const keys = (n: number, count: number) => Array.from({ length: count }, (_, i) => key(n * count + i));
const get = (n: number) => request("GET", key(n));
const mget = (n: number) => request("MGET", ...keys(n, 10));
const mcGet = (n: number) => latin1(`get ${key(n)}\r\n`);

interface Load {
  readonly protocol: "redis" | "memcached";
  readonly servers: number;
  /** The servers are a cluster's nodes, which own equal parts of the slots and never say otherwise. */
  readonly cluster?: boolean;
  /** What each client sends in a turn, in one piece. */
  readonly requests: readonly Uint8Array[];
}

interface Work {
  /** Calls that copy, and what they copy, a request. */
  readonly copies: number;
  readonly bytes: number;
  /** Records put into clients' queues, a request. */
  readonly records: number;
  /** Of those, how many were not there before, a request. */
  readonly made: number;
  /** All of those. */
  readonly all: readonly Request[];
}

/** What one round of `load` takes, when the clients are known. */
async function workOf({ protocol, servers, cluster = false, requests }: Load): Promise<Work> {
  const net = new CoreNet();
  // Time stands still: so the same requests are looked at (proxy/seen.ts) in every run, and few.
  net.clock.nowMs = () => 0;
  const lines = Array.from(
    { length: servers },
    (_, i) => `    - 127.0.0.1:${1 + i}${cluster ? "" : `:1 server${i}`}\n`,
  );
  const config = parseConfig(
    `core:\n  listen: 127.0.0.1:1\n  redis: ${protocol === "redis"}\n  preconnect: true\n` +
      `  cluster: ${cluster}\n  servers:\n${lines.join("")}`,
    "core.yml",
  );
  const proxy = quietProxy(net, owningSlots(config));
  await proxy.listen(null);
  net.openServers();
  for (let i = 0; i < CLIENTS; i++) net.join();
  const redis = new MemoryRedis({ nowMs: () => 0, random: () => 0.5 });
  const memcached = new MemoryMemcached({ nowMs: () => 0 });
  const session = () => protocol === "redis" ? redis.session() : memcached.session();
  for (let n = 0; n < 1000; n++) {
    if (protocol === "redis") session().feed(request("SET", key(n), "xxx"));
    else session().feed(latin1(`set ${key(n)} 0 0 3\r\nxxx\r\n`));
  }
  // Until its replies have turned out to be small, a client may have few requests under way.
  for (let n = 0; n < 64; n++) net.rehearse(requests[0]!, session);
  const bytes = concat([...requests]);
  net.rehearse(bytes, session);
  for (let i = 0; i < WARM_ROUNDS; i++) net.round(bytes);
  const count = CLIENTS * requests.length;
  // A spare record may have been a fragment's before: that is no client's queue.
  const before = new Set<Request>();
  for (let i = 0; i < 30; i++) for (const r of counted(() => net.round(bytes), count).all) before.add(r);
  const work = counted(() => net.round(bytes), count);
  return { ...work, made: work.all.filter((r) => !before.has(r)).length / count };
}

/** Counts while `run` runs. */
function counted(run: () => void, requests: number): Omit<Work, "made"> {
  let copies = 0;
  let bytes = 0;
  const all: Request[] = [];
  const { append } = Outbox.prototype;
  const { keep } = Arena.prototype;
  const { appendHere } = SentLog.prototype;
  const { add, addRun } = ReplyQueue.prototype;
  Outbox.prototype.append = function (from, start, end) {
    copies++;
    bytes += end - start;
    append.call(this, from, start, end);
  };
  Arena.prototype.keep = function (from, start, end) {
    copies++;
    bytes += end - start;
    keep.call(this, from, start, end);
  };
  SentLog.prototype.appendHere = function (from, start, end) {
    const has = appendHere.call(this, from, start, end);
    ok(has, "little is kept in the one array");
    copies++;
    bytes += end - start;
    return has;
  };
  ReplyQueue.prototype.add = function (added) {
    all.push(added);
    add.call(this, added);
  };
  ReplyQueue.prototype.addRun = function (first, last, count) {
    for (let r: Request | null = first; r !== null; r = r.next) all.push(r);
    addRun.call(this, first, last, count);
  };
  try {
    run();
  } finally {
    Object.assign(Outbox.prototype, { append });
    Object.assign(Arena.prototype, { keep });
    Object.assign(SentLog.prototype, { appendHere });
    Object.assign(ReplyQueue.prototype, { add, addRun });
  }
  return { copies: copies / requests, bytes: bytes / requests, records: all.length / requests, all };
}

const GET_BYTES = get(0).length;
const VALUE_BYTES = "$3\r\nxxx\r\n".length;
const pipeline = (count: number, make: (n: number) => Uint8Array) =>
  Array.from({ length: count }, (_, n) => make(n));

interface Case {
  readonly name: string;
  readonly load: Load;
  /** At most. */
  readonly copies: number;
  readonly bytes: number;
  readonly made: number;
}

const CASES: readonly Case[] = [
  {
    name: "GET",
    load: { protocol: "redis", servers: 2, requests: [get(1)] },
    copies: 2,
    bytes: GET_BYTES + VALUE_BYTES,
    made: 0,
  },
  {
    name: "a reply that is no plain value: an error",
    load: { protocol: "redis", servers: 2, requests: [request("LRANGE", key(1), "0", "-1")] },
    copies: 2,
    bytes: request("LRANGE", key(1), "0", "-1").length + 80,
    made: 0,
  },
  {
    name: "a reply that is no plain value: an array",
    load: { protocol: "redis", servers: 2, requests: [request("LRANGE", "none", "0", "-1")] },
    copies: 2,
    bytes: request("LRANGE", "none", "0", "-1").length + 80,
    made: 0,
  },
  {
    name: "GET in pipelines of 16, one server",
    load: { protocol: "redis", servers: 1, requests: pipeline(16, get) },
    // Each pipeline twice, were it not for those that are looked at.
    copies: 4 / 16,
    bytes: GET_BYTES + VALUE_BYTES,
    made: 0,
  },
  {
    name: "GET in pipelines of 16, two servers",
    load: { protocol: "redis", servers: 2, requests: pipeline(16, get) },
    copies: 1.75,
    // Some replies wait for those before them.
    bytes: GET_BYTES + 2 * VALUE_BYTES,
    made: 0,
  },
  {
    name: "GET to a cluster",
    load: { protocol: "redis", servers: 2, cluster: true, requests: [get(1)] },
    // What is kept leaves from there, that of a turn in one piece.
    copies: 2 + 1 / CLIENTS,
    bytes: 2 * GET_BYTES + VALUE_BYTES,
    made: 0,
  },
  {
    name: "GET in pipelines of 16 to a cluster, one node",
    load: { protocol: "redis", servers: 1, cluster: true, requests: pipeline(16, get) },
    copies: 5 / 16,
    bytes: 2 * GET_BYTES + VALUE_BYTES,
    made: 0,
  },
  {
    name: "GET in pipelines of 16 to a cluster, two nodes",
    load: { protocol: "redis", servers: 2, cluster: true, requests: pipeline(16, get) },
    copies: 2,
    bytes: 2 * GET_BYTES + 2 * VALUE_BYTES,
    made: 0,
  },
  {
    name: "MGET of 10",
    load: { protocol: "redis", servers: 2, requests: [mget(1)] },
    copies: 8,
    bytes: mget(1).length + 20 * VALUE_BYTES,
    made: 0,
  },
  {
    name: "memcached get",
    load: { protocol: "memcached", servers: 2, requests: [mcGet(1)] },
    copies: 2.5,
    bytes: 2 * mcGet(1).length + `VALUE ${key(0)} 0 3\r\nxxx\r\nEND\r\n`.length,
    made: 1,
  },
];

for (const { name, load, ...ceiling } of CASES) {
  Deno.test(`work for a request: ${name}`, async () => {
    const { copies, bytes, records, made, all } = await workOf(load);
    const found = `${copies.toFixed(3)} copies of ${bytes.toFixed(1)} bytes`;
    ok(made <= ceiling.made, `${made} new records, at most ${ceiling.made}`);
    ok(copies <= ceiling.copies && bytes <= ceiling.bytes, `${found}, at most ${JSON.stringify(ceiling)}`);
    strictEqual(records, 1, "one record a request");
    // Else the collector keeps, with one that it has kept once, all that came behind it.
    deepStrictEqual(all.filter((r) => r.next !== null || r.nextInFlight !== null), []);
  });
}
