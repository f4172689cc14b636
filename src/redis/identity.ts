/**
 * What the servers of a pool are, for HELLO: each is asked once a connection, by HELLO 2 on the shared one, when a client wants to
 * know. A restarted server has a new connection, and is asked again.
 *
 * Clients wait for that, but not for a server that is slow or gone: WAIT_MS at most, not at all for one that was late before,
 * and once a HELLO: a server that accepts and closes would be asked without end.
 */
import { command } from "../protocol/redis/encode.ts";
import {
  type Identity,
  identityFromHello,
  identityFromInfo,
  poolIdentity,
} from "../protocol/redis/identity.ts";
import type { TimerId } from "../net/net.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";

const WAIT_MS = 100;
const HELLO = command("HELLO", 2);
const INFO = command("INFO");

class Known {
  identity: Identity | null = null;
  /** Where it was told; another one may lead to another program. */
  source: ServerConnection | null = null;
  /** It could not be asked, or did not answer, the last time. */
  gone = false;
  asking = false;
  /** Nobody waits for this question any more. */
  late = false;
  /** The last question was late. */
  slow = false;
}

export class PoolIdentity {
  private readonly known = new WeakMap<Server, Known>();
  private waiting: Client[] = [];
  /** Have waited, and offer that HELLO again: they take what is known. */
  private readonly waited = new WeakSet<Client>();
  /** Runs while somebody waits. */
  private timer: TimerId | null = null;

  constructor(private readonly pool: Pool) {}

  /** By what is known now: of the servers that answer, or of those that did. */
  get current(): Identity {
    const { servers } = this.pool;
    const known = servers.map((server) => this.knownOf(server)).filter(({ identity }) => identity !== null);
    const present = known.filter(({ gone }) => !gone);
    return poolIdentity(
      (present.length > 0 ? present : known).map(({ identity }) => identity!),
      servers.length,
    );
  }

  /** Sees to it that `current` is up to date. @returns true if the client now waits, and has to offer its request again */
  refresh(client: Client): boolean {
    if (this.waited.delete(client)) return false;
    for (const server of this.pool.servers) this.ask(server, this.knownOf(server));
    if (!this.awaited) return false;
    this.timer ??= this.pool.setTimer(WAIT_MS, () => this.goOn());
    this.waiting.push(client);
    client.block(LEARNING);
    return true;
  }

  private knownOf(server: Server): Known {
    let known = this.known.get(server);
    if (known === undefined) this.known.set(server, known = new Known());
    return known;
  }

  private get awaited(): boolean {
    return this.pool.servers.some((server) => {
      const { asking, late } = this.knownOf(server);
      return asking && !late;
    });
  }

  private ask(server: Server, known: Known): void {
    if (known.asking) return;
    const connection = server.ejected ? null : server.connection(0, 0);
    if (connection === null) {
      known.gone = true;
      return;
    }
    if (connection === known.source) {
      known.gone = false;
      return;
    }
    const others = this.pool.servers.some((other) => this.knownOf(other).identity !== null);
    known.asking = true;
    known.late = known.slow && others;
    connection.ask(HELLO, (bytes, start, end, failed) => {
      const identity = failed ? null : identityFromHello(bytes, start, end);
      if (failed || identity !== null) return this.told(known, connection, identity);
      connection.ask(INFO, (info, from, to, lost) => {
        this.told(known, connection, lost ? null : identityFromInfo(info, from, to));
      });
    });
  }

  private told(known: Known, connection: ServerConnection, identity: Identity | null): void {
    known.asking = false;
    known.gone = identity === null;
    if (identity !== null) {
      known.slow = false;
      known.identity = identity;
      known.source = connection;
    }
    if (!this.awaited) this.release();
  }

  /** It has been long enough. */
  private goOn(): void {
    for (const server of this.pool.servers) {
      const known = this.knownOf(server);
      if (known.asking) known.late = known.slow = true;
    }
    this.release();
  }

  private release(): void {
    if (this.timer !== null) this.pool.clearTimer(this.timer);
    this.timer = null;
    for (const client of this.waiting.splice(0)) {
      this.waited.add(client);
      client.unblock(LEARNING);
    }
  }
}
