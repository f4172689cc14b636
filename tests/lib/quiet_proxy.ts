/** A proxy of this process that writes no log and draws nothing, on a net with a clock of its own (turn_net.ts, bench/core_net.ts). */
import type { Config } from "../../src/config/config.ts";
import type { Clock, Net } from "../../src/net/net.ts";
import { Proxy, type ProxyOptions } from "../../src/service/proxy.ts";

export function quietProxy(
  net: Net & { readonly clock: Clock },
  config: Config,
  more: Partial<ProxyOptions> = {},
): Proxy {
  return new Proxy({
    config,
    net,
    clock: net.clock,
    random: () => 0.5,
    log: { level: 0, write: () => {} },
    system: { hostName: "quiet", processId: 1, os: "quiet", filesMax: 0, memoryBytes: () => 0 },
    ...more,
  });
}
