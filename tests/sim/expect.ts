/** What a client may read for one request, decided when the reply comes: by then the servers' side of the truth is known. */
import type { PoolConfig } from "../../src/config/config.ts";
import type { Truth } from "./truth.ts";

export interface Expect {
  /** For the log and for failures: the request, short. */
  readonly shown: string;
  /** Could this reply (latin1, whole) be the one? */
  accepts(reply: string): boolean;
  /** Might the request have been answered by silence (noreply, quiet)? */
  maybeSilent(): boolean;
  /** After this reply the proxy closes; asked when `accepts` has said yes. */
  readonly last: boolean;
  /** The proxy counts it in requests_total. */
  readonly counted: boolean;
  /** Limits change: it may be refused and not counted, and what comes behind it is not read then. */
  readonly unsure?: boolean;
  /** After this reply the client has no business here any more, and goes. */
  gives?(reply: string): boolean;
  /** Nothing is answered, whatever comes of it. */
  readonly isSilent?: boolean;
  /** It is refused for a limit: nothing of it is done. */
  refused?(): void;
  /** Has a server executed it? Absent where that cannot be told. */
  executed?(): boolean;
}

/** What both workloads need to know. */
export interface Judge {
  readonly truth: Truth;
  /** An error of the proxy's that is allowed in this world; counted by whoever asks. */
  isFailure(reply: string): boolean;
  /** As isFailure, for what concerns all servers: one that was ejected all the time since the request `tag` was made is not asked. */
  isFailureOnRing(reply: string, tag: string): boolean;
  /** True if this server may not know a script that had been loaded before the request was made. */
  mayLackScripts(server: number): boolean;
  /** Joins of replies that do not fit together, where servers say too much. */
  isMismatch(reply: string): boolean;
  /** Too many clients, or the like: the connection ends. */
  isRefusal(reply: string): boolean;
  /** The worker that this request came to had such a configuration at some moment since it was made (see Sent). */
  had(tag: string, is: (config: PoolConfig) => boolean): boolean;
  /** As `had`, since the client that made the request began to connect. */
  hadSinceItCame(tag: string, is: (config: PoolConfig) => boolean): boolean;
  /** Keys may have moved since this request was made. */
  keysMoved(tag: string): boolean;
  /** What a client that comes now has to say; null: no password, now. */
  readonly password: string | null;
  /** Clients are a user with rules (rules.ts). */
  readonly hasRules?: boolean;
  /** There is one at some time in this world. */
  readonly mayNeedPassword: boolean;
  /** As the client is to wait for it: it may be refused. Absent: there are no limits. @param offset bytes that its client had sent before */
  limited?(expect: Expect, client: number, offset: number, lineOf: (reply: string) => string): Expect;
  /** The proxy may have ended this client's connection for a reason of this world's (a limit, a fault, the end). */
  mayCut(client: unknown): boolean;
}

const NEVER = () => false;
const ALWAYS = () => true;

/** Exactly this. */
export function exactly(shown: string, reply: string, last = false): Expect {
  return { shown, accepts: (r) => r === reply, maybeSilent: NEVER, last, counted: true };
}

/** This, and the request is none that is counted (malformed). */
export function refusal(shown: string, reply: string): Expect {
  return { shown, accepts: (r) => r === reply, maybeSilent: NEVER, last: true, counted: false };
}

export function matching(shown: string, accepts: (reply: string) => boolean): Expect {
  return { shown, accepts, maybeSilent: NEVER, last: false, counted: true };
}

export function silence(shown: string): Expect {
  return { shown, accepts: NEVER, maybeSilent: ALWAYS, last: false, counted: true, isSilent: true };
}

/**
 * The queue of what one client waits for. Requests that may be silent make it ambiguous which one a reply
 * answers, so it keeps every place that the next reply could belong to.
 */
export class ExpectQueue {
  private readonly expects: Expect[] = [];
  /** Offset of expects[0] in all there ever were. */
  private base = 0;
  /** Where the next reply may start looking; ascending. */
  private places: number[] = [0];

  push(expect: Expect): void {
    this.expects.push(expect);
  }

  /** Requests that have not certainly been settled. */
  get waiting(): number {
    return this.base + this.expects.length - Math.max(...this.places);
  }

  /** All might have been answered. */
  get settled(): boolean {
    const end = this.base + this.expects.length;
    return this.places.some((place) => {
      while (place < end && this.expects[place - this.base]!.maybeSilent()) place++;
      return place === end;
    });
  }

  /** @returns the request that the reply answers (the first it could), or null if it answers none */
  take(reply: string): Expect | null {
    const next = new Set<number>();
    let found: Expect | null = null;
    const end = this.base + this.expects.length;
    for (const place of this.places) {
      for (let i = place; i < end; i++) {
        const expect = this.expects[i - this.base]!;
        if (expect.accepts(reply)) {
          found ??= expect;
          next.add(i + 1);
        }
        if (!expect.maybeSilent()) break;
      }
    }
    if (next.size === 0) return null;
    this.places = [...next].sort((a, b) => a - b);
    const drop = this.places[0]! - this.base;
    this.expects.splice(0, drop);
    this.base += drop;
    return found;
  }

  /** Requests that have had no reply although a server has executed them. */
  get dropped(): Expect[] {
    const from = this.places[0]! - this.base;
    return this.expects.slice(from).filter((expect) => !expect.maybeSilent() && expect.executed?.());
  }

  /** What the next reply should answer, for messages. */
  get head(): string {
    return this.expects[this.places[0]! - this.base]?.shown ?? "nothing";
  }
}
