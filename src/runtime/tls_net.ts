/**
 * A `Net` around a `Net`: the same contract, with TLS between.
 *
 *   handler ◄─ plaintext ─ TlsSocket ◄─ Records ◄─ Engine ◄─ ciphertext ─ socket of the net below
 *           ── send ─► outbox ─ flush ─► Engine.write ─► socket.send, flush
 *
 * Nothing is heard of an accepted connection before its handshake is over, and its certificate judged; a connect is `open` then. So
 * whoever limits the time of a connect limits the handshake too. What accepted connections may cost before that is limited here
 * (`Waiting`): nothing is made for one until its ClientHello is whole, some handshakes a turn, some half open ones (half_open.ts says who
 * goes), some time. While very many have been answered and keep still, clients of TLS 1.3 are asked to say it again, with a share of another
 * group (RFC 8446, 4.1.4), which costs a fraction of an answer with a signature: who does not go on gets no more than that.
 *
 * Bytes are encrypted when they leave: while the socket below holds HELD_MAX they wait here as plaintext, so `queuedBytes` means what it
 * means without TLS, and `withdraw` gives them back.
 */
import { Outbox } from "../bytes/outbox.ts";
import {
  type Address,
  type Clock,
  type Handler,
  type Listener,
  type ListenOptions,
  type Net,
  type NetError,
  type Preface,
  REFUSED,
  type Socket,
  type TimerId,
} from "../net/net.ts";
import {
  type Group,
  HELLO_MAX,
  NEED_MORE,
  NOT_TLS,
  readClientHello,
  readSecondHello,
} from "./client_hello.ts";
import { addressText, SocketError } from "./errors.ts";
import { addressOf, HalfOpen } from "./half_open.ts";
import { Lingerers, type Lingering } from "./linger.ts";
import { CLOSED, CONNECTING, ENDING, OPEN } from "./socket_state.ts";
import { Engine, type EngineEvents } from "./tls_engine.ts";
import { Records } from "./tls_records.ts";

/** How an accepted connection becomes TLS. */
export interface Accepting {
  /**
   * @param serverName whose certificate is asked for; null: not said
   * @param unshared the group to agree on if that can be: the client has to say it again with a share of it. Null: any
   */
  engine(serverName: string | null, unshared: Group | null, events: EngineEvents): Engine;
  /** Why who has shaken hands is not let in; null: he is. */
  refusal(engine: Engine, flaw: NetError | null): string | null;
  /** A handshake is over, and its client is let in. @returns Socket.certifiedNames */
  shook(engine: Engine): readonly string[] | undefined;
  /** A handshake has failed. @param peer "ip:port" */
  failed(peer: string, why: string): void;
  /** How long a handshake may take. */
  readonly handshakeMs: number;
  /** Whether a client can be asked to say it again: with TLS 1.3 alone. */
  readonly asksAgain: boolean;
}

/** How a connection that we make becomes TLS. */
export interface Connecting {
  engine(address: Address, events: EngineEvents): Engine;
  /** Why whoever answers is not who he should be; null: he is. */
  refusal(engine: Engine, flaw: NetError | null, address: Address): string | null;
  /** A handshake is over, and the server is who it should be. */
  shook(address: Address): void;
  /** A handshake has failed, after the connection stood. */
  failed(address: Address, why: string): void;
}

/** The socket below is given more only while it holds less. */
const HELD_MAX = 256 * 1024;
/** So much is encrypted in one piece. */
const WRITE_MAX = 64 * 1024;
/** Half open handshakes of a thread, unless its listeners are told of less. */
export const WAITING_MAX = 1024;
/** Connections whose handshake has failed that may take their time to read why, for each of those. */
const PARTING_SHARE = 1 / 4;
/** Handshakes that begin in one turn: each takes some tenths of a millisecond, in which nobody else is served. */
const BEGIN_MAX = 4;
/** Share of half open handshakes that have been answered and keep still, from which on we are pressed. */
const PRESSED_SHARE = 1 / 8;
const SWEEP_MS = 500;

export class TlsNet implements Net {
  readonly name: string;
  readonly lingerers: Lingerers;

  constructor(
    readonly below: Net,
    readonly clock: Clock,
    readonly waiting: Waiting,
    private readonly accepting: Accepting | null,
    private readonly connecting: Connecting | null,
  ) {
    this.name = below.name;
    this.lingerers = new Lingerers(clock);
  }

  listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    if (this.accepting === null) return this.below.listen(address, handler, options);
    this.waiting.max = options.handshakesMax ?? WAITING_MAX;
    return this.below.listen(address, new Accepted(this, this.accepting, handler, options), options);
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    const { below, connecting } = this;
    if (connecting === null) return below.connect(address, handler, owner);
    const socket = new TlsSocket(this, handler, owner, { connecting, address });
    socket.below = below.connect(address, BELOW, socket);
    return socket;
  }
}

/** What the socket below tells, once there is a TlsSocket. */
const BELOW: Handler = {
  open: (below) => (below.owner as TlsSocket).connected(),
  data: (below, bytes) => (below.owner as TlsSocket).received(bytes),
  eof: (below) => (below.owner as TlsSocket).finReceived(),
  drain: (below) => (below.owner as TlsSocket).writable(),
  close: (below, error) => (below.owner as TlsSocket | undefined)?.lost(error),
};

/** The same for a listener. */
class Accepted implements Handler {
  readonly data = BELOW.data;
  readonly eof = BELOW.eof;
  readonly drain = BELOW.drain;
  readonly close = BELOW.close;

  constructor(
    private readonly net: TlsNet,
    private readonly accepting: Accepting,
    private readonly handler: Handler,
    private readonly options: ListenOptions,
  ) {}

  open(below: Socket): void {
    const { accepting, options: { admits, preface } } = this;
    if (admits !== undefined && !admits(below)) return below.destroy();
    const socket = new TlsSocket(this.net, this.handler, undefined, { accepting, beganMs: 0 });
    below.owner = socket;
    socket.below = below;
    socket.announced = "";
    socket.preface = preface?.(below) ?? null;
    this.net.waiting.add(socket);
  }
}

/** What has to be known until the handshake is over. */
type Handshake =
  | { readonly accepting: Accepting; beganMs: number }
  | { readonly connecting: Connecting; readonly address: Address };

/** Accepted connections whose handshake is not over, of all listeners of a thread. */
export class Waiting {
  private readonly sockets: HalfOpen<TlsSocket>;
  /** Refused ones that are to read why. */
  private readonly parting = new Set<TlsSocket>();
  private begun = 0;
  private turns = false;
  private timer: TimerId | null = null;

  constructor(private readonly clock: Clock) {
    this.sockets = new HalfOpen(
      WAITING_MAX,
      (socket) => socket.handshakeFailed("given up for newer ones: too many handshakes are half open"),
    );
  }

  get size(): number {
    return this.sockets.size;
  }

  set max(max: number) {
    this.sockets.max = max;
  }

  add(socket: TlsSocket): void {
    socket.waitSince(this.clock.nowMs());
    // Those of a load balancer are strangers to each other until it has said whose they are.
    this.sockets.add(socket, socket.preface === null ? addressOf(socket.peer()) : socket.peer());
    this.timer ??= this.clock.setTimer(SWEEP_MS, () => this.sweep());
  }

  /** Its preface has come. */
  isOf(socket: TlsSocket, peer: string): void {
    this.sockets.isOf(socket, addressOf(peer));
  }

  /** Its handshake is over, and it is let in. */
  shook(socket: TlsSocket): void {
    this.sockets.shook(socket);
    this.rest();
  }

  remove(socket: TlsSocket): void {
    if (this.sockets.remove(socket)) this.rest();
  }

  private rest(): void {
    if (this.sockets.size > 0 || this.timer === null) return;
    this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** @returns whether it may take its time to close */
  part(socket: TlsSocket): boolean {
    return this.parting.size < this.sockets.max * PARTING_SHARE && this.parting.add(socket) !== null;
  }

  parted(socket: TlsSocket): void {
    if (this.parting.size > 0) this.parting.delete(socket);
  }

  /** Very many have been answered, and keep still. */
  get pressed(): boolean {
    return this.sockets.answered > this.sockets.max * PRESSED_SHARE;
  }

  /** Calls `begin` of this one when it is its turn, perhaps now. @param again it has been asked to come again */
  begin(socket: TlsSocket, again = false): void {
    if (again) this.sockets.asksAgain(socket);
    else this.sockets.asks(socket);
    this.beginSome();
    if (this.turns) return;
    this.turns = true;
    this.clock.afterTurn(() => this.turnEnded());
  }

  private beginSome(): void {
    while (this.begun < BEGIN_MAX) {
      const socket = this.sockets.next();
      if (socket === null) return;
      // Then one that costs much is enough for a turn.
      const { pressed } = this;
      this.begun += socket.begin(pressed) || !pressed ? 1 : BEGIN_MAX;
    }
  }

  private turnEnded(): void {
    this.begun = 0;
    this.turns = this.sockets.asked;
    if (!this.turns) return;
    // Asked for at the end of a turn this is the next turn's end, so others have theirs between.
    this.clock.afterTurn(() => this.turnEnded());
    this.beginSome();
  }

  private sweep(): void {
    this.timer = null;
    const nowMs = this.clock.nowMs();
    for (const socket of this.sockets.keys()) socket.lookAtTime(nowMs);
    if (this.sockets.size > 0) this.timer ??= this.clock.setTimer(SWEEP_MS, () => this.sweep());
  }
}

const ENDED_EARLY = "the other side closed before the handshake was over";
const NOTHING = new Uint8Array(0);
const NO_HELLO = { serverName: null, unshared: null };

class TlsSocket implements Socket, Lingering, EngineEvents {
  below!: Socket;
  certifiedNames: readonly string[] | undefined = undefined;
  announced: string | undefined = undefined;
  /** What has to come before the ClientHello. */
  preface: Preface | null = null;
  heard = false;
  private state = CONNECTING;
  private engine: Engine | null = null;
  private records: Records | null = null;
  /** Null once the handshake is over. */
  private handshake: Handshake | null;
  /** The beginning of the preface, then of a ClientHello, then of a second one. */
  private hello: Uint8Array = NOTHING;
  /** It has been asked to say its ClientHello again. */
  private asked = false;
  /** Plaintext that is not encrypted yet. */
  private readonly out = new Outbox();
  /** Plaintext bytes that have been encrypted, and of those what the kernel has certainly taken. */
  private encrypted = 0;
  private flushed = 0;
  private paused = false;
  /** Plaintext that came while paused; oldest first. */
  private unread: Uint8Array[] = [];
  /** The peer's close_notify or FIN has come. */
  private ended = false;
  /** … and the handler knows. */
  private eof = false;
  /** A call of the engine is on the stack: it cannot be freed. */
  private busy = 0;
  /** The handler's own calls are on the stack: it is told of nothing. */
  private calls = 0;
  private later = false;
  /** Why the engine goes on no more; undefined: it does. */
  private failure: NetError | null | undefined = undefined;

  constructor(
    private readonly net: TlsNet,
    private readonly handler: Handler,
    public owner: unknown,
    handshake: Handshake,
  ) {
    this.handshake = handshake;
  }

  get queuedBytes(): number {
    return this.state === CLOSED ? 0 : this.encrypted + this.out.size - this.flushedBytes;
  }

  /** What the socket below holds is no less than the plaintext in it. */
  get flushedBytes(): number {
    if (this.state === CLOSED || this.flushed === this.encrypted) return this.flushed;
    const held = this.below.queuedBytes;
    return this.flushed = Math.max(this.flushed, this.encrypted - held);
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    if (this.state <= OPEN) this.out.append(bytes, start, end);
  }

  sendShared(bytes: Uint8Array, start: number, end: number): void {
    if (this.state <= OPEN) this.out.appendShared(bytes, start, end);
  }

  sendChunks(chunks: Outbox): void {
    if (this.state <= OPEN) this.out.adopt(chunks);
    else chunks.clear();
  }

  flush(): void {
    if (this.state !== OPEN) return;
    this.calls++;
    this.encrypt();
    this.calls--;
  }

  pause(): void {
    if (this.paused || this.state > OPEN) return;
    this.paused = true;
    if (this.state === OPEN) this.below.pause();
  }

  resume(): void {
    if (!this.paused || this.state > OPEN) return;
    this.paused = false;
    if (this.state !== OPEN) return;
    if (this.unread.length > 0 || this.ended) this.tellLater();
    else this.below.resume();
  }

  end(): void {
    if (this.state >= ENDING) return;
    const connecting = this.state === CONNECTING;
    this.state = ENDING;
    if (connecting) return;
    this.paused = false;
    this.unread = [];
    this.below.resume();
    this.calls++;
    this.sendLast();
    this.calls--;
  }

  destroy(): void {
    // Whoever connects limits its time.
    if (this.handshake !== null && "connecting" in this.handshake && this.hasBegun && this.state !== CLOSED) {
      this.tellFailure("given up before it was over: the server may not speak TLS");
    }
    this.shut(null);
  }

  withdraw(into: Outbox): number {
    into.adopt(this.out);
    this.shut(null);
    return this.encrypted;
  }

  peer(): string {
    return this.below.peer();
  }

  local(): string {
    return this.below.local();
  }

  /** It was to end, and the peer has taken nothing for long. */
  giveUp(): void {
    this.shut(new SocketError("ETIMEDOUT", `end ${this.peer()}: the peer reads nothing`));
  }

  // ---- the handshake

  /** The connection below is there. */
  connected(): void {
    const { handshake } = this;
    if (this.state === CLOSED || handshake === null || !("connecting" in handshake)) return;
    this.start((events) => handshake.connecting.engine(handshake.address, events));
  }

  /**
   * The ClientHello, or the second one, is here, and others have had their turn.
   * @param cheaply it should be asked to say it again
   * @returns whether that cost little
   */
  begin(cheaply: boolean): boolean {
    const { handshake, hello } = this;
    if (this.state === CLOSED || handshake === null || !("accepting" in handshake)) return true;
    if (this.engine === null) {
      const said = readClientHello(hello);
      const { serverName, unshared } = typeof said === "string" ? NO_HELLO : said;
      const group = cheaply && handshake.accepting.asksAgain ? unshared : null;
      if (!this.start((events) => handshake.accepting.engine(serverName, group, events))) return true;
      this.asked = group !== null;
    } else this.asked = false;
    this.hello = NOTHING;
    this.decrypt(hello);
    return this.asked;
  }

  /** Bytes of a client that has been asked to say its ClientHello again. */
  private hearAgain(bytes: Uint8Array): void {
    const before = this.hello;
    const hello = new Uint8Array(before.length + bytes.length);
    hello.set(before);
    hello.set(bytes, before.length);
    this.hello = hello;
    const said = readSecondHello(hello);
    if (said !== NEED_MORE && said !== NOT_TLS) {
      if (typeof readSecondHello(before) === "string") this.net.waiting.begin(this, true);
    } else if (said === NOT_TLS || hello.length > HELLO_MAX) {
      // An alert, or what goes on without: the engine judges it.
      this.asked = false;
      this.hello = NOTHING;
      this.decrypt(hello);
    }
  }

  private start(make: (events: EngineEvents) => Engine): boolean {
    try {
      this.engine = make(this);
    } catch (error) {
      this.handshakeFailed((error as Error).message);
      return false;
    }
    this.records = new Records(this.engine);
    return true;
  }

  waitSince(ms: number): void {
    if (this.handshake !== null && "accepting" in this.handshake) this.handshake.beganMs = ms;
  }

  lookAtTime(nowMs: number): void {
    const { handshake } = this;
    if (handshake === null || !("accepting" in handshake)) return;
    if (nowMs - handshake.beganMs < handshake.accepting.handshakeMs) return;
    this.handshakeFailed(`not over after ${handshake.accepting.handshakeMs} ms`);
  }

  /** Bytes of a client that has not said all of its ClientHello. */
  private hear(bytes: Uint8Array): void {
    const hello = new Uint8Array(this.hello.length + bytes.length);
    hello.set(this.hello);
    hello.set(bytes, this.hello.length);
    if (this.preface !== null) return this.hearPreface(this.preface, hello);
    const said = readClientHello(hello);
    if (said === NOT_TLS) return this.handshakeFailed(WITHOUT_TLS);
    const before = this.hello;
    this.hello = hello;
    if (said !== NEED_MORE) {
      // Once it is whole, what follows waits with it.
      if (typeof readClientHello(before) === "string") this.net.waiting.begin(this);
    } else if (hello.length > HELLO_MAX) this.handshakeFailed("a ClientHello that does not end");
  }

  private hearPreface(preface: Preface, bytes: Uint8Array): void {
    const read = preface.readPreface(this.below, bytes);
    if (read === REFUSED) return this.shut(null);
    this.hello = read === null ? bytes : NOTHING;
    if (read === null) return;
    this.preface = null;
    this.announced = read.client;
    this.net.waiting.isOf(this, this.who);
    if (this.state !== CLOSED && read.size < bytes.length) this.hear(bytes.subarray(read.size));
  }

  shook(flaw: NetError | null): void {
    const { engine, handshake } = this;
    if (this.state === CLOSED || engine === null || handshake === null) return;
    const refusal = "accepting" in handshake
      ? handshake.accepting.refusal(engine, flaw)
      : handshake.connecting.refusal(engine, flaw, handshake.address);
    if (refusal !== null) return this.handshakeFailed(refusal);
    if ("accepting" in handshake) this.certifiedNames = handshake.accepting.shook(engine);
    else handshake.connecting.shook(handshake.address);
    this.handshake = null;
    this.net.waiting.shook(this);
    if (this.state === ENDING) return this.sendLast();
    this.state = OPEN;
    if (this.paused) this.below.pause();
    this.handler.open(this);
    this.flush();
  }

  /** Nobody has been told of an accepted connection; whoever connects is told why. */
  handshakeFailed(why: string): void {
    const { handshake, state } = this;
    if (handshake === null || state === CLOSED) return;
    if (this.hasBegun || why !== ENDED_EARLY) this.tellFailure(why);
    const doing = "connecting" in handshake ? `connect ${addressText(handshake.address)}` : this.peer();
    this.shut(new SocketError("ETLS", `${doing}: TLS: ${why}`));
  }

  // ---- from the socket below

  received(bytes: Uint8Array): void {
    if (this.state === CLOSED || this.ended) return;
    this.heard = true;
    if (this.engine === null) this.hear(bytes);
    else if (this.asked) this.hearAgain(bytes);
    else this.decrypt(bytes);
  }

  private decrypt(bytes: Uint8Array): void {
    this.busy++;
    const ended = this.records!.feed(bytes);
    this.busy--;
    this.below.flush();
    if (ended) this.ended = true;
    this.tell();
  }

  finReceived(): void {
    this.ended = true;
    if (this.handshake !== null) return this.handshakeFailed(ENDED_EARLY);
    this.tell();
  }

  writable(): void {
    this.heard = true;
    if (this.state === ENDING && this.handshake === null) return this.sendLast();
    if (this.state !== OPEN) return;
    this.encrypt();
    if (this.queuedBytes === 0 && this.state === OPEN) this.handler.drain(this);
  }

  lost(error: NetError | null): void {
    this.net.waiting.parted(this);
    if (this.state === CLOSED) return;
    if (this.handshake !== null && error === null) return this.handshakeFailed(ENDED_EARLY);
    if (this.handshake !== null && this.hasBegun) this.tellFailure(error!.message);
    this.shut(error);
  }

  private tellFailure(why: string): void {
    const { handshake, preface } = this;
    if (handshake === null) return;
    if (preface !== null) preface.wrong(this.peer(), `no whole header: ${why}`);
    else if ("accepting" in handshake) handshake.accepting.failed(this.who, why);
    else handshake.connecting.failed(handshake.address, why);
  }

  /** The other side's address, for people. */
  private get who(): string {
    return this.announced || this.peer();
  }

  /** Who only connects and closes, as some that look whether a port is open, is not worth a line. */
  private get hasBegun(): boolean {
    return this.engine !== null || this.hello.length > 0;
  }

  // ---- from the engine

  cipher(bytes: Uint8Array): void {
    if (this.state === CLOSED) return;
    this.below.sendShared(bytes, 0, bytes.length);
    // Bun says the first of it by itself.
    if (this.busy === 0) this.below.flush();
  }

  plain(bytes: Uint8Array): void {
    if (this.state !== OPEN || bytes.length === 0) return;
    if (this.paused || this.calls > 0 || this.unread.length > 0) {
      this.unread.push(bytes);
      if (!this.paused) this.tellLater();
    } else this.handler.data(this, bytes);
  }

  broke(error: NetError | null): void {
    if (this.state === CLOSED) return;
    if (this.handshake !== null) {
      // What the engine says to the other side about it has to leave.
      this.below.flush();
      const alert = this.records!.alert;
      const said = alert < 0 ? null : `the other side says: ${ALERTS[alert] ?? `alert ${alert}`}`;
      return this.handshakeFailed(said ?? (error === null ? ENDED_EARLY : reasonOf(error)));
    }
    this.failure = error;
    this.tellLater();
  }

  // ---- to the handler

  private tellLater(): void {
    if (this.later) return;
    this.later = true;
    this.net.clock.afterTurn(() => {
      this.later = false;
      this.tell();
    });
  }

  /** What has come and was not told yet, as far as the handler wants it. */
  private tell(): void {
    while (this.unread.length > 0 && this.state === OPEN && !this.paused) {
      this.handler.data(this, this.unread.shift()!);
    }
    if (this.failure !== undefined && this.state !== CLOSED && this.unread.length === 0) {
      const { failure } = this;
      return this.shut(failure && new SocketError("ETLS", `${this.peer()}: TLS: ${reasonOf(failure)}`));
    }
    if (this.state !== OPEN || this.paused) return;
    if (this.ended && !this.eof) {
      this.eof = true;
      this.handler.eof(this);
    }
    if (this.state === OPEN && !this.paused) this.below.resume();
  }

  // ---- writing

  /** As much as the socket below should hold. */
  private encrypt(): void {
    const { out, below, engine } = this;
    if (out.size === 0) return;
    this.busy++;
    while (out.size > 0 && below.queuedBytes < HELD_MAX) {
      const { chunk, start } = out;
      const end = Math.min(out.end, start + WRITE_MAX);
      this.encrypted += end - start;
      engine!.write(chunk, start, end);
      if (this.state === CLOSED) break;
      out.consume(end - start);
      if (below.queuedBytes >= HELD_MAX) below.flush();
    }
    this.busy--;
    if (this.state !== CLOSED) below.flush();
  }

  /** Writes what is left, close_notify and FIN, as far as it goes now. */
  private sendLast(): void {
    this.encrypt();
    if (this.state !== ENDING) return;
    if (this.out.size > 0) return this.net.lingerers.watchStall(this);
    this.net.lingerers.unwatch(this);
    this.busy++;
    this.engine!.shutdown();
    this.busy--;
    this.below.flush();
    this.below.end();
  }

  // ---- the end

  /** The only way to CLOSED. The handler hears of it at the end of the turn: never from inside a call of its own. */
  private shut(error: NetError | null): void {
    if (this.state === CLOSED) return;
    const { handshake } = this;
    this.flushed = this.flushedBytes;
    this.state = CLOSED;
    this.handshake = null;
    this.out.clear();
    this.unread = [];
    this.net.lingerers.unwatch(this);
    this.net.waiting.remove(this);
    const accepted = handshake !== null && "accepting" in handshake;
    // An alert that says why has to arrive.
    if (handshake !== null && error !== null && this.engine !== null && this.net.waiting.part(this)) {
      this.below.end();
    } else this.below.destroy();
    this.net.clock.afterTurn(() => {
      this.engine?.free();
      this.engine = null;
      // Of whom nobody has been told.
      if (!accepted) this.handler.close(this, error);
    });
  }
}

/** What an alert says that comes before anything is encrypted. RFC 8446, 6. */
const ALERTS: Readonly<Record<number, string>> = {
  10: "unexpected message",
  40: "handshake failure",
  42: "bad certificate",
  43: "unsupported certificate",
  44: "certificate revoked",
  45: "certificate expired",
  46: "certificate unknown",
  47: "illegal parameter",
  48: "unknown ca",
  49: "access denied",
  50: "decode error",
  51: "decrypt error",
  70: "protocol version",
  71: "insufficient security",
  80: "internal error",
  112: "unrecognized name",
  116: "certificate required",
};

/** Not what it says: there may be a password in it. */
const WITHOUT_TLS = "the client does not speak TLS";

/** What went wrong, for people. BoringSSL's words are kept, its place in the source is not. */
export function reasonOf({ code, message }: NetError): string {
  const words = /OPENSSL_internal:([A-Z0-9_]+)/.exec(message)?.[1];
  if (words === undefined) return code === "EPROTO" ? message : `${message} (${code})`;
  const alert = /^(?:TLSV1|SSLV3|TLSV13)_ALERT_(.*)$/.exec(words)?.[1];
  const text = (alert ?? words).toLowerCase().replaceAll("_", " ");
  if (words === "WRONG_VERSION_NUMBER") return `${text}: the other side may not speak TLS`;
  return alert === undefined ? text : `the other side says: ${text}`;
}
