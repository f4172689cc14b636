/** The admin side of a running proxy, with one worker and with several. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { poolYml } from "../lib/servers.ts";

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
    const { pools: [pool] } = await admin.json("/api/pools");
    deepStrictEqual([pool.name, pool.protocol, pool.distribution, pool.clients], [
      "alpha",
      "redis",
      "ketama",
      1,
    ]);
    strictEqual(pool.servers.length, 2);
    ok(Math.abs(pool.servers[0].share + pool.servers[1].share - 1) < 1e-9);
    deepStrictEqual(pool.servers.map((server: any) => server.state), ["live", "live"]);
    const head = await admin.raw("HEAD /api/pools HTTP/1.1\r\nHost: localhost\r\n\r\n");
    match(head, /^HTTP\/1\.1 200 [^]*\r\n\r\n$/);
  });
}
