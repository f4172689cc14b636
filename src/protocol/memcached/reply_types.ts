/** What a reply is, from its first word; see reply.ts. The numbers are bit positions in the command table. */

/** Not a reply. */
export const REPLY_NONE = 0;
/** VALUE blocks up to END. */
export const REPLY_VALUE = 1;
/** END alone: no key of a get was there, or a list without lines. */
export const REPLY_END = 2;
/** STAT lines up to END. */
export const REPLY_STAT = 3;
export const REPLY_STORED = 4;
export const REPLY_NOT_STORED = 5;
export const REPLY_EXISTS = 6;
export const REPLY_NOT_FOUND = 7;
export const REPLY_DELETED = 8;
export const REPLY_TOUCHED = 9;
export const REPLY_OK = 10;
export const REPLY_NUMBER = 11;
export const REPLY_VERSION = 12;
export const REPLY_RESET = 13;
/** Meta: done, without a value. */
export const REPLY_HD = 14;
/** Meta: a value. */
export const REPLY_VA = 15;
/** Meta: not stored, exists, not found, miss. */
export const REPLY_NS = 16;
export const REPLY_EX = 17;
export const REPLY_NF = 18;
export const REPLY_EN = 19;
/** Meta: answers to mn and me. */
export const REPLY_MN = 20;
export const REPLY_ME = 21;
export const REPLY_ERROR = 22;
export const REPLY_CLIENT_ERROR = 23;
export const REPLY_SERVER_ERROR = 24;

export const REPLY_ERRORS: readonly number[] = [REPLY_ERROR, REPLY_CLIENT_ERROR, REPLY_SERVER_ERROR];

/** Type → name, for logs and metrics. */
export const REPLY_NAMES: readonly string[] = [
  "none",
  "VALUE",
  "END",
  "STAT",
  "STORED",
  "NOT_STORED",
  "EXISTS",
  "NOT_FOUND",
  "DELETED",
  "TOUCHED",
  "OK",
  "number",
  "VERSION",
  "RESET",
  "HD",
  "VA",
  "NS",
  "EX",
  "NF",
  "EN",
  "MN",
  "ME",
  "ERROR",
  "CLIENT_ERROR",
  "SERVER_ERROR",
];

// Classes, for counting.

export const CLASS_OK = 0;
/** The key, or the condition asked for, was not there. */
export const CLASS_MISS = 1;
export const CLASS_ERROR = 2;
export const CLASS_CLIENT_ERROR = 3;
export const CLASS_SERVER_ERROR = 4;
/** Not a reply at all. */
export const CLASS_BAD = 5;

const MISSES: readonly number[] = [
  REPLY_END,
  REPLY_NOT_STORED,
  REPLY_EXISTS,
  REPLY_NOT_FOUND,
  REPLY_NS,
  REPLY_EX,
  REPLY_NF,
  REPLY_EN,
];

/** Type → class. */
export const REPLY_CLASS: Uint8Array = Uint8Array.from(REPLY_NAMES, (_, type) => {
  if (type === REPLY_NONE) return CLASS_BAD;
  if (type === REPLY_ERROR) return CLASS_ERROR;
  if (type === REPLY_CLIENT_ERROR) return CLASS_CLIENT_ERROR;
  if (type === REPLY_SERVER_ERROR) return CLASS_SERVER_ERROR;
  return MISSES.includes(type) ? CLASS_MISS : CLASS_OK;
});
