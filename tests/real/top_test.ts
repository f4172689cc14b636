/** `ringmaster top` in a real terminal of several sizes, and where there is none. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { run } from "../lib/process.ts";
import { ROOT } from "../lib/repo.ts";
import { command, poolYml } from "../lib/servers.ts";

Deno.test("compiled: ringmaster top draws, sorts, filters, and leaves the terminal as it was", async () => {
  await using f = new Fixture();
  const { proxy, admin } = await startAdmin(
    f,
    "compiled",
    poolYml({ alpha: { servers: [await f.redis()] }, beta: { servers: [await f.memcached()] } }),
  );
  const { pools } = await admin.json("/api/pools");
  const [{ name: server }] = pools.find(({ name }: any) => name === "alpha").servers;
  const path = `/api/servers/${encodeURIComponent(server)}`;
  for (const what of ["eject?pool=alpha&force", "restore?pool=alpha"]) {
    const { status, text } = await admin.post(`${path}/${what}`);
    strictEqual(status, 200, text);
  }
  const client = await f.client(proxy);
  await client.command("CLIENT", "SETNAME", "third");
  await client.pipeline(...Array.from({ length: 400 }, () => ["GET", "hot"]));
  const top = [...await command("compiled"), "top", "--admin", `127.0.0.1:${admin.port}`];
  const { code, stdout, stderr } = await run("python3", [`${ROOT}/tests/real/top_pty.py`, ...top]);
  deepStrictEqual([code, stderr], [0, ""]);
  deepStrictEqual(JSON.parse(stdout), {
    fits: [true, true, true],
    colour: true,
    "no colour": true,
    q: { code: 0, restored: true },
    "control-c": { code: 0, restored: true },
    SIGTERM: { code: 1, restored: true },
    SIGHUP: { code: 1, restored: true },
    dumb: true,
  });

  const once = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(top[0]!, [...top.slice(1), "--once", ...args]);
    deepStrictEqual([code, stderr], [0, ""]);
    return stdout;
  };
  const seen = JSON.parse(await once("--json", "--pool", "alpha"));
  deepStrictEqual(seen.pools.map(({ name }: any) => name), ["alpha"]);
  deepStrictEqual(seen.servers.map(({ pool, state }: any) => [pool, state]), [["alpha", "live"]]);
  strictEqual(typeof seen.servers[0].requests_per_s, "number");
  strictEqual(seen.hot[0].keys[0].key, "hot");
  deepStrictEqual(seen.events.map(({ kind }: any) => kind), ["ejected", "returned"]);
  const text = await once();
  ok(text.includes("alpha") && text.includes("beta") && !text.includes("\x1b"), text);
});
