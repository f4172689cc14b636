/** What is learned of commands that the table does not know: rows, where their keys are, and what a pool remembers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { FINDER, FLAG, ROUTE } from "../../src/protocol/redis/command.ts";
import { NAME_MAX } from "../../src/protocol/redis/commands.ts";
import { findKeys, KeyList } from "../../src/protocol/redis/keys.ts";
import { commandFromInfo, keysFromReply, type LearnedRow } from "../../src/protocol/redis/learn.ts";
import {
  LEARNED_MAX,
  LearnedCommands,
  QUESTIONS_A_SECOND,
  QUESTIONS_MAX,
  UNKNOWN_MAX,
  UNKNOWN_MS,
} from "../../src/protocol/redis/learned.ts";
import { latin1 } from "../lib/bytes.ts";
import { thorough } from "../lib/runs.ts";
import { scanned } from "../lib/scanned.ts";

/** A RESP2 reply of texts, numbers and arrays. */
type Reply = string | number | null | readonly Reply[];

function written(reply: Reply): string {
  if (reply === null) return "*-1\r\n";
  if (typeof reply === "number") return `:${reply}\r\n`;
  if (typeof reply === "string") return `$${reply.length}\r\n${reply}\r\n`;
  return `*${reply.length}\r\n${reply.map(written).join("")}`;
}

const spec = (begin: readonly [string, Reply], find: readonly [string, Reply], ...flags: string[]): Reply => [
  "flags",
  ["RW", "update", ...flags],
  "begin_search",
  ["type", begin[0], "spec", begin[1]],
  "find_keys",
  ["type", find[0], "spec", find[1]],
];
const index = (at: number) => ["index", ["index", at]] as const;
const keyword = (word: string) => ["keyword", ["keyword", word, "startfrom", 1]] as const;
const UNKNOWN = ["unknown", []] as const;
const rangeOf = (last: number, step = 1, limit = 0) =>
  ["range", ["lastkey", last, "keystep", step, "limit", limit]] as const;
const keynum = (at: number, first: number, step: number) =>
  ["keynum", ["keynumidx", at, "firstkey", first, "keystep", step]] as const;

interface Said {
  name?: string;
  arity?: number;
  flags?: string[];
  legacy?: [number, number, number];
  specs?: Reply[];
  subcommands?: Reply[];
}

/** One command as Redis 7 describes it. */
function entry(
  { name = "m.x", arity = -2, flags = [], legacy = [0, 0, 0], specs = [], subcommands = [] }: Said,
): Reply {
  return [name, arity, ["write", ...flags], ...legacy, [], [], specs, subcommands];
}

function learned(said: Said, alone = false): LearnedRow[] {
  return commandFromInfo(latin1(written([entry(said)])), alone)!;
}

/** The keys that the row finds, or why not. */
function keysOf(row: LearnedRow, line: string): string[] | string {
  const rows = new LearnedCommands();
  rows.told(row.name, [row], 0);
  const words = line.split(" ");
  const { bytes, args } = scanned(words);
  const command = rows.find(bytes, args.starts[0]!, args.ends[0]!)!.command;
  if (command.route === ROUTE.REFUSED) return "refused";
  if (command.finder === FINDER.ASKED) return "asked";
  const keys = new KeyList();
  const count = findKeys(command, bytes, args, keys);
  assert.ok(count >= 0, `${line}: ${count}`);
  return [...keys.at.subarray(0, count)].map((at) => words[at]!);
}

Deno.test("commandFromInfo() has positions where COMMAND INFO tells all keys, and only there", () => {
  const cases: [string, Said, string, string[] | string][] = [
    ["one key", { legacy: [1, 1, 1], specs: [spec(index(1), rangeOf(0))] }, "m.x a b", ["a"]],
    [
      "all but the last",
      { legacy: [1, -2, 1], specs: [spec(index(1), rangeOf(-2))] },
      "m.x a b .",
      ["a", "b"],
    ],
    [
      "key, path, value",
      { legacy: [1, -1, 3], specs: [spec(index(1), rangeOf(-1, 3))] },
      "m.x a . 1 b . 2",
      ["a", "b"],
    ],
    [
      "two keys two apart",
      { legacy: [1, 3, 2], specs: [spec(index(1), rangeOf(2, 2))] },
      "m.x a . b .",
      ["a", "b"],
    ],
    [
      "two ranges without a gap",
      { legacy: [1, 2, 1], specs: [spec(index(1), rangeOf(0)), spec(index(2), rangeOf(0))] },
      "m.x a b c",
      ["a", "b"],
    ],
    [
      "two ranges with a gap",
      { specs: [spec(index(1), rangeOf(0)), spec(index(3), rangeOf(0))] },
      "m.x a . b",
      "asked",
    ],
    [
      "two ranges with a gap, the first in the old numbers",
      { legacy: [1, 1, 1], specs: [spec(index(1), rangeOf(0)), spec(index(3), rangeOf(0))] },
      "m.x a . b",
      "asked",
    ],
    [
      "a second range after one up to the end",
      { specs: [spec(index(1), rangeOf(-1)), spec(index(3), rangeOf(0))] },
      "m.x a",
      "asked",
    ],
    [
      "a key, and a keyword's",
      {
        flags: ["movablekeys"],
        legacy: [1, 1, 1],
        specs: [spec(index(1), rangeOf(0)), spec(keyword("STORE"), rangeOf(0))],
      },
      "m.x a STORE b",
      "asked",
    ],
    [
      "half of what follows a keyword",
      { flags: ["movablekeys"], specs: [spec(keyword("STREAMS"), rangeOf(-1, 1, 2))] },
      "m.x STREAMS a 0",
      "asked",
    ],
    [
      "half of the rest",
      { legacy: [1, -1, 1], specs: [spec(index(1), rangeOf(-1, 1, 2))] },
      "m.x a 0",
      "asked",
    ],
    [
      "a module's function knows (getkeys-api)",
      { flags: ["module", "movablekeys"], legacy: [1, 1, 1], specs: [spec(index(1), rangeOf(0))] },
      "m.x a b",
      "asked",
    ],
    ["a module's function knows, and nothing is said", { flags: ["movablekeys"] }, "m.x a b", "asked"],
    [
      "incomplete",
      { legacy: [1, 1, 1], specs: [spec(index(1), rangeOf(0), "incomplete")] },
      "m.x a b",
      "asked",
    ],
    [
      "unknown",
      {
        flags: ["movablekeys"],
        legacy: [1, 1, 1],
        specs: [spec(index(1), rangeOf(0)), spec(UNKNOWN, UNKNOWN, "incomplete")],
      },
      "m.x a b",
      "asked",
    ],
    [
      "unknown keys from an index on",
      { flags: ["movablekeys"], specs: [spec(index(1), UNKNOWN)] },
      "m.x a",
      "asked",
    ],
    [
      "numkeys",
      { flags: ["movablekeys"], specs: [spec(index(1), keynum(0, 1, 1))] },
      "m.x 2 a b c",
      ["a", "b"],
    ],
    [
      "numkeys of pairs",
      { flags: ["movablekeys"], specs: [spec(index(1), keynum(0, 1, 2))] },
      "m.x 2 a 1 b 2",
      ["a", "b"],
    ],
    [
      "numkeys with something between it and the keys",
      { flags: ["movablekeys"], specs: [spec(index(1), keynum(0, 2, 1))] },
      "m.x 1 . a",
      "asked",
    ],
    [
      "destination and numkeys",
      {
        flags: ["movablekeys"],
        legacy: [1, 1, 1],
        specs: [spec(index(1), rangeOf(0)), spec(index(2), keynum(0, 1, 1))],
      },
      "m.x d 2 a b",
      ["d", "a", "b"],
    ],
    [
      "two keys and numkeys",
      {
        flags: ["movablekeys"],
        legacy: [1, 2, 1],
        specs: [spec(index(1), rangeOf(1)), spec(index(3), keynum(0, 1, 1))],
      },
      "m.x d e 1 a",
      "asked",
    ],
    [
      "numkeys and a keyword's key",
      {
        flags: ["movablekeys"],
        specs: [spec(index(1), keynum(0, 1, 1)), spec(keyword("STORE"), rangeOf(0))],
      },
      "m.x 1 a STORE b",
      "asked",
    ],
    ["no key", {}, "m.x a", "refused"],
  ];
  for (const [what, said, line, keys] of cases) {
    assert.deepEqual(keysOf(learned(said)[0]!, line), keys, what);
  }
});

Deno.test("commandFromInfo() of a server without key specifications (Redis 6)", () => {
  const old = (flags: string[], first: number, last: number, step: number) =>
    commandFromInfo(latin1(written([["m.x", -2, ["write", ...flags], first, last, step, []]])))![0]!;
  assert.deepEqual(keysOf(old([], 1, -1, 2), "m.x a 1 b 2"), ["a", "b"]);
  assert.equal(keysOf(old(["movablekeys"], 1, 1, 1), "m.x a b"), "asked");
  assert.equal(keysOf(old([], 0, 0, 0), "m.x a"), "refused");
});

Deno.test("commandFromInfo() takes a command's flags, and with them its route", () => {
  const key: Said = { legacy: [1, 1, 1], specs: [spec(index(1), rangeOf(0))] };
  const [row] = learned({ ...key, flags: ["denyoom"] });
  assert.equal(row!.route, ROUTE.KEYED);
  assert.ok(row!.flags & FLAG.WRITE && row!.flags & FLAG.LEARNED && row!.flags & FLAG.DENYOOM);
  assert.equal(learned({ ...key, flags: ["blocking"] })[0]!.route, ROUTE.BLOCKING);
  assert.ok(learned({ ...key, flags: ["admin"] })[0]!.flags & FLAG.DANGEROUS);
  // Its messages would come on a connection that many share.
  assert.equal(learned({ ...key, flags: ["pubsub"] })[0]!.route, ROUTE.REFUSED);
});

Deno.test("commandFromInfo() with one server: what works with data goes there, with or without a key", () => {
  assert.equal(learned({}, true)[0]!.route, ROUTE.FIXED);
  assert.equal(learned({ flags: ["blocking"] }, true)[0]!.route, ROUTE.REFUSED);
  assert.equal(learned({ flags: ["pubsub"] }, true)[0]!.route, ROUTE.REFUSED);
  const connection = commandFromInfo(
    latin1(written([["m.x", 1, ["noscript"], 0, 0, 0, [], [], [], []]])),
    true,
  );
  assert.equal(connection![0]!.route, ROUTE.REFUSED);
  assert.match(connection![0]!.hint, /names no key/);
});

Deno.test("commandFromInfo() takes subcommands, but not another command's", () => {
  const sub = (name: string) => entry({ name, legacy: [2, 2, 1], specs: [spec(index(2), rangeOf(0))] });
  const rows = learned({ subcommands: [sub("m.x|get"), sub("get"), sub("config|set"), sub("m.x|")] });
  assert.deepEqual(rows.map(({ name }) => name), ["m.x", "m.x|get"]);
  const all = new LearnedCommands();
  all.told("m.x", rows, 0);
  const { bytes, args } = scanned(["M.X", "Get", "k"]);
  const known = all.find(bytes, args.starts[0]!, args.ends[0]!)!;
  assert.equal(all.resolve(known, bytes, args)?.name, "M.X|GET");
  const other = scanned(["m.x", "put", "k"]);
  assert.equal(all.resolve(known, other.bytes, other.args), undefined);
  for (const name of ["", "a|b", "x".repeat(NAME_MAX + 1)]) {
    assert.equal(commandFromInfo(latin1(written([entry({ name })]))), null, name);
  }
});

Deno.test("commandFromInfo() of anything else is null", () => {
  const whole = "*1\r\n*7\r\n$6\r\nbf.xxx\r\n:3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:1\r\n:1\r\n*0\r\n";
  assert.equal(commandFromInfo(latin1(whole))!.length, 1);
  const others = [
    "",
    "*1\r\n$-1\r\n",
    "*1\r\n*-1\r\n",
    "_\r\n",
    "*0\r\n",
    "-ERR no\r\n",
    ":1\r\n",
    "*1\r\n*6\r\n",
    "*99999999\r\n",
    "*1\r\n".repeat(100),
  ];
  for (const reply of others) assert.equal(commandFromInfo(latin1(reply)), null, JSON.stringify(reply));
  for (let i = 0; i < whole.length; i++) {
    assert.equal(commandFromInfo(latin1(whole.slice(0, i))), null, `cut at ${i}`);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    commandFromInfo(bytes);
  }));
});

Deno.test("keysFromReply() tells keys, an error's text, or null", () => {
  assert.deepEqual(keysFromReply(latin1(written(["a", "", "b\r\n"]))), ["a", "", "b\r\n"]);
  assert.deepEqual(keysFromReply(latin1("*0\r\n")), []);
  assert.equal(
    keysFromReply(latin1("-ERR The command has no key arguments\r\n")),
    "ERR The command has no key arguments",
  );
  for (const reply of ["", "+OK\r\n", "*1\r\n:1\r\n", "*2\r\n$1\r\na\r\n", "*1\r\n*0\r\n", "$-1\r\n"]) {
    assert.equal(keysFromReply(latin1(reply)), null, reply);
  }
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary-ascii" })), (keys) => {
    assert.deepEqual(keysFromReply(latin1(written(keys))), keys);
  }));
});

const row = (name: string, arity = -2): LearnedRow => learned({ name, arity, legacy: [1, 1, 1] })[0]!;

function find(all: LearnedCommands, name: string) {
  const bytes = latin1(`<${name}>`);
  return all.find(bytes, 1, bytes.length - 1);
}

function question(all: LearnedCommands, name: string, nowMs: number): string | null {
  const bytes = latin1(`<${name}>`);
  return all.question(bytes, 1, bytes.length - 1, nowMs);
}

Deno.test("LearnedCommands a later answer replaces an earlier one, and none takes the row away", () => {
  const all = new LearnedCommands();
  assert.equal(find(all, "m.x"), undefined);
  assert.equal(all.told("m.x", [row("m.x", 3)], 0), true);
  assert.equal(find(all, "M.x")!.command.arity, 3);
  assert.equal(all.told("m.x", [row("m.x", 3)], 5), false);
  assert.equal(find(all, "m.x")!.toldMs, 5);
  // The server has been replaced by one of another version.
  assert.equal(all.told("m.x", [row("m.x", 4)], 10), true);
  assert.equal(find(all, "m.x")!.command.arity, 4);
  all.failed("m.x", 100_000);
  assert.equal(find(all, "m.x")!.command.arity, 4);
  assert.equal(all.told("m.x", null, 20), true);
  assert.equal(find(all, "m.x"), undefined);
  assert.equal(question(all, "m.x", 21), null);
  assert.equal(question(all, "m.x", 21 + UNKNOWN_MS), "m.x");
  assert.equal(all.size, 0);
});

Deno.test("LearnedCommands a pool's rows are no other pool's", () => {
  const one = new LearnedCommands();
  const other = new LearnedCommands();
  one.told("m.x", [row("m.x")], 0);
  assert.equal(find(other, "m.x"), undefined);
});

thorough("LearnedCommands is bounded: rows, unknown names, questions", () => {
  const all = new LearnedCommands();
  for (let i = 0; i < 2 * LEARNED_MAX + 9; i++) {
    all.told(`m.${i}`, [row(`m.${i}`)], 0);
    assert.ok(all.size <= LEARNED_MAX);
    assert.equal(find(all, `m.${i}`)!.command.lower, `m.${i}`);
  }
  const many = [
    row("m.x"),
    ...Array.from({ length: LEARNED_MAX }, (_, i) => ({ ...row("m.x"), name: `m.x|${i}` })),
  ];
  assert.equal(all.told("m.x", many, 0), false);
  assert.equal(find(all, "m.x"), undefined);

  // A client that sends 100,000 names that nobody knows, in ten seconds.
  let asked = 0;
  for (let i = 0; i < 100_000; i++) {
    const nowMs = i / 10;
    const name = question(all, `no.${i}`, nowMs);
    if (name === null || !all.mayAsk(nowMs)) continue;
    asked++;
    all.told(name, null, nowMs);
  }
  assert.ok(asked <= QUESTIONS_MAX + 10 * QUESTIONS_A_SECOND + 1, `${asked}`);
  assert.ok(all.unknownSize <= UNKNOWN_MAX);
  // What is known stays usable, and what servers know costs no question.
  for (let i = 0; i < 100; i++) {
    const before = all.mayAsk(20_000 + i);
    if (before) all.told(`m.y${i}`, [row(`m.y${i}`)], 20_000);
    assert.ok(before);
  }
});

Deno.test("LearnedCommands finds what was told last, whatever came before (property)", () => {
  const name = fc.integer({ min: 0, max: 40 }).map((i) => `m.${i}`);
  const step = fc.record({ name, arity: fc.option(fc.integer({ min: 1, max: 9 })) });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const all = new LearnedCommands();
    const model = new Map<string, number>();
    for (const { name, arity } of steps) {
      all.told(name, arity === null ? null : [row(name, arity)], 0);
      if (arity === null) model.delete(name);
      else model.set(name, arity);
    }
    for (let i = 0; i <= 40; i++) {
      assert.equal(find(all, `M.${i}`)?.command.arity, model.get(`m.${i}`));
    }
    assert.equal(all.size, model.size);
  }));
});

Deno.test("a learned command goes to replicas if its server says that it only reads, and it has keys", () => {
  const onReplica = (flags: string[], legacy: [number, number, number]) => {
    const said = ["m.x", -2, flags, ...legacy, [], [], [], []];
    const rows = new LearnedCommands();
    rows.told("m.x", commandFromInfo(latin1(written([said]))), 0);
    return rows.find(latin1("m.x"), 0, 3)!.command.onReplica;
  };
  assert.equal(onReplica(["readonly"], [1, 1, 1]), true);
  assert.equal(onReplica(["readonly", "fast"], [1, -1, 1]), true);
  assert.equal(onReplica(["write"], [1, 1, 1]), false);
  assert.equal(onReplica(["readonly", "write"], [1, 1, 1]), false);
  assert.equal(onReplica([], [1, 1, 1]), false);
  assert.equal(onReplica(["readonly"], [0, 0, 0]), false);
});
