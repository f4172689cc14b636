/**
 * What open pages show besides their seconds, told in the stream of each: /api/live?panels.
 *
 *   each second: what is due ──► answered once (as /api/pools, /api/latency, …) ──► the same bytes to every page that looks at the pool
 *
 * A hundred pages cost hardly more than one. An answer that says nothing new is not sent again; a page that has not taken what it was
 * sent gets the next one. Nothing is made while no page is open.
 */
import { ERR } from "../net/log.ts";
import type { TimerId } from "../net/net.ts";
import { type Answer, type Asked, type Out, Refused, type Stream } from "./answer.ts";
import type { Around } from "./around.ts";
import { bigKeys, hotKeys } from "./keys.ts";
import { commandLatency } from "./latency.ts";
import { pools } from "./pools.ts";
import { slowLog } from "./slow_log.ts";

export interface Panel {
  /** The event's name. */
  readonly name: string;
  /** Of one pool, or the same for all pages. */
  readonly ofPool: boolean;
  readonly everyMs: number;
  /** Also if it says what it said before: rates are made of it. */
  readonly always: boolean;
  readonly answer: (around: Around, asked: Asked) => Answer | Promise<Answer>;
  readonly query: Readonly<Record<string, string>>;
}

/** Timers are not exact: what is due in so many ms is due, ms. */
const EARLY_MS = 100;
const PANELS: readonly Panel[] = [
  {
    name: "pools",
    ofPool: false,
    everyMs: 1000,
    always: true,
    answer: pools,
    query: { max_age_ms: "900" },
  },
  { name: "commands", ofPool: true, everyMs: 2000, always: true, answer: commandLatency, query: {} },
  { name: "slow", ofPool: true, everyMs: 3000, always: false, answer: slowLog, query: { count: "50" } },
  { name: "hot", ofPool: true, everyMs: 3000, always: false, answer: hotKeys, query: { count: "" } },
  { name: "big", ofPool: true, everyMs: 5000, always: false, answer: bigKeys, query: { count: "" } },
];
/** With more servers than this the pools are told every other second, unless something has happened. */
const MANY_SERVERS = 50;
const EVERY_MS = 1000;
/** A page that owes so much gets no more panels, bytes. */
const OWED_MAX = 64 * 1024;

/** A panel of a pool, and who looks at it. */
class Shown {
  readonly pages = new Map<Page, number>();
  /** Goes up with every message. */
  version = 0;
  message: Uint8Array = new Uint8Array();
  /** Where what counts begins in it: behind the time. */
  from = 0;
  madeMs = -Infinity;
  busy = false;

  constructor(readonly panel: Panel, readonly pool: string) {}
}

interface Page {
  readonly out: Out;
}

export class Panels {
  /** By panel and pool, those that a page looks at. */
  private readonly shown = new Map<string, Shown>();
  private timer: TimerId | null = null;
  private events = -1;

  constructor(private readonly around: Around, private readonly panels = PANELS) {}

  /** The seconds of `live`, and the panels. @param pool "" = only what is of no pool */
  stream(pool: string): Stream {
    const { type, stream } = this.around.live.stream(pool);
    return {
      type,
      stream: (out) => {
        const leave = stream(out);
        const page = { out };
        const mine = this.panels.filter(({ ofPool }) => !ofPool || pool !== "").map((panel) => {
          const key = `${panel.name}\0${panel.ofPool ? pool : ""}`;
          const one = this.shown.get(key) ?? new Shown(panel, panel.ofPool ? pool : "");
          this.shown.set(key, one);
          one.pages.set(page, 0);
          return { key, one };
        });
        // At once, so that it does not begin empty.
        this.look();
        return () => {
          leave();
          for (const { key, one } of mine) {
            one.pages.delete(page);
            if (one.pages.size === 0 && this.shown.get(key) === one) this.shown.delete(key);
          }
          if (this.shown.size === 0) this.rest();
        };
      },
    };
  }

  private rest(): void {
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** Makes what is due, and tells it to those who have not got it; again each second. */
  private look(): void {
    const { clock, director, config } = this.around;
    this.timer ??= clock.setTimer(EVERY_MS, () => {
      this.timer = null;
      this.look();
    });
    const nowMs = clock.nowMs();
    const events = director.events.seen.count;
    const happened = events !== this.events;
    this.events = events;
    const servers = config.pools.reduce((sum, { servers }) => sum + servers.length, 0);
    for (const one of this.shown.values()) {
      const { panel, busy, madeMs } = one;
      const every = panel.everyMs * (panel.ofPool || servers <= MANY_SERVERS ? 1 : 2);
      if (busy) continue;
      if (nowMs - madeMs >= every - EARLY_MS || happened && !panel.ofPool) void this.make(one, nowMs);
      else this.tell(one);
    }
  }

  private async make(one: Shown, nowMs: number): Promise<void> {
    one.busy = true;
    one.madeMs = nowMs;
    try {
      const { panel, pool } = one;
      const query = panel.ofPool ? { ...panel.query, pool } : panel.query;
      const answer = await panel.answer(this.around, {
        names: {},
        query,
        body: new Uint8Array(),
        accept: "",
      });
      if ("stream" in answer || answer.status !== 200) return;
      const message = messageOf(panel.name, answer.body);
      // {"at":1700000000000,…
      const from = message.indexOf(44);
      if (!panel.always && same(message.subarray(from), one.message.subarray(one.from))) return;
      one.message = message;
      one.from = from;
      one.version++;
    } catch (error) {
      // The pool has left; the page sees that by itself.
      if (!(error instanceof Refused)) {
        this.around.log.write(ERR, `admin: panel ${one.panel.name} could not be made: ${error}`);
      }
    } finally {
      one.busy = false;
      this.tell(one);
    }
  }

  private tell({ pages, version, message }: Shown): void {
    for (const [page, has] of pages) {
      if (has === version || page.out.owedBytes > OWED_MAX) continue;
      pages.set(page, version);
      page.out.write(message);
    }
  }
}

/** @param body one line of JSON */
function messageOf(name: string, body: string | Uint8Array | readonly Uint8Array[]): Uint8Array {
  const encoder = new TextEncoder();
  const head = encoder.encode(`event: ${name}\ndata: `);
  const pieces = typeof body === "string"
    ? [encoder.encode(body)]
    : body instanceof Uint8Array
    ? [body]
    : body;
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const message = new Uint8Array(head.length + size + 1);
  message.set(head);
  let at = head.length;
  for (const piece of pieces) {
    message.set(piece, at);
    at += piece.length;
  }
  // The line's own end is there already.
  message[at] = 10;
  return message;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Those of a process. */
export function panelsOf(around: Around): Panels {
  return around.kept.panels ??= new Panels(around);
}
