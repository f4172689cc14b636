/** The benchmark still works: one short pair of a case of each kind, answers checked, all outputs written. */
import { match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { run } from "../lib/process.ts";
import { compiled, DENO, ROOT } from "../lib/repo.ts";

Deno.test("deno task bench --smoke measures every kind of case and finds no wrong answer", async () => {
  await using f = new Fixture();
  await compiled();
  const [json, svg] = [`${f.dir}/bench.json`, `${f.dir}/bench.svg`];
  const args = [
    "run",
    "-A",
    "--no-check",
    "tests/bench/bench.ts",
    "--smoke",
    `--json=${json}`,
    `--svg=${svg}`,
  ];
  const { code, stdout, stderr } = await run(DENO, args, { cwd: ROOT });
  strictEqual(code, 0, stdout + stderr);
  match(stdout, /Targets: \d+ of \d+ reached by ringmaster/);
  const { results } = JSON.parse(await Deno.readTextFile(json));
  ok(results.length >= 10, `${results.length} cases`);
  for (const result of results) {
    if (result.skipped !== undefined) continue;
    for (const subject of ["ringmaster", "nutcracker"]) {
      ok(result.subjects[subject].runs[0].cpuUs > 0, `${result.case.name} has no figures of ${subject}`);
    }
  }
  match(await Deno.readTextFile(svg), /^<svg .*<\/svg>\n$/s);
});

Deno.test("deno task bench refuses an unknown subject and an unknown option", async () => {
  for (const arg of ["--subjects=nginx", "--pears=7"]) {
    const { code, stderr } = await run(DENO, ["run", "-A", "--no-check", "tests/bench/bench.ts", arg], {
      cwd: ROOT,
    });
    strictEqual(code, 2);
    match(stderr, /unknown/i);
  }
});

Deno.test("deno task bench:core measures the core of both protocols and finds no wrong answer", async () => {
  const args = ["run", "-A", "--no-check", "tests/bench/core.ts", "--slices=1", "--only=-2servers"];
  const { code, stdout, stderr } = await run(DENO, args, { cwd: ROOT });
  strictEqual(code, 0, stderr);
  match(stdout, /^mget10-2servers +\d+ +\d+$/m);
  match(stdout, /^memcached-get10-2servers +\d+ +\d+$/m);
});
