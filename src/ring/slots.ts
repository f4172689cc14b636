/**
 * Slots of a Redis Cluster: every key is in one of 16,384, and a server owns some of them.
 *
 *   key ──► hash tag {} ──► CRC16 mod 16384 ──► slot ──► the server that owns it
 *
 * Redis' rule for hash tags is that of hash_tag.ts with "{}". A slot that nobody owns leads to some server: it knows what is wrong
 * and says it.
 * Source: Redis' cluster specification (CRC-16/XMODEM). Checked against CLUSTER KEYSLOT of a real server (tests/vectors/slots.json).
 */
import { tagEnd } from "./hash_tag.ts";
import type { Ring, RingServer } from "./ring.ts";

export const SLOTS = 16384;

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

const SECOND = 256;
const THIRD = 512;
const FOURTH = 768;
const TABLE = /* @__PURE__ */ makeTable();

/** The slot of `bytes[start, end)`, which is the key, or what its hash tag marks. Bytes are borrowed; nothing is allocated. */
export function slotHash(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0;
  let i = start;
  // Four at a time: one after the other each byte would wait for the one before.
  for (; i + 4 <= end; i += 4) crc = four(crc, bytes[i]!, bytes[i + 1]!, bytes[i + 2]!, bytes[i + 3]!);
  for (; i < end; i++) crc = one(crc, bytes[i]!);
  return crc & (SLOTS - 1);
}

function one(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ TABLE[(crc >>> 8) ^ byte]!;
}

/** As `one` for four bytes. */
function four(crc: number, a: number, b: number, c: number, d: number): number {
  return TABLE[FOURTH + ((crc >>> 8) ^ a)]! ^ TABLE[THIRD + ((crc & 0xff) ^ b)]! ^ TABLE[SECOND + c]! ^
    TABLE[d]!;
}

/** The slot of the key `bytes[start, end)`, by its hash tag if it has one, in one pass. Borrowed; nothing is allocated. */
export function slotOfKey(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    const a = bytes[i]!;
    const b = bytes[i + 1]!;
    const c = bytes[i + 2]!;
    const d = bytes[i + 3]!;
    if (a === OPEN_BRACE || b === OPEN_BRACE || c === OPEN_BRACE || d === OPEN_BRACE) break;
    crc = four(crc, a, b, c, d);
  }
  for (; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === OPEN_BRACE) {
      const to = tagEnd(bytes, i + 1, end, CLOSE_BRACE);
      return to < 0 ? slotHash(bytes, start, end) : slotHash(bytes, i + 1, to);
    }
    crc = one(crc, byte);
  }
  return crc & (SLOTS - 1);
}

/** What a byte makes of the CRC, and, 256 entries further each, what it makes of it with one, two and three bytes behind it. */
function makeTable(): Uint16Array {
  const table = new Uint16Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[i] = crc;
  }
  for (let i = 256; i < table.length; i++) {
    const before = table[i - 256]!;
    table[i] = ((before << 8) & 0xffff) ^ table[before >>> 8]!;
  }
  return table;
}

/** First and last of some slots that follow each other. */
export type SlotRange = readonly [first: number, last: number];

/** The ranges of "0-5460 7000"; none of "". Throws a RangeError for anything else. */
export function parseSlots(text: string): SlotRange[] {
  if (text === "") return [];
  return text.split(" ").map((range) => {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(range);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!(first <= last && last < SLOTS)) throw new RangeError(`found ${range}, expected a range of slots`);
    return [first, last];
  });
}

/** "0-5460 7000" of any ranges: sorted, those that touch made one. */
export function slotsText(ranges: readonly SlotRange[]): string {
  const joined: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(" ");
}

/** Who owns which slot; what it is asked for are slots, in place of hashes. */
export class SlotRing implements Ring {
  /** @param owners a server index each; kept */
  constructor(readonly owners: Uint16Array) {}

  lookup(slot: number): number {
    return this.owners[slot]!;
  }

  pointsOf(index: number): number {
    return this.owners.reduce((count, owner) => owner === index ? count + 1 : count, 0);
  }
}

/** In place of a server's index. */
export const NOBODY = 0xffff;

/** As BuildRing. A slot that two claim is the first one's; one of nobody's, or of a server that is not live, goes to any. */
export function buildSlots(servers: readonly RingServer[], live: Uint8Array): SlotRing | null {
  const present = servers.flatMap((_, i) => live[i] === 0 ? [] : [i]);
  if (present.length === 0) return null;
  const owners = ownersOf(present.map((i) => servers[i]!));
  for (let slot = 0; slot < SLOTS; slot++) {
    const owner = owners[slot]!;
    owners[slot] = present[owner === NOBODY ? slot % present.length : owner]!;
  }
  return new SlotRing(owners);
}

/** By slot the index of its owner, or NOBODY; of two that claim it the first. */
export function ownersOf(servers: readonly { readonly slots?: string | null }[]): Uint16Array {
  const owners = new Uint16Array(SLOTS).fill(NOBODY);
  for (let i = servers.length - 1; i >= 0; i--) {
    for (const [first, last] of parseSlots(servers[i]!.slots ?? "")) owners.fill(i, first, last + 1);
  }
  return owners;
}
