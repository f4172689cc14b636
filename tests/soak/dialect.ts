/** What the callers of a long run say and hear: the same few requests in Redis's words and in memcached's. */
import { latin1, request, textOf } from "../lib/bytes.ts";
import { type Parsed, parseReply, replyEnd, ReplyError, type Value } from "../lib/resp.ts";

export interface Dialect {
  /** What a write is answered with. */
  readonly stored: Value;
  /** The whole reply at `start`, or null. memcached's is its text, or a ReplyError that begins as Redis's do. */
  take(bytes: Uint8Array, start: number, end: number): Parsed | null;
  /** A request that the proxy answers itself, and its answer. */
  echo(words: string): readonly [Uint8Array, Value];
  /** Adds one to a counter, which begins at 0. */
  incr(key: string): Uint8Array;
  countOf(reply: Value): Value;
  set(key: string, value: string): Uint8Array;
  get(...keys: string[]): Uint8Array;
  /** The values of the keys that were asked for; null if the reply is none to such a `get`. */
  valuesOf(keys: readonly string[], reply: Value): readonly Value[] | null;
}

export const REDIS: Dialect = {
  stored: "OK",
  take(bytes, start, end) {
    return replyEnd(bytes, start, end) < 0 ? null : parseReply(bytes, start, end);
  },
  echo: (words) => [request("ECHO", words), words],
  incr: (key) => request("INCR", key),
  countOf: (reply) => reply,
  set: (key, value) => request("SET", key, value),
  get: (...keys) => request(keys.length === 1 ? "GET" : "MGET", ...keys),
  valuesOf(keys, reply) {
    if (keys.length === 1) return [reply];
    return Array.isArray(reply) && reply.length === keys.length ? reply : null;
  },
};

export const MEMCACHED: Dialect = {
  stored: "STORED",
  take(bytes, start, end) {
    let at = start;
    for (;;) {
      const lineEnd = bytes.indexOf(10, at) + 1;
      if (lineEnd === 0 || lineEnd > end) return null;
      const [word, ...words] = textOf(bytes, at, lineEnd - 2).split(" ");
      at = lineEnd;
      if (word === "VALUE") at += Number(words[2]) + 2;
      else {
        if (word === "VA") at += Number(words[0]) + 2;
        return at > end ? null : { value: valueOf(textOf(bytes, start, at - 2)), end: at };
      }
    }
  },
  echo: () => [latin1("mn\r\n"), "MN"],
  // Made if it is missing, with 1 as its first value.
  incr: (key) => latin1(`ma ${key} N0 J1 v\r\n`),
  countOf(reply) {
    const match = typeof reply === "string" ? /^VA \d+\r\n(\d+)$/.exec(reply) : null;
    return match === null ? reply : Number(match[1]);
  },
  set: (key, value) => latin1(`set ${key} 0 0 ${value.length}\r\n${value}\r\n`),
  get: (...keys) => latin1(`get ${keys.join(" ")}\r\n`),
  valuesOf(keys, reply) {
    if (typeof reply !== "string") return null;
    const found = new Map<string, string>();
    let at = 0;
    for (let match; (match = /^VALUE (\S+) 0 (\d+)\r\n/.exec(reply.slice(at))) !== null;) {
      at += match[0].length;
      found.set(match[1]!, reply.slice(at, at += Number(match[2])));
      at += 2;
    }
    const known = [...found.keys()].every((key) => keys.includes(key));
    return known && reply.slice(at) === "END" ? keys.map((key) => found.get(key) ?? null) : null;
  },
};

function valueOf(text: string): Value {
  const error = /^(?:SERVER_ERROR|CLIENT_ERROR) (.*)$/s.exec(text);
  return error === null ? text : new ReplyError(`ERR ${error[1]}`);
}
