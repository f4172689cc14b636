/** /healthz and /readyz: for whoever restarts the process, or sends clients to it. */
import { isUnheard } from "../config/config.ts";
import { isDown, viewsOf } from "../service/questions.ts";
import { type Answer, plain } from "./answer.ts";
import type { Around } from "./around.ts";

/** It answers, so it is alive. */
export function healthz(): Answer {
  return plain("ok\n");
}

/** Ready: it listens, is not stopping, and a worker answers, every pool has a server that is on the ring and not known to be unreachable. */
export async function readyz(around: Around): Promise<Answer> {
  const { phase, config, service } = around;
  if (phase !== "serving") return plain(`${phase}\n`, 503);
  const seen = await service.gather("servers", null);
  // They have died, and nobody listens until others have taken their places; or none gets round to it.
  if (seen.length === 0) return plain("no worker answers\n", 503);
  const views = viewsOf(seen);
  const lacking = config.pools.filter((pool, at) => {
    if (isUnheard(pool)) return true;
    const { name, servers } = pool;
    const board = service.board.pools[at];
    return !servers.some((server, i) => {
      if (board?.servers[i]?.isOff) return false;
      return !isDown(views(name, server.name));
    });
  });
  if (lacking.length === 0) return plain("ready\n");
  return plain(lacking.map(({ name }) => `pool ${name} has no live server\n`).join(""), 503);
}
