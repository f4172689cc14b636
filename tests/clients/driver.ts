/**
 * What a scenario may ask of a client library, whatever its own names for it are.
 *
 *   scenarios.ts ──► Connection ──► ioredis.ts | node_redis.ts | python.ts ──► the library ──► a socket
 *
 * Every operation is done the way the library's users do it: its own pipelines, its own transactions, its own SCAN
 * iterator. Replies are what the library gives, so that its own decoding is tested too; `plain.ts` makes them comparable.
 */

/** A text is sent as UTF-8, bytes as they are. */
export type Argument = string | number | Uint8Array;

/** A message of a subscription, as "channel" or "pattern|channel", then the payload. */
export type Message = [from: string, payload: string];

export interface Connection {
  /** One command. Rejects with the library's error for an error reply. */
  call(...args: Argument[]): Promise<unknown>;
  /** One command whose bulk strings come as bytes (in Python they always do). */
  callBytes(...args: Argument[]): Promise<unknown>;
  /** Many commands at once, the library's way; an error reply is an Error among the replies. */
  pipeline(commands: Argument[][]): Promise<unknown[]>;
  /** MULTI, the commands, EXEC. Null if a watched key has changed; an error inside is an Error among the replies. */
  transaction(commands: Argument[][]): Promise<unknown[] | null>;
  watch(...keys: string[]): Promise<unknown>;
  unwatch(): Promise<unknown>;
  /** The library's helper that sends EVALSHA first and the text only if the server does not know it. */
  script(text: string, keys: string[], args: Argument[]): Promise<unknown>;
  /** The library's iterator over all keys, to its end; keys may come more than once. */
  scanAll(options: { match?: string; count?: number }): Promise<string[]>;
  /** Makes this connection a subscriber. Resolves when the server has confirmed all of them. */
  subscribe(channels: string[], patterns: string[]): Promise<void>;
  /** Resolves when the server has confirmed. */
  unsubscribe(channels: string[], patterns: string[]): Promise<void>;
  /** The next `count` messages, in their order. */
  messages(count: number): Promise<Message[]>;
  /** What is natural in this library alone: its typed methods and their decoding. */
  own(): Promise<unknown>;
  /** The polite way to end: QUIT, or what the library has in its place. */
  quit(): Promise<unknown>;
  /** Ends it at once, in any state. */
  disconnect(): Promise<void>;
}

export interface Library {
  /** "ioredis 6.0.0". */
  readonly name: string;
  /** The version of the protocol it speaks. */
  readonly resp: 2 | 3;
  /** Is `resp` what it speaks without being told? */
  readonly isDefault: boolean;
  /** Scenarios that it has no means for, by name. */
  readonly lacks?: ReadonlySet<string>;
  /** Connects with default settings: host, port, and nothing else but `resp` where it is not the default. */
  connect(port: number): Promise<Connection>;
  /** Stops what `connect` shares between connections (the Python process). */
  dispose?(): Promise<void>;
}

/** Messages that have come and are not asked for yet, or the other way round. */
export class Inbox {
  readonly #messages: Message[] = [];
  #wake: (() => void) | null = null;

  push(message: Message): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  async take(count: number): Promise<Message[]> {
    while (this.#messages.length < count) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
    return this.#messages.splice(0, count);
  }
}

/** The library's word for bytes and numbers is Buffer and text. */
export function buffers(args: Argument[]): (string | Uint8Array)[] {
  return args.map((arg) => typeof arg === "number" ? String(arg) : arg);
}
