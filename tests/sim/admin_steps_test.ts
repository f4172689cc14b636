/**
 * No turn does much, whatever the admin side is asked: every route that only reads, of a process with 200 servers in one pool and 3,000
 * clients, and the blocks of code that ran in each turn. Counted, not timed (tests/lib/work_counter.ts).
 */
import { ok, strictEqual } from "node:assert/strict";
import { setImmediate } from "node:timers";
import { WorkCounter } from "../lib/work_counter.ts";

/** Before anything of src/ is loaded: functions that have run once are not counted. */
const counter = await WorkCounter.start();
const { ROUTES } = await import("../../src/admin/routes.ts");
const { Live } = await import("../../src/admin/live.ts");
const { Kept } = await import("../../src/admin/kept.ts");
const { metricsBody } = await import("../../src/stats/otlp.ts");
const { readings } = await import("../../src/stats/families.ts");
const { takeSnapshot } = await import("../../src/admin/metrics.ts");
const { jsonSchema } = await import("../../src/cli/schema.ts");
const { parseConfig } = await import("../../src/config/parse.ts");
const { quietProxy } = await import("../lib/quiet_proxy.ts");
const { Turns } = await import("../../src/service/turns.ts");
const { SERVED } = await import("../../src/stats/latency.ts");
const { EVENTS_MAX, Events } = await import("../../src/topology/events.ts");
const { EJECTED } = await import("../../src/stats/board.ts");
const { TurnNet } = await import("../lib/turn_net.ts");
const { wideRedisServer } = await import("../lib/wide_servers.ts");
type Around = import("../../src/admin/around.ts").Around;

const SERVERS = 200;
const POOLS = 12;
const CLIENTS = 3000;
/** Blocks of code in one turn: about half a millisecond once the code is warm; all of /api/pools at once takes 2,000,000. */
const BLOCKS_MAX = 250_000;
/** Turns that are counted together, as long as they are not too much together. */
const TOGETHER = 12;

/** What each route is asked, beyond its pools and counts. */
const QUERIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "/api/route": { pool: "pool0", key: "some key" },
  "/api/live": { pool: "pool0", panels: "yes" },
  "/api/keys/hot": { count: "100" },
  "/api/keys/big": { count: "100" },
  "/api/clients": { count: "1000" },
  "/api/slowlog": { count: "1000" },
};

/** One timer a turn. */
class TurnClock {
  readonly due: (() => void)[] = [];
  nowMs = () => 1;
  wallMs = () => 1;
  setTimer(_ms: number, run: () => void): () => void {
    this.due.push(run);
    return run;
  }
  clearTimer(timer: () => void): void {
    const at = this.due.indexOf(timer);
    if (at >= 0) this.due.splice(at, 1);
  }
  afterTurn(run: () => void): void {
    this.due.push(run);
  }
}

async function makeAround(clock: TurnClock): Promise<Around> {
  const servers = (count: number) =>
    Array.from({ length: count }, (_, i) => `    - 127.0.0.1:${i + 1}:1 server${i}\n`).join("");
  const yml = Array.from(
    { length: POOLS },
    (_, p) =>
      `pool${p}:\n  listen: 127.0.0.1:${p + 1}\n  redis: true\n  servers:\n${
        servers(p === 0 ? SERVERS : 10)
      }`,
  );
  const net = new TurnNet(wideRedisServer, (work) => work());
  const log = { level: 0, write: () => {} };
  const turns = new Turns(clock as unknown as Around["clock"]);
  const proxy = quietProxy(net, parseConfig(yml.join(""), "wide.yml"), { turns });
  await proxy.listen(null);
  for (let i = 0; i < CLIENTS; i++) net.join(() => {});
  net.run();
  fill(proxy);
  const events = new Events(clock as unknown as Around["clock"], log);
  for (let i = 0; i < EVENTS_MAX; i++) {
    events.record("down", "pool0", `server${i % SERVERS}`, "it does not answer");
  }
  const live = new Live({
    clock: clock as unknown as Around["clock"],
    turns,
    events,
    stats: () => proxy.stats(),
    served: (name) => proxy.board.pools.find(({ id }) => `pool${id}` === name)?.latency.total(SERVED) ?? null,
  });
  return {
    clock,
    log,
    turns,
    service: proxy,
    director: { events, states: () => new Map(), replicas: () => [] },
    config: proxy.config,
    stamp: { epoch: 0, cause: "start", atMs: 1 },
    machine: {
      facts: { runtime: "deno", runtimeVersion: "2", startedAtMs: 1, filesMax: 1024 },
      read: () => ({ cpuSeconds: 1, residentBytes: 1, openFiles: 1, memoryMaxBytes: 1 }),
    },
    phase: "serving",
    certificates: () => [],
    live,
    kept: new Kept(),
    control: { schema: jsonSchema },
    tapping: { listen: () => () => {} },
  } as unknown as Around;
}

/** As after some load. */
function fill(proxy: ReturnType<typeof quietProxy>): void {
  for (const [p, { latency, servers, slowLog }] of proxy.board.pools.entries()) {
    for (const one of [latency, ...servers.map((server) => server.latency)]) {
      const block = one.block(0);
      for (let i = 0; i < 200; i++) block.count(i % 7, i & 1, 0.05 * i * (1 + i % 7), 3);
    }
    for (let i = 0; i < 256; i++) {
      const words = ["set", ...Array.from({ length: 20 }, () => "x".repeat(100))];
      slowLog.add({
        atMs: i,
        server: "server1",
        client: "127.0.0.1:1",
        clientName: "",
        words,
        waitedUs: 1,
        servedUs: i,
      });
    }
    const { seen } = proxy.pools[p]!;
    for (let i = 0; i < 600; i++) {
      const key = new TextEncoder().encode(`key:${i}`.padEnd(120, "x"));
      seen.asked(key, 0, key.length, 10, 1);
      seen.passed(key, 0, key.length, 20_000 + i, "reply", "get", 1);
    }
  }
}

/** The most blocks of one turn until `work` has ended. */
async function mostWork(
  clock: TurnClock,
  work: () => unknown,
  together: number,
): Promise<{ blocks: number; most: string; turns: number }> {
  let worst = { blocks: 0, most: "" };
  let ended = false;
  let turns = 1;
  const look = async () => {
    const seen = await counter.take();
    if (seen.blocks > worst.blocks) worst = seen;
  };
  await counter.take();
  const whole = Promise.resolve(work()).finally(() => ended = true);
  await settled();
  for (let k = 1; clock.due.length > 0; k++, turns++) {
    if (k % together === 0) await look();
    clock.due.shift()!();
    await settled();
  }
  await look();
  ok(ended, "it waits for something that does not come");
  await whole;
  return { ...worst, turns };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

Deno.test("no question to the admin side takes much of a turn", async () => {
  const clock = new TurnClock();
  const around = await makeAround(clock);
  const found: string[] = [];
  const check = async (name: string, work: () => unknown) => {
    let seen = { blocks: 0, most: "", turns: 0 };
    for (const together of [TOGETHER, 1]) {
      seen = await mostWork(clock, work, together);
      if (seen.blocks <= BLOCKS_MAX) return seen.turns;
    }
    found.push(`${name}: ${seen.blocks} blocks in one of ${seen.turns} turns: ${seen.most}`);
    return seen.turns;
  };
  const turns = new Map<string, number>();
  const ask = async (how: string, only: string | null = null) => {
    for (const { method, path, parameters = [], answer } of ROUTES) {
      if (method !== "GET" || only !== null && path !== only) continue;
      const names = parameters.map(({ name }) => [name, ""]);
      const query = { ...Object.fromEntries(names), ...QUERIES[path] };
      const asked = { names: {}, query, body: new Uint8Array(), accept: "" };
      turns.set(
        path,
        await check(`${path}${how}`, async () => {
          const said = await answer(around, asked);
          if ("stream" in said) return void said.stream({ write: () => {}, end() {}, owedBytes: 0 })();
          strictEqual(said.status, 200, path);
        }),
      );
    }
  };
  await ask("");
  await check("OTLP", async () => {
    const snapshot = await takeSnapshot(around);
    const resource = { runtime: "deno", runtimeVersion: "2", hostName: "h", processId: 1 };
    await around.turns.all(metricsBody(snapshot, readings(snapshot), resource));
  });
  // Another ring for each of those that a key passes over.
  for (const cells of around.service.board.pools[0]!.servers.slice(0, SERVERS / 2)) cells.hold(EJECTED);
  for (const path of ["/api/pools", "/api/route"]) await ask(" with servers off the ring", path);
  ok(found.length === 0, found.join("\n"));
  for (const path of ["/api/pools", "/metrics", "/api/latency", "/api/clients", "/api/route"]) {
    ok(turns.get(path)! > 3, `${path} is answered in ${turns.get(path)} turns`);
  }
});
