/**
 * A simulated subscriber: subscribes, unsubscribes, and checks that every message it reads was published once, on a channel
 * that it is subscribed to at that place in its stream, and that it comes in its own protocol's form.
 */
import { globMatches } from "../../src/protocol/redis/glob.ts";
import { authSteps } from "./auth.ts";
import { exactly, type Judge, matching } from "./expect.ts";
import type { Plan } from "./plan.ts";
import type { PoolConfig } from "../../src/config/config.ts";
import type { Random } from "./random.ts";
import { mayHear } from "./rules.ts";
import { bulk, type Step, step, together } from "./step.ts";
import { Violation } from "./truth.ts";

export const CHANNELS = ["c0", "c1", "c2", "news:{a}"];
const PATTERNS = ["c*", "news:*", "c1"];

/** What has been published: message → channel. */
export type Published = Map<string, string>;

export class SubscriberWorkload {
  /** Who ends its side while a SUBSCRIBE waits for servers is not told the outcome; nor by Redis. */
  readonly blocks = true;
  readonly channels = new Set<string>();
  readonly patterns = new Set<string>();
  /** Messages read: how they came and what they said. */
  private readonly heard = new Set<string>();
  private resp: 2 | 3 = 2;
  /** Of its first request. */
  private tag = "";

  constructor(
    private readonly plan: Plan,
    private readonly judge: Judge,
    private readonly published: Published,
    private readonly client: number,
    private readonly random: Random,
    /** Tells the judge that a request is made now; says its tag. */
    private readonly sent: () => string,
  ) {}

  hello(): Step {
    const steps: Step[] = [];
    this.tag = this.sent();
    steps.push(...authSteps(this.judge, this.tag));
    if (this.random.chance(this.plan.resp3)) {
      this.resp = 3;
      steps.push(step(["HELLO", "3"], matching("HELLO 3", (r) => r.startsWith("%7\r\n"))));
    }
    return together([...steps, this.subscribe()]);
  }

  next(): Step {
    const kind = this.random.int(0, 5);
    if (kind <= 2) return this.subscribe();
    if (kind <= 4) return this.unsubscribe();
    return step(
      ["PING"],
      matching("PING", (reply) => {
        const listens = this.resp === 2 && this.total > 0;
        return reply === (listens ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n");
      }),
    );
  }

  epilogue(): Step {
    return this.next();
  }

  goodbye(): Step {
    return { ...step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
  }

  get total(): number {
    return this.channels.size + this.patterns.size;
  }

  private subscribe(): Step {
    const pattern = this.random.chance(0.3);
    const name = this.random.pick(pattern ? PATTERNS : CHANNELS);
    const words = [pattern ? "PSUBSCRIBE" : "SUBSCRIBE", name];
    return step(
      words,
      matching(words.join(" "), (reply) => {
        const names = pattern ? this.patterns : this.channels;
        if (this.judge.isFailure(reply)) return true;
        if (reply.startsWith("-NOPERM ")) {
          return this.judge.hadSinceItCame(this.tag, (config) => !mayHear(config, words[0]!, name));
        }
        names.add(name);
        return reply === this.acknowledgement(words);
      }),
    );
  }

  private unsubscribe(): Step {
    const pattern = this.random.chance(0.3);
    const name = this.random.pick(pattern ? PATTERNS : CHANNELS);
    const words = [pattern ? "PUNSUBSCRIBE" : "UNSUBSCRIBE", name];
    return step(
      words,
      matching(words.join(" "), (reply) => {
        (pattern ? this.patterns : this.channels).delete(name);
        return reply === this.acknowledgement(words);
      }),
    );
  }

  private acknowledgement(words: readonly string[]): string {
    return `${this.mark}3\r\n${bulk(words[0]!.toLowerCase())}${bulk(words[1]!)}:${this.total}\r\n`;
  }

  private get mark(): string {
    return this.resp === 3 ? ">" : "*";
  }

  /** True if what was read is a message and no reply. */
  message(text: string): boolean {
    const [first = "", , word = "", , a = "", , b = "", , c = ""] = text.split("\r\n");
    const isPattern = word === "pmessage";
    if (word !== "message" && !isPattern) return false;
    if (first !== this.mark + (isPattern ? 4 : 3)) throw this.wrong(text, `in the form ${first}`);
    const [pattern, channel, message] = isPattern ? [a, b, c] : ["", a, b];
    const listens = isPattern
      ? this.patterns.has(pattern) && globMatches(pattern, channel)
      : this.channels.has(channel);
    if (!listens) throw this.wrong(text, "that it is not subscribed to");
    if (this.published.get(message) !== channel) throw this.wrong(text, "that nobody published there");
    const key = `${word} ${pattern} ${message}`;
    if (this.heard.has(key)) throw this.wrong(text, "twice");
    this.heard.add(key);
    return true;
  }

  private wrong(text: string, what: string): Violation {
    return new Violation(`client ${this.client} got the message ${JSON.stringify(text)} ${what}`);
  }

  /** @throws Violation if it is subscribed to what it may not hear */
  checkRights(config: PoolConfig): void {
    const of = (word: string, names: ReadonlySet<string>) => [...names].map((name) => ({ word, name }));
    for (const { word, name } of [...of("SUBSCRIBE", this.channels), ...of("PSUBSCRIBE", this.patterns)]) {
      if (mayHear(config, word, name)) continue;
      throw new Violation(
        `client ${this.client} is still subscribed to ${name}, which its user may not hear`,
      );
    }
  }

  /** @throws Violation if a message that was published while all was well has not come */
  mustHaveHeard(channel: string, message: string): void {
    const wanted = this.channels.has(channel) ? [`message  ${message}`] : [];
    for (const pattern of this.patterns) {
      if (globMatches(pattern, channel)) wanted.push(`pmessage ${pattern} ${message}`);
    }
    for (const key of wanted) {
      if (!this.heard.has(key)) {
        throw new Violation(`client ${this.client} has not heard ${key} on ${channel}`);
      }
    }
  }
}
