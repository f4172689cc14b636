/** What the admin side tells of keys and clients, over several workers and in both protocols. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { command, poolYml } from "../lib/servers.ts";

const CLIENTS = 8;
/** Drawn by chance: enough that it does not decide. */
const BATCH = 1000;

for (const subject of ["compiled", "deno"] as const) {
  const workers = subject === "compiled" ? 2 : 1;
  Deno.test(`${subject}, ${workers} workers: hot keys, big keys and clients of both protocols`, async () => {
    await using f = new Fixture();
    const server = await f.redis();
    const yml = poolYml({ alpha: { servers: [server] }, beta: { servers: [await f.memcached()] } });
    const { proxy, admin } = await startAdmin(f, subject, yml, {
      process: [`workers: ${workers}`, `access_log: ${f.dir}/access.log`],
    });
    const redis = await Promise.all(Array.from({ length: CLIENTS }, () => f.client(proxy.targets[0]!)));
    const memcached = await f.client(proxy.targets[1]!);
    const keys = Array.from(
      { length: BATCH },
      (_, n) => n % 10 < 6 ? "hot" : n % 10 < 9 ? "warm" : `cold:${n}`,
    );
    await Promise.all(redis.map((client) => client.pipeline(...keys.map((key) => ["GET", key]))));
    await redis[0]!.command("SET", "größe", "v".repeat(50_000));
    await redis[1]!.command("SET", new Uint8Array([0xff, 0x41]), "v".repeat(30_000));
    await redis[2]!.command("CLIENT", "SETNAME", "third");
    await memcached.send(keys.map((key) => `set ${key} 0 0 1\r\n1\r\n`).join(""));
    for (const _ of keys) strictEqual(await memcached.readLine(), "STORED");

    const { pools: hot } = await admin.json("/api/keys/hot?count=2");
    hot.sort((a: any, b: any) => a.name < b.name ? -1 : 1);
    deepStrictEqual(hot.map(({ name, keys }: any) => [name, keys.map(({ key }: any) => key)]), [
      ["alpha", ["hot", "warm"]],
      ["beta", ["hot", "warm"]],
    ]);
    const [{ share, error, count }] = hot[0].keys;
    ok(share > 0.3 && share < 0.9 && error < 0.01 && count > 500, `${share} ${error} ${count}`);
    const { pools: big } = await admin.json("/api/keys/big?pool=alpha");
    deepStrictEqual(
      big.map(({ name, keys }: any) => [name, keys.map(({ key, command }: any) => [key, command])]),
      [
        ["alpha", [["größe", "set"], ["\\xffA", "set"]]],
      ],
    );
    ok(big[0].keys[0].bytes > 50_000 && big[0].keys[0].at > Date.now() - 600_000);

    // Whoever reads a large value is drawn, sooner or later.
    await (await f.client(server)).command("SET", "read", "v".repeat(40_000));
    const read = await poll(async () => {
      await redis[0]!.pipeline(...Array.from({ length: 50 }, () => ["GET", "read"]));
      const { pools } = await admin.json("/api/keys/big?pool=alpha");
      return pools[0].keys.find(({ key }: any) => key === "read");
    }, "a large reply to be seen");
    deepStrictEqual([read.command, read.side, read.bytes], [
      "get",
      "reply",
      40_000 + "$40000\r\n\r\n".length,
    ]);

    const everybody = async () => {
      const all: any[] = [];
      let cursor = "";
      do {
        const page = await admin.json(`/api/clients?count=3&cursor=${encodeURIComponent(cursor)}`);
        ok(page.clients.length <= 3);
        all.push(...page.clients);
        cursor = page.cursor ?? "";
      } while (cursor !== "");
      return all;
    };
    // Whoever tried whether it answers may not be gone yet.
    const seen = await poll(async () => {
      const all = await everybody();
      return all.length === CLIENTS + 1 && all;
    }, "all clients and nobody else");
    deepStrictEqual(
      [seen.filter(({ pool }) => pool === "alpha").length, seen.filter(({ pool }) => pool === "beta").length],
      [CLIENTS, 1],
    );
    strictEqual(new Set(seen.map(({ pool, id }) => `${pool} ${id}`)).size, CLIENTS + 1);
    const third = seen.find(({ name }) => name === "third");
    deepStrictEqual([third.command, third.in_flight, third.resp], ["client|setname", 0, 2]);
    strictEqual(seen.find(({ pool }) => pool === "beta").name, null);
    strictEqual((await admin.json("/api/clients?pool=beta")).clients.length, 1);
    memcached.close();
    await poll(
      async () => (await admin.json("/api/clients?pool=beta")).clients.length === 0,
      "it to be gone",
    );

    const [program, ...before] = await command(subject);
    const health = (...args: string[]) => run(program!, [...before, "health", ...args]);
    const ready = await health("-c", proxy.file);
    deepStrictEqual([ready.code, ready.stdout, ready.stderr], [0, "ready\n", ""]);
    const nobody = await health("--admin", `127.0.0.1:${freePort()}`);
    strictEqual(nobody.code, 1);
    match(nobody.stderr, /^ringmaster health: ./);

    // Some requests are told to who listens, with what they took, and written to the access log.
    const listen = [...before, "tap", "-c", proxy.file, "--key", "tap*", "--command", "get", "--count", "2"];
    let over = false;
    const listening = run(program!, listen).finally(() => over = true);
    await poll(async () => {
      await redis[3]!.command("GET", "tapped");
      return over;
    }, "a tap to end");
    const { code, stdout, stderr } = await listening;
    deepStrictEqual([code, stderr], [0, ""]);
    match(
      stdout,
      /^(\S+Z alpha 127\.0\.0\.1:\d+ > \S+ \d+\.\d{3} ms \+ \d+\.\d{3} ms, 5 bytes: "get" "tapped"\n){2}$/,
    );
    const log = `${f.dir}/access.log`;
    const logged = () => Deno.readTextFileSync(log).includes('"get" "tapped"');
    await poll(logged, "the access log");
    strictEqual(Deno.statSync(log).mode! & 0o777, 0o640);
    Deno.renameSync(log, `${log}.1`);
    proxy.kill("SIGHUP");
    await poll(async () => {
      await redis[3]!.command("GET", "tapped");
      return logged();
    }, "a new access log");

    for (
      const path of [
        "/api/tap?rate=0",
        "/api/keys/hot?pool=none",
        "/api/clients?cursor=x",
        "/api/keys/big?count=0",
      ]
    ) {
      const { status, text } = await admin.get(path);
      ok(status === 404 || status === 400, `${path}: ${status}`);
      ok(JSON.parse(text).error.includes("expected"), text);
    }
  });
}
