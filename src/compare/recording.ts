/**
 * Requests that a tap has told, in a file, to be asked again.
 *
 *   {"ringmaster_recording":1,"at":1795996800000}                          a line that says what it is
 *   {"at":…,"pool":"alpha","client":"…","command":"get","arguments":["key"],…}    a request a line, as `ringmaster tap --json` has it
 *
 * A tap shortens words, and hides passwords: what is not whole is not asked again.
 */
import { encode } from "../bytes/ascii.ts";
import { findByName } from "../protocol/redis/commands.ts";
import { FLAG, ROUTE } from "../protocol/redis/command.ts";
import type { Sample } from "../stats/tapped.ts";

const VERSION = 1;

/** The first line, with its end. @param wallMs since the epoch */
export const headLine = (wallMs: number): string =>
  JSON.stringify({ ringmaster_recording: VERSION, at: wallMs }) + "\n";

/** Why a request is not asked again; null: it is. */
export type Skipped = "writes" | "shortened" | "others";

export interface Recorded {
  readonly pool: string;
  /** Lower case. */
  readonly command: string;
  /** All of it, the name too; empty if it is skipped. */
  readonly words: readonly Uint8Array[];
  readonly skipped: Skipped | null;
  readonly writes: boolean;
}

/**
 * What a line says; null: nothing that is asked (the first line, an empty one).
 * @param writes requests that write are to be asked again, too
 * @throws Error: it is no recording's; for people
 */
export function recorded(line: string, redis: boolean, writes: boolean): Recorded | null {
  if (line === "") return null;
  let said: Partial<Sample> & { ringmaster_recording?: number };
  try {
    said = JSON.parse(line);
  } catch {
    throw new Error(`found ${JSON.stringify(line.slice(0, 60))}, expected a JSON object a line`);
  }
  if (said.ringmaster_recording !== undefined) {
    if (said.ringmaster_recording === VERSION) return null;
    throw new Error(`a recording of version ${said.ringmaster_recording}, expected ${VERSION}`);
  }
  const { pool, command, arguments: words } = said;
  const isText = typeof pool === "string" && typeof command === "string" && Array.isArray(words);
  if (!isText || !words.every((word) => typeof word === "string")) {
    throw new Error("found no request, expected pool, command and arguments");
  }
  const kind = redis ? kindOf(command) : kindOfMemcached(command);
  const skipped = kind === "others" || kind === "writes" && !writes
    ? kind
    : words.some(isShortened)
    ? "shortened"
    : null;
  return {
    pool,
    command,
    skipped,
    writes: kind === "writes",
    words: skipped === null ? [command, ...words].map(encode) : [],
  };
}

/** Of these each key, or keys, is all that they need; and what they answer can be told from another answer. */
const ASKABLE: ReadonlySet<number> = new Set([
  ROUTE.KEYED,
  ROUTE.SPLIT_VALUES,
  ROUTE.SPLIT_SUM,
  ROUTE.SPLIT_PAIRS,
]);

function kindOf(name: string): "reads" | "writes" | "others" {
  const command = findByName(name.toUpperCase());
  if (command === undefined || command.subcommands !== null || !ASKABLE.has(command.route)) return "others";
  if (command.mayWrite) return "writes";
  return (command.flags & FLAG.READ) !== 0 ? "reads" : "others";
}

/** A tap does not tell the data that is stored: what writes cannot be asked again. */
const kindOfMemcached = (name: string): "reads" | "writes" | "others" =>
  name === "get" || name === "gets" ? "reads" : "others";

/** As bytes/shown.ts and protocol/redis/shown_words.ts shorten and hide. */
const isShortened = (word: string): boolean =>
  /… \(\d+ (bytes|more)\)$|\\x[0-9a-f]{2}/.test(word) || word === "(hidden)";
