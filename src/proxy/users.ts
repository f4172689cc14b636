/**
 * The users of a pool: who they are, what they may do, how they log in, and what has been refused of late.
 *
 *   AUTH, HELLO AUTH ──► login ──┬─ right      the session becomes that user
 *                                ├─ wrong      counted, logged, told after a while that grows with the address's failures
 *                                └─ null       the client waits (a slow hash, or that while), and offers its request again
 *
 * A pool without `users` has none of this. All of it is one thread's, its own ACL LOG too, but how often an address has failed: that all
 * workers count together (stats/board.ts).
 */
import { builtin } from "../bytes/builtin.ts";
import { encode, latin1 } from "../bytes/ascii.ts";
import type { PoolConfig, UserConfig, UserSecret } from "../config/config.ts";
import { verifyPassword } from "../config/password_hash.ts";
import { ipOfPeer, unmapped } from "../net/ip_range.ts";
import { NOTICE } from "../net/log.ts";
import { type AclRules, parseRules } from "../protocol/redis/acl_rules.ts";
import { type Client, LOGIN } from "./client.ts";
import { type Part, whoOf } from "./limits.ts";
import type { Pool } from "./pool.ts";
import { AUTH_FAILURES } from "../stats/metrics.ts";
import { LOCAL, type Rates, USER, type Who } from "../stats/quotas.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

export const DEFAULT = "default";

/** Slow hashes that are made at a time, of a thread. */
const HASHING_MAX = 2;
/** … and that wait for it. Beyond, a login fails. */
const WAITING_MAX = 1024;
/** What an address's second failure in a row waits; each further one twice as long. */
const DELAY_MIN_MS = 100;
const DELAY_MAX_MS = 2000;
/**
 * Logins of an address that may be open at a time: further ones, right or wrong, are looked at when one of them is told. Thus many connections
 * guess no faster than so many. Of several workers each has its part, so that none waits for another.
 */
const OPEN_MAX = 16;
/** What a stranger can send: a longer password is nobody's. */
const PASSWORD_MAX = 16 * 1024;
/** Of a login that waits, beside its password. */
const ATTEMPT_BYTES = 256;
const NOTHING = new Uint8Array(0);
const LOCAL_WHO: Who = { kind: LOCAL, high: 0, low: 0 };
/** Failures that are told one by one in a second. */
const LINES_MAX = 5;
/** Names of a certificate that are in the line about it. */
const NAMES_TOLD = 4;
/** As redis-server's acllog-max-len. */
const LOG_MAX = 128;
/** The same is counted, not told again, for so long. */
const GROUP_MS = 60_000;
/** Of a key, a channel or a name. */
const OBJECT_MAX = 256;

export class User {
  /** What its requests are asked about; null: it may do everything, and nobody asks. */
  readonly rights: AclRules | null;
  /** Null: those of per_user. */
  readonly limits: Rates | null;
  /** By which a reload sees that it is the same. */
  readonly written: string;
  /** By which it sees that the rules are. */
  readonly rulesText: string;
  /** By which it sees that the password is the same. */
  readonly secretText: string;
  /** Of the last password that the slow hash has said is right, with a key of this process. */
  known: Uint8Array | null = null;
  /** What its clients may do together; null: as much as they like, undefined: not looked at. */
  part: Part | null | undefined = undefined;

  /** @param name each byte a character */
  constructor(
    readonly name: string,
    readonly secret: UserSecret,
    readonly rules: AclRules,
    config: UserConfig,
  ) {
    this.rights = rules.unrestricted ? null : rules;
    this.limits = config.limits;
    this.written = JSON.stringify(config);
    this.rulesText = rulesText(config);
    this.secretText = JSON.stringify(secret);
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
  /** `User.secretText` of the password that was right. */
  readonly secretText: string;
}

/** An address of which logins are open, or wait. */
interface Origin {
  readonly who: Who;
  /** Logins that are looked at slowly, or were wrong and have not been told so. */
  open: number;
  /** Logins that nobody has looked at. */
  readonly waiting: Attempt[];
}

/** Where it is kept, of whoever logs in: of a Redis or a memcached client. */
export interface LoginSession {
  login: Login | null;
  /** Who the client is, in words, for ACL LOG. */
  line(): string;
}

interface Attempt {
  readonly client: Client;
  readonly session: LoginSession;
  readonly origin: Origin;
  readonly name: string;
  /** Its own if it waits, else borrowed. */
  readonly password: Uint8Array;
}

/** One line of ACL LOG. */
export interface Refused {
  count: number;
  readonly reason: "command" | "key" | "channel" | "auth" | "tls-cert";
  readonly context: "toplevel" | "multi";
  readonly object: string;
  readonly user: string;
  atMs: number;
  readonly firstMs: number;
  readonly id: number;
  client: string;
}

interface Question {
  readonly hash: string;
  readonly password: Uint8Array;
  readonly done: (right: boolean) => void;
}

/** What a list of users says of who does not log in, if it does not say it. */
const NOBODY: UserConfig = {
  name: DEFAULT,
  secret: { kind: "none" },
  rules: ["off"],
  scripts: false,
  limits: null,
};

export class PoolUsers {
  private byName = new Map<string, User>();
  private anybody!: User;
  /** By `keyOf`. */
  private readonly origins = new Map<string, Origin>();
  /** Whose logins nobody has looked at. */
  private readonly inLine = new Set<LoginSession>();
  private readonly openMax: number;
  /** The slow hashes of its users. */
  private slow: readonly string[] = [];
  /** Of logins that wait. */
  private heldBytes = 0;
  private readonly refusals: Refused[] = [];
  private refusedEver = 0;
  private hashing = 0;
  private readonly questions: Question[] = [];
  private readonly key = crypto().randomBytes(32);
  private linesMs = -Infinity;
  private lines = 0;
  private unsaid = 0;

  constructor(private readonly pool: Pool) {
    this.openMax = Math.max(1, Math.floor(OPEN_MAX / pool.board.workers));
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
        old.part = undefined;
        this.byName.set(name, old);
        continue;
      }
      // Other rights than before are told; another password or limit makes none.
      const rules = old?.rulesText === rulesText(config)
        ? old.rules
        : parseRules(config.rules, config.scripts);
      const user = new User(name, config.secret, rules, config);
      if (old?.secretText === user.secretText) user.known = old.known;
      this.byName.set(name, user);
    }
    this.anybody = this.byName.get(DEFAULT)!;
    this.slow = [...this.byName.values()].flatMap(({ secret }) =>
      secret.kind === "scrypt" ? [secret.text] : []
    );
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

  /** What clients of the user are one of, for limits; null: it has none. */
  partOf(user: User): Part | null {
    return user.part === undefined ? user.part = this.makePart(user) : user.part;
  }

  private makePart({ name, limits }: User): Part | null {
    const { limits: all, config: { perUser } } = this.pool;
    const measure = limits === null
      ? all.measureOf("per_user", perUser)
      : all.measureOf(`user ${readable(name)}`, limits);
    if (measure === null) return null;
    const digest = crypto().createHash("sha256").update(name, "latin1").digest();
    return { who: { kind: USER, high: digest.readInt32LE(0), low: digest.readInt32LE(4) }, measure };
  }

  // ---- logging in

  /**
   * Who this client is from the start, and after a RESET: the user of its certificate, else whoever does not log in.
   * @param comes it has just connected: that its certificate is nobody's is counted and said
   * @returns whether that is proven by the certificate as well
   */
  first(
    client: Client,
    session: LoginSession,
    comes: boolean,
  ): { readonly user: User; readonly certified: boolean } {
    const { certifiedNames } = client.socket;
    if (certifiedNames !== undefined) {
      for (const name of certifiedNames) {
        const user = this.byName.get(name);
        if (user?.rules.enabled) return { user, certified: true };
      }
      if (comes) this.isNobodys(client, session, certifiedNames);
    }
    return { user: this.anybody, certified: false };
  }

  private isNobodys(client: Client, session: LoginSession, names: readonly string[]): void {
    this.pool.counters[AUTH_FAILURES]!++;
    const shown = names.slice(0, NAMES_TOLD).map((name) =>
      `'${readable(name)}'${this.byName.has(name) ? ", a user that is off" : ""}`
    );
    const text = names.length === 0 ? `no ${this.pool.config.tls?.userFrom ?? "name"}` : shown.join(", ");
    this.tell(`client ${client.peer()} is not logged in: no user has its certificate, with ${text}`);
    this.note("tls-cert", "toplevel", "", names[0] ?? "", session);
  }

  /**
   * May this client be that user?
   * @param password borrowed
   * @returns null if the client now waits, and has to offer its request again
   */
  login(client: Client, session: LoginSession, name: string, password: Uint8Array): boolean | null {
    const { login } = session;
    if (login !== null) {
      session.login = null;
      // Meanwhile a reload may have taken the user away, or given it another password.
      const user = this.byName.get(name);
      return login.right && login.name === name && user?.rules.enabled === true &&
        user.secretText === login.secretText;
    }
    const origin = this.originOf(client);
    const attempt = { client, session, origin, name, password };
    const waits = origin.open >= this.openMax;
    const right = waits ? null : this.look(attempt);
    if (waits) {
      const kept = password.length > PASSWORD_MAX ? NOTHING : password.slice();
      origin.waiting.push({ ...attempt, password: kept });
      this.inLine.add(session);
      this.heldBytes += kept.length + ATTEMPT_BYTES;
    }
    if (right === null) client.block(LOGIN);
    else this.forgetIdle(origin);
    return right;
  }

  /**
   * Does its login wait for others of its address? Then who hangs up is gone: whoever tries again and again with a wrong password, and does
   * not wait for the answer, would leave more connections than are ever looked at.
   */
  keepsWaiting(session: LoginSession): boolean {
    return this.inLine.has(session);
  }

  /** Is it right? @returns null if `answer` tells it later */
  private look(attempt: Attempt): boolean | null {
    const { name, password } = attempt;
    const user = this.byName.get(name);
    const secret = user?.rules.enabled ? user.secret : null;
    if (password.length > PASSWORD_MAX) return this.failed(attempt);
    if (secret?.kind === "nopass") return true;
    if (secret?.kind === "sha256" && isSha256(password, secret.hex)) return true;
    if (secret?.kind !== "scrypt") {
      // Whoever measures how long it takes is not to learn which names there are: what is wrong is as slow for all.
      const decoy = this.decoyFor(name);
      return decoy === null ? this.failed(attempt) : this.askSlowly(attempt, null, decoy);
    }
    const { known } = user!;
    if (known !== null && crypto().timingSafeEqual(known, this.digestOf(password))) return true;
    return this.askSlowly(attempt, user!, secret.text);
  }

  private digestOf(bytes: Uint8Array): Uint8Array {
    return crypto().createHmac("sha256", this.key).update(bytes).digest();
  }

  /** A slow hash of somebody's, the same one for a name each time; null if the pool has none. */
  private decoyFor(name: string): string | null {
    const { slow } = this;
    if (slow.length === 0) return null;
    const digest = this.digestOf(encode(name));
    return slow[(digest[0]! << 8 | digest[1]!) % slow.length]!;
  }

  /** @param user null: whatever the hash says it is wrong */
  private askSlowly(attempt: Attempt, user: User | null, hash: string): boolean | null {
    if (this.questions.length >= WAITING_MAX) return this.failed(attempt);
    const { origin } = attempt;
    const password = attempt.password.slice();
    const bytes = password.length + ATTEMPT_BYTES;
    const secretText = user?.secretText ?? "";
    origin.open++;
    this.heldBytes += bytes;
    this.questions.push({
      hash,
      password,
      done: (is) => {
        origin.open--;
        this.heldBytes -= bytes;
        const right = is && user !== null;
        if (right) {
          if (user.secretText === secretText) user.known = this.digestOf(password);
          this.answer(attempt, true, secretText);
        } else if (this.failed(attempt) === false) this.answer(attempt, false);
        this.lookAtNext(origin);
      },
    });
    this.askNext();
    return null;
  }

  private askNext(): void {
    if (this.hashing >= HASHING_MAX || this.questions.length === 0) return;
    const { hash, password, done } = this.questions.shift()!;
    this.hashing++;
    verifyPassword(hash, password, (right) => {
      this.hashing--;
      if (this.pool.stopped) return;
      // It comes from another thread, in no turn.
      this.pool.setTimer(0, () => {
        done(right);
        this.askNext();
      });
    });
  }

  /** Tells a client that waits. */
  private answer(
    { client, session, name }: Attempt,
    right: boolean,
    secretText = this.secretTextOf(name),
  ): void {
    if (client.closed) return;
    session.login = { name, right, secretText };
    client.unblock(LOGIN);
  }

  private secretTextOf(name: string): string {
    return this.byName.get(name)?.secretText ?? "";
  }

  /** @returns false at once, or null if that is told later; until then it counts among its address's open ones */
  private failed(attempt: Attempt): false | null {
    const { client, session, origin, name } = attempt;
    this.pool.counters[AUTH_FAILURES]!++;
    this.tell(`client ${client.peer()} failed to log in as '${readable(name)}'`);
    const delayMs = this.delayOf(origin);
    this.note("auth", "toplevel", "AUTH", name, session);
    if (delayMs === 0) return false;
    origin.open++;
    this.pool.setTimer(delayMs, () => {
      origin.open--;
      this.answer(attempt, false);
      this.lookAtNext(origin);
    });
    return null;
  }

  /** Of those of an address that wait to be looked at, as many as may be. */
  private lookAtNext(origin: Origin): void {
    while (origin.open < this.openMax && origin.waiting.length > 0) {
      const attempt = origin.waiting.shift()!;
      this.heldBytes -= attempt.password.length + ATTEMPT_BYTES;
      this.inLine.delete(attempt.session);
      if (attempt.client.closed) continue;
      const right = this.look(attempt);
      if (right !== null) this.answer(attempt, right);
    }
    this.forgetIdle(origin);
  }

  private originOf(client: Client): Origin {
    const ip = ipOfPeer(client.peer());
    const who = ip === null ? LOCAL_WHO : whoOf(unmapped(ip));
    const key = keyOf(who);
    let origin = this.origins.get(key);
    if (origin === undefined) this.origins.set(key, origin = { who, open: 0, waiting: [] });
    return origin;
  }

  private forgetIdle({ who, open, waiting }: Origin): void {
    if (open === 0 && waiting.length === 0) this.origins.delete(keyOf(who));
  }

  private delayOf({ who }: Origin): number {
    const { failures, board, worker, limits } = this.pool;
    const count = failures.inARow(board.id, who, worker, limits.nowMs());
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
    session: LoginSession,
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

  /** At most so many, the newest first. */
  refused(most: number): readonly Readonly<Refused>[] {
    return this.refusals.slice(0, most);
  }

  clearLog(): void {
    this.refusals.length = 0;
  }

  /** Bytes of memory, about. */
  get holdsBytes(): number {
    return this.refusals.length * 1024 + this.origins.size * 256 + this.heldBytes;
  }
}

/** Who does not log in, where the list does not say it: with redis_auth as ever, else nobody. */
function implied(redisAuth: Uint8Array | null): UserConfig {
  if (redisAuth === null) return NOBODY;
  const hex = crypto().createHash("sha256").update(redisAuth).digest("hex");
  return {
    name: DEFAULT,
    secret: { kind: "sha256", hex },
    rules: ["+@all ~* &*"],
    scripts: true,
    limits: null,
  };
}

function rulesText({ rules, scripts }: UserConfig): string {
  return JSON.stringify([rules, scripts]);
}

function isSha256(password: Uint8Array, hex: string): boolean {
  return crypto().timingSafeEqual(
    encode(crypto().createHash("sha256").update(password).digest("hex")),
    encode(hex),
  );
}

function keyOf({ kind, high, low }: Who): string {
  return `${kind} ${high} ${low}`;
}

/** A name that a client has sent, for the log: one line, and not all of a long one. */
function readable(name: string): string {
  return name.slice(0, 64).replace(/[^ -~]/g, "?");
}
