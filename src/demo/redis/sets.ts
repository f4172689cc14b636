/** Commands on sets. */
import { type Call, type CommandTable, pick } from "./command.ts";
import { CommandError, NOT_POSITIVE, SYNTAX } from "./errors.ts";
import { scanCollection } from "./keys.ts";
import { index } from "./numbers.ts";

export const SETS: CommandTable = {
  sadd: [-3, ({ args, db, reply }) => {
    let set = db.set(args[1]!);
    if (set === undefined) db.put(args[1]!, set = new Set());
    const before = set.size;
    for (let i = 2; i < args.length; i++) set.add(args[i]!);
    if (set.size > before) db.touch(args[1]!);
    reply.integer(set.size - before);
  }],
  srem: [-3, ({ args, db, reply }) => {
    const set = db.set(args[1]!);
    let removed = 0;
    for (let i = 2; i < args.length; i++) if (set?.delete(args[i]!)) removed++;
    if (removed > 0) db.changed(args[1]!, set!.size);
    reply.integer(removed);
  }],
  smove: [4, ({ args, db, reply }) => {
    const from = db.set(args[1]!);
    if (from === undefined) return reply.integer(0);
    const to = db.set(args[2]!);
    if (from === to) return reply.integer(from.has(args[3]!) ? 1 : 0);
    if (!from.delete(args[3]!)) return reply.integer(0);
    db.changed(args[1]!, from.size);
    if (to === undefined) db.put(args[2]!, new Set([args[3]!]));
    else to.add(args[3]!);
    db.touch(args[2]!);
    reply.integer(1);
  }],
  smembers: [2, ({ args, db, reply }) => members({ reply }, db.set(args[1]!) ?? new Set())],
  sismember: [3, ({ args, db, reply }) => reply.integer(db.set(args[1]!)?.has(args[2]!) ? 1 : 0)],
  smismember: [-3, ({ args, db, reply }) => {
    const set = db.set(args[1]!);
    reply.array(args.length - 2);
    for (let i = 2; i < args.length; i++) reply.integer(set?.has(args[i]!) ? 1 : 0);
  }],
  scard: [2, ({ args, db, reply }) => reply.integer(db.set(args[1]!)?.size ?? 0)],
  spop: [-2, spop],
  srandmember: [-2, srandmember],
  sinter: [-2, (call) => members(call, combine(call, 1, intersect))],
  sunion: [-2, (call) => members(call, combine(call, 1, unite))],
  sdiff: [-2, (call) => members(call, combine(call, 1, subtract))],
  sinterstore: [-3, (call) => store(call, combine(call, 2, intersect))],
  sunionstore: [-3, (call) => store(call, combine(call, 2, unite))],
  sdiffstore: [-3, (call) => store(call, combine(call, 2, subtract))],
  sscan: [
    -3,
    (call) => scanCollection(call, () => Array.from(call.db.set(call.args[1]!) ?? [], (one) => [one])),
  ],
};

function members({ reply }: Pick<Call, "reply">, set: ReadonlySet<string>): void {
  reply.set(set.size);
  for (const member of set) reply.bulk(member);
}

function intersect(sets: readonly ReadonlySet<string>[]): Set<string> {
  return new Set(Array.from(sets[0]!).filter((member) => sets.every((set) => set.has(member))));
}

function unite(sets: readonly ReadonlySet<string>[]): Set<string> {
  const all = new Set<string>();
  for (const set of sets) for (const member of set) all.add(member);
  return all;
}

function subtract(sets: readonly ReadonlySet<string>[]): Set<string> {
  return new Set(Array.from(sets[0]!).filter((member) => !sets.some((set, i) => i > 0 && set.has(member))));
}

const EMPTY: ReadonlySet<string> = new Set();

function combine(
  { args, db }: Call,
  from: number,
  by: (sets: readonly ReadonlySet<string>[]) => Set<string>,
): Set<string> {
  return by(args.slice(from).map((key) => db.set(key) ?? EMPTY));
}

function store({ args, db, reply }: Call, set: Set<string>): void {
  if (set.size > 0) db.put(args[1]!, set);
  else if (db.find(args[1]!) !== undefined) db.remove(args[1]!);
  reply.integer(set.size);
}

function spop(call: Call): void {
  const { args, db, reply } = call;
  if (args.length > 3) throw new CommandError(SYNTAX);
  const count = args.length === 3 ? index(args[2]!, NOT_POSITIVE) : -1;
  if (args.length === 3 && count < 0) throw new CommandError(NOT_POSITIVE);
  const set = db.set(args[1]!);
  if (set === undefined) return count < 0 ? reply.null() : reply.set(0);
  const all = Array.from(set);
  const taken = new Set<string>();
  while (taken.size < Math.abs(count) && all.length > 0) {
    taken.add(all.splice(pick(call, all.length), 1)[0]!);
  }
  for (const member of taken) set.delete(member);
  if (taken.size > 0) db.changed(args[1]!, set.size);
  if (count < 0) reply.bulk(taken.values().next().value);
  else members(call, taken);
}

function srandmember(call: Call): void {
  const { args, db, reply } = call;
  if (args.length > 3) throw new CommandError(SYNTAX);
  const count = args.length === 3 ? index(args[2]!) : null;
  const set = db.set(args[1]!);
  if (set === undefined) return count === null ? reply.null() : reply.array(0);
  const all = Array.from(set);
  if (count === null) return reply.bulk(all[pick(call, all.length)]);
  const taken: string[] = [];
  if (count < 0) { while (taken.length < -count) taken.push(all[pick(call, all.length)]!); }
  else while (taken.length < count && all.length > 0) taken.push(all.splice(pick(call, all.length), 1)[0]!);
  reply.bulks(taken, taken.length);
}
