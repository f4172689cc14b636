/**
 * A run as a picture: one row a case, two columns (requests/s and CPU per request, each relative to the baseline, which is
 * the line at 1), a bar to the median of the pairs' ratios and a whisker from the lowest to the highest.
 *
 * Plain SVG written by hand: no script, no fonts of its own, colours that read on white and on black.
 */
import { type CaseResult, type Metric, ratioOf, type Run, valuesOf } from "./results.ts";
import { type SubjectName } from "./stand.ts";
import { spread } from "./stats.ts";

const LABEL_WIDTH = 300;
const PANEL_WIDTH = 340;
const GAP = 36;
const BAR = 12;
const ROW_PAD = 9;
const TOP = 92;
const WIDTH = LABEL_WIDTH + 2 * PANEL_WIDTH + GAP + 24;

/** Middle tones: enough contrast on light and on dark. */
const COLOURS: Record<SubjectName, string> = {
  ringmaster: "#2f9e77",
  nutcracker: "#8a8f98",
  deno: "#4c8bd6",
  bun: "#d08a3c",
  direct: "#a06cd5",
  haproxy: "#c9605b",
  floor: "#b3b8bf",
  hashed: "#6f7fd0",
  "two-workers": "#1f7a5c",
  base: "#7fb8a4",
  predixy: "#c4a13a",
  "predixy-two": "#9c7f25",
  "memcached-proxy": "#5aa9b0",
};
const INK = "#7a808a";

interface Panel {
  title: string;
  better: string;
  metric: Metric;
  unit: (value: number) => string;
}

const PANELS: readonly Panel[] = [
  {
    title: "requests/s",
    better: "longer is better",
    metric: "rps",
    unit: (value) => `${thousands(value)}/s`,
  },
  {
    title: "CPU per request",
    better: "shorter is better",
    metric: "cpuUs",
    unit: (value) => `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} µs`,
  },
];

export function svg(run: Run): string {
  const others = run.subjects.filter((subject) => subject !== run.baseline);
  const rows = run.results.filter((result) =>
    others.some((subject) => ratioOf(result, subject, run.baseline, "rps") !== null)
  );
  const rowHeight = others.length * (BAR + 3) + 2 * ROW_PAD;
  const height = TOP + rows.length * rowHeight + 46;
  const parts: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="12" role="img">`,
    `<title>${escape(others.join(", "))} against ${run.baseline}</title>`,
    text(0 + 12, 26, `${others.join(", ")} against ${run.baseline}`, { size: 17, weight: 600 }),
  ];
  let legendX = 12;
  for (const subject of others) {
    parts.push(`<rect x="${legendX}" y="40" width="11" height="11" rx="2" fill="${COLOURS[subject]}"/>`);
    parts.push(text(legendX + 16, 50, subject));
    legendX += 34 + subject.length * 7;
  }
  parts.push(
    text(
      legendX + 6,
      50,
      `line at 1 = ${run.baseline}; whisker = lowest to highest of ${run.pairs} pair${
        run.pairs === 1 ? "" : "s"
      }`,
    ),
  );

  PANELS.forEach((panel, i) => {
    const left = LABEL_WIDTH + i * (PANEL_WIDTH + GAP);
    const scale = scaleOf(rows, others, run, panel.metric);
    parts.push(text(left, 78, panel.title, { weight: 600 }));
    parts.push(text(left + PANEL_WIDTH, 78, panel.better, { anchor: "end" }));
    for (let tick = 0; tick <= scale; tick += scale > 2 ? 1 : 0.5) {
      const x = left + (tick / scale) * PANEL_WIDTH;
      const strong = tick === 1;
      parts.push(
        `<line x1="${n(x)}" x2="${n(x)}" y1="${TOP - 6}" y2="${height - 40}" stroke="${INK}" ` +
          `stroke-opacity="${strong ? 0.9 : 0.22}" stroke-width="${strong ? 1.4 : 1}"/>`,
      );
      if (scale <= 10 || tick === 1 || tick % 5 === 0) {
        parts.push(text(x, height - 24, `${tick}×`, { anchor: "middle" }));
      }
    }
    rows.forEach((result, r) => {
      others.forEach((subject, s) => {
        const found = ratioOf(result, subject, run.baseline, panel.metric);
        if (found === null) return;
        const y = TOP + r * rowHeight + ROW_PAD + s * (BAR + 3);
        const at = (ratio: number) => left + Math.min(ratio / scale, 1) * PANEL_WIDTH;
        const absolute = panel.unit(spread(valuesOf(result, subject, panel.metric)).median);
        parts.push(
          `<rect x="${left}" y="${y}" width="${n(at(found.median) - left)}" height="${BAR}" rx="2" fill="${
            COLOURS[subject]
          }">` +
            `<title>${
              escape(
                `${result.case.label}, ${subject}: ${absolute}, ${found.median.toFixed(2)}× (${
                  found.min.toFixed(2)
                }–${found.max.toFixed(2)})`,
              )
            }</title></rect>`,
        );
        const middle = y + BAR / 2;
        parts.push(
          `<path d="M${n(at(found.min))} ${middle}H${n(at(found.max))}M${n(at(found.min))} ${middle - 3}v6M${
            n(at(found.max))
          } ${middle - 3}v6" stroke="${INK}" stroke-width="1.3" fill="none"/>`,
        );
        parts.push(
          text(at(found.max) + 6, y + BAR - 2, `${found.median.toFixed(2)}×  ${absolute}`, { size: 11 }),
        );
      });
    });
  });
  rows.forEach((result, r) => {
    const y = TOP + r * rowHeight;
    if (r > 0) {
      parts.push(
        `<line x1="12" x2="${WIDTH - 12}" y1="${y}" y2="${y}" stroke="${INK}" stroke-opacity="0.15"/>`,
      );
    }
    parts.push(text(12, y + rowHeight / 2 + 4, result.case.label));
  });
  parts.push(
    text(12, height - 6, `${run.date.slice(0, 10)}, commit ${run.commit}, ${run.machine}`, { size: 11 }),
    "</svg>",
  );
  return parts.join("\n") + "\n";
}

/** The right end of a panel: room for the longest bar and its text, in steps that make round ticks. */
function scaleOf(rows: CaseResult[], subjects: SubjectName[], run: Run, metric: Metric): number {
  let most = 1;
  for (const result of rows) {
    for (const subject of subjects) {
      most = Math.max(most, ratioOf(result, subject, run.baseline, metric)?.max ?? 0);
    }
  }
  return Math.ceil(most * 1.5 * 2) / 2;
}

function thousands(value: number): string {
  return value >= 1e6
    ? `${(value / 1e6).toFixed(2)} M`
    : value >= 1e3
    ? `${(value / 1e3).toFixed(1)} k`
    : value.toFixed(0);
}

function text(
  x: number,
  y: number,
  content: string,
  { size = 12, weight = 400, anchor = "start" }: { size?: number; weight?: number; anchor?: string } = {},
): string {
  return `<text x="${n(x)}" y="${
    n(y)
  }" fill="${INK}" font-size="${size}" font-weight="${weight}" text-anchor="${anchor}">${
    escape(content)
  }</text>`;
}

const n = (value: number): string => value.toFixed(1).replace(/\.0$/, "");

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}
