/** What a client of a `cluster: true` pool reads while slots move, nodes lie and die; and what the nodes were asked, in which order. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { latin1 as textOf } from "../../src/bytes/ascii.ts";
import type { Config, PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { WARN } from "../../src/net/log.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import { command } from "../../src/protocol/redis/encode.ts";
import {
  ASK,
  CLUSTERDOWN,
  MOVED,
  readRedirect,
  TRYAGAIN,
  UNBLOCKED,
} from "../../src/protocol/redis/redirect_reply.ts";
import type { PoolRedirects } from "../../src/redis/redirect.ts";
import type { RedisSession } from "../../src/redis/session.ts";
import { SLOTS } from "../../src/ring/slots.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { changeOf } from "../../src/topology/change.ts";
import type { Sign } from "../../src/topology/state.ts";
import { latin1 } from "../lib/bytes.ts";
import { endpoint, state } from "../lib/scripted_keeper.ts";
import { digestOf, FakeCluster, type FakeNode, PORT, slotOf } from "../lib/fake_cluster.ts";
import { thorough } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";

/** Requests of more arguments go out in slices. */
const SLICE = 256;
const LISTEN = { host: "127.0.0.1", port: 1 };

/** Keys of the tests and the node, of three, that owns them at first. */
const [ONE, ALSO_ONE, TWO] = ["{a}1", "{a}2", "b"];
const SLOT = slotOf(ONE);

class World {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly cluster: FakeCluster;
  readonly signs: string[] = [];
  /** What the log has been told. */
  readonly lines: string[] = [];
  private proxy!: Proxy;
  private whole!: Config;
  private epoch = 0;
  private yml = "";

  private constructor(nodes: number, owning: number) {
    this.cluster = new FakeCluster(nodes, owning);
  }

  /** @param yml more keys of the pool */
  static async make(yml = "", nodes = 4, owning = 3): Promise<World> {
    const world = new World(nodes, owning);
    const { clock, net } = world;
    await world.cluster.listen(net);
    world.yml = yml;
    world.whole = { ...parseConfig(world.text, "sim.yml"), pools: [world.config] };
    world.proxy = new Proxy({
      config: world.whole,
      net,
      clock,
      random: new Random(2).next,
      log: { level: WARN, write: (level, text) => void (level <= WARN && world.lines.push(text)) },
      system: SYSTEM,
      sliceArguments: SLICE,
      sign: (_pool: string, server: string, sign: Sign) => void world.signs.push(`${server} ${sign}`),
    });
    await world.proxy.listen(null);
    return world;
  }

  get pool(): Pool {
    return this.proxy.pools[0]!;
  }

  private get text(): string {
    const lines = this.cluster.servers.map(({ name }) => `    - ${name}\n`).join("");
    return `c:\n  listen: 127.0.0.1:1\n  redis: true\n  cluster: true\n${this.yml}  servers:\n${lines}`;
  }

  /** As the pool's source has it of the cluster as it is. */
  get config(): PoolConfig {
    const config = parseConfig(this.text, "sim.yml").pools[0]!;
    const slots = new Map(this.cluster.servers.map((node) => [node.name, this.cluster.slotsOf(node)]));
    return { ...config, servers: config.servers.map((s) => ({ ...s, slots: slots.get(s.addressText)! })) };
  }

  /** The source has seen how the cluster is. */
  async learn(): Promise<void> {
    const after = { ...this.whole, pools: [this.config] };
    const stamp = { epoch: ++this.epoch, cause: "cluster", atMs: this.clock.wallMs() };
    await this.proxy.reload(changeOf(this.whole, after), stamp);
    this.whole = after;
  }

  /** As at a start when no node has answered: the seeds are servers, and nobody knows of their slots. */
  async forget(): Promise<void> {
    const config = { ...this.config, servers: this.config.servers.map((s) => ({ ...s, slots: "" })) };
    const after = { ...this.whole, pools: [config] };
    const stamp = { epoch: ++this.epoch, cause: "cluster", atMs: this.clock.wallMs() };
    await this.proxy.reload(changeOf(this.whole, after), stamp);
    this.whole = after;
  }

  node(index: number): FakeNode {
    return this.cluster.node(index);
  }

  talker(): Talker {
    const talker = new Talker(this.net, LISTEN);
    this.run(20);
    return talker;
  }

  /** As little time as may be. */
  step(): void {
    this.clock.run(this.clock.nowMs() + 0.01);
  }

  run(ms: number): void {
    const until = this.clock.nowMs() + ms;
    while (this.clock.nowMs() < until) {
      this.clock.run(Math.min(until, this.clock.nowMs() + 1));
      this.pool.invariants();
      for (const server of this.pool.everyServer) {
        for (const endpoint of server.endpoints) endpoint.invariants();
        for (const connection of server.connections) connection.invariants();
      }
      for (const client of this.pool.clients) client.invariants();
    }
  }

  ask(client: Talker, ...words: string[]): string {
    client.take();
    client.say(...words);
    this.run(30);
    return client.take();
  }

  /** Since the last time, of all nodes. */
  asked(): string[][] {
    return this.cluster.nodes.map(({ redis }) => redis.takeGot());
  }

  stop(): void {
    this.proxy.stop();
  }
}

function testOf(
  name: string,
  run: (world: World) => void | Promise<void>,
  yml = "",
  nodes = 4,
  owning = 3,
  register: typeof thorough = Deno.test,
): void {
  register(name, async () => {
    const world = await World.make(yml, nodes, owning);
    try {
      await run(world);
    } finally {
      world.stop();
    }
  });
}

const HEARD: readonly (readonly [string, ReturnType<typeof readRedirect>])[] = [
  ["-MOVED 3999 127.0.0.1:6381", { kind: MOVED, slot: 3999, host: "127.0.0.1", port: 6381 }],
  ["-ASK 0 ::1:6381", { kind: ASK, slot: 0, host: "::1", port: 6381 }],
  ["-MOVED 16383 [::1]:6381", { kind: MOVED, slot: 16383, host: "::1", port: 6381 }],
  ["-MOVED 12182 :35002", { kind: MOVED, slot: 12182, host: "", port: 35002 }],
  ["-MOVED 12182 ?:35002", { kind: MOVED, slot: 12182, host: "?", port: 35002 }],
  ["-TRYAGAIN Multiple keys request", { kind: TRYAGAIN, slot: -1, host: "", port: 0 }],
  ["-CLUSTERDOWN Hash slot not served", { kind: CLUSTERDOWN, slot: -1, host: "", port: 0 }],
  ["-UNBLOCKED force unblock from blocking operation", { kind: UNBLOCKED, slot: -1, host: "", port: 0 }],
  ["-UNBLOCKED client unblocked via CLIENT UNBLOCK", null],
  ["-MOVED 16384 127.0.0.1:6381", null],
  ["-MOVED 1 127.0.0.1:0", null],
  ["-MOVED 1 127.0.0.1", null],
  ["-MOVED", null],
  ["-ASKING", null],
  ["-ERR MOVED 1 a:1", null],
];
for (const [text, expected] of HEARD) {
  Deno.test(`readRedirect() of ${JSON.stringify(text)}`, () => {
    const bytes = latin1(`xx${text}\r\n`);
    deepStrictEqual(readRedirect(bytes, 2, bytes.length), expected);
  });
}

testOf("MOVED is followed, in the client's order, and the source is told", async (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "x");
  const [from, to] = [world.cluster.owner(SLOT), world.node(3)];
  world.cluster.give(SLOT, to);
  world.asked();
  client.say("APPEND", ONE, "1").say("APPEND", ONE, "2").say("GET", TWO).say("APPEND", ONE, "3").say(
    "GET",
    ONE,
  );
  world.run(30);
  strictEqual(client.take(), ":2\r\n:3\r\n$-1\r\n:4\r\n$4\r\nx123\r\n");
  deepStrictEqual(to.redis.takeGot(), [
    `APPEND ${ONE} 1`,
    `APPEND ${ONE} 2`,
    `APPEND ${ONE} 3`,
    `GET ${ONE}`,
  ]);
  deepStrictEqual(world.signs, [`${from.name} moved`]);
  await world.learn();
  world.run(30);
  world.asked();
  strictEqual(world.ask(client, "GET", ONE), "$4\r\nx123\r\n");
  deepStrictEqual(from.redis.takeGot().filter((words) => words.startsWith("GET")), []);
});

testOf("ASK is followed once, behind ASKING on the same connection, and not remembered", async (world) => {
  const client = world.talker();
  world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
  const from = world.cluster.owner(SLOT);
  const to = world.node(3);
  world.cluster.migrate(SLOT, to, ONE);
  world.asked();
  for (let i = 0; i < 2; i++) {
    strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
    deepStrictEqual(from.redis.takeGot(), [`GET ${ONE}`]);
    deepStrictEqual(to.redis.takeGot(), ["ASKING", `GET ${ONE}`]);
  }
  strictEqual(world.ask(client, "GET", ALSO_ONE), "$1\r\ny\r\n");
  strictEqual(world.ask(client, "SET", "{a}new", "z"), "+OK\r\n");
  deepStrictEqual(to.redis.takeGot(), ["ASKING", "SET {a}new z"]);
  strictEqual(to.data.get("{a}new"), "z");
  await world.learn();
  strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
});

testOf("a node that refuses ASKING is told of in the log, once: clients read MOVED", (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "x");
  const to = world.node(3);
  world.cluster.migrate(SLOT, to, ONE);
  to.askingRefusal = "-NOPERM this user has no permissions to run the 'asking' command\r\n";
  for (let i = 0; i < 2; i++) {
    client.say("GET", ONE);
    world.run(8000);
    match(client.take(), /^-(MOVED|TRYAGAIN) /);
  }
  deepStrictEqual(world.lines, [
    `pool 'c' server '${world.cluster.owner(SLOT).name}' at ${to.name} refuses the proxy's own ASKING: ` +
    "NOPERM this user has no permissions to run the 'asking' command",
  ]);
});

testOf(
  "before any node has been heard nothing is written to a server that is none of a cluster",
  async (world) => {
    await world.forget();
    for (const node of world.cluster.nodes) node.standalone = true;
    const client = world.talker();
    client.say("SET", ONE, "x");
    world.run(3000);
    match(
      client.take(),
      /^-ERR The server is no node of a cluster: it has cluster support disabled \(server /,
    );
    deepStrictEqual(world.cluster.nodes.filter(({ data }) => data.size > 0), []);
    for (const node of world.cluster.nodes) node.standalone = false;
    world.run(3000);
    strictEqual(world.ask(client, "SET", ONE, "x"), "+OK\r\n");
  },
);

testOf("what a script makes up leads nowhere", (world) => {
  const client = world.talker();
  const stranger = world.node(3);
  const owner = world.cluster.owner(SLOT);
  world.ask(client, "SET", ONE, "x");
  world.asked();
  for (const word of ["MOVED", "ASK"]) {
    const script = `-${word} ${SLOT} ${stranger.name}`;
    // No node says so of a request without keys, or of another slot.
    strictEqual(world.ask(client, "EVAL", script, "0"), `${script}\r\n`);
    strictEqual(world.ask(client, "EVAL", script, "1", TWO), `${script}\r\n`);
    client.say("EVAL", script, "1", ONE).say("GET", ONE);
    world.run(4000);
    strictEqual(client.take(), `${script}\r\n$1\r\nx\r\n`);
    ok(owner.redis.takeGot().filter((words) => words.startsWith("EVAL")).length < 5);
  }
  for (const words of ["-TRYAGAIN x", "-CLUSTERDOWN x"]) {
    strictEqual(world.ask(client, "EVAL", words, "0"), `${words}\r\n`);
    client.say("EVAL", words, "2", ONE, ALSO_ONE).say("GET", ONE);
    world.run(4000);
    strictEqual(client.take(), `${words}\r\n$1\r\nx\r\n`);
    // Slots may move in between: one word is no proof.
    strictEqual(owner.redis.takeGot().filter((each) => each.startsWith("EVAL")).length, 4);
  }
  strictEqual(stranger.redis.accepted, 0);
});

for (const name of ["M.SAY", "M.ASKED"]) {
  testOf(`what a module's command says leads nowhere: ${name}`, async (world) => {
    const client = world.talker();
    const stranger = world.node(3);
    const owner = world.cluster.owner(SLOT);
    world.ask(client, "SET", ONE, "x");
    strictEqual(world.ask(client, name, ONE, "+well"), "+well\r\n");
    world.asked();
    const runs = () => owner.redis.takeGot().filter((words) => words.startsWith(name)).length;
    for (
      const words of ["MOVED", "ASK"].map((word) => `-${word} ${SLOT} ${stranger.name}`).concat([
        "-TRYAGAIN x",
        "-CLUSTERDOWN x",
      ])
    ) {
      client.say(name, ONE, words).say("GET", ONE);
      world.run(4000);
      strictEqual(client.take(), `${words}\r\n$1\r\nx\r\n`);
      strictEqual(runs(), 4);
    }
    const other = `-MOVED ${slotOf("c")} ${stranger.name}`;
    strictEqual(world.ask(client, name, ONE, other), `${other}\r\n`);
    strictEqual(runs(), 1);
    strictEqual(stranger.redis.accepted, 0);
    // What is true is followed: to a node that owns nothing, and to one that has come to own it.
    world.cluster.migrate(SLOT, stranger, ONE);
    client.say(name, ONE, "+ask");
    world.run(100);
    strictEqual(client.take(), "+ask\r\n");
    world.cluster.give(SLOT, stranger);
    client.say(name, ONE, "+moved");
    world.run(100);
    strictEqual(client.take(), "+moved\r\n");
    await world.learn();
    strictEqual(world.ask(client, name, ONE, "+learned"), "+learned\r\n");
  });
}

testOf(
  "a script is asked of a node that owns nothing, if another request is pointed there as well",
  (world) => {
    const client = world.talker();
    const to = world.node(3);
    world.ask(client, "SET", ONE, "x");
    world.cluster.migrate(SLOT, to, ONE);
    world.asked();
    client.say("EVAL", "return 1", "1", ONE).say("GET", ONE);
    world.run(100);
    strictEqual(client.take(), "$8\r\nreturn 1\r\n$1\r\nx\r\n");
    deepStrictEqual(to.redis.takeGot().slice(0, 4), [
      "ASKING",
      `EXISTS ${ONE}`,
      "ASKING",
      `EVAL return 1 1 ${ONE}`,
    ]);
    // Some of its keys have moved: it is sent when they are together.
    const owner = world.cluster.owner(SLOT);
    owner.data.set(ALSO_ONE, "y");
    world.asked();
    client.say("EVAL", "return 3", "2", ONE, ALSO_ONE);
    world.run(2500);
    strictEqual(client.take(), "");
    strictEqual(owner.redis.takeGot().filter((words) => words.startsWith("EVAL")).length, 1);
    world.cluster.migrate(SLOT, to, ALSO_ONE);
    world.run(300);
    strictEqual(client.take(), "$8\r\nreturn 3\r\n");
    world.cluster.give(SLOT, to);
    client.say("EVAL", "return 2", "1", ONE);
    world.run(100);
    strictEqual(client.take(), "$8\r\nreturn 2\r\n");
  },
);

testOf("a script that nodes are asked about does not pass what is sent on before it", (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "x");
  // Nobody follows a script's word to a node that is no server: its keys are asked about.
  const [stranger, last] = [world.node(3), world.node(1)];
  world.cluster.give(SLOT, stranger);
  world.cluster.migrate(SLOT, last, ONE);
  world.asked();
  client.say("APPEND", ONE, "1").say("EVAL", "return", "1", ONE).say("APPEND", ONE, "2").say("GET", ONE);
  world.run(300);
  strictEqual(client.take(), ":2\r\n$6\r\nreturn\r\n:3\r\n$3\r\nx12\r\n");
  deepStrictEqual(last.redis.takeGot().filter((words) => !/^(ASKING|EXISTS)/.test(words)), [
    `APPEND ${ONE} 1`,
    `EVAL return 1 ${ONE}`,
    `APPEND ${ONE} 2`,
    `GET ${ONE}`,
  ]);
});

testOf(
  "nodes that send it to each other, behind ASKING too, are asked once each before there is a pause",
  (world) => {
    const client = world.talker();
    const [from, to] = [world.cluster.owner(SLOT), world.node(1)];
    world.cluster.migrate(SLOT, to);
    // It has made way for another one, of which the first node has not heard.
    to.importing.clear();
    world.asked();
    client.say("GET", ONE);
    world.run(4);
    deepStrictEqual(from.redis.takeGot(), [`GET ${ONE}`]);
    deepStrictEqual(to.redis.takeGot(), ["ASKING", `GET ${ONE}`]);
    world.run(500);
    ok(from.redis.takeGot().length < 15);
    to.importing.set(SLOT, from);
    world.run(200);
    strictEqual(client.take(), "$-1\r\n");
  },
);

testOf("ASK leads back to a node that has said MOVED: the slot is on its way there", async (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "x");
  // The table still has it where it comes back to.
  const [first, second] = [world.cluster.owner(SLOT), world.node(3)];
  world.cluster.migrate(SLOT, second, ONE);
  world.cluster.give(SLOT, second);
  world.cluster.migrate(SLOT, first, ONE);
  world.asked();
  strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
  deepStrictEqual(first.redis.takeGot(), [`GET ${ONE}`, "ASKING", `GET ${ONE}`]);
  deepStrictEqual(second.redis.takeGot(), [`GET ${ONE}`]);
});

testOf(
  "ASK to a node that owns nothing yet: its connection is one for all, and ends when the node is a server",
  async (world) => {
    const [first, second] = [world.talker(), world.talker()];
    const to = world.node(3);
    world.cluster.migrate(SLOT, to);
    for (const client of [first, second]) strictEqual(world.ask(client, "APPEND", ONE, "x").slice(0, 1), ":");
    strictEqual(to.redis.accepted, 1);
    world.cluster.give(SLOT, to);
    await world.learn();
    strictEqual(world.ask(first, "GET", ONE), "$2\r\nxx\r\n");
    world.run(200);
    strictEqual(to.redis.connections.size, 1);
  },
);

testOf(
  "TRYAGAIN is tried again with pauses until the keys are together, and nothing of the client passes it",
  (world) => {
    const client = world.talker();
    world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
    const to = world.node(3);
    world.cluster.migrate(SLOT, to, ONE);
    world.asked();
    client.say("MGET", ONE, ALSO_ONE);
    world.run(100);
    client.say("SET", ONE, "later");
    world.run(900);
    strictEqual(client.take(), "");
    const tries = world.cluster.owner(SLOT).redis.takeGot();
    ok(tries.length > 5 && tries.length < 25, `${tries.length} tries in a second`);
    ok(!tries.some((words) => words.startsWith("SET")), "what comes later waits");
    world.cluster.migrate(SLOT, to, ALSO_ONE);
    world.run(300);
    strictEqual(client.take(), "*2\r\n$1\r\nx\r\n$1\r\ny\r\n+OK\r\n");
    strictEqual(to.data.get(ONE), "later");
  },
);

testOf("TRYAGAIN reaches the client after cluster_tryagain, in the server's words", (world) => {
  const client = world.talker();
  world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
  world.cluster.migrate(SLOT, world.node(3), ONE);
  client.say("MGET", ONE, ALSO_ONE);
  world.run(600);
  strictEqual(client.take(), "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
  strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
}, "  cluster_tryagain: 400\n");

const UNBLOCK =
  "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

testOf(
  "who waits for a list goes on waiting where the slot is, for what is left of its time",
  async (world) => {
    const client = world.talker();
    const [first, second, third] = [world.cluster.owner(SLOT), world.node(3), world.node(1)];
    client.say("BLPOP", ONE, "100").say("GET", TWO);
    world.run(5000);
    world.cluster.give(SLOT, second);
    first.waiting.pop()!.say(`-MOVED ${SLOT} ${second.name}\r\n`);
    world.run(100);
    const [, left] = /^BLPOP \{a\}1 (9\d\.?\d*)$/.exec(second.redis.takeGot().at(-1)!)!;
    ok(Math.abs(Number(left) - 95) < 1, left);
    // Another has taken its place, and nobody says yet which.
    const said = second.waiting.pop()!;
    said.say(UNBLOCK);
    said.socket.end();
    world.cluster.give(SLOT, third);
    third.data.set(ONE, "x");
    world.run(50);
    await world.learn();
    world.run(200);
    strictEqual(client.take(), "*2\r\n$4\r\n{a}1\r\n$1\r\nx\r\n$-1\r\n");
  },
);

testOf(
  "what follows a wait that a node has ended is not asked by its connection, which that node closes",
  (world) => {
    const client = world.talker();
    const owner = world.cluster.owner(SLOT);
    client.say("BLPOP", ONE, "1").say("WATCH", ONE);
    world.run(200);
    const said = owner.waiting.pop()!;
    // Its time is over as the node becomes a replica.
    world.clock.run(world.clock.nowMs() + 900);
    said.say(UNBLOCK);
    said.socket.end();
    world.run(100);
    strictEqual(client.take(), "*-1\r\n+OK\r\n");
  },
);

testOf("who waits for a list asks with ASKING, and is told in the end that the cluster is down", (world) => {
  const client = world.talker();
  const to = world.node(3);
  world.cluster.migrate(SLOT, to);
  client.say("BLPOP", ONE, "0");
  world.run(50);
  deepStrictEqual(to.redis.takeGot().slice(-2), ["ASKING", `BLPOP ${ONE} 0`]);
  world.run(5000);
  world.cluster.owner(SLOT).down = "-CLUSTERDOWN The cluster is down\r\n";
  to.waiting.pop()!.say("-CLUSTERDOWN The cluster is down\r\n");
  world.run(25_000);
  strictEqual(client.take(), "");
  world.run(6000);
  strictEqual(client.take(), "-CLUSTERDOWN The cluster is down\r\n");
  strictEqual(world.ask(client, "GET", TWO), "$-1\r\n");
});

testOf("CLIENT UNBLOCK ends a wait that pauses, since no node serves the slot", (world) => {
  const [client, other] = [world.talker(), world.talker()];
  const id = world.ask(client, "CLIENT", "ID").slice(1, -2);
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  for (
    const [how, reads] of [
      ["TIMEOUT", "*-1\r\n"],
      ["ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"],
    ] as const
  ) {
    client.say("BLPOP", ONE, "0");
    world.run(500);
    strictEqual(world.ask(other, "CLIENT", "UNBLOCK", id, how), ":1\r\n");
    strictEqual(client.take(), reads);
    strictEqual(world.ask(other, "CLIENT", "UNBLOCK", id, how), ":0\r\n");
  }
  for (const node of world.cluster.nodes) node.down = null;
  world.run(2000);
  deepStrictEqual([...world.pool.clients].map(({ blocked }) => blocked), [0, 0]);
  strictEqual(world.ask(client, "GET", TWO), "$-1\r\n");
});

testOf("CLIENT UNBLOCK finds a wait that is on its way to another node", (world) => {
  const [client, other] = [world.talker(), world.talker()];
  const id = world.ask(client, "CLIENT", "ID").slice(1, -2);
  const nodes = [world.cluster.owner(SLOT), world.node(3)];
  for (let i = 0; i < 40; i++) {
    const [from, to] = [nodes[i % 2]!, nodes[1 - i % 2]!];
    client.say("BLPOP", ONE, "0");
    world.run(50);
    other.say("CLIENT", "UNBLOCK", id);
    world.clock.run(world.clock.nowMs() + i * 0.05);
    world.cluster.give(SLOT, to);
    from.waiting.pop()?.say(`-MOVED ${SLOT} ${to.name}\r\n`);
    world.run(100);
    strictEqual(other.take(), ":1\r\n", `round ${i}`);
    strictEqual(client.take(), "*-1\r\n", `round ${i}`);
    strictEqual(to.waiting.length, 0);
  }
});

testOf("a wait is not tried again for longer than its own time", (world) => {
  const client = world.talker();
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  client.say("BLPOP", ONE, "3");
  world.run(2900);
  strictEqual(client.take(), "");
  world.run(300);
  strictEqual(client.take(), "-CLUSTERDOWN The cluster is down\r\n");
});

testOf("a wait whose time is over while nodes send it to each other reads that nothing has come", (world) => {
  const client = world.talker();
  const [owner, other] = [world.cluster.owner(SLOT), world.node(3)];
  owner.believed.set(SLOT, other);
  other.believed.set(SLOT, owner);
  client.say("BLPOP", ONE, "3");
  world.run(2000);
  strictEqual(client.take(), "");
  world.run(1500);
  strictEqual(client.take(), "*-1\r\n");
  client.say("HELLO", "3");
  world.run(200);
  client.take();
  client.say("BLPOP", ONE, "1");
  world.run(1500);
  strictEqual(client.take(), "_\r\n");
});

testOf("what a turn has brought leaves whole, even if a reply comes before its request has left", (world) => {
  const client = world.talker();
  const owner = world.cluster.owner(SLOT);
  world.ask(client, "SET", ONE, "1");
  const server = world.pool.servers.find(({ config }) => config.addressText === owner.name)!;
  const [connection] = server.connections;
  owner.redis.takeGot();
  const told: string[] = [];
  for (const key of [ONE, ALSO_ONE]) {
    connection!.ask(
      command("GET", key),
      (bytes, start, end) => void told.push(textOf(bytes, start, end)),
    );
  }
  connection!.receive(latin1("$1\r\nz\r\n"));
  connection!.invariants();
  world.run(20);
  deepStrictEqual(owner.redis.takeGot(), [`GET ${ONE}`, `GET ${ALSO_ONE}`]);
  // Nobody is left to have the last one.
  deepStrictEqual(told, ["$1\r\nz\r\n", "$1\r\n1\r\n"]);
  strictEqual(connection!.closed, true);
});

for (
  const [words, reply] of [
    [["DBSIZE"], /^:3\r\n$/],
    // No keys, and the cursor of the next server.
    [["SCAN", "0"], /^\*2\r\n\$16\r\n4503599627370497\r\n\*0\r\n$/],
  ] as const
) {
  const how = words[0] === "SCAN" ? "but not a walk, which comes to it later" : "to whoever takes its place";
  testOf(`what is for each node goes, if it has not left, ${how}: ${words[0]}`, async (world) => {
    const client = world.talker();
    const [server] = world.pool.servers;
    const node = world.cluster.nodes.find(({ name }) => name === server!.config.addressText)!;
    const heir = world.node(3);
    heir.data.set(ONE, "1").set(ALSO_ONE, "2").set(TWO, "3");
    client.say(...words);
    while (server!.connections.length === 0) world.step();
    strictEqual(server!.connections[0]!.isOpen, false, "its connection is not open yet");
    for (let slot = 0; slot < SLOTS; slot++) {
      if (world.cluster.owner(slot) === node) world.cluster.give(slot, heir);
    }
    await world.learn();
    world.run(200);
    match(client.take(), reply);
  });
}

testOf(
  "large requests wait with their clients while much is under way, at first and when they are tried again",
  (world) => {
    const MEGABYTE = 1024 * 1024;
    const value = "x".repeat(300_000);
    for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
    const clients = Array.from({ length: 120 }, () => world.talker());
    for (const client of clients) client.say("SET", ONE, value);
    let most = 0;
    for (let ms = 0; ms < 400; ms++) {
      world.run(1);
      const held = world.pool.everyServer.flatMap(({ connections }) => connections).map((each) =>
        each.holdsBytes
      );
      most = Math.max(most, ...held);
    }
    // Kept until it is answered, and until the kernel has taken it.
    ok(most > 2 * MEGABYTE && most < 18 * MEGABYTE, `${most} of ${clients.length * value.length} bytes`);
    for (const node of world.cluster.nodes) node.down = null;
    world.run(3000);
    deepStrictEqual(clients.map((client) => client.take()), clients.map(() => "+OK\r\n"));
  },
  "",
  4,
  3,
  thorough,
);

testOf("a client that goes while its wait pauses leaves nothing behind", (world) => {
  const client = world.talker();
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  client.say("BLPOP", ONE, "0");
  world.run(200);
  client.socket.destroy();
  world.run(2000);
  strictEqual(world.pool.clients.size, 0);
});

testOf("CLUSTERDOWN is waited for a second, one request of a client at a time", (world) => {
  const client = world.talker();
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  client.say("APPEND", ONE, "1").say("APPEND", ONE, "2").say("APPEND", ONE, "3");
  world.run(500);
  strictEqual(client.take(), "");
  for (const node of world.cluster.nodes) node.down = null;
  world.run(200);
  strictEqual(client.take(), ":1\r\n:2\r\n:3\r\n");
  strictEqual(world.cluster.owner(SLOT).data.get(ONE), "123");
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  client.say("GET", ONE).say("GET", TWO);
  world.run(1500);
  strictEqual(client.take(), "-CLUSTERDOWN The cluster is down\r\n".repeat(2));
});

testOf("nodes that send to each other, or to themselves, are asked a few times and with pauses", (world) => {
  const client = world.talker();
  const [owner, other] = [world.cluster.owner(SLOT), world.node(3)];
  owner.believed.set(SLOT, other);
  other.believed.set(SLOT, owner);
  world.asked();
  client.say("GET", ONE);
  world.run(1500);
  match(client.take(), new RegExp(`^-MOVED ${SLOT} `));
  const circle = world.asked().flat().length;
  ok(circle > 5 && circle < 80, `asked ${circle} times`);
  other.believed.clear();
  owner.down = `-MOVED ${SLOT} ${owner.name}\r\n`;
  client.say("GET", ONE);
  world.run(1500);
  strictEqual(client.take(), owner.down);
  const selves = world.asked().flat().length;
  ok(selves > 5 && selves < 40, `asked ${selves} times`);
});

testOf(
  "MOVED to a node that is dead is tried for a second; the source brings who has its place",
  async (world) => {
    const client = world.talker();
    const owner = world.cluster.owner(SLOT);
    const [heir, dead] = [world.node(3), `10.9.9.9:${PORT}`];
    owner.down = `-MOVED ${SLOT} ${dead}\r\n`;
    client.say("SET", ONE, "1");
    world.run(400);
    strictEqual(client.take(), "");
    owner.down = null;
    world.cluster.give(SLOT, heir);
    await world.learn();
    world.run(100);
    strictEqual(client.take(), "+OK\r\n");
    strictEqual(heir.data.get(ONE), "1");
  },
);

testOf("a primary is dead: what was not sent waits for the node that takes its slots", async (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "0");
  const [owner, heir] = [world.cluster.owner(SLOT), world.node(3)];
  owner.redis.stop();
  world.run(10);
  client.say("APPEND", ONE, "1").say("APPEND", ONE, "2").say("GET", TWO);
  world.run(500);
  strictEqual(client.take(), "");
  ok(world.signs.includes(`${owner.name} primary unreachable`));
  for (let slot = 0; slot < 16384; slot++) {
    if (world.cluster.owner(slot) === owner) world.cluster.give(slot, heir);
  }
  await world.learn();
  world.run(200);
  strictEqual(client.take(), ":2\r\n:3\r\n$-1\r\n");
  strictEqual(heir.data.get(ONE), "012");
});

testOf(
  "a primary is dead, and nobody takes its place: errors after a second, and at once from then on",
  (world) => {
    const client = world.talker();
    world.cluster.owner(SLOT).redis.stop();
    client.say("GET", ONE);
    world.run(900);
    strictEqual(client.take(), "");
    world.run(600);
    match(client.take(), /^-ERR Connection refused.*\(server 10\.0\.1/);
  },
);

testOf("a message goes to another node while that of its channel's slot is dead", (world) => {
  const client = world.talker();
  world.cluster.owner(SLOT).redis.stop();
  world.ask(client, "GET", ONE);
  world.run(1500);
  client.take();
  const others = world.cluster.nodes.filter((node) => node !== world.cluster.owner(SLOT));
  for (const { redis } of others) redis.takeGot();
  client.say("PUBLISH", ONE, "news");
  world.run(50);
  const got = others.flatMap(({ redis }) => redis.takeGot());
  deepStrictEqual(got.filter((each) => each.startsWith("PUBLISH")), [`PUBLISH ${ONE} news`]);
});

testOf("what was in flight where the connection broke is not sent again", (world) => {
  const client = world.talker();
  world.ask(client, "SET", ONE, "0");
  const owner = world.cluster.owner(SLOT);
  const script = owner.redis.script;
  owner.redis.script = () => null;
  client.say("APPEND", ONE, "1");
  world.run(50);
  owner.redis.script = script;
  for (const { socket } of owner.redis.connections) socket.destroy();
  world.run(300);
  match(client.take(), /^-ERR Connection reset by peer/);
  strictEqual(world.ask(client, "GET", ONE), "$1\r\n0\r\n");
});

testOf(
  "a read that is kept is sent again where the connection broke, and where it was redirected to",
  (world) => {
    const client = world.talker();
    world.ask(client, "SET", ONE, "0");
    const owner = world.cluster.owner(SLOT);
    const script = owner.redis.script;
    owner.redis.script = () => null;
    client.say("GET", ONE);
    world.run(50);
    owner.redis.script = script;
    for (const { socket } of owner.redis.connections) socket.destroy();
    world.run(300);
    strictEqual(client.take(), "$1\r\n0\r\n");
  },
  "  retry_reads: true\n",
);

testOf("keys of several slots go out as one request a slot, and are joined", (world) => {
  const client = world.talker();
  const keys = Array.from({ length: 50 }, (_, i) => `k${i % 40}`);
  world.ask(client, "SET", "warm", "1");
  world.asked();
  strictEqual(world.ask(client, "MSET", ...keys.flatMap((key, i) => [key, `v${i}`])), "+OK\r\n");
  const values = keys.map((key) => `v${keys.lastIndexOf(key)}`);
  const reply = `*50\r\n${values.map((value) => `$${value.length}\r\n${value}\r\n`).join("")}`;
  strictEqual(world.ask(client, "MGET", ...keys), reply);
  strictEqual(world.ask(client, "EXISTS", ...keys), ":50\r\n");
  strictEqual(world.ask(client, "DEL", ...keys), ":40\r\n");
  const asked = world.asked().flat();
  strictEqual(asked.length, 4 * new Set(keys.map(slotOf)).size);
  strictEqual(
    world.ask(client, "MSETNX", "a", "1", "b", "2"),
    "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
  );
  strictEqual(world.ask(client, "MSETNX", ONE, "1", ALSO_ONE, "2").slice(0, 4), "-ERR");
});

testOf("fragments are redirected each by itself", (world) => {
  const client = world.talker();
  const keys = [ONE, "k1", ALSO_ONE, TWO, "k2"];
  world.ask(client, "MSET", ...keys.flatMap((key) => [key, key]));
  world.cluster.give(SLOT, world.node(3));
  world.cluster.migrate(slotOf("k1"), world.node(3), "k1");
  const reply = `*5\r\n${keys.map((key) => `$${key.length}\r\n${key}\r\n`).join("")}`;
  for (let i = 0; i < 2; i++) strictEqual(world.ask(client, "MGET", ...keys), reply);
  strictEqual(world.ask(client, "DEL", ...keys), ":5\r\n");
});

testOf("a request in slices: keys of many slots, and of one, which goes whole", (world) => {
  const client = world.talker();
  const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
  client.say("MSET", ...keys.flatMap((key) => [key, "v"]));
  world.run(300);
  strictEqual(client.take(), "+OK\r\n");
  client.say("EXISTS", ...keys);
  world.run(300);
  strictEqual(client.take(), ":700\r\n");
  client.say("EXISTS", ...keys.map((key) => `{t}${key}`));
  world.run(300);
  strictEqual(client.take(), ":0\r\n");
  const last = world.cluster.owner(slotOf("t")).redis.takeGot().at(-1)!;
  strictEqual(last.split(" ").length, 701);
});

for (const checksQueued of [true, false]) {
  const when = checksQueued ? "while queueing" : "at EXEC";
  testOf(`a transaction goes where its keys are, whole, when a node refuses it ${when}`, async (world) => {
    const client = world.talker();
    for (const node of world.cluster.nodes) node.checksQueued = checksQueued;
    world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
    const [owner, to] = [world.cluster.owner(SLOT), world.node(3)];
    const transact = (ms = 30) => {
      client.say("MULTI").say("APPEND", ONE, "1").say("EXISTS", ONE).say("APPEND", ALSO_ONE, "2").say("EXEC");
      world.run(ms);
      return client.take().replace("+OK\r\n" + "+QUEUED\r\n".repeat(3), "");
    };
    world.cluster.migrate(SLOT, to, ONE, ALSO_ONE);
    world.asked();
    strictEqual(transact(), "*3\r\n:2\r\n:1\r\n:2\r\n");
    deepStrictEqual(
      to.redis.takeGot(),
      ["ASKING", "MULTI", `APPEND ${ONE} 1`, `EXISTS ${ONE}`, `APPEND ${ALSO_ONE} 2`, "EXEC"],
    );
    world.cluster.give(SLOT, to);
    strictEqual(transact(), "*3\r\n:3\r\n:1\r\n:3\r\n");
    to.down = "-CLUSTERDOWN The cluster is down\r\n";
    strictEqual(transact(400), "");
    to.down = null;
    world.run(300);
    strictEqual(client.take(), "*3\r\n:4\r\n:1\r\n:4\r\n");
    await world.learn();
    strictEqual(transact(), "*3\r\n:5\r\n:1\r\n:5\r\n");
    ok(!owner.data.has(ONE) && to.data.get(ONE) === "x1111");
    // Nobody is there: it waits for whoever is.
    to.redis.stop();
    world.run(20);
    strictEqual(transact(300), "");
    for (let slot = 0; slot < 16384; slot++) {
      if (world.cluster.owner(slot) === to) world.cluster.give(slot, owner);
    }
    await world.learn();
    world.run(100);
    strictEqual(client.take(), "*3\r\n:6\r\n:1\r\n:6\r\n");
  });

  testOf(`WATCH asks whoever has the keys; EXEC fails when they have moved, ${when}`, async (world) => {
    const client = world.talker();
    for (const node of world.cluster.nodes) node.checksQueued = checksQueued;
    world.ask(client, "SET", ONE, "x");
    const to = world.node(3);
    const exec = () =>
      world.ask(client, "MULTI") + world.ask(client, "APPEND", ONE, "1") + world.ask(client, "EXEC");
    strictEqual(world.ask(client, "WATCH", ONE), "+OK\r\n");
    world.cluster.migrate(SLOT, to, ONE);
    strictEqual(exec(), "+OK\r\n+QUEUED\r\n*-1\r\n");
    // On its way it cannot be watched: if it does not arrive within a second, it is as if it had been touched.
    client.say("WATCH", ONE);
    world.run(1200);
    strictEqual(client.take(), "+OK\r\n");
    strictEqual(exec(), "+OK\r\n+QUEUED\r\n*-1\r\n");
    ok(!to.redis.takeGot().includes("ASKING"));
    client.say("WATCH", ONE);
    world.run(200);
    strictEqual(client.take(), "");
    world.cluster.give(SLOT, to);
    world.run(200);
    strictEqual(client.take(), "+OK\r\n");
    strictEqual(exec(), "+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
    strictEqual(world.ask(client, "WATCH", ONE), "+OK\r\n");
    strictEqual(exec(), "+OK\r\n+QUEUED\r\n*1\r\n:3\r\n");
    strictEqual(world.ask(client, "WATCH", ONE), "+OK\r\n");
    await world.learn();
    strictEqual(exec(), "+OK\r\n+QUEUED\r\n*-1\r\n");
    strictEqual(world.ask(client, "WATCH", ONE), "+OK\r\n");
    strictEqual(world.ask(client, "UNWATCH"), "+OK\r\n");
    strictEqual(world.ask(client, "GET", ONE), "$3\r\nx11\r\n");
  });
}

testOf("a large request goes where its key is, found out before", (world) => {
  const client = world.talker();
  const value = "v".repeat(3_000_000);
  world.ask(client, "SET", ONE, "x");
  const [owner, to] = [world.cluster.owner(SLOT), world.node(3)];
  for (const move of ["none", "ask", "moved", "down"]) {
    if (move === "ask") world.cluster.migrate(SLOT, to);
    if (move === "moved") world.cluster.give(SLOT, to);
    if (move === "down") to.down = "-CLUSTERDOWN The cluster is down\r\n";
    const key = `{a}${move}`;
    client.say("SET", key, value).say("EXISTS", key);
    world.run(move === "down" ? 1500 : 300);
    if (move === "down") to.down = null;
    world.run(1500);
    const reply = move === "down" ? "-CLUSTERDOWN The cluster is down\r\n:0\r\n" : "+OK\r\n:1\r\n";
    strictEqual(client.take(), reply, move);
    const at = move === "none" ? owner : to;
    if (move !== "down") strictEqual(at.data.get(key)?.length, value.length);
  }
});

testOf(
  "where a large request was to go, that has arrived whole in the meantime, the next one does not go",
  (world) => {
    const client = world.talker();
    const [key, other] = [world.cluster.owner(SLOT), world.cluster.owner(slotOf(TWO))];
    ok(key !== other);
    const session = [...world.pool.clients][0]!.session as RedisSession;
    const endpoint = world.pool.servers.find(({ config }) => config.addressText === key.name)!.primary;
    const place = { name: latin1(ONE), endpoint, asking: false };
    const value = "v".repeat(3_000_000);
    session.place = place;
    client.say("SET", TWO, value);
    world.run(1500);
    strictEqual(client.take(), "+OK\r\n");
    strictEqual(other.data.get(TWO)?.length, value.length);
    // Nor when its key is the same: by then it may be elsewhere.
    session.place = place;
    client.say("SET", ONE, "v".repeat(100_000));
    world.run(300);
    strictEqual(client.take(), "+OK\r\n");
    strictEqual(session.place, null);
  },
);

testOf(
  "a node that does not know a script is told it when it says so, and what was loaded when it joins",
  async (world) => {
    const client = world.talker();
    const [text, loaded] = ["return 1", "return 2"];
    const evalsha = (digest: string) => world.ask(client, "EVALSHA", digest, "1", ONE);
    const reply = (said: string) => `$${said.length}\r\n${said}\r\n`;
    strictEqual(world.ask(client, "EVAL", text, "1", ONE), reply(text));
    strictEqual(world.ask(client, "SCRIPT", "LOAD", loaded), reply(digestOf(loaded)));
    strictEqual(evalsha(digestOf(text)), reply(text));
    // To a node that is no server yet: ASKING is used up by whatever comes next, so it is said again.
    const to = world.node(3);
    world.cluster.migrate(SLOT, to);
    world.asked();
    strictEqual(evalsha(digestOf(text)), reply(text));
    deepStrictEqual(to.redis.takeGot(), [
      "ASKING",
      `EXISTS ${ONE}`,
      "ASKING",
      `EVALSHA ${digestOf(text)} 1 ${ONE}`,
      `SCRIPT LOAD ${text}`,
      "ASKING",
      `EVALSHA ${digestOf(text)} 1 ${ONE}`,
    ]);
    strictEqual(evalsha(digestOf("return 3")), "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    world.asked();
    world.cluster.give(SLOT, to);
    ok(!to.scripts.has(digestOf(loaded)));
    await world.learn();
    world.run(30);
    ok(to.scripts.has(digestOf(loaded)));
    to.scripts.clear();
    client.say("EVALSHA", digestOf(text), "1", ONE).say("GET", ONE).say("EVALSHA", digestOf(text), "1", ONE);
    world.run(30);
    strictEqual(client.take(), `${reply(text)}$-1\r\n${reply(text)}`);
    strictEqual(world.ask(client, "EVAL", text, "2", ONE, TWO).slice(0, 11), "-CROSSSLOT ");
  },
);

testOf(
  "who tracks is redirected too; what is read where nobody tells of changes is invalidated",
  async (world) => {
    const client = world.talker();
    const to = world.node(3);
    const all = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
    const forget = (...keys: string[]) =>
      `>2\r\n$10\r\ninvalidate\r\n*${keys.length}\r\n${
        keys.map((key) => `$${key.length}\r\n${key}\r\n`).join("")
      }`;
    world.ask(client, "HELLO", "3");
    strictEqual(world.ask(client, "CLIENT", "TRACKING", "ON"), "+OK\r\n");
    world.ask(client, "SET", ONE, "x");
    strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
    // A node that is no server yet: the client has no line there.
    world.cluster.migrate(SLOT, to, ONE);
    strictEqual(world.ask(client, "GET", ONE), `$1\r\nx\r\n${forget(ONE)}`);
    client.say("GET", TWO).say("GET", ONE).say("GET", TWO);
    world.run(30);
    strictEqual(client.take(), `$-1\r\n$1\r\nx\r\n${forget(ONE)}$-1\r\n`);
    world.cluster.give(SLOT, to);
    strictEqual(world.ask(client, "MGET", ONE, ALSO_ONE), `*2\r\n$1\r\nx\r\n$-1\r\n${forget(ONE, ALSO_ONE)}`);
    await world.learn();
    world.run(30);
    strictEqual(client.take(), all);
    strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
    // Back to a server: the client has a line to it, and hears of changes there.
    world.cluster.give(SLOT, world.node(0));
    strictEqual(world.ask(client, "GET", ONE), "$1\r\nx\r\n");
    // Nothing has moved since the last time.
    await world.learn();
    world.run(30);
    strictEqual(client.take(), all);
    await world.learn();
    world.run(30);
    strictEqual(client.take(), "");
    // What is to be tracked has been said to the first one that was asked.
    strictEqual(world.ask(client, "CLIENT", "TRACKING", "OFF"), "+OK\r\n");
    strictEqual(world.ask(client, "CLIENT", "TRACKING", "ON", "OPTIN"), "+OK\r\n");
    world.cluster.give(SLOT, world.node(1));
    strictEqual(world.ask(client, "CLIENT", "CACHING", "YES"), "+OK\r\n");
    strictEqual(world.ask(client, "GET", ONE), `$1\r\nx\r\n${forget(ONE)}`);
  },
);

testOf("CLIENT CACHING is for the client's next request, not for what is sent on before that", (world) => {
  const client = world.talker();
  const [from, to] = [world.cluster.owner(SLOT), world.node(1)];
  world.ask(client, "HELLO", "3");
  strictEqual(world.ask(client, "CLIENT", "TRACKING", "ON", "OPTOUT"), "+OK\r\n");
  world.cluster.give(SLOT, to);
  world.asked();
  client.send(latin1(`GET ${ONE}\r\nCLIENT CACHING NO\r\n`));
  world.run(30);
  client.say("GET", TWO);
  world.run(30);
  strictEqual(client.take(), "$-1\r\n+OK\r\n$-1\r\n");
  deepStrictEqual([from, to].map(({ redis }) => redis.takeGot()), [[`GET ${ONE}`], [`GET ${ONE}`]]);
});

const INVALIDATED = (key: string) => `>2\r\n$10\r\ninvalidate\r\n*1\r\n$${key.length}\r\n${key}\r\n`;

/** A client that tracks, and a node that says nothing to a request that begins so. */
function tracks(world: World, node: FakeNode, silence: string) {
  const client = world.talker();
  world.ask(client, "HELLO", "3");
  world.ask(client, "CLIENT", "TRACKING", "ON");
  world.ask(client, "GET", TWO);
  const { redis } = node;
  const { script } = redis;
  let line: { say(text: string): void } | null = null;
  redis.script = (words, connection) => {
    if (words[0] === "GET" || words[0] === "MGET") line = connection;
    return words.join(" ").startsWith(silence) ? null : script(words, connection);
  };
  return { client, say: (text: string) => line!.say(text) };
}

testOf(
  "an invalidation is said again behind what a node had answered before it answers what was sent on to it",
  (world) => {
    const node = world.cluster.owner(slotOf(TWO));
    const { client, say } = tracks(world, node, `GET ${ONE}`);
    world.cluster.give(SLOT, node);
    client.send(latin1(`GET ${ONE}\r\nGET ${TWO}\r\n`));
    world.run(30);
    say(INVALIDATED(TWO));
    world.run(30);
    strictEqual(client.take(), INVALIDATED(TWO));
    say("$1\r\n1\r\n");
    world.run(30);
    strictEqual(client.take(), `$1\r\n1\r\n$-1\r\n${INVALIDATED(TWO)}`);
  },
);

testOf(
  "an invalidation is said again behind a request of which its node has answered one slot and not another",
  (world) => {
    const node = world.cluster.owner(slotOf(TWO));
    const other = Array.from({ length: 1000 }, (_, i) => `key${i}`).find((key) =>
      slotOf(key) !== slotOf(TWO) && world.cluster.owner(slotOf(key)) === node
    )!;
    const { client, say } = tracks(world, node, `MGET ${other}`);
    client.say("MGET", TWO, other);
    world.run(30);
    const many = INVALIDATED(TWO).repeat(10);
    say(many);
    world.run(30);
    strictEqual(client.take(), many);
    // They are one thing in the queue, of a size that is bounded: the request's other node may take its time.
    strictEqual([...world.pool.clients].at(-1)!.replies.length, 2);
    say("*1\r\n_\r\n");
    world.run(30);
    strictEqual(client.take(), `*2\r\n$-1\r\n_\r\n${many}`);
  },
);

testOf(
  "a channel that is left and asked of another node is heard from that one alone",
  async (world) => {
    const [one, two, third] = [world.talker(), world.talker(), world.talker()];
    const [from, to] = [world.cluster.owner(SLOT), world.node(1)];
    const other = ["{a}", "{c}", "{d}", "{e}", "{f}"].find((tag) =>
      slotOf(tag) !== SLOT && world.cluster.owner(slotOf(tag)) === from
    )!;
    world.ask(one, "SUBSCRIBE", ONE);
    world.ask(third, "SUBSCRIBE", other);
    world.cluster.give(SLOT, to);
    await world.learn();
    world.ask(one, "UNSUBSCRIBE", ONE);
    world.ask(two, "SUBSCRIBE", ONE);
    // The one that is left has not read that it is.
    for (const { redis } of [from, to]) redis.publish(ONE, "hello");
    world.run(30);
    strictEqual(two.take(), `*3\r\n$7\r\nmessage\r\n$4\r\n${ONE}\r\n$5\r\nhello\r\n`);
  },
);

testOf("what is for all nodes does not overtake what is redirected to one of them", async (world) => {
  const client = world.talker();
  world.cluster.give(SLOT, world.node(1));
  client.say("SET", ONE, "x").say("DBSIZE").say("DEL", ONE).say("DBSIZE").say("SET", TWO, "y");
  world.run(50);
  strictEqual(client.take(), "+OK\r\n:1\r\n:1\r\n:0\r\n+OK\r\n");
  await world.learn();
  client.say("SET", ONE, "x").say("DBSIZE");
  world.run(50);
  strictEqual(client.take(), "+OK\r\n:2\r\n");
});

testOf(
  "a slot that is back at its node is asked for what comes later only when who had it in between has answered",
  (world) => {
    const client = world.talker();
    strictEqual(world.ask(client, "SET", ONE, "x"), "+OK\r\n");
    const [from, to] = [world.cluster.owner(SLOT), world.node(3)];
    world.cluster.migrate(SLOT, to, ONE);
    // It stands still.
    const { script } = to.redis;
    const unanswered: (() => void)[] = [];
    to.redis.script = (words, connection) => {
      unanswered.push(() => connection.say(script(words, connection)!));
      return null;
    };
    client.say("APPEND", ONE, "1");
    world.run(20);
    strictEqual(unanswered.length, 2);
    // The move is called off, and its key is back.
    from.migrating.delete(SLOT);
    to.importing.delete(SLOT);
    from.data.set(ONE, "x");
    to.data.delete(ONE);
    from.redis.takeGot();
    client.say("APPEND", ONE, "2").say("GET", ONE);
    world.run(50);
    deepStrictEqual(from.redis.takeGot(), []);
    to.redis.script = script;
    for (const answer of unanswered) answer();
    world.run(50);
    strictEqual(client.take(), ":2\r\n:3\r\n$3\r\nx12\r\n");
  },
);

testOf("what any node may be asked is asked of one that can be reached", (world) => {
  const client = world.talker();
  const owner = world.cluster.owner(slotOf("news"));
  owner.redis.stop();
  world.run(50);
  for (let i = 0; i < 3; i++) {
    client.say("PUBLISH", "news", "x").say("EVAL", "return 1", "0");
    world.run(500);
    strictEqual(client.take(), ":0\r\n$8\r\nreturn 1\r\n");
  }
});

testOf("a node that takes no writes any more is told to the source", (world) => {
  const client = world.talker();
  const node = world.node(1);
  strictEqual(world.ask(client, "FLUSHALL"), "+OK\r\n");
  deepStrictEqual(world.signs, []);
  node.follows = true;
  const said = world.ask(client, "FLUSHALL");
  console.log(said);
  match(said, /^-READONLY /);
  console.log(world.signs);
  deepStrictEqual(world.signs, [`${node.name} not a primary`]);
}, "  dangerous_commands: allow\n");

testOf(
  "a node that takes no writes any more says so itself, though it is the first that it says",
  (world) => {
    const client = world.talker();
    const node = world.cluster.owner(SLOT);
    node.follows = true;
    match(world.ask(client, "FLUSHALL"), /^-READONLY /);
    deepStrictEqual(world.signs, [`${node.name} not a primary`]);
  },
  "  dangerous_commands: allow\n",
);

testOf("a library that comes behind the call of its function comes too late for it", (world) => {
  const client = world.talker();
  client.say("FCALL", "lib", "1", ONE);
  client.say("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('lib', f)");
  world.run(100);
  strictEqual(client.take(), "-ERR Function not found\r\n$3\r\nlib\r\n");
});

testOf("a node that does not know a function is told its library", async (world) => {
  const client = world.talker();
  const library = "#!lua name=lib\nredis.register_function('lib', f)";
  strictEqual(world.ask(client, "FUNCTION", "LOAD", library), "$3\r\nlib\r\n");
  const fcall = (name: string) => world.ask(client, "FCALL", name, "1", ONE);
  const to = world.node(3);
  world.cluster.give(SLOT, to);
  ok(fcall("lib").startsWith("$"));
  strictEqual(fcall("other"), "-ERR Function not found\r\n");
  to.libraries.clear();
  await world.learn();
  world.run(30);
  ok(to.libraries.has("lib"));
  // What refuses to learn is not taught for ever.
  to.libraries.clear();
  to.libraries.set("lib2", library);
  strictEqual(fcall("name="), "-ERR Function not found\r\n");
});

testOf("a library is told a node once, whoever asks for words of its text that are no functions", (world) => {
  const client = world.talker();
  const library = "#!lua name=lib\nredis.register_function('f', f)";
  strictEqual(world.ask(client, "FUNCTION", "LOAD", library), "$3\r\nlib\r\n");
  const { redis } = world.cluster.owner(SLOT);
  redis.takeGot();
  for (let i = 0; i < 50; i++) client.say("FCALL", "redis", "1", ONE);
  world.run(100);
  strictEqual(client.take(), "-ERR Function not found\r\n".repeat(50));
  strictEqual(redis.takeGot().filter((each) => each.startsWith("FUNCTION LOAD")).length, 1);
});

testOf("a library that has been deleted, through another proxy, is not loaded again", (world) => {
  const client = world.talker();
  const library = "#!lua name=lib\nredis.register_function('lib', f)";
  strictEqual(world.ask(client, "FUNCTION", "LOAD", library), "$3\r\nlib\r\n");
  for (const node of world.cluster.nodes) node.libraries.clear();
  client.say("FCALL", "lib", "1", ONE).say("GET", ONE).say("FCALL", "lib", "1", ONE);
  world.run(30);
  strictEqual(client.take(), "-ERR Function not found\r\n$-1\r\n-ERR Function not found\r\n");
  for (const node of world.cluster.nodes) strictEqual(node.libraries.size, 0);
  // One node has it: it has not been deleted.
  world.node(2).libraries.set("lib", library);
  world.run(1000);
  client.say("FCALL", "lib", "1", ONE).say("FCALL", "lib", "1", ONE);
  world.run(30);
  strictEqual(client.take(), `$${library.length}\r\n${library}\r\n`.repeat(2));
});

testOf(
  "a node that another client has asked for its libraries in the meantime is asked for none, and the transaction goes on",
  (world) => {
    const client = world.talker();
    const library = "#!lua name=lib\nredis.register_function('lib', f)";
    strictEqual(world.ask(client, "FUNCTION", "LOAD", library), "$3\r\nlib\r\n");
    const redirects = world.pool.front.redirects as PoolRedirects;
    const { called } = redirects;
    let times = 0;
    // Three times until it is to be asked; then the other one's answer comes, in the same turn.
    Object.assign(redirects, {
      called: (...of: Parameters<typeof called>) => ++times > 3 ? [] : called(...of),
    });
    client.say("MULTI").say("FCALL", "lib", "1", ONE).say("EXEC");
    world.run(30);
    strictEqual(client.take(), `+OK\r\n+QUEUED\r\n*1\r\n$${library.length}\r\n${library}\r\n`);
    ok(times > 3);
  },
);

testOf(
  "functions of several libraries that a node does not know, asked for in one go and by several clients",
  (world) => {
    const clients = Array.from({ length: 3 }, () => world.talker());
    const libraries = ["lib", "other"].map((name) =>
      `#!lua name=${name}\nredis.register_function('${name}', f)`
    );
    for (const [i, name] of ["lib", "other"].entries()) {
      strictEqual(
        world.ask(clients[0]!, "FUNCTION", "LOAD", libraries[i]!),
        `$${name.length}\r\n${name}\r\n`,
      );
    }
    const owner = world.cluster.owner(SLOT);
    owner.libraries.clear();
    for (const client of clients) {
      for (const name of ["lib", "other", "lib"]) client.say("FCALL", name, "1", ONE);
    }
    world.run(300);
    const replies = ["lib", "other", "lib"].map((name) => owner.libraries.get(name)!)
      .map((text) => `$${text.length}\r\n${text}\r\n`).join("");
    for (const client of clients) strictEqual(client.take(), replies);
  },
);

testOf("scripts that a node does not know, asked for by clients on several connections", (world) => {
  const clients = Array.from({ length: 4 }, () => world.talker());
  const digest = world.ask(clients[0]!, "SCRIPT", "LOAD", "return1").split("\r\n")[1]!;
  for (let round = 0; round < 20; round++) {
    world.cluster.owner(SLOT).scripts.clear();
    for (const client of clients) client.say("EVALSHA", digest, "1", ONE);
    world.run(1500);
    for (const client of clients) strictEqual(client.take(), "$7\r\nreturn1\r\n");
  }
}, "  server_connections: 2\n");

testOf(
  "a node that goes away when it is asked for its libraries is asked once more when it is there again",
  (world) => {
    const client = world.talker();
    const library = "#!lua name=lib\nredis.register_function('lib', f)";
    strictEqual(world.ask(client, "FUNCTION", "LOAD", library), "$3\r\nlib\r\n");
    const owner = world.cluster.owner(SLOT);
    owner.mute = true;
    client.say("MULTI").say("FCALL", "lib", "1", ONE).say("EXEC");
    world.run(30);
    strictEqual(client.take(), "+OK\r\n+QUEUED\r\n");
    const address = { host: owner.host, port: PORT };
    world.net.down(address);
    world.net.up(address);
    owner.mute = false;
    owner.libraries.clear();
    world.run(1000);
    strictEqual(client.take(), `*1\r\n$${library.length}\r\n${library}\r\n`);
  },
);

testOf(
  "what comes behind a script that a node does not know, and is sent to another node, waits for it",
  (world) => {
    const client = world.talker();
    const digest = world.ask(client, "SCRIPT", "LOAD", "return1").split("\r\n")[1]!;
    const owner = world.cluster.owner(SLOT);
    const to = [0, 1, 2].map((i) => world.node(i)).find((node) => node !== owner)!;
    const { scripts } = owner;
    // The slot leaves between the two.
    scripts.has = () => {
      world.cluster.give(SLOT, to);
      return false;
    };
    world.asked();
    client.say("EVALSHA", digest, "1", ONE).say("APPEND", ONE, "x");
    world.run(300);
    strictEqual(client.take(), "$7\r\nreturn1\r\n:1\r\n");
    const got = to.redis.takeGot().filter((each) => /^(EVALSHA|APPEND)/.test(each));
    deepStrictEqual(got.map((each) => each.split(" ")[0]), ["EVALSHA", "APPEND"]);
  },
);

testOf(
  "a node that has not taken a script, since it is loading, is told it again before the transaction",
  (world) => {
    const client = world.talker();
    const digest = world.ask(client, "SCRIPT", "LOAD", "return1").split("\r\n")[1]!;
    const owner = world.cluster.owner(SLOT);
    owner.scripts.clear();
    owner.loading = true;
    owner.down = "-CLUSTERDOWN The cluster is down\r\n";
    client.say("MULTI").say("EVALSHA", digest, "1", ONE).say("EXEC");
    world.run(100);
    strictEqual(client.take(), "+OK\r\n+QUEUED\r\n");
    owner.loading = false;
    owner.down = null;
    world.run(300);
    strictEqual(client.take(), "*1\r\n$7\r\nreturn1\r\n");
  },
);

testOf("a client that goes away while it waits leaves nothing behind", (world) => {
  const client = world.talker();
  for (const node of world.cluster.nodes) node.down = "-CLUSTERDOWN The cluster is down\r\n";
  client.say("GET", ONE).say("GET", TWO).say("MGET", ONE, TWO);
  world.run(100);
  client.socket.destroy();
  world.run(1500);
  strictEqual(world.pool.clients.size, 0);
  for (const { connections } of world.pool.everyServer) {
    for (const connection of connections) ok(connection.idle && connection.holdsBytes === 0);
  }
});

testOf(
  "before any node has been heard, what concerns all of them says so, in MULTI too; keys are asked for",
  async (world) => {
    const client = world.talker();
    match(world.ask(client, "DBSIZE"), /^:\d+\r\n$/);
    await world.forget();
    const down = "-CLUSTERDOWN The nodes of the cluster are not known yet: none has answered\r\n";
    for (
      const words of [
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "PUBSUB CHANNELS",
        "PUBSUB NUMSUB a",
        "PUBSUB SHARDCHANNELS",
        "SCRIPT EXISTS a",
      ]
    ) strictEqual(world.ask(client, ...words.split(" ")), down, words);
    strictEqual(world.ask(client, "MULTI"), "+OK\r\n");
    strictEqual(world.ask(client, "DBSIZE"), down);
    match(world.ask(client, "EXEC"), /^-EXECABORT /);
    strictEqual(world.ask(client, "SET", ONE, "v"), "+OK\r\n");
  },
);

/** Node `replica` is one of whoever owns SLOT, and is read from. Returns the owner. */
function readFrom(world: World, replica: FakeNode): FakeNode {
  const owner = world.cluster.owner(SLOT);
  replica.follows = true;
  const { config } = world.pool.servers.find((server) => server.config.addressText === owner.name)!;
  world.pool.follow([state(config.name, 1, owner.name, { replicas: [endpoint(replica.name)] })]);
  world.run(20);
  return owner;
}

testOf("a read that a replica, and then its primary, send on is answered where the slot is", (world) => {
  const client = world.talker();
  readFrom(world, world.node(3));
  world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
  world.cluster.give(SLOT, world.node(1));
  world.asked();
  client.say("GET", ONE).say("MGET", ONE, TWO, ALSO_ONE).say("GET", TWO);
  world.run(200);
  strictEqual(client.take(), "$1\r\nx\r\n*3\r\n$1\r\nx\r\n$-1\r\n$1\r\ny\r\n$-1\r\n");
  deepStrictEqual(world.node(3).redis.takeGot(), [
    "READONLY",
    "ROLE",
    `GET ${ONE}`,
    `MGET ${ONE} ${ALSO_ONE}`,
  ]);
}, "  read_from: replica\n");

testOf(
  "reads of a node that leaves the cluster unheard, as its replica does, are answered where its slots are",
  async (world) => {
    const client = world.talker();
    const replica = world.node(3);
    const owner = readFrom(world, replica);
    world.ask(client, "MSET", ONE, "x", ALSO_ONE, "y");
    world.ask(client, "GET", ONE);
    replica.silent = owner.silent = true;
    client.say("GET", ONE).say("MGET", ONE, TWO, ALSO_ONE);
    world.run(5);
    world.cluster.giveAll(owner, world.node(1));
    await world.learn();
    client.say("GET", ALSO_ONE);
    world.run(1000);
    strictEqual(
      client.take(),
      "$1\r\nx\r\n*3\r\n$1\r\nx\r\n$-1\r\n$1\r\ny\r\n$1\r\ny\r\n",
    );
  },
  "  read_from: replica\n  timeout: 300\n",
);
