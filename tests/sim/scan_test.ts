/** SCAN goes on while servers come, go, move and change places: every key of a server that stays is seen. */
import { ok } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { changeOf } from "../../src/topology/change.ts";
import { latin1 } from "../lib/bytes.ts";
import { changesOf, type Draft, machineAddress, textOf } from "./changes.ts";
import { SimClock } from "./clock.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SYSTEM, Talker } from "./reader.ts";
import { SimServer } from "./sim_server.ts";
import { Truth } from "./truth.ts";

const SEEDS = 200;
const MACHINES = 8;
const PAGES_MAX = 2000;

Deno.test("SCAN over changes sees every key of the servers that stay", async () => {
  let checked = 0;
  for (let seed = 1; seed <= SEEDS; seed++) checked += await walk(seed);
  // Else the changes would leave nothing to look at.
  ok(checked > 20 * SEEDS, `only ${checked} keys have stayed`);
});

/** @returns how many keys had to be seen */
async function walk(seed: number): Promise<number> {
  const random = new Random(seed);
  const clock = new SimClock();
  const net = new SimNet(clock, random.fork());
  const servers = Array.from({ length: MACHINES }, (_, i) => {
    return new SimServer(i, machineAddress(i), true, net, clock, new Truth(), random.fork(), null);
  });
  for (const server of servers) {
    await server.listen();
    const session = (server.model as ModelRedis).session();
    for (let i = random.int(0, 40); i > 0; i--) session.feed(latin1(`SET m${server.index}k${i} x\r\n`));
  }
  const named = random.chance(0.5);
  const first: Draft = {
    port: 0,
    keys: new Map<string, string | boolean>([["redis", true], ["distribution", "modula"]]),
    servers: Array.from({ length: random.int(1, MACHINES - 3) }, (_, machine) => {
      return { machine, weight: 1, name: named ? `shard${machine}` : null };
    }),
  };
  let config = parseConfig(textOf(first), "sim.yml");
  const proxy = new Proxy({
    config,
    net,
    clock,
    random: random.fork().next,
    log: { level: 0, write: () => {} },
    system: SYSTEM,
  });
  await proxy.listen(null);
  const changes = changesOf(random, first, 1000, random.chance(0.5)).filter((one) => !one.abandons);
  const present = () => new Map(config.pools[0]!.servers.map(({ name, addressText }) => [addressText, name]));
  const stay = present();
  const talker = new Talker(net, config.pools[0]!.listen);
  const seen = new Set<string>();
  let [cursor, pages] = ["0", 0];
  do {
    ok(++pages < PAGES_MAX, `seed ${seed}: SCAN does not end`);
    talker.say("SCAN", cursor, "COUNT", String(random.int(1, 10)));
    clock.run(clock.nowMs() + 10_000, () => talker.read !== "");
    clock.run(clock.nowMs() + 5);
    const reply = talker.take();
    ok(reply.startsWith("*2\r\n"), `seed ${seed}: ${reply}`);
    cursor = /^\*2\r\n\$\d+\r\n(\d+)\r\n/.exec(reply)![1]!;
    for (const key of reply.match(/^m\dk\d+$/gm) ?? []) seen.add(key);
    if (cursor === "0" || changes.length === 0 || !random.chance(0.2)) continue;
    const next = changes.shift()!.config;
    const stamp = { epoch: pages, cause: "reload", atMs: clock.wallMs() };
    await proxy.reload(changeOf(config, next), stamp);
    config = next;
    const now = present();
    for (const [address, name] of stay) if (now.get(address) !== name) stay.delete(address);
  } while (cursor !== "0");
  let checked = 0;
  for (const { index, model } of servers) {
    const { host, port } = machineAddress(index);
    if (!stay.has(`${host}:${port}`)) continue;
    for (const key of (model as ModelRedis).databases[0]!.entries.keys()) {
      ok(seen.has(key), `seed ${seed}: ${key} was not seen in ${pages} pages`);
      checked++;
    }
  }
  proxy.stop();
  return checked;
}
