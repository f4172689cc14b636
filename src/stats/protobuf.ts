/**
 * The document of `/metrics` in Prometheus's protobuf format: the only one that can carry native histograms, for whoever asks for it.
 *
 *   size │ MetricFamily: name 1, help 2, type 3, metric 4, unit 5          one after the other
 *          Metric:       label 1 (name 1, value 2), gauge 2 or counter 3 (value 1), histogram 7
 *          Histogram:    count 1, sum 2, bucket 3 (count 1, upper bound 2),
 *                        schema 5, zero threshold 6, zero count 7, positive span 12 (offset 1, length 2), positive delta 13
 *
 * Histograms have both kinds of buckets: who reads takes the native ones, and the classic ones besides if it has been told to. A native
 * bucket has what the finer ones of latency.ts count whose middle is in it, so its edges are wrong by 1.6 % at most; counts and sums are
 * exact. Source: io/prometheus/client/metrics.proto of client_model; read by Prometheus since 2.40.
 */
import {
  BOUNDS_US,
  type Buckets,
  type Family,
  NATIVE_LOWEST,
  NATIVE_SCHEMA,
  type Reading,
} from "./families.ts";
import { type Document, sampleName } from "./exposition.ts";

/** Points that are written between two yields, and what one takes, µs, about: with its labels, and as a histogram. */
const PART_US = 50;
const POINT_US = 0.7;
const HISTOGRAM_US = 20;

const COUNTER = 0;
const GAUGE = 1;
const HISTOGRAM = 4;

/** What took 0 µs, as it is counted, took less than this, s; no bucket of `native` begins below it. */
const ZERO_THRESHOLD = 2 ** -21;

export class Protobuf {
  /** Yields about how many µs it has taken. */
  *write(readings: Iterable<Reading>): Generator<number, Document> {
    const out = new Message();
    let us = 0;
    for (const { family, points, histograms } of readings) {
      if (points.length + histograms.length === 0) continue;
      const { kind, unit, help } = family;
      const start = out.open();
      out.text(1, sampleName(family));
      out.text(2, help.toWellFormed());
      out.number(3, kind === "histogram" ? HISTOGRAM : kind === "counter" ? COUNTER : GAUGE);
      for (const { labels, value } of points) {
        const metric = out.open(4);
        writeLabels(out, family, labels);
        const one = out.open(kind === "counter" ? 3 : 2);
        out.double(1, value);
        out.close(one);
        out.close(metric);
        if ((us += POINT_US) < PART_US) continue;
        yield us;
        us = 0;
      }
      for (const { labels, buckets } of histograms) {
        const metric = out.open(4);
        writeLabels(out, family, labels);
        const one = out.open(7);
        writeHistogram(out, buckets);
        out.close(one);
        out.close(metric);
        if ((us += HISTOGRAM_US) < PART_US) continue;
        yield us;
        us = 0;
      }
      if (unit !== "") out.text(5, unit);
      out.close(start);
    }
    return { bytes: out.bytes, release: () => {} };
  }
}

function writeLabels(out: Message, { labels: names }: Family, values: readonly string[]): void {
  for (const [i, name] of names.entries()) {
    const label = out.open(1);
    out.text(1, name);
    out.text(2, values[i]!.toWellFormed());
    out.close(label);
  }
}

function writeHistogram(out: Message, { below, count, sumUs, native }: Buckets): void {
  out.number(1, count);
  out.double(2, sumUs / 1e6);
  for (const [i, us] of BOUNDS_US.entries()) {
    const bucket = out.open(3);
    out.number(1, below[i]!);
    out.double(2, us / 1e6);
    out.close(bucket);
  }
  if (native === undefined) return;
  out.signed(5, NATIVE_SCHEMA);
  out.double(6, ZERO_THRESHOLD);
  out.number(7, native[0]!);
  // Spans of buckets that have something, and of each what it has more than the one before.
  const deltas: number[] = [];
  let [past, before] = [0, 0];
  for (let i = 1; i < native.length; i++) {
    if (native[i] === 0) continue;
    let end = i;
    while (end < native.length && native[end] !== 0) end++;
    const span = out.open(12);
    // Of the first one the place, of the others how far behind the last one.
    out.signed(1, past === 0 ? NATIVE_LOWEST + i - 1 : i - past);
    out.number(2, end - i);
    out.close(span);
    for (; i < end; i++) {
      deltas.push(native[i]! - before);
      before = native[i]!;
    }
    past = end;
  }
  for (const delta of deltas) out.signed(13, delta);
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

/** Field after field; a message within another is opened, written and closed. */
class Message {
  private room = new Uint8Array(64 * 1024);
  private view = new DataView(this.room.buffer);
  private size = 0;
  private readonly encoder = new TextEncoder();

  get bytes(): Uint8Array {
    return this.room.subarray(0, this.size);
  }

  /** @param field absent: of the document itself @returns what `close` wants */
  open(field?: number): number {
    if (field !== undefined) this.tag(field, BYTES);
    this.need(1);
    return this.size++;
  }

  /** Its size goes before it: a byte, if it has no more than 127. */
  close(start: number): void {
    const size = this.size - start - 1;
    const more = varintSize(size) - 1;
    if (more > 0) {
      this.need(more);
      this.room.copyWithin(start + 1 + more, start + 1, this.size);
    }
    this.varintAt(start, size);
    this.size += more;
  }

  text(field: number, text: string): void {
    this.tag(field, BYTES);
    this.need(3 * text.length + 1);
    const start = this.size++;
    this.size += this.encoder.encodeInto(text, this.room.subarray(this.size)).written;
    this.close(start);
  }

  double(field: number, value: number): void {
    this.tag(field, FIXED64);
    this.need(8);
    this.view.setFloat64(this.size, value, true);
    this.size += 8;
  }

  /** @param value a whole number, 0 or more */
  number(field: number, value: number): void {
    this.tag(field, VARINT);
    this.need(10);
    this.size = this.varintAt(this.size, value);
  }

  /** @param value a whole number */
  signed(field: number, value: number): void {
    this.number(field, value >= 0 ? 2 * value : -2 * value - 1);
  }

  private tag(field: number, type: number): void {
    this.need(1);
    this.room[this.size++] = field << 3 | type;
  }

  /** @returns the offset past it */
  private varintAt(at: number, value: number): number {
    for (; value >= 128; value = Math.floor(value / 128)) this.room[at++] = value % 128 | 128;
    this.room[at++] = value;
    return at;
  }

  private need(more: number): void {
    if (this.size + more <= this.room.length) return;
    const larger = new Uint8Array(Math.max(2 * this.room.length, this.size + more));
    larger.set(this.bytes);
    this.room = larger;
    this.view = new DataView(larger.buffer);
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (; value >= 128; value = Math.floor(value / 128)) size++;
  return size;
}
