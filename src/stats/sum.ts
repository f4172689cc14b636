/**
 * The statistics of a process: what all its workers have counted, added up. Counters and gauges are summed, of times
 * the latest counts.
 */
import type { Board } from "./board.ts";
import type { ProcessStats } from "./document.ts";
import { POOL_METRICS, SERVER_METRICS } from "./metrics.ts";

/** Names of pools and servers, in the board's order; a Config's `pools` fit. */
export type Names = readonly {
  readonly name: string;
  readonly servers: readonly { readonly name: string }[];
}[];

/** @param head what the board does not know */
export function sumStats(
  head: Omit<ProcessStats, "totalConnections" | "currConnections" | "pools">,
  names: Names,
  board: Board,
): ProcessStats {
  return {
    ...head,
    totalConnections: sum(board.connectionsTotal),
    currConnections: sum(board.connectionsCurrent),
    pools: board.pools.map((pool, p) => ({
      name: names[p]!.name,
      values: POOL_METRICS.map((_, metric) => pool.total(metric)),
      servers: names[p]!.servers.map(({ name }, server) => ({
        name,
        values: SERVER_METRICS.map((_, metric) => pool.servers[server]!.total(metric)),
      })),
    })),
  };
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0);
}
