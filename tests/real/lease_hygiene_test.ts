/**
 * Whatever a client does with MULTI, WATCH, BLPOP, SUBSCRIBE and TRACKING, and wherever in its bytes it dies, nobody else sees
 * a trace of it.
 *
 *   script's bytes ──cut at every offset, or after every reply──► FIN | RST | half close
 *   witnesses on the same pool, meanwhile: tagged values in, exactly the same values out
 *   afterwards, on the server itself: nobody blocked, in MULTI, watching, subscribed or tracking; no element taken;
 *   no more connections than before
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import net from "node:net";
import { concat, request } from "../lib/bytes.ts";
import { type RawClient, type Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, within } from "../lib/poll.ts";
import { Push, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy, type Runtime, type Server } from "../lib/servers.ts";

const RUNTIMES: readonly Runtime[] = ["deno", "compiled"];
const ENDINGS = ["FIN", "RST", "half close"] as const;
type Ending = typeof ENDINGS[number];

/** Killers at work at once. */
const PARALLEL = 16;

/** What the victims send. Keys and channels begin with "victim" so that witnesses have nothing to do with them. */
const SCRIPTS: Readonly<Record<string, readonly string[][]>> = {
  MULTI: [["MULTI"], ["SET", "victim:m", "dirty"], ["INCR", "victim:n"], ["EXEC"], ["PING"]],
  "MULTI, DISCARD": [["MULTI"], ["LPUSH", "victim:l", "dirty"], ["DISCARD"], ["PING"]],
  WATCH: [["WATCH", "victim:w"], ["GET", "victim:w"], ["MULTI"], ["SET", "victim:w", "dirty"], ["EXEC"], [
    "PING",
  ]],
  "WATCH, SELECT": [["WATCH", "victim:w"], ["SELECT", "1"], ["MULTI"], ["GET", "victim:w"], ["EXEC"], [
    "UNWATCH",
  ]],
  BLPOP: [["PING"], ["BLPOP", "victim:list", "0"]],
  "BLMOVE and more behind it": [["BLMOVE", "victim:list", "victim:moved", "LEFT", "RIGHT", "0"], [
    "SET",
    "victim:after",
    "1",
  ]],
  "XREAD BLOCK": [["XREAD", "BLOCK", "0", "STREAMS", "victim:stream", "$"]],
  "WAIT": [["SET", "victim:m", "dirty"], ["WAIT", "3", "0"]],
  SUBSCRIBE: [["SUBSCRIBE", "victim:ch", "victim:ch2"], ["PSUBSCRIBE", "victim*"], [
    "UNSUBSCRIBE",
    "victim:ch",
  ], ["PING"]],
  "SUBSCRIBE, RESP3": [["HELLO", "3"], ["SUBSCRIBE", "victim:ch"], ["SSUBSCRIBE", "victim:sh"], [
    "GET",
    "victim:m",
  ]],
  TRACKING: [
    ["HELLO", "3"],
    ["CLIENT", "TRACKING", "ON"],
    ["GET", "victim:m"],
    ["SET", "victim:m", "dirty"],
    ["PING"],
  ],
  "TRACKING, MULTI, WATCH": [
    ["HELLO", "3"],
    ["CLIENT", "TRACKING", "ON", "BCAST"],
    ["WATCH", "victim:w"],
    ["MULTI"],
    ["GET", "victim:w"],
    ["EXEC"],
  ],
  "CLIENT REPLY OFF": [["CLIENT", "REPLY", "OFF"], ["WATCH", "victim:w"], ["MULTI"], [
    "SET",
    "victim:m",
    "dirty",
  ]],
};

/** A client that sends some bytes, perhaps waits for some replies, and ends as told. */
function die(target: Target, bytes: Uint8Array, ending: Ending, waitForReply: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const where = "path" in target ? { path: target.path } : { port: target.port, host: "127.0.0.1" };
    const socket = net.connect({ ...where, allowHalfOpen: true });
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      if (ending === "FIN") socket.destroy();
      else if (ending === "RST") socket.resetAndDestroy();
      else socket.end();
    };
    socket.on("connect", () => {
      if (bytes.length === 0) return end();
      socket.write(bytes, () => {
        if (!waitForReply) end();
      });
    });
    socket.on("data", () => end());
    // Half closed: the proxy has to let it go by itself, whatever it was waiting for.
    socket.on("end", () => socket.destroy());
    socket.on("error", (error) => {
      if ("code" in error && (error.code === "ECONNREFUSED" || error.code === "ENOENT")) reject(error);
    });
    socket.on("close", () => resolve());
  });
}

async function inParallel(jobs: readonly (() => Promise<void>)[]): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) await within(jobs[next++]!(), "the proxy to let a dead client go");
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

/** Somebody else on the same pool: everything it reads must be its own. */
class Witness {
  rounds = 0;
  private stopped = false;
  private readonly work: Promise<void>;

  private constructor(private readonly client: RawClient, private readonly name: string, resp3: boolean) {
    // Looked at by stop(); a test that fails before closes the connection under it.
    this.work = this.run(resp3);
    this.work.catch(() => {});
  }

  static async start(f: Fixture, proxy: Proxy, name: string, resp3: boolean): Promise<Witness> {
    return new Witness(await f.client(proxy), name, resp3);
  }

  private async run(resp3: boolean): Promise<void> {
    const { client, name } = this;
    if (resp3) await client.command("HELLO", "3");
    while (!this.stopped) {
      const tag = `${name}:${this.rounds}`;
      const key = `witness:${name}`;
      const replies = await client.pipeline(
        ["SET", key, tag],
        ["GET", key],
        ["MULTI"],
        ["GET", key],
        ["RPUSH", `${key}:list`, tag],
        ["EXEC"],
        ["BLPOP", `${key}:list`, "0"],
        ["WATCH", key],
        ["ECHO", tag],
        ["MULTI"],
        ["SET", key, `${tag}:b`],
        ["EXEC"],
        ["GET", key],
        ["HGETALL", `${key}:none`],
      );
      deepStrictEqual(replies, [
        "OK",
        tag,
        "OK",
        "QUEUED",
        "QUEUED",
        [tag, 1],
        [`${key}:list`, tag],
        "OK",
        tag,
        "OK",
        "QUEUED",
        ["OK"],
        `${tag}:b`,
        resp3 ? new Map() : [],
      ], `witness ${name}, round ${this.rounds}`);
      this.rounds++;
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
    strictEqual(this.client.unread, "", `witness ${this.name} has unread bytes`);
  }
}

/** What the server says of its connections: their flags, and how many there are. */
async function connections(admin: RawClient): Promise<{ flags: string[]; count: number }> {
  const lines = (await admin.command("CLIENT", "LIST") as string).trim().split("\n");
  return { flags: lines.map((line) => / flags=(\S+)/.exec(line)![1]!), count: lines.length };
}

/** Nobody is blocked (b), in MULTI (x), subscribed (P) or tracking (t) any more. */
async function settle(admin: RawClient): Promise<void> {
  let last: string[] = [];
  await poll(async () => {
    last = (await connections(admin)).flags;
    // N nothing, U by unix socket, d a watched key was touched (looked at later).
    return last.every((flag) => /^[NUd]+$/.test(flag));
  }, () => `the server's connections to be plain: ${last}`);
}

/** Shared connections of (2 databases × 2 protocols), spares, the admin's own. */
const CONNECTIONS_MAX = 4 + 8 + 1;

/** The proxy has noticed that all clients but `left` are gone. */
async function noticed(proxy: Proxy, left: number): Promise<void> {
  let last = -1;
  await poll(async () => {
    last = (await proxy.stats() as { alpha: { client_connections: number } }).alpha.client_connections;
    return last === left;
  }, () => `${left} clients to be left; there are ${last}`);
}

async function check(admin: RawClient, f: Fixture, proxy: Proxy, left: number): Promise<void> {
  await noticed(proxy, left);
  await settle(admin);
  // Whoever still watched these would be marked dirty now.
  for (const db of ["1", "0"]) {
    await admin.pipeline(["SELECT", db], ["SET", "victim:w", "touched"], ["SET", "victim:m", "touched"]);
  }
  const { flags } = await connections(admin);
  ok(flags.every((flag) => !flag.includes("d")), `a watch is left: ${flags}`);
  let count = 0;
  await poll(
    async () => (count = (await connections(admin)).count) <= CONNECTIONS_MAX,
    () => `at most ${CONNECTIONS_MAX} connections; there are ${count}`,
  );
  deepStrictEqual(await admin.command("PUBSUB", "NUMSUB", "victim:ch", "victim:ch2"), [
    "victim:ch",
    0,
    "victim:ch2",
    0,
  ]);
  deepStrictEqual(await admin.command("PUBSUB", "SHARDNUMSUB", "victim:sh"), ["victim:sh", 0]);
  strictEqual(await admin.command("PUBSUB", "NUMPAT"), 0);
  // Nobody takes what is pushed now.
  await admin.command("DEL", "victim:list", "victim:moved");
  for (let i = 0; i < 20; i++) await admin.command("RPUSH", "victim:list", `element ${i}`);
  const fresh = await f.client(proxy);
  strictEqual(await fresh.command("LLEN", "victim:list"), 20);
  strictEqual(await fresh.command("EXISTS", "victim:moved"), 0);
  // Spares are handed out in turn: each must be as new.
  for (let i = 0; i < 10; i++) {
    const other = await f.client(proxy);
    deepStrictEqual(await other.command("BLPOP", "victim:list", "0"), ["victim:list", `element ${i}`]);
    strictEqual(await other.command("WATCH", "victim:w"), "OK");
    deepStrictEqual(await other.pipeline(["MULTI"], ["GET", "victim:w"], ["EXEC"]), ["OK", "QUEUED", [
      "touched",
    ]]);
    other.close();
  }
  strictEqual(await fresh.command("EXEC") instanceof Error, true);
  fresh.close();
}

async function start(f: Fixture, runtime: Runtime): Promise<{ redis: Server; proxy: Proxy }> {
  const redis = await f.redis();
  const proxy = await f.proxy(runtime, poolYml({ alpha: { servers: [redis], databases: 2 } }));
  return { redis, proxy };
}

for (const runtime of RUNTIMES) {
  for (const [name, script] of Object.entries(SCRIPTS)) {
    Deno.test(`${runtime}: ${name}: dying at every byte and after every reply leaves no trace`, async () => {
      await using f = new Fixture();
      const { redis, proxy } = await start(f, runtime);
      const admin = await f.client(redis);
      const witnesses = [
        await Witness.start(f, proxy, "two", false),
        await Witness.start(f, proxy, "three", true),
      ];
      const requests = script.map((args) => request(...args));
      const whole = concat(requests);
      const jobs: (() => Promise<void>)[] = [];
      for (let cut = 0; cut <= whole.length; cut++) {
        const ending = ENDINGS[cut % ENDINGS.length]!;
        jobs.push(() => die(proxy.target, whole.subarray(0, cut), ending, false));
      }
      for (const ending of ENDINGS) {
        for (let n = 1; n <= requests.length; n++) {
          // These never answer.
          const silent = /REPLY OFF|BLMOVE|XREAD/.test(name);
          jobs.push(() => die(proxy.target, concat(requests.slice(0, n)), ending, !silent));
        }
      }
      await inParallel(jobs);
      await check(admin, f, proxy, witnesses.length);
      await Promise.all(witnesses.map((w) => w.stop()));
      ok(witnesses.every((w) => w.rounds > 0));
      strictEqual(proxy.status, null, proxy.log);
    });
  }

  Deno.test(`${runtime}: servers that restart in between leave no trace either`, async () => {
    await using f = new Fixture();
    const { redis, proxy } = await start(f, runtime);
    for (let round = 0; round < 3; round++) {
      const clients: RawClient[] = [];
      for (const script of Object.values(SCRIPTS)) {
        for (let n = 1; n <= script.length; n++) {
          const client = await f.client(proxy);
          clients.push(client);
          await client.send(concat(script.slice(0, n).map((args) => request(...args))));
        }
      }
      await redis.crash();
      await Promise.all(
        clients.map((client, i) =>
          i % 2 === 0 ? die(proxy.target, request("WATCH", "victim:w"), "RST", true) : client.close()
        ),
      );
      await redis.start();
      for (const client of clients) client.close();
      const client = await f.client(proxy);
      await poll(
        async () => await client.command("PING") === "PONG" && await client.command("GET", "a") === null,
        "the server to be back",
      );
      const admin = await f.client(redis);
      await check(admin, f, proxy, 1);
      client.close();
      admin.close();
    }
  });

  Deno.test(`${runtime}: EXEC after the watching connection was lost is nil, and the next transaction is clean`, async () => {
    await using f = new Fixture();
    const { redis, proxy } = await start(f, runtime);
    const client = await f.client(proxy);
    strictEqual(await client.command("WATCH", "k"), "OK");
    await redis.crash();
    await redis.start();
    const other = await f.client(proxy);
    await poll(async () => await other.command("SET", "k", "theirs") === "OK", "the server to be back");
    deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "k", "mine"], ["EXEC"]), ["OK", "QUEUED", null]);
    strictEqual(await other.command("GET", "k"), "theirs");
    strictEqual(await client.command("WATCH", "k"), "OK");
    deepStrictEqual(await client.pipeline(["MULTI"], ["SET", "k", "mine"], ["EXEC"]), ["OK", "QUEUED", [
      "OK",
    ]]);
  });

  Deno.test(`${runtime}: an element pushed after a blocked client has gone goes to the next who waits`, async () => {
    await using f = new Fixture();
    const { redis, proxy } = await start(f, runtime);
    const admin = await f.client(redis);
    for (const ending of ENDINGS) {
      const gone = die(proxy.target, concat([request("PING"), request("BLPOP", "list", "0")]), ending, true);
      await within(gone, "the proxy to let a dead client go");
      await noticed(proxy, 0);
      await settle(admin);
      const next = await f.client(proxy);
      await next.send(request("BLPOP", "list", "0"));
      await poll(
        async () => (await connections(admin)).flags.some((flag) => flag.includes("b")),
        "the next client to wait",
      );
      await admin.command("RPUSH", "list", ending);
      deepStrictEqual((await next.readReply()).value, ["list", ending]);
      next.close();
    }
  });

  Deno.test(`${runtime}: RESP2 and RESP3 clients on one port never see each other's form`, async () => {
    await using f = new Fixture();
    const { proxy } = await start(f, runtime);
    const setUp = await f.client(proxy);
    await setUp.pipeline(["HSET", "h", "f", "v"], ["ZADD", "z", "1.5", "m"], ["SADD", "s", "m"], [
      "CLIENT",
      "SETNAME",
      "x",
    ]);
    const commands = [["HGETALL", "h"], ["ZSCORE", "z", "m"], ["GET", "none"], ["SMEMBERS", "s"], [
      "CLIENT",
      "TRACKINGINFO",
    ]];
    const shapes: Record<2 | 3, string[]> = {
      2: ["*2\r\n$1\r\nf\r\n$1\r\nv\r\n", "$3\r\n1.5\r\n", "$-1\r\n", "*1\r\n$1\r\nm\r\n", "*6"],
      3: ["%1\r\n$1\r\nf\r\n$1\r\nv\r\n", ",1.5\r\n", "_\r\n", "~1\r\n$1\r\nm\r\n", "%3"],
    };
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const client = await f.client(proxy);
      // Some change their mind again and again, in the middle of a pipeline.
      const changes = i % 4 === 0;
      let resp: 2 | 3 = i % 2 === 0 ? 2 : 3;
      for (let round = 0; round < 40; round++) {
        if (round === 0 || changes) {
          if (changes) resp = resp === 2 ? 3 : 2;
          await client.send(
            concat([
              request("GET", "none"),
              request("HELLO", String(resp)),
              ...commands.map((c) => request(...c)),
            ]),
          );
          await client.readReply();
          const hello = await client.readReply();
          strictEqual(hello.text[0], resp === 3 ? "%" : "*");
        } else await client.send(concat(commands.map((c) => request(...c))));
        for (const shape of shapes[resp]) {
          const { text } = await client.readReply();
          ok(
            text.startsWith(shape),
            `RESP${resp} client read ${JSON.stringify(text)}, expected ${JSON.stringify(shape)}`,
          );
        }
      }
    }));
  });

  Deno.test(`${runtime}: pushes of one tracking client never reach another`, async () => {
    await using f = new Fixture();
    const { proxy } = await start(f, runtime);
    const setter = await f.client(proxy);
    const trackers = await Promise.all(Array.from({ length: 8 }, async (_, i) => {
      const client = await f.client(proxy);
      await client.pipeline(["HELLO", "3"], ["CLIENT", "TRACKING", "ON"], ["GET", `tracked:${i}`]);
      return client;
    }));
    for (let i = 0; i < trackers.length; i++) await setter.command("SET", `tracked:${i}`, "1");
    for (let i = 0; i < trackers.length; i++) {
      const pushed = (await trackers[i]!.readReply()).value as Push;
      deepStrictEqual(pushed.items as Value[], ["invalidate", [`tracked:${i}`]]);
      strictEqual(await trackers[i]!.command("PING"), "PONG");
      strictEqual(trackers[i]!.unread, "");
    }
  });
}
