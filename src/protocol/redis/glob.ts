/**
 * Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\*`. What matches is what redis-server's stringmatchlen says, its oddities
 * included: nothing but an empty pattern matches an empty text, and the bracket of `[a-]` ends the range, not the class.
 */
import { latin1Bytes } from "../../bytes/ascii.ts";

const ALL = 0;
const PREFIX = 1;
const WHOLE = 2;
const GLOB = 3;

const STAR = 42;
const MARK = 63;
const OPEN = 91;
const CLOSE = 93;
const BACKSLASH = 92;
const CARET = 94;
const DASH = 45;

/**
 * A pattern that is matched often, as ACL rules are: compiled once, and quick for what most of them are.
 *
 *   app:*  ──► PREFIX "app:"      app  ──► WHOLE "app"      *  ──► ALL      a?c[x-z]  ──► GLOB
 */
export class Glob {
  private readonly kind: number;
  private readonly size: number;

  /** @param pattern owned, not changed later */
  constructor(readonly pattern: Uint8Array) {
    const special = pattern.findIndex((b) => b === STAR || b === MARK || b === OPEN || b === BACKSLASH);
    const last = pattern.length - 1;
    this.size = special === -1 ? pattern.length : special;
    if (special === -1) this.kind = WHOLE;
    else if (special === last && pattern[last] === STAR) this.kind = last === 0 ? ALL : PREFIX;
    else this.kind = GLOB;
  }

  /** What all that it matches begins with, if it matches all that does (and is not empty); else null. */
  get prefix(): Uint8Array | null {
    return this.kind === PREFIX ? this.pattern.subarray(0, this.size) : null;
  }

  /** Does it match all of `bytes[start, end)`? In time pattern × text at worst. */
  matches(bytes: Uint8Array, start: number, end: number): boolean {
    const { kind, size, pattern } = this;
    if (end === start) return pattern.length === 0;
    if (kind === ALL) return true;
    if (kind === GLOB) return walk(pattern, bytes, start, end);
    if (kind === WHOLE ? end - start !== size : end - start < size) return false;
    for (let i = 0; i < size; i++) if (bytes[start + i] !== pattern[i]) return false;
    return true;
  }

  /** Is it this pattern, letter by letter? */
  is(bytes: Uint8Array, start: number, end: number): boolean {
    const { pattern } = this;
    if (end - start !== pattern.length) return false;
    for (let i = 0; i < pattern.length; i++) if (bytes[start + i] !== pattern[i]) return false;
    return true;
  }
}

/**
 * Does all of `text` match `pattern`, each a byte a letter (`latin1`)? CONFIG GET and COMMAND LIST ignore case (`fold`), keys and
 * channels do not. In time pattern × text at worst.
 */
export function globMatches(pattern: string, text: string, fold = false): boolean {
  if (text === "") return pattern === "";
  if (fold) return globMatches(pattern.toLowerCase(), text.toLowerCase());
  return walk(latin1Bytes(pattern), latin1Bytes(text), 0, text.length);
}

/** Whatever the pattern, only its last star is ever tried again. */
function walk(pattern: Uint8Array, text: Uint8Array, start: number, end: number): boolean {
  let p = 0;
  let starAt = -1;
  let starText = 0;
  for (let t = start; t < end;) {
    if (pattern[p] === STAR) {
      starAt = p++;
      starText = t;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, text[t]!) : -1;
    if (next >= 0) {
      p = next;
      t++;
    } else if (starAt >= 0) {
      p = starAt + 1;
      t = ++starText;
    } else return false;
  }
  while (pattern[p] === STAR) p++;
  return p === pattern.length;
}

/** Offset past the element at `p` if it matches `letter`; -1 if not. */
function matchOne(pattern: Uint8Array, p: number, letter: number): number {
  const first = pattern[p]!;
  if (first === MARK) return p + 1;
  if (first === BACKSLASH && p + 1 < pattern.length) return pattern[p + 1] === letter ? p + 2 : -1;
  if (first !== OPEN) return first === letter ? p + 1 : -1;
  let at = p + 1;
  const not = pattern[at] === CARET;
  if (not) at++;
  let found = false;
  for (; at < pattern.length; at++) {
    const b = pattern[at]!;
    if (b === BACKSLASH && at + 1 < pattern.length) {
      if (pattern[++at] === letter) found = true;
    } else if (b === CLOSE) break;
    else if (at + 2 < pattern.length && pattern[at + 1] === DASH) {
      const low = Math.min(b, pattern[at + 2]!);
      const high = Math.max(b, pattern[at + 2]!);
      if (low <= letter && letter <= high) found = true;
      at += 2;
    } else if (b === letter) found = true;
  }
  return found !== not ? Math.min(at + 1, pattern.length) : -1;
}
