/**
 * Both directions of the Redis protocol as a server sees it: `RequestReader` cuts requests out of what a client
 * sends, `Reply` writes RESP2 or RESP3. Bytes are held as text with one character a byte (0 to 255): this is the
 * demo's and the simulator's server, not the proxy's data path.
 *
 * Errors and limits are those of Redis 7.0 (networking.c), checked by tests/real/demo_redis_test.ts.
 */
import { Buffer } from "node:buffer";

/** `bytes[start, end)` as text, one character a byte, without loss. */
export function toText(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

/** The bytes of a text whose characters are all below 256; owned by the caller. */
export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** What a client sent cannot be read as requests; the connection has to close after this reply. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

const LINE_MAX = 64 * 1024;
const ARGUMENTS_MAX = 2 ** 31 - 1;
const BULK_MAX = 512 * 1024 * 1024;
const CR = 13;
const LF = 10;

/** Cuts requests out of a byte stream, however it arrives. */
export class RequestReader {
  private held = new Uint8Array(0);
  private start = 0;
  private end = 0;
  /** Of the half-received array: its arguments so far, and how many it has in all (-1: between requests). */
  private args: string[] = [];
  private wanted = -1;
  private bulkLength = -1;

  /** Takes in what the client sent; borrowed. */
  push(bytes: Uint8Array): void {
    const length = this.end - this.start;
    if (this.end + bytes.length > this.held.length) {
      const room = length + bytes.length;
      const to = room * 2 > this.held.length ? new Uint8Array(room * 2) : this.held;
      to.set(this.held.subarray(this.start, this.end));
      this.held = to;
      this.start = 0;
      this.end = length;
    }
    this.held.set(bytes, this.end);
    this.end += bytes.length;
  }

  /**
   * The next whole request, or null if more bytes are needed. Empty requests are left out, as Redis does.
   * @throws ProtocolError with Redis' text
   */
  next(): string[] | null {
    for (;;) {
      const args = this.wanted >= 0 || this.held[this.start] === 42 ? this.nextArray() : this.nextInline();
      if (args === null || args.length > 0) {
        if (this.start === this.end) this.release();
        return args;
      }
    }
  }

  private release(): void {
    this.start = this.end = 0;
    if (this.held.length > LINE_MAX) this.held = new Uint8Array(0);
  }

  private nextArray(): string[] | null {
    if (this.start >= this.end && this.wanted < 0) return null;
    if (this.wanted < 0) {
      const line = this.line("too big mbulk count string");
      if (line === null) return null;
      const count = lengthOf(line.slice(1));
      if (count === null || count > ARGUMENTS_MAX) throw new ProtocolError("invalid multibulk length");
      if (count <= 0) return [];
      this.wanted = count;
      this.args = [];
    }
    while (this.args.length < this.wanted) {
      if (this.bulkLength < 0) {
        if (this.start >= this.end) return null;
        const line = this.line("too big bulk count string");
        if (line === null) return null;
        if (line[0] !== "$") throw new ProtocolError(`expected '$', got '${line[0] ?? "\r"}'`);
        const length = lengthOf(line.slice(1));
        if (length === null || length < 0 || length > BULK_MAX) {
          throw new ProtocolError("invalid bulk length");
        }
        this.bulkLength = length;
      }
      if (this.end - this.start < this.bulkLength + 2) return null;
      this.args.push(toText(this.held, this.start, this.start + this.bulkLength));
      this.start += this.bulkLength + 2;
      this.bulkLength = -1;
    }
    const args = this.args;
    this.args = [];
    this.wanted = -1;
    return args;
  }

  /** A line that ends with CR and one more byte, which Redis does not look at. */
  private line(tooBig: string): string | null {
    const at = this.held.indexOf(CR, this.start);
    if (at < 0 || at >= this.end) {
      if (this.end - this.start > LINE_MAX) throw new ProtocolError(tooBig);
      return null;
    }
    if (at + 1 >= this.end) return null;
    const text = toText(this.held, this.start, at);
    this.start = at + 2;
    return text;
  }

  private nextInline(): string[] | null {
    const at = this.held.indexOf(LF, this.start);
    if (at < 0 || at >= this.end) {
      if (this.end - this.start > LINE_MAX) throw new ProtocolError("too big inline request");
      return null;
    }
    const text = toText(this.held, this.start, at > this.start && this.held[at - 1] === CR ? at - 1 : at);
    this.start = at + 1;
    const args = splitInline(text);
    if (args === null) throw new ProtocolError("unbalanced quotes in request");
    return args;
  }
}

function lengthOf(text: string): number | null {
  return /^(0|-?[1-9]\d{0,15})$/.test(text) ? Number(text) : null;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };

/** Words of an inline request with Redis' quoting; null if quotes do not close. */
export function splitInline(line: string): string[] | null {
  const words: string[] = [];
  let i = 0;
  for (;;) {
    while (i < line.length && /[\s\0]/.test(line[i]!)) i++;
    if (i >= line.length) return words;
    let word = "";
    let quote = "";
    for (;;) {
      const c = line[i];
      if (quote !== "") {
        if (c === undefined) return null;
        if (quote === '"' && c === "\\" && /^x[0-9a-f]{2}/i.test(line.slice(i + 1, i + 4))) {
          word += String.fromCharCode(parseInt(line.slice(i + 2, i + 4), 16));
          i += 3;
        } else if (quote === '"' && c === "\\" && i + 1 < line.length) {
          i++;
          word += ESCAPES[line[i]!] ?? line[i];
        } else if (quote === "'" && c === "\\" && line[i + 1] === "'") {
          i++;
          word += "'";
        } else if (c === quote) {
          if (i + 1 < line.length && !/\s/.test(line[i + 1]!)) return null;
          quote = "";
        } else word += c;
      } else if (c === undefined || /[ \n\r\t\0]/.test(c)) break;
      else if (c === '"' || c === "'") quote = c;
      else word += c;
      i++;
    }
    words.push(word);
  }
}

/** Writes replies in the client's version of the protocol. */
export class Reply {
  /** What is written and not yet taken; one character a byte. */
  text = "";
  protocol: 2 | 3 = 2;

  status(text: string): void {
    this.text += `+${text}\r\n`;
  }
  ok(): void {
    this.text += "+OK\r\n";
  }
  /** Line breaks in the text become spaces. */
  error(text: string): void {
    this.text += `-${text.replace(/[\r\n]/g, " ")}\r\n`;
  }
  integer(value: number | bigint): void {
    this.text += `:${value}\r\n`;
  }
  bulk(value: string | null | undefined): void {
    if (value === null || value === undefined) this.null();
    else this.text += `$${value.length}\r\n${value}\r\n`;
  }
  null(): void {
    this.text += this.protocol === 3 ? "_\r\n" : "$-1\r\n";
  }
  nullArray(): void {
    this.text += this.protocol === 3 ? "_\r\n" : "*-1\r\n";
  }
  array(length: number): void {
    this.text += `*${length}\r\n`;
  }
  set(length: number): void {
    this.text += `${this.protocol === 3 ? "~" : "*"}${length}\r\n`;
  }
  map(pairs: number): void {
    this.text += this.protocol === 3 ? `%${pairs}\r\n` : `*${pairs * 2}\r\n`;
  }
  double(value: number): void {
    const text = formatDouble(value);
    if (this.protocol === 3) this.text += `,${text}\r\n`;
    else this.bulk(text);
  }
  verbatim(text: string): void {
    if (this.protocol === 3) this.text += `=${text.length + 4}\r\ntxt:${text}\r\n`;
    else this.bulk(text);
  }
  bulks(values: Iterable<string>, length: number): void {
    this.array(length);
    for (const value of values) this.bulk(value);
  }
}

/** The number as C's printf("%.17g") writes it, which is how Redis 7.0 shows scores. */
export function formatDouble(value: number): string {
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, exponentText] = value.toExponential(16).split("e") as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 17) {
    const digits = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    const size = Math.abs(exponent).toString().padStart(2, "0");
    return `${digits}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  const fixed = value.toFixed(Math.min(100, Math.max(0, 16 - exponent)));
  return fixed.includes(".") ? fixed.replace(/\.?0+$/, "") : fixed;
}
