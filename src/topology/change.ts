/**
 * From one configuration to the next while it runs: which pools and servers stay, come and go, and what has to wait for a
 * restart. Plain data; nobody is told anything here.
 *
 *   Config, Config ──changeOf──► ConfigChange ──► board.arrange ──► every thread prepares, then all commit
 *
 * A pool and a server are who they were by their name.
 */
import type { Config, PoolConfig, ProcessConfig } from "../config/config.ts";
import { atOnce } from "../ring/steps.ts";
import type { Arrangement } from "../stats/board.ts";
import { heirsOf, planSteps, type PoolPlan } from "./plan.ts";
import { percent, planText } from "./plan_text.ts";

/**
 * What a pool cannot change while its clients stay: they have been told of one protocol, and of one database, and no key of a list of
 * servers is where a cluster has it.
 */
const FIXED_POOL_KEYS = [["redis", "redis"], ["redisDb", "redis_db"], ["databases", "databases"], [
  "cluster",
  "cluster",
]] as const;
/** What a listener is made with: counts when the pool listens elsewhere, or at the next start. */
const LISTENER_KEYS = [["backlog", "backlog"], ["tcpKeepalive", "tcpkeepalive"], [
  "reusePort",
  "reuseport",
]] as const;
/** What is read once, at the start. */
const FIXED_PROCESS_KEYS: readonly (readonly [keyof ProcessConfig, string])[] = [
  ["workers", "workers"],
  ["memoryMax", "max_memory"],
  ["zone", "zone"],
];

export interface ConfigChange {
  /** What is in force then: the new file's, but for what counts from the next start on, which stays as it is. */
  readonly after: Config;
  /** See Board.arrange. */
  readonly arrangement: Arrangement;
  /** What moves, a pool each that is not the same; for people. */
  readonly plans: readonly PoolPlan[];
  /** Settings of the new file that count from the next start on: "ringmaster: workers", "pool alpha: backlog". */
  readonly waiting: readonly string[];
  /** Nothing is different that could be. */
  readonly same: boolean;
}

/** Which configuration is in force. */
export interface Stamp {
  /** 0 at the start, one more with each change. */
  readonly epoch: number;
  /** "start", "SIGHUP", …; no line ends. */
  readonly cause: string;
  /** Since when, ms since the epoch of Unix. */
  readonly atMs: number;
}

/** The new configuration cannot be taken while it runs; nothing has changed. */
export class RefusedChange extends Error {
  override readonly name = "RefusedChange";
}

/** What it takes to compare two pools, µs, about. */
const COMPARED_US = 100;
/** Moves that are logged one by one; `ringmaster plan` shows all. */
const MOVES_MAX = 20;

/**
 * A step at a time: whoever carries traffic too takes turns between (`rarely` of service/turns.ts).
 * @throws RefusedChange: with a line for each reason
 */
export function* changeSteps(before: Config, file: Config): Generator<number, ConfigChange> {
  const reasons: string[] = [];
  const waiting = FIXED_PROCESS_KEYS.filter(([field]) => before.process[field] !== file.process[field])
    .map(([, key]) => `ringmaster: ${key}`);
  const arrangement = file.pools.map((pool) => {
    const at = before.pools.findIndex((each) => each.name === pool.name);
    if (at < 0) return { pool: -1, servers: pool.servers.map(() => -1) };
    const present = before.pools[at]!;
    for (const [field, key] of FIXED_POOL_KEYS) {
      if (present[field] === pool[field]) continue;
      reasons.push(
        `pool ${pool.name}: ${key} changes from ${present[field]} to ${
          pool[field]
        }, which its clients would not notice: restart, or give the pool another name`,
      );
    }
    if (!listenerDiffers(present, pool)) {
      const differ = LISTENER_KEYS.filter(([field]) => present[field] !== pool[field]);
      waiting.push(...differ.map(([, key]) => `pool ${pool.name}: ${key}`));
    }
    const places = new Map<string, number>();
    present.servers.forEach(({ name }, i) => places.has(name) || places.set(name, i));
    const servers = pool.servers.map(({ name }) => places.get(name) ?? -1);
    if (!pool.cluster) {
      const renamed = servers.map(() => -1);
      heirsOf(present, pool).forEach((heir, i) => {
        if (heir >= 0 && servers[heir]! < 0) renamed[heir] = i;
      });
      return { pool: at, servers, renamed };
    }
    return { pool: at, servers, names: { before: namesOf(present), after: namesOf(pool) } };
  });
  const after = inForce(before, file);
  yield COMPARED_US;
  let same = sameText(before.process, after.process) && before.pools.length === after.pools.length;
  for (const [i, pool] of after.pools.entries()) {
    same &&= !poolDiffers(before.pools[i]!, pool);
    yield COMPARED_US;
  }
  const { maxMoved } = after.process;
  const all = yield* planSteps(before.pools, after.pools);
  for (const { name, moved, slots } of all) {
    // What a cluster has moved has moved.
    if (slots !== undefined) continue;
    if (maxMoved === null || moved === null || moved <= maxMoved) continue;
    reasons.push(
      `pool ${name}: ${percent(moved)} of all keys would move, max_moved allows ${percent(maxMoved)}` +
        "; to have them moved raise it, which counts at once",
    );
  }
  if (reasons.length > 0) throw new RefusedChange(reasons.join("\n"));
  return {
    after,
    arrangement,
    plans: all.filter((plan) => plan.change !== "same"),
    waiting,
    same,
  };
}

/** `file`, with what `before` has where another value waits for the next start: so that it is named until then, and not when it is taken back. */
function inForce(before: Config, file: Config): Config {
  const pools = file.pools.map((pool) => {
    const present = before.pools.find(({ name }) => name === pool.name);
    return present === undefined || listenerDiffers(present, pool)
      ? pool
      : kept(pool, present, LISTENER_KEYS);
  });
  return { ...file, process: kept(file.process, before.process, FIXED_PROCESS_KEYS), pools };
}

function kept<T extends object>(next: T, present: T, keys: readonly (readonly [keyof T, string])[]): T {
  const values: Partial<T> = {};
  for (const [field] of keys) values[field] = present[field];
  return { ...next, ...values };
}

function namesOf({ servers }: PoolConfig): string[] {
  return servers.map(({ name }) => name);
}

/** As `changeSteps`, at once. @throws RefusedChange */
export function changeOf(before: Config, after: Config): ConfigChange {
  return atOnce(changeSteps(before, after));
}

/** Does it need another listener: elsewhere, or one that speaks TLS in place of one that does not, or the reverse? */
export function listenerDiffers(before: PoolConfig, after: PoolConfig): boolean {
  return before.listenText !== after.listenText || (before.tls === null) !== (after.tls === null);
}

/** Has the pool other settings or servers? */
export function poolDiffers(before: PoolConfig, after: PoolConfig): boolean {
  return !sameText({ ...before, listenLine: 0 }, { ...after, listenLine: 0 });
}

/** Has it another value of one of these? */
export function keysDiffer(
  before: PoolConfig,
  after: PoolConfig,
  keys: readonly (keyof PoolConfig)[],
): boolean {
  return keys.some((key) => !sameText(before[key], after[key]));
}

/** Both are plain data, made by one parser: the same order of keys. */
function sameText(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The change for the log, a line each. */
export function changeLines(change: ConfigChange): string[] {
  const lines = change.plans.flatMap((plan) =>
    plan.slots === undefined
      ? planText(plan, MOVES_MAX).trimEnd().split("\n")
      : [...plan.slots, ...plan.notes].map((each) => `pool ${plan.name}: ${each}`)
  );
  for (const name of change.waiting) lines.push(`${name} changes at the next start`);
  return lines;
}
