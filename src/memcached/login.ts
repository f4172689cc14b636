/**
 * How clients of a memcached pool with `users` log in. Who they are and what is right or wrong is proxy/users.ts's: slow hashes, and the
 * time that wrong attempts wait.
 *
 *   binary: sasl_auth PLAIN "\0user\0password"                 ──► Authenticated | 0x0020      as memcached -S
 *   text:   set anything 0 0 13 ⏎ user password ⏎              ──► STORED | CLIENT_ERROR …    as memcached -Y
 *   either: by its certificate (user_from), before it has said anything
 *
 * Until then nothing else is taken: binary clients are told so and closed, text clients are told.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { LINE_MAX, NEED_MORE } from "../protocol/memcached/request.ts";
import type { Client } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import { PoolUsers } from "../proxy/users.ts";
import { CLASS_OTHER } from "../stats/latency.ts";
import { PROTOCOL_ERROR, REQUESTS_TOTAL } from "../stats/metrics.ts";
import { LATE, LOCKED, type MemcachedSession } from "./session.ts";

/** Bytes of what text clients say to log in, and of a password with its user in a packet. */
export const SECRET_MAX = 16 * 1024;

const S = 115;
const UNAUTHENTICATED = encode("CLIENT_ERROR unauthenticated\r\n");
const TOO_LONG = encode("CLIENT_ERROR auth token too long\r\n");
const BAD_END = encode("CLIENT_ERROR bad command line termination\r\n");
const BAD_SECRET = encode("CLIENT_ERROR bad authentication token format\r\n");
const FAILED = encode("CLIENT_ERROR authentication failure\r\n");
const STORED = encode("STORED\r\n");

export class Logins {
  readonly users: PoolUsers;

  constructor(private readonly pool: Pool) {
    this.users = new PoolUsers(pool);
  }

  /** May a client do everything from the start? */
  get areOpen(): boolean {
    return this.users.default.isOpen;
  }

  /** A new client: whoever its certificate says, or nobody; who has to log in is locked. */
  welcome(client: Client, session: MemcachedSession): void {
    const { user, certified } = this.users.first(client, session, true);
    if (certified) session.user = user;
    else if (!user.isOpen) session.skipBytes = LOCKED;
  }

  /** @param message "\0user\0password", perhaps with the user before it as well; borrowed. @returns as `login` */
  loginPlain(client: Client, session: MemcachedSession, message: Uint8Array): boolean | null {
    const first = message.indexOf(0);
    const second = message.indexOf(0, first + 1);
    if (first < 0 || second < 0) return false;
    const name = latin1(message, first + 1, second);
    // To act as somebody else is nobody's right.
    if (first > 0 && latin1(message, 0, first) !== name) return false;
    return this.login(client, session, name, message.subarray(second + 1));
  }

  /** @param name each byte a character @returns null if the client now waits, and has to offer its request again */
  login(client: Client, session: MemcachedSession, name: string, password: Uint8Array): boolean | null {
    const right = this.users.login(client, session, name, password);
    if (right !== null) session.user = right ? this.users.find(name)! : null;
    return right;
  }

  /** As Front.step, of a text client that has not logged in. */
  knock(client: Client, session: MemcachedSession, bytes: Uint8Array, start: number, end: number): number {
    const { pool } = this;
    const lf = bytes.subarray(start, Math.min(end, start + LINE_MAX)).indexOf(10) + start;
    if (lf < start) {
      if (end - start < LINE_MAX) {
        client.lacks(0);
        return NEED_MORE;
      }
      // It does not say anything that could be a login: it is closed without a word.
      pool.counters[PROTOCOL_ERROR]!++;
      client.protocolError();
      return NEED_MORE;
    }
    const size = secretSize(bytes, start, lf);
    const next = lf + 1 + size + 2;
    if (size >= 0 && size <= SECRET_MAX && end < next) {
      client.lacks(next - start);
      return NEED_MORE;
    }
    const told = size < 0
      ? UNAUTHENTICATED
      : size > SECRET_MAX
      ? TOO_LONG
      : this.try(client, session, bytes, lf + 1, next);
    if (told === null) {
      client.lacks(0);
      return NEED_MORE;
    }
    if (told === STORED) session.skipBytes = 0;
    tell(client, session, told);
    return size < 0 || size > SECRET_MAX ? lf + 1 : next;
  }

  /** Tries the block `bytes[start, end)`, its CRLF included. @returns null if the client waits */
  private try(
    client: Client,
    session: MemcachedSession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Uint8Array | null {
    if (!isEnd(bytes, end)) return BAD_END;
    const secret = bytes.subarray(start, end - 2);
    const blank = secret.indexOf(32);
    if (blank < 0) return BAD_SECRET;
    const right = this.login(client, session, latin1(secret, 0, blank), secret.subarray(blank + 1));
    return right === null ? null : right ? STORED : FAILED;
  }

  /** The pool may have other users: who is gone is ended, as in a Redis pool. */
  adopt(client: Client): void {
    const session = client.session as MemcachedSession;
    if (session.user === null) {
      if (session.skipBytes === LATE) session.skipBytes = LOCKED;
      // It came in without a password, and would not any more.
      if (this.areOpen) unlock(client);
      else if (!session.isLocked) client.giveUp("is ended: it has given no password");
      return;
    }
    const user = this.users.find(session.user.name);
    // Whoever may not log in any more, and has, goes on, as in Redis.
    if (user === undefined) client.giveUp("is ended: its user is gone");
    else session.user = user;
  }
}

/** The client had to log in, and need not any more. What it has begun to say may be its login: nothing to be stored (see takeLate). */
export function unlock(client: Client): void {
  const session = client.session as MemcachedSession;
  session.user = null;
  if (session.skipBytes === LOCKED) session.skipBytes = client.inbox.size > 0 ? LATE : 0;
  if (session.binary?.skipBytes === LOCKED) session.binary.skipBytes = 0;
}

/**
 * The request of a text client that had begun it when it was let in without. If it is a login it is as good as right, and answered here: else
 * user and password would become a value.
 * @returns as Front.step; `start`: it is a request like any other
 */
export function takeLate(client: Client, bytes: Uint8Array, start: number, end: number): number {
  const session = client.session as MemcachedSession;
  const lf = bytes.subarray(start, Math.min(end, start + LINE_MAX)).indexOf(10) + start;
  const size = lf < start ? -1 : secretSize(bytes, start, lf);
  const next = lf + 1 + size + 2;
  const mayBe = bytes[start] === S && (lf < start ? end - start < LINE_MAX : size >= 0 && size <= SECRET_MAX);
  if (mayBe && (lf < start || end < next)) {
    client.lacks(lf < start ? 0 : next - start);
    return NEED_MORE;
  }
  session.skipBytes = 0;
  session.login = null;
  if (!mayBe) return start;
  tell(client, session, isEnd(bytes, next) ? STORED : BAD_END);
  return next;
}

/** Answers a request of a text client that has not logged in, or had not: one that is counted, and timed, as any other. */
function tell(client: Client, session: MemcachedSession, words: Uint8Array): void {
  const { pool } = client;
  pool.counters[REQUESTS_TOTAL]!++;
  pool.counting = 1 + CLASS_OTHER;
  session.scan.started = 1;
  client.answer(words);
  client.countHere();
}

/** The length that a login's line says, `bytes[start, lf)`; -1: it is none. */
function secretSize(bytes: Uint8Array, start: number, lf: number): number {
  const line = latin1(bytes, start, lf).replace(/\r$/, "");
  const words = line.split(" ").filter((word) => word !== "");
  return words.length >= 5 && line.startsWith("set") && /^\d{1,10}$/.test(words[4]!) ? Number(words[4]) : -1;
}

/** Does a data block end before `next`? */
function isEnd(bytes: Uint8Array, next: number): boolean {
  return bytes[next - 2] === 13 && bytes[next - 1] === 10;
}
