/** What epoll_net.ts has to do beside the seam's contract, with real sockets: urgent bytes, and pipes that are not to be had. */
import assert from "node:assert/strict";
import type { EpollNet } from "../../src/runtime/epoll_net.ts";
import { EMFILE } from "../../src/runtime/libc.ts";
import { SplicePipe } from "../../src/runtime/splice.ts";
import type { Register } from "./contract.ts";
import { assertNoBreach, connect, type Hooks, Host, LOOPBACK, type Peer, until } from "./peer.ts";

const MSG_OOB = 1;
const KIB = 1024;

export function epollContract(net: EpollNet, register: Register): void {
  const { libc, clock } = net;
  const test = (name: string, run: () => Promise<void>) =>
    register(`epoll: ${name}`, async () => {
      await run();
      assertNoBreach();
    });
  const wait = (holds: () => boolean, what: string) => until(clock, holds, what);

  async function pair(hooks: Hooks): Promise<[Peer, Peer]> {
    const host = await Host.listen(net, { host: LOOPBACK, port: 0 }, { eof: (peer) => peer.end(), ...hooks });
    const client = connect(net, { host: LOOPBACK, port: host.listener.port }, { eof: (peer) => peer.end() });
    await wait(() => host.accepted.length > 0 && client.opens > 0, "a connection");
    host.close();
    return [client, host.accepted[0]!];
  }

  /** One byte that is not of the stream. */
  function sendUrgent({ socket }: Peer): void {
    const byte = new Uint8Array([0xee]);
    const { fd } = socket as unknown as { fd: number };
    assert.equal(libc.calls.send(fd, libc.addressOf(byte), 1, MSG_OOB), 1);
  }

  /** All in one piece to who reads: it hears of it once. */
  function sendAround(peer: Peer): void {
    peer.send(20 * KIB);
    peer.flush();
    sendUrgent(peer);
    peer.send(30 * KIB);
    peer.flush();
  }

  async function end(...peers: Peer[]): Promise<void> {
    for (const peer of peers) peer.end();
    await wait(() => peers.every(({ closes }) => closes === 1), "close");
  }

  /** What comes to `from` passes to `to`, whose other end is `b`. */
  async function relay() {
    const [b, to] = await pair({});
    const [a, from] = await pair({
      data: (_, size) => {
        to.send(size);
        to.flush();
      },
      passed: () => {},
    });
    return { a, b, from, to, all: [a, from, b, to] };
  }

  test("what lies behind an urgent byte is read, though nothing more comes", async () => {
    const [a, b] = await pair({});
    sendAround(a);
    await wait(() => b.receivedBytes === 50 * KIB, "what is behind the urgent byte");
    sendAround(b);
    await wait(() => a.receivedBytes === 50 * KIB, "the same the other way");
    await end(a, b);
  });

  test("what lies behind an urgent byte gets to where it was to pass, and more passes after it", async () => {
    const { a, b, from, to, all } = await relay();
    assert.equal(from.passTo(to, 1024 * KIB), true);
    for (let round = 1; round <= 3; round++) {
      sendAround(a);
      await wait(() => b.receivedBytes === round * 50 * KIB, "what is behind the urgent byte");
    }
    const before = from.passedBytes;
    a.send(200 * KIB);
    a.flush();
    await wait(() => b.receivedBytes === 350 * KIB, "what comes after");
    assert.ok(from.passedBytes > before, `${from.passedBytes}`);
    await end(...all);
  });

  test("a pipe that was not to be had is asked for again", async () => {
    net.stopSplicing();
    // As a new net has it.
    Object.assign(net, { noPipeMs: -Infinity });
    const { open } = SplicePipe;
    SplicePipe.open = () => EMFILE;
    const { a, b, from, to, all } = await relay();
    assert.equal(from.passTo(to, KIB), false);
    SplicePipe.open = open;
    await wait(() => from.passTo(to, 64 * KIB), "a pipe");
    a.send(64 * KIB);
    a.flush();
    await wait(() => b.receivedBytes === 64 * KIB, "what passes");
    assert.equal(from.passedBytes, 64 * KIB);
    await end(...all);
  });
}
