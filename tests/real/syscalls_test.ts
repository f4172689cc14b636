/**
 * The hot path's guard that no noisy machine can upset: system calls per request of the compiled executable. One recv and
 * one send on the client's socket are two; the rest is the server side, shared by all clients ready in the same turn.
 * nutcracker 0.5.0 needs 4.7.
 */
import { ok } from "node:assert/strict";
import { canTrace, showSyscalls, syscallsOfGet } from "../bench/syscalls.ts";
import { Fixture } from "../lib/fixture.ts";
import { poolYml } from "../lib/servers.ts";

const CASES = [
  { name: "unpipelined", pipeline: 1, requests: 10_000, limit: 2.6 },
  { name: "in pipelines of 16", pipeline: 16, requests: 50_000, limit: 0.35 },
];

Deno.test({
  name: "a GET of 50 clients costs few system calls",
  ignore: !canTrace(),
  async fn(t) {
    await using f = new Fixture();
    const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
    const proxy = await f.proxy("compiled", poolYml({ alpha: { servers, preconnect: true } }));
    for (const { name, limit, ...load } of CASES) {
      await t.step(`${name}: at most ${limit}`, async () => {
        const found = await syscallsOfGet(proxy, f.dir, load);
        ok(found.perRequest <= limit, `limit ${limit}, found ${showSyscalls(found)}`);
      });
    }
  },
});
