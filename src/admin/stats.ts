/** /api/stats: what the statistics port says, and the counters that twemproxy does not have. */
import { POOL_METRICS, SERVER_METRICS } from "../stats/metrics.ts";
import type { Metric } from "../stats/metrics.ts";
import type { Answer } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";

/** What a server's counters take, µs, about. */
const SERVER_US = 8;

export async function stats({ clock, turns, service }: Around): Promise<Answer> {
  const { source, version, uptimeSeconds, totalConnections, currConnections, pools } = await service.stats();
  return await longJson(turns, {
    at: clock.wallMs(),
    source,
    version,
    uptime_seconds: uptimeSeconds,
    total_connections: totalConnections,
    curr_connections: currConnections,
    pools: each(pools, 3 * SERVER_US, ({ name, values, servers }) => ({
      name,
      counters: countersOf(POOL_METRICS, values),
      servers: each(servers, SERVER_US, (server) => ({
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
