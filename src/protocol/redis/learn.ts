/**
 * What a server says of a command the table does not know (a module's, or a newer server's), made into a row.
 *
 *   unknown command ──▶ COMMAND INFO name ──▶ a server's reply ──commandFromInfo──▶ rows ──▶ LearnedCommands
 *
 * Control plane: once in ten seconds for each such name. The reply's shape is that of Redis 6 (7 fields) and 7 (10 fields), in
 * RESP2 or RESP3. COMMAND INFO does not always tell all keys; a row has positions only if they are all there are:
 *
 *   one range, ranges without a gap, numkeys (after one key)     ──▶ positions, as in the table
 *   several servers, and any other way                           ──▶ FINDER.ASKED: COMMAND GETKEYS, for each request
 *   no key, or the connection is changed by it                   ──▶ refused, with the reason
 */
import { latin1 } from "../../bytes/ascii.ts";
import { CATEGORY_NAMES, FINDER, FLAG, FLAG_NAMES, JOIN, type KeySpec, ROUTE } from "./command.ts";
import { NAME_MAX } from "./commands.ts";

const NO_KEYS: KeySpec = { finder: FINDER.NONE, firstKey: 0, lastKey: 0, keyStep: 0, numkeysAt: 0 };

const ASKED_KEYS: KeySpec = { finder: FINDER.ASKED, firstKey: 0, lastKey: 0, keyStep: 0, numkeysAt: 0 };

const NO_KEY_HINT =
  "names no key, so there is no telling which server it is for; send it to a server itself, or use a pool of one server";
const CONNECTION_HINT =
  "changes the connection it comes on, and those are shared here; send it to a server itself";

/** A row made from what a server said of a command. */
export interface LearnedRow {
  readonly name: string;
  readonly arity: number;
  readonly flags: number;
  readonly categories: number;
  readonly route: number;
  readonly keys: KeySpec;
  readonly join: number;
  readonly hint: string;
}

/**
 * The command of a whole reply to `COMMAND INFO name` and after it its subcommands.
 * @param alone the pool has one server: what names no key is for that one
 * @returns null if the server does not know it, or the reply is no such reply
 */
export function commandFromInfo(reply: Uint8Array, alone = false): LearnedRow[] | null {
  const value = parsed(reply);
  return Array.isArray(value) && value.length === 1 ? rowsOf(value[0]!, null, alone) : null;
}

/**
 * The keys of a whole reply to COMMAND GETKEYS, each byte a character.
 * @returns none if it is empty; a text if the server cannot tell; null if the reply is neither
 */
export function keysFromReply(reply: Uint8Array): string[] | string | null {
  if (reply[0] === MINUS) return latin1(reply, 1, reply.length).trimEnd();
  const value = parsed(reply);
  return Array.isArray(value) && value.every((key) => typeof key === "string") ? value : null;
}

function parsed(reply: Uint8Array): Value {
  try {
    return new ReplyParser(reply).value(0);
  } catch {
    return null;
  }
}

/** @param container its name; null for a command */
function rowsOf(entry: Value, container: string | null, alone: boolean): LearnedRow[] | null {
  if (!Array.isArray(entry) || entry.length < 6) return null;
  const [name, arity, flagNames, first, last, step, categoryNames, , specs, subcommands] = entry;
  if (typeof name !== "string" || typeof arity !== "number" || !fits(name, container)) return null;
  if (typeof first !== "number" || typeof last !== "number" || typeof step !== "number") return null;
  const flags = bitsOf(flagNames, FLAG_NAMES, "");
  const categories = bitsOf(categoryNames, CATEGORY_NAMES, "@");
  const movable = (flags & FLAG.MOVABLE_KEYS) !== 0;
  const keys = keysOf(first, last, step, movable, Array.isArray(specs) ? specs : []);
  const rows = [
    rowOf(name, arity, flags, categories, keys, Array.isArray(subcommands) && subcommands.length > 0, alone),
  ];
  if (Array.isArray(subcommands) && container === null) {
    for (const subcommand of subcommands) rows.push(...rowsOf(subcommand, name, alone) ?? []);
  }
  return rows;
}

/** Is it a name as commands have them: "get", or of the container "config" "config|get"? */
function fits(name: string, container: string | null): boolean {
  const bar = name.indexOf("|");
  if (container === null) return bar === -1 && name.length > 0 && name.length <= NAME_MAX;
  const size = name.length - bar - 1;
  return name.slice(0, bar) === container && bar > 0 && size > 0 && size <= NAME_MAX;
}

function rowOf(
  name: string,
  arity: number,
  flags: number,
  categories: number,
  keys: KeySpec,
  isContainer: boolean,
  alone: boolean,
): LearnedRow {
  let route: number = ROUTE.KEYED;
  let hint = "";
  if (flags & (FLAG.PUBSUB | FLAG.NO_AUTH)) {
    route = ROUTE.REFUSED;
    hint = CONNECTION_HINT;
  } else if (keys.finder === FINDER.NONE) {
    // What reads or writes data is nothing of the connection's.
    const data = (flags & (FLAG.READ | FLAG.WRITE)) !== 0 && (flags & FLAG.BLOCKING) === 0;
    route = isContainer ? ROUTE.LOCAL : alone && data ? ROUTE.FIXED : ROUTE.REFUSED;
    if (route === ROUTE.REFUSED) hint = NO_KEY_HINT;
  } else if (flags & FLAG.BLOCKING) route = ROUTE.BLOCKING;
  if (flags & FLAG.ADMIN) flags |= FLAG.DANGEROUS;
  flags |= FLAG.LEARNED;
  return { name, arity, flags, categories, route, keys, join: JOIN.NONE, hint };
}

/** Positions if they are all that there is to say; else ASKED_KEYS, or NO_KEYS. */
function keysOf(first: number, last: number, step: number, movable: boolean, specs: Value[]): KeySpec {
  if (specs.length === 0) {
    if (movable) return ASKED_KEYS;
    return first > 0 ? range(first, last, step) : NO_KEYS;
  }
  const found: KeySpec[] = [];
  for (const spec of specs) {
    const keys = keysOfSpec(mapOf(spec));
    if (keys === null) return ASKED_KEYS;
    found.push(keys);
  }
  const moving = found.filter((keys) => keys.finder === FINDER.NUMKEYS);
  // Nothing moves, and yet keys do: a function of the server's knows more than it says.
  if (movable && moving.length === 0) return ASKED_KEYS;
  if (found.length === 1) return found[0]!;
  if (moving.length === 0) return oneRange(found) ?? ASKED_KEYS;
  const [head, tail] = found;
  const one = found.length === 2 && head!.finder === FINDER.RANGE && head!.firstKey === head!.lastKey &&
    tail!.finder === FINDER.NUMKEYS;
  return one ? { ...tail!, firstKey: head!.firstKey, lastKey: head!.lastKey } : ASKED_KEYS;
}

/** Null if its positions cannot be told, or not in the words of a KeySpec. */
function keysOfSpec(spec: Map<Value, Value>): KeySpec | null {
  const flags = spec.get("flags");
  if (Array.isArray(flags) && flags.includes("incomplete")) return null;
  const begin = mapOf(spec.get("begin_search"));
  const find = mapOf(spec.get("find_keys"));
  const index = numberOf(mapOf(begin.get("spec")).get("index"));
  if (begin.get("type") !== "index" || index < 1) return null;
  const found = mapOf(find.get("spec"));
  const keyStep = Math.max(numberOf(found.get("keystep")), 1);
  if (find.get("type") === "range") {
    // The first half, or third, of what is left.
    if (numberOf(found.get("limit")) > 1) return null;
    const lastKey = numberOf(found.get("lastkey"));
    return range(index, lastKey < 0 ? lastKey : index + lastKey, keyStep);
  }
  const at = numberOf(found.get("keynumidx"));
  if (find.get("type") !== "keynum" || at < 0 || numberOf(found.get("firstkey")) !== at + 1) return null;
  return { finder: FINDER.NUMKEYS, firstKey: 0, lastKey: 0, keyStep, numkeysAt: index + at };
}

/** Ranges that follow each other without a gap, as one; null if they do not. */
function oneRange(ranges: readonly KeySpec[]): KeySpec | null {
  const { firstKey } = ranges[0]!;
  let { lastKey } = ranges[0]!;
  if (ranges.some(({ keyStep }) => keyStep !== 1)) return null;
  for (const next of ranges.slice(1)) {
    if (lastKey < 0 || next.firstKey !== lastKey + 1) return null;
    lastKey = next.lastKey;
  }
  return range(firstKey, lastKey, 1);
}

function range(firstKey: number, lastKey: number, keyStep: number): KeySpec {
  return { finder: FINDER.RANGE, firstKey, lastKey, keyStep: Math.max(keyStep, 1), numkeysAt: 0 };
}

function bitsOf(names: Value | undefined, table: readonly string[], prefix: string): number {
  let bits = 0;
  if (!Array.isArray(names)) return 0;
  for (let i = 0; i < table.length; i++) if (names.includes(prefix + table[i]!)) bits |= 1 << i;
  return bits;
}

function mapOf(value: Value | undefined): Map<Value, Value> {
  const map = new Map<Value, Value>();
  if (Array.isArray(value)) {
    for (let i = 0; i + 1 < value.length; i += 2) map.set(value[i]!, value[i + 1]!);
  }
  return map;
}

function numberOf(value: Value | undefined): number {
  return typeof value === "number" ? value : 0;
}

/** Maps are flat arrays and sets are arrays here, so both protocols look alike. */
type Value = string | number | null | Value[];

const MINUS = 45;
/** COMMAND's own nesting is 8 deep. */
const DEPTH_MAX = 16;

/** A plain reader of one whole reply; throws if it is not one. */
class ReplyParser {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  value(depth: number): Value {
    if (depth > DEPTH_MAX) throw new Error("a reply to COMMAND INFO nested too deep");
    const type = this.bytes[this.at++];
    const line = this.line();
    switch (type) {
      case 43: // +
        return line;
      case 58: // :
        return Number(line);
      case 95: // _
        return null;
      case 35: // #
        return line === "t" ? 1 : 0;
      case 36: { // $
        const size = Number(line);
        if (size === -1) return null;
        if (!(size >= 0) || this.at + size + 2 > this.bytes.length) {
          throw new Error("a bulk string cut short");
        }
        const text = latin1(this.bytes, this.at, this.at + size);
        this.at += size + 2;
        return text;
      }
      case 42: // *
      case 126: // ~
      case 37: { // %
        const size = Number(line);
        if (size === -1) return null;
        if (!(size >= 0) || size > this.bytes.length) throw new Error("an array longer than its reply");
        const items: Value[] = [];
        for (let i = 0; i < (type === 37 ? size * 2 : size); i++) items.push(this.value(depth + 1));
        return items;
      }
      default:
        throw new Error("not a reply to COMMAND INFO");
    }
  }

  private line(): string {
    const end = this.bytes.indexOf(13, this.at);
    if (end === -1 || this.bytes[end + 1] !== 10) throw new Error("a line cut short");
    const line = latin1(this.bytes, this.at, end);
    this.at = end + 2;
    return line;
  }
}
