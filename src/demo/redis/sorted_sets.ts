/** Commands on sorted sets. */
import type { Call, CommandTable } from "./command.ts";
import { CommandError, NOT_INTEGER, NOT_POSITIVE, SYNTAX } from "./errors.ts";
import { scanCollection } from "./keys.ts";
import { bounds } from "./lists.ts";
import { double, index, parseDouble } from "./numbers.ts";
import { formatDouble } from "./resp.ts";
import { type Scored, SortedSet } from "./sorted_set.ts";

export const SORTED_SETS: CommandTable = {
  zadd: [-4, zadd],
  zincrby: [4, (call) => {
    const { args, db, reply } = call;
    const by = double(args[2]!);
    const set = db.sortedSet(args[1]!);
    const score = (set?.score(args[3]!) ?? 0) + by;
    if (Number.isNaN(score)) throw new CommandError("ERR resulting score is not a number (NaN)");
    put(call, args[3]!, score);
    reply.double(score);
  }],
  zrem: [-3, ({ args, db, reply }) => {
    const set = db.sortedSet(args[1]!);
    let removed = 0;
    for (let i = 2; i < args.length; i++) if (set?.remove(args[i]!)) removed++;
    if (removed > 0) db.changed(args[1]!, set!.size);
    reply.integer(removed);
  }],
  zscore: [3, ({ args, db, reply }) => score({ reply }, db.sortedSet(args[1]!)?.score(args[2]!))],
  zmscore: [-3, ({ args, db, reply }) => {
    const set = db.sortedSet(args[1]!);
    reply.array(args.length - 2);
    for (let i = 2; i < args.length; i++) score({ reply }, set?.score(args[i]!));
  }],
  zcard: [2, ({ args, db, reply }) => reply.integer(db.sortedSet(args[1]!)?.size ?? 0)],
  zrank: [3, (call) => rank(call, false)],
  zrevrank: [3, (call) => rank(call, true)],
  zrange: [-4, (call) => zrange(call, "", false)],
  zrevrange: [-4, (call) => zrange(call, "INDEX", true)],
  zrangebyscore: [-4, (call) => zrange(call, "BYSCORE", false)],
  zrevrangebyscore: [-4, (call) => zrange(call, "BYSCORE", true)],
  zrangebylex: [-4, (call) => zrange(call, "BYLEX", false)],
  zrevrangebylex: [-4, (call) => zrange(call, "BYLEX", true)],
  zcount: [4, ({ args, db, reply }) => {
    const inside = scoreRange(args[2]!, args[3]!);
    reply.integer(members(db.sortedSet(args[1]!)).filter(inside).length);
  }],
  zlexcount: [4, ({ args, db, reply }) => {
    const inside = lexRange(args[2]!, args[3]!);
    reply.integer(members(db.sortedSet(args[1]!)).filter(inside).length);
  }],
  zremrangebyscore: [4, (call) => {
    const inside = scoreRange(call.args[2]!, call.args[3]!);
    removeAll(call, members(call.db.sortedSet(call.args[1]!)).filter(inside));
  }],
  zremrangebyrank: [4, (call) => {
    const [start, end] = [index(call.args[2]!), index(call.args[3]!)];
    const all = members(call.db.sortedSet(call.args[1]!));
    removeAll(call, all.slice(...bounds(start, end, all.length)));
  }],
  zpopmin: [-2, (call) => pop(call, false)],
  zpopmax: [-2, (call) => pop(call, true)],
  zscan: [-3, (call) =>
    scanCollection(
      call,
      () =>
        members(call.db.sortedSet(call.args[1]!)).map((one) =>
          [one.member, formatDouble(one.score)] as const
        ),
    )],
};

function members(set: SortedSet | undefined): readonly Scored[] {
  return set?.ordered() ?? [];
}

function score({ reply }: Pick<Call, "reply">, value: number | undefined): void {
  if (value === undefined) reply.null();
  else reply.double(value);
}

function put({ args, db }: Call, member: string, value: number): void {
  let set = db.sortedSet(args[1]!);
  if (set === undefined) db.put(args[1]!, set = new SortedSet());
  set.put(member, value);
  db.touch(args[1]!);
}

function removeAll({ args, db, reply }: Call, gone: readonly Scored[]): void {
  const set = db.sortedSet(args[1]!);
  for (const { member } of gone) set!.remove(member);
  if (gone.length > 0) db.changed(args[1]!, set!.size);
  reply.integer(gone.length);
}

function zadd(call: Call): void {
  const { args, db, reply } = call;
  const options = { nx: false, xx: false, gt: false, lt: false, ch: false, incr: false };
  let from = 2;
  for (; from < args.length; from++) {
    const word = args[from]!.toLowerCase();
    if (!Object.hasOwn(options, word)) break;
    options[word as keyof typeof options] = true;
  }
  const { nx, xx, gt, lt, ch, incr } = options;
  const words = args.length - from;
  if (words === 0 || words % 2 !== 0) throw new CommandError(SYNTAX);
  if (nx && xx) throw new CommandError("ERR XX and NX options at the same time are not compatible");
  if (gt && nx || lt && nx || gt && lt) {
    throw new CommandError("ERR GT, LT, and/or NX options at the same time are not compatible");
  }
  if (incr && words > 2) throw new CommandError("ERR INCR option supports a single increment-element pair");
  const scores: number[] = [];
  for (let i = from; i < args.length; i += 2) scores.push(double(args[i]!));
  const set = db.sortedSet(args[1]!);
  let added = 0;
  let updated = 0;
  let result: number | undefined;
  for (let i = 0; i < scores.length; i++) {
    const member = args[from + 2 * i + 1]!;
    const old = (set ?? db.sortedSet(args[1]!))?.score(member);
    let next = scores[i]!;
    if (old === undefined ? xx : nx) continue;
    if (old !== undefined) {
      if (incr) next += old;
      if (Number.isNaN(next)) throw new CommandError("ERR resulting score is not a number (NaN)");
      if (lt && next >= old || gt && next <= old) continue;
      if (next !== old) updated++;
    } else added++;
    result = next;
    if (next !== old) put(call, member, next);
  }
  if (incr) score(call, result);
  else reply.integer(ch ? added + updated : added);
}

function rank({ args, db, reply }: Call, reverse: boolean): void {
  const set = db.sortedSet(args[1]!);
  const at = set?.rank(args[2]!) ?? -1;
  if (at < 0) reply.null();
  else reply.integer(reverse ? set!.size - 1 - at : at);
}

/** @throws CommandError if a bound is no float, with ( in front for an open one */
function scoreRange(min: string, max: string): (one: Scored) => boolean {
  const [low, high] = [bound(min), bound(max)];
  if (low === null || high === null) throw new CommandError("ERR min or max is not a float");
  const [lowOpen, highOpen] = [min[0] === "(", max[0] === "("];
  return ({ score }) => (lowOpen ? score > low : score >= low) && (highOpen ? score < high : score <= high);
}

/** A bound of nothing is 0, as C's strtod has it. */
function bound(text: string): number | null {
  const digits = text[0] === "(" ? text.slice(1) : text;
  return digits === "" ? 0 : parseDouble(digits);
}

/** @throws CommandError if a bound is not one of - + [text (text */
function lexRange(min: string, max: string): (one: Scored) => boolean {
  for (const text of [min, max]) {
    if (text !== "-" && text !== "+" && text[0] !== "[" && text[0] !== "(") {
      throw new CommandError("ERR min or max not valid string range item");
    }
  }
  const above = (member: string, text: string) =>
    text === "-" || text !== "+" && (text[0] === "[" ? member >= text.slice(1) : member > text.slice(1));
  const below = (member: string, text: string) =>
    text === "+" || text !== "-" && (text[0] === "[" ? member <= text.slice(1) : member < text.slice(1));
  return ({ member }) => above(member, min) && below(member, max);
}

function zrange(call: Call, kind: "" | "INDEX" | "BYSCORE" | "BYLEX", reverse: boolean): void {
  const { args, db, reply } = call;
  const flexible = kind === "";
  let directed = !flexible;
  let withScores = false;
  let offset = 0;
  let limit = -1;
  let limited = false;
  for (let i = 4; i < args.length; i++) {
    const word = args[i]!.toUpperCase();
    if (word === "WITHSCORES") withScores = true;
    else if (word === "LIMIT" && i + 2 < args.length) {
      offset = index(args[i + 1]!);
      limit = index(args[i + 2]!);
      limited = true;
      i += 2;
    } else if (!directed && word === "REV") directed = reverse = true;
    else if (kind === "" && (word === "BYSCORE" || word === "BYLEX")) kind = word;
    else throw new CommandError(SYNTAX);
  }
  if (kind === "") kind = "INDEX";
  if (limited && limit !== -1 && kind === "INDEX") {
    throw new CommandError(
      "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    );
  }
  if (withScores && kind === "BYLEX") {
    throw new CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
  }
  const [first, second] = kind !== "INDEX" && reverse ? [args[3]!, args[2]!] : [args[2]!, args[3]!];
  let found: readonly Scored[];
  if (kind === "INDEX") {
    const [start, end] = [index(first, NOT_INTEGER), index(second, NOT_INTEGER)];
    const all = members(db.sortedSet(args[1]!));
    const inOrder = reverse ? all.toReversed() : all;
    found = inOrder.slice(...bounds(start, end, all.length));
  } else {
    const inside = kind === "BYSCORE" ? scoreRange(first, second) : lexRange(first, second);
    const all = members(db.sortedSet(args[1]!)).filter(inside);
    const inOrder = reverse ? all.toReversed() : all;
    found = offset < 0 ? [] : limit < 0 ? inOrder.slice(offset) : inOrder.slice(offset, offset + limit);
  }
  if (withScores) scored(call, found, true);
  else reply.bulks(found.map((one) => one.member), found.length);
}

/** Members with scores: in RESP3 pairs of their own if `nested`, else flat. */
function scored({ reply }: Call, found: readonly Scored[], nested: boolean): void {
  const pairs = nested && reply.protocol === 3;
  reply.array(pairs ? found.length : found.length * 2);
  for (const { member, score } of found) {
    if (pairs) reply.array(2);
    reply.bulk(member);
    reply.double(score);
  }
}

function pop(call: Call, max: boolean): void {
  const { args, db } = call;
  if (args.length > 3) throw new CommandError(SYNTAX);
  const count = args.length === 3 ? index(args[2]!, NOT_POSITIVE) : 1;
  if (count < 0) throw new CommandError(NOT_POSITIVE);
  const set = db.sortedSet(args[1]!);
  const all = members(set);
  const taken = (max ? all.toReversed() : all).slice(0, count);
  scored(call, taken, args.length === 3);
  for (const { member } of taken) set!.remove(member);
  if (taken.length > 0) db.changed(args[1]!, set!.size);
}
