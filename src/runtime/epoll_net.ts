/**
 * The seam's `Net` on the C library's own sockets, for Linux: what the executable runs on. Lines up with bun.ts and deno.ts.
 *
 *   epoll ─► recv into one array for all sockets ─► handler ─► outbox ─► send
 *
 * What the kernel does, and what is done about it here:
 *  - readiness is told once (EPOLLET): a read that filled the array is repeated in the next turn, so that one socket cannot
 *    hold up the others; a short one has left nothing behind. A paused socket costs no call, only a note.
 *  - writability is asked for only after a short write: a unix socket would tell of every read of its peer.
 *  - a reset is told of while reading is paused, a FIN is not: the bytes before it have not been read.
 *  - a connect to a unix socket with a full backlog fails with EAGAIN at once and is tried again.
 *  - TCP_NODELAY and SO_KEEPALIVE of a listener hold for whom it accepts.
 *  - close while unread bytes lie there is a reset, which takes from the peer what it has not read. An orderly end is
 *    FIN, then reading on until the peer's FIN (linger.ts).
 *  - accept fails when descriptors are used up (EMFILE), and would be told again at once: it rests for a moment.
 */
import { builtin } from "../bytes/builtin.ts";
import { Outbox } from "../bytes/outbox.ts";
import {
  type Address,
  type Clock,
  type Handler,
  type Listener,
  type ListenOptions,
  type Net,
  type NetError,
  type Socket,
  type TimerId,
} from "../net/net.ts";
import type { TlsNets } from "../net/tls.ts";
import { addressText, bare, hostPort, SocketError, systemError } from "./errors.ts";
import {
  AF_UNIX,
  EAGAIN,
  ECONNRESET,
  EINPROGRESS,
  EINTR,
  EINVAL,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  EPIPE,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  errnoName,
  F_SETFD,
  FD_CLOEXEC,
  IntCell,
  IPPROTO_TCP,
  isShortage,
  type Libc,
  MSG_MORE,
  MSG_NOSIGNAL,
  type Pointer,
  SHUT_WR,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  TCP_NODELAY,
} from "./libc.ts";
import { isIP } from "./ip_text.ts";
import { inherited } from "./heirloom.ts";
import { Lingerers, type Lingering } from "./linger.ts";
import { Loop, type Pollable } from "./loop.ts";
import type { Heard } from "./pace.ts";
import { SockAddr } from "./sockaddr.ts";
import { BROKEN, CLOSED, CONNECTING, ENDING, OPEN } from "./socket_state.ts";
import { SplicePipe } from "./splice.ts";
import { claimPath, clearPath } from "./unix_path.ts";

const dns = builtin<typeof import("node:dns")>("node:dns");

/**
 * What does not fit is half a message more often, and is copied once more (into an inbox): with 64 KiB, values of 16 and 100 KB
 * cost a third more. With 512 KiB nothing more was gained, and what was read has left the nearer caches before it is copied on.
 */
const READ_MAX = 256 * 1024;
/** Views of reads shorter than this are kept: at most 4,096 of 56 bytes. */
const VIEWS = 4096;
/** About as much is written to one socket in a turn: the kernel would take 6 MB and more, and all others would wait meanwhile. */
const WRITE_MAX = 1024 * 1024;
/** So much at most passes from one socket to another in a turn. */
const PASS_MAX = 1024 * 1024;
/** The first read after bytes have passed: what follows may be the head of as large a value, which would be copied with it. */
const READ_AFTER_PASS = 16 * 1024;
/** Clients accepted in one turn. */
const ACCEPT_MAX = 64;
/** How long to wait after a failed accept: descriptors do not come back at once. */
const ACCEPT_RETRY_MS = 100;
/** How long to wait for a place in a unix listener's backlog. */
const BACKLOG_RETRY_MS = 5;

/** Why bytes cannot pass at all: no such call, not with such sockets, or a sandbox does not let it. */
const CANNOT_PASS: ReadonlySet<number> = new Set([EPERM, EINVAL, ENOSYS, EOPNOTSUPP]);

/** When a pipe is asked for again that was not to be had. */
const PIPE_AGAIN_MS = 1000;

const READING = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;
const READING_AND_WRITING = READING | EPOLLOUT;
const PEER_ENDED = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

export class EpollNet implements Net {
  readonly name = "epoll";
  tls?: TlsNets;
  readonly clock: Clock;
  readonly loop: Loop;
  readonly lingerers: Lingerers;
  readonly address: SockAddr;
  readonly addressSize: IntCell;
  /** What all sockets read into. */
  readonly inbound: Uint8Array = new Uint8Array(READ_MAX);
  readonly inboundAt: Pointer;
  /** What passes from socket to socket goes through it: made when it is first needed. */
  private pipe: SplicePipe | null = null;
  /** Until then no pipe is asked for; Infinity: the kernel does not let bytes pass, or a sandbox. */
  private noPipeMs = -Infinity;
  /** Its first n bytes, for short reads: to make a view costs more than to look at it. */
  private readonly views: (Uint8Array | undefined)[] = new Array(VIEWS).fill(undefined);

  /** @throws where the thread's own loop cannot be found */
  constructor(readonly libc: Libc) {
    this.loop = new Loop(libc);
    this.clock = new LoopClock(this.loop);
    this.lingerers = new Lingerers(this.clock);
    this.address = new SockAddr(libc);
    this.addressSize = new IntCell(libc);
    this.inboundAt = libc.addressOf(this.inbound);
  }

  /** The first `count` bytes of `inbound`. */
  received(count: number): Uint8Array {
    if (count >= VIEWS) return this.inbound.subarray(0, count);
    return this.views[count] ??= this.inbound.subarray(0, count);
  }

  /** Null where there is none. */
  get splicing(): SplicePipe | null {
    return this.pipe ?? (this.loop.turnNowMs() >= this.noPipeMs ? this.openPipe() : null);
  }

  private openPipe(): SplicePipe | null {
    const made = SplicePipe.open(this.libc);
    if (typeof made !== "number") return this.pipe = made;
    // Descriptors may run out, and be there again.
    this.noPipeMs = CANNOT_PASS.has(made) ? Infinity : this.loop.turnNowMs() + PIPE_AGAIN_MS;
    return null;
  }

  /** Nothing passes from now on. */
  stopSplicing(): void {
    this.noPipeMs = Infinity;
    this.pipe?.close();
    this.pipe = null;
  }

  async listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    const fd = inherited(address, options.place ?? 0);
    if ("path" in address && fd === null) await clearPath(this, address.path);
    const host = "path" in address ? "" : await this.resolved(address);
    return new EpollListener(this, address, host, handler, options, fd);
  }

  /** The address to listen on. */
  private async resolved(address: { host: string; port: number }): Promise<string> {
    const host = bare(address.host);
    if (isIP(host) !== 0) return host;
    const { error, hosts } = await new Promise<Resolved>((then) => resolveHost(host, then));
    if (error !== null) {
      throw new SocketError("EHOSTDOWN", `listen ${addressText(address)}: Host name does not resolve`);
    }
    return hosts[0]!;
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    const socket = new EpollSocket(this, handler, owner, address);
    socket.dial();
    return socket;
  }

  /** Closes every socket and listener at once, without a word to anybody: for a thread that is about to end. */
  closeAll(): void {
    this.stopSplicing();
    this.loop.close((fd) => this.libc.reset(fd));
  }
}

interface Resolved {
  readonly error: unknown;
  readonly hosts: string[];
}

/** Without a hosts file "localhost" is known to nobody. */
const LOCALHOST = ["127.0.0.1", "::1"];

function resolveHost(host: string, then: (resolved: Resolved) => void): void {
  dns().lookup(host, { all: true }, (error, found) => {
    if (error === null) then({ error, hosts: found.map((each) => each.address) });
    else if (host === "localhost") then({ error: null, hosts: LOCALHOST });
    else then({ error, hosts: [] });
  });
}

class LoopClock implements Clock {
  constructor(private readonly loop: Loop) {}

  nowMs(): number {
    return this.loop.nowMs();
  }

  realMs(): number {
    return performance.now();
  }

  turnBeganMs(): number {
    return this.loop.turnNowMs();
  }

  wallMs(): number {
    return Date.now();
  }

  setTimer(afterMs: number, run: () => void): TimerId {
    return this.loop.setTimer(afterMs, run);
  }

  clearTimer(id: TimerId): void {
    this.loop.timers.remove(id as object);
  }

  afterTurn(run: () => void): void {
    this.loop.afterTurn(run);
  }
}

class EpollListener implements Listener, Pollable {
  watchId = 0;
  readonly port: number;
  readonly fd: number;
  private removeFile: (() => void) | null = null;
  private closed = false;
  private resting = false;

  constructor(
    private readonly net: EpollNet,
    address: Address,
    host: string,
    private readonly handler: Handler,
    options: ListenOptions,
    /** One that listens there already, of the process before. */
    heirloom: number | null,
  ) {
    const { libc } = net;
    const doing = `listen ${addressText(address)}`;
    const tcp = "host" in address;
    this.fd = heirloom ?? this.make(address, host, options, doing);
    if (heirloom !== null) libc.calls.fcntl(this.fd, F_SETFD, FD_CLOEXEC);
    this.port = tcp ? this.boundPort() : 0;
    if (!tcp) this.removeFile = claimPath(address.path, address.mode);
    net.loop.watch(this.fd, EPOLLIN, this);
  }

  /** A socket that listens. Throws as Net.listen rejects. */
  private make(address: Address, host: string, options: ListenOptions, doing: string): number {
    const { libc, address: name } = this.net;
    const tcp = "host" in address;
    if (tcp && !name.setHost(host, address.port)) throw systemError("EINVAL", doing);
    if (!tcp) name.setPath(address.path);
    const fd = libc.socket(name.family);
    if (fd < 0) throw systemError(errnoName(libc.errno()), doing);
    if (tcp) {
      libc.switchOn(fd, SOL_SOCKET, SO_REUSEADDR);
      libc.switchOn(fd, IPPROTO_TCP, TCP_NODELAY);
      if (options.reusePort) libc.switchOn(fd, SOL_SOCKET, SO_REUSEPORT);
      if (options.keepAlive) libc.switchOn(fd, SOL_SOCKET, SO_KEEPALIVE);
    }
    const { calls } = libc;
    if (calls.bind(fd, name.at, name.size) < 0 || calls.listen(fd, options.backlog) < 0) {
      const code = errnoName(libc.errno());
      calls.close(fd);
      throw systemError(code, doing);
    }
    return fd;
  }

  bequeath(): void {
    this.removeFile = null;
  }

  private boundPort(): number {
    const { libc, address: name, addressSize } = this.net;
    addressSize.value = name.bytes.length;
    libc.calls.getsockname(this.fd, name.at, addressSize.at);
    return name.port;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.net.loop.unwatch(this.fd);
    this.net.libc.calls.close(this.fd);
    this.removeFile?.();
  }

  ready(): void {
    const { libc, address: name, addressSize } = this.net;
    for (let i = 0; i < ACCEPT_MAX && !this.closed; i++) {
      addressSize.value = name.bytes.length;
      const fd = libc.accept(this.fd, name.at, addressSize);
      if (fd >= 0) new EpollSocket(this.net, this.handler, undefined, null).accepted(fd, name);
      else return this.acceptFailed(libc.errno());
    }
  }

  private acceptFailed(errno: number): void {
    if (!isShortage(errno) || this.resting) return;
    this.resting = true;
    const { loop } = this.net;
    loop.rewatch(this.fd, 0, this);
    loop.setTimer(ACCEPT_RETRY_MS, () => {
      this.resting = false;
      if (!this.closed) loop.rewatch(this.fd, EPOLLIN, this);
    });
  }
}

class EpollSocket implements Socket, Lingering, Pollable, Heard {
  watchId = 0;
  heardIn = 0;
  flushedBytes = 0;
  heard = false;
  private state = CONNECTING;
  /** -1 before it is made and after it is closed. */
  private fd = -1;
  private remoteHost = "";
  private remotePort = 0;
  private readonly out = new Outbox();
  /** A write was short: nothing is written before epoll says so. */
  private blocked = false;
  private watchesWriting = false;
  /** More is left than one turn writes: the next one goes on. */
  private behind = false;
  private paused = false;
  /** Something may lie there to be read, and epoll will not say so again. */
  private unread = false;
  /** Epoll has told of the peer's end: reading goes on until it is met. */
  private hungUp = false;
  /** An urgent byte has come: a read ends before it, whatever lies behind, and splice(2) never gets past. */
  private urgent = false;
  /** It will be called again in the next turn. */
  private eager = false;
  /** Where what comes may pass to, and how many bytes more. */
  private passingTo: EpollSocket | null = null;
  private passing = 0;
  private readMax = READ_MAX;
  /** The peer's FIN has been read. */
  private eof = false;
  private finSent = false;
  /** The connection is not made yet. */
  private dialing = false;
  /** The addresses of its name that have not been tried. */
  private hosts: string[] | null = null;
  /** Why it is BROKEN. */
  private failure: NetError | null = null;

  constructor(
    private readonly net: EpollNet,
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
    if (this.state === OPEN && !this.blocked && !this.behind) this.write();
  }

  passTo(to: Socket, count: number): boolean {
    const may = count > 0 && to instanceof EpollSocket && this.state <= OPEN && this.net.splicing !== null;
    this.passingTo = may ? to : null;
    this.passing = may ? count : 0;
    return may;
  }

  pause(): void {
    if (this.state <= BROKEN) this.paused = true;
  }

  resume(): void {
    if (!this.paused || this.state > BROKEN) return;
    this.paused = false;
    if (this.unread) this.again();
  }

  end(): void {
    if (this.state === BROKEN) return this.shut(this.failure);
    if (this.state >= ENDING) return;
    const connecting = this.state === CONNECTING;
    this.state = ENDING;
    if (connecting) return;
    this.paused = false;
    if (this.unread) this.again();
    this.sendLast();
  }

  destroy(): void {
    // All is said: a reset would throw away what the peer has not read yet.
    if (this.finSent && this.state !== CLOSED) this.close();
    else this.shut(null);
  }

  withdraw(into: Outbox): number {
    into.adopt(this.out);
    this.shut(null);
    return this.flushedBytes;
  }

  peer(): string {
    if (this.remoteHost !== "") return hostPort(this.remoteHost, this.remotePort);
    return this.address !== null && "host" in this.address ? addressText(this.address) : "unix";
  }

  local(): string {
    if (this.remoteHost === "") return "unix";
    const { libc, address: name, addressSize } = this.net;
    addressSize.value = name.bytes.length;
    libc.calls.getsockname(this.fd, name.at, addressSize.at);
    return hostPort(name.hostText(), name.port);
  }

  giveUp(): void {
    if (this.state === BROKEN) this.shut(this.failure);
    // A plain close after FIN: the kernel goes on delivering what it has taken.
    else if (this.finSent) this.close();
    else this.shut(new SocketError("ETIMEDOUT", `end ${this.peer()}: the peer reads nothing`));
  }

  // ---- connecting

  dial(): void {
    const address = this.address!;
    if ("path" in address) return this.dialPath(address.path);
    const host = bare(address.host);
    if (isIP(host) !== 0) {
      this.hosts = [host];
      return this.dialNext("EADDRNOTAVAIL");
    }
    resolveHost(host, ({ error, hosts }) => {
      if (this.state === CLOSED) return;
      this.hosts = hosts;
      this.dialNext(error === null ? "EADDRNOTAVAIL" : "EHOSTDOWN");
    });
  }

  /** Tries the next of the name's addresses. @param code what became of the one before */
  private dialNext(code: string): void {
    const host = this.hosts?.shift();
    if (host === undefined) return this.refused(code);
    const { port } = this.address as { port: number };
    const { address: name } = this.net;
    if (!name.setHost(host, port)) return this.dialNext("EINVAL");
    this.remoteHost = host;
    this.remotePort = port;
    const errno = this.dialTo(name);
    if (errno !== 0) this.dialNext(errnoName(errno));
  }

  private dialPath(path: string): void {
    if (this.state === CLOSED) return;
    this.net.address.setPath(path);
    const errno = this.dialTo(this.net.address);
    if (errno === EAGAIN) this.net.clock.setTimer(BACKLOG_RETRY_MS, () => this.dialPath(path));
    else if (errno !== 0) this.refused(errnoName(errno));
  }

  /** Returns an errno if that is certain at once; else 0, and epoll will tell. */
  private dialTo(name: SockAddr): number {
    const { libc, loop } = this.net;
    const fd = libc.socket(name.family);
    if (fd < 0) return libc.errno();
    if (name.family !== AF_UNIX) libc.switchOn(fd, IPPROTO_TCP, TCP_NODELAY);
    const errno = libc.calls.connect(fd, name.at, name.size) < 0 ? libc.errno() : 0;
    if (errno !== 0 && errno !== EINPROGRESS) {
      libc.calls.close(fd);
      return errno;
    }
    this.fd = fd;
    this.dialing = true;
    loop.watch(fd, READING_AND_WRITING, this);
    return 0;
  }

  private refused(code: string): void {
    if (this.state !== CLOSED) this.shut(systemError(code, `connect ${addressText(this.address!)}`));
  }

  private dialed(): void {
    const { libc, loop } = this.net;
    this.dialing = false;
    const errno = libc.socketErrno(this.fd);
    // A reset is not a refusal: the connection was there before.
    if (errno === 0 || errno === ECONNRESET || errno === EPIPE) {
      loop.rewatch(this.fd, READING, this);
      this.opened();
      if (errno !== 0) this.lost(errno);
      return;
    }
    this.closeDescriptor(false);
    this.dialNext(errnoName(errno));
  }

  accepted(fd: number, name: SockAddr): void {
    this.fd = fd;
    this.remoteHost = name.hostText();
    this.remotePort = name.port;
    this.net.loop.watch(fd, READING, this);
    this.opened();
  }

  private opened(): void {
    if (this.state === ENDING) return this.sendLast();
    this.state = OPEN;
    this.handler.open(this);
    this.flush();
  }

  // ---- from the loop

  ready(events: number): void {
    if (this.state === CLOSED) return;
    if (events === 0) {
      this.eager = false;
      if (this.behind) this.writeOn();
      if (this.unread) this.readable(0);
      return;
    }
    if (this.dialing) return this.dialed();
    if (this.blocked && (events & EPOLLOUT) !== 0) this.writable();
    if ((events & PEER_ENDED) !== 0) this.hungUp = true;
    if ((events & EPOLLPRI) !== 0) this.urgent = true;
    if (events !== EPOLLOUT) this.readable(events);
  }

  private readable(events: number): void {
    if (this.state === CLOSED) return;
    if (this.paused) {
      this.unread = true;
      if ((events & EPOLLERR) !== 0) this.lost(this.net.libc.socketErrno(this.fd));
    } else if (!this.eof) this.read();
    else if ((events & EPOLLERR) !== 0) this.lost(this.net.libc.socketErrno(this.fd));
  }

  private read(): void {
    if (this.passing > 0 && !this.urgent && this.pass()) return;
    const { libc, loop, inboundAt } = this.net;
    const { readMax } = this;
    this.unread = false;
    const count = libc.calls.recv(this.fd, inboundAt, readMax, 0);
    if (count === 0) return this.finReceived();
    if (count < 0) return this.readFailed(libc.errno());
    loop.pace.read(this, count);
    if (count === readMax || this.hungUp) {
      this.readMax = READ_MAX;
      this.unread = true;
      this.again();
    } else if (this.urgent) {
      // More may lie behind the urgent byte.
      this.unread = true;
      this.again();
    }
    if (this.passing > 0) this.passing = Math.max(0, this.passing - count);
    if (this.state <= BROKEN) this.handler.data(this, this.net.received(count));
    else this.heard = true;
  }

  /** Lets what has come pass. @returns false if it has to be read */
  private pass(): boolean {
    const { libc, loop } = this.net;
    const pipe = this.net.splicing;
    const to = this.passingTo!;
    if (pipe === null || this.state !== OPEN || !to.takesAtOnce) return false;
    this.unread = false;
    let count = 0;
    let errno = 0;
    let taken = 0;
    do {
      taken = pipe.fill(this.fd, Math.min(this.passing, PASS_MAX - count));
      if (taken < 0) errno = libc.errno();
      if (taken <= 0) break;
      count += taken;
      this.passing -= taken;
      to.takePassed(pipe, taken);
    } while (this.passing > 0 && count < PASS_MAX && to.takesAtOnce);
    if (CANNOT_PASS.has(errno)) {
      this.net.stopSplicing();
      errno = 0;
      if (count === 0) return false;
    }
    if (this.passing === 0) {
      this.passingTo = null;
      this.readMax = READ_AFTER_PASS;
    }
    // Epoll tells again only of what comes when there was nothing.
    if (taken > 0 || errno === EINTR || this.hungUp) {
      this.unread = true;
      this.again();
    }
    if (count > 0) {
      loop.pace.read(this, count);
      this.handler.passed!(this, count);
    }
    if (taken === 0) this.finReceived();
    else if (errno !== 0 && errno !== EAGAIN && errno !== EINTR) this.lost(errno);
    return true;
  }

  /** What is sent now leaves now. */
  private get takesAtOnce(): boolean {
    return this.state === OPEN && this.out.size === 0 && !this.blocked && !this.behind;
  }

  /** Sends the `count` bytes that lie in the pipe. */
  private takePassed(pipe: SplicePipe, count: number): void {
    const errno = pipe.pour(this.fd);
    this.flushedBytes += count - pipe.held;
    if (errno === 0) return;
    const cannot = CANNOT_PASS.has(errno);
    const later = cannot || errno === EAGAIN;
    pipe.empty(later ? this.out : null);
    // The socket itself is none the worse.
    if (cannot) this.net.stopSplicing();
    if (later) this.waitToWrite();
    else this.broke(errno);
  }

  private readFailed(errno: number): void {
    if (errno === EINTR) {
      this.unread = true;
      this.again();
    } else if (errno !== EAGAIN) this.lost(errno);
    else this.urgent = false;
  }

  /** Calls `ready(0)` in the next turn, which begins at once. */
  private again(): void {
    if (this.eager) return;
    this.eager = true;
    this.net.loop.again(this);
  }

  private finReceived(): void {
    this.eof = true;
    if (this.state === OPEN) this.handler.eof(this);
    else if (this.state === BROKEN) this.shut(this.failure);
    else if (this.finSent) this.close();
  }

  private writable(): void {
    this.blocked = false;
    this.heard = true;
    this.writeOn();
  }

  private writeOn(): void {
    if (this.state === ENDING) return this.sendLast();
    if (this.state !== OPEN) return;
    this.write();
    if (this.out.size === 0 && this.state === OPEN) this.handler.drain(this);
  }

  private lost(errno: number): void {
    this.shut(this.failure ?? (errno === 0 ? null : systemError(errnoName(errno), this.peer())));
  }

  // ---- writing

  private write(): void {
    const { out, net: { libc } } = this;
    let left = WRITE_MAX;
    this.behind = false;
    while (out.size > 0) {
      if (left <= 0) {
        this.behind = true;
        return this.again();
      }
      const { chunk, start } = out;
      const length = out.end - start;
      // What is the last leaves with FIN, in one piece.
      const more = length < out.size || this.state === ENDING;
      const flags = more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
      const taken = libc.calls.send(this.fd, libc.addressOf(chunk) + start, length, flags);
      if (taken < 0) {
        const errno = libc.errno();
        if (errno === EINTR) continue;
        return errno === EAGAIN ? this.waitToWrite() : this.broke(errno);
      }
      out.consume(taken);
      this.flushedBytes += taken;
      left -= taken;
      if (taken < length) return this.waitToWrite();
    }
    if (this.watchesWriting) this.watchWriting(false);
  }

  private waitToWrite(): void {
    this.blocked = true;
    if (!this.watchesWriting) this.watchWriting(true);
  }

  private watchWriting(on: boolean): void {
    this.watchesWriting = on;
    this.net.loop.rewatch(this.fd, on ? READING_AND_WRITING : READING, this);
  }

  /** What the peer said before it went can still be read. */
  private broke(errno: number): void {
    this.failure = systemError(errnoName(errno), `write ${this.peer()}`);
    this.out.clear();
    if (this.state === ENDING || this.eof) return this.shut(this.failure);
    this.state = BROKEN;
    this.net.lingerers.watchLinger(this);
    this.unread = true;
    if (!this.paused) this.again();
  }

  /** Writes what is left, then FIN, as far as it goes now. */
  private sendLast(): void {
    if (!this.blocked) this.write();
    if (this.state !== ENDING) return;
    if (this.behind) return;
    if (this.blocked) return this.net.lingerers.watchStall(this);
    // Nothing can come any more that a close would answer with a reset.
    if (this.eof) return this.close();
    this.finSent = true;
    this.net.libc.calls.shutdown(this.fd, SHUT_WR);
    this.net.lingerers.watchLinger(this);
  }

  // ---- the end

  /** With FIN, or after it. */
  private close(): void {
    this.closeDescriptor(false);
    this.shut(null);
  }

  /** The only way to CLOSED. The handler hears of it at the end of the turn: never from inside a call of its own. */
  private shut(error: NetError | null): void {
    if (this.state === CLOSED) return;
    this.state = CLOSED;
    this.out.clear();
    this.net.lingerers.unwatch(this);
    if (this.fd >= 0) this.closeDescriptor(true);
    this.net.loop.afterTurn(() => this.handler.close(this, error));
  }

  private closeDescriptor(reset: boolean): void {
    const { libc, loop } = this.net;
    loop.unwatch(this.fd);
    if (reset) libc.reset(this.fd);
    else libc.calls.close(this.fd);
    this.fd = -1;
  }
}
