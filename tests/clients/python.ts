/**
 * Debian's python3-redis, in a Python of its own: requests and answers are lines of JSON, matched by number.
 * The other half is redis_py.py; what it answers is plain already.
 */
import { textOf } from "../lib/bytes.ts";
import { PYTHON, ROOT } from "../lib/repo.ts";
import type { Argument, Connection, Library, Message } from "./driver.ts";

interface Answer {
  number: number;
  value?: unknown;
  failure?: { error: string };
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export class PythonProcess {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #reading: Promise<void>;
  #serial = 0;
  connections = 0;

  constructor() {
    this.#child = new Deno.Command(PYTHON, {
      args: [`${ROOT}/tests/clients/redis_py.py`],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async ask(connection: number, op: string, more: Record<string, unknown> = {}): Promise<unknown> {
    const number = ++this.#serial;
    const line = JSON.stringify({ number, connection, op, ...more });
    const answer = new Promise((resolve, reject) => this.#waiting.set(number, { resolve, reject }));
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
    return await answer;
  }

  async stop(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reading;
    await this.#child.status;
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const { number, value, failure } = JSON.parse(line) as Answer;
        const waiting = this.#waiting.get(number)!;
        this.#waiting.delete(number);
        if (failure === undefined) waiting.resolve(value);
        else waiting.reject(new Error(failure.error));
      }
    }
    for (const { reject } of this.#waiting.values()) reject(new Error("the Python process has ended"));
  }
}

class PythonConnection implements Connection {
  constructor(private readonly python: PythonProcess, private readonly number: number) {}

  call(...args: Argument[]): Promise<unknown> {
    return this.#ask("call", { args: texts(args) });
  }

  callBytes(...args: Argument[]): Promise<unknown> {
    return this.call(...args);
  }

  pipeline(commands: Argument[][]): Promise<unknown[]> {
    return this.#ask("pipeline", { commands: commands.map(texts) }) as Promise<unknown[]>;
  }

  transaction(commands: Argument[][]): Promise<unknown[] | null> {
    return this.#ask("transaction", { commands: commands.map(texts) }) as Promise<unknown[] | null>;
  }

  watch(...keys: string[]): Promise<unknown> {
    return this.#ask("watch", { keys });
  }

  unwatch(): Promise<unknown> {
    return this.#ask("unwatch");
  }

  script(text: string, keys: string[], args: Argument[]): Promise<unknown> {
    return this.#ask("script", { text, keys, args: texts(args) });
  }

  scanAll(options: { match?: string; count?: number }): Promise<string[]> {
    const { match = null, count = null } = options;
    return this.#ask("scan_all", { match, count }) as Promise<string[]>;
  }

  async subscribe(channels: string[], patterns: string[]): Promise<void> {
    await this.#ask("subscribe", { channels, patterns });
  }

  async unsubscribe(channels: string[], patterns: string[]): Promise<void> {
    await this.#ask("unsubscribe", { channels, patterns });
  }

  messages(count: number): Promise<Message[]> {
    return this.#ask("messages", { count }) as Promise<Message[]>;
  }

  own(): Promise<unknown> {
    return this.#ask("own");
  }

  quit(): Promise<unknown> {
    return this.#ask("quit");
  }

  async disconnect(): Promise<void> {
    await this.#ask("disconnect");
  }

  #ask(op: string, more?: Record<string, unknown>): Promise<unknown> {
    return this.python.ask(this.number, op, more);
  }
}

const utf8 = new TextEncoder();

/** One character a byte. */
function texts(args: Argument[]): string[] {
  return args.map((arg) => textOf(typeof arg === "object" ? arg : utf8.encode(String(arg))));
}

/** Debian's version of it. */
export function pythonLibrary(): Library {
  let python: PythonProcess | null = null;
  return {
    name: "redis-py 4.3.4",
    resp: 2,
    isDefault: true,
    async connect(port: number): Promise<Connection> {
      python ??= new PythonProcess();
      const number = ++python.connections;
      await python.ask(number, "connect", { port });
      return new PythonConnection(python, number);
    },
    async dispose(): Promise<void> {
      await python?.stop();
      python = null;
    },
  };
}
