/**
 * From the text of a configuration file to what it means, or to everything that is wrong with it.
 *
 *   ConfigDocument ──► entries of each mapping ──► values by the table ──► rules between keys and pools ──► Config
 *
 * A nutcracker.yml means here what it means to twemproxy 0.5.0: names of servers, their order, defaults. What
 * twemproxy takes and cannot work with is an error: a server without a host, two pools on one address.
 * Truth: tests/vectors/config/nutcracker.json (verdicts of nutcracker 0.5.0) and tests/vectors/placement.json.
 */
import { builtin } from "../bytes/builtin.ts";
import { dirname, resolve } from "node:path";
import { encode } from "../bytes/ascii.ts";
import { type IpRange, RANGE_EXPECTED, readIpRange } from "../net/ip_range.ts";
import { PLACE_EXPECTED, readPlace, type Zone } from "../net/zones.ts";
import type { Rates } from "../stats/quotas.ts";
import { parseRules, RuleError } from "../protocol/redis/acl_rules.ts";
import { sortServers } from "../ring/server_order.ts";
import type {
  Config,
  Credentials,
  PoolConfig,
  ProcessConfig,
  ReplicaConfig,
  SentinelConfig,
  ServerConfig,
  ServersFrom,
  ServerTlsConfig,
  TlsConfig,
  TlsPair,
  UserConfig,
  UserSecret,
} from "./config.ts";
import { readTlsFiles, TlsFileError } from "./certificates.ts";
import { ConfigError, type Problem, problem, quoted } from "./config_error.ts";
import { documentSteps, NO_DOCUMENT } from "./document.ts";
import type { ConfigDocument, Entry, Place, Value } from "./tree.ts";
import { FILE_SIZE_MAX, firstLine, readConfigFile, tooLarge } from "./file.ts";
import { findClashes, spelledHost, spelling } from "./listens.ts";
import { isPasswordHash, PASSWORD_BYTES_MAX, PASSWORD_HASH_EXPECTED } from "./password_hash.ts";
import {
  ADMIN_TLS_KEYS,
  ANNOUNCED_MAX,
  CLUSTER_KEYS,
  expectation,
  type Fields,
  FROM_KEYS,
  type Key,
  LIMITS_KEYS,
  LOG_KEYS,
  NOT_IN_CLUSTER_KEYS,
  POOL_KEYS,
  PROCESS_KEYS,
  PROCESS_NAME,
  RANGES_MAX,
  REPLICA_KEYS,
  REPLICATION_KEYS,
  type Scope,
  SERVER_AUTH_KEYS,
  SERVER_KEYS,
  SERVER_TLS_KEYS,
  SNI_KEYS,
  TLS_KEYS,
  UNAVAILABLE_KEYS,
  USER_KEYS,
  USERS_MAX,
} from "./schema.ts";
import { atOnce } from "../ring/steps.ts";
import { resolveSecret } from "./secrets.ts";
import {
  isAnyHost,
  isLoopback,
  isServerName,
  makeMaster,
  makeServer,
  type Read,
  readAddress,
  readSeed,
  readServer,
  readValue,
  seedOf,
} from "./values.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

export { ConfigError } from "./config_error.ts";
export type { Problem } from "./config_error.ts";

/**
 * Reads and parses a file.
 * @param nowMs ms since the epoch: certificates and keys that it names are read, and have to be good then; absent: they are not looked at
 * @throws ConfigError, also if the file cannot be read
 */
export function loadConfig(file: string, nowMs: number | null = null): Config {
  return atOnce(loadSteps(file, nowMs));
}

/** As `loadConfig`. */
export function* loadSteps(file: string, nowMs: number | null = null): Generator<number, Config> {
  const bytes = readConfigFile(file);
  const text = new TextDecoder("utf-8").decode(bytes);
  // Only for a file that has them is it worth finding out whether the replacement characters are its own.
  if (text.includes("\uFFFD")) checkUtf8(bytes, text, file);
  yield READ_US;
  return yield* parseSteps(text, file, true, nowMs);
}

/**
 * @param fileName for messages, and where a relative path starts
 * @param opensFiles false: no file that the text names is opened, and there is no token then
 * @param nowMs as loadConfig; only if files are opened
 * @throws ConfigError with every problem of the text, in order; nothing else, whatever the text
 */
export function parseConfig(
  text: string,
  fileName: string,
  opensFiles = true,
  nowMs: number | null = null,
): Config {
  return atOnce(parseSteps(text, fileName, opensFiles, nowMs));
}

/** A turn to itself: what it takes depends on the file. */
const READ_US = 1000;
/** What a server takes to be read, about. */
const SERVER_US = 10;

/** As `parseConfig`. */
export function* parseSteps(
  text: string,
  fileName: string,
  opensFiles = true,
  nowMs: number | null = null,
): Generator<number, Config> {
  if (text.length > FILE_SIZE_MAX) throw tooLarge(fileName);
  const document = yield* documentSteps(text);
  yield READ_US;
  return yield* new Reader(document, fileName, opensFiles, opensFiles ? nowMs : null).readSteps();
}

/**
 * The servers of a file that `servers_from` names: one a line in twemproxy's form, blank lines and comments between them,
 * or a YAML list of what may stand under `servers`. In twemproxy's order; none if the file says nothing.
 * @throws ConfigError as parseConfig
 */
export function parseServers(text: string, fileName: string): readonly ServerConfig[] {
  if (text.length > FILE_SIZE_MAX) throw tooLarge(fileName);
  const lines: (Value & { kind: "text" })[] = [];
  text.split("\n").forEach((line, i) => {
    const said = line.trim().replace(/(^|\s)#.*$/, "").trim();
    const place = { line: i + 1, column: line.indexOf(said) + 1 };
    if (said !== "") lines.push({ kind: "text", place, text: said });
  });
  const first = lines[0];
  if (first === undefined) return [];
  // An IPv6 address begins with a bracket too.
  const isList = /^(-($|\s)|---|\[)/.test(first.text) && !("value" in readServer(first.text));
  const reader = new Reader(isList ? atOnce(documentSteps(text)) : NO_DOCUMENT, fileName);
  return reader.readServers(isList ? null : lines);
}

function checkUtf8(bytes: Uint8Array, text: string, file: string): void {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const before = text.slice(0, text.indexOf("\uFFFD")).split("\n");
    const column = before[before.length - 1]!.length + 1;
    throw new ConfigError([
      problem(file, before.length, column, "", "bytes that are not UTF-8", "UTF-8 text"),
    ]);
  }
}

/** What a mapping says, by key name. */
type Values = Map<string, { readonly value: unknown; readonly place: Place }>;

interface ReadPool {
  readonly config: PoolConfig;
  readonly place: Place;
  readonly listenPlace: Place;
  readonly readFromPlace: Place;
}

/** One pass over one text; every problem found is noted and reading goes on. */
class Reader {
  readonly #file: string;
  readonly #document: ConfigDocument;
  readonly #problems: Problem[] = [];
  /** Problems that say something is missing: not to be believed of a tree that broke off. */
  readonly #absences = new Set<Problem>();
  readonly #serverPlaces = new Map<ServerConfig, Place>();
  readonly #userPlaces = new Map<UserConfig, Place>();
  /** What stands under `servers` of the pool that is being read are nodes of a cluster. */
  #cluster = false;

  readonly #opensFiles: boolean;
  /** Null: certificates and keys are not looked at. */
  readonly #nowMs: number | null;

  constructor(document: ConfigDocument, file: string, opensFiles = false, nowMs: number | null = null) {
    this.#document = document;
    this.#file = file;
    this.#opensFiles = opensFiles;
    this.#nowMs = nowMs;
  }

  /** In steps (ring/steps.ts): a pool may have hundreds of servers. */
  *readSteps(): Generator<number, Config> {
    const root = this.#document.root;
    const pools: ReadPool[] = [];
    let process: ProcessConfig | null = null;
    let zoned = false;
    if (root.kind === "nothing") {
      this.#absent(root.place, "", "an empty file", "at least one pool: a name and, below it, its keys");
    } else if (root.kind !== "mapping") {
      this.#problem(root.place, "", described(root), "pools: each a name and, below it, its keys");
    } else {
      const firsts = new Map<string, Place>();
      for (const entry of this.#document.entries(root)) {
        if (this.#isSecond(firsts, entry, "one pool of this name")) continue;
        const entries = this.#document.entries(entry.value);
        if (entry.key === PROCESS_NAME && !entries.some((each) => each.key === "listen")) {
          process = this.#process(entry, entries);
          zoned = entries.some((each) => each.key === "zone");
        } else {
          const pool = yield* this.#poolSteps(entry, entries);
          yield READ_US;
          if (pool !== null) pools.push(pool);
        }
      }
      if (
        ![...firsts.keys()].some((name) => name !== PROCESS_NAME) && pools.length === 0 && process !== null
      ) {
        this.#absent(root.place, "", "no pool", "at least one pool: a name and, below it, its keys");
      }
    }
    this.#checkListens(pools);
    if (!zoned) this.#checkZone(pools);
    this.#checkShared(pools.map((pool) => pool.config));
    this.#report();
    return {
      process: process ?? this.#defaultProcess(),
      pools: sortServers(pools.map((pool) => pool.config)),
    };
  }

  /** @param lines null: what the document has */
  readServers(lines: readonly Value[] | null): readonly ServerConfig[] {
    const key = POOL_KEYS.find((each) => each.type === "servers")!;
    const { root } = this.#document;
    let servers: ServerConfig[] | undefined;
    if (lines !== null) servers = atOnce(this.#serversOf(key, lines));
    else if (root.kind === "list") servers = atOnce(this.#serversOf(key, this.#document.items(root)));
    else this.#problem(root.place, key.name, described(root), expectation(key));
    for (const server of servers ?? []) this.#checkHasAddress(server);
    this.#report();
    return servers ?? [];
  }

  *#poolSteps(pool: Entry, entries: readonly Entry[]): Generator<number, ReadPool | null> {
    if (pool.value.kind !== "mapping") {
      this.#problem(
        pool.value.place,
        pool.key,
        described(pool.value),
        "a pool: a mapping with listen and servers",
      );
      return null;
    }
    this.#cluster = entries.some(({ key, value }) =>
      key === "cluster" && value.kind === "text" && value.text === "true"
    );
    const values = yield* this.#valuesSteps(entries, "pool", POOL_KEYS, pool.place);
    const place = (name: string) => values.get(name)?.place ?? pool.place;
    // What a wrong key was to say nobody knows: no other is measured by it, or one mistake would be told as several.
    const wrong = new Set(entries.map(({ key }) => key).filter((key) => !values.has(key)));
    const read = fieldsOf(POOL_KEYS, values);
    const fields = { ...read, redis: read.redis || wrong.has("redis") };
    if (fields.redis === false && fields.redisAuth !== null) {
      this.#problem(
        place("redis_auth"),
        "redis_auth",
        "a password in a memcached pool",
        "redis: true, or no redis_auth",
      );
    }
    if (fields.redis === false && fields.databases > 1) {
      this.#problem(
        place("databases"),
        "databases",
        quoted(String(fields.databases)),
        "redis: true, or 1: memcached has no databases",
      );
    }
    const { listen, servers } = fields;
    this.#checkUsers(values, wrong, fields);
    if (!wrong.has("cluster")) this.#checkCluster(values, fields);
    this.#checkServers(pool, entries);
    if (!wrong.has("failover")) this.#checkReplication(pool, values, fields, servers ?? []);
    if (!wrong.has("announce_cluster")) this.#checkAnnounced(values, fields);
    if (!wrong.has("proxy_protocol")) this.#checkProxyProtocol(values, wrong, fields);
    if (listen === null || (servers === null && fields.serversFrom === null)) return null;
    const config: PoolConfig = {
      name: pool.key,
      ...fields,
      ...(fields.cluster ? clusterFields(servers ?? [], fields.clusterRefreshMs) : {}),
      listen: listen.address,
      listenText: listen.text,
      listenLine: place("listen").line,
      timeoutMs: fields.timeoutMs ?? -1,
      sentinels: fields.sentinels ?? [],
      announce: fields.announce ?? [],
      servers: servers ?? [],
    };
    return { config, place: pool.place, listenPlace: place("listen"), readFromPlace: place("read_from") };
  }

  /** memcached has users, but no rights; the user default has one password; and who has none needs a certificate. */
  #checkUsers(
    values: Values,
    wrong: ReadonlySet<string>,
    { redis, redisAuth, users, tls }: Fields<typeof POOL_KEYS>,
  ): void {
    for (const name of redis === false ? ["per_user", "server_auth"] : []) {
      const given = values.get(name);
      if (given === undefined) continue;
      this.#problem(given.place, name, `${name} in a memcached pool`, `redis: true, or no ${name}`);
    }
    for (const user of redis === false ? users ?? [] : []) {
      const { enabled, unrestricted } = parseRules(user.rules, false);
      const problem = (name: string, found: string, expected: string) =>
        this.#problem(this.#userPlaces.get(user)!, name, `${found} in a memcached pool`, expected);
      if (enabled && !unrestricted) {
        problem(
          "rules",
          "rules that forbid something",
          '"+@all ~* &*", or off: who has logged in there may do everything',
        );
      }
      if (user.limits !== null) problem("limits", "limits of a user", "redis: true, or no limits");
    }
    const noUsers = users === null && !wrong.has("users");
    if (redis !== false && noUsers && values.has("per_user")) {
      this.#problem(values.get("per_user")!.place, "per_user", "per_user without users", "users as well");
    }
    const from = tls?.userFrom ?? "off";
    if (from !== "off" && noUsers) {
      const expected = "users as well, whose names are those of certificates";
      this.#problem(values.get("tls")!.place, "user_from", `user_from: ${from} without users`, expected);
    }
    for (const user of from === "off" && !wrong.has("tls") ? users ?? [] : []) {
      if (user.secret.kind !== "certificate") continue;
      this.#absent(
        this.#userPlaces.get(user)!,
        "password",
        "nothing",
        `one of ${LOGINS.join(", ")}, or user_from under tls`,
      );
    }
    if (redisAuth === null || !users?.some(({ name }) => name === "default")) return;
    const expected =
      "one of both: redis_auth is the password of the user default, who may do everything then";
    this.#problem(values.get("users")!.place, "users", "a user named default beside redis_auth", expected);
  }

  /** A cluster says itself who owns which key, and who follows whom. */
  #checkCluster(values: Values, fields: Fields<typeof POOL_KEYS>): void {
    const names = fields.cluster ? NOT_IN_CLUSTER_KEYS : CLUSTER_KEYS;
    for (const name of names) {
      const given = values.get(name);
      if (given === undefined || isDefault(name, given.value)) continue;
      const [found, expected] = fields.cluster
        ? [`${name} with cluster: true`, `no ${name}: the cluster places keys and looks after its nodes`]
        : [`${name} without a cluster`, `cluster: true, or no ${name}`];
      this.#problem(given.place, name, found, expected);
    }
    if (!fields.cluster || fields.redis !== false) return;
    const expected = "redis: true: memcached has no cluster";
    this.#problem(values.get("cluster")!.place, "cluster", "a cluster in a memcached pool", expected);
  }

  /** What failover, sentinels, masters and replicas ask of each other. */
  #checkReplication(
    pool: Entry,
    values: Values,
    fields: Fields<typeof POOL_KEYS>,
    servers: readonly ServerConfig[],
  ): void {
    if (fields.redis === false) {
      for (const name of REPLICATION_KEYS) {
        const given = values.get(name);
        if (given === undefined || isDefault(name, given.value)) continue;
        const expected = "redis: true: memcached servers have no replicas";
        this.#problem(given.place, name, `${name} in a memcached pool`, expected);
      }
      for (const server of servers) {
        const what = server.master !== null ? "master" : "replicas";
        if (server.master === null && server.replicas.length === 0) continue;
        const found = `a server with ${what} in a memcached pool`;
        this.#problem(this.#serverPlaces.get(server)!, what, found, "redis: true: memcached has neither");
      }
      return;
    }
    if (fields.cluster) return;
    const only = (name: string, failover: string) => {
      const given = values.get(name);
      // What is the default anyway does no harm anywhere.
      if (given === undefined || fields.failover === failover || isDefault(name, given.value)) return;
      this.#problem(given.place, name, `${name} with failover: ${fields.failover}`, `failover: ${failover}`);
    };
    only("sentinels", "sentinel");
    only("sentinel_auth", "sentinel");
    only("promoter", "promote");
    if (fields.failover === "promote") this.#checkSets(pool, servers, values.get("failover")!.place);
    if (fields.failover !== "sentinel") {
      for (const server of servers) this.#checkHasAddress(server);
      return;
    }
    const place = values.get("failover")!.place;
    const named = this.#document.entries(pool.value).map((each) => each.key);
    if (!named.includes("sentinels")) {
      const key = POOL_KEYS.find((each) => each.name === "sentinels")!;
      this.#absent(place, key.name, "nothing", `${expectation(key)}, as failover: sentinel needs`);
    }
    if (named.includes("servers_from")) {
      const expected = "servers, each with its master: the sentinels say where they are";
      this.#problem(place, "failover", "failover: sentinel with servers_from", expected);
    }
    for (const server of servers) {
      if (server.master !== null) continue;
      const expected = "a mapping of name and master: with failover: sentinel the sentinels say where it is";
      this.#problem(this.#serverPlaces.get(server)!, "servers", quoted(server.addressText), expected);
    }
  }

  /** Cluster clients have to be told an address that they can reach. */
  #checkAnnounced(
    values: Values,
    { redis, listen, announceCluster, announce }: Fields<typeof POOL_KEYS>,
  ): void {
    const wrong = (name: string, found: string, expected: string) =>
      this.#problem(values.get(name)!.place, name, found, expected);
    if (!announceCluster) {
      if (announce !== null) {
        wrong("announce", "announce without announce_cluster", "announce_cluster: true as well");
      }
    } else if (redis === false) {
      wrong(
        "announce_cluster",
        "announce_cluster in a memcached pool",
        "redis: true: memcached has no cluster",
      );
    } else if (listen !== null && "path" in listen.address && announce === null) {
      const expected =
        "a listen of HOST:PORT, or announce: cluster clients connect to the addresses they are told";
      wrong("announce_cluster", `announce_cluster with listen: ${quoted(listen.text)}`, expected);
    }
  }

  /** Whoever may send a PROXY header may say to be anybody, so it has to be said who may. */
  #checkProxyProtocol(
    values: Values,
    wrong: ReadonlySet<string>,
    { listen, proxyProtocol, proxyFrom }: Fields<typeof POOL_KEYS>,
  ): void {
    if (!proxyProtocol) {
      if (proxyFrom === null) return;
      const expected = "proxy_protocol: on as well";
      this.#problem(
        values.get("proxy_from")!.place,
        "proxy_from",
        "proxy_from without proxy_protocol",
        expected,
      );
      return;
    }
    const { place } = values.get("proxy_protocol")!;
    if (proxyFrom === null && listen !== null && !("path" in listen.address) && !wrong.has("proxy_from")) {
      const key = POOL_KEYS.find((each) => each.name === "proxy_from")!;
      const expected = `${expectation(key)}: whoever may send the header may say to be anybody`;
      this.#absent(place, key.name, "nothing", expected);
    }
  }

  /** Whoever promotes has to have a majority of a server and its replicas: of two, none is left when one dies. */
  #checkSets(pool: Entry, servers: readonly ServerConfig[], place: Place): void {
    if (this.#document.entries(pool.value).some((each) => each.key === "servers_from")) {
      const expected = "servers, each with its replicas: failover: promote has to know all of them";
      this.#problem(place, "failover", "failover: promote with servers_from", expected);
    }
    for (const server of servers) {
      const members = [server.address, ...server.replicas.map((replica) => replica.address)];
      const at = this.#serverPlaces.get(server)!;
      const count = server.replicas.length;
      if (count < 2) {
        const found = `${quoted(server.addressText)} with ${count === 1 ? "one replica" : "no replicas"}`;
        this.#problem(
          at,
          "replicas",
          found,
          "two replicas or more: a majority of three is left when one dies",
        );
      } else if (members.some((address) => address !== null && "path" in address)) {
        const expected = "HOST:PORT of each: replicas cannot follow a path";
        this.#problem(at, "replicas", `${quoted(server.addressText)} on a unix socket`, expected);
      }
    }
  }

  /** Of two sets that share some members and not all, one would promote what belongs to the other. */
  #checkShared(pools: readonly PoolConfig[]): void {
    const seen = new Map<string, { readonly set: string; readonly where: string }>();
    for (const { name, failover, servers } of pools) {
      if (failover !== "promote") continue;
      for (const server of servers) {
        if (server.address === null) continue;
        const members = [{ address: server.address, text: server.addressText }, ...server.replicas]
          .map(({ address, text }) => ({ at: spelling(address), text }));
        const own = {
          set: members.map(({ at }) => at).sort().join(),
          where: `server '${server.name}' of pool '${name}'`,
        };
        const shared = members.find(({ at }) => (seen.get(at)?.set ?? own.set) !== own.set);
        if (shared !== undefined) {
          const found = `${quoted(shared.text)}, which ${seen.get(shared.at)!.where} has too, with others`;
          this.#problem(
            this.#serverPlaces.get(server)!,
            "replicas",
            found,
            "sets that are equal or share none",
          );
        }
        for (const { at } of members) if (!seen.has(at)) seen.set(at, own);
      }
    }
  }

  #checkHasAddress(server: ServerConfig): void {
    if (server.master === null) return;
    const expected = "an address, or failover: sentinel, which finds masters by name";
    this.#problem(this.#serverPlaces.get(server)!, "master", quoted(server.master), expected);
  }

  /** Nobody is near a proxy that does not know where it is. */
  #checkZone(pools: readonly ReadPool[]): void {
    for (const { config, readFromPlace } of pools) {
      if (config.readFrom !== "nearest") continue;
      const expected = "zone under ringmaster: where this proxy runs; or another read_from";
      this.#problem(readFromPlace, "read_from", '"nearest" without a zone of the proxy', expected);
    }
  }

  /** A pool has either of servers and servers_from. */
  #checkServers(pool: Entry, entries: readonly Entry[]): void {
    const [servers, from] = ["servers", "servers_from"].map((name) =>
      entries.find((each) => each.key === name)
    );
    // Has been told of.
    if (this.#cluster && from !== undefined) return;
    if (servers === undefined && from === undefined) {
      const key = POOL_KEYS.find((each) => each.type === "servers")!;
      this.#absent(pool.place, key.name, "nothing", `${expectation(key)}; or servers_from in its place`);
    }
    if (servers === undefined || from === undefined) return;
    this.#problem(from.place, from.key, "servers as well", "one of servers and servers_from");
  }

  #process(process: Entry, entries: readonly Entry[]): ProcessConfig {
    if (process.value.kind !== "mapping") {
      const expected = `a mapping of ${
        PROCESS_KEYS.map((key) => key.name).join(", ")
      }, or a pool with listen and servers`;
      this.#problem(process.value.place, PROCESS_NAME, described(process.value), expected);
      return this.#defaultProcess();
    }
    const values = this.#values(entries, "process", PROCESS_KEYS, process.place);
    const fields = fieldsOf(PROCESS_KEYS, values);
    const token = this.#adminToken(values, fields.adminTokenFile);
    const { address, text } = fields.admin;
    const isGuarded = fields.adminTokenFile !== null || fields.adminTls?.clientCertificates === "required";
    if (address !== null && !isLoopback(address) && !isGuarded) {
      const expected =
        "an address of this machine alone, such as 127.0.0.1:22280, or admin_token_file as well";
      this.#problem(values.get("admin")!.place, "admin", `${said(text)} without a token`, expected);
    }
    return processOf(fields, token);
  }

  /** What stands in the file; null if none is named, or it is wrong, which has been noted then. */
  #adminToken(values: Values, file: string | null): string | null {
    if (file === null || !this.#opensFiles) return null;
    const { place } = values.get("admin_token_file")!;
    try {
      const text = new TextDecoder().decode(readConfigFile(resolve(dirname(this.#file), file))).trim();
      if (TOKEN.test(text)) return text;
      const expected = "a file of one line: 16 to 1024 letters, digits and signs without spaces";
      this.#problem(place, "admin_token_file", `${quoted(file)}, ${wrongWithToken(text)}`, expected);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const found = `${quoted(file)}, ${error.problems[0]!.found}`;
      this.#problem(place, "admin_token_file", found, "a file that can be read");
    }
    return null;
  }

  #defaultProcess(): ProcessConfig {
    return processOf(fieldsOf(PROCESS_KEYS, new Map()), null);
  }

  /** The values of a mapping's keys. Values that are wrong are noted and absent from the result. */
  #values(entries: readonly Entry[], scope: Scope, keys: readonly Key[], place: Place): Values {
    return atOnce(this.#valuesSteps(entries, scope, keys, place));
  }

  *#valuesSteps(
    entries: readonly Entry[],
    scope: Scope,
    keys: readonly Key[],
    place: Place,
  ): Generator<number, Values> {
    const values: Values = new Map();
    const firsts = new Map<string, Place>();
    for (const entry of entries) {
      if (this.#isSecond(firsts, entry, "the key once")) continue;
      const key = keys.find((each) => each.name === entry.key);
      if (key === undefined) {
        this.#unknown(entry, scope, keys);
        continue;
      }
      const value = key.type === "servers"
        ? yield* this.#serversSteps(key, entry.value)
        : this.#value(key, entry.value);
      if (value !== undefined) values.set(key.name, { value, place: entry.value.place });
    }
    for (const key of keys) {
      if (key.absent !== "required" || firsts.has(key.name)) continue;
      this.#absent(place, key.name, "nothing", expectation(key));
    }
    return values;
  }

  /** The value of a key; undefined if it is wrong, which has then been noted. */
  #value(key: Key, value: Value): unknown {
    if (key.type === "servers_from") return this.#serversFrom(key, value);
    if (key.type === "tls") return this.#tls(key, value);
    if (key.type === "server_tls") return this.#serverTls(key, value);
    if (key.type === "sni") return this.#sni(key, value);
    if (key.type === "admin_tls") return this.#adminTls(key, value);
    if (key.type === "limits") return this.#limits(key, value);
    if (key.type === "users") return this.#users(key, value);
    if (key.type === "rules") return this.#rules(key, value);
    if (key.type === "server_auth") return this.#serverAuth(key, value);
    if (key.type === "sentinels" || key.type === "replicas" || key.type === "announced") {
      return this.#addresses(key, value);
    }
    if (key.type === "ranges") return this.#ranges(key, value);
    if (key.type === "zones") return this.#zones(key, value);
    if (key.type === "log" && value.kind === "mapping") {
      return fieldsOf(LOG_KEYS, this.#values(this.#document.entries(value), "log", LOG_KEYS, value.place));
    }
    const written = textOf(key, value);
    if (written === null) {
      this.#problem(value.place, key.name, described(value), expectation(key));
      return undefined;
    }
    const secret = key.secret && this.#opensFiles ? resolveSecret(written) : { text: written };
    if ("missing" in secret) {
      const found = `${quoted(written)}, and no such variable in the environment`;
      this.#problem(value.place, key.name, found, `${secret.missing} set, and not empty`);
      return undefined;
    }
    const { text } = secret;
    const read = readValue(key, text);
    if ("value" in read) return key.type === "path" ? this.#path(text) : read.value;
    this.#problem(
      value.place,
      key.name,
      key.secret || (key.type === "url" && /[?#]/.test(text)) ? "a value" : said(text),
      read.expected,
    );
    return undefined;
  }

  *#serversSteps(key: Key, value: Value): Generator<number, ServerConfig[] | undefined> {
    if (value.kind !== "list" || value.items.length === 0) {
      this.#problem(
        value.place,
        key.name,
        value.kind === "list" ? "an empty list" : described(value),
        expectation(key),
      );
      return undefined;
    }
    return yield* this.#serversOf(key, this.#document.items(value));
  }

  /** Undefined if anything is wrong with one of them. */
  *#serversOf(key: Key, items: readonly Value[]): Generator<number, ServerConfig[] | undefined> {
    const servers: ServerConfig[] = [];
    const firsts = new Map<string, Place>();
    let wrong = false;
    for (const item of items) {
      yield SERVER_US;
      const server = this.#server(key, item);
      if (server === null) {
        wrong = true;
        continue;
      }
      const first = firsts.get(server.name);
      if (first !== undefined) {
        const found = `a second server named ${quoted(server.name)} (first at line ${first.line})`;
        this.#problem(
          item.place,
          key.name,
          found,
          this.#cluster
            ? "each node of the cluster once"
            : "a name of its own for each: give one a NAME after its weight",
        );
        wrong = true;
        continue;
      }
      firsts.set(server.name, item.place);
      this.#serverPlaces.set(server, item.place);
      servers.push(server);
    }
    return wrong ? undefined : sortServers(servers);
  }

  #server(key: Key, item: Value): ServerConfig | null {
    let read: Read<ServerConfig>;
    let found: string;
    if (item.kind === "text") {
      read = this.#cluster ? readSeed(item.text) : readServer(item.text);
      found = said(item.text);
    } else if (item.kind === "mapping") {
      const entries = this.#document.entries(item);
      const values = this.#values(entries, "server", SERVER_KEYS, item.place);
      return this.#serverOf(key, item, entries, values);
    } else {
      this.#problem(item.place, key.name, described(item), "HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]");
      return null;
    }
    if ("value" in read) return read.value;
    this.#problem(item.place, key.name, found, read.expected);
    return null;
  }

  /** A server that is a mapping: it has an address, or a name with the sentinels. */
  #serverOf(key: Key, item: Value, entries: readonly Entry[], values: Values): ServerConfig | null {
    const fields = fieldsOf(SERVER_KEYS, values);
    const { address, master, name, zone, weight } = fields;
    const replicas = fields.replicas ?? [];
    if (values.size < entries.length) return null;
    const stray = this.#cluster && entries.find(({ key }) => key !== "address" && key !== "zone");
    if (stray) {
      const expected = "address and zone alone: the cluster says the rest";
      this.#problem(stray.place, stray.key, `${stray.key} of a node of a cluster`, expected);
      return null;
    }
    if (master === null && address === null) {
      this.#absent(item.place, "address", "nothing", expectation(SERVER_KEYS[0]!));
      return null;
    }
    if (master !== null) {
      const stray = entries.find((entry) => entry.key === "address" || entry.key === "replicas");
      if (stray === undefined) return { ...makeMaster(master, name, weight), zone };
      const found = `${stray.key} beside master`;
      this.#problem(stray.place, stray.key, found, "master alone: the sentinels say the addresses");
      return null;
    }
    const read = makeServer(address!.text, name, weight);
    if (!("value" in read)) {
      this.#problem(item.place, key.name, said(address!.text), read.expected);
      return null;
    }
    const own = spelling(read.value.address!);
    const itself = replicas.find((replica) => spelling(replica.address) === own);
    if (itself !== undefined) {
      const found = `${quoted(itself.text)}, which is the server's own address`;
      this.#problem(values.get("replicas")!.place, "replicas", found, "the addresses of others");
    }
    const server = { ...read.value, replicas, zone };
    if (!this.#cluster) return server;
    const seed = seedOf(server);
    if ("value" in seed) return seed.value;
    this.#problem(item.place, key.name, said(address!.text), seed.expected);
    return null;
  }

  /** A list of addresses; of replicas each may be a mapping. Undefined if anything is wrong with one. */
  #addresses(key: Key, value: Value): readonly (SentinelConfig | ReplicaConfig)[] | undefined {
    const tooLong = key.type === "announced" && value.kind === "list" && value.items.length > ANNOUNCED_MAX;
    if (value.kind !== "list" || value.items.length === 0 || tooLong) {
      const found = tooLong ? "a longer list" : value.kind === "list" ? "an empty list" : described(value);
      this.#problem(value.place, key.name, found, expectation(key));
      return undefined;
    }
    const items = this.#document.items(value);
    const read = items.map((item) => this.#address(key, item));
    const addresses = read.filter((each) => each !== null);
    addresses.forEach(({ address, text }, i) => {
      const first = addresses.find((each) => spelling(each.address) === spelling(address))!;
      if (first === addresses[i]) return;
      const found = first.text === text
        ? `${quoted(text)} twice`
        : `${quoted(text)}, which is ${quoted(first.text)}`;
      this.#problem(value.place, key.name, found, "each once");
      read.push(null);
    });
    return read.includes(null) || addresses.length === 0 ? undefined : addresses;
  }

  /** A list of ranges of addresses. Undefined if anything is wrong with one. */
  #ranges(key: Key, value: Value): readonly IpRange[] | undefined {
    const tooLong = value.kind === "list" && value.items.length > RANGES_MAX;
    if (value.kind !== "list" || value.items.length === 0 || tooLong) {
      const found = tooLong ? "a longer list" : value.kind === "list" ? "an empty list" : described(value);
      this.#problem(value.place, key.name, found, expectation(key));
      return undefined;
    }
    const items = this.#document.items(value);
    const ranges: IpRange[] = [];
    for (const item of items) {
      const read = item.kind === "text" ? readIpRange(item.text) : RANGE_EXPECTED;
      if (typeof read !== "string") ranges.push(read);
      else this.#problem(item.place, key.name, described(item), read);
    }
    return ranges.length < items.length || items.length === 0 ? undefined : ranges;
  }

  /** A mapping of zones, a list of places each. Undefined if anything is wrong with one. */
  #zones(key: Key, value: Value): readonly Zone[] | undefined {
    if (value.kind !== "mapping") {
      this.#problem(value.place, key.name, described(value), expectation(key));
      return undefined;
    }
    const entries = this.#document.entries(value);
    const firsts = new Map<string, Place>();
    const zones = entries.map((entry) =>
      this.#isSecond(firsts, entry, "the zone once") ? null : this.#zone(key, entry)
    );
    if (entries.length === 0) this.#problem(value.place, key.name, "an empty mapping", expectation(key));
    return zones.includes(null) || zones.length === 0 ? undefined : zones as Zone[];
  }

  #zone(key: Key, { key: name, place, value }: Entry): Zone | null {
    if (!isServerName(name)) {
      this.#problem(place, key.name, `a zone named ${quoted(name)}`, "names without spaces");
      return null;
    }
    const tooLong = value.kind === "list" && value.items.length > RANGES_MAX;
    if (value.kind !== "list" || value.items.length === 0 || tooLong) {
      const found = tooLong ? "a longer list" : value.kind === "list" ? "an empty list" : described(value);
      this.#problem(value.place, key.name, found, `a list of at most ${RANGES_MAX}: ${PLACE_EXPECTED}`);
      return null;
    }
    const items = this.#document.items(value);
    const places: Zone["places"][number][] = [];
    for (const item of items) {
      const read = item.kind === "text" ? readPlace(item.text) : PLACE_EXPECTED;
      if (typeof read !== "string") places.push(read);
      else this.#problem(item.place, key.name, described(item), read);
    }
    return places.length < items.length || items.length === 0 ? null : { name, places };
  }

  #address(key: Key, item: Value): SentinelConfig | ReplicaConfig | null {
    const expected = key.type === "sentinels"
      ? "HOST:PORT of a sentinel"
      : key.type === "announced"
      ? "HOST:PORT at which clients reach a proxy"
      : "HOST:PORT or /PATH, or a mapping of address and zone";
    if (item.kind === "text") {
      const read = readAddress(item.text, expected);
      const isAny = key.type === "announced" && "value" in read && isAnyHost(read.value.address);
      if ("value" in read && !isAny && (key.type === "replicas" || "host" in read.value.address)) {
        if (key.type === "replicas") return { ...read.value, zone: null };
        const { address, text } = read.value;
        // Nodes' ids and their order are made of it, and have to be the same on all proxies.
        if (key.type !== "announced" || "path" in address) return read.value;
        return { address: { ...address, host: spelledHost(address.host) }, text };
      }
      this.#problem(item.place, key.name, said(item.text), "expected" in read ? read.expected : expected);
      return null;
    }
    if (item.kind !== "mapping" || key.type !== "replicas") {
      this.#problem(item.place, key.name, described(item), expected);
      return null;
    }
    const entries = this.#document.entries(item);
    const values = this.#values(entries, "replica", REPLICA_KEYS, item.place);
    const { address, zone } = fieldsOf(REPLICA_KEYS, values);
    return address === null || values.size < entries.length ? null : { ...address, zone };
  }

  #serversFrom(key: Key, value: Value): ServersFrom | undefined {
    if (value.kind !== "mapping") {
      this.#problem(value.place, key.name, described(value), expectation(key));
      return undefined;
    }
    const entries = this.#document.entries(value);
    const values = this.#values(entries, "from", FROM_KEYS, value.place);
    // What is wrong has been noted.
    if (values.size < entries.length) return undefined;
    const { dns, file, intervalMs, nameserver } = fieldsOf(FROM_KEYS, values);
    if ((dns === null) === (file === null)) {
      const found = dns === null ? "neither dns nor file" : "both dns and file";
      this.#problem(value.place, key.name, found, "one of the two");
      return undefined;
    }
    if (dns === null) {
      const stray = entries.find((entry) => entry.key !== "file");
      if (stray === undefined) return { file: resolve(dirname(this.#file), file!) };
      this.#problem(stray.place, stray.key, "a key of dns beside file", "file alone");
      return undefined;
    }
    return { dns: dns.name, port: dns.port, intervalMs, nameserver };
  }

  #tls(key: Key, value: Value): TlsConfig | undefined {
    const values = this.#mapping(key, value, "tls", TLS_KEYS);
    if (values === undefined) return undefined;
    const { certificate, key: privateKey, sni, ...rest } = fieldsOf(TLS_KEYS, values);
    if (certificate === null || privateKey === null) return undefined;
    const wrong = this.#wrongVersions(values, rest) || this.#wrongClients(value, values, rest) ||
      this.#wrongUserFrom(values, rest);
    const config: TlsConfig = { certificate, key: privateKey, sni: sni ?? [], ...rest };
    return wrong || this.#wrongFiles(key, value, values, config) ? undefined : config;
  }

  #serverTls(key: Key, value: Value): ServerTlsConfig | undefined {
    const values = this.#mapping(key, value, "server_tls", SERVER_TLS_KEYS);
    if (values === undefined) return undefined;
    const config: ServerTlsConfig = fieldsOf(SERVER_TLS_KEYS, values);
    let wrong = this.#wrongVersions(values, config);
    if ((config.certificate === null) !== (config.key === null)) {
      const [there, missing] = config.key === null ? ["certificate", "key"] : ["key", "certificate"];
      this.#problem(values.get(there)!.place, there, `${there} alone`, `${missing} as well`);
      wrong = true;
    }
    return wrong || this.#wrongFiles(key, value, values, config) ? undefined : config;
  }

  #adminTls(key: Key, value: Value): TlsConfig | undefined {
    const values = this.#mapping(key, value, "admin_tls", ADMIN_TLS_KEYS);
    if (values === undefined) return undefined;
    const { certificate, key: privateKey, ...rest } = fieldsOf(ADMIN_TLS_KEYS, values);
    if (certificate === null || privateKey === null) return undefined;
    const wrong = this.#wrongVersions(values, rest) || this.#wrongClients(value, values, rest);
    const config: TlsConfig = {
      certificate,
      key: privateKey,
      userFrom: "off",
      sni: [],
      handshakeMs: ADMIN_HANDSHAKE_MS,
      ...rest,
    };
    return wrong || this.#wrongFiles(key, value, values, config) ? undefined : config;
  }

  #limits(key: Key, value: Value): Rates | undefined {
    const values = this.#mapping(key, value, "limits", LIMITS_KEYS);
    if (values === undefined) return undefined;
    const rates = fieldsOf(LIMITS_KEYS, values);
    if (rates.requestsMax + rates.bytesMax + rates.connectionsMax > 0) return rates;
    this.#problem(value.place, key.name, "no limit", "one that is not 0, or no " + key.name);
    return undefined;
  }

  #serverAuth(key: Key, value: Value): Credentials | undefined {
    const values = this.#mapping(key, value, "server_auth", SERVER_AUTH_KEYS);
    if (values === undefined) return undefined;
    const { username, password, passwordFile } = fieldsOf(SERVER_AUTH_KEYS, values);
    if ((password === null) === (passwordFile === null)) {
      const found = password === null
        ? "neither password nor password_file"
        : "both password and password_file";
      this.#problem(value.place, key.name, found, "one of the two");
      return undefined;
    }
    const text = password ?? this.#passwordIn(passwordFile!, values.get("password_file")!.place);
    return text === null ? undefined : { user: username, password: text };
  }

  /** A list of users. Undefined if anything is wrong with one. */
  #users(key: Key, value: Value): readonly UserConfig[] | undefined {
    const tooLong = value.kind === "list" && value.items.length > USERS_MAX;
    if (value.kind !== "list" || value.items.length === 0 || tooLong) {
      const found = tooLong ? "a longer list" : value.kind === "list" ? "an empty list" : described(value);
      this.#problem(value.place, key.name, found, expectation(key));
      return undefined;
    }
    const items = this.#document.items(value);
    const users: UserConfig[] = [];
    const firsts = new Map<string, Place>();
    for (const item of items) {
      const user = this.#user(key, item);
      if (user === undefined) continue;
      const first = firsts.get(user.name);
      if (first === undefined) users.push(user);
      else {
        const found = `a second user named ${quoted(user.name)} (first at line ${first.line})`;
        this.#problem(item.place, key.name, found, "each user once");
      }
      firsts.set(user.name, first ?? item.place);
    }
    return users.length < items.length || items.length === 0 ? undefined : users;
  }

  #user(key: Key, item: Value): UserConfig | undefined {
    if (item.kind !== "mapping") {
      this.#problem(
        item.place,
        key.name,
        described(item),
        `a mapping of ${USER_KEYS.map((k) => k.name).join(", ")}`,
      );
      return undefined;
    }
    const values = this.#mapping(key, item, "user", USER_KEYS);
    if (values === undefined) return undefined;
    const { name, rules, scripts, limits } = fieldsOf(USER_KEYS, values);
    if (name === null || rules === null) return undefined;
    const secret = this.#userSecret(values);
    if (secret === undefined) return undefined;
    const user = { name, secret, rules, scripts, limits };
    this.#userPlaces.set(user, item.place);
    return user;
  }

  #userSecret(values: Values): UserSecret | undefined {
    const fields = fieldsOf(USER_KEYS, values);
    const { password, passwordFile, passwordSha256, passwordHash, nopass } = fields;
    const given = LOGINS.filter((each) => values.has(each) && (each !== "nopass" || nopass));
    if (given.length > 1) {
      this.#problem(values.get(given[1]!)!.place, given[1]!, `${given[1]} beside ${given[0]}`, "one of both");
      return undefined;
    }
    if (given.length === 0) return { kind: "certificate" };
    if (nopass) return { kind: "nopass" };
    if (passwordHash !== null) {
      if (isPasswordHash(passwordHash)) return { kind: "scrypt", text: passwordHash };
      this.#problem(values.get("password_hash")!.place, "password_hash", "a value", PASSWORD_HASH_EXPECTED);
      return undefined;
    }
    if (passwordSha256 !== null) {
      if (/^[0-9a-f]{64}$/.test(passwordSha256)) return { kind: "sha256", hex: passwordSha256 };
      const expected = "64 characters, lowercase hexadecimal digits alone";
      this.#problem(values.get("password_sha256")!.place, "password_sha256", "a value", expected);
      return undefined;
    }
    // Nobody logs in to what is only looked at.
    if (password === null && !this.#opensFiles) return { kind: "none" };
    const text = password ?? this.#passwordIn(passwordFile!, values.get("password_file")!.place);
    if (text === null) return undefined;
    const size = new TextEncoder().encode(text).length;
    if (size > PASSWORD_BYTES_MAX) {
      const name = given[0]!;
      const expected = `at most ${PASSWORD_BYTES_MAX}: clients cannot log in with more`;
      this.#problem(values.get(name)!.place, name, `a password of ${size} bytes`, expected);
      return undefined;
    }
    return { kind: "sha256", hex: crypto().createHash("sha256").update(text).digest("hex") };
  }

  /** The first line of a file; null if it has none, or cannot be read, which has been noted then. */
  #passwordIn(file: string, place: Place): string | null {
    if (!this.#opensFiles) return "";
    try {
      const text = firstLine(readConfigFile(file));
      if (text !== null && text !== "") return text;
      const found = `${quoted(file)}, whose first line is ${text === null ? "not UTF-8" : "empty"}`;
      this.#problem(place, "password_file", found, "a line that is the password");
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const found = `${quoted(file)}, ${error.problems[0]!.found}`;
      this.#problem(place, "password_file", found, "a file that can be read");
    }
    return null;
  }

  /** Rules, as they were written; undefined if one is none, of which Redis's own words are said. */
  #rules(key: Key, value: Value): readonly string[] | undefined {
    const items = value.kind === "list" ? this.#document.items(value) : [value];
    const texts: string[] = [];
    for (const item of items) {
      if (item.kind === "text") texts.push(item.text);
      else this.#problem(item.place, key.name, described(item), expectation(key));
    }
    if (texts.length < items.length) return undefined;
    try {
      parseRules(texts, false);
      return texts;
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      const { rule, why } = error;
      const at = items[texts.findIndex((text) => text.includes(rule))] ?? value;
      this.#problem(at.place, key.name, quoted(rule), `a rule of Redis's ACL, which says: ${why}`);
      return undefined;
    }
  }

  #sni(key: Key, value: Value): TlsPair[] | undefined {
    if (value.kind !== "list" || value.items.length === 0) {
      const found = value.kind === "list" ? "an empty list" : described(value);
      this.#problem(value.place, key.name, found, expectation(key));
      return undefined;
    }
    const pairs: TlsPair[] = [];
    for (const item of this.#document.items(value)) {
      const values = this.#mapping(key, item, "sni", SNI_KEYS);
      if (values === undefined) return undefined;
      const { certificate, key: privateKey } = fieldsOf(SNI_KEYS, values);
      if (certificate === null || privateKey === null) return undefined;
      pairs.push({ certificate, key: privateKey });
    }
    return pairs;
  }

  /** The values of a mapping, if nothing is wrong with them, or missing. */
  #mapping(key: Key, value: Value, scope: Scope, keys: readonly Key[]): Values | undefined {
    if (value.kind !== "mapping") {
      this.#problem(value.place, key.name, described(value), expectation(key));
      return undefined;
    }
    const entries = this.#document.entries(value);
    const values = this.#values(entries, scope, keys, value.place);
    return values.size < entries.length ? undefined : values;
  }

  #wrongVersions(
    values: Values,
    { minVersion, maxVersion }: Pick<TlsConfig, "minVersion" | "maxVersion">,
  ): boolean {
    if (minVersion <= maxVersion) return false;
    const place = (values.get("min_version") ?? values.get("max_version"))!.place;
    this.#problem(
      place,
      "min_version",
      `${minVersion} with max_version: ${maxVersion}`,
      "one that is not above max_version",
    );
    return true;
  }

  #wrongClients(
    value: Value,
    values: Values,
    { ca, clientCertificates }: Pick<TlsConfig, "ca" | "clientCertificates">,
  ): boolean {
    if ((ca === null) === (clientCertificates === "none")) return false;
    if (ca === null) {
      const expected =
        `the authorities that sign clients' certificates, as client_certificates: ${clientCertificates} needs`;
      this.#absent(value.place, "ca", "nothing", expected);
    } else {
      const expected = "client_certificates: optional or required, or no ca";
      this.#problem(values.get("ca")!.place, "ca", "ca without client_certificates", expected);
    }
    return true;
  }

  #wrongUserFrom(
    values: Values,
    { userFrom, clientCertificates }: Pick<TlsConfig, "userFrom" | "clientCertificates">,
  ): boolean {
    if (userFrom === "off" || clientCertificates !== "none") return false;
    const found = `user_from: ${userFrom} without client_certificates`;
    this.#problem(
      values.get("user_from")!.place,
      "user_from",
      found,
      "client_certificates: optional or required",
    );
    return true;
  }

  /** A runtime takes anything for a certificate, and fails every handshake then. */
  #wrongFiles(key: Key, value: Value, values: Values, config: TlsConfig | ServerTlsConfig): boolean {
    if (this.#nowMs === null) return false;
    try {
      readTlsFiles(config, this.#nowMs);
      return false;
    } catch (error) {
      if (!(error instanceof TlsFileError)) throw error;
      const place = values.get(error.key)?.place ?? value.place;
      this.#problem(place, `${key.name}: ${error.key}`, error.found, error.expected);
      return true;
    }
  }

  /** Relative paths start at the configuration file. */
  #path(path: string): string {
    return resolve(dirname(this.#file), path);
  }

  #unknown(entry: Entry, scope: Scope, keys: readonly Key[]): void {
    if (UNAVAILABLE_KEYS.some((each) => each.scope === scope && each.name === entry.key)) {
      const found = "a key that is known but not available in this version";
      this.#problem(entry.place, entry.key, found, "the file without it");
      return;
    }
    const near = this.#problems.length < GUESSES_MAX ? nearest(entry.key, keys) : null;
    const where = scope === "pool"
      ? "of a pool"
      : scope === "server"
      ? "of a server"
      : scope === "replica"
      ? "of a replica"
      : scope === "from"
      ? "of servers_from"
      : scope === "tls" || scope === "server_tls" || scope === "sni" || scope === "admin_tls" ||
          scope === "server_auth"
      ? `of ${scope}`
      : scope === "limits"
      ? "of limits"
      : scope === "user"
      ? "of a user"
      : scope === "log"
      ? "of log"
      : "of the process";
    const expected = near !== null ? `perhaps ${near}` : elsewhere(entry.key, scope) ?? listed(keys);
    this.#problem(entry.place, quoted(entry.key).slice(1, -1), `a key that is none ${where}`, expected);
  }

  /** Notes a key that stood already in this mapping. */
  #isSecond(firsts: Map<string, Place>, entry: Entry, expected: string): boolean {
    const first = firsts.get(entry.key);
    if (first === undefined) {
      firsts.set(entry.key, entry.place);
      return false;
    }
    const found = `a second time (first at line ${first.line}, column ${first.column})`;
    this.#problem(entry.place, quoted(entry.key).slice(1, -1), found, expected);
    return true;
  }

  /** Two pools cannot listen on one address; twemproxy compares texts and fails, or not, when binding. */
  #checkListens(pools: readonly ReadPool[]): void {
    for (const { first, second } of findClashes(pools, (pool) => pool.config.listen)) {
      const { name, listenText, listenLine } = first.config;
      const other = listenText === second.config.listenText ? "" : `${quoted(listenText)}, `;
      const found = `${quoted(second.config.listenText)} for pool ${quoted(second.config.name)}, ` +
        `where pool ${quoted(name)} listens already (${other}line ${listenLine})`;
      this.#problem(second.listenPlace, "listen", found, "an address of its own for each pool");
    }
  }

  #problem(place: Place, key: string, found: string, expected: string): Problem {
    const added = problem(this.#file, place.line, place.column, key, found, expected);
    this.#problems.push(added);
    if (found === "nothing") this.#absences.add(added);
    return added;
  }

  #absent(place: Place, key: string, found: string, expected: string): void {
    this.#absences.add(this.#problem(place, key, found, expected));
  }

  /**
   * Throws if there is a problem. Where the YAML is broken only what stands before the break is believed, and
   * nothing is called missing.
   */
  #report(): void {
    const faults = this.#document.faults;
    const broken = faults.filter((fault) => fault.broken).sort(comparePlaces)[0];
    const believed = this.#problems.filter((each) => {
      if (broken !== undefined) return !this.#absences.has(each) && comparePlaces(each, broken) < 0;
      // An alias of nothing has been told of already.
      return each.found !== "nothing" || !faults.some((fault) => comparePlaces(each, fault) === 0);
    });
    const all = [
      ...believed,
      ...faults.map((fault) =>
        problem(this.#file, fault.line, fault.column, fault.key, fault.found, fault.expected)
      ),
    ];
    // An alias shows its mapping's mistakes once for each use.
    const seen = new Set<string>();
    const problems = all.sort(comparePlaces).filter((each) => !seen.has(each.text) && seen.add(each.text));
    if (problems.length > PROBLEMS_MAX) {
      const rest = `${problems.length - PROBLEMS_MAX} problems more`;
      problems.splice(PROBLEMS_MAX, problems.length, problem(this.#file, 0, 0, "", rest, "none"));
    }
    if (problems.length > 0) throw new ConfigError(problems);
  }
}

/** Values by field name: what the file says, else the default, else null. Here they become what the table says they are. */
function fieldsOf<K extends readonly Key[]>(keys: K, values: Values): Fields<K> {
  const fields: Record<string, unknown> = {};
  for (const key of keys) {
    const given = values.get(key.name);
    if (given !== undefined) fields[key.field] = given.value;
    else fields[key.field] = key.default === null ? null : defaultOf(key);
  }
  return fields as Fields<K>;
}

function defaultOf(key: Key): unknown {
  if (key.type === "log") return fieldsOf(LOG_KEYS, new Map());
  const read = readValue(key, key.default!);
  if ("value" in read) return read.value;
  throw new Error(`The default of ${key.name} is not valid: ${key.default}`);
}

/** What a pool of a cluster has: the nodes are asked who owns what, and until one has answered each may be asked for anything. */
function clusterFields(seeds: readonly ServerConfig[], intervalMs: number): Partial<PoolConfig> {
  return {
    hashTag: encode("{}"),
    serversFrom: {
      seeds: seeds.map(({ address, addressText, zone }) => ({ address: address!, text: addressText, zone })),
      intervalMs,
    },
  };
}

/** Has the key of a pool its default, which the file says? */
function isDefault(name: string, value: unknown): boolean {
  const key = POOL_KEYS.find((each) => each.name === name)!;
  return key.default !== null && JSON.stringify(value) === JSON.stringify(defaultOf(key));
}

/** How a user may log in: one of them. */
const LOGINS = ["password", "password_file", "password_sha256", "password_hash", "nopass"];
/** How long a visitor may take for the handshake; admin/server.ts looks at it. */
const ADMIN_HANDSHAKE_MS = 10_000;

/** What a token may be: nothing that a header could not carry. */
const TOKEN = /^[!-~]{16,1024}$/;

/** Why it is none; nothing of it is shown. */
function wrongWithToken(text: string): string {
  if (text === "") return "which is empty";
  if (/[\r\n]/.test(text)) return "which has more than one line";
  if (!/^[!-~]*$/.test(text)) return "which has a space, or a sign that is none of ASCII";
  return `which has ${text.length} characters`;
}

function processOf(fields: Fields<typeof PROCESS_KEYS>, adminToken: string | null): ProcessConfig {
  const { admin } = fields;
  return { ...fields, admin: admin.address, adminText: admin.text, adminToken };
}

/** The text of a scalar; `{}` and `[]` where a hash tag is expected are the two brackets; null for anything else. */
function textOf(key: Key, value: Value): string | null {
  if (value.kind === "text") return value.text;
  if (key.type !== "hash_tag") return null;
  if (value.kind === "mapping" && value.empty) return "{}";
  return value.kind === "list" && value.empty ? "[]" : null;
}

function described(value: Value): string {
  switch (value.kind) {
    case "text":
      return quoted(value.text);
    case "list":
      return "a list";
    case "mapping":
      return "a mapping";
    case "nothing":
      return "nothing";
  }
}

function comparePlaces(a: Place, b: Place): number {
  return a.line - b.line || a.column - b.column;
}

/** Nobody reads further; of the rest only their number is told. */
const PROBLEMS_MAX = 1000;

/** Problems after which keys that were probably meant are no longer looked for: it takes time. */
const GUESSES_MAX = 100;
/** More keys than these are not listed in a message. */
const LISTED_MAX = 16;

/** A key of the process in a pool, or the other way round. */
function elsewhere(name: string, scope: Scope): string | null {
  if (scope === "pool" && PROCESS_KEYS.some((key) => key.name === name)) {
    return `it under ${PROCESS_NAME}: beside the pools`;
  }
  return scope === "process" && POOL_KEYS.some((key) => key.name === name) ? "it in a pool" : null;
}

/** All of them, where that can be read. */
function listed(keys: readonly Key[]): string {
  return keys.length > LISTED_MAX
    ? `one of the ${keys.length} that docs/configuration.md, or "ringmaster schema", names`
    : `one of ${keys.map((key) => key.name).join(", ")}`;
}

/** The key that was probably meant; null if none is near. */
function nearest(name: string, keys: readonly Key[]): string | null {
  if (name.length > 40) return null;
  const plain = name.toLowerCase().replace(/[-_ ]/g, "");
  let best: string | null = null;
  let bestDistance = 3;
  for (const key of keys) {
    const distance = editDistance(plain, key.name.replace(/_/g, ""));
    if (distance < bestDistance) {
      best = key.name;
      bestDistance = distance;
    }
  }
  return best;
}

/** How many letters must be added, dropped or changed to make one word of the other. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** A value that is wrong, as messages show it; not if it looks like a URL with a password, which nobody is to read in a log. */
function said(text: string): string {
  return /:[^]*@/.test(text) ? "a value" : quoted(text);
}
