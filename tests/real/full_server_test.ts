/** A server that has no room for one more client says so, unasked, and closes: that is a failure and no reply. */
import { match, ok, strictEqual } from "node:assert/strict";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { poolYml, type Server } from "../lib/servers.ts";

const REQUESTS = 60;
const FAILURE_LIMIT = 2;
const TURNED_AWAY = /max number of clients|Too many open connections/;

/** Connects to a server until it takes nobody any more; returns who is in. */
async function fill(f: Fixture, server: Server, question: string): Promise<RawClient[]> {
  const inside: RawClient[] = [];
  for (;;) {
    const client = await f.client(server);
    await client.send(question).catch(() => {});
    const line = await client.readLine().catch(() => "");
    if (line === "" || TURNED_AWAY.test(line)) return inside;
    inside.push(client);
  }
}

async function fullServer(f: Fixture, servers: Server[], redis: boolean, error: RegExp): Promise<void> {
  const question = redis ? "PING\r\n" : "version\r\n";
  const inside = await fill(f, servers[0]!, question);
  const proxy = await f.proxy(
    "compiled",
    poolYml({
      alpha: {
        redis,
        servers,
        // The default hash puts keys that differ in their last digits side by side: all of them may miss the full server.
        hash: "md5",
        auto_eject_hosts: true,
        server_failure_limit: FAILURE_LIMIT,
        server_retry_timeout: 100,
      },
    }),
  );
  const client = await f.client(proxy);
  const get = async (i: number) => {
    const key = `key${i}`;
    await client.send(redis ? `*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n` : `get ${key}\r\n`);
    return await client.readLine();
  };
  const errors: string[] = [];
  for (let i = 0; i < REQUESTS; i++) {
    const reply = await get(i);
    if (!/^(\$-1|END)/.test(reply)) errors.push(reply);
  }
  strictEqual(errors.length, FAILURE_LIMIT, errors.join(""));
  for (const text of errors) {
    match(text, error);
    ok(text.includes(`(server ${servers[0]!.address})`), text);
  }
  for (const one of inside) one.close();
  const live = async () => (await proxy.stats()).alpha as Record<string, Record<string, number>>;
  await poll(async () => {
    await get(0);
    for (let i = 0; i < REQUESTS; i++) await get(i);
    return (await live())[servers[0]!.address]!.server_connections === 1;
  }, "the server to be used again");
}

Deno.test("a redis-server at maxclients is ejected, and comes back when there is room", async () => {
  await using f = new Fixture();
  const servers = [await f.redis({ port: 0, args: ["--maxclients", "4"] }), await f.redis()];
  await fullServer(f, servers, true, /^-ERR max number of clients reached/);
});

Deno.test("a memcached at its limit of connections is ejected, and comes back when there is room", async () => {
  await using f = new Fixture();
  const servers = [
    await f.memcached({ port: 0, args: ["-c", "40", "-t", "1", "-o", "maxconns_fast"] }),
    await f.memcached(),
  ];
  await fullServer(f, servers, false, /^SERVER_ERROR max number of clients reached/);
});
