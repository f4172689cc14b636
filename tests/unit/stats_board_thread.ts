/** One of several threads that eject servers and bring them back (stats_board_test.ts). Two may be off at a time. */
import { Board } from "../../src/stats/board.ts";

const ROUNDS = 20_000;
const MAX = 2;

const scope = self as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data: { memory, worker, off } }) => {
  const pool = Board.of(memory).pools[0]!;
  let [done, worst] = [0, 0];
  for (let i = 0; i < ROUNDS; i++) {
    const server = pool.servers[(i * 7 + worker) % pool.servers.length]!;
    if (pool.eject(server, worker, MAX) !== "now") continue;
    done++;
    // Raised after and lowered before: never more than there are.
    worst = Math.max(worst, Atomics.add(off, 0, 1) + 1);
    Atomics.sub(off, 0, 1);
    pool.restore(server);
  }
  scope.postMessage({ done, worst });
};
