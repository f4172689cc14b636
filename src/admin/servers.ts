/**
 * /api/servers/NAME/eject, drain and restore: an operator takes a server off the ring, and brings it back.
 *
 *   POST ──► the board: held (stats/board.ts) ──► all workers look ──► Ejection.lookAtBoard: its keys go to the others
 *
 * What is held is held for workers that come later too, and through a reload that keeps the server, or renames it, and an upgrade
 * (cli/held.ts); not through a restart.
 */
import type { PoolConfig } from "../config/config.ts";
import { NOTICE } from "../net/log.ts";
import { DRAINED, EJECTED, FREE, type Held, type PoolBoard, type ServerCells } from "../stats/board.ts";
import { IN_QUEUE, OUT_QUEUE, SERVER_CONNECTIONS } from "../stats/metrics.ts";
import { type Answer, type Asked, json, Refused } from "./answer.ts";
import type { Around } from "./around.ts";
import { conditionOf } from "./pools.ts";

export const eject = (around: Around, asked: Asked): Promise<Answer> => hold(around, asked, EJECTED);
export const drain = (around: Around, asked: Asked): Promise<Answer> => hold(around, asked, DRAINED);
export const restore = (around: Around, asked: Asked): Promise<Answer> => hold(around, asked, FREE);

/** What the log and the events say of each. */
const WORDS = {
  [FREE]: { kind: "returned", log: "add" },
  [EJECTED]: { kind: "ejected", log: "delete" },
  [DRAINED]: { kind: "drained", log: "drain" },
} as const;

async function hold(around: Around, asked: Asked, held: Held): Promise<Answer> {
  const { clock, service, director, log } = around;
  const { pool, board, cells, name } = find(around, asked);
  if (pool.cluster) throw new Refused(409, `pool ${pool.name}: the cluster itself says who has which slots`);
  const others = board.servers.filter((each) => each !== cells && !each.isOff).length;
  if (held !== FREE && others === 0 && asked.query.force !== "yes") {
    throw new Refused(
      409,
      `${name} is the last server of pool ${pool.name} that is on the ring; force takes it off too`,
    );
  }
  if (held === FREE ? cells.isOff : cells.held !== held) {
    const { kind, log: word } = WORDS[held];
    cells.hold(held);
    service.serversChanged(board.id);
    // The events log what nobody else does.
    if (held !== DRAINED) {
      log.write(NOTICE, `update pool '${pool.name}' to ${word} server '${name}': by hand`);
    }
    director.events.record(kind, pool.name, name, "by hand");
  }
  // Who answers has looked: it had been told before it was asked.
  const workers = await service.gather("servers", pool.name);
  const { pools } = await service.stats();
  const values = pools.find((each) => each.name === pool.name)?.servers.find((each) => each.name === name)
    ?.values;
  return json({
    at: clock.wallMs(),
    pool: pool.name,
    server: name,
    state: conditionOf(cells) ?? "live",
    workers: workers.length,
    in_flight: (values?.[IN_QUEUE] ?? 0) + (values?.[OUT_QUEUE] ?? 0),
    connections: values?.[SERVER_CONNECTIONS] ?? 0,
  });
}

interface Found {
  readonly pool: PoolConfig;
  readonly board: PoolBoard;
  readonly cells: ServerCells;
  readonly name: string;
}

function find({ service }: Around, { names, query }: Asked): Found {
  const name = names["NAME"]!;
  const { pools } = service.config;
  if (query.pool !== "" && !pools.some((pool) => pool.name === query.pool)) {
    throw new Refused(
      404,
      `pool: found ${quoted(query.pool!)}, expected one of ${pools.map((pool) => pool.name).join(", ")}`,
    );
  }
  const found: Found[] = [];
  for (const [at, pool] of pools.entries()) {
    if (query.pool !== "" && pool.name !== query.pool) continue;
    const board = service.board.pools[at]!;
    const place = pool.servers.findIndex((server) => server.name === name);
    if (place >= 0) found.push({ pool, board, cells: board.servers[place]!, name });
  }
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    const several = found.map(({ pool }) => pool.name).join(", ");
    throw new Refused(
      400,
      `server ${quoted(name)} is in several pools: expected pool to be one of ${several}`,
    );
  }
  const known = pools.flatMap(({ name, servers }) =>
    query.pool === "" || name === query.pool ? servers.map((server) => server.name) : []
  );
  const more = known.length > NAMES_SHOWN ? ", …" : "";
  throw new Refused(
    404,
    `found no server ${quoted(name)}, expected one of ${known.slice(0, NAMES_SHOWN).join(", ")}${more}`,
  );
}

/** A pool may have hundreds of servers. */
const NAMES_SHOWN = 20;

const quoted = (text: string): string => JSON.stringify(text.slice(0, 100));
