/**
 * Keyspace notifications name a database in their channel; clients and servers of a pool know it by different numbers.
 *
 *   redis_db: 5, databases: 2     client                          server ("wire")
 *                                 __keyevent@1__:expired    ◀──▶  __keyevent@6__:expired
 *                                 __keyevent@2__:expired    ◀──▶  __keyevent@-2__:expired     on which no server ever speaks
 *                                 (never shown)             ◀──   __keyevent@4__:expired      another pool's database
 *
 * So SUBSCRIBE, PUBLISH and PUBSUB keep the rules of SELECT. What is out of range is no error, as with Redis, where nothing ever
 * comes from it either. Of patterns the server is given one that matches at least as much; what it sends is matched
 * again here, by the names clients know.
 */
import { copy, encode, latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { bulk } from "./encode.ts";
import { globMatches } from "./glob.ts";
import { firstElement } from "./reply.ts";

/** The families of Redis up to 8.6 and Valkey up to 9.1; of later ones (subkeyspace, …) the form is the same. */
const CHANNEL = /^(__(?:sub)?key[a-z]+@)(-*)(0|[1-9][0-9]{0,9})__:/;
/** The same in a pattern, with any choice of numbers; a class that closes behind it, or quoting, is not of this form. */
const CHOICE = /^(__(?:sub)?key[a-z]+@)(?:[0-9?*-]|\[[^\]\\_[]*\])+__:/;
const HEADS = ["__keyspace@", "__keyevent@", "__subkey"];

/** Is it the name of a database's notifications, as clients or servers write it? */
export function isDatabaseChannel(name: string): boolean {
  return name.startsWith("__") && CHANNEL.test(name);
}

const UNDERSCORE = 95;
const LF = 10;

/** May argument `i` be such a name? Costs nothing to ask. */
export function mayTellOfDatabase(bytes: Uint8Array, args: Args, i: number): boolean {
  const start = args.starts[i]!;
  return args.ends[i]! - start > 8 && bytes[start] === UNDERSCORE && bytes[start + 1] === UNDERSCORE;
}

export class DatabaseChannels {
  /** @param databases how many clients may use; @param shift what a server's number is more (redis_db) */
  constructor(private readonly databases: number, private readonly shift: number) {}

  /** What the server calls the client's channel. */
  toWire(name: string): string {
    if (!name.startsWith("__")) return name;
    return name.replace(CHANNEL, (_, head: string, out: string, digits: string) => {
      const db = Number(digits);
      const inside = out === "" && db < this.databases;
      return inside ? `${head}${db + this.shift}__:` : `${head}-${out}${digits}__:`;
    });
  }

  /** The arguments from `from` on as bulk strings, channels by their names on the server; null if all are called the same there. */
  wireBulks(bytes: Uint8Array, args: Args, from: number): Uint8Array | null {
    const parts: Uint8Array[] = [];
    let done = args.ends[from - 1]! + 2;
    for (let i = from; i < args.count; i++) {
      if (!mayTellOfDatabase(bytes, args, i)) continue;
      const name = latin1(bytes, args.starts[i]!, args.ends[i]!);
      const wire = this.toWire(name);
      if (wire === name) continue;
      parts.push(bytes.subarray(done, args.ends[i - 1]! + 2), bulk(wire));
      done = args.ends[i]! + 2;
    }
    if (parts.length === 0) return null;
    parts.push(bytes.subarray(done, args.ends[args.count - 1]! + 2));
    return together(parts);
  }

  /** What clients call the server's channel; null if it tells of a database that is not the pool's. */
  toClient(wire: string): string | null {
    const found = wire.startsWith("__") ? CHANNEL.exec(wire) : null;
    if (found === null) return wire;
    const [whole, head, out, digits] = found;
    const rest = wire.slice(whole.length);
    if (out !== "") return `${head}${out!.slice(1)}${digits}__:${rest}`;
    const db = Number(digits) - this.shift;
    return db >= 0 && db < this.databases ? `${head}${db}__:${rest}` : null;
  }

  /** A pattern that matches on the server whatever the client's matches here, if not more. */
  toWirePattern(pattern: string): string {
    if (CHANNEL.test(pattern)) return this.toWire(pattern);
    // What has no digit, and none of what matches one letter, matches a number by a star: then any number.
    if (this.shift === 0 || !/[0-9?[\\]/.test(pattern)) return pattern;
    const literal = /^[^*?[\\]*/.exec(pattern)![0];
    if (!HEADS.some((head) => head.startsWith(literal) || literal.startsWith(head))) return pattern;
    if (CHOICE.test(pattern)) return pattern.replace(CHOICE, "$1*__:");
    return literal.slice(0, literal.indexOf("@") + 1 || undefined) + "*";
  }

  /**
   * The reply to PUBSUB CHANNELS as clients read it: an array of bulk strings, a database's channels by their names for
   * clients, each once (all servers are asked for them), and those of other pools' databases left out.
   * @param reply whole, of the servers together; returned if there is nothing to change
   */
  listed(pattern: string, wirePattern: string, reply: Uint8Array): Uint8Array {
    const same = pattern === wirePattern;
    const parts: Uint8Array[] = [];
    const names = new Set<string>();
    let count = 0;
    let done = firstElement(reply, 0);
    let changed = false;
    for (let at = done; at < reply.length;) {
      const start = reply.indexOf(LF, at) + 1;
      const end = start + decimalAt(reply, at + 1);
      const next = end + 2;
      if (!same || (reply[start] === UNDERSCORE && reply[start + 1] === UNDERSCORE)) {
        changed = true;
        parts.push(reply.subarray(done, at));
        done = next;
        const name = this.matched(pattern, wirePattern, latin1(reply, start, end));
        if (name !== null && !names.has(name)) {
          names.add(name);
          count++;
          parts.push(bulk(name));
        }
      } else count++;
      at = next;
    }
    if (!changed) return reply;
    return together([encode(`*${count}\r\n`), ...parts, reply.subarray(done)]);
  }

  /**
   * What a client that has subscribed to `pattern` is to be told of a message that the server's `wirePattern` has matched.
   * @returns the channel's name for the client; null if the message is none of its
   */
  matched(pattern: string, wirePattern: string, channel: string): string | null {
    const name = this.toClient(channel);
    if (name === null) return null;
    return name === channel && pattern === wirePattern || globMatches(pattern, name) ? name : null;
  }
}

/** @param name latin1 */
/** The digits from `at` on. */
function decimalAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (; bytes[at]! >= 48 && bytes[at]! <= 57; at++) value = value * 10 + bytes[at]! - 48;
  return value;
}

function together(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let to = 0;
  for (const part of parts) to = copy(whole, to, part, 0, part.length);
  return whole;
}
