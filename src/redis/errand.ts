/**
 * A request that must not wait behind what the shared connection is busy with: SCRIPT KILL has to reach a server that is
 * running a script for somebody on that very connection.
 */
import type { Client } from "../proxy/client.ts";
import type { RedisSession } from "./session.ts";
import { takeNoServer } from "./split.ts";
import { Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder } from "../proxy/server_connection.ts";
import { type Joiner, Split } from "../proxy/split.ts";

/** Gives the connection back when its one request is answered. */
const ERRAND: Holder = {
  answered: (connection) => connection.server.giveBack(connection, true),
  lost: () => {},
  pushed: () => {},
};

const NO_OWNERS = new Uint16Array(0);
/** Sends the request to these servers, on a connection of its own each; joins the replies. Borrowed bytes. */
export function sendApart(
  client: Client,
  bytes: Uint8Array,
  start: number,
  end: number,
  join: Joiner,
  detail: number,
  servers: readonly Server[],
): void {
  // The pool's own database, whatever the client's is: a busy server would refuse to SELECT another.
  const connectionClass = (client.session as RedisSession).resp === 3 ? 1 : 0;
  const parent = new Request(client);
  const split = new Split(parent, join, NO_OWNERS, detail);
  client.enqueue(parent);
  if (servers.length === 0) return takeNoServer(client.pool, split);
  for (let i = 0; i < servers.length; i++) split.add();
  for (let i = 0; i < servers.length; i++) {
    const server = servers[i]!;
    const connection = server.lease(connectionClass, ERRAND);
    if (connection === null) {
      const refusal = server.refusal();
      split.take(i, refusal, 0, refusal.length, true);
      continue;
    }
    const fragment = new Request(null);
    fragment.split = split;
    fragment.fragment = i;
    connection.forward(fragment, bytes, start, end);
  }
}
