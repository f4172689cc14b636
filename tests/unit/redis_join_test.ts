/**
 * One reply out of several: what fits is joined to the byte, what does not fit is an error reply and never an exception.
 * That joins undo splits for any keys and owners is in tests/property/redis_scanners_test.ts.
 */
import { ok, strictEqual } from "node:assert/strict";
import { JOIN } from "../../src/protocol/redis/command.ts";
import {
  firstError,
  joinEvery,
  joinOk,
  joinSum,
  joinValues,
  type Part,
} from "../../src/protocol/redis/join.ts";
import { latin1, textOf } from "../lib/bytes.ts";

const MISMATCH = "-ERR Invalid argument: the servers' replies do not fit together\r\n";
const ATTRIBUTE = "|1\r\n+ttl\r\n:3600\r\n";

/** Each reply in an array of its own, with other bytes around it. */
function partsOf(replies: string[]): Part[] {
  return replies.map((reply, i) => {
    const before = "$9\r\n".slice(0, i % 5);
    const bytes = latin1(`${before}${reply}:7\r\n-ERR not mine\r\n`);
    return { bytes, start: before.length, end: before.length + reply.length };
  });
}

const VALUES: [name: string, replies: string[], owners: number[], joined: string][] = [
  ["one part", ["*2\r\n$1\r\na\r\n$1\r\nb\r\n"], [0, 0], "*2\r\n$1\r\na\r\n$1\r\nb\r\n"],
  [
    "two parts in turn",
    ["*2\r\n$1\r\na\r\n$1\r\nc\r\n", "*2\r\n$1\r\nb\r\n$1\r\nd\r\n"],
    [0, 1, 0, 1],
    "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n",
  ],
  [
    "neighbours of one part",
    ["*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nd\r\n", "*1\r\n$1\r\nc\r\n"],
    [0, 0, 1, 0],
    "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n",
  ],
  [
    "nulls and empty values",
    ["*2\r\n$-1\r\n$0\r\n\r\n", "*1\r\n$-1\r\n"],
    [0, 1, 0],
    "*3\r\n$-1\r\n$-1\r\n$0\r\n\r\n",
  ],
  ["RESP3 nulls", ["*1\r\n_\r\n", "*1\r\n_\r\n"], [1, 0], "*2\r\n_\r\n_\r\n"],
  [
    "values that look like replies",
    ["*1\r\n$4\r\n$1\r\n\r\n", "*1\r\n$5\r\n*2\r\n:\r\n"],
    [1, 0],
    "*2\r\n$5\r\n*2\r\n:\r\n$4\r\n$1\r\n\r\n",
  ],
  [
    "other types inside, each whole",
    ["*2\r\n*2\r\n:1\r\n$-1\r\n%1\r\n+k\r\n,1.5\r\n", "*2\r\n-ERR x\r\n(12\r\n"],
    [0, 1, 0, 1],
    "*4\r\n*2\r\n:1\r\n$-1\r\n-ERR x\r\n%1\r\n+k\r\n,1.5\r\n(12\r\n",
  ],
  [
    "a streamed string",
    ["*1\r\n$?\r\n;3\r\nabc\r\n;0\r\n", "*1\r\n$1\r\nb\r\n"],
    [1, 0],
    "*2\r\n$1\r\nb\r\n$?\r\n;3\r\nabc\r\n;0\r\n",
  ],
  [
    "an attribute of an element",
    [`*1\r\n${ATTRIBUTE}$1\r\na\r\n`, "*1\r\n$1\r\nb\r\n"],
    [1, 0],
    `*2\r\n$1\r\nb\r\n${ATTRIBUTE}$1\r\na\r\n`,
  ],
  [
    "an attribute before a part",
    [`${ATTRIBUTE}*1\r\n$1\r\na\r\n`, "*1\r\n$1\r\nb\r\n"],
    [1, 0],
    "*2\r\n$1\r\nb\r\n$1\r\na\r\n",
  ],
  [
    "a count that gets a digit more",
    [`*5\r\n${"$1\r\na\r\n".repeat(5)}`, `*5\r\n${"$1\r\nb\r\n".repeat(5)}`],
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    `*10\r\n${"$1\r\na\r\n".repeat(5)}${"$1\r\nb\r\n".repeat(5)}`,
  ],
  // What does not fit
  ["an error", ["*1\r\n$1\r\na\r\n", "-ERR first\r\n", "-ERR second\r\n"], [0, 1, 2], "-ERR first\r\n"],
  ["an error before a mismatch", ["*9\r\n", "-ERR x\r\n"], [0, 1], "-ERR x\r\n"],
  ["a bulk error", ["*1\r\n$1\r\na\r\n", "!5\r\nERR x\r\n"], [0, 1], "!5\r\nERR x\r\n"],
  [
    "an error with an attribute",
    ["*1\r\n$1\r\na\r\n", `${ATTRIBUTE}-ERR x\r\n`],
    [0, 1],
    `${ATTRIBUTE}-ERR x\r\n`,
  ],
  ["a value too many", ["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a value too few", ["*1\r\n$1\r\na\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1, 0], MISMATCH],
  ["counts that only sum up", ["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*0\r\n"], [0, 1], MISMATCH],
  ["an empty array", ["*0\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a null array", ["*-1\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a null", ["_\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a status", ["+OK\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["an integer", ["*1\r\n$1\r\nc\r\n", ":1\r\n"], [0, 1], MISMATCH],
  ["a bulk", ["*1\r\n$1\r\nc\r\n", "$1\r\na\r\n"], [0, 1], MISMATCH],
  ["a map of one pair", ["%1\r\n$1\r\na\r\n$1\r\nb\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a set", ["~1\r\n$1\r\na\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a push", [">1\r\n$1\r\na\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
  ["a streamed array", ["*?\r\n$1\r\na\r\n.\r\n", "*1\r\n$1\r\nc\r\n"], [0, 1], MISMATCH],
];

for (const [name, replies, owners, joined] of VALUES) {
  Deno.test(`joinValues() with ${name}`, () => {
    strictEqual(textOf(joinValues(partsOf(replies), Uint16Array.from(owners))), joined);
  });
}

Deno.test("joinValues() does not throw at replies that are cut off", () => {
  const replies = ["*2\r\n$3\r\nabc\r\n$-1\r\n", `${ATTRIBUTE}*2\r\n*1\r\n:1\r\n$?\r\n;1\r\na\r\n;0\r\n`];
  for (const reply of replies) {
    for (let end = 0; end < reply.length; end++) {
      for (const after of ["", "\r\n", "$1\r\na\r\n", "*1\r\n"]) {
        const part = { bytes: latin1(reply.slice(0, end) + after), start: 0, end };
        const whole = partsOf(["*1\r\n$1\r\nc\r\n"])[0]!;
        strictEqual(
          textOf(joinValues([part, whole], Uint16Array.of(0, 1, 0))),
          MISMATCH,
          `${end} of ${reply}`,
        );
        for (const kind of Object.values(JOIN)) joinEvery([part, whole], kind);
        joinOk([part]);
        joinSum([part]);
      }
    }
  }
});

const SUMS: [name: string, replies: string[], joined: string][] = [
  ["one part", [":3\r\n"], ":3\r\n"],
  ["three parts", [":3\r\n", ":0\r\n", ":40\r\n"], ":43\r\n"],
  ["negative and signed parts", [":-3\r\n", ":+1\r\n"], ":-2\r\n"],
  ["minus zero", [":-0\r\n", ":-0\r\n"], ":0\r\n"],
  ["an attribute", [`${ATTRIBUTE}:3\r\n`, ":4\r\n"], ":7\r\n"],
  ["an error", [":3\r\n", "-ERR x\r\n"], "-ERR x\r\n"],
  ["a status", [":3\r\n", "+OK\r\n"], MISMATCH],
  ["a first part that is none", ["$1\r\n1\r\n", ":3\r\n"], MISMATCH],
  ["a null", [":3\r\n", "$-1\r\n"], MISMATCH],
  ["a number too large to be exact", [":9007199254740993\r\n", ":1\r\n"], MISMATCH],
  ["a sum too large to be exact", [":9007199254740991\r\n", ":1\r\n"], MISMATCH],
  ["a number of 30 digits", [`:${"9".repeat(30)}\r\n`], MISMATCH],
];

for (const [name, replies, joined] of SUMS) {
  Deno.test(`joinSum() with ${name}`, () => strictEqual(textOf(joinSum(partsOf(replies))), joined));
}

const OKS: [name: string, replies: string[], joined: string][] = [
  ["all of them OK", ["+OK\r\n", "+OK\r\n"], "+OK\r\n"],
  ["an error", ["+OK\r\n", "-OOM command not allowed\r\n"], "-OOM command not allowed\r\n"],
  ["another status", ["+OK\r\n", "+QUEUED\r\n"], MISMATCH],
  ["a status of the same length", ["+OK\r\n", "+NO\r\n"], MISMATCH],
  ["an integer", [":1\r\n", "+OK\r\n"], MISMATCH],
  ["a null", ["+OK\r\n", "$-1\r\n"], MISMATCH],
];

for (const [name, replies, joined] of OKS) {
  Deno.test(`joinOk() with ${name}`, () => strictEqual(textOf(joinOk(partsOf(replies))), joined));
}

const EVERY: [kind: keyof typeof JOIN, name: string, replies: string[], joined: string][] = [
  ["SUM", "integers", [":3\r\n", ":4\r\n"], ":7\r\n"],
  ["SUM", "an error", [":3\r\n", "-ERR x\r\n"], "-ERR x\r\n"],
  ["SUM", "an array", [":3\r\n", "*0\r\n"], MISMATCH],
  ["MIN", "integers", [":3\r\n", ":2\r\n", ":4\r\n"], ":2\r\n"],
  ["MIN", "an error", ["-ERR x\r\n", ":2\r\n"], "-ERR x\r\n"],
  ["MIN", "a null", [":3\r\n", "$-1\r\n"], MISMATCH],
  [
    "CONCAT",
    "arrays",
    ["*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n$1\r\nb\r\n:1\r\n"],
    "*3\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n",
  ],
  ["CONCAT", "empty arrays", ["*0\r\n", "*0\r\n"], "*0\r\n"],
  ["CONCAT", "sets", ["~1\r\n:1\r\n", "~1\r\n:2\r\n"], "~2\r\n:1\r\n:2\r\n"],
  ["CONCAT", "maps", ["%1\r\n:1\r\n:2\r\n", "%1\r\n:3\r\n:4\r\n"], "%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n"],
  [
    "CONCAT",
    "a count that gets a digit more",
    [`*9\r\n${":1\r\n".repeat(9)}`, "*1\r\n:2\r\n"],
    `*10\r\n${":1\r\n".repeat(9)}:2\r\n`,
  ],
  [
    "CONCAT",
    "attributes",
    [`${ATTRIBUTE}*1\r\n:1\r\n`, `*1\r\n${ATTRIBUTE}:2\r\n`],
    `*2\r\n:1\r\n${ATTRIBUTE}:2\r\n`,
  ],
  ["CONCAT", "an error", ["*1\r\n$1\r\na\r\n", "-ERR x\r\n"], "-ERR x\r\n"],
  ["CONCAT", "an array and a map", ["*2\r\n:1\r\n:2\r\n", "%1\r\n:3\r\n:4\r\n"], MISMATCH],
  ["CONCAT", "a map and an array", ["%1\r\n:3\r\n:4\r\n", "*2\r\n:1\r\n:2\r\n"], MISMATCH],
  ["CONCAT", "pushes", [">1\r\n:1\r\n", ">1\r\n:2\r\n"], MISMATCH],
  ["CONCAT", "a null array", ["*1\r\n:1\r\n", "*-1\r\n"], MISMATCH],
  ["CONCAT", "streamed arrays", ["*?\r\n:1\r\n.\r\n", "*?\r\n:1\r\n.\r\n"], MISMATCH],
  ["CONCAT", "a status", ["+OK\r\n", "*0\r\n"], MISMATCH],
  ["SAME", "statuses", ["+OK\r\n", "+OK\r\n"], "+OK\r\n"],
  ["SAME", "an error", ["+OK\r\n", "-ERR x\r\n"], "-ERR x\r\n"],
  ["SAME", "bulks", ["$3\r\nabc\r\n", "$3\r\nabc\r\n"], "$3\r\nabc\r\n"],
  ["NONE", "anything", ["$3\r\nabc\r\n", "+OK\r\n"], "$3\r\nabc\r\n"],
  ["AND", "flags", ["*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:1\r\n"], "*3\r\n:1\r\n:0\r\n:0\r\n"],
  ["AND", "no flags", ["*0\r\n", "*0\r\n"], "*0\r\n"],
  [
    "AND",
    "ten flags",
    [`*10\r\n${":1\r\n".repeat(10)}`, `*10\r\n${":0\r\n:1\r\n".repeat(5)}`],
    `*10\r\n${":0\r\n:1\r\n".repeat(5)}`,
  ],
  ["AND", "an attribute", [`${ATTRIBUTE}*1\r\n:1\r\n`, "*1\r\n:1\r\n"], "*1\r\n:1\r\n"],
  ["AND", "an error", ["*1\r\n:1\r\n", "-NOSCRIPT x\r\n"], "-NOSCRIPT x\r\n"],
  ["AND", "other counts", ["*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n"], MISMATCH],
  ["AND", "another type of the same length", ["*1\r\n:1\r\n", "$2\r\nab\r\n"], MISMATCH],
  ["AND", "another type first", ["$3\r\n101\r\n", "$3\r\n100\r\n"], MISMATCH],
  ["AND", "other numbers", ["*1\r\n:1\r\n", "*1\r\n:2\r\n"], MISMATCH],
  ["AND", "other elements", ["*1\r\n:1\r\n", "*1\r\n+1\r\n"], MISMATCH],
  ["AND", "a null array", ["*1\r\n:1\r\n", "*-1\r\n"], MISMATCH],
  ["ONE_OK", "one success", ["-NOTBUSY x\r\n", "+OK\r\n", "-NOTBUSY y\r\n"], "+OK\r\n"],
  ["ONE_OK", "errors only", ["-NOTBUSY x\r\n", "-NOTBUSY y\r\n"], "-NOTBUSY x\r\n"],
];

for (const [kind, name, replies, joined] of EVERY) {
  Deno.test(`joinEvery() ${kind} with ${name}`, () => {
    strictEqual(textOf(joinEvery(partsOf(replies), JOIN[kind])), joined);
  });
}

Deno.test("joinEvery() has a case above for every kind", () => {
  for (const kind of Object.keys(JOIN)) ok(EVERY.some(([of]) => of === kind), kind);
});

Deno.test("joins return bytes that the parts can be forgotten under", () => {
  const cases: [string[], (parts: Part[]) => Uint8Array | null][] = [
    [["*1\r\n$1\r\na\r\n", "*1\r\n$1\r\nb\r\n"], (parts) => joinValues(parts, Uint16Array.of(1, 0))],
    [["+OK\r\n", "-ERR x\r\n"], firstError],
    [["+a\r\n", "+a\r\n"], (parts) => joinEvery(parts, JOIN.SAME)],
    [["-ERR x\r\n", "+a\r\n"], (parts) => joinEvery(parts, JOIN.ONE_OK)],
    [["*1\r\n:1\r\n", "*1\r\n:1\r\n"], (parts) => joinEvery(parts, JOIN.AND)],
    [["*1\r\n:1\r\n", "*1\r\n:1\r\n"], (parts) => joinEvery(parts, JOIN.CONCAT)],
  ];
  for (const [replies, join] of cases) {
    const parts = partsOf(replies);
    const joined = join(parts)!;
    const before = textOf(joined);
    for (const part of parts) part.bytes.fill(0);
    strictEqual(textOf(joined), before);
  }
});
