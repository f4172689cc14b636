/**
 * COMMAND DOCS: what a server says of its commands, with our word on those that this proxy refuses.
 *
 *   server's reply:  get {…}  monitor {…}  client { subcommands: { client|id {…}  client|kill {…} } }
 *   what is passed:  get {…}  monitor "Refused: …"  client { subcommands: { client|id {…}  client|kill "Refused: …" } }
 *
 * So syntax, summaries and versions are those of the server in use, and hints of redis-cli 7 come from them; entries are copied
 * as they came, never decoded. Where no server answers, or knows the command (it is older than 7.0), the summary says what
 * Ringmaster does with it.
 */
import { latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { CATEGORY, type Command, ROUTE } from "./command.ts";
import { findByName, findNamed, NAME_MAX, TOP_COMMANDS } from "./commands.ts";
import { commandOf } from "./encode.ts";
import { isRefused } from "./errors.ts";
import { bulksOf, countOf, firstElement, ReplyResume, scanReply, typeOf } from "./reply.ts";
import { ReplyWriter } from "./reply_writer.ts";

const MAP = 37;
/** So many names that are in no table of ours are handed to a server. */
const OTHERS_MAX = 256;

/** The commands that COMMAND DOCS [name …] asks for; what is unknown is left out. */
export function documented(bytes: Uint8Array, args: Args): readonly Command[] {
  if (args.count <= 2) return TOP_COMMANDS;
  const commands: Command[] = [];
  for (let i = 2; i < args.count; i++) {
    const command = findNamed(bytes, args.starts[i]!, args.ends[i]!);
    if (command !== undefined) commands.push(command);
  }
  return commands;
}

/** What very many names ask for, each command once: a request to a server, and as `documented`. */
export class DocsNames {
  private readonly known = new Set<Command>();
  /** In no table of ours; a server may know them. */
  private readonly others = new Set<string>();

  /** Notes the names from argument `first` on. */
  note(bytes: Uint8Array, args: Args, first: number): void {
    for (let i = first; i < args.count; i++) {
      const start = args.starts[i]!;
      const end = args.ends[i]!;
      const command = findNamed(bytes, start, end);
      if (command !== undefined) this.known.add(command);
      else if (end - start <= 2 * NAME_MAX && this.others.size < OTHERS_MAX) {
        this.others.add(latin1(bytes, start, end));
      }
    }
  }

  get commands(): readonly Command[] {
    return [...this.known];
  }

  request(): Uint8Array {
    const names = [...this.commands.map((command) => command.lower), ...this.others];
    return commandOf(["COMMAND", "DOCS", ...names]);
  }
}

/** The reply without a server's help. */
export function ownDocs(commands: readonly Command[], resp: 2 | 3): Uint8Array {
  const reply = new ReplyWriter(resp).map(commands.length);
  for (const command of commands) writeDoc(reply.bulk(command.lower), command);
  return reply.take();
}

/**
 * A server's reply to the same request, made true of this proxy.
 * @param bytes the reply, whole, in the client's protocol; borrowed
 * @param commands what was asked for
 * @param dangerous are dangerous commands allowed?
 */
export function docsFrom(
  bytes: Uint8Array,
  start: number,
  end: number,
  commands: readonly Command[],
  dangerous: boolean,
  resp: 2 | 3,
): Uint8Array {
  return new DocsMerge(bytes, dangerous, new ReplyWriter(resp)).docs(start, end, commands).take();
}

/** One entry of a map: its name, and where its value lies. */
interface Entry {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

class DocsMerge {
  private readonly resume = new ReplyResume();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly dangerous: boolean,
    private readonly reply: ReplyWriter,
  ) {}

  /** Writes the map of commands, or subcommands, at `start`, and what the server leaves out. */
  docs(start: number, end: number, commands: readonly Command[]): ReplyWriter {
    const entries = this.entries(start, end);
    const said = new Set(entries.map((entry) => entry.name));
    const unsaid = commands.filter((command) => !said.has(command.lower) && needsNoServer(command));
    this.reply.map(entries.length + unsaid.length);
    for (const entry of entries) this.entry(entry, findByName(entry.name));
    for (const command of unsaid) writeDoc(this.reply.bulk(command.lower), command);
    return this.reply;
  }

  private entry(entry: Entry, command: Command | undefined): void {
    this.reply.bulkLatin1(entry.name);
    if (command === undefined) this.copy(entry);
    else if (command.subcommands !== null) this.container(entry, command.subcommands);
    else if (isRefused(command, this.dangerous)) writeDoc(this.reply, command);
    else this.copy(entry);
  }

  private container(entry: Entry, subcommands: readonly Command[]): void {
    const fields = this.entries(entry.start, entry.end);
    this.reply.map(fields.length);
    for (const field of fields) {
      this.reply.bulkLatin1(field.name);
      if (field.name === "subcommands") this.docs(field.start, field.end, subcommands);
      else this.copy(field);
    }
  }

  private copy(entry: Entry): void {
    this.reply.element(this.bytes, entry.start, entry.end);
  }

  /** The entries of the map at `start`; in RESP2 it is a flat array. */
  private entries(start: number, end: number): Entry[] {
    const { bytes, resume } = this;
    const count = countOf(bytes, start, end);
    const pairs = typeOf(bytes, start, end) === MAP ? count : count / 2;
    const entries: Entry[] = [];
    let at = firstElement(bytes, start);
    while (entries.length < pairs) {
      const value = scanReply(bytes, at, end, resume);
      const next = value < 0 ? value : scanReply(bytes, value, end, resume);
      if (next < 0) break;
      entries.push({ name: bulksOf(bytes, at, value)[0] ?? "", start: value, end: next });
      at = next;
    }
    return entries;
  }
}

/** Is there something to say of the command although no server has it? */
function needsNoServer(command: Command): boolean {
  const { route } = command;
  return command.subcommands === null &&
    (route === ROUTE.LOCAL || route === ROUTE.CLIENT_MODE || route === ROUTE.REFUSED);
}

function writeDoc(reply: ReplyWriter, command: Command): void {
  const subcommands = command.subcommands;
  reply.map(subcommands === null ? 2 : 3);
  reply.bulk("summary").bulk(summary(command)).bulk("group").bulk(group(command));
  if (subcommands === null) return;
  reply.bulk("subcommands").map(subcommands.length);
  for (const subcommand of subcommands) writeDoc(reply.bulk(subcommand.lower), subcommand);
}

const SUMMARIES: readonly (readonly [route: number, summary: string])[] = [
  [ROUTE.KEYED, "Goes to the server of its keys, which must all be on one server"],
  [ROUTE.SPLIT_VALUES, "Split by server; the values come back in the order asked"],
  [ROUTE.SPLIT_PAIRS, "Split by server; OK once every server has its part"],
  [ROUTE.SPLIT_SUM, "Split by server; the counts are added"],
  [
    ROUTE.SCRIPT_KEYED,
    "Goes to the server of its keys, which must all be on one server; without keys to a fixed server",
  ],
  [ROUTE.FIXED, "Goes to a fixed server, since all would answer alike"],
  [ROUTE.LOCAL, "Answered by Ringmaster"],
  [ROUTE.EVERY_SERVER, "Goes to every server; the replies are joined into one"],
  [ROUTE.SCAN, "Walks the servers one after the other"],
  [ROUTE.RANDOM_SERVER, "Goes to a server drawn at random"],
  [ROUTE.BLOCKING, "Goes to the server of its keys, on a connection of its own while it waits"],
  [ROUTE.TRANSACTION, "Part of a transaction, whose keys must all be on one server"],
  [ROUTE.PUBSUB, "Publish and subscribe through Ringmaster"],
  [ROUTE.CLIENT_MODE, "Concerns connections to Ringmaster itself"],
];

function summary(command: Command): string {
  if (command.route === ROUTE.REFUSED) return `Refused: ${command.hint}`;
  const found = SUMMARIES.find(([route]) => route === command.route)![1];
  return isRefused(command, false) ? `${found}. Refused unless dangerous_commands: allow` : found;
}

/** Redis's command groups, by the first category that has one. */
const GROUPS: readonly (readonly [category: number, group: string])[] = [
  [CATEGORY.STRING, "string"],
  [CATEGORY.LIST, "list"],
  [CATEGORY.SET, "set"],
  [CATEGORY.SORTEDSET, "sorted-set"],
  [CATEGORY.HASH, "hash"],
  [CATEGORY.BITMAP, "bitmap"],
  [CATEGORY.HYPERLOGLOG, "hyperloglog"],
  [CATEGORY.GEO, "geo"],
  [CATEGORY.STREAM, "stream"],
  [CATEGORY.PUBSUB, "pubsub"],
  [CATEGORY.SCRIPTING, "scripting"],
  [CATEGORY.TRANSACTION, "transactions"],
  [CATEGORY.CONNECTION, "connection"],
  [CATEGORY.KEYSPACE, "generic"],
];

function group(command: Command): string {
  return GROUPS.find(([category]) => (command.categories & category) !== 0)?.[1] ?? "server";
}
