/**
 * The admin side's HTTP server: on the main thread alone, on sockets of node:net that it accepts itself, on both runtimes.
 *
 *   listener ──► Visit: a connection and its deadlines ──► http.ts reads a head ──► guard.ts ──► routes.ts ──► answer in pieces ──► the next one
 *
 * One request at a time in a connection, which stays for more. What a visitor may take is bounded, whatever it does: connections (the one
 * that has been idle longest makes way), head, body, the time for each, bytes of answers that have not been read, what is sent ahead, and
 * routes that are being answered at a time. With one worker this thread carries the traffic.
 */
import type { Server as NetServer, Socket } from "node:net";
import { builtin } from "../bytes/builtin.ts";
import type { Address, Clock, TimerId } from "../net/net.ts";
import { ERR } from "../net/log.ts";
import { type Answer, type Asked, json, plain, Refused, type Stream, type Whole } from "./answer.ts";
import { nextTurn } from "../service/turns.ts";
import type { TlsConfig } from "../net/tls.ts";
import { TlsListener } from "../runtime/tls_listener.ts";
import type { Around } from "./around.ts";
import { refusalOf } from "./guard.ts";
import { endOfHead, GO_ON, type Head, HEAD_MAX, headOf, readHead, valuesOf } from "./http.ts";
import { findRoute, type Route } from "./routes.ts";

const net = builtin<typeof import("node:net")>("node:net");

/** Connections that may be streams. */
const STREAMS_MAX = 64;
/** Routes that are being answered at a time: twenty pages ask for a hundred things at once, and a long answer takes some turns. */
const BUSY_MAX = 128;
/** Bytes of a body; of what is sent before the request before it has been answered. */
export const BODY_MAX = 1024 * 1024;
const AHEAD_MAX = 64 * 1024;
/** How long a visitor may take to send its head, and then its body, ms; and to take each piece of the answer, or all it is owed of a stream. */
const HEAD_MS = 10_000;
const BODY_MS = 20_000;
const PIECE_MS = 10_000;
/** How long a connection may be silent that has been answered, ms: a scraper comes again within a minute. */
const IDLE_MS = 65_000;
/** An answer goes out in pieces of about this many bytes, each in a turn of its own when the one before has left: a µs a KiB. */
const PIECE_SIZE = 32 * 1024;
/** The head of an answer has fewer bytes. */
const HEAD_ROOM = 1024;
/** Bytes of all bodies and answers, beyond which more are refused; of one stream that have not left, beyond which it is cut off. */
const HELD_MAX = 32 * 1024 * 1024;
const STREAM_OWED_MAX = 512 * 1024;
const SWEEP_MS = 500;
/** Mistakes of ours are logged this often. */
const COMPLAINT_MS = 1000;

/** closing: the last answer has been written; what still comes is thrown away, so that the answer is read. */
type Stage = "handshake" | "head" | "body" | "answering" | "answer" | "stream" | "closing";

/** One connection. */
class Visit {
  /** When it has to have got further, by nowMs. */
  dueMs: number;
  /** Called when the connection has closed. */
  whenGone: (() => void) | null = null;
  /** Bytes that have come and have not been looked at: of a head, or ahead of an answer. */
  held: Uint8Array = NOTHING;
  /** So many of them are known to have no end of a head. */
  searched = 0;
  /** Another request may follow. */
  stays = true;
  /** Takes what comes of a body. */
  body: ((piece: Uint8Array) => void) | null = null;

  /** @param socket with TLS another one when it has shaken hands */
  constructor(public socket: Socket, public stage: Stage, nowMs: number) {
    this.dueMs = nowMs + HEAD_MS;
  }
}

const NOTHING = new Uint8Array();

export class AdminServer {
  private readonly visits = new Map<Socket, Visit>();
  private listener: NetServer | null = null;
  /** Null: plain HTTP. */
  private tls: TlsListener | null = null;
  private timer: TimerId | null = null;
  private busy = 0;
  private streams = 0;
  /** Of bodies that have come, and of answers that have not gone. */
  private heldBytes = 0;
  private quietUntilMs = -Infinity;
  /** The Date of answers, and until when it is true. */
  private date = "";
  private dateUntilMs = -Infinity;
  /** Where a piece of an answer lies until it has left; null: one is there. */
  private room: Uint8Array | null = null;

  /**
   * @param token what visitors have to know; null = nothing
   * @param visitsMax connections at a time
   */
  constructor(
    private readonly around: Around,
    private token: string | null,
    private readonly visitsMax: number,
  ) {}

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
    const visit = this.enter(socket, "head");
    if (visit !== null) this.hear(visit);
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
    this.hear(visit);
  }

  /** From now on what comes is HTTP. */
  private hear(visit: Visit): void {
    visit.socket.on("data", (piece: Uint8Array) => this.carefully(() => this.heard(visit, piece)));
  }

  /** Null if there is no place. */
  private enter(socket: Socket, stage: Stage): Visit | null {
    // Before anything else: an error that nobody hears ends the process.
    socket.on("error", () => {});
    if (this.visits.size >= this.visitsMax && !this.makeWay()) {
      socket.destroy();
      return null;
    }
    const visit = new Visit(socket, stage, this.clock.nowMs());
    this.visits.set(socket, visit);
    this.mind(socket, visit);
    if (this.timer === null) this.sweepLater();
    return visit;
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

  // ---- requests

  private heard(visit: Visit, piece: Uint8Array): void {
    const { socket, stage } = visit;
    switch (stage) {
      case "head":
        if (visit.held.length === 0) visit.dueMs = this.clock.nowMs() + HEAD_MS;
        return this.look(visit, piece);
      case "body":
        return visit.body?.(piece);
      case "answering":
      case "answer":
        if (!visit.stays) return;
        // Of the next request, which has to wait; nobody needs to be so far ahead.
        if (visit.held.length + piece.length > AHEAD_MAX) return void socket.destroy();
        visit.held = joined(visit.held, piece.slice());
        return;
      case "stream":
        // Nothing can follow it.
        return void socket.destroy();
      default:
        // A handshake's bytes do not come here.
    }
  }

  /** Is the head here? @param piece what has come behind what is held */
  private look(visit: Visit, piece: Uint8Array): void {
    const held = joined(visit.held, piece);
    const end = endOfHead(held, visit.searched);
    if (end > HEAD_MAX || end < 0 && held.length > HEAD_MAX) {
      return this.refuseHead(visit, new Refused(431, `found a head of more than ${HEAD_MAX} bytes`));
    }
    if (end < 0) {
      // Node's own memory may be reused.
      visit.held = held === piece ? held.slice() : held;
      visit.searched = held.length;
      return;
    }
    visit.searched = 0;
    let head: Head;
    try {
      head = readHead(held.subarray(0, end));
    } catch (error) {
      return this.refuseHead(visit, error);
    }
    visit.held = end === held.length ? NOTHING : held.slice(end);
    // Whatever goes wrong here, this visitor pays for it and nobody else.
    this.serve(visit, head).catch((error) => {
      this.complain(error);
      visit.socket.destroy();
    });
  }

  /** Nobody knows what comes behind it. */
  private refuseHead(visit: Visit, error: unknown): void {
    visit.held = NOTHING;
    visit.stays = false;
    this.send(this.apology(error), false, visit).catch((error) => this.complain(error));
  }

  private async serve(visit: Visit, head: Head): Promise<void> {
    visit.stage = "body";
    visit.dueMs = this.clock.nowMs() + BODY_MS;
    const headOnly = head.method === "HEAD";
    // A body that nobody reads would be taken for the next request.
    visit.stays = head.stays && (head.bodySize === 0 || head.method === "POST");
    let answer: Answer;
    try {
      answer = await this.answerTo(head, visit);
    } catch (error) {
      answer = this.apology(error);
      // Its body may not have come.
      if (head.bodySize > 0) visit.stays = false;
    }
    if (!this.visits.has(visit.socket)) return "stream" in answer ? undefined : answer.release?.();
    if (!("stream" in answer)) await this.send(answer, headOnly, visit);
    else if (headOnly) await this.send({ status: 200, type: answer.type, body: "" }, true, visit);
    else await this.stream(answer, visit);
  }

  /** What it has sent ahead, or sends from now on, is its next request. */
  private next(visit: Visit): void {
    const { held, socket } = visit;
    const nowMs = this.clock.nowMs();
    visit.stage = "head";
    visit.dueMs = nowMs + (held.length > 0 ? HEAD_MS : IDLE_MS);
    // The last one of those that are idle.
    this.visits.delete(socket);
    this.visits.set(socket, visit);
    if (held.length === 0) return;
    // In a turn of its own, as if it came now: hundreds may have been sent ahead.
    this.clock.setTimer(0, () => {
      if (visit.stage === "head" && visit.held.length > 0) this.carefully(() => this.look(visit, NOTHING));
    });
  }

  private async answerTo(head: Head, visit: Visit): Promise<Answer> {
    const { method, target, rawHeaders } = head;
    const [path = "", search = ""] = target.split(/\?(.*)/s);
    const found = findRoute(method, path);
    const open = found !== null && "route" in found && found.route.open === true;
    const refusal = refusalOf(head, this.token, open, this.tls !== null);
    if (refusal !== null) throw new Refused(refusal.status, refusal.why);
    if (found === null) throw new Refused(404, "no such path; /api lists those that there are");
    if ("allow" in found) {
      const methods = found.allow.join(", ");
      throw new Refused(405, `expected ${methods}`);
    }
    const { route, names } = found;
    const query = queryOf(route, search);
    const accept = valuesOf(rawHeaders, "accept").join(",");
    if (route.method !== "POST") {
      return await this.answer(route, { names, query, body: NOTHING, accept }, visit);
    }
    const body = await this.bodyOf(visit, head);
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
  private bodyOf(visit: Visit, { bodySize, waits }: Head): Promise<Uint8Array> {
    if (bodySize > BODY_MAX) {
      return Promise.reject(new Refused(413, `expected a body of at most ${BODY_MAX} bytes`));
    }
    if (waits && visit.held.length === 0 && bodySize > 0) visit.socket.write(GO_ON);
    return new Promise((resolve, reject) => {
      const pieces: Uint8Array[] = [];
      let size = 0;
      const refuse = (why: Refused) => {
        visit.body = visit.whenGone = null;
        this.heldBytes -= size;
        reject(why);
      };
      visit.whenGone = () => refuse(new Refused(400, "the body has not ended"));
      visit.body = (piece) => {
        const more = Math.min(piece.length, bodySize - size);
        size += more;
        this.heldBytes += more;
        if (this.heldBytes > HELD_MAX) return refuse(tooMuch());
        // Node's own memory may be reused.
        pieces.push(piece.slice(0, more));
        if (size < bodySize) return;
        visit.body = visit.whenGone = null;
        // What comes before it has been answered is of the next request.
        visit.stage = "answering";
        visit.held = piece.slice(more);
        const body = new Uint8Array(bodySize);
        let at = 0;
        for (const piece of pieces) {
          body.set(piece, at);
          at += piece.length;
        }
        resolve(body);
      };
      visit.body(visit.held);
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

  private head(status: number, type: string, size: number | null, stays: boolean): Uint8Array {
    const wallMs = this.clock.wallMs();
    if (!(wallMs < this.dateUntilMs && wallMs >= this.dateUntilMs - 1000)) {
      this.date = new Date(wallMs).toUTCString();
      this.dateUntilMs = wallMs + 1000;
    }
    return headOf(status, type, size, stays, this.date);
  }

  private async send({ status, type, body, release }: Whole, headOnly: boolean, visit: Visit): Promise<void> {
    const pieces = piecesOf(body);
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    visit.stage = "answer";
    visit.dueMs = this.clock.nowMs() + PIECE_MS;
    const { socket, stays } = visit;
    this.heldBytes += size;
    // Nobody else's meanwhile.
    const room = this.room ?? new Uint8Array(HEAD_ROOM + PIECE_SIZE);
    this.room = null;
    let inRoom = false;
    try {
      let ahead = this.head(status, type, size, stays);
      for (const bytes of headOnly ? [] : pieces) {
        for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
          if (ahead.length === 0) await nextTurn(this.clock);
          let piece = bytes.subarray(at, at + PIECE_SIZE);
          // One write, for most answers; and from bytes that may change as soon as they have left.
          if (ahead.length > 0 || release !== undefined) {
            piece = joinedIn(inRoom ? null : room, ahead, piece);
            ahead = NOTHING;
            if (piece.buffer === room.buffer) inRoom = true;
          }
          if (!await this.written(piece, visit)) return;
          if (socket.writableLength === 0) inRoom = false;
          visit.dueMs = this.clock.nowMs() + PIECE_MS;
        }
      }
      if (ahead.length > 0 && !await this.written(ahead, visit)) return;
    } finally {
      this.heldBytes -= size;
      if (!inRoom) this.room = room;
      release?.();
    }
    if (stays) return this.next(visit);
    visit.stage = "closing";
    visit.held = NOTHING;
    socket.end();
  }

  /** Resolves when the next piece may be written: false = the visitor has gone. */
  private written(piece: Uint8Array, visit: Visit): Promise<boolean> | boolean {
    const { socket } = visit;
    if (socket.destroyed || !socket.writable) return false;
    if (socket.write(piece)) return true;
    return new Promise((resolve) => {
      visit.whenGone = () => resolve(false);
      socket.once("drain", () => {
        visit.whenGone = null;
        resolve(true);
      });
    });
  }

  private async stream({ type, stream }: Stream, visit: Visit): Promise<void> {
    if (this.streams >= STREAMS_MAX) {
      visit.stays = false;
      return await this.send(json({ error: "too many listen already" }, 503), false, visit);
    }
    const { socket } = visit;
    if (socket.destroyed || !socket.writable) return;
    this.streams++;
    visit.stage = "stream";
    visit.held = NOTHING;
    visit.dueMs = this.clock.nowMs() + PIECE_MS;
    let over = false;
    socket.write(this.head(200, type, null, false));
    const whenGone = stream({
      write: (text) => {
        if (over || !socket.writable) return;
        // Before it is given more, so that one long message cuts nobody off.
        if (socket.writableLength > STREAM_OWED_MAX) socket.destroy();
        else socket.write(text);
      },
      end: () => {
        if (!over) socket.end();
      },
      get owedBytes(): number {
        return socket.writableLength;
      },
    });
    visit.whenGone = () => {
      over = true;
      this.streams--;
      whenGone();
    };
  }
}

/** @returns `piece` itself if there is nothing before it */
function joined(before: Uint8Array, piece: Uint8Array): Uint8Array {
  if (before.length === 0) return piece;
  const all = new Uint8Array(before.length + piece.length);
  all.set(before);
  all.set(piece, before.length);
  return all;
}

/** @param room where it may lie; null: in memory of its own */
function joinedIn(room: Uint8Array | null, before: Uint8Array, piece: Uint8Array): Uint8Array {
  const size = before.length + piece.length;
  const all = room !== null && size <= room.length ? room.subarray(0, size) : new Uint8Array(size);
  all.set(before);
  all.set(piece, before.length);
  return all;
}

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
    // What is no UTF-8 has become that character: an answer would be about something else.
    if (query[name].includes("\ufffd") && !/%ef%bf%bd/i.test(search)) {
      const others = parameters.some((each) => each.name === "hex") ? ", or with hex its bytes in hex" : "";
      throw new Refused(400, `${name}: found bytes that are not UTF-8, expected UTF-8${others}`);
    }
  }
  for (const name of given.keys()) {
    if (parameters.some((each) => each.name === name)) continue;
    const names = parameters.map((each) => each.name).join(", ") || "none";
    throw new Refused(400, `found parameter ${JSON.stringify(name.slice(0, 60))}, expected ${names}`);
  }
  return query;
}
