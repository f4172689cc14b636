/**
 * redis-cli, whose client library is hiredis: one process a connection, commands as quoted lines on its standard input.
 * Each command stands between two ECHOs, which is how its reply is found in the output; `--no-raw` shows types.
 */
import { textOf } from "../lib/bytes.ts";
import { poll } from "../lib/poll.ts";
import { need } from "../lib/repo.ts";
import type { Argument, Connection, Library, Message } from "./driver.ts";

const utf8 = new TextEncoder();
/** Larger values, in bytes, go through -x. */
const LARGE = 100_000;

/** As redis-cli reads it: in double quotes, every byte that is not plain as \xHH. */
function quoted(arg: Argument): string {
  const text = textOf(typeof arg === "object" ? arg : utf8.encode(String(arg)));
  return `"${text.replace(/[^ !#-[\]-~]/g, (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"))}"`;
}

const line = (args: Argument[]) => `${args.map(quoted).join(" ")}\n`;

class RedisCliConnection implements Connection {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #chunks: string[] = [];
  #last = "";
  #serial = 0;
  #ended = false;

  constructor(private readonly port: number, private readonly resp: 2 | 3) {
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$0" "$@" 2>&1', need("redis-cli"), ...this.#options(), "--no-raw"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async call(...args: Argument[]): Promise<unknown> {
    const last = args.at(-1)!;
    if (last instanceof Uint8Array && last.length > LARGE) {
      const { stdout } = await this.#spawn(["-x", ...args.slice(0, -1).map(String)], Uint8Array.from(last));
      return textOf(stdout);
    }
    const text = await this.#run(line(args));
    if (text.startsWith("(error) ")) throw new Error(text);
    return text === "(nil)" ? null : text;
  }

  /** What it prints for a pipe is the bytes; but a NUL can only be typed. */
  async callBytes(...args: Argument[]): Promise<unknown> {
    if (args.some((arg) => typeof arg === "object")) return await this.call(...args);
    return (await this.#spawn(args.map(String))).stdout;
  }

  /** Errors among the replies are lines of the one text that comes. */
  async pipeline(commands: Argument[][]): Promise<unknown[]> {
    return [await this.#run(commands.map(line).join(""))];
  }

  async transaction(commands: Argument[][]): Promise<unknown[] | null> {
    const text = await this.#run(["MULTI\n", ...commands.map(line), "EXEC\n"].join(""));
    return text.endsWith("\n(nil)") ? null : text.split("\n");
  }

  watch(...keys: string[]): Promise<unknown> {
    return this.call("WATCH", ...keys);
  }

  unwatch(): Promise<unknown> {
    return this.call("UNWATCH");
  }

  async script(text: string, keys: string[], args: Argument[]): Promise<unknown> {
    const file = await Deno.makeTempFile({ suffix: ".lua" });
    try {
      await Deno.writeTextFile(file, text);
      return await this.#alone("--eval", file, ...keys, ",", ...args.map(String));
    } finally {
      await Deno.remove(file);
    }
  }

  async scanAll({ match, count }: { match?: string; count?: number }): Promise<string[]> {
    const options = ["--scan"];
    if (match !== undefined) options.push("--pattern", match);
    if (count !== undefined) options.push("--count", String(count));
    return (await this.#alone(...options)).split("\n").filter((key) => key !== "");
  }

  subscribe(): Promise<void> {
    throw new Error("redis-cli only reads once it has subscribed");
  }

  unsubscribe(): Promise<void> {
    return this.subscribe();
  }

  messages(): Promise<Message[]> {
    throw new Error("redis-cli has no messages without subscribe");
  }

  async own(): Promise<unknown> {
    return [
      await this.#alone("HSET", "own:h", "a", "1", "b", "two"),
      await this.#alone("--json", "HGETALL", "own:h"),
      await this.#alone("--csv", "HGETALL", "own:h"),
      await this.#alone("--raw", "HGETALL", "own:h"),
      await this.#alone("--no-raw", "HGETALL", "own:h"),
      await this.#alone("MSET", "own:1", "x", "own:2", "y", "own:3", "z"),
      await this.#alone("--json", "MGET", "own:1", "own:2", "own:3", "own:4"),
      await this.#alone("--quoted-input", "SET", '"own:\\x00"', '"\\xff"'),
      await this.#alone("-r", "3", "INCR", "own:n"),
      await this.#alone("ZADD", "own:z", "1.5", "a", "inf", "b"),
      await this.#alone("--json", "ZRANGE", "own:z", "0", "-1", "WITHSCORES"),
      await this.#alone("--json", "ZSCORE", "own:z", "b"),
      await this.#alone("--no-raw", "GET"),
      await this.#alone("--no-raw", "NOSUCH", "x"),
    ];
  }

  async quit(): Promise<unknown> {
    await this.#write("quit\n");
    await this.#child.status;
    return "ended";
  }

  async disconnect(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // ended already
    }
    await this.#writer.close().catch(() => {});
    await this.#child.status;
    await this.#reading;
  }

  #options(): string[] {
    return ["-p", String(this.port), `-${this.resp}`];
  }

  /** A run of its own. */
  async #alone(...args: string[]): Promise<string> {
    const { stdout, stderr } = await this.#spawn(args);
    const decoder = new TextDecoder();
    return (decoder.decode(stdout) + decoder.decode(stderr)).trimEnd();
  }

  async #spawn(args: string[], input = new Uint8Array(0)): Promise<Deno.CommandOutput> {
    const child = new Deno.Command(need("redis-cli"), {
      args: [...this.#options(), ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
    return await output;
  }

  /** What it shows for `lines`. */
  async #run(lines: string): Promise<string> {
    const number = ++this.#serial;
    const [start, end] = [`"start-${number}"\n`, `"end-${number}"\n`];
    this.#chunks = [];
    await this.#write(`ECHO start-${number}\n${lines}ECHO end-${number}\n`);
    // Without a connection it says so for each line, and forgets the line.
    const failed = () =>
      /^(Error: .*|Could not connect .*)$/m.exec(this.#chunks.length < 50 ? this.#chunks.join("") : "");
    await poll(
      () => this.#ended || this.#last.includes(end) || failed() !== null,
      "redis-cli's reply",
      60_000,
    );
    const shown = this.#chunks.join("");
    if (!shown.includes(end) || !shown.includes(start)) {
      throw new Error(failed()?.[0] ?? "redis-cli has ended");
    }
    return shown.slice(shown.indexOf(start) + start.length, shown.lastIndexOf(end)).trimEnd();
  }

  async #write(text: string): Promise<void> {
    await this.#writer.write(utf8.encode(text));
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#chunks.push(text);
      // The end mark may be cut in two.
      this.#last = this.#last.slice(-100) + text;
    }
    this.#ended = true;
  }
}

export const REDIS_CLI: readonly Library[] = ([2, 3] as const).map((resp) => ({
  name: "redis-cli 7.0.15",
  resp,
  isDefault: resp === 2,
  lacks: new Set(["pub/sub with patterns"]),
  async connect(port: number): Promise<Connection> {
    const connection = new RedisCliConnection(port, resp);
    await connection.call("PING");
    return connection;
  },
}));
