/**
 * Reads of a pool that may be answered by replicas (read_from), each kept until somebody has answered it.
 *
 *   GET ──► first: which endpoint ──► TrackedRead ──► its reply ──► the client
 *                                        │ lost, late, -LOADING, any error at a replica
 *                                        └──► next: another endpoint, that has not been asked ──► …
 *                                             (of a node that has left its cluster: whoever has the slot now)
 *
 * One client's reads stay with one replica while it is well: it is drawn by the client's serial, so that another replica that comes or
 * goes moves nobody else. Which commands these are the table says (Command.onReplica). Not here: what a client sends in MULTI, after
 * WATCH or with tracking, scripts, what blocks, and SCAN's kin; all that goes to the primary.
 *
 * An error that a replica answers is never passed on. What it says may be about the replica alone (it loads, it has lost its primary, it
 * is an older version, a script holds it), and the primary is who has the last word.
 */
import { latin1 } from "../bytes/ascii.ts";
import { Outbox } from "../bytes/outbox.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import { pace } from "../proxy/fan_out.ts";
import { REQUEST } from "../proxy/illness.ts";
import type { Pool } from "../proxy/pool.ts";
import { Request } from "../proxy/request.ts";
import { READS_ELSEWHERE, REPLICA_READS } from "../stats/metrics.ts";
import type { Server } from "../proxy/server.ts";
import { type Joiner, Split } from "../proxy/split.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import type { RedisSession } from "./session.ts";
import { Writes } from "./writes.ts";

/** An endpoint that has failed to answer a read is not read from for so long, unless nobody else is there, ms. */
const REST_MS = 500;
/** Its keeper is told so this often. */
const SIGN_EVERY_MS = 100;
/** Endpoints whose connections take up to so many times as long to make as the fastest's, and a ms, are as near. */
const NEAR_TIMES = 1.5;
const NEAR_MS = 1;

const NO_OWNERS = new Uint16Array(0);
const MINUS = 45;

export class PoolReads {
  /** Null unless read_your_writes. */
  readonly writes: Writes | null;
  private readonly signedAtMs = new WeakMap<Endpoint, number>();

  /** @param zone where this proxy runs; null = not said */
  constructor(readonly pool: Pool, private readonly zone: string | null) {
    this.writes = pool.config.readYourWrites ? new Writes(pool) : null;
  }

  /**
   * Sends a request of a command that only reads to whoever should answer it.
   * @param bytes `[start, end)` is the request; borrowed
   * @returns false if that is the primary and nobody else: it is sent there like any other
   */
  send(session: RedisSession, server: Server, bytes: Uint8Array, start: number, end: number): boolean {
    const first = this.first(session, server);
    if (first === null) return false;
    const request = new Request(session.client);
    session.client.enqueue(request);
    new TrackedRead(this, session, server, request, null, 0, bytes.slice(start, end)).begin(first);
    return true;
  }

  /** As `send`, for a request that is in its client's queue already. */
  sendQueued(
    session: RedisSession,
    server: Server,
    request: Request,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const first = this.first(session, server);
    if (first === null) return false;
    new TrackedRead(this, session, server, request, null, 0, bytes.slice(start, end)).begin(first);
    return true;
  }

  /** The same for fragment `place` of `split`, whose bytes are written bit by bit; null if it is for the primary alone. */
  fragment(session: RedisSession, server: Server, split: Split, place: number): ReadFragment | null {
    const first = this.first(session, server);
    return first === null ? null : new ReadFragment(this, session, server, split, place, first);
  }

  // ---- who is asked

  /** Whom to ask first; null = the primary, and nobody else if that fails. */
  private first(session: RedisSession, server: Server): Endpoint | null {
    if (server.replicas.length === 0 || session.tracking !== null) return null;
    if (session.transaction !== null && !session.transaction.over) return null;
    // If all of them have just failed the primary is next, and they are asked again if that cannot answer.
    const endpoint = this.best(server, session.client.serial, NONE_TRIED, this.mixes, false) ??
      server.primary;
    if (endpoint === null || endpoint === server.primary) return endpoint;
    return this.mayRead(session, server, endpoint) ? endpoint : null;
  }

  /** The primary answers reads like any replica. */
  private get mixes(): boolean {
    const { readFrom } = this.pool.config;
    return readFrom === "any" || readFrom === "nearest";
  }

  /** Has the client written nothing that this replica may not have? */
  mayRead(session: RedisSession, server: Server, endpoint: Endpoint): boolean {
    const { writes } = this;
    if (writes === null || session.marks === null) return true;
    return writes.reached(
      session.marks,
      session.client,
      server,
      endpoint.connection(session.connectionClass, session.client.serial),
    );
  }

  /** Who is asked when `tried` have failed; null = nobody is left. */
  next(session: RedisSession, server: Server, tried: readonly Endpoint[]): Endpoint | null {
    const { serial } = session.client;
    const primary = server.primary ?? server.nowhere;
    const asksPrimary = primary !== null && !tried.includes(primary);
    const replica = this.best(server, serial, tried, false, !asksPrimary);
    const well = replica !== null && this.mayRead(session, server, replica) ? replica : null;
    // Who wants reads off the primary wants them off it most of all when a replica fails.
    if (well !== null && this.pool.config.readFrom === "replica") return well;
    return asksPrimary ? primary : well;
  }

  /**
   * The one among those not tried that clients of this serial stay with.
   * @param mixes the primary is one of them
   * @param resting those that have just failed too
   */
  private best(
    server: Server,
    serial: number,
    tried: readonly Endpoint[],
    mixes: boolean,
    resting: boolean,
  ): Endpoint | null {
    const { primary, replicas } = server;
    const nowMs = resting ? Infinity : this.pool.turn.now();
    const nearest = this.pool.config.readFrom === "nearest"
      ? this.nearMs(server, nowMs, tried, mixes)
      : Infinity;
    let best: Endpoint | null = null;
    let most = -1;
    for (let i = mixes ? -1 : 0; i < replicas.length; i++) {
      const endpoint = i < 0 ? primary : replicas[i]!;
      if (endpoint === null || endpoint.restUntilMs > nowMs || this.distance(endpoint) > nearest) continue;
      if (tried.length > 0 && tried.includes(endpoint)) continue;
      const draw = drawn(serial, endpoint.seed);
      if (draw <= most) continue;
      most = draw;
      best = endpoint;
    }
    return best;
  }

  /** How far the nearest of those may be that are as good as the nearest of all. */
  private nearMs(server: Server, nowMs: number, tried: readonly Endpoint[], mixes: boolean): number {
    const { primary, replicas } = server;
    let least = Infinity;
    for (let i = mixes ? -1 : 0; i < replicas.length; i++) {
      const endpoint = i < 0 ? primary : replicas[i]!;
      if (endpoint === null || endpoint.restUntilMs > nowMs || tried.includes(endpoint)) continue;
      least = Math.min(least, this.distance(endpoint));
    }
    return least <= 0 ? least : least * NEAR_TIMES + NEAR_MS;
  }

  /** -1 = in the proxy's zone; else what it takes to connect, ms, which is 0 before that is known. */
  private distance(endpoint: Endpoint): number {
    return this.zone !== null && endpoint.spec.zone === this.zone ? -1 : endpoint.connectMs;
  }

  // ---- who has failed

  /** It has not answered a read, or said that it cannot. */
  failed(endpoint: Endpoint, why: string): void {
    const { pool } = this;
    const nowMs = pool.turn.now();
    endpoint.restUntilMs = nowMs + REST_MS;
    if (
      endpoint === endpoint.server.primary ||
      nowMs - (this.signedAtMs.get(endpoint) ?? -Infinity) < SIGN_EVERY_MS
    ) return;
    this.signedAtMs.set(endpoint, nowMs);
    pool.sign(endpoint.server, "replica failed", `${endpoint.spec.text}: ${why}`);
  }
}

const NONE_TRIED: readonly Endpoint[] = [];

/** Of an endpoint for a client: the highest of all is the client's. */
function drawn(serial: number, seed: number): number {
  let mixed = Math.imul(serial ^ seed, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const NEVER_JOINED: Joiner = () => {
  throw new Error("a read has one reply");
};

/** One read under way. To its connections it is a split of one fragment. */
export class TrackedRead extends Split {
  private readonly tried: Endpoint[] = [];
  /** It goes round for the second time. */
  private again = false;
  /** The primary has answered that it cannot serve: so the client reads, if nobody else can. */
  private refusal: Uint8Array | null = null;
  /** Its server has left the cluster, and whoever has its slot is asked (redirect.ts). */
  private handedOn = false;

  /**
   * @param request the client's, in its queue
   * @param whole what its reply is a fragment of, at `place`; null = it is the reply itself
   * @param bytes the request; owned
   */
  constructor(
    private readonly reads: PoolReads,
    private readonly session: RedisSession,
    private readonly server: Server,
    request: Request,
    private readonly whole: Split | null,
    private readonly place: number,
    private readonly bytes: Uint8Array,
  ) {
    super(request, NEVER_JOINED, NO_OWNERS, 0);
    session.readBytes += bytes.length;
  }

  /** Asks `first`, or whoever can be asked. */
  begin(first: Endpoint): void {
    const connection = this.ask(first) ?? this.askNext();
    if (connection !== null) pace(this.session.client, connection);
    else this.refuse();
  }

  private ask(endpoint: Endpoint): ServerConnection | null {
    this.tried.push(endpoint);
    const { session, bytes } = this;
    const { client } = session;
    const connection = endpoint.connection(session.connectionClass, client.serial);
    if (connection === null) return null;
    const fragment = new Request(null);
    fragment.split = this;
    connection.enqueue(fragment);
    connection.write(bytes, 0, bytes.length);
    return connection;
  }

  private askNext(): ServerConnection | null {
    for (;;) {
      const endpoint = this.reads.next(this.session, this.server, this.tried);
      if (endpoint === null) return null;
      const connection = this.ask(endpoint);
      if (connection !== null) return connection;
    }
  }

  /** Everybody has failed. It may have been a connection's fault and not the server's: all are asked once more, and that is all. */
  private askAgain(): boolean {
    if (this.again) return false;
    this.again = true;
    this.tried.length = 0;
    return this.askNext() !== null;
  }

  private handOn(): boolean {
    const { server, bytes } = this;
    const redirects = server.pool.front.redirects ?? null;
    if (!server.gone || redirects === null) return false;
    this.handedOn = true;
    const fragment = new Request(null);
    fragment.split = this;
    redirects.readAgain(fragment, bytes, server);
    return true;
  }

  /** A large reply that is no error is as good as here: it goes on in parts, if it is its turn, and is asked for nowhere else. */
  override letGo(): Request | null {
    const { parent, whole } = this;
    if (whole !== null || parent.client === null || parent.client.head !== parent) return null;
    this.answered(this.tried.at(-1)!);
    this.over();
    return parent;
  }

  private answered(endpoint: Endpoint): void {
    if (endpoint === this.server.primary) return;
    endpoint.readsAnswered++;
    this.server.pool.counters[REPLICA_READS]!++;
  }

  override take(_fragment: number, bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    const { server, reads } = this;
    // The client is gone.
    if (this.parent.client === null) return this.over();
    if (this.handedOn) return this.answer(bytes, start, end, failed);
    const endpoint = this.tried.at(-1)!;
    if (bytes[start] !== MINUS) {
      this.answered(endpoint);
      return this.answer(bytes, start, end, false);
    }
    const ill = failed || server.pool.front.illness(bytes, start, end, REQUEST) !== null;
    if (ill) reads.failed(endpoint, latin1(bytes, start + 1, end).trimEnd());
    // What the primary says of the request counts.
    if (!ill && endpoint === server.primary) return this.answer(bytes, start, end, false);
    if (!failed && endpoint === server.primary) this.refusal = bytes.slice(start, end);
    if (this.handOn() || this.askNext() !== null || this.askAgain()) {
      server.pool.counters[READS_ELSEWHERE]!++;
      return;
    }
    if (this.refusal !== null) this.answer(this.refusal, 0, this.refusal.length, false);
    else this.refuse();
  }

  /** Nobody is left who could be asked. */
  private refuse(): void {
    const { server } = this;
    const { text, code, counter } = server.whyRefused;
    const failure = { code, text: `${text}, and no replica can be read from`, counter };
    const reply = server.errorReply(failure);
    this.answer(reply, 0, reply.length, true);
  }

  private answer(bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    const { parent, whole, place } = this;
    this.over();
    if (whole !== null) return whole.take(place, bytes, start, end, failed);
    const client = parent.client!;
    if (failed) client.countForwardError();
    client.deliver(parent, bytes, start, end);
  }

  private over(): void {
    this.session.readBytes -= this.bytes.length;
  }
}

/** A fragment of a split that is being written. */
export class ReadFragment {
  private readonly written = new Outbox();

  constructor(
    private readonly reads: PoolReads,
    private readonly session: RedisSession,
    private readonly server: Server,
    private readonly split: Split,
    private readonly place: number,
    private readonly first: Endpoint,
  ) {}

  writePart(bytes: Uint8Array, start: number, end: number): void {
    this.written.append(bytes, start, end);
  }

  /** All of it has been written: sends it. */
  send(): void {
    const { reads, session, server, split, place, first, written } = this;
    const bytes = new Uint8Array(written.size);
    written.moveTo(bytes);
    new TrackedRead(reads, session, server, split.parent, split, place, bytes).begin(first);
  }
}
