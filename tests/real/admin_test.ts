/** The admin side of a running proxy, with one worker and with several. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { ROUTES } from "../../src/admin/routes.ts";
import { Admin, adminYml, startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { compiled } from "../lib/repo.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml } from "../lib/servers.ts";
import { fuzzAdmin, startGuarded } from "../fuzz/admin_run.ts";

for (const [subject, workers] of [["compiled", 1], ["compiled", 2], ["deno", 1]] as const) {
  Deno.test(`${subject}, ${workers} workers: /healthz, /readyz, /api, /api/stats and /api/pools tell what is`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const yml = poolYml({ alpha: { servers, auto_eject_hosts: true, server_failure_limit: 1 } });
    const { proxy, admin } = await startAdmin(f, subject, yml, { process: [`workers: ${workers}`] });
    const client = await f.client(proxy);
    for (let i = 0; i < 20; i++) await client.command("SET", `key${i}`, "x");
    strictEqual((await admin.get("/healthz")).text, "ok\n");
    await poll(async () => (await admin.get("/readyz")).status === 200, "it to be ready");
    const { routes } = await admin.json("/api");
    ok(routes.some(({ path }: { path: string }) => path === "/api/pools"));
    const stats = await admin.json("/api/stats");
    const document = await proxy.stats() as any;
    strictEqual(stats.pools[0].counters.requests_total, 20);
    strictEqual(
      stats.pools[0].servers[0].counters.requests,
      document.alpha[stats.pools[0].servers[0].name].requests,
    );
    // Whoever looked whether it listens may not be gone yet.
    const { pools: [pool] } = await poll(async () => {
      const answer = await admin.json("/api/pools");
      return answer.pools[0].clients === 1 ? answer : null;
    }, "one client");
    deepStrictEqual([pool.name, pool.protocol, pool.distribution, pool.clients], [
      "alpha",
      "redis",
      "ketama",
      1,
    ]);
    strictEqual(pool.servers.length, 2);
    ok(Math.abs(pool.servers[0].share + pool.servers[1].share - 1) < 1e-9);
    deepStrictEqual(pool.servers.map((server: any) => server.state), ["live", "live"]);
    const head = await admin.raw("HEAD /api/pools HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    match(head, /^HTTP\/1\.1 200 [^]*\r\n\r\n$/);
  });
}

Deno.test("reload, log level, events, topology: told what has been done; no password in any answer", async () => {
  await using f = new Fixture();
  const servers = [await f.redis({ args: ["--requirepass", "hunter2-redis"] })];
  const token = "hunter2-token-of-the-admin-side";
  await Deno.writeTextFile(`${f.dir}/token`, token);
  const yml = (more: string) =>
    poolYml({ alpha: { servers, redis_auth: "hunter2-redis", timeout: 5000 } }).replace(
      "timeout",
      `${more}timeout`,
    );
  const listen = /listen: (\S+)/.exec(yml(""))![1]!;
  const pool = (more: string) => yml(more).replace(/listen: \S+/, `listen: ${listen}`);
  const process = ["workers: 2", `admin_token_file: ${f.dir}/token`];
  const { proxy, admin: stranger } = await startAdmin(f, "compiled", pool(""), { process });
  strictEqual((await stranger.get("/healthz")).status, 200);
  strictEqual((await stranger.get("/api/pools")).status, 401);
  strictEqual((await stranger.post("/api/reload")).status, 401);
  const asked = await run(await compiled(), ["top", "--once", `--admin=127.0.0.1:${stranger.port}`]);
  strictEqual(asked.code, 1);
  match(asked.stderr, /: who listens there asks for a token: --token-file, or -c/);
  const admin = new Admin(stranger.port, token);
  strictEqual((await admin.json("/api/topology")).epoch, 0);
  await Deno.writeTextFile(proxy.file, adminYml(admin.port, process) + pool("idle_timeout: 60000\n  "));
  const { status, text } = await admin.post("/api/reload");
  strictEqual(status, 200, text);
  match(JSON.parse(text).text, /^reloaded /);
  strictEqual((await admin.json("/api/topology")).epoch, 1);
  strictEqual((await admin.json("/api/config")).pools[0].idle_timeout, 60_000);
  await Deno.writeTextFile(proxy.file, "nothing: [");
  strictEqual((await admin.post("/api/reload")).status, 409);
  strictEqual((await admin.get("/api/reload")).status, 405);
  const { last, events } = await admin.json("/api/events");
  deepStrictEqual(events.map((event: any) => [event.id, event.kind, event.cause]), [[1, "reload", "admin"]]);
  deepStrictEqual((await admin.json(`/api/events?after=${last}`)).events, []);
  strictEqual((await admin.get("/api/events?after=x")).status, 400);
  strictEqual((await admin.get("/api/events?before=1")).status, 400);
  const other = pool("").replace("alpha", "beta").replace(/admin:.*/, "");
  const { pools } = JSON.parse((await admin.post("/api/plan", other)).text);
  deepStrictEqual(pools.map(({ name, change }: any) => [name, change]).sort(), [["alpha", "removed"], [
    "beta",
    "added",
  ]]);
  const wrong = await admin.post("/api/plan", other.replace("servers:", "servrs:"));
  strictEqual(wrong.status, 400);
  match(
    JSON.parse(wrong.text).error,
    /:\d+:\d+: servrs: found a key that is none of a pool, expected perhaps servers/,
  );
  const stolen = await admin.post(
    "/api/plan",
    "p: { listen: 127.0.0.1:1, servers_from: { file: /etc/passwd } }",
  );
  deepStrictEqual([stolen.status, /root/.test(stolen.text)], [400, false]);
  deepStrictEqual(JSON.parse((await admin.post("/api/log-level?level=debug")).text), {
    level: 7,
    name: "debug",
  });
  strictEqual((await admin.post("/api/log-level?level=loud")).status, 400);
  for (const { method, path, parameters = [] } of ROUTES) {
    if (method !== "GET") continue;
    const query = parameters.filter(({ required }) => required).map(({ name }) => `${name}=alpha`).join("&");
    const answer = await admin.raw(
      `GET ${path}?${query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
    );
    ok(answer.startsWith("HTTP/1.1 "), path);
    ok(!answer.includes("hunter2"), `${path} shows a password`);
  }
});

for (const workers of [1, 2]) {
  Deno.test(`${workers} workers: a server is ejected, drained and restored by hand`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const names = ["first", "second/server"];
    const yml = poolYml({
      alpha: { servers: servers.map(({ address }, i) => `"${address}:1 ${names[i]}"`) },
    });
    const { proxy, admin } = await startAdmin(f, "compiled", yml, { process: [`workers: ${workers}`] });
    const clients = await Promise.all(Array.from({ length: 4 }, () => f.client(proxy)));
    const direct = await Promise.all(servers.map((server) => f.client(server)));
    const path = (at: number, action: string) => `/api/servers/${encodeURIComponent(names[at]!)}/${action}`;
    const stateOf = async (at: number) => {
      const { pools: [{ servers: all }] } = await admin.json("/api/pools");
      return all.find((server: any) => server.name === names[at]).state;
    };
    // Until every worker has answered, and so looked: one that is busy is left out. What is done already is no event.
    const done = (at: number, action: string, query = "") =>
      poll(async () => {
        const { status, text } = await admin.post(path(at, action) + query);
        const answer = JSON.parse(text);
        if (status !== 200) throw new Error(text);
        return answer.workers === workers ? answer : null;
      }, `${action} of ${names[at]}`);
    const write = async () => {
      for (const client of clients) {
        for (let i = 0; i < 40; i++) strictEqual(await client.command("SET", `key${i}`, "x"), "OK");
      }
    };
    const sizes = async () => await Promise.all(direct.map((client) => client.command("DBSIZE")));
    await write();
    const [first, second] = await sizes() as [number, number];
    strictEqual(first + second, 40);
    // Off the ring at once, for all workers.
    strictEqual((await done(0, "eject")).state, "ejected");
    strictEqual(await stateOf(0), "ejected");
    await direct[0]!.command("FLUSHALL");
    await write();
    deepStrictEqual(await sizes(), [0, 40]);
    const told = await admin.json("/api/route?key=key1");
    strictEqual(told.server, names[1]);
    ok(told.skipped.every(({ server, why }: any) => server === names[0] && /by hand/.test(why)));
    // Never the last one by mistake.
    const last = await admin.post(path(1, "eject"));
    deepStrictEqual([last.status, /force/.test(last.text)], [409, true]);
    const none = await admin.post("/api/servers/none/eject");
    deepStrictEqual([none.status, none.text.includes(`expected one of ${names.join(", ")}`)], [404, true]);
    strictEqual((await admin.get(path(0, "eject"))).status, 405);
    strictEqual((await done(0, "restore")).state, "live");
    await direct[1]!.command("FLUSHALL");
    await write();
    deepStrictEqual(await sizes(), [first, second]);
    // Drained: what is in flight finishes, and no connection stays.
    await done(1, "drain", "?pool=alpha");
    strictEqual(await stateOf(1), "drained");
    await poll(
      async () => {
        const { pools: [{ servers: all }] } = await admin.json("/api/stats");
        return all.find((server: any) => server.name === names[1]).counters.server_connections === 0;
      },
      "its connections to close",
    );
    await write();
    deepStrictEqual(await sizes(), [40, second]);
    await done(1, "restore");
    const { events } = await admin.json("/api/events");
    deepStrictEqual(events.map(({ kind }: any) => kind), ["ejected", "returned", "drained", "returned"]);
    // With force the last one too: then there is nobody to ask.
    await done(0, "eject");
    await done(1, "eject", "?force");
    match(String(await clients[0]!.command("GET", "key1").catch((error: Error) => error.message)), /ERR/);
    strictEqual((await admin.get("/readyz")).status, 503);
  });
}

Deno.test("a pool whose servers have all been down is ready again although nobody asks it for anything", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  const { proxy, admin } = await startAdmin(f, "compiled", poolYml({ alpha: { servers: [server] } }), {
    process: ["workers: 2"],
  });
  const write = async () => await (await f.client(proxy)).command("SET", "a", "1");
  strictEqual(await write(), "OK");
  await server.crash();
  await poll(async () => await write() instanceof ReplyError, "a worker to see that it is down");
  // Said by whoever has tried, be it one of two.
  await poll(async () => (await admin.get("/readyz")).status === 503, "it not to be ready");
  await server.start();
  await poll(async () => (await admin.get("/readyz")).status === 200, "it to be ready");
  const { pools: [{ servers: [{ state }] }] } = await admin.json("/api/pools");
  strictEqual(state, "live");
});

Deno.test("the admin side is fuzzed, with slow clients and a crowd, and a client of the proxy never notices", async () => {
  await using f = new Fixture();
  const { proxy, admin, password, secrets } = await startGuarded(f, "compiled", 1);
  // Whatever there is to read, as it is; the fuzzer asks for much that is refused.
  for (const { method, path } of ROUTES) {
    if (method !== "GET" || path === "/api/live" || path === "/api/tap") continue;
    const { status, text } = await admin.get(`${path}${path === "/api/route" ? "?pool=beta&key=a" : ""}`);
    strictEqual(status, 200, path);
    deepStrictEqual(secrets.filter((secret) => text.includes(secret)), [], path);
  }
  const options = { requests: 800, seed: 7, fuzzers: 16, crowd: 400, sluggards: 8, password, secrets };
  const { faults, calls } = await fuzzAdmin(admin, proxy.target, options);
  deepStrictEqual(faults, []);
  ok(calls > 0);
});

Deno.test("/api/pools?max_age_ms: who says how old an answer may be shares it with others, until something has happened", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two"][k]}`);
  const { admin } = await startAdmin(f, "compiled", poolYml({ alpha: { servers: lines } }));
  const shared = "/api/pools?max_age_ms=10000";
  const told = await admin.json(shared);
  const fresh = await admin.json("/api/pools");
  // Never more than one answer is kept: the newest.
  const again = await admin.json(shared);
  ok([told.at, fresh.at].includes(again.at));
  strictEqual((await admin.post("/api/servers/one/drain")).status, 200);
  strictEqual((await admin.json(shared)).pools[0].servers[0].state, "drained");
  strictEqual((await admin.get("/api/pools?max_age_ms=x")).status, 400);
});
