/** How a client's connection ends while the proxy stops. */
import assert from "node:assert/strict";
import { latin1, textOf } from "../lib/bytes.ts";
import { packet } from "../lib/binary.ts";
import { TurnStand } from "../lib/turn_stand.ts";

Deno.test("the last reply of a client that leaves and the end of its connection are one call to its socket", async () => {
  const stand = await TurnStand.make("redis", 1, (work) => work());
  const { socket, read } = stand.join();
  const ping = latin1("*1\r\n$4\r\nPING\r\n");
  socket.give(ping);
  stand.net.run();
  stand.pool.drain();
  // Between two calls a thread may have to wait for its turn, and the client asks on meanwhile.
  const calls: string[] = [];
  for (const name of ["flush", "end"] as const) {
    const call = socket[name].bind(socket);
    socket[name] = () => {
      calls.push(name);
      call();
    };
  }
  socket.give(ping);
  stand.net.run();
  assert.deepEqual(calls, ["end"]);
  assert.deepEqual(read.map((bytes) => textOf(bytes)), ["+PONG\r\n", "+PONG\r\n"]);
  stand.stop();
});

Deno.test("a quiet run of a binary client is not cut while the proxy stops, and holds it up for a moment only", async () => {
  const stand = await TurnStand.make("memcached", 2, (work) => work());
  const { socket, read } = stand.join();
  const client = [...stand.pool.clients].at(-1)!;
  const ask = (...asks: Parameters<typeof packet>[0][]) => {
    socket.give(latin1(asks.map(packet).join("")));
    stand.net.run();
  };
  ask({ opcode: 0x0a, opaque: 1 });
  stand.pool.drain();
  // Its replies settle all that is owed, but the noop is yet to come.
  ask({ opcode: 0x0d, key: "a" }, { opcode: 0x0d, key: "b" }, { opcode: 0x0d, key: "c" });
  assert.deepEqual([client.resting, client.closing, client.head], [false, false, null]);
  ask({ opcode: 0x0d, key: "d" }, { opcode: 0x0a, opaque: 2 });
  assert.ok(client.closing);
  const last = read.map((bytes) => textOf(bytes)).join("").slice(-24);
  assert.equal(last, packet({ opcode: 0x0a, opaque: 2, lies: { magic: 0x81 } }));
  const idle = stand.join();
  const resting = [...stand.pool.clients].at(-1)!;
  idle.socket.give(latin1(packet({ opcode: 0x0d, key: "a" })));
  stand.net.run();
  assert.equal(resting.resting, false);
  stand.net.pass(400);
  assert.equal(resting.resting, true);
  stand.stop();
});
