/** The whole proxy on the simulator's network, in front of three model servers that do as they are told. */
import { ok } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { REQUESTS } from "../../src/stats/metrics.ts";
import { SimClock } from "./clock.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SYSTEM, Talker } from "./reader.ts";
import { SimServer } from "./sim_server.ts";
import { Truth } from "./truth.ts";

export class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly config;
  readonly proxy: Proxy;
  readonly servers: SimServer[];

  private constructor(yml: string, sliceArguments?: number) {
    this.config = parseConfig(
      `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  hash_tag: "{}"\n${yml}  servers:\n` +
        [1, 2, 3].map((i) => `    - 10.0.0.${i}:6379:1\n`).join(""),
      "sim.yml",
    );
    const { clock, net, config } = this;
    const log = { level: 0, write: () => {} };
    const random = new Random(2).next;
    this.proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments });
    this.servers = this.pool.config.servers.map(({ address }, i) =>
      new SimServer(i, address, true, net, clock, new Truth(), new Random(3 + i), null)
    );
  }

  /** @param yml more keys of the pool, a line each, indented by two blanks */
  static async make(sliceArguments?: number, yml = ""): Promise<Stand> {
    const stand = new Stand(yml, sliceArguments);
    for (const server of stand.servers) await server.listen();
    await stand.proxy.listen(null);
    return stand;
  }

  get pool() {
    return this.proxy.pools[0]!;
  }

  /** Requests that the servers have been sent, fragments included. */
  get sent(): number {
    return this.pool.servers.reduce((sum, server) => sum + server.counters[REQUESTS]!, 0);
  }

  talker(): Talker {
    return new Talker(this.net, this.pool.config.listen);
  }

  run(ms = 1000): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  /** Runs until `done`, and fails if it takes more than ten seconds. */
  runUntil(done: () => boolean): void {
    this.clock.run(this.clock.nowMs() + 10_000, done);
    ok(done(), `still not done: ${done}`);
  }

  /** The servers' keys in database 0, with their values. */
  get data(): Map<string, unknown> {
    const all = new Map<string, unknown>();
    for (const { model } of this.servers) {
      for (const [key, { value }] of (model as ModelRedis).databases[0]!.entries) all.set(key, value);
    }
    return all;
  }
}
