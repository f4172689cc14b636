/**
 * Inline commands: the line's end in every cut, and its words in array form. The quoting rules were taken from a
 * redis-server; tests/real/redis_inline_test.ts compares many more lines with it.
 */
import { ok, strictEqual } from "node:assert/strict";
import { INLINE_SIZE_MAX, inlineToArray, scanInline } from "../../src/protocol/redis/inline.ts";
import { BAD_QUOTES, INLINE_TOO_LONG, NEED_MORE } from "../../src/protocol/redis/request.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";

/** The line's end in every cut, asked from its start each time and from where the last search stopped. */
function endOf(text: string): number {
  const bytes = latin1(text);
  const afresh = feedScan(bytes, (array, start, end) => scanInline(array, start, end, start));
  let searched = 0;
  const resumed = feedScan(bytes, (array, start, end) => {
    const at = scanInline(array, start, end, start + searched);
    searched = end - start;
    return at;
  }, { start0: () => searched = 0 });
  strictEqual(resumed.result, afresh.result);
  return afresh.result;
}

/** The words of a line as a request's text; null for unbalanced quotes. */
function arrayOf(line: string): string | null {
  const bytes = latin1(`before\n${line}\nafter "`);
  const array = inlineToArray(bytes, 7, 7 + line.length + 1);
  return array === BAD_QUOTES ? null : textOf(array);
}

const ENDS: [name: string, text: string, end: number][] = [
  ["CRLF", "PING\r\n", 6],
  ["LF alone", "PING\n", 5],
  ["an empty line", "\r\n", 2],
  ["a lone LF", "\n", 1],
  ["the first of two lines", "PING\r\nGET a\r\n", 6],
  ["no end", "GET a", NEED_MORE],
  ["CR alone", "PING\rPING", NEED_MORE],
];

for (const [name, text, end] of ENDS) {
  // Answers may come before the second line has: what counts is the same end.
  Deno.test(`scanInline() finds ${name}`, () => strictEqual(endOf(text), end));
}

Deno.test("scanInline() takes a line of 64 KiB and refuses a longer one, however it comes", () => {
  const longest = latin1("a".repeat(INLINE_SIZE_MAX - 1) + "\n");
  const longer = latin1("a".repeat(INLINE_SIZE_MAX) + "\n");
  for (const piece of [1000, 65535, 65536, 100_000]) {
    for (const [line, result] of [[longest, longest.length], [longer, INLINE_TOO_LONG]] as const) {
      let got = NEED_MORE;
      let from = 0;
      for (let end = 0; end < line.length && got === NEED_MORE;) {
        end = Math.min(end + piece, line.length);
        got = scanInline(line, 0, end, from);
        from = end;
      }
      strictEqual(got, result, `in pieces of ${piece}`);
    }
  }
});

Deno.test("scanInline() looks at each byte once when a line comes byte by byte", () => {
  let reads = 0;
  const line = latin1("a".repeat(5000) + "\n");
  const array = new Proxy(line, {
    get(target, key) {
      reads++;
      return target[key as unknown as number];
    },
  });
  for (let end = 1; end <= line.length; end++) scanInline(array, 0, end, end - 1);
  strictEqual(reads, line.length);
});

const WORDS: [line: string, words: string[] | null][] = [
  ["", []],
  ["\r", []],
  ["   \t ", []],
  ["PING", ["PING"]],
  ["PING\r", ["PING"]],
  ["  SET  key\tvalue  ", ["SET", "key", "value"]],
  // A CR inside separates words, as \n would.
  ["a\rb\r", ["a", "b"]],
  // Vertical tab and form feed separate words only where no word is under way.
  ["a\vb \f c\f", ["a\vb", "c\f"]],
  ["\v\fa", ["a"]],
  // NUL ends the line, as in C.
  ["a b\0c d", ["a", "b"]],
  ["\0a", []],
  ['a "b\0"', null],
  ['SET k ""', ["SET", "k", ""]],
  ["SET k ''", ["SET", "k", ""]],
  ['""', [""]],
  ['"a b"', ["a b"]],
  ["'a b'", ["a b"]],
  ['"it\'s" \'say "x"\'', ["it's", 'say "x"']],
  // A quote may open inside a word, but a closing one must end it.
  ['a"b c"', ["ab c"]],
  ["a'b c'", ["ab c"]],
  ['"a"b', null],
  ["'a'b", null],
  ['"a""b"', null],
  ["'a'\"b\"", null],
  ['"a"\vb', ["a", "b"]],
  ['"a"\r', ["a"]],
  ['"a', null],
  ["'a", null],
  ['a"', null],
  ['"a\\"', null],
  ["'a\\'", null],
  ['"a\\', null],
  ['"\\n\\r\\t\\b\\a"', ["\n\r\t\b\x07"]],
  ['"\\\\ \\" \\q \\\'"', ["\\ \" q '"]],
  ['"\\x41\\x0a\\xfF\\x00"', ["A\n\xff\0"]],
  ['"\\x4 \\x \\xg1 \\x4g"', ["x4 x xg1 x4g"]],
  ['"\\x4', null],
  ['"\\X41"', ["X41"]],
  ["'\\' \\n \\x41 \\\\ '", ["' \\n \\x41 \\\\ "]],
  ["'\\\\'", null],
  ["a\\nb \\x41 \\", ["a\\nb", "\\x41", "\\"]],
  ["\xff\x80 \xa0", ["\xff\x80", "\xa0"]],
  ["*1 $4", ["*1", "$4"]],
];

for (const [line, words] of WORDS) {
  Deno.test(`inlineToArray() of ${JSON.stringify(line)}`, () => {
    const expected = words === null
      ? null
      : words.length === 0
      ? ""
      : textOf(request(...words.map((w) => latin1(w))));
    strictEqual(arrayOf(line), expected);
  });
}

Deno.test("inlineToArray() returns bytes of its own", () => {
  const bytes = latin1("SET a b\n");
  const array = inlineToArray(bytes, 0, bytes.length);
  ok(array !== BAD_QUOTES);
  const before = textOf(array);
  bytes.fill(0);
  strictEqual(textOf(array), before);
});
