/**
 * The seam's `Net` on Deno's native sockets. Lines up with bun.ts: the difference of the two files is the
 * difference of the two runtimes.
 *
 * What Deno does, and what is done about it here (seen on 2.9.6):
 *  - `write` is a promise, takes all or some, and two at once may interleave: one is in flight per socket, and its
 *    chunk is sealed so that later bytes go elsewhere. There is nothing cheaper in the public API: no synchronous
 *    write, no "writable" event. The kernel is called within `write`, so bytes leave in this turn.
 *  - `read` is a promise on a buffer of ours, which it holds while the socket is idle (read_buffer.ts).
 *  - closing rejects a pending read and a pending write with Interrupted and frees the descriptor at once.
 *  - the connection is half open by nature; `closeWrite` is FIN. There is no reset: destroy is a plain close.
 *  - TCP_NODELAY is off unless asked for.
 *  - a closed listener still completes connects until the end of the turn, and resets them.
 *  - `accept` rejects when descriptors are used up (EMFILE); it is tried again later.
 *  - while reading is paused, neither the peer's FIN nor its reset is noticed, unless a write fails.
 */
import { Outbox } from "../bytes/outbox.ts";
import {
  type Address,
  type Handler,
  type Listener,
  type ListenOptions,
  type Net,
  type NetError,
  type Socket,
} from "../net/net.ts";
import { afterTurn } from "./clock.ts";
import { addressText, hostPort, SocketError, socketError } from "./errors.ts";
import { lingerers, type Lingering } from "./linger.ts";
import { giveBuffer, nextSize, READ_MIN, takeBuffer } from "./read_buffer.ts";
import { BROKEN, CLOSED, CONNECTING, ENDING, OPEN } from "./socket_state.ts";
import { claimPath, clearPath } from "./unix_path.ts";

type Raw = Deno.TcpConn | Deno.UnixConn;

/** How long to wait after a failed accept: descriptors do not come back at once, and a loop would burn the core. */
const ACCEPT_RETRY_MS = 100;
const DISCARD_SIZE = 64 * 1024;

/** What arrives after `end` is read into this, by all sockets at once. */
let discard: Uint8Array<ArrayBuffer> | null = null;

/**
 * Paths of unix listeners that are closed but not gone. Deno removes the file by its name when the listener's last accept
 * has ended: whoever listened there by then would lose his own.
 */
const closing = new Map<string, Promise<void>>();

export class DenoNet implements Net {
  readonly name = "deno";

  async listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    if ("path" in address) {
      await closing.get(address.path);
      await clearPath(this, address.path);
    }
    return new DenoListener(address, handler, options);
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    const socket = new DenoSocket(handler, owner, address);
    socket.dial();
    return socket;
  }
}

class DenoListener implements Listener {
  readonly port: number;
  private readonly raw: Deno.TcpListener | Deno.UnixListener;
  private readonly removeFile: (() => void) | null = null;
  private readonly accepting: Promise<void>;
  private closed = false;

  constructor(
    private readonly address: Address,
    private readonly handler: Handler,
    private readonly options: ListenOptions,
  ) {
    try {
      if ("path" in address) {
        this.raw = Deno.listen({ transport: "unix", path: address.path });
        this.port = 0;
        this.removeFile = claimPath(address.path, address.mode);
      } else {
        const { reusePort, backlog } = options;
        const tcp = { hostname: address.host, port: address.port, reusePort, tcpBacklog: backlog };
        const raw = Deno.listen(tcp);
        this.raw = raw;
        this.port = raw.addr.port;
      }
    } catch (error) {
      throw socketError(error, `listen ${addressText(address)}`);
    }
    this.accepting = this.accept();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.raw.close();
    if (!("path" in this.address)) return;
    this.removeFile?.();
    const { path } = this.address;
    const gone = this.accepting.then(() => {
      if (closing.get(path) === gone) closing.delete(path);
    });
    closing.set(path, gone);
  }

  private async accept(): Promise<void> {
    while (!this.closed) {
      let raw: Raw;
      try {
        raw = await this.raw.accept();
        if ("setNoDelay" in raw) raw.setNoDelay(true);
        if (this.options.keepAlive && "setKeepAlive" in raw) raw.setKeepAlive(true);
      } catch {
        if (!this.closed) await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
        continue;
      }
      this.accepted(raw);
    }
  }

  private accepted(raw: Raw): void {
    if (this.closed) return raw.close();
    new DenoSocket(this.handler, undefined, null).opened(raw);
  }
}

class DenoSocket implements Socket, Lingering {
  flushedBytes = 0;
  heard = false;
  private state = CONNECTING;
  private raw: Raw | null = null;
  private readonly out = new Outbox();
  /** A write is in flight. */
  private writing = false;
  /** `read` is running. */
  private reading = false;
  private readSize = READ_MIN;
  private paused = false;
  /** The peer's FIN has come. */
  private eof = false;
  private finSent = false;
  /** Why it is BROKEN. */
  private failure: NetError | null = null;
  /** Cancels the connect. */
  private aborter: AbortController | null = null;

  constructor(
    private readonly handler: Handler,
    public owner: unknown,
    /** Where it connects to; null if it was accepted. */
    private readonly address: Address | null,
  ) {}

  get queuedBytes(): number {
    return this.out.size;
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
    if (this.state === OPEN && !this.writing && this.out.size > 0) this.write();
  }

  pause(): void {
    if (this.paused || this.state > BROKEN) return;
    this.paused = true;
  }

  resume(): void {
    if (!this.paused || this.state > BROKEN) return;
    this.paused = false;
    if (this.state !== CONNECTING) this.startReading();
  }

  end(): void {
    if (this.state === BROKEN) return this.shut(this.failure);
    if (this.state >= ENDING) return;
    const connecting = this.state === CONNECTING;
    this.state = ENDING;
    if (connecting) return;
    this.startReading();
    this.sendLast();
  }

  destroy(): void {
    this.shut(null);
  }

  withdraw(into: Outbox): number {
    // Nobody can tell how much of a write that is under way has been taken, and its chunk is lent.
    if (!this.writing) into.adopt(this.out);
    const sent = this.flushedBytes + this.out.size;
    this.shut(null);
    return sent;
  }

  peer(): string {
    if (this.raw === null && this.address !== null && "host" in this.address) {
      return addressText(this.address);
    }
    const remote = this.raw?.remoteAddr;
    return remote?.transport === "tcp" ? hostPort(remote.hostname, remote.port) : "unix";
  }

  local(): string {
    const local = this.raw?.localAddr;
    return local?.transport === "tcp" ? hostPort(local.hostname, local.port) : "unix";
  }

  dial(): void {
    const address = this.address!;
    this.aborter = new AbortController();
    const { signal } = this.aborter;
    const opening: Promise<Raw> = "path" in address
      ? Deno.connect({ transport: "unix", path: address.path })
      : Deno.connect({ hostname: address.host, port: address.port, signal });
    opening.then((raw) => this.connected(raw), (error) => this.refused(error));
  }

  giveUp(): void {
    if (this.state === BROKEN) this.shut(this.failure);
    // A plain close after FIN: the kernel goes on delivering what it has taken.
    else if (this.finSent) this.shut(null);
    else this.shut(new SocketError("ETIMEDOUT", `end ${this.peer()}: the peer reads nothing`));
  }

  // From Deno.

  opened(raw: Raw): void {
    this.raw = raw;
    this.aborter = null;
    if (this.state === CLOSED) return raw.close();
    if (this.state === ENDING) {
      this.startReading();
      return this.sendLast();
    }
    this.state = OPEN;
    this.handler.open(this);
    this.flush();
    this.startReading();
  }

  private connected(raw: Raw): void {
    if ("setNoDelay" in raw) raw.setNoDelay(true);
    this.opened(raw);
  }

  private refused(error: unknown): void {
    if (this.state !== CLOSED) this.shut(socketError(error, `connect ${addressText(this.address!)}`));
  }

  private finReceived(): void {
    this.eof = true;
    if (this.state === OPEN) this.handler.eof(this);
    else if (this.state === BROKEN) this.shut(this.failure);
    else if (this.finSent) this.shut(null);
  }

  private wrote(count: number): void {
    this.writing = false;
    if (this.state === CLOSED) return;
    this.out.consume(count);
    this.flushedBytes += count;
    this.heard = true;
    if (this.out.size > 0) return this.write();
    if (this.state === ENDING) this.sendLast();
    else if (this.state === OPEN) this.handler.drain(this);
  }

  private closed(error: unknown): void {
    if (this.state !== CLOSED) this.shut(this.failure ?? socketError(error, this.peer()));
  }

  // Helpers.

  private startReading(): void {
    if (!this.reading && !this.eof && (!this.paused || this.state === ENDING)) void this.read();
  }

  /** Runs until pause, the peer's FIN, an error, or CLOSED. */
  private async read(): Promise<void> {
    const raw = this.raw!;
    let buffer = takeBuffer(this.readSize);
    this.reading = true;
    while (this.state !== CLOSED && !this.eof && (!this.paused || this.state === ENDING)) {
      let count: number | null;
      try {
        count = await raw.read(this.state === ENDING ? discard ??= new Uint8Array(DISCARD_SIZE) : buffer);
      } catch (error) {
        this.closed(error);
        break;
      }
      if (count === null) {
        this.reading = false;
        this.finReceived();
        break;
      }
      if (this.state >= ENDING) {
        this.heard = true;
        continue;
      }
      const size = this.readSize = nextSize(buffer.length, count);
      this.handler.data(this, buffer.subarray(0, count));
      if (size !== buffer.length) {
        giveBuffer(buffer);
        buffer = takeBuffer(size);
      }
    }
    this.reading = false;
    giveBuffer(buffer);
  }

  private readonly onWrote = (count: number): void => this.wrote(count);
  private readonly onWriteFailed = (error: unknown): void => this.broke(error);

  private write(): void {
    const { out } = this;
    out.seal();
    const { chunk, start, end } = out;
    this.writing = true;
    const rest = start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end);
    this.raw!.write(rest).then(this.onWrote, this.onWriteFailed);
  }

  /** What was received can still be read; then comes an error or the peer's FIN. */
  private broke(error: unknown): void {
    this.writing = false;
    if (this.state === CLOSED) return;
    this.failure = socketError(error, `write ${this.peer()}`);
    this.out.clear();
    if (this.state === ENDING || this.eof || !this.reading) return this.shut(this.failure);
    this.state = BROKEN;
    lingerers.watchLinger(this);
  }

  /** FIN if all is written. */
  private sendLast(): void {
    if (this.out.size > 0) {
      if (!this.writing) this.write();
      return lingerers.watchStall(this);
    }
    if (this.writing) return;
    // Nothing can come any more that a close would answer with a reset.
    if (this.eof) return this.shut(null);
    this.finSent = true;
    // It fails if the peer is gone, which reading finds out as well.
    this.raw!.closeWrite().catch(() => {});
    lingerers.watchLinger(this);
  }

  /** The only way to CLOSED. The handler hears of it at the end of the turn: never from inside a call of its own. */
  private shut(error: NetError | null): void {
    if (this.state === CLOSED) return;
    this.state = CLOSED;
    this.out.clear(this.writing);
    lingerers.unwatch(this);
    this.aborter?.abort();
    this.raw?.close();
    afterTurn(() => this.handler.close(this, error));
  }
}
