/**
 * Clients that append numbers to lists, one list each, and remember which were acknowledged: what is missing from a list afterwards
 * has been lost. Through the proxy, or by the Sentinel clients of ioredis and node-redis, which are connected to the servers directly.
 */
import { Redis as Ioredis } from "ioredis";
import { createSentinel } from "redis";
import { RawClient, type Target } from "../lib/client.ts";
import { delay, poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";

/** One list: appends a number, reads the last one. Rejects, or gives a text that is no number, when told of an error. */
interface Lane {
  append(key: string, n: number): Promise<string | null>;
  /** Null: an error. */
  last(key: string): Promise<string | null>;
  close(): void;
}

export interface Trouble {
  readonly atMs: number;
  readonly key: string;
  readonly text: string;
}

const BETWEEN_MS = 40;
/** Every so many appends the list is read. */
const READ_EVERY = 4;

export class Writers {
  /** What each has sent last. */
  readonly sent: number[];
  readonly acknowledged: Set<number>[];
  readonly errors: Trouble[] = [];
  /** Replies that cannot be. */
  readonly mixed: string[] = [];
  private stopped = false;
  private running: Promise<void>[] = [];

  constructor(readonly keys: readonly string[], private readonly makeLane: (i: number) => Promise<Lane>) {
    this.sent = keys.map(() => 0);
    this.acknowledged = keys.map(() => new Set<number>());
  }

  start(): void {
    this.running = this.keys.map((_, i) => this.write(i));
  }

  private async write(i: number): Promise<void> {
    const key = this.keys[i]!;
    const lane = await this.makeLane(i);
    while (!this.stopped) {
      const n = ++this.sent[i]!;
      const wrong = await lane.append(key, n);
      if (wrong === null) this.acknowledged[i]!.add(n);
      else this.errors.push({ atMs: performance.now(), key, text: wrong });
      if (n % READ_EVERY === 0) {
        const last = await lane.last(key);
        const [owner, value] = (last ?? "").split("/");
        if (last !== null && (owner !== key || Number(value) > n)) {
          this.mixed.push(`${key} read ${last} after ${n}`);
        }
      }
      await delay(BETWEEN_MS * (0.5 + Math.random()));
    }
    lane.close();
  }

  /** Forgets what has been acknowledged and what went wrong until now. */
  begin(): void {
    for (const each of this.acknowledged) each.clear();
    this.errors.length = this.mixed.length = 0;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.running);
  }
}

/** @param target the proxy's */
export async function proxyLane(target: Target): Promise<Lane> {
  let client = await RawClient.connect(target);
  const ask = async (...words: string[]) => {
    try {
      return await client.command(...words);
    } catch (error) {
      client.close();
      client = await RawClient.connect(target);
      return new ReplyError((error as Error).message);
    }
  };
  return {
    append: async (key, n) => {
      const reply = await ask("RPUSH", key, `${key}/${n}`);
      return typeof reply === "number"
        ? null
        : reply instanceof ReplyError
        ? reply.message
        : `found ${reply}`;
    },
    last: async (key) => {
      const reply = await ask("LINDEX", key, "-1");
      return typeof reply === "string" ? reply : null;
    },
    close: () => client.close(),
  };
}

/** @param sentinels their ports */
export function ioredisLane(sentinels: readonly number[], master: string): Promise<Lane> {
  const client = new Ioredis({
    sentinels: sentinels.map((port) => ({ host: "127.0.0.1", port })),
    name: master,
    // As its documentation has it.
    sentinelRetryStrategy: (times: number) => Math.min(times * 10, 1000),
  });
  client.on("error", () => {});
  return Promise.resolve({
    append: (key: string, n: number) =>
      client.rpush(key, `${key}/${n}`).then(() => null, (error: Error) => error.message),
    last: (key: string) => client.lindex(key, -1).catch(() => null),
    close: () => client.disconnect(),
  });
}

/** One of node-redis' clients for all lanes of a master, since each has connections of its own to all sentinels. */
const nodeRedis = new Map<string, { readonly client: ReturnType<typeof makeSentinel>; lanes: number }>();

function makeSentinel(sentinels: readonly number[], name: string, masterPoolSize: number) {
  const sentinelRootNodes = sentinels.map((port) => ({ host: "127.0.0.1", port }));
  return createSentinel({ name, sentinelRootNodes, masterPoolSize });
}

/** @param sentinels their ports; @param lanes how many there will be of this master */
export async function nodeRedisLane(
  sentinels: readonly number[],
  master: string,
  lanes: number,
): Promise<Lane> {
  let shared = nodeRedis.get(master);
  if (shared === undefined) {
    const client = makeSentinel(sentinels, master, lanes);
    client.on("error", () => {});
    nodeRedis.set(master, shared = { client, lanes: 0 });
    // It gives up if a sentinel thinks just then that the master is down.
    await poll(() => client.connect().then(() => true, () => false), "node-redis to connect");
  }
  const { client } = shared;
  shared.lanes++;
  return {
    append: (key: string, n: number) =>
      client.rPush(key, `${key}/${n}`).then(() => null, (error: Error) => error.message),
    last: (key: string) => client.lIndex(key, -1).catch(() => null),
    close: () => {
      if (--shared.lanes === 0) client.destroy();
    },
  };
}
