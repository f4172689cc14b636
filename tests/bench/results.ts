/** What a run of the benchmark found, as `--json` writes it. */
import { type Case } from "./cases.ts";
import { type Figures } from "./measure.ts";
import { type SubjectName } from "./stand.ts";
import { ratios, type Spread } from "./stats.ts";
import { type Syscalls } from "./syscalls.ts";

export interface SubjectResult {
  /** One entry a pair, in order. */
  runs: Figures[];
  syscalls?: Syscalls;
}

export interface CaseResult {
  case: Case;
  requests: number;
  rate: number;
  subjects: Partial<Record<SubjectName, SubjectResult>>;
  /** A wrong answer or a failure; the figures up to then are kept. */
  error?: string;
  /** Why it was not run. */
  skipped?: string;
}

export interface Run {
  date: string;
  commit: string;
  machine: string;
  versions: string[];
  command: string;
  /** Each subject had a core to itself. */
  pinned: boolean;
  pairs: number;
  subjects: SubjectName[];
  /** What the others are compared with. */
  baseline: SubjectName;
  results: CaseResult[];
}

export type Metric = "rps" | "cpuUs" | "p50Ms" | "p99Ms" | "p999Ms" | "residentBytes";

export function valuesOf(result: CaseResult, subject: SubjectName, metric: Metric): number[] {
  return (result.subjects[subject]?.runs ?? []).map((run) => run[metric]);
}

/** Subject over baseline, pair by pair; null if either has no figures. */
export function ratioOf(
  result: CaseResult,
  subject: SubjectName,
  baseline: SubjectName,
  metric: Metric,
): Spread | null {
  const [a, b] = [valuesOf(result, subject, metric), valuesOf(result, baseline, metric)];
  const pairs = Math.min(a.length, b.length);
  return pairs === 0 || subject === baseline ? null : ratios(a.slice(0, pairs), b.slice(0, pairs));
}
