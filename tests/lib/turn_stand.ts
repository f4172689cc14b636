/** A proxy of one pool on a TurnNet, and requests through it. */
import { parseConfig } from "../../src/config/parse.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import type { Proxy } from "../../src/service/proxy.ts";
import { latin1 } from "./bytes.ts";
import { owningSlots } from "./slots.ts";
import { TurnNet, type TurnSocket } from "./turn_net.ts";
import { wideMemcachedServer, wideRedisServer } from "./wide_servers.ts";
import { quietProxy } from "./quiet_proxy.ts";

export class WideClient {
  readonly socket: TurnSocket;
  /** What it has read, as it came. */
  readonly read: Uint8Array[] = [];

  constructor(net: TurnNet, certifiedNames?: readonly string[]) {
    this.socket = net.join((bytes) => this.read.push(bytes));
    this.socket.certifiedNames = certifiedNames;
  }
}

export class TurnStand {
  private constructor(readonly net: TurnNet, private readonly proxy: Proxy) {}

  get pool(): Pool {
    return this.proxy.pools[0]!;
  }

  /** @param yml more lines of the pool; with `cluster: true` the servers have equal parts of the slots */
  static async make(
    protocol: "redis" | "memcached",
    servers: number,
    around: (work: () => void) => void,
    yml = "",
  ): Promise<TurnStand> {
    const net = new TurnNet(protocol === "redis" ? wideRedisServer : wideMemcachedServer, (work) => work());
    const cluster = yml.includes("cluster: true");
    const lines = Array.from(
      { length: servers },
      (_, i) => `    - 127.0.0.1:${1 + i}${cluster ? "" : `:1 server${i}`}\n`,
    );
    const config = parseConfig(
      `wide:\n  listen: 127.0.0.1:1\n  redis: ${protocol === "redis"}\n${yml}  servers:\n${lines.join("")}`,
      "wide.yml",
    );
    const proxy = quietProxy(net, owningSlots(config));
    await proxy.listen(null);
    const stand = new TurnStand(net, proxy);
    // Connections are made and greeted before anything is looked at.
    const first = stand.join();
    first.socket.give(latin1(protocol === "redis" ? "*1\r\n$6\r\nDBSIZE\r\n" : "stats\r\n"));
    net.run();
    net.around = around;
    return stand;
  }

  /** @param certifiedNames those of its certificate, if it has shown one */
  join(certifiedNames?: readonly string[]): WideClient {
    const client = new WideClient(this.net, certifiedNames);
    const { around } = this.net;
    this.net.around = (work) => work();
    this.net.run();
    this.net.around = around;
    return client;
  }

  stop(): void {
    this.proxy.stop();
  }
}
