/** Outboxes that share one pool, against plain arrays. A failing run prints its seed and the shortest list of steps. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { poisonChunks } from "../../src/bytes/chunks.ts";
import { Outbox } from "../../src/bytes/outbox.ts";
import { runs } from "../lib/runs.ts";

const BOXES = 3;
poisonChunks();

type Step =
  | { do: "append" | "appendShared"; box: number; size: number; skip: number }
  | { do: "consume"; box: number; part: number }
  | { do: "seal" | "clear"; box: number }
  | { do: "adopt"; box: number; other: number };

const box = fc.nat(BOXES - 1);
/** Around the sizes where chunks double, end, and are shared. */
const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat(3000) },
  { weight: 2, arbitrary: fc.integer({ min: 60_000, max: 70_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 250_000, max: 270_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2_090_000, max: 2_100_000 }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("append" as const), box, size, skip: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("appendShared" as const), box, size, skip: fc.nat(3) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("consume" as const),
      box,
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("seal" as const), box }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const), box }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("adopt" as const), box, other: box }) },
);

/** The model: pieces of bytes, the first `gone` of them consumed. */
class Model {
  bytes: Uint8Array = new Uint8Array(0);
  append(more: Uint8Array): void {
    const all = new Uint8Array(this.bytes.length + more.length);
    all.set(this.bytes);
    all.set(more, this.bytes.length);
    this.bytes = all;
  }
}

function equal(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, count: number): boolean {
  return Buffer.compare(a.subarray(aStart, aStart + count), b.subarray(bStart, bStart + count)) === 0;
}

Deno.test("Outbox equals a plain array after any sequence of steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const boxes = Array.from({ length: BOXES }, () => new Outbox());
      const models = Array.from({ length: BOXES }, () => new Model());
      /** What was lent to a writer, and what it must go on holding until consumed. */
      const lent: { chunk: Uint8Array; start: number; bytes: Uint8Array }[][] = boxes.map(() => []);
      let byte = 0;
      for (const s of steps) {
        const out = boxes[s.box]!;
        const model = models[s.box]!;
        if (s.do === "append" || s.do === "appendShared") {
          const bytes = new Uint8Array(s.skip + s.size + 2).fill(++byte);
          bytes[s.skip] = byte + 100;
          out[s.do](bytes, s.skip, s.skip + s.size);
          model.append(bytes.slice(s.skip, s.skip + s.size));
          if (s.do === "append") bytes.fill(255);
        } else if (s.do === "consume") {
          if (out.size === 0) continue;
          const count = Math.ceil(s.part * (out.end - out.start));
          assert.ok(out.end > out.start, "the first chunk is not empty");
          assert.ok(equal(out.chunk, out.start, model.bytes, 0, out.end - out.start), "the first chunk");
          out.consume(count);
          model.bytes = model.bytes.subarray(count);
          lent[s.box] = [];
        } else if (s.do === "seal") {
          out.seal();
          if (out.size === 0) continue;
          const { chunk, start, end } = out;
          lent[s.box]!.push({ chunk, start, bytes: chunk.slice(start, end) });
        } else if (s.do === "adopt") {
          // What is being written may not go elsewhere.
          if (s.other === s.box || lent[s.other]!.length > 0) continue;
          out.adopt(boxes[s.other]!);
          model.append(models[s.other]!.bytes);
          models[s.other]!.bytes = new Uint8Array(0);
        } else {
          out.clear(lent[s.box]!.length > 0);
          model.bytes = new Uint8Array(0);
        }
        boxes.forEach((b, i) => assert.equal(b.size, models[i]!.bytes.length));
        for (const { chunk, start, bytes } of lent.flat()) {
          assert.ok(equal(chunk, start, bytes, 0, bytes.length), "a lent chunk changed");
        }
      }
      boxes.forEach((out, i) => {
        const { bytes } = models[i]!;
        let at = 0;
        while (out.size > 0) {
          const count = out.end - out.start;
          assert.ok(equal(out.chunk, out.start, bytes, at, count), "what is left");
          at += count;
          out.consume(count);
        }
        assert.equal(at, bytes.length);
      });
    }),
    { numRuns: runs(80) },
  );
});
