/**
 * Reads from replicas on the simulator's network: machine 1 is the primary, machines 2 and 3 its replicas, with values that tell who has
 * answered. What a replica cannot answer somebody else answers, in order, and no client reads an error.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { READS_ELSEWHERE, REPLICA_READS } from "../../src/stats/metrics.ts";
import type { RedisSession } from "../../src/redis/session.ts";
import type { Sign } from "../../src/topology/state.ts";
import { endpoint, state } from "../lib/scripted_keeper.ts";
import type { ModelRedis } from "./model_redis.ts";
import type { Talker } from "./reader.ts";
import { Stand } from "./stand.ts";

const PRIMARY = "10.0.0.1:6379";
const REPLICAS = ["10.0.0.2:6379", "10.0.0.3:6379"];
const KEYS = ["a", "b", "c"];

class World {
  private constructor(readonly stand: Stand, readonly signs: string[]) {}

  static async make(yml = "  read_from: prefer_replica\n", servers = [`${PRIMARY}:1 m1`]): Promise<World> {
    const signs: string[] = [];
    const sign = (_pool: string, server: string, what: Sign) => signs.push(`${server} ${what}`);
    const stand = await Stand.make(undefined, `  timeout: 2000\n${yml}`, servers, sign);
    const world = new World(stand, signs);
    for (let i = 0; i < 3; i++) {
      world.model(i).role = i === 0 ? "master" : "slave";
      for (const key of KEYS) world.model(i).databases[0]!.put(key, `${key}@${i}`);
    }
    world.readFrom(1, 2);
    return world;
  }

  model(index: number): ModelRedis {
    return this.stand.model(index);
  }

  /** Connections to it are reset; a process that has the same data takes new ones. */
  reset(index: number): void {
    const { address } = this.stand.servers[index]!;
    this.stand.net.down(address);
    this.stand.net.up(address);
  }

  /** These machines (from 0) may be read from. */
  readFrom(...machines: number[]): void {
    this.stand.follow(
      state("m1", 1, PRIMARY, { replicas: machines.map((machine) => endpoint(REPLICAS[machine - 1]!)) }),
    );
  }

  /** What the client reads to one request. */
  ask(client: Talker, ...words: string[]): string {
    client.take();
    client.say(...words);
    this.stand.run(50);
    return client.take();
  }

  /** The machine that answers this client's reads. */
  homeOf(client: Talker): number {
    const reply = this.ask(client, "GET", "a");
    match(reply, /^\$3\r\na@\d\r\n$/);
    return Number(reply[6]);
  }

  counter(metric: number): number {
    return this.stand.pool.counters[metric]!;
  }

  /** No byte of a read is kept any more. */
  stop(): void {
    for (const client of this.stand.pool.clients) strictEqual((client.session as RedisSession).readBytes, 0);
    this.stand.proxy.stop();
  }
}

Deno.test("reads: a client's go to one replica, others' to another; what does not only read goes to the primary", async () => {
  const world = await World.make();
  const homes = new Set<number>();
  for (let i = 0; i < 12; i++) {
    const client = world.stand.talker();
    const home = world.homeOf(client);
    homes.add(home);
    for (let j = 0; j < 3; j++) strictEqual(world.homeOf(client), home);
  }
  deepStrictEqual([...homes].sort(), [1, 2]);
  strictEqual(world.counter(REPLICA_READS), 48);
  const client = world.stand.talker();
  const home = world.homeOf(client);
  strictEqual(world.ask(client, "MGET", "a", "b"), `*2\r\n$3\r\na@${home}\r\n$3\r\nb@${home}\r\n`);
  strictEqual(world.ask(client, "SET", "x", "1"), "+OK\r\n");
  strictEqual(world.model(0).writes, 1);
  // Watched keys are read where EXEC will be.
  world.ask(client, "WATCH", "a");
  strictEqual(world.homeOf(client), 0);
  world.ask(client, "UNWATCH");
  strictEqual(world.homeOf(client), home);
  world.readFrom();
  strictEqual(world.homeOf(client), 0);
  world.stop();
});

Deno.test("reads: what a replica cannot answer the primary does, in order, and the keeper is told", async () => {
  for (const how of ["loading", "reset", "gone from the list", "late"]) {
    const world = await World.make();
    const { stand } = world;
    const client = stand.talker();
    const home = world.homeOf(client);
    if (how === "loading") world.model(home).loadingUntilMs = Infinity;
    else stand.servers[home]!.frozenUntilMs = Infinity;
    client.say("GET", "b").say("SET", "n", "1").say("MGET", "a", "c").say("GET", "a").say("LLEN", "a");
    stand.run(20);
    if (how === "reset") world.reset(home);
    if (how === "gone from the list") world.readFrom(3 - home);
    stand.run(how === "late" ? 4000 : 100);
    strictEqual(
      client.take(),
      "$3\r\nb@0\r\n+OK\r\n*2\r\n$3\r\na@0\r\n$3\r\nc@0\r\n$3\r\na@0\r\n" +
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
      how,
    );
    ok(world.counter(READS_ELSEWHERE) >= 1, how);
    if (how !== "gone from the list") ok(world.signs.includes("m1 replica failed"), `${how}: ${world.signs}`);
    world.stop();
  }
});

Deno.test("reads: fragments of an MGET that a replica cannot answer are the primary's too", async () => {
  const world = await World.make("  read_from: prefer_replica\n  auto_eject_hosts: false\n", [
    `${PRIMARY}:1 m1`,
    "10.0.0.4:6379:1 m2",
  ]);
  const { stand } = world;
  const keys = Array.from({ length: 20 }, (_, i) => `key${i}`);
  // On one of them each key is, whichever that is.
  for (const key of keys) for (const i of [0, 1, 2, 3]) world.model(i).databases[0]!.put(key, `${key}=${i}`);
  const client = stand.talker();
  const reply = world.ask(client, "MGET", ...keys);
  const homes = new Set([...reply.matchAll(/=(\d)/g)].map(([, machine]) => Number(machine)));
  strictEqual(homes.size, 2);
  ok(homes.has(3) && !homes.has(0), reply);
  const [home] = [...homes].filter((machine) => machine !== 3) as [number];
  world.model(home).loadingUntilMs = Infinity;
  strictEqual(world.ask(client, "MGET", ...keys), reply.replaceAll(`=${home}`, "=0"));
  world.stop();
});

Deno.test("reads: a replica that has just failed is left alone for a moment, others are not", async () => {
  const world = await World.make();
  const client = world.stand.talker();
  const home = world.homeOf(client);
  world.model(home).loadingUntilMs = Infinity;
  strictEqual(world.homeOf(client), 0);
  // Its keeper has not said so yet.
  strictEqual(world.homeOf(client), 3 - home);
  world.model(home).loadingUntilMs = 0;
  world.stand.run(1000);
  strictEqual(world.homeOf(client), home);
  world.stop();
});

Deno.test("reads: while the primary is gone a replica whose connections were cut is asked again", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  const home = world.homeOf(client);
  world.readFrom(home);
  stand.net.down(stand.servers[0]!.address);
  stand.servers[home]!.frozenUntilMs = Infinity;
  client.take();
  client.say("GET", "a");
  stand.run(20);
  world.reset(home);
  stand.servers[home]!.frozenUntilMs = 0;
  stand.run(500);
  strictEqual(client.take(), `$3\r\na@${home}\r\n`);
  for (let i = 0; i < 5; i++) strictEqual(world.homeOf(client), home);
  stand.net.down(stand.servers[home]!.address);
  match(world.ask(client, "GET", "a"), /^-ERR .*no replica can be read from/);
  world.stop();
});

Deno.test("reads: with read_from: replica another replica is asked before the primary", async () => {
  const world = await World.make("  read_from: replica\n");
  const client = world.stand.talker();
  const home = world.homeOf(client);
  world.model(home).loadingUntilMs = Infinity;
  strictEqual(world.homeOf(client), 3 - home);
  world.model(3 - home).loadingUntilMs = Infinity;
  strictEqual(world.homeOf(client), 0);
  world.stop();
});

Deno.test("reads: with read_from: any the primary has clients too, who read from replicas when it is gone", async () => {
  const world = await World.make("  read_from: any\n");
  const clients = Array.from({ length: 12 }, () => world.stand.talker());
  const homes = clients.map((client) => world.homeOf(client));
  deepStrictEqual([...new Set(homes)].sort(), [0, 1, 2]);
  const client = clients[homes.indexOf(0)]!;
  world.model(0).loadingUntilMs = Infinity;
  ok(world.homeOf(client) > 0);
  // Nobody can serve: that is what the client is told.
  for (const i of [1, 2]) world.model(i).loadingUntilMs = Infinity;
  match(world.ask(client, "GET", "a"), /^-LOADING/);
  world.stop();
});

Deno.test("reads: with read_from: nearest replicas of the proxy's zone are read from while they are well", async () => {
  const world = await World.make("  read_from: nearest\n", [`${PRIMARY}:1 m1\nringmaster:\n  zone: here`]);
  // Endpoints are made with their zones.
  world.readFrom();
  world.stand.follow(
    state("m1", 1, PRIMARY, { replicas: [endpoint(REPLICAS[0]!, "there"), endpoint(REPLICAS[1]!, "here")] }),
  );
  const clients = Array.from({ length: 8 }, () => world.stand.talker());
  for (const client of clients) strictEqual(world.homeOf(client), 2);
  world.model(2).loadingUntilMs = Infinity;
  for (const client of clients) ok(world.homeOf(client) !== 2);
  world.model(2).loadingUntilMs = -Infinity;
  // They have said where they stand, later: connections stay, and reads go there.
  const { connections } = world.stand.pool.servers[0]!;
  world.stand.follow(
    state("m1", 1, PRIMARY, { replicas: [endpoint(REPLICAS[0]!, "here"), endpoint(REPLICAS[1]!, "there")] }),
  );
  for (const client of clients) strictEqual(world.homeOf(client), 1);
  world.stand.follow({
    ...state("m1", 1, PRIMARY, { replicas: [endpoint(REPLICAS[0]!), endpoint(REPLICAS[1]!)] }),
    primary: endpoint(PRIMARY, "here"),
  });
  for (const client of clients) strictEqual(world.homeOf(client), 0);
  deepStrictEqual(world.stand.pool.servers[0]!.connections.filter((each) => !connections.includes(each)), []);
  world.stop();
});

Deno.test("reads: a client that leaves takes its reads along", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  const home = world.homeOf(client);
  stand.servers[home]!.frozenUntilMs = Infinity;
  client.say("GET", "a").say("GET", "b");
  stand.run(20);
  client.socket.destroy();
  stand.runUntil(() => stand.pool.clients.size === 0);
  const before = world.model(0).reads;
  world.readFrom();
  stand.run(100);
  strictEqual(world.model(0).reads, before);
  world.stop();
});

Deno.test("read_your_writes: a client reads from the primary until its replica has come to what it wrote", async () => {
  const world = await World.make("  read_from: prefer_replica\n  read_your_writes: true\n");
  const { stand } = world;
  const client = stand.talker();
  const other = stand.talker();
  const home = world.homeOf(client);
  strictEqual(world.ask(client, "SET", "n", "1"), "+OK\r\n");
  for (let i = 0; i < 20; i++) strictEqual(world.homeOf(client), 0);
  // Who has not written has nothing to wait for.
  ok(world.homeOf(other) > 0);
  for (const i of [1, 2]) world.model(i).offset = world.model(0).writes;
  stand.runUntil(() => world.homeOf(client) === home);
  // In one go, before the answer to the write is there.
  client.take();
  client.say("SET", "n", "2").say("GET", "a");
  stand.run(50);
  strictEqual(client.take(), "+OK\r\n$3\r\na@0\r\n");
  for (const i of [1, 2]) world.model(i).offset = world.model(0).writes;
  stand.runUntil(() => world.homeOf(client) === home);
  // Another process at the same address, with what it once had: a connection to it has everything to prove.
  world.model(home).offset = 0;
  world.reset(home);
  world.stand.run(1000);
  for (let i = 0; i < 20; i++) strictEqual(world.homeOf(client), 0);
  world.stop();
});

Deno.test("reads: a large value of a replica goes on in parts, and is not asked for again when its connection ends", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  const home = world.homeOf(client);
  const value = "x".repeat(4 * 1024 * 1024);
  for (const i of [0, 1, 2]) world.model(i).databases[0]!.put("large", value);
  client.take();
  client.say("GET", "large").say("GET", "a");
  stand.runUntil(() => client.read.length > value.length && client.read.endsWith(`a@${home}\r\n`));
  ok(client.take() === `$${value.length}\r\n${value}\r\n$3\r\na@${home}\r\n`);
  const before = world.model(0).reads;
  client.say("GET", "large");
  stand.runUntil(() => client.read.length > 2 * 1024 * 1024);
  // Of what it has got a part it cannot have another whole.
  ok(client.read.length < value.length);
  world.reset(home);
  stand.runUntil(() => client.closed);
  strictEqual(world.model(0).reads, before);
  ok(client.read.length < value.length + 100);
  world.stop();
});
