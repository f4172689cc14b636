/** The kept runs of the benchmark: whole, named for what they are, and in the notebook; the prose holds no rows of results. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { report } from "../bench/report.ts";
import { type Run } from "../bench/results.ts";
import { fileName, serialize, summarize, type Summary } from "../bench/summary.ts";
import { CASES } from "../bench/cases.ts";
import { filesUnder, ROOT } from "../lib/repo.ts";

const FOLDER = "tests/bench/results";
const read = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);

Deno.test("tests/bench/results: each run is whole, is named for its day and commit, and is printed as it was kept", () => {
  const files = filesUnder(FOLDER);
  ok(files.length >= 6);
  const notebook = read("tests/bench/NOTEBOOK.md");
  for (const path of files) {
    const name = path.slice(FOLDER.length + 1);
    const text = read(path);
    const summary: Summary = JSON.parse(text);
    strictEqual(serialize(summary), text, `${path}: not as --keep writes it`);
    const stem = fileName(summary, () => false).slice(0, -".json".length);
    ok(name === `${stem}.json` || name.startsWith(`${stem}-`), `${path} is of ${stem}`);
    ok(notebook.includes(`results/${name}`), `NOTEBOOK.md does not name ${name}`);
    const markdown = report(summary);
    ok(!/NaN|undefined|null/.test(markdown), `${path}: a figure is absent`);
    ok(summary.rows.length > 0);
  }
});

Deno.test("tests/bench/NOTEBOOK.md is prose: tables of results are in results/", () => {
  deepStrictEqual(read("tests/bench/NOTEBOOK.md").split("\n").filter((line) => /^\s*\|/.test(line)), []);
});

Deno.test("summarize() takes the median, the spread and the ratio of each pair, as the report shows them", () => {
  const test = CASES.find((each) => each.name === "get-3b-c50-p1")!;
  const figures = (rps: number, cpuUs: number) => ({
    rps,
    cpuUs,
    p50Ms: 0.1234,
    p99Ms: 1.5,
    p999Ms: 12.34,
    residentBytes: 50 * 1024 * 1024,
  });
  const run = {
    date: "2026-01-02 03:04",
    commit: "abcdef0 with changes",
    machine: "2 cores",
    versions: ["Bun 1.4.5"],
    command: "deno task bench",
    pinned: false,
    pairs: 3,
    subjects: ["ringmaster", "nutcracker"],
    baseline: "nutcracker",
    results: [{
      case: test,
      requests: 1000,
      rate: 0,
      subjects: {
        ringmaster: { runs: [figures(200, 5), figures(300, 6), figures(100, 7)] },
        nutcracker: { runs: [figures(100, 10), figures(100, 10), figures(100, 10)] },
      },
    }, { case: test, requests: 0, rate: 500.4, subjects: {}, error: "wrong\nanswer" }],
  } as unknown as Run;
  const summary: Summary = JSON.parse(serialize(summarize(run)));
  strictEqual(
    fileName(summary, (name) => name === "2026-01-02-abcdef0-with-changes.json"),
    "2026-01-02-abcdef0-with-changes-2.json",
  );
  deepStrictEqual(summary, summarize(run));
  const text = report(summary);
  ok(
    text.includes(
      `| ${test.label} | ringmaster | 200 (100–300) | 2.00 (1.00–3.00) | 6.00 (5.00–7.00) | 0.60 (0.50–0.70) | 0.123 | 1.500 | 1.00 | 12.3 | 50 |  |`,
    ),
    text,
  );
  ok(text.includes("|  | nutcracker | 100 |  | 10.00 |  |"), text);
  ok(text.includes(`| ${test.label} (500/s) | **FAILED**: wrong answer |`), text);
  ok(
    text.includes(
      "| CPU per request, unpipelined, 3 B and 1 KiB | get-3b-c50-p1 | ≤ 0.65 × | 0.60 (0.50–0.70) | reached |",
    ),
  );
  ok(text.includes("Targets: 2 of 3 reached by ringmaster."), text);
});
