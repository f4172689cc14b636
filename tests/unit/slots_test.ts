/** Slots of a cluster against what real servers say (vectors/slots.json), and who owns them. */
import assert from "node:assert/strict";
import { encode } from "../../src/bytes/ascii.ts";
import { NO_SERVER, Placement } from "../../src/ring/placement.ts";
import type { RingServer } from "../../src/ring/ring.ts";
import { buildSlots, parseSlots, slotHash, slotOfKey, SLOTS, slotsText } from "../../src/ring/slots.ts";
import { Random } from "../sim/random.ts";
import VECTORS from "../vectors/slots.json" with { type: "json" };

function placementOf(...slots: (string | null)[]): Placement {
  const servers: RingServer[] = slots.map((each, i) => ({ name: `h:${i}`, weight: 1, slots: each }));
  return new Placement({
    hash: slotHash,
    distribution: "slots",
    hashTag: encode("{}"),
    servers,
    random: () => {
      throw new Error("nothing is drawn");
    },
  });
}

Deno.test("Placement.slotOf() says what CLUSTER KEYSLOT says", () => {
  assert.ok(VECTORS.slots.length >= 200);
  const placement = placementOf("0-8191", "8192-16383");
  for (const [hex, slot] of VECTORS.slots as [string, number][]) {
    const key = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    const padded = Uint8Array.of(0x7b, ...key, 0x7d);
    assert.equal(placement.slotOf(padded, 1, 1 + key.length), slot, hex);
    assert.equal(placement.serverOf(padded, 1, 1 + key.length), slot < 8192 ? 0 : 1, hex);
    assert.equal(placement.serverOfSlot(slot), slot < 8192 ? 0 : 1, hex);
  }
});

/** CRC16/XMODEM bit by bit. */
function slowSlot(bytes: readonly number[]): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % SLOTS;
}

Deno.test("slotOfKey() takes four bytes at a time, and is what CRC16 is bit by bit, of tags too", () => {
  const random = new Random(7);
  for (let n = 0; n < 5000; n++) {
    const key = Array.from({ length: Math.floor(random.next() * 20) }, () => {
      const drawn = random.next();
      return drawn < 0.08 ? 0x7b : drawn < 0.16 ? 0x7d : Math.floor(random.next() * 256);
    });
    const open = key.indexOf(0x7b);
    const close = open < 0 ? -1 : key.indexOf(0x7d, open);
    const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
    const bytes = Uint8Array.of(0x7b, ...key, 0x7d, 0x61);
    assert.equal(slotOfKey(bytes, 1, 1 + key.length), slowSlot(hashed), String(key));
    assert.equal(slotHash(bytes, 1, 1 + key.length), slowSlot(key), String(key));
  }
});

Deno.test("a slot of nobody's goes to some server, and one that two claim to the first", () => {
  const placement = placementOf("0-99 200", "", "50-150");
  const owners = Array.from({ length: SLOTS }, (_, slot) => placement.serverOfSlot(slot));
  assert.deepEqual(owners.slice(0, 100), new Array(100).fill(0));
  assert.deepEqual(owners.slice(100, 151), new Array(51).fill(2));
  assert.equal(owners[200], 0);
  assert.deepEqual(new Set(owners.slice(201)), new Set([0, 1, 2]));
  assert.equal(placement.serverOfSlot(SLOTS), NO_SERVER);
  assert.equal(placement.serverOfSlot(-1), NO_SERVER);
  // Nobody has said anything yet.
  assert.deepEqual(
    new Set(buildSlots([{ name: "a", weight: 1, slots: "" }], Uint8Array.of(1))!.owners),
    new Set([0]),
  );
  assert.equal(buildSlots([{ name: "a", weight: 1, slots: "" }], Uint8Array.of(0)), null);
});

Deno.test("a placement is that of the same servers with the same slots", () => {
  const servers = (...slots: string[]) =>
    slots.map((each, i) => ({ name: `h:${i}`, weight: 1, slots: each }));
  const placement = placementOf("0-99", "100-16383");
  assert.ok(placement.isOf(servers("0-99", "100-16383")));
  assert.ok(!placement.isOf(servers("0-98", "99-16383")));
});

Deno.test("texts of slots are sorted, joined, and read again", () => {
  assert.equal(slotsText([[7000, 7000], [0, 10], [11, 12], [5, 6]]), "0-12 7000");
  assert.equal(slotsText([]), "");
  assert.deepEqual(parseSlots("0-12 7000"), [[0, 12], [7000, 7000]]);
  assert.deepEqual(parseSlots(""), []);
  for (const bad of ["a", "5-4", "16384", "0-16384", "1  2", " 1", "-1", "1-"]) {
    assert.throws(() => parseSlots(bad), RangeError, bad);
  }
});
