/**
 * Large requests and replies: they stream through on connections of their own (src/redis/large.ts) and are collected in
 * pieces (src/proxy/server_connection.ts). The bytes are right, order is kept, and a client that vanishes in the middle leaves
 * nothing behind.
 */
import { match, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { poolYml, type Proxy, RUNTIMES, type Server } from "../lib/servers.ts";

const MIB = 1024 * 1024;

/** Bytes that differ at every offset that could be mixed up. */
function value(size: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer, 0, size) as Uint8Array<ArrayBuffer>;
}

async function bulk(client: RawClient): Promise<Uint8Array> {
  const { raw } = await client.readReply();
  const at = raw.indexOf(10) + 1;
  return raw.subarray(at, raw.length - 2);
}

for (const runtime of RUNTIMES) {
  Deno.test(`large values on ${runtime}`, async (t) => {
    await using f = new Fixture();
    const servers: Server[] = [await f.redis(), await f.redis()];
    const proxy: Proxy = await f.proxy(runtime, poolYml({ alpha: { servers, timeout: 20000 } }));

    for (const size of [64 * 1024, MIB - 1, MIB + 100, 6 * MIB + 7]) {
      await t.step(`SET and GET of ${size} bytes are exact`, async () => {
        await using client = await f.client(proxy);
        const v = value(size, size);
        client.send(request("SET", `k${size}`, v));
        strictEqual((await client.readReply()).text, "+OK\r\n");
        client.send(request("GET", `k${size}`));
        strictEqual(await same(await bulk(client), v), true);
      });
    }

    await t.step("a pipeline of large and small requests is answered in order", async () => {
      await using client = await f.client(proxy);
      const values = Array.from({ length: 4 }, (_, i) => value(2 * MIB + i, i + 1));
      const sent: Uint8Array[] = [];
      values.forEach((v, i) => {
        sent.push(request("SET", `n${i}`, i), request("SET", `l${i}`, v), request("INCR", `n${i}`));
        sent.push(request("GET", `l${i}`), request("STRLEN", `l${i}`), request("PING"));
      });
      const sending = client.send(concat(sent));
      for (let i = 0; i < values.length; i++) {
        strictEqual((await client.readReply()).text, "+OK\r\n");
        strictEqual((await client.readReply()).text, "+OK\r\n");
        strictEqual((await client.readReply()).text, `:${i + 1}\r\n`);
        strictEqual(await same(await bulk(client), values[i]!), true);
        strictEqual((await client.readReply()).text, `:${2 * MIB + i}\r\n`);
        strictEqual((await client.readReply()).text, "+PONG\r\n");
      }
      await sending;
    });

    await t.step(
      "a large value that is not the last argument, and MSET and MGET of large values",
      async () => {
        await using client = await f.client(proxy);
        const v = value(2 * MIB, 9);
        client.send(request("SET", "ex", v, "EX", "100"));
        strictEqual((await client.readReply()).text, "+OK\r\n");
        client.send(request("MSET", "m1", v, "m2", v, "m3", v, "m4", "x"));
        strictEqual((await client.readReply()).text, "+OK\r\n");
        client.send(request("MGET", "m1", "m4", "m2", "ex"));
        const { raw } = await client.readReply();
        strictEqual(raw.length, 4 + 3 * (10 + 2 * MIB + 2) + 7);
      },
    );

    await t.step("a client that vanishes in the middle leaves no value and no connection", async () => {
      const before = await connections(servers);
      for (let i = 0; i < 6; i++) {
        await using client = await f.client(proxy);
        const whole = request("SET", "half", value(8 * MIB, i));
        client.send(whole.subarray(0, 3 * MIB)).catch(() => {});
        await poll(async () => (await inFlight(proxy)) > 0, "the request is on its way to its server");
        if (i % 2 === 0) client.closeWrite();
      }
      await poll(async () => (await connections(servers)) <= before, "the server connections are closed");
      await using client = await f.client(proxy);
      strictEqual(await client.command("EXISTS", "half"), 0);
    });

    await t.step(
      "a client that vanishes while its large replies come disturbs nobody behind it",
      async () => {
        await using client = await f.client(proxy);
        const v = value(24 * MIB, 5);
        client.send(request("SET", "big", v));
        strictEqual((await client.readReply()).text, "+OK\r\n");
        for (let i = 0; i < 10; i++) await client.command("SET", `small${i}`, i);
        for (let round = 0; round < 5; round++) {
          const gone = await f.client(proxy);
          await gone.send(concat([request("GET", "big"), request("GET", "big"), request("GET", "big")]));
          await gone.readUntil("\r\n");
          await client.send(concat(Array.from({ length: 10 }, (_, i) => request("GET", `small${i}`))));
          gone.close();
          for (let i = 0; i < 10; i++) strictEqual((await client.readReply()).text, `$1\r\n${i}\r\n`);
        }
        client.send(request("GET", "big"));
        strictEqual(await same(await bulk(client), v), true);
      },
    );

    await t.step("the server that fails in the middle is named, and the client goes on", async () => {
      await using client = await f.client(proxy);
      const whole = request("SET", "half", value(8 * MIB, 1));
      await client.send(whole.subarray(0, 2 * MIB));
      await poll(async () => (await inFlight(proxy)) > 0, "the request is on its way to its server");
      for (const server of servers) await server.crash();
      const reply = await client.readReply();
      match(reply.text, /^-ERR (Connection reset|Connection refused|Broken pipe).* \(server /);
      for (const server of servers) await server.start();
      await client.send(concat([whole.subarray(2 * MIB), request("PING")]));
      strictEqual((await client.readReply()).text, "+PONG\r\n");
    });

    strictEqual(await inFlight(proxy), 0);
  });
}

/** Requests that the proxy has not got a reply for. */
async function inFlight(proxy: Proxy): Promise<number> {
  const pool = (await proxy.stats()).alpha as Record<string, Record<string, number>>;
  const rows = Object.values(pool).filter((row) => typeof row === "object");
  return rows.reduce((sum, row) => sum + row.in_queue! + row.out_queue!, 0);
}

/** Equal? Without the megabytes in the error text. */
function same(a: Uint8Array, b: Uint8Array): Promise<boolean> {
  return Promise.resolve(a.length === b.length && a.every((byte, i) => byte === b[i]));
}

/** Connections of clients to all servers that are up. */
async function connections(servers: readonly Server[]): Promise<number> {
  let sum = 0;
  for (const server of servers) {
    await using client = await RawClient.connect(server.target);
    const info = String(await client.command("INFO", "clients"));
    sum += Number(/connected_clients:(\d+)/.exec(info)![1]) - 1;
  }
  return sum;
}
