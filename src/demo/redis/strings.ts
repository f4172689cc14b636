/** Commands on strings and numbers in strings. */
import type { Call, CommandTable } from "./command.ts";
import { CommandError, NAN_OR_INFINITY, NOT_FLOAT, OVERFLOW, TOO_LONG, wrongArguments } from "./errors.ts";
import { expiryOf, stringOptions, UNITS } from "./expiry.ts";
import { addDecimals, index, INT64_MAX, INT64_MIN, integer, parseDouble } from "./numbers.ts";

const STRING_MAX = 512 * 1024 * 1024;

export const STRINGS: CommandTable = {
  get: [2, ({ args, db, reply }) => reply.bulk(db.string(args[1]!))],
  set: [-3, set],
  setex: [4, (call) => setFor(call, "EX")],
  psetex: [4, (call) => setFor(call, "PX")],
  setnx: [3, ({ args, db, reply }) => {
    if (db.find(args[1]!) !== undefined) return reply.integer(0);
    db.put(args[1]!, args[2]!);
    reply.integer(1);
  }],
  getset: [3, ({ args, db, reply }) => {
    reply.bulk(db.string(args[1]!));
    db.put(args[1]!, args[2]!);
  }],
  getdel: [2, ({ args, db, reply }) => {
    reply.bulk(db.string(args[1]!));
    db.remove(args[1]!);
  }],
  getex: [-2, getex],
  mget: [-2, ({ args, db, reply }) => {
    reply.array(args.length - 1);
    for (let i = 1; i < args.length; i++) {
      const value = db.find(args[i]!)?.value;
      reply.bulk(typeof value === "string" ? value : null);
    }
  }],
  mset: [-3, (call) => {
    pairs(call);
    for (let i = 1; i < call.args.length; i += 2) call.db.put(call.args[i]!, call.args[i + 1]!);
    call.reply.ok();
  }],
  msetnx: [-3, (call) => {
    const { args, db, reply } = call;
    pairs(call);
    for (let i = 1; i < args.length; i += 2) if (db.find(args[i]!) !== undefined) return reply.integer(0);
    for (let i = 1; i < args.length; i += 2) db.put(args[i]!, args[i + 1]!);
    reply.integer(1);
  }],
  append: [3, ({ args, db, reply }) => {
    const value = (db.string(args[1]!) ?? "") + args[2];
    if (value.length > STRING_MAX) throw new CommandError(TOO_LONG);
    db.put(args[1]!, value, "keep");
    reply.integer(value.length);
  }],
  strlen: [2, ({ args, db, reply }) => reply.integer(db.string(args[1]!)?.length ?? 0)],
  incr: [2, (call) => add(call, 1n)],
  decr: [2, (call) => add(call, -1n)],
  incrby: [3, (call) => add(call, integer(call.args[2]!))],
  decrby: [3, (call) => {
    const by = integer(call.args[2]!);
    if (by === INT64_MIN) throw new CommandError("ERR decrement would overflow");
    add(call, -by);
  }],
  incrbyfloat: [3, ({ args, db, reply }) => {
    const value = addFloats(db.string(args[1]!) ?? "0", args[2]!, NOT_FLOAT);
    db.put(args[1]!, value, "keep");
    reply.bulk(value);
  }],
  getrange: [4, getrange],
  substr: [4, getrange],
  setrange: [4, ({ args, db, reply }) => {
    const offset = index(args[2]!);
    if (offset < 0) throw new CommandError("ERR offset is out of range");
    const old = db.string(args[1]!);
    const value = args[3]!;
    if (value === "") return reply.integer(old?.length ?? 0);
    if (offset + value.length > STRING_MAX) throw new CommandError(TOO_LONG);
    const text = (old ?? "").padEnd(offset, "\0");
    const next = text.slice(0, offset) + value + text.slice(offset + value.length);
    db.put(args[1]!, next, "keep");
    reply.integer(next.length);
  }],
};

function pairs({ args, name }: Call): void {
  if (args.length % 2 === 0) throw new CommandError(wrongArguments(name));
}

function set(call: Call): void {
  const { args, db, reply } = call;
  const options = stringOptions(args, 3, true);
  const at = options.unit === null ? Infinity : expiryOf(call, options.time, options.unit);
  const old = options.get ? db.string(args[1]!) : undefined;
  const found = db.find(args[1]!) !== undefined;
  if (options.get) reply.bulk(old);
  if (options.nx && found || options.xx && !found) {
    if (!options.get) reply.null();
    return;
  }
  db.put(args[1]!, args[2]!, options.keepTtl ? "keep" : at);
  if (!options.get) reply.ok();
}

function setFor(call: Call, unit: "EX" | "PX"): void {
  call.db.put(call.args[1]!, call.args[3]!, expiryOf(call, call.args[2]!, UNITS[unit]!));
  call.reply.ok();
}

function getex(call: Call): void {
  const { args, db, reply } = call;
  const options = stringOptions(args, 2, false);
  const value = db.string(args[1]!);
  if (value === undefined) return reply.null();
  const at = options.unit === null ? null : expiryOf(call, options.time, options.unit);
  reply.bulk(value);
  if (options.persist) db.put(args[1]!, value);
  else if (at !== null) db.put(args[1]!, value, at);
}

function getrange({ args, db, reply }: Call): void {
  let start = index(args[2]!);
  let end = index(args[3]!);
  const value = db.string(args[1]!) ?? "";
  if (start < 0 && end < 0 && start > end) return reply.bulk("");
  if (start < 0) start = Math.max(0, start + value.length);
  if (end < 0) end = Math.max(0, end + value.length);
  reply.bulk(start > end ? "" : value.slice(start, end + 1));
}

function add({ args, db, reply }: Call, by: bigint): void {
  const sum = addIntegers(db.string(args[1]!) ?? "0", by);
  db.put(args[1]!, sum, "keep");
  reply.integer(BigInt(sum));
}

/** @throws CommandError if the old value is no integer (with `message`) or the sum needs more than 64 bits */
export function addIntegers(old: string, by: bigint, message?: string): string {
  const sum = integer(old, message) + by;
  if (sum > INT64_MAX || sum < INT64_MIN) throw new CommandError(OVERFLOW);
  return sum.toString();
}

/** @throws CommandError if one is no float; `message` is about the old value */
export function addFloats(old: string, by: string, message: string): string {
  const a = parseDouble(old);
  if (a === null) throw new CommandError(message);
  const b = parseDouble(by);
  if (b === null) throw new CommandError(NOT_FLOAT);
  const sum = Number.isFinite(a) && Number.isFinite(b) ? addDecimals(old, by) : null;
  if (sum === null) throw new CommandError(NAN_OR_INFINITY);
  return sum;
}
