/**
 * A simulated world of primaries, replicas and sentinels: some failovers, by command, after a death and after a freeze, while
 * sentinels tell of them late, twice or in the wrong order, and while replicas lag, restart and are synchronised anew.
 *
 *   HaClient ──► Proxy (one a worker) ──► ReplicaNode (a SimServer each)      m0: 10.0.0.1 10.0.0.2 …   m1: 10.0.1.1 …
 *                  ▲ follow                     ▲ promote, follow
 *               Director ◄── sentinels ◄── Failover: what happens when, by the clock that real sentinels were seen to keep
 *
 * What holds, always:
 *  1. once all workers have been told of a new primary, no write is executed anywhere else;
 *  2. who is told to be the primary has been promoted later than who was told before: a switch is followed once, and not taken back;
 *  3. with read_your_writes nobody reads older than it has written, unless its write is lost: not on the primary of now;
 *  4. what is read was written to that key;
 *  5. errors are read only while a primary is being replaced; what befalls replicas and sentinels is seen by no client;
 *  6. no write is executed twice (truth.ts);
 *  7. at the end all is served, by the last primaries, and nothing is left after the stop.
 */
import { dropChunks } from "../../src/bytes/chunks.ts";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { Handler, Socket } from "../../src/net/net.ts";
import type { Seat } from "../../src/proxy/pool.ts";
import { Director } from "../../src/service/director.ts";
import { Proxy } from "../../src/service/proxy.ts";
import type { Board } from "../../src/stats/board.ts";
import { checkTimed } from "./checkers.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { replyEnd, ReplyProgress } from "../lib/resp.ts";
import { SimClock } from "./clock.ts";
import { EventLog } from "./event_log.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SYSTEM } from "./reader.ts";
import { type LinkTimes, ReplicaNode } from "./replication.ts";
import { SimServer } from "./sim_server.ts";
import { type Execution, Truth, Violation } from "./truth.ts";
import { boardsOf, Messages } from "./threads.ts";

/** Sentinels notice a death after so long. */
const DOWN_AFTER_MS = 1000;
/** From the first +switch-master until the old primary is made a replica. */
const CONVERT_MS = 10_000;
/** Between two failovers of one master: twice failover-timeout and more. */
const BETWEEN_MS = 14_000;
/** What has left the proxy arrives within this time. */
const UNDER_WAY_MS = 2;
/** After a switch has been followed errors may go on for so long: requests that were held, and a client that waits for its turn. */
const CALMS_MS = 1500;
const TIMEOUT_MS = 2000;
const KEYS = 3;
const END_MS = 12_000;

export interface HaPlan {
  readonly masters: number;
  readonly nodes: number;
  readonly sentinels: number;
  readonly workers: number;
  readonly clients: number;
  readonly failovers: number;
  readonly readFrom: string;
  readonly readYourWrites: boolean;
  readonly times: LinkTimes;
  /** How often, at a failover, a sentinel says the old address again. */
  readonly stale: number;
  /** What is sent arrives at its multiples, ms; 0: at any time. */
  readonly gridMs: number;
  /** How often the configuration is another one, for which other keepers are made. */
  readonly reloads: number;
  readonly text: string;
}

function planOf(random: Random): HaPlan {
  // Drawn aside: worlds without are as they were.
  const aside = random.aside();
  const [masters, sentinels] = [random.int(1, 2), random.pick([1, 3, 3, 3])];
  const readFrom = random.pick(["primary", "prefer_replica", "replica", "any"]);
  const readYourWrites = readFrom !== "primary" && random.chance(0.6);
  const named = Array.from({ length: sentinels }, (_, i) => sentinelText(i)).join(", ");
  const servers = Array.from({ length: masters }, (_, g) => `    - {name: s${g}, master: m${g}}\n`).join("");
  const text =
    `alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  failover: sentinel\n  sentinels: [${named}]\n` +
    `  timeout: ${TIMEOUT_MS}\n  server_connections: ${random.int(1, 2)}\n  read_from: ${readFrom}\n` +
    `  max_lag: 10s\n  read_your_writes: ${readYourWrites}\n  retry_reads: ${
      random.chance(0.5)
    }\n  servers:\n${servers}`;
  return {
    masters,
    sentinels,
    readFrom,
    readYourWrites,
    text,
    nodes: random.int(2, 3),
    workers: random.int(1, 2),
    clients: random.int(2, 5),
    failovers: random.int(1, 2),
    times: {
      lagMaxMs: random.magnitude(1, 1000),
      transferMaxMs: random.magnitude(10, 2000),
      loadMaxMs: random.magnitude(10, 5000),
    },
    stale: random.pick([0, 0.3, 1]),
    gridMs: aside.chance(0.4) ? aside.pick([0.3, 1, 3]) : 0,
    reloads: aside.chance(0.4) ? aside.int(1, 6) : 0,
  };
}

const sentinelText = (i: number) => `10.1.0.${i + 1}:26379`;
const nodeText = (group: number, i: number) => `10.0.${group}.${i + 1}:6379`;

/** One master's servers. */
interface Group {
  readonly name: string;
  readonly nodes: ReplicaNode[];
  /** Who was promoted last. */
  primary: ReplicaNode;
  epoch: number;
  /** When each was promoted, counted; the first primary is 0. */
  readonly promoted: Map<ReplicaNode, number>;
  promotions: number;
  /** Whom each worker has been told of, and when. */
  readonly told: { node: ReplicaNode; atMs: number }[];
  /** Errors may be read from the one time to the other. */
  disturbed: { fromMs: number; untilMs: number };
}

export interface HaResult {
  readonly seed: number;
  readonly requests: number;
  readonly switches: number;
  readonly failures: number;
  readonly hash: number;
}

export class HaFailure extends Error {
  override name = "HaFailure";
}

/** @throws HaFailure */
export async function runHaSeed(seed: number): Promise<HaResult> {
  const world = new HaWorld(seed);
  try {
    return await world.run();
  } catch (error) {
    const why = error instanceof Violation ? error.message : (error as Error).stack ?? String(error);
    throw new HaFailure(`seed ${seed}: ${why}\n\n${world.plan.text}\n${world.log.toString(80)}`);
  }
}

export class HaWorld {
  readonly log = new EventLog(400);
  readonly clock = new SimClock();
  readonly plan: HaPlan;
  private readonly random: Random;
  private readonly net: SimNet;
  private readonly truth = new Truth();
  private readonly groups: Group[] = [];
  private readonly nodes: ReplicaNode[] = [];
  private readonly sentinels: FakeSentinel[] = [];
  private readonly clients: HaClient[] = [];
  private readonly proxies: readonly Proxy[];
  private readonly director: Director;
  private readonly config: Config;
  private readonly thawsAtMs = new Map<ReplicaNode, number>();
  private readonly messages = new Messages(this.clock);
  private switches = 0;
  private chaos = true;

  constructor(readonly seed: number) {
    dropChunks(0);
    this.random = new Random(seed);
    this.plan = planOf(this.random.fork());
    const { plan, clock, log, random } = this;
    this.net = new SimNet(clock, random.fork(), { log });
    this.net.gridMs = plan.gridMs;
    this.config = parseConfig(plan.text, "sim.yml");
    const note = (text: string) => log.add(clock.nowMs(), "proxy", text);
    const boards = boardsOf(this.config, plan.workers);
    this.proxies = boards.map((board, worker) =>
      new Proxy({
        config: this.config,
        net: this.net,
        clock,
        random: random.fork().next,
        log: { level: 5, write: (_level, text) => note(text) },
        system: SYSTEM,
        seat: this.seatOf(worker, board),
      })
    );
    this.director = new Director({
      config: this.config,
      net: this.net,
      clock,
      random: random.fork().next,
      log: { level: 11, write: (_level, text) => note(text) },
    });
    const find = (text: string) => this.nodes.find((node) => node.text === text);
    for (let g = 0; g < plan.masters; g++) {
      const nodes: ReplicaNode[] = [];
      for (let i = 0; i < plan.nodes; i++) {
        const address = { host: `10.0.${g}.${i + 1}`, port: 6379 };
        const index = this.nodes.length;
        const server = new SimServer(index, address, true, this.net, clock, this.truth, random.fork(), null);
        const node = new ReplicaNode(server, nodeText(g, i), clock, random.fork(), plan.times, find);
        nodes.push(node);
        this.nodes.push(node);
      }
      const told = Array.from({ length: plan.workers }, () => ({ node: nodes[0]!, atMs: 0 }));
      const disturbed = { fromMs: 0, untilMs: 2000 };
      const promoted = new Map([[nodes[0]!, 0]]);
      const name = `m${g}`;
      this.groups.push({
        name,
        nodes,
        primary: nodes[0]!,
        epoch: 1,
        promoted,
        promotions: 0,
        told,
        disturbed,
      });
    }
    for (let i = 0; i < plan.sentinels; i++) {
      const sentinel = new FakeSentinel(`id${i}`);
      for (const { name, nodes } of this.groups) {
        sentinel.name(name, nodes[0]!.text, 1, { replicas: nodes.slice(1).map(({ text }) => text) });
      }
      this.sentinels.push(sentinel);
    }
    this.truth.watch = (execution) => this.executed(execution);
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
      sign: (_pool, server, sign, cause) =>
        void this.clock.setTimer(0.1, () => this.director.sign("alpha", server, sign, cause)),
      ask: (to, pool, question, told) =>
        soon(to, (proxy) => proxy.asked(pool, question, (answer) => soon(worker, () => told(answer)))),
    };
  }

  async run(): Promise<HaResult> {
    const { clock, plan, random, groups } = this;
    for (const { server } of this.nodes) await server.listen();
    for (const [i, sentinel] of this.sentinels.entries()) {
      await sentinel.listen(this.net, { host: `10.1.0.${i + 1}`, port: 26379 });
    }
    for (const { nodes } of groups) for (const node of nodes.slice(1)) node.follow(nodes[0]!);
    let ready = false;
    void this.director.start({ follow: (_, states) => this.follow(states), tellEvents: () => {} })
      .then(() => ready = true);
    await clock.runAsync(() => ready);
    for (const proxy of this.proxies) await proxy.listen(null);
    this.turns(2000);
    for (let i = 0; i < plan.clients; i++) this.clients.push(new HaClient(this, i + 1, random.fork()));
    for (const client of this.clients) client.connect();
    let lastMs = clock.nowMs();
    for (const group of groups) {
      let atMs = clock.nowMs() + random.next() * 3000;
      for (let i = 0; i < plan.failovers; i++) {
        clock.at(atMs, () => this.failOver(group));
        atMs += BETWEEN_MS + random.next() * 3000;
      }
      lastMs = Math.max(lastMs, atMs);
      for (let i = random.int(0, 6); i > 0; i--) {
        clock.at(clock.nowMs() + random.next() * (atMs - clock.nowMs()), () => this.troubleReplica(group));
      }
    }
    for (let i = random.int(0, 4); i > 0; i--) {
      clock.at(
        clock.nowMs() + random.next() * (lastMs - clock.nowMs()),
        () => this.troubleSentinel(random.int(0, plan.sentinels - 1)),
      );
    }
    this.planReloads(lastMs);
    this.turns(lastMs - clock.nowMs());
    this.chaos = false;
    this.turns(END_MS);
    for (const client of this.clients) client.hush();
    this.turns(TIMEOUT_MS + 1000);
    this.checkEnd();
    await this.stop();
    const requests = this.clients.reduce((sum, client) => sum + client.requests, 0);
    const failures = this.clients.reduce((sum, client) => sum + client.failures, 0);
    return { seed: this.seed, requests, switches: this.switches, failures, hash: this.log.hash };
  }

  /** Of what keepers go by something else changes each time: they are made anew, and know what the ones before have said. */
  private planReloads(untilMs: number): void {
    const { clock, plan, config } = this;
    const random = new Random(this.seed + 700);
    for (let i = 1; i <= plan.reloads; i++) {
      const pools = config.pools.map((pool) => ({ ...pool, maxLag: { ms: 10_000 + i } }));
      clock.at(clock.nowMs() + random.next() * (untilMs - clock.nowMs()), () => {
        this.note("reload");
        this.director.adopt({ ...config, pools }, "reload");
      });
    }
  }

  private turns(ms: number): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  note(what: string): void {
    this.log.add(this.clock.nowMs(), "-", what);
  }

  // ---- what happens

  /** Timed as real sentinels were: the new primary takes writes some time before anybody is told, the old one for ten seconds after. */
  private failOver(group: Group): void {
    const { clock, random } = this;
    const old = group.primary;
    const kind = random.pick(["command", "kill", "freeze"]);
    this.note(`${group.name}: ${kind} of ${old.text}`);
    group.disturbed = { fromMs: clock.nowMs(), untilMs: Infinity };
    if (kind === "command") return this.elect(group, old);
    old.dead = true;
    const backMs = DOWN_AFTER_MS + random.next() * 8000;
    if (kind === "kill") this.net.down(old.server.address);
    else {
      old.server.frozenUntilMs = clock.nowMs() + backMs;
      this.thawsAtMs.set(old, old.server.frozenUntilMs);
    }
    for (const node of group.nodes) if (node.primary === old && kind === "kill") node.lost();
    clock.setTimer(DOWN_AFTER_MS + random.next() * 400, () => this.elect(group, old));
    clock.setTimer(backMs, () => {
      this.note(`${old.text} is back`);
      old.dead = false;
      if (kind !== "kill") return;
      old.server.restart(false, 0);
      this.net.up(old.server.address);
    });
  }

  private elect(group: Group, old: ReplicaNode): void {
    const { clock, random } = this;
    // Sentinels elect nobody who does not answer.
    const answers = ({ dead, server }: ReplicaNode) => !dead && server.frozenUntilMs <= clock.nowMs();
    const alive = group.nodes.filter((node) =>
      node !== old && answers(node) && !node.loading && !node.syncing
    );
    // Nobody is good enough yet: the next round.
    if (alive.length === 0) return void clock.setTimer(500, () => this.elect(group, old));
    const chosen = alive.reduce((best, node) => node.offset > best.offset ? node : best);
    this.note(`${group.name}: ${chosen.text} is promoted`);
    group.primary = chosen;
    group.promoted.set(chosen, ++group.promotions);
    chosen.promote();
    this.dropClients(chosen);
    const epoch = ++group.epoch;
    const seenMs = random.next() * 1000;
    const leader = random.int(0, this.sentinels.length - 1);
    let firstMs = Infinity;
    this.sentinels.forEach((sentinel, i) => {
      const atMs = i === leader ? seenMs + random.next() * 1200 : seenMs + random.next() * 200;
      firstMs = Math.min(firstMs, atMs);
      if (i === leader) {
        clock.setTimer(seenMs, () => {
          sentinel.name(group.name, chosen.text, epoch, { masterAddress: old.text });
          sentinel.publish("+promoted-slave", `slave ${chosen.text} x 1 @ ${group.name} x 1`);
        });
      }
      clock.setTimer(atMs, () => this.tell(sentinel, group, chosen, epoch));
      if (!random.chance(this.plan.stale)) return;
      // It comes back with its old file, says so, and learns better.
      clock.setTimer(atMs + random.next() * 3000, () => {
        if (group.epoch !== epoch || epoch < 2) return;
        this.note(`sentinel ${i} is stale`);
        sentinel.switch(group.name, old.text, epoch - 1);
        clock.setTimer(300 + random.next() * 1700, () => {
          if (group.epoch === epoch) this.tell(sentinel, group, chosen, epoch);
        });
      });
    });
    for (const node of group.nodes) {
      if (node === chosen || node === old) continue;
      clock.setTimer(seenMs + random.next() * 300, () => {
        this.dropClients(node);
        node.follow(group.primary);
      });
    }
    const convert = () => {
      if (old === group.primary) return;
      if (old.dead) return void clock.setTimer(1000, convert);
      this.note(`${old.text} is made a replica`);
      this.dropClients(old);
      old.follow(group.primary);
    };
    clock.setTimer(firstMs + CONVERT_MS, convert);
  }

  private tell(sentinel: FakeSentinel, group: Group, chosen: ReplicaNode, epoch: number): void {
    const replicas = group.nodes.filter((node) => node !== chosen).map(({ text }) => text);
    const before = sentinel.masters.get(group.name)!;
    before.replicas = replicas;
    sentinel.switch(group.name, chosen.text, epoch);
    for (const text of replicas) sentinel.publish("+slave", `slave ${text} x 1 @ ${group.name} x 1`);
  }

  private dropClients(node: ReplicaNode): void {
    if (node.dead) return;
    this.net.down(node.server.address);
    this.net.up(node.server.address);
  }

  /** No client may notice. */
  private troubleReplica(group: Group): void {
    const { clock, random } = this;
    const replicas = group.nodes.filter((node) => !node.isPrimary && !node.dead);
    // Who may be elected is left in peace meanwhile.
    if (replicas.length === 0 || group.disturbed.untilMs === Infinity) return;
    const node = random.pick(replicas);
    const kind = random.pick(["restart", "crash", "empty", "link", "hang"]);
    this.note(`replica ${node.text}: ${kind}`);
    if (kind === "link") return node.lost();
    if (kind === "hang") {
      node.server.frozenUntilMs = clock.nowMs() + random.magnitude(10, 5000);
      return;
    }
    node.dead = true;
    this.net.down(node.server.address);
    clock.setTimer(kind === "crash" ? random.magnitude(10, 5000) : 1, () => {
      node.dead = false;
      node.server.restart(kind === "empty", 0);
      node.restart(kind === "empty");
      this.net.up(node.server.address);
    });
  }

  /** No client may notice. */
  private troubleSentinel(i: number): void {
    const { clock, random } = this;
    const sentinel = this.sentinels[i]!;
    const kind = random.pick(["reset", "down", "error"]);
    this.note(`sentinel ${i}: ${kind}`);
    const forMs = random.magnitude(100, 3000);
    if (kind === "reset") {
      for (const [name, master] of sentinel.masters) {
        const { replicas } = master;
        master.replicas = [];
        sentinel.publish("+reset-master", `master ${name} x 1`);
        clock.setTimer(600 + random.next() * 400, () => {
          if (master.replicas.length === 0) master.replicas = replicas;
          for (const text of master.replicas) sentinel.publish("+slave", `slave ${text} x 1 @ ${name} x 1`);
        });
      }
    } else if (kind === "down") {
      const address = { host: `10.1.0.${i + 1}`, port: 26379 };
      this.net.down(address);
      clock.setTimer(forMs, () => this.net.up(address));
    } else {
      sentinel.error = "ERR unknown command";
      clock.setTimer(forMs, () => sentinel.error = null);
    }
  }

  // ---- what the proxy is told

  private follow(states: readonly ServerState[]): void {
    this.proxies.forEach((proxy, worker) => {
      this.messages.send(worker, worker === 0 ? 0 : this.random.next(), () => {
        for (const state of states) this.noteTold(worker, state);
        const { servers } = proxy.pools[0]!;
        const before = servers.map(({ primary }) => primary);
        proxy.follow("alpha", states);
        servers.forEach(({ config, primary }, i) => {
          if (primary === before[i] || primary?.spec.text !== before[i]?.spec.text) return;
          throw new Violation(`worker ${worker}: ${config.name} is followed again to ${primary?.spec.text}`);
        });
      });
    });
  }

  private noteTold(worker: number, { server, primary }: ServerState): void {
    const group = this.groups[Number(server.slice(1))]!;
    const told = group.told[worker]!;
    if (primary === null || primary.text === told.node.text) return;
    const node = group.nodes.find(({ text }) => text === primary.text)!;
    const [before, now] = [group.promoted.get(told.node) ?? -1, group.promoted.get(node) ?? -1];
    this.note(`worker ${worker} is told: ${server} is ${primary.text}`);
    if (now <= before) {
      throw new Violation(
        `worker ${worker} was told that ${group.name} is at ${primary.text}, although ${told.node.text} was promoted later`,
      );
    }
    this.switches++;
    group.told[worker] = { node, atMs: this.clock.nowMs() };
    if (group.told.every((one) => one.node === group.primary)) {
      group.disturbed.untilMs = this.clock.nowMs() + CALMS_MS;
    }
  }

  // ---- judgement

  private executed({ server, atMs, tags, reply }: Execution): void {
    if (!reply.startsWith("+OK")) return;
    const node = this.nodes[server]!;
    const group = this.groups.find(({ nodes }) => nodes.includes(node))!;
    const underWayMs = UNDER_WAY_MS + this.plan.gridMs;
    const left = group.told.every((told) => told.node !== node && atMs - told.atMs > underWayMs);
    if (!left) return;
    // What was in its kernel when it stopped it executes when it goes on, as real ones do: nobody can take that back.
    const thawed = Math.abs(atMs - (this.thawsAtMs.get(node) ?? -Infinity)) < underWayMs;
    const sentMs = this.clients[Number(tags[0]!.split(".")[0]) - 1]!.sentAtMs(Number(tags[0]!.split(".")[1]));
    if (thawed && group.told.some((told) => sentMs <= told.atMs)) return;
    throw new Violation(
      `write ${tags.join(" ")} was executed by ${node.text} at ${
        atMs.toFixed(3)
      }, though all workers know that ${group.name} is at ${group.told[0]!.node.text}`,
    );
  }

  groupOf(key: string): Group {
    const bytes = latin1(key);
    return this.groups[this.proxies[0]!.pools[0]!.placement.serverOf(bytes, 0, bytes.length)]!;
  }

  /** May a client read an error for a request that it sent then? */
  mayFail(key: string, sentAtMs: number): boolean {
    const { fromMs, untilMs } = this.groupOf(key).disturbed;
    return this.clock.nowMs() >= fromMs && sentAtMs <= untilMs;
  }

  /** What the primary of now has for a key. */
  presentOf(key: string): string | undefined {
    return this.groupOf(key).primary.model.databases[0]!.entries.get(key)?.value as string | undefined;
  }

  private checkEnd(): void {
    for (const { name, told, primary, nodes } of this.groups) {
      for (const one of told) {
        if (one.node !== primary) {
          throw new Violation(`${name} is at ${primary.text}, but ${one.node.text} was told`);
        }
      }
      for (const node of nodes) {
        const right = node === primary ? node.isPrimary : node.primary === primary && node.linked;
        if (!right) {
          throw new Violation(`${node.text} is not what it should be at the end: the model is wrong`);
        }
      }
    }
    for (const client of this.clients) client.checkEnd();
  }

  private async stop(): Promise<void> {
    this.director.stop();
    for (const proxy of this.proxies) proxy.stop();
    await Promise.resolve();
    this.turns(200_000);
    if (this.net.sockets.size > 0) throw new Violation(`${this.net.sockets.size} sockets are left`);
    if (this.clock.waiting > 0) throw new Violation(`${this.clock.waiting} timers are left`);
    for (const pool of this.proxies[0]!.board.pools) checkTimed(pool);
  }

  connect(handler: Handler): Socket {
    return this.net.connect(this.config.pools[0]!.listen, handler, null);
  }

  get over(): boolean {
    return !this.chaos;
  }
}

/** A client that writes to keys of its own and reads them, one request after the other. */
class HaClient implements Handler {
  requests = 0;
  failures = 0;
  private socket: Socket | null = null;
  private read = "";
  private progress = new ReplyProgress();
  private serial = 0;
  private quiet = false;
  private closed = false;
  /** By key: the last write that was acknowledged, and the last that was sent. */
  private readonly acked = new Map<string, number>();
  private readonly sent = new Map<string, number>();
  /** Keys that have been read or written without an error since the trouble was over. */
  private readonly good = new Set<string>();
  private waiting: { readonly key: string; readonly write: number; readonly atMs: number } | null = null;
  private readonly pauseMaxMs: number;
  /** When each write was sent. */
  private readonly times: number[] = [];

  constructor(private readonly world: HaWorld, private readonly id: number, private readonly random: Random) {
    this.pauseMaxMs = random.magnitude(50, 800);
  }

  connect(): void {
    this.socket = this.world.connect(this);
  }

  sentAtMs(write: number): number {
    return this.times[write]!;
  }

  /** Asks nothing more. */
  hush(): void {
    this.quiet = true;
  }

  open(): void {
    this.later();
  }

  private later(): void {
    this.world.clock.setTimer(this.random.next() * this.pauseMaxMs, () => this.ask());
  }

  private ask(): void {
    if (this.quiet || this.closed) return;
    const key = `c${this.id}.${this.random.int(0, KEYS - 1)}`;
    const write = this.random.chance(0.4) ? ++this.serial : 0;
    this.waiting = { key, write, atMs: this.world.clock.nowMs() };
    this.requests++;
    if (write > 0) {
      this.sent.set(key, write);
      this.times[write] = this.waiting.atMs;
    }
    const words = write > 0 ? ["SET", key, `=${this.id}.${write}.0;`] : ["GET", key];
    const bytes = request(...words);
    this.socket!.send(bytes, 0, bytes.length);
    this.socket!.flush();
  }

  data(_socket: Socket, view: Uint8Array): void {
    this.read += textOf(view);
    const bytes = latin1(this.read);
    const end = replyEnd(bytes, 0, bytes.length, this.progress);
    if (end < 0) return;
    const reply = this.read.slice(0, end);
    this.read = this.read.slice(end);
    this.progress = new ReplyProgress();
    const { waiting } = this;
    if (waiting === null || this.read !== "") throw this.wrong(`reads ${JSON.stringify(reply)} unasked`);
    this.waiting = null;
    this.judge(reply, waiting.key, waiting.write, waiting.atMs);
    this.later();
  }

  private judge(reply: string, key: string, write: number, atMs: number): void {
    const { world } = this;
    const what = `${write > 0 ? "SET" : "GET"} ${key}`;
    if (reply.startsWith("-")) {
      this.failures++;
      world.note(`C${this.id} < ${reply.trimEnd()} for ${what}`);
      if (/^-(LOADING|READONLY|MASTERDOWN)/.test(reply)) throw this.wrong(`reads ${reply.trimEnd()}`);
      if (!world.mayFail(key, atMs)) {
        throw this.wrong(`reads ${reply.trimEnd()} for ${what} while nothing is wrong`);
      }
      return;
    }
    if (world.over) this.good.add(key);
    if (write > 0) {
      if (reply !== `+OK ${this.id}.${write}.0\r\n`) {
        throw this.wrong(`reads ${JSON.stringify(reply)} for ${what}`);
      }
      this.acked.set(key, write);
      return;
    }
    const seen = serialIn(reply);
    const [acked, sent] = [this.acked.get(key) ?? 0, this.sent.get(key) ?? 0];
    if (seen < 0 || seen > sent) {
      throw this.wrong(`reads ${JSON.stringify(reply)} for ${what}, the last was ${sent}`);
    }
    const { plan } = world;
    const fresh = plan.readYourWrites || plan.readFrom === "primary";
    if (!fresh || seen >= acked) return;
    // Its write is lost: the primary of now has it not.
    const present = world.presentOf(key);
    if ((present === undefined ? 0 : serialIn(present)) < acked) return void this.acked.set(key, seen);
    throw this.wrong(`reads ${seen} for ${what} although it has written ${acked}, which the primary has`);
  }

  checkEnd(): void {
    if (this.closed) throw this.wrong("has lost its connection");
    if (this.waiting !== null) throw this.wrong(`waits for ${this.waiting.key} for ever`);
    if (this.good.size < KEYS) throw this.wrong(`is served for ${this.good.size} keys at the end`);
  }

  private wrong(what: string): Violation {
    return new Violation(`client ${this.id} ${what}`);
  }

  eof(socket: Socket): void {
    socket.end();
  }
  drain(): void {}
  close(): void {
    this.closed = true;
    if (!this.quiet) throw this.wrong("loses its connection");
  }
}

/** Of a value; 0 = there is none, -1 = it is none of ours. */
function serialIn(text: string): number {
  if (text.startsWith("$-1") || text.startsWith("_")) return 0;
  return Number(/=\d+\.(\d+)\.0;/.exec(text)?.[1] ?? -1);
}
