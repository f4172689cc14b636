/** Mistakes that the simulation found, each as the smallest world that shows it. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import { serveMemory } from "../../src/demo/serve.ts";
import type { Handler } from "../../src/net/net.ts";
import { Proxy } from "../../src/proxy/proxy.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { SimClock } from "./clock.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";

/** What a client reads that sends `bytes` to a pool of one Redis, within a minute. */
async function readThrough(yml: string, bytes: Uint8Array): Promise<string> {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n${yml}  servers:\n    - 10.0.0.1:6379:1\n`,
    "sim.yml",
  );
  const random = new Random(2).next;
  const redis = new MemoryRedis({ nowMs: () => clock.wallMs(), random });
  await serveMemory(net, config.pools[0]!.servers[0]!.address, redis);
  const proxy = new Proxy({
    config,
    net,
    clock,
    random,
    log: { level: 0, write: () => {} },
    system: { hostName: "sim", processId: 1, os: "sim", filesMax: 0, memoryBytes: () => 0 },
  });
  await proxy.listen(null);
  let read = "";
  const handler: Handler = {
    open: () => {},
    data: (_socket, view) => void (read += textOf(view)),
    eof: (socket) => socket.end(),
    drain: () => {},
    close: () => {},
  };
  const socket = net.connect(config.pools[0]!.listen, handler, null);
  socket.send(bytes, 0, bytes.length);
  clock.run(60_000);
  proxy.stop();
  return read;
}

Deno.test("LargeRequest goes on to be read with max_in_flight: 1", async () => {
  const set = request("SET", "k", "v".repeat(3_000_000));
  assert.equal(
    await readThrough("  max_in_flight: 1\n", latin1(textOf(set) + "PING\r\n")),
    "+OK\r\n+PONG\r\n",
  );
});
