/** What README.md says in tables is what the tables say; and its commands are tasks that exist. */
import { ok, strictEqual } from "node:assert/strict";
import { withDocs } from "./write_docs.ts";

const root = new URL("../../", import.meta.url);
const read = (name: string) => Deno.readTextFileSync(new URL(name, root));

Deno.test("README.md: the generated parts are fresh (run `deno task docs`)", () => {
  strictEqual(read("README.md"), withDocs(read("README.md")));
});

Deno.test("README.md: every task it names exists, with the pinned Deno", () => {
  const tasks = Object.keys(JSON.parse(read("deno.json")).tasks);
  const named = [...read("README.md").matchAll(/npx -y deno@([\d.]+) task (\w+)/g)];
  ok(named.length >= 4);
  for (const [, version, task] of named) {
    strictEqual(version, "2.9.6");
    ok(tasks.includes(task!), `README.md names task ${task}, deno.json has ${tasks.join(", ")}`);
  }
});

Deno.test("README.md, src/README.md: every file they link or name exists", () => {
  for (const [file, folder] of [["README.md", ""], ["src/README.md", "src/"]] as const) {
    const text = read(file);
    const names = [
      ...[...text.matchAll(/\]\(([\w./-]+)\)/g)].map((m) => m[1]!),
      ...(folder === "" ? [] : [...text.matchAll(/`([a-z_]+\/[a-z_/]+\.ts)`/g)].map((m) => folder + m[1]!)),
    ];
    ok(names.length > 0);
    for (const name of names) {
      const path = name.startsWith("src/tests/") ? name.slice(4) : name;
      ok(Deno.statSync(new URL(path, root)).isFile, `${file} names ${name}`);
    }
  }
});
