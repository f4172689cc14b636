/**
 * The in-memory memcached (src/demo/memory_memcached.ts) where a comparison with a real server cannot look: time,
 * limits, requests cut anywhere. Its replies are compared in tests/real/demo_memcached_test.ts.
 */
import assert from "node:assert/strict";
import { MemoryMemcached, type MemoryMemcachedSession } from "../../src/demo/memory_memcached.ts";
import { latin1, textOf } from "../lib/bytes.ts";

const START_MS = 1_700_000_000_000;

function setUp() {
  const time = { nowMs: START_MS };
  const memory = new MemoryMemcached({ nowMs: () => time.nowMs });
  return { time, memory, session: memory.session() };
}

function ask(session: MemoryMemcachedSession, text: string): string {
  return textOf(session.feed(latin1(text)));
}

Deno.test("MemoryMemcached lets items die at their time and not before", () => {
  const { time, session } = setUp();
  const steps: [atS: number, request: string, reply: string][] = [
    [0, "set a 0 10 1\r\nx\r\n", "STORED\r\n"],
    [0, `set b 0 ${START_MS / 1000 + 20} 1\r\nx\r\n`, "STORED\r\n"],
    [0, "ms c 1 T30\r\nx\r\n", "HD\r\n"],
    [9.9, "get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"],
    [10, "get a\r\n", "END\r\n"],
    [19, "touch b 5\r\n", "TOUCHED\r\n"],
    [23, "mg b t v\r\n", "VA 1 t1\r\nx\r\n"],
    [24, "get b\r\n", "END\r\n"],
    [29, "gat 100 c\r\n", "VALUE c 0 1\r\nx\r\nEND\r\n"],
    [30, "mg c t\r\n", "HD t99\r\n"],
    [30, "flush_all 5\r\n", "OK\r\n"],
    [34, "mg c l\r\n", "HD l4\r\n"],
    [35, "mg c\r\n", "EN\r\n"],
    [35, "set d 0 -1 1\r\nx\r\nget d\r\n", "STORED\r\nEND\r\n"],
  ];
  for (const [atS, request, reply] of steps) {
    time.nowMs = START_MS + atS * 1000;
    assert.equal(ask(session, request), reply, `${request} after ${atS} s`);
  }
});

Deno.test("MemoryMemcached answers the same however requests are cut", () => {
  const stream =
    "set a 5 0 3\r\n\r\nx\r\nget a b\r\nadd b 0 0 2 noreply\r\nhi\r\nmg b v\r\nset c 0 0 2\r\ntoo long\r\nincr a 1\r\n" +
    "ms d 1 q\r\n1\r\nma d v\r\nquit\r\nget a\r\n";
  const whole = ask(setUp().session, stream);
  assert.equal(
    whole,
    "STORED\r\nVALUE a 5 3\r\n\r\nx\r\nEND\r\nVA 2\r\nhi\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\n" +
      "CLIENT_ERROR cannot increment or decrement non-numeric value\r\nVA 1\r\n2\r\n",
  );
  const bytes = latin1(stream);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const { session } = setUp();
    const first = bytes.slice(0, cut);
    const replies = textOf(session.feed(first));
    first.fill(0xdd);
    assert.equal(replies + textOf(session.feed(bytes.subarray(cut))), whole, `cut at ${cut}`);
    assert.ok(session.ended);
  }
});

Deno.test("a number that becomes shorter keeps its length", () => {
  const { session } = setUp();
  assert.equal(
    ask(session, "set n 0 0 3\r\n100\r\ndecr n 1\r\nget n\r\n"),
    "STORED\r\n99\r\nVALUE n 0 3\r\n99 \r\nEND\r\n",
  );
  assert.equal(
    ask(session, "set n 0 0 1\r\n9\r\nincr n 1\r\nget n\r\n"),
    "STORED\r\n10\r\nVALUE n 0 2\r\n10\r\nEND\r\n",
  );
});

Deno.test("an item that is too large is refused, and the old one goes", () => {
  const { session } = setUp();
  const largest = 1024 * 1024 - 48 - 8 - 1 - 1 - 2;
  assert.equal(ask(session, `set k 0 0 ${largest}\r\n${"x".repeat(largest)}\r\n`), "STORED\r\n");
  assert.equal(
    ask(session, `set k 0 0 ${largest + 1}\r\n${"x".repeat(largest + 1)}\r\nget k\r\n`),
    "SERVER_ERROR object too large for cache\r\nEND\r\n",
  );
});

Deno.test("a line that does not end closes the connection, unless it is a get", () => {
  const { memory, session } = setUp();
  assert.equal(ask(session, "x".repeat(2049)), "");
  assert.ok(session.ended);
  const patient = memory.session();
  assert.equal(ask(patient, "get " + "k ".repeat(2000)), "");
  assert.ok(!patient.ended);
  assert.equal(ask(patient, "\r\n"), "END\r\n");
});
