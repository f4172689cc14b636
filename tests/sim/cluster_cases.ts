/**
 * What nodes of a cluster say while a slot moves, as a table: the model (model_cluster_test.ts) and real servers
 * (tests/real/model_cluster_test.ts) say the same.
 *
 * S (10.0.0.2) owns slot 15495, which `{a}1` and `{a}2` are in; T (10.0.0.1) is where it goes; R is S's replica.
 */
import type { Manner } from "./model_cluster.ts";

export const ASK = "-ASK 15495 10.0.0.1:7000";
export const MOVED_S = "-MOVED 15495 10.0.0.2:7000";
const TRYAGAIN = "-TRYAGAIN Multiple keys request during rehashing of slot";

export interface ClusterCase {
  readonly name: string;
  readonly manner?: Manner;
  readonly phase: "none" | "importing" | "both";
  /** Of `{a}1` and `{a}2`, which are on S at first. */
  readonly moved?: readonly string[];
  /** Connection (a node's letter, perhaps with a number), request, reply; for the model a key may have a tag. */
  readonly says: readonly (readonly [string, string, string])[];
}

export const CASES: readonly ClusterCase[] = [
  { name: "slots hash as in a cluster", phase: "none", says: [["T", "CLUSTER KEYSLOT 123456789", ":12739"]] },
  {
    name: "who is no owner says who is; CROSSSLOT comes first; keyless commands go anywhere",
    phase: "none",
    says: [
      ["T", "GET {a}1", MOVED_S],
      ["T", "MGET {a}1 {b}1", "-CROSSSLOT Keys in request don't hash to the same slot"],
      ["S", "GET {a}1", "one"],
      ["R", "GET {a}1", MOVED_S],
      ["R", "READONLY", "+OK"],
      ["R", "GET {a}1", "one"],
      ["R", "SET {a}1 x", MOVED_S],
      ["T", "PING", "+PONG"],
      ["T", "GET", "-ERR wrong number of arguments for 'get' command"],
    ],
  },
  {
    name: "while only the target has been told, the source serves all",
    phase: "importing",
    says: [["S", "GET {a}1", "one"], ["S", "GET {a}new", "$-1"], ["T", "GET {a}1", MOVED_S]],
  },
  {
    name: "the source asks elsewhere for what it has not; a mixture is to be tried again",
    phase: "both",
    moved: ["{a}2"],
    says: [
      ["S", "GET {a}1", "one"],
      ["S", "GET {a}2", ASK],
      ["S", "SET {a}new x", ASK],
      ["S", "MGET {a}1 {a}2", TRYAGAIN],
      ["S", "MSET {a}n1 x {a}n2 y", ASK],
      ["S", "EXISTS {a}2", ASK],
      ["T", "GET {a}2", MOVED_S],
    ],
  },
  {
    name: "a transaction of Redis hears at its commands where to ask",
    manner: "redis",
    phase: "both",
    moved: ["{a}2"],
    says: [
      ["S", "MULTI", "+OK"],
      ["S", "GET {a}1", "+QUEUED"],
      ["S", "GET {a}2", ASK],
      ["S", "EXEC", "-EXECABORT Transaction discarded because of previous errors."],
    ],
  },
  {
    name: "one of Valkey hears it from EXEC",
    manner: "valkey",
    phase: "both",
    moved: ["{a}2"],
    says: [
      ["S", "MULTI", "+OK"],
      ["S", "GET {a}1", "+QUEUED"],
      ["S", "GET {a}2", "+QUEUED"],
      ["S", "EXEC", TRYAGAIN],
      ["S", "MULTI", "+OK"],
      ["S", "GET {a}2", "+QUEUED"],
      ["S", "EXEC", ASK],
      ["S", "EXEC", "-ERR EXEC without MULTI"],
    ],
  },
  {
    name: "ASKING is for what comes next, whatever it is",
    phase: "both",
    moved: ["{a}2"],
    says: [
      ["S", "GET {a}2~1.901.0", ASK],
      ["T", "ASKING", "+OK"],
      ["T", "ASKING", "+OK"],
      ["T", "GET {a}2~1.901.0", "two"],
      ["T", "GET {a}2", MOVED_S],
      ["T", "ASKING", "+OK"],
      ["T", "PING", "+PONG"],
      ["T", "GET {a}2", MOVED_S],
      ["T", "ASKING", "+OK"],
      ["T", "GET", "-ERR wrong number of arguments for 'get' command"],
      ["T", "GET {a}2", MOVED_S],
      ["S", "SET {a}new~1.902.0 x", ASK],
      ["T", "ASKING", "+OK"],
      ["T", "SET {a}new~1.902.0 x", "+OK"],
      ["S", "GET {a}new", ASK],
      ["S", "MSET {a}n1~1.903.0 x {a}n2~1.903.1 y", ASK],
      ["T", "ASKING", "+OK"],
      ["T", "MSET {a}n1~1.903.0 x {a}n2~1.903.1 y", TRYAGAIN],
      ["S", "MGET {a}new~1.904.0 {a}2~1.904.1", ASK],
      ["T", "ASKING", "+OK"],
      ["T", "MGET {a}new~1.904.0 {a}2~1.904.1", "*2 $1 x $3 two"],
    ],
  },
  {
    name: "ASKING before MULTI is for all of the transaction",
    phase: "both",
    moved: ["{a}2"],
    says: [
      ["S", "APPEND {a}2~1.905.0 x", ASK],
      ["S", "GET {a}2~1.905.1", ASK],
      ["T", "ASKING", "+OK"],
      ["T", "MULTI", "+OK"],
      ["T", "APPEND {a}2~1.905.0 x", "+QUEUED"],
      ["T", "GET {a}2~1.905.1", "+QUEUED"],
      ["T", "EXEC", "*2 :4 $4 twox"],
      ["T", "GET {a}2", MOVED_S],
    ],
  },
];

/** A reply in one line, without what makes the model's replies unique. */
export function shownReply(reply: string): string {
  const plain = reply.replace(
    /\$(\d+)\r\n([^\r]*?)\|(1\.\d+\.\d)/g,
    (_, size, value, tag) => `$${size - tag.length - 1}\r\n${value}`,
  );
  return plain.replaceAll("\r\n", " ").trimEnd().replace(/^\+OK .*/, "+OK").replace(/^\$\d+ /, "");
}
