/**
 * Gets of one turn in one line, on the simulator's network: what happens when a turn is long, a server fails, or its replies come
 * in pieces. tests/unit/get_batch_test.ts has the batch alone.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import type { Client } from "../../src/proxy/client.ts";
import { Proxy } from "../../src/service/proxy.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import { REQUESTS, RESPONSES } from "../../src/stats/metrics.ts";
import { latin1 } from "../lib/bytes.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { Reader, SYSTEM } from "../sim/reader.ts";

const SERVER = "10.0.0.1:11211";
const TIMEOUT_MS = 1000;
const LISTENING = { backlog: 1, reusePort: false, keepAlive: false };

class Peer extends Reader {
  say(text: string): void {
    this.send(latin1(text));
  }
}

/** A pool of one server that says what the test says, and clients that have connected. */
class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly server = new Peer();
  readonly peers: Peer[] = [];
  readonly config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n  timeout: ${TIMEOUT_MS}\n  servers:\n    - ${SERVER}:1\n`,
    "sim.yml",
  );
  readonly proxy = new Proxy({
    config: this.config,
    net: this.net,
    clock: this.clock,
    random: new Random(2).next,
    log: { level: 0, write: () => {} },
    system: SYSTEM,
  });

  static async make(clients: number): Promise<Stand> {
    const stand = new Stand();
    await stand.net.listen(stand.config.pools[0]!.servers[0]!.address!, stand.server, LISTENING);
    await stand.proxy.listen(null);
    for (let i = 0; i < clients; i++) {
      const peer = new Peer();
      stand.net.connect(stand.config.pools[0]!.listen, peer, null);
      stand.peers.push(peer);
      stand.run(1);
    }
    // A first get connects, and teaches that values are small.
    for (let i = 0; i < 20; i++) {
      stand.clients[0]!.receive(latin1("get first\r\n"));
      stand.clients[0]!.receive(latin1("get first\r\n"));
      stand.run(1);
      stand.server.say("END\r\n");
      stand.run(1);
    }
    stand.server.take();
    stand.peers[0]!.take();
    return stand;
  }

  get clients(): Client[] {
    return [...this.proxy.pools[0]!.clients];
  }

  get connection(): ServerConnection {
    return this.proxy.pools[0]!.servers[0]!.connection(0, 0)!;
  }

  get counters(): Float64Array {
    return this.proxy.pools[0]!.servers[0]!.counters;
  }

  run(ms: number): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** Client i's bytes come now, in the turn that goes on until `run`. */
  receive(i: number, text: string): void {
    this.clients[i]!.receive(latin1(text));
  }
}

const value = (key: string) => `VALUE ${key} 0 ${key.length}\r\n${key}\r\n`;

Deno.test("gets of one turn are one line; another request ends it, and the order stays", async () => {
  const stand = await Stand.make(3);
  const before = [stand.counters[REQUESTS]!, stand.counters[RESPONSES]!];
  stand.receive(0, "get a\r\nget b\r\nset c 0 0 1\r\nx\r\nget c\r\n");
  stand.receive(1, "get d\r\ngets e\r\ngets f\r\n");
  stand.receive(2, "gets   a  \r\nget a b\r\n");
  stand.run(1);
  strictEqual(stand.server.take(), "get a b\r\nset c 0 0 1\r\nx\r\nget c d\r\ngets e f a\r\nget a b\r\n");
  for (const byte of `${value("b")}END\r\nSTORED\r\n${value("d")}${value("c")}END\r\nEND\r\nEND\r\n`) {
    stand.server.say(byte);
    stand.run(1);
  }
  deepStrictEqual(stand.peers.map((peer) => peer.take()), [
    `END\r\n${value("b")}END\r\nSTORED\r\n${value("c")}END\r\n`,
    `${value("d")}END\r\nEND\r\nEND\r\n`,
    "END\r\nEND\r\n",
  ]);
  strictEqual(stand.counters[REQUESTS]! - before[0]!, 9);
  strictEqual(stand.counters[RESPONSES]! - before[1]!, 9);
});

for (const joined of [1, 2]) {
  Deno.test(`after a turn longer than timeout, nobody joins ${joined} overdue get(s)`, async () => {
    const stand = await Stand.make(4);
    for (let i = 0; i < joined; i++) stand.receive(i, `get k${i}\r\n`);
    // What the loop does when time has passed within the turn.
    stand.connection.sweep(stand.clock.nowMs() + TIMEOUT_MS + 1);
    stand.receive(2, "get x\r\n");
    stand.receive(3, "get y\r\n");
    stand.run(1);
    const lines = `get${joined === 1 ? " k0" : " k0 k1"}\r\nget x y\r\n`;
    strictEqual(stand.server.take(), lines);
    for (let i = 0; i < joined; i++) match(stand.peers[i]!.take(), /^SERVER_ERROR .*timed out.*\r\n$/);
    stand.server.say(`${value("k0")}END\r\n${value("y")}END\r\n`);
    stand.run(1);
    deepStrictEqual(stand.peers.map((peer) => peer.take()), ["", "", "END\r\n", `${value("y")}END\r\n`]);
  });
}

Deno.test("a server that fails in the middle: who has a value keeps it, the others are told, and the next are served", async () => {
  const stand = await Stand.make(4);
  for (const [i, key] of ["a", "b", "c"].entries()) stand.receive(i, `get ${key}\r\n`);
  stand.run(1);
  stand.server.say(`${value("b")}VALUE c 0 1\r\n`);
  stand.run(1);
  strictEqual(stand.peers[1]!.take(), `${value("b")}END\r\n`);
  stand.server.socket.destroy();
  stand.run(1);
  const said = stand.peers.map((peer) => peer.take());
  for (const i of [0, 2]) match(said[i]!, /^SERVER_ERROR Connection reset by peer/);
  deepStrictEqual([said[1], said[3]], ["", ""]);
  stand.receive(3, "get d\r\n");
  stand.receive(0, "get a\r\n");
  stand.run(5);
  strictEqual(stand.server.take().endsWith("get d a\r\n"), true);
  stand.server.say(`${value("d")}END\r\n`);
  stand.run(1);
  deepStrictEqual([stand.peers[3]!.take(), stand.peers[0]!.take()], [`${value("d")}END\r\n`, "END\r\n"]);
});

Deno.test("a value that nobody asked for ends the connection, and nobody gets it", async () => {
  const stand = await Stand.make(2);
  const { connection } = stand;
  stand.receive(0, "get a\r\n");
  stand.receive(1, "get b\r\n");
  stand.run(1);
  stand.server.say(`${value("a")}${value("z")}END\r\n`);
  stand.run(1);
  const [first, second] = stand.peers.map((peer) => peer.take());
  strictEqual(first, `${value("a")}END\r\n`);
  match(second!, /^SERVER_ERROR /);
  ok(connection !== stand.connection, "a new connection");
});

Deno.test("a server that changes keys is asked for one at a time after the first failure", async () => {
  const stand = await Stand.make(2);
  const asked: string[] = [];
  for (let round = 0; round < 3; round++) {
    stand.receive(0, "get a\r\n");
    stand.receive(1, "get b\r\n");
    stand.run(5);
    for (const line of stand.server.take().split("\r\n")) {
      if (!line.startsWith("get ")) continue;
      asked.push(line);
      stand.server.say(`${line.split(" ").slice(1).map((key) => value(`prefix/${key}`)).join("")}END\r\n`);
    }
    stand.run(5);
    const said = stand.peers.map((peer) => peer.take());
    if (round === 0) said.forEach((text) => match(text, /^SERVER_ERROR /));
    else deepStrictEqual(said, [`${value("prefix/a")}END\r\n`, `${value("prefix/b")}END\r\n`]);
  }
  deepStrictEqual(asked, ["get a b", "get a", "get b", "get a", "get b"]);
});

Deno.test("large values are asked for one by one, and small ones together again", async () => {
  const stand = await Stand.make(2);
  const big = "x".repeat(300_000);
  const lines: number[] = [];
  for (let round = 0; round < 60; round++) {
    stand.receive(0, "get a\r\n");
    stand.receive(1, "get b\r\n");
    stand.run(1);
    const asked = stand.server.take().split("\r\n").filter((line) => line !== "");
    lines.push(asked.length);
    const large = round < 30;
    for (const line of asked) {
      for (const key of line.split(" ").slice(1)) {
        stand.server.say(large ? `VALUE ${key} 0 ${big.length}\r\n${big}\r\n` : value(key));
      }
      stand.server.say("END\r\n");
    }
    stand.run(50);
    for (const peer of stand.peers) ok(peer.take().endsWith("END\r\n"));
  }
  const apart = (from: number, to: number) => lines.slice(from, to).filter((count) => count === 2).length;
  ok(apart(10, 30) > 10, `large: ${lines}`);
  strictEqual(apart(50, 60), 0, `small again: ${lines}`);
});
