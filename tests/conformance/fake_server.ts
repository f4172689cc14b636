/**
 * A server that says what the test tells it to: scripted replies, garbage, silence, strays.
 *
 *   proxy ──request──► FakeServer ──answer(words)──► text, or null for silence
 *
 * Listens on a loopback port; keeps every byte it received.
 */
import { concat, latin1, textOf } from "../lib/bytes.ts";
import { parseReply } from "../lib/resp.ts";

/** The reply to one request, one character per byte; null = none (now). `words` is the request, in order. */
export type Answer = (words: string[], from: FakeConnection) => string | null;

export class FakeConnection {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Writes wait for each other. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(readonly conn: Deno.Conn, readonly server: FakeServer) {}

  send(text: string): void {
    const bytes = latin1(text);
    this.#writing = this.#writing.then(async () => {
      for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
    }).catch(() => {});
  }

  close(): void {
    try {
      this.conn.close();
    } catch {
      // already gone
    }
  }

  /** Answers what comes until the peer closes. */
  async serve(): Promise<void> {
    const chunk = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await this.conn.read(chunk).catch(() => null);
      if (count === null) break;
      this.server.received += textOf(chunk, 0, count);
      this.#bytes = concat([this.#bytes, chunk.subarray(0, count)]);
      for (;;) {
        const request = this.#bytes.length > 0 ? parseReply(this.#bytes, 0, this.#bytes.length) : null;
        if (request === null) break;
        this.#bytes = this.#bytes.slice(request.end);
        const words = request.value as string[];
        this.server.requests.push(words);
        const reply = this.server.answer(words, this);
        if (reply !== null) this.send(reply);
      }
    }
    this.close();
    this.server.connections.delete(this);
  }
}

export class FakeServer implements AsyncDisposable {
  /** Open now. */
  readonly connections: Set<FakeConnection> = new Set();
  /** Connections ever accepted. */
  accepted = 0;
  /** Every byte, of all connections, as it came. */
  received = "";
  readonly requests: string[][] = [];
  readonly #listener: Deno.TcpListener;
  readonly #tasks: Promise<void>[] = [];

  private constructor(public answer: Answer, port: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.#tasks.push(this.#accept());
  }

  /** @param port 0 = a free one */
  static start(answer: Answer, port = 0): FakeServer {
    return new FakeServer(answer, port);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** What a `servers:` line has before `:weight`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) {
      conn.setNoDelay(true);
      this.accepted++;
      const connection = new FakeConnection(conn, this);
      this.connections.add(connection);
      this.#tasks.push(connection.serve());
    }
  }

  /** Says something that nobody may have asked for, on every connection. */
  send(text: string): void {
    for (const connection of this.connections) connection.send(text);
  }

  closeConnections(): void {
    for (const connection of this.connections) connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#listener.close();
    } catch {
      // already closed
    }
    this.closeConnections();
    await Promise.all(this.#tasks);
  }
}
