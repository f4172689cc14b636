/**
 * The command line: one table of commands and flags, from which it is read and help is printed.
 *
 *   ringmaster [flags]              nutcracker's flags, with their meaning
 *   ringmaster COMMAND [flags] …    the rest; the command comes first
 *
 * As with nutcracker: flags bundle (-dv6), long ones can be cut short (--conf=F), a flag given twice counts the last
 * time, -v is brought into 0 to 11, -o "" is standard error. Not as with nutcracker: what is wrong exits with 2, and a
 * word that belongs nowhere is an error, not ignored.
 */
import { quoted } from "../config/config_error.ts";
import { INTEGER_MAX, WORKERS_MAX } from "../config/schema.ts";
import { SHOWN_DEFAULT } from "../compare/tally.ts";
import { readAdmin, readListen } from "../config/values.ts";
import { givenConfig, isServerWord, LISTEN_DEFAULT } from "./given_servers.ts";
import { UsageError } from "./usage_error.ts";
import { RATE_DEFAULT, RATE_MAX } from "../stats/tapped.ts";
import type { Address } from "../net/net.ts";

export const VERBOSE_DEFAULT = 5;
export const VERBOSE_MAX = 11;
export const STATS_PORT_DEFAULT = 22222;
export const STATS_ADDRESS_DEFAULT = "0.0.0.0";

export interface RunOptions {
  /** -c; null: find it (findConfFile). */
  readonly confFile: string | null;
  /** The text of a configuration that servers on the command line stand for; null: none were named. */
  readonly config: string | null;
  readonly daemonize: boolean;
  /** 0 to 11; null: not given, so that `log: level` counts, and then VERBOSE_DEFAULT. */
  readonly verbose: number | null;
  /** A file, "stderr" (which -o "" means too), or null: not given, so that `log: output` counts. */
  readonly output: string | null;
  readonly statsPort: number;
  readonly statsAddress: string;
  /** null: none. */
  readonly pidFile: string | null;
  /** 0 = auto; null: not given, so that `workers` counts. */
  readonly workers: number | null;
  readonly logFormat: "text" | "json" | null;
  /** null: not given, so that `admin` counts; address null: off. */
  readonly admin: { readonly address: Address | null; readonly text: string } | null;
}

/** As of RunOptions. */
export interface TestOptions extends Pick<RunOptions, "confFile" | "config" | "statsAddress" | "admin"> {
  /** null: neither -a nor -s is given. */
  readonly statsPort: number | null;
}

export interface RouteOptions extends PeerOptions {
  /** null: all pools. */
  readonly pool: string | null;
  readonly hex: boolean;
  readonly json: boolean;
  /** Tell each step. */
  readonly explain: boolean;
  /** Names of servers that are off the ring. */
  readonly ejected: readonly string[];
  /** In their order; "-" is standard input. Never empty. */
  readonly keys: readonly string[];
}

export interface PlanOptions {
  /** The two files, as named. */
  readonly before: string;
  readonly after: string;
  /** null: all pools. */
  readonly pool: string | null;
  /** A file of keys, one a line; "-" is standard input; null: the ring is measured instead. */
  readonly keys: string | null;
  readonly json: boolean;
  /** Where to write the drawing; null: nowhere. */
  readonly svg: string | null;
}

export interface ReloadOptions {
  readonly pidFile: string;
}

/** Which running proxy is asked, by its admin side. */
export interface PeerOptions {
  /** null: find it (findConfFile). */
  readonly confFile: string | null;
  /** null: where the configuration says. */
  readonly admin: Address | null;
  /** null: as the configuration says. */
  readonly tokenFile: string | null;
  /** Who has signed its certificate; null: as the configuration says, or plain HTTP. */
  readonly caFile: string | null;
  /** What it is shown; null: as the configuration says, or nothing. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

export interface HealthOptions extends PeerOptions {
  /** Whether it lives, not whether it is ready. */
  readonly alive: boolean;
}

export interface TopOptions extends PeerOptions {
  /** null: all pools. */
  readonly pool: string | null;
  readonly once: boolean;
  readonly json: boolean;
}

export interface TapOptions extends PeerOptions {
  /** null: any, of these and below. */
  readonly pool: string | null;
  readonly key: string | null;
  readonly command: string | null;
  readonly client: string | null;
  /** Lines a second; null: the proxy's default. */
  readonly rate: number | null;
  /** Lines; null: without end. */
  readonly count: number | null;
  readonly json: boolean;
}

export interface CompareOptions extends PeerOptions {
  /** As named: a file, or redis://HOST:PORT and its like. Two, but with --record (none) and --replay (one or two). */
  readonly sides: readonly string[];
  /** null: all that both have. */
  readonly pool: string | null;
  /** Where the proxies are; null: where the files say. */
  readonly at: readonly [old: Address | null, young: Address | null];
  /** The servers are read, not the proxies. */
  readonly direct: boolean;
  /** A file of keys, one a line; "-" is standard input; null: the servers are scanned. */
  readonly keys: string | null;
  readonly hex: boolean;
  /** Keys of a pool at most; Infinity: all. */
  readonly count: number;
  /** Keys, or requests, a second at most. */
  readonly perSecond: number;
  /** Keys of each kind that are shown. */
  readonly show: number;
  /** Who the proxies are told that we are; null: nobody, or as redis_auth has it. */
  readonly user: string | null;
  readonly passwordFile: string | null;
  /** Who signs the certificates of proxies that speak TLS. */
  readonly ca: string | null;
  readonly json: boolean;
  readonly record: string | null;
  readonly replay: string | null;
  /** Replay what writes, too. */
  readonly writes: boolean;
}

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

export type CommandName =
  | "route"
  | "plan"
  | "compare"
  | "reload"
  | "top"
  | "tap"
  | "upgrade"
  | "health"
  | "demo"
  | "schema"
  | "password"
  | "completions"
  | "man";

export type Flags =
  | { readonly command: "run"; readonly options: RunOptions }
  | { readonly command: "help"; readonly topic: CommandName | null }
  | { readonly command: "version" }
  | { readonly command: "describe" }
  | { readonly command: "test"; readonly options: TestOptions }
  | { readonly command: "route"; readonly options: RouteOptions }
  | { readonly command: "plan"; readonly options: PlanOptions }
  | { readonly command: "compare"; readonly options: CompareOptions }
  | { readonly command: "reload" | "upgrade"; readonly options: ReloadOptions }
  | { readonly command: "demo"; readonly options: { readonly json: boolean } }
  | { readonly command: "schema" }
  | { readonly command: "password" }
  | { readonly command: "tap"; readonly options: TapOptions }
  | { readonly command: "top"; readonly options: TopOptions }
  | { readonly command: "health"; readonly options: HealthOptions }
  | { readonly command: "completions"; readonly shell: Shell }
  | { readonly command: "man" };

export interface Flag {
  readonly long: string;
  /** One letter, or "" for none. */
  readonly short: string;
  /** What the value is called, as in --verbose=N; "" for a flag without value. */
  readonly value: string;
  /** What a missing or wrong value should have been; completes "requires …". */
  readonly requires: string;
  readonly sentence: string;
}

export interface Command {
  /** "" is the proxy itself. */
  readonly name: CommandName | "";
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly sentence: string;
  readonly flags: readonly Flag[];
  /** What its words can be, for shells to complete. */
  readonly words?: "files" | readonly string[];
  /** More to say, a paragraph an element; lines as they stand. */
  readonly notes: readonly string[];
}

function flag(short: string, long: string, sentence: string, value = "", requires = ""): Flag {
  return { short, long, sentence, value, requires };
}

const HELP = flag("h", "help", "this help");
const CONF_FILE = flag(
  "c",
  "conf-file",
  "configuration file (default: conf/ringmaster.yml, then conf/nutcracker.yml)",
  "S",
  "a file name",
);
/** Who is asked: of every command that asks a running proxy. */
const PEER: readonly Flag[] = [
  CONF_FILE,
  flag(
    "",
    "admin",
    "its admin address (default: of the configuration, else 127.0.0.1:22280)",
    "S",
    "HOST:PORT",
  ),
  flag(
    "",
    "token-file",
    "a file with its token (default: admin_token_file of the configuration)",
    "S",
    "a file name",
  ),
  flag(
    "",
    "ca-file",
    "speak TLS, to a certificate that this one has signed (default: admin_tls)",
    "S",
    "a file name",
  ),
  flag("", "cert-file", "a certificate to show (default: that of admin_tls)", "S", "a file name"),
  flag("", "key-file", "its key", "S", "a file name"),
];
/** Keys that `compare` looks at, and how many a second. */
export const COMPARED_DEFAULT = 10_000;
export const COMPARE_RATE_DEFAULT = 1000;
export const COMPARE_RATE_MAX = 1_000_000;

const JSON_LINES = flag("", "json", "a JSON object a line, in place of text");

export const COMMANDS: readonly Command[] = [
  {
    name: "",
    usage: "[flags] [SERVER…]",
    sentence: "A sharding proxy for Redis and memcached.",
    flags: [
      HELP,
      flag("V", "version", "show version and exit"),
      flag("t", "test-conf", "test the configuration, print every error with its place, and exit"),
      flag(
        "d",
        "daemonize",
        "run as a daemon; returns when it serves, with 1 and why it cannot, or 75: see below",
      ),
      flag("D", "describe-stats", "print what the statistics mean and exit"),
      flag(
        "v",
        "verbose",
        `log level (default: ${VERBOSE_DEFAULT}, min: 0, max: ${VERBOSE_MAX})`,
        "N",
        "a number",
      ),
      flag("o", "output", "log file (default: stderr)", "S", "a file name"),
      CONF_FILE,
      flag("s", "stats-port", `statistics port (default: ${STATS_PORT_DEFAULT})`, "N", "a number"),
      flag("a", "stats-addr", `statistics address (default: ${STATS_ADDRESS_DEFAULT})`, "S", "a string"),
      flag(
        "i",
        "stats-interval",
        "no effect, statistics are always fresh (nutcracker's ms)",
        "N",
        "a number",
      ),
      flag("p", "pid-file", "pid file (default: none)", "S", "a file name"),
      flag(
        "m",
        "mbuf-size",
        "no effect, buffers fit themselves (nutcracker's 512 to 16777216)",
        "N",
        "a number",
      ),
      flag(
        "",
        "workers",
        "threads that carry traffic, or auto: one a core (default: workers of the file)",
        "N",
        "a number",
      ),
      flag("", "log-format", "text or json (default: log: format of the file)", "S", "text or json"),
      flag(
        "",
        "admin",
        "where the HTTP side listens, or off (default: admin of the file)",
        "S",
        "HOST:PORT or off",
      ),
      flag(
        "",
        "listen",
        `where clients connect to the SERVERs given here (default: ${LISTEN_DEFAULT})`,
        "S",
        "HOST:PORT, :PORT or a path",
      ),
    ],
    notes: [
      "SERVER: redis://HOST[:PORT], rediss://HOST[:PORT] (TLS) or memcached://HOST[:PORT], with ?weight=N if it is\n" +
      "not 1: one pool of these, without a configuration file. -t prints the file that it stands for.",
      "Signals: HUP reads the configuration again and reopens the log; TERM and INT finish what is in flight\n" +
      "and stop, the second one at once; TTIN and TTOU raise and lower the log level.",
      "Exit codes: 0 success and clean stop, 1 configuration or start-up failure, 2 wrong command line;\n" +
      "with -d also 75: after 10 s the daemon, whose process number is told, still starts, and goes on.",
    ],
  },
  {
    name: "route",
    usage: "[flags] KEY…",
    sentence: "Which server owns a key: key, pool, server name and address, between tabs.",
    flags: [
      HELP,
      ...PEER,
      flag("", "pool", "only this pool (default: a line for every pool)", "S", "a name"),
      flag("", "hex", "keys are given, and printed, in hex"),
      flag("", "ejected", "answer for a ring without these servers", "S[,S]", "names"),
      flag("", "explain", "tell each step: hash tag, hash, point, who was skipped, who answers reads"),
      JSON_LINES,
    ],
    notes: [
      "KEY - reads keys from standard input, one a line, any bytes; an empty line is the empty key.\n" +
      "Keys that begin with a dash come after --. A pool of several servers with distribution random\n" +
      "shows * as server and address: each request goes to any of them. If no server is left, - is shown.\n" +
      "In a pool of a cluster, whose nodes are asked, the key's slot stands behind the address.",
      "With --admin, or where there is no configuration file, a running proxy is asked, key by key: who is off\n" +
      "its ring now is passed over.",
      'With --json: {"key","key_hex","pool","server","address"}, and of a cluster "slot"; key is null if it is\n' +
      "not UTF-8, server and address if there is no single one.",
    ],
  },
  {
    name: "plan",
    usage: "[flags] OLD NEW",
    words: "files",
    sentence: "What moves if configuration NEW takes the place of OLD: keys, shares of servers.",
    flags: [
      HELP,
      flag("", "pool", "only this pool (default: every pool of either file)", "S", "a name"),
      flag(
        "",
        "keys",
        "count these keys, one a line (- is standard input), not the ring",
        "S",
        "a file name",
      ),
      flag("", "json", "one JSON document, in place of text"),
      flag("", "svg", "draw it into this file as well", "S", "a file name"),
    ],
    notes: [
      "Shares are exact parts of the hash space; with --keys they are exact for the keys given. A server is\n" +
      "known by its name; one whose name is new but whose address is not was renamed, and its keys did not move.",
    ],
  },
  {
    name: "compare",
    usage: "[flags] OLD NEW",
    words: "files",
    sentence: "Reads twemproxy and Ringmaster, or two of either, beside each other.",
    flags: [
      HELP,
      flag("", "pool", "only this pool (default: every pool of both files)", "S", "a name"),
      flag("", "old-at", "where OLD's proxy is (default: listen of its file)", "S", "HOST:PORT or /PATH"),
      flag("", "new-at", "where NEW's proxy is (default: listen of its file)", "S", "HOST:PORT or /PATH"),
      flag("", "direct", "read the servers that each file says, not the proxies"),
      flag("", "scan", "keys that the servers name (the default)"),
      flag("", "keys", "these keys, one a line (- is standard input), instead", "S", "a file name"),
      flag("", "hex", "keys are given in hex"),
      flag(
        "",
        "count",
        `at most so many keys a pool, 0: all (default: ${COMPARED_DEFAULT}; of --replay all)`,
        "N",
        "a number",
      ),
      flag(
        "",
        "rate",
        `at most so many keys a second (default: ${COMPARE_RATE_DEFAULT}, max: ${COMPARE_RATE_MAX})`,
        "N",
        "a number",
      ),
      flag("", "show", `keys shown of each kind of difference (default: ${SHOWN_DEFAULT})`, "N", "a number"),
      flag("", "user", "the user that proxies are told (default: none)", "S", "a name"),
      flag(
        "",
        "password-file",
        "a file with the password for proxies (default: redis_auth of the file)",
        "S",
        "a file name",
      ),
      flag("", "ca", "who signs the certificates of proxies that speak TLS", "S", "a file name"),
      flag("", "json", "one JSON document, in place of text"),
      flag("", "record", "write what a tap tells into this file, and compare nothing", "S", "a file name"),
      flag("", "replay", "ask these recorded requests again, of OLD or of both", "S", "a file name"),
      flag("", "writes", "replay requests that write, too"),
      ...PEER,
    ],
    notes: [
      "OLD and NEW are configuration files, nutcracker.yml or ringmaster.yml, or redis://HOST:PORT and\n" +
      "memcached://HOST:PORT (rediss://, memcacheds:// with TLS), whose keys --keys has to name. Only reads are\n" +
      "sent. What differs is read again before it is called a difference.",
      "--record writes what `ringmaster tap --json` tells of the proxy that -c or --admin names; --replay asks it\n" +
      "again, at --rate: only what reads, unless there is --writes.",
      "Exit codes: 0 no difference, 1 differences, 2 could not compare, or not all.",
    ],
  },
  {
    name: "reload",
    usage: "-p PIDFILE",
    sentence: "Lets a running proxy read its configuration again, and tells how that ended.",
    flags: [HELP, flag("p", "pid-file", "the pid file it was started with", "S", "a file name")],
    notes: [
      "The whole file is checked first; if it is bad, or would move more than max_moved, nothing changes and this\n" +
      "exits with 1. Clients of pools that stay keep their connections. SIGHUP does the same without the answer.",
    ],
  },
  {
    name: "top",
    usage: "[flags]",
    sentence: "What a running proxy does, every second: pools, servers, keys, clients, events.",
    flags: [
      HELP,
      ...PEER,
      flag("", "pool", "only this pool (default: all)", "S", "a name"),
      flag("", "once", "one report, and no more"),
      flag("", "json", "a JSON object a second, in place of a screen"),
    ],
    notes: [
      "Keys: 1 to 6 and Tab choose what is shown, s and S the column to sort by, r turns the order round,\n" +
      "/ filters, arrows scroll, q leaves. NO_COLOR is heeded; where there is no terminal, or TERM is dumb,\n" +
      "a report is printed every second. * marks the column that is sorted by.",
    ],
  },
  {
    name: "tap",
    usage: "[flags]",
    sentence: "Some of a running proxy's requests as they are answered, a line each.",
    flags: [
      HELP,
      ...PEER,
      flag("", "pool", "only this pool (default: all)", "S", "a name"),
      flag("", "key", "only keys like this: * is any bytes, ? one", "S", "a pattern"),
      flag("", "command", "only this command", "S", "a name"),
      flag("", "client", "only clients whose address begins so", "S", "an address"),
      flag(
        "",
        "rate",
        `at most so many a second (default: ${RATE_DEFAULT}, max: ${RATE_MAX})`,
        "N",
        "a number",
      ),
      flag("", "count", "end after so many", "N", "a number"),
      JSON_LINES,
    ],
    notes: [
      "A line: when it was answered, pool, client > server, how long it waited here + how long the server took,\n" +
      "bytes of the reply, and the request, shortened; what may be a password is hidden. What could not be\n" +
      "told is counted on standard error.",
    ],
  },
  {
    name: "health",
    usage: "[flags]",
    sentence: "Whether a running proxy is ready for clients: exit code 0 or 1, by its admin side.",
    flags: [HELP, ...PEER, flag("", "alive", "ask only whether it lives, with or without servers")],
    notes: [
      "Ready: it listens, does not stop, and every pool has a live server. A new start mends a process that is\n" +
      "not alive; servers it does not mend.",
    ],
  },
  {
    name: "upgrade",
    usage: "-p PIDFILE",
    sentence: "Lets the executable that lies there now take a running proxy's place.",
    flags: [HELP, flag("p", "pid-file", "the pid file it was started with", "S", "a file name")],
    notes: [
      "The new process gets the old one's listening sockets, so nobody is refused meanwhile; the old one\n" +
      "finishes what is in flight and ends. If the new one does not start, the old one goes on and this\n" +
      "exits with 1. SIGUSR2 does the same without the answer. Linux executables only.",
    ],
  },
  {
    name: "demo",
    usage: "[flags]",
    sentence: "Three servers and two pools, to try; says what to type next.",
    flags: [HELP, flag("", "json", "print the addresses as JSON")],
    notes: [],
  },
  {
    name: "schema",
    usage: "",
    sentence: "The JSON Schema of the configuration, for editors.",
    flags: [HELP],
    notes: [],
  },
  {
    name: "password",
    usage: "< FILE",
    sentence: "Makes a password_hash of the password that is the first line of its standard input.",
    flags: [HELP],
    notes: [
      "Salted and slow to try (scrypt). Each call makes another line of the same password; all of them are good.\n" +
      "The password is no argument, as others would see it in the list of processes.",
    ],
  },
  {
    name: "completions",
    usage: SHELLS.join("|"),
    words: SHELLS,
    sentence: "A script that lets this shell complete commands and flags.",
    flags: [HELP],
    notes: [
      "bash: source <(ringmaster completions bash)\n" +
      "zsh:  ringmaster completions zsh > _ringmaster, in a directory of $fpath\n" +
      "fish: ringmaster completions fish > ~/.config/fish/completions/ringmaster.fish",
    ],
  },
  {
    name: "man",
    usage: "",
    sentence: "The manual page: ringmaster man > ringmaster.1.",
    flags: [HELP],
    notes: [],
  },
];

/** The row of a command; "" is the proxy itself. */
export function commandOf(name: CommandName | ""): Command {
  return COMMANDS.find((command) => command.name === name)!;
}

/** The subcommand that is meant, also if what follows is wrong; null: the proxy itself. */
export function subcommandOf(argv: readonly string[]): string | null {
  return COMMANDS.find(({ name }) => name !== "" && name === argv[0])?.name ?? null;
}

/**
 * What the arguments (without program names) ask for. -h wins over everything, then -V, -D, -t, as in nutcracker.
 * @throws UsageError
 */
export function parseFlags(argv: readonly string[]): Flags {
  const command = COMMANDS.find((each) => each.name !== "" && each.name === argv[0]);
  if (command === undefined) return parseRun(argv);
  const name = command.name as CommandName;
  const given = read(command, argv.slice(1));
  if (given.has("help")) return { command: "help", topic: name };
  if (name === "route") return { command: "route", options: routeOptions(given) };
  if (name === "plan") return { command: "plan", options: planOptions(given) };
  if (name === "compare") return { command: "compare", options: compareOptions(given) };
  if (name === "completions") return { command: "completions", shell: shellOf(given) };
  refuseWords(given, command);
  if (name === "top") {
    const options = {
      ...peerOptions(given),
      pool: given.text("pool"),
      once: given.has("once"),
      json: given.has("json"),
    };
    return { command: "top", options };
  }
  if (name === "tap") {
    const options = {
      ...peerOptions(given),
      pool: given.text("pool"),
      key: given.text("key"),
      command: given.text("command"),
      client: given.text("client"),
      rate: given.number("rate", 1, RATE_MAX),
      count: given.number("count", 1, INTEGER_MAX),
      json: given.has("json"),
    };
    return { command: "tap", options };
  }
  if (name === "health") {
    return { command: "health", options: { ...peerOptions(given), alive: given.has("alive") } };
  }
  if (name === "man") return { command: "man" };
  if (name === "password") return { command: "password" };
  if (name === "reload" || name === "upgrade") {
    const pidFile = given.text("pid-file");
    if (pidFile === null) throw new UsageError(`${name}: no pid file given: -p FILE`);
    return { command: name, options: { pidFile } };
  }
  if (name === "demo") return { command: "demo", options: { json: given.has("json") } };
  return { command: "schema" };
}

function parseRun(argv: readonly string[]): Flags {
  const command = commandOf("");
  const given = read(command, argv);
  if (given.has("help")) return { command: "help", topic: null };
  if (given.has("version")) return { command: "version" };
  if (given.has("describe-stats")) return { command: "describe" };
  const config = configOf(given, command);
  const options = { ...runOptions(given), config };
  return given.has("test-conf")
    ? { command: "test", options: testOptions(options, given) }
    : { command: "run", options };
}

/** Who tests may not know where the statistics will be: only what is said is looked at. */
function testOptions(options: RunOptions, given: Given): TestOptions {
  const { confFile, config, statsAddress, statsPort, admin } = options;
  const isSaid = given.has("stats-addr") || given.has("stats-port");
  return { confFile, config, statsAddress, statsPort: isSaid ? statsPort : null, admin };
}

/** What the servers that were named stand for; null: none were. */
function configOf(given: Given, command: Command): string | null {
  const { words } = given;
  if (!words.some(isServerWord)) {
    refuseWords(given, command);
    if (!given.has("listen")) return null;
    throw new UsageError(
      "option --listen is for servers on the command line; in a file each pool has its listen",
    );
  }
  if (given.has("conf-file")) {
    throw new UsageError(
      `found a configuration file (-c) and servers (${quoted(words[0]!)}), expected one of the two`,
    );
  }
  return givenConfig(words, given.text("listen"));
}

function runOptions(given: Given): Omit<RunOptions, "config"> {
  const verbose = given.number("verbose", 0, Infinity);
  const statsPort = given.number("stats-port", 0, Infinity);
  if (statsPort !== null && (statsPort < 1 || statsPort > 65535)) {
    throw new UsageError(`option ${given.spelled("stats-port")} value ${statsPort} is not a valid port`);
  }
  given.number("stats-interval", 0, INTEGER_MAX);
  const mbufSize = given.number("mbuf-size", 0, Infinity);
  if (mbufSize === 0) throw new UsageError(`option ${given.spelled("mbuf-size")} requires a non-zero number`);
  if (mbufSize !== null && (mbufSize < 512 || mbufSize > 16777216)) {
    throw new UsageError("mbuf chunk size must be between 512 and 16777216 bytes");
  }
  const output = given.text("output");
  const logFormat = given.text("log-format");
  if (logFormat !== null && logFormat !== "text" && logFormat !== "json") {
    throw given.wrong("log-format", logFormat);
  }
  return {
    confFile: given.text("conf-file"),
    daemonize: given.has("daemonize"),
    verbose: verbose === null ? null : Math.min(verbose, VERBOSE_MAX),
    output: output === "" ? "stderr" : output,
    statsPort: statsPort ?? STATS_PORT_DEFAULT,
    statsAddress: given.text("stats-addr") ?? STATS_ADDRESS_DEFAULT,
    pidFile: given.text("pid-file"),
    workers: given.text("workers") === "auto" ? 0 : given.number("workers", 1, WORKERS_MAX),
    logFormat,
    admin: adminOf(given),
  };
}

function adminOf(given: Given): RunOptions["admin"] {
  const text = given.text("admin");
  if (text === null) return null;
  const read = readAdmin(text, "");
  if ("value" in read) return read.value;
  throw given.wrong("admin", text);
}

function peerOptions(given: Given): PeerOptions {
  const text = given.text("admin");
  const read = text === null ? null : readAdmin(text, "");
  const admin = read !== null && "value" in read ? read.value.address : null;
  if (text !== null && admin === null) throw given.wrong("admin", text);
  return {
    confFile: given.text("conf-file"),
    admin,
    tokenFile: given.text("token-file"),
    caFile: given.text("ca-file"),
    certFile: given.text("cert-file"),
    keyFile: given.text("key-file"),
  };
}

function shellOf(given: Given): Shell {
  const [word, extra] = given.words;
  const shell = SHELLS.find((each) => each === word);
  if (shell !== undefined && extra === undefined) return shell;
  throw new UsageError(
    `completions: found ${quoted(given.words.join(" "))}, expected one of ${SHELLS.join(", ")}`,
  );
}

function routeOptions(given: Given): RouteOptions {
  if (given.words.length === 0) throw new UsageError("route: no KEY given; - reads keys from standard input");
  return {
    ...peerOptions(given),
    pool: given.text("pool"),
    hex: given.has("hex"),
    json: given.has("json"),
    explain: given.has("explain"),
    ejected: (given.text("ejected") ?? "").split(",").filter((name) => name !== ""),
    keys: given.words,
  };
}

function planOptions(given: Given): PlanOptions {
  const [before, after, extra] = given.words;
  if (before === undefined || after === undefined || extra !== undefined) {
    throw new UsageError(`plan: found ${wordsIn(given.words)}, expected two files: OLD NEW`);
  }
  return {
    before,
    after,
    pool: given.text("pool"),
    keys: given.text("keys"),
    json: given.has("json"),
    svg: given.text("svg"),
  };
}

function compareOptions(given: Given): CompareOptions {
  const { words } = given;
  const [record, replay] = [given.text("record"), given.text("replay")];
  if (record !== null && (replay !== null || words.length > 0)) {
    throw new UsageError("compare: --record takes no words, and no --replay");
  }
  if (replay !== null && (words.length < 1 || words.length > 2)) {
    throw new UsageError(`compare: found ${wordsIn(words)}, expected OLD, or OLD NEW, to replay against`);
  }
  if (given.has("writes") && replay === null) throw new UsageError("compare: --writes is for --replay");
  if (record === null && replay === null && words.length !== 2) {
    throw new UsageError(`compare: found ${wordsIn(words)}, expected two files or addresses: OLD NEW`);
  }
  if (given.has("scan") && given.has("keys")) {
    throw new UsageError("compare: found --scan and --keys, expected one of them");
  }
  // A recording is short already.
  const count = given.number("count", 0, INTEGER_MAX) ?? (replay === null ? COMPARED_DEFAULT : 0);
  const addressOf = (flag: string) => {
    const text = given.text(flag);
    if (text === null) return null;
    const read = readListen(text);
    if ("value" in read) return read.value.address;
    throw given.wrong(flag, text);
  };
  return {
    ...peerOptions(given),
    sides: words,
    pool: given.text("pool"),
    at: [addressOf("old-at"), addressOf("new-at")],
    direct: given.has("direct"),
    keys: given.text("keys"),
    hex: given.has("hex"),
    count: count === 0 ? Infinity : count,
    perSecond: given.number("rate", 1, COMPARE_RATE_MAX) ?? COMPARE_RATE_DEFAULT,
    show: given.number("show", 0, INTEGER_MAX) ?? SHOWN_DEFAULT,
    user: given.text("user"),
    passwordFile: given.text("password-file"),
    ca: given.text("ca"),
    json: given.has("json"),
    record,
    replay,
    writes: given.has("writes"),
  };
}

function wordsIn({ length }: readonly string[]): string {
  return length === 1 ? "1 word" : `${length} words`;
}

function refuseWords(given: Given, command: Command): void {
  const word = given.words[0];
  if (word === undefined) return;
  const meant = COMMANDS.some((each) => each.name !== "" && each.name === word);
  const hint = command.name !== ""
    ? `${command.name} takes no words`
    : meant
    ? `the command comes first: ringmaster ${word} …`
    : /\/|\.(ya?ml|conf)$/.test(word)
    ? "a configuration file stands behind -c: -c FILE"
    : `expected a flag, a server such as redis://HOST, or one of ${
      COMMANDS.filter((each) => each.name !== "").map((each) => each.name).join(", ")
    }`;
  throw new UsageError(`unknown word ${quoted(word)}; ${hint}`);
}

/** The flags that were given, by long name; the last of each counts. */
class Given {
  readonly words: string[] = [];
  readonly #values = new Map<string, { readonly spelled: string; readonly text: string }>();
  readonly #flags: readonly Flag[];

  constructor(flags: readonly Flag[]) {
    this.#flags = flags;
  }

  set(name: string, spelled: string, text: string): void {
    this.#values.set(name, { spelled, text });
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  text(name: string): string | null {
    return this.#values.get(name)?.text ?? null;
  }

  /** How the user wrote the flag: -s or --stats-port. */
  spelled(name: string): string {
    return this.#values.get(name)?.spelled ?? `--${name}`;
  }

  /** null if the flag was not given. */
  number(name: string, min: number, max: number): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : -1;
    if (number < min || number > max) throw this.wrong(name, text, number < 0 ? "" : ` (${min} to ${max})`);
    return number;
  }

  /** @param range behind what it requires: which numbers */
  wrong(name: string, text: string, range = ""): UsageError {
    const requires = this.#flags.find((each) => each.long === name)!.requires;
    return new UsageError(`option ${this.spelled(name)} requires ${requires}${range}, found ${quoted(text)}`);
  }
}

/** As getopt_long reads them: what follows a flag that wants a value is its value, whatever it looks like. */
function read(command: Command, argv: readonly string[]): Given {
  const { flags } = command;
  const given = new Given(flags);
  let at = 0;
  /** @param text what stands with it in the same argument; undefined: nothing */
  const take = (flag: Flag, spelled: string, text: string | undefined): void => {
    if (flag.value === "") {
      if (text !== undefined) {
        throw new UsageError(`option ${spelled} takes no value, found ${quoted(text)}`);
      }
      return given.set(flag.long, spelled, "");
    }
    const value = text ?? argv[at++];
    if (value === undefined) throw new UsageError(`option ${spelled} requires ${flag.requires}`);
    given.set(flag.long, spelled, value);
  };
  while (at < argv.length) {
    const arg = argv[at++]!;
    if (arg === "--") {
      given.words.push(...argv.slice(at));
      break;
    }
    if (arg.startsWith("--")) {
      const sign = arg.indexOf("=", 3);
      const flag = longFlag(flags, sign < 0 ? arg.slice(2) : arg.slice(2, sign));
      take(flag, `--${flag.long}`, sign < 0 ? undefined : arg.slice(sign + 1));
    } else if (arg.length > 1 && arg.startsWith("-")) {
      for (let i = 1; i < arg.length; i++) {
        const flag = flags.find((each) => each.short !== "" && each.short === arg[i]);
        if (flag === undefined) throw new UsageError(unknownFlag(`-${arg[i]}`, flags));
        const last = flag.value !== "";
        take(flag, `-${flag.short}`, last && i + 1 < arg.length ? arg.slice(i + 1) : undefined);
        if (last) break;
      }
    } else given.words.push(arg);
  }
  return given;
}

/** The flag of that name, which may be cut short if it means no other then. */
function longFlag(flags: readonly Flag[], name: string): Flag {
  const near = flags.filter((each) => each.long.startsWith(name));
  const found = flags.find((each) => each.long === name) ?? (near.length === 1 ? near[0] : undefined);
  if (found !== undefined) return found;
  if (near.length > 1) {
    throw new UsageError(`option --${name} is ambiguous: ${near.map((each) => `--${each.long}`).join(", ")}`);
  }
  throw new UsageError(unknownFlag(`--${name}`, flags));
}

function unknownFlag(rawName: string, flags: readonly Flag[]): string {
  if (!rawName.startsWith("--")) return `invalid option -- '${rawName.slice(1)}'`;
  const name = rawName.slice(2);
  const near = flags.find((each) => each.long.startsWith(name.slice(0, 4)));
  return `invalid option ${rawName}${near === undefined ? "" : `; perhaps --${near.long}`}`;
}
