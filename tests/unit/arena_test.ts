/** Copies that outlive the view they came in: whatever happens to the view or to later copies, they stay as they were. */
import { notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Arena } from "../../src/bytes/arena.ts";
import { giveChunk } from "../../src/bytes/chunks.ts";
import { textOf } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";

Deno.test("Arena.keep() copies are not changed by the view, nor by later copies", () => {
  const random = new Random(1);
  const arena = new Arena();
  const view = new Uint8Array(20_000);
  const kept: { bytes: Uint8Array; start: number; end: number; text: string }[] = [];
  for (let i = 0; i < 600; i++) {
    const length = random.pick([0, 1, 5, 47, 48, 49, 300, 2047, 2048, 2049, 16_384, 16_385]);
    const start = random.below(view.length - length);
    for (let at = start; at < start + length; at++) view[at] = random.below(256);
    arena.keep(view, start, start + length);
    const { bytes, start: s, end: e } = arena;
    strictEqual(e - s, length);
    kept.push({ bytes, start: s, end: e, text: textOf(view, start, start + length) });
    view.fill(0);
  }
  for (const { bytes, start, end, text } of kept) ok(textOf(bytes, start, end) === text);
});

Deno.test("Arena.keep() puts small copies side by side and gives a large one a chunk of its own", () => {
  const arena = new Arena();
  const view = new Uint8Array(4096).fill(7);
  arena.keep(view, 0, 10);
  const { bytes, end } = arena;
  arena.keep(view, 0, 2048);
  strictEqual(arena.bytes, bytes);
  strictEqual(arena.start, end);
  arena.keep(view, 0, 2049);
  notStrictEqual(arena.bytes, bytes);
  ok(arena.own);
  strictEqual(arena.start, 0);
  // Given back, it serves the next.
  const chunk = arena.bytes;
  giveChunk(chunk);
  arena.keep(view, 0, 4096);
  strictEqual(arena.bytes, chunk);
  arena.keep(view, 0, 3);
  ok(!arena.own);
  strictEqual(arena.bytes, bytes);
  strictEqual(arena.start, end + 2048);
});

Deno.test("Arena.keep() of nothing needs no array", () => {
  const arena = new Arena();
  arena.keep(new Uint8Array(0), 0, 0);
  strictEqual(arena.end - arena.start, 0);
  strictEqual(arena.bytes.length, 0);
});

Deno.test("Arena.keep() starts a new array where a copy would run over the end by a byte", () => {
  const view = new Uint8Array(2048).fill(7);
  for (const left of [0, 1, 2, 47]) {
    for (const length of [left, left + 1, left + 2]) {
      const arena = new Arena();
      for (let i = 0; i < 7; i++) arena.keep(view, 0, 2048);
      arena.keep(view, 0, 2048 - left);
      const { bytes, end } = arena;
      strictEqual(bytes.length - end, left);
      arena.keep(view, 0, length);
      strictEqual(arena.bytes === bytes, length <= left);
      strictEqual(textOf(arena.bytes, arena.start, arena.end), "\x07".repeat(length));
    }
  }
});

Deno.test("Arena.keepBoth() keeps two ranges as one, where keep() would", () => {
  const arena = new Arena();
  const view = new Uint8Array(4096).map((_, i) => i);
  const rest = new Uint8Array([101, 102]);
  for (const length of [0, 1, 33, 2046, 2047, 4000]) {
    arena.keepBoth(view, 3, 3 + length, rest);
    const { bytes, start, end } = arena;
    arena.keep(new Uint8Array(9), 0, 9);
    strictEqual(textOf(bytes, start, end), textOf(view, 3, 3 + length) + "ef");
    strictEqual(bytes === arena.bytes, length + 2 <= 2048);
  }
});
