/** The slow log: a ring that all workers write to, the bytes of what was sent, and what is shown of them. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { memcachedWords, redisWords, WORD_BYTES_MAX, WORDS_MAX } from "../../src/protocol/slow_words.ts";
import { HEAD_BYTES, SentHeads } from "../../src/proxy/sent_heads.ts";
import { SLOW_LOG_MAX, SlowLog, type SlowRequest } from "../../src/stats/slow_log.ts";
import { latin1, request } from "../lib/bytes.ts";

const slow = (words: readonly string[]): SlowRequest => ({
  atMs: 1_700_000_000_123,
  server: "first",
  client: "127.0.0.1:4711",
  clientName: "n\xe4me",
  words,
  waitedUs: 7,
  servedUs: 12_345,
});

Deno.test("entries of all writers are read newest first, with ids that count up, and cleared for all", () => {
  const memory = new SharedArrayBuffer(SlowLog.bytes + 64);
  const one = new SlowLog(memory, 64);
  const other = new SlowLog(memory, 64);
  for (let i = 0; i < SLOW_LOG_MAX + 10; i++) (i % 2 === 0 ? one : other).add(slow(["GET", `key\xff${i}`]));
  strictEqual(one.count(1000), SLOW_LOG_MAX);
  const newest = other.newest(3);
  deepStrictEqual(newest.map(({ id, words }) => [id, words[1]]), [
    [SLOW_LOG_MAX + 9, `key\xff${SLOW_LOG_MAX + 9}`],
    [SLOW_LOG_MAX + 8, `key\xff${SLOW_LOG_MAX + 8}`],
    [SLOW_LOG_MAX + 7, `key\xff${SLOW_LOG_MAX + 7}`],
  ]);
  deepStrictEqual(newest[0], { id: SLOW_LOG_MAX + 9, ...slow(["GET", `key\xff${SLOW_LOG_MAX + 9}`]) });
  strictEqual(one.newest(1000).length, SLOW_LOG_MAX);
  one.clear();
  deepStrictEqual([one.count(1000), other.newest(10)], [0, []]);
  other.add(slow(["PING"]));
  deepStrictEqual(one.newest(10).map(({ id }) => id), [SLOW_LOG_MAX + 10]);
});

Deno.test("words that find no room are counted, whatever bytes they are of", () => {
  fc.assert(fc.property(fc.nat(255), fc.integer({ min: 0, max: 60 }), (byte, count) => {
    const log = new SlowLog(new SharedArrayBuffer(SlowLog.bytes), 0);
    const words = Array.from({ length: count }, () => String.fromCharCode(byte).repeat(WORD_BYTES_MAX));
    log.add(slow(words));
    const [entry] = log.newest(1);
    const kept = entry!.words.filter((word) => !word.startsWith("... (")).length;
    deepStrictEqual(entry!.words.slice(0, kept), words.slice(0, kept));
    if (kept < count) strictEqual(entry!.words.at(-1), `... (${count - kept} more arguments)`);
  }));
});

Deno.test("SentHeads gives what was written at a position, as long as that is not overwritten", () => {
  const write = fc.record({
    size: fc.integer({ min: 1, max: 9000 }),
    skips: fc.nat(50),
    forgets: fc.nat(30),
  });
  fc.assert(fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
    const heads = new SentHeads();
    const all: { position: number; bytes: Uint8Array }[] = [];
    let position = 0;
    let known = 0;
    writes.forEach(({ size, skips, forgets }, i) => {
      position += skips;
      const bytes = Uint8Array.from({ length: size }, (_, k) => (i * 31 + k * 7) & 255);
      heads.keep(position, bytes, 0, Math.min(size, HEAD_BYTES), position);
      all.push({ position, bytes });
      position += size;
      if (forgets === 0) heads.forget(known = position);
      for (const { position: at, bytes } of all) {
        const found = heads.read(at, bytes.length);
        if (at < known) strictEqual(found, null);
        else if (found !== null) deepStrictEqual(found, bytes.slice(0, HEAD_BYTES));
        else ok(position - at > 32 * 1024, "what is recent is known");
      }
    });
  }));
});

Deno.test("SentHeads knows every request that has not been answered, up to half a MiB of them, and gives the memory back later", () => {
  // Requests that come before the first of them is answered; how many are answered then.
  const rush = fc.record({
    count: fc.integer({ min: 1, max: 600 }),
    size: fc.integer({ min: 1, max: 5000 }),
  });
  fc.assert(
    fc.property(fc.array(rush, { maxLength: 5 }), fc.nat(100), (rushes, left) => {
      const heads = new SentHeads();
      const least = heads.heldBytes;
      let position = 0;
      let owed: { position: number; bytes: Uint8Array }[] = [];
      for (const { count, size } of rushes) {
        for (let i = 0; i < count; i++) {
          const bytes = Uint8Array.from({ length: size }, (_, k) => (position + k * 7) & 255);
          owed.push({ position, bytes });
          heads.keep(position, bytes, 0, Math.min(size, HEAD_BYTES), owed[0]!.position);
          position += size;
        }
        for (const { position: at, bytes } of owed) {
          const found = heads.read(at, bytes.length);
          if (found === null) ok(position - at > 512 * 1024 - HEAD_BYTES, `${position - at} bytes back`);
          else ok(Buffer.compare(found, bytes.subarray(0, HEAD_BYTES)) === 0, `the bytes at ${at}`);
        }
        ok(heads.heldBytes <= 512 * 1024);
        owed = owed.slice(owed.length - Math.min(owed.length, left));
      }
      const bytes = new Uint8Array(HEAD_BYTES);
      for (let calm = 0; calm <= 17 * 512 * 1024; calm += HEAD_BYTES, position += HEAD_BYTES) {
        heads.keep(position, bytes, 0, HEAD_BYTES, position);
      }
      strictEqual(heads.heldBytes, least);
    }),
    { numRuns: 8 },
  );
});

Deno.test("words are shown as redis-server shows them: 32 of them, 128 bytes of each", () => {
  deepStrictEqual(redisWords(request("SET", "key", "value"), false), ["SET", "key", "value"]);
  deepStrictEqual(redisWords(request("SET", "key", "x".repeat(5000)).slice(0, HEAD_BYTES), false), [
    "SET",
    "key",
    `${"x".repeat(WORD_BYTES_MAX)}... (${5000 - WORD_BYTES_MAX} more bytes)`,
  ]);
  const many = redisWords(request("DEL", ...Array.from({ length: 99 }, (_, i) => `k${i}`)), false);
  deepStrictEqual([many.length, many.at(-2), many.at(-1)], [WORDS_MAX, "k29", "... (69 more arguments)"]);
  deepStrictEqual(redisWords(request("SET", "key", "value", "EX", "10"), true), [
    "SET",
    "key",
    "(5 bytes)",
    "(2 bytes)",
    "(2 bytes)",
  ]);
  deepStrictEqual(redisWords(request("config", "set", "requirepass", "hunter2"), false), [
    "config",
    "set",
    "(redacted)",
    "(redacted)",
  ]);
  for (const words of [["AUTH", "u", "hunter2"], ["HELLO", "3", "AUTH", "u", "hunter2"]]) {
    ok(!redisWords(request(...words), false).join().includes("hunter2"));
  }
  deepStrictEqual(redisWords(latin1("nonsense"), false), []);
  deepStrictEqual(redisWords(request("GET", "key").slice(0, 15), false), ["GET", "... (1 more arguments)"]);
});

Deno.test("of a memcached request its line is shown, and never what it stores", () => {
  deepStrictEqual(memcachedWords(latin1("set key 0 0 5\r\nhello\r\n"), false), ["set", "key", "0", "0", "5"]);
  deepStrictEqual(memcachedWords(latin1("set key 0 0 5\r\nhello\r\n"), true), [
    "set",
    "key",
    "... (3 more arguments)",
  ]);
  const many = memcachedWords(
    latin1(`get ${Array.from({ length: 50 }, (_, i) => `k${i}`).join(" ")}\r\n`),
    false,
  );
  deepStrictEqual([many.length, many.at(-1)], [WORDS_MAX, "... (20 more arguments)"]);
});
