/**
 * What the source files of the repository say, read with Deno's own parser: their imports and the names they use.
 * Comments and strings are not code, so nothing is found in them.
 */
import { filesUnder, ROOT } from "../lib/repo.ts";

export interface Import {
  /** Repository path of the file that imports. */
  from: string;
  /** As written: "../bytes/ascii.ts", "node:fs", "yaml". */
  specifier: string;
  /** Repository path of what is imported; null if it is no file of ours. */
  to: string | null;
  line: number;
  /** Nothing of it is left when the program runs. */
  typeOnly: boolean;
  /** Loaded when it is first used: builtin() of src/bytes/builtin.ts, or require(). */
  later: boolean;
  /** import(): loaded when it is come to, in a file of its own in the executable. */
  waits: boolean;
}

export interface Use {
  path: string;
  line: number;
  /** "Deno", "Date.now", "new Date()", … */
  name: string;
}

/** main.ts and all TypeScript under src/, as repository paths. */
export const SOURCES: readonly string[] = [
  "main.ts",
  ...filesUnder("src", (path) => /\.[cm]?[jt]sx?$/.test(path)),
];

const lines = new Map<string, string>();

function textOf(path: string): string {
  let text = lines.get(path);
  if (text === undefined) lines.set(path, text = Deno.readTextFileSync(`${ROOT}/${path}`));
  return text;
}

function lineAt(path: string, offset: number): number {
  return textOf(path).slice(0, offset).split("\n").length;
}

/** Calls the visitor for the nodes of one file. */
function visit(path: string, visitor: Deno.lint.LintVisitor): void {
  Deno.lint.runPlugin(
    { name: "repo", rules: { visit: { create: () => visitor } } },
    `${ROOT}/${path}`,
    textOf(path),
  );
}

/** Every import, export … from, import(), builtin() and require() of a file. */
export function importsOf(path: string): Import[] {
  const found: Import[] = [];
  const add = (
    source: Deno.lint.Node | null | undefined,
    typeOnly: boolean,
    later = false,
    waits = false,
  ) => {
    if (source?.type !== "Literal" || typeof source.value !== "string") return;
    const specifier = source.value;
    const line = lineAt(path, source.range[0]);
    found.push({ from: path, specifier, to: resolve(path, specifier), line, typeOnly, later, waits });
  };
  visit(path, {
    ImportDeclaration(node) {
      const names = node.specifiers;
      const types = names.length > 0 &&
        names.every((name) => name.type === "ImportSpecifier" && name.importKind === "type");
      add(node.source, node.importKind === "type" || types);
    },
    ExportNamedDeclaration: (node) => add(node.source, node.exportKind === "type"),
    ExportAllDeclaration: (node) => add(node.source, node.exportKind === "type"),
    ImportExpression: (node) => add(node.source, false, false, true),
    CallExpression(node) {
      const { callee } = node;
      const later = callee.type === "Identifier" && ["builtin", "require"].includes(callee.name);
      if (later) add(node.arguments[0], false, true);
    },
  });
  return found;
}

function resolve(from: string, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

/**
 * Uses of global names in a file. `names` holds plain globals ("setTimeout") and members of globals ("Date.now");
 * "new Date()" is the constructor without arguments. A property of that name on another object is not a use,
 * `globalThis.name` and the name as a string of its own ("Deno" in globalThis) are.
 */
export function usesOf(path: string, names: ReadonlySet<string>): Use[] {
  const found: Use[] = [];
  const add = (node: { range: [number, number] }, name: string) => {
    if (names.has(name)) found.push({ path, line: lineAt(path, node.range[0]), name });
  };
  visit(path, {
    Identifier(node) {
      const parent = node.parent;
      if (parent.type === "MemberExpression" && parent.property === node && !parent.computed) return;
      // The name of a member declared here; in a shorthand `{ fetch }` its value is visited too.
      if ("key" in parent && parent.key === node) return;
      add(node, node.name);
    },
    MemberExpression(node) {
      if (node.object.type !== "Identifier" || node.property.type !== "Identifier" || node.computed) return;
      if (node.object.name === "globalThis") add(node, node.property.name);
      else add(node, `${node.object.name}.${node.property.name}`);
    },
    NewExpression(node) {
      if (node.callee.type === "Identifier" && node.arguments.length === 0) {
        add(node, `new ${node.callee.name}()`);
      }
    },
    BinaryExpression(node) {
      if (node.operator === "in" && node.left.type === "Literal") add(node, String(node.left.value));
    },
  });
  return found;
}

/** Loops that run when a file is loaded, not when a function is called: their lines. */
export function loopsAtLoad(path: string): number[] {
  const found: number[] = [];
  const loop = (node: Deno.lint.Node) => {
    let at: any = node;
    while (at.type !== "Program") {
      if (/Function|StaticBlock/.test(at.type)) return;
      at = at.parent;
    }
    found.push(lineAt(path, node.range[0]));
  };
  visit(path, {
    ForStatement: loop,
    ForOfStatement: loop,
    ForInStatement: loop,
    WhileStatement: loop,
    DoWhileStatement: loop,
  });
  return found;
}
