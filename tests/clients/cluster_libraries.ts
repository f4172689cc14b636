/**
 * Client libraries in cluster mode, with their defaults: they are given one address, ask it for the slots, and send each command to
 * the node that owns its key's.
 */
import { Cluster as Cluster6 } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { Cluster as ValkeyCluster } from "iovalkey";
import * as redis6 from "redis";
import * as redis4 from "redis4";
import * as redis5 from "redis5";
import { ClusterBatch, ClusterScanCursor, GlideClusterClient, Logger, Script } from "valkey-glide";
import { run } from "../lib/process.ts";
import { need, ROOT } from "../lib/repo.ts";
import { Inbox, type Message } from "./driver.ts";
import { PythonProcess } from "./python.ts";

/** A command's words; `key` is the one by which it finds its node. */
export interface Keyed {
  readonly key: string;
  readonly args: readonly string[];
}

export interface ClusterConnection {
  /** Rejects with the library's error for an error reply. */
  call(command: Keyed): Promise<unknown>;
  /** Keys of one slot; an error reply is an Error among the replies. */
  pipeline?(commands: readonly Keyed[]): Promise<unknown[]>;
  /** Keys of one slot, in a MULTI. */
  transaction?(commands: readonly Keyed[]): Promise<unknown[]>;
  /** The library's helper for scripts. */
  script?(text: string, key: string, args: readonly string[]): Promise<unknown>;
  /** All keys, by whatever the library has for it; some may come more than once. */
  scanAll(): Promise<string[]>;
  /** What is natural in this library alone, such as keys of many slots in one call. */
  own?(): Promise<unknown>;
  /** "host:port" of each node that owns slots. */
  nodes(): Promise<string[]>;
  close(): Promise<void>;
}

/** A connection that reads messages. */
export interface Listening {
  messages(count: number): Promise<Message[]>;
  close(): Promise<void>;
}

export interface ClusterLibrary {
  readonly name: string;
  connect(port: number): Promise<ClusterConnection>;
  /** Subscribed to one channel, and to a sharded one if the library can. */
  listen?(port: number, channel: string, sharded: string): Promise<Listening>;
  /** Can it read from sharded channels? */
  readonly sharded: boolean;
  dispose?(): Promise<void>;
}

// deno-lint-ignore no-explicit-any
type Any = any;

// ---- ioredis, iovalkey

function ioredis(name: string, Cluster: Any): ClusterLibrary {
  const open = async (port: number): Promise<Any> => {
    const cluster = new Cluster([{ host: "127.0.0.1", port }], { shardedSubscribers: true });
    cluster.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      cluster.once("ready", resolve);
      cluster.once("end", () => reject(new Error(`${name}: ended before it was ready`)));
    });
    return cluster;
  };
  const close = async (cluster: Any) => {
    const ended = new Promise((resolve) => cluster.once("end", resolve));
    cluster.disconnect();
    await ended;
  };
  const results = (replies: [Error | null, unknown][]) => replies.map(([error, value]) => error ?? value);
  return {
    name,
    sharded: true,
    async connect(port) {
      const cluster = await open(port);
      return {
        call: ({ args: [name, ...args] }) => cluster.call(name, ...args),
        async pipeline(commands) {
          const pipeline = cluster.pipeline();
          for (const { args: [name, ...args] } of commands) pipeline.call(name, ...args);
          return results(await pipeline.exec());
        },
        async transaction(commands) {
          const multi = cluster.multi();
          for (const { args: [name, ...args] } of commands) multi[name!.toLowerCase()](...args);
          return results(await multi.exec());
        },
        script(text, key, args) {
          cluster.defineCommand("scriptOfTest", { lua: text, numberOfKeys: 1 });
          return cluster.scriptOfTest(key, ...args);
        },
        async scanAll() {
          const keys: string[] = [];
          for (const node of cluster.nodes("master")) {
            for await (const batch of node.scanStream({ count: 100 })) keys.push(...batch);
          }
          return keys;
        },
        async nodes() {
          return cluster.nodes("master").map(({ options }: Any) => `${options.host}:${options.port}`);
        },
        close: () => close(cluster),
      };
    },
    async listen(port, channel, sharded) {
      const cluster = await open(port);
      const inbox = new Inbox();
      for (const event of ["message", "smessage"]) {
        cluster.on(event, (from: string, text: string) => inbox.push([from, text]));
      }
      await cluster.subscribe(channel);
      await cluster.ssubscribe(sharded);
      return { messages: (count) => inbox.take(count), close: () => close(cluster) };
    },
  };
}

// ---- node-redis

function nodeRedis(name: string, module: Any): ClusterLibrary {
  const major = Number(/\d+/.exec(name)![0]);
  const open = async (port: number): Promise<Any> => {
    const cluster = module.createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] });
    cluster.on("error", () => {});
    await cluster.connect();
    return cluster;
  };
  const close = async (cluster: Any) => {
    if (major === 4) await cluster.disconnect();
    else cluster.destroy();
  };
  const multi = (cluster: Any, commands: readonly Keyed[]) => {
    const all = cluster.multi();
    for (const { key, args } of commands) {
      if (major === 4) all.addCommand(key, [...args]);
      else all.addCommand(key, false, [...args]);
    }
    return all;
  };
  const settled = async (replies: Promise<unknown[]>) => {
    try {
      return await replies;
    } catch (error) {
      const { replies: all } = error as { replies?: unknown[] };
      if (all === undefined) throw error;
      return all;
    }
  };
  return {
    name,
    sharded: true,
    async connect(port) {
      const cluster = await open(port);
      return {
        call: ({ key, args }) => cluster.sendCommand(key, false, [...args]),
        pipeline: (commands) => settled(multi(cluster, commands).execAsPipeline()),
        transaction: (commands) => settled(multi(cluster, commands).exec()),
        async scanAll() {
          const keys: string[] = [];
          for (const master of cluster.masters) {
            const client = await cluster.nodeClient(master);
            for await (const batch of client.scanIterator({ COUNT: 100 })) keys.push(...[batch].flat());
          }
          return keys;
        },
        async nodes() {
          return cluster.masters.map(({ host, port, address }: Any) => address ?? `${host}:${port}`);
        },
        close: () => close(cluster),
      };
    },
    async listen(port, channel, sharded) {
      const cluster = await open(port);
      const inbox = new Inbox();
      await cluster.subscribe(channel, (text: string, from: string) => inbox.push([from, text]));
      await cluster.sSubscribe(sharded, (text: string, from: string) => inbox.push([from, text]));
      return { messages: (count) => inbox.take(count), close: () => close(cluster) };
    },
  };
}

// ---- valkey-glide

// It prints what a client that is closed can no longer do.
Logger.init("off");

const GLIDE: ClusterLibrary = {
  name: "valkey-glide 2.5.2",
  sharded: true,
  async connect(port) {
    const client = await GlideClusterClient.createClient({ addresses: [{ host: "127.0.0.1", port }] });
    const batch = (atomic: boolean, commands: readonly Keyed[]) => {
      const all: Any = new ClusterBatch(atomic);
      for (const { args } of commands) all.customCommand([...args]);
      return client.exec(all, false) as Promise<unknown[]>;
    };
    return {
      call: ({ args }) => client.customCommand([...args]),
      pipeline: (commands) => batch(false, commands),
      transaction: (commands) => batch(true, commands),
      async script(text, key, args) {
        const script = new Script(text);
        try {
          return await client.invokeScript(script, { keys: [key], args: [...args] });
        } finally {
          script.release();
        }
      },
      async scanAll() {
        const keys: string[] = [];
        for (let cursor = new ClusterScanCursor(); !cursor.isFinished();) {
          const [next, batch] = await client.scan(cursor, { count: 100 });
          keys.push(...batch.map(String));
          cursor = next;
        }
        return keys;
      },
      async own() {
        const keys = Array.from({ length: 20 }, (_, i) => `own:${i}`);
        return [
          await client.mset(Object.fromEntries(keys.map((key, i) => [key, `${i}`]))),
          await client.mget([...keys, "none"]),
          await client.exists([...keys, "none"]),
          await client.del([...keys, "none"]),
        ];
      },
      async nodes() {
        return Object.keys(await client.info({ route: "allPrimaries" }) as Record<string, string>);
      },
      async close() {
        client.close();
      },
    };
  },
  async listen(port, channel, sharded) {
    const inbox = new Inbox();
    const client = await GlideClusterClient.createClient({
      addresses: [{ host: "127.0.0.1", port }],
      pubsubSubscriptions: {
        channelsAndPatterns: { 0: new Set([channel]), 2: new Set([sharded]) },
        callback: (message: Any) => inbox.push([String(message.channel), String(message.message)]),
      },
    });
    return {
      messages: (count) => inbox.take(count),
      async close() {
        client.close();
      },
    };
  },
};

// ---- redis-py

function redisPy(): ClusterLibrary {
  let python: PythonProcess | null = null;
  const open = async (port: number) => {
    python ??= new PythonProcess();
    const number = ++python.connections;
    await python.ask(number, "connect", { port, cluster: true });
    return { python, number };
  };
  return {
    name: "redis-py 4.3.4",
    sharded: false,
    async connect(port) {
      const { python, number } = await open(port);
      return {
        call: ({ args }) => python.ask(number, "call", { args }),
        pipeline: (commands) =>
          python.ask(number, "pipeline", { commands: commands.map(({ args }) => args) }) as Promise<
            unknown[]
          >,
        script: (text, key, args) => python.ask(number, "script", { text, keys: [key], args }),
        scanAll: () => python.ask(number, "scan_all", { match: null, count: 100 }) as Promise<string[]>,
        own: () => python.ask(number, "own"),
        nodes: () => python.ask(number, "nodes") as Promise<string[]>,
        async close() {
          await python.ask(number, "disconnect");
        },
      };
    },
    async listen(port, channel) {
      const { python, number } = await open(port);
      await python.ask(number, "subscribe", { channels: [channel], patterns: [] });
      return {
        messages: (count) => python.ask(number, "messages", { count }) as Promise<Message[]>,
        async close() {
          await python.ask(number, "disconnect");
        },
      };
    },
    async dispose() {
      await python?.stop();
      python = null;
    },
  };
}

// ---- phpredis

const PHPREDIS: ClusterLibrary = {
  name: "phpredis 5.3.7",
  sharded: false,
  async connect(port) {
    const child = new Deno.Command(need("php"), {
      args: [`${ROOT}/tests/clients/php_cluster.php`, String(port)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = child.stdin.getWriter();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let read = "";
    let last: Promise<unknown> = Promise.resolve();
    const one = async (request: Record<string, unknown>): Promise<unknown> => {
      await writer.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
      while (!read.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) throw new Error("php has ended");
        read += value;
      }
      const end = read.indexOf("\n");
      const line = read.slice(0, end);
      read = read.slice(end + 1);
      return JSON.parse(line).value;
    };
    // It answers one after the other.
    const ask = (request: Record<string, unknown>) => last = last.then(() => one(request));
    return {
      call: ({ key, args }) => ask({ op: "call", key, args }),
      transaction: (commands) =>
        ask({ op: "transaction", commands: commands.map(({ args }) => args) }) as Promise<unknown[]>,
      script: (text, key, args) => ask({ op: "script", text, key, args }),
      own: () => ask({ op: "own" }),
      scanAll: () => ask({ op: "scan" }) as Promise<string[]>,
      nodes: () => ask({ op: "nodes" }) as Promise<string[]>,
      async close() {
        await writer.close();
        await reader.cancel();
        await child.status;
      },
    };
  },
};

// ---- redis-cli

function redisCli(resp: 2 | 3): ClusterLibrary {
  return {
    name: `redis-cli 7.0.15 -c -${resp}`,
    sharded: false,
    async connect(port) {
      const cli = async (...args: string[]) => {
        const { code, stdout, stderr } = await run(need("redis-cli"), ["-p", String(port), ...args]);
        if (code !== 0) throw new Error(stdout + stderr);
        return stdout.trimEnd();
      };
      return {
        call: ({ args }) => cli("-c", `-${resp}`, "--no-raw", ...args),
        scanAll: async () => (await cli("-c", "--scan")).split("\n"),
        async nodes() {
          const check = await cli("--cluster", "check", `127.0.0.1:${port}`);
          return [...check.matchAll(/M: \w{40} (\S+)$/gm)].map(([, address]) => address!);
        },
        async close() {},
      };
    },
  };
}

export const CLUSTER_LIBRARIES: readonly ClusterLibrary[] = [
  ioredis("ioredis 5.11.1", Cluster5),
  ioredis("ioredis 6.0.0", Cluster6),
  ioredis("iovalkey 0.4.0", ValkeyCluster),
  nodeRedis("node-redis 4.7.1", redis4),
  nodeRedis("node-redis 5.12.1", redis5),
  nodeRedis("node-redis 6.3.1", redis6),
  GLIDE,
  redisPy(),
  PHPREDIS,
  redisCli(2),
  redisCli(3),
];
