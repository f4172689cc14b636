/**
 * Requests to a Redis Cluster that a node did not answer itself: where they go then, and in which order.
 *
 *   reply ──► -MOVED, -ASK ──► the node that is named, at once, on the client's connection to it (after ASKING)
 *         └─► -TRYAGAIN, -CLUSTERDOWN, MOVED to nobody who can be reached, a request that could not be sent
 *                           └─► a pause ──► to whoever has the slot then ──► …  or, after a while, the client reads what was said last
 *
 * Nothing of a request has been done where a node says one of these, so it is not done twice. What was in flight on a connection that
 * broke fails as in any pool: nobody knows what became of it. Nothing is learned from -ASK, and the table of slots is not changed here:
 * the source of the pool's servers hears of MOVED (the sign "moved") and brings another one, which all workers take up at once.
 *
 * Order. Requests of one client for one slot are on one connection, so the node's words come in their order, and so they go on to the
 * next node: again on one connection. Where it has named another node for the later one, that one waits for the earlier. While
 * something of a client pauses, what else of this client is refused waits behind it, one is tried at a time, once nothing earlier is
 * asked of another node. From when something is sent on nothing more is taken from the client until it has been answered: the slot may be
 * back at the first node before the second has said anything. What the client had sent before, and the node has answered, has overtaken
 * it: that is so for whoever sends on without waiting for replies.
 *
 * Scripts. What a script answers may be these words too, made up by a client; and what a module's command says nobody knows. Such a
 * redirect has to be for the slot of the request, and is followed only to the pool's servers; else nodes are asked about its keys with
 * EXISTS, whose answer no client makes up, before it is sent again. So nobody leads the proxy, and its password, to an address of his own,
 * and no script runs over and over for what it says.
 *
 * Bounds. NODES_MAX nodes are asked without a pause between them, none twice that has said MOVED, and none that has sent it on with ASK. TRYAGAIN is tried again for
 * `cluster_tryagain`, all else for DOWN_MS; then the client reads the server's own words. `timeout` is for each node that is asked.
 */
import { encode, latin1, startsWith } from "../bytes/ascii.ts";
import { command } from "../protocol/redis/encode.ts";
import {
  ASK,
  ASKING,
  CLUSTERDOWN,
  lacksFunction,
  lacksScript,
  MOVED,
  readRedirect,
  type Redirect,
  TRYAGAIN,
} from "../protocol/redis/redirect_reply.ts";
import { nullArray } from "../protocol/redis/reply_writer.ts";
import type { Client } from "../proxy/client.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { Failure } from "../proxy/failures.ts";
import { pace } from "../proxy/fan_out.ts";
import type { Redirects } from "../proxy/front.ts";
import type { Pool } from "../proxy/pool.ts";
import { isUnwanted, KeptRequest, Request, SWALLOWED } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { type Joiner, Split } from "../proxy/split.ts";
import { parseSlots } from "../ring/slots.ts";
import { isKeyless, keysOf, keysToAsk, type Known, slotOfAny, suitsHeir, tellsWords } from "./kept_keys.ts";
import { TrackedRead } from "./reads.ts";
import { ClientRedirects, type Waiting } from "./redirect_queue.ts";
import type { Library, Missing } from "./scripts.ts";
import type { RedisSession } from "./session.ts";

/** So many nodes are asked one after the other, before there is a pause. */
const NODES_MAX = 5;
/** So long what cannot be served is tried again, but for TRYAGAIN; ms. */
const DOWN_MS = 1000;
/** The same for a command that waits for an element: it has the time, and nobody else could have been served meanwhile. */
const WAITS_DOWN_MS = 30_000;
/** The first pause; each is twice the one before, up to the second number. Up to half of it is drawn away. Ms. */
const PAUSE_FIRST_MS = 10;
const PAUSE_MAX_MS = 100;
/** So often nodes are asked about the keys of a script that is refused; then its words are its own. */
const DOUBTS_MAX = 3;
/** Where nodes cannot be asked about its keys, there is so long between, ms. */
const DOUBT_MS = DOWN_MS / DOUBTS_MAX;
/** The pool's source is told of the same node so often, ms. */
const SIGN_EVERY_MS = 20;

const NO_OWNERS = new Uint16Array(0);
const NOTHING = new Uint8Array(0);
const ERR = encode("-ERR ");
const MINUS = 45;
const ZERO = 48;

/** In place of a slot. */
const NOT_LOOKED = -2;

const NEVER_JOINED: Joiner = () => {
  throw new Error("a request that is redirected has one reply");
};

/** A node that does not take it refuses what comes behind it: clients read MOVED, and nobody would know why. */
function sayAsking(connection: ServerConnection): void {
  connection.ask(ASKING, (bytes, start, end, failed) => {
    if (failed || bytes[start] !== MINUS) return;
    connection.endpoint.refusesOwn("ASKING", latin1(bytes, start + 1, end).trimEnd());
  });
}

/** Who has the connections that a request goes by, if these are not its client's ordinary ones. */
export interface Lane {
  /** One to this node, on which ASKING has been said if need be; null if there is none to be had. */
  reach(endpoint: Endpoint, asking: boolean): ServerConnection | null;
  /** What is to be sent now; `bytes` were at first. */
  bytesNow(bytes: Uint8Array): Uint8Array;
  /** The client does not want to wait any longer. @param bytes as they were at first */
  hasWaited(bytes: Uint8Array): boolean;
  /** A node has sent it on, and may be about to close the connection that it was asked by. */
  sentOn(): void;
  /** The request has its answer, or is about to get it. */
  settled(): void;
}

/** See Scripts.lacking. */
export type Lacking = (
  reply: Uint8Array,
  start: number,
  end: number,
  request: Uint8Array,
) => Missing | null;

export class PoolRedirects implements Redirects {
  /** By "host:port", as nodes are named by each other. */
  private byName: Map<string, Server> | null = null;
  /** What clients have under way here, of those that have something that waits. */
  readonly waiting: Set<ClientRedirects> = new Set();
  private signedAtMs = -Infinity;

  /** @param named see Scripts.named @param called see Scripts.librariesOf @param untold see Scripts.untold */
  constructor(
    readonly pool: Pool,
    readonly lacking: Lacking,
    readonly named: (on: ServerConnection, requests: Uint8Array) => readonly Uint8Array[],
    readonly called: (on: ServerConnection, functions: ReadonlySet<string>) => readonly Library[],
    readonly known: Known,
    private readonly untold: (on: ServerConnection) => void,
  ) {}

  /** Says what a node may lack before a request that needs it. */
  teach(connection: ServerConnection, load: Uint8Array): void {
    connection.ask(load, (bytes, start, end, failed) => {
      // It cannot take it now, and may be asked again; of an -ERR another time changes nothing.
      if (!failed && bytes[start] === MINUS && !startsWith(bytes, start, end, ERR)) this.untold(connection);
    });
  }

  /** The pool has other servers: what waits is tried again. Between two turns. */
  adopt(): void {
    this.byName = null;
    for (const each of this.waiting) each.tryNow();
  }

  // ---- what a node says

  sees(
    { endpoint }: ServerConnection,
    request: Request,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const { split } = request;
    if (request.internal !== null || isUnwanted(request)) return false;
    if (split !== null && (split instanceof Placed || split.endsRequestBefore)) return false;
    // What a replica says of a read is no last word: reads.ts asks the primary.
    if (split instanceof TrackedRead && endpoint.server.replicas.includes(endpoint)) return false;
    if (readRedirect(bytes, start, end) !== null) return true;
    return request.client !== null && lacks(bytes, start, end);
  }

  follow(
    connection: ServerConnection,
    request: Request,
    sent: Uint8Array,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const redirect = readRedirect(bytes, start, end);
    const { endpoint } = connection;
    if (redirect !== null) {
      return new Redirected(this, request, sent).refused(endpoint, redirect, bytes, start, end);
    }
    const lacking = this.lacking(bytes, start, end, sent);
    if (lacking === null) request.client!.deliver(request, bytes, start, end);
    else new Redirected(this, request, sent).told(endpoint, lacking, bytes, start, end);
  }

  /** A request that has a lane of its own is asked of whoever has its slot. @param bytes its; owned */
  begin(request: Request, bytes: Uint8Array, server: Server, lane: Lane): Redirected {
    const begun = new Redirected(this, request, bytes, lane);
    begun.begin(server);
    return begun;
  }

  readAgain(request: Request, bytes: Uint8Array, server: Server): void {
    new Redirected(this, request, bytes).unsent(server, server.whyRefused, false);
  }

  placeAgain(
    { server }: ServerConnection,
    request: Request,
    sent: Uint8Array,
    failure: Failure,
    pauses: boolean,
  ): boolean {
    const { split } = request;
    if (request.internal !== null) return false;
    if (split instanceof Placed) return split.unsent(server, failure, pauses);
    // They know themselves whom to ask.
    if (split !== null && (split instanceof TrackedRead || split.endsRequestBefore)) return false;
    // What is for each server is for nobody in the place of one, but for its heir.
    const isForEach = split !== null && isKeyless(sent);
    if (isForEach && !suitsHeir(sent)) return false;
    if (request instanceof KeptRequest) request.again = true;
    request.nextInFlight = null;
    const again = new Redirected(this, request, sent);
    if (isForEach) again.isForHeir = true;
    again.unsent(server, failure, pauses);
    return true;
  }

  // ---- where to

  /**
   * The node that `from` has named; null if it has none that could be asked.
   * @param onlyServers whoever is no server of the pool is not asked
   */
  target(from: Endpoint, { host, port }: Redirect, onlyServers = false): Endpoint | null {
    if (host === "?") return null;
    const { address } = from.spec;
    const named = host !== "" ? host : "host" in address ? address.host : "";
    if (named === "") return null;
    const text = `${named}:${port}`;
    const server = this.serverAt(text) ?? this.serverAt(`[${named}]:${port}`);
    if (server !== undefined) return server.primary;
    if (onlyServers) return null;
    return from.server.besides({ address: { host: named, port }, text, zone: null });
  }

  private serverAt(text: string): Server | undefined {
    this.byName ??= new Map(this.pool.servers.map((server) => [server.config.addressText, server]));
    return this.byName.get(text);
  }

  /** Who has this slot by the pool's table; of slot -1 any that can be reached, `otherwise` if it can. Null if there is none. */
  ownerOf(slot: number, otherwise: Server): Server | null {
    const { placement, servers } = this.pool;
    if (slot >= 0) return servers[placement.serverOfSlot(slot)] ?? null;
    if (!otherwise.gone && !otherwise.isDown) return otherwise;
    return servers.find((server) => !server.isDown) ?? (otherwise.gone ? servers[0] ?? null : otherwise);
  }

  /**
   * Asks who has a key at this moment: for a request that is too large to be kept, and so to be sent twice, or whose own word is not to be
   * trusted. Meanwhile nothing else of the client is sent.
   * @param keys of one slot; owned
   * @param told called once, later, unless the client is gone; if nobody could say it for a while, with who was asked last, or null, and
   * not `found`
   */
  locate(
    client: Client,
    keys: readonly Uint8Array[],
    told: (endpoint: Endpoint | null, asking: boolean, found: boolean) => void,
  ): void {
    const { pool } = this;
    const untilMs = pool.turn.now() + DOWN_MS;
    const key = keys[0]!;
    const question = command("EXISTS", ...keys);
    let last: Endpoint | null = null;
    const begin = () => {
      if (client.closed) return;
      const owner = pool.servers[pool.placement.serverOfSlot(pool.placement.slotOf(key, 0, key.length))];
      if (!owner?.primary || !ask(owner.primary, false, 1)) later();
    };
    const later = () => {
      if (pool.turn.now() >= untilMs) {
        pool.turn.later({ resume: () => client.closed || told(last, false, false) });
      } else pool.setTimer(PAUSE_MAX_MS, begin);
    };
    const ask = (endpoint: Endpoint, asking: boolean, asked: number): boolean => {
      const connection = connectionAt(client, endpoint);
      if (connection === null) return false;
      last = endpoint;
      if (asking) sayAsking(connection);
      connection.ask(question, (bytes, start, end, failed) => {
        if (client.closed) return;
        const redirect = failed ? null : readRedirect(bytes, start, end);
        if (!failed && redirect === null) return told(endpoint, asking, true);
        if (redirect?.kind === MOVED) this.noteMoved(endpoint.server, `slot ${redirect.slot} has moved`);
        const target = redirect === null || redirect.port === 0 ? null : this.target(endpoint, redirect);
        if (target === null || asked >= NODES_MAX || !ask(target, redirect!.kind === ASK, asked + 1)) later();
      });
      return true;
    };
    begin();
  }

  /**
   * Asks other nodes which of these libraries they have: one that nobody has has been deleted, through another proxy perhaps.
   * @param told called once, unless the client is gone; with null if nobody else could say it
   */
  haveLibraries(
    client: Client,
    by: Endpoint,
    libraries: readonly string[],
    told: (loaded: readonly boolean[] | null) => void,
  ): void {
    const others = this.pool.onRing().filter(({ primary }) => primary !== by).slice(0, NODES_MAX);
    const loaded = libraries.map(() => false);
    let heard = false;
    const askNext = (i: number): void => {
      if (client.closed) return;
      const other = others[i];
      if (other === undefined || loaded.includes(true)) return told(heard ? loaded : null);
      const connection = other.gone ? null : other.connection(0, 0);
      if (connection === null) return askNext(i + 1);
      let missing = libraries.length;
      libraries.forEach((name, at) => {
        const question = command("FUNCTION", "LIST", "LIBRARYNAME", name);
        connection.ask(question, (bytes, start, _end, failed) => {
          if (!failed && bytes[start] !== MINUS) {
            heard = true;
            loaded[at] = bytes[start + 1] !== ZERO;
          }
          if (--missing === 0) askNext(i + 1);
        });
      });
    };
    askNext(0);
  }

  /**
   * Asks a node which of these libraries it lacks, and others whether they have those.
   * @param told called once, unless the client is gone, with what the node is to be told; null: it could not be asked
   */
  learn(
    client: Client,
    connection: ServerConnection,
    libraries: readonly Library[],
    told: (loads: readonly Uint8Array[] | null) => void,
  ): void {
    // Another client has asked meanwhile.
    if (libraries.length === 0) return told([]);
    const missing: Library[] = [];
    let left = libraries.length;
    let lost = false;
    const heard = () => {
      if (--left > 0 || client.closed) return;
      if (lost) return told(null);
      if (missing.length === 0) return told([]);
      this.haveLibraries(client, connection.endpoint, missing.map(({ name }) => name), (loaded) => {
        for (const each of missing) each.seen();
        told(missing.filter((_, i) => loaded === null || loaded[i]).map(({ load }) => load));
      });
    };
    for (const library of libraries) {
      const question = command("FUNCTION", "LIST", "LIBRARYNAME", library.name);
      connection.ask(question, (bytes, start, _end, failed) => {
        lost ||= failed;
        const isList = !failed && bytes[start] !== MINUS;
        if (isList && bytes[start + 1] === ZERO) missing.push(library);
        else if (isList) library.seen();
        heard();
      });
    }
  }

  /** The pool's source should look who owns what. */
  noteMoved(from: Server, cause: string): void {
    const nowMs = this.pool.turn.now();
    if (nowMs - this.signedAtMs < SIGN_EVERY_MS) return;
    this.signedAtMs = nowMs;
    this.pool.sign(from, "moved", cause);
  }
}

function lacks(bytes: Uint8Array, start: number, end: number): boolean {
  return lacksScript(bytes, start, end) || lacksFunction(bytes, start, end);
}

/** What knows itself what is to be sent again, if it could not be sent. */
export abstract class Placed extends Split {
  /** See Redirects.placeAgain. */
  abstract unsent(server: Server, failure: Failure, pauses: boolean): boolean;
}

/** One request under way here. To its connections it is a split of one fragment. */
export class Redirected extends Placed implements Waiting {
  /** Counts the client's: an earlier one has a lower number. */
  readonly number: number;
  protected readonly own: ClientRedirects;
  protected readonly client: Client;
  /** Since when it is tried again because of TRYAGAIN, and for another reason; -1 = it is not. */
  private sinceMs = -1;
  private downSinceMs = -1;
  slot = NOT_LOOKED;
  /** It was for one server among all of them, and goes to whoever has all of its slots by then. */
  isForHeir = false;
  private pauses = 0;
  at: Endpoint | null = null;
  /** Since when; turn time. */
  private askedAtMs = 0;
  /** How many have been asked since the last pause, and which of them have said MOVED. */
  private asked = 0;
  private readonly moved: Endpoint[] = [];
  /** Who has said ASK since then. */
  private sentBy: Endpoint | null = null;
  /** What the client reads if it is given up: a server's words, or an error that stands for them (`failed`). */
  private reply: Uint8Array = NOTHING;
  private isFailure = false;
  /** They say that another node has the slot. */
  private elsewhere = false;
  private from: Server | null = null;
  /** ASKING has been said to `at`. */
  private asking = false;
  /** Who has been told the script that it did not know. */
  private taught: Endpoint | null = null;
  /** What it is told, if other nodes have that. */
  private untold: Missing | null = null;
  /** It is a script: nodes have to be asked about its keys before it is sent again. How often that was so. */
  private doubted = false;
  private doubts = 0;
  /** Of which they are asked; null: only a server knows them. */
  private keys: readonly Uint8Array[] | null = null;
  /** It is tried again because of TRYAGAIN. */
  private forKeys = false;
  private isOver = false;

  /**
   * @param original the client's request, or a fragment of one: what is answered in the end
   * @param bytes its; owned
   * @param lane null: it goes by its client's ordinary connections
   */
  constructor(
    protected readonly redirects: PoolRedirects,
    private readonly original: Request,
    protected readonly bytes: Uint8Array,
    private readonly lane: Lane | null = null,
  ) {
    super(original.split === null ? original : original.split.parent, NEVER_JOINED, NO_OWNERS, 0);
    this.client = this.parent.client!;
    const session = this.client.session as RedisSession;
    this.own = session.redirects ??= new ClientRedirects(redirects.waiting, this.client);
    this.number = this.own.begin(this, bytes.length);
    // Who has it now, replicas of which may have been read from, may be another than whoever was written to.
    session.marks?.wrote(null);
  }

  override get isSentOn(): boolean {
    return true;
  }

  // ---- refusals

  /** A node does not answer it itself. @param bytes what it says; borrowed */
  refused(by: Endpoint, redirect: Redirect, bytes: Uint8Array, start: number, end: number): void {
    const { redirects, own } = this;
    const { kind, slot, port } = redirect;
    const tells = this.tellsWords();
    if (tells) {
      this.keys = keysToAsk(redirects.pool, this.bytes, slot, redirects.known);
      // No node says so of a request without keys, or of another slot.
      if (this.keys?.length === 0) return this.answer(bytes, start, end, false);
    }
    this.from = by.server;
    if (this.lane !== null) {
      this.lane.sentOn();
      this.forgive();
    }
    if (slot >= 0) this.slot = slot;
    if (kind === MOVED) {
      redirects.noteMoved(by.server, `slot ${slot} is at ${redirect.host}:${port}`);
      this.moved.push(by);
    } else if (kind === ASK) this.sentBy = by;
    if (port > 0 && this.asked < NODES_MAX) {
      const target = redirects.target(by, redirect, tells);
      if (
        // Who has said MOVED may be who is asked with ASKING: a slot on its way back to it.
        target !== null && target !== by && (kind === ASK || !this.moved.includes(target)) &&
        // And who is sent back to where it was sent from has met nodes that have not heard of each other yet.
        (kind === ASK || target !== this.sentBy) && own.mayPassTo(this, target) &&
        this.ask(target, kind === ASK)
      ) {
        return;
      }
    }
    if (kind !== MOVED && kind !== ASK && kind !== TRYAGAIN) {
      redirects.noteMoved(by.server, "the cluster is down");
    }
    this.reply = bytes.slice(start, end);
    this.isFailure = false;
    this.forKeys = kind === TRYAGAIN;
    this.elsewhere = kind !== TRYAGAIN && kind !== CLUSTERDOWN;
    if (!tells) return this.wait(this.forKeys);
    // Where nodes have an answer for its keys, these are its own words; but slots may have moved in between.
    if (this.doubts++ === DOUBTS_MAX) return this.answer(this.reply, 0, this.reply.length, false);
    if (!this.forKeys && this.downSinceMs < 0) this.downSinceMs = redirects.pool.turn.now();
    this.doubted = this.keys !== null && this.lane === null;
    own.wait(this, this.doubted ? 0 : DOUBT_MS);
  }

  /**
   * A node does not know its script, nothing of which has been done: it is told the script, and asked once more. What the client had sent
   * behind it has overtaken it, as behind a redirect.
   * @param bytes what it says; borrowed
   */
  told(by: Endpoint, missing: Missing, bytes: Uint8Array, start: number, end: number): void {
    this.from = by.server;
    this.reply = bytes.slice(start, end);
    this.isFailure = false;
    // What comes behind it and is sent to another node must not pass it.
    this.lookForSlot();
    // What waits will be refused once more, and is told then.
    if (!this.own.mayPass(this)) return this.wait(false);
    this.taught = by;
    const connection = connectionAt(this.client, by);
    if (missing.libraries.length === 0 || connection === null || missing.saidOn(connection)) {
      if (connection === null || !this.ask(by, this.asking, missing.say(connection))) {
        this.answer(this.reply, 0, this.reply.length, false);
      }
      return;
    }
    this.untold = missing;
    this.own.wait(this, 0);
  }

  /** Other nodes are asked whether they have it, then it is told. */
  private tell(missing: Missing): void {
    const by = this.taught!;
    this.redirects.haveLibraries(this.client, by, missing.libraries, (loaded) => {
      if (this.parent.client === null) return this.over();
      const connection = connectionAt(this.client, by);
      const isThere = loaded === null || loaded.includes(true);
      const requests = connection === null ? [] : missing.say(connection, loaded ?? undefined);
      if (connection !== null && isThere && this.ask(by, this.asking, requests)) return;
      this.answer(this.reply, 0, this.reply.length, false);
    });
  }

  /** It has waited there for what it wants: this is another time that it is sent on. */
  private forgive(): void {
    const nowMs = this.redirects.pool.turn.now();
    if (nowMs - this.askedAtMs <= PAUSE_MAX_MS) return;
    this.sinceMs = -1;
    this.downSinceMs = -1;
    this.pauses =
      this.doubts =
      this.asked =
      this.moved.length =
        0;
  }

  /** It could not be sent. */
  unsent(server: Server, failure: Failure, pauses: boolean): boolean {
    this.from = server;
    this.reply = server.errorReply(failure);
    this.isFailure = true;
    if (pauses) this.wait(false);
    else this.own.wait(this, 0);
    return true;
  }

  /** Whether what it is answered may be words that a client has made up. */
  protected tellsWords(): boolean {
    return tellsWords(this.bytes);
  }

  protected wait(forKeys: boolean): void {
    const { pool } = this.redirects;
    const nowMs = pool.turn.now();
    const { clusterTryagainMs } = pool.config;
    if (forKeys && this.sinceMs < 0) this.sinceMs = nowMs;
    if (!forKeys && this.downSinceMs < 0) this.downSinceMs = nowMs;
    const { lane } = this;
    const downMs = lane === null ? DOWN_MS : WAITS_DOWN_MS;
    const late = forKeys ? nowMs - this.sinceMs >= clusterTryagainMs : nowMs - this.downSinceMs >= downMs;
    const hasWaited = lane?.hasWaited(this.bytes) ?? false;
    if (hasWaited && this.elsewhere && !this.isFailure) {
      // Somebody has the slot, but its time is over: nothing has come in it, and that is what the client reads.
      const nothing = nullArray((this.client.session as RedisSession).resp);
      return this.answer(nothing, 0, nothing.length, false);
    }
    if (late || hasWaited) {
      return this.answer(this.reply, 0, this.reply.length, this.isFailure);
    }
    const pause = Math.min(PAUSE_FIRST_MS * 2 ** Math.min(this.pauses++, 10), PAUSE_MAX_MS);
    this.own.wait(this, pause * (1 - pool.random() / 2));
  }

  // ---- sending

  /** The first time. */
  begin(server: Server): void {
    this.from = server;
    this.tryAgain();
  }

  /** The pause is over: asks whoever has its slot by now. */
  tryAgain(): void {
    if (this.parent.client === null) return this.over();
    const { redirects } = this;
    this.asked = 0;
    this.moved.length = 0;
    this.sentBy = null;
    this.lookForSlot();
    const { untold } = this;
    this.untold = null;
    if (untold !== null) return this.tell(untold);
    if (this.doubted) return this.askAbout();
    const owner = this.isForHeir ? this.heirOf(this.from!) : redirects.ownerOf(this.slot, this.from!);
    if (owner === null && this.isForHeir) return this.answer(this.reply, 0, this.reply.length, true);
    if (owner !== null && owner.primary !== null) {
      // It is kept here, and need not be so there as well while much is.
      if (this.isHeldUp(owner.primary)) {
        return this.own.wait(this, PAUSE_MAX_MS * (1 - redirects.pool.random() / 2));
      }
      if (this.ask(owner.primary, false)) return;
    }
    this.reply = owner === null ? redirects.pool.front.noLiveServer : owner.refusal();
    this.isFailure = true;
    this.wait(false);
  }

  /** Nobody is asked at the moment, and its client is not to wait any longer: it reads this. */
  end(reply: Uint8Array): void {
    this.answer(reply, 0, reply.length, false);
  }

  private lookForSlot(): void {
    const { pool, known } = this.redirects;
    if (this.slot === NOT_LOOKED) this.slot = slotOfAny(pool, this.bytes, known);
  }

  /** The server that has come in this one's place, with all of its slots and perhaps more, or it itself; null if there is none. */
  private heirOf(server: Server): Server | null {
    if (!server.gone) return server;
    const { placement, servers } = this.redirects.pool;
    let heir = -1;
    for (const [first, last] of parseSlots(server.config.slots ?? "")) {
      if (heir < 0) heir = placement.serverOfSlot(first);
      for (let slot = first; slot <= last; slot++) if (placement.serverOfSlot(slot) !== heir) return null;
    }
    return servers[heir] ?? null;
  }

  private isHeldUp(endpoint: Endpoint): boolean {
    if (this.lane !== null) return false;
    return connectionAt(this.client, endpoint)?.holdsUp(this.bytes.length) ?? false;
  }

  /** Asks nodes who has its keys, then that one. */
  private askAbout(): void {
    this.redirects.locate(this.client, this.keys!, (endpoint, asking, found) => {
      if (this.parent.client === null) return this.over();
      this.doubted = !found;
      if (!found || !this.ask(endpoint!, asking)) this.wait(this.forKeys);
    });
  }

  /** @param before what else is said before; nobody waits for its answer */
  protected ask(endpoint: Endpoint, asking: boolean, before: readonly Uint8Array[] = []): boolean {
    const { client, lane } = this;
    const connection = lane === null ? connectionAt(client, endpoint) : lane.reach(endpoint, asking);
    if (connection === null) return false;
    this.at = endpoint;
    // It is copied once more.
    this.redirects.pool.memory.note(this.bytes.length);
    this.askedAtMs = this.redirects.pool.turn.now();
    this.asked++;
    this.asking = asking;
    for (const each of before) this.redirects.teach(connection, each);
    for (const each of this.before(connection)) this.redirects.teach(connection, each);
    // It lasts for the next command alone.
    if (asking && lane === null) sayAsking(connection);
    this.send(connection, lane === null ? this.bytes : lane.bytesNow(this.bytes));
    // Who has sent it on may have its slot again before this node has answered.
    if (lane === null) client.settle();
    pace(client, connection);
    return true;
  }

  /** What this connection is told before it; nobody waits for the answers. */
  protected before(_connection: ServerConnection): readonly Uint8Array[] {
    return [];
  }

  /** Queues it, as a fragment of this, and writes it. */
  protected send(connection: ServerConnection, bytes: Uint8Array): void {
    const fragment = new Request(null);
    fragment.split = this;
    connection.enqueue(fragment, this.lane !== null);
    connection.write(bytes, 0, bytes.length);
  }

  // ---- replies

  /** A large reply that is no error goes on in parts, if it is its turn. */
  override letGo(): Request | null {
    const { original } = this;
    if (original.client === null || original.client.head !== original) return null;
    this.tellUnheard();
    this.over();
    return original;
  }

  override take(_fragment: number, bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    // The client is gone.
    if (this.parent.client === null) return this.over();
    if (failed) return this.lost(bytes, start, end);
    const redirect = bytes[start] === MINUS ? readRedirect(bytes, start, end) : null;
    if (redirect !== null) return this.refused(this.at!, redirect, bytes, start, end);
    const lacking = this.lane === null && this.taught !== this.at && lacks(bytes, start, end)
      ? this.redirects.lacking(bytes, start, end, this.bytes)
      : null;
    if (lacking === null) this.answer(bytes, start, end, false);
    else this.told(this.at!, lacking, bytes, start, end);
  }

  /** It was in flight, and nobody knows what became of it: a read may be asked for once more. */
  private lost(bytes: Uint8Array, start: number, end: number): void {
    const { original } = this;
    if (!(original instanceof KeptRequest) || original.again) return this.answer(bytes, start, end, true);
    original.again = true;
    this.reply = bytes.slice(start, end);
    this.isFailure = true;
    this.wait(false);
  }

  /** It is over, and this is its reply; borrowed. */
  protected answer(bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    const { client, split, fragment } = this.original;
    if (bytes[start] !== MINUS) this.tellUnheard();
    this.over();
    if (client !== null) {
      if (failed) client.countForwardError();
      client.deliver(this.original, bytes, start, end);
    } else split?.take(fragment, bytes, start, end, failed);
  }

  /** Who tracks hears of changes on connections of its own to the pool's servers, and CLIENT CACHING was for the first one that was asked. */
  private tellUnheard(): void {
    const { at, lane, parent, bytes } = this;
    const { tracking } = this.client.session as RedisSession;
    if (tracking === null || at === null || lane !== null || parent.client === null) return;
    if (at === at.server.primary && !tracking.options.optin) return;
    tracking.readUnheard(parent, keysOf(bytes));
  }

  protected over(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.lane?.settled();
    if (!this.client.closed) this.own.over(this, this.bytes.length);
  }
}

/** On a leased connection: whoever holds it is not told of the answer. */
export function sayOnLease(connection: ServerConnection, bytes: Uint8Array): void {
  const said = new Request(null);
  said.replies = SWALLOWED;
  connection.enqueue(said, true);
  connection.write(bytes, 0, bytes.length);
}

/** The client's connection to this node; null if there is none to be had. */
export function connectionAt(client: Client, endpoint: Endpoint): ServerConnection | null {
  const session = client.session as RedisSession;
  const { server } = endpoint;
  if (session.tracking === null) return endpoint.connection(session.connectionClass, client.serial);
  // What it tracks it hears of on connections of its own, to the pool's servers; see tellUnheard. What CLIENT CACHING has said is for the
  // client's next request.
  return server.primary === endpoint
    ? session.tracking.connection(server)
    : endpoint.connection(session.connectionClass, client.serial);
}
