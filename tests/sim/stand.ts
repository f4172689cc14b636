/** The whole proxy on the simulator's network, in front of three model servers that do as they are told. */
import { ok } from "node:assert/strict";
import type { Config, PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { Proxy, type ProxyOptions } from "../../src/service/proxy.ts";
import { REQUESTS } from "../../src/stats/metrics.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { changeOf } from "../../src/topology/change.ts";
import { SimClock } from "./clock.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SYSTEM, Talker } from "./reader.ts";
import { SimServer } from "./sim_server.ts";
import { Truth } from "./truth.ts";

const THREE: readonly string[] = [1, 2, 3].map((i) => `10.0.0.${i}:6379:1`);

/** What a test would have of a pool and cannot say in a file without more around it. */
type Adjust = Partial<PoolConfig>;

function configOf(yml: string, servers: readonly string[], adjust: Adjust): Config {
  const lines = servers.map((server) => `    - ${server}\n`).join("");
  const config = parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  hash_tag: "{}"\n${yml}  servers:\n${lines}`,
    "sim.yml",
  );
  return { ...config, pools: config.pools.map((pool) => ({ ...pool, ...adjust })) };
}

export class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  config: Config;
  readonly proxy: Proxy;
  /** Of machines 1 to 4, whatever of them is the pool's. */
  readonly servers: SimServer[];
  private epoch = 0;

  private constructor(
    yml: string,
    servers: readonly string[],
    sliceArguments?: number,
    sign?: ProxyOptions["sign"],
    adjust: Adjust = {},
  ) {
    this.config = configOf(yml, servers, adjust);
    const { clock, net, config } = this;
    const log = { level: 0, write: () => {} };
    const random = new Random(2).next;
    this.proxy = new Proxy({ config, net, clock, random, log, system: SYSTEM, sliceArguments, sign });
    this.servers = [1, 2, 3, 4].map((host, i) =>
      new SimServer(
        i,
        { host: `10.0.0.${host}`, port: 6379 },
        true,
        net,
        clock,
        new Truth(),
        new Random(3 + i),
        null,
      )
    );
  }

  /**
   * @param yml more keys of the pool, a line each, indented by two blanks
   * @param servers as a configuration says them
   * @param sign is told what the proxy sees of them
   */
  static async make(
    sliceArguments?: number,
    yml = "",
    servers = THREE,
    sign?: ProxyOptions["sign"],
    adjust: Adjust = {},
  ): Promise<Stand> {
    const stand = new Stand(yml, servers, sliceArguments, sign, adjust);
    for (const server of stand.servers) await server.listen();
    await stand.proxy.listen(null);
    return stand;
  }

  /** Goes on under another configuration, at once. */
  async reload(servers: readonly string[], yml = "", adjust: Adjust = {}): Promise<void> {
    const after = configOf(yml, servers, adjust);
    const stamp = { epoch: ++this.epoch, cause: "reload", atMs: this.clock.wallMs() };
    await this.proxy.reload(changeOf(this.config, after), stamp);
    this.config = after;
  }

  /** A keeper says where servers are. */
  follow(...states: readonly ServerState[]): void {
    this.proxy.follow("alpha", states);
  }

  /** Of machine `index`, from 0. */
  model(index: number): ModelRedis {
    return this.servers[index]!.model as ModelRedis;
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
