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
  const counts = new Float64Array(sizes[0] * sizes[1]);
  const [a, b] = [cutOf(before, space), cutOf(after, space)];
  if (a === null || b === null) return null;
  if (a instanceof Pieces && b instanceof Pieces) {
    overlap(a, b, (i, j, count) => counts[i * sizes[1] + j]! += count);
  } else if (a instanceof Pieces && b instanceof Modula) {
    a.forEach((i, start, end) => eachOwned(b, start, end, (j, count) => counts[i * sizes[1] + j]! += count));
  } else if (a instanceof Modula && b instanceof Pieces) {
    b.forEach((j, start, end) => eachOwned(a, start, end, (i, count) => counts[i * sizes[1] + j]! += count));
  } else if (a instanceof Modula && b instanceof Modula) {
    const period = Math.min(leastCommonMultiple(a.weight, b.weight), space);
    const rounds = Math.floor(space / period);
    const rest = space - rounds * period;
    overlap(
      piecesOf(a, period),
      piecesOf(b, period),
      (i, j, count) => counts[i * sizes[1] + j]! += rounds * count,
    );
    overlap(piecesOf(a, rest), piecesOf(b, rest), (i, j, count) => counts[i * sizes[1] + j]! += count);
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

  forEach(each: (owner: number, start: number, end: number) => void): void {
    for (let k = 0, start = 0; k < this.ends.length; start = this.ends[k++]!) {
      each(this.owners[k]!, start, this.ends[k]!);
    }
  }
}

function cutOf(ring: Ring | null, space: number): Pieces | Modula | null {
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
  let end = 0;
  ring.values.forEach((value, k) => {
    if (value + 1 <= end || end >= space) return;
    end = Math.min(value + 1, space);
    pieces.add(ring.owners[k]!, end);
  });
  if (end < space) pieces.add(ring.owners[0]!, space);
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
function overlap(a: Pieces, b: Pieces, each: (i: number, j: number, count: number) => void): void {
  for (let x = 0, y = 0, start = 0; x < a.ends.length && y < b.ends.length;) {
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
