/**
 * memcached between clients and servers: takes text and meta requests off a client's bytes and sends each where its
 * kind says.
 *
 *   bytes ──scanRequest──► MemcachedRequest ──kind──► one server | fragments | every server | answer here
 *
 * One request forwarded is one reply back: `noreply` and `q` do not reach the servers, and what they ask for is done
 * here (a muted request keeps its place in the client's queue and sends nothing). That is what lets all clients share
 * one connection without losing count.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { shownWord } from "../bytes/shown.ts";
import type { PoolConfig } from "../config/config.ts";
import {
  ANSWER_FLUSH_ALL,
  ANSWER_LINE_TOO_LONG,
  ANSWER_NONE,
  ANSWER_TOO_LARGE,
  ANSWER_TOO_MANY_KEYS,
  ANSWERS,
} from "../protocol/memcached/answers.ts";
import {
  EVERY_SERVER,
  FORM,
  FORM_GET,
  KEYED,
  knownToAll,
  latencyClass,
  LOCAL,
  NAMES,
  quietDrops,
  replyFits,
  ROW_FLUSH_ALL,
  ROW_QUIT,
  ROW_VERSION,
  rowOf,
  SPLIT_GET,
} from "../protocol/memcached/commands.ts";
import { isClientHello } from "../protocol/client_hello.ts";
import { MAGIC_REQUEST, QUIET } from "../protocol/memcached/binary.ts";
import { scanReply } from "../protocol/memcached/reply.ts";
import { REPLY_ERROR, REPLY_VALUE } from "../protocol/memcached/reply_types.ts";
import {
  BINARY_CLIENT,
  KEY_MAX,
  MemcachedRequest,
  NEED_MORE,
  NOBODY_KNOWS,
  NOT_LEARNED,
  type RequestLimits,
  ROW_HTTP,
  scanRequest,
  SKIP,
} from "../protocol/memcached/request.ts";
import { Scan, VALUE_LIST } from "../protocol/memcached/scan.ts";
import { memcachedWords } from "../protocol/slow_words.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { LIMIT_MEMORY, LIMIT_REQUEST, PROTOCOL_ERROR, REQUESTS_TOTAL } from "../stats/metrics.ts";
import type { Client } from "../proxy/client.ts";
import { TLS_ON_PLAIN_PORT } from "../proxy/http_guard.ts";
import { type Failure, NO_LIVE_SERVER_TEXT } from "../proxy/failures.ts";
import type { Front, Greeting, ReplyScan } from "../proxy/front.ts";
import { Illnesses } from "../proxy/illness.ts";
import { sendGet } from "./get_batch.ts";
import { BinaryFront } from "./binary_front.ts";
import { Logins, takeLate, unlock } from "./login.ts";
import { BINARY, BinarySession, LATE, LOCKED, MemcachedSession } from "./session.ts";
import { SlicedGet } from "./slices.ts";
import {
  checkOf,
  JOIN_SAME,
  JOIN_STATS,
  MANY,
  placeKey,
  placeKeys,
  sendEverywhere,
  sendFragments,
  writeCut,
} from "./split.ts";
import { type MemcachedHost, proxyStats } from "./stats.ts";
import { ServerVersions } from "./versions.ts";
import { MEMORY_FULL_TEXT } from "../proxy/memory.ts";
import { MEMORY_FULL } from "../proxy/limits.ts";
import type { Pool } from "../proxy/pool.ts";
import { pace } from "../proxy/fan_out.ts";
import type { Tap } from "../stats/tapped.ts";
import { KEYS_COUNTED, type Seen } from "../proxy/seen.ts";
import { Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";

const ROW_SET = rowOf("set");
const ROW_MS = rowOf("ms");
const ILLNESSES = new Illnesses("memcached");
const NO_GREETINGS: readonly Greeting[] = [];
/** How long the rest of a quiet run may be under way while the proxy stops: less than after which a client that rests is closed. */
const QUIET_RUN_MS = 400;
const CHECK_QUIET = 0x100;
/** Bytes of "ERROR\r\n". */
const ERROR_ALONE = 7;

const request = new MemcachedRequest();
/** What the reply scanned last is: `fits` is asked about that one. */
let scannedType = 0;

function limitsOf({ argumentsMax, requestSizeMax }: PoolConfig, reading: number): RequestLimits {
  return {
    keysMax: argumentsMax,
    // As long as a line with so many keys can be.
    getLineMax: Math.min(requestSizeMax, (argumentsMax + 2) * (KEY_MAX + 1)),
    valueSizeMax: requestSizeMax,
    reading,
  };
}

export class MemcachedFront implements Front {
  readonly probe: Uint8Array = encode("version\r\n");
  private limits: RequestLimits;
  /** A get of more keys goes out in slices of so many. */
  private readonly sliceKeys: number;
  private readonly seen: Seen;
  /** The last of its client's queue before the request that is looked at came. */
  private before: Request | null = null;
  readonly noLiveServer: Uint8Array;
  private readonly memoryFull: Uint8Array;
  /** As which memcached we answer. Our own version is in `stats proxy`. */
  private readonly versions: ServerVersions;
  /** Of a pool with users. */
  private logins: Logins | null;
  /** Clients of the binary protocol. */
  private readonly binary: BinaryFront;

  constructor(private readonly pool: Pool, private readonly host: MemcachedHost) {
    this.limits = limitsOf(pool.config, NOBODY_KNOWS);
    this.versions = new ServerVersions(pool, (reading) => this.limits.reading = reading);
    this.sliceKeys = pool.sliceArguments;
    this.seen = pool.seen;
    this.noLiveServer = this.errorReply(NO_LIVE_SERVER_TEXT);
    this.memoryFull = this.errorReply(MEMORY_FULL_TEXT);
    this.logins = pool.config.users === null ? null : new Logins(pool);
    this.binary = new BinaryFront(pool, host, this.versions);
    this.binary.logins = this.logins;
  }

  newSession(client: Client): MemcachedSession {
    const session = new MemcachedSession(client);
    this.logins?.welcome(client, session);
    return session;
  }

  // ---- requests

  step(client: Client, bytes: Uint8Array, start: number, end: number): number {
    const session = client.session as MemcachedSession;
    if (session.skipBytes !== 0) return this.stepOdd(client, session, bytes, start, end);
    const next = scanRequest(bytes, start, end, this.limits, session.scan, request);
    if (next >= 0) {
      if (request.keyCount > this.sliceKeys && request.answer === ANSWER_NONE && this.pool.refusing === 0) {
        return this.slice(client, session, bytes) ? next : NEED_MORE;
      }
      const looked = ++this.pool.counters[REQUESTS_TOTAL]! >= this.seen.drawAt ||
        next - start > this.seen.bigFloor;
      if (looked) this.look(client, bytes, start, next);
      // Blanks before the name stay here: to 1.6.40 and later such a line is no command, and its data block is some.
      this.pool.counting = 1 + latencyClass(request.row, request.keyCount);
      this.dispatch(client, bytes, request.wordCount > 0 ? request.wordStarts[0]! : start, next);
      client.countHere();
      if (looked) this.sent(client);
      return next;
    }
    if (next === BINARY_CLIENT) {
      return this.becomesBinary(client, session, 0, bytes, start, end);
    }
    if (isClientHello(bytes, start, end)) {
      this.refuseTls(client);
      return NEED_MORE;
    }
    if (next === NOT_LEARNED) {
      if (this.versions.learn(client)) return this.step(client, bytes, start, end);
      client.lacks(0);
      return NEED_MORE;
    }
    if (next === NEED_MORE) {
      client.lacks(session.scan.needed);
      return NEED_MORE;
    }
    if (next === SKIP) {
      this.pool.counters[REQUESTS_TOTAL]!++;
      this.pool.counting = 1 + latencyClass(request.row, request.keyCount);
      this.refuseValue(client, bytes);
      client.countHere();
      return skip(session, request.needed, start, end);
    }
    this.pool.counters[request.answer === ANSWER_LINE_TOO_LONG ? LIMIT_REQUEST : PROTOCOL_ERROR]!++;
    client.answer(ANSWERS[request.answer]!);
    client.protocolError();
    return NEED_MORE;
  }

  /** Bytes that are not for the scanner of lines. */
  private stepOdd(
    client: Client,
    session: MemcachedSession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    const { binary } = session;
    if (binary !== null) return this.binary.step(client, binary, bytes, start, end);
    if (session.skipBytes === LOCKED) return this.stepLocked(client, session, bytes, start, end);
    if (session.skipBytes === LATE) {
      const next = takeLate(client, bytes, start, end);
      return next === start ? this.step(client, bytes, start, end) : next;
    }
    return skip(session, session.skipBytes, start, end);
  }

  /** @param skipBytes as of its session: LOCKED, or none */
  private becomesBinary(
    client: Client,
    session: MemcachedSession,
    skipBytes: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    session.skipBytes = BINARY;
    session.binary = new BinarySession(skipBytes);
    return this.binary.step(client, session.binary, bytes, start, end);
  }

  /** The client has not logged in: its first byte decides, here too. */
  private stepLocked(
    client: Client,
    session: MemcachedSession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (session.scan.started === 0 && bytes[start] === MAGIC_REQUEST) {
      return this.becomesBinary(client, session, LOCKED, bytes, start, end);
    }
    if (isClientHello(bytes, start, end)) {
      this.refuseTls(client);
      return NEED_MORE;
    }
    return this.logins!.knock(client, session, bytes, start, end);
  }

  /** A request has been drawn, or is large: counts its keys, notes those whose values are large (see proxy/seen.ts). */
  private look(client: Client, bytes: Uint8Array, start: number, end: number): void {
    const { seen, turn, counters, clock } = this.pool;
    const requests = counters[REQUESTS_TOTAL]!;
    const nowMs = turn.now();
    const drawn = requests >= seen.drawAt;
    this.before = client.replies.tail;
    const weight = drawn ? seen.draw(requests, nowMs) : 0;
    const { kind, keyFirst, keyCount, wordStarts, wordEnds, row } = request;
    if (request.answer !== ANSWER_NONE || kind !== KEYED && kind !== SPLIT_GET) return;
    const most = weight > 0 ? Math.min(keyCount, KEYS_COUNTED) : 0;
    const first = keyFirst + requests % (keyCount - most + 1);
    for (let k = first; k < first + most; k++) {
      seen.asked(bytes, wordStarts[k]!, wordEnds[k]!, weight * keyCount / most, nowMs);
    }
    if (drawn) this.follow(client, bytes, nowMs);
    if (end - start <= seen.bigFloor || kind !== KEYED) return;
    const size = end - start;
    const name = latin1(NAMES[row]!);
    seen.passed(
      bytes,
      wordStarts[keyFirst]!,
      wordEnds[keyFirst]!,
      size,
      "request",
      name,
      clock.wallMs(),
    );
  }

  /** A request that was drawn, with a key at least, is followed to its reply. */
  private follow(client: Client, bytes: Uint8Array, nowMs: number): void {
    const { seen, pool } = this;
    const { keyFirst, keyCount, wordStarts, wordEnds, wordCount, row } = request;
    const start = wordStarts[keyFirst]!;
    const end = wordEnds[keyFirst]!;
    const key = keyCount === 1 ? seen.keyOf(bytes, start, end) : null;
    const command = latin1(NAMES[row]!);
    if (seen.taps.length === 0) {
      if (key !== null) {
        seen.follow({ command, key, taps: NOBODY, server: null, client: "", words: NO_WORDS });
      }
      return;
    }
    const keys: string[] = [];
    for (let k = keyFirst; k < keyFirst + Math.min(keyCount, WORDS_SHOWN); k++) {
      keys.push(latin1(bytes, wordStarts[k]!, wordEnds[k]!));
    }
    const address = client.peer();
    const taps = seen.listeners(command, address, keys, nowMs);
    if (key === null && taps.length === 0) return;
    const words: string[] = [];
    const shownCount = taps.length === 0 ? 0 : Math.min(wordCount, 1 + WORDS_SHOWN);
    for (let i = 1; i < shownCount; i++) {
      words.push(shownWord(bytes, wordStarts[i]!, wordEnds[i]!, WORD_SHOWN));
    }
    const owner = keyCount === 1 ? placeKey(pool, bytes, request) : -1;
    seen.follow({
      command,
      key,
      taps,
      server: pool.servers[owner]?.config.name ?? null,
      client: address,
      words,
    });
  }

  /** The request that was looked at has been sent on its way. */
  private sent(client: Client): void {
    const { tail } = client.replies;
    this.seen.sent(tail === this.before ? null : tail, this.pool.clock.wallMs());
    this.before = null;
  }

  /** Sends one whole request on its way. */
  private dispatch(client: Client, bytes: Uint8Array, start: number, end: number): void {
    if (request.answer !== ANSWER_NONE) {
      return isClientHello(bytes, start, end) ? this.refuseTls(client) : this.answer(client, request.answer);
    }
    if (this.pool.refusing !== 0) return this.refuseWork(client);
    switch (request.kind) {
      case KEYED:
        return this.forward(client, placeKey(this.pool, bytes, request), bytes, start, end);
      case SPLIT_GET: {
        if (request.split === 0) {
          const index = placeKey(this.pool, bytes, request);
          if (FORM[request.row] !== FORM_GET) return this.forward(client, index, bytes, start, end);
          return this.forwardGet(client, index, bytes);
        }
        const server = placeKeys(this.pool, bytes, start, request);
        if (server === MANY) return sendFragments(client, bytes, request);
        return this.forward(client, server, bytes, start, end);
      }
      case EVERY_SERVER:
        return this.forwardEverywhere(client, bytes, start, end);
      default:
        this.answerHere(client);
    }
  }

  /** Begins a get of very many keys. False if it has to wait until the client is owed nothing. */
  private slice(client: Client, session: MemcachedSession, bytes: Uint8Array): boolean {
    if (!client.atRest()) {
      client.lacks(0);
      return false;
    }
    this.pool.counters[REQUESTS_TOTAL]!++;
    this.pool.counting = 1 + latencyClass(request.row, request.keyCount);
    session.sliced = new SlicedGet(client, bytes, request, () => session.sliced = null);
    return true;
  }

  holdsBytes(client: Client): number {
    const { binary, sliced, scan } = client.session as MemcachedSession;
    if (binary !== null) return binary.keyBytes;
    return (sliced?.holdsBytes ?? 0) + scan.holdsBytes;
  }

  /** See Pool.refusing: refuses what needs a server. */
  private refuseWork(client: Client): void {
    if (request.kind === LOCAL) {
      client.allowance?.pass();
      return this.answerHere(client);
    }
    const full = (this.pool.refusing & MEMORY_FULL) !== 0;
    const error = full ? this.memoryFull : client.allowance!.refuse(request.noreply === 0);
    if (full) this.pool.counters[LIMIT_MEMORY]!++;
    if (request.noreply === 0) client.answer(error);
  }

  private answer(client: Client, code: number): void {
    if (code === ANSWER_TOO_MANY_KEYS) this.pool.counters[LIMIT_REQUEST]!++;
    if (request.noreply === 0) client.answer(ANSWERS[code]!);
  }

  private refuseTls(client: Client): void {
    this.pool.httpGuard.noteTls(client);
    client.answer(this.errorReply(TLS_ON_PLAIN_PORT));
    client.protocolError();
  }

  private answerHere(client: Client): void {
    if (request.row === ROW_HTTP) {
      this.pool.httpGuard.note(client);
      // What is owed for earlier requests still goes out, as from memcached.
      client.protocolError();
    } else if (request.row === ROW_QUIT) client.closeAfterReplies();
    else if (request.row === ROW_VERSION) client.answer(encode(`VERSION ${this.versions.text}\r\n`));
    else client.answer(proxyStats(this.host, this.pool.config.name));
  }

  private forwardEverywhere(client: Client, bytes: Uint8Array, start: number, end: number): void {
    const flush = request.row === ROW_FLUSH_ALL;
    if (flush && !this.pool.config.dangerousCommands) return this.answer(client, ANSWER_FLUSH_ALL);
    // One server's statistics stay as it says them.
    const { servers } = this.pool;
    if (servers.every((server) => server.ejected)) return this.refuse(client, this.noLiveServer);
    if (servers.length === 1) return this.forward(client, 0, bytes, start, end);
    sendEverywhere(client, bytes, request, flush ? JOIN_SAME : JOIN_STATS);
  }

  private forward(client: Client, index: number, bytes: Uint8Array, start: number, end: number): void {
    const connection = this.reach(client, index);
    if (connection === null) return;
    connection.enqueue(enqueued(client));
    writeCut(connection, bytes, start, end, request);
    pace(client, connection);
  }

  /** The gets of a turn go out together. */
  private forwardGet(client: Client, index: number, bytes: Uint8Array): void {
    const connection = this.reach(client, index);
    if (connection === null) return;
    const { row, keyFirst, wordStarts, wordEnds } = request;
    sendGet(connection, enqueued(client), NAMES[row]!, bytes, wordStarts[keyFirst]!, wordEnds[keyFirst]!);
    pace(client, connection);
  }

  /** The client's connection to a server, or null: it has been told why there is none. */
  private reach(client: Client, index: number): ServerConnection | null {
    if (index === NO_SERVER) {
      this.refuse(client, this.noLiveServer);
      return null;
    }
    const server = this.pool.servers[index]!;
    const connection = this.connectionTo(client, server);
    if (connection === null) this.refuse(client, server.refusal());
    return connection;
  }

  private refuse(client: Client, error: Uint8Array): void {
    client.countForwardError();
    if (request.noreply === 0) client.answer(error);
  }

  /** The value is over the limit and will not be read. The old one goes, as memcached sees to it: it would be stale. */
  private refuseValue(client: Client, bytes: Uint8Array): void {
    this.pool.counters[LIMIT_REQUEST]!++;
    this.answer(client, request.answer);
    if (request.answer !== ANSWER_TOO_LARGE || (request.row !== ROW_SET && request.row !== ROW_MS)) return;
    const index = placeKey(this.pool, bytes, request);
    const connection = index === NO_SERVER ? null : this.connectionTo(client, this.pool.servers[index]!);
    if (connection === null) return;
    const key = bytes.subarray(request.wordStarts[request.keyFirst], request.wordEnds[request.keyFirst]);
    const head = encode(request.row === ROW_SET ? "delete " : "md ");
    const tail = encode(request.base64 === 1 ? " b\r\n" : "\r\n");
    const line = new Uint8Array(head.length + key.length + tail.length);
    line.set(head);
    line.set(key, head.length);
    line.set(tail, head.length + key.length);
    connection.ask(line, () => {});
    pace(client, connection);
  }

  /**
   * True while the rest of a refused value is under way: it is no request, and cannot be left for later. And for a while behind a quiet
   * packet, since what its client waits for is the reply to one that is not here yet.
   */
  midway(client: Client): boolean {
    const { skipBytes, binary } = client.session as MemcachedSession;
    if (binary === null) return skipBytes > 0;
    return binary.skipBytes > 0 ||
      QUIET[binary.opcode] === 1 && this.pool.turn.now() - client.lastActiveMs < QUIET_RUN_MS;
  }

  waits(client: Client): boolean {
    return this.logins?.users.keepsWaiting(client.session as MemcachedSession) ?? false;
  }

  abandoned(client: Client): void {
    (client.session as MemcachedSession).sliced = null;
  }

  ringChanged(): void {
    this.versions.forget();
  }

  keptBytes(): number {
    return this.seen.holdsBytes + (this.logins?.users.holdsBytes ?? 0);
  }

  adopt(): void {
    this.limits = limitsOf(this.pool.config, NOBODY_KNOWS);
    this.versions.forget();
    this.adoptUsers();
    this.binary.logins = this.logins;
    this.binary.adopt();
  }

  private adoptUsers(): void {
    const { pool } = this;
    if (pool.config.users === null) {
      if (this.logins === null) return;
      this.logins = null;
      for (const client of pool.clients) unlock(client);
      return;
    }
    if (this.logins === null) this.logins = new Logins(pool);
    else this.logins.users.adopt(pool.config);
    for (const client of pool.clients) this.logins.adopt(client);
  }

  stop(): void {}

  // ---- servers

  connectionClass(): number {
    return 0;
  }

  connectionTo(client: Client, server: Server): ServerConnection | null {
    return server.connection(0, client.serial);
  }

  greetings(): readonly Greeting[] {
    return NO_GREETINGS;
  }

  newReplyScan(): Scan {
    // For a connection that is made: whoever it is to may be another than before.
    this.versions.forget();
    return new Scan();
  }

  scanReply(bytes: Uint8Array, start: number, end: number, scan: ReplyScan): number {
    const next = scanReply(bytes, start, end, scan as Scan);
    scannedType = (scan as Scan).type;
    return next;
  }

  fits(asked: Request, _: Uint8Array, start: number, end: number): boolean {
    const type = scannedType;
    const row = (asked.check & 0xff) - 1;
    if (!replyFits(row, type)) return false;
    if (type === REPLY_ERROR && end - start === ERROR_ALONE && knownToAll(row)) return false;
    if ((asked.check & CHECK_QUIET) !== 0 && quietDrops(row, type)) asked.muted = true;
    return true;
  }

  fitsSoFar(asked: Request, scan: ReplyScan): boolean {
    return (scan as Scan).list === VALUE_LIST && replyFits((asked.check & 0xff) - 1, REPLY_VALUE);
  }

  /** A value comes with its line before it and END behind it: two elements at least. */
  isOneValue(): boolean {
    return false;
  }

  isPush(): boolean {
    return false;
  }

  wordsOf(head: Uint8Array, masked: boolean): string[] {
    return memcachedWords(head, masked);
  }

  illness(bytes: Uint8Array, start: number, end: number, where: number): Failure | null {
    // "ER": END is the commonest of all replies.
    return bytes[start] === 69 && bytes[start + 1] === 82 ? ILLNESSES.find(bytes, start, end, where) : null;
  }

  laterReply(text: string): Uint8Array {
    return this.errorReply(text);
  }

  errorReply(text: string): Uint8Array {
    return encode(`SERVER_ERROR ${text}\r\n`);
  }
}

/** What a tap shows of a request: words, and bytes of each. */
const WORDS_SHOWN = 8;
const WORD_SHOWN = 64;
const NOBODY: readonly Tap[] = [];
const NO_WORDS: readonly string[] = [];

/** The request at hand, in its client's queue. */
function enqueued(client: Client): Request {
  const forwarded = new Request(client);
  client.enqueue(forwarded);
  if (request.noreply === 1) forwarded.muted = true;
  forwarded.check = checkOf(request.row, request.quiet);
  return forwarded;
}

/** Drops `size` bytes from `start` on: what is here now, the rest as it comes. */
function skip(session: MemcachedSession, size: number, start: number, end: number): number {
  const here = Math.min(size, end - start);
  session.skipBytes = size - here;
  return start + here;
}
