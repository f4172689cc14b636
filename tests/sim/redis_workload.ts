/**
 * What a simulated Redis client asks for: each request with what may come back for it.
 *
 * A workload draws once which kinds of requests it makes and how often, so that some worlds see nothing but pipelined
 * GETs, and others nothing but transactions.
 */
import type { PoolConfig } from "../../src/config/config.ts";
import { authSteps } from "./auth.ts";
import { exactly, type Expect, type Judge, matching, refusal, silence } from "./expect.ts";
import { digestOf, NOSCRIPT } from "./model_redis.ts";
import { ejects, FEW, isDrawn, type Plan } from "./plan.ts";
import { CHANNELS, type Published } from "./pubsub_workload.ts";
import type { Random } from "./random.ts";
import { ruled, RULES_CHANGED, rulesSince } from "./rules.ts";
import { bulk, type Step, step } from "./step.ts";
import type { Execution } from "./truth.ts";

const KINDS = [
  "get",
  "set",
  "incr",
  "odd",
  "mget",
  "mset",
  "sum",
  "local",
  "inline",
  "unknown",
  "arity",
  "transaction",
  "watch",
  "scan",
  "everywhere",
  "reply",
  "select",
  "whole",
  "block",
  "push",
  "publish",
] as const;
type Kind = typeof KINDS[number] | "script";

const SCANNED = "*2\r\n$1\r\n0\r\n*0\r\n";

/** What stands in EXEC's reply for one command: what a server said to a tag or a message, or something of the proxy's. */
interface Element {
  readonly tag?: string;
  readonly publishes?: string;
  readonly reply?: RegExp;
}
const CROSSSLOT = "-CROSSSLOT Keys in request don't hash to the same server\r\n";

const CHANGED_ABORT = "-EXECABORT Transaction discarded because of: the servers of the pool have changed";

const MALFORMED: readonly (readonly [bytes: string, reply: string])[] = [
  ["*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"],
  ["*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
  ["*1\r\nPING\r\n", "-ERR Protocol error: expected '$' before an argument\r\n"],
  ["*2\r\n$3\r\nGET\r\n$1\r\nabc\r\n", "-ERR Protocol error: expected CRLF after an argument\r\n"],
  ["*1\r\n$03\r\nGET\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
  ['GET "a\r\n', "-ERR Protocol error: unbalanced quotes in request\r\n"],
];

export class RedisWorkload {
  private readonly weights = new Map<Kind, number>();
  private readonly pool: PoolConfig;
  private request = 0;
  /** The end: keys of its own, with small values. */
  private modest = false;
  private resp: 2 | 3 = 2;
  private cursor = "0";
  /** EXEC of the transaction that it is in the middle of. */
  private pending: (() => Step) | null = null;
  /** Something is watched, and EXEC is still to come. */
  private watching = false;
  /** Requests so far that are over a limit that there is at some time. */
  private limited = 0;

  constructor(
    private readonly plan: Plan,
    private readonly judge: Judge,
    private readonly client: number,
    private readonly random: Random,
    /** A request with this tag comes next, or behind so many bytes. */
    private readonly sentAtMs: (tag: string, ahead?: number) => void,
    private readonly published: Published,
  ) {
    this.pool = plan.pool;
    for (const kind of KINDS) if (random.chance(0.4)) this.weights.set(kind, random.magnitude(1, 30));
    if (this.weights.size === 0) this.weights.set("get", 1);
    if (plan.scripts) this.weights.set("script", random.magnitude(5, 30));
    if (plan.transactionsMax > FEW) this.weights.set("transaction", 30);
  }

  /** It may wait on a server for as long as that likes. */
  get blocks(): boolean {
    return this.weights.has("block");
  }

  private get helloTag(): string {
    return `${this.client}.hello`;
  }

  /** What it says first. */
  hello(): Step {
    const steps: Step[] = [];
    this.sentAtMs(this.helloTag);
    steps.push(...authSteps(this.judge, this.helloTag));
    if (this.random.chance(this.plan.resp3)) {
      this.resp = 3;
      steps.push(this.step(["HELLO", "3"], matching("HELLO 3", (r) => r.startsWith("%7\r\n"))));
    }
    return together(steps);
  }

  /** Reads and writes keys of all servers; for the end, when everything must work. */
  epilogue(): Step {
    this.modest = true;
    const steps: Step[] = [];
    for (let i = 0; i < 12; i++) steps.push(i % 2 === 0 ? this.set() : this.get(), this.mget());
    return together(steps);
  }

  next(): Step {
    const { pending } = this;
    this.pending = null;
    if (pending !== null) return pending();
    const kind = this.draw();
    switch (kind) {
      case "get":
        return this.get();
      case "set":
        return this.set();
      case "incr":
        return this.keyed(["INCR", this.logical("n")], 1);
      case "odd":
        return this.odd();
      case "mget":
        return this.mget();
      case "mset":
        return this.mset();
      case "sum":
        return this.sum();
      case "whole":
        return this.whole();
      case "local":
        return this.local();
      case "inline":
        return this.inline();
      case "unknown":
        return this.unknown();
      case "arity":
        return this.random.pick([
          () => this.step(["GET"], exactly("GET", "-ERR wrong number of arguments for 'get' command\r\n")),
          () =>
            this.step(
              ["MSET", "a"],
              exactly("MSET a", "-ERR wrong number of arguments for 'mset' command\r\n"),
            ),
          () =>
            this.step(
              ["FLUSHALL"],
              matching("FLUSHALL", (r) => r.startsWith("-ERR 'FLUSHALL' is refused")),
            ),
        ])();
      case "transaction":
        return this.transaction(false);
      case "watch":
        return this.transaction(true);
      case "scan":
        return this.scan();
      case "block": {
        const name = this.random.pick(["BLPOP", "BRPOP"]);
        const tag = this.newTag();
        const args = [name, `${this.logical("l")}~${tag}`, String(this.random.magnitude(1, 2000) / 1000)];
        return this.step(args, this.truly(args, [tag]));
      }
      case "push": {
        const tag = this.newTag();
        const args = ["RPUSH", `${this.logical("l")}~${tag}`, `=${tag};`];
        return this.step(args, this.truly(args, [tag]));
      }
      case "publish":
        return this.publish(this.random.pick(CHANNELS)).step;
      case "script":
        return this.script();
      case "everywhere": {
        const tag = this.newTag();
        return this.step(
          ["DBSIZE"],
          matching(
            "DBSIZE",
            (r) => /^:\d+\r\n$/.test(r) || this.badlyOnRing(r, tag) || r.startsWith("-LOADING "),
          ),
        );
      }
      case "reply":
        return this.replyMode();
      case "select": {
        const db = this.random.int(0, this.pool.databases);
        return this.step(
          ["SELECT", String(db)],
          matching(`SELECT ${db}`, (reply) => {
            return db < this.pool.databases
              ? reply === "+OK\r\n"
              : reply.startsWith("-ERR DB index is out of range");
          }),
        );
      }
    }
  }

  /** A message of its own, and what it is. */
  publish(channel: string): { step: Step; message: string } {
    const tag = this.newTag();
    const message = `=${tag};`;
    this.published.set(message, channel);
    const step = this.step(
      ["PUBLISH", channel, message],
      matching(`PUBLISH ${channel} ${message}`, (reply) => {
        return /^:\d+\r\n$/.test(reply) && this.executions([tag]) !== null || this.badly(reply) ||
          this.isErrorOfOne([tag], reply);
      }),
    );
    return { step, message };
  }

  /** How it may take its leave: QUIT, or rubbish. */
  goodbye(): Step {
    const { pending } = this;
    this.pending = null;
    if (pending !== null) return together([pending(), this.goodbye()]);
    if (this.random.chance(0.5)) {
      return { ...this.step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
    }
    const [bytes, reply] = this.random.pick(MALFORMED);
    return { bytes, expects: [refusal(JSON.stringify(bytes), reply)], last: true };
  }

  // ---- kinds

  private get(): Step {
    return this.keyed(["GET", this.logical("k")], 1);
  }

  private set(): Step {
    const tag = this.newTag();
    const args = ["SET", this.logical("k") + "~" + tag, this.value(tag)];
    return this.step(args, this.truly(args, [tag]));
  }

  private odd(): Step {
    const { random } = this;
    const tag = this.newTag();
    const key = (type: string) => `${this.logical(type)}~${tag}`;
    const args = random.pick([
      () => ["GETSET", key("k"), this.value(tag)],
      () => ["APPEND", key("k"), "x"],
      () => ["STRLEN", key("k")],
      () => ["SETNX", key("k"), this.value(tag)],
      () => ["GETDEL", key("k")],
      () => ["PEXPIRE", key("k"), String(random.int(1, 1000))],
      () => ["TYPE", key("k")],
      () => ["RPUSH", key("l"), this.value(tag)],
      () => ["LPOP", key("l")],
      () => ["LRANGE", key("l"), "0", "-1"],
      () => ["HSET", key("h"), "f", this.value(tag)],
      () => ["HGETALL", key("h")],
      () => ["SADD", key("z"), String(random.int(1, 9))],
      () => ["SMEMBERS", key("z")],
      () => ["INCR", key("k")],
      () => ["GET", key("l")],
    ])();
    return this.step(args, this.truly(args, [tag]));
  }

  private mget(): Step {
    const { tags, keys } = this.manyKeys();
    return this.step(
      ["MGET", ...keys],
      matching(`MGET ${keys.join(" ")}`, (reply) => {
        const found = this.executions(tags);
        if (found !== null) {
          const parts = tags.map((tag, i) => found[i]!.parts?.[found[i]!.tags.indexOf(tag)]);
          if (!parts.includes(undefined) && reply === `*${parts.length}\r\n${parts.join("")}`) {
            this.judge.truth.answered(tags);
            return true;
          }
        }
        return this.isErrorOfOne(tags, reply) || this.badly(reply);
      }),
    );
  }

  private mset(): Step {
    const { tags, keys } = this.manyKeys();
    const args = keys.flatMap((key, i) => [key, this.value(tags[i]!)]);
    return this.step(
      ["MSET", ...args],
      matching(`MSET ${keys.join(" ")}`, (reply) => {
        const found = this.executions(tags);
        if (reply === "+OK\r\n") return found !== null && found.every((one) => one.reply === "+OK\r\n");
        return this.isErrorOfOne(tags, reply) || this.badly(reply);
      }),
    );
  }

  private sum(): Step {
    const { tags, keys } = this.manyKeys();
    const name = this.random.pick(["DEL", "EXISTS", "UNLINK", "TOUCH"]);
    return this.step(
      [name, ...keys],
      matching(`${name} ${keys.join(" ")}`, (reply) => {
        const found = this.executions(tags);
        if (found !== null && reply.startsWith(":")) {
          const sum = [...new Set(found)].reduce((total, one) => total + Number(one.reply.slice(1)), 0);
          return reply === `:${sum}\r\n`;
        }
        return this.isErrorOfOne(tags, reply) || this.badly(reply);
      }),
    );
  }

  /** A command of two keys that cannot be split. */
  private whole(): Step {
    const { tags, keys } = this.manyKeys(2);
    const args = [this.random.pick(["RENAME", "COPY"]), ...keys];
    return this.step(
      args,
      matching(args.join(" "), (reply) => {
        if (reply === CROSSSLOT) {
          return this.plan.pools.some(({ servers }) => servers.length > 1) && this.executions(tags) === null;
        }
        return this.executions(tags)?.[0]?.reply === reply || this.badly(reply);
      }),
    );
  }

  private local(): Step {
    const word = `${this.client}.${++this.request}`;
    return this.random.pick([
      () => this.step(["PING"], exactly("PING", "+PONG\r\n")),
      () => this.step(["PING", word], exactly(`PING ${word}`, bulk(word))),
      () => this.step(["ECHO", word], exactly(`ECHO ${word}`, bulk(word))),
      () => this.step(["CLIENT", "ID"], matching("CLIENT ID", (r) => /^:\d+\r\n$/.test(r))),
      () => this.step(["CLIENT", "SETNAME", word], exactly("CLIENT SETNAME", "+OK\r\n")),
      () => this.step(["CLIENT", "INFO"], matching("CLIENT INFO", (r) => listed(r, "client|info") === 1)),
      () => this.step(["CLIENT", "LIST"], matching("CLIENT LIST", (r) => listed(r, "client|list") >= 1)),
      () =>
        this.step(
          ["CLIENT", "LIST", "NAME", word],
          exactly("CLIENT LIST NAME", this.resp === 3 ? "=4\r\ntxt:\r\n" : "$0\r\n\r\n"),
        ),
    ])();
  }

  private inline(): Step {
    const tag = this.newTag();
    const args = ["GET", `${this.logical("k")}~${tag}`];
    const bytes = this.random.pick([
      `${args.join(" ")}\r\n`,
      `  get  "${args[1]}"\n`,
      `\r\n${args.join(" ")}\r\n`,
    ]);
    // The limits hold for what it means.
    return { ...this.step(args, this.truly(args, [tag])), bytes };
  }

  private unknown(): Step {
    const name = `nosuch${this.client}x${++this.request}`;
    return this.step(
      [name, "a", "b"],
      exactly(name, `-ERR unknown command '${name}', with args beginning with: 'a' 'b' \r\n`),
    );
  }

  private scan(): Step {
    const tag = this.newTag();
    const from = this.cursor;
    const args = ["SCAN", from, "MATCH", `*~${tag}`, "COUNT", String(this.random.int(1, 20))];
    return this.step(
      args,
      matching(args.join(" "), (reply) => {
        const execution = this.judge.truth.executions.get(tag);
        const match = /^\*2\r\n\$\d+\r\n(\d+)\r\n/.exec(reply);
        // Nobody is left to be asked: those from the cursor on are ejected.
        if (
          reply === SCANNED && (ejects(this.plan) || this.plan.changes.length > 0) && execution === undefined
        ) {
          this.cursor = "0";
          return true;
        }
        // Its server has left meanwhile, and did not answer any more, or nobody heard it: the walk goes on behind it.
        if (match !== null && reply.endsWith("\r\n*0\r\n") && this.plan.changes.length > 0) {
          this.cursor = match[1]!;
          return true;
        }
        if (match === null || execution === undefined) {
          this.cursor = "0";
          return this.badlyOnRing(reply, tag) || execution?.reply === reply;
        }
        this.cursor = match[1]!;
        return execution.reply.replace(/^\*2\r\n\$\d+\r\n\d+\r\n/, "") === reply.slice(match[0].length);
      }),
    );
  }

  /** What one client has loaded another one may run, on whatever server. */
  private script(): Step {
    const { random, judge } = this;
    const name = `return${random.int(0, 3)}`;
    const { scripts } = judge.truth;
    if (random.chance(0.2)) {
      const tag = this.newTag();
      return this.step(
        ["SCRIPT", "LOAD", name],
        matching(`SCRIPT LOAD ${name}`, (reply) => {
          if (reply !== bulk(digestOf(name))) {
            return this.badlyOnRing(reply, tag) || reply.startsWith("-LOADING ");
          }
          scripts.add(name);
          return true;
        }),
      );
    }
    const known = scripts.has(name);
    const tag = this.newTag();
    const args = ["EVALSHA", digestOf(name), "1", `${this.logical("k")}~${tag}`];
    const truly = this.truly(args, [tag]);
    return this.step(args, {
      ...truly,
      accepts: (reply) => {
        if (reply === NOSCRIPT && known) {
          const execution = judge.truth.executions.get(tag);
          return execution?.reply === reply && judge.mayLackScripts(execution.server);
        }
        return truly.accepts(reply);
      },
    });
  }

  private replyMode(): Step {
    if (this.random.chance(0.5)) {
      return together([
        this.step(["CLIENT", "REPLY", "SKIP"], silence("CLIENT REPLY SKIP")),
        muted(this.get()),
        this.get(),
      ]);
    }
    const steps = [this.step(["CLIENT", "REPLY", "OFF"], silence("CLIENT REPLY OFF"))];
    for (let i = this.random.int(0, 4); i > 0; i--) {
      steps.push(muted(this.random.chance(0.5) ? this.set() : this.mget()));
    }
    steps.push(this.step(["CLIENT", "REPLY", "ON"], exactly("CLIENT REPLY ON", "+OK\r\n")));
    return together(steps);
  }

  /** MULTI … EXEC on one key, perhaps with WATCH before and a second key inside. */
  private transaction(watch: boolean): Step {
    const { random } = this;
    const key = this.logical("k", true);
    const steps: Step[] = [];
    const seen = { refused: false, rules: null as readonly unknown[] | null };
    const since = (tag: string) => rulesSince((is) => this.judge.had(tag, is));
    // What was watched before decides where the transaction may go.
    const before = this.watching;
    if (watch && !before) {
      this.watching = true;
      steps.push(this.step(
        ["WATCH", key],
        matching(`WATCH ${key}`, (reply) => reply === "+OK\r\n" || this.badly(reply)),
      ));
      if (random.chance(0.4)) return together(steps);
      if (random.chance(0.3)) {
        // Somebody touches it: this client itself, by the shared connection.
        steps.push(this.get());
      }
      if (random.chance(0.2)) {
        steps.push(this.step(["UNWATCH"], matching("UNWATCH", (r) => r === "+OK\r\n" || this.badly(r))));
      }
    }
    if (watch && before && this.plan.rewatches) {
      // The one before may be lost by now, and then this one may be elsewhere.
      steps.push(this.step(
        ["WATCH", key],
        matching(`WATCH ${key}`, (reply) => reply === "+OK\r\n" || reply === CROSSSLOT || this.badly(reply)),
      ));
    }
    watch ||= before;
    this.watching = false;
    const multi = this.newTag();
    steps.push(this.step(["MULTI"], exactly("MULTI", "+OK\r\n")));
    // It has keys of several names, which are on one server or not.
    let scatters = false;
    let publishes = false;
    const elements: Element[] = [];
    let strayed = this.wanders || before;
    const queued = (args: readonly string[]) =>
      this.step(args, {
        ...matching(shownOf(args), (reply) => {
          if (reply === "+QUEUED\r\n") {
            if (this.plan.ruled) seen.rules = since(multi);
            return true;
          }
          seen.refused = true;
          return strayed && reply === CROSSSLOT ||
            reply === "-ERR transaction too large (max_request_size)\r\n";
        }),
        refused: () => seen.refused = true,
      });
    const most = this.plan.transactionsMax;
    for (let i = random.int(0, random.chance(0.4) ? Math.min(most, FEW) : most); i > 0; i--) {
      if (this.plan.asides && random.chance(0.3)) {
        const { args, element } = this.aside();
        elements.push(element);
        steps.push(queued(args));
        publishes ||= args[0] === "PUBLISH";
        continue;
      }
      const tag = this.newTag();
      const stray = random.chance(most > FEW ? 0.01 : 0.1);
      strayed ||= stray;
      const at = stray ? this.logical("k", true) : key;
      scatters ||= at !== key;
      const args = random.pick([
        ["SET", at, this.value(tag)],
        ["GETSET", at, this.value(tag)],
        ["APPEND", at, this.value(tag)],
      ]);
      elements.push({ tag });
      steps.push(queued(args));
    }
    if (random.chance(0.1)) {
      seen.refused = true;
      steps.push(
        this.step(["GET"], exactly("GET", "-ERR wrong number of arguments for 'get' command\r\n")),
      );
    }
    if (random.chance(0.15)) {
      steps.push(this.step(["DISCARD"], exactly("DISCARD", "+OK\r\n")));
      return together(steps);
    }
    const tags = elements.flatMap(({ tag }) => tag ?? []);
    this.judge.truth.transactions.push(tags);
    const execTag = `${this.client}.exec.${++this.limited}`;
    const exec = this.step(
      ["EXEC"],
      matching(`EXEC of ${tags.join(" ")}`, (reply) => {
        if (seen.refused) return reply.startsWith("-EXECABORT Transaction discarded ");
        if (this.isExecOf(elements, reply)) {
          // Some rules have held from its last command to EXEC.
          return !this.plan.ruled || seen.rules === null ||
            since(execTag).some((one) => seen.rules!.includes(one));
        }
        if (watch && (reply === "*-1\r\n" || reply === "_\r\n")) {
          return !tags.some((tag) => this.judge.truth.executions.has(tag)) || !this.plan.calm;
        }
        if (reply.startsWith(RULES_CHANGED)) {
          return since(multi).length > 1 &&
            !tags.some((tag) => this.judge.truth.executions.has(tag));
        }
        if (reply.startsWith(CHANGED_ABORT)) {
          // A message is a part of it where there was one server, as another's channel it cannot be.
          return (scatters || publishes) && this.judge.keysMoved(multi) &&
            !tags.some((tag) => this.judge.truth.executions.has(tag));
        }
        return this.badly(reply) ||
          this.loads() &&
            (reply.startsWith("-LOADING ") || reply.startsWith("-EXECABORT Transaction discarded "));
      }),
    );
    // Where all of it goes is decided when EXEC comes.
    if (this.plan.meets && random.chance(0.5)) {
      this.pending = () => {
        this.sentAtMs(execTag);
        for (const tag of tags) this.sentAtMs(tag);
        return exec;
      };
      return together(steps);
    }
    const ahead = steps.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.sentAtMs(execTag, ahead);
    for (const tag of tags) this.sentAtMs(tag, ahead);
    return together([...steps, exec]);
  }

  /** A command that a transaction's server does not get: answered by the proxy, or by a channel's server. */
  private aside(): { args: readonly string[]; element: Element } {
    const name = `n${this.client}x${++this.request}`;
    return this.random.pick([
      () => ({ args: ["CLIENT", "SETNAME", name], element: { reply: /\+OK\r\n/y } }),
      () => ({ args: ["CLIENT", "ID"], element: { reply: /:\d+\r\n/y } }),
      () => ({ args: ["SELECT", "99"], element: { reply: /-ERR DB index is out of range[^\r]*\r\n/y } }),
      () => {
        const tag = this.newTag();
        const message = `=${tag};`;
        this.judge.truth.late.add(tag);
        const channel = this.random.pick(CHANNELS);
        this.published.set(message, channel);
        return { args: ["PUBLISH", channel, message], element: { publishes: tag } };
      },
    ])();
  }

  /** Is this an array of just those elements? */
  private isExecOf(elements: readonly Element[], reply: string): boolean {
    const head = `*${elements.length}\r\n`;
    if (!reply.startsWith(head)) return false;
    let at = head.length;
    for (const { tag, publishes, reply: own } of elements) {
      if (tag !== undefined) {
        const said = this.judge.truth.executions.get(tag)?.reply;
        if (said === undefined || !reply.startsWith(said, at)) return false;
        at += said.length;
      } else {
        const end = reply.indexOf("\r\n", at) + 2;
        const said = reply.slice(at, end);
        const expected = own ?? /:\d+\r\n/y;
        expected.lastIndex = 0;
        const failed = publishes !== undefined && (this.badly(said) || this.isErrorOfOne([publishes], said));
        if (!failed && !expected.test(said)) return false;
        if (!failed && publishes !== undefined && this.executions([publishes]) === null) return false;
        at = end;
      }
    }
    return at === reply.length;
  }

  /** A key may change its server between two requests. */
  private get wanders(): boolean {
    return isDrawn(this.plan) || ejects(this.plan) || this.plan.changes.length > 0;
  }

  private loads(): boolean {
    return this.plan.events.some((event) => event.loadingMs > 0);
  }

  // ---- parts

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

  private manyKeys(count = this.random.magnitude(1, 12)): { tags: string[]; keys: string[] } {
    const request = ++this.request;
    const tags = Array.from({ length: count }, (_, i) => `${this.client}.${request}.${i}`);
    for (const tag of tags) this.sentAtMs(tag);
    // On one server it goes there whole, at last.
    const all = this.plan.meets && this.random.chance(0.5) ? this.logical("k") : null;
    return { tags, keys: tags.map((tag) => `${all ?? this.logical("k")}~${tag}`) };
  }

  /** A key's name without tag: its type, whose it is, which one. */
  private logical(
    type: string,
    own = this.modest || this.random.chance(this.plan.meets ? 0.9 : 0.6),
  ): string {
    const name = `${type}${own ? this.client : "s"}.${this.random.int(0, this.plan.meets ? 1 : 3)}`;
    if (this.pool.hashTag === null) return name;
    const [open, close] = this.pool.hashTag;
    return `${String.fromCharCode(open!)}${name}${String.fromCharCode(close!)}`;
  }

  /** Its own tag in front, then padding of any size. */
  private value(tag: string): string {
    const { random } = this;
    const size = this.modest
      ? 10
      : this.plan.hugeValues && random.chance(0.15)
      ? random.int(800_000, 2_500_000)
      : random.chance(0.8)
      ? random.int(0, 20)
      : random.magnitude(20, this.plan.bigValues && random.chance(0.2) ? 300_000 : 5000);
    return `=${tag};${random.chance(0.1) ? "\r\n" : ""}${"x".repeat(size)}`;
  }

  private keyed(args: readonly string[], key: number): Step {
    const tag = this.newTag();
    const tagged = args.map((arg, i) => i === key ? `${arg}~${tag}` : arg);
    return this.step(tagged, this.truly(tagged, [tag]));
  }

  /** One request to one server: what the server said, or an error of the proxy's. */
  private truly(args: readonly string[], tags: readonly string[]): Expect {
    const { executions } = this.judge.truth;
    return {
      ...matching(
        shownOf(args),
        (reply) => {
          if (executions.get(tags[0]!)?.reply !== reply) return this.badly(reply);
          this.judge.truth.answered(tags);
          return true;
        },
      ),
      executed: () => executions.has(tags[0]!),
    };
  }

  private badly(reply: string): boolean {
    return this.judge.isFailure(reply) || this.judge.isMismatch(reply) || this.judge.truth.extras.has(reply);
  }

  private ruled(args: readonly string[], expect: Expect): Expect {
    const tag = `${this.client}.rules.${++this.limited}`;
    this.sentAtMs(tag);
    return ruled(expect, args, (is) => this.judge.had(tag, is));
  }

  /** As `badly`, for what concerns all servers. */
  private badlyOnRing(reply: string, tag: string): boolean {
    const { judge } = this;
    return judge.isFailureOnRing(reply, tag) || judge.isMismatch(reply) || judge.truth.extras.has(reply);
  }

  /** The executions of all tags, or null if some have not been executed. */
  private executions(tags: readonly string[]): Execution[] | null {
    const found: Execution[] = [];
    for (const tag of tags) {
      const execution = this.judge.truth.executions.get(tag);
      if (execution === undefined) return null;
      found.push(execution);
    }
    return found;
  }

  private isErrorOfOne(tags: readonly string[], reply: string): boolean {
    return reply.startsWith("-") &&
      tags.some((tag) => this.judge.truth.executions.get(tag)?.reply === reply);
  }

  private step(args: readonly string[], inner: Expect): Step {
    const expect = this.plan.ruled ? this.ruled(args, inner) : inner;
    const { bytes } = step(args, expect);
    const texts = this.plan.pools.flatMap((pool) => refusalsOf(bytes.length, args.length, pool));
    if (texts.every((text) => text === null)) return { bytes, expects: [expect], last: false };
    const tag = `${this.client}.limit.${++this.limited}`;
    this.sentAtMs(tag);
    const had = (reply: string | null) =>
      this.judge.had(tag, (config) => refusalsOf(bytes.length, args.length, config).includes(reply));
    if (!texts.includes(null)) {
      return { bytes, expects: [{ ...refusal(expect.shown, ""), accepts: had }], last: true };
    }
    return { bytes, expects: [eitherOf(expect, texts, had)], last: false };
  }
}

/** One of which only the refusal is shown, perhaps. */
function hushed(one: Expect): Expect {
  return {
    ...silence(`muted ${one.shown}`),
    unsure: true,
    accepts: (reply) => one.accepts(reply) && one.last,
    get last() {
      return one.last;
    },
  };
}

/**
 * What a request over limits of this configuration may be told; [null]: it is over none. The arguments are counted first, but
 * that may have been under the configuration before.
 */
function refusalsOf(
  size: number,
  count: number,
  { argumentsMax, requestSizeMax }: PoolConfig,
): (string | null)[] {
  const texts = [];
  if (count > argumentsMax) {
    texts.push(`-ERR Protocol error: too many arguments (max_arguments is ${argumentsMax})\r\n`);
  }
  if (size > requestSizeMax) {
    texts.push(`-ERR Protocol error: request too large (max_request_size is ${requestSizeMax} bytes)\r\n`);
  }
  return texts.length === 0 ? [null] : texts;
}

/**
 * `expect`, where limits change, and one of those the request is over, another not: refused or not, as was in force.
 * @param had this refusal, or none, was right at some moment since then
 */
function eitherOf(
  expect: Expect,
  refusals: readonly (string | null)[],
  had: (refusal: string | null) => boolean,
): Expect {
  let refused = false;
  return {
    ...expect,
    unsure: true,
    accepts(reply) {
      refused = refusals.includes(reply);
      return refused ? had(reply) : expect.accepts(reply) && had(null);
    },
    get last() {
      return refused || expect.last;
    },
  };
}

/** Several steps as one; what comes after the last one that closes is left out. */
function together(steps: readonly Step[]): Step {
  let bytes = "";
  const expects: Expect[] = [];
  for (const step of steps) {
    bytes += step.bytes;
    expects.push(...step.expects);
    if (step.last) return { bytes, expects, last: true };
  }
  return { bytes, expects, last: false };
}

/** The same requests while replies are off; one that closes is answered as ever. */
function muted(step: Step): Step {
  const expects = step.expects.map((expect) => silence(`muted ${expect.shown}`));
  // An error that closes is shown after SKIP, not after OFF.
  if (step.last) {
    return {
      ...step,
      expects: step.expects.map((one) => ({ ...one, maybeSilent: () => true })),
    };
  }
  // Perhaps one that closes.
  if (step.expects.some((one) => one.unsure === true)) return { ...step, expects: step.expects.map(hushed) };
  return { ...step, expects };
}

function shownOf(args: readonly string[]): string {
  return args.map((arg) => arg.length > 40 ? `${arg.slice(0, 40)}…` : arg).join(" ");
}

/** How many clients a whole CLIENT LIST tells of; 0 if it is none, or none of them has just said `command`. */
function listed(reply: string, command: string): number {
  const lines = reply.replace(/^(\$\d+\r\n|=\d+\r\ntxt:)/, "").slice(0, -2).split("\n").slice(0, -1);
  const right = lines.every((line) =>
    /^id=\d+ addr=\S+ laddr=\S+ fd=-1 name=\S* age=\d+ idle=\d+ /.test(line)
  );
  return right && lines.some((line) => line.includes(` cmd=${command} `)) ? lines.length : 0;
}
