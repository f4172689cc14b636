/**
 * How much of the hash space each server owns on two rings, pair by pair: what moves when one follows the other.
 *
 *   before   │   a   │  b  │      a      │           counts[a][a] = 7 + 9, counts[a][c] = 4, counts[b][b] = 2, …
 *   after    │   a   │c │b │  c │    a   │
 *            0                       space
 *
 * Exact: every hash of the space is counted once, none is sampled. Ketama is cut at its points; modula repeats itself
 * after its sum of weights, two of them after their least common multiple, so the space is never walked hash by hash.
 * A cluster's space are its slots, cut where another server owns the next one.
 * That the keys spread evenly over the space is the hash's business, not looked at here.
 * Checked against lookups one by one in tests/property/plan_test.ts.
 */
import { Ketama } from "./ketama.ts";
import { Modula } from "./modula.ts";
import type { Ring } from "./ring.ts";
import { SlotRing } from "./slots.ts";
import { atOnce } from "./steps.ts";

/** Pieces that are looked at in a step, and what that takes, µs; the same where each is compared with all servers. */
const PIECES_STEP = 512;
const PIECES_US = 10;
const COMPARED_STEP = 8;
const COMPARED_US = 20;

/**
 * @param before null: one server (index 0) owns everything, which is what a pool of one server is
 * @param sizes how many servers each side has
 * @param space how many hashes there are, 1 to 2^32
 * @returns hashes by owner, at `before * sizes[1] + after`; whole numbers whose sum is `space`. null if a ring has no
 *   owner of its own for a hash (random).
 */
export function sharedHashes(
  before: Ring | null,
  after: Ring | null,
  sizes: readonly [number, number],
  space: number,
): Float64Array | null {
  return atOnce(sharedSteps(before, after, sizes, space));
}

/** As `sharedHashes`. */
export function* sharedSteps(
  before: Ring | null,
  after: Ring | null,
  sizes: readonly [number, number],
  space: number,
): Generator<number, Float64Array | null> {
  const counts = new Float64Array(sizes[0] * sizes[1]);
  const a = yield* cutOf(before, space);
  const b = yield* cutOf(after, space);
  if (a === null || b === null) return null;
  const count = (i: number, j: number, hashes: number) => counts[i * sizes[1] + j]! += hashes;
  if (a instanceof Pieces && b instanceof Pieces) yield* overlap(a, b, count);
  else if (a instanceof Pieces && b instanceof Modula) {
    yield* a.compare((i, start, end) => eachOwned(b, start, end, (j, hashes) => count(i, j, hashes)));
  } else if (a instanceof Modula && b instanceof Pieces) {
    yield* b.compare((j, start, end) => eachOwned(a, start, end, (i, hashes) => count(i, j, hashes)));
  } else if (a instanceof Modula && b instanceof Modula) {
    const period = Math.min(leastCommonMultiple(a.weight, b.weight), space);
    const rounds = Math.floor(space / period);
    const rest = space - rounds * period;
    yield* overlap(piecesOf(a, period), piecesOf(b, period), (i, j, hashes) => count(i, j, rounds * hashes));
    yield* overlap(piecesOf(a, rest), piecesOf(b, rest), count);
  }
  return counts;
}

/** The space in pieces of one owner each, in order: the k-th is [ends[k - 1], ends[k]). */
class Pieces {
  readonly ends: number[] = [];
  readonly owners: number[] = [];

  add(owner: number, end: number): void {
    this.ends.push(end);
    this.owners.push(owner);
  }

  *compare(each: (owner: number, start: number, end: number) => void): Generator<number, void> {
    for (let k = 0, start = 0; k < this.ends.length; start = this.ends[k++]!) {
      each(this.owners[k]!, start, this.ends[k]!);
      if (k % COMPARED_STEP === 0) yield COMPARED_US;
    }
  }
}

function* cutOf(ring: Ring | null, space: number): Generator<number, Pieces | Modula | null> {
  if (ring instanceof Modula) return ring;
  const pieces = new Pieces();
  if (ring === null) {
    pieces.add(0, space);
    return pieces;
  }
  if (ring instanceof SlotRing) {
    const { owners } = ring;
    for (let slot = 1; slot < owners.length; slot++) {
      if (owners[slot] !== owners[slot - 1]) pieces.add(owners[slot - 1]!, slot);
    }
    pieces.add(owners.at(-1)!, space);
    return pieces;
  }
  if (!(ring instanceof Ketama)) return null;
  // A point owns what lies above the point before it, up to its own value; of equal ones the first is found.
  const { values, owners } = ring;
  let end = 0;
  for (let k = 0; k < values.length && end < space; k++) {
    const next = Math.min(values[k]! + 1, space);
    if (next > end) pieces.add(owners[k]!, end = next);
    if (k % PIECES_STEP === 0) yield PIECES_US;
  }
  if (end < space) pieces.add(owners[0]!, space);
  return pieces;
}

/** The pieces of [0, end). */
function piecesOf(ring: Modula, end: number): Pieces {
  const pieces = new Pieces();
  for (let round = 0; round < end; round += ring.weight) {
    for (let k = 0; k < ring.owners.length; k++) {
      const border = round + ring.borders[k]!;
      pieces.add(ring.owners[k]!, Math.min(border, end));
      if (border >= end) return pieces;
    }
  }
  return pieces;
}

/** Both cover the same space. */
function* overlap(
  a: Pieces,
  b: Pieces,
  each: (i: number, j: number, count: number) => void,
): Generator<number, void> {
  for (let x = 0, y = 0, start = 0, k = 0; x < a.ends.length && y < b.ends.length; k++) {
    if (k % PIECES_STEP === 0) yield PIECES_US;
    const end = Math.min(a.ends[x]!, b.ends[y]!);
    each(a.owners[x]!, b.owners[y]!, end - start);
    start = end;
    if (a.ends[x] === end) x++;
    if (b.ends[y] === end) y++;
  }
}

/** How many hashes of [start, end) each server of the ring owns. */
function eachOwned(ring: Modula, start: number, end: number, each: (j: number, count: number) => void): void {
  for (let k = 0, from = 0; k < ring.owners.length; from = ring.borders[k++]!) {
    const count = below(end, from, ring.borders[k]!, ring.weight) -
      below(start, from, ring.borders[k]!, ring.weight);
    if (count > 0) each(ring.owners[k]!, count);
  }
}

/** How many h < limit have from ≤ h mod weight < to. */
function below(limit: number, from: number, to: number, weight: number): number {
  const rest = limit % weight;
  return (limit - rest) / weight * (to - from) + Math.min(Math.max(rest - from, 0), to - from);
}

/** Past 2^53 only roughly, which is all that is asked of it there: that it is more than any space. */
function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return a / x * b;
}
