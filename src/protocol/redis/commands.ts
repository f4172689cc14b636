/**
 * Finds a command by the bytes of its name, and keeps the table that this is done in.
 *
 *   "gEt" ──fold, mix──▶ buckets: Int16Array ──▶ COMMANDS[i] ──compare──▶ Command
 *
 * The look-up allocates nothing and ignores letter case, as Redis does. Learned commands are found the same way, but in a
 * table of their pool's (learned.ts).
 */
import { encode } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { CATEGORY, Command, FLAG } from "./command.ts";
import { type Row, ROWS } from "./command_rows.ts";

export { CATEGORY, checkArity, Command, FINDER, FLAG, JOIN, needsAuth, ROUTE } from "./command.ts";

/** Every command and subcommand, by id. */
export const COMMANDS: Command[] = [];
/** The commands without the subcommands, in table order. */
export const TOP_COMMANDS: Command[] = [];

/** Longest name, of a command or subcommand, that can be in the table; in bytes. */
export const NAME_MAX = 64;

/** Power of two, and at least twice the most commands there can be, so that probing ends. */
export const BUCKETS = 16384;
const EMPTY = -1;
const buckets = new Int16Array(BUCKETS).fill(EMPTY);

/**
 * Length, and four letters without their case bit: tells nearly all of Redis's names apart
 * (redis_commands_test.ts counts the probes).
 * @returns a number below BUCKETS
 */
export function mix(bytes: Uint8Array, start: number, length: number): number {
  const a = bytes[start]! | 32;
  const b = bytes[start + (length >> 1)]! | 32;
  const c = bytes[start + length - 1]! | 32;
  const d = bytes[start + (length >> 2)]! | 32;
  const e = bytes[start + length - 1 - (length >> 2)]! | 32;
  const mixed = Math.imul((a << 24) ^ (b << 16) ^ (c << 8) ^ d ^ (e << 12) ^ (length << 20), 0x9e3779b1);
  return (mixed >>> 16) & (BUCKETS - 1);
}

/** True if `bytes[start, end)` is `word` (upper case), letters compared without case. */
export function sameWord(bytes: Uint8Array, start: number, end: number, word: Uint8Array): boolean {
  if (end - start !== word.length) return false;
  for (let i = 0; i < word.length; i++) {
    let b = bytes[start + i]!;
    if (b >= 97 && b <= 122) b -= 32;
    if (b !== word[i]) return false;
  }
  return true;
}

/** The command, not subcommand, that `bytes[start, end)` names in any case; undefined if the table has none. */
export function findCommand(bytes: Uint8Array, start: number, end: number): Command | undefined {
  const length = end - start;
  if (length <= 0 || length > NAME_MAX) return undefined;
  let at = mix(bytes, start, length);
  for (;;) {
    const id = buckets[at]!;
    if (id === EMPTY) return undefined;
    const command = COMMANDS[id]!;
    if (sameWord(bytes, start, end, command.word)) return command;
    at = (at + 1) & (BUCKETS - 1);
  }
}

/** The subcommand of `container` that `bytes[start, end)` names; undefined if it has none such. */
export function findSubcommand(
  container: Command,
  bytes: Uint8Array,
  start: number,
  end: number,
): Command | undefined {
  const subcommands = container.subcommands;
  if (subcommands === null) return undefined;
  for (let i = 0; i < subcommands.length; i++) {
    if (sameWord(bytes, start, end, subcommands[i]!.word)) return subcommands[i];
  }
  return undefined;
}

/**
 * The command of a scanned request: the subcommand where its first argument is a container with a second word.
 * @returns undefined if the command or the subcommand is unknown: `unknownError` (errors.ts) says which
 */
export function resolve(bytes: Uint8Array, args: Args): Command | undefined {
  return resolveAt(bytes, args, 0);
}

/** As `resolve`, for a command whose name is argument `first` (COMMAND GETKEYS get k: 2). */
export function resolveAt(bytes: Uint8Array, args: Args, first: number): Command | undefined {
  const command = findCommand(bytes, args.starts[first]!, args.ends[first]!);
  return command === undefined ? undefined : resolveIn(command, bytes, args, first);
}

/** As `resolveAt`, where argument `first` is known to name `command`. */
export function resolveIn(
  command: Command,
  bytes: Uint8Array,
  args: Args,
  first: number,
): Command | undefined {
  if (command.subcommands === null || args.count <= first + 1) return command;
  const subcommand = findSubcommand(command, bytes, args.starts[first + 1]!, args.ends[first + 1]!);
  if (subcommand !== undefined) return subcommand;
  return (command.flags & FLAG.OPEN) === 0 ? undefined : command;
}

/** What `findCommand` would find for a text, or for "client|id" the subcommand; for the control plane. */
export function findByName(name: string): Command | undefined {
  const bytes = encode(name);
  return findNamed(bytes, 0, bytes.length);
}

/** As `findByName`, for the name `bytes[start, end)`. */
export function findNamed(bytes: Uint8Array, start: number, end: number): Command | undefined {
  if (end - start > 2 * NAME_MAX + 1) return undefined;
  let bar = start;
  while (bar < end && bytes[bar] !== 124) bar++;
  const command = findCommand(bytes, start, bar);
  return bar === end || command === undefined ? command : findSubcommand(command, bytes, bar + 1, end);
}

/** How many buckets the look-up of the command visits; ≥ 1. For tests. */
export function probesOf(command: Command): number {
  const start = mix(command.word, 0, command.word.length);
  let probes = 1;
  while (buckets[(start + probes - 1) & (BUCKETS - 1)] !== command.id) probes++;
  return probes;
}

function add(row: Row): void {
  const name = row[0];
  // Its row is the last one without a bar: they follow it.
  const container = name.includes("|") ? TOP_COMMANDS[TOP_COMMANDS.length - 1]! : null;
  const flags = row[2];
  const all = impliedCategories(flags) | row[3];
  const command = new Command(
    COMMANDS.length,
    name,
    row[1],
    flags,
    all,
    row[4],
    row[5],
    row[6] ?? 0,
    row[7] ?? "",
    container,
  );
  COMMANDS.push(command);
  if (container !== null) {
    (container.subcommands ??= []).push(command);
    return;
  }
  TOP_COMMANDS.push(command);
  let at = mix(command.word, 0, command.word.length);
  while (buckets[at] !== EMPTY) at = (at + 1) & (BUCKETS - 1);
  buckets[at] = command.id;
}

/** Categories that follow from the flags, as Redis derives them. */
function impliedCategories(flags: number): number {
  let categories = (flags & FLAG.FAST) !== 0 ? CATEGORY.FAST : CATEGORY.SLOW;
  if (flags & FLAG.WRITE) categories |= CATEGORY.WRITE;
  // Scripts that cannot write are no readers: EVAL_RO may call anything that does not write.
  if (flags & FLAG.READ && !(flags & FLAG.NO_MANDATORY_KEYS)) categories |= CATEGORY.READ;
  if (flags & FLAG.ADMIN) categories |= CATEGORY.ADMIN | CATEGORY.DANGEROUS;
  if (flags & FLAG.PUBSUB) categories |= CATEGORY.PUBSUB;
  if (flags & FLAG.BLOCKING) categories |= CATEGORY.BLOCKING;
  return categories;
}

ROWS.forEach(add);
