/** What one seed's cluster is made of, and how its proxy is configured. */
import { type Faults, swarm } from "./faults.ts";
import type { Manner } from "./model_cluster.ts";
import type { Random } from "./random.ts";

export interface ClusterPlan {
  readonly text: string;
  readonly shards: number;
  /** Of each shard; 0: nobody can take a primary's place. */
  readonly replicas: number;
  readonly manner: Manner;
  readonly readsFromReplicas: boolean;
  /** What nodes and the proxy want in AUTH. */
  readonly password: string | null;
  /** Requests with more arguments go out in slices. */
  readonly sliceArguments: number;
  /** Replies of more bytes go on in parts. */
  readonly passMin: number;
  readonly workers: number;
  readonly clients: number;
  readonly slots: number;
  readonly keysPerSlot: number;
  readonly blocks: boolean;
  /** Migrations of slots, planned failovers, deaths, short stops of primaries. */
  readonly migrations: number;
  readonly failovers: number;
  readonly kills: number;
  readonly stops: number;
  /** Of migrations: how many are done at a stroke. */
  readonly atomic: number;
  /** A node hears of a change within this time; a liar within ten times that. */
  readonly gossipMaxMs: number;
  readonly liars: number;
  /** Between two keys of a migration, at most. */
  readonly keyMaxMs: number;
  /** While a primary is missing all of the cluster stands still. */
  readonly fullCoverage: boolean;
  readonly tryAgainMs: number;
  /** Between the proxy and the nodes; null: nothing goes wrong there. */
  readonly faults: Faults | null;
  readonly requestsMax: number;
  readonly troubleMs: number;
  /** Of the shards: so many have no slots at first, and are no servers of the pool until they get one. */
  readonly empty: number;
  /** Clients load scripts and functions, and take them away again in some of these worlds. */
  readonly scripts: boolean;
  readonly flushes: boolean;
  /** So many clients subscribe, and others publish. */
  readonly listeners: number;
  /** So many clients keep a cache (CLIENT TRACKING). */
  readonly trackers: number;
  /** Some values are so large that their requests stream through. */
  readonly large: boolean;
  /** So often a node forgets its scripts. */
  readonly forgets: number;
  /** What is sent arrives at its multiples, ms; 0: at any time. */
  readonly gridMs: number;
  /** A turn takes up to so long, ms: what comes meanwhile is of the same. */
  readonly turnMaxMs: number;
}

export const TIMEOUT_MS = 2000;
/** No reply here has so many bytes, but where values are large. */
export const PASS_MIN = 64 * 1024;

export function nodeText(node: number): string {
  return `10.0.0.${node + 1}:7000`;
}

/**
 * @param plain without what worlds had no part of at first
 * @param tracks with clients that keep a cache, which worlds that are not plain had no part of at first
 */
export function clusterPlanOf(random: Random, plain = false, tracks = !plain): ClusterPlan {
  // Drawn aside: worlds without are as they were.
  const aside = random.aside();
  const scripts = !plain && aside.chance(0.5);
  const flushes = scripts && aside.chance(0.3);
  const empty = !plain && aside.chance(0.3) ? 1 : 0;
  const forgets = scripts && aside.chance(0.2) ? aside.int(1, 3) : 0;
  const gridMs = !plain && aside.chance(0.5) ? aside.pick([0.3, 1, 2]) : 0;
  const listeners = !plain && aside.chance(0.3) ? aside.int(1, 3) : 0;
  const large = !plain && aside.chance(0.04);
  const turnMaxMs = !plain && aside.chance(0.3) ? aside.pick([0.5, 2]) : 0;
  const trackers = tracks && aside.chance(0.35) ? aside.int(1, 4) : 0;
  const shards = random.int(2, 3);
  const replicas = random.chance(0.7) ? 1 : 0;
  const tryAgainMs = random.pick([500, 2000, 5000]);
  const manner = random.pick(["redis", "valkey"] as const);
  // Of a key that has moved a replica of Redis 7 says that there is none: nobody can tell.
  const readFrom = replicas > 0 && manner === "valkey" && random.chance(0.4)
    ? random.pick(["prefer_replica", "replica", "any"])
    : "primary";
  const reads = readFrom === "primary"
    ? ""
    : `  read_from: ${readFrom}\n  max_lag: 10s\n  read_your_writes: ${random.chance(0.6)}\n  retry_reads: ${
      random.chance(0.5)
    }\n`;
  const password = random.chance(0.2) ? "secret" : null;
  // Nobody is there.
  const lost = random.chance(0.2) ? "    - 10.0.9.9:7000\n" : "";
  const seeds = lost +
    Array.from({ length: random.int(1, shards) }, (_, i) => `    - ${nodeText(i)}\n`).join("");
  const plan = {
    text: `alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  cluster: true\n  timeout: ${TIMEOUT_MS}\n` +
      `  cluster_refresh: ${random.pick([500, 1000, 3000])}\n  cluster_tryagain: ${tryAgainMs}\n` +
      `  server_connections: ${random.int(1, 2)}\n${reads}${
        password === null ? "" : `  redis_auth: ${password}\n`
      }${flushes ? "  dangerous_commands: allow\n" : ""}  servers:\n${seeds}`,
    shards: shards + empty,
    empty,
    scripts,
    flushes,
    forgets,
    listeners,
    trackers,
    large,
    gridMs,
    turnMaxMs,
    replicas,
    manner,
    password,
    sliceArguments: random.chance(0.3) ? random.magnitude(4, 20) : 4096,
    passMin: random.chance(0.2) ? random.magnitude(4, 40) : PASS_MIN,
    readsFromReplicas: readFrom !== "primary",
    workers: random.pick([1, 1, 1, 2]),
    clients: random.int(2, 6),
    slots: random.pick([1, 1, 2, 2, 4, 6]),
    keysPerSlot: random.int(1, 3),
    blocks: random.chance(0.4),
    migrations: random.chance(0.9) ? random.magnitude(1, 20) : 0,
    failovers: replicas > 0 && random.chance(0.4) ? random.int(1, 2) : 0,
    kills: random.chance(0.3) ? 1 : 0,
    stops: random.chance(0.2) ? random.int(1, 2) : 0,
    atomic: random.pick([0, 0, 0.5, 1]),
    gossipMaxMs: random.magnitude(1, 300),
    liars: random.pick([0, 0, 0.3]),
    keyMaxMs: random.magnitude(5, 400),
    fullCoverage: random.chance(0.7),
    tryAgainMs,
    faults: random.chance(0.25) && !large ? { ...swarm(random), blackHole: 0, vanish: 0 } : null,
    requestsMax: random.magnitude(40, 150),
    troubleMs: random.magnitude(500, 3000),
  };
  // The invalidations of one client go to another one of the same worker only.
  return plan.workers > 1 ? { ...plan, trackers: 0 } : plan;
}
