/**
 * A plain reader of Redis replies (RESP2 and RESP3) for tests: slow, obvious, and independent of the scanners in src/.
 *
 * | on the wire                | value                                            |
 * | -------------------------- | ------------------------------------------------ |
 * | `+OK`, `$2 hi`, `=6 txt:hi` | string, one character per byte ("OK", "hi", "hi") |
 * | `-ERR x`, `!5 ERR x`        | ReplyError                                       |
 * | `:1`                       | number, or bigint when it is not a safe integer  |
 * | `(123…`                    | bigint                                           |
 * | `,1.5`  `#t`               | number, boolean                                  |
 * | `_`, `$-1`, `*-1`          | null                                             |
 * | `*`                        | array                                            |
 * | `%`                        | Map                                              |
 * | `~`                        | Set (items are compared by identity, as always)  |
 * | `>`                        | Push                                             |
 * | `|` attributes             | skipped; the value after them counts             |
 *
 * Source: the RESP protocol page of Redis 7.0.
 */
import { textOf } from "./bytes.ts";

export class ReplyError extends Error {
  override name = "ReplyError";
}

export class Push {
  constructor(readonly items: readonly Value[]) {}
}

export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | ReplyError
  | Push
  | Value[]
  | Set<Value>
  | Map<Value, Value>;

/** A value and the offset just past it. */
export interface Parsed {
  value: Value;
  end: number;
}

/** How far replyEnd has got in a reply that is not all there. One a reply; offsets are from the reply's start. */
export class ReplyProgress {
  /** Where the next element starts. */
  at = 0;
  /** Up to here no line end has been found after `at`. */
  searched = 0;
  /** Elements still to come. */
  left = 1;
}

/**
 * The offset past the reply that starts at `start`, or -1 if it is not all there. Builds nothing, hops over bulk
 * strings, and with the same `progress` goes on where it was, so it can be asked again after each read of a large reply.
 */
export function replyEnd(
  bytes: Uint8Array,
  start: number,
  end: number,
  progress = new ReplyProgress(),
): number {
  for (; progress.left > 0; progress.left--) {
    const at = start + progress.at;
    const eol = lineEnd(bytes, Math.max(at, start + progress.searched), end);
    if (eol < 0) {
      // The last byte may be the CR of a line end.
      progress.searched = Math.max(progress.at, end - start - 2);
      return -1;
    }
    const type = String.fromCharCode(bytes[at]);
    const size = "$!=*~>%|".includes(type) ? count(bytes, at, textOf(bytes, at + 1, eol)) : 0;
    let next = eol + 2;
    if ("$!=".includes(type) && size >= 0) next += size + 2;
    if (next > end) return -1;
    if ("*~>".includes(type) && size > 0) progress.left += size;
    if (type === "%") progress.left += 2 * size;
    // Attributes are followed by the value they belong to.
    if (type === "|") progress.left += 2 * size + 1;
    progress.at = next - start;
  }
  return start + progress.at;
}

/** Reads the reply that starts at `start`; null if it is not all there. Throws if it cannot be a reply. */
export function parseReply(bytes: Uint8Array, start: number, end: number): Parsed | null {
  const eol = lineEnd(bytes, start, end);
  if (eol < 0) return null;
  const type = String.fromCharCode(bytes[start]);
  const line = textOf(bytes, start + 1, eol);
  const next = eol + 2;
  switch (type) {
    case "+":
      return { value: line, end: next };
    case "-":
      return { value: new ReplyError(line), end: next };
    case ":": {
      const value = Number(line);
      if (!/^[+-]?\d+$/.test(line)) throw bad(bytes, start, "an integer");
      return { value: Number.isSafeInteger(value) ? value : BigInt(line), end: next };
    }
    case "(":
      return { value: BigInt(line), end: next };
    case ",":
      return {
        value: line === "inf" ? Infinity : line === "-inf" ? -Infinity : line === "nan" ? NaN : Number(line),
        end: next,
      };
    case "#":
      return { value: line === "t", end: next };
    case "_":
      return { value: null, end: next };
    case "$":
    case "!":
    case "=": {
      const size = count(bytes, start, line);
      if (size < 0) return { value: null, end: next };
      if (next + size + 2 > end) return null;
      if (bytes[next + size] !== 13 || bytes[next + size + 1] !== 10) {
        throw bad(bytes, start, "CRLF after a bulk string");
      }
      const text = textOf(bytes, next, next + size);
      const value = type === "!" ? new ReplyError(text) : type === "=" ? text.slice(4) : text;
      return { value, end: next + size + 2 };
    }
    case "*":
    case "~":
    case ">":
    case "%":
    case "|": {
      const size = count(bytes, start, line);
      if (size < 0) return { value: null, end: next };
      const items: Value[] = [];
      let at = next;
      for (let i = 0; i < (type === "%" || type === "|" ? size * 2 : size); i++) {
        const item = parseReply(bytes, at, end);
        if (item === null) return null;
        items.push(item.value);
        at = item.end;
      }
      if (type === "|") return parseReply(bytes, at, end);
      if (type === "*") return { value: items, end: at };
      if (type === "~") return { value: new Set(items), end: at };
      if (type === ">") return { value: new Push(items), end: at };
      const map = new Map<Value, Value>();
      for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1]);
      return { value: map, end: at };
    }
    default:
      throw bad(bytes, start, "a reply");
  }
}

function count(bytes: Uint8Array, start: number, line: string): number {
  if (!/^(-1|\d+)$/.test(line)) throw bad(bytes, start, "a length");
  return Number(line);
}

function lineEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start + 1; i + 1 < end; i++) if (bytes[i] === 13 && bytes[i + 1] === 10) return i;
  return -1;
}

function bad(bytes: Uint8Array, start: number, expected: string): Error {
  return new Error(
    `expected ${expected}, found ${JSON.stringify(textOf(bytes, start, Math.min(bytes.length, start + 80)))}`,
  );
}
