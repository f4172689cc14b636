/**
 * The seam between the proxy and whatever moves its bytes: Deno, Bun, or the simulator's in-memory network.
 *
 *   runtime ──► Handler.open / data / eof / drain / close ──► proxy
 *   proxy   ──► Socket.send / flush / pause / resume / end / destroy ──► runtime
 *
 * One `Handler` object serves all sockets of a role; what belongs to one socket hangs off `socket.owner`.
 * The contract, which tests/runtime/ runs against every adapter:
 *
 *  1. `open` is called at most once and before anything else; `close` exactly once and last.
 *  2. No handler is called from inside send, flush, pause, resume, end, destroy, listen or connect.
 *  3. The bytes given to `data` are borrowed until it returns. `data` never gets zero bytes.
 *  4. Bytes arrive in the order sent, whole, across short writes and back pressure.
 *  5. `end` loses nothing that was sent before it, then closes; no `data` comes after it. `destroy` may lose,
 *     but not what has left before FIN.
 *  6. A failed connect is `close(socket, error)` without `open`.
 *  7. Bytes sent before `open` leave after it, in order.
 *  8. After `pause`, at most one more `data` comes before `resume`.
 *  9. After `eof` (the peer sent FIN) the socket can still be written to. Whoever gets `eof` must `end` or `destroy`.
 * 10. `send` never writes to the kernel; `flush` does. After a flush that could not take everything, the rest
 *     leaves by itself, and `drain` is called when `queuedBytes` has come to 0. `drain` may come spuriously.
 * 11. send, flush, pause, resume, end and destroy on a closed socket do nothing.
 * 12. `withdraw` is `destroy`, and gives back bytes of which the peer certainly gets none.
 * 13. What `passTo` lets pass is as if `data` had been given it and had sent it at once. `passed` tells of it afterwards, never from
 *     inside a call; what does not pass comes by `data`, in order, and counts as well.
 */
import type { Outbox } from "../bytes/outbox.ts";
import type { TlsNets } from "./tls.ts";

/** Where to listen or connect. `path` is a unix socket. */
export type Address =
  | { readonly host: string; readonly port: number }
  | { readonly path: string; readonly mode?: number };

/** Why a socket closed; `null` in its place means an orderly end. */
export interface NetError {
  /** errno name where there is one: ECONNREFUSED, ECONNRESET, ETIMEDOUT, EPIPE, ENOENT, EHOSTDOWN (name does not resolve), … */
  readonly code: string;
  readonly message: string;
}

export interface Handler {
  open(socket: Socket): void;
  data(socket: Socket, bytes: Uint8Array): void;
  eof(socket: Socket): void;
  drain(socket: Socket): void;
  close(socket: Socket, error: NetError | null): void;
  /** `count` bytes went from `socket` to where it passes them to; some may be queued there. For who calls `passTo`. */
  passed?(socket: Socket, count: number): void;
}

export interface Socket {
  /** Belongs to the handler; the adapter never touches it. */
  owner: unknown;
  /** Bytes sent and not yet taken by the kernel. */
  readonly queuedBytes: number;
  /** Bytes the kernel has taken since the socket was made. `flushedBytes + queuedBytes` = bytes sent. */
  readonly flushedBytes: number;
  /** Appends a copy of `bytes[start, end)`; borrowed. */
  send(bytes: Uint8Array, start: number, end: number): void;
  /** Appends `bytes[start, end)`; the array must never be written to again. No copy if it is large. */
  sendShared(bytes: Uint8Array, start: number, end: number): void;
  /** Appends all that `chunks` holds, without a copy; it is empty afterwards. */
  sendChunks(chunks: Outbox): void;
  flush(): void;
  /**
   * The next `count` bytes that come may go straight to `to`, unseen, whenever nothing is queued there; nobody else sends to it
   * meanwhile, unless it is closed. 0: from now on none. Absent: none ever do.
   * @returns false if none will, between these two
   */
  passTo?(to: Socket, count: number): boolean;
  pause(): void;
  resume(): void;
  end(): void;
  destroy(): void;
  /**
   * Destroys, and moves to the end of `into` what was sent last and certainly has not been given to the kernel; it may be less than that.
   * @returns how many bytes were sent before those: what the peer can have got at most
   */
  withdraw(into: Outbox): number;
  /** "ip:port" of the peer, or "unix". For logs and CLIENT INFO; may allocate. */
  peer(): string;
  /** The same of our end; of an open socket only. */
  local(): string;
  /**
   * Of an open socket: what the peer's certificate, which has been verified, calls him, each byte a character. Absent where nobody looks
   * (TlsConfig.userFrom), or he has shown none; empty if it has no name of that kind.
   */
  readonly certifiedNames?: readonly string[];
  /** Of an open socket: the client of `Preface`, "" if there was none. Absent where nobody looks for one: it would come as `data`. */
  readonly announced?: string;
}

/** What a connection begins with before anything else: whose it is. */
export interface Preface {
  /**
   * Reads it at the beginning of `bytes`, which are borrowed.
   * @returns how long it is, and "ip:port" of the client, "" if it is not said; null: it is not all here; REFUSED: the connection may not
   *     stay, which has been said
   */
  readPreface(socket: Socket, bytes: Uint8Array): PrefaceRead | null | typeof REFUSED;
  /** It does not come. @param peer "ip:port" of the connection */
  wrong(peer: string, why: string): void;
}

export interface PrefaceRead {
  readonly size: number;
  readonly client: string;
}

export const REFUSED = "refused";

export interface ListenOptions {
  readonly backlog: number;
  /** SO_REUSEPORT: several workers or processes on one port. */
  readonly reusePort: boolean;
  /** SO_KEEPALIVE on accepted sockets. */
  readonly keepAlive: boolean;
  /** Which of this process's listeners of the address it is, from 0: a worker's own number. Absent: 0. */
  readonly place?: number;
  /**
   * Whether an accepted connection may stay. Asked by a net in which something comes before `open`, a handshake: who is turned away
   * there costs none. Others leave it to `open`.
   */
  readonly admits?: (socket: Socket) => boolean;
  /** What an accepted connection has to begin with before that; null: nothing. Asked by such a net, which reads it then: others leave it to `data`. */
  readonly preface?: (socket: Socket) => Preface | null;
  /** How many accepted connections such a net may have, of all its listeners, that have not come so far. Absent: what it thinks right. */
  readonly handshakesMax?: number;
}

export interface Listener {
  /** The port in use (useful after asking for port 0), or 0 for a unix socket. */
  readonly port: number;
  /** Its descriptor, which a process that takes this one's place can go on with (runtime/heirloom.ts). Absent where the runtime does not tell it. */
  readonly fd?: number;
  /** It does: a unix socket's file is not removed any more. */
  bequeath?(): void;
  /** Accepts no more; accepted sockets live on. Idempotent. A unix socket's file is removed. */
  close(): void;
}

export interface Net {
  /** Whose sockets they are: "epoll", "bun", "deno" or "sim". */
  readonly name: string;
  /** Around this one; absent: there is no TLS to be had. */
  readonly tls?: TlsNets;
  /**
   * Starts accepting. A TCP address is bound with SO_REUSEADDR; an existing file at a unix path is removed
   * first if nobody listens on it. `owner` of an accepted socket is undefined until the handler sets it in `open`.
   * Rejects with NetError-shaped Error (code EADDRINUSE, EACCES, …).
   */
  listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener>;
  /** Starts connecting; TCP_NODELAY is set. Outcome: `open`, or `close` with an error. `destroy` cancels. */
  connect(address: Address, handler: Handler, owner: unknown): Socket;
}

export type TimerId = unknown;

/** Time and turns. Monotonic milliseconds for deadlines, wall time only for humans. */
export interface Clock {
  /** Monotonic, in ms, with a fraction; cheap. */
  nowMs(): number;
  /** As `nowMs`, but time in which this thread was stopped counts, for what others rely on; absent: it counts in `nowMs`, too. */
  realMs?(): number;
  /** `nowMs` when this turn began, where that is cheaper; absent: ask nowMs. */
  turnBeganMs?(): number;
  /** Milliseconds since the epoch. */
  wallMs(): number;
  setTimer(afterMs: number, run: () => void): TimerId;
  clearTimer(id: TimerId): void;
  /** Runs once after all sockets that are ready in this turn have been handled, before the next poll. */
  afterTurn(run: () => void): void;
}
