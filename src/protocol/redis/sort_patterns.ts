/**
 * SORT and SORT_RO: are the keys that BY and GET patterns name where the sorted key is?
 *
 *   SORT {t}l BY {t}w_*     {t}w_1, {t}w_2, …: the tag is whole before the *, so all are on the server of {t}
 *   SORT l BY w_*           w_1, w_2, …: anywhere, but the server would look for them on its own and find nothing
 *
 * The rule is that of Redis 8's and Valkey 9's clusters, with a server where they have a slot; Redis 7's refuse all patterns.
 */
import { encode, equalsFoldedAsC } from "../../bytes/ascii.ts";
import { tagEnd, tagStart } from "../../ring/hash_tag.ts";
import type { Placement } from "../../ring/placement.ts";
import type { Args } from "./args.ts";
import { errorReply } from "./errors.ts";

const BY = encode("BY");
const GET = encode("GET");
const LIMIT = encode("LIMIT");
const STORE = encode("STORE");
const FLAGS = [encode("ASC"), encode("DESC"), encode("ALPHA")];
const STAR = 42;

/**
 * @param hashTag the pool's, whose placement is `placement`
 * @returns the error reply for the first pattern whose keys may be on other servers than the sorted key; null if there is none
 */
export function patternError(
  bytes: Uint8Array,
  args: Args,
  placement: Placement,
  hashTag: Uint8Array | null,
): Uint8Array | null {
  const is = (i: number, word: Uint8Array) => equalsFoldedAsC(bytes, args.starts[i]!, args.ends[i]!, word);
  for (let i = 2; i < args.count; i++) {
    if (is(i, LIMIT)) i += 2;
    else if (is(i, STORE)) i++;
    else if (is(i, BY) || is(i, GET)) {
      const at = i + 1;
      if (at < args.count && !staysAt(1, at, bytes, args, placement, hashTag)) {
        return denied(is(i, BY) ? "BY" : "GET", hashTag);
      }
      i = at;
    } // The server refuses the request before it looks at what follows.
    else if (!FLAGS.some((flag) => is(i, flag))) return null;
  }
  return null;
}

/** Are all keys that argument `pattern` can name on the server of argument `key`? */
function staysAt(
  key: number,
  pattern: number,
  bytes: Uint8Array,
  args: Args,
  placement: Placement,
  hashTag: Uint8Array | null,
): boolean {
  const start = args.starts[pattern]!;
  const end = args.ends[pattern]!;
  let star = start;
  while (star < end && bytes[star] !== STAR) star++;
  // "#" and "nosort" and whatever else has no *: no key is looked up.
  if (star === end) return true;
  if (hashTag === null) return false;
  const from = tagStart(bytes, start, star, hashTag[0]!);
  if (from < 0 || tagEnd(bytes, from, star, hashTag[1]!) < 0) return false;
  return placement.serverOf(bytes, start, star) ===
    placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
}

function denied(option: string, hashTag: Uint8Array | null): Uint8Array {
  const [open, close] = String.fromCharCode(...(hashTag ?? [123, 125]));
  const hint = `begin the pattern with the key's own hash tag, ${open}tag${close}weight_*`;
  return errorReply(
    `ERR ${option} option of SORT denied, since keys formed by the pattern may be on different servers; ` +
      (hashTag === null ? `set hash_tag: "{}" for this pool and ${hint}` : hint),
  );
}
