/** /api/keys/hot and /api/keys/big: the keys that are asked for most now, and those with the largest values that have passed. */
import { shown } from "../bytes/shown.ts";
import type { Config } from "../config/config.ts";
import { BIG_KEPT_MS, BIG_MIN, mergeBig } from "../stats/big_keys.ts";
import { KEY_KEPT, KEYS_MAX, mergeHot, WINDOW_SECONDS } from "../stats/heavy_hitters.ts";
import type { Answer, Asked } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { countOf, poolOf } from "./parameters.ts";

const COUNT = 20;
/** Keys that each worker is asked for, if there are several: one that is hot over all is among the first ones of some worker. */
const OF_A_WORKER = KEYS_MAX;
const COUNT_MAX = 100;
/** What a pool's lists take to become one, µs, about. */
const MERGE_US = 300;

/** Counts are estimates, in requests: see stats/heavy_hitters.ts for what they promise. */
export async function hotKeys(around: Around, { query }: Asked): Promise<Answer> {
  const { clock, turns, service, config } = around;
  const pool = poolOf(config, query.pool!);
  const count = countOf(query.count!, COUNT, COUNT_MAX);
  const most = service.board.workers === 1 ? count : OF_A_WORKER;
  const ask = (pool: string) => service.gather("hotKeys", { pool, most });
  const pools = each(await askPools(config, pool, ask), MERGE_US, ({ name, lists }) => {
    const { total, seen, floor, keys } = mergeHot(lists, count);
    const seconds = WINDOW_SECONDS * seen;
    return {
      name,
      sampled: rounded(total),
      window_seconds: rounded(seconds),
      error: total === 0 ? 0 : floor / total,
      keys: keys.map(({ key, size, count, error }) => ({
        ...keyText(key, size),
        count: rounded(count),
        requests_per_s: seconds === 0 ? 0 : rounded(count / seconds),
        share: total === 0 ? 0 : count / total,
        error: total === 0 ? 0 : error / total,
      })),
    };
  });
  return await longJson(turns, { at: clock.wallMs(), pools });
}

export async function bigKeys(around: Around, { query }: Asked): Promise<Answer> {
  const { clock, turns, service, config } = around;
  const pool = poolOf(config, query.pool!);
  const count = countOf(query.count!, COUNT, COUNT_MAX);
  const ask = (pool: string) => service.gather("bigKeys", { pool, most: COUNT_MAX });
  const pools = each(await askPools(config, pool, ask), MERGE_US, ({ name, lists }) => ({
    name,
    least_bytes: BIG_MIN,
    window_seconds: BIG_KEPT_MS / 1000,
    keys: mergeBig(lists.map(({ keys }) => keys), count).map(({ key, size, bytes, atMs, command, side }) => ({
      ...keyText(key, size),
      bytes,
      at: atMs,
      command,
      side,
    })),
  }));
  return await longJson(turns, { at: clock.wallMs(), pools });
}

/**
 * What workers say of each pool, asked for one by one: of all together they might say more than an answer may have (questions.ts),
 * which would be as good as nothing.
 * @param only null: of all pools
 */
function askPools<L>(
  { pools }: Config,
  only: string | null,
  ask: (pool: string) => Promise<readonly { readonly answer: readonly L[] }[]>,
): Promise<{ readonly name: string; readonly lists: readonly L[] }[]> {
  const names = pools.map(({ name }) => name).filter((name) => only === null || name === only);
  return Promise.all(names.map(async (name) => {
    const answers = await ask(name);
    return { name, lists: answers.flatMap(({ answer }) => answer) };
  }));
}

/** @param key latin1 */
function keyText(key: string, size: number): { key: string; key_bytes: number; cut: boolean } {
  return { key: shown(key), key_bytes: size, cut: size > KEY_KEPT };
}

const rounded = (value: number): number => Math.round(value * 10) / 10;
