/** ACL rules: what they mean, and what is said of those that are none. tests/real/users_test.ts compares with a real server. */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Asking, DECISION, parseRules, RuleError } from "../../src/protocol/redis/acl_rules.ts";
import { hasKeys } from "../../src/protocol/redis/acl_table.ts";
import { COMMANDS, FINDER, FLAG, resolve, ROUTE } from "../../src/protocol/redis/commands.ts";
import { findKeys, KeyList } from "../../src/protocol/redis/keys.ts";
import { makeRequest, makeRules, ourWord } from "../fuzz/acl.ts";
import { Random } from "../lib/random.ts";
import { scanned } from "../lib/scanned.ts";

const word = (rules: string, request: string, scripts = true) =>
  ourWord(parseRules([rules], scripts), request.split(" "));

Deno.test("commands, categories, keys with their access, channels and selectors decide", () => {
  const rules = "+@all -@dangerous ~app:* %R~shared:* &news.* resetchannels &news.* (+del ~tmp:*)";
  strictEqual(word(rules, "GET app:1"), "OK");
  strictEqual(word(rules, "get shared:1"), "OK");
  strictEqual(word(rules, "SET shared:1 v"), "access the 'shared:1' key");
  strictEqual(word(rules, "COPY shared:1 app:1"), "OK");
  strictEqual(word(rules, "COPY app:1 shared:1"), "access the 'shared:1' key");
  strictEqual(word(rules, "DEL app:1 tmp:1"), "access the 'tmp:1' key");
  strictEqual(word(rules, "DEL tmp:1 tmp:2"), "OK");
  strictEqual(word(rules, "KEYS *"), "run the 'keys' command");
  strictEqual(word(rules, "PUBLISH news.1 x"), "OK");
  strictEqual(word(rules, "SUBSCRIBE news.1 other"), "access the 'other' channel");
  strictEqual(word(rules, "PSUBSCRIBE news.*"), "OK");
  strictEqual(word(rules, "PSUBSCRIBE news.1"), "access the 'news.1' channel");
  strictEqual(word(rules, "UNSUBSCRIBE other"), "OK");
  strictEqual(word("+set %W~k", "SET k v"), "OK");
  strictEqual(word("+set %W~k", "SET k v get"), "access the 'k' key");
  strictEqual(word("+bitfield %R~k", "BITFIELD k GET u8 0"), "OK");
  strictEqual(word("+bitfield %R~k", "BITFIELD k SET u8 0 1"), "access the 'k' key");
  strictEqual(word("+config|get", "CONFIG GET x"), "OK");
  strictEqual(word("+config|get", "CONFIG SET x y"), "run the 'config|set' command");
  strictEqual(word("+config -config|set", "CONFIG SET x y"), "run the 'config|set' command");
  strictEqual(word("+select|0", "SELECT 0"), "OK");
  strictEqual(word("+select|0", "SELECT 1"), "run the 'select' command");
  strictEqual(word("", "AUTH a b"), "OK");
});

Deno.test("scripts take a word of their own of whoever is restricted in any way", () => {
  const request = "EVAL return 1 a";
  strictEqual(word("+@all ~*", request, false), "run the 'eval' command");
  strictEqual(word("+@all ~*", request, true), "OK");
  strictEqual(word("allcommands allkeys allchannels", request, false), "OK");
  strictEqual(word("+@all ~app:*", "EVAL x 1 b", true), "access the 'b' key");
  // Others, who may, call what a function is.
  strictEqual(word("+@all ~*", "FUNCTION LOAD REPLACE #!lua", false), "run the 'function|load' command");
  strictEqual(word("+@all ~*", "FUNCTION RESTORE x REPLACE", false), "run the 'function|restore' command");
  strictEqual(word("+@all ~*", "FUNCTION LOAD #!lua", true), "OK");
  strictEqual(word("+@all ~*", "FUNCTION LIST", false), "OK");
  strictEqual(word("+@all ~*", "SCRIPT LOAD x", false), "OK");
  const rules = parseRules(["+@all ~* &*"], false);
  ok(rules.unrestricted);
  ok(!parseRules(["+@all ~* &* -flushall"], false).unrestricted);
  ok(!parseRules(["+@all ~* &* -json.set"], false).unrestricted);
});

Deno.test("what is no rule is told in Redis's words", () => {
  const why = (...rules: string[]) => {
    let error: unknown;
    throws(() => parseRules(rules, false), (thrown) => (error = thrown) instanceof RuleError);
    return (error as RuleError).why;
  };
  strictEqual(why("+gett"), "Unknown command or category name in ACL");
  strictEqual(why("-@reed"), "Unknown command or category name in ACL");
  strictEqual(why("foo"), "Syntax error");
  strictEqual(why("%X~a"), "Syntax error");
  strictEqual(why("%~a"), "Syntax error");
  strictEqual(why("+config|get|x"), "Allowing first-arg of a subcommand is not supported");
  strictEqual(why("(+get ~a"), "Unmatched parenthesis in acl selector");
  ok(why("allkeys ~x").startsWith("Adding a pattern after the * pattern (or the 'allkeys' flag)"));
  ok(why("&* &x").startsWith("Adding a pattern after the * pattern (or the 'allchannels' flag)"));
  ok(why(">secret").startsWith("Passwords do not stand in rules"));
  let shown = "";
  throws(() => parseRules([">secret"], false), (error) => (shown = (error as Error).message) !== "");
  ok(!shown.includes("secret:") && !shown.includes(">secret"));
  ok(why("on " + "+get ".repeat(1001)).startsWith("more than"));
});

Deno.test("rules are shown as ACL LIST shows them", () => {
  const text = (...rules: string[]) => parseRules(rules, false).text;
  strictEqual(text("+get -get +@read ~a %R~b %W~b"), "~a ~b resetchannels -@all -get +@read");
  strictEqual(text("~* &* +@all -flushall"), "~* &* +@all -flushall");
  strictEqual(text("+config|get +config"), "resetchannels -@all +config");
  strictEqual(text("(+get ~a)"), "resetchannels -@all (~a resetchannels -@all +get)");
});

Deno.test("whoever may do nothing can call no command of the table, but those that log in", () => {
  const nothing = parseRules([""], false);
  const noKeys = parseRules(["+@all"], true);
  for (const command of COMMANDS) {
    const allowed = (command.flags & FLAG.NO_AUTH) !== 0;
    strictEqual(nothing.free[command.id] === 1, allowed, command.name);
    if (hasKeys(command)) strictEqual(noKeys.free[command.id], 0, command.name);
  }
  deepStrictEqual(
    COMMANDS.filter((command) => nothing.free[command.id] === 1).map(({ name }) => name),
    ["AUTH", "HELLO", "QUIT", "RESET"],
  );
});

Deno.test("many keys, looked at some at a time, are decided as all at once", () => {
  const rules = parseRules(["+mget ~a* (+mget ~b*)"], false);
  for (const [keys, expected] of [["a1 a2 a3", 0], ["a1 b2 a3", 2], ["b1 b2 b3", 0], ["c a a", 2]] as const) {
    const { bytes, args } = scanned(["mget", ...keys.split(" ")]);
    const command = resolve(bytes, args)!;
    const list = new KeyList();
    findKeys(command, bytes, args, list);
    const asking = new Asking(rules, command, list, bytes, args);
    while (!asking.look(bytes, args, 1));
    strictEqual(asking.decision, expected === 0 ? DECISION.ALLOWED : DECISION.KEY, keys);
  }
});

Deno.test("requests with one key are decided in short as at length", () => {
  const random = new Random(8);
  const single = COMMANDS.filter(({ route, finder, firstKey, lastKey }) =>
    route === ROUTE.KEYED && finder === FINDER.RANGE && firstKey === lastKey
  );
  ok(single.length > 100);
  const said = { allowed: 0, refused: 0 };
  for (let i = 0; i < 150; i++) {
    const rules = makeRules(random, COMMANDS);
    rules.push(
      random.pick(["+@all", "+@read +set", "+@write", "+@all"]),
      random.pick(["~k*", "%R~k*", "%W~app:*", ""]),
    );
    let parsed;
    try {
      parsed = parseRules(rules, true);
    } catch {
      continue;
    }
    for (let j = 0; j < 40; j++) {
      const word = ourWord(parsed, makeRequest(random, random.pick(single)));
      if (word === "OK") said.allowed++;
      else said.refused++;
    }
  }
  ok(said.allowed > 300 && said.refused > 300, JSON.stringify(said));
});
