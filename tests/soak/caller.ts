/**
 * One client of a long run: works on keys of its own, and checks every reply against all it could truthfully be.
 *
 *   INCR counter   more than the last one it was told, at most as many as it has sent
 *   SET, GET       the value last acknowledged, or one whose fate it does not know
 *   ECHO           its own words
 *
 * An error reply or a lost connection leaves a request's fate unknown: it may have been executed, or be executed later (a
 * stopped server goes on with what is in its sockets). Errors must be rows of src/proxy/failures.ts.
 */
import { FAILURES, NO_LIVE_SERVER_TEXT } from "../../src/proxy/failures.ts";
import { concat } from "../lib/bytes.ts";
import type { Target } from "../lib/client.ts";
import { delay } from "../lib/poll.ts";
import type { Random } from "../lib/random.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { Connection, Lost } from "./connection.ts";
import { type Dialect, REDIS } from "./dialect.ts";

/** How a client behaves; numbers of ms and of requests. */
export interface Habit {
  /** Pause between two bursts; 0 = only until the next turn of its loop. */
  pauseMs(random: Random): number;
  /** Requests sent at once. */
  burst(random: Random): number;
  /** Bursts after which it closes its connection and opens another. */
  burstsMax?: number;
  /** Asks only what the proxy answers itself. */
  echoes?: boolean;
  /** The servers of keys may change (auto_eject_hosts): what is read may be old or missing. */
  moving?: boolean;
  /** True of keys whose server may lose its memory: what is read may be missing. */
  forgets?: (key: string) => boolean;
}

const KEYS = 4;
const TEXTS = [...FAILURES.values()].map((row) => `ERR ${row.text}`).concat(`ERR ${NO_LIVE_SERVER_TEXT}`);

/** What one key may hold. */
class Cell {
  acknowledged: string | null = null;
  /** Written, with an unknown outcome. */
  readonly uncertain: (string | null)[] = [];
  readonly ever = new Set<string | null>([null]);
}

export class Caller {
  requests = 0;
  replies = 0;
  /** Requests that were sent and got no reply, as the connection ended. */
  lost = 0;
  /** How, in words. */
  readonly losses: string[] = [];
  private burst = 0;
  private restSinceMs = 0;
  /** Connects that failed. */
  refused = 0;
  connects = 0;
  /** Error replies by text, without the server's name. */
  readonly errors = new Map<string, number>();
  /** If set: the times to each burst's last reply. */
  tookMs: number[] | null = null;
  /** What cannot be true. */
  readonly wrong: string[] = [];
  /** INCRs that were acknowledged, and that were sent. */
  readonly counted: number[] = new Array(KEYS).fill(0);
  readonly sent: number[] = new Array(KEYS).fill(0);
  private readonly told: number[] = new Array(KEYS).fill(0);
  private readonly cells = Array.from({ length: KEYS }, () => new Cell());
  private connection: Connection | null = null;
  private serial = 0;
  /** The longest time to a burst's last reply, in ms. */
  slowestMs = 0;

  constructor(
    readonly id: string,
    private readonly target: Target,
    private readonly random: Random,
    private readonly habit: Habit,
    private readonly dialect: Dialect = REDIS,
  ) {}

  counterKey(i: number): string {
    return `counter:${this.id}:${i}`;
  }

  /** Works until `over`. */
  async run(over: () => boolean): Promise<void> {
    while (!over()) {
      await this.turn();
      await delay(this.habit.pauseMs(this.random));
    }
    this.connection?.close();
  }

  private async turn(): Promise<void> {
    if (this.burst > (this.habit.burstsMax ?? Infinity)) this.connection!.close();
    // Like a pool that tests a connection before it hands it out: a FIN that has arrived is seen before anything is sent,
    // also if this whole process has been held up.
    await delay(0);
    if (this.connection?.closed ?? true) {
      this.connects++;
      try {
        this.connection = await Connection.open(this.target, this.dialect);
        this.restSinceMs = performance.now();
        this.burst = 1;
      } catch {
        this.refused++;
        await delay(5);
        return;
      }
    }
    const connection = this.connection!;
    const requests: Uint8Array[] = [];
    const checks: ((reply: Value | undefined) => void)[] = [];
    for (let n = this.habit.burst(this.random); n > 0; n--) this.add(requests, checks);
    this.requests += checks.length;
    let replies: readonly Value[];
    const startMs = performance.now();
    try {
      replies = await connection.ask(concat(requests), checks.length);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      replies = error.replies;
      this.lost += checks.length - replies.length;
      this.losses.push(
        `client ${this.id}: ${error.message}; ${replies.length} of ${checks.length} replies to burst ${this.burst} of its ` +
          `connection, ${(startMs - this.restSinceMs).toFixed(1)} ms after the last one`,
      );
    }
    this.restSinceMs = performance.now();
    this.burst++;
    this.tookMs?.push(performance.now() - startMs);
    this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs);
    this.replies += replies.length;
    for (const [i, check] of checks.entries()) check(replies[i]);
    if (connection.stray !== null) this.complain(`a reply nobody asked for: ${connection.stray}`);
  }

  private add(requests: Uint8Array[], checks: ((reply: Value | undefined) => void)[]): void {
    const i = this.random.below(KEYS);
    const words = `${this.id} says ${++this.serial}`;
    const { dialect } = this;
    switch (this.habit.echoes ? 0 : this.random.below(8)) {
      case 0: {
        const [echo, answer] = dialect.echo(words);
        requests.push(echo);
        return void checks.push((reply) => this.expect(reply, reply === answer, `ECHO ${words}`));
      }
      case 1:
      case 2: {
        this.sent[i]!++;
        requests.push(dialect.incr(this.counterKey(i)));
        const sent = this.sent[i]!;
        return void checks.push((reply) => this.checkCount(i, sent, reply));
      }
      case 3:
      case 4: {
        const value = `${words} ${"x".repeat(this.random.below(8) === 0 ? 5000 : 20)}`;
        requests.push(dialect.set(this.valueKey(i), value));
        return void checks.push((reply) => this.checkSet(this.cells[i]!, value, reply));
      }
      case 5: {
        const all = this.cells.map((_, k) => k);
        requests.push(dialect.get(...all.map((k) => this.valueKey(k))));
        return void checks.push((reply) => this.checkGets(all, reply));
      }
      default:
        requests.push(dialect.get(this.valueKey(i)));
        return void checks.push((reply) => this.checkGets([i], reply));
    }
  }

  private valueKey(i: number): string {
    return `value:${this.id}:${i}`;
  }

  private checkCount(i: number, sent: number, reply: Value | undefined): void {
    const count = (reply === undefined ? 0 : this.dialect.countOf(reply)) as number;
    const low = this.habit.moving || this.habit.forgets?.(this.counterKey(i)) ? 0 : this.told[i]!;
    if (
      !this.expect(
        reply,
        typeof count === "number" && count > low && count <= sent,
        `INCR ${i}: ${low} to ${sent}`,
      )
    ) {
      return;
    }
    this.told[i] = count;
    this.counted[i]!++;
  }

  private checkSet(cell: Cell, value: string, reply: Value | undefined): void {
    cell.ever.add(value);
    if (this.expect(reply, reply === this.dialect.stored, "SET")) cell.acknowledged = value;
    else cell.uncertain.push(value);
  }

  private checkGets(cells: readonly number[], reply: Value | undefined): void {
    const keys = cells.map((i) => this.valueKey(i));
    const values = reply === undefined || reply instanceof ReplyError
      ? null
      : this.dialect.valuesOf(keys, reply);
    if (values === null) this.expect(reply, false, `GET of ${cells.length} keys`);
    else values.forEach((value, k) => this.checkGet(this.cells[cells[k]!]!, keys[k]!, value));
  }

  private checkGet(cell: Cell, key: string, reply: Value): void {
    const value = reply as string | null;
    const good = this.habit.moving
      ? cell.ever.has(value)
      : value === cell.acknowledged || cell.uncertain.includes(value) ||
        (value === null && this.habit.forgets?.(key) === true);
    this.expect(reply, good, `GET, where ${cell.acknowledged?.slice(0, 60)} was acknowledged`);
  }

  /** True if there was a reply and it is no error. Notes errors, and complains of what is `good` for nothing. */
  private expect(reply: Value | undefined, good: boolean, what: string): boolean {
    if (reply === undefined) return false;
    if (reply instanceof ReplyError) {
      const text = reply.message.replace(/ \(server [^)]*\)$/, "");
      this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
      const known = TEXTS.includes(text) || text.startsWith("LOADING ");
      if (!known) this.complain(`${what}: an error that is in no table: ${reply.message}`);
      return false;
    }
    if (!good) this.complain(`${what}: ${Deno.inspect(reply).slice(0, 200)}`);
    return good;
  }

  private complain(text: string): void {
    if (this.wrong.length < 10) this.wrong.push(`client ${this.id}: ${text}`);
  }
}

/** What many callers have seen. */
export function sumOf(callers: readonly Caller[]) {
  const errors: Record<string, number> = {};
  for (const caller of callers) {
    for (const [text, count] of caller.errors) errors[text] = (errors[text] ?? 0) + count;
  }
  const sum = (key: "requests" | "replies" | "lost" | "refused" | "connects") =>
    callers.reduce((all, caller) => all + caller[key], 0);
  return {
    requests: sum("requests"),
    replies: sum("replies"),
    lost: sum("lost"),
    refused: sum("refused"),
    connects: sum("connects"),
    slowestMs: Math.round(Math.max(...callers.map((caller) => caller.slowestMs))),
    errors,
    losses: callers.flatMap((caller) => caller.losses),
    wrong: callers.flatMap((caller) => caller.wrong),
  };
}
