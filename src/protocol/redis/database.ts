/**
 * MOVE, COPY, SWAPDB, and PUBLISH to a database's own channel, name a database by the client's number; its server knows it by
 * another where the pool has a `redis_db`.
 *
 *   MOVE key 2   redis_db: 4   ──▶  MOVE key 6       as SELECT 2 is SELECT 6 there
 */
import { copy, encode, equalsFoldedAsC, latin1 } from "../../bytes/ascii.ts";
import { databaseIn } from "./answers.ts";
import type { Args } from "./args.ts";
import type { Command } from "./command.ts";
import { DatabaseChannels, mayTellOfDatabase } from "./database_channels.ts";
import { errorReply } from "./errors.ts";

interface Shifted {
  readonly error: Uint8Array | null;
  readonly request: Uint8Array | null;
}

const AS_IT_IS: Shifted = { error: null, request: null };

/**
 * Checks every database that a request of FLAG.DATABASE names, and moves it by `shift`.
 * @param args changed to lie in the request returned, if one is
 * @param databases how many a client may use
 * @returns `error`: the reply instead of the request; `request`: what to send instead, owned; both null: send it as it is
 */
export function shiftDatabases(
  command: Command,
  bytes: Uint8Array,
  args: Args,
  databases: number,
  shift: number,
): Shifted {
  if (command.name === "PUBLISH") return shiftChannel(bytes, args, databases, shift);
  const copies = command.name === "COPY";
  const shifted = new Map<number, Uint8Array>();
  let outside: Uint8Array | null = null;
  for (let i = FIRST.get(command.name)!; i < args.count; i++) {
    // COPY key key [DB n] [REPLACE]: the last DB counts, but a wrong one before it is an error as well.
    if (copies && (!isDb(bytes, args, i) || ++i === args.count)) continue;
    const db = databaseIn(bytes, args, i, databases);
    if (typeof db === "number") shifted.set(i, encode(String(db + shift)));
    else if (command.name !== "SWAPDB") return { error: db, request: null };
    else {
      const error = swapError(db, i);
      // What is no number is found before what is out of range.
      if (error !== db) return { error, request: null };
      outside ??= db;
    }
  }
  if (outside !== null) return { error: outside, request: null };
  if (shift === 0 || shifted.size === 0) return AS_IT_IS;
  return { error: null, request: rebuilt(bytes, args, shifted) };
}

/** The first argument that may name one. */
const FIRST: ReadonlyMap<string, number> = new Map([["MOVE", 2], ["COPY", 3], ["SWAPDB", 1]]);

/** Redis's own words for a number of SWAPDB that is none, or of more than 32 bits. */
function swapError(error: Uint8Array, index: number): Uint8Array {
  if (latin1(error).includes("DB index")) return error;
  return errorReply(`ERR invalid ${index === 1 ? "first" : "second"} DB index`);
}

function shiftChannel(bytes: Uint8Array, args: Args, databases: number, shift: number): Shifted {
  if (!mayTellOfDatabase(bytes, args, 1)) return AS_IT_IS;
  const name = latin1(bytes, args.starts[1]!, args.ends[1]!);
  const wire = new DatabaseChannels(databases, shift).toWire(name);
  if (wire === name) return AS_IT_IS;
  const channel = Uint8Array.from(wire, (c) => c.charCodeAt(0));
  return { error: null, request: rebuilt(bytes, args, new Map([[1, channel]])) };
}

function rebuilt(bytes: Uint8Array, args: Args, instead: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const parts: Uint8Array[] = [encode(`*${args.count}\r\n`)];
  let at = parts[0]!.length;
  for (let i = 0; i < args.count; i++) {
    const argument = instead.get(i) ?? bytes.subarray(args.starts[i]!, args.ends[i]!);
    const head = encode(`$${argument.length}\r\n`);
    args.starts[i] = at + head.length;
    args.ends[i] = args.starts[i]! + argument.length;
    at = args.ends[i]! + 2;
    parts.push(head, argument, CRLF);
  }
  const request = new Uint8Array(at);
  let to = 0;
  for (const part of parts) to = copy(request, to, part, 0, part.length);
  return request;
}

const CRLF = encode("\r\n");
const DB = encode("DB");

function isDb(bytes: Uint8Array, args: Args, index: number): boolean {
  return equalsFoldedAsC(bytes, args.starts[index]!, args.ends[index]!, DB);
}
