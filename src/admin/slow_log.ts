/** /api/slowlog: the requests that have taken long, of all pools or of one. */
import { type Answer, type Asked, json } from "./answer.ts";
import type { Around } from "./around.ts";
import { countOf, poolOf } from "./parameters.ts";

const COUNT = 50;
const COUNT_MAX = 1000;

/** Newest first. `client_name` is "" for one that has not named itself. */
export function slowLog({ clock, service, config }: Around, { query }: Asked): Answer {
  const only = poolOf(config, query.pool!);
  const count = countOf(query.count!, COUNT, COUNT_MAX);
  const entries = config.pools.flatMap(({ name, slowlogMaxLen }, at) => {
    if (only !== null && name !== only) return [];
    const newest = service.board.pools[at]?.slowLog.newest(Math.min(count, slowlogMaxLen)) ?? [];
    return newest.map(({ id, atMs, server, client, clientName, words, waitedUs, servedUs }) => ({
      id,
      at: atMs,
      pool: name,
      server,
      client,
      client_name: clientName,
      command: words[0] ?? "",
      arguments: words.slice(1),
      waited_us: waitedUs,
      served_us: servedUs,
    }));
  });
  entries.sort((a, b) => b.at - a.at);
  return json({ at: clock.wallMs(), entries: entries.slice(0, count) });
}
