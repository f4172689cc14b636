/**
 * Looks after where the servers of all pools are, and keeps the events: one a process, on the main thread.
 *
 *   keeper ──states──► Director ──► service.follow: every worker ──► Pool.follow
 *     ▲ hint ──────────── sign ◄──── service: what workers have seen ──► Events
 *
 * A pool has a keeper if its configuration asks for one (topology/keepers.ts). A reload leaves it alone if nothing that it depends on
 * is different; else another one begins where it has stopped. Terms never go backwards, whatever a new keeper says. Where a server was
 * under another master says nothing of where it is now.
 */
import type { Config, PoolConfig, ServerConfig } from "../config/config.ts";
import { type Log, NOTICE } from "../net/log.ts";
import type { Clock, Net, TimerId } from "../net/net.ts";
import { towards } from "../net/tls.ts";
import type { Zone } from "../net/zones.ts";
import { Events, type EventsSeen } from "../topology/events.ts";
import { type KeeperAround, keeperOf, KEPT_KEYS } from "../topology/keepers.ts";
import type { Keeper, ReplicaHealth, ServerState, Sign } from "../topology/state.ts";

/** What carries the traffic of all pools. */
export interface Followed {
  /** Servers of this pool are somewhere else now. */
  follow(pool: string, states: readonly ServerState[]): void;
  /** They may write to this server's primary for so long, ms. Absent: nobody asks. */
  grant?(pool: string, server: string, ms: number): void;
  /** There have been events. */
  tellEvents(seen: EventsSeen): void;
}

export interface DirectorOptions {
  readonly config: Config;
  readonly net: Net;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Whoever says which servers there are should know this too; as seldom as keepers. */
  readonly hint?: (pool: PoolConfig, server: string, sign: Sign) => void;
  /** Absent: what the configuration asks for. */
  readonly keeperOf?: (around: KeeperAround) => Keeper | null;
}

/** How long the start waits for all keepers to have said where their servers are. */
const FIRST_MS = 1000;
/** The same sign of the same server, of whatever worker, is passed on this often. */
const SIGN_EVERY_MS = 50;

/** Requests of a server that is another master now wait for so long for word of where that is, ms. */
const MASTER_MS = 1000;

/** A pool with a keeper. */
interface Kept {
  /** What the keeper depends on. */
  readonly key: string;
  readonly failover: PoolConfig["failover"];
  /** What each server's sentinels call it; null: it has an address. */
  readonly masters: ReadonlyMap<string, string | null>;
  readonly keeper: Keeper;
  readonly states: Map<string, ServerState>;
  /** The last primary that was known, by server. */
  readonly primaries: Map<string, string>;
  /** What is added to the terms of a keeper that has begun anew, by server. */
  readonly shifts: Map<string, number>;
}

export class Director {
  readonly events: Events;
  private service: Followed | null = null;
  private readonly kept = new Map<string, Kept>();
  private readonly signed = new Map<string, number>();
  /** "pool\0server" of those whose primary cannot be reached. */
  private readonly down = new Set<string>();
  private config: Config;
  private stopped = false;
  /** Called when something has been heard of a server. */
  private heard: (() => void) | null = null;

  constructor(private readonly options: DirectorOptions) {
    this.config = options.config;
    this.events = new Events(options.clock, options.log);
  }

  /**
   * Starts the keepers. Resolves when it is known where all servers are that have no address of their own, or after FIRST_MS: nobody
   * should be listened to before, but for no longer.
   */
  start(service: Followed): Promise<void> {
    this.service = service;
    this.events.told = (seen) => service.tellEvents(seen);
    this.keepAll(this.config);
    return new Promise((resolve) => {
      let timer: TimerId | null = null;
      const look = () => {
        if (!this.stopped && this.config.pools.some((pool) => this.lacks(pool))) return;
        if (timer !== null) this.options.clock.clearTimer(timer);
        this.heard = timer = null;
        resolve();
      };
      timer = this.options.clock.setTimer(FIRST_MS, () => {
        this.heard = null;
        resolve();
      });
      this.heard = look;
      look();
    });
  }

  /** This configuration is in force. @param cause of the event @param slotsOf the pool of a cluster that has moved them, if that is all */
  adopt(config: Config, cause: string, slotsOf: string | null = null): void {
    this.config = config;
    if (slotsOf === null) this.events.record("reload", "", "", cause);
    else this.events.record("slots", slotsOf, "", cause);
    for (const { name, servers } of config.pools) {
      for (const { name: heir, heirOf } of servers) {
        if (heirOf === undefined || !this.down.delete(`${name}\0${heirOf}`)) continue;
        this.events.record("switched", name, heirOf, `${heir} has its slots`);
      }
    }
    this.keepAll(config);
  }

  /** A worker has seen this of a server. @param cause for people */
  sign(pool: string, server: string, sign: Sign, cause: string): void {
    if (this.stopped) return;
    const { events } = this;
    const key = `${pool}\0${server}`;
    if (sign === "ejected" || sign === "returned") events.record(sign, pool, server, cause);
    else if (sign === "primary unreachable" && !this.down.has(key)) {
      this.down.add(key);
      events.record("down", pool, server, cause);
    } else if (sign === "primary answers" && this.down.delete(key)) {
      events.record("returned", pool, server, cause);
    }
    const nowMs = this.options.clock.nowMs();
    const last = this.signed.get(`${key}\0${sign}`) ?? -Infinity;
    if (nowMs - last < SIGN_EVERY_MS) return;
    this.signed.set(`${key}\0${sign}`, nowMs);
    this.kept.get(pool)?.keeper.hint(server, sign);
    const config = this.config.pools.find(({ name }) => name === pool);
    if (config !== undefined) this.options.hint?.(config, server, sign);
  }

  /** Where servers are, by pool, as far as keepers have said: what a worker that begins has to know. */
  states(): ReadonlyMap<string, readonly ServerState[]> {
    return new Map([...this.kept].map(([pool, { states }]) => [pool, [...states.values()]]));
  }

  /** The replicas of a server, those included that are not read from; none unless the pool reads from replicas. */
  replicas(pool: string, server: string): readonly ReplicaHealth[] {
    return this.kept.get(pool)?.keeper.health?.(server) ?? [];
  }

  stop(): void {
    this.stopped = true;
    for (const { keeper } of this.kept.values()) keeper.stop();
    this.kept.clear();
    this.heard?.();
  }

  // ---- keepers

  private keepAll(config: Config): void {
    if (this.stopped) return;
    const names = new Set(config.pools.map(({ name }) => name));
    for (const [name, { keeper }] of this.kept) {
      if (names.has(name)) continue;
      keeper.stop();
      this.kept.delete(name);
    }
    // Of servers that have left nothing is to be remembered.
    const servers = new Set(
      config.pools.flatMap(({ name, servers }) => servers.map((server) => `${name}\0${server.name}`)),
    );
    for (const key of this.down) if (!servers.has(key)) this.down.delete(key);
    this.signed.clear();
    for (const pool of config.pools) this.keep(pool);
  }

  private keep(pool: PoolConfig): void {
    const { options } = this;
    const { name } = pool;
    const before = this.kept.get(name);
    const zones = this.config.process.zones ?? [];
    const key = keyOf(pool, zones);
    if (before?.key === key) return;
    // Keepers of one kind understand each other.
    const memory = before?.failover === pool.failover ? before.keeper.memory?.() : undefined;
    this.kept.delete(name);
    const masters = new Map(pool.servers.map((server) => [server.name, server.master]));
    const states = new Map<string, ServerState>();
    for (const server of pool.servers) {
      const state = before?.states.get(server.name);
      if (state === undefined) continue;
      const moved = server.master !== before!.masters.get(server.name);
      states.set(
        server.name,
        pool.failover === "none" ? asConfigured(state, server) : moved ? nowhere(state) : state,
      );
    }
    const keeper = (options.keeperOf ?? keeperOf)({
      pool,
      net: towards(options.net, pool.serverTls, options.log),
      clock: options.clock,
      random: options.random,
      log: options.log,
      zones,
      known: new Map(states),
      memory: memory ?? new Map(),
      event: (kind, server, cause) => this.events.record(kind, name, server, cause),
      grant: (server, ms) => this.service?.grant?.(name, server, ms),
    });
    // Later than the next one is made: that one may have taken its connections.
    before?.keeper.stop();
    if (keeper === null) return;
    const primaries = new Map([...before?.primaries ?? []].filter(([server]) => masters.has(server)));
    const kept: Kept = {
      key,
      failover: pool.failover,
      masters,
      keeper,
      states,
      primaries,
      shifts: new Map(),
    };
    this.kept.set(name, kept);
    // Servers that are new to the workers may be known here, and another configuration is.
    if (states.size > 0) this.service?.follow(name, [...states.values()]);
    keeper.start((said) => {
      if (this.kept.get(name) === kept) this.take(name, kept, said);
    });
  }

  private take(pool: string, kept: Kept, said: readonly ServerState[]): void {
    const news = said.map((state) => this.shifted(kept, state)).filter((state) => this.isNews(kept, state));
    if (news.length === 0) return;
    for (const state of news) this.note(pool, kept, state);
    this.service?.follow(pool, news);
    this.heard?.();
  }

  /** With a term that goes on from the keeper's before. */
  private shifted(kept: Kept, state: ServerState): ServerState {
    const { server } = state;
    const { shifts } = kept;
    const known = kept.states.get(server);
    let shift = shifts.get(server);
    if (shift === undefined) {
      const least = known === undefined ? 0 : known.term + (isElsewhere(kept, state) ? 1 : 0);
      shift = Math.max(0, least - state.term);
      // One that says first that it knows nobody has yet to say who it is, maybe another one.
      if (state.primary !== null) shifts.set(server, shift);
    }
    return shift === 0 ? state : { ...state, term: state.term + shift };
  }

  private isNews({ states }: Kept, state: ServerState): boolean {
    const known = states.get(state.server);
    if (known === undefined) return true;
    if (state.term < known.term) return false;
    return JSON.stringify(known) !== JSON.stringify(state);
  }

  private note(pool: string, kept: Kept, state: ServerState): void {
    const { server, primary, cause, why } = state;
    const known = kept.states.get(server);
    const elsewhere = isElsewhere(kept, state);
    kept.states.set(server, state);
    const { events, options } = this;
    const key = `${pool}\0${server}`;
    if (primary === null) {
      const waited = known?.waitMs !== undefined;
      if ((known?.primary === null && !waited) || this.down.has(key)) return;
      this.down.add(key);
      return events.record("down", pool, server, why);
    }
    kept.primaries.set(server, primary.text);
    const at = `${primary.text}: ${cause}`;
    const wasDown = elsewhere || known?.primary === null ? this.down.delete(key) : false;
    if (elsewhere) events.record("switched", pool, server, at);
    else if (wasDown) events.record("returned", pool, server, at);
    else if (known === undefined) options.log.write(NOTICE, `pool '${pool}' server '${server}' is at ${at}`);
  }

  /** Is there a server of which nobody knows where it is, and a keeper that may yet say it? */
  private lacks({ name, servers, failover }: PoolConfig): boolean {
    const kept = this.kept.get(name);
    return kept !== undefined &&
      servers.some(({ address, name }) =>
        (address === null || failover === "promote") && !kept.states.has(name)
      );
  }
}

/** Nobody but the configuration says where it is. */
function asConfigured(state: ServerState, { address, addressText: text, zone }: ServerConfig): ServerState {
  if (address === null || state.primary?.text === text) return state;
  const primary = { address, text, zone };
  return { server: state.server, term: state.term + 1, primary, replicas: [], cause: "reload", why: "" };
}

/** Of a server that is another master now. */
function nowhere(state: ServerState): ServerState {
  const why = "nobody has said yet where its master is";
  return {
    server: state.server,
    term: state.term + 1,
    primary: null,
    waitMs: MASTER_MS,
    replicas: [],
    cause: "reload",
    why,
  };
}

/** Its primary is another one than the last that was known, if there was one. */
function isElsewhere({ primaries }: Kept, { server, primary }: ServerState): boolean {
  const last = primaries.get(server);
  return primary !== null && last !== undefined && last !== primary.text;
}

/** The same for configurations that a keeper works the same under: who owns which slots is nothing to it. */
function keyOf(pool: PoolConfig, zones: readonly Zone[]): string {
  const places = pool.servers.map(({ slots: _s, heirOf: _h, ...server }) => server);
  const kept = KEPT_KEYS.map((key) => key === "servers" ? places : pool[key]);
  return JSON.stringify([kept, pool.readFrom === "primary" ? [] : zones]);
}
