/**
 * The C library's calls, mostly of sockets, through Bun's foreign function interface, for epoll_net.ts.
 *
 * A call costs about 10 ns on top of the system call's own time (Bun 1.4.5), and nothing is allocated: bytes are given as
 * an address in memory that some array of ours owns and keeps alive during the call. Numbers and layouts below are Linux',
 * for x86-64 and arm64: linux/socket.h, linux/eventpoll.h, asm-generic/errno.h.
 */

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLPRI = 2;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000 | 0;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
/** struct epoll_event is packed on x86-64 only; in 32-bit words: its size, and where the data begins. */
export const EPOLL_EVENT_WORDS = process.arch === "x64" ? 3 : 4;
export const EPOLL_DATA_WORD = process.arch === "x64" ? 1 : 2;

/** How much later than asked a sleeping thread may wake, in ns. */
export const PR_SET_TIMERSLACK = 29;

export const SHUT_WR = 1;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_MORE = 0x8000;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const F_SETFD = 2;
export const FD_CLOEXEC = 1;
export const F_SETPIPE_SZ = 1031;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;

export const EPERM = 1;
export const EINTR = 4;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EPIPE = 32;
export const ENOSYS = 38;
export const EOPNOTSUPP = 95;
export const ECONNRESET = 104;
export const EINPROGRESS = 115;
const ENOMEM = 12;
const ENFILE = 23;
export const EMFILE = 24;
const ENOBUFS = 105;

/** errno → its name, for what sockets can meet. */
const ERRNO_NAME: Record<number, string> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  32: "EPIPE",
  36: "ENAMETOOLONG",
  88: "ENOTSOCK",
  91: "EPROTOTYPE",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  101: "ENETUNREACH",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
};

export function errnoName(errno: number): string {
  return ERRNO_NAME[errno] ?? "EIO";
}

/** True for what passes by itself when others let go of something. */
export function isShortage(errno: number): boolean {
  return errno === EMFILE || errno === ENFILE || errno === ENOBUFS || errno === ENOMEM;
}

/** An address in this process's memory. */
export type Pointer = number;

interface Calls {
  socket(family: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Pointer, size: number): number;
  getsockopt(fd: number, level: number, name: number, value: Pointer, size: Pointer): number;
  bind(fd: number, address: Pointer, size: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: Pointer, size: Pointer, flags: number): number;
  connect(fd: number, address: Pointer, size: number): number;
  getsockname(fd: number, address: Pointer, size: Pointer): number;
  recv(fd: number, bytes: Pointer, size: number, flags: number): number;
  send(fd: number, bytes: Pointer, size: number, flags: number): number;
  read(fd: number, bytes: Pointer, size: number): number;
  pipe2(fds: Pointer, flags: number): number;
  /** Positions are null: neither end is a file. */
  splice(from: number, fromAt: 0, to: number, toAt: 0, size: number, flags: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, op: number, fd: number, event: Pointer): number;
  epoll_wait(epoll: number, events: Pointer, count: number, timeoutMs: number): number;
  usleep(us: number): number;
  prctl(option: number, value: number): number;
  madvise(at: Pointer, size: number, advice: number): number;
  inet_pton(family: number, text: Pointer, to: Pointer): number;
  __errno_location(): Pointer;
}

/** What of Bun's module "bun:ffi" is used; Deno could not even resolve its name. */
interface Ffi {
  dlopen(
    library: string,
    symbols: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: unknown };
  ptr(bytes: ArrayBufferView): Pointer;
  readonly read: { i32(at: Pointer, offset: number): number };
}

const SIGNATURES = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u64_fast", "i32"], returns: "i64_fast" },
  send: { args: ["i32", "ptr", "u64_fast", "i32"], returns: "i64_fast" },
  read: { args: ["i32", "ptr", "u64_fast"], returns: "i64_fast" },
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
  splice: { args: ["i32", "u64_fast", "i32", "u64_fast", "u64_fast", "u32"], returns: "i64_fast" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  epoll_create1: { args: ["i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
  usleep: { args: ["u32"], returns: "i32" },
  prctl: { args: ["i32", "u64_fast"], returns: "i32" },
  madvise: { args: ["ptr", "u64_fast", "i32"], returns: "i32" },
  inet_pton: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
};

/** glibc, then musl. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "x64" ? "x86_64" : "aarch64"}.so.1`];

/** A number that the C library fills in or reads, e.g. a size. */
export class IntCell {
  private readonly cell = new Int32Array(1);
  readonly at: Pointer;
  constructor(libc: Libc) {
    this.at = libc.addressOf(this.cell);
  }
  get value(): number {
    return this.cell[0]!;
  }
  set value(value: number) {
    this.cell[0] = value;
  }
}

export class Libc {
  private readonly errnoAt: Pointer;
  private readonly one: IntCell;
  private readonly value: IntCell;
  private readonly size: IntCell;
  private readonly linger: Pointer;
  private readonly noLinger = new Int32Array([1, 0]);

  private constructor(readonly calls: Calls, private readonly ffi: Ffi) {
    // A thread's errno stays where it is.
    this.errnoAt = calls.__errno_location();
    this.one = new IntCell(this);
    this.one.value = 1;
    this.value = new IntCell(this);
    this.size = new IntCell(this);
    this.linger = this.addressOf(this.noLinger);
  }

  /** Null where there is no such interface: not Bun, not Linux, or a C library of another name. */
  static open(): Libc | null {
    if (process.platform !== "linux" || !("Bun" in globalThis)) return null;
    if (process.arch !== "x64" && process.arch !== "arm64") return null;
    try {
      const ffi = process.getBuiltinModule("bun:ffi") as unknown as Ffi;
      for (const library of LIBRARIES) {
        try {
          return new Libc(ffi.dlopen(library, SIGNATURES).symbols as Calls, ffi);
        } catch {
          // The other one.
        }
      }
    } catch {
      // A Bun without it.
    }
    return null;
  }

  /** Where the array's bytes lie. Valid while the array lives; the caller keeps it alive during calls. */
  addressOf(bytes: ArrayBufferView): Pointer {
    return this.ffi.ptr(bytes);
  }

  /** Why the last call returned -1. To be asked before anything else is called. */
  errno(): number {
    return this.ffi.read.i32(this.errnoAt, 0);
  }

  /** A descriptor that does not block, or -1. */
  socket(family: number): number {
    return this.calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }

  /** Like `socket`, for the next client in the listener's queue. `size` holds the room for its address. */
  accept(fd: number, address: Pointer, size: IntCell): number {
    return this.calls.accept4(fd, address, size.at, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }

  switchOn(fd: number, level: number, option: number): void {
    this.calls.setsockopt(fd, level, option, this.one.at, 4);
  }

  /** The error that waits on a socket, as an errno; reading takes it away. 0 = none. */
  socketErrno(fd: number): number {
    this.size.value = 4;
    const failed = this.calls.getsockopt(fd, SOL_SOCKET, SO_ERROR, this.value.at, this.size.at) < 0;
    return failed ? this.errno() : this.value.value;
  }

  /** Closes with a reset instead of FIN (TCP). */
  reset(fd: number): void {
    this.calls.setsockopt(fd, SOL_SOCKET, SO_LINGER, this.linger, 8);
    this.calls.close(fd);
  }
}
