/**
 * The last fifteen minutes of every pool, a sample a second, and the stream of them: /api/live.
 *
 *   every second:  statistics ─┬─ less those of a second ago ──► Sample ──► History (a ring of doubles a pool)
 *                  histograms ─┘                                   └──────► one text for all who listen, with the events since
 *   who begins to listen:  event: history, then a message a second
 *
 * On the main thread, whether or not somebody listens. What is kept is bounded: SECONDS samples of POOLS_MAX pools. One that does not
 * read is cut off by the server (server.ts); nobody is waited for.
 */
import { encode } from "../bytes/ascii.ts";
import type { Clock, TimerId } from "../net/net.ts";
import type { PoolStats, ProcessStats } from "../stats/document.ts";
import {
  CLIENT_CONNECTIONS,
  FORWARD_ERROR,
  IN_QUEUE,
  MEMORY_BYTES,
  OUT_QUEUE,
  REQUESTS_TOTAL,
} from "../stats/metrics.ts";
import type { Events } from "../topology/events.ts";
import type { Turns } from "../service/turns.ts";
import type { Stream } from "./answer.ts";
import { eventShape } from "./events.ts";
import { type HistoryShape, type LiveShape, type Sample, SERIES, type SeriesName } from "./page/shapes.ts";

/** How many samples are kept of a pool. */
export const SECONDS = 900;
/** How many pools they are kept of; of any more only the stream tells. 53 KB each. */
export const POOLS_MAX = 100;
/** Of so many pools at most one who names none is told the history: less than a slow reader may owe. */
const TOLD_MAX = 8;
/** The newest events that go with the history. */
const EVENTS_TOLD = 200;
const EVERY_MS = 1000;
/** What a pool's history takes to be written, µs, about. */
const POOL_US = 400;

/** Times of requests, as counted so far (stats/latency.ts). */
export interface Times {
  readonly count: number;
  /** What has been counted since. */
  since(before: this): Times;
  /** µs */
  quantileUs(q: number): number;
}

export interface LiveAround {
  readonly clock: Clock;
  readonly turns: Turns;
  readonly events: Events;
  /** As for the statistics port. */
  stats(): ProcessStats | Promise<ProcessStats>;
  /** How long servers took for a pool's requests; a copy. Null: nobody counts it. */
  served(pool: string): Times | null;
}

/** What a pool had counted a second ago. */
interface Before {
  readonly nowMs: number;
  readonly requests: number;
  readonly errors: number;
  readonly served: Times | null;
}

export class Live {
  /** When each sample was taken, ms since the epoch; of all pools at once. */
  private readonly at = new Float64Array(SECONDS);
  private readonly histories = new Map<string, Float64Array>();
  /** Where the next sample goes; how many there have been. */
  private next = 0;
  private taken = 0;
  private before = new Map<string, Before>();
  /** The id of the last event that has been told. */
  private eventsTold: number;
  private readonly listeners = new Set<(text: Uint8Array) => void>();
  private timer: TimerId | null = null;
  private asking = false;
  private running = false;

  constructor(private readonly around: LiveAround) {
    this.eventsTold = around.events.seen.count;
  }

  /** Does nothing if it runs. */
  start(): void {
    if (this.running) return;
    this.running = true;
    void this.second();
  }

  stop(): void {
    this.running = false;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
    this.listeners.clear();
  }

  /** @param pool whose history is told first; "" = that of the first pools */
  stream(pool: string): Stream {
    return {
      type: "text/event-stream; charset=utf-8",
      stream: (out) => {
        // The history comes first, and takes some turns: of eight pools it is 50,000 numbers.
        let waiting: Uint8Array[] | null = [];
        const listener = (text: Uint8Array) => void (waiting === null ? out.write(text) : waiting.push(text));
        this.listeners.add(listener);
        void this.around.turns.all(textOf(this.history(pool))).then((text) => {
          out.write(`event: history\ndata: ${text}\n\n`);
          for (const later of waiting ?? []) out.write(later);
          waiting = null;
        });
        return () => this.listeners.delete(listener);
      },
    };
  }

  /** @param pool "" = the first pools */
  history(pool: string): HistoryShape {
    const names = pool === "" ? [...this.histories.keys()].slice(0, TOLD_MAX) : [pool];
    const count = Math.min(this.taken, SECONDS);
    const places = Array.from({ length: count }, (_, k) => (this.next - count + k + SECONDS) % SECONDS);
    return {
      at: places.map((place) => this.at[place]!),
      pools: names.flatMap((name) => {
        const history = this.histories.get(name);
        if (history === undefined) return [];
        const columns = SERIES.map((series, k) => [
          series,
          places.map((place) => orNull(history[k * SECONDS + place]!)),
        ]);
        return [{ name, ...Object.fromEntries(columns) as Record<SeriesName, (number | null)[]> }];
      }),
      events: this.around.events.latest().slice(-EVENTS_TOLD).map(eventShape),
    };
  }

  // ---- the seconds

  private async second(): Promise<void> {
    if (!this.running) return;
    const { clock } = this.around;
    this.timer = clock.setTimer(EVERY_MS, () => void this.second());
    // A worker that does not answer holds the statistics up: this second is left out.
    if (this.asking) return;
    this.asking = true;
    try {
      const stats = await this.around.stats();
      if (this.running) this.take(stats);
    } finally {
      this.asking = false;
    }
  }

  private take(stats: ProcessStats): void {
    const { clock, events } = this.around;
    const at = clock.wallMs();
    const before = this.before;
    this.before = new Map();
    const pools = stats.pools.map((pool) => this.sampleOf(pool, before.get(pool.name)));
    this.keep(at, pools);
    const told = this.eventsTold;
    this.eventsTold = events.seen.count;
    if (this.listeners.size === 0) return;
    const shape: LiveShape = {
      at,
      pools,
      events: told === this.eventsTold
        ? []
        : events.latest().filter(({ id }) => id > told).slice(-EVENTS_TOLD).map(eventShape),
    };
    const text = encode(`data: ${JSON.stringify(shape)}\n\n`);
    for (const listener of this.listeners) listener(text);
  }

  private sampleOf({ name, values, servers }: PoolStats, before: Before | undefined): Sample {
    const now: Before = {
      nowMs: this.around.clock.nowMs(),
      requests: values[REQUESTS_TOTAL]!,
      errors: values[FORWARD_ERROR]!,
      served: this.around.served(name),
    };
    this.before.set(name, now);
    const took = before === undefined ? 0 : now.nowMs - before.nowMs;
    // A pool that has been replaced by another of its name begins at 0 again.
    const rate = (value: number, then: number) =>
      took > 0 && value >= then ? Math.round((value - then) / took * 10_000) / 10 : null;
    const times = now.served !== null && before?.served ? now.served.since(before.served) : null;
    const quantile = (q: number) => times === null || times.count <= 0 ? null : times.quantileUs(q);
    return {
      name,
      requests_per_s: before === undefined ? null : rate(now.requests, before.requests),
      errors_per_s: before === undefined ? null : rate(now.errors, before.errors),
      p50_us: quantile(0.5),
      p99_us: quantile(0.99),
      in_flight: servers.reduce((sum, { values }) => sum + values[IN_QUEUE]! + values[OUT_QUEUE]!, 0),
      clients: values[CLIENT_CONNECTIONS]!,
      memory_bytes: values[MEMORY_BYTES]!,
    };
  }

  private keep(at: number, pools: readonly Sample[]): void {
    const place = this.next;
    this.next = (place + 1) % SECONDS;
    this.taken++;
    this.at[place] = at;
    const names = new Set(pools.map(({ name }) => name));
    // A pool that has left, and would otherwise show what it was fifteen minutes ago.
    for (const name of this.histories.keys()) if (!names.has(name)) this.histories.delete(name);
    for (const sample of pools) {
      let history = this.histories.get(sample.name);
      if (history === undefined) {
        if (this.histories.size >= POOLS_MAX) continue;
        history = new Float64Array(SERIES.length * SECONDS).fill(NaN);
        this.histories.set(sample.name, history);
      }
      SERIES.forEach((series, k) => history[k * SECONDS + place] = sample[series] ?? NaN);
    }
  }
}

/** JSON, in steps. */
function* textOf({ at, pools, events }: HistoryShape): Generator<number, string> {
  const texts: string[] = [];
  for (const one of pools) {
    texts.push(JSON.stringify(one));
    yield POOL_US;
  }
  return `{"at":${JSON.stringify(at)},"pools":[${texts.join(",")}],"events":${JSON.stringify(events)}}`;
}

const orNull = (value: number): number | null => Number.isNaN(value) ? null : value;
