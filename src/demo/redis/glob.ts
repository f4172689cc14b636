/** Redis' glob patterns, for KEYS and the SCAN family: star, question mark, [a-c], [^a], backslash. */

/** True if the whole text matches. */
export function matchGlob(pattern: string, text: string, p = 0, t = 0): boolean {
  while (p < pattern.length) {
    const c = pattern[p]!;
    if (c === "*") {
      while (pattern[p + 1] === "*") p++;
      if (p + 1 === pattern.length) return true;
      for (let at = t; at <= text.length; at++) if (matchGlob(pattern, text, p + 1, at)) return true;
      return false;
    }
    if (t >= text.length) return false;
    if (c === "[") {
      const end = matchClass(pattern, p + 1, text[t]!);
      if (end < 0) return false;
      p = end;
    } else if (c !== "?") {
      if (c === "\\" && p + 1 < pattern.length) p++;
      if (pattern[p] !== text[t]) return false;
    }
    p++;
    t++;
  }
  return t === text.length;
}

/** Offset of the class's closing bracket if `c` is in the class, else -1. */
function matchClass(pattern: string, p: number, c: string): number {
  const negated = pattern[p] === "^";
  if (negated) p++;
  let found = false;
  for (; p < pattern.length && pattern[p] !== "]"; p++) {
    if (pattern[p] === "\\" && p + 1 < pattern.length) {
      if (pattern[++p] === c) found = true;
    } else if (pattern[p + 1] === "-" && p + 2 < pattern.length) {
      const low = pattern[p]! < pattern[p + 2]! ? pattern[p]! : pattern[p + 2]!;
      const high = low === pattern[p] ? pattern[p + 2]! : pattern[p]!;
      if (c >= low && c <= high) found = true;
      p += 2;
    } else if (pattern[p] === c) found = true;
  }
  return found === negated ? -1 : Math.min(p, pattern.length - 1);
}
