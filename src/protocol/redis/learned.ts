/**
 * What a pool knows of the commands that are not in the table: rows that its servers have told (learn.ts), names that none of
 * them knows, and how often they may be asked.
 *
 *   name ──find──▶ Entry ──┬─ young  as it is
 *                          ├─ old    as it is, and a server is asked again     (it may have been replaced by another version)
 *                          └─ stale  nothing is done before a server has answered
 *
 * A pool's, since two pools may give one name to two commands. Every worker asks for itself: they ask the same servers, in the
 * same order, and none believes an answer for longer than STALE_MS. No IO here: redis/learn.ts asks.
 */
import { latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { Command } from "./command.ts";
import { BUCKETS, mix, NAME_MAX, resolveIn, sameWord } from "./commands.ts";
import type { LearnedRow } from "./learn.ts";

/** Rows, subcommands included: a server that invents names must not fill the memory. All are forgotten when there are more. */
export const LEARNED_MAX = 1024;
/** From then on a row is asked for again while it is used. */
export const OLD_MS = 10_000;
/** A row that has not been used for so long is worth nothing. */
export const STALE_MS = 30_000;
/** Remembered unknown names; all are forgotten when there are more. */
export const UNKNOWN_MAX = 1000;
/** A module may be loaded any time: an unknown name is asked again after this. */
export const UNKNOWN_MS = 5000;
/** A server that failed to answer is asked again after this. */
const FAILED_MS = 1000;
/** So many names that no server knows may be asked for at once, and so many a second: beyond, a name is unknown unasked. */
export const QUESTIONS_MAX = 500;
export const QUESTIONS_A_SECOND = 50;

const BAR = 124;

export interface Entry {
  readonly command: Command;
  /** What it was made of, to see whether another answer says the same. */
  readonly rows: readonly LearnedRow[];
  /** When a server said so, ms of the pool's clock. */
  toldMs: number;
}

export class LearnedCommands {
  private entries: Entry[] = [];
  private count = 0;
  /** Open addressing, as the table's; undefined ends a search. Null while there are no entries. */
  private slots: (Entry | undefined)[] | null = null;
  /** Name → until when it counts as unknown. */
  private readonly unknown = new Map<string, number>();
  private questions = QUESTIONS_MAX;
  private filledMs = 0;

  /** How many rows, subcommands included. */
  get size(): number {
    return this.count;
  }

  /** How many names are remembered as unknown. */
  get unknownSize(): number {
    return this.unknown.size;
  }

  /** What is known of the command `bytes[start, end)`, however old. */
  find(bytes: Uint8Array, start: number, end: number): Entry | undefined {
    const length = end - start;
    if (this.slots === null || length <= 0 || length > NAME_MAX) return undefined;
    let at = mix(bytes, start, length) % SLOTS;
    for (;;) {
      const entry = this.slots[at];
      if (entry === undefined || sameWord(bytes, start, end, entry.command.word)) return entry;
      at = (at + 1) % SLOTS;
    }
  }

  /** The entry's command, or the subcommand of it that a request names; undefined if there is none such. */
  resolve({ command }: Entry, bytes: Uint8Array, args: Args): Command | undefined {
    return resolveIn(command, bytes, args, 0);
  }

  /**
   * The name `bytes[start, end)`, of which nothing is known, in lower case.
   * @returns null if no server knows it, or it is no command's name
   */
  question(bytes: Uint8Array, start: number, end: number, nowMs: number): string | null {
    // A bar is how servers and our table write subcommands: "config|get" is no command's name.
    if (end === start || end - start > NAME_MAX || bytes.subarray(start, end).includes(BAR)) return null;
    const name = latin1(bytes, start, end).toLowerCase();
    const until = this.unknown.get(name);
    return until !== undefined && until > nowMs ? null : name;
  }

  /** May a server be asked for a name of which nothing is known? If so, it counts as asked. */
  mayAsk(nowMs: number): boolean {
    const filled = Math.floor((nowMs - this.filledMs) * QUESTIONS_A_SECOND / 1000);
    if (filled >= 1) {
      this.questions = Math.min(QUESTIONS_MAX, this.questions + filled);
      this.filledMs = nowMs;
    }
    if (this.questions === 0) return false;
    this.questions--;
    return true;
  }

  /**
   * A server has answered.
   * @param rows what it says of the command `name` (lower case); null if it does not know it
   * @returns true if that is news
   */
  told(name: string, rows: readonly LearnedRow[] | null, nowMs: number): boolean {
    const at = this.entries.findIndex(({ command }) => command.lower === name);
    const known = at === -1 ? undefined : this.entries[at]!;
    const fits = rows !== null && rows.length <= LEARNED_MAX && rows[0]!.name.toLowerCase() === name;
    if (fits && known !== undefined && JSON.stringify(known.rows) === JSON.stringify(rows)) {
      known.toldMs = nowMs;
      return false;
    }
    if (known !== undefined) this.entries.splice(at, 1);
    this.count -= known?.rows.length ?? 0;
    if (fits) {
      if (this.count + rows.length > LEARNED_MAX) {
        this.entries = [];
        this.count = 0;
      }
      this.entries.push({ command: commandOf(rows), rows, toldMs: nowMs });
      this.count += rows.length;
      if (known === undefined) this.questions = Math.min(QUESTIONS_MAX, this.questions + 1);
    } else this.remember(name, nowMs + UNKNOWN_MS);
    if (!fits && known === undefined) return false;
    this.place();
    return true;
  }

  /** A server was asked, and failed to answer. What is known stays for a while. */
  failed(name: string, nowMs: number): void {
    const known = this.entries.find(({ command }) => command.lower === name);
    if (known !== undefined) known.toldMs = nowMs - OLD_MS + FAILED_MS;
    else this.remember(name, nowMs + FAILED_MS);
  }

  private remember(name: string, untilMs: number): void {
    if (this.unknown.size >= UNKNOWN_MAX) this.unknown.clear();
    this.unknown.set(name, untilMs);
  }

  private place(): void {
    this.slots = new Array(SLOTS).fill(undefined);
    for (const entry of this.entries) {
      const { word } = entry.command;
      let at = mix(word, 0, word.length) % SLOTS;
      while (this.slots[at] !== undefined) at = (at + 1) % SLOTS;
      this.slots[at] = entry;
    }
  }
}

/** Power of two that divides BUCKETS, and twice LEARNED_MAX, so that probing ends. */
const SLOTS = Math.min(2 * LEARNED_MAX, BUCKETS);

function commandOf(rows: readonly LearnedRow[]): Command {
  const top = make(rows[0]!, null);
  for (const row of rows.slice(1)) (top.subcommands ??= []).push(make(row, top));
  return top;
}

function make(row: LearnedRow, container: Command | null): Command {
  const { name, arity, flags, categories, route, keys, join, hint } = row;
  return new Command(-1, name, arity, flags, categories, route, keys, join, hint, container);
}
