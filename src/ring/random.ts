/**
 * Random ring: every lookup draws one of the live servers. Neither hash nor weight matters.
 *
 * For pools where any server will do, such as proxies behind the proxy. A request of many keys draws for each
 * key, as in twemproxy. Source: twemproxy 0.5.0, nc_random.c, with libc's random() replaced by the generator
 * given.
 */
import type { Ring, RingServer } from "./ring.ts";

/** Ring of the live ones among `servers`; null if there is none. See BuildRing. */
export function buildRandom(
  servers: readonly RingServer[],
  live: Uint8Array,
  random: () => number,
): Random | null {
  const owners: number[] = [];
  for (let s = 0; s < servers.length; s++) if (live[s] !== 0) owners.push(s);
  return owners.length === 0 ? null : new Random(Int32Array.from(owners), random);
}

export class Random implements Ring {
  /**
   * @param owners indexes of the live servers
   * @param random uniform in [0, 1); called once a lookup
   */
  constructor(private readonly owners: Int32Array, private readonly random: () => number) {}

  lookup(_hash: number): number {
    return this.owners[Math.floor(this.random() * this.owners.length)]!;
  }

  pointsOf(index: number): number {
    return this.owners.includes(index) ? 1 : 0;
  }
}
