/** /api/stats: what the statistics port says, and the counters that twemproxy does not have. */
import { POOL_METRICS, SERVER_METRICS } from "../stats/metrics.ts";
import type { Metric } from "../stats/metrics.ts";
import { type Answer, json } from "./answer.ts";
import type { Around } from "./around.ts";

export async function stats({ clock, service }: Around): Promise<Answer> {
  const { source, version, uptimeSeconds, totalConnections, currConnections, pools } = await service.stats();
  return json({
    at: clock.wallMs(),
    source,
    version,
    uptime_seconds: uptimeSeconds,
    total_connections: totalConnections,
    curr_connections: currConnections,
    pools: pools.map(({ name, values, servers }) => ({
      name,
      counters: countersOf(POOL_METRICS, values),
      servers: servers.map((server) => ({
        name: server.name,
        counters: countersOf(SERVER_METRICS, server.values),
      })),
    })),
  });
}

/** By name. */
export function countersOf(metrics: readonly Metric[], values: ArrayLike<number>): Record<string, number> {
  return Object.fromEntries(metrics.map(({ name }, i) => [name, values[i]!]));
}
