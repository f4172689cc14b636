/** What the compiled executable is to reach against nutcracker and others in the same run, and whether a run has reached it. */
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
  /** Whose figure it is; unless said, Ringmaster's with one worker. */
  of?: SubjectName;
  /** What it is compared with; unless said, with nutcracker. */
  against?: SubjectName;
  /** "most": at most the limit. */
  side: "most" | "least";
}

const UNPIPELINED = /^(get|set)-(3b|1k)-c(50|500)-p1$/;
const PIPELINED = /^(memcached-)?(get|set)-(3b|1k)-c50-p16$/;
const MEMCACHED = /^memcached-(get|set)-(3b|1k)-c50-p1$/;
const OF_10 = /^m(get|set)10-[28]servers$/;
const OF_100 = /^m(get|set)100-[28]servers$/;
const TWO = /^(get|set)-3b-c50-p1$/;

/** What is wanted of CPU and requests/s. */
function costs(what: string, cases: RegExp, cpu: number, rps: number, against?: SubjectName): Target[] {
  return [
    { what: `CPU per request, ${what}`, cases, metric: "cpuUs", limit: cpu, side: "most", against },
    { what: `requests/s, ${what}`, cases, metric: "rps", limit: rps, side: "least", against },
  ];
}

function cpu(what: string, cases: RegExp, limit: number, against?: SubjectName, of?: SubjectName): Target {
  return { what: `CPU per request, ${what}`, cases, metric: "cpuUs", limit, side: "most", against, of };
}

function tail(what: string, cases: RegExp, limit: number, against?: SubjectName): Target {
  return { what: `p99, ${what}`, cases, metric: "p99Ms", limit, side: "most", against };
}

const TARGETS: readonly Target[] = [
  ...costs("unpipelined, 3 B and 1 KiB", UNPIPELINED, 0.65, 1.15),
  ...costs("unpipelined, 3 B and 1 KiB, against predixy", UNPIPELINED, 1, 1, "predixy"),
  cpu("unpipelined, against the floor", UNPIPELINED, 1.2, "floor"),
  tail("unpipelined, 3 B and 1 KiB", UNPIPELINED, 0.9),
  ...costs("pipeline 16", PIPELINED, 0.22, 1.5),
  cpu("pipeline 16, against predixy", PIPELINED, 0.7, "predixy"),
  cpu("16 KiB", /^(memcached-)?(get|set)-16k-c50-p1$/, 0.9),
  cpu("1 MiB", /^(get|set)-1m-c(1|10)-p1$/, 0.75),
  ...costs("MGET and MSET of 10", OF_10, 0.6, 1.2),
  ...costs("MGET and MSET of 100", OF_100, 0.45, 1.8),
  cpu("two workers, against one", TWO, 1.08, "ringmaster", "two-workers"),
  cpu("two workers, against predixy's two threads", TWO, 1, "predixy-two", "two-workers"),
  ...costs("memcached, unpipelined", MEMCACHED, 0.75, 1.2),
  cpu("memcached, unpipelined, against memcached's proxy", MEMCACHED, 0.9, "memcached-proxy"),
  tail("memcached, unpipelined, against memcached's proxy", MEMCACHED, 1, "memcached-proxy"),
  tail("at half of nutcracker's peak", /^half-/, 0.7),
  {
    what: "p99.9, at half of nutcracker's peak",
    cases: /^half-/,
    metric: "p999Ms",
    limit: 0.7,
    side: "most",
  },
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
      const of = target.of ?? subject;
      const values = valuesOf(result, of, target.metric);
      const found = target.absolute && values.length > 0
        ? spread(values)
        : ratioOf(result, of, target.against ?? run.baseline, target.metric);
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
