/**
 * COMMAND and its subcommands, answered from the table: what the proxy takes, not what some server would.
 *
 * Shapes are Redis 7's. One thing is our own: the tips are empty (request policies are for proxies, and there is one
 * already). COMMAND DOCS is in command_docs.ts.
 */
import { latin1 } from "../../bytes/ascii.ts";
import { Args } from "./args.ts";
import { CATEGORY_NAMES, checkArity, type Command, FINDER, FLAG, FLAG_NAMES } from "./command.ts";
import { COMMANDS, findNamed, resolveAt, TOP_COMMANDS } from "./commands.ts";
import { errorReply, SYNTAX_ERROR } from "./errors.ts";
import { findKeys, KeyList } from "./keys.ts";
import { globMatches } from "./glob.ts";
import { ReplyWriter } from "./reply_writer.ts";

/** COMMAND COUNT. */
export function commandCount(resp: 2 | 3): Uint8Array {
  return new ReplyWriter(resp).integer(TOP_COMMANDS.length).take();
}

/** The whole table is 100 KB to write; it is written again only when a command has been learned. */
const wholeTable: { count: number; reply: Uint8Array }[] = [];

/** COMMAND and COMMAND INFO: the commands named from argument `first` on, all if `first` is -1. */
export function commandInfo(bytes: Uint8Array, args: Args, first: number, resp: 2 | 3): Uint8Array {
  if (first === -1) {
    const known = wholeTable[resp];
    if (known?.count === COMMANDS.length) return known.reply;
    const reply = new ReplyWriter(resp).array(TOP_COMMANDS.length);
    for (const command of TOP_COMMANDS) writeEntry(reply, command);
    const written = reply.take();
    wholeTable[resp] = { count: COMMANDS.length, reply: written };
    return written;
  }
  const reply = new ReplyWriter(resp).array(args.count - first);
  writeInfoRows(reply, bytes, args, first, resp);
  return reply.take();
}

/** The elements of COMMAND INFO's reply for the commands named from argument `first` on. */
export function writeInfoRows(
  reply: ReplyWriter,
  bytes: Uint8Array,
  args: Args,
  first: number,
  resp: 2 | 3,
): void {
  for (let i = first; i < args.count; i++) {
    const command = findNamed(bytes, args.starts[i]!, args.ends[i]!);
    if (command === undefined) reply.null();
    else {
      const row = infoRow(command, resp);
      reply.element(row, 0, row.length);
    }
  }
}

/** Each command's element as it has once been written, by id; written again when commands have been learned. */
const infoRows: { count: number; rows: (Uint8Array | undefined)[] }[] = [];

function infoRow(command: Command, resp: 2 | 3): Uint8Array {
  let known = infoRows[resp];
  if (known?.count !== COMMANDS.length) known = infoRows[resp] = { count: COMMANDS.length, rows: [] };
  let row = known.rows[command.id];
  if (row === undefined) {
    const reply = new ReplyWriter(resp);
    writeEntry(reply, command);
    row = known.rows[command.id] = reply.take();
  }
  return row;
}

/** Name, arity, flags, first key, last key, step, categories, tips, key specifications, subcommands. */
function writeEntry(reply: ReplyWriter, command: Command): void {
  reply.array(10).bulk(command.lower).integer(command.arity);
  writeBits(reply, command.flags, FLAG_NAMES, "");
  const numkeysOnly = command.firstKey === 0;
  reply.integer(command.firstKey).integer(command.lastKey).integer(numkeysOnly ? 0 : command.keyStep);
  writeBits(reply, command.categories, CATEGORY_NAMES, "@");
  reply.set(0);
  writeKeySpecs(reply, command);
  const subcommands = command.subcommands ?? [];
  reply.set(subcommands.length);
  for (const subcommand of subcommands) writeEntry(reply, subcommand);
}

function writeBits(reply: ReplyWriter, bits: number, names: readonly string[], prefix: string): void {
  const set = names.filter((_, i) => (bits & (1 << i)) !== 0);
  reply.set(set.length);
  for (const name of set) reply.status(prefix + name);
}

function writeKeySpecs(reply: ReplyWriter, command: Command): void {
  switch (command.finder) {
    case FINDER.NONE:
      reply.set(0);
      return;
    case FINDER.RANGE: {
      const last = command.lastKey < 0 ? command.lastKey : command.lastKey - command.firstKey;
      reply.set(1);
      writeSpecHead(reply, command, "index", [["index", command.firstKey]]);
      writeFind(reply, "range", [["lastkey", last], ["keystep", command.keyStep], ["limit", 0]]);
      return;
    }
    case FINDER.NUMKEYS:
      reply.set(command.firstKey > 0 ? 2 : 1);
      if (command.firstKey > 0) {
        writeSpecHead(reply, command, "index", [["index", command.firstKey]]);
        writeFind(reply, "range", [["lastkey", 0], ["keystep", 1], ["limit", 0]]);
      }
      writeSpecHead(reply, command, "index", [["index", command.numkeysAt]]);
      writeFind(reply, "keynum", [["keynumidx", 0], ["firstkey", 1], [
        "keystep",
        Math.max(command.keyStep, 1),
      ]]);
      return;
    case FINDER.STREAMS:
      reply.set(1);
      writeSpecHead(reply, command, "keyword", [["keyword", "STREAMS"], ["startfrom", 1]]);
      writeFind(reply, "range", [["lastkey", -1], ["keystep", 1], ["limit", 2]]);
      return;
    default:
      // The first key is fixed, a further one is somewhere among the options.
      reply.set(2);
      writeSpecHead(reply, command, "index", [["index", command.firstKey]]);
      writeFind(reply, "range", [["lastkey", 0], ["keystep", 1], ["limit", 0]]);
      writeSpecHead(reply, command, "unknown", []);
      writeFind(reply, "unknown", []);
  }
}

type Pairs = readonly (readonly [string, string | number])[];

function writeSpecHead(reply: ReplyWriter, command: Command, type: string, spec: Pairs): void {
  reply.map(3).bulk("flags");
  writeKeyFlags(reply, command);
  reply.bulk("begin_search").map(2).bulk("type").bulk(type).bulk("spec");
  writePairs(reply, spec);
}

function writeFind(reply: ReplyWriter, type: string, spec: Pairs): void {
  reply.bulk("find_keys").map(2).bulk("type").bulk(type).bulk("spec");
  writePairs(reply, spec);
}

function writePairs(reply: ReplyWriter, pairs: Pairs): void {
  reply.map(pairs.length);
  for (const [name, value] of pairs) {
    reply.bulk(name);
    if (typeof value === "number") reply.integer(value);
    else reply.bulk(value);
  }
}

/** What the command may do to its keys; the table knows only reading and writing, not which key is which. */
function writeKeyFlags(reply: ReplyWriter, command: Command): void {
  if (command.flags & FLAG.CHANNELS) reply.set(1).status("not_key");
  else if (command.flags & FLAG.READ) reply.set(2).status("RO").status("access");
  else reply.set(3).status("RW").status("access").status("update");
}

/** COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]. */
export function commandList(bytes: Uint8Array, args: Args, resp: 2 | 3): Uint8Array {
  let filter = (_: Command) => true;
  if (args.count > 2) {
    if (args.count !== 5 || text(bytes, args, 2).toLowerCase() !== "filterby") return SYNTAX_ERROR;
    const value = text(bytes, args, 4);
    switch (text(bytes, args, 3).toLowerCase()) {
      case "module":
        filter = () => false;
        break;
      case "aclcat": {
        const bit = CATEGORY_NAMES.indexOf(value.toLowerCase());
        filter = (command) => bit >= 0 && (command.categories & (1 << bit)) !== 0;
        break;
      }
      case "pattern":
        filter = (command) => globMatches(value, command.lower, true);
        break;
      default:
        return SYNTAX_ERROR;
    }
  }
  const commands = COMMANDS.filter(filter);
  const reply = new ReplyWriter(resp).array(commands.length);
  for (const command of commands) reply.bulk(command.lower);
  return reply.take();
}

/** COMMAND GETKEYS and GETKEYSANDFLAGS: the keys of the request that follows. */
export function commandGetkeys(bytes: Uint8Array, args: Args, withFlags: boolean, resp: 2 | 3): Uint8Array {
  const command = resolveAt(bytes, args, 2);
  if (command === undefined) return errorReply("ERR Invalid command specified");
  if (command.finder === FINDER.NONE || (command.flags & FLAG.CHANNELS) !== 0) {
    return errorReply("ERR The command has no key arguments");
  }
  const inner = new Args();
  inner.count = args.count - 2;
  inner.starts = args.starts.slice(2, args.count);
  inner.ends = args.ends.slice(2, args.count);
  if (!checkArity(command, inner.count)) {
    return errorReply("ERR Invalid number of arguments specified for command");
  }
  const keys = new KeyList();
  const count = findKeys(command, bytes, inner, keys);
  if (count < 0 && (command.flags & FLAG.NO_MANDATORY_KEYS) === 0) {
    return errorReply("ERR Invalid arguments specified for command");
  }
  const reply = new ReplyWriter(resp).array(Math.max(count, 0));
  for (let i = 0; i < count; i++) {
    const at = keys.at[i]!;
    if (withFlags) reply.array(2);
    reply.bulkBytes(bytes, inner.starts[at]!, inner.ends[at]!);
    if (withFlags) writeKeyFlags(reply, command);
  }
  return reply.take();
}

function text(bytes: Uint8Array, args: Args, at: number): string {
  return latin1(bytes, args.starts[at]!, Math.min(args.ends[at]!, args.starts[at]! + 1024));
}
