/**
 * The reader of plain configurations beside the YAML library: it says that a text is not plain, or the same of it to the letter, with the
 * same places.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import fc from "fast-check";
import { plainSteps } from "../../src/config/plain_document.ts";
import type { ConfigDocument, Value } from "../../src/config/tree.ts";
import { YamlDocument } from "../../src/config/yaml_document.ts";
import { atOnce } from "../../src/ring/steps.ts";
import { filesUnder, ROOT } from "../lib/repo.ts";
import { runs } from "../lib/runs.ts";

const plain = (text: string): ConfigDocument | null => atOnce(plainSteps(text));

/** Everything that a document says, with its faults. */
function said(document: ConfigDocument): unknown {
  const dump = (value: Value): unknown => {
    const { kind, place } = value;
    switch (kind) {
      case "list":
        return { kind, place, empty: value.empty, items: document.items(value).map(dump) };
      case "mapping": {
        const entries = document.entries(value);
        return {
          kind,
          place,
          empty: value.empty,
          entries: entries.map((entry) => ({ ...entry, value: dump(entry.value) })),
        };
      }
      case "text":
        return { kind, place, text: value.text };
      case "nothing":
        return { kind, place };
    }
  };
  return { root: dump(document.root), faults: document.faults };
}

/** Fails if the two readers differ; says whether the text is plain. */
function compare(text: string): boolean {
  const document = plain(text);
  if (document === null) return false;
  deepStrictEqual(said(document), said(new YamlDocument(text)), JSON.stringify(text));
  return true;
}

const CONFIGURATIONS = filesUnder("conf", (path) => path.endsWith(".yml"))
  .map((path) => ({ path, text: Deno.readTextFileSync(`${ROOT}/${path}`) }));

const VECTORS: string[] = JSON.parse(Deno.readTextFileSync(`${ROOT}/tests/vectors/config/nutcracker.json`))
  .map((each: { yaml: string }) => each.yaml);

Deno.test("configurations of conf/ and of tests/vectors say the same; nutcracker.yml and others are plain", () => {
  const found = CONFIGURATIONS.filter(({ text }) => compare(text)).map(({ path }) => path.split("/").at(-1));
  for (const name of ["nutcracker.yml", "redis.yml", "memcached.yml", "cluster.yml"]) {
    ok(found.includes(name), `${name} is plain`);
  }
  const vectors = VECTORS.filter(compare).length;
  ok(vectors * 2 > VECTORS.length, `${vectors} of ${VECTORS.length} are plain`);
});

Deno.test("every text of few pieces of YAML", () => {
  const pieces = [
    "a",
    "b:",
    "c: d",
    "- ",
    "-",
    "\n",
    "\n ",
    "\n  ",
    " ",
    "#",
    '"',
    "'e'",
    ":",
    "\n---",
    "? ",
  ];
  let [tried, found] = [0, 0];
  const add = (text: string, left: number): void => {
    tried++;
    if (compare(text)) found++;
    if (left > 0) { for (const piece of pieces) add(text + piece, left - 1); }
  };
  add("", 4);
  ok(found > 200, `${found} of ${tried} are plain`);
});

const name = fc.stringMatching(/^[a-z_][a-z0-9_.-]{0,8}$/);
const word = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[a-zA-Z0-9_./+-][a-zA-Z0-9_./+: -]{0,14}[a-z0-9]$/) },
  fc.constantFrom(
    "127.0.0.1:6379:1 shard1",
    "-1",
    "true",
    "~",
    "null",
    "0x10",
    "/tmp/a.sock 0660",
    "a#b",
    "a:b",
  ),
  fc.constantFrom(
    '"{}"',
    "'{}'",
    '""',
    "''",
    '"a: b # c"',
    "'say \"x\"'",
    '" x "',
    '"it\'s"',
    "::1",
    "[a, b]",
  ),
  fc.stringMatching(/^"[ -~]{0,9}"$/),
  fc.stringMatching(/^[ -~]{1,9}$/),
);
const comment = fc.constantFrom("", "", "", "", " # what it is", "  #", " ", "#", " # µs – ä", " #: '\"");
const gap = fc.constantFrom("", "", "", "\n", "# c\n", "      # deep: er\n", "  \n");

/** Lines of a block at a column: mostly plain, of all the ways to write the same. */
const block = fc.letrec<{ mapping: (column: number) => string; list: (column: number) => string }>((tie) => {
  const value = fc.oneof(
    { maxDepth: 4, depthIdentifier: "yaml" },
    { weight: 3, arbitrary: fc.tuple(word, comment).map(([text, end]) => () => ` ${text}${end}\n`) },
    {
      weight: 1,
      arbitrary: fc.tuple(tie("mapping"), fc.integer({ min: 1, max: 3 }), comment, gap).map((
        [inner, step, end, between],
      ) =>
      (column: number) => `${end}\n${between}${inner(column + step)}`),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(tie("list"), fc.integer({ min: 0, max: 3 }), comment, gap).map((
        [inner, step, end, between],
      ) =>
      (column: number) => `${end}\n${between}${inner(column + step)}`),
    },
  );
  const entry = fc.tuple(name, value, gap).map(([key, of, before]) => (column: number, first: boolean) =>
    `${first ? "" : before + " ".repeat(column)}${key}:${of(column)}`
  );
  const entries = fc.array(entry, { minLength: 1, maxLength: 4, depthIdentifier: "yaml" });
  const item = fc.oneof(
    { weight: 2, arbitrary: fc.tuple(word, comment).map(([text, end]) => () => `${text}${end}\n`) },
    {
      weight: 1,
      arbitrary: entries.map((all) => (column: number) =>
        all.map((each, i) => each(column, i === 0)).join("")
      ),
    },
  );
  return {
    mapping: entries.map((all) => (column) =>
      " ".repeat(column) + all.map((each, i) => each(column, i === 0)).join("")
    ),
    list: fc.array(fc.tuple(item, fc.integer({ min: 1, max: 3 }), gap), { minLength: 1, maxLength: 4 })
      .map((all) => (column) =>
        all.map(([each, step, before]) =>
          `${before}${" ".repeat(column)}-${" ".repeat(step)}${each(column + 1 + step)}`
        ).join("")
      ),
  };
});
const generated = fc.oneof({ weight: 4, arbitrary: block.mapping }, { weight: 1, arbitrary: block.list })
  .map((write) => write(0));

/** What is done to a text: at a share of its length something is put in, taken out, or a line is moved. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  out: fc.constantFrom(0, 0, 1, 1, 2, 5),
  piece: fc.oneof(
    fc.constantFrom(
      "",
      "",
      " ",
      "  ",
      "\n",
      "\n  ",
      ": ",
      ":",
      "- ",
      "#",
      " #",
      '"',
      "'",
      "\\",
      "\t",
      "\r",
      "&a ",
      "*a",
      "!t ",
      "| ",
    ),
    fc.constantFrom(
      "> ",
      "[",
      "]",
      "{",
      "}",
      ",",
      "? ",
      "<<: ",
      "---\n",
      "...\n",
      "%",
      "@",
      "`",
      "\u2028",
      "\ufeff",
      "\u00a0",
      "\0",
    ),
    fc.stringMatching(/^[ -~]{1,3}$/),
  ),
});

function changed(text: string, changes: readonly { at: number; out: number; piece: string }[]): string {
  let now = text;
  for (const { at, out, piece } of changes) {
    const i = Math.floor(at * now.length);
    now = now.slice(0, i) + piece + now.slice(i + out);
  }
  return now;
}

Deno.test("generated documents, mostly plain ones", () => {
  let [tried, found] = [0, 0];
  fc.assert(
    fc.property(generated, (text) => {
      tried++;
      if (compare(text)) found++;
    }),
    { numRuns: runs(2000) },
  );
  ok(found * 5 > tried, `${found} of ${tried} are plain`);
});

Deno.test("documents in which something has been changed", () => {
  let [tried, found] = [0, 0];
  const whole = fc.constantFrom(...CONFIGURATIONS.map(({ text }) => text), ...VECTORS);
  // A piece of a configuration, from the left: a long text has its mistakes early.
  const cut = fc.tuple(whole, fc.nat(20), fc.integer({ min: 1, max: 12 })).map(([text, from, count]) => {
    const lines = text.split("\n").slice(from, from + count);
    const indent = / */.exec(lines.find((line) => /^ *[^ #]/.test(line)) ?? "")![0];
    return lines.map((line) => line.startsWith(indent) ? line.slice(indent.length) : line).join("\n");
  });
  fc.assert(
    fc.property(
      fc.oneof(generated, cut),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      (text, changes) => {
        tried++;
        if (compare(changed(text, changes))) found++;
      },
    ),
    { numRuns: runs(4000) },
  );
  ok(found > 0, `${found} of ${tried} are plain`);
});
