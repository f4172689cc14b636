/** One of three servers is killed: what concerns all servers goes on without it, and is made up for when it is back. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { freeze, poolYml, type Proxy, type Runtime, RUNTIMES, type Server } from "../lib/servers.ts";

interface Stand {
  readonly servers: Server[];
  readonly proxy: Proxy;
  readonly client: RawClient;
  /** keys[i] is on server i, while all are on the ring. */
  readonly keys: string[];
}

const EJECTING = { auto_eject_hosts: true, server_failure_limit: 1, server_retry_timeout: 100 };

/** The server in the middle: there is one before it, and one behind. */
const GONE = 1;
/** Its beginning; see scan_cursor.ts. */
const CURSOR_OF_GONE = String(2 ** 52 + GONE);

async function three(f: Fixture, runtime: Runtime, keys: Record<string, unknown>): Promise<Stand> {
  const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 }), await f.redis({ port: 0 })];
  // As the proxy numbers them: by name, short ones first.
  servers.sort((a, b) => a.port - b.port);
  const proxy = await f.proxy(runtime, poolYml({ alpha: { servers, hash: "md5", ...keys } }));
  const client = await f.client(proxy);
  const owned: string[] = [];
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  for (let i = 0; owned.filter((key) => key !== undefined).length < servers.length; i++) {
    strictEqual(await client.command("SET", `key${i}`, "v"), "OK");
    for (const [s, each] of direct.entries()) {
      if (owned[s] === undefined && await each.command("EXISTS", `key${i}`) === 1) owned[s] = `key${i}`;
    }
  }
  for (const each of direct) each.close();
  return { servers, proxy, client, keys: owned };
}

/** Kills the server, and asks for its key until another one answers. */
async function kill({ servers, client, keys }: Stand): Promise<void> {
  await servers[GONE]!.crash();
  await poll(async () => await client.command("GET", keys[GONE]!) === null, "the server to be ejected");
}

/** Brings it back, empty, and waits until it is asked again. */
async function bringBack({ servers, client }: Stand): Promise<void> {
  await servers[GONE]!.start();
  await poll(async () => await isBack(client), "the server to be on the ring again");
}

async function isBack(client: RawClient): Promise<boolean> {
  const info = await client.command("INFO", "ringmaster") as string;
  return /live_servers:3/.test(info);
}

function isError(value: Value, text: RegExp): void {
  ok(value instanceof ReplyError, `expected an error like ${text}, found ${Deno.inspect(value)}`);
  match(value.message, text);
}

async function scan(client: RawClient): Promise<string[]> {
  const found: string[] = [];
  let cursor = "0";
  do {
    const [next, page] = await client.command("SCAN", cursor, "COUNT", "1") as [string, string[]];
    found.push(...page);
    cursor = next;
  } while (cursor !== "0");
  return found;
}

const EVERYWHERE: readonly (readonly [request: string[], expected: RegExp])[] = [
  [["KEYS", "*"], /key/],
  [["DBSIZE"], /^\d+$/],
  [["RANDOMKEY"], /key/],
  [["SCRIPT", "LOAD", "return 1"], /^e0e1f9fabfc9d4800c877a703b823ac0578ff8db$/],
  [["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"], /^1$/],
  [
    ["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 'one' end)"],
    /^lib$/,
  ],
  [["FUNCTION", "STATS"], /engines/],
  [["FUNCTION", "DELETE", "lib"], /^OK$/],
  [["SCRIPT", "FLUSH"], /^OK$/],
  [["PUBSUB", "CHANNELS"], /^$/],
  [["PUBSUB", "NUMPAT"], /^0$/],
  [["PUBSUB", "NUMSUB", "news"], /^news,0$/],
  [["WAIT", "0", "10"], /^0$/],
  [["FUNCTION", "FLUSH"], /^OK$/],
  [["SLOWLOG", "LEN"], /^\d+$/],
  [["SLOWLOG", "RESET"], /^OK$/],
  [["LATENCY", "RESET"], /^\d+$/],
  [["MEMORY", "PURGE"], /^OK$/],
  [["INFO", "server"], /redis_version/],
];

for (const runtime of RUNTIMES) {
  Deno.test(`what concerns all servers goes on without the one that is ejected (${runtime})`, async () => {
    await using f = new Fixture();
    const stand = await three(f, runtime, { ...EJECTING, dangerous_commands: "allow" });
    const { client, keys, servers } = stand;
    await kill(stand);
    for (const [request, expected] of EVERYWHERE) {
      const reply = await client.command(...request);
      ok(!(reply instanceof ReplyError), `${request.join(" ")}: ${Deno.inspect(reply)}`);
      match(String(reply), expected, request.join(" "));
    }
    const found = await scan(client);
    ok(found.includes(keys[0]!) && found.includes(keys[2]!));
    // Its cursor goes on with the next server, and means what it has meant when the server is back.
    const [next, page] = await client.command("SCAN", CURSOR_OF_GONE, "COUNT", "1000") as [string, string[]];
    strictEqual(next, "0");
    ok(page.includes(keys[2]!));
    // What is not true of all servers is not said to be done.
    isError(await client.command("SCRIPT", "KILL"), /^NOTBUSY/);
    const subscriber = await f.client(stand.proxy);
    deepStrictEqual(await subscriber.command("PSUBSCRIBE", "*"), ["psubscribe", "*", 1]);
    await bringBack(stand);
    strictEqual(await client.command("SET", keys[GONE]!, "v"), "OK");
    const [, back] = await client.command("SCAN", CURSOR_OF_GONE, "COUNT", "1000") as [string, string[]];
    deepStrictEqual(back, [keys[GONE]]);
    const direct = await f.client(servers[GONE]!);
    await poll(async () => await direct.command("PUBSUB", "NUMPAT") === 1, "the pattern to be watched there");
    strictEqual(await client.command("PUBLISH", keys[GONE]!, "hello"), 1);
    deepStrictEqual((await subscriber.readReply()).value, ["pmessage", "*", keys[GONE], "hello"]);
  });
}

Deno.test("without auto_eject_hosts what concerns all servers names the one that is down", async () => {
  await using f = new Fixture();
  const stand = await three(f, "compiled", { dangerous_commands: "allow" });
  const { client, servers, keys } = stand;
  await servers[GONE]!.crash();
  isError(await client.command("GET", keys[GONE]!), /\(server /);
  for (const [request] of EVERYWHERE) {
    if (request[0] === "INFO" || request[0] === "RANDOMKEY") continue;
    const reply = await client.command(...request);
    isError(reply, new RegExp(`\\(server ${servers[GONE]!.address}\\)`));
  }
});

Deno.test("FLUSHALL is not OK while a server is ejected that has not heard it", async () => {
  await using f = new Fixture();
  const stand = await three(f, "compiled", { ...EJECTING, dangerous_commands: "allow" });
  await kill(stand);
  isError(
    await stand.client.command("FLUSHALL"),
    new RegExp(`\\(server ${stand.servers[GONE]!.address}\\)`),
  );
});

Deno.test("SCRIPT KILL reaches the server that is ejected because it is busy with the script", async () => {
  await using f = new Fixture();
  const servers = [await f.redis({ port: 0, args: ["--lua-time-limit", "50"] }), await f.redis()];
  const pool = { servers, hash: "md5", timeout: 1000, ...EJECTING };
  const proxy = await f.proxy("compiled", poolYml({ alpha: pool }));
  const [client, other] = [await f.client(proxy), await f.client(proxy)];
  const info = async () => await other.command("INFO", "ringmaster") as string;
  // One of these keys is on that server; on the other one the script ends at once.
  const endless = "while redis.call('DBSIZE') == 0 do end return 1";
  const direct = await f.client(servers[1]!);
  strictEqual(await direct.command("SET", "x", "1"), "OK");
  for (let i = 0; !/live_servers:1/.test(await info()); i++) {
    await client.command("EVAL", endless, "1", `key${i}`);
  }
  strictEqual(await other.command("SCRIPT", "KILL"), "OK");
  await poll(async () => /live_servers:2/.test(await info()), "the server to be on the ring again");
});

/** `SCRIPT LOAD`; returns the digest. */
async function load(client: RawClient, text: string): Promise<string> {
  return await client.command("SCRIPT", "LOAD", text) as string;
}

function library(name: string, reply: string): string {
  return `#!lua name=${name}\nredis.register_function('${name}', function() return '${reply}' end)`;
}

for (const runtime of RUNTIMES) {
  Deno.test(`scripts and functions are there before clients see a server that returns (${runtime})`, async () => {
    await using f = new Fixture();
    const stand = await three(f, runtime, EJECTING);
    const { client, keys, servers } = stand;
    const key = keys[GONE]!;
    const before = await load(client, "return 'before'");
    strictEqual(
      await client.command("EVAL", "return {'evaluated', ARGV[1]}", "1", key, "x").then(String),
      "evaluated,x",
    );
    await client.command("MULTI");
    await client.command("EVAL", "return 'queued'", "1", key);
    deepStrictEqual(await client.command("EXEC"), ["queued"]);
    strictEqual(await client.command("FUNCTION", "LOAD", library("early", "one")), "early");
    await kill(stand);
    const during = await load(client, "return 'during'");
    strictEqual(await client.command("FUNCTION", "LOAD", library("late", "two")), "late");
    await servers[GONE]!.start();
    // Whoever is asked, before, at the moment of its return, and after, knows them.
    await poll(async () => {
      const [a, b, c, d] = await client.pipeline(
        ["EVALSHA", before, "1", key],
        ["EVALSHA", during, "1", key],
        ["FCALL", "early", "1", key],
        ["FCALL", "late", "1", key],
      );
      deepStrictEqual([a, b, c, d], ["before", "during", "one", "two"]);
      return await isBack(client);
    }, "the server to be on the ring again");
    for (
      const [text, reply] of [["return {'evaluated', ARGV[1]}", "evaluated,x"], ["return 'queued'", "queued"]]
    ) {
      const digest = await sha1(text!);
      strictEqual(String(await client.command("EVALSHA", digest, "1", key, "x")), reply);
    }
    strictEqual(String(await client.command("SCRIPT", "EXISTS", before, during)), "1,1");
  });
}

Deno.test("every worker tells a server that returns what any of them has loaded, before it sends its clients there", async () => {
  await using f = new Fixture();
  const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
  const yml = poolYml({ alpha: { servers, hash: "md5", dangerous_commands: "allow", ...EJECTING } });
  const proxy = await f.proxy("compiled", `ringmaster:\n  workers: 2\n${yml}`);
  const clients = await Promise.all(Array.from({ length: 8 }, () => f.client(proxy)));
  const digests = await Promise.all(clients.map((client, i) => load(client, `return 'script ${i}'`)));
  const shared = await load(clients[0]!, "return 'shared'");
  strictEqual(await clients[0]!.command("FUNCTION", "LOAD", library("lib", "one")), "lib");
  const keys = Array.from({ length: 20 }, (_, i) => `key${i}`);
  /** Each client runs its own script, and the function, with keys of both servers; replies that are errors of the proxy's do not count. */
  const runAll = async () => {
    for (const [i, client] of clients.entries()) {
      for (const key of keys) {
        const replies = await client.pipeline(
          ["EVALSHA", digests[i]!, "1", key],
          ["EVALSHA", shared, "1", key],
          ["FCALL", "lib", "1", key],
        );
        for (const [j, reply] of replies.entries()) {
          if (reply instanceof ReplyError && reply.message.includes(`(server ${servers[0]!.address})`)) {
            continue;
          }
          strictEqual(reply, [`script ${i}`, "shared", "one"][j]);
        }
      }
    }
  };
  await servers[0]!.crash();
  await poll(async () => {
    await runAll();
    return (await Promise.all(clients.map((client) => isLive(client, 1)))).every((live) => live);
  }, "the server to be ejected by both workers");
  await servers[0]!.start();
  await poll(async () => {
    await runAll();
    return (await Promise.all(clients.map((client) => isLive(client, 2)))).every((live) => live);
  }, "the server to be on the ring of both workers");
  await runAll();
  // Flushed by one, forgotten by all.
  strictEqual(await clients[0]!.command("SCRIPT", "FLUSH"), "OK");
  const fresh = await load(clients[0]!, "return 'fresh'");
  await servers[0]!.crash();
  await poll(async () => {
    for (const client of clients) for (const key of keys) await client.command("GET", key);
    return (await Promise.all(clients.map((client) => isLive(client, 1)))).every((live) => live);
  }, "the server to be ejected again");
  await servers[0]!.start();
  await poll(async () => {
    return (await Promise.all(clients.map((client) => isLive(client, 2)))).every((live) => live);
  }, "the server to be on the ring of both workers again");
  const direct = await f.client(servers[0]!);
  deepStrictEqual(
    await direct.command("SCRIPT", "EXISTS", fresh, shared, ...digests),
    [1, 0, ...digests.map(() => 0)],
  );
});

async function isLive(client: RawClient, count: number): Promise<boolean> {
  const info = await client.command("INFO", "ringmaster") as string;
  return info.includes(`live_servers:${count}`);
}

async function sha1(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("a server that was away, but did not restart, loses the scripts and functions that were deleted meanwhile", async () => {
  await using f = new Fixture();
  const stand = await three(f, "compiled", { ...EJECTING, timeout: 1000, dangerous_commands: "allow" });
  const { client, keys, servers } = stand;
  const old = await load(client, "return 'old'");
  for (const name of ["gone", "kept", "changed"]) {
    strictEqual(await client.command("FUNCTION", "LOAD", library(name, "1")), name);
  }
  await freeze(servers[GONE]!);
  await poll(async () => await client.command("GET", keys[GONE]!) === null, "the server to be ejected");
  strictEqual(await client.command("SCRIPT", "FLUSH"), "OK");
  strictEqual(await client.command("FUNCTION", "DELETE", "gone"), "OK");
  strictEqual(await client.command("FUNCTION", "LOAD", "REPLACE", library("changed", "2")), "changed");
  const fresh = await load(client, "return 'new'");
  servers[GONE]!.kill("SIGCONT");
  await poll(() => isBack(client), "the server to be on the ring again");
  const direct = await f.client(servers[GONE]!);
  deepStrictEqual(await direct.command("SCRIPT", "EXISTS", old, fresh), [0, 1]);
  deepStrictEqual(
    await direct.pipeline(["FCALL", "kept", "0"], ["FCALL", "changed", "0"]),
    ["1", "2"],
  );
  isError(await direct.command("FCALL", "gone", "0"), /Function not found/);
});

Deno.test("with no server left that could tell the functions, those that were loaded here are loaded again", async () => {
  await using f = new Fixture();
  const server = await f.redis({ port: 0 });
  const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [server], ...EJECTING } }));
  const client = await f.client(proxy);
  const digest = await load(client, "return 'script'");
  for (const reply of ["1", "2"]) {
    strictEqual(await client.command("FUNCTION", "LOAD", "REPLACE", library("lib", reply)), "lib");
  }
  strictEqual(await client.command("FUNCTION", "LOAD", library("gone", "1")), "gone");
  strictEqual(await client.command("FUNCTION", "DELETE", "gone"), "OK");
  await server.crash();
  isError(await client.command("GET", "a"), /./);
  await server.start();
  await poll(async () => await client.command("GET", "a") === null, "the server to be on the ring again");
  deepStrictEqual(
    await client.pipeline(["EVALSHA", digest, "0"], ["FCALL", "lib", "0"]),
    ["script", "2"],
  );
  isError(await client.command("FCALL", "gone", "0"), /Function not found/);
});
