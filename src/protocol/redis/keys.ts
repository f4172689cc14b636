/**
 * Where a request's keys are. One branch per kind of command (FINDER); positions, never bytes, come out.
 *
 *   ZUNIONSTORE  dest  2  k1  k2  WEIGHTS 1 2
 *   0            1     2  3   4              ──▶  KeyList.at = [1, 3, 4]
 *
 * The meaning is that of Redis's own key specifications and getkeys functions; tests/real/redis_commands_test.ts
 * compares with COMMAND GETKEYS of a real server.
 */
import type { Args } from "./args.ts";
import { encode, equalsFoldedAsC } from "../../bytes/ascii.ts";
import { type Command, FINDER, FLAG } from "./command.ts";

/** The found keys: one per thread, written by `findKeys`, read before the next call. */
export class KeyList {
  /** How many. */
  count = 0;
  /** Argument index of key i. */
  at: Int32Array = new Int32Array(64);

  /** Makes room for `count` keys; what is there may be lost. */
  reserve(count: number): void {
    if (count > this.at.length) this.at = new Int32Array(Math.max(count, this.at.length * 2));
  }
}

/** Failures of `findKeys`, all negative; `keysError` has the texts. */
export const KEYS = {
  /** The number of keys is no number. */
  NOT_INTEGER: -1,
  /** The number of keys is below what the command takes (0, or 1 where it needs one). */
  TOO_FEW: -2,
  /** The number of keys is higher than the number of arguments. */
  TOO_MANY: -3,
  SYNTAX: -4,
  /** XREAD, XREADGROUP: not as many ids as streams. */
  UNBALANCED: -5,
  /** MSET, MSETNX: a key without a value. */
  ARITY: -6,
} as const;

const STREAMS = encode("STREAMS");
const BLOCK = encode("BLOCK");
const COUNT = encode("COUNT");
const GROUP = encode("GROUP");
const CLAIM = encode("CLAIM");
const NOACK = encode("NOACK");
const STORE = encode("STORE");
const STOREDIST = encode("STOREDIST");
const LIMIT = encode("LIMIT");
const BY = encode("BY");
const GET = encode("GET");
const KEYS_WORD = encode("KEYS");
const AUTH = encode("AUTH");
const AUTH2 = encode("AUTH2");

/**
 * Finds the keys of a request whose arity is right (`checkArity`).
 * @returns how many there are (≥ 0; their argument indexes are in `into.at`), or one of KEYS
 */
export function findKeys(command: Command, bytes: Uint8Array, args: Args, into: KeyList): number {
  switch (command.finder) {
    case FINDER.RANGE:
      if (command.firstKey === command.lastKey && command.firstKey < args.count) {
        into.at[0] = command.firstKey;
        return into.count = 1;
      }
      return into.count = findRange(command, args, into);
    case FINDER.NUMKEYS:
      return into.count = findNumkeys(command, bytes, args, into);
    case FINDER.STREAMS:
      return into.count = findStreams(bytes, args, into);
    case FINDER.SORT:
      return into.count = findSort(command, bytes, args, into);
    case FINDER.GEORADIUS:
      return into.count = findGeoradius(bytes, args, into);
    case FINDER.MIGRATE:
      return into.count = findMigrate(bytes, args, into);
    case FINDER.ASKED:
      return into.count = findTold(args, into);
    default:
      return into.count = 0;
  }
}

function findRange(command: Command, args: Args, into: KeyList): number {
  const last = command.lastKey < 0 ? args.count + command.lastKey : Math.min(command.lastKey, args.count - 1);
  const step = command.keyStep;
  // A pair without its second half (MSET a 1 b). Of a learned command nobody knows that its keys have values.
  const pairs = step === 2 && (command.flags & FLAG.LEARNED) === 0;
  if (pairs && (last - command.firstKey) % 2 === 0) return KEYS.ARITY;
  into.reserve(args.count);
  let count = 0;
  for (let i = command.firstKey; i <= last; i += step) into.at[count++] = i;
  return count;
}

function findNumkeys(command: Command, bytes: Uint8Array, args: Args, into: KeyList): number {
  const numkeysAt = command.numkeysAt;
  if (numkeysAt >= args.count) return KEYS.SYNTAX;
  const numkeys = parseCount(bytes, args.starts[numkeysAt]!, args.ends[numkeysAt]!);
  if (numkeys === NOT_A_COUNT) return KEYS.NOT_INTEGER;
  if (numkeys < 0 || (numkeys === 0 && (command.flags & FLAG.NO_MANDATORY_KEYS) === 0)) return KEYS.TOO_FEW;
  const step = command.keyStep > 1 ? command.keyStep : 1;
  if (numkeys * step > args.count - numkeysAt - 1) return KEYS.TOO_MANY;
  into.reserve(args.count);
  let count = 0;
  if (command.firstKey > 0) into.at[count++] = command.firstKey;
  for (let i = 0; i < numkeys; i++) into.at[count++] = numkeysAt + 1 + i * step;
  return count;
}

/** STREAMS is looked for among so many arguments: there are five options. */
const OPTIONS_MAX = 64;

function findStreams(bytes: Uint8Array, args: Args, into: KeyList): number {
  // Options have to be walked, not searched for the word: a consumer may be called "streams".
  for (let i = 1; i < Math.min(args.count, OPTIONS_MAX); i++) {
    if (isWord(bytes, args, i, STREAMS)) {
      const rest = args.count - i - 1;
      if (rest === 0) return KEYS.SYNTAX;
      if (rest % 2 !== 0) return KEYS.UNBALANCED;
      into.reserve(args.count);
      for (let k = 0; k < rest / 2; k++) into.at[k] = i + 1 + k;
      return rest / 2;
    } else if (isWord(bytes, args, i, BLOCK) || isWord(bytes, args, i, COUNT)) i++;
    // XREADGROUP of Redis 8.4 on; older servers say themselves that they do not know it.
    else if (isWord(bytes, args, i, CLAIM)) i++;
    else if (isWord(bytes, args, i, GROUP)) i += 2;
    else if (!isWord(bytes, args, i, NOACK)) return KEYS.SYNTAX;
  }
  return KEYS.SYNTAX;
}

/** BY and GET patterns name further keys, which only the server can work out: see sort_patterns.ts. */
function findSort(command: Command, bytes: Uint8Array, args: Args, into: KeyList): number {
  const stores = (command.flags & FLAG.WRITE) !== 0;
  let count = 1;
  into.at[0] = 1;
  for (let i = 2; i < args.count; i++) {
    if (isWord(bytes, args, i, LIMIT)) i += 2;
    else if (isWord(bytes, args, i, GET) || isWord(bytes, args, i, BY)) i++;
    else if (stores && isWord(bytes, args, i, STORE) && i + 1 < args.count) {
      // The last STORE counts.
      into.at[1] = ++i;
      count = 2;
    }
  }
  return count;
}

/** With STORE and STOREDIST both are keys, as in Redis's key specifications, though only the last is written. */
function findGeoradius(bytes: Uint8Array, args: Args, into: KeyList): number {
  into.reserve(args.count);
  let count = 1;
  into.at[0] = 1;
  for (let i = 5; i + 1 < args.count; i++) {
    if (isWord(bytes, args, i, STORE) || isWord(bytes, args, i, STOREDIST)) {
      into.at[count++] = ++i;
    }
  }
  return count;
}

function findMigrate(bytes: Uint8Array, args: Args, into: KeyList): number {
  into.at[0] = 3;
  if (args.count <= 3 || args.ends[3] !== args.starts[3]) return 1;
  for (let i = 6; i < args.count; i++) {
    if (isWord(bytes, args, i, AUTH)) i++;
    else if (isWord(bytes, args, i, AUTH2)) i += 2;
    else if (isWord(bytes, args, i, KEYS_WORD)) {
      into.reserve(args.count);
      let count = 0;
      while (++i < args.count) into.at[count++] = i;
      return count;
    }
  }
  return 1;
}

function findTold(args: Args, into: KeyList): number {
  const { told } = args;
  if (told === null) return 0;
  into.reserve(told.length);
  into.at.set(told);
  return told.length;
}

/**
 * May the request wait on the server, so that it needs a connection of its own? Only for ROUTE.BLOCKING:
 * XREAD and XREADGROUP wait only if told to BLOCK, all others always.
 */
export function blocks(command: Command, bytes: Uint8Array, args: Args): boolean {
  if (command.finder !== FINDER.STREAMS) return true;
  for (let i = 1; i < Math.min(args.count, OPTIONS_MAX); i++) {
    if (isWord(bytes, args, i, BLOCK)) return true;
    if (isWord(bytes, args, i, STREAMS)) return false;
    if (isWord(bytes, args, i, GROUP)) i += 2;
    else if (isWord(bytes, args, i, COUNT) || isWord(bytes, args, i, CLAIM)) i++;
  }
  // The only server there is may be asked although nobody knows what for.
  return args.count > OPTIONS_MAX;
}

/** Commands whose error names the argument instead of saying what is wrong with it. */
const NAMES_NUMKEYS = new Set(["LMPOP", "BLMPOP", "ZMPOP", "BZMPOP", "SINTERCARD"]);

/**
 * The error reply for a failed `findKeys`, in Redis's words; the caller's to keep.
 * @param code one of KEYS
 */
export function keysError(command: Command, code: number): Uint8Array {
  return encode(`-ERR ${keysErrorText(command, code)}\r\n`);
}

function keysErrorText(command: Command, code: number): string {
  const script = (command.flags & FLAG.NO_MANDATORY_KEYS) !== 0;
  switch (code) {
    case KEYS.NOT_INTEGER:
      if (command.name === "MSETEX") return "invalid numkeys value";
      return NAMES_NUMKEYS.has(command.name)
        ? "numkeys should be greater than 0"
        : script && command.name.startsWith("FCALL")
        ? "Bad number of keys provided"
        : "value is not an integer or out of range";
    case KEYS.TOO_FEW:
      if (command.name === "MSETEX") return "invalid numkeys value";
      if (script) return "Number of keys can't be negative";
      return NAMES_NUMKEYS.has(command.name)
        ? "numkeys should be greater than 0"
        : `at least 1 input key is needed for '${command.lower}' command`;
    case KEYS.TOO_MANY:
      if (command.name === "MSETEX") return `wrong number of arguments for '${command.lower}' command`;
      return script || command.name === "SINTERCARD"
        ? "Number of keys can't be greater than number of args"
        : "syntax error";
    case KEYS.UNBALANCED:
      return "Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";
    case KEYS.ARITY:
      return `wrong number of arguments for '${command.lower}' command`;
    default:
      return "syntax error";
  }
}

function isWord(bytes: Uint8Array, args: Args, index: number, word: Uint8Array): boolean {
  return equalsFoldedAsC(bytes, args.starts[index]!, args.ends[index]!, word);
}

const NOT_A_COUNT = -0x1fffffffffffff;

/** A number as Redis reads one: "-" or nothing, then digits without a leading zero; NOT_A_COUNT for all else. */
function parseCount(bytes: Uint8Array, start: number, end: number): number {
  const negative = bytes[start] === 45;
  const first = negative ? start + 1 : start;
  if (first >= end || end - first > 15) return NOT_A_COUNT;
  if (bytes[first] === 48) return end - first === 1 && !negative ? 0 : NOT_A_COUNT;
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return NOT_A_COUNT;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}
