/**
 * The words of a request as the slow log shows them: few, short, and without what is nobody's business.
 *
 *   *3 SET key <5,000 bytes>  ──►  SET, key, "xxxx… (4872 more bytes)"       masked: SET, key, "(5000 bytes)"
 *
 * As redis-server: 32 words, 128 bytes of each; passwords are never shown.
 */
import { latin1 } from "../bytes/ascii.ts";

export const WORDS_MAX = 32;
export const WORD_BYTES_MAX = 128;

/** What may carry a password: nothing is shown behind the name, and behind a subcommand. */
const SECRET: ReadonlyMap<string, number> = new Map([
  ["AUTH", 1],
  ["HELLO", 2],
  ["ACL", 2],
  ["CONFIG", 2],
  ["MIGRATE", 1],
]);

/**
 * Of a Redis request.
 * @param head its first bytes, perhaps not all
 * @param masked shows the name and the word behind it (the key) only
 */
export function redisWords(head: Uint8Array, masked: boolean): string[] {
  const words: string[] = [];
  const total = numberAt(head, 1);
  if (head[0] !== 42 || total === null) return words;
  let at = total.next;
  let shown = Infinity;
  for (let i = 0; i < total.value; i++) {
    const size = head[at] === 36 ? numberAt(head, at + 1) : null;
    if (size === null) {
      words.push(`... (${total.value - i} more arguments)`);
      break;
    }
    if (i === WORDS_MAX - 1 && total.value > WORDS_MAX) {
      words.push(`... (${total.value - i} more arguments)`);
      break;
    }
    const end = Math.min(size.next + size.value, head.length);
    const word = latin1(head, size.next, Math.min(end, size.next + WORD_BYTES_MAX));
    if (i === 0) shown = SECRET.get(word.toUpperCase()) ?? (masked ? 2 : Infinity);
    words.push(wordShown(word, size.value, i < shown, SECRET.has(words[0]?.toUpperCase() ?? "")));
    at = size.next + size.value + 2;
  }
  return words;
}

function wordShown(word: string, size: number, shown: boolean, secret: boolean): string {
  if (!shown) return secret ? "(redacted)" : `(${size} bytes)`;
  return size > word.length ? `${word}... (${size - word.length} more bytes)` : word;
}

/** Digits at `at`, ended by CRLF. */
function numberAt(bytes: Uint8Array, at: number): { value: number; next: number } | null {
  let value = 0;
  let i = at;
  while (i < bytes.length && bytes[i]! >= 48 && bytes[i]! <= 57 && i - at < 12) {
    value = value * 10 + bytes[i++]! - 48;
  }
  return i === at || bytes[i] !== 13 ? null : { value, next: i + 2 };
}

/**
 * Of a memcached request: its line, never the data block.
 * @param masked shows the name and the word behind it only
 */
export function memcachedWords(head: Uint8Array, masked: boolean): string[] {
  const lf = head.indexOf(10);
  const line = latin1(head, 0, lf < 0 ? head.length : lf).trimEnd();
  const all = line.split(" ").filter((word) => word !== "");
  const most = masked ? 2 : WORDS_MAX;
  const words = all.slice(0, all.length > most ? most - (masked ? 0 : 1) : most);
  const shown = words.map((word) => wordShown(word.slice(0, WORD_BYTES_MAX), word.length, true, false));
  return all.length > words.length ? [...shown, `... (${all.length - words.length} more arguments)`] : shown;
}
