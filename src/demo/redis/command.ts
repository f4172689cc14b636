/** What a command is: an entry of a table, and the call its handler gets. */
import type { Reply } from "./resp.ts";
import type { Database, Watcher } from "./store.ts";

/** One client's state, as far as commands see it. */
export interface Session extends Watcher {
  readonly id: number;
  readonly reply: Reply;
  readonly server: Server;
  /** Index of the selected database. */
  selected: number;
  name: string;
  authenticated: boolean;
  /** After QUIT or a protocol error: what was written goes out, nothing more is read. */
  ended: boolean;
  /** Requests queued since MULTI, or null outside a transaction. */
  queued: string[][] | null;
  /** A request could not be queued: EXEC will refuse. */
  aborted: boolean;
  readonly watched: { readonly db: Database; readonly key: string }[];
}

export interface Server {
  readonly databases: readonly Database[];
  readonly password: string | null;
  readonly commands: ReadonlyMap<string, Command>;
  readonly startedAtMs: number;
  nowMs(): number;
  random(): number;
  /** Runs one request of a transaction; writes its reply. */
  execute(session: Session, args: string[]): void;
}

/** One request in execution; `args[0]` is the command's name as sent. */
export interface Call {
  readonly args: readonly string[];
  /** As in the table: lower case. */
  readonly name: string;
  readonly db: Database;
  readonly reply: Reply;
  readonly session: Session;
  readonly server: Server;
}

/** Number of arguments including the name (and a subcommand), negative for "at least"; and what it does. */
export type CommandTable = Readonly<
  Record<string, readonly [arity: number, run: (call: Call) => void, subcommands?: CommandTable]>
>;

export interface Command {
  readonly name: string;
  readonly arity: number;
  /** If there are any, the first argument has to be one of them. */
  readonly subcommands: ReadonlyMap<string, Command> | null;
  run(call: Call): void;
}

/** The table by name. */
export function commandsOf(...tables: readonly CommandTable[]): ReadonlyMap<string, Command> {
  const commands = new Map<string, Command>();
  for (const table of tables) {
    for (const [name, [arity, run, subcommands]] of Object.entries(table)) {
      commands.set(name, {
        name,
        arity,
        run,
        subcommands: subcommands === undefined ? null : commandsOf(subcommands),
      });
    }
  }
  return commands;
}

/** True if a request of `count` arguments is right for `arity`. */
export function fits(arity: number, count: number): boolean {
  return arity >= 0 ? count === arity : count >= -arity;
}

/** Integer in [0, count). */
export function pick(call: Call, count: number): number {
  return Math.min(count - 1, Math.floor(call.server.random() * count));
}
