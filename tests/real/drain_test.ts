/**
 * TERM: nothing that was accepted is dropped, nobody waits longer than shutdown_timeout, and the exit code is 0.
 *
 * What each kind of client sees is described in src/service/drain.ts. `upgrade_test.ts` has the same under load.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freeze, type PoolKeys, poolYml, type Proxy, type Runtime, RUNTIMES } from "../lib/servers.ts";

/** One pool "alpha" in a process that stops within `timeoutMs`. */
function alpha(keys: PoolKeys, timeoutMs = 10_000): string {
  return poolYml({ alpha: keys }) + `ringmaster:\n  shutdown_timeout: ${timeoutMs}\n  admin: off\n`;
}

/** Sends TERM; resolves when the proxy accepts nobody any more. */
async function startStopping(proxy: Proxy): Promise<void> {
  // Once it has answered, its signal handlers are in place.
  await proxy.stats();
  proxy.kill("SIGTERM");
  await poll(async () => {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port: proxy.port })).close();
      return false;
    } catch (error) {
      return error instanceof Deno.errors.ConnectionRefused;
    }
  }, "connections to be refused");
}

async function stopped(proxy: Proxy): Promise<void> {
  strictEqual((await proxy.exit).code, 0, proxy.log);
}

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "requests in flight are answered, those after them too, new clients are refused": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }));
    const client = await f.client(proxy);
    await freeze(server);
    await client.send(concat(Array.from({ length: 500 }, (_, i) => request("SET", `key${i}`, i))));
    await startStopping(proxy);
    await client.send(concat(Array.from({ length: 500 }, (_, i) => request("GET", `key${i}`))));
    server.kill("SIGCONT");
    for (let i = 0; i < 500; i++) strictEqual((await client.readReply()).value, "OK");
    for (let i = 0; i < 500; i++) strictEqual((await client.readReply()).value, String(i));
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "a client between two requests is closed behind its next reply": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }));
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "a", "1"), "OK");
    await startStopping(proxy);
    strictEqual(await client.command("GET", "a"), "1");
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "a client that is silent is closed": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }));
    const client = await f.client(proxy);
    await startStopping(proxy);
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "half a request is waited for": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }));
    const client = await f.client(proxy);
    const set = request("SET", "a", "x".repeat(100_000));
    await client.send(concat([request("PING"), set.subarray(0, 50_000)]));
    strictEqual((await client.readReply()).value, "PONG");
    await startStopping(proxy);
    await client.send(set.subarray(50_000));
    strictEqual((await client.readReply()).value, "OK");
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "a transaction can be finished": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }));
    const client = await f.client(proxy);
    strictEqual(await client.command("WATCH", "a"), "OK");
    strictEqual(await client.command("MULTI"), "OK");
    await startStopping(proxy);
    strictEqual(await client.command("INCR", "a"), "QUEUED");
    deepStrictEqual(await client.command("EXEC"), [1]);
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "a blocked client reads the end of its wait, and no element is lost": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }));
    const direct = await f.client(server);
    const clients = await Promise.all(Array.from({ length: 20 }, () => f.client(proxy)));
    for (const [i, client] of clients.entries()) await client.send(request("BLPOP", `list${i}`, "0"));
    const blocked = /^blocked_clients:20\r$/m;
    await poll(
      async () => blocked.test(String(await direct.command("INFO", "clients"))),
      "all to be blocked",
    );
    proxy.kill("SIGTERM");
    // The push and the end of the wait are under way at once: either may come first.
    const pushes = clients.map((_, i) => request("RPUSH", `list${i}`, `element${i}`));
    await direct.send(concat(pushes));
    for (const _ of pushes) strictEqual((await direct.readReply()).value, 1);
    for (const [i, client] of clients.entries()) {
      const { value } = await client.readReply();
      const left = await direct.command("LLEN", `list${i}`);
      if (value === null) strictEqual(left, 1, `the element of list${i} is lost`);
      else deepStrictEqual([value, left], [[`list${i}`, `element${i}`], 0]);
      strictEqual(await client.readToEnd(), "");
    }
    await stopped(proxy);
  },

  "a subscriber is closed": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }));
    const client = await f.client(proxy);
    deepStrictEqual(await client.command("SUBSCRIBE", "news"), ["subscribe", "news", 1]);
    await startStopping(proxy);
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
  },

  "a client that never stops is heard until the last call": async (f, runtime) => {
    const proxy = await f.proxy(runtime, alpha({ servers: [await f.redis()] }, 2000));
    const client = await f.client(proxy);
    const tens = concat(Array.from({ length: 10 }, () => request("INCR", "a")));
    await client.send(tens);
    const stopping = startStopping(proxy);
    let sent = 10;
    let read = 0;
    // Always ten more under way than answered, so there is never a moment of rest.
    for (;;) {
      try {
        await client.send(tens);
        sent += 10;
        for (let i = 0; i < 10; i++) strictEqual((await client.readReply()).value, ++read);
      } catch (error) {
        ok(!(error instanceof Error && error.name === "AssertionError"), String(error));
        break;
      }
    }
    ok(read >= 10 && read <= sent, `${read} of ${sent}`);
    await stopping;
    await stopped(proxy);
    ok(!proxy.log.includes("cut off"), proxy.log);
  },

  "shutdown_timeout cuts off what is not answered, and says so": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }, 300));
    const client = await f.client(proxy);
    await freeze(server);
    await client.send(request("GET", "a"));
    await poll(async () => {
      const pool = (await proxy.stats()).alpha as Record<string, Record<string, number>>;
      return Object.values(pool).some((row) => row.out_queue === 1);
    }, "the request to be under way");
    proxy.kill("SIGTERM");
    strictEqual(await client.readToEnd(), "");
    await stopped(proxy);
    ok(proxy.log.includes("1 clients were cut off after shutdown_timeout"), proxy.log);
  },

  "a second TERM ends it at once": async (f, runtime) => {
    const server = await f.redis();
    const proxy = await f.proxy(runtime, alpha({ servers: [server] }, 3_600_000));
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "a", "1"), "OK");
    await freeze(server);
    await client.send(request("GET", "a"));
    await startStopping(proxy);
    proxy.kill("SIGTERM");
    await stopped(proxy);
    strictEqual(await client.readToEnd(), "");
  },
};

for (const runtime of RUNTIMES) {
  for (const [name, test] of Object.entries(CASES)) {
    Deno.test(`TERM: ${name} (${runtime})`, async () => {
      await using f = new Fixture();
      await test(f, runtime);
    });
  }
}
