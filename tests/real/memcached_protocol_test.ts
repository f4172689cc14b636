/**
 * The memcached scanners against memcached itself.
 *
 *   input ──► memcached A ───────────────────────────────────────► what it says
 *   input ──► scanRequest ─┬─► local answers ─────────────────┐
 *                          └─► memcached B ─► scanReply, drop ┴──► what Stand says: the same bytes
 *
 * Stand is the smallest possible proxy: it forwards what the scanner lets through, in one pipeline, and takes exactly one reply
 * per forwarded request. If it says what A says, the scanner found the right number of requests, cut the right
 * bytes, made the right answers, and every reply was framed exactly. A fence behind each input shows strays.
 */
import assert from "node:assert/strict";
import { copy, latin1 as textOf } from "../../src/bytes/ascii.ts";
import { ANSWER_NONE, ANSWERS } from "../../src/protocol/memcached/answers.ts";
import {
  COMMANDS,
  quietDrops,
  REFUSED,
  replyFits,
  ROW_QUIT,
  ROW_STATS,
  ROW_VERSION,
} from "../../src/protocol/memcached/commands.ts";
import { joinedSizeMax, joinGet } from "../../src/protocol/memcached/join.ts";
import { BAD_REPLY, replyType, scanReply } from "../../src/protocol/memcached/reply.ts";
import {
  FAULT,
  MemcachedRequest,
  NEED_MORE,
  READ_AS_1_6_18,
  READ_AS_NEWER,
  type RequestLimits,
  RequestScan,
  ROW_HTTP,
  scanRequest,
} from "../../src/protocol/memcached/request.ts";
import { Scan } from "../../src/protocol/memcached/scan.ts";
import { GetSplit, writeFragment } from "../../src/protocol/memcached/split.ts";
import { joinStats } from "../../src/protocol/memcached/stats.ts";
import { concat, latin1, show } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { within } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import type { Server } from "../lib/servers.ts";
import { isStrange, memcachedVersion, OLD } from "./memcached_side.ts";
import NEWER_MEMCACHED from "../vectors/memcached_1.6.45.json" with { type: "json" };

const LIMITS = { keysMax: 100_000, getLineMax: 1 << 24, valueSizeMax: 1 << 30, reading: 0 };
const CLOSED = "<closed>";

/** Bytes of a connection, taken as scanReply frames them. */
class Upstream {
  readonly scan = new Scan();
  bytes: Uint8Array = new Uint8Array(0);
  private constructor(readonly conn: Deno.Conn) {}

  static async connect(path: string): Promise<Upstream> {
    return new Upstream(await Deno.connect({ transport: "unix", path }));
  }

  async send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  /** Exactly one reply. */
  async reply(): Promise<Uint8Array> {
    const chunk = new Uint8Array(65536);
    for (;;) {
      const end = scanReply(this.bytes, 0, this.bytes.length, this.scan);
      assert.notEqual(end, BAD_REPLY, `not a reply: ${show(this.bytes)}`);
      if (end >= 0) {
        const reply = this.bytes.slice(0, end);
        this.bytes = this.bytes.slice(end);
        return reply;
      }
      const count = await within(this.conn.read(chunk), `a reply after ${show(this.bytes)}`, 5000);
      assert.notEqual(count, null, `closed after ${show(this.bytes)}`);
      this.bytes = concat([this.bytes, chunk.subarray(0, count!)]);
    }
  }
}

/** One forwarded or local request of a Stand. */
interface Turn {
  local: Uint8Array | null;
  row: number;
  noreply: boolean;
  quiet: boolean;
  /** Of a split get: the join of the fragments' replies. */
  join: ((replies: Uint8Array[]) => Uint8Array) | null;
  replies: number;
  stats: number;
}

class Stand {
  constructor(
    private readonly path: string,
    private readonly version: Uint8Array,
    private readonly limits: RequestLimits,
  ) {}

  /** What a client would get for `input`; "<closed>" at the end if the connection would be closed. */
  async ask(input: Uint8Array): Promise<string> {
    const scan = new RequestScan();
    const out = new MemcachedRequest();
    const turns: Turn[] = [];
    const sent: Uint8Array[] = [];
    let closed = false;
    let at = 0;
    while (at < input.length) {
      const start = at;
      at = scanRequest(input, start, input.length, this.limits, scan, out);
      assert.notEqual(at, NEED_MORE, `an unfinished request: ${show(input.subarray(start))}`);
      const turn: Turn = {
        local: null,
        row: out.row,
        noreply: out.noreply === 1,
        quiet: out.quiet === 1,
        join: null,
        replies: 0,
        stats: out.stats,
      };
      if (at === FAULT || ((out.row === ROW_QUIT || out.row === ROW_HTTP) && out.answer === ANSWER_NONE)) {
        closed = true;
        break;
      }
      turns.push(turn);
      if (out.answer !== ANSWER_NONE) turn.local = ANSWERS[out.answer]!;
      else if (out.row === ROW_VERSION) turn.local = this.version;
      else if (out.split === 1) this.split(input, out, turn, sent);
      else {
        turn.replies = 1;
        const from = out.wordStarts[0]!;
        if (out.cutEnd > 0) sent.push(input.slice(from, out.cutStart), input.slice(out.cutEnd, at));
        else sent.push(input.slice(from, at));
      }
    }
    const upstream = await Upstream.connect(this.path);
    try {
      await upstream.send(concat(sent));
      let text = "";
      for (const turn of turns) {
        const replies: Uint8Array[] = [];
        for (let i = 0; i < turn.replies; i++) replies.push(await upstream.reply());
        text += textOf(visible(turn, replies));
      }
      await upstream.send(latin1("mn\r\n"));
      assert.equal(textOf(await upstream.reply()), "MN\r\n", `a stray reply after ${show(input)}`);
      return text + (closed ? CLOSED : "");
    } finally {
      upstream.conn.close();
    }
  }

  /** Keys dealt to two fragments in turn (or one if there is but one key), as if they were two servers. */
  private split(input: Uint8Array, out: MemcachedRequest, turn: Turn, sent: Uint8Array[]): void {
    const split = new GetSplit();
    split.split(
      out,
      Int32Array.from({ length: out.keyCount }, (_, i) => out.wordEnds[out.keyFirst + i]! & 1),
      2,
    );
    for (let f = 0; f < split.count; f++) {
      const line = new Uint8Array(split.sizes[f]!);
      assert.equal(writeFragment(input, out, split, f, line, 0), line.length);
      sent.push(line);
    }
    const keys = {
      bytes: input,
      starts: out.wordStarts.slice(),
      ends: out.wordEnds.slice(),
      first: out.keyFirst,
      count: out.keyCount,
    };
    turn.replies = split.count;
    turn.join = (bytes) => {
      const replies = {
        bytes,
        starts: bytes.map(() => 0),
        ends: bytes.map((reply) => reply.length),
        count: bytes.length,
      };
      const to = new Uint8Array(joinedSizeMax(replies));
      const end = joinGet(keys, split.keyFragments, replies, to, 0);
      assert.ok(end > 0, `fragment ${-1 - end} cannot be joined`);
      return to.slice(0, end);
    };
  }
}

function visible(turn: Turn, replies: Uint8Array[]): Uint8Array {
  for (const reply of replies) {
    const type = replyType(reply, 0, reply.length);
    assert.ok(replyFits(turn.row, type), `${show(reply)} cannot answer ${COMMANDS[turn.row]?.name}`);
    if (turn.quiet && quietDrops(turn.row, type)) return new Uint8Array(0);
  }
  if (turn.noreply) return new Uint8Array(0);
  if (turn.local !== null) return turn.local;
  if (turn.join !== null) return turn.join(replies);
  if (turn.row === ROW_STATS && textOf(replies[0]!).startsWith("STAT")) {
    return joinStats({ bytes: replies, starts: [0], ends: [replies[0]!.length], count: 1 }, turn.stats);
  }
  return replies[0]!;
}

let fences = 0;

/** What memcached says to `input`, up to a fence of its own; "<closed>" if it closes. */
async function direct(server: Server, input: Uint8Array): Promise<string> {
  const fence = `fence${++fences}`;
  await using client = await RawClient.connect(server.target);
  client.patienceMs = 5000;
  let text = "";
  try {
    await client.send(concat([input, latin1(`mg ${fence} k\r\n`)]));
    text = await client.readUntil(`EN k${fence}\r\n`);
    return text.slice(0, -`EN k${fence}\r\n`.length);
  } catch (error) {
    if (!/closed|Broken pipe|reset/i.test(String(error))) throw error;
    return await client.readToEnd().catch(() => "") + CLOSED;
  }
}

/**
 * Ages, times and process numbers differ between two servers, and whether incr writes in place or makes a new item
 * (fetch, size) hangs on whether an earlier reply still holds the old one.
 */
function steady(text: string): string {
  return text.replace(/ (exp=-|la=|l|t)\d+/g, " $1#").replace(/ fetch=\w+ cls=\d+ size=\d+/g, " #").replace(
    /^STAT (\S*) .*$/gm,
    "STAT $1 #",
  );
}

async function setUp(f: Fixture) {
  const [a, b] = [await f.memcached(), await f.memcached()];
  const line = await direct(a, latin1("version\r\n"));
  const reading = line.includes(OLD) ? READ_AS_1_6_18 : READ_AS_NEWER;
  return {
    a,
    b,
    stand: new Stand(b.path, latin1(line), { ...LIMITS, reading }),
    version: line.trim().replace("VERSION ", ""),
  };
}

const K250 = "k".repeat(250);
const K251 = "k".repeat(251);
const O31 = "O" + "x".repeat(31);
const O32 = "O" + "x".repeat(32);
/** 17 flags that go together: as many as a line without a length may have. */
const FLAGS17 = "c f h k l O s t u v F1 C2 MS J1 D1 I P";

const NUMBERS = [
  "0",
  "1",
  "-1",
  "+1",
  "01",
  "x",
  "1x",
  "1\tx",
  "\t1",
  "-",
  "4294967295",
  "4294967296",
  "4294967299",
]
  .concat("2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "-0")
  .concat("-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616")
  .concat("-18446744073709551615", "");

const STORES = ["set", "add", "replace", "append", "prepend"];
const KEYED_LINES = [
  ...STORES.map((name) => (key: string) => `${name} ${key} 0 0 1\r\nx\r\n`),
  (key: string) => `cas ${key} 0 0 1 1\r\nx\r\n`,
  (key: string) => `get ${key}\r\n`,
  (key: string) => `gets ${key} hit ${key}\r\n`,
  (key: string) => `gat 0 ${key}\r\n`,
  (key: string) => `delete ${key}\r\n`,
  (key: string) => `incr ${key} 1\r\n`,
  (key: string) => `touch ${key} 0\r\n`,
  (key: string) => `mg ${key} v k\r\n`,
  (key: string) => `ms ${key} 1 k\r\nx\r\n`,
  (key: string) => `md ${key} k\r\n`,
  (key: string) => `ma ${key} k\r\n`,
  (key: string) => `me ${key}\r\n`,
];

/** Inputs whose answers must be the same; each on a connection of its own, in this order, on servers that start alike. */
const INPUTS: string[] = [
  "set hit 7 0 3\r\nabc\r\nset num 0 0 2\r\n10\r\n",
  // Lines that are no command.
  ...["", " ", "a", "\0", "m", "mx", "GET a", "Get a", "foo", "foo bar baz", "\r", "\xff\xfe", "x\x80"]
    .flatMap((line) => [
      `${line}\r\n`,
      `${line}\nmn\n`,
    ]),
  ...[
    "GET / HTTP/1.1",
    "HTTP/1.1",
    "get / HTTP/1.1",
    "foo HTTP/1.1 x",
    "gx HTTP/1.1",
    "mx HTTP/1.1",
    "mxy HTTP/1.1",
  ].map(
    (line) => `${line}\r\nmn\r\n`,
  ),
  `zz ${"y ".repeat(21)}HTTP/1.1 z z\r\nmn\r\n`,
  // Keys.
  ...["hit", K250, "a\tb", "a\rb", "\x01", "\xff\xc3", "noreply", "a\0b", "-", "0"].flatMap((key) =>
    KEYED_LINES.map((line) => line(key) + "mn\r\n")
  ),
  // A key too long; gets apart, since direct memcached forgets earlier replies.
  ...KEYED_LINES.map((line) => line(K251) + "mn\r\n"),
  // Spaces, ends of lines.
  "  get   hit  \r\n",
  "get hit\n",
  "get hit\r\r\n",
  "set crlf 0 0 2\n\r\n\r\nget crlf\n",
  "set k 0 0 3\nabc\nmn\r\nmn\r\n",
  // Gets.
  "get\r\n",
  "gets \r\n",
  "gat\r\n",
  "gat 0\r\n",
  "gats 0\r\n",
  "gat x\r\n",
  "gat x hit\r\n",
  "bget hit num\r\n",
  "get hit hit num hit miss num\r\n",
  "gets hit num hit\r\n",
  "gat 0 hit num miss hit\r\n",
  "gats 0 hit num\r\n",
  ...[21, 22, 23, 24, 45, 46, 47, 300].flatMap((
    n,
  ) => [`get${" hit miss".repeat(n)}\r\n`, `get${" hit".repeat(n)} \r\n`]),
  `gets ${Array.from({ length: 3000 }, (_, i) => `key${i}`).join(" ")} hit\r\n`,
  `get${" ".repeat(3000)}hit\r\n`,
  // More than 2048 bytes: memcached takes it if it comes at once, and from us in several lines.
  `gat 0${" hit miss".repeat(400)} num\r\n`,
  ...NUMBERS.map((n) => `gat ${n} hit\r\n`),
  // Storage.
  ...STORES.concat("cas").flatMap((name) => {
    const cas = name === "cas" ? " 1" : "";
    return [
      `${name}\r\n`,
      `${name} s\r\n`,
      `${name} s 0 0${cas}\r\nx\r\nmn\r\n`,
      `${name} s 0 0 1${cas}\r\nx\r\nget s\r\n`,
      `${name} s 0 0 1${cas} noreply\r\ny\r\nget s\r\n`,
      `${name} s 0 0 1${cas} other\r\nz\r\nget s\r\n`,
      `${name} s 0 0 1${cas} noreply other\r\nz\r\nmn\r\n`,
      `${name} s 0 0 noreply\r\nmn\r\n`,
      `${name} s 0 0 1${cas} noreply\0\r\nx\r\nmn\r\n`,
      `${name} s 0 0 1${cas}\0 noreply\r\nx\r\nmn\r\n`,
      `${name} s 0 0 3${cas}\r\nabcde\r\nmn\r\n`,
      `${name} s 0 0 3${cas} noreply\r\nabcde\r\nmn\r\n`,
      `${name} s 0 0 3${cas}\r\nab\r\nmn\r\nmn\r\n`,
      `${name} s 0 0 0${cas}\r\n\r\nget s\r\n`,
      `${name} s 0 0 -1${cas} noreply\r\nx\r\nmn\r\n`,
      `${name} s x 0 1${cas}\r\nx\r\nmn\r\n`,
    ];
  }),
  ...NUMBERS.flatMap((n) => [
    `set f ${n} 0 1\r\nx\r\nget f\r\n`,
    // A time of a second must not run out on one server before the other is asked.
    `set f 0 ${n} 1\r\nx\r\nset f 0 0 1\r\nx\r\n`,
    `cas f 0 0 1 ${n}\r\nx\r\nmn\r\n`,
    `incr num ${n}\r\n`,
    `touch num ${n}\r\ntouch num 0\r\n`,
    `flush_all ${n === "0" || n === "-0" || n === "-1" ? "x" : "99" + n} noreply\r\nmn\r\n`,
    `verbosity ${n === "1" || n === "01" || n === "+1" ? 0 : n === "" ? "x" : "0"}\r\n`,
  ]),
  // Lengths; those that are too large without their data, since memcached would wait for 2 GB.
  ...NUMBERS.filter((n) => !["4294967295", "2147483648"].includes(n)).flatMap((n) => [
    `set l 0 0 ${n}\r\n${
      n.includes("4294967299") ? "abc" : /^-?0$|^429.*6$|808$/.test(n) ? "" : "x"
    }\r\nmn\r\n`,
    `ms l ${n}\r\n${n.includes("4294967299") ? "abc" : /^-?0$|^429.*6$|808$/.test(n) ? "" : "x"}\r\nmn\r\n`,
  ]),
  "set l 0 0 2147483646\r\nmn\r\n",
  "ms l 2147483646\r\nmn\r\n",
  `set big 0 0 1000000\r\n${"x".repeat(1000000)}\r\nget big\r\n`,
  `set big 0 0 2000000\r\n${"x".repeat(2000000)}\r\nget big\r\n`,
  `set big 0 0 2000000 noreply\r\n${"x".repeat(2000000)}\r\nmn\r\n`,
  `set big 0 0 2000000\r\n${"x".repeat(2000000)}zzmn\r\n`,
  `set big 0 0 1000000\r\n${"x".repeat(1000000)}zzmn\r\n`,
  `ms big 2000000 q\r\n${"x".repeat(2000000)}\r\nmn\r\n`,
  // incr, decr, touch, delete.
  ...["incr", "decr", "touch"].flatMap((name) =>
    [
      "",
      " num",
      " num noreply",
      " num 1",
      " num 1 noreply",
      " num 1 x",
      " num x noreply",
      " num 1 noreply x",
      " num noreply noreply",
      " nope 1",
    ]
      .concat(" hit 1", " nope 1 noreply", " hit 1 noreply").map((rest) => `${name}${rest}\r\nmn\r\n`)
  ),
  "set n 0 0 20\r\n18446744073709551615\r\nincr n 1\r\ndecr n 5\r\nset n 0 0 3\r\n100\r\ndecr n 1\r\nget n\r\n",
  ...[
    "",
    " d",
    " d 0",
    " d 1",
    " d noreply",
    " d 0 noreply",
    " d 1 noreply",
    " d 0 0",
    " d 0 0 0",
    " noreply noreply",
  ]
    .concat(" noreply", ` ${K251} 1`, ` ${K251} noreply`).map((rest) =>
      `set d 0 0 1\r\nx\r\ndelete${rest}\r\nmn\r\nget d\r\n`
    ),
  // Meta.
  ...["mg", "ms", "md", "ma", "me", "mn"].flatMap((name) => [`${name}\r\n`, `${name} \r\nmn\r\n`]),
  ...["hit", "num", "miss"].flatMap((key) =>
    [
      "",
      "v",
      "q",
      "v q",
      "k q",
      "v k O7 q",
      "s t c f",
      "l h",
      "q q",
      "z",
      "q z",
      "z q q",
      "qx",
      "\xff",
      "\xff q q",
      "P L",
      "E",
    ]
      .concat(
        "Fx",
        "F",
        "Cx",
        "q Tx",
        "T0 T0",
        O31,
        O32,
        `${O32} q`,
        "u v",
        FLAGS17,
        `${FLAGS17} L`,
        `q ${FLAGS17}`,
      )
      .concat(`q q ${FLAGS17}`, "M", "MX q", "k b", "b q").flatMap((flags) => [
        `mg ${key} ${flags}\r\nmn\r\n`,
        `md ${key}x ${flags}\r\nmn\r\n`,
        `set mdk 0 0 1\r\nx\r\nmd mdk ${flags}\r\nmn\r\nget mdk\r\n`,
        `ma ${key} ${flags}\r\nmn\r\n`,
        `ms ms${key} 3 ${flags}\r\nabc\r\nmn\r\n`,
        `ms ms${key} 3 ${flags}\r\nabcde\r\nmn\r\n`,
        `me ${key} ${flags}\r\nmn\r\n`,
      ])
  ),
  ...["aGl0", "!!!!", "aGl", "aGl0!", "aG=0", "a", "====", "aA==", "/+8A", "aGl0aGl0aQ==", "AAAA"].flatMap((
    key,
  ) => [
    `mg ${key} b k v\r\nmn\r\n`,
    `mg ${key} b k v q\r\nmn\r\n`,
    `ms ${key} 2 b k c\r\nbb\r\nmg ${key} b k v\r\nmn\r\n`,
    `ms ${key} 2 b k q\r\nbb\r\nme ${key} b\r\nmn\r\n`,
    `ma ${key} b k\r\nmn\r\n`,
    `md ${key} k b q\r\nmn\r\n`,
    `me ${key} q b\r\nmn\r\n`,
  ]),
  ...["x", "-1", "3x", "3\tq", "+3", "03", "S3", ""].map((n) => `ms len ${n} q\r\nabc\r\nmn\r\n`),
  ...["", "q"].flatMap((q) =>
    ["ME", "MA", "MP", "MR", "MS", "C1", "C1 I", "C99999999", "T30 F5 c", "MX", "M", "MR k O1"].flatMap((
      flags,
    ) => [
      `ms mode 3 ${flags} ${q}\r\nabc\r\nmn\r\nget mode\r\n`,
      `ms nomode${flags.replaceAll(" ", "")}${q} 3 ${flags} ${q}\r\nabc\r\nmn\r\n`,
    ])
  ),
  ...["", "q"].flatMap((q) =>
    ["N30", "N30 v", "N30 v k", "R30 v", "T30 t", "N30 v k O1"].map((flags, i) =>
      `mg viv${i}${q} ${flags} ${q}\r\nmg viv${i}${q} ${flags} ${q}\r\nmn\r\n`
    )
  ),
  ...["", "q"].flatMap((q) =>
    ["", "v", "v t c k", "D5 v", "MD v", "M- D99 v", "MI v", "M+", "MX", "Dx", "Jx", "C1", "T0 v"].flatMap((
      flags,
    ) => [
      `ma num ${flags} ${q}\r\nmn\r\n`,
      `ma nonum ${flags} ${q}\r\nmn\r\n`,
      `ma hit ${flags} ${q}\r\nmn\r\n`,
    ])
  ),
  "ma auto N0 J13 v\r\nma auto N0 J13 v\r\nma auto N0 J13 v q\r\nmn\r\n",
  "md hit I T30\r\nmg hit v c\r\nmg hit v c\r\nms hit 1 C1 I q\r\nx\r\nmn\r\n",
  // The rest.
  ...[
    "version",
    "version x",
    "verbosity",
    "verbosity x",
    "verbosity 0 noreply",
    "verbosity 0 x",
    "verbosity noreply",
  ]
    .concat("verbosity 0 0 0", "quit", "quit x", "mn x y").map((line) => `${line}\r\nmn\r\n`),
  ...["x", "0 0 0", "noreply noreply", "x noreply"].map((rest) => `flush_all ${rest}\r\nmn\r\n`),
  ...[
    "stats",
    "stats items",
    "stats slabs",
    "stats settings",
    "stats sizes",
    "stats reset",
    "stats foo",
    "stats noreply",
  ]
    .concat("stats reset x", "stats slabs x").map((line) => `${line}\r\nmn\r\n`),
  "cache_memlimit\r\nlru\r\nextstore\r\ncache_memlimit 1 2 3\r\nshutdown\r\nmn\r\n",
  `x${"y".repeat(2046)}\r\nmn\r\n`,
  "z".repeat(20_000),
  "flush_all\r\nget hit\r\nflush_all 0 noreply\r\nflush_all 0\r\nflush_all 0 x\r\nflush_all -1\r\nmn\r\n",
  "mn\r\n\x80\x0a\r\n",
];

Deno.test("scanRequest(), scanReply() and local answers agree with memcached", async (t) => {
  await using f = new Fixture();
  const { a, b, stand, version } = await setUp(f);
  // How many items there have been hangs with newer ones on what they have refused before, and on the time.
  const unnumbered = (text: string) => version === OLD ? text : text.replace(/ c\d+/g, " c#");
  const wrong: string[] = [];
  for (const input of INPUTS) {
    // Whether there is a class of items to tell of hangs, with newer ones, on what they have refused before.
    if (isStrange(input) || (version !== OLD && input.startsWith("stats items"))) continue;
    const bytes = latin1(input);
    const expected = unnumbered(steady(await direct(a, bytes)));
    let actual: string;
    try {
      actual = unnumbered(steady(await stand.ask(bytes)));
    } catch (error) {
      actual = String(error);
    }
    if (actual !== expected) {
      wrong.push(
        `${show(bytes, 120)}\n  memcached ${show(latin1(expected), 300)}\n  we        ${
          show(new TextEncoder().encode(actual), 300)
        }`,
      );
    }
  }
  const known = version === OLD ? [] : NEWER_MEMCACHED;
  await t.step(
    `${INPUTS.length} inputs`,
    () => assert.deepEqual(wrong.map((each) => each.split("\n")), known),
  );
  await t.step("and both servers still run", () => assert.deepEqual([a.status, b.status], [null, null]));
});

Deno.test("scanReply() frames what memcached says, whole and byte by byte", async () => {
  await using f = new Fixture();
  const a = await f.memcached();
  const old = await memcachedVersion(a) === OLD;
  let framed = 0;
  for (const input of INPUTS) {
    if (input.length > 100_000) continue;
    const said = await direct(a, latin1(input));
    // Newer ones put an empty line behind the refusal of a get with a key too long; it never gets to them through us.
    // The same with what is said to cache_memlimit and shutdown.
    const text = old ? said : said.replace(/^(CLIENT_ERROR bad command line format\r\n)\r\n/gm, "$1")
      .replace(/^(MEMLIMIT_TOO_SMALL|SERVER_ERROR:) .*\r\n/gm, "");
    const bytes = latin1(text.endsWith(CLOSED) ? text.slice(0, -CLOSED.length) : text);
    const ends = frames(bytes, bytes.length);
    assert.equal(ends.at(-1) ?? 0, bytes.length, `${show(latin1(input))}: ${show(bytes)}`);
    if (bytes.length < 5000) assert.deepEqual(frames(bytes, 1), ends, show(bytes));
    framed += ends.length;
  }
  assert.ok(framed > INPUTS.length);
});

/** Ends of the replies in `bytes`, which come in pieces of `size` bytes. */
function frames(bytes: Uint8Array, size: number): number[] {
  const scan = new Scan();
  const ends: number[] = [];
  let start = 0;
  for (let have = 0; have < bytes.length;) {
    have = Math.min(have + size, bytes.length);
    const view = new Uint8Array(have);
    copy(view, 0, bytes, 0, have);
    for (;;) {
      const end = scanReply(view, start, have, scan);
      assert.notEqual(end, BAD_REPLY, `at ${start} of ${show(bytes)}`);
      if (end === NEED_MORE) break;
      ends.push(end);
      start = end;
    }
  }
  return ends;
}

/** Where we differ on purpose: input, what memcached 1.6.18 says, what we say, what 1.6.45 says. */
const DIFFERENCES: readonly [
  why: string,
  input: string,
  memcached: string,
  we: string,
  newer: string,
  weBesideNewer?: string,
][] = [
  [
    "what 1.6.40 and later read otherwise is refused here, and its data block goes with it",
    "set odd 0 0 +2\r\nmn\r\nms odd 2\t c\r\nmn\r\nset odd\0 0 0 2\r\nmn\r\n",
    "STORED\r\nHD c2\r\nERROR\r\nMN\r\n",
    `${"CLIENT_ERROR bad command line format\r\n".repeat(2)}ERROR\r\nMN\r\n`,
    "CLIENT_ERROR bad command line format\r\nMN\r\nCLIENT_ERROR bad command line format\r\nMN\r\nSTORED\r\n",
    "CLIENT_ERROR bad command line format\r\nMN\r\nCLIENT_ERROR bad command line format\r\nMN\r\nCLIENT_ERROR bad command line format\r\n",
  ],
  [
    "delete of a key called noreply, which 1.6.40 and later take for silence",
    "delete noreply\r\n",
    "NOT_FOUND\r\n",
    "CLIENT_ERROR bad command line format\r\n",
    "",
    "",
  ],
  [
    "memcached forgets replies that wait before a get with a long key",
    `mn\r\nget a ${K251}\r\nmn\r\n`,
    "MN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n",
    "MN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n",
    "MN\r\nCLIENT_ERROR bad command line format\r\n\r\nMN\r\n",
    "MN\r\nCLIENT_ERROR bad command line format\r\n\r\nMN\r\n",
  ],
  [
    "the same with a request whose reply does not leave at once",
    `version\r\nget a ${K251}\r\n`,
    "CLIENT_ERROR bad command line format\r\n",
    "VERSION 1.6.18\r\nCLIENT_ERROR bad command line format\r\n",
    "CLIENT_ERROR bad command line format\r\n\r\n",
    "VERSION 1.6.18\r\nCLIENT_ERROR bad command line format\r\n\r\n",
  ],
  [
    "q hides that ma made an item, as documented",
    "ma made1 N0 q\r\nma made2 N0 J5 v q\r\nmn\r\n",
    "HD\r\nVA 1\r\n5\r\nMN\r\n",
    "MN\r\n",
    "MN\r\n",
  ],
];

Deno.test("the differences from memcached 1.6.18 are the ones that are listed", async () => {
  await using f = new Fixture();
  const { a, stand, version } = await setUp(f);
  for (const [why, input, memcached, we, newer, weBesideNewer = we] of DIFFERENCES) {
    assert.equal(await direct(a, latin1(input)), version === OLD ? memcached : newer, `memcached: ${why}`);
    assert.equal(
      await stand.ask(latin1(input)),
      (version === OLD ? we : weBesideNewer).replace(`VERSION ${OLD}`, `VERSION ${version}`),
      `we: ${why}`,
    );
  }
});

/** A random request, near the grammar; complete as far as the scanner is concerned. */
function randomInput(random: Random): string {
  const keys = ["a", "b", "c", "num", "YQ==", "aGl0", "noreply", "0", "a\tb"];
  const key = () => random.pick(keys);
  const number = () =>
    random.next() < 0.8 ? random.pick(["0", "1", "5"]) : random.pick(["x", "-1", "007", "+3"]);
  const end = () =>
    random.next() < 0.9 ? "\r\n" : random.pick(["\n", " \r\n", " noreply\r\n", " x\r\n", "\0 x\r\n"]);
  const noreply = () => random.next() < 0.3 ? " noreply" : "";
  const flags = (letters: string) => {
    let text = "";
    for (let i = random.below(5); i > 0; i--) {
      const letter = random.next() < 0.95 ? random.pick([...letters]) : random.pick(["z", "\xff", "E", "i"]);
      const token = letter === "O" ? "7" : /[TCNRDJF]/.test(letter)
        // Not T1: it would be a race with the second hand.
        ? random.pick(["0", letter === "T" ? "1000" : "1", "x", "999"])
        : letter === "M"
        ? random.pick(["S", "E", "A", "R", "I", "X"])
        : "";
      text += ` ${letter}${token}`;
    }
    return text;
  };
  const data = () => {
    const value = random.pick(["", "1", "5", "abc", "a\r\nb", "\xff\0\n", "x".repeat(random.below(300))]);
    const length = random.next() < 0.95 ? value.length : Math.max(0, value.length + random.between(-2, 1));
    return [String(length), value + "\r\n"];
  };
  switch (random.below(12)) {
    case 0:
      return `${random.pick(["get", "gets"])} ${
        Array.from({ length: random.between(1, 8) }, key).join(" ")
      }${end()}`;
    case 1:
      return `${random.pick(["gat", "gats"])} ${random.pick(["0", "100", "x"])} ${key()} ${key()}${end()}`;
    case 2:
    case 3: {
      const [length, value] = data();
      return `${random.pick(STORES)} ${key()} ${number()} 0 ${length}${noreply()}\r\n${value}`;
    }
    case 4: {
      const [length, value] = data();
      return `cas ${key()} 0 0 ${length} ${number()}${noreply()}\r\n${value}`;
    }
    case 5:
      // Not decr: whether 10 - 5 is stored as "5" or "5 " depends on whether an earlier reply still holds the item.
      return `incr ${key()} ${number()}${noreply()}${end()}`;
    case 6:
      return `delete ${key()}${random.pick(["", " 0", " noreply", " 0 noreply", " 7"])}${end()}`;
    case 7:
      return `touch ${key()} 0${noreply()}${end()}`;
    case 8: {
      const [length, value] = data();
      // Not b: an incr that makes a new item forgets that the key was binary.
      return `ms ${key()} ${length}${flags("qqOkcFICTM")}\r\n${value}`;
    }
    case 9:
      return `mg ${key()}${flags("qqbvkOcfstu")}\r\n`;
    case 10:
      return `${random.pick(["md", "ma"])} ${key()}${flags("qqbkOCTcvM")}\r\n`;
    default:
      return random.pick([
        "mn",
        "version",
        "foo",
        "",
        "me a",
        "verbosity 0 noreply",
        "get",
        "set",
        "GET a",
        "stats foo",
      ]) + end();
  }
}

Deno.test("random pipelines are answered as memcached answers them", async () => {
  await using f = new Fixture();
  const { a, stand, version } = await setUp(f);
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  let requests = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const random = new Random(seed);
    let input = Array.from({ length: random.between(1, 30) }, () => randomInput(random)).join("");
    // A last length that promises more than there is gets it; no line is left open.
    for (;;) {
      let at = 0;
      const bytes = latin1(input);
      scan.reset();
      scan.started = 0;
      while (at >= 0 && at < bytes.length) {
        const next = scanRequest(bytes, at, bytes.length, LIMITS, scan, out);
        if (next < 0) break;
        assert.ok(out.kind !== REFUSED);
        requests++;
        at = next;
      }
      if (at === bytes.length) break;
      input += "\r\n";
    }
    if (isStrange(input)) continue;
    const bytes = latin1(input);
    const unnumbered = (text: string) =>
      version === OLD ? steady(text) : steady(text).replace(/ c\d+/g, " c#");
    const actual = unnumbered(await stand.ask(bytes));
    assert.equal(actual, unnumbered(await direct(a, bytes)), `seed ${seed}: ${show(bytes, 3000)}`);
  }
  assert.ok(requests > 4000);
});
