/** memcached's meta commands: mn, mg, ms, md, ma, me. The flags are those of 1.6.18 (no E, S, x, s for ma). */
import { Buffer } from "node:buffer";
import { parseFlags, parseSigned, parseUnsigned } from "./numbers.ts";
import { type Item, itemSize, type Mode, type Outcome, type Store } from "./store.ts";
import {
  BAD_BLOCK,
  BAD_LINE,
  type Block,
  ERROR,
  KEY_MAX,
  NOT_NUMERIC,
  skipBlock,
  TOO_LARGE,
} from "./text.ts";

const OPAQUE_MAX = 32;
const BAD_TOKEN = "CLIENT_ERROR bad token in command line format\r\n";
const BAD_FLAG = "CLIENT_ERROR invalid flag\r\n";
/** Most flags that a line may have. */
const FLAGS_MAX = 20;

/** What the flags of one line say. */
interface Flags {
  /** In the order given, each with its argument. */
  readonly given: readonly string[];
  readonly key: string;
  /** The key was given in base64. */
  readonly binary: boolean;
  readonly quiet: boolean;
  readonly value: boolean;
  readonly noUpdate: boolean;
  readonly invalidate: boolean;
  /** Seconds, or null if absent. */
  readonly exptime: number | null;
  readonly vivify: number | null;
  readonly recache: number | null;
  readonly cas: number | null;
  readonly clientFlags: number;
  readonly initial: bigint;
  readonly delta: bigint;
  /** Letter after M, or "". */
  readonly mode: string;
}

/** The flags of a line, or the error to answer with. */
function parse(key: string, given: readonly string[]): Flags | string {
  if (key.length > KEY_MAX) return BAD_LINE;
  if (given.length > FLAGS_MAX) return "CLIENT_ERROR options flags are too long\r\n";
  const seen = new Set<string>();
  // A bad argument is told at the end, the last one of several; an unknown letter at once.
  let failure = "";
  let badFlags = false;
  const flags = {
    given,
    key,
    binary: false,
    quiet: false,
    value: false,
    noUpdate: false,
    invalidate: false,
    exptime: null as number | null,
    vivify: null as number | null,
    recache: null as number | null,
    cas: null as number | null,
    clientFlags: 0,
    initial: 0n,
    delta: 1n,
    mode: "",
  };
  for (const flag of given) {
    const letter = flag[0]!;
    const argument = flag.slice(1);
    if (seen.has(letter)) return "CLIENT_ERROR duplicate flag\r\n";
    seen.add(letter);
    const signed = "NTR".includes(letter) ? parseSigned(argument) : null;
    const unsigned = "CJD".includes(letter) ? parseUnsigned(argument) : null;
    if ("NTR".includes(letter) && signed === null) failure = BAD_TOKEN;
    if ("CJD".includes(letter) && unsigned === null) failure = BAD_TOKEN;
    if (letter === "b") {
      const decoded = decode(key);
      if (decoded === null) failure = "CLIENT_ERROR error decoding key\r\n";
      else flags.key = decoded;
      flags.binary = true;
    } else if (letter === "N") flags.vivify = signed;
    else if (letter === "T") flags.exptime = signed;
    else if (letter === "R") flags.recache = signed;
    else if (letter === "C") flags.cas = Number(unsigned);
    else if (letter === "J") flags.initial = unsigned ?? 0n;
    else if (letter === "D") flags.delta = unsigned ?? 0n;
    else if (letter === "q") flags.quiet = true;
    else if (letter === "v") flags.value = true;
    else if (letter === "u") flags.noUpdate = true;
    else if (letter === "I") flags.invalidate = true;
    else if (letter === "F") {
      const value = parseFlags(argument);
      if (value === null) badFlags = true;
      else flags.clientFlags = value;
    } else if (letter === "M") {
      if (argument.length !== 1) failure = "CLIENT_ERROR incorrect length for M token\r\n";
      flags.mode = argument;
    } else if (letter === "O" && argument.length >= OPAQUE_MAX) {
      return "CLIENT_ERROR opaque token too long\r\n";
    } else if (!"OPLlkstcfh".includes(letter)) return BAD_FLAG;
  }
  if (failure !== "" || badFlags) return failure || BAD_LINE;
  return flags;
}

function decode(key: string): string | null {
  if (key.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(key)) return null;
  return Buffer.from(key, "base64").toString("latin1");
}

/** The k flag of a reply. */
function keyFlag(key: string, binary: boolean): string {
  return binary ? `k${Buffer.from(key, "latin1").toString("base64")} b` : `k${key}`;
}

/** k and O, which every reply may show; and what `show` makes of the other letters. */
function shown(flags: Flags, show: (letter: string) => string | null, binary = flags.binary): string {
  let text = "";
  for (const flag of flags.given) {
    const letter = flag[0]!;
    const part = letter === "O" ? flag : letter === "k" ? keyFlag(flags.key, binary) : show(letter);
    if (part !== null) text += ` ${part}`;
  }
  return text;
}

const NOTHING = (): null => null;

/** @param words the line, its first word one of the meta commands */
export function runMeta(store: Store, words: readonly string[]): string | Block {
  const key = words[1];
  if (words[0] === "mn") return "MN\r\n";
  if (words[0] === "me") return metaDebug(store, words);
  if (key === undefined) return ERROR;
  if (words[0] === "ms") return metaSet(store, key, words);
  const flags = parse(key, words.slice(2));
  if (typeof flags === "string") {
    // md and ma have one text for all that is wrong with the flags.
    const blurred = words[0] !== "mg" && key.length <= KEY_MAX && !/options/.test(flags);
    return blurred ? "CLIENT_ERROR invalid or duplicate flag\r\n" : flags;
  }
  if (words[0] === "mg") return metaGet(store, flags);
  return words[0] === "md" ? metaDelete(store, flags) : metaArithmetic(store, flags);
}

function secondsLeft(store: Store, item: Item): string {
  return item.expiresAtS === 0 ? "-1" : String(item.expiresAtS - store.nowS());
}

/** T and, for an item just made, N take effect in the order given: a t before them shows the old time. */
function setTime(store: Store, item: Item, flags: Flags, letter: string, made: boolean): void {
  if (letter === "T") item.expiresAtS = store.expiry(flags.exptime!);
  if (letter === "N" && made) item.expiresAtS = store.expiry(flags.vivify!);
}

function metaGet(store: Store, flags: Flags): string {
  let item = store.find(flags.key);
  const made = item === undefined;
  let won = false;
  store.gets++;
  if (item === undefined) {
    if (flags.vivify === null) return flags.quiet ? "" : `EN${shown(flags, NOTHING)}\r\n`;
    // 1.6.18 forgets here that the key was given in base64.
    item = store.put(flags.key, "", 0, 0);
    won = true;
  } else store.hits++;
  const nowS = store.nowS();
  const { cas, fetched, lastAccessS, value } = item;
  const rest = shown(flags, (letter) => {
    setTime(store, item, flags, letter, made);
    if (letter === "R" && !item.tokenSent && item.expiresAtS !== 0) {
      won ||= item.expiresAtS - nowS < flags.recache!;
    }
    if (letter === "t") return `t${secondsLeft(store, item)}`;
    if (letter === "c") return `c${cas}`;
    if (letter === "f") return `f${item.flags}`;
    if (letter === "s") return `s${value.length}`;
    if (letter === "h") return fetched ? "h1" : "h0";
    return letter === "l" ? `l${nowS - lastAccessS}` : null;
  }, item.binary);
  const signs = (item.tokenSent ? " Z" : "") + (item.stale ? " X" : "");
  if (item.stale && !item.tokenSent) won = true;
  if (won) item.tokenSent = true;
  if (!flags.noUpdate) {
    item.fetched = true;
    item.lastAccessS = nowS;
  }
  const tail = `${rest}${signs}${won ? " W" : ""}\r\n`;
  return flags.value ? `VA ${value.length}${tail}${value}\r\n` : `HD${tail}`;
}

const MODES: Readonly<Record<string, Mode>> = {
  "": "set",
  E: "add",
  A: "append",
  P: "prepend",
  R: "replace",
  S: "set",
};
const OUTCOMES: Readonly<Record<Outcome, string>> = {
  stored: "HD",
  notStored: "NS",
  exists: "EX",
  notFound: "NF",
};

function metaSet(store: Store, key: string, words: readonly string[]): string | Block {
  if (key.length > KEY_MAX) return BAD_LINE;
  const size = words.length > 2 ? parseSigned(words[2]!) : null;
  if (size === null || size < 0) return BAD_LINE;
  const flags = parse(key, words.slice(3));
  if (typeof flags === "string") return skipBlock(size, flags);
  if (!Object.hasOwn(MODES, flags.mode)) {
    return skipBlock(size, "CLIENT_ERROR invalid mode for ms M token\r\n");
  }
  const mode = MODES[flags.mode]!;
  if (!store.fits(flags.key, flags.clientFlags, size)) {
    if (mode === "set") store.remove(flags.key);
    return skipBlock(size, TOO_LARGE);
  }
  const take = (value: string): string => {
    const { outcome, item } = store.store({
      mode,
      key: flags.key,
      value,
      flags: flags.clientFlags,
      expiresAtS: store.expiry(flags.exptime ?? 0),
      cas: flags.cas,
      stale: flags.invalidate,
      binary: flags.binary,
    });
    if (flags.quiet && outcome === "stored") return "";
    return `${OUTCOMES[outcome]}${
      shown(flags, (letter) => letter === "c" ? `c${item?.cas ?? 0}` : null)
    }\r\n`;
  };
  return { size, take, bad: BAD_BLOCK };
}

function metaDelete(store: Store, flags: Flags): string {
  const rest = shown(flags, NOTHING);
  const item = store.find(flags.key);
  if (item === undefined) return `NF${rest}\r\n`;
  if (flags.cas !== null && flags.cas !== item.cas) return `EX${rest}\r\n`;
  if (flags.invalidate) {
    if (flags.exptime !== null) item.expiresAtS = store.expiry(flags.exptime);
    item.stale = true;
    item.tokenSent = false;
    item.cas = store.nextCas();
  } else store.remove(flags.key);
  return flags.quiet ? "" : `HD${rest}\r\n`;
}

const UP: Readonly<Record<string, boolean>> = { "": true, I: true, "+": true, D: false, "-": false };

function metaArithmetic(store: Store, flags: Flags): string {
  if (!Object.hasOwn(UP, flags.mode)) return "CLIENT_ERROR invalid mode for ma M token\r\n";
  let item = store.find(flags.key);
  let text: string;
  const made = item === undefined;
  if (item === undefined) {
    if (flags.vivify === null) return `NF${shown(flags, NOTHING)}\r\n`;
    text = flags.initial.toString();
    item = store.put(flags.key, text, 0, 0);
  } else {
    if (item.value === "") return NOT_NUMERIC;
    if (flags.cas !== null && flags.cas !== 0 && flags.cas !== item.cas) {
      return `EX${shown(flags, NOTHING)}\r\n`;
    }
    const sum = store.add(flags.key, item, flags.delta, UP[flags.mode]!);
    if (sum === null) return NOT_NUMERIC;
    ({ item, text } = sum);
  }
  const { cas } = item;
  const changed = item;
  const rest = shown(flags, (letter) => {
    setTime(store, changed, flags, letter, made);
    return letter === "t" ? `t${secondsLeft(store, changed)}` : letter === "c" ? `c${cas}` : null;
  });
  // 1.6.18 is quiet about a sum, but not about a new item.
  if (flags.quiet && !made) return "";
  return flags.value ? `VA ${text.length}${rest}\r\n${text}\r\n` : `HD${rest}\r\n`;
}

function metaDebug(store: Store, words: readonly string[]): string {
  const given = words[1];
  if (given === undefined || given.length > KEY_MAX) return BAD_LINE;
  const binary = words[2] === "b";
  const key = binary ? decode(given) : given;
  if (key === null) return BAD_LINE;
  const item = store.find(key);
  if (item === undefined) return "EN\r\n";
  const nowS = store.nowS();
  // The time left with its sign turned, as 1.6.18 shows it.
  const exp = item.expiresAtS === 0 ? -1 : nowS - item.expiresAtS;
  const size = itemSize(key, item.flags, item.value.length);
  const name = item.binary ? Buffer.from(key, "latin1").toString("base64") : key;
  return `ME ${name} exp=${exp} la=${nowS - item.lastAccessS} cas=${item.cas}` +
    ` fetch=${item.fetched ? "yes" : "no"} cls=${slabClass(size)} size=${size}\r\n`;
}

/** Number of the slab class that memcached's default growth would put an item of `size` bytes into. */
function slabClass(size: number): number {
  let number = 1;
  for (let chunk = 96; chunk < size; number++) chunk = Math.ceil(chunk * 1.25 / 8) * 8;
  return number;
}
