/**
 * How long requests took: histograms in memory that all workers share, one writer a block.
 *
 *   a client's request:   read ──── waited ────► written to a server ──── served ────► its last reply has been read
 *   Latency ── a block a worker ── a row a class and quantity:  sum µs | longest µs | 768 buckets
 *
 * Buckets are log-linear, in whole µs: one each up to 63, then 32 an octave up to 2^28 (268 s): the middle of a bucket is
 * wrong by 1.6 % at most. What is counted never goes backwards, and a worker that dies leaves its block, as on the board
 * (board.ts), where these are: one for a pool, which counts each client's request once, and one for each of its servers, which counts
 * what that one was sent.
 */

/** What a request is, as far as times are concerned: those of one class are alike. In the order of the constants below. */
export const LATENCY_CLASSES = [
  "read",
  "write",
  "multi_key",
  "script",
  "transaction",
  "pubsub",
  "other",
  "blocking",
] as const;

export const CLASS_READ = 0;
export const CLASS_WRITE = 1;
/** Several keys, each of them on a server of its own, perhaps: MGET, DEL, a get of several keys. */
export const CLASS_MULTI_KEY = 2;
export const CLASS_SCRIPT = 3;
/** MULTI, EXEC and kin, and what is queued between them. */
export const CLASS_TRANSACTION = 4;
export const CLASS_PUBSUB = 5;
/** What asks servers about themselves, or concerns all of them, or is answered here. */
export const CLASS_OTHER = 6;
/** Waits for as long as its client likes (BLPOP): no part of any total. */
export const CLASS_BLOCKING = 7;
/** Those that do not wait for as long as they like. */
const PROMPT_CLASSES: readonly number[] = [...LATENCY_CLASSES.keys()].filter((k) => k !== CLASS_BLOCKING);

/** From the turn that read a request until it was written to a server, or answered without one. */
export const WAITED = 0;
/** From then until its last reply was read, or it failed. */
export const SERVED = 1;
const QUANTITIES = 2;

/** One bucket each below this, µs. */
const LINEAR = 64;
const LINEAR_BITS = 6;
/** So many buckets an octave, as a power of two. */
const OCTAVE_BITS = 5;
const TOP_BITS = 28;
/** What took longer is in the last bucket, µs. */
const TOP_US = 2 ** TOP_BITS;
export const BUCKETS: number = LINEAR + ((TOP_BITS - LINEAR_BITS) << OCTAVE_BITS);

const SUM = 0;
const LONGEST = 1;
const HEAD = 2;
const ROW = HEAD + BUCKETS;
/** Blocks of two workers share no pair of cache lines that is fetched together; in doubles. */
const ALIGN = 16;
const BLOCK = Math.ceil(LATENCY_CLASSES.length * QUANTITIES * ROW / ALIGN) * ALIGN;

/** Which bucket a time is in. @param us a whole number; below 0 is 0 */
export function bucketOf(us: number): number {
  if (us < LINEAR) return us < 0 ? 0 : us;
  if (us >= TOP_US) return BUCKETS - 1;
  const octave = 31 - Math.clz32(us);
  return LINEAR + ((octave - LINEAR_BITS) << OCTAVE_BITS) +
    ((us >> (octave - OCTAVE_BITS)) & ((1 << OCTAVE_BITS) - 1));
}

/** The shortest time that is in a bucket, µs. */
export function bucketFromUs(bucket: number): number {
  if (bucket < LINEAR) return bucket;
  const octave = (bucket - LINEAR) >> OCTAVE_BITS;
  const part = (bucket - LINEAR) & ((1 << OCTAVE_BITS) - 1);
  return ((1 << OCTAVE_BITS) + part) * 2 ** (octave + LINEAR_BITS - OCTAVE_BITS);
}

/** The shortest time that is in none up to this one, µs. */
export function bucketToUs(bucket: number): number {
  return bucket >= BUCKETS - 1 ? Infinity : bucketFromUs(bucket + 1);
}

/** What one worker counts. */
export class LatencyBlock {
  constructor(private readonly cells: Float64Array) {}

  /** Counts so many more of a class that all took `ms`, with a fraction. */
  count(latencyClass: number, quantity: number, ms: number, times: number): void {
    const { cells } = this;
    const at = (latencyClass * QUANTITIES + quantity) * ROW;
    const exact = ms * 1000 + 0.5;
    const us = exact < TOP_US ? exact | 0 : Math.floor(exact);
    cells[at + SUM]! += us * times;
    if (us > cells[at + LONGEST]!) cells[at + LONGEST] = us;
    cells[at + HEAD + bucketOf(us)]! += times;
  }
}

/** The blocks of all workers, for one pool or one server. */
export class Latency {
  private readonly blocks: readonly Float64Array[];

  /** @param offset where in `buffer` they begin, in bytes: a multiple of 8 */
  constructor(buffer: SharedArrayBuffer, offset: number, workers: number) {
    this.blocks = Array.from(
      { length: workers },
      (_, k) => new Float64Array(buffer, offset + 8 * k * BLOCK, BLOCK),
    );
  }

  /** What they take, in bytes; the system lends only what is used of it. */
  static bytes(workers: number): number {
    return 8 * BLOCK * workers;
  }

  /** A worker's own. */
  block(worker: number): LatencyBlock {
    return new LatencyBlock(this.blocks[worker]!);
  }

  /** Of one class over all workers; a copy. */
  histogram(latencyClass: number, quantity: number): Histogram {
    const histogram = new Histogram();
    this.addTo(histogram, latencyClass, quantity);
    return histogram;
  }

  /** Of all classes but CLASS_BLOCKING, over all workers; a copy. */
  total(quantity: number): Histogram {
    const total = new Histogram();
    for (const k of PROMPT_CLASSES) this.addTo(total, k, quantity);
    return total;
  }

  /** As `histogram`, in a few wider buckets. @param beyond the first bucket that is not in each of them, ascending */
  coarse(beyond: readonly number[], latencyClass: number, quantity: number): Coarse {
    const coarse = { below: beyond.map(() => 0), count: 0, sumUs: 0 };
    this.addCoarse(coarse, beyond, latencyClass, quantity);
    return accumulated(coarse);
  }

  /** As `total`, in a few wider buckets. */
  coarseTotal(beyond: readonly number[], quantity: number): Coarse {
    const coarse = { below: beyond.map(() => 0), count: 0, sumUs: 0 };
    for (const k of PROMPT_CLASSES) this.addCoarse(coarse, beyond, k, quantity);
    return accumulated(coarse);
  }

  /** Nothing of it has been counted. */
  isEmpty(latencyClass: number, quantity: number): boolean {
    const at = (latencyClass * QUANTITIES + quantity) * ROW;
    return this.blocks.every((block) => isUnused(block, at));
  }

  private addTo(histogram: Histogram, latencyClass: number, quantity: number): void {
    const at = (latencyClass * QUANTITIES + quantity) * ROW;
    for (const block of this.blocks) {
      // Of hundreds of servers that is most of what there is.
      if (isUnused(block, at)) continue;
      const longestUs = block[at + LONGEST]!;
      histogram.addCounts(block, at + HEAD, bucketOf(longestUs) + 1, block[at + SUM]!, longestUs);
    }
  }

  /** Of each of the wider buckets what is in it and not in those before. */
  private addCoarse(
    coarse: Counting,
    beyond: readonly number[],
    latencyClass: number,
    quantity: number,
  ): void {
    const { below } = coarse;
    const at = (latencyClass * QUANTITIES + quantity) * ROW;
    for (const block of this.blocks) {
      if (isUnused(block, at)) continue;
      coarse.sumUs += block[at + SUM]!;
      // Another thread may be counting: what is longer is there the next time.
      const end = at + HEAD + bucketOf(block[at + LONGEST]!) + 1;
      let next = at + HEAD;
      for (let i = 0; i <= beyond.length && next < end; i++) {
        const stop = i < beyond.length ? Math.min(at + HEAD + beyond[i]!, end) : end;
        let sum = 0;
        while (next < stop) sum += block[next++]!;
        if (i < beyond.length) below[i]! += sum;
        coarse.count += sum;
      }
    }
  }
}

/** Durations in a few buckets. */
export interface Coarse {
  /** How many took less than the end of each. */
  readonly below: readonly number[];
  readonly count: number;
  readonly sumUs: number;
}

/** A Coarse that is being counted: of each bucket what is in it alone. */
interface Counting {
  readonly below: number[];
  count: number;
  sumUs: number;
}

function accumulated(coarse: Counting): Coarse {
  const { below } = coarse;
  for (let i = 1; i < below.length; i++) below[i]! += below[i - 1]!;
  return coarse;
}

/** With nothing in the bucket of 0 µs either, nothing has been counted. */
function isUnused(block: Float64Array, row: number): boolean {
  return block[row + SUM] === 0 && block[row + HEAD] === 0;
}

/** Counts of times, by bucket, of nobody else. */
export class Histogram {
  readonly counts: Float64Array = new Float64Array(BUCKETS);
  count = 0;
  sumUs = 0;
  maxUs = 0;

  add({ counts, sumUs, maxUs }: Histogram): void {
    this.addCounts(counts, 0, BUCKETS, sumUs, maxUs);
  }

  /** @param from where the counts of its buckets begin; `buckets` are all that are not 0 */
  addCounts(from: Float64Array, at: number, buckets: number, sumUs: number, maxUs: number): void {
    const { counts } = this;
    let added = 0;
    for (let i = 0; i < buckets; i++) {
      const count = from[at + i]!;
      if (count === 0) continue;
      counts[i]! += count;
      added += count;
    }
    this.count += added;
    this.sumUs += sumUs;
    this.maxUs = Math.max(this.maxUs, maxUs);
  }

  /** What has been counted since `before`, an earlier copy of the same. Its `maxUs` is the upper end of its last bucket, at most. */
  since(before: Histogram): Histogram {
    const after = new Histogram();
    let last = -1;
    for (let i = 0; i < BUCKETS; i++) {
      const count = this.counts[i]! - before.counts[i]!;
      if (count <= 0) continue;
      after.counts[i] = count;
      after.count += count;
      last = i;
    }
    after.sumUs = this.sumUs - before.sumUs;
    if (last >= 0) after.maxUs = Math.min(this.maxUs, bucketToUs(last) - 1);
    return after;
  }

  /**
   * The time that a share `q` (0 to 1) of all took no longer than, µs: of the same rank as in the sorted list, and wrong by 1.6 % at
   * most. 0 if nothing has been counted.
   */
  quantileUs(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.count));
    if (this.count === 0) return 0;
    if (rank >= this.count) return this.maxUs;
    let seen = 0;
    let i = 0;
    while (i < BUCKETS - 1 && (seen += this.counts[i]!) < rank) i++;
    const from = bucketFromUs(i);
    const to = Math.min(bucketToUs(i) - 1, this.maxUs);
    return Math.round((from + Math.max(from, to)) / 2);
  }
}
