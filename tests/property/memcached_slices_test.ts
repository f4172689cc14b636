/**
 * Gets of very many keys go out in slices: the reply is that of the whole get, whatever the size of the slices, and no turn does
 * more than a slice. The whole proxy on the simulator's network.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryMemcached } from "../../src/demo/memory_memcached.ts";
import { serveMemory } from "../../src/demo/serve.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { latin1 } from "../lib/bytes.ts";
import { thorough } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { Reader, SYSTEM } from "../sim/reader.ts";

async function stand(sliceArguments: number | undefined, servers: number, yml = "") {
  const config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n${yml}  servers:\n` +
      Array.from({ length: servers }, (_, i) => `    - 10.0.0.${i + 1}:11211:1\n`).join(""),
    "sim.yml",
  );
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const log = { level: 0, write: () => {} };
  const random = new Random(2).next;
  const proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments });
  for (const { address } of config.pools[0]!.servers) {
    await serveMemory(net, address!, new MemoryMemcached({ nowMs: () => clock.wallMs() }));
  }
  await proxy.listen(null);
  const talker = new Reader();
  talker.socket = net.connect(config.pools[0]!.listen, talker, null);
  const ask = (text: string, ms = 5000) => {
    talker.take();
    talker.send(latin1(text));
    clock.run(clock.nowMs() + ms);
    return talker.take();
  };
  return { ask, clock, pool: proxy.pools[0]!, talker };
}

const KEYS = Array.from({ length: 40 }, (_, i) => `key${i}`);
const SETS = KEYS.filter((_, i) => i % 3 > 0).map((key) => `set ${key} 7 0 ${key.length}\r\n${key}\r\n`).join(
  "",
);

Deno.test("a get in slices is answered as the whole get", async () => {
  for (const name of ["get", "gets", "gat 100", "gats 0", "bget"]) {
    const line = `${name} ${[...KEYS, ...KEYS.slice(3, 9)].join(" ")}\r\n`;
    const input = `mn\r\n${line}mg key1 v\r\n${line}mn\r\n`;
    const seen: string[] = [];
    for (const slice of [1, 3, 7, 45, undefined]) {
      const { ask } = await stand(slice, 3);
      ask(SETS);
      seen.push(ask(input));
    }
    ok(seen[0]!.startsWith("MN\r\nVALUE key1 7 4") && seen[0]!.endsWith("END\r\nMN\r\n"), seen[0]);
    deepStrictEqual(new Set(seen).size, 1, name);
  }
});

thorough("no turn places more keys of a get than a slice has", async () => {
  for (const servers of [2, 1]) {
    const { ask, clock, pool } = await stand(undefined, servers);
    const perTurn = new Map<number, number>();
    const { placement } = pool;
    const serverOf = placement.serverOf.bind(placement);
    placement.serverOf = (bytes, start, end) => {
      perTurn.set(clock.nowMs(), (perTurn.get(clock.nowMs()) ?? 0) + 1);
      return serverOf(bytes, start, end);
    };
    const count = 100_000;
    strictEqual(
      ask(`get ${Array.from({ length: count }, (_, i) => `k${i}`).join(" ")}\r\n`, 60_000),
      "END\r\n",
    );
    strictEqual([...perTurn.values()].reduce((a, b) => a + b, 0), count);
    ok(Math.max(...perTurn.values()) <= 4096, `${Math.max(...perTurn.values())} keys in one turn`);
  }
});

Deno.test("the values of a get in slices are charged while they come", async () => {
  const { ask, talker } = await stand(2, 2, "  client_output_limit: 64kb\n");
  ask(`set a 0 0 20000\r\n${"x".repeat(20_000)}\r\n`);
  ask(`get ${"a ".repeat(50)}\r\n`);
  strictEqual(talker.closed, true);
});

Deno.test("the first slice that fails ends the get with its error", async () => {
  const { ask, pool } = await stand(2, 1);
  ask(SETS);
  for (const server of pool.servers) server.ejected = true;
  pool.placement.setLive(new Uint8Array(1));
  match(ask(`get ${KEYS.join(" ")}\r\n`), /^SERVER_ERROR .*no live server/);
});
