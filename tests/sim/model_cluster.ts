/**
 * A cluster of model servers, as Redis 7.0 and Valkey 9.1 were seen to do it: slots that are owned, migrate key by key, and are spoken
 * of differently by nodes that have not heard of a change yet.
 *
 *   ModelCluster ── what is true: the data, and which shard has each key
 *     └─ ClusterRedis (a node) ── View: what it believes: who owns a slot, who is a shard's primary, is all well
 *
 * There is one store for all nodes, and a key is in one shard at a time. So a node that is asked for what is not its own, in a
 * way to which it could not say so (ASKING too early), makes no second copy as a real one would: it is found out on the spot.
 * Replicas have all that their primary has. A slot's migration is known to a primary's successor, as in Valkey 8 and later.
 * Functions are a shard's, and its replicas have them; scripts are a node's, and are gone when it ends.
 */
import type { Session } from "../../src/demo/redis/command.ts";
import { fits } from "../../src/demo/redis/command.ts";
import { unwatch } from "../../src/demo/redis/connection.ts";
import { slotOf, SLOTS } from "../lib/slots.ts";
import type { SimClock } from "./clock.ts";
import { ModelRedis, NOSCRIPT, type Tagged, takeTags } from "./model_redis.ts";
import { executeFunction, sha1 } from "./scripts.ts";
import { type Truth, Violation } from "./truth.ts";

export { slotOf };
export const CLUSTER_DOWN = "-CLUSTERDOWN The cluster is down\r\n";
const CROSSSLOT = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const NOT_SERVED = "-CLUSTERDOWN Hash slot not served\r\n";
export const NO_FUNCTION = "-ERR Function not found\r\n";
const TRYAGAIN = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
/** Whoever is sent on more often than this within a second is sent in a circle. */
const SENT_ON_MAX = 40;

const POPS: ReadonlySet<string> = new Set(["blpop", "brpop"]);
/** Behind the name of a key that is in another shard: who waits for it here gets nothing, as if there were none. */
const NOT_HERE = "!";

/** So often who was told ASK may come there without ASKING. */
const UNASKED_MAX = 4;
/** So soon after MOVED it is known where the slot is. */
const LEARNT_MS = 1000;

/** How the programs differ. */
export type Manner = "redis" | "valkey";

/** One thing that happened to a cluster, which its nodes hear of one after the other. */
export type ClusterNews =
  | {
    readonly kind: "slots";
    readonly epoch: number;
    readonly slots: readonly number[];
    readonly shard: number;
    /** Who claims them, and since when it is a primary: nobody hears of a claim and not of who makes it. */
    readonly by?: { readonly node: number; readonly epoch: number };
  }
  | { readonly kind: "primary"; readonly epoch: number; readonly shard: number; readonly node: number }
  | { readonly kind: "failed"; readonly node: number; readonly failed: boolean }
  | { readonly kind: "state"; readonly down: boolean };

/** What the nodes of a cluster have in common. */
export class ModelCluster {
  readonly nodes: ClusterRedis[] = [];
  /** The shard that has each key. */
  readonly places = new Map<string, number>();
  epoch: number;
  /** Tags of requests that were told ASK, with the shard. */
  readonly asked = new Map<string, number>();
  /** When a node first had a request "client.request". */
  private readonly seen = new Map<string, number>();
  /** By tag: when a node first told it to wait (TRYAGAIN, CLUSTERDOWN). Fragments of other slots wait for themselves. */
  private readonly held = new Map<string, { ms: number; serial: number; node: number; slot: number }>();
  private readonly movedBy = new Map<string, number>();
  /** Who refused a request's fragment of a slot last, by "client.request slot". */
  private readonly refused = new Map<string, { serial: number; node: number }>();
  private serial = 0;
  /** Nothing goes wrong between the proxy and the nodes, so that what is sent on arrives. */
  isCalm = true;
  /** All nodes know since then who owns a slot, and all is well; Infinity: they do not. */
  settledMs: (slot: number) => number = () => Infinity;
  /** By slot: when MOVED was first said of it since then. */
  private readonly movedSince = new Map<number, number>();
  /** By slot: how often it has got another owner; by tag: how often its slot had when ASK was said to it. */
  private readonly hands = new Map<number, number>();
  private readonly handsAsked = new Map<string, number>();
  private readonly unasked = new Map<string, number>();
  /** By tag: how often it was sent on since when. */
  private readonly sentOn = new Map<string, { sinceMs: number; times: number }>();
  /** Of keys: how often each has changed, or gone to another shard. */
  readonly changes = new Map<string, number>();
  /** When each has changed last. */
  readonly changedAtMs = new Map<string, number>();
  /** By key that there is: since when it has been in its shard. */
  readonly thereSince = new Map<string, number>();
  /** Tags of reads that were executed. */
  readonly reads = new Set<string>();
  /** Tags of scripts that some node was asked to run, and of requests that are too large to be asked twice. */
  readonly scripts = new Set<string>();
  /** Libraries by name, with their texts, of each shard. */
  readonly libraries: Map<string, string>[];
  /** Of replication: grows with each change. */
  offset = 1;
  /** All tags of the transaction that a tag is in, or itself: what is said to one command is said to all. */
  matesOf: (tag: string) => readonly string[] = (tag) => [tag];
  /** Told of what is about to be executed. */
  executes: (tags: readonly string[], keys: readonly string[]) => void = () => {};
  /** What was said of redirects, for worlds that want to know that there were some. */
  readonly said = { moved: 0, ask: 0, tryAgain: 0, down: 0, asking: 0, lacking: 0 };

  /** @param empty of the shards: so many have no slots at first */
  constructor(
    readonly shards: number,
    readonly manner: Manner,
    private readonly clock: SimClock,
    readonly empty = 0,
  ) {
    this.epoch = shards;
    this.libraries = Array.from({ length: shards }, () => new Map());
  }

  private get filled(): number {
    return this.shards - this.empty;
  }

  /** Where parts of the slots begin, as it is created. */
  get cuts(): number[] {
    return Array.from({ length: this.filled }, (_, shard) => Math.ceil(SLOTS / this.filled) * shard);
  }

  /** As it is created: an equal part of the slots each. */
  firstShardOf(slot: number): number {
    return Math.min(this.filled - 1, Math.floor(slot / Math.ceil(SLOTS / this.filled)));
  }

  keysIn(slot: number): string[] {
    const { entries } = this.nodes[0]!.databases[0]!;
    return [...entries.keys()].filter((key) => slotOf(key) === slot);
  }

  /** MIGRATE: it is gone there, for who watches it, and is here. */
  moveKey(key: string, shard: number): void {
    // Who has read it hears of that where it was.
    for (const node of this.nodes) if (node.shard === this.places.get(key)) node.hearOf(key);
    this.places.set(key, shard);
    this.thereSince.set(key, this.clock.nowMs());
    this.nodes[0]!.databases[0]!.touch(key);
  }

  noteSeen(tags: readonly string[]): void {
    for (const tag of tags) {
      const request = requestOf(tag);
      if (!this.seen.has(request)) this.seen.set(request, this.clock.nowMs());
    }
  }

  noteHeld(tags: readonly string[], node: number, slot: number): void {
    for (const tag of tags) {
      const serial = ++this.serial;
      if (!this.held.has(tag)) this.held.set(tag, { ms: this.clock.nowMs(), serial, node, slot });
    }
  }

  /** Had this fragment been told to wait, and when; Infinity: never. */
  heldMs(tag: string): number {
    return this.held.get(tag)?.ms ?? Infinity;
  }

  /** Was this request, which has overtaken one that waits, refused as well, by the same node and after it? Then it could have waited. */
  refusedBehind(request: string, waiting: string): boolean {
    const held = this.held.get(waiting);
    // Of another slot is another fragment.
    const refused = this.refused.get(`${request} ${held?.slot}`);
    return held !== undefined && refused !== undefined && held.node === refused.node &&
      refused.serial > held.serial;
  }

  /** When a node first had it. */
  seenMs(tag: string): number {
    return this.seen.get(requestOf(tag)) ?? Infinity;
  }

  /** When this node has told a request MOVED; Infinity: never. */
  movedMs(tag: string, node: number): number {
    return this.movedBy.get(`${requestOf(tag)} ${node}`) ?? Infinity;
  }

  /** MOVED is said of a slot that has long been where it is. */
  noteMoved(slot: number, tags: readonly string[], node: number): void {
    const nowMs = this.clock.nowMs();
    for (const tag of tags) {
      const key = `${requestOf(tag)} ${node}`;
      if (!this.movedBy.has(key)) this.movedBy.set(key, nowMs);
    }
    const settledMs = this.settledMs(slot);
    if (settledMs > nowMs) return void this.movedSince.delete(slot);
    const first = this.movedSince.get(slot) ?? -Infinity;
    if (first < settledMs) this.movedSince.set(slot, nowMs);
    else if (nowMs - first > LEARNT_MS) {
      throw new Violation(
        `slot ${slot} is still looked for elsewhere, ${
          Math.floor(nowMs - first)
        } ms after MOVED was said of it`,
      );
    }
  }

  handedOver(slot: number): void {
    this.hands.set(slot, (this.hands.get(slot) ?? 0) + 1);
  }

  noteAsk(tags: readonly string[], slot: number, to: number): void {
    for (const tag of tags) {
      this.asked.set(tag, to);
      this.handsAsked.set(tag, this.hands.get(slot) ?? 0);
    }
  }

  /** Has the slot got another owner since one of these was told to ask elsewhere? */
  askedBefore(tags: readonly string[], slot: number): boolean {
    const now = this.hands.get(slot) ?? 0;
    // Reads of who tracks say nothing of who asks: it may have.
    if (tags.length === 0) return now > 0;
    return tags.flatMap((tag) => [...this.matesOf(tag)]).some((tag) =>
      (this.handsAsked.get(tag) ?? now) < now
    );
  }

  wasAsked(tag: string, shard: number): boolean {
    return this.matesOf(tag).some((mate) => this.asked.get(mate) === shard);
  }

  wasSentOn(tag: string): boolean {
    return this.matesOf(tag).some((mate) => this.sentOn.has(mate));
  }

  /** It comes to where it was told to ask, and says no ASKING: once or twice it may, if it has waited and was placed anew. */
  noteUnasked(tags: readonly string[], shard: number, what: string): void {
    for (const tag of tags) {
      if (this.asked.get(tag) !== shard) continue;
      const times = (this.unasked.get(tag) ?? 0) + 1;
      this.unasked.set(tag, times);
      if (times < UNASKED_MAX) continue;
      throw new Violation(`request ${tag} came to ${what} without ASKING, although it was told to ask there`);
    }
  }

  noteSentOn(tags: readonly string[], what: string, node: number, slot: number): void {
    for (const tag of tags) this.refused.set(`${requestOf(tag)} ${slot}`, { serial: ++this.serial, node });
    const nowMs = this.clock.nowMs();
    for (const tag of tags) {
      const before = this.sentOn.get(tag);
      if (before === undefined || nowMs - before.sinceMs > 1000) {
        this.sentOn.set(tag, { sinceMs: nowMs, times: 1 });
      } else if (++before.times > SENT_ON_MAX) {
        throw new Violation(
          `request ${tag} was sent on ${before.times} times within a second, last by ${what}`,
        );
      }
    }
  }
}

/** "client.request" of "client.request.part". */
function requestOf(tag: string): string {
  return tag.split(".", 2).join(".");
}

/** What a node believes. */
class View {
  /** Node by shard, and since which epoch. */
  readonly primaries: { node: number; epoch: number }[];
  /** Slots that are not where they were at first. */
  readonly moved = new Map<number, { shard: number; epoch: number }>();
  readonly failed = new Set<number>();
  down = false;

  constructor(private readonly cluster: ModelCluster) {
    this.primaries = Array.from(
      { length: cluster.shards },
      (_, shard) => ({ node: shard, epoch: shard + 1 }),
    );
  }

  shardOf(slot: number): number {
    return this.moved.get(slot)?.shard ?? this.cluster.firstShardOf(slot);
  }
}

/** A connection, as far as a cluster cares. */
interface Mood {
  asking: boolean;
  readOnly: boolean;
}

const FIRST = new Set(
  ("get set incr append getset strlen setnx getdel type lpush rpush lpop rpop lrange blpop brpop hset hgetall " +
    "pexpire llen").split(" "),
);
const ALL = new Set(["mget", "del", "exists", "unlink", "touch", "watch"]);
/** Of shard channels: keys that migrate are nothing to them. */
const SHARDED = new Set(["ssubscribe", "sunsubscribe", "spublish"]);
const TELLS = new Set(["subscribe", "unsubscribe", "psubscribe", "punsubscribe", "publish", ...SHARDED]);
/** What is published comes to other nodes within this time. */
const BUS_MS = 2;
/** What runs a script or a function. */
const RUNS = new Set(["eval", "evalsha", "fcall"]);
const BOTH = new Set(["rename", "copy"]);
const READS = new Set("get strlen mget exists type lrange touch watch hgetall llen".split(" "));
const BEFORE_AUTH = new Set(["auth", "hello", "quit", "reset"]);
/** What a loading node of Valkey answers of itself; one of Redis 7.0 none of it. */
const WHILE_LOADING = new Set(["slots", "shards", "nodes", "info"]);

/** Its keys; the tags have been taken off. */
function keysOf(args: readonly string[]): string[] {
  const name = args[0]!.toLowerCase();
  const found = FIRST.has(name)
    ? args.slice(1, 2)
    : SHARDED.has(name)
    ? (name === "spublish" ? args.slice(1, 2) : args.slice(1))
    : ALL.has(name)
    ? args.slice(1)
    : BOTH.has(name)
    ? args.slice(1, 3)
    : name === "mset"
    ? args.slice(1).filter((_, i) => i % 2 === 0)
    : RUNS.has(name)
    ? args.slice(3, 3 + Number(args[2]))
    : [];
  return found;
}

export class ClusterRedis extends ModelRedis {
  readonly view: View;
  /** By slot: the shard that it goes to. */
  readonly migrating = new Map<number, number>();
  /** By slot: the shard that it comes from. */
  readonly importing = new Map<number, number>();
  private readonly moods = new WeakMap<Session, Mood>();
  /** EXEC's commands are being executed. */
  private executing = false;

  constructor(
    readonly number: number,
    readonly shard: number,
    /** "host:port" */
    readonly text: string,
    private readonly cluster: ModelCluster,
    truth: Truth,
    private readonly time: SimClock,
    options: { random: () => number; password?: string },
  ) {
    super(number, truth, time, options);
    this.view = new View(cluster);
    const [first] = cluster.nodes;
    // What they store is the same.
    if (first !== undefined) Object.assign(this, { databases: first.databases });
    else {
      const [db] = this.databases;
      const touch = db!.touch.bind(db);
      db!.touch = (key) => {
        cluster.changes.set(key, (cluster.changes.get(key) ?? 0) + 1);
        cluster.changedAtMs.set(key, time.nowMs());
        cluster.offset++;
        if (db!.entries.get(key) === undefined) cluster.thereSince.delete(key);
        else if (!cluster.thereSince.has(key)) cluster.thereSince.set(key, time.nowMs());
        touch(key);
      };
    }
    cluster.nodes.push(this);
    this.role = this.isPrimary ? "master" : "slave";
    this.replication = {
      changed: () => {},
      info: () => this.info(),
      role: () => this.roleText(),
      replicaOf: () => {},
    };
  }

  /** What changes in the one store is told by the nodes of the shard that has it. */
  protected override tellChanged(key: string): void {
    for (const node of this.cluster.nodes) if (node.shard === this.cluster.places.get(key)) node.hearOf(key);
  }

  hearOf(key: string): void {
    this.tracking.changed(key);
  }

  /** A replica has all that its primary has, as soon as that is there. */
  private info(): string {
    const { cluster, isPrimary } = this;
    const lines = [`role:${isPrimary ? "master" : "slave"}`, `loading:${this.isLoading ? 1 : 0}`];
    if (isPrimary) {
      lines.push(`master_repl_offset:${cluster.offset}`);
      this.membersOf(this.shard).slice(1).forEach(({ text }, i) => {
        lines.push(
          `slave${i}:ip=${text.split(":")[0]},port=${text.split(":")[1]},state=online,offset=1,lag=0`,
        );
      });
    } else {
      lines.push(
        "master_link_status:up",
        "master_last_io_seconds_ago:0",
        `slave_repl_offset:${cluster.offset}`,
      );
    }
    return [...lines, `master_replid:${"e".repeat(40)}`, ""].join("\r\n");
  }

  private roleText(): string {
    if (this.isPrimary) return `*3\r\n$6\r\nmaster\r\n:${this.cluster.offset}\r\n*0\r\n`;
    const [host, port] = this.primaryText(this.shard).split(":") as [string, string];
    return `*5\r\n$5\r\nslave\r\n$${host.length}\r\n${host}\r\n:${port}\r\n$9\r\nconnected\r\n:${this.cluster.offset}\r\n`;
  }

  get id(): string {
    return (this.number + 10).toString(16).repeat(40).slice(0, 40);
  }

  get isPrimary(): boolean {
    return this.view.primaries[this.shard]!.node === this.number;
  }

  /** True if it believes that the slot is its own. */
  owns(slot: number): boolean {
    return this.view.shardOf(slot) === this.shard && this.isPrimary;
  }

  get isLoading(): boolean {
    return this.loadingUntilMs > this.time.nowMs();
  }

  // ---- what it hears

  learn(news: ClusterNews): void {
    const { view } = this;
    if (news.kind === "failed") {
      if (news.failed) view.failed.add(news.node);
      else view.failed.delete(news.node);
    } else if (news.kind === "state") {
      if (news.down && !view.down) this.answerWaiting(() => CLUSTER_DOWN, false);
      view.down = news.down;
    } else if (news.kind === "primary") {
      const known = view.primaries[news.shard]!;
      if (known.epoch >= news.epoch) return;
      const was = known.node;
      known.node = news.node;
      known.epoch = news.epoch;
      this.role = this.isPrimary ? "master" : "slave";
      if (news.shard === this.shard && was !== this.number && this.isPrimary) {
        this.succeed(this.cluster.nodes[was]!);
      }
      if (was === this.number && !this.isPrimary) this.demoted();
    } else {
      if (news.by !== undefined) this.learn({ kind: "primary", shard: news.shard, ...news.by });
      for (const slot of news.slots) {
        const known = view.moved.get(slot);
        if (known !== undefined && known.epoch >= news.epoch) continue;
        view.moved.set(slot, { shard: news.shard, epoch: news.epoch });
        // Who has lost it no more migrates it; who has got it imports it no more.
        if (news.shard !== this.shard) this.migrating.delete(slot);
        else this.importing.delete(slot);
        if (news.shard !== this.shard) {
          const moved = `-MOVED ${slot} ${this.ownerText(slot)}\r\n`;
          this.answerWaiting((key) => slotOf(key) === slot ? moved : null, false);
          this.endShardChannels((channel) => slotOf(channel) === slot);
        }
      }
    }
  }

  /** It knows of slots what its primary knew. */
  private succeed(before: ClusterRedis): void {
    for (const [slot, { shard, epoch }] of before.view.moved) {
      this.learn({ kind: "slots", epoch, slots: [slot], shard, by: before.view.primaries[shard]! });
    }
    for (const name of ["migrating", "importing"] as const) {
      for (const [slot, shard] of before[name]) this[name].set(slot, shard);
      before[name].clear();
    }
  }

  /** A node that has been away: all that this one knows. */
  recall(other: ClusterRedis): void {
    const { view } = other;
    view.primaries.forEach(({ node, epoch }, shard) => this.learn({ kind: "primary", shard, node, epoch }));
    for (const [slot, { shard, epoch }] of view.moved) {
      this.learn({ kind: "slots", epoch, slots: [slot], shard });
    }
    this.view.failed.clear();
    for (const node of view.failed) this.view.failed.add(node);
    this.view.down = view.down;
  }

  private demoted(): void {
    if (this.cluster.manner === "valkey") {
      this.answerWaiting((key) => `-MOVED ${slotOf(key)} ${this.ownerText(slotOf(key))}\r\n`, false);
    } else {
      this.answerWaiting(
        () =>
          "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n",
        true,
      );
    }
  }

  private ownerText(slot: number): string {
    const { view, cluster } = this;
    return cluster.nodes[view.primaries[view.shardOf(slot)]!.node]!.text;
  }

  private primaryText(shard: number): string {
    return this.cluster.nodes[this.view.primaries[shard]!.node]!.text;
  }

  // ---- what it is asked

  override execute(session: Session, args: string[]): void {
    const { tags } = takeTags(args);
    this.noteScript(args[0]!.toLowerCase(), tags);
    if (this.executing) {
      const told = TELLS.has(args[0]!.toLowerCase());
      return told ? super.execute(session, args) : this.executeServed(session, args, keysOf(args), tags);
    }
    const mood = this.moodOf(session);
    const name = args[0]!.toLowerCase();
    this.executeOne(session, mood, name, args);
    this.tracking.refused(session, args);
    // It is used up by whatever comes next, but by a whole transaction.
    if (name !== "asking" && session.queued === null) mood.asking = false;
  }

  /** The scripts that EXISTS at hand asks about. */
  private about: string[] = [];
  /** Who has been refused a script may ask, with EXISTS, where its keys are: that executes nothing of it. */
  private noteScript(name: string, tags: string[]): void {
    const { scripts } = this.cluster;
    if (RUNS.has(name)) { for (const tag of tags) scripts.add(tag); }
    this.about = name === "exists" && tags.some((tag) => scripts.has(tag)) ? tags.splice(0) : [];
  }

  private moodOf(session: Session): Mood {
    let mood = this.moods.get(session);
    if (mood === undefined) {
      this.moods.set(session, mood = { asking: false, readOnly: false });
    }
    return mood;
  }

  private executeOne(session: Session, mood: Mood, name: string, args: string[]): void {
    const { reply } = session;
    const arity = this.commands.get(name)?.arity;
    if (!session.authenticated && !BEFORE_AUTH.has(name)) {
      reply.error("NOAUTH Authentication required.");
      return;
    }
    if (arity !== undefined && !fits(arity, args.length)) return super.execute(session, args);
    switch (name) {
      case "asking":
        mood.asking = true;
        return reply.ok();
      case "readonly":
      case "readwrite":
        mood.readOnly = name === "readonly";
        return reply.ok();
      case "cluster":
        return this.describe(session, args);
      case "hello": {
        const start = reply.text.length;
        super.execute(session, args);
        reply.text = reply.text.slice(0, start) +
          reply.text.slice(start).replace("$10\r\nstandalone", "$7\r\ncluster")
            .replace("$6\r\nmaster", this.isPrimary ? "$6\r\nmaster" : "$7\r\nreplica");
        return;
      }
      case "scan":
      case "keys":
      case "dbsize":
        return this.enumerate(session, name, args);
      case "reset":
        mood.readOnly = false;
    }
    const isExec = name === "exec" && session.queued !== null;
    const commands = isExec ? session.queued! : [args];
    const keys = commands.flatMap(keysOf);
    const tags = commands.flatMap((command) => takeTags(command).tags);
    if (!isExec) this.cluster.noteSeen(tags);
    const refusal = keys.length === 0 ? null : this.refusalOf(session, mood, name, keys, tags);
    if (refusal !== null) {
      if (isExec) {
        session.queued = null;
        session.aborted = false;
        unwatch(session);
      } else if (session.queued !== null) session.aborted = true;
      reply.text += refusal;
      return;
    }
    if (isExec) {
      this.executing = true;
      super.execute(session, args);
      this.executing = false;
    } else if (session.queued !== null && RUNS.has(name)) {
      // src/demo's would refuse what it does not know.
      session.queued.push(args);
      reply.text += "+QUEUED\r\n";
    } else if (session.queued !== null) super.execute(session, args);
    else if (TELLS.has(name)) super.execute(session, args);
    else if (this.lacks(args) !== null) this.refuseLacking(session, args, keys, tags);
    else {
      this.executeServed(session, args, keys, tags);
    }
  }

  /** It is the node's own, or said to be. */
  private executeServed(
    session: Session,
    args: string[],
    keys: readonly string[],
    tags: readonly string[],
  ): void {
    const { cluster, shard } = this;
    const db = this.databases[session.selected]!;
    for (const key of keys) {
      if (db.find(key) === undefined) cluster.places.set(key, shard);
      else if (cluster.places.get(key) !== shard) {
        if (POPS.has(args[0]!.toLowerCase()) && cluster.askedBefore(tags, slotOf(key))) {
          args[1] += NOT_HERE;
          continue;
        }
        throw new Violation(
          `${
            args.join(" ")
          } is executed by ${this.text} for who was not told to ask there: ${key} is in shard ` +
            `${cluster.places.get(key)}`,
        );
      }
    }
    for (const tag of tags) cluster.asked.delete(tag);
    if (READS.has(args[0]!.toLowerCase())) { for (const tag of tags) cluster.reads.add(tag); }
    cluster.executes(tags, keys);
    super.execute(session, args);
  }

  protected override publish(
    session: Session,
    name: string,
    channel: string,
    message: string,
    tagged: Tagged,
  ): void {
    super.publish(session, name, channel, message, tagged);
    for (const node of this.cluster.nodes) {
      if (node === this || name === "spublish" && node.shard !== this.shard) continue;
      this.time.setTimer(this.busMs(), () => node.tell(null, name, channel, message));
    }
  }

  private busMs(): number {
    return this.options.random() * BUS_MS;
  }

  // ---- scripts and functions

  /** What it says if it lacks what this is to run; null: it does not. */
  private lacks(args: readonly string[]): string | null {
    const name = args[0]!.toLowerCase();
    if (name === "evalsha") return this.scripts.has(args[1]!.toLowerCase()) ? null : NOSCRIPT;
    if (name !== "fcall") return null;
    const called = `'${args[1]}'`;
    for (const text of this.libraries.values()) if (text.includes(called)) return null;
    return NO_FUNCTION;
  }

  /** Nothing has been done, and it may be asked once more. */
  private refuseLacking(
    session: Session,
    args: readonly string[],
    keys: readonly string[],
    tags: readonly string[],
  ): void {
    const { cluster, number } = this;
    const slot = keys.length === 0 ? -1 : slotOf(keys[0]!);
    cluster.said.lacking++;
    cluster.noteHeld(tags, number, slot);
    cluster.noteSentOn(tags, this.text, number, slot);
    session.reply.text += this.lacks(args);
  }

  override get libraries(): Map<string, string> {
    return this.cluster.libraries[this.shard]!;
  }

  /** Its process is another one. */
  forgetScripts(): void {
    this.scripts.clear();
  }

  /** It had them on no disk. */
  forgetLibraries(): void {
    this.libraries.clear();
  }

  protected override script(
    session: Session,
    name: string,
    args: readonly string[],
    tagged: Tagged,
  ): void {
    const { reply } = session;
    if (this.isLoading) return reply.error("LOADING Redis is loading the dataset in memory");
    const what = args[1]!.toLowerCase();
    if (name === "script") {
      if (what === "load") {
        this.scripts.add(sha1(args[2]!));
        reply.bulk(sha1(args[2]!));
      } else if (what === "flush") {
        this.scripts.clear();
        reply.ok();
      } else {
        reply.array(args.length - 2);
        for (const digest of args.slice(2)) reply.integer(this.scripts.has(digest.toLowerCase()) ? 1 : 0);
      }
      return;
    }
    if (name === "function") return this.functions(session, what, args);
    const lacking = this.lacks(args);
    if (lacking !== null) {
      reply.text += lacking;
      return this.note(session, tagged, lacking, null);
    }
    if (name === "eval") this.scripts.add(sha1(args[1]!));
    this.runScript(session, args, tagged);
  }

  private functions({ reply }: Session, what: string, args: readonly string[]): void {
    executeFunction(this.libraries, reply, what, args, this.isPrimary);
  }

  /** It tells of what is in its own shard, asked with ASKING or not. */
  private enumerate(session: Session, name: string, args: string[]): void {
    const { reply } = session;
    if (this.isLoading) return reply.error("LOADING Redis is loading the dataset in memory");
    const mine = (key: string) => this.has(session, key);
    if (name === "dbsize") {
      const keys = [...this.databases[session.selected]!.entries.keys()];
      return reply.integer(keys.filter(mine).length);
    }
    const start = reply.text.length;
    super.execute(session, args);
    const said = reply.text.slice(start);
    const head = /^\*2\r\n\$\d+\r\n\d+\r\n/.exec(said)?.[0] ?? "";
    if (!said.startsWith("*")) return;
    const keys = [...said.slice(head.length).matchAll(/\$\d+\r\n([^\r]*)\r\n/g)].map((match) => match[1]!)
      .filter(mine);
    reply.text = reply.text.slice(0, start) + head;
    reply.bulks(keys, keys.length);
  }

  /** Why it does not serve this, in the order of a server's checks; null: it does. */
  private refusalOf(
    session: Session,
    mood: Mood,
    name: string,
    keys: readonly string[],
    tags: readonly string[],
  ): string | null {
    const { view, cluster } = this;
    const { said } = cluster;
    const slot = slotOf(keys[0]!);
    if (keys.some((key) => slotOf(key) !== slot)) return CROSSSLOT;
    if (view.shardOf(slot) < 0) return NOT_SERVED;
    if (view.down || this.isLoading) {
      said.down++;
      cluster.noteHeld(tags, this.number, slot);
      cluster.noteSentOn(tags, this.text, this.number, slot);
      return CLUSTER_DOWN;
    }
    const mine = this.owns(slot);
    if (SHARDED.has(name) && mine) return null;
    const follows = !mine && view.shardOf(slot) === this.shard && mood.readOnly && READS.has(name);
    // A replica of Valkey's knows what migrates, one of Redis 7 answers that there is no such key.
    const to = mine
      ? this.migrating.get(slot)
      : follows
      ? cluster.nodes[view.primaries[this.shard]!.node]!.migrating.get(slot)
      : undefined;
    const imports = !mine && this.isPrimary && this.importing.has(slot);
    const distinct = [...new Set(keys)];
    const here = distinct.filter((key) => this.has(session, key)).length;
    const missing = distinct.length - here;
    const queues = session.queued !== null && name !== "exec";
    // Valkey says so at EXEC.
    const later = queues && cluster.manner === "valkey";
    if (to !== undefined && !later && missing > 0) {
      cluster.noteSentOn(tags, this.text, this.number, slot);
      if (here > 0) {
        said.tryAgain++;
        cluster.noteHeld(tags, this.number, slot);
        return TRYAGAIN;
      }
      said.ask++;
      // What is said of a script's keys is said of the script.
      cluster.noteAsk([...tags, ...this.about], slot, to);
      return `-ASK ${slot} ${this.primaryText(to)}\r\n`;
    }
    if (imports && mood.asking) {
      said.asking++;
      if (!queues) this.checkAsking(tags);
      if (distinct.length > 1 && missing > 0 && !later) {
        cluster.noteSentOn(tags, this.text, this.number, slot);
        said.tryAgain++;
        cluster.noteHeld(tags, this.number, slot);
        for (const tag of tags) cluster.asked.delete(tag);
        return TRYAGAIN;
      }
      if (missing === 0 || queues || this.isImported(slot, keys)) return null;
      if (!cluster.askedBefore(tags, slot)) {
        throw new Violation(
          `${keys.join(" ")} was asked of ${this.text} with ASKING, although slot ${slot} is not migrating`,
        );
      }
      // The slot went there, away and there again while ASKING was on its way: a real one would say that there is no such key. Who waits
      // for an element waits: its own time may be too short for TRYAGAIN.
      if (POPS.has(name)) return null;
      said.tryAgain++;
      cluster.noteHeld(tags, this.number, slot);
      return TRYAGAIN;
    }
    if (mine) return null;
    if (follows) return null;
    // Of what is on its way WATCH waits until it is there.
    if (imports && cluster.isCalm && name !== "watch") cluster.noteUnasked(tags, this.shard, this.text);
    cluster.noteSentOn(tags, this.text, this.number, slot);
    cluster.noteMoved(slot, tags, this.number);
    said.moved++;
    return `-MOVED ${slot} ${this.ownerText(slot)}\r\n`;
  }

  private has(session: Session, key: string): boolean {
    return this.databases[session.selected]!.find(key) !== undefined &&
      this.cluster.places.get(key) === this.shard;
  }

  /** Each request with ASKING was told so, for itself; a transaction for one of its commands. */
  private checkAsking(tags: readonly string[]): void {
    if (tags.length === 0 || tags.some((tag) => this.cluster.wasAsked(tag, this.shard))) return;
    throw new Violation(
      `request ${tags[0]} came to ${this.text} with ASKING, although nobody had told it to ask there`,
    );
  }

  /** Its source would have said ASK: it migrates the slot. */
  private isImported(slot: number, keys: readonly string[]): boolean {
    const { nodes, places } = this.cluster;
    const source = nodes.find((node) => node.owns(slot) && node.migrating.has(slot));
    const isElsewhere = (key: string) =>
      this.databases[0]!.find(key) !== undefined && places.get(key) !== this.shard;
    return source !== undefined && !keys.some(isElsewhere);
  }

  // ---- what it says of the cluster

  private describe(session: Session, args: readonly string[]): void {
    const { reply } = session;
    const what = (args[1] ?? "").toLowerCase();
    if (this.isLoading && !(this.cluster.manner === "valkey" && WHILE_LOADING.has(what))) {
      return reply.error("LOADING Redis is loading the dataset in memory");
    }
    switch (what) {
      case "myid":
        return reply.bulk(this.id);
      case "keyslot":
        return reply.integer(slotOf(args[2]!));
      case "countkeysinslot": {
        const keys = this.cluster.keysIn(Number(args[2]));
        return reply.integer(keys.filter((key) => this.cluster.places.get(key) === this.shard).length);
      }
      case "info":
        return reply.verbatim(
          `cluster_enabled:1\r\ncluster_state:${
            this.view.down ? "fail" : "ok"
          }\r\ncluster_slots_assigned:${SLOTS}\r\n` +
            `cluster_known_nodes:${this.cluster.nodes.length}\r\ncluster_size:${this.cluster.shards}\r\n` +
            `cluster_current_epoch:${this.cluster.epoch}\r\ncluster_my_epoch:${
              this.epochOf(this.number)
            }\r\n`,
        );
      case "nodes":
        return reply.verbatim(this.nodesText());
      case "slots":
        return this.sayRanges(session);
      case "shards":
        return this.sayShards(session);
      default:
        reply.error(`ERR unknown subcommand '${args[1]}'. Try CLUSTER HELP.`);
    }
  }

  /** Of a primary: that of its newest slot or of its promotion; a replica has its primary's. */
  private epochOf(number: number): number {
    const { shard } = this.cluster.nodes[number]!;
    let { epoch } = this.view.primaries[shard]!;
    for (const moved of this.view.moved.values()) {
      if (moved.shard === shard) epoch = Math.max(epoch, moved.epoch);
    }
    return epoch;
  }

  /** First and last slot, by shard. */
  rangesOf(shard: number): [number, number][] {
    return this.ranges()[shard]!;
  }

  private ranges(): [number, number][][] {
    const { cluster, view } = this;
    const found: [number, number][][] = Array.from({ length: cluster.shards }, () => []);
    const cuts = new Set(cluster.cuts);
    for (const slot of view.moved.keys()) {
      cuts.add(slot);
      cuts.add(slot + 1);
    }
    const starts = [...cuts].filter((cut) => cut < SLOTS).sort((a, b) => a - b);
    starts.forEach((start, i) => {
      const end = (starts[i + 1] ?? SLOTS) - 1;
      const of = found[view.shardOf(start)];
      if (of === undefined) return;
      const last = of.at(-1);
      if (last !== undefined && last[1] === start - 1) last[1] = end;
      else of.push([start, end]);
    });
    return found;
  }

  /** Primary first. */
  private membersOf(shard: number): ClusterRedis[] {
    const primary = this.view.primaries[shard]!.node;
    const others = this.cluster.nodes.filter((node) => node.shard === shard && node.number !== primary);
    return [this.cluster.nodes[primary]!, ...others];
  }

  private sayRanges({ reply }: Session): void {
    const ranges = this.ranges().flatMap((list, shard) =>
      list.map(([first, last]) => ({ first, last, shard }))
    );
    reply.array(ranges.length);
    for (const { first, last, shard } of ranges) {
      // A failed primary is still named, a failed replica not.
      const members = this.membersOf(shard).filter((node, i) =>
        i === 0 || !this.view.failed.has(node.number)
      );
      reply.array(2 + members.length);
      reply.integer(first);
      reply.integer(last);
      for (const node of members) {
        reply.array(4);
        reply.bulk(node.text.split(":")[0]);
        reply.integer(Number(node.text.split(":")[1]));
        reply.bulk(node.id);
        reply.array(0);
      }
    }
  }

  private sayShards({ reply }: Session): void {
    const ranges = this.ranges();
    reply.array(this.cluster.shards);
    for (let shard = 0; shard < this.cluster.shards; shard++) {
      reply.map(2);
      reply.bulk("slots");
      const flat = ranges[shard]!.flat();
      reply.array(flat.length);
      for (const slot of flat) reply.integer(slot);
      reply.bulk("nodes");
      const members = this.membersOf(shard);
      reply.array(members.length);
      for (const node of members) {
        const [host, port] = node.text.split(":") as [string, string];
        reply.map(7);
        reply.bulk("id");
        reply.bulk(node.id);
        reply.bulk("port");
        reply.integer(Number(port));
        for (const word of ["ip", "endpoint"]) {
          reply.bulk(word);
          reply.bulk(host);
        }
        reply.bulk("role");
        reply.bulk(node === members[0] ? "master" : "replica");
        reply.bulk("replication-offset");
        reply.integer(1);
        reply.bulk("health");
        reply.bulk(this.view.failed.has(node.number) ? "fail" : "online");
      }
    }
  }

  private nodesText(): string {
    const ranges = this.ranges();
    return this.cluster.nodes.map((node) => {
      const { shard, number } = node;
      const primary = this.view.primaries[shard]!.node;
      const isPrimary = primary === number;
      const flags = `${node === this ? "myself," : ""}${isPrimary ? "master" : "slave"}${
        this.view.failed.has(number) ? ",fail" : ""
      }`;
      const slots = isPrimary
        ? ranges[shard]!.map(([a, b]) => a === b ? ` ${a}` : ` ${a}-${b}`).join("")
        : "";
      const marks = node !== this ? "" : [
        ...[...this.migrating].map(([slot, to]) => ` [${slot}->-${this.membersOf(to)[0]!.id}]`),
        ...[...this.importing].map(([slot, from]) => ` [${slot}-<-${this.membersOf(from)[0]!.id}]`),
      ].join("");
      return `${node.id} ${node.text}@1${node.text.split(":")[1]} ${flags} ${
        isPrimary ? "-" : this.cluster.nodes[primary]!.id
      } 0 1 ${this.epochOf(number)} connected${slots}${marks}\n`;
    }).join("");
  }
}
