/** The repository's top level holds what was agreed, and nothing else. */
import { deepStrictEqual } from "node:assert/strict";
import { run } from "../lib/process.ts";
import { exists, ROOT } from "../lib/repo.ts";

const TOP_LEVEL = [
  ".ci",
  ".gitignore",
  "CHANGELOG.md",
  "LICENSE",
  "README.md",
  "conf",
  "deno.json",
  "deno.lock",
  "docs",
  "findings",
  "main.ts",
  "src",
  "tests",
];

/** Made by tools, never committed (.gitignore), so they may lie there. */
const IGNORED = [".git", "node_modules", "dist", "coverage"];

Deno.test("the top level holds only what was agreed", async () => {
  // With git: what is committed or about to be. In an unpacked archive: what lies there.
  const names = exists(`${ROOT}/.git`)
    ? (await run("git", ["ls-files"], { cwd: ROOT })).stdout.split("\n").map((path) => path.split("/")[0])
    : [...Deno.readDirSync(ROOT)].map((entry) => entry.name);
  const strange = [...new Set(names)].filter((name) =>
    name !== "" && ![...TOP_LEVEL, ...IGNORED].includes(name)
  );
  deepStrictEqual(
    strange,
    [],
    `move these, or agree on them in tests/repo/top_level_test.ts: ${strange.join(", ")}`,
  );
});
