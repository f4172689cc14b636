/** Decimal numbers in byte arrays, and the ASCII helpers beside them. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { copy, encode, equalsFolded, latin1 as textOf } from "../../src/bytes/ascii.ts";
import { decimalLength, parseDecimal, writeDecimal } from "../../src/bytes/decimal.ts";
import { latin1 } from "../lib/bytes.ts";

/** Where the number of digits or a float's precision could go wrong. */
function* numbers(): Generator<number> {
  for (let n = 0; n < 1200; n++) yield n;
  for (let power = 10; power < Number.MAX_SAFE_INTEGER; power *= 10) {
    yield* [power - 1, power, power + 1, power * 9];
  }
  for (let bits = 8; bits < 53; bits++) yield* [2 ** bits - 1, 2 ** bits, 2 ** bits + 1];
  yield* [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1, 9007199254740989, 999999999999999];
}

Deno.test("writeDecimal() and decimalLength() write what String() does", () => {
  const bytes = new Uint8Array(40);
  for (const n of numbers()) {
    if (n > Number.MAX_SAFE_INTEGER) continue;
    bytes.fill(255);
    const end = writeDecimal(bytes, 5, n);
    strictEqual(textOf(bytes, 5, end), String(n));
    strictEqual(decimalLength(n), String(n).length);
    strictEqual(bytes[4], 255);
    strictEqual(bytes[end], 255);
  }
});

Deno.test("parseDecimal() reads back what writeDecimal() wrote, up to 15 digits", () => {
  const bytes = new Uint8Array(40).fill(57);
  for (const n of numbers()) {
    if (n > Number.MAX_SAFE_INTEGER) continue;
    strictEqual(parseDecimal(bytes, 3, writeDecimal(bytes, 3, n)), n < 1e15 ? n : -1);
  }
});

const PARSED: [text: string, value: number][] = [
  ["", -1],
  ["0", 0],
  ["007", 7],
  ["000000000000000", 0],
  ["0000000000000000", -1],
  ["999999999999999", 999999999999999],
  ["1000000000000000", -1],
  ["-1", -1],
  ["+1", -1],
  ["1 ", -1],
  [" 1", -1],
  ["1x", -1],
  ["x", -1],
  ["1.", -1],
  ["/", -1],
  [":", -1],
  ["\xb1", -1],
];

for (const [text, value] of PARSED) {
  Deno.test(`parseDecimal() of ${JSON.stringify(text)}`, () => {
    const bytes = latin1(`9${text}9`);
    strictEqual(parseDecimal(bytes, 1, 1 + text.length), value);
  });
}

Deno.test("parseDecimal() of an end before the start", () =>
  strictEqual(parseDecimal(latin1("123"), 2, 1), -1));

Deno.test("latin1() gives byte n as character n", () => {
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i);
  strictEqual(textOf(bytes), String.fromCharCode(...bytes));
  strictEqual(textOf(bytes, 128, 160), String.fromCharCode(...bytes.subarray(128, 160)));
  strictEqual(textOf(bytes, 5, 5), "");
});

Deno.test("copy() copies exactly what it is told, short and long", () => {
  for (const length of [0, 1, 2, 47, 48, 49, 50, 200]) {
    for (const start of [0, 1, 7]) {
      const from = Uint8Array.from({ length: length + start + 3 }, (_, i) => i + 1);
      const to = new Uint8Array(length + 10);
      strictEqual(copy(to, 4, from, start, start + length), 4 + length);
      const expected = new Uint8Array(length + 10);
      expected.set(from.subarray(start, start + length), 4);
      deepStrictEqual(to, expected);
    }
  }
  const from = Uint8Array.from({ length: 100 }, (_, i) => i);
  const to = new Uint8Array(100);
  copy(to, 0, from, 0, 100);
  deepStrictEqual(to, from);
});

const FOLDED: [text: string, word: string, equal: boolean][] = [
  ["get", "GET", true],
  ["GeT", "GET", true],
  ["GET", "GET", true],
  ["GETS", "GET", false],
  ["GE", "GET", false],
  ["", "", true],
  // Not letters: 32 below them lie other signs.
  ["{}", "[]", false],
  ["`", "@", false],
  ["get-it|1", "GET-IT|1", true],
  ["g\xe5t", "G\xc5T", false],
];

for (const [text, word, equal] of FOLDED) {
  Deno.test(`equalsFolded() of ${JSON.stringify(text)} and ${JSON.stringify(word)}`, () => {
    const bytes = latin1(`x${text}x`);
    strictEqual(equalsFolded(bytes, 1, 1 + text.length, latin1(word)), equal);
  });
}

Deno.test("encode() makes UTF-8", () => deepStrictEqual([...encode("aä€")], [97, 195, 164, 226, 130, 172]));
