/** The placement of a configured pool, and whether another configuration of it has the same one. */
import type { PoolConfig } from "../config/config.ts";
import { HASHES } from "../hash/hash.ts";
import { ketamaSteps } from "../ring/ketama.ts";
import { Placement } from "../ring/placement.ts";
import { slotOfKey } from "../ring/slots.ts";

/**
 * @param random uniform in [0, 1); asked for each key, with distribution random only
 * @param live one byte a server, 0 = off the ring; absent: all are on it
 */
export function placementOf(pool: PoolConfig, random: () => number, live?: Uint8Array): Placement {
  return new Placement({ ...howOf(pool), random, ...(live === undefined ? {} : { live }) });
}

function howOf({ cluster, hash, distribution, hashTag, servers }: PoolConfig) {
  return cluster
    ? { hash: slotOfKey, distribution: "slots" as const, hashTag: null, servers }
    : { hash: HASHES[hash], distribution, hashTag, servers };
}

/** The same in steps (ring/steps.ts): with ketama it takes some ms. @param random absent: for questions about keys */
export function* placementSteps(
  pool: PoolConfig,
  live: Uint8Array = new Uint8Array(pool.servers.length).fill(1),
  random: () => number = () => 0,
): Generator<number, Placement> {
  const ring = !pool.cluster && pool.distribution === "ketama"
    ? yield* ketamaSteps(pool.servers, live)
    : undefined;
  return new Placement({ ...howOf(pool), random, live, ring });
}

/** No key moves from one server to another, whatever their addresses. @param present the placement of `before` */
export function samePlacement(present: Placement, before: PoolConfig, after: PoolConfig): boolean {
  return before.cluster === after.cluster && before.hash === after.hash &&
    before.distribution === after.distribution &&
    String(before.hashTag) === String(after.hashTag) && present.isOf(after.servers);
}
