/** What a configuration file means once it has been parsed, checked and given its defaults. */
import type { Address } from "../net/net.ts";

export type HashName =
  | "one_at_a_time"
  | "md5"
  | "crc16"
  | "crc32"
  | "crc32a"
  | "fnv1_64"
  | "fnv1a_64"
  | "fnv1_32"
  | "fnv1a_32"
  | "hsieh"
  | "murmur"
  | "jenkins";

export type DistributionName = "ketama" | "modula" | "random";

export interface ServerConfig {
  /** Hashed by ketama and shown in statistics: the configured name, or host:port (host alone for 11211), or path + ":". */
  readonly name: string;
  /** null with failover: sentinel, which says where it is. */
  readonly address: Address | null;
  /** "host:port", the unix path, or "master NAME", for people. */
  readonly addressText: string;
  /** Integer ≥ 1. */
  readonly weight: number;
  /** What the sentinels call it; null: it has an address. */
  readonly master: string | null;
  /** Those that the file names, in its order; more may be learned. */
  readonly replicas: readonly ReplicaConfig[];
  /** Where it stands, for read_from: nearest; null: not said. */
  readonly zone: string | null;
}

export interface ReplicaConfig {
  readonly address: Address;
  /** "host:port" or the unix path, for people. */
  readonly text: string;
  readonly zone: string | null;
}

/** Who says which address a server has: the file, sentinels, or this proxy, which promotes a replica itself. */
export type Failover = "none" | "sentinel" | "promote";

/** Who answers reads: see docs/high-availability.md. */
export type ReadFrom = "primary" | "prefer_replica" | "replica" | "any" | "nearest";

/** How far a replica may be behind and still be read from. */
export type LagMax = { readonly ms: number } | { readonly bytes: number };

export interface SentinelConfig {
  readonly address: Address;
  /** "host:port". */
  readonly text: string;
}

/** With what one authenticates; the user is null for the default one. */
export interface Credentials {
  readonly user: string | null;
  readonly password: string;
}

/** Where a pool's servers come from, if the file does not name them itself: `servers_from`. */
export type ServersFrom = DnsFrom | FileFrom;

export interface DnsFrom {
  /** A host name, or one of SRV records (_service._protocol.name); in lower case, without the last dot. */
  readonly dns: string;
  /** Of every address; null: SRV records have them. */
  readonly port: number | null;
  readonly intervalMs: number;
  /** "ip:port" of the DNS server to ask; null: as the system is set up. */
  readonly nameserver: string | null;
}

export interface FileFrom {
  /** An absolute path. */
  readonly file: string;
}

/** One pool; times in ms, sizes in bytes. Field comments: configuration key if it differs, meaning of 0 or -1. */
export interface PoolConfig {
  readonly name: string;
  readonly listen: Address;
  readonly listenText: string;
  /** Where that stands in the file, from 1. */
  readonly listenLine: number;
  readonly hash: HashName;
  /** Two bytes, or null. */
  readonly hashTag: Uint8Array | null;
  readonly distribution: DistributionName;
  /** -1 = none (twemproxy's 0 means none too and is normalised to -1). */
  readonly timeoutMs: number;
  readonly backlog: number;
  /** 0 = up to the file limit. */
  readonly clientConnectionsMax: number;
  readonly redis: boolean;
  /** redis_auth as bytes, or null. */
  readonly redisAuth: Uint8Array | null;
  readonly redisDb: number;
  readonly tcpKeepalive: boolean;
  readonly preconnect: boolean;
  readonly autoEjectHosts: boolean;
  /** Connections to each server, per worker and per (protocol version, database). */
  readonly serverConnections: number;
  readonly serverRetryTimeoutMs: number;
  /** ≥ 1 (0 is normalised to 1). */
  readonly serverFailureLimit: number;
  readonly reusePort: boolean;
  readonly connectTimeoutMs: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  readonly requestSizeMax: number;
  readonly argumentsMax: number;
  readonly inFlightMax: number;
  readonly clientOutputMax: number;
  readonly probeTimeoutMs: number;
  readonly dangerousCommands: boolean;
  /** How many databases clients may SELECT: 1 = only the pool's own (redis_db). Key: databases. */
  readonly databases: number;
  /** Who says what the servers are; null: the configuration file. Key: servers_from. */
  readonly serversFrom: ServersFrom | null;
  readonly failover: Failover;
  /** Empty unless failover is "sentinel". */
  readonly sentinels: readonly SentinelConfig[];
  /** For the sentinels; the servers' own password is redisAuth. */
  readonly sentinelAuth: Credentials | null;
  readonly readFrom: ReadFrom;
  readonly maxLag: LagMax;
  /** A client that has just written reads from the primary until a replica has what it wrote. */
  readonly readYourWrites: boolean;
  /** A read whose server went away before any of its reply came is sent once more, to who took its place. */
  readonly retryReads: boolean;
  /** Share of the pool's servers that may be ejected at a time, 1 = all. */
  readonly maxEjected: number;
  /** Whether this proxy promotes, or leaves it to others; with failover: promote. */
  readonly promoter: boolean;
  /** In twemproxy's order: by name length, then by name bytes. Never empty, but where `serversFrom` has yet to be asked. */
  readonly servers: readonly ServerConfig[];
}

export interface ProcessConfig {
  /** Worker threads; 1 = everything on the main thread. `auto` is resolved by the caller: 0 here means auto. */
  readonly workers: number;
  readonly shutdownTimeoutMs: number;
  readonly log: { readonly level: number | null; readonly format: "text" | "json"; readonly output: string };
  /** Bytes; 0 = half of what the machine or container has. Key: max_memory. */
  readonly memoryMax: number;
  /** Read the file again when it changes. */
  readonly watch: boolean;
  /** Where this proxy runs, for read_from: nearest; null: not said. */
  readonly zone: string | null;
  /** The most keys that a reload may move, part of 1; null = any. Key: max_moved. */
  readonly maxMoved: number | null;
  /** Where the HTTP side listens; null = nowhere. */
  readonly admin: Address | null;
  /** The admin key as it was written, "off" for null. */
  readonly adminText: string;
}

export interface Config {
  readonly process: ProcessConfig;
  /** In twemproxy's order: by name length, then by name bytes. */
  readonly pools: readonly PoolConfig[];
}
