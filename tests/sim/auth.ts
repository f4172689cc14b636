/**
 * How simulated clients say who they are, where redis_auth may change meanwhile: with the password that is in force when
 * they come. Who is refused, since there has been another one by then, goes.
 */
import { createHash } from "node:crypto";
import type { PoolConfig } from "../../src/config/config.ts";
import { textOf } from "../lib/bytes.ts";
import { type Expect, type Judge, matching } from "./expect.ts";
import type { Plan } from "./plan.ts";
import { ruledLogin } from "./rules.ts";
import { type Step, step } from "./step.ts";

/** redis_auth as text, or the password of the only user of a memcached pool; null: none. */
export function passwordOf({ redis, redisAuth, users }: PoolConfig): string | null {
  const secret = redis ? undefined : users?.[0]?.secret;
  if (secret?.kind === "sha256") return SECRETS.get(secret.hex)!;
  return redisAuth === null ? null : textOf(redisAuth);
}

const SECRETS = new Map(
  ["secret", "hidden"].map((text) => [createHash("sha256").update(text).digest("hex"), text]),
);

/** What redis_auth is at some time. */
export function passwordsOf({ pools }: Plan): ReadonlySet<string | null> {
  return new Set(pools.map(passwordOf));
}

/**
 * What a client says first, perhaps nothing.
 * @param tag of the first of these requests, which the judge knows of
 */
export function authSteps(judge: Judge, tag: string): Step[] {
  const { password } = judge;
  if (judge.hasRules === true) return ruledLogin();
  if (password === null) return judge.mayNeedPassword ? [step(["PING"], pingWithout(judge, tag))] : [];
  return [step(["GET", "x"], getBefore(judge, tag)), step(["AUTH", password], authOf(judge, tag, password))];
}

/**
 * Of a client that comes when there is no password: one may be there before the proxy takes the connection, that the kernel has made
 * before. Then it goes.
 */
function pingWithout(judge: Judge, tag: string): Expect {
  return {
    ...matching(
      "PING, without a password",
      (reply) => reply === "+PONG\r\n" || saysNoAuth(judge, tag, reply),
    ),
    gives: (reply) => reply === NOAUTH,
  };
}

/** One that there has been since the request was made is wanted. */
function saysNoAuth(judge: Judge, tag: string, reply: string): boolean {
  return reply === NOAUTH && judge.had(tag, (config) => passwordOf(config) !== null);
}

function getBefore(judge: Judge, tag: string): Expect {
  return matching(
    "GET before AUTH",
    (reply) =>
      saysNoAuth(judge, tag, reply) ||
      // Whoever was let in when there was no password stays in, as with Redis, though one has come before its first request.
      judge.hadSinceItCame(tag, (config) => passwordOf(config) === null) &&
        (reply === "$-1\r\n" || judge.isFailure(reply)),
  );
}

function authOf(judge: Judge, tag: string, mine: string): Expect {
  const had = (is: (password: string | null) => boolean) =>
    judge.had(tag, (config) => is(passwordOf(config)));
  return {
    ...matching("AUTH", (reply) => {
      switch (reply) {
        case "+OK\r\n":
          return had((password) => password === mine);
        case WRONG:
          return had((password) => password !== null && password !== mine);
        case "-ERR Client sent AUTH, but no password is set\r\n":
          return had((password) => password === null);
      }
      return false;
    }),
    gives: (reply) => reply === WRONG,
  };
}

const NOAUTH = "-NOAUTH Authentication required\r\n";
const WRONG = "-ERR invalid password\r\n";
