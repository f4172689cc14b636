/**
 * Every configuration key, once: its type, unit, default, range and sentence.
 *
 *   KEYS ──► parse.ts (values, errors)   ──► describe.ts (docs/configuration.md, conf/ringmaster.yml)
 *        └─► cli/schema.ts (JSON Schema)
 *
 * To add a key: a row here, and `deno task docs`; the types in config.ts have its field then (`Fields`). Absence from this
 * table means "unknown key". Twemproxy's keys, defaults and ranges are those of twemproxy 0.5.0 (`reuseport`: its HEAD).
 */
import { RATE_MAX } from "../stats/tapped.ts";
import { HASHES } from "../hash/hash.ts";
import { DISTRIBUTIONS } from "../ring/ring.ts";
import { encode } from "../bytes/ascii.ts";
import type { IpRange } from "../net/ip_range.ts";
import type { Address } from "../net/net.ts";
import type { Rates } from "../stats/quotas.ts";
import type {
  AnnouncedConfig,
  Credentials,
  DistributionName,
  Failover,
  HashName,
  LagMax,
  LogConfig,
  ReadFrom,
  ReplicaConfig,
  SentinelConfig,
  ServerConfig,
  ServersFrom,
  ServerTlsConfig,
  TlsConfig,
  TlsPair,
  TlsVersion,
  UserConfig,
  UserFrom,
} from "./config.ts";
import type { Zone } from "../net/zones.ts";
import type { WrittenAddress } from "./values.ts";

/** twemproxy's largest number: it counts in 32-bit signed integers. */
export const INTEGER_MAX = 2147483647;

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Where a key may stand: in a pool, under `ringmaster:`, under its `log:`, in a server written as a mapping, one of its replicas, in `servers_from`, `tls`, its `sni`, `server_tls`, `admin_tls`, `per_address`, `users`, or `server_auth`. */
export type Scope =
  | "pool"
  | "process"
  | "log"
  | "server"
  | "replica"
  | "from"
  | "tls"
  | "server_tls"
  | "sni"
  | "admin_tls"
  | "limits"
  | "user"
  | "server_auth";

/**
 * How the text of a value is read, and what it is then. integer, ms and size are decimal digits (size with an optional unit);
 * from hash_tag on they have a grammar of their own, in values.ts.
 */
export interface ValueTypes {
  integer: number;
  ms: number;
  size: number;
  bool: boolean;
  /** One of `values`. */
  enum: string;
  text: string;
  hash_tag: Uint8Array;
  listen: WrittenAddress;
  servers: readonly ServerConfig[];
  servers_from: ServersFrom;
  dns_name: { readonly name: string; readonly port: number | null };
  nameserver: string;
  workers: number;
  log: LogConfig;
  log_level: number;
  percent: number;
  /** http or https, without user, query and fragment, and without a slash at its end. */
  url: string;
  /** Names in lower case, with their values. */
  headers: readonly (readonly [name: string, value: string])[];
  admin: { readonly address: Address | null; readonly text: string };
  address: WrittenAddress;
  sentinels: readonly SentinelConfig[];
  announced: readonly AnnouncedConfig[];
  ranges: readonly IpRange[];
  credentials: Credentials;
  lag: LagMax;
  replicas: readonly ReplicaConfig[];
  server_name: string;
  zones: readonly Zone[];
  tls: TlsConfig;
  server_tls: ServerTlsConfig;
  sni: readonly TlsPair[];
  admin_tls: TlsConfig;
  path: string;
  limits: Rates;
  users: readonly UserConfig[];
  /** What one writes, and what is kept of it. */
  rules: readonly string[];
  server_auth: Credentials;
}

export type KeyType = keyof ValueTypes;

export interface Key {
  readonly name: string;
  readonly scope: Scope;
  readonly type: KeyType;
  /** The field of PoolConfig, ProcessConfig, its log, ServerConfig, or ServersFrom. */
  readonly field: string;
  /** As one writes it in the file; null: there is none, and absence means what `absent` says. */
  readonly default: string | null;
  /** What it means to leave out a key that has no default; "required" if one cannot. */
  readonly absent: string | null;
  /** Smallest and largest value of integer, ms and size (in bytes). */
  readonly min: number;
  readonly max: number;
  /** The words an enum may be; empty otherwise. */
  readonly values: readonly string[];
  /** What the numbers count, for people: "ms", "bytes", "connections", …; "" where there is nothing to count. */
  readonly unit: string;
  /** True if twemproxy has the key. */
  readonly twemproxy: boolean;
  /** What the key does, one sentence. */
  readonly sentence: string;
  /** Why the default is what it is, or what to consider before changing it. */
  readonly reason: string;
  /** A value to show where there is no default. */
  readonly example: string;
  /** From the value in the file to the value of the field, where the two differ. */
  readonly normalise: ((value: any) => unknown) | null;
  /** True if error messages must not show the value. */
  readonly secret: boolean;
}

export const HASH_NAMES = Object.keys(HASHES) as readonly HashName[];
export const FAILOVERS: readonly Failover[] = ["none", "sentinel", "promote"];
export const READ_FROMS: readonly ReadFrom[] = ["primary", "prefer_replica", "replica", "any", "nearest"];
export const DISTRIBUTION_NAMES = Object.keys(DISTRIBUTIONS) as readonly DistributionName[];

/** Log levels by number, 0 first; twemproxy's names. */
export const LOG_LEVELS: readonly string[] = [
  "emerg",
  "alert",
  "crit",
  "err",
  "warn",
  "notice",
  "info",
  "debug",
  "verb",
  "vverb",
  "vvverb",
  "pverb",
];

/** The reserved top-level name: what stands under it is about the process, unless it has a `listen`, as a pool has. */
export const PROCESS_NAME = "ringmaster";

/** The most proxies of a cluster that is announced: all are told to whoever asks for the slots, in one turn. */
export const ANNOUNCED_MAX = 100;

/** The most ranges of one list: whoever connects is compared with one after the other. */
export const RANGES_MAX = 1000;

/** The most users of a pool. */
export const USERS_MAX = 10_000;

/** The most worker threads. */
export const WORKERS_MAX = 256;

/** A row, and in its type what its field is. */
type Row<F extends string, V> = Key & { readonly field: F; readonly of?: V };

type Rest = Partial<Key> & { readonly sentence: string; readonly reason: string };

/** What a field is: as its row says, or null where that has no default. */
type FieldOf<T extends KeyType, R extends Rest> =
  | (R extends { readonly normalise: (value: any) => infer V } ? V
    : R extends { readonly values: readonly (infer W)[] } ? W
    : ValueTypes[T])
  | (R extends { readonly default: string } ? never : null);

/** The fields of a table's rows. */
export type Fields<K extends readonly Key[]> = {
  readonly [R in K[number] as R["field"]]: R extends Row<string, infer V> ? Exclude<V, undefined> : never;
};

function key<T extends KeyType, F extends string, const R extends Rest>(
  scope: Scope,
  name: string,
  type: T,
  field: F,
  rest: R,
): Row<F, FieldOf<T, R>> {
  return {
    scope,
    name,
    type,
    default: null,
    absent: null,
    min: 0,
    max: INTEGER_MAX,
    values: type === "bool" ? ["true", "false"] : [],
    unit: type === "ms" ? "ms" : type === "size" ? "bytes" : "",
    twemproxy: false,
    example: "",
    normalise: null,
    secret: false,
    ...rest,
    field,
  };
}

const twemproxy = true;

export const POOL_KEYS = [
  key("pool", "listen", "listen", "listen", {
    twemproxy,
    absent: "required",
    example: "127.0.0.1:22121",
    sentence:
      "Where clients connect: HOST:PORT (the last colon counts), or /PATH of a unix socket and, after a space, its octal permissions.",
    reason: "Every pool has its own; 0.0.0.0 or 0 is every IPv4 address of this machine.",
  }),
  key("pool", "servers", "servers", "servers", {
    twemproxy,
    absent: "servers_from",
    example: "[ 127.0.0.1:6379:1 ]",
    sentence:
      "The servers behind the pool, each HOST:PORT:WEIGHT or /PATH:WEIGHT, with a NAME after a space if it has one.",
    reason: "The name is what places keys: keep it when a server moves to another address and its keys stay.",
  }),
  key("pool", "servers_from", "servers_from", "serversFrom", {
    absent: "servers",
    example: "{ dns: redis.example.com:6379 }",
    sentence:
      "In place of servers: DNS or a file that says what they are now, looked at while the proxy runs.",
    reason: "Where servers come and go. What fails, or names no server, changes nothing.",
  }),
  key("pool", "tls", "tls", "tls", {
    absent: "clients speak plain TCP",
    example: "{ certificate: server.crt, key: server.key }",
    sentence:
      "Clients speak TLS: a mapping of certificate and key, and perhaps ca, client_certificates, min_version, max_version, sni and handshake_timeout.",
    reason:
      "See docs/tls.md. Files are looked at once a second, and what has changed counts for new connections.",
  }),
  key("pool", "server_tls", "server_tls", "serverTls", {
    absent: "servers are spoken to in plain TCP",
    example: "{ ca: servers-ca.crt }",
    sentence:
      "Servers, and the pool's sentinels, replicas and cluster nodes, are spoken to in TLS: a mapping of ca, name, verify, certificate, key, min_version and max_version.",
    reason: "The handshake is part of connect_timeout. See docs/tls.md.",
  }),
  key("pool", "allow", "ranges", "allow", {
    absent: "everybody",
    example: "[ 10.0.0.0/8, 2001:db8::/32 ]",
    sentence:
      "Who may connect: addresses and ranges of them (CIDR); others are closed at once. Unix sockets are not asked.",
    reason: "A reload changes it for new connections. docs/access.md has the rest.",
  }),
  key("pool", "deny", "ranges", "deny", {
    absent: "nobody",
    example: "[ 10.66.0.0/16 ]",
    sentence: "Who may not connect, whatever allow says.",
    reason: "Deny wins, however narrow a range of allow is.",
  }),
  key("pool", "per_address", "limits", "perAddress", {
    absent: "no limits",
    example: "{ max_requests_per_s: 1000, max_connections: 100 }",
    sentence:
      "What all clients of one address may do together, over all workers: a mapping of max_requests_per_s, max_bytes_per_s and max_connections.",
    reason:
      "One address is one of IPv4, or 2^64 of IPv6 (a /64). Unix sockets are not counted. docs/access.md has the rest.",
  }),
  key("pool", "proxy_protocol", "enum", "proxyProtocol", {
    default: "off",
    values: ["off", "on"],
    normalise: (word: string) => word === "on",
    sentence:
      "Whether each connection begins with a header of the PROXY protocol, version 1 or 2, which says who the client is.",
    reason:
      "For a load balancer in front that sends it (HAProxy: send-proxy or send-proxy-v2). Needs proxy_from.",
  }),
  key("pool", "proxy_from", "ranges", "proxyFrom", {
    absent: "needed with proxy_protocol: on",
    example: "[ 10.0.0.5, 10.0.0.6 ]",
    sentence:
      "With proxy_protocol: the load balancers' addresses; who connects from anywhere else is closed at once.",
    reason: "Whoever may send the header may say to be anybody.",
  }),
  key("pool", "redis", "bool", "redis", {
    twemproxy,
    default: "false",
    sentence: "Whether clients and servers speak the Redis protocol; false is memcached's.",
    reason: "As in twemproxy, whose first protocol was memcached's.",
  }),
  key("pool", "hash", "enum", "hash", {
    twemproxy,
    default: "fnv1a_64",
    values: HASH_NAMES,
    sentence: "The function that hashes keys.",
    reason:
      "As in twemproxy. Changing it moves nearly all keys. crc32 has 15 bits only: with ketama it loads one server.",
  }),
  key("pool", "hash_tag", "hash_tag", "hashTag", {
    twemproxy,
    absent: "the whole key is hashed",
    example: '"{}"',
    sentence:
      "Two bytes; of a key that has both, only what lies between them is hashed, so {user1}:name and {user1}:mail meet on one server.",
    reason: "As in twemproxy. Needed by commands whose keys must be on one server.",
  }),
  key("pool", "distribution", "enum", "distribution", {
    twemproxy,
    default: "ketama",
    values: DISTRIBUTION_NAMES,
    sentence:
      "How a hash becomes a server: ketama (consistent hashing), modula (remainder), random (any, each time).",
    reason: "As in twemproxy. With ketama a server that comes or goes moves only its own share of the keys.",
  }),
  key("pool", "timeout", "ms", "timeoutMs", {
    twemproxy,
    absent: "none",
    example: "400",
    normalise: (ms: number) => ms === 0 ? -1 : ms,
    sentence:
      "How long a request may wait for its server's reply before the client gets an error; 0 is none.",
    reason: "As in twemproxy, which then waits for ever; set it to some times the slowest reply you expect.",
  }),
  key("pool", "connect_timeout", "ms", "connectTimeoutMs", {
    default: "1000",
    min: 1,
    sentence: "How long connecting to a server may take before it counts as a failure.",
    reason:
      "Enough for one lost SYN to be sent again; without it a silent host takes the kernel two minutes.",
  }),
  key("pool", "idle_timeout", "ms", "idleTimeoutMs", {
    default: "0",
    sentence: "A client that has sent nothing for this long, and is owed nothing, is closed; 0 is never.",
    reason: "As in twemproxy: connection pools of clients rest for hours.",
  }),
  key("pool", "backlog", "integer", "backlog", {
    twemproxy,
    default: "512",
    unit: "connections",
    sentence: "How many connections may wait in the kernel to be accepted.",
    reason: "As in twemproxy. The kernel's own limit (net.core.somaxconn) holds too.",
  }),
  key("pool", "client_connections", "integer", "clientConnectionsMax", {
    twemproxy,
    default: "0",
    unit: "connections",
    sentence: "The most clients at one time; 0 is as many as the limit of open files leaves.",
    reason: "No limit: what twemproxy does whatever the file says.",
  }),
  key("pool", "tcpkeepalive", "bool", "tcpKeepalive", {
    twemproxy,
    default: "false",
    sentence: "Whether the kernel probes clients' connections that rest (SO_KEEPALIVE).",
    reason: "As in twemproxy. True finds clients that vanished behind a firewall.",
  }),
  key("pool", "reuseport", "bool", "reusePort", {
    twemproxy,
    default: "false",
    sentence: "Whether other processes may listen on the same address too (SO_REUSEPORT).",
    reason: "As in twemproxy: a second start by mistake fails. Worker threads share the address without it.",
  }),
  key("pool", "redis_auth", "text", "redisAuth", {
    twemproxy,
    absent: "no password",
    example: "a password",
    secret: true,
    normalise: encode,
    sentence: "The password that clients must give, and that is given to the servers; Redis pools only.",
    reason: "As in twemproxy. Quote a password that begins with a sign that means something in YAML.",
  }),
  key("pool", "users", "users", "users", {
    absent: "none: every client may do everything",
    example: '[ { name: app, password: "${APP_PASSWORD}", rules: "~app:* +@read +@write" } ]',
    sentence:
      "Who may do what: a list of mappings of name, rules, and how they log in: password, password_file, password_sha256, password_hash or nopass; and limits and scripts. In a memcached pool they say who may come in.",
    reason:
      "Rules are those of Redis's ACL. Who does not log in is the user default, who may do nothing unless the list has it, or redis_auth is set. See docs/users.md.",
  }),
  key("pool", "per_user", "limits", "perUser", {
    absent: "no limits",
    example: "{ max_requests_per_s: 1000, max_connections: 100 }",
    sentence:
      "What all clients of one user may do together, over all workers: a mapping as of per_address. Redis pools only.",
    reason: "For users without limits of their own. Whoever is not logged in is no user. See docs/access.md.",
  }),
  key("pool", "server_auth", "server_auth", "serverAuth", {
    absent: "redis_auth",
    example: '{ username: proxy, password: "${SERVER_PASSWORD}" }',
    secret: true,
    sentence:
      "With what the proxy logs in to the pool's servers, replicas and cluster nodes: a mapping of username, and password or password_file. Redis pools only.",
    reason: "Where servers know the proxy by another name or password than its clients know themselves.",
  }),
  key("pool", "redis_db", "integer", "redisDb", {
    twemproxy,
    default: "0",
    sentence: "The database of the servers in which the pool lives; memcached pools ignore it.",
    reason: "As in twemproxy. To clients it is database 0.",
  }),
  key("pool", "databases", "integer", "databases", {
    default: "1",
    min: 1,
    max: 16384,
    unit: "databases",
    sentence: "How many databases clients may SELECT; 1 is only the pool's own. Redis pools only.",
    reason: "twemproxy has no SELECT; each database in use has connections of its own to each server.",
  }),
  key("pool", "announce_cluster", "bool", "announceCluster", {
    default: "false",
    sentence:
      "Whether clients in cluster mode may connect: to them the proxy is a cluster, in which it, or those of announce, owns all slots. Redis pools only.",
    reason: "Other clients take no notice, but programs ask what a server is. docs/cluster.md has the rest.",
  }),
  key("pool", "announce", "announced", "announce", {
    absent: "the address that a client is connected to",
    example: "[ proxy1.example.com:22121, proxy2.example.com:22121 ]",
    sentence:
      "With announce_cluster: where clients reach this proxy and the others like it, HOST:PORT each; the slots are shared among them.",
    reason: "Needed behind NAT and mapped ports, and for several proxies: the same list on each.",
  }),
  key("pool", "preconnect", "bool", "preconnect", {
    twemproxy,
    default: "false",
    sentence: "Whether servers are connected at start, and not by the first request.",
    reason: "As in twemproxy. True moves the cost of connecting from the first requests to the start.",
  }),
  key("pool", "server_connections", "integer", "serverConnections", {
    twemproxy,
    default: "1",
    min: 1,
    unit: "connections",
    sentence:
      "Connections to each server, per worker thread; one client's requests to a server always use the same one.",
    reason:
      "As in twemproxy. One is fastest, as more requests share a packet; more help only if replies are large.",
  }),
  key("pool", "auto_eject_hosts", "bool", "autoEjectHosts", {
    twemproxy,
    default: "false",
    sentence:
      "Whether a server that keeps failing is taken off the ring for a while, and its keys given to the others.",
    reason:
      "As in twemproxy. Right for caches; wrong for stores, where another server does not have the key.",
  }),
  key("pool", "server_failure_limit", "integer", "serverFailureLimit", {
    twemproxy,
    default: "2",
    unit: "failures",
    normalise: (limit: number) => limit === 0 ? 1 : limit,
    sentence: "Failures in a row that eject a server, with auto_eject_hosts; 0 counts as 1.",
    reason: "As in twemproxy. One failure alone may be chance.",
  }),
  key("pool", "server_retry_timeout", "ms", "serverRetryTimeoutMs", {
    twemproxy,
    default: "30000",
    sentence: "How long an ejected server rests before it is tried again.",
    reason: "As in twemproxy. Shorter means sooner back, and more probes of a dead server.",
  }),
  key("pool", "probe_timeout", "ms", "probeTimeoutMs", {
    default: "1000",
    min: 1,
    sentence: "How long an ejected server may take to answer the probe that lets it return to the ring.",
    reason: "A server that needs a second for PING or version is not ready for traffic.",
  }),
  key("pool", "max_request_size", "size", "requestSizeMax", {
    default: "512mb",
    min: 64,
    max: 4 * GIB,
    sentence: "The largest request, all of it; a larger one gets an error.",
    reason: "Redis' own limit of one value.",
  }),
  key("pool", "max_arguments", "integer", "argumentsMax", {
    default: "1048576",
    min: 1,
    unit: "arguments",
    sentence: "The most arguments (Redis) or keys (memcached) of one request.",
    reason: "Redis' own limit through version 6; nobody needs a longer MGET.",
  }),
  key("pool", "max_in_flight", "integer", "inFlightMax", {
    default: "10000",
    min: 1,
    unit: "requests",
    sentence:
      "Unanswered requests of one client beyond which it is read no further until replies have gone out.",
    reason: "Deeper pipelines gain nothing and cost memory; the client only waits, nothing is refused.",
  }),
  key("pool", "client_output_limit", "size", "clientOutputMax", {
    default: "256mb",
    min: KIB,
    max: 64 * GIB,
    sentence: "Replies a client has not read beyond which it is closed.",
    reason: "Redis closes its replicas at 256mb; a client that never reads must not take the memory of all.",
  }),
  key("pool", "dangerous_commands", "enum", "dangerousCommands", {
    default: "deny",
    values: ["deny", "allow"],
    normalise: (word: string) => word === "allow",
    sentence:
      "What happens to FLUSHALL, FLUSHDB, SHUTDOWN, DEBUG, CONFIG SET, SCRIPT FLUSH, SLOWLOG RESET and others that reach beyond a key. Scripts are not looked into.",
    reason: "twemproxy knows none of them; deny answers with an error that says so.",
  }),
  key("pool", "failover", "enum", "failover", {
    default: "none",
    values: FAILOVERS,
    sentence:
      "Who puts another in the place of a server that died: none, the sentinels (sentinel), or this proxy, which promotes the best replica (promote). Redis pools only.",
    reason: "As in twemproxy, whose servers keep their addresses. docs/high-availability.md has each mode.",
  }),
  key("pool", "sentinels", "sentinels", "sentinels", {
    absent: "none",
    example: "[ 127.0.0.1:26379, 127.0.0.1:26380, 127.0.0.1:26381 ]",
    sentence:
      "With failover: sentinel: where the sentinels are, HOST:PORT each; others they know are learned.",
    reason: "Name all of them: one that is stale is outvoted by the rest.",
  }),
  key("pool", "sentinel_auth", "credentials", "sentinelAuth", {
    absent: "no password",
    example: "a password",
    secret: true,
    sentence:
      "The sentinels' password, or USER:PASSWORD; a password with a colon in it has one more before it.",
    reason: "Sentinels have passwords of their own; redis_auth is the servers'.",
  }),
  key("pool", "read_from", "enum", "readFrom", {
    default: "primary",
    values: READ_FROMS,
    sentence:
      "Where reads go: the primary, a replica if there is a healthy one (prefer_replica, replica), any of them, or the nearest by zone. Redis pools only.",
    reason: "Replicas answer with what they have, which may be older than what a client has just written.",
  }),
  key("pool", "max_lag", "lag", "maxLag", {
    default: "10s",
    sentence: "A replica that is further behind than this, in time or in bytes, is not read from.",
    reason: "A healthy idle replica hears of its primary every 10 s at the latest.",
  }),
  key("pool", "read_your_writes", "bool", "readYourWrites", {
    default: "false",
    sentence: "Whether a client that has written reads from the primary until the replica has what it wrote.",
    reason: "Costs the primary some reads; of use with read_from only.",
  }),
  key("pool", "retry_reads", "bool", "retryReads", {
    default: "false",
    sentence:
      "Whether a read that got no reply, since its server went away, is sent once more to the one that took its place.",
    reason: "The bytes of reads in flight are kept for it. Writes are never sent twice.",
  }),
  key("pool", "max_ejected", "percent", "maxEjected", {
    default: "100%",
    sentence:
      "With auto_eject_hosts: the share of the pool's servers that may be off the ring at a time, over all workers; one that fails beyond it stays, and its clients get its errors.",
    reason:
      "As in twemproxy, which ejects them all. 50% keeps a fault of the network from emptying the ring; of several servers one may always go, but at 0%.",
  }),
  key("pool", "cluster", "bool", "cluster", {
    default: "false",
    sentence:
      "Whether the servers are a Redis or Valkey Cluster: servers are some of its nodes, HOST:PORT each, and the cluster says the rest. Redis pools only.",
    reason:
      "One address in front of it for clients that cannot follow MOVED and ASK. docs/cluster.md has more.",
  }),
  key("pool", "cluster_refresh", "ms", "clusterRefreshMs", {
    default: "5000",
    min: 100,
    sentence: "With cluster: how often it is asked who owns which slots, while nothing points to a change.",
    reason: "MOVED and failing nodes make it ask at once; this finds new replicas and nodes.",
  }),
  key("pool", "cluster_tryagain", "ms", "clusterTryagainMs", {
    default: "5000",
    sentence:
      "With cluster: how long a request is tried again, with pauses, that a cluster in the middle of a change cannot serve (TRYAGAIN); 0 is never.",
    reason: "Moving one full slot takes seconds; requests of several keys of it cannot be served meanwhile.",
  }),
  key("pool", "slowlog_threshold", "ms", "slowlogThresholdMs", {
    default: "0",
    sentence:
      "Requests that take at least so long, waiting here and at their server together, are kept in the slow log; 0 keeps none.",
    reason:
      "The first bytes of what is in flight have to be kept for it, and SLOWLOG is answered by the proxy then. 10 is what Redis has.",
  }),
  key("pool", "slowlog_max_len", "integer", "slowlogMaxLen", {
    default: "128",
    min: 1,
    max: 256,
    unit: "requests",
    sentence: "How many of them are kept, the newest.",
    reason: "As in Redis.",
  }),
  key("pool", "slowlog_mask", "bool", "slowlogMask", {
    default: "false",
    sentence: "Shows of a slow request only the command and the word behind it, as a rule its key.",
    reason: "Values are shortened anyway; passwords are never shown.",
  }),
  key("pool", "promoter", "bool", "promoter", {
    default: "true",
    sentence: "With failover: promote: whether this proxy promotes, or only follows what others do.",
    reason:
      "Several proxies agree on the replicas themselves; with false on all but one there is nothing to agree on.",
  }),
] as const;

/** Keys of a pool that mean something to Redis' replication alone: in a memcached pool they stay as they are. */
export const REPLICATION_KEYS: readonly string[] = [
  "failover",
  "sentinels",
  "sentinel_auth",
  "read_from",
  "max_lag",
  "read_your_writes",
  "retry_reads",
  "promoter",
];

/** Keys of a pool that mean nothing where a cluster places keys and looks after its nodes. */
export const NOT_IN_CLUSTER_KEYS: readonly string[] = [
  "servers_from",
  "hash",
  "hash_tag",
  "distribution",
  "auto_eject_hosts",
  "server_failure_limit",
  "max_ejected",
  "failover",
  "sentinels",
  "sentinel_auth",
  "promoter",
];
/** … and those that mean nothing without one. */
export const CLUSTER_KEYS: readonly string[] = ["cluster_refresh", "cluster_tryagain"];

export const PROCESS_KEYS = [
  key("process", "workers", "workers", "workers", {
    default: "1",
    min: 1,
    max: WORKERS_MAX,
    unit: "threads",
    sentence: "Threads that carry traffic, 1 to 256, or auto: one for each core.",
    reason: "One core carries what twemproxy does; each thread has its own connections to every server.",
  }),
  key("process", "admin", "admin", "admin", {
    default: "off",
    example: "127.0.0.1:22280",
    sentence:
      "Where the HTTP side listens, HOST:PORT, or off; on another address than this machine's own (127.0.0.1, ::1, localhost) with admin_token_file only, or admin_tls that asks for certificates.",
    reason:
      "twemproxy has none. It says what the proxy sees, and takes orders: see docs/admin.md for who may give them.",
  }),
  key("process", "admin_token_file", "text", "adminTokenFile", {
    absent: "none is asked for",
    example: "/etc/ringmaster/admin.token",
    sentence:
      "A file whose only line is the token of 16 to 1024 letters, digits and signs that the HTTP side asks for; a relative path starts at the configuration file.",
    reason: "Needed where others than this machine can connect. It is read at the start and by each reload.",
  }),
  key("process", "admin_tls", "admin_tls", "adminTls", {
    absent: "the HTTP side speaks plain HTTP",
    example: "{ certificate: admin.crt, key: admin.key }",
    sentence:
      "The HTTP side speaks TLS: a mapping of certificate and key, and perhaps ca, client_certificates, min_version and max_version.",
    reason:
      "Else the token can be read on the way. Files are looked at once a second, and what has changed counts for new connections.",
  }),
  key("process", "otlp", "url", "otlp", {
    absent: "nobody is told",
    example: "http://127.0.0.1:4318",
    sentence:
      "Where metrics are sent by OTLP over HTTP, in JSON: the URL of a collector, to which /v1/metrics is added.",
    reason: "For those who do not scrape: see docs/metrics.md.",
  }),
  key("process", "otlp_headers", "headers", "otlpHeaders", {
    absent: "none",
    example: "authorization=Bearer%20abc",
    secret: true,
    sentence: "Headers of what is sent there: NAME=VALUE,NAME=VALUE, as in OTEL_EXPORTER_OTLP_HEADERS.",
    reason: "Collectors of others want to know whose metrics these are.",
  }),
  key("process", "otlp_interval", "ms", "otlpIntervalMs", {
    default: "15000",
    min: 1000,
    sentence: "How often metrics are sent.",
    reason: "As often as Prometheus usually scrapes.",
  }),
  key("process", "otlp_spans", "integer", "otlpSpans", {
    default: "0",
    max: RATE_MAX,
    unit: "a second",
    sentence: "Requests of which a span is sent there too, to /v1/traces: so many a second at most, drawn.",
    reason: "Who asks for traces pays for keeping them. Keys and arguments are not told.",
  }),
  key("process", "access_log", "text", "accessLog", {
    absent: "none",
    example: "/var/log/ringmaster/access.log",
    sentence:
      "A file that gets a line for some of the requests when they are answered, opened again on SIGHUP.",
    reason: "What clients do, without a line for each request: see access_log_rate.",
  }),
  key("process", "access_log_rate", "integer", "accessLogRate", {
    default: "100",
    min: 1,
    max: RATE_MAX,
    sentence: "Lines of access_log a second, at most.",
    reason: "Enough to see who asks for what, and nothing to the disk or to the data path.",
  }),
  key("process", "shutdown_timeout", "ms", "shutdownTimeoutMs", {
    default: "10000",
    sentence: "How long requests in flight may take to finish after SIGTERM or SIGINT.",
    reason: "Below the 30 s after which Kubernetes and others kill.",
  }),
  key("process", "max_memory", "size", "memoryMax", {
    default: "0",
    max: 1024 * GIB,
    sentence:
      "Memory held for requests and replies beyond which new ones are refused and the clients that hold most are closed; 0 is half of what the machine or container has.",
    reason:
      "Each client has limits of its own, but nobody knows how many clients come. The runtime needs some 60mb besides.",
  }),
  key("process", "watch", "bool", "watch", {
    default: "false",
    sentence:
      "Reload when the file changes (it is looked at once a second), as SIGHUP and `ringmaster reload` do.",
    reason: "Whoever edits a file in two steps does not want the first one tried.",
  }),
  key("process", "max_moved", "percent", "maxMoved", {
    absent: "any",
    example: "20%",
    sentence: "A reload that would move more than this share of a pool's keys is refused.",
    reason: "`ringmaster plan OLD NEW` shows what a change moves.",
  }),
  key("process", "zone", "server_name", "zone", {
    absent: "not said",
    example: "eu-west-1a",
    sentence: "Where this proxy runs; read_from: nearest prefers servers and replicas of the same zone.",
    reason: "Any word will do, as long as servers and replicas use the same ones.",
  }),
  key("process", "zones", "zones", "zones", {
    absent: "what servers and replicas say of themselves",
    example: '{ eu-west-1a: [ 10.0.1.0/24, "*.a.example.com" ], eu-west-1b: [ 10.0.2.0/24 ] }',
    sentence:
      "Where addresses stand: ranges of them, and names of hosts, by zone; for read_from: nearest. The zone of a server or replica wins over it.",
    reason: "Replicas that are learned have no zone in the file, and only Valkey says its own.",
  }),
  key("process", "log", "log", "log", {
    default: "{ level, format, output }",
    sentence: "What is logged, how and where to: a mapping of the three keys below.",
    reason: "The flags -v, --log-format and -o win over it.",
  }),
] as const;

export const LOG_KEYS = [
  key("log", "level", "log_level", "level", {
    absent: "what -v says, or notice",
    example: "notice",
    max: LOG_LEVELS.length - 1,
    sentence:
      "How much is logged: emerg, alert, crit, err, warn, notice, info, debug, verb, vverb, vvverb, pverb, or 0 to 11.",
    reason: "notice (5) is twemproxy's: start, stop, and what an operator should know.",
  }),
  key("log", "format", "enum", "format", {
    default: "text",
    values: ["text", "json"],
    sentence: "One line of text or one JSON object for each event.",
    reason: "People read it first; json is for collectors.",
  }),
  key("log", "output", "text", "output", {
    default: "stderr",
    sentence: "A file, opened again on SIGHUP, or stderr.",
    reason: "What systemd and containers collect.",
  }),
] as const;

/** A server that is written as a mapping. */
export const SERVER_KEYS = [
  key("server", "address", "address", "address", {
    absent: "an error, unless it has a master",
    example: "127.0.0.1:6382",
    sentence: "HOST:PORT or /PATH of the server.",
    reason: "It is resolved when connecting, never at load.",
  }),
  key("server", "name", "server_name", "name", {
    absent:
      "made of the address as in twemproxy: HOST:PORT, HOST alone for port 11211, /PATH: for unix sockets",
    example: "shard1",
    sentence: "The name that places keys and that statistics show; no spaces.",
    reason: "With a name a server can change its address and keep its keys.",
  }),
  key("server", "weight", "integer", "weight", {
    default: "1",
    min: 1,
    sentence: "Its share of the keys, in proportion to the other servers' weights.",
    reason: "Equal shares.",
  }),
  key("server", "zone", "server_name", "zone", {
    absent: "not said",
    example: "eu-west-1a",
    sentence:
      "Where the server stands, for read_from: nearest; of one with a master, where those stand of which nobody says it.",
    reason: "The words are yours: the same as those of the proxies.",
  }),
  key("server", "replicas", "replicas", "replicas", {
    absent: "those that the primary or the sentinels name",
    example: "[ 127.0.0.1:6392, { address: 127.0.0.1:6393, zone: eu-west-1b } ]",
    sentence: "Its replicas, each HOST:PORT or a mapping of address and zone.",
    reason: "Only a replica that is well by its own account is read from, or promoted.",
  }),
  key("server", "master", "server_name", "master", {
    absent: "the server has an address",
    example: "mymaster",
    sentence:
      "With failover: sentinel, in place of address: what the sentinels call it, and its name if it has none.",
    reason: "Keys stay with the name, whichever address has it.",
  }),
] as const;

/** A replica that is written as a mapping. */
export const REPLICA_KEYS = [
  key("replica", "address", "address", "address", {
    absent: "required",
    example: "127.0.0.1:6392",
    sentence: "HOST:PORT or /PATH of the replica.",
    reason: "It is resolved when connecting, never at load.",
  }),
  key("replica", "zone", "server_name", "zone", {
    absent: "not said",
    example: "eu-west-1b",
    sentence: "Where the replica stands, for read_from: nearest.",
    reason: "The words are yours: the same as those of the proxies.",
  }),
] as const;

/** What `servers_from` has: `dns` or `file`. */
export const FROM_KEYS = [
  key("from", "dns", "dns_name", "dns", {
    absent: "file",
    example: "redis.example.com:6379",
    sentence:
      "NAME:PORT, a server at each of the name's addresses, or _SERVICE._PROTOCOL.NAME, whose SRV records name servers with their ports and weights.",
    reason: "SRV records give servers names that stay when their addresses change, and with them their keys.",
  }),
  key("from", "file", "text", "file", {
    absent: "dns",
    example: "servers.txt",
    sentence:
      "In place of dns: a file of servers, one a line as under servers, or a YAML list of them; a relative path starts at the configuration file.",
    reason: "It is looked at once a second, and counts when it has stayed the same for a second.",
  }),
  key("from", "interval", "ms", "intervalMs", {
    default: "5000",
    min: 100,
    sentence: "How often DNS is asked. Another answer counts when it has come twice.",
    reason: "Servers come and go seldom; the records' own times to live are not looked at.",
  }),
  key("from", "nameserver", "nameserver", "nameserver", {
    absent: "as the system is set up",
    example: "127.0.0.1:8600",
    sentence: "The DNS server to ask, IP:PORT; it is asked for the addresses of SRV records' hosts too.",
    reason: "For names that only one server knows, such as Consul's.",
  }),
] as const;

const VERSIONS: readonly TlsVersion[] = ["1.2", "1.3"];

const USER_FROM: readonly UserFrom[] = ["off", "CN", "URI", "DNS"];

const MIN_VERSION = {
  default: "1.2",
  values: VERSIONS,
  sentence: "The oldest version of TLS that is spoken.",
  reason: "Older ones than 1.2 are not to be had.",
} as const;

const MAX_VERSION = {
  default: "1.3",
  values: VERSIONS,
  sentence: "The newest version of TLS that is spoken.",
  reason: "1.2 for peers that say they know 1.3 and do not.",
} as const;

/** What `tls` of a pool has. */
export const TLS_KEYS = [
  key("tls", "certificate", "path", "certificate", {
    absent: "required",
    example: "server.crt",
    sentence:
      "The certificate that clients are shown, in PEM, followed by those that have signed it but the last; a relative path starts at the configuration file.",
    reason: "Clients check its name and who has signed it.",
  }),
  key("tls", "key", "path", "key", {
    absent: "required",
    example: "server.key",
    sentence: "The certificate's private key, in PEM, without a passphrase.",
    reason: "Only the user that Ringmaster runs as should be able to read it.",
  }),
  key("tls", "ca", "path", "ca", {
    absent: "none",
    example: "clients-ca.crt",
    sentence: "The authorities that sign clients' certificates, in PEM.",
    reason: "Only with client_certificates.",
  }),
  key("tls", "client_certificates", "enum", "clientCertificates", {
    default: "none",
    values: ["none", "optional", "required"],
    sentence:
      "Whether clients are asked for a certificate, and refused without one (required). One that is shown has to be right in either case.",
    reason: "With a certificate nobody needs a password, and none can be read on the way.",
  }),
  key("tls", "user_from", "enum", "userFrom", {
    default: "off",
    values: USER_FROM,
    sentence:
      "Which name in a client's certificate is that of the user that the client is from the start: the subject's CN, or the first URI or DNS name (SAN) that is one of users.",
    reason: "As Valkey's tls-auth-clients-user. Without such a user nobody is logged in. See docs/users.md.",
  }),
  key("tls", "min_version", "enum", "minVersion", MIN_VERSION),
  key("tls", "max_version", "enum", "maxVersion", MAX_VERSION),
  key("tls", "sni", "sni", "sni", {
    absent: "none",
    example: "[ { certificate: other.crt, key: other.key } ]",
    sentence: "More certificates, each with its key: for clients that ask for a name that they have.",
    reason: "One address for several names. Who asks for none of them gets the first certificate.",
  }),
  key("tls", "handshake_timeout", "ms", "handshakeMs", {
    default: "10000",
    min: 100,
    sentence: "How long a client may take for the handshake.",
    reason: "Nobody has been let in yet. Of half open handshakes a thread keeps 1,024, the newest.",
  }),
] as const;

/** A certificate under `sni`. */
export const SNI_KEYS = [
  key("sni", "certificate", "path", "certificate", {
    absent: "required",
    example: "other.crt",
    sentence: "As under tls; the names in it are those that it is for.",
    reason: "A star stands for one label, as for clients.",
  }),
  key("sni", "key", "path", "key", {
    absent: "required",
    example: "other.key",
    sentence: "Its private key.",
    reason: "As under tls.",
  }),
] as const;

/** What `server_tls` of a pool has. */
export const SERVER_TLS_KEYS = [
  key("server_tls", "ca", "path", "ca", {
    absent: "the public authorities",
    example: "servers-ca.crt",
    sentence:
      "The authorities that sign servers' certificates, in PEM; a relative path starts at the configuration file.",
    reason: "Most servers have certificates of an authority of one's own.",
  }),
  key("server_tls", "name", "server_name", "name", {
    absent: "the host of each address",
    example: "redis.internal",
    sentence: "The name that all servers' certificates have to have, and that is asked for (SNI).",
    reason: "Where servers are addressed by IP addresses that their certificates do not name.",
  }),
  key("server_tls", "verify", "enum", "verify", {
    default: "full",
    values: ["full", "signature", "none"],
    sentence:
      "What is looked at: who has signed the certificate and the name in it (full), the signature alone, or nothing.",
    reason: "Without both anybody in between can read along; none is for trials.",
  }),
  key("server_tls", "certificate", "path", "certificate", {
    absent: "none",
    example: "proxy.crt",
    sentence: "The certificate that servers are shown.",
    reason: "For servers that ask for one, as redis-server does (tls-auth-clients yes).",
  }),
  key("server_tls", "key", "path", "key", {
    absent: "none",
    example: "proxy.key",
    sentence: "Its private key, in PEM, without a passphrase.",
    reason: "Beside certificate only.",
  }),
  key("server_tls", "min_version", "enum", "minVersion", MIN_VERSION),
  key("server_tls", "max_version", "enum", "maxVersion", MAX_VERSION),
] as const;

/** What `admin_tls` of the process has. */
export const ADMIN_TLS_KEYS = [
  key("admin_tls", "certificate", "path", "certificate", {
    absent: "required",
    example: "admin.crt",
    sentence:
      "The certificate that visitors are shown, in PEM, followed by those that have signed it but the last; a relative path starts at the configuration file.",
    reason: "Browsers and scrapers check its name and who has signed it.",
  }),
  key("admin_tls", "key", "path", "key", {
    absent: "required",
    example: "admin.key",
    sentence: "Its private key, in PEM, without a passphrase.",
    reason: "Only the user that Ringmaster runs as should be able to read it.",
  }),
  key("admin_tls", "ca", "path", "ca", {
    absent: "none",
    example: "admins-ca.crt",
    sentence: "The authorities that sign visitors' certificates, in PEM.",
    reason: "Only with client_certificates.",
  }),
  key("admin_tls", "client_certificates", "enum", "clientCertificates", {
    default: "none",
    values: ["none", "required"],
    sentence: "Whether visitors have to show a certificate.",
    reason: "With it no token is needed on any address. Probes need a certificate, too.",
  }),
  key("admin_tls", "min_version", "enum", "minVersion", MIN_VERSION),
  key("admin_tls", "max_version", "enum", "maxVersion", MAX_VERSION),
] as const;

/** What `per_address` and `per_user` of a pool have, and `limits` of a user. */
export const LIMITS_KEYS = [
  key("limits", "max_requests_per_s", "integer", "requestsMax", {
    default: "0",
    max: GIB,
    unit: "requests a second",
    sentence: "Requests let through; more read an error and can be tried again later. 0 is no limit.",
    reason: "Up to a second's worth may come at once. What is refused does not count.",
  }),
  key("limits", "max_bytes_per_s", "size", "bytesMax", {
    default: "0",
    max: GIB,
    unit: "bytes a second",
    sentence: "Bytes of requests let through, and of all replies and messages. 0 is no limit.",
    reason:
      "A reply is known when it has been sent: what it is too large is waited for before the next request.",
  }),
  key("limits", "max_connections", "integer", "connectionsMax", {
    default: "0",
    max: GIB,
    unit: "connections",
    sentence: "Connections at one time; more are told and closed. 0 is no limit.",
    reason: "client_connections is for all of a pool.",
  }),
] as const;

const PASSWORD_FILE_REASON = "A secret that is mounted as a file stays out of the configuration.";

/** A user under `users`. */
export const USER_KEYS = [
  key("user", "name", "server_name", "name", {
    absent: "required",
    example: "app",
    sentence: "What AUTH and HELLO call the user; default is who does not log in.",
    reason: "It is in CLIENT LIST, ACL LOG and the log.",
  }),
  key("user", "rules", "rules", "rules", {
    absent: "required",
    example: '"~app:* +@read +@write"',
    sentence:
      "What the user may do, in the words of Redis's ACL SETUSER: a text, or a list of texts; without passwords.",
    reason: "What no rule allows is forbidden. Off is a rule too: the user cannot log in.",
  }),
  key("user", "password", "text", "password", {
    absent: "one of the others",
    example: '"${APP_PASSWORD}"',
    secret: true,
    sentence: "The password, or the variable of the environment that has it, as ${NAME}.",
    reason: "Only its SHA-256 is kept in memory.",
  }),
  key("user", "password_file", "path", "passwordFile", {
    absent: "one of the others",
    example: "/run/secrets/app",
    sentence: "A file whose first line is the password; a relative path starts at the configuration file.",
    reason: PASSWORD_FILE_REASON,
  }),
  key("user", "password_sha256", "text", "passwordSha256", {
    absent: "one of the others",
    example: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    secret: true,
    sentence: "The password's SHA-256, as Redis's ACL LIST shows it.",
    reason: "For users that are taken over from a server. Whoever has the file can try passwords fast.",
  }),
  key("user", "password_hash", "text", "passwordHash", {
    absent: "one of the others",
    example: "$scrypt$ln=14,r=8,p=1$SALT$HASH",
    secret: true,
    sentence: "A line of ringmaster password: salted, and slow to try.",
    reason: "Each login takes some 50 ms on a thread of its own, but for passwords that were right before.",
  }),
  key("user", "nopass", "bool", "nopass", {
    default: "false",
    sentence: "Any password will do; default is then logged in from the start.",
    reason: "For a default user who may do little.",
  }),
  key("user", "limits", "limits", "limits", {
    absent: "per_user of the pool",
    example: "{ max_requests_per_s: 1000 }",
    sentence: "What all clients of the user may do together: a mapping as of per_address.",
    reason: "In place of per_user, not beside it.",
  }),
  key("user", "scripts", "bool", "scripts", {
    default: "false",
    sentence:
      "Whether a user to whom something is forbidden may call scripts and functions that its rules allow.",
    reason:
      "The proxy sees which keys a script is given, not what it does: servers run it with the proxy's own rights.",
  }),
] as const;

/** What `server_auth` of a pool has. */
export const SERVER_AUTH_KEYS = [
  key("server_auth", "username", "server_name", "username", {
    absent: "the servers' default user",
    example: "proxy",
    sentence: "The user that the proxy is to its servers.",
    reason: "Servers older than Redis 6 have no users.",
  }),
  key("server_auth", "password", "text", "password", {
    absent: "password_file",
    example: '"${SERVER_PASSWORD}"',
    secret: true,
    sentence: "Its password, or the variable of the environment that has it, as ${NAME}.",
    reason: "It is sent to each server when a connection is made.",
  }),
  key("server_auth", "password_file", "path", "passwordFile", {
    absent: "password",
    example: "/run/secrets/servers",
    sentence: "A file whose first line is the password; a relative path starts at the configuration file.",
    reason: PASSWORD_FILE_REASON,
  }),
] as const;

/** Keys that are promised and not yet built: an error of their own, so that nobody believes they work. */
export const UNAVAILABLE_KEYS: readonly { readonly scope: Scope; readonly name: string }[] = [];

export const KEYS: readonly Key[] = [
  ...PROCESS_KEYS,
  ...LOG_KEYS,
  ...POOL_KEYS,
  ...SERVER_KEYS,
  ...REPLICA_KEYS,
  ...FROM_KEYS,
  ...TLS_KEYS,
  ...SNI_KEYS,
  ...SERVER_TLS_KEYS,
  ...ADMIN_TLS_KEYS,
  ...LIMITS_KEYS,
  ...USER_KEYS,
  ...SERVER_AUTH_KEYS,
];

/** What a value of the key must be: completes "expected …". */
export function expectation(key: Key): string {
  switch (key.type) {
    case "ms":
      return `a number of milliseconds (${range(key)}${
        key.absent === null ? "" : `, or absent for ${key.absent}`
      })`;
    case "integer":
      return `a whole number (${range(key)})`;
    case "size":
      return `a size in bytes, or with b, kb, mb, gb or tb (${range(key)} bytes)`;
    case "bool":
      return "true or false";
    case "enum":
      return key.values.length === 2 ? key.values.join(" or ") : `one of ${key.values.join(", ")}`;
    case "text":
      return "some text";
    case "hash_tag":
      return 'exactly two bytes, such as "{}"';
    case "listen":
      return "HOST:PORT with a port of 1 to 65535, or /PATH and perhaps its octal permissions (at most 0777)";
    case "servers":
      return "a list of HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]";
    case "sentinels":
      return "a list of HOST:PORT, one sentinel each";
    case "announced":
      return `a list of at most ${ANNOUNCED_MAX} HOST:PORT, one proxy each`;
    case "ranges":
      return `a list of at most ${RANGES_MAX} ranges of addresses, such as [ 10.0.0.0/8, 2001:db8::/32, 192.0.2.7 ]`;
    case "credentials":
      return "a password, or USER:PASSWORD";
    case "lag":
      return "a time such as 10s or 500ms, or bytes such as 1mb";
    case "replicas":
      return "a list of HOST:PORT, or of mappings of address and zone";
    case "servers_from":
      return "a mapping of dns, and perhaps interval and nameserver, or of file";
    case "tls":
      return `a mapping of ${TLS_KEYS.map((k) => k.name).join(", ")}`;
    case "server_tls":
      return `a mapping of ${SERVER_TLS_KEYS.map((k) => k.name).join(", ")}`;
    case "admin_tls":
      return `a mapping of ${ADMIN_TLS_KEYS.map((k) => k.name).join(", ")}`;
    case "limits":
      return `a mapping of ${LIMITS_KEYS.map((k) => k.name).join(", ")}`;
    case "sni":
      return "a list of mappings of certificate and key";
    case "users":
      return `a list of at most ${USERS_MAX} mappings of ${USER_KEYS.map((k) => k.name).join(", ")}`;
    case "rules":
      return "rules of Redis's ACL, such as ~app:* +@read, in a text or a list of texts";
    case "server_auth":
      return `a mapping of ${SERVER_AUTH_KEYS.map((k) => k.name).join(", ")}`;
    case "path":
      return "the path of a file";
    case "dns_name":
      return "NAME:PORT, or _SERVICE._PROTOCOL.NAME without a port, as SRV records have them";
    case "nameserver":
      return "the IP address and port of a DNS server, such as 127.0.0.1:53";
    case "workers":
      return `a whole number (${range(key)}) or auto`;
    case "log":
      return `a mapping of ${LOG_KEYS.map((k) => k.name).join(", ")}`;
    case "log_level":
      return `0 to ${key.max} or one of ${LOG_LEVELS.join(", ")}`;
    case "url":
      return "a URL of http or https without user, query and fragment, such as http://127.0.0.1:4318";
    case "headers":
      return "NAME=VALUE,NAME=VALUE, with %XX for what is no letter, digit or sign";
    case "percent":
      return "a share from 0% to 100%";
    case "admin":
      return "off, or HOST:PORT with a port of 1 to 65535";
    case "address":
      return "HOST:PORT with a port of 1 to 65535, or /PATH";
    case "server_name":
      return "a name without spaces";
    case "zones":
      return "a mapping of zones, each with a list of addresses, ranges of them, and names of hosts";
  }
}

function range(key: Key): string {
  return `${key.min} to ${key.max}`;
}
