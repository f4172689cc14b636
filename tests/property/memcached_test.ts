/** Laws of the memcached scanners and of split and join: for all inputs, however they are cut. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { latin1 as textOf } from "../../src/bytes/ascii.ts";
import { joinedSizeMax, joinGet } from "../../src/protocol/memcached/join.ts";
import { BAD_REPLY, replyClass, scanReply } from "../../src/protocol/memcached/reply.ts";
import {
  BINARY_CLIENT,
  FAULT,
  MemcachedRequest,
  NEED_MORE,
  RequestScan,
  scanRequest,
  SKIP,
} from "../../src/protocol/memcached/request.ts";
import { Scan } from "../../src/protocol/memcached/scan.ts";
import { GetSplit, writeFragment } from "../../src/protocol/memcached/split.ts";
import { concat, latin1 } from "../lib/bytes.ts";
import { runs } from "../lib/runs.ts";

const LIMITS = { keysMax: 50, getLineMax: 4000, valueSizeMax: 200, reading: 0 };

const key = fc.oneof(
  fc.constantFrom("a", "b", "key", "k".repeat(250), "k".repeat(251), "YQ==", "\xff", "a\tb", "noreply"),
  fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom("a", "b", "1", "=", "\0", "\r") }),
);
const number = fc.constantFrom(
  "0",
  "1",
  "3",
  "-1",
  "x",
  "4294967299",
  "2147483647",
  "250",
  "99999999999999999999",
  "",
);
const flag = fc.constantFrom(
  "q",
  "v",
  "k",
  "b",
  "O1",
  "T0",
  "qq",
  "z",
  "\xff",
  "N30",
  "C1",
  "MS",
  "noreply",
  "q x",
);
const name = fc.constantFrom(
  ..."get gets gat gats set add cas append delete incr touch mg ms md ma me mn version verbosity quit flush_all stats x"
    .split(" "),
);
const lineEnd = fc.constantFrom("\r\n", "\n", "\r\r\n", " \r\n", " noreply\r\n", "\0x\r\n");
const data = fc.constantFrom(
  "",
  "a\r\n",
  "abc\r\n",
  "abcde\r\n",
  "a\r\nb",
  "\x80\0\n",
  "x".repeat(250) + "\r\n",
);
/** What a client might send: mostly near the grammar. */
const request = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(name, fc.array(fc.oneof(key, number, flag), { maxLength: 6 }), lineEnd, data).map(
      ([name, words, end, data]) => [name, ...words].join(" ") + end + data,
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom("set", "add", "ms"), key, number, data).map(
      ([name, key, number, data]) =>
        name === "ms" ? `ms ${key} ${number} q\r\n${data}` : `${name} ${key} 0 0 ${number}\r\n${data}`,
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", maxLength: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5000 }).map((n) => " ".repeat(n)) },
);
const requests = fc.array(request, { minLength: 1, maxLength: 8 }).map((list) => latin1(list.join("")));

const reply = fc.oneof(
  fc.constantFrom("STORED", "END", "HD", "EN kx", "7", "ERROR", "SERVER_ERROR x", "VERSION 1", "NF", "").map((
    s,
  ) => s + "\r\n"),
  fc.array(fc.tuple(key, data), { maxLength: 4 }).map((list) =>
    list.map(([key, data]) => `VALUE ${key} 0 ${data.length}\r\n${data}\r\n`).join("") + "END\r\n"
  ),
  fc.tuple(number, data).map(([number, data]) => `VA ${number}\r\n${data}\r\n`),
  fc.constant("STAT a 1\r\nSTAT b 2\r\nEND\r\n"),
  fc.string({ unit: "binary-ascii", maxLength: 20 }),
);
const replies = fc.array(reply, { minLength: 1, maxLength: 6 }).map((list) => latin1(list.join("")));

/** Sizes of the pieces in which the bytes come; used round and round. */
const pieces = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 10 });

/** Everything the scanner finds in `bytes` when they come in pieces, as one text. */
function scanAllRequests(bytes: Uint8Array, sizes: number[]): string {
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  const found: string[] = [];
  let start = 0;
  for (let end = 0, turn = 0; end < bytes.length; turn++) {
    end = Math.min(end + sizes[turn % sizes.length]!, bytes.length);
    // Nothing past `end` exists yet.
    const view = bytes.slice(0, end);
    for (;;) {
      const needed = scan.needed;
      const at = scanRequest(view, start, end, LIMITS, scan, out);
      if (at === NEED_MORE) {
        assert.ok(scan.needed === 0 || scan.needed > end - start, "needed is more than there is");
        break;
      }
      assert.ok(needed <= end - start, "needed was needed");
      if (at === BINARY_CLIENT) return "binary";
      if (at === FAULT) return [...found, `fault ${out.answer}`].join("\n");
      if (at === SKIP) {
        found.push(`skip ${out.needed} ${out.answer} ${out.noreply}`);
        return found.join("\n");
      }
      assert.ok(at > start && at <= end);
      assert.ok(
        out.lineEnd <= at && out.dataEnd <= at && out.cutEnd <= out.lineEnd && out.cutStart <= out.cutEnd,
      );
      const keys = Array.from({ length: out.keyCount }, (_, i) => {
        const keyStart = out.wordStarts[out.keyFirst + i]!;
        const keyEnd = out.wordEnds[out.keyFirst + i]!;
        assert.ok(start <= keyStart && keyStart < keyEnd && keyEnd <= out.lineEnd);
        if (out.answer === 0) assert.ok(keyEnd - keyStart <= 250);
        return textOf(view, keyStart, keyEnd);
      });
      found.push(
        JSON.stringify([
          at,
          out.row,
          out.kind,
          out.answer,
          out.cutStart,
          out.cutEnd,
          out.noreply,
          out.quiet,
          out.badData,
          keys,
        ]),
      );
      start = at;
    }
  }
  return [...found, `rest ${bytes.length - start}`].join("\n");
}

/** @param forgets finished elements are forgotten as soon as the scanner asks for more */
function scanAllReplies(bytes: Uint8Array, sizes: number[], forgets = false): string {
  const scan = new Scan();
  const found: string[] = [];
  let start = 0;
  let first = 0;
  for (let end = 0, turn = 0; end < bytes.length; turn++) {
    end = Math.min(end + sizes[turn % sizes.length]!, bytes.length);
    const view = bytes.slice(0, end);
    for (;;) {
      const at = scanReply(view, start, end, scan);
      if (at === NEED_MORE) {
        assert.ok(scan.needed === 0 || scan.needed > end - start);
        if (forgets) {
          start += scan.at;
          scan.forget(scan.at);
          // Whoever looks at them now gets something else.
          view.fill(0, first, start);
        }
        break;
      }
      if (at === BAD_REPLY) return [...found, `bad at ${first}`].join("\n");
      assert.ok(at > start && at <= end);
      found.push(`${at} ${scan.type} ${replyClass(bytes, first, at)}`);
      first = start = at;
    }
  }
  return [...found, `rest ${bytes.length - start}`].join("\n");
}

Deno.test("scanRequest() finds the same however the bytes are cut", () => {
  fc.assert(
    fc.property(requests, pieces, (bytes, sizes) => {
      assert.equal(scanAllRequests(bytes, sizes), scanAllRequests(bytes, [bytes.length]));
    }),
    { numRuns: runs(700) },
  );
});

Deno.test("scanReply() finds the same however the bytes are cut", () => {
  fc.assert(
    fc.property(replies, pieces, (bytes, sizes) => {
      assert.equal(scanAllReplies(bytes, sizes), scanAllReplies(bytes, [bytes.length]));
    }),
    { numRuns: runs(700) },
  );
});

Deno.test("scanReply() finds the same if the finished elements are taken away meanwhile", () => {
  fc.assert(
    fc.property(replies, pieces, (bytes, sizes) => {
      assert.equal(scanAllReplies(bytes, sizes, true), scanAllReplies(bytes, [bytes.length]));
    }),
    { numRuns: runs(700) },
  );
});

Deno.test("scanRequest() and scanReply() take any bytes without throwing or reading past the end", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 200 }),
    fc.array(fc.constantFrom(10, 13, 32, 48, 57, 65, 69, 78, 86, 103, 109, 115, 116, 0, 255), {
      minLength: 1,
      maxLength: 100,
    })
      .map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(bytes, pieces, (bytes, sizes) => {
      scanAllRequests(bytes, sizes);
      scanAllReplies(bytes, sizes);
    }),
    { numRuns: runs(1000) },
  );
});

Deno.test("joinGet() of a split get is what one server would say", () => {
  const word = fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom("a", "b", "\t") });
  const stored = fc.dictionary(word, fc.constantFrom("", "x", "END\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"));
  const one = (line: string, store: Record<string, string>) =>
    line.slice(0, -2).split(" ").slice(line.startsWith("gat") ? 2 : 1)
      .map((key) =>
        Object.hasOwn(store, key) ? `VALUE ${key} 0 ${store[key]!.length}\r\n${store[key]}\r\n` : ""
      )
      .join("") + "END\r\n";
  fc.assert(
    fc.property(
      fc.constantFrom("get", "gets", "gat 0"),
      fc.array(fc.tuple(word, fc.integer({ min: 0, max: 3 })), { minLength: 1, maxLength: 20 }),
      stored,
      (name, keysAndServers, store) => {
        // A key has one server.
        const servers = new Map(keysAndServers);
        const keys = keysAndServers.map(([key]) => key);
        const line = `${name} ${keys.join(" ")}\r\n`;
        const bytes = latin1(line);
        const out = new MemcachedRequest();
        assert.equal(scanRequest(bytes, 0, bytes.length, LIMITS, new RequestScan(), out), bytes.length);
        const split = new GetSplit();
        split.split(out, Int32Array.from(keys, (key) => servers.get(key)!), 4);
        const parts = Array.from({ length: split.count }, (_, f) => {
          const to = new Uint8Array(split.sizes[f]!);
          writeFragment(bytes, out, split, f, to, 0);
          return latin1(one(textOf(to), store));
        });
        const all = {
          bytes: parts,
          starts: parts.map(() => 0),
          ends: parts.map((part) => part.length),
          count: parts.length,
        };
        const to = new Uint8Array(joinedSizeMax(all));
        const where = {
          bytes: concat([bytes]),
          starts: out.wordStarts,
          ends: out.wordEnds,
          first: out.keyFirst,
          count: out.keyCount,
        };
        const end = joinGet(where, split.keyFragments, all, to, 0);
        assert.ok(end > 0);
        assert.equal(textOf(to, 0, end), one(line, store));
      },
    ),
    { numRuns: runs(400) },
  );
});
