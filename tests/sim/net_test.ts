/**
 * The simulator's own parts: its network fulfils the seam's contract, its faults happen, its views are clobbered, its
 * clock and randomness repeat.
 */
import assert from "node:assert/strict";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { serveMemory } from "../../src/demo/serve.ts";
import type { Handler, NetError, Socket } from "../../src/net/net.ts";
import { concat, latin1, request, textOf } from "../lib/bytes.ts";
import { contract } from "../runtime/contract.ts";
import { SimClock } from "./clock.ts";
import { CALM, type Faults, swarm } from "./faults.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";

/** Kind, unkind in small ways, and with hardly any room. */
const CONTRACT_FAULTS: Readonly<Record<string, Faults>> = {
  calm: CALM,
  prompt: {
    ...CALM,
    latencyMinMs: 0,
    latencyMaxMs: 0,
    cutRead: 0,
    shortWrite: 0,
    spuriousDrain: 0,
    lateData: 0,
  },
  rough: {
    ...CALM,
    cutRead: 0.8,
    shortWrite: 0.8,
    spuriousDrain: 0.5,
    lateData: 1,
    stall: 0.05,
    stallMaxMs: 50,
  },
  narrow: { ...CALM, kernelMinBytes: 17_000, kernelMaxBytes: 40_000, cutRead: 0.1, shortWrite: 0.05 },
};

for (const [name, faults] of Object.entries(CONTRACT_FAULTS)) {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1), { faults });
  contract(net, clock, (test, run) => {
    Deno.test(`sim, ${name}: ${test}`, async () => {
      let done = false;
      const running = run().finally(() => void (done = true));
      running.catch(() => {});
      try {
        await clock.runAsync(() => done);
        await running;
        net.invariants();
      } catch (error) {
        console.error(net.log.toString(50));
        throw error;
      }
    });
  }, null);
}

const ADDRESS = { host: "10.0.0.1", port: 6379 };

/** Sends numbered ECHO requests in pipelines and checks that the replies are theirs, in order. */
class EchoClient implements Handler {
  opens = 0;
  closes = 0;
  error: NetError | null = null;
  sent = 0;
  received = 0;
  private tail = "";

  constructor(private readonly random: Random, private readonly total: number) {}

  open(socket: Socket): void {
    this.opens++;
    this.more(socket);
  }

  data(socket: Socket, bytes: Uint8Array): void {
    this.tail += textOf(bytes);
    for (;;) {
      const expected = reply(this.received);
      if (this.tail.length < expected.length) break;
      assert.equal(this.tail.slice(0, expected.length), expected);
      this.tail = this.tail.slice(expected.length);
      this.received++;
    }
    if (this.received === this.total) socket.end();
    else if (this.received === this.sent) this.more(socket);
  }

  eof(socket: Socket): void {
    socket.end();
  }

  drain(): void {}

  close(_: Socket, error: NetError | null): void {
    this.closes++;
    this.error = error;
  }

  private more(socket: Socket): void {
    const count = Math.min(this.total - this.sent, this.random.int(1, 40));
    const bytes = concat(Array.from({ length: count }, () => request("ECHO", word(this.sent++))));
    socket.send(bytes, 0, bytes.length);
    socket.flush();
  }
}

function word(n: number): string {
  return `${n}:${"x".repeat(n * 37 % 300)}`;
}

function reply(n: number): string {
  return `$${word(n).length}\r\n${word(n)}\r\n`;
}

interface Run {
  readonly clients: EchoClient[];
  readonly net: SimNet;
  readonly clock: SimClock;
}

/** Some clients of an in-memory Redis, to the end. */
async function play(seed: number, faults: Faults | null): Promise<Run> {
  const random = new Random(seed);
  const clock = new SimClock();
  const net = new SimNet(clock, random.fork(), { faults: faults ?? swarm(random) });
  const redis = new MemoryRedis({ nowMs: () => clock.wallMs(), random: random.next });
  const listener = await serveMemory(net, ADDRESS, redis);
  const clients: EchoClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = new EchoClient(random.fork(), 100);
    clients.push(client);
    clock.setTimer(random.next() * 100, () => void net.connect(ADDRESS, client, null));
  }
  clock.run(600_000);
  net.bury();
  clock.run();
  net.invariants();
  listener.close();
  return { clients, net, clock };
}

Deno.test("SimNet carries every byte in order when nothing is lost", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const faults = { ...swarm(new Random(seed)), reset: 0, vanish: 0, refuse: 0, blackHole: 0 };
    const { clients, net } = await play(seed, faults);
    for (const { opens, closes, error, received } of clients) {
      assert.deepEqual(
        [opens, closes, error, received],
        [1, 1, null, 100],
        `seed ${seed}\n${net.log.toString(30)}`,
      );
    }
    assert.equal(net.sockets.size, 0, `seed ${seed}`);
  }
});

Deno.test("SimNet with all faults: replies stay in order, every socket closes once, and every fault happens", async () => {
  const codes = new Set<string>();
  let finished = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const { clients, net } = await play(seed, null);
    for (const { opens, closes, error, received } of clients) {
      assert.ok(
        opens <= 1 && closes === 1,
        `seed ${seed}: ${opens} opens, ${closes} closes\n${net.log.toString(30)}`,
      );
      if (error !== null) codes.add(error.code);
      if (received === 100) finished++;
    }
    assert.equal(net.sockets.size, 0, `seed ${seed}`);
  }
  assert.deepEqual([...codes].sort(), ["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"]);
  assert.ok(finished > 300, `${finished} of 750 clients finished`);
});

Deno.test("SimNet does the same for the same seed, and something else for another", async () => {
  const hashes = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const [one, two] = [await play(seed, null), await play(seed, null)];
    assert.equal(one.net.log.hash, two.net.log.hash, `seed ${seed}`);
    assert.equal(one.net.log.toString(), two.net.log.toString());
    assert.equal(one.clock.turns, two.clock.turns);
    hashes.add(one.net.log.hash);
  }
  assert.equal(hashes.size, 20);
});

/** A handler that notes what it hears with the time, and ends when the peer does. */
class Listening implements Handler {
  readonly heard: string[] = [];
  readonly kept: Uint8Array[] = [];
  socket: Socket | null = null;
  constructor(private readonly clock: SimClock) {}
  open(socket: Socket): void {
    this.socket = socket;
    this.heard.push("open");
  }
  data(_: Socket, bytes: Uint8Array): void {
    this.heard.push(`data ${bytes.length} at ${Math.round(this.clock.nowMs())}`);
    this.kept.push(bytes);
  }
  eof(socket: Socket): void {
    this.heard.push("eof");
    socket.end();
  }
  drain(): void {}
  close(_: Socket, error: NetError | null): void {
    this.heard.push(`close ${error?.code ?? "null"} at ${Math.round(this.clock.nowMs())}`);
  }
}

const PROMPT: Faults = CONTRACT_FAULTS.prompt;

async function pair(faults = PROMPT) {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1), { faults });
  const [server, client] = [new Listening(clock), new Listening(clock)];
  await net.listen(ADDRESS, server, { backlog: 1, reusePort: false, keepAlive: false });
  net.connect(ADDRESS, client, null);
  clock.run();
  assert.deepEqual([server.heard, client.heard], [["open"], ["open"]]);
  const send = (to: Socket, bytes: Uint8Array) => (to.send(bytes, 0, bytes.length), to.flush());
  return { clock, net, server, client, send };
}

Deno.test("SimNet clobbers views once data has returned", async () => {
  const { clock, server, client, send } = await pair();
  for (const size of [1, 16 * 1024]) {
    send(client.socket!, new Uint8Array(size).fill(7));
    clock.run();
  }
  assert.deepEqual(server.kept.map((bytes) => [bytes.length, bytes.every((byte) => byte === 0xdd)]), [
    [1, true],
    [16 * 1024, true],
  ]);
});

Deno.test("SimNet finds out who writes to an array given to sendShared", async () => {
  const { client } = await pair();
  const bytes = new Uint8Array(100);
  client.socket!.sendShared(bytes, 10, 90);
  bytes[5] = 1;
  client.socket!.flush();
  client.socket!.sendShared(bytes, 10, 90);
  bytes[50] = 1;
  assert.throws(() => client.socket!.flush(), /an array given to sendShared was written to at offset 50/);
});

Deno.test("down() resets connections and refuses new ones; up() ends that", async () => {
  const { clock, net, server, client } = await pair();
  net.down(ADDRESS);
  const late = new Listening(clock);
  net.connect(ADDRESS, late, null);
  clock.run();
  assert.deepEqual(server.heard, ["open", "close ECONNRESET at 0"]);
  assert.deepEqual(client.heard, ["open", "close ECONNRESET at 0"]);
  assert.deepEqual(late.heard, ["close ECONNREFUSED at 0"]);
  net.up(ADDRESS);
  const again = new Listening(clock);
  net.connect(ADDRESS, again, null);
  clock.run();
  assert.deepEqual(again.heard, ["open"]);
});

Deno.test("down() silently: nothing arrives, connects time out, and nobody is told", async () => {
  const { clock, net, server, client, send } = await pair();
  net.down(ADDRESS, true);
  send(client.socket!, latin1("lost"));
  const late = new Listening(clock);
  net.connect(ADDRESS, late, null);
  clock.run();
  assert.deepEqual([server.heard, client.heard, late.heard], [["open"], ["open"], [
    "close ETIMEDOUT at 127000",
  ]]);
  net.bury();
  clock.run();
  assert.equal(client.heard[1], "close ETIMEDOUT at 127000");
  assert.equal(net.sockets.size, 0);
});

Deno.test("stall() holds everything back and loses nothing", async () => {
  const { clock, net, server, client, send } = await pair();
  net.stall(ADDRESS, 500);
  send(client.socket!, latin1("one"));
  clock.run(100);
  send(client.socket!, latin1("two"));
  clock.run();
  send(server.socket!, latin1("later"));
  clock.run();
  assert.deepEqual(server.heard.slice(1), ["data 6 at 500"]);
  assert.deepEqual(client.heard.slice(1), ["data 5 at 500"]);
});

Deno.test("a peer that never reads is given up after end()", async () => {
  const { clock, server, client, send } = await pair({ ...PROMPT, kernelMaxBytes: 64 * 1024 });
  server.socket!.pause();
  send(client.socket!, new Uint8Array(1_000_000));
  client.socket!.end();
  clock.run();
  assert.match(client.heard[1], /^close ETIMEDOUT at 6\d{4}$/);
  assert.match(server.heard.at(-1)!, /^close ECONNRESET/);
});

Deno.test("SimClock runs events by time, then by order of asking; afterTurn comes after all of a turn", () => {
  const clock = new SimClock();
  const ran: string[] = [];
  const say = (text: string) => () => void ran.push(`${text}@${clock.nowMs()}`);
  clock.setTimer(5, say("c"));
  clock.setTimer(1, () => {
    say("a")();
    clock.afterTurn(say("turn"));
    clock.setTimer(0, say("next"));
  });
  clock.setTimer(1, say("b"));
  clock.clearTimer(clock.setTimer(2, say("never")));
  clock.run(4);
  assert.deepEqual(ran.splice(0), ["a@1", "b@1", "turn@1", "next@1"]);
  assert.deepEqual([clock.nowMs(), clock.waiting], [4, 1]);
  clock.run();
  assert.deepEqual(ran, ["c@5"]);
  assert.equal(clock.waiting, 0);
});

Deno.test("SimClock keeps its order with thousands of timers, most of them cleared", () => {
  const random = new Random(3);
  const clock = new SimClock();
  const ran: number[] = [];
  let kept = 0;
  for (let i = 0; i < 20_000; i++) {
    const atMs = random.int(0, 1000);
    const id = clock.setTimer(atMs, () => ran.push(atMs));
    if (random.chance(0.8)) clock.clearTimer(id);
    else kept++;
  }
  assert.equal(clock.waiting, kept);
  clock.run();
  assert.equal(ran.length, kept);
  assert.deepEqual(ran, ran.toSorted((a, b) => a - b));
});

Deno.test("SimClock.run() notices turns without end", () => {
  const clock = new SimClock();
  const again = () => clock.afterTurn(again);
  again();
  assert.throws(() => clock.run(), /without time passing/);
});

Deno.test("Random repeats from its seed, spreads evenly, and forks do not disturb each other", () => {
  const [one, two] = [new Random(42), new Random(42)];
  const fork = one.fork();
  for (let i = 0; i < 10; i++) fork.next();
  two.fork();
  assert.deepEqual(Array.from({ length: 5 }, one.next), Array.from({ length: 5 }, two.next));
  assert.notEqual(new Random(1).next(), new Random(2).next());
  const counts = new Array(10).fill(0);
  for (let i = 0; i < 10_000; i++) counts[one.int(0, 9)]++;
  for (const count of counts) assert.ok(count > 850 && count < 1150, String(counts));
  for (let i = 0; i < 1000; i++) {
    const n = one.magnitude(1, 1000);
    assert.ok(n >= 1 && n <= 1000);
    assert.ok(one.next() >= 0 && one.next() < 1);
  }
  assert.deepEqual(one.shuffle([1, 2, 3, 4, 5]).sort(), [1, 2, 3, 4, 5]);
  assert.ok(!one.chance(0) && one.chance(1));
});
