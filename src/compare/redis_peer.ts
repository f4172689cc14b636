/**
 * A Redis server, or a proxy in front of some, that is read.
 *
 *   keys ──► TYPE, PTTL ──► by type: STRLEN + GETRANGE, LLEN + LRANGE, ZCARD + ZRANGE, HLEN, SCARD; DUMP of anything else
 *                               └──► HGETALL, SMEMBERS of those that are not large
 *
 * All keys of a call go out together, a round trip a step. Every command here is one that twemproxy passes on.
 */
import { latin1Bytes } from "../bytes/ascii.ts";
import type { Word } from "../protocol/redis/encode.ts";
import { ReplyError, type Value } from "../protocol/redis/value.ts";
import { type Answer, LinkLost, RedisLink } from "../topology/redis_link.ts";
import {
  ANSWER_MAX,
  ANSWER_MS,
  type Page,
  type Peer,
  type PeerAround,
  PeerFailed,
  type PeerPlace,
} from "./peer.ts";
import { ELEMENTS_PART, type Found, joined, type Reading, STRING_PART } from "./reading.ts";

/** Any key will do to see whether it answers. */
const PROBE = "ringmaster:compare";

/** Keys that one SCAN looks at. */
const PAGE_MAX = 100;

/** What is read of a type, at once; how the two answers become a size and a content. */
interface Plan {
  readonly words: (key: Uint8Array) => readonly (readonly Word[])[];
  readonly content: (value: Value) => string | null;
  /** The most elements that the second answer has of those there are. */
  readonly most: number;
}

const texts = (value: Value): string[] | null => Array.isArray(value) ? value.map(String) : null;
const inOrder = (value: Value): string | null => {
  const parts = texts(value);
  return parts === null ? null : joined(parts);
};

const PLANS: Readonly<Record<string, Plan>> = {
  string: {
    words: (key) => [["STRLEN", key], ["GETRANGE", key, 0, STRING_PART - 1]],
    content: (value) => typeof value === "string" ? value : null,
    most: STRING_PART,
  },
  list: {
    words: (key) => [["LLEN", key], ["LRANGE", key, 0, ELEMENTS_PART - 1]],
    content: inOrder,
    most: ELEMENTS_PART,
  },
  zset: {
    words: (key) => [["ZCARD", key], ["ZRANGE", key, 0, ELEMENTS_PART - 1, "WITHSCORES"]],
    content: inOrder,
    most: ELEMENTS_PART,
  },
};

/** Types whose elements have no order: read when their number is known. */
const UNORDERED: Readonly<
  Record<string, { readonly count: string; readonly all: string; readonly pairs: boolean }>
> = {
  hash: { count: "HLEN", all: "HGETALL", pairs: true },
  set: { count: "SCARD", all: "SMEMBERS", pairs: false },
};

const LOST: Answer = new LinkLost("was not asked");

export class RedisPeer implements Peer {
  asked = 0;
  answeredBytes = 0;
  private link: RedisLink | null = null;

  /** @param database that the keys are in; 0 = nothing is selected, as a proxy wants it */
  constructor(
    readonly place: PeerPlace,
    private readonly database: number,
    private readonly around: PeerAround,
  ) {}

  async greet(): Promise<string | null> {
    const [answer] = await this.askAll([["TYPE", PROBE]]);
    if (answer instanceof LinkLost) return answer.why;
    if (!(answer instanceof ReplyError)) return null;
    if (/^(NOAUTH|WRONGPASS|NOPERM)/.test(answer.text)) return `it wants other credentials: ${answer.text}`;
    // What it says of servers behind it is looked at key by key.
    return /unknown command/i.test(answer.text) ? answer.text : null;
  }

  async read(keys: readonly Uint8Array[]): Promise<Reading[]> {
    const first = await this.askAll(keys.flatMap((key) => [["TYPE", key], ["PTTL", key]]));
    const readings: Reading[] = [];
    const second: { at: number; type: string; ttlMs: number | null; words: readonly (readonly Word[])[] }[] =
      [];
    keys.forEach((key, at) => {
      const [type, ttl] = [first[2 * at]!, first[2 * at + 1]!];
      const wrong = wrongWith(type) ?? wrongWith(ttl);
      readings.push(wrong ?? { kind: "absent" });
      if (wrong !== null || type === "none") return;
      const name = String(type);
      const ttlMs = typeof ttl === "number" && ttl !== -2 ? ttl : null;
      const { count = null } = UNORDERED[name] ?? {};
      const words = PLANS[name]?.words(key) ?? [count === null ? ["DUMP", key] : [count, key]];
      second.push({ at, type: name, ttlMs, words });
    });
    const answers = await this.askAll(second.flatMap(({ words }) => words));
    const third: { at: number; found: Omit<Found, "content" | "whole">; words: readonly Word[] }[] = [];
    let next = 0;
    for (const { at, type, ttlMs, words } of second) {
      const told = answers.slice(next, next += words.length);
      const wrong = told.map(wrongWith).find((each) => each !== null);
      if (wrong) readings[at] = wrong;
      else if (UNORDERED[type] === undefined) readings[at] = this.found(type, ttlMs, told as Value[]);
      else {
        const found = { kind: "found", type, size: Number(told[0]), ttlMs } as const;
        // Of a large one the length alone is compared: which elements a scan begins with is the server's affair.
        if (found.size === 0) readings[at] = { kind: "absent" };
        else if (found.size > ELEMENTS_PART) readings[at] = { ...found, content: "", whole: false };
        else third.push({ at, found, words: [UNORDERED[type]!.all, keys[at]!] });
      }
    }
    const elements = await this.askAll(third.map(({ words }) => words));
    third.forEach(({ at, found }, i) => {
      readings[at] = wrongWith(elements[i]!) ?? unordered(found, elements[i] as Value);
    });
    return readings;
  }

  private found(type: string, ttlMs: number | null, told: readonly Value[]): Reading {
    const plan = PLANS[type];
    if (plan === undefined) {
      const [dump] = told;
      // Its key has gone meanwhile.
      if (typeof dump !== "string") return { kind: "absent" };
      return { kind: "found", type, size: -1, content: dump, whole: true, ttlMs };
    }
    const [size, value] = told;
    const content = plan.content(value!);
    if (content === null || typeof size !== "number") {
      return { kind: "error", text: `an odd answer to ${type}` };
    }
    // An empty list has gone; an empty string is one.
    if (size === 0 && type !== "string") return { kind: "absent" };
    return { kind: "found", type, size, content, whole: size <= plan.most, ttlMs };
  }

  async has(keys: readonly Uint8Array[]): Promise<(boolean | null)[]> {
    const answers = await this.askAll(keys.map((key) => ["EXISTS", key]));
    return answers.map((answer) => typeof answer === "number" ? answer > 0 : null);
  }

  async page(from: string | null, most: number): Promise<Page> {
    const [answer] = await this.askAll([["SCAN", from ?? "0", "COUNT", Math.min(most, PAGE_MAX)]]);
    const wrong = wrongWith(answer!);
    if (wrong !== null) {
      throw new PeerFailed(wrong.kind === "lost" ? wrong.why : (wrong as { text: string }).text);
    }
    const [cursor, keys] = Array.isArray(answer) ? answer as readonly Value[] : [];
    if (typeof cursor !== "string" || !Array.isArray(keys)) throw new PeerFailed("an odd answer to SCAN");
    return { keys: keys.map((key) => latin1Bytes(String(key))), next: cursor === "0" ? null : cursor };
  }

  async cpuSeconds(): Promise<number | null> {
    const [answer] = await this.askAll([["INFO", "cpu"]]);
    if (typeof answer !== "string") return null;
    const of = (name: string) => Number(new RegExp(`^${name}:([0-9.]+)`, "m").exec(answer)?.[1]);
    const seconds = of("used_cpu_user") + of("used_cpu_sys");
    return Number.isFinite(seconds) ? seconds : null;
  }

  close(): void {
    this.link?.close();
    this.link = null;
  }

  // ---- questions

  /** An answer for each, in their order: error replies as such, LinkLost where none comes. */
  askAll(questions: readonly (readonly Word[])[]): Promise<Answer[]> {
    if (questions.length === 0) return Promise.resolve([]);
    const link = this.dialled();
    this.asked += questions.length;
    const answers: Answer[] = questions.map(() => LOST);
    let left = questions.length;
    return new Promise((resolve) => {
      link.together(() => {
        questions.forEach((words, at) =>
          link.ask(words, (answer) => {
            answers[at] = answer;
            if (--left === 0) resolve(answers);
          })
        );
      });
    });
  }

  private dialled(): RedisLink {
    if (this.link !== null && this.link.open) return this.link;
    const { net, clock } = this.around;
    const { address, auth } = this.place;
    const link = this.link = new RedisLink({
      net,
      clock,
      address,
      auth,
      resp3: false,
      database: this.database,
      connectMs: ANSWER_MS,
      answerMs: ANSWER_MS,
      answerSizeMax: ANSWER_MAX,
      received: (bytes) => this.answeredBytes += bytes,
      lost: () => {},
    });
    return link;
  }
}

/** null: it is an answer with a value. */
function wrongWith(answer: Answer): Reading | null {
  if (answer instanceof LinkLost) return { kind: "lost", why: answer.why };
  // Its key was replaced between two questions by one of another type: read again, it is what it is.
  if (answer instanceof ReplyError) return { kind: "error", text: answer.text };
  return null;
}

function unordered(found: Omit<Found, "content" | "whole">, value: Value): Reading {
  const parts = texts(value);
  if (parts === null) return { kind: "error", text: `an odd answer to ${UNORDERED[found.type]!.all}` };
  const step = UNORDERED[found.type]!.pairs ? 2 : 1;
  const elements: string[] = [];
  for (let i = 0; i < parts.length; i += step) elements.push(joined(parts.slice(i, i + step)));
  return { ...found, content: joined(elements.sort()), whole: true };
}
