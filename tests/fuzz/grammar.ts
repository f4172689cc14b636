/**
 * Random Redis commands from a grammar of one line a form.
 *
 *   "SET @k @v [NX|XX] [GET] [EX @t|PX @t|KEEPTTL]"   @x = a random argument of that kind, [A|B] = one of them or none,
 *   "HSET @k (@m @v)*"                                 (…)* = repeated 1 to 4 times, <A|B> = one of them
 *
 * Most commands are right; some lose, double or swap an argument, or get a word that is none, so that all of Redis'
 * error texts come up too. Keys are few and shared by all types: WRONGTYPE is as likely as a hit.
 */
import { latin1 } from "../lib/bytes.ts";
import type { Random } from "../lib/random.ts";

/** Forms by family. Those whose replies are random, or tell of the server itself, are left out: see EXCLUDED. */
export const FORMS: Readonly<Record<string, readonly string[]>> = {
  generic: [
    "DEL @k*",
    "UNLINK @k*",
    "EXISTS @k*",
    "TOUCH @k*",
    "TYPE @k",
    "DUMP @k",
    "RENAME @k @k",
    "RENAMENX @k @k",
    "COPY @k @k [REPLACE]",
    "EXPIRE @k @t [NX|XX|GT|LT]",
    "EXPIREAT @k 4000000000 [NX|XX|GT|LT]",
    "PEXPIRE @k @t000",
    "PEXPIREAT @k 4000000000000",
    "PERSIST @k",
    "TTL @k",
    "PTTL @k",
    "EXPIRETIME @k",
    "PEXPIRETIME @k",
    "OBJECT ENCODING @k",
    "OBJECT REFCOUNT @k",
    "OBJECT FREQ @k",
    "SORT @k [BY @k|BY nosort] [LIMIT @i @i] [GET #] [ASC|DESC] ALPHA",
    "SORT @k ALPHA STORE @k",
    "SORT_RO @k ALPHA",
    "KEYS @p",
    "DBSIZE",
    "RESTORE @k 0 @v [REPLACE]",
    "MOVE @k @i",
    "SCAN 0 COUNT 1000 [MATCH @p]",
    "SCAN 0 COUNT 1000 TYPE <string|list|set|zset|hash|stream|none>",
    "SCAN @v",
    "MEMORY USAGE @k [SAMPLES 0]",
    "WAIT 0 10",
    "OBJECT",
    "OBJECT ENCODING",
  ],
  string: [
    "SET @k @v [NX|XX] [GET] [EX @t|PX @t000|EXAT 4000000000|KEEPTTL]",
    "SET @k @v",
    "SET @k @n",
    "GET @k",
    "GETSET @k @v",
    "GETDEL @k",
    "GETEX @k [EX @t|PERSIST|EXAT 4000000000]",
    "SETNX @k @v",
    "SETEX @k @t @v",
    "PSETEX @k @t000 @v",
    "APPEND @k @v",
    "STRLEN @k",
    "INCR @k",
    "DECR @k",
    "INCRBY @k @n",
    "DECRBY @k @n",
    "INCRBYFLOAT @k @f",
    "GETRANGE @k @i @i",
    "SUBSTR @k @i @i",
    "SETRANGE @k @u @v",
    "MGET @k*",
    "MSET (@k @v)*",
    "MSETNX (@k @v)*",
    "LCS @k @k [LEN] [IDX] [MINMATCHLEN @u] [WITHMATCHLEN]",
  ],
  bitmap: [
    "SETBIT @k @u <0|1>",
    "GETBIT @k @u",
    "BITCOUNT @k [@i @i] [BYTE|BIT]",
    "BITCOUNT @k",
    "BITPOS @k <0|1> [@i]",
    "BITPOS @k <0|1> @i @i [BYTE|BIT]",
    "BITOP <AND|OR|XOR> @k @k*",
    "BITOP NOT @k @k",
    "BITFIELD @k (GET <u8|i16|u63|i5> @u)* [OVERFLOW <WRAP|SAT|FAIL>] INCRBY <u2|i8> @u @i",
    "BITFIELD @k SET <u8|i16> <#1|@u> @i",
    "BITFIELD_RO @k GET u8 @u",
  ],
  list: [
    "LPUSH @k @v*",
    "RPUSH @k @v*",
    "LPUSHX @k @v*",
    "RPUSHX @k @v",
    "LPOP @k [@i]",
    "RPOP @k [@i]",
    "LLEN @k",
    "LRANGE @k @i @i",
    "LINDEX @k @i",
    "LSET @k @i @v",
    "LINSERT @k <BEFORE|AFTER> @v @v",
    "LREM @k @i @v",
    "LTRIM @k @i @i",
    "LPOS @k @v [RANK @i] [COUNT @u] [MAXLEN @u]",
    "LMOVE @k @k <LEFT|RIGHT> <LEFT|RIGHT>",
    "RPOPLPUSH @k @k",
    "LMPOP 1 @k <LEFT|RIGHT> [COUNT @u]",
    "LMPOP @u @k* LEFT",
  ],
  set: [
    "SADD @k @m*",
    "SREM @k @m*",
    "SCARD @k",
    "SISMEMBER @k @m",
    "SMISMEMBER @k @m*",
    "SMEMBERS @k",
    "SMOVE @k @k @m",
    "SINTER @k*",
    "SUNION @k*",
    "SDIFF @k*",
    "SINTERSTORE @k @k*",
    "SUNIONSTORE @k @k*",
    "SDIFFSTORE @k @k*",
    "SINTERCARD <1|2> @k @k [LIMIT @u]",
    "SSCAN @k 0 COUNT 1000 [MATCH @p]",
    "SPOP @k 100000",
    "SRANDMEMBER @k 100000",
  ],
  hash: [
    "HSET @k (@m @v)*",
    "HMSET @k (@m @v)*",
    "HSETNX @k @m @v",
    "HGET @k @m",
    "HMGET @k @m*",
    "HGETALL @k",
    "HDEL @k @m*",
    "HEXISTS @k @m",
    "HLEN @k",
    "HKEYS @k",
    "HVALS @k",
    "HSTRLEN @k @m",
    "HINCRBY @k @m @n",
    "HINCRBYFLOAT @k @m @f",
    "HSCAN @k 0 COUNT 1000 [MATCH @p]",
    "HRANDFIELD @k 100000 [WITHVALUES]",
  ],
  zset: [
    "ZADD @k [NX|XX] [GT|LT] [CH] (@f @m)*",
    "ZADD @k (@f @m)*",
    "ZADD @k [XX] INCR @f @m",
    "ZREM @k @m*",
    "ZCARD @k",
    "ZCOUNT @k @z @z",
    "ZSCORE @k @m",
    "ZMSCORE @k @m*",
    "ZINCRBY @k @f @m",
    "ZRANK @k @m",
    "ZREVRANK @k @m",
    "ZRANGE @k @i @i [REV] [WITHSCORES]",
    "ZRANGE @k @z @z BYSCORE [REV] [LIMIT @u @i] [WITHSCORES]",
    "ZRANGE @k @x @x BYLEX [REV] [LIMIT @u @i]",
    "ZRANGEBYSCORE @k @z @z [WITHSCORES] [LIMIT @u @i]",
    "ZREVRANGEBYSCORE @k @z @z [WITHSCORES]",
    "ZRANGEBYLEX @k @x @x [LIMIT @u @i]",
    "ZREVRANGEBYLEX @k @x @x",
    "ZREVRANGE @k @i @i [WITHSCORES]",
    "ZLEXCOUNT @k @x @x",
    "ZREMRANGEBYRANK @k @i @i",
    "ZREMRANGEBYSCORE @k @z @z",
    "ZREMRANGEBYLEX @k @x @x",
    "ZPOPMIN @k [@u]",
    "ZPOPMAX @k [@u]",
    "ZMPOP 1 @k <MIN|MAX> [COUNT @u]",
    "ZUNION 2 @k @k [WEIGHTS @f @f] [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]",
    "ZINTER 2 @k @k [WITHSCORES]",
    "ZDIFF 2 @k @k [WITHSCORES]",
    "ZUNIONSTORE @k 2 @k @k [WEIGHTS @f @f]",
    "ZINTERSTORE @k 2 @k @k [AGGREGATE <SUM|MIN|MAX>]",
    "ZDIFFSTORE @k 2 @k @k",
    "ZINTERCARD 2 @k @k [LIMIT @u]",
    "ZRANGESTORE @k @k @i @i",
    "ZSCAN @k 0 COUNT 1000",
    "ZRANDMEMBER @k 100000 [WITHSCORES]",
  ],
  geo: [
    "GEOADD @k [NX|XX] [CH] (@g @g @m)*",
    "GEOPOS @k @m*",
    "GEODIST @k @m @m [m|km|ft|mi|xx]",
    "GEOHASH @k @m*",
    "GEOSEARCH @k FROMLONLAT @g @g BYRADIUS @u000 <km|m> ASC [COUNT @u] [WITHCOORD] [WITHDIST] [WITHHASH]",
    "GEOSEARCH @k FROMMEMBER @m BYBOX @u000 @u000 km DESC",
    "GEOSEARCHSTORE @k @k FROMLONLAT @g @g BYRADIUS 9000 km [STOREDIST]",
    "GEORADIUS @k @g @g @u000 km ASC [STORE @k]",
    "GEORADIUSBYMEMBER @k @m 5000 km DESC [STOREDIST @k]",
    "GEORADIUS_RO @k @g @g 9000 km ASC",
  ],
  hyperloglog: ["PFADD @k @m*", "PFADD @k", "PFCOUNT @k*", "PFMERGE @k @k*"],
  stream: [
    "XADD @k [NOMKSTREAM] [MAXLEN <=|~> @u] @I (@m @v)*",
    "XADD @k @I (@m @v)*",
    "XLEN @k",
    "XRANGE @k <-|@I> <+|@I> [COUNT @u]",
    "XREVRANGE @k <+|@I> <-|@I> [COUNT @u]",
    "XREAD [COUNT @u] STREAMS @k @I",
    "XREAD STREAMS @k @k @I @I",
    "XREAD BLOCK 1 STREAMS @k @I",
    "XDEL @k @I*",
    "XTRIM @k <MAXLEN|MINID> [=|~] @u",
    "XGROUP CREATE @k g1 <$|0> [MKSTREAM]",
    "XGROUP CREATECONSUMER @k g1 c1",
    "XGROUP DELCONSUMER @k g1 c1",
    "XGROUP DESTROY @k g1",
    "XGROUP SETID @k g1 @I",
    "XREADGROUP GROUP g1 c1 [COUNT @u] [NOACK] STREAMS @k >",
    "XREADGROUP GROUP g1 streams BLOCK 1 STREAMS @k >",
    "XACK @k g1 @I*",
    "XPENDING @k g1",
    "XSETID @k @I",
    "XINFO STREAM @k",
    "XINFO GROUPS @k",
    "XAUTOCLAIM @k g1 c2 0 @I [COUNT @u] [JUSTID]",
    "XCLAIM @k g1 c2 0 @I JUSTID",
  ],
  blocking: [
    "BLPOP @k* 0.001",
    "BRPOP @k* 0.001",
    "BLMOVE @k @k <LEFT|RIGHT> <LEFT|RIGHT> 0.001",
    "BRPOPLPUSH @k @k 0.001",
    "BLMPOP 0.001 1 @k LEFT [COUNT @u]",
    "BZPOPMIN @k* 0.001",
    "BZPOPMAX @k 0.001",
    "BZMPOP 0.001 1 @k MIN",
    "BLPOP @k <abc|-1>",
  ],
  scripting: [
    "EVAL '@e' 0",
    "EVAL '@e' 1 @k",
    "EVAL '@e' <2|@i> @k @k @v",
    "EVAL_RO 'return_redis.call(\"get\",KEYS[1])' 1 @k",
    "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
    "SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff",
    "SCRIPT LOAD '@e'",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 @k",
    "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "FCALL @m 0",
    "FCALL_RO f1 1 @k",
    "FUNCTION LIST",
    "FUNCTION DELETE lib1",
    "FUNCTION LOAD [REPLACE] '#!lua_name=lib1'",
    "FUNCTION DUMP",
    "FUNCTION FLUSH",
    "SCRIPT FLUSH",
  ],
  transaction: ["MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "WATCH @k*", "UNWATCH"],
  connection: [
    "PING",
    "PING @v",
    "ECHO @v",
    "SELECT @i",
    "SELECT 0",
    "CLIENT SETNAME @m",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT <off|x>",
    "AUTH default @v",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT @m",
    "RESET",
    "ASKING",
    "CLUSTER INFO",
    "CLUSTER @m",
    "HELLO <2|3>",
    "HELLO @v",
    "HELLO 3 SETNAME @m",
    "HELLO 2 AUTH @m",
    "COMMAND GETKEYS GET @k",
    "COMMAND GETKEYS EVAL x 2 @k @k",
    "PUBLISH @m @v",
    "SPUBLISH @m @v",
    "PUBSUB NUMPAT",
    "PUBSUB NUMSUB @m*",
    "PUBSUB CHANNELS [@p]",
    "PUBSUB SHARDNUMSUB @m",
    "PUBSUB SHARDCHANNELS",
    "FLUSHDB",
    "FLUSHALL <ASYNC|SYNC|x>",
    "SWAPDB <0|1> <0|1>",
    "@m @v @v",
    "@v",
    "UNKNOWN\x07 @v",
  ],
};

export type Command = readonly string[];

const KEYS = ["a", "b", "c", "d", "e", "f", "g", "{t}1", "k\x00\r\n\xff", ""];
const MEMBERS = ["m1", "m2", "m3", "m4", "5", "-7", "3.5", "lib1", "x\r\ny", "M1", "\xc3\xa4"];
const VALUES = [
  "",
  "v",
  "hello world",
  "0",
  "1",
  "42",
  "-1",
  "9223372036854775807",
  "3.14",
  "1e5",
  "abc\x00def",
  "\r\n",
  "*1\r\n$4\r\nPING\r\n",
  "\xff\xfe",
  "m1",
  "m2",
  "x".repeat(50),
  "y".repeat(300),
];
const BIG = ["B".repeat(5000), "C".repeat(17_000), "D".repeat(70_000)];
const SCRIPTS = [
  "return 1",
  "return KEYS",
  "return ARGV",
  "return redis.call('set',KEYS[1],'s')",
  "return redis.call('get',KEYS[1])",
  "return {1,2.7,'x',false,{true}}",
  "return redis.error_reply('MYERR no')",
  "return redis.status_reply('FINE')",
  "error('boom')",
  "return redis.call('nosuch')",
  "return redis.pcall('incr',KEYS[1])",
  "redis.setresp(3) return redis.call('hgetall',KEYS[1])",
  "return {map={a=1}}",
  "return {double=3.5}",
  "return nil",
  "syntax error here",
  "return redis.call('lpush',KEYS[1],'1','2')",
  "redis.setresp(3) return {double=1.5}",
  "return redis.sha1hex('')",
  "return tostring(KEYS[1])",
];

export class Grammar {
  constructor(
    private readonly random: Random,
    private readonly forms: Readonly<Record<string, readonly string[]>> = FORMS,
  ) {}

  /** A command of a family, sometimes spoilt. */
  command(family: string): Command {
    const { random } = this;
    const args = this.expand(random.pick(this.forms[family]!));
    const spoiled = random.below(100) < 10 ? this.spoil([...args], random.below(10)) : args;
    return waitsLong(spoiled) || expiresSoon(spoiled) || picksAny(spoiled) ? args : spoiled;
  }

  /** Leaves one argument out, puts one in, changes one, or changes the name's case. */
  private spoil(args: string[], fate: number): string[] {
    const { random } = this;
    if (fate < 3 && args.length > 1) args.splice(random.between(1, args.length - 1), 1);
    else if (fate < 5) args.splice(random.between(1, args.length), 0, this.argument("v"));
    else if (fate < 8 && args.length > 1) {
      args[random.between(1, args.length - 1)] = this.argument(random.pick([..."kvifmn"]));
    } else {
      args[0] = args[0]!.replace(
        /[A-Za-z]/g,
        (c) => random.below(2) === 0 ? c.toLowerCase() : c.toUpperCase(),
      );
    }
    return args;
  }

  private expand(form: string): string[] {
    const { random } = this;
    const args: string[] = [];
    for (const token of tokens(form)) {
      if (token.startsWith("[")) {
        if (random.below(3) > 0) continue;
        args.push(...this.expand(random.pick(token.slice(1, -1).split("|"))));
      } else if (token.startsWith("(")) {
        for (let i = random.between(1, 3); i > 0; i--) args.push(...this.expand(token.slice(1, -2)));
      } else if (token.startsWith("<")) args.push(...this.expand(random.pick(token.slice(1, -1).split("|"))));
      else if (token.startsWith("'")) {
        args.push(
          token.slice(1, -1).replaceAll("_", " ").replace("@e", () => random.pick(SCRIPTS)).replace(
            "#!lua name",
            "#!lua name",
          ) +
            (token.startsWith("'#!lua")
              ? "\nredis.register_function{function_name='f1',callback=function(k,a) return redis.call('get',k[1] or 'a') end,flags={'no-writes'}}"
              : ""),
        );
      } else if (token.startsWith("@") && token.endsWith("*")) {
        for (let i = random.between(1, 4); i > 0; i--) {
          args.push(this.argument(token[1]!));
        }
      } else if (token.startsWith("@")) args.push(this.argument(token[1]!) + token.slice(2));
      else args.push(token);
    }
    return args;
  }

  private argument(kind: string): string {
    const { random } = this;
    switch (kind) {
      case "k":
        return random.pick(KEYS);
      case "m":
        return random.pick(MEMBERS);
      case "v":
        return random.below(60) === 0 ? random.pick(BIG) : random.pick(VALUES);
      case "i":
        return String(random.pick([0, 0, 1, 1, 2, 3, -1, -1, -2, 10, 100]));
      case "u":
        return String(random.pick([0, 1, 2, 3, 7, 20]));
      case "n":
        return random.pick([
          "1",
          "5",
          "-3",
          "100",
          "9223372036854775807",
          "-9223372036854775808",
          "01",
          "1x",
        ]);
      case "f":
        return random.pick([
          "1",
          "2.5",
          "-3",
          "0",
          "1e3",
          "inf",
          "-inf",
          "nan",
          "0.1",
          "12345678901234567890",
        ]);
      case "t":
        return random.pick(["1000", "5000", "100000", "0", "-1", "x"]);
      case "z":
        return random.pick(["-inf", "+inf", "(1", "0", "2.5", "(3", "x", "1000"]);
      case "x":
        return random.pick(["-", "+", "[m1", "(m2", "[a", "x"]);
      case "p":
        return random.pick(["*", "a*", "?", "[a-c]", "m*", "\\*", "nosuch"]);
      case "g":
        return random.pick(["13.361389", "38.115556", "-122.4", "0", "85", "200"]);
      case "I":
        return random.pick([
          "1-1",
          "1-2",
          "2-0",
          "2-1",
          "3-3",
          "5",
          "5-*",
          "0",
          "0-0",
          "9-9",
          "10-1",
          "$",
          "x-1",
        ]);
      default:
        throw new Error(`no kind of argument: @${kind}`);
    }
  }
}

/** Splits a form at spaces that are not inside brackets or quotes. */
function tokens(form: string): string[] {
  return form.match(/'[^']*'|\([^)]*\)\*|\[[^\]]*\]|<[^>]*>|\S+/g) ?? [];
}

/** As an array of bulk strings, or as an inline command if `inline` and it can be one. */
export function encodeCommand(args: Command, inline: boolean): Uint8Array {
  const size = args.reduce((sum, arg) => sum + arg.length, 0);
  if (
    inline && size < 1000 && args.every((arg) => /^[!-&(-~]+$/.test(arg) && !/["\\]/.test(arg)) &&
    !args[0]!.startsWith("*")
  ) {
    return latin1(`${args.join(" ")}\r\n`);
  }
  return latin1(`*${args.length}\r\n${args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join("")}`);
}

/** Which argument of a command that may wait is its timeout in seconds; -1 = the last. */
const TIMEOUT_AT: Readonly<Record<string, number>> = {
  BLPOP: -1,
  BRPOP: -1,
  BLMOVE: -1,
  BRPOPLPUSH: -1,
  BZPOPMIN: -1,
  BZPOPMAX: -1,
  BLMPOP: 1,
  BZMPOP: 1,
};

/** True if a command that was spoiled would now wait for longer than a run has patience: 0 is for ever. */
function waitsLong(args: readonly string[]): boolean {
  const at = TIMEOUT_AT[args[0]?.toUpperCase() ?? ""];
  if (at === undefined) return false;
  const seconds = Number(args.at(at));
  return seconds === 0 || seconds > 0.1;
}

/** True if a command that was spoiled would now set a key that is gone before the other side has been asked. */
function expiresSoon(args: readonly string[]): boolean {
  const name = args[0]!.toUpperCase();
  const soon = (ms: string | undefined) => Number(ms) > 0 && Number(ms) < 1000;
  if (name === "PSETEX" || name === "PEXPIRE") return soon(args[2]);
  const at = args.findIndex((arg) => arg.toUpperCase() === "PX");
  return (name === "SET" || name === "GETEX") && at > 0 && soon(args[at + 1]);
}

/** True if a command that was spoiled would now pick elements by chance: their forms ask for all of them. */
function picksAny(args: readonly string[]): boolean {
  return /^(spop|srandmember|hrandfield|zrandmember)$/i.test(args[0]!) && args[2] !== "100000";
}
