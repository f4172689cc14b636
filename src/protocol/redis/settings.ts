/**
 * CONFIG GET of a pool: what clients are told of its servers' settings, and one value where the servers differ.
 *
 *   databases, timeout, …        the pool's own, whatever the servers have (answers.ts)
 *   maxmemory, save, …           the servers'; these are all there is while dangerous_commands is deny
 *   requirepass, tls-key-file …  never
 *
 * What the servers say is not made up, so a program that needs `maxmemory-policy: noeviction` sees whether it has it.
 */

/** What clients see of the pool, not of its servers. */
export const POOL_SETTINGS: ReadonlySet<string> = new Set([
  "cluster-enabled",
  "databases",
  "maxclients",
  "port",
  "proto-max-bulk-len",
  "timeout",
]);

/** The first server's. */
const FIRST = 0;
/** Bytes of all together, as in INFO; 0, which is no limit, if one has none. */
const LIMIT = 1;
/** What is only so if all say yes. */
const ALL_YES = 2;
/** If one server evicts keys the pool does: the first that is not noeviction. */
const EVICTION = 3;
/** Kinds of events, a letter each: those that all servers tell of. */
const EVENTS = 4;

const SHOWN: ReadonlyMap<string, number> = new Map([
  ["maxmemory", LIMIT],
  ["maxmemory-policy", EVICTION],
  ["notify-keyspace-events", EVENTS],
  ["appendonly", ALL_YES],
  ...("maxmemory-clients maxmemory-samples maxmemory-eviction-tenacity lfu-log-factor lfu-decay-time " +
    "lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del " +
    "lazyfree-lazy-user-flush active-expire-effort hz dynamic-hz save appendfsync aof-use-rdb-preamble " +
    "replica-read-only slave-read-only min-replicas-to-write min-slaves-to-write min-replicas-max-lag " +
    "min-slaves-max-lag hash-max-listpack-entries hash-max-listpack-value hash-max-ziplist-entries " +
    "hash-max-ziplist-value list-max-listpack-size list-max-ziplist-size list-compress-depth " +
    "set-max-intset-entries set-max-listpack-entries set-max-listpack-value zset-max-listpack-entries " +
    "zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value stream-node-max-bytes " +
    "stream-node-max-entries hll-sparse-max-bytes client-query-buffer-limit lua-time-limit " +
    "busy-reply-threshold slowlog-log-slower-than slowlog-max-len commandlog-execution-slower-than " +
    "commandlog-slow-execution-max-len commandlog-request-larger-than commandlog-large-request-max-len " +
    "commandlog-reply-larger-than commandlog-large-reply-max-len latency-monitor-threshold " +
    "latency-tracking tracking-table-max-keys activedefrag").split(" ").map((name) => [name, FIRST] as const),
]);

/** requirepass, masterauth, primaryuser, tls-key-file, tls-client-key-file-pass; of modules too. */
const SECRET = /pass|auth$|user$|key-file|secret|token|credential/;

/** Of "A" in notify-keyspace-events: what every server with it tells of. */
const ALL_EVENTS = "g$lshzxetd";

/**
 * The settings a client is told.
 * @param servers what each server that answered said to CONFIG GET; none = the pool's own alone
 * @param own of the pool, those that the client asked for
 * @param every all but the secret ones, not only those in the table
 */
export function joinSettings(
  servers: readonly ReadonlyMap<string, string>[],
  own: ReadonlyMap<string, string>,
  every: boolean,
): Map<string, string> {
  const joined = new Map<string, string>();
  for (const name of new Set(servers.flatMap((settings) => [...settings.keys()]))) {
    const rule = SHOWN.get(name);
    if (POOL_SETTINGS.has(name) || SECRET.test(name) || (rule === undefined && !every)) continue;
    const values = servers.map((settings) => settings.get(name)).filter((value) => value !== undefined);
    joined.set(name, joinSetting(rule ?? FIRST, values));
  }
  for (const [name, value] of own) joined.set(name, value);
  return joined;
}

function joinSetting(rule: number, values: readonly string[]): string {
  const first = values[0]!;
  if (values.every((value) => value === first) && rule !== LIMIT) return first;
  switch (rule) {
    case LIMIT: {
      const limits = values.map(Number);
      if (limits.some(Number.isNaN)) return first;
      return limits.includes(0) ? "0" : String(limits.reduce((a, b) => a + b));
    }
    case ALL_YES:
      return values.find((value) => value !== "yes") ?? first;
    case EVICTION:
      return values.find((value) => value !== "noeviction") ?? first;
    case EVENTS:
      return commonEvents(values);
    default:
      return first;
  }
}

function commonEvents(values: readonly string[]): string {
  const sets = values.map((value) => value.includes("A") ? value + ALL_EVENTS : value);
  const common = [...new Set(sets[0])].filter((letter) => sets.every((set) => set.includes(letter)));
  if (!common.includes("A")) return common.join("");
  return common.filter((letter) => !ALL_EVENTS.includes(letter)).join("");
}
