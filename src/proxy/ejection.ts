/**
 * Takes failing servers off the ring and brings them back, for pools with auto_eject_hosts.
 *
 *   live ──(server_failure_limit failures in a row)──► ejected ──(server_retry_timeout)──► probed, told ──► live
 *                                                         ▲                                     │
 *                                                         └──────── no good answer ◄────────────┘
 *
 * Unlike twemproxy, which puts a server back and lets clients find out, a server has to answer a probe first, and is told
 * what it has missed (redis/scripts.ts); and one that is ejected again soon waits longer each time, so that a flapping server
 * does not keep moving keys.
 *
 * With max_ejected no more than that share of the servers is off the ring at a time, whichever workers eject them: where most
 * servers fail it is rather the network, or the proxy, and the few that are left would drown in keys that are not theirs.
 */
import { NOTICE, WARN } from "../net/log.ts";
import type { TimerId } from "../net/net.ts";
import { DRAINED, FREE, type Held } from "../stats/board.ts";
import { SERVER_EJECTED_AT, SERVER_EJECTS } from "../stats/metrics.ts";
import { PROBE } from "./illness.ts";
import type { Pool } from "./pool.ts";
import type { Server } from "./server.ts";
import type { ServerConnection } from "./server_connection.ts";

/** A server that stayed well this many retry timeouts has its waits forgiven. */
const FORGIVEN_AFTER = 4;
const WAIT_FACTOR_MAX = 16;

export class Ejection {
  /** Those that are back for other workers, and that this one is telling what they have missed. */
  private readonly welcoming = new Set<Server>();
  private lastProbe = 0;

  constructor(private readonly pool: Pool) {}

  /** Notes one failure of a server; ejects it at the limit. */
  failed(server: Server): void {
    if (!this.pool.config.autoEjectHosts || server.ejected || server.gone) return;
    if (++server.failures >= this.pool.config.serverFailureLimit) this.eject(server);
  }

  private eject(server: Server): void {
    const pool = this.pool;
    const retryMs = pool.config.serverRetryTimeoutMs;
    const nowMs = pool.turn.now();
    const { cells } = server;
    const ejected = pool.board.eject(cells, pool.worker, this.max);
    // The next failure will ask again.
    if (ejected === "full") return this.tellFull(server);
    if (ejected === "not now") return;
    this.setLive(server, false);
    this.hurry();
    // Another worker was quicker: it counts, logs and probes.
    if (ejected === "already") return;
    const again = nowMs - server.returnedAtMs < retryMs * FORGIVEN_AFTER;
    cells.waitFactor = again ? Math.min(cells.waitFactor * 2, WAIT_FACTOR_MAX) : 1;
    pool.counters[SERVER_EJECTS]!++;
    server.counters[SERVER_EJECTED_AT] = Math.round(pool.clock.wallMs() * 1000);
    const waitMs = retryMs * cells.waitFactor;
    pool.log.write(
      NOTICE,
      `update pool '${pool.config.name}' to delete server '${server.config.name}' for next ${
        Math.ceil(waitMs / 1000)
      } secs`,
    );
    this.probeIn(server, this.spread(waitMs));
    pool.serversChanged();
    pool.sign(server, "ejected", `server_failure_limit, for ${Math.ceil(waitMs / 1000)} secs`);
  }

  /** Servers that may be off the ring at a time: one at least, if it is not the only one. */
  private get max(): number {
    const { config: { maxEjected }, servers } = this.pool;
    if (maxEjected === 1) return servers.length;
    // What is not exact in binary is not to cost a server: 29 % of 100 are 29.
    const share = Math.floor(maxEjected * servers.length + 1e-9);
    return maxEjected > 0 && servers.length > 1 ? Math.max(share, 1) : share;
  }

  private tellFull(server: Server): void {
    const { pool, max } = this;
    if (!server.cells.tell()) return;
    pool.log.write(
      WARN,
      `pool '${pool.config.name}': server '${server.config.name}' fails but stays on the ring: max_ejected lets ${max} of ` +
        `${pool.servers.length} servers be off it at a time`,
    );
  }

  /** A tenth of a wait is drawn, so that the probes of many workers and proxies spread out. */
  private spread(waitMs: number): number {
    return waitMs * (0.95 + 0.1 * this.pool.random());
  }

  /** Another worker has ejected or restored servers of this pool, or died and left its probes to us. */
  lookAtBoard(): void {
    const { pool } = this;
    for (const server of pool.servers) {
      const { prober, held } = server.cells;
      if (held !== FREE) {
        this.hold(server, held);
        continue;
      }
      if (prober < 0) {
        if (server.ejected) this.welcome(server);
        continue;
      }
      if (!server.ejected) this.setLive(server, false);
      if (prober === pool.worker && server.probe === 0) {
        this.probeIn(server, this.spread(pool.config.serverRetryTimeoutMs * server.cells.waitFactor));
      }
    }
    this.hurry();
  }

  /** An operator has taken it off the ring: nobody probes it, and when it is restored it returns as one that has answered. */
  private hold(server: Server, held: Held): void {
    server.probe = 0;
    if (!server.ejected) this.setLive(server, false);
    if (held === DRAINED) server.detach();
  }

  /** The servers are others, or pool settings are: without auto_eject_hosts nobody stays off the ring, but who is held there. */
  adopt(): void {
    if (this.pool.config.autoEjectHosts) return;
    for (const server of this.pool.servers) {
      if (server.ejected && server.cells.held === FREE) this.restore(server);
    }
  }

  /** A new server: where scripts are remembered it is told them before clients see it, as one that returns is. */
  join(server: Server): void {
    const { pool } = this;
    // Nobody else has the slots of a node that joins a cluster: it serves while it is told.
    if (pool.cluster) return this.moved(server);
    if (!pool.config.autoEjectHosts || !pool.front.tells?.(server, true)) return;
    server.ejected = server.joins = true;
    if (server.cells.eject(pool.worker)) this.probeIn(server, 0);
  }

  /** Nobody else is on the ring any more: those that are still told what they lack serve meanwhile. */
  private hurry(): void {
    const { pool } = this;
    if (pool.servers.some(({ ejected }) => !ejected)) return;
    for (const server of pool.servers) {
      if (!server.joins || server.cells.held !== FREE) continue;
      pool.board.restore(server.cells);
      this.setLive(server, true);
      this.moved(server);
    }
  }

  /** It has another address, where it may be well, and where scripts may be missing. */
  moved(server: Server): void {
    const { pool } = this;
    if (server.ejected) {
      return server.cells.held === FREE && server.cells.prober === pool.worker
        ? this.probeIn(server, 0)
        : undefined;
    }
    // It keeps its keys meanwhile: what it holds has moved with it, or is lost anyway. When the pool has its servers.
    pool.turn.later({ resume: () => this.tellLive(server, pool.worker === 0) });
  }

  /** It is on the ring, and may not have heard all that it has missed: until it has, or is off the ring, where it will be told. */
  private tellLive(server: Server, first: boolean): void {
    const { pool } = this;
    const { primary } = server;
    if (primary === null || server.gone || server.ejected || pool.stopped || !pool.tellsScripts) return;
    if (!pool.front.tells?.(server, first)) return;
    const visit = new Visit(pool, primary.connect(0), (well) => {
      if (well) return;
      pool.setTimer(this.spread(pool.config.serverRetryTimeoutMs), () => this.tellLive(server, first));
    });
    pool.front.tell!(visit, first);
  }

  /** Another worker has found the server to be well. */
  private welcome(server: Server): void {
    const { pool, welcoming } = this;
    if (welcoming.has(server)) return;
    const { primary } = server;
    if (primary === null || !pool.front.tells?.(server, false)) return this.setLive(server, true);
    welcoming.add(server);
    const visit = new Visit(pool, primary.connect(0), (well) => {
      welcoming.delete(server);
      if (pool.stopped || server.gone || server.cells.isOff) return;
      // Well or not: the worker that finds out next ejects it.
      this.setLive(server, true);
      if (!well) this.tellLive(server, false);
    });
    pool.front.tell!(visit, false);
  }

  /** In place of the probe that is due or under way: that one may have been asked at another address. */
  private probeIn(server: Server, waitMs: number): void {
    const probe = server.probe = ++this.lastProbe;
    this.pool.setTimer(waitMs, () => this.probe(server, probe));
  }

  private probeAgain(server: Server): void {
    this.probeIn(server, this.spread(this.pool.config.serverRetryTimeoutMs));
  }

  private probe(server: Server, probe: number): void {
    const pool = this.pool;
    if (server.probe !== probe || server.gone || pool.stopped) return;
    const { front } = pool;
    const { primary } = server;
    if (primary === null) return this.probeAgain(server);
    const visit = new Visit(pool, primary.connect(0), (well) => {
      if (server.probe !== probe) return;
      if (well) this.restore(server);
      else this.probeAgain(server);
    });
    visit.connection.ask(front.probe, (bytes, start, end, failed) => {
      const well = !failed && front.illness(bytes, start, end, PROBE) === null;
      if (well) visit.heard();
      // Not from inside the connection's own reply loop.
      pool.turn.later({
        resume: () => {
          if (well && front.tells?.(server, true)) front.tell!(visit, true);
          else visit.end(well);
        },
      });
    });
  }

  private restore(server: Server): void {
    // An operator was quicker.
    if (server.cells.held !== FREE) return;
    this.pool.board.restore(server.cells);
    this.setLive(server, true);
    this.pool.log.write(
      NOTICE,
      `update pool '${this.pool.config.name}' to add server '${server.config.name}': it answers again`,
    );
    this.pool.serversChanged();
    this.pool.sign(server, "returned", "it answers again");
  }

  private setLive(server: Server, live: boolean): void {
    server.ejected = !live;
    server.failures = 0;
    if (live) {
      server.joins = false;
      server.probe = 0;
      server.returnedAtMs = this.pool.turn.now();
    }
    this.pool.rings++;
    this.pool.placeLive();
    this.pool.front.ringChanged();
  }
}

/** A connection to a server that may return to the ring; it ends when nothing has been heard for probe_timeout, if not before. */
export class Visit {
  private timer: TimerId | null = null;
  private over = false;
  /** Whoever tells the server something is told when the visit is over, however it ends. */
  whenOver: ((well: boolean) => void) | null = null;

  /** @param done called once, with whether the server is well; the connection is closed then */
  constructor(
    private readonly pool: Pool,
    readonly connection: ServerConnection,
    private readonly done: (well: boolean) => void,
  ) {
    this.heard();
  }

  heard(): void {
    if (this.over) return;
    if (this.timer !== null) this.pool.clearTimer(this.timer);
    this.timer = this.pool.setTimer(this.pool.config.probeTimeoutMs, () => this.end(false));
  }

  end(well: boolean): void {
    if (this.over) return;
    this.over = true;
    this.pool.clearTimer(this.timer!);
    this.connection.retire();
    this.whenOver?.(well);
    this.done(well);
  }
}
