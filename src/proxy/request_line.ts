/**
 * One request on its way to a server that stands for several of clients, whoever they are: memcached's gets of one turn
 * (memcached/get_batch.ts). The first of them is the `Request` in the connection's queue and has the line; the others are known to
 * the line alone. Or a request that makes something else of its reply is the only one of its own line (memcached/binary_request.ts).
 *
 *   connection.enqueue(first) ─► beginLine(line) ─► join(line) … ─► end of the turn: close, and its bytes are written
 *   the reply ─► takeParts … ─► finish, or fail ─► release
 */
import type { Timing } from "./timing.ts";
import type { Client } from "./client.ts";

export interface RequestLine {
  /** Of the requests that it stands for, those that have not been answered. */
  readonly waiting: number;
  /** What is sent, `bytes[0, end)`, once it is closed. */
  readonly bytes: Uint8Array;
  readonly end: number;
  /**
   * What is taken next comes from a server that was written to at `writtenMs`; -1: never; null: when the stamps say.
   * @param timing the server's
   */
  comes(timing: Timing, writtenMs: number | null): void;
  /** No more will join. */
  close(): void;
  /**
   * Delivers what is in `bytes[at, end)`, whole parts at the beginning of its reply; bytes as for `Client.deliver`.
   * @returns false if something there answers nobody
   */
  takeParts(bytes: Uint8Array, at: number, end: number): boolean;
  /** As `takeParts`, for the last bytes of the reply: everybody has been answered then. False if this is no reply to what was asked. */
  finish(bytes: Uint8Array, start: number, end: number): boolean;
  /** Answers whoever has nothing yet with an error that the proxy has made; shared. */
  fail(reply: Uint8Array): void;
  /** Who the reply's next part is for, of which `bytes[start, end)` have come; null = not known yet. */
  receiver(bytes: Uint8Array, start: number, end: number): Client | null;
  /** For the log, when a reply did not fit: what it was, and what becomes of that. */
  readonly misfit: string;
  /** The connection has nothing more to do with it. */
  release(): void;
}
