/**
 * Random command sequences, valid and not, give the same bytes through Ringmaster as from memcached itself.
 *
 *   sequence ──► memcached A ───────────────► bytes
 *   sequence ──► Ringmaster ──► memcached B ► bytes     the same, after what hangs on the clock has been made equal
 *
 * Both servers live through the whole run, so they get the same state from the same sequences (and the same CAS
 * numbers, which are compared after each request or batch). A fence behind each sequence shows strays. A few thousand sequences run by default;
 *
 *   RINGMASTER_SEQUENCES=100000 RINGMASTER_SEED=7 deno test -A --no-check tests/real/memcached_differential_test.ts
 *
 * runs as many as you like. What is left out, because the two differ there on purpose, is listed in DIFFERENCES below
 * and tested one by one.
 */
import assert from "node:assert/strict";
import { latin1, show } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { poolYml, RUNTIMES } from "../lib/servers.ts";
import { CLOSED, isStrange, memcachedVersion, OLD, Side, steady, STILL } from "./memcached_side.ts";

const SEQUENCES = Number(Deno.env.get("RINGMASTER_SEQUENCES") ?? 3000);
const SEED = Number(Deno.env.get("RINGMASTER_SEED") ?? 1);
/** Small, so that values over it are cheap to send. */
const ITEM_SIZE_MAX = 16 * 1024;

/** Ends any line and any data block that promised up to four bytes more than it had. */
const PAD = "\r\n\r\n\r\n";

/** Its CAS number shows what no reply does: whether both servers have stored the same number of times, noreply or not. */
const NEXT_CAS = "ms next-cas 0 c\r\n\r\n";

const KEYS = ["a", "b", "c", "num", "YQ==", "aGl0", "noreply", "0", "a\tb", "\xff\xfe", "k".repeat(250)];
/**
 * A flush in the future gives back what an earlier flush has hidden and nobody has cleared away yet, so a second one hides it
 * again at once. What is cleared away hangs on the clock: each new item clears five from the tail of its LRU, whose order
 * changes when an item is read that has not been moved for 60 s. Two memcacheds with the same commands a second apart
 * gave back different items, and then an `add … noreply` took a CAS number in only one of them.
 */
const FUTURE_FLUSH = " 9999\r\nflush_all";
const LONG_KEY = "k".repeat(251);
const STORES = ["set", "add", "replace", "append", "prepend"];
/** incr never gets past 2^64 with these: it would become shorter, which is as with decr. */
const NUMBERS = ["0", "1", "5", "100", "4294967295"];
const ODD_NUMBERS = [
  "x",
  "-1",
  "007",
  "+3",
  "",
  "1x",
  "18446744073709551616",
  "18446744073709551615x",
  "-0",
  "99999999999999999999",
];
const NAMES = ["get", "gets", "gat", "gats", "cas", "incr", "decr", "touch", "delete", ...STORES];
const META_NAMES = ["mg", "ms", "md", "ma", "me", "mn"];

/**
 * Makes requests near the grammar.
 * @param alone each request is answered before the next is sent. Then there may also be requests whose outcome in
 *   memcached hangs on whether an earlier reply still holds the item (what decr, binary keys and marks become), or that make it forget
 *   earlier replies (a get with a key too long).
 */
class Generator {
  constructor(private readonly random: Random, private readonly alone: boolean) {}

  request(): string {
    const { random } = this;
    switch (random.below(this.alone ? 17 : 15)) {
      case 0:
      case 1:
        return `${random.pick(["get", "get", "gets"])}${this.#keys()}${this.#end()}`;
      case 2:
        return `${random.pick(["gat", "gats"])} ${
          random.pick(["0", "1000", "x", "-1"])
        }${this.#keys()}${this.#end()}`;
      case 3:
      case 4:
      case 5: {
        const [length, block] = this.#block();
        const flags = this.#number(["0", "7", "4294967295"]);
        return `${
          random.pick(STORES)
        } ${this.#key()} ${flags} ${this.#exptime()} ${length}${this.#noreply()}\r\n${block}`;
      }
      case 6: {
        const [length, block] = this.#block();
        return `cas ${this.#key()} 0 ${this.#exptime()} ${length} ${
          this.#number(["1", "2", "5"])
        }${this.#noreply()}\r\n${block}`;
      }
      case 7:
        return `incr ${this.#key()} ${this.#number()}${this.#noreply()}${this.#end()}`;
      case 8:
        return `delete ${this.#key()}${
          random.pick(["", " 0", " noreply", " 0 noreply", " 7", " 0 0"])
        }${this.#end()}`;
      case 9:
        return `touch ${this.#key()} ${this.#exptime()}${this.#noreply()}${this.#end()}`;
      case 10: {
        const [length, block] = this.#block();
        return `ms ${this.#key()} ${length}${
          this.#flags(this.alone ? "qqbOkcFICTM" : "qqOkcFICTM")
        }\r\n${block}`;
      }
      case 11:
        return `mg ${this.#key()}${
          this.#flags(this.alone ? "qqbvkOcfstuhlENRT" : "qqbvkOcfstulET")
        }${this.#end()}`;
      case 12:
        return random.pick([
          () => `md ${this.#key()}${this.#flags("qqbkOCTcvM")}${this.#end()}`,
          () => `ma ${this.#key()}${this.#flags("qqbkOCTcv")}${this.#end()}`,
        ])();
      case 13:
        return this.#other();
      case 14:
        return this.#garbage();
      case 15:
        return random.pick([
          () => `decr ${this.#key()} ${this.#number()}${this.#noreply()}${this.#end()}`,
          () =>
            `ma ${this.#key()}${this.#flags(random.pick(["qbkODJMIctvTR", "bkODJNMIctvTR"]))}${this.#end()}`,
          () => `me ${this.#key()}${random.pick(["", " b"])}${this.#end()}`,
        ])();
      default:
        return random.pick([
          () => `get ${this.#key()} ${LONG_KEY}\r\n`,
          () => `gats 0 ${LONG_KEY} ${this.#key()}\r\n`,
          () =>
            `flush_all${
              random.pick(["", " 0", " -1", " noreply", " 0 noreply", FUTURE_FLUSH, " x", " 0 0 0"])
            }\r\n`,
          () => `stats${random.pick(["", " settings", " sizes", " reset", " foo"])}\r\n`,
        ])();
    }
  }

  #key(): string {
    const { random } = this;
    if (random.next() < 0.03) return random.pick(["", LONG_KEY, "a\0b", "a\rb"]);
    return random.pick(KEYS);
  }

  #keys(): string {
    let keys = "";
    const { random } = this;
    const count = random.next() < 0.03 ? 100 : random.between(0, 8);
    for (let i = 0; i < count; i++) keys += ` ${random.next() < 0.02 ? "" : random.pick(KEYS)}`;
    // Longer lines are for get and gets only.
    return keys.length < 1900 ? keys : keys.slice(0, keys.lastIndexOf(" ", 1900));
  }

  #number(usual: readonly string[] = NUMBERS): string {
    return this.random.next() < 0.9 ? this.random.pick(usual) : this.random.pick(ODD_NUMBERS);
  }

  /** Not a second or two: that would be a race. */
  #exptime(): string {
    return this.random.next() < 0.9
      ? this.random.pick(["0", "1000", "-1"])
      : this.random.pick(["x", "", "1e3", "-0"]);
  }

  #noreply(): string {
    return this.random.next() < 0.3 ? " noreply" : "";
  }

  #end(): string {
    return this.random.next() < 0.92
      ? "\r\n"
      : this.random.pick(["\n", " \r\n", " noreply\r\n", " x\r\n", "\0 x\r\n", "  noreply  \r\n"]);
  }

  /** A length and a data block that may not quite fit. */
  #block(): [length: string, block: string] {
    const { random } = this;
    const value = random.pick([
      () => "",
      () => String(random.below(200)),
      () => "9223372036854775807",
      () => "a\r\nb",
      () => "\xff\0\n\r\n",
      () => "mn\r\n",
      () => lines("x", random.below(3000)),
      () => random.next() < 0.1 ? lines("y", random.between(ITEM_SIZE_MAX - 300, ITEM_SIZE_MAX + 300)) : "z",
      () => random.next() < 0.05 ? lines("w", random.between(64 * 1024, 300 * 1024)) : "v",
    ])();
    // Not of an empty value: "\r\n" is a value that incr reads past the end of, into whatever lies there.
    const wrong = value === "" ? 0 : random.next();
    const length = wrong < 0.93
      ? String(value.length)
      : wrong < 0.98
      ? String(Math.max(0, value.length + random.between(-3, 4)))
      : random.pick(["x", "-1", "", "-4294967293"]);
    return [length, value + (random.next() < 0.98 ? "\r\n" : "\n")];
  }

  #flags(letters: string): string {
    const { random } = this;
    let text = "";
    for (let i = random.below(random.next() < 0.02 ? 22 : 6); i > 0; i--) {
      const letter = random.next() < 0.96
        ? random.pick([...letters])
        : random.pick(["z", "\xff", "E", "i", "-", "S"]);
      const token = letter === "O"
        ? random.pick(["7", "", "opaque", "x".repeat(31), "x".repeat(32)])
        : letter === "T" || letter === "N"
        ? random.pick(["0", "1000", "-1", "x"])
        : letter === "R"
        // Not what T and N give: whether that is less than what is left is a race.
        ? random.pick(["0", "30", "2000", "x"])
        : /[CFJDS]/.test(letter)
        ? random.pick(["0", "1", "2", "x", "999", ""])
        : letter === "M"
        ? random.pick(["S", "E", "A", "P", "R", "I", "D", "+", "-", "X", ""])
        : "";
      text += ` ${letter}${token}`;
    }
    return text;
  }

  #other(): string {
    return this.random.pick([
      "mn",
      "mn",
      "version",
      "version x",
      "verbosity 0 noreply",
      "verbosity 1",
      "verbosity x",
      "verbosity",
      "foo",
      "",
      " ",
      "get",
      "gat 0",
      "set",
      "set a",
      "incr a",
      "GET a",
      "ms a",
      "ms a S1",
      "mg",
      "me",
      "cas a 0 0 1",
      "flush_all x",
      "quit",
      "GET / HTTP/1.1",
      "get / HTTP/1.1",
    ]) + this.#end();
  }

  /** A line of words in no order, or of any bytes but those that a first byte may not be. */
  #garbage(): string {
    const { random } = this;
    if (random.next() < 0.5) {
      const words = [
        ...KEYS,
        ...NUMBERS,
        ...ODD_NUMBERS,
        ...NAMES,
        ...META_NAMES,
        "noreply",
        "q",
        "v",
        "k",
        "Ox",
      ];
      // No more words than cannot make a data block of a size that is a number here.
      let line = random.pick([...META_NAMES, ...NAMES, "foo"]).toUpperCase();
      for (let i = random.below(8); i > 0; i--) line += ` ${random.pick(words)}`;
      return `${line}\r\n`;
    }
    let line = "";
    for (let i = random.below(60); i > 0; i--) line += String.fromCharCode(random.below(256));
    return `\x01${line}\r\n`;
  }
}

/** A value of `size` bytes; in lines, since it is read as commands if the line before it is refused, and see DIFFERENCES. */
function lines(letter: string, size: number): string {
  const line = `${letter.repeat(999)}\n`;
  return line.repeat(size / line.length) + letter.repeat(size % line.length);
}

/** The bytes cut in up to four places. */
function cut(text: string, random: Random): string[] {
  const places = [0, text.length];
  for (let i = random.below(5); i > 0; i--) places.push(random.below(text.length + 1));
  places.sort((a, b) => a - b);
  return places.slice(1).map((place, i) => text.slice(places[i], place));
}

/** memcached may lose replies that it owes when it hangs up; we deliver them first. */
function same(actual: string, expected: string): boolean {
  if (!expected.endsWith(CLOSED)) return actual === expected;
  return actual.endsWith(CLOSED) && actual.startsWith(expected.slice(0, -CLOSED.length));
}

/** A sequence: requests that are sent at once (one element), or each after the answer to the one before. */
function sequence(seed: number): { steps: string[]; random: Random } {
  const random = new Random(seed);
  const alone = random.next() < 0.15;
  const generator = new Generator(random, alone);
  const requests = Array.from({ length: random.between(1, 15) }, () => generator.request());
  return { steps: alone ? requests : [requests.join("")], random };
}

for (const runtime of RUNTIMES) {
  // The long run is one runtime's; the compiled one is what users have.
  const count = runtime === "compiled" ? SEQUENCES : Math.min(SEQUENCES, 500);
  Deno.test(`${count} random sequences are answered as memcached answers them (${runtime})`, async () => {
    await using f = new Fixture();
    // 1.6.18 takes bytes there, newer ones kilobytes.
    const plain = await f.memcached();
    const old = await memcachedVersion(plain) === OLD;
    const options = `${STILL},slab_chunk_max=${old ? ITEM_SIZE_MAX : ITEM_SIZE_MAX / 1024}`;
    const args = ["-t", "1", "-I", String(ITEM_SIZE_MAX), "-o", options];
    const servers = [await f.memcached({ args }), await f.memcached({ args })];
    const yml = poolYml({ alpha: { servers: [servers[1]!], dangerous_commands: "allow" } });
    const proxy = await f.proxy(runtime, yml);
    const direct = f.add(new Side(servers[0]!.target));
    const proxied = f.add(new Side(proxy.target));
    for (let seed = SEED; seed < SEED + count; seed++) {
      const { steps, random } = sequence(seed);
      if (steps.some((step) => isStrange(step + PAD))) continue;
      for (const step of steps) {
        const expected = steady(await direct.ask([step, PAD]));
        const actual = steady(await proxied.ask([...cut(step, random), PAD]));
        const [wanted, got] = [await direct.ask([NEXT_CAS]), await proxied.ask([NEXT_CAS])];
        if (same(actual, expected) && got === wanted) continue;
        assert.fail(
          `seed ${seed}: ${show(latin1(step), 3000)}\n  memcached ${
            show(latin1(expected), 1500)
          } then ${wanted}\n  we        ${show(latin1(actual), 1500)} then ${got}`,
        );
      }
    }
  });
}

/**
 * Where the two differ on purpose. `memcached` null: not asked, since it would do what is asked, or wait for more; `newer`: what
 * 1.6.45 says, if it is something else; `besideNewer`: what we say beside it, likewise.
 */
const DIFFERENCES: readonly {
  why: string;
  input: string;
  memcached: string | null;
  newer?: string;
  we: string;
  besideNewer?: string;
}[] = [
  {
    why: "memcached forgets the replies that wait before a get with a key too long",
    input: `version\r\nget a ${LONG_KEY}\r\nmn\r\n`,
    memcached: "CLIENT_ERROR bad command line format\r\nMN\r\n",
    newer: "CLIENT_ERROR bad command line format\r\n\r\nMN\r\n",
    we: "VERSION 1.6.18\r\nCLIENT_ERROR bad command line format\r\nMN\r\n",
    besideNewer: "VERSION 1.6.45\r\nCLIENT_ERROR bad command line format\r\n\r\nMN\r\n",
  },
  {
    why: "q hides that ma has made an item, as the documentation says; memcached shows it",
    input: "ma made N0 q\r\nmn\r\n",
    memcached: "HD\r\nMN\r\n",
    newer: "MN\r\n",
    we: "MN\r\n",
  },
  {
    why: "what 1.6.18 and 1.6.40 read differently is refused, and its data block goes with it",
    input: "set odd 0 0 +2\r\nmn\r\n  set odd 0 0 2\r\nmn\r\nms odd 2 !\r\nmn\r\n",
    memcached: "STORED\r\nSTORED\r\nCLIENT_ERROR invalid flag\r\n",
    newer:
      "CLIENT_ERROR bad command line format\r\nMN\r\nERROR\r\nMN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n",
    we: "CLIENT_ERROR bad command line format\r\nSTORED\r\nCLIENT_ERROR invalid flag\r\n",
    besideNewer:
      "CLIENT_ERROR bad command line format\r\nMN\r\nERROR\r\nMN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n",
  },
  {
    why: "a line of more than 2048 bytes (get and gets apart): memcached closes if it has not got it whole",
    input: `foo ${"x".repeat(3000)}\r\nmn\r\n`,
    memcached: "ERROR\r\nMN\r\n",
    we: `CLIENT_ERROR line too long\r\n${CLOSED}`,
  },
  {
    why: "the same with a line that never ends",
    input: `${"x".repeat(20_000)}`,
    memcached: CLOSED,
    we: `CLIENT_ERROR line too long\r\n${CLOSED}`,
  },
  {
    why: "what is about one server's insides is to be asked of the server itself",
    input:
      "cache_memlimit 100\r\nslabs automove 0\r\nlru mode flat\r\nlru_crawler disable\r\nextstore x y\r\nrefresh_certs\r\n",
    memcached: null,
    we: "CLIENT_ERROR command not allowed through a proxy, ask the server itself\r\n".repeat(6),
  },
  {
    why: "watching logs is one server's business",
    input: "watch mutations\r\n",
    memcached: null,
    we: "CLIENT_ERROR watch commands not allowed\r\n",
  },
  {
    why: "statistics without an end, or of one connection only",
    input:
      "stats conns\r\nstats detail on\r\nstats cachedump 1 1\r\nstats extstore\r\nstats sizes_enable\r\n",
    memcached: null,
    we: "CLIENT_ERROR these stats are not available through a proxy, ask the servers themselves\r\n".repeat(
      5,
    ),
  },
  {
    why: "a server's talkativeness is not for clients: the proxy nods, and nothing happens",
    input: "verbosity 2\r\n",
    memcached: null,
    we: "OK\r\n",
  },
  {
    why: "flush_all is dangerous: only with dangerous_commands: allow",
    input: "flush_all\r\nflush_all noreply\r\nflush_all 10\r\nmn\r\n",
    memcached: null,
    we: `${
      "CLIENT_ERROR flush_all not allowed, unless dangerous_commands of the pool is allow\r\n".repeat(2)
    }MN\r\n`,
  },
  {
    why: "stats proxy is ours",
    input: "stats proxy x\r\n",
    memcached: "ERROR\r\n",
    newer: "END\r\n",
    we: "STAT",
  },
];

Deno.test("the differences from memcached 1.6.18 are the ones that are listed", async (t) => {
  await using f = new Fixture();
  const servers = [await f.memcached(), await f.memcached()];
  const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [servers[1]!] } }));
  const version = await memcachedVersion(servers[0]!);
  for (const { why, input, memcached, newer, we: beside, besideNewer } of DIFFERENCES) {
    const we = version === OLD
      ? beside
      : (besideNewer ?? beside).replaceAll("VERSION 1.6.45", `VERSION ${version}`);
    await t.step(why, async () => {
      if (memcached !== null) {
        await using direct = new Side(servers[0]!.target);
        assert.equal(await direct.ask([input]), version === OLD ? memcached : newer ?? memcached);
      }
      await using proxied = new Side(proxy.target);
      const said = await proxied.ask([input]);
      assert.equal(said.slice(0, Math.max(we.length, we === "STAT" ? 4 : said.length)), we);
    });
  }
});
