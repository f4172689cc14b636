/**
 * A server's primary is replaced while requests are under way, on the simulator's network: what was written fails and is never sent
 * again, what was held back for a handshake goes to the new primary, what may finish finishes where it is.
 */
import { match, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { parseConfig } from "../../src/config/parse.ts";
import { Endpoint } from "../../src/proxy/endpoint.ts";
import { failureOf } from "../../src/proxy/failures.ts";
import type { Server } from "../../src/proxy/server.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { FORWARD_ERROR, REQUESTS, RESPONSES, SERVER_CONNECTIONS } from "../../src/stats/metrics.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { runs } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { Reader, SYSTEM, Talker } from "../sim/reader.ts";

const OLD = { host: "10.0.0.1", port: 6379 };
const NEW = { address: { host: "10.0.0.2", port: 6379 }, text: "10.0.0.2:6379", zone: null };
const LISTENING = { backlog: 1, reusePort: false, keepAlive: false };
const GREETING = textOf(request("AUTH", "secret"));
const ABANDONED = failureOf("ECONNRESET");

class Peer extends Reader {
  say(text: string): void {
    this.send(latin1(text));
  }
}

/** A pool of one server with a password, and two machines that say what the test says. */
class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly old = new Peer();
  readonly next = new Peer();
  private readonly config = parseConfig(
    "alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  redis_auth: secret\n  timeout: 1000\n  servers:\n    - 10.0.0.1:6379:1 one\n",
    "sim.yml",
  );
  private readonly proxy = new Proxy({
    config: this.config,
    net: this.net,
    clock: this.clock,
    random: new Random(2).next,
    log: { level: 0, write: () => {} },
    system: SYSTEM,
  });

  static async make(): Promise<Stand> {
    const stand = new Stand();
    await stand.net.listen(OLD, stand.old, LISTENING);
    await stand.net.listen(NEW.address, stand.next, LISTENING);
    await stand.proxy.listen(null);
    return stand;
  }

  get server(): Server {
    return this.proxy.pools[0]!.servers[0]!;
  }

  get forwardErrors(): number {
    return this.proxy.pools[0]!.counters[FORWARD_ERROR]!;
  }

  /** A client that is in: the password is the pool's. */
  client(): Talker {
    const talker = new Talker(this.net, this.config.pools[0]!.listen).say("AUTH", "secret");
    this.run();
    strictEqual(talker.take(), "+OK\r\n");
    return talker;
  }

  run(ms = 5): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** What has been read since the last time, without the greeting. */
  asked(peer: Peer): string {
    return peer.take().replaceAll(GREETING, "");
  }
}

const get = (key: string) => textOf(request("GET", key));

Deno.test("what is held back for a handshake goes to the new primary, in order, and is counted once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ client: fc.nat(2), size: fc.integer({ min: 1, max: 40_000 }) }), {
        maxLength: 12,
      }),
      fc.boolean(),
      async (asks, greetedLate) => {
        const stand = await Stand.make();
        const { server, old, next } = stand;
        const clients = [stand.client(), stand.client(), stand.client()];
        let bytes = "";
        let replies = "";
        const expected = ["", "", ""];
        asks.forEach(({ client, size }, i) => {
          const key = `${i}`.padStart(size, "k");
          clients[client]!.say("GET", key);
          bytes += get(key);
          const reply = `$${`${i}`.length}\r\n${i}\r\n`;
          replies += reply;
          expected[client] += reply;
          stand.run();
        });
        strictEqual(stand.asked(old), "", "nothing may be asked before the greeting is answered");
        server.replace(new Endpoint(server, NEW), ABANDONED);
        stand.run();
        if (greetedLate) strictEqual(stand.asked(next), "");
        if (asks.length > 0) next.say("+OK\r\n");
        stand.run();
        strictEqual(stand.asked(next), bytes);
        strictEqual(stand.asked(old), "");
        if (replies !== "") next.say(replies);
        stand.run();
        clients.forEach((client, i) => strictEqual(client.take(), expected[i]));
        strictEqual(server.counters[REQUESTS], asks.length);
        strictEqual(server.counters[RESPONSES], asks.length);
        strictEqual(stand.forwardErrors, 0);
        strictEqual(server.connections.length, asks.length > 0 ? 1 : 0);
      },
    ),
    { numRuns: runs(25) },
  );
});

Deno.test("what was written fails at once, is not sent again, and its late reply goes to nobody", async () => {
  const stand = await Stand.make();
  const { server, old, next } = stand;
  const one = stand.client().say("GET", "a");
  stand.run();
  old.say("+OK\r\n");
  stand.run();
  strictEqual(stand.asked(old), get("a"));
  one.say("GET", "b");
  stand.run();
  server.replace(new Endpoint(server, NEW), ABANDONED);
  one.say("GET", "c");
  stand.run();
  strictEqual(one.take(), "-ERR Connection reset by peer (server one)\r\n".repeat(2));
  ok(old.closed);
  next.say("+OK\r\n");
  stand.run();
  strictEqual(stand.asked(next), get("c"));
  next.say("$1\r\nC\r\n");
  stand.run();
  strictEqual(one.take(), "$1\r\nC\r\n");
  strictEqual(stand.forwardErrors, 2);
});

Deno.test("nobody takes over: what was held back is refused, and what comes after", async () => {
  const stand = await Stand.make();
  const { server, old, next } = stand;
  const one = stand.client().say("GET", "a");
  stand.run();
  server.why = "no sentinel answers";
  server.replace(null, ABANDONED);
  one.say("GET", "b");
  stand.run();
  const refusal = "-ERR Connection refused: no primary is known: no sentinel answers (server one)\r\n";
  strictEqual(one.take(), refusal.repeat(2));
  one.say("SUBSCRIBE", "news");
  stand.run(2000);
  match(one.take(), /^-ERR .*\(server one\)\r\n$/);
  server.replace(new Endpoint(server, NEW));
  one.say("GET", "c");
  stand.run();
  next.say("+OK\r\n$1\r\nC\r\n");
  stand.run();
  strictEqual(one.take(), "$1\r\nC\r\n");
  strictEqual(stand.asked(old), "");
});

Deno.test("a request keeps its deadline when another endpoint takes it over", async () => {
  const stand = await Stand.make();
  const { server, next } = stand;
  const one = stand.client().say("GET", "a");
  stand.run(600);
  server.replace(new Endpoint(server, NEW), ABANDONED);
  stand.run(200);
  next.say("+OK\r\n");
  stand.run(300);
  strictEqual(one.take(), "-ERR Connection timed out (server one)\r\n");
  // The late reply is swallowed in its turn.
  one.say("GET", "b");
  stand.run();
  next.say("$1\r\nA\r\n$1\r\nB\r\n");
  stand.run();
  strictEqual(one.take(), "$1\r\nB\r\n");
});

Deno.test("a lease ends when its endpoint is abandoned: EXEC of a WATCH fails", async () => {
  const stand = await Stand.make();
  const { server, old, next } = stand;
  const one = stand.client().say("WATCH", "a");
  stand.run();
  old.say("+OK\r\n+OK\r\n");
  stand.run();
  strictEqual(one.take(), "+OK\r\n");
  server.replace(new Endpoint(server, NEW), ABANDONED);
  one.say("MULTI").say("SET", "a", "1").say("EXEC");
  stand.run();
  strictEqual(one.take(), "+OK\r\n+QUEUED\r\n*-1\r\n");
  strictEqual(stand.asked(next), "");
});

Deno.test("a primary that is only replaced answers what is in flight, and its connection ends then", async () => {
  const stand = await Stand.make();
  const { server, old, next } = stand;
  const one = stand.client().say("GET", "a");
  stand.run();
  old.say("+OK\r\n");
  stand.run();
  server.replace(new Endpoint(server, NEW));
  const two = stand.client().say("GET", "b");
  stand.run();
  strictEqual(server.endpoints.length, 2);
  old.say("$1\r\nA\r\n");
  next.say("+OK\r\n$1\r\nB\r\n");
  stand.run(100);
  strictEqual(one.take() + two.take(), "$1\r\nA\r\n$1\r\nB\r\n");
  ok(old.closed);
  strictEqual(server.endpoints.length, 1);
});

Deno.test("subscriptions are on a lease like any other: counted, seen by max_memory, and moved", async () => {
  const stand = await Stand.make();
  const { server, old, next } = stand;
  const one = stand.client().say("SUBSCRIBE", "news");
  stand.run();
  strictEqual(stand.asked(old), "", "nothing may be asked before the greeting is answered");
  old.say("+OK\r\n");
  stand.run();
  strictEqual(stand.asked(old), textOf(request("subscribe", "news")));
  const confirmed = "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
  old.say(confirmed);
  stand.run();
  strictEqual(one.take(), confirmed);
  strictEqual(server.counters[SERVER_CONNECTIONS], 1);
  strictEqual(server.counters[REQUESTS], 0);

  const message = `*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$300000\r\n${"m".repeat(300_000)}\r\n`;
  old.say(message.slice(0, 200_000));
  stand.run();
  ok(server.connections[0]!.holdsBytes >= 200_000);
  old.say(message.slice(200_000) + "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
  stand.run();
  strictEqual(one.take(), `${message}*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n`);

  server.replace(new Endpoint(server, NEW), ABANDONED);
  stand.run();
  ok(old.closed);
  next.say("+OK\r\n");
  stand.run();
  strictEqual(stand.asked(next), textOf(request("subscribe", "news")));
  next.say(confirmed + "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\ny\r\n");
  stand.run();
  strictEqual(one.take(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\ny\r\n");
  strictEqual(server.connections.length, 1);

  one.say("UNSUBSCRIBE");
  stand.run();
  strictEqual(one.take(), "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
  strictEqual(server.connections.length, 0);
});

Deno.test("a server that refuses a subscription says so in its words; one that is lost is asked again", async () => {
  const stand = await Stand.make();
  const { server, old } = stand;
  const one = stand.client().say("SUBSCRIBE", "news");
  stand.run();
  old.say("+OK\r\n-NOPERM not this one\r\n");
  stand.run();
  strictEqual(one.take(), "-NOPERM not this one\r\n");
  strictEqual(server.connections.length, 0);

  one.say("SUBSCRIBE", "news");
  stand.run();
  old.say("+OK\r\n*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
  stand.run();
  one.take();
  stand.asked(old);
  old.socket.destroy();
  stand.run(100);
  old.say("+OK\r\n");
  stand.run();
  strictEqual(stand.asked(old), textOf(request("subscribe", "news")));
  old.say("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nz\r\n");
  stand.run();
  strictEqual(one.take(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nz\r\n");
});
