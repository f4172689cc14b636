/** What becomes of a server's reply to a binary client's packet: the packet that memcached would have sent, silence, or "not mine". */
import assert from "node:assert/strict";
import { BinaryGets } from "../../src/memcached/binary_gets.ts";
import { BinaryRequest, KEY_BYTES, KeyedRequest } from "../../src/memcached/binary_request.ts";
import { GetPace } from "../../src/memcached/get_pace.ts";
import { Packet } from "../../src/protocol/memcached/binary.ts";
import type { Client } from "../../src/proxy/client.ts";
import { Request } from "../../src/proxy/request.ts";
import { Turn } from "../../src/proxy/turn.ts";
import { allSaid, number, type Said } from "../lib/binary.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { SimClock } from "../sim/clock.ts";

/** A client that only writes down what it is told, and "silence" where that is nothing. */
class Told {
  text = "";
  silences = 0;
  errors = 0;

  deliver(request: Request, bytes: Uint8Array, start: number, end: number): void {
    if (request.muted) this.silences++;
    else this.text += textOf(bytes, start, end);
  }

  deliverHeaded(
    request: Request,
    head: Uint8Array,
    headEnd: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    this.text += textOf(head, 0, headEnd);
    this.deliver(request, bytes, start, end);
  }

  /** What it counts of keys under way. */
  readonly session = { binary: { keyBytes: 0 } };

  countForwardError(): void {
    this.errors++;
  }

  get said(): Said[] {
    const { said, rest } = allSaid(this.text);
    assert.equal(rest, "");
    return said;
  }
}

function requestOf(told: Told, opcode: number, key = "", opaque = -7): BinaryRequest {
  const packet = new Packet();
  packet.opcode = opcode;
  packet.opaque = opaque;
  const client = told as unknown as Client;
  if (key === "") return new BinaryRequest(client, packet, 5);
  told.session.binary.keyBytes += key.length + KEY_BYTES;
  return new KeyedRequest(client, packet, 5, latin1(key));
}

function addTo(batch: BinaryGets, told: Told, opcode: number, opaque: number, key: string): void {
  const request = new Request(told as unknown as Client);
  batch.addPacket(request, latin1(key), 0, key.length, opcode, opaque);
}

function finished(
  opcode: number,
  reply: string,
  key = "",
): { fits: boolean; told: Told; request: BinaryRequest } {
  const told = new Told();
  const request = requestOf(told, opcode, key);
  const bytes = latin1(`??${reply}`);
  return { fits: request.finish(bytes, 2, bytes.length), told, request };
}

Deno.test("BinaryRequest makes a packet of the reply, with its own opcode and opaque", () => {
  const { told, request } = finished(0x01, "HD c258\r\n");
  const [said] = told.said;
  assert.deepEqual([said!.opcode, said!.status, said!.opaque, said!.cas], [1, 0, 0xfffffff9, 258n]);
  assert.equal(request.client, null, "the connection has nothing more for it");
  assert.equal(request.waiting, 0);
  assert.equal(request.check & 0xff, 5, "what the front looks at is as it was");
  assert.equal(Object.keys(request).length, Object.keys(new Request(null)).length, "no larger a record");
});

Deno.test("BinaryRequest: what is quiet is silent where nothing is wrong, and only there", () => {
  for (
    const [opcode, reply] of [[0x11, "HD c1\r\n"], [0x14, "HD\r\n"], [0x15, "VA 1 c1\r\n5\r\n"], [
      0x1e,
      "END\r\n",
    ]] as const
  ) {
    const { told } = finished(opcode, reply, "k");
    assert.deepEqual([told.text, told.silences], ["", 1]);
  }
  for (
    const [opcode, reply, status] of [
      [0x11, "EX\r\n", 2],
      [0x12, "NS\r\n", 2],
      [0x14, "NF\r\n", 1],
      [0x1e, "SERVER_ERROR x\r\n", 0x84],
    ] as const
  ) {
    const { told } = finished(opcode, reply, "k");
    assert.deepEqual(told.said.map((said) => [said.opcode, said.status]), [[opcode, status]]);
  }
});

Deno.test("BinaryRequest: hits and misses have the key where they are asked to", () => {
  const hit = finished(0x23, "VALUE k\xff 5 3 9\r\nabc\r\nEND\r\n", "k\xff").told.said[0]!;
  assert.deepEqual([hit.key, hit.extras, hit.value, hit.cas], ["k\xff", number(5, 4), "abc", 9n]);
  const odd = finished(0x0c, "VA 3 b f5 c9\r\nabc\r\n", "a b").told.said[0]!;
  assert.deepEqual([odd.key, odd.extras, odd.value], ["a b", number(5, 4), "abc"]);
  const miss = finished(0x23, "EN\r\n", "a b").told.said[0]!;
  assert.deepEqual([miss.status, miss.key, miss.value], [1, "a b", ""]);
  assert.deepEqual(finished(0x1d, "END\r\n", "k").told.said[0]!.value, "Not found");
});

Deno.test("BinaryRequest refuses the value of another key, and of what it did not ask for", () => {
  assert.equal(finished(0x1d, "VALUE kk 5 3 9\r\nabc\r\nEND\r\n", "k").fits, false);
  assert.equal(finished(0x1d, "VALUE k 5 3\r\nabc\r\nEND\r\n", "k").fits, false);
  assert.equal(finished(0x01, "VALUE k 5 3 9\r\nabc\r\nEND\r\n", "k").fits, false);
  assert.equal(finished(0x01, "HD\r\n").fits, false);
  assert.equal(finished(0x1d, "VALUE k 5 3 9\r\nabc\r\nVALUE j 5 3 9\r\nabc\r\nEND\r\n", "k").fits, false);
  // The value of "a", whose flags are 1, is not that of "a 1".
  assert.equal(finished(0x1d, "VALUE a 1 2 3\r\nxx\r\nEND\r\n", "a 1").fits, false);
  const value = latin1("VALUE a 1 2 3\r\nxx\r\n");
  assert.equal(requestOf(new Told(), 0x1d, "a 1").takeParts(value, 0, value.length), false);
});

Deno.test("BinaryRequest: a gat's value may leave before its END, once", () => {
  const told = new Told();
  const request = requestOf(told, 0x1d, "k");
  const value = latin1("VALUE k 5 3 9\r\nabc\r\n");
  assert.ok(request.takeParts(value, 0, value.length));
  assert.equal(told.said[0]!.value, "abc");
  assert.equal(request.takeParts(value, 0, value.length), false);
  assert.ok(request.finish(latin1("END\r\n"), 0, 5));
  assert.equal(told.said.length, 1);
});

Deno.test("BinaryRequest: when its server fails, it is told in text's words; when its client is gone, nobody is", () => {
  const told = new Told();
  requestOf(told, 0x11).fail(latin1("SERVER_ERROR Connection refused\r\n"));
  assert.deepEqual(told.said.map(({ opcode, status, value }) => [opcode, status, value]), [[
    0x11,
    0x84,
    "Connection refused",
  ]]);
  assert.equal(told.errors, 1);
  const gone = requestOf(told, 0x01);
  gone.client = null;
  assert.ok(gone.finish(latin1("HD c1\r\n"), 0, 7));
  gone.fail(latin1("SERVER_ERROR x\r\n"));
  assert.equal(told.said.length, 1);
});

Deno.test("BinaryGets gives each its packet: hits with keys, misses, silence; and an error to whoever has nothing", () => {
  const batch = new BinaryGets();
  batch.begin(latin1("gets"), 1, new GetPace(new Turn(new SimClock())));
  const told = [new Told(), new Told(), new Told(), new Told()];
  const opcodes = [0x0d, 0x09, 0x0c, 0x00];
  told.forEach((one, i) => addTo(batch, one, opcodes[i]!, i, `k${i}`));
  const bytes = latin1("VALUE k0 1 1 5\r\nx\r\nVALUE k3 2 2 18446744073709551615\r\nEN\r\nEND\r\n");
  assert.ok(batch.finish(bytes, 0, bytes.length));
  assert.deepEqual(
    told.map(({ said }) => said.map(({ key, value, status, opaque }) => [key, value, status, opaque])),
    [
      [["k0", "x", 0, 0]],
      [],
      [["k2", "", 1, 2]],
      [["", "EN", 0, 3]],
    ],
  );
  assert.equal(told[1]!.silences, 1);
  assert.equal(told[3]!.said[0]!.cas, 2n ** 64n - 1n);

  batch.begin(latin1("gets"), 1, new GetPace(new Turn(new SimClock())));
  const failing = new Told();
  addTo(batch, failing, 0x09, 0, "k");
  batch.fail(latin1("SERVER_ERROR x\r\n"));
  assert.deepEqual(failing.said.map(({ status }) => status), [0x84]);
  assert.equal(failing.errors, 1);
});

Deno.test("BinaryGets: a value without cas answers no gets, so the connection is out of step", () => {
  const pace = new GetPace(new Turn(new SimClock()));
  const batch = new BinaryGets();
  const told = [new Told(), new Told()];
  const begin = () => {
    batch.begin(latin1("gets"), 1, pace);
    told.forEach((one, i) => addTo(batch, one, 0x00, i, `k${i}`));
  };
  begin();
  const value = latin1("VALUE k0 1 1\r\nx\r\n");
  assert.equal(batch.takeParts(value, 0, value.length), false);
  batch.fail(latin1("SERVER_ERROR x\r\n"));
  begin();
  const reply = latin1("VALUE k0 1 1\r\nx\r\nEND\r\n");
  assert.equal(batch.finish(reply, 0, reply.length), false);
  batch.fail(latin1("SERVER_ERROR x\r\n"));
  assert.deepEqual(told.map(({ said }) => said.map(({ status }) => status)), [[0x84, 0x84], [0x84, 1]]);
  begin();
  const well = latin1("VALUE k0 1 1 7\r\nx\r\nEND\r\n");
  assert.ok(batch.finish(well, 0, well.length), "the next line begins anew");
});
