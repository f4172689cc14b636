/**
 * A network in memory whose turns are taken one by one, so that what each of them costs can be seen.
 *
 *   turn:  data for every socket that has some (READ_MAX at most) ──► drain ──► the end of the turn, once
 *   between turns:  servers (models) read what was flushed, and answer
 *
 * No chance, no latency and no system call; time stands still but for `pass`. What the proxy does is inside of `around`.
 */
import { Outbox } from "../../src/bytes/outbox.ts";
import { concat } from "./bytes.ts";
import type { Address, Clock, Handler, Listener, Net, NetError, Socket } from "../../src/net/net.ts";

/** Most bytes of one `data`, and of one flush: as src/runtime/epoll_net.ts has them. */
const READ_MAX = 256 * 1024;
const WRITE_MAX = 1024 * 1024;
/** So many turns for one request mean that something runs in a circle. */
const TURNS_MAX = 200_000;

/** The far end of a connection: gets what the proxy has flushed, and answers some bytes, or null for nothing. */
export type Peer = (bytes: Uint8Array) => Uint8Array | null;

export class TurnSocket implements Socket {
  flushedBytes = 0;
  certifiedNames: readonly string[] | undefined = undefined;
  closed = false;
  private readonly outbox = new Outbox();
  private readonly inbound: Uint8Array[] = [];
  /** Flushed, and not yet read by the far end. */
  private sent: Uint8Array[] = [];
  private inboundAt = 0;
  private paused = false;
  private stuck = false;
  private opening = true;
  private ending = false;
  private error: NetError | null = null;

  constructor(private readonly handler: Handler, public owner: unknown, private readonly far: Peer) {}

  get queuedBytes(): number {
    return this.outbox.size;
  }

  // ---- the far end's

  /** Bytes for the proxy; kept. */
  give(bytes: Uint8Array): void {
    if (bytes.length > 0) this.inbound.push(bytes);
  }

  /** The far end reads, and answers. */
  hear(): void {
    if (this.sent.length === 0) return;
    const { sent } = this;
    this.sent = [];
    const answer = this.far(sent.length === 1 ? sent[0]! : concat(sent));
    if (answer !== null) this.give(answer);
  }

  /** The far end is gone. */
  reset(): void {
    this.error = { code: "ECONNRESET", message: "reset" };
    this.ending = true;
  }

  /** What this socket has for the proxy in the next turn; null for nothing. */
  event(): (() => void) | null {
    if (this.closed) return null;
    if (this.ending) {
      this.closed = true;
      this.outbox.clear();
      return () => this.handler.close(this, this.error);
    }
    if (this.opening) {
      this.opening = false;
      return () => this.handler.open(this);
    }
    if (this.stuck) {
      this.write();
      if (!this.stuck) return () => this.handler.drain(this);
    }
    const first = this.inbound[0];
    if (first === undefined || this.paused) return null;
    const end = Math.min(this.inboundAt + READ_MAX, first.length);
    const view = first.subarray(this.inboundAt, end);
    this.inboundAt = end;
    if (end === first.length) {
      this.inbound.shift();
      this.inboundAt = 0;
    }
    return () => this.handler.data(this, view);
  }

  get stirs(): boolean {
    if (this.closed) return false;
    return this.ending || this.opening || this.stuck || (this.inbound.length > 0 && !this.paused);
  }

  // ---- the proxy's

  send(bytes: Uint8Array, start: number, end: number): void {
    if (!this.closed) this.outbox.append(bytes, start, end);
  }

  sendShared(bytes: Uint8Array, start: number, end: number): void {
    if (!this.closed) this.outbox.appendShared(bytes, start, end);
  }

  sendChunks(chunks: Outbox): void {
    if (this.closed) chunks.clear();
    else this.outbox.adopt(chunks);
  }

  flush(): void {
    if (!this.stuck && !this.opening) this.write();
  }

  private write(): void {
    const { outbox } = this;
    let room = WRITE_MAX;
    while (outbox.size > 0 && room > 0) {
      const { start, end } = outbox;
      const count = Math.min(end - start, room);
      this.sent.push(outbox.chunk.slice(start, start + count));
      outbox.consume(count);
      this.flushedBytes += count;
      room -= count;
    }
    this.stuck = outbox.size > 0;
  }

  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  /** What is queued leaves first. */
  end(): void {
    while (this.outbox.size > 0) this.write();
    this.ending = true;
  }
  destroy(): void {
    this.ending = true;
  }
  withdraw(into: Outbox): number {
    into.adopt(this.outbox);
    this.destroy();
    return this.flushedBytes;
  }
  peer(): string {
    return "turn";
  }
  local(): string {
    return "turn";
  }
}

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

class TurnClock implements Clock {
  now = 1000;
  private readonly timers = new Set<Timer>();
  due: (() => void)[] = [];

  nowMs(): number {
    return this.now;
  }
  wallMs(): number {
    return 1.7e12 + this.now;
  }
  setTimer(afterMs: number, run: () => void): Timer {
    const timer = { atMs: this.now + afterMs, run };
    this.timers.add(timer);
    return timer;
  }
  clearTimer(id: unknown): void {
    this.timers.delete(id as Timer);
  }
  afterTurn(run: () => void): void {
    this.due.push(run);
  }

  /** Takes out the timers that are due. */
  ringing(): Timer[] {
    const ringing = [...this.timers].filter(({ atMs }) => atMs <= this.now);
    for (const timer of ringing) this.timers.delete(timer);
    return ringing;
  }
}

export class TurnNet implements Net {
  readonly name = "turn";
  readonly clock = new TurnClock();
  readonly servers: TurnSocket[] = [];
  private sockets: TurnSocket[] = [];
  private accepting: Handler | null = null;

  /**
   * @param makeServer makes the far end of each connection that the proxy asks for
   * @param around runs its argument, which is one turn's work, once
   */
  constructor(private readonly makeServer: () => Peer, public around: (work: () => void) => void) {}

  async listen(_address: Address, handler: Handler): Promise<Listener> {
    this.accepting = handler;
    return { port: 0, close: () => {} };
  }

  connect(_address: Address, handler: Handler, owner: unknown): Socket {
    const socket = new TurnSocket(handler, owner, this.makeServer());
    this.servers.push(socket);
    this.sockets.push(socket);
    return socket;
  }

  /** A client connects. @param hear gets what the proxy sends it */
  join(hear: (bytes: Uint8Array) => unknown): TurnSocket {
    const socket = new TurnSocket(this.accepting!, undefined, (bytes) => (hear(bytes), null));
    this.sockets.push(socket);
    return socket;
  }

  /** One turn. False if there was nothing to do. */
  turn(): boolean {
    const events = this.sockets.map((socket) => socket.event()).filter((event) => event !== null);
    const timers = this.clock.ringing();
    const ends = this.clock.due;
    if (events.length + timers.length + ends.length === 0) return false;
    this.around(() => {
      for (const event of events) event();
      for (const { run } of timers) run();
      const ends = this.clock.due;
      this.clock.due = [];
      for (const run of ends) run();
    });
    for (const socket of this.sockets) socket.hear();
    this.sockets = this.sockets.filter((socket) => !socket.closed);
    return true;
  }

  /** Takes turns until nothing is to come, and waits for `each` behind every one; returns how many. */
  async runEach(each: () => Promise<void>): Promise<number> {
    let turns = 0;
    while (this.turn()) {
      await each();
      if (++turns > TURNS_MAX) throw new Error(`${turns} turns, and no end`);
    }
    return turns;
  }

  /** As `runEach`, without anything between the turns. */
  run(): number {
    let turns = 0;
    while (this.turn()) if (++turns > TURNS_MAX) throw new Error(`${turns} turns, and no end`);
    return turns;
  }

  /** Lets time pass, in steps, and takes the turns that come of it. */
  pass(ms: number, step = 10): void {
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.now += step;
      this.run();
    }
  }
}
