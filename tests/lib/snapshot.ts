/** A snapshot of a process that has all there is to tell, for tests of what is made of it. */
import { POOL_METRICS, SERVER_METRICS } from "../../src/stats/metrics.ts";
import { BOUNDS_US, type Buckets, type Snapshot } from "../../src/stats/families.ts";

/** Some pools with so many servers each; every number is another. */
export function snapshotOf(pools: number, servers: number): Snapshot {
  let next = 1;
  const buckets = (): Buckets => ({ below: BOUNDS_US.map(() => next), count: next++, sumUs: 1e6 * next });
  return {
    version: "1.2.3",
    runtime: "bun",
    runtimeVersion: "1.4.5",
    startedAtMs: 1_700_000_000_000,
    nowMs: 1_700_000_010_000,
    cpuSeconds: 1.25,
    residentBytes: 64e6,
    openFiles: 20,
    filesMax: 1024,
    workers: 2,
    connectionsTotal: next++,
    connectionsCurrent: next++,
    memoryMaxBytes: 512e6,
    epoch: next++,
    epochAtMs: 1_700_000_005_000,
    events: new Map([["down", next++], ["source failed", 0]]),
    certificates: [{ key: "admin_tls", file: "/etc/admin.crt", endsAtMs: 1_800_000_000_000 }],
    pools: Array.from({ length: pools }, (_, p) => ({
      name: `pool${p}`,
      values: POOL_METRICS.map(() => next++),
      certificates: p === 0 ? [{ key: "tls", file: "/etc/one.crt", endsAtMs: 1_800_000_000_000 }] : [],
      latency: ["read", "write"].map((name) => ({ class: name, waited: buckets(), served: buckets() })),
      servers: Array.from({ length: servers }, (_, s) => ({
        name: `server${s}`,
        values: SERVER_METRICS.map(() => next++),
        ejected: s === 1,
        down: s === 2,
        served: buckets(),
        replicas: s === 0 ? [{ address: "127.0.0.1:1", well: true, lagBytes: 5, lagMs: 1500 }] : [],
      })),
    })),
  };
}
