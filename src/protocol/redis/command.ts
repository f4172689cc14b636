/**
 * One Redis command as Ringmaster sees it: the numbers the data path branches on, and nothing it has to look up.
 *
 *   bytes of a request ──findCommand──▶ Command ──┬─ arity    how many arguments are right
 *                                                 ├─ finder   where the keys are        (keys.ts)
 *                                                 ├─ route    which servers it goes to
 *                                                 └─ join     how many replies become one
 *
 * Arity, flags and key positions are Redis's own words (what COMMAND replies); route, detail (join, topic, read_at) and hint are ours.
 * The rows are in command_rows.ts, the look-up in commands.ts.
 */

import {
  CLASS_BLOCKING,
  CLASS_MULTI_KEY,
  CLASS_OTHER,
  CLASS_PUBSUB,
  CLASS_READ,
  CLASS_SCRIPT,
  CLASS_TRANSACTION,
  CLASS_WRITE,
} from "../../stats/latency.ts";

/** Where a request goes. Every route is one branch of the proxy; a new command picks one, it does not add one. */
export const ROUTE = {
  /** All keys must be on one server; goes there whole. */
  KEYED: 0,
  /** MGET: a fragment per server, values put back in the order asked. */
  SPLIT_VALUES: 1,
  /** MSET: a fragment per server of key value pairs; +OK when all are done. */
  SPLIT_PAIRS: 2,
  /** DEL, UNLINK, TOUCH, EXISTS: a fragment per server; the integers are added. */
  SPLIT_SUM: 3,
  /** EVAL, FCALL and kin: like KEYED, and with no key at all to the fixed server. */
  SCRIPT_KEYED: 4,
  /** No key, and any server's answer is as good as another's: always the same, fixed server. */
  FIXED: 5,
  /** Answered here (answers.ts); no server sees it. */
  LOCAL: 6,
  /** To every server of the pool; `join` says how the replies become one. */
  EVERY_SERVER: 7,
  /** SCAN: one server after the other, the server's number inside the cursor. */
  SCAN: 8,
  /** RANDOMKEY: one server, drawn. */
  RANDOM_SERVER: 9,
  /** Keyed and may wait: needs a leased connection when `blocks` (keys.ts) says so. WAIT and WAITAOF have no key. */
  BLOCKING: 10,
  /** MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
  TRANSACTION: 11,
  /** SUBSCRIBE and kin, PUBLISH, SPUBLISH, PUBSUB. */
  PUBSUB: 12,
  /** Never possible behind a proxy; `hint` says why and what to do instead. */
  REFUSED: 13,
  /** CLIENT LIST, KILL, INFO; and REPLY, TRACKING, CACHING: change how the connection itself behaves, so the proxy has to see them. */
  CLIENT_MODE: 14,
} as const;

/** How the replies of EVERY_SERVER become one. The first error reply wins in all but ONE_OK. */
export const JOIN = {
  NONE: 0,
  /** Integers, added. */
  SUM: 1,
  /** Integers, the smallest. */
  MIN: 2,
  /** Arrays, one after the other. */
  CONCAT: 3,
  /** All servers say the same; one of the replies is passed on. */
  SAME: 4,
  /** Arrays of 0 or 1, one of equal length from each server: 1 where all say 1. */
  AND: 5,
  /** One server's success is enough; an error only if all fail. */
  ONE_OK: 6,
} as const;

/** Where a command that only reads keys may be answered. */
export const READ_AT = {
  /** Also by a replica of their server that is well. */
  ANY: 0,
  /**
   * The primary alone. It tells something of the server, not of the data (OBJECT, MEMORY USAGE: its memory, its own clock of use);
   * it keeps the keys in use there (TOUCH); or its cursor means nothing to another server, whose hash tables are in another order,
   * so that a walk that changed servers in the middle would miss elements in silence (HSCAN and kin).
   */
  PRIMARY: 1,
} as const;

/** What a PUBSUB command is about: CHANNEL, PATTERN or SHARD, and SUBSCRIBES or LEAVES if it changes what a client is subscribed to. */
export const TOPIC = {
  CHANNEL: 0,
  PATTERN: 1,
  SHARD: 2,
  /** The bits of those. */
  KIND: 3,
  SUBSCRIBES: 4,
  LEAVES: 8,
} as const;

/** Redis's command flags, and from bit 19 on our own. */
export const FLAG = {
  WRITE: 1 << 0,
  READ: 1 << 1,
  DENYOOM: 1 << 2,
  ADMIN: 1 << 3,
  PUBSUB: 1 << 4,
  NOSCRIPT: 1 << 5,
  BLOCKING: 1 << 6,
  LOADING: 1 << 7,
  STALE: 1 << 8,
  SKIP_MONITOR: 1 << 9,
  SKIP_SLOWLOG: 1 << 10,
  ASKING: 1 << 11,
  FAST: 1 << 12,
  NO_AUTH: 1 << 13,
  MOVABLE_KEYS: 1 << 14,
  NO_ASYNC_LOADING: 1 << 15,
  NO_MULTI: 1 << 16,
  ALLOW_BUSY: 1 << 17,
  NO_MANDATORY_KEYS: 1 << 18,
  /** Has no key, and makes sense inside a transaction all the same. */
  QUEUED: 1 << 19,
  /** Refused unless the pool says `dangerous_commands: allow`. */
  DANGEROUS: 1 << 20,
  /** What `finder` finds are shard channels: routed like keys, but not keys to Redis. */
  CHANNELS: 1 << 21,
  /** A container that also takes subcommands the table does not list (DEBUG). */
  OPEN: 1 << 22,
  /** Not in the table: a server of the pool has told about it (learn.ts). */
  LEARNED: 1 << 23,
  /** May name a database by its number, which is checked and moved by the pool's `redis_db` (database.ts). */
  DATABASE: 1 << 24,
  /** Its BY and GET patterns name keys that only the server can work out (sort_patterns.ts). */
  PATTERNS: 1 << 25,
  /**
   * Clears what a server keeps for all clients, but no data: scripts, logs. Refused as DANGEROUS is; a server that is off the ring
   * is left out.
   */
  CLEARS: 1 << 26,
  /** A RESP2 client may send it while it is subscribed. */
  SUBSCRIBER: 1 << 27,
  /** Has to get through while a server is busy with a script. */
  APART: 1 << 28,
  /** Walked some arguments a turn if there are very many (RedisModes.walkWork). */
  WALKED: 1 << 29,
  /** Not queued between MULTI and EXEC, but taken at once. */
  UNQUEUED: 1 << 30,
  /** Its answer is many kilobytes, or one that all servers are asked for: few of them may wait aside in a transaction. */
  COSTLY: 1 << 31,
} as const;

/** The names COMMAND gives the first bits of FLAG, by bit number. */
export const FLAG_NAMES: readonly string[] = [
  "write",
  "readonly",
  "denyoom",
  "admin",
  "pubsub",
  "noscript",
  "blocking",
  "loading",
  "stale",
  "skip_monitor",
  "skip_slowlog",
  "asking",
  "fast",
  "no_auth",
  "movablekeys",
  "no_async_loading",
  "no_multi",
  "allow_busy",
  "no_mandatory_keys",
];

/** ACL categories by bit number, without their "@"; as ACL CAT of Redis 7 names them. */
export const CATEGORY_NAMES: readonly string[] = [
  "keyspace",
  "read",
  "write",
  "set",
  "sortedset",
  "list",
  "hash",
  "string",
  "bitmap",
  "hyperloglog",
  "geo",
  "stream",
  "pubsub",
  "admin",
  "fast",
  "slow",
  "blocking",
  "dangerous",
  "connection",
  "transaction",
  "scripting",
];

export const CATEGORY = {
  KEYSPACE: 1 << 0,
  READ: 1 << 1,
  WRITE: 1 << 2,
  SET: 1 << 3,
  SORTEDSET: 1 << 4,
  LIST: 1 << 5,
  HASH: 1 << 6,
  STRING: 1 << 7,
  BITMAP: 1 << 8,
  HYPERLOGLOG: 1 << 9,
  GEO: 1 << 10,
  STREAM: 1 << 11,
  PUBSUB: 1 << 12,
  ADMIN: 1 << 13,
  FAST: 1 << 14,
  SLOW: 1 << 15,
  BLOCKING: 1 << 16,
  DANGEROUS: 1 << 17,
  CONNECTION: 1 << 18,
  TRANSACTION: 1 << 19,
  SCRIPTING: 1 << 20,
} as const;

/** How keys are found among the arguments; keys.ts has one branch for each. */
export const FINDER = {
  NONE: 0,
  /** Every `keyStep`-th argument from `firstKey` to `lastKey` (negative: from the end). */
  RANGE: 1,
  /** `firstKey` if > 0, then as many as argument `numkeysAt` says, from the one after it on. */
  NUMKEYS: 2,
  /** XREAD, XREADGROUP: the first half of what follows STREAMS. */
  STREAMS: 3,
  /** SORT: the first argument and STORE's; of SORT_RO, which writes nothing, the first. */
  SORT: 4,
  /** GEORADIUS: the first argument and STORE's or STOREDIST's. */
  GEORADIUS: 5,
  /** MIGRATE: the third argument, or KEYS' if that is empty. */
  MIGRATE: 6,
  /** Only a server can tell, and has been asked for this request: Args.told. */
  ASKED: 7,
} as const;

/** Positions of a command's keys. Indexes count the command's name as argument 0. */
export interface KeySpec {
  readonly finder: number;
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  /** FINDER.NUMKEYS: which argument is the number of keys; else 0. */
  readonly numkeysAt: number;
}

/** Those of commands that may only read keys. BLOCKING: what does not wait (XREAD without BLOCK), see `blocks` (keys.ts). */
const READING_ROUTES: ReadonlySet<number> = new Set([
  ROUTE.KEYED,
  ROUTE.SPLIT_VALUES,
  ROUTE.SPLIT_SUM,
  ROUTE.BLOCKING,
]);

const WORDS = new TextEncoder();

export class Command {
  /** Dense, from 0, in table order; -1 for a learned command. */
  readonly id: number;
  /** Upper case; a subcommand's is "CLIENT|SETNAME". */
  readonly name: string;
  /** Lower case, "client|setname": what error texts and COMMAND say. */
  readonly lower: string;
  /** The last word of `name` as upper-case bytes: what the look-up compares. Never changed. */
  readonly word: Uint8Array;
  /** Redis's sign convention: n exactly n arguments, -n at least n, the name and subcommand included. */
  readonly arity: number;
  /** FLAG bits. */
  readonly flags: number;
  /** CATEGORY bits. */
  readonly categories: number;
  /** One of ROUTE. */
  readonly route: number;
  /** One of JOIN; of EVERY_SERVER alone. */
  readonly join: number;
  /** TOPIC; of PUBSUB alone. */
  readonly topic: number;
  /**
   * A replica may answer it: it only reads keys, of one server each, and asks nothing of the server itself. By Redis's own flag, not by
   * what it seems to do: replicas refuse SORT without STORE, GEORADIUS, BITFIELD with GET alone, GETEX and XREADGROUP with -READONLY.
   * Scripts are not of these, though they read: a script or function that has just been loaded is not on the replica yet.
   */
  readonly onReplica: boolean;
  /** It may change data, its own words or those of a script, transaction or module that it runs. */
  readonly mayWrite: boolean;
  /** Among which its times are counted: one of LATENCY_CLASSES. */
  readonly latencyClass: number;
  /** One of FINDER. */
  readonly finder: number;
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  readonly numkeysAt: number;
  /** It goes as it is to the server of its one key, which is where it says. */
  readonly direct: boolean;
  /** Why it is refused and what to do instead, a sentence without "-ERR"; "" if it is not. */
  readonly hint: string;
  /** The container of a subcommand; null for all others. */
  readonly container: Command | null;
  /** A container's subcommands in table order; null for all others. */
  subcommands: Command[] | null = null;

  /** @param detail what its route has to know besides: of EVERY_SERVER one of JOIN, of PUBSUB a TOPIC, of what reads keys one of READ_AT */
  constructor(
    id: number,
    name: string,
    arity: number,
    flags: number,
    categories: number,
    route: number,
    keys: KeySpec,
    detail: number,
    hint: string,
    container: Command | null,
  ) {
    this.id = id;
    this.name = name.toUpperCase();
    this.lower = name.toLowerCase();
    this.word = WORDS.encode(this.name.slice(this.name.indexOf("|") + 1));
    this.arity = arity;
    this.flags = flags;
    this.categories = categories;
    this.route = route;
    this.join = route === ROUTE.EVERY_SERVER ? detail : JOIN.NONE;
    this.topic = route === ROUTE.PUBSUB ? detail : TOPIC.CHANNEL;
    this.onReplica = READING_ROUTES.has(route) && detail === READ_AT.ANY &&
      (flags & (FLAG.READ | FLAG.WRITE)) === FLAG.READ;
    const runs = route === ROUTE.SCRIPT_KEYED || (flags & FLAG.LEARNED) !== 0 || this.name === "EXEC";
    this.mayWrite = (flags & FLAG.WRITE) !== 0 || runs && (flags & FLAG.READ) === 0;
    this.latencyClass = latencyClassOf(this.name, route, this.mayWrite);
    this.finder = keys.finder;
    this.firstKey = keys.firstKey;
    this.lastKey = keys.lastKey;
    this.keyStep = keys.keyStep;
    this.numkeysAt = keys.numkeysAt;
    this.direct = route === ROUTE.KEYED && keys.finder === FINDER.RANGE && keys.firstKey === keys.lastKey;
    this.hint = hint;
    this.container = container;
  }
}

/** By its route; what goes whole to one server is told apart by what it does there. */
function latencyClassOf(name: string, route: number, mayWrite: boolean): number {
  if (name.startsWith("SCRIPT|") || name.startsWith("FUNCTION|")) return CLASS_SCRIPT;
  return CLASS_OF_ROUTE.get(route) ??
    (route !== ROUTE.KEYED ? CLASS_OTHER : mayWrite ? CLASS_WRITE : CLASS_READ);
}

const CLASS_OF_ROUTE: ReadonlyMap<number, number> = new Map<number, number>([
  [ROUTE.SPLIT_VALUES, CLASS_MULTI_KEY],
  [ROUTE.SPLIT_PAIRS, CLASS_MULTI_KEY],
  [ROUTE.SPLIT_SUM, CLASS_MULTI_KEY],
  [ROUTE.SCRIPT_KEYED, CLASS_SCRIPT],
  [ROUTE.TRANSACTION, CLASS_TRANSACTION],
  [ROUTE.PUBSUB, CLASS_PUBSUB],
  // Those that do not wait are told apart where they go (RedisFront.route).
  [ROUTE.BLOCKING, CLASS_BLOCKING],
]);

/** Is `count` (arguments, the name included) right for the command? */
export function checkArity(command: Command, count: number): boolean {
  const arity = command.arity;
  return arity > 0 ? count === arity : count >= -arity;
}

/** May the command be used only after AUTH, where the pool has a password? */
export function needsAuth(command: Command): boolean {
  return (command.flags & FLAG.NO_AUTH) === 0;
}
