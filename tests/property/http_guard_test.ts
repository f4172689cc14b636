/**
 * HTTP on a pool's port: the connection ends at its first word, nothing behind it runs, and the log says so without being flooded.
 * The whole proxy on the simulator's network.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { CLIENT_ERR, PROTOCOL_ERROR } from "../../src/stats/metrics.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";
import { SimServer } from "../sim/sim_server.ts";
import { Truth } from "../sim/truth.ts";
import { latin1 } from "../lib/bytes.ts";

const POOLS = `
redis: {listen: "127.0.0.1:1", redis: true, servers: ["10.0.0.1:6379:1"]}
locked: {listen: "127.0.0.1:2", redis: true, redis_auth: secret, servers: ["10.0.0.1:6379:1"]}
memcached: {listen: "127.0.0.1:3", servers: ["10.0.0.2:11211:1"]}
`;

class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly config = parseConfig(POOLS, "sim.yml");
  readonly lines: string[] = [];
  readonly proxy = new Proxy({
    config: this.config,
    net: this.net,
    clock: this.clock,
    random: new Random(2).next,
    log: { level: 5, write: (_, text) => void this.lines.push(text) },
    system: SYSTEM,
  });

  static async make(): Promise<Stand> {
    const stand = new Stand();
    for (const [i, redis] of [true, false].entries()) {
      const { address } = stand.config.pools[i * 2]!.servers[0]!;
      const { net, clock } = stand;
      await new SimServer(i, address!, redis, net, clock, new Truth(), new Random(3 + i), null).listen();
    }
    await stand.proxy.listen(null);
    return stand;
  }

  talker(pool: number): Talker {
    return new Talker(this.net, this.config.pools[pool]!.listen);
  }

  run(ms = 1000): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  attacks(): string[] {
    return this.lines.filter((line) => line.includes("HTTP"));
  }

  /** What a client reads that sends `text` in two pieces, and whether it was closed. */
  say(pool: number, text: string, cut = text.length): string {
    const client = this.talker(pool);
    client.send(latin1(text.slice(0, cut)));
    this.run(50);
    if (!client.closed) client.send(latin1(text.slice(cut)));
    this.run(50);
    const said = client.take() + (client.closed ? "<closed>" : "");
    client.socket!.destroy();
    this.run(50);
    return said;
  }
}

const SET = "*3\r\n$3\r\nSET\r\n$5\r\npwned\r\n$1\r\n1\r\n";

Deno.test("Redis: POST and Host: close the connection, and nothing behind them runs", async () => {
  const stand = await Stand.make();
  const pages = [
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nSET pwned 1\r\n",
    `host:\r\n${SET}`,
    `*1\r\n$4\r\npOsT\r\n${SET}`,
    `*2\r\n$5\r\nHOST:\r\n$1\r\nx\r\n${SET}`,
    `"post" x\r\n${SET}`,
  ];
  for (const page of pages) {
    for (const pool of [0, 1]) strictEqual(stand.say(pool, page), "<closed>", page);
    for (let cut = 1; cut < page.length; cut++) {
      strictEqual(stand.say(0, page, cut), "<closed>", `${page} cut at ${cut}`);
    }
  }
  strictEqual(stand.say(0, "MULTI\r\nSET pwned 1\r\nPOST\r\nEXEC\r\n", 7), "+OK\r\n<closed>");
  strictEqual(
    stand.say(0, `SUBSCRIBE c\r\nHost: x\r\n${SET}`, 13),
    "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n<closed>",
  );
  strictEqual(stand.say(0, `CLIENT REPLY OFF\r\nHost: x\r\n${SET}`), "<closed>");
  const early = stand.talker(0);
  stand.run(50);
  stand.proxy.memory.full = true;
  early.send(latin1(pages[0]!));
  stand.run(50);
  strictEqual(early.take(), "");
  ok(early.closed);
  stand.proxy.memory.full = false;
  strictEqual(stand.say(0, "GET pwned\r\n"), "$-1\r\n");
  // GET is a command of both; the line behind it is not.
  match(stand.say(0, `GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: x\r\n${SET}`), /^-ERR wrong .*<closed>$/s);
});

Deno.test("memcached: POST, Host: and HTTP/ close the connection, and nothing behind them runs", async () => {
  const stand = await Stand.make();
  const set = "set pwned 0 0 1\r\n1\r\n";
  const pages = [
    `POST / HTTP/1.1\r\nHost: x\r\n\r\n${set}`,
    `hOST: x\r\n${set}`,
    `post\n${set}`,
    `HEAD / HTTP/1.0\r\n${set}`,
    `host:\0\r\n${set}`,
  ];
  for (const page of pages) {
    for (let cut = 1; cut <= page.length; cut++) {
      strictEqual(stand.say(2, page, cut), "<closed>", `${page} cut at ${cut}`);
    }
  }
  const early = stand.talker(2);
  stand.run(50);
  stand.proxy.memory.full = true;
  early.send(latin1(pages[0]!));
  stand.run(50);
  strictEqual(early.take(), "");
  ok(early.closed);
  stand.proxy.memory.full = false;
  strictEqual(stand.say(2, "get pwned\r\n"), "END\r\n");
});

Deno.test("TLS on a pool without it is told of and closed, wherever its bytes are cut", async () => {
  const stand = await Stand.make();
  // A ClientHello's head; then anything, with a line end among it or without.
  const head = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
  const pages = [`${head}abc`, `${head}ab\nget x\n`, `${head}a"b\r\nc`, `${head}${"x".repeat(3000)}`];
  for (const page of pages) {
    for (const pool of [0, 1, 2]) {
      for (const cut of [1, 2, 3, 12, 14, page.length]) {
        const said = stand.say(pool, page, cut);
        match(said, /^(-ERR|SERVER_ERROR|CLIENT_ERROR|ERROR) .*this port does not speak TLS\r\n<closed>$/);
      }
    }
  }
  const lines = stand.lines.filter((line) => line.includes("speaks TLS"));
  match(lines[0]!, /^c \d+ '.+' in pool 'redis' speaks TLS, but the pool has no 'tls', closing$/);
  // Each costs 150 ms of the clock, and a second has one line.
  ok(lines.length < pages.length * 3 * 6 / 5, lines.join("\n"));
  match(lines[1]!, /; so did \d+ more since this was last said$/);
  // Control bytes that are no ClientHello are what they were.
  match(stand.say(0, "\x16\x02\x01\r\n"), /^-ERR unknown command/);
});

Deno.test("HTTP is logged with the peer, a line a second, and how many were passed over", async () => {
  const stand = await Stand.make();
  const counters = stand.proxy.pools[0]!.counters;
  for (let i = 0; i < 5; i++) stand.say(0, "POST / HTTP/1.1\r\n");
  stand.say(2, "POST / HTTP/1.1\r\n");
  deepStrictEqual([counters[PROTOCOL_ERROR], counters[CLIENT_ERR]], [5, 5]);
  const line =
    /^possible attack: c 1 '.+' in pool 'redis' speaks HTTP \(cross-protocol scripting\?\), closing$/;
  strictEqual(stand.attacks().length, 1);
  match(stand.attacks()[0]!, line);
  stand.run(1000);
  stand.say(2, "Host: x\r\n");
  strictEqual(stand.attacks().length, 2);
  match(stand.attacks()[1]!, /in pool 'memcached' .*, closing; so did 5 more since this was last said$/);
});
