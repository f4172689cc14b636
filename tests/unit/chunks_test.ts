/** Chunks are used again, in their size; how many unused ones are kept depends on the load. */
import { notStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  CHUNK_MAX,
  CHUNK_MIN,
  CHUNKS_KEPT,
  dropChunks,
  giveChunk,
  limitChunks,
  takeChunk,
  trimChunks,
  unusedChunkBytes,
} from "../../src/bytes/chunks.ts";

/** Takes chunks of `size` bytes worth `bytes`, and gives them back. */
function use(bytes: number, size = CHUNK_MAX): void {
  const taken = Array.from({ length: bytes / size }, () => takeChunk(size));
  taken.forEach(giveChunk);
}

Deno.test("chunks are of the next size, and come back to who asks for that size", () => {
  dropChunks(0);
  for (
    const [asked, got] of [[1, CHUNK_MIN], [CHUNK_MIN + 1, 2 * CHUNK_MIN], [100_000, 128 * 1024], [
      CHUNK_MAX,
      CHUNK_MAX,
    ]]
  ) {
    const chunk = takeChunk(asked!);
    strictEqual(chunk.length, got);
    giveChunk(chunk);
    strictEqual(takeChunk(got!), chunk);
    notStrictEqual(takeChunk(got!), chunk);
  }
  strictEqual(takeChunk(CHUNK_MAX + 1).length, CHUNK_MAX + 1);
});

Deno.test("giveChunk() keeps no array of another size, and not more than it may", () => {
  dropChunks(0);
  giveChunk(new Uint8Array(CHUNK_MIN - 1));
  giveChunk(new Uint8Array(2 * CHUNK_MAX));
  strictEqual(unusedChunkBytes(), 0);
  for (const [limit, kept] of [[3 * CHUNK_MAX, CHUNKS_KEPT], [12 * CHUNK_MAX, 12 * CHUNK_MAX]]) {
    limitChunks(limit!);
    use(16 * CHUNK_MAX);
    strictEqual(unusedChunkBytes(), kept);
  }
  limitChunks(Infinity);
  use(1024 * CHUNK_MAX / 8);
  ok(unusedChunkBytes() > CHUNKS_KEPT && unusedChunkBytes() <= 64 * 1024 * 1024);
  dropChunks(0);
});

Deno.test("trimChunks() lets go what nobody has used since the last time, and only that", () => {
  dropChunks(0);
  trimChunks();
  use(2 * CHUNKS_KEPT);
  strictEqual(trimChunks(), 0, "used just now");
  use(2 * CHUNKS_KEPT);
  strictEqual(trimChunks(), 0, "and again");
  giveChunk(takeChunk(CHUNK_MAX));
  strictEqual(trimChunks(), CHUNKS_KEPT, "but one");
  strictEqual(unusedChunkBytes(), CHUNKS_KEPT);
  strictEqual(trimChunks(), 0);
  dropChunks(0);
});
