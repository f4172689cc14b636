/**
 * The admin side's HTTP server: node:http on both runtimes, on the main thread alone.
 *
 *   node:net listener ──► Visit: a connection and its deadlines ──► http.Server (parses) ──► guard.ts ──► routes.ts ──► answer in pieces
 *
 * One request a connection: nothing has to be known of what follows it, and whoever sends more is cut off. What a visitor may
 * take is bounded, whatever it does: connections (the longest idle one makes way), head, body, the time for each, bytes of answers that have
 * not been read, and routes that are being answered at a time. With one worker this thread carries the traffic.
 *
 * We listen ourselves and give http.Server the sockets (its documented `connection` event), since Bun 1.4.5 tells of a connection only
 * with its first byte. http.Server's own timeouts do not concern such sockets, so `sweep` looks at them; and on Deno 2.9.6 they
 * are closed behind the answer whatever it says of keep-alive.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as NetServer, Socket } from "node:net";
import { builtin } from "../bytes/builtin.ts";
import type { Address, Clock, TimerId } from "../net/net.ts";
import { ERR } from "../net/log.ts";
import { type Answer, type Asked, json, plain, Refused, type Stream, type Whole } from "./answer.ts";
import type { TlsConfig } from "../net/tls.ts";
import { TlsListener } from "../runtime/tls_listener.ts";
import type { Around } from "./around.ts";
import { refusalOf } from "./guard.ts";
import { findRoute, type Route } from "./routes.ts";

const http = builtin<typeof import("node:http")>("node:http");
const net = builtin<typeof import("node:net")>("node:net");

/** Connections that may be streams. */
const STREAMS_MAX = 64;
/** Routes that are being answered at a time: twenty pages ask for a hundred things at once, and a long answer takes some turns. */
const BUSY_MAX = 128;
/** Bytes of a request's head (node:http counts its header lines), of its target, and of its body. */
const HEAD_MAX = 16 * 1024;
const TARGET_MAX = 8 * 1024;
export const BODY_MAX = 1024 * 1024;
/** How long a visitor may take to send its head, and then its body, ms; and to take each piece of the answer, or all it is owed of a stream. */
const HEAD_MS = 10_000;
const BODY_MS = 20_000;
const PIECE_MS = 10_000;
/** An answer goes out in pieces of about this many bytes, each when the one before has left. */
const PIECE_SIZE = 64 * 1024;
/** Bytes of all bodies and answers, beyond which more are refused; of one stream that have not left, beyond which it is cut off. */
const HELD_MAX = 32 * 1024 * 1024;
const STREAM_OWED_MAX = 512 * 1024;
const SWEEP_MS = 500;
/** Mistakes of ours are logged this often. */
const COMPLAINT_MS = 1000;

/** No page may be framed, guessed at, kept, or given more than what comes from here. */
const HEADERS: Readonly<Record<string, string>> = {
  "Connection": "close",
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy":
    "default-src 'self' 'unsafe-inline' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
};

type Stage = "handshake" | "head" | "body" | "answering" | "answer" | "stream";

/** One connection. */
class Visit {
  /** When it has to have got further, by nowMs. */
  dueMs: number;
  /** Called when the connection has closed. */
  whenGone: (() => void) | null = null;

  /** @param socket with TLS another one when it has shaken hands */
  constructor(public socket: Socket, public stage: Stage, nowMs: number) {
    this.dueMs = nowMs + HEAD_MS;
  }
}

export class AdminServer {
  private readonly visits = new Map<Socket, Visit>();
  private readonly http: Server;
  private listener: NetServer | null = null;
  /** Null: plain HTTP. */
  private tls: TlsListener | null = null;
  private timer: TimerId | null = null;
  private busy = 0;
  private streams = 0;
  /** Of bodies that have come, and of answers that have not gone. */
  private heldBytes = 0;
  private quietUntilMs = -Infinity;

  /**
   * @param token what visitors have to know; null = nothing
   * @param visitsMax connections at a time
   */
  constructor(
    private readonly around: Around,
    private token: string | null,
    private readonly visitsMax: number,
  ) {
    this.http = http().createServer({ maxHeaderSize: HEAD_MAX }, (request, response) => {
      // Whatever goes wrong here, this visitor pays for it and nobody else.
      this.serve(request, response).catch((error) => {
        this.complain(error);
        request.socket.destroy();
      });
    });
    this.http.on("clientError", (_error: Error, socket: Socket) => this.refuseHead(socket));
  }

  /** Rejects with the reason if it cannot listen there. @param tls null: plain HTTP */
  listen(address: Extract<Address, { readonly host: string }>, tls: TlsConfig | null = null): Promise<void> {
    if (tls !== null) {
      this.tls = new TlsListener(
        "admin_tls",
        tls,
        {
          came: (socket) => void this.enter(socket, "handshake"),
          shook: (socket, before) => this.shook(socket, before),
        },
        this.clock,
        this.around.log,
      );
    }
    const listener = this.listener = this.tls?.server ?? net().createServer((socket) => this.accept(socket));
    return new Promise((resolve, reject) => {
      listener.once("error", reject);
      listener.listen({ host: address.host, port: address.port, backlog: 128 }, () => {
        listener.off("error", reject);
        // Out of files, most likely: whoever is here is served, and the next one tries again.
        listener.on("error", () => {});
        resolve();
      });
    });
  }

  /** The port in use; 0 = it does not listen. */
  get port(): number {
    const address = this.listener?.address();
    return typeof address === "object" ? address?.port ?? 0 : 0;
  }

  /** From the next request on. */
  adopt(token: string | null): void {
    this.token = token;
  }

  /** Reads files of certificates anew; see TlsListener. Null where it speaks plain HTTP. */
  get certificates(): TlsListener | null {
    return this.tls;
  }

  /** Cuts everybody off. */
  close(): void {
    this.listener?.close();
    this.listener = null;
    for (const { socket } of this.visits.values()) socket.destroy();
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
  }

  // ---- connections

  private get clock(): Clock {
    return this.around.clock;
  }

  private accept(socket: Socket): void {
    if (this.enter(socket, "head")) this.carefully(() => this.http.emit("connection", socket));
  }

  /** A handshake is over. */
  private shook(socket: Socket, before: Socket): void {
    const visit = this.visits.get(before);
    if (visit === undefined || visit.stage !== "handshake") return void socket.destroy();
    visit.stage = "head";
    visit.dueMs = this.clock.nowMs() + HEAD_MS;
    if (socket !== before) {
      this.visits.delete(before);
      visit.socket = socket;
      this.visits.set(socket, visit);
      socket.on("error", () => {});
      this.mind(socket, visit);
    }
    this.carefully(() => this.http.emit("connection", socket));
  }

  /** False if there is no place. */
  private enter(socket: Socket, stage: Stage): boolean {
    // Before anything else: an error that nobody hears ends the process.
    socket.on("error", () => {});
    if (this.visits.size >= this.visitsMax && !this.makeWay()) {
      socket.destroy();
      return false;
    }
    const visit = new Visit(socket, stage, this.clock.nowMs());
    this.visits.set(socket, visit);
    this.mind(socket, visit);
    if (this.timer === null) this.sweepLater();
    return true;
  }

  private mind(socket: Socket, visit: Visit): void {
    socket.on("close", () => {
      if (!this.visits.delete(socket)) return;
      const { whenGone } = visit;
      visit.whenGone = null;
      this.carefully(() => whenGone?.());
    });
  }

  /** The one that has said nothing for longest goes. False if all are being served. */
  private makeWay(): boolean {
    for (const { socket, stage } of this.visits.values()) {
      if (stage !== "head" && stage !== "handshake") continue;
      this.visits.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  private sweepLater(): void {
    this.timer = this.clock.setTimer(SWEEP_MS, () => {
      this.timer = null;
      this.sweep(this.clock.nowMs());
      if (this.visits.size > 0) this.sweepLater();
    });
  }

  private sweep(nowMs: number): void {
    for (const visit of this.visits.values()) {
      const { socket, stage } = visit;
      // What a stream's client has taken all of is no debt.
      if (stage === "stream" && socket.writableLength === 0) visit.dueMs = nowMs + PIECE_MS;
      if (nowMs >= visit.dueMs) socket.destroy();
    }
  }

  /** What was sent is no HTTP, or its head is too large. */
  private refuseHead(socket: Socket): void {
    if (this.visits.get(socket)?.stage !== "head" || !socket.writable) return void socket.destroy();
    socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  }

  // ---- requests

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const visit = this.visits.get(request.socket);
    if (visit === undefined || visit.stage !== "head") return void request.socket.destroy();
    visit.stage = "body";
    visit.dueMs = this.clock.nowMs() + BODY_MS;
    request.on("error", () => {});
    response.on("error", () => {});
    let answer: Answer;
    try {
      answer = await this.answerTo(request, visit);
    } catch (error) {
      answer = this.apology(error);
    }
    if (!this.visits.has(visit.socket)) return;
    const headOnly = request.method === "HEAD";
    if (!("stream" in answer)) await this.send(answer, headOnly, response, visit);
    else if (headOnly) await this.send({ status: 200, type: answer.type, body: "" }, true, response, visit);
    else this.stream(answer, response, visit);
  }

  private async answerTo(request: IncomingMessage, visit: Visit): Promise<Answer> {
    const { method = "", url: target = "", rawHeaders } = request;
    if (target.length > TARGET_MAX) throw new Refused(414, `found a target of more than ${TARGET_MAX} bytes`);
    const [path = "", search = ""] = target.split(/\?(.*)/s);
    const found = findRoute(method, path);
    const open = found !== null && "route" in found && found.route.open === true;
    const refusal = refusalOf({ method, target, rawHeaders }, this.token, open, this.tls !== null);
    if (refusal !== null) throw new Refused(refusal.status, refusal.why);
    if (found === null) throw new Refused(404, "no such path; /api lists those that there are");
    if ("allow" in found) {
      const methods = found.allow.join(", ");
      throw new Refused(405, `expected ${methods}`);
    }
    const { route, names } = found;
    const query = queryOf(route, search);
    const accept = request.headers.accept ?? "";
    if (route.method !== "POST") {
      return await this.answer(route, { names, query, body: NOTHING, accept }, visit);
    }
    const body = await this.bodyOf(request);
    try {
      return await this.answer(route, { names, query, body, accept }, visit);
    } finally {
      this.heldBytes -= body.length;
    }
  }

  private async answer(route: Route, asked: Asked, visit: Visit): Promise<Answer> {
    if (this.busy >= BUSY_MAX || this.heldBytes >= HELD_MAX) throw tooMuch();
    visit.stage = "answering";
    // Whoever answers bounds its own time.
    visit.dueMs = Infinity;
    this.busy++;
    try {
      return await route.answer(this.around, asked);
    } finally {
      this.busy--;
    }
  }

  /** Rejects if it is too large, or never ends. Its bytes are among the held ones then: whoever gets them gives them back. */
  private bodyOf(request: IncomingMessage): Promise<Uint8Array> {
    const tooLarge = new Refused(413, `expected a body of at most ${BODY_MAX} bytes`);
    if (Number(request.headers["content-length"] ?? 0) > BODY_MAX) return Promise.reject(tooLarge);
    return new Promise((resolve, reject) => {
      const pieces: Uint8Array[] = [];
      let size = 0;
      let over = false;
      const refuse = (why: Refused) => {
        if (over) return;
        over = true;
        this.heldBytes -= size;
        pieces.length = 0;
        request.pause();
        reject(why);
      };
      request.on("data", (piece: Uint8Array) => {
        if (over) return;
        size += piece.length;
        this.heldBytes += piece.length;
        if (size > BODY_MAX) refuse(tooLarge);
        else if (this.heldBytes > HELD_MAX) refuse(tooMuch());
        else pieces.push(piece);
      });
      request.on("end", () => {
        if (over) return;
        over = true;
        const body = new Uint8Array(size);
        let at = 0;
        for (const piece of pieces) {
          body.set(piece, at);
          at += piece.length;
        }
        resolve(body);
      });
      request.on("close", () => refuse(new Refused(400, "the body has not ended")));
    });
  }

  /** What a request that could not be answered is told. */
  private apology(error: unknown): Whole {
    if (error instanceof Refused) return json({ error: error.message }, error.status);
    this.complain(error);
    return plain("it could not be answered; the log says more\n", 500);
  }

  /** A mistake of ours: said once in a while, since whoever can ask can make us say it. */
  private complain(error: unknown): void {
    const nowMs = this.clock.nowMs();
    if (nowMs < this.quietUntilMs) return;
    this.quietUntilMs = nowMs + COMPLAINT_MS;
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    this.around.log.write(ERR, `admin: a request could not be answered: ${text.replaceAll("\n", " ")}`);
  }

  /** What is thrown here must not reach the loop: it would end the process, with all its clients. */
  private carefully(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.complain(error);
    }
  }

  // ---- answers

  private writeHead(response: ServerResponse, status: number, type: string, length: number | null): void {
    const headers: Record<string, string> = { ...HEADERS, "Content-Type": type };
    if (length !== null) headers["Content-Length"] = String(length);
    if (status === 401) headers["WWW-Authenticate"] = 'Basic realm="ringmaster", charset="UTF-8"';
    if (status === 503) headers["Retry-After"] = "1";
    response.writeHead(status, headers);
  }

  private async send(
    { status, type, body }: Whole,
    headOnly: boolean,
    response: ServerResponse,
    visit: Visit,
  ): Promise<void> {
    const pieces = piecesOf(body);
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    visit.stage = "answer";
    visit.dueMs = this.clock.nowMs() + PIECE_MS;
    this.writeHead(response, status, type, size);
    if (headOnly) return void response.end();
    this.heldBytes += size;
    try {
      for (const bytes of pieces) {
        for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
          const gone = !await this.written(response, bytes.subarray(at, at + PIECE_SIZE), visit);
          if (gone) return;
          visit.dueMs = this.clock.nowMs() + PIECE_MS;
        }
      }
      response.end();
    } finally {
      this.heldBytes -= size;
    }
  }

  /** Resolves when the next piece may be written: false = the visitor has gone. */
  private written(response: ServerResponse, piece: Uint8Array, visit: Visit): Promise<boolean> {
    return new Promise((resolve) => {
      if (visit.socket.destroyed) return resolve(false);
      visit.whenGone = () => resolve(false);
      if (response.write(piece)) return resolve(true);
      response.once("drain", () => resolve(true));
    });
  }

  private stream({ type, stream }: Stream, response: ServerResponse, visit: Visit): void {
    if (this.streams >= STREAMS_MAX) {
      const refused = json({ error: "too many listen already" }, 503);
      return void this.send(refused, false, response, visit);
    }
    this.streams++;
    visit.stage = "stream";
    visit.dueMs = this.clock.nowMs() + PIECE_MS;
    this.writeHead(response, 200, type, null);
    response.flushHeaders();
    let over = false;
    const whenGone = stream({
      write: (text) => {
        if (over) return;
        response.write(text);
        if (visit.socket.writableLength > STREAM_OWED_MAX) visit.socket.destroy();
      },
      end: () => {
        if (!over) response.end();
      },
      get owedBytes(): number {
        return visit.socket.writableLength;
      },
    });
    visit.whenGone = () => {
      over = true;
      this.streams--;
      whenGone();
    };
  }
}

const NOTHING = new Uint8Array();

function piecesOf(body: Whole["body"]): readonly Uint8Array[] {
  if (typeof body === "string") return [new TextEncoder().encode(body)];
  return body instanceof Uint8Array ? [body] : body;
}

const tooMuch = () => new Refused(503, "too much is being asked");

/** What the route's parameters are. Throws Refused if there are others, or one is missing. */
function queryOf(route: Route, search: string): Record<string, string> {
  const { parameters = [] } = route;
  const given = new URLSearchParams(search);
  const query: Record<string, string> = {};
  for (const { name, required = false, flag = false } of parameters) {
    const values = given.getAll(name);
    if (values.length > 1) throw new Refused(400, `${name}: expected once`);
    if (values.length === 0 && required) throw new Refused(400, `${name}: expected it in the query`);
    query[name] = flag && values.length === 1 ? "yes" : values[0] ?? "";
  }
  for (const name of given.keys()) {
    if (parameters.some((each) => each.name === name)) continue;
    const names = parameters.map((each) => each.name).join(", ") || "none";
    throw new Refused(400, `found parameter ${JSON.stringify(name.slice(0, 60))}, expected ${names}`);
  }
  return query;
}
