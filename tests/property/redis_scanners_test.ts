/**
 * Laws of the Redis scanners and joins: whatever is written by the protocol's rules is found again, at every cut;
 * whatever is not is refused without an exception and without a look past the end; and joining undoes splitting.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Args } from "../../src/protocol/redis/args.ts";
import { JOIN } from "../../src/protocol/redis/command.ts";
import { INLINE_SIZE_MAX, inlineToArray, scanInline } from "../../src/protocol/redis/inline.ts";
import { joinEvery, joinOk, joinSum, joinValues, type Part } from "../../src/protocol/redis/join.ts";
import {
  BAD_REPLY,
  countOf,
  isError,
  NEED_MORE,
  ReplyResume,
  scanReply,
} from "../../src/protocol/redis/reply.ts";
import {
  BAD_COUNT,
  BAD_QUOTES,
  INLINE,
  INLINE_TOO_LONG,
  requestError,
  RequestResume,
  scanRequest,
} from "../../src/protocol/redis/request.ts";
import { concat, latin1, request, show, textOf } from "../lib/bytes.ts";
import { runs } from "../lib/runs.ts";

const LIMITS = { requestSizeMax: 100_000, argumentsMax: 1000 };

/** Throws at a look outside `[start, end)`. */
function guarded(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Proxy(bytes, {
    get(target, key) {
      const at = Number(key);
      if (!(at >= start && at < end)) throw new Error(`read ${String(key)} of [${start}, ${end})`);
      return target[at];
    },
  });
}

/** Cuts into `bytes` at the given places (any numbers). */
function cutsOf(bytes: Uint8Array, places: readonly number[]): number[] {
  const ends = new Set(places.map((p) => p % (bytes.length + 1)));
  return [...ends, bytes.length].sort((a, b) => a - b);
}

const places = fc.array(fc.nat(), { maxLength: 6 });

// ---- replies, written by the protocol's rules

/** A line's text: no CR, no LF. */
const lineText = fc.uint8Array({ maxLength: 12 }).map((b) => b.map((x) => x === 10 || x === 13 ? 32 : x));
const data = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom("", "\r\n", "$-1\r\n", "*2\r\n", "+OK\r\n", "x".repeat(9), "x".repeat(10), "x".repeat(100))
    .map(latin1),
);

function bulk(type: string, bytes: Uint8Array): Uint8Array {
  return concat([latin1(`${type}${bytes.length}\r\n`), bytes, latin1("\r\n")]);
}

function many(head: string, parts: readonly Uint8Array[], tail = ""): Uint8Array {
  return concat([latin1(head), ...parts, latin1(tail)]);
}

const scalar: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.tuple(fc.constantFrom("+", "-"), lineText).map(([type, text]) => many(type, [text], "\r\n")),
  fc.oneof(fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })).map((n) =>
    latin1(`:${n}\r\n`)
  ),
  data.map((bytes) => bulk("$", bytes)),
  data.map((bytes) => bulk("!", bytes)),
  data.map((bytes) => bulk("=", concat([latin1("txt:"), bytes]))),
  fc.constantFrom("$-1\r\n", "*-1\r\n", "_\r\n", "#t\r\n", "#f\r\n", ",inf\r\n", ",-inf\r\n", ",nan\r\n").map(
    latin1,
  ),
  fc.double({ noDefaultInfinity: true, noNaN: true }).map((n) => latin1(`,${n}\r\n`)),
  fc.bigInt().map((n) => latin1(`(${n}\r\n`)),
  fc.array(data, { maxLength: 3 }).map((pieces) =>
    many("$?\r\n", pieces.filter((p) => p.length > 0).map((p) => bulk(";", p)), ";0\r\n")
  ),
);

const { reply } = fc.letrec<{ reply: Uint8Array; parts: Uint8Array[] }>((tie) => ({
  reply: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.tuple(fc.constantFrom("*", "~", ">"), tie("parts")).map(([t, p]) => many(`${t}${p.length}\r\n`, p)),
    tie("parts").map((p) => {
      const even = p.slice(0, p.length & ~1);
      return many(`%${even.length / 2}\r\n`, even);
    }),
    fc.tuple(fc.constantFrom("*", "~"), tie("parts")).map(([t, p]) => many(`${t}?\r\n`, p, ".\r\n")),
    tie("parts").map((p) => many("%?\r\n", p.slice(0, p.length & ~1), ".\r\n")),
    fc.tuple(tie("reply"), tie("reply"), tie("reply")).map((p) => many("|1\r\n", p)),
  ),
  parts: fc.array(tie("reply"), { maxLength: 4 }),
}));

/** Scans what has come at each of `ends` with one resume. Returns the first answer but NEED_MORE. */
function resumedReply(bytes: Uint8Array, ends: readonly number[]): number {
  const resume = new ReplyResume();
  for (const end of ends) {
    const result = scanReply(guarded(bytes, 0, end), 0, end, resume);
    if (result !== NEED_MORE) return result;
  }
  return NEED_MORE;
}

/** As resumedReply, with the finished elements taken away whenever the scanner asks for more. */
function forgottenReply(bytes: Uint8Array, ends: readonly number[]): number {
  const resume = new ReplyResume();
  let start = 0;
  for (const end of ends) {
    const result = scanReply(guarded(bytes, start, end), start, end, resume);
    if (result !== NEED_MORE) return result;
    start += resume.at;
    resume.forget(resume.at);
  }
  return NEED_MORE;
}

Deno.test("scanReply() ends where a reply written by the rules ends, at any cuts", () => {
  fc.assert(
    fc.property(reply, fc.uint8Array({ maxLength: 5 }), places, (bytes, after, at) => {
      const both = concat([bytes, after]);
      strictEqual(scanReply(both, 0, both.length, new ReplyResume()), bytes.length, show(bytes));
      strictEqual(resumedReply(bytes, cutsOf(bytes, at)), bytes.length, show(bytes));
      strictEqual(forgottenReply(bytes, cutsOf(bytes, at)), bytes.length, show(bytes));
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("scanReply() asks for more at every prefix of a reply", () => {
  fc.assert(
    fc.property(reply, (bytes) => {
      // Of a long one, some: each is scanned from its start.
      for (let end = 0; end < bytes.length; end += 1 + (bytes.length >> 8)) {
        const result = scanReply(guarded(bytes, 0, end), 0, end, new ReplyResume());
        if (result !== NEED_MORE) strictEqual(result, NEED_MORE, show(bytes.subarray(0, end)));
      }
    }),
    { numRuns: runs(100) },
  );
});

/** Bytes that are likely to be taken for the protocol. */
const alphabet = fc.constantFrom(..."$*+-:;.?%~>|_#,(!=0123459tfx\r\n").map((c) => c.charCodeAt(0));
const pieces = fc.constantFrom(
  "\r\n",
  "$1\r\na\r\n",
  "*2\r\n",
  "$-1\r\n",
  "*?\r\n",
  "$?\r\n",
  ";1\r\nb\r\n",
  ".\r\n",
  "%1\r\n",
  "*1\r\n$1\r\n",
);
const noise = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.array(alphabet, { maxLength: 40 }).map((list) => Uint8Array.from(list)),
  fc.array(fc.oneof(pieces.map(latin1), alphabet.map((b) => Uint8Array.of(b))), { maxLength: 12 }).map(
    concat,
  ),
);

/** Something close to `of`: a byte changed, left out or put in. */
function damaged(of: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc.tuple(of, fc.nat(), alphabet, fc.nat({ max: 2 })).map(([bytes, place, byte, how]) => {
    const at = place % (bytes.length + 1);
    const middle = how === 1 ? [] : [Uint8Array.of(byte)];
    return concat([bytes.subarray(0, at), ...middle, bytes.subarray(how === 2 ? at : at + 1)]);
  });
}

Deno.test("scanReply() of anything gives one answer at any cuts, throws nothing and reads nothing past the end", () => {
  fc.assert(
    fc.property(fc.oneof(noise, damaged(reply)), places, (bytes, at) => {
      const whole = scanReply(guarded(bytes, 0, bytes.length), 0, bytes.length, new ReplyResume());
      ok(whole === NEED_MORE || whole === BAD_REPLY || (whole > 0 && whole <= bytes.length), `${whole}`);
      strictEqual(resumedReply(bytes, cutsOf(bytes, at)), whole, show(bytes));
      const everyByte = Array.from(bytes, (_, i) => i + 1);
      strictEqual(resumedReply(bytes, everyByte), whole, show(bytes));
      strictEqual(forgottenReply(bytes, cutsOf(bytes, at)), whole, show(bytes));
      strictEqual(forgottenReply(bytes, everyByte), whole, show(bytes));
    }),
    { numRuns: runs(800) },
  );
});

// ---- requests

const words = fc.array(data, { minLength: 1, maxLength: 12 });

/** As resumedReply; and the arguments' texts. */
function resumedRequest(bytes: Uint8Array, ends: readonly number[]): { result: number; args: string[] } {
  const resume = new RequestResume();
  const args = new Args();
  for (const end of ends) {
    const result = scanRequest(guarded(bytes, 0, end), 0, end, args, LIMITS, resume);
    if (result === NEED_MORE) continue;
    if (result < 0) return { result, args: [] };
    return {
      result,
      args: Array.from({ length: args.count }, (_, i) => textOf(bytes, args.starts[i], args.ends[i])),
    };
  }
  return { result: NEED_MORE, args: [] };
}

Deno.test("scanRequest() finds the arguments of a request, at any cuts", () => {
  fc.assert(
    fc.property(words, places, (list, at) => {
      const bytes = request(...list);
      const expected = { result: bytes.length, args: list.map((w) => textOf(w)) };
      deepStrictEqual(resumedRequest(bytes, [bytes.length]), expected);
      deepStrictEqual(resumedRequest(bytes, cutsOf(bytes, at)), expected);
      deepStrictEqual(resumedRequest(bytes, Array.from(bytes, (_, i) => i + 1)), expected);
    }),
    { numRuns: runs(200) },
  );
});

Deno.test("scanRequest() of anything gives one answer at any cuts, throws nothing and reads nothing past the end", () => {
  const requests = words.map((list) => request(...list) as Uint8Array);
  fc.assert(
    fc.property(
      fc.oneof(noise, noise.map((b) => concat([latin1("*2\r\n"), b])), damaged(requests)),
      places,
      (bytes, at) => {
        const whole = resumedRequest(bytes, [bytes.length]);
        ok(whole.result <= bytes.length);
        if (whole.result <= BAD_COUNT) ok(requestError(whole.result, LIMITS).length > 0);
        else ok(whole.result >= INLINE);
        deepStrictEqual(resumedRequest(bytes, cutsOf(bytes, at)), whole, show(bytes));
        deepStrictEqual(resumedRequest(bytes, Array.from(bytes, (_, i) => i + 1)), whole, show(bytes));
      },
    ),
    { numRuns: runs(800) },
  );
});

Deno.test("inlineToArray() of any line is a request, nothing, or a refusal", () => {
  const character = fc.oneof(
    fc.constantFrom(..."\"'\\ xan0\r\t\0").map((c) => c.charCodeAt(0)),
    fc.nat({ max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(character, { maxLength: 40 }), (list) => {
      const line = Uint8Array.from([...list.filter((b) => b !== 10), 10]);
      strictEqual(scanInline(guarded(line, 0, line.length), 0, line.length, 0), line.length);
      const array = inlineToArray(line, 0, line.length);
      if (array === BAD_QUOTES || array.length === 0) return;
      const { result, args } = resumedRequest(array, [array.length]);
      strictEqual(result, array.length);
      ok(args.length > 0);
    }),
    { numRuns: runs(600) },
  );
  const long = new Uint8Array(INLINE_SIZE_MAX).fill(32);
  strictEqual(scanInline(long, 0, long.length, 0), INLINE_TOO_LONG);
});

Deno.test("inlineToArray() finds the words that were quoted", () => {
  fc.assert(fc.property(fc.array(data, { minLength: 1, maxLength: 5 }), (list) => {
    const quoted = list.map((word) =>
      `"${[...word].map((b) => `\\x${b.toString(16).padStart(2, "0")}`).join("")}"`
    );
    const line = latin1(quoted.join(" ") + "\r\n");
    deepStrictEqual(inlineToArray(line, 0, line.length), request(...list));
  }));
});

// ---- joins

/** Puts a reply somewhere inside other bytes. */
function partOf(reply: Uint8Array, shift: number): Part {
  const bytes = concat([new Uint8Array(shift).fill(58), reply, latin1("\r\n-ERR not mine\r\n")]);
  return { bytes, start: shift, end: shift + reply.length };
}

const value = fc.oneof({ weight: 4, arbitrary: data.map((b) => bulk("$", b)) }, {
  weight: 2,
  arbitrary: fc.constantFrom("$-1\r\n", "$0\r\n\r\n", "_\r\n").map(latin1),
}, { weight: 1, arbitrary: reply });

/** Keys as (owner, value); each server's reply holds the values of its keys in their order. */
const stores = fc.integer({ min: 1, max: 5 }).chain((servers) =>
  fc.array(fc.record({ owner: fc.nat({ max: servers - 1 }), value }), { maxLength: 30 })
);

/** The servers that own something get a place each, as fragments do; in the order of their numbers. */
function split(
  keys: readonly { owner: number; value: Uint8Array }[],
): { replies: Uint8Array[]; owners: Uint16Array } {
  const servers = [...new Set(keys.map((key) => key.owner))].sort();
  const replies = servers.map((server) => {
    const own = keys.filter((key) => key.owner === server).map((key) => key.value);
    return many(`*${own.length}\r\n`, own);
  });
  return { replies, owners: Uint16Array.from(keys.map((key) => servers.indexOf(key.owner))) };
}

Deno.test("joinValues() of the servers' replies is the reply of one server that has all keys", () => {
  fc.assert(
    fc.property(stores, (keys) => {
      const { replies, owners } = split(keys);
      const joined = joinValues(replies.map(partOf), owners);
      strictEqual(textOf(joined), textOf(many(`*${keys.length}\r\n`, keys.map((key) => key.value))));
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("joinValues() is an error if one server answers something else, and never throws", () => {
  fc.assert(
    fc.property(stores.filter((keys) => keys.length > 0), reply, fc.nat(), (keys, other, which) => {
      const { replies, owners } = split(keys);
      const at = which % replies.length;
      const right = replies[at]!;
      replies[at] = other;
      const joined = joinValues(replies.map(partOf), owners);
      strictEqual(scanReply(joined, 0, joined.length, new ReplyResume()), joined.length);
      const fits = countOf(other, 0, other.length) === countOf(right, 0, right.length);
      if (!fits) ok(isError(joined, 0), show(joined));
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("joinSum() of the parts of a sum is the sum", () => {
  fc.assert(fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 10 }), (numbers) => {
    const joined = joinSum(numbers.map((n, i) => partOf(latin1(`:${n}\r\n`), i)));
    strictEqual(textOf(joined), `:${numbers.reduce((a, b) => a + b, 0)}\r\n`);
  }));
});

Deno.test("every join of any replies is one whole reply, and the first error if there is one", () => {
  fc.assert(
    fc.property(fc.array(reply, { minLength: 1, maxLength: 4 }), (replies) => {
      const parts = replies.map(partOf);
      const first = replies.find((r) => isError(r, 0));
      for (const kind of Object.values(JOIN)) {
        const joined = joinEvery(parts, kind);
        strictEqual(
          scanReply(joined, 0, joined.length, new ReplyResume()),
          joined.length,
          `${kind}: ${show(joined)}`,
        );
        if (first !== undefined && kind !== JOIN.ONE_OK) strictEqual(textOf(joined), textOf(first));
      }
      for (const joined of [joinOk(parts), joinSum(parts)]) {
        strictEqual(scanReply(joined, 0, joined.length, new ReplyResume()), joined.length);
        if (first !== undefined) strictEqual(textOf(joined), textOf(first));
      }
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("joins of bytes that are no replies throw nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(noise, damaged(reply)), { minLength: 1, maxLength: 3 }), (list) => {
      const parts = list.map(partOf);
      for (const kind of Object.values(JOIN)) joinEvery(parts, kind);
      joinValues(parts, Uint16Array.from(list.flatMap((_, i) => [i, i])));
      joinOk(parts);
      joinSum(parts);
    }),
    { numRuns: runs(800) },
  );
});
