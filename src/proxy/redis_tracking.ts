/**
 * CLIENT TRACKING for real: a server remembers what a connection has read and pushes invalidations to it, so a
 * tracking client gets a connection of its own to every server, and what they push is passed on.
 *
 *   CLIENT TRACKING ON … ──► one RESP3 connection a server: HELLO 3, SELECT, CLIENT TRACKING ON …
 *   >2 invalidate … ◄──────── whichever server owns the key
 *
 * What is read inside a transaction with WATCH, or by a blocking command, takes another connection and is not tracked.
 * Costs as many connections as there are servers, for that client alone; they end with TRACKING OFF or with the client.
 */
import { encode } from "../bytes/ascii.ts";
import type { Client } from "./client.ts";
import { Request } from "./request.ts";
import type { Server } from "./server.ts";
import type { Holder, ServerConnection } from "./server_connection.ts";

/** What a client reads if a server it tracks is lost: everything it has cached may be stale. */
const INVALIDATE_ALL = encode(">2\r\n$10\r\ninvalidate\r\n_\r\n");

export class Tracking implements Holder {
  private readonly connections: (ServerConnection | null)[];
  /** CLIENT CACHING YES|NO, to be sent right before the next request. */
  caching: Uint8Array | null = null;

  /**
   * @param command CLIENT TRACKING ON …, as the client sent it; owned
   * @param cachingMode "OPTIN", "OPTOUT" or null
   * @param answer called once with the first server's reply, or the error that stands for it
   */
  constructor(
    private readonly client: Client,
    private readonly command: Uint8Array,
    readonly cachingMode: string | null,
    private answer: ((bytes: Uint8Array, start: number, end: number) => void) | null,
  ) {
    this.connections = client.pool.servers.map(() => null);
    for (const server of client.pool.servers) this.connection(server);
    const { turn, servers } = client.pool;
    // No server can be had at all: said in the next turn, so that the caller has its object first.
    if (this.connections.every((c) => c === null)) {
      const refusal = servers[0]!.refusal();
      turn.later({ resume: () => this.tell(refusal, 0, refusal.length) });
    }
  }

  private tell(bytes: Uint8Array, start: number, end: number): void {
    const { answer } = this;
    this.answer = null;
    answer?.(bytes, start, end);
  }

  /** The client's own connection to a server; null while the server is left alone after failed connects. */
  connection(server: Server): ServerConnection | null {
    const present = this.connections[server.index];
    if (present) return present;
    const connection = server.lease(this.client.pool.front.connectionClass(this.client), this);
    if (connection === null) return null;
    this.connections[server.index] = connection;
    const request = new Request(null);
    request.internal = (bytes, start, end) => this.tell(bytes, start, end);
    connection.forward(request, this.command, 0, this.command.length);
    return connection;
  }

  /** To be called right before a request is sent on `connection`. */
  beforeRequest(connection: ServerConnection): void {
    const { caching } = this;
    if (caching === null) return;
    this.caching = null;
    connection.forward(new Request(null), caching, 0, caching.length);
  }

  answered(): void {}

  lost(connection: ServerConnection): void {
    this.connections[connection.server.index] = null;
    this.client.push(INVALIDATE_ALL, 0, INVALIDATE_ALL.length);
  }

  pushed(bytes: Uint8Array, start: number, end: number): void {
    this.client.push(bytes, start, end);
  }

  /** Never given back: another client must not get these pushes. */
  stop(): void {
    for (const connection of this.connections) {
      if (connection !== null) connection.server.giveBack(connection, false);
    }
    this.connections.fill(null);
  }
}
