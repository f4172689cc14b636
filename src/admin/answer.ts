/** What a route is asked, and what it answers: the server (server.ts) reads the one and writes the other. */

export interface Asked {
  /** What stands in place of the words in capitals of the route's path, decoded, by word. */
  readonly names: Readonly<Record<string, string>>;
  /** By name, "" for those that are not given; only those that the route has. Of a flag that is given "yes". */
  readonly query: Readonly<Record<string, string>>;
  /** Of a POST; empty otherwise. */
  readonly body: Uint8Array;
  /** The Accept header, "" if there is none. */
  readonly accept: string;
}

/** All of it in memory: some MB at most. */
export interface Whole {
  readonly status: number;
  /** The Content-Type. */
  readonly type: string;
  /** Or pieces of it, in order. */
  readonly body: string | Uint8Array | readonly Uint8Array[];
  /** Called when nobody reads `body` any more, be it that nobody will: its bytes may change then. */
  readonly release?: () => void;
}

/** For as long as the client listens. */
export interface Stream {
  readonly type: string;
  /** Called once; what it returns is called when the client has gone, or is cut off. */
  readonly stream: (out: Out) => () => void;
}

export type Answer = Whole | Stream;

export interface Out {
  /**
   * Does nothing when the client has gone. One that does not read is cut off before much is held for it.
   * @param text as bytes may be given to several, and does not change after that
   */
  write(text: string | Uint8Array): void;
  end(): void;
  /** Bytes that the client has not taken yet. */
  readonly owedBytes: number;
}

/** What is wrong with what was asked: becomes an answer with this status and message. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export function json(data: unknown, status = 200): Whole {
  return { status, type: "application/json; charset=utf-8", body: JSON.stringify(data) + "\n" };
}

export function plain(text: string, status = 200): Whole {
  return { status, type: "text/plain; charset=utf-8", body: text };
}
