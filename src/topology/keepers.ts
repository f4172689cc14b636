/**
 * Which keeper looks after a pool's servers: a row for each way of failover.
 *
 * To add one: a file with a Keeper, and a row in `KEEPERS`.
 */
import type { Failover, PoolConfig } from "../config/config.ts";
import type { Log } from "../net/log.ts";
import type { Clock, Net } from "../net/net.ts";
import type { Zone } from "../net/zones.ts";
import type { EventKind } from "./events.ts";
import { PromoteKeeper } from "./promote.ts";
import { dialLinks, ReplicaKeeper } from "./replicas.ts";
import { SentinelKeeper } from "./sentinel.ts";
import type { Keeper, ServerState } from "./state.ts";

/** All that keepers look at of a pool beside its name: a reload that changes nothing of it leaves them alone. */
export const KEPT_KEYS = [
  "failover",
  "cluster",
  "servers",
  "sentinels",
  "sentinelAuth",
  "redisAuth",
  "serverAuth",
  "serverTls",
  "readFrom",
  "maxLag",
  "promoter",
] as const;

export type KeptPool = Pick<PoolConfig, "name" | typeof KEPT_KEYS[number]>;

/** What a keeper is made of. All of it is the main thread's. */
export interface KeeperAround {
  readonly pool: KeptPool;
  readonly net: Net;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Where addresses stand, by the file; absent: it does not say. */
  readonly zones?: readonly Zone[];
  /** What a keeper of this pool before it has said last, by server: terms go on from there. */
  readonly known: ReadonlyMap<string, ServerState>;
  /** What that one has left (Keeper.memory), by server; absent: nothing. */
  readonly memory?: ReadonlyMap<string, unknown>;
  /** For what the states do not tell: promoted, followed, source failed. @param server "" = none in particular */
  event(kind: EventKind, server: string, cause: string): void;
  /** The primary that has been said of this server may be written to for so long from now on, ms, and no longer. */
  grant?(server: string, ms: number): void;
}

export type MakeKeeper = (around: KeeperAround) => Keeper;

const KEEPERS: Readonly<Record<Failover, MakeKeeper | null>> = {
  none: null,
  sentinel: (around) => new SentinelKeeper(around),
  promote: (around) => new PromoteKeeper(around),
};

/** The keeper of a pool; null if its servers are where the configuration says, and nobody reads from replicas. */
export function keeperOf(around: KeeperAround): Keeper | null {
  const { failover, readFrom } = around.pool;
  const keeper = KEEPERS[failover]?.(around) ?? null;
  return readFrom === "primary" ? keeper : new ReplicaKeeper(around, keeper, dialLinks(around));
}
