/**
 * MULTI … EXEC, and WATCH.
 *
 *   MULTI ──► commands are checked and kept here, each answered +QUEUED ──► EXEC: MULTI, all of them, EXEC (redis/exec.ts)
 *
 * Nothing reaches a server before EXEC, so a client that goes away in between leaves nothing behind, and without WATCH
 * the shared connection will do, unless there are very many: the transaction is contiguous on it. WATCH is a promise about a
 * connection, so it takes a leased one, which ends with EXEC, DISCARD or UNWATCH, or is closed with the client.
 * What is not for that server (answers of our own, messages for other servers' channels) waits aside: redis/woven.ts.
 * All keys have to be on one server, when they are queued and, if servers have come or gone since, at EXEC. What Redis would refuse while queueing (unknown command, arity) is refused here in its
 * words; what only the server can know (READONLY, OOM) shows in EXEC's own reply, EXECABORT.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { command } from "../protocol/redis/encode.ts";
import { OK } from "../protocol/redis/reply_writer.ts";
import { isError } from "../protocol/redis/reply.ts";
import { ASK, MOVED, readRedirect, type Redirect, TRYAGAIN } from "../protocol/redis/redirect_reply.ts";
import { type Client, LEASED } from "../proxy/client.ts";
import { Execution, isLong, touched } from "./exec.ts";
import { type Known, slotOfAny } from "./kept_keys.ts";
import { ACROSS, KEYLESS, NOWHERE } from "./places.ts";
import { Placing } from "./placing.ts";
import type { PoolRedirects } from "./redirect.ts";
import { CommandQueue } from "./queue.ts";
import type { RedisSession } from "./session.ts";
import { type Aside, ASIDE_MAX, NO_ELEMENTS, type Rerun, Weaver } from "./woven.ts";
import { pace, refuse } from "../proxy/fan_out.ts";
import { Request } from "../proxy/request.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder, ServerConnection } from "../proxy/server_connection.ts";

const QUEUED = encode("+QUEUED\r\n");
const EMPTY = encode("*0\r\n");
const NESTED = encode("-ERR MULTI calls can not be nested\r\n");
const EXEC_ALONE = encode("-ERR EXEC without MULTI\r\n");
const DISCARD_ALONE = encode("-ERR DISCARD without MULTI\r\n");
const WATCH_INSIDE = encode("-ERR WATCH inside MULTI is not allowed\r\n");
const ABORTED = encode("-EXECABORT Transaction discarded because of previous errors.\r\n");
const EXECABORT_FOR = "EXECABORT Transaction discarded because of: ";
const TOO_MANY_ASIDE = errorReply(
  `ERR too many commands of this transaction are answered by the proxy or go to other servers (${ASIDE_MAX})`,
);
const MOVED_APART =
  "the servers of the pool have changed since MULTI (one came, went, was ejected or returned), and its keys " +
  "are no longer on one of them; nothing was done";
const TOO_LARGE = encode("-ERR transaction too large (max_request_size)\r\n");
/** About what a command that waits aside takes beside its bytes; those in the queue lie back to back. */
const ASIDE_BYTES = 160;
/** Of a transaction: so many are asked for by name where a node may lack them. */
const FUNCTIONS_MAX = 64;
/** In a cluster: so many nodes are asked to watch without a pause, for so long, with such pauses. */
const WATCH_HOPS = 5;
const WATCH_MS = 1000;
const WATCH_AGAIN_MS = 50;
const UNWATCH_BYTES = command("UNWATCH");

export class Transaction implements Holder {
  private readonly client: Client;
  /** Between MULTI and EXEC or DISCARD. */
  queueing = false;
  private queue = new CommandQueue();
  private queuedBytes = 0;
  /** A command was refused while queueing: EXEC will be too. */
  private broken = false;
  /** Why, where Redis would not have refused it: EXEC tells, since few programs look at the replies before. "" = Redis would. */
  private because = "";
  /** Refused or not. */
  private commands = 0;
  private asides: Aside[] = [];
  private asideCost = 0;
  /** The server of all keys so far; null = none yet, or none is live that could have them. */
  private server: Server | null = null;
  /** A command has keys. */
  private keyed = false;
  /** A command means the whole pool, which was one server when it was queued. */
  private whole = false;
  /** `Pool.moves` when that was found: the keys may be elsewhere if there have been more since. */
  private moves = 0;
  /** Finds out where they are now. */
  private placing: Placing | null = null;
  /** The connection that watches, and its server. */
  private watch: ServerConnection | null = null;
  private watchServer: Server | null = null;
  /** The connection class that the watching connection is in now: SELECT and HELLO may come after WATCH. */
  private watchClass = 0;
  /** A WATCH has been answered OK on the connection. */
  private watches = false;
  /** A watching connection was lost: EXEC has to fail, as the watch cannot be vouched for. */
  private watchLost = false;
  /** It is to be lost as soon as it owes nothing. */
  private losesWatch = false;
  /** Of the pool when a key was watched last. */
  private epochWatched = 0;
  /** `Pool.rings` when the first key was watched. */
  private ringWatched = 0;
  /** It has keys, and at EXEC no server was live that could have them. */
  private nowhere = false;
  /** Replies still to come on the leased connection before it can be given back. */
  private expected = 0;
  private releaseWhenAnswered = false;

  /**
   * @param rerun runs what waits aside
   * @param crossSlot the error for the request at hand, of these bytes, whose keys are on another server
   * @param known see Placing
   */
  constructor(
    private readonly session: RedisSession,
    private readonly rerun: Rerun,
    private readonly crossSlot: (bytes: Uint8Array) => Uint8Array,
    private readonly known: Known,
  ) {
    this.client = session.client;
  }

  /** True if nothing is left of it: the session can forget it. */
  get over(): boolean {
    return !this.queueing && this.watch === null && !this.watchLost;
  }

  /** Commands that wait for EXEC. */
  get queuedCount(): number {
    return this.queue.count + this.asides.length;
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.queuedBytes + this.asides.length * ASIDE_BYTES + (this.placing?.holdsBytes ?? 0);
  }

  multi(): void {
    // An error, but none that spoils the transaction.
    if (this.queueing) return this.client.answer(NESTED);
    this.clear();
    this.queueing = true;
    this.lookAtRing();
    this.server = this.watchServer;
    this.moves = this.client.pool.moves;
    this.client.answer(OK);
  }

  /** Refuses a command inside MULTI: EXEC will abort. */
  refuse(error: Uint8Array): void {
    this.broken = true;
    this.commands++;
    this.client.answer(error);
  }

  /** EXEC will abort, if it is in MULTI. */
  breaks(): void {
    if (this.queueing) this.broken = true;
  }

  /** As `refuse`, for what Redis alone would have accepted: EXEC repeats it. @param command its name, "CLIENT LIST" */
  refuseOurs(command: string, error: Uint8Array): void {
    this.because ||= `command ${this.commands + 1}, '${command}': ${latin1(error, 1, error.length - 2)}`;
    this.refuse(error);
  }

  /** Its keys are on another server than those before it. */
  private refuseCross(command: string, error: Uint8Array): void {
    if (this.because === "") {
      this.because = `${latin1(error, 1, error.length - 2)} (command ${this.commands + 1}, '${command}'); ` +
        this.hint;
    }
    this.refuse(error);
  }

  private get hint(): string {
    const tag = this.client.pool.config.hashTag;
    return tag === null
      ? 'set hash_tag: "{}" for this pool and give all keys of a transaction one tag, {tag}:name'
      : `give all keys of a transaction one hash tag, ${latin1(tag, 0, 1)}tag${latin1(tag, 1, 2)}:name`;
  }

  /**
   * The rules of its user are others. Redis looks at each command again at EXEC; here all of it is refused, since what was queued was allowed
   * by rules that are gone.
   */
  rightsChanged(): void {
    if (!this.queueing) return;
    this.broken = true;
    this.because ||=
      "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call";
  }

  /** EXEC itself was wrong (arity): Redis forgets the transaction and the watch. False if it has to be offered again. */
  abort(error: Uint8Array): boolean {
    if (!this.client.atRest()) return false;
    this.clear();
    if (this.watch !== null) this.endWatch(null);
    this.watchLost = false;
    this.client.answer(error);
    return true;
  }

  /**
   * Keeps a command for EXEC.
   * @param server the index of where its keys are; or NOWHERE, ACROSS, KEYLESS
   */
  add(
    command: string,
    server: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    bytesMax: number,
  ): void {
    this.startAnew();
    if (server === ACROSS) return this.refuseCross(command, this.crossSlot(bytes));
    if (server !== KEYLESS) {
      const { pool } = this.client;
      // If keys have moved EXEC will find out where all of them are.
      if (this.moves === pool.moves && server !== NOWHERE) {
        const owner = pool.servers[server]!;
        if (this.server !== null && owner !== this.server) {
          return this.refuseCross(command, this.crossSlot(bytes));
        }
        this.server = owner;
      }
      this.keyed = true;
    }
    if (!this.fits(end - start, bytesMax)) return;
    if (!this.broken) this.queue.add(bytes, start, end);
    this.client.answer(QUEUED);
  }

  /**
   * Keeps a command that its server does not get.
   * @param cost of ASIDE_MAX
   * @param channelOwner see Aside
   */
  addAside(
    command: string,
    cost: number,
    channelOwner: Server | undefined,
    bytes: Uint8Array,
    start: number,
    end: number,
    bytesMax: number,
  ): void {
    this.startAnew();
    this.asideCost += cost;
    if (this.asideCost > ASIDE_MAX) return this.refuseOurs(command, TOO_MANY_ASIDE);
    if (!this.fits(end - start, bytesMax)) return;
    if (!this.broken) {
      const { count, size } = this.queue;
      this.asides.push({ before: count, at: size, bytes: bytes.slice(start, end), channelOwner });
    }
    this.client.answer(QUEUED);
  }

  /** What is queued next names a script by its digest. */
  namesScript(): void {
    this.queue.namesScripts = true;
  }

  /** What is queued next calls this function. */
  callsFunction(name: string): void {
    const functions = this.queue.functions ??= new Set();
    if (functions.size < FUNCTIONS_MAX) functions.add(name);
  }

  /** What is queued next means the whole pool, and is one server's only as long as there is but one. */
  meansWholePool(): void {
    this.whole = true;
  }

  private fits(size: number, bytesMax: number): boolean {
    this.commands++;
    this.queuedBytes += size;
    if (this.queuedBytes <= bytesMax) return true;
    this.queue.clear();
    this.asides = [];
    this.commands--;
    this.refuse(TOO_LARGE);
    return false;
  }

  /** @param server all watched keys are on it. False if the client has to offer the request again. */
  startWatch(server: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { client } = this;
    if (this.queueing) {
      // Redis answers with an error here and leaves the transaction as it is.
      client.answer(WATCH_INSIDE);
      return true;
    }
    if (!client.atRest()) return false;
    const target = client.pool.servers[server]!;
    if (this.watchServer !== null && this.watchServer !== target) {
      client.answer(this.crossSlot(bytes));
      return true;
    }
    if (this.watch === null) {
      this.watchClass = client.pool.front.connectionClass(client);
      this.watch = target.lease(this.watchClass, this);
      if (this.watch !== null) {
        this.watchServer = target;
        this.ringWatched = client.pool.rings;
      }
    }
    if (this.watch === null) {
      refuse(client, target.refusal());
      return true;
    }
    this.epochWatched = client.pool.epoch;
    if (!this.align(this.watch)) return false;
    if (client.pool.cluster) {
      const request = new Request(client);
      client.enqueue(request);
      const untilMs = client.pool.turn.now() + WATCH_MS;
      this.watchAt(this.watch, request, bytes.slice(start, end), untilMs, WATCH_HOPS);
    } else this.send(this.watch, bytes, start, end);
    // What the client reads next must come after the watch has begun.
    client.block(LEASED);
    return true;
  }

  /**
   * In a cluster: asks this node to watch, or whoever has the keys in its place.
   * @param untilMs so long it is asked again
   * @param hops how many more nodes may be asked before a pause
   */
  private watchAt(
    connection: ServerConnection,
    request: Request,
    bytes: Uint8Array,
    untilMs: number,
    hops: number,
  ): void {
    const asked = new Request(null);
    asked.internal = (reply, start, end, failed) => {
      const { client } = request;
      if (client === null) return;
      const redirect = failed ? null : readRedirect(reply, start, end);
      if (redirect !== null) {
        return this.watchElsewhere(
          connection,
          request,
          bytes,
          untilMs,
          hops,
          redirect,
          reply.slice(start, end),
        );
      }
      this.watches ||= !failed && !isError(reply, start);
      if (failed) client.countForwardError();
      client.deliver(request, reply, start, end);
    };
    connection.forward(asked, bytes, 0, bytes.length);
    this.expected++;
  }

  /**
   * The node does not have the keys, or not all of them. What is on its way (ASK, TRYAGAIN) cannot be watched: nobody may say ASKING for
   * an EXEC of which the other node knows nothing. If it does not arrive soon, EXEC says that it was touched, and the client begins anew.
   */
  private watchElsewhere(
    connection: ServerConnection,
    request: Request,
    bytes: Uint8Array,
    untilMs: number,
    hops: number,
    redirect: Redirect,
    reply: Uint8Array,
  ): void {
    const { client, watchClass } = this;
    const { pool } = client;
    if (this.watches) {
      // Two nodes cannot watch for one EXEC.
      this.losesWatch = true;
      return client.deliver(request, OK, 0, OK.length);
    }
    const { endpoint } = connection;
    const redirects = pool.front.redirects as PoolRedirects;
    const moved = redirect.kind === MOVED;
    if (moved) redirects.noteMoved(endpoint.server, "a watched key has moved");
    this.forgetWatch();
    endpoint.giveBack(connection, watchClass === connection.connectionClass);
    const target = moved && hops > 0 ? redirects.target(endpoint, redirect) : null;
    if (target !== endpoint && this.watchOn(target, request, bytes, untilMs, hops - 1)) return;
    if (pool.turn.now() >= untilMs) {
      this.watchLost = redirect.kind === ASK || redirect.kind === TRYAGAIN;
      const said = this.watchLost ? OK : reply;
      client.deliver(request, said, 0, said.length);
      return client.unblock(LEASED);
    }
    pool.setTimer(WATCH_AGAIN_MS, () => {
      if (request.client === null) return;
      const server = pool.servers[pool.placement.serverOfSlot(slotOfAny(pool, bytes))];
      if (this.watchOn(server?.primary ?? null, request, bytes, untilMs, WATCH_HOPS)) return;
      const refusal = server?.refusal() ?? pool.front.noLiveServer;
      client.countForwardError();
      client.deliver(request, refusal, 0, refusal.length);
      client.unblock(LEASED);
    });
  }

  /** False if there is no connection to be had. */
  private watchOn(
    endpoint: Endpoint | null,
    request: Request,
    bytes: Uint8Array,
    untilMs: number,
    hops: number,
  ): boolean {
    const { pool } = this.client;
    const watch = endpoint?.lease(this.watchClass, this) ?? null;
    if (watch === null) return false;
    this.watch = watch;
    // By the pool's table, which its transaction goes by too.
    this.watchServer = pool.servers[pool.placement.serverOfSlot(slotOfAny(pool, bytes))] ?? null;
    this.epochWatched = pool.epoch;
    this.watchAt(watch, request, bytes, untilMs, hops);
    return true;
  }

  /** False if the client has to offer the request again. */
  unwatch(): boolean {
    if (this.queueing) throw new Error("UNWATCH inside MULTI is queued like any other command");
    if (this.watch !== null && !this.client.atRest()) return false;
    this.watchLost = false;
    if (this.watch === null) this.client.answer(OK);
    else this.endWatch(new Request(this.client));
    return true;
  }

  discard(): boolean {
    if (!this.queueing) {
      this.client.answer(DISCARD_ALONE);
      return true;
    }
    if (!this.client.atRest()) return false;
    this.clear();
    if (this.watch !== null) this.endWatch(null);
    this.watchLost = false;
    this.client.answer(OK);
    return true;
  }

  /**
   * @param fixed the server for transactions without any key
   * @returns false if the client has to offer the request again
   */
  exec(fixed: number): boolean {
    const { client } = this;
    if (!this.queueing) {
      client.answer(EXEC_ALONE);
      return true;
    }
    const { queue } = this;
    const long = !this.broken && isLong(client, queue);
    if ((this.watch !== null || long) && !client.atRest()) return false;
    this.lookAtRing();
    if (this.whole && client.pool.servers.length > 1) {
      this.broken = true;
      this.because ||= MOVED_APART;
    }
    if (this.watch !== null && !this.broken && !this.align(this.watch)) return false;
    if (!this.watchLost && !this.broken && !this.placeAnew(long)) return false;
    const server = this.execServer(fixed);
    // What has been asked before may yet be sent elsewhere, and would be overtaken by what is held up here.
    if (!this.broken && !this.watchLost && this.lacksFunctions(server) && !client.atRest()) return false;
    const asides = this.tellApart(server);
    const { broken, because, watchLost } = this;
    if (!broken && !watchLost) this.queue = new CommandQueue();
    this.clear();
    this.watchLost = false;
    if (broken) {
      if (this.watch !== null) this.endWatch(null);
      client.answer(because === "" ? ABORTED : errorReply(EXECABORT_FOR + because));
    } else if (watchLost) {
      // More may be watched since, elsewhere.
      if (this.watch !== null) this.endWatch(null);
      // As if a watched key had been touched, which it may have been: the client tries again.
      client.answer(touched(this.session.resp));
    } else if (this.watch !== null) {
      this.expected += queue.count + 2;
      const execution = new Execution(this.session, queue, asides, this.rerun);
      if (long) execution.sendSliced(this.watch);
      else execution.sendWatched(this.watch);
      this.releaseWhenAnswered = true;
      client.block(LEASED);
    } else if (queue.count > 0) this.execAnywhere(server, queue, asides, long);
    else if (asides.length === 0) client.answer(EMPTY);
    else {
      const parent = new Request(client);
      client.enqueue(parent);
      client.beginWoven();
      new Weaver(this.session, parent, asides, this.rerun).weave(NO_ELEMENTS, 0, NO_ELEMENTS.length);
    }
    return true;
  }

  /** Is its node to be asked first which functions it has? */
  private lacksFunctions(server: Server | null): boolean {
    const { client, queue: { functions } } = this;
    const { pool } = client;
    if (functions === null || server === null || !pool.cluster) return false;
    const connection = pool.front.connectionTo(client, server);
    return connection !== null &&
      (pool.front.redirects as PoolRedirects).called(connection, functions).length > 0;
  }

  /** Where EXEC goes: without a key, to the first message's server. */
  private execServer(fixed: number): Server | null {
    if (this.server !== null || this.nowhere) return this.server;
    const keyless = this.client.pool.servers[fixed] ?? null;
    if (this.queue.count > 0) return keyless;
    return this.asides.find(({ channelOwner }) => channelOwner !== undefined)?.channelOwner ?? keyless;
  }

  /** Without keys nothing depends on where keys were when it began. */
  private startAnew(): void {
    const { moves } = this.client.pool;
    if (this.keyed || this.moves === moves) return;
    this.moves = moves;
    this.server = null;
    this.asidesAlone();
  }

  /** Their channels may be another server's: they go there by themselves. */
  private asidesAlone(): void {
    this.asides = this.asides.map(({ before, at, bytes }) => ({ before, at, bytes }));
  }

  /**
   * EXEC goes where its keys are now, not where they were when they were queued: there nobody would find what it writes.
   * @param long it may take turns
   * @returns false if it does: the client is blocked, and has to offer the request again
   */
  private placeAnew(long: boolean): boolean {
    this.startAnew();
    const { client, server } = this;
    const { pool } = client;
    if (this.moves === pool.moves) return true;
    // With distribution "random" keys are where they were drawn to be.
    const stays = pool.config.distribution === "random" && server !== null && server.index >= 0 &&
      !server.ejected;
    if (!stays) {
      const placing = this.placing ??= new Placing(client, this.queue, this.known);
      if (!placing.isDone(long)) return false;
      this.placing = null;
      this.server = pool.servers[placing.server] ?? null;
      this.nowhere = placing.server === NOWHERE;
      this.broken = placing.server === ACROSS;
      if (this.broken) this.because = MOVED_APART;
    }
    this.moves = pool.moves;
    this.asidesAlone();
    return true;
  }

  /** Messages for channels of the transaction's own server are a part of it after all. Returns what is not. */
  private tellApart(server: Server | null): readonly Aside[] {
    const { asides, queue } = this;
    if (server === null || !asides.some(({ channelOwner }) => channelOwner === server)) return asides;
    const others: Aside[] = [];
    let own = 0;
    for (const { before, at, bytes, channelOwner } of asides) {
      if (channelOwner !== server) others.push({ before: before + own, at, bytes });
      else {
        queue.insert(at, bytes);
        own++;
      }
    }
    return others;
  }

  private execAnywhere(
    server: Server | null,
    queue: CommandQueue,
    asides: readonly Aside[],
    long: boolean,
  ): void {
    const { client } = this;
    const { pool } = client;
    const { session } = this;
    const execution = new Execution(session, queue, asides, this.rerun);
    // Who tracks has connections of its own, whose pushes it has to get.
    if (server !== null && long && session.tracking === null) {
      if (execution.sendLeased(server)) return;
    } else if (server !== null) {
      const connection = pool.front.connectionTo(client, server);
      if (connection !== null) {
        execution.send(connection);
        session.tracking?.execSent();
        pace(client, connection);
        return;
      }
    }
    queue.clear();
    refuse(client, server?.refusal() ?? pool.front.noLiveServer);
  }

  /**
   * Takes the watching connection to the database and protocol the client has chosen since: watches outlive both.
   * @returns false if the server has to agree first: the client is blocked and offers its request again
   */
  private align(connection: ServerConnection): boolean {
    const { session } = this;
    const now = session.connectionClass;
    if (now === this.watchClass) return true;
    if (now % 2 !== this.watchClass % 2) this.demand(connection, command("HELLO", session.resp));
    if (now >> 1 !== this.watchClass >> 1) {
      this.demand(connection, command("SELECT", this.client.pool.config.redisDb + session.db));
    }
    this.watchClass = now;
    this.client.block(LEASED);
    return false;
  }

  /** A request that must not fail: what follows would go to the wrong database. */
  private demand(connection: ServerConnection, bytes: Uint8Array): void {
    const request = new Request(null);
    request.internal = (reply, start, _end, failed) => {
      if (!failed && isError(reply, start)) connection.retire();
    };
    connection.forward(request, bytes, 0, bytes.length);
    this.expected++;
  }

  private send(connection: ServerConnection, bytes: Uint8Array, start: number, end: number): void {
    const request = new Request(this.client);
    this.client.enqueue(request);
    connection.forward(request, bytes, start, end);
    if (connection === this.watch) this.expected++;
  }

  /** UNWATCH on the leased connection, then gives it back. @param request the client's own, or null */
  private endWatch(request: Request | null): void {
    const connection = this.watch!;
    this.expected++;
    this.releaseWhenAnswered = true;
    if (request !== null) {
      this.client.enqueue(request);
      this.client.block(LEASED);
    }
    connection.forward(request ?? new Request(null), UNWATCH_BYTES, 0, UNWATCH_BYTES.length);
    if (request === null) this.client.block(LEASED);
  }

  private clear(): void {
    this.queueing =
      this.broken =
      this.keyed =
      this.whole =
      this.nowhere =
        false;
    this.because = "";
    this.commands = this.asideCost = 0;
    this.queue.clear();
    this.asides = [];
    this.queuedBytes = 0;
    this.server = null;
    this.placing?.stop();
    this.placing = null;
  }

  // ---- the leased connection

  answered(connection: ServerConnection): void {
    if (--this.expected > 0) return;
    if (this.losesWatch && !this.releaseWhenAnswered) this.loseWatch();
    else if (this.releaseWhenAnswered) {
      this.releaseWhenAnswered = false;
      this.forgetWatch();
      connection.endpoint.giveBack(connection, this.watchClass === connection.connectionClass);
    }
    this.client.unblock(LEASED);
  }

  lost(): void {
    const ending = this.releaseWhenAnswered;
    this.releaseWhenAnswered = false;
    this.forgetWatch();
    this.watchLost = !ending;
    this.client.unblock(LEASED);
  }

  pushed(): void {}

  /** The connection's server has left the pool or has moved. */
  detached(): void {
    this.loseWatch();
  }

  /** The pool has other servers: what is watched may be elsewhere, and nobody would tell us that it changes there. */
  adopt(): void {
    if (this.watch !== null && this.epochWatched !== this.client.pool.epoch) this.loseWatch();
  }

  /** Servers that have left the ring or returned: the keys may have been changed elsewhere, and what is written here is for nobody. */
  private lookAtRing(): void {
    if (this.watch !== null && this.ringWatched !== this.client.pool.rings) this.loseWatch();
  }

  /** EXEC will fail as if a watched key had been touched. One that is under way has been sent, and counts. */
  private loseWatch(): void {
    const { watch } = this;
    if (watch === null || this.releaseWhenAnswered) return;
    if (this.expected > 0) {
      this.losesWatch = true;
      return;
    }
    this.forgetWatch();
    this.watchLost = true;
    watch.endpoint.giveBack(watch, false);
  }

  private forgetWatch(): void {
    this.watch = null;
    this.watchServer = null;
    this.watches = false;
    this.expected = 0;
    this.losesWatch = false;
  }

  /** The client is gone, or resets its connection. */
  abandon(): void {
    const connection = this.watch;
    this.clear();
    this.forgetWatch();
    this.watchLost = false;
    connection?.endpoint.giveBack(connection, false);
  }
}
