import { strictEqual } from "node:assert/strict";
import { Glob, globMatches } from "../../src/protocol/redis/glob.ts";
import { latin1 } from "../lib/bytes.ts";

/** Compiled or not, the same. */
function matches(pattern: string, text: string): boolean {
  const bytes = latin1(text);
  const word = globMatches(pattern, text);
  strictEqual(new Glob(latin1(pattern)).matches(bytes, 0, bytes.length), word, `Glob: ${pattern} ~ ${text}`);
  return word;
}

Deno.test("a pattern matches what redis-server 7.0.15 says that it matches", () => {
  const cases: [pattern: string, text: string, matches: boolean][] = [
    ["*", "x", true],
    ["*", "", false],
    ["", "", true],
    ["", "a", false],
    ["a*", "abc", true],
    ["*c", "abc", true],
    ["a**", "a", true],
    ["app:*", "app:", true],
    ["app:*", "app", false],
    ["a*c*e", "abcde", true],
    ["a*c*e", "abcd", false],
    ["*a*b", "xxaxxbxxab", true],
    ["a*b*c", "a1b2b3", false],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["ABC", "abc", false],
    ["[a-c]x", "bx", true],
    ["[c-a]x", "bx", true],
    ["[^a-c]x", "bx", false],
    ["[ab", "b", true],
    // The bracket is the range's end, and the class goes on to the pattern's.
    ["[a-]", "^", true],
    ["[a-]", "-", false],
    ["[a-]]", "^", true],
    ["[a-]]", "a]", false],
    ["[\\]]", "]", true],
    ["a\\*", "a*", true],
    ["a\\*", "ab", false],
    ["\u00ff*", "\u00ff\u0000", true],
  ];
  for (const [pattern, text, expected] of cases) {
    strictEqual(matches(pattern, text), expected, `${pattern} ~ ${text}`);
  }
});

Deno.test("without regard to case, ranges too", () => {
  strictEqual(globMatches("MAX[A-N]*", "maxmemory", true), true);
  strictEqual(globMatches("MAX[A-N]*", "maxmemory"), false);
});

Deno.test("no pattern makes it explode", () => {
  // A second of work would be seen.
  strictEqual(matches("a*".repeat(5000) + "b", "a".repeat(5000)), false);
  strictEqual(matches("*a".repeat(500), "a".repeat(20_000) + "b"), false);
});
