/** Commands that only servers know, over simulated servers that say what a test wants: what is asked, when, and by whom. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import type { Address, Socket } from "../../src/net/net.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { latin1 } from "../lib/bytes.ts";
import { parseReply } from "../lib/resp.ts";
import { SimClock } from "./clock.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { Reader, SYSTEM, Talker } from "./reader.ts";

/** COMMAND INFO's reply for a command with these old three numbers and flags. */
const info = (name: string, first: number, last: number, step: number, ...flags: string[]) =>
  `*1\r\n*7\r\n$${name.length}\r\n${name}\r\n:-2\r\n*${flags.length}\r\n${
    flags.map((flag) => `+${flag}\r\n`).join("")
  }:${first}\r\n:${last}\r\n:${step}\r\n*0\r\n`;
const UNKNOWN = "*1\r\n*-1\r\n";

/** Answers each request by `answer`, and remembers it. */
class Scripted {
  readonly got: string[] = [];
  /** Connections accepted. */
  accepted = 0;
  /** Accepts and closes, as a port does that something forwards to where nothing listens. */
  closes = false;
  answer: (request: string) => string | null = () => "+OK\r\n";

  async listen(net: SimNet, address: Address): Promise<void> {
    await net.listen(address, {
      open: (socket) => {
        this.accepted++;
        socket.owner = new Reader();
        if (this.closes) socket.destroy();
      },
      data: (socket, view) => this.take(socket, socket.owner as Reader, view),
      eof: (socket) => socket.end(),
      drain: () => {},
      close: () => {},
    }, { backlog: 16, reusePort: false, keepAlive: false });
  }

  private take(socket: Socket, reader: Reader, view: Uint8Array): void {
    reader.data(socket, view);
    for (;;) {
      const bytes = latin1(reader.read);
      const found = parseReply(bytes, 0, bytes.length);
      if (found === null) return;
      reader.read = reader.read.slice(found.end);
      const words = (found.value as string[]).join(" ");
      this.got.push(words);
      const reply = latin1(this.answer(words) ?? "");
      socket.send(reply, 0, reply.length);
      socket.flush();
    }
  }

  /** What has come since the last time. */
  takeGot(): string[] {
    return this.got.splice(0);
  }
}

class World {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly servers: Scripted[] = [];
  proxy!: Proxy;

  /** Pools of `counts` servers each; all servers together are in `servers`. */
  static async of(...counts: number[]): Promise<World> {
    const world = new World();
    let n = 0;
    const pools = counts.map((count, pool) =>
      `pool${pool}:\n  listen: 127.0.0.1:${22121 + pool}\n  redis: true\n  timeout: 1000\n  servers:\n` +
      Array.from({ length: count }, () => `    - 10.0.0.${++n}:6379:1\n`).join("")
    );
    const config = parseConfig(pools.join(""), "sim");
    for (const { address } of config.pools.flatMap((pool) => pool.servers)) {
      const server = new Scripted();
      await server.listen(world.net, address!);
      world.servers.push(server);
    }
    const log = { level: 0, write: () => {} };
    const { net, clock } = world;
    world.proxy = new Proxy({ config, net, clock, random: new Random(2).next, log, system: SYSTEM });
    await world.proxy.listen(null);
    return world;
  }

  client(pool = 0): Talker {
    return new Talker(this.net, this.proxy.pools[pool]!.config.listen);
  }

  run(ms: number): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  keyOn(server: number, pool = 0): string {
    const { placement } = this.proxy.pools[pool]!;
    for (let i = 0;; i++) {
      const key = latin1(`key${i}`);
      if (placement.serverOf(key, 0, key.length) === server) return `key${i}`;
    }
  }
}

Deno.test("a pool's learned rows are its own: one name may be two commands", async () => {
  const world = await World.of(2, 2);
  world.servers.forEach((server, i) => {
    server.answer = (words) =>
      !words.startsWith("COMMAND") ? "+OK\r\n" : i < 2 ? info("m.x", 1, 1, 1) : info("m.x", 2, 2, 1);
  });
  const clients = [0, 1].map((pool) =>
    world.client(pool).say("m.x", world.keyOn(0, pool), world.keyOn(1, pool))
  );
  world.run(100);
  assert.deepEqual(clients.map(({ read }) => read), ["+OK\r\n", "+OK\r\n"]);
  const got = world.servers.map((server) => server.got.filter((words) => words.startsWith("m.x")).length);
  assert.deepEqual(got, [1, 0, 0, 1]);
  world.proxy.stop();
});

Deno.test("a server of another version is learned from again, and a module that is gone is unknown", async () => {
  const world = await World.of(2);
  const keys = [world.keyOn(0), world.keyOn(1)];
  const client = world.client();
  let said = info("m.x", 1, 1, 1);
  for (const server of world.servers) {
    server.answer = (words) => words.startsWith("COMMAND") ? said : "+OK\r\n";
  }
  const where = () => {
    const got = world.servers.map((server) =>
      server.takeGot().filter((words) => words.startsWith("m.x")).length
    );
    return got.indexOf(1);
  };
  const ask = () => {
    client.say("m.x", keys[0]!, keys[1]!);
    world.run(100);
    return where();
  };
  assert.equal(ask(), 0);
  said = info("m.x", 2, 2, 1);
  // In use all the time: the row is asked for again on the side.
  for (let i = 0; i < 12; i++) {
    world.run(1000);
    ask();
  }
  assert.equal(ask(), 1);
  // Not in use: before anything goes to a server, it is asked.
  said = info("m.x", 1, 1, 1);
  world.run(60_000);
  assert.equal(ask(), 0);
  said = UNKNOWN;
  world.run(60_000);
  client.take();
  assert.equal(ask(), -1);
  assert.match(client.read, /^-ERR unknown command 'm\.x'/);
  world.proxy.stop();
});

Deno.test("names that no server knows are asked for so often and no more, and known ones go on", async () => {
  const world = await World.of(2);
  for (const server of world.servers) {
    server.answer = (words) =>
      !words.startsWith("COMMAND") ? "+OK\r\n" : words.endsWith("m.x") ? info("m.x", 1, 1, 1) : UNKNOWN;
  }
  const good = world.client().say("m.x", "k");
  world.run(100);
  const bad = world.client();
  const from = world.clock.nowMs();
  for (let i = 0; i < 5000; i++) bad.say(`no.${i}`);
  while (bad.read.split("\n").length <= 5000) world.run(10);
  assert.equal(bad.read.match(/-ERR unknown command 'no\.\d+'/g)!.length, 5000);
  const seconds = (world.clock.nowMs() - from) / 1000;
  const asked = world.servers.flatMap(({ got }) => got).filter((words) => words.includes("no.")).length;
  assert.ok(asked <= 500 + 50 * seconds + 1, `${asked} in ${seconds} s`);
  good.say("m.x", "k");
  world.run(20_000);
  good.say("m.x", "k");
  world.run(100);
  assert.equal(good.read, "+OK\r\n".repeat(3));
  world.proxy.stop();
});

Deno.test("COMMAND GETKEYS: the client's order is kept, others do not wait, and no answer is an error", async () => {
  const world = await World.of(2);
  const [a, b] = [world.keyOn(0), world.keyOn(1)];
  let silent = false;
  for (const server of world.servers) {
    server.answer = (words) =>
      words.startsWith("COMMAND INFO")
        ? info("m.x", 1, 1, 1, "movablekeys")
        : words.startsWith("COMMAND GETKEYS m.x")
        ? silent ? null : `*1\r\n$${words.split(" ")[3]!.length}\r\n${words.split(" ")[3]}\r\n`
        : `+${words}\r\n`;
  }
  const client = world.client();
  client.say("GET", a).say("m.x", b, "1").say("GET", b).say("m.x", a, "2").say("GET", a);
  world.run(200);
  assert.equal(client.take(), `+GET ${a}\r\n+m.x ${b} 1\r\n+GET ${b}\r\n+m.x ${a} 2\r\n+GET ${a}\r\n`);
  silent = true;
  client.say("m.x", b, "3");
  const other = world.client();
  world.run(100);
  other.say("GET", b);
  world.run(100);
  assert.equal(other.read, `+GET ${b}\r\n`);
  world.run(3000);
  assert.match(client.read, /^-ERR 'M\.X': only a server can tell its keys, and did not \(.*\)[^\r]*\r\n$/);
  assert.ok(!world.servers.some(({ got }) => got.includes(`m.x ${b} 3`)));
  world.proxy.stop();
});

Deno.test("what servers cannot be asked that accept and close is told in the end, and they are not stormed", async () => {
  const hello = "*4\r\n+server\r\n+valkey\r\n+version\r\n+9.1.2\r\n";
  for (const closing of [[1], [0], [0, 1]]) {
    const world = await World.of(2);
    world.servers.forEach((server, i) => {
      server.answer = (words) => words.startsWith("HELLO") ? hello : "+OK\r\n";
      server.closes = closing.includes(i);
    });
    const clients = [world.client(), world.client()];
    for (const client of clients) client.say("HELLO", "2").say("HELLO", "2").say("m.x", "a").say("PING");
    world.run(2000);
    for (const client of clients) {
      assert.equal(client.read.match(/version/g)?.length, 2, client.read);
      assert.match(client.read, /\r\n-ERR unknown command [^\r]+\r\n\+PONG\r\n$/);
    }
    for (const i of closing) {
      const { accepted } = world.servers[i]!;
      assert.ok(accepted > 0 && accepted <= 8, `${accepted} connections`);
    }
    world.proxy.stop();
  }
});

Deno.test("where the first server accepts and closes, the next one is asked what a command is, and for its keys", async () => {
  const world = await World.of(2);
  const key = world.keyOn(1);
  const [first, second] = world.servers as [Scripted, Scripted];
  first.closes = true;
  second.answer = (words) =>
    words.startsWith("COMMAND INFO")
      ? info("m.x", 1, 1, 1, "movablekeys")
      : words.startsWith("COMMAND GETKEYS")
      ? `*1\r\n$${key.length}\r\n${key}\r\n`
      : `+${words}\r\n`;
  const client = world.client();
  client.say("m.x", key, "1").say("m.x", key, "2");
  world.run(1000);
  assert.equal(client.take(), `+m.x ${key} 1\r\n+m.x ${key} 2\r\n`);
  world.proxy.stop();
});

Deno.test("what a server has told of the keys of a request that is then refused counts for no other", async () => {
  const world = await World.of(2);
  const [a, b] = [world.keyOn(0), world.keyOn(1)];
  const { memory } = world.proxy.pools[0]!;
  let refuses = true;
  for (const server of world.servers) {
    server.answer = (words) => {
      if (words.startsWith("COMMAND INFO")) return info("m.x", 1, 1, 1, "movablekeys");
      if (!words.startsWith("COMMAND GETKEYS")) return `+${words}\r\n`;
      memory.full = refuses;
      return `*1\r\n$${words.split(" ")[3]!.length}\r\n${words.split(" ")[3]}\r\n`;
    };
  }
  const client = world.client().say("m.x", a);
  world.run(10);
  assert.match(client.take(), /^-ERR out of memory: [^\r]*\r\n$/);
  memory.full = refuses = false;
  client.say("m.x", b, a);
  world.run(100);
  assert.equal(client.take(), `+m.x ${b} ${a}\r\n`);
  assert.ok(world.servers[1]!.got.includes(`m.x ${b} ${a}`), "it went where its own key is");

  // Nor does it let a user at a key that his rules do not give him.
  const [pool] = world.proxy.pools;
  const users = `  users: [{ name: default, nopass: true, rules: "+@all ~${a}" }]\n`;
  const text = `p:\n  listen: 127.0.0.1:1\n  redis: true\n${users}  servers: [ 10.0.0.1:6379:1 ]\n`;
  pool!.adopt({ ...pool!.config, users: parseConfig(text, "sim").pools[0]!.users });
  refuses = true;
  client.say("m.x", a);
  world.run(10);
  assert.match(client.take(), /^-ERR out of memory/);
  memory.full = refuses = false;
  client.say("m.x", b, a);
  world.run(100);
  assert.match(client.take(), /^-NOPERM this user has no permissions to access one of the keys/);
  world.proxy.stop();
});
