/**
 * A new process takes over the port (`reuseport: true`), the old one gets TERM; or it is given the listening sockets
 * (`ringmaster upgrade`): under load, no request is lost.
 *
 * Clients are like connection pools: they notice a close before they send the next request, and connect again. A request
 * that was sent and got no reply counts as lost; that it has not been executed either is checked on all runtimes. How the proxy
 * chooses its moment, and why Deno cannot be as exact as Bun: src/service/drain.ts.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { compiled, exists } from "../lib/repo.ts";
import { poolYml, RUNTIMES, START_MS } from "../lib/servers.ts";
import { underLoad } from "../soak/under_load.ts";

const ROUNDS = 3;

for (const runtime of RUNTIMES) {
  Deno.test(`rolling restart: no request is lost in ${ROUNDS} upgrades under load (${runtime})`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const port = freePort();
    const yml = poolYml({ alpha: { listen: `127.0.0.1:${port}`, reuseport: true, servers } }) +
      "ringmaster:\n  admin: off\n";
    let proxy = await f.proxy(runtime, yml);
    await underLoad(f, { target: { port }, servers, exact: runtime !== "deno" }, async (someLoad) => {
      for (let round = 0; round < ROUNDS; round++) {
        await someLoad();
        // Not "answers", since the old one would: it says itself that it listens.
        const next = await f.proxy(runtime, yml, { wait: false });
        await poll(() => next.log.includes("listening on"), "the new process to listen", START_MS);
        proxy.kill("SIGTERM");
        strictEqual((await proxy.exit).code, 0, proxy.log);
        ok(!proxy.log.includes("cut off"), proxy.log);
        proxy = next;
      }
    });
  });
}

for (const workers of [1, 2]) {
  Deno.test(`ringmaster upgrade: ${ROUNDS} times under load no request is lost, nobody refused (${workers} workers)`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const port = freePort();
    const path = `${f.dir}/second`;
    const pidFile = `${f.dir}/pid`;
    const admin = freePort();
    const yml =
      poolYml({ alpha: { listen: `127.0.0.1:${port}`, servers }, beta: { listen: path, servers } }) +
      `ringmaster:\n  admin: 127.0.0.1:${admin}\n`;
    const program = await compiled();
    const first = await f.proxy("compiled", yml, { args: ["-p", pidFile, `--workers=${workers}`] });
    const pids = () => Number(Deno.readTextFileSync(pidFile));
    await poll(() => exists(pidFile) && pids() > 0, "the pid file");
    let pid = pids();
    strictEqual(pid, first.pid);
    try {
      for (const target of [{ port }, { path }]) {
        await underLoad(f, { target, servers, exact: true }, async (someLoad) => {
          for (let round = 0; round < ROUNDS; round++) {
            await someLoad();
            const { code, stdout, stderr } = await run(program, ["upgrade", "-p", pidFile]);
            strictEqual(code, 0, stderr);
            match(stdout, new RegExp(`^process \\d+ has taken the place of ${pid}\\n$`));
            ok(pids() !== pid);
            const before = pid;
            await poll(() => !alive(before), "the old process to end");
            pid = pids();
          }
        });
      }
      ok(!first.log.includes("cut off"), first.log);
      const { code } = await run(program, ["health", `--admin=127.0.0.1:${admin}`]);
      strictEqual(code, 0, "the admin side has moved on");

      // One that cannot start changes nothing.
      await Deno.writeTextFile(first.file, "alpha: 1\n");
      const refused = await run(program, ["upgrade", "-p", pidFile]);
      deepStrictEqual([refused.code, pids()], [1, pid]);
      match(
        refused.stderr,
        /^no successor, this process goes on: its process has ended with 1 before it was ready:\n\S+:1:8: alpha: found "1", expected a pool/,
      );
      const client = await f.client({ target: { port } });
      strictEqual(await client.command("PING"), "PONG");
      strictEqual((await run(program, ["health", `--admin=127.0.0.1:${admin}`])).code, 0);
    } finally {
      Deno.kill(pid, "SIGTERM");
      await poll(() => !alive(pid), "the last process to end");
    }
    deepStrictEqual([exists(pidFile), exists(path)], [false, false]);
  });
}

function alive(pid: number): boolean {
  // A child that nobody waits for is a zombie until its parent ends: it has ended all the same.
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
