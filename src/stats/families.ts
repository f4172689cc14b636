/**
 * What `/metrics` and OTLP tell: the table of families, and the readings of a snapshot of the process.
 *
 *   POOL_METRICS, SERVER_METRICS ─┐
 *   rows below ───────────────────┴─► FAMILIES (docs/metrics.md)
 *   Snapshot ──readings──► Reading, one a family ──► exposition.ts (Prometheus), otlp.ts
 *
 * Labels are pools, servers, replicas and the words of our own tables, which nobody but the configuration can make more of: no label
 * is anything that a client sends.
 */
import { bucketFromUs, bucketOf, BUCKETS, bucketToUs, type Coarse, type Latency } from "./latency.ts";
import { type Metric, POOL_METRICS, SERVER_METRICS } from "./metrics.ts";

export interface Family {
  /** Without "_total" of a counter, and without "_info". */
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram" | "info";
  /** "bytes", "seconds", or "" where there is nothing to say; the name ends with it. */
  readonly unit: string;
  /** One sentence, without a full stop. */
  readonly help: string;
  /** Names of the labels, in their order. */
  readonly labels: readonly string[];
}

/** Values of a family's labels, in their order. Points of the same pool or server may share one. */
export type LabelValues = readonly string[];

export interface Point {
  readonly labels: LabelValues;
  readonly value: number;
}

/** Durations by classic buckets: `below` has one count a bound of BOUNDS_US. */
export interface Buckets extends Coarse {
  /** If they have been asked for: what took 0 µs, then what is in each of the native buckets from NATIVE_LOWEST on. */
  readonly native?: readonly number[];
}

export interface HistogramPoint {
  readonly labels: LabelValues;
  readonly buckets: Buckets;
}

export interface Reading {
  readonly family: Family;
  /** Of any kind but histograms. */
  readonly points: readonly Point[];
  readonly histograms: readonly HistogramPoint[];
}

/**
 * Upper edges of the classic buckets, µs. Powers of two, since these are edges of the finer ones too that latency.ts counts in: so
 * the counts are exact.
 */
export const BOUNDS_US: readonly number[] = [
  16,
  64,
  ...Array.from({ length: 16 }, (_, k) => 128 * 2 ** k),
  2 ** 24,
];

/** The first of the finer buckets that is beyond each of them. */
const BEYOND = BOUNDS_US.map(bucketOf);

/** Of native buckets each ends at 2^(1/8) times where the one before ends, 9 % more; number 0 ends at one second. */
export const NATIVE_SCHEMA = 3;
/** Which of the native buckets has the middle of a finer one that is not the first, 0 µs. */
const nativeOf = (bucket: number): number => {
  const fromUs = bucketFromUs(bucket);
  const toUs = bucketToUs(bucket);
  const middleUs = toUs === Infinity ? fromUs : (fromUs + toUs - 1) / 2;
  return Math.ceil(Math.log2(middleUs / 1e6) * 2 ** NATIVE_SCHEMA);
};
/** The first of them: that of 1 µs. */
export const NATIVE_LOWEST: number = nativeOf(1);

/** How native buckets, and classic ones with them, are made of the finer ones: counted together, so that they agree while others count. */
interface Both {
  /** As of Latency.coarse: of both kinds. */
  readonly beyond: readonly number[];
  /** Where among those each of the classic ones ends; and 0 µs, and then each of the native ones. */
  readonly classic: readonly number[];
  readonly native: readonly number[];
}

/** Made when somebody wants them. */
let both: Both | null = null;

function makeBoth(): Both {
  const ends = [1];
  for (let bucket = 1; bucket < BUCKETS; bucket++) {
    const at = nativeOf(bucket) - NATIVE_LOWEST + 1;
    // Those that no time is in end where the one before does.
    while (ends.length <= at) ends.push(bucket);
    ends[at] = bucket + 1;
  }
  const beyond = [...new Set([...BEYOND, ...ends])].sort((a, b) => a - b);
  const places = new Map(beyond.map((bucket, at) => [bucket, at]));
  return {
    beyond,
    classic: BEYOND.map((bucket) => places.get(bucket)!),
    native: ends.map((bucket) => places.get(bucket)!),
  };
}

function split({ below, count, sumUs }: Coarse, { classic, native }: Both): Buckets {
  return {
    below: classic.map((at) => below[at]!),
    count,
    sumUs,
    native: native.map((at, i) => below[at]! - (i === 0 ? 0 : below[native[i - 1]!]!)),
  };
}

/** Of one class. @param native native buckets as well */
export function bucketsOf(latency: Latency, latencyClass: number, quantity: number, native = false): Buckets {
  if (!native) return latency.coarse(BEYOND, latencyClass, quantity);
  both ??= makeBoth();
  return split(latency.coarse(both.beyond, latencyClass, quantity), both);
}

/** Of all classes but those that wait for as long as they like. */
export function totalBuckets(latency: Latency, quantity: number, native = false): Buckets {
  if (!native) return latency.coarseTotal(BEYOND, quantity);
  both ??= makeBoth();
  return split(latency.coarseTotal(both.beyond, quantity), both);
}

// ---- what there is to tell

/** The process and its pools at one moment; plain data. */
export interface Snapshot {
  readonly version: string;
  /** "bun" or "deno". */
  readonly runtime: string;
  readonly runtimeVersion: string;
  /** ms since the epoch of Unix. */
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** -1 = not known. */
  readonly openFiles: number;
  /** -1 = not known. */
  readonly filesMax: number;
  readonly workers: number;
  readonly connectionsTotal: number;
  readonly connectionsCurrent: number;
  /** Infinity = no ceiling. */
  readonly memoryMaxBytes: number;
  readonly epoch: number;
  readonly epochAtMs: number;
  /** How many of each kind since the start. */
  readonly events: ReadonlyMap<string, number>;
  /** Of the process itself. */
  readonly certificates: readonly CertificateSnapshot[];
  readonly pools: readonly PoolSnapshot[];
}

export interface PoolSnapshot {
  readonly name: string;
  /** One value a row of POOL_METRICS. */
  readonly values: ArrayLike<number>;
  /** By class of commands; those that nobody has asked for may be missing. */
  readonly latency: readonly { readonly class: string; readonly waited: Buckets; readonly served: Buckets }[];
  readonly servers: readonly ServerSnapshot[];
  readonly certificates: readonly CertificateSnapshot[];
}

export interface CertificateSnapshot {
  /** "tls" or "server_tls"; "admin_tls" of the process. */
  readonly key: string;
  readonly file: string;
  /** ms since the epoch of Unix. */
  readonly endsAtMs: number;
}

export interface ServerSnapshot {
  readonly name: string;
  /** One value a row of SERVER_METRICS. */
  readonly values: ArrayLike<number>;
  readonly ejected: boolean;
  /** Its primary cannot be reached, as far as anybody looks after it, or nobody knows who that is. */
  readonly down: boolean;
  /** null: nobody measures. */
  readonly served: Buckets | null;
  readonly replicas: readonly ReplicaSnapshot[];
}

export interface ReplicaSnapshot {
  readonly address: string;
  readonly well: boolean;
  /** -1 = not known. */
  readonly lagBytes: number;
  /** -1 = not known. */
  readonly lagMs: number;
}

// ---- the table

type Kind = Family["kind"];

/** A family with what it says of a T; null: nothing is known. */
interface Row<T> {
  readonly family: Family;
  readonly value: (of: T) => number | null;
}

const PREFIX = "ringmaster_";

function familyOf(kind: Kind, name: string, help: string, labels: readonly string[]): Family {
  const unit = /_(bytes|seconds)$/.exec(name)?.[1] ?? "";
  return { name, kind, unit, help, labels };
}

function row<T>(
  kind: Kind,
  name: string,
  help: string,
  labels: readonly string[],
  value: (of: T) => number | null,
): Row<T> {
  return { family: familyOf(kind, name, help, labels), value };
}

const known = (value: number): number | null => value < 0 ? null : value;

const BUILD = familyOf("info", `${PREFIX}build`, "The version of Ringmaster and what it runs on", [
  "version",
  "runtime",
  "runtime_version",
]);

const EVENTS = familyOf(
  "counter",
  `${PREFIX}events`,
  "What has happened to servers and to the configuration, by kind",
  ["kind"],
);

const PROCESS_ROWS: readonly Row<Snapshot>[] = [
  row(
    "counter",
    "process_cpu_seconds",
    "CPU time of the process, of user and system",
    [],
    (p) => p.cpuSeconds,
  ),
  row("gauge", "process_resident_memory_bytes", "Resident memory of the process", [], (p) => p.residentBytes),
  row("gauge", "process_open_fds", "Open file descriptors", [], (p) => known(p.openFiles)),
  row("gauge", "process_max_fds", "File descriptors that may be open", [], (p) => known(p.filesMax)),
  row(
    "gauge",
    "process_start_time_seconds",
    "When the process started, since the epoch of Unix",
    [],
    (p) => p.startedAtMs / 1000,
  ),
  row("gauge", `${PREFIX}workers`, "Threads that carry traffic", [], (p) => p.workers),
  row(
    "counter",
    `${PREFIX}connections`,
    "Connections opened, of whatever kind",
    [],
    (p) => p.connectionsTotal,
  ),
  row(
    "gauge",
    `${PREFIX}connections_open`,
    "Connections and listeners that are open",
    [],
    (p) => p.connectionsCurrent,
  ),
  row(
    "gauge",
    `${PREFIX}memory_max_bytes`,
    "max_memory: what may be held for requests and replies; +Inf = no ceiling",
    [],
    (p) => p.memoryMaxBytes,
  ),
  row(
    "gauge",
    `${PREFIX}topology_epoch`,
    "Which configuration is in force: 0 at the start, one more with every change",
    [],
    (p) => p.epoch,
  ),
  row(
    "gauge",
    `${PREFIX}topology_changed_timestamp_seconds`,
    "Since when it has been in force, since the epoch of Unix",
    [],
    (p) => p.epochAtMs / 1000,
  ),
];

const POOL = ["pool"];
const LIMITED = ["pool", "limit"];
const CLASS = ["pool", "class"];
const SERVER = ["pool", "server"];
const REPLICA = ["pool", "server", "replica"];

/** A family of the tables of counters, and its rows: one, or one a limit. */
interface Counted {
  readonly family: Family;
  readonly rows: readonly { readonly limit: string; readonly index: number }[];
  /** What a value is divided by. */
  readonly scale: number;
}

/** Families whose rows say too little, or, in another unit, too much. */
const HELP: Readonly<Record<string, string>> = {
  limit_hits: "How often a limit of the configuration has been met: see docs/limits-and-errors.md",
  server_ejected_timestamp_seconds: "When the server was ejected last, since the epoch of Unix; 0 = never",
  server_requests: "Number of requests and fragments sent to the server",
  server_responses: "Number of replies of the server",
  server_unsent_requests: "Number of requests that wait to be sent to the server",
  server_unsent_bytes: "Bytes of requests that wait to be sent to the server",
  server_in_flight_requests: "Number of requests that have been sent and wait for the server's reply",
  server_in_flight_bytes: "Bytes of requests that have been sent and wait for the server's reply",
};

function counted(metrics: readonly Metric[], labels: readonly string[]): Counted[] {
  const byName = new Map<string, { limit: string; index: number }[]>();
  metrics.forEach(({ family, limit }, index) => {
    byName.set(family, [...byName.get(family) ?? [], { limit, index }]);
  });
  return [...byName].map(([name, rows]) => {
    const { kind, description, limit } = metrics[rows[0]!.index]!;
    return {
      family: familyOf(
        kind === "counter" ? kind : "gauge",
        PREFIX + name,
        HELP[name] ?? helpOf(description),
        limit === "" ? labels : LIMITED,
      ),
      rows,
      scale: kind === "timestamp" ? 1e6 : 1,
    };
  });
}

/** twemproxy's "# times …" as a sentence. */
function helpOf(description: string): string {
  const sentence = description.replace(/^# /, "number of ");
  return sentence[0]!.toUpperCase() + sentence.slice(1);
}

const POOL_COUNTED = counted(POOL_METRICS, POOL);
const SERVER_COUNTED = counted(SERVER_METRICS, SERVER);

const WAITED = familyOf(
  "histogram",
  `${PREFIX}request_waited_seconds`,
  "Time that requests of clients have waited here: until they were written to a server, or answered here",
  CLASS,
);
const SERVED = familyOf(
  "histogram",
  `${PREFIX}request_served_seconds`,
  "Time that servers have taken for requests of clients: from when they were written until the last reply",
  CLASS,
);
const SERVER_SERVED = familyOf(
  "histogram",
  `${PREFIX}server_served_seconds`,
  "Time that the server has taken for requests and fragments",
  SERVER,
);

const SERVER_ROWS: readonly Row<ServerSnapshot>[] = [
  row(
    "gauge",
    `${PREFIX}server_up`,
    "1 = the server is on the ring, and nobody who looks after it says that it is down",
    SERVER,
    (server) => server.ejected || server.down ? 0 : 1,
  ),
  row(
    "gauge",
    `${PREFIX}server_ejected`,
    "1 = the server is off the ring (auto_eject_hosts)",
    SERVER,
    (server) => server.ejected ? 1 : 0,
  ),
];

const REPLICA_ROWS: readonly Row<ReplicaSnapshot>[] = [
  row("gauge", `${PREFIX}replica_up`, "1 = the replica may be read from", REPLICA, (one) => one.well ? 1 : 0),
  row(
    "gauge",
    `${PREFIX}replica_lag_bytes`,
    "What the replica has not applied of its primary's stream",
    REPLICA,
    (one) => known(one.lagBytes),
  ),
  row(
    "gauge",
    `${PREFIX}replica_lag_seconds`,
    "For how long the replica has been lacking something that its primary had",
    REPLICA,
    (one) => one.lagMs < 0 ? null : one.lagMs / 1000,
  ),
];

const CERTIFICATE_ROWS: readonly Row<CertificateSnapshot>[] = [
  row(
    "gauge",
    `${PREFIX}tls_certificate_expiry_timestamp_seconds`,
    "When the first certificate that matters of a file in use ends, since the epoch of Unix; key is tls or server_tls, or admin_tls of no pool",
    ["pool", "key", "file"],
    (one) => one.endsAtMs / 1000,
  ),
];

/** All there are, in the order of the document. */
export const FAMILIES: readonly Family[] = [
  BUILD,
  ...PROCESS_ROWS.map(({ family }) => family),
  EVENTS,
  ...POOL_COUNTED.map(({ family }) => family),
  WAITED,
  SERVED,
  ...SERVER_ROWS.map(({ family }) => family),
  ...SERVER_COUNTED.map(({ family }) => family),
  SERVER_SERVED,
  ...REPLICA_ROWS.map(({ family }) => family),
  ...CERTIFICATE_ROWS.map(({ family }) => family),
];

// ---- readings

interface Labelled<T> {
  readonly labels: LabelValues;
  readonly of: T;
}

/** What a snapshot is of, with labels. */
interface All {
  readonly snapshot: Snapshot;
  readonly process: readonly Labelled<Snapshot>[];
  readonly pools: readonly Labelled<PoolSnapshot>[];
  readonly servers: readonly Labelled<ServerSnapshot>[];
  readonly replicas: readonly Labelled<ReplicaSnapshot>[];
  readonly certificates: readonly Labelled<CertificateSnapshot>[];
  readonly latency: readonly Labelled<PoolSnapshot["latency"][number]>[];
}

function allOf(snapshot: Snapshot): All {
  const { pools } = snapshot;
  const servers = pools.flatMap((pool) =>
    pool.servers.map((of): Labelled<ServerSnapshot> => ({ labels: [pool.name, of.name], of }))
  );
  return {
    snapshot,
    process: [{ labels: [], of: snapshot }],
    pools: pools.map((of) => ({ labels: [of.name], of })),
    servers,
    replicas: servers.flatMap(({ labels, of }) =>
      of.replicas.map((of): Labelled<ReplicaSnapshot> => ({ labels: [...labels, of.address], of }))
    ),
    certificates: [{ name: "", certificates: snapshot.certificates }, ...pools].flatMap((each) =>
      each.certificates.map((of) => ({ labels: [each.name, of.key, of.file], of }))
    ),
    latency: pools.flatMap((pool) => pool.latency.map((of) => ({ labels: [pool.name, of.class], of }))),
  };
}

/** In the order of FAMILIES. A function each: in one, an engine would compile all of it again and again, for a second and more. */
const READINGS: readonly ((all: All) => Reading)[] = [
  ({ snapshot: { version, runtime, runtimeVersion } }) =>
    simple(BUILD, [{ labels: [version, runtime, runtimeVersion], value: 1 }]),
  ...PROCESS_ROWS.map((row) => (all: All) => read(row, all.process)),
  ({ snapshot: { events } }) =>
    simple(EVENTS, [...events].map(([kind, value]) => ({ labels: [kind], value }))),
  ...POOL_COUNTED.map((counted) => (all: All) => readCounted(counted, all.pools)),
  ({ latency }) => histograms(WAITED, latency.map(({ labels, of }) => ({ labels, buckets: of.waited }))),
  ({ latency }) => histograms(SERVED, latency.map(({ labels, of }) => ({ labels, buckets: of.served }))),
  ...SERVER_ROWS.map((row) => (all: All) => read(row, all.servers)),
  ...SERVER_COUNTED.map((counted) => (all: All) => readCounted(counted, all.servers)),
  ({ servers }) =>
    histograms(
      SERVER_SERVED,
      servers.flatMap(({ labels, of }) => of.served === null ? [] : [{ labels, buckets: of.served }]),
    ),
  ...REPLICA_ROWS.map((row) => (all: All) => read(row, all.replicas)),
  ...CERTIFICATE_ROWS.map((row) => (all: All) => read(row, all.certificates)),
];

/** In the order of FAMILIES, each made when it is asked for. One of which nothing is known has no points. */
export function* readings(snapshot: Snapshot): Generator<Reading, void> {
  const all = allOf(snapshot);
  for (const readingOf of READINGS) yield readingOf(all);
}

function simple(family: Family, points: readonly Point[]): Reading {
  return { family, points, histograms: [] };
}

function histograms(family: Family, histograms: readonly HistogramPoint[]): Reading {
  return { family, points: [], histograms };
}

function read<T>({ family, value }: Row<T>, all: readonly Labelled<T>[]): Reading {
  const points: Point[] = [];
  for (const { labels, of } of all) {
    const said = value(of);
    if (said !== null) points.push({ labels, value: said });
  }
  return simple(family, points);
}

function readCounted(
  { family, rows, scale }: Counted,
  all: readonly Labelled<{ readonly values: ArrayLike<number> }>[],
): Reading {
  const points: Point[] = [];
  for (const { labels, of } of all) {
    for (const { limit, index } of rows) {
      const value = of.values[index]! / scale;
      points.push({ labels: limit === "" ? labels : [...labels, limit], value });
    }
  }
  return simple(family, points);
}
