/** A SentLog against a plain list of bytes: appended in any sizes, forgotten and taken out in any others. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { SHARE_MIN } from "../../src/bytes/outbox.ts";
import { SentLog } from "../../src/bytes/sent_log.ts";
import { Random } from "../sim/random.ts";

const SIZES = [0, 1, 44, 1000, 20_000, 300_000, SHARE_MIN];
/** Each is its place, of which it is the lowest eight bits. */
const PATTERN = Uint8Array.from({ length: SHARE_MIN + 2 * 256 }, (_, i) => i & 0xff);

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`SentLog gives back what it was given, in its order (seed ${seed})`, () => {
    const random = new Random(seed);
    const draw = (n: number) => Math.floor(random.next() * n);
    const log = new SentLog();
    const sizes: number[] = [];
    let next = 0;
    let first = 0;
    for (let step = 0; step < 1200; step++) {
      // Mostly small ones, and now and then so much that it does not fit into one array.
      const size = SIZES[draw(step % 500 < 20 ? SIZES.length : 4)]!;
      if (draw(100) < (step % 100 < 60 ? 65 : 30)) {
        // Its bytes tell where in all they are; one more on either side is not to be taken.
        const from = next + 255 & 0xff;
        const bytes = PATTERN.slice(from, from + size + 2);
        if (log.appendHere(bytes, 1, size + 1)) {
          const given: number[] = [];
          log.giveLast(size, {
            send: (some, start, end) => given.push(...some.subarray(start, Math.min(end, start + 4))),
          });
          assert.deepEqual(
            given,
            [...bytes.subarray(1, Math.min(5, size + 1))],
            "what was appended last is given",
          );
        } else log.append(bytes, 1, size + 1);
        sizes.push(size);
        next += size;
      } else if (sizes.length > 0) {
        const count = sizes.shift()!;
        if (draw(2) === 0) log.skip(count);
        else {
          const taken = log.take(count);
          assert.equal(taken.length, count);
          const from = first & 0xff;
          const same = Buffer.compare(taken, PATTERN.subarray(from, from + count)) === 0;
          assert(same, `${count} bytes after ${step} steps`);
        }
        first += count;
      }
      assert.equal(log.size, next - first);
    }
    log.clear();
    assert.equal(log.size, 0);
  });
}

Deno.test("SentLog.prepend() goes before all that is there", () => {
  const log = new SentLog();
  log.append(Uint8Array.of(3, 4), 0, 2);
  log.prepend(Uint8Array.of(1, 2));
  log.append(Uint8Array.of(5), 0, 1);
  assert.deepEqual([...log.take(5)], [1, 2, 3, 4, 5]);
});
