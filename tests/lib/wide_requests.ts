/** Requests of very many arguments, one or several for each row of the command tables; as wide as their rows allow. */
import { COMMANDS as MEMCACHED, FORM_GAT } from "../../src/protocol/memcached/commands.ts";
import { type Command, COMMANDS, FINDER } from "../../src/protocol/redis/commands.ts";
import { latin1 } from "./bytes.ts";

export interface WideRequest {
  /** "MGET distinct" */
  readonly name: string;
  /** Whole requests; made when asked for, as all of them together are many bytes. */
  readonly bytes: () => Uint8Array;
}

/** Arguments of a request, as text. */
type Words = readonly string[];

/** As `request` of bytes.ts, for very many latin-1 arguments. */
export function wide(words: Words): Uint8Array {
  return latin1(`*${words.length}\r\n` + words.map((word) => `$${word.length}\r\n${word}\r\n`).join(""));
}

function repeat(n: number, word: (i: number) => string): string[] {
  return Array.from({ length: n }, (_, i) => word(i));
}

const distinct = (n: number) => repeat(n, (i) => `k${1_000_000 + i}`);
const same = (n: number) => repeat(n, () => "k");
const pairs = (n: number, ...words: string[]) => repeat(n, (i) => words[i % words.length]!);

/** What the row's own arguments would not show: options said again and again, and names of their kind. */
const SPECIAL: Readonly<Record<string, (n: number) => Words>> = {
  "HELLO": (n) => ["HELLO", "3", ...pairs(n, "SETNAME", "me")],
  "CLIENT|LIST": (n) => ["CLIENT", "LIST", "ID", ...repeat(n, (i) => `${i + 1}`)],
  "CLIENT|KILL": (n) => ["CLIENT", "KILL", ...pairs(n, "ID", "123456")],
  "CLIENT|TRACKING": (
    n,
  ) => ["CLIENT", "TRACKING", "ON", ...repeat(n, (i) => i % 2 ? `p${1e6 + i}` : "PREFIX"), "BCAST"],
  "CLIENT|CAPA": (n) => ["CLIENT", "CAPA", ...pairs(n, "redirect")],
  "CONFIG|GET": (n) => ["CONFIG", "GET", ...repeat(n, (i) => `*${i}*a*b`)],
  "INFO": (n) => ["INFO", ...repeat(n, (i) => `section${i}`)],
  "COMMAND|INFO": (n) => ["COMMAND", "INFO", ...pairs(n, "client", "get", "nosuch", "client|id")],
  "COMMAND|DOCS": (n) => ["COMMAND", "DOCS", ...pairs(n, "client", "get", "nosuch", "client|id")],
  "COMMAND|LIST": (n) => ["COMMAND", "LIST", "FILTERBY", "PATTERN", ...distinct(n)],
  "COMMAND|GETKEYS": (n) => ["COMMAND", "GETKEYS", "MSET", ...distinct(n)],
  "COMMAND|GETKEYSANDFLAGS": (n) => ["COMMAND", "GETKEYSANDFLAGS", "MSET", ...distinct(n)],
  "SORT": (n) => ["SORT", "k", ...pairs(n, "GET", "#")],
  "SORT_RO": (n) => ["SORT_RO", "k", ...pairs(n, "GET", "#")],
  "GEORADIUS": (n) => ["GEORADIUS", "k", "1", "1", "1", "m", ...pairs(n, "STORE", "k")],
  "GEORADIUSBYMEMBER": (n) => ["GEORADIUSBYMEMBER", "k", "m", "1", "m", ...pairs(n, "STORE", "k")],
  "MIGRATE": (n) => ["MIGRATE", "h", "1", "", "0", "1", "KEYS", ...distinct(n)],
  "XREAD": (n) => ["XREAD", "STREAMS", ...same(n / 2), ...pairs(n / 2, "0")],
  "XREADGROUP": (n) => ["XREADGROUP", "GROUP", "g", "c", "STREAMS", ...same(n / 2), ...pairs(n / 2, ">")],
  "COPY": (n) => ["COPY", "k", "k", ...pairs(n, "DB", "0")],
  "SCAN": (n) => ["SCAN", "0", ...pairs(n, "COUNT", "10")],
};

/** Options of which there may be another worst case. */
const MORE: Readonly<Record<string, readonly ((n: number) => Words)[]>> = {
  "CLIENT|TRACKING": [
    (n) => ["CLIENT", "TRACKING", "ON", ...pairs(n, "NOLOOP")],
    (n) => ["CLIENT", "TRACKING", "ON", "BCAST", ...pairs(n, "PREFIX", "same")],
  ],
  "HELLO": [(n) => ["HELLO", "3", ...repeat(n, (i) => ["AUTH", "default", "x"][i % 3]!)]],
  "XREAD": [(n) => ["XREAD", "BLOCK", "0", "STREAMS", ...same(n / 2), ...pairs(n / 2, "0")]],
};

function headOf(command: Command): string[] {
  return command.name.split("|");
}

/** The words of a request whose keys are what `keys` makes. */
function keyed(command: Command, n: number, keys: (n: number) => string[]): Words {
  const head = headOf(command);
  switch (command.finder) {
    case FINDER.NUMKEYS: {
      const each = Math.max(1, command.keyStep);
      const count = Math.floor(n / each);
      while (head.length < command.numkeysAt) head.push(command.firstKey === head.length ? "k" : "0");
      return [...head, `${count}`, ...keys(count * each), ...MPOP.has(command.name) ? ["LEFT"] : []];
    }
    default: {
      // BLPOP k … timeout; and an even number where pairs are wanted.
      const tail = command.lastKey === -2 ? ["0"] : [];
      const words = head.length + n;
      return [...head, ...keys(command.keyStep === 2 && words % 2 === 0 ? n - 1 : n), ...tail];
    }
  }
}

const MPOP: ReadonlySet<string> = new Set(["LMPOP", "BLMPOP", "ZMPOP", "BZMPOP"]);

/** What a request of `n` arguments can be for the row of a Redis command. */
export function wideFor(command: Command, n: number): WideRequest[] {
  const { name } = command;
  const shapes: [string, () => Words][] = [
    ["distinct", () => keyed(command, n, distinct)],
    ["same", () => keyed(command, n, same)],
  ];
  const special = SPECIAL[name];
  if (special !== undefined) shapes.push(["options", () => special(n)]);
  for (const [i, words] of (MORE[name] ?? []).entries()) shapes.push([`options ${i + 2}`, () => words(n)]);
  return shapes.map(([shape, words]) => ({ name: `${name} ${shape}`, bytes: () => wide(words()) }));
}

/** For every row of Redis's table, as it is now. */
export function wideRedis(n: number): WideRequest[] {
  return COMMANDS.flatMap((command) => wideFor(command, n));
}

/** For every row of memcached's. */
export function wideMemcached(n: number): WideRequest[] {
  return MEMCACHED.flatMap(({ name, form }) =>
    [distinct, same].map((keys) => ({
      name: `${name} ${keys === same ? "same" : "distinct"}`,
      bytes: () => latin1(`${name} ${form === FORM_GAT ? "0 " : ""}${keys(n).join(" ")}\r\n`),
    }))
  );
}
