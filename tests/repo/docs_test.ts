/** What the documents say in tables is what the tables say; their commands are tasks, and their links lead somewhere. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { dirname, join } from "node:path";
import { exists as isThere, filesUnder, ROOT } from "../lib/repo.ts";
import { FILES, generatedDocuments, PART_NAMES, partsOf, withDocs } from "./write_docs.ts";

const read = (name: string) => Deno.readTextFileSync(`${ROOT}/${name}`);
const exists = (name: string) => isThere(`${ROOT}/${name}`);

Deno.test("README.md, docs/: the generated parts are fresh (run `deno task docs`), each in one place", () => {
  const parts: string[] = [];
  for (const name of generatedDocuments()) {
    const text = read(name);
    strictEqual(text, withDocs(text), `${name}: run \`deno task docs\``);
    parts.push(...partsOf(text));
  }
  deepStrictEqual(parts.sort(), [...PART_NAMES].sort());
});

Deno.test("conf/: what comes from tables as a whole is fresh (run `deno task docs`)", () => {
  for (const [name, text] of Object.entries(FILES)) {
    strictEqual(read(name), text(), `${name}: run \`deno task docs\``);
  }
});

Deno.test("README.md, docs/: every task they name exists, with the pinned Deno", () => {
  const tasks = Object.keys(JSON.parse(read("deno.json")).tasks);
  let named = 0;
  for (const name of generatedDocuments()) {
    for (const [, version, task] of read(name).matchAll(/npx -y deno@([\d.]+) task ([\w:]+)/g)) {
      named++;
      strictEqual(version, "2.9.6");
      ok(tasks.includes(task!), `${name} names task ${task}, deno.json has ${tasks.join(", ")}`);
    }
  }
  ok(named >= 4);
});

Deno.test("README.md is short, and links every page of docs/", () => {
  const text = read("README.md");
  const lines = text.split("\n").length;
  ok(lines <= 150, `README.md has ${lines} lines: what is more than a stranger needs belongs to docs/`);
  for (const name of generatedDocuments()) {
    if (name !== "README.md") ok(text.includes(`](${name})`), `README.md has no link to ${name}`);
  }
});

Deno.test("documents: what stands between backticks stands in one line, as it is copied", () => {
  for (const name of generatedDocuments()) {
    for (const [index, line] of prose(read(name)).split("\n").entries()) {
      ok(
        line.split("`").length % 2 === 1,
        `${name}: a code span that goes on in the next line: ${index + 1}: ${line}`,
      );
    }
  }
});

Deno.test("documents: every relative link leads to a file that exists, and to a heading of it", () => {
  let links = 0;
  for (const name of allDocuments()) {
    for (const [, target] of prose(read(name)).matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      links++;
      const [path, heading] = target!.split("#") as [string, string | undefined];
      const file = path === "" ? name : join(dirname(name), path);
      ok(exists(file), `${name} links ${target}: no ${file}`);
      if (heading === undefined) continue;
      const headings = headingsOf(read(file));
      ok(
        headings.includes(heading),
        `${name} links ${target}: ${file} has no such heading, only ${headings.join(", ")}`,
      );
    }
  }
  ok(links > 20);
});

Deno.test("src/README.md, docs/decisions/: every file they name exists", () => {
  for (const document of ["src/README.md", ...decisions()]) {
    const names = [...read(document).matchAll(/`([a-z_]+\/[a-z_/]+\.ts)`/g)].map((m) => m[1]!);
    for (const name of names) {
      ok(exists(/^(tests|conf)\//.test(name) ? name : `src/${name}`), `${document} names ${name}`);
    }
  }
});

Deno.test("docs/decisions/: numbered without a gap, one screen each, and src/README.md lists them", () => {
  const listed = [...read("src/README.md").matchAll(/^- \[(.+)\]\(\.\.\/(docs\/decisions\/.+\.md)\)$/gm)];
  deepStrictEqual(listed.map((m) => m[2]), decisions());
  for (const [index, [, title, name]] of listed.entries()) {
    const text = read(name!);
    strictEqual(Number(name!.split("/").at(-1)!.split("-")[0]), index + 1, name);
    strictEqual(text.split("\n")[0], `# ${title}`, `${name}: not the title of the list`);
    ok(title!.startsWith(`${index + 1}. `), `${name}: its title begins with another number`);
    for (const part of ["Question", "Choice"]) ok(text.includes(`\n**${part}.** `), `${name} has no ${part}`);
    ok(text.split("\n").length <= 50, `${name} is more than a screen`);
  }
});

Deno.test("comments: every decision they name by its number exists", () => {
  const count = decisions().length;
  let named = 0;
  for (const path of [...filesUnder("src", isText), ...filesUnder("tests", isText)]) {
    for (const [, number] of read(path).matchAll(/\bdecision (\d+)/g)) {
      named++;
      ok(
        Number(number) >= 1 && Number(number) <= count,
        `${path} names decision ${number}, there are ${count}`,
      );
    }
  }
  ok(named > 0);
});

const isText = (path: string) => /\.(ts|md)$/.test(path);

function decisions(): string[] {
  const folder = "docs/decisions";
  return [...Deno.readDirSync(`${ROOT}/${folder}`)].map((entry) => `${folder}/${entry.name}`).sort();
}

/** Every Markdown file of the project, but those of the tools. */
function allDocuments(folder = ""): string[] {
  const names: string[] = [];
  for (const entry of Deno.readDirSync(join(ROOT, folder))) {
    const name = join(folder, entry.name);
    if (entry.isDirectory) {
      if (!["node_modules", "dist", "coverage", ".git"].includes(entry.name)) {
        names.push(...allDocuments(name));
      }
    } else if (entry.name.endsWith(".md")) names.push(name);
  }
  return names.sort();
}

/** Without blocks of code and code in a line: what stands there is no link. */
function prose(text: string): string {
  return text.replaceAll(/^ *```[\s\S]*?^ *```/gm, "").replaceAll(/`[^`\n]*`/g, "");
}

/** The anchors that forges give to a document's headings. */
function headingsOf(text: string): string[] {
  const lines = text.replaceAll(/^ *```[\s\S]*?^ *```/gm, "").matchAll(/^#+ (.*)$/gm);
  return [...lines].map(([, heading]) =>
    heading!.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(" ", "-")
  );
}
