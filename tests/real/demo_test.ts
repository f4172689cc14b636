/**
 * `ringmaster demo`: what a newcomer types first. With real servers and, as on a machine that has none, with embedded
 * ones; both pools answer, and nothing is left when it ends.
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { RUNTIMES } from "../lib/servers.ts";
import { command } from "../lib/servers.ts";

interface Facts {
  redisServers: string;
  redis: number;
  redisPorts: number[];
  memcachedServers: string;
  memcached: number;
  admin: number;
  conf: string;
}

for (const runtime of RUNTIMES) {
  for (const embedded of [false, true]) {
    Deno.test(`demo with ${embedded ? "embedded" : "real"} servers on ${runtime}`, async () => {
      await using f = new Fixture();
      const [program, ...args] = await command(runtime);
      const child = new Deno.Command(program, {
        args: [...args, "demo", "--json"],
        // Without the folders of redis-server and memcached on it.
        env: embedded ? { PATH: f.dir } : {},
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      // The demo ends its own servers; it has to be asked even when the test fails.
      f.add({
        async [Symbol.asyncDispose]() {
          try {
            child.kill("SIGTERM");
          } catch {
            // It has ended.
          }
          await child.status;
        },
      });
      const reader = child.stdout.getReader();
      let line = "";
      while (!line.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`the demo ended before it said anything: ${line}`);
        line += new TextDecoder().decode(value);
      }
      const facts: Facts = JSON.parse(line);
      strictEqual(facts.redisServers, embedded ? "embedded" : "redis-server");
      strictEqual(facts.memcachedServers, embedded ? "embedded" : "memcached");
      {
        await using redis = await RawClient.connect({ port: facts.redis });
        strictEqual(await redis.command("MSET", "a", "1", "b", "2", "c", "3"), "OK");
        deepStrictEqual(await redis.command("MGET", "a", "b", "c", "none"), ["1", "2", "3", null]);
        strictEqual(await redis.command("ZADD", "z", "1", "m"), 1);
        await using cache = await RawClient.connect({ port: facts.memcached });
        cache.send("set k 0 0 5\r\nhello\r\nget k\r\n");
        strictEqual(await cache.readLine(), "STORED");
        strictEqual(await cache.readLine(), "VALUE k 0 5");
        const page = await fetch(`http://127.0.0.1:${facts.admin}/`);
        match(await page.text(), /^<!doctype html>/i);
      }
      child.kill("SIGTERM");
      strictEqual((await child.status).code, 0);
      await reader.cancel();
      await poll(() => nobodyAt(facts.redisPorts[0]), "the demo's servers are gone");
      strictEqual(await exists(facts.conf), false);
    });
  }
}

async function nobodyAt(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch {
    return true;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}
