/**
 * Load on a cluster in which every client can tell whether a reply is its own, and nothing that was acknowledged is forgotten:
 *
 *   50 writers      append to a list, write and read in pipelines, transactions and scripts; every value names who wrote it
 *   queues          one pushes numbers, another waits in BLPOP: each number once, in order
 *   subscribers     SUBSCRIBE and SSUBSCRIBE, numbers too: in order, and some are missing at most
 */
import { concat } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { type Cluster, keyOf, slotOf, SLOTS } from "../lib/cluster.ts";
import { ClusterClient, encode, type Words } from "../lib/cluster_client.ts";
import { delay, poll } from "../lib/poll.ts";
import { ReplyError, type Value } from "../lib/resp.ts";

/** How commands get to the cluster: through the proxy, or by the reference client. An error reply is a value. */
export interface Caller {
  call(...words: string[]): Promise<Value>;
  pipeline(commands: readonly Words[]): Promise<Value[]>;
  close(): void;
}

const FOR_EVER_MS = 2 ** 31 - 1;

/** When an error was read: others of its pipeline may have come much later. */
const cameAtMs = new WeakMap<ReplyError, number>();

/** Connects again after a failure, which is an error reply to all that was under way. */
export async function proxyCaller(target: Target): Promise<Caller> {
  let client: RawClient | null = await RawClient.connect(target);
  const pipeline = async (commands: readonly Words[]) => {
    const values: Value[] = [];
    try {
      if (client === null) {
        client = await RawClient.connect(target);
      }
      client.patienceMs = FOR_EVER_MS;
      await client.send(concat(commands.map(encode)));
      while (values.length < commands.length) {
        const { value } = await client.readReply();
        if (value instanceof ReplyError) cameAtMs.set(value, performance.now());
        values.push(value);
      }
    } catch (error) {
      client?.close();
      client = null;
      const text = `(connection) ${(error as Error).message}`;
      while (values.length < commands.length) values.push(new ReplyError(text));
    }
    return values;
  };
  return {
    pipeline,
    call: async (...words) => (await pipeline([words]))[0]!,
    close: () => client?.close(),
  };
}

/** As patient as a proxy is expected to be. */
export function referenceCaller(cluster: Cluster): Caller {
  const client = new ClusterClient(cluster.nodes.map(({ port }) => port), { patienceMs: 8000 });
  const lost = (error: Error) => new ReplyError(`(connection) ${error.message}`);
  const call = async (...words: string[]): Promise<Value> => {
    const value = await client.call(...words).then(({ value }) => value, lost);
    if (!(value instanceof ReplyError) || !value.message.startsWith("UNBLOCKED")) return value;
    // Nothing was popped, and the connection is closed next.
    client.close();
    return await call(...words);
  };
  return {
    call,
    pipeline: async (commands) => {
      if (commands[0]![0] === "MULTI") {
        return await client.transaction(commands, commands[1]![1]).then(
          (replies) => replies.map(({ value }) => value),
          (error) => commands.map(() => lost(error)),
        );
      }
      const values: Value[] = [];
      // What is not of one slot is for the proxy to split.
      for (const words of commands) values.push(await split(call, words));
      return values;
    },
    close: () => client.close(),
  };
}

async function split(call: Caller["call"], words: Words): Promise<Value> {
  if (words[0] === "MSET") {
    for (let i = 1; i < words.length; i += 2) {
      const value = await call("SET", words[i]!, words[i + 1]!);
      if (value instanceof ReplyError) return value;
    }
    return "OK";
  }
  if (words[0] !== "MGET") return await call(...words);
  const values: Value[] = [];
  for (const key of words.slice(1)) values.push(await call("GET", key));
  return values.find((value) => value instanceof ReplyError) ?? values;
}

export interface Trouble {
  readonly atMs: number;
  readonly command: string;
  readonly slot: number;
  readonly text: string;
}

/** What all of them write down. */
export class Book {
  readonly errors: Trouble[] = [];
  /** Replies that are somebody else's, or cannot be. */
  readonly mixed: string[] = [];
  /** Reads that lack what was acknowledged before them. */
  readonly stale: { readonly slot: number; readonly text: string }[] = [];
  /** Replies that were as they must be. */
  served = 0;
  slowestMs = 0;

  begin(): void {
    this.errors.length =
      this.mixed.length =
      this.stale.length =
      this.served =
      this.slowestMs =
        0;
  }

  /** True if it is an error, which has been noted. */
  failed(reply: Value, command: string, key: string): boolean {
    if (!(reply instanceof ReplyError)) return false;
    this.errors.push({
      atMs: cameAtMs.get(reply) ?? performance.now(),
      command,
      slot: slotOf(key),
      text: reply.message,
    });
    return true;
  }

  /** Notes a reply that has to be `expected`. */
  same(reply: Value, expected: Value, command: string, key: string): void {
    if (this.failed(reply, command, key)) return;
    if (JSON.stringify(reply) === JSON.stringify(expected)) this.served++;
    else this.mixed.push(`${command} ${key}: ${Deno.inspect(reply)} instead of ${Deno.inspect(expected)}`);
  }

  /** Notes values of keys that must all be `expected`, `writer.n`. */
  read(reply: Value, expected: string, command: string, ...keys: string[]): void {
    if (this.failed(reply, command, keys[0]!)) return;
    const values = Array.isArray(reply) ? reply : [reply];
    const owner = `${expected.split(".")[0]}.`;
    let right = values.length === keys.length;
    values.forEach((value, i) => {
      if (value === expected) return;
      const text = `${command} ${keys[i]}: ${Deno.inspect(value)} instead of ${expected}`;
      // An older one of its own, or none.
      if (value === null || String(value).startsWith(owner)) {
        this.stale.push({ slot: slotOf(keys[i]!), text });
      } else right = false;
    });
    if (right) this.served++;
    else this.mixed.push(`${command} ${keys}: ${Deno.inspect(reply)} instead of ${expected}`);
  }
}

const BETWEEN_MS = 30;
const GET = "return redis.call('GET',KEYS[1])";

/** One client of many. Nobody else writes its keys. */
export class Writer {
  readonly list: string;
  readonly acknowledged = new Set<number>();
  sent = 0;
  private lastAcknowledged = 0;
  stopped = false;

  constructor(readonly i: number, count: number, private readonly book: Book) {
    // As many lists in each part of the slots.
    this.list = keyOf(Math.floor((i + 0.5) * SLOTS / count), `list${i}`);
  }

  async run(caller: Caller): Promise<void> {
    const turns = [this.append, this.last, this.mix, this.transaction, this.script, this.pair];
    while (!this.stopped) {
      const fromMs = performance.now();
      await turns[Math.floor(Math.random() * turns.length)]!.call(this, caller);
      this.book.slowestMs = Math.max(this.book.slowestMs, performance.now() - fromMs);
      await delay(BETWEEN_MS * (0.5 + Math.random()));
    }
    caller.close();
  }

  private async append(caller: Caller): Promise<void> {
    const n = ++this.sent;
    const reply = await caller.call("RPUSH", this.list, `${this.i}/${n}`);
    if (this.book.failed(reply, "RPUSH", this.list)) return;
    if (typeof reply === "number" && reply <= n) {
      this.acknowledged.add(this.lastAcknowledged = n);
      this.book.served++;
    } else this.book.mixed.push(`RPUSH ${this.list} of ${n}: ${Deno.inspect(reply)}`);
  }

  private async last(caller: Caller): Promise<void> {
    const reply = await caller.call("LINDEX", this.list, "-1");
    if (this.book.failed(reply, "LINDEX", this.list)) return;
    const [owner, n] = String(reply ?? `${this.i}/0`).split("/").map(Number);
    if (owner !== this.i || !(n! <= this.sent)) {
      this.book.mixed.push(`LINDEX ${this.list}: ${Deno.inspect(reply)} after ${this.sent}`);
    } else if (n! < this.lastAcknowledged) {
      const text = `LINDEX ${this.list}: ${n} after ${this.lastAcknowledged} had been acknowledged`;
      this.book.stale.push({ slot: slotOf(this.list), text });
    } else this.book.served++;
  }

  /** Writes and reads in one write, keys of several slots. */
  private async mix(caller: Caller): Promise<void> {
    const n = Math.floor(Math.random() * 20);
    const [a, b, c] = [`v:${this.i}:${n}`, `w:${this.i}:${n}`, `x:${this.i}:${n}`];
    const tag = `${this.i}.${++this.sent}`;
    const replies = await caller.pipeline([
      ["SET", a!, tag],
      ["GET", a!],
      ["MSET", b!, tag, c!, tag],
      ["MGET", a!, b!, c!],
      ["ECHO", tag],
      ["DEL", c!],
    ]);
    const wrong = replies.some((reply) => reply instanceof ReplyError);
    replies.forEach((reply, i) => {
      const command = ["SET", "GET", "MSET", "MGET", "ECHO", "DEL"][i]!;
      // After an error what is read may be older, but it is its own.
      if (wrong) this.own(reply, command, a!);
      else if (command === "GET") this.book.read(reply, tag, command, a!);
      else if (command === "MGET") this.book.read(reply, tag, command, a!, b!, c!);
      else this.book.same(reply, command === "DEL" ? 1 : command === "ECHO" ? tag : "OK", command, c!);
    });
  }

  private async transaction(caller: Caller): Promise<void> {
    const key = `t:${this.i}:${Math.floor(Math.random() * 20)}`;
    const tag = `${this.i}.${++this.sent}`;
    const replies = await caller.pipeline([["MULTI"], ["SET", key, tag], ["GET", key], ["EXEC"]]);
    const expected: Value[] = ["OK", "QUEUED", "QUEUED", ["OK", tag]];
    replies.forEach((reply, i) =>
      this.book.same(reply, expected[i]!, ["MULTI", "SET", "GET", "EXEC"][i]!, key)
    );
  }

  private async script(caller: Caller): Promise<void> {
    const key = `v:${this.i}:${Math.floor(Math.random() * 20)}`;
    this.own(await caller.call("EVAL", GET, "1", key), "EVAL", key);
  }

  /** Two keys of one slot at once: in the middle of a move they are on both sides. */
  private async pair(caller: Caller): Promise<void> {
    const tag = `${this.i}.${++this.sent}`;
    const [a, b] = [`${this.list}:a`, `${this.list}:b`];
    const [written, read] = await caller.pipeline([["MSET", a, tag, b, tag], ["MGET", a, b]]);
    if (this.book.failed(written!, "MSET", a)) this.own(read!, "MGET", a);
    else {
      this.book.same(written!, "OK", "MSET", a);
      this.book.read(read!, tag, "MGET", a, b);
    }
  }

  /** Anything that this client has written, or nothing. */
  private own(reply: Value, command: string, key: string): void {
    if (this.book.failed(reply, command, key)) return;
    for (const each of Array.isArray(reply) ? reply : [reply]) {
      const fine = each === null || each === "OK" || typeof each === "number" ||
        String(each).startsWith(`${this.i}.`);
      if (!fine) this.book.mixed.push(`${command} ${key}: ${Deno.inspect(reply)}`);
    }
    this.book.served++;
  }

  /** Acknowledged appends that the list does not have. */
  async lost(reference: ClusterClient): Promise<number[]> {
    // It writes on meanwhile.
    const acknowledged = [...this.acknowledged];
    const { value } = await reference.call("LRANGE", this.list, "0", "-1");
    if (!Array.isArray(value)) throw new Error(`LRANGE ${this.list}: ${Deno.inspect(value)}`);
    const there = new Set(value.map((each) => Number(String(each).split("/")[1])));
    return acknowledged.filter((n) => !there.has(n));
  }
}

/** One at a time: numbers of two callers come in their order. */
class Turns {
  private last: Promise<unknown> = Promise.resolve();

  take<T>(turn: () => Promise<T>): Promise<T> {
    const mine = this.last.then(turn);
    this.last = mine.catch(() => {});
    return mine;
  }
}

/** One that pushes numbers, and one that waits for them. */
export class Queue {
  readonly key: string;
  private sent = 0;
  popped = 0;
  stopped = false;
  private readonly turns = new Turns();

  constructor(readonly i: number, count: number, private readonly book: Book) {
    this.key = keyOf(Math.floor((i + 0.25) * SLOTS / count), `queue${i}`);
  }

  async push(caller: Caller): Promise<void> {
    while (!this.stopped) {
      await this.pushOne(caller);
      await delay(BETWEEN_MS * (2 + 4 * Math.random()));
    }
    caller.close();
  }

  private pushOne(caller: Caller): Promise<number | null> {
    return this.turns.take(async () => {
      const n = ++this.sent;
      const reply = await caller.call("RPUSH", this.key, `${this.i}/${n}`);
      return this.book.failed(reply, "RPUSH of a queue", this.key) ? null : n;
    });
  }

  async pop(caller: Caller): Promise<void> {
    for (;;) {
      const reply = await caller.call("BLPOP", this.key, "0");
      if (this.stopped) break;
      if (this.book.failed(reply, "BLPOP", this.key)) {
        await delay(BETWEEN_MS);
        continue;
      }
      if (!Array.isArray(reply)) {
        this.book.mixed.push(`BLPOP ${this.key} 0: ${Deno.inspect(reply)} after ${this.popped}`);
        continue;
      }
      const [key, text] = reply as [string, string];
      const [owner, n] = text.split("/").map(Number);
      const seen = `BLPOP ${this.key}: ${Deno.inspect(reply)} after ${this.popped}`;
      if (key !== this.key || owner !== this.i || !(n! <= this.sent)) this.book.mixed.push(seen);
      // A primary that died may have popped it without telling its replica.
      else if (n! <= this.popped) this.book.stale.push({ slot: slotOf(this.key), text: seen });
      else this.book.served++;
      this.popped = n!;
    }
    caller.close();
  }

  /** Resolves when a number that is pushed now has been popped; rejects if it is not. */
  async probe(caller: Caller): Promise<void> {
    const n = await poll(() => this.pushOne(caller), `RPUSH ${this.key} to be served`);
    await poll(() => this.popped >= n, () => `BLPOP ${this.key} to be served: ${this.popped} of ${n}`);
  }
}

/** One that subscribes, through the proxy, and one that publishes. */
export class Subscription {
  readonly channel: string;
  private sent = 0;
  heard = 0;
  missed = 0;
  /** The last one, once more. */
  twice = 0;
  stopped = false;
  private readonly turns = new Turns();
  private client: RawClient | null = null;

  constructor(readonly i: number, count: number, readonly sharded: boolean, private readonly book: Book) {
    this.channel = keyOf(Math.floor((i + 0.75) * SLOTS / count), `channel${i}`);
  }

  async publish(caller: Caller): Promise<void> {
    while (!this.stopped) {
      await this.publishOne(caller);
      await delay(BETWEEN_MS * (2 + 4 * Math.random()));
    }
    caller.close();
  }

  private publishOne(caller: Caller): Promise<void> {
    return this.turns.take(async () => {
      const command = this.sharded ? "SPUBLISH" : "PUBLISH";
      const n = ++this.sent;
      this.book.failed(await caller.call(command, this.channel, `${this.i}/${n}`), command, this.channel);
    });
  }

  async listen(target: Target): Promise<void> {
    const command = this.sharded ? "SSUBSCRIBE" : "SUBSCRIBE";
    while (!this.stopped) {
      try {
        const client = this.client = await RawClient.connect(target);
        client.patienceMs = FOR_EVER_MS;
        await client.send(encode([command, this.channel]));
        for (;;) this.hear((await client.readReply()).value, command);
      } catch (error) {
        if (this.stopped) return;
        this.book.failed(new ReplyError(`(connection) ${(error as Error).message}`), command, this.channel);
        await delay(BETWEEN_MS);
      }
    }
  }

  private hear(reply: Value, command: string): void {
    if (this.book.failed(reply, command, this.channel)) return;
    const [kind, channel, text] = reply as [string, string, string | number];
    if (kind === command.toLowerCase()) return;
    const [owner, n] = String(text).split("/").map(Number);
    // Nodes pass messages on when they come to it, those of shard channels to their replicas: who listens to another one from now on may
    // hear the last one once more there.
    if (channel === this.channel && owner === this.i && n === this.heard) {
      this.twice++;
      return;
    }
    const right = /^s?message$/.test(kind) && channel === this.channel && owner === this.i &&
      n! > this.heard &&
      n! <= this.sent;
    if (!right) {
      this.book.mixed.push(`${command} ${this.channel}: ${Deno.inspect(reply)} after ${this.heard}`);
      return;
    }
    this.missed += n! - this.heard - 1;
    this.heard = n!;
    this.book.served++;
  }

  /** Resolves when something that is published now or after it has been heard; rejects if nothing is. */
  async probe(caller: Caller): Promise<void> {
    const from = this.sent;
    await poll(async () => {
      await this.publishOne(caller);
      return this.heard > from;
    }, `${this.channel} to be heard`);
  }

  close(): void {
    this.client?.close();
  }
}
