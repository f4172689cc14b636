/**
 * Pub/sub over many servers, for all clients of a pool.
 *
 *   client ─SUBSCRIBE news─► topic "news" ──► one upstream connection to the server that owns "news"
 *   client ◄────── message ◄── clients of the topic ◄──┘   (shared by everybody who subscribes here)
 *
 * A channel belongs to the server its name hashes to, and PUBLISH goes there; a pattern is watched on all servers of the ring. A
 * client is told "subscribed" when the server has said so, thus what is published after that reaches it. When
 * a server goes away its topics are subscribed again as soon as it is back; messages in between are lost, as they are
 * with Redis.
 *
 * In a cluster every node has the messages of all channels, so a channel stays with its node while that is one, and of a pattern's
 * messages one node's count, the speaker's; only keyspace notifications are each node's own. Shard channels move with their slots.
 * Messages come in RESP2 form and differ in RESP3 by their first byte only (`*` and `>`).
 */
import { concat, latin1 } from "../bytes/ascii.ts";
import { WideMap } from "../bytes/wide_map.ts";
import type { TimerId } from "../net/net.ts";
import type { Args } from "../protocol/redis/args.ts";
import type { AclRules } from "../protocol/redis/acl_rules.ts";
import { TOPIC } from "../protocol/redis/command.ts";
import { DatabaseChannels, isDatabaseChannel } from "../protocol/redis/database_channels.ts";
import { commandHead } from "../protocol/redis/encode.ts";
import { globMatches } from "../protocol/redis/glob.ts";
import { type Client, LEASED } from "../proxy/client.ts";
import { failureOf } from "../proxy/failures.ts";
import type { Pool } from "../proxy/pool.ts";
import type { RedisSession } from "./session.ts";
import {
  ERRANDS_MAX,
  ERRANDS_MIN,
  type Hub,
  MESSAGE_WORDS,
  SUBSCRIBE_WORDS,
  UNSUBSCRIBE_WORDS,
  Upstream,
} from "./upstream.ts";
import { type SliceWork, type Walk, WALK_ARGUMENTS } from "./walk.ts";
import type { Server } from "../proxy/server.ts";
import type { Postponed } from "../proxy/turn.ts";

/** What can be subscribed to; also the place in the tables below. */
export const { CHANNEL, PATTERN, SHARD } = TOPIC;

/**
 * About what is taken, in bytes, by a topic beside its name (itself, its place in the maps, its strings) and by each client's part
 * in it (a place in two sets). Somewhat more than was seen: garbage comes with it.
 */
const TOPIC_BYTES = 320;
const MEMBER_BYTES = 128;
/** And for a while, as garbage, by every subscription that is begun or ended. */
const ERRAND_BYTES = 1024;

/** What one client is subscribed to: names as latin1 text, by kind. */
export class Subscriptions {
  readonly names: readonly WideMap<true>[] = [new WideMap(), new WideMap(), new WideMap()];
  /** Bytes of memory taken for them: a topic is charged to the first of its clients. */
  heldBytes = 0;

  /** What Redis counts in its acknowledgements: channels and patterns together, shard channels apart. */
  count(kind: number): number {
    return kind === SHARD ? this.names[SHARD]!.size : this.names[CHANNEL]!.size + this.names[PATTERN]!.size;
  }

  *all(): Iterator<readonly [kind: number, name: string]> {
    for (const kind of [CHANNEL, PATTERN, SHARD]) {
      for (const name of this.names[kind]!.keys()) yield [kind, name];
    }
  }

  get total(): number {
    return this.names[CHANNEL]!.size + this.names[PATTERN]!.size + this.names[SHARD]!.size;
  }
}

const NOBODY: readonly Server[] = [];

/**
 * The topics there are when it is made, some at a time. Those that come later are of no interest to whoever walks them: they are
 * right from the beginning.
 */
class TopicWalk {
  private readonly maps: { readonly map: WideMap<Topic>; readonly topics: Iterator<Topic>; left: number }[];

  constructor(topics: readonly WideMap<Topic>[]) {
    // Without the count, clients that come and go could make it endless.
    this.maps = topics.map((map) => ({ map, topics: map.values(), left: map.size }));
  }

  /** Hands on up to ERRANDS_MAX of them. False when there are no more. */
  some(take: (topic: Topic) => void): boolean {
    let count = 0;
    for (const map of this.maps) {
      for (; map.left > 0; map.left--) {
        if (count++ === ERRANDS_MAX) return true;
        const { value, done } = map.topics.next();
        if (done) map.left = 1;
        else if (map.map.get(value.name) === value) take(value);
      }
    }
    return false;
  }
}

/**
 * Something that at least one client is subscribed to. There may be millions, most of them with one client and one server: those
 * have neither sets nor arrays of their own.
 */
class Topic {
  /** The first client, which pays for the topic; null only before it is there and when all have left. */
  first: Client | null = null;
  /** The others. */
  more: Set<Client> | null = null;
  /** Servers that have not acknowledged yet. */
  unconfirmed: readonly Server[] = NOBODY;

  /**
   * @param wire what servers are asked for: the name, but where it tells of a database (database_channels.ts)
   * @param servers shared: never changed
   */
  constructor(
    readonly kind: number,
    readonly name: string,
    readonly wire: string,
    public servers: readonly Server[],
  ) {}

  get clientCount(): number {
    return (this.first === null ? 0 : 1) + (this.more?.size ?? 0);
  }

  has(client: Client): boolean {
    return this.first === client || (this.more?.has(client) ?? false);
  }

  add(client: Client): void {
    if (this.has(client)) return;
    charge(client, MEMBER_BYTES);
    if (this.first !== null) (this.more ??= new Set()).add(client);
    else this.pays(client);
  }

  /** False if the client was not here. */
  delete(client: Client): boolean {
    if (this.first !== client) {
      if (!this.more?.delete(client)) return false;
    } else {
      charge(client, -this.bytes);
      this.first = null;
      const next = this.more?.values().next().value;
      if (next !== undefined) {
        this.more!.delete(next);
        this.pays(next);
      }
    }
    charge(client, -MEMBER_BYTES);
    if (this.more?.size === 0) this.more = null;
    return true;
  }

  /** One of its servers is asked. */
  expects(server: Server): void {
    const { unconfirmed, servers } = this;
    if (unconfirmed.includes(server)) return;
    this.unconfirmed = servers.length === 1 ? servers : [...unconfirmed, server];
  }

  expectsNot(server: Server): void {
    const { unconfirmed } = this;
    if (!unconfirmed.includes(server)) return;
    this.unconfirmed = unconfirmed.length === 1 ? NOBODY : unconfirmed.filter((each) => each !== server);
  }

  private pays(client: Client): void {
    this.first = client;
    charge(client, this.bytes);
  }

  private get bytes(): number {
    return TOPIC_BYTES + this.name.length;
  }
}

/** A client that is about to leave everything is not charged any more. */
function charge(client: Client, bytes: number): void {
  const { subscriptions } = client.session as RedisSession;
  if (subscriptions !== null) subscriptions.heldBytes += bytes;
}

export const ENDED_HEARING = "is ended: it is subscribed to what its user may not hear any more";

/** After so long a shard channel is asked for again where it has been refused; doubles up to the second; ms. */
const ADRIFT_FIRST_MS = 20;
const ADRIFT_MAX_MS = 500;

/** A client's SUBSCRIBE that waits for servers. */
interface Wait {
  readonly client: Client;
  readonly topics: readonly Topic[];
  readonly done: (failed: Uint8Array | null) => void;
  /** Ends with it: a timer keeps all that it could still look at. */
  timer: TimerId | null;
}

export class PubSub implements Hub, Postponed {
  /** By the clients' names. */
  private readonly topics: readonly WideMap<Topic>[] = [new WideMap(), new WideMap(), new WideMap()];
  /** By the wire's, those where it is another; several patterns may be one there. */
  private readonly aliases: readonly Map<string, Set<Topic>>[] = [new Map(), new Map(), new Map()];
  readonly channels: DatabaseChannels;
  private readonly upstreams = new Map<Server, Upstream>();
  private readonly waits = new Set<Wait>();
  /** The servers of a topic that any server may speak of. */
  private everywhere: readonly Server[];
  /** Topics that have not been looked at since keys have moved. */
  private moving: TopicWalk | null = null;
  /** Shard channels of a cluster that no node has for us now. */
  private readonly homeless = new Set<Topic>();
  private homelessTimer: TimerId | null = null;
  private adriftMs = ADRIFT_FIRST_MS;
  /** Of a cluster's nodes, the one whose word counts where all say the same; null = the next that says something. */
  private speaker: Server | null = null;
  /** Something has been confirmed since those who wait were looked at. */
  private unsettled = false;
  /** Bytes that clients have held which are gone and still being taken out. */
  leavingBytes = 0;
  /** For topics to share: each server alone. */
  private readonly alone = new WeakMap<Server, readonly Server[]>();

  constructor(readonly pool: Pool) {
    this.channels = new DatabaseChannels(pool.config.databases, pool.config.redisDb);
    this.everywhere = pool.servers;
  }

  /** Nothing of a pool's pub/sub is in use. */
  get idle(): boolean {
    return this.topics.every((map) => map.size === 0);
  }

  /**
   * Subscribes a client that is owed nothing; it is blocked until all servers have acknowledged, then answered: one
   * acknowledgement a name, or one error if a server cannot be had.
   * @param names as latin1 text, in the order given; never empty
   */
  subscribe(client: Client, kind: number, names: readonly string[]): void {
    client.block(LEASED);
    const { rights } = client.session as RedisSession;
    this.subscribeSome(client, kind, names, rights, (failed) => {
      if (failed !== null) client.answer(failed);
      client.unblock(LEASED);
    });
  }

  /** So many names of a request are asked for in a turn: each of so many servers. */
  namesATurn(kind: number): number {
    if (kind !== PATTERN && this.pool.config.distribution !== "random") return WALK_ARGUMENTS;
    return Math.max(ERRANDS_MIN, Math.floor(WALK_ARGUMENTS / this.everywhere.length));
  }

  get errandsATurn(): number {
    return Math.max(ERRANDS_MIN, Math.floor(ERRANDS_MAX / this.upstreams.size));
  }

  /**
   * As `subscribe`, for some names of a request.
   * @param rights of its user when all of these were allowed
   * @param answered called once, unless the client is gone: with the error, or null if the acknowledgements have been sent
   */
  subscribeSome(
    client: Client,
    kind: number,
    names: readonly string[],
    rights: AclRules | null,
    answered: (failed: Uint8Array | null) => void,
  ): void {
    const session = client.session as RedisSession;
    const mine = session.subscriptions ??= new Subscriptions();
    const topics = names.map((name) => this.topicFor(kind, name));
    const added = topics.filter((topic) => !topic.has(client));
    for (const topic of topics) topic.add(client);
    this.pool.memory.note(names.length * ERRAND_BYTES);
    const done = (failed: Uint8Array | null) => {
      if (client.closed) return;
      if (failed !== null) {
        for (const topic of added) this.leave(client, topic);
        if (mine.total === 0) session.subscriptions = null;
        session.refresh();
        client.countForwardError();
      } else {
        for (const topic of topics) {
          mine.names[kind]!.set(topic.name, true);
          const count = mine.count(kind);
          acknowledge(client, SUBSCRIBE_WORDS[kind]!, topic.name, count);
        }
        // A reload did not find them among what it hears.
        if (session.rights !== rights && hearsForbidden(session)) return client.giveUp(ENDED_HEARING);
      }
      answered(failed);
    };
    const wait: Wait = { client, topics, done, timer: null };
    if (topics.every((topic) => topic.unconfirmed.length === 0)) return done(null);
    this.waits.add(wait);
    const { pool } = this;
    if (pool.timeoutMs > 0) wait.timer = pool.setTimer(pool.timeoutMs, () => this.timedOut(wait));
  }

  private waitOver(wait: Wait): void {
    this.waits.delete(wait);
    if (wait.timer !== null) this.pool.clearTimer(wait.timer);
  }

  /** Servers have not acknowledged in time: who waits for them gets an error, and a silent one's connection is given up. */
  private timedOut(wait: Wait): void {
    if (!this.waits.has(wait)) return;
    const late = new Set(wait.topics.flatMap((topic) => topic.unconfirmed));
    for (const server of late) {
      this.failed(server, server.errorReply(failureOf("ETIMEDOUT")));
      this.upstreams.get(server)?.hangUpIfSilent();
    }
  }

  /** Takes a client out of some topics, or of all of a kind if `names` is empty; answers at once. */
  unsubscribe(client: Client, kind: number, names: readonly string[]): void {
    const session = client.session as RedisSession;
    const mine = session.subscriptions ?? new Subscriptions();
    const word = UNSUBSCRIBE_WORDS[kind]!;
    const leaving = names.length > 0 ? names : [...mine.names[kind]!.keys()];
    if (leaving.length === 0) acknowledge(client, word, null, mine.count(kind));
    for (const name of leaving) {
      mine.names[kind]!.delete(name);
      const topic = this.topics[kind]!.get(name);
      if (topic !== undefined) this.leave(client, topic);
      acknowledge(client, word, name, mine.count(kind));
    }
    if (mine.total === 0) session.subscriptions = null;
  }

  /** The client is gone, or resets its connection. */
  abandon(client: Client): void {
    const session = client.session as RedisSession;
    for (const wait of this.waits) {
      if (wait.client !== client) continue;
      this.waitOver(wait);
      for (const topic of wait.topics) this.leave(client, topic);
    }
    const mine = session.subscriptions;
    session.subscriptions = null;
    if (mine !== null) new Leaving(this, client, mine).resume();
  }

  /** Takes a client out of one topic, if there is such. */
  leaveNamed(client: Client, kind: number, name: string): void {
    const topic = this.topics[kind]!.get(name);
    if (topic !== undefined) this.leave(client, topic);
  }

  /**
   * How many receivers a server's answer to PUBLISH leaves out: it counts our one connection, not who is behind it.
   * @param wire the channel's name on the server
   */
  receiversBehind(wire: string, sharded: boolean): number {
    if (sharded) return surplus(this.topics[SHARD]!.get(wire));
    const channel = this.channels.toClient(wire) ?? wire;
    let receivers = surplus(this.topics[CHANNEL]!.get(channel));
    const patterns = this.topics[PATTERN]!;
    if (patterns.size === 0) return receivers;
    for (const topic of patterns.values()) {
      if (globMatches(topic.name, channel)) receivers += topic.clientCount;
      if (topic.wire === topic.name && globMatches(topic.wire, wire)) receivers--;
    }
    for (const pattern of this.aliases[PATTERN]!.keys()) {
      if (patterns.get(pattern)?.wire !== pattern && globMatches(pattern, wire)) receivers--;
    }
    return receivers;
  }

  /** Clients of this pool beyond the connections that all servers together count. */
  clientsBehind(kind: number, name: string): number {
    const topic = this.topics[kind]!.get(name);
    return topic === undefined ? 0 : topic.clientCount - topic.servers.length;
  }

  /**
   * Servers have left or joined: keys have moved, and so have channels. If they are very many, they follow some a turn; those
   * that somebody asks for meanwhile, at once.
   */
  ringChanged(): void {
    this.everywhere = this.heard();
    const coming = this.moving !== null;
    this.moving = new TopicWalk(this.topics);
    this.moveSome();
    if (this.moving !== null && !coming) this.pool.turn.later(this);
    // With none live all are asked on, so that one error at least is true.
    const live = this.everywhere.some((server) => !server.ejected);
    for (const [server, upstream] of this.upstreams) {
      if (server.gone || (live && server.ejected)) this.dropUpstream(server);
      else upstream.follow();
    }
    this.unsettled = true;
    this.settle();
  }

  /** Called by the turn: some topics more follow their keys. */
  resume(): void {
    this.moveSome();
    if (this.moving !== null) this.pool.turn.later(this);
    this.unsettled = true;
    this.settle();
  }

  private moveSome(): void {
    if (!this.moving!.some((topic) => this.move(topic))) this.moving = null;
  }

  private move(topic: Topic): void {
    const { kind, wire, servers: before } = topic;
    if (this.stays(topic)) return;
    const now = this.serversOf(kind, wire);
    if (now === before) return;
    if (before.length === 1 && now.length === 1 && before[0] === now[0]) return;
    topic.servers = now;
    this.homeless.delete(topic);
    for (const server of before) {
      if (now.includes(server)) continue;
      topic.expectsNot(server);
      this.upstreams.get(server)?.unsubscribe(kind, wire);
    }
    for (const server of now) if (!before.includes(server)) this.ask(topic, server);
  }

  /** Where it is heard now it goes on being heard, wherever its slot is. */
  private stays({ kind, wire, servers }: Topic): boolean {
    return this.pool.cluster && kind === CHANNEL && servers.length === 1 && !servers[0]!.gone &&
      !isDatabaseChannel(wire);
  }

  /** Where all servers have to be listened to: those on the ring, or all if none is. */
  private heard(): readonly Server[] {
    const live = this.pool.onRing();
    return live.length > 0 ? live : this.pool.servers;
  }

  private dropUpstream(server: Server): void {
    this.upstreams.get(server)?.stop();
    this.upstreams.delete(server);
  }

  stop(): void {
    for (const upstream of this.upstreams.values()) upstream.stop();
  }

  private topicFor(kind: number, name: string): Topic {
    const present = this.topics[kind]!.get(name);
    if (present !== undefined) {
      if (this.moving !== null) this.move(present);
      for (const server of present.servers) {
        // Where it may not have been begun anew yet, what was confirmed no longer holds.
        if (this.upstreams.get(server)?.incomplete) this.ask(present, server);
      }
      return present;
    }
    const wire = kind === CHANNEL
      ? this.channels.toWire(name)
      : kind === PATTERN
      ? this.channels.toWirePattern(name)
      : name;
    const topic = new Topic(kind, name, wire, this.serversOf(kind, wire));
    this.topics[kind]!.set(name, topic);
    if (wire !== name) {
      const same = this.aliases[kind]!.get(wire);
      if (same === undefined) this.aliases[kind]!.set(wire, new Set([topic]));
      else same.add(topic);
    }
    for (const server of topic.servers) this.ask(topic, server);
    return topic;
  }

  /** All topics that the servers know by this name. */
  private behind(kind: number, wire: string): readonly Topic[] {
    const own = this.topics[kind]!.get(wire);
    const same = this.aliases[kind]!.get(wire);
    const direct = own !== undefined && own.wire === wire ? [own] : [];
    return same === undefined ? direct : [...direct, ...same];
  }

  private serversOf(kind: number, wire: string): readonly Server[] {
    // Each server tells of its own keys: keyspace notifications come from all. With distribution "random" a message may
    // be published on any server.
    const anywhere = this.pool.config.distribution === "random";
    if (kind === PATTERN || anywhere || (kind === CHANNEL && isDatabaseChannel(wire))) {
      return this.everywhere;
    }
    const bytes = bytesOf(wire);
    const server = this.pool.servers[Math.max(0, this.pool.placement.serverOf(bytes, 0, bytes.length))]!;
    let alone = this.alone.get(server);
    if (alone === undefined) this.alone.set(server, alone = [server]);
    return alone;
  }

  private ask(topic: Topic, server: Server): void {
    topic.expects(server);
    let upstream = this.upstreams.get(server);
    if (upstream === undefined) {
      this.upstreams.set(server, upstream = new Upstream(this, server));
      // It has begun with all that there is.
      if (!upstream.incomplete) return;
    }
    upstream.subscribe(topic.kind, topic.wire);
  }

  private leave(client: Client, topic: Topic): void {
    if (!topic.delete(client) || topic.first !== null) return;
    const { kind, name, wire } = topic;
    this.topics[kind]!.delete(name);
    if (wire !== name) {
      const same = this.aliases[kind]!.get(wire)!;
      same.delete(topic);
      if (same.size === 0) this.aliases[kind]!.delete(wire);
    }
    if (this.behind(kind, wire).length === 0) {
      for (const server of topic.servers) this.upstreams.get(server)?.unsubscribe(kind, wire);
    }
    if (this.idle) {
      // No one listens any more: no connections are kept for them.
      for (const server of [...this.upstreams.keys()]) this.dropUpstream(server);
    }
  }

  // ---- from the servers

  confirmed(server: Server, kind: number, wire: string): void {
    const own = this.topics[kind]!.get(wire);
    if (own?.wire === wire) own.expectsNot(server);
    const same = this.aliases[kind]!.get(wire);
    if (same !== undefined) { for (const topic of same) topic.expectsNot(server); }
    if (kind === SHARD) this.adriftMs = ADRIFT_FIRST_MS;
    this.unsettled = true;
  }

  slotOf(wire: string): number {
    const bytes = bytesOf(wire);
    return this.pool.placement.slotOf(bytes, 0, bytes.length);
  }

  adrift(server: Server, wire: string): void {
    const topic = this.topics[SHARD]!.get(wire);
    if (topic === undefined || !topic.servers.includes(server)) return;
    topic.expects(server);
    this.homeless.add(topic);
    if (this.homelessTimer !== null) return;
    this.pool.sign(server, "moved", "shard channels have left");
    this.homelessTimer = this.pool.setTimer(this.adriftMs, () => this.findHomes());
    this.adriftMs = Math.min(this.adriftMs * 2, ADRIFT_MAX_MS);
  }

  /** The pool's table may be right by now; where it is not, the next refusal says so. */
  private findHomes(): void {
    this.homelessTimer = null;
    const topics = [...this.homeless];
    this.homeless.clear();
    this.findSome(topics, 0);
  }

  /** Asks for those from the `from`th on, some a turn. */
  private findSome(topics: readonly Topic[], from: number): void {
    if (this.pool.stopped) return;
    const to = Math.min(topics.length, from + ERRANDS_MAX);
    for (let i = from; i < to; i++) {
      const topic = topics[i]!;
      if (this.topics[SHARD]!.get(topic.name) !== topic) continue;
      for (const server of topic.servers) {
        if (topic.unconfirmed.includes(server)) this.ask(topic, server);
      }
    }
    if (to < topics.length) this.pool.turn.later({ resume: () => this.findSome(topics, to) });
  }

  /** Is this the one whose word counts where all nodes of a cluster say the same? */
  private speaks(server: Server): boolean {
    const { speaker } = this;
    if (speaker === null || speaker.gone || (this.upstreams.get(speaker)?.incomplete ?? true)) {
      this.speaker = server;
    }
    return this.speaker === server;
  }

  /** Tells the waiting clients whose topics are all confirmed, if any has been since the last time. */
  settle(): void {
    if (!this.unsettled) return;
    this.unsettled = false;
    for (const wait of this.waits) {
      if (wait.topics.some((topic) => topic.unconfirmed.length > 0)) continue;
      this.waitOver(wait);
      wait.done(null);
    }
  }

  /** A server cannot be had now: who waits for it gets an error; who is subscribed stays so. */
  failed(server: Server, error: Uint8Array): void {
    for (const wait of this.waits) {
      if (!wait.topics.some((topic) => topic.unconfirmed.includes(server))) continue;
      this.waitOver(wait);
      wait.done(error);
    }
  }

  /** What any server may have to be subscribed to, for a new connection. */
  all(): TopicWalk {
    return new TopicWalk(this.topics);
  }

  /**
   * Passes a message on.
   * @param server who says it
   * @param wire the channel or pattern that was subscribed to; @param channel the channel, of a pattern's message
   * @param message RESP2 form, borrowed; @param rest where what follows these two begins in it
   */
  message(
    server: Server,
    kind: number,
    wire: string,
    channel: string,
    message: Uint8Array,
    start: number,
    end: number,
    rest: number,
  ): void {
    if (kind === PATTERN && this.pool.cluster && !isDatabaseChannel(channel) && !this.speaks(server)) return;
    // All nodes say the same: one that has yet to hear that a channel was left there, before somebody else asked another for it, is not heard.
    const alone = kind === CHANNEL && this.pool.cluster && !isDatabaseChannel(wire);
    for (const topic of this.behind(kind, wire)) {
      if (alone && !topic.servers.includes(server)) continue;
      const shown = kind === PATTERN ? this.channels.matched(topic.name, wire, channel) : topic.name;
      if (shown === null) continue;
      if (topic.name === wire && (kind !== PATTERN || shown === channel)) {
        this.pass(topic, message.slice(start, end));
      } else {
        const words = kind === PATTERN
          ? [MESSAGE_WORDS[kind]!, topic.name, shown]
          : [MESSAGE_WORDS[kind]!, shown];
        this.pass(topic, concat(commandHead(words.length + 1, ...words), message.subarray(rest, end)));
      }
    }
  }

  /** @param resp2 owned */
  private pass({ kind, name, first, more, clientCount }: Topic, resp2: Uint8Array): void {
    this.pool.memory.note(resp2.length * clientCount);
    const forms: Forms = { resp2, resp3: null };
    if (first !== null) passOn(first, kind, name, forms);
    if (more !== null) { for (const client of more) passOn(client, kind, name, forms); }
  }
}

/** Is it subscribed to something that is not for its user (any more)? */
export function hearsForbidden({ subscriptions, rights }: RedisSession): boolean {
  if (subscriptions === null || rights === null) return false;
  for (const [kind, name] of { [Symbol.iterator]: () => subscriptions.all() }) {
    const bytes = bytesOf(name);
    if (!rights.allowsChannel(bytes, 0, bytes.length, kind === PATTERN)) return true;
  }
  return false;
}

/** A message in the forms that clients get; RESP3 when the first of them asks for it. */
interface Forms {
  readonly resp2: Uint8Array;
  resp3: Uint8Array | null;
}

function passOn(client: Client, kind: number, name: string, forms: Forms): void {
  const session = client.session as RedisSession;
  // Not before the client has been told that it is subscribed.
  if (session.subscriptions === null || !session.subscriptions.names[kind]!.has(name)) return;
  let form = forms.resp2;
  if (session.resp === 3) {
    if (forms.resp3 === null) {
      forms.resp3 = form.slice();
      forms.resp3[0] = 62;
    }
    form = forms.resp3;
  }
  client.push(form, 0, form.length);
}

function surplus(topic: Topic | undefined): number {
  return topic === undefined ? 0 : topic.clientCount - 1;
}

/** A client leaves all topics, some a turn; it does nothing else meanwhile. */
class Leaving implements Postponed {
  private readonly names: Iterator<readonly [kind: number, name: string]>;
  private bytes: number;
  /** Of those, what is gone after each turn. */
  private readonly step: number;

  constructor(private readonly hub: PubSub, private readonly client: Client, left: Subscriptions) {
    this.names = left.all();
    this.bytes = left.heldBytes;
    this.step = this.bytes * ERRANDS_MAX / left.total;
    hub.leavingBytes += this.bytes;
  }

  resume(): void {
    for (let i = 0; i < ERRANDS_MAX; i++) {
      const { value, done } = this.names.next();
      if (done) {
        this.hub.leavingBytes -= this.bytes;
        return this.client.unblock(LEASED);
      }
      this.hub.leaveNamed(this.client, value[0], value[1]);
    }
    this.hub.pool.memory.note(ERRANDS_MAX * ERRAND_BYTES);
    const gone = Math.min(this.step, this.bytes);
    this.bytes -= gone;
    this.hub.leavingBytes -= gone;
    if (!this.client.closed) this.client.block(LEASED);
    this.hub.pool.turn.later(this);
  }
}

/** SUBSCRIBE of very many names: those of a slice are acknowledged before the next ones are asked for. */
export class SubscribeWork implements SliceWork {
  /** @param rights see PubSub.subscribeSome */
  constructor(
    private readonly hub: PubSub,
    private readonly kind: number,
    private readonly rights: AclRules | null,
  ) {}

  get most(): number {
    return this.hub.namesATurn(this.kind);
  }

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    this.hub.subscribeSome(walk.client, this.kind, textsOf(bytes, args), this.rights, (failed) => {
      if (failed !== null) walk.finish(failed);
      else walk.goOn();
    });
  }

  end(walk: Walk): void {
    walk.session.refresh();
    walk.finish();
  }
}

/** UNSUBSCRIBE of very many names, or without a name from very many. */
export class UnsubscribeWork implements SliceWork {
  /** @param all without a name */
  constructor(private readonly hub: PubSub, private readonly kind: number, private readonly all: boolean) {}

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    this.hub.unsubscribe(walk.client, this.kind, textsOf(bytes, args));
    walk.goOn();
  }

  end(walk: Walk): void {
    const session = walk.session;
    const left = session.subscriptions?.names[this.kind];
    if (this.all && left !== undefined && left.size > 0) {
      const names = [];
      for (const name of left.keys()) if (names.push(name) === WALK_ARGUMENTS) break;
      this.hub.unsubscribe(walk.client, this.kind, names);
      return walk.goOn();
    }
    session.refresh();
    walk.finish();
  }
}

function textsOf(bytes: Uint8Array, args: Args): string[] {
  const texts: string[] = [];
  for (let i = 1; i < args.count; i++) texts.push(latin1(bytes, args.starts[i]!, args.ends[i]!));
  return texts;
}

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** `subscribe`, name, count as Redis sends it; name null = there was nothing to unsubscribe from. */
function acknowledge(client: Client, word: string, name: string | null, count: number): void {
  const { resp } = client.session as RedisSession;
  const shown = name === null ? (resp === 3 ? "_\r\n" : "$-1\r\n") : `$${name.length}\r\n${name}\r\n`;
  const bytes = bytesOf(
    `${resp === 3 ? ">" : "*"}3\r\n$${word.length}\r\n${word}\r\n${shown}:${count}\r\n`,
  );
  // Like a message, and so even after CLIENT REPLY OFF.
  client.push(bytes, 0, bytes.length);
}
