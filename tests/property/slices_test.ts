/**
 * Requests that go out in slices: the reply is that of the whole request, whatever the size of the slices; and what happens when
 * something goes wrong in the middle. The whole proxy on the simulator's network, with slices of a few keys.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { serveMemory } from "../../src/demo/serve.ts";
import type { Client } from "../../src/proxy/client.ts";
import { Proxy } from "../../src/service/proxy.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import type { RedisSession } from "../../src/redis/session.ts";
import { LIMIT_OUTPUT, REQUESTS } from "../../src/stats/metrics.ts";
import { latin1 } from "../lib/bytes.ts";
import { runs } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";

/** A pool of three servers whose proxy sends `sliceArguments` arguments at a time. */
class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly config;
  readonly proxy: Proxy;

  private constructor(sliceArguments: number, yml: string) {
    this.config = parseConfig(
      `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  hash_tag: "{}"\n${yml}  servers:\n` +
        [1, 2, 3].map((i) => `    - 10.0.0.${i}:6379:1\n`).join(""),
      "sim.yml",
    );
    const { clock, net, config } = this;
    const log = { level: 0, write: () => {} };
    const random = new Random(2).next;
    this.proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments });
  }

  static async make(sliceArguments: number, yml = ""): Promise<Stand> {
    const stand = new Stand(sliceArguments, yml);
    const random = new Random(3).next;
    for (const { address } of stand.config.pools[0]!.servers) {
      await serveMemory(stand.net, address!, new MemoryRedis({ nowMs: () => stand.clock.wallMs(), random }));
    }
    await stand.proxy.listen(null);
    return stand;
  }

  get pool() {
    return this.proxy.pools[0]!;
  }

  /** Requests that the servers have been sent, fragments included. */
  get sent(): number {
    return this.pool.servers.reduce((sum, server) => sum + server.counters[REQUESTS]!, 0);
  }

  talker(): Talker {
    return new Talker(this.net, this.config.pools[0]!.listen);
  }

  run(ms = 1000): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** Runs until so many requests have been sent to servers. */
  runUntilSent(count: number): void {
    this.clock.run(this.clock.nowMs() + 10_000, () => this.sent >= count);
    ok(this.sent >= count, `${this.sent} requests were sent`);
  }
}

function bulks(values: readonly (string | undefined)[]): string {
  const each = values.map((v) => v === undefined ? "$-1\r\n" : `$${latin1(v).length}\r\n${v}\r\n`);
  return `*${values.length}\r\n${each.join("")}`;
}

const KEYS = fc.array(fc.stringMatching(/^[a-e]{1,2}$/), { minLength: 1, maxLength: 25 });

Deno.test("a request in slices is answered as if it were one, in its turn", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 9 }), KEYS, KEYS, async (slice, written, read) => {
      const stand = await Stand.make(slice);
      const client = stand.talker();
      const store = new Map(written.map((key, i) => [key, `${key}${i}`]));
      const known = (keys: readonly string[]) => keys.filter((key) => store.has(key)).length;
      client.say("PING").say("MSET", ...written.flatMap((key, i) => [key, `${key}${i}`]));
      client.say("MGET", ...read).say("EXISTS", ...read).say("PING").say("DEL", ...written, "none");
      client.say("MGET", ...written).say("CLIENT", "REPLY", "SKIP").say("MGET", ...read).say("PING", "end");
      stand.run();
      const expected = `+PONG\r\n+OK\r\n${bulks(read.map((key) => store.get(key)))}:${
        known(read)
      }\r\n+PONG\r\n:${store.size}\r\n${bulks(written.map(() => undefined))}$3\r\nend\r\n`;
      strictEqual(client.take(), expected);
    }),
    { numRuns: runs(25) },
  );
});

const MANY = Array.from({ length: 300 }, (_, i) => `key${i}`);

Deno.test("others are served between slices, the same client after them", async () => {
  const stand = await Stand.make(10);
  const [greedy, modest] = [stand.talker(), stand.talker()];
  greedy.say("MGET", ...MANY).say("PING");
  stand.runUntilSent(6);
  modest.say("GET", "key7");
  stand.clock.run(stand.clock.nowMs() + 10_000, () => modest.read !== "");
  strictEqual(modest.read, "$-1\r\n");
  strictEqual(greedy.read, "");
  ok(stand.sent < 60, `${stand.sent} requests were sent before the modest one was answered`);
  stand.run();
  strictEqual(greedy.take(), `${bulks(MANY.map(() => undefined))}+PONG\r\n`);
});

Deno.test("a request whose keys are all on one server goes there whole", async () => {
  const stand = await Stand.make(10);
  const client = stand.talker();
  const pairs = MANY.flatMap((key) => [`{tag}${key}`, "v"]);
  client.say("MSET", ...pairs).say("EXISTS", ...MANY.map((key) => `{tag}${key}`));
  stand.run();
  strictEqual(client.take(), "+OK\r\n:300\r\n");
  strictEqual(stand.sent, 2);
  // The last key decides otherwise: nothing is sent twice.
  client.say("EXISTS", ...MANY.map((key) => `{tag}${key}`), "none", "{other}");
  stand.run();
  strictEqual(client.take(), ":300\r\n");
});

Deno.test("the first slice that fails is the answer, and the rest is not sent", async () => {
  const stand = await Stand.make(10);
  const client = stand.talker().say("MSET", ...MANY.flatMap((key) => [key, "v"])).say("PING");
  stand.runUntilSent(6);
  for (const { address } of stand.config.pools[0]!.servers) stand.net.down(address!);
  stand.run();
  ok(/^-ERR .*\(server 10.0.0.\d:6379\)\r\n\+PONG\r\n$/.test(client.read), client.read);
  ok(stand.sent < 20, `${stand.sent} requests were sent`);
});

Deno.test("nothing is taken before the last slice, also if a watching connection is lost meanwhile", async () => {
  const stand = await Stand.make(10);
  const client = stand.talker().say("WATCH", "w").say("MGET", ...MANY).say("SET", MANY.at(-1)!, "late");
  stand.runUntilSent(6);
  const [{ session }] = [...stand.pool.clients] as [Client];
  const watching = (session as RedisSession).transaction as unknown as { watch: ServerConnection };
  watching.watch.fail("ECONNRESET");
  stand.run();
  strictEqual(client.read, `+OK\r\n${bulks(MANY.map(() => undefined))}+OK\r\n`);
});

Deno.test("of a client that goes away no further slice is sent, and nothing is kept", async () => {
  const stand = await Stand.make(10);
  const client = stand.talker().say("MGET", ...MANY);
  stand.runUntilSent(6);
  const [left] = stand.pool.clients;
  const session = left!.session as RedisSession;
  ok(session.sliced!.holdsBytes > 0);
  strictEqual(left!.holdsBytes >= session.sliced!.holdsBytes, true);
  client.socket.destroy();
  stand.run();
  deepStrictEqual([session.sliced, stand.pool.clients.size], [null, 0]);
  ok(stand.sent < 20, `${stand.sent} requests were sent`);
});

Deno.test("values of slices count towards client_output_limit", async () => {
  const stand = await Stand.make(10, "  client_output_limit: 2000\n");
  const client = stand.talker().say("MSET", ...MANY.flatMap((key) => [key, "v".repeat(100)]));
  stand.run();
  strictEqual(client.take(), "+OK\r\n");
  const { sent } = stand;
  client.say("MGET", ...MANY);
  stand.run();
  deepStrictEqual([client.closed, client.read, stand.pool.counters[LIMIT_OUTPUT]], [true, "", 1]);
  ok(stand.sent - sent < 20, `${stand.sent - sent} requests were sent`);
});

Deno.test("a drain waits for all slices", async () => {
  const stand = await Stand.make(10);
  const client = stand.talker().say("MGET", ...MANY);
  stand.runUntilSent(6);
  let owed = -1;
  void stand.proxy.drain(2000).then((count) => owed = count);
  await stand.clock.runAsync(() => owed >= 0);
  strictEqual(client.read, bulks(MANY.map(() => undefined)));
});
