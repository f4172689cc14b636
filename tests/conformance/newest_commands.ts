/**
 * The command table against what a server says of its own commands: nothing that the server takes may be refused here for its
 * arity or its options, and the keys found are the server's.
 *
 *   COMMAND DOCS  arguments as a tree  ──callsOf──▶  calls, one for every token, their keys named key1, key2 …
 *   COMMAND INFO  arity                ──▶  both are kept in tests/vectors/commands_*.json  ──differences──▶  our rows
 *
 * Recorded and compared by `deno task commands:compare` (compare_commands.ts); what is kept is compared in
 * tests/unit/newest_commands_test.ts, without a server.
 */
import { FINDER, FLAG } from "../../src/protocol/redis/command.ts";
import { checkArity, findByName, resolve } from "../../src/protocol/redis/commands.ts";
import { blocks, findKeys, KeyList } from "../../src/protocol/redis/keys.ts";
import type { RawClient } from "../lib/client.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { scanned } from "../lib/scanned.ts";

/** A command or subcommand ("client|id") as a server describes it. */
export interface CommandFacts {
  arity: number;
  /** Valid calls by its own description, words with a blank between them; arguments that are keys are called key1, key2 …. */
  calls: string[];
}

export interface ServerFacts {
  /** What it was recorded from. */
  source: string;
  commands: Record<string, CommandFacts>;
}

type Doc = ReadonlyMap<Value, Value>;

const KEY = "\0key";
/** As many as there are keys after it. */
const NUMKEYS = "\0numkeys";
const KEY_WORD = /^key\d+$/;
/** More calls of one command say nothing new. */
const CALLS_MAX = 60;

/** Asks a server; the client speaks RESP3 afterwards. */
export async function factsOf(client: RawClient, source: string): Promise<ServerFacts> {
  await client.command("HELLO", "3");
  const facts = new Map<string, CommandFacts>();
  const entries = await client.command("COMMAND") as Value[];
  const docs = await client.command("COMMAND", "DOCS") as Doc;
  const note = (entry: Value, docs: Doc) => {
    const [named, arity, , , , , , , , subcommands] = entry as Value[];
    const name = (named as string).toLowerCase();
    const doc = docs.get(named!) as Doc | undefined;
    facts.set(name, {
      arity: arity as number,
      calls: (subcommands as Value[]).length > 0 ? [] : callsOf(name, arity as number, doc ?? new Map()),
    });
    for (const sub of subcommands as Value[]) note(sub, (doc?.get("subcommands") ?? new Map()) as Doc);
  };
  for (const entry of entries) note(entry, docs);
  const sorted = [...facts].sort(([a], [b]) => a < b ? -1 : 1);
  return { source, commands: Object.fromEntries(sorted) };
}

/**
 * One call with the fewest arguments, and one with each option added, everything that may be repeated once and twice. Some
 * descriptions are looser than their command's arity: what that refuses is left out.
 */
function callsOf(name: string, arity: number, doc: Doc): string[] {
  const calls = new Set<string>();
  for (const times of [1, 2]) {
    for (const words of sequence((doc.get("arguments") ?? []) as Doc[], times)) {
      let keys = 0;
      const left = words.map((word, i) =>
        word === NUMKEYS
          ? String(words.slice(i).filter((after) => after === KEY).length)
          : word === KEY
          ? `key${++keys}`
          : word
      );
      const all = [...name.split("|"), ...left];
      if (arity > 0 ? all.length === arity : all.length >= -arity) calls.add(all.join(" "));
    }
  }
  return [...calls].slice(0, CALLS_MAX);
}

/** The first is the plainest; each of the others differs from it in one argument. */
function sequence(args: readonly Doc[], times: number): string[][] {
  const each = args.map((arg) => variants(arg, times));
  const plain = each.map((of) => of[0]!);
  const all = [plain.flat()];
  each.forEach((of, i) => {
    for (const other of of.slice(1)) all.push([...plain.slice(0, i), other, ...plain.slice(i + 1)].flat());
  });
  return all;
}

function variants(arg: Doc, times: number): string[][] {
  const flags = arg.get("flags");
  const has = (flag: string) =>
    [...(flags instanceof Set || Array.isArray(flags) ? flags : [])].includes(flag);
  const token = arg.get("token") as string | undefined;
  let inner: string[][];
  switch (arg.get("type")) {
    case "oneof":
      inner = (arg.get("arguments") as Doc[]).flatMap((one) => variants(one, times));
      break;
    case "block":
      inner = sequence(arg.get("arguments") as Doc[], times);
      break;
    default:
      inner = [valueOf(arg, times)];
  }
  const head = token === undefined ? [] : [token === "" ? '""' : token];
  const again = has("multiple") ? times : 1;
  const found = inner.map((words) => {
    const repeated: string[] = [];
    for (let i = 0; i < again; i++) {
      if (i > 0 && has("multiple_token")) repeated.push(...head);
      repeated.push(...words);
    }
    return [...head, ...repeated];
  });
  return has("optional") ? [[], ...found] : found;
}

function valueOf(arg: Doc, times: number): string[] {
  const name = arg.get("name") as string;
  switch (arg.get("type")) {
    case "pure-token":
      return [];
    case "key":
      return [KEY];
    case "integer":
      if (name === "numkeys") return [NUMKEYS];
      // How many of what follows: it follows as often as anything that may be repeated.
      return [/^num(fields|ids)$/.test(name) ? String(times) : "1"];
    case "double":
      return ["1.5"];
    case "unix-time":
      return ["2000000000"];
    case "pattern":
      return ["p*"];
    default:
      return [name.replaceAll(" ", "-")];
  }
}

/** Where a server's description says more than the server does. */
const EXCEPT: ReadonlyMap<string, string> = new Map([
  [
    "migrate",
    'it has KEYS without "", and "" without KEYS, both of which the server refuses; it is refused here anyway',
  ],
]);

/**
 * Where the table is stricter than the server, or finds other keys; none if all is well.
 * @param except commands, and calls, that are known to differ, each with its reason; what is not needed is a difference too
 */
export function differences(facts: ServerFacts, except: ReadonlyMap<string, string> = EXCEPT): string[] {
  const found: string[] = [];
  const used = new Set<string>();
  const say = (key: string, text: string) => {
    const reason = [key, key.split(" ")[0]!].find((each) => except.has(each));
    if (reason === undefined) found.push(text);
    else used.add(reason);
  };
  for (const [name, { arity, calls }] of Object.entries(facts.commands)) {
    const command = findByName(name);
    if (command === undefined) {
      say(name, `${name} is not in the table`);
      continue;
    }
    const looser = arity > 0
      ? command.arity === arity || (command.arity < 0 && -command.arity <= arity)
      : command.arity < 0 && command.arity >= arity;
    if (!looser) say(name, `${name} takes ${arity} arguments, here ${command.arity}`);
    for (const call of calls) {
      const words = call.split(" ");
      const { bytes, args } = scanned(words.map((word) => word === '""' ? "" : word));
      const resolved = resolve(bytes, args);
      // A container without a subcommand, which no server takes either.
      if (resolved === undefined || resolved !== command) continue;
      if (!checkArity(resolved, args.count)) {
        say(call, `${call}: ${args.count} arguments are not taken`);
        continue;
      }
      if ((resolved.flags & FLAG.CHANNELS) !== 0) continue;
      const list = new KeyList();
      const count = findKeys(resolved, bytes, args, list);
      const keys = count < 0 ? `error ${count}` : [...list.at.subarray(0, count)].sort((a, b) => a - b);
      const theirs = words.flatMap((word, i) => KEY_WORD.test(word) ? [i] : []);
      if (resolved.finder === FINDER.STREAMS && blocks(resolved, bytes, args) !== words.includes("BLOCK")) {
        say(call, `${call}: whether it waits`);
      }
      if (String(keys) !== String(theirs)) say(call, `${call}: keys at ${theirs}, here ${keys}`);
    }
  }
  for (const key of except.keys()) if (!used.has(key)) found.push(`${key} is no exception any more`);
  return found;
}

/** Calls of which COMMAND GETKEYS of the server itself finds other keys than its COMMAND DOCS name. */
export async function surprises(client: RawClient, facts: ServerFacts): Promise<string[]> {
  const found: string[] = [];
  for (const [name, { calls }] of Object.entries(facts.commands)) {
    const command = findByName(name);
    if (command === undefined || command.finder === FINDER.NONE || command.flags & FLAG.CHANNELS) continue;
    for (const call of calls) {
      const words = call.split(" ").map((word) => word === '""' ? "" : word);
      const reply = await client.command("COMMAND", "GETKEYS", ...words);
      const theirs = reply instanceof ReplyError
        ? reply.message
        : (reply as string[]).filter((key) => key !== "").sort().join(" ");
      const named = words.filter((word) => KEY_WORD.test(word)).sort().join(" ");
      if (theirs !== named) found.push(`${call}: GETKEYS says ${theirs}`);
    }
  }
  return found;
}
