/**
 * `ringmaster schema`: the configuration as JSON Schema (draft 2020-12), for editors that complete and check YAML.
 *
 * Made of the table of keys. What needs more than one key (names that clash, redis_auth in a memcached pool) only
 * `ringmaster -t` can tell.
 */
import {
  ADMIN_TLS_KEYS,
  expectation,
  FROM_KEYS,
  type Key,
  LIMITS_KEYS,
  LOG_KEYS,
  LOG_LEVELS,
  POOL_KEYS,
  PROCESS_KEYS,
  PROCESS_NAME,
  RANGES_MAX,
  REPLICA_KEYS,
  SERVER_AUTH_KEYS,
  SERVER_KEYS,
  SERVER_TLS_KEYS,
  SNI_KEYS,
  TLS_KEYS,
  USER_KEYS,
  USERS_MAX,
} from "../config/schema.ts";
import { EXIT_OK, type Io } from "./io.ts";

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Prints the schema. */
export function schema(io: Io): number {
  io.out(JSON.stringify(jsonSchema(), null, 2) + "\n");
  return EXIT_OK;
}

export function jsonSchema(): { readonly [key: string]: Json } {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Configuration of Ringmaster",
    description: "Pools by name; the name `ringmaster` is reserved for the process.",
    type: "object",
    properties: {
      // An old nutcracker.yml may have a pool of this name.
      [PROCESS_NAME]: {
        if: { required: ["listen"] },
        then: { $ref: "#/$defs/pool" },
        else: mapping(PROCESS_KEYS),
      },
    },
    additionalProperties: { $ref: "#/$defs/pool" },
    $defs: {
      pool: {
        ...mapping(POOL_KEYS),
        oneOf: [{ required: ["servers"] }, { required: ["servers_from"] }],
      },
    },
  };
}

function mapping(keys: readonly Key[]): { readonly [key: string]: Json } {
  const properties: Record<string, Json> = {};
  for (const key of keys) properties[key.name] = property(key);
  const required = keys.filter((key) => key.absent === "required").map((key) => key.name);
  return { type: "object", properties, required, additionalProperties: false };
}

function property(key: Key): Json {
  const description = `${key.sentence} Expected: ${expectation(key)}. ${key.reason}`;
  const standard: Record<string, Json> = key.default === null || key.type === "log"
    ? {}
    : { default: typed(key) };
  return { description, ...standard, ...(valueSchema(key) as Record<string, Json>) };
}

/** The default as YAML's own types have it, which is what editors compare with. */
function typed(key: Key): Json {
  const text = key.default!;
  if (key.type === "bool") return text === "true";
  return /^[0-9]+$/.test(text) ? Number(text) : text;
}

const ADDRESS_PATTERN = "^(/.+|.+:[0-9]+)$";

/** Numbers and booleans may be quoted: the configuration compares texts. */
function valueSchema(key: Key): Json {
  const digits = { type: "string", pattern: "^[0-9]+$" };
  const number = { type: "integer", minimum: key.min, maximum: key.max };
  switch (key.type) {
    case "integer":
    case "ms":
      return { anyOf: [number, digits] };
    case "workers":
      return { anyOf: [number, { enum: ["auto"] }, digits] };
    case "size":
      return { anyOf: [number, { type: "string", pattern: "^[0-9]+([bB]|[kmgtKMGT][bB])?$" }] };
    case "bool":
      return { enum: [true, false, "true", "false"] };
    case "enum":
      return { enum: key.values };
    case "log_level":
      return { anyOf: [number, { enum: LOG_LEVELS }, digits] };
    case "log":
      return mapping(LOG_KEYS);
    case "servers":
      return {
        type: "array",
        minItems: 1,
        items: {
          anyOf: [{ type: "string", pattern: "^(.*:[0-9]+|/[^:]+)(:[0-9]+)?( [^ ]+)?$" }, {
            ...mapping(SERVER_KEYS),
            oneOf: [{ required: ["address"] }, { required: ["master"] }],
          }],
        },
      };
    case "sentinels":
    case "announced":
      return { type: "array", minItems: 1, items: { type: "string", pattern: "^[^/].*:[0-9]+$" } };
    case "ranges":
      return {
        type: "array",
        minItems: 1,
        maxItems: RANGES_MAX,
        items: { type: "string", pattern: "^[0-9a-fA-F:.]+(/[0-9]+)?$" },
      };
    case "replicas":
      return {
        type: "array",
        minItems: 1,
        items: { anyOf: [{ type: "string", pattern: ADDRESS_PATTERN }, mapping(REPLICA_KEYS)] },
      };
    case "lag":
      return { type: "string", pattern: "^[0-9]+([mM]?[sS]|[bB]|[kmgtKMGT][bB])$" };
    case "servers_from":
      return { ...mapping(FROM_KEYS), oneOf: [{ required: ["dns"] }, { required: ["file"] }] };
    case "tls":
      return mapping(TLS_KEYS);
    case "server_tls":
      return mapping(SERVER_TLS_KEYS);
    case "admin_tls":
      return mapping(ADMIN_TLS_KEYS);
    case "limits":
      return mapping(LIMITS_KEYS);
    case "sni":
      return { type: "array", minItems: 1, items: mapping(SNI_KEYS) };
    case "users":
      return { type: "array", minItems: 1, maxItems: USERS_MAX, items: mapping(USER_KEYS) };
    case "rules":
      return { anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] };
    case "server_auth":
      return mapping(SERVER_AUTH_KEYS);
    case "dns_name":
      return { type: "string", pattern: "^([^_/].*:[0-9]+|_[^.:]+\\._[^.:]+\\.[^:]+)$" };
    case "nameserver":
      return { type: "string", pattern: "^(\\[.+\\]|[0-9.]+):[0-9]+$" };
    case "hash_tag":
      return {
        anyOf: [{ type: "string", minLength: 1, maxLength: 2 }, { type: "object", maxProperties: 0 }, {
          type: "array",
          maxItems: 0,
        }],
      };
    case "listen":
    case "address":
      return { type: "string", pattern: ADDRESS_PATTERN };
    case "url":
      return { type: "string", pattern: "^[hH][tT][tT][pP][sS]?://[^/?#@]+[^?#@]*$" };
    case "headers":
      return { type: "string", pattern: "^[^=,]+=[^,]+(,[^=,]+=[^,]+)*$" };
    case "percent":
      return { type: "string", pattern: "^[0-9]+(\\.[0-9]+)? ?%$" };
    case "admin":
      // Editors that read YAML 1.1 see `off` as false.
      return { anyOf: [{ const: "off" }, { const: false }, { type: "string", pattern: "^[^/].*:[0-9]+$" }] };
    case "text":
    case "path":
    case "credentials":
      return { type: ["string", "number", "boolean"] };
    case "server_name":
      return { type: ["string", "number"] };
    case "zones":
      return {
        type: "object",
        minProperties: 1,
        additionalProperties: {
          type: "array",
          minItems: 1,
          maxItems: RANGES_MAX,
          items: { type: "string", pattern: "^[0-9a-zA-Z:.*_-]+(/[0-9]+)?$" },
        },
      };
  }
}
