/**
 * What somebody who listens to a pool's requests is told: some of those that fit, as they are answered.
 *
 *   request drawn ──fits?──► there is a token? ──► Sample, when it has been answered ──► at most KEPT, until it is asked for
 *
 * Nobody waits for the listener: what does not fit in is counted as lost. One that has not asked for LEASE_MS is gone.
 */

/** Samples that wait to be asked for. */
export const KEPT = 500;
/** How long nobody needs to ask, ms: longer than a thread is ever busy with one thing. */
export const LEASE_MS = 3000;
/** Samples a second of one listener. */
export const RATE_MAX = 1000;
export const RATE_DEFAULT = 100;

/** What is listened for. Plain data: it goes to other threads. */
export interface TapFilter {
  readonly id: number;
  /** null: any, of these and below. */
  readonly pool: string | null;
  /** * stands for any bytes, ? for one; latin1. */
  readonly key: string | null;
  /** Lower case. */
  readonly command: string | null;
  /** How its address begins. */
  readonly client: string | null;
  /** Samples a second, at most. */
  readonly rate: number;
}

/** One request; plain data, names as they are shown. */
export interface Sample {
  /** When it was answered, ms since the epoch. */
  readonly at: number;
  readonly pool: string;
  /** Of its key, as far as it has only one; null = several, or none. */
  readonly server: string | null;
  readonly client: string;
  /** Lower case. */
  readonly command: string;
  /** Shortened, and hidden where they are secrets. */
  readonly arguments: readonly string[];
  /** How long it waited here, and how long servers took; null = none was asked. */
  readonly waited_us: number;
  readonly served_us: number | null;
  readonly reply_bytes: number;
}

/** What one worker has for a listener. */
export interface Tapped {
  readonly id: number;
  readonly lost: number;
  readonly samples: readonly Sample[];
}

/** One listener to one pool, in a worker. */
export class Tap {
  private samples: Sample[] = [];
  private lost = 0;
  private tokens = 1;
  private refilledMs: number;
  private leaseMs: number;

  constructor(readonly filter: TapFilter, nowMs: number) {
    this.refilledMs = nowMs;
    this.leaseMs = nowMs + LEASE_MS;
  }

  isOver(nowMs: number): boolean {
    return nowMs > this.leaseMs;
  }

  /** It fits, and may be told: takes a token. @param keys latin1 */
  wants(command: string, client: string, keys: readonly string[], nowMs: number): boolean {
    const { filter } = this;
    if (filter.command !== null && filter.command !== command) return false;
    if (filter.client !== null && !client.startsWith(filter.client)) return false;
    if (filter.key !== null && !keys.some((key) => matches(filter.key!, key))) return false;
    const most = Math.max(1, filter.rate / 10);
    this.tokens = Math.min(most, this.tokens + (nowMs - this.refilledMs) * filter.rate / 1000);
    this.refilledMs = nowMs;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }

  add(sample: Sample): void {
    if (this.samples.length < KEPT) this.samples.push(sample);
    else this.lost++;
  }

  /** One that fitted cannot be told. */
  lose(): void {
    this.lost++;
  }

  /** What there is, once; renews the lease. */
  take(nowMs: number): Tapped {
    const { samples, lost, filter } = this;
    this.samples = [];
    this.lost = 0;
    this.leaseMs = nowMs + LEASE_MS;
    return { id: filter.id, lost, samples };
  }
}

/** Does `text` fit a pattern of * and ?? In time that is their lengths' product at most. */
export function matches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let from = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === "*") {
      star = p++;
      from = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++from;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
