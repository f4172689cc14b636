/** Bytes that somebody else has chosen, as text for people and JSON: UTF-8 if they are, else what is no ASCII as \xNN. */
import { latin1, latin1Bytes } from "./ascii.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** @param text latin1, a character a byte */
export function shown(text: string): string {
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  try {
    return utf8.decode(latin1Bytes(text));
  } catch {
    return text.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
  }
}

/** The first bytes of a word, and how many there are if that is not all. @param bytes borrowed */
export function shownWord(bytes: Uint8Array, start: number, end: number, most: number): string {
  if (end - start <= most) return shown(latin1(bytes, start, end));
  return `${shown(latin1(bytes, start, start + most))}… (${end - start} bytes)`;
}
