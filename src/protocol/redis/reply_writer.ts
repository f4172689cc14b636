/** Writes replies of our own in the client's protocol, RESP2 or RESP3. For the control plane: it grows as it goes. */
import { copy, encode } from "../../bytes/ascii.ts";
import { decimalLength, writeDecimal } from "../../bytes/decimal.ts";

export const OK: Uint8Array = encode("+OK\r\n");
const NULL = encode("_\r\n");
const NULL_ARRAY = encode("*-1\r\n");

/** No array: what EXEC answers when a watched key has been touched, and a wait in which nothing came. @param resp of the client */
export function nullArray(resp: number): Uint8Array {
  return resp === 3 ? NULL : NULL_ARRAY;
}

export class ReplyWriter {
  private bytes: Uint8Array = new Uint8Array(256);
  private length = 0;

  /** @param resp what the client speaks; decides how maps, sets, nulls and texts look */
  constructor(private readonly resp: 2 | 3) {}

  /** What has been written; owned by the caller, the writer starts anew. */
  take(): Uint8Array {
    const bytes = this.bytes.slice(0, this.length);
    this.length = 0;
    return bytes;
  }

  array(count: number): this {
    return this.head(42, count);
  }

  /** @param count pairs; key and value of each follow */
  map(count: number): this {
    return this.resp === 3 ? this.head(37, count) : this.head(42, count * 2);
  }

  set(count: number): this {
    return this.head(this.resp === 3 ? 126 : 42, count);
  }

  null(): this {
    return this.raw(this.resp === 3 ? "_\r\n" : "$-1\r\n");
  }

  /** -2^53 < value < 2^53 */
  integer(value: number): this {
    return this.raw(`:${value}\r\n`);
  }

  /** In RESP2 a text. */
  double(value: number): this {
    return this.resp === 3 ? this.raw(`,${value}\r\n`) : this.bulk(`${value}`);
  }

  /** No CR or LF in it. */
  status(text: string): this {
    return this.raw(`+${text}\r\n`);
  }

  bulk(text: string): this {
    const bytes = encode(text);
    return this.bulkBytes(bytes, 0, bytes.length);
  }

  /** A text of one byte per character. */
  bulkLatin1(text: string): this {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return this.bulkBytes(bytes, 0, bytes.length);
  }

  /** Copies `bytes[start, end)`. */
  bulkBytes(bytes: Uint8Array, start: number, end: number): this {
    this.head(36, end - start);
    this.makeRoom(end - start + 2);
    this.length = copy(this.bytes, this.length, bytes, start, end);
    this.bytes[this.length++] = 13;
    this.bytes[this.length++] = 10;
    return this;
  }

  /** Copies a whole element of another reply in the same protocol. */
  element(bytes: Uint8Array, start: number, end: number): this {
    this.makeRoom(end - start);
    this.length = copy(this.bytes, this.length, bytes, start, end);
    return this;
  }

  /** Lines for people: a verbatim string where the protocol has them. */
  text(text: string): this {
    if (this.resp === 2) return this.bulk(text);
    const bytes = encode(`txt:${text}`);
    this.bulkBytes(bytes, 0, bytes.length);
    this.bytes[this.length - 2 - bytes.length - 3 - decimalLength(bytes.length)] = 61;
    return this;
  }

  private head(type: number, count: number): this {
    this.makeRoom(20);
    this.bytes[this.length++] = type;
    this.length = writeDecimal(this.bytes, this.length, count);
    this.bytes[this.length++] = 13;
    this.bytes[this.length++] = 10;
    return this;
  }

  private raw(text: string): this {
    const bytes = encode(text);
    this.makeRoom(bytes.length);
    this.length = copy(this.bytes, this.length, bytes, 0, bytes.length);
    return this;
  }

  private makeRoom(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const bigger = new Uint8Array(Math.max(this.length + count, this.bytes.length * 2));
    bigger.set(this.bytes.subarray(0, this.length));
    this.bytes = bigger;
  }
}
