/**
 * A raw client: sends exactly the bytes it is told, reads only when asked, and keeps every byte it was given.
 *
 * It reads on demand: a test that does not read is a client that does not read. Each read gives up after
 * PATIENCE_MS with an error that shows what had come until then.
 */
import { type Argument, concat, latin1, request, show, textOf } from "./bytes.ts";
import { PATIENCE_MS, within } from "./poll.ts";
import { parseReply, replyEnd, ReplyProgress, type Value } from "./resp.ts";

export type Target = { path: string } | { port: number; host?: string };

export interface Reply {
  value: Value;
  /** The reply as it came, one character per byte. */
  text: string;
  /** Owned by the receiver. */
  raw: Uint8Array;
}

export class RawClient implements AsyncDisposable {
  readonly #conn: Deno.Conn;
  readonly #chunk = new Uint8Array(64 * 1024);
  #bytes = new Uint8Array(64 * 1024);
  #start = 0;
  #end = 0;
  #eof = false;
  #closed = false;
  /** How long one read may take, in ms. */
  patienceMs = PATIENCE_MS;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  static async connect(target: Target): Promise<RawClient> {
    if ("path" in target) return new RawClient(await Deno.connect({ transport: "unix", path: target.path }));
    const conn = await Deno.connect({ hostname: target.host ?? "127.0.0.1", port: target.port });
    conn.setNoDelay(true);
    return new RawClient(conn);
  }

  /**
   * Sends bytes, or a text of one byte per character, whole. False if the peer closed before it had taken them all:
   * whoever refuses what he is sent may do so in the middle of it, and what he says of it is there to be read.
   */
  async send(data: Uint8Array | string): Promise<boolean> {
    const bytes = typeof data === "string" ? latin1(data) : data;
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    } catch (error) {
      if (hasClosed(error)) return false;
      throw error;
    }
    return true;
  }

  /** One Redis request and its reply. An error reply is a value (ReplyError), not an exception. */
  async command(...args: Argument[]): Promise<Value> {
    await this.send(request(...args));
    return (await this.readReply()).value;
  }

  /** Many Redis requests sent at once; their replies in order. */
  async pipeline(...requests: Argument[][]): Promise<Value[]> {
    await this.send(concat(requests.map((args) => request(...args))));
    const values: Value[] = [];
    for (let i = 0; i < requests.length; i++) values.push((await this.readReply()).value);
    return values;
  }

  /** The next Redis reply. */
  async readReply(): Promise<Reply> {
    const progress = new ReplyProgress();
    for (;;) {
      const end = replyEnd(this.#bytes, this.#start, this.#end, progress);
      if (end >= 0) {
        const { value } = parseReply(this.#bytes, this.#start, end)!;
        const raw = this.#take(end - this.#start);
        return { value, text: textOf(raw), raw };
      }
      await this.#readMore("a reply");
    }
  }

  /** The next line, without its CRLF, one character per byte. */
  async readLine(): Promise<string> {
    return (await this.readUntil("\r\n")).slice(0, -2);
  }

  /** Everything up to and including the first `ending`, one character per byte (memcached: `readUntil("END\r\n")`). */
  async readUntil(ending: string): Promise<string> {
    const tail = latin1(ending);
    let from = this.#start;
    for (;;) {
      outer: for (let i = from; i + tail.length <= this.#end; i++) {
        for (let j = 0; j < tail.length; j++) if (this.#bytes[i + j] !== tail[j]) continue outer;
        return textOf(this.#take(i + tail.length - this.#start));
      }
      const seen = Math.max(this.#end - this.#start - tail.length + 1, 0);
      await this.#readMore(JSON.stringify(ending));
      from = this.#start + seen;
    }
  }

  /** Exactly `size` bytes. */
  async readExact(size: number): Promise<Uint8Array> {
    while (this.#end - this.#start < size) await this.#readMore(`${size} bytes`);
    return this.#take(size);
  }

  /** Everything until the peer closes, one character per byte. A reset counts as a close. */
  async readToEnd(): Promise<string> {
    while (!this.#eof) await this.#fill("the end of the connection");
    return textOf(this.#take(this.#end - this.#start));
  }

  /** What has been received and not yet read. */
  get unread(): string {
    return textOf(this.#bytes, this.#start, this.#end);
  }

  /** Sends FIN; replies can still be read. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // already gone
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #take(size: number): Uint8Array {
    const part = this.#bytes.slice(this.#start, this.#start + size);
    this.#start += size;
    if (this.#start === this.#end) this.#start = this.#end = 0;
    return part;
  }

  async #readMore(what: string): Promise<void> {
    if (!await this.#fill(what)) {
      throw new Error(
        `connection closed while waiting for ${what}; received until then: ${this.#received()}`,
      );
    }
  }

  /** False at the end of the stream. */
  async #fill(what: string): Promise<boolean> {
    if (this.#eof) return false;
    let count: number | null;
    try {
      count = await within(this.#conn.read(this.#chunk), what, this.patienceMs);
    } catch (error) {
      if (hasClosed(error)) {
        count = null;
      } else {
        this.close();
        throw new Error(`${(error as Error).message}; received until then: ${this.#received()}`);
      }
    }
    if (count === null) {
      this.#eof = true;
      return false;
    }
    if (this.#end + count > this.#bytes.length) {
      const size = this.#end - this.#start;
      const grown = size + count > this.#bytes.length / 2
        ? new Uint8Array(Math.max(this.#bytes.length * 2, size + count))
        : this.#bytes;
      grown.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = grown;
      this.#start = 0;
      this.#end = size;
    }
    this.#bytes.set(this.#chunk.subarray(0, count), this.#end);
    this.#end += count;
    return true;
  }

  #received(): string {
    return show(this.#bytes.subarray(this.#start, this.#end));
  }
}

function hasClosed(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}
