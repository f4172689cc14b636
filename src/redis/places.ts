/** Where the keys of one request are: the server of all of them, if there is one. */
import type { Args } from "../protocol/redis/args.ts";
import type { KeyList } from "../protocol/redis/keys.ts";
import type { Pool } from "../proxy/pool.ts";

/** In place of a server's index: no server is live that could have the keys. */
export const NOWHERE = -1;
/** The keys are on several servers, in a cluster in several slots. */
export const ACROSS = -2;
/** There is no key. */
export const KEYLESS = -3;
/** No key has been placed. */
export const NONE_YET = -3;

/**
 * Where the keys [from, to) are: their server's index (NOWHERE = none live), in a cluster their slot; or ACROSS.
 * @param before the place of the keys before `from`; NONE_YET if there are none
 */
export function placeSome(
  pool: Pool,
  bytes: Uint8Array,
  args: Args,
  keys: KeyList,
  from: number,
  to: number,
  before: number,
): number {
  const { placement, cluster } = pool;
  for (let i = from; i < to; i++) {
    const key = keys.at[i]!;
    const owner = cluster
      ? placement.slotOf(bytes, args.starts[key]!, args.ends[key]!)
      : placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
    if (before !== NONE_YET && owner !== before) return ACROSS;
    before = owner;
  }
  return before;
}

/** How many of the keys have to be placed: with distribution "random" they have no server of their own, and the first draw decides. */
export function placedOf(pool: Pool, keys: KeyList): number {
  return pool.config.distribution === "random" ? Math.min(1, keys.count) : keys.count;
}

/** The server that keys have which are all at `place` (see `placeSome`). */
export function serverAt({ cluster, placement }: Pool, place: number): number {
  return cluster && place >= 0 ? placement.serverOfSlot(place) : place;
}

/** The server of all keys that `findKeys` has found, at least one: its index (NOWHERE = none live), or ACROSS: in a cluster, of one slot. */
export function ownerOfKeys(pool: Pool, bytes: Uint8Array, args: Args, keys: KeyList): number {
  return serverAt(pool, placeSome(pool, bytes, args, keys, 0, placedOf(pool, keys), NONE_YET));
}
