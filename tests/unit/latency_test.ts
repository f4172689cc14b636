/** Times of requests: where buckets begin and end, that merged ones are exact, and which write a time belongs to. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Timing } from "../../src/proxy/timing.ts";
import { Request } from "../../src/proxy/request.ts";
import { type Stamp, Turn } from "../../src/proxy/turn.ts";
import { WrittenTimes } from "../../src/proxy/written_times.ts";
import { COMMANDS, latencyClass } from "../../src/protocol/memcached/commands.ts";
import { findByName } from "../../src/protocol/redis/commands.ts";
import {
  bucketFromUs,
  bucketOf,
  BUCKETS,
  bucketToUs,
  CLASS_BLOCKING,
  CLASS_READ,
  CLASS_WRITE,
  Histogram,
  Latency,
  LATENCY_CLASSES,
  SERVED,
  WAITED,
} from "../../src/stats/latency.ts";
import { SimClock } from "../sim/clock.ts";

/** Of any size: most are short. */
const times = fc.tuple(fc.integer({ min: 0, max: 27 }), fc.integer({ min: 0, max: 2 ** 27 - 1 }))
  .map(([bits, us]) => us >> bits);

function latencyOf(workers: number): Latency {
  return new Latency(new SharedArrayBuffer(Latency.bytes(workers)), 0, workers);
}

Deno.test("buckets follow each other without a gap, and none is wider than 1/32 of what is in it", () => {
  strictEqual(bucketFromUs(0), 0);
  strictEqual(bucketToUs(BUCKETS - 1), Infinity);
  for (let i = 0; i < BUCKETS - 1; i++) {
    strictEqual(bucketToUs(i), bucketFromUs(i + 1));
    strictEqual(bucketOf(bucketFromUs(i)), i);
    strictEqual(bucketOf(bucketToUs(i) - 1), i);
    ok(bucketToUs(i) - bucketFromUs(i) <= Math.max(1, bucketFromUs(i) / 32), `bucket ${i}`);
  }
  strictEqual(bucketOf(-5), 0);
  strictEqual(bucketOf(2 ** 28), BUCKETS - 1);
  strictEqual(bucketOf(1e15), BUCKETS - 1);
});

Deno.test("quantiles over all workers are those of the sorted list, within 3 %", () => {
  fc.assert(fc.property(
    fc.array(fc.record({ worker: fc.nat(2), us: times }), { minLength: 1, maxLength: 300 }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    (counted, q) => {
      const latency = latencyOf(3);
      for (const { worker, us } of counted) latency.block(worker).count(CLASS_READ, SERVED, us / 1000, 1);
      const histogram = latency.histogram(CLASS_READ, SERVED);
      const sorted = counted.map(({ us }) => us).sort((a, b) => a - b);
      strictEqual(histogram.count, sorted.length);
      strictEqual(histogram.sumUs, sorted.reduce((sum, us) => sum + us, 0));
      strictEqual(histogram.maxUs, sorted.at(-1));
      const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!;
      const found = histogram.quantileUs(q);
      ok(Math.abs(found - exact) <= 0.03 * exact, `${found} instead of ${exact}`);
    },
  ));
});

Deno.test("since() is what has been counted after the copy", () => {
  fc.assert(fc.property(fc.array(times), fc.array(times, { minLength: 1 }), (first, then) => {
    const count = (latency: Latency, list: readonly number[]) => {
      for (const us of list) latency.block(0).count(CLASS_WRITE, WAITED, us / 1000, 1);
    };
    const both = latencyOf(1);
    count(both, first);
    const before = both.histogram(CLASS_WRITE, WAITED);
    count(both, then);
    const after = both.histogram(CLASS_WRITE, WAITED).since(before);
    const alone = latencyOf(1);
    count(alone, then);
    const expected = alone.histogram(CLASS_WRITE, WAITED);
    deepStrictEqual(after.counts, expected.counts);
    deepStrictEqual([after.count, after.sumUs], [expected.count, expected.sumUs]);
    ok(after.maxUs >= expected.maxUs && after.maxUs <= Math.max(expected.maxUs * 1.04, expected.maxUs));
  }));
});

Deno.test("classes, quantities and workers do not meet, and what blocks is in no total", () => {
  const latency = latencyOf(2);
  LATENCY_CLASSES.forEach((_, k) => {
    for (const worker of [0, 1]) {
      latency.block(worker).count(k, WAITED, k + 1, 1);
      latency.block(worker).count(k, SERVED, 100 * (k + 1), 2);
    }
  });
  LATENCY_CLASSES.forEach((_, k) => {
    const waited = latency.histogram(k, WAITED);
    const served = latency.histogram(k, SERVED);
    deepStrictEqual([waited.count, waited.maxUs, waited.sumUs], [2, 1000 * (k + 1), 2000 * (k + 1)]);
    deepStrictEqual([served.count, served.maxUs, served.sumUs], [4, 100_000 * (k + 1), 400_000 * (k + 1)]);
  });
  strictEqual(latency.total(SERVED).count, 4 * (LATENCY_CLASSES.length - 1));
  ok(latency.total(SERVED).maxUs < latency.histogram(CLASS_BLOCKING, SERVED).maxUs);
  strictEqual(new Histogram().quantileUs(0.5), 0);
});

Deno.test("Timing counts as if each request had been counted alone, when the turn ends", () => {
  const step = fc.record({
    ofClass: fc.nat(2),
    readMs: fc.nat(2),
    writtenMs: fc.integer({ min: -1, max: 2 }),
  });
  fc.assert(fc.property(fc.array(fc.array(step)), (turns) => {
    const clock = new SimClock();
    const turn = new Turn(clock);
    const together = latencyOf(1);
    const alone = latencyOf(1);
    const timing = new Timing(together.block(0), turn);
    for (const steps of turns) {
      clock.run(clock.nowMs() + 10);
      for (const { ofClass, readMs, writtenMs } of steps) {
        timing.over(ofClass, readMs, writtenMs);
        const end = writtenMs < 0 ? turn.now() : writtenMs;
        alone.block(0).count(ofClass, WAITED, end - readMs, 1);
        if (writtenMs >= 0) alone.block(0).count(ofClass, SERVED, turn.now() - writtenMs, 1);
      }
      clock.run(clock.nowMs() + 1);
      for (const k of [0, 1, 2]) {
        for (const quantity of [WAITED, SERVED]) {
          deepStrictEqual(together.histogram(k, quantity), alone.histogram(k, quantity));
        }
      }
    }
  }));
});

Deno.test("what came and went together is counted for server and pool as if each had been counted alone", () => {
  const reply = fc.record({
    ofClass: fc.nat(2),
    turnsAgo: fc.nat(3),
    own: fc.boolean(),
    asked: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(fc.array(reply)), (turns) => {
    const clock = new SimClock();
    const turn = new Turn(clock);
    const [together, poolTogether, alone, poolAlone] = [1, 1, 1, 1].map(latencyOf);
    const pool = new Timing(poolTogether!.block(0), turn);
    const server = new Timing(together!.block(0), turn, pool);
    const flushed = { dirty: false, flush: () => {} };
    const stamps: Stamp[] = [];
    const count = (latency: Latency, ofClass: number, readMs: number, writtenMs: number) => {
      const endMs = writtenMs < 0 ? turn.now() : writtenMs;
      latency.block(0).count(ofClass, WAITED, endMs - readMs, 1);
      if (writtenMs >= 0) latency.block(0).count(ofClass, SERVED, turn.now() - writtenMs, 1);
    };
    for (const replies of turns) {
      clock.run(clock.nowMs() + 10);
      stamps.unshift(turn.stamp());
      turn.touchServer(flushed);
      for (const { ofClass, turnsAgo, own, asked } of replies) {
        const stamp = stamps[turnsAgo] ?? stamps[0]!;
        const request = new Request(null);
        request.enter(stamp, false, own ? 1 + ofClass : 0);
        // It has been at another server before.
        if (asked) request.written(0);
        server.replied(request);
        pool.answered(request);
        strictEqual(request.uncounted, false);
        if (!own) continue;
        count(alone!, ofClass, stamp.readMs, stamp.writtenMs);
        count(poolAlone!, ofClass, stamp.readMs, asked ? 0 : stamp.writtenMs);
      }
      clock.run(clock.nowMs() + 1);
      strictEqual(stamps[0]!.writtenMs >= 0 && stamps[0]!.over, true);
      for (const k of [0, 1, 2]) {
        for (const quantity of [WAITED, SERVED]) {
          deepStrictEqual(together!.histogram(k, quantity), alone!.histogram(k, quantity));
          deepStrictEqual(poolTogether!.histogram(k, quantity), poolAlone!.histogram(k, quantity));
        }
      }
    }
  }));
});

Deno.test("what is sent in a later turn than it was read in is written at that one's end", () => {
  const clock = new SimClock();
  const turn = new Turn(clock);
  const flushed = { dirty: false, flush: () => {} };
  clock.run(10);
  const first = turn.stamp();
  turn.touchServer(flushed);
  clock.run(20);
  const again = turn.stampOf(first.readMs);
  strictEqual(turn.stampOf(first.readMs), again);
  deepStrictEqual([again.readMs, again.writtenMs, again.over], [first.readMs, -1, false]);
  turn.touchServer(flushed);
  clock.run(30);
  ok(again.over && again.writtenMs > first.writtenMs);
});

Deno.test("WrittenTimes finds the first write that had all of a request, however many there are", () => {
  const write = fc.record({ bytes: fc.integer({ min: 0, max: 5 }), answers: fc.nat(6) });
  fc.assert(fc.property(fc.array(write, { maxLength: 200 }), (writes) => {
    const found = new WrittenTimes();
    const naive: { bytes: number; ms: number }[] = [];
    const whole = (end: number) => naive.find(({ bytes }) => bytes >= end)?.ms ?? -1;
    let written = 0;
    let answered = 0;
    writes.forEach(({ bytes, answers }, ms) => {
      written += bytes;
      found.note(written, ms);
      if (bytes > 0) naive.push({ bytes: written, ms });
      for (let end = answered + 1; end <= written + 2; end++) strictEqual(found.find(end), whole(end));
      for (; answers > 0 && answered < written; answers--) {
        strictEqual(found.take(++answered), whole(answered));
      }
    });
    found.clear();
    strictEqual(found.find(1), -1);
  }));
  const many = new WrittenTimes();
  for (let i = 1; i <= 5000; i++) many.note(i, i);
  strictEqual(many.take(1000), 1000);
  ok(many.take(5000) >= 1000, "beyond the most that is kept, the last ones count as one");
});

Deno.test("each command has the class that its users would expect", () => {
  const expected: readonly (readonly [string, string])[] = [
    ["read", "GET HGETALL XRANGE OBJECT|ENCODING SORT_RO ZRANGE"],
    ["write", "SET INCR LPUSH GETEX SORT XADD HSET"],
    ["multi_key", "MGET MSET DEL UNLINK EXISTS TOUCH"],
    ["script", "EVAL EVALSHA FCALL SCRIPT|LOAD FUNCTION|LOAD"],
    ["transaction", "MULTI EXEC DISCARD WATCH UNWATCH"],
    ["pubsub", "SUBSCRIBE PUBLISH SSUBSCRIBE PUBSUB|CHANNELS"],
    ["other", "PING INFO KEYS SCAN DBSIZE FLUSHALL CLIENT|LIST SELECT AUTH CONFIG|GET"],
    ["blocking", "BLPOP BZPOPMIN WAIT XREAD XREADGROUP BLMOVE"],
  ];
  for (const [name, commands] of expected) {
    for (const each of commands.split(" ")) {
      strictEqual(LATENCY_CLASSES[findByName(each)!.latencyClass], name, each);
    }
  }
  const memcached = (row: string, keys = 1) =>
    LATENCY_CLASSES[latencyClass(COMMANDS.findIndex(({ name }) => name === row), keys)];
  for (const row of ["get", "gat", "mg"]) strictEqual(memcached(row), "read");
  for (const row of ["set", "incr", "touch", "ms", "md"]) strictEqual(memcached(row), "write");
  for (const row of ["get", "gats"]) strictEqual(memcached(row, 2), "multi_key");
  for (const row of ["stats", "version", "nonsense"]) strictEqual(memcached(row, 0), "other");
});
