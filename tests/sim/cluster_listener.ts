/**
 * A client of a simulated cluster that subscribes: to shard channels, whose slots move, and to channels and patterns, of which all nodes
 * hear. What it reads was published once, in the way and on the channel that it is subscribed to, and comes once.
 */
import { globMatches } from "../../src/protocol/redis/glob.ts";
import type { ClusterJudge } from "./cluster_workload.ts";
import { exactly, type Expect, matching } from "./expect.ts";
import type { Random } from "./random.ts";
import { bulk, type Step, step, together } from "./step.ts";
import { Violation } from "./truth.ts";

/** Kinds of subscriptions, and their words. */
const KINDS = [
  { subscribe: "SSUBSCRIBE", unsubscribe: "SUNSUBSCRIBE", message: "smessage" },
  { subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE", message: "message" },
  { subscribe: "PSUBSCRIBE", unsubscribe: "PUNSUBSCRIBE", message: "pmessage" },
] as const;
const [SHARD, , PATTERN] = [0, 1, 2];

/** What has been published: by message. */
export type Told = Map<string, { readonly shard: boolean; readonly channel: string }>;

export function channelOf(slot: string): string {
  return `{${slot}}p`;
}

export class ClusterListener {
  /** Who ends its side while a SUBSCRIBE waits for nodes is not told the outcome. */
  readonly blocks = true;
  private readonly names = KINDS.map(() => new Set<string>());
  /** What it has not been answered yet. */
  private readonly unsure = KINDS.map(() => new Map<string, number>());
  private readonly heard = new Set<string>();
  private readonly resp: 2 | 3;

  constructor(
    private readonly judge: ClusterJudge,
    private readonly told: Told,
    private readonly client: number,
    private readonly random: Random,
  ) {
    this.resp = random.chance(0.5) ? 3 : 2;
  }

  hello(): Step {
    const { password } = this.judge;
    const steps: Step[] = [];
    if (password !== null) steps.push(step(["AUTH", password], exactly("AUTH", "+OK\r\n")));
    if (this.resp === 3) steps.push(step(["HELLO", "3"], matching("HELLO 3", (r) => r.startsWith("%"))));
    return together([...steps, this.change(true)]);
  }

  next(): Step {
    if (this.random.chance(0.1)) {
      const listens = () => this.resp === 2 && this.names.some(({ size }) => size > 0);
      return step(
        ["PING"],
        matching("PING", (reply) => reply === (listens() ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n")),
      );
    }
    return this.change(this.random.chance(0.6));
  }

  epilogue(): Step {
    return this.change(true);
  }

  goodbye(): Step {
    return { ...step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
  }

  private change(subscribes: boolean): Step {
    const { random, judge } = this;
    const kind = random.pick([0, 0, 0, 1, 2]);
    const slot = random.pick(judge.slots);
    const name = kind === PATTERN ? random.pick([`*`, `[{]${slot}*`]) : channelOf(slot);
    const word = KINDS[kind]![subscribes ? "subscribe" : "unsubscribe"];
    const madeAtMs = judge.nowMs();
    const unsure = this.unsure[kind]!;
    unsure.set(name, (unsure.get(name) ?? 0) + 1);
    const expect: Expect = matching(`${word} ${name}`, (reply) => {
      unsure.set(name, unsure.get(name)! - 1);
      if (reply.startsWith("-")) {
        if (judge.mayFail(reply, [slot], madeAtMs)) return true;
        throw new Violation(
          `client ${this.client} reads ${reply.trimEnd()} for ${word} ${name} while nothing is wrong`,
        );
      }
      if (subscribes) this.names[kind]!.add(name);
      else this.names[kind]!.delete(name);
      return reply === `${this.mark}3\r\n${bulk(word.toLowerCase())}${bulk(name)}:${this.countOf(kind)}\r\n`;
    });
    return step([word, name], expect);
  }

  private countOf(kind: number): number {
    const [shards, channels, patterns] = this.names.map(({ size }) => size) as [number, number, number];
    return kind === SHARD ? shards : channels + patterns;
  }

  private get mark(): string {
    return this.resp === 3 ? ">" : "*";
  }

  /** True if what was read is a message and no reply. */
  message(text: string): boolean {
    const [first = "", , word = "", , a = "", , b = "", , c = ""] = text.split("\r\n");
    const kind = KINDS.findIndex(({ message }) => message === word);
    if (kind < 0) return false;
    if (first !== this.mark + (kind === PATTERN ? 4 : 3)) throw this.wrong(text, `in the form ${first}`);
    const [name, channel, message] = kind === PATTERN ? [a, b, c] : [a, a, b];
    if (!this.names[kind]!.has(name)) throw this.wrong(text, "that it is not subscribed to");
    if (kind === PATTERN && !globMatches(name, channel)) throw this.wrong(text, "that does not match");
    const told = this.told.get(message);
    if (told?.channel !== channel || told.shard !== (kind === SHARD)) {
      throw this.wrong(text, "that nobody published there");
    }
    const key = `${word} ${name} ${message}`;
    // Of what all nodes have another may say the last one once more when it takes a node's place.
    if (this.heard.has(key) && (kind === SHARD || !this.judge.mayTellAgain())) {
      throw this.wrong(text, "twice");
    }
    this.heard.add(key);
    return true;
  }

  private wrong(text: string, what: string): Violation {
    return new Violation(`client ${this.client} got the message ${JSON.stringify(text)} ${what}`);
  }

  /** @throws Violation if a message that was published while all was well has not come */
  mustHaveHeard(message: string): void {
    const unheard = this.unheard(message);
    if (unheard !== null) throw new Violation(`client ${this.client} has not heard ${message} on ${unheard}`);
  }

  /** The first subscription by which this message has not come; null: it has come by all. */
  unheard(message: string): string | null {
    const { shard, channel } = this.told.get(message)!;
    for (const [kind, names] of this.names.entries()) {
      if ((kind === SHARD) !== shard) continue;
      for (const name of names) {
        if ((this.unsure[kind]!.get(name) ?? 0) > 0) continue;
        if (kind === PATTERN ? !globMatches(name, channel) : name !== channel) continue;
        if (this.heard.has(`${KINDS[kind]!.message} ${name} ${message}`)) continue;
        return `${channel}, ${KINDS[kind]!.subscribe} ${name}`;
      }
    }
    return null;
  }
}
