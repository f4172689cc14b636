/**
 * The lines that Ringmaster answers by itself, in memcached's own words.
 *
 * Truth: memcached 1.6.18, every line compared with the server in tests/real/memcached_protocol_test.ts,
 * except those marked "ours", for which memcached has no words (it closes, or would do what was asked).
 */
import { encode } from "../../bytes/ascii.ts";

/** No answer of our own: the request goes to a server. */
export const ANSWER_NONE = 0;
/** Unknown command, or wrong number of words where memcached counts them. */
export const ANSWER_ERROR = 1;
export const ANSWER_BAD_FORMAT = 2;
export const ANSWER_BAD_DATA = 3;
export const ANSWER_BAD_EXPTIME = 4;
export const ANSWER_TOO_LARGE = 5;
export const ANSWER_MG_FLAGS_TOO_LONG = 6;
export const ANSWER_FLAGS_TOO_LONG = 7;
export const ANSWER_DUPLICATE_FLAG = 8;
export const ANSWER_INVALID_FLAG = 9;
export const ANSWER_INVALID_OR_DUPLICATE_FLAG = 10;
export const ANSWER_OK = 11;
export const ANSWER_MN = 12;
export const ANSWER_END = 13;
export const ANSWER_SHUTDOWN = 14;
export const ANSWER_WATCH = 15;
export const ANSWER_FLUSH_ALL = 16;
export const ANSWER_DELETE_USAGE = 17;
export const ANSWER_REFUSED = 18;
export const ANSWER_STATS_REFUSED = 19;
export const ANSWER_TOO_MANY_KEYS = 20;
export const ANSWER_LINE_TOO_LONG = 21;
// Of memcached since 1.6.40 alone (newer.ts).
export const ANSWER_BAD_FORMAT_AND_BLANK = 22;
export const ANSWER_BAD_DELTA = 23;
export const ANSWER_SHUTDOWN_NEWER = 24;

const TEXTS: readonly string[] = [
  "",
  "ERROR",
  "CLIENT_ERROR bad command line format",
  "CLIENT_ERROR bad data chunk",
  "CLIENT_ERROR invalid exptime argument",
  "SERVER_ERROR object too large for cache",
  "CLIENT_ERROR options flags are too long",
  "CLIENT_ERROR options flags too long",
  "CLIENT_ERROR duplicate flag",
  "CLIENT_ERROR invalid flag",
  "CLIENT_ERROR invalid or duplicate flag",
  "OK",
  "MN",
  "END",
  "ERROR: shutdown not enabled",
  "CLIENT_ERROR watch commands not allowed",
  "CLIENT_ERROR flush_all not allowed, unless dangerous_commands of the pool is allow",
  "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
  // Ours, from here on.
  "CLIENT_ERROR command not allowed through a proxy, ask the server itself",
  "CLIENT_ERROR these stats are not available through a proxy, ask the servers themselves",
  "CLIENT_ERROR too many keys in one request",
  "CLIENT_ERROR line too long",
  // Newer memcacheds' own.
  "CLIENT_ERROR bad command line format\r\n",
  "CLIENT_ERROR invalid numeric delta argument",
  "SERVER_ERROR: shutdown not enabled",
];

/** Answer code → line with CRLF; never written to. */
export const ANSWERS: readonly Uint8Array[] = TEXTS.map((text) => encode(text === "" ? "" : text + "\r\n"));
