/** The command line: flags and their quirks, help and schema from their tables, -t, and routing against nutcracker's placement. */
import { SystemClock } from "../../src/runtime/clock.ts";
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONF_FILES, ConfSource, findConfFile, sourceOf } from "../../src/cli/conf_file.ts";
import { testConf } from "../../src/cli/test_conf.ts";
import {
  COMMANDS,
  type Flags,
  parseFlags,
  type RunOptions,
  subcommandOf,
  type TestOptions,
} from "../../src/cli/flags.ts";
import { givenConfig } from "../../src/cli/given_servers.ts";
import { helpText, statsText, versionText } from "../../src/cli/help.ts";
import type { Io } from "../../src/cli/io.ts";
import { plan } from "../../src/cli/plan.ts";
import { route } from "../../src/cli/route.ts";
import { jsonSchema, schema } from "../../src/cli/schema.ts";
import { UsageError, usageText } from "../../src/cli/usage_error.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { KEYS, POOL_KEYS } from "../../src/config/schema.ts";
import { POOL_METRICS, SERVER_METRICS } from "../../src/stats/metrics.ts";
import type { SourceAround } from "../../src/topology/sources.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { certificate } from "../lib/certificates.ts";
import PLACEMENT from "../vectors/placement.json" with { type: "json" };

const DEFAULTS: RunOptions = {
  confFile: null,
  config: null,
  daemonize: false,
  verbose: null,
  output: null,
  statsPort: 22222,
  statsAddress: "0.0.0.0",
  pidFile: null,
  workers: null,
  logFormat: null,
  admin: null,
};

/** -t with no other flags. */
const TESTED: TestOptions = {
  confFile: null,
  config: null,
  statsAddress: "0.0.0.0",
  statsPort: null,
  admin: null,
};

/** Arguments and what they change of the defaults. */
const RUNS: readonly (readonly [string, Partial<RunOptions>])[] = [
  ["", {}],
  ["-c a.yml", { confFile: "a.yml" }],
  ["-ca.yml", { confFile: "a.yml" }],
  ["--conf-file a.yml", { confFile: "a.yml" }],
  ["--conf-file=a.yml", { confFile: "a.yml" }],
  ["--conf=a.yml", { confFile: "a.yml" }],
  ["--c a.yml", { confFile: "a.yml" }],
  ["-c a -c b", { confFile: "b" }],
  ["-c -t", { confFile: "-t" }],
  ["-d", { daemonize: true }],
  ["--daemonize", { daemonize: true }],
  ["-v 7", { verbose: 7 }],
  ["-v7", { verbose: 7 }],
  ["-dv7", { daemonize: true, verbose: 7 }],
  ["-dv 7", { daemonize: true, verbose: 7 }],
  ["-v 99", { verbose: 11 }],
  ["--verbose=0", { verbose: 0 }],
  ["-o log", { output: "log" }],
  ["--output=", { output: "stderr" }],
  ["-s 1 -a 127.0.0.1", { statsPort: 1, statsAddress: "127.0.0.1" }],
  ["--stats-p=65535 --stats-a ::1", { statsPort: 65535, statsAddress: "::1" }],
  ["-i 200", {}],
  ["-i 0", {}],
  ["-p /run/rm.pid", { pidFile: "/run/rm.pid" }],
  ["-m 512", {}],
  ["--mbuf-size=16777216", {}],
  ["--workers 4", { workers: 4 }],
  ["--workers=auto", { workers: 0 }],
  ["--log-format json", { logFormat: "json" }],
  ["--admin=off", { admin: { address: null, text: "off" } }],
  ["redis://a", { config: givenConfig(["redis://a"], null) }],
  ["redis://a -v7 redis://b --listen :7", {
    config: givenConfig(["redis://a", "redis://b"], ":7"),
    verbose: 7,
  }],
  ["--admin localhost:80", { admin: { address: { host: "localhost", port: 80 }, text: "localhost:80" } }],
];

for (const [text, changes] of RUNS) {
  Deno.test(`parseFlags() reads ${JSON.stringify(text)}`, () => {
    const argv = text === "" ? [] : text.split(" ");
    assert.deepEqual(parseFlags(argv), { command: "run", options: { ...DEFAULTS, ...changes } });
  });
}

Deno.test('parseFlags() takes -o "" for standard error, as nutcracker does', () => {
  assert.deepEqual(parseFlags(["-o", ""]), { command: "run", options: { ...DEFAULTS, output: "stderr" } });
});

const PLAN = { before: "a.yml", after: "b.yml", pool: null, keys: null, json: false, svg: null };
const NO_TLS = { caFile: null, certFile: null, keyFile: null };

const PEER = { confFile: null, admin: null, tokenFile: null, ...NO_TLS };

const ROUTE = { ...PEER, pool: null, hex: false, json: false, explain: false, ejected: [] };

const OTHERS: readonly (readonly [string, Flags])[] = [
  ["-h", { command: "help", topic: null }],
  ["--help -V -t", { command: "help", topic: null }],
  ["-V", { command: "version" }],
  ["-tV", { command: "version" }],
  ["-D", { command: "describe" }],
  ["-t", { command: "test", options: TESTED }],
  ["-t redis://a", { command: "test", options: { ...TESTED, config: givenConfig(["redis://a"], null) } }],
  ["-t -c x", { command: "test", options: { ...TESTED, confFile: "x" } }],
  ["-t -s 7", { command: "test", options: { ...TESTED, statsPort: 7 } }],
  ["-t -a h", { command: "test", options: { ...TESTED, statsAddress: "h", statsPort: 22222 } }],
  ["route --help", { command: "help", topic: "route" }],
  ["route a", { command: "route", options: { ...ROUTE, keys: ["a"] } }],
  ["route -c f --pool p --hex --json --ejected a,b -- - -x", {
    command: "route",
    options: {
      ...PEER,
      confFile: "f",
      pool: "p",
      hex: true,
      json: true,
      explain: false,
      ejected: ["a", "b"],
      keys: ["-", "-x"],
    },
  }],
  ["reload -p x", { command: "reload", options: { pidFile: "x" } }],
  ["plan a.yml b.yml", { command: "plan", options: PLAN }],
  ["plan --pool p --keys - --json --svg x.svg a.yml b.yml", {
    command: "plan",
    options: { ...PLAN, pool: "p", keys: "-", json: true, svg: "x.svg" },
  }],
  ["route -", { command: "route", options: { ...ROUTE, keys: ["-"] } }],
  ["demo", { command: "demo", options: { json: false } }],
  ["demo --json", { command: "demo", options: { json: true } }],
  ["schema", { command: "schema" }],
  ["health", {
    command: "health",
    options: { confFile: null, admin: null, tokenFile: null, ...NO_TLS, alive: false },
  }],
  ["health --alive", {
    command: "health",
    options: { confFile: null, admin: null, tokenFile: null, ...NO_TLS, alive: true },
  }],
  ["health -c f --admin h:1 --token-file t", {
    command: "health",
    options: { confFile: "f", admin: { host: "h", port: 1 }, tokenFile: "t", ...NO_TLS, alive: false },
  }],
  ["health --ca-file a --cert-file c --key-file k", {
    command: "health",
    options: {
      confFile: null,
      admin: null,
      tokenFile: null,
      caFile: "a",
      certFile: "c",
      keyFile: "k",
      alive: false,
    },
  }],
  ["top --once --pool p", {
    command: "top",
    options: { confFile: null, admin: null, tokenFile: null, ...NO_TLS, pool: "p", once: true, json: false },
  }],
  ["tap --key a* --rate 5 --count 1 --json", {
    command: "tap",
    options: {
      confFile: null,
      admin: null,
      tokenFile: null,
      ...NO_TLS,
      pool: null,
      key: "a*",
      command: null,
      client: null,
      rate: 5,
      count: 1,
      json: true,
    },
  }],
  ["completions zsh", { command: "completions", shell: "zsh" }],
  ["man", { command: "man" }],
  ["schema -h", { command: "help", topic: "schema" }],
];

for (const [text, expected] of OTHERS) {
  Deno.test(`parseFlags() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseFlags(text.split(" ")), expected);
  });
}

Deno.test("parseFlags() takes an empty key", () => {
  assert.deepEqual(parseFlags(["route", ""]), { command: "route", options: { ...ROUTE, keys: [""] } });
});

const ERRORS: readonly (readonly [string, RegExp])[] = [
  ["-x", /^invalid option -- 'x'$/],
  ["-?", /^invalid option -- '\?'$/],
  ["--foo", /^invalid option --foo$/],
  ["--statistics", /^invalid option --statistics; perhaps --stats-port$/],
  ["--stats 1", /^option --stats is ambiguous: --stats-port, --stats-addr, --stats-interval$/],
  ["-s", /^option -s requires a number$/],
  ["-s abc", /^option -s requires a number, found "abc"$/],
  ["-s 0", /^option -s value 0 is not a valid port$/],
  ["-s 65536", /^option -s value 65536 is not a valid port$/],
  ["-v -1", /^option -v requires a number, found "-1"$/],
  ["-v abc", /^option -v requires a number, found "abc"$/],
  ["--verbose", /^option --verbose requires a number$/],
  ["-i x", /^option -i requires a number/],
  ["-m 0", /^option -m requires a non-zero number$/],
  ["-m 511", /^mbuf chunk size must be between 512 and 16777216 bytes$/],
  ["-m 16777217", /^mbuf chunk size must be between/],
  ["-c", /^option -c requires a file name$/],
  ["-o", /^option -o requires a file name$/],
  ["-p", /^option -p requires a file name$/],
  ["-a", /^option -a requires a string$/],
  ["--daemonize=yes", /^option --daemonize takes no value, found "yes"$/],
  ["--workers 0", /^option --workers requires a number.* \(1 to 256\), found "0"$/],
  ["--workers 257", /^option --workers requires a number.* \(1 to 256\), found "257"$/],
  ["tap --rate 5000", /^option --rate requires a number \(1 to 1000\), found "5000"$/],
  ["-t /etc/nutcracker/nutcracker.yml", /; a configuration file stands behind -c: -c FILE$/],
  ["nutcracker.yml", /; a configuration file stands behind -c: -c FILE$/],
  ["--log-format xml", /^option --log-format requires text or json, found "xml"$/],
  ["--admin 127.0.0.1", /^option --admin requires HOST:PORT or off, found "127.0.0.1"$/],
  [
    "foo",
    /^unknown word "foo"; expected a flag, a server such as redis:\/\/HOST, or one of route, plan, [a-z, ]*, man$/,
  ],
  ["completions", /^completions: found "", expected one of bash, zsh, fish$/],
  ["completions bash zsh", /^completions: found "bash zsh"/],
  ["health --admin off", /^option --admin requires HOST:PORT, found "off"$/],
  ["health now", /^unknown word "now"; health takes no words$/],
  ["-d route a", /^unknown word "route"; the command comes first: ringmaster route …$/],
  ["route", /^route: no KEY given/],
  ["route --hx a", /^invalid option --hx/],
  ["reload", /^reload: no pid file given: -p FILE$/],
  ["plan a.yml", /^plan: found 1 word, expected two files: OLD NEW$/],
  ["plan a b c", /^plan: found 3 words, expected two files: OLD NEW$/],
  ["redis://a x", /^server "x": expected redis:/],
  [
    "redis://a memcached://b",
    /^servers "redis:\/\/a" and "memcached:\/\/b": expected one kind; several pools/,
  ],
  ["redis://me:secret@a", /^server redis:\/\/…@a: a password belongs into a configuration file, redis_auth$/],
  ["redis://me:sec/ret@a", /^server "redis:\/\/…@a": expected/],
  ["redis://a:0", /port 0, expected 1 to 65535$/],
  ["redis://a/3", /found "\/3" behind the address, expected nothing/],
  ["redis://a?weight=0", /weight 0, expected 1 to 1000$/],
  ["redis://a redis://a:6379", /^servers "redis:\/\/a" and "redis:\/\/a:6379" are one: expected each once/],
  ["redis://[::1] redis://[::1]", /are one: expected each once; \?weight=2/],
  ["redis://a --listen redis://:7", /^option --listen requires HOST:PORT, :PORT or a path, found "redis:/],
  ["redis://a --listen b:redis", /^option --listen requires HOST:PORT, :PORT or a path/],
  ["redis://a?wait=1", /^server "redis:\/\/a\?wait=1": expected/],
  ["constructor://a", /^server "constructor:\/\/a": expected/],
  [
    "-c f redis://a",
    /^found a configuration file \(-c\) and servers \("redis:\/\/a"\), expected one of the two$/,
  ],
  ["--listen :1", /^option --listen is for servers on the command line/],
  ['redis://a --listen "', /^option --listen requires HOST:PORT, :PORT or a path/],
  ["schema x", /^unknown word "x"; schema takes no words$/],
];

for (const [text, expected] of ERRORS) {
  Deno.test(`parseFlags() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseFlags(text.split(" ")), (error: unknown) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, expected);
      const asked = subcommandOf(text.split(" "));
      const help = `\nringmaster ${asked === null ? "" : `${asked} `}--help shows what there is.\n`;
      assert.equal(usageText(error.message, asked), `ringmaster: ${error.message}${help}`);
      return true;
    });
  });
}

Deno.test("helpText() names every command and every flag, and fits a terminal", () => {
  for (const command of COMMANDS) {
    const text = helpText(command.name === "" ? null : command.name);
    for (const flag of command.flags) assert.ok(text.includes(`--${flag.long}`), flag.long);
    for (const line of text.split("\n")) assert.ok(line.length <= 110, line);
    if (command.name !== "") assert.ok(helpText(null).includes(`  ${command.name} `));
  }
});

Deno.test("helpText() has all flags of nutcracker", () => {
  const text = helpText(null);
  for (const short of "hVtdDvocsaipm") assert.match(text, new RegExp(`^  -${short}, --`, "m"));
});

Deno.test("statsText() names every statistic; versionText() says what runs", () => {
  for (const metric of [...POOL_METRICS, ...SERVER_METRICS]) {
    assert.ok(statsText().includes(metric.name.padEnd(20) + `"${metric.description}"`), metric.name);
  }
  assert.equal(versionText("1.2.3", "deno 2.9.6"), "This is ringmaster-1.2.3\ndeno 2.9.6\n");
});

/** An Io that keeps what it is given. */
class Recorder implements Io {
  errors = "";
  #pieces: Uint8Array[] = [];
  #input: Uint8Array;

  constructor(input: string | Uint8Array = "") {
    this.#input = typeof input === "string" ? new TextEncoder().encode(input) : input;
  }

  out(data: string | Uint8Array): void {
    this.#pieces.push(typeof data === "string" ? new TextEncoder().encode(data) : data);
  }

  err(text: string): void {
    this.errors += text;
  }

  stdin(): Uint8Array {
    return this.#input;
  }

  /** All output, one character a byte. */
  get latin1(): string {
    return this.#pieces.map((piece) => new TextDecoder("latin1").decode(piece)).join("");
  }

  get text(): string {
    const bytes = Uint8Array.from(this.#pieces.flatMap((piece) => [...piece]));
    return new TextDecoder().decode(bytes);
  }
}

/** Whose sources are never asked. */
const CLOCK = new SimClock();
const AROUND: SourceAround = {
  net: new SimNet(CLOCK, new Random(1)),
  clock: CLOCK,
  random: () => 0.5,
  dns: {
    addresses: () => Promise.reject(new Error("asked")),
    services: () => Promise.reject(new Error("asked")),
  },
};

/** Runs with a configuration file of the text. */
async function withFile<T>(text: string, use: (file: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  try {
    const file = join(folder, "x.yml");
    writeFileSync(file, text);
    return await use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const TWO_POOLS = `
beta:
  listen: 127.0.0.1:1
  servers: [ h:1:1 one, h:2:1 two ]
alpha:
  listen: 127.0.0.1:2
  distribution: random
  servers: [ h:1:1, /run/x.sock:1 ]
solo:
  listen: 127.0.0.1:3
  distribution: random
  servers: [ h:11211:1 ]
`;

interface Outcome {
  readonly code: number;
  readonly io: Recorder;
}

function run(yaml: string, args: string[], input: string | Uint8Array = ""): Promise<Outcome> {
  return withFile(yaml, async (file) => {
    const io = new Recorder(input);
    const flags = parseFlags(["route", "-c", file, ...args]);
    assert.equal(flags.command, "route");
    return { code: flags.command === "route" ? await route(flags.options, AROUND, io) : -1, io };
  });
}

for (const config of PLACEMENT.configs) {
  Deno.test(`route() places keys as nutcracker: ${config.id}`, async () => {
    const ejected = (config as { ejected?: number[] }).ejected ?? [];
    const names = ejected.map((index) => config.servers[index]!.hashed_name);
    const args = names.length === 0 ? [] : ["--ejected", names.join(",")];
    const { code, io } = await run(
      config.yaml,
      ["--hex", ...args, "-"],
      PLACEMENT.keys_hex.join("\n") + "\n",
    );
    assert.equal(code, 0, io.errors);
    const expected = PLACEMENT.keys_hex.map((key, i) => {
      const server = config.servers[config.placement[i]!]!;
      return `${key}\tp\t${server.hashed_name}\t${server.address.replace(/:[0-9]+$/, "")}\n`;
    });
    assert.equal(io.text, expected.join(""));
  });
}

Deno.test("route() prints keys of arguments and of standard input, whatever their bytes", async () => {
  const { code, io } = await run(
    TWO_POOLS,
    ["--pool", "solo", "a\tb", "-", ""],
    Uint8Array.of(255, 0, 13, 10, 10, 98),
  );
  assert.equal(code, 0);
  const end = "\tsolo\th\th:11211\n";
  assert.equal(io.latin1, `a\tb${end}\xff\0\r${end}${end}b${end}${end}`);
});

Deno.test("route() answers for every pool, in their order, and shows * where any server may be meant", async () => {
  const { code, io } = await run(TWO_POOLS, ["foo"]);
  assert.equal(code, 0);
  const lines = io.text.split("\n");
  assert.match(lines[0]!, /^foo\tbeta\t(one\th:1|two\th:2)$/);
  assert.deepEqual(lines.slice(1), ["foo\tsolo\th\th:11211", "foo\talpha\t*\t*", ""]);
});

Deno.test("route() with --ejected uses the servers that are left, or says that there are none", async () => {
  assert.equal(
    (await run(TWO_POOLS, ["--pool", "beta", "--ejected", "one", "k"])).io.text,
    "k\tbeta\ttwo\th:2\n",
  );
  assert.equal(
    (await run(TWO_POOLS, ["--pool", "beta", "--ejected", "one,two", "k"])).io.text,
    "k\tbeta\t-\t-\n",
  );
  assert.equal(
    (await run(TWO_POOLS, ["--pool", "alpha", "--ejected", "h:1", "k"])).io.text,
    "k\talpha\t*\t*\n",
  );
});

Deno.test("route() with --json prints an object a line", async () => {
  const { io } = await run(TWO_POOLS, ["--json", "--hex", "6BC3A9", "ff", ""]);
  const rows = io.text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(rows.length, 9);
  assert.equal(rows[0].pool, "beta");
  assert.equal(rows[0].key, "ké");
  assert.equal(rows[0].key_hex, "6bc3a9");
  assert.deepEqual(rows[1], { key: "ké", key_hex: "6bc3a9", pool: "solo", server: "h", address: "h:11211" });
  assert.deepEqual(rows[5], { key: null, key_hex: "ff", pool: "alpha", server: null, address: null });
  assert.deepEqual(rows[7], { key: "", key_hex: "", pool: "solo", server: "h", address: "h:11211" });
});

Deno.test("route() names servers that sentinels know by their master", async () => {
  const yaml = "p:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: [h:1]\n" +
    "  servers: [{name: a, master: m1}]\n";
  const { io } = await run(yaml, ["k"]);
  assert.equal(io.text, "k\tp\ta\tmaster m1\n");
});

const ROUTE_ERRORS: readonly (readonly [string, string[], string, number, RegExp])[] = [
  [
    "an unknown pool",
    ["--pool", "gamma", "k"],
    "",
    2,
    /--pool: found "gamma", expected one of beta, solo, alpha\n$/,
  ],
  [
    "an unknown server",
    ["--ejected", "three", "k"],
    "",
    2,
    /--ejected: found "three", expected names of servers: one, two, /,
  ],
  ["a key that is no hex", ["--hex", "6g"], "", 2, /KEY: found "6g", expected pairs of hex digits/],
  ["half a byte", ["--hex", "6"], "", 2, /KEY: found "6", expected pairs/],
  ["a line that is no hex", ["--hex", "-"], "61\n\nzz\n", 2, /line 3 of standard input: found "zz"/],
];

for (const [name, args, input, code, expected] of ROUTE_ERRORS) {
  Deno.test(`route() refuses ${name}`, async () => {
    const outcome = await run(TWO_POOLS, args, input);
    assert.equal(outcome.code, code);
    assert.match(outcome.io.errors, expected);
  });
}

Deno.test("route() tells what is wrong with the file", async () => {
  const { code, io } = await run("p: 1\n", ["k"]);
  assert.equal(code, 1);
  assert.match(io.errors, /x\.yml:1:4: p: found "1", expected a pool/);
});

Deno.test("route() hands over many lines in few pieces", async () => {
  let pieces = 0;
  const io = new Recorder("key\n".repeat(20_000));
  const counting: Io = { out: () => pieces++, err: (text) => io.err(text), stdin: () => io.stdin() };
  await withFile(
    TWO_POOLS,
    async (confFile) =>
      assert.equal(await route({ ...ROUTE, confFile, keys: ["-"] }, AROUND, counting), 0, io.errors),
  );
  assert.ok(pieces > 1 && pieces < 100, `${pieces} pieces`);
});

/** Plans from TWO_POOLS to `after`; the words FILE and SVG among the arguments are files in a folder of their own. */
function planned(after: string, args: string[], keys = ""): Promise<Outcome & { svg: string }> {
  return withFile(TWO_POOLS, async (before) => {
    const [next, file, svg] = ["new.yml", "keys", "x.svg"].map((name) => join(before, "..", name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(next, after);
    writeFileSync(file, keys);
    writeFileSync(svg, "");
    const io = new Recorder();
    const words = args.map((word) => word.replace("FILE", file).replace("SVG", svg));
    const flags = parseFlags(["plan", ...words, before, next]);
    assert.equal(flags.command, "plan");
    const code = flags.command === "plan" ? await plan(flags.options, AROUND, io) : -1;
    return { code, io, svg: readFileSync(svg, "utf8") };
  });
}

const THIRD = TWO_POOLS.replace("h:2:1 two ]", "h:2:1 two, h:3:2 three ]")
  .replace(/solo:[^]*$/, "more:\n  listen: 127.0.0.1:4\n  servers: [ h:1:1 ]\n");

Deno.test("plan() tells of every pool: changed, drawn, added and removed", async () => {
  const { code, io } = await planned(THIRD, []);
  assert.equal(code, 0, io.errors);
  assert.match(io.text, /^pool beta: [0-9.]+ % of all keys move\n +server +before +after\n +one /m);
  assert.match(io.text, /^ +three +h:3 +- +[0-9.]+ %$/m);
  assert.match(io.text, /^ +one +three +[0-9.]+ %$/m);
  assert.match(io.text, /^pool alpha: what moves cannot be told: with distribution random/m);
  assert.match(io.text, /^pool more: added, one server$/m);
  assert.match(io.text, /^pool solo: removed, one server$/m);
});

Deno.test("plan() with --json prints one document, and --svg draws one", async () => {
  const { code, io, svg } = await planned(THIRD, ["--json", "--pool", "beta", "--svg", "SVG"]);
  assert.equal(code, 0, io.errors);
  const { pools } = JSON.parse(io.text);
  assert.deepEqual([pools.length, pools[0].name, pools[0].basis], [1, "beta", "ring"]);
  const sum = pools[0].moves.reduce((all: number, move: { share: number }) => all + move.share, 0);
  assert.ok(Math.abs(sum - pools[0].moved) < 1e-9);
  assert.match(svg, /^<svg .*pool beta: [0-9.]+ % of the keys move.*<\/svg>\n$/s);
});

Deno.test("plan() with --keys counts lines, however long the file and whatever its last line", async () => {
  const keys = Array.from({ length: 50_000 }, (_, k) => `key:${k}`).join("\n");
  const { code, io } = await planned(THIRD, ["--keys", "FILE", "--json", "--pool=beta"], keys);
  assert.equal(code, 0, io.errors);
  const [{ basis, keys: count, moved }] = JSON.parse(io.text).pools;
  assert.deepEqual([basis, count], ["keys", 50_000]);
  assert.ok(moved > 0.4 && moved < 0.6, `${moved}`);
});

Deno.test("plan() refuses what it cannot read or write, with the place", async () => {
  const cases: [string[], string, number, RegExp][] = [
    [
      ["--pool", "x"],
      THIRD,
      2,
      /^ringmaster plan: option --pool: found "x", expected one of beta, more, alpha, solo$/m,
    ],
    [[], "p: 1\n", 1, /new\.yml:1:4: p: found "1", expected a pool/],
    [["--keys", "FILE/no"], THIRD, 1, /^option --keys: found no file at .*, expected a file/],
    [["--svg", "FILE/no"], THIRD, 1, /^option --svg: found no folder for it at .*, expected a file/],
  ];
  for (const [args, after, code, expected] of cases) {
    const outcome = await planned(after, args);
    assert.equal(outcome.code, code);
    assert.match(outcome.io.errors, expected);
  }
  const long = await planned(THIRD, ["--keys", "FILE"], "a\n" + "x".repeat(2_000_000));
  assert.equal(long.code, 1);
  assert.match(long.io.errors, /keys:2: found a line of more than 1048576 bytes, expected a key a line/);
});

const here = { clock: new SystemClock(), net: new SimNet(new SimClock(), new Random(1)) };

Deno.test("givenConfig() writes what servers of the command line stand for", () => {
  const read = (words: string, listen: string | null = null) =>
    parseConfig(givenConfig(words.split(" "), listen), "words");
  const [pool, ...others] = read("redis://a redis://b:6380?weight=3 redis://[::1]/0").pools;
  assert.equal(others.length, 0);
  assert.deepEqual([pool!.name, pool!.redis, pool!.listen], ["redis", true, {
    host: "127.0.0.1",
    port: 22121,
  }]);
  assert.deepEqual(pool!.servers.map(({ address, weight }) => [address, weight]), [
    [{ host: "a", port: 6379 }, 1],
    [{ host: "b", port: 6380 }, 3],
    [{ host: "::1", port: 6379 }, 1],
  ]);
  assert.deepEqual(read("memcached://m", ":11211").pools[0]!.listen, { host: "0.0.0.0", port: 11211 });
  assert.deepEqual(read("memcached://m", "[::1]:1").pools[0]!.listen, { host: "::1", port: 1 });
  const [cache] = read("memcached://m", "/run/m.sock").pools;
  assert.deepEqual([cache!.name, cache!.redis, cache!.listen], ["memcached", false, {
    path: "/run/m.sock",
  }]);
  assert.equal(cache!.servers[0]!.name, "m");
  assert.notEqual(read("rediss://a").pools[0]!.serverTls, null);
  for (const every of [":7", "7", "*:7"]) {
    assert.deepEqual(read("redis://a", every).pools[0]!.listen, { host: "0.0.0.0", port: 7 }, every);
  }
});

Deno.test("testConf() prints the file that servers of the command line stand for, and says what is wrong with --listen", async () => {
  const io = new Recorder();
  const source = sourceOf({ confFile: null, config: givenConfig(["redis://a"], null) });
  assert.equal(await testConf(source, io, here, TESTED), 0);
  assert.equal(io.text, source.text());
  assert.equal(parseConfig(io.text, "f").pools[0]!.servers[0]!.name, "a:6379");
  const wrong = sourceOf({ confFile: null, config: givenConfig(["redis://a"], "nowhere") });
  assert.equal(await testConf(wrong, io, here, TESTED), 1);
  assert.match(
    io.errors,
    /listen: found "nowhere", expected HOST:PORT[^]*these servers and this --listen make no pool/,
  );
});

Deno.test("testConf() refuses one address for two, as run does: the admin side of the file or of a flag, statistics that are asked for", async () => {
  const pools = "p:\n  listen: 127.0.0.1:7\n  servers: [ h:1:1 ]\n";
  const said = (process: string, changes: Partial<TestOptions>) => {
    return withFile(`${process}${pools}`, async (file) => {
      const io = new Recorder();
      const code = await testConf(ConfSource.file(file), io, here, { ...TESTED, ...changes });
      assert.equal(code, / syntax is ok/.test(io.errors) ? 0 : 1);
      return io.errors;
    });
  };
  const admin = { address: { host: "localhost", port: 7 }, text: "localhost:7" };
  assert.match(
    await said("ringmaster: { admin: 127.0.0.1:7 }\n", {}),
    /^ringmaster: cannot start: admin 127\.0\.0\.1:7 and listen "127\.0\.0\.1:7" of pool "p" \(.*:3\) are one address;/,
  );
  assert.match(await said("", { admin }), /admin localhost:7 and listen/);
  assert.match(
    await said("", { statsPort: 7 }),
    /the statistics address 0\.0\.0\.0:7 \(-a and -s\) and listen/,
  );
  const open = { address: { host: "0.0.0.0", port: 8 }, text: "0.0.0.0:8" };
  assert.match(await said("", { admin: open }), /admin 0\.0\.0\.0:8 without a token/);
  assert.match(
    await said("ringmaster: { admin: 127.0.0.1:7 }\n", { admin: { address: null, text: "off" } }),
    / ok/,
  );
  assert.match(await said("", { statsPort: 8 }), / ok/);
});

Deno.test("testConf() refuses TLS where run does: with sockets that have none", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringmaster-tls-"));
  const { cert, key } = certificate({ name: "one.test" });
  writeFileSync(join(dir, "one.crt"), cert);
  writeFileSync(join(dir, "one.key"), key);
  const pools = "p:\n  listen: 127.0.0.1:1\n  servers: [ h:1:1 ]\n  ";
  for (const said of [`tls: { certificate: ${dir}/one.crt, key: ${dir}/one.key }`, "server_tls: {}"]) {
    await withFile(`${pools}${said}\n`, async (file) => {
      const io = new Recorder();
      assert.equal(await testConf(ConfSource.file(file), io, here, TESTED), 1);
      assert.match(io.errors, /^ringmaster: cannot start: pool 'p': (server_)?tls: .* use the executable/);
    });
  }
  rmSync(dir, { recursive: true });
});

Deno.test("testConf() prints every problem and the verdict", async () => {
  await withFile("p:\n  listen: 127.0.0.1:1\n  timeout: x\n  servers: [ h ]\n", async (file) => {
    const io = new Recorder();
    assert.equal(await testConf(ConfSource.file(file), io, here, TESTED), 1);
    const lines = io.errors.trimEnd().split("\n");
    assert.equal(lines.length, 3);
    assert.ok(lines[0]!.startsWith(`${file}:3:12: timeout: found "x", expected a number of milliseconds`));
    assert.ok(lines[1]!.startsWith(`${file}:4:14: servers: found "h", expected HOST:PORT:WEIGHT`));
    assert.equal(lines[2], `ringmaster: configuration file '${file}' syntax is invalid`);
  });
  const io = new Recorder();
  assert.equal(await testConf(ConfSource.file("none.yml"), io, here, TESTED), 1);
  assert.match(
    io.errors,
    /^none\.yml: found no such file in \/.*, expected a .* that can be read\nringmaster: .* 'none\.yml' cannot be read\n$/,
  );
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  const said = async (file: string | null) => {
    const io = new Recorder();
    assert.equal(await testConf(ConfSource.file(file), io, here, TESTED), 1);
    return io.errors;
  };
  assert.equal(
    await said(folder),
    `${folder}: found a directory, expected a configuration file that can be read\n` +
      `ringmaster: configuration file '${folder}' cannot be read\n`,
  );
  assert.match(await said(`${folder}/none/x.yml`), /found no such file, nor a folder \/.*\/none, expected/);
  rmSync(folder, { recursive: true });
  await withFile(TWO_POOLS, async (file) => {
    const io = new Recorder();
    assert.equal(await testConf(ConfSource.file(file), io, here, TESTED), 0);
    assert.equal(io.errors, `ringmaster: configuration file '${file}' syntax is ok\n`);
  });
  const announcing =
    "p:\n  listen: 127.0.0.1:1\n  redis: true\n  announce_cluster: true\n  servers: [ h:1:1, h:2:1 ]\n";
  await withFile(announcing, async (file) => {
    const io = new Recorder();
    assert.equal(await testConf(ConfSource.file(file), io, here, TESTED), 0);
    assert.match(io.errors, /^ringmaster: pool p: announce_cluster without hash_tag.*\n.* syntax is ok\n$/);
  });
});

Deno.test("findConfFile() takes what it is given, else a default", () => {
  assert.equal(findConfFile("x.yml"), "x.yml");
  assert.ok(CONF_FILES.includes(findConfFile(null)));
});

Deno.test("jsonSchema() has every key with its default, in words and as a value", () => {
  const io = new Recorder();
  assert.equal(schema(io), 0);
  const text = io.text;
  const parsed = JSON.parse(text);
  assert.deepEqual(jsonSchema(), parsed);
  assert.equal(parsed.$schema, "https://json-schema.org/draft/2020-12/schema");
  const pool = parsed.$defs.pool;
  assert.deepEqual(Object.keys(pool.properties), POOL_KEYS.map((key) => key.name));
  assert.deepEqual(pool.required, ["listen"]);
  assert.deepEqual(pool.oneOf, [{ required: ["servers"] }, { required: ["servers_from"] }]);
  assert.equal(pool.additionalProperties, false);
  assert.equal(pool.properties.backlog.default, 512);
  assert.equal(pool.properties.redis.default, false);
  assert.equal(pool.properties.hash.default, "fnv1a_64");
  for (const key of KEYS) assert.ok(text.includes(`"${key.name}": {`), key.name);
  const server = new RegExp(pool.properties.servers.items.anyOf[0].pattern);
  for (const config of PLACEMENT.configs) {
    for (const each of config.servers) assert.match(each.address, server);
  }
});
