/** ioredis 5 and 6, and iovalkey, which is ioredis under another name. */
import { Buffer } from "node:buffer";
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { type Argument, buffers, type Connection, Inbox, type Library, type Message } from "./driver.ts";

/** The three are one interface as far as the tests go; their types are not. */
// deno-lint-ignore no-explicit-any
type Client = any;
type Make = (port: number) => Client;

class IoredisConnection implements Connection {
  readonly #inbox = new Inbox();

  constructor(private readonly client: Client) {}

  call(...args: Argument[]): Promise<unknown> {
    return send(this.client, "", args);
  }

  callBytes(...args: Argument[]): Promise<unknown> {
    return send(this.client, "Buffer", args);
  }

  async pipeline(commands: Argument[][]): Promise<unknown[]> {
    const pipeline = this.client.pipeline();
    for (const args of commands) send(pipeline, "", args);
    const replies: [Error | null, unknown][] = await pipeline.exec();
    return replies.map(([error, value]) => error ?? value);
  }

  async transaction(commands: Argument[][]): Promise<unknown[] | null> {
    const multi = this.client.multi();
    for (const args of commands) send(multi, "", args);
    const replies: [Error | null, unknown][] | null = await multi.exec();
    return replies === null ? null : replies.map(([error, value]) => error ?? value);
  }

  watch(...keys: string[]): Promise<unknown> {
    return this.client.watch(...keys);
  }

  unwatch(): Promise<unknown> {
    return this.client.unwatch();
  }

  script(text: string, keys: string[], args: Argument[]): Promise<unknown> {
    this.client.defineCommand("scriptOfTest", { lua: text, numberOfKeys: keys.length });
    return this.client.scriptOfTest(...keys, ...buffers(args));
  }

  async scanAll(options: { match?: string; count?: number }): Promise<string[]> {
    const keys: string[] = [];
    for await (const batch of this.client.scanStream(options)) keys.push(...batch);
    return keys;
  }

  async subscribe(channels: string[], patterns: string[]): Promise<void> {
    this.client.on("message", (channel: string, text: string) => this.#inbox.push([channel, text]));
    this.client.on(
      "pmessage",
      (pattern: string, channel: string, text: string) => this.#inbox.push([`${pattern}|${channel}`, text]),
    );
    if (channels.length > 0) await this.client.subscribe(...channels);
    if (patterns.length > 0) await this.client.psubscribe(...patterns);
  }

  async unsubscribe(channels: string[], patterns: string[]): Promise<void> {
    if (channels.length > 0) await this.client.unsubscribe(...channels);
    if (patterns.length > 0) await this.client.punsubscribe(...patterns);
  }

  messages(count: number): Promise<Message[]> {
    return this.#inbox.take(count);
  }

  /** All at once, so in one pipeline, and in this order. */
  /** All at once, so in one pipeline. */
  async own(): Promise<unknown> {
    const { client } = this;
    return await Promise.all([
      client.hset("own:h", { a: 1, b: "two", c: Buffer.from([0xff, 0]) }),
      client.hgetall("own:h"),
      client.hgetallBuffer("own:h"),
      client.mset(new Map([["own:1", "x"], ["own:2", "y"], ["own:3", "z"]])),
      client.mget(["own:1", "own:2", "own:3", "own:4"]),
      client.zadd("own:z", 1.5, "a", "inf", "b"),
      client.zrange("own:z", 0, -1, "WITHSCORES"),
      client.zscore("own:z", "b"),
      client.incrbyfloat("own:f", "0.1"),
      client.xadd("own:x", "1-1", "f", "v"),
      client.xread("COUNT", 1, "STREAMS", "own:x", "0"),
      client.set("own:t", "v", "EX", 100, "NX"),
      client.set("own:t", "v", "EX", 100, "NX"),
      client.object("ENCODING", "own:z"),
      client.hscan("own:h", 0),
      client.pipeline([["get", "own:1"], ["hget", "own:1", "x"]]).exec().then((r: unknown[]) =>
        r.map(String)
      ),
    ].map((reply: Promise<unknown>) => reply.catch((error: Error) => error)));
  }

  quit(): Promise<unknown> {
    return this.client.quit();
  }

  async disconnect(): Promise<void> {
    if (this.client.status === "end") return;
    const ended = new Promise((resolve) => this.client.once("end", resolve));
    this.client.disconnect();
    await ended;
  }
}

/** By the method of that name where there is one, else by `call`. */
function send(client: Client, suffix: string, args: Argument[]): Promise<unknown> {
  const [name, ...rest] = buffers(args) as string[];
  const method = name.toLowerCase() + suffix;
  return typeof client[method] === "function" ? client[method](...rest) : client[`call${suffix}`](...args);
}

function library(name: string, resp: 2 | 3, isDefault: boolean, make: Make): Library {
  return {
    name,
    resp,
    isDefault,
    async connect(port: number): Promise<Connection> {
      const client = make(port);
      // Without a listener it prints what it reconnects from.
      client.on("error", () => {});
      await new Promise<void>((resolve, reject) => {
        client.once("ready", resolve);
        client.once("end", () => reject(new Error(`${name}: connection ended before it was ready`)));
      });
      return new IoredisConnection(client);
    },
  };
}

const HOST = "127.0.0.1";

export const IOREDIS: readonly Library[] = [
  library("ioredis 5.11.1", 2, true, (port) => new Redis5(port, HOST)),
  library("ioredis 6.0.0", 3, true, (port) => new Redis6(port, HOST)),
  library("ioredis 6.0.0", 2, false, (port) => new Redis6(port, HOST, { protocol: 2 })),
  library("iovalkey 0.4.0", 2, true, (port) => new Valkey(port, HOST)),
];
