/**
 * Users and requests made up, each decided by our rules and by ACL DRYRUN of a real server that has the same rules.
 *
 *   seed ──► rules, requests ──┬─► parseRules, decide
 *                              └─► ACL SETUSER, ACL DRYRUN ──► the same?
 */
import { Asking, DECISION, parseRules, RuleError } from "../../src/protocol/redis/acl_rules.ts";
import { CATEGORY_NAMES, type Command, FLAG, ROUTE } from "../../src/protocol/redis/command.ts";
import { checkArity, COMMANDS, FINDER, resolve } from "../../src/protocol/redis/commands.ts";
import { findKeys, KeyList } from "../../src/protocol/redis/keys.ts";
import type { RawClient } from "../lib/client.ts";
import type { Random } from "../lib/random.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { scanned } from "../lib/scanned.ts";
import { versionOf } from "../lib/versions.ts";

const KEY_NAMES = ["app:1", "app:", "tmp:x", "a1c", "abc", "a]c", "x", "", "user:{1}:n", "*", "app:[z]"];
const CHANNEL_NAMES = ["news", "news.1", "ch:1", "*", "news.*", "x"];
const KEY_RULES = [
  "~app:*",
  "~tmp:x",
  "~a[0-9]c",
  "~a?c",
  "~user:*:n",
  "~*:*",
  "~\\*",
  "~a[^0-9]c",
  "~app:[z]",
  "~a[b-",
  "~**",
];
const CHANNEL_RULES = ["&news", "&news.*", "&ch:[0-9]", "&*.1", "&x"];
const FIRST_ARGS = ["+select|0", "+get|app:1", "+set|x", "+debug|object", "+publish|news"];
const WRONG = [
  "+nosuch",
  "-nosuch",
  "+@nosuch",
  "%X~x",
  "foo",
  "+config|",
  "+config|get|x",
  "-get|x",
  "+config|nosuch",
  "~a b",
];

/** Commands that the server knows too, but none of modules (in capitals): Redis 8.6 has those in no category. */
export type Known = readonly Command[];

/** Those of our table that a server knows. */
export async function knownTo(server: RawClient): Promise<Known> {
  const names = new Set(await server.command("COMMAND", "LIST") as string[]);
  return COMMANDS.filter((command) => names.has(command.lower));
}

/** Rules as somebody may write them. */
export function makeRules(random: Random, known: Known): string[] {
  const count = random.between(1, 8);
  const rules: string[] = [];
  for (let i = 0; i < count; i++) rules.push(makeRule(random, known));
  if (random.below(3) === 0) {
    const inner: string[] = [];
    for (let i = random.below(4); i >= 0; i--) inner.push(makeRule(random, known));
    rules.push(`(${inner.join(" ")})`);
  }
  if (random.below(40) === 0) rules.push(random.pick(WRONG));
  return rules;
}

function makeRule(random: Random, known: Known): string {
  const sign = random.below(3) === 0 ? "-" : "+";
  switch (random.below(14)) {
    case 0:
      return random.pick(["allkeys", "~*", "resetkeys", "%R~*", "%RW~*"]);
    case 1:
      return random.pick(["allchannels", "&*", "resetchannels"]);
    case 2:
      return random.pick(["+@all", "allcommands", "nocommands", "-@all", "+@all", "+@all"]);
    case 3:
    case 4:
    case 5:
      return `${sign}@${random.pick(CATEGORY_NAMES)}`;
    case 6:
    case 7:
      return sign + random.pick(known).lower;
    case 8:
      return random.pick(CHANNEL_RULES);
    case 9:
      return random.pick(FIRST_ARGS);
    default: {
      const rule = random.pick(KEY_RULES);
      const how = random.below(4);
      return how === 0 ? `%R${rule}` : how === 1 ? `%W${rule}` : how === 2 ? `%wR${rule}` : rule;
    }
  }
}

/** A request of the command whose arguments are right enough for its keys to be found. */
export function makeRequest(random: Random, command: Command): string[] {
  const words = command.lower.split("|");
  const fixed = Math.abs(command.arity);
  const count = command.arity > 0 ? fixed : fixed + random.below(4);
  const channels = command.route === ROUTE.PUBSUB;
  while (words.length < count) words.push(channels ? random.pick(CHANNEL_NAMES) : random.pick(KEY_NAMES));
  switch (command.finder) {
    case FINDER.NUMKEYS: {
      const at = command.numkeysAt;
      const keys = random.between(1, 3);
      const step = Math.max(1, command.keyStep);
      while (words.length < at + 1 + keys * step) words.push(random.pick(KEY_NAMES));
      words[at] = `${keys}`;
      break;
    }
    case FINDER.STREAMS:
      words.length = 1;
      if (command.name === "XREADGROUP") words.push("group", "g", "c");
      words.push("streams", random.pick(KEY_NAMES), random.pick(KEY_NAMES), "0", "0");
      break;
    case FINDER.SORT:
      if (random.below(2) === 0 && command.name === "SORT") {
        words.splice(2, words.length, "store", random.pick(KEY_NAMES));
      } else words.length = 2;
      break;
    case FINDER.GEORADIUS:
      words.length = command.name.endsWith("MEMBER") ? 5 : 6;
      if (random.below(2) === 0) words.push(random.pick(["store", "STOREDIST"]), random.pick(KEY_NAMES));
      break;
  }
  if (command.name === "SET" && random.below(2) === 0) words.push(random.pick(["GET", "get", "NX"]));
  if (command.name === "BITFIELD" && random.below(2) === 0) {
    words.splice(
      2,
      words.length,
      ...random.pick([["get", "u8", "0"], ["set", "u8", "0", "1"], ["overflow", "wrap"]]),
    );
  }
  if (command.name === "SELECT") words[1] = random.pick(["0", "1"]);
  if (command.name === "DEBUG") words[1] = random.pick(["object", "sleep"]);
  return words;
}

/** What our rules say, in DRYRUN's words; null if the request is one that servers would not take. */
export function ourWord(rules: ReturnType<typeof parseRules>, words: readonly string[]): string | null {
  const { bytes, args } = scanned(words);
  const command = resolve(bytes, args);
  if (command === undefined || !checkArity(command, args.count)) return null;
  const keys = new KeyList();
  if (findKeys(command, bytes, args, keys) < 0) return null;
  const asking = new Asking(rules, command, keys, bytes, args);
  asking.look(bytes, args, Infinity);
  const { decision } = asking;
  const { route, finder, firstKey, lastKey } = command;
  // The short way of the front has to decide as the long one.
  if (
    route === ROUTE.KEYED && finder === FINDER.RANGE && firstKey === lastKey && command.container === null
  ) {
    const short = rules.free[command.id] === 1 || rules.allowsOne(command, firstKey, bytes, args);
    if (short !== (decision === DECISION.ALLOWED)) {
      throw new Error(
        `${rules.text}: ${words.join(" ")}: the short way says ${short}, the long one ${decision}`,
      );
    }
  }
  const object = words[asking.at]!;
  switch (decision) {
    case DECISION.ALLOWED:
      return "OK";
    case DECISION.COMMAND:
      // DEBUG's subcommands are none to Redis.
      return `run the '${
        (command.flags & FLAG.OPEN) !== 0 || command.container?.name === "DEBUG" ? "debug" : command.lower
      }' command`;
    case DECISION.KEY:
      return `access the '${object}' key`;
    default:
      return `access the '${object}' channel`;
  }
}

export interface Compared {
  users: number;
  requests: number;
  refusedRules: number;
  readonly differences: string[];
}

/** Makes so many users, and of each so many requests. */
export async function compareDryrun(
  server: RawClient,
  random: Random,
  users: number,
  requests: number,
): Promise<Compared> {
  const version = await versionOf(server);
  const known = await knownTo(server);
  const seen: Compared = { users, requests: 0, refusedRules: 0, differences: [] };
  for (let u = 0; u < users; u++) {
    const written = makeRules(random, known);
    await server.command("ACL", "DELUSER", "u");
    const said = await server.command("ACL", "SETUSER", "u", "resetchannels", ...written);
    const theirs = said instanceof ReplyError ? said.message : null;
    let ours: string | null = null;
    let rules: ReturnType<typeof parseRules> | null = null;
    try {
      rules = parseRules(["resetchannels", ...written], true);
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      ours = error.why;
    }
    if (ours !== null || theirs !== null) {
      seen.refusedRules++;
      const inner = written.some((rule) => rule.startsWith("("));
      // Of a selector Redis names the whole of it, and not always why.
      if ((ours === null) !== (theirs === null) || !inner && !theirs!.endsWith(ours!)) {
        seen.differences.push(`rules ${written.join(" ")}: server ${theirs}, ours ${ours}`);
      }
      continue;
    }
    const asked = Array.from({ length: requests }, () => makeRequest(random, random.pick(known)));
    const answers = await server.pipeline(...asked.map((words) => ["ACL", "DRYRUN", "u", ...words]));
    asked.forEach((words, i) => {
      const word = ourWord(rules!, words);
      if (word === null) return;
      // Without a source redis-server looks at no key of it, not even the one that it makes: a slip that is not ours.
      if (words[0] === "pfmerge" && words.length === 2) return;
      // Where newer ones have it, so do we.
      if (version === "redis 7.0" && words[0] === "wait") return;
      const answer = saidBy(answers[i]!);
      // Our table takes as many arguments as the newest servers do.
      if (answer.startsWith("error ERR wrong number of arguments")) return;
      seen.requests++;
      if (answer !== word) {
        seen.differences.push(
          `${written.join(" ")} | ${JSON.stringify(words)}: server ${answer}, ours ${word}`,
        );
      }
    });
  }
  return seen;
}

function saidBy(answer: Value): string {
  if (answer instanceof ReplyError) return `error ${answer.message}`;
  return `${answer}`.replace(/^(This user|User u) has no permissions to /, "");
}
