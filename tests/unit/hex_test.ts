import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { encode } from "../../src/bytes/ascii.ts";
import { hexOf, unhex } from "../../src/bytes/hex.ts";

Deno.test("unhex() is the way back from hexOf(), of every byte", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const text = hexOf(bytes);
  strictEqual(text.length, 512);
  strictEqual(hexOf(bytes, 9, 12), "090a0b");
  deepStrictEqual(unhex(encode(text)), bytes);
  deepStrictEqual(unhex(encode(text.toUpperCase())), bytes);
  deepStrictEqual(unhex(encode(`x${text}x`), 1, 513), bytes);
  deepStrictEqual(unhex(encode("")), new Uint8Array());
});

Deno.test("unhex() of anything else is null", () => {
  // The neighbours of digits and letters, and letters of no ASCII.
  for (const text of ["6", "6g", "0x", "/0", "0:", "@0", "G0", "`0", "g0", "-1", " 1", "é", "١٢"]) {
    strictEqual(unhex(encode(text)), null, text);
  }
});
