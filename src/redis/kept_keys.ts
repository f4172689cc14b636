/**
 * What requests that have been sent say of themselves when they may have to be sent again: which slot, which keys, and whether what they
 * are answered may be a client's own words. They are scanned for it once more, which only those are that a node has not answered.
 */
import { Args } from "../protocol/redis/args.ts";
import { ROUTE } from "../protocol/redis/command.ts";
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

/** Where the last request ends that `keyOf` has looked at. */
let keyOfEnd = 0;

/** The offset in `args` of the first key of the request that begins at `start`; KEYLESS, or UNKNOWN if only a server knows. */
function keyOf(request: Uint8Array, start = 0): number {
  const resume = new RequestResume();
  keyOfEnd = scanRequest(request, start, request.length, args, ANY_SIZE, resume);
  if (keyOfEnd < 0) return UNKNOWN;
  const command = resolve(request, args);
  if (command === undefined) return UNKNOWN;
  const count = findKeys(command, request, args, keyList);
  return count > 0 ? keyList.at[0]! : count === 0 ? KEYLESS : UNKNOWN;
}

/** Whether this request is answered what clients have written: a script's words, or DEBUG ERROR's. */
export function runsScript(request: Uint8Array): boolean {
  if (scanRequest(request, 0, request.length, args, ANY_SIZE, new RequestResume()) < 0) return false;
  const command = resolve(request, args);
  return command !== undefined && (command.route === ROUTE.SCRIPT_KEYED || command.name.startsWith("DEBUG"));
}

/**
 * The slot of the first key in these requests, one behind the other; KEYLESS if there is none, or only a server knows it: then any node says
 * where it is. Borrowed.
 */
export function slotOfAny({ placement }: Pool, requests: Uint8Array): number {
  for (let at = 0; at < requests.length; at = keyOfEnd) {
    const key = keyOf(requests, at);
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

/** Its keys, KEYS_MAX of them at most. */
export function firstKeysOf(request: Uint8Array): Uint8Array[] {
  if (keyOf(request) < 0) return [];
  return Array.from({ length: Math.min(keyList.count, KEYS_MAX) }, (_, k) => {
    const at = keyList.at[k]!;
    return request.slice(args.starts[at]!, args.ends[at]!);
  });
}
