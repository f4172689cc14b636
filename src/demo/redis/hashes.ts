/** Commands on hashes. */
import type { Call, CommandTable } from "./command.ts";
import { CommandError, NOT_FLOAT, wrongArguments } from "./errors.ts";
import { scanCollection } from "./keys.ts";
import { integer, parseDouble } from "./numbers.ts";
import { addFloats, addIntegers } from "./strings.ts";

export const HASHES: CommandTable = {
  hset: [-4, (call) => call.reply.integer(setFields(call))],
  hmset: [-4, (call) => {
    setFields(call);
    call.reply.ok();
  }],
  hsetnx: [4, (call) => {
    const { args, db, reply } = call;
    if (db.hash(args[1]!)?.has(args[2]!)) return reply.integer(0);
    setField(call, args[2]!, args[3]!);
    reply.integer(1);
  }],
  hget: [3, ({ args, db, reply }) => reply.bulk(db.hash(args[1]!)?.get(args[2]!))],
  hmget: [-3, ({ args, db, reply }) => {
    const hash = db.hash(args[1]!);
    reply.array(args.length - 2);
    for (let i = 2; i < args.length; i++) reply.bulk(hash?.get(args[i]!));
  }],
  hgetall: [2, ({ args, db, reply }) => {
    const hash = db.hash(args[1]!);
    reply.map(hash?.size ?? 0);
    for (const [field, value] of hash ?? []) {
      reply.bulk(field);
      reply.bulk(value);
    }
  }],
  hkeys: [2, ({ args, db, reply }) => {
    const hash = db.hash(args[1]!);
    reply.bulks(hash?.keys() ?? [], hash?.size ?? 0);
  }],
  hvals: [2, ({ args, db, reply }) => {
    const hash = db.hash(args[1]!);
    reply.bulks(hash?.values() ?? [], hash?.size ?? 0);
  }],
  hlen: [2, ({ args, db, reply }) => reply.integer(db.hash(args[1]!)?.size ?? 0)],
  hstrlen: [3, ({ args, db, reply }) => reply.integer(db.hash(args[1]!)?.get(args[2]!)?.length ?? 0)],
  hexists: [3, ({ args, db, reply }) => reply.integer(db.hash(args[1]!)?.has(args[2]!) ? 1 : 0)],
  hdel: [-3, ({ args, db, reply }) => {
    const hash = db.hash(args[1]!);
    let removed = 0;
    for (let i = 2; i < args.length; i++) if (hash?.delete(args[i]!)) removed++;
    if (removed > 0) db.changed(args[1]!, hash!.size);
    reply.integer(removed);
  }],
  hincrby: [4, (call) => {
    const { args, db, reply } = call;
    const by = integer(args[3]!);
    const old = db.hash(args[1]!)?.get(args[2]!) ?? "0";
    const value = addIntegers(old, by, "ERR hash value is not an integer");
    setField(call, args[2]!, value);
    reply.integer(BigInt(value));
  }],
  hincrbyfloat: [4, (call) => {
    const { args, db, reply } = call;
    const by = parseDouble(args[3]!);
    if (by === null) throw new CommandError(NOT_FLOAT);
    if (!Number.isFinite(by)) throw new CommandError("ERR value is NaN or Infinity");
    const old = db.hash(args[1]!)?.get(args[2]!) ?? "0";
    const value = addFloats(old, args[3]!, "ERR hash value is not a float");
    setField(call, args[2]!, value);
    reply.bulk(value);
  }],
  hscan: [-3, (call) => scanCollection(call, () => call.db.hash(call.args[1]!) ?? [])],
};

function setField({ args, db }: Call, field: string, value: string): void {
  const hash = db.hash(args[1]!);
  if (hash === undefined) return db.put(args[1]!, new Map([[field, value]]));
  hash.set(field, value);
  db.touch(args[1]!);
}

/** @returns how many fields are new */
function setFields(call: Call): number {
  const { args, db, name } = call;
  if (args.length % 2 !== 0) throw new CommandError(wrongArguments(name));
  const before = db.hash(args[1]!)?.size ?? 0;
  for (let i = 2; i < args.length; i += 2) setField(call, args[i]!, args[i + 1]!);
  return db.hash(args[1]!)!.size - before;
}
