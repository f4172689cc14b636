/**
 * Who says what a pool's servers are, when that is not the configuration file itself (`servers_from`).
 *
 *   dns.ts, file.ts: ask() ──► AskedSource: again and again, two answers in a row count ──► watch(changed)
 *   cluster.ts: many nodes, of which the one with the highest epoch counts, asked when workers see a change ──► watch(changed)
 *
 * Plain data and promises, on the main thread; a source knows no pool. What fails, or names no server, changes nothing.
 */
import type { ServerConfig } from "../config/config.ts";
import { type Log, NOTICE, WARN } from "../net/log.ts";
import type { Clock, TimerId } from "../net/net.ts";
import type { Sign } from "./state.ts";

/** In twemproxy's order. */
export type Servers = readonly ServerConfig[];

export interface TopologySource {
  /** "dns redis.example.com", "file /etc/servers": for people. */
  readonly text: string;
  /** What it says now, one server at least. Rejects with a SourceError if it does not, unless there is something to begin with (`silence`). */
  first(): Promise<Servers>;
  /** Why what `first` has said is not known of the source itself; null: it is. Absent: it always is. */
  readonly silence?: string | null;
  /** After `first`: calls whenever it says something else than it has said last, until `stop`. */
  watch(log: Log, changed: (servers: Servers) => void): void;
  /** Workers have seen this of a server that it has named. Absent: it asks when it does. How often it asks is its business. */
  hint?(server: string, sign: Sign): void;
  stop(): void;
}

/** Nobody says what the servers are; the message is for the operator. */
export class SourceError extends Error {
  override readonly name = "SourceError";
}

/** An ask that has not been answered after so long has failed, ms. */
const ANSWER_MAX_MS = 5000;
/** An answer that is not what counts now is asked for once more after so long, ms, or after the interval. */
const AGAIN_MS = 1000;

interface Answer {
  /** The same for the same servers; of its own where there are none. */
  readonly key: string;
  /** null: failed, or none at all. */
  readonly servers: Servers | null;
  /** Why there are none. */
  readonly why: string;
}

/** Asks every so often. An answer counts when it has come twice in a row: half a file, or one odd answer, moves no keys. */
export class AskedSource implements TopologySource {
  private stopped = false;
  private timer: TimerId | null = null;
  /** What counts, and what was answered last. */
  private counted: Answer = { key: "", servers: null, why: "" };
  private last = this.counted;
  /** Key of what has been told last. */
  private told = "";

  /**
   * @param ask the servers now; empty: there are none; rejects: it cannot tell, with a message for the operator
   * @param intervalMs between an answer and the next question
   */
  constructor(
    readonly text: string,
    private readonly ask: () => Promise<Servers>,
    private readonly intervalMs: number,
    private readonly clock: Clock,
  ) {}

  async first(): Promise<Servers> {
    const answer = await this.look();
    if (answer.servers === null) throw new SourceError(`${this.text}: ${answer.why}`);
    this.counted = this.last = answer;
    this.told = answer.key;
    return answer.servers;
  }

  watch(log: Log, changed: (servers: Servers) => void): void {
    if (this.stopped) return;
    const { intervalMs } = this;
    const afterMs = this.last.key === this.counted.key ? intervalMs : Math.min(intervalMs, AGAIN_MS);
    this.timer = this.clock.setTimer(afterMs, () => {
      void this.look().then((answer) => {
        if (this.stopped) return;
        this.judge(answer, log, changed);
        this.watch(log, changed);
      });
    });
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
  }

  private judge(answer: Answer, log: Log, changed: (servers: Servers) => void): void {
    const { counted, last } = this;
    this.last = answer;
    if (answer.key === counted.key || answer.key !== last.key) return;
    this.counted = answer;
    if (answer.servers === null) {
      return log.write(WARN, `${this.text}: ${answer.why}; the servers stay as they are`);
    }
    if (counted.servers === null) log.write(NOTICE, `${this.text}: answers again`);
    if (answer.key === this.told) return;
    this.told = answer.key;
    changed(answer.servers);
  }

  /** Never rejects. */
  private look(): Promise<Answer> {
    return new Promise((resolve) => {
      const failed = (why: string) => settle({ key: "failed", servers: null, why });
      const timer = this.clock.setTimer(
        ANSWER_MAX_MS,
        () => failed(`no answer in ${ANSWER_MAX_MS / 1000} s`),
      );
      const settle = (answer: Answer) => {
        this.clock.clearTimer(timer);
        resolve(answer);
      };
      this.ask().then(
        (servers) =>
          settle(
            servers.length > 0
              ? { key: JSON.stringify(servers), servers, why: "" }
              : { key: "empty", servers: null, why: "names no server" },
          ),
        (error: Error) => failed(error.message),
      );
    });
  }
}
