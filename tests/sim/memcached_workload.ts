/** What a simulated memcached client asks for: text and meta commands, quiet ones too, each with what may come back. */
import type { PoolConfig } from "../../src/config/config.ts";
import { exactly, type Expect, type Judge, matching, silence } from "./expect.ts";
import { textLogin } from "./memcached_auth.ts";
import { Versions } from "./memcached_versions.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import { type Step, together } from "./step.ts";

const KINDS = [
  "get",
  "gets",
  "many",
  "store",
  "noreply",
  "number",
  "delete",
  "meta",
  "quiet",
  "local",
  "bad",
] as const;
type Kind = typeof KINDS[number];

export class MemcachedWorkload {
  readonly blocks = false;
  private readonly weights = new Map<Kind, number>();
  private readonly pool: PoolConfig;
  private request = 0;
  /** The end: keys of its own, with small values. */
  private modest = false;
  /** Requests so far that are over a limit that there is at some time. */
  private limited = 0;
  private readonly versions: Versions;

  constructor(
    private readonly plan: Plan,
    private readonly judge: Judge,
    private readonly client: number,
    private readonly random: Random,
    private readonly sentAtMs: (tag: string) => void,
  ) {
    this.pool = plan.pool;
    this.versions = new Versions(plan, judge);
    for (const kind of KINDS) if (random.chance(0.5)) this.weights.set(kind, random.magnitude(1, 30));
    if (this.weights.size === 0) this.weights.set("get", 1);
  }

  hello(): Step {
    const { judge, random } = this;
    const tag = `${this.client}.hello`;
    this.sentAtMs(tag);
    return textLogin({ judge, random, tag, guesses: this.client <= this.plan.clients });
  }

  epilogue(): Step {
    this.modest = true;
    return together(Array.from({ length: 12 }, (_, i) => i % 2 === 0 ? this.store() : this.many()));
  }

  goodbye(): Step {
    return { bytes: "quit\r\n", expects: [{ ...silence("quit"), last: true }], last: true };
  }

  next(): Step {
    const tag = this.newTag();
    switch (this.draw()) {
      case "get":
        return this.get(`get ${this.key(tag)}`, [tag]);
      case "gets":
        return this.get(`${this.random.pick(["gets", "gat 100", "gats 0"])} ${this.key(tag)}`, [tag]);
      case "many":
        return this.many();
      case "store":
        return this.store();
      case "noreply":
        return this.noreply();
      case "number":
        return this.line(`${this.random.pick(["incr", "decr"])} ${this.key(tag)} 1`, tag);
      case "delete":
        return this.line(this.random.pick([`delete ${this.key(tag)}`, `touch ${this.key(tag)} 100`]), tag);
      case "meta":
        return this.meta(tag, false);
      case "quiet": {
        const steps = Array.from({ length: this.random.int(1, 6) }, () => this.meta(this.newTag(), true));
        steps.push({ bytes: "mn\r\n", expects: [exactly("mn", "MN\r\n")], last: false });
        return together(steps);
      }
      case "local":
        return bad(
          "version\r\n",
          (reply) => /^VERSION /.test(reply) && this.versions.maySay(reply.slice(8, -2), tag),
        );
      case "bad":
        if (this.versions.matter) return this.badOf(tag);
        return this.random.pick([
          () => bad("nosuch\r\n", "ERROR\r\n"),
          () => bad("get\r\n", "ERROR\r\n"),
          () => bad(`get ${"k".repeat(251)}\r\n`, "CLIENT_ERROR bad command line format\r\n"),
          () => this.odd(),
          () => this.judged("incr a x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"),
        ])();
    }
  }

  // ---- kinds

  /** What the lines of memcached answer differently. */
  private badOf(tag: string): Step {
    const { versions } = this;
    /** @param older and newer: what is answered, "" for silence */
    const either = (bytes: string, older: string, newer: string): Step => ({
      bytes,
      expects: [{
        ...matching(
          bytes.slice(0, 20).trim(),
          (reply) =>
            reply === older && versions.mayRead(false, tag) || reply === newer && versions.mayRead(true, tag),
        ),
        maybeSilent: () => newer === "" && versions.mayRead(true, tag),
      }],
      last: false,
    });
    const ERROR = "ERROR\r\n";
    return this.random.pick([
      () => bad("nosuch\r\n", ERROR),
      () => either("get\r\n", ERROR, BAD_FORMAT),
      () => either("mn\n", "MN\r\n", BAD_FORMAT),
      () => either("nosuch noreply\r\n", ERROR, ""),
      () => {
        const step = bad(`get ${"k".repeat(251)}\r\n`, BAD_FORMAT);
        const blank = {
          ...matching("its blank line", (reply) => reply === "\r\n" && versions.mayRead(true, tag)),
          maybeSilent: () => versions.mayRead(false, tag),
          counted: false,
        };
        return { ...step, expects: [...step.expects, blank] };
      },
      () => {
        const key = this.key(tag);
        const block = `mg ${key} v`;
        const run = {
          ...this.truly(block, tag),
          maybeSilent: () => versions.mayRead(false, tag),
          counted: versions.newer === true,
          unsure: versions.newer === null,
        };
        const step = bad(`set ${key} 5 0 +${block.length}\r\n${block}\r\n`, BAD_FORMAT);
        return { ...step, expects: [...step.expects, run] };
      },
      () => this.judged("incr a x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"),
    ])();
  }

  /** A line that some memcacheds refuse and run the data block of, which is a command: it must reach none. */
  private odd(): Step {
    const tag = this.newTag();
    const block = `mg ${this.key(tag)} v`;
    return bad(
      `set ${this.key(tag)} 5 0 +${block.length}\r\n${block}\r\n`,
      "CLIENT_ERROR bad command line format\r\n",
    );
  }

  private get(line: string, tags: readonly string[]): Step {
    const expect = matching(line, (reply) => {
      const found = tags.map((tag) => this.judge.truth.executions.get(tag));
      if (!found.includes(undefined)) {
        const parts = tags.map((tag, i) => found[i]!.parts![found[i]!.tags.indexOf(tag)]);
        if (reply === `${parts.join("")}END\r\n`) {
          this.judge.truth.answered(tags);
          return true;
        }
      }
      // One END too many reads as if a server had none of the keys.
      const { extras } = this.judge.truth;
      if (extras.has("END\r\n") && reply.endsWith("END\r\n")) {
        let at = 0;
        tags.forEach((tag, i) => {
          const part = found[i]?.parts?.[found[i]!.tags.indexOf(tag)] ?? "";
          if (reply.startsWith(part, at)) at += part.length;
        });
        if (at === reply.length - 5) return true;
      }
      return this.badly(reply);
    });
    if (tags.length > this.pool.argumentsMax) {
      // The first words of ANSWER_TOO_MANY_KEYS.
      return {
        bytes: `${line}\r\n`,
        expects: [matching(line, (r) => /^(CLIENT|SERVER)_ERROR .*(keys|too long)/.test(r))],
        last: false,
      };
    }
    return { bytes: `${line}\r\n`, expects: [expect], last: false };
  }

  private many(): Step {
    const request = ++this.request;
    const tags = Array.from(
      { length: this.random.magnitude(2, 20) },
      (_, i) => `${this.client}.${request}.${i}`,
    );
    for (const tag of tags) this.sentAtMs(tag);
    tags.length = Math.min(tags.length, ...this.plan.pools.map((pool) => pool.argumentsMax));
    return this.get(
      `${this.random.pick(["get", "gets", "gat 100", "gats -1"])} ${
        tags.map((tag) => this.key(tag)).join(" ")
      }`,
      tags,
    );
  }

  private store(): Step {
    const tag = this.newTag();
    const value = this.value(tag);
    const name = this.random.pick(["set", "set", "add", "replace", "append", "prepend", "cas"]);
    const cas = name === "cas" ? " 7" : "";
    const line = `${name} ${this.key(tag)} 5 0 ${value.length}${cas}`;
    return this.stored(line, value, this.truly(line, tag));
  }

  private noreply(): Step {
    const tag = this.newTag();
    const value = this.value(tag);
    const line = this.random.pick([
      `set ${this.key(tag)} 5 0 ${value.length} noreply`,
      `delete ${this.key(tag)} noreply`,
      `incr ${this.key(tag)} 1 noreply`,
    ]);
    if (line.startsWith("set")) return this.stored(line, value, silence(line));
    return { bytes: `${line}\r\n`, expects: [silence(line)], last: false };
  }

  private meta(tag: string, quiet: boolean): Step {
    const { random } = this;
    const value = this.value(tag);
    const flags = `${random.chance(0.7) ? " O" + tag : ""}${random.chance(0.5) ? " k" : ""}${
      quiet ? " q" : ""
    }`;
    const key = this.key(tag);
    const line = random.pick([
      `mg ${key} v${flags}`,
      `mg ${key} v${flags}`,
      `ms ${key} ${value.length}${flags}`,
      `md ${key}${flags}`,
      `ma ${key} v${flags}`,
    ]);
    const isSet = line.startsWith("ms");
    const truly = this.truly(line, tag);
    const expect = !quiet ? truly : {
      ...truly,
      maybeSilent: () => {
        const drops = QUIET[line.slice(0, 2)]!;
        const { executions, extras } = this.judge.truth;
        const reply = executions.get(tag)?.reply;
        if (reply !== undefined && drops.test(reply)) return true;
        // One reply too many may have passed for this one's, and been held back.
        return [...extras].some((text) => drops.test(text));
      },
    };
    return isSet
      ? this.stored(line, value, expect)
      : { bytes: `${line}\r\n`, expects: [expect], last: false };
  }

  private line(line: string, tag: string): Step {
    return { bytes: `${line}\r\n`, expects: [this.truly(line, tag)], last: false };
  }

  /** A server is asked, so that it may fail too. */
  private judged(bytes: string, reply: string): Step {
    return {
      bytes,
      expects: [matching(bytes.trim(), (r) => r === reply || this.badly(r))],
      last: false,
    };
  }

  // ---- parts

  /** A line with a data block, which may be over max_request_size. */
  private stored(line: string, value: string, expect: Expect): Step {
    const bytes = `${line}\r\n${value}\r\n`;
    const over = ({ requestSizeMax }: PoolConfig) => value.length > requestSizeMax;
    if (!this.plan.pools.some(over)) return { bytes, expects: [expect], last: false };
    const quiet = / noreply$/.test(line);
    if (quiet) return { bytes, expects: [this.plan.pools.every(over) ? silence(line) : expect], last: false };
    const tag = `${this.client}.limit.${++this.limited}`;
    this.sentAtMs(tag);
    const had = (refused: boolean) => this.judge.had(tag, (config) => over(config) === refused);
    const limited = {
      ...expect,
      accepts: (reply: string) =>
        reply.startsWith("SERVER_ERROR object too large for cache")
          ? had(true)
          : had(false) && expect.accepts(reply) || this.badly(reply),
    };
    return { bytes, expects: [limited], last: false };
  }

  private truly(line: string, tag: string): Expect {
    const { executions } = this.judge.truth;
    return {
      ...matching(line, (reply) => {
        if (executions.get(tag)?.reply !== reply) return this.badly(reply);
        this.judge.truth.answered([tag]);
        return true;
      }),
      executed: () => executions.has(tag),
    };
  }

  private badly(reply: string): boolean {
    return this.judge.isFailure(reply) || this.judge.truth.extras.has(reply);
  }

  private draw(): Kind {
    let total = 0;
    for (const weight of this.weights.values()) total += weight;
    let at = this.random.next() * total;
    for (const [kind, weight] of this.weights) if ((at -= weight) < 0) return kind;
    return "get";
  }

  private newTag(): string {
    const tag = `${this.client}.${++this.request}.0`;
    this.sentAtMs(tag);
    return tag;
  }

  private key(tag: string): string {
    const { random } = this;
    const name = `k${this.modest || random.chance(0.6) ? this.client : "s"}.${random.int(0, 3)}`;
    if (this.pool.hashTag === null) return `${name}~${tag}`;
    const [open, close] = this.pool.hashTag;
    return `${String.fromCharCode(open!)}${name}${String.fromCharCode(close!)}~${tag}`;
  }

  private value(tag: string): string {
    const { random } = this;
    if (random.chance(0.2)) return String(random.int(0, 99));
    const size = this.modest
      ? 10
      : this.plan.hugeValues && random.chance(0.15)
      ? random.int(800_000, 2_500_000)
      : random.chance(0.8)
      ? random.int(0, 20)
      : random.magnitude(20, this.plan.bigValues && random.chance(0.2) ? 300_000 : 5000);
    return `=${tag};${random.chance(0.1) ? "\r\nEND\r\n" : ""}${"x".repeat(size)}`;
  }
}

/** What memcached holds back for the q flag. */
const QUIET: Readonly<Record<string, RegExp>> = {
  mg: /^EN/,
  ms: /^HD/,
  md: /^HD/,
  ma: /^(HD|VA)/,
};

const BAD_FORMAT = "CLIENT_ERROR bad command line format\r\n";

function bad(bytes: string, reply: string | ((reply: string) => boolean)): Step {
  const shown = bytes.slice(0, 20).trim();
  const expect = typeof reply === "string" ? exactly(shown, reply) : matching(shown, reply);
  return { bytes, expects: [expect], last: false };
}
