/** The seconds that the admin page shows: rates, quantiles, what is kept and what is told. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Live, POOLS_MAX, SECONDS, type Times } from "../../src/admin/live.ts";
import type { Log } from "../../src/net/log.ts";
import type { PoolStats, ProcessStats } from "../../src/stats/document.ts";
import {
  CLIENT_CONNECTIONS,
  FORWARD_ERROR,
  MEMORY_BYTES,
  OUT_QUEUE,
  POOL_METRICS,
  REQUESTS_TOTAL,
  SERVER_METRICS,
} from "../../src/stats/metrics.ts";
import { Events } from "../../src/topology/events.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { TURNS } from "../lib/turns.ts";

const SILENT = { write() {}, level: 0 } as unknown as Log;

/** A process whose numbers a test sets. */
class Stand {
  readonly clock = new ManualClock();
  readonly events = new Events(this.clock, SILENT);
  pools = new Map<string, { requests: number; errors: number }>([["alpha", { requests: 0, errors: 0 }]]);
  times: number[] | null = [];
  /** Statistics are not answered while this is not null. */
  held: Promise<void> | null = null;
  readonly live = new Live({
    clock: this.clock,
    turns: TURNS,
    events: this.events,
    stats: async () => {
      await this.held;
      return {
        pools: [...this.pools].map(([name, counted]) => poolStats(name, counted)),
      } as unknown as ProcessStats;
    },
    served: () => this.times === null ? null : new List([...this.times]),
  });

  /** What one who listens gets; closing it is what `close` does. */
  listen(pool = ""): { texts: string[]; close: () => void } {
    const texts: string[] = [];
    const close = this.live.stream(pool).stream({
      write: (text) => texts.push(typeof text === "string" ? text : new TextDecoder().decode(text)),
      end() {},
      owedBytes: 0,
    });
    return { texts, close };
  }
}

class List implements Times {
  constructor(private readonly us: readonly number[]) {}

  get count(): number {
    return this.us.length;
  }

  since(before: List): List {
    return new List(this.us.slice(before.count));
  }

  quantileUs(q: number): number {
    return [...this.us].sort((a, b) => a - b)[Math.ceil(q * this.us.length) - 1]!;
  }
}

function poolStats(name: string, { requests, errors }: { requests: number; errors: number }): PoolStats {
  const values = POOL_METRICS.map(() => 0);
  values[REQUESTS_TOTAL] = requests;
  values[FORWARD_ERROR] = errors;
  values[CLIENT_CONNECTIONS] = 7;
  values[MEMORY_BYTES] = 4096;
  const server = SERVER_METRICS.map(() => 0);
  server[OUT_QUEUE] = 3;
  return { name, values, servers: [{ name: "one", values: server }, { name: "two", values: server }] };
}

/** The JSON of a message. */
function dataOf(text: string): any {
  const match = /^(?:event: history\n)?data: (.*)\n\n$/.exec(text);
  ok(match !== null, text);
  return JSON.parse(match[1]!);
}

Deno.test("Live tells rates and quantiles of each second, and gauges as they are", async () => {
  const stand = new Stand();
  const { texts } = stand.listen();
  stand.live.start();
  await stand.clock.pass(0);
  stand.pools.set("alpha", { requests: 250, errors: 2 });
  stand.times!.push(100, 200, 300);
  await stand.clock.pass(1000);
  const [history, first, second] = texts.map(dataOf);
  deepStrictEqual(history, { at: [], pools: [], events: [] });
  strictEqual(first.pools[0].requests_per_s, null);
  deepStrictEqual(second, {
    at: 1000,
    pools: [{
      name: "alpha",
      requests_per_s: 250,
      errors_per_s: 2,
      p50_us: 200,
      p99_us: 300,
      in_flight: 6,
      clients: 7,
      memory_bytes: 4096,
    }],
    events: [],
  });
  stand.live.stop();
});

Deno.test("Live knows no quantile of a second without requests, nor where nobody counts", async () => {
  const stand = new Stand();
  stand.live.start();
  await stand.clock.pass(2000);
  deepStrictEqual(stand.live.history("alpha").pools[0]!.p99_us, [null, null, null]);
  stand.times = null;
  await stand.clock.pass(1000);
  strictEqual(stand.live.history("alpha").pools[0]!.p50_us.at(-1), null);
  stand.live.stop();
});

Deno.test("Live tells events once, in the second after them, and the last ones at the start", async () => {
  const stand = new Stand();
  stand.events.record("down", "alpha", "one", "before anybody listens");
  stand.live.start();
  await stand.clock.pass(0);
  const { texts } = stand.listen();
  stand.events.record("ejected", "alpha", "two", "refused");
  await stand.clock.pass(2000);
  const [history, next, after] = texts.map(dataOf);
  deepStrictEqual(history.events.map((event: any) => event.kind), ["down"]);
  deepStrictEqual(next.events, [
    { id: 2, at: 0, pool: "alpha", server: "two", kind: "ejected", cause: "refused", duration_ms: 0 },
  ]);
  deepStrictEqual(after.events, []);
  stand.live.stop();
});

Deno.test("Live keeps the last 900 seconds", async () => {
  const stand = new Stand();
  stand.live.start();
  await stand.clock.pass(1000 * (SECONDS + 10));
  const { at, pools } = stand.live.history("alpha");
  strictEqual(at.length, SECONDS);
  strictEqual(at.at(-1), 1000 * (SECONDS + 10));
  strictEqual(pools[0]!.clients.length, SECONDS);
  stand.live.stop();
});

Deno.test("Live keeps the seconds of 100 pools at most, and tells those of fewer at once", async () => {
  const stand = new Stand();
  for (let k = 0; k < POOLS_MAX + 5; k++) stand.pools.set(`pool-${k}`, { requests: 0, errors: 0 });
  stand.live.start();
  await stand.clock.pass(2000);
  deepStrictEqual(stand.live.history("pool-1").pools[0]!.clients, [7, 7, 7]);
  deepStrictEqual(stand.live.history(`pool-${POOLS_MAX + 1}`).pools, []);
  strictEqual(stand.live.history("").pools.length, 8);
  stand.live.stop();
});

Deno.test("Live forgets a pool that has left, and begins anew with one that counts from 0 again", async () => {
  const stand = new Stand();
  stand.pools.set("beta", { requests: 10, errors: 0 });
  stand.live.start();
  await stand.clock.pass(1000);
  stand.pools.delete("beta");
  stand.pools.set("alpha", { requests: 900, errors: 0 });
  await stand.clock.pass(1000);
  deepStrictEqual(stand.live.history("beta").pools, []);
  stand.pools.set("alpha", { requests: 5, errors: 0 });
  await stand.clock.pass(1000);
  deepStrictEqual(stand.live.history("alpha").pools[0]!.requests_per_s, [null, 0, 900, null]);
  stand.live.stop();
});

Deno.test("Live leaves out seconds in which the statistics do not answer", async () => {
  const stand = new Stand();
  stand.live.start();
  await stand.clock.pass(0);
  let release = () => {};
  stand.held = new Promise((resolve) => release = resolve);
  await stand.clock.pass(5000);
  stand.held = null;
  stand.pools.set("alpha", { requests: 500, errors: 0 });
  release();
  await stand.clock.pass(1000);
  const { at, pools } = stand.live.history("alpha");
  ok(at.length >= 2 && at.length <= 3, `${at}`);
  ok(pools[0]!.requests_per_s.every((rate) => rate === null || rate <= 500));
  stand.live.stop();
});

Deno.test("Live tells nobody who has gone, and nothing when it has stopped", async () => {
  const stand = new Stand();
  const { texts, close } = stand.listen();
  const other = stand.listen();
  stand.live.start();
  await stand.clock.pass(0);
  close();
  await stand.clock.pass(1000);
  strictEqual(texts.length, 2);
  strictEqual(other.texts.length, 3);
  stand.live.stop();
  await stand.clock.pass(3000);
  strictEqual(other.texts.length, 3);
  strictEqual(stand.clock.pending, 0);
});
