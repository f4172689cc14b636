/**
 * What a model Redis server remembers for CLIENT TRACKING, as Redis 7.0 does (tracking.c): which session has read which key,
 * and whom to tell when it changes.
 *
 *   read     ──► key → the trackers that have read it since they were last told
 *   changed  ──► they are told when the command is over; who has changed it itself, behind its own reply
 *
 * Only as far as the proxy uses it. What Redis keeps for broadcasts until the end of its loop goes with the command here.
 */
import type { Session } from "../../src/demo/redis/command.ts";

interface Tracker {
  /** Id of the session that is told: its own, unless redirected. */
  readonly to: number;
  readonly bcast: boolean;
  readonly prefixes: ReadonlySet<string>;
  readonly optin: boolean;
  readonly optout: boolean;
  readonly noloop: boolean;
  /** CLIENT CACHING was said, and counts for the next command or the transaction. */
  caching: boolean;
}

/** Commands that read; true: all their arguments are keys. */
const READS: ReadonlyMap<string, boolean> = new Map([
  ["get", false],
  ["strlen", false],
  ["type", false],
  ["mget", true],
  ["exists", true],
]);

export class ModelTracking {
  private readonly trackers = new Map<Session, Tracker>();
  private readonly readers = new Map<string, Set<Session>>();
  private readonly byId = new Map<number, Session>();
  /** Which keys each tracker is to be told of when the command is over. */
  private readonly news = new Map<Session, Set<string>>();
  /** Whose command is being executed. */
  private current: Session | null = null;

  /** @param speak sends to a session that is not at work */
  constructor(private readonly speak: (session: Session, text: string) => void) {}

  opened(session: Session): void {
    this.byId.set(session.id, session);
  }

  gone(session: Session): void {
    this.byId.delete(session.id);
    this.stop(session);
  }

  /** CLIENT TRACKING or CACHING. @param words after CLIENT; returns the reply */
  client(session: Session, words: readonly string[]): string {
    const mode = words[1]!.toUpperCase();
    const before = this.trackers.get(session);
    if (words[0]!.toUpperCase() === "CACHING") {
      if (before === undefined || !(mode === "YES" ? before.optin : before.optout)) {
        return "-ERR CLIENT CACHING without the mode that it needs\r\n";
      }
      before.caching = true;
      return "+OK\r\n";
    }
    if (mode === "OFF") {
      this.stop(session);
      return "+OK\r\n";
    }
    const tracker = trackerOf(session, words.slice(2), before);
    if (!this.byId.has(tracker.to)) return "-ERR The client ID you want redirect to does not exist\r\n";
    this.trackers.set(session, tracker);
    return "+OK\r\n";
  }

  private stop(session: Session): void {
    this.trackers.delete(session);
    this.news.delete(session);
    for (const readers of this.readers.values()) readers.delete(session);
  }

  /** Runs one command of a session; or, inside EXEC's, one of the transaction's. */
  around(session: Session, args: readonly string[], run: () => void): void {
    const outer = this.current === null;
    if (outer) this.current = session;
    run();
    if (session.queued === null) this.remember(session, args);
    if (!outer) return;
    const tracker = this.trackers.get(session);
    if (tracker !== undefined && session.queued === null && !isClient(args)) tracker.caching = false;
    this.tell();
    this.current = null;
  }

  /** A command of the session is over of which nothing was executed: CLIENT CACHING was for that one. */
  refused(session: Session, args: readonly string[]): void {
    const tracker = this.trackers.get(session);
    if (tracker !== undefined && session.queued === null && !isClient(args)) tracker.caching = false;
  }

  private remember(session: Session, args: readonly string[]): void {
    const tracker = this.trackers.get(session);
    const all = READS.get(args[0]!.toLowerCase());
    if (tracker === undefined || tracker.bcast || all === undefined) return;
    if (tracker.optin ? !tracker.caching : tracker.optout && tracker.caching) return;
    for (const key of args.slice(1, all ? undefined : 2)) {
      const readers = this.readers.get(key);
      if (readers === undefined) this.readers.set(key, new Set([session]));
      else readers.add(session);
    }
  }

  /** A key has changed, in whichever database. */
  changed(key: string): void {
    for (const reader of this.readers.get(key) ?? []) this.note(reader, key);
    this.readers.delete(key);
    for (const [session, { bcast, prefixes }] of this.trackers) {
      if (bcast && [...prefixes].some((prefix) => key.startsWith(prefix))) this.note(session, key);
    }
    if (this.current === null) this.tell();
  }

  private note(session: Session, key: string): void {
    if (session === this.current && this.trackers.get(session)!.noloop) return;
    const keys = this.news.get(session);
    if (keys === undefined) this.news.set(session, new Set([key]));
    else keys.add(key);
  }

  private tell(): void {
    for (const [session, keys] of this.news) {
      const to = this.byId.get(this.trackers.get(session)!.to);
      if (to === undefined || to.reply.protocol !== 3) continue;
      const list = [...keys].map((key) => `$${key.length}\r\n${key}\r\n`).join("");
      const text = `>2\r\n$10\r\ninvalidate\r\n*${keys.size}\r\n${list}`;
      if (to === this.current) to.reply.text += text;
      else this.speak(to, text);
    }
    this.news.clear();
  }
}

/** A second CLIENT TRACKING ON adds prefixes and replaces all else. */
function trackerOf(session: Session, options: readonly string[], before: Tracker | undefined): Tracker {
  const words = options.map((word) => word.toUpperCase());
  const prefixes = new Set(before?.prefixes);
  words.forEach((word, i) => word === "PREFIX" && prefixes.add(options[i + 1]!));
  const bcast = words.includes("BCAST");
  if (bcast && !words.includes("PREFIX")) prefixes.add("");
  return {
    to: words.includes("REDIRECT") ? Number(words[words.indexOf("REDIRECT") + 1]) : session.id,
    bcast,
    prefixes,
    optin: words.includes("OPTIN"),
    optout: words.includes("OPTOUT"),
    noloop: words.includes("NOLOOP"),
    caching: before?.caching ?? false,
  };
}

function isClient(args: readonly string[]): boolean {
  return args[0]!.toLowerCase() === "client";
}
