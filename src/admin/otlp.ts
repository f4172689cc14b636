/**
 * Metrics for a collector that does not scrape, and spans of some requests: sent by OTLP over HTTP, in JSON.
 *
 *   timer ──► snapshot ──► metricsBody ─┐
 *   samples ──► a bounded queue ──► spansBody ─┴─► POST URL/v1/…  ──► taken, or refused, or lost
 *
 * Metrics are sums since the start, so none is queued: what is lost comes with the next one. Spans wait in their queue, and beyond it
 * are dropped. While a collector fails it is tried less and less often. One request at a time of each, given up after ANSWER_MAX_MS, on
 * the main thread and by the runtime's own sockets: no request of a client waits for it. Written by hand: see
 * docs/decisions/45-otlp-by-hand.md.
 */
import { builtin } from "../bytes/builtin.ts";
import type { Config, ProcessConfig } from "../config/config.ts";
import { type Log, NOTICE, WARN } from "../net/log.ts";
import type { Clock, TimerId } from "../net/net.ts";
import type { Turns } from "../service/turns.ts";
import { readings, type Snapshot } from "../stats/families.ts";
import {
  metricsBody,
  type Resource,
  type SampledRequest,
  type SpanRecord,
  spansBody,
} from "../stats/otlp.ts";

const http = builtin<typeof import("node:http")>("node:http");
const https = builtin<typeof import("node:https")>("node:https");

/** A collector that has not answered after so long does not. */
const ANSWER_MAX_MS = 10_000;
/** Between two tries, while it fails, there is at most so long, ms, unless one interval is longer. */
const BACKOFF_MAX_MS = 300_000;
/** Statuses of one that may take the same another time, by OTLP. */
const AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const SPANS_EVERY_MS = 1000;
/** Spans that wait, and those of one request. */
const SPANS_MAX = 4096;
const SPANS_SENT_MAX = 512;
/** Of an answer nobody reads more. */
const ANSWER_MAX = 64 * 1024;

/** What came of a request: a status, or why there is none. */
export type Outcome = { readonly status: number; readonly text: string } | { readonly error: string };

export type Send = (
  clock: Clock,
  url: string,
  headers: Headers,
  body: string,
) => Promise<Outcome>;

export interface OtlpAround {
  readonly clock: Clock;
  readonly log: Log;
  readonly turns: Turns;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly resource: Resource;
  /** The process as it is now. */
  snapshot(): Promise<Snapshot>;
  /** Tells of some requests, so many a second at most, from now on. @returns what ends it; null: too many listen */
  listen(perSecond: number, told: (samples: readonly SampledRequest[]) => void): (() => void) | null;
  /** Absent: by HTTP. Never rejects. */
  readonly send?: Send;
}

type Settings = Pick<ProcessConfig, "otlp" | "otlpHeaders" | "otlpIntervalMs" | "otlpSpans">;

const NOTHING: Settings = { otlp: null, otlpHeaders: null, otlpIntervalMs: 0, otlpSpans: 0 };

export class Otlp {
  private settings = NOTHING;
  private stops: (() => void)[] = [];

  constructor(private readonly around: OtlpAround) {}

  /** This is in force. */
  adopt({ process: { otlp, otlpHeaders, otlpIntervalMs, otlpSpans } }: Config): void {
    const next = { otlp, otlpHeaders, otlpIntervalMs, otlpSpans };
    if (JSON.stringify(next) === JSON.stringify(this.settings)) return;
    this.stop();
    this.settings = next;
    if (otlp === null) return;
    const { around } = this;
    const headers = { ...Object.fromEntries(otlpHeaders ?? []), "content-type": "application/json" };
    const metrics = new Exporter(around, "metrics", `${otlp}/v1/metrics`, headers, otlpIntervalMs, {
      async next() {
        const snapshot = await around.snapshot();
        return await around.turns.all(metricsBody(snapshot, readings(snapshot), around.resource));
      },
      sent() {},
    });
    metrics.start();
    this.stops.push(() => metrics.stop());
    if (otlpSpans > 0) this.startSpans(otlp, headers, otlpSpans);
  }

  private startSpans(otlp: string, headers: Headers, perSecond: number): void {
    const { around } = this;
    const queue = new SpanQueue(around.random);
    const spans = new Exporter(around, "spans", `${otlp}/v1/traces`, headers, SPANS_EVERY_MS, {
      next: () => Promise.resolve(queue.next(around.resource)),
      sent: (again) => queue.sent(again),
    });
    const stop = around.listen(perSecond, (samples) => queue.add(samples));
    if (stop === null) {
      return around.log.write(WARN, "otlp: no spans, since too many listen to requests already");
    }
    spans.start();
    this.stops.push(stop, () => spans.stop());
  }

  stop(): void {
    for (const stop of this.stops.splice(0)) stop();
    this.settings = NOTHING;
  }
}

type Headers = Readonly<Record<string, string>>;

/** What is sent to one address. */
interface Content {
  /** The body of the next request; null: there is nothing to tell. Never rejects. */
  next(): Promise<string | null>;
  /** The last body has been taken, or never will be; or, with `again`, may be taken another time. */
  sent(again: boolean): void;
}

/** Sends what there is every `everyMs`, and less and less often while that fails. */
class Exporter {
  private timer: TimerId | null = null;
  private stopped = false;
  /** In a row. */
  private failures = 0;

  constructor(
    private readonly around: OtlpAround,
    /** For people: "metrics". */
    private readonly what: string,
    private readonly url: string,
    private readonly headers: Headers,
    private readonly everyMs: number,
    private readonly content: Content,
  ) {}

  start(): void {
    // Drawn, so that many proxies that were started together do not send together.
    this.plan(this.everyMs * this.around.random());
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
  }

  private plan(afterMs: number): void {
    this.timer = this.around.clock.setTimer(afterMs, () => void this.push());
  }

  private async push(): Promise<void> {
    const { clock, send: sendBy = send } = this.around;
    const beganMs = clock.nowMs();
    const body = await this.content.next();
    if (this.stopped) return;
    if (body !== null) {
      const outcome = await sendBy(clock, this.url, this.headers, body);
      if (this.stopped) return;
      this.note(outcome);
    }
    const waitMs = this.everyMs * 2 ** Math.min(this.failures, 20);
    const boundedMs = Math.max(this.everyMs, Math.min(waitMs, BACKOFF_MAX_MS));
    this.plan(Math.max(0, beganMs + boundedMs - clock.nowMs()));
  }

  /** Says once that it fails, and once that it does not any more. */
  private note(outcome: Outcome): void {
    const { what, url, around: { log } } = this;
    const why = whyNot(outcome);
    this.content.sent(why !== null && ("error" in outcome || AGAIN.has(outcome.status)));
    if (why === null) {
      if (this.failures > 0) log.write(NOTICE, `otlp: ${url} takes ${what} again`);
      this.failures = 0;
    } else if (this.failures++ === 0) log.write(WARN, `otlp: ${url} does not take ${what}: ${why}`);
  }
}

/** Requests that were drawn, until a collector has taken them. */
class SpanQueue {
  private readonly waiting: SpanRecord[] = [];
  /** Of them, the first ones, that are on their way. */
  private underWay = 0;

  constructor(private readonly random: () => number) {}

  add(samples: readonly SampledRequest[]): void {
    for (const sample of samples) {
      // Nobody waits for a collector: what does not fit is dropped.
      if (this.waiting.length >= SPANS_MAX) return;
      this.waiting.push({ ...sample, traceId: this.id(32), spanId: this.id(16) });
    }
  }

  next(resource: Resource): string | null {
    this.underWay = Math.min(this.waiting.length, SPANS_SENT_MAX);
    return this.underWay === 0 ? null : spansBody(this.waiting.slice(0, this.underWay), resource);
  }

  sent(again: boolean): void {
    if (!again) this.waiting.splice(0, this.underWay);
    this.underWay = 0;
  }

  /** Hexadecimal digits, not all of them 0. */
  private id(digits: number): string {
    let id = "1";
    while (id.length < digits) id += Math.floor(this.random() * 16).toString(16);
    return id;
  }
}

/** Null: it has taken them. */
function whyNot(outcome: Outcome): string | null {
  if ("error" in outcome) return outcome.error;
  const { status, text } = outcome;
  return status >= 200 && status < 300 ? null : `${status} ${printable(text)}`.trim();
}

/** The beginning of what a collector says, on one line. */
function printable(text: string): string {
  return text.slice(0, 200).replaceAll(/[^\x20-\x7e]+/g, " ");
}

/** By HTTP; follows nobody elsewhere. */
function send(
  clock: Clock,
  url: string,
  headers: Headers,
  body: string,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const begin = url.startsWith("https:") ? https().request : http().request;
    const bytes = new TextEncoder().encode(body);
    const settle = (outcome: Outcome) => {
      clock.clearTimer(timer);
      resolve(outcome);
      asked.destroy();
    };
    const timer = clock.setTimer(
      ANSWER_MAX_MS,
      () => settle({ error: `no answer in ${ANSWER_MAX_MS / 1000} s` }),
    );
    const asked = begin(
      url,
      // A connection each: one that is kept open may be closed by the other side just when it is needed.
      { method: "POST", headers: { ...headers, "content-length": bytes.length }, agent: false },
      (response) => {
        let text = "";
        const end = () => settle({ status: response.statusCode ?? 0, text });
        response.setEncoding("latin1");
        response.on("data", (piece: string) => {
          text += piece;
          if (text.length > ANSWER_MAX) end();
        });
        response.on("end", end);
        response.on("close", end);
        response.on("error", end);
      },
    );
    asked.on("error", (error: Error) => settle({ error: error.message || "it cannot be reached" }));
    asked.end(bytes);
  });
}
