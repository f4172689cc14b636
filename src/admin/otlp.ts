/**
 * Metrics for a collector that does not scrape: sent by OTLP over HTTP every `otlp_interval`, in JSON.
 *
 *   timer ──► snapshot ──► metricsBody ──► POST URL/v1/metrics ──► taken, or refused, or lost
 *
 * What is sent is the sum since the start, so nothing is queued: what is lost comes with the next one. While a collector fails it is
 * tried less and less often. One request at a time, given up after ANSWER_MAX_MS, on the main thread and by the runtime's own
 * sockets: no request of a client waits for it. Written by hand: see docs/decisions/45-otlp-by-hand.md.
 */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Config, ProcessConfig } from "../config/config.ts";
import { type Log, NOTICE, WARN } from "../net/log.ts";
import type { Clock, TimerId } from "../net/net.ts";
import { readings, type Snapshot } from "../stats/families.ts";
import { metricsBody, type Resource } from "../stats/otlp.ts";

/** A collector that has not answered after so long does not. */
const ANSWER_MAX_MS = 10_000;
/** Between two tries, while it fails, there are at most so many intervals, */
const BACKOFF_MAX = 32;
/** and at most so long, ms, unless one interval is longer. */
const BACKOFF_MAX_MS = 300_000;
/** Of an answer nobody reads more. */
const ANSWER_MAX = 64 * 1024;

/** What came of a request: a status, or why there is none. */
export type Outcome = { readonly status: number; readonly text: string } | { readonly error: string };

export type Send = (
  clock: Clock,
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
) => Promise<Outcome>;

export interface OtlpAround {
  readonly clock: Clock;
  readonly log: Log;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly resource: Resource;
  /** The process as it is now. */
  snapshot(): Promise<Snapshot>;
  /** Absent: by HTTP. Never rejects. */
  readonly send?: Send;
}

type Settings = Pick<ProcessConfig, "otlp" | "otlpHeaders" | "otlpIntervalMs">;

export class Otlp {
  private settings: Settings = { otlp: null, otlpHeaders: null, otlpIntervalMs: 0 };
  private timer: TimerId | null = null;
  /** Answers to what was sent under settings before these count for nothing. */
  private serial = 0;
  /** In a row. */
  private failures = 0;

  constructor(private readonly around: OtlpAround) {}

  /** This is in force. */
  adopt({ process: { otlp, otlpHeaders, otlpIntervalMs } }: Config): void {
    const next = { otlp, otlpHeaders, otlpIntervalMs };
    if (JSON.stringify(next) === JSON.stringify(this.settings)) return;
    this.stop();
    this.settings = next;
    if (otlp === null) return;
    // Drawn, so that many proxies that were started together do not send together.
    this.plan(otlpIntervalMs * this.around.random());
  }

  stop(): void {
    this.serial++;
    this.failures = 0;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
    this.settings = { otlp: null, otlpHeaders: null, otlpIntervalMs: 0 };
  }

  private plan(afterMs: number): void {
    this.timer = this.around.clock.setTimer(afterMs, () => {
      this.timer = null;
      void this.push();
    });
  }

  private async push(): Promise<void> {
    const { around, serial, settings: { otlp, otlpHeaders, otlpIntervalMs } } = this;
    const beganMs = around.clock.nowMs();
    const snapshot = await around.snapshot();
    const url = `${otlp}/v1/metrics`;
    const headers = { ...Object.fromEntries(otlpHeaders ?? []), "content-type": "application/json" };
    const body = metricsBody(snapshot, readings(snapshot), around.resource);
    const outcome = serial === this.serial
      ? await (around.send ?? send)(around.clock, url, headers, body)
      : null;
    if (serial !== this.serial || outcome === null) return;
    this.note(url, outcome);
    const waitMs = otlpIntervalMs * Math.min(BACKOFF_MAX, 2 ** this.failures);
    const boundedMs = Math.max(otlpIntervalMs, Math.min(waitMs, BACKOFF_MAX_MS));
    this.plan(Math.max(0, beganMs + boundedMs - around.clock.nowMs()));
  }

  /** Says once that it fails, and once that it does not any more. */
  private note(url: string, outcome: Outcome): void {
    const { log } = this.around;
    const why = whyNot(outcome);
    if (why === null) {
      if (this.failures > 0) log.write(NOTICE, `otlp: ${url} takes metrics again`);
      this.failures = 0;
    } else if (this.failures++ === 0) log.write(WARN, `otlp: ${url} does not take metrics: ${why}`);
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
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const begin = url.startsWith("https:") ? httpsRequest : httpRequest;
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
