/**
 * The reply scanner: every case whole, byte by byte, in every two-way split and in random cuts; once asked afresh each
 * time and once with a ReplyResume, as a server connection does it.
 *
 * The first cases are twemproxy's own (its test_all.c): what it takes and what it refuses of RESP2, we do too.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  arrayBody,
  BAD_REPLY,
  countOf,
  firstElement,
  integerOf,
  isError,
  isPush,
  NEED_MORE,
  ReplyResume,
  scanReply,
  typeOf,
} from "../../src/protocol/redis/reply.ts";
import { concat, latin1, show } from "../lib/bytes.ts";
import { feedScan } from "../lib/feed.ts";

function scan(bytes: Uint8Array): number {
  return scanReply(bytes, 0, bytes.length, new ReplyResume());
}

/** Scans `bytes` in every cut, afresh and with a resume; all must agree. Returns the code or offset. */
function scanEveryWay(bytes: Uint8Array): number {
  const afresh = feedScan(bytes, (array, start, end) => scanReply(array, start, end, new ReplyResume()));
  const resume = new ReplyResume();
  let calls = 0;
  const resumed = feedScan(bytes, (array, start, end) => {
    // The inbox moves a half-received reply about: the resume must not depend on where it lies.
    const place = calls++ % 3;
    const moved = concat([new Uint8Array(place), array.subarray(start)]);
    const result = scanReply(moved, place, place + end - start, resume);
    if (result >= 0) {
      deepStrictEqual(resume, new ReplyResume(), "the resume is fresh after a reply");
    } else if (result === NEED_MORE && resume.needed > 0) ok(resume.needed > end - start);
    return result < 0 ? result : result + start - place;
  }, { start0: () => resume.reset() });
  deepStrictEqual(resumed, afresh, `${show(bytes)}: resumed differs from afresh`);
  return afresh.result;
}

const DEPTH = 200;

const GOOD: [name: string, text: string][] = [
  // twemproxy's
  ["an error without a space", "-ERR\r\n"],
  ["an error", "-ERR something bad\r\n"],
  ["a status", "+OK\r\n"],
  ["a bulk", "$6\r\nfoobar\r\n"],
  ["an empty bulk", "$0\r\n\r\n"],
  ["a null bulk", "$-1\r\n"],
  ["an empty array", "*0\r\n"],
  ["an array of bulks", "*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n"],
  ["an array of integers", "*3\r\n:1\r\n:2\r\n:3\r\n"],
  ["a null array", "*-1\r\n"],
  ["nested arrays", "*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Foo\r\n-Bar\r\n"],
  ["an integer without digits", ":\r\n"],
  // RESP2
  ["an empty status", "+\r\n"],
  ["an empty error", "-\r\n"],
  ["a negative integer", ":-1\r\n"],
  ["an integer with a plus", ":+1\r\n"],
  ["the largest integer", ":9223372036854775807\r\n"],
  ["the smallest integer", ":-9223372036854775808\r\n"],
  ["a bulk that looks like replies", "$13\r\n\r\n+OK\r\n$-1\r\n\0\r\n"],
  ["a bulk of ten bytes", "$10\r\n0123456789\r\n"],
  ["a bulk of 123 bytes", `$123\r\n${"x".repeat(123)}\r\n`],
  ["a length with leading zeros", "$03\r\nfoo\r\n"],
  ["nulls and errors in an array", "*4\r\n$-1\r\n*-1\r\n-ERR x\r\n*0\r\n"],
  ["deep nesting", "*1\r\n".repeat(DEPTH) + ":1\r\n"],
  ["a line of high bytes and NUL", "+\0\xff\x80\r\n"],
  ["a long error", `-ERR ${"x".repeat(700)}\r\n`],
  // RESP3
  ["null", "_\r\n"],
  ["true", "#t\r\n"],
  ["false", "#f\r\n"],
  ["a double", ",1.5\r\n"],
  ["a negative double with exponent", ",-1.5e-10\r\n"],
  ["infinity", ",inf\r\n"],
  ["negative infinity", ",-inf\r\n"],
  ["not a number", ",nan\r\n"],
  ["a big number", "(3492890328409238509324850943850943825024385\r\n"],
  ["a script's idea of a big number", "(123  12x\r\n"],
  ["a big number without digits", "(\r\n"],
  ["a negative big number", "(-3492890328409238509324850943850943825024385\r\n"],
  ["a bulk error", "!21\r\nSYNTAX invalid syntax\r\n"],
  ["verbatim text", "=15\r\ntxt:Some string\r\n"],
  ["empty verbatim text", "=4\r\ntxt:\r\n"],
  ["a set", "~3\r\n+a\r\n:1\r\n#t\r\n"],
  ["an empty set", "~0\r\n"],
  ["a map", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n"],
  ["an empty map", "%0\r\n"],
  ["nested maps", "%1\r\n%1\r\n+a\r\n:1\r\n%2\r\n+b\r\n*2\r\n:1\r\n:2\r\n+c\r\n%0\r\n"],
  ["a push", ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"],
  // Redis answers SUBSCRIBE inside MULTI so: the push is an element of EXEC's array.
  ["a push inside an array", "*1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"],
  ["an attribute before a reply", "|1\r\n+ttl\r\n:3600\r\n$3\r\nfoo\r\n"],
  ["an empty attribute", "|0\r\n:1\r\n"],
  ["an attribute inside an array", "*3\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n:3\r\n"],
  ["an attribute before an attribute", "|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n+OK\r\n"],
  ["an attribute inside an attribute", "|1\r\n+a\r\n|1\r\n+x\r\n+y\r\n+b\r\n+OK\r\n"],
  // streamed
  ["a streamed string", "$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;2\r\nld\r\n;0\r\n"],
  ["an empty streamed string", "$?\r\n;0\r\n"],
  ["a streamed string in an array", "*3\r\n:1\r\n$?\r\n;1\r\na\r\n;0\r\n:2\r\n"],
  ["a streamed array", "*?\r\n:1\r\n$1\r\na\r\n.\r\n"],
  ["an empty streamed array", "*?\r\n.\r\n"],
  ["a streamed set", "~?\r\n+a\r\n+b\r\n.\r\n"],
  ["a streamed map", "%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n"],
  ["an empty streamed map", "%?\r\n.\r\n"],
  ["streams in streams", "*?\r\n*?\r\n$?\r\n;0\r\n.\r\n%?\r\n+a\r\n~?\r\n.\r\n.\r\n:1\r\n.\r\n"],
  ["a streamed array in the middle of an array", "*3\r\n:1\r\n*?\r\n*2\r\n:2\r\n:3\r\n.\r\n:4\r\n"],
  ["an attribute in a streamed map", "%?\r\n|1\r\n+x\r\n+y\r\n+a\r\n|1\r\n+x\r\n+y\r\n:1\r\n.\r\n"],
  ["32 streams in each other", "*?\r\n".repeat(32) + ".\r\n".repeat(32)],
];

for (const [name, text] of GOOD) {
  const bytes = latin1(text);
  Deno.test(`scanReply() takes ${name}`, () => {
    strictEqual(scanEveryWay(bytes), bytes.length);
  });

  Deno.test(`scanReply() asks for more at every prefix of ${name}, and stops at its end`, () => {
    for (let end = 0; end < bytes.length; end++) {
      strictEqual(scanReply(bytes, 0, end, new ReplyResume()), NEED_MORE, `${end} bytes`);
    }
    for (const after of ["+OK\r\n", "garbage", "\r\n", ";0\r\n", ".\r\n"]) {
      strictEqual(scan(concat([bytes, latin1(after)])), bytes.length);
    }
  });

  Deno.test(`scanReply() takes ${name} inside an array, a map, a set and a streamed array`, () => {
    for (
      const around of [`*2\r\n${text}:1\r\n`, `%1\r\n+k\r\n${text}`, `~1\r\n${text}`, `*?\r\n${text}.\r\n`]
    ) {
      // One stream more would be too deep.
      if (text.startsWith("*?\r\n".repeat(32)) && around.startsWith("*?")) continue;
      strictEqual(scan(latin1(around)), around.length);
    }
  });
}

const BAD: [name: string, text: string][] = [
  // twemproxy's
  ["an array without a count", "*\r\n"],
  ["an integer that is a letter", ":x\r\n"],
  ["a bulk longer than said", "$3\r\nabcd\r\n\r\n"],
  ["a bulk shorter than said", "$5\r\nabc\r\n+OK\r\n"],
  ["a bulk that ends in LF", "$3\r\nabc\nx"],
  ["a bulk that ends in CR CR", "$3\r\nabc\r\r"],
  ["a bad element in an array", "*2\r\n:1\r\nx\r\n"],
  // types
  ["a letter", "x\r\n"],
  ["an empty line", "\r\n"],
  ["a lone LF", "\n"],
  ["a NUL", "\0"],
  ["HTTP", "HTTP/1.1 400 Bad Request\r\n"],
  ["memcached", "ERROR\r\n"],
  ["a stray piece", ";3\r\nabc\r\n"],
  ["a stray end", ".\r\n"],
  ["an end inside an array", "*2\r\n:1\r\n.\r\n"],
  // lines
  ["a status that ends in LF", "+OK\n"],
  ["a status with LF inside", "+O\nK\r\n"],
  ["a status with CR inside", "+O\rK\r\n"],
  ["an error that ends in CR CR", "-ERR\r\r"],
  ["an integer that ends in LF", ":1\n"],
  ["an integer with a letter behind", ":1x\r\n"],
  ["an integer with two signs", ":--1\r\n"],
  ["an integer with a space", ": 1\r\n"],
  ["an integer of 40 digits", `:${"1".repeat(40)}\r\n`],
  // lengths
  ["a bulk without a length", "$\r\n\r\n"],
  ["a length of -2", "$-2\r\n"],
  ["a length of -0", "$-0\r\n"],
  ["a length of -", "$-\r\n"],
  ["a length of -10", "$-10\r\n"],
  ["a length with a plus", "$+3\r\nabc\r\n"],
  ["a length with a letter", "$3x\r\nabc\r\n"],
  ["a length that ends in LF", "$3\nabc\r\n"],
  ["a length that ends in CR and something else", "$3\rxabc\r\n"],
  ["a length of 16 digits", "$1000000000000000\r\n"],
  ["a length of 16 digits, most of them zeros", "$0000000000000003\r\nabc\r\n"],
  ["a length of endless zeros", "$" + "0".repeat(100)],
  ["a length beyond every memory", "$999999999999999\r\n"],
  ["a null length with a letter", "$-1x\r\n"],
  ["a null length that ends in LF", "$-1\n"],
  ["a count of -2", "*-2\r\n"],
  ["a count with a letter", "*1x\r\n:1\r\n"],
  ["a count of 16 digits", "*1000000000000000\r\n"],
  ["a count beyond every memory", "*999999999999999\r\n"],
  ["counts that multiply beyond every memory", "%1000000000000\r\n"],
  ["counts that add up beyond every memory", "*1000000000000\r\n*1000000000000\r\n"],
  // RESP3
  ["a null with text", "_x\r\n"],
  ["a null that ends in LF", "_\n"],
  ["a boolean that is neither", "#x\r\n"],
  ["a boolean without letter", "#\r\n"],
  ["a boolean with too many letters", "#true\r\n"],
  ["a double without digits", ",\r\n"],
  ["a double with a comma", ",1,5\r\n"],
  ["a double that is a word", ",zero\r\n"],
  ["a null set", "~-1\r\n"],
  ["a null map", "%-1\r\n"],
  ["a null push", ">-1\r\n"],
  ["a null attribute", "|-1\r\n"],
  ["a null bulk error", "!-1\r\n"],
  ["null verbatim text", "=-1\r\n"],
  ["verbatim text too short for its format", "=3\r\ntxt\r\n"],
  ["verbatim text without its format", "=0\r\n\r\n"],
  ["verbatim text without its format, before a colon", "=1\r\na\r\n:1\r\n"],
  ["verbatim text without a colon", "=5\r\nabcde\r\n"],
  ["a bulk error longer than said", "!3\r\nERR x\r\n"],
  ["an attribute before garbage", "|1\r\n+a\r\n+b\r\nx\r\n"],
  // streamed
  ["a streamed push", ">?\r\n"],
  ["a streamed attribute", "|?\r\n"],
  ["a streamed bulk error", "!?\r\n"],
  ["streamed verbatim text", "=?\r\n"],
  ["a streamed integer", ":?\r\n"],
  ["a stream mark with text", "*?x\r\n"],
  ["a stream mark that ends in LF", "*?\n"],
  ["an element in a streamed string", "$?\r\n:1\r\n"],
  ["an end mark in a streamed string", "$?\r\n.\r\n"],
  ["a bulk in a streamed string", "$?\r\n$1\r\na\r\n"],
  ["a null piece", "$?\r\n;-1\r\n"],
  ["a streamed piece", "$?\r\n;?\r\n"],
  ["a piece without length", "$?\r\n;\r\n"],
  ["a piece longer than said", "$?\r\n;2\r\nabc\r\n"],
  ["a piece that ends in LF", "$?\r\n;2\r\nab\n;0\r\n"],
  ["a piece in a streamed array", "*?\r\n;0\r\n"],
  ["an end mark with text", "*?\r\n.x\r\n"],
  ["an end mark that ends in LF", "*?\r\n.\n"],
  ["half a pair in a streamed map", "%?\r\n+a\r\n.\r\n"],
  ["an end mark inside an array in a stream", "*?\r\n*2\r\n:1\r\n.\r\n"],
  ["an end mark after an attribute", "*?\r\n|1\r\n+a\r\n+b\r\n.\r\n"],
  ["33 streams in each other", "*?\r\n".repeat(33)],
];

for (const [name, text] of BAD) {
  Deno.test(`scanReply() refuses ${name}`, () => {
    strictEqual(scanEveryWay(latin1(text)), BAD_REPLY);
  });

  Deno.test(`scanReply() refuses ${name} inside an array`, () => {
    strictEqual(scan(latin1(`*2\r\n:1\r\n${text}`)), BAD_REPLY);
  });
}

// Work

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

const WORK: [name: string, text: string, piece: number, readsPerByte: number, readsPerCall: number][] = [
  ["an array that comes byte by byte", "*500\r\n" + "$5\r\nabcde\r\n".repeat(500), 1, 0, 30],
  ["an array in pieces of 7", "*500\r\n" + "$5\r\nabcde\r\n".repeat(500), 7, 2, 30],
  ["deep nesting that comes byte by byte", "*1\r\n".repeat(2000) + ":1\r\n", 1, 0, 20],
  ["a long status that comes byte by byte", `+${"x".repeat(5000)}\r\n`, 1, 0, 10],
  ["a long error in pieces of 100", `-${"x".repeat(50_000)}\r\n`, 100, 3, 10],
  ["a long big number that comes byte by byte", `(${"1".repeat(5000)}\r\n`, 1, 1, 10],
  ["a long line in an array", `*2\r\n:1\r\n+${"x".repeat(5000)}\r\n`, 1, 0, 10],
  ["a bulk that comes byte by byte", `$5000\r\n${"x".repeat(5000)}\r\n`, 1, 0, 30],
  ["a streamed string that comes byte by byte", `$?\r\n${";9\r\nabcdefghi\r\n".repeat(500)};0\r\n`, 1, 0, 20],
  ["a streamed map in pieces of 7", `%?\r\n${"+k\r\n$3\r\nabc\r\n".repeat(500)}.\r\n`, 7, 2, 30],
];

for (const [name, text, piece, readsPerByte, readsPerCall] of WORK) {
  Deno.test(`scanReply() reads ${name} in linear work`, () => {
    const bytes = latin1(text);
    const { array, reads } = counting(bytes);
    const resume = new ReplyResume();
    let result = NEED_MORE;
    let calls = 0;
    for (let end = 0; end < bytes.length; calls++) {
      end = Math.min(end + piece, bytes.length);
      result = scanReply(array, 0, end, resume);
    }
    strictEqual(result, bytes.length);
    ok(
      reads() <= readsPerByte * bytes.length + readsPerCall * calls,
      `${reads()} reads of ${bytes.length} bytes in ${calls} calls`,
    );
  });
}

Deno.test("scanReply() goes on where it stopped in 1,000,000 elements of 64 KiB pieces", () => {
  const COUNT = 1_000_000;
  const bytes = latin1(`*${COUNT}\r\n` + "$3\r\nabc\r\n".repeat(COUNT));
  const resume = new ReplyResume();
  let result = NEED_MORE;
  for (let end = 0; end < bytes.length;) {
    end = Math.min(end + 65536, bytes.length);
    result = scanReply(bytes, 0, end, resume);
    if (end < bytes.length) {
      ok(result === NEED_MORE && end - resume.at < 9, `resumes at ${resume.at} of ${end}`);
    }
  }
  strictEqual(result, bytes.length);
});

Deno.test("scanReply() says how long a reply must be once a length is known", () => {
  const resume = new ReplyResume();
  const bytes = latin1("*2\r\n:1\r\n$100\r\nabc");
  strictEqual(scanReply(bytes, 0, bytes.length, resume), NEED_MORE);
  strictEqual(resume.needed, 4 + 4 + 6 + 100 + 2);
  const whole = latin1(`*2\r\n:1\r\n$100\r\n${"x".repeat(100)}\r\n+next`);
  strictEqual(scanReply(whole, 0, whole.length, resume), whole.length - 5);
  strictEqual(resume.needed, 0);
});

for (
  const [what, before, after] of [["alone", "", ""], ["in an array", "*3\r\n:1\r\n", "$1\r\na\r\n"]] as const
) {
  for (const type of ["+", "-", "("]) {
    Deno.test(`scanReply(): what has come of a long line ${type}… may leave, ${what}`, () => {
      const all = latin1(`${before}${type}${"x".repeat(300_000)}\r\n${after}:7\r\n`);
      const size = all.length - 4;
      for (const step of [1000, 70_000, 99_999, 300_000 + before.length + 2]) {
        const resume = new ReplyResume();
        let [gone, result] = [0, NEED_MORE];
        for (let end = step; result === NEED_MORE; end = Math.min(end + step, all.length)) {
          // What may leave leaves at once; the rest lies elsewhere.
          result = scanReply(concat([latin1("?"), all.subarray(gone, end)]), 1, 1 + end - gone, resume);
          if (result !== NEED_MORE) break;
          ok(end - gone - resume.at < 66_000, `${end - gone - resume.at} bytes are kept`);
          gone += resume.at;
          resume.forget(resume.at);
        }
        strictEqual(result - 1 + gone, size);
        deepStrictEqual(resume, new ReplyResume());
      }
    });
  }
}

Deno.test("scanReply(): a long line ends in CRLF, has at most 512 MB, and is no number", () => {
  for (const end of ["\n", "\r.", "\r\r\n"]) {
    const bytes = latin1(`+${"x".repeat(300_000)}`);
    const resume = new ReplyResume();
    strictEqual(scanReply(bytes, 0, bytes.length, resume), NEED_MORE);
    strictEqual(resume.at, bytes.length);
    resume.forget(bytes.length);
    strictEqual(scanReply(latin1(end), 0, end.length, resume), BAD_REPLY);
  }
  const part = latin1("x".repeat(100_000));
  const resume = new ReplyResume();
  strictEqual(scanReply(concat([latin1("+"), part]), 0, part.length + 1, resume), NEED_MORE);
  resume.forget(resume.at);
  strictEqual(resume.lineBytes, part.length + 1);
  resume.lineBytes = 512 * 1024 * 1024 - part.length;
  strictEqual(scanReply(part, 0, part.length, resume), NEED_MORE);
  resume.forget(resume.at);
  strictEqual(scanReply(part, 0, part.length, resume), BAD_REPLY);
  for (const type of [":", ",", "#", "$", "*", "_"]) {
    strictEqual(scan(concat([latin1(type), part])), BAD_REPLY);
  }
});

// What a whole reply is

const ATTRIBUTE = "|1\r\n+key-popularity\r\n%1\r\n$1\r\na\r\n|0\r\n,0.19\r\n";

const KINDS: [text: string, error: boolean, push: boolean, integer: number, count: number, first: number][] =
  [
    ["+OK\r\n", false, false, NaN, NaN, 0],
    ["-ERR x\r\n", true, false, NaN, NaN, 0],
    ["!5\r\nERR x\r\n", true, false, NaN, NaN, 0],
    [":0\r\n", false, false, 0, NaN, 0],
    [":12\r\n", false, false, 12, NaN, 0],
    [":+12\r\n", false, false, 12, NaN, 0],
    [":-12\r\n", false, false, -12, NaN, 0],
    [":\r\n", false, false, 0, NaN, 0],
    [":9007199254740991\r\n", false, false, 9007199254740991, NaN, 0],
    [":9007199254740993\r\n", false, false, NaN, NaN, 0],
    ["$1\r\n1\r\n", false, false, NaN, NaN, 0],
    ["*0\r\n", false, false, NaN, 0, 4],
    ["*-1\r\n", false, false, NaN, -1, 5],
    ["*2\r\n:1\r\n:2\r\n", false, false, NaN, 2, 4],
    ["*10\r\n" + ":1\r\n".repeat(10), false, false, NaN, 10, 5],
    ["~1\r\n:1\r\n", false, false, NaN, 1, 4],
    ["%1\r\n:1\r\n:2\r\n", false, false, NaN, 1, 4],
    [">1\r\n:1\r\n", false, true, NaN, 1, 4],
    ["*?\r\n:1\r\n.\r\n", false, false, NaN, NaN, 4],
    ["_\r\n", false, false, NaN, NaN, 0],
  ];

for (const [text, error, push, integer, count, first] of KINDS) {
  Deno.test(`isError(), isPush(), integerOf(), countOf(), firstElement() of ${JSON.stringify(text)}`, () => {
    for (const before of ["", ATTRIBUTE, ATTRIBUTE + ATTRIBUTE]) {
      const bytes = latin1("+" + before + text + ":7\r\n");
      const end = bytes.length - 4;
      strictEqual(scanReply(bytes, 1, end, new ReplyResume()), end);
      strictEqual(isError(bytes, 1), error);
      strictEqual(isPush(bytes, 1), push);
      strictEqual(integerOf(bytes, 1, end), integer);
      strictEqual(countOf(bytes, 1, end), count);
      strictEqual(typeOf(bytes, 1, end), text.charCodeAt(0));
      if (first > 0) strictEqual(firstElement(bytes, 1), 1 + before.length + first);
      const array = typeOf(bytes, 1, end) === 42 && count >= 0;
      strictEqual(arrayBody(bytes, 1, end, array ? count : 1), array ? firstElement(bytes, 1) : -1);
      strictEqual(arrayBody(bytes, 1, end, count + 1), -1);
    }
  });
}
