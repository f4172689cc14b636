/**
 * Redis' own test suite (Tcl, from Debian's source package) against a redis-server directly and against the same
 * redis-server behind a pool of one, test by test.
 *
 *   test_helper.tcl --host --port ──► redis-server                        "direct"
 *                                └──► ringmaster ──► redis-server         "through"
 *
 * A test that passes directly and fails through the proxy is a bug, or has its reason in expected.ts; README.md has
 * the table. Not part of `deno task test`: it needs the source package.
 *
 *   deno run -A tests/real/redis_suite/run.ts --source DIR [--unit unit/type/list]... [--only direct|through]
 *     [--runtime deno|bun|compiled] [--tags TAGS] [--singledb] [--details] [--readme]
 *     [--cache FILE]   direct outcomes are kept there and not measured again
 */
import { parseArgs } from "node:util";
import { Fixture } from "../../lib/fixture.ts";
import { need, ROOT } from "../../lib/repo.ts";
import { poolYml, type Runtime } from "../../lib/servers.ts";
import { EXPECTED } from "./expected.ts";
import { UNITS } from "./units.ts";

/** A test that has not moved for this long hangs: it counts as failed, and its unit is run again without it. */
const HANG_SECONDS = 60;

interface Outcome {
  passed: string[];
  /** Name and what the suite said. */
  failed: Map<string, string>;
  ignored: number;
}

const { values: options } = parseArgs({
  args: Deno.args,
  options: {
    source: { type: "string" },
    unit: { type: "string", multiple: true },
    only: { type: "string" },
    runtime: { type: "string", default: "compiled" },
    tags: { type: "string", default: "-slow" },
    singledb: { type: "boolean", default: false },
    details: { type: "boolean", default: false },
    readme: { type: "boolean", default: false },
    cache: { type: "string" },
    all: { type: "boolean", default: false },
  },
});
if (options.source === undefined) {
  console.error("--source DIR: the unpacked source of redis 7.0 (apt-get source redis)");
  Deno.exit(2);
}
const source: string = options.source;
const tclsh = need("tclsh");
let running: Fixture | null = null;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await running?.[Symbol.asyncDispose]();
    Deno.exit(130);
  });
}
await main();

async function main(): Promise<void> {
  const units = options.unit ?? UNITS;
  const rows: string[] = [];
  const unexpected: string[] = [];
  const reasons: string[] = [];
  const sums = { direct: 0, directFailed: 0, through: 0, listed: 0 };
  for (const unit of units) {
    const direct = options.only === "through" ? null : await runDirect(unit);
    const through = options.only === "direct" ? null : await runUnit(unit, true);
    const wrong: string[] = [];
    let listed = (direct?.passed ?? []).filter((name) => reasonFor(unit, name) !== null).length;
    reasons.push(
      ...reasonRows(unit, (direct?.passed ?? []).filter((name) => reasonFor(unit, name) !== null)),
    );
    if (options.all) listed = 0;
    for (const [name, said] of through?.failed ?? []) {
      if (direct !== null && !direct.passed.includes(name)) continue;
      if (reasonFor(unit, name) !== null) listed++;
      else wrong.push(options.details ? `${name}\n      ${said.replaceAll("\n", "\n      ")}` : name);
    }
    for (const name of through === null ? [] : direct?.passed ?? []) {
      if (through!.passed.includes(name) || through!.failed.has(name) || reasonFor(unit, name) !== null) {
        continue;
      }
      wrong.push(`${name} (did not run)`);
    }
    unexpected.push(...wrong.map((name) => `${unit}: ${name}`));
    sums.direct += direct?.passed.length ?? 0;
    sums.directFailed += direct?.failed.size ?? 0;
    sums.through += through?.passed.length ?? 0;
    sums.listed += listed;
    rows.push(
      `| ${unit} | ${count(direct)} | ${count(through)} | ${listed} | ${wrong.length} |`,
    );
    console.log(rows.at(-1));
    for (const name of wrong) console.log(`    FAILS THROUGH: ${name}`);
    if (direct !== null) {
      for (const name of direct.failed.keys()) console.log(`    fails directly: ${name}`);
    }
  }
  rows.push(`| all | ${sums.direct} | ${sums.through} | ${sums.listed} | ${unexpected.length} |`);
  console.log(rows.at(-1));
  if (options.readme) writeReadme(rows, reasons);
  Deno.exit(unexpected.length === 0 ? 0 : 1);
}

/** Direct outcomes depend on the package only, so they can be kept. */
async function runDirect(unit: string): Promise<Outcome> {
  if (options.cache === undefined) return await runUnit(unit, false);
  let kept: Record<string, { passed: string[]; failed: [string, string][]; ignored: number }> = {};
  try {
    kept = JSON.parse(Deno.readTextFileSync(options.cache));
  } catch {
    // the first run
  }
  const known = kept[unit];
  if (known !== undefined) return { ...known, failed: new Map(known.failed) };
  const outcome = await runUnit(unit, false);
  kept[unit] = { ...outcome, failed: [...outcome.failed] };
  Deno.writeTextFileSync(options.cache, JSON.stringify(kept));
  return outcome;
}

function count(outcome: Outcome | null): string {
  return outcome === null ? "–" : String(outcome.passed.length);
}

function reasonFor(unit: string, name: string): string | null {
  for (const row of EXPECTED) {
    if (row.unit !== unit) continue;
    if (typeof row.test === "string" ? row.test === name : row.test.test(name)) return row.reason;
  }
  return null;
}

/** Runs one unit against a fresh server; again without a test that hangs, until it comes to its end. */
async function runUnit(unit: string, proxied: boolean): Promise<Outcome> {
  const outcome: Outcome = { passed: [], failed: new Map(), ignored: 0 };
  const hanging: string[] = [];
  const listed = proxied && !options.all
    ? EXPECTED.filter((row) => row.unit === unit).map((row) =>
      typeof row.test === "string" ? row.test : `/${row.test.source}`
    )
    : [];
  for (let attempt = 0; attempt < 20; attempt++) {
    await using f = new Fixture();
    running = f;
    const redis = await f.redis({
      port: 0,
      args: [
        "--enable-protected-configs",
        "yes",
        "--enable-debug-command",
        "yes",
        "--enable-module-command",
        "yes",
      ],
    });
    let port = redis.port;
    if (proxied) {
      const yml = poolYml({
        alpha: { servers: [redis], databases: 16, dangerous_commands: "allow", max_request_size: "1gb" },
      });
      port = (await f.proxy(options.runtime as Runtime, yml)).port;
    }
    const hung = await runOnce(unit, port, [...listed, ...hanging], outcome);
    if (hung === null) break;
    outcome.failed.set(hung, `no progress for ${HANG_SECONDS} s`);
    hanging.push(hung);
  }
  return outcome;
}

/** @returns the test that hung, or null */
async function runOnce(
  unit: string,
  port: number,
  skipped: readonly string[],
  outcome: Outcome,
): Promise<string | null> {
  outcome.passed = [];
  outcome.ignored = 0;
  for (const name of outcome.failed.keys()) if (!skipped.includes(name)) outcome.failed.delete(name);
  const args = ["tests/test_helper.tcl", "--host", "127.0.0.1", "--port", String(port), "--durable"];
  args.push("--single", unit, "--tags", options.tags, "--timeout", String(HANG_SECONDS));
  if (options.singledb) args.push("--singledb");
  for (const name of skipped) args.push("--skiptest", name);
  const { stdout, stderr } = await new Deno.Command(tclsh, {
    args,
    cwd: source,
    env: { TERM: "dumb" },
    stdin: "null",
  }).output();
  const text = new TextDecoder("latin1").decode(stdout) + new TextDecoder("latin1").decode(stderr);
  if (Deno.env.get("SUITE_OUTPUT") !== undefined) console.log(text);
  let hung: string | null = null;
  let failing: string | null = null;
  for (const line of text.split("\n")) {
    const ok = /^\[ok\]: (.*) \(\d+ ms\)$/.exec(line);
    const bad = /^\[err\]: (.*?)(?: in tests\/unit\S*)?$/.exec(line);
    const stuck = /=> \(IN PROGRESS\) (.*)$/.exec(line);
    if (/^\[(testing|ok|ignore|skip|done|ready|\d+\/)/.test(line) || /^\s+The End/.test(line)) failing = null;
    if (ok !== null) outcome.passed.push(ok[1]!);
    else if (stuck !== null) hung = stuck[1]!;
    else if (bad !== null && !/^clients state report/.test(bad[1]!)) {
      failing = bad[1]!;
      outcome.failed.set(failing, "");
    } else if (/^\[exception\]/.test(line)) {
      failing = "(the unit itself)";
      outcome.failed.set(failing, line);
    } else if (/^\[ignore\]/.test(line)) outcome.ignored++;
    else if (failing !== null && line !== "") {
      const said = outcome.failed.get(failing)!;
      if (said.length < 2000) outcome.failed.set(failing, said === "" ? line : `${said}\n${line}`);
    }
  }
  // A name that passed once and failed once has failed.
  outcome.passed = outcome.passed.filter((name) => !outcome.failed.has(name));
  return hung;
}

/** Puts the counts and the list of reasons into README.md. */
function writeReadme(rows: readonly string[], listed: readonly string[]): void {
  const file = `${ROOT}/tests/real/redis_suite/README.md`;
  let text = Deno.readTextFileSync(file);
  const counts = [
    "| unit | passed directly | passed through | listed below | neither |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ];
  const reasons = ["| unit | tests | reason |", "| --- | --- | --- |", ...listed];
  for (const [name, lines] of [["counts", counts], ["reasons", reasons]] as const) {
    const begin = `<!-- ${name} -->`;
    const end = `<!-- end of ${name} -->`;
    const before = text.slice(0, text.indexOf(begin) + begin.length);
    text = `${before}\n\n${lines.join("\n")}\n\n${text.slice(text.indexOf(end))}`;
  }
  Deno.writeTextFileSync(file, text);
}

/** One row for each unit and reason, with the names of the tests. */
function reasonRows(unit: string, names: readonly string[]): string[] {
  const byReason = Map.groupBy(names, (name) => reasonFor(unit, name)!);
  return [...byReason].map(([reason, tests]) =>
    `| ${unit} | ${[...new Set(tests)].map((name) => name.replaceAll("|", "\\|")).join("; ")} | ${reason} |`
  );
}
