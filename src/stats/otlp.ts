/**
 * Readings and requests in the JSON form of OTLP 1.x, as a collector takes them at /v1/metrics and /v1/traces.
 *
 * Numbers of 64 bits are text there, enumerations are numbers, and what JSON has no number for (+Inf, NaN) is left out. Counters and
 * histograms are cumulative since the start of the process. A collector that writes for Prometheus makes the names of `/metrics` of
 * these: it adds the unit, where the name has not got it yet, and `_total`.
 */
import {
  BOUNDS_US,
  type Buckets,
  type Family,
  type LabelValues,
  type Reading,
  type Snapshot,
} from "./families.ts";

import { VERSION } from "./version.ts";

/** What sends: see https://opentelemetry.io/docs/specs/semconv/resource/. */
export interface Resource {
  readonly runtime: string;
  readonly runtimeVersion: string;
  readonly hostName: string;
  readonly processId: number;
}

/** A request that was drawn to be told of. */
export interface SampledRequest {
  /** When it was answered, ms since the epoch of Unix. */
  readonly at: number;
  readonly pool: string;
  /** null: none was asked, or several. */
  readonly server: string | null;
  /** Lower case. */
  readonly command: string;
  readonly waited_us: number;
  /** null: no server was asked. */
  readonly served_us: number | null;
}

export interface SpanRecord extends SampledRequest {
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
}

const UNITS: Readonly<Record<string, string>> = { bytes: "By", seconds: "s" };
const CUMULATIVE = 2;
const BOUNDS_SECONDS = BOUNDS_US.map((us) => us / 1e6);

/** Data points that are written at a time, and what one takes, µs, about. */
const PART_POINTS = 64;
const POINT_US = 4;

/** The body of a request to /v1/metrics, in steps (service/turns.ts). */
export function* metricsBody(
  snapshot: Snapshot,
  readings: Iterable<Reading>,
  resource: Resource,
): Generator<number, string> {
  const { startedAtMs, nowMs } = snapshot;
  const span = { startTimeUnixNano: nanos(startedAtMs), timeUnixNano: nanos(nowMs) };
  const metrics: string[] = [];
  for (const reading of readings) {
    const text = yield* metricText(reading, span);
    if (text !== null) metrics.push(text);
  }
  const [before, after] = JSON.stringify({
    resourceMetrics: [{
      resource: { attributes: resourceAttributes(resource) },
      scopeMetrics: [{ scope: SCOPE, metrics: [] }],
    }],
  }).split(/(?<="metrics":\[)(?=\])/);
  return `${before}${metrics.join(",")}${after}`;
}

const SCOPE = { name: "ringmaster", version: VERSION };
/** SPAN_KIND_CLIENT: it is what this proxy has asked of a server. */
const CLIENT = 3;

/** The body of a request to /v1/traces: a span a request, a trace of its own. Neither keys nor arguments are told. */
export function spansBody(requests: readonly SpanRecord[], resource: Resource): string {
  return JSON.stringify({
    resourceSpans: [{
      resource: { attributes: resourceAttributes(resource) },
      scopeSpans: [{ scope: SCOPE, spans: requests.map(spanOf) }],
    }],
  });
}

function spanOf({ at, pool, server, command, waited_us, served_us, traceId, spanId }: SpanRecord) {
  const endUs = Math.round(at * 1000);
  return {
    traceId,
    spanId,
    name: command,
    kind: CLIENT,
    startTimeUnixNano: `${endUs - waited_us - (served_us ?? 0)}000`,
    endTimeUnixNano: `${endUs}000`,
    attributes: [
      attribute("db.operation.name", command),
      attribute("ringmaster.pool", pool),
      ...server === null ? [] : [attribute("ringmaster.server", server)],
      whole("ringmaster.waited_us", waited_us),
      ...served_us === null ? [] : [whole("ringmaster.served_us", served_us)],
    ],
  };
}

function whole(key: string, value: number) {
  return { key, value: { intValue: String(value) } };
}

function resourceAttributes({ runtime, runtimeVersion, hostName, processId }: Resource) {
  return [
    attribute("service.name", "ringmaster"),
    attribute("service.version", VERSION),
    attribute("service.instance.id", `${hostName}:${processId}`),
    attribute("host.name", hostName),
    whole("process.pid", processId),
    attribute("process.runtime.name", runtime),
    attribute("process.runtime.version", runtimeVersion),
  ];
}

function attribute(key: string, text: string) {
  return { key, value: { stringValue: text.toWellFormed() } };
}

interface Span {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

/** What a family's points are, in OTLP's words. */
const DATA: Readonly<Record<Family["kind"], { readonly name: string; readonly facts: object }>> = {
  counter: { name: "sum", facts: { aggregationTemporality: CUMULATIVE, isMonotonic: true } },
  gauge: { name: "gauge", facts: {} },
  info: { name: "gauge", facts: {} },
  histogram: { name: "histogram", facts: { aggregationTemporality: CUMULATIVE } },
};

/** A metric; null if there is nothing to tell. */
function* metricText(
  { family, points, histograms }: Reading,
  span: Span,
): Generator<number, string | null> {
  const { name, kind, unit, help } = family;
  const dataPoints = kind === "histogram"
    ? yield* pointsText(histograms, ({ labels, buckets }) => histogramPoint(family, labels, buckets, span))
    : yield* pointsText(
      points.filter(({ value }) => Number.isFinite(value)),
      ({ labels, value }) => ({
        attributes: attributesOf(family, labels),
        ...kind === "counter" ? span : { timeUnixNano: span.timeUnixNano },
        ...Number.isSafeInteger(value) ? { asInt: String(value) } : { asDouble: value },
      }),
    );
  if (dataPoints === "") return null;
  const head = { name: kind === "info" ? `${name}_info` : name, description: help, unit: UNITS[unit] ?? "" };
  const data = DATA[kind];
  const facts = JSON.stringify(data.facts).slice(1, -1);
  return `${JSON.stringify(head).slice(0, -1)},"${data.name}":{${facts}${
    facts === "" ? "" : ","
  }"dataPoints":[${dataPoints}]}}`;
}

/** Elements of a JSON list. */
function* pointsText<T>(points: readonly T[], shape: (point: T) => object): Generator<number, string> {
  const texts: string[] = [];
  for (let at = 0; at < points.length; at += PART_POINTS) {
    const part = points.slice(at, at + PART_POINTS);
    texts.push(JSON.stringify(part.map(shape)).slice(1, -1));
    yield part.length * POINT_US;
  }
  return texts.join(",");
}

function histogramPoint(family: Family, labels: LabelValues, { below, count, sumUs }: Buckets, span: Span) {
  const bucketCounts = below.map((upTo, i) => String(upTo - (below[i - 1] ?? 0)));
  return {
    attributes: attributesOf(family, labels),
    ...span,
    count: String(count),
    sum: sumUs / 1e6,
    bucketCounts: [...bucketCounts, String(count - (below.at(-1) ?? 0))],
    explicitBounds: BOUNDS_SECONDS,
  };
}

function attributesOf({ labels }: Family, values: LabelValues) {
  return labels.map((label, i) => attribute(label, values[i]!));
}

/** ms since the epoch as ns. */
function nanos(ms: number): string {
  return `${Math.round(ms)}000000`;
}
