/**
 * What a client of a simulated cluster asks for. Keys are `{s3}k1~TAG`: few slots, a few keys in each, so that requests meet in the
 * slots that migrate; keys `…c7` are one client's own.
 */
import { exactly, type Expect, matching } from "./expect.ts";
import { channelOf, type Told } from "./cluster_listener.ts";
import { NO_FUNCTION } from "./model_cluster.ts";
import { NOSCRIPT } from "./model_redis.ts";
import type { Random } from "./random.ts";
import { functionOf, LIBRARIES, libraryText, type Loaded, SCRIPTS, sha1 } from "./scripts.ts";
import { bulk, type Step, step, together } from "./step.ts";
import { type Execution, type Truth, Violation } from "./truth.ts";

const KINDS = [
  "get",
  "set",
  "incr",
  "append",
  "mget",
  "mset",
  "sum",
  "whole",
  "near",
  "transaction",
  "watch",
  "script",
  "scan",
  "dbsize",
] as const;
const BLOCKING = ["block", "push"] as const;
const WAITS: readonly string[] = ["BLPOP", "BRPOP"];
/** In worlds of scripts. */
const SCRIPTED = ["load", "digest", "call", "block of scripts"] as const;
const LOSSES = ["lose"] as const;
const TELLING = ["publish"] as const;
const LARGE = ["large"] as const;
/** More is not kept, and streams through. */
const LARGE_BYTES = 520 * 1024;
type Kind =
  | typeof KINDS[number]
  | typeof BLOCKING[number]
  | typeof SCRIPTED[number]
  | typeof LOSSES[number]
  | typeof TELLING[number]
  | typeof LARGE[number];

/** What its world tells a client. */
export interface ClusterJudge {
  readonly truth: Truth;
  /** Slots that keys are in, by tag: "s3". */
  readonly slots: readonly string[];
  readonly keysPerSlot: number;
  readonly blocks: boolean;
  readonly password: string | null;
  readonly scripts: boolean;
  /** Requests with more arguments, and transactions of more commands, go out in slices. */
  readonly sliceArguments: number;
  readonly flushes: boolean;
  readonly loaded: Loaded;
  /** Some values are so large that their requests stream through. */
  readonly large: boolean;
  /** Nodes are asked with EXISTS who has the key of this request. */
  asksFirst(tag: string): void;
  /** Some subscribe. */
  readonly listens: boolean;
  /** What has been published. */
  readonly told: Told;
  /** A node has taken another's place just now, or a connection was lost. */
  mayTellAgain(): boolean;
  /** May this error be read now, for a request that was made then? */
  mayFail(reply: string, slots: readonly string[], madeAtMs: number): boolean;
  /** May the slot have been on its way since then, or nobody have known where it is? */
  mayHaveMoved(slot: string, sinceMs: number): boolean;
  nowMs(): number;
  /** A SCAN that has begun then is over, and has shown these keys. @throws Violation if one is missing */
  walked(seen: ReadonlySet<string>, fromMs: number): void;
  /** The transaction that begins with `first` relies on what `watch` has seen of its key. */
  watched(watch: string, first: string, key: string): void;
}

/** One command of a transaction, or alone. */
interface Command {
  readonly key: string;
  readonly tag: string;
  readonly args: readonly string[];
  /** Of the script, or the library that its function is of. */
  readonly name: string;
  /** What is said of it where it is not known. */
  readonly lacks: string | null;
  /** No server of the transaction's has it: what its part of EXEC's reply is. */
  readonly aside?: RegExp;
}

/** A message's receivers, or why there are none. */
const TOLD = /^(:\d+|-[^\r]*)\r\n/;

export class ClusterWorkload {
  readonly blocks = false;
  private request = 0;
  private readonly walk = { cursor: "0", fromMs: 0, seen: new Set<string>(), asked: false };
  private readonly weights = new Map<Kind, number>();

  constructor(
    private readonly judge: ClusterJudge,
    private readonly client: number,
    private readonly random: Random,
  ) {
    for (const kind of KINDS) {
      if (random.chance(0.5)) this.weights.set(kind, random.magnitude(1, 20));
    }
    if (judge.blocks && random.chance(0.5)) {
      for (const kind of BLOCKING) this.weights.set(kind, random.magnitude(3, 20));
    }
    if (judge.scripts) {
      for (const kind of SCRIPTED) if (random.chance(0.7)) this.weights.set(kind, random.magnitude(1, 30));
      if (judge.flushes && random.chance(0.5)) this.weights.set("lose", 1);
    }
    if (judge.large) this.weights.set("large", 2);
    if (judge.listens) this.weights.set("publish", random.magnitude(3, 20));
    if (this.weights.size === 0) this.weights.set("set", 1);
  }

  hello(): Step {
    const { password } = this.judge;
    const steps = password === null ? [] : [step(["AUTH", password], exactly("AUTH", "+OK\r\n"))];
    // What all know is lacked only by whoever has come since.
    if (this.judge.scripts && this.client === 1) {
      steps.push(...SCRIPTS.map((text) => this.loadScript(text)));
      steps.push(...LIBRARIES.map((name) => this.loadLibrary(name)));
    }
    return together(steps);
  }

  goodbye(): Step {
    return { ...step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
  }

  /** All keys, when all must work. */
  epilogue(): Step {
    const { slots } = this.judge;
    const steps = slots.flatMap((slot) => [
      this.keyed(["APPEND", `{${slot}}k0`], [], slot),
      this.keyed(["GET", `{${slot}}k0`], [], slot),
    ]);
    if (this.judge.scripts) {
      for (const slot of slots) {
        steps.push(...SCRIPTS.map((text) => this.run(this.digest(text, slot))));
        steps.push(...LIBRARIES.map((name) => this.run(this.call(name, slot))));
        steps.push(this.block(slot, [...SCRIPTS.map((text) => this.digest(text, slot))]));
        steps.push(this.block(slot, [...LIBRARIES.map((name) => this.call(name, slot))]));
      }
    }
    return together([...steps, this.mget(slots.map((slot) => `{${slot}}k0`))]);
  }

  next(): Step {
    const { random, judge } = this;
    switch (this.draw()) {
      case "get":
        return this.keyed([random.pick(["GET", "STRLEN", "TYPE"]), this.key()]);
      case "set":
        return this.keyed([random.pick(["SET", "GETSET", "SETNX"]), this.key()], ["value"]);
      case "append":
        return this.keyed(["APPEND", this.key()], ["value"]);
      case "incr":
        return this.keyed(["INCR", this.key("n")]);
      case "mget":
        return this.mget(this.keys());
      case "near":
        return this.mget(this.keysOfOne());
      case "mset":
        return this.mset(random.chance(0.5) ? this.keys() : this.keysOfOne());
      case "sum":
        return this.sum(random.chance(0.5) ? this.keys() : this.keysOfOne());
      case "whole":
        return this.whole();
      case "transaction":
        return this.transaction(false);
      case "watch":
        return this.transaction(true);
      case "script":
        return this.script();
      case "scan":
        return this.scan();
      case "dbsize":
        return step(["DBSIZE"], this.expect("DBSIZE", [], (reply) => /^:\d+\r\n$/.test(reply)));
      case "block":
        return this.keyed([random.pick(WAITS), this.key("l")], [String(random.magnitude(1, 3000) / 1000)]);
      case "load":
        return random.chance(0.5)
          ? this.loadScript(random.pick(SCRIPTS))
          : this.loadLibrary(random.pick(LIBRARIES));
      case "large":
        return this.large();
      case "publish":
        return this.publish(random.chance(0.7), random.pick(judge.slots));
      case "lose":
        return this.lose();
      case "digest":
        return this.run(this.digest(random.pick(SCRIPTS)));
      case "call":
        return this.run(this.call(random.pick(LIBRARIES)));
      case "block of scripts": {
        const slot = random.pick(judge.slots);
        const most = judge.sliceArguments < 100 && random.chance(0.3) ? 2 * judge.sliceArguments : 4;
        return this.block(slot, Array.from({ length: random.int(1, most) }, () => this.any(slot)));
      }
      case "push":
        return this.keyed([random.pick(["RPUSH", "LPUSH"]), this.key("l")], ["value"]);
    }
  }

  // ---- kinds

  private mget(keys: readonly string[]): Step {
    const tags = this.tags(keys.length);
    const tagged = keys.map((key, i) => `${key}~${tags[i]}`);
    return step(
      ["MGET", ...tagged],
      this.expect(`MGET ${tagged.join(" ")}`, keys, (reply) => {
        const found = this.executions(tags);
        if (found === null) return false;
        const parts = tags.map((tag, i) => found[i]!.parts?.[found[i]!.tags.indexOf(tag)]);
        if (parts.includes(undefined) || reply !== `*${parts.length}\r\n${parts.join("")}`) return false;
        this.judge.truth.answered(tags);
        return true;
      }),
    );
  }

  private mset(keys: readonly string[]): Step {
    const tags = this.tags(keys.length);
    const args = keys.flatMap((key, i) => [`${key}~${tags[i]}`, `=${tags[i]};`]);
    return step(
      ["MSET", ...args],
      this.expect(`MSET ${args.join(" ")}`, keys, (reply) => {
        return reply === "+OK\r\n" && this.executions(tags)?.every((one) => one.reply === "+OK\r\n") === true;
      }),
    );
  }

  private sum(keys: readonly string[]): Step {
    const tags = this.tags(keys.length);
    const args = [
      this.random.pick(["DEL", "EXISTS", "UNLINK", "TOUCH"]),
      ...keys.map((key, i) => `${key}~${tags[i]}`),
    ];
    return step(
      args,
      this.expect(args.join(" "), keys, (reply) => {
        const found = this.executions(tags);
        if (found === null) return false;
        return reply ===
          `:${[...new Set(found)].reduce((total, one) => total + Number(one.reply.slice(1)), 0)}\r\n`;
      }),
    );
  }

  /** A command of two keys that cannot be split. */
  private whole(): Step {
    const slot = this.random.pick(this.judge.slots);
    const keys = [this.key("k", slot), this.key("k", slot)];
    const tags = this.tags(2);
    const args = [this.random.pick(["RENAME", "COPY"]), ...keys.map((key, i) => `${key}~${tags[i]}`)];
    return step(args, this.expect(args.join(" "), keys, (reply) => this.isTrue(tags, reply)));
  }

  private script(): Step {
    const [key, text] = [this.key(), `return${this.random.int(0, 2)}`];
    const [tag] = this.tags(1);
    const loaded = this.random.chance(0.5);
    const args = [loaded ? "EVALSHA" : "EVAL", loaded ? sha1(text) : text, "1", `${key}~${tag}`];
    return this.run({ key, tag: tag!, args, name: text, lacks: loaded ? NOSCRIPT : null });
  }

  /** It cannot be sent twice: it goes to whoever has the key when it begins. */
  private large(): Step {
    const { random, judge } = this;
    const [slot, [tag]] = [random.pick(judge.slots), this.tags(1)];
    const key = this.key("k", slot);
    const args = [random.pick(["SET", "SETNX"]), `${key}~${tag}`, `=${tag};`.padEnd(LARGE_BYTES, "x")];
    judge.asksFirst(tag!);
    const shown = `${args[0]} ${args[1]} large`;
    const expect = this.expect(shown, [key], (reply) =>
      this.isTrue([tag!], reply) ||
      /^-(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /.test(reply) && judge.mayHaveMoved(slot, expect.madeAtMs));
    return step(args, expect);
  }

  /** All that may be published on, when all must hear it. @returns the messages, with the steps */
  publishAll(): { readonly steps: Step; readonly messages: readonly string[] } {
    const before = new Set(this.judge.told.keys());
    const steps = this.judge.slots.flatMap((slot) => [true, false].map((shard) => this.publish(shard, slot)));
    return {
      steps: together(steps),
      messages: [...this.judge.told.keys()].filter((message) => !before.has(message)),
    };
  }

  private publish(shard: boolean, slot: string): Step {
    const [channel, [tag]] = [channelOf(slot), this.tags(1)];
    const args = [shard ? "SPUBLISH" : "PUBLISH", channel, `=${tag};`];
    this.judge.told.set(args[2]!, { shard, channel });
    const isCount = (reply: string) => /^:\d+\r\n$/.test(reply) && this.executions([tag!]) !== null;
    return step(args, this.expect(args.join(" "), shard ? [channel] : [], isCount));
  }

  // ---- scripts and functions

  private digest(text: string, slot?: string): Command {
    const [key, [tag]] = [this.key("k", slot), this.tags(1)];
    return {
      key,
      tag: tag!,
      args: ["EVALSHA", sha1(text), "1", `${key}~${tag}`],
      name: text,
      lacks: NOSCRIPT,
    };
  }

  private call(name: string, slot?: string): Command {
    const [key, [tag]] = [this.key("k", slot), this.tags(1)];
    const args = ["FCALL", functionOf(name), "1", `${key}~${tag}`];
    return { key, tag: tag!, args, name, lacks: NO_FUNCTION };
  }

  /** What a transaction may have among its commands. */
  private any(slot: string): Command {
    const { random, judge } = this;
    switch (random.int(0, judge.listens ? 7 : 4)) {
      case 0:
        return this.digest(random.pick(SCRIPTS), slot);
      case 1:
        return this.call(random.pick(LIBRARIES), slot);
      case 2: {
        // The proxy's own answer.
        const args = ["ECHO", `of ${this.client}`];
        return {
          key: "",
          tag: "",
          args,
          name: "",
          lacks: null,
          aside: new RegExp(`^\\$\\d+\r\n${args[1]}\r\n`),
        };
      }
      case 5:
      case 6:
        // A shard channel is like a key: of another slot it is refused.
        return random.chance(0.5) ? this.telling(true, slot) : this.telling(false, random.pick(judge.slots));
      default: {
        const [key, [tag]] = [this.key("k", slot), this.tags(1)];
        const args = ["APPEND", `${key}~${tag}`, `=${tag};`];
        return { key, tag: tag!, args, name: "", lacks: null };
      }
    }
  }

  /** It is published when EXEC has been answered, by whichever node. */
  private telling(shard: boolean, slot: string): Command {
    const [channel, [tag]] = [channelOf(slot), this.tags(1)];
    const args = [shard ? "SPUBLISH" : "PUBLISH", channel, `=${tag};`];
    this.judge.told.set(args[2]!, { shard, channel });
    this.judge.truth.late.add(tag!);
    return { key: "", tag: "", args, name: "", lacks: null, aside: TOLD };
  }

  private run({ key, tag, args, name, lacks }: Command): Step {
    const expect = this.expect(
      args.join(" "),
      [key],
      (reply) => this.isTrue([tag], reply) || this.isLacking(reply, lacks, name, expect.madeAtMs),
    );
    return step(args, expect);
  }

  private isLacking(reply: string, lacks: string | null, name: string, madeAtMs: number): boolean {
    return reply === lacks && this.judge.loaded.mayLack(name, madeAtMs);
  }

  /** MULTI … EXEC of these commands, for keys of one slot. */
  private block(slot: string, commands: readonly Command[]): Step {
    const { judge } = this;
    const tags = commands.filter(({ aside }) => aside === undefined).map(({ tag }) => tag);
    judge.truth.transactions.push(tags);
    const steps = commands.map(({ key, args }) =>
      step(args, this.expect(args.join(" "), key === "" ? [] : [key], (reply) => reply === "+QUEUED\r\n"))
    );
    const isLong = commands.length > judge.sliceArguments;
    const expect = this.expect(`EXEC of ${tags.join(" ")}`, [`{${slot}}`], (reply) => {
      const found = this.executions(tags);
      if (found === null) {
        if (tags.some((tag) => judge.truth.executions.has(tag))) return false;
        // It is not kept, and goes nowhere else.
        return isLong && /^-(EXECABORT|MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /.test(reply) &&
            judge.mayHaveMoved(slot, expect.madeAtMs) ||
          reply.startsWith("-EXECABORT ") && judge.mayFail(reply, [slot], expect.madeAtMs);
      }
      const head = `*${commands.length}\r\n`;
      if (!reply.startsWith(head)) return false;
      let rest = reply.slice(head.length);
      for (const { tag, lacks, name, aside } of commands) {
        const said = aside === undefined ? found[tags.indexOf(tag)]!.reply : aside.exec(rest)?.[0];
        if (said === undefined || !rest.startsWith(said)) return false;
        rest = rest.slice(said.length);
        if (said !== lacks || isLong || judge.loaded.mayLack(name, expect.madeAtMs)) continue;
        throw new Violation(`client ${this.client} reads ${said.trimEnd()} within EXEC, of ${name}`);
      }
      return rest === "";
    });
    return together([
      step(["MULTI"], exactly("MULTI", "+OK\r\n")),
      ...steps,
      step(["EXEC"], expect),
    ]);
  }

  private loadScript(text: string): Step {
    return this.loading(["SCRIPT", "LOAD", text], text, sha1(text));
  }

  private loadLibrary(name: string): Step {
    const text = libraryText(name, this.random.int(0, 2));
    return this.loading(["FUNCTION", "LOAD", "REPLACE", text], name, name);
  }

  private loading(args: readonly string[], name: string, answer: string): Step {
    const { judge } = this;
    const { loaded } = judge;
    const sentMs = judge.nowMs();
    const isDone = (reply: string) => {
      if (reply === bulk(answer)) loaded.loaded(name, sentMs);
      return reply === bulk(answer);
    };
    return step(args, this.expect(`${args[0]} LOAD ${name}`, [], isDone));
  }

  /** Takes some or all of them away. */
  private lose(): Step {
    const { random, judge } = this;
    const name = random.pick(LIBRARIES);
    const args = random.pick([["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"], ["FUNCTION", "DELETE", name]]);
    const over = judge.loaded.loses();
    const isSaid = (reply: string) => {
      over();
      // Nodes may differ in what they have.
      return reply === "+OK\r\n" || args[1] === "DELETE" && reply.startsWith("-ERR ");
    };
    return step(args, this.expect(args.join(" "), [], isSaid));
  }

  /** A walk goes on where it was; whoever has ended it has seen all that stayed where it was meanwhile. */
  private scan(): Step {
    const { random, judge } = this;
    // One page at a time: the next needs this one's cursor.
    if (this.walk.asked) return this.keyed(["GET", this.key()]);
    const { walk } = this;
    walk.asked = true;
    if (walk.cursor === "0") {
      walk.fromMs = judge.nowMs();
      walk.seen.clear();
    }
    const args = ["SCAN", walk.cursor, "COUNT", String(random.int(1, 10))];
    return step(
      args,
      this.expect(args.join(" "), [], (reply) => {
        const match = /^\*2\r\n\$\d+\r\n(\d+)\r\n\*\d+\r\n/.exec(reply);
        walk.asked = false;
        if (match === null) {
          walk.cursor = "0";
          return false;
        }
        for (const [, key] of reply.slice(match[0].length).matchAll(/\$\d+\r\n([^\r]*)\r\n/g)) {
          walk.seen.add(key!);
        }
        walk.cursor = match[1]!;
        if (walk.cursor === "0") judge.walked(walk.seen, walk.fromMs);
        return true;
      }),
    );
  }

  /** MULTI … EXEC on keys of one slot, perhaps with WATCH before. */
  private transaction(watch: boolean): Step {
    const { random, judge } = this;
    const slot = random.pick(judge.slots);
    const steps: Step[] = [];
    const watched = this.key("k", slot);
    const [watchTag] = this.tags(1);
    const seen = { watching: false, refused: false, inVain: false };
    if (watch) {
      steps.push(step(
        ["WATCH", `${watched}~${watchTag}`],
        this.expect(`WATCH ${watched}~${watchTag}`, [watched], (reply) => {
          seen.watching = reply.startsWith("+OK");
          // What is on its way may be said to be watched by nobody's watching it, if EXEC fails then.
          seen.inVain = seen.watching && !judge.truth.executions.has(watchTag!);
          return seen.inVain || this.isTrue([watchTag!], reply);
        }),
      ));
      if (random.chance(0.3)) steps.push(this.keyed(["GET", watched]));
      if (random.chance(0.2)) steps.push(this.keyed(["SET", this.key("k", slot)], ["value"]));
    }
    steps.push(step(["MULTI"], exactly("MULTI", "+OK\r\n")));
    const tags: string[] = [];
    // By its tag: of which script.
    const digests = new Map<string, string>();
    for (let i = random.int(1, 4); i > 0; i--) {
      if (judge.scripts && random.chance(0.3)) {
        const { key, tag, args, name } = this.digest(random.pick(SCRIPTS), slot);
        digests.set(tag, name);
        tags.push(tag);
        steps.push(step(args, {
          ...this.expect(args.join(" "), [key], (reply) => reply === "+QUEUED\r\n"),
          executed: () => false,
        }));
        continue;
      }
      const key = this.key("k", slot);
      const [tag] = this.tags(1);
      tags.push(tag!);
      const args = random.pick([
        ["SET", `${key}~${tag}`, `=${tag};`],
        ["APPEND", `${key}~${tag}`, `=${tag};`],
        ["GET", `${key}~${tag}`],
      ]);
      steps.push(step(args, {
        ...this.expect(args.join(" "), [key], (reply) => reply === "+QUEUED\r\n"),
        executed: () => false,
      }));
    }
    if (watch) judge.watched(watchTag!, tags[0]!, watched);
    judge.truth.transactions.push(tags);
    const expect = this.expect(`EXEC of ${tags.join(" ")}`, [watched], (reply) => {
      const found = this.executions(tags);
      if (seen.inVain && found !== null) return false;
      if (found !== null) {
        for (const [i, tag] of tags.entries()) {
          const name = digests.get(tag) ?? "";
          if (found[i]!.reply !== NOSCRIPT || judge.loaded.mayLack(name, expect.madeAtMs)) continue;
          throw new Violation(`client ${this.client} reads ${NOSCRIPT.trimEnd()} within EXEC, of ${name}`);
        }
        return reply === `*${tags.length}\r\n${found.map((one) => one.reply).join("")}`;
      }
      if (tags.some((tag) => judge.truth.executions.has(tag))) return false;
      return watch && reply === "*-1\r\n" ||
        // What was refused may be so for what made its WATCH or one of its commands fail.
        reply.startsWith("-EXECABORT ") && judge.mayFail(reply, [slot], expect.madeAtMs);
    });
    return together([...steps, step(["EXEC"], expect)]);
  }

  // ---- parts

  private draw(): Kind {
    let total = 0;
    for (const weight of this.weights.values()) total += weight;
    let at = this.random.next() * total;
    for (const [kind, weight] of this.weights) if ((at -= weight) < 0) return kind;
    return "get";
  }

  private tags(count: number): string[] {
    const request = ++this.request;
    return Array.from({ length: count }, (_, i) => `${this.client}.${request}.${i}`);
  }

  private key(type = "k", slot = this.random.pick(this.judge.slots)): string {
    const own = this.random.chance(0.5) ? `c${this.client}` : "";
    return `{${slot}}${type}${this.random.int(0, this.judge.keysPerSlot - 1)}${own}`;
  }

  private keys(): string[] {
    return Array.from({ length: this.random.magnitude(1, 16) }, () => this.key());
  }

  private keysOfOne(): string[] {
    const slot = this.random.pick(this.judge.slots);
    return Array.from({ length: this.random.int(2, 4) }, () => this.key("k", slot));
  }

  /** @param rest "value" is one with its tag */
  private keyed(args: readonly string[], rest: readonly string[] = [], _slot?: string): Step {
    const [tag] = this.tags(1);
    const [name, key] = args as [string, string];
    const words = [name, `${key}~${tag}`, ...rest.map((word) => word === "value" ? `=${tag};` : word)];
    if (name === "APPEND" && rest.length === 0) words.push(`=${tag};`);
    const executed = () => this.judge.truth.executions.has(tag!);
    // Its time was over before a node had it: nothing has been popped.
    const gaveUp = (reply: string) => WAITS.includes(name) && reply === "*-1\r\n" && !executed();
    return step(words, {
      ...this.expect(words.join(" "), [key], (reply) => this.isTrue([tag!], reply) || gaveUp(reply)),
      executed,
    });
  }

  private isTrue(tags: readonly string[], reply: string): boolean {
    const { truth } = this.judge;
    if (truth.executions.get(tags[0]!)?.reply !== reply) return false;
    truth.answered(tags);
    return true;
  }

  private executions(tags: readonly string[]): Execution[] | null {
    const found: Execution[] = [];
    for (const tag of tags) {
      const execution = this.judge.truth.executions.get(tag);
      if (execution === undefined) return null;
      found.push(execution);
    }
    return found;
  }

  private expect(
    shown: string,
    keys: readonly string[],
    isTrue: (reply: string) => boolean,
  ): Expect & { readonly madeAtMs: number } {
    const { judge } = this;
    const madeAtMs = judge.nowMs();
    const slots = keys.map((key) => key.slice(1, key.indexOf("}")));
    const accepts = (reply: string) => {
      if (isTrue(reply)) return true;
      if (!reply.startsWith("-")) return false;
      if (judge.mayFail(reply, slots, madeAtMs)) return true;
      throw new Violation(
        `client ${this.client} reads ${reply.trimEnd()} for ${shown} while nothing is wrong`,
      );
    };
    return { ...matching(shown, accepts), madeAtMs };
  }
}
