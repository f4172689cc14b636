/**
 * The seam's `Net` on Bun's native sockets. Lines up with deno.ts: the difference of the two files is the
 * difference of the two runtimes.
 *
 * What Bun does, and what is done about it here (seen on 1.4.5):
 *  - `write` is one sendto without a buffer behind it; it takes all, some or none, or returns -1. The Outbox is the
 *    buffer; `drain` comes after a short write, and also when nobody asked (oven-sh/bun#37099).
 *  - `end` closes the descriptor at once and loses what is unsent or unread (#41785, #35947): it is only called
 *    when nothing can be lost. An orderly end is `shutdown`, then discarding until `close` (linger.ts).
 *  - without allowHalfOpen a peer's FIN would close the socket under replies that are still owed.
 *  - `close` comes from inside `terminate` and `end`, and connectError from inside `connect` (unix sockets), so
 *    the handler is always told at the end of the turn.
 *  - a connect cannot be cancelled: `open` may come long after `destroy`, and is then answered with a reset.
 *  - an exception in a handler is swallowed into `error`: it is thrown again outside.
 *  - the peer's address is gone in `close`, unless somebody asked for it before.
 *  - no option for the backlog: it is always 512.
 *  - names are cached for 30 s and cannot be forgotten: a server that moved would be looked for at its old address. So names are
 *    resolved here, each time, by node:dns, which asks the C library on another thread.
 */
import { Buffer } from "node:buffer";
import { builtin } from "../bytes/builtin.ts";
import { useCopyMany } from "../bytes/ascii.ts";
import { useUntouched } from "../bytes/chunks.ts";
import { Outbox } from "../bytes/outbox.ts";
import type { Address, Handler, Listener, ListenOptions, Net, NetError, Socket } from "../net/net.ts";
import { afterTurn } from "./clock.ts";
import type { TlsNets } from "../net/tls.ts";
import { addressText, bare, hostPort, SocketError, socketError } from "./errors.ts";
import { lingerers, type Lingering } from "./linger.ts";
import { isIP } from "./ip_text.ts";
import { BROKEN, CLOSED, CONNECTING, ENDING, OPEN } from "./socket_state.ts";
import { claimPath, clearPath } from "./unix_path.ts";

const dns = builtin<typeof import("node:dns")>("node:dns");

// Bun's native copy needs no view: 20 ns for 200 bytes, where `set` of a `subarray` takes 45 and more. (On Deno it is slower.)
if ("Bun" in globalThis) {
  const native = Buffer.prototype.copy;
  useCopyMany((to, at, from, start, end) => void native.call(from as Buffer, to, at, start, end));
  // `new Uint8Array` fills 16 MB with zeros at once, where memory is used again: up to 50 ms.
  useUntouched((size) => new Uint8Array(Buffer.allocUnsafeSlow(size).buffer));
}

/** What hangs off Bun's socket: our socket, or in `open` of an accepted one still its listener. */
type Raw = Bun.Socket<BunSocket | BunListener>;

/** SO_KEEPALIVE with the kernel's own default; Bun wants a number. */
const KEEP_ALIVE_IDLE_MS = 7_200_000;

export class BunNet implements Net {
  readonly name = "bun";
  tls?: TlsNets;

  async listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    if ("path" in address) await clearPath(this, address.path);
    return new BunListener(address, handler, options);
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    const socket = new BunSocket(handler, owner, address);
    socket.dial();
    return socket;
  }
}

class BunListener implements Listener {
  readonly port: number;
  private readonly raw: Bun.TCPSocketListener<unknown> | Bun.UnixSocketListener<unknown>;
  private readonly removeFile: (() => void) | null = null;
  private closed = false;

  constructor(
    address: Address,
    private readonly handler: Handler,
    private readonly options: ListenOptions,
  ) {
    const common = { allowHalfOpen: true, data: this as BunSocket | BunListener, socket: EVENTS };
    try {
      if ("path" in address) {
        this.raw = Bun.listen({ ...common, unix: address.path });
        this.port = 0;
        this.removeFile = claimPath(address.path, address.mode);
      } else {
        const { reusePort } = options;
        // bun-types does not know reusePort here.
        const tcp = { ...common, hostname: address.host, port: address.port, reusePort };
        const raw = Bun.listen(tcp as Bun.TCPSocketListenOptions<BunSocket | BunListener>);
        this.raw = raw;
        this.port = raw.port;
      }
    } catch (error) {
      const doing = `listen ${addressText(address)}`;
      // The one failure of listen that comes without a code is a name that does not resolve.
      const nameless = (error as { code?: string }).code === undefined;
      throw nameless
        ? new SocketError("EHOSTDOWN", `${doing}: Host name does not resolve`)
        : socketError(error, doing);
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.raw.stop(false);
    this.removeFile?.();
  }

  accepted(raw: Raw): void {
    if (this.closed) return void raw.terminate();
    if (this.options.keepAlive && this.port !== 0) raw.setKeepAlive(true, KEEP_ALIVE_IDLE_MS);
    new BunSocket(this.handler, undefined, null).opened(raw);
  }
}

class BunSocket implements Socket, Lingering {
  flushedBytes = 0;
  heard = false;
  private state = CONNECTING;
  private raw: Raw | null = null;
  /** Noted in `open`: Bun does not know them any more in `close`. Undefined for unix sockets. */
  private remoteHost: string | undefined = undefined;
  private remotePort = 0;
  private readonly out = new Outbox();
  /** A write was short: Bun will call `drain`. */
  private blocked = false;
  private paused = false;
  /** The peer's FIN has come. */
  private eof = false;
  private finSent = false;
  /** The addresses of its name that have not been tried; null if it has no name. */
  private hosts: string[] | null = null;
  /** Why it is BROKEN. */
  private failure: NetError | null = null;

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
    if (this.state === OPEN && !this.blocked) this.write();
  }

  pause(): void {
    if (this.paused || this.state > BROKEN) return;
    this.paused = true;
    this.raw?.pause();
  }

  resume(): void {
    if (!this.paused || this.state > BROKEN) return;
    this.paused = false;
    this.raw?.resume();
  }

  end(): void {
    if (this.state === BROKEN) return this.shut(this.failure);
    if (this.state >= ENDING) return;
    const connecting = this.state === CONNECTING;
    this.state = ENDING;
    if (connecting) return;
    if (this.paused) this.raw!.resume();
    this.sendLast();
  }

  destroy(): void {
    // All is said: a reset would throw away what the peer has not read yet.
    if (this.finSent && this.state !== CLOSED) this.raw!.end();
    else this.shut(null);
  }

  withdraw(into: Outbox): number {
    into.adopt(this.out);
    this.shut(null);
    return this.flushedBytes;
  }

  peer(): string {
    if (this.raw === null && this.address !== null && "host" in this.address) {
      return addressText(this.address);
    }
    return this.remoteHost ? hostPort(this.remoteHost, this.remotePort) : "unix";
  }

  local(): string {
    return this.remoteHost ? hostPort(this.raw!.localAddress, this.raw!.localPort) : "unix";
  }

  dial(): void {
    const address = this.address!;
    if ("path" in address || isIP(bare(address.host)) !== 0) return this.dialTo(address);
    dns().lookup(address.host, { all: true }, (error, found) => {
      if (this.state === CLOSED) return;
      // Without a hosts file "localhost" is known to Bun alone.
      this.hosts = error === null ? found.map((each) => each.address) : [address.host];
      this.dialNext(null);
    });
  }

  /** Tries the next of the name's addresses. @param error what became of the one before */
  private dialNext(error: unknown): void {
    if (this.state === CLOSED) return;
    const host = this.hosts!.shift();
    if (host === undefined) return this.refused(error);
    const { port } = this.address as { port: number };
    try {
      const opening = Bun.connect({ ...this.common(), hostname: host, port });
      opening.catch((error) => this.dialNext(error));
    } catch (error) {
      this.dialNext(error);
    }
  }

  private dialTo(address: Address): void {
    try {
      const opening = "path" in address
        ? Bun.connect({ ...this.common(), unix: address.path })
        : Bun.connect({ ...this.common(), hostname: address.host, port: address.port });
      opening.catch((error) => this.refused(error));
    } catch (error) {
      this.refused(error);
    }
  }

  private common() {
    return { allowHalfOpen: true, data: this as BunSocket | BunListener, socket: EVENTS };
  }

  giveUp(): void {
    if (this.state === BROKEN) this.shut(this.failure);
    // A plain close after FIN: the kernel goes on delivering what it has taken.
    else if (this.finSent) this.raw!.end();
    else this.shut(new SocketError("ETIMEDOUT", `end ${this.peer()}: the peer reads nothing`));
  }

  // From Bun.

  opened(raw: Raw): void {
    raw.data = this;
    this.raw = raw;
    if (this.state === CLOSED) return void raw.terminate();
    this.remoteHost = raw.remoteAddress;
    this.remotePort = raw.remotePort;
    if (this.state === ENDING) return this.sendLast();
    this.state = OPEN;
    if (this.paused) raw.pause();
    this.handler.open(this);
    this.flush();
  }

  connectFailed(error: unknown): void {
    // With a name, the promise's rejection tells which attempt it was.
    if (this.hosts === null) this.refused(error);
  }

  private refused(error: unknown): void {
    if (this.state !== CLOSED) this.shut(socketError(error, `connect ${addressText(this.address!)}`));
  }

  received(bytes: Uint8Array): void {
    if (this.state <= BROKEN) this.handler.data(this, bytes);
    else this.heard = true;
  }

  finReceived(): void {
    this.eof = true;
    if (this.state === OPEN) this.handler.eof(this);
    else if (this.state === BROKEN) this.shut(this.failure);
    else if (this.finSent) this.raw!.end();
  }

  writable(): void {
    // Also comes when nothing was blocked.
    if (!this.blocked) return;
    this.blocked = false;
    this.heard = true;
    if (this.state === ENDING) return this.sendLast();
    if (this.state !== OPEN) return;
    this.write();
    if (this.out.size === 0 && this.state === OPEN) this.handler.drain(this);
  }

  closed(error: Error | undefined): void {
    if (this.state === CLOSED) return;
    this.shut(this.failure ?? (error ? socketError(error, this.peer()) : null));
  }

  // Helpers.

  private write(): void {
    const { out, raw } = this;
    while (out.size > 0) {
      const start = out.start;
      const length = out.end - start;
      const taken = raw!.write(out.chunk, start, length);
      if (taken < 0) return this.broke();
      out.consume(taken);
      this.flushedBytes += taken;
      if (taken < length) {
        this.blocked = true;
        return;
      }
    }
  }

  /** Bun says -1, without a reason; `close`, also without one, follows when all that was received is read. */
  private broke(): void {
    this.failure = new SocketError("EPIPE", `write ${this.peer()}: Broken pipe`);
    this.out.clear();
    if (this.state === ENDING || this.eof) return this.shut(this.failure);
    this.state = BROKEN;
    lingerers.watchLinger(this);
  }

  /** Writes what is left, then FIN, as far as it goes now. */
  private sendLast(): void {
    if (!this.blocked) this.write();
    if (this.state !== ENDING) return;
    if (this.blocked) return lingerers.watchStall(this);
    // Nothing can come any more that a close would answer with a reset.
    if (this.eof) return void this.raw!.end();
    this.finSent = true;
    this.raw!.shutdown();
    lingerers.watchLinger(this);
  }

  /** The only way to CLOSED. The handler hears of it at the end of the turn: never from inside a call of its own. */
  private shut(error: NetError | null): void {
    if (this.state === CLOSED) return;
    this.state = CLOSED;
    this.out.clear();
    lingerers.unwatch(this);
    this.raw?.terminate();
    afterTurn(() => this.handler.close(this, error));
  }
}

/** One object for all sockets: Bun finds ours in `data`. */
const EVENTS: Bun.SocketHandler<BunSocket | BunListener> = {
  // bun-types know only "buffer" here.
  binaryType: "uint8array" as "buffer",
  open(raw) {
    if (raw.data instanceof BunListener) raw.data.accepted(raw);
    else raw.data.opened(raw);
  },
  data(raw, bytes) {
    (raw.data as BunSocket).received(bytes);
  },
  end(raw) {
    (raw.data as BunSocket).finReceived();
  },
  drain(raw) {
    (raw.data as BunSocket).writable();
  },
  close(raw, error) {
    // A listener's socket that was terminated in `accepted` has no socket of ours.
    if (raw.data instanceof BunSocket) raw.data.closed(error);
  },
  connectError(raw, error) {
    (raw.data as BunSocket).connectFailed(error);
  },
  error(_raw, error) {
    queueMicrotask(() => {
      throw error;
    });
  },
};
