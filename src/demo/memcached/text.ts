/** memcached's classic commands: get, set, incr and the like. One function each, words of the line in, reply out. */
import { parseFlags, parseSigned, parseUnsigned } from "./numbers.ts";
import type { Mode, Outcome, Store } from "./store.ts";

/** A line asks for a data block of `size` bytes and CRLF. */
export interface Block {
  readonly size: number;
  /** Gets the block without its CRLF; returns the reply. */
  take(data: string): string;
  /** For a block that does not end with CRLF. */
  readonly bad: string;
}

/** A block that is read and forgotten. */
export function skipBlock(size: number, reply: string): Block {
  return { size, take: () => reply, bad: reply };
}

export const KEY_MAX = 250;
/** The version whose replies are imitated. */
export const MEMCACHED_VERSION = "1.6.18";

export const ERROR = "ERROR\r\n";
export const BAD_LINE = "CLIENT_ERROR bad command line format\r\n";
export const BAD_BLOCK = "CLIENT_ERROR bad data chunk\r\n";
export const TOO_LARGE = "SERVER_ERROR object too large for cache\r\n";
export const NOT_NUMERIC = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
const BAD_EXPTIME = "CLIENT_ERROR invalid exptime argument\r\n";

/** Fewest and most words of a line, and what it does. `quiet`: the last word is noreply. */
export type TextCommand = readonly [
  min: number,
  max: number,
  run: (store: Store, words: readonly string[], quiet: boolean) => string | Block,
];

export const TEXT_COMMANDS: Readonly<Record<string, TextCommand>> = {
  get: [2, Infinity, (store, words) => get(store, words.slice(1), null, false)],
  gets: [2, Infinity, (store, words) => get(store, words.slice(1), null, true)],
  gat: [2, Infinity, (store, words) => gat(store, words, false)],
  gats: [2, Infinity, (store, words) => gat(store, words, true)],
  set: [5, 6, (store, words, quiet) => update(store, words, "set", quiet)],
  add: [5, 6, (store, words, quiet) => update(store, words, "add", quiet)],
  replace: [5, 6, (store, words, quiet) => update(store, words, "replace", quiet)],
  append: [5, 6, (store, words, quiet) => update(store, words, "append", quiet)],
  prepend: [5, 6, (store, words, quiet) => update(store, words, "prepend", quiet)],
  cas: [6, 7, (store, words, quiet) => update(store, words, "set", quiet, true)],
  incr: [3, 4, (store, words) => add(store, words, true)],
  decr: [3, 4, (store, words) => add(store, words, false)],
  delete: [2, 4, remove],
  touch: [3, 4, touch],
  flush_all: [1, 3, (store, words, quiet) => {
    const given = words.length > (quiet ? 2 : 1) ? parseSigned(words[1]!) : 0;
    if (given === null) return BAD_EXPTIME;
    store.flush(given);
    return "OK\r\n";
  }],
  verbosity: [
    2,
    3,
    (_, words, quiet) =>
      !(quiet && words.length === 2) && parseFlags(words[1]!) === null ? BAD_LINE : "OK\r\n",
  ],
  version: [1, Infinity, () => `VERSION ${MEMCACHED_VERSION}\r\n`],
  stats: [1, Infinity, stats],
  shutdown: [1, Infinity, () => "ERROR: shutdown not enabled\r\n"],
};

function get(store: Store, keys: readonly string[], expiresAtS: number | null, withCas: boolean): string {
  let text = "";
  for (const key of keys) {
    if (key.length > KEY_MAX) return BAD_LINE;
    const item = store.fetch(key);
    if (item === undefined) continue;
    text += `VALUE ${key} ${item.flags} ${item.value.length}${
      withCas ? ` ${item.cas}` : ""
    }\r\n${item.value}\r\n`;
    if (expiresAtS !== null) item.expiresAtS = expiresAtS;
  }
  return text + "END\r\n";
}

function gat(store: Store, words: readonly string[], withCas: boolean): string {
  const exptime = parseSigned(words[1]!);
  return exptime === null ? BAD_EXPTIME : get(store, words.slice(2), store.expiry(exptime), withCas);
}

const OUTCOMES: Readonly<Record<Outcome, string>> = {
  stored: "STORED\r\n",
  notStored: "NOT_STORED\r\n",
  exists: "EXISTS\r\n",
  notFound: "NOT_FOUND\r\n",
};

function update(
  store: Store,
  words: readonly string[],
  mode: Mode,
  quiet: boolean,
  withCas = false,
): string | Block {
  const key = words[1]!;
  const flags = parseFlags(words[2]!);
  const exptime = parseSigned(words[3]!);
  const size = parseSigned(words[4]!);
  const cas = withCas ? parseUnsigned(words[5]!) : null;
  if (key.length > KEY_MAX || flags === null || exptime === null || size === null || size < 0) {
    return BAD_LINE;
  }
  if (withCas && cas === null) return BAD_LINE;
  if (!store.fits(key, flags, size)) {
    if (mode === "set") store.remove(key);
    return skipBlock(size, quiet ? "" : TOO_LARGE);
  }
  const take = (value: string): string => {
    const expiresAtS = store.expiry(exptime);
    const { outcome } = store.store({
      mode,
      key,
      value,
      flags,
      expiresAtS,
      cas: cas === null ? null : Number(cas),
      stale: false,
      binary: false,
    });
    return quiet ? "" : OUTCOMES[outcome];
  };
  return { size, take, bad: quiet ? "" : BAD_BLOCK };
}

function add(store: Store, words: readonly string[], up: boolean): string {
  if (words[1]!.length > KEY_MAX) return BAD_LINE;
  const delta = parseUnsigned(words[2]!);
  if (delta === null) return "CLIENT_ERROR invalid numeric delta argument\r\n";
  const item = store.find(words[1]!);
  if (item === undefined) return "NOT_FOUND\r\n";
  const sum = store.add(words[1]!, item, delta, up);
  return sum === null ? NOT_NUMERIC : `${sum.text}\r\n`;
}

function remove(store: Store, words: readonly string[], quiet: boolean): string {
  if (words.length > 2) {
    const zero = words[2] === "0";
    if (!(words.length === 3 ? zero || quiet : zero && quiet)) {
      return "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";
    }
  }
  if (words[1]!.length > KEY_MAX) return BAD_LINE;
  return store.find(words[1]!) !== undefined && store.remove(words[1]!) ? "DELETED\r\n" : "NOT_FOUND\r\n";
}

function touch(store: Store, words: readonly string[]): string {
  if (words[1]!.length > KEY_MAX) return BAD_LINE;
  const exptime = parseSigned(words[2]!);
  if (exptime === null) return BAD_EXPTIME;
  const item = store.find(words[1]!);
  if (item === undefined) return "NOT_FOUND\r\n";
  item.expiresAtS = store.expiry(exptime);
  item.lastAccessS = store.nowS();
  item.fetched = true;
  return "TOUCHED\r\n";
}

function stats(store: Store, words: readonly string[]): string {
  if (words[1] === "reset") {
    store.gets = store.hits = store.sets = 0;
    return "RESET\r\n";
  }
  if (words.length > 1) return /^(settings|items|slabs|sizes|conns)$/.test(words[1]!) ? "END\r\n" : ERROR;
  const rows: [name: string, value: number | string][] = [
    ["pid", 1],
    ["uptime", store.nowS() - store.startedAtS],
    ["time", store.nowS()],
    ["version", MEMCACHED_VERSION],
    ["pointer_size", 64],
    ["cmd_get", store.gets],
    ["cmd_set", store.sets],
    ["get_hits", store.hits],
    ["get_misses", store.gets - store.hits],
    ["curr_items", store.size],
  ];
  return rows.map(([name, value]) => `STAT ${name} ${value}\r\n`).join("") + "END\r\n";
}
