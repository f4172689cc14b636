/**
 * A reply as a value, for the control plane: what the proxy itself asks of servers and sentinels.
 *
 *   scanReply (reply.ts): is it all here? ──► readValue: what does it say?
 *
 * Texts are latin1, byte n as character n. RESP3's forms become what RESP2 would have said: a map is the list of its keys and
 * values, a set a list, a boolean 1 or 0, a number with a point its text; attributes are skipped.
 */
import { latin1 } from "../../bytes/ascii.ts";

export type Value = string | number | null | ReplyError | readonly Value[];

/** An error that the server answered, or has among the elements of an answer; never thrown. */
export class ReplyError {
  /** @param text without the dash and the line's end: "ERR unknown command" */
  constructor(readonly text: string) {}
}

/** Lists in lists, deeper than any answer has them. */
const DEPTH_MAX = 16;
const LF = 10;

/** How far the value read last has gone. */
let next = 0;

/**
 * @param bytes borrowed; `bytes[start, end)` is one whole reply, as `scanReply` found it
 * @returns undefined for what no server answers: lists in lists without end, streamed forms
 */
export function readValue(bytes: Uint8Array, start: number, end: number): Value | undefined {
  next = start;
  return read(bytes, end, 0);
}

function read(bytes: Uint8Array, end: number, depth: number): Value | undefined {
  const type = bytes[next];
  const lineEnd = bytes.indexOf(LF, next) - 1;
  const line = latin1(bytes, next + 1, lineEnd);
  next = lineEnd + 2;
  switch (type) {
    case 43: // +
    case 44: // ,
    case 40: // (
      return line;
    case 45: // -
      return new ReplyError(line);
    case 58: // :
      return Number(line);
    case 95: // _
      return null;
    case 35: // #
      return line === "t" ? 1 : 0;
    case 36: // $
    case 33: // !
    case 61: { // =
      if (line === "-1") return null;
      const size = Number(line);
      if (!(size >= 0)) return undefined;
      const text = latin1(bytes, next, next + size);
      next += size + 2;
      return type === 36 ? text : type === 33 ? new ReplyError(text) : text.slice(4);
    }
    case 42: // *
    case 126: // ~
    case 62: // >
      return list(bytes, end, Number(line), depth);
    case 37: // %
      return list(bytes, end, 2 * Number(line), depth);
    case 124: // |
      return list(bytes, end, 2 * Number(line), depth) === undefined
        ? undefined
        : read(bytes, end, depth + 1);
  }
  return undefined;
}

function list(bytes: Uint8Array, end: number, count: number, depth: number): Value | undefined {
  if (count < 0) return null;
  if (depth >= DEPTH_MAX) return undefined;
  const values: Value[] = [];
  for (let i = 0; i < count; i++) {
    const value = next < end ? read(bytes, end, depth + 1) : undefined;
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values.length === count ? values : undefined;
}
