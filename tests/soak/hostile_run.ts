/**
 * Clients that want the proxy's memory and time, and what the others notice of it.
 *
 *   unread      asks for 2 GB of replies and reads nothing
 *   slow        5,000 clients that send one byte now and then
 *   announced   a bulk of 2 GB is announced, another of 500 MB begins and never ends
 *   million     MGET with a million arguments, again and again
 *
 * For each: the p99 of 20 well-behaved clients before and meanwhile, and the proxy's resident memory at its peak and some time
 * after. What the well-behaved are told is checked as always (caller.ts).
 */
import { concat, latin1, request } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { residentBytes } from "./memory.ts";

export interface HostileOptions {
  runtime: Runtime;
  /** 1 = the sizes above. */
  scale: number;
  /** How long each deed goes on, and how long is measured before it. */
  seconds: number;
  /** max_memory */
  maxMemory: string;
  progress?: (text: string) => void;
}

export interface Deed {
  name: string;
  p99BeforeMs: number;
  p99Ms: number;
  /** The longest anybody well-behaved has waited. */
  slowestMs: number;
  beforeMb: number;
  peakMb: number;
  /** The lowest within ten seconds after. */
  afterMb: number;
}

type Misdeed = (target: Target, scale: number, over: () => boolean) => Promise<void>;

const VALUE_SIZE = 1024 * 1024;

const MISDEEDS: Record<string, Misdeed> = {
  unread: async (target, scale, over) => {
    const gets = concat(Array.from({ length: Math.ceil(2048 * scale) }, () => request("GET", "large")));
    while (!over()) {
      const client = await RawClient.connect(target);
      await client.send(gets).catch(() => {});
      // Until it is closed; it does not read, so a write has to find out.
      while (!over()) {
        if (!await client.send(request("PING")).then(() => true, () => false)) break;
        await delay(50);
      }
      client.close();
    }
  },
  slow: async (target, scale, over) => {
    const clients: RawClient[] = [];
    for (let i = 0; i < 5000 * scale && !over(); i++) clients.push(await RawClient.connect(target));
    const drip = latin1("*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1000\r\n");
    for (let i = 0; !over(); i++) {
      for (let k = i % 10; k < clients.length && !over(); k += 10) {
        await clients[k]!.send(drip.subarray(i % drip.length, i % drip.length + 1)).catch(() => {});
      }
      await delay(100);
    }
    for (const client of clients) client.close();
  },
  announced: async (target, scale, over) => {
    while (!over()) {
      const first = await RawClient.connect(target);
      await first.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2147483648\r\n");
      const answer = await first.readToEnd();
      if (!answer.startsWith("-ERR Protocol error")) throw new Error(`2 GB were not refused: ${answer}`);
      first.close();
      const second = await RawClient.connect(target);
      await second.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\n");
      for (let i = 0; i < 500 * scale && !over(); i++) {
        await second.send(new Uint8Array(500_000)).catch(() => {});
      }
      second.close();
    }
  },
  million: async (target, scale, over) => {
    const count = Math.floor(1e6 * scale);
    const keys = Array.from({ length: 1000 }, (_, i) => request(`k${i}`).subarray(4));
    const block = concat(keys);
    const head = latin1(`*${1000 * Math.ceil(count / 1000) + 1}\r\n$4\r\nMGET\r\n`);
    const body = concat([head, ...Array.from({ length: Math.ceil(count / 1000) }, () => block)]);
    const client = await RawClient.connect(target);
    while (!over()) {
      await client.send(body);
      await client.readUntil("\r\n");
      await client.readExact(1000 * Math.ceil(count / 1000) * "$-1\r\n".length);
    }
    client.close();
  },
};

export async function hostileRun(options: HostileOptions) {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const yml = poolYml({ alpha: { servers, timeout: 10_000 } }) +
    `ringmaster:\n  admin: off\n  max_memory: ${options.maxMemory}\n`;
  const proxy = await f.proxy(options.runtime, yml);
  const first = await f.client(proxy);
  await first.command("SET", "large", "x".repeat(VALUE_SIZE));
  const callers = Array.from({ length: 20 }, (_, i) => {
    const caller = new Caller(`c${i}`, proxy.target, new Random(i), {
      pauseMs: (random) => random.below(10),
      burst: () => 1,
    });
    caller.tookMs = [];
    return caller;
  });
  let over = false;
  const running = callers.map((caller) => caller.run(() => over));
  const deeds: Deed[] = [];
  try {
    await delay(options.seconds * 500);
    for (const [name, misdeed] of Object.entries(MISDEEDS)) {
      takeTimes(callers);
      await delay(options.seconds * 1000);
      const before = takeTimes(callers);
      const beforeBytes = residentBytes(proxy.pid);
      let peakBytes = beforeBytes;
      let done = false;
      const doing = misdeed(proxy.target, options.scale, () => done);
      const endMs = performance.now() + options.seconds * 1000;
      while (performance.now() < endMs) {
        await delay(20);
        peakBytes = Math.max(peakBytes, residentBytes(proxy.pid));
      }
      const meanwhile = takeTimes(callers);
      done = true;
      await doing;
      let afterBytes = Infinity;
      for (let i = 0; i < 100 && afterBytes > beforeBytes * 1.1; i++) {
        await delay(100);
        afterBytes = Math.min(afterBytes, residentBytes(proxy.pid));
      }
      const deed = {
        name,
        p99BeforeMs: percentile(before, 0.99),
        p99Ms: percentile(meanwhile, 0.99),
        slowestMs: percentile(meanwhile, 1),
        beforeMb: Math.round(beforeBytes / 1e6),
        peakMb: Math.round(peakBytes / 1e6),
        afterMb: Math.round(afterBytes / 1e6),
      };
      deeds.push(deed);
      options.progress?.(JSON.stringify(deed));
    }
  } finally {
    over = true;
    await Promise.allSettled(running);
  }
  const { requests, lost, refused, errors, wrong } = sumOf(callers);
  return { deeds, requests, lost, refused, errors, wrong, log: proxy.log };
}

function takeTimes(callers: readonly Caller[]): number[] {
  const times = callers.flatMap((caller) => caller.tookMs!);
  for (const caller of callers) caller.tookMs = [];
  return times.sort((a, b) => a - b);
}

function percentile(sorted: readonly number[], p: number): number {
  return Math.round(100 * sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!) / 100;
}
