/**
 * How simulated memcached clients log in where the pool has users: with the password that is in force when they come, as in auth.ts. Who is
 * refused, since there has been another one by then, goes; whose pool gets users, and has not logged in, is ended.
 */
import { packet } from "../lib/binary.ts";
import { passwordOf } from "./auth.ts";
import { type Expect, type Judge, matching, refusal } from "./expect.ts";
import type { Random } from "./random.ts";
import { type Step, together } from "./step.ts";

const UNAUTHENTICATED = "CLIENT_ERROR unauthenticated\r\n";
const FAILED = "CLIENT_ERROR authentication failure\r\n";

export interface Stranger {
  readonly judge: Judge;
  readonly random: Random;
  /** Of its first requests, which the judge knows of. */
  readonly tag: string;
  /** It may be wrong before it is right, or not log in at all. */
  readonly guesses: boolean;
}

/** Was there such a password, or none (null), since that was sent? */
type Had = (is: (password: string | null) => boolean) => boolean;

function hadOf({ judge, tag }: Stranger): Had {
  return (is) => judge.had(tag, (config) => is(passwordOf(config)));
}

/** Whoever was let in when nobody had to log in stays in until a reload ends it. */
function wasOpen({ judge, tag }: Stranger): boolean {
  return judge.hadSinceItCame(tag, (config) => passwordOf(config) === null);
}

function one(bytes: string, expect: Expect): Step {
  return { bytes, expects: [expect], last: false };
}

const NOTHING: Step = { bytes: "", expects: [], last: false };

/** What a text client says first, perhaps nothing. */
export function textLogin(who: Stranger): Step {
  const { judge, random, guesses } = who;
  const { password } = judge;
  if (password === null && !judge.mayNeedPassword) return NOTHING;
  const had = hadOf(who);
  const served = (reply: string) => judge.isFailure(reply) || judge.truth.extras.has(reply);
  const before = matching(
    "get before a login",
    (reply) =>
      reply === UNAUTHENTICATED
        ? had((one) => one !== null)
        : wasOpen(who) && (reply === "END\r\n" || served(reply)),
  );
  if (password === null) {
    return one("get x\r\n", { ...before, gives: (reply) => reply === UNAUTHENTICATED });
  }
  const login = (said: string) => {
    const secret = `ann ${said}`;
    return one(`set auth 0 0 ${secret.length}\r\n${secret}\r\n`, {
      ...matching(
        `login with ${said}`,
        (reply) =>
          reply === "STORED\r\n"
            ? had((one) => one === said) || wasOpen(who)
            : reply === FAILED
            ? had((one) => one !== null && one !== said)
            : wasOpen(who) && served(reply),
      ),
      gives: (reply) => reply === FAILED && said === password,
    });
  };
  const guess = guesses && random.chance(0.3) ? [login("wrong")] : [];
  return together([one("get x\r\n", before), ...guess, login(password)]);
}

/** What a binary client says first, perhaps nothing. */
export function binaryLogin(who: Stranger): Step {
  const { judge, random, guesses } = who;
  const { password } = judge;
  const had = hadOf(who);
  const noop = packet({ opcode: 0x0a, opaque: 1 });
  if (password === null) {
    if (!judge.mayNeedPassword) return NOTHING;
    return one(noop, {
      ...matching("noop", (reply) => statusOf(reply) === 0 ? wasOpen(who) : isLocked(reply, had)),
      gives: (reply) => statusOf(reply) === 0x20,
    });
  }
  // It knows for sure that it is not let in only where there are users all the time.
  if (guesses && !judge.mayNeedPassword && random.chance(0.1)) {
    const refused = packet({
      opcode: 0x0a,
      opaque: 1,
      vbucket: 0x20,
      value: "Auth failure.",
      lies: { magic: 0x81 },
    });
    return { bytes: noop, expects: [refusal("noop before a login", refused)], last: true };
  }
  const list = one(
    packet({ opcode: 0x20 }),
    matching("sasl_list", (reply) => {
      return statusOf(reply) === 0
        ? reply.endsWith("PLAIN") && had((one) => one !== null)
        : isUnknown(reply, who);
    }),
  );
  const login = (said: string) =>
    one(packet({ opcode: 0x21, key: "PLAIN", value: `\0ann\0${said}` }), {
      ...matching(`sasl_auth with ${said}`, (reply) => {
        if (statusOf(reply) === 0) return reply.endsWith("Authenticated") && had((one) => one === said);
        if (statusOf(reply) === 0x20) return had((one) => one !== null && one !== said);
        return isUnknown(reply, who);
      }),
      gives: (reply) => statusOf(reply) === 0x20 && said === password,
    });
  const guess = guesses && random.chance(0.3) ? [login("wrong")] : [];
  return together([...random.chance(0.5) ? [list] : [], ...guess, login(password)]);
}

function statusOf(reply: string): number {
  return reply.charCodeAt(6) * 256 + reply.charCodeAt(7);
}

function isLocked(reply: string, had: Had): boolean {
  return statusOf(reply) === 0x20 && reply.endsWith("Auth failure.") && had((one) => one !== null);
}

/** As a server without SASL answers. */
function isUnknown(reply: string, who: Stranger): boolean {
  return statusOf(reply) === 0x81 && reply.endsWith("Unknown command") && wasOpen(who);
}
