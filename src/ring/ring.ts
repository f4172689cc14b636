/**
 * The placement of hashes on servers: what every distribution provides, and the table of distributions.
 *
 *   servers + which of them are live ──► DISTRIBUTIONS[name] ──► Ring ──► lookup(hash) ──► server index
 *
 * A ring never changes: when a server is ejected or returns, placement.ts builds another. Placement of keys
 * (hash tag, empty key, pools of one server) is placement.ts's matter too; a ring sees hashes only.
 * Rules after twemproxy 0.5.0; checked against tests/vectors/placement.json.
 */
import { buildKetama } from "./ketama.ts";
import { buildModula } from "./modula.ts";
import { buildRandom } from "./random.ts";

/** What a ring needs to know of a server. Rings get the pool's servers in twemproxy's order: see server_order.ts. */
export interface RingServer {
  /** The string that ketama hashes: the configured name, or host:port (host alone for port 11211), or path + ":". */
  readonly name: string;
  /** Integer ≥ 1. */
  readonly weight: number;
  /** What it owns of a cluster's slots (slots.ts); null or absent in any other pool. */
  readonly slots?: string | null;
}

export interface Ring {
  /**
   * The index (into the servers the ring was built from) that owns a key of this hash; always a live server.
   * @param hash unsigned 32-bit integer
   */
  lookup(hash: number): number;
  /** How many entries of the continuum lead to the server of this index; 0 for one that is not live. */
  pointsOf(index: number): number;
}

/**
 * Builds a ring of the live ones among `servers`.
 *
 * @param servers in twemproxy's order; borrowed
 * @param live one byte a server, 0 = not on the ring; borrowed
 * @param random uniform in [0, 1); kept and called by `random` only
 * @returns null if no server is live
 */
export type BuildRing = (
  servers: readonly RingServer[],
  live: Uint8Array,
  random: () => number,
) => Ring | null;

export type DistributionName = "ketama" | "modula" | "random";

export const DISTRIBUTIONS: Readonly<Record<DistributionName, BuildRing>> = {
  ketama: buildKetama,
  modula: buildModula,
  random: buildRandom,
};
