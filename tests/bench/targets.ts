/** What the compiled executable is to reach against nutcracker in the same run, and whether a run has reached it. */
import { type Metric, ratioOf, type Run, valuesOf } from "./results.ts";
import { type SubjectName } from "./stand.ts";
import { type Spread, spread } from "./stats.ts";

/** Medians of the pairs' ratios. */
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

const TARGETS: readonly Target[] = [
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

/** One target and case: reached or not, with the figure. */
export interface Judged {
  target: string;
  /** The case's name. */
  case: string;
  side: "most" | "least";
  /** A ratio, or MiB if absolute. */
  limit: number;
  absolute: boolean;
  /** In the unit of limit, of the median pair and of the lowest and highest. */
  found: Spread;
  reached: boolean;
}

/** Null when this run compares other things than the targets do. */
export function judge(run: Run): { subject: SubjectName; judged: Judged[] } | null {
  const subject = (["ringmaster", "bun", "deno"] as const).find((name) => run.subjects.includes(name));
  if (run.baseline !== "nutcracker" || subject === undefined) return null;
  const judged: Judged[] = [];
  for (const target of TARGETS) {
    for (const result of run.results) {
      if (!target.cases.test(result.case.name)) continue;
      const values = valuesOf(result, subject, target.metric);
      const found = target.absolute && values.length > 0
        ? spread(values)
        : ratioOf(result, subject, target.against ?? run.baseline, target.metric);
      if (found === null) continue;
      const unit = target.absolute ? MIB : 1;
      judged.push({
        target: target.what,
        case: result.case.name,
        side: target.side,
        limit: target.limit / unit,
        absolute: target.absolute === true,
        found: { median: found.median / unit, min: found.min / unit, max: found.max / unit },
        reached: target.side === "most" ? found.median <= target.limit : found.median >= target.limit,
      });
    }
  }
  return { subject, judged };
}
