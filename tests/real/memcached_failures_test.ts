/**
 * memcached pools when something is wrong: dead and silent servers, garbage, values too large, clients that leave in the
 * middle. What the client reads, that order holds, and that the connections of others do not suffer.
 *
 * The proxy's core is the same for both protocols (failures_test.ts is about that); here is what memcached adds to it.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { latin1, textOf } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import {
  freeze,
  type PoolKeys,
  poolYml,
  type Proxy,
  type Runtime,
  RUNTIMES,
  type Server,
} from "../lib/servers.ts";
import { memcachedVersion, OLD } from "./memcached_side.ts";

type Counts = Record<string, number>;

async function poolCounts(proxy: Proxy): Promise<Counts> {
  return (await proxy.stats()).alpha as Counts;
}

async function serverCounts(proxy: Proxy, name: string): Promise<Counts> {
  return ((await proxy.stats()).alpha as Record<string, Counts>)[name]!;
}

function alpha(keys: PoolKeys): string {
  return poolYml({ alpha: { redis: false, ...keys } });
}

/** One request, one line of reply. */
async function ask(client: RawClient, request: string): Promise<string> {
  await client.send(request);
  return await client.readLine();
}

/** A key that lives on each of the servers, with the value "v". */
async function keyOfEach(f: Fixture, client: RawClient, servers: readonly Server[]): Promise<string[]> {
  const keys: string[] = [];
  for (const server of servers) {
    const direct = await f.client(server);
    for (let i = 0;; i++) {
      strictEqual(await ask(client, `set key${i} 0 0 1\r\nv\r\n`), "STORED");
      if (await ask(direct, `mg key${i}\r\n`) === "HD") {
        keys.push(`key${i}`);
        break;
      }
    }
  }
  return keys;
}

/** A memcached that says what the test tells it to, a line at a time. */
class FakeServer implements AsyncDisposable {
  readonly lines: string[] = [];
  accepted = 0;
  readonly connections = new Set<Deno.Conn>();
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #tasks: Promise<void>[] = [];

  /** @param answer what to say to a line; null = nothing */
  constructor(public answer: (line: string) => string | null) {
    this.#tasks.push(this.#accept());
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) {
      this.accepted++;
      this.connections.add(conn);
      this.#tasks.push(this.#serve(conn));
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const chunk = new Uint8Array(65536);
    let rest = "";
    for (;;) {
      const count = await conn.read(chunk).catch(() => null);
      if (count === null) break;
      const lines = (rest + textOf(chunk, 0, count)).split("\r\n");
      rest = lines.pop()!;
      for (const line of lines) {
        this.lines.push(line);
        const text = this.answer(line);
        if (text !== null) await say(conn, text).catch(() => {});
      }
    }
    this.connections.delete(conn);
    close(conn);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.connections) close(conn);
    await Promise.all(this.#tasks);
  }
}

async function say(conn: Deno.Conn, text: string): Promise<void> {
  const bytes = latin1(text);
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // already gone
  }
}

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "a dead server: SERVER_ERROR, noreply is silent, the connection stays, and the server comes back": async (
    f,
    runtime,
  ) => {
    const servers = [await f.memcached({ port: 0 }), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers, dangerous_commands: "allow" }));
    const client = await f.client(proxy);
    const [dead, live] = await keyOfEach(f, client, servers);
    await servers[0]!.crash();
    const refused = /^SERVER_ERROR (Connection refused|Connection reset by peer)/;
    match(await ask(client, `get ${dead}\r\n`), refused);
    match(await ask(client, `get ${dead} ${live}\r\n`), refused);
    match(await ask(client, `gats 0 ${live} ${dead} ${live}\r\n`), refused);
    match(await ask(client, `mg ${dead} v q\r\n`), refused);
    match(await ask(client, `set ${dead} 0 0 1\r\nv\r\n`), refused);
    match(await ask(client, "stats\r\n"), refused);
    match(await ask(client, "flush_all 1000\r\n"), refused);
    await client.send(
      `set ${dead} 0 0 1 noreply\r\nv\r\nincr ${dead} 1 noreply\r\nflush_all 1000 noreply\r\n` +
        `get ${live} ${live}\r\nmn\r\n`,
    );
    strictEqual(await client.readUntil("MN\r\n"), `${`VALUE ${live} 0 1\r\nv\r\n`.repeat(2)}END\r\nMN\r\n`);
    await servers[0]!.start();
    await poll(
      async () => await ask(client, `set ${dead} 0 0 1\r\nw\r\n`) === "STORED",
      "the server's return",
    );
    await client.send(`get ${live} ${dead}\r\n`);
    strictEqual(
      await client.readUntil("END\r\n"),
      `VALUE ${live} 0 1\r\nv\r\nVALUE ${dead} 0 1\r\nw\r\nEND\r\n`,
    );
  },

  "a silent server: each request times out in its turn, noreply silently, late replies reach nobody": async (
    f,
    runtime,
  ) => {
    const servers = [await f.memcached({ port: 0 }), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers, timeout: 1000 }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    const [silent, live] = await keyOfEach(f, client, servers);
    await freeze(servers[0]!);
    await client.send(
      `set ${silent} 0 0 4 noreply\r\nlate\r\nget ${live}\r\nget ${silent}\r\nget ${live} ${silent}\r\n` +
        `ms ${silent} 5 q\r\nlater\r\nmn\r\n`,
    );
    // The other server's values for somebody else do not wait.
    strictEqual(await ask(other, `get ${live}\r\n`), `VALUE ${live} 0 1`);
    strictEqual(await other.readUntil("END\r\n"), "v\r\nEND\r\n");
    const text = await client.readUntil("MN\r\n");
    const timedOut = "SERVER_ERROR Connection timed out[^\r]*\r\n";
    match(text, new RegExp(`^VALUE ${live} 0 1\r\nv\r\nEND\r\n(${timedOut}){3}MN\r\n$`));
    servers[0]!.kill("SIGCONT");
    await poll(async () => await ask(other, `mg ${silent} s\r\n`) === "HD s5", "the server to answer again");
    strictEqual(await ask(client, `mg ${silent} s\r\n`), "HD s5");
    strictEqual(await ask(client, `mg ${live} s\r\n`), "HD s1");
    ok((await serverCounts(proxy, servers[0]!.address)).server_timedout! >= 1);
  },

  "ejection: the key moves, a probe brings the server back; with no server left, an error at once": async (
    f,
    runtime,
  ) => {
    const servers = [await f.memcached({ port: 0 }), await f.memcached()];
    const proxy = await f.proxy(
      runtime,
      alpha({ servers, auto_eject_hosts: true, server_failure_limit: 2, server_retry_timeout: 200 }),
    );
    const client = await f.client(proxy);
    const [first, second] = await keyOfEach(f, client, servers);
    await servers[0]!.crash();
    await poll(async () => await ask(client, `set ${first} 0 0 1\r\nm\r\n`) === "STORED", "the key to move");
    strictEqual(await ask(await f.client(servers[1]!), `mg ${first}\r\n`), "HD");
    strictEqual((await poolCounts(proxy)).server_ejects, 1);
    // What concerns every server leaves the ejected out.
    strictEqual(await ask(client, "stats reset\r\n"), "RESET");
    await client.send("stats\r\n");
    match(await client.readUntil("END\r\n"), /^STAT pid /);
    await servers[0]!.start();
    const direct = await f.client(servers[0]!);
    await poll(async () => {
      strictEqual(await ask(client, `set ${first} 0 0 1\r\nb\r\n`), "STORED");
      return await ask(direct, `mg ${first}\r\n`) === "HD";
    }, "the key to return");
    for (const server of servers) await server.crash();
    const none = /^SERVER_ERROR Connection refused: no live server/;
    for (const key of [first, second]) {
      await poll(async () => none.test(await ask(client, `get ${key}\r\n`)), "both servers to be ejected");
    }
    match(await ask(client, `get ${first} ${second}\r\n`), none);
    match(await ask(client, `mg ${first} v\r\n`), none);
    match(await ask(client, "stats\r\n"), none);
    strictEqual(await ask(client, `set ${first} 0 0 1 noreply\r\nx\r\nmn\r\n`), "MN");
    for (const server of servers) await server.start();
    for (const key of [first, second]) {
      await poll(
        async () => await ask(client, `set ${key} 0 0 1\r\n1\r\n`) === "STORED",
        "the servers' return",
      );
    }
  },

  "a value too large for the server: its early error belongs to that request alone": async (f, runtime) => {
    const server = await f.memcached({ args: ["-I", "1m"] });
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }));
    const [client, other] = [await f.client(proxy), await f.client(proxy)];
    strictEqual(await ask(client, "set big 0 0 1\r\nv\r\n"), "STORED");
    strictEqual(await ask(client, "set small 0 0 1\r\nv\r\n"), "STORED");
    const connections = (await proxy.stats()).total_connections;
    const big = "x".repeat(5_000_000);
    for (let i = 0; i < 3; i++) {
      const request = `set big 0 0 ${big.length}\r\n${big}\r\nget small\r\n` +
        `set big 0 0 ${big.length} noreply\r\n${big}\r\nms big ${big.length} q\r\n${big}\r\nget big small\r\n`;
      const sending = client.send(request);
      for (let k = 0; k < 20; k++) {
        strictEqual(await ask(other, "get small\r\n"), "VALUE small 0 1");
        strictEqual(await other.readUntil("END\r\n"), "v\r\nEND\r\n");
      }
      await sending;
      strictEqual(await client.readLine(), "SERVER_ERROR object too large for cache");
      strictEqual(await client.readUntil("END\r\n"), "VALUE small 0 1\r\nv\r\nEND\r\n");
      strictEqual(await client.readLine(), "SERVER_ERROR object too large for cache");
      strictEqual(await client.readUntil("END\r\n"), "VALUE small 0 1\r\nv\r\nEND\r\n");
    }
    strictEqual((await proxy.stats()).total_connections, connections, "no connection was given up");
  },

  "a value over max_request_size is skipped, the old one goes, and what follows is answered": async (
    f,
    runtime,
  ) => {
    const servers = [await f.memcached(), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers, max_request_size: "100kb" }));
    const client = await f.client(proxy);
    const keys = await keyOfEach(f, client, servers);
    const tooLarge = "SERVER_ERROR object too large for cache\r\n";
    const big = "mn\r\n".repeat(500_000);
    for (const key of keys) {
      await client.send(
        `add ${key} 0 0 ${big.length}\r\n${big}\r\nmg ${key}\r\n` +
          `set ${key} 0 0 ${big.length}\r\n${big}\r\nmg ${key}\r\n` +
          `set ${key} 0 0 1\r\nv\r\nset ${key} 0 0 ${big.length} noreply\r\n${big}\r\nmg ${key}\r\n` +
          `ms ${btoa(key.padEnd(6))} 1 b\r\nv\r\nms ${btoa(key.padEnd(6))} ${big.length} q b\r\n${big}\r\n` +
          `mg ${btoa(key.padEnd(6))} b\r\nmn\r\n`,
      );
      const expected = `${tooLarge}HD\r\n${tooLarge}EN\r\nSTORED\r\nEN\r\nHD\r\n${tooLarge}EN\r\nMN\r\n`;
      strictEqual(await client.readUntil("MN\r\n"), expected);
    }
    // In small pieces, with a pause in the middle of what is dropped.
    await client.send(`set ${keys[0]} 0 0 300000\r\n${"z".repeat(299_000)}`);
    strictEqual(await client.readLine(), tooLarge.trimEnd());
    await client.send(`${"z".repeat(1000)}\r`);
    strictEqual(await ask(client, "\nmn\r\n"), "MN");
    strictEqual((await client.unread).length, 0);
  },

  "values of all sizes, with and without noreply, arrive whole": async (f, runtime) => {
    const servers = [await f.memcached(), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers }));
    const client = await f.client(proxy);
    const random = new Random(5);
    // Around what is copied, shared, and read at once.
    const sizes = [
      0,
      1,
      100,
      4090,
      16_000,
      16_384,
      65_000,
      65_500,
      65_536,
      65_600,
      131_072,
      300_000,
      900_000,
    ];
    for (const mode of ["", " noreply"]) {
      for (const size of sizes) {
        const value = textOf(random.bytes(size));
        const key = `k${size}`;
        const request =
          `set ${key} 7 0 ${size}${mode}\r\n${value}\r\nget ${key}\r\nget ${key} other ${key}\r\n`;
        const at = random.below(request.length);
        await client.send(request.slice(0, at));
        await client.send(request.slice(at));
        if (mode === "") strictEqual(await client.readLine(), "STORED");
        const block = `VALUE ${key} 7 ${size}\r\n${value}\r\n`;
        const expected = `${block}END\r\n${block}${block}END\r\n`;
        ok(textOf(await client.readExact(expected.length)) === expected, `${size} bytes${mode}`);
      }
    }
    strictEqual(client.unread, "");
  },

  "garbage, strays and replies to something else end the connection, and reach nobody": async (
    f,
    runtime,
  ) => {
    const fake = f.add(new FakeServer(() => null));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${fake.address}:1 it`] }));
    const client = await f.client(proxy);
    const bad = /^SERVER_ERROR Invalid argument/;
    const cases: [request: string, reply: string][] = [
      ["get a\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"],
      ["get a\r\n", "STORED\r\n"],
      ["get a\r\n", "VALUE a 0 3\r\nabcd\r\nEND\r\n"],
      ["get a\r\n", "VALUE a 0 x\r\n"],
      ["get a\r\n", "END \r\n"],
      ["get a\r\n", "\r\n"],
      ["delete a\r\n", "STORED\r\n"],
      ["delete a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"],
      ["mg a\r\n", "END\r\n"],
      ["mg a v\r\n", "VA 2\r\nabc\r\n"],
      ["mn\r\nincr a 1\r\n", "HD\r\n"],
      ["touch a 0\r\n", "12345678901234567890123\r\n"],
      // Every memcached knows these: such a line answers something else that it has read as a command.
      ["get a\r\n", "ERROR\r\n"],
      ["set a 0 0 1\r\nx\r\n", "ERROR\r\n"],
    ];
    let accepted = 0;
    for (const [request, reply] of cases) {
      fake.answer = () => reply;
      await client.send(request);
      if (request.startsWith("mn")) strictEqual(await client.readLine(), "MN");
      match(await client.readLine(), bad);
      strictEqual(fake.accepted, ++accepted, `${request} ${reply}`);
    }
    // One reply too many.
    fake.answer = () => "DELETED\r\nNOT_FOUND\r\n";
    strictEqual(await ask(client, "delete a\r\n"), "DELETED");
    await poll(() => fake.connections.size === 0, "the connection to be closed");
    // And the first bytes of one: they are not kept for who asks next.
    fake.answer = () => "DELETED\r\nNOT_FO";
    strictEqual(await ask(client, "delete a\r\n"), "DELETED");
    await poll(() => fake.connections.size === 0, "the connection to be closed");
    fake.answer = () => "NOT_FOUND\r\n";
    strictEqual(await ask(client, "delete a\r\n"), "NOT_FOUND");
    ok((await serverCounts(proxy, "it")).server_err! >= cases.length);
  },

  "fragments: a server's own error is the answer; values of other keys are not passed on": async (
    f,
    runtime,
  ) => {
    const fake = f.add(new FakeServer(() => "END\r\n"));
    const well = await f.memcached();
    const proxy = await f.proxy(runtime, alpha({ servers: [`${fake.address}:1 it`, well] }));
    const client = await f.client(proxy);
    let [at, there] = ["", ""];
    for (let i = 0; at === "" || there === ""; i++) {
      const seen = fake.lines.length;
      await client.send(`get key${i}\r\n`);
      await client.readUntil("END\r\n");
      if (fake.lines.length > seen) at = `key${i}`;
      else there = `key${i}`;
    }
    strictEqual(await ask(client, `set ${there} 0 0 1\r\nv\r\n`), "STORED");
    const block = `VALUE ${there} 0 1\r\nv\r\n`;
    fake.answer = () => "SERVER_ERROR out of memory\r\n";
    strictEqual(await ask(client, `get ${there} ${at}\r\n`), "SERVER_ERROR out of memory");
    fake.answer = () => `VALUE ${at} 0 1\r\nx\r\nEND\r\n`;
    await client.send(`get ${at} ${there}\r\n`);
    strictEqual(await client.readUntil("END\r\n"), `VALUE ${at} 0 1\r\nx\r\n${block}END\r\n`);
    const before = fake.accepted;
    fake.answer = () => "VALUE somebody_elses 0 1\r\nx\r\nEND\r\n";
    match(await ask(client, `get ${at} ${there}\r\n`), /^SERVER_ERROR Invalid argument/);
    await poll(() => fake.connections.size === 0, "the connection to be closed");
    fake.answer = () => "END\r\n";
    await client.send(`get ${at} ${there}\r\n`);
    strictEqual(await client.readUntil("END\r\n"), `${block}END\r\n`);
    strictEqual(fake.accepted, before + 1);
  },

  "a connection that ends in the middle of a value": async (f, runtime) => {
    const fake = f.add(new FakeServer((line) => line === "get a" ? "VALUE a 0 100\r\nhalf" : null));
    const proxy = await f.proxy(runtime, alpha({ servers: [`${fake.address}:1`] }));
    const client = await f.client(proxy);
    await client.send("get a\r\nset b 0 0 1 noreply\r\nx\r\nmg c q\r\nmn\r\n");
    await poll(() => fake.lines.includes("mg c"), "the requests to arrive");
    for (const conn of fake.connections) close(conn);
    match(
      await client.readUntil("MN\r\n"),
      /^SERVER_ERROR Connection reset by peer[^\r]*\r\nSERVER_ERROR Connection reset by peer[^\r]*\r\nMN\r\n$/,
    );
    fake.answer = () => "END\r\n";
    strictEqual(await ask(client, "get a\r\n"), "END");
  },

  "a client that leaves in the middle of a data block has sent nothing": async (f, runtime) => {
    const server = await f.memcached();
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }));
    const [leaving, client] = [await f.client(proxy), await f.client(proxy)];
    for (const size of [100, 200_000]) {
      await leaving.send(
        `set whole${size} 0 0 1 noreply\r\nv\r\nset half 0 0 ${size}\r\n${"x".repeat(size >> 1)}`,
      );
      await poll(async () => await ask(client, `mg whole${size}\r\n`) === "HD", "the first to arrive");
      strictEqual(await ask(client, "mg half\r\n"), "EN");
      if (size === 100) strictEqual(await ask(leaving, `${"x".repeat(50)}\r\n`), "STORED");
      else leaving.close();
      await ask(client, "md half\r\n");
    }
    strictEqual(await ask(client, "set half 0 0 1\r\ny\r\n"), "STORED");
    await poll(async () => (await poolCounts(proxy)).client_connections === 1, "the other to be gone");
    strictEqual(await ask(client, "mg half s\r\n"), "HD s1");
  },

  "noreply without end: the client waits for the servers, and nothing is lost": async (f, runtime) => {
    const servers = [await f.memcached(), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers, max_in_flight: 100 }));
    const client = await f.client(proxy);
    const incr = Array.from({ length: 200 }, (_, i) => `incr n${i % 7} 1 noreply\r\n`).join("");
    for (let i = 0; i < 7; i++) strictEqual(await ask(client, `set n${i} 0 0 1\r\n0\r\n`), "STORED");
    for (let i = 0; i < 70; i++) await client.send(incr);
    const counted = [];
    for (let i = 0; i < 7; i++) counted.push(Number(await ask(client, `incr n${i} 0\r\n`)));
    strictEqual(counted.reduce((a, b) => a + b), 200 * 70);
    deepStrictEqual((await poolCounts(proxy)).forward_error, 0);
  },

  "a thousand keys over three servers, in request order, with duplicates and misses": async (f, runtime) => {
    const servers = [await f.memcached(), await f.memcached(), await f.memcached()];
    const proxy = await f.proxy(runtime, alpha({ servers }));
    const client = await f.client(proxy);
    const random = new Random(9);
    const keys = Array.from({ length: 1000 }, (_, i) => `some_longer_key_${i}`);
    const stored = keys.filter((_, i) => i % 3 !== 0);
    await client.send(stored.map((key) => `set ${key} 1 0 ${key.length}\r\n${key}\r\n`).join(""));
    strictEqual(textOf(await client.readExact(8 * stored.length)), "STORED\r\n".repeat(stored.length));
    const there = new Set(stored);
    const old = await memcachedVersion(servers[0]!) === OLD;
    for (const name of ["get", "gat 0", "get", "bget"]) {
      // memcached takes no more than 2048 bytes of a bget.
      const count = name === "bget" ? 60 : 3000;
      const asked = Array.from({ length: count }, () => random.pick(keys));
      const expected = asked.filter((key) =>
        there.has(key)
      ).map((key) => `VALUE ${key} 1 ${key.length}\r\n${key}\r\n`).join("") + "END\r\n";
      await client.send(`${name} ${asked.join(" ")}\r\n`);
      // From 1.6.40 on there is no bget.
      if (name === "bget" && !old) {
        strictEqual(await client.readUntil("\r\n"), "ERROR\r\n");
      } else strictEqual(await client.readUntil("END\r\n"), expected);
    }
  },

  "a server that stops in the middle of a large reply: who has a part of it is closed, the others are told":
    async (
      f,
      runtime,
    ) => {
      const half = await halfReply(f, runtime, { timeout: 1000 });
      match(await half.other.readLine(), /^SERVER_ERROR Connection timed out/);
      await half.client.readToEnd();
      match(half.proxy.log, REST_LOST);
      half.fake.answer = () => "END\r\n";
      for (const conn of half.fake.connections) close(conn);
      await poll(async () => await ask(half.other, "get a\r\n") === "END", "the server to be asked again");
    },

  "a server that closes in the middle of a large reply: the same": async (f, runtime) => {
    const half = await halfReply(f, runtime);
    for (const conn of half.fake.connections) close(conn);
    match(await half.other.readLine(), /^SERVER_ERROR Connection reset by peer/);
    await half.client.readToEnd();
    match(half.proxy.log, REST_LOST);
    half.fake.answer = () => "END\r\n";
    strictEqual(await ask(half.other, "get a\r\n"), "END");
  },

  "a client that leaves in the middle of a large reply: the rest is dropped, the next reply is the other's":
    async (
      f,
      runtime,
    ) => {
      const { client, other, fake, proxy } = await halfReply(f, runtime);
      client.close();
      const [conn] = fake.connections;
      // Its FIN alone could mean that it only sends no more.
      await say(conn!, BLOCK.slice(BLOCK_SENT) + BLOCK.repeat(3));
      await poll(async () => (await poolCounts(proxy)).client_connections === 1, "the client to be gone");
      await say(conn!, "END\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
      strictEqual(await other.readUntil("END\r\n"), "VALUE a 0 1\r\nx\r\nEND\r\n");
      strictEqual(fake.accepted, 1);
    },

  "a large reply that is not its client's turn, or that is split, counts against client_output_limit": async (
    f,
    runtime,
  ) => {
    const silent = f.add(new FakeServer(() => null));
    const fake = f.add(
      new FakeServer((line) => line.startsWith("get") ? `${BLOCK.repeat(8)}END\r\n` : "TOUCHED\r\n"),
    );
    const servers = [`${silent.address}:1 silent`, `${fake.address}:1 it`];
    const proxy = await f.proxy(runtime, alpha({ servers, client_output_limit: "3mb" }));
    const client = await f.client(proxy);
    // Keys are sent until each server has been asked for one.
    let [there, big] = ["", ""];
    for (let i = 0; there === "" || big === ""; i++) {
      const key = `big${i}`;
      const probe = await f.client(proxy);
      await probe.send(`touch ${key} 0\r\n`);
      await poll(() => [...silent.lines, ...fake.lines].includes(`touch ${key} 0`), "a server to be asked");
      if (silent.lines.includes(`touch ${key} 0`)) there = key;
      else big = key;
      probe.close();
    }
    const reason = /does not read its replies: \d+ bytes are more than client_output_limit, closing/g;
    const closed = () => proxy.log.match(reason)?.length ?? 0;
    await client.send(`get ${there}\r\nget ${big} ${big}\r\n`);
    strictEqual(await client.readToEnd(), "");
    strictEqual(closed(), 1);
    const second = await f.client(proxy);
    await second.send(`get ${there} ${big}\r\n`);
    strictEqual(await second.readToEnd(), "");
    strictEqual(closed(), 2);
  },
};

const REST_LOST = /cannot have the rest of a reply, which has (stopped|ended) in the middle, closing/;
const BLOCK = `VALUE big 0 700000\r\n${"x".repeat(700_000)}\r\n`;
const BLOCK_SENT = 1000;

/**
 * A client has got two of six values from a server that has sent three and a bit; another's request is behind it on the same
 * connection.
 */
async function halfReply(f: Fixture, runtime: Runtime, keys: Partial<PoolKeys> = {}) {
  const fake = f.add(
    new FakeServer((line) =>
      line.startsWith("get big") ? BLOCK.repeat(3) + BLOCK.slice(0, BLOCK_SENT) : null
    ),
  );
  const proxy = await f.proxy(runtime, alpha({ servers: [`${fake.address}:1 it`], ...keys }));
  const [client, other] = [await f.client(proxy), await f.client(proxy)];
  await client.send(`get${" big".repeat(7)}\r\n`);
  await poll(() => fake.lines.length > 0, "the first request to arrive");
  await other.send("get a\r\n");
  strictEqual(textOf(await client.readExact(2 * BLOCK.length)), BLOCK.repeat(2));
  return { client, other, fake, proxy };
}

for (const runtime of RUNTIMES) {
  Deno.test(`memcached pools when something is wrong (${runtime})`, async (t) => {
    for (const [name, run] of Object.entries(CASES)) {
      await t.step(name, async () => {
        await using f = new Fixture();
        await run(f, runtime);
      });
    }
  });
}
