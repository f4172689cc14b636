/** What a configuration file means once it has been parsed, checked and given its defaults. */
import type { Address } from "../net/net.ts";
import type { Rates } from "../stats/quotas.ts";
import type { ServerTlsConfig, TlsConfig, TlsPair, TlsVersion, UserFrom } from "../net/tls.ts";
import type { Fields, LOG_KEYS, POOL_KEYS, PROCESS_KEYS } from "./schema.ts";

export type { ServerTlsConfig, TlsConfig, TlsPair, TlsVersion, UserFrom };

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
  /** With `cluster`: the slots it owns, "0-5460 7000", in ascending order ("" = none known); null in any other pool. */
  readonly slots: string | null;
  /** … and the name of a server that has failed, and whose place it has taken, if there is one. */
  readonly heirOf?: string;
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

/** A proxy that clients are told of. */
export interface AnnouncedConfig {
  readonly address: { readonly host: string; readonly port: number };
  /** "host:port". */
  readonly text: string;
}

/** With what one authenticates; the user is null for the default one. */
export interface Credentials {
  readonly user: string | null;
  readonly password: string;
}

/** How a user shows who he is. No password is kept as it was written. */
export type UserSecret =
  /** Not by a password. */
  | { readonly kind: "none" }
  | { readonly kind: "nopass" }
  /** By a certificate alone (TlsConfig.userFrom). */
  | { readonly kind: "certificate" }
  /** 64 hexadecimal digits, in lower case. */
  | { readonly kind: "sha256"; readonly hex: string }
  /** See password_hash.ts. */
  | { readonly kind: "scrypt"; readonly text: string };

export interface UserConfig {
  readonly name: string;
  readonly secret: UserSecret;
  /** As they were written, and right: parseRules of protocol/redis/acl_rules.ts takes them. */
  readonly rules: readonly string[];
  /** May call scripts although something is forbidden to it. */
  readonly scripts: boolean;
  /** Null: those of per_user. */
  readonly limits: Rates | null;
}

/** Where a pool's servers come from, if the file does not name them itself: `servers_from`, or `cluster`. */
export type ServersFrom = DnsFrom | FileFrom | ClusterFrom;

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

/** A Redis Cluster, whose nodes say what the servers are. */
export interface ClusterFrom {
  /** In the file's order; a node with the address of one has its zone. */
  readonly seeds: readonly ReplicaConfig[];
  readonly intervalMs: number;
}

/** What the text of the file says otherwise than a pool's configuration does. */
type SaidOtherwise = "listen" | "timeoutMs" | "sentinels" | "announce" | "servers";

/** One pool: the fields of POOL_KEYS, each as its row says, and what is here. Times in ms, sizes in bytes. */
export interface PoolConfig extends Omit<Fields<typeof POOL_KEYS>, SaidOtherwise> {
  readonly name: string;
  readonly listen: Address;
  readonly listenText: string;
  /** Where that stands in the file, from 1. */
  readonly listenLine: number;
  /** -1 = none (twemproxy's 0 means none too and is normalised to -1). */
  readonly timeoutMs: number;
  /** Empty unless failover is "sentinel". */
  readonly sentinels: readonly SentinelConfig[];
  /** Empty: the address that a client is connected to. */
  readonly announce: readonly AnnouncedConfig[];
  /** In twemproxy's order: by name length, then by name bytes. Never empty, but where `serversFrom` has yet to be asked. */
  readonly servers: readonly ServerConfig[];
}

export type LogConfig = Fields<typeof LOG_KEYS>;

/** The process: the fields of PROCESS_KEYS, each as its row says. `workers: auto` is resolved by the caller: 0 here means auto. */
export interface ProcessConfig extends Omit<Fields<typeof PROCESS_KEYS>, "admin"> {
  /** Where the HTTP side listens; null = nowhere. */
  readonly admin: Address | null;
  /** The admin key as it was written, "off" for null. */
  readonly adminText: string;
  /** What stands in admin_token_file; null = there is none. */
  readonly adminToken: string | null;
}

export interface Config {
  readonly process: ProcessConfig;
  /** In twemproxy's order: by name length, then by name bytes. */
  readonly pools: readonly PoolConfig[];
}

/** Its servers are the seeds of the file, and no node of the cluster has been heard: nobody knows who owns slots. */
export function isUnheard({ cluster, servers }: Pick<PoolConfig, "cluster" | "servers">): boolean {
  return cluster && servers.every(({ slots }) => slots === "");
}
