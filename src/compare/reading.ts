/** What was read of a key on one side, and how two such readings differ. */

/** Bytes of a string, or elements of a list or its like, that are compared; of what is longer the beginning is, and the length. */
export const STRING_PART = 64 * 1024;
export const ELEMENTS_PART = 512;

/** Lifetimes that are as near to each other as this are the same: both are read one after the other; ms. */
const TTL_TOLERANCE_MS = 2000;

export type Reading =
  | { readonly kind: "absent" }
  | Found
  /** An error reply, as the server or proxy wrote it. */
  | { readonly kind: "error"; readonly text: string }
  /** No reply; `why` is for people. */
  | { readonly kind: "lost"; readonly why: string };

export interface Found {
  readonly kind: "found";
  /** As TYPE says; of memcached "item". */
  readonly type: string;
  /** Bytes of a string or item, elements of anything else; -1 = not known. */
  readonly size: number;
  /** What is compared, in one order whatever the server's: latin1, a byte a character. */
  readonly content: string;
  /** `content` is all there is. */
  readonly whole: boolean;
  /** ms; -1 = lives without end, null = not known. */
  readonly ttlMs: number | null;
}

/** What clients would notice, by what they would notice first. */
export const DIFFERENCES = {
  missing: "keys that OLD has and NEW has not",
  extra: "keys that NEW has and OLD has not",
  type: "keys of another type",
  value: "keys with another value",
  ttl: "keys with another lifetime",
  error: "keys that one side answers with an error",
} as const;
export type DifferenceKind = keyof typeof DIFFERENCES;

export interface Difference {
  readonly kind: DifferenceKind;
  /** For people: "OLD 12 bytes, NEW 13 bytes". */
  readonly text: string;
}

/** null: none, or none that can be told since neither side has read it. */
export function differenceOf(old: Reading, young: Reading): Difference | null {
  if (old.kind === "lost" || young.kind === "lost") return null;
  if (old.kind === "error" || young.kind === "error") {
    if (old.kind === young.kind) return null;
    return { kind: "error", text: `OLD ${briefly(old)}, NEW ${briefly(young)}` };
  }
  if (old.kind === "absent" || young.kind === "absent") {
    if (old.kind === young.kind) return null;
    return old.kind === "found"
      ? { kind: "missing", text: `OLD ${briefly(old)}` }
      : { kind: "extra", text: `NEW ${briefly(young)}` };
  }
  if (old.type !== young.type) return { kind: "type", text: `OLD ${old.type}, NEW ${young.type}` };
  if (old.size !== young.size || old.content !== young.content) {
    return { kind: "value", text: valueText(old, young) };
  }
  return ttlDiffers(old.ttlMs, young.ttlMs)
    ? { kind: "ttl", text: `OLD ${ttlText(old.ttlMs!)}, NEW ${ttlText(young.ttlMs!)}` }
    : null;
}

/** True if at least one side has not said what the key is. */
export function unread(old: Reading, young: Reading): boolean {
  const told = ({ kind }: Reading) => kind === "found" || kind === "absent";
  return !told(old) && !told(young) || old.kind === "lost" || young.kind === "lost";
}

/** Why, of the side that has not; for people. */
export function unreadText(old: Reading, young: Reading): string {
  const why = (reading: Reading) =>
    reading.kind === "lost" ? reading.why : reading.kind === "error" ? reading.text : null;
  const [of, and] = [why(old), why(young)];
  return of !== null ? `OLD: ${of}` : `NEW: ${and}`;
}

function briefly(reading: Reading): string {
  switch (reading.kind) {
    case "found":
      return `${reading.type} of ${sizeText(reading)}`;
    case "absent":
      return "no such key";
    case "error":
      return reading.text;
    case "lost":
      return reading.why;
  }
}

function sizeText({ type, size }: Found): string {
  if (size < 0) return "unknown size";
  return type === "string" || type === "item" ? `${size} bytes` : `${size} elements`;
}

function valueText(old: Found, young: Found): string {
  if (old.size !== young.size) return `OLD ${sizeText(old)}, NEW ${sizeText(young)}`;
  let at = 0;
  while (at < old.content.length && old.content[at] === young.content[at]) at++;
  return `${sizeText(old)} on both sides, not the same from byte ${at} on`;
}

function ttlDiffers(a: number | null, b: number | null): boolean {
  if (a === null || b === null) return false;
  if (a < 0 || b < 0) return a < 0 !== b < 0;
  return Math.abs(a - b) > TTL_TOLERANCE_MS;
}

const ttlText = (ms: number): string => ms < 0 ? "without end" : `${(ms / 1000).toFixed(1)} s`;

/** Parts that may have any bytes, as one text that no other parts have. */
export function joined(parts: readonly string[]): string {
  return parts.map((part) => `${part.length}:${part}`).join("");
}
