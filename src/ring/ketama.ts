/**
 * Ketama ring: which server owns a key, and which keys move when a server leaves.
 *
 *   hash ──► first point with value ≥ hash, wrapping at the end ──► point's server
 *
 * Points are sorted by value; a server of average weight has 160 (or 156: the count is rounded down after
 * single precision arithmetic, and 25 equal servers, for one, fall just short). Labels "name-0", "name-1", …
 * are hashed with MD5, four points each; the pool's own hash is for keys only. Points of equal value keep the
 * order of servers, so the first server has them (glibc's qsort is a stable merge sort; elsewhere twemproxy
 * leaves it open).
 *
 * Shares follow weights, and an extreme weight can leave a small one with no point at all. When a server
 * leaves, the others' counts may change as well, since a server's points depend on its share of the live
 * weight: only if they do not (equal weights, save for the roundings above) do the leaver's keys alone move.
 *
 * Source: twemproxy 0.5.0 on x86-64, nc_ketama.c. Checked against tests/vectors/placement.json.
 */
import { encode } from "../bytes/ascii.ts";
import { md5Into } from "../hash/md5.ts";
import type { Ring, RingServer } from "./ring.ts";
import { atOnce } from "./steps.ts";

/** Points of a server of average weight. */
const POINTS_PER_SERVER = 160;
/** Points that one MD5 digest makes. */
const POINTS_PER_LABEL = 4;
/** Longest label in bytes; twemproxy formats it into 273 with the NUL, and what does not fit is not hashed. */
const LABEL_LENGTH_MAX = 272;
/** Server indexes share a double's 53 bits with 32 of value while sorting. */
const SERVERS_MAX = 2 ** 21;

/** Labels that are hashed at a time, points that are sorted at a time, about, and points that are looked at; with what these take, µs. */
const LABELS_STEP = 32;
const LABEL_US = 0.6;
const SORTED_STEP = 2048;
const SORTED_US = 0.15;
const POINTS_STEP = 1024;
const POINT_US = 0.01;

/** Ring of the live ones among `servers`; null if there is none. See BuildRing. */
export function buildKetama(servers: readonly RingServer[], live: Uint8Array): Ketama | null {
  return atOnce(ketamaSteps(servers, live));
}

/** The same, in steps (steps.ts). @param live borrowed until the end */
export function* ketamaSteps(
  servers: readonly RingServer[],
  live: Uint8Array,
): Generator<number, Ketama | null> {
  if (servers.length > SERVERS_MAX) {
    throw new RangeError(`Cannot build a ketama ring: ${servers.length} servers, at most ${SERVERS_MAX}`);
  }
  let liveCount = 0;
  // A sum of weights past 2^32 does not wrap here; twemproxy's is 32 bits wide. No vector covers such a pool.
  let liveWeight = 0;
  for (let s = 0; s < servers.length; s++) {
    if (live[s] === 0) continue;
    liveCount++;
    liveWeight += servers[s]!.weight;
  }
  if (liveCount === 0) return null;

  const counts = new Int32Array(servers.length);
  let count = 0;
  for (let s = 0; s < servers.length; s++) {
    if (live[s] === 0) continue;
    counts[s] = ketamaPoints(servers[s]!.weight, liveWeight, liveCount);
    count += counts[s]!;
  }

  // One number a point, value × 2^21 + server, so that the engine's numeric sort does all the comparing. Points of one
  // server with one value are interchangeable, so (value, server) sorts as the stable order does.
  const keys = new Float64Array(count);
  let labels = 0;
  for (let s = 0; s < servers.length; s++) {
    const prefix = servers[s]!.name + "-";
    for (let i = 0; i < counts[s]! / POINTS_PER_LABEL; i++) {
      notePoints(keys, labels * POINTS_PER_LABEL, prefix + i, s);
      if (++labels % LABELS_STEP === 0) yield LABEL_US * LABELS_STEP;
    }
  }
  yield* sortSteps(keys);

  const values = new Uint32Array(count);
  const owners = new Int32Array(count);
  for (let i = 0; i < count; i += POINTS_STEP) {
    tellApart(keys, i, Math.min(i + POINTS_STEP, count), values, owners);
    yield POINT_US * POINTS_STEP;
  }
  return new Ketama(values, owners, counts, yield* firstSteps(values));
}

const digest = new Int32Array(4);

/** The points of one label, from `keys[k]` on. */
function notePoints(keys: Float64Array, k: number, text: string, server: number): void {
  const label = encode(text);
  md5Into(label, 0, Math.min(label.length, LABEL_LENGTH_MAX), digest);
  for (let w = 0; w < POINTS_PER_LABEL; w++) keys[k + w] = (digest[w]! >>> 0) * SERVERS_MAX + server;
}

/** Values and owners of `keys[start, end)`. */
function tellApart(
  keys: Float64Array,
  start: number,
  end: number,
  values: Uint32Array,
  owners: Int32Array,
): void {
  for (let i = start; i < end; i++) {
    values[i] = Math.floor(keys[i]! / SERVERS_MAX);
    owners[i] = keys[i]! % SERVERS_MAX;
  }
}

/** See Ketama.firsts. */
function* firstSteps(values: Uint32Array): Generator<number, Int32Array> {
  const bits = bitsOf(values);
  const firsts = new Int32Array(2 ** bits);
  const width = 2 ** (32 - bits);
  for (let part = 0, i = 0; part < firsts.length; part += POINTS_STEP) {
    i = noteFirsts(firsts, part, Math.min(part + POINTS_STEP, firsts.length), width, values, i);
    yield POINT_US * POINTS_STEP;
  }
  return firsts;
}

/** Those of the parts [part, end). @param i the first point that may be in them @returns the same for the next ones */
function noteFirsts(
  firsts: Int32Array,
  part: number,
  end: number,
  width: number,
  values: Uint32Array,
  i: number,
): number {
  for (; part < end; part++) {
    while (i < values.length && values[i]! < part * width) i++;
    firsts[part] = i;
  }
  return i;
}

/** Of a hash so many choose the part. */
function bitsOf(values: Uint32Array): number {
  return Math.max(1, 32 - Math.clz32(values.length - 1));
}

/** Sorts in place: by the first digits first, and then what has the same, which spread evenly, as MD5 has made them. */
function* sortSteps(keys: Float64Array): Generator<number, void> {
  const bits = Math.max(0, 32 - Math.clz32(keys.length / SORTED_STEP));
  if (bits === 0) return void keys.sort();
  const width = 2 ** 53 / 2 ** bits;
  const ends = new Int32Array(2 ** bits);
  for (let i = 0; i < keys.length; i += POINTS_STEP) {
    countParts(keys, i, Math.min(i + POINTS_STEP, keys.length), width, ends);
    yield POINT_US * POINTS_STEP;
  }
  for (let part = 1; part < ends.length; part++) ends[part]! += ends[part - 1]!;
  const next = ends.slice();
  const spread = new Float64Array(keys.length);
  for (let i = 0; i < keys.length; i += POINTS_STEP) {
    spreadParts(keys, i, Math.min(i + POINTS_STEP, keys.length), width, next, spread);
    yield POINT_US * POINTS_STEP;
  }
  for (let part = 0, from = 0; part < ends.length; from = ends[part++]!) {
    spread.subarray(from, ends[part]!).sort();
    yield SORTED_US * (ends[part]! - from);
  }
  keys.set(spread);
}

/** How many of `keys[start, end)` are in each part. */
function countParts(keys: Float64Array, start: number, end: number, width: number, counts: Int32Array): void {
  for (let i = start; i < end; i++) counts[Math.floor(keys[i]! / width)]!++;
}

/** Puts `keys[start, end)` into their parts, of which each is filled from its end. */
function spreadParts(
  keys: Float64Array,
  start: number,
  end: number,
  width: number,
  next: Int32Array,
  spread: Float64Array,
): void {
  for (let i = start; i < end; i++) spread[--next[Math.floor(keys[i]! / width)]!] = keys[i]!;
}

/**
 * How many points a server gets: a multiple of 4, possibly 0.
 *
 * Every step is rounded to single precision, in twemproxy's order: computed in doubles, many pools would come
 * out with other counts. Its 1e-10 is too small to change any count; it is kept to be the same formula.
 *
 * @param liveWeight sum of the weights of the live servers
 * @param liveCount how many are live
 */
export function ketamaPoints(weight: number, liveWeight: number, liveCount: number): number {
  const f = Math.fround;
  const share = f(f(weight) / f(liveWeight));
  const labels = f(f(f(share * POINTS_PER_SERVER) / POINTS_PER_LABEL) * f(liveCount));
  return Math.floor(f(labels + 1e-10)) * POINTS_PER_LABEL;
}

export class Ketama implements Ring {
  /**
   * For each 2^-n part of the hash space, the first point in it or after it. There are at least as many parts
   * as points, so a lookup compares one or two values. Halving an interval takes ten steps and mispredicts
   * half of them: 28 ns against 8 on Deno, 35 against 12 on Bun (8 servers, measured together).
   */
  private readonly firsts: Int32Array;
  private readonly shift: number;

  /**
   * @param values points' values, ascending
   * @param owners server index of each point
   * @param counts points of each server
   * @param firsts of these values, if they have been found already
   */
  constructor(
    readonly values: Uint32Array,
    readonly owners: Int32Array,
    private readonly counts: Int32Array,
    firsts: Int32Array = atOnce(firstSteps(values)),
  ) {
    this.shift = 32 - bitsOf(values);
    this.firsts = firsts;
  }

  lookup(hash: number): number {
    const values = this.values;
    let i = this.firsts[hash >>> this.shift]!;
    while (i < values.length && values[i]! < hash) i++;
    return this.owners[i === values.length ? 0 : i]!;
  }

  pointsOf(index: number): number {
    return this.counts[index]!;
  }
}
