/**
 * What is asked of servers for a client's binary packet: a line of their meta or text commands.
 *
 *   set k, flags 5, expires in 60 s, cas 7     ms k 3 c F5 T60 C7        get k           gets k
 *   append                                     ms k 3 c MA               gat 60 k        gats 60 k
 *   incr by 2, initial 10, expires never       ma k v c D2 N0 J10        touch 60 k      mg k f c T60
 *   delete with cas                            md k C7                   get "a b"       mg YSBi b v f c
 *
 * Connections to servers are shared with text clients, and memcached tells the protocols apart by a connection's first byte only.
 * Plain gets are text, not mg: mg of an item that a meta client has made stale would take away the turn to make it anew (`W`).
 * A key that a line cannot carry goes in base64; that takes 250 bytes too, so that of such keys only 186 bytes fit.
 *
 * Truth: memcached 1.6.18 and 1.6.45 over sockets (tests/real/memcached_binary_test.ts).
 */
import { copy, encode } from "../../bytes/ascii.ts";
import { writeDecimal } from "../../bytes/decimal.ts";
import { encodeKey } from "./base64.ts";
import {
  APPEND,
  DECR,
  DELETE,
  GAT,
  GET,
  INCR,
  OPCODE_ADD,
  OPCODE_ADDQ,
  OPCODE_REPLACE,
  OPCODE_REPLACEQ,
  type Packet,
  PREPEND,
  STORE,
  TOUCH,
  uint32,
} from "./binary.ts";
import { rowOf } from "./commands.ts";
import { writeUint64 } from "./uint64.ts";

/** How a key goes to a server. */
export const KEY_PLAIN = 0;
export const KEY_BASE64 = 1;
/** Not at all. */
export const KEY_UNSAYABLE = 2;

/** Bytes of a key whose base64 has not more than 250. */
export const BASE64_KEY_MAX = 186;

/** More than any line has that `writeLine` writes. */
export const LINE_SIZE_MAX = 640;

const MG = encode("mg ");
const GATS = encode("gats ");
const MS = encode("ms ");
const MD = encode("md ");
const MA = encode("ma ");
const V_F_C = encode(" v f c");
const F_C = encode(" f c");
const V_C = encode(" v c");

const SPACE = 32;
const B = 98;
const C = 67;
const SMALL_C = 99;
const D = 68;
const E = 69;
const F = 70;
const J = 74;
const M = 77;
const N = 78;
const P = 80;
const R = 82;
const T = 84;
const A = 65;

/** How the key `bytes[start, end)` goes to a server: KEY_PLAIN, KEY_BASE64 or KEY_UNSAYABLE. */
export function keyForm(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte <= SPACE || byte === 127) return oddKeyForm(bytes, start, end);
  }
  return KEY_PLAIN;
}

/** Of a long key with control bytes: those that a line can carry go as they are. */
function oddKeyForm(bytes: Uint8Array, start: number, end: number): number {
  if (end - start <= BASE64_KEY_MAX) return KEY_BASE64;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === SPACE || byte === 0 || byte === 10 || byte === 13) return KEY_UNSAYABLE;
  }
  return KEY_PLAIN;
}

/** Seconds, unsigned in a packet. A line's are signed: what begins beyond, in 2038, never expires. */
function seconds(bytes: Uint8Array, at: number): number {
  const value = uint32(bytes, at);
  return value > 0x7fffffff ? 0 : value;
}

/** Expiry of incr and decr that says: do not create. */
const NEVER_CREATE = 0xffffffff;

const ROW_GETS = rowOf("gets");
const ROW_GATS = rowOf("gats");
const ROW_MG = rowOf("mg");
const ROW_MS = rowOf("ms");
const ROW_MD = rowOf("md");
const ROW_MA = rowOf("ma");

/** The row of COMMANDS whose command `writeLine` writes, or, for a get of a plain key, `gets`. */
export function lineRow(asks: number, form: number): number {
  switch (asks) {
    case GET:
      return form === KEY_PLAIN ? ROW_GETS : ROW_MG;
    case GAT:
      return form === KEY_PLAIN ? ROW_GATS : ROW_MG;
    case TOUCH:
      return ROW_MG;
    case DELETE:
      return ROW_MD;
    case INCR:
    case DECR:
      return ROW_MA;
    default:
      return ROW_MS;
  }
}

/**
 * Writes the line for a packet with a key to the front of `to`, which has LINE_SIZE_MAX bytes. A data block, for what stores, is the caller's.
 * @param bytes what the packet was scanned from @param form KEY_PLAIN or KEY_BASE64
 * @returns the offset past the line's LF
 */
export function writeLine(bytes: Uint8Array, packet: Packet, form: number, to: Uint8Array): number {
  const { asks, extras } = packet;
  let at = 0;
  switch (asks) {
    case GET:
      at = writeKey(to, MG, bytes, packet, form);
      at = copy(to, at, V_F_C, 0, V_F_C.length);
      break;
    case GAT:
      if (form === KEY_PLAIN) {
        at = copy(to, 0, GATS, 0, GATS.length);
        at = writeDecimal(to, at, seconds(bytes, extras));
        to[at++] = SPACE;
        at = copy(to, at, bytes, packet.key, packet.keyEnd);
      } else {
        at = writeKey(to, MG, bytes, packet, form);
        at = copy(to, at, V_F_C, 0, V_F_C.length);
        at = writeFlag(to, at, T, seconds(bytes, extras));
      }
      break;
    case TOUCH:
      at = writeKey(to, MG, bytes, packet, form);
      at = copy(to, at, F_C, 0, F_C.length);
      at = writeFlag(to, at, T, seconds(bytes, extras));
      break;
    case DELETE:
      at = writeKey(to, MD, bytes, packet, form);
      at = writeCas(to, at, packet);
      break;
    case INCR:
    case DECR:
      at = writeAdd(bytes, packet, form, to);
      break;
    default:
      at = writeStore(bytes, packet, form, to);
  }
  to[at++] = 13;
  to[at++] = 10;
  return at;
}

/** A command's name with its blank, the key, and that it is in base64. */
function writeKey(
  to: Uint8Array,
  name: Uint8Array,
  bytes: Uint8Array,
  { key, keyEnd }: Packet,
  form: number,
): number {
  const at = copy(to, 0, name, 0, name.length);
  if (form === KEY_PLAIN) return copy(to, at, bytes, key, keyEnd);
  const end = encodeKey(bytes, key, keyEnd, to, at);
  to[end] = SPACE;
  to[end + 1] = B;
  return end + 2;
}

function writeStore(bytes: Uint8Array, packet: Packet, form: number, to: Uint8Array): number {
  const { asks, extras, opcode, key, keyEnd, end } = packet;
  let at = copy(to, 0, MS, 0, MS.length);
  // Unlike in the other lines, the length comes before the flags.
  at = form === KEY_PLAIN ? copy(to, at, bytes, key, keyEnd) : encodeKey(bytes, key, keyEnd, to, at);
  to[at++] = SPACE;
  at = writeDecimal(to, at, end - keyEnd);
  if (form === KEY_BASE64) at = writeLetter(to, at, B);
  at = writeLetter(to, at, SMALL_C);
  let mode = 0;
  if (asks === STORE) {
    const flags = uint32(bytes, extras);
    const expiry = seconds(bytes, extras + 4);
    if (flags > 0) at = writeFlag(to, at, F, flags);
    if (expiry > 0) at = writeFlag(to, at, T, expiry);
    // With a cas all three do the same.
    if (hasCas(packet)) mode = 0;
    else if (opcode === OPCODE_ADD || opcode === OPCODE_ADDQ) mode = E;
    else if (opcode === OPCODE_REPLACE || opcode === OPCODE_REPLACEQ) mode = R;
  } else if (asks === APPEND) mode = A;
  else if (asks === PREPEND) mode = P;
  if (mode !== 0) {
    at = writeLetter(to, at, M);
    to[at++] = mode;
  }
  return writeCas(to, at, packet);
}

function writeAdd(bytes: Uint8Array, packet: Packet, form: number, to: Uint8Array): number {
  const { asks, extras } = packet;
  let at = writeKey(to, MA, bytes, packet, form);
  at = copy(to, at, V_C, 0, V_C.length);
  if (asks === DECR) {
    at = writeLetter(to, at, M);
    to[at++] = D;
  }
  at = writeLetter(to, at, D);
  at = writeUint64(to, at, uint32(bytes, extras), uint32(bytes, extras + 4));
  if (uint32(bytes, extras + 16) !== NEVER_CREATE) {
    at = writeFlag(to, at, N, seconds(bytes, extras + 16));
    at = writeLetter(to, at, J);
    at = writeUint64(to, at, uint32(bytes, extras + 8), uint32(bytes, extras + 12));
  }
  return writeCas(to, at, packet);
}

function hasCas({ casHigh, casLow }: Packet): boolean {
  return casHigh !== 0 || casLow !== 0;
}

function writeCas(to: Uint8Array, at: number, packet: Packet): number {
  if (!hasCas(packet)) return at;
  return writeUint64(to, writeLetter(to, at, C), packet.casHigh, packet.casLow);
}

function writeFlag(to: Uint8Array, at: number, letter: number, value: number): number {
  return writeDecimal(to, writeLetter(to, at, letter), value);
}

function writeLetter(to: Uint8Array, at: number, letter: number): number {
  to[at] = SPACE;
  to[at + 1] = letter;
  return at + 2;
}
