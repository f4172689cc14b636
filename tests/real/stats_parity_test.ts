/**
 * The statistics document: the same keys in the same order and with the same white space as nutcracker 0.5.0's, and
 * after the same traffic the same counts.
 *
 * What differs, and why:
 *  - `fragments`: nutcracker never counts them (always 0); here it is how many were sent.
 *  - `request_bytes` of MSET: nutcracker adds the size of every value twice (redis_copy_bulk does what msg_append has
 *    already done); here it is what was sent.
 *  - `version` is our own; `service` stays "nutcracker", because scrapers look for it.
 *  - nutcracker's counters lag (`-i`), ours are fresh: its document is asked for until it stays as it is.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { latin1, request } from "../lib/bytes.ts";
import type { RawClient, Reply } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freeze, poolYml, type Proxy, RUNTIMES, type Server, type Subject } from "../lib/servers.ts";

type Numbers = Record<string, number>;
interface Document extends Record<string, unknown> {
  service: string;
  source: string;
  total_connections: number;
  curr_connections: number;
}

async function documentText(proxy: Proxy): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port: proxy.statsPort });
  return await new Response(conn.readable).text();
}

/** The document once it no longer changes, but for the time. */
async function settled(proxy: Proxy): Promise<string> {
  let before = "";
  let same = 0;
  return await poll(async () => {
    const text = await documentText(proxy);
    const timeless = text.replace(/"(uptime|timestamp)":\d+/g, "");
    same = timeless === before ? same + 1 : 0;
    before = timeless;
    // nutcracker takes up to two intervals of 100 ms to show a change; polls are at most 50 ms apart.
    return same >= (proxy.subject === "nutcracker" ? 10 : 1) && text;
  }, "statistics to settle");
}

/** The document without what may differ: numbers, the version and the ports of one run. */
function skeleton(text: string): string {
  return text.replace(/"version":"[^"]*"/, '"version":V').replace(/:-?\d+/g, ":N");
}

function pool(document: Document, name: string): Numbers {
  return document[name] as Numbers;
}

function server(document: Document, poolName: string, name: string): Numbers {
  return (document[poolName] as Record<string, Numbers>)[name]!;
}

/** Everything but the time, the version, and what is documented to differ. */
function counts(text: string, step: string): unknown {
  const document = JSON.parse(text) as Document;
  for (const key of ["uptime", "timestamp", "version"]) delete document[key];
  for (const pool of Object.values(document)) {
    if (typeof pool !== "object") continue;
    const { fragments: _, ...rest } = pool as Record<string, number | Numbers>;
    if (step === MSET) { for (const value of Object.values(rest)) delete (value as Numbers).request_bytes; }
    document[Object.keys(document).find((key) => document[key] === pool)!] = rest;
  }
  return document;
}

const MSET = "MSET";

/** Names make the ring, the keys' places and the document the same whatever the ports are. */
function yml(servers: readonly Server[]): string {
  const named = servers.map((s, i) => `127.0.0.1:${s.port}:1 server${i + 1}`);
  return poolYml({
    // A hash that spreads short keys, so that ten of them need all three servers.
    zeta: { servers: named, hash: "md5", timeout: 1000, server_retry_timeout: 2000 },
    beta: { servers: [`127.0.0.1:${servers[0]!.port}:1`], preconnect: true },
    // Never asked: their names are what is compared.
    alpha2: {
      servers: ["/nowhere/a.sock:1", "127.0.0.1:11211:1", "localhost:11212:3", "/nowhere/b.sock:1 b"],
    },
  });
}

/** What is sent to each proxy. `step` names what the counts are compared after. */
async function traffic(f: Fixture, proxy: Proxy, compare: (step: string) => Promise<void>): Promise<void> {
  await compare("nothing");
  const client = await f.client(proxy.targets[0]!);
  for (let i = 0; i < 50; i++) {
    strictEqual(await client.command("SET", `key:${i}`, "x".repeat(i)), "OK");
    strictEqual(await client.command("GET", `key:${i}`), "x".repeat(i));
  }
  await compare("SET and GET");
  const keys = Array.from({ length: 10 }, (_, i) => `key:${i}`);
  deepStrictEqual(await client.command("mget", ...keys), keys.map((_, i) => "x".repeat(i)));
  await compare("mget over several servers");
  strictEqual(await client.command("DEL", ...keys), 10);
  strictEqual(await client.command("DEL", "key:11"), 1);
  await compare("DEL of several keys and of one");
  await client.pipeline(...keys.map((key) => ["INCR", key]), ["PING"], ["HGET", "key:0", "f"]);
  await compare("a pipeline with a local answer and an error");
  // Larger than a read; one of half a MiB and more would have a connection of its own to its server.
  const large = "y".repeat(400_000);
  strictEqual(await client.command("SET", "large", large), "OK");
  strictEqual(await client.command("GET", "large"), large);
  await compare("a large value");
  // Through the end of the connection in three ways.
  const quitting = await f.client(proxy.targets[0]!);
  await quitting.send(request("QUIT"));
  await quitting.readToEnd();
  quitting.close();
  await compare("QUIT");
  const halfClosing = await f.client(proxy.targets[0]!);
  await halfClosing.send(request("GET", "key:20"));
  await halfClosing.closeWrite();
  strictEqual(await halfClosing.readToEnd(), "$20\r\n" + "x".repeat(20) + "\r\n");
  halfClosing.close();
  await compare("a half close");
  const broken = await f.client(proxy.targets[0]!);
  await broken.send(latin1("*1\r\n%4\r\nPING\r\n"));
  await broken.readToEnd();
  broken.close();
  await compare("a protocol error");
  const other = await f.client(proxy.targets[1]!);
  strictEqual(await other.command("GET", "no such key"), null);
  await compare("another pool");
  strictEqual(await client.command("MSET", ...keys.flatMap((key) => [key, "v"])), "OK");
  await compare(MSET);
}

/** The same in a failing world; only what twemproxy counts right then is compared. */
async function failures(
  f: Fixture,
  servers: readonly Server[],
  proxy: Proxy,
): Promise<Record<string, unknown>> {
  const client = await f.client(proxy.targets[0]!);
  const keys: string[] = [];
  for (const [i, server] of servers.entries()) {
    const direct = await f.client(server);
    for (let k = 0; keys.length === i; k++) {
      await client.command("SET", `k${k}`, "v");
      if (await direct.command("GET", `k${k}`) === "v") keys.push(`k${k}`);
    }
  }
  const seen: Record<string, unknown> = {};
  const before = JSON.parse(await settled(proxy)) as Document;
  await servers[0]!.crash();
  // The connection is idle: an end of file, no error.
  const idle = await poll(async () => {
    const now = JSON.parse(await settled(proxy)) as Document;
    return server(now, "zeta", "server1").server_eof! > 0 && now;
  }, "the end of the idle connection to be counted");
  seen.idle = changes(before, idle, "server1");
  ok(/^-ERR Connection refused/.test((await ask(client, "GET", keys[0]!)).text));
  const refused = JSON.parse(await settled(proxy)) as Document;
  seen.refused = changes(idle, refused, "server1");
  await servers[0]!.start();
  await freeze(servers[1]!);
  ok(/^-ERR Connection timed out/.test((await ask(client, "GET", keys[1]!)).text));
  servers[1]!.kill("SIGCONT");
  const late = JSON.parse(await settled(proxy)) as Document;
  seen.late = changes(refused, late, "server2");
  return seen;
}

async function ask(client: RawClient, ...words: string[]): Promise<Reply> {
  await client.send(request(...words));
  return await client.readReply();
}

/** What was added between two documents, to what both proxies count alike when servers fail. */
function changes(before: Document, after: Document, name: string): Numbers {
  const all: Numbers = {};
  for (const key of ["client_eof", "client_err", "forward_error", "server_ejects"]) {
    all[key] = pool(after, "zeta")[key]! - pool(before, "zeta")[key]!;
  }
  for (const key of ["server_eof", "server_err", "server_timedout", "requests", "request_bytes"]) {
    all[key] = server(after, "zeta", name)[key]! - server(before, "zeta", name)[key]!;
  }
  return all;
}

async function threeServers(f: Fixture): Promise<Server[]> {
  return [await f.redis({ port: 0 }), await f.redis({ port: 0 }), await f.redis({ port: 0 })];
}

async function empty(f: Fixture, servers: readonly Server[]): Promise<void> {
  for (const server of servers) await (await f.client(server)).command("FLUSHALL");
}

Deno.test("statistics have nutcracker's keys, order and white space, and after the same traffic its counts", async (t) => {
  await using f = new Fixture();
  const servers = await threeServers(f);
  const expected = new Map<string, string>();
  for (const subject of ["nutcracker", ...RUNTIMES] as Subject[]) {
    await t.step(subject, async () => {
      await empty(f, servers);
      const args = subject === "nutcracker" ? ["-i", "100"] : [];
      await using proxy = await f.proxy(subject, yml(servers), { args });
      await traffic(f, proxy, async (step) => {
        if (subject === "nutcracker") return void expected.set(step, await settled(proxy));
        const wanted = counts(expected.get(step)!, step);
        // Who has looked whether it listens may not be gone yet on a busy machine.
        const text = await poll(async () => {
          const now = await settled(proxy);
          deepStrictEqual(counts(now, step), wanted);
          return now;
        }, `nutcracker's counts after ${step}`);
        strictEqual(skeleton(text), skeleton(expected.get(step)!), `the document after ${step}`);
      });
    });
  }
});

Deno.test("statistics of failures are nutcracker's", async (t) => {
  let expected: Record<string, unknown> | null = null;
  for (const subject of ["nutcracker", ...RUNTIMES] as Subject[]) {
    await t.step(subject, async () => {
      await using f = new Fixture();
      const servers = await threeServers(f);
      const args = subject === "nutcracker" ? ["-i", "100"] : [];
      const seen = await failures(f, servers, await f.proxy(subject, yml(servers), { args }));
      expected ??= seen;
      deepStrictEqual(seen, expected);
    });
  }
});

Deno.test("fragments counts what was sent, where nutcracker says 0", async () => {
  await using f = new Fixture();
  const servers = await threeServers(f);
  const proxy = await f.proxy("compiled", yml(servers));
  const client = await f.client(proxy);
  await client.command("MGET", ...Array.from({ length: 30 }, (_, i) => `key:${i}`));
  strictEqual(pool(JSON.parse(await documentText(proxy)), "zeta").fragments, 3);
});
