/**
 * What a protocol must provide to the proxy: how requests are taken from clients, how replies of servers are framed,
 * and how the proxy itself speaks. One front a pool; redis/front.ts and memcached/front.ts implement it.
 */
import type { ClientView } from "../protocol/redis/client_view.ts";
import type { Client } from "./client.ts";
import type { ClientQuestion, Told } from "./client_question.ts";
import type { Visit } from "./ejection.ts";
import type { Failure } from "./failures.ts";
import type { Measure, Part } from "./limits.ts";
import type { Request } from "./request.ts";
import type { Server } from "./server.ts";
import type { ServerConnection } from "./server_connection.ts";

/** What whoever is at the other end of a connection has to be. */
export const ANYBODY = 0;
export const PRIMARY = 1;
/** One that has a link to its primary, or has become one. */
export const REPLICA = 2;

/** One request of the handshake with a server; its reply is swallowed. */
export interface Greeting {
  readonly bytes: Uint8Array;
  /**
   * Looks at the reply. Returns null to go on, a failure code (see failures.ts) to give the connection up.
   * Requests of clients are not sent before the last greeting has been answered.
   */
  check(bytes: Uint8Array, start: number, end: number): string | null;
}

/** How far the scan of a half-received reply has come; one per server connection. */
export interface ReplyScan {
  /** Bytes from the reply's start without which it cannot go on; 0 = unknown. */
  readonly needed: number;
  /** About how long it will be; a guess, but at least `needed`. 0 = unknown. */
  readonly expected: number;
  /** Bytes at the reply's start that may leave: elements that are all here, and the beginning of a long line. */
  readonly at: number;
  /** Where `at` is inside of a line, which does not say how long it will be: so much of it has come. Else 0. */
  readonly lineBytes: number;
  /** Those first `count` bytes, at most `at`, are gone: the reply goes on where they ended. */
  forget(count: number): void;
}

/** What becomes of requests that a node of a cluster does not answer itself. */
export interface Redirects {
  /** Is this reply such a word, and `request` one that is to be asked elsewhere for it? */
  sees(
    connection: ServerConnection,
    request: Request,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean;
  /**
   * It is: sees to it that the request, which is in no connection's queue now, is answered, sooner or later.
   * @param sent its bytes; owned
   * @param bytes what has been said; borrowed
   */
  follow(
    connection: ServerConnection,
    request: Request,
    sent: Uint8Array,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void;
  /**
   * A request that has not been sent, or may be sent again, is asked of whoever has its slot, in another turn. Its connection has ended.
   * @param sent its bytes; owned
   * @param failure what it reads if nobody can be asked for a while
   * @param pauses not at once
   * @returns false if it is to fail now
   */
  placeAgain(
    connection: ServerConnection,
    request: Request,
    sent: Uint8Array,
    failure: Failure,
    pauses: boolean,
  ): boolean;
  /**
   * A read whose server has left the pool is asked of whoever has its slot, in another turn.
   * @param request in no queue
   * @param bytes its; owned
   */
  readAgain(request: Request, bytes: Uint8Array, server: Server): void;
}

export interface Front {
  /** A new client's session, kept in client.session. */
  newSession(client: Client): unknown;
  /** The client, whose session has been made, is somebody from the start. @returns that of whom there are as many as may be; null: it may stay */
  admit?(client: Client): Measure | null;
  /** Whom it is one of now, if they have limits (limits.ts). */
  partOf?(client: Client): Part | null;
  /**
   * Takes the request at `start` of `bytes` (borrowed; shared if the request has SHARE_MIN bytes or more).
   * @returns offset past it, or a negative number if it is not all here, if the client is blocked and the request
   *   must be taken again later, or if the client is closing
   */
  step(client: Client, bytes: Uint8Array, start: number, end: number): number;
  /** True if the client is inside something that should not be cut (a transaction) when the proxy stops. */
  midway?(client: Client): boolean;
  /** True if the client waits for as long as somebody else likes (BLPOP's server, logins before its own): without the client there is no point. */
  waits?(client: Client): boolean;
  /** How long this client may say nothing before it is closed, in ms; Infinity = for ever. @param idleMs what idle_timeout says */
  idleMax?(client: Client, idleMs: number): number;
  /** The proxy is stopping: ends the wait of a client that waits on its server. */
  interrupt?(client: Client): void;
  /** Bytes that the client's session holds: commands of a transaction, and the like. */
  holdsBytes?(client: Client): number;
  /** Answers a worker's question about this worker's clients (CLIENT LIST). `told` is called once, now or later. */
  answerQuestion?(question: ClientQuestion, told: Told): void;
  /**
   * The words of a request, for the slow log.
   * @param head its first bytes, perhaps not all; @param masked shows no more than the command and its key
   */
  wordsOf(head: Uint8Array, masked: boolean): string[];
  /** The name that a client has given itself; latin1, "" = none. Absent: none has one. */
  nameOf?(client: Client): string;
  /** What is to be told of a client; absent: nothing but what every client has. @param wallMs ms since the epoch */
  viewOf?(client: Client, nowMs: number, wallMs: number): ClientView;
  /** Bytes that clients have held which are gone by now: they are being let go of, some a turn. */
  leavingBytes?(): number;
  /** The client is gone: lets go of what the session holds elsewhere. */
  abandoned(client: Client): void;
  /** Servers have left or joined the ring. */
  ringChanged(): void;
  /** The pool has another configuration: its servers, their order, its settings may be others. Called between two turns. */
  adopt(): void;
  /** The pool is stopping. */
  stop(): void;
  /** Which of a server's connections this client uses: counts classes of (protocol version, database). */
  connectionClass(client: Client): number;
  /**
   * The connection that this client's next request to `server` takes.
   * @returns null while the server is left alone after failed connects: answer with `server.refusal()`
   */
  connectionTo(client: Client, server: Server): ServerConnection | null;
  /**
   * The handshake of a new connection of that class; may be empty.
   * @param role ANYBODY, PRIMARY or REPLICA: what whoever is at the other end has to be, or the handshake fails
   */
  greetings(connectionClass: number, role: number): readonly Greeting[];
  /** So many bytes more of this client's request have gone to its server (Socket.passTo). For who lets them. */
  passed?(client: Client, count: number): void;
  /** The scan state of a new server connection. */
  newReplyScan(): ReplyScan;
  /**
   * Offset past one reply, NEED_MORE (-1) or BAD_REPLY (-2).
   * @param scan of this connection, made by `newReplyScan`
   */
  scanReply(bytes: Uint8Array, start: number, end: number, scan: ReplyScan): number;
  /**
   * Offset past the reply at `start` if it is all here, nothing of it has been scanned before, and it is of a kind that is no error, no
   * illness and no push; else 0, and scanReply says what it is. Absent: there is no short way.
   */
  scanPlain?(bytes: Uint8Array, start: number, end: number, scan: ReplyScan): number;
  /**
   * For requests whose `check` is not 0: false if this reply cannot answer such a request, which means that the
   * connection is out of step and has to be closed. May mute the request. The reply is the one scanned last, or (if
   * `isOneValue`) one that came in pieces.
   */
  fits(request: Request, bytes: Uint8Array, start: number, end: number): boolean;
  /** True if the reply that begins at `start`, whose size the scan has found, is a single value: its bytes, then CRLF. */
  isOneValue(bytes: Uint8Array, start: number): boolean;
  /**
   * True if a reply of which the elements before `scan.at` are known can answer `request`, so that they may leave before
   * the rest has come. Not for a push.
   */
  fitsSoFar(request: Request, scan: ReplyScan): boolean;
  /** True if the reply answers no request (RESP3 push). */
  isPush(bytes: Uint8Array, start: number): boolean;
  /**
   * What is wrong with a server that says this; null if nothing is (see illness.ts). Called for every reply, so it must be cheap.
   * @param where ACCEPT, GREETING, REQUEST (DEMOTED goes with it) or PROBE, or several of them
   */
  illness(bytes: Uint8Array, start: number, end: number, where: number): Failure | null;
  /** True if a server has to be told something before it returns to the ring. @param first no other worker has told it */
  tells?(server: Server, first: boolean): boolean;
  /** Tells the server of the visit; ends the visit when that has been done, or cannot be. */
  tell?(visit: Visit, first: boolean): void;
  /** Another worker has sent a request to every server that servers which return have to be told. @param words latin1 */
  knows?(words: readonly string[]): void;
  /** Bytes that the front keeps for no client in particular. */
  keptBytes?(): number;
  /** Where nodes may say that another one is to be asked (Redis Cluster); null or absent: nowhere. */
  readonly redirects?: Redirects | null;
  /** An error reply that says to try it again later, with this text; owned. */
  laterReply(text: string): Uint8Array;
  /** An error reply with this text; owned. */
  errorReply(text: string): Uint8Array;
  /** The answer where no server is live. */
  readonly noLiveServer: Uint8Array;
  /** The request that asks a server whether it is well; any reply that is no illness will do. */
  readonly probe: Uint8Array;
}
