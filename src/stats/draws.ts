/**
 * Which requests are looked at: about so many of them a second (PER_SECOND), however many there are, drawn so that no load hides between two.
 *
 * From one to the next is a random number of requests, geometric with mean `mean`: any request is drawn as likely as any other, so a
 * client that asks for the same keys in the same order over and over is seen as it is. Each stands for `mean` requests.
 */

/** Requests that are drawn a second, about, if there are more than PER_SECOND × GAP_MIN. */
export const PER_SECOND = 1000;
/** No more than one of so many is drawn, on the average. */
export const GAP_MIN = 16;
const GAP_MAX = 2 ** 20;
/** The mean is set anew after so many draws. */
const ADAPT_AFTER = 64;
/** One step changes the mean by this factor at most. */
const STEP_MAX = 4;

export class Draws {
  /** Of the gaps, in requests: for how many one that is drawn stands. */
  mean: number;
  #drawn = 0;
  #state: number;
  #sinceMs: number;

  /**
   * @param seed its gaps are always the same ones for one seed; not 0
   * @param perSecond draws a second that are aimed at
   * @param gapMin no more than one of so many is drawn, on the average
   */
  constructor(
    seed: number,
    nowMs: number,
    private readonly perSecond: number = PER_SECOND,
    private readonly gapMin: number = GAP_MIN,
  ) {
    this.mean = gapMin;
    this.#state = Math.imul(seed, 0x9e3779b1) | 1;
    this.#sinceMs = nowMs;
  }

  /** How many requests from now on the next one is; at least 1. */
  next(nowMs: number): number {
    if (++this.#drawn >= ADAPT_AFTER) this.#adapt(nowMs);
    if (this.mean <= 1) return 1;
    return Math.max(1, Math.ceil(Math.log(this.#uniform()) / Math.log1p(-1 / this.mean)));
  }

  #adapt(nowMs: number): void {
    const elapsedMs = nowMs - this.#sinceMs;
    const wanted = elapsedMs <= 0 ? Infinity : this.#drawn * this.mean * 1000 / elapsedMs / this.perSecond;
    const step = Math.max(1 / STEP_MAX, Math.min(wanted / this.mean, STEP_MAX));
    this.mean = Math.max(this.gapMin, Math.min(this.mean * step, GAP_MAX));
    this.#drawn = 0;
    this.#sinceMs = nowMs;
  }

  /** In (0, 1]; xorshift32. */
  #uniform(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return ((x >>> 0) + 1) / 2 ** 32;
  }
}
