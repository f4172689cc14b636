/** /metrics as its readers find it: promtool, a strict reader of OpenMetrics, a real Prometheus with our dashboard and alerts; OTLP. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type Admin, adminYml, startAdmin } from "../lib/admin.ts";
import { dashboardQueries, namesIn, rules } from "../lib/dashboard.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Prometheus } from "../lib/prometheus.ts";
import { need, PYTHON } from "../lib/repo.ts";
import { poolYml, type Proxy } from "../lib/servers.ts";

const OPEN = "application/openmetrics-text; version=1.0.0";
const PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/** What a document of the text format says: values by series, as they are written. */
function seriesIn(text: string): Map<string, number> {
  return new Map(
    [...text.matchAll(/^([a-z_]+(?:\{.*\})?) (\S+)$/gm)].map(([, series, value]) => [
      series!,
      value === "+Inf" ? Infinity : Number(value),
    ]),
  );
}

/** Of all series of this name, with these labels among theirs. */
function sum(series: Map<string, number>, name: string, ...labels: string[]): number {
  let sum = 0;
  for (const [key, value] of series) {
    if (key.split("{")[0] === name && labels.every((label) => key.includes(label))) sum += value;
  }
  return sum;
}

/** Gives `text` to a program; its exit code and all that it says. */
async function give(program: string, args: string[], text: string): Promise<{ code: number; said: string }> {
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** Two pools, and a server that is not there: it is ejected, or `stays` and fails. */
async function start(f: Fixture, stays = false): Promise<{ proxy: Proxy; admin: Admin; yml: string }> {
  const primary = await f.redis({ port: 0 });
  const replica = await f.redis({ port: 0, args: ["--replicaof", "127.0.0.1", String(primary.port)] });
  const other = await f.redis();
  const yml = `alpha:
  listen: 127.0.0.1:${freePort()}
  redis: true
  read_from: prefer_replica
  servers:
    - { address: 127.0.0.1:${primary.port}, name: a, replicas: [ 127.0.0.1:${replica.port} ] }
    - ${other.address}:1 b
` + poolYml({
    'be"ta': {
      servers: [other, `127.0.0.1:${freePort()}:1 gone`],
      auto_eject_hosts: !stays,
      server_failure_limit: 1,
      server_retry_timeout: 60_000,
    },
  }).replace('be"ta', `'be"ta'`);
  return { ...await startAdmin(f, "compiled", yml, { process: ["workers: 2"] }), yml };
}

/** Some requests of each kind to both pools, over connections of their own; how many. */
async function ask(f: Fixture, proxy: Proxy): Promise<number> {
  let asked = 0;
  for (const target of proxy.targets) {
    for (let c = 0; c < 4; c++) {
      await using client = await f.client(target);
      const requests: string[][] = [];
      for (let i = 0; i < 25; i++) {
        requests.push(["SET", `key:${c}:${i}`, "x".repeat(i)], ["GET", `key:${c}:${i}`]);
      }
      requests.push(["MGET", "key:0:0", "key:0:1", "key:0:2"], ["PING"], [
        "EVAL",
        "return 1",
        "1",
        "key:0:0",
      ]);
      await client.pipeline(...requests);
      asked += requests.length;
    }
  }
  return asked;
}

Deno.test("/metrics: promtool and a strict reader of OpenMetrics have nothing to say, and every request is counted", async () => {
  await using f = new Fixture();
  const { proxy, admin } = await start(f);
  const asked = await ask(f, proxy);
  const text = await admin.get("/metrics");
  const open = await admin.get("/metrics", { Accept: OPEN });
  strictEqual(text.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  strictEqual(open.headers.get("content-type"), `${OPEN}; charset=utf-8`);
  deepStrictEqual(await give(need("promtool"), ["check", "metrics"], text.text), { code: 0, said: "" });
  // promtool reads nothing but the text format; this is the reference implementation's reader of the other one.
  const script =
    "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n" +
    "print(sum(len(family.samples) for family in read(sys.stdin.read())))";
  const { code, said } = await give(PYTHON, ["-c", script], open.text);
  strictEqual(code, 0, said);

  const series = seriesIn(text.text);
  strictEqual(Number(said), series.size);
  strictEqual(sum(series, "ringmaster_requests_total"), asked);
  strictEqual(sum(series, "ringmaster_workers"), 2);
  // Each request has waited; those that a server was asked for have been served.
  strictEqual(sum(series, "ringmaster_request_waited_seconds_count"), asked);
  strictEqual(sum(series, "ringmaster_request_waited_seconds_bucket", 'le="+Inf"'), asked);
  const served = sum(series, "ringmaster_request_served_seconds_count");
  ok(served > 0 && served < asked, `${served} of ${asked} served`);
  ok(sum(series, "ringmaster_request_served_seconds_sum") > 0);
  ok(sum(series, "ringmaster_server_served_seconds_count", 'server="b"') > 0);
  strictEqual(sum(series, "ringmaster_server_up", 'server="gone"'), 0);
  strictEqual(sum(series, "ringmaster_server_up", 'server="b"'), 1);
  ok(series.has('ringmaster_client_connections{pool="be\\"ta"}'));
});

Deno.test("native histograms: a real Prometheus that wants them has every request in them, and all else as it is", async () => {
  await using f = new Fixture();
  const { proxy, admin } = await start(f);
  const asked = await ask(f, proxy);
  const wanted = await admin.get("/metrics", { Accept: PROTOBUF });
  strictEqual(wanted.headers.get("content-type"), PROTOBUF.replaceAll(";", "; "));
  const text = await admin.get("/metrics");
  const series = seriesIn(text.text);
  const prometheus = await Prometheus.start(f, admin.port, ["native-histograms"]);
  const value = async (expression: string) => {
    const [one, ...more] = await prometheus.query(expression);
    strictEqual(more.length, 0);
    return one === undefined ? null : Number(one.value[1]);
  };
  await poll(async () => {
    const { health, lastError } = await prometheus.target();
    if (health === "down") throw new Error(lastError);
    return await value("sum(ringmaster_requests_total)") === asked;
  }, "Prometheus to read /metrics");
  strictEqual(await value("sum(histogram_count(ringmaster_request_waited_seconds))"), asked);
  const served = 'ringmaster_server_served_seconds{server="b"}';
  strictEqual(
    await value(`histogram_count(${served})`),
    sum(series, "ringmaster_server_served_seconds_count", 'server="b"'),
  );
  // The whole distribution is there: nothing is below its least, nor above its greatest.
  strictEqual(await value(`histogram_fraction(0, 300, ${served})`), 1);
  const [p50, p99] = [
    await value(`histogram_quantile(0.5, ${served})`),
    await value(`histogram_quantile(0.99, ${served})`),
  ];
  ok(p50! > 0 && p50! <= p99! && p99! < 10, `${p50} and ${p99} s`);
  strictEqual(await value('ringmaster_server_up{server="gone"}'), 0);
  ok(!/ingest|duplicate|out-of-order|out of order|error/i.test(prometheus.log), prometheus.log);
});

Deno.test("conf/grafana.json, conf/alerts.yml: a real Prometheus finds something for every query, and alerts come", async () => {
  await using f = new Fixture();
  const { proxy, admin, yml } = await start(f, true);
  const prometheus = await Prometheus.start(f, admin.port);
  let stop = false;
  const load = (async () => {
    // Some hundred requests a second will do.
    for (; !stop; await delay(100)) await ask(f, proxy);
  })();
  try {
    const up = async () => {
      const { health, lastError } = await prometheus.target();
      if (health === "down") throw new Error(lastError);
      return health === "up";
    };
    await poll(up, "Prometheus to read /metrics");
    // Another configuration, for what shows changes.
    await Deno.writeTextFile(
      proxy.file,
      adminYml(admin.port, ["workers: 2"]) + yml.replace("60000", "50000"),
    );
    proxy.kill("SIGHUP");
    const expressions = [
      ...dashboardQueries().map((text) =>
        text.replaceAll("$job", "ringmaster").replaceAll(/\$(instance|pool)\b/g, ".*")
          .replaceAll("$__rate_interval", "1m")
      ),
      // Of an alert, what it looks at: that there is nothing wrong with it, is as it should be.
      ...rules().flatMap(({ record, expr }) =>
        record === undefined ? namesIn(expr).map(({ selector }) => selector) : [expr]
      ),
      // No pool here has certificates: tests/real/tls_test.ts looks at those.
    ].filter((expression) => !expression.startsWith("ringmaster_tls_"));
    // First of all what looks back on the last minute: the change that it shows is not made again.
    expressions.sort((a, b) => Number(b.startsWith("changes(")) - Number(a.startsWith("changes(")));
    for (const expression of new Set(expressions)) {
      await poll(async () => (await prometheus.query(expression)).length > 0, `a result of ${expression}`);
    }
    await poll(async () => {
      const held = (await prometheus.rules()).filter(({ state }) =>
        state === "pending" || state === "firing"
      );
      const names = held.map(({ name }) => name);
      return names.includes("RingmasterServerDown") && names.includes("RingmasterErrorsFast");
    }, "the alerts for the server that is not there");
    for (const { name, health, lastError } of await prometheus.rules()) {
      strictEqual(health, "ok", `${name}: ${lastError}`);
    }
    const down = await prometheus.query("ringmaster_server_up == 0");
    deepStrictEqual(down.map(({ metric }) => [metric.pool, metric.server]), [['be"ta', "gone"]]);
    // Prometheus has asked for OpenMetrics: else this would be a gauge of the text format.
    const [build] = await prometheus.query("ringmaster_build_info");
    match(build!.metric.version!, /^\d+\./);
    ok(!/ingest|duplicate|out-of-order|out of order/i.test(prometheus.log), prometheus.log);
  } finally {
    stop = true;
    await load;
  }
});

/** One that fails is tried less and less often: on a slow machine that may be some seconds. */
const LONG_MS = 90_000;

/** A collector: what it has been sent, by path; it refuses while `refuses`. */
class Collector implements AsyncDisposable {
  readonly port = freePort();
  readonly bodies = new Map<string, any[]>();
  readonly headers: Headers[] = [];
  refuses = false;
  private readonly server = Deno.serve(
    { hostname: "127.0.0.1", port: this.port, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const body = await request.json();
      if (this.refuses) return new Response("try again", { status: 503 });
      this.headers.push(request.headers);
      this.bodies.set(pathname, [...this.bodies.get(pathname) ?? [], body]);
      return Response.json({});
    },
  );

  /** The value of a sum over all its points, as it was told last; undefined: it was not. */
  sum(name: string): number | undefined {
    const scopes = this.bodies.get("/v1/metrics")?.at(-1)?.resourceMetrics[0].scopeMetrics[0].metrics;
    const points = scopes?.find((metric: any) => metric.name === name)?.sum?.dataPoints;
    return points?.reduce((sum: number, point: any) => sum + Number(point.asInt), 0);
  }

  get spans(): any[] {
    const bodies = this.bodies.get("/v1/traces") ?? [];
    return bodies.flatMap((body) => body.resourceSpans[0].scopeSpans[0].spans);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
  }
}

Deno.test("otlp: a collector is told what /metrics tells, and nothing is lost while it refuses", async () => {
  await using f = new Fixture();
  const collector = f.add(new Collector());
  const yml = poolYml({ alpha: { servers: [await f.redis()] } });
  const { proxy } = await startAdmin(f, "compiled", yml, {
    process: [
      "workers: 2",
      `otlp: http://127.0.0.1:${collector.port}`,
      "otlp_headers: x-scope=a%20b",
      "otlp_interval: 1000",
      "otlp_spans: 1000",
    ],
  });
  let asked = await ask(f, proxy);
  await poll(() => collector.sum("ringmaster_requests") === asked, "all requests to be told");
  // Those that were asked before workers knew that somebody listens are not drawn.
  await poll(async () => {
    asked += await ask(f, proxy);
    return collector.spans.length > 0;
  }, "a span");
  for (const span of collector.spans) {
    ok(["get", "set", "mget", "ping", "eval"].includes(span.name), span.name);
    match(span.traceId + span.spanId, /^[0-9a-f]{48}$/);
    ok(BigInt(span.startTimeUnixNano) <= BigInt(span.endTimeUnixNano));
    ok(!JSON.stringify(span).includes("key:"));
  }
  strictEqual(collector.headers[0]!.get("x-scope"), "a b");
  strictEqual(collector.headers[0]!.get("content-type"), "application/json");
  collector.refuses = true;
  await poll(
    () => /does not take metrics: 503 try again/.test(proxy.log),
    "it to say that it is refused",
    LONG_MS,
  );
  const more = await ask(f, proxy);
  collector.refuses = false;
  await poll(
    () => collector.sum("ringmaster_requests") === asked + more,
    "what was not told meanwhile",
    LONG_MS,
  );
  await poll(() => /takes metrics again/.test(proxy.log), "it to say that it is heard again", LONG_MS);
});
