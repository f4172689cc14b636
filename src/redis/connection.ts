/** Which connection to a server a Redis client's ordinary requests take: the shared one, or its own while it tracks. */
import type { Client } from "../proxy/client.ts";
import type { RedisSession } from "./session.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";

/** null while the server is left alone after failed connects: answer with `server.refusal()`. */
export function connectionFor(
  client: Client,
  session: RedisSession,
  server: Server,
): ServerConnection | null {
  const { tracking } = session;
  if (tracking === null) return server.connection(connectionClassOf(session), client.serial);
  const connection = tracking.connection(server);
  if (connection !== null) tracking.beforeRequest(connection);
  return connection;
}

/** Connections are shared among clients of one database and one protocol version: this numbers the combinations. */
export function connectionClassOf(session: RedisSession): number {
  return session.db * 2 + (session.resp === 3 ? 1 : 0);
}
