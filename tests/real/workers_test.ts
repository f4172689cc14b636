/**
 * workers: N. Several threads are to be one proxy to everybody outside: one set of answers, limits, statistics and
 * ejections, one start and one stop; and a thread that dies takes nobody with it.
 *
 * Which worker a client came to is in its CLIENT ID (WORKER_IDS each). A worker is made to throw by a text that
 * RINGMASTER_TEST_CRASH names, sent by one of its clients (src/runtime/crash_net.ts).
 */
import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { adminYml } from "../lib/admin.ts";
import { request } from "../lib/bytes.ts";
import type { RawClient, Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, within } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { exists } from "../lib/repo.ts";
import { ReplyError } from "../lib/resp.ts";
import {
  freeze,
  type PoolKeys,
  poolYml,
  type Proxy,
  type ProxyOptions,
  type Runtime,
  RUNTIMES,
} from "../lib/servers.ts";

/** What lies between the first CLIENT ID of one worker and that of the next. */
const WORKER_IDS = 2 ** 40;
const MAGIC = "make-this-worker-throw";
/** The classic counters, which may never go backwards. */
const POOL_COUNTERS = ["client_eof", "client_err", "server_ejects", "forward_error", "fragments"];
const SERVER_COUNTERS = [
  "server_eof",
  "server_err",
  "server_timedout",
  "requests",
  "request_bytes",
  "responses",
  "response_bytes",
];

type Counts = Record<string, number>;

async function start(
  f: Fixture,
  runtime: Runtime,
  workers: number | string,
  keys: PoolKeys,
  options: ProxyOptions & { process?: string } = {},
): Promise<Proxy> {
  const yml = `ringmaster: { workers: ${workers}${options.process ?? ""} }\n` +
    poolYml({ alpha: { hash: "md5", ...keys } });
  const proxy = await f.proxy(runtime, yml, { env: { RINGMASTER_TEST_CRASH: MAGIC }, ...options });
  // The port answers when the first worker listens.
  if (options.wait !== false) {
    await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
  }
  return proxy;
}

async function workerOf(client: RawClient): Promise<number> {
  return Math.floor(await client.command("CLIENT", "ID") as number / WORKER_IDS);
}

/** Connects until each worker has `each` clients; the others are closed. By worker. */
async function clientsOfEach(f: Fixture, to: Proxy, workers: number, each = 1): Promise<RawClient[][]> {
  const found: RawClient[][] = Array.from({ length: workers }, () => []);
  await poll(async () => {
    const client = await f.client(to);
    const mates = found[await workerOf(client)]!;
    if (mates.length < each) mates.push(client);
    else client.close();
    return found.every((mates) => mates.length === each);
  }, () => `${each} clients on each worker; there are ${found.map((mates) => mates.length)}`);
  return found;
}

/** Makes the client's worker throw; resolves when the client's connection is closed. */
async function crash(client: RawClient): Promise<void> {
  await client.send(request("GET", MAGIC));
  strictEqual(await client.readToEnd(), "");
}

async function poolCounts(proxy: Proxy): Promise<Counts> {
  return (await proxy.stats()).alpha as Counts;
}

function serverCounts(pool: Counts): Counts[] {
  return Object.values(pool).filter((value) => typeof value === "object") as unknown as Counts[];
}

/** Fails if a counter of `after` is below that of `before`. */
function monotonic(before: Counts, after: Counts): void {
  for (const name of POOL_COUNTERS) ok(after[name]! >= before[name]!, `${name} fell`);
  for (const [i, row] of serverCounts(after).entries()) {
    for (const name of SERVER_COUNTERS) ok(row[name]! >= serverCounts(before)[i]![name]!, `${name} fell`);
  }
}

async function refused(f: Fixture, to: Proxy): Promise<boolean> {
  // Where many are refused at once, not everyone gets to read why.
  return await refusedInWords(f, to) ?? true;
}

/** As `refused` after a worker has died: whom its listener still takes into its queue is reset, and tries again. */
async function refusedByTheLiving(f: Fixture, to: Proxy): Promise<boolean> {
  let answer: boolean | null = null;
  await poll(async () => (answer = await refusedInWords(f, to)) !== null, "an answer");
  return answer!;
}

/** Null if the connection ends without a word. */
async function refusedInWords(f: Fixture, to: Proxy): Promise<boolean | null> {
  const client = await f.client(to);
  let answer;
  try {
    await client.send(request("PING"));
    answer = (await client.readReply()).value;
  } catch {
    return null;
  }
  if (answer === "PONG") return false;
  ok(answer instanceof ReplyError && /max number of clients/.test(answer.message), String(answer));
  client.close();
  return true;
}

function threads(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].length;
}

type Case = (f: Fixture, runtime: Runtime, workers: number) => Promise<void>;

const CASES: Record<string, Case> = {
  "50 clients read what they should, and the sums are exact": async (f, runtime, workers) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await start(f, runtime, workers, { servers });
    const clients: RawClient[] = [];
    for (let i = 0; i < 50; i++) clients.push(await f.client(proxy));
    const seen = new Set(await Promise.all(clients.map(workerOf)));
    strictEqual(seen.size, workers, "every worker has clients");
    const rounds = 40;
    const counted: number[] = [];
    await Promise.all(clients.map(async (client, c) => {
      for (let i = 0; i < rounds; i++) {
        const [set, count, got, many] = await client.pipeline(
          ["SET", `own${c}`, `${c}:${i}`],
          ["INCR", "all"],
          ["GET", `own${c}`],
          ["MGET", `own${c}`, "absent-a", `own${c}`],
        );
        strictEqual(set, "OK");
        strictEqual(got, `${c}:${i}`);
        deepStrictEqual(many, [`${c}:${i}`, null, `${c}:${i}`]);
        counted.push(count as number);
      }
    }));
    const total = clients.length * rounds;
    deepStrictEqual(counted.sort((a, b) => a - b), Array.from({ length: total }, (_, i) => i + 1));

    const document = await proxy.stats();
    const pool = document.alpha as Counts;
    const rows = serverCounts(pool);
    const sum = (name: string) => rows.reduce((all, row) => all + row[name]!, 0);
    const direct = await Promise.all(servers.map((server) => f.client(server)));
    let mgets = 0;
    for (const client of direct) {
      const stats = await client.command("INFO", "commandstats") as string;
      mgets += Number(/cmdstat_mget:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    }
    strictEqual(sum("requests"), 3 * total + mgets);
    strictEqual(sum("responses"), 3 * total + mgets);
    strictEqual(pool.client_connections, clients.length);
    for (const gauge of ["in_queue", "in_queue_bytes", "out_queue", "out_queue_bytes"]) {
      strictEqual(sum(gauge), 0, gauge);
    }
    strictEqual(sum("server_connections"), workers * servers.length);
    // Each worker has a listener.
    strictEqual(document.curr_connections, clients.length + workers * (servers.length + 1));
    strictEqual(document.total_connections, document.curr_connections as number + pool.client_eof!);
  },

  "queues of all workers are in the sums": async (f, runtime, workers) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    const clients = (await clientsOfEach(f, proxy, workers, 2)).flat();
    for (const client of clients) await client.command("PING");
    for (const client of clients) strictEqual(await client.command("SET", "a", "1"), "OK");
    await freeze(redis);
    for (const client of clients) await client.send(request("GET", "a"));
    const queued = () => clients.length;
    await poll(async () => {
      const [row] = serverCounts(await poolCounts(proxy));
      return row!.in_queue! + row!.out_queue! === queued();
    }, "all requests to be queued");
    redis.kill("SIGCONT");
    for (const client of clients) strictEqual((await client.readReply()).value, "1");
    const [row] = serverCounts(await poolCounts(proxy));
    strictEqual(row!.in_queue! + row!.out_queue!, 0);
  },

  "a worker that throws is replaced; the others notice nothing, and no counter falls": async (
    f,
    runtime,
    workers,
  ) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    let requests = 0;
    let before = await poolCounts(proxy);
    // Worker 1 twice, so that a replacement dies too.
    for (const victim of [1, 0, 1]) {
      const clients = await clientsOfEach(f, proxy, workers, 2);
      for (const client of clients.flat()) {
        strictEqual(typeof await client.command("INCR", "n"), "number");
        requests++;
      }
      const others = clients.filter((_, worker) => worker !== victim).flat();
      let over = false;
      const traffic = others.map(async (client, i) => {
        let count = 0;
        do {
          strictEqual(await client.command("SET", `k${i}`, `v${count}`), "OK");
          strictEqual(await client.command("GET", `k${i}`), `v${count}`);
          count++;
        } while (!over);
        return 2 * count;
      });
      const [first, second] = clients[victim]!;
      await crash(first!);
      strictEqual(await second!.readToEnd(), "");
      const after = await poolCounts(proxy);
      monotonic(before, after);
      const [back] = (await clientsOfEach(f, proxy, workers))[victim]!;
      strictEqual(typeof await back!.command("INCR", "n"), "number");
      requests++;
      over = true;
      for (const count of await Promise.all(traffic)) requests += count;
      before = await poolCounts(proxy);
      monotonic(after, before);
      strictEqual(serverCounts(before)[0]!.requests, requests, "requests of dead workers count too");
      await back!.command("PING");
      for (const client of clients.flat()) client.close();
    }
    match(proxy.log, /w1 died, \d+ clients lost: Error: RINGMASTER_TEST_CRASH was received\\n {4}at /);
    strictEqual(proxy.log.match(/died/g)?.length, 3);
    await poll(async () => (await poolCounts(proxy)).client_connections! < 3 * workers, "clients to leave");
    const { code } = await proxy.stop();
    strictEqual(code, 0);
  },

  "a worker that keeps dying is replaced ever more slowly": async (f, runtime, workers) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    for (let i = 0; i < 4; i++) await crash((await clientsOfEach(f, proxy, workers))[0]![0]!);
    await poll(() => proxy.log.match(/w0 will be replaced/g)?.length === 4, "the log");
    const waits = [...proxy.log.matchAll(/w0 will be replaced in (\d+) ms/g)].map((m) => Number(m[1]));
    deepStrictEqual(waits, [50, 100, 200, 400]);
  },

  "client_connections limits the process, and a dead worker's clients leave their places": async (
    f,
    runtime,
    workers,
  ) => {
    const redis = await f.redis();
    const limit = 12;
    const proxy = await start(f, runtime, workers, { servers: [redis], client_connections: limit });
    await poll(async () => (await poolCounts(proxy)).client_connections === 0, "the first probe to leave");
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async () => {
        // Where many are refused at once, not everyone gets to read why, or even to hear of being connected.
        const client = await f.client(proxy).catch(() => null);
        try {
          await client?.send(request("CLIENT", "ID"));
          return { client, answer: (await client?.readReply())?.value };
        } catch {
          return { client, answer: null };
        }
      }),
    );
    const inside = outcomes.filter(({ answer }) => typeof answer === "number");
    strictEqual(inside.length, limit);
    strictEqual((await poolCounts(proxy)).client_connections, limit);
    // Those who close leave their places to others, on whichever worker those come in.
    for (const { client } of inside.slice(0, 3)) client!.close();
    await poll(async () => (await poolCounts(proxy)).client_connections === limit - 3, "three to leave");
    for (let i = 0; i < 3; i++) strictEqual(await refused(f, proxy), false);
    strictEqual(await refused(f, proxy), true);
    // And so do those who lose their worker.
    const victim = inside[3]!;
    await crash(victim.client!);
    const left = await poll(async () => {
      const { client_connections } = await poolCounts(proxy);
      return client_connections! < limit && client_connections! + 1;
    }, "the clients of the dead worker to be forgotten") - 1;
    await poll(
      () => /w\d listening/.test(proxy.log.slice(proxy.log.indexOf("will be replaced"))),
      "the new worker",
    );
    for (let i = left; i < limit; i++) {
      strictEqual(await refusedByTheLiving(f, proxy), false, `place ${i} of ${limit}`);
    }
    strictEqual(await refused(f, proxy), true);
  },

  "an ejection by one worker holds for all, and so does the return": async (f, runtime, workers) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await start(f, runtime, workers, {
      servers,
      auto_eject_hosts: true,
      server_failure_limit: 2,
      server_retry_timeout: 300,
      timeout: 2000,
    });
    const clients = (await clientsOfEach(f, proxy, workers)).map((mates) => mates[0]!);
    const direct = await f.client(servers[0]!);
    let key = "";
    for (let i = 0; key === ""; i++) {
      strictEqual(await clients[0]!.command("SET", `key${i}`, "before"), "OK");
      if (await direct.command("EXISTS", `key${i}`) === 1) key = `key${i}`;
    }
    await servers[0]!.crash();
    // Only clients of the last worker run into it …
    const scout = clients.at(-1)!;
    await poll(async () => await scout.command("SET", key, "meanwhile") === "OK", "the ejection");
    const pool = await poolCounts(proxy);
    strictEqual(pool.server_ejects, 1);
    ok(serverCounts(pool).some((row) => row.server_ejected_at! > Date.now() * 1000 - 60e6));
    // … and everybody finds the key's new place, without a single error once they have been told.
    await poll(async () => {
      const answers = await Promise.all(clients.map((client) => client.command("GET", key)));
      return answers.every((answer) => answer === "meanwhile");
    }, "all workers to know");
    strictEqual((await poolCounts(proxy)).server_ejects, 1);

    // The worker that would probe dies: another one has to.
    await crash(scout);
    await servers[0]!.start();
    await poll(async () => {
      const answers = await Promise.all(clients.slice(0, -1).map((client) => client.command("GET", key)));
      return answers.every((answer) => answer === null);
    }, "the server's return");
    const [newcomer] = (await clientsOfEach(f, proxy, workers)).at(-1)!;
    strictEqual(await newcomer!.command("GET", key), null);
    match(proxy.log, /w\d update pool 'alpha' to add server/);
  },

  "max_ejected holds over all workers": async (f, runtime, workers) => {
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const proxy = await start(f, runtime, workers, {
      servers,
      auto_eject_hosts: true,
      max_ejected: "50%",
      server_failure_limit: 1,
      server_retry_timeout: 60_000,
      timeout: 2000,
    });
    const clients = (await clientsOfEach(f, proxy, workers)).map((mates) => mates[0]!);
    const keys = Array.from({ length: 30 }, (_, i) => `key${i}`);
    const ask = () =>
      Promise.all(clients.map((client) => client.pipeline(...keys.map((key) => ["SET", key, "1"]))));
    ok((await ask()).flat().every((answer) => answer === "OK"));
    await Promise.all(servers.map((server) => server.crash()));
    const stays = () => proxy.log.match(/server '[^']+' fails but stays on the ring/g) ?? [];
    await poll(async () => {
      await ask();
      return stays().length >= 2;
    }, "all three to fail");
    await ask();
    strictEqual((await poolCounts(proxy)).server_ejects, 1);
    strictEqual(new Set(stays()).size, 2);
    strictEqual(stays().length, 2, "said once, by whichever worker");
    for (const answer of (await ask()).flat()) {
      ok(answer instanceof ReplyError && !/no live server/.test(answer.message));
    }
  },

  "a worker that starts while a server is ejected knows": async (f, runtime, workers) => {
    const servers = [await f.redis(), await f.redis()];
    const proxy = await start(f, runtime, workers, {
      servers,
      auto_eject_hosts: true,
      server_failure_limit: 1,
      server_retry_timeout: 60_000,
    });
    const clients = (await clientsOfEach(f, proxy, workers)).map((mates) => mates[0]!);
    await servers[0]!.crash();
    await servers[1]!.crash();
    await poll(async () => {
      for (let i = 0; i < 8; i++) await clients[1]!.command("GET", `key${i}`);
      return (await poolCounts(proxy)).server_ejects === 2;
    }, "both to be ejected");
    await crash(clients[0]!);
    const [newcomer] = (await clientsOfEach(f, proxy, workers))[0]!;
    await servers[1]!.start();
    const answer = await newcomer!.command("GET", "key0");
    ok(answer instanceof ReplyError, `nothing is live, found ${answer}`);
    strictEqual((await poolCounts(proxy)).server_ejects, 2);
  },

  "a unix socket is served by worker 0, and by its replacement": async (f, runtime, workers) => {
    const redis = await f.redis();
    const path = `${f.dir}/front.sock`;
    const proxy = await start(f, runtime, workers, { servers: [redis], listen: `${path} 0600` });
    strictEqual((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
    const target: Target = { path };
    for (let i = 0; i < 5; i++) {
      const client = await f.client(target);
      strictEqual(await workerOf(client), 0);
      strictEqual(await client.command("INCR", "n"), i + 1);
    }
    await crash(await f.client(target));
    const client = await poll(async () => {
      const client = await f.client(target);
      return await client.command("PING") === "PONG" && client;
    }, "the replacement to listen");
    strictEqual(await client.command("INCR", "n"), 6);
    strictEqual((await proxy.stop()).code, 0);
    ok(!exists(path), "the socket's file is removed");
  },

  "TERM in the middle of traffic loses no reply": async (f, runtime, workers) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    const clients = (await clientsOfEach(f, proxy, workers, 4)).flat();
    let replies = 0;
    const traffic = clients.map(async (client) => {
      for (;;) {
        try {
          await client.send(request("INCR", "n"));
          await client.readReply();
          replies++;
        } catch {
          return;
        }
      }
    });
    await poll(() => replies > 50 * clients.length, "traffic");
    const { code } = await proxy.stop();
    strictEqual(code, 0);
    await Promise.all(traffic);
    const direct = await f.client(redis);
    strictEqual(await direct.command("GET", "n"), String(replies));
    match(proxy.log, /stopped\n$/);
    for (let w = 0; w < workers; w++) match(proxy.log, new RegExp(`w${w} stopping: \\d+ clients to finish`));
  },

  "shutdown_timeout holds for all workers, and a second signal for all at once": async (
    f,
    runtime,
    workers,
  ) => {
    const redis = await f.redis();
    for (const second of [false, true]) {
      const timeout = second ? 600_000 : 300;
      const proxy = await start(f, runtime, workers, { servers: [redis] }, {
        process: `, shutdown_timeout: ${timeout}`,
      });
      const clients = (await clientsOfEach(f, proxy, workers)).flat();
      for (const client of clients) strictEqual(await client.command("SET", "a", "1"), "OK");
      await freeze(redis);
      for (const client of clients) await client.send(request("GET", "a"));
      await poll(async () => {
        const [row] = serverCounts(await poolCounts(proxy));
        return row!.in_queue! + row!.out_queue! === workers;
      }, "requests in flight");
      proxy.kill("SIGTERM");
      if (second) {
        await poll(() => /signal SIGTERM/.test(proxy.log), "the first signal");
        proxy.kill("SIGTERM");
      }
      strictEqual((await within(proxy.exit, "the end")).code, 0);
      if (!second) match(proxy.log, new RegExp(`${workers} clients were cut off after shutdown_timeout`));
      for (const client of clients) await client.readToEnd();
      redis.kill("SIGCONT");
    }
  },

  "HUP opens the log anew for all workers, and TTIN raises the level of all": async (f, runtime, workers) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    const old = `${proxy.logFile}.1`;
    Deno.renameSync(proxy.logFile, old);
    proxy.kill("SIGHUP");
    await poll(() => exists(proxy.logFile), "the new log");
    proxy.kill("SIGTTIN");
    await poll(() => /log level is 6/.test(proxy.log), "the level");
    for (const [client] of await clientsOfEach(f, proxy, workers)) await client!.command("GET", "a");
    for (let w = 0; w < workers; w++) {
      await poll(() => new RegExp(`w${w} connected to server`).test(proxy.log), `a line of w${w}`);
    }
    ok(!/connected to server/.test(Deno.readTextFileSync(old)));
  },

  "a port in use is a failure to start, also if its owner would share it": async (f, runtime, workers) => {
    const redis = await f.redis();
    const first = await start(f, runtime, workers, { servers: [redis] });
    const pidFile = `${f.dir}/second.pid`;
    const second = await start(f, runtime, workers, {
      servers: [redis],
      listen: `127.0.0.1:${first.port}`,
    }, { wait: false, args: ["-p", pidFile] });
    strictEqual((await within(second.exit, "the second to give up")).code, 1);
    match(second.log, /cannot start: listen 127\.0\.0\.1:\d+: Address already in use/);
    ok(!exists(pidFile));
    strictEqual(await (await f.client(first)).command("PING"), "PONG");
  },

  "a worker that cannot listen is a failure to start": async (f, runtime, workers) => {
    const redis = await f.redis();
    const path = `${f.dir}/taken`;
    Deno.writeTextFileSync(path, "not a socket");
    const proxy = await start(f, runtime, workers, { servers: [redis], listen: path }, { wait: false });
    strictEqual((await within(proxy.exit, "it to give up")).code, 1);
    match(proxy.log, /cannot start: listen .*: a file that is not a socket is there/);
  },

  "nothing is left behind by replaced workers": async (f, runtime, workers) => {
    const redis = await f.redis();
    const proxy = await start(f, runtime, workers, { servers: [redis] });
    const files = () => [...Deno.readDirSync(`/proc/${proxy.pid}/fd`)].length;
    let [threadsBefore, filesBefore] = [0, 0];
    for (let i = 0; i < 4; i++) {
      const clients = await clientsOfEach(f, proxy, workers);
      for (const [client] of clients) await client!.command("GET", "a");
      if (i === 1) [threadsBefore, filesBefore] = [threads(proxy.pid), files()];
      await crash(clients[0]![0]!);
      for (const [client] of clients) client!.close();
    }
    const clients = await clientsOfEach(f, proxy, workers);
    for (const [client] of clients) await client!.command("GET", "a");
    await poll(() => threads(proxy.pid) <= threadsBefore, () => `${threadsBefore} threads again`);
    await poll(() => files() <= filesBefore, () => `${filesBefore} files again; there are ${files()}`);
  },
};

const RUNS: [Runtime, number][] = [["deno", 2], ["compiled", 2], ["compiled", 4]];

for (const [name, check] of Object.entries(CASES)) {
  Deno.test(`workers: ${name}`, async (t) => {
    for (const [runtime, workers] of RUNS) {
      await t.step(`${runtime}, ${workers} workers`, async () => {
        await using f = new Fixture();
        await check(f, runtime, workers);
      });
    }
  });
}

Deno.test("workers: the pid file is written when all listen, and auto means one a core", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  const pidFile = `${f.dir}/auto.pid`;
  const listen = `127.0.0.1:${freePort()}`;
  const proxy = await start(f, "compiled", "auto", { servers: [redis], listen }, {
    args: ["-p", pidFile],
    wait: false,
  });
  await poll(() => exists(pidFile), "the pid file");
  const cores = navigator.hardwareConcurrency;
  if (cores > 1) match(proxy.log, new RegExp(`${cores} workers are listening`));
  strictEqual(Deno.readTextFileSync(pidFile), String(proxy.pid));
  strictEqual((await proxy.stop()).code, 0);
  ok(!exists(pidFile));
});

Deno.test("workers: --workers wins over the file, and 1 means no threads", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  const proxy = await start(f, "compiled", 2, { servers: [redis] }, {
    args: ["--workers", "1"],
    wait: false,
  });
  await proxy.waitReady();
  ok(!/w0|workers are/.test(proxy.log), proxy.log);
  const client = await f.client(proxy);
  strictEqual(await workerOf(client), 0);
});

Deno.test("workers: per_address and per_user count over all of them, and a dead worker's connections leave their places", async () => {
  await using f = new Fixture();
  const redis = await f.redis();
  const rate = 400;
  const beganMs = performance.now();
  const yml = "ringmaster: { workers: 2 }\n" + poolYml({
    alpha: { servers: [redis], per_address: "{ max_connections: 4 }" },
    beta: { servers: [redis], per_address: `{ max_requests_per_s: ${rate} }` },
    gamma: {
      servers: [redis],
      users: '[ { name: default, nopass: true, rules: "+@all ~*" } ]',
      per_user: `{ max_requests_per_s: ${rate} }`,
    },
  });
  const proxy = await f.proxy("compiled", yml, { env: { RINGMASTER_TEST_CRASH: MAGIC } });
  await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
  for (const [at, key] of [[1, "per_address"], [2, "per_user"]] as const) {
    const clients: RawClient[] = [];
    await poll(async () => {
      clients.push(await f.client(proxy.targets[at]!));
      return new Set(await Promise.all(clients.map(workerOf))).size === 2;
    }, "a client on each worker");
    let [through, refusals] = [0, 0];
    await poll(async () => {
      const before = through;
      await Promise.all(clients.map(async (client) => {
        for (const reply of await client.pipeline(...Array.from({ length: 100 }, () => ["GET", "a"]))) {
          if (!(reply instanceof ReplyError)) through++;
          else {
            refusals++;
            match(reply.message, new RegExp(`^TRYAGAIN max_requests_per_s of ${key} is reached: 400\\.`));
          }
        }
      }));
      return through > 1.5 * rate && refusals > 0 && through > before;
    }, "some to get through after the first ones");
    const due = rate * (1 + (performance.now() - beganMs) / 1000);
    ok(through <= due + 2, `${through} of ${due}`);
    // Servers are asked for the rest of INFO: it may be refused too.
    await poll(
      async () => /ringmaster_limit_requests_per_s:[1-9]/.test(await info(clients[0]!)),
      "the counter",
    );
  }

  const inside: RawClient[] = [];
  await poll(async () => {
    const client = await f.client(proxy);
    if (await client.command("PING").catch(() => null) !== "PONG") return true;
    inside.push(client);
  }, "one too many");
  ok(inside.length <= 4);
  await crash(inside[0]!);
  await poll(async () => {
    const client = await f.client(proxy).catch(() => null);
    return await client?.command("PING").catch(() => null) === "PONG";
  }, "a place that the dead worker's client had");
});

async function info(client: RawClient): Promise<string> {
  return String(await client.command("INFO", "ringmaster").catch((error) => error));
}

for (const runtime of RUNTIMES) {
  Deno.test(`workers: TERM while they start ends the process in good order (${runtime})`, async () => {
    await using f = new Fixture();
    const redis = await f.redis();
    const yml = adminYml(freePort(), ["workers: 2"]) + poolYml({ alpha: { servers: [redis] } });
    const proxy = await f.proxy(runtime, yml, { wait: false });
    // Signals are heeded by then; workers have hardly been made.
    await poll(() => proxy.log.includes("admin on"), "the admin side");
    proxy.kill("SIGTERM");
    strictEqual((await within(proxy.exit, "the proxy to end")).code, 0);
    doesNotMatch(proxy.log, /cannot start/);
  });
}
