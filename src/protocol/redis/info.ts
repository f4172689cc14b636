/**
 * INFO of a pool. Clients look for redis_version, redis_mode, role and loading before they send anything else, so
 * the pool looks like one standalone primary; what only a server can know is left out, not invented.
 */
import { POOL_METRICS } from "../../stats/metrics.ts";
import { modeOf } from "./announced.ts";
import type { Host } from "./answers.ts";
import { redisVersion } from "./identity.ts";

/** The sections of the reply, in Redis's order; each gives its lines without their CRLF. */
const SECTIONS: readonly (readonly [name: string, lines: (host: Host) => readonly string[]])[] = [
  ["Server", (host) => [
    `redis_version:${redisVersion(host.identity)}`,
    ...(host.identity.server === "valkey"
      ? ["server_name:valkey", `valkey_version:${host.identity.version}`]
      : []),
    "redis_git_sha1:00000000",
    "redis_git_dirty:0",
    `redis_mode:${modeOf(host.announced)}`,
    `os:${host.os}`,
    "arch_bits:64",
    `process_id:${host.processId}`,
    `tcp_port:${host.port}`,
    `server_time_usec:${Math.floor(host.wallMs()) * 1000}`,
    `uptime_in_seconds:${Math.floor(host.uptimeSeconds())}`,
    `uptime_in_days:${Math.floor(host.uptimeSeconds() / 86400)}`,
    ...(host.zone == null ? [] : [`availability_zone:${host.zone}`]),
  ]],
  ["Ringmaster", (host) => [
    `ringmaster_version:${host.ringmasterVersion}`,
    `ringmaster_pool:${host.poolName}`,
    `ringmaster_servers:${host.serverCount()}`,
    `ringmaster_live_servers:${host.liveServerCount()}`,
    ...replicaLines(host),
    ...topologyLines(host),
    ...ownMetrics(host),
  ]],
  ["Clients", (host) => [
    `connected_clients:${host.connectedClients()}`,
    "cluster_connections:0",
    `maxclients:${host.clientsMax}`,
  ]],
  ["Memory", (host) => [
    `used_memory:${host.memoryBytes()}`,
    `used_memory_rss:${host.memoryBytes()}`,
    "maxmemory:0",
    "maxmemory_policy:noeviction",
  ]],
  ["Persistence", () => [
    "loading:0",
    "async_loading:0",
    "rdb_bgsave_in_progress:0",
    "aof_enabled:0",
    "aof_rewrite_in_progress:0",
  ]],
  ["Stats", (host) => [
    `total_connections_received:${host.connectionsTotal()}`,
    `total_commands_processed:${host.requestsTotal()}`,
  ]],
  ["Replication", () => [
    "role:master",
    "connected_slaves:0",
    "master_failover_state:no-failover",
    `master_replid:${"0".repeat(40)}`,
    `master_replid2:${"0".repeat(40)}`,
    "master_repl_offset:0",
    "second_repl_offset:-1",
  ]],
  ["CPU", () => []],
  ["Modules", () => []],
  ["Cluster", (host) => [`cluster_enabled:${host.announced == null ? 0 : 1}`]],
  ["Keyspace", () => []],
];

/** Those that may be read from now, if any may be. What they have answered is this worker's: replica_reads is all workers'. */
function replicaLines(host: Host): string[] {
  return (host.replicas?.() ?? []).map(({ server, address, zone, reads }, i) =>
    `ringmaster_replica${i}:server=${server},address=${address},zone=${
      zone ?? ""
    },reads_by_this_worker=${reads}`
  );
}

function topologyLines(host: Host): string[] {
  const { epoch, cause, atMs, count, last } = host.topology();
  return [
    `ringmaster_topology_epoch:${epoch}`,
    `ringmaster_topology_cause:${cause}`,
    `ringmaster_topology_changed_at:${Math.floor(atMs / 1000)}`,
    `ringmaster_topology_events:${count}`,
    ...(last === null ? [] : [
      `ringmaster_topology_last_event:${last.text}`,
      `ringmaster_topology_last_event_at:${Math.floor(last.atMs / 1000)}`,
      `ringmaster_topology_last_event_duration_ms:${last.durationMs}`,
    ]),
  ];
}

/** What twemproxy's statistics document has no place for. */
function ownMetrics(host: Host): string[] {
  return POOL_METRICS.flatMap(({ name, classic }, i) =>
    classic ? [] : [`ringmaster_${name}:${host.poolTotal(i)}`]
  );
}

/**
 * The text of INFO, lines ended by CRLF.
 * @param wanted section names in lower case; none, "all", "default" and "everything" mean every section
 */
export function infoText(wanted: ReadonlySet<string>, host: Host): string {
  const every = wanted.size === 0 || wanted.has("all") || wanted.has("default") || wanted.has("everything");
  const parts: string[] = [];
  for (const [name, lines] of SECTIONS) {
    if (!every && !wanted.has(name.toLowerCase())) continue;
    parts.push([`# ${name}`, ...lines(host)].map((line) => `${line}\r\n`).join(""));
  }
  return parts.join("\r\n");
}
