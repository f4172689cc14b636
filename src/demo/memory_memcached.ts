/**
 * A memcached server in memory, for `ringmaster demo` and as the model in the simulator. No sockets and no clock of
 * its own: bytes in, bytes out.
 *
 *   bytes ──► lines and data blocks ──► text.ts or meta.ts ──► Store ──► bytes
 *
 * It speaks the text protocol with the meta commands and answers like memcached 1.6.18, byte for byte, down to the
 * CAS numbers; tests/real/demo_memcached_test.ts compares the two. What differs:
 *  - no binary protocol, no UDP, no slabs, no eviction: memory grows with what is stored;
 *  - `stats` has few rows, and `stats settings`, `items`, `slabs`, `sizes` and `conns` none;
 *  - flush_all with a delay forgets everything at its time, also what was stored after it was due and before
 *    somebody looked;
 *  - `me` guesses the slab class.
 */
import { runMeta } from "./memcached/meta.ts";
import { Store } from "./memcached/store.ts";
import { type Block, ERROR, TEXT_COMMANDS } from "./memcached/text.ts";
import { toBytes, toText } from "./redis/resp.ts";

const META_COMMANDS = new Set(["mn", "mg", "ms", "md", "ma", "me"]);
/** A line longer than this that has not ended closes the connection, unless it is a get. */
const LINE_MAX = 2048;
const LF = 10;

export interface MemoryMemcachedOptions {
  /** Milliseconds since the epoch; decides when items die. */
  nowMs: () => number;
  /** Bytes of the largest item with its header; 1 MiB if absent, as memcached's -I. */
  itemSizeMax?: number;
}

export class MemoryMemcached {
  readonly store: Store;
  /** Lines executed, errors included. */
  requests = 0;

  constructor(options: MemoryMemcachedOptions) {
    this.store = new Store(options.nowMs, options.itemSizeMax ?? 1024 * 1024);
  }

  /** A new client. */
  session(): MemoryMemcachedSession {
    return new MemoryMemcachedSession(this);
  }
}

/** One client of a MemoryMemcached. */
export class MemoryMemcachedSession {
  /** After QUIT or a line without end: what was answered goes out, nothing more is read. */
  ended = false;
  private held = new Uint8Array(0);
  private start = 0;
  private end = 0;
  /** The data block that is being received. */
  private block: Block | null = null;

  constructor(private readonly server: MemoryMemcached) {}

  /**
   * Takes in what the client sent (borrowed) and answers all requests that are complete; what is half received
   * waits for more. Once `ended` is true further bytes are ignored.
   * @returns the replies, owned by the caller; perhaps empty
   */
  feed(bytes: Uint8Array): Uint8Array {
    if (this.ended) return new Uint8Array(0);
    this.hold(bytes);
    let text = "";
    for (;;) {
      const reply = this.block === null ? this.nextLine() : this.nextBlock(this.block);
      if (reply === null) break;
      text += reply;
      if (this.ended) break;
    }
    return toBytes(text);
  }

  /** The client has gone. Idempotent. */
  close(): void {
    this.ended = true;
  }

  private hold(bytes: Uint8Array): void {
    const length = this.end - this.start;
    if (this.end + bytes.length > this.held.length) {
      const room = length + bytes.length;
      const to = room * 2 > this.held.length ? new Uint8Array(room * 2) : this.held;
      to.set(this.held.subarray(this.start, this.end));
      this.held = to;
      this.start = 0;
      this.end = length;
    }
    this.held.set(bytes, this.end);
    this.end += bytes.length;
  }

  private nextLine(): string | null {
    const at = this.held.indexOf(LF, this.start);
    if (at < 0 || at >= this.end) {
      const length = this.end - this.start;
      if (length === 0 && this.held.length > LINE_MAX) {
        this.held = new Uint8Array(0);
        this.start = this.end = 0;
      }
      if (length > LINE_MAX && !/^ *gets? /.test(toText(this.held, this.start, this.start + LINE_MAX))) {
        this.ended = true;
      }
      return null;
    }
    let line = toText(this.held, this.start, at);
    this.start = at + 1;
    if (line.endsWith("\r")) line = line.slice(0, -1);
    this.server.requests++;
    // A C string ends at its first NUL.
    const nul = line.indexOf("\0");
    const words = (nul < 0 ? line : line.slice(0, nul)).split(" ").filter((word) => word !== "");
    const result = this.run(words);
    if (typeof result === "string") return result;
    this.block = result;
    return "";
  }

  private run(words: string[]): string | Block {
    const name = words[0];
    if (name === undefined) return ERROR;
    const { store } = this.server;
    if (META_COMMANDS.has(name)) return runMeta(store, words);
    if (name === "quit") {
      this.ended = true;
      return "";
    }
    const command = Object.hasOwn(TEXT_COMMANDS, name) ? TEXT_COMMANDS[name]! : undefined;
    if (command === undefined || words.length < command[0] || words.length > command[1]) return ERROR;
    const quiet = words.at(-1) === "noreply" && !ALWAYS_ANSWERS.has(name);
    const result = command[2](store, words, quiet);
    return quiet && typeof result === "string" ? "" : result;
  }

  private nextBlock(block: Block): string | null {
    const { size } = block;
    if (this.end - this.start < size + 2) return null;
    const at = this.start;
    const whole = this.held[at + size] === 13 && this.held[at + size + 1] === LF;
    this.start += size + 2;
    this.block = null;
    return whole ? block.take(toText(this.held, at, at + size)) : block.bad;
  }
}

/** Commands for which "noreply" is a key or nothing. */
const ALWAYS_ANSWERS = new Set(["get", "gets", "gat", "gats", "version", "stats", "shutdown"]);
