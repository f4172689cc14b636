/** Mistakes that the simulation found, each as the smallest world that shows it. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { serveMemory } from "../../src/demo/serve.ts";
import type { Address, Handler } from "../../src/net/net.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { OUTPUT, SERVER, SLICED } from "../../src/proxy/client.ts";
import { Request } from "../../src/proxy/request.ts";
import { SERVER_CONNECTIONS } from "../../src/stats/metrics.ts";
import { makeBoard } from "../../src/service/ceilings.ts";
import { Board } from "../../src/stats/board.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { FakeRedis } from "../lib/fake_redis.ts";
import { SimClock } from "./clock.ts";
import { SimNet, type SimSocket } from "./net.ts";
import { Random } from "./random.ts";
import { Reader, SYSTEM } from "./reader.ts";
import { SimServer } from "./sim_server.ts";
import { Truth } from "./truth.ts";

interface Stand {
  readonly clock: SimClock;
  readonly net: SimNet;
  readonly proxy: Proxy;
  readonly addresses: readonly Address[];
  readonly servers: readonly SimServer[];
}

/** A pool of `count` model servers. */
async function stand(
  yml: string,
  count: number,
  redis = true,
  sliceArguments = 4096,
  lines: string[] = [],
): Promise<Stand> {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const servers = Array.from({ length: count }, (_, i) => `    - 10.0.0.${i + 1}:6379:1\n`).join("");
  const config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:22121\n  redis: ${redis}\n${yml}  servers:\n${servers}`,
    "sim",
  );
  const truth = new Truth();
  const addresses = config.pools[0]!.servers.map((server) => server.address!);
  const models = addresses.map((address, i) =>
    new SimServer(i, address, redis, net, clock, truth, new Random(3 + i), null)
  );
  for (const model of models) await model.listen();
  const log = { level: 0, write: (_: number, text: string) => void lines.push(text) };
  const random = new Random(2).next;
  const proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments });
  await proxy.listen(null);
  return { clock, net, proxy, addresses, servers: models };
}

/** A key of the server with this index, while all are on the ring. */
function keyOn({ proxy }: Stand, server: number): string {
  const { placement } = proxy.pools[0]!;
  for (let i = 0;; i++) {
    const key = `key${i}`;
    if (placement.serverOf(latin1(key), 0, key.length) === server) return key;
  }
}

/** The push that says that a key has changed; null = all have. */
function invalidation(key: string | null): string {
  return `>2\r\n$10\r\ninvalidate\r\n${key === null ? "_" : `*1\r\n$${key.length}\r\n${key}`}\r\n`;
}

/** A RESP3 client that tracks, and has read nothing yet. */
function tracker(world: Stand, options = ""): Talker {
  const client = new Talker(world);
  client.say(`HELLO 3\r\nCLIENT TRACKING ON${options}\r\n`);
  world.clock.run(world.clock.nowMs() + 100);
  assert.match(client.read, /\+OK\r\n$/);
  client.read = "";
  return client;
}

function runFor({ clock }: Stand, ms: number): void {
  clock.run(clock.nowMs() + ms);
}

/** A client that sends what it is told; `read` grows. */
class Talker extends Reader {
  constructor({ net, proxy }: Stand) {
    super();
    this.socket = net.connect(proxy.pools[0]!.config.listen, this, null);
  }

  say(text: string): void {
    this.send(latin1(text));
  }

  halfClose(): void {
    (this.socket as SimSocket).halfClose();
  }
}

/** What a client reads that sends `bytes` to a pool of one Redis, within a minute. */
async function readThrough(yml: string, bytes: Uint8Array): Promise<string> {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n${yml}  servers:\n    - 10.0.0.1:6379:1\n`,
    "sim.yml",
  );
  const random = new Random(2).next;
  const redis = new MemoryRedis({ nowMs: () => clock.wallMs(), random });
  await serveMemory(net, config.pools[0]!.servers[0]!.address!, redis);
  const proxy = new Proxy({
    config,
    net,
    clock,
    random,
    log: { level: 0, write: () => {} },
    system: SYSTEM,
  });
  await proxy.listen(null);
  let read = "";
  const handler: Handler = {
    open: () => {},
    data: (_socket, view) => void (read += textOf(view)),
    eof: (socket) => socket.end(),
    drain: () => {},
    close: () => {},
  };
  const socket = net.connect(config.pools[0]!.listen, handler, null);
  socket.send(bytes, 0, bytes.length);
  clock.run(60_000);
  proxy.stop();
  return read;
}

Deno.test("LargeRequest goes on to be read with max_in_flight: 1", async () => {
  const set = request("SET", "k", "v".repeat(3_000_000));
  assert.equal(
    await readThrough("  max_in_flight: 1\n", latin1(textOf(set) + "PING\r\n")),
    "+OK\r\n+PONG\r\n",
  );
});

Deno.test("Upstream of a SUBSCRIBE that failed does not connect again", async () => {
  const world = await stand("", 1);
  const client = new Talker(world);
  world.net.down(world.addresses[0]!);
  client.say("SUBSCRIBE a\r\n");
  world.clock.run(1000);
  assert.match(client.read, /^-ERR Connection refused/);
  world.net.up(world.addresses[0]!);
  world.clock.run(60_000);
  assert.equal([...world.net.sockets].filter((socket) => socket.key.startsWith("10.")).length, 0);
  // Nor does an old connection bring messages twice.
  client.say("SUBSCRIBE a\r\n");
  world.clock.run(61_000);
  const other = new Talker(world);
  other.say("PUBLISH a hello\r\n");
  world.clock.run(62_000);
  assert.equal(client.read.split("hello").length, 2);
  world.proxy.stop();
});

Deno.test("PubSub hears a message on whatever server distribution random publishes it", async () => {
  const world = await stand("  distribution: random\n", 3);
  const client = new Talker(world);
  client.say("SUBSCRIBE a\r\n");
  const other = new Talker(world);
  world.clock.run(100);
  for (let i = 0; i < 12; i++) other.say(`PUBLISH a message${i}\r\n`);
  world.clock.run(200);
  assert.equal(other.read, ":1\r\n".repeat(12));
  assert.equal(client.read.split("message").length, 2 * 12 + 1);
  world.proxy.stop();
});

Deno.test("idle_timeout spares who is subscribed, as Redis does", async () => {
  const world = await stand("  idle_timeout: 2000\n", 1);
  const [subscriber, idle] = [new Talker(world), new Talker(world)];
  subscriber.say("SUBSCRIBE a\r\n");
  idle.say("PING\r\n");
  world.clock.run(60_000);
  assert.equal(world.proxy.pools[0]!.clients.size, 1);
  const other = new Talker(world);
  other.say("PUBLISH a hello\r\n");
  world.clock.run(60_500);
  assert.match(subscriber.read, /hello/);
  world.proxy.stop();
});

Deno.test("BlockingCall that begins while the proxy stops is ended like the others", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const world = await stand("", 2);
    const client = new Talker(world);
    client.say("PING\r\n");
    world.clock.run(10);
    let owed = -1;
    void world.proxy.drain(2000).then((count) => owed = count);
    world.clock.run(20 + seed / 10);
    client.say("BLPOP a 100\r\n");
    await world.clock.runAsync(() => owed >= 0);
    assert.equal(client.read, "+PONG\r\n*-1\r\n");
    assert.equal(owed, 0);
  }
});

Deno.test("SUBSCRIBE is bound by timeout, and a server that went silent is connected to again", async () => {
  const world = await stand("  timeout: 100\n  connect_timeout: 50\n", 1);
  const [first, second] = [new Talker(world), new Talker(world)];
  first.say("SUBSCRIBE a\r\n");
  world.clock.run(100);
  world.net.down(world.addresses[0]!, true);
  second.say("SUBSCRIBE b\r\n");
  world.clock.run(500);
  assert.match(second.read, /^-ERR Connection timed out/);
  world.net.up(world.addresses[0]!);
  world.clock.run(5000);
  second.say("PUBLISH a hello\r\n");
  world.clock.run(6000);
  assert.match(first.read, /hello/);
  world.proxy.stop();
});

Deno.test("Client takes all requests that came before a FIN, also behind muted ones", async () => {
  const world = await stand("", 2);
  const client = new Talker(world);
  world.clock.run(10);
  // A client that waits for its leased connection is read on, so the FIN is seen while requests wait in the inbox.
  client.say("WATCH a\r\nCLIENT REPLY OFF\r\nPING\r\nPING\r\nCLIENT REPLY ON\r\nGET b\r\nPING\r\n");
  client.halfClose();
  world.clock.run(1000);
  assert.equal(client.read, "+OK\r\n+OK\r\n$-1\r\n+PONG\r\n");
  world.proxy.stop();
});

Deno.test("who watches a key of a server that leaves the ring meanwhile has lost the watch, and writes where everybody looks", async () => {
  const yml = "  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n";
  const world = await stand(yml, 2);
  const client = new Talker(world);
  const pool = world.proxy.pools[0]!;
  const key = keyOn(world, 0);
  client.say(`WATCH ${key}\r\n`);
  runFor(world, 100);
  // Its connection is well: others have failed.
  pool.ejection.failed(pool.servers[0]!);
  const transaction = `MULTI\r\nSET ${key} 1\r\nEXEC\r\n`;
  client.say(transaction);
  runFor(world, 100);
  assert.equal(client.read, "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
  client.read = "";
  client.say(`WATCH ${key}\r\n${transaction}GET ${key}\r\n`);
  runFor(world, 100);
  assert.equal(client.read, "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\n1\r\n");
  world.proxy.stop();
});

Deno.test("client_output_limit is for what is queued and what is held together", async () => {
  const one = await stand("  client_output_limit: 2000\n", 1);
  const talker = new Talker(one);
  one.clock.run(100);
  const [client] = one.proxy.pools[0]!.clients;
  const { output } = client!.socket as unknown as { output: { capacity: number } };
  output.capacity = 0;
  client!.push(new Uint8Array(300).fill(43), 0, 300);
  const [first, second] = [new Request(client!), new Request(client!)];
  client!.enqueue(first);
  client!.enqueue(second);
  one.clock.run(200);
  client!.deliver(second, new Uint8Array(1701), 0, 1700);
  one.clock.run(300);
  assert.equal(client!.closed, false);
  client!.enqueue(new Request(client!));
  client!.deliver(client!.replies.tail!, new Uint8Array(1), 0, 1);
  one.clock.run(400);
  assert.equal(client!.closed, true);
  assert.equal(talker.read, "");
  one.proxy.stop();
});

Deno.test("a value of megabytes goes on as it comes, and a push waits for its end", async () => {
  const one = await stand("", 1);
  const talker = new Talker(one);
  talker.say("GET a\r\n");
  runFor(one, 100);
  assert.equal(talker.read, "$-1\r\n");
  talker.read = "";
  const [client] = one.proxy.pools[0]!.clients;
  const [connection] = one.proxy.pools[0]!.servers[0]!.connections;
  const asked = new Request(client!);
  client!.enqueue(asked);
  connection!.enqueue(asked);
  const reply = `$3000000\r\n${"x".repeat(3_000_000)}\r\n`;
  const push = latin1(">1\r\n+news\r\n");
  connection!.receive(latin1(reply.slice(0, 10)));
  for (let at = 10; at < 2_000_010; at += 50_000) connection!.receive(latin1(reply.slice(at, at + 50_000)));
  client!.push(push, 0, push.length);
  runFor(one, 1000);
  assert.ok(talker.read.length > 1_000_000 && reply.startsWith(talker.read), `${talker.read.length} bytes`);
  assert.equal(client!.replies.heldBytes, push.length);
  connection!.receive(latin1(reply.slice(2_000_010)));
  runFor(one, 1000);
  assert.ok(talker.read === reply + textOf(push));
  assert.equal(client!.replies.heldBytes, 0);
  one.proxy.stop();
});

Deno.test("deletes for memcached values over max_request_size wait for a server that does not read", async () => {
  const world = await stand("  max_request_size: 64\n", 1, false);
  const client = new Talker(world);
  client.say("set k 0 0 1\r\na\r\n");
  world.clock.run(100);
  world.net.stall(world.addresses[0]!, 30_000);
  client.say(`set ${"k".repeat(250)} 0 0 65 noreply\r\n${"v".repeat(65)}\r\n`.repeat(40_000) + "get k\r\n");
  world.clock.run(20_000);
  const [connection] = world.proxy.pools[0]!.servers[0]!.connections;
  assert(connection!.congested);
  assert(connection!.holdsBytes < 2 * 1024 * 1024, `${connection!.holdsBytes} bytes are held`);
  world.clock.run(60_000);
  assert.equal(client.read, "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
  world.proxy.stop();
});

Deno.test("a client that reads nothing is read on: what it writes before it reads is answered", async () => {
  const world = await stand("", 1);
  const client = new Talker(world);
  const value = "v".repeat(10_000);
  client.say(`SET k ${value}\r\n`);
  runFor(world, 1000);
  client.read = "";
  client.socket.pause();
  for (let i = 0; i < 300; i++) client.say("GET k\r\n".repeat(10) + `SET other ${value}\r\n`);
  runFor(world, 10_000);
  assert.equal(client.socket.queuedBytes, 0);
  client.socket.resume();
  runFor(world, 60_000);
  const replies = `$10000\r\n${value}\r\n`.repeat(10) + "+OK\r\n";
  assert.equal(client.read.length, 300 * replies.length);
  world.proxy.stop();
});

Deno.test("a client that reads nothing is read on behind a request that is answered in parts", async () => {
  const world = await stand("", 1);
  const client = new Talker(world);
  const value = "v".repeat(10_000);
  runFor(world, 1000);
  client.socket.pause();
  const names = 20_000;
  client.say(`*${names + 2}\r\n$7\r\nCOMMAND\r\n$4\r\nINFO\r\n` + "$3\r\nGET\r\n".repeat(names));
  for (let i = 0; i < 300; i++) client.say(`SET other ${value}\r\n`);
  runFor(world, 10_000);
  assert.equal(client.socket.queuedBytes, 0);
  client.socket.resume();
  runFor(world, 60_000);
  assert.equal(client.read.startsWith(`*${names}\r\n`), true);
  assert.equal(client.read.endsWith("+OK\r\n".repeat(300)), true);
  world.proxy.stop();
});

Deno.test("CLIENT TRACKING is answered although the client has ended its side", async () => {
  const world = await stand("", 2);
  const client = new Talker(world);
  world.clock.run(10);
  client.say("CLIENT TRACKING ON\r\n");
  client.halfClose();
  world.clock.run(1000);
  assert.equal(client.read, "+OK\r\n");
  world.proxy.stop();
});

Deno.test("Tracking says again behind a reply what it has said before the reply could leave", async () => {
  const world = await stand("", 2);
  const [slow, quick] = [keyOn(world, 0), keyOn(world, 1)];
  const client = tracker(world);
  const other = new Talker(world);
  runFor(world, 10);
  world.net.stall(world.addresses[0]!, 1000);
  client.say(`GET ${slow}\r\nGET ${quick}\r\n`);
  runFor(world, 100);
  other.say(`SET ${quick} new\r\n`);
  runFor(world, 2000);
  assert.equal(client.read, `${invalidation(quick)}_\r\n_\r\n${invalidation(quick)}`);
  // A part of a reply that is to be joined has been read as well.
  client.read = "";
  world.net.stall(world.addresses[0]!, 1000);
  client.say(`MGET ${slow} ${quick}\r\nPING\r\n`);
  runFor(world, 100);
  other.say(`SET ${quick} newer\r\n`);
  runFor(world, 2000);
  assert.equal(
    client.read,
    `${invalidation(quick)}*2\r\n_\r\n$3\r\nnew\r\n+PONG\r\n${invalidation(quick)}`,
  );
  world.proxy.stop();
});

Deno.test("Tracking says at most that everything has changed behind a reply, however much has", async () => {
  const world = await stand("", 2);
  const [slow, quick] = [keyOn(world, 0), keyOn(world, 1)];
  const client = tracker(world, " BCAST");
  const other = new Talker(world);
  runFor(world, 10);
  world.net.stall(world.addresses[0]!, 1000);
  client.say(`GET ${slow}\r\nGET ${quick}\r\n`);
  runFor(world, 100);
  other.say(`SET ${quick} x\r\n`.repeat(1000));
  runFor(world, 500);
  const [held] = world.proxy.pools[0]!.clients;
  assert.ok(held!.replies.heldBytes < 5000, `${held!.replies.heldBytes} bytes are held`);
  runFor(world, 2000);
  assert.ok(client.read.endsWith(`_\r\n_\r\n${invalidation(null)}`));
  world.proxy.stop();
});

Deno.test("CLIENT TRACKING that fails leaves the tracking that there is as it was", async () => {
  const world = await stand("  timeout: 100\n", 2);
  const client = tracker(world);
  for (const address of world.addresses) world.net.down(address);
  runFor(world, 100);
  client.say("CLIENT TRACKING ON OPTIN\r\n");
  runFor(world, 100);
  assert.match(client.read, /-ERR Connection refused/);
  for (const address of world.addresses) world.net.up(address);
  runFor(world, 1000);
  client.read = "";
  const keys = [keyOn(world, 0), keyOn(world, 1)];
  client.say(`GET ${keys[0]}\r\nGET ${keys[1]}\r\n`);
  runFor(world, 100);
  new Talker(world).say(`MSET ${keys[0]} 1 ${keys[1]} 2\r\n`);
  runFor(world, 100);
  for (const key of keys) assert.ok(client.read.includes(invalidation(key)), client.read);
  world.proxy.stop();
});

Deno.test("a request behind a CLIENT TRACKING that timed out has timed out as well", async () => {
  const world = await stand("  timeout: 100\n", 2);
  const client = new Talker(world);
  const [server] = world.proxy.pools[0]!.servers;
  client.say("CLIENT TRACKING ON\r\n");
  runFor(world, 100);
  world.net.down(world.addresses[0]!);
  runFor(world, 100);
  world.net.up(world.addresses[0]!);
  client.read = "";
  // The server goes silent when it has been connected to, and before it has said what the ear's id is.
  client.say(`GET ${keyOn(world, 0)}\r\n`);
  while (server!.counters[SERVER_CONNECTIONS] === 0) runFor(world, 0.01);
  world.net.stall(world.addresses[0]!, 10_000);
  runFor(world, 1000);
  assert.match(client.read, /^-ERR Connection timed out/);
  world.proxy.stop();
});

Deno.test("CLIENT CACHING YES is for all slices of the next request", async () => {
  const world = await stand("", 2, true, 2);
  const keys = [0, 1, 0, 1].map((server, i) => `${keyOn(world, server)}${i < 2 ? "" : "b"}`);
  const client = tracker(world, " OPTIN");
  client.say(`CLIENT CACHING YES\r\nMGET ${keys.join(" ")}\r\nMGET c d e f\r\n`);
  runFor(world, 100);
  client.read = "";
  const other = new Talker(world);
  for (const key of [...keys, "c", "d", "e", "f"]) other.say(`SET ${key} 1\r\n`);
  runFor(world, 100);
  const told = client.read.match(/key\d+b?|\b[cdef]\b/g)!;
  assert.deepEqual(told.sort(), [...keys].sort());
  world.proxy.stop();
});

Deno.test("Tracking says again behind a request in slices what one slice has read before", async () => {
  const world = await stand("", 2, true, 1);
  const key = keyOn(world, 1);
  const client = tracker(world);
  const other = new Talker(world);
  runFor(world, 10);
  // When the first key changes, its server has another slice to answer.
  client.say(`MGET ${key} ${keyOn(world, 0)}${` ${key}`.repeat(200)}\r\n`);
  runFor(world, 5);
  other.say(`SET ${key} new\r\n`);
  runFor(world, 1000);
  assert.ok(client.read.startsWith(`${invalidation(key)}*202\r\n_\r\n_\r\n`));
  assert.ok(client.read.endsWith(`new\r\n${invalidation(key)}`));
  world.proxy.stop();
});

/** A pool whose first server is ejected when `silent` asks it, and a key of that server. */
async function wandering(): Promise<{ world: Stand; key: string; eject(): void }> {
  const world = await stand(
    "  timeout: 200\n  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n",
    2,
  );
  const silent = new Talker(world);
  const key = keyOn(world, 0);
  return {
    world,
    key,
    eject() {
      world.net.stall(world.addresses[0]!, 300);
      silent.say(`GET ${key}\r\n`);
      runFor(world, 150);
    },
  };
}

Deno.test("Tracking says again behind what is under way that keys have moved", async () => {
  const { world, key, eject } = await wandering();
  const client = tracker(world);
  eject();
  client.say(`GET ${key}\r\n`);
  runFor(world, 500);
  assert.equal(client.read, `${invalidation(null)}_\r\n${invalidation(null)}`);
  assert.equal(world.proxy.pools[0]!.servers[0]!.ejected, true);
  world.proxy.stop();
});

Deno.test("Tracking says behind EXEC that keys have moved since they were queued", async () => {
  const { world, key, eject } = await wandering();
  const client = tracker(world);
  eject();
  client.say(`MULTI\r\nGET ${key}\r\n`);
  runFor(world, 500);
  assert.equal(world.proxy.pools[0]!.servers[0]!.ejected, true);
  assert.equal(client.read, `+OK\r\n+QUEUED\r\n${invalidation(null)}`);
  client.read = "";
  client.say("EXEC\r\n");
  runFor(world, 500);
  assert.equal(client.read, `${invalidation(null)}*1\r\n_\r\n${invalidation(null)}`);
  world.proxy.stop();
});

for (const [how, yml] of [["with", "  timeout: 100\n"], ["without", ""]] as const) {
  Deno.test(`Tracking notices that a line is gone in silence, ${how} timeout`, async () => {
    for (const hears of ["pushes", "an ear"]) {
      const world = await stand(yml, 2);
      const target = tracker(world);
      const client = hears === "pushes" ? target : new Talker(world);
      if (client !== target) {
        target.say("CLIENT TRACKING OFF\r\nCLIENT ID\r\n");
        runFor(world, 100);
        const id = /:(\d+)/.exec(target.read)![1];
        client.say(`CLIENT TRACKING ON REDIRECT ${id}\r\n`);
      }
      client.say(`GET ${keyOn(world, 0)}\r\n`);
      runFor(world, 100);
      target.read = "";
      world.net.down(world.addresses[0]!, true);
      world.net.up(world.addresses[0]!);
      runFor(world, 61_000);
      assert.equal(target.read, invalidation(null));
      world.proxy.stop();
    }
  });
}

Deno.test("a full server is ejected after as many failures as any other, and its line is nobody's reply", async () => {
  for (const redis of [true, false]) {
    const yml = "  auto_eject_hosts: true\n  server_failure_limit: 2\n  server_retry_timeout: 1000\n";
    const world = await stand(yml, 2, redis);
    world.servers[0]!.turnsAway = 1;
    const client = new Talker(world);
    const key = keyOn(world, 0);
    const get = redis ? `GET ${key}\r\n` : `get ${key}\r\n`;
    for (let i = 0; i < 10; i++) {
      client.say(get);
      runFor(world, 10);
    }
    // Its probe is turned away too.
    runFor(world, 5000);
    client.say(get);
    runFor(world, 10);
    const error = `${
      redis ? "-ERR" : "SERVER_ERROR"
    } max number of clients reached (server 10.0.0.1:6379)\r\n`;
    assert.equal(client.read, error.repeat(2) + (redis ? "$-1\r\n" : "END\r\n").repeat(9));
    assert.equal(world.proxy.pools[0]!.servers[0]!.ejected, true);
    world.servers[0]!.turnsAway = 0;
    runFor(world, 5000);
    assert.equal(world.proxy.pools[0]!.servers[0]!.ejected, false);
    world.proxy.stop();
  }
});

Deno.test("max_ejected keeps servers on the ring that fail, says so once, and lets them go when there is room", async () => {
  const lines: string[] = [];
  const yml =
    "  connect_timeout: 100\n  auto_eject_hosts: true\n  max_ejected: 50%\n  server_failure_limit: 2\n  server_retry_timeout: 1000\n";
  const world = await stand(yml, 3, true, 4096, lines);
  const client = new Talker(world);
  const { servers } = world.proxy.pools[0]!;
  const keys = [0, 1, 2].map((i) => keyOn(world, i));
  const ejected = () => servers.map((server) => server.ejected);
  const ask = () => {
    client.read = "";
    for (const key of keys) client.say(`GET ${key}\r\n`);
    runFor(world, 300);
    return client.read.split("\r\n").slice(0, -1).map((line) =>
      /server (10\S+):6379/.exec(line)?.[1] ?? line
    );
  };
  for (const address of world.addresses) world.net.down(address, true);
  for (let i = 0; i < 10; i++) ask();
  assert.deepEqual(ejected(), [true, false, false]);
  // The keys of those that stay are still theirs; those of the first are another's, which fails as well.
  const [first, ...others] = ask();
  assert.match(first!, /^10\.0\.0\.[23]$/);
  assert.deepEqual(others, ["10.0.0.2", "10.0.0.3"]);
  const stays = () => lines.filter((line) => line.includes("stays on the ring"));
  assert.deepEqual(
    stays().sort(),
    ["2", "3"].map((host) =>
      `pool 'alpha': server '10.0.0.${host}:6379' fails but stays on the ring: ` +
      "max_ejected lets 1 of 3 servers be off it at a time"
    ),
  );
  world.net.up(world.addresses[0]!);
  runFor(world, 2000);
  for (let i = 0; i < 10; i++) ask();
  assert.equal(ejected().filter(Boolean).length, 1);
  assert.equal(servers[0]!.ejected, false);
  assert.equal(stays().length, 3, "the other one, once more");
  for (const address of world.addresses.slice(1)) world.net.up(address);
  runFor(world, 2000);
  assert.deepEqual(ask(), ["$-1", "$-1", "$-1"]);
  assert.deepEqual(ejected(), [false, false, false]);
  world.proxy.stop();
});

Deno.test("a server that goes off and on waits longer each time, no two proxies alike, and is forgiven", async () => {
  const waits: number[] = [];
  const lines: string[] = [];
  const world = await stand(
    "  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 1000\n",
    2,
    true,
    4096,
    lines,
  );
  const client = new Talker(world);
  const [server] = world.proxy.pools[0]!.servers;
  const key = keyOn(world, 0);
  const flap = () => {
    world.net.down(world.addresses[0]!, true);
    client.say(`GET ${key}\r\n`);
    world.clock.run(world.clock.nowMs() + 1000, () => server!.ejected);
    world.net.up(world.addresses[0]!);
    const fromMs = world.clock.nowMs();
    world.clock.run(fromMs + 60_000, () => !server!.ejected);
    waits.push(world.clock.nowMs() - fromMs);
  };
  for (let i = 0; i < 6; i++) flap();
  runFor(world, 4001);
  flap();
  const said = lines.flatMap((line) => / to delete .* next (\d+) secs/.exec(line)?.[1] ?? []);
  assert.deepEqual(said.map(Number), [1, 2, 4, 8, 16, 16, 1]);
  // A tenth is drawn; then it has to answer.
  waits.forEach((ms, i) =>
    assert.ok(ms > 950 * Number(said[i]) && ms < 1050 * Number(said[i]) + 50, `${ms}`)
  );
  assert.ok(new Set(waits.map((ms, i) => Math.round(ms / Number(said[i])))).size > 3);
  world.proxy.stop();
});

/** A pool of three Redis of which the one with this index is ejected, and stays so for a minute. */
async function withoutOne(gone: number, yml = ""): Promise<Stand & { keys: readonly string[] }> {
  const world = await stand(
    `${yml}  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n`,
    3,
  );
  const client = new Talker(world);
  const keys = [0, 1, 2].map((i) => keyOn(world, i));
  for (const key of keys) client.say(`SET ${key} 1\r\n`);
  runFor(world, 100);
  world.net.down(world.addresses[gone]!);
  runFor(world, 100);
  client.say(`GET ${keys[gone]}\r\n`);
  runFor(world, 100);
  assert.equal(world.proxy.pools[0]!.servers[gone]!.ejected, true);
  return { ...world, keys };
}

function comeBack(world: Stand, gone: number): void {
  world.net.up(world.addresses[gone]!);
  runFor(world, 65_000);
  assert.equal(world.proxy.pools[0]!.servers[gone]!.ejected, false);
}

Deno.test("what concerns all servers leaves the ejected out, and with none left says so", async () => {
  const world = await withoutOne(1);
  const client = new Talker(world);
  client.say("DBSIZE\r\nKEYS *\r\n");
  runFor(world, 100);
  assert.match(client.read, /^:2\r\n\*2\r\n/);
  for (const i of [0, 2]) {
    world.net.down(world.addresses[i]!);
    runFor(world, 100);
    client.say(`GET ${world.keys[i]}\r\n`);
    runFor(world, 100);
  }
  client.read = "";
  client.say("DBSIZE\r\nSCAN 0\r\nRANDOMKEY\r\nPUBSUB NUMPAT\r\nSCRIPT KILL\r\nCLIENT TRACKING ON\r\n");
  runFor(world, 100);
  const error = "-ERR Connection refused: no live server in the pool\r\n";
  const killed = "-ERR Connection refused (server 10.0.0.1:6379)\r\n";
  assert.equal(client.read, error.repeat(4) + killed + error);
  world.proxy.stop();
});

Deno.test("SCAN passes an ejected server over, and its cursors are good again when it is back", async () => {
  const world = await withoutOne(1);
  const client = new Talker(world);
  const page = (cursor: number): string => {
    client.read = "";
    client.say(`SCAN ${cursor} COUNT 100\r\n`);
    runFor(world, 100);
    return client.read;
  };
  /** The cursor of a server's beginning, or of a place in it (scan_cursor.ts). */
  const at = (server: number, cursor = 0) => 2 ** 52 + cursor * 65536 + server;
  const one = (key: string, next: number) =>
    `*2\r\n$${String(next).length}\r\n${next}\r\n*1\r\n$${key.length}\r\n${key}\r\n`;
  const had = world.keys;
  assert.equal(page(0), one(had[0]!, at(1)));
  assert.equal(page(at(1)), one(had[2]!, 0));
  assert.equal(page(at(1, 1)), one(had[2]!, 0));
  comeBack(world, 1);
  assert.equal(page(at(1)), one(had[1]!, at(2)));
  world.net.down(world.addresses[2]!);
  runFor(world, 100);
  client.say(`GET ${had[2]}\r\n`);
  runFor(world, 100);
  assert.equal(page(at(2)), "*2\r\n$1\r\n0\r\n*0\r\n");
  world.proxy.stop();
});

Deno.test("PSUBSCRIBE does without an ejected server, and is heard there when it is back", async () => {
  const world = await withoutOne(1);
  const [early, client, other] = [new Talker(world), new Talker(world), new Talker(world)];
  client.say("PSUBSCRIBE *\r\nSUBSCRIBE __keyevent@0__:del\r\n");
  runFor(world, 100);
  assert.equal(
    client.read,
    "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$18\r\n__keyevent@0__:del\r\n:2\r\n",
  );
  runFor(world, 5000);
  // Nobody goes on knocking there.
  assert.equal([...world.net.sockets].filter((socket) => socket.key.includes("10.0.0.2")).length, 0);
  comeBack(world, 1);
  other.say(`PUBLISH ${world.keys[1]} hello\r\nPUBLISH ${world.keys[0]} hello\r\n`);
  runFor(world, 100);
  assert.equal(other.read, ":1\r\n:1\r\n");
  assert.equal(client.read.split("hello").length, 3);
  assert.equal(early.read, "");
  world.proxy.stop();
});

Deno.test("a server that is only listened to is ejected too, and who waits for it is answered", async () => {
  const world = await stand(
    "  auto_eject_hosts: true\n  server_failure_limit: 2\n  server_retry_timeout: 60000\n",
    3,
  );
  world.net.down(world.addresses[1]!);
  const client = new Talker(world);
  for (let i = 0; i < 4; i++) {
    client.say("PSUBSCRIBE a*\r\n");
    runFor(world, 100);
  }
  const errors = client.read.split("-ERR").length - 1;
  assert.ok(errors <= 2, client.read);
  assert.match(client.read, /psubscribe\r\n\$2\r\na\*\r\n:1\r\n$/);
  assert.equal(world.proxy.pools[0]!.servers[1]!.ejected, true);
  world.proxy.stop();
});

Deno.test("CLIENT TRACKING does without an ejected server, and BCAST hears it when it is back", async () => {
  const world = await withoutOne(1);
  const client = tracker(world, " BCAST");
  comeBack(world, 1);
  runFor(world, 1000);
  client.read = "";
  new Talker(world).say(`SET ${world.keys[1]} new\r\n`);
  runFor(world, 100);
  assert.equal(client.read, invalidation(world.keys[1]!));
  world.proxy.stop();
});

Deno.test("nobody storms a full server: after each line of its own it is left alone for a while, and then served at once", async () => {
  for (const redis of [true, false]) {
    const world = await stand("", 1, redis);
    const [server] = world.servers;
    server!.turnsAway = 1;
    const client = new Talker(world);
    const get = redis ? "GET a\r\n" : "get a\r\n";
    for (let i = 0; i < 1000; i++) {
      client.say(get);
      runFor(world, 10);
    }
    const error = `${
      redis ? "-ERR" : "SERVER_ERROR"
    } max number of clients reached (server 10.0.0.1:6379)\r\n`;
    assert.equal(client.read, error.repeat(1000));
    assert.ok(server!.refusals > 20 && server!.refusals < 120, `${server!.refusals} connections`);
    server!.turnsAway = 0;
    client.read = "";
    runFor(world, 250);
    client.say(get);
    runFor(world, 100);
    assert.equal(client.read, redis ? "$-1\r\n" : "END\r\n");
    world.proxy.stop();
  }
});

Deno.test("nobody storms a server that accepts and closes without a word: once may be chance, then it is left alone", async () => {
  for (const redis of [true, false]) {
    const world = await stand("", 1, redis);
    const [server] = world.servers;
    server!.turnsAway = 1;
    server!.wordless = true;
    const client = new Talker(world);
    const get = redis ? "GET a\r\n" : "get a\r\n";
    const nothing = redis ? "$-1\r\n" : "END\r\n";
    for (let i = 0; i < 1000; i++) {
      client.say(get);
      runFor(world, 10);
    }
    assert.equal(client.read.split("ERR").length, 1001, client.read.slice(0, 1000));
    assert.ok(server!.refusals > 20 && server!.refusals < 120, `${server!.refusals} connections`);
    server!.turnsAway = 0;
    client.read = "";
    runFor(world, 250);
    client.say(get);
    runFor(world, 100);
    assert.equal(client.read, nothing);
    world.proxy.stop();
  }
});

Deno.test("nor does who listens: a full server is asked for a subscription once a second", async () => {
  const world = await stand("", 1);
  const [server] = world.servers;
  const client = new Talker(world);
  client.say("SUBSCRIBE a\r\n");
  runFor(world, 100);
  server!.turnsAway = 1;
  world.net.down(world.addresses[0]!);
  world.net.up(world.addresses[0]!);
  runFor(world, 20_000);
  assert.ok(server!.refusals > 10 && server!.refusals < 40, `${server!.refusals} connections`);
  server!.turnsAway = 0;
  runFor(world, 2000);
  new Talker(world).say("PUBLISH a hello\r\n");
  runFor(world, 100);
  assert.match(client.read, /hello/);
  world.proxy.stop();
});

Deno.test("a connection that is turned away before anybody has asked anything is a failure too", async () => {
  const world = await stand(
    "  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n",
    2,
  );
  const [server] = world.proxy.pools[0]!.servers;
  world.servers[0]!.turnsAway = 1;
  // As `preconnect` does.
  server!.connection(0, 0);
  runFor(world, 100);
  assert.equal(server!.ejected, true);
  const client = new Talker(world);
  client.say("MGET a b c d e f\r\n");
  runFor(world, 100);
  assert.equal(client.read, "*6\r\n" + "$-1\r\n".repeat(6));
  world.proxy.stop();
});

Deno.test("a client that is closed while its request is being prepared: nothing of it is looked at any more", async () => {
  const world = await stand("", 1, true, 2);
  const pool = world.proxy.pools[0]!;
  const front = pool.front as { step: typeof pool.front.step };
  const step = pool.front.step.bind(pool.front);
  let prepared = 0;
  front.step = (client, bytes, start, end) => {
    const next = step(client, bytes, start, end);
    // Its arguments are noted from the next turn on.
    if (client.blocked !== 0) prepared++;
    if (client.blocked !== 0) client.closeAfterReplies();
    return next;
  };
  const talker = new Talker(world);
  talker.send(request("SINTER", "one", "two"));
  runFor(world, 100);
  assert.equal(prepared, 1);
  assert.equal(talker.read, "");
  assert.equal(pool.clients.size, 0);
  world.proxy.stop();
});

Deno.test("idle_timeout: who waits for a server is not idle, who does not read is", async () => {
  for (const [reason, left] of [[OUTPUT, 0], [SERVER, 1], [SLICED, 1]] as const) {
    const world = await stand("  idle_timeout: 2000\n", 1);
    const pool = world.proxy.pools[0]!;
    const talker = new Talker(world);
    talker.send(request("PING"));
    runFor(world, 100);
    assert.equal(talker.read, "+PONG\r\n");
    for (const client of pool.clients) client.blocked |= reason;
    runFor(world, 5000);
    assert.equal(pool.clients.size, left);
    world.proxy.stop();
  }
});

Deno.test("two clients end the same wait, whose server has yet to say what it calls it: both are answered", async () => {
  const world = await stand("", 1);
  const [waiter, one, two] = [0, 1, 2].map(() => new Talker(world));
  waiter!.say("CLIENT ID\r\n");
  runFor(world, 100);
  const id = waiter!.read.slice(1, -2);
  world.servers[0]!.frozenUntilMs = world.clock.nowMs() + 500;
  waiter!.say("BLPOP list 100\r\n");
  runFor(world, 10);
  for (const each of [one!, two!]) each.say(`CLIENT UNBLOCK ${id}\r\nPING\r\n`);
  runFor(world, 1000);
  assert.match(waiter!.read, /\*-1\r\n$/);
  for (const each of [one!, two!]) assert.match(each.read, /^:[01]\r\n\+PONG\r\n$/);
  world.proxy.stop();
});

Deno.test("a library that comes while another worker has already told a server all there was is told it by this one", async () => {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const config = parseConfig(
    "alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  auto_eject_hosts: true\n  servers:\n" +
      "    - 10.0.0.1:6379:1\n    - 10.0.0.2:6379:1\n    - 10.0.0.3:6379:1\n",
    "sim",
  );
  const servers = config.pools[0]!.servers.map(() =>
    new FakeRedis(([, what]) => what === "DUMP" ? "$12\r\n012345678901\r\n" : "+OK\r\n")
  );
  for (const [i, server] of servers.entries()) {
    await server.listen(net, config.pools[0]!.servers[i]!.address!);
  }
  const board = makeBoard(config, 2);
  const seat = {
    worker: 1,
    board: Board.of(board.memory),
    serversChanged: () => {},
    tellOthers: () => {},
    ask: () => {},
  };
  const log = { level: 0, write: () => {} };
  const proxy = new Proxy({ config, net, clock, random: new Random(2).next, log, system: SYSTEM, seat });
  await proxy.listen(null);
  const pool = board.pools[0]!;
  const run = () => clock.run(clock.nowMs() + 100);
  // One of those that are asked has begun anew, and nobody has noticed.
  const { script } = servers[0]!;
  servers[0]!.script = (words, from) => words[1] === "DUMP" ? "$10\r\n0123456789\r\n" : script(words, from);
  // The first worker ejects it, and has it back.
  pool.eject(pool.servers[2]!, 0, 2);
  proxy.serversChanged(0);
  const talker = new Talker({ net, proxy } as Stand);
  talker.send(request("FUNCTION", "LOAD", "#!lua name=one"));
  run();
  assert.deepEqual(servers.map((server) => server.takeGot()), [
    ["FUNCTION LOAD #!lua name=one"],
    ["FUNCTION LOAD #!lua name=one"],
    [],
  ]);
  pool.restore(pool.servers[2]!);
  proxy.serversChanged(0);
  run();
  assert.deepEqual(servers.map((server) => server.takeGot()), [
    ["FUNCTION DUMP"],
    ["FUNCTION DUMP"],
    ["FUNCTION RESTORE 012345678901 REPLACE"],
  ]);
  assert.equal(proxy.pools[0]!.servers[2]!.ejected, false);
  // Nobody can be asked: what is there of the same name is older than what has come since.
  pool.eject(pool.servers[2]!, 0, 2);
  proxy.serversChanged(0);
  for (const version of [2, 3]) {
    talker.send(request("FUNCTION", "LOAD", "REPLACE", `#!lua name=one\n${version}`));
  }
  run();
  for (const server of servers.slice(0, 2)) server.stop();
  run();
  for (const server of servers) server.takeGot();
  pool.restore(pool.servers[2]!);
  proxy.serversChanged(0);
  clock.run(clock.nowMs() + 5000);
  assert.deepEqual(servers[2]!.takeGot(), ["FUNCTION LOAD REPLACE #!lua name=one\n3"]);
  proxy.stop();
});
