import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Outbox, SHARE_MIN } from "../../src/bytes/outbox.ts";
import { thorough } from "../lib/runs.ts";

/** `size` bytes that start with `first` and count up. */
function run(first: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => first + i);
}

/** Takes everything out, in steps of at most `step`. */
function drain(out: Outbox, step = Infinity): number[] {
  const bytes: number[] = [];
  while (out.size > 0) {
    const count = Math.min(step, out.end - out.start);
    assert.ok(count > 0);
    bytes.push(...out.chunk.subarray(out.start, out.start + count));
    out.consume(count);
  }
  return bytes;
}

Deno.test("Outbox append() copies: the array may change afterwards", () => {
  const out = new Outbox();
  const bytes = run(1, 10);
  out.append(bytes, 2, 6);
  bytes.fill(0);
  assert.equal(out.size, 4);
  assert.deepEqual(drain(out), [3, 4, 5, 6]);
});

Deno.test("Outbox append() of no bytes holds nothing", () => {
  const out = new Outbox();
  out.append(run(1, 3), 1, 1);
  out.appendShared(run(1, 3), 1, 1);
  assert.equal(out.size, 0);
});

Deno.test("Outbox append() gathers small pieces into one chunk", () => {
  const out = new Outbox();
  for (let i = 0; i < 1000; i++) out.append(run(i, 40), 0, 40);
  assert.equal(out.end - out.start, 40_000);
});

Deno.test("Outbox append() takes what is larger than any pooled chunk", () => {
  const out = new Outbox();
  out.append(run(0, 5), 0, 5);
  out.append(run(5, 1_000_000), 0, 1_000_000);
  out.append(run(0, 5), 0, 5);
  assert.equal(out.size, 1_000_010);
  const bytes = drain(out, 12_345);
  assert.equal(bytes.length, 1_000_010);
  assert.ok(bytes.slice(0, 1_000_005).every((byte, i) => byte === (i & 255)));
});

thorough("Outbox appendShared() does not copy from SHARE_MIN on", () => {
  for (const [size, shared] of [[SHARE_MIN - 1, false], [SHARE_MIN, true]] as const) {
    const out = new Outbox();
    const bytes = run(0, size + 2);
    out.append(run(9, 1), 0, 1);
    out.appendShared(bytes, 1, size + 1);
    out.consume(1);
    assert.equal(out.chunk === bytes, shared);
    if (shared) assert.equal(out.end - out.start, size);
    assert.equal(out.size, size);
    assert.equal(out.chunk[out.start], 1);
  }
});

thorough("Outbox adopt() keeps the order and leaves the other empty", () => {
  const out = new Outbox();
  const other = new Outbox();
  const empty = new Outbox();
  out.append(run(1, 2), 0, 2);
  other.append(run(3, 1), 0, 1);
  other.appendShared(run(4, SHARE_MIN), 0, SHARE_MIN);
  other.append(run(9, 2), 0, 2);
  out.adopt(other);
  out.adopt(empty);
  assert.deepEqual([out.size, other.size], [SHARE_MIN + 5, 0]);
  out.append(run(11, 1), 0, 1);
  assert.deepEqual([drain(other), drain(out, 1000).slice(0, 4)], [[], [1, 2, 3, 4]]);
});

Deno.test("Outbox moveTo() fills an array with all it holds", () => {
  const out = new Outbox();
  out.append(run(0, 300_000), 0, 300_000);
  out.append(run(5, 2), 0, 2);
  const to = new Uint8Array(300_002);
  assert.equal(out.moveTo(to), 300_002);
  assert.equal(out.size, 0);
  assert.deepEqual([...to.subarray(299_999)], [299_999 & 255, 5, 6]);
});

thorough("Outbox appendShared() keeps its place between appends, and its array is never written to", () => {
  const out = new Outbox();
  const big = run(7, SHARE_MIN);
  out.append(run(1, 3), 0, 3);
  out.appendShared(big, 0, SHARE_MIN);
  out.append(run(1, 3), 0, 3);
  const bytes = drain(out, 1000);
  assert.deepEqual(bytes.slice(0, 4), [1, 2, 3, 7]);
  assert.deepEqual(bytes.slice(-3), [1, 2, 3]);
  const more = run(1, 100_000);
  for (let i = 0; i < 100; i++) out.append(more, 0, more.length);
  assert.equal(Buffer.compare(big, run(7, SHARE_MIN)), 0);
});

Deno.test("Outbox seal() keeps later appends out of the chunk that is being written", () => {
  const out = new Outbox();
  out.append(run(1, 3), 0, 3);
  out.seal();
  const { chunk, start, end } = out;
  out.append(run(4, 3), 0, 3);
  assert.deepEqual([out.chunk === chunk, out.start, out.end, out.size], [true, start, end, 6]);
  out.seal();
  assert.equal(out.chunk, chunk);
  out.consume(2);
  assert.deepEqual(drain(out), [3, 4, 5, 6]);
});

Deno.test("Outbox clear(lent) does not hand the lent chunk to another outbox: its write is still under way", () => {
  const out = new Outbox();
  out.append(run(1, 3000), 0, 3000);
  out.seal();
  const { chunk } = out;
  out.append(run(1, 3), 0, 3);
  out.clear(true);
  assert.equal(out.size, 0);
  const others = Array.from({ length: 50 }, () => new Outbox());
  for (const other of others) {
    other.append(new Uint8Array(3000), 0, 3000);
    assert.notEqual(other.chunk, chunk);
  }
  assert.deepEqual(chunk.subarray(0, 3000), run(1, 3000));
  for (const other of others) other.clear();
});

Deno.test("Outbox consume() of a sealed chunk gives it back for the next", () => {
  const out = new Outbox();
  out.append(run(1, 10), 0, 10);
  out.seal();
  const { chunk } = out;
  out.consume(10);
  out.append(run(1, 10), 0, 10);
  assert.equal(out.chunk, chunk);
  out.clear();
});

thorough("Outbox chunks of one never hold another's bytes, whatever order they empty in", () => {
  const boxes = Array.from({ length: 20 }, () => new Outbox());
  for (let round = 0; round < 20; round++) {
    boxes.forEach((out, i) => out.append(run(i + round, 500 * (i + 1)), 0, 500 * (i + 1)));
    boxes.forEach((out, i) => {
      if ((i + round) % 3 === 0) return;
      const bytes = drain(out, 700);
      // What has gathered is one run a round.
      let at = 0;
      for (let r = round - bytes.length / (500 * (i + 1)) + 1; r <= round; r++) {
        for (let k = 0; k < 500 * (i + 1); k++) assert.equal(bytes[at++], (i + r + k) & 255);
      }
    });
  }
  for (const out of boxes) out.clear();
});
