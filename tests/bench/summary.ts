/**
 * A run in the form that is kept: `results/DATE-COMMIT.json`, a line a row, with the figures of the report and no others.
 *
 *   Run (every pair, `--json`) ──► summarize() ──► Summary ──► serialize() ──► results/*.json
 *                                                     └──────► report.ts (Markdown)
 *
 * Figures are rounded as they are shown. Runs from before this form were converted from the tables they had, so what
 * those did not say is absent.
 */
import { ratioOf, type Run, valuesOf } from "./results.ts";
import { type SubjectName } from "./stand.ts";
import { type Spread, spread } from "./stats.ts";
import { judge, type Judged } from "./targets.ts";

/** One case and subject. */
export interface Row {
  /** As people read it, with the rate if it was fixed. */
  label: string;
  /** The name in cases.ts; absent if no case has it any more. */
  case?: string;
  subject: SubjectName;
  rps: Spread;
  /** Against the baseline, pair by pair; null for the baseline itself. So are the other ratios. */
  rpsRatio: Spread | null;
  /** User and system time per request. */
  cpuUs: Spread;
  cpuRatio: Spread | null;
  /** Median of the runs. */
  p50Ms: number;
  p99Ms: Spread;
  p99Ratio: Spread | null;
  p999Ms: number;
  /** Resident memory at the end of the load. */
  residentMib: number;
  /** System calls per request; null if they were not counted. */
  calls: number | null;
}

/** Why a case has no rows, or not all of them. */
export interface Absence {
  label: string;
  skipped?: string;
  /** A wrong answer or a failure. */
  failed?: string;
}

/** Figures that were taken beside the run, in words and columns of their own. */
export interface Table {
  title: string;
  columns: string[];
  rows: string[][];
}

export interface Summary extends Omit<Run, "results"> {
  rows: (Row | Absence)[];
  /** Null: this run compares other things than the targets do. */
  targets: { subject: SubjectName; judged: Judged[] } | null;
  tables?: Table[];
}

const MIB = 1024 * 1024;

export function summarize(run: Run): Summary {
  const { results, ...circumstances } = run;
  const rows: (Row | Absence)[] = [];
  for (const result of results) {
    const label = result.case.label + (result.rate > 0 ? ` (${Math.round(result.rate)}/s)` : "");
    if (result.skipped !== undefined) rows.push({ label, skipped: result.skipped });
    for (const subject of run.subjects) {
      const values = (metric: Parameters<typeof valuesOf>[2]) => spread(valuesOf(result, subject, metric));
      const ratio = (metric: Parameters<typeof valuesOf>[2]) => {
        const found = ratioOf(result, subject, run.baseline, metric);
        return found === null ? null : rounded(found, 2);
      };
      if (valuesOf(result, subject, "rps").length === 0) continue;
      const calls = result.subjects[subject]?.syscalls;
      rows.push({
        label,
        case: result.case.name,
        subject,
        rps: rounded(values("rps"), 0),
        rpsRatio: ratio("rps"),
        cpuUs: rounded(values("cpuUs"), 2),
        cpuRatio: ratio("cpuUs"),
        p50Ms: round(values("p50Ms").median, 3),
        p99Ms: rounded(values("p99Ms"), 3),
        p99Ratio: ratio("p99Ms"),
        p999Ms: round(values("p999Ms").median, 3),
        residentMib: round(values("residentBytes").median / MIB, 0),
        calls: calls === undefined ? null : round(calls.perRequest, 2),
      });
    }
    if (result.error !== undefined) rows.push({ label, failed: result.error });
  }
  const verdict = judge(run);
  const targets = verdict && {
    subject: verdict.subject,
    judged: verdict.judged.map((each) => ({ ...each, found: rounded(each.found, each.absolute ? 1 : 2) })),
  };
  return { ...circumstances, rows, targets };
}

/** DATE-COMMIT.json, with -2, -3, … behind it while `isTaken`. */
export function fileName({ date, commit }: Summary, isTaken: (name: string) => boolean): string {
  const stem = `${date.slice(0, 10)}-${commit.replaceAll(" ", "-")}`;
  for (let n = 1;; n++) {
    const name = `${stem}${n === 1 ? "" : `-${n}`}.json`;
    if (!isTaken(name)) return name;
  }
}

/** JSON with a line a row, so that a difference of two runs can be read. */
export function serialize({ rows, targets, tables, ...circumstances }: Summary): string {
  const lines = (items: readonly unknown[], indent: string) =>
    `[\n${items.map((item) => `${indent} ${JSON.stringify(item)}`).join(",\n")}\n${indent}]`;
  const parts = Object.entries(circumstances).map(([key, value]) => ` "${key}": ${JSON.stringify(value)}`);
  parts.push(` "rows": ${lines(rows, " ")}`);
  parts.push(
    targets === null
      ? ` "targets": null`
      : ` "targets": {"subject": ${JSON.stringify(targets.subject)}, "judged": ${
        lines(targets.judged, " ")
      }}`,
  );
  if (tables !== undefined) {
    const texts = tables.map(({ title, columns, rows }) =>
      `  {"title": ${JSON.stringify(title)},\n   "columns": ${JSON.stringify(columns)},\n   "rows": ${
        lines(rows, "   ")
      }}`
    );
    parts.push(` "tables": [\n${texts.join(",\n")}\n ]`);
  }
  return `{\n${parts.join(",\n")}\n}\n`;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

function rounded({ median, min, max }: Spread, digits: number): Spread {
  return { median: round(median, digits), min: round(min, digits), max: round(max, digits) };
}
