/**
 * `deno task reload:turns`: how long each step of a reload keeps a thread, with many servers and clients (Bun).
 *
 *   node_modules/.bin/bun run tests/bench/reload_turns.ts 100 ketama
 *
 * Wall time, in ms, of 30 reloads that each replace one server: the first (cold), the least, the median, the longest. Where the
 * machine is busy only the least is a property of ours. Others have their turns between these; of what is done in several turns
 * (service/proxy_options.ts) it is the longest of them.
 */
import "../../src/runtime/bun.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { makeBoard } from "../../src/service/ceilings.ts";
import { Turns } from "../../src/service/turns.ts";
import { changeLines, changeSteps } from "../../src/topology/change.ts";
import { request } from "../lib/bytes.ts";
import { TurnNet } from "../lib/turn_net.ts";
import { wideRedisServer } from "../lib/wide_servers.ts";
import { quietProxy } from "../lib/quiet_proxy.ts";

const ROUNDS = 30;
const TURN_MS = 1;
const CLIENTS = 50;
const SERVERS = Number(process.argv[2] ?? 100);
const DISTRIBUTION = process.argv[3] ?? "ketama";

const ymlOf = (from: number) =>
  `wide:\n  listen: 127.0.0.1:1\n  redis: true\n  distribution: ${DISTRIBUTION}\n  servers:\n` +
  Array.from({ length: SERVERS }, (_, i) => `    - 127.0.0.1:${1 + from + i}:1 server${from + i}\n`).join("");

const took = new Map<string, number[]>();
function step<T>(what: string, run: () => T): T {
  const startMs = performance.now();
  const result = run();
  const ms = performance.now() - startMs;
  took.set(what, [...took.get(what) ?? [], ms]);
  return result;
}

/** As `rarely` of service/turns.ts, without the turns of others. */
class LongestTurn extends Turns {
  override rarely<T>(steps: Generator<number, T>): Promise<T> {
    return Promise.resolve(longestTurn("new ring", steps));
  }
}

function longestTurn<T>(what: string, steps: Generator<number, T>): T {
  let most = 0;
  for (;;) {
    const startMs = performance.now();
    let done: IteratorResult<number, T>;
    do done = steps.next(); while (!done.done && performance.now() < startMs + TURN_MS);
    most = Math.max(most, performance.now() - startMs);
    if (!done.done) continue;
    took.set(what, [...took.get(what) ?? [], most]);
    return done.value;
  }
}

const net = new TurnNet(wideRedisServer, (work) => work());
let config = parseConfig(ymlOf(0), "wide.yml");
const board = makeBoard(config, 1);
const proxy = quietProxy(net, config, {
  turns: new LongestTurn(net.clock),
  seat: {
    worker: 0,
    board,
    serversChanged: () => {},
    tellOthers: () => {},
    ask: (_worker, _pool, _question, told) => told(null as never),
  },
});
await proxy.listen(null);
const clients = Array.from({ length: CLIENTS }, () => net.join(() => {}));
let serial = 0;
/** Every client uses servers all over the ring; their replies are still owed at the change. */
const ask = () => {
  for (const client of clients) for (let k = 0; k < 40; k++) client.give(request("GET", `key${serial++}`));
};
for (let round = 1; round <= ROUNDS; round++) {
  ask();
  net.run();
  const text = ymlOf(round);
  const next = step("parse", () => parseConfig(text, "wide.yml"));
  const steps = changeSteps(config, next);
  const change = longestTurn("plan", steps);
  step("its lines", () => changeLines(change));
  const memory = board.arrange(change.arrangement);
  const stamp = { epoch: round, cause: "SIGHUP", atMs: 0 };
  const prepared = await proxy.prepare(next, memory, stamp);
  ask();
  step("commit", () => proxy.commit(prepared));
  net.run();
  config = next;
}
console.log(`${SERVERS} servers, ${DISTRIBUTION}, ${CLIENTS} clients        first   least  median  longest`);
for (const [what, all] of took) {
  const sorted = [...all].sort((a, b) => a - b);
  const cell = (ms: number) => ms.toFixed(2).padStart(8);
  console.log(
    `${what.padEnd(38)}${cell(all[0]!)}${cell(sorted[0]!)}${cell(sorted[sorted.length >> 1]!)}${
      cell(sorted.at(-1)!)
    }`,
  );
}
process.exit(0);
