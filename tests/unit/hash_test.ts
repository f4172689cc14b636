/** Hashes against values recorded from twemproxy 0.5.0 (vectors/hash.json) and against published check values. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { encode } from "../../src/bytes/ascii.ts";
import { HASHES, type HashName } from "../../src/hash/hash.ts";
import { md5Into } from "../../src/hash/md5.ts";
import VECTORS from "../vectors/hash.json" with { type: "json" };

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

Deno.test("HASHES has the names of twemproxy, in its order", () => {
  assert.deepEqual(Object.keys(HASHES), VECTORS.hashes);
});

for (const name of Object.keys(HASHES) as HashName[]) {
  Deno.test(`${name}() gives twemproxy's value for every recorded key`, () => {
    assert.ok(VECTORS.vectors.length >= 28, "the vectors are all there");
    for (const vector of VECTORS.vectors) {
      const key = fromHex(vector.hex);
      assert.equal(key.length, vector.length, `length of ${vector.hex}`);
      assert.equal(HASHES[name](key, 0, key.length), vector.hash[name], `${name} of ${vector.hex}`);
    }
  });
}

Deno.test("the hashes of arm64 builds are not ours", () => {
  let count = 0;
  for (const vector of VECTORS.vectors) {
    const key = fromHex(vector.hex);
    for (const [name, value] of Object.entries(vector.unsigned_char_variant ?? {})) {
      assert.notEqual(HASHES[name as HashName](key, 0, key.length), value, `${name} of ${vector.hex}`);
      count++;
    }
  }
  assert.ok(count > 0);
});

/** What each file's header states. crc32a, the low half of crc16, fnv and md5 are published; the rest is as measured. */
const CHECKS: Readonly<Record<HashName, number>> = {
  one_at_a_time: 0xc66b58c5,
  md5: 0x94e7f925,
  crc16: 0x869031c3,
  crc32: 0x4bf4,
  crc32a: 0xcbf43926,
  fnv1_64: 0x2bf916d6,
  fnv1a_64: 0x23c6cdfc,
  fnv1_32: 0x24148816,
  fnv1a_32: 0xbb86b11c,
  hsieh: 0xe4fc1670,
  murmur: 0xb7760690,
  jenkins: 0x19777af6,
};

for (const [name, check] of Object.entries(CHECKS)) {
  Deno.test(`${name}() gives the check value in its header`, async () => {
    assert.equal(HASHES[name as HashName](encode("123456789"), 0, 9), check);
    const file = new URL(`../../src/hash/${name}.ts`, import.meta.url);
    assert.match(
      await Deno.readTextFile(file),
      new RegExp(`check "123456789": 0x0*${check.toString(16)}\\b`),
    );
  });
}

Deno.test("md5Into() gives whole digests around every block border", () => {
  const out = new Int32Array(4);
  for (let length = 0; length <= 200; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + length);
    md5Into(bytes, 0, length, out);
    const digest = new Uint8Array(16);
    const view = new DataView(digest.buffer);
    out.forEach((word, i) => view.setInt32(i * 4, word, true));
    assert.deepEqual(digest, new Uint8Array(createHash("md5").update(bytes).digest()), `${length} bytes`);
  }
});
