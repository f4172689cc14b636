/**
 * An in-memory server on a listening address, through the seam: what `ringmaster demo` starts and what the
 * simulator's model servers are.
 *
 *   data ──► session.feed ──► send, flush          queue over QUEUED_MAX ──► pause until drain
 */
import type { Address, Handler, Listener, Net, Socket } from "../net/net.ts";

/** One client of an in-memory server: MemoryRedisSession, MemoryMemcachedSession. */
export interface MemorySession {
  /** The session is over: what was answered goes out, then the connection ends. */
  readonly ended: boolean;
  /** Takes in borrowed bytes; returns the replies, owned by the caller, perhaps none. */
  feed(bytes: Uint8Array): Uint8Array;
  /** The client has gone. Idempotent. */
  close(): void;
}

/** MemoryRedis or MemoryMemcached. */
export interface MemoryServer {
  session(): MemorySession;
}

/** With this many bytes of replies unread, a client's requests wait. */
const QUEUED_MAX = 1024 * 1024;
const BACKLOG = 511;

class MemoryHandler implements Handler {
  constructor(private readonly server: MemoryServer) {}

  open(socket: Socket): void {
    socket.owner = this.server.session();
  }

  data(socket: Socket, bytes: Uint8Array): void {
    const session = socket.owner as MemorySession;
    const replies = session.feed(bytes);
    if (replies.length > 0) {
      socket.sendShared(replies, 0, replies.length);
      socket.flush();
    }
    if (session.ended) socket.end();
    else if (socket.queuedBytes > QUEUED_MAX) socket.pause();
  }

  eof(socket: Socket): void {
    socket.end();
  }

  drain(socket: Socket): void {
    socket.resume();
  }

  close(socket: Socket): void {
    (socket.owner as MemorySession | undefined)?.close();
  }
}

/**
 * Serves an in-memory server at an address until the listener is closed; connections live on after that.
 * Several addresses may share one server.
 * @returns rejects as `net.listen` does
 */
export function serveMemory(net: Net, address: Address, server: MemoryServer): Promise<Listener> {
  return net.listen(address, new MemoryHandler(server), {
    backlog: BACKLOG,
    reusePort: false,
    keepAlive: false,
  });
}
