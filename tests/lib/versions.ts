/**
 * What newer servers answer otherwise than redis-server 7.0, whose texts are ours: by server and version, so that a test says what
 * each of them answers. `deno task test:newest` and `deno task fuzz --redis=PATH` meet them; tests/README.md lists them in words.
 *
 *   inVersion("valkey 9.1", ["MULTI"], "-ERR MULTI calls can not be nested\r\n")
 *     ──▶ "-ERR Command 'multi' not allowed inside a transaction\r\n"
 */
import type { RawClient } from "./client.ts";

/** A server whose answers are known: the newest of its kind that was compared. */
export type Version = "redis 7.0" | "redis 8.6" | "valkey 9.1";

/** Of a server that is none of them: the nearest. It may answer otherwise, and then a test shows it. */
export async function versionOf(client: RawClient): Promise<Version> {
  const info = String(await client.command("INFO", "server"));
  if (info.includes("valkey_version:")) return "valkey 9.1";
  return Number(/redis_version:(\d+)/.exec(info)?.[1]) >= 8 ? "redis 8.6" : "redis 7.0";
}

interface Difference {
  readonly versions: readonly Version[];
  /** Of the command line, words with a blank between them; absent: any. */
  readonly line?: RegExp;
  /** In the reply of 7.0, and ours. */
  readonly ours: RegExp;
  readonly theirs: string;
}

const NEWEST: readonly Version[] = ["redis 8.6", "valkey 9.1"];

const DIFFERENCES: readonly Difference[] = [
  {
    versions: ["redis 8.6"],
    ours: /^(-ERR unknown command '[^']*'), with args beginning with: \r\n/,
    theirs: "$1\r\n",
  },
  // Commands of modules are in capitals there, and the vector sets are a module.
  ...[
    "VADD",
    "VCARD",
    "VDIM",
    "VEMB",
    "VGETATTR",
    "VINFO",
    "VISMEMBER",
    "VLINKS",
    "VRANDMEMBER",
    "VRANGE",
    "VREM",
  ]
    .concat("VSETATTR", "VSIM")
    .map((name): Difference => ({
      versions: ["redis 8.6"],
      ours: new RegExp(`^-ERR wrong number of arguments for '${name.toLowerCase()}' command`),
      theirs: `-ERR wrong number of arguments for '${name}' command`,
    })),
  {
    versions: ["redis 8.6"],
    line: /^xread /i,
    ours: /^-ERR Unbalanced XREAD list of streams: for each stream key an ID or '\$' must/,
    theirs: "-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$$' must",
  },
  {
    versions: ["valkey 9.1"],
    line: /^xread /i,
    ours: /^-ERR Unbalanced XREAD list/,
    theirs: "-ERR Unbalanced 'xread' list",
  },
  {
    versions: NEWEST,
    line: /^xreadgroup /i,
    ours: /^-ERR Unbalanced XREAD list of streams: for each stream key an ID or '\$' must/,
    theirs: "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must",
  },
  {
    versions: ["valkey 9.1"],
    line: /^client list id 1 x$/i,
    ours: /^-ERR Invalid client ID/,
    theirs: "-ERR syntax error",
  },
  {
    versions: ["valkey 9.1"],
    line: /^client kill id x$/i,
    ours: /^-ERR client-id should be greater than 0/,
    theirs: "-ERR syntax error",
  },
  {
    versions: ["valkey 9.1"],
    line: /^evalsha /i,
    ours: /^-NOSCRIPT No matching script\. Please use EVAL\./,
    theirs: "-NOSCRIPT No matching script.",
  },
  {
    versions: NEWEST,
    ours: /^(-NOAUTH HELLO .* the HELLO )(AUTH <user>)/,
    theirs: "$1<proto> $2",
  },
  // What is wrong with the time is found before the key is looked up.
  {
    versions: ["valkey 9.1"],
    line: /^getex \S+ (ex|px|exat|pxat) (0|-\d+|9223372036854775807)$/i,
    ours: /^(\$-1|_|-WRONGTYPE [^\r]*)\r\n$/,
    theirs: "-ERR invalid expire time in 'getex' command\r\n",
  },
  {
    versions: ["valkey 9.1"],
    line: /^echo 'a'b$/i,
    ours: /^-ERR Protocol error: unbalanced[^]*/,
    theirs: "$$2\r\nab\r\n",
  },
  // It counts the slot without being a cluster.
  {
    versions: ["valkey 9.1"],
    line: /^cluster keyslot x$/i,
    ours: /^-ERR This instance has cluster support disabled/,
    theirs: ":16287",
  },
  {
    versions: ["valkey 9.1"],
    line: /^command info client\|id/i,
    ours: /([*~])3\r\n\+noscript\r\n\+loading\r\n\+stale\r\n/,
    theirs: "$14\r\n+noscript\r\n+loading\r\n+stale\r\n+allow_busy\r\n",
  },
  // Key specifications that are none: an empty array, also in RESP3.
  {
    versions: ["valkey 9.1"],
    line: /^command info client\|id nope echo$/i,
    ours: /~0\r\n(?=_\r\n|$)/g,
    theirs: "*0\r\n",
  },
  {
    versions: ["valkey 9.1"],
    line: /^command info quit echo select$/i,
    ours: /(\$6\r\nselect\r\n:2\r\n)\*3\r\n\+loading\r\n\+stale\r\n\+fast\r\n/,
    theirs: "$1*4\r\n+loading\r\n+stale\r\n+fast\r\n+allow_busy\r\n",
  },
];

/**
 * Inside MULTI Valkey refuses what Redis only complains of, and EXEC aborts. Behind us it is as with Redis: the second MULTI, or the
 * WATCH, never comes to the server.
 */
export function abortsNested(version: Version): boolean {
  return version === "valkey 9.1";
}

/** A wrong AUTH, or HELLO with one, that came with some requests before it has no reply: found with 8.6.3. */
export function losesWrongAuth(version: Version): boolean {
  return version === "redis 8.6";
}

/**
 * A score of 7.0 and of the demo's servers has 17 digits; newer servers give the fewest that say the same number. The pattern has
 * such a number, with its length before it if it is a bulk string; the last digits of a larger one are none.
 */
const LONG_SCORE = /(?:\$\d+(\r\n))?(?<!\d)(-?\d\.\d{15,17}(?:e[+-]\d\d+)?)(?![\de])/g;

function shortScore(all: string, line: string | undefined, digits: string): string {
  // One of another length is not a score: INCRBYFLOAT has more of them.
  if (digits.replace(/^-|e.*$/g, "").replace(".", "").replace(/^0+/, "").length !== 17) return all;
  const short = String(Number(digits));
  return line === undefined ? short : `$${short.length}${line}${short}`;
}

/** The reply that this version gives where ours is `reply`; the same unless it is in the table. */
export function inVersion(version: Version, words: readonly string[], reply: string): string {
  const line = words.join(" ");
  if (version !== "redis 7.0") reply = reply.replace(LONG_SCORE, shortScore);
  for (const { versions, line: of, ours, theirs } of DIFFERENCES) {
    if (versions.includes(version) && (of === undefined || of.test(line))) {
      reply = reply.replace(ours, theirs);
    }
  }
  return reply;
}
