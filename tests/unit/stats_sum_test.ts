/** Statistics of several workers as one: sums of counters and gauges, the latest of times. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Board } from "../../src/stats/board.ts";
import { POOL_METRICS, SERVER_METRICS } from "../../src/stats/metrics.ts";
import { sumStats } from "../../src/stats/sum.ts";

const HEAD = { source: "here", version: "1", uptimeSeconds: 2, timestampSeconds: 3 };

Deno.test("sumStats() adds counters and gauges, and takes the latest time", () => {
  const number = fc.integer({ min: 0, max: 2 ** 40 });
  const rows = fc.array(fc.array(number, { minLength: 64, maxLength: 64 }), { minLength: 1, maxLength: 5 });
  fc.assert(fc.property(rows, (workers) => {
    const board = Board.make(workers.length, [2]);
    const pool = board.pools[0]!;
    workers.forEach((numbers, worker) => {
      pool.row(worker).forEach((_, i, row) => row[i] = numbers[i]!);
      pool.servers[1]!.row(worker).forEach((_, i, row) => row[i] = numbers[i + 20]!);
      board.connectionsTotal[worker] = numbers[50]!;
      board.connectionsCurrent[worker] = numbers[51]!;
    });
    const stats = sumStats(HEAD, [{ name: "a", servers: [{ name: "x" }, { name: "y" }] }], board);
    const sum = (at: number) => workers.reduce((all, numbers) => all + numbers[at]!, 0);
    const expected = (metrics: typeof POOL_METRICS, first: number) =>
      Float64Array.from(
        metrics,
        ({ kind }, i) =>
          kind === "timestamp" ? Math.max(...workers.map((numbers) => numbers[first + i]!)) : sum(first + i),
      );
    deepStrictEqual(stats, {
      ...HEAD,
      totalConnections: sum(50),
      currConnections: sum(51),
      pools: [{
        name: "a",
        values: expected(POOL_METRICS, 0),
        servers: [
          { name: "x", values: new Float64Array(SERVER_METRICS.length) },
          { name: "y", values: expected(SERVER_METRICS, 20) },
        ],
      }],
    });
  }));
});

Deno.test("sumStats() keeps the order of pools", () => {
  const board = Board.make(2, [1, 1]);
  board.pools[1]!.row(1)[0] = 4;
  const names = ["b", "a"].map((name) => ({ name, servers: [{ name: `server of ${name}` }] }));
  const { pools } = sumStats(HEAD, names, board);
  deepStrictEqual(pools.map((pool) => pool.name), ["b", "a"]);
  strictEqual(pools[1]!.values[0], 4);
  strictEqual(pools[1]!.servers[0]!.name, "server of a");
});
