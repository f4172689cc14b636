/**
 * Bytes and text in tests: latin-1 both ways, so that every byte is one character and nothing is lost.
 */

/** One byte per character; a character above 255 is a mistake in the test. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
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
  let text = "";
  for (let i = start; i < end; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, Math.min(i + 8192, end)));
  }
  return text;
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

const utf8 = new TextEncoder();

/** A string argument is sent as UTF-8; bytes as they are. */
export type Argument = string | number | Uint8Array;

/** A Redis request: `*N`, then each argument as a bulk string. */
export function request(...args: Argument[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [utf8.encode(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = arg instanceof Uint8Array ? arg : utf8.encode(String(arg));
    parts.push(utf8.encode(`$${bytes.length}\r\n`), bytes, utf8.encode("\r\n"));
  }
  return concat(parts);
}

/** Bytes as a short quoted text for messages: `"GET a\r\n…" (1234 bytes)`. */
export function show(bytes: Uint8Array, limit = 200): string {
  const text = JSON.stringify(textOf(bytes, 0, Math.min(bytes.length, limit)));
  return bytes.length <= limit ? text : `${text}… (${bytes.length} bytes)`;
}
