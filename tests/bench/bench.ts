/**
 * `deno task bench`: the proxy against nutcracker, in pairs, with the answers checked while measuring.
 *
 *   for each case:  warm up A, B;  then A B A B A B …;  ratio pair by pair;  median and spread
 *
 * Goals: a figure that means something on a shared, noisy machine (only pairs in the same run are compared; CPU per
 * request beside requests/s), and that anybody can repeat with one command. Not a goal: absolute peaks.
 * See tests/bench/README.md for the cases and the tools that make the load.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { run } from "../lib/process.ts";
import { compiled, exists, ROOT, which } from "../lib/repo.ts";
import { type Case, CASES } from "./cases.ts";
import { buildC, compiler, COMPILER_HINT } from "./compiler.ts";
import { chooseCores, type Cores, pin } from "./cores.ts";
import { drive, fill, measure, type Plan } from "./measure.ts";
import { report } from "./report.ts";
import { type CaseResult, type Run } from "./results.ts";
import { PEERS } from "./peers.ts";
import { type Programs, Stand, type Subject, type SubjectName, SUBJECTS } from "./stand.ts";
import { fileName, serialize, summarize, type Summary } from "./summary.ts";
import { svg } from "./svg.ts";
import { canTrace, countSyscalls } from "./syscalls.ts";

const HELP = `deno task bench [options]

  --pairs=N          pairs a case (7)
  --only=REGEX       only cases whose name matches; --list prints all names
  --full             the whole matrix, not only the default set (hours)
  --subjects=A,B,…   of ${SUBJECTS.join(", ")} (ringmaster,nutcracker)
  --base=PATH        another ringmaster executable, --predixy=PATH, --memcached-proxy=PATH (a memcached that can
                     be a proxy), --haproxy=PATH, --predixy-two=PATH: a subject more each; README.md says how to
                     get them
  --seconds=S        about how long one run of a case takes (1)
  --pin              each subject on a core of its own, load and servers on the others
  --no-syscalls      leave out the run under strace
  --json=FILE        write every pair's figures
  --svg=FILE         draw them
  --keep             keep the figures as tests/bench/results/DATE-COMMIT.json
  --show=FILE        print a kept file as tables, and stop
  --smoke            one pair, few requests, a case of each kind: does it still work?
  --list             print the cases' names and stop
`;

/** The subjects that are given by their paths. */
const PROGRAMS = [...PEERS, "haproxy"] as const;

/** They know no cluster, or are no proxy. */
const CLUSTERLESS: readonly SubjectName[] = ["nutcracker", "haproxy", "direct", "floor", "memcached-proxy"];

/** Where runs are kept. */
export const RESULTS = `${ROOT}/tests/bench/results`;

/** One case of each kind, for --smoke. */
const SMOKE = [
  "get-3b-c50-p1",
  "set-16k-c50-p1",
  "set-1m-c1-p1",
  "incr-c50-p16",
  "lpush-c50-p1",
  "mget10-2servers",
]
  .concat([
    "mset10-8servers",
    "half-get-3b-c50",
    "memcached-get-3b-c50-p16",
    "memcached-set-1k-c50-p1",
    "idle10k-get-3b-c100",
  ]);

interface Options {
  pairs: number;
  seconds: number;
  smoke: boolean;
  /** Null: not pinned. */
  cores: Cores | null;
  syscalls: boolean;
  cases: readonly Case[];
  subjects: SubjectName[];
  programs: Programs;
  baseline: SubjectName;
  json?: string;
  svg?: string;
  keep: boolean;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

export async function main(args: string[]): Promise<number> {
  const options = parse(args);
  if (typeof options === "number") return options;
  if (options.subjects.includes("ringmaster")) await compiled();
  const found: Run = { ...await circumstances(args, options), results: [] };

  await using fixture = new Fixture();
  const { cores } = options;
  // The servers and the loads inherit it.
  if (cores !== null) await pin(Deno.pid, cores.others);
  const stand = new Stand(fixture, cores?.subject ?? null, options.programs);
  const loadProgram = compiler() !== null && options.cases.some((test) => test.kind === "load")
    ? await buildC("load", fixture.dir)
    : null;
  for (const test of options.cases) {
    const result = await runCase(test, options, stand, loadProgram, fixture.dir);
    found.results.push(result);
    console.error(progress(result, found));
  }

  const summary = summarize(found);
  console.log(report(summary));
  if (options.json !== undefined) {
    await Deno.writeTextFile(options.json, JSON.stringify(found, null, 1) + "\n");
  }
  if (options.svg !== undefined) await Deno.writeTextFile(options.svg, svg(found));
  if (options.keep) {
    await Deno.mkdir(RESULTS, { recursive: true });
    const path = `${RESULTS}/${fileName(summary, (name) => exists(`${RESULTS}/${name}`))}`;
    await Deno.writeTextFile(path, serialize(summary));
    console.error(`kept as ${path}: NOTEBOOK.md is for what it means`);
  }
  const failed = found.results.filter((result) => result.error !== undefined);
  for (const result of failed) console.error(`FAILED ${result.case.name}: ${result.error}`);
  return failed.length === 0 ? 0 : 1;
}

/** The options, or an exit code when there is nothing more to do. */
function parse(args: string[]): Options | number {
  let values;
  try {
    values = parseArgs({
      args,
      options: {
        "pairs": { type: "string", default: "7" },
        ...Object.fromEntries(PROGRAMS.map((name) => [name, { type: "string" as const }])),
        "seconds": { type: "string", default: "1" },
        "only": { type: "string" },
        "full": { type: "boolean", default: false },
        "subjects": { type: "string", default: "ringmaster,nutcracker" },
        "pin": { type: "boolean", default: false },
        "no-syscalls": { type: "boolean", default: false },
        "json": { type: "string" },
        "svg": { type: "string" },
        "keep": { type: "boolean", default: false },
        "show": { type: "string" },
        "smoke": { type: "boolean", default: false },
        "list": { type: "boolean", default: false },
        "help": { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.show !== undefined) {
    console.log(report(JSON.parse(Deno.readTextFileSync(values.show)) as Summary));
    return 0;
  }
  const only = values.only === undefined ? null : new RegExp(values.only);
  const chosen = (test: Case) => {
    if (only !== null && !only.test(test.name)) return false;
    if (values.smoke) return only !== null || SMOKE.includes(test.name);
    // A name asked for is run whether or not it is in the default set.
    return values.full || only !== null || test.standard;
  };
  const cases = CASES.filter(chosen);
  if (values.list) {
    for (const test of cases) console.log(`${test.name.padEnd(32)} ${test.label}`);
    return 0;
  }
  const programs: Programs = {};
  for (const name of PROGRAMS) {
    const path = (values as Record<string, unknown>)[name];
    if (typeof path !== "string") continue;
    if (!path.startsWith("/") || !exists(path)) {
      console.error(`--${name}=${path}: no such program; give its full path`);
      return 2;
    }
    programs[name] = path;
  }
  const named = values.subjects.split(",") as SubjectName[];
  const subjects = [...named, ...PROGRAMS.filter((name) => name in programs && !named.includes(name))];
  const homeless = subjects.filter((name) =>
    (PEERS as readonly string[]).includes(name) && !(name in programs)
  );
  if (homeless.length > 0) {
    console.error(`where is ${homeless[0]}? --${homeless[0]}=PATH says it`);
    return 2;
  }
  const unknown = subjects.filter((name) => !SUBJECTS.includes(name));
  const pairs = values.smoke ? 1 : Number(values.pairs);
  const seconds = Number(values.seconds);
  if (unknown.length > 0 || cases.length === 0 || !(pairs >= 1) || !(seconds > 0)) {
    console.error(
      unknown.length > 0 ? `unknown subject ${unknown.join(", ")}` : `nothing to run: see --list\n`,
      `\n\n${HELP}`,
    );
    return 2;
  }
  const absent = subjects.filter((name) =>
    (name === "nutcracker" || name === "haproxy") && !(name in programs) && which(name) === null
  );
  if (subjects.includes("floor") && compiler() === null) {
    console.error(COMPILER_HINT);
    return 1;
  }
  if (absent.length > 0) {
    console.error(`not installed: apt-get install -y ${absent.join(" ")}`);
    return 1;
  }
  return {
    pairs,
    seconds,
    cases,
    subjects,
    programs,
    smoke: values.smoke,
    cores: values.pin ? chooseCores() : null,
    syscalls: !values["no-syscalls"],
    baseline: (["nutcracker", "hashed"] as const).find((name) => subjects.includes(name)) ?? subjects.at(-1)!,
    json: values.json,
    svg: values.svg,
    keep: values.keep,
  };
}

async function runCase(
  test: Case,
  options: Options,
  stand: Stand,
  loadProgram: string | null,
  dir: string,
): Promise<CaseResult> {
  const result: CaseResult = { case: test, requests: 0, rate: 0, subjects: {} };
  if (test.kind === "load" && loadProgram === null) return { ...result, skipped: COMPILER_HINT };
  try {
    const subjects: Subject[] = [];
    for (const name of options.subjects) {
      if (!suits(name, test)) continue;
      const subject = await stand.subject(name, test);
      if (name !== "floor") await fill(subject, test.size);
      subjects.push(subject);
      result.subjects[name] = { runs: [] };
    }
    const baseline = subjects.find((subject) => subject.name === options.baseline) ?? subjects[0];
    const idleClients = options.smoke ? 100 : 10_000;
    const plan: Plan = {
      requests: firstRequests(test, options.smoke),
      rate: 0,
      idleClients,
      loadProgram,
      dir,
    };
    if (!options.smoke) {
      // The warm-up (compilers must have seen the case) tells how many requests take about `seconds`.
      let peak = 0;
      for (const subject of subjects) {
        const { rps } = await drive(test, subject, plan);
        if (subject === baseline) peak = rps;
      }
      if (test.halfRate) {
        plan.requests = Math.ceil(peak * options.seconds);
        peak = (await drive(test, baseline, plan)).rps / 2;
        plan.rate = peak;
      }
      plan.requests = Math.max(Math.ceil(peak * options.seconds), test.clients * test.pipeline, 100);
    } else if (test.halfRate) plan.rate = 2000;
    result.requests = plan.requests;
    result.rate = plan.rate;

    for (let pair = 0; pair < options.pairs; pair++) {
      for (const subject of subjects) {
        result.subjects[subject.name]!.runs.push(await measure(test, subject, plan));
      }
    }
    if (options.syscalls && test.kind === "redis" && canTrace()) {
      for (const subject of subjects) {
        const requests = Math.max(
          Math.min(plan.requests, 10_000 * test.pipeline),
          test.clients * test.pipeline,
        );
        const work = () => drive(test, subject, { ...plan, requests });
        result.subjects[subject.name]!.syscalls = await countSyscalls(subject.pid, dir, requests, work);
      }
    }
  } catch (error) {
    result.error = (error as Error).message;
  }
  return result;
}

function suits(name: SubjectName, test: Case): boolean {
  // It keeps two sockets a client, which 10,000 clients and the usual file limit do not allow.
  if (name === "haproxy") return test.kind !== "idle";
  if (test.topology === "cluster3") return !CLUSTERLESS.includes(name);
  if (name === "hashed") return false;
  if (test.binary) return name === "ringmaster" || name === "base";
  if (name === "predixy") return test.topology !== "memcached2";
  if (name === "memcached-proxy") return test.topology === "memcached2";
  if (name !== "floor") return true;
  const simple = test.kind === "redis" && (test.op === "get" || test.op === "set");
  return simple && test.pipeline === 1 && test.size <= 1024;
}

/** Requests of the warm-up: about a third of a second on a machine of today. */
function firstRequests(test: Case, smoke: boolean): number {
  const expectedUs = 25 / test.pipeline + 1 + test.size * test.keys / 1000 + (test.keys - 1) * 4;
  const requests = Math.ceil((smoke ? 5000 : 300_000) / expectedUs);
  return Math.max(requests, test.clients * test.pipeline, 20);
}

async function circumstances(args: string[], options: Options): Promise<Omit<Run, "results">> {
  const line = async (program: string, ...rest: string[]) => {
    const path = which(program);
    if (path === null) return `${program} absent`;
    const { stdout, stderr } = await run(path, rest, { cwd: ROOT });
    return (stdout + stderr).trim().split("\n")[0];
  };
  const dirty =
    (await run("git", ["status", "--porcelain", "src", "main.ts"], { cwd: ROOT })).stdout.trim() !== "";
  const model = /model name\s*: (.*)/.exec(await Deno.readTextFile("/proc/cpuinfo").catch(() => ""))?.[1] ??
    "processor unknown";
  const version = async (program: string, ...rest: string[]) =>
    /\d+\.\d+\.\d+/.exec(await line(program, ...rest))?.[0];
  const bun = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`)).imports.bun.split("@").at(-1);
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    commit: await line("git", "rev-parse", "--short", "HEAD") + (dirty ? " with changes" : ""),
    machine: `${navigator.hardwareConcurrency} cores, ${model}, Linux ${Deno.osRelease()}`,
    versions: [
      `Bun ${bun}`,
      `Deno ${Deno.version.deno}`,
      `nutcracker ${await version("nutcracker", "-V")}`,
      `redis-server ${await version("redis-server", "--version")}`,
      `memcached ${await version("memcached", "-V")}`,
    ],
    command: `deno task bench ${args.join(" ")}`.trim(),
    pinned: options.cores !== null,
    pairs: options.pairs,
    subjects: options.subjects,
    baseline: options.baseline,
  };
}

/** One line on standard error while it runs. */
function progress(result: CaseResult, found: Run): string {
  const figures = found.subjects.map((name) => {
    const runs = result.subjects[name]?.runs ?? [];
    if (runs.length === 0) return `${name} –`;
    const middle = (pick: (run: typeof runs[0]) => number) =>
      runs.map(pick).toSorted((a, b) => a - b)[runs.length >> 1];
    return `${name} ${middle((run) => run.rps).toFixed(0)}/s ${middle((run) => run.cpuUs).toFixed(2)} µs`;
  });
  const state = result.error !== undefined ? "FAILED" : result.skipped !== undefined ? "skipped" : "";
  return `${result.case.name.padEnd(28)} ${figures.join(" | ")} ${state}`;
}
