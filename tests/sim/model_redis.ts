/**
 * The Redis of the simulator: src/demo's, which notes what it executes under the tags it finds, and makes replies unique
 * by adding the tag to them. The proxy passes bytes through, so it cannot know.
 *
 *   GET user~3.17.0   is executed as  GET user   and answered  $n value|3.17.0
 *   SET user~3.18.0 =3.18;xxx                    and answered  +OK 3.18.0
 *
 * What src/demo's does not have, since it needs a clock and a way to speak unasked, is here: BLPOP and BRPOP of one key,
 * CLIENT UNBLOCK, publish/subscribe, scripts (whatever its text, a script is GET of its key); CLIENT TRACKING is in model_tracking.ts.
 */
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import type { Session } from "../../src/demo/redis/command.ts";
import { globMatches } from "../../src/protocol/redis/glob.ts";
import { FLAG } from "../../src/protocol/redis/command.ts";
import { findCommand } from "../../src/protocol/redis/commands.ts";
import { latin1 } from "../lib/bytes.ts";
import type { SimClock } from "./clock.ts";
import { ModelTracking } from "./model_tracking.ts";
import { executeFunction } from "./scripts.ts";
import { bulk } from "./step.ts";
import { type Truth, Violation } from "./truth.ts";

/** Marks a tag at the end of a key (or pattern). */
export const KEY_MARK = "~";
/** A value begins with this, its tag and VALUE_END. */
export const VALUE_MARK = "=";
export const VALUE_END = ";";

export interface Tagged {
  readonly tags: string[];
  /** As they came. */
  readonly keys: string[];
}

/** Writes of simulated transactions, whose keys have no tags. */
const OF_TRANSACTIONS = new Set(["set", "getset", "append"]);

const taggedArgs = new WeakMap<string[], Tagged>();

/** Takes the tags off the keys and reads those of values; once for each array. */
export function takeTags(args: string[]): Tagged {
  const known = taggedArgs.get(args);
  if (known !== undefined) return known;
  const tags: string[] = [];
  const keys: string[] = [];
  for (let i = 1; i < args.length; i++) {
    const arg = args[i]!;
    if (arg.charCodeAt(0) === 61) {
      // A value's tag counts only where no key has one: the same request has one part for both.
      const end = arg.indexOf(VALUE_END);
      if (end > 0 && tags.length === 0) tags.push(arg.slice(1, end));
      continue;
    }
    const mark = arg.lastIndexOf(KEY_MARK);
    if (mark < 0) continue;
    tags.push(arg.slice(mark + 1));
    if (!arg.startsWith("*")) keys.push(arg);
    args[i] = arg.slice(0, mark);
  }
  // In transactions only the value has a tag.
  if (keys.length === 0 && tags.length > 0 && OF_TRANSACTIONS.has(args[0]!.toLowerCase())) {
    keys.push(args[1]!);
  }
  const tagged = { tags, keys };
  taggedArgs.set(args, tagged);
  return tagged;
}

/** A session that waits for an element of one list. */
interface Waiter {
  readonly session: Session;
  readonly key: string;
  readonly left: boolean;
  readonly tagged: Tagged;
  readonly timer: unknown;
}

/** What a connection is subscribed to. */
interface Subscriber {
  readonly channels: Set<string>;
  readonly patterns: Set<string>;
  /** Of shards, in a cluster. */
  readonly shards: Set<string>;
}

const PUSHES = new Set(["lpush", "rpush"]);
const PER_KEY = new Set(["mget"]);
/** As Redis' flag `loading`. */
const WHILE_LOADING = new Set(
  "multi exec discard watch unwatch hello auth select client command quit reset info role".split(" "),
);
const READONLY = "-READONLY You can't write against a read only replica.\r\n";

function isWrite(name: string): boolean {
  const command = findCommand(latin1(name), 0, name.length);
  return command !== undefined && (command.flags & FLAG.WRITE) !== 0;
}

function isRead(name: string): boolean {
  return findCommand(latin1(name), 0, name.length)?.onReplica === true;
}

const HISTORY = "f".repeat(40);
const LOADING = "-LOADING Redis is loading the dataset in memory\r\n";

/** A server's part in replication. */
export interface Replication {
  /** A key of database 0 has another value. */
  changed(key: string): void;
  /** INFO replication and persistence. */
  info(): string;
  /** ROLE's reply. */
  role(): string;
  /** REPLICAOF, with its two words. */
  replicaOf(host: string, port: string): void;
}

export class ModelRedis extends MemoryRedis {
  loadingUntilMs = 0;
  /** What it knows of replication, if there is any: see replication.ts. */
  replication: Replication | null = null;
  /** Set to "slave" it takes no writes. Data does not come from anywhere. */
  role: "master" | "slave" = "master";
  /** Set it is the answer to ROLE. */
  roleRefusal = "";
  /** What INFO replication says it has come to; a primary's is `writes`. */
  offset = 0;
  /** Reads of keys that it has been asked for. */
  reads = 0;
  /** Set it is the answer to every write. */
  refusal = "";
  /** Writes that it has taken, however they ended. */
  writes = 0;
  /** It began as empty, without scripts, after another had been there. */
  restarted = false;
  /** When it answered its first PING, which is what asks an ejected server whether it is well; Infinity = not yet. */
  probedAtMs = Infinity;
  /** Digests of those it knows. */
  protected readonly scripts = new Set<string>();
  private readonly ownLibraries = new Map<string, string>();
  private readonly connections = new WeakMap<Session, number>();
  /** Those that have not said anything yet, and since when they are. */
  private readonly strangers = new WeakMap<Session, number>();
  private readonly speakers = new Map<Session, (text: string) => void>();
  private readonly hangUps = new Map<Session, () => void>();
  private waiters: Waiter[] = [];
  private readonly subscribers = new Map<Session, Subscriber>();
  protected readonly tracking = new ModelTracking((session, text) => this.speakers.get(session)?.(text));

  constructor(
    private readonly index: number,
    private readonly truth: Truth,
    private readonly clock: SimClock,
    protected readonly options: { random: () => number; passwords?: ReadonlySet<string | null> },
  ) {
    super({ random: options.random, nowMs: () => clock.wallMs(), ...passwordIn(options.passwords) });
    for (const db of this.databases) {
      const touch = db.touch.bind(db);
      db.touch = (key) => {
        touch(key);
        this.tellChanged(key);
        if (db === this.databases[0]) this.replication?.changed(key);
      };
    }
  }

  /** Whoever has read the key here is told that it has changed. */
  protected tellChanged(key: string): void {
    this.tracking.changed(key);
  }

  private clockMs(): number {
    return this.clock.nowMs();
  }

  /**
   * Gives the session's connection a number that no other has.
   * @param speak sends what nobody has just asked for
   * @param hangUp ends the connection
   */
  name(session: Session, connection: number, speak: (text: string) => void, hangUp = () => {}): void {
    this.connections.set(session, connection);
    this.speakers.set(session, speak);
    this.hangUps.set(session, hangUp);
    this.tracking.opened(session);
  }

  /** The first that the session says will be judged. @param madeAtMs when the other end began to connect */
  awaitPassword(session: Session, madeAtMs: number): void {
    this.strangers.set(session, madeAtMs);
  }

  /** The connection is gone: it waits and listens no more. */
  gone(session: Session): void {
    this.speakers.delete(session);
    this.hangUps.delete(session);
    this.subscribers.delete(session);
    this.tracking.gone(session);
    for (const waiter of this.waiters) if (waiter.session === session) this.clock.clearTimer(waiter.timer);
    this.waiters = this.waiters.filter((waiter) => waiter.session !== session);
  }

  override execute(session: Session, args: string[]): void {
    const tagged = takeTags(args);
    const name = args[0]!.toLowerCase();
    if (this.isAuth(session, name, args)) return;
    this.checkLease(session, name, args);
    if (name === "ping") this.probedAtMs = Math.min(this.probedAtMs, this.clockMs());
    this.tracking.around(session, args, () => {
      if (session.queued === null && this.executeHere(session, name, args, tagged)) return;
      if (session.queued !== null && (name === "publish" || name === "spublish")) {
        // src/demo's would refuse what it does not know.
        session.queued.push(args);
        session.reply.text += "+QUEUED\r\n";
        return;
      }
      this.executeThere(session, name, args, tagged);
      if (PUSHES.has(name) && this.waiters.length > 0 && session.queued === null) {
        this.serve(session, args[1]!);
      }
    });
  }

  /** The first word of each connection has to be a password that was in force since it was made, or there was none. */
  private isAuth(session: Session, name: string, args: readonly string[]): boolean {
    const password = name === "auth" ? args.at(-1)! : null;
    const madeAtMs = this.strangers.get(session);
    if (madeAtMs !== undefined) this.truth.watchPassword(password, madeAtMs);
    this.strangers.delete(session);
    if (password === null || this.options.passwords?.has(password) !== true) return false;
    session.authenticated = true;
    session.reply.text += "+OK\r\n";
    return true;
  }

  private executeThere(session: Session, name: string, args: string[], tagged: Tagged): void {
    const { tags } = tagged;
    const { reply } = session;
    if (this.loadingUntilMs > this.clockMs() && !WHILE_LOADING.has(name)) {
      if (session.queued !== null) session.aborted = true;
      reply.text += LOADING;
      if (tags.length > 0) this.note(session, tagged, LOADING, null);
      return;
    }
    const before = reply.text;
    reply.text = "";
    super.execute(session, args);
    let { text } = reply;
    if (tags.length === 0 || session.queued !== null && session.queued.at(-1) === args) {
      reply.text = before + text;
      return;
    }
    let parts: string[] | null = null;
    if (PER_KEY.has(name) && text.charCodeAt(0) === 42) {
      parts = bulksOf(text).map((part, i) => withTag(part, tags[i]!));
      text = `*${parts.length}\r\n${parts.join("")}`;
    } else if (name === "set" && text === "+OK\r\n") text = `+OK ${tags[0]}\r\n`;
    else text = withTag(text, tags[0]!);
    reply.text = before + text;
    this.note(session, tagged, text, parts);
  }

  /** A connection with a state of its own serves one client: keys of transactions name theirs. */
  private checkLease(session: Session, name: string, args: readonly string[]): void {
    if (this.waiters.some((waiter) => waiter.session === session)) {
      throw new Violation(`${args.join(" ")} came on a connection that waits for a list`);
    }
    if (session.watched.length === 0 || name !== "watch") return;
    const [mine, others] = [ownerOf(args[1]!), session.watched.map(({ key }) => ownerOf(key))];
    if (others.some((other) => other !== mine)) {
      throw new Violation(
        `WATCH ${args[1]} came on a connection that watches for client ${others.join(" ")}`,
      );
    }
  }

  // ---- blocking commands and publish/subscribe

  /** True if the command was one of those that src/demo's Redis does not know. */
  private executeHere(session: Session, name: string, args: readonly string[], tagged: Tagged): boolean {
    if (isWrite(name)) {
      const refusal = this.role === "master" ? this.refusal : READONLY;
      if (refusal !== "") {
        session.reply.text += refusal;
        return true;
      }
      this.writes++;
    } else if (isRead(name)) this.reads++;
    switch (name) {
      case "info":
        if (this.replication !== null) {
          session.reply.text += bulk(this.replication.info());
          return true;
        }
        if (args[1] !== "replication") return false;
        session.reply.text += bulk(
          this.role === "master"
            ? `role:master\r\nmaster_replid:${HISTORY}\r\nmaster_repl_offset:${this.writes}\r\n`
            : `role:slave\r\nmaster_link_status:up\r\nmaster_replid:${HISTORY}\r\nslave_repl_offset:${this.offset}\r\n`,
        );
        return true;
      case "replicaof":
      case "slaveof":
        if (this.replication === null) return false;
        this.replication.replicaOf(args[1]!, args[2]!);
        session.reply.text += "+OK\r\n";
        return true;
      case "role":
        if (this.roleRefusal !== "") {
          session.reply.text += this.roleRefusal;
          return true;
        }
        if (this.replication !== null) {
          session.reply.text += this.replication.role();
          return true;
        }
        session.reply.text += this.role === "master"
          ? "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
          : "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.9\r\n:6379\r\n$9\r\nconnected\r\n:0\r\n";
        return true;
      case "blpop":
      case "brpop":
        this.block(session, args[1]!, name === "blpop", Number(args[2]), tagged);
        return true;
      case "client":
        return this.client(session, args);
      case "subscribe":
      case "psubscribe":
      case "unsubscribe":
      case "punsubscribe":
      case "ssubscribe":
      case "sunsubscribe":
        for (const channel of args.slice(1)) this.subscribe(session, name, channel);
        return true;
      case "publish":
      case "spublish":
        this.publish(session, name, args[1]!, args[2]!, tagged);
        return true;
      case "script":
      case "function":
      case "eval":
      case "evalsha":
      case "fcall":
        this.script(session, name, args, tagged);
        return true;
      default:
        return false;
    }
  }

  /** Of functions: texts by name. */
  get libraries(): Map<string, string> {
    return this.ownLibraries;
  }

  protected script(session: Session, name: string, args: readonly string[], tagged: Tagged): void {
    const { reply } = session;
    if (this.loadingUntilMs > this.clockMs()) {
      reply.text += LOADING;
      return tagged.tags.length > 0 ? this.note(session, tagged, LOADING, null) : undefined;
    }
    if (name === "function") {
      return executeFunction(this.libraries, reply, args[1]!.toLowerCase(), args, this.role === "master");
    }
    if (name === "script") {
      this.scripts.add(digestOf(args[2]!));
      reply.text += bulk(digestOf(args[2]!));
      return;
    }
    if (name === "eval") this.scripts.add(digestOf(args[1]!));
    else if (!this.scripts.has(args[1]!)) {
      reply.text += NOSCRIPT;
      return this.note(session, tagged, NOSCRIPT, null);
    }
    this.runScript(session, args, tagged);
  }

  /** Whatever its text, it is GET of its first key. */
  protected runScript(session: Session, args: readonly string[], tagged: Tagged): void {
    const get = ["get", args[3]!];
    taggedArgs.set(get, tagged);
    this.executeThere(session, "get", get, tagged);
  }

  private client(session: Session, args: readonly string[]): boolean {
    switch (args[1]!.toLowerCase()) {
      case "unblock":
        session.reply.integer(this.unblockOne(Number(args[2])));
        return true;
      case "tracking":
      case "caching":
        session.reply.text += this.tracking.client(session, args.slice(1));
        return true;
      default:
        return false;
    }
  }

  private block(session: Session, key: string, left: boolean, seconds: number, tagged: Tagged): void {
    const list = this.databases[session.selected]!.find(key)?.value;
    if (list !== undefined && !Array.isArray(list)) {
      const text = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
      session.reply.text += text;
      return this.note(session, tagged, text, null);
    }
    const timer = this.clock.setTimer(seconds * 1000, () => {
      this.waiters = this.waiters.filter((one) => one !== waiter);
      this.giveUp(waiter);
    });
    const waiter: Waiter = { session, key, left, tagged, timer };
    this.waiters.push(waiter);
    if (list !== undefined && list.length > 0) this.serve(session, key);
  }

  private giveUp({ session, tagged }: Waiter): void {
    const text = session.reply.protocol === 3 ? "_\r\n" : "*-1\r\n";
    this.note(session, tagged, text, null);
    this.speakers.get(session)?.(text);
  }

  /** Who waits for a list is told this, and has got nothing; null: goes on waiting. @param ends its connection as well */
  protected answerWaiting(textOf: (key: string) => string | null, ends: boolean): void {
    for (const waiter of [...this.waiters]) {
      const text = textOf(waiter.key);
      if (text === null) continue;
      this.waiters = this.waiters.filter((one) => one !== waiter);
      this.clock.clearTimer(waiter.timer);
      this.speakers.get(waiter.session)?.(text);
      if (ends) this.hangUps.get(waiter.session)?.();
    }
  }

  private unblockOne(id: number): number {
    const waiter = this.waiters.find((one) => one.session.id === id);
    if (waiter === undefined) return 0;
    this.waiters = this.waiters.filter((one) => one !== waiter);
    this.clock.clearTimer(waiter.timer);
    this.giveUp(waiter);
    return 1;
  }

  /** Gives a list's elements to who waits for them; `now` is being answered and need not be spoken to. */
  private serve(now: Session, key: string): void {
    const db = this.databases[now.selected]!;
    for (const waiter of [...this.waiters]) {
      const list = db.find(key)?.value;
      if (waiter.key !== key || waiter.session.selected !== now.selected || !Array.isArray(list)) continue;
      this.waiters = this.waiters.filter((one) => one !== waiter);
      this.clock.clearTimer(waiter.timer);
      const value = (waiter.left ? list.shift() : list.pop())!;
      db.changed(key, list.length);
      const text = `*2\r\n${bulk(key)}${bulk(`${value}|${waiter.tagged.tags[0]}`)}`;
      this.note(waiter.session, waiter.tagged, text, null);
      if (waiter.session === now) now.reply.text += text;
      else this.speakers.get(waiter.session)?.(text);
    }
  }

  private subscribe(session: Session, name: string, channel: string): void {
    let mine = this.subscribers.get(session);
    if (mine === undefined) {
      this.subscribers.set(session, mine = { channels: new Set(), patterns: new Set(), shards: new Set() });
    }
    const ofShards = name === "ssubscribe" || name === "sunsubscribe";
    const names = ofShards ? mine.shards : name.startsWith("p") ? mine.patterns : mine.channels;
    if (name.includes("unsub")) names.delete(channel);
    else names.add(channel);
    session.reply.text += `${session.reply.protocol === 3 ? ">" : "*"}3\r\n${bulk(name)}${bulk(channel)}:${
      ofShards ? mine.shards.size : mine.channels.size + mine.patterns.size
    }\r\n`;
  }

  /** Tells who is subscribed here. @param session who has asked for it, here; null: it comes from another node @returns how many */
  protected tell(session: Session | null, name: string, channel: string, message: string): number {
    let count = 0;
    const speak = (to: Session, words: readonly string[]) => {
      count++;
      const text = `${to.reply.protocol === 3 ? ">" : "*"}${words.length}\r\n${words.map(bulk).join("")}`;
      if (to === session) session.reply.text += text;
      else this.speakers.get(to)?.(text);
    };
    for (const [to, { channels, patterns, shards }] of this.subscribers) {
      if (name === "spublish") {
        if (shards.has(channel)) speak(to, ["smessage", channel, message]);
        continue;
      }
      if (channels.has(channel)) speak(to, ["message", channel, message]);
      for (const pattern of patterns) {
        if (globMatches(pattern, channel)) speak(to, ["pmessage", pattern, channel, message]);
      }
    }
    return count;
  }

  /** Subscriptions to these shard channels are over, and who has them is told. */
  protected endShardChannels(isOver: (channel: string) => boolean): void {
    for (const [to, { shards }] of this.subscribers) {
      for (const channel of [...shards].filter(isOver)) {
        shards.delete(channel);
        this.speakers.get(to)?.(
          `${to.reply.protocol === 3 ? ">" : "*"}3\r\n${bulk("sunsubscribe")}${
            bulk(channel)
          }:${shards.size}\r\n`,
        );
      }
    }
  }

  protected publish(
    session: Session,
    name: string,
    channel: string,
    message: string,
    tagged: Tagged,
  ): void {
    const text = `:${this.tell(session, name, channel, message)}\r\n`;
    session.reply.text += text;
    this.note(session, { ...tagged, keys: [channel] }, text, null);
  }

  protected note(
    session: Session,
    { tags, keys }: Tagged,
    reply: string,
    parts: readonly string[] | null,
  ): void {
    this.truth.record({
      server: this.index,
      connection: this.connections.get(session) ?? -1,
      atMs: this.clockMs(),
      tags,
      keys,
      reply,
      parts,
    });
  }
}

export const NOSCRIPT = "-NOSCRIPT No matching script. Please use EVAL.\r\n";

/** Stands for the SHA1 of a script. */
export function digestOf(text: string): string {
  return `digest-of-${text}`;
}

/** The client that a key belongs to, by its name. */
function ownerOf(key: string): string {
  return /^[^k]?k([^.]*)/.exec(key)?.[1] ?? "";
}

/** A bulk string with the tag at its end; anything else as it is. */
function withTag(text: string, tag: string): string {
  if (text.charCodeAt(0) !== 36 || text.charCodeAt(1) === 45) return text;
  const at = text.indexOf("\r\n") + 2;
  const value = text.slice(at, -2);
  return `$${value.length + 1 + tag.length}\r\n${value}|${tag}\r\n`;
}

/** The bulk strings (or nulls) of an array, each as it is on the wire. */
function bulksOf(text: string): string[] {
  const parts: string[] = [];
  let at = text.indexOf("\r\n") + 2;
  while (at < text.length) {
    const line = text.indexOf("\r\n", at);
    const length = text.charCodeAt(at) === 36 ? Number(text.slice(at + 1, line)) : -1;
    const end = length < 0 ? line + 2 : line + 2 + length + 2;
    parts.push(text.slice(at, end));
    at = end;
  }
  return parts;
}

/** src/demo's knows one password: there is one if nobody gets in without. */
function passwordIn(passwords: ReadonlySet<string | null> | undefined): { password?: string } {
  const [first] = passwords ?? [];
  return typeof first !== "string" || passwords!.has(null) ? {} : { password: first };
}
