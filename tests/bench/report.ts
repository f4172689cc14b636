/** A run as Markdown: what was run and where, the table, and the verdict against the targets. */
import { type Spread } from "./stats.ts";
import { type Row, type Summary } from "./summary.ts";

export function report(run: Summary): string {
  return [heading(run), table(run), verdict(run), ...others(run)].join("\n\n") + "\n";
}

function heading(run: Summary): string {
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

function table(run: Summary): string {
  const lines = [
    "| case | subject | requests/s | × | CPU µs | × | p50 | p99 | × | p99.9 | MiB | calls |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ];
  let shown = "";
  for (const row of run.rows) {
    // A case's name stands in its first line.
    const label = row.label === shown ? "" : row.label;
    shown = row.label;
    if ("subject" in row) lines.push(line(row, label));
    else {
      const why = row.failed !== undefined ? `**FAILED**: ${oneLine(row.failed)}` : `skipped: ${row.skipped}`;
      lines.push(`| ${label} | ${why} |${" |".repeat(10)}`);
    }
  }
  return lines.join("\n");
}

function line(row: Row, label: string): string {
  const ratio = (found: Spread | null) => found === null ? "" : show(found, 2);
  const cells = [
    label,
    row.subject,
    show(row.rps, 0),
    ratio(row.rpsRatio),
    show(row.cpuUs, 2),
    ratio(row.cpuRatio),
    precise(row.p50Ms),
    show(row.p99Ms, 3),
    ratio(row.p99Ratio),
    precise(row.p999Ms),
    row.residentMib.toFixed(0),
    row.calls === null ? "" : row.calls.toFixed(2),
  ];
  return `| ${cells.join(" | ")} |`;
}

function show({ median, min, max }: Spread, digits: number): string {
  const text = (value: number) => value.toFixed(digits);
  return min === max ? text(median) : `${text(median)} (${text(min)}–${text(max)})`;
}

const precise = (value: number): string => value.toFixed(value < 10 ? 3 : 1);

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").replaceAll("|", "\\|").slice(0, 300);

/** One line a target and case: reached or not, with the figure. */
function verdict({ targets }: Summary): string {
  if (targets === null) return "No verdict: the targets compare ringmaster with nutcracker.";
  const { subject, judged } = targets;
  if (judged.length === 0) return "No verdict: no case of this run has a target.";
  const lines = judged.map((each) =>
    `| ${each.target} | ${each.case} | ${each.side === "most" ? "≤" : "≥"} ${each.limit}${
      each.absolute ? "" : " ×"
    } | ${show(each.found, each.absolute ? 1 : 2)} | ${each.reached ? "reached" : "**not reached**"} |`
  );
  return [
    `Targets: ${judged.filter((each) => each.reached).length} of ${judged.length} reached by ${subject}.`,
    "",
    "| target | case | limit | found | |",
    "| --- | --- | ---: | ---: | --- |",
    ...lines,
  ].join("\n");
}

/** What was taken beside the run. */
function others({ tables }: Summary): string[] {
  return (tables ?? []).map(({ title, columns, rows }) =>
    [
      title,
      "",
      `| ${columns.join(" | ")} |`,
      `|${columns.map((_, i) => i === 0 ? " --- " : " ---: ").join("|")}|`,
      ...rows.map((row) => `| ${row.join(" | ")} |`),
    ].join("\n")
  );
}
