/** Joins that only one command needs; see join.ts for the common ones. Whole replies in, owned bytes out. */
import { encode, latin1 } from "../../bytes/ascii.ts";
import { firstError, type Part } from "./join.ts";
import { integerOf, isError } from "./reply.ts";

const MISMATCH = encode("-ERR Invalid argument: the servers' replies do not fit together\r\n");

/** RANDOMKEY: one of the values that are there; nil if there is none. @param draw in [0, 1) */
export function pickValue(parts: readonly Part[], draw: number): Uint8Array {
  const values = parts.filter((p) => p.bytes[p.start] === 36 && p.bytes[p.start + 1] !== 45);
  const good = values.length > 0 ? values : parts.filter((p) => !isError(p.bytes, p.start));
  const among = good.length > 0 ? good : parts;
  const part = among[Math.floor(draw * among.length)]!;
  return part.bytes.slice(part.start, part.end);
}

/** PUBSUB NUMPAT: patterns are watched on all servers, so the largest number is the number. */
export function joinLargest(parts: readonly Part[]): Uint8Array {
  const error = firstError(parts);
  if (error !== null) return error;
  const largest = Math.max(...parts.map((p) => integerOf(p.bytes, p.start, p.end)));
  return Number.isNaN(largest) ? MISMATCH : encode(`:${largest}\r\n`);
}

/** WAITAOF: two integers, the smallest of each. */
export function joinPairMin(parts: readonly Part[]): Uint8Array {
  const error = firstError(parts);
  if (error !== null) return error;
  let local = Infinity;
  let remote = Infinity;
  for (const part of parts) {
    const match = /^\*2\r\n:(\d+)\r\n:(\d+)\r\n$/.exec(latin1(part.bytes, part.start, part.end));
    if (match === null) return MISMATCH;
    local = Math.min(local, Number(match[1]));
    remote = Math.min(remote, Number(match[2]));
  }
  return encode(`*2\r\n:${local}\r\n:${remote}\r\n`);
}

/**
 * PUBSUB NUMSUB: name, count, name, count, … with the same names from all servers; the counts are added.
 * @param more what to add to a name's (latin1) count
 * @param called what clients call the server's name
 */
export function joinCounts(
  parts: readonly Part[],
  more: (name: string) => number,
  called: (name: string) => string,
): Uint8Array {
  const error = firstError(parts);
  if (error !== null) return error;
  const all = parts.map((p) => readCounts(latin1(p.bytes, p.start, p.end)));
  const first = all[0]!;
  if (all.some((counts) => counts === null || counts.length !== first?.length)) return MISMATCH;
  let reply = `${String.fromCharCode(parts[0]!.bytes[parts[0]!.start]!)}${first!.length * 2}\r\n`;
  first!.forEach(([wire], i) => {
    const name = called(wire);
    const count = all.reduce((sum, counts) => sum + counts![i]![1], 0) + more(name);
    reply += `$${name.length}\r\n${name}\r\n:${count}\r\n`;
  });
  const bytes = new Uint8Array(reply.length);
  for (let i = 0; i < reply.length; i++) bytes[i] = reply.charCodeAt(i);
  return bytes;
}

function readCounts(text: string): [string, number][] | null {
  const counts: [string, number][] = [];
  let at = text.indexOf("\n") + 1;
  while (at < text.length) {
    const head = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20));
    if (head === null) return null;
    const name = text.slice(at + head[0].length, at + head[0].length + Number(head[1]));
    at += head[0].length + name.length + 2;
    const count = /^:(\d+)\r\n/.exec(text.slice(at, at + 20));
    if (count === null) return null;
    at += count[0].length;
    counts.push([name, Number(count[1])]);
  }
  return counts;
}
