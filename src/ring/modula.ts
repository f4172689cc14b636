/**
 * Modula ring: hash modulo the sum of weights.
 *
 *   servers  A(weight 1)  B(3)      C(2)
 *   list     A            B B B     C C        index = list[hash mod 6]
 *
 * The order of servers decides, and it is twemproxy's (server_order.ts), not the configuration's;
 * libmemcached's modula differs wherever these two differ. When a server leaves, the list shortens and most
 * keys move.
 *
 * The list is not made: only its borders are kept, so that a weight of a billion costs nothing.
 * Source: twemproxy 0.5.0, nc_modula.c. Checked against tests/vectors/placement.json.
 */
import type { Ring, RingServer } from "./ring.ts";

/** Ring of the live ones among `servers`; null if there is none. See BuildRing. */
export function buildModula(servers: readonly RingServer[], live: Uint8Array): Modula | null {
  const owners: number[] = [];
  const borders: number[] = [];
  let weight = 0;
  for (let s = 0; s < servers.length; s++) {
    if (live[s] === 0) continue;
    weight += servers[s]!.weight;
    owners.push(s);
    borders.push(weight);
  }
  return owners.length === 0 ? null : new Modula(Int32Array.from(owners), Float64Array.from(borders));
}

export class Modula implements Ring {
  /** Sum of the live servers' weights: the ring repeats itself after so many hashes. */
  readonly weight: number;

  /**
   * @param owners indexes of the live servers, ascending
   * @param borders where each one's entries end in the list: running sums of weights. Doubles, because
   *   sums may pass 2^32 (no vector covers such a pool)
   */
  constructor(readonly owners: Int32Array, readonly borders: Float64Array) {
    this.weight = borders[borders.length - 1]!;
  }

  lookup(hash: number): number {
    const borders = this.borders;
    const entry = hash % this.weight;
    let low = 0;
    let high = borders.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (borders[middle]! <= entry) low = middle + 1;
      else high = middle;
    }
    return this.owners[low]!;
  }

  pointsOf(index: number): number {
    const i = this.owners.indexOf(index);
    if (i < 0) return 0;
    return this.borders[i]! - (i === 0 ? 0 : this.borders[i - 1]!);
  }
}
