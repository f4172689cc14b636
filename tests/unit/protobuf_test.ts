/** /metrics in the protobuf format, read back: it says what the text says, and native histograms have every request once. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { atOnce } from "../../src/ring/steps.ts";
import { exposition } from "../../src/stats/exposition.ts";
import {
  type Buckets,
  bucketsOf,
  type Family,
  NATIVE_LOWEST,
  NATIVE_SCHEMA,
  type Reading,
  readings,
  totalBuckets,
} from "../../src/stats/families.ts";
import { Latency } from "../../src/stats/latency.ts";
import { Protobuf } from "../../src/stats/protobuf.ts";
import { snapshotOf } from "../lib/snapshot.ts";

/** A message: its fields by number, in their order; numbers, doubles, or bytes. */
class Fields {
  private readonly fields: [number, bigint | number | Uint8Array][] = [];

  constructor(bytes: Uint8Array) {
    const reader = new Reader(bytes);
    while (!reader.over) {
      const tag = Number(reader.varint());
      const value = (tag & 7) === 0 ? reader.varint() : (tag & 7) === 1 ? reader.double() : reader.bytes();
      this.fields.push([tag >> 3, value]);
    }
  }

  all<T = bigint | number | Uint8Array>(field: number): T[] {
    return this.fields.filter(([one]) => one === field).map(([, value]) => value as T);
  }

  one<T>(field: number): T {
    const [value, ...more] = this.all<T>(field);
    strictEqual(more.length, 0, `field ${field} is there more than once`);
    return value!;
  }

  text(field: number): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.one<Uint8Array>(field));
  }

  messages(field: number): Fields[] {
    return this.all<Uint8Array>(field).map((bytes) => new Fields(bytes));
  }

  signed(field: number): number[] {
    return this.all<bigint>(field).map((value) => Number(value & 1n ? -(value + 1n) / 2n : value / 2n));
  }
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly all: Uint8Array) {
    this.view = new DataView(all.buffer, all.byteOffset, all.length);
  }

  get over(): boolean {
    return this.at === this.all.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = this.view.getUint8(this.at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }

  double(): number {
    this.at += 8;
    return this.view.getFloat64(this.at - 8, true);
  }

  bytes(): Uint8Array {
    const size = Number(this.varint());
    ok(this.at + size <= this.all.length, "a field that goes beyond its message");
    this.at += size;
    return this.all.subarray(this.at - size, this.at);
  }
}

function familiesOf(readings: Iterable<Reading>): Fields[] {
  const reader = new Reader(atOnce(new Protobuf().write(readings)).bytes);
  const families: Fields[] = [];
  while (!reader.over) families.push(new Fields(reader.bytes()));
  return families;
}

/** As `name{label="value",…}`, with numbers; `le` as the number it is. */
function seriesOf(families: readonly Fields[]): Map<string, number> {
  const series = new Map<string, number>();
  for (const family of families) {
    const name = family.text(1);
    for (const metric of family.messages(4)) {
      const labels = metric.messages(1).map((label) => `${label.text(1)}=${label.text(2)}`);
      const say = (suffix: string, value: number, ...more: string[]) =>
        series.set(`${name}${suffix}{${[...labels, ...more].join()}}`, value);
      const [simple] = [...metric.messages(2), ...metric.messages(3)];
      if (simple !== undefined) say("", simple.one<number>(1));
      for (const histogram of metric.messages(7)) {
        const count = Number(histogram.one<bigint>(1));
        say("_count", count);
        say("_sum", histogram.one<number>(2));
        for (const bucket of histogram.messages(3)) {
          say("_bucket", Number(bucket.one<bigint>(1)), `le=${bucket.one<number>(2)}`);
        }
        say("_bucket", count, "le=Infinity");
      }
    }
  }
  return series;
}

Deno.test("Protobuf.write() tells what the text tells: names, kinds, help, labels, numbers", () => {
  const all = [...readings(snapshotOf(2, 3))];
  const text = exposition(all, "text");
  const expected = new Map<string, number>();
  for (const [, name, labels = "", value] of text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, of]) =>
      label === "le" ? `le=${Number(of!.replace("+Inf", "Infinity"))}` : `${label}=${of}`
    );
    expected.set(`${name}{${pairs.join()}}`, Number(value!.replace("+Inf", "Infinity")));
  }
  const families = familiesOf(all);
  const sorted = (series: Map<string, number>) => [...series].sort(([a], [b]) => a < b ? -1 : 1);
  deepStrictEqual(sorted(seriesOf(families)), sorted(expected));
  const kinds = ["counter", "gauge", "", "", "histogram"];
  for (const family of families) {
    const name = family.text(1);
    ok(text.includes(`# HELP ${name} ${family.text(2)}\n`), name);
    ok(text.includes(`# TYPE ${name} ${kinds[Number(family.one<bigint>(3))]}\n`), name);
  }
  const units = families.flatMap((family) => family.all(5).length > 0 ? [family.text(5)] : []);
  deepStrictEqual(units, all.flatMap(({ family: { unit } }) => unit === "" ? [] : [unit]));
});

Deno.test("Protobuf.write(): any label, however long, and any number", () => {
  const family: Family = { name: "a", kind: "gauge", unit: "", help: "Help", labels: ["p"] };
  const label = fc.oneof(fc.string(), fc.integer({ min: 100, max: 40_000 }).map((size) => "é".repeat(size)));
  fc.assert(fc.property(fc.array(fc.tuple(label, fc.double()), { maxLength: 5 }), (points) => {
    const all = points.map(([text, value]) => ({ labels: [text], value }));
    const metrics = familiesOf([{ family, points: all, histograms: [] }]).flatMap((one) => one.messages(4));
    deepStrictEqual(
      metrics.map((metric) => [metric.messages(1)[0]!.text(2), metric.messages(2)[0]!.one<number>(1)]),
      points.map(([text, value]) => [text.toWellFormed(), value]),
    );
  }));
});

/** What a reader makes of spans and deltas: what is in each bucket, by number. */
function nativeOf(histogram: Fields): Map<number, number> {
  const counts = new Map<number, number>();
  const deltas = histogram.signed(13);
  let [at, count] = [0, 0];
  for (const span of histogram.messages(12)) {
    at += span.signed(1)[0]!;
    for (let i = Number(span.one<bigint>(2)); i > 0; i--) counts.set(at++, count += deltas.shift()!);
  }
  strictEqual(deltas.length, 0);
  return counts;
}

function histogramOf(buckets: Buckets): Fields {
  const family: Family = { name: "a_seconds", kind: "histogram", unit: "seconds", help: "Help", labels: [] };
  const [one] = familiesOf([{ family, points: [], histograms: [{ labels: [], buckets }] }]);
  return one!.messages(4)[0]!.messages(7)[0]!;
}

Deno.test("native histograms have each time once, in a bucket that is its own within 1.6 %; classic buckets stay as they are", () => {
  const us = fc.oneof(fc.integer({ min: 0, max: 2 ** 29 }), fc.integer({ min: 0, max: 300 }));
  fc.assert(fc.property(fc.array(us, { maxLength: 50 }), (times) => {
    const latency = new Latency(new SharedArrayBuffer(Latency.bytes(2)), 0, 2);
    times.forEach((time, i) => latency.block(i % 2).count(i % 3, 0, time / 1000, 1));
    for (const total of [false, true]) {
      const [plain, both] = [false, true].map((native) =>
        total ? totalBuckets(latency, 0, native) : bucketsOf(latency, 0, 0, native)
      );
      const { native, ...classic } = both!;
      deepStrictEqual(classic, plain);
      strictEqual(native!.reduce((sum, count) => sum + count, 0), classic.count);
    }
    const histogram = histogramOf(totalBuckets(latency, 0, true));
    strictEqual(Number(histogram.one<bigint>(1)), times.length);
    strictEqual(histogram.signed(5)[0], NATIVE_SCHEMA);
    strictEqual(Number(histogram.one<bigint>(7)), times.filter((time) => time === 0).length);
    const left = nativeOf(histogram);
    for (const time of times.filter((time) => time > 0).sort((a, b) => a - b)) {
      // What took longer than can be told is in the last one.
      const seconds = Math.min(time, 2 ** 28) / 1e6;
      const fits = [...left].filter(([at, count]) =>
        count > 0 && seconds > 2 ** ((at - 1) / 8) / 1.016 && seconds <= 2 ** (at / 8) * 1.016
      );
      ok(fits.length > 0, `${time} us in none of ${JSON.stringify([...left])}`);
      const [at] = fits.sort(([a], [b]) => a - b)[0]!;
      left.set(at, left.get(at)! - 1);
    }
  }));
});

Deno.test("native histograms: counts of any size, in spans with gaps; nothing at all is one too", () => {
  const native = Array.from({ length: 226 }, () => 0);
  native[0] = 2 ** 40;
  native[1] = 2 ** 52;
  native[2] = 5;
  native[9] = 2 ** 33;
  native[225] = 1;
  const histogram = histogramOf({ below: [], count: 2 ** 53 - 1, sumUs: 0, native });
  strictEqual(histogram.one<bigint>(1), 2n ** 53n - 1n);
  strictEqual(histogram.one<bigint>(7), 2n ** 40n);
  deepStrictEqual([...nativeOf(histogram)].map(([at, count]) => [at - NATIVE_LOWEST, count]), [
    [0, 2 ** 52],
    [1, 5],
    [8, 2 ** 33],
    [224, 1],
  ]);
  const empty = histogramOf({ below: [], count: 0, sumUs: 0, native: native.map(() => 0) });
  strictEqual(nativeOf(empty).size, 0);
  // By this alone a reader sees which kind it is.
  ok(empty.one<number>(6) > 0);
});
