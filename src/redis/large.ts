/**
 * A request so large that it is not kept here first: it streams through to its server as it comes, on a connection
 * of its own.
 *
 *   *3 $3 SET $3 key $104857600 ████████░░░░░░ …      ──► leased connection, piece by piece
 *                               ▲ known: command, key, and how many bytes are to come
 *
 * So a 100 MB value costs no memory, no copy and no pause here, and nobody waits behind it on the shared connection. Order is kept:
 * nothing is owed to the client when it begins, and nothing more is taken until its reply has come.
 * Only for requests with one key whose last argument is the large one; others are kept whole as usual.
 */
import { ASKING } from "../protocol/redis/redirect_reply.ts";
import { type Client, IN_FLIGHT, LEASED } from "../proxy/client.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import { Request } from "../proxy/request.ts";
import { sayOnLease } from "./redirect.ts";
import type { Holder, ServerConnection } from "../proxy/server_connection.ts";

export class LargeRequest implements Holder {
  private connection: ServerConnection | null = null;
  private readonly request: Request;

  /**
   * @param left bytes of the request still to be handed over with `take`
   * @param over called once, when all bytes have been taken and the client has its reply
   */
  constructor(private readonly client: Client, private left: number, private readonly over: () => void) {
    this.request = new Request(client);
  }

  /** True while bytes of the request are still to come. */
  get hungry(): boolean {
    return this.left > 0;
  }

  /**
   * False if there is no connection to be had: nothing was begun.
   * @param asking it is not the endpoint's own yet (-ASK)
   */
  start(endpoint: Endpoint | null, asking = false): boolean {
    const { client } = this;
    const connection = endpoint?.lease(client.pool.front.connectionClass(client), this) ?? null;
    if (connection === null) return false;
    this.connection = connection;
    if (asking) sayOnLease(connection, ASKING);
    client.enqueue(this.request);
    // With max_in_flight: 1 this one is the limit itself, and the rest of it still has to be read.
    client.unblock(IN_FLIGHT);
    connection.enqueue(this.request, true);
    return true;
  }

  /**
   * Takes the request's next bytes from `bytes[start, end)`; borrowed, or shared if SHARE_MIN or more.
   * @returns offset past what belongs to it
   */
  take(bytes: Uint8Array, start: number, end: number): number {
    const size = Math.min(this.left, end - start);
    const { connection, client } = this;
    this.left -= size;
    // A server that has failed, or has answered already, gets no more; the rest of the request is thrown away.
    if (connection !== null) {
      connection.write(bytes, start, start + size);
      if (connection.congested && this.left > 0) client.waitFor(connection);
      // What an allowance says is looked at read by read.
      else if (client.allowance === null) {
        connection.letPass(client.socket, this.left);
      }
    }
    if (this.left === 0) this.allTaken();
    return start + size;
  }

  /** So many of its next bytes have gone to the connection. */
  passed(count: number): void {
    this.left -= count;
    this.connection?.wrote(count);
    if (this.left === 0) this.allTaken();
  }

  private allTaken(): void {
    const { connection, client } = this;
    if (connection === null) return this.over();
    connection.startClock(this.request);
    // What it took the client to send it is nobody's wait.
    this.request.stamp = client.pool.turn.stampOf(client.lastActiveMs);
    client.block(LEASED);
  }

  answered(connection: ServerConnection): void {
    this.letGo();
    connection.endpoint.giveBack(connection, this.left === 0);
    this.finish();
  }

  lost(): void {
    this.letGo();
    this.finish();
  }

  /** The connection is not its own any more: nothing passes there. */
  private letGo(): void {
    this.connection = null;
    if (this.left > 0) this.client.socket.passTo?.(this.client.socket, 0);
  }

  private finish(): void {
    if (this.left > 0) return;
    this.over();
    this.client.unblock(LEASED);
  }

  pushed(): void {}

  /** The client is gone. */
  abandon(): void {
    const { connection } = this;
    this.letGo();
    if (connection !== null) connection.endpoint.giveBack(connection, false);
  }
}
