/**
 * What servers say when they cannot serve, and where each saying counts.
 *
 *   ACCEPT     the first line on a connection may be one that nobody asked for: a full server says it, and closes. It answers
 *              no request, so the connection fails with the row's failure, and so does all that is in flight on it
 *   GREETING   as the answer to our handshake it ends the connection in the same way
 *   REQUEST    a failure of the server; its client gets the reply as it is, since libraries know these words
 *   PROBE      an ejected server that answers its probe so stays away
 *   DEMOTED    where another may take the server's place (failover), who says so to a request is its primary no more: its role is
 *              asked again before anything else is sent there. No failure of the server
 *
 * A reply that refuses one kind of request only (OOM, READONLY, MISCONF to a write) is no illness of the server where
 * requests are concerned: its reads are served. Nor is a wrong password: every server of the pool would say so, and
 * "no live server" would hide why. But a server that comes back has to say PONG.
 */
import { encode, startsWith } from "../bytes/ascii.ts";
import { type Failure, failureOf } from "./failures.ts";

export const ACCEPT = 1;
export const GREETING = 2;
export const REQUEST = 4;
export const PROBE = 8;
export const DEMOTED = 16;

interface Illness {
  readonly protocol: "redis" | "memcached";
  /** How the line begins. */
  readonly words: Uint8Array;
  readonly where: number;
  readonly failure: Failure;
}

function illness(protocol: "redis" | "memcached", words: string, where: number, code: string): Illness {
  return { protocol, words: encode(words), where, failure: failureOf(code) };
}

/**
 * Lines of ACCEPT: seen from Redis 7.0 and 8.6, Valkey 9.1, memcached 1.6.18 and 1.6.45 (without maxconns_fast it says nothing, which is a
 * timeout). Who has no file left for a client says nothing either. Answers to PROBE: tests/real/full_server_test.ts.
 */
const ILLNESSES: readonly Illness[] = [
  illness("redis", "-ERR max number of clients", ACCEPT, "EFULL"),
  illness("redis", "-DENIED ", ACCEPT, "EDENIED"),
  illness("redis", "-LOADING ", GREETING | REQUEST | PROBE, "ELOADING"),
  illness("redis", "-MASTERDOWN ", GREETING | REQUEST | PROBE, "EMASTERDOWN"),
  illness("redis", "-MISCONF ", PROBE, "EILL"),
  illness("redis", "-READONLY ", DEMOTED, "EREADONLY"),
  illness("redis", "-BUSY ", PROBE, "EILL"),
  illness("redis", "-NOAUTH ", PROBE, "EILL"),
  illness("memcached", "ERROR Too many open connections", ACCEPT, "EFULL"),
];

/** One protocol's rows. */
export class Illnesses {
  private readonly rows: readonly Illness[];

  constructor(protocol: "redis" | "memcached") {
    this.rows = ILLNESSES.filter((row) => row.protocol === protocol);
  }

  /** What is wrong with a server that says this in that place; null if nothing is. The caller has seen that it is an error. */
  find(bytes: Uint8Array, start: number, end: number, where: number): Failure | null {
    for (const row of this.rows) {
      if ((row.where & where) !== 0 && startsWith(bytes, start, end, row.words)) return row.failure;
    }
    return null;
  }
}
