/** Redis's glob patterns (`*`, `?`, `[a-z]`, `[^a]`, `\*`): CONFIG GET and COMMAND LIST ignore case, channels do not. */

/**
 * Does all of `text` match `pattern`? In time pattern × text at worst, whatever the pattern: only the last star is
 * ever tried again.
 */
export function globMatches(pattern: string, text: string, fold = true): boolean {
  if (fold) {
    pattern = pattern.toLowerCase();
    text = text.toLowerCase();
  }
  let p = 0;
  let starAt = -1;
  let starText = 0;
  for (let t = 0; t < text.length;) {
    if (pattern[p] === "*") {
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
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

/** Offset past the element at `p` if it matches `letter`; -1 if not. */
function matchOne(pattern: string, p: number, letter: string): number {
  const c = pattern[p]!;
  if (c === "?") return p + 1;
  if (c === "\\" && p + 1 < pattern.length) return pattern[p + 1] === letter ? p + 2 : -1;
  if (c !== "[") return c === letter ? p + 1 : -1;
  let at = p + 1;
  const not = pattern[at] === "^";
  if (not) at++;
  let found = false;
  for (; at < pattern.length && pattern[at] !== "]"; at++) {
    if (pattern[at] === "\\" && at + 1 < pattern.length) at++;
    else if (pattern[at + 1] === "-" && at + 2 < pattern.length && pattern[at + 2] !== "]") {
      const low = pattern[at]!;
      const high = pattern[at + 2]!;
      if ((low <= letter && letter <= high) || (high <= letter && letter <= low)) found = true;
      at += 2;
      continue;
    }
    if (pattern[at] === letter) found = true;
  }
  return found !== not ? Math.min(at + 1, pattern.length) : -1;
}
