/**
 * What the seam promises about real sockets, seen from a peer of another make (node:net) and from /proc: half close
 * with replies, resets, descriptors, turns. Runs on Deno and Bun; the simulator has no kernel.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { connect as nodeConnect, type Socket as NodeSocket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { Clock, Net } from "../../src/net/net.ts";
import type { Register } from "./contract.ts";
import { assertNoBreach, connect, Host, LISTEN, LOOPBACK, type Peer, until } from "./peer.ts";

const MIB = 1 << 20;
const CHURN = 1000;

/** @param tls the foreign peers speak TLS */
export function kernelContract(
  net: Net,
  clock: Clock,
  register: Register,
  _unixDir: string,
  tls = false,
): void {
  const wait = (holds: () => boolean, what: string) => until(clock, holds, what);
  const turn = () => new Promise<void>((resolve) => clock.afterTurn(resolve));
  const openFiles = () => readdirSync("/proc/self/fd").length;

  const test = (name: string, run: () => Promise<void>) =>
    register(`kernel: ${name}`, async () => {
      await run();
      for (let i = 0; i < 3; i++) await turn();
      assertNoBreach();
    });

  /** A foreign client and the socket of ours that it talks to. */
  async function foreigner(host: Host): Promise<[NodeSocket, Peer]> {
    const before = host.accepted.length;
    const where = { host: LOOPBACK, port: host.listener.port, allowHalfOpen: true };
    const socket = tls ? tlsConnect({ ...where, rejectUnauthorized: false }) : nodeConnect(where);
    socket.on("error", () => {});
    await wait(() => host.accepted.length > before, "accept");
    return [socket, host.accepted[before]!];
  }

  const gone = (socket: NodeSocket) => wait(() => socket.destroyed, "the foreign socket's close");

  test("a client that sends FIN at once still gets a long reply", async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 }, {
      eof: (peer) => {
        peer.send(8 * MIB);
        peer.end();
      },
    });
    const [client, server] = await foreigner(host);
    let got = 0;
    client.on("data", (bytes) => void (got += bytes.length));
    client.end();
    await wait(() => client.readableEnded, "the reply's end");
    assert.equal(got, 8 * MIB);
    await wait(() => server.closes === 1, "close");
    assert.equal(server.error, null);
    await gone(client);
    host.close();
  });

  test("destroy() behind end(), when all has left: the peer still reads it", async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 });
    const [client, server] = await foreigner(host);
    client.pause();
    server.send(200_000);
    server.flush();
    await wait(() => server.socket.queuedBytes === 0, "all to leave");
    server.end();
    for (let i = 0; i < 3; i++) await turn();
    server.destroy();
    await wait(() => server.closes === 1, "close");
    let got = 0;
    client.on("data", (bytes) => void (got += bytes.length));
    client.resume();
    await wait(() => client.readableEnded || client.destroyed, "the end");
    assert.equal(got, 200_000);
    client.destroy();
    host.close();
  });

  test("end() towards a peer that never stops sending loses nothing", async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 });
    const [client, server] = await foreigner(host);
    let got = 0;
    client.on("data", (bytes) => void (got += bytes.length));
    const noise = new Uint8Array(64 * 1024);
    const chatter = () => {
      if (client.readableEnded || client.destroyed) return void client.end();
      if (client.writableLength < MIB) client.write(noise);
      clock.setTimer(1, chatter);
    };
    chatter();
    await wait(() => server.receivedBytes > 0 || server.heard.includes("data"), "noise");
    server.send(8 * MIB);
    server.end();
    await wait(() => client.readableEnded || client.destroyed, "the end");
    assert.equal(got, 8 * MIB);
    await wait(() => server.closes === 1, "close");
    await gone(client);
    host.close();
    noiseIsNoBreach();
  });

  test("end() gives up a peer that keeps silent, and what the kernel has taken still arrives", async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 });
    const [silent, one] = await foreigner(host);
    const [slow, two] = await foreigner(host);
    one.end();
    two.send(MIB);
    two.flush();
    await wait(() => two.socket.queuedBytes === 0, "1 MiB in the kernel");
    two.end();
    // Nobody reads or says anything: only the limit on lingering can close.
    await wait(() => one.closes + two.closes === 2, "two closes");
    assert.deepEqual([one.error, two.error], [null, null]);
    let got = 0;
    slow.on("data", (bytes) => void (got += bytes.length));
    silent.on("data", () => {});
    await wait(() => slow.readableEnded && silent.readableEnded, "the ends");
    assert.equal(got, MIB);
    slow.destroy();
    silent.destroy();
    await gone(slow);
    await gone(silent);
    host.close();
  });

  test("a reset is one close, with ECONNRESET", async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 });
    const [client, server] = await foreigner(host);
    await wait(() => !client.connecting, "connect");
    client.resetAndDestroy();
    await wait(() => server.closes > 0, "close");
    assert.deepEqual([server.closes, server.error?.code], [1, "ECONNRESET"]);
    assert.ok(server.heard.every((event) => event === "open" || event === "close"), server.heard.join(" "));
    host.close();
  });

  test("a name that does not resolve is EHOSTDOWN", async () => {
    const client = connect(net, { host: `${"x".repeat(64)}.invalid`, port: 1 });
    await wait(() => client.closes > 0, "close");
    assert.equal(client.error?.code, "EHOSTDOWN");
    await assert.rejects(Host.listen(net, { host: `${"x".repeat(64)}.invalid`, port: 0 }), {
      code: "EHOSTDOWN",
    });
  });

  test("peer() writes IPv6 in brackets", async () => {
    const host = await Host.listen(net, { host: "::1", port: 0 }, { eof: (peer) => peer.end() });
    const client = connect(net, host.address);
    await wait(() => client.opens > 0 && host.accepted.length > 0, "open");
    assert.equal(client.socket.peer(), `[::1]:${host.listener.port}`);
    assert.match(host.accepted[0]!.socket.peer(), /^\[::1\]:\d+$/);
    assert.equal(host.accepted[0]!.socket.local(), client.socket.peer());
    client.end();
    await wait(() => client.closes > 0, "close");
    host.close();
  });

  test("afterTurn() comes once after all sockets that were ready", async () => {
    const seen: string[] = [];
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 }, {
      data: () => {
        if (seen.push("data") === 1) clock.afterTurn(() => void seen.push("turn"));
      },
      eof: (peer) => peer.end(),
    });
    const clients = Array.from({ length: 5 }, () => connect(net, host.address));
    await wait(() => clients.every((client) => client.opens > 0) && host.accepted.length === 5, "open");
    for (const client of clients) {
      client.send(1);
      client.flush();
    }
    // All five are ready before the next poll.
    for (const startMs = clock.nowMs(); clock.nowMs() - startMs < 50;);
    await wait(() => seen.length === 6, "five data and one turn");
    assert.equal(seen.join(" "), "data data data data data turn");
    for (const client of clients) client.end();
    await wait(() => clients.every((client) => client.closes > 0), "close");
    host.close();
  });

  test("promises, immediates and other sockets go on while something is always ready", async () => {
    let rounds = 0;
    let over = false;
    const answer = (peer: Peer) => {
      rounds++;
      if (over) return;
      peer.send(1);
      peer.flush();
    };
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 }, {
      data: answer,
      eof: (peer) => peer.end(),
    });
    const client = connect(net, host.address, { data: answer });
    client.send(1);
    client.flush();
    for (let i = 1; i <= 5; i++) {
      await new Promise<void>((resolve) => setImmediate(() => Promise.resolve().then(resolve)));
      await wait(() => rounds >= i * 100, "rounds");
    }
    const [foreign] = await foreigner(host);
    let got = 0;
    foreign.on("data", (bytes) => void (got += bytes.length));
    foreign.write("x");
    await wait(() => got > 0, "the foreign socket's byte");
    over = true;
    noiseIsNoBreach();
    foreign.destroy();
    client.end();
    await wait(() => client.closes === 1 && host.accepted.every((peer) => peer.closes === 1), "close");
    host.close();
  });

  test(`${CHURN} connections come and go without leaving a descriptor`, async () => {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 }, {
      data: (peer) => (peer.send(1), peer.flush()),
      eof: (peer) => peer.end(),
    }, { ...LISTEN, keepAlive: true });
    const round = async (count: number) => {
      const clients = Array.from({ length: count }, () => connect(net, host.address));
      for (const client of clients) {
        client.send(1);
        client.flush();
      }
      clients.filter((_, i) => i % 7 === 0).forEach((client) => client.destroy());
      await wait(() => clients.every((client) => client.closes > 0 || client.receivedBytes > 0), "echo");
      clients.forEach((client, i) => i % 3 === 0 ? client.destroy() : client.end());
      await wait(() => clients.every((client) => client.closes > 0), "close");
      await wait(() => host.accepted.every((peer) => peer.closes > 0), "the other side's close");
    };
    await round(50);
    const before = openFiles();
    for (let done = 0; done < CHURN; done += 100) await round(100);
    await wait(() => openFiles() <= before, `${before} open files, as before`);
    host.close();
  });

  /** node:net's noise is not the stream that Peer compares with. */
  function noiseIsNoBreach(): void {
    try {
      assertNoBreach();
    } catch (error) {
      const { actual } = error as { actual: string[] };
      assert.deepEqual(actual.filter((what) => !what.includes("rule 4")), []);
    }
  }
}
