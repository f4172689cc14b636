/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * The last fifteen minutes of a pool: four plots on one time axis, with what has happened as marks on it.
 *
 *   history, then a sample a second ──► columns (null where the stream was broken) ──► uPlot
 */
import uPlot from "uplot";
import { el, setAttribute, setText } from "./dom.ts";
import { bytes, count, rate, short, span, time } from "./format.ts";
import { type EventShape, type HistoryShape, type Sample, SERIES, type SeriesName } from "./shapes.ts";

/** What is shown at most, and at least: a proxy that has just begun has little to show. */
const WINDOW_S = 900;
const WINDOW_LEAST_S = 120;
/** A second and a bit: from there on something is missing. */
const GAP_MS = 2600;
const HEIGHT = 132;
/** How near the pointer must be to a mark, in pixels. */
const NEAR = 5;

interface Line {
  readonly series: SeriesName;
  readonly label: string;
  readonly colour: "first" | "second" | "bad";
}

interface Plot {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly say: (value: number | null) => string;
  readonly axis: (value: number) => string;
  /** Steps that its axis may have; absent: tens, fives and twos. */
  readonly steps?: number[];
}

const PLOTS: readonly Plot[] = [
  {
    title: "Requests a second",
    lines: [
      { series: "requests_per_s", label: "requests", colour: "first" },
      { series: "errors_per_s", label: "errors", colour: "bad" },
    ],
    say: rate,
    axis: short,
  },
  {
    title: "Latency",
    lines: [
      { series: "p50_us", label: "p50", colour: "first" },
      { series: "p99_us", label: "p99", colour: "second" },
    ],
    say: span,
    axis: (us) => us >= 1000 ? `${short(us / 1000)} ms` : `${short(us)} µs`,
  },
  {
    title: "In flight and clients",
    lines: [
      { series: "in_flight", label: "in flight", colour: "first" },
      { series: "clients", label: "clients", colour: "second" },
    ],
    say: count,
    axis: short,
  },
  {
    title: "Memory held",
    lines: [{ series: "memory_bytes", label: "bytes", colour: "first" }],
    say: bytes,
    axis: (value) => bytes(value).replace(/\.0+ /, " "),
    steps: Array.from({ length: 40 }, (_, k) => 2 ** k),
  },
];

interface Drawn {
  readonly plot: Plot;
  readonly chart: uPlot;
  readonly values: readonly HTMLElement[];
  readonly figure: HTMLElement;
}

export class Plots {
  readonly element = el("div", { class: "plots" });
  private readonly note = el("p", { class: "note", "aria-live": "off" });
  private readonly at: number[] = [];
  private readonly columns = new Map<SeriesName, (number | null)[]>(SERIES.map((name) => [name, []]));
  private events: readonly EventShape[] = [];
  private drawn: Drawn[] = [];
  private described = 0;

  constructor(private readonly holder: HTMLElement) {
    holder.append(this.element, this.note);
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.redraw();
  }

  /** Another pool, or the stream has begun again. */
  history({ at, pools }: HistoryShape, pool: string): void {
    this.at.length = 0;
    const of = pools.find(({ name }) => name === pool);
    for (const name of SERIES) this.columns.get(name)!.length = 0;
    at.forEach((ms, k) => this.add(ms, (name) => of?.[name]?.[k] ?? null));
    this.described = 0;
    this.show();
  }

  second(at: number, sample: Sample | undefined): void {
    this.add(at, (name) => sample?.[name] ?? null);
    this.show();
  }

  /** Oldest first; those of other pools are not marked. */
  mark(events: readonly EventShape[]): void {
    this.events = events;
  }

  /** With the colours of the theme as it is now. */
  redraw(): void {
    for (const { chart } of this.drawn) chart.destroy();
    this.element.replaceChildren();
    this.drawn = PLOTS.map((plot) => this.make(plot));
    this.show();
  }

  private add(at: number, value: (name: SeriesName) => number | null): void {
    const last = this.at.at(-1);
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > GAP_MS) {
      this.at.push(last + 1000);
      for (const column of this.columns.values()) column.push(null);
    }
    this.at.push(at);
    for (const [name, column] of this.columns) column.push(value(name));
    let old = 0;
    while (at - this.at[old]! > WINDOW_S * 1000) old++;
    if (old === 0) return;
    this.at.splice(0, old);
    for (const column of this.columns.values()) column.splice(0, old);
  }

  private show(): void {
    const seconds = this.at.map((ms) => ms / 1000);
    const end = seconds.at(-1) ?? Date.now() / 1000;
    const begin = Math.max(end - WINDOW_S, Math.min(seconds[0] ?? end, end - WINDOW_LEAST_S));
    for (const { plot, chart, values } of this.drawn) {
      chart.setData([seconds, ...plot.lines.map(({ series }) => this.columns.get(series)!)], false);
      chart.batch(() => {
        chart.setScale("x", { min: begin, max: end });
        const max = Math.max(0, ...plot.lines.map(({ series }) => greatest(this.columns.get(series)!)));
        chart.setScale("y", { min: 0, max: max === 0 ? 1 : max * 1.1 });
      });
      this.say(plot, values, chart.cursor.idx ?? this.at.length - 1);
    }
    // For who does not see the lines; seldom, since it is read out when it changes under the reader.
    if (end - this.described < 15) return;
    this.described = end;
    for (const { plot, figure } of this.drawn) {
      const said = plot.lines.map(({ series, label }) => {
        const column = this.columns.get(series)!;
        return `${label} now ${plot.say(column.at(-1) ?? null)}, at most ${plot.say(greatest(column))}`;
      });
      setAttribute(figure, "aria-label", `${plot.title} in the last 15 minutes: ${said.join("; ")}`);
    }
  }

  private say(plot: Plot, values: readonly HTMLElement[], index: number): void {
    plot.lines.forEach(({ series }, k) =>
      setText(values[k]!, plot.say(this.columns.get(series)![index] ?? null))
    );
  }

  private resize(): void {
    for (const { chart, figure } of this.drawn) {
      const width = figure.clientWidth;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height: HEIGHT });
    }
  }

  private make(plot: Plot): Drawn {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const values = plot.lines.map(() => el("b"));
    const legend = plot.lines.flatMap(({ label, colour }, k) => [
      el("span", { class: `key ${colour}` }, el("i", { "aria-hidden": "true" }), `${label} `, values[k]!),
    ]);
    const caption = el("figcaption", {}, el("h3", {}, plot.title), ...legend);
    const canvas = el("div", { role: "img", "aria-label": plot.title });
    const figure = el("figure", {}, caption, canvas);
    this.element.append(figure);
    const axis = {
      stroke: colour("muted"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: colour("grid"), width: 1 },
      ticks: { show: false },
    };
    const chart = new uPlot(
      {
        width: figure.clientWidth || 400,
        height: HEIGHT,
        padding: [6, 6, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 5 } },
        scales: { x: { time: true, auto: false }, y: { auto: false } },
        series: [
          {},
          ...plot.lines.map((line) => ({
            stroke: colour(line.colour),
            width: 1.25,
            points: { show: false },
          })),
        ],
        axes: [
          {
            ...axis,
            size: 22,
            space: 70,
            values: (_, ticks) => ticks.map((tick) => time(tick * 1000).slice(0, 5)),
          },
          {
            ...axis,
            size: 54,
            space: 28,
            values: (_, ticks) => ticks.map(plot.axis),
            ...(plot.steps === undefined ? {} : { incrs: plot.steps }),
          },
        ],
        hooks: {
          draw: [(chart) => this.drawMarks(chart, colour)],
          setCursor: [(chart) => {
            this.say(plot, values, chart.cursor.idx ?? this.at.length - 1);
            this.nearest(chart);
          }],
        },
      },
      [[], ...plot.lines.map(() => [])],
      canvas,
    );
    return { plot, chart, values, figure: canvas };
  }

  private drawMarks(chart: uPlot, colour: (name: string) => string): void {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
    for (const { at, kind } of this.events) {
      const x = Math.round(chart.valToPos(at / 1000, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(toneOf(kind));
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillRect(x - 2 * devicePixelRatio, bbox.top, 4 * devicePixelRatio, 4 * devicePixelRatio);
    }
    ctx.restore();
  }

  private nearest(chart: uPlot): void {
    const left = chart.cursor.left ?? -1;
    const near = left < 0
      ? []
      : this.events.filter(({ at }) => Math.abs(chart.valToPos(at / 1000, "x") - left) <= NEAR);
    const event = near.at(-1);
    if (event === undefined) {
      if (left >= 0 || this.note.textContent === "") setText(this.note, "");
      return;
    }
    const more = near.length > 1 ? ` (and ${near.length - 1} more)` : "";
    setText(this.note, `${time(event.at)}  ${event.kind}  ${event.server}  ${event.cause}${more}`);
  }
}

/** The colour of what has happened. */
export function toneOf(kind: string): "bad" | "warn" | "good" | "calm" {
  if (kind === "down" || kind === "source failed") return "bad";
  if (kind === "ejected" || kind === "drained") return "warn";
  return kind === "returned" || kind === "restored" ? "good" : "calm";
}

const greatest = (column: readonly (number | null)[]): number =>
  column.reduce<number>((most, value) => value !== null && value > most ? value : most, 0);
