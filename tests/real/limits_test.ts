/**
 * Every limit of a pool: what the client that goes over it gets, and that nobody else notices.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FakeServer } from "../conformance/fake_server.ts";
import { concat, latin1, request, textOf } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { type PoolKeys, poolYml, type Proxy, type Runtime, RUNTIMES } from "../lib/servers.ts";

function alpha(keys: PoolKeys): string {
  return poolYml({ alpha: { hash: "md5", ...keys } });
}

async function counts(proxy: Proxy): Promise<Record<string, number>> {
  return (await proxy.stats()).alpha as Record<string, number>;
}

/** The connection is closed by the proxy, and this is the last it said. */
async function lastWords(client: RawClient, text: string | RegExp): Promise<void> {
  const said = await client.readToEnd();
  if (typeof text === "string") strictEqual(said, text);
  else ok(text.test(said), `expected ${text}, found ${JSON.stringify(said)}`);
}

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "client_connections: one more is told and closed, the others go on, a free place is free": async (
    f,
    runtime,
  ) => {
    const server = await f.redis();
    const yml = poolYml({
      alpha: { servers: [server], client_connections: 3 },
      beta: { servers: [server], client_connections: 1, listen: `${f.dir}/beta.sock` },
    });
    const proxy = await f.proxy(runtime, yml);
    // The connection that waited for the proxy to be ready may still be counted.
    await poll(async () => (await counts(proxy)).client_connections === 0, "the first connection to be gone");
    const clients = [await f.client(proxy), await f.client(proxy), await f.client(proxy)];
    for (const client of clients) strictEqual(await client.command("PING"), "PONG");
    for (let i = 0; i < 5; i++) {
      await using refused = await RawClient.connect(proxy.target);
      await lastWords(refused, "-ERR max number of clients reached\r\n");
    }
    strictEqual((await counts(proxy)).client_connections, 3);
    for (const client of clients) strictEqual(await client.command("INCR", "n") as number > 0, true);
    // The limit is the pool's own.
    const first = await f.client(proxy.targets[1]!);
    strictEqual(await first.command("GET", "n"), "3");
    await using second = await RawClient.connect(proxy.targets[1]!);
    await lastWords(second, "-ERR max number of clients reached\r\n");
    clients[0]!.close();
    await poll(async () => {
      await using again = await RawClient.connect(proxy.target);
      return await again.command("PING") === "PONG";
    }, "a free place");
  },

  "idle_timeout: closes who rests and is owed nothing, and nobody else": async (f, runtime) => {
    const server = f.add(FakeServer.start(([, key]) => key === "slow" ? null : "+quick\r\n"));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`], idle_timeout: 1000 }));
    const [resting, half, owed, busy] = [
      await f.client(proxy),
      await f.client(proxy),
      await f.client(proxy),
      await f.client(proxy),
    ];
    strictEqual(await resting.command("GET", "a"), "quick");
    await half.send("*2\r\n$3\r\nGET\r\n$1");
    await owed.send(request("GET", "slow"));
    let closed = 0;
    const ends = [resting, half].map((client) => lastWords(client, "").then(() => closed++));
    // Replies come in order, so what another client asks on the server's one connection would wait for "slow".
    await poll(async () => {
      strictEqual(await busy.command("PING"), "PONG");
      return closed === 2;
    }, "the resting clients to be closed");
    await Promise.all(ends);
    strictEqual(await busy.command("PING"), "PONG");
    server.send("+at last\r\n");
    strictEqual((await owed.readReply()).value, "at last");
  },

  "max_in_flight: no more is taken from the client until replies have gone out": async (f, runtime) => {
    const server = f.add(FakeServer.start(() => null));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${server.address}:1`], max_in_flight: 10 }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    await client.send(concat(Array.from({ length: 100 }, (_, i) => request("GET", `key${i}`))));
    await poll(() => server.requests.length === 10, "ten requests to arrive");
    // Several turns of the proxy later it is still ten.
    for (let i = 0; i < 20; i++) strictEqual(await other.command("PING"), "PONG");
    strictEqual(server.requests.length, 10);
    // The other client is held up by the server only.
    await other.send(request("GET", "other"));
    await poll(() => server.requests.length === 11, "the other client's request to arrive");
    server.answer = ([, key]) => `+${key}\r\n`;
    server.send(server.requests.map(([, key]) => `+${key}\r\n`).join(""));
    for (let i = 0; i < 100; i++) strictEqual((await client.readReply()).value, `key${i}`);
    strictEqual((await other.readReply()).value, "other");
    // A half close in the middle of a long pipeline loses nothing.
    await client.send(concat(Array.from({ length: 1000 }, (_, i) => request("GET", `more${i}`))));
    await client.closeWrite();
    for (let i = 0; i < 1000; i++) strictEqual((await client.readReply()).value, `more${i}`);
    await lastWords(client, "");
  },

  "max_request_size: what fits passes, what does not is told so after the replies owed": async (
    f,
    runtime,
  ) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server], max_request_size: "64kb" }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    const frame = request("SET", "key", "x".repeat(60_000)).length - 60_000;
    const fits = "x".repeat(64 * 1024 - frame);
    strictEqual(await client.command("SET", "key", fits), "OK");
    strictEqual(await client.command("GET", "key"), fits);
    const told =
      /^\$65\d{3}\r\nx+\r\n-ERR Protocol error: request too large \(max_request_size is 65536 bytes\)\r\n$/;
    await client.send(concat([request("GET", "key"), request("SET", "key", fits + "x")]));
    await lastWords(client, told);
    // Many arguments, each of them small.
    const many = await f.client(proxy);
    await many.send(concat([request("GET", "key"), request("DEL", ...Array(10_000).fill("argument"))]));
    await lastWords(many, told);
    // Only the announcement has come.
    const announced = await f.client(proxy);
    await announced.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n");
    await lastWords(announced, /^-ERR Protocol error: request too large/);
    // An inline command that never ends.
    const inline = await f.client(proxy);
    await inline.send("x".repeat(70_000));
    await lastWords(inline, /^-ERR Protocol error: too big inline request\r\n$/);
    strictEqual(await other.command("GET", "key"), fits);
    for (const closed of [client, many, announced, inline]) closed.close();
    await poll(async () => (await counts(proxy)).client_err === 4, "four errors of clients to be counted");
  },

  "max_arguments: as many pass, one more is told so": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server], max_arguments: 10 }));
    const client = await f.client(proxy);
    deepStrictEqual(await client.command("MGET", ..."abcdefghi"), Array(9).fill(null));
    await client.send(concat([request("PING"), request("MGET", ..."abcdefghij")]));
    await lastWords(client, "+PONG\r\n-ERR Protocol error: too many arguments (max_arguments is 10)\r\n");
    const inline = await f.client(proxy);
    await inline.send("MGET a b c d e f g h i j\r\n");
    await lastWords(inline, "-ERR Protocol error: too many arguments (max_arguments is 10)\r\n");
  },

  "client_output_limit: who does not read is closed, who reads slowly loses nothing": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server], client_output_limit: "3mb" }));
    const [deaf, slow, other] = [await f.client(proxy), await f.client(proxy), await f.client(proxy)];
    const value = "v".repeat(300_000);
    strictEqual(await other.command("SET", "key", value), "OK");
    // One at a time never is too much.
    for (let i = 0; i < 5; i++) strictEqual(await other.command("GET", "key"), value);
    await deaf.send(concat(Array.from({ length: 200 }, () => request("GET", "key"))));
    await poll(() => /does not read its replies/.test(proxy.log), "the deaf client to be closed");
    ok(/bytes are more than client_output_limit, closing/.test(proxy.log));
    // What had left may still be read; then it ends without a whole number of replies.
    const received = await deaf.readToEnd();
    ok(received.length < 200 * value.length, "not everything was sent");
    for (let i = 0; i < 20; i++) {
      await slow.send(concat([request("GET", "key"), request("GET", "key")]));
      strictEqual((await slow.readReply()).value, value);
      strictEqual((await slow.readReply()).value, value);
    }
    strictEqual(await other.command("GET", "key"), value);
    strictEqual((await counts(proxy)).client_err, 1);
  },

  "client_output_limit: small ones hold, too": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server], client_output_limit: "64kb" }));
    const [deaf, other] = [await f.client(proxy), await f.client(proxy)];
    strictEqual(await other.command("SET", "key", "v".repeat(1000)), "OK");
    strictEqual(await other.command("GET", "key"), "v".repeat(1000));
    // More than the kernel takes for it, and then some.
    const batch = concat(Array.from({ length: 500 }, () => request("GET", "key")));
    await poll(async () => {
      await deaf.send(batch).catch(() => {});
      return /does not read its replies/.test(proxy.log);
    }, "the deaf client to be closed");
    strictEqual(await other.command("GET", "key"), "v".repeat(1000));
  },

  "client_output_limit counts replies that wait for an earlier one": async (f, runtime) => {
    const silent = f.add(FakeServer.start(() => null));
    const server = await f.redis();
    const proxy = await f.proxy(
      runtime,
      alpha({ servers: [server, `${silent.address}:1`], client_output_limit: "1mb" }),
    );
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    let quick = "";
    for (let i = 0; quick === "" || silent.requests.length === 0; i++) {
      const finder = await f.client(proxy);
      await finder.send(request("SET", `key${i}`, "v".repeat(10_000)));
      await poll(async () => {
        const keys = await (await f.client(server)).command("EXISTS", `key${i}`);
        return keys === 1 || silent.requests.some(([, key]) => key === `key${i}`);
      }, "the key to arrive");
      if (silent.requests.every(([, key]) => key !== `key${i}`)) quick = `key${i}`;
      else finder.close();
    }
    const slow = silent.requests[0]![1]!;
    // A client is trusted with many requests under way only after its replies have turned out small.
    await client.send(concat(Array.from({ length: 80 }, () => request("STRLEN", quick))));
    for (let i = 0; i < 80; i++) strictEqual((await client.readReply()).text, ":10000\r\n");
    await client.send(
      concat([request("GET", slow), ...Array.from({ length: 50 }, () => request("GET", quick))]),
    );
    // Half of the limit waits, and is not lost.
    await poll(() => silent.requests.some(([name]) => name === "GET"), "the slow request to arrive");
    strictEqual(await other.command("GET", quick), "v".repeat(10_000));
    await client.send(concat(Array.from({ length: 60 }, () => request("GET", quick))));
    await poll(() => /does not read its replies/.test(proxy.log), "the client to be closed");
    await lastWords(client, "");
    strictEqual(await other.command("GET", quick), "v".repeat(10_000));
    silent.closeConnections();
  },

  "a client that writes its whole pipeline before it reads gets every reply": async (f, runtime) => {
    const [redis, memcached] = [await f.redis(), await f.memcached()];
    const one = await f.proxy(runtime, alpha({ servers: [redis] }));
    const two = await f.proxy(runtime, alpha({ servers: [memcached] }));
    for (const [count, size] of [[10_000, 1000], [150, 100_000]] as const) {
      const value = "v".repeat(size);
      const [client, other] = [await f.client(one), await f.client(one)];
      const reply = `+OK\r\n$${size}\r\n${value}\r\n`;
      const pair = concat([request("SET", "key", value), request("GET", "key")]);
      // Nothing is read before all is sent: the kernel does not take that much.
      await client.send(concat(Array(count).fill(pair)));
      strictEqual(await other.command("PING"), "PONG");
      for (let i = 0; i < count; i++) {
        strictEqual(textOf(await client.readExact(reply.length)) === reply, true);
      }
      const plain = await f.client(two);
      const stored = `STORED\r\nVALUE key 0 ${size}\r\n${value}\r\nEND\r\n`;
      await plain.send(concat(Array(count).fill(latin1(`set key 0 0 ${size}\r\n${value}\r\nget key\r\n`))));
      for (let i = 0; i < count; i++) {
        strictEqual(textOf(await plain.readExact(stored.length)) === stored, true);
      }
    }
    // Behind a reply that is made in parts, as there is room for it.
    const patient = await f.client(one);
    const names = 10_000;
    const set = request("SET", "key", "v".repeat(1000));
    await patient.send(
      concat([request("COMMAND", "INFO", ...Array(names).fill("get")), ...Array(10_000).fill(set)]),
    );
    strictEqual(((await patient.readReply()).value as unknown[]).length, names);
    strictEqual(textOf(await patient.readExact(50_000)) === "+OK\r\n".repeat(10_000), true);
    strictEqual((await counts(one)).client_err, 0);
  },

  "a client that writes without end and reads nothing is closed with a reason, and nobody else": async (
    f,
    runtime,
  ) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()], client_output_limit: "8mb" }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    strictEqual(await other.command("SET", "key", "v".repeat(1000)), "OK");
    await client.send(concat(Array(20_000).fill(request("GET", "key")))).catch(() => {});
    const reason = /does not read its replies: \d+ bytes are more than client_output_limit, closing/;
    await poll(() => reason.test(proxy.log), "the client to be closed");
    strictEqual(await other.command("GET", "key"), "v".repeat(1000));
    strictEqual(proxy.log.match(/closing/g)?.length, 1);
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
