/**
 * The statistics document that twemproxy writes to whoever connects to its statistics port.
 *
 * Same names, same order, same white space (compat with scrapers that cut it with regular expressions), but names are
 * escaped as JSON demands and the values are fresh.
 */
import { type Metric, POOL_METRICS, SERVER_METRICS } from "./metrics.ts";

export interface ServerStats {
  readonly name: string;
  /** One value a row of SERVER_METRICS. */
  readonly values: ArrayLike<number>;
}

export interface PoolStats {
  readonly name: string;
  /** One value a row of POOL_METRICS. */
  readonly values: ArrayLike<number>;
  readonly servers: readonly ServerStats[];
}

export interface ProcessStats {
  readonly source: string;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly timestampSeconds: number;
  readonly totalConnections: number;
  readonly currConnections: number;
  readonly pools: readonly PoolStats[];
}

/** The document, one line, without a final newline. */
export function statsDocument(stats: ProcessStats): string {
  const head = `{"service":"nutcracker", "source":${JSON.stringify(stats.source)}, "version":${
    JSON.stringify(stats.version)
  }, "uptime":${stats.uptimeSeconds}, "timestamp":${stats.timestampSeconds}, "total_connections":${stats.totalConnections}, "curr_connections":${stats.currConnections}`;
  return head + stats.pools.map((pool, i) => (i === 0 ? ", " : ",") + poolObject(pool)).join("") + "}";
}

function poolObject(pool: PoolStats): string {
  const servers = pool.servers.map((s) =>
    `${JSON.stringify(s.name)}: {${values(SERVER_METRICS, s.values, ", ")}}`
  );
  return `${JSON.stringify(pool.name)}: {${values(POOL_METRICS, pool.values, ", ")}, ${servers.join(",")}}`;
}

function values(metrics: readonly Metric[], row: ArrayLike<number>, separator: string): string {
  const shown: string[] = [];
  metrics.forEach((m, i) => {
    if (m.classic) shown.push(`"${m.name}":${row[i]}`);
  });
  return shown.join(separator);
}
