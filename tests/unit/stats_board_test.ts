/** The board that workers share: rows of their own, limits over all, what a dead worker leaves, and who probes what. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Board, DRAINED, EJECTED, FREE, type PoolBoard, type ServerCells } from "../../src/stats/board.ts";
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
import { runs } from "../lib/runs.ts";

Deno.test("Board rows do not overlap, and another thread's view of the memory has the same ones", () => {
  const board = Board.make(3, [2, 1]);
  const other = Board.of(board.memory);
  let value = 1;
  const rows = (of: Board) =>
    of.pools.flatMap((pool) =>
      [0, 1, 2].flatMap((worker) => [
        pool.row(worker),
        ...pool.servers.map((server) => server.row(worker)),
      ])
    );
  for (const row of rows(board)) for (let i = 0; i < row.length; i++) row[i] = value++;
  board.pools.forEach((pool, p) => pool.servers.forEach((server) => server.waitFactor = p + 0.5));
  for (const pool of board.pools) for (const worker of [0, 1, 2]) pool.countAccepted(worker);
  for (const worker of [0, 1, 2]) ok(board.admit(board.pools[0]!, worker, Infinity, Infinity));
  board.connectionsTotal.fill(7);
  board.connectionsCurrent.fill(8);
  board.logLevel = 11;

  let expected = 1;
  for (const row of rows(other)) for (const found of row) strictEqual(found, expected++);
  deepStrictEqual(other.pools.map((pool) => pool.servers.map((s) => s.waitFactor)), [[0.5, 0.5], [1.5]]);
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
  const admit = (pool: number, worker: number) => board.admit(board.pools[pool]!, worker, 3, 5);
  deepStrictEqual([admit(0, 0), admit(0, 1), admit(0, 0), admit(0, 1)], [true, true, true, false]);
  deepStrictEqual([admit(1, 0), admit(1, 1), admit(1, 1)], [true, true, false]);
  strictEqual(board.clients, 5);
  board.release(board.pools[0]!, 1);
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
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const board = Board.make(3, [1, 2]);
      let inside: { pool: number; worker: number }[] = [];
      for (const { enter, pool, worker, bury } of steps) {
        if (bury) {
          board.bury(worker);
          inside = inside.filter((client) => client.worker !== worker);
        } else if (enter) {
          const expected = inside.length < 6 && inside.filter((client) => client.pool === pool).length < 4;
          strictEqual(board.admit(board.pools[pool]!, worker, 4, 6), expected);
          if (expected) inside.push({ pool, worker });
        } else {
          const i = inside.findIndex((client) => client.pool === pool && client.worker === worker);
          if (i < 0) continue;
          board.release(board.pools[pool]!, worker);
          inside.splice(i, 1);
        }
        strictEqual(board.clients, inside.length);
        for (const p of [0, 1]) {
          strictEqual(board.pools[p]!.clients[0], inside.filter((client) => client.pool === p).length);
        }
      }
    }),
    { numRuns: runs(100) },
  );
});

Deno.test("Board.bury() takes a worker's gauges out and leaves what it has counted", () => {
  const board = Board.make(2, [1]);
  const pool = board.pools[0]!;
  for (const worker of [0, 1]) {
    pool.row(worker).fill(10 + worker);
    pool.servers[0]!.row(worker).fill(100 + worker);
    board.connectionsTotal[worker] = board.connectionsCurrent[worker] = 5;
    pool.countAccepted(worker);
    ok(board.admit(board.pools[0]!, worker, 9, 9));
  }
  board.bury(1);
  strictEqual(pool.total(CLIENT_EOF), 21);
  strictEqual(pool.total(CLIENT_CONNECTIONS), 10);
  strictEqual(pool.servers[0]!.total(REQUESTS), 201);
  strictEqual(pool.servers[0]!.total(SERVER_CONNECTIONS), 100);
  strictEqual(pool.servers[0]!.total(IN_QUEUE), 100);
  strictEqual(pool.servers[0]!.total(SERVER_EJECTED_AT), 101);
  deepStrictEqual([...board.connectionsTotal], [5, 5]);
  deepStrictEqual([...board.connectionsCurrent], [5, 0]);
  strictEqual(board.clients, 1);
  strictEqual(pool.acceptedTotal, 2);
  strictEqual(pool.countAccepted(1), 2, "its replacement goes on counting");
  board.bury(1);
  strictEqual(board.clients, 1, "buried once");
});

Deno.test("ServerCells.eject() has one winner, who probes; probes can be inherited", () => {
  const pool = Board.make(3, [3]).pools[0]!;
  const [a, b, c] = pool.servers as [ServerCells, ServerCells, ServerCells];
  const probers = () => [a.prober, b.prober, c.prober];
  deepStrictEqual(probers(), [-1, -1, -1]);
  ok(b.eject(2));
  ok(!b.eject(0));
  ok(!b.eject(2));
  ok(c.eject(0));
  deepStrictEqual(probers(), [-1, 2, 0]);
  ok(pool.inherit(2, 1));
  ok(!pool.inherit(2, 1));
  deepStrictEqual(probers(), [-1, 1, 0]);
  b.restore();
  strictEqual(b.prober, -1);
  ok(b.eject(0));
});

Deno.test("ServerCells.hold() takes a server off for all threads; nobody ejects or probes it meanwhile, and it counts as off", () => {
  const board = Board.make(2, [2]);
  const [pool] = board.pools as [PoolBoard];
  const [server, other] = pool.servers as [ServerCells, ServerCells];
  const elsewhere = Board.of(board.memory).pools[0]!.servers[0]!;
  ok(server.eject(1));
  server.hold(EJECTED);
  deepStrictEqual([elsewhere.held, elsewhere.isOff, elsewhere.prober], [EJECTED, true, -1]);
  strictEqual(server.claim(0), false);
  strictEqual(pool.eject(server, 0, 2), "not now");
  strictEqual(pool.eject(other, 0, 1), "full");
  server.hold(DRAINED);
  deepStrictEqual([elsewhere.held, elsewhere.isOff], [DRAINED, true]);
  server.hold(FREE);
  deepStrictEqual([elsewhere.held, elsewhere.isOff, elsewhere.claimed], [FREE, false, false]);
  strictEqual(pool.eject(other, 0, 1), "now");
});

Deno.test("PoolBoard.eject() ejects no more than so many servers, and counts what others are about to eject", () => {
  const pool = Board.make(3, [4]).pools[0]!;
  const [a, b, c, d] = pool.servers as [ServerCells, ServerCells, ServerCells, ServerCells];
  strictEqual(pool.eject(a, 0, 2), "now");
  strictEqual(pool.eject(a, 1, 2), "already");
  ok(b.claim(1));
  deepStrictEqual([a.prober, b.prober], [0, -1], "not ejected yet");
  strictEqual(pool.eject(b, 2, 2), "not now", "another is about to");
  strictEqual(pool.eject(c, 2, 2), "not now", "a and perhaps b");
  strictEqual(c.prober, -1);
  b.withdraw(1);
  strictEqual(pool.eject(c, 2, 2), "now");
  strictEqual(pool.eject(d, 0, 2), "full");
  deepStrictEqual([d.tell(), d.tell(), a.tell()], [true, false, true]);
  pool.restore(a);
  deepStrictEqual([d.tell(), a.tell()], [true, true], "said again");
  strictEqual(pool.eject(d, 0, 2), "now");
  strictEqual(pool.eject(a, 0, 2), "full");
  strictEqual(pool.eject(a, 0, 4), "now");

  // Who claims and dies leaves nothing behind.
  ok(b.claim(1));
  pool.inherit(1, 2);
  strictEqual(pool.eject(b, 0, 4), "now");
});

Deno.test("PoolBoard.eject() calls a pool full only when so many servers are off the ring, not while two claim the last place", () => {
  const pool = Board.make(2, [3]).pools[0]!;
  const [a, b, c] = pool.servers as [ServerCells, ServerCells, ServerCells];
  ok(a.claim(0));
  strictEqual(pool.eject(b, 1, 1), "not now", "a is not off it yet");
  a.withdraw(0);
  strictEqual(pool.eject(b, 1, 1), "now");
  strictEqual(pool.eject(a, 0, 1), "full");
  strictEqual(pool.eject(c, 1, 1), "full");
});

Deno.test("PoolBoard.eject() keeps its limit however many threads eject at once", async () => {
  const board = Board.make(THREADS, [5]);
  const threads = Array.from(
    { length: THREADS },
    () => new Worker(new URL("./stats_board_thread.ts", import.meta.url), { type: "module" }),
  );
  const off = new Int32Array(new SharedArrayBuffer(4));
  try {
    const counts = await Promise.all(
      threads.map((thread, worker) =>
        new Promise<{ done: number; worst: number }>((resolve, reject) => {
          thread.onmessage = ({ data }) => resolve(data);
          thread.onerror = reject;
          thread.postMessage({ memory: board.memory, worker, off });
        })
      ),
    );
    ok(Math.max(...counts.map((count) => count.worst)) <= 2);
    ok(counts.some((count) => count.done > 0));
    deepStrictEqual(board.pools[0]!.servers.map((server) => server.prober), [-1, -1, -1, -1, -1]);
  } finally {
    for (const thread of threads) thread.terminate();
  }
});

const THREADS = 3;

Deno.test("Board.adopt() keeps what stays, on every thread, and gives new servers numbers that none has had", () => {
  const board = Board.make(2, [2, 1]);
  const other = Board.of(board.memory);
  const [first, second] = other.pools as [PoolBoard, PoolBoard];
  const [a, b] = first.servers as [ServerCells, ServerCells];
  b.row(1)[REQUESTS] = 7;
  first.row(1)[CLIENT_EOF] = 8;
  ok(other.admit(second, 1, 9, 9));
  // The second pool goes, another comes first; of the first pool's servers one goes and two come.
  const memory = board.arrange([{ pool: -1, servers: [-1] }, { pool: 0, servers: [-1, 1, -1] }]);
  deepStrictEqual(board.pools.length, 2);
  for (const each of [board, other]) each.adopt(structuredClone(memory));
  strictEqual(other.pools[1], first);
  strictEqual(first.servers[1], b);
  deepStrictEqual(first.servers.map((server) => server.number), [2, 1, 3]);
  ok(!first.servers.includes(a));
  deepStrictEqual([board.pools[1]!.servers[1]!.total(REQUESTS), board.pools[1]!.total(CLIENT_EOF)], [7, 8]);
  deepStrictEqual(other.pools.map((pool) => pool.id), [2, 0]);
  // A server that comes back is another one; so is one in the place of it.
  board.adopt(board.arrange([{ pool: 1, servers: [1] }]));
  deepStrictEqual(board.pools[0]!.servers.map((server) => server.number), [1]);
  board.adopt(board.arrange([{ pool: 0, servers: [0, -1] }]));
  deepStrictEqual(board.pools[0]!.servers.map((server) => server.number), [1, 4]);
  // Clients of a pool that has gone are still known, and can be buried.
  deepStrictEqual([board.clients, board.clientsOf(1)], [1, 1]);
  board.bury(1);
  deepStrictEqual([board.clients, board.clientsOf(1)], [0, 0]);
});

Deno.test("Board.arrange(): what an operator has taken off the ring stays off when a reload renames it", () => {
  const board = Board.make(1, [3]);
  const [a, b] = board.pools[0]!.servers as [ServerCells, ServerCells];
  a.hold(EJECTED);
  b.hold(DRAINED);
  board.adopt(board.arrange([{ pool: 0, servers: [-1, -1, -1, 2], renamed: [1, 0, -1, -1] }]));
  deepStrictEqual(board.pools[0]!.servers.map(({ held }) => held), [DRAINED, EJECTED, FREE, FREE]);
});

Deno.test("Board.arrange(): a server that leaves and returns under its name counts on; nothing else of it is as it was", () => {
  const board = Board.make(1, [2]);
  const worker = Board.of(board.memory);
  const take = (servers: number[], before: string[], after: string[]) => {
    const memory = board.arrange([{ pool: 0, servers, names: { before, after } }]);
    for (const each of [board, worker]) each.adopt(structuredClone(memory));
    return worker.pools[0]!.servers;
  };
  const [, b] = worker.pools[0]!.servers as [ServerCells, ServerCells];
  b.row(0)[REQUESTS] = 7;
  b.hold(DRAINED);
  deepStrictEqual(take([0], ["a", "b"], ["a"]).map((server) => server.number), [0]);
  // What was in flight when it left is counted too; another server has a number of its own.
  b.row(0)[REQUESTS]!++;
  deepStrictEqual(take([0, -1], ["a"], ["a", "c"]).map((server) => server.number), [0, 2]);
  const back = take([0, 1, -1], ["a", "c"], ["a", "c", "b"])[2]!;
  // Its old number would be behind walks that are under way.
  deepStrictEqual([back.number, back.total(REQUESTS), back.held], [3, 8, FREE]);
});
