/**
 * The keeper that believes sentinels: which address each master has, by all of them together.
 *
 *   SentinelNode (one a sentinel) ──views: address, epoch──► judge ──► ServerState
 *        ▲ look ◄── events of that sentinel, hints of workers
 *
 * The highest config-epoch wins, whoever says it first: at the first +switch-master of any sentinel the old primary has to be let go
 * of, since it goes on answering +OK for ten seconds. Who says less is behind: it is outvoted and waited for. What has been
 * known stays known when nobody answers, or when a sentinel knows no such master any more.
 *
 * That a named server is a primary by its own word is not asked here: connections to it are greeted with ROLE.
 */
import { type Log, NOTICE, WARN } from "../net/log.ts";
import type { Clock, TimerId } from "../net/net.ts";
import type { KeeperAround, KeptPool } from "./keepers.ts";
import { type NodeOwner, type Other, SentinelNode, type View } from "./sentinel_node.ts";
import type { EndpointSpec, Keeper, ServerState, Sign } from "./state.ts";

/** A server is where no sentinel says after so long from the start: it is said to be nowhere, ms. */
const START_MS = 900;
/** From the first answer until one is believed that not all sentinels have agreed to, ms: the first to answer may be the one that is behind. */
const SETTLE_MS = 250;
/** A view counts for so long after it was last heard, ms: some polls. */
const VIEW_MS = 5000;
/** Most sentinels name an earlier epoch for so long, ms, each without a break: then they have been set up anew. */
const ANEW_MS = 15_000;
/** A replica that no sentinel lists any more is kept for so long, ms: after SENTINEL RESET lists are empty for a second. */
const REPLICA_KEPT_MS = 10_000;
/** A sentinel that is behind for less than this, ms, is not worth a line: after each switch some are for seconds. */
const BEHIND_MS = 10_000;
/** How often a hint makes all sentinels look, by server, ms. */
const HINT_EVERY_MS = 100;
/**
 * From when a sentinel has chosen a replica until the promoted one is named, ms, at most: it takes a second and some. In between the old
 * primary acknowledges what will be lost, so requests wait.
 */
const REPLACED_MS = 3000;
/** Workers wait longer than that: it is for the keeper to say that nothing came of it. */
const WAIT_MS = REPLACED_MS + 500;
/** After one of which nothing came others are not waited for, ms. */
const IN_VAIN_MS = 10_000;
/** A learned sentinel that does not answer and that no other one lists is forgotten after so long, ms. */
const FORGET_MS = 60_000;
/** So many sentinels' reasons are told. */
const REASONS_MAX = 3;
/** Sentinels in all, those that others have named included. */
const NODES_MAX = 32;

interface Seen {
  readonly view: View;
  /** When it was said last, and since when it is what is said. */
  atMs: number;
  readonly sinceMs: number;
}

/** One master, and the servers of the pool that it is. */
interface Master {
  readonly name: string;
  readonly servers: readonly string[];
  /** What each sentinel says of it. */
  readonly views: Map<SentinelNode, Seen>;
  /** What is believed. -1: nothing yet. */
  epoch: number;
  primary: EndpointSpec | null;
  term: number;
  /** Since when `primary` is believed. */
  movedAtMs: number;
  cause: string;
  /** By text; when each was listed last. */
  readonly replicas: Map<string, { readonly endpoint: EndpointSpec; atMs: number }>;
  /** What has been complained of, by whom or what; so that each is said once. */
  readonly complaints: Map<string, string>;
  hintedAtMs: number;
  /** Why nobody is to be asked anything: a sentinel is about to replace it. null: none is. */
  replaced: { readonly why: string; readonly node: SentinelNode; readonly timer: TimerId } | null;
  /** When one has last not come to anything. */
  inVainAtMs: number;
  /** The last state told, without its cause. */
  told: string;
}

/** What the next keeper has to know of a server beside where it is. */
interface Remembered {
  readonly master: string;
  /** Of the last word that was believed: a sentinel that is behind it is to be outvoted also after a reload. */
  readonly epoch: number;
  /** Whose word that was. */
  readonly sentinels: readonly string[];
}

export class SentinelKeeper implements Keeper, NodeOwner {
  readonly masters: readonly string[];
  private readonly nodes: SentinelNode[] = [];
  private readonly byName: ReadonlyMap<string, Master>;
  private readonly pool: KeptPool;
  private readonly clock: Clock;
  private readonly log: Log;
  private changedTo: ((states: readonly ServerState[]) => void) | null = null;
  private settled = false;
  private settleTimer: TimerId | null = null;
  private startTimer: TimerId | null = null;
  /** No sentinel answers, and that has been said. */
  private silent = false;

  constructor(private readonly around: KeeperAround) {
    const { pool, clock, log } = around;
    this.pool = pool;
    this.clock = clock;
    this.log = log;
    this.masters = [...new Set(pool.servers.map(({ master }) => master!))];
    this.byName = new Map(this.masters.map((name) => [name, this.newMaster(name)]));
  }

  private newMaster(name: string): Master {
    const servers = this.pool.servers.filter(({ master }) => master === name).map((server) => server.name);
    // A reload begins where the keeper before has stopped: what it knew is not unknown.
    const known = this.around.known.get(servers[0]!);
    const remembered = this.around.memory?.get(servers[0]!) as Remembered | undefined;
    // Epochs of other sentinels are nothing to these.
    const goesOn = remembered?.master === name &&
      this.pool.sentinels.some(({ text }) => remembered.sentinels.includes(text));
    return {
      name,
      servers,
      views: new Map(),
      epoch: goesOn ? remembered.epoch : -1,
      primary: known?.primary ?? null,
      term: known?.term ?? 0,
      movedAtMs: -Infinity,
      cause: "start",
      replicas: new Map(
        known?.replicas.map((endpoint) => [endpoint.text, { endpoint, atMs: this.clock.nowMs() }]),
      ),
      complaints: new Map(),
      hintedAtMs: -Infinity,
      replaced: null,
      inVainAtMs: -Infinity,
      told: "",
    };
  }

  start(changed: (states: readonly ServerState[]) => void): void {
    this.changedTo = changed;
    for (const { address, text } of this.pool.sentinels) this.add({ address, text }, false);
    this.startTimer = this.clock.setTimer(START_MS, () => this.settle());
  }

  hint(server: string, sign: Sign): void {
    for (const master of this.byName.values()) if (master.servers.includes(server)) this.hintOf(master, sign);
  }

  private hintOf(master: Master, sign: Sign): void {
    if (sign !== "primary unreachable" && sign !== "not a primary" && sign !== "replica failed") return;
    const now = this.clock.nowMs();
    if (now - master.hintedAtMs < HINT_EVERY_MS) return;
    master.hintedAtMs = now;
    for (const node of this.nodes) {
      if (sign === "replica failed") node.lookForReplicas(master.name);
      else node.look(master.name, `sentinel ${node.at.text} says so`);
    }
  }

  memory(): ReadonlyMap<string, Remembered> {
    const sentinels = this.nodes.map(({ at }) => at.text);
    return new Map(
      [...this.byName.values()].flatMap(({ name, servers, epoch }) =>
        servers.map((server): [string, Remembered] => [server, { master: name, epoch, sentinels }])
      ),
    );
  }

  stop(): void {
    this.changedTo = null;
    for (const node of this.nodes) node.stop();
    this.nodes.length = 0;
    for (const master of this.byName.values()) this.endReplaced(master);
    for (const timer of [this.settleTimer, this.startTimer]) if (timer !== null) this.clock.clearTimer(timer);
  }

  private add(
    at: { readonly address: EndpointSpec["address"]; readonly text: string },
    learned: boolean,
  ): void {
    this.nodes.push(new SentinelNode(at, learned, this, { ...this.around, auth: this.pool.sentinelAuth }));
  }

  // ---- what sentinels say

  saw(node: SentinelNode, name: string, view: View, cause: string): void {
    const master = this.byName.get(name);
    if (master === undefined || this.changedTo === null) return;
    const now = this.clock.nowMs();
    const before = master.views.get(node);
    if (before !== undefined && JSON.stringify(before.view) === JSON.stringify(view)) before.atMs = now;
    else master.views.set(node, { view, atMs: now, sinceMs: now });
    if (view.primary === null) {
      const kept = master.primary === null ? "" : `; it stays ${master.primary.text}`;
      this.complain(master, node.at.text, `sentinel ${node.at.text} knows no master '${name}'${kept}`);
    }
    if (this.settled) this.judge(master, cause);
    else this.maySettle();
  }

  sawReplicas(_node: SentinelNode, name: string, replicas: readonly EndpointSpec[]): void {
    const master = this.byName.get(name);
    if (master === undefined || this.changedTo === null) return;
    const atMs = this.clock.nowMs();
    // Those of one that is behind are replicas of the same data too; whether they are well, others find out.
    for (const endpoint of replicas) master.replicas.set(endpoint.text, { endpoint, atMs });
    for (const [text, each] of master.replicas) {
      if (atMs - each.atMs > REPLICA_KEPT_MS) master.replicas.delete(text);
    }
    if (this.settled && master.primary !== null) this.tell(master);
  }

  sawOthers(node: SentinelNode, others: readonly Other[]): void {
    if (this.changedTo === null) return;
    const now = this.clock.nowMs();
    for (const { at, id } of others) {
      const known = this.nodes.find((each) => each.at.text === at.text || (id !== "" && each.id === id));
      if (known !== undefined) {
        known.listedAtMs = now;
        continue;
      }
      // One that has not said who it is may be this very one under another address.
      const unknown = this.nodes.some((each) => !each.tried || (each.answers && each.id === ""));
      if (unknown || this.nodes.length >= NODES_MAX) continue;
      this.log.write(NOTICE, `${this.prefix}: sentinel ${node.at.text} names another one, ${at.text}`);
      this.add(at, true);
    }
    for (const each of [...this.nodes]) {
      if (each.answers || !each.learned || now - each.listedAtMs < FORGET_MS) continue;
      this.nodes.splice(this.nodes.indexOf(each), 1);
      each.stop();
    }
  }

  replaces(node: SentinelNode, name: string, primary: string, replica: string): void {
    const master = this.byName.get(name);
    if (master === undefined || this.changedTo === null || !this.settled) return;
    // Whoever speaks of another primary than ours is behind, or ahead.
    if (master.replaced !== null || master.primary?.text !== primary) return;
    const { clock } = this;
    if (clock.nowMs() - master.inVainAtMs < IN_VAIN_MS) return;
    const timer = clock.setTimer(REPLACED_MS, () => this.inVain(master, "it has not come to that"));
    const why = `sentinel ${node.at.text} is putting ${replica} in its place`;
    master.replaced = { why, node, timer };
    master.cause = why;
    this.tell(master);
  }

  gaveUp(node: SentinelNode, name: string, why: string): void {
    const master = this.byName.get(name);
    if (master?.replaced?.node === node) this.inVain(master, `${why} from sentinel ${node.at.text}`);
  }

  /** It stays what it was. */
  private inVain(master: Master, why: string): void {
    this.endReplaced(master);
    master.inVainAtMs = this.clock.nowMs();
    master.cause = why;
    this.tell(master);
  }

  private endReplaced(master: Master): void {
    if (master.replaced !== null) this.clock.clearTimer(master.replaced.timer);
    master.replaced = null;
  }

  changed(node: SentinelNode, wrong: string | null): void {
    if (this.changedTo === null) return;
    const { text } = node.at;
    if (wrong !== null) {
      this.log.write(WARN, `${this.prefix}: sentinel ${text}: ${wrong}`);
      // What it has said may be another's word when it comes back.
      for (const master of this.byName.values()) master.views.delete(node);
    } else this.log.write(NOTICE, `${this.prefix}: sentinel ${text} answers`);
    const silent = this.nodes.every((each) => each.tried && !each.answers);
    if (silent && !this.silent) this.around.event("source failed", "", this.silence());
    this.silent = silent;
    this.maySettle();
    // Why servers are nowhere is another reason now.
    if (this.settled) {
      for (const master of this.byName.values()) if (master.primary === null) this.tell(master);
    }
  }

  private silence(): string {
    const reasons = this.nodes.filter((node) => node.wrong !== null).slice(0, REASONS_MAX)
      .map((node) => `${node.at.text}: ${node.wrong}`);
    return ["no sentinel answers", ...reasons].join("; ");
  }

  // ---- the start

  private maySettle(): void {
    if (this.settled) return;
    const masters = [...this.byName.values()];
    const said = (node: SentinelNode) => masters.every((master) => master.views.has(node));
    if (!this.nodes.some(said)) return;
    if (this.nodes.every((node) => node.answers ? said(node) : node.tried)) return this.settle();
    this.settleTimer ??= this.clock.setTimer(SETTLE_MS, () => this.settle());
  }

  private settle(): void {
    if (this.settled || this.changedTo === null) return;
    this.settled = true;
    for (const master of this.byName.values()) this.judge(master, "start");
  }

  // ---- what is believed

  private judge(master: Master, cause: string): void {
    const now = this.clock.nowMs();
    const named: { node: SentinelNode; seen: Seen; primary: EndpointSpec }[] = [];
    for (const node of this.nodes) {
      const seen = master.views.get(node);
      if (seen === undefined || now - seen.atMs > VIEW_MS || seen.view.primary === null) continue;
      named.push({ node, seen, primary: seen.view.primary });
    }
    if (named.length === 0) return this.tell(master);
    const epoch = Math.max(...named.map(({ seen }) => seen.view.epoch));
    const newest = named.filter(({ seen }) => seen.view.epoch === epoch);
    const counts = new Map<string, number>();
    for (const { primary } of newest) counts.set(primary.text, (counts.get(primary.text) ?? 0) + 1);
    // Of as many the first: it was configured first.
    const [most, count] = [...counts].reduce((best, each) => each[1] > best[1] ? each : best);
    const majority = 2 * count > this.nodes.filter((node) => node.answers || !node.learned).length;
    const present = master.primary?.text ?? "";
    let chosen = counts.has(present) && !majority ? present : most;
    let anew = false;
    if (epoch < master.epoch) {
      anew = majority && newest.every(({ seen }) => now - seen.sinceMs > ANEW_MS);
      if (!anew) chosen = present;
    } else if (epoch === master.epoch && !majority) chosen = present;
    if (chosen !== "" && chosen !== present) master.movedAtMs = now;
    this.complainOf(master, { named, counts, epoch, chosen });
    if (chosen === "" || (epoch < master.epoch && !anew)) return;
    if (chosen !== present && epoch <= master.epoch) {
      const how = anew ? `have been set up anew (epoch ${epoch} behind ${master.epoch})` : "agree again";
      this.log.write(WARN, `${this.naming(master)}: the sentinels ${how}: ${chosen} in place of ${present}`);
    }
    master.epoch = epoch;
    if (chosen !== present) {
      this.endReplaced(master);
      master.primary = newest.find(({ primary }) => primary.text === chosen)!.primary;
      master.term = Math.max(master.term + 1, epoch);
      master.cause = cause;
    }
    this.tell(master);
  }

  /** What an operator should know of what sentinels say, each once. */
  private complainOf(
    master: Master,
    { named, counts, epoch, chosen }: {
      readonly named: readonly { node: SentinelNode; seen: Seen; primary: EndpointSpec }[];
      readonly counts: ReadonlyMap<string, number>;
      readonly epoch: number;
      readonly chosen: string;
    },
  ): void {
    const now = this.clock.nowMs();
    let role = "";
    for (const { node, seen, primary } of named) {
      const behind = seen.view.epoch < Math.max(epoch, master.epoch) && primary.text !== chosen;
      if (behind && now - Math.max(seen.sinceMs, master.movedAtMs) < BEHIND_MS) continue;
      const text =
        `sentinel ${node.at.text} is behind: it names ${primary.text} of epoch ${seen.view.epoch}, ` +
        `where ${chosen} is of epoch ${Math.max(epoch, master.epoch)}`;
      this.complain(master, node.at.text, behind ? text : "");
      if (role === "" && primary.text === chosen && seen.view.role === "slave") role = node.at.text;
    }
    const split = [...counts.keys()].map((text) => {
      const who = named.filter(({ primary, seen }) => primary.text === text && seen.view.epoch === epoch);
      return `${text} (${who.map(({ node }) => node.at.text).join(", ")})`;
    });
    this.complain(
      master,
      "split",
      counts.size < 2
        ? ""
        : `sentinels name different primaries in epoch ${epoch}: ${split.join(", ")}; it stays ${chosen}`,
    );
    this.complain(
      master,
      "role",
      role === ""
        ? ""
        : `sentinel ${role} names ${chosen}, and reports that it is a replica: nothing is written to it`,
    );
  }

  /** @param text "" = all is well */
  private complain(master: Master, who: string, text: string): void {
    const before = master.complaints.get(who) ?? "";
    if (text === before) return;
    master.complaints.set(who, text);
    if (text !== "") this.log.write(WARN, `${this.naming(master)}: ${text}`);
    else this.log.write(NOTICE, `${this.naming(master)}: no more: ${before}`);
  }

  /** Says where its servers are, if that is new. */
  private tell(master: Master): void {
    const { primary, term, cause, servers, replaced } = master;
    const why = replaced?.why ?? (primary !== null ? "" : this.whyNowhere(master));
    const replicas = primary === null ? [] : [...master.replicas.values()]
      .map(({ endpoint }) => endpoint)
      .filter((each) => each.text !== primary.text)
      .sort((a, b) => a.text < b.text ? -1 : 1);
    const told = JSON.stringify([primary, term, replicas, why]);
    if (told === master.told || this.changedTo === null) return;
    master.told = told;
    const said = replaced === null ? { primary } : { primary: null, waitMs: WAIT_MS };
    this.changedTo(servers.map((server) => ({ server, term, replicas, cause, why, ...said })));
  }

  private whyNowhere(master: Master): string {
    const knows = this.nodes.some((node) => node.answers);
    return knows ? `no sentinel knows a master '${master.name}'` : this.silence();
  }

  private naming(master: Master): string {
    return `${this.prefix} server '${master.servers.join("', '")}'`;
  }

  private get prefix(): string {
    return `pool '${this.pool.name}'`;
  }
}
