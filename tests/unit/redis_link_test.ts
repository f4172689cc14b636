/** The main thread's connection to servers and sentinels: answers in their order, subscriptions in both protocols, and all that ends it. */
import assert from "node:assert/strict";
import { readValue, ReplyError, type Value } from "../../src/protocol/redis/value.ts";
import { type Answer, LinkLost, type LinkOptions, RedisLink } from "../../src/topology/redis_link.ts";
import { FakeRedis, list, type Script } from "../lib/fake_redis.ts";
import { latin1 } from "../lib/bytes.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";

const ADDRESS = { host: "10.0.0.1", port: 26379 };

/** Values as they go over the wire, and what they are; undefined: garbage. */
const VALUES: readonly (readonly [string, Value | undefined])[] = [
  ["+OK\r\n", "OK"],
  [":-12\r\n", -12],
  ["$3\r\na\xe9b\r\n", "a\xe9b"],
  ["$-1\r\n", null],
  ["*-1\r\n", null],
  ["_\r\n", null],
  ["*0\r\n", []],
  ["*2\r\n$1\r\na\r\n*1\r\n:1\r\n", ["a", [1]]],
  ["%1\r\n+a\r\n:1\r\n", ["a", 1]],
  ["~2\r\n#t\r\n#f\r\n", [1, 0]],
  ["=6\r\ntxt:hi\r\n", "hi"],
  [",1.5\r\n", "1.5"],
  ["(12345678901234567890\r\n", "12345678901234567890"],
  ["|1\r\n+ttl\r\n:1\r\n+x\r\n", "x"],
  [">2\r\n+message\r\n+x\r\n", ["message", "x"]],
  ["*1\r\n".repeat(40) + ":1\r\n", undefined],
  ["$?\r\n;1\r\na\r\n;0\r\n", undefined],
];

for (const [text, expected] of VALUES) {
  Deno.test(`readValue() of ${JSON.stringify(text.slice(0, 40))}`, () => {
    const bytes = latin1(`xx${text}`);
    assert.deepEqual(readValue(bytes, 2, bytes.length), expected);
  });
}

Deno.test("readValue() knows errors wherever they are", () => {
  const bytes = latin1("*2\r\n-ERR a\r\n!5\r\nERR b\r\n");
  assert.deepEqual(readValue(bytes, 0, bytes.length), [new ReplyError("ERR a"), new ReplyError("ERR b")]);
});

interface Stand {
  readonly clock: SimClock;
  readonly net: SimNet;
  readonly server: FakeRedis;
  readonly link: RedisLink;
  /** What was told, in its order; what ended the link last. */
  readonly heard: string[];
  ask(...words: string[]): void;
}

async function stand(script: Script, options: Partial<LinkOptions> = {}): Promise<Stand> {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const server = await new FakeRedis(script).listen(net, ADDRESS);
  const heard: string[] = [];
  const link = new RedisLink({
    net,
    clock,
    address: ADDRESS,
    auth: null,
    resp3: false,
    connectMs: 1000,
    answerMs: 500,
    lost: (why) => heard.push(`lost: ${why}`),
    ...options,
  });
  const ask = (...words: string[]) => link.ask(words, (answer) => heard.push(shown(answer)));
  return { clock, net, server, link, heard, ask };
}

function shown(answer: Answer): string {
  if (answer instanceof LinkLost) return `no answer: ${answer.why}`;
  return answer instanceof ReplyError ? `-${answer.text}` : JSON.stringify(answer);
}

Deno.test("RedisLink answers questions in their order, those asked before it was connected too", async () => {
  const s = await stand((words) => words[0] === "PING" ? "+PONG\r\n" : list("name", words.at(-1)!));
  s.ask("PING");
  s.ask("SENTINEL", "MASTER", "m1");
  assert.equal(s.link.ready, false);
  s.clock.run(100);
  assert.equal(s.link.ready, true);
  s.ask("SENTINEL", "MASTER", "m2");
  s.clock.run(200);
  assert.deepEqual(s.heard, ['"PONG"', '["name","m1"]', '["name","m2"]']);
  s.link.close();
  s.clock.run();
  assert.equal(s.server.connections.size, 0);
  assert.equal(s.heard.length, 3);
});

Deno.test("RedisLink takes error replies for answers and asks nothing twice", async () => {
  const s = await stand((words) => `-ERR unknown command '${words[0]}'\r\n`);
  s.ask("QUIT");
  s.ask("CLIENT", "SETINFO", "LIB-NAME", "x");
  s.clock.run(10_000);
  assert.deepEqual(s.heard, ["-ERR unknown command 'QUIT'", "-ERR unknown command 'CLIENT'"]);
  assert.deepEqual([s.server.got.length, s.server.accepted], [2, 1]);
  assert.equal(s.link.open, true);
});

/** user, AUTH's answer, what was sent, what is heard. */
const AUTHS: readonly (readonly [string | null, string, string, string])[] = [
  [null, "+OK\r\n", "AUTH pass w\xc3\xb6rd", '"PONG"'],
  ["u", "+OK\r\n", "AUTH u pass w\xc3\xb6rd", '"PONG"'],
  [null, "-ERR Client sent AUTH, but no password is set\r\n", "AUTH pass w\xc3\xb6rd", '"PONG"'],
  [
    null,
    "-ERR AUTH <password> called without any password configured for the default user. Are you sure?\r\n",
    "AUTH pass w\xc3\xb6rd",
    '"PONG"',
  ],
  [
    null,
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    "AUTH pass w\xc3\xb6rd",
    "AUTH is refused: WRONGPASS invalid username-password pair or user is disabled.",
  ],
];

for (const [user, answer, sent, expected] of AUTHS) {
  Deno.test(`RedisLink says ${user === null ? "a password" : "user and password"} first, and hears ${answer.trim()}`, async () => {
    const s = await stand((words) => words[0] === "AUTH" ? answer : "+PONG\r\n", {
      auth: { user, password: "pass wörd" },
    });
    s.ask("PING");
    s.clock.run(5000);
    const lost = !expected.startsWith('"');
    assert.deepEqual(s.heard, lost ? [`no answer: ${expected}`, `lost: ${expected}`] : [expected]);
    assert.deepEqual(s.server.got, lost ? [sent] : [sent, "PING"]);
  });
}

Deno.test("RedisLink hears messages in RESP2, and asks nothing but PING beside them", async () => {
  const s = await stand(() => "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  s.link.subscribe(["+a", "+b"], (answer) => s.heard.push(shown(answer)), (channel, text) => {
    s.heard.push(`${channel}: ${text}`);
  });
  s.clock.run(100);
  s.server.publish("+a", "x");
  s.ask("PING");
  s.clock.run(200);
  s.server.publish("+b", "message subscribe pong");
  s.clock.run(300);
  assert.deepEqual(s.heard, ['["subscribe","+b",2]', "+a: x", '["pong",""]', "+b: message subscribe pong"]);
  assert.throws(() => s.ask("SENTINEL", "MASTERS"), /beside a subscription/);
});

Deno.test("RedisLink hears pushes in RESP3, and asks whatever it wants beside them", async () => {
  const s = await stand((words, connection) => {
    if (words[0] === "HELLO") return "%1\r\n+proto\r\n:3\r\n";
    connection.say(">3\r\n+message\r\n++a\r\n+x\r\n>2\r\n+invalidate\r\n*0\r\n");
    return list("name", "m1");
  }, { resp3: true });
  s.clock.run(100);
  s.link.subscribe(["+a"], (answer) => s.heard.push(shown(answer)), (channel, text) => {
    s.heard.push(`${channel}: ${text}`);
  });
  s.ask("SENTINEL", "MASTER", "m1");
  s.clock.run(200);
  assert.deepEqual(s.heard, ['["subscribe","+a",1]', "+a: x", '["name","m1"]']);
});

Deno.test("RedisLink speaks RESP2 where HELLO is not known, and tells of a SUBSCRIBE that is refused", async () => {
  const s = await stand(
    (words) => words[0] === "HELLO" ? "-ERR unknown command 'HELLO'\r\n" : "-NOPERM no\r\n",
    {
      resp3: true,
    },
  );
  s.ask("SENTINEL", "MASTERS");
  s.clock.run(100);
  s.link.subscribe([], (answer) => s.heard.push(shown(answer)), () => {});
  assert.throws(() => s.ask("SENTINEL", "MASTERS"), /beside a subscription/);
  assert.deepEqual(s.heard, ["-NOPERM no"]);
});

Deno.test("RedisLink says what was not answered, when that was asked for in bytes too", async () => {
  const s = await stand(() => null);
  s.link.ask([new Uint8Array([71, 69, 84]), "a"], (answer) => s.heard.push(shown(answer)));
  s.clock.run(600);
  assert.match(s.heard.join(), /no answer to GET within 500 ms/);
});

/** What a server does to the question PING, and what becomes of the link. */
const ENDS: readonly (readonly [string, Script, string])[] = [
  ["says nothing", () => null, "no answer to PING within 500 ms"],
  ["says garbage", () => "HTTP/1.1 400 Bad Request\r\n\r\n", "what it says is not Redis' protocol"],
  ["says lists in lists", () => "*1\r\n".repeat(100) + ":1\r\n", "what it says is not Redis' protocol"],
  [
    "announces too much",
    () => `$900000000\r\n${"x".repeat(1_200_000)}`,
    "an answer of more than 1048576 bytes",
  ],
  ["closes", (_, connection) => (connection.socket.end(), null), "the connection was closed"],
];

for (const [name, script, why] of ENDS) {
  Deno.test(`RedisLink ends if the server ${name}`, async () => {
    const s = await stand(script);
    s.ask("PING");
    s.ask("PING");
    s.clock.run(5000);
    assert.deepEqual(s.heard, [`no answer: ${why}`, `no answer: ${why}`, `lost: ${why}`]);
    assert.equal(s.link.open, false);
    s.ask("PING");
    s.clock.run();
    assert.equal(s.heard.at(-1), "no answer: the connection is closed");
    assert.equal(s.clock.waiting, 0);
  });
}

Deno.test("RedisLink ends with what a server says that was not asked", async () => {
  const s = await stand(() => "+PONG\r\n+EXTRA\r\n");
  s.ask("PING");
  s.clock.run();
  assert.deepEqual(s.heard, ['"PONG"', "lost: an answer nobody asked for"]);
  const full = await stand(() => null);
  full.clock.run(100);
  for (const each of full.server.connections) each.say("-ERR max number of clients reached\r\n");
  full.clock.run();
  assert.deepEqual(full.heard, ["lost: ERR max number of clients reached"]);
});

Deno.test("RedisLink ends if nobody is there, if nobody answers the dial, or the greetings", async () => {
  const refused = await stand(() => null, { address: { host: "10.0.0.2", port: 1 } });
  refused.clock.run();
  assert.match(refused.heard.join(), /^lost: .*refused/i);

  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  net.down(ADDRESS, true);
  const silent: string[] = [];
  new RedisLink({
    net,
    clock,
    address: ADDRESS,
    auth: null,
    resp3: false,
    connectMs: 300,
    answerMs: 500,
    lost: (why) => silent.push(`${why} at ${clock.nowMs()}`),
  });
  clock.run(2000);
  assert.deepEqual(silent, ["no connection within 300 ms at 300"]);

  const mute = await stand(() => null, { auth: { user: null, password: "x" } });
  mute.clock.run();
  assert.deepEqual(mute.heard, ["lost: connected, but silent for 1000 ms"]);
});

Deno.test("RedisLink bounds the questions under way, and tells nobody once its owner has closed it", async () => {
  const s = await stand(() => null, { answerMs: 60_000 });
  for (let i = 0; i < 10_001; i++) s.ask("PING");
  s.clock.run(10);
  assert.equal(s.heard.length, 10_002);
  assert.equal(s.heard.at(-1), "lost: more than 10000 questions without an answer");

  const closed = await stand(() => "+PONG\r\n");
  closed.ask("PING");
  closed.link.close();
  closed.link.close();
  closed.clock.run();
  assert.deepEqual([closed.heard, closed.clock.waiting], [[], 0]);
});
