/** Commands on lists. The blocking ones are not here: a session answers at once or not at all. */
import type { Call, CommandTable } from "./command.ts";
import { CommandError, NO_SUCH_KEY, NOT_POSITIVE, SYNTAX, wrongArguments } from "./errors.ts";
import { index } from "./numbers.ts";

export const LISTS: CommandTable = {
  lpush: [-3, (call) => push(call, true, true)],
  rpush: [-3, (call) => push(call, false, true)],
  lpushx: [-3, (call) => push(call, true, false)],
  rpushx: [-3, (call) => push(call, false, false)],
  lpop: [-2, (call) => pop(call, true)],
  rpop: [-2, (call) => pop(call, false)],
  llen: [2, ({ args, db, reply }) => reply.integer(db.list(args[1]!)?.length ?? 0)],
  lrange: [4, ({ args, db, reply }) => {
    const [start, end] = [index(args[2]!), index(args[3]!)];
    const list = db.list(args[1]!) ?? [];
    const part = list.slice(...bounds(start, end, list.length));
    reply.bulks(part, part.length);
  }],
  lindex: [3, ({ args, db, reply }) => {
    const list = db.list(args[1]!);
    if (list === undefined) return reply.null();
    const at = index(args[2]!);
    reply.bulk(list[at < 0 ? list.length + at : at]);
  }],
  lset: [4, ({ args, db, reply }) => {
    const list = db.list(args[1]!);
    if (list === undefined) throw new CommandError(NO_SUCH_KEY);
    let at = index(args[2]!);
    if (at < 0) at += list.length;
    if (at < 0 || at >= list.length) throw new CommandError("ERR index out of range");
    list[at] = args[3]!;
    db.touch(args[1]!);
    reply.ok();
  }],
  lrem: [4, lrem],
  ltrim: [4, ({ args, db, reply }) => {
    const [start, end] = [index(args[2]!), index(args[3]!)];
    const list = db.list(args[1]!);
    if (list !== undefined) {
      const kept = list.slice(...bounds(start, end, list.length));
      list.length = 0;
      for (const value of kept) list.push(value);
      db.changed(args[1]!, list.length);
    }
    reply.ok();
  }],
  linsert: [5, ({ args, db, reply }) => {
    if (!/^(before|after)$/i.test(args[2]!)) throw new CommandError(SYNTAX);
    const list = db.list(args[1]!);
    if (list === undefined) return reply.integer(0);
    const at = list.indexOf(args[3]!);
    if (at < 0) return reply.integer(-1);
    list.splice(args[2]!.length === 5 ? at + 1 : at, 0, args[4]!);
    db.touch(args[1]!);
    reply.integer(list.length);
  }],
  lmove: [5, (call) => move(call, isLeft(call.args[3]!), isLeft(call.args[4]!))],
  rpoplpush: [3, (call) => move(call, false, true)],
};

function isLeft(word: string): boolean {
  if (!/^(left|right)$/i.test(word)) throw new CommandError(SYNTAX);
  return word.length === 4;
}

/** Arguments for slice() of Redis' inclusive range with negative indexes. */
export function bounds(start: number, end: number, length: number): [number, number] {
  if (start < 0) start = Math.max(0, start + length);
  if (end < 0) end += length;
  return start > end || start >= length ? [0, 0] : [start, Math.min(end + 1, length)];
}

function push({ args, db, reply }: Call, left: boolean, create: boolean): void {
  let list = db.list(args[1]!);
  if (list === undefined) {
    if (!create) return reply.integer(0);
    db.put(args[1]!, list = []);
  }
  for (let i = 2; i < args.length; i++) {
    if (left) list.unshift(args[i]!);
    else list.push(args[i]!);
  }
  db.touch(args[1]!);
  reply.integer(list.length);
}

function pop({ args, db, name, reply }: Call, left: boolean): void {
  if (args.length > 3) throw new CommandError(wrongArguments(name));
  const count = args.length === 3 ? index(args[2]!, NOT_POSITIVE) : -1;
  if (args.length === 3 && count < 0) throw new CommandError(NOT_POSITIVE);
  const list = db.list(args[1]!);
  if (list === undefined) return count < 0 ? reply.null() : reply.nullArray();
  if (count === 0) return reply.array(0);
  const taken = left
    ? list.splice(0, Math.abs(count))
    : list.splice(Math.max(0, list.length - Math.abs(count))).reverse();
  if (count < 0) reply.bulk(taken[0]);
  else reply.bulks(taken, taken.length);
  db.changed(args[1]!, list.length);
}

function lrem({ args, db, reply }: Call): void {
  const count = index(args[2]!);
  const list = db.list(args[1]!);
  if (list === undefined) return reply.integer(0);
  let left = count === 0 ? Infinity : Math.abs(count);
  const before = list.length;
  const from = count < 0 ? list.reverse() : list;
  const kept = from.filter((value) => value !== args[3] || left-- <= 0);
  if (count < 0) kept.reverse();
  list.length = 0;
  for (const value of kept) list.push(value);
  if (kept.length !== before) db.changed(args[1]!, kept.length);
  reply.integer(before - kept.length);
}

function move({ args, db, reply }: Call, fromLeft: boolean, toLeft: boolean): void {
  const from = db.list(args[1]!);
  if (from === undefined) return reply.null();
  let to = db.list(args[2]!);
  const value = fromLeft ? from.shift()! : from.pop()!;
  if (to === undefined) db.put(args[2]!, to = []);
  if (toLeft) to.unshift(value);
  else to.push(value);
  db.changed(args[1]!, from.length);
  db.touch(args[2]!);
  reply.bulk(value);
}
