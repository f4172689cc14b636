/**
 * What one server is subscribed to for all clients of a pool: a leased connection that carries nothing else.
 *
 *   subscribe ──► errands ──(some a turn)──► SUBSCRIBE … on the connection
 *   hub ◄── confirmed, message ◄── whatever comes
 *
 * A connection that is lost is leased again, and all that should be subscribed to begins anew on it; so it is when the server
 * moves. It speaks RESP2, where a message looks like a reply: the connection hands on everything (Holder.listens).
 *
 * A node of a cluster ends subscriptions to shard channels by itself when their slot leaves it, and says MOVED to who asks for them too
 * late, without a name: hence `asked`.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { WARN } from "../net/log.ts";
import type { TimerId } from "../net/net.ts";
import { TOPIC } from "../protocol/redis/command.ts";
import { commandOf } from "../protocol/redis/encode.ts";
import { readRedirect } from "../protocol/redis/redirect_reply.ts";
import { isError } from "../protocol/redis/reply.ts";
import type { Failure } from "../proxy/failures.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder, ServerConnection } from "../proxy/server_connection.ts";
import type { Postponed } from "../proxy/turn.ts";

export const SUBSCRIBE_WORDS: readonly string[] = ["subscribe", "psubscribe", "ssubscribe"];
export const UNSUBSCRIBE_WORDS: readonly string[] = ["unsubscribe", "punsubscribe", "sunsubscribe"];
export const MESSAGE_WORDS: readonly string[] = ["message", "pmessage", "smessage"];

/** RESP2, the pool's own database. */
const CONNECTION_CLASS = 0;

/** First wait before a lost connection is leased again; doubles up to the second. */
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 1000;

/** So many subscriptions are begun or ended in a turn, over all servers together. */
export const ERRANDS_MAX = 512;
/** And at least so many of each server, however many servers there are. */
export const ERRANDS_MIN = 16;
/** Errands that are done are forgotten when there are more of them. */
const DONE_MAX = 4096;

/** What may have to be subscribed to. */
interface Wanted {
  readonly kind: number;
  readonly wire: string;
  readonly servers: readonly Server[];
  /** It is not confirmed by this server, until it says so. */
  expects(server: Server): void;
}

/** Whose subscriptions these are (redis/pubsub.ts). */
export interface Hub {
  readonly pool: Pool;
  /** How many subscriptions one server's connection may begin or end in a turn. */
  readonly errandsATurn: number;
  /** What any server may have to be subscribed to, ERRANDS_MAX at a time; `some` is false when there are no more. */
  all(): { some(take: (wanted: Wanted) => void): boolean };
  confirmed(server: Server, kind: number, wire: string): void;
  /** The slot of a shard channel. */
  slotOf(wire: string): number;
  /** A node of a cluster has this shard channel no more, or has not, or cannot serve it now. */
  adrift(server: Server, wire: string): void;
  /** Whoever waits for what has been confirmed is told. */
  settle(): void;
  /** The server cannot be had now: who waits for it gets this error. */
  failed(server: Server, error: Uint8Array): void;
  /** See PubSub.message; `bytes[start, end)` is borrowed. */
  message(
    server: Server,
    kind: number,
    wire: string,
    channel: string,
    bytes: Uint8Array,
    start: number,
    end: number,
    rest: number,
  ): void;
}

export class Upstream implements Postponed, Holder {
  readonly listens = true;
  /** Subscriptions to begin and to end, in order; those before `done` have been written. */
  private readonly errands: { word: string; name: string }[] = [];
  private done = 0;
  /** Of shard channels of a cluster: what has been written and not been answered, in order. */
  private asked: { readonly word: string; readonly name: string }[] = [];
  /** So many of them have been answered. */
  private answers = 0;
  /** What is to be begun anew on this connection. */
  private missing: ReturnType<Hub["all"]> | null = null;
  /** It is the turn's to resume. */
  private coming = false;
  private connection: ServerConnection | null = null;
  private retryTimer: TimerId | null = null;
  private retryMs = RETRY_FIRST_MS;
  private heardAtMs = 0;
  private stopped = false;

  constructor(private readonly hub: Hub, private readonly server: Server) {
    this.connect();
  }

  private connect(): void {
    const { server } = this;
    this.clearRetry();
    this.connection = server.lease(CONNECTION_CLASS, this);
    if (this.connection === null) return this.retryLater(server.refusal());
    this.heardAtMs = this.hub.pool.turn.now();
    this.errands.length = this.done = 0;
    this.asked = [];
    this.answers = 0;
    this.missing = this.hub.all();
    this.catchUp();
  }

  /** Nothing is subscribed to on a new connection: what should be is unconfirmed again, and begun anew, some a turn. */
  private catchUp(): void {
    const { server } = this;
    const more = this.missing!.some((topic) => {
      if (!topic.servers.includes(server)) return;
      topic.expects(server);
      this.subscribe(topic.kind, topic.wire);
    });
    if (!more) this.missing = null;
    else this.comeAgain();
  }

  /** There is no connection, or there are topics that it has not begun anew yet. */
  get incomplete(): boolean {
    return this.connection === null || this.missing !== null;
  }

  /** The server may have moved: then its subscriptions begin anew there, and nobody is told of an end. */
  follow(): void {
    const { connection, server } = this;
    if (connection !== null ? connection.endpoint === server.primary : server.primary === null) return;
    this.giveBack();
    this.retryMs = RETRY_FIRST_MS;
    this.connect();
  }

  subscribe(kind: number, wire: string): void {
    this.put(SUBSCRIBE_WORDS[kind]!, wire);
  }

  unsubscribe(kind: number, wire: string): void {
    this.put(UNSUBSCRIBE_WORDS[kind]!, wire);
  }

  private put(word: string, name: string): void {
    if (this.connection === null) return;
    this.errands.push({ word, name });
    this.comeAgain();
  }

  private comeAgain(): void {
    if (this.coming) return;
    this.coming = true;
    this.hub.pool.turn.later(this);
  }

  /** Called by the turn: writes some of what has been put off, neighbours of one kind as one request. */
  resume(): void {
    this.coming = false;
    // Once for all that has come in a turn: whoever waits for many topics would be looked at for each.
    this.hub.settle();
    if (this.connection === null) return;
    const { errands } = this;
    const end = Math.min(errands.length, this.done + this.hub.errandsATurn);
    while (this.done < end) {
      const { word } = errands[this.done]!;
      const names = [];
      while (this.done < end && errands[this.done]!.word === word) names.push(errands[this.done++]!.name);
      // SSUBSCRIBE of several channels is refused by a cluster's server if they have different slots.
      if (word === SUBSCRIBE_WORDS[TOPIC.SHARD] || word === UNSUBSCRIBE_WORDS[TOPIC.SHARD]) {
        for (const name of names) this.askShard(word, name);
      } else this.write(word, names);
    }
    if (this.done === errands.length) {
      errands.length = this.done = 0;
      if (this.missing !== null) this.catchUp();
    } else {
      // While there is always more to do, what is done has to go all the same.
      if (this.done > DONE_MAX && this.done * 2 > errands.length) {
        errands.splice(0, this.done);
        this.done = 0;
      }
      this.comeAgain();
    }
  }

  private askShard(word: string, name: string): void {
    if (this.hub.pool.cluster) this.asked.push({ word, name });
    this.write(word, [name]);
  }

  /** Takes out of `asked` what an answer is about, and what has been answered before it. */
  private taken(is: (asked: { readonly word: string; readonly name: string }) => boolean) {
    const { asked } = this;
    let at = this.answers;
    while (at < asked.length && !is(asked[at]!)) at++;
    if (at === asked.length) return undefined;
    const found = asked[at]!;
    this.answers = at + 1;
    // There may be very many, and they are answered one by one.
    if (this.answers === asked.length || this.answers > DONE_MAX && this.answers * 2 > asked.length) {
      asked.splice(0, this.answers);
      this.answers = 0;
    }
    return found;
  }

  private write(word: string, names: readonly string[]): void {
    this.connection!.say(commandOf([word, ...names]));
  }

  /** Nothing has come for a whole timeout, although something should have: the server may be gone without a word. */
  hangUpIfSilent(): void {
    const { pool } = this.hub;
    const { connection, heardAtMs } = this;
    if (connection?.isOpen && pool.clock.nowMs() - heardAtMs >= pool.timeoutMs) connection.fail("ETIMEDOUT");
  }

  answered(): void {}

  pushed(bytes: Uint8Array, start: number, end: number): void {
    this.heardAtMs = this.hub.pool.turn.now();
    if (isError(bytes, start)) {
      if (!this.refusedShard(bytes, start, end)) this.refused(latin1(bytes, start + 1, end).trimEnd());
      return;
    }
    const bulks = firstBulks(bytes, start, end, 2);
    const [word, name] = bulks.texts;
    if (word === undefined || name === undefined) return;
    const subscribed = SUBSCRIBE_WORDS.indexOf(word);
    if (subscribed >= 0) {
      // Not as soon as it is open: a full server opens it too.
      this.retryMs = RETRY_FIRST_MS;
      this.comeAgain();
      if (subscribed === TOPIC.SHARD) this.taken((asked) => asked.word === word && asked.name === name);
      return this.hub.confirmed(this.server, subscribed, name);
    }
    if (word === UNSUBSCRIBE_WORDS[TOPIC.SHARD] && this.hub.pool.cluster) return this.ended(word, name);
    const kind = MESSAGE_WORDS.indexOf(word);
    if (kind < 0) return;
    // Whoever is subscribed by what came before it has to get it.
    this.hub.settle();
    if (kind !== TOPIC.PATTERN) {
      return this.hub.message(this.server, kind, name, name, bytes, start, end, bulks.end);
    }
    const { texts, end: rest } = firstBulks(bytes, start, end, 3);
    if (texts.length === 3) this.hub.message(this.server, kind, name, texts[2]!, bytes, start, end, rest);
  }

  /** A subscription to a shard channel is over: what we have asked for is so in its turn, all else comes before what is owed. */
  private ended(word: string, name: string): void {
    const first = this.asked[this.answers];
    if (first?.word === word && first.name === name) this.taken((asked) => asked === first);
    else this.hub.adrift(this.server, name);
  }

  /** False if it is no node's word about a shard channel. */
  private refusedShard(bytes: Uint8Array, start: number, end: number): boolean {
    const { pool } = this.hub;
    const redirect = pool.cluster ? readRedirect(bytes, start, end) : null;
    if (redirect === null) return false;
    const { slot } = redirect;
    const refused = this.taken(({ name }) => slot < 0 || this.hub.slotOf(name) === slot);
    if (refused?.word === SUBSCRIBE_WORDS[TOPIC.SHARD]) this.hub.adrift(this.server, refused.name);
    return true;
  }

  /** The server refuses a subscription: who waits is told in its words. */
  private refused(text: string): void {
    this.hub.pool.log.write(WARN, `server '${this.server.config.name}' refuses a subscription: ${text}`);
    this.hub.failed(this.server, encode(`-${text}\r\n`));
  }

  lost(connection: ServerConnection, failure: Failure): void {
    this.connection = null;
    const { pool } = this.hub;
    if (this.stopped || pool.stopped) return;
    // The server is somewhere else now, and tells nobody but us: the same as `follow`.
    if (connection.endpoint.gone && !this.server.gone && this.server.primary !== null) return this.connect();
    this.retryLater(this.server.errorReply(failure));
  }

  /** @param error for whoever waits */
  private retryLater(error: Uint8Array): void {
    const { pool } = this.hub;
    this.hub.failed(this.server, error);
    // Who waited may have been the last, and has been told: then nobody needs this connection.
    if (this.stopped) return;
    this.retryTimer = pool.setTimer(this.retryMs, () => this.connect());
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MAX_MS);
  }

  private clearRetry(): void {
    if (this.retryTimer !== null) this.hub.pool.clearTimer(this.retryTimer);
    this.retryTimer = null;
  }

  private giveBack(): void {
    const { connection } = this;
    this.connection = null;
    connection?.endpoint.giveBack(connection, false);
  }

  stop(): void {
    this.stopped = true;
    this.clearRetry();
    this.giveBack();
  }
}

/** The first bulk strings of an array, as latin1, `max` at most, and where they end. */
function firstBulks(
  bytes: Uint8Array,
  start: number,
  end: number,
  max: number,
): { texts: string[]; end: number } {
  const texts: string[] = [];
  let at = start;
  while (at < end && bytes[at] !== 10) at++;
  at++;
  while (texts.length < max && at < end && bytes[at] === 36) {
    let length = 0;
    at++;
    for (; bytes[at] !== 13; at++) length = length * 10 + bytes[at]! - 48;
    at += 2;
    texts.push(latin1(bytes, at, at + length));
    at += length + 2;
  }
  return { texts, end: at };
}
