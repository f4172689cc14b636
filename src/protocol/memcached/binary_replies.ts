/**
 * What a server's reply says, to a line of binary_lines.ts, as a binary packet needs it.
 *
 *   HD c7                          done, cas 7                     NS, EX, NF, EN, END      a status, by what was asked
 *   VA 3 f5 c7 ⏎ abc ⏎             value, flags 5, cas 7           CLIENT_ERROR …           0x0006, 0x0003, 0x0082, or 0x0084 with
 *   VALUE k 5 3 7 ⏎ abc ⏎ END ⏎    the same                       SERVER_ERROR …           the server's words
 *
 * The reply has been framed by scanReply and is of a kind that can answer the line. A reply that lacks what was asked for answers some
 * other line. Its key is never looked at, but for `gets`, whose keys are compared with those that were asked for (get_batch.ts).
 */
import { encode } from "../../bytes/ascii.ts";
import { parseDecimal } from "../../bytes/decimal.ts";
import {
  APPEND,
  DELETE,
  GAT,
  GET,
  INCR,
  OPCODE_ADD,
  OPCODE_ADDQ,
  OPCODE_REPLACE,
  OPCODE_REPLACEQ,
  PREPEND,
  STATUS_EXISTS,
  STATUS_FAILED,
  STATUS_NOT_FOUND,
  STATUS_NOT_NUMERIC,
  STATUS_NOT_STORED,
  STATUS_OK,
  STATUS_OUT_OF_MEMORY,
  STATUS_TOO_LARGE,
  STATUS_UNKNOWN_COMMAND,
  statusText,
  STORE,
  TOUCH,
} from "./binary.ts";
import { read, readUint64 } from "./uint64.ts";

/** The reply read last; one per thread. */
export const said = {
  status: STATUS_OK,
  casHigh: 0,
  casLow: 0,
  flags: 0,
  /** The value, of what was read: `[value, valueEnd)`. The number, for incr and decr. */
  value: 0,
  valueEnd: 0,
  /** The words with a status that is an error. */
  text: statusText(STATUS_OK),
};

/** Bytes of "VALUE ". */
const VALUE_WORD = 6;
const NO_TEXT = statusText(STATUS_OK);
const SPACE = 32;
const CR = 13;
const LF = 10;
const C = 67;
const E = 69;
const F = 70;
const H = 72;
const N = 78;
const R = 82;
const S = 83;
const V = 86;
const X = 88;
const SMALL_C = 99;
const SMALL_F = 102;

const NO_META: Uint8Array = encode(
  "Unknown command: the server does not know meta commands (memcached 1.6 does)",
);
const TOO_LARGE = encode("SERVER_ERROR object too large");
const OUT_OF_MEMORY = encode("SERVER_ERROR out of memory");
const NOT_NUMERIC = encode("CLIENT_ERROR cannot increment or decrement non-numeric value");

/** The words of an answer to a client whose server lacks meta commands. */
export { NO_META };

/**
 * Reads the reply `bytes[start, end)` to what `asks` says, by `opcode`, into `said`.
 * @returns false if it answers something else
 */
export function readReply(
  bytes: Uint8Array,
  start: number,
  end: number,
  asks: number,
  opcode: number,
): boolean {
  said.casHigh = said.casLow = said.flags = 0;
  said.value = said.valueEnd = end;
  const first = bytes[start]!;
  const second = bytes[start + 1]!;
  if (first === V && bytes[start + 2] === SPACE) return readVa(bytes, start, asks);
  if (first === V) return (asks === GET || asks === GAT) && readValue(bytes, start);
  if (first === H || first === 79) return readHd(bytes, start, end, asks);
  if (first === S || first === C || first === E && second === R) {
    readError(bytes, start, end);
    return true;
  }
  // END and EN, EX, NF, NS.
  if (first === E) settle(second === X ? STATUS_EXISTS : STATUS_NOT_FOUND);
  else if (second === F) settle(STATUS_NOT_FOUND);
  else settle(notStored(asks, opcode));
  return first === E && second === N || first === E && second === X || first === N;
}

function settle(status: number): void {
  said.status = status;
  said.text = status === STATUS_OK ? NO_TEXT : statusText(status);
}

/** memcached says why something is not stored only in text's and meta's words. */
function notStored(asks: number, opcode: number): number {
  if (asks === APPEND || asks === PREPEND) return STATUS_NOT_STORED;
  if (opcode === OPCODE_ADD || opcode === OPCODE_ADDQ) return STATUS_EXISTS;
  if (opcode === OPCODE_REPLACE || opcode === OPCODE_REPLACEQ) return STATUS_NOT_FOUND;
  return STATUS_NOT_STORED;
}

/** HD, or OK in its place on servers started with meta_response_old. */
function readHd(bytes: Uint8Array, start: number, end: number, asks: number): boolean {
  settle(STATUS_OK);
  const lf = lineEnd(bytes, start, end);
  const found = readFlags(bytes, start + 2, lf);
  if (asks === DELETE) return found === 0;
  if (asks === TOUCH) return found === (HAS_CAS | HAS_FLAGS);
  return asks >= STORE && asks <= PREPEND && found === HAS_CAS;
}

/** "VA size flag…", of a reply that is all there. */
function readVa(bytes: Uint8Array, start: number, asks: number): boolean {
  settle(STATUS_OK);
  let at = start + 3;
  let size = 0;
  for (; bytes[at]! >= 48 && bytes[at]! <= 57; at++) size = size * 10 + bytes[at]! - 48;
  const lf = lineEnd(bytes, at, bytes.length);
  const found = readFlags(bytes, at, lf);
  said.value = lf + 1;
  said.valueEnd = said.value + size;
  if (asks === GET || asks === GAT) return found === (HAS_CAS | HAS_FLAGS);
  return asks >= INCR && found === HAS_CAS;
}

/**
 * Reads "VALUE key flags size cas", the first line at `start`, and where its value is. The key may have any bytes but blanks and LF.
 * @returns false if there is no cas
 */
export function readValue(bytes: Uint8Array, start: number): boolean {
  let at = start + VALUE_WORD;
  while (bytes[at] !== SPACE) at++;
  return readBlock(bytes, start, at - start - VALUE_WORD) > 0;
}

/** As `readValue`, where the key is known to have `keySize` bytes. @returns offset past the value and its CRLF; 0 if there is no cas */
export function readBlock(bytes: Uint8Array, start: number, keySize: number): number {
  let at = start + VALUE_WORD + keySize + 1;
  let flags = 0;
  for (; bytes[at]! >= 48 && bytes[at]! <= 57; at++) flags = flags * 10 + bytes[at]! - 48;
  let size = 0;
  for (at++; bytes[at]! >= 48 && bytes[at]! <= 57; at++) size = size * 10 + bytes[at]! - 48;
  if (bytes[at] !== SPACE) return 0;
  const casAt = ++at;
  while (bytes[at]! >= 48 && bytes[at]! <= 57) at++;
  if (!readUint64(bytes, casAt, at)) return 0;
  said.status = STATUS_OK;
  said.text = NO_TEXT;
  said.casHigh = read.high;
  said.casLow = read.low;
  said.flags = flags;
  said.value = at + 2;
  return (said.valueEnd = said.value + size) + 2;
}

const HAS_CAS = 1;
const HAS_FLAGS = 2;
const HAS_OTHERS = 4;

/** Reads flags of a meta reply; returns which there are. What is none of ours but says how an item is (W, X, Z) is passed over. */
function readFlags(bytes: Uint8Array, at: number, lf: number): number {
  let found = 0;
  while (at < lf) {
    while (bytes[at] === SPACE) at++;
    const letter = bytes[at]!;
    const from = at + 1;
    while (at < lf && bytes[at] !== SPACE && bytes[at] !== CR) at++;
    if (letter === SMALL_C && readUint64(bytes, from, at)) {
      said.casHigh = read.high;
      said.casLow = read.low;
      found |= HAS_CAS;
    } else if (letter === SMALL_F) {
      said.flags = parseDecimal(bytes, from, at);
      found |= said.flags >= 0 ? HAS_FLAGS : HAS_OTHERS;
    } else if (letter !== CR && !TELLING[letter]) found |= HAS_OTHERS;
    if (bytes[at] === CR) break;
  }
  return found;
}

/** W, X, Z; and b, which 1.6.18 gives back though nobody has asked for it. */
const TELLING = new Uint8Array(256);
[87, X, 90, 98].forEach((letter) => TELLING[letter] = 1);

function lineEnd(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at] !== LF) at++;
  return at;
}

/** An error of a server's, or of the proxy's own in its place. */
export function readError(bytes: Uint8Array, start: number, end: number): void {
  said.casHigh = said.casLow = 0;
  if (bytes[start] === E) {
    said.status = STATUS_UNKNOWN_COMMAND;
    said.text = NO_META;
  } else if (begins(bytes, start, end, TOO_LARGE)) settle(STATUS_TOO_LARGE);
  else if (begins(bytes, start, end, OUT_OF_MEMORY)) settle(STATUS_OUT_OF_MEMORY);
  else if (begins(bytes, start, end, NOT_NUMERIC)) settle(STATUS_NOT_NUMERIC);
  else {
    said.status = STATUS_FAILED;
    let from = start;
    while (from < end && bytes[from] !== SPACE && bytes[from] !== CR) from++;
    if (bytes[from] === SPACE) from++;
    let to = from;
    while (to < end && bytes[to] !== CR && bytes[to] !== LF) to++;
    said.text = bytes.slice(from, to);
  }
}

function begins(bytes: Uint8Array, start: number, end: number, text: Uint8Array): boolean {
  if (end - start < text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text[i]) return false;
  return true;
}
