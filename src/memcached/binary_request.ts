/**
 * One packet of a binary client on its way: the line that a server answers for it, and the packet that is made of the answer.
 *
 *   client's queue ── BinaryRequest ── connection's queue         ms k 3 c ⏎ abc ⏎ ──► HD c7 ──► 81 01 … cas 7
 *
 * It is the only one of its own `RequestLine`: what comes for it is handed to `finish` or `fail` and leaves as a packet, or, of quiet
 * packets, not at all. Gets of plain keys go out together and are members of BinaryGets instead (binary_gets.ts).
 */
import { copy } from "../bytes/ascii.ts";
import {
  ASKS,
  DECR,
  GAT,
  GET,
  HEADER,
  INCR,
  type Packet,
  QUIET,
  STATUS_FAILED,
  STATUS_NOT_FOUND,
  STATUS_OK,
  TOUCH,
  WITH_KEY,
  writeHeader,
  writeUint32,
} from "../protocol/memcached/binary.ts";
import { readError, readReply, readValue, said } from "../protocol/memcached/binary_replies.ts";
import { blockHasKey } from "../protocol/memcached/value_block.ts";
import { read, readUint64 } from "../protocol/memcached/uint64.ts";
import type { Client } from "../proxy/client.ts";
import { Request } from "../proxy/request.ts";
import type { RequestLine } from "../proxy/request_line.ts";
import type { Timing } from "../proxy/timing.ts";
import type { MemcachedSession } from "./session.ts";

/** What the record of a packet under way that has its key takes beyond that of a Request, about, beside the key's bytes. */
export const KEY_BYTES = 192;

/** Of `Request.check`: it has been answered; and from OPCODE on the packet's opcode. */
const ANSWERED = 0x400;
const OPCODE = 16;

const NONE = new Uint8Array(0);
/** Where packets are written, values excepted: an error has the words of a line at most. */
const packet = new Uint8Array(16 * 1024);
/** Values up to this size are copied behind their header: one piece is cheaper to hand on than two. */
const COPIED_MAX = 512;
/** Bytes of "END\r\n", and of the CRLF behind a value. */
const END_SIZE = 5;
const CRLF_SIZE = 2;
/** The third letter of VALUE, and of no other reply to what is asked for. */
const L = 76;
const SPACE = 32;

/** Has no field that a Request has not: see its size. */
export class BinaryRequest extends Request implements RequestLine {
  /** @param check as `Request.check` */
  constructor(client: Client, { opcode, opaque }: Packet, check: number) {
    super(client);
    this.check = check | opcode << OPCODE;
    // It is no fragment.
    this.fragment = opaque;
  }

  get opcode(): number {
    return this.check >>> OPCODE;
  }

  get opaque(): number {
    return this.fragment;
  }

  /** The key, if the reply has it (as a packet, or a gat's as a line) and no batch has it; owned. */
  get key(): Uint8Array {
    return NONE;
  }

  /** 1 until it has been answered. */
  get waiting(): number {
    return (this.check & ANSWERED) === 0 ? 1 : 0;
  }

  get asks(): number {
    return ASKS[this.opcode]!;
  }

  get quiet(): boolean {
    return QUIET[this.opcode] === 1;
  }

  get misfit(): string {
    return "a reply that does not answer what was asked";
  }

  /** Its bytes are written when it is queued: nobody can join it. */
  get bytes(): Uint8Array {
    return NONE;
  }

  get end(): number {
    return 0;
  }

  close(): void {}

  release(): void {}

  comes(timing: Timing, writtenMs: number): void {
    if (this.waiting === 1) timing.served(this, writtenMs);
  }

  /** The value of a gat, before its END. */
  takeParts(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.waiting === 0 || this.asks !== GAT || !this.isValue(bytes, at, end)) return false;
    if (!readValue(bytes, at) || said.valueEnd + CRLF_SIZE !== end) return false;
    this.give(bytes);
    return true;
  }

  finish(bytes: Uint8Array, start: number, end: number): boolean {
    // The value has left already.
    if (this.waiting === 0) return end - start === END_SIZE;
    const isValue = bytes[start + 2] === L;
    if (isValue && !this.isValue(bytes, start, end)) return false;
    if (!readReply(bytes, start, end, this.asks, this.opcode)) return false;
    // One value, then END.
    if (isValue && said.valueEnd + CRLF_SIZE + END_SIZE !== end) return false;
    this.give(bytes);
    return true;
  }

  /** Is it the value of its own key that begins there? Another's would be a reply out of step. */
  private isValue(bytes: Uint8Array, at: number, end: number): boolean {
    const { key } = this;
    // In a line a blank ends the key: "VALUE a 1 …" is not of "a 1", which has been asked for in base64.
    return !key.includes(SPACE) && blockHasKey(bytes, at, end, key, 0, key.length);
  }

  fail(reply: Uint8Array): void {
    const { client } = this;
    client?.countForwardError();
    readError(reply, 0, reply.length);
    this.give(reply);
  }

  receiver(): Client | null {
    return this.client;
  }

  /** Answers with what has been read (`said`), from `bytes`. */
  private give(bytes: Uint8Array): void {
    const { client, key } = this;
    this.client = null;
    this.check |= ANSWERED;
    if (client === null) return;
    if (key.length > 0) (client.session as MemcachedSession).binary!.keyBytes -= key.length + KEY_BYTES;
    deliverSaid(client, this, this.opcode, this.opaque, bytes, key, 0, key.length);
  }
}

/** One with its key. */
export class KeyedRequest extends BinaryRequest {
  constructor(client: Client, packet: Packet, check: number, private readonly own: Uint8Array) {
    super(client, packet, check);
  }

  override get key(): Uint8Array {
    return this.own;
  }
}

/**
 * Delivers the packet for `said`, which has been read from `bytes`; those borrowed, or shared from SHARE_MIN on.
 * @param opcode and opaque are those of what asked for it
 * @param keys of which `[keyStart, keyEnd)` is the key
 */
export function deliverSaid(
  client: Client,
  request: Request,
  opcode: number,
  opaque: number,
  bytes: Uint8Array,
  keys: Uint8Array,
  keyStart: number,
  keyEnd: number,
): void {
  const { status, casHigh, casLow } = said;
  const asks = ASKS[opcode]!;
  const gets = asks === GET || asks === GAT;
  const keySize = WITH_KEY[opcode] === 1 ? keyEnd - keyStart : 0;
  if (status !== STATUS_OK) {
    const missed = gets && status === STATUS_NOT_FOUND;
    if (missed && QUIET[opcode] === 1) return keepSilent(client, request);
    // A miss that names its key has no words.
    const text = missed && keySize > 0 ? NONE : said.text;
    const named = missed ? keySize : 0;
    const at = writeHeader(packet, 0, opcode, status, opaque, named, 0, named + text.length, 0, 0);
    const end = missed && keySize > 0
      ? copy(packet, at, keys, keyStart, keyEnd)
      : copy(packet, at, text, 0, text.length);
    return client.deliver(request, packet, 0, end);
  }
  if (gets) {
    const bodySize = 4 + keySize + said.valueEnd - said.value;
    let at = writeHeader(packet, 0, opcode, STATUS_OK, opaque, keySize, 4, bodySize, casHigh, casLow);
    at = writeUint32(packet, at, said.flags);
    if (keySize > 0) at = copy(packet, at, keys, keyStart, keyEnd);
    if (said.valueEnd - said.value <= COPIED_MAX) {
      return client.deliver(request, packet, 0, copy(packet, at, bytes, said.value, said.valueEnd));
    }
    return client.deliverHeaded(request, packet, at, bytes, said.value, said.valueEnd);
  }
  if (QUIET[opcode] === 1) return keepSilent(client, request);
  let end = HEADER;
  if (asks === TOUCH) end = writeUint32(packet, HEADER, said.flags);
  else if (asks === INCR || asks === DECR) {
    if (!readUint64(bytes, said.value, said.valueEnd)) {
      writeHeader(packet, 0, opcode, STATUS_FAILED, opaque, 0, 0, 0, 0, 0);
      return client.deliver(request, packet, 0, HEADER);
    }
    end = writeUint32(packet, writeUint32(packet, HEADER, read.high), read.low);
  }
  const extrasSize = asks === TOUCH ? 4 : 0;
  writeHeader(packet, 0, opcode, STATUS_OK, opaque, 0, extrasSize, end - HEADER, casHigh, casLow);
  client.deliver(request, packet, 0, end);
}

/** Nothing is wrong, and nothing is said. */
function keepSilent(client: Client, request: Request): void {
  request.muted = true;
  client.deliver(request, NONE, 0, 0);
}
