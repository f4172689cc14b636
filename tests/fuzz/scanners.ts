/**
 * `deno task fuzz:scanners [--runs=N] [--seed=S] [--only=NAME]`: mutated messages for the four scanners (Redis and memcached,
 * requests and replies).
 *
 *   valid messages ──► splice, flip, cut, odd lengths, dictionary ──► scan whole between two kinds of poison
 *                                                              └────► scan in random pieces ──► all must agree
 *
 * One run is one mutated input for one scanner, scanned three times. What must hold: no exception, offsets that only go
 * forward and stay inside, no influence of the bytes outside (poison before and behind, two kinds), the same requests or
 * replies however the bytes are cut, whether or not the caller heeds `needed`.
 */
import { parseArgs } from "node:util";
import { Args } from "../../src/protocol/redis/args.ts";
import { BAD_QUOTES, INLINE, RequestResume, scanRequest } from "../../src/protocol/redis/request.ts";
import { inlineToArray, scanInline } from "../../src/protocol/redis/inline.ts";
import { ReplyResume, scanReply } from "../../src/protocol/redis/reply.ts";
import { replyType, scanReply as scanMemcachedReply } from "../../src/protocol/memcached/reply.ts";
import {
  BINARY_CLIENT,
  MemcachedRequest,
  RequestScan,
  scanRequest as scanMemcachedRequest,
} from "../../src/protocol/memcached/request.ts";
import { Scan } from "../../src/protocol/memcached/scan.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { Random } from "../sim/random.ts";

const NEED_MORE = -1;
/** An error, or the last message of a stream: nothing after it is looked at. */
const STOP = -100;

/** What scanning a stream came to: offsets and what else is known of each message, in a row. */
class Trace {
  readonly values = new Float64Array(4096);
  count = 0;

  add(value: number): void {
    if (this.count < this.values.length) this.values[this.count++] = value;
  }

  same(other: Trace): boolean {
    if (this.count !== other.count) return false;
    for (let i = 0; i < this.count; i++) if (this.values[i] !== other.values[i]) return false;
    return true;
  }

  toString(): string {
    return [...this.values.subarray(0, this.count)].join(" ");
  }
}

/** One scanner with its state of a stream. */
interface Subject {
  readonly name: string;
  readonly corpus: readonly string[];
  readonly words: readonly string[];
  reset(): void;
  /**
   * Scans the message at `start`; notes in `trace` what it is, with places relative to `base`.
   * @returns offset past it; NEED_MORE; STOP
   */
  step(bytes: Uint8Array, start: number, end: number, base: number, trace: Trace): number;
  /** Bytes from the message's start without which there is no use in asking again; 0 = unknown. */
  needed(): number;
}

class RedisRequests implements Subject {
  readonly name = "redis-requests";
  readonly corpus = [
    "*1\r\n$4\r\nPING\r\n",
    "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
    "*3\r\n$3\r\nSET\r\n$12\r\nlonger:key:1\r\n$0\r\n\r\n",
    "*4\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    "*2\r\n$4\r\nECHO\r\n$10\r\n$1\r\na\r\n*1\r\r\n",
    "*0\r\n",
    "*-1\r\n",
    "PING\r\n",
    "set k \"a b\\x41\\n\" 'it\\'s'\r\n",
    "\r\n",
    "*12\r\n" + "$1\r\nx\r\n".repeat(12),
    "*1\r\n$120\r\n" + "y".repeat(120) + "\r\n",
  ];
  readonly words = [..."*$\r\n\"'\\"].concat(
    "\r\n",
    "*1\r\n",
    "$0\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "\n",
    "\\x",
    "\0",
    " ",
  );
  private readonly limits = { requestSizeMax: 400, argumentsMax: 16 };
  private readonly args = new Args();
  private resume = new RequestResume();
  private inlineAt = 0;

  reset(): void {
    this.resume = new RequestResume();
    this.inlineAt = 0;
  }

  step(bytes: Uint8Array, start: number, end: number, base: number, trace: Trace): number {
    const { args, limits, resume } = this;
    const next = scanRequest(bytes, start, end, args, limits, resume);
    if (next >= 0) {
      resume.reset();
      trace.add(next - base);
      trace.add(args.count);
      for (let i = 0; i < args.count; i++) {
        if (args.starts[i]! < start || args.ends[i]! > next - 2 || args.starts[i]! > args.ends[i]!) {
          throw new Error(
            `argument ${i} is [${args.starts[i]}, ${args.ends[i]}) of a request [${start}, ${next})`,
          );
        }
        trace.add(args.starts[i]! - base);
        trace.add(args.ends[i]! - base);
      }
      return next;
    }
    if (next === NEED_MORE) return NEED_MORE;
    if (next !== INLINE) {
      trace.add(next);
      return STOP;
    }
    const line = scanInline(bytes, start, end, start + this.inlineAt);
    if (line === NEED_MORE) {
      this.inlineAt = end - start;
      return NEED_MORE;
    }
    this.inlineAt = 0;
    trace.add(line < 0 ? line : line - base);
    if (line < 0) return STOP;
    const array = inlineToArray(bytes, start, line);
    if (array === BAD_QUOTES) {
      trace.add(BAD_QUOTES);
      return STOP;
    }
    if (array.length === 0) return line;
    const whole = scanRequest(array, 0, array.length, args, limits, new RequestResume());
    trace.add(whole);
    for (let i = 0; i < array.length; i += 7) trace.add(array[i]!);
    // What is made of a line is a request, or over a limit.
    if (whole !== array.length && whole > -14) {
      throw new Error(`an inline request became one of code ${whole}`);
    }
    return whole < 0 ? STOP : line;
  }

  needed(): number {
    return this.resume.needed;
  }
}

class RedisReplies implements Subject {
  readonly name = "redis-replies";
  readonly corpus = [
    "+OK\r\n",
    "-ERR no\r\n",
    ":42\r\n",
    ":-1\r\n",
    "$5\r\nhello\r\n",
    "$0\r\n\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n$1\r\na\r\n:7\r\n",
    "*2\r\n*2\r\n+a\r\n+b\r\n*1\r\n$-1\r\n",
    "%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
    ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
    "|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
    "_\r\n",
    "#t\r\n",
    ",1.5e3\r\n",
    "(12345678901234567890\r\n",
    "=7\r\ntxt:abc\r\n",
    "!5\r\nERR x\r\n",
    "$?\r\n;2\r\nab\r\n;0\r\n",
    "*?\r\n:1\r\n:2\r\n.\r\n",
    "%?\r\n+a\r\n:1\r\n.\r\n",
    "$130\r\n" + "z".repeat(130) + "\r\n",
  ];
  readonly words = [..."+-:$*%~>|_#,(=!;.?\r\n"].concat(
    "\r\n",
    "$-1\r\n",
    "*1\r\n",
    "$?\r\n",
    ";0\r\n",
    ".\r\n",
    "|0\r\n",
  );
  private resume = new ReplyResume();

  reset(): void {
    this.resume = new ReplyResume();
  }

  step(bytes: Uint8Array, start: number, end: number, base: number, trace: Trace): number {
    const next = scanReply(bytes, start, end, this.resume);
    if (next === NEED_MORE) return NEED_MORE;
    trace.add(next < 0 ? next : next - base);
    return next < 0 ? STOP : next;
  }

  needed(): number {
    return this.resume.needed;
  }
}

class MemcachedRequests implements Subject {
  readonly name = "memcached-requests";
  readonly corpus = [
    "get a\r\n",
    "gets a b ccc\r\n",
    "gat 10 a b\r\n",
    "set k 5 0 3\r\nabc\r\n",
    "set k 5 0 0 noreply\r\n\r\n",
    "cas k 0 -1 2 17\r\nab\r\n",
    "append k 0 0 4\r\n\r\n\r\n\r\n",
    "incr n 1\r\n",
    "decr n 18446744073709551615 noreply\r\n",
    "delete k 0 noreply\r\n",
    "touch k 100\r\n",
    "mg k v t f c k Oabc q\r\n",
    "ms k 2 T0 F5 I q b\r\nhi\r\n",
    "md k q O1\r\n",
    "ma k MD D3 J1 N0 v\r\n",
    "me k\r\n",
    "mn\r\n",
    "version\r\n",
    "verbosity 1\r\n",
    "flush_all 0 noreply\r\n",
    "stats\r\n",
    "stats proxy\r\n",
    "quit\r\n",
    "get a\n",
    "  get   a  \r\n",
    `set big 0 0 150\r\n${"v".repeat(150)}\r\n`,
    `get ${"k".repeat(250)}\r\n`,
  ];
  readonly words = [
    "\r\n",
    "\n",
    " ",
    "  ",
    "noreply",
    " q",
    " b",
    "\x80",
    "\0",
    "get ",
    "set ",
    "ms ",
    "mg ",
    " k",
    "\r",
    "-",
  ];
  private readonly limits = { keysMax: 8, getLineMax: 2600, valueSizeMax: 120, reading: 0 };
  private scan = new RequestScan();
  private readonly out = new MemcachedRequest();
  private skip = 0;

  reset(): void {
    this.scan = new RequestScan();
    this.skip = 0;
  }

  step(bytes: Uint8Array, start: number, end: number, base: number, trace: Trace): number {
    const { out } = this;
    if (this.skip > 0) {
      const here = Math.min(this.skip, end - start);
      this.skip -= here;
      return start + here;
    }
    const next = scanMemcachedRequest(bytes, start, end, this.limits, this.scan, out);
    if (next === NEED_MORE) return NEED_MORE;
    if (next === BINARY_CLIENT) return STOP;
    trace.add(next < 0 ? next : next - base);
    trace.add(out.answer);
    if (next === -3) return STOP;
    trace.add(out.row * 8 + out.kind);
    trace.add(out.noreply * 8 + out.quiet * 4 + out.base64 * 2 + out.badData);
    trace.add(out.wordCount);
    trace.add(out.keyCount);
    const messageEnd = next < 0 ? start + out.needed : next;
    for (let i = 0; i < out.keyCount && out.answer === 0; i++) {
      const from = out.wordStarts[out.keyFirst + i]!;
      const to = out.wordEnds[out.keyFirst + i]!;
      if (from < start || to > messageEnd || from >= to) throw new Error(`key ${i} is [${from}, ${to})`);
      trace.add(from - base);
      trace.add(to - base);
    }
    if (out.cutEnd !== 0) {
      if (out.cutStart < start || out.cutEnd > out.lineEnd) {
        throw new Error(`cut [${out.cutStart}, ${out.cutEnd})`);
      }
      trace.add(out.cutStart - base);
      trace.add(out.cutEnd - base);
    }
    if (next >= 0) return next;
    // SKIP: the request's bytes are dropped as they come.
    const here = Math.min(out.needed, end - start);
    this.skip = out.needed - here;
    trace.add(out.needed);
    return start + here;
  }

  needed(): number {
    return this.scan.needed;
  }
}

class MemcachedReplies implements Subject {
  readonly name = "memcached-replies";
  readonly corpus = [
    "END\r\n",
    "STORED\r\n",
    "NOT_STORED\r\n",
    "EXISTS\r\n",
    "NOT_FOUND\r\n",
    "DELETED\r\n",
    "TOUCHED\r\n",
    "OK\r\n",
    "ERROR\r\n",
    "CLIENT_ERROR bad data chunk\r\n",
    "SERVER_ERROR object too large for cache\r\n",
    "VALUE a 0 3\r\nabc\r\nEND\r\n",
    "VALUE a 0 0\r\n\r\nVALUE b 5 2 77\r\nEN\r\nEND\r\n",
    "123\r\n",
    "18446744073709551615\r\n",
    "VERSION 1.6.18\r\n",
    "STAT pid 1\r\nSTAT x y\r\nEND\r\n",
    "HD O1 kabc\r\n",
    "VA 3 f5 t-1\r\nxyz\r\n",
    "EN\r\n",
    "NF O2\r\n",
    "NS\r\n",
    "EX\r\n",
    "MN\r\n",
    "ME k exp=-1 la=0\r\n",
    "RESET\r\n",
    `VALUE big 0 150\r\n${"v".repeat(150)}\r\nEND\r\n`,
  ];
  readonly words = ["\r\n", "\n", " ", "VALUE ", "END\r\n", "STAT ", "VA ", "HD", "ERROR", "-", "\0", "\r"];
  private scan = new Scan();

  reset(): void {
    this.scan = new Scan();
  }

  step(bytes: Uint8Array, start: number, end: number, base: number, trace: Trace): number {
    const next = scanMemcachedReply(bytes, start, end, this.scan);
    if (next === NEED_MORE) return NEED_MORE;
    trace.add(next < 0 ? next : next - base);
    if (next < 0) return STOP;
    trace.add(replyType(bytes, start, next));
    return next;
  }

  needed(): number {
    return this.scan.needed;
  }
}

const SUBJECTS: readonly Subject[] = [
  new RedisRequests(),
  new RedisReplies(),
  new MemcachedRequests(),
  new MemcachedReplies(),
];

const NUMBERS = [
  ..."0 1 2 9 10 00 01 -0 -1 -2 +1 99 127 150 255 256 400 65535 999999".split(" "),
  ..."1048576 1048577 536870912 536870913 2147483647 2147483648 4294967295 4294967296".split(" "),
  ..."9007199254740991 9007199254740993 9223372036854775807 18446744073709551616 1e9 0x10".split(" "),
  "1" + "0".repeat(30),
];

const SIZE_MAX = 4096;
const BEFORE = 16;
const AROUND = 64;
/** What lies around the input: once bytes that could go on with any message, once bytes that could not. */
const POISONS = [latin1("\r\n$1\r\n:1\r\n+OK\r\nEND\r\n 0123456789"), new Uint8Array(1).fill(0xdd)];

/** Builds inputs into `bytes[0, size)`. */
class Mutator {
  readonly bytes = new Uint8Array(SIZE_MAX);
  size = 0;
  private readonly corpus: Uint8Array[];
  private readonly words: Uint8Array[];
  private readonly numbers = NUMBERS.map(latin1);

  constructor(subject: Subject, private readonly random: Random) {
    this.corpus = subject.corpus.map(latin1);
    this.words = subject.words.map(latin1);
  }

  make(): void {
    const { random } = this;
    this.size = 0;
    for (let i = random.int(1, 3); i > 0; i--) this.insert(this.size, random.pick(this.corpus));
    for (let i = random.int(0, 4); i > 0; i--) this.mutate();
  }

  private mutate(): void {
    const { bytes, random } = this;
    const at = random.int(0, this.size);
    switch (random.int(0, 7)) {
      case 0:
        if (at < this.size) bytes[at] = random.bits();
        return;
      case 1:
        if (at < this.size) bytes[at]! ^= 1 << random.int(0, 7);
        return;
      case 2:
        return this.insert(at, random.pick(this.words));
      case 3:
        return this.remove(at, random.magnitude(1, 20));
      case 4: {
        const from = random.pick(this.corpus);
        const start = random.int(0, from.length - 1);
        return this.insert(at, from.subarray(start, random.int(start, from.length)));
      }
      case 5:
        this.size = at;
        return;
      default:
        return this.renumber(at);
    }
  }

  /** Another number in place of the first one from `at` on. */
  private renumber(at: number): void {
    const { bytes } = this;
    while (at < this.size && !(bytes[at]! >= 48 && bytes[at]! <= 57)) at++;
    let end = at;
    while (end < this.size && bytes[end]! >= 48 && bytes[end]! <= 57) end++;
    if (at === end) return;
    this.remove(at, end - at);
    this.insert(at, this.random.pick(this.numbers));
  }

  private insert(at: number, what: Uint8Array): void {
    if (this.size + what.length > SIZE_MAX) return;
    this.bytes.copyWithin(at + what.length, at, this.size);
    this.bytes.set(what, at);
    this.size += what.length;
  }

  private remove(at: number, count: number): void {
    const end = Math.min(this.size, at + count);
    this.bytes.copyWithin(at, end, this.size);
    this.size -= end - at;
  }
}

const traces = [new Trace(), new Trace(), new Trace()];
const fields = POISONS.map((poison) => {
  const field = new Uint8Array(BEFORE + SIZE_MAX + AROUND);
  for (let i = 0; i < field.length; i++) field[i] = poison[i % poison.length]!;
  return field;
});

/** All messages of a stream that is all there. */
function scanWhole(subject: Subject, bytes: Uint8Array, start: number, end: number, trace: Trace): void {
  subject.reset();
  trace.count = 0;
  let at = start;
  while (at < end) {
    const next = subject.step(bytes, at, end, start, trace);
    if (next < 0) break;
    if (next <= at || next > end) throw new Error(`went from ${at} to ${next} in [${start}, ${end})`);
    at = next;
  }
}

/** The same in pieces, as a connection does it. */
function scanPieces(
  subject: Subject,
  bytes: Uint8Array,
  start: number,
  end: number,
  trace: Trace,
  random: Random,
): void {
  subject.reset();
  trace.count = 0;
  const pieceMax = random.magnitude(1, end - start + 1);
  const heeds = random.chance(0.5);
  let at = start;
  let here = start;
  while (here < end) {
    here = Math.min(end, here + random.int(1, pieceMax));
    while (at < here) {
      if (heeds && here < end && here - at < subject.needed()) break;
      const next = subject.step(bytes, at, here, start, trace);
      if (next === NEED_MORE) break;
      if (next < 0) return;
      if (next <= at || next > here) throw new Error(`went from ${at} to ${next} in [${start}, ${here})`);
      at = next;
    }
  }
}

/** @returns how many inputs were run, and the first thing found, or null */
export function fuzzScanner(
  name: string,
  runs: number,
  seed: number,
): { runs: number; found: string | null } {
  const subject = SUBJECTS.find((one) => one.name === name)!;
  const random = new Random(seed);
  const mutator = new Mutator(subject, random);
  const [a, b, c] = traces as [Trace, Trace, Trace];
  const [first, second] = fields as [Uint8Array, Uint8Array];
  for (let run = 1; run <= runs; run++) {
    mutator.make();
    const { bytes, size } = mutator;
    let problem: string | null = null;
    for (let i = 0; i < size; i++) first[BEFORE + i] = second[BEFORE + i] = bytes[i]!;
    try {
      scanWhole(subject, first, BEFORE, BEFORE + size, a);
      scanWhole(subject, second, BEFORE, BEFORE + size, b);
      scanPieces(subject, second, BEFORE, BEFORE + size, c, random);
      if (!a.same(b)) problem = `bytes outside matter: ${a} | ${b}`;
      else if (!b.same(c)) problem = `pieces matter: ${b} | ${c}`;
    } catch (error) {
      problem = String(error);
    }
    if (problem !== null) {
      return { runs: run, found: `${problem}\n  input ${JSON.stringify(textOf(bytes, 0, size))}` };
    }
    const poisons = POISONS;
    const [p, q] = poisons as [Uint8Array, Uint8Array];
    for (let i = 0; i < size; i++) {
      first[BEFORE + i] = p[(BEFORE + i) % p.length]!;
      second[BEFORE + i] = q[0]!;
    }
  }
  return { runs, found: null };
}

export const SCANNERS: readonly string[] = SUBJECTS.map((subject) => subject.name);

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      runs: { type: "string", default: "1000000" },
      seed: { type: "string" },
      only: { type: "string" },
    },
  });
  const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
  let [total, failed] = [0, 0];
  const startMs = performance.now();
  for (const name of SCANNERS) {
    if (values.only !== undefined && values.only !== name) continue;
    const beganMs = performance.now();
    const { runs, found } = fuzzScanner(name, Math.ceil(Number(values.runs) / SCANNERS.length), seed);
    const perSecond = Math.round(runs / (performance.now() - beganMs) * 1000);
    console.log(
      `${name}: ${runs} runs, ${perSecond} a second, seed ${seed}${found === null ? "" : `\n  ${found}`}`,
    );
    total += runs;
    if (found !== null) failed++;
  }
  const seconds = (performance.now() - startMs) / 1000;
  console.log(`${total} runs in ${seconds.toFixed(1)} s, ${failed} scanners with a problem`);
  Deno.exit(failed === 0 ? 0 : 1);
}
