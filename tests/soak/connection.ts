/**
 * A client connection that notices at once when the other side closes, as client libraries do: it always reads.
 *
 *   ask(requests, count) ──► one reply each, in order, or Lost: the connection ended before all of them had come
 */
import type { Value } from "../lib/resp.ts";
import { type Target } from "../lib/client.ts";
import type { Dialect } from "./dialect.ts";

/** The connection ended with requests unanswered. */
export class Lost extends Error {
  override name = "Lost";

  /** @param replies what had come until then */
  constructor(message: string, readonly replies: readonly Value[]) {
    super(message);
  }
}

interface Question {
  readonly count: number;
  readonly replies: Value[];
  resolve(replies: Value[]): void;
  reject(error: Lost): void;
}

export class Connection {
  /** The other side has closed, or the connection broke. */
  closed = false;
  private question: Question | null = null;
  private bytes = new Uint8Array(16 * 1024);
  private start = 0;
  private end = 0;

  private constructor(private readonly conn: Deno.Conn, private readonly dialect: Dialect) {
    void this.read();
  }

  static async open(target: Target, dialect: Dialect): Promise<Connection> {
    if ("path" in target) {
      return new Connection(await Deno.connect({ transport: "unix", path: target.path }), dialect);
    }
    const conn = await Deno.connect({ hostname: target.host ?? "127.0.0.1", port: target.port });
    conn.setNoDelay(true);
    return new Connection(conn, dialect);
  }

  /** Sends `bytes`, `count` requests; one question at a time. */
  ask(bytes: Uint8Array, count: number): Promise<Value[]> {
    if (this.closed) return Promise.reject(new Lost("closed before the request was sent", []));
    return new Promise((resolve, reject) => {
      this.question = { count, replies: [], resolve, reject };
      void this.write(bytes);
    });
  }

  /** Something came that nobody had asked for; null if not. */
  stray: string | null = null;

  close(): void {
    this.closed = true;
    try {
      this.conn.close();
    } catch {
      // already gone
    }
    this.lose("closed by us");
  }

  private async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
    } catch {
      // Reading finds out as well, and first gets what had been answered.
    }
  }

  private async read(): Promise<void> {
    let why = "closed by the other side";
    try {
      for (;;) {
        if (this.end === this.bytes.length) this.makeRoom();
        const count = await this.conn.read(this.bytes.subarray(this.end));
        if (count === null) break;
        this.end += count;
        this.takeReplies();
      }
    } catch (error) {
      why = (error as Error).message;
    }
    if (this.closed) return;
    this.closed = true;
    this.conn.close();
    this.lose(why);
  }

  private makeRoom(): void {
    const held = this.end - this.start;
    const bigger = held * 2 > this.bytes.length ? new Uint8Array(this.bytes.length * 2) : this.bytes;
    bigger.set(this.bytes.subarray(this.start, this.end));
    this.bytes = bigger;
    this.start = 0;
    this.end = held;
  }

  private takeReplies(): void {
    while (this.start < this.end) {
      const reply = this.dialect.take(this.bytes, this.start, this.end);
      if (reply === null) return;
      const { value } = reply;
      this.start = reply.end;
      const question = this.question;
      if (question === null) {
        this.stray ??= Deno.inspect(value);
        continue;
      }
      question.replies.push(value);
      if (question.replies.length < question.count) continue;
      this.question = null;
      question.resolve(question.replies);
    }
    this.start = this.end = 0;
  }

  private lose(why: string): void {
    const question = this.question;
    this.question = null;
    question?.reject(new Lost(why, question.replies));
  }
}
