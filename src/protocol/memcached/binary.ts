/**
 * The packets of memcached's binary protocol: what a client's packet asks, and how replies are written.
 *
 *   80 op keylen extlen type vbucket bodylen opaque cas │ extras │ key │ value        request
 *   81 op keylen extlen type status  bodylen opaque cas │ extras │ key │ value        reply
 *   ───────────────── 24 bytes ────────────────────────   numbers are big-endian
 *
 * A packet's shape is judged here, in the order in which memcached judges it, since one that a server refused would cost the
 * connection that all clients share. What is asked of servers is said in lines (binary_lines.ts), and their replies become packets
 * again (binary_replies.ts). Data type and vbucket are ignored.
 *
 * Truth: memcached 1.6.18 over a socket (tests/real/memcached_binary_test.ts) and its proto_bin.c.
 */
import { encode } from "../../bytes/ascii.ts";
import { KEY_MAX, NEED_MORE } from "./request.ts";

export { NEED_MORE };
/** Its value is over the limit: answer STATUS_TOO_LARGE, then drop `needed` bytes from its start on as they come. */
export const PACKET_SKIP = -2;
/** Answer `fault` behind everything that is owed, if it is not 0; then close. */
export const PACKET_FAULT = -3;

export const MAGIC_REQUEST = 0x80;
export const MAGIC_REPLY = 0x81;
/** Bytes of a header. */
export const HEADER = 24;

// Statuses.
export const STATUS_OK = 0x00;
export const STATUS_NOT_FOUND = 0x01;
export const STATUS_EXISTS = 0x02;
export const STATUS_TOO_LARGE = 0x03;
export const STATUS_INVALID = 0x04;
export const STATUS_NOT_STORED = 0x05;
export const STATUS_NOT_NUMERIC = 0x06;
export const STATUS_AUTH = 0x20;
/** One step more. */
export const STATUS_AUTH_CONTINUE = 0x21;
export const STATUS_UNKNOWN_COMMAND = 0x81;
export const STATUS_OUT_OF_MEMORY = 0x82;
/** "Internal error" in the protocol's document; memcached has no use for it. Ours for servers that fail. */
export const STATUS_FAILED = 0x84;

/** What memcached says with a status. */
const TEXTS: Readonly<Record<number, Uint8Array>> = {
  [STATUS_NOT_FOUND]: encode("Not found"),
  [STATUS_EXISTS]: encode("Data exists for key."),
  [STATUS_TOO_LARGE]: encode("Too large."),
  [STATUS_INVALID]: encode("Invalid arguments"),
  [STATUS_NOT_STORED]: encode("Not stored."),
  [STATUS_NOT_NUMERIC]: encode("Non-numeric server-side value for incr or decr"),
  [STATUS_AUTH]: encode("Auth failure."),
  [STATUS_UNKNOWN_COMMAND]: encode("Unknown command"),
  [STATUS_OUT_OF_MEMORY]: encode("Out of memory"),
};
const NO_TEXT = new Uint8Array(0);

export function statusText(status: number): Uint8Array {
  return TEXTS[status] ?? NO_TEXT;
}

// What a packet asks.

export const UNKNOWN_OPCODE = 0;
export const GET = 1;
export const GAT = 2;
export const TOUCH = 3;
/** set, add, replace. */
export const STORE = 4;
export const APPEND = 5;
export const PREPEND = 6;
export const DELETE = 7;
export const INCR = 8;
export const DECR = 9;
/** From here on, without a key to be placed. */
export const QUIT = 10;
export const FLUSH = 11;
export const NOOP = 12;
export const VERSION = 13;
export const STAT = 14;
export const SASL_LIST = 15;
export const SASL_AUTH = 16;
export const SASL_STEP = 17;

interface Opcode {
  readonly code: number;
  /** Of the text command that does the same: what taps, hot keys and the like show. */
  readonly name: string;
  readonly asks: number;
  /** No reply where nothing is wrong (a miss, for gets). */
  readonly quiet?: true;
  /** The reply has the key. */
  readonly key?: true;
}

/** Every opcode that memcached 1.6.18 knows without SASL, and SASL's. */
export const OPCODES: readonly Opcode[] = [
  { code: 0x00, name: "get", asks: GET },
  { code: 0x01, name: "set", asks: STORE },
  { code: 0x02, name: "add", asks: STORE },
  { code: 0x03, name: "replace", asks: STORE },
  { code: 0x04, name: "delete", asks: DELETE },
  { code: 0x05, name: "incr", asks: INCR },
  { code: 0x06, name: "decr", asks: DECR },
  { code: 0x07, name: "quit", asks: QUIT },
  { code: 0x08, name: "flush_all", asks: FLUSH },
  { code: 0x09, name: "get", asks: GET, quiet: true },
  { code: 0x0a, name: "noop", asks: NOOP },
  { code: 0x0b, name: "version", asks: VERSION },
  { code: 0x0c, name: "get", asks: GET, key: true },
  { code: 0x0d, name: "get", asks: GET, key: true, quiet: true },
  { code: 0x0e, name: "append", asks: APPEND },
  { code: 0x0f, name: "prepend", asks: PREPEND },
  { code: 0x10, name: "stats", asks: STAT },
  { code: 0x11, name: "set", asks: STORE, quiet: true },
  { code: 0x12, name: "add", asks: STORE, quiet: true },
  { code: 0x13, name: "replace", asks: STORE, quiet: true },
  { code: 0x14, name: "delete", asks: DELETE, quiet: true },
  { code: 0x15, name: "incr", asks: INCR, quiet: true },
  { code: 0x16, name: "decr", asks: DECR, quiet: true },
  { code: 0x17, name: "quit", asks: QUIT, quiet: true },
  { code: 0x18, name: "flush_all", asks: FLUSH, quiet: true },
  { code: 0x19, name: "append", asks: APPEND, quiet: true },
  { code: 0x1a, name: "prepend", asks: PREPEND, quiet: true },
  { code: 0x1c, name: "touch", asks: TOUCH },
  { code: 0x1d, name: "gat", asks: GAT },
  { code: 0x1e, name: "gat", asks: GAT, quiet: true },
  { code: 0x20, name: "sasl_list", asks: SASL_LIST },
  { code: 0x21, name: "sasl_auth", asks: SASL_AUTH },
  { code: 0x22, name: "sasl_step", asks: SASL_STEP },
  { code: 0x23, name: "gat", asks: GAT, key: true },
  { code: 0x24, name: "gat", asks: GAT, key: true, quiet: true },
];

function byCode(of: (opcode: Opcode) => number): Uint8Array {
  const table = new Uint8Array(256);
  for (const opcode of OPCODES) table[opcode.code] = of(opcode);
  return table;
}

/** Opcode → what it asks; UNKNOWN_OPCODE. */
export const ASKS: Uint8Array = byCode(({ asks }) => asks);
/** Opcode → 1: see `Opcode.quiet`. */
export const QUIET: Uint8Array = byCode(({ quiet }) => quiet ? 1 : 0);
/** Opcode → 1: its reply has the key. */
export const WITH_KEY: Uint8Array = byCode(({ key }) => key ? 1 : 0);
export const NAMES_BY_CODE: readonly string[] = namesByCode();

function namesByCode(): string[] {
  const names = new Array<string>(256).fill("unknown");
  for (const { code, name } of OPCODES) names[code] = name;
  return names;
}

export const OPCODE_SET = 0x01;
export const OPCODE_SETQ = 0x11;
export const OPCODE_ADD = 0x02;
export const OPCODE_ADDQ = 0x12;
export const OPCODE_REPLACE = 0x03;
export const OPCODE_REPLACEQ = 0x13;

/** A client's packet; offsets into the array that was scanned. One per thread, overwritten by the next scan. */
export class Packet {
  opcode = 0;
  /** GET, STORE, … */
  asks = UNKNOWN_OPCODE;
  /** As a signed 32-bit integer. */
  opaque = 0;
  /** The two halves of cas, unsigned. */
  casHigh = 0;
  casLow = 0;
  extras = 0;
  extrasEnd = 0;
  keyEnd = 0;
  end = 0;
  /** Bytes of it, or without which it cannot be judged. */
  needed = 0;
  /** Status with which a PACKET_FAULT is answered; 0 = not at all. */
  fault = 0;

  /** The key is `bytes[key, keyEnd)`, the value `bytes[keyEnd, end)`. */
  get key(): number {
    return this.extrasEnd;
  }
}

export function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

function uint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

/** Bytes of a body that is read to its end, whatever is answered: memcached takes no longer one for a length. */
const BODY_MAX = 0x7fffffff;

/**
 * Finds the end of the packet that starts at `start`.
 *
 * @param bytes borrowed; not written, not kept
 * @param valueMax bytes of a value
 * @returns offset just past it; NEED_MORE (-1), with `out.needed` telling how many bytes from `start` on it takes; PACKET_SKIP (-2);
 *   PACKET_FAULT (-3). Of a packet with an unknown opcode, and of one that is skipped, all but the body's fields are valid.
 */
export function scanPacket(
  bytes: Uint8Array,
  start: number,
  end: number,
  valueMax: number,
  out: Packet,
): number {
  if (end - start < HEADER) {
    out.needed = HEADER;
    return NEED_MORE;
  }
  out.opcode = bytes[start + 1]!;
  out.fault = 0;
  if (bytes[start] !== MAGIC_REQUEST) return PACKET_FAULT;
  const keySize = uint16(bytes, start + 2);
  const extrasSize = bytes[start + 4]!;
  const bodySize = uint32(bytes, start + 8);
  const head = HEADER + extrasSize + keySize;
  if (end - start < head) {
    out.needed = head;
    return NEED_MORE;
  }
  const asks = ASKS[out.opcode]!;
  out.asks = asks;
  out.opaque = uint32(bytes, start + 12) | 0;
  out.casHigh = uint32(bytes, start + 16);
  out.casLow = uint32(bytes, start + 20);
  if (keySize + extrasSize > bodySize) {
    out.fault = STATUS_UNKNOWN_COMMAND;
    return PACKET_FAULT;
  }
  const valueSize = bodySize - keySize - extrasSize;
  if (keySize > KEY_MAX || asks !== UNKNOWN_OPCODE && !isShaped(asks, extrasSize, keySize, valueSize)) {
    out.fault = STATUS_INVALID;
    return PACKET_FAULT;
  }
  if (bodySize > BODY_MAX) {
    out.fault = STATUS_TOO_LARGE;
    return PACKET_FAULT;
  }
  out.extras = start + HEADER;
  out.extrasEnd = out.extras + extrasSize;
  out.keyEnd = out.extrasEnd + keySize;
  const size = HEADER + bodySize;
  out.needed = size;
  if (valueSize > valueMax) return PACKET_SKIP;
  if (end - start < size) return NEED_MORE;
  return out.end = start + size;
}

/** Has a packet that asks for this what it must have, and nothing else? */
function isShaped(asks: number, extrasSize: number, keySize: number, valueSize: number): boolean {
  switch (asks) {
    case GET:
    case DELETE:
      return extrasSize === 0 && keySize > 0 && valueSize === 0;
    case STORE:
      return extrasSize === 8 && keySize > 0;
    case APPEND:
    case PREPEND:
      return extrasSize === 0 && keySize > 0;
    case INCR:
    case DECR:
      return extrasSize === 20 && keySize > 0 && valueSize === 0;
    case TOUCH:
    case GAT:
      return extrasSize === 4 && keySize > 0 && valueSize === 0;
    case FLUSH:
      return (extrasSize === 0 || extrasSize === 4) && keySize === 0 && valueSize === 0;
    case STAT:
      return extrasSize === 0 && valueSize === 0;
    case SASL_AUTH:
    case SASL_STEP:
      return extrasSize === 0 && keySize > 0;
    default:
      return extrasSize === 0 && keySize === 0 && valueSize === 0;
  }
}

/** Offset past the header of a reply that is written to `to` at `at`. cas: its two halves. */
export function writeHeader(
  to: Uint8Array,
  at: number,
  opcode: number,
  status: number,
  opaque: number,
  keySize: number,
  extrasSize: number,
  bodySize: number,
  casHigh: number,
  casLow: number,
): number {
  to[at] = MAGIC_REPLY;
  to[at + 1] = opcode;
  to[at + 2] = keySize >> 8;
  to[at + 3] = keySize;
  to[at + 4] = extrasSize;
  to[at + 5] = 0;
  to[at + 6] = 0;
  to[at + 7] = status;
  writeUint32(to, at + 8, bodySize);
  writeUint32(to, at + 12, opaque);
  writeUint32(to, at + 16, casHigh);
  return writeUint32(to, at + 20, casLow);
}

export function writeUint32(to: Uint8Array, at: number, value: number): number {
  to[at] = value >>> 24;
  to[at + 1] = value >>> 16;
  to[at + 2] = value >>> 8;
  to[at + 3] = value;
  return at + 4;
}

/** A reply with a status, perhaps of our own words; owned by the caller. */
export function statusPacket(
  opcode: number,
  opaque: number,
  status: number,
  text: Uint8Array = statusText(status),
): Uint8Array {
  const packet = new Uint8Array(HEADER + text.length);
  writeHeader(packet, 0, opcode, status, opaque, 0, 0, text.length, 0, 0);
  packet.set(text, HEADER);
  return packet;
}
