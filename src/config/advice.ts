/** What is no error in a configuration, but seldom meant: `ringmaster -t` tells it, and the log at the start and after a reload. */
import type { Config, PoolConfig } from "./config.ts";

/** A line each; none if there is nothing to say. */
export function adviceFor(config: Config): string[] {
  return config.pools.flatMap((pool) => poolAdvice(pool).map((line) => `pool ${pool.name}: ${line}`));
}

function poolAdvice({ announceCluster, serversFrom, servers, hashTag }: PoolConfig): string[] {
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
