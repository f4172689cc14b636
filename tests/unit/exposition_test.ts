/** The document of /metrics, byte by byte, in both formats; and which of the two a reader gets. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  Exposition,
  exposition,
  type Format,
  formatFor,
  sampleName,
  type TextFormat,
} from "../../src/stats/exposition.ts";
import {
  BOUNDS_US,
  bucketsOf,
  FAMILIES,
  type Family,
  type Reading,
  readings,
} from "../../src/stats/families.ts";
import { atOnce } from "../../src/ring/steps.ts";
import { Latency } from "../../src/stats/latency.ts";
import { snapshotOf } from "../lib/snapshot.ts";

function family(kind: Family["kind"], name: string, unit = "", labels: string[] = [], help = "Help"): Family {
  return { name, kind, unit, help, labels };
}

function reading(family: Family, ...points: [labels: string[], value: number][]): Reading {
  return { family, points: points.map(([labels, value]) => ({ labels, value })), histograms: [] };
}

const CASES: readonly { name: string; readings: Reading[]; text: string; open: string }[] = [
  {
    name: "nothing at all",
    readings: [],
    text: "",
    open: "# EOF\n",
  },
  {
    name: "a family without points",
    readings: [reading(family("gauge", "a"))],
    text: "",
    open: "# EOF\n",
  },
  {
    name: "a counter with a unit",
    readings: [reading(family("counter", "x_bytes", "bytes", ["pool"]), [["a"], 7], [["b"], 2 ** 53])],
    text: "# HELP x_bytes_total Help\n# TYPE x_bytes_total counter\n" +
      'x_bytes_total{pool="a"} 7\nx_bytes_total{pool="b"} 9007199254740992\n',
    open: "# HELP x_bytes Help\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\n" +
      'x_bytes_total{pool="a"} 7\nx_bytes_total{pool="b"} 9007199254740992\n# EOF\n',
  },
  {
    name: "gauges without labels, and numbers that have no digits",
    readings: [
      reading(family("gauge", "a"), [[], 0.25]),
      reading(family("gauge", "b"), [[], Infinity]),
      reading(family("gauge", "c"), [[], -Infinity]),
      reading(family("gauge", "d"), [[], NaN]),
      reading(family("gauge", "e"), [[], 1e21]),
    ],
    text: [
      "# HELP a Help\n# TYPE a gauge\na 0.25\n# HELP b Help\n# TYPE b gauge\nb +Inf\n",
      "# HELP c Help\n# TYPE c gauge\nc -Inf\n# HELP d Help\n# TYPE d gauge\nd NaN\n",
      "# HELP e Help\n# TYPE e gauge\ne 1e+21\n",
    ].join(""),
    open: [
      "# HELP a Help\n# TYPE a gauge\na 0.25\n# HELP b Help\n# TYPE b gauge\nb +Inf\n",
      "# HELP c Help\n# TYPE c gauge\nc -Inf\n# HELP d Help\n# TYPE d gauge\nd NaN\n",
      "# HELP e Help\n# TYPE e gauge\ne 1e+21\n# EOF\n",
    ].join(""),
  },
  {
    name: "what only informs",
    readings: [reading(family("info", "build", "", ["version", "os"]), [["1", "Linux"], 1])],
    text: '# HELP build_info Help\n# TYPE build_info gauge\nbuild_info{version="1",os="Linux"} 1\n',
    open: '# HELP build Help\n# TYPE build info\nbuild_info{version="1",os="Linux"} 1\n# EOF\n',
  },
  {
    name: "what has to be escaped",
    readings: [reading(family("gauge", "a", "", ["p"], 'a "b"\\\nc'), [['x"y\\z\nw'], 1])],
    text: '# HELP a a "b"\\\\\\nc\n# TYPE a gauge\na{p="x\\"y\\\\z\\nw"} 1\n',
    open: '# HELP a a \\"b\\"\\\\\\nc\n# TYPE a gauge\na{p="x\\"y\\\\z\\nw"} 1\n# EOF\n',
  },
  {
    name: "halves of characters, and whole ones",
    readings: [reading(family("gauge", "a", "", ["p"]), [["\ud83d|\ude00|\u{1f600}|ü\r"], 1])],
    text: '# HELP a Help\n# TYPE a gauge\na{p="\ufffd|\ufffd|\u{1f600}|ü\r"} 1\n',
    open: '# HELP a Help\n# TYPE a gauge\na{p="\ufffd|\ufffd|\u{1f600}|ü\r"} 1\n# EOF\n',
  },
];

for (const { name, readings, text, open } of CASES) {
  Deno.test(`exposition(): ${name}`, () => {
    strictEqual(exposition(readings, "text"), text);
    strictEqual(exposition(readings, "openmetrics"), open);
  });
}

Deno.test("exposition(): a histogram, its edges in seconds, without exponents", () => {
  const below = BOUNDS_US.map((_, i) => i);
  const buckets = { below, count: 40, sumUs: 2_500_000 };
  const unlabelled = {
    family: family("histogram", "h_seconds", "seconds"),
    points: [],
    histograms: [{ labels: [], buckets }],
  };
  const lines = exposition([unlabelled], "text").split("\n");
  strictEqual(lines[1], "# TYPE h_seconds histogram");
  deepStrictEqual(lines.slice(2, 6), [
    'h_seconds_bucket{le="0.000016"} 0',
    'h_seconds_bucket{le="0.000064"} 1',
    'h_seconds_bucket{le="0.000128"} 2',
    'h_seconds_bucket{le="0.000256"} 3',
  ]);
  deepStrictEqual(lines.slice(-6), [
    'h_seconds_bucket{le="4.194304"} 17',
    'h_seconds_bucket{le="16.777216"} 18',
    'h_seconds_bucket{le="+Inf"} 40',
    "h_seconds_sum 2.5",
    "h_seconds_count 40",
    "",
  ]);
  const labelled = {
    ...unlabelled,
    family: family("histogram", "h_seconds", "seconds", ["p"]),
    histograms: [{ labels: ["a"], buckets }],
  };
  const open = exposition([labelled], "openmetrics").split("\n");
  strictEqual(open[2], "# UNIT h_seconds seconds");
  strictEqual(open[3], 'h_seconds_bucket{p="a",le="0.000016"} 0');
  deepStrictEqual(open.slice(-4), ['h_seconds_sum{p="a"} 2.5', 'h_seconds_count{p="a"} 40', "# EOF", ""]);
});

Deno.test("Exposition.write(): what it remembers changes nothing, whatever comes and goes, and however many write at a time", () => {
  const families = [
    family("counter", "a_bytes", "bytes", ["p"], 'the "first"'),
    family("gauge", "b", "", ["p", "q"]),
    family("histogram", "c_seconds", "seconds", ["p"]),
  ];
  const label = fc.constantFrom("", "x", "server1", 'a"b\\', "ü\u{1f600}");
  const value = fc.oneof(
    fc.nat(12),
    fc.nat({ max: 2 ** 31 }),
    fc.integer({ min: -5, max: 2 ** 53 }),
    fc.double(),
    fc.constantFrom(-0, Infinity, NaN, 2 ** 32 - 1, 2 ** 32, 999_999_999, 1e9, 2 ** 53 - 1),
  );
  const points = fc.array(fc.tuple(label, label, value), { maxLength: 4 });
  const histograms = fc.array(fc.tuple(label, fc.nat(1e6), value), { maxLength: 2 });
  const documents = fc.array(
    fc.record({ a: points, b: points, c: histograms, kept: fc.boolean() }),
    { maxLength: 8 },
  );
  fc.assert(fc.property(documents, fc.constantFrom<TextFormat>("text", "openmetrics"), (all, format) => {
    const remembering = new Exposition(format);
    let last: Reading[] = [];
    const writing: { readonly work: ReturnType<Exposition["write"]>; readonly expected: string }[] = [];
    for (const { a, b, c, kept } of all) {
      const [first, second, third] = families as [Family, Family, Family];
      const now: Reading[] = [
        reading(first, ...a.map(([p, , v]): [string[], number] => [[p], v])),
        reading(second, ...b.map(([p, q, v]): [string[], number] => [[p, q], v])),
        {
          family: third,
          points: [],
          histograms: c.map(([p, count, us]) => ({
            labels: [p],
            buckets: { below: BOUNDS_US.map((_, i) => Math.floor(count * i / 20)), count, sumUs: us },
          })),
        },
      ];
      // The same points with other numbers, mostly.
      last = kept
        ? last.map(({ family, points, histograms }) => ({
          family,
          points: points.map(({ labels, value }, i) => ({
            labels: [...labels],
            value: a[i]?.[2] ?? value + 1,
          })),
          histograms,
        }))
        : now;
      writing.push({ work: remembering.write(last), expected: exposition(last, format) });
      // Two of them begin before either ends, now and then.
      if (writing.length === 2 || kept) { for (const one of writing.splice(0)) end(one); }
    }
    for (const one of writing) end(one);
  }));
  function end({ work, expected }: { work: ReturnType<Exposition["write"]>; expected: string }): void {
    const { bytes, release } = atOnce(work);
    strictEqual(new TextDecoder().decode(bytes), expected);
    release();
  }
});

Deno.test("Exposition.write(): a document stays as it is until it is given back", () => {
  const exposition = new Exposition("text");
  const write = (value: number) => atOnce(exposition.write([reading(family("gauge", "a"), [[], value])]));
  const first = write(1);
  const second = write(2);
  const text = ({ bytes }: { bytes: Uint8Array }) => new TextDecoder().decode(bytes).split("\n")[2];
  deepStrictEqual([first, second].map(text), ["a 1", "a 2"]);
  first.release();
  const third = write(333);
  deepStrictEqual([second, third].map(text), ["a 2", "a 333"]);
});

Deno.test("exposition(): no label's value ends a line or a value, whatever it is", () => {
  const one = family("gauge", "a", "", ["p"]);
  const odd = fc.oneof(fc.constantFrom(10, 13, 34, 92, 0xd83d, 0xde00), fc.integer({ min: 0, max: 0xffff }));
  fc.assert(fc.property(fc.array(odd, { maxLength: 20 }), (units) => {
    const value = String.fromCharCode(...units);
    for (const format of ["text", "openmetrics"] as const) {
      const line = exposition([reading(one, [[value], 1])], format).split("\n")[2]!;
      const [, escaped] = /^a\{p="((?:[^"\\]|\\["\\n])*)"\} 1$/s.exec(line)!;
      const back = escaped!.replaceAll(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c);
      strictEqual(back, value.toWellFormed());
    }
  }));
});

Deno.test("FAMILIES: names and units are as Prometheus wants them, and no name is there twice", () => {
  strictEqual(new Set(FAMILIES.map(sampleName)).size, FAMILIES.length);
  for (const { name, kind, unit, help, labels } of FAMILIES) {
    match(name, /^(ringmaster|process)_[a-z_]+[a-z]$/);
    ok(!/_(total|count|sum|bucket|info|ms|us|gauge|counter)$/.test(name), name);
    ok(unit === "" ? !/_(bytes|seconds)/.test(name) : name.endsWith(`_${unit}`), name);
    ok(kind !== "histogram" || unit === "seconds", name);
    match(help, /^[A-Z01m].*[^.]$/);
    ok(!labels.includes("le"));
  }
});

Deno.test("readings() has the families of the table, in its order, and a value for each label", () => {
  const all = [...readings(snapshotOf(2, 3))];
  deepStrictEqual(all.map(({ family }) => family), [...FAMILIES]);
  for (const { family, points, histograms } of all) {
    ok(points.length + histograms.length > 0, family.name);
    for (const { labels } of [...points, ...histograms]) strictEqual(labels.length, family.labels.length);
    const texts = [...points, ...histograms].map(({ labels }) => labels.join("\0"));
    strictEqual(new Set(texts).size, texts.length, `${family.name} has a series twice`);
  }
});

Deno.test("bucketsOf(): classic buckets have the counts of the finer ones, exactly", () => {
  const us = fc.oneof(
    fc.integer({ min: 0, max: 2 ** 29 }),
    fc.constantFrom(...BOUNDS_US.flatMap((b) => [b - 1, b, b + 1])),
  );
  fc.assert(fc.property(fc.array(us, { maxLength: 50 }), (times) => {
    const latency = new Latency(new SharedArrayBuffer(Latency.bytes(2)), 0, 2);
    times.forEach((time, i) => latency.block(i % 2).count(0, 0, time / 1000, 1));
    const { below, count, sumUs } = bucketsOf(latency, 0, 0);
    deepStrictEqual(below, BOUNDS_US.map((bound) => times.filter((time) => time < bound).length));
    deepStrictEqual([count, sumUs], [times.length, times.reduce((sum, time) => sum + time, 0)]);
  }));
});

Deno.test("readings() says nothing of what is not known", () => {
  const lost = { ...snapshotOf(1, 1), openFiles: -1, filesMax: -1 };
  const text = exposition(readings(lost), "text");
  ok(!text.includes("process_open_fds"));
  ok(!text.includes("process_max_fds"));
  const bare = { ...lost, pools: [], certificates: [] };
  ok(!exposition(readings(bare), "text").includes("{pool="));
});

const PROMETHEUS_2 =
  "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
  "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
  "text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/** With native histograms Prometheus 2 puts it before the others, Prometheus 3 too. */
const PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

const ACCEPTED: readonly [accept: string | null, format: Format][] = [
  [null, "text"],
  ["", "text"],
  ["*/*", "text"],
  ["text/html,application/xhtml+xml,*/*;q=0.8", "text"],
  [PROMETHEUS_2, "openmetrics"],
  [PROMETHEUS_3, "openmetrics"],
  ["text/plain;version=1.0.0;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8", "text"],
  ["text/plain; version=0.0.4", "text"],
  ["text/plain;version=1.0.0", "text"],
  ["application/openmetrics-text", "openmetrics"],
  ['APPLICATION/OpenMetrics-Text ; Version="1.0.0" ; Q=1', "openmetrics"],
  ["application/openmetrics-text;version=2.0.0", "text"],
  ["application/openmetrics-text;version=2.0.0,application/openmetrics-text;q=0.1", "openmetrics"],
  ["application/openmetrics-text;q=0", "text"],
  ["application/openmetrics-text;q=0.000,*/*", "text"],
  ["application/openmetrics-text;q=0.5,*/*;q=0.9", "text"],
  ["application/openmetrics-text;q=0.5,text/*;q=0.4,*/*;q=0.9", "openmetrics"],
  ["application/openmetrics-text,text/plain", "openmetrics"],
  ["application/openmetrics-text;q=2", "text"],
  ["application/openmetrics-text;q=", "text"],
  ["application/*", "text"],
  ["application/openmetrics-text/1.0.0, ;;;, /, text", "text"],
  [PROTOBUF, "protobuf"],
  [`${PROTOBUF},${PROMETHEUS_2.replace("1.0.0", "1.0.0;q=0.8")}`, "protobuf"],
  [`${PROTOBUF};q=0.7,${PROMETHEUS_3}`, "protobuf"],
  [`${PROTOBUF};q=0.5,${PROMETHEUS_3}`, "openmetrics"],
  [`${PROTOBUF};q=0`, "text"],
  [
    'APPLICATION/vnd.google.protobuf; Proto="io.prometheus.client.MetricFamily"; encoding="delimited"',
    "protobuf",
  ],
  ["application/vnd.google.protobuf", "text"],
  ["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", "text"],
  ["application/vnd.google.protobuf;proto=other;encoding=delimited", "text"],
];

for (const [accept, format] of ACCEPTED) {
  Deno.test(`formatFor(): ${accept === null ? "nothing" : `'${accept}'`} is ${format}`, () => {
    strictEqual(formatFor(accept), format);
  });
}

Deno.test("formatFor() takes any header", () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (accept) => {
    ok(["text", "openmetrics", "protobuf"].includes(formatFor(accept)));
  }));
});
