/**
 * One simulated world: proxy, servers, clients and network made from a seed, run through trouble into calm, and judged.
 *
 *   chaos ──► heal ──► all replies owed have come ──► everything works ──► counters add up ──► stop ──► nothing is left
 *
 * tests/README.md tells what is checked and how to read the log of a failure.
 */
import { dropChunks } from "../../src/bytes/chunks.ts";
import { FAILURES, NO_LIVE_SERVER_TEXT } from "../../src/proxy/failures.ts";
import type { Client } from "../../src/proxy/client.ts";
import type { Address } from "../../src/net/net.ts";
import type { ServerState } from "../../src/topology/state.ts";
import type { Pool, Seat } from "../../src/proxy/pool.ts";
import { type Prepared, Proxy } from "../../src/service/proxy.ts";
import type { RedisSession } from "../../src/redis/session.ts";
import { Board, type PoolBoard } from "../../src/stats/board.ts";
import {
  CLIENT_EOF,
  CLIENT_ERR,
  FORWARD_ERROR,
  IN_QUEUE,
  LIMIT_MAX_CONNECTIONS,
  LIMIT_OUTPUT,
  OUT_QUEUE,
  REQUESTS,
  REQUESTS_TOTAL,
  RESPONSES,
  SERVER_EJECTS,
} from "../../src/stats/metrics.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { changeOf } from "../../src/topology/change.ts";
import type { Config, PoolConfig } from "../../src/config/config.ts";
import { authSteps, passwordOf, passwordsOf } from "./auth.ts";
import { checkShares, HOSTS, type LimitedExpect, newExpect } from "./allowances.ts";
import { alphaOf, type Awaited, type Change, machineAddress, twinAddress } from "./changes.ts";
import { checkLeaving, checkPool, checkTimed, CountWatch, type Limits } from "./checkers.ts";
import { SimClock } from "./clock.ts";
import { Epochs, type Sent } from "./epochs.ts";
import { EventLog } from "./event_log.ts";
import type { Expect, Judge } from "./expect.ts";
import { BinaryWorkload } from "./binary_workload.ts";
import { LibrarianWorkload } from "./librarian.ts";
import { MemcachedWorkload } from "./memcached_workload.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SYSTEM } from "./reader.ts";
import { keyOf, SimNet } from "./net.ts";
import { ejects, FEW, isOrdered, PASS_USUAL, type Plan, planOf, type ServerEvent } from "./plan.ts";
import { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import { CHANNELS, type Published, SubscriberWorkload } from "./pubsub_workload.ts";
import { mayTell } from "./rules.ts";
import { RedisWorkload } from "./redis_workload.ts";
import { type Manners, SimClient, type Workload } from "./sim_client.ts";
import { GOOD, SimServer } from "./sim_server.ts";
import {
  EarWorkload,
  ReaderWorkload,
  type Readings,
  readingsOf,
  TRACKED_KEYS,
  type Written,
} from "./tracking_workload.ts";
import { type Execution, Truth, Violation } from "./truth.ts";
import { boardsOf } from "./threads.ts";

/** Objects are looked at after every so many turns, and whenever a phase ends. */
const CHECK_EVERY_TURNS = 8;
/** The share of turns that are long in a world that has such. */
const LONG_TURNS = 0.1;
const LONG_TURN_MAX_MS = 500;
const SLOW_TURN_MAX_MS = 1;
/** After the trouble is over everybody must have been answered within this time. */
const PATIENCE_MS = 300_000;
/** In that time what has been let through beyond limits is paid. */
const DEBTS_MS = 60_000;
const EVENTS_SHOWN = 50;
const STOP_TRIES = 5000;
/** So long a change waits for a client that it could disturb. */
const AWAITED_MS = 300;
/** How often one looks whether the process goes on again. */
const STOP_LOOK_MS = 10;
/** A server with another address knows the scripts so soon. */
const MOVED_MS = 200;

export interface Result {
  readonly seed: number;
  readonly requests: number;
  readonly turns: number;
  /** Two runs of one seed must have the same. */
  readonly hash: number;
}

/** A seed has found something. */
export class SimFailure extends Error {
  override name = "SimFailure";
  constructor(readonly seed: number, readonly why: string, readonly events: string, plan: string) {
    super(`seed ${seed}: ${why}\n\n${plan}\n${events}`);
  }
}

/** @param meeting, plain see planOf; @throws SimFailure */
export async function runSeed(seed: number, meeting = false, plain = false): Promise<Result> {
  const world = new World(seed, meeting, plain);
  try {
    return await world.run();
  } catch (error) {
    const why = error instanceof Violation ? error.message : (error as Error).stack ?? String(error);
    throw new SimFailure(seed, why, world.log.toString(EVENTS_SHOWN), world.describe());
  }
}

export class World implements Judge {
  readonly log = new EventLog(400);
  readonly truth = new Truth();
  readonly plan: Plan;
  readonly clock = new SimClock();
  readonly net: SimNet;
  private readonly process: SimProcess;
  /** One a worker. */
  readonly proxies: readonly Proxy[];
  private readonly boards: readonly Board[];
  /** What each worker has committed last. */
  private readonly configs: Config[];
  /** One a machine, which may be a server or not. */
  readonly servers: SimServer[];
  readonly clients: SimClient[] = [];
  private readonly random: Random;
  private readonly failures = new Set<string>();
  private readonly epochs: Epochs;
  private readonly counts = new CountWatch();
  private readonly limits: Limits;
  private readonly sent = new Map<string, Sent>();
  private readonly published: Published = new Map();
  private readonly written: Written = new Map();
  private ejections = 0;
  private changes = 0;
  /** What redis_auth would be, and until when it was being prepared. */
  private readonly prepared: { readonly password: string | null; untilMs: number }[] = [];
  /** Machines that a server was moved to, and when. */
  private readonly moved = new Map<string, number>();
  /** Servers that are at their machine's other address, where others were, and the highest term. */
  private readonly twins = new Set<string>();
  private readonly left = new Set<string>();
  private terms = 1;
  /** What has been refused for a limit. */
  private readonly refused: LimitedExpect[] = [];
  private healed = false;
  private strict = false;
  /** Clients that the proxy had to close in the middle of a reply. */
  private brokenOff = 0;
  private stopping = false;
  private turnsToCheck = 0;
  private readonly turnMaxMs: number;

  constructor(readonly seed: number, meeting = false, plain = false) {
    // Nothing of the world before it.
    dropChunks(0);
    this.random = new Random(seed);
    this.plan = planOf(this.random.fork(), meeting, plain);
    const { plan } = this;
    this.turnMaxMs = plan.longTurns ? LONG_TURN_MAX_MS : 0;
    if (plan.longTurns || plan.slowTurns) {
      const turnRandom = new Random(seed);
      this.clock.turnMs = () =>
        plan.longTurns && turnRandom.chance(LONG_TURNS)
          ? turnRandom.magnitude(10, LONG_TURN_MAX_MS)
          : plan.slowTurns
          ? turnRandom.next() * (plan.calm ? 0.2 : 1) * SLOW_TURN_MAX_MS
          : 0;
    }
    this.net = new SimNet(this.clock, this.random.fork(), { faults: plan.serverFaults, log: this.log });
    this.net.gridMs = plan.gridMs;
    if (plan.limited) this.net.clientHosts = HOSTS;
    for (const pool of plan.pools) this.net.setFaults(plan.clientFaults, pool.listen);
    const serverRandom = this.random.fork();
    this.servers = plan.habits.map((_, i) =>
      new SimServer(
        i,
        machineAddress(i),
        plan.redis,
        this.net,
        this.clock,
        this.truth,
        serverRandom.fork(),
        passwordsOf(plan),
        plan.versions[i],
      )
    );
    this.servers.forEach((server, i) => {
      server.habits = plan.habits[i]!;
      server.halts = plan.passMin < PASS_USUAL && !plan.calm ? 0.3 : 0;
      server.turnsAway = plan.turnsAway;
    });
    this.truth.watch = (execution) => this.checkPlace(execution);
    this.truth.watchPassword = (password, madeAtMs) => {
      if (this.epochs.hadSince(madeAtMs, (config) => passwordOf(config) === password)) return;
      // A pool that is new in it connects to its servers when it is prepared.
      if (this.prepared.some((one) => one.untilMs >= madeAtMs && one.password === password)) return;
      throw new Violation(
        `a connection made at ${madeAtMs.toFixed(1)} ms came with ${password ?? "no password"}`,
      );
    };
    this.process = new SimProcess(this.clock, this.net);
    const stops = this.stops.length > 0;
    this.boards = boardsOf(plan.config, plan.workers);
    this.proxies = this.boards.map((board, worker) =>
      new Proxy({
        config: plan.config,
        net: stops ? this.process : this.net,
        clock: stops ? new RunningClock(this.process) : this.clock,
        random: this.random.fork().next,
        sliceArguments: plan.sliceArguments,
        passMin: plan.passMin,
        streamMin: plan.passMin < PASS_USUAL ? plan.passMin : undefined,
        log: { level: 5, write: (_level, text) => this.noteLog(text) },
        system: SYSTEM,
        seat: this.seatOf(worker, board),
      })
    );
    this.configs = this.proxies.map(() => plan.config);
    this.epochs = new Epochs(plan.workers, () => this.clock.nowMs());
    this.limits = {
      inFlightMax: Math.max(...plan.pools.map((pool) => pool.inFlightMax)),
      clientOutputMax: Math.max(...plan.pools.map((pool) => pool.clientOutputMax)),
    };
    this.truth.isOrdered = isOrdered(plan);
    this.nameFailures();
  }

  /** Workers hear of each other a moment later. */
  private seatOf(worker: number, board: Board): Seat {
    const soon = (to: number, run: (proxy: Proxy) => void) => {
      this.clock.setTimer(0.1, () => {
        run(this.proxies[to]!);
        this.noteLives();
      });
    };
    const others = this.boards.map((_, i) => i).filter((i) => i !== worker);
    return {
      worker,
      board,
      serversChanged: (pool) => others.forEach((to) => soon(to, (proxy) => proxy.serversChanged(pool))),
      tellOthers: (pool, words) => others.forEach((to) => soon(to, (proxy) => proxy.knows(pool, words))),
      ask: (to, pool, question, told) =>
        soon(to, (proxy) => proxy.asked(pool, question, (answer) => soon(worker, () => told(answer)))),
    };
  }

  /** The pool, one a worker. */
  private get pools(): Pool[] {
    return this.proxies.map((proxy) => proxy.pools.find(({ config }) => config.name === "alpha")!);
  }

  /** Those without clients too. */
  private get everyPool(): Pool[] {
    return this.proxies.flatMap(({ pools }) => pools);
  }

  private get board(): PoolBoard {
    const { pools } = this.configs[0]!;
    return this.boards[0]!.pools[pools.indexOf(alphaOf(this.configs[0]!))]!;
  }

  /** As it is now. */
  private get config(): PoolConfig {
    return alphaOf(this.configs.at(-1)!);
  }

  /** Where the first worker listens. */
  private get address(): Address {
    return alphaOf(this.configs[0]!).listen;
  }

  private noteLog(text: string): void {
    if (/cannot have the rest of (a|EXEC's) reply/.test(text)) this.brokenOff++;
    this.log.add(this.clock.nowMs(), "proxy", text);
    // One server may leave and another return in one long turn, and a slice be placed between the two: looked at here, not after it.
    if (text.startsWith("update pool ")) this.noteLives();
    if (/^update pool \S+ to delete server /.test(text)) this.noteEjection();
  }

  private noteEjection(): void {
    this.ejections++;
    const { changes, pool: { maxEjected, servers } } = this.plan;
    if (changes.length > 0 || maxEjected === 1) return;
    const most = Math.max(Math.floor(servers.length * maxEjected), servers.length > 1 ? 1 : 0);
    const off = this.board.servers.filter((cells) => cells.prober >= 0).length;
    if (off > most) throw new Violation(`${off} of ${servers.length} servers are off the ring, not ${most}`);
  }

  describe(): string {
    const { plan } = this;
    const events = plan.events.map((e) =>
      `  ${e.atMs.toFixed(0)} ms: server ${e.server} ${e.kind} for ${e.forMs} ms` +
      `${e.losesMemory ? ", loses its memory" : ""}${e.loadingMs > 0 ? `, loads ${e.loadingMs} ms` : ""}\n`
    );
    const switches = plan.switches.map((e) => `  ${e.atMs.toFixed(0)} ms: server ${e.server} is replaced\n`);
    const slices = plan.sliceArguments < 100 ? `slices of ${plan.sliceArguments} arguments\n` : "";
    const parts = plan.passMin < PASS_USUAL ? `replies in parts from ${plan.passMin} bytes on\n` : "";
    const away = plan.turnsAway > 0 ? `servers are full ${plan.turnsAway.toFixed(2)} of the time\n` : "";
    const changes = plan.changes.map((one) =>
      `  ${one.atMs.toFixed(0)} ms, ${one.prepareMs} ms and ${one.betweenMs.toFixed(1)} between workers: ` +
      `${one.what}${one.abandons ? " (given up)" : ""}\n${one.text}`
    );
    const workers = plan.workers > 1 ? `${plan.workers} workers\n` : "";
    return `${plan.text}${plan.calm ? "calm\n" : ""}${slices}${parts}${away}${workers}${events.join("")}${
      switches.join("")
    }` +
      changes.join("");
  }

  async run(): Promise<Result> {
    const { switches } = this.plan;
    for (const server of this.servers) {
      await server.listen(switches.length > 0 ? twinAddress(server.index) : null);
    }
    this.net.connecting = (key) => this.checkConnect(key);
    if (switches.length > 0) {
      const states = this.config.servers.map(({ name, address }) => stateOf(name, address!, 1));
      for (const proxy of this.proxies) proxy.follow(this.config.name, states);
    }
    for (const proxy of this.proxies) await proxy.listen(null);
    this.noteLives();
    for (const event of this.plan.events) this.clock.at(event.atMs, () => this.happen(event));
    for (const { atMs, server } of switches) this.clock.at(atMs, () => this.replace(server));
    for (const { atMs, forMs } of this.stops) this.clock.at(atMs, () => this.stopProcess(forMs, STOP_TRIES));
    for (let i = 0; i < this.plan.clients; i++) {
      this.clock.at(this.random.next() * this.plan.arrivalsMs, () => this.addClient());
    }
    if (this.plan.libraries) {
      this.clock.at(this.random.next() * this.plan.arrivalsMs, () => this.addLibrarian());
    }
    for (const change of this.plan.changes) await this.change(change);
    this.turns(this.plan.chaosMs);
    // What a stopped process has not found out yet it would find out in the calm.
    while (this.process.stopped) this.turns(this.clock.nowMs() + STOP_LOOK_MS);
    this.heal();
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.clients.every((client) => client.quiet));
    this.checkAnswered();
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.resting);
    this.turns(this.clock.nowMs() + 1000);
    // Lines of clients that track are pinged now and then; and that a client is gone may have to wait for a stalled link.
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.resting && this.owed === undefined);
    this.checkRest();
    this.checkLimits();
    // What they owe is paid.
    if (this.plan.limited) this.turns(this.clock.nowMs() + DEBTS_MS);
    this.checkCaches();
    this.checkLibraries();
    this.checkRights();
    this.hear();
    this.rewrite();
    await this.epilogue();
    this.checkCounters();
    this.checkTransactions();
    await this.stop();
    const requests = this.clients.reduce((sum, client) => sum + client.counted, 0);
    return { seed: this.seed, requests, turns: this.clock.turns, hash: this.log.hash };
  }

  // ---- phases

  private turns(untilMs: number, stop: () => boolean = () => false): void {
    this.clock.run(untilMs, () => {
      this.afterTurn();
      return stop();
    });
    this.checkObjects();
  }

  /** The proxy takes another configuration: all workers prepare, and then commit one after the other, or none does. */
  private async change(next: Change): Promise<void> {
    const { atMs, config, what, prepareMs, betweenMs, abandons, awaits } = next;
    this.turns(Math.max(atMs, this.clock.nowMs()));
    // Whoever is stopped does nothing, and does not look at the time either.
    while (this.process.stopped) this.turns(this.clock.nowMs() + STOP_LOOK_MS);
    this.log.add(this.clock.nowMs(), "-", `prepare: ${what}`);
    const change = changeOf(this.configs[0]!, config);
    const memory = this.boards[0]!.arrange(change.arrangement);
    const prepared: Prepared[] = [];
    const stamp = { epoch: ++this.changes, cause: what, atMs: this.clock.wallMs() };
    const mine = { password: passwordOf(alphaOf(config)), untilMs: Infinity };
    this.prepared.push(mine);
    for (const proxy of this.proxies) prepared.push(await proxy.prepare(config, memory, stamp));
    this.turns(this.clock.nowMs() + prepareMs);
    if (awaits !== "anything") this.turns(this.clock.nowMs() + AWAITED_MS, () => this.hasClient(awaits));
    for (const [i, proxy] of this.proxies.entries()) {
      if (i > 0) this.turns(this.clock.nowMs() + betweenMs);
      while (this.process.stopped) this.turns(this.clock.nowMs() + 1);
      this.log.add(this.clock.nowMs(), "-", `${abandons ? "abandon" : "commit"} ${i}`);
      if (abandons) proxy.abandon(prepared[i]!);
      else this.commit(i, config, () => proxy.commit(prepared[i]!));
    }
    mine.untilMs = this.clock.nowMs();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  }

  /** One in the middle of something, which a change could disturb. */
  private hasClient(awaited: Awaited): boolean {
    const clients = this.pools.flatMap((pool) => [...pool.clients]);
    if (awaited === "replies" || !this.plan.redis) return clients.some((client) => client.replies.length > 1);
    if (awaited === "exec") {
      return clients.some(({ replies, session }) => {
        const { transaction } = session as RedisSession;
        return replies.length === 0 && transaction !== null && transaction.queuedCount > 0;
      });
    }
    const sessions = clients.map(({ session }) => session as RedisSession);
    if (awaited === "slices") return sessions.some((one) => one.sliced !== null || one.preparation !== null);
    return sessions.some(({ transaction }) => transaction !== null && transaction.queuedCount > 0);
  }

  private commit(worker: number, config: Config, run: () => void): void {
    this.checkObjects();
    const read = new Map<number, number>();
    for (const client of this.clients) read.set(client.id, client.readByProxy);
    this.noteMoves(this.pools[worker]!, alphaOf(this.configs[worker]!), alphaOf(config));
    this.configs[worker] = config;
    run();
    if (worker === 0) this.counts.rename(alphaOf(config).servers.map((server) => server.name));
    this.noteLives(worker, read);
    this.checkObjects();
  }

  private noteMoves(pool: Pool, before: PoolConfig, after: PoolConfig): void {
    // With none of them left a new server is told the scripts as one that moves is: while clients see it.
    const stay = pool.onRing().some(({ config }) => after.servers.some(({ name }) => name === config.name));
    for (const { name, address } of after.servers) {
      const present = before.servers.find((server) => server.name === name);
      if (present === undefined ? !stay : keyOf(present.address!) !== keyOf(address!)) {
        this.moved.set(keyOf(address!), this.clock.nowMs());
      }
    }
  }

  private afterTurn(): void {
    this.noteLives();
    if (++this.turnsToCheck >= CHECK_EVERY_TURNS) this.checkObjects();
  }

  /** Another takes the place of a server; whoever says so says it again, and what is old too. */
  private replace(index: number): void {
    if (this.healed) return;
    if (this.process.stopped) return void this.clock.at(this.clock.nowMs() + 1, () => this.replace(index));
    const { name, address } = this.config.servers[index]!;
    const machine = this.servers.find((server) => keyOf(server.address) === keyOf(address!))!.index;
    const [now, before] = this.twins.has(name)
      ? [machineAddress(machine), twinAddress(machine)]
      : [twinAddress(machine), machineAddress(machine)];
    const term = ++this.terms;
    if (this.twins.has(name)) this.twins.delete(name);
    else this.twins.add(name);
    this.log.add(this.clock.nowMs(), "-", `${name} is at ${keyOf(now)}`);
    this.left.delete(keyOf(now));
    this.left.add(keyOf(before));
    for (const proxy of this.proxies) {
      for (
        const state of [stateOf(name, now, term), stateOf(name, now, term), stateOf(name, before, term - 1)]
      ) {
        proxy.follow(this.config.name, [state]);
      }
    }
  }

  /** Where a server was nobody goes before it is there again. */
  private checkConnect(key: string): void {
    if (this.left.has(key)) throw new Violation(`${key} was connected to after another had taken its place`);
  }

  /** Of a machine; the second one only in worlds in which servers are replaced. */
  private addressesOf({ address, index }: SimServer): readonly Address[] {
    return this.plan.switches.length > 0 ? [address, twinAddress(index)] : [address];
  }

  private down(server: SimServer, silently = false): void {
    for (const address of this.addressesOf(server)) this.net.down(address, silently);
  }

  private up(server: SimServer): void {
    for (const address of this.addressesOf(server)) this.net.up(address);
  }

  private happen(event: ServerEvent): void {
    if (this.healed) return;
    const server = this.servers[event.server]!;
    switch (event.kind) {
      case "crash":
      case "vanish":
        this.down(server, event.kind === "vanish");
        this.clock.setTimer(event.forMs, () => {
          if (this.healed) return;
          // Another event may have let it up meanwhile: nobody's connection lives through this one.
          if (event.kind === "crash" || event.losesMemory) this.down(server);
          server.restart(event.losesMemory, event.loadingMs);
          this.up(server);
        });
        break;
      case "restart":
        this.down(server);
        server.restart(event.losesMemory, event.loadingMs);
        this.up(server);
        break;
      case "freeze":
        server.frozenUntilMs = this.clock.nowMs() + event.forMs;
        break;
      case "stall":
        for (const address of this.addressesOf(server)) this.net.stall(address, event.forMs);
    }
  }

  private get stops(): Plan["stops"] {
    return this.plan.longTurns ? [] : this.plan.stops;
  }

  /** Stops the proxy's process when it waits for a server; if it does not, at last anyway. */
  private stopProcess(forMs: number, tries: number): void {
    if (this.healed) return;
    const waits = this.pools.some(({ servers }) =>
      servers.some((server) => [...server.connections].some((one) => one.head !== null))
    );
    if (!waits && tries > 0) {
      this.clock.at(this.clock.nowMs() + 0.1, () => this.stopProcess(forMs, tries - 1));
      return;
    }
    this.log.add(this.clock.nowMs(), "proxy", `stopped for ${forMs.toFixed(1)} ms`);
    this.process.stop(forMs);
  }

  private heal(): void {
    this.healed = true;
    this.clock.turnMs = null;
    this.log.add(this.clock.nowMs(), "-", "heal");
    this.net.heal();
    this.net.bury();
    for (const server of this.servers) {
      server.habits = GOOD;
      server.halts = 0;
      server.turnsAway = 0;
      server.frozenUntilMs = 0;
      this.up(server);
      if (this.plan.redis) server.restart(false, 0);
    }
    for (const client of this.clients) client.hurry();
  }

  private librarian: LibrarianWorkload | null = null;

  private addLibrarian(): void {
    const { random } = this;
    const manners = {
      ...QUIET,
      requests: random.int(5, 60),
      patient: true,
      thinkMaxMs: random.magnitude(4, 400),
    };
    this.makeClient(manners, (id, random) =>
      this.librarian = new LibrarianWorkload(
        this,
        id,
        random,
        () => authSteps(this, this.hello(id)),
      )).connect(this.address);
  }

  /** All servers have the libraries that a client was told they have, and no others. */
  private checkLibraries(): void {
    const { librarian, plan } = this;
    if (librarian === null) return;
    const replaced = plan.changes.length > 0 || plan.switches.length > 0;
    // Who has lost them may have been asked which there are.
    const lost = this.servers.some(({ model }) => (model as ModelRedis).restarted);
    for (const { address } of this.config.servers) {
      const server = this.servers.find((one) => keyOf(one.address) === keyOf(address!))!;
      // That line may have been taken for the answer to a request which it has never read.
      if (server.saidExtra) continue;
      librarian.check(
        server.index,
        server.model as ModelRedis,
        lost || this.mayLackScripts(server.index),
        replaced,
      );
    }
  }

  /** Who is subscribed to what he may not hear any more has been ended. */
  private checkRights(): void {
    for (const { closed, excused, workload } of this.clients) {
      if (!closed && !excused && workload instanceof SubscriberWorkload) workload.checkRights(this.config);
    }
  }

  /** Who is subscribed still hears what is published. */
  private hear(): void {
    const hearers = this.clients.filter((client) =>
      !client.closed && client.workload instanceof SubscriberWorkload && client.workload.total > 0
    );
    if (hearers.length === 0 || this.mayRefuse) return;
    this.log.add(this.clock.nowMs(), "-", "hear");
    // A server that was frozen or busy at the end of the trouble may only now be told who listens.
    this.turns(this.clock.nowMs() + 5000);
    const client = this.makeClient(QUIET);
    const workload = client.workload as RedisWorkload;
    const said = CHANNELS.filter((channel) => mayTell(this.config, channel)).map((channel) => ({
      channel,
      ...workload.publish(channel),
    }));
    client.says = said.map(({ step }) => step);
    client.connect(this.address);
    this.turns(this.clock.nowMs() + 10_000, () => client.quiet);
    this.turns(this.clock.nowMs() + 1000);
    for (const hearer of hearers) {
      if (hearer.closed) continue;
      for (const { channel, message } of said) {
        (hearer.workload as SubscriberWorkload).mustHaveHeard(channel, message);
      }
    }
  }

  /** Who keeps a cache is told when all of it is written again, and has nothing old in it then. */
  private rewrite(): void {
    if (this.readers.length === 0 || this.mayRefuse) return;
    this.reread();
    this.log.add(this.clock.nowMs(), "-", "rewrite");
    const before = new Map(this.readers.map((reader) => [reader, new Map(reader.heard)]));
    const writer = this.makeClient(QUIET, (id, random) => this.newReader(id, random, null));
    writer.says = (writer.workload as ReaderWorkload).rewrite();
    writer.connect(this.address);
    this.turns(this.clock.nowMs() + 10_000, () => writer.quiet);
    this.checkCaches();
    for (const reader of this.readers) {
      const heard = before.get(reader);
      if (heard === undefined || !reader.broadcasts || writer.failures > 0) continue;
      const missed = TRACKED_KEYS.find((key) =>
        reader.hears(key) && reader.heard.get(key) === heard.get(key)
      );
      if (missed !== undefined) throw new Violation(`a broadcasting client has not heard of ${missed}`);
    }
  }

  /** Who keeps a cache fills it again, over connections that have to be made for that. */
  private reread(): void {
    this.log.add(this.clock.nowMs(), "-", "reread");
    for (const { address } of this.servers) {
      this.net.down(address);
      this.net.up(address);
    }
    this.turns(this.clock.nowMs() + 1000);
    for (const client of this.clients) {
      const { workload, closed, manners } = client;
      if (closed || manners.leave !== "stay" || !(workload instanceof ReaderWorkload)) continue;
      if (workload.isServed) client.submit(workload.reread());
    }
    this.turns(this.clock.nowMs() + 10_000, () => this.clients.every((client) => client.quiet));
    this.checkAnswered();
  }

  /** Those that keep a cache and are still told of changes. */
  private get readers(): ReaderWorkload[] {
    return this.clients
      .filter((client) => !client.closed)
      .map((client) => client.workload)
      .filter((workload) => workload instanceof ReaderWorkload && workload.isServed) as ReaderWorkload[];
  }

  /** When all has been said, what is in a cache is what the key's server has. */
  private checkCaches(): void {
    const { pool } = this.plan;
    if (this.readers.length === 0) return;
    // Who dozes reads late; and with distribution random nobody knows where a key is.
    this.turns(this.clock.nowMs() + 5000);
    if (this.config.distribution === "random") return;
    for (const client of this.clients) {
      const reader = client.workload;
      if (!(reader instanceof ReaderWorkload) || client.closed || !reader.isServed) continue;
      for (const [place, value] of reader.cache) {
        const [db, key] = place.split(" ") as [string, string];
        const address = this.epochs.ownerNow(key);
        const owner = this.servers.findIndex((server) => keyOf(server.address) === address);
        const model = this.servers[owner]!.model as ModelRedis;
        const present = model.databases[pool.redisDb + Number(db)]!.find(key)?.value ?? null;
        if (present === value) continue;
        throw new Violation(
          `client ${client.id} keeps ${
            JSON.stringify(value?.slice(0, 40) ?? null)
          } for ${key} in database ${db}, but ` +
            `server ${owner} has ${JSON.stringify(String(present).slice(0, 40))}, and nobody has told it`,
        );
      }
    }
  }

  private async epilogue(): Promise<void> {
    this.log.add(this.clock.nowMs(), "-", "epilogue");
    for (const client of this.clients) if (!client.closed) client.dismiss();
    this.turns(this.clock.nowMs() + 60_000, () => this.pools.every(({ clients }) => clients.size === 0));
    this.strict = true;
    const client = this.makeClient(QUIET);
    client.says = [client.workload.epilogue()];
    client.connect(this.address);
    this.turns(this.clock.nowMs() + 60_000, () => client.quiet);
    if (!client.quiet) throw new Violation(`a new client is not served: waits for ${client.expects.head}`);
    this.turns(this.clock.nowMs() + 100);
    await Promise.resolve();
  }

  private async stop(): Promise<void> {
    this.stopping = true;
    this.strict = false;
    this.log.add(this.clock.nowMs(), "-", this.plan.drains ? "drain" : "stop");
    if (this.plan.drains) {
      const busy = Array.from({ length: this.random.int(0, 4) }, () => this.busyClient());
      this.turns(this.clock.nowMs() + 20);
      let owed = -1;
      void Promise.all(this.proxies.map((proxy) => proxy.drain(2000)))
        .then((counts) => owed = counts.reduce((sum, count) => sum + count, 0));
      await this.clock.runAsync(() => owed >= 0);
      // One that never waits may have sent more than could be answered in the time.
      if (owed > 0 && busy.every((client) => client.manners.patient)) {
        throw new Violation(`drain left ${owed} clients with replies owed to them`);
      }
      this.clock.run(this.clock.nowMs() + 10_000);
      for (const client of busy) {
        const [dropped] = client.expects.dropped;
        if (owed === 0 && dropped !== undefined && client.opened && this.board.total(LIMIT_OUTPUT) === 0) {
          throw new Violation(
            `client ${client.id} has no reply to ${dropped.shown}, which was executed before the end`,
          );
        }
      }
    } else for (const proxy of this.proxies) proxy.stop();
    this.clock.run(this.clock.nowMs() + 200_000);
    if (this.net.sockets.size > 0) {
      throw new Violation(
        `${this.net.sockets.size} sockets are left: ${[...this.net.sockets].map((s) => s.label).join(" ")}`,
      );
    }
    if (this.clock.waiting > 0) throw new Violation(`${this.clock.waiting} timers are left after the end`);
    for (const pool of this.everyPool) checkPool(pool, this.turnMaxMs, this.limits);
    if (this.plan.limited) this.checkShares(true);
    checkTimed(this.board);
  }

  // ---- clients

  /** One that goes on asking until the proxy ends the connection. */
  private busyClient(): SimClient {
    const client = this.makeClient({
      ...QUIET,
      requests: 100_000,
      batchMax: this.random.magnitude(1, 10),
      patient: this.random.chance(0.5),
      thinkMaxMs: this.random.magnitude(4, 200),
      cut: this.random.chance(0.3) ? 0.3 : 0,
    });
    client.connect(this.address);
    return client;
  }

  private addClient(): void {
    if (this.healed) return;
    const { random, plan } = this;
    const manners: Manners = {
      requests: random.magnitude(1, plan.requestsMax),
      batchMax: random.magnitude(1, 40),
      patient: random.chance(0.4),
      thinkMaxMs: random.magnitude(1, 200) / 4,
      lazy: !plan.calm && random.chance(0.2) ? 0.2 : 0,
      vanish: !plan.calm && random.chance(0.2) ? 0.2 : 0,
      cut: random.chance(0.4) ? 0.3 : 0,
      leave: random.pick(["goodbye", "goodbye", "half", "destroy", "stay", "stay"] as const),
      // In the middle of a long transaction.
      ...(plan.slowTurns && plan.transactionsMax > FEW && !plan.calm ? { vanish: 0.3 } : {}),
      ...(plan.meets ? meeting(random) : {}),
    };
    if (plan.trackers > 0 && random.chance(plan.trackers)) return this.addReader(manners);
    if (plan.redis && random.chance(plan.subscribers)) {
      this.makeClient(
        manners,
        (id, random) => new SubscriberWorkload(plan, this, this.published, id, random, () => this.hello(id)),
      )
        .connect(this.address);
    } else this.makeClient(manners).connect(this.address);
  }

  /** A client that keeps a cache, and in half of the cases another one that hears for it. */
  private addReader(manners: Manners): void {
    const { random } = this;
    let ear: EarWorkload | null = null;
    if (random.chance(0.5)) {
      const client = this.makeClient(
        {
          ...QUIET,
          requests: random.int(0, 3),
          thinkMaxMs: 100,
          leave: random.pick(["stay", "stay", "destroy"]),
        },
        (id, random) => ear = new EarWorkload(this.readings, this, random, () => this.hello(id)),
      );
      ear!.isClosed = () => client.closed || client.excused;
      client.connect(this.address);
    }
    // Invalidations meet replies that wait for others only where many requests are under way.
    const crowded = {
      requests: random.magnitude(20, 400),
      batchMax: random.magnitude(4, 40),
      thinkMaxMs: 20,
    };
    const mine = random.chance(0.7) ? { ...manners, ...crowded, patient: false } : manners;
    this.makeClient(mine, (id, random) => this.newReader(id, random, ear)).connect(this.address);
  }

  private get readings(): Readings {
    return readingsOf(this.plan, this, () => this.clock.nowMs());
  }

  private newReader(id: number, random: Random, ear: EarWorkload | null): ReaderWorkload {
    return new ReaderWorkload(this.readings, this, this.written, id, random, ear, () => this.hello(id));
  }

  /** Notes the first request of a client. @returns its tag */
  private hello(id: number): string {
    const tag = `${id}.hello`;
    this.sent.set(tag, { atMs: this.clock.nowMs(), client: id, offset: 0 });
    return tag;
  }

  private makeWorkload(id: number, random: Random): Workload {
    const { plan, published } = this;
    const sentAt = (tag: string, ahead = 0) => {
      const offset = ahead + (this.clients[id - 1]?.bytesBefore ?? 0);
      this.sent.set(tag, { atMs: this.clock.nowMs(), client: id, offset });
    };
    if (plan.redis) return new RedisWorkload(plan, this, id, random, sentAt, published);
    // Drawn apart: the worlds of Redis are as they were.
    const binary = new Random(this.seed + 1).next() * 1.4 - 0.2;
    const Protocol = new Random(this.seed * 1000 + id).chance(binary) ? BinaryWorkload : MemcachedWorkload;
    return new Protocol(plan, this, id, random, sentAt);
  }

  private makeClient(
    manners: Manners,
    make: (id: number, random: Random) => Workload = (id, random) => this.makeWorkload(id, random),
  ): SimClient {
    const id = this.clients.length + 1;
    const random = this.random.fork();
    const workload = make(id, random.fork());
    const { redis } = this.plan;
    const client = new SimClient(id, redis, manners, workload, this, this.net, this.clock, random, (one) => {
      if (!one.opened) one.clean = false;
      // Who lost its connection comes back as somebody else.
      if (!this.healed && this.clients.length < this.plan.clients * 4 && this.random.chance(0.7)) {
        this.clock.setTimer(this.random.next() * 100, () => this.addClient());
      }
    });
    this.clients.push(client);
    return client;
  }

  // ---- judgement

  private nameFailures(): void {
    const { plan } = this;
    const noise = plan.habits.some((h) => h.garbage > 0 || h.extra > 0) ||
      plan.events.some((e) => e.loadingMs > 0);
    const start = plan.redis ? "-ERR " : "SERVER_ERROR ";
    const full = plan.turnsAway > 0;
    // Who cannot have a connection reads what the server has said last, on whatever connection.
    const loads = plan.events.some((e) => e.loadingMs > 0);
    for (const { code, text } of FAILURES.values()) {
      const possible = POSSIBLE.has(code) || code === "EFULL" && full || code === "ELOADING" && loads ||
        plan.switches.length > 0 && (code === "ESWITCHED" || code === "EROLE" && noise);
      if (!possible || !noise && OF_NOISE.has(code)) continue;
      for (const server of plan.pools.flatMap((pool) => pool.servers)) {
        this.failures.add(`${start}${text} (server ${server.name})\r\n`);
      }
    }
    // Values that were not asked for: a get joined with somebody's extra reply.
    if (noise && !plan.redis) this.failures.add(`${start}${FAILURES.get("EPROTO")!.text}\r\n`);
    if (ejects(plan)) this.failures.add(`${start}${NO_LIVE_SERVER_TEXT}\r\n`);
  }

  isFailure(reply: string): boolean {
    return !this.plan.calm && !this.strict && this.failures.has(reply);
  }

  /** One that lost its memory has been told again if it was ejected for it, and asked how it is, and has returned. */
  mayLackScripts(server: number): boolean {
    const { address, model, saidExtra } = this.servers[server]!;
    // That line may have been taken for the answer to a SCRIPT LOAD which it has never read.
    if (saidExtra) return true;
    // Scripts are remembered only while servers may be ejected.
    if (this.plan.pools.some((pool) => !pool.autoEjectHosts)) return true;
    const movedMs = this.moved.get(keyOf(address)) ?? -Infinity;
    // It is told at once, but stays on the ring meanwhile; and if it cannot be had it is not told again.
    if (movedMs > -Infinity && (!this.plan.calm || this.clock.nowMs() - movedMs < MOVED_MS)) return true;
    const { restarted, probedAtMs } = model as ModelRedis;
    if (!restarted) return false;
    // What CLIENT TRACKING pings looks as if it had been probed.
    if (this.plan.trackers > 0) return true;
    this.noteLives();
    return !this.epochs.returned(keyOf(address), probedAtMs);
  }

  isFailureOnRing(reply: string, tag: string): boolean {
    if (!this.isFailure(reply)) return false;
    const name = /\(server (.*)\)\r\n$/.exec(reply)?.[1];
    if (name === undefined) return true;
    this.noteLives();
    return this.epochs.onRing(name, this.sent.get(tag));
  }

  isMismatch(reply: string): boolean {
    return !this.strict && reply === "-ERR Invalid argument: the servers' replies do not fit together\r\n" &&
      this.plan.habits.some((habits) => habits.extra > 0);
  }

  isRefusal(reply: string): boolean {
    return this.mayRefuse && reply.includes("max number of clients reached");
  }

  private get mayRefuse(): boolean {
    return this.plan.pools.some(({ clientConnectionsMax, perAddress }) =>
      clientConnectionsMax > 0 || (perAddress?.connectionsMax ?? 0) > 0
    );
  }

  limited(expect: Expect, client: number, offset: number, lineOf: (reply: string) => string): Expect {
    if (!this.plan.limited) return expect;
    const sent = { atMs: this.clock.nowMs(), client, offset };
    return newExpect(
      expect,
      sent,
      (at, is) => {
        this.noteLives();
        return this.epochs.had(at, is);
      },
      this.refused,
      lineOf,
    );
  }

  had(tag: string, is: (config: PoolConfig) => boolean): boolean {
    this.noteLives();
    return this.epochs.had(this.sent.get(tag), is);
  }

  hadSinceItCame(tag: string, is: (config: PoolConfig) => boolean): boolean {
    this.noteLives();
    const sent = this.sent.get(tag);
    return this.epochs.hadSince(sent === undefined ? 0 : this.clients[sent.client - 1]!.cameAtMs, is);
  }

  keysMoved(tag: string): boolean {
    this.noteLives();
    return this.epochs.moved(this.sent.get(tag));
  }

  get password(): string | null {
    // A worker may have one already that the last one is still to take: whoever gets there has to say it.
    return this.configs.map((config) => passwordOf(alphaOf(config))).findLast((one) => one !== null) ?? null;
  }

  get hasRules(): boolean {
    return this.plan.ruled;
  }

  get mayNeedPassword(): boolean {
    return passwordsOf(this.plan).size > 1;
  }

  mayCut(client: SimClient): boolean {
    return this.stopping || this.plan.clientsLoseConnections || !client.opened || this.mayRefuse ||
      this.plan.pools.some((pool) => pool.idleTimeoutMs > 0) || !this.plan.redis && this.mayNeedPassword ||
      this.board.total(LIMIT_OUTPUT) > 0 ||
      this.plan.ruled && client.workload instanceof SubscriberWorkload ||
      (this.brokenOff > 0 && !this.plan.calm && !this.strict);
  }

  /**
   * Notes which servers are on the ring.
   * @param committed the worker that has just changed, and what had been `read` of each client then
   */
  private noteLives(committed = -1, read: ReadonlyMap<number, number> | null = null): void {
    this.pools.forEach(({ live }, worker) => {
      let mask = 0;
      for (let i = 0; i < live.length; i++) if (live[i] !== 0) mask |= 1 << i;
      this.epochs.note(worker, alphaOf(this.configs[worker]!), mask, worker === committed ? read : null);
    });
  }

  /** The server that executes a request owned its key at some moment since it was sent; or taken, if the ring has changed. */
  private checkPlace({ server, keys, tags, atMs }: Execution): void {
    this.noteLives();
    const sent = tags.map((tag) => this.sent.get(tag)).find((one) => one !== undefined);
    for (const key of keys) {
      if (this.epochs.owned(keyOf(this.servers[server]!.address), key, sent)) continue;
      throw new Violation(
        `key ${key} was brought to server ${server} at ${
          atMs.toFixed(3)
        }, which the slow ring says never owned it`,
      );
    }
  }

  private checkObjects(): void {
    // Nobody looks at a stopped process's clock.
    if (this.process.stopped) return;
    this.turnsToCheck = 0;
    for (const pool of this.everyPool) {
      checkPool(pool, this.turnMaxMs, this.limits);
      checkLeaving(pool);
    }
    this.counts.check(this.board, alphaOf(this.configs[0]!).servers.map((server) => server.name));
    this.net.invariants();
    if (this.plan.limited) this.checkShares(false);
  }

  /** @param rests see allowances.ts */
  private checkShares(rests: boolean): void {
    checkShares(this.proxies.flatMap(({ pools }) => pools), this.boards[0]!.quotas, rests);
  }

  /** What is refused is not done; and no more is done than may be. */
  private checkLimits(): void {
    const { plan, truth, refused } = this;
    if (!plan.limited) return;
    this.checkShares(true);
    const done = refused.find((one) => plan.redis && one.executed());
    if (done !== undefined) throw new Violation(`${done.shown} has been refused, and was executed`);
    const requestsMax = plan.pools.map(({ perAddress }) => perAddress?.requestsMax ?? 0);
    if (requestsMax.includes(0)) return;
    const executed = new Set([...truth.executions.keys()].map((tag) => tag.slice(0, tag.lastIndexOf("."))));
    const most = Math.max(...requestsMax) * HOSTS * (1 + this.clock.nowMs() / 1000);
    if (executed.size > most + 1) {
      throw new Violation(`${executed.size} requests were executed, and limits let ${most} through`);
    }
  }

  private checkAnswered(): void {
    for (const client of this.clients) {
      if (client.quiet) continue;
      throw new Violation(
        `client ${client.id} is stalled: ${
          client.done ? "done" : "not done"
        }, waits for ${client.expects.waiting} replies, next ${client.expects.head}`,
      );
    }
  }

  private get resting(): boolean {
    return this.pools.every(({ servers, everyServer }) =>
      servers.length === everyServer.length &&
      servers.every((server) =>
        !server.ejected && [...server.connections].every((connection) => connection.head === null)
      )
    );
  }

  /** A client of the proxy that is owed something. */
  private get owed(): Client | undefined {
    return this.pools.flatMap((pool) => [...pool.clients]).find((client) =>
      client.head !== null || client.socket.queuedBytes > 0
    );
  }

  private checkRest(): void {
    if (!this.resting) {
      throw new Violation("a server stays off the ring, or requests stay in flight, for ever");
    }
    for (const proxy of this.proxies) proxy.measure();
    for (const server of this.pools.flatMap((pool) => pool.servers)) {
      for (const gauge of [IN_QUEUE, OUT_QUEUE]) {
        if (server.counters[gauge] !== 0) {
          throw new Violation(`a queue gauge of ${server.config.name} is not 0`);
        }
      }
    }
    const { owed } = this;
    if (owed !== undefined) throw new Violation(`client ${owed.serial} of the proxy is not at rest`);
  }

  /** Whatever became of its client and its server, a transaction has happened or not. */
  private checkTransactions(): void {
    const { executions, transactions } = this.truth;
    for (const tags of transactions) {
      const done = tags.filter((tag) => executions.get(tag)?.reply.startsWith("-LOADING ") === false).length;
      if (done > 0 && done < tags.length) {
        throw new Violation(`of the transaction ${tags.join(" ")} only ${done} commands were executed`);
      }
    }
  }

  private checkCounters(): void {
    const { board, pools } = this;
    // Who is one too many of his address is counted before that is known.
    const gone = board.total(CLIENT_EOF) + board.total(CLIENT_ERR) + board.total(LIMIT_MAX_CONNECTIONS);
    const here = pools.reduce((sum, pool) => sum + pool.clients.size, 0);
    if (board.acceptedTotal !== gone + here) {
      throw new Violation(`${board.acceptedTotal} clients accepted, ${gone} counted as gone, ${here} here`);
    }
    if (board.total(SERVER_EJECTS) !== this.ejections) {
      throw new Violation(
        `server_ejects is ${board.total(SERVER_EJECTS)}, but ${this.ejections} were seen`,
      );
    }
    for (const server of pools.flatMap((pool) => pool.servers)) {
      const [requests, responses] = [server.counters[REQUESTS]!, server.counters[RESPONSES]!];
      if (responses > requests) {
        throw new Violation(`${server.config.name}: ${responses} responses to ${requests} requests`);
      }
    }
    if (!this.clients.every((client) => client.clean)) return;
    const sent = this.clients.reduce((sum, client) => sum + client.counted, 0);
    if (board.total(REQUESTS_TOTAL) !== sent) {
      throw new Violation(`requests_total is ${board.total(REQUESTS_TOTAL)}, but clients sent ${sent}`);
    }
    const failures = this.clients.reduce((sum, client) => sum + client.failures, 0);
    if (board.total(FORWARD_ERROR) < failures) {
      throw new Violation(
        `forward_error is ${board.total(FORWARD_ERROR)}, but clients read ${failures} failures`,
      );
    }
  }
}

/** Manners of who says only what it is told to. */
const QUIET: Manners = {
  requests: 0,
  batchMax: 1,
  patient: true,
  thinkMaxMs: 0,
  lazy: 0,
  vanish: 0,
  cut: 0,
  leave: "stay",
};

/** Of who is to be in the middle of something when a change comes. */
function meeting(random: Random): Partial<Manners> {
  return {
    requests: random.int(50, 200),
    batchMax: random.magnitude(1, 6),
    patient: false,
    thinkMaxMs: random.magnitude(1, 10),
    cut: random.pick([0, 0.2, 0.6]),
  };
}

/** Failures that this world can have. */
const POSSIBLE = new Set(
  "ECONNREFUSED ETIMEDOUT ECONNRESET EPIPE EOF EPROTO ESTRAY ESELECT ETRACKING".split(" "),
);
/** Those that need a server that says something wrong. */
const OF_NOISE = new Set("EPROTO ESTRAY ESELECT ETRACKING".split(" "));

/** What a keeper would say of a server that is there. */
function stateOf(server: string, address: Address, term: number): ServerState {
  const primary = { address, text: keyOf(address), zone: null };
  return { server, term, primary, replicas: [], cause: "the seed says so", why: "" };
}
