/**
 * A request that must not wait behind what the shared connection is busy with: SCRIPT KILL has to reach a server that is
 * running a script for somebody on that very connection.
 */
import type { Client } from "../proxy/client.ts";
import type { RedisSession } from "./session.ts";
import { type Reach, sendToAll, takeNoServer } from "../proxy/fan_out.ts";
import { Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder } from "../proxy/server_connection.ts";
import { type Joiner, Split } from "../proxy/split.ts";

/** Gives the connection back when its one request is answered. */
const ERRAND: Holder = {
  answered: (connection) => connection.endpoint.giveBack(connection, true),
  lost: () => {},
  pushed: () => {},
};

const NO_OWNERS = new Uint16Array(0);
// The pool's own database, whatever the client's is: a busy server would refuse to SELECT another.
const apart: Reach = (client, server) =>
  server.lease((client.session as RedisSession).resp === 3 ? 1 : 0, ERRAND);

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
  const parent = new Request(client);
  const split = new Split(parent, join, NO_OWNERS, detail);
  client.enqueue(parent);
  if (servers.length === 0) return takeNoServer(split, client.pool.front.noLiveServer);
  sendToAll(client, split, servers, bytes, start, end, apart);
}
