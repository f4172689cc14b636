/**
 * One end of a connection under test: calls the socket, hears its handler, and notes every breach of the contract in
 * src/net/net.ts that can be seen from here, whatever the test is about.
 *
 * What is sent is always the same endless stream (`streamByte`), so a receiver knows each byte from its position, and
 * loss, repetition, disorder and overwritten memory all show.
 */
import assert from "node:assert/strict";
import { Outbox } from "../../src/bytes/outbox.ts";
import {
  type Address,
  type Clock,
  type Handler,
  type Listener,
  type ListenOptions,
  type Net,
  type NetError,
  type Socket,
} from "../../src/net/net.ts";

/** A prime, so that no buffer size divides it. */
const PERIOD = 65_521;
/** The stream, and once more after that: any `size ≤ STREAM_MAX` bytes from any place are one slice. */
export const STREAM_MAX = 1 << 20;
const STREAM = new Uint8Array(PERIOD + STREAM_MAX);
for (let i = 0, x = 1; i < STREAM.length; i++) {
  x = (Math.imul(x, 1103515245) + 12345) >>> 0;
  STREAM[i] = i < PERIOD ? x >>> 16 : STREAM[i - PERIOD]!;
}

export const LOOPBACK = "127.0.0.1";
export const LISTEN: ListenOptions = { backlog: 512, reusePort: false, keepAlive: false };

/** Seeded; the same on every run. */
export class Dice {
  constructor(private state: number) {}
  /** 0 ≤ result < below */
  roll(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.state / 0x1_0000_0000 * below);
  }
}

export type Hook = (peer: Peer, count: number) => void;
export interface Hooks {
  open?: Hook;
  data?: Hook;
  eof?: Hook;
  drain?: Hook;
  close?: Hook;
  passed?: Hook;
}

/** Calls of the seam that are on the stack now. */
let calls = 0;
/** Breaches seen since the last `assertNoBreach`. */
const breaches: string[] = [];

export function assertNoBreach(): void {
  assert.deepEqual(breaches.splice(0), []);
}

/** Runs a call of the seam; a handler that is called meanwhile is a breach. */
export function inside<T>(call: () => T): T {
  calls++;
  try {
    return call();
  } finally {
    calls--;
  }
}

export class Peer {
  socket!: Socket;
  opens = 0;
  eofs = 0;
  drains = 0;
  closes = 0;
  error: NetError | null = null;
  sentBytes = 0;
  receivedBytes = 0;
  /** In the order heard: "open data data eof close". */
  heard: string[] = [];
  private ended = false;
  private destroyed = false;
  private paused = false;
  private dataWhilePaused = 0;
  /** Where what comes may pass to, and how many bytes of it. */
  private passingTo: Peer | null = null;
  private passing = 0;
  /** Have passed. */
  passedBytes = 0;

  constructor(readonly role: string, readonly hooks: Hooks) {}

  /** Appends the next `size` bytes of the stream, in pieces if they are very many. */
  send(size: number, shared = false): void {
    while (size > 0) {
      const start = this.sentBytes % PERIOD;
      const end = start + Math.min(size, STREAM_MAX);
      inside(() =>
        shared ? this.socket.sendShared(STREAM, start, end) : this.socket.send(STREAM, start, end)
      );
      if (!this.ended && !this.destroyed && this.closes === 0) this.sentBytes += end - start;
      size -= end - start;
    }
    this.count();
  }

  /** As `send`, but the array given is overwritten afterwards: `send` only borrows. */
  sendScratch(size: number): void {
    const start = this.sentBytes % PERIOD;
    const scratch = new Uint8Array(size + 10);
    scratch.set(STREAM.subarray(start, start + size), 5);
    inside(() => this.socket.send(scratch, 5, 5 + size));
    scratch.fill(0xee);
    this.sentBytes += size;
  }

  /** Appends the next `size` bytes of the stream as an outbox of the caller's, in two appends. */
  sendChunks(size: number): void {
    const start = this.sentBytes % PERIOD;
    const chunks = new Outbox();
    chunks.append(STREAM, start, start + (size >> 1));
    chunks.append(STREAM, start + (size >> 1), start + size);
    inside(() => this.socket.sendChunks(chunks));
    if (chunks.size !== 0) this.breach("sendChunks left something behind");
    this.sentBytes += size;
    this.count();
  }

  flush(): void {
    inside(() => this.socket.flush());
    this.count();
  }

  /** False if nothing will pass. */
  passTo(to: Peer, count: number): boolean {
    this.passing = inside(() => this.socket.passTo?.(to.socket, count)) === true ? count : 0;
    this.passingTo = to;
    return this.passing > 0;
  }

  passes(count: number): void {
    if (count <= 0 || count > this.passing) {
      this.breach(`rule 13: ${count} bytes passed of ${this.passing} that may`);
    }
    this.passing -= count;
    this.passedBytes += count;
    this.receivedBytes += count;
    this.passingTo!.sentBytes += count;
  }

  /** It has destroyed its end. */
  get isGone(): boolean {
    return this.destroyed;
  }

  pause(): void {
    inside(() => this.socket.pause());
    if (!this.paused) this.dataWhilePaused = 0;
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    inside(() => this.socket.resume());
  }

  end(): void {
    inside(() => this.socket.end());
    this.ended = true;
  }

  destroy(): void {
    inside(() => this.socket.destroy());
    this.destroyed = true;
  }

  /** @returns how many bytes the other end can have at most */
  withdraw(): number {
    const back = new Outbox();
    const { sentBytes } = this;
    const given = inside(() => this.socket.withdraw(back));
    this.destroyed = true;
    if (given + back.size !== sentBytes) {
      this.breach(`rule 12: ${given} bytes given and ${back.size} given back are not ${sentBytes}`);
    }
    const bytes = new Uint8Array(back.size);
    back.moveTo(bytes);
    this.compare(bytes, given, "what was given back");
    return given;
  }

  breach(what: string): void {
    breaches.push(`${this.role}: ${what} (heard: ${this.heard.slice(-10).join(" ")})`);
  }

  hear(event: "open" | "data" | "eof" | "drain" | "close"): void {
    this.heard.push(event);
    if (calls > 0) this.breach(`rule 2: ${event} from inside a call`);
    if (this.closes > 0) this.breach(`rule 1: ${event} after close`);
    if (event === "open" ? this.opens > 0 : event !== "close" && this.opens === 0) {
      this.breach(`rule 1: ${event} out of turn`);
    }
    if (event !== "close" && this.destroyed) this.breach(`rule 11: ${event} after destroy`);
    if (event === "data" && this.ended) this.breach("rule 5: data after end");
    if (event === "data" && this.eofs > 0) this.breach("data after eof");
    if (event === "eof" && this.eofs > 0) this.breach("eof twice");
    if (event === "drain" && !this.ended && this.socket.queuedBytes !== 0) {
      this.breach("rule 10: drain with bytes queued");
    }
    if (event === "data" && this.paused && ++this.dataWhilePaused > 1) {
      this.breach("rule 8: data twice after pause");
    }
  }

  receive(bytes: Uint8Array): void {
    if (bytes.length === 0) this.breach("rule 3: data of zero bytes");
    this.compare(bytes, this.receivedBytes, "data");
    this.receivedBytes += bytes.length;
    this.passing = Math.max(0, this.passing - bytes.length);
  }

  private compare(bytes: Uint8Array, at: number, what: string): void {
    for (let i = 0, k = at % PERIOD; i < bytes.length; i++) {
      if (bytes[i] !== STREAM[k]) return this.breach(`rule 4: ${what} differs from the stream at ${at + i}`);
      if (++k === PERIOD) k = 0;
    }
  }

  private count(): void {
    if (this.ended || this.destroyed || this.closes > 0) return;
    const { flushedBytes, queuedBytes } = this.socket;
    if (flushedBytes + queuedBytes !== this.sentBytes) {
      this.breach(`flushedBytes ${flushedBytes} + queuedBytes ${queuedBytes} is not ${this.sentBytes}`);
    }
  }
}

const HANDLER: Handler = {
  open: (socket) => {
    const peer = socket.owner as Peer;
    peer.hear("open");
    peer.opens++;
    peer.hooks.open?.(peer, 0);
  },
  data: (socket, bytes) => {
    const peer = socket.owner as Peer;
    peer.hear("data");
    peer.receive(bytes);
    peer.hooks.data?.(peer, bytes.length);
  },
  eof: (socket) => {
    const peer = socket.owner as Peer;
    peer.hear("eof");
    peer.eofs++;
    peer.hooks.eof?.(peer, 0);
  },
  drain: (socket) => {
    const peer = socket.owner as Peer;
    peer.hear("drain");
    peer.drains++;
    peer.hooks.drain?.(peer, 0);
  },
  close: (socket, error) => {
    const peer = socket.owner as Peer;
    peer.hear("close");
    peer.closes++;
    peer.error = error;
    peer.hooks.close?.(peer, 0);
  },
  passed: (socket, count) => {
    const peer = socket.owner as Peer;
    // In the place of data, it keeps to the same rules.
    peer.hear("data");
    peer.passes(count);
    peer.hooks.passed?.(peer, count);
  },
};

/** A listening socket and everyone it accepted, in order. */
export class Host {
  readonly accepted: Peer[] = [];
  listener!: Listener;
  address!: Address;

  static async listen(net: Net, address: Address, hooks: Hooks = {}, options = LISTEN): Promise<Host> {
    const host = new Host();
    const handler: Handler = {
      ...HANDLER,
      open: (socket) => {
        const peer = new Peer(`accepted ${host.accepted.length}`, hooks);
        if (socket.owner !== undefined) peer.breach("owner of an accepted socket is set");
        socket.owner = peer;
        peer.socket = socket;
        host.accepted.push(peer);
        HANDLER.open(socket);
      },
    };
    // Only the synchronous part is a call; the rest of listening takes turns.
    host.listener = await inside(() => net.listen(address, handler, options));
    host.address = "path" in address ? address : { host: address.host, port: host.listener.port };
    return host;
  }

  close(): void {
    inside(() => this.listener.close());
  }
}

export function connect(net: Net, address: Address, hooks: Hooks = {}, role = "client"): Peer {
  const peer = new Peer(role, hooks);
  peer.socket = inside(() => net.connect(address, HANDLER, peer));
  if (peer.socket.owner !== peer) peer.breach("owner is not what connect was given");
  return peer;
}

const PATIENCE_MS = 20_000;

/** Polls until it holds. */
export async function until(clock: Clock, holds: () => boolean, what: string): Promise<void> {
  const startMs = clock.nowMs();
  while (!holds()) {
    if (clock.nowMs() - startMs > PATIENCE_MS) {
      throw new Error(`waited ${PATIENCE_MS} ms in vain for: ${what}`);
    }
    await new Promise<void>((resolve) => void clock.setTimer(2, resolve));
  }
}
