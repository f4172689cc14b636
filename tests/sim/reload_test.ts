/** Mistakes that changing worlds have found, each as the smallest change that shows it. */
import { equal, match, ok, rejects } from "node:assert/strict";
import { concat, request, textOf } from "../lib/bytes.ts";
import { bulk } from "./step.ts";
import { digestOf, type ModelRedis } from "./model_redis.ts";
import { Stand } from "./stand.ts";

const SERVERS = [1, 2, 3].map((i) => `10.0.0.${i}:6379:1 s${i}`);
/** The last one is on another machine, which the stand has. */
const MOVED = [...SERVERS.slice(0, 2), "10.0.0.4:6379:1 s3"];

/** A key of the server with this name. */
function keyOf(stand: Stand, name: string): string {
  const { pool } = stand;
  const place = pool.servers.findIndex((server) => server.config.name === name);
  for (let i = 0;; i++) {
    const key = `key${i}`;
    const bytes = Uint8Array.from(key, (c) => c.charCodeAt(0));
    if (pool.placement.serverOf(bytes, 0, bytes.length) === place) return key;
  }
}

Deno.test("a shorter timeout holds behind a request that was sent under the longer one", async () => {
  const stand = await Stand.make(undefined, "  timeout: 5000\n", SERVERS);
  const key = keyOf(stand, "s1");
  stand.servers[0]!.frozenUntilMs = 10_000;
  const [first, second] = [stand.talker(), stand.talker()];
  first.say("GET", key);
  stand.run(10);
  await stand.reload(SERVERS, "  timeout: 100\n");
  second.say("GET", key);
  stand.run(300);
  for (const talker of [first, second]) match(talker.read, /^-ERR Connection timed out/);
  stand.proxy.stop();
});

Deno.test("a wait without end is not ended by a change of the timeout", async () => {
  // A password: the first wait on a connection is behind its handshake, which has a deadline.
  const yml = (ms: number) => `  redis_auth: secret\n  timeout: ${ms}\n`;
  const stand = await Stand.make(undefined, yml(5000), SERVERS);
  const key = keyOf(stand, "s1");
  const [waits, pushes] = [stand.talker().say("AUTH", "secret"), stand.talker().say("AUTH", "secret")];
  stand.run(20);
  for (const ms of [100, 50]) {
    waits.read = "";
    waits.say("BLPOP", key, "100");
    stand.run(20);
    await stand.reload(SERVERS, yml(ms));
    stand.run(1000);
    equal(waits.read, "");
    pushes.say("RPUSH", key, "element");
    stand.runUntil(() => waits.read.endsWith("\r\n") && waits.read.includes("element"));
    ok(waits.read.startsWith(`*2\r\n${bulk(key)}`), waits.read);
  }
  stand.proxy.stop();
});

Deno.test("CLIENT TRACKING is answered although a server goes before it has named the ear", async () => {
  const stand = await Stand.make(undefined, "", SERVERS);
  const ear = stand.talker().say("CLIENT", "ID").say("SUBSCRIBE", "__redis__:invalidate");
  stand.run(50);
  const id = /^:(\d+)/.exec(ear.read)![1]!;
  stand.servers[2]!.frozenUntilMs = stand.clock.nowMs() + 200;
  const reader = stand.talker().say("CLIENT", "TRACKING", "ON", "REDIRECT", id);
  stand.run(20);
  equal(reader.read, "");
  await stand.reload(SERVERS.slice(0, 2));
  stand.runUntil(() => reader.read === "+OK\r\n");
  stand.runUntil(() => stand.pool.everyServer.length === 2);
  stand.proxy.stop();
});

Deno.test("a wait that cannot be ended on a server that moves does not say that the proxy is stopping", async () => {
  const stand = await Stand.make(undefined, "  timeout: 50\n", SERVERS);
  const talker = stand.talker().say("BLPOP", keyOf(stand, "s3"), "100");
  stand.run(20);
  stand.net.down(stand.servers[2]!.address, true);
  await stand.reload(MOVED, "  timeout: 50\n");
  stand.runUntil(() => talker.read !== "");
  match(talker.read, /^-ERR Connection timed out \(server s3\)\r\n$/);
  stand.proxy.stop();
});

Deno.test("a server that moves is told the scripts, as one that returns is", async () => {
  const stand = await Stand.make(undefined, "  auto_eject_hosts: true\n", SERVERS);
  const key = keyOf(stand, "s3");
  const talker = stand.talker().say("SCRIPT", "LOAD", "return1");
  stand.run(20);
  equal(talker.take(), bulk(digestOf("return1")));
  await stand.reload(MOVED, "  auto_eject_hosts: true\n");
  stand.run(100);
  talker.say("EVALSHA", digestOf("return1"), "1", `${key}~1.1.0`);
  stand.run(100);
  ok(!talker.read.startsWith("-"), talker.read);
  ok((stand.servers[3]!.model as ModelRedis).databases[0]!.entries.size === 0);
  stand.proxy.stop();
});

Deno.test("a request waits behind one for the same key that is still on the server it has left", async () => {
  const stand = await Stand.make(undefined, "", SERVERS);
  const key = keyOf(stand, "s1");
  // All are connected to: the new owner would answer at once.
  const talker = stand.talker();
  for (const name of ["s1", "s2", "s3"]) talker.say("GET", keyOf(stand, name));
  stand.run(20);
  stand.servers[0]!.frozenUntilMs = stand.clock.nowMs() + 200;
  talker.say("SET", key, "first");
  stand.run(10);
  await stand.reload(SERVERS.slice(1));
  talker.say("SET", key, "second");
  stand.run(50);
  equal(stand.data.get(key), undefined);
  stand.run(300);
  equal(stand.data.get(key), "second");
  equal((stand.servers[0]!.model as ModelRedis).databases[0]!.find(key)?.value, "first");
  equal(talker.read, "$-1\r\n".repeat(3) + "+OK\r\n".repeat(2));
  stand.proxy.stop();
});

Deno.test("a request of very many arguments that waits behind another is placed anew where it lies by then", async () => {
  const stand = await Stand.make(1, "", SERVERS);
  const keys = Array.from({ length: 8 }, (_, i) => `{wait${i}}list`);
  const first = keyOf(stand, "s1");
  stand.servers[0]!.frozenUntilMs = 200;
  const talkers = keys.map((key) => {
    const talker = stand.talker();
    talker.send(concat([request("RENAME", first, first), request("BLPOP", key, "10")]));
    return talker;
  });
  stand.run(20);
  await stand.reload(MOVED);
  stand.run(500);
  const pusher = stand.talker();
  for (const key of keys) pusher.say("RPUSH", key, "x");
  stand.run(100);
  for (const [i, { read }] of talkers.entries()) {
    ok(read.startsWith(`-ERR no such key\r\n*2\r\n${bulk(keys[i]!)}`), `${keys[i]}: ${read}`);
  }
  stand.proxy.stop();
});

Deno.test("that a server has lost the ear is not told as if the client had named somebody", async () => {
  const stand = await Stand.make(undefined, "", SERVERS);
  const server = stand.servers[0]!;
  // It says CLIENT ID, and the connection ends while the answer is under way.
  const model = server.model as ModelRedis;
  const make = model.session.bind(model);
  model.session = () => {
    const session = make();
    const feed = session.feed.bind(session);
    session.feed = (bytes) => {
      const replies = feed(bytes);
      if (textOf(bytes).includes("CLIENT\r\n$2\r\nID")) model.gone(session);
      return replies;
    };
    return session;
  };
  const reader = stand.talker().say("CLIENT", "TRACKING", "ON", "BCAST");
  stand.run(20);
  // The others track; alone it would be a server that has closed a connection.
  equal(reader.read, "+OK\r\n");
  stand.proxy.stop();
});

Deno.test("servers that come when none stays are told the scripts", async () => {
  const yml = "  auto_eject_hosts: true\n";
  const stand = await Stand.make(undefined, yml, SERVERS.slice(0, 2));
  const talker = stand.talker().say("SCRIPT", "LOAD", "return1");
  stand.run(20);
  talker.take();
  await stand.reload(MOVED.slice(2), yml);
  stand.run(100);
  talker.say("EVALSHA", digestOf("return1"), "1", "key~1.1.0");
  stand.run(100);
  ok(talker.read.startsWith("$-1"), talker.read);
  stand.proxy.stop();
});

Deno.test("servers that come serve at once when the last one goes that was there, or fails, before they have been told the scripts", async () => {
  const ejects = "  auto_eject_hosts: true\n  server_failure_limit: 1\n  timeout: 50\n";
  for (const lost of ["goes", "fails"]) {
    const stand = await Stand.make(undefined, ejects, SERVERS.slice(0, 1));
    const talker = stand.talker().say("SCRIPT", "LOAD", "return1");
    stand.run(10);
    // Nobody can tell it anything in that time.
    stand.servers[1]!.frozenUntilMs = stand.clock.nowMs() + 70;
    await stand.reload(SERVERS.slice(0, 2), ejects);
    talker.take();
    if (lost === "goes") await stand.reload(SERVERS.slice(1, 2), ejects);
    else {
      stand.servers[0]!.frozenUntilMs = Infinity;
      talker.say("GET", "key");
      stand.run(60);
      match(talker.take(), /^-ERR Connection timed out/);
    }
    equal(stand.pool.onRing().map(({ config }) => config.name).join(" "), "s2", lost);
    stand.run(70);
    for (const words of [["GET", "key~1.1.0"], ["EVALSHA", digestOf("return1"), "1", "key~1.2.0"]]) {
      talker.say(...words);
      stand.run(60);
      equal(talker.take(), "$-1\r\n", `${lost}: ${words[0]}`);
    }
    stand.pool.invariants();
    stand.proxy.stop();
  }
});

Deno.test("a process that is told to end during a reload stays as it is, and listens nowhere", async () => {
  const stand = await Stand.make();
  const elsewhere = { listen: { host: "127.0.0.1", port: 2 }, listenText: "127.0.0.1:2" };
  const refused = rejects(
    stand.reload(["10.0.0.1:6379:1", "10.0.0.2:6379:1"], "", elsewhere),
    /the process is stopping/,
  );
  const drained = stand.proxy.drain(60_000);
  await refused;
  const startMs = stand.clock.nowMs();
  let ended = false;
  void drained.then(() => ended = true);
  await stand.clock.runAsync(() => ended || stand.clock.nowMs() - startMs > 50_000);
  ok(ended, "nothing is left to wait for");
  equal(stand.pool.servers.length, 3);
  equal(stand.pool.listening, false);
  equal(await drained, 0);
});

Deno.test("who waits for a subscription while his user loses the channel does not get it", async () => {
  const users = (channels: string) =>
    `  users: [{ name: default, nopass: true, rules: "+@all ~* resetchannels ${channels}" }]\n`;
  const many = Array.from({ length: 600 }, (_, i) => `news${i}`);
  for (const names of [["news"], many]) {
    const stand = await Stand.make(undefined, users("&*"), SERVERS);
    const [loses, keeps] = [stand.talker(), stand.talker()];
    for (const { frozenUntilMs } of stand.servers) equal(frozenUntilMs, 0);
    for (const server of stand.servers) server.frozenUntilMs = 100;
    loses.say("SUBSCRIBE", ...names);
    keeps.say("SUBSCRIBE", "sport");
    stand.run(20);
    await stand.reload(SERVERS, users("&sport"));
    stand.run(1000);
    ok(loses.closed, loses.read.slice(0, 100));
    ok(!keeps.closed && keeps.read.includes("subscribe"));
    stand.proxy.stop();
  }
});
