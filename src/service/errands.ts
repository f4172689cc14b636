/**
 * Work that takes too long for a thread that carries traffic, done on one of its own that ends with it.
 *
 *   main: runErrand(kind, argument) ──► a thread: this program again (`isErrand` in main.ts) ──► ERRANDS[kind] ──► text, or why not
 *
 * A thread costs some tens of ms of another core. It is ended when it takes longer than it may, whatever it is doing.
 */
import type { Config, PoolConfig } from "../config/config.ts";
import { ConfigError, parseConfig } from "../config/parse.ts";
import type { Clock } from "../net/net.ts";
import type { Order } from "./errand_order.ts";
import { type Starter, startThread } from "../runtime/threads.ts";
import { changeOf, RefusedChange } from "../topology/change.ts";
import { changesOf } from "../topology/plan.ts";

/** It could not be done, and this is why, for people. */
export class ErrandError extends Error {
  override readonly name = "ErrandError";
}

export interface PlanErrand {
  /** In force, with the servers of its sources. */
  readonly before: Config;
  /** The text of another configuration. */
  readonly text: string;
  /** The configuration's file: what it names relative to itself is looked for there. */
  readonly file: string;
}

/**
 * What moves, as JSON: {pools, waiting, refused}. Neither file nor source that the new text names is asked: whoever gives it may not be
 * allowed to.
 */
function plan({ before, text, file }: PlanErrand): string {
  const read = parseConfig(text, file, false);
  const after = { ...read, pools: read.pools.map((pool) => filled(pool, before)) };
  const pools = changesOf(before.pools, after.pools).map((change) => change.plan(false));
  let refused: string | null = null;
  let waiting: readonly string[] = [];
  try {
    ({ waiting } = changeOf(before, after));
  } catch (error) {
    if (!(error instanceof RefusedChange)) throw error;
    refused = error.message;
  }
  return JSON.stringify({ pools, waiting, refused });
}

/** With the servers that its source has said, if that is asked already. */
function filled(pool: PoolConfig, before: Config): PoolConfig {
  const { serversFrom } = pool;
  if (serversFrom === null) return pool;
  const same = before.pools.find((each) => JSON.stringify(each.serversFrom) === JSON.stringify(serversFrom));
  if (same !== undefined) return { ...pool, servers: same.servers };
  throw new ErrandError(
    `pool ${pool.name}: its servers come from a source that is not asked yet; \`ringmaster plan OLD NEW\` asks it`,
  );
}

const ERRANDS = { plan };

export type ErrandKind = keyof typeof ERRANDS;
export type ErrandArgument<K extends ErrandKind> = Parameters<typeof ERRANDS[K]>[0];

interface Outcome {
  readonly ok: boolean;
  readonly text: string;
}

/**
 * Does it on a thread of its own. Rejects with an ErrandError, also when it takes longer than `maxMs`.
 * @param program URL of the program's own module
 */
export function runErrand<K extends ErrandKind>(
  program: string,
  clock: Clock,
  maxMs: number,
  errand: K,
  argument: ErrandArgument<K>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const order: Order = { errand, argument };
    let settled = false;
    // First, then the thread: on Deno 2.9.6 `terminate` says that it has ended before it returns.
    const settle = ({ ok, text }: Outcome) => {
      if (settled) return;
      settled = true;
      clock.clearTimer(timer);
      if (ok) resolve(text);
      else reject(new ErrandError(text));
      thread.end();
    };
    const timer = clock.setTimer(maxMs, () => settle({ ok: false, text: "it takes too long" }));
    const thread = startThread(program, order, {
      message: (outcome) => settle(outcome as Outcome),
      failed: () => settle(FAILED),
      ended: () => settle(FAILED),
    });
  });
}

const FAILED: Outcome = { ok: false, text: "it could not be done" };

/** Does what this thread was started for. @param order `isErrand` */
export function doErrand(starter: Starter, order: Order): void {
  // Who listens does not end, and whoever gets the answer ends us: on Deno 2.9.6 it might be lost with the thread.
  starter.listen(() => {});
  starter.post(outcomeOf(order));
}

function outcomeOf({ errand, argument }: Order): Outcome {
  try {
    return { ok: true, text: ERRANDS[errand as ErrandKind](argument as PlanErrand) };
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ErrandError) {
      return { ok: false, text: error.message };
    }
    throw error;
  }
}
