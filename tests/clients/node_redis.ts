/** node-redis ("redis" on npm) 4, 5 and 6. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import * as redis4 from "redis4";
import * as redis5 from "redis5";
import * as redis6 from "redis";
import { type Argument, buffers, type Connection, Inbox, type Library, type Message } from "./driver.ts";

/** Three versions of one interface; their types differ. */
// deno-lint-ignore no-explicit-any
type Client = any;

const BULK = 36;

class NodeRedisConnection implements Connection {
  readonly #inbox = new Inbox();

  constructor(private readonly client: Client, private readonly major: number) {}

  call(...args: Argument[]): Promise<unknown> {
    return this.client.sendCommand(nodeArgs(args));
  }

  callBytes(...args: Argument[]): Promise<unknown> {
    const options = this.major === 4
      ? redis4.commandOptions({ returnBuffers: true })
      : { typeMapping: { [BULK]: Buffer } };
    return this.client.sendCommand(nodeArgs(args), options);
  }

  /** Commands of one turn are sent together; its execAsPipeline gives up at the first error. */
  async pipeline(commands: Argument[][]): Promise<unknown[]> {
    const replies = await Promise.allSettled(commands.map((args) => this.call(...args)));
    return replies.map((reply) => reply.status === "fulfilled" ? reply.value : reply.reason);
  }

  async transaction(commands: Argument[][]): Promise<unknown[] | null> {
    const multi = this.client.multi();
    for (const args of commands) multi.addCommand(nodeArgs(args));
    try {
      return await multi.exec();
    } catch (error) {
      if ((error as Error).constructor.name === "WatchError") return null;
      const { replies } = error as { replies?: unknown[] };
      if (replies !== undefined) return replies;
      throw error;
    }
  }

  watch(...keys: string[]): Promise<unknown> {
    return this.client.watch(keys);
  }

  unwatch(): Promise<unknown> {
    return this.client.unwatch();
  }

  /** What its own script commands do: EVALSHA, and EVAL on NOSCRIPT. */
  async script(text: string, keys: string[], args: Argument[]): Promise<unknown> {
    const options = { keys, arguments: args.map(String) };
    try {
      return await this.client.evalSha(createHash("sha1").update(text).digest("hex"), options);
    } catch (error) {
      if (!(error as Error).message.startsWith("NOSCRIPT")) throw error;
      return await this.client.eval(text, options);
    }
  }

  async scanAll(options: { match?: string; count?: number }): Promise<string[]> {
    const upper = { MATCH: options.match, COUNT: options.count };
    const keys: string[] = [];
    for await (const batch of this.client.scanIterator(upper)) {
      if (Array.isArray(batch)) keys.push(...batch);
      else keys.push(batch);
    }
    return keys;
  }

  async subscribe(channels: string[], patterns: string[]): Promise<void> {
    if (channels.length > 0) {
      await this.client.subscribe(
        channels,
        (text: string, channel: string) => this.#inbox.push([channel, text]),
      );
    }
    for (const pattern of patterns) {
      await this.client.pSubscribe(
        pattern,
        (text: string, channel: string) => this.#inbox.push([`${pattern}|${channel}`, text]),
      );
    }
  }

  async unsubscribe(channels: string[], patterns: string[]): Promise<void> {
    if (channels.length > 0) await this.client.unsubscribe(channels);
    if (patterns.length > 0) await this.client.pUnsubscribe(patterns);
  }

  messages(count: number): Promise<Message[]> {
    return this.#inbox.take(count);
  }

  /** All at once, so in one pipeline, and in this order. */
  /** Some of them are refused by the library itself in RESP3; that is compared too. */
  async own(): Promise<unknown> {
    const { client } = this;
    const calls: (() => Promise<unknown>)[] = [
      () => client.hSet("own:h", { a: 1, b: "two" }),
      () => client.hGetAll("own:h"),
      () => client.mSet([["own:1", "x"], ["own:2", "y"], ["own:3", "z"]]),
      () => client.mGet(["own:1", "own:2", "own:3", "own:4"]),
      () => client.zAdd("own:z", [{ score: 1.5, value: "a" }, { score: Infinity, value: "b" }]),
      () => client.zRangeWithScores("own:z", 0, -1),
      () => client.zScore("own:z", "b"),
      () => client.incrByFloat("own:f", 0.1),
      () => client.xAdd("own:x", "1-1", { f: "v" }),
      () => client.xRead([{ key: "own:x", id: "0" }], { COUNT: 1 }),
      () => client.xRange("own:x", "-", "+"),
      () => client.set("own:t", "v", { EX: 100, NX: true }),
      () => client.set("own:t", "v", { EX: 100, NX: true }),
      () => client.geoAdd("own:g", [{ longitude: 13.4, latitude: 52.5, member: "Berlin" }]),
      () => client.geoPos("own:g", "Berlin"),
      () => client.geoSearchWith("own:g", "Berlin", { radius: 10, unit: "km" }, ["WITHDIST"]),
      () => client.objectEncoding("own:z"),
      () => client.exists(["own:1", "own:2", "own:9"]),
      () => client.expire("own:1", 100),
      () => client.bitCount("own:1"),
      () => client.lPos("own:l", "x"),
      () => client.hScan("own:h", this.major === 4 ? 0 : "0"),
      () => client.ping(),
      () => client.functionList(),
    ];
    const replies: unknown[] = [];
    for (const call of calls) {
      try {
        replies.push(await call());
      } catch (error) {
        replies.push(error);
      }
    }
    return replies;
  }

  async quit(): Promise<unknown> {
    const { client } = this;
    return this.major === 4 ? await client.quit() : await client.close();
  }

  async disconnect(): Promise<void> {
    try {
      if (this.major === 4) await this.client.disconnect();
      else this.client.destroy();
    } catch {
      // closed already
    }
  }
}

function nodeArgs(args: Argument[]): (string | Buffer)[] {
  return buffers(args).map((arg) => typeof arg === "string" ? arg : Buffer.from(arg));
}

function library(
  name: string,
  resp: 2 | 3,
  isDefault: boolean,
  // deno-lint-ignore no-explicit-any
  createClient: (options: any) => Client,
  options: Record<string, unknown> = {},
): Library {
  const major = Number(/\d+/.exec(name)![0]);
  return {
    name,
    resp,
    isDefault,
    async connect(port: number): Promise<Connection> {
      const client = createClient({ url: `redis://127.0.0.1:${port}`, ...options });
      // Without a listener it throws what it reconnects from.
      client.on("error", () => {});
      await client.connect();
      return new NodeRedisConnection(client, major);
    },
  };
}

export const NODE_REDIS: readonly Library[] = [
  library("node-redis 4.7.1", 2, true, redis4.createClient),
  library("node-redis 5.12.1", 2, true, redis5.createClient),
  library("node-redis 5.12.1", 3, false, redis5.createClient, { RESP: 3 }),
  library("node-redis 6.3.1", 3, true, redis6.createClient),
  library("node-redis 6.3.1", 2, false, redis6.createClient, { RESP: 2 }),
];
