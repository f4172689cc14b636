/**
 * What a worker has seen of a pool's keys: which are asked for most, which have the largest values.
 *
 *   a request ──► REQUESTS_TOTAL ≥ drawAt? ──► drawn: its keys are counted (stats/heavy_hitters.ts), about 1,000 requests a second
 *            └──► larger than bigFloor? ──► its key is noted (stats/big_keys.ts)
 *
 * That is all a request costs that is not drawn: a number that has just been counted is compared, and a size that is known. Nothing is
 * held before the first is drawn.
 */
import { type BigKey, BigKeys } from "../stats/big_keys.ts";
import { Draws } from "../stats/draws.ts";
import { HeavyHitters, type HotKeys } from "../stats/heavy_hitters.ts";

/** Keys of one request that are counted; of more, so many in a row, each for more. */
export const KEYS_COUNTED = 4;

export class Seen {
  /** The next request is drawn when REQUESTS_TOTAL has come so far. */
  drawAt: number;
  /** A message that is larger is noted; bytes. */
  bigFloor: number;
  readonly #big = new BigKeys();
  #hot: HeavyHitters | null = null;
  readonly #draws: Draws;

  /** @param seed not 0 @param requests REQUESTS_TOTAL as it is */
  constructor(seed: number, requests: number, nowMs: number) {
    this.bigFloor = this.#big.floor;
    this.#draws = new Draws(seed, nowMs);
    this.drawAt = requests + this.#draws.next(nowMs);
  }

  /** A request has been drawn: for how many it stands. @param requests REQUESTS_TOTAL as it is */
  draw(requests: number, nowMs: number): number {
    const { mean } = this.#draws;
    this.drawAt = requests + this.#draws.next(nowMs);
    return mean;
  }

  /** A request that was drawn asks for this key; bytes borrowed. */
  asked(bytes: Uint8Array, start: number, end: number, weight: number, nowMs: number): void {
    this.#hot ??= new HeavyHitters(nowMs);
    this.#hot.add(bytes, start, end, weight, nowMs);
  }

  /** A message of `size` bytes, more than `bigFloor`, has passed for this key; bytes borrowed. @param wallMs ms since the epoch */
  passed(
    bytes: Uint8Array,
    start: number,
    end: number,
    size: number,
    side: BigKey["side"],
    command: string,
    wallMs: number,
  ): void {
    this.#big.note(bytes, start, end, size, side, command, wallMs);
    this.bigFloor = this.#big.floor;
  }

  hot(most: number, nowMs: number): HotKeys {
    return this.#hot?.list(most, nowMs) ?? { total: 0, seen: 0, floor: 0, keys: [] };
  }

  big(wallMs: number): BigKey[] {
    const keys = this.#big.list(wallMs);
    this.bigFloor = this.#big.floor;
    return keys;
  }

  get holdsBytes(): number {
    return this.#hot === null ? 0 : HeavyHitters.HOLDS_BYTES;
  }
}
