/**
 * What a change of configuration moves: for each pool, which share of its keys goes from which server to which.
 *
 *   two PoolConfigs ──► rings ──► sharedHashes (ring/shares.ts) ──► PoolPlan ──► planText (plan_text.ts)
 *                        └─────► keys counted one by one ─────────────▲
 *
 * A server is who it was if its name is the same (its place on the ring follows the name) or, for a name that is new, if
 * its address is that of one whose name is gone: then it was renamed, and a key that goes from the old name to the new
 * one has not moved. `ringmaster plan` prints this, a reload logs it.
 */
import type { PoolConfig } from "../config/config.ts";
import { hashSpace } from "../hash/hash.ts";
import type { Placement } from "../ring/placement.ts";
import { slotMoves } from "./slot_moves.ts";
import { placementSteps, samePlacement } from "./placement.ts";
import type { Ring } from "../ring/ring.ts";
import { sharedSteps } from "../ring/shares.ts";
import { SLOTS } from "../ring/slots.ts";
import { atOnce } from "../ring/steps.ts";

/** A server of the pool, before, after or both; shares are parts of 1. */
export interface PlanServer {
  /** Its name after the change, or before it if it leaves. */
  readonly name: string;
  /** Its name before, if it is renamed; else the same name. */
  readonly formerly: string;
  readonly address: string;
  /** null: it is not in the pool then. */
  readonly before: number | null;
  readonly after: number | null;
}

export interface PlanMove {
  readonly from: string;
  readonly to: string;
  /** Part of all keys of the pool, above 0. */
  readonly share: number;
}

export interface PoolPlan {
  readonly name: string;
  readonly change: "added" | "removed" | "changed" | "same";
  /**
   * What the shares are parts of: the hash space (exact), the keys given (exact for these), or nothing: then `moved` and
   * `moves` cannot be told, `why` says so, and shares are only told of the side whose ring is known.
   */
  readonly basis: "ring" | "keys" | "unknown";
  readonly why: string;
  /** How many keys were counted; 0 unless basis is "keys". */
  readonly keys: number;
  /** Part of 1, of keys whose server is another one; null if unknown, or the pool is added or removed. */
  readonly moved: number | null;
  readonly servers: readonly PlanServer[];
  /** The largest first. */
  readonly moves: readonly PlanMove[];
  /** Of a cluster before and after: which slots move, the most first; absent for any other pool. */
  readonly slots?: readonly string[];
  /** What else a reader should know before the change. */
  readonly notes: readonly string[];
}

/** What it takes to look at what one server gives to all others, µs, about. */
const ROW_US = 1;

/** One pool before and after, and who is who. Counts keys one by one if asked to. */
export class PoolChange {
  readonly name: string;
  readonly #before: PoolConfig | null;
  readonly #after: PoolConfig | null;
  readonly #old: Placement | null;
  readonly #new: Placement | null;
  /** Of each server before: its index after, or -1. */
  readonly #heirs: readonly number[];
  readonly #counts: Float64Array;
  #keys = 0;

  /** @param before null: the pool is added. @param after null: it is removed. Not both. */
  constructor(before: PoolConfig | null, after: PoolConfig | null) {
    this.name = (after ?? before)!.name;
    this.#before = before;
    this.#after = after;
    this.#old = before === null ? null : placed(before);
    this.#new = after === null ? null : placed(after, before);
    this.#heirs = before === null || after === null ? [] : heirsOf(before, after);
    this.#counts = new Float64Array((before?.servers.length ?? 0) * (after?.servers.length ?? 0));
  }

  /** Counts the key `bytes[start, end)`; borrowed. Of no effect where keys have no server of their own. */
  count(bytes: Uint8Array, start: number, end: number): void {
    this.#keys++;
    if (this.#old === null || this.#new === null || isDrawn(this.#before!) || isDrawn(this.#after!)) return;
    const [i, j] = [this.#old.serverOf(bytes, start, end), this.#new.serverOf(bytes, start, end)];
    this.#counts[i * this.#after!.servers.length + j]!++;
  }

  /** @param byKeys the shares are those of the keys counted, not of the ring */
  plan(byKeys: boolean): PoolPlan {
    return atOnce(this.steps(byKeys));
  }

  /** As `plan`. */
  *steps(byKeys: boolean): Generator<number, PoolPlan> {
    const [before, after] = [this.#before, this.#after];
    const base = { name: this.name, keys: 0, moved: null, moves: [], notes: [], why: "" };
    if (before === null || after === null) {
      const shares = yield* shareSteps((after ?? before)!);
      const servers = (after ?? before)!.servers.map((server, i) => ({
        name: server.name,
        formerly: server.name,
        address: server.addressText,
        before: after === null ? shares[i]! : null,
        after: after === null ? null : shares[i]!,
      }));
      return { ...base, change: before === null ? "added" : "removed", basis: "ring", servers };
    }
    // A source of one pool's servers changes that pool alone.
    if (before === after) return { ...base, change: "same", basis: "ring", moved: 0, servers: [] };
    const notes = notesOf(before, after, this.#heirs);
    const drawn = isDrawn(before) || isDrawn(after);
    const differs = drawn ? null : differenceOf(before, after);
    if (drawn || (!byKeys && differs !== null)) {
      const why = drawn ? "with distribution random no key has a server of its own" : differs!;
      const servers = this.#servers(yield* shareSteps(before), yield* shareSteps(after));
      return { ...base, change: "changed", basis: "unknown", why, servers, notes };
    }
    const counts = byKeys ? this.#counts : yield* this.#overRing(before, after);
    const total = byKeys ? Math.max(this.#keys, 1) : spaceOf(before, after);
    const width = after.servers.length;
    const sums = { before: new Float64Array(before.servers.length), after: new Float64Array(width) };
    const moves: PlanMove[] = [];
    let moved = 0;
    for (let i = 0; i < before.servers.length; i++) {
      const heir = this.#heirs[i]!;
      for (let j = 0; j < width; j++) {
        const count = counts[i * width + j]!;
        if (count === 0) continue;
        sums.before[i]! += count / total;
        sums.after[j]! += count / total;
        if (heir === j) continue;
        moved += count;
        moves.push({ from: before.servers[i]!.name, to: after.servers[j]!.name, share: count / total });
      }
      yield ROW_US;
    }
    moves.sort((a, b) => b.share - a.share);
    const servers = this.#servers(sums.before, sums.after);
    const slots = before.cluster && after.cluster ? slotMoves(before.servers, after.servers) : null;
    const same = moved === 0 && notes.length === 0 && before.servers.length === width && !slots?.length;
    return {
      ...base,
      change: same ? "same" : "changed",
      basis: byKeys ? "keys" : "ring",
      keys: byKeys ? this.#keys : 0,
      moved: moved / total,
      servers,
      moves,
      ...(slots === null ? {} : { slots }),
      notes,
    };
  }

  *#overRing(before: PoolConfig, after: PoolConfig): Generator<number, Float64Array> {
    const sizes = [before.servers.length, after.servers.length] as const;
    const [old, next] = [ringOf(before, this.#old!), ringOf(after, this.#new!)];
    return (yield* sharedSteps(old, next, sizes, spaceOf(before, after)))!;
  }

  /** Rows of all servers: those that stay or come, in their order after, then those that leave. */
  #servers(sharesBefore: ArrayLike<number>, sharesAfter: ArrayLike<number>): PlanServer[] {
    const after = this.#after!.servers.map((server, j) => {
      const i = this.#heirs.indexOf(j);
      return {
        name: server.name,
        formerly: this.#before!.servers[i]?.name ?? server.name,
        address: server.addressText,
        before: i < 0 ? null : sharesBefore[i]!,
        after: sharesAfter[j]!,
      };
    });
    const left = this.#before!.servers.flatMap((server, i) =>
      this.#heirs[i]! >= 0 ? [] : [{
        name: server.name,
        formerly: server.name,
        address: server.addressText,
        before: sharesBefore[i]!,
        after: null,
      }]
    );
    return [...after, ...left];
  }
}

/** Pools by name: those of `after` in their order, then those that are removed. */
export function changesOf(before: readonly PoolConfig[], after: readonly PoolConfig[]): PoolChange[] {
  return pairsOf(before, after).map((pair) => new PoolChange(...pair));
}

type Pair = readonly [before: PoolConfig | null, after: PoolConfig | null];

function pairsOf(before: readonly PoolConfig[], after: readonly PoolConfig[]): Pair[] {
  const present = new Map(before.map((pool) => [pool.name, pool]));
  const stay = new Set(after.map((pool) => pool.name));
  return [
    ...after.map((pool): Pair => [present.get(pool.name) ?? null, pool]),
    ...before.filter((pool) => !stay.has(pool.name)).map((pool): Pair => [pool, null]),
  ];
}

/** The plans of `changesOf` over rings. */
export function* planSteps(
  before: readonly PoolConfig[],
  after: readonly PoolConfig[],
): Generator<number, PoolPlan[]> {
  const plans: PoolPlan[] = [];
  for (const [old, next] of pairsOf(before, after)) {
    if (old !== null) yield* placedSteps(old, null);
    if (next !== null) yield* placedSteps(next, old);
    const change = new PoolChange(old, next);
    yield ROW_US * (next ?? old)!.servers.length;
    plans.push(yield* change.steps(false));
  }
  return plans;
}

/** Of configurations that are still in use: what was new at a change is old at the next. */
const placements = new WeakMap<PoolConfig, Placement>();

/** @param like its ring will do if it is the same */
function placed(pool: PoolConfig, like: PoolConfig | null = null): Placement {
  return atOnce(placedSteps(pool, like));
}

function* placedSteps(pool: PoolConfig, like: PoolConfig | null): Generator<number, Placement> {
  let placement = placements.get(pool);
  if (placement !== undefined) return placement;
  const present = like === null ? undefined : placements.get(like);
  const same = present !== undefined && samePlacement(present, like!, pool);
  placement = same ? present : yield* placementSteps(pool);
  placements.set(pool, placement);
  return placement;
}

const isDrawn = (pool: PoolConfig): boolean => pool.distribution === "random" && pool.servers.length > 1;

/** Of a side with several servers: a pool of one server hashes nothing. */
const spaceOf = (before: PoolConfig, after: PoolConfig): number => {
  const { cluster, hash } = before.servers.length > 1 ? before : after;
  return cluster ? SLOTS : hashSpace(hash);
};

/** Why the two rings cannot be laid over each other; null if they can. */
function differenceOf(before: PoolConfig, after: PoolConfig): string | null {
  if (before.servers.length === 1 || after.servers.length === 1) return null;
  if (before.cluster !== after.cluster) {
    return `keys are placed by ${after.cluster ? "the cluster's slots" : "hash"} from now on`;
  }
  if (after.cluster) return null;
  if (before.hash !== after.hash) {
    return `hash changes from ${before.hash} to ${after.hash}, so that practically every key is placed anew`;
  }
  if (tagText(before) === tagText(after)) return null;
  return `hash_tag changes from ${tagText(before)} to ${tagText(after)}; --keys FILE counts real keys`;
}

function tagText(pool: PoolConfig): string {
  return pool.hashTag === null ? "none" : JSON.stringify(String.fromCharCode(...pool.hashTag));
}

/** null for a pool of one server, which hashes nothing. */
const ringOf = (pool: PoolConfig, placement: Placement): Ring | null =>
  pool.servers.length === 1 ? null : placement.ring;

/**
 * Each server's part of the hash space.
 * @param live one byte a server, 0 = off the ring; absent: all are on it
 */
export function sharesOf(pool: PoolConfig, live?: Uint8Array): Float64Array {
  return atOnce(shareSteps(pool, live));
}

/** The same in steps (ring/steps.ts). */
export function* shareSteps(pool: PoolConfig, live?: Uint8Array): Generator<number, Float64Array> {
  const size = pool.servers.length;
  const off = live?.includes(0) ?? false;
  const left = off ? live!.reduce((sum, mark) => sum + (mark === 0 ? 0 : 1), 0) : size;
  if (left === 0) return new Float64Array(size);
  if (isDrawn(pool)) return Float64Array.from(pool.servers, (_, i) => off && live![i] === 0 ? 0 : 1 / left);
  const space = spaceOf(pool, pool);
  const placement = off ? yield* placementSteps(pool, live!) : yield* placedSteps(pool, null);
  return scaled((yield* sharedSteps(ringOf(pool, placement), null, [size, 1], space))!, 1 / space);
}

const scaled = (counts: Float64Array, by: number): Float64Array => counts.map((count) => count * by);

/** Of each server before, its place after: known by its name, or by its address if it is renamed; -1: it is gone. */
export function heirsOf(before: PoolConfig, after: PoolConfig): number[] {
  const present = new Set(before.servers.map(({ name }) => name));
  const [byName, byAddress] = [new Map<string, number>(), new Map<string, number>()];
  after.servers.forEach(({ name, addressText }, i) => {
    if (!byName.has(name)) byName.set(name, i);
    // Only one whose name is new may be somebody else renamed.
    if (!present.has(name) && !byAddress.has(addressText)) byAddress.set(addressText, i);
  });
  return before.servers.map(({ name, addressText }) => byName.get(name) ?? byAddress.get(addressText) ?? -1);
}

function notesOf(before: PoolConfig, after: PoolConfig, heirs: readonly number[]): string[] {
  const notes: string[] = [];
  if (before.cluster && after.cluster) {
    for (const { name, replicas } of after.servers) {
      const present = before.servers.find((server) => server.name === name);
      const texts = replicas.map(({ text }) => text).join(", ");
      if (present === undefined || present.replicas.map(({ text }) => text).join(", ") === texts) continue;
      notes.push(`${name} has ${replicas.length === 0 ? "no replicas" : `the replicas ${texts}`}`);
    }
  }
  before.servers.forEach((server, i) => {
    const heir = after.servers[heirs[i]!];
    if (heir === undefined) return;
    if (heir.name !== server.name) {
      notes.push(`${server.name} is renamed ${heir.name}; its place on the ring is another one`);
    }
    if (heir.addressText !== server.addressText) {
      notes.push(
        `${heir.name} moves from ${server.addressText} to ${heir.addressText}; its keys stay with the name, their values must be there`,
      );
    }
  });
  if (before.redis !== after.redis) {
    notes.push(`the protocol changes to ${after.redis ? "Redis" : "memcached"}`);
  }
  if (before.redisDb !== after.redisDb) {
    notes.push(
      `redis_db changes from ${before.redisDb} to ${after.redisDb}: no key of the old database is seen`,
    );
  }
  return notes;
}
