/** A run as Markdown: what was run and where, the table, and the verdict against the targets. */
import { type CaseResult, type Metric, ratioOf, type Run, valuesOf } from "./results.ts";
import { type SubjectName } from "./stand.ts";
import { type Spread, spread } from "./stats.ts";

/** What the compiled executable is to reach against nutcracker in the same run (medians of the pairs' ratios). */
interface Target {
  what: string;
  cases: RegExp;
  metric: Metric;
  /** A ratio; or an absolute limit. */
  limit: number;
  absolute?: boolean;
  /** What it is compared with; unless said, with nutcracker. */
  against?: SubjectName;
  /** "most": at most the limit. */
  side: "most" | "least";
}

const UNPIPELINED = /^(memcached-)?(get|set)-(3b|1k)-c50-p1$/;
const PIPELINED = /^(memcached-)?(get|set)-(3b|1k)-c50-p16$/;

export const TARGETS: readonly Target[] = [
  {
    what: "CPU per request, unpipelined, 3 B and 1 KiB",
    cases: /^(memcached-)?(get|set)-(3b|1k)-c(50|500)-p1$/,
    metric: "cpuUs",
    limit: 0.75,
    side: "most",
  },
  {
    what: "CPU per request against the floor",
    cases: /^(get|set)-(3b|1k)-c(50|500)-p1$/,
    metric: "cpuUs",
    limit: 1.2,
    side: "most",
    against: "floor",
  },
  { what: "CPU per request, pipeline 16", cases: PIPELINED, metric: "cpuUs", limit: 0.5, side: "most" },
  {
    what: "CPU per request, 16 KiB",
    cases: /^(memcached-)?(get|set)-16k-c50-p1$/,
    metric: "cpuUs",
    limit: 0.9,
    side: "most",
  },
  { what: "requests/s, 50 clients", cases: UNPIPELINED, metric: "rps", limit: 1.2, side: "least" },
  { what: "requests/s, pipeline 16", cases: PIPELINED, metric: "rps", limit: 1.5, side: "least" },
  { what: "requests/s, MGET and MSET", cases: /^m(get|set)\d+-/, metric: "rps", limit: 1.8, side: "least" },
  {
    what: "CPU per request, MGET and MSET",
    cases: /^m(get|set)\d+-/,
    metric: "cpuUs",
    limit: 0.5,
    side: "most",
  },
  { what: "p99 at half of nutcracker's peak", cases: /^half-/, metric: "p99Ms", limit: 1, side: "most" },
  { what: "p99.9 at half of nutcracker's peak", cases: /^half-/, metric: "p999Ms", limit: 1, side: "most" },
  {
    what: "resident memory with 10,000 idle clients, MiB",
    cases: /^idle10k-/,
    metric: "residentBytes",
    limit: 64 * 1024 * 1024,
    absolute: true,
    side: "most",
  },
];

const MIB = 1024 * 1024;

export function report(run: Run): string {
  return [heading(run), table(run), verdict(run)].join("\n\n") + "\n";
}

function heading(run: Run): string {
  return `## ${run.date}, commit ${run.commit}

\`\`\`
${run.command}
\`\`\`

${run.machine}. ${
    run.versions.join(", ")
  }. ${run.pairs} pairs; each figure is the median (min–max), each ratio is taken
pair by pair against ${run.baseline}. CPU is the proxy's user + system time per request in µs; latencies are in ms (of a batch
when pipelined); resident memory is at the end of the load; calls are system calls per request, by strace, in a run of their own. ${
    run.pinned
      ? "The subject has a core to itself, load and servers share the others."
      : "The system places the processes."
  }`;
}

function table(run: Run): string {
  const rows = [
    "| case | subject | requests/s | × | CPU µs | × | p50 | p99 | × | p99.9 | MiB | calls |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ];
  for (const result of run.results) {
    let label = result.case.label + (result.rate > 0 ? ` (${Math.round(result.rate)}/s)` : "");
    if (result.skipped !== undefined) {
      rows.push(`| ${label} | skipped: ${result.skipped} |${" |".repeat(10)}`);
    }
    for (const subject of run.subjects) {
      if (valuesOf(result, subject, "rps").length === 0) continue;
      rows.push(row(run, result, subject, label));
      label = "";
    }
    if (result.error !== undefined) {
      rows.push(`| ${label} | **FAILED**: ${oneLine(result.error)} |${" |".repeat(10)}`);
    }
  }
  return rows.join("\n");
}

function row(run: Run, result: CaseResult, subject: SubjectName, label: string): string {
  const cell = (metric: Metric, digits: number, unit = 1) =>
    show(spread(valuesOf(result, subject, metric)), digits, unit);
  const middle = (metric: Metric) => precise(spread(valuesOf(result, subject, metric)).median);
  const ratio = (metric: Metric) => {
    const found = ratioOf(result, subject, run.baseline, metric);
    return found === null ? "" : show(found, 2);
  };
  const calls = result.subjects[subject]?.syscalls;
  const cells = [
    label,
    subject,
    cell("rps", 0),
    ratio("rps"),
    cell("cpuUs", 2),
    ratio("cpuUs"),
    middle("p50Ms"),
    cell("p99Ms", 3),
    ratio("p99Ms"),
    middle("p999Ms"),
    (spread(valuesOf(result, subject, "residentBytes")).median / MIB).toFixed(0),
    calls === undefined ? "" : calls.perRequest.toFixed(2),
  ];
  return `| ${cells.join(" | ")} |`;
}

function show({ median, min, max }: Spread, digits: number, unit = 1): string {
  const text = (value: number) => (value / unit).toFixed(digits);
  return min === max ? text(median) : `${text(median)} (${text(min)}–${text(max)})`;
}

const precise = (value: number): string => value.toFixed(value < 10 ? 3 : 1);

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").replaceAll("|", "\\|").slice(0, 300);

/** One line a target and case: reached or not, with the figure. Empty when there is nothing to compare. */
export function verdict(run: Run): string {
  const subject = (["ringmaster", "bun", "deno"] as const).find((name) => run.subjects.includes(name));
  if (run.baseline !== "nutcracker" || subject === undefined) {
    return "No verdict: the targets compare ringmaster with nutcracker.";
  }
  const lines: string[] = [];
  let reached = 0, judged = 0;
  for (const target of TARGETS) {
    for (const result of run.results) {
      if (!target.cases.test(result.case.name)) continue;
      const values = valuesOf(result, subject, target.metric);
      const found = target.absolute && values.length > 0
        ? spread(values)
        : ratioOf(result, subject, target.against ?? run.baseline, target.metric);
      if (found === null) continue;
      const holds = target.side === "most" ? found.median <= target.limit : found.median >= target.limit;
      const unit = target.absolute ? MIB : 1;
      judged++;
      if (holds) reached++;
      lines.push(
        `| ${target.what} | ${result.case.name} | ${target.side === "most" ? "≤" : "≥"} ${
          target.limit / unit
        }${target.absolute ? "" : " ×"} | ${show(found, target.absolute ? 1 : 2, unit)} | ${
          holds ? "reached" : "**not reached**"
        } |`,
      );
    }
  }
  if (judged === 0) return "No verdict: no case of this run has a target.";
  return [
    `Targets: ${reached} of ${judged} reached by ${subject}.`,
    "",
    "| target | case | limit | found | |",
    "| --- | --- | ---: | ---: | --- |",
    ...lines,
  ].join("\n");
}
