/** The unparsed tail of a socket: against a plain list of bytes, and how much it copies and holds. */
import { ok, strictEqual } from "node:assert/strict";
import { CHUNK_MIN, takeChunk } from "../../src/bytes/chunks.ts";
import { Inbox } from "../../src/bytes/inbox.ts";
import { textOf } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";
import { thorough } from "../lib/runs.ts";

const MIB = 1024 * 1024;

function contentOf(inbox: Inbox): string {
  return textOf(inbox.bytes, inbox.start, inbox.end);
}

for (let seed = 1; seed <= 20; seed++) {
  Deno.test(`Inbox holds what a list of bytes would, seed ${seed}`, () => {
    const random = new Random(seed);
    const inbox = new Inbox();
    let model = "";
    for (let step = 0; step < 400; step++) {
      switch (random.below(6)) {
        case 0:
        case 1:
        case 2: {
          const view = random.bytes(random.pick([0, 1, 2, 30, 47, 48, 49, 500, 513, 3000]));
          const start = random.below(view.length + 1);
          inbox.append(view, start, view.length);
          model += textOf(view, start);
          view.fill(0);
          break;
        }
        case 3: {
          const count = random.below(model.length + 1);
          inbox.consumeTo(inbox.start + count);
          model = model.slice(count);
          break;
        }
        case 4:
          inbox.reserve(random.below(5000));
          break;
        case 5: {
          const { bytes, start } = inbox;
          const count = random.below(model.length + 1);
          inbox.pin();
          inbox.unpin(start + count, true);
          model = model.slice(count);
          if (bytes.length > 0) ok(inbox.bytes !== bytes, "what is left of a shared array moves to another");
          bytes.fill(0);
          break;
        }
      }
      ok(contentOf(inbox) === model, `step ${step}`);
      strictEqual(inbox.size, model.length);
      ok(inbox.start <= inbox.end && inbox.end <= inbox.bytes.length);
      if (step % 100 === 99) {
        inbox.clear();
        model = "";
      }
    }
  });
}

Deno.test("Inbox holds no memory between messages", () => {
  const inbox = new Inbox();
  strictEqual(inbox.bytes.length, 0);
  inbox.append(new Uint8Array(100_000), 0, 100_000);
  inbox.consumeTo(inbox.end);
  strictEqual(inbox.bytes.length, 0);
  inbox.append(new Uint8Array(10), 0, 10);
  inbox.clear();
  strictEqual(inbox.bytes.length, 0);
  inbox.pin();
  inbox.unpin(inbox.end, true);
  strictEqual(inbox.bytes.length, 0);
});

/** Appends `total` bytes in pieces, as a connection does; returns how many bytes were copied to bigger arrays. */
function copied(inbox: Inbox, total: number, piece: number, reserve: (inbox: Inbox) => void): number {
  const view = new Uint8Array(piece);
  let moved = 0;
  while (inbox.size < total) {
    let { bytes, size } = inbox;
    inbox.append(view, 0, Math.min(piece, total - size));
    if (inbox.bytes !== bytes) moved += size;
    ({ bytes, size } = inbox);
    reserve(inbox);
    if (inbox.bytes !== bytes) moved += size;
    ok(
      inbox.heldBytes <= Math.max(512, 2 * inbox.size + MIB),
      "no more memory than twice the bytes and a MiB",
    );
  }
  return moved;
}

for (const piece of [1, 7, 8, 100, 1024, 65536]) {
  thorough(`Inbox copies a message in pieces of ${piece} in linear work`, () => {
    const total = piece < 100 ? 100_000 : 5_000_000;
    ok(copied(new Inbox(), total, piece, () => {}) <= 2 * total);
    ok(copied(new Inbox(), total, piece, (inbox) => inbox.reserve(total)) <= 2 * total, "size known");
    // A request of many small arguments: each scan stops at one and asks for a little more.
    for (const ahead of [1, 5, 14, 300]) {
      ok(
        copied(new Inbox(), total, piece, (inbox) => inbox.reserve(inbox.size + ahead)) <= 4 * total,
        `asked for ${ahead} more each time`,
      );
    }
  });
}

Deno.test("Inbox makes room for what was announced, but at first not more than 256 KiB ahead", () => {
  const view = new Uint8Array(10_000);
  const inbox = new Inbox();
  inbox.append(view, 0, 1000);
  inbox.reserve(10_000);
  strictEqual(inbox.bytes.length, 1000);
  inbox.append(view, 0, 1);
  const bytes = inbox.bytes;
  strictEqual(bytes.length, 16 * 1024);
  inbox.append(view, 1001, 10_000);
  strictEqual(inbox.bytes, bytes);
  strictEqual(inbox.size, 10_000);
  inbox.reserve(2 ** 40);
  inbox.append(view, 0, 10_000);
  strictEqual(inbox.bytes.length, 512 * 1024);
});

Deno.test("Inbox leaps to a large size expected, and is charged for what has come", () => {
  const view = new Uint8Array(64 * 1024);
  const total = 13 * MIB;
  const inbox = new Inbox();
  ok(copied(inbox, total, view.length, (inbox) => inbox.reserve(total)) <= MIB);
  strictEqual(inbox.heldBytes, total);
  inbox.clear();
  inbox.append(view, 0, view.length);
  inbox.reserve(2 ** 40);
  while (inbox.size < MIB) inbox.append(view, 0, view.length);
  ok(inbox.bytes.length <= 65 * MIB, "not more than 64 MiB ahead");
  strictEqual(inbox.heldBytes, MIB);
});

Deno.test("Inbox gives its array back unless it is pinned or shared", () => {
  const view = new Uint8Array(CHUNK_MIN);
  const inbox = new Inbox();
  const leave: Record<string, [() => void, boolean]> = {
    "cleared": [() => inbox.clear(), true],
    "cleared while pinned": [() => (inbox.pin(), inbox.clear(), inbox.unpin(0, false)), false],
    "read to the end": [() => (inbox.pin(), inbox.unpin(inbox.end, false)), true],
    "read to the end and shared": [() => (inbox.pin(), inbox.unpin(inbox.end, true)), false],
    "read and shared": [() => (inbox.pin(), inbox.unpin(inbox.end - 1, true), inbox.clear()), false],
  };
  for (const [how, [run, returns]] of Object.entries(leave)) {
    inbox.append(view, 0, view.length);
    const { bytes } = inbox;
    run();
    strictEqual(takeChunk(CHUNK_MIN) === bytes, returns, how);
  }
});

Deno.test("Inbox forgets what was announced when that message has been consumed", () => {
  const view = new Uint8Array(1000);
  const inbox = new Inbox();
  inbox.append(view, 0, 1000);
  inbox.reserve(MIB);
  inbox.consumeTo(990);
  inbox.append(view, 0, 1000);
  strictEqual(inbox.size, 1010);
  strictEqual(inbox.bytes.length, 1010);
});
