/**
 * Redis between clients and servers: takes requests off a client's bytes and sends each where its route says.
 *
 *   bytes ──scanRequest──► args ──findCommand──► Command ──route──► one server | fragments | every server | answer here
 *
 * The way of a GET is `step` → `take` (request_run.ts), or `dispatch` → `forward` if somebody looks at it: no object but its Request is made.
 */
import { encode, equals, latin1, startsWith } from "../bytes/ascii.ts";
import { isUnheard, type PoolConfig } from "../config/config.ts";
import { answer, helloUserAt, type Host, WRONGPASS } from "../protocol/redis/answers.ts";
import { Args } from "../protocol/redis/args.ts";
import { checkArity, type Command, FINDER, FLAG, needsAuth, ROUTE } from "../protocol/redis/command.ts";
import { findCommand, resolve, resolveAt } from "../protocol/redis/commands.ts";
import type { ClientView } from "../protocol/redis/client_view.ts";
import { command } from "../protocol/redis/encode.ts";
import {
  arityError,
  crossSlot,
  CROSSSLOT_SLOTS,
  errorReply,
  functionListError,
  isRefused,
  NOAUTH,
  refusal,
  SYNTAX_ERROR,
  tooManyError,
  unknownError,
} from "../protocol/redis/errors.ts";
import { isClientHello } from "../protocol/client_hello.ts";
import { isHttpWord } from "../protocol/http.ts";
import { shiftDatabases } from "../protocol/redis/database.ts";
import { inlineToArray, scanInline } from "../protocol/redis/inline.ts";
import { joinEvery, joinOk, joinSum, joinValues } from "../protocol/redis/join.ts";
import { blocks, findKeys, KeyList, keysError } from "../protocol/redis/keys.ts";
import { OK, ReplyWriter } from "../protocol/redis/reply_writer.ts";
import { isPush, ReplyResume, scanReply, wholeScalar } from "../protocol/redis/reply.ts";
import {
  BAD_QUOTES,
  expectedSize,
  INLINE,
  NEED_MORE,
  noteArguments,
  requestError,
  type RequestLimits,
  RequestResume,
  scanRequest,
  skimRequest,
  TOO_LARGE,
  TOO_MANY_ARGUMENTS,
} from "../protocol/redis/request.ts";
import { shownWords } from "../protocol/redis/shown_words.ts";
import { patternError } from "../protocol/redis/sort_patterns.ts";
import { redisWords } from "../protocol/slow_words.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { SLOTS } from "../ring/slots.ts";
import { CLASS_OTHER, CLASS_READ, CLASS_TRANSACTION, CLASS_WRITE } from "../stats/latency.ts";
import {
  LIMIT_MEMORY,
  LIMIT_REQUEST,
  PROTOCOL_ERROR,
  REQUESTS_FORBIDDEN,
  REQUESTS_TOTAL,
} from "../stats/metrics.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import { TLS_ON_PLAIN_PORT } from "../proxy/http_guard.ts";
import type { Visit } from "../proxy/ejection.ts";
import { type Failure, NO_LIVE_SERVER_TEXT } from "../proxy/failures.ts";
import { type Front, type Greeting, PRIMARY, REPLICA, type ReplyScan } from "../proxy/front.ts";
import { DEMOTED, Illnesses, REQUEST } from "../proxy/illness.ts";
import { MEMORY_FULL_TEXT } from "../proxy/memory.ts";
import { type Pool, TOO_MANY_CLIENTS } from "../proxy/pool.ts";
import { answerAcl, isAcl } from "./acl.ts";
import { CommandLearner } from "./learn.ts";
import { RedisSession, REPLIES_OFF, REPLIES_ON, REPLIES_SKIP_NEXT, REPLIES_SKIPPING } from "./session.ts";
import type { ClientQuestion, Told } from "../proxy/client_question.ts";
import { answerQuestion, viewOf } from "./clients.ts";
import { sendApart } from "./errand.ts";
import type { PoolIdentity } from "./identity.ts";
import { LargeRequest } from "./large.ts";
import { RedisModes, type Sender } from "./modes.ts";
import { ACROSS, ownerOfKeys } from "./places.ts";
import { forbidden, sortForbidden } from "./permit.ts";
import { Preparation } from "./preparation.ts";
import { Scripts } from "./scripts.ts";
import { ENDED_HEARING, hearsForbidden } from "./pubsub.ts";
import { PoolReads } from "./reads.ts";
import { PoolRedirects } from "./redirect.ts";
import { RequestRuns } from "./request_run.ts";
import { SLICE_BYTES, SlicedRequest } from "./slices.ts";
import { placeSlots, sendSlots } from "./slot_split.ts";
import { answerSlowLog, SLOWLOG_COMMANDS } from "./slow_log.ts";
import { anyNode, everyServer, MANY, NONE_LIVE, placeKeys, sendEverywhere, sendFragments } from "./split.ts";
import { Walk, WALK_ARGUMENTS } from "./walk.ts";
import { Request } from "../proxy/request.ts";
import type { Tap } from "../stats/tapped.ts";
import { KEYS_COUNTED, type Seen } from "../proxy/seen.ts";
import { HAD_ENOUGH, type Measure, MEMORY_FULL, type Part } from "../proxy/limits.ts";
import { refuse, sendRead, sendTo } from "../proxy/fan_out.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { type Joiner, SCRATCH } from "../proxy/split.ts";
import { DEFAULT, PoolUsers, type User } from "../proxy/users.ts";

const args = new Args();
const keyList = new KeyList();

/** What a client may send before it has given the password: as in Redis, but 16 KiB for all of a request. */
const STRANGER_LIMITS: RequestLimits = { requestSizeMax: 16 * 1024, argumentsMax: 10 };
const STRANGER_IDLE_MS = 30_000;
/** Most arguments of a request whose options are read here. */
const READ_HERE_MAX = 4096;
/** Name, key, and one more. */
const NOTED_FIRST = 3;
/** Whoever is refused one of these would be left in a state that he does not know of. */
const NEVER_REFUSED: ReadonlySet<string> = new Set([
  "MULTI",
  "EXEC",
  "DISCARD",
  "UNWATCH",
  "UNSUBSCRIBE",
  "PUNSUBSCRIBE",
  "SUNSUBSCRIBE",
]);
const LF = 10;
const DOLLAR = 36;
const PLUS = 43;
const MINUS = 45;
const COLON = 58;
/** Of a pool with users; redis_auth's is twemproxy's. */
const NOAUTH_USERS = errorReply("NOAUTH Authentication required.");
const WRONGPASS_REPLY = errorReply(WRONGPASS);
const AUTH_NOPASS = errorReply(
  "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
/** The argument of SET that is the value; behind it are options. */
const SET_VALUE = 2;
/** A request of fewer bytes waits for nobody else's. */
const BULKY = 64 * 1024;

/** Requests without a key all go to the server that owns this key, as with twemproxy. */
const PLACEHOLDER = encode("placeholder");

const JOIN_VALUES: Joiner = (split) => joinValues(split.replies, split.owners, SCRATCH);
const JOIN_OK: Joiner = (split) => joinOk(split.replies);
const JOIN_SUM: Joiner = (split) => joinSum(split.replies);
const JOIN_EVERY: Joiner = (split) => joinEvery(split.replies, split.detail);

export class RedisFront implements Front, Sender {
  /** The arguments of the request at hand. */
  readonly args: Args = args;
  readonly probe: Uint8Array = command("PING");
  /** Set while a request of very many arguments is dispatched: what is known of its keys. */
  prepared: Preparation | null = null;
  private limits: RequestLimits;
  /** Requests with more arguments go out in slices. */
  private readonly sliceArguments: number;
  /** Requests with more arguments are walked, if they are of that kind. */
  private readonly walkArguments: number;
  private config: PoolConfig;
  /** Of the pool when it was looked at last. */
  private epoch = 0;
  private readonly learner: CommandLearner;
  private readonly modes: RedisModes;
  /** Where clients connect, as CLIENT LIST says it. */
  private readonly local: string;
  private readonly anyAddress: boolean;
  /** Null if no server ever leaves the ring, or joins. */
  private scripts: Scripts | null;
  private readonly seen: Seen;
  private readonly runs: RequestRuns;
  /** The last of its client's queue before the request that is looked at came. */
  private before: Request | null = null;
  readonly noLiveServer: Uint8Array;
  /** No node of the cluster has been heard yet: what is for all of them would reach some. */
  private unlearned: boolean;
  private readonly memoryFull: Uint8Array;
  /** retry_reads. */
  private keepsReads = false;
  /** DEMOTED where another may take a server's place, else 0. */
  private demoted = 0;
  /** Null if all reads go to primaries. */
  private reads: PoolReads | null;
  /** Null where nobody says that another server has a key. */
  redirects: PoolRedirects | null;
  /** Null if everybody may do everything. */
  private users: PoolUsers | null;

  constructor(
    private readonly pool: Pool,
    private readonly host: Host,
    private readonly identity: PoolIdentity,
  ) {
    this.config = pool.config;
    this.limits = pool.config;
    this.demoted = pool.replaceable || pool.cluster ? DEMOTED : 0;
    this.keepsReads = pool.config.retryReads;
    this.reads = this.readsOf(pool.config);
    this.redirects = this.redirectsOf(pool);
    this.users = pool.config.users === null ? null : new PoolUsers(pool);
    this.sliceArguments = pool.sliceArguments;
    this.walkArguments = Math.min(WALK_ARGUMENTS, pool.sliceArguments);
    this.learner = new CommandLearner(pool);
    this.modes = new RedisModes(pool, this, host);
    const { listen, listenText } = pool.config;
    this.local = "path" in listen ? `${listen.path}:0` : listenText;
    this.anyAddress = "host" in listen && (ANY_HOSTS.has(listen.host) || !IP.test(listen.host));
    this.scripts = pool.tellsScripts ? new Scripts(pool) : null;
    this.seen = pool.seen;
    this.runs = new RequestRuns(pool, args, this);
    this.unlearned = isUnheard(pool.config);
    this.noLiveServer = this.errorReply(NO_LIVE_SERVER_TEXT);
    this.memoryFull = this.errorReply(MEMORY_FULL_TEXT);
  }

  private redirectsOf(pool: Pool): PoolRedirects | null {
    if (!pool.cluster) return null;
    return new PoolRedirects(
      pool,
      (reply, start, end, request) => this.scripts?.lacking(reply, start, end, request) ?? null,
      (on, requests) => this.scripts?.named(on, requests) ?? [],
      (on, functions) => this.scripts?.librariesOf(on, functions) ?? [],
      (request, args) => this.known(request, args),
      (on) => this.scripts?.untold(on),
    );
  }

  private readsOf({ readFrom }: PoolConfig): PoolReads | null {
    return readFrom === "primary" ? null : new PoolReads(this.pool, this.host.zone ?? null);
  }

  newSession(client: Client): RedisSession {
    const open = this.users === null && this.config.redisAuth === null;
    const session = new RedisSession(client, open, this.pool.clock.wallMs(), this.local, this.anyAddress);
    session.open = open;
    session.readFrom(this.reads);
    return session;
  }

  admit(client: Client): Measure | null {
    return this.users === null ? null : this.begin(this.users, client.session as RedisSession, true);
  }

  partOf(client: Client): Part | null {
    const { user: name, authenticated } = client.session as RedisSession;
    const user = authenticated ? this.users?.find(name) : undefined;
    return user === undefined ? null : this.users!.partOf(user);
  }

  /** It is whoever it is without AUTH. @returns as `becomes` */
  private begin(users: PoolUsers, session: RedisSession, comes: boolean): Measure | null {
    const { user, certified } = users.first(session.client, session, comes);
    return this.becomes(users, session, user, certified || user.isOpen, !certified && user.isOpen);
  }

  /**
   * RedisSession.become, if there are not as many of that user as may be.
   * @returns that of which there are: it is who it was; null: it is
   */
  private becomes(
    users: PoolUsers,
    session: RedisSession,
    user: User,
    authenticated: boolean,
    open: boolean,
  ): Measure | null {
    const full = this.pool.limits.changeUser(session.client, authenticated ? users.partOf(user) : null);
    if (full === null) session.become(user, authenticated, open);
    return full;
  }

  /** What a login reads that is one too many of its user. */
  private tooMany(client: Client, full: Measure): Uint8Array {
    this.pool.isTooMany(client, full);
    return errorReply(`ERR ${TOO_MANY_CLIENTS}: ${full.tooMany}`);
  }

  // ---- requests

  step(client: Client, bytes: Uint8Array, start: number, end: number): number {
    const session = client.session as RedisSession;
    if (session.large !== null && session.large.hungry) return session.large.take(bytes, start, end);
    const { runs } = this;
    const resume = session.resume;
    const limits = session.authenticated ? this.limits : STRANGER_LIMITS;
    runs.scanned = 0;
    runs.found = undefined;
    if (session.short && this.pool.refusing === 0 && resume.count === 0) {
      const at = runs.take(client, session, bytes, start, end, limits);
      if (at > start) return at;
    }
    const next = runs.scanned !== 0
      ? runs.scanned
      : resume.count > this.sliceArguments
      ? this.scanMany(session, bytes, start, end, limits)
      : scanRequest(bytes, start, end, args, limits, resume);
    if (next >= 0) {
      const isBulky = next - start >= BULKY;
      // It was to stream, and has arrived whole while its node was looked for: that has been found for nothing.
      if (isBulky) session.place = null;
      if (args.count > this.sliceArguments) return this.stepMany(client, session, bytes, start, next);
      const refused = this.pool.refusing !== 0 && this.refuseWork(client, session, bytes);
      if (isBulky && !refused && this.isHeldUp(client, session, bytes, next - start)) return NEED_MORE;
      if (refused || args.count === 0) return next;
      const command = runs.found ?? findCommand(bytes, args.starts[0]!, args.ends[0]!);
      return this.dispatch(client, session, command, bytes, start, next) ? next : NEED_MORE;
    }
    if (next === NEED_MORE) {
      if (
        resume.needed - (end - start) >= this.pool.streamMin && session.plain &&
        (this.pool.refusing & HAD_ENOUGH) === 0
      ) {
        return this.stepLarge(client, session, bytes, start, end);
      }
      client.lacks(resume.needed, expectedSize(resume, limits));
      return NEED_MORE;
    }
    if (next === INLINE) return this.stepInline(client, session, bytes, start, end);
    return this.refuseBytes(client, next);
  }

  passed(client: Client, count: number): void {
    (client.session as RedisSession).large!.passed(count);
  }

  /** Goes on with a request of very many arguments. When it is all here, only its first arguments are in `args`. */
  private scanMany(
    session: RedisSession,
    bytes: Uint8Array,
    start: number,
    end: number,
    limits: RequestLimits,
  ): number {
    const { resume, preparation } = session;
    const { count } = resume;
    const next = preparation !== null
      ? start + preparation.size
      : skimRequest(bytes, start, end, args, limits, resume);
    if (next < 0) return next;
    const first = bytes.indexOf(LF, start) + 1;
    noteArguments(bytes, first, 0, Math.min(count, NOTED_FIRST), 1, Infinity, args);
    args.count = count;
    return next;
  }

  /** As the end of `step`, for a whole request of very many arguments, of which the first ones are in `args`. */
  private stepMany(
    client: Client,
    session: RedisSession,
    bytes: Uint8Array,
    start: number,
    next: number,
  ): number {
    const { resume, preparation } = session;
    let taken = this.pool.refusing !== 0 && this.refuseWork(client, session, bytes);
    if (!taken) {
      const command = resolve(bytes, args) ?? this.learner.known(bytes, args);
      const first = command !== undefined &&
        (session.plain && needsFirst(command) && !this.asksAll(session, command) ||
          args.count > READ_HERE_MAX && readsFew(command));
      if (!first && preparation === null) {
        // Offered again, it is to come here, although it may have come in one piece.
        resume.count = args.count;
        new Preparation(session, command, bytes, start, next - start, args.count);
        return NEED_MORE;
      }
      if (command !== undefined) preparation?.isFor(command);
      taken = first
        ? this.dispatch(
          client,
          session,
          findCommand(bytes, args.starts[0]!, args.ends[0]!),
          bytes,
          start,
          next,
        )
        : this.dispatchPrepared(client, session, preparation!, bytes, start, next);
    }
    if (!taken) return NEED_MORE;
    session.preparation = null;
    resume.reset();
    return next;
  }

  /** Are the keys or channels of such a request looked at, to see whether its user may name them? */
  private asksAll({ rights }: RedisSession, command: Command): boolean {
    return rights !== null && rights.free[command.id] !== 1;
  }

  private dispatchPrepared(
    client: Client,
    session: RedisSession,
    preparation: Preparation,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (!preparation.isDone) return false;
    const { starts, ends } = args;
    preparation.lend(args, start);
    this.prepared = preparation;
    const command = findCommand(bytes, args.starts[0]!, args.ends[0]!);
    const taken = this.dispatch(client, session, command, bytes, start, end);
    this.prepared = null;
    args.starts = starts;
    args.ends = ends;
    return taken;
  }

  /** Much of the request is still to come: lets it stream if it can (see redis/large.ts). */
  private stepLarge(
    client: Client,
    session: RedisSession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    const { resume } = session;
    const { needed, count, index } = resume;
    client.lacks(needed);
    if (index !== count - 1 || !session.authenticated) return NEED_MORE;
    // Arguments that were walked in an earlier call are not in `args` any more.
    resume.reset();
    scanRequest(bytes, start, end, args, this.limits, resume);
    const command = this.find(bytes);
    if (
      command === undefined || command.route !== ROUTE.KEYED || command.finder !== FINDER.RANGE ||
      command.firstKey !== command.lastKey || command.firstKey >= index || !checkArity(command, count) ||
      isRefused(command, this.config.dangerousCommands)
    ) return NEED_MORE;
    const key = command.firstKey;
    const { rights } = session;
    if (rights !== null && rights.free[command.id] !== 1) {
      // Its last argument is not here yet: where that may be an option it decides.
      if (command.name === "SET" && index > SET_VALUE) return NEED_MORE;
      // What is refused is refused when it is.
      args.count = index;
      const allowed = rights.allowsOne(command, key, bytes, args);
      args.count = count;
      if (!allowed) return NEED_MORE;
    }
    const owner = this.pool.placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
    if (owner < 0) return NEED_MORE;
    if (!client.atRest()) {
      client.lacks(0);
      return NEED_MORE;
    }
    const [keyStart, keyEnd] = [args.starts[key]!, args.ends[key]!];
    const found = session.place;
    const place = found !== null && equals(bytes, keyStart, keyEnd, found.name) ? found : null;
    if (this.redirects !== null && place === null) {
      // It cannot be sent twice: whether its node has the key is asked before.
      client.lacks(0);
      client.block(LEARNING);
      const name = bytes.slice(keyStart, keyEnd);
      this.redirects.locate(client, [name], (endpoint, asking) => {
        session.place = { name, endpoint, asking };
        client.unblock(LEARNING);
      });
      return NEED_MORE;
    }
    session.place = null;
    const large = new LargeRequest(client, needed, () => session.large = null);
    const { primary } = this.pool.servers[owner]!;
    this.pool.counting = 1 + command.latencyClass;
    if (!large.start(place?.endpoint ?? primary, place?.asking)) {
      this.pool.counting = 0;
      return NEED_MORE;
    }
    session.marks?.wrote(this.pool.servers[owner]!);
    session.large = large;
    resume.reset();
    client.lacks(0);
    this.pool.counters[REQUESTS_TOTAL]!++;
    this.look(client, command, this.pool.counters[REQUESTS_TOTAL]!, bytes, start, start + needed);
    this.seen.sent(null, this.pool.clock.wallMs());
    return large.take(bytes, start, end);
  }

  private stepInline(
    client: Client,
    session: RedisSession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (isClientHello(bytes, start, end)) {
      this.pool.httpGuard.noteTls(client);
      client.answer(this.errorReply(TLS_ON_PLAIN_PORT));
      client.protocolError();
      return NEED_MORE;
    }
    const next = scanInline(bytes, start, end, start + session.inlineAt);
    if (next === NEED_MORE) {
      session.inlineAt = end - start;
      return NEED_MORE;
    }
    session.inlineAt = 0;
    if (next < 0) return this.refuseBytes(client, next);
    const array = inlineToArray(bytes, start, next);
    if (array === BAD_QUOTES) return this.refuseBytes(client, BAD_QUOTES);
    if (array.length === 0) return next;
    const limits = session.authenticated ? this.limits : STRANGER_LIMITS;
    const scanned = scanRequest(array, 0, array.length, args, limits, session.resume);
    if (scanned < 0) return this.refuseBytes(client, scanned);
    if (this.pool.refusing !== 0 && this.refuseWork(client, session, array)) return next;
    const command = findCommand(array, args.starts[0]!, args.ends[0]!);
    return this.dispatch(client, session, command, array, 0, array.length) ? next : NEED_MORE;
  }

  /**
   * In a cluster's pool all that is under way is kept: a large request waits with its client, who can be refused or closed, while much is
   * under way on its connection. True if it does: it is offered again.
   */
  private isHeldUp(client: Client, session: RedisSession, bytes: Uint8Array, size: number): boolean {
    if (this.redirects === null || !session.plain) return false;
    const command = this.find(bytes);
    if (command === undefined || findKeys(command, bytes, args, keyList) <= 0) return false;
    const key = keyList.at[0]!;
    const owner = this.pool.placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
    const connection = owner < 0 ? null : this.connectionTo(client, this.pool.servers[owner]!);
    if (connection === null || !connection.holdsUp(size)) return false;
    client.waitFor(connection);
    return true;
  }

  /** See Pool.refusing: refuses what needs a server. False for what is answered here, or ends something. */
  private refuseWork(client: Client, session: RedisSession, bytes: Uint8Array): boolean {
    const { pool } = this;
    const full = (pool.refusing & MEMORY_FULL) !== 0;
    const command = args.count > 0 ? resolve(bytes, args) ?? this.learner.known(bytes, args) : undefined;
    if (command === undefined || !this.needsServer(command)) {
      // As in Redis: what has been queued goes too, and the client is not left inside MULTI.
      if (full && command?.name === "EXEC") session.transaction?.breaks();
      client.allowance?.pass();
      return false;
    }
    const skipped = session.replies === REPLIES_SKIP_NEXT;
    if (skipped) client.muted = true;
    const error = full ? this.memoryFull : client.allowance!.refuse(!client.muted);
    // What was said of the next request was said of this one, and what a server has told of its keys is of no other's.
    session.tracking?.cachingUsed(session.tracking.caching);
    session.told = null;
    if (full) pool.counters[LIMIT_MEMORY]!++;
    pool.counters[REQUESTS_TOTAL]!++;
    pool.counting = 1 + command.latencyClass;
    if (session.transaction?.queueing) session.transaction.refuse(error);
    else client.answer(error);
    client.countHere();
    if (skipped) {
      client.muted = false;
      session.replies = REPLIES_ON;
      session.refresh();
    }
    return true;
  }

  /** Is it refused while nothing may be asked of servers? Not what is answered here, nor what would be missed. */
  private needsServer(command: Command): boolean {
    const { route, name } = command;
    if (route === ROUTE.LOCAL || route === ROUTE.CLIENT_MODE || route === ROUTE.REFUSED) return false;
    return !NEVER_REFUSED.has(name) && !this.isAnsweredByUs(command);
  }

  /** The command of the request at hand, in the table or learned; asks nobody. */
  private find(bytes: Uint8Array): Command | undefined {
    const start = args.starts[0]!;
    const end = args.ends[0]!;
    return findCommand(bytes, start, end) ?? this.learner.find(bytes, start, end);
  }

  /** The client's bytes are no request: says so after all replies owed, and ends the connection. */
  private refuseBytes(client: Client, code: number): number {
    const limit = code === TOO_LARGE || code === TOO_MANY_ARGUMENTS;
    this.pool.counters[limit ? LIMIT_REQUEST : PROTOCOL_ERROR]!++;
    const stranger = !(client.session as RedisSession).authenticated;
    const text = !limit || !stranger
      ? requestError(code, this.limits)
      : `Protocol error: unauthenticated ${code === TOO_LARGE ? "bulk" : "multibulk"} length`;
    client.answer(this.errorReply(text));
    client.protocolError();
    return NEED_MORE;
  }

  /**
   * Sends one whole request on its way. False if the client has been blocked and has to offer it again.
   * @param command what findCommand finds for it
   */
  private dispatch(
    client: Client,
    session: RedisSession,
    command: Command | undefined,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    session.command = command;
    const { rights } = session;
    if (
      command !== undefined && command.direct && session.short && checkArity(command, args.count) &&
      (rights === null || rights.free[command.id] === 1 ||
        rights.allowsOne(command, command.firstKey, bytes, args))
    ) {
      const { pool, seen } = this;
      pool.counting = 1 + command.latencyClass;
      if (++pool.counters[REQUESTS_TOTAL]! >= seen.drawAt || end - start > seen.bigFloor) {
        this.forwardLooked(client, command, bytes, start, end);
        return true;
      }
      const key = command.firstKey;
      const server = pool.placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
      this.forward(client, server, bytes, start, end);
      return true;
    }
    return this.dispatchOther(client, session, command, bytes, start, end);
  }

  /** Sends one of the requests that are looked at (see proxy/seen.ts) to its key's server: apart, for the size of the others' way. */
  private forwardLooked(
    client: Client,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    this.look(client, command, this.pool.counters[REQUESTS_TOTAL]!, bytes, start, end);
    const key = command.firstKey;
    const server = this.pool.placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
    this.forward(client, server, bytes, start, end);
    this.sent(client);
  }

  private dispatchOther(
    client: Client,
    session: RedisSession,
    named: Command | undefined,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    // Before anything else looks at it, in whatever state the client is.
    if (named === undefined && isHttpWord(bytes, args.starts[0]!, args.ends[0]!)) {
      this.pool.httpGuard.note(client);
      client.hangUp();
      return true;
    }
    const skipped = session.replies === REPLIES_SKIP_NEXT;
    if (skipped) {
      client.muted = true;
      session.replies = REPLIES_SKIPPING;
    }
    // It is counted when it has been taken.
    const requests = this.pool.counters[REQUESTS_TOTAL]! + 1;
    const looked = session.authenticated &&
      (requests >= this.seen.drawAt || end - start > this.seen.bigFloor);
    if (looked) {
      const command = resolve(bytes, args) ?? this.learner.known(bytes, args);
      this.look(client, command, requests, bytes, start, end);
    }
    const { tracking } = session;
    const caching = tracking?.caching ?? null;
    this.pool.counting = 1 + CLASS_OTHER;
    const taken = this.take(client, session, named, bytes, start, end);
    if (skipped) {
      // CLIENT REPLY OFF or SKIP may have been what was skipped.
      if (session.replies === REPLIES_SKIPPING) session.replies = taken ? REPLIES_ON : REPLIES_SKIP_NEXT;
      client.muted = session.replies === REPLIES_OFF;
    }
    if (looked) this.sent(client);
    if (taken) session.told = null;
    if (caching !== null && taken && named?.name !== "CLIENT") tracking!.cachingUsed(caching);
    session.refresh();
    if (taken) {
      this.pool.counters[REQUESTS_TOTAL]!++;
      client.countHere();
    } else this.pool.counting = 0;
    return taken;
  }

  /** A request has been drawn, or is large: counts its keys, notes those whose values are large (see proxy/seen.ts). */
  private look(
    client: Client,
    command: Command | undefined,
    requests: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const { seen, turn, clock } = this.pool;
    const nowMs = turn.now();
    const drawn = requests >= seen.drawAt;
    this.before = client.replies.tail;
    const weight = drawn ? seen.draw(requests, nowMs) : 0;
    if (command === undefined || !checkArity(command, args.count)) return;
    const { finder, firstKey, lastKey, route, lower } = command;
    const count = this.countKeys(command, bytes);
    const most = weight > 0 ? Math.min(count, KEYS_COUNTED) : 0;
    const first = requests % (count - most + 1);
    for (let k = first; k < first + most; k++) {
      const i = keyList.at[k]!;
      seen.asked(bytes, args.starts[i]!, args.ends[i]!, weight * count / most, nowMs);
    }
    if (drawn) this.follow(client, command, count, bytes, nowMs);
    if (end - start <= seen.bigFloor) return;
    const pairs = route === ROUTE.SPLIT_PAIRS;
    if (!pairs && (count > 1 || firstKey !== lastKey && finder === FINDER.RANGE)) return;
    for (let k = 0; k < count; k++) {
      const i = keyList.at[k]!;
      const size = pairs ? args.ends[i + 1]! - args.starts[i + 1]! : end - start;
      if (size <= seen.bigFloor) continue;
      seen.passed(bytes, args.starts[i]!, args.ends[i]!, size, "request", lower, clock.wallMs());
    }
  }

  /** A request that was drawn is followed to its reply. @param count keys in `keyList` */
  private follow(client: Client, command: Command, count: number, bytes: Uint8Array, nowMs: number): void {
    const { seen, pool } = this;
    const [start, end] = count === 0 ? [0, 0] : [args.starts[keyList.at[0]!]!, args.ends[keyList.at[0]!]!];
    const key = count === 1 ? seen.keyOf(bytes, start, end) : null;
    if (seen.taps.length === 0) {
      const { lower } = command;
      if (key !== null) {
        seen.follow({ command: lower, key, taps: NOBODY, server: null, client: "", words: NO_WORDS });
      }
      return;
    }
    const keys: string[] = [];
    for (let k = 0; k < Math.min(count, KEYS_TAPPED); k++) {
      const i = keyList.at[k]!;
      keys.push(latin1(bytes, args.starts[i]!, Math.min(args.ends[i]!, args.starts[i]! + KEY_TAPPED)));
    }
    const address = client.peer();
    const taps = seen.listeners(command.lower, address, keys, nowMs);
    if (key === null && taps.length === 0) return;
    const owner = count === 1 ? pool.placement.serverOf(bytes, start, end) : -1;
    const noted = args.count <= this.sliceArguments ? args.count : NOTED_FIRST;
    seen.follow({
      command: command.lower,
      key,
      taps,
      server: pool.servers[owner]?.config.name ?? null,
      client: address,
      words: taps.length === 0 ? NO_WORDS : shownWords(command, bytes, args, noted),
    });
  }

  /** The request that was looked at has been sent on its way. */
  private sent(client: Client): void {
    const { tail } = client.replies;
    this.seen.sent(tail === this.before ? null : tail, this.pool.clock.wallMs());
    this.before = null;
  }

  /** How many keys a look finds of the request at hand, in `keyList`; 0 = none that are to be counted. */
  private countKeys(command: Command, bytes: Uint8Array): number {
    const { finder, firstKey } = command;
    if (finder === FINDER.ASKED) return 0;
    if (args.count <= this.sliceArguments) return Math.max(0, findKeys(command, bytes, args, keyList));
    // Of very many arguments only the first ones may be in `args`, and walking all is more than a look is worth.
    if (finder !== FINDER.RANGE || firstKey >= NOTED_FIRST) return 0;
    keyList.at[0] = firstKey;
    return 1;
  }

  /** Checks a request and routes it. False if the client has been blocked and has to offer it again. */
  private take(
    client: Client,
    session: RedisSession,
    named: Command | undefined,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    let command = named?.subcommands === null ? named : resolve(bytes, args);
    if (!session.authenticated && (command === undefined || needsAuth(command))) {
      client.answer(this.users === null ? NOAUTH : NOAUTH_USERS);
      return true;
    }
    if (named === undefined) {
      const entry = this.learner.lookUp(client, bytes, args);
      if (entry === null) return false;
      named = entry?.command;
      if (entry !== undefined) command = this.learner.resolve(entry, bytes, args);
    }
    session.command = command;
    const tooMany = command !== undefined && args.count > READ_HERE_MAX && readsFew(command);
    args.told = null;
    const forbids =
      session.rights !== null && command !== undefined && checkArity(command, args.count) && !tooMany
        ? this.forbids(session, command, bytes)
        : null;
    const error = command === undefined
      ? unknownError(bytes, args, named)
      : !checkArity(command, args.count)
      ? arityError(command)
      : forbids !== null
      ? forbids
      : !this.isAnsweredByUs(command) && isRefused(command, this.config.dangerousCommands)
      ? refusal(command)
      : tooMany
      ? tooManyError(command, READ_HERE_MAX)
      : command.name === "FUNCTION|LIST"
      ? functionListError(bytes, args)
      : null;
    const queueing = session.transaction?.queueing ?? false;
    if (queueing) this.pool.counting = 1 + CLASS_TRANSACTION;
    else if (command !== undefined) this.pool.counting = 1 + command.latencyClass;
    if (error !== null) {
      // A wrong EXEC ends transaction and watch, even where there is no MULTI.
      if (command?.name === "EXEC" && session.transaction !== null) return this.modes.abort(session, error);
      if (!queueing) client.answer(error);
      else if (command === undefined || error === forbids || !checkArity(command, args.count)) {
        session.transaction!.refuse(error);
      } else session.transaction!.refuseOurs(command.name.replace("|", " "), error);
      return true;
    }
    if (session.subscriptions !== null && session.resp === 2 && (command!.flags & FLAG.SUBSCRIBER) === 0) {
      client.answer(errorReply(
        `ERR Can't execute '${
          command!.lower
        }': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
      ));
      return true;
    }
    if ((command!.flags & FLAG.DATABASE) !== 0) {
      const { databases, redisDb } = this.config;
      const { error, request } = shiftDatabases(command!, bytes, args, databases, redisDb);
      if (error !== null) {
        if (queueing) session.transaction!.refuseOurs(command!.name, error);
        else client.answer(error);
        return true;
      }
      if (request !== null) {
        bytes = request;
        start = 0;
        end = request.length;
      }
    }
    if ((command!.flags & FLAG.PATTERNS) !== 0 && session.rights !== null) {
      const refused = sortForbidden(session.rights, command!, bytes, args);
      if (refused !== null) {
        this.pool.counters[REQUESTS_FORBIDDEN]!++;
        if (queueing) session.transaction!.refuse(refused);
        else client.answer(refused);
        return true;
      }
    }
    // Nodes of a cluster look at patterns themselves, each version in its way.
    if ((command!.flags & FLAG.PATTERNS) !== 0 && this.pool.servers.length > 1 && !this.pool.cluster) {
      const refused = this.config.distribution === "random"
        ? null
        : patternError(bytes, args, this.pool.placement, this.config.hashTag);
      if (refused !== null) {
        if (queueing) session.transaction!.refuseOurs(command!.name, refused);
        else client.answer(refused);
        return true;
      }
    }
    if (command!.finder === FINDER.ASKED) {
      // Where any server will do, any argument will.
      args.told = ANY_ARGUMENT;
      const asks = session.rights !== null;
      if (asks || this.pool.servers.length > 1 && this.config.distribution !== "random") {
        const told = this.learner.keysOf(client, command!, bytes, args, start, end);
        if (told === null) return false;
        if (told instanceof Uint8Array) {
          if (queueing) session.transaction!.refuseOurs(command!.name, told);
          else client.answer(told);
          return true;
        }
        args.told = told;
        const refused = asks ? this.forbids(session, command!, bytes) : null;
        if (refused !== null) {
          if (queueing) session.transaction!.refuse(refused);
          else client.answer(refused);
          return true;
        }
      }
    }
    if (this.unlearned && isForAll(command!)) {
      if (queueing) session.transaction!.refuseOurs(command!.name, NODES_UNKNOWN);
      else client.answer(NODES_UNKNOWN);
      return true;
    }
    if (this.scripts !== null) {
      // What is not sent yet is nothing that a node could be told meanwhile.
      const waits = !queueing && command!.route === ROUTE.EVERY_SERVER && (command!.flags & FLAG.APART) === 0;
      if (waits && this.overtakes(client)) return false;
      this.scripts.note(command!, bytes, args, queueing);
    }
    if (queueing && (command!.flags & FLAG.UNQUEUED) === 0) {
      this.modes.queue(session, command!, bytes, start, end);
      return true;
    }
    if (session.marks !== null && command!.mayWrite) session.marks.wrote(this.writtenTo(command!, bytes));
    return this.route(client, session, command!, bytes, start, end);
  }

  /** What the rules of the client's user say against the request at hand; null: nothing. */
  private forbids(session: RedisSession, command: Command, bytes: Uint8Array): Uint8Array | null {
    const refused = forbidden(this.users!, session, session.rights!, command, bytes, args, this.prepared);
    if (refused !== null) this.pool.counters[REQUESTS_FORBIDDEN]!++;
    return refused;
  }

  /** Is it about what the proxy itself keeps, though servers have it too: the slow log, users? */
  private isAnsweredByUs(command: Command): boolean {
    return this.hasSlowLog(command) || this.users !== null && isAcl(command);
  }

  /** Is it answered by the pool's own slow log? */
  private hasSlowLog({ name }: Command): boolean {
    return this.config.slowlogThresholdMs > 0 && SLOWLOG_COMMANDS.has(name);
  }

  /** The server of the only key of a request that writes; null if there may be others. */
  private writtenTo({ finder, firstKey, lastKey }: Command, bytes: Uint8Array): Server | null {
    if (finder !== FINDER.RANGE || firstKey !== lastKey && args.count > firstKey + 1) return null;
    const index = this.pool.placement.serverOf(bytes, args.starts[firstKey]!, args.ends[firstKey]!);
    return this.pool.servers[index] ?? null;
  }

  known(bytes: Uint8Array, args: Args): Command | undefined {
    return this.learner.known(bytes, args);
  }

  rerun(client: Client, bytes: Uint8Array): void {
    const session = client.session as RedisSession;
    const { tail } = client.replies;
    scanRequest(bytes, 0, bytes.length, args, this.limits, new RequestResume());
    const command = resolve(bytes, args)!;
    // SELECT of the database the client is in (or of none): nothing that must wait for what is owed.
    if (command.name === "SELECT") client.answer(answer(command, bytes, args, session, this.host));
    else if (!this.route(client, session, command, bytes, 0, bytes.length) || client.replies.tail === tail) {
      client.answer(errorReply(`ERR '${command.lower}' is too large for a transaction through this proxy`));
    }
    session.refresh();
  }

  /** False if the client has been blocked and has to offer the request again. */
  private route(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { modes } = this;
    if (args.count > this.walkArguments) {
      const work = modes.walkWork(client, session, command, args.count);
      if (work !== null) {
        if (!client.atRest()) return false;
        new Walk(session, bytes, start, end, command.container === null ? 1 : 2, args.count, work);
        return true;
      }
    }
    if (this.users !== null && isAcl(command)) {
      client.answer(answerAcl(this.users, session, command, bytes, args));
      return true;
    }
    switch (command.route) {
      case ROUTE.KEYED:
      case ROUTE.SCRIPT_KEYED:
        this.forwardWhole(client, command, bytes, start, end);
        return true;
      case ROUTE.SPLIT_VALUES:
        return this.split(client, command, bytes, start, end, 1, JOIN_VALUES);
      case ROUTE.SPLIT_PAIRS:
        if (args.count % 2 !== 0) return this.split(client, command, bytes, start, end, 2, JOIN_OK);
        client.answer(arityError(command));
        return true;
      case ROUTE.SPLIT_SUM:
        return this.split(client, command, bytes, start, end, 1, JOIN_SUM);
      case ROUTE.EVERY_SERVER: {
        if (this.hasSlowLog(command)) {
          const { slowLog } = this.pool.board;
          client.answer(answerSlowLog(command.name, slowLog, this.config, bytes, args, session.resp));
          return true;
        }
        const servers = everyServer(this.pool, command);
        if ((command.flags & FLAG.APART) !== 0) {
          sendApart(client, bytes, start, end, JOIN_EVERY, command.join, servers);
          return true;
        }
        if (this.overtakes(client)) return false;
        sendEverywhere(client, bytes, start, end, JOIN_EVERY, command.join, null, servers);
        return true;
      }
      case ROUTE.FIXED:
        this.forward(client, this.fixedServer(), bytes, start, end);
        return true;
      case ROUTE.LOCAL:
        return this.answerHere(client, session, command, bytes, start, end);
      case ROUTE.BLOCKING:
        if (command.finder !== FINDER.NONE && !blocks(command, bytes, args)) {
          this.pool.counting = 1 + (command.mayWrite ? CLASS_WRITE : CLASS_READ);
          this.forwardWhole(client, command, bytes, start, end);
          return true;
        }
        return modes.blocking(client, session, command, bytes, start, end);
      case ROUTE.TRANSACTION:
        return modes.transaction(client, session, command, bytes, start, end);
      case ROUTE.PUBSUB:
        return modes.publish(client, session, command, bytes, start, end);
      case ROUTE.CLIENT_MODE:
        return modes.clientMode(client, session, command, bytes, start, end);
      case ROUTE.SCAN:
        if (this.overtakes(client)) return false;
        modes.scan(client, bytes, start, end);
        return true;
      case ROUTE.RANDOM_SERVER:
        if (this.overtakes(client)) return false;
        modes.randomKey(client, bytes, start, end);
        return true;
      default:
        throw new Error(`no route for command ${command.name}`);
    }
  }

  /**
   * In a cluster what a client has sent before may yet be redirected, to a node that what is for all nodes reaches before it: that waits
   * until nothing is owed. True if it has to be offered again.
   */
  private overtakes(client: Client): boolean {
    return this.redirects !== null && !client.atRest();
  }

  private answerHere(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (command.name === "INFO" && this.modes.info(client, session, bytes, start, end)) return true;
    if (this.pool.cluster && OF_A_SLOT.has(command.name)) {
      this.forward(client, this.serverOfSlotIn(bytes), bytes, start, end);
      return true;
    }
    if (ABOUT_ANOTHER.has(command.name) && args.count > 2 && resolveAt(bytes, args, 2) === undefined) {
      if (command.name !== "COMMAND|INFO" || args.count === 3) {
        this.forward(client, this.fixedServer(), bytes, start, end);
        return true;
      }
    }
    // What changes how replies are read, or which connection requests take, must not overtake what is still owed.
    const changes = command.name === "HELLO" || command.name === "RESET" || command.name === "SELECT";
    if (changes && !client.atRest()) return false;
    if (command.name === "HELLO" && this.identity.refresh(client)) return false;
    if (this.users !== null && (command.name === "AUTH" || command.name === "HELLO")) {
      return this.logIn(client, session, this.users, command, bytes);
    }
    // A reload may have come while it waited: what users that are gone have been told counts no more.
    session.login = null;
    if (command.name === "RESET") this.modes.abandon(client, session);
    if (command.name === "PING" && session.subscriptions !== null && session.resp === 2) {
      client.answer(subscriberPong(bytes));
    } else if (command.name === "CONFIG|GET") {
      this.modes.configGet(client, session, bytes, start, end);
    } else if (command.name === "COMMAND|DOCS") {
      this.modes.commandDocs(client, session, bytes, start, end);
    } else {
      const reply = answer(command, bytes, args, session, this.host);
      if (changes || command.name === "AUTH") this.noteOpen(session, command, bytes, reply);
      const resets = this.users !== null && command.name === "RESET";
      const full = resets ? this.begin(this.users!, session, false) : null;
      client.answer(full === null ? reply : this.tooMany(client, full));
      // It is not the user any more that it was.
      if (full !== null) client.closeAfterReplies();
    }
    if (command.name === "QUIT") client.closeAfterReplies();
    return true;
  }

  /** Of a pool without users: whether the client has given its password. @param reply to `command` */
  private noteOpen(session: RedisSession, { name }: Command, bytes: Uint8Array, reply: Uint8Array): void {
    const isOpen = this.config.redisAuth === null;
    const logsIn = name === "AUTH" || name === "HELLO" && helloUserAt(bytes, args) > 0;
    if (name === "RESET") session.open = isOpen;
    else if (logsIn && !isOpen && reply[0] !== MINUS) session.open = false;
  }

  /** AUTH and HELLO of a pool with users. False if the client waits, and has to offer the request again. */
  private logIn(
    client: Client,
    session: RedisSession,
    users: PoolUsers,
    command: Command,
    bytes: Uint8Array,
  ): boolean {
    const hello = command.name === "HELLO";
    const at = hello ? helloUserAt(bytes, args) : args.count === 3 ? 1 : 0;
    if (!hello && args.count > 3) {
      client.answer(SYNTAX_ERROR);
      return true;
    }
    if (!hello && args.count === 2 && users.default.secret.kind === "nopass") {
      client.answer(AUTH_NOPASS);
      return true;
    }
    if (hello && at === 0) {
      client.answer(answer(command, bytes, args, session, this.host));
      return true;
    }
    const name = at === 0 ? DEFAULT : latin1(bytes, args.starts[at]!, args.ends[at]!);
    const right = users.login(
      client,
      session,
      name,
      bytes.subarray(args.starts[at + 1]!, args.ends[at + 1]!),
    );
    if (right === null) return false;
    let reply = right ? OK : WRONGPASS_REPLY;
    const { name: named, resp, authenticated } = session;
    if (hello) {
      session.login = { name, right, secretText: "" };
      reply = answer(command, bytes, args, session, this.host);
      session.login = null;
    }
    // Whatever else was wrong with it, it is not logged in.
    if (reply[0] !== MINUS) {
      const user = users.find(name)!;
      const full = this.becomes(users, session, user, true, user.secret.kind === "nopass");
      if (full !== null) {
        Object.assign(session, { name: named, resp, authenticated });
        reply = this.tooMany(client, full);
      }
    }
    client.answer(reply);
    return true;
  }

  /** Sends a request whole to the one server that owns all its keys. */
  private forwardWhole(
    client: Client,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const known = this.prepared === null ? null : this.prepared.keysOf(command);
    const count = known === null ? findKeys(command, bytes, args, keyList) : known.count;
    // The only server there is may say itself what is wrong.
    if (count < 0 && this.pool.servers.length > 1) return client.answer(keysError(command, count));
    if (count <= 0) return this.forward(client, this.fixedServer(), bytes, start, end);
    const server = known === null ? ownerOfKeys(this.pool, bytes, args, keyList) : this.prepared!.owner;
    if (server !== ACROSS) return this.forwardKeyed(client, command, server, bytes, start, end);
    client.answer(
      this.pool.cluster ? CROSSSLOT_SLOTS : crossSlot(bytes, args, known ?? keyList, this.config.hashTag),
    );
  }

  /** The server of the slot that the third argument says; any one, which says what is wrong, if it says none. */
  private serverOfSlotIn(bytes: Uint8Array): number {
    const text = latin1(bytes, args.starts[2]!, Math.min(args.ends[2]!, args.starts[2]! + 6));
    const slot = /^[0-9]{1,5}$/.test(text) ? Number(text) : SLOTS;
    return slot < SLOTS ? this.pool.placement.serverOfSlot(slot) : this.fixedServer();
  }

  fixedServer(): number {
    const { pool } = this;
    const fixed = pool.placement.serverOf(PLACEHOLDER, 0, PLACEHOLDER.length);
    return anyNode(pool, fixed);
  }

  private split(
    client: Client,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
    step: number,
    join: Joiner,
  ): boolean {
    if (args.count > this.sliceArguments || end - start > SLICE_BYTES) {
      return this.slice(client, command, bytes, start, end, step, join);
    }
    const { pool } = this;
    if (pool.cluster) {
      const slot = placeSlots(pool, bytes, args, step);
      if (slot === MANY) {
        sendSlots(client, command, bytes, args, step, join, command.route === ROUTE.SPLIT_VALUES);
      } else this.forwardKeyed(client, command, pool.placement.serverOfSlot(slot), bytes, start, end);
      return true;
    }
    const server = placeKeys(pool, bytes, args, step);
    if (server === MANY) {
      sendFragments(client, command, bytes, args, step, join, command.route === ROUTE.SPLIT_VALUES);
    } else this.forwardKeyed(client, command, server === NONE_LIVE ? NO_SERVER : server, bytes, start, end);
    return true;
  }

  /** As `split`, for a request of which nothing but the name and the count need be in `args`. */
  private slice(
    client: Client,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
    step: number,
    join: Joiner,
  ): boolean {
    if (this.pool.servers.length === 1 && !this.pool.cluster) {
      this.forwardKeyed(client, command, this.fixedServer(), bytes, start, end);
    } else {
      if (!client.atRest()) return false;
      const session = client.session as RedisSession;
      const cut = { command, step, join, count: args.count - 1 };
      session.sliced = new SlicedRequest(client, cut, bytes, start, end, () => {
        session.sliced = null;
        session.tracking?.cachingUsed(session.tracking.caching);
      });
    }
    return true;
  }

  /** Sends a request to the server of its keys, or to one of its replicas. A read is kept if it may be sent again. */
  private forwardKeyed(
    client: Client,
    command: Command,
    index: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (this.reads !== null && command.onReplica && index >= 0) {
      const session = client.session as RedisSession;
      if (this.reads.send(session, this.pool.servers[index]!, bytes, start, end)) return;
    }
    if (!this.keepsReads || index < 0 || !isRead(command)) {
      return this.forward(client, index, bytes, start, end);
    }
    const server = this.pool.servers[index]!;
    sendRead(client, server, this.connectionTo(client, server), bytes, start, end);
  }

  forward(client: Client, index: number, bytes: Uint8Array, start: number, end: number): void {
    if (index < 0) return refuse(client, this.noLiveServer);
    const server = this.pool.servers[index]!;
    sendTo(client, server, this.connectionTo(client, server), bytes, start, end);
  }

  midway(client: Client): boolean {
    const session = client.session as RedisSession;
    return session.transaction !== null || (session.large?.hungry ?? false);
  }

  waits(client: Client): boolean {
    const session = client.session as RedisSession;
    // Half a large request is none: it can only be given up.
    return session.blocking !== null || (session.large?.hungry ?? false) ||
      (this.users?.keepsWaiting(session) ?? false);
  }

  interrupt(client: Client): void {
    (client.session as RedisSession).blocking?.interrupt();
  }

  holdsBytes(client: Client): number {
    const session = client.session as RedisSession;
    const { transaction, subscriptions, sliced, preparation, name, libName, libVersion, readBytes } = session;
    return readBytes + (session.redirects?.heldBytes ?? 0) + (transaction?.holdsBytes ?? 0) +
      (preparation?.holdsBytes ?? 0) +
      (sliced?.holdsBytes ?? 0) +
      (subscriptions?.heldBytes ?? 0) +
      name.length + libName.length + libVersion.length;
  }

  leavingBytes(): number {
    return this.modes.pubsub.leavingBytes;
  }

  idleMax(client: Client, idleMs: number): number {
    const session = client.session as RedisSession;
    // Whoever waits for messages has nothing to say.
    if (session.subscriptions !== null) return Infinity;
    return session.authenticated ? idleMs : Math.min(idleMs, STRANGER_IDLE_MS);
  }

  answerQuestion(question: ClientQuestion, told: Told): void {
    answerQuestion(this.pool, question, told);
  }

  viewOf(client: Client, nowMs: number, wallMs: number): ClientView {
    return viewOf(client, nowMs, wallMs);
  }

  abandoned(client: Client): void {
    const session = client.session as RedisSession;
    session.redirects?.abandon();
    this.modes.abandon(client, session);
  }

  ringChanged(): void {
    this.modes.ringChanged();
  }

  adopt(): void {
    const { pool } = this;
    const moved = this.epoch !== pool.epoch;
    this.epoch = pool.epoch;
    this.config = this.limits = pool.config;
    this.demoted = pool.replaceable || pool.cluster ? DEMOTED : 0;
    this.keepsReads = pool.config.retryReads;
    this.learner.adopt();
    this.reads = this.readsOf(pool.config);
    this.redirects ??= this.redirectsOf(pool);
    this.redirects?.adopt();
    this.scripts = pool.tellsScripts ? this.scripts ?? new Scripts(pool) : null;
    this.unlearned = isUnheard(pool.config);
    const { users } = pool.config;
    const hadUsers = this.users !== null;
    if (users === null) this.users = null;
    else if (this.users === null) this.users = new PoolUsers(pool);
    else this.users.adopt(pool.config);
    for (const client of pool.clients) {
      const session = client.session as RedisSession;
      this.adoptUser(client, session, hadUsers);
      session.readFrom(this.reads);
      session.tracking?.adopt();
      session.transaction?.adopt();
      if (moved) session.blocking?.detached();
    }
    this.modes.adopt(moved);
  }

  /** The pool may have other users: who is gone is ended, as by ACL DELUSER; whose rights are others is told at the next command. */
  private adoptUser(client: Client, session: RedisSession, hadUsers: boolean): void {
    const { users } = this;
    if (users === null) {
      if (session.user !== DEFAULT) return client.giveUp("is ended: its user is gone");
      const isOpen = this.config.redisAuth === null;
      // Who could not do everything, or has never been asked for a password, has not said the pool's. Where there were no users either
      // who is in stays in, as with redis-server's requirepass.
      const proven = session.authenticated && session.rights === null && !session.open;
      if (session.authenticated && !proven && hadUsers && !isOpen) {
        return client.giveUp("is ended: it has given no password");
      }
      session.rights = null;
      if (isOpen && !session.authenticated) session.authenticated = session.open = true;
      session.refresh();
      return;
    }
    const user = users.find(session.user);
    // Whoever may not log in any more, and has, goes on, as in Redis.
    if (user === undefined || user.secret.kind === "none" && session.authenticated) {
      return client.giveUp("is ended: its user is gone");
    }
    if (user.rights !== session.rights) session.transaction?.rightsChanged();
    // Whoever became it without a password has not said the one that it has now.
    const proven = session.authenticated && !session.open;
    if (session.open && user.secret.kind !== "nopass") {
      return client.giveUp("is ended: it has given no password");
    }
    const open = !proven && (session.open || session.user === DEFAULT && user.isOpen);
    session.become(user, proven || open, open);
    if (hearsForbidden(session)) client.giveUp(ENDED_HEARING);
  }

  tells(server: Server, first: boolean): boolean {
    return this.scripts !== null && this.scripts.tells(server, first);
  }

  tell(visit: Visit, first: boolean): void {
    this.scripts!.tell(visit, first);
  }

  knows(words: readonly string[]): void {
    this.scripts?.knows(words);
  }

  keptBytes(): number {
    return (this.scripts?.bytes ?? 0) + this.seen.holdsBytes + (this.users?.holdsBytes ?? 0);
  }

  stop(): void {
    this.modes.pubsub.stop();
  }

  // ---- servers

  connectionClass(client: Client): number {
    return (client.session as RedisSession).connectionClass;
  }

  connectionTo(client: Client, server: Server): ServerConnection | null {
    const session = client.session as RedisSession;
    const { tracking } = session;
    if (tracking === null) return server.connection(session.connectionClass, client.serial);
    const connection = tracking.connection(server);
    if (connection !== null) tracking.beforeRequest(connection);
    return connection;
  }

  greetings(connectionClass: number, role: number): readonly Greeting[] {
    const greetings: Greeting[] = [];
    const { redisAuth, serverAuth, redisDb } = this.config;
    // AUTH before SELECT: the other way round, twemproxy's data ends in database 0 (its issue 491).
    if (serverAuth !== null) {
      const { user, password } = serverAuth;
      const words = user === null ? [password] : [user, password];
      greetings.push({ bytes: command("AUTH", ...words.map(encode)), check: () => null });
    } else if (redisAuth !== null) greetings.push({ bytes: command("AUTH", redisAuth), check: () => null });
    if (connectionClass % 2 === 1) {
      greetings.push({
        bytes: command("HELLO", 3),
        check: checkHello,
      });
    }
    const db = redisDb + (connectionClass >> 1);
    if (db > 0) {
      greetings.push({ bytes: command("SELECT", db), check: checkSelect });
    }
    // Once nodes have been heard their word says who is one.
    if (this.unlearned) greetings.push({ bytes: CLUSTER_INFO, check: checkNode });
    if (role === REPLICA && this.pool.cluster) greetings.push({ bytes: READONLY, check: checkReadOnly });
    // Last: what is written behind it goes to whoever has just said so.
    if (role === PRIMARY) greetings.push({ bytes: ROLE_BYTES, check: checkPrimary });
    if (role === REPLICA) greetings.push({ bytes: ROLE_BYTES, check: checkReplica });
    return greetings;
  }

  newReplyScan(): ReplyResume {
    return new ReplyResume();
  }

  scanReply(bytes: Uint8Array, start: number, end: number, scan: ReplyScan): number {
    return scanReply(bytes, start, end, scan as ReplyResume);
  }

  scanPlain(bytes: Uint8Array, start: number, end: number, scan: ReplyScan): number {
    const type = bytes[start];
    if (type !== DOLLAR && type !== PLUS && type !== COLON) return 0;
    return (scan as ReplyResume).isFresh ? wholeScalar(bytes, start, end) : 0;
  }

  fits(): boolean {
    return true;
  }

  fitsSoFar(): boolean {
    return true;
  }

  isOneValue(bytes: Uint8Array, start: number): boolean {
    return bytes[start] === 36 || bytes[start] === 61;
  }

  isPush(bytes: Uint8Array, start: number): boolean {
    return isPush(bytes, start);
  }

  wordsOf(head: Uint8Array, masked: boolean): string[] {
    return redisWords(head, masked);
  }

  nameOf(client: Client): string {
    const { name } = client.session as RedisSession;
    return latin1(name, 0, name.length);
  }

  illness(bytes: Uint8Array, start: number, end: number, where: number): Failure | null {
    if (bytes[start] !== 45) return null;
    // As the first line on a connection it answers a request as well.
    return ILLNESSES.find(bytes, start, end, (where & REQUEST) === 0 ? where : where | this.demoted);
  }

  /** Cluster clients and go-redis wait after TRYAGAIN and ask again; to others it is an error that says what it is. */
  laterReply(text: string): Uint8Array {
    return encode(`-TRYAGAIN ${text}\r\n`);
  }

  errorReply(text: string): Uint8Array {
    return encode(`-ERR ${text}\r\n`);
  }
}

/** Keys of a request, and bytes of each, that who listens may ask for. */
const KEYS_TAPPED = 16;
const KEY_TAPPED = 1024;
const NOBODY: readonly Tap[] = [];
const NO_WORDS: readonly string[] = [];

/** May it be done twice, and is it done in no time? */
function isRead({ flags }: Command): boolean {
  return (flags & (FLAG.READ | FLAG.WRITE | FLAG.BLOCKING)) === FLAG.READ;
}

const FOR_ALL: ReadonlySet<Command["route"]> = new Set([ROUTE.EVERY_SERVER, ROUTE.SCAN, ROUTE.RANDOM_SERVER]);

/** Does its answer come from all servers, or is there none without asking all? */
function isForAll({ name, route }: Command): boolean {
  return FOR_ALL.has(route) || route === ROUTE.PUBSUB && name.startsWith("PUBSUB|");
}

const NODES_UNKNOWN = errorReply("CLUSTERDOWN The nodes of the cluster are not known yet: none has answered");

/** Are the arguments read here, or by a server that tells the keys, so that no sensible request has very many of them? */
function readsFew({ name, route, finder, flags }: Command): boolean {
  if ((flags & (FLAG.DATABASE | FLAG.PATTERNS)) !== 0 || finder === FINDER.GEORADIUS) return true;
  if (finder === FINDER.ASKED || name === "FUNCTION|LIST") return true;
  return (route === ROUTE.LOCAL || route === ROUTE.CLIENT_MODE) && (flags & FLAG.WALKED) === 0;
}

/** Can a request of very many arguments be sent on its way by its first NOTED_FIRST ones? */
function needsFirst({ route, flags, finder, firstKey, lastKey }: Command): boolean {
  if ((flags & FLAG.WALKED) !== 0) return true;
  if (route === ROUTE.KEYED) return finder === FINDER.RANGE && firstKey === lastKey && firstKey < NOTED_FIRST;
  return route === ROUTE.SPLIT_VALUES || route === ROUTE.SPLIT_PAIRS || route === ROUTE.SPLIT_SUM;
}

/** Where `listen` means every address of the machine. */
const ANY_HOSTS: ReadonlySet<string> = new Set(["0.0.0.0", "::", "[::]"]);
/** Of a name the socket says which address it is. */
const IP = /^[0-9.]+$|:/;

const ANY_ARGUMENT = Int32Array.of(0);

/** Of what is not in the table a server tells. */
const ABOUT_ANOTHER: ReadonlySet<string> = new Set([
  "COMMAND|INFO",
  "COMMAND|GETKEYS",
  "COMMAND|GETKEYSANDFLAGS",
]);

/** What a node tells of its own keys. */
const OF_A_SLOT: ReadonlySet<string> = new Set(["CLUSTER|COUNTKEYSINSLOT", "CLUSTER|GETKEYSINSLOT"]);

/** PING of a RESP2 subscriber: an array, so that it looks like the messages around it. */
function subscriberPong(bytes: Uint8Array): Uint8Array {
  const message = args.count > 1 ? latin1(bytes, args.starts[1]!, args.ends[1]!) : "";
  return new ReplyWriter(2).array(2).bulk("pong").bulkLatin1(message).take();
}

const ILLNESSES = new Illnesses("redis");
const ROLE_BYTES = command("ROLE");
/** A replica in a cluster answers reads on connections that have said so. */
const READONLY = command("READONLY");
const CLUSTER_INFO = command("CLUSTER", "INFO");
const MASTER_START = encode("$6\r\nmaster\r\n");
const NOAUTH_START = encode("-NOAUTH");

/** NOAUTH is what clients are to read; nothing is written to who says it. */
function checkPrimary(bytes: Uint8Array, start: number, end: number): string | null {
  const first = bytes.indexOf(LF, start) + 1;
  const is = startsWith(bytes, first, end, MASTER_START) || startsWith(bytes, start, end, NOAUTH_START);
  if (is) return null;
  return bytes[start] === MINUS ? "ENOROLE" : "EROLE";
}

/** Without a link it has what it had when it was started, or stopped hearing: that may be of any age. A primary has all there is. */
function checkReplica(bytes: Uint8Array, start: number, end: number): string | null {
  if (bytes[start] === MINUS) return "ENOROLE";
  const first = bytes.indexOf(LF, start) + 1;
  const text = latin1(bytes, start, end);
  return startsWith(bytes, first, end, MASTER_START) || text.includes("\r\n$9\r\nconnected\r\n")
    ? null
    : "ENOLINK";
}

/** A server that is none would take whatever it is sent. Who may not be asked is believed. */
function checkNode(bytes: Uint8Array, start: number, end: number): string | null {
  return bytes[start] === MINUS && latin1(bytes, start, end).includes("cluster support disabled")
    ? "ENOCLUSTER"
    : null;
}

function checkReadOnly(bytes: Uint8Array, start: number): string | null {
  return bytes[start] === 45 ? "EREPLICA" : null;
}

/** What follows would read RESP2 as soon as the server wants no password any more. */
function checkHello(bytes: Uint8Array, start: number, end: number): string | null {
  if (bytes[start] !== 45) return null;
  return startsWith(bytes, start, end, NOAUTH_START) ? "EAUTH" : "EHELLO";
}

/** A server that wants a password answers every request so itself; any other refusal would put data into the wrong database. */
function checkSelect(bytes: Uint8Array, start: number, end: number): string | null {
  return bytes[start] !== 45 || startsWith(bytes, start, end, NOAUTH_START) ? null : "ESELECT";
}
