/** What a simulated client counts as sent: a request that crossed the end of its connection is none that the proxy has had. */
import assert from "node:assert/strict";
import type { Handler, Socket } from "../../src/net/net.ts";
import { SimClock } from "./clock.ts";
import { type Judge, silence } from "./expect.ts";
import { CALM } from "./faults.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { SimClient } from "./sim_client.ts";
import type { Step } from "./step.ts";
import { Truth } from "./truth.ts";

const ADDRESS = { host: "127.0.0.1", port: 22121 };
const NOREPLY: Step = { bytes: "delete a noreply\r\n", expects: [silence("delete a noreply")], last: false };
const QUIT: Step = { bytes: "quit\r\n", expects: [{ ...silence("quit"), last: true }], last: true };
const BOTH: Step = {
  bytes: NOREPLY.bytes.repeat(2),
  expects: [...NOREPLY.expects, ...NOREPLY.expects],
  last: false,
};
const NOTHING: Step = { bytes: "", expects: [], last: false };

/** Its connection may end at any time. */
const JUDGE: Judge = {
  truth: new Truth(),
  isFailure: () => false,
  isFailureOnRing: () => false,
  mayLackScripts: () => false,
  isMismatch: () => false,
  isRefusal: () => false,
  had: () => true,
  hadSinceItCame: () => true,
  keysMoved: () => false,
  password: null,
  mayNeedPassword: false,
  mayCut: () => true,
};
const MANNERS = { requests: 0, batchMax: 1, patient: true, thinkMaxMs: 0, lazy: 0, vanish: 0, cut: 0 };

/**
 * A client says `steps` to somebody who ends the connection before that has arrived.
 * @param read so many bytes have arrived before
 */
function crossed(steps: readonly Step[], read: number): SimClient {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1), {
    faults: { ...CALM, latencyMinMs: 1, latencyMaxMs: 1, cutRead: 0, shortWrite: 0 },
  });
  let serving: Socket | null = null;
  let over = false;
  const server: Handler = {
    open: (socket) => serving = socket,
    data: () => {},
    eof: (socket) => socket.end(),
    drain: () => {},
    close: () => {},
  };
  net.listen(ADDRESS, server, { backlog: 1, reusePort: false, keepAlive: false });
  const workload = {
    hello: () => NOTHING,
    next: () => NOTHING,
    epilogue: () => NOTHING,
    goodbye: () => NOTHING,
    blocks: false,
  };
  const manners = { ...MANNERS, leave: "stay" as const };
  const client = new SimClient(
    1,
    false,
    manners,
    workload,
    JUDGE,
    net,
    clock,
    new Random(2),
    () => over = true,
  );
  client.connect(ADDRESS);
  clock.setTimer(50, () => {
    const all = steps.map(({ bytes }) => bytes).join("");
    const whole = {
      bytes: all.slice(0, read),
      expects: steps.flatMap(({ expects }) => expects),
      last: steps.at(-1)!.last,
    };
    client.submit(whole, false, steps);
    clock.setTimer(10, () => {
      client.socket!.send(new TextEncoder().encode(all), read, all.length);
      client.socket!.flush();
      serving!.end();
    });
  });
  while (!over && clock.turn());
  assert.ok(client.closed);
  return client;
}

Deno.test("SimClient takes back what crossed the end of its connection, and nothing else", () => {
  const size = NOREPLY.bytes.length;
  assert.equal(crossed([NOREPLY, NOREPLY], size).counted, 1);
  assert.equal(crossed([NOREPLY, QUIT], size).counted, 1);
  assert.equal(crossed([NOREPLY, QUIT], size + 2).counted, 1);
  assert.equal(crossed([NOREPLY, QUIT], size + QUIT.bytes.length).counted, 2);
  assert.equal(crossed([NOREPLY, QUIT], 1).counted, 0);
  for (const read of [1, size, size + QUIT.bytes.length]) assert.ok(crossed([NOREPLY, QUIT], read).clean);
});

Deno.test("SimClient does not know how many of a group in pieces have arrived", () => {
  assert.equal(crossed([BOTH], 5).clean, false);
  assert.equal(crossed([NOREPLY, BOTH], NOREPLY.bytes.length + 5).clean, false);
  const none = crossed([NOREPLY, BOTH], NOREPLY.bytes.length);
  assert.deepEqual([none.clean, none.counted], [true, 1]);
});
