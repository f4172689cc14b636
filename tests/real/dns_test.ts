/**
 * Servers with names: resolved when connecting, each time anew, and without holding up anybody.
 *
 * For a name that moves, the proxy runs in a mount namespace with a hosts file of the test's own; that needs root.
 */
import { ok, strictEqual } from "node:assert/strict";
import { request } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Process, run } from "../lib/process.ts";
import { RawClient } from "../lib/client.ts";
import { need, which } from "../lib/repo.ts";
import { ReplyError } from "../lib/resp.ts";
import { poolYml, type Runtime, RUNTIMES } from "../lib/servers.ts";

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "localhost is connected": async (f, runtime) => {
    const server = await f.redis({ port: 0 });
    const proxy = await f.proxy(runtime, poolYml({ alpha: { servers: [`localhost:${server.port}:1`] } }));
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "a", "1"), "OK");
  },

  "a name that does not resolve fails its own requests only, and says so": async (f, runtime) => {
    const server = await f.redis();
    const servers = ["nowhere.invalid:6379:1 nowhere", `${server.address}:1 here`];
    const proxy = await f.proxy(runtime, poolYml({ alpha: { servers, timeout: 5000 } }));
    const client = await f.client(proxy);
    let down = 0;
    for (let i = 0; i < 20; i++) {
      const reply = await client.command("SET", `key${i}`, "v");
      if (reply === "OK") continue;
      ok(reply instanceof ReplyError);
      strictEqual(reply.message, "ERR Host is down: its name does not resolve (server nowhere)");
      down++;
    }
    ok(down > 0 && down < 20, `${down} of 20`);
  },
};

for (const runtime of RUNTIMES) {
  for (const [name, test] of Object.entries(CASES)) {
    Deno.test(`names: ${name} (${runtime})`, async () => {
      await using f = new Fixture();
      await test(f, runtime);
    });
  }
}

const canMount = which("unshare") !== null &&
  (await run("unshare", ["-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"])).code === 0;

for (const runtime of RUNTIMES) {
  Deno.test({
    name: `names: a server that moves is found at its new address when its connection is lost (${runtime})`,
    ignore: !canMount,
    fn: async () => {
      await using f = new Fixture();
      const old = await f.redis({ port: 0 });
      const moved = { host: "127.0.0.2", port: old.port };
      f.add(
        new Process(need("redis-server"), ["--port", String(old.port), "--bind", moved.host, "--save", ""], {
          output: `${f.dir}/moved.log`,
          cwd: f.dir,
        }),
      );
      const direct = f.add(await poll(() => RawClient.connect(moved), "the new server"));
      strictEqual(await direct.command("SET", "where", "new"), "OK");
      const hosts = `${f.dir}/hosts`;
      await Deno.writeTextFile(hosts, "127.0.0.1 localhost moving.test\n");
      const yml = poolYml({ alpha: { servers: [`moving.test:${old.port}:1`], redis: true } });
      const proxy = await f.proxy(runtime, yml, {
        prefix: ["unshare", "-m", "/bin/sh", "-c", `mount --bind ${hosts} /etc/hosts && exec "$0" "$@"`],
      });
      const client = await f.client(proxy);
      strictEqual(await client.command("SET", "where", "old"), "OK");
      // Written in place: the proxy sees this very file.
      await Deno.writeTextFile(hosts, "127.0.0.1 localhost\n127.0.0.2 moving.test\n");
      await old.crash();
      // The lost connection may be noticed by a request of ours.
      await poll(async () => await client.command("GET", "where") === "new", "the new address");
      await client.send(request("GET", "where"));
      strictEqual((await client.readReply()).value, "new");
    },
  });
}
