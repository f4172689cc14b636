/**
 * Bytes that go from one socket to another without coming here: by splice(2) through a pipe, for epoll_net.ts.
 *
 *   socket ─ fill ─► pipe ─ pour ─► socket
 *                      └─── empty ─► a chunk, when that socket takes no more
 *
 * The kernel moves references to pages; neither we nor it copy a byte. One pipe serves a thread, since it is empty whenever a call from
 * the loop returns.
 */
import { giveChunk, takeChunk } from "../bytes/chunks.ts";
import type { Outbox } from "../bytes/outbox.ts";
import { EAGAIN, EINTR, F_SETPIPE_SZ, type Libc } from "./libc.ts";

/** Asked for; each page, however little of it is used, counts 4 KiB. A user that has too many pipes gets less. */
const PIPE_BYTES = 1024 * 1024;
const PIPE_FLAGS = 0x80800; // O_CLOEXEC | O_NONBLOCK
const SPLICE_FLAGS = 3; // SPLICE_F_MOVE | SPLICE_F_NONBLOCK
const CHUNK = 256 * 1024;

export class SplicePipe {
  /** Bytes that lie in it: 0 between two calls of the loop's. */
  held = 0;

  private constructor(
    private readonly libc: Libc,
    private readonly from: number,
    private readonly to: number,
  ) {}

  /** @returns where there is none to be had why not (an errno) */
  static open(libc: Libc): SplicePipe | number {
    const ends = new Int32Array(2);
    if (libc.calls.pipe2(libc.addressOf(ends), PIPE_FLAGS) < 0) return libc.errno();
    libc.calls.fcntl(ends[1]!, F_SETPIPE_SZ, PIPE_BYTES);
    return new SplicePipe(libc, ends[0]!, ends[1]!);
  }

  /** Takes up to `count` bytes from a socket. @returns as recv does */
  fill(fd: number, count: number): number {
    const taken = this.libc.calls.splice(fd, 0, this.to, 0, count, SPLICE_FLAGS);
    if (taken > 0) this.held += taken;
    return taken;
  }

  /** Gives what it holds to a socket. @returns 0, or why not all of it has gone there (an errno) */
  pour(fd: number): number {
    const { libc } = this;
    while (this.held > 0) {
      const taken = libc.calls.splice(this.from, 0, fd, 0, this.held, SPLICE_FLAGS);
      if (taken > 0) this.held -= taken;
      else {
        const errno = taken < 0 ? libc.errno() : EAGAIN;
        if (errno !== EINTR) return errno;
      }
    }
    return 0;
  }

  /** Puts what it holds at the end of `out`, or throws it away. */
  empty(out: Outbox | null): void {
    const { libc } = this;
    while (this.held > 0) {
      // Little is left as a rule, and may lie there for as long as the peer likes: what it takes up is what is counted.
      const chunk = takeChunk(Math.min(this.held, CHUNK));
      const taken = libc.calls.read(this.from, libc.addressOf(chunk), Math.min(this.held, chunk.length));
      if (taken <= 0) throw new Error(`a pipe lacks ${this.held} bytes`);
      this.held -= taken;
      if (out === null) giveChunk(chunk);
      else out.appendChunk(chunk, 0, taken);
    }
  }

  close(): void {
    this.libc.calls.close(this.from);
    this.libc.calls.close(this.to);
  }
}
