/**
 * The commands of a transaction, kept until EXEC: their bytes back to back, in chunks. A million small ones cost what they are
 * long, and not an array each.
 */
import { copy } from "../bytes/ascii.ts";
import { KEEP_MIN, Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";

type Writer = Pick<ServerConnection, "writePart" | "writeChunks">;

/** A command that has its place between those kept. */
interface Insert {
  /** So many bytes of the others stand before it. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

export class CommandQueue {
  /** Commands kept, inserted ones included. */
  count = 0;
  /** Scripts are named by their digest among them. */
  namesScripts = false;
  /** Names of functions that are called among them, FUNCTIONS_MAX at most; null: none is. */
  functions: Set<string> | null = null;
  private readonly bytes = new Outbox();
  private readonly inserts: Insert[] = [];
  private nextInsert = 0;
  /** Bytes that have been written, without those of inserted commands. */
  private written = 0;

  /** Bytes still to be written, without those of inserted commands. */
  get size(): number {
    return this.bytes.size;
  }

  get empty(): boolean {
    return this.bytes.size === 0 && this.nextInsert === this.inserts.length;
  }

  /** Keeps a copy of `bytes[start, end)`; borrowed, or shared from SHARE_MIN on. */
  add(bytes: Uint8Array, start: number, end: number): void {
    this.bytes.appendShared(bytes, start, end);
    this.count++;
  }

  /** Puts a command, owned, behind the first `at` bytes of the others; in ascending order, before anything is written. */
  insert(at: number, bytes: Uint8Array): void {
    this.inserts.push({ at, bytes });
    this.count++;
  }

  /**
   * Puts the oldest bytes behind all others, some `size` of them, or one large array whole; when all have been put there it is as before.
   * Before anything is inserted or written.
   * @returns those bytes; shared: not to be written to
   */
  rotate(size: number): Uint8Array {
    const { bytes } = this;
    const { chunk, start } = bytes;
    let piece = chunk.subarray(start, bytes.end);
    if (piece.length >= SHARE_MIN) bytes.consume(piece.length);
    else {
      piece = new Uint8Array(Math.min(size, bytes.size));
      for (let at = 0; at < piece.length;) {
        const { chunk, start } = bytes;
        const end = Math.min(bytes.end, start + piece.length - at);
        if (end - start >= SHARE_MIN) piece = piece.subarray(0, at);
        else {
          at = copy(piece, at, chunk, start, end);
          bytes.consume(end - start);
        }
      }
    }
    bytes.appendShared(piece, 0, piece.length);
    return piece;
  }

  /** All commands, in one piece, owned: it is empty then, but for the count. */
  take(): Uint8Array {
    const all = new Outbox();
    this.writeTo({
      writePart: (bytes, start, end) => all.appendShared(bytes, start, end),
      writeChunks: (chunks) => all.adopt(chunks),
    }, Infinity);
    const taken = new Uint8Array(all.size);
    all.moveTo(taken);
    return taken;
  }

  /**
   * Writes up to `max` bytes as parts of the request queued last on `connection`; one large array leaves whole.
   * @returns how many bytes that were
   */
  writeTo(connection: Writer, max: number): number {
    const { bytes, inserts } = this;
    let done = 0;
    while (done < max && !this.empty) {
      const insert = inserts[this.nextInsert];
      const before = insert === undefined ? Infinity : insert.at - this.written;
      if (before === 0) {
        this.nextInsert++;
        connection.writePart(insert!.bytes, 0, insert!.bytes.length);
        done += insert!.bytes.length;
      } else if (before === Infinity && max === Infinity && bytes.size >= KEEP_MIN) {
        done += bytes.size;
        connection.writeChunks(bytes);
      } else done += this.writePiece(connection, Math.min(before, max - done));
    }
    return done;
  }

  private writePiece(connection: Writer, max: number): number {
    const { bytes } = this;
    const { chunk, start } = bytes;
    const there = bytes.end - start;
    const size = there >= SHARE_MIN ? there : Math.min(there, max);
    connection.writePart(chunk, start, start + size);
    bytes.consume(size);
    this.written += size;
    return size;
  }

  clear(): void {
    this.bytes.clear();
    this.namesScripts = false;
    this.functions = null;
    this.inserts.length =
      this.nextInsert =
      this.count =
      this.written =
        0;
  }
}
