/** Which memcached's answers a pool gives: those of its oldest server, learned when a line needs it. */
import assert from "node:assert/strict";
import { ServerVersions } from "../../src/memcached/versions.ts";
import { NOBODY_KNOWS, READ_AS_1_6_18, READ_AS_NEWER } from "../../src/protocol/memcached/request.ts";
import type { Client } from "../../src/proxy/client.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import type { Internal } from "../../src/proxy/request.ts";
import { latin1 } from "../lib/bytes.ts";

/** A server, whose connection notes what is asked on it. */
class Asked {
  readonly tail = { check: 0 };
  asked = 0;
  private waiting: Internal[] = [];

  ask(_: Uint8Array, done: Internal): void {
    this.asked++;
    this.waiting.push(done);
  }

  says(reply: string, failed = false): void {
    const bytes = latin1(reply);
    const done = this.waiting.shift()!;
    done(bytes, 0, bytes.length, failed);
  }
}

function stand(count: number) {
  const servers = Array.from({ length: count }, () => new Asked());
  /** The connection to a server is the server, until another is made. */
  const connections: (Asked | null)[] = [...servers];
  const timers: { atMs: number; run: () => void }[] = [];
  let nowMs = 0;
  let blocked = 0;
  const client = { block: () => blocked++, unblock: () => blocked--, waitFor: () => {} } as unknown as Client;
  const pool = {
    turn: { now: () => nowMs },
    onRing: () => servers,
    front: { connectionTo: (_: Client, server: Asked) => connections[servers.indexOf(server)] },
    setTimer: (afterMs: number, run: () => void) => timers.push({ atMs: nowMs + afterMs, run }),
  } as unknown as Pool;
  const told: number[] = [];
  const versions = new ServerVersions(pool, (reading) => told.push(reading));
  const passMs = (ms: number) => {
    nowMs += ms;
    for (const timer of timers.splice(0)) timer.atMs <= nowMs ? timer.run() : timers.push(timer);
  };
  return { servers, connections, versions, client, told, passMs, blocked: () => blocked };
}

Deno.test("versions: the oldest server's count, all waiting clients are told, each connection is asked once", () => {
  for (
    const [said, reading, text] of [
      [["1.6.45", "1.6.45"], READ_AS_NEWER, "1.6.45"],
      [["1.6.45", "1.6.40"], READ_AS_NEWER, "1.6.40"],
      [["1.6.39", "1.6.45"], READ_AS_1_6_18, "1.6.18"],
      [["1.6.45", "1.5.22"], READ_AS_1_6_18, "1.6.18"],
      [["1.7.0", "2.0.1"], READ_AS_NEWER, "1.7.0"],
      [["1.6.45", "twice.as.good"], READ_AS_1_6_18, "1.6.18"],
    ] as const
  ) {
    const { servers, versions, client, told, blocked } = stand(2);
    assert.equal(versions.learn(client), false);
    assert.equal(versions.learn(client), false);
    assert.equal(blocked(), 2);
    servers[1]!.says(`VERSION ${said[1]}\r\n`);
    assert.deepEqual([versions.reading, blocked()], [NOBODY_KNOWS, 2]);
    servers[0]!.says(`VERSION ${said[0]} (x)\r\n`);
    assert.deepEqual([versions.reading, versions.text, blocked(), told], [reading, text, 0, [reading]]);
    assert.equal(versions.learn(client), true);
    versions.forget();
    assert.equal(versions.learn(client), true, "it is known of both connections");
    assert.deepEqual([versions.reading, servers[0]!.asked, servers[1]!.asked], [reading, 1, 1]);
  }
});

Deno.test("versions: another connection is asked, those that are known are not", () => {
  const { servers, connections, versions, client } = stand(2);
  versions.learn(client);
  for (const server of servers) server.says("VERSION 1.6.45\r\n");
  const other = connections[1] = new Asked();
  versions.forget();
  assert.equal(versions.learn(client), false);
  other.says("VERSION 1.6.18\r\n");
  assert.deepEqual([versions.reading, servers[0]!.asked, servers[1]!.asked, other.asked], [
    READ_AS_1_6_18,
    1,
    1,
    1,
  ]);
});

Deno.test("versions: who does not answer in time, or fails, does not count, is left alone for a while and asked again", () => {
  const { servers, versions, client, passMs, blocked } = stand(3);
  versions.learn(client);
  servers[0]!.says("VERSION 1.6.45\r\n");
  servers[1]!.says("SERVER_ERROR gone\r\n", true);
  passMs(250);
  assert.deepEqual([versions.reading, blocked()], [READ_AS_NEWER, 0]);
  // The late one is an old one.
  servers[2]!.says("VERSION 1.6.18\r\n");
  assert.equal(versions.reading, NOBODY_KNOWS);
  assert.equal(versions.learn(client), true);
  assert.deepEqual([versions.reading, servers[1]!.asked], [READ_AS_1_6_18, 1]);
  passMs(1000);
  assert.equal(versions.learn(client), false);
  servers[1]!.says("SERVER_ERROR gone\r\n", true);
  assert.equal(servers[1]!.asked, 2);
  passMs(1000);
  versions.learn(client);
  assert.equal(servers[1]!.asked, 2, "twice as long");
  passMs(1000);
  versions.learn(client);
  assert.equal(servers[1]!.asked, 3);
});

Deno.test("versions: where nobody tells, it is the oldest at first, then what was known", () => {
  const { servers, connections, versions, client } = stand(1);
  connections[0] = null;
  assert.equal(versions.learn(client), true);
  assert.equal(versions.reading, READ_AS_1_6_18);
  connections[0] = servers[0]!;
  versions.forget();
  versions.learn(client);
  servers[0]!.says("VERSION 1.6.44\r\n");
  connections[0] = null;
  versions.forget();
  assert.equal(versions.learn(client), true);
  assert.deepEqual([versions.reading, versions.text], [READ_AS_NEWER, "1.6.44"]);
});

Deno.test("versions: servers that change while they are asked are asked again, and nobody waits longer for it", () => {
  const { servers, connections, versions, client, passMs, blocked } = stand(2);
  assert.equal(versions.learn(client), false);
  servers[0]!.says("VERSION 1.6.45\r\n");
  // The other one is replaced, and its replacement connected to, before it has answered.
  versions.forget();
  servers[1]!.says("VERSION 1.6.18\r\n");
  assert.deepEqual([versions.reading, blocked()], [READ_AS_1_6_18, 0]);
  const other = connections[1] = new Asked();
  passMs(1000);
  assert.equal(versions.reading, NOBODY_KNOWS);
  assert.equal(versions.learn(client), false);
  other.says("VERSION 1.6.45\r\n");
  assert.deepEqual([versions.reading, versions.text, blocked()], [READ_AS_NEWER, "1.6.45", 0]);
});
