/**
 * The document of `/metrics`: Prometheus's text format 0.0.4, or OpenMetrics 1.0 for whoever prefers it.
 *
 * Both are lines of UTF-8 text ended by LF. They differ in the name of a counter's family (OpenMetrics: without `_total`), in UNIT, in
 * the type of what only informs, in what is escaped in HELP, and in the last line. Classic histograms only: neither of the two can
 * carry a native one. No exemplars, no timestamps.
 */
import { BOUNDS_US, type Family, type HistogramPoint, type LabelValues, type Reading } from "./families.ts";

export type Format = "text" | "openmetrics";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** The whole document. */
export function exposition(readings: Iterable<Reading>, format: Format): string {
  return [...expositionParts(readings, format)].map(({ text }) => text).join("");
}

/** Lines of a part, unless one point has more. */
const PART_LINES = 256;

/** Whole lines of the document. */
export interface Part {
  readonly text: string;
  readonly lines: number;
}

/** The document in parts, each made when it is asked for. */
export function* expositionParts(readings: Iterable<Reading>, format: Format): Generator<Part, void> {
  const lines: string[] = [];
  for (const reading of readings) {
    if (reading.points.length + reading.histograms.length === 0) continue;
    for (const _ of addFamily(lines, reading, format)) {
      if (lines.length < PART_LINES) continue;
      yield partOf(lines);
      lines.length = 0;
    }
  }
  if (format === "openmetrics") lines.push("# EOF");
  yield partOf(lines);
}

function partOf(lines: readonly string[]): Part {
  return { text: lines.length === 0 ? "" : lines.join("\n") + "\n", lines: lines.length };
}

const SUFFIX: Readonly<Record<Family["kind"], string>> = {
  counter: "_total",
  gauge: "",
  histogram: "",
  info: "_info",
};

/** What a family's samples are called, where they have all one name. */
export const sampleName = ({ name, kind }: Family): string => name + SUFFIX[kind];

/** @returns what adds a point when it is asked for */
function* addFamily(
  lines: string[],
  { family, points, histograms }: Reading,
  format: Format,
): Generator<void, void> {
  const { kind, unit, help, labels } = family;
  const sample = sampleName(family);
  const open = format === "openmetrics";
  const name = open ? family.name : sample;
  lines.push(`# HELP ${name} ${open ? escapeAll(help) : escapeHelp(help)}`);
  lines.push(`# TYPE ${name} ${kind === "info" && !open ? "gauge" : kind}`);
  if (open && unit !== "") lines.push(`# UNIT ${name} ${unit}`);
  for (const point of points) {
    lines.push(`${sample}${braced(labelText(labels, point.labels))} ${numberText(point.value)}`);
    yield;
  }
  for (const point of histograms) {
    addHistogram(lines, family, point);
    yield;
  }
}

/** Edges as Prometheus writes them, seconds. */
const EDGES: readonly string[] = BOUNDS_US.map((us) => decimal(us));

/** µs as seconds, without an exponent: "0.000016". */
function decimal(us: number): string {
  const digits = String(us).padStart(7, "0");
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, "");
}

function addHistogram(
  lines: string[],
  { name, labels }: Family,
  { labels: values, buckets }: HistogramPoint,
): void {
  const text = labelText(labels, values);
  const head = `${name}_bucket{${text}${text === "" ? "" : ","}le="`;
  const { below, count, sumUs } = buckets;
  for (let i = 0; i < EDGES.length; i++) lines.push(`${head}${EDGES[i]}"} ${below[i]}`);
  lines.push(`${head}+Inf"} ${count}`);
  lines.push(`${name}_sum${braced(text)} ${numberText(sumUs / 1e6)}`);
  lines.push(`${name}_count${braced(text)} ${count}`);
}

function labelText(names: readonly string[], values: LabelValues): string {
  let text = "";
  for (let i = 0; i < names.length; i++) {
    text += `${i === 0 ? "" : ","}${names[i]}="${escapeAll(values[i]!)}"`;
  }
  return text;
}

const braced = (text: string): string => text === "" ? "" : `{${text}}`;

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

/** Of a label's value, and of OpenMetrics's HELP. Halves of characters, which have no UTF-8, are replaced. */
function escapeAll(text: string): string {
  return /["\\\n\ud800-\udfff]/.test(text)
    ? text.toWellFormed().replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')
    : text;
}

function escapeHelp(text: string): string {
  return text.toWellFormed().replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

// ---- which of the two

/**
 * Which format an Accept header asks for; text if it does not care, or accepts neither: better what can be read than nothing.
 *
 * Prometheus gives `version=1.0.0` to both types, and asks for OpenMetrics by a higher q only. What is said most precisely of a type
 * counts for it (RFC 9110, 12.5.1): a range with the version before one without, that before `text/*`, that before `*` alone.
 * @param accept null: there is none
 */
export function formatFor(accept: string | null): Format {
  if (accept === null) return "text";
  let open: Preference = NONE;
  let text: Preference = NONE;
  for (const part of accept.split(",")) {
    const range = rangeOf(part);
    if (range === null) continue;
    open = better(open, preference(range, "application", "openmetrics-text", OPEN_VERSIONS));
    text = better(text, preference(range, "text", "plain", TEXT_VERSIONS));
  }
  // Whoever has named neither gets what every reader knows.
  return open.precision >= NAMED && open.q > 0 && open.q >= text.q ? "openmetrics" : "text";
}

interface Range {
  readonly type: string;
  readonly subtype: string;
  readonly version: string | null;
  readonly q: number;
}

interface Preference {
  readonly precision: number;
  readonly q: number;
}

const NONE: Preference = { precision: -1, q: 0 };
/** The precision of a range that has the type's own name. */
const NAMED = 2;
/** What we write can be read by who reads these: 0.0.1 was the draft of 1.0.0, and text 1.0.0 is 0.0.4 with more names. */
const OPEN_VERSIONS: readonly string[] = ["1.0.0", "0.0.1"];
const TEXT_VERSIONS: readonly string[] = ["0.0.4", "1.0.0"];

/** Null: nothing of it can be made sense of. */
function rangeOf(part: string): Range | null {
  const [name, ...parameters] = part.split(";").map((each) => each.trim().toLowerCase());
  const [type, subtype, ...more] = name!.split("/");
  if (!type || !subtype || more.length > 0) return null;
  let version: string | null = null;
  let q = 1;
  for (const parameter of parameters) {
    const [key, value = ""] = parameter.split("=").map((each) => each.trim());
    if (key === "version") version = value.replace(/^"(.*)"$/, "$1");
    if (key === "q") q = /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(value) ? Number(value) : 0;
  }
  return { type, subtype, version, q };
}

function preference(range: Range, type: string, subtype: string, versions: readonly string[]): Preference {
  const { q, version } = range;
  if (range.type === "*" && range.subtype === "*") return { precision: 0, q };
  if (range.type !== type) return NONE;
  if (range.subtype === "*") return { precision: 1, q };
  if (range.subtype !== subtype) return NONE;
  if (version === null) return { precision: NAMED, q };
  return versions.includes(version) ? { precision: NAMED + 1, q } : NONE;
}

function better(a: Preference, b: Preference): Preference {
  return b.precision > a.precision || (b.precision === a.precision && b.q > a.q) ? b : a;
}
