/**
 * A command that may wait on its server (BLPOP, XREAD BLOCK, WAIT): it gets a connection of its own, so that it
 * holds up nobody else, and no deadline but its own.
 *
 *   barrier (everything before it answered) ──► lease ──► request ──► reply ──► lease given back
 *                                                           └─► client gone: connection closed, which ends the wait
 *
 * The client's next requests stay in its inbox meanwhile, as Redis itself leaves them unread. WAIT asks all servers.
 *
 * When the proxy stops, the wait is ended by CLIENT UNBLOCK: the client reads what it would on a timeout, or the element that
 * came first; hanging up instead could lose an element that the server has just popped. Hence CLIENT ID on each new lease.
 *
 * In a cluster the node may say that the slot is elsewhere, at once or after a long wait, or that another node has taken its place: nothing has
 * been popped then, and the request goes on by a lease there (redirect.ts), for what is left of its time.
 */
import { REQUEST_BYTES, REQUESTS } from "../stats/metrics.ts";
import { command } from "../protocol/redis/encode.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { ASKING } from "../protocol/redis/redirect_reply.ts";
import { waitLeft, waitOf } from "../protocol/redis/wait_time.ts";
import { integerOf } from "../protocol/redis/reply.ts";
import { nullArray } from "../protocol/redis/reply_writer.ts";
import { type Client, LEASED } from "../proxy/client.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import { enqueueFragment, refuseFragment, takeNoServer } from "../proxy/fan_out.ts";
import { type Internal, Request, SWALLOWED } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder, ServerConnection } from "../proxy/server_connection.ts";
import { type Joiner, Split } from "../proxy/split.ts";
import { type Lane, type PoolRedirects, type Redirected, sayOnLease } from "./redirect.ts";
import type { RedisSession } from "./session.ts";

const CLIENT_ID = command("CLIENT", "ID");
const PING = command("PING");
const NO_OWNERS = new Uint16Array(0);
/** The request and CLIENT UNBLOCK take different connections: either may be first. */
const INTERRUPT_AGAIN_MS = 20;

/** So often a node is asked by CLIENT UNBLOCK at which nobody waits, with such pauses. */
const UNBLOCKS_MAX = 10;
const UNBLOCKED = errorReply("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/** What servers call their leased connections; 0 = not known yet, NaN if they did not say. */
const ids = new WeakMap<ServerConnection, number>();
/** What waits for a connection's id. */
const whenKnown = new WeakMap<ServerConnection, (() => void)[]>();

export class BlockingCall implements Holder, Lane {
  private readonly connections = new Set<ServerConnection>();
  /** In a cluster: the request has not been answered, wherever it is. */
  private roams = false;
  /** … and the request. */
  private roaming: Redirected | null = null;
  private readonly sinceMs: number;
  /** Its connections cannot be used by anybody after. */
  private spoiled = false;
  private isOver = false;

  /** @param over called once, when the call is over or the client is gone */
  constructor(private readonly client: Client, private over: () => void) {
    this.sinceMs = client.pool.turn.now();
  }

  /** Sends the request to one server; borrowed bytes. False if there is no connection to be had: nothing was sent. */
  start(server: Server, bytes: Uint8Array, start: number, end: number): boolean {
    const connection = this.lease(server);
    if (connection === null) return false;
    const request = new Request(this.client);
    this.client.enqueue(request);
    connection.enqueue(request, true);
    connection.write(bytes, start, end);
    this.client.block(LEASED);
    if (this.client.leaving) this.interrupt();
    return true;
  }

  /** As `start`, in a cluster: somebody has its slot, and has to be found. */
  startIn(redirects: PoolRedirects, server: Server, bytes: Uint8Array, start: number, end: number): void {
    const request = new Request(this.client);
    this.client.enqueue(request);
    this.client.block(LEASED);
    this.roams = true;
    this.roaming = redirects.begin(request, bytes.slice(start, end), server, this);
  }

  reach(endpoint: Endpoint, asking: boolean): ServerConnection | null {
    const connection = this.leaseAt(endpoint);
    if (connection === null) return null;
    if (asking) sayOnLease(connection, ASKING);
    // The end of the wait is asked for when what is to wait is under way.
    if (this.client.leaving) this.client.pool.setTimer(0, () => this.interruptOne(connection));
    return connection;
  }

  bytesNow(bytes: Uint8Array): Uint8Array {
    return waitLeft(bytes, this.client.pool.turn.now() - this.sinceMs);
  }

  hasWaited(bytes: Uint8Array): boolean {
    const { client, sinceMs } = this;
    return client.leaving || client.pool.turn.now() - sinceMs >= waitOf(bytes);
  }

  sentOn(): void {
    this.spoiled = true;
  }

  settled(): void {
    this.roams = false;
    this.finishIfDone();
  }

  /**
   * WAIT and WAITAOF: how far replicas are with what has been written so far, on every server on the ring. The PING before makes the new
   * connection's "last write" the server's present one, which is not before any of the client's.
   */
  startEverywhere(bytes: Uint8Array, start: number, end: number, join: Joiner): void {
    const { client } = this;
    const servers = client.pool.onRing();
    const parent = new Request(client);
    const split = new Split(parent, join, NO_OWNERS, 0);
    client.enqueue(parent);
    client.block(LEASED);
    if (servers.length === 0) takeNoServer(split, client.pool.front.noLiveServer);
    for (let i = 0; i < servers.length; i++) split.add();
    for (let i = 0; i < servers.length; i++) {
      const server = servers[i]!;
      const connection = this.lease(server);
      if (connection === null) {
        refuseFragment(split, i, server);
        continue;
      }
      const ping = new Request(null);
      ping.replies = SWALLOWED;
      connection.enqueue(ping, true);
      connection.write(PING, 0, PING.length);
      enqueueFragment(split, i, connection, true);
      connection.write(bytes, start, end);
    }
    if (this.connections.size === 0) this.finish();
    else if (client.leaving) this.interrupt();
  }

  private lease(server: Server): ServerConnection | null {
    return this.keep(server.lease(this.client.pool.front.connectionClass(this.client), this));
  }

  private leaseAt(endpoint: Endpoint): ServerConnection | null {
    return this.keep(endpoint.lease(this.client.pool.front.connectionClass(this.client), this));
  }

  private keep(connection: ServerConnection | null): ServerConnection | null {
    if (connection === null) return null;
    this.connections.add(connection);
    if (!ids.has(connection)) askId(connection);
    return connection;
  }

  /** The proxy is stopping, or its servers are others: ends the wait as a timeout would. */
  interrupt(): void {
    this.spoiled = true;
    for (const connection of [...this.connections]) this.interruptOne(connection);
  }

  private interruptOne(connection: ServerConnection): void {
    const waits = () => this.connections.has(connection);
    const hangUp = () => {
      // Without a code it says that the proxy is stopping.
      if (waits()) connection.retire(this.client.leaving ? undefined : "ETIMEDOUT");
    };
    this.endWait(connection, "TIMEOUT", (bytes, start, _end, failed) => {
      if (failed || bytes[start] !== 58) return hangUp();
      // ":0" may mean that the answer was under way, or that the request still is: then it has to be said again.
      this.client.pool.setTimer(INTERRUPT_AGAIN_MS, () => {
        if (waits()) this.interruptOne(connection);
      });
    }, hangUp);
  }

  /**
   * CLIENT UNBLOCK: ends the wait for somebody else.
   * @param how "TIMEOUT" or "ERROR"
   * @param told whether it was waiting
   * @param tries in a cluster: a node that was not waited at any more has been asked so often
   */
  unblock(how: string, told: (unblocked: boolean) => void, tries = 0): void {
    let missing = this.connections.size;
    let unblocked = false;
    if (missing === 0) {
      const { roams, roaming } = this;
      const { resp } = this.client.session as RedisSession;
      // It pauses between two nodes, neither of which knows of it.
      if (roams) roaming?.end(how === "ERROR" ? UNBLOCKED : nullArray(resp));
      return told(roams && roaming !== null);
    }
    const one = (waited: boolean) => {
      unblocked ||= waited;
      if (--missing > 0) return;
      if (unblocked || !this.roams || tries === UNBLOCKS_MAX) return told(unblocked);
      // It has its answer, or is on its way to another node.
      this.client.pool.setTimer(INTERRUPT_AGAIN_MS, () => {
        if (this.roams && !this.isOver) this.unblock(how, told, tries + 1);
        else told(false);
      });
    };
    for (const connection of [...this.connections]) {
      // If the reply is under way already, the UNBLOCK would hit whoever has the connection next.
      this.spoiled = true;
      this.endWait(connection, how, (bytes, start, end, failed) => {
        one(!failed && integerOf(bytes, start, end) === 1);
      }, () => one(false));
    }
  }

  private endWait(connection: ServerConnection, how: string, done: Internal, impossible: () => void): void {
    const id = ids.get(connection) ?? NaN;
    if (id === 0) {
      const waiting = whenKnown.get(connection) ?? [];
      waiting.push(() => {
        if (this.connections.has(connection)) this.endWait(connection, how, done, impossible);
        else impossible();
      });
      whenKnown.set(connection, waiting);
      return;
    }
    const other = Number.isNaN(id) ? null : connection.endpoint.connectionBeside(connection);
    if (other === null) return impossible();
    other.ask(command("CLIENT", "UNBLOCK", id, how), done);
  }

  answered(connection: ServerConnection): void {
    this.connections.delete(connection);
    // Who has been a primary ends the connections of those that waited (sentOn).
    connection.endpoint.giveBack(connection, !this.spoiled && !this.roams);
    this.finishIfDone();
  }

  lost(connection: ServerConnection): void {
    this.connections.delete(connection);
    this.finishIfDone();
  }

  private finishIfDone(): void {
    if (this.connections.size === 0 && !this.roams) this.finish();
  }

  pushed(): void {}

  /** Its server has left the pool or has moved, or its keys may have: the client reads what it would on a timeout, and asks again. */
  detached(): void {
    // A node of a cluster says so itself to who waits there.
    if (!this.spoiled && !this.roams) this.interrupt();
  }

  /** The client is gone: the server must not keep an element for nobody. */
  abandon(): void {
    this.isOver = true;
    for (const connection of this.connections) connection.endpoint.giveBack(connection, false);
    this.connections.clear();
  }

  private finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.over();
    this.client.unblock(LEASED);
  }
}

function askId(connection: ServerConnection): void {
  const request = new Request(null);
  request.replies = SWALLOWED;
  request.internal = (bytes, start, end) => {
    ids.set(connection, integerOf(bytes, start, end));
    const waiting = whenKnown.get(connection) ?? [];
    whenKnown.delete(connection);
    for (const each of waiting) each();
  };
  ids.set(connection, 0);
  connection.enqueue(request, true);
  connection.write(CLIENT_ID, 0, CLIENT_ID.length);
  // Not a client's.
  connection.server.counters[REQUESTS]!--;
  connection.server.counters[REQUEST_BYTES]! -= CLIENT_ID.length;
}
