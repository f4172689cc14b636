/**
 * Requests of very many arguments that are answered some arguments a turn: the reply is that of the whole request, no turn does
 * much, and no more of it is made than the client reads. The whole proxy on the simulator's network.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import type { Client } from "../../src/proxy/client.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { thorough } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";
import { SimServer } from "../sim/sim_server.ts";
import { Truth } from "../sim/truth.ts";

/** A pool of three servers. */
class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  servers:\n` +
      [1, 2, 3].map((i) => `    - 10.0.0.${i}:6379:1\n`).join(""),
    "sim.yml",
  );
  readonly proxy: Proxy;

  private constructor(sliceArguments?: number) {
    const { clock, net, config } = this;
    const log = { level: 0, write: () => {} };
    const random = new Random(2).next;
    this.proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments });
  }

  static async make(sliceArguments?: number): Promise<Stand> {
    const stand = new Stand(sliceArguments);
    const { net, clock } = stand;
    for (const [i, { address }] of stand.config.pools[0]!.servers.entries()) {
      await new SimServer(i, address!, true, net, clock, new Truth(), new Random(3 + i), null).listen();
    }
    await stand.proxy.listen(null);
    return stand;
  }

  get pool() {
    return this.proxy.pools[0]!;
  }

  talker(): Talker {
    return new Talker(this.net, this.config.pools[0]!.listen);
  }

  run(ms = 1000): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** The reply to one request, by a client of its own. */
  ask(...words: string[]): string {
    const client = this.talker();
    client.say(...words);
    this.run(60_000);
    const reply = client.take();
    client.socket!.destroy();
    this.run();
    return reply;
  }
}

Deno.test("a walked request is answered as if it were taken whole", async () => {
  const small = await Stand.make(3);
  const whole = await Stand.make();
  const names = ["get", "GET", "nosuch", "client", "client|id", "client|nosuch", "mset", "x|y", "eval"];
  const requests = [
    ["COMMAND", "INFO", ...names],
    ["COMMAND", "DOCS", ...new Set(names.slice(1))],
    ["SUBSCRIBE", ...names],
    ["PSUBSCRIBE", ...names],
    ["UNSUBSCRIBE", ...names],
  ];
  for (const words of requests) strictEqual(small.ask(...words), whole.ask(...words), words.join(" "));
});

Deno.test("no more of COMMAND INFO's reply is made than its client reads, and others are served meanwhile", async () => {
  const stand = await Stand.make();
  const client = stand.talker();
  client.socket.pause();
  client.say("COMMAND", "INFO", ...Array.from({ length: 1500 }, () => "client")).say("PING");
  // Shorter than it takes to think that the client writes before it reads.
  stand.run(15);
  const [served] = [...stand.pool.clients] as Client[];
  ok(served!.holdsBytes < 4 * 1024 * 1024, `${served!.holdsBytes} bytes are held`);
  client.socket.resume();
  strictEqual(stand.ask("PING"), "+PONG\r\n");
  stand.run(60_000);
  const reply = client.take();
  const one = stand.ask("COMMAND", "INFO", "client").slice("*1\r\n".length);
  strictEqual(reply.length, "*1500\r\n+PONG\r\n".length + 1500 * one.length);
  ok(reply.endsWith(`${one}+PONG\r\n`));
});

Deno.test("a client that goes away in the middle of its walk is forgotten", async () => {
  const stand = await Stand.make();
  const client = stand.talker();
  client.socket.pause();
  client.say("COMMAND", "INFO", ...Array.from({ length: 20_000 }, () => "client"));
  stand.run();
  client.socket!.destroy();
  stand.run();
  strictEqual(stand.pool.clients.size, 0);
});

Deno.test("a request that is looked at some arguments a turn goes on its way as if it were taken at once", async () => {
  const small = await Stand.make(3);
  const whole = await Stand.make();
  const one = (n: number) => Array.from({ length: n }, () => "{k}");
  const several = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];
  for (const stand of [small, whole]) ok(stand.ask("SINTER", ...several).startsWith("-CROSSSLOT"));
  const requests = [
    ["SINTER", ...one(7)],
    ["SINTER", ...several],
    ["EVAL", "return 1", "5", ...one(5), "argument"],
    ["EVAL", "return 1", "0", ...several],
    ["EVAL", "return 1", "99", ...several],
    ["WATCH", ...one(9)],
    ["WATCH", ...several],
    ["BLPOP", ...several, "0.1"],
    ["MSETNX", ...several],
    ["MSETNX", ...several, "odd"],
    ["NOSUCH", ...several],
    ["GET", ...several],
    ["FUNCTION", "NOSUCH", ...several],
    ["XREAD", "COUNT", "1", "STREAMS", "a", "b", "0", "0"],
    ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b"],
    ["COPY", "alpha", "alpha", "DB", "0", "REPLACE"],
    ["CONFIG", "GET", "port", "timeout", "databases", "p*"],
    ["INFO", "ringmaster"],
  ];
  for (const words of requests) strictEqual(small.ask(...words), whole.ask(...words), words.join(" "));
});

Deno.test("what is asked before and behind such a request is answered in its place, in a transaction too", async () => {
  for (const stand of [await Stand.make(3), await Stand.make()]) {
    const client = stand.talker();
    const keys = Array.from({ length: 10 }, () => "k");
    client.say("SET", "k", "v").say("WATCH", ...keys).say("GET", "k").say("MULTI").say("MGET", ...keys)
      .say("SINTER", ...keys.slice(0, 5), "other").say("EXEC").say("PING");
    stand.run(60_000);
    const read = client.take();
    ok(read.startsWith("+OK\r\n+OK\r\n$1\r\nv\r\n+OK\r\n+QUEUED\r\n-CROSSSLOT"), read);
    ok(read.includes("-EXECABORT") && read.endsWith("+PONG\r\n"), read);
    client.say("MULTI").say("MGET", ...keys).say("EXEC");
    stand.run(60_000);
    strictEqual(client.take(), "+OK\r\n+QUEUED\r\n*1\r\n*10\r\n" + "$1\r\nv\r\n".repeat(10));
  }
});

thorough("a client that goes away while its request is looked at is forgotten", async () => {
  const stand = await Stand.make(3);
  const client = stand.talker();
  client.say("SINTER", ...Array.from({ length: 50_000 }, () => "k"));
  while (stand.pool.clients.size === 0) stand.clock.turn();
  const session = ([...stand.pool.clients] as Client[])[0]!.session as { preparation: unknown };
  while (session.preparation === null) stand.clock.turn();
  client.socket.destroy();
  stand.run();
  strictEqual(stand.pool.clients.size, 0);
  strictEqual(session.preparation, null);
});

/** Names enough for many slices. */
const MANY = Array.from({ length: 5000 }, (_, i) => `n${i}`);

thorough(
  "SUBSCRIBE of very many names acknowledges each, and messages come; UNSUBSCRIBE takes all back",
  async () => {
    for (const [subscribe, unsubscribe] of [["SUBSCRIBE", "UNSUBSCRIBE"], ["PSUBSCRIBE", "PUNSUBSCRIBE"]]) {
      const stand = await Stand.make();
      const client = stand.talker();
      client.say(subscribe!, ...MANY);
      stand.run(60_000);
      const acknowledged = (word: string, count: (i: number) => number) =>
        MANY.map((name, i) =>
          `*3\r\n$${word.length}\r\n${word.toLowerCase()}\r\n$${name.length}\r\n${name}\r\n:${count(i)}\r\n`
        ).join("");
      ok(client.take() === acknowledged(subscribe!, (i) => i + 1), "every name is acknowledged, in order");
      strictEqual(stand.ask("PUBLISH", "n4321", "hello"), ":1\r\n");
      ok(client.take().endsWith("$5\r\nn4321\r\n$5\r\nhello\r\n"));
      client.say(unsubscribe!);
      stand.run(60_000);
      // In whatever order, as redis-server, whose names are in a hash table; each is one less.
      const lines = client.take().split("\r\n");
      const left = Array.from(MANY, (_, i) => lines[6 * i + 5]);
      strictEqual(lines.length, 6 * MANY.length + 1);
      deepStrictEqual(left, MANY.map((_, i) => `:${MANY.length - 1 - i}`), "and taken back");
      deepStrictEqual(MANY.map((_, i) => lines[6 * i + 4]).sort(), [...MANY].sort());
      ok(lines.every((line, i) => i % 6 !== 2 || line === unsubscribe!.toLowerCase()));
      client.say("PING");
      stand.run();
      strictEqual(client.take(), "+PONG\r\n");
      strictEqual(stand.ask("PUBLISH", "n4321", "hello"), ":0\r\n");
    }
  },
);

thorough("a client that goes away, or says RESET, leaves its very many channels", async () => {
  const stand = await Stand.make();
  for (const end of ["RESET", ""]) {
    const client = stand.talker();
    client.say("SUBSCRIBE", ...MANY);
    stand.run(60_000);
    client.take();
    if (end === "") client.socket.destroy();
    else client.say(end).say("SUBSCRIBE", "n1", "again");
    stand.run(60_000);
    const again = end === "" ? 0 : 1;
    if (end !== "") ok(client.take().endsWith("$5\r\nagain\r\n:2\r\n"));
    strictEqual(stand.ask("PUBLISH", "n1", "x"), `:${again}\r\n`);
    strictEqual(stand.ask("PUBLISH", "n2", "x"), ":0\r\n");
    client.socket.destroy();
    stand.run();
  }
});
