/**
 * What a request of HTTP looks like to somebody who reads commands: its lines' first words.
 *
 * A web page can make its reader's browser send a POST to any address the browser can reach, with a body of the page's choice; the
 * body would be commands. redis-server hangs up at "POST" and "Host:" since 3.2.7, before it looks anything up.
 */
import { encode, equalsFolded } from "../bytes/ascii.ts";

const WORDS: readonly Uint8Array[] = ["POST", "HOST:"].map(encode);

/** Is a command's name, `bytes[start, end)`, one of HTTP's words? In any case, and up to a NUL, as in redis-server. */
export function isHttpWord(bytes: Uint8Array, start: number, end: number): boolean {
  for (const word of WORDS) {
    const stop = start + word.length;
    if ((end === stop || (end > stop && bytes[stop] === 0)) && equalsFolded(bytes, start, stop, word)) {
      return true;
    }
  }
  return false;
}
