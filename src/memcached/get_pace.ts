/**
 * How many gets may go to one address in one line: as many as bring BATCH_VALUES_MAX bytes of values, judged by those that have
 * come from there. One address's own, kept with its endpoint.
 */
import type { Turn } from "../proxy/turn.ts";

/** Bytes of values that a line is expected to bring, at most: memcached holds on to all of them until they have left. */
export const BATCH_VALUES_MAX = 256 * 1024;
/** Bytes of a value, before one is known. */
const VALUE_GUESS = 4096;
/** A value's share in what is expected of the next. */
const VALUE_WEIGHT = 1 / 8;
/** How long a server that has brought a value nobody asked for is asked for one key at a time; each time so many times as long. */
const APART_MS = 60_000;
const APART_TIMES = 60;

export class GetPace {
  /** About how large the values are that are asked for many at once. */
  private valueBytes = VALUE_GUESS;
  private apartMs = APART_MS;
  private apartUntilMs = -Infinity;

  constructor(private readonly turn: Turn) {}

  /** So many gets may be in one line. Where values are large, this is 1 most of the time. */
  getsAtOnce(): number {
    if (this.apartUntilMs > this.turn.now()) return 1;
    const count = Math.floor(BATCH_VALUES_MAX / this.valueBytes);
    if (count > 1) return count;
    // They may have become smaller: try two now and then.
    this.valueBytes *= 1 - VALUE_WEIGHT;
    return 1;
  }

  /** Learns from a reply of so many bytes to so many gets. */
  note(bytes: number, count: number): void {
    this.valueBytes += (bytes / count - this.valueBytes) * VALUE_WEIGHT;
  }

  /** The keys of its values are not those it was asked for: some proxies change them. Asked for one at a time it is understood. */
  askApart(): void {
    this.apartUntilMs = this.turn.now() + this.apartMs;
    this.apartMs *= APART_TIMES;
  }
}
