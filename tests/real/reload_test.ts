/**
 * Another configuration while it runs, as clients, servers and the operator see it: `ringmaster reload`, HUP and `watch`, on one
 * thread and on several, for both protocols. What a change is to do to requests in flight, keys, messages and cursors.
 *
 * Which server a key belongs to is asked of `ringmaster route`, and what moves of `ringmaster plan`, with the same file.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process, run } from "../lib/process.ts";
import { exists } from "../lib/repo.ts";
import { ReplyError } from "../lib/resp.ts";
import {
  command,
  freeze,
  listenTargets,
  type PoolKeys,
  poolYml,
  type Proxy,
  type Runtime,
  type Server,
} from "../lib/servers.ts";

interface Setup {
  readonly runtime: Runtime;
  readonly workers: number;
}

const DENO_ALONE: Setup = { runtime: "deno", workers: 1 };
const COMPILED_WORKERS: Setup = { runtime: "compiled", workers: 2 };
const SETUPS: readonly Setup[] = [
  { runtime: "compiled", workers: 1 },
  COMPILED_WORKERS,
  { runtime: "deno", workers: 2 },
];
/** Enough for clients of both workers. */
const CLIENTS = 8;
const KEYS = Array.from({ length: 120 }, (_, i) => `key:${i}`);

type Pools = Record<string, PoolKeys>;

/** A proxy whose configuration changes. */
class Stand {
  private constructor(
    readonly proxy: Proxy,
    readonly setup: Setup,
    readonly pidFile: string,
    private readonly folder: string,
  ) {}

  static async start(f: Fixture, setup: Setup, pools: Pools, process = ""): Promise<Stand> {
    const pidFile = `${f.dir}/proxy.pid`;
    const proxy = await f.proxy(setup.runtime, ymlOf(setup, pools, process), { args: ["-p", pidFile] });
    // The port answers when the first worker listens; the file is written when all do.
    await poll(() => exists(pidFile), "the pid file");
    return new Stand(proxy, setup, pidFile, f.dir);
  }

  write(pools: Pools, process = ""): void {
    Deno.writeTextFileSync(this.proxy.file, ymlOf(this.setup, pools, process));
  }

  /** `ringmaster reload`: its exit code and what it has printed. */
  async ask(): Promise<{ code: number; stdout: string; stderr: string }> {
    return await ringmaster("reload", "-p", this.pidFile);
  }

  async reload(pools: Pools, process = ""): Promise<string> {
    this.write(pools, process);
    const { code, stdout, stderr } = await this.ask();
    deepStrictEqual({ code, stderr }, { code: 0, stderr: "" });
    return stdout;
  }

  /** `yml` is refused, for the reason that is printed and logged. */
  async refuses(yml: string, why: RegExp): Promise<void> {
    Deno.writeTextFileSync(this.proxy.file, yml);
    const { code, stdout, stderr } = await this.ask();
    deepStrictEqual({ code, stdout }, { code: 1, stdout: "" });
    match(stderr, why);
    match(this.proxy.log, why);
  }

  /** A copy of the file as it is now. */
  keep(name: string): string {
    const file = `${this.folder}/${name}.yml`;
    Deno.copyFileSync(this.proxy.file, file);
    return file;
  }

  async rows(pool: string): Promise<Record<string, Record<string, number>>> {
    const all = (await this.proxy.stats())[pool] as Record<string, unknown> | undefined;
    return Object.fromEntries(
      Object.entries(all ?? {}).filter(([, row]) => typeof row === "object"),
    ) as Record<string, Record<string, number>>;
  }
}

function ymlOf({ workers }: Setup, pools: Pools, process = ""): string {
  return `ringmaster: { workers: ${workers}${process === "" ? "" : ", " + process} }\n` + poolYml(pools);
}

async function ringmaster(...args: string[]) {
  const [program, ...before] = await command("compiled");
  return await run(program!, [...before, ...args]);
}

function each(name: string, test: (f: Fixture, setup: Setup) => Promise<void>, setups = SETUPS): void {
  for (const setup of setups) {
    Deno.test(`${name} (${setup.runtime}, workers: ${setup.workers})`, async () => {
      await using f = new Fixture();
      await test(f, setup);
    });
  }
}

/** By key, the name and address of its server. */
async function routes(file: string, pool: string): Promise<Map<string, { name: string; address: string }>> {
  const { code, stdout } = await ringmaster("route", "-c", file, "--pool", pool, ...KEYS);
  strictEqual(code, 0);
  return new Map(
    stdout.trimEnd().split("\n").map((line) => {
      const [key, , name, address] = line.split("\t");
      return [key!, { name: name!, address: address! }] as const;
    }),
  );
}

/** The same few requests in both protocols. */
interface Speech {
  server(f: Fixture): Promise<Server>;
  set(client: RawClient, keys: readonly string[], value: string): Promise<void>;
  get(client: RawClient, keys: readonly string[]): Promise<(string | null)[]>;
}

const REDIS: Speech = {
  server: (f) => f.redis(),
  async set(client, keys, value) {
    const replies = await client.pipeline(...keys.map((key) => ["SET", key, value]));
    for (const reply of replies) strictEqual(reply, "OK");
  },
  async get(client, keys) {
    return await client.pipeline(...keys.map((key) => ["GET", key])) as (string | null)[];
  },
};

const MEMCACHED: Speech = {
  server: (f) => f.memcached(),
  async set(client, keys, value) {
    await client.send(keys.map((key) => `set ${key} 0 0 ${value.length}\r\n${value}\r\n`).join(""));
    for (const _ of keys) strictEqual(await client.readLine(), "STORED");
  },
  async get(client, keys) {
    await client.send(keys.map((key) => `get ${key}\r\n`).join(""));
    const values: (string | null)[] = [];
    for (const _ of keys) {
      const reply = await client.readUntil("END\r\n");
      values.push(/^VALUE \S+ \d+ \d+\r\n(.*)\r\n/.exec(reply)?.[1] ?? null);
    }
    return values;
  },
};

async function clientsOf(f: Fixture, to: Target | { target: Target }): Promise<RawClient[]> {
  return await Promise.all(Array.from({ length: CLIENTS }, () => f.client(to)));
}

/** Every client writes keys of its own, and they are found on the servers that `route` names. */
async function keysAreWhereTheyBelong(
  clients: readonly RawClient[],
  speech: Speech,
  file: string,
  value: string,
): Promise<void> {
  const keysOf = (i: number) => KEYS.filter((_, k) => k % clients.length === i);
  await Promise.all(clients.map((client, i) => speech.set(client, keysOf(i), value)));
  await Promise.all(clients.map(async (client, i) => {
    deepStrictEqual(new Set(await speech.get(client, keysOf(i))), new Set([value]));
  }));
  const owners = await routes(file, "alpha");
  for (const address of new Set([...owners.values()].map((owner) => owner.address))) {
    const keys = KEYS.filter((key) => owners.get(key)!.address === address);
    const direct = await RawClient.connect(targetOf(address));
    deepStrictEqual(await speech.get(direct, keys), keys.map(() => value));
    direct.close();
  }
}

function targetOf(address: string): Target {
  return address.startsWith("/") ? { path: address } : { port: Number(address.split(":")[1]) };
}

const named = (server: Server, name: string, weight = 1) => `${server.address}:${weight} ${name}`;

// ---- servers

for (const [protocol, speech] of [["Redis", REDIS], ["memcached", MEMCACHED]] as const) {
  each(
    `reload: servers come, go, weigh more, are renamed and move; keys are where route says (${protocol})`,
    async (f, setup) => {
      const [a, b, c] = await Promise.all([speech.server(f), speech.server(f), speech.server(f)]);
      const listen = `127.0.0.1:${freePort()}`;
      const redis = speech === REDIS;
      const alpha = (...servers: string[]): Pools => ({ alpha: { listen, redis, servers } });
      const steps: readonly (readonly [string, Pools])[] = [
        ["added", alpha(named(a, "a"), named(b, "b"), named(c, "c"))],
        ["removed", alpha(named(b, "b"), named(c, "c"))],
        ["reweighted", alpha(named(b, "b", 5), named(c, "c"))],
        ["renamed", alpha(named(b, "b", 5), named(c, "d"))],
        ["moved", alpha(named(a, "b", 5), named(c, "d"))],
        ["all at once", alpha(named(a, "a"), named(b, "b", 2), named(c, "e"))],
      ];
      const stand = await Stand.start(f, setup, alpha(named(a, "a"), named(b, "b")));
      const { proxy } = stand;
      const clients = await clientsOf(f, proxy);
      await keysAreWhereTheyBelong(clients, speech, proxy.file, "at first");
      let before = await stand.rows("alpha");
      for (const [what, pools] of steps) {
        const old = stand.keep("old");
        const text = await stand.reload(pools);
        match(text, /^reloaded /);
        await keysAreWhereTheyBelong(clients, speech, proxy.file, what);
        // What it has said is what plan says of the two files.
        const plan = await ringmaster("plan", old, proxy.file, "--pool", "alpha");
        ok(text.includes(plan.stdout), `${text}\n--- plan:\n${plan.stdout}`);

        const rows = await stand.rows("alpha");
        const names = pools.alpha!.servers.map((line) => String(line).split(" ")[1]!);
        deepStrictEqual(new Set(Object.keys(rows)), new Set(names), what);
        for (const [name, row] of Object.entries(rows)) {
          const had = before[name] ?? {};
          for (const counter of ["requests", "responses", "request_bytes", "response_bytes", "server_eof"]) {
            ok(row[counter]! >= (had[counter] ?? 0), `${what}: ${counter} of ${name} fell`);
          }
          // One that is new has only what was asked of it since.
          if (before[name] === undefined) ok(row.requests! <= 4 * KEYS.length, `${what}: ${name}`);
        }
        before = rows;
      }
    },
    speech === REDIS ? SETUPS : [COMPILED_WORKERS, DENO_ALONE],
  );
}

each("reload: what is in flight ends where it is, and nothing overtakes it", async (f, setup) => {
  const [a, b] = [await f.redis(), await f.redis()];
  const listen = `127.0.0.1:${freePort()}`;
  const stand = await Stand.start(f, setup, { alpha: { listen, servers: [named(a, "a")] } });
  const clients = await clientsOf(f, stand.proxy);
  for (const client of clients) strictEqual(await client.command("PING"), "PONG");
  for (const client of clients) await client.command("SET", "warm", "1");
  await freeze(a);
  for (const [i, client] of clients.entries()) await client.send(request("RPUSH", `list${i}`, "old"));
  const inFlight = async () =>
    (await stand.rows("alpha")).a!.in_queue! + (await stand.rows("alpha")).a!.out_queue!;
  await poll(async () => await inFlight() >= CLIENTS, "the requests to be in flight");
  await stand.reload({ alpha: { listen, servers: [named(b, "b")] } });
  // These belong to b, which would answer at once; but each client is owed an earlier reply.
  for (const [i, client] of clients.entries()) {
    await client.send(concat([request("RPUSH", `list${i}`, "new", "newer"), request("PING")]));
  }
  // Who is owed nothing is served by b.
  const other = await f.client(stand.proxy);
  strictEqual(await other.command("SET", "x", "1"), "OK");
  a.kill("SIGCONT");
  for (const client of clients) {
    strictEqual((await client.readReply()).value, 1);
    strictEqual((await client.readReply()).value, 2);
    strictEqual((await client.readReply()).value, "PONG");
  }
  const direct = { a: await f.client(a), b: await f.client(b) };
  deepStrictEqual(await direct.a.command("LRANGE", "list0", "0", "-1"), ["old"]);
  deepStrictEqual(await direct.b.command("LRANGE", "list0", "0", "-1"), ["new", "newer"]);
  // The old server is left: only the direct client is there.
  await poll(
    async () => String(await direct.a.command("CLIENT", "LIST")).trim().split("\n").length === 1,
    "a to be left",
  );
});

// ---- files that are refused

each("reload: a broken file changes nothing, and why is printed and logged", async (f, setup) => {
  const [a, b] = [await f.redis(), await f.redis()];
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (...servers: string[]): Pools => ({ alpha: { listen, servers } });
  const good = alpha(named(a, "a"));
  const stand = await Stand.start(f, setup, good);
  const { proxy } = stand;
  const clients = await clientsOf(f, proxy);
  const unchanged = async () => {
    for (const client of clients) strictEqual(await client.command("SET", "k", "v"), "OK");
    deepStrictEqual(Object.keys(await stand.rows("alpha")), ["a"]);
    deepStrictEqual(Object.keys(await proxy.stats()).filter((key) => key === "beta"), []);
  };
  const yml = ymlOf(setup, alpha(named(b, "b")));
  const place = (line: number, column: number, text: string) =>
    new RegExp(`${proxy.file.replaceAll(".", "\\.")}:${line}:${column}: .*${text}`);
  await unchanged();
  await stand.refuses(yml + "  colour: red\n", place(9, 3, "colour"));
  await stand.refuses(yml.replace("redis: true", "redis: perhaps"), place(6, 10, "perhaps"));
  await stand.refuses(yml + "  [", /:\d+:\d+: /);
  await unchanged();

  // Files that are good, but cannot be taken while it runs.
  await stand.refuses(
    ymlOf(setup, { alpha: { listen, redis: false, servers: [named(b, "b")] } }),
    /redis changes from true to false/,
  );
  await stand.refuses(
    ymlOf(setup, alpha(named(a, "a"), named(b, "b")), "max_moved: 20%"),
    /% of all keys would move, max_moved allows 20\.0 %/,
  );
  const taken = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
  const takenPort = (taken.addr as Deno.NetAddr).port;
  try {
    await stand.refuses(
      ymlOf(setup, {
        ...alpha(named(b, "b")),
        beta: { servers: [named(b, "b")] },
        gamma: { listen: `127.0.0.1:${takenPort}`, servers: [named(b, "b")] },
      }),
      /in use/,
    );
  } finally {
    taken.close();
  }
  await stand.refuses(
    ymlOf(setup, { ...good, beta: { listen: `127.0.0.1:${proxy.statsPort}`, servers: [named(b, "b")] } }),
    /the statistics address .* are one address/,
  );
  await unchanged();

  // HUP says the same in the log.
  Deno.writeTextFileSync(proxy.file, yml + "  size: 1\n");
  proxy.kill("SIGHUP");
  await poll(() => place(9, 3, "size").test(proxy.log), "the log to say why");
  await unchanged();
  // And takes what is good.
  stand.write(alpha(named(b, "b")));
  proxy.kill("SIGHUP");
  await poll(async () => Object.keys(await stand.rows("alpha"))[0] === "b", "the change");
  for (const client of clients) strictEqual(await client.command("GET", "k"), null);
  match(await stand.reload(alpha(named(b, "b"))), /nothing is different/);
});

Deno.test("ringmaster reload: no pid file, no number in it, no such process", async () => {
  await using f = new Fixture();
  const pidFile = `${f.dir}/none.pid`;
  const ask = () => ringmaster("reload", "-p", pidFile);
  match((await ask()).stderr, /cannot read the pid file/);
  Deno.writeTextFileSync(pidFile, "here\n");
  match((await ask()).stderr, /found no process id/);
  // Above the kernel's largest.
  Deno.writeTextFileSync(pidFile, "2147483646\n");
  const { code, stdout, stderr } = await ask();
  deepStrictEqual([code, stdout], [1, ""]);
  match(stderr, /none\.pid names process 2147483646, which does not run/);
});

Deno.test("ringmaster reload, upgrade: a pid file that was left behind ends nobody who has that number now", async () => {
  await using f = new Fixture();
  const pidFile = `${f.dir}/left.pid`;
  const stranger = f.add(new Process("sleep", ["600"], { output: `${f.dir}/left.log` }));
  Deno.writeTextFileSync(pidFile, `${stranger.pid}\n`);
  for (const asked of ["reload", "upgrade"]) {
    const { code, stderr } = await ringmaster(asked, "-p", pidFile);
    strictEqual(code, 1);
    match(
      stderr,
      new RegExp(`process ${stranger.pid} of .*left\\.pid is no Ringmaster that could ${asked}: `),
    );
  }
  stranger.kill("SIGTERM");
  strictEqual((await stranger.exit).signal, "SIGTERM", "it lived until now");
});

each("watch: what is renamed into place, and what is written in pieces", async (f, setup) => {
  const a = await f.redis();
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (name: string): Pools => ({ alpha: { listen, servers: [named(a, name)] } });
  const stand = await Stand.start(f, setup, alpha("a"), "watch: true");
  const { proxy } = stand;
  const client = await f.client(proxy);
  const has = (name: string) =>
    poll(async () => Object.keys(await stand.rows("alpha"))[0] === name, `a server ${name}`);

  Deno.writeTextFileSync(`${proxy.file}.new`, ymlOf(setup, alpha("b"), "watch: true"));
  Deno.renameSync(`${proxy.file}.new`, proxy.file);
  await has("b");

  const yml = ymlOf(setup, alpha("c"), "watch: true");
  using file = Deno.openSync(proxy.file, { write: true, truncate: true });
  for (const part of yml.match(/[^]{1,40}/g)!) {
    file.writeSync(new TextEncoder().encode(part));
    await poll(() => true, "the next turn");
  }
  await has("c");

  // One that stays broken is refused, once.
  Deno.writeTextFileSync(proxy.file, yml + "  colour: red\n");
  await poll(() => /colour/.test(proxy.log), "the refusal");
  Deno.writeTextFileSync(proxy.file, ymlOf(setup, alpha("d"), "watch: true"));
  await has("d");
  strictEqual(proxy.log.split("\n").filter((line) => /colour/.test(line)).length, 1);
  strictEqual(await client.command("PING"), "PONG");
}, [COMPILED_WORKERS]);

// ---- pools and listeners

each("reload: pools come and go; who is in a removed one finishes", async (f, setup) => {
  const [a, b] = [await f.redis(), await f.memcached()];
  const alpha: PoolKeys = { listen: `127.0.0.1:${freePort()}`, servers: [named(a, "a")] };
  const beta: PoolKeys = { listen: `127.0.0.1:${freePort()}`, redis: false, servers: [named(b, "b")] };
  const stand = await Stand.start(f, setup, { alpha });
  const { proxy } = stand;
  const [betaTarget] = listenTargets(poolYml({ beta }));
  const staying = await clientsOf(f, proxy);
  match(await stand.reload({ alpha, beta }), /pool beta: added/);
  const going = await clientsOf(f, betaTarget!);
  for (const client of going) await MEMCACHED.set(client, ["k"], "v");
  ok((await stand.rows("beta")).b!.requests! >= CLIENTS);
  const [busy, ...idle] = going;
  await freeze(b);
  await busy!.send("get k\r\n");
  await poll(async () => (await stand.rows("beta")).b!.out_queue! >= 1, "the request to be in flight");
  match(await stand.reload({ alpha }), /pool beta: removed/);
  for (const client of idle) strictEqual(await client.readToEnd(), "");
  b.kill("SIGCONT");
  strictEqual(await busy!.readToEnd(), "VALUE k 0 1\r\nv\r\nEND\r\n");
  await poll(async () => {
    try {
      (await RawClient.connect(betaTarget!)).close();
      return false;
    } catch {
      return true;
    }
  }, "nobody to listen");
  for (const client of staying) strictEqual(await client.command("SET", "k", "v"), "OK");
  deepStrictEqual(Object.keys(await proxy.stats()).filter((key) => key === "beta"), []);
  // It may come back, as somebody else.
  await stand.reload({ alpha, beta: { ...beta, redis: true, servers: [named(a, "a")] } });
  const back = await f.client(betaTarget!);
  strictEqual(await back.command("GET", "k"), "v");
});

each("reload: pools listen elsewhere, also where another has, and on unix sockets", async (f, setup) => {
  const [a, b] = [await f.redis(), await f.redis()];
  const servers = { alpha: [named(a, "alpha")], beta: [named(b, "beta")] };
  await (await f.client(a)).command("SET", "who", "alpha");
  await (await f.client(b)).command("SET", "who", "beta");
  const ports = [freePort(), freePort(), freePort()].map((port) => `127.0.0.1:${port}`) as [
    string,
    string,
    string,
  ];
  const paths = ["x.sock", "y.sock"].map((name) => `${f.dir}/${name}`) as [string, string];
  const pools = (alpha: string, beta: string): Pools => ({
    alpha: { listen: alpha, servers: servers.alpha },
    beta: { listen: beta, servers: servers.beta },
  });
  const stand = await Stand.start(f, setup, pools(ports[0], ports[1]));
  const all = { alpha: await clientsOf(f, targetOf(ports[0])), beta: await clientsOf(f, targetOf(ports[1])) };
  const whoIsAt = (address: string) =>
    poll(async () => {
      const client = await RawClient.connect(targetOf(address));
      const who = await client.command("GET", "who").catch(() => null);
      client.close();
      return who;
    }, `somebody at ${address}`);
  const are = async (alpha: string, beta: string) => {
    await stand.reload(pools(alpha, beta));
    await poll(
      async () => await whoIsAt(alpha) === "alpha" && await whoIsAt(beta) === "beta",
      `alpha at ${alpha} and beta at ${beta}`,
    );
    // All that arrive, whichever worker they come to.
    for (let i = 0; i < CLIENTS; i++) {
      strictEqual(await whoIsAt(alpha), "alpha");
      strictEqual(await whoIsAt(beta), "beta");
    }
    for (const who of ["alpha", "beta"] as const) {
      for (const client of all[who]) strictEqual(await client.command("GET", "who"), who);
    }
  };
  await are(ports[2], ports[1]);
  // A port that is free again, and one that another pool has had.
  await are(ports[1], ports[0]);
  await are(ports[0], ports[1]);
  await are(paths[0], ports[1]);
  await are(paths[0], paths[1]);
  await are(paths[1], paths[0]);
  await are(paths[1], ports[0]);
  await poll(() => !exists(paths[0]), "the socket's file to go");
});

// ---- settings

each(
  "reload: another password: who is there stays, who comes needs it, servers are told it",
  async (f, setup) => {
    const a = await f.redis();
    const direct = await f.client(a);
    const listen = `127.0.0.1:${freePort()}`;
    const alpha = (redis_auth?: string): Pools => ({
      alpha: { listen, redis_auth, servers: [named(a, "a")] },
    });
    const stand = await Stand.start(f, setup, alpha());
    const first = await clientsOf(f, stand.proxy);
    for (const client of first) await client.command("SET", "k", "v");
    let word = "";
    for (const next of ["one", "two"]) {
      await direct.command("CONFIG", "SET", "requirepass", next);
      const printed = await stand.reload(alpha(next));
      ok(!printed.includes(next), printed);
      const later = await clientsOf(f, stand.proxy);
      for (const client of later) {
        match(String(await client.command("GET", "k")), /NOAUTH/);
        if (word !== "") ok(await client.command("AUTH", word) instanceof ReplyError);
        strictEqual(await client.command("AUTH", next), "OK");
        strictEqual(await client.command("GET", "k"), "v");
        strictEqual(await client.command("SET", "k", "v"), "OK");
      }
      first.push(...later);
      word = next;
    }
    // As with a server, who is in stays in.
    for (const client of first) strictEqual(await client.command("GET", "k"), "v");
  },
);

each("reload: timeouts, idle_timeout and server_connections count at once", async (f, setup) => {
  const a = await f.redis();
  const direct = await f.client(a);
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (keys: Record<string, unknown>): Pools => ({
    alpha: { listen, ...keys, servers: [named(a, "a")] },
  });
  const stand = await Stand.start(f, setup, alpha({}));
  const clients = await clientsOf(f, stand.proxy);
  const connections = async () =>
    String(await direct.command("CLIENT", "LIST")).trim().split("\n").length - 1;
  /** Every client has asked; so many connections each worker has then. */
  const connected = async (most: number, least: number) => {
    await poll(async () => {
      for (const client of clients) strictEqual(await client.command("SET", "k", "v"), "OK");
      const count = await connections();
      return count <= most * setup.workers && count >= least;
    }, `${least} to ${most * setup.workers} connections`);
  };
  await connected(1, 1);
  await stand.reload(alpha({ server_connections: 3 }));
  await connected(3, 3);
  await stand.reload(alpha({ server_connections: 1, timeout: 100 }));
  await connected(1, 1);
  await freeze(a);
  for (const client of clients) match(String(await client.command("GET", "k")), /timed out/);
  a.kill("SIGCONT");
  await connected(1, 1);
  await stand.reload(alpha({}));
  await connected(1, 1);
  await freeze(a);
  for (const client of clients) await client.send(request("GET", "k"));
  a.kill("SIGCONT");
  for (const client of clients) strictEqual((await client.readReply()).value, "v");
  await stand.reload(alpha({ idle_timeout: 50 }));
  for (const client of clients) strictEqual(await client.readToEnd(), "");
}, [COMPILED_WORKERS, DENO_ALONE]);

each("reload: auto_eject_hosts on and off while a server is ejected, and moved then", async (f, setup) => {
  const [a, b, c] = [await f.redis(), await f.redis(), await f.redis()];
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (auto_eject_hosts: boolean, at = a): Pools => ({
    alpha: {
      listen,
      auto_eject_hosts,
      server_failure_limit: 1,
      // So that only a change brings it back.
      server_retry_timeout: 1_000_000,
      servers: [named(at, "a"), named(b, "b")],
    },
  });
  const stand = await Stand.start(f, setup, alpha(true));
  const owners = await routes(stand.proxy.file, "alpha");
  const key = KEYS.find((each) => owners.get(each)!.name === "a")!;
  const clients = await clientsOf(f, stand.proxy);
  const all = (want: (reply: unknown) => boolean, what: string) =>
    poll(async () => {
      const replies = await Promise.all(clients.map((client) => client.command("SET", key, "v")));
      return replies.every(want);
    }, what);
  const good = (reply: unknown) => reply === "OK";
  const bad = (reply: unknown) => reply instanceof ReplyError;
  const isAt = async (server: Server) => {
    const direct = await f.client(server);
    strictEqual(await direct.command("GETDEL", key), "v");
  };
  await all(good, "the server");
  await isAt(a);
  await a.crash();
  await all(good, "the server to be ejected");
  await isAt(b);
  await stand.reload(alpha(false));
  await all(bad, "the server to be asked again");
  await a.start();
  await all(good, "the server to be back");
  await isAt(a);
  await a.crash();
  await all(bad, "the server to be down");
  await stand.reload(alpha(true));
  await all(good, "the server to be ejected again");
  await isAt(b);
  // Ejected, but where it moves to it is well.
  await stand.reload(alpha(true, c));
  await poll(async () => {
    await all(good, "a server");
    return await (await f.client(c)).command("GETDEL", key) === "v";
  }, "the moved server to return");
  await all(good, "the moved server");
  await isAt(c);
});

each(
  "reload: a probe that was asked where a server has been says nothing of where it is",
  async (f, setup) => {
    const [a, b] = [await f.redis(), await f.redis()];
    const listen = `127.0.0.1:${freePort()}`;
    const alpha = (at: string): Pools => ({
      alpha: {
        listen,
        auto_eject_hosts: true,
        server_failure_limit: 1,
        server_retry_timeout: 20,
        probe_timeout: 1_000_000,
        timeout: 1000,
        servers: [`${at}:1 a`, named(b, "b")],
      },
    });
    const stand = await Stand.start(f, setup, alpha(a.address));
    const direct = await f.client(a);
    const owners = await routes(stand.proxy.file, "alpha");
    const key = KEYS.find((each) => owners.get(each)!.name === "a")!;
    const client = await f.client(stand.proxy);
    strictEqual(await client.command("SET", key, "v"), "OK");
    await freeze(a);
    const asks = () =>
      Deno.readTextFileSync("/proc/net/unix").split("\n").filter((line) => line.endsWith(a.path)).length;
    const before = asks();
    match(String(await client.command("SET", key, "v")), /timed out/);
    strictEqual(await client.command("SET", key, "v"), "OK");
    // The probe waits for the one that is stopped; nobody is where the server is from now on.
    await poll(() => asks() > before, "the probe to be asked");
    await stand.reload(alpha(`127.0.0.1:${freePort()}`));
    a.kill("SIGCONT");
    await poll(
      async () => String(await direct.command("CLIENT", "LIST")).trim().split("\n").length === 1,
      "a to be left",
    );
    for (let i = 0; i < 20; i++) strictEqual(await client.command("SET", key, "v"), "OK");
    ok(!/it answers again/.test(stand.proxy.log), stand.proxy.log);
    // It is probed where it is.
    await stand.reload(alpha(a.address));
    await poll(() => /it answers again/.test(stand.proxy.log), "the server to return");
  },
  [COMPILED_WORKERS],
);

each(
  "reload: the log's level and form change; what has to wait for the next start is named",
  async (f, setup) => {
    const a = await f.redis();
    const listen = `127.0.0.1:${freePort()}`;
    const alpha = (keys: Record<string, unknown> = {}): Pools => ({
      alpha: { listen, ...keys, servers: [named(a, "a")] },
    });
    const stand = await Stand.start(f, setup, alpha());
    const { proxy } = stand;
    const last = () => proxy.log.trimEnd().split("\n").at(-1)!;
    match(last(), /^\[/);
    await stand.reload(alpha(), "log: { format: json }");
    await poll(() => JSON.parse(last()).level >= 0, "a line of JSON");
    // Only errors are logged now, and the level counts on all workers.
    await stand.reload(alpha(), "log: { level: err }");
    await stand.reload(alpha({ timeout: 1000 }), "log: { level: err }");
    ok(!/timeout|reloaded .*timeout/.test(proxy.log));
    const text = await stand.reload(
      alpha({ backlog: 7, reuseport: true }),
      "max_memory: 1gb, log: { level: notice }",
    );
    for (const name of ["ringmaster: max_memory", "pool alpha: backlog", "pool alpha: reuseport"]) {
      ok(text.includes(`${name} changes at the next start\n`), text);
    }
    ok(!text.includes("tcpkeepalive"), text);
  },
  [COMPILED_WORKERS, DENO_ALONE],
);

// ---- what lasts longer than a request

each("reload: who has subscribed hears all, wherever the channels have moved", async (f, setup) => {
  const [a, b, c] = [await f.redis(), await f.redis(), await f.redis()];
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (...lines: string[]): Pools => ({ alpha: { listen, servers: lines } });
  const stand = await Stand.start(f, setup, alpha(named(a, "a"), named(b, "b")));
  const channels = Array.from({ length: 10 }, (_, i) => `channel:${i}`);
  const ears = await Promise.all(Array.from({ length: 4 }, () => f.client(stand.proxy)));
  for (const [i, ear] of ears.entries()) {
    if (i % 2 === 0) {
      await ear.send(request("SUBSCRIBE", ...channels));
      for (const _ of channels) await ear.readReply();
    } else {
      await ear.send(request("PSUBSCRIBE", "channel:*"));
      await ear.readReply();
    }
  }
  const mouth = await f.client(stand.proxy);
  /** The next message, as channel and text. */
  const hear = async (ear: RawClient) => ((await ear.readReply()).value as string[]).slice(-2).join(" ");
  /** One message a channel, heard by all; those of earlier calls that were late come first. */
  const speak = async (text: string) => {
    await publish(text);
    for (const ear of ears) {
      const heard = new Set<string>();
      while (heard.size < channels.length) {
        const message = await hear(ear);
        if (message.endsWith(` ${text}`)) ok(heard.size < heard.add(message).size, `twice: ${message}`);
      }
    }
  };
  const publish = (text: string) => mouth.pipeline(...channels.map((channel) => ["PUBLISH", channel, text]));
  // Of those on other workers it counts the workers.
  const reached = await publish("first");
  ok(reached.every((count) => count as number > 0), String(reached));
  let round = 0;
  for (
    const lines of [
      [named(a, "a"), named(b, "b"), named(c, "c")],
      [named(c, "c")],
      [named(a, "c")],
      [named(a, "c", 3), named(b, "d")],
    ]
  ) {
    await stand.reload(alpha(...lines));
    // Until a worker has subscribed where the channels are now, a message finds nobody there.
    await poll(async () => {
      const counts = await publish("probe");
      return counts.every((count, i) => count === reached[i]);
    }, "all to hear of the channels");
    await speak(`round${++round}`);
  }
});

each("reload: a SCAN under way sees every key whose server has stayed", async (f, setup) => {
  const [a, b, c] = [await f.redis(), await f.redis(), await f.redis()];
  const listen = `127.0.0.1:${freePort()}`;
  const alpha = (...servers: string[]): Pools => ({ alpha: { listen, servers } });
  const stand = await Stand.start(f, setup, alpha(named(a, "a"), named(b, "b")));
  const client = await f.client(stand.proxy);
  await REDIS.set(client, KEYS, "v");
  const before = await routes(stand.proxy.file, "alpha");
  const changes = [
    alpha(named(a, "a"), named(b, "b"), named(c, "c")),
    alpha(named(a, "a"), named(c, "c")),
    alpha(named(c, "c"), named(a, "a"), named(b, "d")),
  ];
  const seen = new Set<string>();
  let cursor = "0";
  let turns = 0;
  do {
    if (turns++ % 3 === 1 && changes.length > 0) await stand.reload(changes.shift()!);
    const [next, keys] = await client.command("SCAN", cursor, "COUNT", "5") as [string, string[]];
    cursor = next;
    for (const key of keys) seen.add(key);
  } while (cursor !== "0");
  strictEqual(changes.length, 0);
  deepStrictEqual(KEYS.filter((key) => before.get(key)!.name === "a" && !seen.has(key)), []);
});

each(
  "reload: a transaction is placed anew, a WATCH is lost when keys may move, and only then",
  async (f, setup) => {
    const [a, b, c] = [await f.redis(), await f.redis(), await f.redis()];
    const listen = `127.0.0.1:${freePort()}`;
    const alpha = (servers: string[], timeout?: number): Pools => ({
      alpha: { listen, timeout, hash_tag: '"{}"', servers },
    });
    const two = [named(a, "a"), named(b, "b")];
    const three = [...two, named(c, "c")];
    const stand = await Stand.start(f, setup, alpha(two));
    const owners = async () => await routes(stand.proxy.file, "alpha");
    const before = await owners();
    stand.write(alpha(three));
    const after = await owners();
    // It moves to the new server.
    const key = KEYS.find((each) => after.get(each)!.name === "c" && before.get(each)!.name !== "c")!;
    const clients = await clientsOf(f, stand.proxy);
    const [watching, queueing] = [clients.slice(0, CLIENTS / 2), clients.slice(CLIENTS / 2)];
    for (const client of watching) strictEqual(await client.command("WATCH", key), "OK");
    for (const client of queueing) {
      strictEqual(await client.command("MULTI"), "OK");
      strictEqual(await client.command("RPUSH", key, "x"), "QUEUED");
    }
    await stand.reload(alpha(three));
    for (const client of watching) {
      deepStrictEqual(await client.pipeline(["MULTI"], ["SET", key, "never"], ["EXEC"]), [
        "OK",
        "QUEUED",
        null,
      ]);
    }
    for (const [i, client] of queueing.entries()) {
      strictEqual(await client.command("RPUSH", key, "y"), "QUEUED");
      deepStrictEqual(await client.command("EXEC"), [2 * i + 1, 2 * i + 2]);
    }
    const direct = await f.client(c);
    strictEqual(await direct.command("LLEN", key), 2 * queueing.length);
    // Another timeout moves nothing.
    for (const client of watching) strictEqual(await client.command("WATCH", key), "OK");
    await stand.reload(alpha(three, 10_000));
    for (const client of watching) {
      deepStrictEqual(await client.pipeline(["MULTI"], ["LLEN", key], ["EXEC"]), [
        "OK",
        "QUEUED",
        [2 * queueing.length],
      ]);
    }
  },
);

each(
  "reload: who waits for a list asks again when its server has gone, and waits on when nothing moves",
  async (f, setup) => {
    const [a, b] = [await f.redis(), await f.redis()];
    const listen = `127.0.0.1:${freePort()}`;
    const alpha = (server: string, timeout?: number): Pools => ({
      alpha: { listen, timeout, servers: [server] },
    });
    const stand = await Stand.start(f, setup, alpha(named(a, "a")));
    const clients = await clientsOf(f, stand.proxy);
    const direct = { a: await f.client(a), b: await f.client(b) };
    const blocked = async (client: RawClient) =>
      Number(/blocked_clients:(\d+)/.exec(String(await client.command("INFO", "clients")))![1]);
    for (const client of clients) await client.send(request("BLPOP", "list", "0"));
    await poll(async () => await blocked(direct.a) === CLIENTS, "all to wait");
    await stand.reload(alpha(named(a, "a"), 10_000));
    strictEqual(await blocked(direct.a), CLIENTS);
    await direct.a.command("RPUSH", "list", "one");
    await poll(async () => await blocked(direct.a) === CLIENTS - 1, "one to be served");
    await stand.reload(alpha(named(b, "b")));
    const replies = await Promise.all(clients.map(async (client) => (await client.readReply()).value));
    deepStrictEqual(replies.filter((reply) => reply !== null), [["list", "one"]]);
    await poll(async () => await blocked(direct.a) === 0, "nobody to wait at the server that has gone");
    for (const client of clients) await client.send(request("BLPOP", "list", "0"));
    await poll(async () => await blocked(direct.b) === CLIENTS, "all to wait again");
    await direct.b.command("RPUSH", "list", ...clients.map((_, i) => String(i)));
    for (const client of clients) ok(((await client.readReply()).value as string[])[0] === "list");
  },
);
