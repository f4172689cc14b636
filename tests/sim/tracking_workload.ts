/**
 * Simulated clients that keep a cache of what they have read, and drop from it what the proxy says has changed.
 *
 *   RESP3:  reader ◄── replies, pushes                       RESP2:  reader ◄── replies
 *                                                                    ear    ◄── messages of __redis__:invalidate
 *
 * A RESP3 reader trusts the order of its connection, as Redis lets it: it keeps what a reply says until a push comes. With two
 * connections there is no order, so the reader does not keep a reply to a request during which something was said of its key
 * (the protocol that Redis documents). When the world rests, nothing in a cache may differ from what the key's server has; and in
 * RESP3 nothing that is read again may differ from what is kept, as the change has been told before on the same connection.
 *
 * Keys are without tags, since all clients have to mean the same ones: so only that a value was written to its key is checked.
 */
import { authSteps } from "./auth.ts";
import { exactly, type Judge, matching } from "./expect.ts";
import { isDrawn, type Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Workload } from "./sim_client.ts";
import { bulk, type Step, step, together } from "./step.ts";
import { Violation } from "./truth.ts";

export const TRACKED_KEYS = ["t0", "t1", "t2", "u0", "u1", "u2"];
const LOADING = "-LOADING Redis is loading the dataset in memory\r\n";
const CHANNEL = "__redis__:invalidate";
const CLOSED = () => false;

/** What readers have to know of their world. */
export interface Readings {
  /** Keys that all of them read and write. */
  readonly keys: readonly string[];
  /** Of some of these keys. */
  readonly prefix: string;
  /** How many speak RESP3, if another listens for them. */
  readonly resp3: number;
  readonly databases: number;
  /** Bytes of a value, at most. */
  readonly room: number;
  /** A client may be told to forget what it has not asked to hear of. */
  readonly tellsMore: boolean;
  /** An error that may be read. */
  fails(reply: string): boolean;
  /** May this reply come before who had the key has told of a change? @param keptAtMs when what differs was read */
  mayComeFirst(key: string, kept: string | null, keptAtMs: number): boolean;
  nowMs(): number;
}

/** Those of an ordinary world. */
export function readingsOf(plan: Plan, judge: Judge, nowMs: () => number): Readings {
  const drawn = isDrawn(plan);
  const loads = plan.events.some((event) => event.loadingMs > 0);
  return {
    keys: TRACKED_KEYS,
    prefix: "t",
    resp3: plan.resp3,
    databases: plan.pool.databases,
    room: Math.min(...plan.pools.map((pool) => pool.requestSizeMax)) - 120,
    tellsMore: false,
    fails: (reply) =>
      judge.isFailure(reply) || judge.isMismatch(reply) || judge.truth.extras.has(reply) ||
      loads && (reply === LOADING || reply.startsWith("-EXECABORT Transaction discarded")),
    mayComeFirst: () => drawn,
    nowMs,
  };
}

/** What has been written: value → key. */
export type Written = Map<string, string>;

/** The connection that hears, where it is not the one that reads. */
export class EarWorkload implements Workload {
  readonly blocks = true;
  /** The id that its proxy gave it; 0 = not told yet, or not subscribed yet. */
  id = 0;
  isClosed: () => boolean = CLOSED;
  reader: ReaderWorkload | null = null;
  private resp: 2 | 3 = 2;
  private subscribed = false;

  /** @param sent tells the judge that a request is made now; says its tag */
  constructor(
    private readonly of: Readings,
    private readonly judge: Judge,
    private readonly random: Random,
    private readonly sent: () => string,
  ) {}

  hello(): Step {
    const steps = authSteps(this.judge, this.sent());
    if (this.random.chance(this.of.resp3)) steps.push(hello3(() => this.resp = 3));
    let id = 0;
    steps.push(step(
      ["CLIENT", "ID"],
      matching("CLIENT ID", (reply) => {
        id = Number(/^:(\d+)\r\n$/.exec(reply)?.[1]);
        return id > 0;
      }),
    ));
    steps.push(step(
      ["SUBSCRIBE", CHANNEL],
      matching("SUBSCRIBE", (reply) => {
        if (this.judge.isFailure(reply)) return true;
        this.subscribed = true;
        this.id = id;
        return reply ===
          `${this.resp === 3 ? ">" : "*"}3\r\n${bulk("subscribe")}${bulk(CHANNEL)}:1\r\n`;
      }),
    ));
    return together(steps);
  }

  next(): Step {
    return step(
      ["PING"],
      matching("PING", (reply) => {
        const listens = this.resp === 2 && this.subscribed;
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

  message(text: string): boolean {
    const head = this.resp === 3 ? PUSH_HEAD : `*3\r\n${bulk("message")}${bulk(CHANNEL)}`;
    if (!text.startsWith(head)) return false;
    this.reader!.hear(text.slice(head.length));
    return true;
  }
}

const PUSH_HEAD = `>2\r\n${bulk("invalidate")}`;

export class ReaderWorkload implements Workload {
  readonly blocks = false;
  /** db and key → what was read, null for nothing. */
  readonly cache = new Map<string, string | null>();
  /** … and when. */
  readonly keptAtMs = new Map<string, number>();
  /** Keys of which something has been said, and how often something was. */
  readonly heard = new Map<string, number>();
  /** What CLIENT TRACKING ON says besides. */
  private readonly options: readonly string[];
  private readonly keys: readonly string[];
  private readonly asked = new Set<string>();
  private readonly hellosLate: boolean;
  /** How many of its requests write. */
  private readonly writes: number;
  private resp: 2 | 3 = 2;
  /** Where what is sent next is read. */
  private db = 0;
  private tracks = false;
  /** How often TRACKING ON has been sent and not been answered. */
  private begins = 0;
  private request = 0;
  /** How often everything was said to have changed. */
  private flushes = 0;

  constructor(
    private readonly of: Readings,
    private readonly judge: Judge,
    private readonly written: Written,
    private readonly client: number,
    private readonly random: Random,
    private readonly ear: EarWorkload | null,
    private readonly sent: () => string,
  ) {
    this.options = random.pick([[], [], [], ["OPTIN"], ["OPTOUT"], ["BCAST"], [
      "BCAST",
      "PREFIX",
      of.prefix,
    ]]);
    if (random.chance(0.2)) this.options = [...this.options, "NOLOOP"];
    this.keys = random.shuffle([...of.keys]).slice(0, random.int(1, 4));
    this.writes = random.pick([0, 0.1, 0.3, 0.8]);
    this.hellosLate = ear === null && random.chance(0.3);
    if (ear !== null) ear.reader = this;
  }

  /** It hears of what it reads now. */
  get isServed(): boolean {
    return this.tracks && (this.ear === null ? this.resp === 3 : !this.ear.isClosed());
  }

  /** It may be told of changes. */
  private get listens(): boolean {
    return this.tracks || this.begins > 0;
  }

  get broadcasts(): boolean {
    return this.options.includes("BCAST");
  }

  hears(key: string): boolean {
    return this.broadcasts
      ? !this.options.includes("PREFIX") || key.startsWith(this.of.prefix)
      : this.asked.has(key);
  }

  hello(): Step {
    const steps = authSteps(this.judge, this.sent());
    if (this.ear === null ? !this.hellosLate : this.random.chance(this.of.resp3)) {
      steps.push(hello3(() => this.resp = 3));
    }
    return together(steps);
  }

  next(): Step {
    const { random } = this;
    if (this.hellosLate && this.resp === 2 && random.chance(0.2)) return hello3(() => this.resp = 3);
    if (!this.listens && random.chance(0.7)) return this.on();
    if (random.chance(this.writes)) return random.chance(0.8) ? this.set() : this.del();
    const kind = random.int(0, 19);
    if (kind <= 10) return this.get();
    if (kind <= 15) return this.mget();
    if (kind === 16) return this.exec();
    if (kind === 17) return this.of.databases > 1 ? this.select() : this.get();
    if (kind === 18) return random.chance(0.1) ? this.off() : this.get();
    return random.chance(0.2) ? this.on() : this.get();
  }

  epilogue(): Step {
    return this.get();
  }

  goodbye(): Step {
    return { ...step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
  }

  /** Reads what it can, all at once. */
  reread(): Step {
    return together([this.get(), this.get(), this.mget(), this.get(), this.exec()]);
  }

  /** Writes every key, so that everybody has to hear of all. */
  rewrite(): Step[] {
    return this.of.keys.map((key) => this.set(key));
  }

  // ---- what is heard

  message(text: string): boolean {
    if (!text.startsWith(">")) return false;
    if (this.resp !== 3) throw this.wrong(text, "before it has said HELLO 3");
    if (text.startsWith(`>2\r\n${bulk("tracking-redir-broken")}`)) {
      if (this.ear === null) throw this.wrong(text, "although it does not redirect");
      return true;
    }
    if (!text.startsWith(PUSH_HEAD)) return false;
    if (this.ear !== null) throw this.wrong(text, "which it redirects");
    if (!this.listens) throw this.wrong(text, "while it does not track");
    this.hear(text.slice(PUSH_HEAD.length));
    return true;
  }

  /** @param body of an invalidation */
  hear(body: string): void {
    if (body === "_\r\n" || body === "$-1\r\n") {
      this.cache.clear();
      this.flushes++;
      return;
    }
    const [count = "", ...rest] = body.split("\r\n");
    if (rest.length !== Number(count.slice(1)) * 2 + 1 || rest.length < 3) {
      throw this.wrong(body, "of no form");
    }
    for (let i = 1; i < rest.length; i += 2) {
      const key = rest[i]!;
      if (!this.hears(key) && !(this.of.tellsMore && this.keys.includes(key))) {
        throw this.wrong(body, `about ${key}, which is not its business`);
      }
      this.heard.set(key, this.timesHeard(key) + 1);
      this.forget(key);
    }
  }

  private timesHeard(key: string): number {
    return this.heard.get(key) ?? 0;
  }

  private forget(key: string): void {
    for (let db = 0; db < this.of.databases; db++) this.cache.delete(`${db} ${key}`);
  }

  private wrong(text: string, what: string): Violation {
    return new Violation(`client ${this.client} got the invalidation ${JSON.stringify(text)} ${what}`);
  }

  // ---- what is asked

  private on(): Step {
    const words = ["CLIENT", "TRACKING", "ON", ...this.options];
    if (this.ear !== null) {
      if (this.ear.id === 0 || this.ear.isClosed()) return this.get();
      words.push("REDIRECT", String(this.ear.id));
    }
    this.begins++;
    return step(
      words,
      matching(words.join(" "), (reply) => {
        this.begins--;
        if (reply === "+OK\r\n") this.tracks = true;
        else if (reply === "-ERR The client ID you want redirect to does not exist\r\n") {
          return this.ear !== null;
        } else if (reply.startsWith(`-ERR Prefix '${this.of.prefix}' overlaps`)) {
          return this.tracks && this.options.includes(this.of.prefix);
        } else return this.badly(reply);
        return true;
      }),
    );
  }

  private off(): Step {
    return step(
      ["CLIENT", "TRACKING", "OFF"],
      matching("CLIENT TRACKING OFF", (reply) => {
        this.tracks = false;
        this.cache.clear();
        return reply === "+OK\r\n";
      }),
    );
  }

  private select(): Step {
    this.db = this.random.int(0, this.of.databases - 1);
    return step(["SELECT", String(this.db)], exactly(`SELECT ${this.db}`, "+OK\r\n"));
  }

  private get(): Step {
    const key = this.random.pick(this.keys);
    return this.reading(["GET", key], [key], (reply) => [reply]);
  }

  private mget(): Step {
    const keys = this.random.shuffle([...this.keys]).slice(0, this.random.int(1, 3));
    return this.reading(["MGET", ...keys], keys, (reply) => elements(reply, keys.length));
  }

  private exec(): Step {
    const key = this.random.pick(this.keys);
    const get = ["GET", key];
    const read = this.reading(["EXEC"], [key], (reply) => elements(reply, 1), [
      step(["MULTI"], exactly("MULTI", "+OK\r\n")),
      step(get, exactly(get.join(" "), "+QUEUED\r\n")),
    ]);
    return read;
  }

  /**
   * A request that reads keys, whose values may be kept. With OPTIN and OPTOUT, half of them say that they are not.
   * @param values of the reply, one a key; null if it has none
   */
  private reading(
    words: readonly string[],
    keys: readonly string[],
    values: (reply: string) => readonly string[] | null,
    before: readonly Step[] = [],
  ): Step {
    const { random } = this;
    const [optin, optout] = [this.options.includes("OPTIN"), this.options.includes("OPTOUT")];
    const says = (optin || optout) && this.listens && random.chance(0.5);
    const caching = ["CLIENT", "CACHING", optin ? "YES" : "NO"];
    let said = false;
    const steps: Step[] = [];
    if (says) {
      steps.push(step(
        caching,
        matching(caching.join(" "), (reply) => {
          said = reply === "+OK\r\n";
          return said || !this.tracks && reply.startsWith("-ERR CLIENT CACHING can be called only when");
        }),
      ));
    }
    if (optin === says) { for (const key of keys) this.asked.add(key); }
    const since = keys.map((key) => this.timesHeard(key));
    const { db, flushes } = this;
    steps.push(...before);
    steps.push(step(
      words,
      matching(words.join(" "), (reply) => {
        const found = values(reply);
        if (found === null || reply.startsWith("-")) return this.badly(reply);
        const kept = optin ? said : !(optout && said);
        return keys.every((key, i) => {
          const value = valueOf(found[i]!);
          if (value === undefined) return this.badly(reply);
          if (value !== null && this.written.get(value) !== key) return false;
          this.compare(`${db} ${key}`, value);
          const told = this.timesHeard(key) > since[i]! || this.flushes > flushes;
          if (this.isServed && kept && this.hears(key) && (this.ear === null || !told)) {
            this.cache.set(`${db} ${key}`, value);
            this.keptAtMs.set(`${db} ${key}`, this.of.nowMs());
          }
          return true;
        });
      }),
    ));
    return together(steps);
  }

  /** What it reads now is what it has kept, since on one connection it would have been told before. */
  private compare(place: string, value: string | null): void {
    const kept = this.cache.get(place);
    if (kept === undefined || kept === value || this.ear !== null) return;
    if (this.of.mayComeFirst(place.slice(place.indexOf(" ") + 1), kept, this.keptAtMs.get(place)!)) return;
    throw new Violation(
      `client ${this.client} reads ${JSON.stringify(value)} in ${place}, but has kept ${
        JSON.stringify(kept)
      } and not ` +
        "been told of a change",
    );
  }

  private set(key = this.random.pick(this.keys)): Step {
    const tag = `${this.client}.${++this.request}.0`;
    const room = Math.min(this.of.room, this.random.chance(0.05) ? 200_000 : 30);
    const value = `=${tag};${key};${"x".repeat(this.random.int(0, room))}`;
    this.written.set(value, key);
    const { executions } = this.judge.truth;
    return this.writing(["SET", key, value], key, (reply) => executions.get(tag)?.reply === reply);
  }

  private del(): Step {
    const key = this.random.pick(this.keys);
    return this.writing(["DEL", key], key, (reply) => reply === ":0\r\n" || reply === ":1\r\n");
  }

  /** With NOLOOP nobody tells it of its own writes. */
  private writing(words: readonly string[], key: string, done: (reply: string) => boolean): Step {
    return step(
      words,
      matching(words.map((word) => word.slice(0, 40)).join(" "), (reply) => {
        this.forget(key);
        return done(reply) || this.badly(reply);
      }),
    );
  }

  private badly(reply: string): boolean {
    return this.of.fails(reply);
  }
}

/** The replies in an array, if it has as many as it should. */
function elements(reply: string, count: number): readonly string[] | null {
  const head = `*${count}\r\n`;
  if (!reply.startsWith(head)) return null;
  const found = reply.slice(head.length).match(/\$-1\r\n|_\r\n|\$\d+\r\n[^\r]*\r\n/g) ?? [];
  return found.length === count ? found : null;
}

/** Of a bulk string; undefined if the reply is something else. */
function valueOf(reply: string): string | null | undefined {
  if (reply === "$-1\r\n" || reply === "_\r\n") return null;
  return /^\$\d+\r\n([^\r]*)\r\n$/.exec(reply)?.[1];
}

function hello3(done: () => void): Step {
  return step(
    ["HELLO", "3"],
    matching("HELLO 3", (reply) => {
      done();
      return reply.startsWith("%7\r\n");
    }),
  );
}
