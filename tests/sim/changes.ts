/**
 * Other configurations that a world's proxy takes while it runs: drawn from the one it begins with, one from the other.
 *
 *   Draft ──text──► the first configuration ──redraft──► the next ──► …      each with the moment when it comes
 */
import type { Config, PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { Random } from "./random.ts";

export const HASHES =
  "one_at_a_time md5 crc16 crc32 crc32a fnv1_64 fnv1a_64 fnv1_32 fnv1a_32 hsieh murmur jenkins".split(" ");
export const DISTRIBUTIONS = ["ketama", "ketama", "modula", "random"];
/** Arguments of the longest CLIENT TRACKING. */
export const OF_TRACKING = 9;
export const TAGS = ["{}", "{}", "$$"];

/** Machines beyond those of the first configuration. */
export const SPARES = 3;
const CHANGES_MAX = 5;
const CHANGES_MAX_MEETING = 12;
/** Pools listen on one of so many ports. */
const PORTS = 2;
const FIRST_PORT = 22121;
const BETA_PORT = 22221;

export interface DraftServer {
  /** Which machine it is on, from 0; no two servers are on one. */
  readonly machine: number;
  readonly weight: number;
  readonly name: string | null;
}

/** A configuration of one pool, before it is text. */
export interface Draft {
  readonly port: number;
  readonly keys: ReadonlyMap<string, string | number | boolean>;
  readonly servers: readonly DraftServer[];
  /** A memcached pool that has users, at some time. */
  readonly hasUsers?: boolean;
  /** Another pool, without clients: where it stands in the file; absent: there is none. */
  readonly beta?: "before" | "behind";
}

/** The pool that worlds are about: others may stand before it. */
export function alphaOf(config: Config): PoolConfig {
  return config.pools.find((pool) => pool.name === "alpha")!;
}

/** Replies owed to it; MULTI; all of MULTI but EXEC; a request that takes more than one turn. */
export type Awaited = "anything" | "replies" | "transaction" | "exec" | "slices";

/** The proxy takes another configuration, or gives it up when it has prepared it. */
export interface Change {
  /** When it begins; while another one is under way it waits. */
  readonly atMs: number;
  readonly config: Config;
  /** What is different, for people. */
  readonly what: string;
  readonly text: string;
  /** The highest machine of it or of one before. */
  readonly machines: number;
  readonly abandons: boolean;
  /** The commit comes when there is a client in the middle of this, or at last anyway. */
  readonly awaits: Awaited;
  /** From the beginning to the first worker's commit, and from one worker's to the next one's. */
  readonly prepareMs: number;
  readonly betweenMs: number;
}

export function machineAddress(machine: number): { readonly host: string; readonly port: number } {
  return { host: `10.0.0.${machine + 1}`, port: 6379 };
}

/** Where the same machine can be had too: another's place, that has all of its data, for whoever switches to it. */
export function twinAddress(machine: number): { readonly host: string; readonly port: number } {
  return { host: `10.1.0.${machine + 1}`, port: 6379 };
}

export function textOf({ port, keys, servers, beta }: Draft): string {
  const lines = ["alpha:", `  listen: 127.0.0.1:${FIRST_PORT + port}`];
  for (const [key, value] of keys) lines.push(`  ${key}: ${value}`);
  lines.push("  servers:");
  for (const { machine, weight, name } of servers) {
    const { host, port } = machineAddress(machine);
    lines.push(`    - ${host}:${port}:${weight}${name === null ? "" : ` ${name}`}`);
  }
  const { host, port: serverPort } = machineAddress(servers[0]!.machine);
  const other = [
    "beta:",
    `  listen: 127.0.0.1:${BETA_PORT}`,
    `  redis: ${keys.get("redis")}`,
    "  preconnect: true",
    "  servers:",
    `    - ${host}:${serverPort}:1`,
  ];
  const password = keys.get("redis_auth");
  if (password !== undefined) other.splice(3, 0, `  redis_auth: ${password}`);
  const all = beta === undefined ? lines : beta === "before" ? [...other, ...lines] : [...lines, ...other];
  return all.join("\n") + "\n";
}

/**
 * A series of changes, in the order of their times.
 * @param meets they are many, and come when clients are in the middle of something
 * @param also what each of them changes besides
 */
export function changesOf(
  random: Random,
  first: Draft,
  chaosMs: number,
  meets: boolean,
  also: (draft: Draft) => Draft = (draft) => draft,
): Change[] {
  const machines = first.servers.length + SPARES;
  const hurried = random.chance(0.4);
  let atMs = random.next() * chaosMs;
  let draft = first;
  let top = first.servers.length - 1;
  const changes: Change[] = [];
  for (let i = random.int(1, meets ? CHANGES_MAX_MEETING : CHANGES_MAX); i > 0; i--) {
    const kinds: string[] = [];
    let next = draft;
    for (let k = random.int(1, 3); k > 0; k--) {
      const [kind, redraft] = random.pick(meets && random.chance(0.6) ? SHIFTING : KINDS);
      kinds.push(kind);
      next = redraft(random, next, machines);
    }
    next = also(next);
    const text = textOf(next);
    top = Math.max(top, ...next.servers.map((server) => server.machine));
    const abandons = random.chance(0.15);
    changes.push({
      atMs,
      config: parseConfig(text, "sim.yml"),
      what: kinds.join(", "),
      text,
      machines: top,
      abandons,
      awaits: random.pick(meets ? MEETING : USUAL),
      prepareMs: random.chance(0.5) ? 0 : random.magnitude(1, 50),
      betweenMs: random.chance(0.5) ? 0 : random.next() * 3,
    });
    if (!abandons) draft = next;
    atMs = hurried ? atMs + random.magnitude(1, 20) / 2 : atMs + random.next() * (chaosMs - atMs);
  }
  return changes;
}

const USUAL: readonly Awaited[] = ["anything", "replies", "replies", "transaction"];
const MEETING: readonly Awaited[] = ["replies", "transaction", "exec", "exec", "slices", "slices"];

type Redraft = (random: Random, draft: Draft, machines: number) => Draft;

function atServer(
  random: Random,
  draft: Draft,
  change: (server: DraftServer, place: number) => DraftServer,
): Draft {
  const place = random.int(0, draft.servers.length - 1);
  return { ...draft, servers: draft.servers.map((server, i) => i === place ? change(server, i) : server) };
}

function freeMachines({ servers }: Draft, machines: number): number[] {
  return Array.from({ length: machines }, (_, i) => i).filter((i) => servers.every((s) => s.machine !== i));
}

/** A name that no server has had: not by chance the one of another. */
function newName(random: Random): string {
  return `n${random.int(0, 999_999)}`;
}

const SETTINGS: readonly ((random: Random) => [string, string | number | boolean])[] = [
  (random) => ["timeout", random.magnitude(20, 2000)],
  (random) => ["connect_timeout", random.magnitude(10, 1000)],
  (random) => ["server_connections", random.int(1, 3)],
  (random) => ["server_failure_limit", random.int(1, 4)],
  (random) => ["server_retry_timeout", random.magnitude(20, 2000)],
  (random) => ["auto_eject_hosts", random.chance(0.5)],
  (random) => ["preconnect", random.chance(0.5)],
  (random) => ["max_in_flight", random.magnitude(1, 50)],
  (random) => ["client_output_limit", random.magnitude(1024, 64 * 1024)],
  (random) => ["idle_timeout", random.chance(0.5) ? 0 : random.magnitude(500, 5000)],
];

const PASSWORDS = ["secret", "hidden", null];

/** `users` of a memcached pool. */
export function usersWith(password: string): string {
  return `[ { name: ann, password: ${password}, rules: "+@all ~* &*" } ]`;
}

const LIMITS: readonly ((random: Random) => [string, number])[] = [
  (random) => ["max_request_size", random.magnitude(200, 64 * 1024)],
  (random) => ["max_arguments", random.int(OF_TRACKING, 16)],
  (random) => ["client_connections", random.chance(0.5) ? 0 : random.int(2, 6)],
];

const KINDS: readonly (readonly [string, Redraft])[] = [
  ["a server comes", (random, draft, machines) => {
    const free = freeMachines(draft, machines);
    if (free.length === 0) return draft;
    const servers = [...draft.servers];
    const name = random.chance(0.3) ? newName(random) : null;
    const weight = random.chance(0.7) ? 1 : random.int(1, 5);
    servers.splice(random.int(0, servers.length), 0, { machine: random.pick(free), weight, name });
    return { ...draft, servers };
  }],
  ["a server goes", (random, draft) => {
    const place = random.int(0, draft.servers.length - 1);
    if (draft.servers.length === 1) return draft;
    return { ...draft, servers: draft.servers.filter((_, i) => i !== place) };
  }],
  ["another weight", (random, draft) => {
    return atServer(random, draft, (server) => ({ ...server, weight: random.int(1, 5) }));
  }],
  ["another name", (random, draft) => {
    return atServer(random, draft, (server) => ({
      ...server,
      name: server.name !== null && random.chance(0.3) ? null : newName(random),
    }));
  }],
  ["another address", (random, draft, machines) => {
    const free = freeMachines(draft, machines);
    // One without a name would be another server.
    return atServer(random, draft, (server) => {
      if (server.name === null || free.length === 0) return server;
      return { ...server, machine: random.pick(free) };
    });
  }],
  ["two change places", (random, draft) => {
    const [a, b] = random.shuffle([...draft.servers]);
    if (b === undefined || a!.name === null || b.name === null) return draft;
    const servers = draft.servers.map((server) =>
      server === a
        ? { ...server, machine: b.machine }
        : server === b
        ? { ...server, machine: a!.machine }
        : server
    );
    return { ...draft, servers };
  }],
  ["another order", (random, draft) => ({ ...draft, servers: random.shuffle([...draft.servers]) })],
  ["other settings", (random, draft) => {
    const keys = new Map(draft.keys);
    for (let i = random.int(1, 3); i > 0; i--) keys.set(...random.pick(SETTINGS)(random));
    return { ...draft, keys };
  }],
  ["another password", (random, draft) => {
    const redis = draft.keys.get("redis") === true;
    if (redis ? draft.keys.has("users") : draft.hasUsers !== true) return draft;
    const keys = new Map(draft.keys);
    const password = random.pick(PASSWORDS);
    const key = redis ? "redis_auth" : "users";
    if (password === null) keys.delete(key);
    else keys.set(key, redis ? password : usersWith(password));
    return { ...draft, keys };
  }],
  ["other limits", (random, draft) => {
    const keys = new Map(draft.keys);
    for (let i = random.int(1, 2); i > 0; i--) keys.set(...random.pick(LIMITS)(random));
    return { ...draft, keys };
  }],
  ["another ring", (random, draft) => {
    const keys = new Map(draft.keys);
    if (random.chance(0.5)) keys.set("hash", random.pick(HASHES));
    if (random.chance(0.5)) keys.set("distribution", random.pick(DISTRIBUTIONS));
    if (random.chance(0.2)) keys.set("hash_tag", `"${random.pick(TAGS)}"`);
    return { ...draft, keys };
  }],
  [
    "another pool",
    (random, draft) => ({ ...draft, beta: random.pick(["before", "behind", undefined] as const) }),
  ],
  ["another port", (random, draft) => ({ ...draft, port: random.int(0, PORTS - 1) })],
];

/** Those after which a server has another index. */
const SHIFTING = KINDS.filter(([kind]) =>
  ["a server comes", "a server goes", "another order"].includes(kind)
);
