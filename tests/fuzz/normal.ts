/**
 * What may differ between a redis-server and Ringmaster in front of one, and is made equal before the comparison.
 *
 * Everything else has to be the same bytes. Each row says which command it is for and why its reply cannot be equal.
 */
import { latin1, textOf } from "../lib/bytes.ts";
import { replyEnd } from "../lib/resp.ts";

/** Commands whose replies come in the order of a hash table, which has a seed of its own in each redis-server. */
const UNORDERED: ReadonlySet<string> = new Set([
  "keys",
  "smembers",
  "sinter",
  "sunion",
  "sdiff",
  "hgetall",
  "hkeys",
  "hvals",
  "spop",
  "srandmember",
  "hrandfield",
  "zrandmember",
  "scan",
  "sscan",
  "hscan",
  "zscan",
  "pubsub",
  "function",
  "sort",
  "sort_ro",
]);

/** Scripts may return any of those. */
const SCRIPTS: ReadonlySet<string> = new Set([
  "eval",
  "evalsha",
  "eval_ro",
  "fcall",
  "fcall_ro",
  "evalsha_ro",
]);

type Rule = (reply: string, args: readonly string[]) => string;

const RULES: Readonly<Record<string, Rule>> = {
  // Milliseconds pass between the two.
  ttl: numbers,
  pttl: numbers,
  expiretime: numbers,
  pexpiretime: numbers,
  // Allocators round differently once memory has been freed and used again.
  memory: numbers,
  // The elements of sets and hashes are dumped in their table's order, which depends on the seed.
  dump: (reply) => reply[0] === "$" ? "a dump" : reply,
  // One argument: twemproxy's texts, which configurations rely on.
  auth: (reply) => reply.replace(/^-ERR (AUTH|Client sent AUTH).*\r\n$/, "-ERR AUTH\r\n"),
  // Ours are the proxy's: version, id of the connection.
  hello: (reply, args) => {
    // Newer servers look at all options before they look at the name; and an option is shown here up to 128 bytes.
    if (args.length > 4 && /^-ERR (Client names|Syntax error)/.test(reply)) {
      return "a wrong option, or a wrong name";
    }
    return reply.replace(/(version\r\n)\$\d+\r\n[0-9.]+/, "$1V").replace(/(id\r\n):\d+/, "$1:N")
      .replace(/(HELLO option '[^']{128})[^']*/, "$1");
  },
  // Of EVAL whose number of keys is none: a server reads its first digits, and so there are keys of a command that is refused.
  command: (reply, args) =>
    /^eval$/i.test(args[2] ?? "") && !/^\d+$/.test(args[4] ?? "") ? "no number of keys" : reply,
  // Stream summaries show when a consumer was seen, and radix tree sizes.
  xinfo: numbers,
  xpending: numbers,
  // Our own list of subcommands has the newer ones too.
};

function numbers(reply: string): string {
  // Negative ones have a meaning (-1 no expiry, -2 no key), and so has 0.
  return reply.replace(/:[1-9]\d*\r\n/g, ":N\r\n");
}

/** @param args the command that `reply` answers, as sent */
export function normal(args: readonly string[], reply: Uint8Array): string {
  const name = args[0]!.toLowerCase();
  let text = textOf(reply);
  // Newer servers refuse such a cursor, as we do; 7.0 starts a scan.
  if (name === "scan" && /^(-\d+)?$/.test(args[1] ?? "x")) return "no cursor";
  // Where a scan stops depends on the hash seed; only one that walks all of it can be compared.
  if (/^(.)?scan$/.test(name) && text[0] !== "-" && !wholeScan(args)) return "a part";
  if (name === "exec") return sorted(numbers(text));
  const rule = RULES[name];
  if (rule !== undefined) text = rule(text, args);
  if (UNORDERED.has(name) || SCRIPTS.has(name)) text = sorted(text);
  return text;
}

/** Its reply is not the same bytes, in whatever order, from servers with different hash seeds. */
export function dependsOnSeed(args: readonly string[]): boolean {
  const name = args[0]!.toLowerCase();
  return name === "dump" || (/^(.)?scan$/.test(name) && !wholeScan(args));
}

function wholeScan(args: readonly string[]): boolean {
  const at = args.findIndex((arg) => arg.toUpperCase() === "COUNT");
  return args[args[0]!.length === 4 ? 1 : 2] === "0" && at > 0 && args[at + 1] === "1000";
}

/** All elements of a reply, at whatever depth, sorted: equal multisets are equal texts. */
function sorted(text: string): string {
  const bytes = latin1(text);
  if (!"*~%".includes(text[0] ?? "")) return text;
  return flatten(bytes, 0).sort().join("");
}

function flatten(bytes: Uint8Array, start: number): string[] {
  const found: string[] = [];
  const end = replyEnd(bytes, start, bytes.length);
  let at = start;
  while (at < end) {
    const line = bytes.indexOf(10, at) + 1;
    const type = String.fromCharCode(bytes[at]!);
    const head = textOf(bytes, at, line);
    if (type === "$" || type === "=" || type === "!") {
      const length = Number(head.slice(1, -2));
      const next = length < 0 ? line : line + length + 2;
      found.push(textOf(bytes, at, next));
      at = next;
    } else {
      found.push(head);
      at = line;
    }
  }
  return found;
}
