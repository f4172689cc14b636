/**
 * Every command that Ringmaster knows of memcached 1.6's text and meta protocols: how its line is read, where
 * it goes, and which replies can answer it. A name that is not here is answered "ERROR", as memcached does.
 *
 * The table is for people, documentation and tests; the data path reads the typed arrays made from it.
 */
import { encode } from "../../bytes/ascii.ts";
import { CLASS_MULTI_KEY, CLASS_OTHER, CLASS_READ, CLASS_WRITE } from "../../stats/latency.ts";
import { ANSWER_NONE, ANSWER_REFUSED, ANSWER_SHUTDOWN, ANSWER_WATCH } from "./answers.ts";
import * as R from "./reply_types.ts";

// Kinds: where a request goes.

/** To the server of its one key, as it came (less `noreply` or `q`). */
export const KEYED = 0;
/** Like KEYED with one key; with more, one line per server (splitGet) and the replies joined (joinGet). */
export const SPLIT_GET = 1;
/** Answered by the proxy in its turn. */
export const LOCAL = 2;
/** To every server of the pool, the replies joined. */
export const EVERY_SERVER = 3;
/** Answered by the proxy with the reason. */
export const REFUSED = 4;

// Forms: how the line is read.

/** NAME KEY FLAGS EXPTIME LENGTH [noreply], then a data block. */
export const FORM_STORE = 0;
/** As FORM_STORE with a CAS value after the length. */
export const FORM_CAS = 1;
/** NAME KEY… */
export const FORM_GET = 2;
/** NAME EXPTIME KEY… */
export const FORM_GAT = 3;
/** NAME KEY NUMBER [noreply]. */
export const FORM_NUMBER = 4;
/** NAME KEY [0] [noreply]. */
export const FORM_DELETE = 5;
/** NAME KEY FLAG…, perhaps with a length before the flags and a data block. */
export const FORM_META = 6;
export const FORM_META_SET = 7;
/** me KEY [b]. */
export const FORM_META_DEBUG = 8;
/** The words after the name do not matter. */
export const FORM_ANY = 9;
export const FORM_VERBOSITY = 10;
export const FORM_FLUSH_ALL = 11;
export const FORM_STATS = 12;

export interface Command {
  readonly name: string;
  readonly kind: number;
  readonly form: number;
  /** The word (name = 0) that is the first key; 0 = no key. */
  readonly key: number;
  /** Bits of the reply types that can answer it, besides the three kinds of error. */
  readonly replies: number;
  /** Bits of the reply types that memcached 1.6.18 holds back when the `q` flag is given. */
  readonly quiet: number;
  /** What the proxy answers, where that does not depend on the words. */
  readonly answer: number;
  /** How many words, the name included, the line may have; with more or fewer it is answered "ERROR". */
  readonly wordsMin: number;
  readonly wordsMax: number;
}

const MANY = 0x7fffffff;

function row(
  name: string,
  kind: number,
  form: number,
  key: number,
  replies: number,
  more: { quiet?: number; answer?: number; words?: readonly [number, number] } = {},
): Command {
  return {
    name,
    kind,
    form,
    key,
    replies,
    quiet: more.quiet ?? 0,
    answer: more.answer ?? ANSWER_NONE,
    wordsMin: more.words?.[0] ?? 1,
    wordsMax: more.words?.[1] ?? MANY,
  };
}

const bit = (...types: number[]): number => types.reduce((bits, type) => bits | (1 << type), 0);

const STORED = bit(R.REPLY_STORED, R.REPLY_NOT_STORED, R.REPLY_EXISTS, R.REPLY_NOT_FOUND);
const VALUES = bit(R.REPLY_VALUE, R.REPLY_END);
const NUMBER = bit(R.REPLY_NUMBER, R.REPLY_NOT_FOUND);
/** `OK` stands for `HD` on servers started with meta_response_old. */
const META = bit(R.REPLY_HD, R.REPLY_OK, R.REPLY_NS, R.REPLY_EX, R.REPLY_NF);
const META_DONE = bit(R.REPLY_HD, R.REPLY_OK);

/**
 * Rows of the table; a request's `row` is an index into it. Quiet modes as seen on 1.6.18: errors, `mg` hits
 * (HD too), NF, NS and EX are always shown.
 */
export const COMMANDS: readonly Command[] = [
  row("get", SPLIT_GET, FORM_GET, 1, VALUES, { words: [2, MANY] }),
  row("gets", SPLIT_GET, FORM_GET, 1, VALUES, { words: [2, MANY] }),
  row("gat", SPLIT_GET, FORM_GAT, 2, VALUES, { words: [2, MANY] }),
  row("gats", SPLIT_GET, FORM_GAT, 2, VALUES, { words: [2, MANY] }),
  // Not in the documentation, still in memcached: get by an old name.
  row("bget", SPLIT_GET, FORM_GET, 1, VALUES, { words: [2, MANY] }),
  row("set", KEYED, FORM_STORE, 1, STORED, { words: [5, 6] }),
  row("add", KEYED, FORM_STORE, 1, STORED, { words: [5, 6] }),
  row("replace", KEYED, FORM_STORE, 1, STORED, { words: [5, 6] }),
  row("append", KEYED, FORM_STORE, 1, STORED, { words: [5, 6] }),
  row("prepend", KEYED, FORM_STORE, 1, STORED, { words: [5, 6] }),
  row("cas", KEYED, FORM_CAS, 1, STORED, { words: [6, 7] }),
  row("delete", KEYED, FORM_DELETE, 1, bit(R.REPLY_DELETED, R.REPLY_NOT_FOUND), { words: [2, 4] }),
  row("incr", KEYED, FORM_NUMBER, 1, NUMBER, { words: [3, 4] }),
  row("decr", KEYED, FORM_NUMBER, 1, NUMBER, { words: [3, 4] }),
  row("touch", KEYED, FORM_NUMBER, 1, bit(R.REPLY_TOUCHED, R.REPLY_NOT_FOUND), { words: [3, 4] }),
  row("mg", KEYED, FORM_META, 1, META_DONE | bit(R.REPLY_VA, R.REPLY_EN), {
    words: [2, MANY],
    quiet: bit(R.REPLY_EN),
  }),
  row("ms", KEYED, FORM_META_SET, 1, META, { words: [2, MANY], quiet: META_DONE }),
  row("md", KEYED, FORM_META, 1, META, { words: [2, MANY], quiet: META_DONE }),
  row("ma", KEYED, FORM_META, 1, META | bit(R.REPLY_VA), {
    words: [2, MANY],
    quiet: META_DONE | bit(R.REPLY_VA),
  }),
  row("me", KEYED, FORM_META_DEBUG, 1, bit(R.REPLY_ME, R.REPLY_EN)),
  row("mn", LOCAL, FORM_ANY, 0, bit(R.REPLY_MN)),
  row("version", LOCAL, FORM_ANY, 0, bit(R.REPLY_VERSION)),
  row("verbosity", LOCAL, FORM_VERBOSITY, 0, bit(R.REPLY_OK), { words: [2, 3] }),
  row("quit", LOCAL, FORM_ANY, 0, 0),
  row("flush_all", EVERY_SERVER, FORM_FLUSH_ALL, 0, bit(R.REPLY_OK), { words: [1, 3] }),
  row("stats", EVERY_SERVER, FORM_STATS, 0, bit(R.REPLY_STAT, R.REPLY_END, R.REPLY_RESET)),
  row("shutdown", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_SHUTDOWN }),
  row("watch", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_WATCH }),
  row("cache_memlimit", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED, words: [2, 3] }),
  row("slabs", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED }),
  row("lru", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED, words: [2, MANY] }),
  row("lru_crawler", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED }),
  row("extstore", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED, words: [2, MANY] }),
  row("refresh_certs", REFUSED, FORM_ANY, 0, 0, { answer: ANSWER_REFUSED }),
];

/** `findCommand` for a name that is not in the table. */
export const UNKNOWN = -1;
/** In place of a row: no command but HTTP, and the connection ends here. */
export const ROW_HTTP = -2;

/** Bytes of a key. */
export const KEY_MAX = 250;
/** Bytes of a value, as memcached counts: 2^31 - 1 less CRLF. */
export const LENGTH_MAX = 0x7fffffff - 2;

/** Index of the row called `name`; for constants and the control plane. */
export function rowOf(name: string): number {
  return COMMANDS.findIndex((command) => command.name === name);
}

export const ROW_VERSION: number = rowOf("version");
export const ROW_QUIT: number = rowOf("quit");
export const ROW_STATS: number = rowOf("stats");
export const ROW_FLUSH_ALL: number = rowOf("flush_all");
export const ROW_MN: number = rowOf("mn");

// What the data path reads.

export const KIND: Uint8Array = Uint8Array.from(COMMANDS, (command) => command.kind);
export const FORM: Uint8Array = Uint8Array.from(COMMANDS, (command) => command.form);
/** Which of LATENCY_CLASSES, of a request with one key. */
const LATENCY_CLASS = Uint8Array.from(COMMANDS, ({ name, kind }) => {
  if (kind === SPLIT_GET || name === "mg" || name === "me") return CLASS_READ;
  return kind === KEYED ? CLASS_WRITE : CLASS_OTHER;
});
export const KEY_WORD: Uint8Array = Uint8Array.from(COMMANDS, (command) => command.key);
export const ANSWER: Uint8Array = Uint8Array.from(COMMANDS, (command) => command.answer);
export const WORDS_MIN: Int32Array = Int32Array.from(COMMANDS, (command) => command.wordsMin);
export const WORDS_MAX: Int32Array = Int32Array.from(COMMANDS, (command) => command.wordsMax);
const ERRORS = bit(...R.REPLY_ERRORS);
const REPLIES = Int32Array.from(COMMANDS, (command) => command.replies | ERRORS);
const QUIET = Int32Array.from(COMMANDS, (command) => command.quiet);
export const NAMES: readonly Uint8Array[] = COMMANDS.map((command) => encode(command.name));

/** Rows by the first letter of their names, most used first as in the table. */
const BY_LETTER: readonly Int32Array[] = rowsByLetter();

function rowsByLetter(): readonly Int32Array[] {
  const rows: number[][] = [];
  for (let i = 0; i < NAMES.length; i++) (rows[NAMES[i]![0]!] ??= []).push(i);
  const none = new Int32Array(0);
  const found: Int32Array[] = [];
  for (let letter = 0; letter < 256; letter++) {
    found.push(rows[letter] === undefined ? none : Int32Array.from(rows[letter]));
  }
  return found;
}

/** The row whose name is `bytes[start, end)`, lower case only as in memcached; UNKNOWN if there is none. */
export function findCommand(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return UNKNOWN;
  const rows = BY_LETTER[bytes[start]!]!;
  for (let k = 0; k < rows.length; k++) {
    const name = NAMES[rows[k]!]!;
    if (name.length !== length) continue;
    let i = 1;
    while (i < length && bytes[start + i] === name[i]) i++;
    if (i === length) return rows[k]!;
  }
  return UNKNOWN;
}

/** Which of LATENCY_CLASSES a request of this row with so many keys is counted among; UNKNOWN is no row. */
export function latencyClass(row: number, keyCount: number): number {
  if (row < 0) return CLASS_OTHER;
  return keyCount > 1 && KIND[row] === SPLIT_GET ? CLASS_MULTI_KEY : LATENCY_CLASS[row]!;
}

/** True if a reply of this type can answer a command of this row. If not, the server's replies are out of step. */
export function replyFits(row: number, type: number): boolean {
  return (REPLIES[row]! >>> type & 1) !== 0;
}

const OLDEST = "get gets set add replace append prepend cas delete incr decr".split(" ");
const IN_ALL_VERSIONS = Uint8Array.from(COMMANDS, ({ name }) => OLDEST.includes(name) ? 1 : 0);

/**
 * True if every memcached knows the command: "ERROR" alone does not answer a whole line of it, but some other line that the server has
 * read as a command.
 */
export function knownToAll(row: number): boolean {
  return IN_ALL_VERSIONS[row] === 1;
}

/** True if memcached would have held this reply back for a request that had the `q` flag. */
export function quietDrops(row: number, type: number): boolean {
  return (QUIET[row]! >>> type & 1) !== 0;
}
