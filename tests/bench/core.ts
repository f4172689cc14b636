/**
 * CPU time of the core alone: fronts, queues, splits and joins, driven in this process over core_net.ts, without a system
 * call. Quiet and repeatable where the paired benchmark is not, and so the tool for user time.
 *
 *   deno task bench:core                  # on Bun, the runtime that is shipped; ns per request and kind of request
 *   deno task bench:core --only=mget      # kinds whose name matches
 *   deno task bench:core --slices=200     # more slices a kind (default 60)
 *   deno run -A tests/bench/core.ts       # the same on Deno
 *
 * Kinds take turns, slice by slice, in one process: so every one of them runs in code that has met the others, as in a
 * proxy. To compare two commits run both alternately; the least slice is the steadiest figure.
 */
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryMemcached } from "../../src/demo/memory_memcached.ts";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
// Not for its sockets: it brings the copy routine that the shipped executable has.
import "../../src/runtime/bun.ts";
import { type Ask, packet, storeExtras } from "../lib/binary.ts";
import { concat, latin1, request } from "../lib/bytes.ts";
import { owningSlots } from "../lib/slots.ts";
import { CoreNet } from "./core_net.ts";
import { spread } from "./stats.ts";
import { quietProxy } from "../lib/quiet_proxy.ts";

interface Kind {
  readonly name: string;
  readonly protocol: "redis" | "memcached";
  readonly servers: number;
  /** One of its requests; called for as many numbers as are sent at once. */
  readonly request: (n: number) => Uint8Array;
  readonly pipeline: number;
  /** Bytes of the values that GET and MGET find. */
  readonly size: number;
  /** The servers are nodes of a cluster, which own all slots and never say otherwise. */
  readonly cluster?: boolean;
  /** Rules of whoever does not log in. */
  readonly rules?: string;
  /** Its clients speak memcached's binary protocol, and its servers do not. */
  readonly binary?: boolean;
}

/** Clients whose requests are taken in one turn. */
const CLIENTS = 16;
/** CPU time of one slice. */
const SLICE_MS = 10;
const KEYS = 1000;
const WARM_REQUESTS = 64;

/** Keys as redis-benchmark has them, in no order. */
function key(n: number): string {
  return `key:${String((n * 7919) % KEYS).padStart(12, "0")}`;
}

function keys(n: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => key(n * count + i));
}

const get = (n: number) => request("GET", key(n));
const set = (n: number) => request("SET", key(n), "xxx");
const mget = (count: number) => (n: number) => request("MGET", ...keys(n, count));
const mset = (count: number) => (n: number) =>
  request("MSET", ...keys(n, count).flatMap((name) => [name, "xxx"]));
const mcGet = (count: number) => (n: number) => latin1(`get ${keys(n, count).join(" ")}\r\n`);
const mcSet = (n: number) => latin1(`set ${key(n)} 0 0 3\r\nxxx\r\n`);

const binary = (ask: Ask) => latin1(packet(ask));
const binaryGet = (n: number) => binary({ opcode: 0x00, key: key(n) });
const binarySet = (n: number) => binary({ opcode: 0x01, key: key(n), extras: storeExtras(), value: "xxx" });
/** As libmemcached asks for many. */
const binaryGets = (count: number) => (n: number) =>
  concat([...keys(n, count).map((name) => binary({ opcode: 0x0d, key: name })), binary({ opcode: 0x0a })]);

const BASE = { protocol: "redis", servers: 2, pipeline: 1, size: 3 } as const;
const RULES = "+@read +@write ~key:*";
const KINDS: readonly Kind[] = [
  { ...BASE, name: "get", request: get },
  { ...BASE, name: "set", request: set },
  { ...BASE, name: "get-1k", request: get, size: 1024 },
  { ...BASE, name: "get-p16", request: get, pipeline: 16 },
  { ...BASE, name: "get-p128-8servers", request: get, pipeline: 128, servers: 8 },
  { ...BASE, name: "set-p16", request: set, pipeline: 16 },
  ...[2, 8].flatMap((servers) =>
    [10, 100].flatMap((count) => [
      { ...BASE, name: `mget${count}-${servers}servers`, request: mget(count), servers },
      { ...BASE, name: `mset${count}-${servers}servers`, request: mset(count), servers },
    ])
  ),
  { ...BASE, name: "mget10-p16-2servers", request: mget(10), pipeline: 16 },
  { ...BASE, name: "mget100-1k-2servers", request: mget(100), size: 1024 },
  { ...BASE, name: "users-get", request: get, rules: RULES },
  { ...BASE, name: "users-set", request: set, rules: RULES },
  { ...BASE, name: "users-get-p16", request: get, pipeline: 16, rules: RULES },
  { ...BASE, name: "users-set-p16", request: set, pipeline: 16, rules: RULES },
  { ...BASE, name: "cluster-get", request: get, cluster: true },
  { ...BASE, name: "cluster-set", request: set, cluster: true },
  { ...BASE, name: "cluster-get-p16", request: get, pipeline: 16, cluster: true },
  { ...BASE, name: "cluster-set-p16", request: set, pipeline: 16, cluster: true },
  { ...BASE, name: "cluster-mget100-2servers", request: mget(100), cluster: true },
  { ...BASE, protocol: "memcached", name: "memcached-get", request: mcGet(1) },
  { ...BASE, protocol: "memcached", name: "memcached-set", request: mcSet },
  { ...BASE, protocol: "memcached", name: "memcached-get10-2servers", request: mcGet(10) },
  { ...BASE, protocol: "memcached", name: "memcached-get-p16", request: mcGet(1), pipeline: 16 },
  { ...BASE, protocol: "memcached", name: "memcached-set-p16", request: mcSet, pipeline: 16 },
  { ...BASE, protocol: "memcached", name: "memcached-binary-get", request: binaryGet, binary: true },
  { ...BASE, protocol: "memcached", name: "memcached-binary-set", request: binarySet, binary: true },
  {
    ...BASE,
    protocol: "memcached",
    name: "memcached-binary-get-p16",
    request: binaryGet,
    pipeline: 16,
    binary: true,
  },
  {
    ...BASE,
    protocol: "memcached",
    name: "memcached-binary-set-p16",
    request: binarySet,
    pipeline: 16,
    binary: true,
  },
  {
    ...BASE,
    protocol: "memcached",
    name: "memcached-binary-getkq100",
    request: binaryGets(100),
    binary: true,
  },
];

/** One kind, running. */
class Bench {
  readonly ns: number[] = [];
  private readonly net = new CoreNet();
  private readonly bytes: Uint8Array;
  private roundsPerSlice = 1;

  private constructor(readonly kind: Kind) {
    this.bytes = concat(Array.from({ length: kind.pipeline }, (_, n) => kind.request(n)));
  }

  static async start(kind: Kind): Promise<Bench> {
    const bench = new Bench(kind);
    await bench.begin();
    return bench;
  }

  private async begin(): Promise<void> {
    const { net, kind, bytes } = this;
    const proxy = quietProxy(net, owningSlots(parseConfig(configOf(kind), "core.yml")));
    await proxy.listen(null);
    net.openServers();
    for (let i = 0; i < CLIENTS; i++) net.join();
    const model = kind.protocol === "redis" ? filledRedis(kind.size) : filledMemcached(kind.size);
    const session = () => model.session();
    // A new client may have few requests under way, until its replies have turned out to be small (EXPECTED_MAX).
    for (let n = 0; n < WARM_REQUESTS; n++) {
      if (kind.binary) net.settle(kind.request(n), session);
      else net.rehearse(kind.request(n), session);
    }
    net.rehearse(bytes, session, !kind.binary);
    this.calibrate();
  }

  /** Finds how many rounds take a slice's time, and warms up meanwhile. */
  private calibrate(): void {
    for (let ms = 0; ms < SLICE_MS; this.roundsPerSlice *= 2) ms = this.cpuMs();
  }

  slice(): void {
    const requests = this.roundsPerSlice * CLIENTS * this.kind.pipeline;
    this.ns.push(this.cpuMs() * 1e6 / requests);
  }

  private cpuMs(): number {
    const before = process.cpuUsage();
    for (let i = 0; i < this.roundsPerSlice; i++) this.net.round(this.bytes);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  }

  prove(): void {
    this.net.prove(this.bytes);
  }
}

function configOf({ protocol, servers, rules, cluster = false }: Kind): string {
  const lines = Array.from(
    { length: servers },
    (_, i) => `    - 127.0.0.1:${1 + i}${cluster ? "" : `:1 server${i}`}\n`,
  );
  return `core:\n  listen: 127.0.0.1:1\n  redis: ${protocol === "redis"}\n  preconnect: true\n` +
    (rules === undefined ? "" : `  users: [ { name: default, nopass: true, rules: "${rules}" } ]\n`) +
    `  cluster: ${cluster}\n  servers:\n${lines.join("")}`;
}

function filledRedis(size: number): MemoryRedis {
  const redis = new MemoryRedis({ nowMs: () => 0, random: () => 0.5 });
  const session = redis.session();
  for (let n = 0; n < KEYS; n++) session.feed(request("SET", key(n), "x".repeat(size)));
  return redis;
}

function filledMemcached(size: number): MemoryMemcached {
  const memcached = new MemoryMemcached({ nowMs: () => 0 });
  const session = memcached.session();
  for (let n = 0; n < KEYS; n++) {
    session.feed(latin1(`set ${key(n)} 0 0 ${size}\r\n${"x".repeat(size)}\r\n`));
  }
  return memcached;
}

async function main(args: readonly string[]): Promise<void> {
  let only = "";
  let slices = 60;
  for (const arg of args) {
    if (arg.startsWith("--only=")) only = arg.slice(7);
    else if (arg.startsWith("--slices=") && Number(arg.slice(9)) > 0) slices = Number(arg.slice(9));
    else throw new Error(`Unknown option: ${arg}`);
  }
  const benches: Bench[] = [];
  for (const kind of KINDS) if (new RegExp(only).test(kind.name)) benches.push(await Bench.start(kind));
  for (let i = 0; i < slices; i++) for (const bench of benches) bench.slice();
  console.log("CPU ns per request         least   median");
  for (const { kind, ns } of benches) {
    const { min, median } = spread(ns);
    console.log(
      `${kind.name.padEnd(25)}${min.toFixed(0).padStart(7)}  ${median.toFixed(0).padStart(7)}`,
    );
  }
  for (const bench of benches) bench.prove();
}

await main(process.argv.slice(2));
