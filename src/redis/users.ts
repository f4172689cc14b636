/**
 * The users of a pool: who they are, what they may do, how they log in, and what has been refused of late.
 *
 *   AUTH, HELLO AUTH ──► login ──┬─ right      the session becomes that user
 *                                ├─ wrong      counted, logged, told after a while that grows with the address's failures
 *                                └─ null       the client waits (a slow hash, or that while), and offers its request again
 *
 * A pool without `users` has none of this. All of it is one thread's: each has its own log and its own memory of failures.
 */
import { builtin } from "../bytes/builtin.ts";
import { encode, latin1 } from "../bytes/ascii.ts";
import type { PoolConfig, UserConfig, UserSecret } from "../config/config.ts";
import { verifyPassword } from "../config/password_hash.ts";
import { NOTICE } from "../net/log.ts";
import { type AclRules, parseRules } from "../protocol/redis/acl_rules.ts";
import type { ReplyWriter } from "../protocol/redis/reply_writer.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import { AUTH_FAILURES } from "../stats/metrics.ts";
import type { RedisSession } from "./session.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

export const DEFAULT = "default";

/** Slow hashes that are made at a time, of a thread. */
const HASHING_MAX = 2;
/** … and that wait for it. Beyond, a login fails. */
const WAITING_MAX = 1024;
/** Addresses whose failures are remembered; the one that failed least recently goes. */
const ADDRESSES_MAX = 4096;
/** A failure is forgotten after this. */
const FORGET_MS = 60_000;
/** What an address's second failure in a row waits; each further one twice as long. */
const DELAY_MIN_MS = 100;
const DELAY_MAX_MS = 2000;
/** Failures that are told one by one in a second. */
const LINES_MAX = 5;
/** As redis-server's acllog-max-len. */
const LOG_MAX = 128;
/** The same is counted, not told again, for so long. */
const GROUP_MS = 60_000;
/** Of a key, a channel or a name. */
const OBJECT_MAX = 256;

export class User {
  /** What its requests are asked about; null: it may do everything, and nobody asks. */
  readonly rights: AclRules | null;
  /** By which a reload sees that it is the same. */
  readonly written: string;
  /** Of the last password that the slow hash has said is right, with a key of this process. */
  known: Uint8Array | null = null;

  /** @param name each byte a character */
  constructor(
    readonly name: string,
    readonly secret: UserSecret,
    readonly rules: AclRules,
    config: UserConfig,
  ) {
    this.rights = rules.unrestricted ? null : rules;
    this.written = JSON.stringify(config);
  }

  /** Is whoever connects this user at once? */
  get isOpen(): boolean {
    return this.secret.kind === "nopass" && this.rules.enabled;
  }
}

/** What has become of a login that took its time. */
export interface Login {
  readonly name: string;
  readonly right: boolean;
}

interface Failures {
  count: number;
  lastMs: number;
}

/** One line of ACL LOG. */
interface Refused {
  count: number;
  readonly reason: "command" | "key" | "channel" | "auth";
  readonly context: "toplevel" | "multi";
  readonly object: string;
  readonly user: string;
  atMs: number;
  readonly firstMs: number;
  readonly id: number;
  client: string;
}

interface Question {
  readonly user: User;
  readonly password: Uint8Array;
  readonly done: (right: boolean) => void;
}

/** What a list of users says of who does not log in, if it does not say it. */
const NOBODY: UserConfig = { name: DEFAULT, secret: { kind: "none" }, rules: ["off"], scripts: false };

export class PoolUsers {
  private byName = new Map<string, User>();
  private anybody!: User;
  private readonly failures = new Map<string, Failures>();
  private readonly refusals: Refused[] = [];
  private refusedEver = 0;
  private hashing = 0;
  private readonly questions: Question[] = [];
  private readonly key = crypto().randomBytes(32);
  private linesMs = -Infinity;
  private lines = 0;
  private unsaid = 0;

  constructor(private readonly pool: Pool) {
    this.adopt(pool.config);
  }

  /** The pool has other users. Those that are the same stay the same objects; of others what is known of a password that stays is kept. */
  adopt({ users, redisAuth }: PoolConfig): void {
    const before = this.byName;
    this.byName = new Map();
    for (
      const config of [
        ...users ?? [],
        ...users?.some(({ name }) => name === DEFAULT) ? [] : [implied(redisAuth)],
      ]
    ) {
      const bytes = encode(config.name);
      const name = latin1(bytes);
      const old = before.get(name);
      if (old?.written === JSON.stringify(config)) {
        this.byName.set(name, old);
        continue;
      }
      const user = new User(name, config.secret, parseRules(config.rules, config.scripts), config);
      if (old !== undefined && JSON.stringify(old.secret) === JSON.stringify(user.secret)) {
        user.known = old.known;
      }
      this.byName.set(name, user);
    }
    this.anybody = this.byName.get(DEFAULT)!;
  }

  /** Who does not log in. */
  get default(): User {
    return this.anybody;
  }

  find(name: string): User | undefined {
    return this.byName.get(name);
  }

  get all(): Iterable<User> {
    return this.byName.values();
  }

  // ---- logging in

  /**
   * May this client be that user?
   * @param password borrowed
   * @returns null if the client now waits, and has to offer its request again
   */
  login(client: Client, session: RedisSession, name: string, password: Uint8Array): boolean | null {
    const { login } = session;
    if (login !== null) {
      session.login = null;
      // Meanwhile a reload may have taken the user away.
      return login.right && login.name === name && this.byName.get(name)?.rules.enabled === true;
    }
    const user = this.byName.get(name);
    if (user === undefined || !user.rules.enabled) return this.failed(client, session, name);
    const { secret } = user;
    switch (secret.kind) {
      case "none":
        return this.failed(client, session, name);
      case "nopass":
        return true;
      case "sha256":
        return isSha256(password, secret.hex) || this.failed(client, session, name);
      case "scrypt":
        return this.askSlowly(client, session, user, password);
    }
  }

  private askSlowly(client: Client, session: RedisSession, user: User, password: Uint8Array): boolean | null {
    const digest = crypto().createHmac("sha256", this.key).update(password).digest();
    if (user.known !== null && crypto().timingSafeEqual(user.known, digest)) return true;
    if (this.questions.length >= WAITING_MAX) return this.failed(client, session, user.name);
    client.block(LEARNING);
    this.questions.push({
      user,
      password: password.slice(),
      done: (right) => {
        if (right) user.known = digest;
        if (client.closed) return;
        if (right) this.answer(client, session, user.name, true);
        else if (this.failed(client, session, user.name) === false) {
          this.answer(client, session, user.name, false);
        }
      },
    });
    this.askNext();
    return null;
  }

  private askNext(): void {
    if (this.hashing >= HASHING_MAX || this.questions.length === 0) return;
    const { user, password, done } = this.questions.shift()!;
    this.hashing++;
    verifyPassword((user.secret as UserSecret & { kind: "scrypt" }).text, password, (right) => {
      this.hashing--;
      if (this.pool.stopped) return;
      // It comes from another thread, in no turn.
      this.pool.setTimer(0, () => {
        done(right);
        this.askNext();
      });
    });
  }

  private answer(client: Client, session: RedisSession, name: string, right: boolean): void {
    session.login = { name, right };
    client.unblock(LEARNING);
  }

  /** @returns false at once, or null if that is told later */
  private failed(client: Client, session: RedisSession, name: string): false | null {
    this.pool.counters[AUTH_FAILURES]!++;
    const address = client.peer().replace(/:[0-9]+$/, "");
    this.tell(`client ${client.peer()} failed to log in as '${readable(name)}'`);
    const delayMs = this.delayOf(address);
    this.note("auth", "toplevel", "AUTH", name, session);
    if (delayMs === 0) return false;
    client.block(LEARNING);
    this.pool.setTimer(delayMs, () => {
      if (!client.closed) this.answer(client, session, name, false);
    });
    return null;
  }

  private delayOf(address: string): number {
    const { failures } = this;
    const nowMs = this.pool.turn.now();
    const known = failures.get(address);
    const count = known === undefined || nowMs - known.lastMs > FORGET_MS ? 1 : known.count + 1;
    failures.delete(address);
    if (failures.size >= ADDRESSES_MAX) failures.delete(failures.keys().next().value!);
    failures.set(address, { count, lastMs: nowMs });
    return count === 1 ? 0 : Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** Math.min(count - 2, 10));
  }

  private tell(text: string): void {
    const { log, config, turn } = this.pool;
    const write = (line: string) => log.write(NOTICE, `pool '${config.name}': ${line}`);
    const nowMs = turn.now();
    if (nowMs - this.linesMs >= 1000) {
      if (this.unsaid > 0) write(`${this.unsaid} more logins failed`);
      this.linesMs = nowMs;
      this.lines = this.unsaid = 0;
    }
    if (this.lines++ < LINES_MAX) write(text);
    else this.unsaid++;
  }

  // ---- ACL LOG

  /** Something has been refused. @param object the command, key or channel, each byte a character @param user the session's if null */
  note(
    reason: Refused["reason"],
    context: Refused["context"],
    object: string,
    user: string,
    session: RedisSession,
  ): void {
    const atMs = this.pool.clock.wallMs();
    const cut = object.slice(0, OBJECT_MAX);
    const at = this.refusals.findIndex((each) =>
      each.reason === reason && each.context === context && each.object === cut && each.user === user &&
      atMs - each.atMs <= GROUP_MS
    );
    const client = session.line();
    if (at >= 0) {
      const [same] = this.refusals.splice(at, 1);
      same!.count++;
      same!.atMs = atMs;
      same!.client = client;
      this.refusals.unshift(same!);
      return;
    }
    const name = user.slice(0, OBJECT_MAX);
    this.refusals.unshift({
      count: 1,
      reason,
      context,
      object: cut,
      user: name,
      atMs,
      firstMs: atMs,
      id: this.refusedEver++,
      client,
    });
    if (this.refusals.length > LOG_MAX) this.refusals.pop();
  }

  /** The reply to ACL LOG: the newest first. */
  writeLog(reply: ReplyWriter, most: number): void {
    const nowMs = this.pool.clock.wallMs();
    const shown = this.refusals.slice(0, most);
    reply.array(shown.length);
    for (const each of shown) {
      reply.map(10).bulk("count").integer(each.count).bulk("reason").bulk(each.reason)
        .bulk("context").bulk(each.context).bulk("object").bulkLatin1(each.object)
        .bulk("username").bulkLatin1(each.user)
        .bulk("age-seconds").double(Math.max(0, nowMs - each.atMs) / 1000)
        .bulk("client-info").bulkLatin1(each.client)
        .bulk("entry-id").integer(each.id)
        .bulk("timestamp-created").integer(Math.floor(each.firstMs))
        .bulk("timestamp-last-updated").integer(Math.floor(each.atMs));
    }
  }

  clearLog(): void {
    this.refusals.length = 0;
  }

  /** Bytes of memory, about. */
  get holdsBytes(): number {
    return this.refusals.length * 1024 + this.failures.size * 128;
  }
}

/** Who does not log in, where the list does not say it: with redis_auth as ever, else nobody. */
function implied(redisAuth: Uint8Array | null): UserConfig {
  if (redisAuth === null) return NOBODY;
  const hex = crypto().createHash("sha256").update(redisAuth).digest("hex");
  return { name: DEFAULT, secret: { kind: "sha256", hex }, rules: ["+@all ~* &*"], scripts: true };
}

function isSha256(password: Uint8Array, hex: string): boolean {
  return crypto().timingSafeEqual(
    encode(crypto().createHash("sha256").update(password).digest("hex")),
    encode(hex),
  );
}

/** A name that a client has sent, for the log: one line, and not all of a long one. */
function readable(name: string): string {
  return name.slice(0, 64).replace(/[^ -~]/g, "?");
}
