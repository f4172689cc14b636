/**
 * INFO of a pool made of what its servers say: one text that looks like one server's.
 *
 *   server 1: used_memory:900  expired_keys:3  db0:keys=5,expires=1 ┐
 *   server 2: used_memory:100  expired_keys:4  db0:keys=7,expires=0 ┴► used_memory:1000  expired_keys:7  db0:keys=12,expires=1
 *
 * Counts are added, states that hold for the pool if they hold for one server (loading) are the largest, what clients
 * see of the pool itself (port, uptime, connected_clients) is ours, and for all else the first server speaks. With one
 * server everything but ours passes as it is. Fields and sections as in redis-server 7.0 and 7.4.
 */
import type { Host } from "./answers.ts";
import { infoText } from "./info.ts";

/** Fields that are the pool's own; their values are those of `infoText`. */
const OURS: ReadonlySet<string> = new Set([
  "process_id",
  "tcp_port",
  "uptime_in_seconds",
  "uptime_in_days",
  "connected_clients",
  "cluster_connections",
  "maxclients",
  "total_connections_received",
  "total_commands_processed",
]);

const ADDED =
  /^(blocked_clients|tracking_clients|clients_in_timeout_table|used_memory(_[a-z_]+)?|allocator_(allocated|active|resident|[a-z]+_bytes)|[a-z_]+_bytes|number_of_[a-z_]+|maxmemory|mem_(not_counted|replication|total_replication|clients|cluster|aof)[a-z_]*|lazyfree[a-z_]*|rdb_changes_since_last_save|rdb_saves|aof_rewrites|total_(?!system_memory)[a-z_]+|instantaneous_[a-z_]+|rejected_connections|sync_[a-z_]+|expired_(keys|time_cap_reached_count|fields|subkeys)|evicted_[a-z]+|keyspace_(hits|misses)|pubsub_channels|pubsubshard_channels|migrate_cached_sockets|slave_expires_tracked_keys|active_defrag_[a-z_]+|tracking_total_[a-z]+|unexpected_error_replies|acl_[a-z_]+|dump_payload_sanitizations|io_threaded_[a-z_]+|reply_buffer_[a-z_]+|used_cpu_[a-z_]+|connected_slaves)$/;

const LARGEST =
  /^(loading|async_loading|pubsub_patterns|latest_fork_usec|client_recent_max_[a-z_]+|[a-z_]+_in_progress|[a-z_]+_scheduled|expire_cycle_cpu_milliseconds)$/;

/** Lines `name:key=value,key=value`. */
const PAIRS = /^[a-z]+=[^,]*(,[a-z0-9._]+=[^,]*)*$/;

type Sections = Map<string, Map<string, string>>;

/**
 * @param texts what the servers that answered said to the same INFO, in the order of the servers; may be empty
 * @param wanted section names in lower case, as the client asked
 */
export function joinInfoTexts(texts: readonly string[], wanted: ReadonlySet<string>, host: Host): string {
  const own = parse(infoText(wanted, host));
  if (texts.length === 0) return infoText(wanted, host);
  const parts = texts.map(parse);
  const joined: Sections = new Map();
  for (const name of new Set(parts.flatMap((part) => [...part.keys()]))) {
    joined.set(name, joinSection(parts.map((part) => part.get(name)).filter((s) => s !== undefined)));
    for (const [field, value] of own.get(name) ?? []) {
      if (OURS.has(field)) joined.get(name)!.set(field, value);
    }
  }
  for (const name of ["Keyspace", "Keysizes"]) {
    const section = joined.get(name);
    if (section !== undefined) joined.set(name, ownDatabases(section, host));
  }
  const version = lowestVersion(parts);
  if (version !== null) joined.get("Server")!.set("redis_version", version);
  // A pool is one primary to its clients, whatever its servers are to each other.
  if (parts.length > 1) joined.get("Replication")?.set("role", "master");
  const ringmaster = own.get("Ringmaster");
  const pieces: string[] = [];
  for (const [name, fields] of joined) {
    pieces.push(sectionText(name, fields));
    if (name === "Server" && ringmaster !== undefined) pieces.push(sectionText("Ringmaster", ringmaster));
  }
  if (!joined.has("Server") && ringmaster !== undefined) pieces.push(sectionText("Ringmaster", ringmaster));
  return pieces.join("\r\n");
}

/** `db5:…` and `db5_distrib_…:…` of the databases that are the pool's, by the numbers its clients know. */
function ownDatabases(section: ReadonlyMap<string, string>, host: Host): Map<string, string> {
  const own = new Map<string, string>();
  for (const [field, value] of section) {
    const found = /^db(\d+)(.*)$/.exec(field);
    const db = found === null ? -1 : Number(found[1]) - host.redisDb;
    if (found === null) own.set(field, value);
    else if (db >= 0 && db < host.databases) own.set(`db${db}${found[2]}`, value);
  }
  return own;
}

function parse(text: string): Sections {
  const sections: Sections = new Map();
  let fields: Map<string, string> | null = null;
  for (const line of text.split("\r\n")) {
    if (line.startsWith("# ")) {
      fields = new Map();
      sections.set(line.slice(2), fields);
    } else if (line !== "" && fields !== null) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
    }
  }
  return sections;
}

function sectionText(name: string, fields: ReadonlyMap<string, string>): string {
  let text = `# ${name}\r\n`;
  for (const [field, value] of fields) text += `${field}:${value}\r\n`;
  return text;
}

function joinSection(sections: readonly ReadonlyMap<string, string>[]): Map<string, string> {
  const joined = new Map(sections[0]);
  if (sections.length === 1) return joined;
  for (const field of new Set(sections.flatMap((section) => [...section.keys()]))) {
    const values = sections.map((section) => section.get(field)).filter((value) => value !== undefined);
    // One server's replicas are none of the pool's.
    if (/^slave\d+$/.test(field)) joined.delete(field);
    else joined.set(field, joinValue(field, values));
  }
  for (const [field, value] of joined) {
    if (!field.endsWith("_human") || field === "total_system_memory_human") continue;
    const bytes = joined.get(field.slice(0, -"_human".length));
    joined.set(field, bytes === undefined ? value : human(Number(bytes)));
  }
  return joined;
}

function joinValue(field: string, values: readonly string[]): string {
  const first = values[0]!;
  if (PAIRS.test(first)) return joinPairs(values);
  if (field.endsWith("_status")) return values.find((value) => value !== "ok") ?? first;
  if (field.endsWith("_human") || field.endsWith("_perc")) return first;
  const numbers = values.map(Number);
  if (numbers.some(Number.isNaN)) return first;
  if (ADDED.test(field)) return shown(numbers.reduce((a, b) => a + b), first);
  if (LARGEST.test(field)) return shown(Math.max(...numbers), first);
  return first;
}

/** `calls=3,usec=12,usec_per_call=4.00`, `keys=5,expires=0,avg_ttl=0`: counts are added, averages averaged. */
function joinPairs(values: readonly string[]): string {
  const rows = values.map((value) =>
    new Map(value.split(",").map((pair) => pair.split("=") as [string, string]))
  );
  const names = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  const sums = new Map(
    names.map((name) => [name, rows.reduce((sum, row) => sum + Number(row.get(name) ?? 0), 0)]),
  );
  const texts = names.map((name) => {
    const sample = rows.find((row) => row.has(name))!.get(name)!;
    if (name === "usec_per_call") return (sums.get("usec")! / Math.max(1, sums.get("calls")!)).toFixed(2);
    if (/^p\d/.test(name)) return shown(Math.max(...rows.map((row) => Number(row.get(name) ?? 0))), sample);
    if (name === "avg_ttl") return String(Math.round(averageTtl(rows)));
    return Number.isNaN(sums.get(name)!) ? sample : shown(sums.get(name)!, sample);
  });
  return names.map((name, i) => `${name}=${texts[i]}`).join(",");
}

/** Over the keys that expire, wherever they are. */
function averageTtl(rows: readonly ReadonlyMap<string, string>[]): number {
  let sum = 0;
  let count = 0;
  for (const row of rows) {
    const expires = Number(row.get("expires") ?? 0);
    sum += expires * Number(row.get("avg_ttl") ?? 0);
    count += expires;
  }
  return count === 0 ? 0 : sum / count;
}

/** With as many decimals as the servers show. */
function shown(value: number, sample: string): string {
  const dot = sample.indexOf(".");
  return dot < 0 ? String(value) : value.toFixed(sample.length - dot - 1);
}

function human(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const power = Math.min(5, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(2)}${"BKMGTP"[power]}`;
}

/** What all servers can do; null if none says its version. */
function lowestVersion(parts: readonly Sections[]): string | null {
  let lowest: string | null = null;
  for (const part of parts) {
    const version = part.get("Server")?.get("redis_version");
    if (version === undefined) continue;
    if (lowest === null || rank(version) < rank(lowest)) lowest = version;
  }
  return lowest;
}

function rank(version: string): number {
  const [major, minor, patch] = version.split(".").map(Number);
  return (major ?? 0) * 1e6 + (minor ?? 0) * 1e3 + (patch ?? 0);
}
