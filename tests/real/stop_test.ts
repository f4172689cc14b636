/** The proxy's process is stopped for longer than every timeout, as by a paused machine: nobody is failed for that. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { concat, request } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { poolYml, RUNTIMES } from "../lib/servers.ts";

const CLIENTS = 100;
const PIPELINE = 20;
const STOPS = 2;
const STOP_MS = 2500;

for (const runtime of RUNTIMES) {
  Deno.test(`a stopped process fails no request and ejects no server (${runtime})`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const proxy = await f.proxy(
      runtime,
      poolYml({
        alpha: {
          servers,
          timeout: 1500,
          auto_eject_hosts: true,
          server_failure_limit: 1,
          connect_timeout: 1500,
        },
      }),
    );
    const clients: RawClient[] = [];
    for (let i = 0; i < CLIENTS; i++) clients.push(await f.client(proxy));
    let over = false;
    const answers: Record<string, number> = {};
    const running = clients.map(async (client, i) => {
      const gets = concat(Array.from({ length: PIPELINE }, (_, n) => request("GET", `key${i}:${n}`)));
      while (!over) {
        await client.send(gets);
        for (let n = 0; n < PIPELINE; n++) {
          const { text } = await client.readReply();
          answers[text] = (answers[text] ?? 0) + 1;
        }
      }
    });
    for (let i = 0; i < STOPS; i++) {
      await delay(50);
      proxy.kill("SIGSTOP");
      await delay(STOP_MS);
      proxy.kill("SIGCONT");
    }
    over = true;
    await Promise.all(running);
    deepStrictEqual(Object.keys(answers), ["$-1\r\n"]);
    strictEqual((await proxy.stats() as Record<string, Record<string, number>>).alpha!.server_ejects, 0);
  });
}
