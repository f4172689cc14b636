/**
 * HTTP on a Redis or memcached port: the connection ends, as with redis-server itself, nothing behind the first line of HTTP runs,
 * and the log names the peer.
 */
import { match, strictEqual } from "node:assert/strict";
import { RawClient, type Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { poolYml, RUNTIMES } from "../lib/servers.ts";

const HEAD = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n";
const SET = "*3\r\n$3\r\nSET\r\n$5\r\npwned\r\n$1\r\n1\r\n";

const PAGES = [
  `${HEAD}SET pwned 1\r\nGET pwned\r\n`,
  `hOsT: x\r\n${SET}`,
  `*1\r\n$4\r\npost\r\n${SET}`,
  `*2\r\n$5\r\nHOST:\r\n$1\r\nx\r\n${SET}`,
  `MULTI\r\n${SET}Host: x\r\nEXEC\r\n`,
];

async function say(target: Target, text: string): Promise<string> {
  await using client = await RawClient.connect(target);
  await client.send(text);
  return await client.readToEnd();
}

Deno.test("HTTP runs nothing, and its connection is closed", async (t) => {
  for (const runtime of RUNTIMES) {
    await t.step(runtime, async () => {
      await using f = new Fixture();
      const [redis, memcached] = [await f.redis(), await f.memcached()];
      const locked = await f.redis({ args: ["--requirepass", "secret"] });
      const proxy = await f.proxy(
        runtime,
        poolYml({
          alpha: { servers: [redis] },
          beta: { servers: [locked], redis_auth: "secret" },
          gamma: { servers: [memcached] },
        }),
      );
      const [alpha, beta, gamma] = proxy.targets;
      for (const page of PAGES) {
        for (const target of [redis.target, alpha!, locked.target, beta!]) {
          // What was owed before may have left or not.
          match(await say(target, page), /^(\+OK\r\n|\+QUEUED\r\n|-NOAUTH [^\r]*\r\n)*$/);
        }
      }
      strictEqual(await (await f.client(redis)).command("DBSIZE"), 0);
      const owner = await f.client(locked);
      strictEqual(await owner.command("AUTH", "secret"), "OK");
      strictEqual(await owner.command("DBSIZE"), 0);
      for (const head of [HEAD, "host: x\r\n", "HEAD / HTTP/1.0\r\n"]) {
        strictEqual(await say(gamma!, `${head}set pwned 0 0 1\r\n1\r\n`), "");
      }
      const reader = await f.client(gamma!);
      await reader.send("get pwned\r\n");
      strictEqual(await reader.readLine(), "END");
      const line = /possible attack: c \d+ '127\.0\.0\.1:\d+' in pool 'alpha' speaks HTTP/;
      await poll(() => line.test(proxy.log), "the line in the log");
    });
  }
});
