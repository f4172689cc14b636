/**
 * A simulated cluster and the proxy in front of it: slots move, key by key or at a stroke, primaries make way, die and stop for a while,
 * and nodes hear of all that one after the other, so that for some time they speak of it differently.
 *
 *   SimClient ──► Proxy (one a worker) ──► ClusterRedis (a SimServer each)    shard 0: 10.0.0.1  shard 1: 10.0.0.2 …  replicas behind them
 *                   ▲ adopt                  ▲ learn
 *                 source ◄── what one node says ── ModelCluster
 *
 * What holds, always:
 *  1. every reply is the one that a node gave for this request (tags), in the order of its client's requests;
 *  2. nothing is executed twice, nor behind a later request of its client for the same key (truth.ts);
 *  3. what is executed is so by the shard that has the key just then, or is to have it: one history a key;
 *  4. ASKING comes right before what has just been told ASK, once, and never without; nobody is sent on in circles;
 *  5. errors are read only while a primary is missing and one second longer, or where the network fails;
 *     TRYAGAIN only of a slot that has migrated for longer than cluster_tryagain;
 *  6. EXEC does nothing if what was watched has changed;
 *  7. no client reads that a node has never heard of a script or function, once a client has been told that it is loaded; in and out of
 *     MULTI, on nodes that have lost it, or have just got their first slot;
 *  8. what is published comes to who is subscribed, once at most, and at the end just once;
 *  9. who keeps a cache (CLIENT TRACKING) has nothing old in it when all rests, and reads nothing that he has not been told of before, but
 *     where slots have moved;
 * 10. at the end all is served, nothing is held, and nothing is left after the stop.
 */
import { dropChunks } from "../../src/bytes/chunks.ts";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { FAILURES } from "../../src/proxy/failures.ts";
import type { Pool, Seat } from "../../src/proxy/pool.ts";
import { Director } from "../../src/service/director.ts";
import { Proxy } from "../../src/service/proxy.ts";
import type { Board } from "../../src/stats/board.ts";
import { Sources } from "../../src/topology/sources.ts";
import type { ServerState, Sign } from "../../src/topology/state.ts";
import { changeOf } from "../../src/topology/change.ts";
import { checkPool, checkTimed } from "./checkers.ts";
import { SimClock } from "./clock.ts";
import { type ClusterPlan, clusterPlanOf, nodeText, PASS_MIN } from "./cluster_plan.ts";
import { ClusterListener, type Told } from "./cluster_listener.ts";
import { type ClusterJudge, ClusterWorkload } from "./cluster_workload.ts";
import { EventLog } from "./event_log.ts";
import type { Judge } from "./expect.ts";
import { CALM } from "./faults.ts";
import { type ClusterNews, ClusterRedis, ModelCluster, slotOf } from "./model_cluster.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SYSTEM } from "./reader.ts";
import { Loaded } from "./scripts.ts";
import { type Manners, SimClient, type Workload } from "./sim_client.ts";
import { SimServer } from "./sim_server.ts";
import { EarWorkload, ReaderWorkload, type Readings, type Written } from "./tracking_workload.ts";
import { Truth, Violation } from "./truth.ts";
import { boardsOf } from "./threads.ts";

const CHECK_EVERY_TURNS = 16;
/** What had left the proxy when a node refused something has arrived so soon. */
const UNDER_WAY_MS = 5;
/** Of very many bytes it takes longer. */
const LARGE_UNDER_WAY_MS = 100;
const EVENTS_SHOWN = 80;
/** After a primary is there again errors may go on for so long. */
const CALMS_MS = 1000;
/** A round of the source takes so long. */
const LEARNT_MS = 200;
/** Whoever is sent on and on reads after so long what was said last (DOWN_MS in redirect.ts). */
const SENT_ON_MS = 1000;
/** When all is well everybody must have been answered within this time. */
const PATIENCE_MS = 60_000;
/** What has been published has been heard after so long. */
const HEARD_MS = 100;
/** What a node has said just before another takes its place has come once more after so long. */
const TOLD_AGAIN_MS = 50;
/** Whoever tracks is told of what has changed before. */
const RESTS_MS = 5000;
/** … and soon, where nothing stands still. */
const TOLD_SOON_MS = 300;

export interface ClusterResult {
  readonly seed: number;
  readonly requests: number;
  /** Errors that clients have read and were allowed to. */
  readonly refused: number;
  readonly moved: number;
  readonly asks: number;
  readonly tryAgains: number;
  /** How often a node lacked a script or function. */
  readonly lacking: number;
  readonly hash: number;
}

export class ClusterFailure extends Error {
  override name = "ClusterFailure";
  constructor(readonly seed: number, readonly why: string, readonly events: string) {
    super(`seed ${seed}: ${why}\n\n${events}`);
  }
}

/**
 * @param plain, tracks see clusterPlanOf
 * @throws ClusterFailure
 */
export async function runClusterSeed(
  seed: number,
  plain = false,
  tracks = !plain,
): Promise<ClusterResult> {
  const world = new ClusterWorld(seed, plain, tracks);
  try {
    return await world.run();
  } catch (error) {
    const why = error instanceof Violation ? error.message : (error as Error).stack ?? String(error);
    const plan = JSON.stringify({ ...world.plan, text: undefined });
    throw new ClusterFailure(seed, why, `${world.plan.text}${plan}\n${world.log.toString(EVENTS_SHOWN)}`);
  }
}

const NO_DNS = { addresses: () => Promise.resolve([]), services: () => Promise.resolve([]) };
const FAILURE_TEXTS = [...FAILURES.values()].map(({ text }) => text);

export class ClusterWorld implements ClusterJudge, Judge {
  readonly log = new EventLog(400);
  readonly clock = new SimClock();
  readonly plan: ClusterPlan;
  readonly truth = new Truth();
  readonly slots: readonly string[];
  readonly cluster: ModelCluster;
  private readonly random: Random;
  private readonly net: SimNet;
  private readonly servers: SimServer[] = [];
  private proxies: readonly Proxy[] = [];
  private boards: readonly Board[] = [];
  private readonly sources: Sources;
  private director: Director | null = null;
  private key = "";
  private readonly clients: SimClient[] = [];
  private config: Config;
  private changes = 0;
  /** What the source has said and workers have not adopted. */
  private said: Config | null = null;
  /** Who is in truth the primary of each shard. */
  private readonly primaries: number[];
  private readonly owners = new Map<number, number>();
  private readonly dead = new Set<number>();
  /** Slots that migrate, and since when; of those that did, until when. */
  private readonly migrations: { readonly slot: number; readonly fromMs: number; untilMs: number }[] = [];
  private disturbed = { fromMs: Infinity, untilMs: -Infinity };
  /** By then all nodes have been told of all that has happened so far. */
  private toldMs = 0;
  /** The same of who is a shard's primary. */
  private primariesToldMs = 0;
  private healed = false;
  private turnsToCheck = 0;
  /** By the tag of WATCH: its key and how often that had changed. */
  private readonly watches = new Map<string, number>();
  /** By the tag that a transaction begins with: what it has watched. */
  private readonly relies = new Map<string, { readonly watch: string; readonly key: string }>();

  readonly loaded = new Loaded(() => this.clock.nowMs());

  constructor(readonly seed: number, plain = false, tracks = !plain) {
    dropChunks(0);
    this.random = new Random(seed);
    this.plan = clusterPlanOf(this.random.fork(), plain, tracks);
    const { plan, clock, log, random } = this;
    this.net = new SimNet(clock, random.fork(), { log, faults: plan.faults ?? CALM });
    this.net.gridMs = plan.gridMs;
    if (plan.turnMaxMs > 0) {
      const turnRandom = new Random(seed);
      clock.turnMs = () => turnRandom.chance(0.5) ? turnRandom.next() * plan.turnMaxMs : 0;
    }
    this.slots = Array.from({ length: plan.slots }, () => `s${random.int(0, 999)}`);
    this.cluster = new ModelCluster(plan.shards, plan.manner, clock, plan.empty);
    this.cluster.isCalm = plan.faults === null && plan.kills === 0;
    this.cluster.settledMs = () => this.cluster.isCalm && plan.stops === 0 ? this.toldMs : Infinity;
    this.cluster.matesOf = (tag) => this.truth.transactions.find((tags) => tags.includes(tag)) ?? [tag];
    this.cluster.executes = (tags, keys) => this.executes(tags, keys);
    this.primaries = Array.from({ length: plan.shards }, (_, shard) => shard);
    for (let number = 0; number < plan.shards * (1 + plan.replicas); number++) {
      const [host] = nodeText(number).split(":") as [string];
      const server = new SimServer(
        number,
        { host, port: 7000 },
        true,
        this.net,
        clock,
        this.truth,
        random.fork(),
        null,
      );
      server.model = new ClusterRedis(
        number,
        number % plan.shards,
        nodeText(number),
        this.cluster,
        this.truth,
        clock,
        { random: random.fork().next, ...(plan.password === null ? {} : { password: plan.password }) },
      );
      this.servers.push(server);
    }
    this.config = parseConfig(plan.text, "sim.yml");
    this.net.setFaults(CALM, this.config.pools[0]!.listen);
    // A replica may answer what was asked of it before the primary what was asked later.
    this.truth.isOrdered = !plan.readsFromReplicas;
    this.truth.mayRepeat = (tag) => plan.readsFromReplicas && this.cluster.reads.has(tag);
    // What could not be sent no node has seen.
    this.truth.mayDetour = (tag) => !this.cluster.isCalm || this.cluster.wasSentOn(tag) || this.mayHaveWaited;
    this.truth.mayBeLate = (tag, behind, server, atMs) => this.mayBeLate(tag, behind, server, atMs);
    this.sources = new Sources({ net: this.net, clock, dns: NO_DNS, random: random.fork().next });
  }

  /** Once it is known what the servers are. */
  private makeProxies(): void {
    const { plan, clock, log, random } = this;
    this.boards = boardsOf(this.config, plan.workers);
    this.proxies = this.boards.map((board, worker) =>
      new Proxy({
        config: this.config,
        net: this.net,
        clock,
        random: random.fork().next,
        log: { level: 5, write: (_level, text) => log.add(clock.nowMs(), "proxy", text) },
        system: SYSTEM,
        sliceArguments: plan.sliceArguments,
        passMin: plan.passMin,
        seat: this.seatOf(worker, board),
      })
    );
  }

  private seatOf(worker: number, board: Board): Seat {
    const others = Array.from({ length: this.plan.workers }, (_, i) => i).filter((i) => i !== worker);
    const soon = (to: number, run: (proxy: Proxy) => void) =>
      void this.clock.setTimer(0.1, () => run(this.proxies[to]!));
    return {
      worker,
      board,
      serversChanged: (pool) => others.forEach((to) => soon(to, (proxy) => proxy.serversChanged(pool))),
      tellOthers: (pool, words) => others.forEach((to) => soon(to, (proxy) => proxy.knows(pool, words))),
      sign: (_pool, server, sign, cause) => this.signed(server, sign, cause),
      ask: (to, pool, question, told) =>
        soon(to, (proxy) => proxy.asked(pool, question, (answer) => soon(worker, () => told(answer)))),
    };
  }

  async run(): Promise<ClusterResult> {
    const { clock, plan, random } = this;
    for (const server of this.servers) await server.listen();
    let filled: Config | null = null;
    void this.sources.fill(this.config).then((config) => filled = config);
    await clock.runAsync(() => filled !== null);
    this.config = filled!;
    this.noteServers(this.config);
    this.makeProxies();
    await this.startSource();
    for (const proxy of this.proxies) await proxy.listen(null);
    for (let i = 0; i < plan.clients; i++) this.addClient();
    for (let i = 0; i < plan.listeners; i++) this.addListener();
    for (let i = 0; i < plan.trackers; i++) this.addReader();
    const at = (run: () => void) => clock.at(clock.nowMs() + random.next() * plan.troubleMs, run);
    for (let i = 0; i < plan.migrations; i++) at(() => this.migrate(random.pick(this.slots)));
    for (let i = 0; i < plan.failovers; i++) at(() => this.makeWay(random.int(0, plan.shards - 1)));
    for (let i = 0; i < plan.kills; i++) at(() => this.kill(random.int(0, plan.shards - 1)));
    for (let i = 0; i < plan.stops; i++) at(() => this.stopNode(random.int(0, plan.shards - 1)));
    for (let i = 0; i < plan.forgets; i++) at(() => this.forget());
    await this.turns(clock.nowMs() + plan.troubleMs);
    this.heal();
    await this.turns(
      clock.nowMs() + PATIENCE_MS,
      () => this.settled && this.clients.every((client) => client.quiet),
    );
    for (const client of this.clients) {
      if (client.quiet) continue;
      throw new Violation(
        `client ${client.id} is stalled, waits for ${client.expects.waiting} replies, next ${client.expects.head}`,
      );
    }
    // All nodes have heard of everything, and after another refresh so has the proxy.
    await this.turns(Math.max(clock.nowMs(), this.toldMs) + this.learntMs);
    await this.epilogue();
    await this.tellAll();
    await this.rewrite();
    await this.turns(clock.nowMs() + PATIENCE_MS, () => this.unrest === null);
    if (this.unrest !== null) throw new Violation(this.unrest);
    this.checkTransactions();
    await this.stop();
    return {
      seed: this.seed,
      requests: this.clients.reduce((sum, client) => sum + client.counted, 0),
      refused: this.refused,
      moved: this.cluster.said.moved,
      asks: this.cluster.said.ask,
      tryAgains: this.cluster.said.tryAgain,
      lacking: this.cluster.said.lacking,
      hash: this.log.hash,
    };
  }

  /** So long after the nodes the proxy knows it too. */
  private get learntMs(): number {
    return 1.2 * this.config.pools[0]!.clusterRefreshMs + LEARNT_MS;
  }

  private note(what: string): void {
    this.log.add(this.clock.nowMs(), "-", what);
  }

  private async turns(untilMs: number, stop: () => boolean = () => false): Promise<void> {
    for (;;) {
      this.clock.run(untilMs, () => {
        if (++this.turnsToCheck >= CHECK_EVERY_TURNS) this.checkObjects();
        return this.said !== null || stop();
      });
      if (this.said === null) break;
      await this.adopt();
    }
    this.checkObjects();
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  get mayNeedPassword(): boolean {
    return false;
  }

  get password(): string | null {
    return this.plan.password;
  }

  get keysPerSlot(): number {
    return this.plan.keysPerSlot;
  }

  get blocks(): boolean {
    return this.plan.blocks;
  }

  get scripts(): boolean {
    return this.plan.scripts;
  }

  get sliceArguments(): number {
    return this.plan.sliceArguments;
  }

  mayHaveMoved(name: string, sinceMs: number): boolean {
    const slot = slotOf(`{${name}}`);
    const isLate = (untilMs: number) => untilMs + this.learntMs >= sinceMs;
    return isLate(this.toldMs) ||
      this.migrations.some((one) => one.slot === slot && isLate(one.untilMs));
  }

  get large(): boolean {
    return this.plan.large;
  }

  asksFirst(tag: string): void {
    this.cluster.scripts.add(tag);
  }

  get flushes(): boolean {
    return this.plan.flushes;
  }

  private get pools(): Pool[] {
    return this.proxies.map((proxy) => proxy.pools[0]!);
  }

  // ---- what the proxy knows of the cluster

  /** One node or more is asked, which may not have heard of all. */
  private async startSource(): Promise<void> {
    const log = {
      level: 5,
      write: (_: number, text: string) => this.log.add(this.clock.nowMs(), "source", text),
    };
    this.sources.keep(this.config);
    this.sources.watch(log, (key) => {
      this.key = key;
      this.said = this.sources.withServers(this.config, key, this.sources.latestOf(key)!.servers);
    });
    this.director = new Director({
      config: this.config,
      net: this.net,
      clock: this.clock,
      random: this.random.fork().next,
      log,
      hint: (...seen) => this.sources.hint(...seen),
    });
    let ready = false;
    void this.director.start({ follow: (_, states) => this.follow(states), tellEvents: () => {} })
      .then(() => ready = true);
    await this.clock.runAsync(() => ready);
  }

  private follow(states: readonly ServerState[]): void {
    this.proxies.forEach((proxy, worker) => {
      this.clock.setTimer(worker === 0 ? 0 : this.random.next(), () => proxy.follow("alpha", states));
    });
  }

  private signed(server: string, sign: Sign, cause: string): void {
    this.note(`sign of ${server}: ${sign}, ${cause}`);
    this.clock.setTimer(0.1, () => this.director?.sign("alpha", server, sign, cause));
  }

  /** All workers take what the source has said, one after the other. */
  private async adopt(): Promise<void> {
    const { said, clock } = this;
    this.said = null;
    const change = changeOf(this.config, said!);
    const memory = this.boards[0]!.arrange(change.arrangement);
    const stamp = { epoch: ++this.changes, cause: "the cluster", atMs: clock.wallMs() };
    const prepared = [];
    for (const proxy of this.proxies) prepared.push(await proxy.prepare(said!, memory, stamp));
    this.adoptedMs = clock.nowMs();
    for (const [i, proxy] of this.proxies.entries()) {
      if (i > 0) clock.run(clock.nowMs() + this.random.next() * 5);
      this.checkObjects();
      proxy.commit(prepared[i]!);
      this.note(
        `worker ${i} has adopted ${
          said!.pools[0]!.servers.map(({ name, slots }) => `${name} ${slots}`).join(", ")
        }`,
      );
      this.checkObjects();
    }
    this.noteServers(said!);
    this.adoptedMs = clock.nowMs();
    this.config = said!;
    this.sources.take(this.key, said!.pools[0]!.servers);
    this.director!.adopt(said!, "the cluster", "alpha");
    for (let i = 0; i < 5; i++) await Promise.resolve();
  }

  /** By shard that is a server of the pool: since when. */
  private readonly servesSince = new Map<number, number>();
  private adoptedMs = -Infinity;
  private noteServers({ pools: [pool] }: Config): void {
    const shards = new Set(
      pool!.servers.map(({ addressText }) =>
        this.cluster.nodes.find(({ text }) => text === addressText)?.shard ?? -1
      ),
    );
    for (const shard of this.servesSince.keys()) if (!shards.has(shard)) this.servesSince.delete(shard);
    for (const shard of shards) {
      if (!this.servesSince.has(shard)) this.servesSince.set(shard, this.clock.nowMs());
    }
  }

  // ---- what happens to the cluster

  private node(number: number): ClusterRedis {
    return this.cluster.nodes[number]!;
  }

  private primaryOf(shard: number): ClusterRedis {
    return this.node(this.primaries[shard]!);
  }

  private shardOf(slot: number): number {
    return this.owners.get(slot) ?? this.cluster.firstShardOf(slot);
  }

  private handOver(slot: number, to: number): void {
    this.owners.set(slot, to);
    this.cluster.handedOver(slot);
  }

  private get whole(): boolean {
    return this.primaries.every((number) => !this.dead.has(number));
  }

  private after(ms: number, run: () => void): void {
    this.clock.setTimer(ms, run);
  }

  /** The nodes hear of it, each in its time; `first` at once. */
  private gossip(news: ClusterNews, first: readonly ClusterRedis[]): void {
    const mostMs = this.plan.gossipMaxMs;
    this.toldMs = Math.max(this.toldMs, this.clock.nowMs() + mostMs * (this.plan.liars > 0 ? 10 : 1));
    for (const node of this.cluster.nodes) {
      // SETSLOT is replicated before it is done, as in Valkey 8 and later.
      const mate = this.plan.manner === "valkey" && news.kind === "slots" &&
        first.some(({ shard }) => shard === node.shard);
      if (first.includes(node) || mate && !this.dead.has(node.number)) {
        node.learn(news);
        continue;
      }
      const slow = this.random.chance(this.plan.liars) ? 10 : 1;
      this.after(this.random.next() * mostMs * slow, () => {
        if (!this.dead.has(node.number)) node.learn(news);
      });
    }
  }

  private migrate(name: string): void {
    const { random, plan } = this;
    const slot = slotOf(`{${name}}`);
    const from = this.shardOf(slot);
    const to = (from + random.int(1, plan.shards - 1)) % plan.shards;
    if (
      !this.whole || this.healed ||
      this.migrations.some((one) => one.slot === slot && one.untilMs === Infinity)
    ) return;
    this.note(`slot ${slot} of {${name}} goes from shard ${from} to ${to}`);
    if (random.chance(plan.atomic)) return this.migrateAtOnce(slot, from, to);
    this.migrations.push({ slot, fromMs: this.clock.nowMs(), untilMs: Infinity });
    this.primaryOf(to).importing.set(slot, from);
    const pauseMs = random.chance(0.5) ? 0.5 : 100;
    this.after(random.next() * pauseMs, () =>
      this.whenWhole(() => {
        this.primaryOf(from).migrating.set(slot, to);
        this.note(`slot ${slot} is migrating`);
        this.moveKeys(slot, from, to);
      }));
  }

  /** Once no primary is missing. */
  private whenWhole(run: () => void): void {
    if (this.whole) run();
    else this.after(50, () => this.whenWhole(run));
  }

  private moveKeys(slot: number, from: number, to: number): void {
    const { cluster, random, plan } = this;
    this.after(random.next() * plan.keyMaxMs, () =>
      this.whenWhole(() => {
        const left = cluster.keysIn(slot).filter((key) => cluster.places.get(key) === from);
        if (left.length > 0) {
          const key = random.pick(left);
          this.note(`${key} has moved`);
          cluster.moveKey(key, to);
          return this.moveKeys(slot, from, to);
        }
        const by = this.primaryOf(to).view.primaries[to]!;
        const news: ClusterNews = {
          kind: "slots",
          epoch: ++cluster.epoch,
          slots: [slot],
          shard: to,
          by: { ...by },
        };
        this.note(`slot ${slot} is shard ${to}'s`);
        this.handOver(slot, to);
        this.primaryOf(to).learn(news);
        this.after(random.next() * (random.chance(0.5) ? 1 : 50), () =>
          this.whenWhole(() => {
            this.gossip(news, [this.primaryOf(to), this.primaryOf(from)]);
            this.migrations.find((one) => one.slot === slot && one.untilMs === Infinity)!.untilMs = this.clock
              .nowMs();
          }));
      }));
  }

  /** The source stands still, and then it is elsewhere. */
  private migrateAtOnce(slot: number, from: number, to: number): void {
    const { cluster, clock, random } = this;
    const waitMs = random.next() * 200;
    const migration = { slot, fromMs: clock.nowMs(), untilMs: Infinity };
    this.migrations.push(migration);
    const source = this.servers[this.primaries[from]!]!;
    source.frozenUntilMs = Math.max(source.frozenUntilMs, clock.nowMs() + waitMs);
    this.after(waitMs, () =>
      this.whenWhole(() => {
        this.note(`slot ${slot} is shard ${to}'s`);
        for (const key of cluster.keysIn(slot)) cluster.moveKey(key, to);
        this.handOver(slot, to);
        const by = this.primaryOf(to).view.primaries[to]!;
        const news: ClusterNews = {
          kind: "slots",
          epoch: ++cluster.epoch,
          slots: [slot],
          shard: to,
          by: { ...by },
        };
        this.gossip(news, [this.primaryOf(to), this.primaryOf(from)]);
        migration.untilMs = clock.nowMs();
      }));
  }

  private successorOf(shard: number): ClusterRedis | undefined {
    return this.cluster.nodes.find((node) =>
      node.shard === shard && node.number !== this.primaries[shard] && !this.dead.has(node.number)
    );
  }

  private promote(shard: number, node: ClusterRedis, knowing: readonly ClusterRedis[]): void {
    this.note(`${node.text} is the primary of shard ${shard}`);
    const news: ClusterNews = { kind: "primary", epoch: ++this.cluster.epoch, shard, node: node.number };
    this.primaries[shard] = node.number;
    this.gossip(news, [node, ...knowing]);
    this.primariesToldMs = this.toldMs;
  }

  /** CLUSTER FAILOVER: the old one stands still for a moment, and then sends everybody to the new one. */
  private makeWay(shard: number): void {
    const { clock, random } = this;
    const node = this.successorOf(shard);
    const old = this.primaryOf(shard);
    if (node === undefined || !this.whole || this.healed) return;
    this.note(`${old.text} makes way for ${node.text}`);
    const waitMs = 20 + random.next() * 80;
    const server = this.servers[old.number]!;
    server.frozenUntilMs = Math.max(server.frozenUntilMs, clock.nowMs() + waitMs);
    this.after(waitMs, () => {
      if (this.dead.has(node.number) || this.primaryOf(shard) !== old || this.dead.has(old.number)) return;
      this.promote(shard, node, [old]);
    });
  }

  private stopNode(shard: number): void {
    const { number } = this.primaryOf(shard);
    if (this.dead.has(number) || this.healed) return;
    const forMs = this.random.magnitude(10, 800);
    this.note(`${nodeText(number)} stands still for ${forMs} ms`);
    const server = this.servers[number]!;
    server.frozenUntilMs = Math.max(server.frozenUntilMs, this.clock.nowMs() + forMs);
  }

  /** SCRIPT FLUSH, said to one node by somebody else. */
  private forget(): void {
    const node = this.random.pick(this.cluster.nodes);
    this.note(`${node.text} forgets its scripts`);
    node.forgetScripts();
    this.loaded.forgotten();
  }

  private kill(shard: number): void {
    const { random, plan, clock } = this;
    if (!this.whole || this.healed) return;
    const old = this.primaryOf(shard);
    const server = this.servers[old.number]!;
    this.note(`${old.text} is killed`);
    this.dead.add(old.number);
    this.disturbed = { fromMs: clock.nowMs(), untilMs: Infinity };
    this.net.down(server.address);
    const living = () => this.cluster.nodes.filter((node) => !this.dead.has(node.number));
    const noticeMs = random.magnitude(100, 2500);
    this.after(noticeMs, () => {
      for (const node of living()) {
        this.after(random.next() * 100, () => {
          node.learn({ kind: "failed", node: old.number, failed: true });
          if (plan.fullCoverage) node.learn({ kind: "state", down: true });
        });
      }
      this.after(100 + random.next() * 1500, () => {
        const successor = this.successorOf(shard);
        if (successor === undefined) return;
        this.promote(shard, successor, []);
        this.recover();
      });
    });
    // It comes back: as a replica, or, if there is none, as what it was.
    const alone = this.successorOf(shard) === undefined;
    this.after(noticeMs + 1700 + random.next() * 2000, () => {
      this.note(`${old.text} is back`);
      this.dead.delete(old.number);
      const known = this.cluster.nodes.find((node) => node !== old && !this.dead.has(node.number))!;
      old.forgetScripts();
      // It has begun as another, without a disk; functions are not a node's that has followed it.
      if (alone && random.chance(0.5)) old.forgetLibraries();
      old.recall(alone ? known : this.primaryOf(shard));
      server.restart(false, random.chance(0.5) ? random.next() * 500 : 0);
      this.net.up(server.address);
      for (const node of living()) node.learn({ kind: "failed", node: old.number, failed: false });
      if (alone) {
        this.after(
          Math.max(0, (server.model as ClusterRedis).loadingUntilMs - clock.nowMs()),
          () => this.recover(),
        );
      }
    });
  }

  /** A primary is there again: the nodes find all well, each in its time. */
  private recover(): void {
    const { random, clock, plan } = this;
    const mostMs = Math.max(300, plan.gossipMaxMs * 10);
    for (const node of this.cluster.nodes) {
      this.after(random.next() * 300, () => node.learn({ kind: "state", down: false }));
    }
    this.after(mostMs, () => {
      for (const node of this.cluster.nodes) node.learn({ kind: "state", down: false });
      this.note("all is well again");
      this.disturbed.untilMs = Math.max(clock.nowMs(), this.net.lateMs) + CALMS_MS;
    });
  }

  /** What has begun comes to its end. */
  private get settled(): boolean {
    return this.whole && this.migrations.every(({ untilMs }) => untilMs < Infinity) &&
      (this.disturbed.fromMs === Infinity || this.disturbed.untilMs < Infinity) && this.dead.size === 0;
  }

  private heal(): void {
    this.note("heal");
    this.healed = true;
    if (this.plan.faults !== null) {
      this.disturbed = {
        fromMs: 0,
        // What was held up before arrives after that.
        untilMs: Math.max(
          this.disturbed.untilMs,
          this.clock.nowMs() + CALMS_MS + this.plan.faults.stallMaxMs,
          this.net.lateMs + CALMS_MS,
        ),
      };
    }
    for (const address of this.dead) this.net.down(this.servers[address]!.address);
    this.net.heal();
    for (const address of this.dead) this.net.down(this.servers[address]!.address);
    for (const client of this.clients) client.hurry();
  }

  // ---- clients

  private addClient(manners: Partial<Manners> = {}, other?: Workload): SimClient {
    const { random, plan } = this;
    const id = this.clients.length + 1;
    const workload = other ?? new ClusterWorkload(this, id, random.fork());
    const all: Manners = {
      requests: random.int(5, plan.requestsMax),
      batchMax: random.magnitude(1, 20),
      patient: random.chance(0.4),
      thinkMaxMs: random.magnitude(5, 300),
      lazy: 0,
      vanish: random.chance(0.1) ? 0.02 : 0,
      cut: random.pick([0, 0.3]),
      leave: "stay",
      ...manners,
    };
    const client = new SimClient(
      id,
      true,
      all,
      workload,
      this,
      this.net,
      this.clock,
      random.fork(),
      () => {},
    );
    this.clients.push(client);
    client.connect(this.config.pools[0]!.listen);
    return client;
  }

  readonly told: Told = new Map();
  private readonly listeners: { readonly client: SimClient; readonly workload: ClusterListener }[] = [];

  get listens(): boolean {
    return this.plan.listeners > 0;
  }

  mayTellAgain(): boolean {
    const nowMs = this.clock.nowMs();
    const { fromMs, untilMs } = this.disturbed;
    return nowMs - this.adoptedMs < TOLD_AGAIN_MS || this.plan.faults !== null ||
      nowMs >= fromMs && nowMs <= untilMs;
  }

  // ---- those that keep a cache

  private readonly written: Written = new Map();
  private get readers(): { readonly client: SimClient; readonly workload: ReaderWorkload }[] {
    return this.clients.flatMap((client) => {
      const { workload } = client;
      return !client.closed && workload instanceof ReaderWorkload && workload.isServed
        ? [{ client, workload }]
        : [];
    });
  }

  private get readings(): Readings {
    const slots = [...new Set(this.slots)].slice(0, 3);
    return {
      keys: slots.flatMap((slot) => [`{${slot}}t0`, `{${slot}}t1`]),
      prefix: `{${slots[0]}`,
      resp3: 0.5,
      databases: 1,
      // That a node which is no server yet has answered.
      tellsMore: true,
      room: this.plan.large ? 200_000 : 30,
      fails: (reply) => reply.startsWith("-"),
      // Of a slot that has moved, and in a migration of what there was not, another node may have told another before.
      mayComeFirst: (key, _kept, keptAtMs) => this.mayHaveGone(/\{(.*)\}/.exec(key)![1]!, keptAtMs),
      nowMs: () => this.clock.nowMs(),
    };
  }

  private mayHaveGone(name: string, sinceMs: number): boolean {
    const slot = slotOf(`{${name}}`);
    const isLate = (untilMs: number) => untilMs + this.learntMs >= sinceMs;
    return this.toldMs > 0 && isLate(this.toldMs) ||
      this.migrations.some((one) => one.slot === slot && isLate(one.untilMs));
  }

  private addReader(): void {
    const { random } = this;
    const readings = this.readings;
    const hello = () => "";
    let ear: EarWorkload | null = null;
    if (random.chance(0.4)) {
      const workload = ear = new EarWorkload(readings, this, random.fork(), hello);
      const client = this.addClient({ requests: random.int(0, 3), cut: 0, vanish: 0 }, workload);
      workload.isClosed = () => client.closed;
    }
    this.addClient(
      { requests: random.magnitude(20, 200), batchMax: random.magnitude(2, 20), vanish: 0 },
      this.newReader(ear),
    );
  }

  private newReader(ear: EarWorkload | null): ReaderWorkload {
    const id = this.clients.length + 1;
    return new ReaderWorkload(this.readings, this, this.written, id, this.random.fork(), ear, () => "");
  }

  /** When all rests nobody has kept what is old; and all are told when all of it is written again. */
  private async rewrite(): Promise<void> {
    if (this.plan.trackers === 0) return;
    await this.checkCaches();
    // Some fill it again, over connections that have to be made for that.
    for (const { address } of this.servers) {
      this.net.down(address);
      this.net.up(address);
    }
    await this.turns(this.clock.nowMs() + RESTS_MS);
    for (const { client, workload } of this.readers) {
      if (this.random.chance(0.5)) client.submit(workload.reread());
    }
    await this.turns(this.clock.nowMs() + PATIENCE_MS, () => this.clients.every(({ quiet }) => quiet));
    const before = this.readers.map(({ workload }) => ({ workload, heard: new Map(workload.heard) }));
    this.note("rewrite");
    const reader = this.newReader(null);
    const writer = this.addClient({ requests: 0, cut: 0, vanish: 0 }, reader);
    writer.says = reader.rewrite();
    await this.turns(this.clock.nowMs() + PATIENCE_MS, () => writer.opened && writer.quiet);
    await this.checkCaches();
    for (const { workload, heard } of before) {
      if (!workload.broadcasts || !workload.isServed) continue;
      const missed = this.readings.keys.find((key) =>
        workload.hears(key) && workload.heard.get(key) === heard.get(key)
      );
      if (missed !== undefined) throw new Violation(`a broadcasting client has not heard of ${missed}`);
    }
  }

  /**
   * What somebody has been told has changed soon after. Of what there was not nobody tells him while its slot is on its way: who had the slot
   * has nothing that goes.
   */
  private checkKept(): void {
    const { plan, clock, cluster } = this;
    if (plan.trackers === 0) return;
    const nowMs = clock.nowMs();
    const soonMs = TOLD_SOON_MS + (plan.faults?.stallMaxMs ?? 0);
    if (this.servers.some(({ frozenUntilMs }) => frozenUntilMs >= nowMs - soonMs)) return;
    const [db] = this.node(0).databases;
    for (const { client, workload } of this.readers) {
      // What is said once more leaves behind the replies to what it has asked since, which may wait for others.
      if (client.expects.waiting > 0) continue;
      for (const [place, value] of workload.cache) {
        const key = place.slice(2);
        const sinceMs = Math.max(workload.keptAtMs.get(place)!, cluster.changedAtMs.get(key) ?? 0);
        if (value === null || nowMs - sinceMs < soonMs) continue;
        const present = db!.find(key)?.value ?? null;
        if (present === value) continue;
        throw new Violation(
          `client ${client.id} keeps ${JSON.stringify(value)} for ${key}, but since ${
            sinceMs.toFixed(1)
          } it is ${JSON.stringify(present)}, and nobody tells it`,
        );
      }
    }
  }

  private async checkCaches(): Promise<void> {
    await this.turns(this.clock.nowMs() + RESTS_MS);
    const [db] = this.node(0).databases;
    for (const { client, workload } of this.readers) {
      for (const [place, value] of workload.cache) {
        const key = place.slice(2);
        const present = db!.find(key)?.value ?? null;
        if (present === value) continue;
        throw new Violation(
          `client ${client.id} keeps ${JSON.stringify(value)} for ${key}, but it is ${
            JSON.stringify(present)
          }, and nobody has told it`,
        );
      }
    }
  }

  private addListener(): void {
    const random = this.random.fork();
    const workload = new ClusterListener(this, this.told, this.clients.length + 1, random);
    const client = this.addClient({ batchMax: random.magnitude(1, 5), vanish: 0 }, workload);
    this.listeners.push({ client, workload });
  }

  /** What is published now all hear who are subscribed. */
  private async tellAll(): Promise<void> {
    if (!this.listens) return;
    // A subscription may be late since before all was well, and go to a node that has to send it on.
    await this.turns(this.net.lateMs + LEARNT_MS);
    const client = this.addClient({ requests: 0, cut: 0, vanish: 0 });
    const { steps, messages } = (client.workload as ClusterWorkload).publishAll();
    client.says = [steps];
    await this.turns(this.clock.nowMs() + PATIENCE_MS, () => client.opened && client.quiet);
    // A connection may have stood still since before all was well, for longer than who has published there.
    const haveAllHeard = () =>
      this.listeners.every(({ client, workload }) =>
        client.closed || messages.every((message) => workload.unheard(message) === null)
      );
    await this.turns(this.clock.nowMs() + PATIENCE_MS, haveAllHeard);
    // Twice it would come by then.
    await this.turns(this.clock.nowMs() + HEARD_MS);
    for (const { client, workload } of this.listeners) {
      if (client.closed) continue;
      for (const message of messages) workload.mustHaveHeard(message);
    }
  }

  /** A new client is served for all slots, and sees no error. */
  private async epilogue(): Promise<void> {
    const { said } = this.cluster;
    const before = said.moved + said.ask;
    const client = this.addClient({ requests: 0, cut: 0 });
    client.says = [(client.workload as ClusterWorkload).epilogue()];
    await this.turns(this.clock.nowMs() + PATIENCE_MS, () => client.opened && client.quiet);
    if (!client.quiet) throw new Violation(`the last client is stalled, next ${client.expects.head}`);
    if (said.moved + said.ask > before) {
      throw new Violation("the last client is sent on: who owns what is not known yet");
    }
  }

  // ---- judgement

  watched(watch: string, first: string, key: string): void {
    this.relies.set(first, { watch, key });
    this.watches.set(watch, -1);
  }

  walked(seen: ReadonlySet<string>, fromMs: number): void {
    for (const [key, sinceMs] of this.cluster.thereSince) {
      // Whoever imports its first slot has keys, and is no server of the pool yet.
      const shard = this.cluster.places.get(key)!;
      if (Math.max(sinceMs, this.servesSince.get(shard) ?? Infinity) < fromMs && !seen.has(key)) {
        throw new Violation(
          `a SCAN from ${fromMs.toFixed(1)} on has not shown ${key}, which is there since ${
            sinceMs.toFixed(1)
          }`,
        );
      }
    }
  }

  private executes(tags: readonly string[], keys: readonly string[]): void {
    for (const tag of tags) {
      if (this.watches.get(tag) === -1) this.watches.set(tag, this.cluster.changes.get(keys[0]!) ?? 0);
      const relies = this.relies.get(tag);
      if (relies === undefined) continue;
      const seen = this.watches.get(relies.watch)!;
      if (seen >= 0 && (this.cluster.changes.get(relies.key) ?? 0) !== seen) {
        throw new Violation(
          `the transaction of ${tag} is executed although ${relies.key} has changed since it was watched`,
        );
      }
    }
  }

  /**
   * A node has told it to wait, and what is executed before it had left by then, or nearly so: nobody can take that back.
   * While a primary is missing any may have been sent into the void.
   */
  private mayBeLate(tag: string, behind: string, server: number, atMs: number): boolean {
    // It was on its way from there when the slot came back to where it had been sent away.
    if (atMs >= this.cluster.movedMs(tag, server)) return true;
    const heldMs = this.cluster.heldMs(tag);
    const { fromMs, untilMs } = this.disturbed;
    if (this.plan.faults !== null || heldMs >= fromMs && heldMs <= untilMs) return true;
    const stood = this.servers.some(({ frozenUntilMs }) => frozenUntilMs >= heldMs);
    const underWayMs = this.plan.large ? LARGE_UNDER_WAY_MS : UNDER_WAY_MS;
    if (this.cluster.refusedBehind(behind, tag)) return false;
    return heldMs < Infinity && (stood || this.cluster.seenMs(behind) <= heldMs + underWayMs);
  }

  /** A primary may have made way while it stood still: what waited for it goes to whoever has its slots by then, one of them or several. */
  private get mayHaveWaited(): boolean {
    return this.plan.stops > 0 && this.primariesToldMs > 0;
  }

  mayFail(reply: string, slots: readonly string[], madeAtMs: number): boolean {
    const nowMs = this.clock.nowMs();
    const { fromMs, untilMs } = this.disturbed;
    const isFailure = FAILURE_TEXTS.some((text) => reply.includes(text));
    const isCluster = /^-(CLUSTERDOWN|MOVED|ASK|TRYAGAIN|EXECABORT|LOADING) /.test(reply);
    if (nowMs >= fromMs && madeAtMs <= untilMs && (isFailure || isCluster)) return this.refuse();
    if (this.plan.faults !== null && !this.healed && (isFailure || isCluster)) return this.refuse();
    // The source of a slot that migrates may not have heard that another is its target by now, and that one sends everybody back.
    if (reply.startsWith("-MOVED ") && madeAtMs <= this.primariesToldMs) {
      return nowMs - madeAtMs >= SENT_ON_MS;
    }
    // It was to be asked of a node that has made way, and whose slots are not all one node's by then.
    if (slots.length === 0 && reply.startsWith("-ERR The server was replaced ")) {
      return madeAtMs <= this.primariesToldMs + this.learntMs;
    }
    // What has no key is said MOVED by nobody: a replica that was its shard's primary takes no functions.
    if (reply.startsWith("-READONLY ")) return madeAtMs <= this.primariesToldMs + this.learntMs;
    if (!reply.startsWith("-TRYAGAIN ") && !reply.startsWith("-EXECABORT ")) return false;
    const { tryAgainMs } = this.plan;
    return nowMs - madeAtMs >= tryAgainMs &&
      slots.some((name) =>
        this.migrations.some((one) =>
          one.slot === slotOf(`{${name}}`) && one.untilMs >= madeAtMs && nowMs - one.fromMs >= tryAgainMs
        )
      );
  }

  private refused = 0;

  private refuse(): true {
    this.refused++;
    return true;
  }

  isFailure(reply: string): boolean {
    return reply.startsWith("-");
  }
  isFailureOnRing(): boolean {
    return false;
  }
  mayLackScripts(): boolean {
    return true;
  }
  isMismatch(): boolean {
    return false;
  }
  isRefusal(): boolean {
    return false;
  }
  had(): boolean {
    return true;
  }
  hadSinceItCame(): boolean {
    return true;
  }
  keysMoved(): boolean {
    return true;
  }
  /** Of a reply that goes on in parts nothing can be taken back when its server fails. */
  mayCut(): boolean {
    const { fromMs, untilMs } = this.disturbed;
    const nowMs = this.clock.nowMs();
    const isDisturbed = this.plan.faults !== null && !this.healed || nowMs >= fromMs && nowMs <= untilMs;
    return this.stopping || isDisturbed && (this.plan.passMin < PASS_MIN || this.plan.large);
  }
  private stopping = false;

  private checkObjects(): void {
    this.turnsToCheck = 0;
    const limits = {
      inFlightMax: this.pools[0]!.config.inFlightMax,
      clientOutputMax: this.pools[0]!.config.clientOutputMax,
    };
    for (const pool of this.pools) checkPool(pool, 0, limits);
    this.checkKept();
    this.net.invariants();
  }

  /** What is not at rest; null: all is. */
  private get unrest(): string | null {
    for (const pool of this.pools) {
      for (const server of pool.everyServer) {
        for (const connection of server.connections) {
          if (connection.head !== null) return `${server.config.name}: requests stay in flight for ever`;
        }
      }
      for (const client of pool.clients) {
        if (client.head !== null) return `client ${client.serial} of the proxy is not at rest`;
      }
    }
    return null;
  }

  private checkTransactions(): void {
    const { executions, transactions } = this.truth;
    for (const tags of transactions) {
      const done = tags.filter((tag) => executions.has(tag)).length;
      if (done > 0 && done < tags.length) {
        throw new Violation(`of the transaction ${tags.join(" ")} only ${done} commands were executed`);
      }
    }
  }

  private async stop(): Promise<void> {
    this.stopping = true;
    this.director!.stop();
    this.sources.stop();
    for (const proxy of this.proxies) proxy.stop();
    await Promise.resolve();
    this.clock.run(this.clock.nowMs() + 200_000);
    if (this.net.sockets.size > 0) throw new Violation(`${this.net.sockets.size} sockets are left`);
    if (this.clock.waiting > 0) throw new Violation(`${this.clock.waiting} timers are left`);
    for (const pool of this.boards[0]!.pools) checkTimed(pool);
  }
}
