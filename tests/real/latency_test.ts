/** Times of requests, over real servers: nothing is lost or counted twice, and a server's time is its own. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Admin, adminYml, startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { poolYml } from "../lib/servers.ts";

/** Counts of what waited here and of what was served, by class. */
async function counts(admin: Admin): Promise<Record<string, [number, number]>> {
  const { pools: [pool] } = await admin.json("/api/latency?pool=alpha");
  return Object.fromEntries(
    pool.classes.map((one: any) => [one.class, [one.waited.count, one.served.count]]),
  );
}

Deno.test("two workers: each request is counted once by its pool, each fragment by its server, through a reload", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const yml = poolYml({ alpha: { servers } });
  const { proxy, admin } = await startAdmin(f, "compiled", yml, { process: ["workers: 2"] });
  const clients = await Promise.all(Array.from({ length: 6 }, () => f.client(proxy)));
  const ask = async () => {
    for (const client of clients) {
      for (let i = 0; i < 10; i++) await client.command("SET", `key${i}`, "x");
      await client.command("GET", "key1");
      await client.command("MGET", ...Array.from({ length: 10 }, (_, i) => `key${i}`));
      await client.command("PING");
      await client.command("LPUSH", "list", "x");
      await client.command("BLPOP", "list", "0");
      await client.command("MULTI");
      await client.command("SET", "key1", "y");
      await client.command("EXEC");
    }
  };
  const expected = (times: number) => ({
    read: [6 * times, 6 * times],
    write: [66 * times, 66 * times],
    multi_key: [6 * times, 6 * times],
    // MULTI and what is queued are answered here.
    transaction: [18 * times, 6 * times],
    other: [6 * times, 0],
    blocking: [6 * times, 6 * times],
  });
  await ask();
  deepStrictEqual(await counts(admin), expected(1));
  const listen = /listen: (\S+)/.exec(yml)![1]!;
  const next = poolYml({ alpha: { servers: [...servers, await f.redis()], timeout: 60_000 } })
    .replace(/listen: \S+/, `listen: ${listen}`);
  await Deno.writeTextFile(proxy.file, adminYml(admin.port, ["workers: 2"]) + next);
  const { status, text } = await admin.post("/api/reload");
  strictEqual(status, 200, text);
  await ask();
  deepStrictEqual(await counts(admin), expected(2));
  const { pools: [pool] } = await admin.json("/api/latency");
  const { pools: [{ counters, servers: told }] } = await admin.json("/api/pools");
  const all = pool.classes.reduce((sum: number, one: any) => sum + one.waited.count, 0);
  strictEqual(all, counters.requests_total);
  const fragments = pool.servers.flatMap((server: any) =>
    server.classes.filter((one: any) => one.class === "multi_key").map((one: any) => one.served.count)
  ).reduce((sum: number, count: number) => sum + count, 0);
  ok(fragments >= 12 && fragments <= counters.fragments + 12, `${fragments} fragments`);
  // Of three servers one may have none of these keys, and then no times: it depends on their addresses.
  const served = told.flatMap(({ latency }: any) => latency === null ? [] : [latency]);
  ok(served.length > 0);
  for (const { p50_us, p99_us } of served) ok(p99_us >= p50_us);
});

Deno.test("a server that takes 100 ms is told to take that, and what blocks is told apart", async () => {
  await using f = new Fixture();
  const { proxy, admin } = await startAdmin(
    f,
    "compiled",
    poolYml({ alpha: { servers: [await f.redis()] } }),
  );
  const client = await f.client(proxy);
  const times = async (name: string) => {
    const { pools: [pool] } = await admin.json("/api/latency");
    return pool.classes.find((one: any) => one.class === name);
  };
  // A stop of the proxy itself in that time is left out.
  let steps = STEPS;
  await poll(async () => {
    await client.command("EVAL", busyFor(steps *= 2), "0");
    return (await times("script")).served.max_us >= 97_000;
  }, "100 ms of a server");
  const { waited, served } = await times("script");
  strictEqual(served.count, waited.count);
  await client.command("BLPOP", "none", "0.05");
  strictEqual((await times("blocking")).served.count, 1);
  strictEqual((await times("write")) ?? null, null);
});

/** Of a loop in Lua: some ms, on any machine. */
const STEPS = 500_000;

/** Keeps a server busy: not for a time by its own clock, which stands still while a script runs since Redis 7.2. */
const busyFor = (steps: number) => `for i = 1, ${steps} do end return 1`;

Deno.test("the slow log has the words of a request that much lies behind", async () => {
  await using f = new Fixture();
  const yml = poolYml({ alpha: { servers: [await f.redis()], slowlog_threshold: 90 } });
  const { proxy, admin } = await startAdmin(f, "compiled", yml, { process: ["workers: 1"] });
  const client = await f.client(proxy);
  let steps = STEPS;
  let found: any[] = [];
  await poll(async () => {
    // Three times what is kept of requests that are answered at once.
    const behind = Array.from({ length: 60 }, () => ["SET", "key", "y".repeat(3000)]);
    await client.pipeline(["EVAL", busyFor(steps *= 2), "1", "key"], ...behind);
    found = (await admin.json("/api/slowlog?pool=alpha&count=128")).entries;
    return found.some(({ command }) => command === "SET");
  }, "requests that have waited for a script");
  deepStrictEqual(new Set(found.map(({ command }) => command)), new Set(["EVAL", "SET"]));
});

Deno.test("two workers: what was slow is in the slow log, and SLOWLOG tells it", async () => {
  await using f = new Fixture();
  const pool = { servers: [await f.redis()], slowlog_threshold: 90, slowlog_max_len: 3 };
  const yml = poolYml({ alpha: pool });
  const { proxy, admin } = await startAdmin(f, "compiled", yml, { process: ["workers: 2"] });
  const clients = await Promise.all([1, 2, 3, 4].map(() => f.client(proxy)));
  const entries = async () => (await admin.json("/api/slowlog?pool=alpha")).entries;
  for (const [i, client] of clients.entries()) {
    await client.command("CLIENT", "SETNAME", `client${i}`);
    const before = (await entries())[0]?.id ?? -1;
    let steps = STEPS;
    // A stop of the proxy itself in that time is left out.
    await poll(async () => {
      await client.command("EVAL", busyFor(steps *= 2), "1", `key${i}`, "x".repeat(500));
      const [newest] = await entries();
      return newest !== undefined && newest.id > before;
    }, "an entry");
    const [newest] = await entries();
    const { command, arguments: words, client: address, client_name: name } = newest;
    deepStrictEqual([command, words.slice(1, 3), name], ["EVAL", ["1", `key${i}`], `client${i}`]);
    strictEqual(words[3], `${"x".repeat(128)}... (372 more bytes)`);
    ok(/^127\.0\.0\.1:\d+$/.test(address), address);
    ok(newest.waited_us + newest.served_us >= 90_000);
  }
  const client = clients[0]!;
  strictEqual(await client.command("SLOWLOG", "LEN"), 3);
  const told = await client.command("SLOWLOG", "GET", "-1") as any[];
  strictEqual(told.length, 3);
  const [newest] = await entries();
  deepStrictEqual([told[0][0], told[0][2], told[0][5]], [
    newest.id,
    newest.waited_us + newest.served_us,
    newest.client_name,
  ]);
  strictEqual(await client.command("SLOWLOG", "RESET"), "OK");
  strictEqual(await clients[3]!.command("SLOWLOG", "LEN"), 0);
  deepStrictEqual(await entries(), []);
});
