/**
 * The document of `/metrics` as text: Prometheus's format 0.0.4, or OpenMetrics 1.0 for whoever prefers it; which of the formats a reader gets.
 *
 * Both are lines of UTF-8 text ended by LF. They differ in the name of a counter's family (OpenMetrics: without `_total`), in UNIT, in
 * the type of what only informs, in what is escaped in HELP, and in the last line. Classic histograms only: neither of the two can
 * carry a native one (protobuf.ts does). No exemplars, no timestamps.
 */
import { copy } from "../bytes/ascii.ts";
import { decimalLength, writeDecimal } from "../bytes/decimal.ts";
import { atOnce } from "../ring/steps.ts";
import { BOUNDS_US, type Buckets, type Family, type LabelValues, type Reading } from "./families.ts";

export type TextFormat = "text" | "openmetrics";
export type Format = TextFormat | "protobuf";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  protobuf: "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
};

/** The whole document. */
export function exposition(readings: Iterable<Reading>, format: TextFormat): string {
  return new TextDecoder().decode(atOnce(new Exposition(format).write(readings)).bytes);
}

/** Lines that are written between two yields, unless one point has more. */
const PART_LINES = 256;
/** What they take, µs, about: those whose number alone may be another than the last time, and those that are made. */
const AGAIN_US = 0.15;
const MADE_US = 1.5;
/** Documents that are remembered: as many as are written at a time without any of them being made from nothing. */
const REMEMBERED_MAX = 2;

export interface Document {
  /** As they are until `release` is called, once at most: the next document is made in their place. */
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

/**
 * A document that is written again and again. Of the last one everything stays but the numbers that are others now; from the first point on
 * that is not the same (a server more, another class of commands) it is made anew.
 */
export class Exposition {
  private readonly remembered: Draft[] = [];

  constructor(private readonly format: TextFormat) {}

  /** Yields about how many µs it has taken. */
  *write(readings: Iterable<Reading>): Generator<number, Document> {
    // Nobody else's meanwhile; of one that is given up nothing is left.
    const draft = this.remembered.pop() ?? new Draft(this.format);
    draft.begin();
    let told = 0;
    for (const { family, points, histograms } of readings) {
      let first = true;
      for (const { labels, value } of points) {
        draft.point(family, labels, first);
        draft.value(value);
        first = false;
        if (draft.lines - told < PART_LINES) continue;
        yield draft.takeUs();
        told = draft.lines;
      }
      for (const { labels, buckets } of histograms) {
        draft.point(family, labels, first);
        draft.histogram(buckets);
        first = false;
        if (draft.lines - told < PART_LINES) continue;
        yield draft.takeUs();
        told = draft.lines;
      }
    }
    return {
      bytes: draft.end(),
      release: () => {
        if (this.remembered.length < REMEMBERED_MAX) this.remembered.push(draft);
      },
    };
  }
}

const encoder = new TextEncoder();
const NEWLINE = 10;

/**
 * The last document, and the one that is being made of it.
 *
 *   before:  head 17\nhead 4\nhead 99\nhead 5\n…     numbers of as many digits are written here
 *                       └──── from                  up to here it has been copied
 *   bytes:   head 17\nhead 4                         from the first on that has more or fewer digits
 */
class Draft {
  /** Of points, in their order: what they were the last time. */
  private readonly families: Family[] = [];
  private readonly labels: LabelValues[] = [];
  /** Of numbers, in their order: where they begin, how many bytes they have, and what they say. */
  private starts = new Int32Array(1024);
  private lengths = new Int32Array(1024);
  private values = new Float64Array(1024);
  private before = new Uint8Array(32 * 1024);
  private beforeSize = 0;
  private bytes = new Uint8Array(0);
  private from = 0;
  private size = 0;
  private points = 0;
  private numbers = 0;
  /** From here on nothing is as it was. */
  private anew = false;
  private heads: readonly string[] = [];
  private us = 0;

  constructor(private readonly format: TextFormat) {}

  begin(): void {
    this.from =
      this.size =
      this.points =
      this.numbers =
        0;
    this.anew = this.families.length === 0;
  }

  /** Numbers so far. */
  get lines(): number {
    return this.numbers;
  }

  /** What has been done since it was asked last has taken so many µs, about. */
  takeUs(): number {
    const { us } = this;
    this.us = 0;
    return us;
  }

  /** Its numbers come next. @param first of its family */
  point(family: Family, labels: LabelValues, first: boolean): void {
    const at = this.points++;
    if (!this.anew) {
      if (this.families[at] === family && same(this.labels[at]!, labels)) return;
      this.makeAnew(at);
    }
    this.families.push(family);
    this.labels.push(labels);
    if (first) this.text(this.headOf(family));
    this.heads = family.kind === "histogram" ? histogramHeads(family, labels) : [headOf(family, labels)];
  }

  value(value: number): void {
    this.number(0, value);
  }

  histogram({ below, count, sumUs }: Buckets): void {
    let line = 0;
    for (; line < EDGES.length; line++) this.number(line, below[line]!);
    this.number(line++, count);
    this.number(line++, sumUs / 1e6);
    this.number(line, count);
  }

  /** @returns borrowed until `begin` */
  end(): Uint8Array {
    if (!this.anew && this.points < this.families.length) this.makeAnew(this.points);
    if (this.anew) {
      if (this.format === "openmetrics") this.text("# EOF\n");
    } else if (this.from > 0) {
      this.copyTo(this.beforeSize);
    } else {
      // Every number has as many digits as it had.
      return this.before.subarray(0, this.beforeSize);
    }
    const { before } = this;
    this.before = this.bytes;
    this.bytes = before;
    this.beforeSize = this.size;
    return this.before.subarray(0, this.size);
  }

  /** @param line of its point */
  private number(line: number, value: number): void {
    const at = this.numbers++;
    if (this.anew) {
      this.us += MADE_US;
      this.text(this.heads[line]!);
      this.need(NUMBER_MAX);
      if (at === this.starts.length) this.grow();
      this.starts[at] = this.size;
      this.size = writeNumber(this.bytes, this.size, value);
      this.lengths[at] = this.size - this.starts[at]!;
      this.bytes[this.size++] = NEWLINE;
    } else {
      this.us += AGAIN_US;
      const start = this.starts[at]!;
      this.starts[at] = start + this.size - this.from;
      if (Object.is(this.values[at], value)) return;
      const length = this.lengths[at]!;
      const text = isCount(value) ? "" : numberText(value);
      const now = text === "" ? decimalLength(value) : text.length;
      if (now === length) {
        if (text === "") writeDecimal(this.before, start, value);
        else writeAscii(this.before, start, text);
      } else {
        this.copyTo(start);
        this.need(NUMBER_MAX);
        this.size = writeNumber(this.bytes, this.size, value);
        this.from = start + length;
        this.lengths[at] = now;
      }
    }
    this.values[at] = value;
  }

  /** What comes before this place in the last document stays. */
  private copyTo(end: number): void {
    this.need(end - this.from);
    this.size = copy(this.bytes, this.size, this.before, this.from, end);
    this.from = end;
  }

  /** @param point the first that is another one, or has gone */
  private makeAnew(point: number): void {
    const { numbers } = this;
    // Behind the line of the number before.
    const end = numbers === 0
      ? 0
      : this.starts[numbers - 1]! + this.lengths[numbers - 1]! - (this.size - this.from) + 1;
    this.copyTo(end);
    this.families.length = this.labels.length = point;
    this.anew = true;
  }

  private text(text: string): void {
    this.need(3 * text.length);
    this.size += encoder.encodeInto(text, this.bytes.subarray(this.size)).written;
  }

  private need(more: number): void {
    if (this.size + more <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.size + more, this.before.length));
    larger.set(this.bytes.subarray(0, this.size));
    this.bytes = larger;
  }

  private grow(): void {
    const length = 2 * this.starts.length;
    const [starts, lengths, values] = [
      new Int32Array(length),
      new Int32Array(length),
      new Float64Array(length),
    ];
    starts.set(this.starts);
    lengths.set(this.lengths);
    values.set(this.values);
    this.starts = starts;
    this.lengths = lengths;
    this.values = values;
  }

  private headOf(family: Family): string {
    const { kind, unit, help } = family;
    const open = this.format === "openmetrics";
    const name = open ? family.name : sampleName(family);
    const lines = [
      `# HELP ${name} ${open ? escapeAll(help) : escapeHelp(help)}`,
      `# TYPE ${name} ${kind === "info" && !open ? "gauge" : kind}`,
    ];
    if (open && unit !== "") lines.push(`# UNIT ${name} ${unit}`);
    return lines.join("\n") + "\n";
  }
}

function same(a: LabelValues, b: LabelValues): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const SUFFIX: Readonly<Record<Family["kind"], string>> = {
  counter: "_total",
  gauge: "",
  histogram: "",
  info: "_info",
};

/** What a family's samples are called, where they have all one name. */
export const sampleName = ({ name, kind }: Family): string => name + SUFFIX[kind];

/** A line up to its number. */
function headOf(family: Family, labels: LabelValues): string {
  return `${sampleName(family)}${braced(labelText(family.labels, labels))} `;
}

/** Edges as Prometheus writes them, seconds. */
const EDGES: readonly string[] = BOUNDS_US.map((us) => decimal(us));

/** µs as seconds, without an exponent: "0.000016". */
function decimal(us: number): string {
  const digits = String(us).padStart(7, "0");
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, "");
}

/** Of its buckets, the last one included, its sum and its count. */
function histogramHeads({ name, labels }: Family, values: LabelValues): string[] {
  const text = labelText(labels, values);
  const bucket = `${name}_bucket{${text}${text === "" ? "" : ","}le="`;
  return [
    ...EDGES.map((edge) => `${bucket}${edge}"} `),
    `${bucket}+Inf"} `,
    `${name}_sum${braced(text)} `,
    `${name}_count${braced(text)} `,
  ];
}

function labelText(names: readonly string[], values: LabelValues): string {
  let text = "";
  for (let i = 0; i < names.length; i++) {
    text += `${i === 0 ? "" : ","}${names[i]}="${escapeAll(values[i]!)}"`;
  }
  return text;
}

const braced = (text: string): string => text === "" ? "" : `{${text}}`;

/** The longest: "-1.2345678901234567e-100" has 24. */
const NUMBER_MAX = 32;

/** Digits are all that it takes. */
const isCount = (value: number): boolean =>
  Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

/** @returns the offset past it */
function writeNumber(to: Uint8Array, at: number, value: number): number {
  return isCount(value) ? writeDecimal(to, at, value) : writeAscii(to, at, numberText(value));
}

function writeAscii(to: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) to[at + i] = text.charCodeAt(i);
  return at + text.length;
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

// ---- which of the formats

/**
 * Which format an Accept header asks for; text if it does not care, or accepts none: better what can be read than nothing.
 *
 * Prometheus gives `version=1.0.0` to both types, and asks for OpenMetrics by a higher q only. What is said most precisely of a type
 * counts for it (RFC 9110, 12.5.1): a range with the version before one without, that before `text/*`, that before `*` alone.
 * @param accept null: there is none
 */
export function formatFor(accept: string | null): Format {
  if (accept === null) return "text";
  let wire: Preference = NONE;
  let open: Preference = NONE;
  let text: Preference = NONE;
  for (const part of accept.split(",")) {
    const range = rangeOf(part);
    if (range === null) continue;
    if (isProtobuf(range)) wire = better(wire, { precision: NAMED + 1, q: range.q });
    open = better(open, preference(range, "application", "openmetrics-text", OPEN_VERSIONS));
    text = better(text, preference(range, "text", "plain", TEXT_VERSIONS));
  }
  // Prometheus names it only if it wants native histograms.
  if (wire.q > 0 && wire.q >= open.q && wire.q >= text.q) return "protobuf";
  // Whoever has named none gets what every reader knows.
  return open.precision >= NAMED && open.q > 0 && open.q >= text.q ? "openmetrics" : "text";
}

interface Range {
  readonly type: string;
  readonly subtype: string;
  readonly parameters: ReadonlyMap<string, string>;
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
  const values = new Map<string, string>();
  for (const parameter of parameters) {
    const [key, value = ""] = parameter.split("=").map((each) => each.trim());
    values.set(key!, key === "q" ? value : value.replace(/^"(.*)"$/, "$1"));
  }
  const q = values.get("q") ?? "1";
  return {
    type,
    subtype,
    parameters: values,
    q: /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0,
  };
}

/** Of these messages, each behind its size: as text, or one alone, it is something else. */
function isProtobuf({ type, subtype, parameters }: Range): boolean {
  return type === "application" && subtype === "vnd.google.protobuf" &&
    parameters.get("proto") === "io.prometheus.client.metricfamily" &&
    parameters.get("encoding") === "delimited";
}

function preference(range: Range, type: string, subtype: string, versions: readonly string[]): Preference {
  const { q, parameters } = range;
  const version = parameters.get("version");
  if (range.type === "*" && range.subtype === "*") return { precision: 0, q };
  if (range.type !== type) return NONE;
  if (range.subtype === "*") return { precision: 1, q };
  if (range.subtype !== subtype) return NONE;
  if (version === undefined) return { precision: NAMED, q };
  return versions.includes(version) ? { precision: NAMED + 1, q } : NONE;
}

function better(a: Preference, b: Preference): Preference {
  return b.precision > a.precision || (b.precision === a.precision && b.q > a.q) ? b : a;
}
