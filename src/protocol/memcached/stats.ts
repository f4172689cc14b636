/**
 * One `stats` reply for a pool of servers: counters and sizes are added up, what cannot be added follows the
 * table. Control plane: strings and BigInts are welcome (bytes_read passes 2^53 on a busy pool).
 *
 * Names as memcached 1.6.18 gives them for stats, stats items, stats slabs, stats sizes and stats settings; a
 * name that is not in the table is added up if it is a number on every server, and is the first server's if not.
 */
import { encode, latin1 } from "../../bytes/ascii.ts";
import type { Replies } from "./join.ts";
import { STATS_SETTINGS } from "./request.ts";

/** The first server's value, the smallest, the largest; the sum is for all others. */
type Rule = "first" | "min" | "max";

/** By name, or by what follows the last colon of one ("items:3:age"). */
const RULES: Readonly<Record<string, Rule>> = {
  pid: "first",
  version: "first",
  libevent: "first",
  pointer_size: "first",
  // The server that was restarted last is the one to notice.
  uptime: "min",
  time: "max",
  // 1 only if every server accepts.
  accepting_conns: "min",
  hash_power_level: "max",
  hash_is_expanding: "max",
  slab_reassign_running: "max",
  lru_crawler_running: "max",
  age: "max",
  age_hot: "max",
  age_warm: "max",
  evicted_time: "max",
  chunk_size: "first",
  chunks_per_page: "first",
  active_slabs: "max",
};

/** Settings are not added up, but a client may rely only on the smallest item limit. */
const SETTINGS_RULES: Readonly<Record<string, Rule>> = { item_size_max: "min" };

const INTEGER = /^\d{1,20}$/;
const DECIMAL = /^\d{1,15}\.\d{1,6}$/;

/**
 * @param replies one "STAT … END" (or END alone) per server, none of them an error; borrowed
 * @param subcommand STATS_… of the request
 * @returns the joined reply, owned by the caller; lines in the order of the first server that has them
 */
export function joinStats(replies: Replies, subcommand: number): Uint8Array {
  const values = new Map<string, string[]>();
  for (let f = 0; f < replies.count; f++) {
    for (const line of latin1(replies.bytes[f], replies.starts[f], replies.ends[f]).split("\r\n")) {
      if (!line.startsWith("STAT ")) continue;
      const nameEnd = line.indexOf(" ", 5);
      const name = nameEnd < 0 ? line.slice(5) : line.slice(5, nameEnd);
      const value = nameEnd < 0 ? "" : line.slice(nameEnd + 1);
      const found = values.get(name);
      if (found === undefined) values.set(name, [value]);
      else found.push(value);
    }
  }
  let text = "";
  for (const [name, list] of values) text += `STAT ${name} ${joinValues(name, list, subcommand)}\r\n`;
  return encodeLatin1(text + "END\r\n");
}

function joinValues(name: string, list: readonly string[], subcommand: number): string {
  const rule = subcommand === STATS_SETTINGS
    ? SETTINGS_RULES[name] ?? "first"
    : RULES[name] ?? RULES[name.slice(name.lastIndexOf(":") + 1)];
  const first = list[0]!;
  if (rule === "first" || list.length === 1) return first;
  if (list.every((value) => INTEGER.test(value))) {
    const numbers = list.map(BigInt);
    if (rule === "min") return String(numbers.reduce((a, b) => a < b ? a : b));
    if (rule === "max") return String(numbers.reduce((a, b) => a > b ? a : b));
    return String(numbers.reduce((a, b) => a + b));
  }
  if (rule === undefined && list.every((value) => DECIMAL.test(value))) {
    return list.reduce((sum, value) => sum + Number(value), 0).toFixed(6);
  }
  return first;
}

/** One byte a character, as `latin1` read it. */
function encodeLatin1(text: string): Uint8Array {
  const bytes = encode(text);
  if (bytes.length === text.length) return bytes;
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
