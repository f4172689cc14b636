/**
 * Plain configurations: block mappings and lists of names, unquoted texts and simply quoted ones, a line each, and comments. That is what
 * nearly all are, and loading the YAML library for one takes longer than all else that a start evaluates
 * (docs/decisions/53-first-request.md).
 *
 *   lines ──► indent, dash, key, text ──► open blocks, innermost last ──► Entry, Value
 *
 * Whatever is in doubt is not plain, mistakes too, and is the library's. What is plain means here to the letter what it means there,
 * places included: tests/property/plain_document_test.ts.
 */
import type { ConfigDocument, Entry, Fault, Place, Value } from "./tree.ts";

/** Beyond this the time that the library takes to load is not worth a thought. */
export const PLAIN_MAX: number = 64 * 1024;
/** What a line takes, µs, while the code is cold. */
const LINE_US = 10;
/** Blocks in each other; a configuration has five. */
const DEPTH_MAX = 16;

/** Comments may be in any language. A line of its own, an invisible space or an odd control character is somebody else's matter. */
const STRANGE = /[^\x20-\x7e\n\u00a1-\u1fff\u2010-\u2027\u2030-\ud7ff]/;
/** Nothing, or a comment. */
const SILENT = /^ *(?:#.*)?$/;
/** Indent, dash, key (with its colon) and what follows. Longer keys are not plain. */
const LINE = /^( *)(- +)?(?:([A-Za-z0-9_][A-Za-z0-9_.-]{0,99}):(?: +|$))?(.*)$/;
const QUOTED = /^(?:"([\x20\x21\x23-\x5b\x5d-\x7e]*)"|'([\x20-\x26\x28-\x7e]*)')(?: +#.*| *)$/;
/** A text without quotes, and the comment behind it. What it may not begin with, and more, means something in YAML. */
const UNQUOTED = /^(-?[A-Za-z0-9_./+][\x20-\x7e]*?)(?: +#.*| *)$/;
/** A colon that makes a key of what is before it. */
const COLON = /:(?: |$)/;

/** A mapping or a list whose last line has not been seen. */
type Block =
  | { readonly column: number; readonly entries: OpenEntry[]; readonly items: null }
  | { readonly column: number; readonly entries: null; readonly items: Value[] };

/** Its value may be that of the lines to come. */
interface OpenEntry {
  readonly key: string;
  readonly place: Place;
  value: Value | null;
}

class PlainDocument implements ConfigDocument {
  readonly faults: Fault[] = [];

  constructor(readonly root: Value) {}

  entries(value: Value): readonly Entry[] {
    return value.kind === "mapping" ? value.node as Entry[] : [];
  }

  items(value: Value): readonly Value[] {
    return value.kind === "list" ? value.items : [];
  }
}

/** Null if the text is not plain. */
export function* plainSteps(text: string): Generator<number, ConfigDocument | null> {
  if (text.length > PLAIN_MAX || STRANGE.test(text)) return null;
  const reader = new PlainReader();
  for (let at = 0, line = 1; at < text.length; line++) {
    const end = text.indexOf("\n", at);
    if (!reader.take(text.slice(at, end < 0 ? text.length : end), line)) return null;
    at = end < 0 ? text.length : end + 1;
    yield LINE_US;
  }
  const root = reader.end();
  return root === null ? null : new PlainDocument(root);
}

class PlainReader {
  /** The blocks that the next line may belong to, outermost first. */
  private readonly open: Block[] = [];
  private root: Value | null = null;
  /** The last line's key, which has no value yet. */
  private valueless: OpenEntry | null = null;

  /** Takes the next line; false if it is not plain. */
  take(text: string, line: number): boolean {
    if (SILENT.test(text)) return true;
    const [, indent, dash, key, rest] = LINE.exec(text) as unknown as [
      string,
      string,
      string | undefined,
      string | undefined,
      string,
    ];
    let column = indent.length;
    if (!this.goTo(column, dash !== undefined, line)) return false;
    if (dash !== undefined) {
      const { items } = this.open.at(-1)!;
      if (key === undefined) {
        const item = textAt(rest, line, column + dash.length);
        if (item !== null) items!.push(item);
        return item !== null;
      }
      column += dash.length;
      items!.push(this.mappingAt(column, line));
    }
    if (key === undefined || this.open.length > DEPTH_MAX) return false;
    const entry: OpenEntry = { key, place: placeAt(line, column), value: null };
    this.open.at(-1)!.entries!.push(entry);
    if (rest === "" || rest.startsWith("#")) {
      this.valueless = entry;
      return true;
    }
    entry.value = textAt(rest, line, text.length - rest.length);
    return entry.value !== null;
  }

  /** What stands at the top; null if it is not plain, or there is nothing. */
  end(): Value | null {
    return this.valueless === null ? this.root : null;
  }

  /** Closes what ends before a line that begins at this column, and opens what begins there. False: it is not plain. */
  private goTo(column: number, isItem: boolean, line: number): boolean {
    const last = this.open.at(-1);
    if (last === undefined) {
      if (column > 0) return false;
      this.root = this.blockAt(column, isItem, line);
      return true;
    }
    if (this.valueless !== null) {
      // A list may begin below the first letter of its key.
      if (column < last.column || column === last.column && !isItem) return false;
      this.valueless.value = this.blockAt(column, isItem, line);
      this.valueless = null;
      return true;
    }
    let block: Block | undefined = last;
    while (
      block !== undefined &&
      (block.column > column || block.column === column && block.items !== null && !isItem)
    ) {
      this.open.pop();
      block = this.open.at(-1);
    }
    return block !== undefined && block.column === column && (block.items !== null) === isItem;
  }

  private blockAt(column: number, isList: boolean, line: number): Value {
    if (!isList) return this.mappingAt(column, line);
    const items: Value[] = [];
    this.open.push({ column, entries: null, items });
    return { kind: "list", place: placeAt(line, column), items, empty: false };
  }

  private mappingAt(column: number, line: number): Value {
    const entries: OpenEntry[] = [];
    this.open.push({ column, entries, items: null });
    return { kind: "mapping", place: placeAt(line, column), node: entries, empty: false };
  }
}

const placeAt = (line: number, column: number): Place => ({ line, column: column + 1 });

/** The text that begins at this column and ends with its line; null if it is not plain. */
function textAt(rest: string, line: number, column: number): Value | null {
  const place = placeAt(line, column);
  const quoted = QUOTED.exec(rest);
  if (quoted !== null) {
    const text = quoted[1] ?? quoted[2]!;
    return text === "" ? { kind: "nothing", place } : { kind: "text", place, text };
  }
  const text = UNQUOTED.exec(rest)?.[1];
  return text === undefined || COLON.test(text) ? null : { kind: "text", place, text };
}
