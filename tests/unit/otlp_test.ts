/** Metrics by OTLP: the body of a request, byte by byte where it matters, and when requests are sent. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Otlp, type Outcome } from "../../src/admin/otlp.ts";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { readings } from "../../src/stats/families.ts";
import { metricsBody } from "../../src/stats/otlp.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { snapshotOf } from "../lib/snapshot.ts";

const RESOURCE = { hostName: "box1", processId: 42 };

// deno-lint-ignore no-explicit-any
function metricsOf(snapshot = snapshotOf(1, 2)): { resource: any; metrics: any[] } {
  const { resourceMetrics: [one] } = JSON.parse(metricsBody(snapshot, readings(snapshot), RESOURCE));
  return { resource: one.resource, metrics: one.scopeMetrics[0].metrics };
}

Deno.test("metricsBody(): who sends", () => {
  const { resource } = metricsOf();
  deepStrictEqual(resource.attributes.slice(0, 3), [
    { key: "service.name", value: { stringValue: "ringmaster" } },
    { key: "service.version", value: { stringValue: "1.2.3" } },
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
  /** What the collector answers; null: nothing, for ever. */
  outcome: Outcome | null = { status: 200, text: "{}" };
  readonly otlp = new Otlp({
    clock: this.clock,
    log: { level: 11, write: (_, text) => void this.logged.push(text) },
    random: () => 0.5,
    resource: RESOURCE,
    snapshot: () => Promise.resolve(snapshotOf(1, 1)),
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
