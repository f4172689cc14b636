/** Servers that an operator takes off the ring: nobody brings them back but the operator, and what is in flight is answered. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { DRAINED, EJECTED, FREE, type Held } from "../../src/stats/board.ts";
import { SERVER_EJECTS } from "../../src/stats/metrics.ts";
import type { Talker } from "./reader.ts";
import { Stand } from "./stand.ts";

const SERVERS = ["10.0.0.1:6379:1 m1", "10.0.0.2:6379:1 m2"];
const EJECTS =
  "  timeout: 100\n  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 200\n";

const make = (yml: string) => Stand.make(undefined, yml, SERVERS);

/** As the admin side does it. */
function hold(stand: Stand, server: number, held: Held): void {
  stand.pool.board.servers[server]!.hold(held);
  stand.proxy.serversChanged(stand.pool.board.id);
}

/** What a client reads to so many requests, each of another key. */
function ask(stand: Stand, client: Talker, count: number): string[] {
  client.take();
  for (let i = 0; i < count; i++) client.say("SET", `key${i}`, "x");
  stand.run(50);
  return client.take().split("\r\n").slice(0, -1);
}

const onRing = (stand: Stand): string[] => stand.pool.onRing().map(({ config }) => config.name);
const written = (stand: Stand): boolean[] => [0, 1].map((i) => stand.model(i).databases[0]!.entries.size > 0);

Deno.test("held: a server that was ejected for its failures, and then by hand, stays off when it is well again, until it is restored", async () => {
  const stand = await make(EJECTS);
  const client = stand.talker();
  stand.servers[0]!.frozenUntilMs = Infinity;
  ask(stand, client, 20);
  stand.run(300);
  deepStrictEqual(onRing(stand), ["m2"]);
  strictEqual(stand.pool.counters[SERVER_EJECTS], 1);
  hold(stand, 0, EJECTED);
  stand.servers[0]!.frozenUntilMs = 0;
  stand.run(20_000);
  deepStrictEqual(onRing(stand), ["m2"]);
  hold(stand, 0, FREE);
  stand.run(100);
  deepStrictEqual(onRing(stand), ["m1", "m2"]);
  deepStrictEqual(new Set(ask(stand, client, 20)), new Set(["+OK"]));
  deepStrictEqual(written(stand), [true, true]);
  stand.pool.invariants();
  stand.proxy.stop();
});

Deno.test("held: without auto_eject_hosts too, and through another configuration", async () => {
  const stand = await make("  timeout: 1000\n");
  const client = stand.talker();
  hold(stand, 1, EJECTED);
  deepStrictEqual(onRing(stand), ["m1"]);
  stand.pool.adopt({ ...stand.pool.config, timeoutMs: 2000 });
  deepStrictEqual(onRing(stand), ["m1"]);
  deepStrictEqual(new Set(ask(stand, client, 20)), new Set(["+OK"]));
  deepStrictEqual(written(stand), [true, false]);
  hold(stand, 1, FREE);
  deepStrictEqual(onRing(stand), ["m1", "m2"]);
  stand.proxy.stop();
});

Deno.test("held: a drained server answers what is in flight, and then has no connection", async () => {
  const stand = await make("  timeout: 1000\n");
  const client = stand.talker();
  ask(stand, client, 20);
  deepStrictEqual(written(stand), [true, true]);
  stand.servers[0]!.frozenUntilMs = stand.clock.nowMs() + 500;
  for (let i = 0; i < 20; i++) client.say("GET", `key${i}`);
  stand.run(10);
  hold(stand, 0, DRAINED);
  stand.run(10);
  const connections = () => stand.pool.servers[0]!.connections.length;
  strictEqual(connections(), 1);
  stand.run(1000);
  strictEqual(client.take(), "$1\r\nx\r\n".repeat(20));
  strictEqual(connections(), 0);
  // What comes now goes to the other one.
  deepStrictEqual(new Set(ask(stand, client, 20)), new Set(["+OK"]));
  strictEqual(connections(), 0);
  stand.proxy.stop();
});
