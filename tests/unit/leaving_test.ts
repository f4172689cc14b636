/** How a client's connection ends while the proxy stops. */
import assert from "node:assert/strict";
import { latin1, textOf } from "../lib/bytes.ts";
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
