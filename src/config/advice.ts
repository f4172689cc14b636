/** What is no error in a configuration, but seldom meant: `ringmaster -t` tells it, and the log at the start and after a reload. */
import type { Address } from "../net/net.ts";
import type { Config, PoolConfig } from "./config.ts";
import { isAnyHost, isLoopback } from "./values.ts";

/** A line each; none if there is nothing to say. */
export function adviceFor(config: Config): string[] {
  return config.pools.flatMap((pool) => poolAdvice(pool).map((line) => `pool ${pool.name}: ${line}`));
}

function poolAdvice(pool: PoolConfig): string[] {
  const { listen, servers } = pool;
  const lines = announceAdvice(pool);
  if ("host" in listen && listen.host === "*") {
    lines.push(
      'listen: "*" is 127.0.0.1 or ::1 alone, as with twemproxy; 0.0.0.0 is every IPv4 address, [::] every address',
    );
  }
  if ("host" in listen && listen.host === "localhost") {
    lines.push(
      "listen: localhost is 127.0.0.1 or ::1 alone, which of both the system says, as with twemproxy",
    );
  }
  for (const { name, address } of servers) {
    if (address === null || !isOneSpot(listen, address)) continue;
    lines.push(
      `server ${name} is where the pool listens itself: what is sent there comes back, until it times out`,
    );
  }
  return lines;
}

/** Would who connects to `server` come to the listener? Only what is certain counts. */
function isOneSpot(listen: Address, server: Address): boolean {
  if ("path" in listen || "path" in server) {
    return "path" in listen && "path" in server && listen.path === server.path;
  }
  return listen.port === server.port &&
    (listen.host === server.host || isAnyHost(listen) && isLoopback(server));
}

function announceAdvice({ announceCluster, serversFrom, servers, hashTag }: PoolConfig): string[] {
  const several = servers.length > 1 || serversFrom !== null;
  if (
    !announceCluster || !several || (hashTag !== null && hashTag[0] === 123 && hashTag[1] === 125)
  ) {
    return [];
  }
  return [
    'announce_cluster without hash_tag: "{}": keys with the same {tag} are one slot to cluster clients, and may be on ' +
    "several servers; MULTI, RENAME, scripts and others of more than one key then end with CROSSSLOT",
  ];
}
