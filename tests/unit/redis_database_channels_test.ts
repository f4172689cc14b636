import assert from "node:assert/strict";
import { DatabaseChannels, isDatabaseChannel } from "../../src/protocol/redis/database_channels.ts";
import { globMatches } from "../../src/protocol/redis/glob.ts";
import { Random } from "../lib/random.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";
import { findCommand } from "../../src/protocol/redis/commands.ts";
import { shiftDatabases } from "../../src/protocol/redis/database.ts";
import { Args } from "../../src/protocol/redis/args.ts";
import { RequestResume, scanRequest } from "../../src/protocol/redis/request.ts";

Deno.test("channels of databases: the client's numbers are moved by redis_db, those of no database of the pool reach nobody's", () => {
  const channels = new DatabaseChannels(2, 5);
  const wires: [client: string, wire: string][] = [
    ["__keyevent@0__:expired", "__keyevent@5__:expired"],
    ["__keyspace@1__:k__:@0__:", "__keyspace@6__:k__:@0__:"],
    ["__subkeyspace@1__:k", "__subkeyspace@6__:k"],
    ["__keyevent@2__:expired", "__keyevent@-2__:expired"],
    ["__keyevent@5__:expired", "__keyevent@-5__:expired"],
    ["__keyevent@-5__:expired", "__keyevent@--5__:expired"],
    ["__keyevent@05__:expired", "__keyevent@05__:expired"],
    ["__keyevent@x__:expired", "__keyevent@x__:expired"],
    ["news", "news"],
    ["x__keyevent@0__:", "x__keyevent@0__:"],
  ];
  for (const [client, wire] of wires) {
    assert.equal(channels.toWire(client), wire);
    assert.equal(channels.toClient(wire), client, wire);
  }
  for (const foreign of ["__keyevent@4__:set", "__keyspace@7__:k", "__keyspace@0__:k"]) {
    assert.equal(channels.toClient(foreign), null, foreign);
    assert.ok(isDatabaseChannel(foreign));
  }
  assert.equal(isDatabaseChannel("__redis__:invalidate"), false);
});

Deno.test("patterns of channels: what the server is given, and what of its messages is shown", () => {
  const channels = new DatabaseChannels(12, 5);
  const wires: [client: string, wire: string][] = [
    ["__keyevent@0__:*", "__keyevent@5__:*"],
    ["__keyevent@12__:*", "__keyevent@-12__:*"],
    ["__keyevent@*__:expired", "__keyevent@*__:expired"],
    ["__key*__:*", "__key*__:*"],
    ["*", "*"],
    ["user:[0-9]?", "user:[0-9]?"],
    ["__keyspace@?__:user:?", "__keyspace@*__:user:?"],
    ["__keyspace@[01]__:k", "__keyspace@*__:k"],
    ["__keyspace@[0__:k]1__:k", "__keyspace@*"],
    ["__key*@0__:*", "__key*"],
    ["*0", "*"],
    ["\\__keyevent@0__:x", "*"],
  ];
  for (const [client, wire] of wires) assert.equal(channels.toWirePattern(client), wire, client);
  assert.equal(channels.matched("__key*@0__:*", "__key*", "__keyspace@5__:k"), "__keyspace@0__:k");
  assert.equal(channels.matched("__key*@0__:*", "__key*", "__keyspace@6__:k"), null);
  assert.equal(channels.matched("*", "*", "__keyspace@0__:k"), null);
  assert.equal(channels.matched("*", "*", "News"), "News");
  assert.equal(channels.matched("*0", "*", "x1"), null);
  assert.equal(channels.matched("N*0", "*", "n0"), null);
});

Deno.test("property: a client reads a database's message exactly if its own pattern matches its own name of the channel", () => {
  const random = new Random(7);
  const pick = <T>(from: readonly T[]) => from[random.below(from.length)]!;
  const parts = [
    "*",
    "?",
    "0",
    "1",
    "[0-9]",
    "[^1]",
    "@",
    "__",
    ":",
    "__:",
    "\\",
    "k",
    "-",
    "__key",
    "space@",
    "event@",
  ];
  const starts = ["", "", "__keyspace@", "__keyevent@", "__key*"];
  for (let round = 0; round < 30_000; round++) {
    const channels = new DatabaseChannels(1 + random.below(12), pick([0, 1, 9, 95]));
    let pattern = pick(starts);
    for (let i = random.below(6); i > 0; i--) pattern += pick(parts);
    if (random.below(2) === 0) pattern += "__:*";
    const db = random.below(110);
    const channel = `${pick(["__keyspace@", "__keyevent@"])}${db}__:${pick(["k", "0", "k__:1", "@1__:"])}`;
    const wire = channels.toWirePattern(pattern);
    const name = channels.toClient(channel);
    const wanted = name !== null && globMatches(pattern, name) ? name : null;
    const shown = globMatches(wire, channel) ? channels.matched(pattern, wire, channel) : null;
    assert.equal(shown, wanted, `${pattern} → ${wire}, ${channel} → ${name}`);
  }
});

Deno.test("listed() shows channels by the clients' names, each of a database once, others as they came", () => {
  const channels = new DatabaseChannels(2, 5);
  const array = (...names: string[]) => {
    return latin1(`*${names.length}\r\n${names.map((name) => `$${name.length}\r\n${name}\r\n`).join("")}`);
  };
  const plain = array("a", "", "_b", "$5\r\n__key\r\n");
  assert.equal(channels.listed("*", "*", plain), plain);
  assert.deepEqual(channels.listed("*", "*", array()), array());
  const five = "__keyevent@5__:x";
  assert.deepEqual(
    channels.listed(
      "*",
      "*",
      array("a", five, "b", five, "__keyevent@4__:x", "__keyevent@-7__:x", "__own", "c"),
    ),
    array("a", "__keyevent@0__:x", "b", "__keyevent@7__:x", "__own", "c"),
  );
  assert.deepEqual(
    channels.listed("*0*", "*", array("a", five, "x0", "__keyevent@6__:x")),
    array("__keyevent@0__:x", "x0"),
  );
});

Deno.test("wireBulks() writes channels as servers call them, and leaves all else as it came", () => {
  const channels = new DatabaseChannels(2, 5);
  const bulks = (...words: string[]) => {
    const args = new Args();
    const bytes = request("PUBSUB", "NUMSUB", ...words);
    scanRequest(
      bytes,
      0,
      bytes.length,
      args,
      { requestSizeMax: 1e6, argumentsMax: 100 },
      new RequestResume(),
    );
    const made = channels.wireBulks(bytes, args, 2);
    return made === null ? null : textOf(made);
  };
  assert.equal(bulks("a", "__x"), null);
  assert.equal(bulks(), null);
  assert.equal(
    bulks("a", "__keyevent@1__:del", "b", "__keyevent@2__:x", "c"),
    "$1\r\na\r\n$18\r\n__keyevent@6__:del\r\n$1\r\nb\r\n$17\r\n__keyevent@-2__:x\r\n$1\r\nc\r\n",
  );
});

Deno.test("shiftDatabases() of SWAPDB and PUBLISH: moved, or refused in Redis's words", () => {
  const out = "-ERR DB index is out of range\r\n";
  const first = "-ERR invalid first DB index\r\n";
  const second = "-ERR invalid second DB index\r\n";
  const cases: [string, string | null][] = [
    ["swapdb 0 3", "swapdb 8 11"],
    ["swapdb 0 4", out],
    ["swapdb -1 0", out],
    ["swapdb x y", first],
    ["swapdb 01 0", first],
    ["swapdb 3000000000 0", first],
    ["swapdb 99 x", second],
    ["publish news x", null],
    ["publish __keyevent@3__:del 7", "publish __keyevent@11__:del 7"],
    ["publish __keyevent@4__:del 7", "publish __keyevent@-4__:del 7"],
  ];
  for (const [line, expected] of cases) {
    const { bytes, args } = scanned(line.split(" "));
    const command = findCommand(bytes, args.starts[0]!, args.ends[0]!)!;
    const made = shiftDatabases(command, bytes, args, 4, 8);
    const found = made.error !== null
      ? textOf(made.error)
      : made.request === null
      ? null
      : textOf(made.request);
    const whole = expected === null || expected.startsWith("-")
      ? expected
      : textOf(request(...expected.split(" ").map(latin1)));
    assert.equal(found, whole, line);
  }
});
