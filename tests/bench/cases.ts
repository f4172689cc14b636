/**
 * What is measured: one row a case. The default set is what the targets name and what users meet; `--full` adds the whole
 * product of sizes, clients and pipelines.
 */
export type Topology = "redis2" | "redis8" | "memcached2" | "cluster3";

export interface Case {
  /** Unique; what `--only` matches: "get-3b-c50-p1", "mget10-2servers". */
  name: string;
  /** For tables and pictures. */
  label: string;
  topology: Topology;
  /**
   * redis: redis-benchmark; load: our own load.c (memcached, or a fixed rate); idle: 10,000 connections that do nothing
   * while redis-benchmark drives `clients` others.
   */
  kind: "redis" | "load" | "idle";
  op: "get" | "set" | "incr" | "lpush" | "mget" | "mset";
  /** Bytes of a value. */
  size: number;
  clients: number;
  pipeline: number;
  /** Keys of one MGET or MSET; 1 for the rest. */
  keys: number;
  /** memcached's binary protocol, which only Ringmaster speaks. */
  binary: boolean;
  /** True: at half of the rate nutcracker reaches with this load. */
  halfRate: boolean;
  /** In the default set. */
  standard: boolean;
}

const SIZES: readonly [number, string, string][] = [
  [3, "3b", "3 B"],
  [1024, "1k", "1 KiB"],
  [16384, "16k", "16 KiB"],
  [1048576, "1m", "1 MiB"],
];
const CLIENTS = [1, 10, 50, 500];
const PIPELINES = [1, 16, 128];
/** A combination that keeps more bytes than this in flight measures the memory of the machine, not the proxy. */
const IN_FLIGHT_MAX = 128 * 1024 * 1024;

/** GET and SET combinations of the default set. */
const STANDARD = new Set([
  "3b-c1-p1",
  "3b-c50-p1",
  "3b-c500-p1",
  "3b-c50-p16",
  "3b-c50-p128",
  "1k-c50-p1",
  "1k-c500-p1",
  "1k-c50-p16",
  "16k-c50-p1",
  "1m-c1-p1",
  "1m-c10-p1",
]);

const BASE = {
  kind: "redis",
  topology: "redis2",
  size: 3,
  clients: 50,
  pipeline: 1,
  keys: 1,
  binary: false,
  halfRate: false,
} as const;

function describe(op: string, size: string, clients: number, pipeline: number): string {
  return `${op.toUpperCase()} ${size}, ${clients} client${clients === 1 ? "" : "s"}${piped(pipeline)}`;
}

/** What a label says of a pipeline. */
const piped = (pipeline: number): string => pipeline === 1 ? "" : `, pipeline ${pipeline}`;

export const CASES: readonly Case[] = [
  ...matrix(),
  ...single(),
  ...multi(),
  ...latency(),
  ...memcached(),
  ...idle(),
  ...cluster(),
];

function* matrix(): Generator<Case> {
  for (const [size, short, long] of SIZES) {
    for (const clients of CLIENTS) {
      for (const pipeline of PIPELINES) {
        if (size * clients * pipeline > IN_FLIGHT_MAX) continue;
        const name = `${short}-c${clients}-p${pipeline}`;
        for (const op of ["get", "set"] as const) {
          yield {
            ...BASE,
            op,
            size,
            clients,
            pipeline,
            name: `${op}-${name}`,
            label: describe(op, long, clients, pipeline),
            standard: STANDARD.has(name),
          };
        }
      }
    }
  }
}

function* single(): Generator<Case> {
  for (const op of ["incr", "lpush"] as const) {
    for (const pipeline of [1, 16]) {
      const label = `${op.toUpperCase()}, 50 clients${piped(pipeline)}`;
      yield { ...BASE, op, pipeline, name: `${op}-c50-p${pipeline}`, label, standard: pipeline === 1 };
    }
  }
}

/** Pipelined too: without pipelines it is redis-benchmark, at its own peak, that these measure. */
function* multi(): Generator<Case> {
  for (const pipeline of [1, 16]) {
    for (const servers of [2, 8]) {
      for (const keys of [10, 100]) {
        for (const op of ["mget", "mset"] as const) {
          const topology = servers === 2 ? "redis2" : "redis8";
          const name = `${op}${keys}-${servers}servers${pipeline === 1 ? "" : `-p${pipeline}`}`;
          const label = `${op.toUpperCase()} of ${keys} keys, ${servers} servers${piped(pipeline)}`;
          const standard = pipeline === 1 || (servers === 2 && keys === 10);
          yield { ...BASE, op, keys, topology, pipeline, name, label, standard };
        }
      }
    }
  }
}

function* latency(): Generator<Case> {
  for (const [size, short, long] of SIZES.slice(0, 2)) {
    const label = `GET ${long} at half of nutcracker's peak, 50 clients`;
    yield {
      ...BASE,
      kind: "load",
      op: "get",
      size,
      halfRate: true,
      name: `half-get-${short}-c50`,
      label,
      standard: true,
    };
  }
}

function* memcached(): Generator<Case> {
  for (const [size, short, long] of SIZES.slice(0, 3)) {
    for (const pipeline of [1, 16]) {
      for (const op of ["get", "set"] as const) {
        const row = { ...BASE, kind: "load", topology: "memcached2", op, size, pipeline } as const;
        const what = `${op}-${short}-c50-p${pipeline}`;
        const label = describe(op, long, 50, pipeline);
        yield { ...row, name: `memcached-${what}`, label: `memcached ${label}`, standard: size < 16384 };
        yield {
          ...row,
          binary: true,
          name: `memcached-binary-${what}`,
          label: `memcached, binary, ${label}`,
          standard: false,
        };
      }
    }
  }
}

function* idle(): Generator<Case> {
  const label = "GET 3 B, 100 clients beside 10,000 idle ones";
  yield {
    ...BASE,
    kind: "idle",
    op: "get",
    clients: 100,
    name: "idle10k-get-3b-c100",
    label,
    standard: true,
  };
}

/** Three nodes with a third of the slots each. */
function* cluster(): Generator<Case> {
  const base = { ...BASE, topology: "cluster3", standard: false } as const;
  for (const pipeline of [1, 16]) {
    for (const op of ["get", "set"] as const) {
      const label = `cluster, ${describe(op, "3 B", 50, pipeline)}`;
      yield { ...base, op, pipeline, name: `cluster-${op}-3b-c50-p${pipeline}`, label };
    }
    for (const op of ["mget", "mset"] as const) {
      const name = `cluster-${op}10${pipeline === 1 ? "" : `-p${pipeline}`}`;
      yield {
        ...base,
        op,
        keys: 10,
        pipeline,
        name,
        label: `cluster, ${op.toUpperCase()} of 10 keys${piped(pipeline)}`,
      };
    }
  }
}
