/**
 * What `stats proxy` says: the counters of the pool and its servers, as STAT lines. The names are those of the
 * statistics document (see stats/metrics.ts); a server's begin with its own name.
 */
import { encode } from "../bytes/ascii.ts";
import type { PoolStats, ProcessStats } from "../stats/document.ts";
import type { Stamp } from "../topology/change.ts";
import type { EventsSeen } from "../topology/events.ts";
import { POOL_METRICS, SERVER_METRICS } from "../stats/metrics.ts";

/** What a memcached pool tells of the process it runs in. */
export interface MemcachedHost {
  readonly processId: number;
  stats(): ProcessStats;
  topology(): Stamp & EventsSeen;
}

/** @returns STAT lines up to END, owned by the caller */
export function proxyStats(host: MemcachedHost, poolName: string): Uint8Array {
  const stats = host.stats();
  const pool: PoolStats | undefined = stats.pools.find(({ name }) => name === poolName);
  let text = "";
  const add = (name: string, value: string | number) => text += `STAT ${name} ${value}\r\n`;
  add("pid", host.processId);
  add("ringmaster_version", stats.version);
  add("uptime", stats.uptimeSeconds);
  add("time", stats.timestampSeconds);
  const { epoch, cause, atMs, count, last } = host.topology();
  add("topology_epoch", epoch);
  add("topology_cause", cause);
  add("topology_changed_at", Math.floor(atMs / 1000));
  add("topology_events", count);
  if (last !== null) {
    add("topology_last_event", last.text);
    add("topology_last_event_at", Math.floor(last.atMs / 1000));
    add("topology_last_event_duration_ms", last.durationMs);
  }
  add("pool", poolName);
  // A reload has removed it, and its last clients are leaving.
  if (pool === undefined) return encode(text + "END\r\n");
  POOL_METRICS.forEach((metric, i) => add(metric.name, pool.values[i]!));
  for (const server of pool.servers) {
    SERVER_METRICS.forEach((metric, i) => add(`${server.name}:${metric.name}`, server.values[i]!));
  }
  return encode(text + "END\r\n");
}
