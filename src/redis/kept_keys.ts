/**
 * What requests that have been sent say of themselves when they may have to be sent again: which slot, which keys, and whether what they
 * are answered may be a client's own words. They are scanned for it once more, which only those are that a node has not answered.
 */
import { Args } from "../protocol/redis/args.ts";
import { type Command, FINDER, ROUTE } from "../protocol/redis/command.ts";
import { resolve } from "../protocol/redis/commands.ts";
import { findKeys, KeyList } from "../protocol/redis/keys.ts";
import { RequestResume, scanRequest } from "../protocol/redis/request.ts";
import type { Pool } from "../proxy/pool.ts";

/** More keys than this are not told. */
const KEYS_MAX = 100;
const ANY_SIZE = { requestSizeMax: Infinity, argumentsMax: Infinity };

const args = new Args();
const keyList = new KeyList();

/** In place of a slot: there is no key, or only a server knows it. */
export const KEYLESS = -1;
/** In place of a key: only a server knows it. */
const UNKNOWN = -2;

/** Looks for a command that the table does not know: servers have told of it. */
export type Known = (request: Uint8Array, args: Args) => Command | undefined;

const NOTHING_KNOWN: Known = () => undefined;

/** Where the last request ends that `keyOf` has looked at. */
let keyOfEnd = 0;

/** The offset in `args` of the first key of the request that begins at `start`; KEYLESS, or UNKNOWN if only a server knows. */
function keyOf(request: Uint8Array, start = 0, known = NOTHING_KNOWN): number {
  const resume = new RequestResume();
  keyOfEnd = scanRequest(request, start, request.length, args, ANY_SIZE, resume);
  if (keyOfEnd < 0) return UNKNOWN;
  const command = resolve(request, args) ?? known(request, args);
  if (command === undefined || command.finder === FINDER.ASKED) return UNKNOWN;
  const count = findKeys(command, request, args, keyList);
  return count > 0 ? keyList.at[0]! : count === 0 ? KEYLESS : UNKNOWN;
}

/**
 * Whether what this request is answered may be what clients have written: a script's words, DEBUG ERROR's, or those of a command that the
 * table does not know, of which nobody knows what it says.
 */
export function tellsWords(request: Uint8Array): boolean {
  if (scanRequest(request, 0, request.length, args, ANY_SIZE, new RequestResume()) < 0) return false;
  const command = resolve(request, args);
  if (command === undefined) return true;
  return command.route === ROUTE.SCRIPT_KEYED || command.name.startsWith("DEBUG");
}

/**
 * The slot of the first key in these requests, one behind the other; KEYLESS if there is none, or only a server knows it: then any node says
 * where it is. Borrowed.
 */
export function slotOfAny({ placement }: Pool, requests: Uint8Array, known = NOTHING_KNOWN): number {
  for (let at = 0; at < requests.length; at = keyOfEnd) {
    const key = keyOf(requests, at, known);
    if (key >= 0) return placement.slotOf(requests, args.starts[key]!, args.ends[key]!);
    if (keyOfEnd < 0) break;
  }
  return KEYLESS;
}

/** Keys of these requests, one behind the other; null if there are many, or only a server knows them. */
export function keysOf(requests: Uint8Array): Uint8Array[] | null {
  const keys: Uint8Array[] = [];
  for (let at = 0; at < requests.length; at = keyOfEnd) {
    const first = keyOf(requests, at);
    if (first === UNKNOWN || keys.length + keyList.count > KEYS_MAX) return null;
    if (first === KEYLESS) continue;
    for (let k = 0; k < keyList.count; k++) {
      const i = keyList.at[k]!;
      keys.push(requests.slice(args.starts[i]!, args.ends[i]!));
    }
  }
  return keys;
}

export function isKeyless(request: Uint8Array): boolean {
  return keyOf(request) === KEYLESS;
}

/** Is it without keys, and such that who has taken a node's place answers it as that node would have? A cursor is its node's own. */
export function suitsHeir(request: Uint8Array): boolean {
  return isKeyless(request) && resolve(request, args)?.name !== "SCAN";
}

/**
 * Keys of this request, KEYS_MAX of them at most, of which a node may have said something about this slot; -1 = about its keys'.
 * @returns none if no node says that of it; null if there is no telling: only a server knows its keys
 */
export function keysToAsk(
  { placement }: Pool,
  request: Uint8Array,
  slot: number,
  known: Known,
): readonly Uint8Array[] | null {
  const first = keyOf(request, 0, known);
  const slotAt = (at: number) => placement.slotOf(request, args.starts[at]!, args.ends[at]!);
  const argument = (at: number) => request.slice(args.starts[at]!, args.ends[at]!);
  if (first >= 0) {
    if (slot >= 0 && slot !== slotAt(first)) return [];
    return Array.from(keyList.at.subarray(0, Math.min(keyList.count, KEYS_MAX)), argument);
  }
  if (first === KEYLESS) return [];
  if (slot < 0) return null;
  // They are among its arguments.
  const keys: Uint8Array[] = [];
  for (let at = 1; at < args.count && keys.length < KEYS_MAX; at++) {
    if (slotAt(at) === slot) keys.push(argument(at));
  }
  return keys;
}
