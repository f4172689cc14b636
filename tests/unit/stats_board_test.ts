/** The board that workers share: rows of their own, limits over all, what a dead worker leaves, and who probes what. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Board } from "../../src/stats/board.ts";
import {
  CLIENT_CONNECTIONS,
  CLIENT_EOF,
  IN_QUEUE,
  POOL_METRICS,
  REQUESTS,
  SERVER_CONNECTIONS,
  SERVER_EJECTED_AT,
  SERVER_METRICS,
} from "../../src/stats/metrics.ts";

Deno.test("Board rows do not overlap, and another thread's view of the memory has the same ones", () => {
  const board = Board.make(3, [2, 1]);
  const other = Board.of(board.memory);
  let value = 1;
  const rows = (of: Board) =>
    of.pools.flatMap((pool) =>
      [0, 1, 2].flatMap((worker) => [
        pool.row(worker),
        ...Array.from({ length: pool.servers }, (_, server) => pool.serverRow(worker, server)),
      ])
    );
  for (const row of rows(board)) for (let i = 0; i < row.length; i++) row[i] = value++;
  board.pools[0]!.waitFactors.fill(0.5);
  board.pools[1]!.waitFactors.fill(0.25);
  for (const pool of board.pools) for (const worker of [0, 1, 2]) pool.countAccepted(worker);
  for (const worker of [0, 1, 2]) ok(board.admit(0, worker, Infinity, Infinity));
  board.connectionsTotal.fill(7);
  board.connectionsCurrent.fill(8);
  board.logLevel = 11;

  let expected = 1;
  for (const row of rows(other)) for (const found of row) strictEqual(found, expected++);
  deepStrictEqual([...other.pools[0]!.waitFactors], [0.5, 0.5]);
  deepStrictEqual([...other.pools[1]!.waitFactors], [0.25]);
  deepStrictEqual([...other.pools[0]!.clients], [3, 1, 1, 1]);
  deepStrictEqual(other.pools.map((pool) => pool.acceptedTotal), [3, 3]);
  deepStrictEqual([...other.connectionsTotal, ...other.connectionsCurrent], [7, 7, 7, 8, 8, 8]);
  strictEqual(other.logLevel, 11);
  strictEqual(other.clients, 3);
  strictEqual(rows(other)[0]!.length, POOL_METRICS.length);
  strictEqual(rows(other)[1]!.length, SERVER_METRICS.length);
});

Deno.test("Board.admit() keeps both limits over all pools and workers, and release() gives places back", () => {
  const board = Board.make(2, [1, 1]);
  const admit = (pool: number, worker: number) => board.admit(pool, worker, 3, 5);
  deepStrictEqual([admit(0, 0), admit(0, 1), admit(0, 0), admit(0, 1)], [true, true, true, false]);
  deepStrictEqual([admit(1, 0), admit(1, 1), admit(1, 1)], [true, true, false]);
  strictEqual(board.clients, 5);
  board.release(0, 1);
  deepStrictEqual([admit(1, 1), admit(0, 0)], [true, false]);
  deepStrictEqual(board.pools.map((pool) => [...pool.clients]), [[2, 2, 0], [3, 1, 2]]);
});

Deno.test("Board.admit() and release() agree with a list of clients", () => {
  const step = fc.record({
    enter: fc.boolean(),
    pool: fc.nat(1),
    worker: fc.nat(2),
    bury: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const board = Board.make(3, [1, 2]);
    let inside: { pool: number; worker: number }[] = [];
    for (const { enter, pool, worker, bury } of steps) {
      if (bury) {
        board.bury(worker);
        inside = inside.filter((client) => client.worker !== worker);
      } else if (enter) {
        const expected = inside.length < 6 && inside.filter((client) => client.pool === pool).length < 4;
        strictEqual(board.admit(pool, worker, 4, 6), expected);
        if (expected) inside.push({ pool, worker });
      } else {
        const i = inside.findIndex((client) => client.pool === pool && client.worker === worker);
        if (i < 0) continue;
        board.release(pool, worker);
        inside.splice(i, 1);
      }
      strictEqual(board.clients, inside.length);
      for (const p of [0, 1]) {
        strictEqual(board.pools[p]!.clients[0], inside.filter((client) => client.pool === p).length);
      }
    }
  }));
});

Deno.test("Board.bury() takes a worker's gauges out and leaves what it has counted", () => {
  const board = Board.make(2, [1]);
  const pool = board.pools[0]!;
  for (const worker of [0, 1]) {
    pool.row(worker).fill(10 + worker);
    pool.serverRow(worker, 0).fill(100 + worker);
    board.connectionsTotal[worker] = board.connectionsCurrent[worker] = 5;
    pool.countAccepted(worker);
    ok(board.admit(0, worker, 9, 9));
  }
  board.bury(1);
  strictEqual(pool.total(CLIENT_EOF), 21);
  strictEqual(pool.total(CLIENT_CONNECTIONS), 10);
  strictEqual(pool.serverTotal(0, REQUESTS), 201);
  strictEqual(pool.serverTotal(0, SERVER_CONNECTIONS), 100);
  strictEqual(pool.serverTotal(0, IN_QUEUE), 100);
  strictEqual(pool.serverTotal(0, SERVER_EJECTED_AT), 101);
  deepStrictEqual([...board.connectionsTotal], [5, 5]);
  deepStrictEqual([...board.connectionsCurrent], [5, 0]);
  strictEqual(board.clients, 1);
  strictEqual(pool.acceptedTotal, 2);
  strictEqual(pool.countAccepted(1), 2, "its replacement goes on counting");
  board.bury(1);
  strictEqual(board.clients, 1, "buried once");
});

Deno.test("PoolBoard.eject() has one winner, who probes; probes can be inherited", () => {
  const pool = Board.make(3, [3]).pools[0]!;
  deepStrictEqual([pool.prober(0), pool.prober(1), pool.prober(2)], [-1, -1, -1]);
  ok(pool.eject(1, 2));
  ok(!pool.eject(1, 0));
  ok(!pool.eject(1, 2));
  ok(pool.eject(2, 0));
  deepStrictEqual([pool.prober(0), pool.prober(1), pool.prober(2)], [-1, 2, 0]);
  ok(pool.inherit(2, 1));
  ok(!pool.inherit(2, 1));
  deepStrictEqual([pool.prober(0), pool.prober(1), pool.prober(2)], [-1, 1, 0]);
  pool.restore(1);
  strictEqual(pool.prober(1), -1);
  ok(pool.eject(1, 0));
});
