/**
 * Fifty clients on one proxy, ten of them hostile: the other forty see exactly the replies to what they asked.
 *
 * Every value a good client writes is its own (its number, the round, random filling), so a byte that was meant for
 * somebody else cannot go unnoticed. Each hostile client goes on with its one misdeed until the good ones are done.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Argument, concat, latin1, request, textOf } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Proxy, RUNTIMES } from "../lib/servers.ts";

const SEED = 11;
const GOOD = 40;
const ROUNDS = 8;
const REQUEST_SIZE_MAX = 1024 * 1024;

/** What a hostile client does with a connection again and again; it may fail at any point. */
type Misdeed = (client: RawClient, random: Random, over: () => boolean) => Promise<void>;

const MALFORMED = [
  "*1\r\n%4\r\nPING\r\n",
  "*x\r\n",
  "*2\r\n$3\r\nGET\r\n$-1\r\n",
  "*2\r\n$3\r\nGET\r\n$1x\r\na\r\n",
  "*2\r\n$3\r\nGET\r\n$1\r\nabc\r\n",
  "*99999999999999999999\r\n",
  "*1\r\n$99999999999999\r\n",
  '"unbalanced\r\n',
  "*3\r\n$3\r\nSET\r\n$1\r\na\r\n:1\r\n",
  "$5\r\nhello\r\n\0\0\0\0\r\n",
  "+OK\r\n-ERR\r\n:1\r\n",
];

const MISDEEDS: Record<string, Misdeed> = {
  malformed: async (client, random) => {
    await client.send(concat([request("PING"), latin1(random.pick(MALFORMED)), request("GET", "after")]));
    // Some of it can be read as lines of words, as redis-server reads it: that gets errors and is not closed for it.
    await client.closeWrite();
    const all = await client.readToEnd();
    ok(all.startsWith("+PONG\r\n"), all);
  },
  oversized: async (client) => {
    await client.send(request("SET", "oversized", new Uint8Array(2 * REQUEST_SIZE_MAX)));
    ok((await client.readToEnd()).includes("max_request_size"));
  },
  "half-sent": async (client, random) => {
    const whole = request("SET", "half", "x".repeat(1000));
    await client.send(whole.subarray(0, random.between(1, whole.length - 1)));
    if (random.below(2) === 0) {
      await client.closeWrite();
      strictEqual(await client.readToEnd(), "");
    }
  },
  "slow drip": async (client, _random, over) => {
    for (let i = 0; !over(); i++) {
      for (const byte of request("SET", `drip:${i % 100}`, "drop by drop")) {
        if (over()) return;
        await client.send(Uint8Array.of(byte));
        await delay(1);
      }
      strictEqual((await client.readReply()).value, "OK");
    }
  },
  garbage: async (client, random) => {
    await client.send(random.bytes(random.between(1, 100_000)));
    await client.closeWrite();
    await client.readToEnd();
  },
  "reset in a pipeline": async (client) => {
    await client.send(concat(Array.from({ length: 200 }, () => request("GET", "large"))));
    // Closing with replies unread makes the kernel send a reset.
    await client.readExact(1);
  },
  "huge bulk header": async (client) => {
    await client.send(latin1(`*3\r\n$3\r\nSET\r\n$1\r\na\r\n$${REQUEST_SIZE_MAX - 100}\r\n`));
    await client.send(new Uint8Array(1000));
    await client.send(new Uint8Array(REQUEST_SIZE_MAX >> 1));
  },
  "million arguments": async (client, random) => {
    await client.send(latin1(random.below(2) === 0 ? "*1000000\r\n" : "*2000000\r\n"));
    await client.send(latin1("$3\r\nDEL\r\n"));
    for (let i = 0; i < 20; i++) await client.send(latin1("$1\r\na\r\n".repeat(5000)));
  },
  "never reading": async (client, _random, over) => {
    const batch = concat(Array.from({ length: 100 }, () => request("GET", "large")));
    while (!over()) {
      const sent = client.send(batch).catch(() => false);
      // Once the proxy reads no more from it, the promise rests until the connection is closed.
      if (!await Promise.race([sent, until(over)])) return;
    }
  },
  "wrong commands": async (client) => {
    await client.pipeline(
      ["GET"],
      ["NO-SUCH-COMMAND", "x"],
      ["MSET", "a"],
      ["EVAL", "return 1", "-1"],
      [
        "SELECT",
        "9",
      ],
      ["SUBSCRIBE"],
      ["CLIENT", "REPLY"],
      ["HELLO", "9"],
      [""],
      ["GET", ""],
      ["SHUTDOWN"],
      ["FLUSHALL"],
    );
  },
};

async function until(over: () => boolean): Promise<true> {
  while (!over()) await delay(5);
  return true;
}

async function misbehave(target: Target, deed: Misdeed, seed: number, over: () => boolean): Promise<number> {
  const random = new Random(seed);
  let times = 0;
  while (!over()) {
    // Refused connections would be a disturbance too, so this one may throw.
    const client = await RawClient.connect(target);
    try {
      await deed(client, random, over);
    } catch (error) {
      // Assertions are about us; everything else is what it asked for.
      if ((error as Error).name === "AssertionError") throw error;
    } finally {
      client.close();
    }
    times++;
    await delay(1);
  }
  return times;
}

/** One good client's rounds; throws at the first byte that is not its own. */
async function behave(client: RawClient, id: number): Promise<void> {
  const random = new Random(SEED * 1000 + id);
  for (let round = 0; round < ROUNDS; round++) {
    const requests: Argument[][] = [];
    const expected: unknown[] = [];
    const ask = (reply: unknown, ...words: Argument[]) => {
      requests.push(words);
      expected.push(reply);
    };
    const mine = `client ${id} round ${round} `;
    ask(round + 1, "INCR", `counter:${id}`);
    const keys: string[] = [];
    const values: string[] = [];
    for (let i = 0; i < 8; i++) {
      keys.push(`value:${id}:${i}`);
      values.push(mine + textOf(random.bytes(random.pick([0, 1, 10, 100, 5000, 40_000]))));
      ask("OK", "SET", keys[i]!, latin1(values[i]!));
      ask(values[i], "GET", keys[i]!);
    }
    ask(values, "MGET", ...keys);
    ask("PONG", "PING");
    ask(keys.length, "EXISTS", ...keys);
    for (let i = 0; i < 30; i++) ask(mine + i, "ECHO", mine + i);
    ask(keys.length, "DEL", ...keys);
    ask([null, null], "MGET", keys[0]!, keys[1]!);
    deepStrictEqual(await client.pipeline(...requests), expected, mine);
  }
}

async function serving(proxy: Proxy): Promise<void> {
  const client = await RawClient.connect(proxy.target);
  strictEqual(await client.command("PING"), "PONG");
  client.close();
  strictEqual(proxy.status, null, proxy.log);
}

for (const runtime of RUNTIMES) {
  Deno.test(`ten hostile clients of fifty do not disturb the others (${runtime})`, async (t) => {
    await using f = new Fixture();
    const servers = [await f.redis({ port: 0 }), await f.redis(), await f.redis()];
    const proxy = await f.proxy(
      runtime,
      poolYml({
        alpha: {
          servers,
          hash: "md5",
          timeout: 10_000,
          max_request_size: REQUEST_SIZE_MAX,
          max_arguments: 1_000_000,
          client_output_limit: "4mb",
        },
      }),
    );
    const first = await f.client(proxy);
    strictEqual(await first.command("SET", "large", "L".repeat(30_000)), "OK");
    let finished = false;
    const over = () => finished;
    const hostile = Object.entries(MISDEEDS).map(([, deed], i) => misbehave(proxy.target, deed, i, over));
    strictEqual(hostile.length, 10);
    // A misdeed that ends in an assertion must not wait for the good clients to be noticed.
    const failed = Promise.race(hostile.map((h) => h.then(() => new Promise<never>(() => {}))));
    failed.catch(() => {});
    const clients = await Promise.all(Array.from({ length: GOOD }, () => f.client(proxy)));
    try {
      await Promise.race([Promise.all(clients.map((client, id) => behave(client, id))), failed]);
    } finally {
      finished = true;
    }
    const times = await Promise.all(hostile);
    for (const [i, name] of Object.keys(MISDEEDS).entries()) ok(times[i]! > 0, `${name} was done`);
    await serving(proxy);
    await t.step("and nothing of them stays", async () => {
      await poll(async () => {
        const pool = (await proxy.stats()).alpha as Record<string, number>;
        return pool.client_connections === GOOD + 1;
      }, "hostile clients to be gone");
      // What they had asked is still answered, to nobody.
      const QUEUES = ["in_queue", "in_queue_bytes", "out_queue", "out_queue_bytes"];
      await poll(async () => {
        const pool = (await proxy.stats()).alpha as Record<string, Record<string, number>>;
        return Object.values(pool).every((row) =>
          typeof row !== "object" || QUEUES.every((q) => row[q] === 0)
        );
      }, "the queues to be empty");
    });
  });
}
