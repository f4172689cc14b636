/** The placement of a configured pool, and whether another configuration of it has the same one. */
import type { PoolConfig } from "../config/config.ts";
import { HASHES } from "../hash/hash.ts";
import { Placement } from "../ring/placement.ts";
import { slotOfKey } from "../ring/slots.ts";

/**
 * @param random uniform in [0, 1); asked for each key, with distribution random only
 * @param live one byte a server, 0 = off the ring; absent: all are on it
 */
export function placementOf(pool: PoolConfig, random: () => number, live?: Uint8Array): Placement {
  const { hash, distribution, hashTag, servers } = pool;
  const how = pool.cluster
    ? { hash: slotOfKey, distribution: "slots" as const, hashTag: null }
    : { hash: HASHES[hash], distribution, hashTag };
  return new Placement({ ...how, servers, random, ...(live === undefined ? {} : { live }) });
}

/** No key moves from one server to another, whatever their addresses. @param present the placement of `before` */
export function samePlacement(present: Placement, before: PoolConfig, after: PoolConfig): boolean {
  return before.cluster === after.cluster && before.hash === after.hash &&
    before.distribution === after.distribution &&
    String(before.hashTag) === String(after.hashTag) && present.isOf(after.servers);
}
