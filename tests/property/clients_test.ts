/**
 * CLIENT LIST, KILL and UNBLOCK over two workers: two whole proxies on the simulator's network that share a board and ask each
 * other, as threads of one process do, with time between question and answer.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { makeBoard } from "../../src/service/ceilings.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { type ClientQuestion, GONE, SILENT, type Told } from "../../src/proxy/client_question.ts";
import { latin1 } from "../lib/bytes.ts";
import { thorough } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";
import { SimServer } from "../sim/sim_server.ts";
import { Truth } from "../sim/truth.ts";

const WORKERS = 2;
const ANSWER_MS = 1;

class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly proxies: Proxy[] = [];
  /** What becomes of a question to another worker. */
  others: "answer" | typeof GONE | typeof SILENT = "answer";
  /** The largest answer of a worker so far, in clients. */
  largest = 0;
  private readonly log = { level: 0, write: () => {} };

  static async make(keys = ""): Promise<Stand> {
    const stand = new Stand();
    const { net, clock, proxies, log } = stand;
    const config = (worker: number) =>
      parseConfig(
        `alpha:\n  listen: 127.0.0.1:${1 + worker}\n  redis: true\n  dangerous_commands: allow\n${keys}` +
          `  servers:\n    - 10.0.0.1:6379:1\n`,
        "sim.yml",
      );
    const board = makeBoard(config(0), WORKERS);
    const { address } = config(0).pools[0]!.servers[0]!;
    await new SimServer(0, address!, true, net, clock, new Truth(), new Random(3), null).listen();
    for (let worker = 0; worker < WORKERS; worker++) {
      const ask = (to: number, pool: number, question: ClientQuestion, told: Told) => {
        clock.setTimer(ANSWER_MS, () => {
          if (stand.others !== "answer") return told(stand.others);
          // Between threads everything is copied.
          proxies[to]!.asked(pool, structuredClone(question), (answer) => {
            if (typeof answer !== "number") stand.largest = Math.max(stand.largest, answer.ids.length);
            clock.setTimer(ANSWER_MS, () => told(structuredClone(answer)));
          });
        });
      };
      const seat = { worker, board, serversChanged: () => {}, tellOthers: () => {}, ask };
      const random = new Random(2).next;
      const proxy = new Proxy({ config: config(worker), net, clock, random, log, system: SYSTEM, seat });
      proxies.push(proxy);
      await proxy.listen(null);
    }
    return stand;
  }

  talker(worker: number): Talker {
    return new Talker(this.net, this.proxies[worker]!.pools[0]!.config.listen);
  }

  run(ms = 10_000): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** The reply to one request of a client that is there already. */
  say(client: Talker, line: string): string {
    client.take();
    const words = line.split(" ");
    client.send(
      latin1(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`),
    );
    this.run();
    return client.take();
  }

  /** The fields of each line of a list. */
  list(client: Talker, options = ""): Map<string, string>[] {
    const reply = this.say(client, `CLIENT LIST${options === "" ? "" : ` ${options}`}`);
    const [, size, text] = /^\$(\d+)\r\n([^]*)\r\n$/.exec(reply) ?? [];
    strictEqual(text?.length, Number(size), reply);
    return text!.split("\n").slice(0, -1).map((line) =>
      new Map(line.split(" ").map((field) => field.split("=") as [string, string]))
    );
  }

  names(client: Talker, options = ""): string[] {
    return this.list(client, options).map((fields) => fields.get("name")!);
  }
}

/** Clients with these names; those of odd places are worker 1's. */
function named(stand: Stand, names: readonly string[]): Talker[] {
  return names.map((name, i) => {
    const talker = stand.talker(i % WORKERS).say("CLIENT", "SETNAME", name);
    // One after the other, so that ids are in this order too.
    if (names.length < 10) stand.run();
    return talker;
  });
}

function idOf(stand: Stand, client: Talker): string {
  return stand.say(client, "CLIENT ID").slice(1, -2);
}

Deno.test("CLIENT LIST names all clients of all workers, each once, and filters choose among them", async () => {
  const stand = await Stand.make();
  const [a, b, c] = named(stand, ["a", "b", "c", "d"]);
  deepStrictEqual(stand.names(a!), ["a", "c", "b", "d"]);
  deepStrictEqual(stand.names(b!), ["a", "c", "b", "d"]);
  deepStrictEqual(stand.names(a!, "SKIPME yes"), ["c", "b", "d"]);
  deepStrictEqual(stand.names(a!, "NAME d"), ["d"]);
  deepStrictEqual(stand.names(a!, "NOT-NAME d"), ["a", "c", "b"]);
  const ids = [b, c].map((client) => idOf(stand, client!));
  deepStrictEqual(stand.names(a!, `ID ${ids.join(" ")} 999 ${2 ** 60}`), ["b", "c"]);
  deepStrictEqual(stand.names(a!, `NOT-ID ${ids.join(" ")}`), ["a", "d"]);
  deepStrictEqual(stand.names(a!, "TYPE pubsub"), []);
  strictEqual(stand.say(a!, "CLIENT LIST TYPE x"), "-ERR Unknown client type 'x'\r\n");
});

Deno.test("CLIENT LIST's fields are true", async () => {
  const stand = await Stand.make("  databases: 3\n");
  const [a, b, watcher] = named(stand, ["a", "b", "w", "m"]);
  const state = (name: string, options = "") => stand.list(a!, `NAME ${name} ${options}`.trim())[0]!;
  stand.say(b!, "SELECT 2");
  stand.say(b!, "CLIENT SETINFO lib-name it");
  stand.run(7000);
  const idle = state("b");
  strictEqual(idle.get("db"), "2");
  strictEqual(idle.get("lib-name"), "it");
  strictEqual(idle.get("cmd"), "client|setinfo");
  ok(Number(idle.get("idle")) >= 7 && Number(idle.get("age")) >= Number(idle.get("idle")), "idle is counted");
  strictEqual(idle.get("multi"), "-1");
  stand.say(b!, "MULTI");
  stand.say(b!, "SET k v");
  strictEqual(state("b").get("multi"), "1");
  strictEqual(state("b").get("flags"), "x");
  stand.say(b!, "EXEC");
  strictEqual(state("b").get("flags"), "N");
  stand.say(watcher!, "SUBSCRIBE c1 c2");
  stand.say(watcher!, "PSUBSCRIBE p*");
  const subscribed = state("w", "TYPE pubsub");
  deepStrictEqual(["sub", "psub", "ssub", "flags"].map((name) => subscribed.get(name)), ["2", "1", "0", "P"]);
  const me = state("a");
  strictEqual(me.get("cmd"), "client|list");
  ok(Number(me.get("tot-net-in")) > 0 && Number(me.get("tot-net-out")) > 0);
  const info = stand.say(a!, "CLIENT INFO");
  match(info, /^\$\d+\r\nid=\d+ [^\r]* name=a age=\d+ idle=0 flags=N [^\r]*cmd=client\|info [^\r]*\n\r\n$/);
});

Deno.test("CLIENT LIST keeps its place among pipelined replies, and stands in EXEC's", async () => {
  const stand = await Stand.make();
  const [a] = named(stand, ["a", "b"]);
  a!.take();
  a!.say("SET", "k", "v").say("CLIENT", "LIST").say("GET", "k").say("PING");
  stand.run();
  match(a!.take(), /^\+OK\r\n\$\d+\r\nid=[^\r]*name=b [^\r]*\n\r\n\$1\r\nv\r\n\+PONG\r\n$/);
  a!.say("MULTI").say("SET", "k", "w").say("CLIENT", "LIST").say("GET", "k").say("EXEC").say("PING");
  stand.run();
  match(
    a!.take(),
    /^\+OK\r\n(\+QUEUED\r\n){3}\*3\r\n\+OK\r\n\$\d+\r\nid=[^\r]*name=b [^\r]*\n\r\n\$1\r\nw\r\n\+PONG\r\n$/,
  );
});

Deno.test("CLIENT KILL ends those it means, of all workers, and counts them", async () => {
  const stand = await Stand.make();
  const [a, b, c, d, e] = named(stand, ["a", "b", "c", "d", "e"]);
  const survivors = () => stand.names(a!);
  strictEqual(stand.say(a!, `CLIENT KILL ID ${idOf(stand, b!)}`), ":1\r\n");
  ok(b!.closed && !d!.closed);
  deepStrictEqual(survivors(), ["a", "c", "e", "d"]);
  const address = stand.list(a!, "NAME d")[0]!.get("addr")!;
  strictEqual(stand.say(a!, `CLIENT KILL ${address}`), "+OK\r\n");
  strictEqual(stand.say(a!, `CLIENT KILL ${address}`), "-ERR No such client\r\n");
  ok(d!.closed);
  strictEqual(stand.say(a!, "CLIENT KILL TYPE pubsub"), ":0\r\n");
  stand.say(c!, "SUBSCRIBE x");
  strictEqual(stand.say(a!, "CLIENT KILL TYPE pubsub"), ":1\r\n");
  ok(c!.closed);
  strictEqual(stand.say(a!, "PUBLISH x y"), ":0\r\n");
  strictEqual(stand.say(a!, "CLIENT KILL SKIPME yes"), ":1\r\n");
  ok(e!.closed);
  deepStrictEqual(survivors(), ["a"]);
  // Itself: the reply still comes, and nothing that was sent behind it.
  a!.take();
  a!.say("PING").say("CLIENT", "KILL", "SKIPME", "no").say("PING");
  stand.run();
  strictEqual(a!.take(), "+PONG\r\n:1\r\n");
  ok(a!.closed);
  for (const proxy of stand.proxies) strictEqual(proxy.pools[0]!.clients.size, 0);
});

Deno.test("CLIENT KILL ends a waiting client, and its leased connection with it", async () => {
  const stand = await Stand.make();
  const [a, b] = named(stand, ["a", "b"]);
  b!.take();
  b!.say("BLPOP", "list", "1000");
  stand.run();
  strictEqual(stand.list(a!, "NAME b")[0]!.get("flags"), "b");
  strictEqual(stand.say(a!, "CLIENT KILL FLAGS b"), ":1\r\n");
  ok(b!.closed);
  strictEqual(b!.take(), "");
  strictEqual(stand.say(a!, "RPUSH list x"), ":1\r\n");
  strictEqual(stand.say(a!, "LPOP list"), "$1\r\nx\r\n");
});

Deno.test("CLIENT UNBLOCK reaches a client of another worker", async () => {
  const stand = await Stand.make();
  const [a, b] = named(stand, ["a", "b"]);
  const id = idOf(stand, b!);
  strictEqual(stand.say(a!, `CLIENT UNBLOCK ${id}`), ":0\r\n");
  b!.take();
  b!.say("BLPOP", "list", "1000");
  stand.run();
  strictEqual(stand.say(a!, `CLIENT UNBLOCK ${id}`), ":1\r\n");
  strictEqual(b!.take(), "*-1\r\n");
  strictEqual(stand.say(a!, "CLIENT UNBLOCK 99"), ":0\r\n");
});

thorough("thousands of clients are told some a turn, and an answer of another worker is small", async () => {
  const stand = await Stand.make();
  const clients = named(stand, Array.from({ length: 1500 }, (_, i) => `n${i}`));
  stand.run();
  const before = stand.clock.turns;
  strictEqual(new Set(stand.names(clients[0]!)).size, 1500);
  ok(stand.clock.turns - before > 10, `${stand.clock.turns - before} turns`);
  ok(stand.largest <= 256, `${stand.largest} clients at once`);
  const ids = stand.list(clients[0]!).map((fields) => fields.get("id")!);
  const again = stand.list(clients[1]!, `ID ${ids.join(" ")}`).map((fields) => fields.get("id")!);
  deepStrictEqual(again.sort(), ids.sort());
  deepStrictEqual(stand.list(clients[1]!, `NOT-ID ${ids.join(" ")}`), []);
  const strangers = Array.from({ length: 100_000 }, (_, i) => String(10_000 + i));
  strictEqual(stand.say(clients[1]!, `CLIENT LIST ID ${strangers.join(" ")}`), "$0\r\n\r\n");
  strictEqual(stand.say(clients[1]!, "CLIENT KILL SKIPME yes"), ":1499\r\n");
  deepStrictEqual(stand.names(clients[1]!), ["n1"]);
});

Deno.test("a list that client_output_limit does not allow ends its client, and no other", async () => {
  const stand = await Stand.make("  client_output_limit: 100kb\n");
  const clients = named(stand, Array.from({ length: 1000 }, (_, i) => `n${i}`));
  stand.run();
  strictEqual(stand.say(clients[0]!, "CLIENT LIST"), "");
  ok(clients[0]!.closed);
  strictEqual(stand.say(clients[1]!, "PING"), "+PONG\r\n");
});

Deno.test("of a worker that has died nobody is listed; one that is silent is named in an error", async () => {
  const stand = await Stand.make();
  const [a, b] = named(stand, ["a", "b"]);
  stand.others = GONE;
  deepStrictEqual(stand.names(a!), ["a"]);
  strictEqual(stand.say(a!, `CLIENT KILL ID ${idOf(stand, b!)}`), ":0\r\n");
  stand.others = SILENT;
  match(stand.say(a!, "CLIENT LIST"), /^-ERR worker 1 of the proxy does not answer[^\r]*\r\n$/);
  match(
    stand.say(a!, "CLIENT KILL SKIPME yes"),
    /^-ERR worker 1 [^\r]* 0 of others have been closed[^\r]*\r\n$/,
  );
  match(stand.say(a!, `CLIENT UNBLOCK ${idOf(stand, b!)}`), /^-ERR the worker /);
  strictEqual(stand.say(a!, "PING"), "+PONG\r\n");
});

Deno.test("whoever goes away while its list is gathered is forgotten", async () => {
  const stand = await Stand.make();
  const [a, b] = named(stand, ["a", "b"]);
  a!.say("CLIENT", "LIST");
  stand.run(ANSWER_MS);
  a!.socket.destroy();
  stand.run();
  deepStrictEqual(stand.names(b!), ["b"]);
});
