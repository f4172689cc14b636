/**
 * Worlds whose Redis pool has a user with rules, which reloads change: what he may do when, by a list of its own.
 *
 *   NOPERM ──► some rules that were in force since the request was sent forbid it, and no server has executed it, ever
 *   any other reply ──► some of those rules allow it
 */
import type { PoolConfig } from "../../src/config/config.ts";
import { globMatches } from "../../src/protocol/redis/glob.ts";
import { exactly, type Expect, matching } from "./expect.ts";
import type { Random } from "./random.ts";
import { type Step, step } from "./step.ts";

const NAME = "ann";
const PASSWORD = "secret";
const NO_KEY = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
const NO_CHANNEL = "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n";
export const RULES_CHANGED = "-EXECABORT Transaction discarded because of: NOPERM ACLs rules changed";

interface Rules {
  readonly commands: readonly string[];
  readonly keys: string;
  readonly channels: string;
}

const ALL: Rules = { commands: [], keys: "*", channels: "*" };
/** The first one is what most worlds begin with. */
const RULES: readonly Rules[] = [
  ALL,
  { ...ALL, commands: ["set", "getset", "incr"] },
  { ...ALL, commands: ["get", "mget", "blpop", "evalsha", "watch"] },
  { ...ALL, keys: "*k*" },
  { ...ALL, keys: "*[nlz]*" },
  { ...ALL, channels: "c*" },
  { commands: ["publish"], keys: "*k*", channels: "news:*" },
];

function textOf({ commands, keys, channels }: Rules): string {
  const words = ["+@all", ...commands.map((name) => `-${name}`), `~${keys}`];
  return [...words, channels === "*" ? "&*" : `resetchannels &${channels}`].join(" ");
}

const BY_TEXT = new Map(RULES.map((rules) => [textOf(rules), rules]));

/** `users`, as the file has it. */
export function usersIn(random: Random): string {
  const rules = textOf(random.pick(RULES));
  return `[ { name: ${NAME}, password: ${PASSWORD}, rules: "${rules}", scripts: true } ]`;
}

function rulesOf({ redis, users }: PoolConfig): Rules {
  const user = redis ? users?.find(({ name }) => name === NAME) : undefined;
  return user === undefined ? ALL : BY_TEXT.get(user.rules.join(" "))!;
}

const ONE_KEY = new Set(
  ("get set incr getset append strlen setnx getdel pexpire type rpush lpop lrange hset hgetall sadd smembers blpop " +
    "brpop").split(" "),
);
const ALL_KEYS = new Set(["mget", "del", "exists", "unlink", "touch", "watch"]);

function keysOf([name, ...words]: readonly string[]): readonly string[] {
  const lower = name!.toLowerCase();
  if (ONE_KEY.has(lower)) return words.slice(0, 1);
  if (ALL_KEYS.has(lower)) return words;
  if (lower === "mset") return words.filter((_, i) => i % 2 === 0);
  if (lower === "rename" || lower === "copy") return words.slice(0, 2);
  return lower === "evalsha" ? words.slice(2, 3) : [];
}

/** What these rules say of a request: an error, or null. */
function refusalOf(rules: Rules, args: readonly string[]): string | null {
  const name = args[0]!.toLowerCase();
  // Of what is wrong in itself that is said.
  if (args.length < (name === "get" ? 2 : name === "mset" ? 3 : 1)) return null;
  if (rules.commands.includes(name)) {
    return `-NOPERM this user has no permissions to run the '${name}' command\r\n`;
  }
  if (keysOf(args).some((key) => !globMatches(rules.keys, key))) return NO_KEY;
  const channels = name === "publish" ? args.slice(1, 2) : name.endsWith("subscribe") ? args.slice(1) : [];
  const hears = (channel: string) =>
    rules.channels === "*" ||
    (name[0] === "p" && name !== "publish"
      ? channel === rules.channels
      : globMatches(rules.channels, channel));
  return channels.every(hears) ? null : NO_CHANNEL;
}

/** Whether its rules let a client be subscribed to this. @param word SUBSCRIBE or PSUBSCRIBE */
export function mayHear(config: PoolConfig, word: string, channel: string): boolean {
  return refusalOf(rulesOf(config), [word, channel]) === null;
}

/** Since then, there were such rules. */
type Had = (is: (config: PoolConfig) => boolean) => boolean;

/** Those that there were. */
export function rulesSince(had: Had): readonly unknown[] {
  return RULES.filter((rules) => had((config) => rulesOf(config) === rules));
}

/** `expect`, of a request that rules may forbid. */
export function ruled(expect: Expect, args: readonly string[], had: Had): Expect {
  const hadRefusal = (refusal: string | null) =>
    had((config) => refusalOf(rulesOf(config), args) === refusal);
  return {
    ...expect,
    accepts(reply) {
      if (!reply.startsWith("-NOPERM ")) return expect.accepts(reply) && hadRefusal(null);
      if (!hadRefusal(reply)) return false;
      expect.refused?.();
      return expect.executed?.() !== true;
    },
  };
}

/** What a client says first. */
export function ruledLogin(): Step[] {
  return [
    step(["GET", "x"], exactly("GET before AUTH", "-NOAUTH Authentication required.\r\n")),
    step(["AUTH", NAME, PASSWORD], matching("AUTH", (reply) => reply === "+OK\r\n")),
  ];
}

/** Whether its rules let a client publish there. */
export function mayTell(config: PoolConfig, channel: string): boolean {
  return refusalOf(rulesOf(config), ["PUBLISH", channel]) === null;
}
