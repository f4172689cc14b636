/**
 * The one lane from a client to servers: every request that is sent as it came, or as a fragment of a split, goes through here. Only
 * those that nothing is to be done for besides, as most are, have a loop of their own (redis/request_run.ts).
 *
 *   client ──► server ──reach──► connection ──► Request, in the client's queue and the connection's ──► bytes ──► wait if congested
 *                        └─► none: the server's refusal is the answer
 *
 * Which connection a client takes is the protocol's business (Front.connectionTo); leased ones are their holder's, who hands them in.
 */
import type { Client } from "./client.ts";
import { KEPT_MAX, KeptRequest, Request } from "./request.ts";
import type { Server } from "./server.ts";
import type { ServerConnection } from "./server_connection.ts";
import type { Split } from "./split.ts";

/**
 * Sends a request as it is: `bytes[start, end)`, borrowed, or shared if SHARE_MIN or more.
 * @param connection the client's to `server` (Front.connectionTo); null = there is none to be had
 */
export function sendTo(
  client: Client,
  server: Server,
  connection: ServerConnection | null,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (connection === null) return refuse(client, server.refusal());
  // As `send`, and with few calls inside of one another: engines inline no more than some.
  const request = new Request(client);
  client.enqueue(request);
  connection.enqueue(request);
  connection.write(bytes, start, end);
  if (connection.congested) client.waitFor(connection);
}

/** As `sendTo`, for a read that is sent again if its server goes away (retry_reads). */
export function sendRead(
  client: Client,
  server: Server,
  connection: ServerConnection | null,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (connection === null || end - start > KEPT_MAX) {
    return sendTo(client, server, connection, bytes, start, end);
  }
  const request = new KeptRequest(client);
  request.bytes = bytes.slice(start, end);
  send(client, connection, request, bytes, start, end);
}

function send(
  client: Client,
  connection: ServerConnection,
  request: Request,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  client.enqueue(request);
  connection.forward(request, bytes, start, end);
  pace(client, connection);
}

/** Answers a request that is not even tried. */
export function refuse(client: Client, error: Uint8Array): void {
  client.countForwardError();
  client.answer(error);
}

/** The client has sent something on `connection`: it waits until a backlog there has left. */
export function pace(client: Client, connection: ServerConnection): void {
  if (connection.congested) client.waitFor(connection);
}

/**
 * Queues fragment `place` of `split`, whose bytes are to be written next.
 * @param patient see ServerConnection.enqueue
 * @param fragment one that has been made for it
 */
export function enqueueFragment(
  split: Split,
  place: number,
  connection: ServerConnection,
  patient = false,
  fragment = new Request(null),
): Request {
  fragment.split = split;
  fragment.fragment = place;
  connection.enqueue(fragment, patient);
  return fragment;
}

/** Sends fragment `place` of `split`; bytes as for `sendTo`. */
export function sendFragment(
  split: Split,
  place: number,
  connection: ServerConnection,
  bytes: Uint8Array,
  start: number,
  end: number,
): Request {
  const fragment = enqueueFragment(split, place, connection);
  connection.write(bytes, start, end);
  return fragment;
}

/** The server is left alone: its refusal is the reply to fragment `place`. To be called when all places have been added. */
export function refuseFragment(split: Split, place: number, server: Server): void {
  const refusal = server.refusal();
  split.take(place, refusal, 0, refusal.length, true);
}

/** Where a fragment goes to a server; null while it is left alone. */
export type Reach = (client: Client, server: Server) => ServerConnection | null;

const ordinary: Reach = (client, server) => client.pool.front.connectionTo(client, server);

/**
 * Sends a fragment of the same bytes to each of these servers; no other fragment has been added to `split`.
 * @param reach the connection to take, if not the client's ordinary one
 * @returns how many have been sent
 */
export function sendToAll(
  client: Client,
  split: Split,
  servers: readonly Server[],
  bytes: Uint8Array,
  start: number,
  end: number,
  reach: Reach = ordinary,
): number {
  let sent = 0;
  for (let i = 0; i < servers.length; i++) split.add();
  for (let i = 0; i < servers.length; i++) {
    const connection = reach(client, servers[i]!);
    if (connection === null) {
      refuseFragment(split, i, servers[i]!);
      continue;
    }
    sent++;
    sendFragment(split, i, connection, bytes, start, end);
    pace(client, connection);
  }
  return sent;
}

/** No server is on the ring: the answer to a request that has been split over none. */
export function takeNoServer(split: Split, error: Uint8Array): void {
  split.take(split.add(), error, 0, error.length, true);
}
