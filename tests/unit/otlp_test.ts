/** Metrics by OTLP: the body of a request, byte by byte where it matters, and when requests are sent. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Otlp, type Outcome } from "../../src/admin/otlp.ts";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { atOnce } from "../../src/ring/steps.ts";
import { readings } from "../../src/stats/families.ts";
import { metricsBody, type SampledRequest, spansBody } from "../../src/stats/otlp.ts";
import { VERSION } from "../../src/stats/version.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { snapshotOf } from "../lib/snapshot.ts";
import { TURNS } from "../lib/turns.ts";

const RESOURCE = { runtime: "bun", runtimeVersion: "1.4.5", hostName: "box1", processId: 42 };

// deno-lint-ignore no-explicit-any
function metricsOf(snapshot = snapshotOf(1, 2)): { resource: any; metrics: any[] } {
  const { resourceMetrics: [one] } = JSON.parse(
    atOnce(metricsBody(snapshot, readings(snapshot), RESOURCE)),
  );
  return { resource: one.resource, metrics: one.scopeMetrics[0].metrics };
}

Deno.test("metricsBody(): who sends", () => {
  const { resource } = metricsOf();
  deepStrictEqual(resource.attributes.slice(0, 3), [
    { key: "service.name", value: { stringValue: "ringmaster" } },
    { key: "service.version", value: { stringValue: VERSION } },
    { key: "service.instance.id", value: { stringValue: "box1:42" } },
  ]);
});

Deno.test("metricsBody(): a counter, a gauge, and what only informs", () => {
  const { metrics } = metricsOf();
  const named = (name: string) => metrics.find((metric) => metric.name === name);
  deepStrictEqual(named("process_cpu_seconds"), {
    name: "process_cpu_seconds",
    description: "CPU time of the process, of user and system",
    unit: "s",
    sum: {
      aggregationTemporality: 2,
      isMonotonic: true,
      dataPoints: [{
        attributes: [],
        startTimeUnixNano: "1700000000000000000",
        timeUnixNano: "1700000010000000000",
        asDouble: 1.25,
      }],
    },
  });
  deepStrictEqual(named("process_resident_memory_bytes").gauge.dataPoints, [
    { attributes: [], timeUnixNano: "1700000010000000000", asInt: "64000000" },
  ]);
  strictEqual(named("process_resident_memory_bytes").unit, "By");
  strictEqual(named("ringmaster_build_info").gauge.dataPoints[0].asInt, "1");
  deepStrictEqual(named("ringmaster_requests").sum.dataPoints[0].attributes, [
    { key: "pool", value: { stringValue: "pool0" } },
  ]);
});

Deno.test("metricsBody(): a histogram's buckets are counted each by itself, one more than there are bounds", () => {
  const snapshot = snapshotOf(1, 0);
  const [pool] = snapshot.pools;
  const below = pool!.latency[0]!.waited.below.map((_, i) => 2 * i);
  const waited = { below, count: 50, sumUs: 1_500_000 };
  const { metrics } = metricsOf({
    ...snapshot,
    pools: [{ ...pool!, latency: [{ class: "read", waited, served: waited }] }],
  });
  const [point] =
    metrics.find(({ name }) => name === "ringmaster_request_waited_seconds").histogram.dataPoints;
  strictEqual(point.bucketCounts.length, point.explicitBounds.length + 1);
  deepStrictEqual(point.bucketCounts.slice(0, 3), ["0", "2", "2"]);
  strictEqual(point.bucketCounts.at(-1), "14");
  strictEqual(point.bucketCounts.reduce((sum: number, text: string) => sum + Number(text), 0), 50);
  deepStrictEqual([point.count, point.sum, point.explicitBounds[0]], ["50", 1.5, 0.000016]);
});

Deno.test("metricsBody(): what JSON has no number for is left out, and so is what has no points", () => {
  const { metrics } = metricsOf({ ...snapshotOf(0, 0), memoryMaxBytes: Infinity, openFiles: -1 });
  const names = metrics.map(({ name }) => name);
  for (const name of ["ringmaster_memory_max_bytes", "process_open_fds", "ringmaster_requests"]) {
    ok(!names.includes(name), name);
  }
  ok(names.includes("ringmaster_workers"));
});

Deno.test("spansBody(): from when a request came until its answer, and where that time went", () => {
  const request = {
    at: 1_700_000_000_000.5,
    pool: "alpha",
    server: "s1",
    command: "get",
    waited_us: 12,
    served_us: 300,
  };
  const ids = { traceId: "1".repeat(32), spanId: "2".repeat(16) };
  const answered = { ...request, ...ids, server: null, served_us: null };
  const { resourceSpans: [one] } = JSON.parse(spansBody([{ ...request, ...ids }, answered], RESOURCE));
  strictEqual(one.resource.attributes[0].value.stringValue, "ringmaster");
  const [first, second] = one.scopeSpans[0].spans;
  deepStrictEqual(first, {
    ...ids,
    name: "get",
    kind: 3,
    startTimeUnixNano: "1700000000000188000",
    endTimeUnixNano: "1700000000000500000",
    attributes: [
      { key: "db.operation.name", value: { stringValue: "get" } },
      { key: "ringmaster.pool", value: { stringValue: "alpha" } },
      { key: "ringmaster.server", value: { stringValue: "s1" } },
      { key: "ringmaster.waited_us", value: { intValue: "12" } },
      { key: "ringmaster.served_us", value: { intValue: "300" } },
    ],
  });
  strictEqual(second.startTimeUnixNano, "1700000000000488000");
  // deno-lint-ignore no-explicit-any
  deepStrictEqual(second.attributes.map((each: any) => each.key), [
    "db.operation.name",
    "ringmaster.pool",
    "ringmaster.waited_us",
  ]);
});

// ---- when

function configOf(lines: string): Config {
  return parseConfig(
    `ringmaster:\n  watch: false\n${lines}a:\n  listen: 127.0.0.1:1\n  servers: [127.0.0.1:2:1]\n`,
    "t.yml",
  );
}

const TOLD = "  otlp: http://c:4318/x/\n  otlp_interval: 10000\n";

class Stand {
  readonly clock = new ManualClock();
  readonly sent: { url: string; headers: Readonly<Record<string, string>>; body: string }[] = [];
  readonly logged: string[] = [];
  /** What is listened for, a second. */
  listening = 0;
  crowded = false;
  told: (samples: readonly SampledRequest[]) => void = () => {};
  /** What the collector answers; null: nothing, for ever. */
  outcome: Outcome | null = { status: 200, text: "{}" };
  readonly otlp = new Otlp({
    clock: this.clock,
    log: { level: 11, write: (_, text) => void this.logged.push(text) },
    turns: TURNS,
    random: () => 0.5,
    resource: RESOURCE,
    snapshot: () => Promise.resolve(snapshotOf(1, 1)),
    listen: (perSecond, told) => {
      if (this.crowded) return null;
      this.listening = perSecond;
      this.told = told;
      return () => this.listening = 0;
    },
    send: (_clock, url, headers, body) => {
      this.sent.push({ url, headers, body });
      return this.outcome === null ? new Promise(() => {}) : Promise.resolve(this.outcome);
    },
  });
}

Deno.test("Otlp: nothing is sent unless the configuration says where to; what is sent has the headers it wants", async () => {
  const { clock, otlp, sent } = new Stand();
  otlp.adopt(configOf(""));
  await clock.pass(100_000);
  strictEqual(sent.length, 0);
  strictEqual(clock.pending, 0);
  otlp.adopt(configOf(`${TOLD}  otlp_headers: 'X-Key=a%20b'\n`));
  await clock.pass(4999);
  strictEqual(sent.length, 0);
  await clock.pass(2);
  strictEqual(sent[0]!.url, "http://c:4318/x/v1/metrics");
  deepStrictEqual(sent[0]!.headers, { "x-key": "a b", "content-type": "application/json" });
  ok(JSON.parse(sent[0]!.body).resourceMetrics);
  await clock.pass(30_000);
  strictEqual(sent.length, 4);
  otlp.stop();
  await clock.pass(100_000);
  strictEqual(sent.length, 4);
  strictEqual(clock.pending, 0);
});

Deno.test("Otlp: a collector that fails is tried less and less often, and the log says so once", async () => {
  const stand = new Stand();
  const { clock, otlp, sent, logged } = stand;
  otlp.adopt(configOf(TOLD));
  stand.outcome = { status: 503, text: "out of\r\nspace" };
  await clock.pass(5001);
  stand.outcome = { error: "connect ECONNREFUSED" };
  await clock.pass(3_600_000);
  // 20, 40, 80, 160, 300, 300, … s apart.
  ok(sent.length >= 14 && sent.length <= 18, `${sent.length} requests in an hour`);
  deepStrictEqual(logged, ["otlp: http://c:4318/x/v1/metrics does not take metrics: 503 out of space"]);
  stand.outcome = { status: 200, text: "" };
  await clock.pass(300_000);
  match(logged[1]!, /takes metrics again/);
  const before = sent.length;
  await clock.pass(100_000);
  strictEqual(sent.length, before + 10);
  otlp.stop();
});

Deno.test("Otlp: one request at a time, and another configuration counts at once", async () => {
  const stand = new Stand();
  const { clock, otlp, sent } = stand;
  stand.outcome = null;
  otlp.adopt(configOf(TOLD));
  await clock.pass(100_000);
  strictEqual(sent.length, 1);
  stand.outcome = { status: 200, text: "" };
  otlp.adopt(configOf(TOLD));
  await clock.pass(100_000);
  strictEqual(sent.length, 1);
  otlp.adopt(configOf("  otlp: http://d\n  otlp_interval: 10000\n"));
  await clock.pass(5001);
  strictEqual(sent.at(-1)!.url, "http://d/v1/metrics");
  otlp.adopt(configOf(""));
  await clock.pass(100_000);
  strictEqual(sent.length, 2);
  strictEqual(clock.pending, 0);
});

/** So many requests, the first one's command is `g${from}`. */
function samples(count: number, from = 0): SampledRequest[] {
  return Array.from({ length: count }, (_, i) => ({
    at: 1,
    pool: "a",
    server: "s",
    command: `g${from + i}`,
    waited_us: 1,
    served_us: 2,
  }));
}

/** The names of the spans of a request, and whether its ids are what they have to be. */
function namesOf(body: string): string[] {
  const { spans } = JSON.parse(body).resourceSpans[0].scopeSpans[0];
  // deno-lint-ignore no-explicit-any
  return spans.map(({ name, traceId, spanId }: any) => {
    match(`${traceId} ${spanId}`, /^[0-9a-f]{32} [0-9a-f]{16}$/);
    return name;
  });
}

Deno.test("Otlp: spans are sent once, in requests of a bounded size, and beyond a bounded queue dropped", async () => {
  const stand = new Stand();
  const { clock, otlp, sent } = stand;
  otlp.adopt(configOf(TOLD));
  strictEqual(stand.listening, 0);
  otlp.adopt(configOf(`${TOLD}  otlp_spans: 50\n`));
  strictEqual(stand.listening, 50);
  const traces = () =>
    sent.filter(({ url }) => url === "http://c:4318/x/v1/traces").map(({ body }) => namesOf(body));
  await clock.pass(4000);
  strictEqual(traces().length, 0);
  stand.told(samples(3));
  await clock.pass(1000);
  deepStrictEqual(traces(), [["g0", "g1", "g2"]]);
  // What may be taken another time is sent again, with what has come meanwhile.
  stand.outcome = { status: 503, text: "" };
  stand.told(samples(5000, 3));
  await clock.pass(10_000);
  stand.outcome = { status: 200, text: "" };
  await clock.pass(60_000);
  const taken = new Set(traces().flat());
  strictEqual(taken.size, 3 + 4096);
  ok(taken.has("g4098") && !taken.has("g4099"));
  ok(traces().every((names) => names.length <= 512));
  strictEqual(traces().at(-1)!.at(-1), "g4098");
  // What never will be taken is not sent again.
  stand.outcome = { status: 400, text: "" };
  stand.told(samples(1, 9000));
  await clock.pass(10_000);
  strictEqual(traces().filter((names) => names.includes("g9000")).length, 1);
  otlp.stop();
  strictEqual(stand.listening, 0);
  strictEqual(clock.pending, 0);
});

Deno.test("Otlp: where too many listen already there are no spans, and metrics all the same", async () => {
  const stand = new Stand();
  stand.crowded = true;
  stand.otlp.adopt(configOf(`${TOLD}  otlp_spans: 50\n`));
  match(stand.logged[0]!, /no spans, since too many listen/);
  await stand.clock.pass(6000);
  strictEqual(stand.sent.length, 1);
  stand.otlp.stop();
  strictEqual(stand.clock.pending, 0);
});
