/**
 * No line makes memcached give more or fewer replies than we think: the short form of `deno task fuzz:framing`. What 1.6.40 and
 * later read otherwise than 1.6.18 is tried with whichever is on PATH, or named:
 *
 *   RINGMASTER_MEMCACHED=/path/of/memcached deno test -A --no-check tests/real/memcached_framing_test.ts
 */
import assert from "node:assert/strict";
import { compareFraming } from "../fuzz/framing.ts";
import { Fixture } from "../lib/fixture.ts";
import { poolYml } from "../lib/servers.ts";

Deno.test("800 odd lines with commands for data blocks shift nobody's reply", async () => {
  await using f = new Fixture();
  const server = await f.memcached({ program: Deno.env.get("RINGMASTER_MEMCACHED") });
  const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [server] } }), {
    args: ["--workers=1"],
  });
  const { shifted, noticed } = await compareFraming(proxy.target, 1, 800);
  assert.deepEqual(shifted, []);
  assert.deepEqual(noticed, []);
});
