/**
 * What a server says of a command the table does not know (a module's, or a newer server's), made into a row.
 *
 *   unknown command ──▶ COMMAND INFO name ──▶ a server's reply ──commandFromInfo──▶ rows ──learnCommand──▶ table
 *
 * Control plane: once per unknown name. The reply's shape is that of Redis 6 (7 fields) and 7 (10 fields), in
 * RESP2 or RESP3. A command whose keys cannot be told from it becomes a row that is refused, with the reason.
 */
import { latin1 } from "../../bytes/ascii.ts";
import {
  CATEGORY_NAMES,
  type Command,
  FINDER,
  FLAG,
  FLAG_NAMES,
  JOIN,
  type KeySpec,
  ROUTE,
} from "./command.ts";
import { findByName, learnCommand, type LearnedRow } from "./commands.ts";

const NO_KEYS: KeySpec = { finder: FINDER.NONE, firstKey: 0, lastKey: 0, keyStep: 0, numkeysAt: 0 };

/**
 * Reads a reply to `COMMAND INFO name`, whole, and adds the command and its subcommands to the table.
 * @returns the command; null if the server does not know it, the reply is no such reply, or the table is full
 */
export function learnFromInfo(reply: Uint8Array): Command | null {
  const rows = commandFromInfo(reply);
  if (rows === null || !learnCommand(rows)) return null;
  return findByName(rows[0]!.name) ?? null;
}

/** The command of a reply to `COMMAND INFO name` and after it its subcommands; null as for `learnFromInfo`. */
export function commandFromInfo(reply: Uint8Array): LearnedRow[] | null {
  const parser = new ReplyParser(reply);
  let value: Value;
  try {
    value = parser.value(0);
  } catch {
    return null;
  }
  if (!Array.isArray(value) || value.length !== 1) return null;
  return rowsOf(value[0]!);
}

function rowsOf(entry: Value): LearnedRow[] | null {
  if (!Array.isArray(entry) || entry.length < 6) return null;
  const [name, arity, flagNames, first, last, step, categoryNames, , specs, subcommands] = entry;
  if (typeof name !== "string" || name === "" || typeof arity !== "number") return null;
  if (typeof first !== "number" || typeof last !== "number" || typeof step !== "number") return null;
  const flags = bitsOf(flagNames, FLAG_NAMES, "");
  const categories = bitsOf(categoryNames, CATEGORY_NAMES, "@");
  const movable = (flags & FLAG.MOVABLE_KEYS) !== 0;
  const keys = keysOf(first, last, step, movable, Array.isArray(specs) ? specs : []);
  const rows = [
    rowOf(name, arity, flags, categories, keys, Array.isArray(subcommands) && subcommands.length > 0),
  ];
  if (Array.isArray(subcommands)) {
    for (const subcommand of subcommands) rows.push(...rowsOf(subcommand) ?? []);
  }
  return rows;
}

function rowOf(
  name: string,
  arity: number,
  flags: number,
  categories: number,
  keys: KeySpec,
  isContainer: boolean,
): LearnedRow {
  let route: number = ROUTE.KEYED;
  let hint = "";
  if (keys.finder === FINDER.NONE) {
    route = isContainer ? ROUTE.LOCAL : ROUTE.REFUSED;
    if (!isContainer) {
      hint = "names no key, so there is no telling which server it is for; send it to a server itself";
    }
  } else if (flags & FLAG.BLOCKING) route = ROUTE.BLOCKING;
  if (flags & FLAG.ADMIN) flags |= FLAG.DANGEROUS;
  return { name, arity, flags, categories, route, keys, join: JOIN.NONE, hint };
}

/** The old three numbers where they say it all; key specifications where the keys move. */
function keysOf(first: number, last: number, step: number, movable: boolean, specs: Value[]): KeySpec {
  const range = first > 0 && step > 0
    ? { finder: FINDER.RANGE, firstKey: first, lastKey: last, keyStep: step, numkeysAt: 0 }
    : NO_KEYS;
  if (!movable) return range;
  for (const spec of specs) {
    const begin = mapOf(mapOf(spec).get("begin_search"));
    const find = mapOf(mapOf(spec).get("find_keys"));
    const index = mapOf(begin.get("spec")).get("index");
    if (begin.get("type") !== "index" || typeof index !== "number") continue;
    const found = mapOf(find.get("spec"));
    if (find.get("type") === "keynum") {
      const at = numberOf(found.get("keynumidx"));
      if (numberOf(found.get("firstkey")) !== at + 1) continue;
      return {
        finder: FINDER.NUMKEYS,
        firstKey: first > 0 && first < index ? first : 0,
        lastKey: last,
        keyStep: Math.max(numberOf(found.get("keystep")), 1),
        numkeysAt: index + at,
      };
    }
    if (find.get("type") === "range" && range === NO_KEYS) {
      const lastKey = numberOf(found.get("lastkey"));
      return {
        finder: FINDER.RANGE,
        firstKey: index,
        lastKey: lastKey < 0 ? lastKey : index + lastKey,
        keyStep: Math.max(numberOf(found.get("keystep")), 1),
        numkeysAt: 0,
      };
    }
  }
  return range;
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
