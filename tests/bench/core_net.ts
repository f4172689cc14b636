/**
 * A network without a kernel: what the core costs when no system call is in the way.
 *
 *   round 1 (`rehearse`):  client bytes ──► proxy ──► in-memory servers ──► proxy ──► client bytes, all written down
 *   rounds 2, 3, …:        the same client bytes ──► proxy; servers play back what they said
 *
 * Every round sends the same, so every round must bring the same: sizes are compared each time, bytes in `rehearse` and in
 * `prove`. A core that becomes fast by doing less fails.
 */
import { concat, show } from "../lib/bytes.ts";
import { Outbox } from "../../src/bytes/outbox.ts";
import type { Address, Clock, Handler, Listener, Net, Socket } from "../../src/net/net.ts";

const NONE = new Uint8Array(0);

/** Bytes in, bytes out; as the in-memory servers have it. */
export interface Model {
  feed(bytes: Uint8Array): Uint8Array;
}

/** One end of a connection, the proxy's. */
export class CoreSocket implements Socket {
  readonly queuedBytes = 0;
  flushedBytes = 0;
  /** What the proxy sends in every round: what it sent in the first. */
  expected: Uint8Array = NONE;
  private readonly outbox = new Outbox();
  private sentBytes = 0;
  private heard: Uint8Array[] | null = null;

  constructor(readonly handler: Handler, public owner: unknown) {}

  /** From here to `stop`, the bytes sent are kept, not only counted. */
  record(): void {
    this.heard = [];
    this.sentBytes = 0;
  }

  stop(): Uint8Array {
    const all = concat(this.heard!);
    this.heard = null;
    this.sentBytes = 0;
    return all;
  }

  /** True if the proxy has sent as many bytes as in the first round, since the last call. */
  sentAll(): boolean {
    const all = this.sentBytes === this.expected.length;
    this.sentBytes = 0;
    return all;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.outbox.append(bytes, start, end);
  }

  sendShared(bytes: Uint8Array, start: number, end: number): void {
    this.outbox.appendShared(bytes, start, end);
  }

  sendChunks(chunks: Outbox): void {
    this.outbox.adopt(chunks);
  }

  flush(): void {
    const { outbox } = this;
    while (outbox.size > 0) {
      const { start, end } = outbox;
      if (this.heard !== null) this.heard.push(outbox.chunk.slice(start, end));
      this.sentBytes += end - start;
      this.flushedBytes += end - start;
      outbox.consume(end - start);
    }
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
  withdraw(): number {
    return this.flushedBytes;
  }
  peer(): string {
    return "core";
  }
  local(): string {
    return "";
  }
}

/** Timers never ring, and a turn ends when told. */
class CoreClock implements Clock {
  private due: (() => void)[] = [];

  nowMs(): number {
    return performance.now();
  }
  wallMs(): number {
    return 0;
  }
  setTimer(): null {
    return null;
  }
  clearTimer(): void {}
  afterTurn(run: () => void): void {
    this.due.push(run);
  }

  endTurn(): void {
    while (this.due.length > 0) this.due.pop()!();
  }
}

export class CoreNet implements Net {
  readonly name = "core";
  readonly clock = new CoreClock();
  private readonly clients: CoreSocket[] = [];
  private readonly servers: CoreSocket[] = [];
  private replies: Uint8Array[] = [];
  private accepting: Handler | null = null;

  async listen(_address: Address, handler: Handler): Promise<Listener> {
    this.accepting = handler;
    return { port: 0, close: () => {} };
  }

  connect(_address: Address, handler: Handler, owner: unknown): Socket {
    const socket = new CoreSocket(handler, owner);
    this.servers.push(socket);
    return socket;
  }

  /** A new client has connected. */
  join(): void {
    const socket = new CoreSocket(this.accepting!, undefined);
    this.clients.push(socket);
    socket.handler.open(socket);
  }

  /** All servers have accepted the proxy's connections. */
  openServers(): void {
    for (const socket of this.servers) socket.handler.open(socket);
    this.clock.endTurn();
  }

  /** `bytes` from every client, and on until no server is asked any more: for requests that make the proxy ask something first. */
  settle(bytes: Uint8Array, session: () => Model): void {
    for (const server of this.servers) server.record();
    for (const client of this.clients) client.handler.data(client, bytes);
    this.clock.endTurn();
    for (;;) {
      const asked = this.servers.map((server) => server.stop());
      if (asked.every((heard) => heard.length === 0)) return;
      for (const server of this.servers) server.record();
      this.servers.forEach((server, i) => {
        if (asked[i]!.length > 0) server.handler.data(server, session().feed(asked[i]!));
      });
      this.clock.endTurn();
    }
  }

  /**
   * The first round: `bytes` from every client. Each server is a session of the model; what a client reads must be what
   * one such session would have told it directly.
   * @param check false if such a session does not speak what the clients do
   */
  rehearse(bytes: Uint8Array, session: () => Model, check = true): void {
    const expected = check ? session().feed(bytes) : null;
    const { asked, told } = this.recorded(bytes, (_server, heard) => session().feed(heard));
    if (expected !== null) { for (const replies of told) same(replies, expected, "a client's replies"); }
    this.clients.forEach((client, i) => client.expected = told[i]!);
    this.servers.forEach((server, i) => server.expected = asked[i]!);
  }

  /** One round as fast as it goes. */
  round(bytes: Uint8Array): void {
    for (const client of this.clients) client.handler.data(client, bytes);
    this.clock.endTurn();
    for (let i = 0; i < this.servers.length; i++) {
      const server = this.servers[i]!;
      if (!server.sentAll()) throw new Error(`server ${i} was not asked what it was in the first round`);
      if (this.replies[i]!.length > 0) server.handler.data(server, this.replies[i]!);
    }
    this.clock.endTurn();
    for (const client of this.clients) {
      if (!client.sentAll()) throw new Error("a client has not got what it got in the first round");
    }
  }

  /** One round more, compared to the byte. */
  prove(bytes: Uint8Array): void {
    const { asked, told } = this.recorded(bytes, (server) => this.replies[server]!);
    this.clients.forEach((client, i) => same(told[i]!, client.expected, "a client's replies"));
    this.servers.forEach((server, i) => same(asked[i]!, server.expected, "requests to a server"));
  }

  private recorded(bytes: Uint8Array, answer: (server: number, heard: Uint8Array) => Uint8Array) {
    for (const socket of [...this.clients, ...this.servers]) socket.record();
    for (const client of this.clients) client.handler.data(client, bytes);
    this.clock.endTurn();
    const asked = this.servers.map((server) => server.stop());
    this.replies = asked.map((heard, server) => answer(server, heard));
    this.servers.forEach((server, i) => {
      if (this.replies[i]!.length > 0) server.handler.data(server, this.replies[i]!);
    });
    this.clock.endTurn();
    return { asked, told: this.clients.map((client) => client.stop()) };
  }
}

function same(found: Uint8Array, expected: Uint8Array, what: string): void {
  if (found.length === expected.length && found.every((byte, i) => byte === expected[i])) return;
  throw new Error(`${what}: found ${show(found)}, expected ${show(expected)}`);
}
