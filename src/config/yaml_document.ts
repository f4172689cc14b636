/**
 * A configuration that is more than plain (plain_document.ts), read with the YAML library, which is loaded for it.
 *
 *   text ──► lexer ──► parser (depth watched) ──► composer ──► aliases bound ──► Entry, Value
 *
 * The schema is `failsafe`: no scalar has a type, `yes` is three letters. Flow style, anchors, aliases, `<<`
 * and one leading `---` are welcome; twemproxy refuses them.
 */
import type { createRequire } from "node:module";
import type { Alias, CST, Document, ErrorCode, LineCounter, Node, YAMLMap } from "yaml";
import { builtin } from "../bytes/builtin.ts";
import { atOnce } from "../ring/steps.ts";
import type { ConfigDocument, Entry, Fault, Place, Value } from "./tree.ts";

type Library = typeof import("yaml");

/** Bun's: in the executable it is the bundle's own, by which the library is part of it and evaluated when it is first asked for. */
declare const require: ((name: "yaml") => Library) | undefined;
const modules = builtin<{ createRequire: typeof createRequire }>("node:module");

let loaded: Library | null = null;

/** 8 of the 26 ms that evaluating all files took at the start (docs/decisions/53-first-request.md). */
function library(): Library {
  return loaded ??= typeof require === "undefined"
    ? modules().createRequire(import.meta.url)("yaml") as Library
    : require("yaml");
}

/** The composer recurses; a configuration has a depth of four. */
export const DEPTH_MAX = 64;

/**
 * Pieces the lexer may cut a text into (a server takes about five). The library needs a kilobyte for some of them:
 * a file of commas alone would take all memory.
 */
export const LEXEMES_MAX = 1_000_000;
/** Pieces of a step, and what they take, µs. Few: at the first reload the library is cold, and takes some tens of times that. */
const LEXEMES_STEP = 8;
const LEXEMES_US = 12;

/**
 * What may be looked at again, by aliases and merges: entries, items, and REPEAT_LETTERS of a text. With aliases of aliases 350
 * bytes stand for as much as one likes.
 */
export const REPEATS_MAX = 200_000;
const REPEAT_LETTERS = 64;

const NAME_AND_VALUE = "NAME: VALUE, with a space behind the colon";
/** What is to stand there instead, by the library's kinds of mistakes. */
const YAML_WANTED: Partial<Record<ErrorCode, string>> = {
  BAD_DQ_ESCAPE: "single quotes around it, or two backslashes for each",
  BAD_INDENT: "lines of one mapping or list that begin in the same column",
  BAD_SCALAR_START: "quotes around it",
  BLOCK_AS_IMPLICIT_KEY:
    "this line and the next to begin in the same column, or quotes around a value that has a colon and a space in it",
  MULTILINE_IMPLICIT_KEY: NAME_AND_VALUE,
  TAB_AS_INDENT: "spaces",
};

/** One file's YAML. Reading it never throws; `faults` grows as it is read. */
export class YamlDocument implements ConfigDocument {
  readonly faults: Fault[] = [];
  readonly root: Value;
  readonly #yaml = library();
  readonly #lines: LineCounter;
  readonly #targets = new Map<Alias, Node>();
  /** The lists around the node that is being bound. */
  readonly #openLists = new Set<unknown>();
  /** Entries of each mapping, made once: aliases of aliases would else multiply. */
  readonly #entries = new Map<YAMLMap, Entry[]>();
  /** Mappings, lists and what was made of lists: seen once, and from then on counted. */
  readonly #seen = new Set<unknown>();
  #repeats = 0;

  constructor(text: string, lexed: Lexed = atOnce(lexSteps(text))) {
    this.#lines = lexed.lines;
    const document = this.#compose(text, lexed);
    if (document !== null) this.#bind(document.contents, new Map());
    this.root = document === null
      ? { kind: "nothing", place: { line: 1, column: 1 } }
      : this.#value(document.contents, 0, false);
  }

  entries(value: Value): readonly Entry[] {
    if (value.kind !== "mapping") return [];
    const map = value.node as YAMLMap;
    const entries = this.#collect(map);
    const again = this.#isSeen(map);
    return !again || this.#mayRepeat(costOf(entries.map((entry) => entry.value)), value.place) ? entries : [];
  }

  items(value: Value): readonly Value[] {
    if (value.kind !== "list") return [];
    return !this.#isSeen(value) || this.#mayRepeat(costOf(value.items), value.place) ? value.items : [];
  }

  /** Has it been asked for before? */
  #isSeen(thing: unknown): boolean {
    if (this.#seen.has(thing)) return true;
    this.#seen.add(thing);
    return false;
  }

  /** False when too much has been repeated already, which is noted once. */
  #mayRepeat(cost: number, place: Place): boolean {
    const before = this.#repeats;
    this.#repeats += cost;
    if (this.#repeats <= REPEATS_MAX) return true;
    if (before <= REPEATS_MAX) {
      const found = "aliases that stand for more than any configuration";
      const expected = `at most ${REPEATS_MAX} pieces repeated`;
      this.faults.push({ ...place, key: "", found, expected, broken: true });
    }
    return false;
  }

  #compose(text: string, { tokens, wrong }: Lexed): Document.Parsed | null {
    const options = {
      version: "1.2",
      schema: "failsafe",
      resolveKnownTags: false,
      uniqueKeys: false,
      merge: false,
      strict: true,
    } as const;
    if (wrong !== null) {
      this.#fault(wrong.offset, wrong.found, wrong.expected, true);
      return null;
    }
    try {
      const documents = [...new this.#yaml.Composer(options).compose(tokens, true, text.length)];
      const [first, second] = documents;
      if (first === undefined || !("contents" in first)) return null;
      let faultyLine = 0;
      for (const error of first.errors) {
        // One slip is more than one mistake to the library: what comes behind it in a line follows from it.
        const { line } = this.#place(error.pos[0]);
        if (line === faultyLine) continue;
        faultyLine = line;
        this.#fault(error.pos[0], yamlWords(error.message), wantedFor(error), true);
      }
      for (const warning of first.warnings) {
        this.#fault(warning.pos[0], yamlWords(warning.message), "a plain value without a tag", false);
      }
      if (second !== undefined) {
        this.#fault(
          second.range[0],
          `a second document (of ${documents.length})`,
          "one document in the file",
          false,
        );
      }
      return first as Document.Parsed;
    } catch (error) {
      const { offset, found, expected } = thrown(error);
      this.#fault(offset, found, expected, true);
      return null;
    }
  }

  /** Notes for each alias which node it stands for: the last one with that anchor before it. */
  #bind(node: unknown, anchors: Map<string, Node>): void {
    if (this.#yaml.isAlias(node)) {
      const target = anchors.get(node.source);
      const at = node.range?.[0] ?? 0;
      if (target === undefined) {
        // Its name is not said: `redis_auth: *secret`, which wanted quotes, is one too.
        this.#fault(at, "an alias of nothing", "an anchor of its name before it, or quotes around it", false);
      } else if (this.#openLists.has(target)) {
        this.#fault(at, "an alias inside the list it stands for", "a list that ends", false);
      } else this.#targets.set(node, target);
      return;
    }
    if (!this.#yaml.isScalar(node) && !this.#yaml.isMap(node) && !this.#yaml.isSeq(node)) return;
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    if (this.#yaml.isScalar(node)) return;
    if (this.#yaml.isSeq(node)) this.#openLists.add(node);
    for (const item of node.items) {
      if (!this.#yaml.isPair(item)) {
        this.#bind(item, anchors);
        continue;
      }
      this.#bind(item.key, anchors);
      this.#bind(item.value, anchors);
    }
    this.#openLists.delete(node);
  }

  #collect(map: YAMLMap): readonly Entry[] {
    const known = this.#entries.get(map);
    if (known !== undefined) return known;
    const entries: Entry[] = [];
    // Noted before it is complete, so that a mapping which merges itself ends.
    this.#entries.set(map, entries);
    const merges: YAMLMap[] = [];
    for (const pair of map.items) {
      const node = this.#target(pair.key);
      const at = this.#offset(pair.key, this.#offset(map, 0));
      if (!this.#yaml.isScalar(node)) {
        this.#fault(at, "a key that is a list or a mapping", "a name", false);
        continue;
      }
      const key = String(node.value ?? "");
      if (key === "") {
        this.#fault(at, "a key without a name", "a name before the colon", false);
        continue;
      }
      const place = this.#place(at);
      if (key === "<<") merges.push(...this.#merged(pair.value, place));
      else entries.push({ key, place, value: this.#value(pair.value, at, false) });
    }
    const names = new Set(entries.map((entry) => entry.key));
    for (const merge of merges) {
      if (merge === map) continue;
      const merged = this.#collect(merge);
      const place = this.#place(this.#offset(map, 0));
      if (!this.#mayRepeat(costOf(merged.map((entry) => entry.value)), place)) break;
      for (const entry of merged) {
        if (names.has(entry.key)) continue;
        names.add(entry.key);
        entries.push(entry);
      }
    }
    return entries;
  }

  /** The mappings that a `<<` names, nearest first. */
  #merged(value: unknown, place: Place): YAMLMap[] {
    const node = this.#target(value);
    if (this.#yaml.isSeq(node) && !this.#mayRepeat(node.items.length, place)) return [];
    const nodes = this.#yaml.isSeq(node) ? node.items.map((item) => this.#target(item)) : [node];
    if (nodes.every((each) => this.#yaml.isMap(each))) return nodes;
    this.faults.push({
      ...place,
      key: "<<",
      found: "no mapping",
      expected: "an alias of a mapping",
      broken: false,
    });
    return [];
  }

  /** @param again what is around it has been looked at before */
  #value(raw: unknown, fallback: number, again: boolean): Value {
    const place = this.#place(this.#offset(raw, fallback));
    const node = this.#target(raw);
    if (this.#yaml.isScalar(node)) {
      const text = String(node.value ?? "");
      // The items of a list that is repeated have been counted with it.
      const cost = this.#yaml.isAlias(raw) ? costOfText(text) : again ? costOfText(text) - 1 : 0;
      if (cost > 0 && !this.#mayRepeat(cost, place)) return { kind: "nothing", place };
      return text === "" ? { kind: "nothing", place } : { kind: "text", place, text };
    }
    if (this.#yaml.isSeq(node)) {
      const repeated = this.#isSeen(node);
      if (repeated && !this.#mayRepeat(node.items.length, place)) return { kind: "nothing", place };
      const start = this.#offset(raw, fallback);
      const items = node.items.map((item) =>
        this.#value(this.#yaml.isPair(item) ? null : item, this.#offset(item, start), repeated)
      );
      return { kind: "list", place, items, empty: node.flow === true && items.length === 0 };
    }
    if (this.#yaml.isMap(node)) {
      const empty = node.flow === true && node.items.length === 0;
      return { kind: "mapping", place, node, empty };
    }
    return { kind: "nothing", place };
  }

  /** The node itself, or what it is an alias of. */
  #target(node: unknown): unknown {
    return this.#yaml.isAlias(node) ? this.#targets.get(node) : node;
  }

  #offset(node: unknown, fallback: number): number {
    return (this.#yaml.isScalar(node) || this.#yaml.isMap(node) || this.#yaml.isSeq(node) ||
        this.#yaml.isAlias(node)) && node.range
      ? node.range[0]
      : fallback;
  }

  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return line === 0 ? { line: 1, column: 1 } : { line, column: col };
  }

  #fault(offset: number, found: string, expected: string, broken: boolean): void {
    this.faults.push({ ...this.#place(offset), key: "", found, expected, broken });
  }
}

/** A text in pieces. */
export interface Lexed {
  readonly tokens: readonly CST.Token[];
  readonly lines: LineCounter;
  /** Why it is not read any further; null: it is. */
  readonly wrong: Wrong | null;
}

interface Wrong {
  readonly offset: number;
  readonly found: string;
  readonly expected: string;
}

/** Most of the work of reading a file. */
export function* lexSteps(text: string): Generator<number, Lexed> {
  const { Lexer, LineCounter, Parser } = library();
  const lines = new LineCounter();
  const tokens: CST.Token[] = [];
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tooMuch = (found: string, expected: string): Lexed => ({
    tokens,
    lines,
    wrong: { offset: parser.offset, found, expected },
  });
  try {
    let lexemes = 0;
    for (const lexeme of new Lexer().lex(text)) {
      for (const token of parser.next(lexeme)) tokens.push(token);
      if (parser.stack.length > DEPTH_MAX) {
        return tooMuch("a nesting deeper than any configuration", `at most ${DEPTH_MAX} levels`);
      }
      if (++lexemes > LEXEMES_MAX) {
        return tooMuch("more YAML than any configuration", `at most ${LEXEMES_MAX} pieces`);
      }
      if (lexemes % LEXEMES_STEP === 0) yield LEXEMES_US;
    }
    for (const token of parser.end()) tokens.push(token);
    return { tokens, lines, wrong: null };
  } catch (error) {
    return { tokens, lines, wrong: thrown(error) };
  }
}

/** No input is known to get here. A defect of the YAML library must not look like one of the proxy. */
function thrown(error: unknown): Wrong {
  const found = error instanceof Error ? yamlWords(error.message) : "what cannot be read";
  return { offset: 0, found, expected: "valid YAML" };
}

/** What is to stand where the library has found a mistake. */
function wantedFor({ code, message }: { readonly code: ErrorCode; readonly message: string }): string {
  if (/followed by map values/.test(message)) return NAME_AND_VALUE;
  if (/^Missing closing/.test(message)) return "the quote that closes it";
  if (/^Block scalar header/.test(message)) return "quotes around it";
  return YAML_WANTED[code] ?? "valid YAML";
}

/** What looking at these once more costs, of REPEATS_MAX. */
function costOf(values: readonly Value[]): number {
  let cost = 0;
  for (const value of values) cost += value.kind === "text" ? costOfText(value.text) : 1;
  return cost;
}

function costOfText(text: string): number {
  return 1 + Math.floor(text.length / REPEAT_LETTERS);
}

/**
 * The library's message as the words after "found", without what it quotes of the file: a password that wanted quotes is a mistake
 * too, such as `redis_auth: !secret` or `|secret`.
 */
function yamlWords(message: string): string {
  const words = message.split("\n")[0]!
    .replace(/(?<=[a-z]): .*/i, "")
    .replace(/^The \S.* tag has/, "A tag has")
    .replace(/, so \S.* is invalid/, "")
    .replace(/(?<=escape sequence).*/, "");
  return `a mistake in the YAML (${words.slice(0, 200)})`;
}
