/**
 * /api/config: the configuration in force, by the file's own keys.
 *
 *   KEYS (config/schema.ts) ──► each key's field ──► by its type: text, number, …; masked if the table says `secret`
 *
 * What is shown comes from the table alone: a field that has no key is never shown, and a new secret key is masked without anybody
 * thinking of it here.
 */
import {
  ADMIN_TLS_KEYS,
  type Key,
  LIMITS_KEYS,
  LOG_LEVELS,
  POOL_KEYS,
  PROCESS_KEYS,
  SERVER_TLS_KEYS,
  SNI_KEYS,
  TLS_KEYS,
} from "../config/schema.ts";
import type {
  LagMax,
  LogConfig,
  PoolConfig,
  ReplicaConfig,
  ServerConfig,
  ServersFrom,
  UserConfig,
} from "../config/config.ts";
import type { TlsPair } from "../net/tls.ts";
import type { Zone } from "../net/zones.ts";
import type { Rates } from "../stats/quotas.ts";
import type { Answer } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { fromShape } from "./topology.ts";

/** In place of a secret that is set. */
export const MASK = "********";

/** What a pool takes, µs, about, and a server of it. */
const POOL_US = 20;

export function config({ clock, turns, config: { process, pools } }: Around): Promise<Answer> {
  const shown: Record<string, unknown> = {};
  for (const key of PROCESS_KEYS) {
    shown[key.name] = key.type === "admin" ? process.adminText : valueOf(key, process);
  }
  return longJson(turns, {
    at: clock.wallMs(),
    ringmaster: shown,
    pools: each(pools, POOL_US, (pool) => ({ name: pool.name, ...poolShape(pool) })),
  });
}

export function poolShape(pool: PoolConfig): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const key of POOL_KEYS) shown[key.name] = key.type === "listen" ? pool.listenText : valueOf(key, pool);
  return shown;
}

function valueOf(key: Key, fields: object): unknown {
  const value = (fields as Record<string, unknown>)[key.field] ?? null;
  if (value === null) return null;
  if (key.secret) return MASK;
  switch (key.type) {
    case "ms":
      // As the file says it: 0 is none.
      return value === -1 ? 0 : value;
    case "integer":
    case "size":
    case "bool":
    case "text":
    case "workers":
    case "percent":
    case "server_name":
    case "url":
    case "headers":
    case "nameserver":
    case "path":
      return value;
    case "enum":
      // dangerous_commands: the one whose field is another word.
      return key.normalise === null
        ? value
        : key.values.find((word) => key.normalise!(word) === value) ?? null;
    case "hash_tag":
      return new TextDecoder().decode(value as Uint8Array);
    case "log_level":
      return LOG_LEVELS[value as number];
    case "lag":
      return value as LagMax;
    case "log": {
      const { level, format, output } = value as LogConfig;
      return { level: level === null ? null : LOG_LEVELS[level], format, output };
    }
    case "servers":
      return (value as readonly ServerConfig[]).map(serverShape);
    case "servers_from":
      return fromShape(value as ServersFrom);
    case "sentinels":
    case "announced":
    case "ranges":
      return (value as readonly { readonly text: string }[]).map(({ text }) => text);
    case "tls":
      return shapeOf(TLS_KEYS, value);
    case "sni":
      return (value as readonly TlsPair[]).map((pair) => shapeOf(SNI_KEYS, pair));
    case "server_tls":
      return shapeOf(SERVER_TLS_KEYS, value);
    case "admin_tls":
      return shapeOf(ADMIN_TLS_KEYS, value);
    case "limits":
      return limitsShape(value as Rates);
    case "zones":
      return Object.fromEntries(
        (value as readonly Zone[]).map(({ name, places }) => [name, places.map(({ text }) => text)]),
      );
    case "replicas":
      return (value as readonly ReplicaConfig[]).map(({ text, zone }) => ({ address: text, zone }));
    case "credentials":
    case "server_auth":
      return MASK;
    case "users":
      return (value as readonly UserConfig[]).map(({ name, secret, rules, scripts, limits }) => ({
        name,
        login: secret.kind === "sha256" || secret.kind === "scrypt" ? MASK : secret.kind,
        rules,
        scripts,
        limits: limits === null ? null : limitsShape(limits),
      }));
    // Not the key of a pool or of the process, or shown by whoever calls.
    case "rules":
    case "dns_name":
    case "address":
    case "admin":
    case "listen":
      return null;
    default:
      return key.type satisfies never;
  }
}

/** Of files their paths, never what is in them. */
function shapeOf(keys: readonly Key[], fields: object): Record<string, unknown> {
  return Object.fromEntries(keys.map((key) => [key.name, valueOf(key, fields)]));
}

function limitsShape(rates: Rates) {
  return Object.fromEntries(LIMITS_KEYS.map(({ name, field }) => [name, rates[field]]));
}

function serverShape({ name, addressText, weight, master, zone, slots, replicas }: ServerConfig) {
  return {
    name,
    address: master === null ? addressText : null,
    weight,
    master,
    zone,
    slots,
    replicas: replicas.map(({ text, zone }) => ({ address: text, zone })),
  };
}
