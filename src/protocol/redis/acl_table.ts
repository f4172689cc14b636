/**
 * What ACL rules have to know of commands beside their categories: which access each key needs, and which arguments are channels.
 *
 * The access is that of Redis's key specifications: ACCESS is reading; INSERT, UPDATE and DELETE are writing; a key of which only the
 * type or the size is looked at (EXISTS, STRLEN) needs none, but a pattern that names it. Read from COMMAND of redis-server 7.0.15, of
 * Redis 8.6 and Valkey 9.1 for what is newer; tests/real/users_test.ts compares with ACL DRYRUN of a real server.
 */
import { encode, equalsFolded, equalsFoldedAsC } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { type Command, FINDER, FLAG, ROUTE, TOPIC } from "./command.ts";
import { COMMANDS, findByName } from "./commands.ts";

/** Bits. */
export const ACCESS = { NONE: 0, READ: 1, WRITE: 2, BOTH: 3 } as const;

/** Of the first key, of all others, and the commands that need it so. Who is in no row needs both of each key. */
const ROWS: readonly (readonly [first: number, rest: number, names: string])[] = [
  [
    ACCESS.NONE,
    ACCESS.NONE,
    "EXISTS OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT TOUCH TYPE STRLEN LLEN HEXISTS HLEN HSTRLEN " +
    "SCARD SISMEMBER ZCARD XLEN WATCH MEMORY|USAGE",
  ],
  [
    ACCESS.READ,
    ACCESS.READ,
    "DUMP EXPIRETIME PEXPIRETIME PTTL TTL GET GETRANGE LCS MGET SUBSTR BITCOUNT BITFIELD_RO BITPOS GETBIT LINDEX LPOS " +
    "LRANGE HGET HGETALL HKEYS HMGET HRANDFIELD HSCAN HVALS SDIFF SINTER SINTERCARD SMEMBERS SMISMEMBER SRANDMEMBER " +
    "SSCAN SUNION ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK " +
    "ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM " +
    "XPENDING XRANGE XREAD XREADGROUP XREVRANGE GEODIST GEOHASH GEOPOS GEORADIUS_RO GEORADIUSBYMEMBER_RO GEOSEARCH " +
    "PFCOUNT PFDEBUG SORT_RO EVAL_RO EVALSHA_RO FCALL_RO DIGEST HEXPIRETIME HPEXPIRETIME HPTTL HTTL",
  ],
  [
    ACCESS.WRITE,
    ACCESS.WRITE,
    "DEL EXPIRE EXPIREAT PERSIST PEXPIRE PEXPIREAT RESTORE UNLINK APPEND MSET MSETNX PSETEX SETEX SETNX SETRANGE " +
    "LINSERT LPUSH LPUSHX LREM LSET LTRIM RPUSH RPUSHX HDEL HMSET HSET HSETNX SADD SREM ZADD ZREM ZREMRANGEBYLEX " +
    "ZREMRANGEBYRANK ZREMRANGEBYSCORE XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP|CREATE XGROUP|CREATECONSUMER " +
    "XGROUP|DELCONSUMER XGROUP|DESTROY XGROUP|SETID XSETID XTRIM GEOADD PFADD RESTORE-ASKING DELEX DELIFEQ MSETEX HEXPIRE " +
    "HEXPIREAT HPERSIST HPEXPIRE HPEXPIREAT HSETEX XACKDEL XCFGSET XDELEX XIDMPRECORD",
  ],
  // Destination and sources, or the other way round.
  [
    ACCESS.WRITE,
    ACCESS.READ,
    "BITOP SDIFFSTORE SINTERSTORE SUNIONSTORE ZDIFFSTORE ZINTERSTORE ZRANGESTORE ZUNIONSTORE GEOSEARCHSTORE",
  ],
  [ACCESS.READ, ACCESS.WRITE, "COPY SORT GEORADIUS GEORADIUSBYMEMBER"],
  [ACCESS.BOTH, ACCESS.WRITE, "RENAME RENAMENX BLMOVE BRPOPLPUSH LMOVE RPOPLPUSH SMOVE"],
  [ACCESS.BOTH, ACCESS.READ, "PFMERGE"],
];

/** By id of the command: the access of the first key, and of all others from bit 2 on. */
const ACCESSES = accessesOf(ROWS);

function accessesOf(rows: typeof ROWS): Uint8Array {
  const accesses = new Uint8Array(COMMANDS.length).fill(ACCESS.BOTH | ACCESS.BOTH << 2);
  for (const [first, rest, names] of rows) {
    for (const name of names.split(" ")) {
      const command = findByName(name);
      if (command === undefined) throw new Error(`acl_table.ts: no row in command_rows.ts for ${name}`);
      accesses[command.id] = first | rest << 2;
    }
  }
  return accesses;
}

/** Commands of which the options decide. */
const SET = findByName("SET")!;
const BITFIELD = findByName("BITFIELD")!;

const WORD_GET = encode("GET");
const WORD_SET = encode("SET");
const WORD_INCRBY = encode("INCRBY");
const WORD_OVERFLOW = encode("OVERFLOW");

/** The access that key `k` (0 is the first) of a request needs. `args` has at least the arguments that are here. */
export function accessOf(command: Command, k: number, bytes: Uint8Array, args: Args): number {
  const { id } = command;
  // Of what a server has told nobody knows.
  if (id < 0) return ACCESS.BOTH;
  if (k > 0) return ACCESSES[id]! >> 2;
  if (command === SET) return setReads(bytes, args) ? ACCESS.BOTH : ACCESS.WRITE;
  if (command === BITFIELD) return fieldsWrite(bytes, args) ? ACCESS.BOTH : ACCESS.READ;
  return ACCESSES[id]! & ACCESS.BOTH;
}

/** The access that the first key of a request of the command, which is in the table, needs at most, whatever its options are. */
export function mostAccess(command: Command): number {
  const decides = command === SET || command === BITFIELD;
  return decides ? ACCESS.BOTH : ACCESSES[command.id]! & ACCESS.BOTH;
}

/** SET … GET. As Redis looks for it: anywhere behind the value. */
function setReads(bytes: Uint8Array, args: Args): boolean {
  for (let i = 3; i < args.count; i++) {
    if (equalsFoldedAsC(bytes, args.starts[i]!, args.ends[i]!, WORD_GET)) return true;
  }
  return false;
}

/** Anything but GET and OVERFLOW, even if it is wrong. */
function fieldsWrite(bytes: Uint8Array, args: Args): boolean {
  const is = (i: number, word: Uint8Array) => equalsFolded(bytes, args.starts[i]!, args.ends[i]!, word);
  for (let i = 2; i < args.count; i++) {
    const more = args.count - i - 1;
    if (is(i, WORD_GET) && more >= 2) i += 2;
    else if ((is(i, WORD_SET) || is(i, WORD_INCRBY)) && more >= 3) return true;
    else if (is(i, WORD_OVERFLOW) && more >= 1) i++;
    else return true;
  }
  return false;
}

/** Which of a command's arguments are channels that rules are asked about. */
export const CHANNELS_OF = {
  NONE: 0,
  /** The first alone. */
  FIRST: 1,
  /** All. */
  ALL: 2,
  /** All, and they are patterns: a rule has to be the same pattern. */
  PATTERNS: 3,
} as const;

export function channelsOf(command: Command): number {
  if (command.route !== ROUTE.PUBSUB) return CHANNELS_OF.NONE;
  if (command.name === "PUBLISH" || command.name === "SPUBLISH") return CHANNELS_OF.FIRST;
  if ((command.topic & TOPIC.SUBSCRIBES) === 0) return CHANNELS_OF.NONE;
  return (command.topic & TOPIC.KIND) === TOPIC.PATTERN ? CHANNELS_OF.PATTERNS : CHANNELS_OF.ALL;
}

/** May a request of the command have keys that rules are asked about? */
export function hasKeys(command: Command): boolean {
  return command.finder !== FINDER.NONE && (command.flags & FLAG.CHANNELS) === 0 &&
    aclCommand(command) === command;
}

/**
 * The command that rules know it by. DEBUG is no container to Redis: `debug|object` is DEBUG with that first argument, and has no key
 * there either.
 */
export function aclCommand(command: Command): Command {
  const { container } = command;
  return container !== null && (container.flags & FLAG.OPEN) !== 0 ? container : command;
}
