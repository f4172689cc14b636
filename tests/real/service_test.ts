/** What a service manager is told, by datagrams to NOTIFY_SOCKET: the start, reloads however they end, the stop. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { poolYml, RUNTIMES } from "../lib/servers.ts";
import { ServiceManager } from "../lib/service_manager.ts";

for (const runtime of RUNTIMES) {
  Deno.test(`a service manager is told when it serves, reloads and stops (${runtime})`, async () => {
    await using f = new Fixture();
    const manager = new ServiceManager(`${f.dir}/notify`);
    try {
      const server = await f.redis();
      const yml = poolYml({ alpha: { listen: `127.0.0.1:${freePort()}`, servers: [server] } });
      const env = { NOTIFY_SOCKET: `${f.dir}/notify`, WATCHDOG_USEC: "200000" };
      const proxy = await f.proxy(runtime, yml, { env });
      const ready = await manager.next("READY=1", 0);
      match(ready, /^STATUS=serving 1 pools$/m);
      match(ready, new RegExp(`^MAINPID=${proxy.pid}$`, "m"));
      await manager.next("WATCHDOG=1", 0);

      for (
        const [text, how] of [[yml, /^STATUS=reload \(SIGHUP\): nothing/m], [
          "alpha: 1\n",
          /refused/,
        ]] as const
      ) {
        await Deno.writeTextFile(proxy.file, text);
        const from = manager.datagrams.length;
        const beforeUs = await monotonicUs();
        proxy.kill("SIGHUP");
        const reloading = await manager.next("RELOADING=1", from);
        const us = Number(/^MONOTONIC_USEC=(\d+)$/m.exec(reloading)![1]);
        ok(us >= beforeUs, `${us} is before the signal, ${beforeUs}`);
        match(await manager.next("READY=1", from), how);
      }

      const from = manager.datagrams.length;
      strictEqual((await proxy.stop()).code, 0);
      const stopping = await manager.next("STOPPING=1", from);
      match(stopping, /^EXTEND_TIMEOUT_USEC=\d+$/m);
      const states = manager.datagrams.flatMap((each) => /^(READY|RELOADING|STOPPING)/.exec(each)?.[1] ?? []);
      deepStrictEqual(states, ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]);
    } finally {
      manager.close();
    }
  });
}

/** The kernel's clock of that name, as far as /proc tells it: a little early. */
async function monotonicUs(): Promise<number> {
  const found = /^now at (\d+) nsecs$/m.exec(await Deno.readTextFile("/proc/timer_list").catch(() => ""));
  return found === null ? 0 : Math.floor(Number(found[1]) / 1000);
}
