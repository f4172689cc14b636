/** /api/slowlog: the requests that have taken long, of all pools or of one. */
import type { SlowEntry } from "../stats/slow_log.ts";
import type { Answer, Asked } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { countOf, poolOf } from "./parameters.ts";

const COUNT = 50;
const COUNT_MAX = 1000;
/** What an entry takes to be read, µs, about: it may have some KB of words. */
const ENTRY_US = 20;

interface PoolEntry extends SlowEntry {
  readonly pool: string;
}

/** Newest first. `client_name` is "" for one that has not named itself. */
export async function slowLog(around: Around, { query }: Asked): Promise<Answer> {
  const { clock, turns, config } = around;
  const only = poolOf(config, query.pool!);
  const count = countOf(query.count!, COUNT, COUNT_MAX);
  const entries = await turns.all(newest(around, only, count));
  return await longJson(turns, { at: clock.wallMs(), entries: each(entries, 1, shapeOf) });
}

/** Of the pools as they are when it is called: a reload may come between two steps. @param only null: of all pools */
function* newest(
  { service: { board: { pools: boards } }, config }: Around,
  only: string | null,
  count: number,
): Generator<number, PoolEntry[]> {
  let entries: PoolEntry[] = [];
  for (const [at, { name, slowlogMaxLen }] of config.pools.entries()) {
    if (only !== null && name !== only) continue;
    for (const entry of boards[at]?.slowLog.eachNewest(Math.min(count, slowlogMaxLen)) ?? []) {
      entries.push({ ...entry, pool: name });
      yield ENTRY_US;
    }
    entries = entries.sort((a, b) => b.atMs - a.atMs).slice(0, count);
  }
  return entries;
}

function shapeOf({ id, atMs, pool, server, client, clientName, words, waitedUs, servedUs }: PoolEntry) {
  return {
    id,
    at: atMs,
    pool,
    server,
    client,
    client_name: clientName,
    command: words[0] ?? "",
    arguments: words.slice(1),
    waited_us: waitedUs,
    served_us: servedUs,
  };
}
