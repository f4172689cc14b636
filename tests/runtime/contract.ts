/**
 * The thirteen rules of src/net/net.ts as tests of a `Net`: run against Deno, Bun and the simulator's network. It talks
 * through the seam only. What needs a peer of another make (half close, reset, descriptors) is in kernel_contract.ts.
 */
import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import type { Address, Clock, Net } from "../../src/net/net.ts";
import {
  assertNoBreach,
  connect,
  Dice,
  type Hooks,
  Host,
  inside,
  LISTEN,
  LOOPBACK,
  type Peer,
  STREAM_MAX,
  until,
} from "./peer.ts";

export type Register = (name: string, run: () => Promise<void>) => void;

const MIB = 1 << 20;
const ANY: Address = { host: LOOPBACK, port: 0 };

/**
 * Registers the cases.
 * @param unixDir an empty folder for sockets; null for a network that has none
 */
export function contract(net: Net, clock: Clock, register: Register, unixDir: string | null): void {
  const wait = (holds: () => boolean, what: string) => until(clock, holds, what);
  const turn = () => new Promise<void>((resolve) => clock.afterTurn(resolve));
  const closed = (...peers: Peer[]) => wait(() => peers.every((p) => p.closes > 0), "close");

  const test = (name: string, run: () => Promise<void>) =>
    register(name, async () => {
      await run();
      for (let i = 0; i < 3; i++) await turn();
      assertNoBreach();
    });

  /** A connected pair; the listener is closed again. */
  async function pair(hooks: Hooks = {}, hostHooks: Hooks = {}, address = ANY): Promise<[Peer, Peer]> {
    const host = await Host.listen(net, address, hostHooks);
    const client = connect(net, host.address, hooks);
    await wait(() => client.opens > 0 && host.accepted.length > 0, "a pair");
    host.close();
    return [client, host.accepted[0]!];
  }

  /** Ends both and sees that each closes once, in order. */
  async function part(a: Peer, b: Peer): Promise<void> {
    a.end();
    await wait(() => b.eofs > 0, "eof of the other side");
    b.end();
    await closed(a, b);
    assert.deepEqual([a.closes, a.error, b.closes, b.error], [1, null, 1, null]);
  }

  /** When nothing more can be under way: a message has gone to and fro on another connection. */
  async function settle(): Promise<void> {
    const [a, b] = await pair({}, { data: (peer) => (peer.send(1), peer.flush()) });
    a.send(1);
    a.flush();
    await wait(() => a.receivedBytes === 1, "an echo");
    await part(a, b);
  }

  /** Sends `total` bytes, holding back while `queuedMax` are queued. */
  async function pump(
    peer: Peer,
    total: number,
    dice: Dice,
    sizeMax: number,
    queuedMax = MIB,
  ): Promise<void> {
    while (peer.sentBytes < total && peer.closes === 0) {
      const size = Math.min(1 + dice.roll(sizeMax), total - peer.sentBytes);
      const kind = dice.roll(10);
      if (kind < 2) peer.send(size, true);
      else if (kind < 8 || size > STREAM_MAX) peer.send(size);
      else peer.sendScratch(size);
      if (dice.roll(3) > 0) peer.flush();
      if (dice.roll(8) === 0) await turn();
      if (peer.socket.queuedBytes > queuedMax) {
        const before = peer.drains;
        peer.flush();
        if (peer.socket.queuedBytes > 0) await wait(() => peer.drains > before || peer.closes > 0, "drain");
      }
    }
    peer.flush();
  }

  const addresses: [string, Address][] = [["tcp", ANY]];
  if (unixDir !== null) addresses.push(["unix", { path: `${unixDir}/pair.sock` }]);
  for (const [kind, address] of addresses) {
    test(`connect() and listen() over ${kind}: open, data, eof, close, each in its place`, async () => {
      const [a, b] = await pair({}, {}, address);
      assert.match(b.socket.peer(), kind === "tcp" ? /^127\.0\.0\.1:\d+$/ : /^unix$/);
      assert.match(a.socket.peer(), kind === "tcp" ? /^127\.0\.0\.1:\d+$/ : /^unix$/);
      assert.equal(b.socket.local(), a.socket.peer());
      assert.equal(a.socket.local(), b.socket.peer());
      a.send(100);
      a.flush();
      await wait(() => b.receivedBytes === 100, "100 bytes");
      b.send(200);
      b.flush();
      await wait(() => a.receivedBytes === 200, "200 bytes");
      await part(a, b);
      assert.equal(
        b.heard.filter((event) => event !== "drain" && event !== "data").join(" "),
        "open eof close",
      );
      assert.equal(a.heard.filter((event) => event !== "drain" && event !== "data").join(" "), "open close");
      assert.match(b.socket.peer(), kind === "tcp" ? /^127\.0\.0\.1:\d+$/ : /^unix$/);
    });

    test(`8 MiB each way at once over ${kind}, with pauses, arrive whole and in order`, async () => {
      const total = 8 * MIB;
      const dice = new Dice(7);
      const stutter: Hooks = {
        data: (peer) => {
          if (dice.roll(4) > 0) return;
          peer.pause();
          if (dice.roll(2) > 0) clock.afterTurn(() => peer.resume());
          else clock.setTimer(1, () => peer.resume());
        },
      };
      const [a, b] = await pair(stutter, stutter, address);
      await Promise.all([pump(a, total, new Dice(1), 300_000), pump(b, total, new Dice(2), 300_000)]);
      await wait(() => a.receivedBytes === total && b.receivedBytes === total, "8 MiB each way");
      assert.deepEqual([a.socket.queuedBytes, a.socket.flushedBytes], [0, total]);
      await part(a, b);
    });
  }

  test("send() many small pieces arrive in order", async () => {
    const [a, b] = await pair();
    await pump(a, 300_000, new Dice(3), 70);
    await wait(() => b.receivedBytes === 300_000, "all pieces");
    await part(a, b);
  });

  test("sendChunks() keeps its place among send(), and leaves an empty outbox", async () => {
    const [a, b] = await pair();
    for (let size = 1; size <= STREAM_MAX; size *= 4) {
      a.send(3);
      a.sendChunks(size);
      a.send(5);
      a.sendChunks(size + 1);
      a.flush();
    }
    await wait(() => b.receivedBytes === a.sentBytes, "all of it");
    await part(a, b);
  });

  test("sendShared() of arrays of all sizes keeps its place among send()", async () => {
    const [a, b] = await pair();
    for (let size = 1; size <= STREAM_MAX; size *= 4) {
      a.send(3);
      a.send(size, true);
      a.send(size + 1, true);
      a.flush();
    }
    const total = a.sentBytes;
    await wait(() => b.receivedBytes === total, "all arrays");
    await part(a, b);
  });

  test("send() does not write before flush()", async () => {
    const [a, b] = await pair();
    a.send(10);
    await settle();
    assert.deepEqual([b.receivedBytes, a.socket.queuedBytes, a.socket.flushedBytes], [0, 10, 0]);
    a.flush();
    await wait(() => b.receivedBytes === 10, "10 bytes");
    await part(a, b);
  });

  test("flush() and end() with nothing to send", async () => {
    const [a, b] = await pair();
    a.flush();
    a.send(0);
    a.flush();
    await settle();
    assert.equal(b.receivedBytes, 0);
    await part(a, b);
  });

  test("drain() follows back pressure, with nothing queued", async () => {
    const [a, b] = await pair();
    b.pause();
    let unmoved = 0;
    for (let held = -1; unmoved < 5;) {
      if (a.socket.queuedBytes < 2 * MIB) a.send(MIB);
      a.flush();
      await turn();
      await new Promise<void>((resolve) => void clock.setTimer(2, resolve));
      unmoved = a.socket.queuedBytes === held ? unmoved + 1 : 0;
      held = a.socket.queuedBytes;
    }
    const drains = a.drains;
    await settle();
    assert.equal(a.drains, drains);
    b.resume();
    await wait(() => a.drains > drains, "drain");
    const total = a.sentBytes;
    await wait(() => b.receivedBytes === total, "everything");
    assert.equal(a.socket.queuedBytes, 0);
    await part(a, b);
  });

  test("pause() lets at most one more data through, resume() the rest; both may be repeated", async () => {
    const [a, b] = await pair({}, { data: (peer) => (peer.pause(), peer.pause()) });
    const total = 4 * MIB;
    const sending = pump(a, total, new Dice(4), 200_000);
    while (b.receivedBytes < total) {
      const before = b.receivedBytes;
      b.resume();
      b.resume();
      await wait(() => b.receivedBytes > before, "data after resume");
      await turn();
    }
    await sending;
    b.resume();
    await part(a, b);
  });

  test("pause() in open holds the first bytes back", async () => {
    const [a, b] = await pair({}, { open: (peer) => peer.pause() });
    a.send(50);
    a.flush();
    await settle();
    assert.equal(b.heard.filter((event) => event === "data").length <= 1, true);
    b.resume();
    await wait(() => b.receivedBytes === 50, "50 bytes");
    await part(a, b);
  });

  test("end() loses nothing while the peer goes on sending and reads slowly", async () => {
    const total = 8 * MIB;
    const chatter = (peer: Peer) => {
      if (peer.closes > 0 || peer.eofs > 0) return;
      if (peer.socket.queuedBytes < 4 * MIB) peer.send(100_000);
      peer.flush();
      clock.setTimer(1, () => chatter(peer));
    };
    const [a, b] = await pair({}, {
      open: chatter,
      data: (peer) => {
        peer.pause();
        clock.setTimer(1, () => peer.resume());
      },
    });
    a.send(total);
    a.end();
    a.send(10);
    await wait(() => b.eofs > 0 || b.closes > 0, "eof");
    assert.equal(b.receivedBytes, total);
    assert.equal(b.error, null);
    b.end();
    await closed(a, b);
    assert.equal(a.error, null);
  });

  test("end() of a paused socket and of one that had eof", async () => {
    const [a, b] = await pair();
    a.pause();
    b.send(300_000);
    b.flush();
    await settle();
    a.end();
    await wait(() => b.eofs > 0, "eof");
    b.send(1000);
    b.end();
    await closed(a, b);
    assert.deepEqual([a.error, b.error], [null, null]);
  });

  test("eof leaves the other direction open", async () => {
    const [a, b] = await pair();
    a.end();
    await wait(() => b.eofs > 0, "eof");
    b.send(6 * MIB);
    b.flush();
    await wait(() => b.socket.queuedBytes === 0, "everything taken");
    assert.equal(b.closes, 0);
    b.end();
    await closed(a, b);
    assert.deepEqual([a.error, b.error], [null, null]);
  });

  test("eof comes after all data, also to one who was paused", async () => {
    const [a, b] = await pair({}, { open: (peer) => peer.pause() });
    a.send(100_000);
    a.end();
    await settle();
    b.resume();
    await wait(() => b.eofs > 0, "eof");
    assert.equal(b.receivedBytes, 100_000);
    b.end();
    await closed(a, b);
  });

  test("end() inside data, eof and drain; destroy() inside each", async () => {
    const act = (name: "end" | "destroy") => (peer: Peer) => peer[name]();
    for (const name of ["end", "destroy"] as const) {
      for (const event of ["open", "data", "eof", "drain", "close"] as const) {
        const host = await Host.listen(net, ANY, { eof: (peer) => peer.end(), [event]: act(name) });
        const client = connect(net, host.address, { eof: (peer) => peer.end() });
        client.send(100);
        await wait(() => client.opens > 0 && host.accepted.length > 0, "a pair");
        const server = host.accepted[0]!;
        if (event === "drain") {
          client.pause();
          server.send(8 * MIB);
          server.flush();
          await turn();
          client.resume();
        }
        if (event === "eof" || event === "close") client.end();
        await closed(client, server);
        assert.deepEqual([client.closes, server.closes], [1, 1], `${name} in ${event}`);
        host.close();
      }
    }
  });

  /** a sends to one who passes on to b what comes; he is `from` towards a, and `to` towards b. */
  async function relay(dice: Dice, act: (from: Peer, to: Peer) => void): Promise<[Peer, Peer, Peer, Peer]> {
    const [to, b] = await pair({ drain: () => from.resume(), eof: (peer) => peer.end() }, {
      eof: (peer) => peer.end(),
    });
    const goOn = () => {
      if (to.socket.queuedBytes > MIB) from.pause();
      if (dice.roll(3) === 0) act(from, to);
    };
    const [a, from] = await pair({}, {
      data: (_, count) => {
        // What a broken socket has dropped, it does not count.
        if (!b.isGone) {
          to.send(count);
          to.flush();
        }
        goOn();
      },
      passed: goOn,
      eof: (peer) => {
        to.end();
        peer.end();
      },
    });
    return [a, from, to, b];
  }

  test("passTo(): what passes and what comes by data arrives whole and in order, and no more than was said passes", async () => {
    const dice = new Dice(23);
    const total = 6 * MIB;
    const sizes = [0, 1, 70_000, MIB, 3 * MIB];
    const [a, from, to, b] = await relay(
      new Dice(24),
      (from, to) => void from.passTo(to, sizes[dice.roll(sizes.length)]!),
    );
    from.passTo(to, MIB);
    void pump(a, total, new Dice(25), 200_000).then(() => a.end());
    while (b.receivedBytes < total && b.closes === 0) {
      const before = b.receivedBytes;
      // Nobody reads for a while: what is under way is queued on the way.
      b.pause();
      for (let i = dice.roll(4); i >= 0; i--) await turn();
      b.resume();
      await wait(() => b.receivedBytes > before || b.closes > 0, "some of it");
    }
    await closed(a, from, to, b);
    assert.equal(b.receivedBytes, total);
    assert.equal(from.passedBytes > 0, from.socket.passTo !== undefined, `${from.passedBytes} passed`);
  });

  test("passTo() one who goes away in the middle: what comes is given to data", async () => {
    const [a, from, to, b] = await relay(new Dice(5), (from, to) => void from.passTo(to, 64 * MIB));
    a.send(4 * MIB);
    a.flush();
    await wait(() => b.receivedBytes >= MIB, "the first of it");
    b.destroy();
    await closed(b, to);
    const before = from.passedBytes;
    from.resume();
    a.send(2 * MIB);
    a.end();
    await closed(a, from);
    assert.equal(from.receivedBytes, 6 * MIB);
    assert.equal(from.passedBytes, before);
  });

  test("destroy() is heard by the other side, with or without an error, once", async () => {
    const [a, b] = await pair({}, { eof: (peer) => peer.end() });
    a.send(10);
    a.flush();
    b.send(10);
    b.flush();
    a.destroy();
    a.destroy();
    assert.equal(a.closes, 0);
    await closed(a, b);
    assert.deepEqual([a.closes, a.error, b.closes], [1, null, 1]);
    assert.ok(b.error === null || b.error.code === "ECONNRESET" || b.error.code === "EPIPE");
  });

  test("destroy() with much queued and the peer not reading", async () => {
    const [a, b] = await pair({}, { eof: (peer) => peer.end() });
    b.pause();
    a.send(16 * MIB);
    a.flush();
    await turn();
    a.destroy();
    await closed(a);
    assert.equal(a.error, null);
    b.resume();
    await closed(b);
    assert.ok(b.receivedBytes < 16 * MIB);
  });

  test("withdraw() gives back what the other side never gets", async () => {
    const [a, b] = await pair({}, { eof: (peer) => peer.end() });
    b.pause();
    a.send(16 * MIB);
    a.flush();
    await turn();
    a.send(1000);
    const given = a.withdraw();
    assert.ok(given <= 16 * MIB + 1000);
    a.destroy();
    await closed(a);
    b.resume();
    await closed(b);
    assert.ok(b.receivedBytes <= given, `${b.receivedBytes} received, ${given} given`);
  });

  test("withdraw() before open gives back everything", async () => {
    const host = await Host.listen(net, ANY, { eof: (peer) => peer.end() });
    const client = connect(net, host.address);
    client.send(5000);
    assert.equal(client.withdraw(), 0);
    await closed(client);
    host.close();
    for (const peer of host.accepted) assert.equal(peer.receivedBytes, 0);
  });

  test("destroy() after end() gives up what is left", async () => {
    const [a, b] = await pair({}, { eof: (peer) => peer.end() });
    b.pause();
    a.send(16 * MIB);
    a.end();
    await turn();
    assert.equal(a.closes, 0);
    a.destroy();
    await closed(a);
    b.resume();
    await closed(b);
    assert.equal(a.closes, 1);
  });

  test("writing to one who is gone closes with an error, and does not throw", async () => {
    const [a, b] = await pair({ eof: () => {} });
    b.destroy();
    await closed(b);
    for (let i = 0; i < 1000 && a.closes === 0; i++) {
      a.send(1000);
      a.flush();
      await new Promise<void>((resolve) => void clock.setTimer(1, resolve));
    }
    await closed(a);
    assert.equal(a.closes, 1);
  });

  test("a closed socket ignores every call", async () => {
    const [a, b] = await pair();
    await part(a, b);
    const flushed = a.socket.flushedBytes;
    for (const peer of [a, b]) {
      peer.send(10);
      peer.send(200_000, true);
      peer.flush();
      peer.pause();
      peer.resume();
      peer.end();
      peer.destroy();
      assert.equal(peer.socket.queuedBytes, 0);
    }
    await settle();
    assert.deepEqual([a.socket.flushedBytes, a.closes, b.closes], [flushed, 1, 1]);
  });

  test("connect() refused is close with ECONNREFUSED, without open", async () => {
    const host = await Host.listen(net, ANY);
    host.close();
    host.close();
    await settle();
    const client = connect(net, host.address);
    client.send(10);
    client.flush();
    await closed(client);
    assert.equal(client.error?.code, "ECONNREFUSED");
    assert.equal(client.heard.join(" "), "close");
    assert.ok(client.error!.message.length > 5);
  });

  test("send() before open leaves after it, flushed or not", async () => {
    for (const [name, flush] of [["flushed", true], ["not flushed", false]] as const) {
      const host = await Host.listen(net, ANY);
      const client = connect(net, host.address, { open: (peer) => (peer.send(70_000, true), peer.flush()) });
      client.send(5);
      client.send(100_000, true);
      client.send(500_000);
      if (flush) client.flush();
      assert.deepEqual([client.socket.queuedBytes, client.socket.flushedBytes], [600_005, 0]);
      await wait(() => host.accepted[0]?.receivedBytes === 670_005, name);
      host.close();
      await part(client, host.accepted[0]!);
    }
  });

  test("pause() before open holds", async () => {
    const host = await Host.listen(net, ANY, { open: (peer) => (peer.send(10), peer.flush()) });
    const client = connect(net, host.address);
    client.pause();
    await wait(() => client.opens > 0 && host.accepted.length > 0, "open");
    await settle();
    assert.ok(client.heard.filter((event) => event === "data").length <= 1);
    client.resume();
    await wait(() => client.receivedBytes === 10, "10 bytes");
    host.close();
    await part(client, host.accepted[0]!);
  });

  test("destroy() before open: one close without an error, and nothing else", async () => {
    const host = await Host.listen(net, ANY, { eof: (peer) => peer.end() });
    const clients = Array.from({ length: 20 }, () => connect(net, host.address));
    for (const client of clients) {
      client.send(10);
      client.flush();
      client.destroy();
    }
    await closed(...clients);
    await settle();
    await wait(() => host.accepted.every((peer) => peer.closes > 0), "the other side's close");
    host.close();
    for (const client of clients) assert.equal(client.heard.join(" "), "close");
    for (const client of clients) assert.equal(client.error, null);
  });

  test("end() before open delivers what was sent, then closes, without open", async () => {
    const host = await Host.listen(net, ANY, { eof: (peer) => peer.end() });
    const client = connect(net, host.address);
    client.send(300_000);
    client.end();
    await wait(() => (host.accepted[0]?.eofs ?? 0) > 0, "eof");
    assert.equal(host.accepted[0]!.receivedBytes, 300_000);
    await closed(client, host.accepted[0]!);
    host.close();
    assert.equal(client.heard.join(" "), "close");
    assert.equal(client.error, null);
  });

  test("end() before a connect that fails: the error", async () => {
    const host = await Host.listen(net, ANY);
    host.close();
    await settle();
    const client = connect(net, host.address);
    client.end();
    await closed(client);
    assert.equal(client.error?.code, "ECONNREFUSED");
  });

  test("100 connections at once, each its own stream", async () => {
    const host = await Host.listen(net, ANY, {
      data: (peer) => (peer.send(1), peer.flush()),
      eof: (peer) => peer.end(),
    });
    const clients = Array.from({ length: 100 }, () => connect(net, host.address));
    for (const client of clients) {
      client.send(1);
      client.flush();
    }
    await wait(() => clients.every((client) => client.receivedBytes === 1), "100 echoes");
    for (const client of clients) client.end();
    await closed(...clients, ...host.accepted);
    assert.equal(host.accepted.length, 100);
    host.close();
  });

  test("Listener.close() leaves accepted sockets alive", async () => {
    const [a, b] = await pair();
    await settle();
    b.send(10);
    b.flush();
    await wait(() => a.receivedBytes === 10, "10 bytes");
    await part(a, b);
  });

  test("listen() twice on a port fails with EADDRINUSE; with reusePort both share it", async () => {
    const host = await Host.listen(net, ANY);
    const { port } = host.listener;
    assert.ok(port > 0);
    await assert.rejects(Host.listen(net, host.address), (error: { code?: string; message: string }) => {
      assert.equal(error.code, "EADDRINUSE");
      assert.ok(error.message.includes(String(port)), error.message);
      return true;
    });
    host.close();

    const hooks: Hooks = { eof: (peer) => peer.end() };
    const options = { ...LISTEN, reusePort: true };
    const one = await Host.listen(net, ANY, hooks, options);
    const two = await Host.listen(net, one.address, hooks, options);
    const clients = Array.from({ length: 60 }, () => connect(net, one.address));
    await wait(() => one.accepted.length + two.accepted.length === 60, "60 accepted");
    assert.ok(one.accepted.length > 0 && two.accepted.length > 0);
    one.close();
    await wait(() => clients.every((client) => client.opens > 0), "open");
    for (const client of clients) client.end();
    await closed(...clients, ...one.accepted, ...two.accepted);
    two.close();
  });

  test("afterTurn() runs all, in order; what is asked for meanwhile runs after", async () => {
    const ran: string[] = [];
    clock.afterTurn(() => {
      ran.push("1");
      clock.afterTurn(() => ran.push("4"));
    });
    clock.afterTurn(() => ran.push("2"));
    clock.afterTurn(() => ran.push("3"));
    assert.deepEqual(ran, []);
    await turn();
    assert.deepEqual(ran.slice(0, 3), ["1", "2", "3"]);
    await turn();
    assert.deepEqual(ran, ["1", "2", "3", "4"]);
  });

  test("setTimer() runs in order of time, not after clearTimer()", async () => {
    const ran: string[] = [];
    const startMs = clock.nowMs();
    clock.setTimer(20, () => ran.push("20"));
    clock.setTimer(5, () => ran.push("5"));
    clock.clearTimer(clock.setTimer(10, () => ran.push("10")));
    await wait(() => ran.length === 2, "two timers");
    assert.deepEqual(ran, ["5", "20"]);
    assert.ok(clock.nowMs() - startMs >= 19);
    assert.ok(clock.wallMs() > 0);
  });

  if (unixDir === null) return;

  test("connect() to a unix socket that is not there: ENOENT; that nobody listens on: ECONNREFUSED", async () => {
    const missing = connect(net, { path: `${unixDir}/missing.sock` });
    await closed(missing);
    assert.deepEqual([missing.error?.code, missing.heard.join(" ")], ["ENOENT", "close"]);
    const path = `${unixDir}/dead.sock`;
    const host = await Host.listen(net, { path });
    renameSync(path, `${path}.2`);
    host.close();
    await settle();
    const dead = connect(net, { path: `${path}.2` });
    await closed(dead);
    assert.deepEqual([dead.error?.code, dead.heard.join(" ")], ["ECONNREFUSED", "close"]);
  });

  test("listen() replaces a dead unix socket, sets its mode, and removes it on close", async () => {
    const path = `${unixDir}/mode.sock`;
    const first = await Host.listen(net, { path });
    renameSync(path, `${path}.2`);
    first.close();
    await settle();
    assert.ok(existsSync(`${path}.2`));
    const second = await Host.listen(net, { path: `${path}.2`, mode: 0o640 });
    assert.equal(statSync(`${path}.2`).mode & 0o777, 0o640);
    assert.equal(second.listener.port, 0);
    chmodSync(`${path}.2`, 0o600);
    const client = connect(net, second.address, { eof: (peer) => peer.end() });
    await wait(() => client.opens > 0 && second.accepted.length > 0, "open");
    second.close();
    second.close();
    assert.ok(!existsSync(`${path}.2`));
    await part(client, second.accepted[0]!);
  });

  test("listen() on a unix path whose listener has just been closed: the new one stays", async () => {
    const path = `${unixDir}/again.sock`;
    for (let i = 0; i < 5; i++) (await Host.listen(net, { path })).close();
    const host = await Host.listen(net, { path });
    // Whatever those before have left to do.
    await settle();
    assert.ok(existsSync(path));
    const client = connect(net, host.address, { eof: (peer) => peer.end() });
    await wait(() => client.opens > 0 && host.accepted.length > 0, "open");
    host.close();
    await part(client, host.accepted[0]!);
  });

  test("listen() on a unix path in use or on a file fails and leaves it alone", async () => {
    const inUse = (error: { code?: string; message: string }) => error.code === "EADDRINUSE";
    const path = `${unixDir}/used.sock`;
    const host = await Host.listen(net, { path }, { eof: (peer) => peer.end() });
    await assert.rejects(Host.listen(net, { path }), inUse);
    const client = connect(net, { path }, { eof: (peer) => peer.end() });
    await wait(() => client.opens > 0, "open: it still listens");
    client.end();
    await wait(() => host.accepted.length > 0 && host.accepted.every((peer) => peer.closes > 0), "close");
    host.close();
    const file = `${unixDir}/file`;
    writeFileSync(file, "precious");
    await assert.rejects(Host.listen(net, { path: file }), inUse);
    assert.equal(readFileSync(file, "utf8"), "precious");
    await assert.rejects(Host.listen(net, { path: `${unixDir}/no/such/folder` }), { code: "ENOENT" });
    await assert.rejects(Host.listen(net, { path: `${unixDir}/${"x".repeat(120)}` }), {
      code: "ENAMETOOLONG",
    });
  });

  test("listen() on an address that is not ours fails with EADDRNOTAVAIL", async () => {
    await assert.rejects(inside(() => Host.listen(net, { host: "192.0.2.1", port: 0 })), {
      code: "EADDRNOTAVAIL",
    });
  });
}
