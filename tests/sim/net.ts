/**
 * The simulator's network: sockets in memory that fulfil the contract in src/net/net.ts as unkindly as it allows.
 *
 *   send ──► queue ──flush──► pipe (bounded: "the kernel") ──latency──► data
 *              ▲ short writes, back pressure        ▲ cut reads, stalls, resets, silence
 *
 * Everything happens in events of a SimClock and by chance of a seeded Random, so a run is its seed. Besides moving
 * bytes it watches the code under test:
 *  - a view is overwritten with 0xDD once `data` returns: who kept it sees rubbish;
 *  - a chunk that was given back is overwritten too;
 *  - an array given to `sendShared` must still be the same when its bytes leave: else `flush` throws;
 *  - every event is noted in `log`.
 */
import { Buffer } from "node:buffer";
import { copy } from "../../src/bytes/ascii.ts";
import { poisonChunks } from "../../src/bytes/chunks.ts";
import type { Outbox } from "../../src/bytes/outbox.ts";
import {
  type Address,
  type Handler,
  type Listener,
  type ListenOptions,
  type Net,
  type NetError,
  type Socket,
} from "../../src/net/net.ts";
import type { SimClock } from "./clock.ts";
import { EventLog } from "./event_log.ts";
import { CALM, type Faults } from "./faults.ts";
import type { SimProcess } from "./process.ts";
import { Random } from "./random.ts";

const CONNECTING = 0;
const OPEN = 1;
/** Closed for its owner's calls; `close` is on its way. */
const CLOSING = 2;
const CLOSED = 3;

/** Most bytes of one `data`. */
const READ_MAX = 256 * 1024;
/** The kernel's patience with an unanswered connect: tcp_syn_retries = 6. */
const CONNECT_PATIENCE_MS = 127_000;
/** As src/runtime/linger.ts: how long an ended socket waits for its peer. */
const QUIET_MAX_MS = 5000;
const LINGER_MAX_MS = 10_000;
const UNSENT_MAX_MS = 60_000;
const FIRST_PORT = 20_000;
const FIRST_CLIENT_PORT = 40_000;
/** What borrowed views are overwritten with. */
const CLOBBER = 0xdd;
/** Up to here a loop beats any call. */
const LOOP_MAX = 256;

/** Where borrowed views are: one behind the other, so that what was there long ago is rubbish for long. Clobbered but for a view that is lent. */
const lent = { bytes: new Uint8Array(1 << 20).fill(CLOBBER), at: 0 };

/** Room for a view of `count` bytes. @param more bytes before and behind it that nobody is to look at */
function lend(count: number, more: number): number {
  const { bytes } = lent;
  if (lent.at + count + 2 * more > bytes.length) lent.at = 0;
  const at = lent.at + more;
  lent.at = at + count + more;
  return at;
}

/** Bytes that will reach the receiver at a time. */
interface Segment {
  readonly bytes: Uint8Array;
  start: number;
  readonly atMs: number;
}

/** One direction of a connection. */
class Pipe {
  readonly segments: Segment[] = [];
  heldBytes = 0;
  /** Nothing overtakes what was sent before it. */
  lastAtMs = 0;
  finAtMs = Infinity;

  constructor(readonly from: SimSocket, readonly to: SimSocket, public capacity: number) {}

  arrivedBytes(nowMs: number): number {
    let count = 0;
    for (const segment of this.segments) {
      if (segment.atMs > nowMs) break;
      count += segment.bytes.length - segment.start;
    }
    return count;
  }

  /** Takes `count` of the arrived bytes into `to` at `at`. */
  take(count: number, to: Uint8Array, at: number): void {
    this.heldBytes -= count;
    while (count > 0) {
      const segment = this.segments[0]!;
      const part = Math.min(count, segment.bytes.length - segment.start);
      copy(to, at, segment.bytes, segment.start, segment.start + part);
      segment.start += part;
      at += part;
      count -= part;
      if (segment.start === segment.bytes.length) this.segments.shift();
    }
  }

  /** When the receiver has something to do next: a segment or FIN; Infinity for nothing. */
  nextMs(): number {
    return this.segments.length > 0 ? this.segments[0]!.atMs : this.finAtMs;
  }

  drop(): void {
    this.segments.length = 0;
    this.heldBytes = 0;
  }
}

/** Bytes given to `send`: a copy, and for `sendShared` where they came from. */
interface Queued {
  readonly bytes: Uint8Array;
  start: number;
  readonly shared: Uint8Array | null;
  readonly sharedStart: number;
}

export class SimSocket implements Socket {
  owner: unknown = undefined;
  queuedBytes = 0;
  flushedBytes = 0;
  /** Handed to `data`: what has come later, after its owner's `end`, is none of it. */
  givenBytes = 0;
  state = CONNECTING;
  /** The other end, once it exists. */
  other: SimSocket | null = null;
  readonly madeAtMs: number;
  input: Pipe | null = null;
  output: Pipe | null = null;
  ended = false;
  paused = false;
  /** Nothing arrives any more, either way. */
  vanished = false;
  private lateGiven = false;
  /** The kernel did not take everything at the last flush. */
  private blocked = false;
  private writeAsked = false;
  private readAtMs = Infinity;
  private readTimer: unknown = null;
  /** FIN goes out behind what is queued, but `data` still comes. */
  private half = false;
  private finSent = false;
  private finReceived = false;
  private lingerStartMs = 0;
  private heardMs = 0;
  /** Where what comes may pass to, and how many bytes more. */
  private passingTo: SimSocket | null = null;
  private passing = 0;
  private readonly queue: Queued[] = [];
  private readonly process: SimProcess | undefined;

  constructor(
    private readonly net: SimNet,
    private readonly handler: Handler,
    /** "7c" is the connecting end of the seventh connection, "7s" the accepting one. */
    readonly label: string,
    /** Address that was connected to, as a key. */
    readonly key: string,
    private readonly peerName: string,
    private readonly localName: string,
  ) {
    this.process = net.processes.get(handler);
    this.madeAtMs = net.clock.nowMs();
  }

  /** Its process is stopped: `again` will be called when it goes on. */
  private waits(again: () => void): boolean {
    const { process } = this;
    if (process === undefined || !process.stopped) return false;
    process.forSocket(again);
    return true;
  }

  peer(): string {
    return this.peerName;
  }

  local(): string {
    return this.localName;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.enqueue(bytes, start, end, null);
  }

  sendShared(bytes: Uint8Array, start: number, end: number): void {
    this.enqueue(bytes, start, end, bytes);
  }

  sendChunks(chunks: Outbox): void {
    const bytes = new Uint8Array(chunks.size);
    this.enqueue(bytes, 0, chunks.moveTo(bytes), null);
  }

  private enqueue(bytes: Uint8Array, start: number, end: number, shared: Uint8Array | null): void {
    if (start < 0 || end > bytes.length || start > end) {
      throw new RangeError(
        `${this.label}: send of [${start}, ${end}) from an array of ${bytes.length} bytes`,
      );
    }
    if (this.state >= CLOSING || this.ended || start === end) return;
    this.queue.push({ bytes: bytes.slice(start, end), start: 0, shared, sharedStart: start });
    this.queuedBytes += end - start;
  }

  flush(): void {
    if (this.state === OPEN && !this.ended) this.write();
  }

  passTo(to: Socket, count: number): boolean {
    const may = count > 0 && to instanceof SimSocket && this.state === OPEN;
    this.passingTo = may ? to : null;
    this.passing = may ? count : 0;
    return may;
  }

  pause(): void {
    if (this.state >= CLOSING || this.paused) return;
    this.paused = true;
    this.lateGiven = false;
    this.net.note(this, "pause");
  }

  resume(): void {
    if (this.state >= CLOSING || !this.paused) return;
    this.paused = false;
    this.net.note(this, "resume");
    this.askRead();
  }

  end(): void {
    if (this.state >= CLOSING || this.ended) return;
    this.ended = true;
    this.net.note(this, "end", this.queuedBytes);
    if (this.state === CONNECTING) return;
    this.heardMs = this.lingerStartMs = this.net.clock.nowMs();
    this.net.clock.setTimer(QUIET_MAX_MS, () => this.linger());
    this.write();
    this.closeIfDone();
    // Whoever has ended reads on, and throws away.
    this.askRead();
  }

  /** Not of the seam, for simulated clients: sends no more, reads on (shutdown(SHUT_WR)). */
  halfClose(): void {
    if (this.state !== OPEN || this.ended || this.half) return;
    this.half = true;
    this.net.note(this, "half close", this.queuedBytes);
    this.write();
  }

  destroy(): void {
    if (this.state >= CLOSING) return;
    this.net.note(this, "destroy", this.queuedBytes);
    const { input, output, other, net } = this;
    const unread = input !== null && input.arrivedBytes(net.clock.nowMs()) > 0;
    const gentle = !unread && this.state === OPEN && this.queuedBytes === 0 &&
      net.random.chance(net.faultsAt(this.key).finOnDestroy);
    this.close(null);
    if (other === null || output === null || this.vanished) return;
    if (gentle && this.finSent) return;
    if (gentle && output.finAtMs === Infinity) {
      output.finAtMs = Math.max(output.lastAtMs, net.arrivalMs(this.key));
      other.askRead();
    } else if (!gentle) this.resetOther();
  }

  withdraw(into: Outbox): number {
    const { flushedBytes } = this;
    if (this.state < CLOSING && this.queuedBytes > 0) {
      const bytes = this.takeQueued(this.queuedBytes);
      into.append(bytes, 0, bytes.length);
      this.flushedBytes = flushedBytes;
    }
    this.destroy();
    return flushedBytes;
  }

  /** Both ends exist. */
  join(other: SimSocket, input: Pipe, output: Pipe): void {
    this.other = other;
    this.input = input;
    this.output = output;
  }

  /** The connection is made; for the accepting end at once, for the connecting one when it hears of it. */
  opened(): void {
    if (this.state !== CONNECTING || this.waits(() => this.opened())) return;
    this.state = OPEN;
    this.net.note(this, "open");
    if (this.ended) {
      // Ended before open: no open, but everything is delivered.
      this.ended = false;
      this.end();
      return;
    }
    this.handler.open(this);
    if (this.state !== OPEN) return;
    if (this.queuedBytes > 0) this.write();
    this.askRead();
  }

  /** The connection cannot be made, or is lost; `force` also tells those that nothing reaches any more. */
  reset(code: string, force = false): void {
    if (this.state >= CLOSING || this.vanished && !force) return;
    this.close({ code, message: `${code} ${this.key} (simulated)` }, true);
  }

  /** The other end hears of a reset after what was sent before it has arrived, though it may not get to read that. */
  private resetOther(): void {
    const { net, other, output } = this;
    net.clock.at(Math.max(output!.lastAtMs, net.arrivalMs(this.key)), () => other!.reset("ECONNRESET"));
  }

  /** `close` comes now if this is an event of its own, else in the next turn. */
  private close(error: NetError | null, now = false): void {
    this.state = CLOSING;
    this.queue.length = 0;
    this.queuedBytes = 0;
    const run = () => {
      if (this.waits(run)) return;
      this.state = CLOSED;
      this.net.forget(this);
      this.net.note(this, error === null ? "close" : `close ${error.code}`);
      this.handler.close(this, error);
    };
    if (now) run();
    else this.net.clock.at(this.net.clock.nowMs(), run);
  }

  /** Moves queued bytes into the pipe, as many as it and chance let. */
  private write(): void {
    const { net } = this;
    const output = this.output!;
    const faults = net.faultsAt(this.key);
    if (this.queuedBytes > 0) {
      const room = output.capacity - output.heldBytes;
      let count = Math.min(room, this.queuedBytes);
      if (count > 1 && net.random.chance(faults.shortWrite)) count = net.random.int(1, count);
      if (count > 0) {
        const bytes = this.takeQueued(count);
        net.note(this, "write", count);
        net.transmit(output, bytes);
      }
      if (this.queuedBytes > 0) {
        this.blocked = true;
        if (count < room) this.askWrite();
        return;
      }
    }
    if (this.blocked || net.random.chance(faults.spuriousDrain)) {
      this.blocked = false;
      net.clock.at(net.clock.nowMs(), () => this.drained());
    }
    if ((this.ended || this.half) && !this.finSent) {
      this.finSent = true;
      this.heardMs = this.lingerStartMs = net.clock.nowMs();
      if (output.finAtMs === Infinity) {
        output.finAtMs = Math.max(output.lastAtMs, net.arrivalMs(this.key));
        if (!this.vanished) output.to.askRead();
      }
      this.closeIfDone();
    }
  }

  private takeQueued(count: number): Uint8Array {
    const head = this.queue[0]!;
    if (head.start === 0 && head.bytes.length === count) {
      // All of it, as it is nearly always: the copy that `enqueue` has made goes on.
      if (head.shared !== null) this.checkShared(head, count);
      this.queue.shift();
      this.queuedBytes -= count;
      this.flushedBytes += count;
      return head.bytes;
    }
    const bytes = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const first = this.queue[0]!;
      const part = Math.min(count - at, first.bytes.length - first.start);
      if (first.shared !== null) this.checkShared(first, part);
      bytes.set(first.bytes.subarray(first.start, first.start + part), at);
      first.start += part;
      at += part;
      if (first.start === first.bytes.length) this.queue.shift();
    }
    this.queuedBytes -= count;
    this.flushedBytes += count;
    return bytes;
  }

  private checkShared({ bytes, start, shared, sharedStart }: Queued, count: number): void {
    if (count > LOOP_MAX) {
      const from = sharedStart + start;
      const [sent, now] = [bytes.subarray(start, start + count), shared!.subarray(from, from + count)];
      if (Buffer.compare(sent, now) === 0) return;
    }
    let i = start;
    while (i < start + count && bytes[i] === shared![sharedStart + i]) i++;
    if (i === start + count) return;
    throw new Error(
      `${this.label}: an array given to sendShared was written to at offset ${sharedStart + i}`,
    );
  }

  /** Room for more bytes may have come. */
  askWrite(): void {
    if (!this.blocked || this.writeAsked || this.state !== OPEN) return;
    this.writeAsked = true;
    const { net } = this;
    net.clock.at(net.clock.nowMs() + net.latencyMs(this.key), () => {
      this.writeAsked = false;
      this.heardMs = net.clock.nowMs();
      this.writable();
    });
  }

  private writable(): void {
    if (this.state === OPEN && !this.waits(() => this.writable())) this.write();
  }

  private drained(): void {
    if (this.waits(() => this.drained())) return;
    if (this.state !== OPEN || this.ended || this.queuedBytes > 0) return;
    this.net.note(this, "drain");
    this.handler.drain(this);
  }

  /** Has `read` called when the next bytes or FIN arrive. */
  askRead(): void {
    const { clock } = this.net;
    const atMs = Math.max(clock.nowMs(), this.input?.nextMs() ?? Infinity);
    if (atMs === Infinity || this.vanished || atMs >= this.readAtMs) return;
    clock.clearTimer(this.readTimer);
    this.readAtMs = atMs;
    this.readTimer = clock.at(atMs, () => {
      this.readAtMs = Infinity;
      this.read();
    });
  }

  private read(): void {
    if (this.vanished || this.state === CONNECTING || this.waits(() => this.read())) return;
    const { net } = this;
    const input = this.input!;
    const nowMs = net.clock.nowMs();
    const arrived = input.arrivedBytes(nowMs);
    if (this.state >= CLOSING) {
      // Nobody is here: the kernel answers data with a reset.
      if (arrived === 0) return;
      input.drop();
      this.resetOther();
      return;
    }
    this.heardMs = nowMs;
    if (this.ended) {
      if (arrived > 0) {
        input.take(arrived, new Uint8Array(arrived), 0);
        input.from.askWrite();
        net.note(this, "discard", arrived);
      }
    } else {
      if (this.paused) {
        if (arrived === 0 || this.lateGiven || !net.random.chance(net.faultsAt(this.key).lateData)) return;
        this.lateGiven = true;
      }
      if (arrived > 0) {
        if (!this.letPass(arrived)) this.give(arrived);
        if (this.state === OPEN) this.askRead();
        return;
      }
    }
    if (input.segments.length === 0 && input.finAtMs <= nowMs && !this.finReceived) {
      this.finReceived = true;
      input.finAtMs = Infinity;
      net.note(this, "eof");
      if (!this.ended) this.handler.eof(this);
      this.closeIfDone();
      return;
    }
    this.askRead();
  }

  /** Moves some of what has arrived on to where it may pass, by chance. */
  private letPass(arrived: number): boolean {
    const { net, passingTo: to } = this;
    if (this.passing === 0 || to === null || !to.takesAtOnce || net.random.chance(0.2)) return false;
    const input = this.input!;
    let count = Math.min(arrived, this.passing, READ_MAX);
    if (count > 1 && net.random.chance(net.faultsAt(this.key).cutRead)) {
      count = net.random.magnitude(1, count);
    }
    net.note(this, `passes to ${to.label}`, count);
    const bytes = new Uint8Array(count);
    input.take(count, bytes, 0);
    input.from.askWrite();
    this.givenBytes += count;
    this.passing -= count;
    to.enqueue(bytes, 0, count, null);
    to.write();
    this.handler.passed!(this, count);
    return true;
  }

  private get takesAtOnce(): boolean {
    return this.state === OPEN && !this.ended && !this.half && this.queuedBytes === 0 && !this.blocked;
  }

  private give(arrived: number): void {
    const { net } = this;
    const input = this.input!;
    let count = Math.min(arrived, READ_MAX);
    if (count > 1 && net.random.chance(net.faultsAt(this.key).cutRead)) {
      count = net.random.magnitude(1, count);
    }
    net.note(this, "data", count);
    // A view somewhere inside a larger buffer, so that whoever uses bytes.buffer from 0 is found out too.
    const at = lend(count, net.random.int(8, 40));
    input.take(count, lent.bytes, at);
    input.from.askWrite();
    this.givenBytes += count;
    this.passing = Math.max(0, this.passing - count);
    this.handler.data(this, lent.bytes.subarray(at, at + count));
    lent.bytes.fill(CLOBBER, at, at + count);
  }

  private closeIfDone(): void {
    if (this.state === OPEN && this.ended && this.finSent && this.finReceived) this.close(null);
  }

  /** Gives up on a peer that does not take what was sent, or never ends. */
  private linger(): void {
    if (this.state !== OPEN) return;
    const nowMs = this.net.clock.nowMs();
    const quietMs = nowMs - this.heardMs;
    const over = this.finSent
      ? quietMs >= QUIET_MAX_MS || nowMs - this.lingerStartMs >= LINGER_MAX_MS
      : quietMs >= UNSENT_MAX_MS;
    if (over) {
      this.net.note(this, "linger over", this.queuedBytes);
      const said = this.finSent;
      this.close(said ? null : { code: "ETIMEDOUT", message: `ETIMEDOUT ${this.key} (simulated)` }, true);
      if (!said && !this.vanished) this.resetOther();
    } else this.net.clock.setTimer(QUIET_MAX_MS / 10, () => this.linger());
  }

  /** @throws Error if what must always hold does not */
  invariants(): void {
    let queued = 0;
    for (const { bytes, start } of this.queue) queued += bytes.length - start;
    if (queued !== this.queuedBytes) {
      throw new Error(`${this.label}: queuedBytes is ${this.queuedBytes}, but ${queued} are queued`);
    }
    const held = this.output?.segments.reduce((sum, { bytes, start }) => sum + bytes.length - start, 0) ?? 0;
    if (this.output !== null && (held !== this.output.heldBytes || held > this.output.capacity)) {
      throw new Error(
        `${this.label}: pipe holds ${held}, counted ${this.output.heldBytes}, may hold ${this.output.capacity}`,
      );
    }
  }
}

/** State of an address that servers listen on. */
interface Host {
  down: boolean;
  /** Connects are not answered. */
  silent: boolean;
  /** Nothing arrives from or at it before this time. */
  stalledUntilMs: number;
  faults: Faults | null;
}

interface Accepting {
  readonly handler: Handler;
  readonly reusePort: boolean;
}

/** A key for an address: "127.0.0.1:6379" or the path. */
export function keyOf(address: Address): string {
  if ("path" in address) return address.path;
  return `${address.host === "localhost" ? "127.0.0.1" : address.host}:${address.port}`;
}

export interface SimNetOptions {
  readonly faults?: Faults;
  readonly log?: EventLog;
}

export class SimNet implements Net {
  readonly name = "sim";
  readonly random: Random;
  readonly log: EventLog;
  /** All that has been late until now has come by then. */
  lateMs = 0;
  /** Whose sockets are a process's that may stop. */
  readonly processes = new WeakMap<Handler, SimProcess>();
  /** Sockets that have not closed yet. */
  readonly sockets = new Set<SimSocket>();
  /** Above 0 what is sent arrives at its multiples, ms: many sockets have something to read in the same turn, as it is under load. */
  gridMs = 0;
  /** Those who connect come from so many addresses. */
  clientHosts = 1;
  private faults: Faults;
  private readonly hosts = new Map<string, Host>();
  private readonly listeners = new Map<string, Accepting[]>();
  private nextPort = FIRST_PORT;
  private connections = 0;

  /** @param random a generator of its own: no other part may draw from it */
  /** Told of every address that somebody connects to. */
  connecting: ((key: string) => void) | null = null;

  constructor(readonly clock: SimClock, random: Random, options: SimNetOptions = {}) {
    this.random = random;
    this.faults = options.faults ?? CALM;
    this.log = options.log ?? new EventLog();
    poisonChunks();
  }

  listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    let port = 0;
    if ("port" in address) {
      port = address.port;
      if (port === 0) {
        do port = this.nextPort++; while (this.listeners.has(keyOf({ host: address.host, port })));
      }
    }
    const key = "path" in address ? address.path : keyOf({ host: address.host, port });
    const others = this.listeners.get(key) ?? [];
    if (others.some((other) => !other.reusePort || !options.reusePort)) {
      const error = new Error(`Cannot listen on ${key}: address already in use (EADDRINUSE)`);
      return Promise.reject(Object.assign(error, { code: "EADDRINUSE" }));
    }
    const accepting: Accepting = { handler, reusePort: options.reusePort };
    this.listeners.set(key, [...others, accepting]);
    this.log.add(this.clock.nowMs(), "-", `listen ${key}`);
    const close = () => {
      const left = (this.listeners.get(key) ?? []).filter((one) => one !== accepting);
      if (left.length > 0) this.listeners.set(key, left);
      else this.listeners.delete(key);
    };
    return Promise.resolve({ port, close });
  }

  connect(address: Address, handler: Handler, owner: unknown): SimSocket {
    const key = keyOf(address);
    this.connecting?.(key);
    const id = ++this.connections;
    const [there, here] = "path" in address ? ["unix", "unix"] : [key, clientName(id, this.clientHosts)];
    const socket = new SimSocket(this, handler, `${id}c`, key, there, here);
    socket.owner = owner;
    this.sockets.add(socket);
    this.note(socket, `connect ${key}`);
    const faults = this.faultsAt(key);
    if (this.host(key).silent || this.random.chance(faults.blackHole)) {
      this.clock.setTimer(CONNECT_PATIENCE_MS, () => socket.reset("ETIMEDOUT"));
      return socket;
    }
    const slowMs = this.random.chance(faults.slowConnect) ? this.random.next() * faults.slowConnectMaxMs : 0;
    this.clock.at(this.arrivalMs(key) + slowMs, () => this.accept(socket, address, id));
    return socket;
  }

  /** Somebody asks to be let in. */
  private accept(client: SimSocket, address: Address, id: number): void {
    if (client.state !== CONNECTING) return;
    const { key } = client;
    const accepting = this.acceptingAt(address);
    const refused = this.host(key).down || this.random.chance(this.faultsAt(key).refuse);
    if (accepting === null || refused) {
      const code = "path" in address && accepting === null ? "ENOENT" : "ECONNREFUSED";
      this.clock.at(this.arrivalMs(key), () => client.reset(code));
      return;
    }
    const [there, here] = "path" in address ? ["unix", "unix"] : [clientName(id, this.clientHosts), key];
    const server = new SimSocket(this, accepting.handler, `${id}s`, key, there, here);
    this.sockets.add(server);
    const up = new Pipe(client, server, this.kernelBytes(key));
    const down = new Pipe(server, client, this.kernelBytes(key));
    client.join(server, down, up);
    server.join(client, up, down);
    down.lastAtMs = this.arrivalMs(key);
    this.clock.at(down.lastAtMs, () => client.opened());
    server.opened();
  }

  private acceptingAt(address: Address): Accepting | null {
    let found = this.listeners.get(keyOf(address));
    if (found === undefined && "port" in address) {
      found = this.listeners.get(keyOf({ host: "0.0.0.0", port: address.port }));
    }
    return found === undefined ? null : this.random.pick(found);
  }

  /** Puts bytes into a pipe; owned. */
  transmit(pipe: Pipe, bytes: Uint8Array): void {
    const { from, to } = pipe;
    const faults = this.faultsAt(from.key);
    let atMs = Math.max(pipe.lastAtMs, this.arrivalMs(from.key));
    if (this.random.chance(faults.stall)) {
      atMs += this.random.next() * faults.stallMaxMs;
      this.lateMs = Math.max(this.lateMs, atMs);
      this.note(from, `stalls to ${atMs.toFixed(1)}`);
    }
    pipe.lastAtMs = atMs;
    pipe.segments.push({ bytes, start: 0, atMs });
    pipe.heldBytes += bytes.length;
    if (this.random.chance(faults.vanish)) this.silence(from);
    if (this.random.chance(faults.reset)) {
      this.clock.at(atMs, () => {
        from.reset("ECONNRESET");
        to.reset("ECONNRESET");
      });
    }
    to.askRead();
  }

  /** What is written by either end of this connection from now on, or under way, never arrives. */
  private silence(socket: SimSocket): void {
    this.note(socket, "vanishes");
    socket.vanished = true;
    if (socket.other !== null) socket.other.vanished = true;
  }

  // What a simulation does to addresses.

  /** Faults from now on; for one address, or for all that have none of their own. */
  setFaults(faults: Faults, address?: Address): void {
    if (address === undefined) this.faults = faults;
    else this.host(keyOf(address)).faults = faults;
  }

  /**
   * No more faults anywhere: all addresses are up, calm and in time, and kernels have room. Connections that vanished stay
   * so (see `bury`).
   */
  heal(): void {
    this.faults = CALM;
    for (const { output } of this.sockets) {
      if (output !== null) output.capacity = Math.max(output.capacity, CALM.kernelMinBytes);
    }
    for (const host of this.hosts.values()) {
      host.down = host.silent = false;
      host.stalledUntilMs = 0;
      host.faults = null;
    }
  }

  /**
   * The server dies: its connections are reset and new ones refused; or, if it dies `silently` (a cable is
   * pulled), nobody is told anything. Its listeners stay, for `up`.
   */
  down(address: Address, silently = false): void {
    const key = keyOf(address);
    const host = this.host(key);
    host.down = true;
    host.silent = silently;
    this.log.add(this.clock.nowMs(), "-", `${silently ? "silently " : ""}down ${key}`);
    for (const socket of this.sockets) {
      if (socket.key !== key || socket.other === null) continue;
      if (silently) this.silence(socket);
      else this.clock.at(this.clock.nowMs() + this.latencyMs(key), () => socket.reset("ECONNRESET"));
    }
  }

  up(address: Address): void {
    const host = this.host(keyOf(address));
    host.down = host.silent = false;
    this.log.add(this.clock.nowMs(), "-", `up ${keyOf(address)}`);
  }

  /** The kernel gives up on all connections that vanished: both ends close with ETIMEDOUT. */
  bury(): void {
    for (const socket of this.sockets) {
      if (socket.vanished) this.clock.at(this.clock.nowMs(), () => socket.reset("ETIMEDOUT", true));
    }
  }

  /** Nothing that is sent from now on to or from the address arrives for a while. */
  stall(address: Address, forMs: number): void {
    this.host(keyOf(address)).stalledUntilMs = this.clock.nowMs() + forMs;
    this.log.add(this.clock.nowMs(), "-", `stall ${keyOf(address)} for ${forMs} ms`);
  }

  // What sockets ask.

  faultsAt(key: string): Faults {
    return this.hosts.get(key)?.faults ?? this.faults;
  }

  latencyMs(key: string): number {
    const { latencyMinMs, latencyMaxMs } = this.faultsAt(key);
    return latencyMinMs + this.random.next() * (latencyMaxMs - latencyMinMs);
  }

  /** When something that leaves now gets there. */
  arrivalMs(key: string): number {
    const atMs = this.clock.nowMs() + this.latencyMs(key);
    const unstalledMs = Math.max(atMs, this.hosts.get(key)?.stalledUntilMs ?? 0);
    return this.gridMs > 0 ? Math.ceil(unstalledMs / this.gridMs) * this.gridMs : unstalledMs;
  }

  note(socket: SimSocket, what: string, bytes = -1): void {
    this.log.add(this.clock.nowMs(), socket.label, what, bytes);
  }

  forget(socket: SimSocket): void {
    this.sockets.delete(socket);
  }

  /** @throws Error if what must always hold does not */
  invariants(): void {
    for (const socket of this.sockets) socket.invariants();
  }

  private kernelBytes(key: string): number {
    const { kernelMinBytes, kernelMaxBytes } = this.faultsAt(key);
    return this.random.int(kernelMinBytes, kernelMaxBytes);
  }

  private host(key: string): Host {
    let host = this.hosts.get(key);
    if (host === undefined) {
      this.hosts.set(key, host = { down: false, silent: false, stalledUntilMs: 0, faults: null });
    }
    return host;
  }
}

/** What the accepting end sees of the connecting one. */
function clientName(id: number, hosts: number): string {
  return `127.0.0.${1 + id % hosts}:${FIRST_CLIENT_PORT + id % 20_000}`;
}
