/**
 * The source that is a Redis or Valkey Cluster: its nodes say who owns which slots.
 *
 *   hints of workers (MOVED, a node that cannot be reached), every interval ──► a round: some nodes are asked at once
 *     CLUSTER NODES, SHARDS or SLOTS ──readView──► ClusterMap (cluster_view.ts) ──► a server a node that owns slots ──► changed
 *
 * One round at a time; the first at once when something has been seen, the next no sooner than HINTED_MS after it has begun. In a round
 * those are asked that workers have had trouble with, since they know first, and some others; if none of them answers, all the rest.
 * What fails changes nothing, and is logged when nobody answers, once.
 *
 * Callbacks and no promises but for `first`: the simulator runs this too.
 */
import type { ClusterFrom, ReplicaConfig, ServerConfig } from "../config/config.ts";
import { type Log, NOTICE, WARN } from "../net/log.ts";
import type { Address, Clock, Net, TimerId } from "../net/net.ts";
import { ReplyError, type Value } from "../protocol/redis/value.ts";
import { sortServers } from "../ring/server_order.ts";
import { parseSlots, slotsText } from "../ring/slots.ts";
import { ClusterMap, type ClusterView, ofOneCluster, readView, type SeenNode } from "./cluster_view.ts";
import { type Answer, LinkLost, type LinkOptions, RedisLink } from "./redis_link.ts";
import type { Servers, TopologySource } from "./source.ts";
import type { Sign } from "./state.ts";

export interface ClusterAround {
  readonly net: Net;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Between the beginnings of two rounds that hints ask for, ms. */
const HINTED_MS = 100;
/** Between two rounds while a node that owns slots is dead or does not answer, ms: soon another takes its place, or nobody can. */
const UNWELL_FIRST_MS = 150;
const UNWELL_MS = 500;
/** The first of these two is for so long, ms. */
const UNWELL_FIRST_FOR_MS = 15_000;
/** A node has so long for its greetings, and for an answer, ms. */
const ANSWER_MS = 1000;
/** When one has answered, the others of the round have so long more. */
const GRACE_MS = 50;
/** Asked at once. */
const ASKED_MAX = 5;
/** Links that are kept between two rounds. */
const LINKS_MAX = 8;
/** A node that has not answered is asked after all others for so long. */
const REST_MS = 5000;
/** After so many rounds in which only nodes of another cluster have answered, at other addresses, that is the one. */
const STRANGE_MAX = 5;
/** The start waits so long for the first answer. */
const FIRST_MS = 2000;

/** How a cluster's node at this host and port is named, as a server and in what people read. */
export function nodeText(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A node that can be asked. */
interface Node {
  readonly address: Address;
  readonly text: string;
  link: RedisLink | null;
  /** When it was asked last, and when it last failed to answer. */
  askedAtMs: number;
  failedAtMs: number;
}

/** A node has not said what it knows, and why. */
class Silence {
  /** @param heard it has answered, but not that */
  constructor(readonly why: string, readonly heard: boolean) {}
}

/** What a node knows. */
interface Heard extends ClusterView {
  /** The name of the node that says it. */
  readonly by: string;
}

/** What has become of asking one node. */
type Said = Heard | Silence;

export class ClusterSource implements TopologySource {
  readonly text: string;
  private readonly map = new ClusterMap();
  /** By text: seeds, and all that have been heard of. */
  private readonly nodes = new Map<string, Node>();
  private readonly seeds: readonly ReplicaConfig[];
  /** Ids whose addresses are known: they stay when a view does not tell them. */
  private readonly places = new Map<string, { readonly text: string; readonly address: Address }>();
  /** Names of servers that have failed, by those that took their slots. */
  private readonly heirs = new Map<string, string>();
  /** Who owned slots, by name, when servers were told last. */
  private ownerIds = new Map<string, string>();
  private servers: Servers;
  private told: string;
  /** Names of servers that workers have had trouble with. */
  private readonly hinted = new Set<string>();
  private timer: TimerId | null = null;
  private roundAtMs = -Infinity;
  private round: Round | null = null;
  private again = false;
  /** Since when; -1 = all who own slots are well. */
  private unwellSinceMs = -1;
  private stopped = false;
  /** null: all is well. */
  private wrong: string | null = "no node has answered yet";
  private toldLost = false;
  /** Rounds in which only nodes of another cluster have answered; and whether the log has such a node. */
  private strange = 0;
  private toldStrange = false;
  private log: Log | null = null;
  private changed: ((servers: Servers) => void) | null = null;
  private begun: (() => void) | null = null;

  /** @param auth what nodes are told; null: nothing */
  constructor(
    private readonly from: ClusterFrom,
    private readonly auth: LinkOptions["auth"],
    private readonly around: ClusterAround,
  ) {
    this.seeds = from.seeds;
    this.text = `cluster ${from.seeds[0]!.text}`;
    for (const { address, text } of from.seeds) this.nodeAt(text, address);
    this.servers = from.seeds.map((seed) => serverOf(seed.text, seed.address, "", [], seed.zone));
    this.told = keyOf(this.servers);
  }

  /**
   * Resolves when somebody has answered, or with the seeds when nobody has for FIRST_MS: a proxy has to start whether its servers are there
   * or not. Never rejects.
   */
  first(): Promise<Servers> {
    return new Promise((resolve) => {
      const { clock } = this.around;
      const settle = () => {
        clock.clearTimer(timer);
        this.begun = null;
        // From here on when it is watched.
        if (this.changed === null) this.rest();
        this.told = keyOf(this.servers);
        resolve(this.servers);
      };
      const timer = clock.setTimer(FIRST_MS, settle);
      this.begun = settle;
      this.plan(0);
    });
  }

  watch(log: Log, changed: (servers: Servers) => void): void {
    if (this.stopped) return;
    this.log = log;
    this.changed = changed;
    if (this.wrong !== null) this.tellLost();
    // Workers may have been at work before, and what they saw has been asked for.
    this.plan(this.wrong === null && keyOf(this.servers) === this.told ? this.nextMs() : 0);
  }

  /** Something has been seen of this server: by that name it is asked, if it is a node that is known. */
  hint(server: string, sign: Sign): void {
    if (this.stopped || sign === "primary answers" || sign === "replica failed") return;
    if (this.hinted.size < ASKED_MAX) this.hinted.add(server);
    if (this.round !== null) this.again = true;
    else this.plan(Math.max(0, this.roundAtMs + HINTED_MS - this.nowMs));
  }

  stop(): void {
    this.stopped = true;
    this.rest();
    for (const node of this.nodes.values()) this.hangUp(node);
  }

  /** Why nobody says anything; null: somebody does. */
  get silence(): string | null {
    return this.wrong;
  }

  private get nowMs(): number {
    return this.around.clock.nowMs();
  }

  /** Nothing is asked until something asks for it. */
  private rest(): void {
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
    this.round?.stop();
    this.round = null;
  }

  // ---- rounds

  private plan(afterMs: number): void {
    const { clock } = this.around;
    if (this.stopped) return;
    if (this.timer !== null) clock.clearTimer(this.timer);
    this.timer = clock.setTimer(afterMs, () => {
      this.timer = null;
      if (this.round === null) this.begin();
    });
  }

  /** Drawn, so that many proxies do not ask in step. */
  private nextMs(): number {
    const { intervalMs } = this.from;
    const forMs = this.unwellSinceMs < 0 ? Infinity : this.nowMs - this.unwellSinceMs;
    const oftenMs = forMs < UNWELL_FIRST_FOR_MS ? UNWELL_FIRST_MS : UNWELL_MS;
    const everyMs = forMs < Infinity || this.wrong !== null ? Math.min(intervalMs, oftenMs) : intervalMs;
    return everyMs * (0.9 + this.around.random() / 5);
  }

  private begin(): void {
    this.roundAtMs = this.nowMs;
    this.again = false;
    const order = this.order();
    this.hinted.clear();
    this.round = new Round(order, this.around.clock, (node, told) => this.ask(node, told), (views) => {
      this.round = null;
      this.heard(views);
      this.trim(order);
      if (this.changed === null && this.begun === null) return;
      this.plan(this.again ? Math.max(0, this.roundAtMs + HINTED_MS - this.nowMs) : this.nextMs());
    });
    this.round.begin();
  }

  /** Whom to ask: hinted ones first, then those that have been asked longest ago; who did not answer comes last, and seeds that are no nodes. */
  private order(): Node[] {
    const { nowMs, hinted } = this;
    const rank = (node: Node) =>
      (nowMs - node.failedAtMs < REST_MS ? 4 : 0) +
      (hinted.has(node.text) ? 0 : this.ownerIds.has(node.text) ? 1 : 2);
    return [...this.nodes.values()]
      .map((node) => ({ node, rank: rank(node), draw: this.around.random() }))
      .sort((a, b) => a.rank - b.rank || a.node.askedAtMs - b.node.askedAtMs || a.draw - b.draw)
      .map(({ node }) => node);
  }

  private ask(node: Node, told: (said: Said) => void): void {
    node.askedAtMs = this.nowMs;
    const link = node.link ??= this.dial(node);
    const settle = (view: ClusterView | string, heard = true) => {
      const silent = typeof view === "string";
      node.failedAtMs = silent ? this.nowMs : -Infinity;
      told(silent ? new Silence(`${node.text}: ${view}`, heard) : this.placed(view, node));
    };
    askAll(link, ["NODES", "SHARDS"], ([nodes, shards], why) => {
      if (why !== null) return settle(why, false);
      if (nodes instanceof ReplyError && isPassing(nodes)) return settle(nodes.text);
      if (typeof nodes === "string" && Array.isArray(shards)) {
        return settle(readView(nodes, shards, null, null));
      }
      // Before Redis 7 there are no SHARDS; who may not see NODES has to believe an epoch.
      askAll(link, ["SLOTS", "INFO"], ([slots, info], why) => {
        if (why !== null) settle(why, false);
        else settle(readView(nodes!, shards!, slots!, info!));
      });
    });
  }

  private dial(node: Node): RedisLink {
    const { net, clock } = this.around;
    const link: RedisLink = new RedisLink({
      net,
      clock,
      address: node.address,
      auth: this.auth,
      resp3: false,
      connectMs: ANSWER_MS,
      answerMs: ANSWER_MS,
      lost: () => {
        if (node.link === link) node.link = null;
      },
    });
    return link;
  }

  private hangUp(node: Node): void {
    node.link?.close();
    node.link = null;
  }

  /** Not every node of a large cluster has to keep a connection for this. */
  private trim(order: readonly Node[]): void {
    const linked = order.filter(({ link }) => link !== null);
    linked.sort((a, b) => b.askedAtMs - a.askedAtMs);
    for (const node of linked.slice(LINKS_MAX)) this.hangUp(node);
  }

  private nodeAt(text: string, address: Address): Node {
    let node = this.nodes.get(text);
    if (node === undefined) {
      node = { address, text, link: null, askedAtMs: -Infinity, failedAtMs: -Infinity };
      this.nodes.set(text, node);
    }
    return node;
  }

  // ---- what they say

  /** Nodes whose host is not told are where the one is that was asked. */
  private placed(view: ClusterView, asked: Node): Heard {
    const host = "host" in asked.address ? asked.address.host : "";
    const nodes = [...view.nodes].map(([id, node]): [string, SeenNode] => [
      id,
      node.host === "" ? { ...node, host } : node,
    ]);
    return { ...view, nodes: new Map(nodes), by: asked.text };
  }

  private heard(said: readonly Said[]): void {
    const heard = said.flatMap((each) => each instanceof Silence ? [] : [each]);
    const views = this.ours(heard);
    const silent = said.filter((each) => each instanceof Silence);
    // What a node says is more to the point than that another one cannot be reached.
    const why = silent.find(({ heard }) => heard) ?? silent[0];
    if (views.length === 0) {
      return this.lost(heard.length > 0 ? strangers(heard) : why?.why ?? "no node is known");
    }
    this.map.merge(views);
    const owned = this.map.owned();
    if (owned.size === 0) return this.lost("nobody owns any slot");
    // Of others those know most whose own cluster has come furthest.
    const best = [...views].sort((a, b) => Number(a.alone) - Number(b.alone) || epochOf(b) - epochOf(a));
    if (this.settle(owned, best)) this.found();
    else this.lost("it does not tell where its nodes are");
  }

  /**
   * What nodes of the cluster say that is known, if there are others too: two clusters are nobody's pool, and their epochs count changes of
   * different things. A cluster that was made anew has other ids, at addresses of before; or nobody else has answered for a while.
   */
  private ours(heard: readonly Heard[]): readonly Heard[] {
    const known = [...this.places.keys()];
    const ours = ofOneCluster(heard, known);
    const same = known.length === 0 || ours.some(({ nodes }) => known.some((id) => nodes.has(id)));
    const texts = new Set([...this.places.values()].map(({ text }) => text));
    if (!same && !ours.some(({ by }) => texts.has(by)) && this.strange++ < STRANGE_MAX) return [];
    if (ours.length > 0) this.strange = 0;
    const others = heard.filter((view) => !ours.includes(view));
    if (others.length > 0 && !this.toldStrange && this.log !== null) {
      this.toldStrange = true;
      this.log.write(WARN, `${this.text}: ${strangers(others)}; it is not listened to`);
    }
    return ours;
  }

  /** @returns false if nobody knows where any of the owners is */
  private settle(owned: ReturnType<ClusterMap["owned"]>, views: readonly ClusterView[]): boolean {
    const seen = (id: string) => views.find((view) => view.nodes.has(id))?.nodes.get(id);
    const first = views[0]!;
    this.place(views);
    const servers = new Map<string, ServerConfig>();
    const ids = new Map<string, string>();
    let unwell = first.alone;
    for (const [id, ranges] of owned) {
      const place = this.places.get(id);
      if (place === undefined) continue;
      const replicas = [...first.nodes.values()].filter((node) => node.primary === id && !node.failed)
        .flatMap((node) => this.replicaOf(node));
      unwell ||= seen(id)?.failed !== false || seen(id)?.near === false;
      // A node that was replaced at its address is another to the cluster.
      const present = servers.get(place.text);
      const both = present === undefined ? ranges : [...ranges, ...parseSlots(present.slots!)];
      ids.set(place.text, id);
      servers.set(
        place.text,
        serverOf(place.text, place.address, slotsText(both), sorted(replicas), this.zoneOf(place.text)),
      );
    }
    if (servers.size === 0) return false;
    if (!unwell) this.unwellSinceMs = -1;
    else if (this.unwellSinceMs < 0) this.unwellSinceMs = this.nowMs;
    this.inherit(ids, seen);
    this.ownerIds = ids;
    this.forget(views);
    this.tell(sortServers([...servers.values()].map((server) => {
      const heirOf = this.heirs.get(server.name);
      return heirOf === undefined ? server : { ...server, heirOf };
    })));
    return true;
  }

  /** A server that has failed, and that its replica has taken the place of. */
  private inherit(ids: ReadonlyMap<string, string>, seen: (id: string) => SeenNode | undefined): void {
    for (const [heir, failed] of this.heirs) if (!ids.has(heir) || ids.has(failed)) this.heirs.delete(heir);
    for (const [name, id] of this.ownerIds) {
      if (ids.has(name) || seen(id)?.failed === false) continue;
      const before = this.servers.find((server) => server.name === name);
      const heir = [...ids.keys()].find((each) =>
        !this.ownerIds.has(each) && before?.replicas.some(({ text }) => text === each)
      );
      if (heir !== undefined) this.heirs.set(heir, name);
    }
  }

  /** Nodes may be set to tell of each other in different ways: what one is called stays, as long as anybody calls it so. */
  private place(views: readonly ClusterView[]): void {
    const fresh = new Set<string>();
    for (const view of views) {
      for (const { id, host, port } of view.nodes.values()) {
        if (fresh.has(id) || port === 0 || host === "") continue;
        const known = this.places.get(id);
        if (known !== undefined && views.some((each) => textOf(each.nodes.get(id)) === known.text)) continue;
        fresh.add(id);
        this.places.set(id, { text: nodeText(host, port), address: { host, port } });
      }
    }
  }

  private replicaOf({ id }: SeenNode): ReplicaConfig[] {
    const place = this.places.get(id);
    if (place === undefined) return [];
    return [{ address: place.address, text: place.text, zone: this.zoneOf(place.text) }];
  }

  private zoneOf(text: string): string | null {
    return this.seeds.find((seed) => seed.text === text)?.zone ?? null;
  }

  /** Whoever is in nobody's list any more is not asked again, but for seeds; whoever is new may be. */
  private forget(views: readonly ClusterView[]): void {
    const ids = new Set(views.flatMap((view) => [...view.nodes.keys()]));
    for (const id of this.ownerIds.values()) ids.add(id);
    for (const id of this.places.keys()) if (!ids.has(id)) this.places.delete(id);
    const texts = new Set(this.seeds.map(({ text }) => text));
    for (const { text, address } of this.places.values()) {
      texts.add(text);
      this.nodeAt(text, address);
    }
    for (const [text, node] of this.nodes) {
      if (texts.has(text)) continue;
      this.hangUp(node);
      this.nodes.delete(text);
    }
  }

  private tell(servers: Servers): void {
    const key = keyOf(servers);
    this.servers = servers;
    if (key !== this.told && this.changed !== null) {
      this.told = key;
      this.changed(servers);
    }
    this.begun?.();
  }

  private found(): void {
    if (this.wrong === null) return;
    this.wrong = null;
    if (this.toldLost) this.log?.write(NOTICE, `${this.text}: answers again`);
    this.toldLost = false;
  }

  /** Nobody can tell: nothing changes. */
  private lost(why: string): void {
    this.wrong = why;
    if (!this.toldLost && this.changed !== null) this.tellLost();
  }

  private tellLost(): void {
    this.toldLost = true;
    this.log?.write(WARN, `${this.text}: ${this.wrong}; the servers stay as they are`);
  }
}

/** Some nodes are asked at once; when all of these have failed the next, until none is left. */
class Round {
  private readonly said: Said[] = [];
  private next = 0;
  private open = 0;
  private good = false;
  private over = false;
  private timer: TimerId | null = null;

  constructor(
    private readonly order: readonly Node[],
    private readonly clock: Clock,
    private readonly ask: (node: Node, told: (said: Said) => void) => void,
    private readonly done: (said: readonly Said[]) => void,
  ) {}

  begin(): void {
    const asked = this.order.slice(this.next, this.next + ASKED_MAX);
    this.next += asked.length;
    this.open = asked.length;
    if (asked.length === 0) return this.end();
    for (const node of asked) this.ask(node, (said) => this.take(said));
  }

  /** Nobody is told. */
  stop(): void {
    this.over = true;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
  }

  private take(said: Said): void {
    if (this.over) return;
    this.said.push(said);
    this.open--;
    if (!(said instanceof Silence) && !this.good) {
      this.good = true;
      this.timer = this.clock.setTimer(GRACE_MS, () => {
        this.timer = null;
        this.end();
      });
    }
    if (this.open > 0) return;
    if (this.good) this.end();
    else this.begin();
  }

  private end(): void {
    if (this.over) return;
    this.stop();
    this.done(this.said);
  }
}

/** Asks at once. @param told called once, with all answers or why there are none */
function askAll(
  link: RedisLink,
  questions: readonly string[],
  told: (answers: readonly Value[], why: string | null) => void,
): void {
  const answers: Value[] = [];
  let over = false;
  const take = (answer: Answer) => {
    if (over) return;
    const lost = answer instanceof LinkLost;
    if (!lost) answers.push(answer);
    over = lost || answers.length === questions.length;
    if (over) told(answers, lost ? answer.why : null);
  };
  for (const question of questions) link.ask(["CLUSTER", question], take);
}

/** It may answer another time: it loads, or has lost its primary. What cannot be asked at all is asked otherwise. */
function isPassing({ text }: ReplyError): boolean {
  return /^(LOADING|MASTERDOWN|BUSY|NOAUTH|WRONGPASS)\b|cluster support disabled/.test(text);
}

function strangers(heard: readonly Heard[]): string {
  return `${heard.map(({ by }) => by).join(", ")}: a node of another cluster`;
}

function textOf(node: SeenNode | undefined): string | null {
  return node === undefined || node.port === 0 ? null : nodeText(node.host, node.port);
}

/** The highest of any node. */
function epochOf(view: ClusterView): number {
  let highest = 0;
  for (const { epoch } of view.nodes.values()) highest = Math.max(highest, epoch);
  return highest;
}

function serverOf(
  text: string,
  address: Address,
  slots: string,
  replicas: readonly ReplicaConfig[],
  zone: string | null,
): ServerConfig {
  return { name: text, address, addressText: text, weight: 1, master: null, replicas, zone, slots };
}

function sorted(replicas: readonly ReplicaConfig[]): ReplicaConfig[] {
  return sortServers(replicas.map((each) => ({ ...each, name: each.text }))).map(({ name: _, ...each }) =>
    each
  );
}

function keyOf(servers: Servers): string {
  return JSON.stringify(servers);
}
