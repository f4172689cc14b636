/**
 * The bytes that one server connection receives, cut into replies.
 *
 *   receive ──► whole replies, as they lie ───────────────────────► takeReply
 *          └──► half a reply ──► inbox, or pieces of one value ───► takePart … takeReply
 *
 * A large reply is not kept until it is whole: what is all here goes on in parts, if it is its client's turn, or is dropped if
 * nobody wants it any more. Else (replies owed before it, a split) it is kept, and counts against client_output_limit.
 * Whose reply it is, and what becomes of the connection when it is none, is the taker's business.
 */
import { copy } from "../bytes/ascii.ts";
import { assert } from "../bytes/assert.ts";
import { newArray } from "../bytes/chunks.ts";
import { Inbox } from "../bytes/inbox.ts";
import { Outbox, SHARE_MIN } from "../bytes/outbox.ts";
import type { Client } from "./client.ts";
import type { ReplyScan } from "./front.ts";
import type { Pool } from "./pool.ts";
import { isUnwanted, type Request } from "./request.ts";
import type { RequestLine } from "./request_line.ts";

/** A value of which at least this much is still to come is collected in pieces. */
const PIECES_MIN = 64 * 1024;
/** A split that takes parts gets them from this size on. */
const PART_MIN = 64 * 1024;
/** How far the end of a begun reply is looked for at first, if its size is not known. */
const REST_MIN = 512;
/**
 * So much is kept of a line that cannot leave yet. Servers write lines of some hundred bytes; only a script's status or error is as
 * long as the script likes, and bulks are there for that.
 */
const LINE_KEPT_MAX = 32 * 1024 * 1024;

/** The connection: it knows whose reply comes next. */
export interface ReplyTaker {
  /** Who is answered next; null = nobody has asked. */
  readonly head: Request | null;
  /** Replies may come on it; false for good, as far as this stream is concerned, once it is. */
  readonly isOpen: boolean;
  /** Nobody has asked, and the server is past its first words: whatever it says is stray, unless it is a push. */
  readonly expectsNothing: boolean;
  /** Nobody has asked, and whatever comes is for who has the connection to itself. */
  readonly listens: boolean;
  /** Whole replies that go the short way, if there are any at `at`; returns the offset past them. @param scan of the reply at `at` */
  takeRun(bytes: Uint8Array, at: number, end: number, scan: ReplyScan): number;
  /**
   * One reply. @param whole false if these are only its last bytes
   * @returns false if the connection was given up
   */
  takeReply(bytes: Uint8Array, start: number, end: number, whole: boolean): boolean;
  /** Parts of the line's reply that are all here; more of it follows. False if the connection was given up. */
  takeLineParts(line: RequestLine, bytes: Uint8Array, start: number, end: number): boolean;
  /** The head's reply is large, and no error: a split that waited for that lets go of it (Split.letGo). */
  letGo(): void;
  /** The first part of the head's reply is about to be taken, before the rest has come. */
  partsBegin(head: Request): void;
  takePart(head: Request, bytes: Uint8Array, start: number, end: number): void;
  /** As `takePart`, for all that `chunks` holds; empty afterwards. */
  takePartChunks(head: Request, chunks: Outbox): void;
  /**
   * The next `count` bytes of the head's reply may go to its client unseen; `ReplyStream.passed` is told of those that do.
   * @returns false if none will
   */
  letPartPass(head: Request, count: number): boolean;
  pushed(bytes: Uint8Array, start: number, end: number): void;
  /** @param detail what is wrong, for the log */
  fail(code: string, detail?: string): void;
}

export class ReplyStream {
  private readonly inbox = new Inbox();
  private scan: ReplyScan;
  /** A large value that is coming in, and how many of its bytes are missing. */
  private pieces: Outbox | null = null;
  private missing = 0;
  /**
   * The first elements of the reply that is coming in have been passed on, or dropped since nobody wants it. The taker says when
   * that reply has been taken (`ended`).
   */
  begun = false;

  constructor(private readonly pool: Pool, private readonly taker: ReplyTaker) {
    this.scan = pool.front.newReplyScan();
  }

  /** Bytes of a reply that is not all here. */
  get heldBytes(): number {
    return this.inbox.heldBytes + (this.pieces?.size ?? 0);
  }

  /** Whose reply is coming in next. */
  get receiver(): Client | null {
    const { head } = this.taker;
    if (head === null) return null;
    const { inbox } = this;
    if (head.line !== null) return head.line.receiver(inbox.bytes, inbox.start, inbox.end);
    return head.client ?? head.split?.parent.client ?? null;
  }

  receive(view: Uint8Array): void {
    if (this.pieces !== null) return this.receivePiece(this.pieces, view);
    this.receiveFrom(view, 0);
  }

  /** Nothing more comes: lets go of what was kept. */
  clear(): void {
    this.begun = false;
    this.inbox.clear();
    this.pieces?.clear();
    this.pieces = null;
  }

  /** Throws if something is not as it must be between two events. */
  invariants(): void {
    assert(!this.begun || this.taker.head !== null, "a reply that is begun has been asked for");
    assert(this.pieces === null || this.missing > 0, "a value in pieces lacks something");
    assert(this.pieces === null || this.inbox.size === 0, "nothing is kept behind a value in pieces");
  }

  private receiveFrom(view: Uint8Array, from: number): void {
    if (this.inbox.size > 0) from = this.receiveRest(view, from);
    if (from === view.length || !this.taker.isOpen) return;
    const at = this.takeReplies(view, from, view.length);
    if (at < view.length && this.taker.isOpen) this.keep(view, at);
  }

  /** Keeps the first bytes of a reply that is not all here. */
  private keep(view: Uint8Array, at: number): void {
    const { front } = this.pool;
    // A reply too many is one as soon as it begins: else whoever asks next would get it. A new connection may be turned away.
    if (this.taker.expectsNothing && !front.isPush(view, at)) return this.taker.fail("ESTRAY");
    const missing = this.scan.needed - (view.length - at);
    if (missing >= this.piecesMin && !this.begun && front.isOneValue(view, at)) {
      this.pieces = new Outbox();
      this.pieces.append(view, at, view.length);
      this.missing = missing;
      if (missing >= this.pool.passMin / 2) this.letPass(this.pieces);
      return;
    }
    this.inbox.append(view, at, view.length);
    this.passOn();
    this.makeRoom();
  }

  /** At least 3: what is not here of its CRLF is looked at when it comes. */
  private get piecesMin(): number {
    return Math.max(3, Math.min(PIECES_MIN, this.pool.passMin));
  }

  /** Passes on the elements that are all here, if there is much, and if they may leave. */
  private passOn(): void {
    const { inbox, scan } = this;
    if (inbox.size < this.pool.passMin && !this.passesSoon()) return;
    const { start } = inbox;
    if (inbox.bytes[start] !== MINUS) this.taker.letGo();
    const { head } = this.taker;
    // Nobody has asked for anything: then servers say a line at most, or push.
    if (head === null && !this.taker.listens && !this.pool.front.isPush(inbox.bytes, start)) {
      return this.taker.fail("ESTRAY");
    }
    if (head !== null && scan.at > 0 && (this.begun || this.mayBegin(head, inbox.bytes, start))) {
      const end = start + scan.at;
      this.begin(head);
      inbox.pin();
      this.taker.takePart(head, inbox.bytes, start, end);
      inbox.unpin(end, end - start >= SHARE_MIN);
      scan.forget(end - start);
    }
    if (head !== null) this.charge(head, inbox.size);
    if (scan.lineBytes > 0 && inbox.size > LINE_KEPT_MAX) this.keepNoLine();
  }

  /** Whoever looks at each element gets few at a time, so that turns stay short. */
  private passesSoon(): boolean {
    const { inbox } = this;
    const split = this.taker.head?.split ?? null;
    if (split === null || inbox.size < PART_MIN) return false;
    return this.begun || split.takesParts(inbox.bytes, inbox.start);
  }

  /** A line, nobody knows how long, cannot leave: whoever asked for it is closed, and then it is dropped as it comes. */
  private keepNoLine(): void {
    const { inbox, receiver } = this;
    if (receiver === null || this.pool.front.isPush(inbox.bytes, inbox.start)) {
      return this.taker.fail("EPROTO", "a line without end");
    }
    receiver.giveUp("has asked for a line that is too long to be kept until it is its turn");
  }

  /** `bytes` of a half reply are kept here for a client: more than it may leave unread end it. */
  private charge(head: Request, bytes: number): void {
    this.receiver?.mayHold(bytes + (head.split?.heldBytes ?? 0));
  }

  /** Asks the inbox for room: for all of the reply only if it will not go on in parts. */
  private makeRoom(): void {
    const { needed, expected } = this.scan;
    const { passMin } = this.pool;
    const inParts = this.begun || this.inbox.size < passMin;
    const total = inParts ? Math.max(needed, Math.min(expected, 2 * passMin)) : expected;
    if (total > 0) this.inbox.reserve(total);
  }

  private mayBegin(head: Request, bytes: Uint8Array, start: number): boolean {
    const { front } = this.pool;
    if (front.isPush(bytes, start)) return false;
    return isUnwanted(head) || isTurnOf(head) && front.fitsSoFar(head, this.scan) ||
      head.split !== null && head.split.takesParts(bytes, start);
  }

  private begin(head: Request): void {
    if (this.begun) return;
    this.begun = true;
    this.taker.partsBegin(head);
  }

  /**
   * Collects a large value in chunks that its client's socket takes over. Its size is known and it is one element, so
   * nothing has to be scanned but the CRLF at its end.
   */
  private receivePiece(pieces: Outbox, view: Uint8Array): void {
    if (view.length < this.missing) {
      this.missing -= view.length;
      pieces.append(view, 0, view.length);
      // Its CR may be the last byte here.
      if (this.missing === 1 && view[view.length - 1] !== CR) return this.taker.fail("EPROTO");
      // What passes unseen goes behind what has been sent.
      if (this.begun || pieces.size >= this.pool.passMin) this.passPieces(pieces);
      return;
    }
    const end = this.missing;
    if ((end > 1 && view[end - 2] !== CR) || view[end - 1] !== LF) return this.taker.fail("EPROTO");
    this.pieces = null;
    this.missing = 0;
    this.scan = this.pool.front.newReplyScan();
    if (!this.takePieces(pieces, view, end) || end === view.length) return;
    this.receiveFrom(view, end);
  }

  /** What is missing of a value in pieces goes straight to its client, if it can; but not its CRLF, which is looked at. */
  private letPass(pieces: Outbox): void {
    this.taker.letGo();
    const { head } = this.taker;
    if (head === null || !mayLeave(head) || !this.taker.letPartPass(head, this.missing - 2)) return;
    this.begin(head);
    this.taker.takePartChunks(head, pieces);
  }

  /** So many bytes of a value in pieces have gone to its client. */
  passed(count: number): void {
    this.missing -= count;
    assert(this.pieces !== null && this.missing >= 2, "what passes is the rest of a value");
  }

  /** As passOn, for a value in pieces. */
  private passPieces(pieces: Outbox): void {
    this.taker.letGo();
    const { head } = this.taker;
    if (head === null) return;
    if (this.begun || mayLeave(head)) {
      this.begin(head);
      this.taker.takePartChunks(head, pieces);
    } else this.charge(head, pieces.size);
  }

  /** Delivers a reply that lies in pieces and `last[0, end)`: one after the other if it is the client's turn, else joined. */
  private takePieces(pieces: Outbox, last: Uint8Array, end: number): boolean {
    const { head } = this.taker;
    if (head !== null && (this.begun || mayLeave(head))) {
      this.taker.takePartChunks(head, pieces);
      return this.taker.takeReply(last, 0, end, false);
    }
    const whole = newArray(pieces.size + end);
    copy(whole, pieces.moveTo(whole), last, 0, end);
    return this.taker.takeReply(whole, 0, whole.length, true);
  }

  /**
   * Adds to the reply in the inbox what it lacks, and delivers it. Not more: what lies behind it is taken from `view`
   * without a copy.
   * @returns how far `view` has been used
   */
  private receiveRest(view: Uint8Array, from: number): number {
    const { inbox, taker } = this;
    let step = REST_MIN;
    while (from < view.length) {
      const before = inbox.size;
      const lacking = this.scan.needed - before;
      const piece = Math.min(lacking > 0 ? lacking : step, view.length - from);
      inbox.append(view, from, from + piece);
      if (piece < lacking) {
        this.passOn();
        return view.length;
      }
      const { start } = inbox;
      inbox.pin();
      const taken = this.takeReplies(inbox.bytes, start, inbox.end) - start;
      inbox.unpin(taken > 0 ? inbox.end : start, taken >= SHARE_MIN);
      if (!taker.isOpen) return view.length;
      if (taken > 0) return from + taken - before;
      this.passOn();
      if (!taker.isOpen) return view.length;
      this.makeRoom();
      from += piece;
      step *= 2;
    }
    return from;
  }

  /** Delivers whole replies from `bytes[at, end)`; returns the offset of the first one that is not all here. */
  private takeReplies(bytes: Uint8Array, at: number, end: number): number {
    const { scan, taker } = this;
    const { front } = this.pool;
    while (at < end) {
      if (!this.begun) {
        at = taker.takeRun(bytes, at, end, scan);
        if (at === end || !taker.isOpen) break;
      }
      const next = front.scanReply(bytes, at, end, scan);
      if (next < 0) {
        if (next !== NEED_MORE) taker.fail("EPROTO");
        else if (scan.at > 0 && taker.head?.line) at = this.takeLineParts(taker.head.line, bytes, at);
        break;
      }
      const whole = !this.begun;
      if (whole && front.isPush(bytes, at)) taker.pushed(bytes, at, next);
      else if (!taker.takeReply(bytes, at, next, whole)) break;
      at = next;
    }
    return at;
  }

  /** Delivers the parts at `at` that are all here, of a reply to many; returns the offset past them. */
  private takeLineParts(line: RequestLine, bytes: Uint8Array, at: number): number {
    const end = at + this.scan.at;
    if (this.taker.takeLineParts(line, bytes, at, end)) this.scan.forget(end - at);
    return end;
  }
}

/** Nothing is owed to its client before its reply. */
function isTurnOf(head: Request): boolean {
  return head.client !== null && head.client.head === head;
}

/** A part of a single value may leave before the rest has come, or be dropped. */
function mayLeave(head: Request): boolean {
  return isUnwanted(head) || isTurnOf(head) && head.check === 0;
}

const NEED_MORE = -1;
const MINUS = 45;
const CR = 13;
const LF = 10;
