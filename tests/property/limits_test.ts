/**
 * per_address through whole proxies on the simulator's network: what gets through is what may, whoever asks on how many connections; who
 * has had enough reads an error in its place and is left in no state he does not know of.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { Proxy } from "../../src/service/proxy.ts";
import {
  CLIENT_CONNECTIONS,
  LIMIT_BYTES_PER_S,
  LIMIT_MAX_CONNECTIONS,
  LIMIT_REQUESTS_PER_S,
} from "../../src/stats/metrics.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { Random as LibRandom } from "../lib/random.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";
import { SimServer } from "../sim/sim_server.ts";
import { Truth } from "../sim/truth.ts";

const HEADER = `proxy_protocol: on, proxy_from: ["0.0.0.0/0", "::/0"]`;
const NAMES = ["redis", "bytes", "cache"] as const;

function yml(limits: string): string {
  return `
redis: {listen: "127.0.0.1:1", redis: true, ${HEADER}, ${limits} servers: ["10.0.0.1:6379:1"]}
bytes: {listen: "127.0.0.1:2", redis: true, ${HEADER}, per_address: {max_bytes_per_s: 10kb}, servers: ["10.0.0.1:6379:1"]}
cache: {listen: "127.0.0.1:3", ${HEADER}, per_address: {max_requests_per_s: 1}, servers: ["10.0.0.2:11211:1"]}
`;
}

const LIMITS = "per_address: {max_requests_per_s: 100, max_connections: 3},";

class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly lines: string[] = [];
  readonly config;
  readonly proxy: Proxy;

  private constructor(limits: string) {
    this.config = parseConfig(yml(limits), "sim.yml");
    this.proxy = new Proxy({
      config: this.config,
      net: this.net,
      clock: this.clock,
      random: new Random(2).next,
      log: { level: 5, write: (_, text) => void this.lines.push(text) },
      system: SYSTEM,
    });
  }

  static async make(limits = LIMITS): Promise<Stand> {
    const stand = new Stand(limits);
    const { net, clock } = stand;
    for (const [i, name] of (["redis", "cache"] as const).entries()) {
      const { address } = stand.pool(name).config.servers[0]!;
      await new SimServer(i, address!, i === 0, net, clock, new Truth(), new Random(3 + i), null).listen();
    }
    await stand.proxy.listen(null);
    return stand;
  }

  pool(name: typeof NAMES[number]) {
    return this.proxy.pools.find(({ config }) => config.name === name)!;
  }

  /** A client of that address. */
  client(name: typeof NAMES[number], ip = "192.0.2.1"): Talker {
    const talker = new Talker(this.net, this.pool(name).config.listen);
    const six = ip.includes(":");
    talker.send(latin1(`PROXY TCP${six ? 6 : 4} ${ip} ${six ? "::1" : "10.0.0.9"} 4000 6379\r\n`));
    this.run();
    return talker;
  }

  run(ms = 100): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** What it reads for it. */
  say(talker: Talker, text: string): string {
    talker.take();
    talker.send(latin1(text));
    this.run(20);
    return talker.take();
  }

  adopt(limits: string): void {
    const config = parseConfig(yml(limits), "sim.yml").pools.find(({ name }) => name === "redis")!;
    this.pool("redis").adopt(config);
    this.run();
  }
}

const count = (text: string, part: string) => text.split(part).length - 1;
const GET = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
const LATER = "-TRYAGAIN max_requests_per_s of per_address is reached: 100. Try again later\r\n";

Deno.test("requests of an address get through as often as they may, on all its connections together", async () => {
  const stand = await Stand.make();
  const random = new LibRandom(1);
  const [a, b, other] = [
    stand.client("redis"),
    stand.client("redis"),
    stand.client("redis", "192.0.2.2"),
  ];
  const beganMs = stand.clock.nowMs();
  let asked = 0;
  while (stand.clock.nowMs() - beganMs < 10_000) {
    for (const talker of [a, b]) {
      const times = random.between(1, 30);
      asked += times;
      // Cut somewhere: what is offered again is counted once.
      const bytes = latin1(GET.repeat(times));
      const cut = random.below(bytes.length);
      talker.send(bytes.slice(0, cut));
      stand.run(random.between(1, 10));
      talker.send(bytes.slice(cut));
    }
    other.send(latin1(GET));
    stand.run(random.between(1, 60));
  }
  const seconds = (stand.clock.nowMs() - beganMs) / 1000;
  stand.run(1000);
  const read = a.read + b.read;
  const [through, refused] = [count(read, "$-1\r\n"), count(read, LATER)];
  strictEqual(through + refused, asked);
  const due = 100 * (1 + seconds);
  ok(through <= due + 1 && through >= due * 0.99 - 1, `${through} of ${due}`);
  strictEqual(count(other.read, "TRYAGAIN"), 0);
  strictEqual(stand.pool("redis").counters[LIMIT_REQUESTS_PER_S], refused);
  const said = stand.lines.filter((line) => line.includes("max_requests_per_s"));
  ok(said.length >= 1 && said.length <= 2, said.join("\n"));
  match(
    said[0]!,
    /pool 'redis': client 192\.0\.2\.1:4000 has reached per_address: max_requests_per_s: 100; req/,
  );
});

Deno.test("who has had enough is answered by the proxy itself, is not left inside MULTI, and reads one reply a request", async () => {
  const stand = await Stand.make("per_address: {max_requests_per_s: 1},");
  const later = LATER.replace("100", "1");
  const a = stand.client("redis");
  stand.say(a, GET);
  strictEqual(stand.say(a, "PING\r\n" + GET + "GET a\r\n"), `+PONG\r\n${later}${later}`);
  strictEqual(
    stand.say(a, `MULTI\r\n${GET}EXEC\r\nPING\r\n`),
    `+OK\r\n${later}-EXECABORT Transaction discarded because of previous errors.\r\n+PONG\r\n`,
  );
  strictEqual(stand.say(a, `CLIENT REPLY SKIP\r\n${GET}PING\r\n`), "+PONG\r\n");
  strictEqual(stand.say(a, `CLIENT REPLY OFF\r\n${GET}${GET}CLIENT REPLY ON\r\n`), "+OK\r\n");
  // What was begun before is finished.
  stand.run(2000);
  strictEqual(stand.say(a, "MULTI\r\n"), "+OK\r\n");
  stand.run(2000);
  strictEqual(stand.say(a, GET + GET), `+QUEUED\r\n${later}`);
  match(stand.say(a, "EXEC\r\n"), /^-EXECABORT/);
  stand.run(2000);
  strictEqual(stand.say(a, "MULTI\r\n"), "+OK\r\n");
  stand.run(2000);
  strictEqual(stand.say(a, GET), "+QUEUED\r\n");
  const b = stand.client("redis");
  stand.say(b, GET);
  strictEqual(stand.say(a, "EXEC\r\n"), "*1\r\n$-1\r\n");
  stand.run(2000);
  strictEqual(stand.say(a, GET), "$-1\r\n");
});

Deno.test("large values count in both directions, and are paid back; one that comes too early is refused whole", async () => {
  const stand = await Stand.make();
  const [a, b] = [stand.client("bytes"), stand.client("bytes")];
  const value = "x".repeat(30_000);
  strictEqual(stand.say(a, String.fromCharCode(...request("SET", "a", value))), "+OK\r\n");
  match(stand.say(b, GET), /^-TRYAGAIN max_bytes_per_s of per_address is reached: 10240\./);
  match(stand.say(a, String.fromCharCode(...request("SET", "a", "y".repeat(90_000)))), /^-TRYAGAIN/);
  stand.run(2000);
  strictEqual(stand.say(b, GET), `$30000\r\n${value}\r\n`);
  match(stand.say(b, GET), /^-TRYAGAIN/);
  match(stand.say(a, GET), /^-TRYAGAIN/);
  stand.run(2500);
  match(stand.say(a, GET), /^-TRYAGAIN/);
  stand.run(800);
  strictEqual(stand.say(a, GET).length, 30_010);
  // What it was sent counts when it has gone, too.
  a.socket.destroy();
  b.socket.destroy();
  stand.run();
  match(stand.say(stand.client("bytes"), GET), /^-TRYAGAIN/);
  strictEqual(stand.say(stand.client("bytes", "192.0.2.77"), GET).length, 30_010);
  ok(stand.pool("bytes").counters[LIMIT_BYTES_PER_S]! >= 5);
});

Deno.test("connections of an address, and of a network of IPv6, are limited, and places are given back", async () => {
  const stand = await Stand.make();
  const addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1"];
  const talkers = addresses.map((ip) => stand.client("redis", ip));
  deepStrictEqual(talkers.map(({ closed }) => closed), [false, false, false, true]);
  strictEqual(talkers[3]!.read, "-ERR max number of clients reached\r\n");
  for (const ip of ["2001:db8:1:3::1", "192.0.2.1", "::ffff:192.0.2.1"]) {
    ok(!stand.client("redis", ip).closed, ip);
  }
  strictEqual(stand.pool("redis").counters[CLIENT_CONNECTIONS], 6);
  strictEqual(stand.pool("redis").counters[LIMIT_MAX_CONNECTIONS], 1);
  match(
    stand.lines.join("\n"),
    /client \[2001:db8:1:2::1\]:4000 refused: max_connections of per_address is reached: 3/,
  );
  talkers[1]!.socket.destroy();
  stand.run();
  ok(!stand.client("redis", addresses[3]).closed);
  ok(stand.client("redis", addresses[3]).closed);
});

Deno.test("what is asked of servers is refused whatever its first word is alone; CLIENT CACHING was for what is refused", async () => {
  const stand = await Stand.make();
  const a = stand.client("redis");
  // What comes back meanwhile is spent.
  const asked = (text: string) =>
    stand.say(a, GET.repeat(100) + text).replace(/^(\$-1\r\n)*/, "").replaceAll(LATER, "L");
  asked("");
  for (
    const words of [
      ["OBJECT", "ENCODING", "a"],
      ["XGROUP", "CREATE", "a", "g", "$", "MKSTREAM"],
      ["SCRIPT", "LOAD", "return 1"],
      ["FUNCTION", "LOAD", "#!lua name=a"],
      ["PUBSUB", "CHANNELS"],
    ]
  ) match(asked(textOf(request(...words))), /^L+$/, words.join(" "));
  // What is answered here is not, nor what nobody knows.
  match(asked("CLIENT ID\r\n"), /^L+:/);
  match(asked("OBJECT HELP\r\n"), /^L+\*/);
  match(asked("OBJECT NONE\r\n"), /^L+-ERR unknown subcommand/);
  match(asked("CLIENT REPLY SKIP\r\nSCRIPT LOAD x\r\nPING\r\n"), /^L+\+PONG\r\n$/);
  stand.run(3000);
  strictEqual(stand.say(a, "HELLO 3\r\nCLIENT TRACKING ON OPTOUT\r\n").slice(-5), "+OK\r\n");
  const none = "_\r\n".repeat(100);
  strictEqual(stand.say(a, `${GET.repeat(100)}CLIENT CACHING NO\r\n${GET}`), `${none}+OK\r\n${LATER}`);
  stand.run(3000);
  stand.say(a, GET);
  stand.say(stand.client("redis", "192.0.2.9"), "SET a 1\r\n");
  ok(a.read.includes("invalidate"), a.read);
});

Deno.test("memcached: a refused set takes its value with it, noreply stays silent, and version is answered", async () => {
  const stand = await Stand.make();
  const a = stand.client("cache");
  const later = "SERVER_ERROR max_requests_per_s of per_address is reached: 1. Try again later\r\n";
  strictEqual(count(stand.say(a, "get a\r\n".repeat(6)), later), 5);
  strictEqual(
    stand.say(a, "set a 0 0 9\r\nget a\r\nxx\r\nget a\r\nversion\r\n"),
    `${later}${later}VERSION 1.6.18\r\n`,
  );
  strictEqual(stand.say(a, "set a 0 0 1 noreply\r\n1\r\nmn\r\n"), "MN\r\n");
  stand.run(2000);
  strictEqual(stand.say(a, "get a\r\n"), "END\r\n");
  // A binary client of the same address: opaque 7, status 0x84; noop is answered.
  const [b, get] = [stand.client("cache"), "\x80\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\0a"];
  const noop = `\x80\x0a${"\0".repeat(22)}`;
  const said = stand.say(b, get + get + noop);
  ok(said.includes("\x81\0\0\0\0\0\0\x84") && said.includes(later.slice(13, -2)), JSON.stringify(said));
  ok(said.slice(-24).startsWith("\x81\x0a\0\0\0\0\0\0"), JSON.stringify(said));
});

Deno.test("a reload brings limits to those who are connected, changes them and takes them away", async () => {
  const stand = await Stand.make("");
  const talkers = Array.from({ length: 600 }, () => stand.client("redis"));
  const a = talkers[599]!;
  strictEqual(count(stand.say(a, GET.repeat(500)), "$-1\r\n"), 500);
  stand.adopt(LIMITS);
  // All of them count, and no more may come; nobody is closed.
  ok(stand.client("redis").closed);
  ok(!a.closed && !stand.client("redis", "192.0.2.3").closed);
  strictEqual(count(stand.say(a, GET.repeat(500)), LATER), 400);
  stand.adopt("per_address: {max_requests_per_s: 1000},");
  stand.run(2000);
  ok(!stand.client("redis").closed);
  strictEqual(count(stand.say(a, GET.repeat(1500)), "-TRYAGAIN"), 500);
  stand.adopt("");
  strictEqual(count(stand.say(a, GET.repeat(2000)), "$-1\r\n"), 2000);
  for (const talker of talkers) talker.socket.destroy();
  stand.run();
  stand.adopt(LIMITS);
  const fresh = [0, 1, 2, 3].map(() => stand.client("redis"));
  // One client of the address is left from before, beside these.
  strictEqual(fresh.filter(({ closed }) => !closed).length, 2);
});

const USERS =
  "users: [{name: app, password: a, rules: +@all ~*}, {name: jobs, password: j, rules: +@all ~*, " +
  "limits: {max_requests_per_s: 50}}, {name: free, password: f, rules: +@all ~*, limits: {max_connections: 1000}}, " +
  "{name: default, nopass: true, rules: +@all ~*}], per_user: {max_requests_per_s: 100, max_connections: 3},";
const MANY = "-ERR max number of clients reached: max_connections of per_user is reached: 3\r\n";

Deno.test("requests of a user get through as often as they may, from whatever address; another has its own", async () => {
  const stand = await Stand.make(USERS);
  const random = new LibRandom(2);
  const talkers = ["app a", "app a", "jobs j", "free f"].map((login, i) => {
    const talker = stand.client("redis", `192.0.2.${i}`);
    strictEqual(stand.say(talker, `AUTH ${login}\r\n`), "+OK\r\n");
    return talker;
  });
  const [a, b, jobs, free] = talkers;
  const beganMs = stand.clock.nowMs();
  let asked = 0;
  while (stand.clock.nowMs() - beganMs < 5000) {
    for (const talker of talkers) talker.send(latin1(GET.repeat(asked % 2 + 2)));
    asked += asked % 2 + 2;
    stand.run(random.between(1, 20));
  }
  const seconds = (stand.clock.nowMs() - beganMs) / 1000;
  stand.run(1000);
  const through = (read: string) => count(read, "$-1\r\n");
  for (const [rate, got] of [[100, through(a!.read + b!.read)], [50, through(jobs!.read)]] as const) {
    const due = rate * (1 + seconds);
    // Who logs in has asked once.
    ok(got <= due + 1 && got >= due * 0.99 - 3, `${got} of ${due}`);
  }
  strictEqual(through(free!.read), asked);
  ok(a!.read.includes("-TRYAGAIN max_requests_per_s of per_user is reached: 100. Try again later\r\n"));
  ok(jobs!.read.includes("-TRYAGAIN max_requests_per_s of user jobs is reached: 50. Try again later\r\n"));
  match(
    stand.lines.join("\n"),
    /client 192\.0\.2\.2:4000 has reached user jobs: max_requests_per_s: 50; req/,
  );
});

Deno.test("a login too many of a user is none; places are given back when it becomes another, or goes", async () => {
  const stand = await Stand.make(USERS);
  const first = [0, 1, 2].map(() => stand.client("redis"));
  // Whoever does not log in is the user default.
  const refused = stand.client("redis");
  strictEqual(refused.read, "-ERR max number of clients reached\r\n");
  ok(refused.closed);
  strictEqual(stand.say(first[0]!, "AUTH free f\r\n"), "+OK\r\n");
  const apps = [0, 1, 2, 3].map(() => {
    const talker = stand.client("redis");
    return [talker, stand.say(talker, "AUTH app a\r\n")] as const;
  });
  deepStrictEqual(apps.map(([, said]) => said), ["+OK\r\n", "+OK\r\n", "+OK\r\n", MANY]);
  const [app, last] = [apps[0]![0], apps[3]![0]];
  match(stand.say(last, "ACL WHOAMI\r\n"), /default/);
  // The same user again takes no second place, and who is refused keeps what it was.
  strictEqual(stand.say(app, "AUTH app a\r\n"), "+OK\r\n");
  strictEqual(stand.say(last, "HELLO 3 AUTH app a SETNAME x\r\n"), MANY);
  strictEqual(stand.say(last, "CLIENT GETNAME\r\n"), "$-1\r\n");
  strictEqual(stand.say(app, "AUTH free f\r\n"), "+OK\r\n");
  ok(!stand.say(last, "HELLO 3 AUTH app a SETNAME x\r\n").startsWith("-"));
  // RESET is a login too: there are three who have not logged in.
  ok(!stand.client("redis").closed);
  strictEqual(stand.say(app, "RESET\r\n"), MANY);
  ok(app.closed);
  strictEqual(stand.pool("redis").counters[LIMIT_MAX_CONNECTIONS], 4);
  match(
    stand.lines.join("\n"),
    /client 192\.0\.2\.1:4000 refused: max_connections of per_user is reached: 3/,
  );
  first[1]!.socket.destroy();
  stand.run();
  ok(!stand.client("redis").closed);
});

Deno.test("a reload brings users' limits to those who are connected, changes them and takes them away", async () => {
  const none = USERS.slice(0, USERS.indexOf(" per_user"));
  const stand = await Stand.make(none);
  const talkers = Array.from({ length: 400 }, () => stand.client("redis"));
  const a = talkers[399]!;
  strictEqual(stand.say(a, "AUTH app a\r\n"), "+OK\r\n");
  strictEqual(count(stand.say(a, GET.repeat(300)), "$-1\r\n"), 300);
  stand.say(a, "MULTI\r\n");
  stand.say(a, GET);
  stand.adopt(USERS);
  // Other limits are no other rights.
  strictEqual(stand.say(a, "EXEC\r\n"), "*1\r\n$-1\r\n");
  ok(stand.client("redis").closed);
  strictEqual(count(stand.say(a, GET.repeat(300)), "-TRYAGAIN"), 200);
  stand.adopt(
    USERS.replace(
      "rules: +@all ~*}, {name: jobs",
      "rules: +@all ~*, limits: {max_requests_per_s: 10}}, {name: jobs",
    ),
  );
  stand.run(2000);
  strictEqual(
    count(stand.say(a, GET.repeat(300)), "-TRYAGAIN max_requests_per_s of user app is reached: 10."),
    290,
  );
  stand.adopt(none);
  strictEqual(count(stand.say(a, GET.repeat(300)), "$-1\r\n"), 300);
  ok(!stand.client("redis").closed);
  for (const talker of talkers) talker.socket.destroy();
  stand.run();
  stand.adopt(USERS);
  const fresh = [0, 1, 2, 3].map(() => stand.client("redis"));
  strictEqual(fresh.filter(({ closed }) => !closed).length, 2);
});
