/**
 * MOVE and COPY name a database by the client's number; its server knows it by another where the pool has a `redis_db`.
 *
 *   MOVE key 2   redis_db: 4   ──▶  MOVE key 6       as SELECT 2 is SELECT 6 there
 */
import { copy, encode } from "../../bytes/ascii.ts";
import { databaseIn } from "./answers.ts";
import type { Args } from "./args.ts";
import type { Command } from "./command.ts";

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
): { error: Uint8Array | null; request: Uint8Array | null } {
  const move = command.name === "MOVE";
  const shifted = new Map<number, Uint8Array>();
  for (let i = move ? 2 : 3; i < args.count; i++) {
    // COPY key key [DB n] [REPLACE]: the last DB counts, but a wrong one before it is an error as well.
    if (!move && (!isDb(bytes, args, i) || ++i === args.count)) continue;
    const db = databaseIn(bytes, args, i, databases);
    if (typeof db !== "number") return { error: db, request: null };
    shifted.set(i, encode(String(db + shift)));
  }
  if (shift === 0 || shifted.size === 0) return { error: null, request: null };
  return { error: null, request: rebuilt(bytes, args, shifted) };
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

function isDb(bytes: Uint8Array, args: Args, index: number): boolean {
  const start = args.starts[index]!;
  return args.ends[index]! - start === 2 && (bytes[start]! | 32) === 100 && (bytes[start + 1]! | 32) === 98;
}
