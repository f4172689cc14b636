/**
 * What has happened to the servers of all pools: the last ones, for the log, INFO, `stats proxy` and whoever asks.
 *
 *   worker: ejected, returned ──┐
 *   director: down, switched ───┼──► Events.record ──► log, the last EVENTS_MAX ──► seen: to every worker
 *   keepers, reload ────────────┘
 *
 * On the main thread, one a process; plain data. What ends something says how long that has lasted.
 */
import { type Log, NOTICE } from "../net/log.ts";
import type { Clock } from "../net/net.ts";

/** How many are kept. */
export const EVENTS_MAX = 1000;

export const EVENT_KINDS = [
  /** Its primary cannot be reached. */
  "down",
  /** Off the ring (auto_eject_hosts). */
  "ejected",
  /** Off the ring, by an operator who wants it to come to rest. */
  "drained",
  /** It is on the ring again, or its primary answers again. */
  "returned",
  /** Another address is its primary. */
  "switched",
  /** This proxy has made a replica its primary. */
  "promoted",
  /** This proxy has made somebody a replica of its primary. */
  "followed",
  /** Whoever says where servers are does not. */
  "source failed",
  /** Slots of a cluster have another owner. */
  "slots",
  /** The process has another configuration. */
  "reload",
] as const;

export type EventKind = typeof EVENT_KINDS[number];

export interface TopologyEvent {
  /** Counts up from 1; which of two was later. */
  readonly id: number;
  /** ms since the epoch of Unix. */
  readonly atMs: number;
  /** "" = all. */
  readonly pool: string;
  /** "" = none in particular. */
  readonly server: string;
  readonly kind: EventKind;
  /** For people; no line ends. */
  readonly cause: string;
  /** How long what it ends has lasted; 0 = it ends nothing. */
  readonly durationMs: number;
  /** All of that but the times, on one line. */
  readonly text: string;
}

/** What workers are told of the events. */
export interface EventsSeen {
  /** Since the start of the process. */
  readonly count: number;
  readonly last: TopologyEvent | null;
}

export const NO_EVENTS: EventsSeen = { count: 0, last: null };

/** What begins something, and what ends it: for durations. */
const BEGINS: ReadonlySet<EventKind> = new Set<EventKind>(["down", "ejected", "drained"]);
const ENDS: ReadonlySet<EventKind> = new Set<EventKind>(["returned", "switched", "promoted"]);
/** Whoever does this logs it in words that twemproxy's users look for. */
const LOGGED: ReadonlySet<EventKind> = new Set<EventKind>(["ejected", "returned", "slots", "reload"]);
/** Begun and not ended, of servers that may have left the pool by now. */
const OPEN_MAX = 10_000;

export class Events {
  private readonly kept: TopologyEvent[] = [];
  /** Where the next one goes when all places are taken. */
  private next = 0;
  private count = 0;
  /** Of each kind, since the start of the process. */
  readonly counts = new Map<EventKind, number>(EVENT_KINDS.map((kind) => [kind, 0]));
  private last: TopologyEvent | null = null;
  /** Since when a server has been down or ejected. */
  private readonly since = new Map<string, number>();
  /** Called with every event: to tell the workers. */
  told: ((seen: EventsSeen) => void) | null = null;

  constructor(private readonly clock: Clock, private readonly log: Log) {}

  /** @param durationMs absent: since the server was down or ejected, if it was */
  record(kind: EventKind, pool: string, server: string, cause: string, durationMs?: number): void {
    const atMs = this.clock.wallMs();
    const lasted = durationMs ?? this.lasted(kind, pool, server);
    const text = textOf(kind, pool, server, cause);
    const event = { id: this.count + 1, atMs, pool, server, kind, cause, durationMs: lasted, text };
    // Thousands of slots may move one by one: they are not to push out what else has happened.
    if (kind === "slots" && this.last?.kind === kind && this.last.pool === pool) {
      this.kept[(this.next || this.kept.length) - 1] = event;
    } else if (this.kept.length < EVENTS_MAX) this.kept.push(event);
    else {
      this.kept[this.next] = event;
      this.next = (this.next + 1) % EVENTS_MAX;
    }
    this.count++;
    this.counts.set(kind, this.counts.get(kind)! + 1);
    this.last = event;
    if (!LOGGED.has(kind)) this.log.write(NOTICE, lasted > 0 ? `${text} (after ${lasted} ms)` : text);
    this.told?.(this.seen);
  }

  get seen(): EventsSeen {
    return { count: this.count, last: this.last };
  }

  /** The oldest first, EVENTS_MAX at most. */
  latest(): readonly TopologyEvent[] {
    return [...this.kept.slice(this.next), ...this.kept.slice(0, this.next)];
  }

  private lasted(kind: EventKind, pool: string, server: string): number {
    const key = `${pool}\0${server}`;
    const nowMs = this.clock.nowMs();
    if (BEGINS.has(kind)) {
      if (this.since.size < OPEN_MAX && !this.since.has(key)) this.since.set(key, nowMs);
    } else if (ENDS.has(kind)) {
      const sinceMs = this.since.get(key);
      this.since.delete(key);
      if (sinceMs !== undefined) return Math.round(nowMs - sinceMs);
    }
    return 0;
  }
}

/** "pool 'alpha' server 'm1' switched: 10.0.0.2:6379: +switch-master" */
function textOf(kind: EventKind, pool: string, server: string, cause: string): string {
  const where = [pool === "" ? "" : `pool '${pool}' `, server === "" ? "" : `server '${server}' `].join("");
  return `${where}${kind}: ${cause.replaceAll(/[\r\n]+/g, " ")}`;
}
