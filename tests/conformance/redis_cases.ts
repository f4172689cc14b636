/**
 * Redis: every answer of our own, everything that is cut and joined, everything that is refused, and what passes through.
 *
 * Two servers, hash fnv1a_32 and modula: keys a and c live on the first, b and d on the second; hash_tag {}.
 */
import { array, bulk, type Case, CLOSED, cmd, type Differs, type Expected } from "./case.ts";

const OK = "+OK\r\n";
const PONG = "+PONG\r\n";
const NIL = "$-1\r\n";
const CROSSSLOT = "-CROSSSLOT Keys in request don't hash to the same server\r\n";

/** nutcracker closes the connection without a word on whatever it does not know; an error keeps the client alive. */
const closes: Differs = { why: "closes on what it does not know; an error is kinder", expect: CLOSED };
/** As `closes`, and replies owed to earlier requests are lost, unless they had left. */
const closesEarly: Differs = { why: "closes, and loses the replies owed", expect: /^[^]*<closed>$/ };

function direct(why: string, expect?: Expected): Differs {
  return { why, expect };
}

const oneServer = "one server has all keys; behind a proxy they may be on several";

/** What Ringmaster answers itself, and nutcracker does not know. */
const LOCAL: Case[] = [
  { name: "PING", send: cmd("PING"), expect: PONG },
  { name: "ping in any case", send: cmd("pInG"), expect: PONG },
  {
    name: "PING with a message",
    send: cmd("PING hello"),
    expect: bulk("hello"),
    differs: { nutcracker: closes },
  },
  {
    name: "PING with two",
    send: cmd("PING a b"),
    expect: "-ERR wrong number of arguments for 'ping' command\r\n",
    differs: { nutcracker: closes },
  },
  { name: "ECHO", send: cmd(["ECHO", "a\r\nb"]), expect: bulk("a\r\nb"), differs: { nutcracker: closes } },
  { name: "SELECT 0", send: cmd("SELECT 0"), expect: OK, differs: { nutcracker: closes } },
  {
    name: "SELECT of another database",
    send: cmd("SELECT 1"),
    expect: "-ERR DB index is out of range: this pool has only database 0, set databases: N for more\r\n",
    differs: {
      nutcracker: closes,
      direct: direct("a pool has one database unless `databases` says more", OK),
    },
  },
  {
    name: "SELECT of nonsense",
    send: cmd("SELECT x"),
    expect: "-ERR value is not an integer or out of range\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "HELLO 2",
    send: cmd("HELLO 2"),
    expect:
      /^\*14\r\n\$6\r\nserver\r\n\$5\r\nredis\r\n\$7\r\nversion\r\n\$\d+\r\n[\d.]+\r\n\$5\r\nproto\r\n:2\r\n\$2\r\nid\r\n:\d+\r\n\$4\r\nmode\r\n\$10\r\nstandalone\r\n\$4\r\nrole\r\n\$6\r\nmaster\r\n\$7\r\nmodules\r\n\*0\r\n$/,
    differs: { nutcracker: closes },
  },
  {
    name: "HELLO of an unknown version",
    send: cmd("HELLO 9"),
    expect: "-NOPROTO unsupported protocol version\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "HELLO with a name",
    send: cmd("HELLO 2 SETNAME me", "CLIENT GETNAME"),
    expect: /^\*14\r\n[^]*\$2\r\nme\r\n$/,
    replies: 2,
    differs: { nutcracker: closes },
  },
  { name: "CLIENT ID", send: cmd("CLIENT ID"), expect: /^:\d+\r\n$/, differs: { nutcracker: closes } },
  {
    name: "CLIENT SETNAME, GETNAME",
    send: cmd("CLIENT GETNAME", "CLIENT SETNAME me", "client getname"),
    expect: NIL + OK + bulk("me"),
    differs: { nutcracker: closes },
  },
  {
    name: "CLIENT SETNAME with a space",
    send: cmd(["CLIENT", "SETNAME", "a b"]),
    expect: "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "CLIENT SETINFO",
    send: cmd("CLIENT SETINFO LIB-NAME it", "CLIENT SETINFO LIB-VER 1"),
    expect: OK + OK,
    differs: {
      nutcracker: closes,
      direct: direct("came with Redis 7.2", /^(-ERR unknown subcommand 'SETINFO'.*\r\n){2}$/),
    },
  },
  {
    name: "CLIENT INFO",
    send: cmd("CLIENT INFO"),
    expect:
      /^\$\d+\r\nid=\d+ addr=\S+ laddr=\S+ fd=-?\d+ name= age=\d+ idle=\d+ flags=[NU] db=0 [^\r]*cmd=client\|info [^\r]*\n\r\n$/,
    differs: { nutcracker: closes },
  },
  {
    name: "CLIENT NO-EVICT",
    send: cmd("CLIENT NO-EVICT off", "CLIENT NO-EVICT maybe"),
    expect: OK + "-ERR syntax error\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "CLIENT with an unknown subcommand",
    send: cmd("CLIENT NONSENSE"),
    expect: "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "CLIENT SETNAME without a name",
    send: cmd("CLIENT SETNAME"),
    expect: "-ERR wrong number of arguments for 'client|setname' command\r\n",
    differs: { nutcracker: closes },
  },
  { name: "COMMAND", send: cmd("COMMAND"), expect: /^\*[12]\d\d\r\n\*10\r\n/ },
  {
    name: "COMMAND COUNT",
    send: cmd("COMMAND COUNT"),
    expect: /^:[12]\d\d\r\n$/,
    differs: { nutcracker: closes },
  },
  {
    name: "COMMAND INFO",
    send: cmd("COMMAND INFO get nonsense"),
    expect:
      /^\*2\r\n\*10\r\n\$3\r\nget\r\n:2\r\n\*2\r\n\+readonly\r\n\+fast\r\n:1\r\n:1\r\n:1\r\n[^]*(\*-1|\$-1)\r\n$/,
    differs: { nutcracker: closes },
  },
  {
    name: "COMMAND DOCS",
    send: cmd("COMMAND DOCS get"),
    expect:
      /^\*2\r\n\$3\r\nget\r\n\*\d+\r\n\$7\r\nsummary\r\n\$22\r\nGet the value of a key\r\n[^]*arguments/,
    differs: { nutcracker: closes },
  },
  {
    name: "COMMAND GETKEYS",
    send: cmd("COMMAND GETKEYS MSET a 1 b 2"),
    expect: array(bulk("a"), bulk("b")),
    differs: { nutcracker: closes },
  },
  {
    name: "INFO",
    send: cmd("INFO", "INFO server", "INFO replication cluster", "INFO nonsense"),
    expect:
      /^\$\d+\r\n# Server\r\nredis_version:[^]*loading:0\r\n[^]*role:master\r\n[^]*\$\d+\r\n# Server\r\n[^]*redis_mode:standalone\r\n[^]*# Replication\r\nrole:master\r\n[^]*# Cluster\r\ncluster_enabled:0\r\n\r\n\$0\r\n\r\n$/,
    replies: 4,
    differs: { nutcracker: closes },
  },
  {
    name: "CONFIG GET",
    send: cmd("CONFIG GET save", "CONFIG GET nonsense", "CONFIG GET appendonl*"),
    expect: array(bulk("save"), bulk("")) + "*0\r\n" + array(bulk("appendonly"), bulk("no")),
    differs: { nutcracker: closes },
  },
  {
    name: "TIME",
    send: cmd("TIME"),
    expect: /^\*2\r\n\$10\r\n\d{10}\r\n\$[1-6]\r\n\d+\r\n$/,
    differs: { nutcracker: closes },
  },
  {
    name: "RESET",
    send: cmd("CLIENT SETNAME me", "RESET", "CLIENT GETNAME"),
    expect: OK + "+RESET\r\n" + NIL,
    differs: { nutcracker: closes },
  },
  {
    name: "AUTH where no password is set",
    send: cmd("AUTH x"),
    expect: "-ERR Client sent AUTH, but no password is set\r\n",
    differs: {
      direct: direct(
        "twemproxy's text, which configurations rely on",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
      ),
    },
  },
  {
    name: "QUIT",
    send: cmd("QUIT"),
    expect: OK + CLOSED,
    differs: { nutcracker: { why: "closes without +OK", expect: CLOSED } },
  },
  {
    name: "QUIT after other requests",
    send: cmd("SET a 1", "GET b", "QUIT", "GET a"),
    expect: OK + NIL + OK + CLOSED,
    differs: { nutcracker: { why: "closes without +OK", expect: OK + NIL + CLOSED } },
  },
];

const FRAMING: Case[] = [
  { name: "inline", send: "PING\r\n", expect: PONG, differs: { nutcracker: closes } },
  {
    name: "inline, LF alone",
    send: "SET a 1\nGET a\n",
    expect: OK + bulk("1"),
    differs: { nutcracker: closes },
  },
  {
    name: "inline with quotes",
    send: "  SET \"a\" 'it''s'\r\n",
    expect: "-ERR Protocol error: unbalanced quotes in request\r\n" + CLOSED,
    differs: { nutcracker: closes },
  },
  {
    name: "inline with escapes",
    send: 'SET a "x\\x41\\r\\n\\"y"\r\nGET a\r\n',
    expect: OK + bulk('xA\r\n"y'),
    differs: { nutcracker: closes },
  },
  { name: "empty lines", send: "\r\n\n   \r\n" + cmd("PING"), expect: PONG, differs: { nutcracker: closes } },
  { name: "*0", send: "*0\r\n*-1\r\n" + cmd("PING"), expect: PONG, differs: { nutcracker: closes } },
  ...[
    ["a count that is no number", "*x\r\n"],
    ["a count too large", "*4294967297\r\n"],
    ["an argument without $", "*1\r\n%4\r\nPING\r\n"],
    ["a length that is no number", "*2\r\n$3\r\nGET\r\n$x\r\n"],
    ["a negative length", "*2\r\n$3\r\nGET\r\n$-1\r\n"],
    ["a length far too large", "*2\r\n$3\r\nGET\r\n$99999999999\r\n"],
  ].map(([what, bytes]): Case => ({
    name: `malformed after a pipeline: ${what}`,
    send: cmd("SET a 1", "PING", "GET b", "MGET a b") + bytes + cmd("SET a lost"),
    expect:
      /^\+OK\r\n\+PONG\r\n\$-1\r\n\*2\r\n\$1\r\n1\r\n\$-1\r\n-ERR Protocol error: [^\r\n]*\r\n<closed>$/,
    differs: { nutcracker: closesEarly },
  })),
  {
    name: "a length with a leading zero",
    send: "*1\r\n$04\r\nPING\r\n",
    expect: "-ERR Protocol error: invalid bulk length\r\n" + CLOSED,
    differs: {
      nutcracker: { why: "decision 3: a stricter server would close the shared connection", expect: PONG },
    },
  },
  {
    name: "an argument longer than its length",
    send: "*2\r\n$3\r\nGET\r\n$1\r\naaa\r\n",
    expect: "-ERR Protocol error: expected CRLF after an argument\r\n" + CLOSED,
    differs: {
      nutcracker: closes,
      direct: direct(
        "decision 3: Redis does not look at the two bytes, and goes on with what follows",
        /^\$-1\r\n/,
      ),
    },
  },
  {
    name: "half close: the whole pipeline is answered",
    send: cmd(...Array.from({ length: 100 }, (_, i) => `SET key${i} ${i}`), "MGET key1 key2 key3"),
    halfClose: true,
    expect: OK.repeat(100) + array(bulk("1"), bulk("2"), bulk("3")) + CLOSED,
  },
  {
    name: "half close in the middle of a request",
    send: cmd("SET a 1", "GET a") + cmd("SET a lost").slice(0, -4),
    halfClose: true,
    expect: OK + bulk("1") + CLOSED,
  },
  { name: "half close without a request", send: "", halfClose: true, expect: CLOSED },
];

const COMMANDS: Case[] = [
  {
    name: "an unknown command",
    send: cmd(["NONSENSE", "a", "b c"]),
    expect: "-ERR unknown command 'NONSENSE', with args beginning with: 'a' 'b c' \r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "the connection stays, and order holds, around an unknown command",
    send: cmd("SET a 1", "NONSENSE", "GET a"),
    expect: OK + "-ERR unknown command 'NONSENSE', with args beginning with: \r\n" + bulk("1"),
    differs: { nutcracker: closesEarly },
  },
  {
    name: "an empty command name",
    send: cmd([""]),
    expect: "-ERR unknown command '', with args beginning with: \r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "GET without a key",
    send: cmd("GET"),
    expect: "-ERR wrong number of arguments for 'get' command\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "SET without a value",
    send: cmd("SET a"),
    expect: "-ERR wrong number of arguments for 'set' command\r\n",
  },
  {
    name: "MSET without the last value",
    send: cmd("MSET a 1 b"),
    expect: "-ERR wrong number of arguments for 'mset' command\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "a subcommand with a key",
    send: cmd("SET b 1", "OBJECT ENCODING b", "object encoding d"),
    expect: OK + bulk("int") + NIL,
    differs: { nutcracker: closesEarly },
  },
  {
    name: "a subcommand with a key, wrong arity",
    send: cmd("OBJECT ENCODING"),
    expect: "-ERR wrong number of arguments for 'object|encoding' command\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "streams",
    send: cmd("XADD b 1-1 f v", "XLEN b", "XRANGE b - +", "XREAD COUNT 1 STREAMS b 0"),
    expect: bulk("1-1") + ":1\r\n" + array(array(bulk("1-1"), array(bulk("f"), bulk("v")))) +
      array(array(bulk("b"), array(array(bulk("1-1"), array(bulk("f"), bulk("v")))))),
    differs: { nutcracker: closes },
  },
  {
    name: "a server's error",
    send: cmd("SET a 1", "LPUSH a x", "GET a"),
    expect: OK + "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" + bulk("1"),
  },
  {
    name: "a dangerous command",
    send: cmd("FLUSHALL", "PING"),
    expect: /^-ERR 'FLUSHALL' is refused because [^\r\n]+dangerous_commands[^\r\n]+\r\n\+PONG\r\n$/,
    replies: 2,
    differs: { nutcracker: closesEarly, direct: direct("dangerous_commands: deny", OK + PONG) },
  },
  {
    name: "keys of one server: several keys go whole",
    send: cmd(
      "SET {a}1 x",
      "RENAME {a}1 {a}2",
      "SADD {b}1 m",
      "SADD {b}2 m n",
      "SINTER {b}1 {b}2",
      "SMOVE {b}2 {b}1 n",
    ),
    expect: OK + OK + ":1\r\n:2\r\n" + array(bulk("m")) + ":1\r\n",
    differs: { nutcracker: closesEarly },
  },
  {
    name: "keys of several servers: RENAME",
    send: cmd("SET a 1", "RENAME a b", "GET a"),
    expect: OK + CROSSSLOT + bulk("1"),
    differs: { nutcracker: closesEarly, direct: direct(oneServer, OK + OK + NIL) },
  },
  {
    name: "keys of several servers: SINTER",
    send: cmd("SADD a m", "SADD b m", "SINTER a b"),
    expect: ":1\r\n:1\r\n" + CROSSSLOT,
    differs: {
      nutcracker: {
        why: "asks the first key's server, which does not have the second",
        expect: ":1\r\n:1\r\n*0\r\n",
      },
      direct: direct(oneServer, ":1\r\n:1\r\n" + array(bulk("m"))),
    },
  },
  {
    name: "keys of several servers: MSETNX",
    send: cmd("MSETNX a 1 b 2", "MSETNX {a}1 1 {a}2 2"),
    expect: CROSSSLOT + ":1\r\n",
    differs: { nutcracker: closes, direct: direct(oneServer, ":1\r\n:1\r\n") },
  },
  {
    name: "ZUNION goes to its keys' server",
    send: cmd("ZADD b 1 m", "ZUNION 1 b", "ZUNION 1 b WITHSCORES"),
    expect: ":1\r\n" + array(bulk("m")) + array(bulk("m"), bulk("1")),
    differs: {
      nutcracker: {
        why: "takes the number of keys for the key, and asks its server",
        expect: /^:1\r\n[^]*$/,
      },
    },
  },
];

const SPLITS: Case[] = [
  {
    name: "MSET and MGET over two servers",
    send: cmd("MSET a 1 b 2 c 3 d 4", "MGET d c b a", "MGET a x y b"),
    expect: OK + array(bulk("4"), bulk("3"), bulk("2"), bulk("1")) + array(bulk("1"), NIL, NIL, bulk("2")),
  },
  {
    name: "MGET with a key twice",
    send: cmd("MSET a 1 b 2", "MGET a b a a b"),
    expect: OK + array(bulk("1"), bulk("2"), bulk("1"), bulk("1"), bulk("2")),
  },
  {
    name: "MSET with a key twice: the last value counts",
    send: cmd("MSET a 1 b 2 a 3", "MGET a b"),
    expect: OK + array(bulk("3"), bulk("2")),
  },
  {
    name: "empty keys and values",
    send: cmd(["MSET", "", "empty", "b", ""], ["MGET", "b", "", "a"], ["GET", ""], ["DEL", "", "b"]),
    expect: OK + array(bulk(""), bulk("empty"), NIL) + bulk("empty") + ":2\r\n",
  },
  {
    name: "binary keys and values",
    send: cmd(["MSET", "\r\n\0", "\xff*1\r\n", "b", "$3\r\n"], ["MGET", "b", "\r\n\0"]),
    expect: OK + array(bulk("$3\r\n"), bulk("\xff*1\r\n")),
  },
  {
    name: "MGET of one key",
    send: cmd("SET a 1", "MGET a", "MGET b"),
    expect: OK + array(bulk("1")) + array(NIL),
  },
  {
    name: "MGET of keys on one server",
    send: cmd("MSET a 1 c 3", "MGET c a c"),
    expect: OK + array(bulk("3"), bulk("1"), bulk("3")),
  },
  {
    name: "MGET of a key of another type",
    send: cmd("LPUSH a x", "SET b 1", "MGET a b"),
    expect: ":1\r\n" + OK + array(NIL, bulk("1")),
  },
  { name: "DEL", send: cmd("MSET a 1 b 2 c 3", "DEL a b x y c", "DEL a b"), expect: OK + ":3\r\n:0\r\n" },
  { name: "DEL with a key twice", send: cmd("MSET a 1 b 2", "DEL a b a"), expect: OK + ":2\r\n" },
  {
    name: "UNLINK and TOUCH",
    send: cmd("MSET a 1 b 2", "TOUCH a b x", "UNLINK a b x"),
    expect: OK + ":2\r\n:2\r\n",
  },
  {
    name: "EXISTS",
    send: cmd("MSET a 1 b 2", "EXISTS a b x", "EXISTS a a b", "EXISTS b"),
    expect: OK + ":2\r\n:3\r\n:1\r\n",
    differs: { nutcracker: { why: "does not split EXISTS", expect: OK + ":1\r\n:2\r\n:1\r\n" } },
  },
  {
    name: "a large MGET",
    send: cmd(
      ["MSET", ...Array.from({ length: 2000 }, (_, i) => [`key${i}`, `value${i}`]).flat()],
      ["MGET", ...Array.from({ length: 2000 }, (_, i) => `key${i}`)],
      ["DEL", ...Array.from({ length: 2000 }, (_, i) => `key${i}`)],
    ),
    expect: OK + array(...Array.from({ length: 2000 }, (_, i) => bulk(`value${i}`))) + ":2000\r\n",
  },
];

const SHA = "59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9"; // of "return 7"
const SCRIPTS: Case[] = [
  {
    name: "EVAL with a key",
    send: cmd(
      ["EVAL", "return {KEYS[1], ARGV[1], redis.call('SET', KEYS[1], ARGV[1])}", "1", "b", "x"],
      "GET b",
    ),
    expect: array(bulk("b"), bulk("x"), OK) + bulk("x"),
  },
  {
    name: "EVAL without a key",
    send: cmd(["EVAL", "return 7", "0"]),
    expect: ":7\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "EVAL with keys of several servers",
    send: cmd(["EVAL", "return 7", "2", "a", "b"]),
    expect: CROSSSLOT,
    differs: {
      nutcracker: { why: "looks at the first key only", expect: ":7\r\n" },
      direct: direct(oneServer, ":7\r\n"),
    },
  },
  {
    name: "EVAL with a wrong number of keys",
    send: cmd(["EVAL", "return 7", "-1"], ["EVAL", "return 7", "x"], ["EVAL", "return 7", "3", "a"]),
    expect:
      "-ERR Number of keys can't be negative\r\n-ERR value is not an integer or out of range\r\n-ERR Number of keys can't be greater than number of args\r\n",
    differs: { nutcracker: closes },
  },
  {
    name: "nested arrays and errors from a script",
    send: cmd(["EVAL", "return {1, {2, {3, 'x', {err = 'MY error'}}}, {}, false}", "1", "a"]),
    expect: array(
      ":1\r\n",
      array(":2\r\n", array(":3\r\n", bulk("x"), "-MY error\r\n")),
      "*0\r\n",
      NIL,
    ),
  },
  {
    name: "EVALSHA of an unknown script",
    send: cmd(`EVALSHA ${SHA} 1 a`, "PING"),
    expect: "-NOSCRIPT No matching script. Please use EVAL.\r\n" + PONG,
  },
  {
    name: "SCRIPT LOAD, EXISTS on all servers",
    send: cmd(
      ["SCRIPT", "LOAD", "return 7"],
      `EVALSHA ${SHA} 1 a`,
      `EVALSHA ${SHA} 1 b`,
      `SCRIPT EXISTS ${SHA} ${"0".repeat(40)}`,
    ),
    expect: bulk(SHA) + ":7\r\n:7\r\n" + array(":1\r\n", ":0\r\n"),
    differs: { nutcracker: closesEarly },
  },
  {
    name: "FUNCTION LOAD on all servers, FCALL",
    send: cmd(
      [
        "FUNCTION",
        "LOAD",
        "#!lua name=it\nredis.register_function('seven', function(keys) return keys[1] end)",
      ],
      "FCALL seven 1 a",
      "FCALL seven 1 b",
      "FUNCTION DELETE it",
    ),
    expect: bulk("it") + bulk("a") + bulk("b") + OK,
    differs: { nutcracker: closesEarly },
  },
];

/** One server's script: it replies with these; the other server is not to be asked. */
function first(
  send: string,
  reply: string[],
  expect: Expected,
  rest: Partial<Case> & { name: string },
): Case {
  return { send, receive: [send, ""], reply: [reply, []], expect, ...rest };
}

const deep = "*1\r\n".repeat(20) + ":1\r\n";

const PASSED_THROUGH: Case[] = [
  ...[
    ["a status", "+anything goes\r\n"],
    ["an error", "-MOVED 3999 127.0.0.1:6381\r\n"],
    ["an error without a code", "-\r\n"],
    ["a negative integer", ":-9223372036854775808\r\n"],
    ["an empty bulk", "$0\r\n\r\n"],
    ["a nil bulk", "$-1\r\n"],
    ["a bulk with a reply in it", "$5\r\n+OK\r\n\r\n"],
    ["an empty array", "*0\r\n"],
    ["a nil array", "*-1\r\n"],
    ["a nested array", "*3\r\n*2\r\n:1\r\n$-1\r\n*-1\r\n*1\r\n-ERR inside\r\n"],
    ["an array twenty deep", deep],
    ["a large bulk", `$100000\r\n${"x".repeat(100_000)}\r\n`],
  ].map(([what, reply]) => first(cmd("GET a"), [reply!], reply!, { name: `reply passed through: ${what}` })),
  ...[
    ["a name in any case", cmd("gEt a")],
    ["a binary key", cmd(["GET", "\0\r\n{a}\xff"])],
    ["a large value", cmd(["SET", "a", "v".repeat(100_000)])],
    ["many arguments", cmd(["SADD", "a", ...Array.from({ length: 1000 }, (_, i) => `m${i}`)])],
    ["an option nobody knows", cmd("SET a 1 WITH NEW OPTIONS")],
  ].map(([what, send]) => first(send!, [OK], OK, { name: `request passed through: ${what}` })),
  first("GET a\r\n", [NIL], NIL, {
    name: "an inline request reaches the server as an array",
    receive: [cmd("GET a"), ""],
    differs: { nutcracker: { ...closes, receive: ["", ""] } },
  }),
  ...["OOM command not allowed", "LOADING Redis is loading", "BUSY Redis is busy"].map((error) =>
    first(cmd("GET a"), [`-${error}\r\n`], `-${error}\r\n`, {
      name: `-${error.split(" ")[0]} reaches the client`,
      differs: {
        nutcracker: {
          why: "hides it, and closes the connection that others share",
          expect: "-ERR Invalid argument\r\n",
        },
      },
    })
  ),
  {
    name: "replies come in the order of the requests, whichever server is first",
    send: cmd("GET a", "PING", "GET b", "GET c", "GET d"),
    receive: [cmd("GET a", "GET c"), cmd("GET b", "GET d")],
    reply: [["+a\r\n", "+c\r\n"], ["+b\r\n", "+d\r\n"]],
    expect: "+a\r\n+PONG\r\n+b\r\n+c\r\n+d\r\n",
  },
];

const lowerCase = "rewrites the name in lower case";
/** What only a guard of ours answers: there is nothing to compare it with. */
const guardOfOurOwn = "a guard of our own, not run there";

const FRAGMENTS: Case[] = [
  {
    name: "MGET: one fragment a server",
    send: cmd("MGET b a d a c"),
    receive: [cmd("MGET a a c"), cmd("MGET b d")],
    reply: [[array(bulk("A1"), bulk("A2"), bulk("C"))], [array(bulk("B"), NIL)]],
    expect: array(bulk("B"), bulk("A1"), NIL, bulk("A2"), bulk("C")),
    differs: { nutcracker: { why: lowerCase, receive: [cmd("mget a a c"), cmd("mget b d")] } },
  },
  {
    name: "MSET: one fragment a server",
    send: cmd("MSET b 1 a 2 d 3"),
    receive: [cmd("MSET a 2"), cmd("MSET b 1 d 3")],
    reply: [[OK], [OK]],
    expect: OK,
    differs: { nutcracker: { why: lowerCase, receive: [cmd("mset a 2"), cmd("mset b 1 d 3")] } },
  },
  {
    name: "DEL: the sum",
    send: cmd("DEL a b c"),
    receive: [cmd("DEL a c"), cmd("DEL b")],
    reply: [[":2\r\n"], [":1\r\n"]],
    expect: ":3\r\n",
    differs: { nutcracker: { why: lowerCase, receive: [cmd("del a c"), cmd("del b")] } },
  },
  {
    name: "all keys on one server: the request as it came",
    send: cmd("mGeT a c"),
    receive: [cmd("mGeT a c"), ""],
    reply: [[array(NIL, NIL)], []],
    expect: array(NIL, NIL),
    differs: { nutcracker: { why: lowerCase, receive: [cmd("mget a c"), ""] } },
  },
  ...["MGET a b", "DEL a b", "MSET a 1 b 2"].map((words): Case => {
    const name = words.split(" ")[0]!;
    const good = { MGET: array(NIL), DEL: ":1\r\n", MSET: OK }[name]!;
    const ours = name === "MSET" ? ["MSET a 1", "MSET b 2"] : [`${name} a`, `${name} b`];
    return {
      name: `${name}: a fragment's error is the answer`,
      send: cmd(words),
      receive: ours.map((fragment) => cmd(fragment)),
      reply: [[good], ["-READONLY You can't write against a read only replica.\r\n"]],
      expect: "-READONLY You can't write against a read only replica.\r\n",
      differs: {
        nutcracker: {
          why: "loses the error's text",
          expect: "-ERR Invalid argument\r\n",
          receive: ours.map((fragment) => cmd(fragment.replace(name, name.toLowerCase()))),
        },
      },
    };
  }),
  {
    name: "MGET: fragments that do not fit together",
    send: cmd("MGET a b", "GET a"),
    receive: [cmd("MGET a", "GET a"), cmd("MGET b")],
    reply: [[array(NIL, NIL), "+still in order\r\n"], [array(NIL)]],
    expect: "-ERR Invalid argument: the servers' replies do not fit together\r\n+still in order\r\n",
    differs: { nutcracker: { why: guardOfOurOwn } },
  },
  {
    name: "MGET: a nil array from a server",
    send: cmd("MGET a b", "GET a"),
    receive: [cmd("MGET a", "GET a"), cmd("MGET b")],
    reply: [["*-1\r\n", "+still in order\r\n"], [array(NIL)]],
    expect: "-ERR Invalid argument: the servers' replies do not fit together\r\n+still in order\r\n",
    differs: { nutcracker: { why: guardOfOurOwn } },
  },
];

/** What a server of tomorrow says of a command we have never heard of. */
const TOMORROW = array(
  array(
    bulk("tomorrow"),
    ":-2\r\n",
    array("+write\r\n"),
    ":1\r\n",
    ":1\r\n",
    ":1\r\n",
    "*0\r\n",
    "*0\r\n",
    "*0\r\n",
    "*0\r\n",
  ),
);

/** A command of which COMMAND INFO tells the first key, and that there are more. */
const SCATTERED = array(
  array(
    bulk("scattered"),
    ":-2\r\n",
    array("+write\r\n", "+movablekeys\r\n"),
    ":1\r\n",
    ":1\r\n",
    ":1\r\n",
    "*0\r\n",
  ),
);
const noKeyTold = "-ERR The command has no key arguments\r\n";

const LEARNED: Case[] = [
  {
    name: "a command only the server knows is learned, and goes to its key's server",
    send: cmd("GET a", "TOMORROW b x", "PING", "tomorrow a"),
    receive: [
      cmd("GET a", "COMMAND INFO TOMORROW", "tomorrow a"),
      cmd("TOMORROW b x"),
    ],
    reply: [["+a\r\n", TOMORROW, "+learned\r\n"], ["+it is\r\n"]],
    expect: "+a\r\n+it is\r\n+PONG\r\n+learned\r\n",
    differs: { nutcracker: { ...closesEarly, receive: undefined } },
  },
  {
    name: "a learned command is not asked for again, and its arity is known",
    send: cmd("TOMORROW", "TOMORROW b"),
    receive: ["", cmd("TOMORROW b")],
    reply: [[], ["+it is\r\n"]],
    expect: "-ERR wrong number of arguments for 'tomorrow' command\r\n+it is\r\n",
    differs: { nutcracker: { ...closes, receive: ["", ""] } },
  },
  {
    name: "a command that no server knows is asked for once",
    send: cmd("NEVERHEARD a", "NEVERHEARD b"),
    receive: [cmd("COMMAND INFO NEVERHEARD"), ""],
    reply: [["*1\r\n*-1\r\n"], []],
    expect: "-ERR unknown command 'NEVERHEARD', with args beginning with: 'a' \r\n" +
      "-ERR unknown command 'NEVERHEARD', with args beginning with: 'b' \r\n",
    differs: { nutcracker: { ...closes, receive: ["", ""] } },
  },
  {
    name: "where COMMAND INFO does not tell all keys, a server is asked for those of each request",
    send: cmd("GET a", "SCATTERED b STORE d", "scattered a STORE b", "GET a"),
    receive: [
      cmd(
        "GET a",
        "COMMAND INFO SCATTERED",
        "COMMAND GETKEYS SCATTERED b STORE d",
        "COMMAND GETKEYS scattered a STORE b",
        "GET a",
      ),
      cmd("SCATTERED b STORE d"),
    ],
    reply: [
      ["+a\r\n", SCATTERED, array(bulk("b"), bulk("d")), array(bulk("a"), bulk("b")), "+a again\r\n"],
      ["+scattered\r\n"],
    ],
    expect: "+a\r\n+scattered\r\n-CROSSSLOT Keys in request don't hash to the same server\r\n+a again\r\n",
    differs: { nutcracker: { ...closesEarly, receive: undefined } },
  },
  {
    name: "… also in MULTI, and a request whose keys it cannot tell goes nowhere",
    send: cmd("SCATTERED x", "MULTI", "SCATTERED b STORE d", "EXEC"),
    receive: [
      cmd("COMMAND GETKEYS SCATTERED x", "COMMAND GETKEYS SCATTERED b STORE d"),
      cmd("MULTI", "SCATTERED b STORE d", "EXEC"),
    ],
    reply: [
      [noKeyTold, array(bulk("b"), bulk("d"))],
      ["+OK\r\n", "+QUEUED\r\n", array("+done\r\n")],
    ],
    expect:
      "-ERR 'SCATTERED': only a server can tell its keys, and did not (ERR The command has no key arguments); " +
      "use a pool of one server, or a command whose keys COMMAND INFO tells\r\n" +
      "+OK\r\n+QUEUED\r\n" + array("+done\r\n"),
    differs: { nutcracker: { ...closes, receive: ["", ""] } },
  },
];

export const REDIS_CASES: readonly Case[] = [
  ...LOCAL,
  ...FRAMING,
  ...COMMANDS,
  ...SPLITS,
  ...SCRIPTS,
  ...PASSED_THROUGH,
  ...FRAGMENTS,
  ...LEARNED,
];
