/**
 * The request scanner: every case whole, byte by byte, in every two-way split and in random cuts; once asked afresh each
 * time and once with a RequestResume, as a client connection does it. Where our words for a broken request differ
 * from Redis' own is in tests/real/redis_inline_test.ts, which asks a redis-server.
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Args } from "../../src/protocol/redis/args.ts";
import {
  BAD_COUNT,
  BAD_END,
  BAD_LENGTH,
  BAD_QUOTES,
  BAD_TYPE,
  INLINE,
  INLINE_TOO_LONG,
  NEED_MORE,
  noteArguments,
  requestError,
  type RequestLimits,
  RequestResume,
  scanRequest,
  skimRequest,
  TOO_LARGE,
  TOO_MANY_ARGUMENTS,
} from "../../src/protocol/redis/request.ts";
import { concat, latin1, request, show, textOf } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";
import { thorough } from "../lib/runs.ts";

const LIMITS: RequestLimits = { requestSizeMax: 2000, argumentsMax: 300 };

/** What a scan came to: its code or offset, and where the arguments lie from the request's start on. */
interface Outcome {
  result: number;
  args: number[][];
}

/** Scans `bytes` in every cut, afresh and with a resume; all must agree. */
function scanEveryWay(bytes: Uint8Array, limits = LIMITS): Outcome {
  const args = new Args();
  let last = NEED_MORE;
  const note = (start: number) => {
    const places: number[][] = [];
    if (last >= 0) {
      for (let i = 0; i < args.count; i++) places.push([args.starts[i]! - start, args.ends[i]! - start]);
    }
    return places;
  };
  const afresh = feedScan(bytes, (array, start, end) => {
    return last = scanRequest(array, start, end, args, limits, new RequestResume());
  }, { note });

  const resume = new RequestResume();
  let calls = 0;
  const moving = (array: Uint8Array, start: number, end: number) => {
    // The inbox moves a half-received request about: the resume must not depend on where it lies.
    const place = calls++ % 3;
    const moved = concat([new Uint8Array(place), array.subarray(start)]);
    const result = scanRequest(moved, place, place + end - start, args, limits, resume);
    if (result >= 0) {
      strictEqual(
        resume.count + resume.index + resume.at + resume.needed,
        0,
        "resume is fresh after a request",
      );
      for (let i = 0; i < args.count; i++) {
        args.starts[i]! += start - place;
        args.ends[i]! += start - place;
      }
    } else if (result === NEED_MORE && resume.needed > 0) {
      ok(resume.needed > end - start, "needs more than there is");
    }
    return last = result < 0 ? result : result + start - place;
  };
  const resumed = feedScan(bytes, moving, { note, start0: () => resume.reset() });
  deepStrictEqual(resumed, afresh, `${show(bytes)}: resumed differs from afresh`);
  return { result: afresh.result, args: afresh.noted };
}

function textsOf(bytes: Uint8Array, places: number[][]): string[] {
  return places.map(([start, end]) => textOf(bytes, start, end));
}

const GOOD: [name: string, text: string, args: string[]][] = [
  ["one argument", "*1\r\n$4\r\nPING\r\n", ["PING"]],
  ["GET", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n", ["GET", "key:000000000001"]],
  ["an empty key and value", "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n", ["SET", "", ""]],
  ["an empty command name", "*1\r\n$0\r\n\r\n", [""]],
  ["CRLF, $ and * in a value", "*2\r\n$4\r\nECHO\r\n$10\r\n\r\n$3\r\n*2\r\n\r\n", [
    "ECHO",
    "\r\n$3\r\n*2\r\n",
  ]],
  ["binary bytes", "*2\r\n$4\r\nECHO\r\n$3\r\n\0\xff\x80\r\n", ["ECHO", "\0\xff\x80"]],
  ["a length of one digit, 9", `*1\r\n$9\r\n${"a".repeat(9)}\r\n`, ["a".repeat(9)]],
  ["a length of two digits, 10", `*1\r\n$10\r\n${"a".repeat(10)}\r\n`, ["a".repeat(10)]],
  ["a length of two digits, 99", `*1\r\n$99\r\n${"a".repeat(99)}\r\n`, ["a".repeat(99)]],
  ["a length of three digits", `*1\r\n$100\r\n${"a".repeat(100)}\r\n`, ["a".repeat(100)]],
  ["a count of two digits", "*12\r\n" + "$1\r\na\r\n".repeat(12), Array(12).fill("a")],
  ["more arguments than Args has room for", "*100\r\n" + "$1\r\na\r\n".repeat(100), Array(100).fill("a")],
  ["no argument, *0", "*0\r\n", []],
  ["no argument, *-1", "*-1\r\n", []],
  ["no argument, *-10", "*-10\r\n", []],
];

for (const [name, text, args] of GOOD) {
  Deno.test(`scanRequest() takes ${name}`, () => {
    const bytes = latin1(text);
    const outcome = scanEveryWay(bytes);
    strictEqual(outcome.result, bytes.length);
    deepStrictEqual(textsOf(bytes, outcome.args), args);
  });

  Deno.test(`scanRequest() asks for more at every prefix of ${name}, and stops at its end`, () => {
    const bytes = latin1(text);
    const scratch = new Args();
    for (let end = 0; end < bytes.length; end++) {
      strictEqual(
        scanRequest(bytes, 0, end, scratch, LIMITS, new RequestResume()),
        NEED_MORE,
        `${end} bytes`,
      );
    }
    const twice = concat([bytes, bytes]);
    strictEqual(scanRequest(twice, 0, twice.length, scratch, LIMITS, new RequestResume()), bytes.length);
  });
}

const BAD: [name: string, text: string, code: number][] = [
  ["a count without digits", "*\r\n", BAD_COUNT],
  ["a count that is a letter", "*x\r\n", BAD_COUNT],
  ["a count with a letter behind", "*1x\r\n", BAD_COUNT],
  ["a count with a plus", "*+1\r\n", BAD_COUNT],
  ["a count with a space", "* 1\r\n", BAD_COUNT],
  ["a count with a leading zero", "*01\r\n$4\r\nPING\r\n", BAD_COUNT],
  ["a count of two zeros", "*00\r\n", BAD_COUNT],
  ["a count of eleven digits", "*12345678901\r\n", BAD_COUNT],
  ["a count that ends in LF", "*1\n$4\r\nPING\r\n", BAD_COUNT],
  ["a count that ends in CR and something else", "*1\rx$4\r\nPING\r\n", BAD_COUNT],
  ["a null count without digits", "*-\r\n", BAD_COUNT],
  ["a null count with a letter", "*-1x\r\n", BAD_COUNT],
  ["a null count that ends in CR CR", "*-1\r\r", BAD_COUNT],
  ["a null count without end", "*-" + "1".repeat(40), BAD_COUNT],
  ["too many arguments", "*301\r\n", TOO_MANY_ARGUMENTS],
  ["far too many arguments", "*9999999999\r\n", TOO_MANY_ARGUMENTS],
  ["an argument that is no bulk", "*1\r\n:4\r\n", BAD_TYPE],
  ["an argument that is an array", "*2\r\n$3\r\nGET\r\n*1\r\n", BAD_TYPE],
  ["an argument too few, and another request", "*2\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", BAD_TYPE],
  ["a length without digits", "*1\r\n$\r\n\r\n", BAD_LENGTH],
  ["a null argument", "*2\r\n$3\r\nGET\r\n$-1\r\n", BAD_LENGTH],
  ["a length with a plus", "*1\r\n$+4\r\nPING\r\n", BAD_LENGTH],
  ["a length with a space", "*1\r\n$ 4\r\nPING\r\n", BAD_LENGTH],
  ["a length with a leading zero", "*1\r\n$04\r\nPING\r\n", BAD_LENGTH],
  ["a length of two zeros", "*1\r\n$00\r\n\r\n", BAD_LENGTH],
  ["a length with a letter behind", "*1\r\n$4x\r\nPING\r\n", BAD_LENGTH],
  ["a length of eleven digits", "*1\r\n$12345678901\r\n", BAD_LENGTH],
  ["a length of one digit that ends in LF", "*1\r\n$4\nPING\r\n", BAD_LENGTH],
  ["a length of two digits that ends in LF", `*1\r\n$10\n${"a".repeat(10)}\r\n`, BAD_LENGTH],
  ["a length of one digit that ends in CR and something else", "*1\r\n$4\rxPING\r\n", BAD_LENGTH],
  ["a length of two digits that ends in CR CR", `*1\r\n$10\r\r${"a".repeat(10)}\r\n`, BAD_LENGTH],
  ["a letter where a one-digit length should be", "*1\r\n$x\r\nPING\r\n", BAD_LENGTH],
  ["a letter as second digit", "*1\r\n$1x\r\nPING\r\n", BAD_LENGTH],
  ["an argument longer than said", "*1\r\n$4\r\nPINGS\r\n", BAD_END],
  ["an argument shorter than said", "*1\r\n$5\r\nPING\r\n*1\r\n", BAD_END],
  ["an argument that ends in LF", "*1\r\n$4\r\nPING\n*1\r\n", BAD_END],
  ["an argument that ends in CR CR", "*1\r\n$4\r\nPING\r\r", BAD_END],
  ["a request larger than the limit", "*2\r\n$3\r\nGET\r\n$1990\r\n", TOO_LARGE],
  ["a length of ten nines", "*1\r\n$9999999999\r\n", TOO_LARGE],
  ["an inline command", "PING\r\n", INLINE],
  ["an empty line", "\r\n", INLINE],
  ["a reply", "+OK\r\n", INLINE],
];

for (const [name, text, code] of BAD) {
  Deno.test(`scanRequest() knows ${name}`, () => {
    strictEqual(scanEveryWay(latin1(text)).result, code);
  });
}

thorough(
  "scanRequest() takes a request of exactly the limit and one of as many arguments as the limit",
  () => {
    const head = "*1\r\n$1987\r\n";
    const largest = latin1(head + "a".repeat(1987) + "\r\n");
    strictEqual(largest.length, 2000);
    strictEqual(scanEveryWay(largest).result, 2000);
    strictEqual(scanEveryWay(latin1("*1\r\n$1988\r\n")).result, TOO_LARGE);
    const most = request(...Array(300).fill(""));
    strictEqual(scanEveryWay(most, { ...LIMITS, requestSizeMax: 3000 }).result, most.length);
  },
);

Deno.test("scanRequest() makes no room for arguments that have only been announced", () => {
  const args = new Args();
  const room = args.starts.length;
  const limits = { requestSizeMax: 2 ** 29, argumentsMax: 2 ** 20 };
  scanRequest(latin1("*1000000\r\n$1\r\na\r\n"), 0, 17, args, limits, new RequestResume());
  strictEqual(args.starts.length, room);
});

Deno.test("scanRequest() says how long a request must be once a length is known", () => {
  const resume = new RequestResume();
  const args = new Args();
  const bytes = latin1("*2\r\n$3\r\nGET\r\n$100\r\nkey");
  strictEqual(scanRequest(bytes, 0, bytes.length, args, LIMITS, resume), NEED_MORE);
  strictEqual(resume.needed, 13 + 6 + 100 + 2);
});

/** An array that counts how often an element is read. */
function counting(bytes: Uint8Array): { array: Uint8Array; reads: () => number } {
  let reads = 0;
  const array = new Proxy(bytes, {
    get(target, key) {
      reads++;
      return target[key as unknown as number];
    },
  });
  return { array, reads: () => reads };
}

for (const [count, piece] of [[500, 1], [500, 7], [5000, 100]]) {
  Deno.test(`scanRequest() reads ${count} arguments that come in pieces of ${piece} in linear work`, () => {
    const bytes = request(...Array.from({ length: count! }, (_, i) => `argument ${i}`));
    const limits = { requestSizeMax: 2 ** 29, argumentsMax: 2 ** 20 };
    const resume = new RequestResume();
    const args = new Args();
    const { array, reads } = counting(bytes);
    let result = NEED_MORE;
    let calls = 0;
    for (let end = 0; end < bytes.length;) {
      end = Math.min(end + piece!, bytes.length);
      // As Client.receive: not asked before there is what it needs.
      if (end < resume.needed) continue;
      calls++;
      result = scanRequest(array, 0, end, args, limits, resume);
      if (end < bytes.length) strictEqual(result, NEED_MORE);
    }
    strictEqual(result, bytes.length);
    strictEqual(args.count, count);
    // A call reads again at most the header it stopped in; the last walks once more over all headers.
    ok(reads() <= 2 * 12 * count! + 20 * calls, `${reads()} reads in ${calls} calls`);
  });
}

thorough("scanRequest() goes on where it stopped in 1,000,000 arguments of 64 KiB pieces", () => {
  const COUNT = 1_000_000;
  const bytes = latin1(`*${COUNT}\r\n` + "$3\r\nabc\r\n".repeat(COUNT));
  const limits = { requestSizeMax: 2 ** 29, argumentsMax: 2 ** 20 };
  const resume = new RequestResume();
  const args = new Args();
  let walkedAgain = 0;
  let result = NEED_MORE;
  for (let end = 0; end < bytes.length;) {
    end = Math.min(end + 65536, bytes.length);
    result = scanRequest(bytes, 0, end, args, limits, resume);
    if (end < bytes.length) {
      strictEqual(result, NEED_MORE);
      ok(end - resume.at < 9, `resumes at ${resume.at} of ${end}`);
      walkedAgain += end - resume.at;
    }
  }
  strictEqual(result, bytes.length);
  strictEqual(args.count, COUNT);
  strictEqual(args.starts[COUNT - 1], bytes.length - 5);
  ok(walkedAgain < 9 * Math.ceil(bytes.length / 65536));
});

Deno.test("skimRequest() finds the end that scanRequest() finds, in every two-way split", () => {
  const bytes = concat([request("MSET", "a", "", "b", "x".repeat(200), "c", "1"), latin1("*1\r\n$4")]);
  const args = new Args();
  const resume = new RequestResume();
  const end = scanRequest(bytes, 0, bytes.length, args, LIMITS, resume);
  for (let cut = 4; cut < end; cut++) {
    resume.reset();
    strictEqual(scanRequest(bytes, 0, cut, args, LIMITS, resume), NEED_MORE);
    if (resume.count === 0) continue;
    strictEqual(resume.count, 7);
    // It can be asked again as long as the resume is not reset.
    strictEqual(skimRequest(bytes, 0, bytes.length, args, LIMITS, resume), end, `cut at ${cut}`);
    strictEqual(skimRequest(bytes, 0, bytes.length, args, LIMITS, resume), end, `cut at ${cut}`);
  }
  const bad = latin1("*3\r\n$3\r\nGET\r\n$1\r\nabc\r\n");
  resume.reset();
  strictEqual(scanRequest(bad, 0, 13, args, LIMITS, resume), NEED_MORE);
  strictEqual(skimRequest(bad, 0, bad.length, args, LIMITS, resume), BAD_END);
});

Deno.test("noteArguments() notes what scanRequest() does, from any argument on and not more than it may", () => {
  const words = ["MSET", "a", "", "b", "x".repeat(200), "c", "1"];
  const bytes = request(...words);
  const all = new Args();
  strictEqual(scanRequest(bytes, 0, bytes.length, all, LIMITS, new RequestResume()), bytes.length);
  const note = (first: number, count: number, step: number, bytesMax: number) => {
    const args = new Args();
    const at = first === 0 ? 4 : all.ends[first - 1]! + 2;
    const next = noteArguments(bytes, at, 1, count, step, bytesMax, args);
    const noted = args.count - 1;
    strictEqual(next, all.ends[first + noted - 1]! + 2);
    return Array.from({ length: noted }, (_, i) => textOf(bytes, args.starts[i + 1]!, args.ends[i + 1]!));
  };
  deepStrictEqual(note(0, 7, 1, Infinity), words);
  for (let first = 0; first < words.length; first++) {
    for (let count = 1; first + count <= words.length; count++) {
      deepStrictEqual(note(first, count, 1, Infinity), words.slice(first, first + count));
    }
  }
  // The byte after the last allowed one begins no further argument, nor pair.
  deepStrictEqual(note(1, 6, 2, 1), ["a", ""]);
  deepStrictEqual(note(1, 6, 2, 13), ["a", ""]);
  deepStrictEqual(note(1, 6, 2, 14), ["a", "", "b", "x".repeat(200)]);
  deepStrictEqual(note(1, 6, 1, 1), ["a"]);
});

Deno.test("scanRequest() touches a 5 MB value that comes in 1 KiB pieces only at its ends", () => {
  const SIZE = 5_000_000;
  const bytes = request("SET", "key", new Uint8Array(SIZE).fill(42));
  const limits = { requestSizeMax: 2 ** 29, argumentsMax: 2 ** 20 };
  const resume = new RequestResume();
  const args = new Args();
  const { array, reads } = counting(bytes);
  let result = NEED_MORE;
  let calls = 0;
  for (let end = 0; end < bytes.length;) {
    end = Math.min(end + 1024, bytes.length);
    // Asked every time, although a client connection would wait for `needed`.
    result = scanRequest(array, 0, end, args, limits, resume);
    calls++;
  }
  strictEqual(result, bytes.length);
  ok(reads() <= 40 * calls, `${reads()} reads in ${calls} calls`);
});

Deno.test("requestError() has a text that starts as Redis' own do for every code", () => {
  const codes = [
    BAD_COUNT,
    BAD_LENGTH,
    BAD_TYPE,
    BAD_END,
    TOO_MANY_ARGUMENTS,
    TOO_LARGE,
    BAD_QUOTES,
    INLINE_TOO_LONG,
  ];
  for (const code of codes) {
    ok(code <= BAD_COUNT);
    ok(requestError(code, LIMITS).startsWith("Protocol error: "), String(code));
  }
  ok(requestError(TOO_MANY_ARGUMENTS, LIMITS).includes("300"));
  ok(requestError(TOO_LARGE, LIMITS).includes("2000"));
  throws(() => requestError(NEED_MORE, LIMITS));
});
