/**
 * What hostile clients do, as a program of its own, so that it holds up nobody's clock but its own:
 *
 *   misdeeds.ts NAME TARGET SCALE      until it is ended; exit code 1 if the proxy was not firm enough
 *
 * See hostile_run.ts for what they are.
 */
import { concat, latin1, request } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { delay } from "../lib/poll.ts";

type Misdeed = (target: Target, scale: number) => Promise<void>;

export const MISDEEDS: Record<string, Misdeed> = {
  unread: async (target, scale) => {
    const gets = concat(Array.from({ length: Math.ceil(2048 * scale) }, () => request("GET", "large")));
    for (;;) {
      const client = await RawClient.connect(target);
      await client.send(gets);
      // Until it is closed; it does not read, so a write has to find out.
      for (;;) {
        if (!await client.send(request("PING"))) break;
        await delay(50);
      }
      client.close();
    }
  },
  slow: async (target, scale) => {
    const clients: RawClient[] = [];
    for (let i = 0; i < 5000 * scale; i++) clients.push(await RawClient.connect(target));
    const drip = latin1("*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1000\r\n");
    for (let i = 0;; i++) {
      for (let k = i % 100; k < clients.length; k += 100) {
        await clients[k]!.send(drip.subarray(i / 100 % drip.length, i / 100 % drip.length + 1));
      }
      await delay(100);
    }
  },
  announced: async (target, scale) => {
    for (;;) {
      const first = await RawClient.connect(target);
      await first.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2147483648\r\n");
      const answer = await first.readToEnd();
      if (!answer.startsWith("-ERR Protocol error")) throw new Error(`2 GB were not refused: ${answer}`);
      first.close();
      const second = await RawClient.connect(target);
      await second.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\n");
      for (let i = 0; i < 500 * scale; i++) {
        await second.send(new Uint8Array(500_000));
      }
      second.close();
    }
  },
  million: async (target, scale) => {
    const mget = many("MGET", 1000 * Math.ceil(1000 * scale), (i) => [`k${i}`]);
    const client = await RawClient.connect(target);
    for (;;) {
      await client.send(mget);
      const count = Number(/\d+/.exec(await client.readUntil("\r\n"))![0]);
      await client.readExact(count * "$-1\r\n".length);
    }
  },
  writes: async (target, scale) => {
    const count = Math.ceil(500_000 * scale);
    const mset = many("MSET", count, (i) => [`w${i}`, "x"]);
    const del = many("DEL", count, (i) => [`w${i}`]);
    const client = await RawClient.connect(target);
    for (;;) {
      await client.send(mset);
      await client.readUntil("\r\n");
      await client.send(del);
      await client.readUntil("\r\n");
    }
  },
  exec: async (target, scale) => {
    const sets = Array.from({ length: Math.ceil(100_000 * scale) }, (_, i) => request("SET", `{e}${i}`, "x"));
    const all = concat([request("MULTI"), ...sets, request("EXEC")]);
    const client = await RawClient.connect(target);
    for (;;) {
      const sent = client.send(all);
      for (let i = 0; i <= sets.length + 1; i++) await client.readUntil("\r\n");
      for (let i = 0; i < sets.length; i++) await client.readUntil("\r\n");
      await sent;
    }
  },
  huge: async (target, scale) => {
    const size = Math.ceil(100_000_000 * scale);
    const head = latin1(`*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n$${size}\r\n`);
    const set = concat([head, new Uint8Array(size), latin1("\r\n")]);
    const count = Math.ceil(100_000 * scale);
    const gets = concat(Array.from({ length: count }, (_, i) => request("GET", `no${i}`)));
    await Promise.all([
      again(target, set, "+OK\r\n".length),
      again(target, gets, count * "$-1\r\n".length),
    ]);
  },
  fanout: async (target, scale) => {
    const listeners: RawClient[] = [];
    for (let i = 0; i < 5000 * scale; i++) {
      const client = await RawClient.connect(target);
      await client.send(request("SUBSCRIBE", "news"));
      listeners.push(client);
    }
    const message = request("PUBLISH", "news", "x".repeat(100));
    const speaker = await RawClient.connect(target);
    for (;;) {
      await speaker.send(message);
      await speaker.readUntil("\r\n");
      for (const client of listeners) await client.readUntil("x\r\n");
    }
  },
};

/** Sends the same again and again, each time when `replySize` bytes have come for the time before. */
async function again(target: Target, bytes: Uint8Array, replySize: number): Promise<never> {
  const client = await RawClient.connect(target);
  for (;;) {
    const sent = client.send(bytes);
    await client.readExact(replySize);
    await sent;
  }
}

/** A request with `count` times the words that `wordsOf` tells. */
function many(name: string, count: number, wordsOf: (i: number) => string[]): Uint8Array {
  let words = 1;
  let text = "";
  const add = (word: string) => {
    text += `$${word.length}\r\n${word}\r\n`;
    words++;
  };
  for (let i = 0; i < count; i++) wordsOf(i).forEach(add);
  return latin1(`*${words}\r\n$${name.length}\r\n${name}\r\n${text}`);
}

if (import.meta.main) {
  const [name, target, scale] = Deno.args as [string, string, string];
  await MISDEEDS[name]!(JSON.parse(target), Number(scale));
}
