/**
 * All unit, property and repository tests in two processes instead of one for each file: `deno task ok`.
 *
 *   first.ts ──► part 0 of 2 ──► every other file of FOLDERS, imported into one process
 *   second.ts ─► part 1 of 2 ──► the rest
 *
 * A process that starts compiles the project anew: with a hundred files that took longer than their tests. A test that fails is
 * named with its own file all the same. What has to be alone in its process belongs elsewhere. Tests that are `thorough`, and
 * four fifths of each property's runs, are left to `deno task test` (../lib/runs.ts).
 */
import { filesUnder, ROOT } from "../lib/repo.ts";

const FOLDERS = ["tests/unit", "tests/property", "tests/repo"];

/** Registers the tests of the `which`th of `parts` parts. */
export async function part(which: number, parts: number): Promise<void> {
  const files = FOLDERS.flatMap((folder) => filesUnder(folder, (path) => path.endsWith("_test.ts"))).sort();
  for (const [i, file] of files.entries()) if (i % parts === which) await import(`${ROOT}/${file}`);
}
