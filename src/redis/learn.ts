/**
 * Asks servers about commands that the table does not know: what they are (COMMAND INFO, every ten seconds), and where that does
 * not tell all keys, which keys a request has (COMMAND GETKEYS, for each request; one round trip more).
 *
 * Meanwhile the client takes no further request, so its order is kept; then it offers the request again. The first live server
 * is asked, in the order of the configuration, so that all workers ask the same one; where it fails to answer, the next.
 */
import { concat, latin1 } from "../bytes/ascii.ts";
import { NOTICE } from "../net/log.ts";
import type { Args } from "../protocol/redis/args.ts";
import type { Command } from "../protocol/redis/command.ts";
import { command, commandHead } from "../protocol/redis/encode.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { commandFromInfo, keysFromReply } from "../protocol/redis/learn.ts";
import { type Entry, LearnedCommands, OLD_MS, STALE_MS } from "../protocol/redis/learned.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import type { RedisSession } from "./session.ts";
import type { Internal } from "../proxy/request.ts";

const LF = 10;

/** A server's word on the keys of the request at hand: its keys, or why they cannot be told (an error reply). */
export type Told = ReadonlySet<string> | Uint8Array;

export class CommandLearner {
  private learned = new LearnedCommands();
  /** With one server any command will do, wherever its keys are. */
  private alone: boolean;
  /** Name → clients that wait for the answer. */
  private readonly asking = new Map<string, Client[]>();

  constructor(private readonly pool: Pool) {
    this.alone = pool.servers.length === 1;
  }

  /** The pool has other servers. */
  adopt(): void {
    const alone = this.pool.servers.length === 1;
    if (alone !== this.alone) this.learned = new LearnedCommands();
    this.alone = alone;
  }

  /** What is known of the command `bytes[start, end)`, however old; asks nobody. */
  find(bytes: Uint8Array, start: number, end: number): Command | undefined {
    return this.learned.find(bytes, start, end)?.command;
  }

  /** As `find`, or the subcommand that the request names. */
  known(bytes: Uint8Array, args: Args): Command | undefined {
    const entry = this.learned.find(bytes, args.starts[0]!, args.ends[0]!);
    return entry === undefined ? undefined : this.learned.resolve(entry, bytes, args);
  }

  /**
   * The request's first argument is not in the table.
   * @returns undefined if no server knows it; null if the client now waits, and has to offer its request again
   */
  lookUp(client: Client, bytes: Uint8Array, args: Args): Entry | null | undefined {
    const start = args.starts[0]!;
    const end = args.ends[0]!;
    const nowMs = this.pool.turn.now();
    const entry = this.learned.find(bytes, start, end);
    const age = entry === undefined ? 0 : nowMs - entry.toldMs;
    if (entry !== undefined && age < OLD_MS) return entry;
    const name = entry?.command.lower ?? this.learned.question(bytes, start, end, nowMs);
    if (name === null) return undefined;
    let waiting = this.asking.get(name);
    if (waiting === undefined) {
      if (entry === undefined && !this.learned.mayAsk(nowMs)) return undefined;
      waiting = [];
      if (!this.askInfo(name, bytes.subarray(start, end), waiting)) return entry;
    }
    if (entry !== undefined && age < STALE_MS) return entry;
    waiting.push(client);
    client.block(LEARNING);
    return null;
  }

  /** The entry's command, or the subcommand that the request names. */
  resolve(entry: Entry, bytes: Uint8Array, args: Args): Command | undefined {
    return this.learned.resolve(entry, bytes, args);
  }

  /** @param word the name as the client wrote it; borrowed. False if no server can be asked. */
  private askInfo(name: string, word: Uint8Array, waiting: Client[]): boolean {
    this.asking.set(name, waiting);
    const request = command("COMMAND", "INFO", word);
    const asked = this.ask(request, (bytes, start, end, failed) => {
      const nowMs = this.pool.turn.now();
      if (failed) this.learned.failed(name, nowMs);
      else {
        const rows = commandFromInfo(bytes.slice(start, end), this.alone);
        if (this.learned.told(name, rows, nowMs)) {
          const what = rows === null ? "no longer has command" : "learned command";
          this.pool.log.write(NOTICE, `pool '${this.pool.config.name}' ${what} '${name}'`);
        }
      }
      this.asking.delete(name);
      for (const client of waiting) client.unblock(LEARNING);
    });
    if (!asked) this.asking.delete(name);
    return asked;
  }

  /**
   * A server is to tell the keys of the request `bytes[start, end)`, an array, whose arguments are `args`.
   * @returns where they are among the arguments; an error reply, owned; null if the client now waits, and has to offer its
   *   request again
   */
  keysOf(
    client: Client,
    command: Command,
    bytes: Uint8Array,
    args: Args,
    start: number,
    end: number,
  ): Int32Array | Uint8Array | null {
    const session = client.session as RedisSession;
    const { told } = session;
    if (told instanceof Uint8Array) return told;
    if (told !== null) return positions(told, bytes, args) ?? cannotTell(command, "it told other keys");
    const first = bytes.indexOf(LF, start) + 1;
    const head = commandHead(args.count + 2, "COMMAND", "GETKEYS");
    const asked = this.ask(concat(head, bytes.subarray(first, end)), (reply, from, to, failed) => {
      const keys = failed ? latin1(reply, from + 1, to).trimEnd() : keysFromReply(reply.slice(from, to));
      session.told = Array.isArray(keys) && keys.length > 0
        ? new Set(keys)
        : cannotTell(command, typeof keys === "string" ? keys : "it told none");
      client.unblock(LEARNING);
    });
    if (!asked) return cannotTell(command, "no server is there");
    client.block(LEARNING);
    return null;
  }

  /** One that fails to answer is no reason to know nothing: then the next is asked, from `first` on. */
  private ask(request: Uint8Array, done: Internal, first = 0): boolean {
    const { servers } = this.pool;
    for (let i = first; i < servers.length; i++) {
      const server = servers[i]!;
      const connection = server.ejected ? null : server.connection(0, 0);
      if (connection === null) continue;
      connection.ask(request, (bytes, start, end, failed) => {
        if (!failed || !this.ask(request, done, i + 1)) done(bytes, start, end, failed);
      });
      return true;
    }
    return false;
  }
}

/** The arguments that are keys; null if not all of them are among the arguments. */
function positions(keys: ReadonlySet<string>, bytes: Uint8Array, args: Args): Int32Array | null {
  const sizes = new Set<number>();
  for (const key of keys) sizes.add(key.length);
  const missing = new Set(keys);
  const at: number[] = [];
  for (let i = 1; i < args.count; i++) {
    const start = args.starts[i]!;
    const end = args.ends[i]!;
    if (!sizes.has(end - start)) continue;
    // Once is enough: an argument of the same bytes has the same server.
    if (missing.delete(latin1(bytes, start, end))) at.push(i);
  }
  return missing.size === 0 ? Int32Array.from(at) : null;
}

function cannotTell(command: Command, why: string): Uint8Array {
  const name = command.name.replace("|", " ");
  return errorReply(
    `ERR '${name}': only a server can tell its keys, and did not (${why}); ` +
      "use a pool of one server, or a command whose keys COMMAND INFO tells",
  );
}
