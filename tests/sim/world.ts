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
import type { Pool } from "../../src/proxy/pool.ts";
import { Proxy } from "../../src/service/proxy.ts";
import {
  CLIENT_EOF,
  CLIENT_ERR,
  FORWARD_ERROR,
  IN_QUEUE,
  LIMIT_OUTPUT,
  OUT_QUEUE,
  REQUESTS,
  REQUESTS_TOTAL,
  RESPONSES,
  SERVER_EJECTS,
} from "../../src/stats/metrics.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { checkPool } from "./checkers.ts";
import { SimClock } from "./clock.ts";
import { EventLog } from "./event_log.ts";
import type { Judge } from "./expect.ts";
import { MemcachedWorkload } from "./memcached_workload.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SYSTEM } from "./reader.ts";
import { SimNet } from "./net.ts";
import { FEW, PASS_USUAL, type Plan, planOf, type ServerEvent } from "./plan.ts";
import { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import { CHANNELS, type Published, SubscriberWorkload } from "./pubsub_workload.ts";
import { RedisWorkload } from "./redis_workload.ts";
import { type Manners, SimClient, type Workload } from "./sim_client.ts";
import { GOOD, SimServer } from "./sim_server.ts";
import { SlowRing } from "./slow_ring.ts";
import { EarWorkload, ReaderWorkload, TRACKED_KEYS, type Written } from "./tracking_workload.ts";
import { type Execution, Truth, Violation } from "./truth.ts";

/** Objects are looked at after every so many turns, and whenever a phase ends. */
const CHECK_EVERY_TURNS = 8;
/** The share of turns that are long in a world that has such. */
const LONG_TURNS = 0.1;
const LONG_TURN_MAX_MS = 500;
const SLOW_TURN_MAX_MS = 1;
/** After the trouble is over everybody must have been answered within this time. */
const PATIENCE_MS = 300_000;
const EVENTS_SHOWN = 50;
const STOP_TRIES = 5000;

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

/** @throws SimFailure */
export async function runSeed(seed: number): Promise<Result> {
  const world = new World(seed);
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
  readonly proxy: Proxy;
  readonly pool: Pool;
  readonly servers: SimServer[];
  readonly clients: SimClient[] = [];
  private readonly random: Random;
  private readonly ring: SlowRing;
  private readonly failures = new Set<string>();
  /** Which servers were on the ring since when; bit i = server i. */
  private readonly lives: { atMs: number; mask: number }[] = [];
  private readonly sentAt = new Map<string, number>();
  private readonly published: Published = new Map();
  private readonly written: Written = new Map();
  private ejections = 0;
  private healed = false;
  private strict = false;
  /** Clients that the proxy had to close in the middle of a reply. */
  private brokenOff = 0;
  private stopping = false;
  private turnsToCheck = 0;
  private readonly turnMaxMs: number;

  constructor(readonly seed: number) {
    // Nothing of the world before it.
    dropChunks(0);
    this.random = new Random(seed);
    this.plan = planOf(this.random.fork());
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
    this.net.setFaults(plan.clientFaults, plan.pool.listen);
    const serverRandom = this.random.fork();
    this.servers = plan.pool.servers.map((server, i) =>
      new SimServer(
        i,
        server.address,
        plan.redis,
        this.net,
        this.clock,
        this.truth,
        serverRandom.fork(),
        plan.password,
      )
    );
    this.servers.forEach((server, i) => {
      server.habits = plan.habits[i]!;
      server.halts = plan.passMin < PASS_USUAL && !plan.calm ? 0.3 : 0;
      server.turnsAway = plan.turnsAway;
    });
    this.truth.watch = (execution) => this.checkPlace(execution);
    this.process = new SimProcess(this.clock, this.net);
    const stops = this.stops.length > 0;
    this.proxy = new Proxy({
      config: plan.config,
      net: stops ? this.process : this.net,
      clock: stops ? new RunningClock(this.process) : this.clock,
      random: this.random.fork().next,
      sliceArguments: plan.sliceArguments,
      passMin: plan.passMin,
      log: { level: 5, write: (_level, text) => this.noteLog(text) },
      system: SYSTEM,
    });
    this.pool = this.proxy.pools[0]!;
    this.ring = new SlowRing(plan.pool);
    this.nameFailures();
  }

  private noteLog(text: string): void {
    if (/cannot have the rest of a reply/.test(text)) this.brokenOff++;
    this.log.add(this.clock.nowMs(), "proxy", text);
    // One server may leave and another return in one long turn, and a slice be placed between the two: looked at here, not after it.
    if (text.startsWith("update pool ")) this.noteLives();
  }

  describe(): string {
    const { plan } = this;
    const events = plan.events.map((e) =>
      `  ${e.atMs.toFixed(0)} ms: server ${e.server} ${e.kind} for ${e.forMs} ms` +
      `${e.losesMemory ? ", loses its memory" : ""}${e.loadingMs > 0 ? `, loads ${e.loadingMs} ms` : ""}\n`
    );
    const slices = plan.sliceArguments < 100 ? `slices of ${plan.sliceArguments} arguments\n` : "";
    const parts = plan.passMin < PASS_USUAL ? `replies in parts from ${plan.passMin} bytes on\n` : "";
    const away = plan.turnsAway > 0 ? `servers are full ${plan.turnsAway.toFixed(2)} of the time\n` : "";
    return `${plan.text}${plan.calm ? "calm\n" : ""}${slices}${parts}${away}${events.join("")}`;
  }

  async run(): Promise<Result> {
    for (const server of this.servers) await server.listen();
    await this.proxy.listen(null);
    this.noteLives();
    for (const event of this.plan.events) this.clock.at(event.atMs, () => this.happen(event));
    for (const { atMs, forMs } of this.stops) this.clock.at(atMs, () => this.stopProcess(forMs, STOP_TRIES));
    for (let i = 0; i < this.plan.clients; i++) {
      this.clock.at(this.random.next() * this.plan.arrivalsMs, () => this.addClient());
    }
    this.turns(this.plan.chaosMs);
    this.heal();
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.clients.every((client) => client.quiet));
    this.checkAnswered();
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.resting);
    this.turns(this.clock.nowMs() + 1000);
    // Lines of clients that track are pinged now and then; and that a client is gone may have to wait for a stalled link.
    this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.resting && this.owed === undefined);
    this.checkRest();
    this.checkCaches();
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

  private afterTurn(): void {
    this.noteLives();
    if (++this.turnsToCheck >= CHECK_EVERY_TURNS) this.checkObjects();
  }

  private happen(event: ServerEvent): void {
    if (this.healed) return;
    const server = this.servers[event.server]!;
    const { address } = server;
    switch (event.kind) {
      case "crash":
      case "vanish":
        this.net.down(address, event.kind === "vanish");
        this.clock.setTimer(event.forMs, () => {
          if (this.healed) return;
          // Another event may have let it up meanwhile: nobody's connection lives through this one.
          if (event.kind === "crash" || event.losesMemory) this.net.down(address);
          server.restart(event.losesMemory, event.loadingMs);
          this.net.up(address);
        });
        break;
      case "restart":
        this.net.down(address);
        server.restart(event.losesMemory, event.loadingMs);
        this.net.up(address);
        break;
      case "freeze":
        server.frozenUntilMs = this.clock.nowMs() + event.forMs;
        break;
      case "stall":
        this.net.stall(address, event.forMs);
    }
  }

  private get stops(): Plan["stops"] {
    return this.plan.longTurns ? [] : this.plan.stops;
  }

  /** Stops the proxy's process when it waits for a server; if it does not, at last anyway. */
  private stopProcess(forMs: number, tries: number): void {
    if (this.healed) return;
    const waits = this.pool.servers.some((server) =>
      [...server.connections].some((one) => one.head !== null)
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
      this.net.up(server.address);
      if (this.plan.redis) server.restart(false, 0);
    }
    for (const client of this.clients) client.hurry();
  }

  /** Who is subscribed still hears what is published. */
  private hear(): void {
    const hearers = this.clients.filter((client) =>
      !client.closed && client.workload instanceof SubscriberWorkload && client.workload.total > 0
    );
    const { pool } = this.plan;
    if (hearers.length === 0 || pool.clientConnectionsMax > 0) return;
    this.log.add(this.clock.nowMs(), "-", "hear");
    // A server that was frozen or busy at the end of the trouble may only now be told who listens.
    this.turns(this.clock.nowMs() + 5000);
    const client = this.makeClient(QUIET);
    const workload = client.workload as RedisWorkload;
    const said = CHANNELS.map((channel) => ({ channel, ...workload.publish(channel) }));
    client.says = said.map(({ step }) => step);
    client.connect(pool.listen);
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
    const { pool } = this.plan;
    if (this.readers.length === 0 || pool.clientConnectionsMax > 0) return;
    this.reread();
    this.log.add(this.clock.nowMs(), "-", "rewrite");
    const before = new Map(this.readers.map((reader) => [reader, new Map(reader.heard)]));
    const writer = this.makeClient(QUIET, (id, random) => this.newReader(id, random, null));
    writer.says = (writer.workload as ReaderWorkload).rewrite();
    writer.connect(pool.listen);
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
    if (pool.distribution === "random") return;
    const all = 2 ** this.servers.length - 1;
    for (const client of this.clients) {
      const reader = client.workload;
      if (!(reader instanceof ReaderWorkload) || client.closed || !reader.isServed) continue;
      for (const [place, value] of reader.cache) {
        const [db, key] = place.split(" ") as [string, string];
        const owner = this.servers.findIndex((server) => this.ring.owns(server.index, key, all));
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
    this.turns(this.clock.nowMs() + 60_000, () => this.pool.clients.size === 0);
    this.strict = true;
    const client = this.makeClient(QUIET);
    client.says = [client.workload.epilogue()];
    client.connect(this.plan.pool.listen);
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
      void this.proxy.drain(2000).then((count) => owed = count);
      await this.clock.runAsync(() => owed >= 0);
      // One that never waits may have sent more than could be answered in the time.
      if (owed > 0 && busy.every((client) => client.manners.patient)) {
        throw new Violation(`drain left ${owed} clients with replies owed to them`);
      }
      this.clock.run(this.clock.nowMs() + 10_000);
      for (const client of busy) {
        const [dropped] = client.expects.dropped;
        if (owed === 0 && dropped !== undefined && client.opened && this.pool.counters[LIMIT_OUTPUT] === 0) {
          throw new Violation(
            `client ${client.id} has no reply to ${dropped.shown}, which was executed before the end`,
          );
        }
      }
    } else this.proxy.stop();
    this.clock.run(this.clock.nowMs() + 200_000);
    if (this.net.sockets.size > 0) {
      throw new Violation(
        `${this.net.sockets.size} sockets are left: ${[...this.net.sockets].map((s) => s.label).join(" ")}`,
      );
    }
    if (this.clock.waiting > 0) throw new Violation(`${this.clock.waiting} timers are left after the end`);
    checkPool(this.pool, this.turnMaxMs);
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
    client.connect(this.plan.pool.listen);
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
    };
    if (plan.trackers > 0 && random.chance(plan.trackers)) return this.addReader(manners);
    if (plan.redis && random.chance(plan.subscribers)) {
      this.makeClient(manners, (id, random) => new SubscriberWorkload(plan, this, this.published, id, random))
        .connect(plan.pool.listen);
    } else this.makeClient(manners).connect(plan.pool.listen);
  }

  /** A client that keeps a cache, and in half of the cases another one that hears for it. */
  private addReader(manners: Manners): void {
    const { plan, random } = this;
    let ear: EarWorkload | null = null;
    if (random.chance(0.5)) {
      const client = this.makeClient(
        {
          ...QUIET,
          requests: random.int(0, 3),
          thinkMaxMs: 100,
          leave: random.pick(["stay", "stay", "destroy"]),
        },
        (_id, random) => ear = new EarWorkload(plan, this, random),
      );
      ear!.isClosed = () => client.closed || client.excused;
      client.connect(plan.pool.listen);
    }
    // Invalidations meet replies that wait for others only where many requests are under way.
    const crowded = {
      requests: random.magnitude(20, 400),
      batchMax: random.magnitude(4, 40),
      thinkMaxMs: 20,
    };
    const mine = random.chance(0.7) ? { ...manners, ...crowded, patient: false } : manners;
    this.makeClient(mine, (id, random) => this.newReader(id, random, ear)).connect(plan.pool.listen);
  }

  private newReader(id: number, random: Random, ear: EarWorkload | null): ReaderWorkload {
    return new ReaderWorkload(this.plan, this, this.written, id, random, ear);
  }

  private makeWorkload(id: number, random: Random): Workload {
    const { plan, published } = this;
    const sentAt = (tag: string) => void this.sentAt.set(tag, this.clock.nowMs());
    if (plan.redis) return new RedisWorkload(plan, this, id, random, sentAt, published);
    return new MemcachedWorkload(plan, this, id, random, sentAt);
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
    for (const { code, text } of FAILURES.values()) {
      if (!POSSIBLE.has(code) && !(code === "EFULL" && plan.turnsAway > 0) || !noise && OF_NOISE.has(code)) {
        continue;
      }
      for (const server of plan.pool.servers) {
        this.failures.add(`${start}${text} (server ${server.name})\r\n`);
      }
    }
    // Values that were not asked for: a get joined with somebody's extra reply.
    if (noise && !plan.redis) this.failures.add(`${start}${FAILURES.get("EPROTO")!.text}\r\n`);
    if (plan.pool.autoEjectHosts) this.failures.add(`${start}${NO_LIVE_SERVER_TEXT}\r\n`);
  }

  isFailure(reply: string): boolean {
    return !this.plan.calm && !this.strict && this.failures.has(reply);
  }

  /** One that lost its memory has been told again if it was ejected for it, and asked how it is, and has returned. */
  mayLackScripts(server: number): boolean {
    const { restarted, probedAtMs } = this.servers[server]!.model as ModelRedis;
    if (!restarted) return false;
    // What CLIENT TRACKING pings looks as if it had been probed.
    if (this.plan.trackers > 0) return true;
    this.noteLives();
    const returned = this.lives.some(({ mask, atMs }, i) =>
      atMs >= probedAtMs && (mask >> server & 1) === 1 && i > 0 &&
      (this.lives[i - 1]!.mask >> server & 1) === 0
    );
    return !returned;
  }

  isFailureOnRing(reply: string, tag: string): boolean {
    if (!this.isFailure(reply)) return false;
    const name = /\(server (.*)\)\r\n$/.exec(reply)?.[1];
    const server = this.plan.pool.servers.findIndex((one) => one.name === name);
    if (server < 0) return true;
    this.noteLives();
    const sentMs = this.sentAt.get(tag) ?? 0;
    for (let i = this.lives.length - 1; i >= 0; i--) {
      const { mask, atMs } = this.lives[i]!;
      if ((mask >> server & 1) === 1 || mask === 0) return true;
      if (atMs < sentMs) return false;
    }
    return false;
  }

  isMismatch(reply: string): boolean {
    return !this.strict && reply === "-ERR Invalid argument: the servers' replies do not fit together\r\n" &&
      this.plan.habits.some((habits) => habits.extra > 0);
  }

  isRefusal(reply: string): boolean {
    return this.plan.pool.clientConnectionsMax > 0 && reply.includes("max number of clients reached");
  }

  mayCut(client: SimClient): boolean {
    const { pool } = this.plan;
    return this.stopping || this.plan.clientsLoseConnections || pool.idleTimeoutMs > 0 || !client.opened ||
      pool.clientConnectionsMax > 0 || this.pool.counters[LIMIT_OUTPUT]! > 0 ||
      (this.brokenOff > 0 && !this.plan.calm && !this.strict);
  }

  /** Notes which servers are on the ring, and counts those that leave it. */
  private noteLives(): void {
    let mask = 0;
    const { live } = this.pool;
    for (let i = 0; i < live.length; i++) if (live[i] !== 0) mask |= 1 << i;
    const before = this.lives.at(-1);
    if (before?.mask === mask) return;
    if (before !== undefined) {
      for (let left = before.mask & ~mask; left !== 0; left &= left - 1) this.ejections++;
    }
    this.lives.push({ atMs: this.clock.nowMs(), mask });
  }

  /** The server that executes a request owned its key at some moment since it was sent. */
  private checkPlace({ server, keys, tags, atMs }: Execution): void {
    this.noteLives();
    const sentMs = Math.min(...tags.map((tag) => this.sentAt.get(tag) ?? 0));
    for (const key of keys) {
      let owned = false;
      for (let i = this.lives.length - 1; i >= 0 && !owned; i--) {
        owned = this.ring.owns(server, key, this.lives[i]!.mask);
        if (this.lives[i]!.atMs < sentMs) break;
      }
      if (!owned) {
        throw new Violation(
          `key ${key} was brought to server ${server} at ${
            atMs.toFixed(3)
          }, which the slow ring says never owned it`,
        );
      }
    }
  }

  private checkObjects(): void {
    // Nobody looks at a stopped process's clock.
    if (this.process.stopped) return;
    this.turnsToCheck = 0;
    checkPool(this.pool, this.turnMaxMs);
    this.net.invariants();
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
    return this.pool.servers.every((server) =>
      !server.ejected && [...server.connections].every((connection) => connection.head === null)
    );
  }

  /** A client of the proxy that is owed something. */
  private get owed(): Client | undefined {
    return [...this.pool.clients].find((client) => client.head !== null || client.socket.queuedBytes > 0);
  }

  private checkRest(): void {
    if (!this.resting) {
      throw new Violation("a server stays off the ring, or requests stay in flight, for ever");
    }
    this.proxy.measureQueues();
    for (const server of this.pool.servers) {
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
    const { counters } = this.pool;
    const accepted = this.pool.board.acceptedTotal;
    const gone = counters[CLIENT_EOF]! + counters[CLIENT_ERR]!;
    if (accepted !== gone + this.pool.clients.size) {
      throw new Violation(
        `${accepted} clients accepted, ${gone} counted as gone, ${this.pool.clients.size} here`,
      );
    }
    if (counters[SERVER_EJECTS] !== this.ejections) {
      throw new Violation(`server_ejects is ${counters[SERVER_EJECTS]}, but ${this.ejections} were seen`);
    }
    for (const server of this.pool.servers) {
      const [requests, responses] = [server.counters[REQUESTS]!, server.counters[RESPONSES]!];
      if (responses > requests) {
        throw new Violation(`${server.config.name}: ${responses} responses to ${requests} requests`);
      }
    }
    if (!this.clients.every((client) => client.clean)) return;
    const sent = this.clients.reduce((sum, client) => sum + client.counted, 0);
    if (counters[REQUESTS_TOTAL] !== sent) {
      throw new Violation(`requests_total is ${counters[REQUESTS_TOTAL]}, but clients sent ${sent}`);
    }
    const failures = this.clients.reduce((sum, client) => sum + client.failures, 0);
    if (counters[FORWARD_ERROR]! < failures) {
      throw new Violation(
        `forward_error is ${counters[FORWARD_ERROR]}, but clients read ${failures} failures`,
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

/** Failures that this world can have. */
const POSSIBLE = new Set(
  "ECONNREFUSED ETIMEDOUT ECONNRESET EPIPE EOF EPROTO ESTRAY ESELECT ETRACKING".split(" "),
);
/** Those that need a server that says something wrong. */
const OF_NOISE = new Set("EPROTO ESTRAY ESELECT ETRACKING".split(" "));
