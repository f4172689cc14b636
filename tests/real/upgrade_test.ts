/**
 * A new process takes over the port (`reuseport: true`), the old one gets TERM: under load, no request is lost.
 *
 * Clients are like connection pools: they notice a close before they send the next request, and connect again. A request
 * that was sent and got no reply counts as lost; that it has not been executed either is checked on all runtimes. How the proxy
 * chooses its moment, and why Deno cannot be as exact as Bun: src/service/drain.ts.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Random } from "../lib/random.ts";
import { poolYml, RUNTIMES, START_MS } from "../lib/servers.ts";
import { Caller, sumOf } from "../soak/caller.ts";
import { HABITS } from "../soak/habits.ts";

const CLIENTS = 40;
const ROUNDS = 3;

for (const runtime of RUNTIMES) {
  Deno.test(`rolling restart: no request is lost in ${ROUNDS} upgrades under load (${runtime})`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const port = freePort();
    const yml = poolYml({ alpha: { listen: `127.0.0.1:${port}`, reuseport: true, servers } }) +
      "ringmaster:\n  admin: off\n";
    let proxy = await f.proxy(runtime, yml);
    const callers = Array.from(
      { length: CLIENTS },
      (_, i) => new Caller(`c${i}`, { port }, new Random(i), HABITS[i % HABITS.length]!),
    );
    let over = false;
    const running = callers.map((caller) => caller.run(() => over));
    try {
      for (let round = 0; round < ROUNDS; round++) {
        await poll(() => callers.every((caller) => caller.replies > 20 * (round + 1)), "some load");
        // Not "answers", since the old one would: it says itself that it listens.
        const next = await f.proxy(runtime, yml, { wait: false });
        await poll(() => next.log.includes("listening on"), "the new process to listen", START_MS);
        proxy.kill("SIGTERM");
        strictEqual((await proxy.exit).code, 0, proxy.log);
        ok(!proxy.log.includes("cut off"), proxy.log);
        proxy = next;
      }
    } finally {
      over = true;
      await Promise.all(running);
    }
    const { losses, refused, errors, wrong, requests, replies } = sumOf(callers);
    deepStrictEqual({ refused, errors, wrong }, { refused: 0, errors: {}, wrong: [] });
    const direct = await Promise.all(servers.map((server) => f.client(server)));
    for (const caller of callers) {
      for (const [i, counted] of caller.counted.entries()) {
        const [a, b] = await Promise.all(direct.map((each) => each.command("GET", caller.counterKey(i))));
        strictEqual(Number(a ?? b ?? 0), counted, "a request without a reply was executed");
      }
    }
    if (runtime === "deno") return;
    deepStrictEqual(losses, []);
    strictEqual(replies, requests);
  });
}
