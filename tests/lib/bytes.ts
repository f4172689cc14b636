/**
 * Bytes and text in tests: latin-1 both ways, so that every byte is one character and nothing is lost.
 */
import { Buffer } from "node:buffer";

const utf8 = new TextEncoder();

/** From here on it pays to encode it as UTF-8, which is the same bytes if all are ASCII. */
const LONG = 256;

/** One byte per character; a character above 255 is a mistake in the test. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  if (text.length >= LONG) {
    const encoded = utf8.encode(text);
    if (encoded.length === text.length) return encoded;
  }
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) {
      throw new RangeError(`latin1: character ${i} of ${JSON.stringify(text.slice(0, 80))} is no byte`);
    }
    bytes[i] = code;
  }
  return bytes;
}

/** The characters of `bytes[start, end)`, one per byte. */
export function textOf(bytes: Uint8Array, start = 0, end = bytes.length): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.max(0, end - start)).toString("latin1");
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A string argument is sent as UTF-8; bytes as they are. */
export type Argument = string | number | Uint8Array;

/** A Redis request: `*N`, then each argument as a bulk string. */
export function request(...args: Argument[]): Uint8Array<ArrayBuffer> {
  const parts: (string | Uint8Array)[] = [`*${args.length}\r\n`];
  for (const arg of args) {
    const bytes = arg instanceof Uint8Array ? arg : asSent(String(arg));
    parts.push(`$${bytes.length}\r\n`, bytes, "\r\n");
  }
  if (parts.every((part) => typeof part === "string")) return latin1(parts.join(""));
  return concat(parts.map((part) => typeof part === "string" ? latin1(part) : part));
}

/** Text that is the same as UTF-8, as itself; else its bytes. */
function asSent(text: string): string | Uint8Array {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return utf8.encode(text);
  return text;
}

/** Bytes as a short quoted text for messages: `"GET a\r\n…" (1234 bytes)`. */
export function show(bytes: Uint8Array, limit = 200): string {
  const text = JSON.stringify(textOf(bytes, 0, Math.min(bytes.length, limit)));
  return bytes.length <= limit ? text : `${text}… (${bytes.length} bytes)`;
}
