/**
 * Which keys are asked for most, now: the heavy hitters of a stream, in bounded memory.
 *
 *   add(key, weight) ──► known: its count grows
 *                    └─► new: takes the place of the key with the smallest count, begins with that count, and may be wrong by it
 *
 * Space-saving (Metwally, Agrawal, El Abbadi 2005). What it promises of each key it lists:
 *
 *   count − error ≤ true count ≤ count,   error ≤ total / KEYS_MAX
 *
 * and every key with more than total / KEYS_MAX is listed. Counts fade: what came HALF_LIFE_MS ago counts half. Nothing is multiplied
 * for that: new weights grow instead (`scale`), and all counts are divided when the numbers become large. So the promise holds of
 * the faded counts as well.
 *
 * A key of more than KEY_KEPT bytes is kept as its beginning and told apart by hash and length.
 */
import { latin1 } from "../bytes/ascii.ts";

/** Keys that are kept. */
export const KEYS_MAX = 512;
/** Bytes of a key that are kept. */
export const KEY_KEPT = 128;
export const HALF_LIFE_MS = 30_000;
/** What is counted, in seconds of a steady load: HALF_LIFE_MS / ln 2. */
export const WINDOW_SECONDS: number = HALF_LIFE_MS / 1000 / Math.LN2;

/** Counts are divided when a weight of 1 counts for so much. */
const SCALE_MAX = 2 ** 40;
/** A power of two, for about half as many keys. */
const BUCKETS = 1024;
/** Bytes of a key that are hashed; of a longer one its ends. */
const HASHED_HALF = 512;
const NONE = -1;

/** One key of those that are asked for most; plain data, it goes to other threads. */
export interface HotKey {
  /** Latin1, a character a byte; at most KEY_KEPT. */
  readonly key: string;
  /** Bytes of the whole key. */
  readonly size: number;
  /** In requests, faded; too high by `error` at most. */
  readonly count: number;
  readonly error: number;
}

export interface HotKeys {
  /** All there was, in requests, faded. */
  readonly total: number;
  /** The share of WINDOW_SECONDS that has been seen, 0 to 1: less than 1 soon after the start. */
  readonly seen: number;
  /** A key that is not listed has been asked for no more often. */
  readonly floor: number;
  /** Most frequent first. */
  readonly keys: readonly HotKey[];
}

export class HeavyHitters {
  #count = 0;
  readonly #bytes = new Uint8Array(KEYS_MAX * KEY_KEPT);
  readonly #sizes = new Float64Array(KEYS_MAX);
  readonly #hashes = new Int32Array(KEYS_MAX);
  readonly #counts = new Float64Array(KEYS_MAX);
  readonly #errors = new Float64Array(KEYS_MAX);
  /** Chains of keys whose hashes end alike. */
  readonly #buckets = new Int16Array(BUCKETS).fill(NONE);
  readonly #nexts = new Int16Array(KEYS_MAX);
  /** A heap: the key with the smallest count first. `#places` is where in it a key is. */
  readonly #heap = new Int16Array(KEYS_MAX);
  readonly #places = new Int16Array(KEYS_MAX);
  #total = 0;
  /** What a weight of 1 counts for since `#scaledAtMs`. */
  #scale = 1;
  #scaledAtMs: number;
  readonly #sinceMs: number;

  constructor(nowMs: number) {
    this.#scaledAtMs = this.#sinceMs = nowMs;
  }

  /** Bytes of memory that it takes, about. */
  static readonly HOLDS_BYTES: number = KEYS_MAX * (KEY_KEPT + 34) + BUCKETS * 2;

  /**
   * Somebody has asked for this key.
   * @param bytes borrowed
   * @param weight for how many requests it stands
   */
  add(bytes: Uint8Array, start: number, end: number, weight: number, nowMs: number): void {
    const grown = weight * this.#scaleAt(nowMs);
    this.#total += grown;
    const hash = hashOf(bytes, start, end);
    let at = this.#find(hash, bytes, start, end);
    if (at === NONE) {
      at = this.#count < KEYS_MAX ? this.#append() : this.#replace();
      this.#keep(at, hash, bytes, start, end);
    }
    this.#counts[at]! += grown;
    this.#sink(this.#places[at]!);
  }

  /** @param most keys that are wanted */
  list(most: number, nowMs: number): HotKeys {
    const scale = this.#scaleAt(nowMs);
    const order = Array.from({ length: this.#count }, (_, i) => i);
    order.sort((a, b) => this.#counts[b]! - this.#counts[a]!);
    return {
      total: this.#total / scale,
      seen: 1 - 2 ** (-Math.max(0, nowMs - this.#sinceMs) / HALF_LIFE_MS),
      floor: this.#count < KEYS_MAX ? 0 : this.#counts[this.#heap[0]!]! / scale,
      keys: order.slice(0, most).map((i) => {
        const size = this.#sizes[i]!;
        const at = i * KEY_KEPT;
        return {
          key: latin1(this.#bytes, at, at + Math.min(size, KEY_KEPT)),
          size,
          count: this.#counts[i]! / scale,
          error: this.#errors[i]! / scale,
        };
      }),
    };
  }

  /** Throws if something is not as it must be. */
  invariants(): void {
    let sum = 0;
    for (let place = 0; place < this.#count; place++) {
      const i = this.#heap[place]!;
      sum += this.#counts[i]!;
      if (this.#places[i] !== place) throw new Error("a key knows its place in the heap");
      const parent = this.#heap[place - 1 >> 1]!;
      if (place > 0 && this.#counts[parent]! > this.#counts[i]!) throw new Error("the heap is in order");
      if (this.#errors[i]! > this.#counts[i]!) throw new Error("an error is no larger than its count");
    }
    if (Math.abs(sum - this.#total) > this.#total * 1e-6) throw new Error("counts add up to the total");
  }

  // ---- time

  #scaleAt(nowMs: number): number {
    const scale = 2 ** ((nowMs - this.#scaledAtMs) / HALF_LIFE_MS);
    if (scale < SCALE_MAX) return scale;
    for (let i = 0; i < this.#count; i++) {
      this.#counts[i]! /= scale;
      this.#errors[i]! /= scale;
    }
    this.#total /= scale;
    this.#scaledAtMs = nowMs;
    return 1;
  }

  // ---- keys

  #find(hash: number, bytes: Uint8Array, start: number, end: number): number {
    for (let i = this.#buckets[hash & BUCKETS - 1]!; i !== NONE; i = this.#nexts[i]!) {
      if (this.#hashes[i] === hash && this.#is(i, bytes, start, end)) return i;
    }
    return NONE;
  }

  #is(i: number, bytes: Uint8Array, start: number, end: number): boolean {
    const size = end - start;
    if (this.#sizes[i] !== size) return false;
    const at = i * KEY_KEPT;
    for (let k = Math.min(size, KEY_KEPT) - 1; k >= 0; k--) {
      if (this.#bytes[at + k] !== bytes[start + k]) return false;
    }
    return true;
  }

  #append(): number {
    const at = this.#count++;
    this.#counts[at] = this.#errors[at] = 0;
    this.#heap[at] = this.#places[at] = at;
    this.#rise(at);
    return at;
  }

  /** The key with the smallest count makes room; its count stays, as what may be wrong. */
  #replace(): number {
    const at = this.#heap[0]!;
    this.#errors[at] = this.#counts[at]!;
    const bucket = this.#hashes[at]! & BUCKETS - 1;
    if (this.#buckets[bucket] === at) this.#buckets[bucket] = this.#nexts[at]!;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#nexts[before] !== at) before = this.#nexts[before]!;
      this.#nexts[before] = this.#nexts[at]!;
    }
    return at;
  }

  #keep(at: number, hash: number, bytes: Uint8Array, start: number, end: number): void {
    this.#hashes[at] = hash;
    this.#sizes[at] = end - start;
    const kept = Math.min(end - start, KEY_KEPT);
    for (let k = 0; k < kept; k++) this.#bytes[at * KEY_KEPT + k] = bytes[start + k]!;
    const bucket = hash & BUCKETS - 1;
    this.#nexts[at] = this.#buckets[bucket]!;
    this.#buckets[bucket] = at;
  }

  // ---- the heap

  #rise(place: number): void {
    const i = this.#heap[place]!;
    for (; place > 0; place = place - 1 >> 1) {
      const parent = this.#heap[place - 1 >> 1]!;
      if (this.#counts[parent]! <= this.#counts[i]!) break;
      this.#put(parent, place);
    }
    this.#put(i, place);
  }

  #sink(place: number): void {
    const i = this.#heap[place]!;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#count) break;
      if (child + 1 < this.#count && this.#countAt(child + 1) < this.#countAt(child)) child++;
      if (this.#countAt(child) >= this.#counts[i]!) break;
      this.#put(this.#heap[child]!, place);
      place = child;
    }
    this.#put(i, place);
  }

  #countAt(place: number): number {
    return this.#counts[this.#heap[place]!]!;
  }

  #put(i: number, place: number): void {
    this.#heap[place] = i;
    this.#places[i] = place;
  }
}

/** FNV-1a, 32 bits. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 ^ end - start;
  if (end - start <= 2 * HASHED_HALF) return hashOn(hash, bytes, start, end);
  hash = hashOn(hash, bytes, start, start + HASHED_HALF);
  return hashOn(hash, bytes, end - HASHED_HALF, end);
}

function hashOn(hash: number, bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

/**
 * What several workers have seen of one pool, as one list. A key that one of them does not list may have been asked for there as often
 * as its floor: that is added to the error on the other side, so that the true count is in count − error … count + floor.
 */
export function mergeHot(lists: readonly HotKeys[], most: number): HotKeys {
  const keys = new Map<string, { key: string; size: number; count: number; error: number }>();
  for (const list of lists) {
    for (const { key, size, count, error } of list.keys) {
      const id = `${size} ${key}`;
      const known = keys.get(id);
      if (known === undefined) keys.set(id, { key, size, count, error });
      else {
        known.count += count;
        known.error += error;
      }
    }
  }
  return {
    total: lists.reduce((sum, { total }) => sum + total, 0),
    seen: Math.max(0, ...lists.map(({ seen }) => seen)),
    floor: lists.reduce((sum, { floor }) => sum + floor, 0),
    keys: [...keys.values()].sort((a, b) => b.count - a.count).slice(0, most),
  };
}
