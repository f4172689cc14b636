/**
 * A Redis server in memory, for `ringmaster demo` and as the model in the simulator. No sockets, no clock, no
 * randomness of its own: bytes in, bytes out.
 *
 *   bytes ──► RequestReader ──► execute: table of commands ──► Reply ──► bytes
 *
 * It speaks RESP2, RESP3 and inline requests and answers like Redis 7.0.15, byte for byte where the order of a
 * reply is defined; tests/real/demo_redis_test.ts compares the two. What differs:
 *  - no blocking commands, publish/subscribe, scripts, streams, bitmaps, geo, ACL, persistence, replication;
 *  - SCAN's cursors are smaller, and HSCAN, SSCAN and ZSCAN always answer in one piece;
 *  - the order of sets, hashes and KEYS is that of insertion; keys die when somebody looks.
 */
import { commandsOf, type CommandTable, fits, type Server, type Session } from "./redis/command.ts";
import { CONNECTION, unwatch } from "./redis/connection.ts";
import { CommandError, wrongArguments } from "./redis/errors.ts";
import { HASHES } from "./redis/hashes.ts";
import { KEYS } from "./redis/keys.ts";
import { LISTS } from "./redis/lists.ts";
import { ProtocolError, Reply, RequestReader, toBytes } from "./redis/resp.ts";
import { SETS } from "./redis/sets.ts";
import { SORTED_SETS } from "./redis/sorted_sets.ts";
import { Database } from "./redis/store.ts";
import { STRINGS } from "./redis/strings.ts";

const TABLES: readonly CommandTable[] = [CONNECTION, KEYS, STRINGS, HASHES, LISTS, SETS, SORTED_SETS];
const DATABASES = 16;
/** Commands that run at once although a transaction is being queued. */
const NOT_QUEUED = new Set(["multi", "exec", "discard", "watch", "quit", "reset"]);
/** Commands that need no password. */
const OPEN_TO_ALL = new Set(["auth", "hello", "quit", "reset"]);

const COMMANDS = commandsOf(...TABLES);

export interface MemoryRedisOptions {
  /** Milliseconds since the epoch; decides when keys die. */
  nowMs: () => number;
  /** 0 ≤ result < 1; decides SPOP, SRANDMEMBER and RANDOMKEY. */
  random: () => number;
  /** What AUTH must say; without it nobody is asked. */
  password?: string;
}

export class MemoryRedis implements Server {
  readonly databases: readonly Database[];
  readonly password: string | null;
  readonly commands = COMMANDS;
  readonly startedAtMs: number;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** Requests executed, errors included; those inside EXEC count as well. */
  requests = 0;
  private lastId = 0;

  constructor(options: MemoryRedisOptions) {
    this.nowMs = options.nowMs;
    this.random = options.random;
    this.password = options.password ?? null;
    this.startedAtMs = options.nowMs();
    this.databases = Array.from({ length: DATABASES }, () => new Database(options.nowMs));
  }

  /** A new client. */
  session(): MemoryRedisSession {
    return new MemoryRedisSession(this, ++this.lastId);
  }

  execute(session: Session, args: string[]): void {
    this.requests++;
    const { reply } = session;
    const mark = reply.text;
    try {
      this.run(session, args);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      reply.text = mark;
      reply.error(error.message);
    }
  }

  private run(session: Session, args: string[]): void {
    const name = args[0]!.toLowerCase();
    let command = COMMANDS.get(name);
    let refusal = command === undefined ? unknown(args) : "";
    let shownName = name;
    if (command !== undefined && command.subcommands !== null && args.length > 1) {
      shownName = `${name}|${args[1]!.toLowerCase()}`;
      command = command.subcommands.get(args[1]!.toLowerCase());
      if (command === undefined) refusal = unknownSubcommand(args);
    }
    if (command !== undefined && !fits(command.arity, args.length)) refusal = wrongArguments(shownName);
    if (command === undefined || refusal !== "") {
      if (session.queued !== null) session.aborted = true;
      throw new CommandError(refusal);
    }
    if (!session.authenticated && !OPEN_TO_ALL.has(name)) {
      throw new CommandError("NOAUTH Authentication required.");
    }
    if (session.queued !== null && !NOT_QUEUED.has(name)) {
      session.queued.push(args);
      session.reply.status("QUEUED");
      return;
    }
    const db = this.databases[session.selected]!;
    command.run({ args, name, db, reply: session.reply, session, server: this });
  }
}

/** Redis shows at most 128 characters of arguments, cutting the last one. */
const SHOWN_MAX = 128;

function unknown(args: readonly string[]): string {
  let shown = "";
  for (let i = 1; i < args.length && shown.length < SHOWN_MAX; i++) {
    shown += `'${untilNul(args[i]!.slice(0, SHOWN_MAX - shown.length))}' `;
  }
  return `ERR unknown command '${
    untilNul(args[0]!.slice(0, SHOWN_MAX))
  }', with args beginning with: ${shown}`;
}

function unknownSubcommand(args: readonly string[]): string {
  const shown = untilNul(args[1]!.slice(0, SHOWN_MAX));
  return `ERR unknown subcommand '${shown}'. Try ${args[0]!.toUpperCase()} HELP.`;
}

/** What C's %s shows of the text. */
function untilNul(text: string): string {
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

/** One client of a MemoryRedis. */
export class MemoryRedisSession implements Session {
  readonly reply = new Reply();
  selected = 0;
  name = "";
  authenticated: boolean;
  ended = false;
  queued: string[][] | null = null;
  aborted = false;
  dirty = false;
  readonly watched: { readonly db: Database; readonly key: string }[] = [];
  private readonly reader = new RequestReader();

  constructor(readonly server: MemoryRedis, readonly id: number) {
    this.authenticated = server.password === null;
  }

  /**
   * Takes in what the client sent (borrowed) and answers all requests that are complete; what is half received
   * waits for more. After QUIT or broken protocol `ended` is true and further bytes are ignored.
   * @returns the replies, owned by the caller; perhaps empty
   */
  feed(bytes: Uint8Array): Uint8Array {
    if (this.ended) return new Uint8Array(0);
    this.reader.push(bytes);
    try {
      while (!this.ended) {
        const args = this.reader.next();
        if (args === null) break;
        this.server.execute(this, args);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.reply.error(`ERR Protocol error: ${error.message}`);
      this.ended = true;
    }
    if (this.ended) this.close();
    const text = this.reply.text;
    this.reply.text = "";
    return toBytes(text);
  }

  /** The client has gone: what it watched is forgotten. Idempotent. */
  close(): void {
    this.ended = true;
    unwatch(this);
  }
}
