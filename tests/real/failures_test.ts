/**
 * Servers that fail, in every way we know: what the client reads, what is counted, and that everything comes back.
 *
 * Each case runs on every runtime, since errors of sockets are where runtimes differ. Texts are those of
 * src/proxy/failures.ts, whose beginnings are twemproxy's.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FakeServer } from "../conformance/fake_server.ts";
import { type Argument, concat, request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import {
  freeze,
  type PoolKeys,
  poolYml,
  type Proxy,
  type Runtime,
  RUNTIMES,
  type Server,
} from "../lib/servers.ts";

type Counts = Record<string, number>;

async function poolCounts(proxy: Proxy): Promise<Counts> {
  return (await proxy.stats()).alpha as Counts;
}

async function serverCounts(proxy: Proxy, name: string): Promise<Counts> {
  return ((await proxy.stats()).alpha as Record<string, Counts>)[name]!;
}

function isError(value: Value, text: RegExp): void {
  ok(value instanceof ReplyError, `expected an error like ${text}, found ${Deno.inspect(value)}`);
  ok(text.test(value.message), `expected an error like ${text}, found ${value.message}`);
}

/** One pool "alpha". */
function alpha(keys: PoolKeys): string {
  return poolYml({ alpha: { hash: "md5", ...keys } });
}

/** A key that lives on each of the servers, found by writing through the proxy. */
async function keyOfEach(f: Fixture, client: RawClient, servers: readonly Server[]): Promise<string[]> {
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  const keys: string[] = [];
  for (let i = 0; keys.filter((key) => key !== undefined).length < servers.length; i++) {
    strictEqual(await client.command("SET", `key${i}`, "v"), "OK");
    for (const [s, each] of direct.entries()) {
      if (keys[s] === undefined && await each.command("EXISTS", `key${i}`) === 1) keys[s] = `key${i}`;
    }
  }
  return keys;
}

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "a server killed with requests in flight: they fail, the rest goes on, and it comes back": async (
    f,
    runtime,
  ) => {
    const servers = [await f.redis({ port: 0 }), await f.redis()];
    const proxy = await f.proxy(runtime, alpha({ servers }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    const [first, second] = await keyOfEach(f, client, servers);
    await freeze(servers[0]!);
    await client.send(request("GET", first!));
    await client.send(request("GET", second!));
    // The second server's answer has to wait for the first one's: that of another client has not.
    strictEqual(await other.command("GET", second!), "v");
    await servers[0]!.crash();
    isError((await client.readReply()).value, /^ERR Connection reset by peer/);
    strictEqual((await client.readReply()).value, "v");
    isError(await client.command("GET", first!), /^ERR Connection refused/);
    strictEqual(await client.command("GET", second!), "v");
    await servers[0]!.start();
    await poll(
      async () => await client.command("SET", first!, "again") === "OK",
      "the server to be used again",
    );
    strictEqual(await client.command("GET", first!), "again");
  },

  "a stopped server: requests time out one by one, late replies reach nobody": async (f, runtime) => {
    const server = await f.redis({ port: 0 });
    const proxy = await f.proxy(runtime, alpha({ servers: [server], timeout: 1000 }));
    const client = await f.client(proxy);
    for (let i = 0; i < 5; i++) await client.command("SET", `key${i}`, `value ${i}`);
    await freeze(server);
    await client.send(request("GET", "key0"));
    await client.send(request("GET", "key1"));
    isError((await client.readReply()).value, /^ERR Connection timed out/);
    isError((await client.readReply()).value, /^ERR Connection timed out/);
    server.kill("SIGCONT");
    await poll(async () => await client.command("GET", "key2") === "value 2", "the server to answer again");
    for (let i = 0; i < 5; i++) strictEqual(await client.command("GET", `key${i}`), `value ${i}`);
    ok((await serverCounts(proxy, server.address)).server_timedout! >= 1);
  },

  "a server that stays stopped is given up, and a new connection is made": async (f, runtime) => {
    const server = await f.redis({ port: 0 });
    const proxy = await f.proxy(runtime, alpha({ servers: [server], timeout: 100, connect_timeout: 200 }));
    const client = await f.client(proxy);
    await client.command("SET", "key", "value");
    await freeze(server);
    isError(await client.command("GET", "key"), /^ERR Connection timed out/);
    await poll(
      async () => (await serverCounts(proxy, server.address)).server_connections === 0,
      "the connection to be given up",
    );
    server.kill("SIGCONT");
    await poll(async () => await client.command("GET", "key") === "value", "the server to answer again");
  },

  "one slow request fails alone": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server], timeout: 2000 }));
    const [slow, other] = [await f.client(proxy), await f.client(proxy)];
    await other.command("SET", "key", "value");
    const before = (await proxy.stats()).total_connections as number;
    const asked = (await serverCounts(proxy, `${server.path}:`)).requests!;
    // Not a script that watches the clock: since Redis 7.2 it stands still while one runs.
    await freeze(server);
    await slow.send(request("EVAL", "return 'slow'", 1, "key"));
    isError((await slow.readReply()).value, /^ERR Connection timed out/);
    // Sent while nothing is answered yet; answered within its own 2000 ms.
    await other.send(concat([request("GET", "key"), request("INCR", "counter")]));
    await poll(
      async () => (await serverCounts(proxy, `${server.path}:`)).requests! - asked === 3,
      "all three to be sent",
    );
    server.kill("SIGCONT");
    deepStrictEqual([(await other.readReply()).value, (await other.readReply()).value], ["value", 1]);
    strictEqual(await slow.command("GET", "key"), "value");
    strictEqual((await proxy.stats()).total_connections, before, "the connection was kept");
    strictEqual((await serverCounts(proxy, `${server.path}:`)).server_timedout, 1);
  },

  "refused, missing, unresolvable: the text says which, at once, and the connection stays": async (
    f,
    runtime,
  ) => {
    const cases: [address: string, text: RegExp][] = [
      [`127.0.0.1:${freePort()}`, /^ERR Connection refused/],
      [`${f.dir}/nobody.sock`, /^ERR No such file or directory/],
      ["no-such-name.invalid:6379", /^ERR Host is down/],
    ];
    for (const [address, text] of cases) {
      await using proxy = await f.proxy(runtime, alpha({ servers: [`${address}:1 it`], timeout: 5000 }));
      const client = await f.client(proxy);
      for (let i = 0; i < 3; i++) isError(await client.command("GET", "key"), text);
      isError(await client.command("MGET", "a", "b"), text);
      strictEqual(await client.command("PING"), "PONG");
      strictEqual((await poolCounts(proxy)).forward_error, 4);
      ok((await serverCounts(proxy, "it")).server_err! >= 1);
      strictEqual((await serverCounts(proxy, "it")).server_connections, 0);
    }
  },

  "a server that speaks another protocol": async (f, runtime) => {
    const server = f.add(FakeServer.start(() => "HTTP/1.1 400 Bad Request\r\n\r\n"));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`] }));
    const client = await f.client(proxy);
    isError(await client.command("GET", "key"), /^ERR Invalid argument/);
    strictEqual(await client.command("PING"), "PONG");
    strictEqual((await serverCounts(proxy, server.address)).server_err, 1);
  },

  "a reply nobody asked for is given to nobody": async (f, runtime) => {
    const server = f.add(FakeServer.start(([, key]) => key === "twice" ? "+one\r\n+two\r\n" : `+${key}\r\n`));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`] }));
    const client = await f.client(proxy);
    strictEqual(await client.command("GET", "twice"), "one");
    await poll(() => server.connections.size === 0, "the connection to be closed");
    strictEqual(await client.command("GET", "a"), "a");
    server.send("+stray\r\n");
    await poll(() => server.connections.size === 0, "the connection to be closed");
    strictEqual(await client.command("GET", "b"), "b");
    strictEqual(server.accepted, 3);
    strictEqual((await serverCounts(proxy, server.address)).server_err, 2);
  },

  "a connection closed in the middle of a reply": async (f, runtime) => {
    const server = f.add(FakeServer.start(([, key]) => key === "a" ? "$10\r\nhalf" : null));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`] }));
    const client = await f.client(proxy);
    await client.send(request("GET", "a"));
    await client.send(request("GET", "b"));
    await poll(() => server.requests.length === 2, "both requests to arrive");
    server.closeConnections();
    isError((await client.readReply()).value, /^ERR Connection reset by peer/);
    isError((await client.readReply()).value, /^ERR Connection reset by peer/);
    server.answer = () => "+whole\r\n";
    strictEqual(await client.command("GET", "a"), "whole");
  },

  "an idle disconnect is no failure": async (f, runtime) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await f.proxy(
      runtime,
      alpha({ servers, auto_eject_hosts: true, server_failure_limit: 1, server_retry_timeout: 60_000 }),
    );
    const client = await f.client(proxy);
    const [key] = await keyOfEach(f, client, servers);
    const direct = await f.client(servers[0]!);
    for (let i = 1; i <= 3; i++) {
      await direct.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await poll(
        async () => (await serverCounts(proxy, `${servers[0]!.path}:`)).server_eof! >= i,
        "the disconnect to be noticed",
      );
      strictEqual(await client.command("GET", key!), "v");
    }
    await servers[0]!.crash();
    await servers[0]!.start();
    strictEqual(await client.command("SET", key!, "after a restart"), "OK");
    strictEqual(await (await f.client(servers[0]!)).command("GET", key!), "after a restart");
    strictEqual((await poolCounts(proxy)).server_ejects, 0);
    strictEqual((await poolCounts(proxy)).forward_error, 0);
  },

  "ejection: the key moves, the dead server is left alone, and a probe brings it back": async (
    f,
    runtime,
  ) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await f.proxy(
      runtime,
      alpha({ servers, auto_eject_hosts: true, server_failure_limit: 2, server_retry_timeout: 200 }),
    );
    const client = await f.client(proxy);
    const [key] = await keyOfEach(f, client, servers);
    await servers[0]!.crash();
    const replies: Value[] = [];
    await poll(async () => {
      replies.push(await client.command("SET", key!, "moved"));
      return replies.at(-1) === "OK";
    }, "the key to move");
    for (const reply of replies.slice(0, -1)) isError(reply, /^ERR (Connection refused|No such file)/);
    strictEqual(await (await f.client(servers[1]!)).command("GET", key!), "moved");
    // No client pays for finding out that it is still dead: several probes fail meanwhile.
    const name = `${servers[0]!.path}:`;
    const errors = (await serverCounts(proxy, name)).server_err!;
    const forwardErrors = (await poolCounts(proxy)).forward_error!;
    await poll(async () => {
      strictEqual(await client.command("GET", key!), "moved");
      return (await serverCounts(proxy, name)).server_err! >= errors + 2;
    }, "two probes to fail");
    const counts = await poolCounts(proxy);
    strictEqual(counts.server_ejects, 1);
    strictEqual(counts.forward_error, forwardErrors);
    ok((await serverCounts(proxy, name)).server_ejected_at! > 1e15, "microseconds since 1970");
    await servers[0]!.start();
    await poll(async () => {
      strictEqual(await client.command("SET", key!, "back"), "OK");
      return await (await f.client(servers[0]!)).command("GET", key!) === "back";
    }, "the key to return");
    strictEqual((await poolCounts(proxy)).forward_error, forwardErrors);
  },

  "a good reply forgives earlier failures": async (f, runtime) => {
    let good = true;
    const server = f.add(FakeServer.start((_, from) => {
      if (good) return "+good\r\n";
      from.close();
      return null;
    }));
    const proxy = await f.proxy(
      runtime,
      alpha({
        servers: [`${server.address}:1`],
        auto_eject_hosts: true,
        server_failure_limit: 2,
        server_retry_timeout: 60_000,
      }),
    );
    const client = await f.client(proxy);
    for (let i = 0; i < 3; i++) {
      good = false;
      isError(await client.command("GET", "a"), /^ERR Connection reset/);
      good = true;
      strictEqual(await client.command("GET", "a"), "good");
    }
    strictEqual((await poolCounts(proxy)).server_ejects, 0);
    good = false;
    isError(await client.command("GET", "a"), /^ERR Connection reset/);
    isError(await client.command("GET", "a"), /^ERR Connection reset/);
    isError(await client.command("GET", "a"), /^ERR Connection refused: no live server/);
    strictEqual((await poolCounts(proxy)).server_ejects, 1);
  },

  "all servers down: an error at once, without trying": async (f, runtime) => {
    const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
    const proxy = await f.proxy(
      runtime,
      alpha({ servers, auto_eject_hosts: true, server_failure_limit: 1, server_retry_timeout: 300 }),
    );
    const client = await f.client(proxy);
    const [first, second] = await keyOfEach(f, client, servers);
    for (const server of servers) await freeze(server);
    // In flight when they die, so that both fail for sure.
    await client.send(request("GET", first!));
    await client.send(request("GET", second!));
    for (const server of servers) {
      await poll(
        async () => (await serverCounts(proxy, server.address)).out_queue === 1,
        "the request to be in flight",
      );
    }
    for (const server of servers) await server.crash();
    for (let i = 0; i < 2; i++) isError((await client.readReply()).value, /^ERR Connection re/);
    const none = /^ERR Connection refused: no live server/;
    for (
      const reply of await client.pipeline(["GET", first!], ["MGET", first!, second!], [
        "DEL",
        first!,
        second!,
      ])
    ) {
      isError(reply, none);
    }
    strictEqual(await client.command("PING"), "PONG");
    for (const server of servers) await server.start();
    await poll(async () => await client.command("SET", first!, "1") === "OK", "the first server to return");
    await poll(async () => await client.command("SET", second!, "1") === "OK", "the second server to return");
  },

  "preconnect connects before the first request": async (f, runtime) => {
    const servers = [await f.redis(), await f.redis({ port: 0 })];
    const proxy = await f.proxy(runtime, alpha({ servers, preconnect: true }));
    await poll(async () => {
      const counts = await Promise.all(
        [`${servers[0]!.path}:`, servers[1]!.address].map((name) => serverCounts(proxy, name)),
      );
      return counts.every((each) => each.server_connections === 1 && each.requests === 0);
    }, "both servers to be connected");
  },

  "MGET, DEL and MSET with a dead server: that fragment's error, the others applied, the connection stays":
    async (f, runtime) => {
      const servers = [await f.redis({ port: 0 }), await f.redis()];
      const proxy = await f.proxy(runtime, alpha({ servers }));
      const client = await f.client(proxy);
      const [dead, live] = await keyOfEach(f, client, servers);
      await servers[0]!.crash();
      const refused = /^ERR (Connection refused|Connection reset by peer)/;
      isError(await client.command("MSET", live!, "set", dead!, "lost"), refused);
      strictEqual(await client.command("GET", live!), "set");
      isError(await client.command("MGET", dead!, live!), refused);
      isError(await client.command("MGET", live!, dead!), refused);
      deepStrictEqual(await client.command("MGET", live!, live!), ["set", "set"]);
      isError(await client.command("DEL", dead!, live!), refused);
      strictEqual(await client.command("GET", live!), null);
      strictEqual(await client.command("PING"), "PONG");
      await servers[0]!.start();
      await poll(
        async () => await client.command("MSET", live!, "1", dead!, "2") === "OK",
        "the server's return",
      );
      deepStrictEqual(await client.command("MGET", live!, dead!), ["1", "2"]);
    },

  "a server's own error in a fragment is the answer": async (f, runtime) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await f.proxy(runtime, alpha({ servers }));
    const client = await f.client(proxy);
    const [full, live] = await keyOfEach(f, client, servers);
    const direct = await f.client(servers[0]!);
    await direct.command("CONFIG", "SET", "maxmemory", "1");
    isError(
      await client.command("SET", full!, "v"),
      /^OOM command not allowed when used memory > 'maxmemory'/,
    );
    isError(await client.command("MSET", live!, "set", full!, "lost"), /^OOM command not allowed/);
    strictEqual(await client.command("GET", live!), "set");
    await direct.command("CONFIG", "SET", "maxmemory", "0");
    await direct.command("REPLICAOF", "127.0.0.1", String(freePort()));
    isError(
      await client.command("DEL", live!, full!),
      /^READONLY You can't write against a read only replica/,
    );
    strictEqual(await client.command("GET", live!), null);
    strictEqual((await poolCounts(proxy)).forward_error, 0);
  },

  "-LOADING, -BUSY, -OOM and -MASTERDOWN reach the client as they are": async (f, runtime) => {
    const texts = [
      "LOADING Redis is loading the dataset in memory",
      "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
      "OOM command not allowed when used memory > 'maxmemory'.",
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ];
    const server = f.add(FakeServer.start(([, key]) => `-${texts[Number(key)]}\r\n`));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`] }));
    const client = await f.client(proxy);
    const replies = await client.pipeline(...texts.map((_, i) => ["GET", String(i)]));
    deepStrictEqual(replies.map((reply) => (reply as ReplyError).message), texts);
    strictEqual(server.accepted, 1, "no connection was given up");
  },

  "a server that loads its data is ejected, and returns when it has": async (f, runtime) => {
    let loading = true;
    const server = f.add(
      FakeServer.start(() => loading ? "-LOADING Redis is loading the dataset\r\n" : "+fine\r\n"),
    );
    const well = await f.redis();
    const proxy = await f.proxy(
      runtime,
      alpha({
        servers: [`${server.address}:1`, well],
        auto_eject_hosts: true,
        server_failure_limit: 1,
        server_retry_timeout: 100,
      }),
    );
    const client = await f.client(proxy);
    let key = "";
    for (let i = 0; server.requests.length === 0; i++) await client.command("GET", key = `key${i}`);
    strictEqual(await client.command("GET", key), null, "the other server answers");
    await poll(() => server.requests.filter(([name]) => name === "PING").length >= 2, "two probes");
    strictEqual(await client.command("GET", key), null);
    loading = false;
    await poll(async () => await client.command("GET", key) === "fine", "the server to return");
  },

  "redis_auth and redis_db: the right database, by TCP and by unix socket": async (f, runtime) => {
    const args = ["--requirepass", "s3cret"];
    for (const server of [await f.redis({ port: 0, args }), await f.redis({ args })]) {
      const yml = alpha({ servers: [server], redis_auth: "s3cret", redis_db: 5 });
      await using proxy = await f.proxy(runtime, yml);
      const client = await f.client(proxy);
      strictEqual(await client.command("AUTH", "s3cret"), "OK");
      deepStrictEqual(await client.pipeline(["SET", "a", "1"], ["INCR", "a"], ["GET", "a"]), ["OK", 2, "2"]);
      strictEqual(await client.command("SELECT", "0"), "OK");
      isError(await client.command("SELECT", "1"), /^ERR DB index is out of range/);
      const direct = await f.client(server);
      await direct.pipeline(["AUTH", "s3cret"], ["SELECT", "5"]);
      strictEqual(await direct.command("GET", "a"), "2");
      await direct.command("SELECT", "0");
      strictEqual(await direct.command("DBSIZE"), 0);
      // Greetings are not counted as requests.
      strictEqual(
        (await serverCounts(proxy, server.path === "" ? server.address : `${server.path}:`)).requests,
        3,
      );
    }
  },

  "redis_db without a password, and one that does not exist": async (f, runtime) => {
    const server = await f.redis();
    await using proxy = await f.proxy(runtime, alpha({ servers: [server], redis_db: 3 }));
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "a", "1"), "OK");
    const direct = await f.client(server);
    await direct.command("SELECT", "3");
    strictEqual(await direct.command("GET", "a"), "1");
    await using wrong = await f.proxy(runtime, alpha({ servers: [server], redis_db: 99 }));
    const lost = await f.client(wrong);
    isError(await lost.command("SET", "b", "1"), /^ERR The server refused to select the pool's database/);
    strictEqual(await direct.command("EXISTS", "b"), 0);
    await direct.command("SELECT", "0");
    strictEqual(await direct.command("EXISTS", "b"), 0);
  },

  "a password the server does not accept: the server's own -NOAUTH": async (f, runtime) => {
    const server = await f.redis({ args: ["--requirepass", "other"] });
    const proxy = await f.proxy(runtime, alpha({ servers: [server], redis_auth: "s3cret", redis_db: 2 }));
    const client = await f.client(proxy);
    strictEqual(await client.command("AUTH", "s3cret"), "OK");
    isError(await client.command("GET", "a"), /^NOAUTH Authentication required\.$/);
    isError(await client.command("MGET", "a", "b"), /^NOAUTH Authentication required\.$/);
    strictEqual(await client.command("PING"), "PONG");
  },

  "a password the pool does not know of: the server's own -NOAUTH": async (f, runtime) => {
    const server = await f.redis({ args: ["--requirepass", "other"] });
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }));
    const client = await f.client(proxy);
    isError(await client.command("AUTH", "other"), /^ERR Client sent AUTH, but no password is set$/);
    isError(await client.command("GET", "a"), /^NOAUTH Authentication required\.$/);
  },

  "clients AUTH as with twemproxy": async (f, runtime) => {
    const server = await f.redis({ args: ["--requirepass", "s3cret"] });
    const proxy = await f.proxy(runtime, alpha({ servers: [server], redis_auth: "s3cret" }));
    const client = await f.client(proxy);
    const steps: [words: Argument[], expected: string | number | RegExp][] = [
      [["GET", "a"], /^NOAUTH Authentication required$/],
      [["PING"], /^NOAUTH Authentication required$/],
      [["MGET", "a", "b"], /^NOAUTH Authentication required$/],
      [["COMMAND"], /^NOAUTH Authentication required$/],
      [["NO-SUCH-COMMAND"], /^NOAUTH Authentication required$/],
      [["AUTH", "wrong"], /^ERR invalid password$/],
      [["AUTH", "s3cret"], "OK"],
      [["PING"], "PONG"],
      [["SET", "a", "1"], "OK"],
      // A wrong password takes an earlier right one back.
      [["AUTH", "s3cre"], /^ERR invalid password$/],
      [["GET", "a"], /^NOAUTH Authentication required$/],
      [["AUTH", "default", "wrong"], /^WRONGPASS /],
      [["AUTH", "default", "s3cret"], "OK"],
      [["DEL", "a"], 1],
    ];
    for (const [words, expected] of steps) {
      const reply = await client.command(...words);
      if (expected instanceof RegExp) isError(reply, expected);
      else strictEqual(reply, expected, words.join(" "));
    }
    const quitting = await f.client(proxy);
    strictEqual(await quitting.command("QUIT"), "OK");
    strictEqual(await quitting.readToEnd(), "");
  },

  "server_connections: each client's requests stay in order on several connections": async (f, runtime) => {
    const server = await f.redis({ port: 0 });
    const proxy = await f.proxy(runtime, alpha({ servers: [server], server_connections: 3 }));
    const clients = await Promise.all(Array.from({ length: 9 }, () => f.client(proxy)));
    await Promise.all(clients.map(async (client, c) => {
      for (let round = 0; round < 20; round++) {
        const requests = Array.from(
          { length: 20 },
          (_, i) => ["APPEND", `list${c}`, String((round * 20 + i) % 10)],
        );
        await client.pipeline(...requests);
      }
      strictEqual(await client.command("GET", `list${c}`), "0123456789".repeat(40));
    }));
    strictEqual((await serverCounts(proxy, server.address)).server_connections, 3);
  },

  "a client that leaves has its requests in flight swallowed": async (f, runtime) => {
    const server = f.add(
      FakeServer.start(([, key]) => key === "slow" ? null : "+for the one who left\r\n+mine\r\n"),
    );
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`] }));
    const [leaving, staying] = [await f.client(proxy), await f.client(proxy)];
    await leaving.send(request("GET", "slow"));
    await poll(() => server.requests.length === 1, "the slow request");
    leaving.close();
    // Its FIN alone looks like a half close, so its reply is still written, to nobody.
    strictEqual(await staying.command("GET", "mine"), "mine");
    await poll(async () => (await poolCounts(proxy)).client_connections === 1, "the client to be gone");
    strictEqual(server.accepted, 1);
  },
};

for (const [name, run] of Object.entries(CASES)) {
  Deno.test(name, async (t) => {
    for (const runtime of RUNTIMES) {
      await t.step(runtime, async () => {
        await using f = new Fixture();
        await run(f, runtime);
      });
    }
  });
}

Deno.test("a server that refuses the proxy's own login is told of in the log, once; clients read its NOAUTH", async () => {
  await using f = new Fixture();
  const servers = [await f.redis({ args: ["--requirepass", "right"] })];
  const proxy = await f.proxy(
    "compiled",
    poolYml({ alpha: { servers } }).replace(
      "servers:",
      "server_auth: { password: wrong-secret }\n  servers:",
    ),
  );
  const read = async (client: RawClient) => ((await client.command("GET", "a")) as ReplyError).message;
  for (let i = 0; i < 3; i++) {
    const client = await f.client(proxy);
    strictEqual(await read(client), "NOAUTH Authentication required.");
    await client.command("HELLO", "3");
    ok((await read(client)).startsWith("ERR NOAUTH: the server refuses the proxy's own login (server "));
  }
  const said = proxy.log.match(/pool 'alpha' server '.*' at .* refuses the proxy's own login .*: WRONGPASS/g);
  strictEqual(said?.length, 1, proxy.log);
  ok(!proxy.log.includes("wrong-secret"));
});
