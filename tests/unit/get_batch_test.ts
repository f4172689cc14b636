/** Gets of many clients in one line: each gets what one memcached would have told it alone, and nobody another's. */
import assert from "node:assert/strict";
import type { Client } from "../../src/proxy/client.ts";
import { BATCH_KEYS_MAX, GetBatch } from "../../src/memcached/get_batch.ts";
import { GetPace } from "../../src/memcached/get_pace.ts";
import { Request } from "../../src/proxy/request.ts";
import { Turn } from "../../src/proxy/turn.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";
import { SimClock } from "../sim/clock.ts";

const GET = 1;
const GETS = 2;

/** A client that only writes down what it is told. */
class Told {
  text = "";
  errors = 0;

  deliver(_: Request, bytes: Uint8Array, start: number, end: number): void {
    this.text += textOf(bytes, start, end);
  }

  deliverBoth(_: Request, bytes: Uint8Array, start: number, end: number, rest: Uint8Array): void {
    this.text += textOf(bytes, start, end) + textOf(rest, 0, rest.length);
  }

  countForwardError(): void {
    this.errors++;
  }
}

const PACE = new GetPace(new Turn(new SimClock()));

function batchOf(...keys: string[]): { batch: GetBatch; told: Told[]; requests: Request[] } {
  const batch = new GetBatch();
  batch.begin(latin1("get"), GET, PACE);
  const told = keys.map(() => new Told());
  const requests = told.map((client) => new Request(client as unknown as Client));
  keys.forEach((key, i) => batch.add(requests[i]!, latin1(`<${key}>`), 1, 1 + key.length));
  return { batch, told, requests };
}

const value = (key: string, data = "x") => `VALUE ${key} 0 ${data.length}\r\n${data}\r\n`;

function finish(batch: GetBatch, reply: string): boolean {
  // Offsets that are not 0 show who forgets to add one.
  const bytes = latin1("??" + reply);
  return batch.finish(bytes, 2, bytes.length);
}

Deno.test("GetBatch writes one line with all keys", () => {
  const { batch } = batchOf("a", "bb", "a");
  batch.close();
  assert.equal(textOf(batch.bytes, 0, batch.end), "get a bb a\r\n");
});

Deno.test("GetBatch gives each its value, and END to who has none", () => {
  const { batch, told, requests } = batchOf("a", "b", "c");
  assert(finish(batch, value("a", "1") + value("c", "END\r\nVALUE b 0 0") + "END\r\n"));
  assert.deepEqual(told.map((client) => client.text), [
    value("a", "1") + "END\r\n",
    "END\r\n",
    value("c", "END\r\nVALUE b 0 0") + "END\r\n",
  ]);
  assert.equal(batch.waiting, 0);
  assert(requests.every((request) => request.client === null), "the connection has nothing more for them");
});

Deno.test("GetBatch takes values in any order, and two of one key", () => {
  const { batch, told } = batchOf("a", "b", "a", "c");
  assert(finish(batch, value("c") + value("a", "1") + value("b") + value("a", "2") + "END\r\n"));
  assert.deepEqual(told.map((client) => client.text.split("\r\n")[1]), ["1", "x", "2", "x"]);
});

Deno.test("GetBatch does not take a key for another that begins like it", () => {
  const { batch, told } = batchOf("key", "ke", "keys");
  assert(finish(batch, value("keys") + "END\r\n"));
  assert.deepEqual(told.map((client) => client.text === "END\r\n"), [true, true, false]);
});

Deno.test("GetBatch gives everybody an error that stands for the whole reply", () => {
  const { batch, told } = batchOf("a", "b");
  assert(finish(batch, "SERVER_ERROR out of memory\r\n"));
  assert.deepEqual(told.map((client) => client.text), Array(2).fill("SERVER_ERROR out of memory\r\n"));
});

const NO_REPLIES: readonly [string, string][] = [
  ["a value that nobody asked for", value("z") + "END\r\n"],
  ["a value twice", value("a") + value("a") + "END\r\n"],
  ["an error behind a value", value("a") + "SERVER_ERROR x\r\n"],
  ["a value that ends behind the reply", "VALUE a 0 100\r\nx\r\nEND\r\n"],
];
for (const [name, reply] of NO_REPLIES) {
  Deno.test(`GetBatch refuses ${name}, and who has nothing yet can still be told`, () => {
    const { batch, told } = batchOf("a", "b");
    assert.equal(finish(batch, reply), false);
    batch.fail(latin1("SERVER_ERROR failed\r\n"));
    assert.equal(told[1]!.text, "SERVER_ERROR failed\r\n");
    assert.equal(told[1]!.errors, 1);
    assert.equal(told[0]!.text.split("END\r\n").length + told[0]!.errors, 2, "one reply each");
  });
}

Deno.test("GetBatch delivers values as they come, and passes over clients that are gone", () => {
  const { batch, told, requests } = batchOf("a", "b", "c");
  requests[1]!.client = null;
  const first = latin1(value("a"));
  assert.equal(batch.takeParts(first, 0, first.length), true);
  assert.equal(told[0]!.text, value("a") + "END\r\n");
  assert.equal(batch.waiting, 2);
  assert(finish(batch, value("b") + "END\r\n"));
  assert.deepEqual(told.map((client) => client.text), [value("a") + "END\r\n", "", "END\r\n"]);
});

Deno.test("GetBatch knows whose value is coming in, once its key is here", () => {
  const { batch, told } = batchOf("a", "bc");
  const bytes = latin1(value("bc"));
  for (let end = 0; end <= bytes.length; end++) {
    const known = batch.receiver(bytes, 0, end);
    assert.equal(known, end < "VALUE bc ".length ? null : told[1], `after ${end} bytes`);
  }
});

Deno.test("GetBatch takes gets of one command only, while there is room", () => {
  const { batch } = batchOf("a");
  assert(batch.takes(GET, 250, 64));
  assert(!batch.takes(GETS, 1, 64));
  assert(!batch.takes(GET, 1, 1), "the server's values are large");
  while (batch.takes(GET, 1, 1000)) batch.add(new Request(null), latin1("k"), 0, 1);
  assert.equal(batch.size, BATCH_KEYS_MAX);
  const long = latin1("k".repeat(250));
  const { batch: full } = batchOf("a");
  while (full.takes(GET, 250, 1000)) full.add(new Request(null), long, 0, 250);
  full.close();
  assert(full.end <= 2048 && full.end > 2048 - 2 * 251, `${full.end} bytes`);
});

Deno.test("GetBatch can be used again", () => {
  const { batch } = batchOf("a", "b");
  finish(batch, value("a") + "END\r\n");
  batch.begin(latin1("gets"), GETS, PACE);
  const told = new Told();
  batch.add(new Request(told as unknown as Client), latin1("c"), 0, 1);
  batch.close();
  assert.equal(textOf(batch.bytes, 0, batch.end), "gets c\r\n");
  assert(finish(batch, "VALUE c 5 1 77\r\ny\r\nEND\r\n"));
  assert.equal(told.text, "VALUE c 5 1 77\r\ny\r\nEND\r\n");
});

for (let seed = 1; seed <= 20; seed++) {
  Deno.test(`GetBatch in any pieces does what one memcached would, seed ${seed}`, () => {
    const random = new Random(seed);
    const keys = Array.from({ length: 1 + random.below(BATCH_KEYS_MAX) }, () => `k${random.below(40)}`);
    const { batch, told } = batchOf(...keys);
    const has = (key: string) => (Number(key.slice(1)) * seed) % 3 !== 0;
    const blocks = keys.filter(has).map((key) => value(key, key.repeat(random.below(9))));
    const owed = keys.map(() => "END\r\n");
    let hit = 0;
    keys.forEach((key, i) => {
      if (has(key)) owed[i] = blocks[hit++]! + "END\r\n";
    });
    let piece = "";
    for (const block of blocks) {
      piece += block;
      if (random.below(3) > 0) continue;
      const bytes = latin1(piece);
      assert(batch.takeParts(bytes, 0, bytes.length));
      piece = "";
    }
    assert(finish(batch, piece + "END\r\n"));
    assert.deepEqual(told.map((client) => client.text), owed);
  });
}
