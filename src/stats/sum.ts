/**
 * The statistics of a process: what all its workers have counted, added up. Counters and gauges are summed, of times
 * the latest counts.
 */
import type { Board } from "./board.ts";
import type { ProcessStats } from "./document.ts";

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
      values: pool.totals(),
      servers: names[p]!.servers.map(({ name }, server) => ({
        name,
        values: pool.servers[server]!.totals(),
      })),
    })),
  };
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0);
}
