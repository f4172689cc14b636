/** The command table, its look-up, and where the keys are. No server needed. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkArity,
  type Command,
  COMMANDS,
  findByName,
  findCommand,
  FINDER,
  FLAG,
  JOIN,
  NAME_MAX,
  needsAuth,
  probesOf,
  resolve,
  ROUTE,
  TOP_COMMANDS,
} from "../../src/protocol/redis/commands.ts";
import { ROWS } from "../../src/protocol/redis/command_rows.ts";
import { blocks, findKeys, KeyList, KEYS } from "../../src/protocol/redis/keys.ts";
import { latin1 } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";

function find(name: string): Command | undefined {
  const bytes = latin1(`<${name}>`);
  return findCommand(bytes, 1, bytes.length - 1);
}

Deno.test("COMMANDS every row is there once, under its own id, and can be found in any case", () => {
  assert.equal(new Set(ROWS.map(([name]) => name)).size, ROWS.length);
  for (const [name] of ROWS) {
    const command = findByName(name)!;
    assert.equal(command.name, name);
    assert.equal(COMMANDS[command.id], command);
    assert.equal(findByName(name.toLowerCase()), command);
    assert.ok(command.word.length <= NAME_MAX);
  }
});

Deno.test("COMMANDS rows hold together", () => {
  const routes = new Set<number>(Object.values(ROUTE));
  for (const command of COMMANDS) {
    const { name } = command;
    assert.ok(routes.has(command.route), name);
    assert.notEqual(command.arity, 0, name);
    assert.equal(
      command.join !== JOIN.NONE,
      command.route === ROUTE.EVERY_SERVER,
      `${name} has a join if and only if it fans out`,
    );
    assert.equal(
      command.hint !== "",
      command.route === ROUTE.REFUSED,
      `${name} has a hint if and only if it is refused`,
    );
    const keyless = command.finder === FINDER.NONE;
    if (command.route === ROUTE.KEYED || command.route <= ROUTE.SCRIPT_KEYED) {
      assert.ok(!keyless, `${name} has keys`);
    }
    if (command.route === ROUTE.FIXED || command.route === ROUTE.EVERY_SERVER) {
      assert.ok(keyless, `${name} has no keys`);
    }
    assert.ok((command.flags & FLAG.WRITE) === 0 || (command.flags & FLAG.READ) === 0, name);
    if (command.container !== null) assert.ok(command.container.subcommands!.includes(command), name);
  }
});

Deno.test("findCommand() finds nothing that is not a command", () => {
  for (
    const name of [
      "",
      "GE",
      "GETT",
      "G\0T",
      "get ",
      " get",
      "CLIENT|ID",
      "x".repeat(NAME_MAX + 1),
      "\xff\xfe",
      "Gåt",
    ]
  ) {
    assert.equal(find(name), undefined, JSON.stringify(name));
  }
});

Deno.test("findCommand() agrees with a map for any bytes", () => {
  const names = new Map(TOP_COMMANDS.map((command) => [command.name, command]));
  const upper = (text: string) => text.replace(/[a-z]/g, (c) => c.toUpperCase());
  const anyName = fc.oneof(
    fc.constantFrom(...names.keys()).chain((name) =>
      fc.tuple(
        ...[...name].map((c) =>
          fc.constantFrom(c, c.toLowerCase(), c, c, String.fromCharCode(c.charCodeAt(0) ^ 32))
        ),
      )
        .map((letters) => letters.join(""))
    ),
    fc.string({ unit: "binary-ascii", maxLength: 20 }),
  );
  fc.assert(fc.property(anyName, (name) => assert.equal(find(name), names.get(upper(name)))), {
    numRuns: 2000,
  });
});

Deno.test("findCommand() needs few probes", () => {
  const probes = TOP_COMMANDS.map(probesOf);
  const mean = probes.reduce((a, b) => a + b) / probes.length;
  assert.ok(mean < 1.1 && Math.max(...probes) <= 4, `mean ${mean}, most ${Math.max(...probes)}`);
});

Deno.test("resolve() goes from containers to subcommands", () => {
  const cases: [string[], string | undefined][] = [
    [["get", "k"], "GET"],
    [["client", "setName", "x"], "CLIENT|SETNAME"],
    [["CLIENT"], "CLIENT"],
    [["command"], "COMMAND"],
    [["command", "docs"], "COMMAND|DOCS"],
    [["client", "nope"], undefined],
    [["nope", "client"], undefined],
    [["debug", "object", "k"], "DEBUG|OBJECT"],
    [["debug", "sleep", "1"], "DEBUG"],
    [["get", "docs"], "GET"],
  ];
  for (const [words, expected] of cases) {
    const { bytes, args } = scanned(words);
    assert.equal(resolve(bytes, args)?.name, expected, words.join(" "));
  }
});

Deno.test("checkArity() counts as Redis does", () => {
  const get = findByName("GET")!;
  const mget = findByName("MGET")!;
  assert.deepEqual([1, 2, 3].map((n) => checkArity(get, n)), [false, true, false]);
  assert.deepEqual([1, 2, 3, 100].map((n) => checkArity(mget, n)), [false, true, true, true]);
  // WITHSCORE, since Redis 7.2.
  for (const name of ["ZRANK", "ZREVRANK"]) {
    assert.deepEqual([2, 3, 4].map((n) => checkArity(findByName(name)!, n)), [false, true, true], name);
  }
});

Deno.test("needsAuth() lets AUTH, HELLO, QUIT and RESET through, nothing else", () => {
  const free = COMMANDS.filter((command) => !needsAuth(command)).map((command) => command.name);
  assert.deepEqual(free.sort(), ["AUTH", "HELLO", "QUIT", "RESET"]);
});

Deno.test("findKeys() finds the keys of every kind of command", () => {
  // The key arguments are those that begin with k.
  const valid = [
    "get k",
    "mget k k1 k2",
    "mset k 1 k1 2",
    "bitop and k k1 k2",
    "blpop k k1 0",
    "object encoding k",
    "xinfo stream k full",
    "memory usage k samples 0",
    "rename k k1",
    "lmove k k1 left right",
    "eval return 2 k k1 a b",
    "eval return 0 a",
    "fcall f 1 k",
    "zunion 2 k k1 weights 1 2",
    "sintercard 1 k limit 1",
    "zunionstore k 2 k1 k2 aggregate min",
    "blmpop 0 2 k k1 left",
    "lmpop 1 k left",
    "msetex 2 k 1 k1 2 ex 10",
    "xread streams k 0",
    "xread count 5 block 10 streams k k1 0 0",
    "xreadgroup group g streams noack streams k >",
    "xreadgroup group streams streams count 1 streams k k1 > >",
    "xreadgroup group g claim claim 10 count 1 streams k k1 > >",
    "sort k",
    "sort k by w* limit 0 1 get # get store store k1",
    "sort k store a store k1",
    "sort k by store get store",
    "sort_ro k by w*",
    "sort_ro k store a",
    "georadius k 0 0 1 m store k2 storedist k1",
    "georadiusbymember k m 1 m storedist k1",
    "migrate h 1 k 0 10",
    "ping",
    "subscribe a b",
    "ssubscribe k k1",
    "spublish k a",
    "wait 0 0",
    "debug object k",
    "debug sleep 0",
    "hpexpire k 1 fields 1 f",
    "watch k k1",
    "sunsubscribe",
  ];
  const keys = new KeyList();
  for (const line of [...valid, `migrate h 1  0 10 auth keys keys k k1`]) {
    const words = line.split(" ");
    const { bytes, args } = scanned(words);
    const count = findKeys(resolve(bytes, args)!, bytes, args, keys);
    assert.ok(count >= 0, line);
    assert.equal(keys.count, count);
    const found = [...keys.at.subarray(0, count)];
    const expected = words.flatMap((word, i) => /^k\d?$/.test(word) ? [i] : []);
    // STORE's key comes after the first one wherever it is.
    assert.deepEqual(found.sort((a, b) => a - b), expected, line);
  }
});

Deno.test("findKeys() says what is wrong", () => {
  const cases: [string, number][] = [
    ["eval s x k", KEYS.NOT_INTEGER],
    ["eval s 01 k", KEYS.NOT_INTEGER],
    ["eval s +1 k", KEYS.NOT_INTEGER],
    ["eval s -0 k", KEYS.NOT_INTEGER],
    ["eval s 1.0 k", KEYS.NOT_INTEGER],
    ["eval s 99999999999999999999 k", KEYS.NOT_INTEGER],
    ["eval s  k", KEYS.NOT_INTEGER],
    ["eval s -1 k", KEYS.TOO_FEW],
    ["eval s 2 k", KEYS.TOO_MANY],
    ["eval s 2147483648 k", KEYS.TOO_MANY],
    ["zunion 0 k", KEYS.TOO_FEW],
    ["zunionstore d 3 k k", KEYS.TOO_MANY],
    ["msetex 2 k v k", KEYS.TOO_MANY],
    ["mset k v k", KEYS.ARITY],
    ["msetnx k v k", KEYS.ARITY],
    ["xread count 1 k", KEYS.SYNTAX],
    ["xread count 1 streams", KEYS.SYNTAX],
    ["xread block streams k 0", KEYS.SYNTAX],
    ["xread streams a b 0", KEYS.UNBALANCED],
  ];
  for (const [line, expected] of cases) {
    const { bytes, args } = scanned(line.split(" "));
    assert.equal(findKeys(resolve(bytes, args)!, bytes, args, new KeyList()), expected, line);
  }
});

Deno.test("findKeys() takes more keys than the list had room for", () => {
  const words = ["MGET", ...Array.from({ length: 1000 }, (_, i) => `k${i}`)];
  const { bytes, args } = scanned(words);
  const keys = new KeyList();
  assert.equal(findKeys(resolve(bytes, args)!, bytes, args, keys), 1000);
  assert.deepEqual([keys.at[0], keys.at[999]], [1, 1000]);
});

Deno.test("findKeys() of any arguments stays inside them", () => {
  const words = fc.array(
    fc.constantFrom("k", "0", "1", "2", "-1", "streams", "store", "get", "by", "keys", "", "group", "block"),
    { maxLength: 9 },
  );
  const keys = new KeyList();
  fc.assert(
    fc.property(fc.constantFrom(...COMMANDS), words, (command, rest) => {
      const { bytes, args } = scanned([...command.lower.split("|"), ...rest]);
      if (!checkArity(command, args.count)) return;
      const count = findKeys(command, bytes, args, keys);
      for (let i = 0; i < count; i++) assert.ok(keys.at[i]! > 0 && keys.at[i]! < args.count);
    }),
    { numRuns: 5000 },
  );
});

Deno.test("blocks() is true of XREAD only with BLOCK", () => {
  const cases: [string, boolean][] = [
    ["blpop k 0", true],
    ["xread streams k 0", false],
    ["xread block 0 streams k 0", true],
    ["xread count 1 block 0 streams k 0", true],
    ["xread streams block 0", false],
    ["xreadgroup group block block streams k >", false],
    ["xreadgroup group g c BLOCK 1 streams k >", true],
    ["xreadgroup group g c claim 10 streams k >", false],
    ["xreadgroup group g c claim 10 block 0 streams k >", true],
  ];
  for (const [line, expected] of cases) {
    const { bytes, args } = scanned(line.split(" "));
    assert.equal(blocks(resolve(bytes, args)!, bytes, args), expected, line);
  }
});

Deno.test("a subcommand's row follows those of its own container", () => {
  for (const { name, container } of COMMANDS) {
    const bar = name.indexOf("|");
    assert.equal(container?.name, bar < 0 ? undefined : name.slice(0, bar), name);
  }
});
