/** Chunks are used again, in their size; how many unused ones are kept depends on the load. */
import { notStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  CHUNK_MAX,
  CHUNK_MIN,
  CHUNKS_KEPT,
  dropChunks,
  endOffer,
  giveChunk,
  keepOffered,
  limitChunks,
  offerChunk,
  takeChunk,
  trimChunks,
  unusedChunkBytes,
} from "../../src/bytes/chunks.ts";
import { KEEP_MIN, Outbox } from "../../src/bytes/outbox.ts";
import { thorough } from "../lib/runs.ts";

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

thorough("giveChunk() keeps no array of another size, and not more than it may", () => {
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
  ok(unusedChunkBytes() > CHUNKS_KEPT && unusedChunkBytes() <= 256 * 1024 * 1024);
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

Deno.test("a chunk that is offered goes to the first who wants it, and an outbox wants it only for much", () => {
  const chunk = takeChunk(2 * KEEP_MIN);
  chunk.fill(120);
  for (const [size, kept] of [[KEEP_MIN - 1, false], [KEEP_MIN, true]] as const) {
    const outbox = new Outbox();
    outbox.append(new Uint8Array(3), 0, 3);
    offerChunk(chunk);
    outbox.append(chunk, 5, 5 + size);
    strictEqual(endOffer(), kept);
    outbox.append(new Uint8Array(2), 0, 2);
    const sent = new Uint8Array(outbox.size);
    strictEqual(outbox.moveTo(sent), size + 5);
    ok(sent.subarray(3, 3 + size).every((byte) => byte === 120));
    // Sent, it has come back.
    strictEqual(takeChunk(2 * KEEP_MIN) === chunk, kept);
  }
  offerChunk(chunk);
  ok(!keepOffered(new Uint8Array(1)) && keepOffered(chunk) && !keepOffered(chunk));
  ok(endOffer());
});
