/**
 * A server's primary is another one while requests are under way: what is written where, what waits, and what clients read. On the
 * simulator's network, with model servers that have a role.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { FORWARD_ERROR, SERVER_EJECTS } from "../../src/stats/metrics.ts";
import { failureOf } from "../../src/proxy/failures.ts";
import type { Sign } from "../../src/topology/state.ts";
import { endpoint, state } from "../lib/scripted_keeper.ts";
import type { ModelRedis } from "./model_redis.ts";
import type { Talker } from "./reader.ts";
import { Stand } from "./stand.ts";

const ONE = ["10.0.0.1:6379:1 m1"];
const [FIRST, SECOND, THIRD] = ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"];

/** Its servers may be replaced; in a file that would need sentinels or replicas. */
const REPLACEABLE = { failover: "promote" } as const;

class World {
  private constructor(readonly stand: Stand, readonly signs: string[]) {}

  /** One server, m1, at machine 1; others may take its place. @param yml more keys of the pool */
  static async make(yml = "", servers: readonly string[] = ONE, known = true): Promise<World> {
    const signs: string[] = [];
    const sign = (_pool: string, server: string, what: Sign) => signs.push(`${server} ${what}`);
    const stand = await Stand.make(undefined, `  timeout: 3000\n${yml}`, servers, sign, REPLACEABLE);
    for (const model of [1, 2, 3]) stand.model(model).role = "slave";
    if (known) stand.follow(state("m1", 1, FIRST));
    return new World(stand, signs);
  }

  model(index: number): ModelRedis {
    return this.stand.model(index);
  }

  get pool() {
    return this.stand.pool;
  }

  /** Machine `index` (from 0) is the primary, and is told so. */
  promote(index: number): void {
    for (let i = 0; i < 4; i++) this.model(i).role = i === index ? "master" : "slave";
  }

  freeze(index: number): void {
    this.stand.servers[index]!.frozenUntilMs = Infinity;
  }

  thaw(index: number): void {
    this.stand.servers[index]!.frozenUntilMs = 0;
  }

  value(index: number, key: string): unknown {
    return this.model(index).databases[0]!.entries.get(key)?.value;
  }

  /** What the client reads to one request. */
  ask(client: Talker, ...words: string[]): string {
    client.take();
    client.say(...words);
    this.stand.run(20);
    return client.take();
  }

  stop(): void {
    this.stand.proxy.stop();
  }
}

Deno.test("follow: after a switch everything goes to the new primary, and nothing to the old one", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  world.promote(1);
  // As after a failover: the old one still takes writes.
  world.model(0).role = "master";
  stand.follow(state("m1", 2, SECOND));
  const { writes } = world.model(0);
  for (let i = 0; i < 20; i++) strictEqual(world.ask(client, "SET", `k${i}`, "x"), "+OK\r\n");
  strictEqual(world.model(0).writes, writes);
  strictEqual(world.model(1).writes, 20);
  world.stop();
});

Deno.test("follow: requests in flight on a frozen primary fail at the switch, and are not answered when it goes on", async () => {
  const world = await World.make();
  const { stand } = world;
  const clients = [stand.talker(), stand.talker()];
  for (const client of clients) strictEqual(world.ask(client, "SET", "a", "0"), "+OK\r\n");
  world.freeze(0);
  clients[0]!.say("SET", "a", "1").say("SET", "b", "1");
  clients[1]!.say("GET", "a");
  stand.run(50);
  strictEqual(clients[0]!.take() + clients[1]!.take(), "");
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(1);
  match(clients[0]!.take(), /^(-ERR The server was replaced while .* unknown \(server m1\)\r\n){2}$/);
  match(clients[1]!.take(), /^-ERR The server was replaced while /);
  strictEqual(world.ask(clients[0]!, "SET", "a", "2"), "+OK\r\n");
  world.thaw(0);
  stand.run(3000);
  strictEqual(clients[0]!.take() + clients[1]!.take(), "");
  strictEqual(world.pool.counters[FORWARD_ERROR], 3);
  world.stop();
});

Deno.test("follow: what has not left goes to the new primary, in order, and is not answered with an error", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.freeze(0);
  // Nothing is greeted yet, so all of it is held back.
  for (let i = 0; i < 10; i++) client.say("APPEND", "log", `${i}`);
  stand.run(50);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  client.say("APPEND", "log", "x");
  stand.run(50);
  strictEqual(client.take(), Array.from({ length: 11 }, (_, i) => `:${i + 1}\r\n`).join(""));
  strictEqual(world.model(0).writes, 0);
  world.stop();
});

Deno.test("follow: what the kernel has not been given goes to the new primary too", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "SET", "log", ""), "+OK\r\n");
  world.freeze(0);
  const piece = "0123456789".repeat(10_000);
  for (let i = 0; i < 40; i++) client.say("APPEND", `log${i}`, piece);
  stand.run(200);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(500);
  const replies = client.take().split("\r\n").slice(0, -1);
  strictEqual(replies.length, 40);
  const failed = replies.filter((reply) => reply.startsWith("-ERR The server was replaced"));
  const moved = replies.filter((reply) => reply === `:${piece.length}`);
  strictEqual(failed.length + moved.length, 40);
  ok(failed.length > 0 && moved.length > 0, `${failed.length} failed, ${moved.length} moved`);
  // Those in flight are the first, and none of these was sent again.
  deepStrictEqual(replies, [...failed, ...moved]);
  strictEqual(world.model(1).writes, moved.length);
  world.stop();
});

Deno.test("follow: the same switch told three times is one move, and old news is none", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.promote(1);
  stand.follow(state("m1", 3, SECOND));
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  const { primary } = world.pool.servers[0]!;
  const sent = [...primary!.connections];
  for (
    const again of [
      state("m1", 3, SECOND),
      state("m1", 2, FIRST),
      state("m1", 3, SECOND),
      state("m1", 3, THIRD),
    ]
  ) {
    stand.follow(again);
    strictEqual(world.pool.servers[0]!.primary, primary);
  }
  deepStrictEqual([...primary!.connections], sent);
  strictEqual(world.ask(client, "GET", "a"), "$1\r\n1\r\n");
  world.stop();
});

Deno.test("follow: without a primary requests are refused with the reason; it may be found again in the same term", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  stand.follow(state("m1", 2, null, { why: "no sentinel answers" }));
  strictEqual(
    world.ask(client, "SET", "a", "1"),
    "-ERR Connection refused: no primary is known: no sentinel answers (server m1)\r\n",
  );
  strictEqual(world.model(0).writes, 0);
  stand.follow(state("m1", 2, FIRST));
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  stand.follow(state("m1", 2, null));
  stand.follow(state("m1", 2, SECOND));
  match(world.ask(client, "GET", "a"), /^-ERR .*no primary is known/);
  world.stop();
});

Deno.test("follow: until somebody says where a server is, requests are held for a second", async () => {
  const world = await World.make("", ONE, false);
  const { stand } = world;
  const [early, blocking] = [stand.talker(), stand.talker()];
  early.say("APPEND", "log", "1").say("MULTI").say("APPEND", "log", "2").say("EXEC");
  strictEqual(world.ask(blocking, "BLPOP", "list", "5"), "");
  stand.run(500);
  strictEqual(early.take(), "");
  stand.follow(state("m1", 1, FIRST));
  stand.run(20);
  strictEqual(early.take(), ":1\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
  strictEqual(world.ask(early, "RPUSH", "list", "x"), ":1\r\n");
  match(blocking.take(), /^\*2\r\n\$4\r\nlist/);
  world.stop();
});

Deno.test("follow: after that second they are refused, at once from then on, until somebody says it", async () => {
  const world = await World.make("", ONE, false);
  const { stand } = world;
  const client = stand.talker();
  client.say("SET", "a", "1");
  stand.run(900);
  strictEqual(client.take(), "");
  stand.run(200);
  const error = /^-ERR Connection refused: no primary is known[^\r]*\(server m1\)\r\n$/;
  match(client.take(), error);
  match(world.ask(client, "SET", "a", "2"), error);
  stand.follow(state("m1", 1, null, { why: "no sentinel answers" }));
  match(world.ask(client, "SET", "a", "2"), /no sentinel answers/);
  stand.follow(state("m1", 1, FIRST));
  strictEqual(world.ask(client, "SET", "a", "3"), "+OK\r\n");
  strictEqual(world.model(0).writes, 1);
  world.stop();
});

Deno.test("role: nothing is written to who says that it is a replica; what waits goes on as soon as it is none", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.model(0).role = "slave";
  client.say("SET", "a", "1").say("GET", "a");
  stand.run(600);
  strictEqual(client.take(), "");
  strictEqual(world.signs[0], "m1 not a primary");
  ok(world.signs.length >= 5 && world.signs.length <= 8, world.signs.join());
  world.model(0).role = "master";
  stand.run(150);
  strictEqual(client.take(), "+OK\r\n$1\r\n1\r\n");
  strictEqual(world.signs.at(-1), "m1 primary answers");
  strictEqual(world.model(0).writes, 1);
  world.stop();
});

Deno.test("role: after a second requests get a clear error, and at once from then on, until there is a primary", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.model(0).role = "slave";
  client.say("SET", "a", "1");
  stand.run(1300);
  const error =
    "-ERR The server's primary is none at the moment: it says that it is a replica (server m1)\r\n";
  strictEqual(client.take(), error);
  for (let i = 0; i < 50; i++) {
    client.say("SET", "a", "2");
    stand.run(20);
  }
  strictEqual(client.take(), error.repeat(50));
  strictEqual(world.model(0).writes, 0);
  world.promote(2);
  stand.follow(state("m1", 2, THIRD));
  strictEqual(world.ask(client, "SET", "a", "3"), "+OK\r\n");
  world.stop();
});

Deno.test("role: who does not say what it is, is not called a replica", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.model(0).roleRefusal = "-NOPERM this user has no permissions to run the 'role' command\r\n";
  client.say("SET", "a", "1");
  stand.run(1300);
  strictEqual(
    client.take(),
    "-ERR It is not known whether the server is a primary or a replica: it does not answer ROLE (server m1)\r\n",
  );
  strictEqual(world.signs[0], "m1 not a primary");
  world.model(0).roleRefusal = "";
  stand.run(1300);
  strictEqual(world.ask(client, "SET", "a", "2"), "+OK\r\n");
  world.stop();
});

Deno.test("leave: when it has run out nothing is written, and requests wait until it is granted again or another is named", async () => {
  const world = await World.make();
  const { stand, pool } = world;
  const cells = pool.board.servers[0]!;
  const client = stand.talker();
  stand.run(150);
  for (let i = 0; i < 30; i++) {
    cells.grant(2000);
    strictEqual(world.ask(client, "SET", "a", String(i)), "+OK\r\n");
    stand.run(100);
  }
  // The main thread says nothing more.
  stand.run(2000);
  client.say("SET", "a", "late").say("GET", "a");
  stand.run(300);
  strictEqual(client.take(), "");
  strictEqual(world.value(0, "a"), "29");
  cells.grant(2000);
  stand.run(250);
  strictEqual(client.take(), "+OK\r\n$4\r\nlate\r\n");
  stand.run(2000);
  client.say("SET", "a", "later");
  stand.run(200);
  world.promote(1);
  cells.grant(2000);
  stand.follow(state("m1", 2, SECOND));
  stand.run(250);
  strictEqual(client.take(), "+OK\r\n");
  strictEqual(world.value(0, "a"), "late");
  strictEqual(world.value(1, "a"), "later");
  world.stop();
});

Deno.test("leave: a connection made after one was lost carries nothing before a majority has been asked since", async () => {
  const world = await World.make();
  const { stand, pool } = world;
  const cells = pool.board.servers[0]!;
  const client = stand.talker();
  stand.run(150);
  cells.grant(2000);
  stand.run(150);
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  // Somebody has made another one the primary by hand, and starts the old one again, which knows nothing of it.
  stand.net.down({ host: "10.0.0.1", port: 6379 });
  stand.run(10);
  stand.net.up({ host: "10.0.0.1", port: 6379 });
  const { writes } = world.model(0);
  client.say("SET", "a", "2");
  stand.run(300);
  strictEqual(client.take(), "");
  strictEqual(pool.servers[0]!.connections.length, 1);
  strictEqual(world.model(0).writes, writes);
  strictEqual(world.signs.at(-1), "m1 needs leave");
  // Asked before the connection was lost, though it is granted now.
  cells.grant(1500);
  stand.run(300);
  strictEqual(client.take(), "");
  strictEqual(world.model(0).writes, writes);
  cells.grant(2000);
  stand.run(150);
  strictEqual(client.take(), "+OK\r\n");
  strictEqual(world.value(0, "a"), "2");
  world.stop();
});

Deno.test("role: what waits for a replica to be promoted moves on with the switch", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.model(0).role = "slave";
  for (let i = 0; i < 5; i++) client.say("APPEND", "log", `${i}`);
  stand.run(300);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(20);
  strictEqual(client.take(), ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
  world.stop();
});

Deno.test("role: a client's deadline holds while it waits, wherever it has waited", async () => {
  const world = await World.make("");
  const { stand } = world;
  await stand.reload(ONE, "  timeout: 200\n", REPLACEABLE);
  const client = stand.talker();
  world.model(0).role = "slave";
  client.say("SET", "a", "1");
  stand.run(190);
  strictEqual(client.take(), "");
  stand.run(60);
  match(client.take(), /^-ERR The server's primary is none at the moment/);
  world.stop();
});

Deno.test("role: what has timed out while it waited is not sent any more", async () => {
  const world = await World.make("");
  const { stand } = world;
  await stand.reload(ONE, "  timeout: 200\n", REPLACEABLE);
  const [client, other] = [stand.talker(), stand.talker()];
  world.model(0).role = "slave";
  client.say("APPEND", "log", "1").say("MULTI").say("APPEND", "log", "2").say("APPEND", "log", "3").say(
    "EXEC",
  );
  stand.run(300);
  match(client.take(), /^-ERR [^\r]*\r\n\+OK\r\n\+QUEUED\r\n\+QUEUED\r\n-ERR [^\r]*\r\n$/);
  // It tries again.
  client.say("APPEND", "log", "4").say("MULTI").say("APPEND", "log", "5").say("EXEC");
  other.say("APPEND", "log", "6");
  stand.run(50);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  strictEqual(client.take(), ":1\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
  strictEqual(other.take(), ":3\r\n");
  strictEqual(world.ask(other, "GET", "log"), "$3\r\n456\r\n");
  world.stop();
});

Deno.test("READONLY: the client reads it, the keeper is told, and the role is asked again", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  world.model(0).role = "slave";
  strictEqual(
    world.ask(client, "SET", "a", "2"),
    "-READONLY You can't write against a read only replica.\r\n",
  );
  deepStrictEqual(world.signs, ["m1 not a primary"]);
  // From here on it is held, not refused.
  strictEqual(world.ask(client, "SET", "a", "3"), "");
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(20);
  strictEqual(client.take(), "+OK\r\n");
  strictEqual(world.value(1, "a") !== undefined, true);
  world.stop();
});

Deno.test("READONLY and NOREPLICAS eject nobody", async () => {
  const world = await World.make("  auto_eject_hosts: true\n  server_failure_limit: 1\n");
  const { stand } = world;
  const client = stand.talker();
  world.ask(client, "SET", "a", "1");
  const model = world.model(0);
  model.refusal = "-NOREPLICAS Not enough good replicas to write.\r\n";
  for (let i = 0; i < 5; i++) strictEqual(world.ask(client, "SET", "a", "2"), model.refusal);
  model.refusal = "";
  model.role = "slave";
  match(world.ask(client, "SET", "a", "2"), /^-READONLY/);
  model.role = "master";
  strictEqual(world.ask(client, "SET", "a", "2"), "+OK\r\n");
  strictEqual(world.pool.counters[SERVER_EJECTS], 0);
  world.stop();
});

Deno.test("ejection: a server that was ejected returns when its new primary answers", async () => {
  const world = await World.make(
    "  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n",
    ["10.0.0.1:6379:1 m1", "10.0.0.4:6379:1 m2"],
  );
  const { stand } = world;
  world.model(3).role = "master";
  stand.follow(state("m2", 1, "10.0.0.4:6379"));
  stand.net.down({ host: "10.0.0.1", port: 6379 });
  const client = stand.talker();
  for (let i = 0; i < 200; i++) client.say("GET", `k${i}`);
  stand.run(1500);
  const [m1] = world.pool.servers.filter(({ config }) => config.name === "m1");
  ok(m1!.ejected);
  // A replica does not bring it back.
  stand.follow(state("m1", 2, THIRD));
  stand.run(500);
  ok(m1!.ejected);
  world.promote(1);
  world.model(3).role = "master";
  stand.follow(state("m1", 3, SECOND));
  stand.run(200);
  ok(!m1!.ejected);
  world.stop();
});

Deno.test("follow: a watch ends as when a server dies, EXEC that is not sent aborts", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "WATCH", "a"), "+OK\r\n");
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  world.ask(client, "MULTI");
  world.ask(client, "SET", "a", "1");
  strictEqual(world.ask(client, "EXEC"), "*-1\r\n");
  strictEqual(world.model(1).writes, 0);
  strictEqual(world.ask(client, "SET", "a", "2"), "+OK\r\n");
  world.stop();
});

Deno.test("follow: who waits for a list reads that the server was replaced, and may ask again", async () => {
  const world = await World.make();
  const { stand } = world;
  const [waiting, other] = [stand.talker(), stand.talker()];
  waiting.say("BLPOP", "list", "1000");
  stand.run(50);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(20);
  match(waiting.take(), /^-ERR The server was replaced/);
  waiting.say("BLPOP", "list", "1000");
  stand.run(20);
  strictEqual(world.ask(other, "RPUSH", "list", "x"), ":1\r\n");
  match(waiting.take(), /^\*2\r\n\$4\r\nlist\r\n\$11\r\nx\|/);
  world.stop();
});

/** What needs a connection of its own: a watch with its transaction, a blocking call, and a value of megabytes. */
function askLeases(watcher: Talker, waiting: Talker, large: Talker): void {
  watcher.say("WATCH", "a").say("MULTI").say("APPEND", "log", "1").say("EXEC");
  waiting.say("BLPOP", "list", "5");
  large.say("SET", "big", "x".repeat(2 * 1024 * 1024)).say("STRLEN", "big");
}

const WATCHED = "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n";

Deno.test("leases: while there is no primary they are held as others are, and go on where one is", async () => {
  for (const how of ["it starts again", "it is promoted", "another takes its place"]) {
    const world = await World.make();
    const { stand } = world;
    const [watcher, waiting, large] = [stand.talker(), stand.talker(), stand.talker()];
    const address = { host: "10.0.0.1", port: 6379 };
    if (how === "it starts again") stand.net.down(address);
    else world.model(0).role = "slave";
    askLeases(watcher, waiting, large);
    stand.run(400);
    strictEqual(watcher.take() + waiting.take() + large.take(), "", how);
    strictEqual(world.model(0).writes, 0);
    if (how === "it starts again") stand.net.up(address);
    else world.promote(how === "it is promoted" ? 0 : 1);
    if (how === "another takes its place") stand.follow(state("m1", 2, SECOND));
    stand.run(300);
    strictEqual(watcher.take(), WATCHED, how);
    strictEqual(large.take(), `+OK\r\n:${2 * 1024 * 1024}\r\n`, how);
    strictEqual(world.ask(large, "RPUSH", "list", "y"), ":1\r\n");
    match(waiting.take(), /^\*2\r\n\$4\r\nlist/);
    world.stop();
  }
});

Deno.test("leases: after a second they read why, and at once from then on; who leaves meanwhile leaves nothing behind", async () => {
  const world = await World.make();
  const { stand } = world;
  const [watcher, waiting, large, gone] = [stand.talker(), stand.talker(), stand.talker(), stand.talker()];
  world.model(0).role = "slave";
  askLeases(watcher, waiting, large);
  gone.say("BLPOP", "list", "0");
  stand.run(300);
  gone.socket.destroy();
  stand.run(1100);
  const error =
    "-ERR The server's primary is none at the moment: it says that it is a replica (server m1)\r\n";
  strictEqual(watcher.take(), `${error}+OK\r\n+QUEUED\r\n*-1\r\n`);
  strictEqual(waiting.take(), error);
  strictEqual(large.take(), error + error);
  strictEqual(world.ask(waiting, "BLPOP", "list", "1"), error);
  strictEqual(world.model(0).writes, 0);
  strictEqual(world.pool.servers[0]!.connections.length, 0);
  world.stop();
});

Deno.test("leases: of many that wait one tries at a time", async () => {
  const world = await World.make();
  const { stand } = world;
  world.model(0).role = "slave";
  const talkers = Array.from({ length: 200 }, () => stand.talker().say("BLPOP", "list", "5"));
  stand.run(20);
  let connects = 0;
  stand.net.connecting = () => connects++;
  stand.run(600);
  ok(connects > 5 && connects < 40, `${connects} connects`);
  world.model(0).role = "master";
  stand.run(300);
  strictEqual(world.pool.servers[0]!.connections.length, talkers.length);
  strictEqual(talkers.map((each) => each.take()).join(""), "");
  world.stop();
});

Deno.test("leases: who tracks while there is no primary tracks when there is one", async () => {
  for (const protocol of ["2", "3"]) {
    const world = await World.make();
    const { stand } = world;
    const [tracker, writer] = [stand.talker(), stand.talker()];
    world.ask(tracker, "HELLO", protocol);
    world.model(0).role = "slave";
    tracker.say("CLIENT", "TRACKING", "ON").say("GET", "a");
    stand.run(300);
    world.promote(1);
    stand.follow(state("m1", 2, SECOND));
    stand.run(300);
    match(tracker.take(), protocol === "3" ? /\+OK\r\n_\r\n$/ : /^\+OK\r\n\$-1\r\n$/);
    strictEqual(world.ask(writer, "SET", "a", "1"), "+OK\r\n");
    if (protocol === "3") match(tracker.take(), /invalidate/);
    world.stop();
  }
});

/** m1 is about to be somebody else's place. */
const yielding = (term: number) => state("m1", term, null, { waitMs: 3000, why: "a sentinel says so" });

Deno.test("yield: what comes while a primary is being replaced waits, and goes to the one that takes its place", async () => {
  const world = await World.make();
  const { stand } = world;
  const [client, watcher, waiting] = [stand.talker(), stand.talker(), stand.talker()];
  strictEqual(world.ask(client, "APPEND", "log", "1"), ":1\r\n");
  strictEqual(world.ask(watcher, "WATCH", "a"), "+OK\r\n");
  strictEqual(world.ask(waiting, "BLPOP", "list", "100"), "");
  stand.follow(yielding(1));
  stand.run(100);
  // Who waits reads what it would on a timeout, and a watch is lost, without an error.
  strictEqual(waiting.take(), "*-1\r\n");
  const { writes } = world.model(0);
  client.say("APPEND", "log", "2").say("GET", "log");
  watcher.say("MULTI").say("SET", "a", "1").say("EXEC").say("SET", "a", "2");
  waiting.say("BLPOP", "list", "5");
  stand.run(1500);
  strictEqual(client.take() + waiting.take(), "");
  strictEqual(watcher.take(), "+OK\r\n+QUEUED\r\n*-1\r\n");
  strictEqual(world.model(0).writes, writes);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  strictEqual(client.take(), ":1\r\n$1\r\n2\r\n");
  strictEqual(watcher.take(), "+OK\r\n");
  strictEqual(world.ask(client, "RPUSH", "list", "x"), ":1\r\n");
  match(waiting.take(), /^\*2/);
  strictEqual(world.model(0).writes, writes);
  strictEqual(world.pool.counters[FORWARD_ERROR], 0);
  world.stop();
});

Deno.test("yield: a primary that stays after all goes on with the same connections, in order", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "APPEND", "log", "1"), ":1\r\n");
  const [before] = world.pool.servers[0]!.connections;
  // What is under way finishes there, before what comes behind it.
  stand.servers[0]!.frozenUntilMs = stand.clock.nowMs() + 550;
  client.say("APPEND", "log", "2");
  stand.run(10);
  stand.follow(yielding(1));
  client.say("APPEND", "log", "3");
  stand.run(600);
  strictEqual(client.take(), ":2\r\n");
  stand.follow(state("m1", 1, FIRST));
  stand.run(50);
  strictEqual(client.take(), ":3\r\n");
  strictEqual(world.value(0, "log"), "123");
  deepStrictEqual(world.pool.servers[0]!.connections.map((each) => each === before), [true]);
  world.stop();
});

Deno.test("yield: what has timed out while it waited for a primary that stays after all takes nobody's reply", async () => {
  const world = await World.make();
  const { stand } = world;
  await stand.reload(ONE, "  timeout: 200\n", REPLACEABLE);
  stand.follow(state("m1", 1, FIRST));
  const [client, other] = [stand.talker(), stand.talker()];
  world.freeze(0);
  client.say("APPEND", "log", "1");
  stand.run(100);
  // It is held for the next connection, whose handshake is not over when its time is.
  client.say("APPEND", "log", "2");
  stand.run(240);
  match(client.take(), /^(-ERR [^\r]*\r\n){2}$/);
  stand.follow(yielding(1));
  stand.run(1);
  world.thaw(0);
  stand.follow(state("m1", 1, FIRST));
  client.say("GET", "mine");
  other.say("SET", "other", "x").say("GET", "other");
  for (let i = 0; i < 4; i++) {
    stand.run(30);
    for (const connection of world.pool.servers[0]!.connections) connection.invariants();
  }
  strictEqual(client.take(), "$-1\r\n");
  strictEqual(other.take(), "+OK\r\n$1\r\nx\r\n");
  strictEqual(world.ask(client, "GET", "log"), "$-1\r\n");
  world.stop();
});

Deno.test("yield: what is under way on a primary that does not answer fails when it has been replaced", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  world.freeze(0);
  client.say("SET", "a", "2").say("GET", "a");
  stand.run(10);
  stand.follow(yielding(1));
  client.say("SET", "a", "3");
  stand.run(500);
  strictEqual(client.take(), "");
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  match(client.take(), /^(-ERR The server was replaced [^\r]*\r\n){2}\+OK\r\n$/);
  strictEqual(world.value(1, "a"), "3");
  world.thaw(0);
  stand.run(1000);
  strictEqual(client.take(), "");
  world.stop();
});

Deno.test("yield: a dead primary's clients wait as soon as it is being replaced; nobody waits without end", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  stand.net.down({ host: "10.0.0.1", port: 6379 });
  client.say("SET", "a", "1");
  stand.run(1500);
  match(client.take(), /^-ERR Connection refused/);
  stand.follow(yielding(1));
  strictEqual(world.ask(client, "SET", "a", "2"), "");
  stand.run(500);
  world.promote(2);
  stand.follow(state("m1", 2, THIRD));
  stand.run(50);
  strictEqual(client.take(), "+OK\r\n");
  stand.follow(yielding(2));
  client.say("SET", "a", "3");
  stand.run(2900);
  strictEqual(client.take(), "");
  stand.run(300);
  match(client.take(), /^-ERR .*(no primary is known)/);
  match(world.ask(client, "SET", "a", "4"), /^-ERR .*a sentinel says so/);
  stand.follow(state("m1", 2, THIRD));
  strictEqual(world.ask(client, "SET", "a", "5"), "+OK\r\n");
  world.stop();
});

Deno.test("follow: subscriptions move, and whoever tracks is told that everything is stale", async () => {
  const world = await World.make();
  const { stand } = world;
  const [listener, speaker, tracker] = [stand.talker(), stand.talker(), stand.talker()];
  world.ask(listener, "SUBSCRIBE", "news");
  world.ask(tracker, "HELLO", "3");
  strictEqual(world.ask(tracker, "CLIENT", "TRACKING", "ON"), "+OK\r\n");
  world.ask(tracker, "GET", "a");
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  match(tracker.take(), />2\r\n\$10\r\ninvalidate\r\n_\r\n/);
  strictEqual(world.ask(speaker, "PUBLISH", "news", "hello"), ":1\r\n");
  strictEqual(listener.take(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  world.stop();
});

Deno.test("follow: a transaction that has not left goes whole, one of which a part has left fails", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.freeze(0);
  client.say("MULTI").say("APPEND", "log", "1").say("APPEND", "log", "2").say("EXEC").say("GET", "log");
  stand.run(50);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  strictEqual(client.take(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n$2\r\n12\r\n");
  world.freeze(1);
  client.say("MULTI").say("APPEND", "log", "3").say("EXEC");
  stand.run(50);
  world.promote(2);
  stand.follow(state("m1", 3, THIRD));
  stand.run(50);
  match(client.take(), /^\+OK\r\n\+QUEUED\r\n-ERR The server was replaced[^\r]*\r\n$/);
  world.stop();
});

Deno.test("follow: a reload that leaves a server alone leaves it where it is, and one without failover takes it home", async () => {
  const world = await World.make();
  const { stand } = world;
  const client = stand.talker();
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  await stand.reload([...ONE, "10.0.0.4:6379:1 m2"], "  timeout: 3000\n", REPLACEABLE);
  const [m1] = world.pool.servers;
  strictEqual(m1!.primary!.spec.text, SECOND);
  await stand.reload(ONE, "  timeout: 3000\n");
  strictEqual(m1!.primary!.spec.text, FIRST);
  world.promote(0);
  strictEqual(world.ask(client, "SET", "a", "1"), "+OK\r\n");
  strictEqual(world.model(0).writes, 1);
  world.stop();
});

Deno.test("follow: a server that sentinels know from a reload on stays where it was until they say otherwise", async () => {
  const stand = await Stand.make(undefined, "  timeout: 3000\n", ONE);
  const client = stand.talker();
  const ask = (...words: string[]) => {
    client.say(...words);
    stand.run(50);
    return client.take();
  };
  strictEqual(ask("SET", "a", "1"), "+OK\r\n");
  const servers = stand.pool.config.servers.map((server) => ({
    ...server,
    address: null,
    addressText: "master m1",
    master: "m1",
  }));
  await stand.reload(ONE, "  timeout: 3000\n", { failover: "sentinel", servers });
  strictEqual(ask("GET", "a"), "$1\r\n1\r\n");
  strictEqual(stand.pool.servers[0]!.primary!.mustBePrimary, true);
  stand.follow(state("m1", 1, SECOND));
  strictEqual(ask("GET", "a"), "$-1\r\n");
  stand.proxy.stop();
});

Deno.test("follow: replicas that stay keep their connections", async () => {
  const world = await World.make();
  const { stand } = world;
  const [m1] = world.pool.servers;
  const at = (...texts: string[]) => ({ replicas: texts.map((text) => endpoint(text)) });
  stand.follow(state("m1", 1, FIRST, at(SECOND, THIRD)));
  const [second] = m1!.replicas;
  stand.follow(state("m1", 1, FIRST, at(SECOND)));
  deepStrictEqual(m1!.replicas, [second]);
  stand.follow(state("m1", 2, SECOND, at(THIRD)));
  strictEqual(m1!.primary!.spec.text, SECOND);
  ok(m1!.primary !== second);
  world.stop();
});

Deno.test("retry_reads: reads in flight at a switch are answered by the new primary, writes are not sent again", async () => {
  const world = await World.make("  retry_reads: true\n");
  const { stand } = world;
  const client = stand.talker();
  strictEqual(world.ask(client, "SET", "a", "0"), "+OK\r\n");
  world.freeze(0);
  client.say("GET", "a").say("SET", "a", "1").say("STRLEN", "a").say("EXISTS", "a");
  stand.run(50);
  world.promote(1);
  stand.follow(state("m1", 2, SECOND));
  client.say("SET", "a", "2").say("GET", "a");
  stand.run(50);
  match(client.take(), /^\$-1\r\n-ERR The server was replaced[^\r]*\r\n:0\r\n:0\r\n\+OK\r\n\$1\r\n2\r\n$/);
  strictEqual(world.model(1).writes, 1);
  world.thaw(0);
  stand.run(1000);
  strictEqual(client.take(), "");
  world.stop();
});

Deno.test("retry_reads: fragments of an MGET too", async () => {
  const world = await World.make("  retry_reads: true\n", ["10.0.0.1:6379:1 m1", "10.0.0.4:6379:1 m2"]);
  const { stand } = world;
  stand.follow(state("m2", 1, "10.0.0.4:6379"));
  world.model(3).role = "master";
  const client = stand.talker();
  const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
  for (const key of keys) world.ask(client, "SET", key, key);
  for (const key of keys) {
    world.model(1).databases[0]!.entries.set(key, world.model(0).databases[0]!.entries.get(key)!);
  }
  world.freeze(0);
  client.say("MGET", ...keys);
  stand.run(50);
  world.model(1).role = "master";
  stand.follow(state("m1", 2, SECOND));
  stand.run(50);
  ok(client.take().startsWith("*20\r\n"));
  strictEqual(world.pool.counters[FORWARD_ERROR], 0);
  world.stop();
});

Deno.test("retry_reads: a server that hangs up is asked once more, and once only", async () => {
  const stand = await Stand.make(undefined, "  retry_reads: true\n  timeout: 3000\n", ONE);
  const client = stand.talker();
  client.say("SET", "a", "1");
  stand.run(20);
  const [server] = stand.servers;
  server!.frozenUntilMs = Infinity;
  client.say("GET", "a").say("SET", "a", "2").say("GET", "a");
  stand.run(50);
  const hangUp = () => {
    stand.net.down(server!.address);
    stand.net.up(server!.address);
  };
  client.take();
  hangUp();
  stand.run(50);
  strictEqual(client.take(), "");
  hangUp();
  stand.run(50);
  match(client.take(), /^(-ERR Connection reset by peer[^\r]*\r\n){3}$/);
  stand.proxy.stop();
});

Deno.test("follow: a transaction whose client has gone, and that has timed out waiting for a primary, leaves nothing open for others", async () => {
  const stand = await Stand.make(undefined, "  timeout: 300\n", ONE, () => {}, REPLACEABLE);
  for (const model of [1, 2, 3]) stand.model(model).role = "slave";
  stand.follow(state("m1", 1, FIRST));
  // It is connected, and does not say whether it is the primary.
  stand.servers[0]!.frozenUntilMs = Infinity;
  const [client, other] = [stand.talker(), stand.talker()];
  client.say("MULTI").say("SET", "a", "1").say("EXEC");
  stand.run(50);
  client.socket.destroy();
  stand.run(350);
  stand.model(0).role = "slave";
  stand.model(1).role = "master";
  stand.follow(state("m1", 2, SECOND));
  stand.run(200);
  other.say("SET", "b", "1").say("GET", "b");
  stand.run(200);
  strictEqual(other.take(), "+OK\r\n$1\r\n1\r\n");
  stand.proxy.stop();
});

Deno.test("follow: a tracking client whose ear is lost while the connection it belongs to is still made is answered", async () => {
  const world = await World.make();
  const { stand } = world;
  world.promote(0);
  const reader = stand.talker();
  world.ask(reader, "HELLO", "3");
  const id = /:(\d+)/.exec(world.ask(reader, "CLIENT", "ID"))![1]!;
  const client = stand.talker();
  strictEqual(world.ask(client, "PING"), "+PONG\r\n");
  client.say("CLIENT", "TRACKING", "ON", "REDIRECT", id);
  const { primary } = world.pool.servers[0]!;
  const leased = () => [...primary!.connections].filter((connection) => connection.holder !== null);
  for (let i = 0; i < 100 && leased().length < 2; i++) stand.run(0.05);
  const [connection, ear] = leased();
  connection!.fail("ECONNREFUSED");
  strictEqual(connection!.closed, false, "it begins anew, and waits");
  for (let i = 0; i < 200 && (!ear!.isOpen || ear!.mayBeginAnew); i++) stand.run(0.01);
  deepStrictEqual([connection!.isOpen, ear!.head !== null], [false, true], "it has not said its id");
  // Another's trouble, for which requests are held.
  primary!.noteTrouble(failureOf("ETIMEDOUT"));
  ear!.fail("EOF");
  // Long before `timeout`, which there may be none of.
  stand.run(100);
  match(client.take(), /^-ERR Connection reset by peer/);
  strictEqual(world.ask(client, "CLIENT", "TRACKING", "ON", "REDIRECT", id), "+OK\r\n");
  world.stop();
});
