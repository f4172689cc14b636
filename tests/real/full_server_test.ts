/** A server that has no room for one more client says so, unasked, and closes: that is a failure and no reply. */
import { match, ok, strictEqual } from "node:assert/strict";
import { FakeServer } from "../conformance/fake_server.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Proxy, type Runtime, RUNTIMES, type Server } from "../lib/servers.ts";

const REQUESTS = 60;
const FAILURE_LIMIT = 2;
/** For a server that lets nobody in and says nothing; long enough for one that answers, on a busy machine. */
const TIMEOUT_MS = 2000;
const TURNED_AWAY = /max number of clients|Too many open connections/;

/** "" if it takes too long: whoever is full may say nothing. */
async function soon(line: Promise<string>): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(""), TIMEOUT_MS);
  });
  try {
    return await Promise.race([line, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Connects to a server until it takes nobody any more; returns who is in. */
async function fill(f: Fixture, server: Server, question: string): Promise<RawClient[]> {
  const inside: RawClient[] = [];
  for (;;) {
    const client = await f.client(server);
    await client.send(question).catch(() => {});
    const line = await soon(client.readLine().catch(() => ""));
    if (line === "" || TURNED_AWAY.test(line)) return inside;
    inside.push(client);
  }
}

async function fullServer(
  f: Fixture,
  runtime: Runtime,
  servers: Server[],
  redis: boolean,
  error: RegExp,
): Promise<void> {
  const question = redis ? "PING\r\n" : "version\r\n";
  const inside = await fill(f, servers[0]!, question);
  const proxy = await f.proxy(
    runtime,
    poolYml({
      alpha: {
        redis,
        servers,
        timeout: TIMEOUT_MS,
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

for (const runtime of RUNTIMES) {
  Deno.test(`a redis-server at maxclients is ejected, and comes back when there is room (${runtime})`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis({ port: 0, args: ["--maxclients", "4"] }), await f.redis()];
    await fullServer(f, runtime, servers, true, /^-ERR max number of clients reached/);
  });

  Deno.test(`a memcached at its limit of connections is ejected, and comes back when there is room (${runtime})`, async () => {
    await using f = new Fixture();
    const servers = [
      await f.memcached({ port: 0, args: ["-c", "40", "-t", "1", "-o", "maxconns_fast"] }),
      await f.memcached(),
    ];
    await fullServer(f, runtime, servers, false, /^SERVER_ERROR max number of clients reached/);
  });
}

Deno.test("a memcached that lets nobody in and does not say so is ejected, and comes back when there is room", async () => {
  await using f = new Fixture();
  const servers = [
    await f.memcached({ port: 0, args: ["-c", "40", "-t", "1", "-o", "no_maxconns_fast"] }),
    await f.memcached(),
  ];
  await fullServer(f, "compiled", servers, false, /^SERVER_ERROR Connection timed out/);
});

/** What a server says to PING, how it gets to say so, and how it gets well; commands for itself. */
const ILL: Record<string, { args?: string[]; begin: string[][]; end: string[][] }> = {
  MISCONF: {
    args: ["--stop-writes-on-bgsave-error", "yes"],
    begin: [["CONFIG", "SET", "save", "3600 100"], ["BGSAVE"]],
    end: [["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]],
  },
  NOAUTH: {
    begin: [["CONFIG", "SET", "requirepass", "secret"]],
    end: [["CONFIG", "SET", "requirepass", ""]],
  },
  MASTERDOWN: {
    begin: [["CONFIG", "SET", "replica-serve-stale-data", "no"], ["REPLICAOF", "127.0.0.1", "1"]],
    end: [["REPLICAOF", "NO", "ONE"]],
  },
};

for (const [word, { args = [], begin, end }] of Object.entries(ILL)) {
  Deno.test(`an ejected server that answers its probe with ${word} stays away until it is well`, async () => {
    await using f = new Fixture();
    // What it saves to is gone: only BGSAVE needs it.
    const dir = await Deno.makeTempDir({ prefix: "ringmaster-" });
    const servers = [await f.redis({ port: 0, args: [...args, "--dir", dir] }), await f.redis()];
    await Deno.remove(dir);
    const direct = await f.client(servers[0]!);
    for (const request of begin) {
      const reply = await direct.command(...request);
      ok(!(reply instanceof ReplyError), `${request.join(" ")}: ${reply}`);
    }
    const pings = await f.client(servers[0]!);
    await poll(async () => {
      const reply = await pings.command("PING");
      return reply instanceof ReplyError && reply.message.startsWith(word);
    }, `the server to say ${word}`);
    const proxy = await f.proxy(
      "compiled",
      poolYml({
        alpha: {
          servers,
          hash: "md5",
          timeout: TIMEOUT_MS,
          auto_eject_hosts: true,
          server_failure_limit: 1,
          server_retry_timeout: 50,
        },
      }),
    );
    const client = await f.client(proxy);
    const ask = async () => {
      for (let i = 0; i < REQUESTS; i++) await client.command("GET", `key${i}`);
    };
    servers[0]!.kill("SIGSTOP");
    await poll(async () => {
      await ask();
      return await liveServers(proxy) === 1;
    }, "the server to be ejected");
    const before = await refusedPings(direct, servers[0]!);
    await poll(async () => await refusedPings(direct) >= before + 3, "the probes to be refused");
    strictEqual(await liveServers(proxy), 1);
    for (const request of end) await direct.command(...request);
    await poll(async () => await liveServers(proxy) === 2, "the server to be on the ring again");
  });
}

async function liveServers(proxy: Proxy): Promise<number> {
  await using f = new Fixture();
  const client = await f.client(proxy);
  const info = await client.command("INFO", "ringmaster") as string;
  return Number(/live_servers:(\d)/.exec(info)![1]);
}

/** @param stopped lets the server go on first */
async function refusedPings(direct: RawClient, stopped?: Server): Promise<number> {
  stopped?.kill("SIGCONT");
  const info = await direct.command("INFO", "commandstats") as string;
  return Number(/cmdstat_ping:.*rejected_calls=(\d+)/.exec(info)?.[1] ?? 0);
}

for (const runtime of RUNTIMES) {
  Deno.test(`a server that accepts and closes without a word is left alone for a while, then served (${runtime})`, async () => {
    await using f = new Fixture();
    const server = f.add(FakeServer.start((_, from) => (from.close(), null)));
    const proxy = await f.proxy(runtime, poolYml({ alpha: { servers: [`${server.address}:1`] } }));
    const client = await f.client(proxy);
    let errors = 0;
    // Without a pause there is a connection for each error.
    await poll(async () => {
      for (let i = 0; i < 100; i++) {
        ok(await client.command("GET", "a") instanceof ReplyError);
        errors++;
      }
      return errors > 10 + 3 * server.accepted;
    }, () => `fewer connections than errors (${server.accepted} for ${errors})`);
    server.answer = () => "+here\r\n";
    await poll(async () => await client.command("GET", "a") === "here", "the server to be asked again");
    // It has answered: that it closes once is no reason to leave it alone.
    for (let i = 0; i < 3; i++) {
      server.closeConnections();
      await poll(() => server.connections.size === 0, "the connections to be closed");
      await poll(async () => await client.command("GET", "a") === "here", "an answer");
    }
  });
}
