/** Commands on keys of any type: existence, names, times to live, scans. */
import { globMatches } from "../../protocol/redis/glob.ts";
import { type Call, type CommandTable, pick } from "./command.ts";
import { CommandError, NO_SUCH_KEY, SYNTAX } from "./errors.ts";
import { index, INT64_MAX, INT64_MIN, integer } from "./numbers.ts";
import { typeOf } from "./store.ts";

export const KEYS: CommandTable = {
  del: [-2, remove],
  unlink: [-2, remove],
  exists: [-2, count],
  touch: [-2, count],
  type: [2, ({ args, db, reply }) => {
    const entry = db.find(args[1]!);
    reply.status(entry === undefined ? "none" : typeOf(entry.value));
  }],
  keys: [2, ({ args, db, reply }) => {
    const keys = Array.from(db.entries.keys()).filter((key) => db.find(key) && isNamed(args[1]!, key));
    reply.bulks(keys, keys.length);
  }],
  scan: [-2, scan],
  randomkey: [1, (call) => {
    const { db, reply } = call;
    const keys = Array.from(db.entries.keys()).filter((key) => db.find(key));
    reply.bulk(keys.length === 0 ? null : keys[pick(call, keys.length)]);
  }],
  rename: [3, (call) => {
    rename(call);
    call.reply.ok();
  }],
  renamenx: [3, (call) => {
    const { args, db, reply } = call;
    if (db.find(args[1]!) === undefined) throw new CommandError(NO_SUCH_KEY);
    if (db.find(args[2]!) !== undefined) return reply.integer(0);
    rename(call);
    reply.integer(1);
  }],
  expire: [-3, (call) => expire(call, false, 1000n)],
  pexpire: [-3, (call) => expire(call, false, 1n)],
  expireat: [-3, (call) => expire(call, true, 1000n)],
  pexpireat: [-3, (call) => expire(call, true, 1n)],
  ttl: [2, (call) => left(call, (atMs, nowMs) => Math.floor((Math.max(0, atMs - nowMs) + 500) / 1000))],
  pttl: [2, (call) => left(call, (atMs, nowMs) => Math.max(0, atMs - nowMs))],
  expiretime: [2, (call) => left(call, (atMs) => Math.floor((atMs + 500) / 1000))],
  pexpiretime: [2, (call) => left(call, (atMs) => atMs)],
  persist: [2, ({ args, db, reply }) => {
    const entry = db.find(args[1]!);
    if (entry === undefined || entry.expiresAtMs === Infinity) return reply.integer(0);
    entry.expiresAtMs = Infinity;
    db.touch(args[1]!);
    reply.integer(1);
  }],
  dbsize: [1, ({ db, reply }) => reply.integer(db.entries.size)],
  flushdb: [-1, (call) => {
    flushMode(call);
    call.db.clear();
    call.reply.ok();
  }],
  flushall: [-1, (call) => {
    flushMode(call);
    for (const db of call.server.databases) db.clear();
    call.reply.ok();
  }],
};

/** A star alone is every name, the empty one too; redis-server does not ask its patterns then. */
function isNamed(pattern: string, name: string): boolean {
  return pattern === "*" || globMatches(pattern, name);
}

function remove({ args, db, reply }: Call): void {
  let removed = 0;
  for (let i = 1; i < args.length; i++) {
    if (db.find(args[i]!) !== undefined && db.remove(args[i]!)) removed++;
  }
  reply.integer(removed);
}

function count({ args, db, reply }: Call): void {
  let found = 0;
  for (let i = 1; i < args.length; i++) if (db.find(args[i]!) !== undefined) found++;
  reply.integer(found);
}

function rename({ args, db }: Call): void {
  const entry = db.find(args[1]!);
  if (entry === undefined) throw new CommandError(NO_SUCH_KEY);
  if (args[1] === args[2]) return;
  db.remove(args[2]!);
  db.put(args[2]!, entry.value, entry.expiresAtMs);
  db.remove(args[1]!);
}

function flushMode({ args }: Call): void {
  if (args.length > 2 || args.length === 2 && !/^(a?sync)$/i.test(args[1]!)) throw new CommandError(SYNTAX);
}

function left({ args, db, reply, server }: Call, show: (atMs: number, nowMs: number) => number): void {
  const entry = db.find(args[1]!);
  if (entry === undefined) return reply.integer(-2);
  reply.integer(entry.expiresAtMs === Infinity ? -1 : show(entry.expiresAtMs, Math.floor(server.nowMs())));
}

function expire({ args, db, name, reply, server }: Call, absolute: boolean, scale: bigint): void {
  const { nx, xx, gt, lt } = expireOptions(args);
  let when = integer(args[2]!);
  const invalid = `ERR invalid expire time in '${name}' command`;
  if (when > INT64_MAX / scale || when < INT64_MIN / scale) throw new CommandError(invalid);
  when *= scale;
  if (!absolute) {
    const now = BigInt(Math.floor(server.nowMs()));
    if (when > INT64_MAX - now) throw new CommandError(invalid);
    when += now;
  }
  const entry = db.find(args[1]!);
  if (entry === undefined) return reply.integer(0);
  const at = Number(when);
  const old = entry.expiresAtMs;
  if (nx && old !== Infinity || xx && old === Infinity || gt && at <= old || lt && at >= old) {
    return reply.integer(0);
  }
  if (at <= server.nowMs()) db.remove(args[1]!);
  else {
    entry.expiresAtMs = at;
    db.touch(args[1]!);
  }
  reply.integer(1);
}

function expireOptions(args: readonly string[]): { nx: boolean; xx: boolean; gt: boolean; lt: boolean } {
  const options = { nx: false, xx: false, gt: false, lt: false };
  for (let i = 3; i < args.length; i++) {
    const word = args[i]!.toLowerCase();
    if (!Object.hasOwn(options, word)) throw new CommandError(`ERR Unsupported option ${args[i]}`);
    options[word as keyof typeof options] = true;
  }
  const { nx, xx, gt, lt } = options;
  if (nx && (xx || gt || lt)) {
    throw new CommandError("ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (gt && lt) throw new CommandError("ERR GT and LT options at the same time are not compatible");
  return options;
}

/** What MATCH, COUNT and (for SCAN) TYPE ask for. */
interface ScanOptions {
  pattern: string;
  count: number;
  type: string;
}

function scanOptions(args: readonly string[], from: number): ScanOptions {
  const options: ScanOptions = { pattern: "*", count: 10, type: "" };
  for (let i = from; i < args.length; i += 2) {
    const word = args[i]!.toUpperCase();
    if (i + 1 >= args.length) throw new CommandError(SYNTAX);
    if (word === "COUNT") {
      options.count = index(args[i + 1]!);
      if (options.count < 1) throw new CommandError(SYNTAX);
    } else if (word === "MATCH") options.pattern = args[i + 1]!;
    else if (word === "TYPE" && from === 2) options.type = args[i + 1]!.toLowerCase();
    else throw new CommandError(SYNTAX);
  }
  return options;
}

function cursorOf(text: string): number {
  if (!/^\d{1,20}$/.test(text)) throw new CommandError("ERR invalid cursor");
  return Number(text);
}

function scan({ args, db, reply }: Call): void {
  const after = cursorOf(args[1]!);
  const { pattern, count, type } = scanOptions(args, 2);
  const found: string[] = [];
  let seen = 0;
  let cursor = 0;
  let last = 0;
  for (const [key, entry] of db.entries) {
    if (entry.serial <= after) continue;
    if (seen === count) {
      cursor = last;
      break;
    }
    seen++;
    last = entry.serial;
    if (isNamed(pattern, key) && db.find(key) && (type === "" || typeOf(entry.value) === type)) {
      found.push(key);
    }
  }
  reply.array(2);
  reply.bulk(String(cursor));
  reply.bulks(found, found.length);
}

/**
 * HSCAN, SSCAN and ZSCAN: the whole collection in one reply, as Redis does for small ones.
 * @param rows each element's member and, for hashes and sorted sets, its value
 */
export function scanCollection({ args, reply }: Call, rows: () => Iterable<readonly string[]>): void {
  cursorOf(args[2]!);
  const { pattern } = scanOptions(args, 3);
  const found: string[] = [];
  for (const row of rows()) if (isNamed(pattern, row[0]!)) found.push(...row);
  reply.array(2);
  reply.bulk("0");
  reply.bulks(found, found.length);
}
