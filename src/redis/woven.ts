/**
 * EXEC of a transaction in which not everything is for its server: what is answered here, or by another server, takes its
 * place among the elements of EXEC's reply.
 *
 *   queue:       SET k v   CLIENT ID   INCR n   PUBLISH c m          (the server gets MULTI, SET, INCR, EXEC)
 *   its reply:   *2 +OK :1
 *   the client:  *4 +OK │ :7 │ :1 │ :0       an array is its elements, one after the other: the client's queue of replies
 *
 * The others run when EXEC's reply has come and was an array, in their order; a client whose transaction did not happen has
 * changed nothing here either. Nothing else is taken from the client until the last element has left. A long reply is walked
 * some of it a turn; a large one leaves as it comes, and then the others run as soon as those before them have come.
 */
import { concat, copy, encode, latin1 } from "../bytes/ascii.ts";
import { SHARE_MIN } from "../bytes/outbox.ts";
import { ReplyResume, scanReply } from "../protocol/redis/reply.ts";
import type { Client } from "../proxy/client.ts";
import type { RedisSession } from "./session.ts";
import { Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { Postponed } from "../proxy/turn.ts";

/** A command of a transaction that its server does not get. */
export interface Aside {
  /** So many of the server's elements stand before it. */
  readonly before: number;
  /** So many bytes of what the server gets stand before it. */
  readonly at: number;
  /** The request; owned. */
  readonly bytes: Uint8Array;
  /** A message for a channel: the index of its server; -1 = none live. Undefined for all else. */
  readonly channelOwner?: Server;
}

const ARRAY = 42;
const LF = 10;
const MINUS = 45;
const NOTHING = new Uint8Array(0);
/** The reply of a server that had nothing to do. */
export const NO_ELEMENTS: Uint8Array = encode("*0\r\n");
/** What a transaction may have answered aside, so that EXEC's turns stay short; in units of one small answer. */
export const ASIDE_MAX = 1024;
/** A turn walks about this many bytes of EXEC's reply for each argument that a slice may have (pool.sliceArguments). */
const ELEMENT_BYTES = 32;
/** What an answer of our own counts for. */
const ASIDE_BYTES = 1024;

/** Is it a transaction's reply that has been executed? */
export function isArray(reply: Uint8Array, start: number): boolean {
  return reply[start] === ARRAY && reply[start + 1] !== MINUS;
}

/** Runs a request for the client, which answers with one reply. */
export type Rerun = (client: Client, bytes: Uint8Array) => void;

export class Weaver implements Postponed {
  private readonly client: Client;
  private reply = NO_ELEMENTS;
  /** Offset of the element to be walked next, and the end of all. */
  private at = 0;
  private end = 0;
  /** The server's elements, and how many of them have been walked. */
  private count = 0;
  private seen = 0;
  private nextAside = 0;
  /** The request whose reply are the elements since `from`. It leaves when there is another behind it, or nothing more. */
  private part: Request;
  private from = 0;
  /** How far this turn may go. */
  private limit = 0;
  private readonly scan = new ReplyResume();
  /** Of a reply that leaves as it comes: its head has come, and bytes that are no whole element yet. */
  private begun = false;
  private rest = NOTHING;

  /** @param parent EXEC's request, the youngest; `client.beginWoven` was called when it was put into the queue */
  constructor(
    private readonly session: RedisSession,
    private readonly parent: Request,
    private readonly asides: readonly Aside[],
    private readonly rerun: Rerun,
  ) {
    this.client = session.client;
    this.part = parent;
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.reply.length;
  }

  /**
   * Answers EXEC.
   * @param reply the server's, borrowed, or shared from SHARE_MIN on; NO_ELEMENTS if no server has a part in the transaction
   */
  weave(reply: Uint8Array, start: number, end: number): void {
    const { client } = this;
    if (!isArray(reply, start)) return client.deliver(this.parent, reply, start, end);
    this.begin(reply, start, end);
    this.limit = this.at;
    // A turn that begins with a long walk would go on with another.
    if (end - start <= this.turnBytes && this.walk()) return;
    if (end - start < SHARE_MIN) this.keepRest();
    this.session.sliced = this;
    client.pool.turn.later(this);
  }

  /** Takes the array's head. */
  private begin(reply: Uint8Array, start: number, end: number): void {
    const first = reply.indexOf(LF, start) + 1;
    this.count = Number(latin1(reply, start + 1, first - 2));
    this.reply = reply;
    this.from = this.at = first;
    this.end = end;
  }

  // ---- a large reply, as it comes

  /** The first elements of an array (`isArray`), then those behind them; bytes as for `weave`. More follow. */
  takePart(bytes: Uint8Array, start: number, end: number): void {
    const { client } = this;
    if (client.closed || !this.take(bytes, start, end)) return;
    if (this.at > this.from) this.nextPart();
    if (this.at < this.end) this.rest = this.reply.slice(this.at, this.end);
    this.reply = NO_ELEMENTS;
  }

  /** What comes last of it. */
  takeLast(bytes: Uint8Array, start: number, end: number): void {
    if (this.client.closed || !this.take(bytes, start, end)) return;
    if (this.seen < this.count) throw new Error("EXEC's reply is whole, its elements are not");
    this.deliver();
  }

  /** Nothing more will come: an error would be taken for an element. */
  breakOff(): void {
    const { client } = this;
    if (client.closed) return;
    client.countForwardError();
    client.giveUp("cannot have the rest of EXEC's reply, which has ended in the middle");
  }

  /** Walks what has come, with what stands aside in it. False if the client has been closed meanwhile. */
  private take(bytes: Uint8Array, start: number, end: number): boolean {
    const { client, asides, rest } = this;
    if (!this.begun) {
      this.begun = true;
      this.begin(bytes, start, end);
    } else if (rest.length > 0) {
      this.reply = concat(rest, bytes.subarray(start, end));
      this.from = this.at = 0;
      this.end = this.reply.length;
      this.rest = NOTHING;
    } else {
      this.reply = bytes;
      this.from = this.at = start;
      this.end = end;
    }
    for (;;) {
      if (!this.passSome()) return true;
      if (this.nextAside === asides.length) return true;
      this.runAside();
      if (client.closed) return false;
    }
  }

  /** Elements up to the next place that is not the server's; false if they have not all come. What has come of one may leave. */
  private passSome(): boolean {
    const { upTo, scan } = this;
    while (this.seen < upTo) {
      const next = this.at < this.end ? scanReply(this.reply, this.at, this.end, scan) : -1;
      if (next < 0) {
        if (scan.at === 0) return false;
        this.at += scan.at;
        scan.forget(scan.at);
        return false;
      }
      this.at = next;
      this.seen++;
    }
    return true;
  }

  /** What has come leaves; what follows is a part of its own. */
  private nextPart(): void {
    const { client } = this;
    const { muted } = client;
    client.muted = this.parent.muted;
    const next = new Request(client);
    client.enqueue(next);
    client.muted = muted;
    this.deliver();
    this.part = next;
    this.from = this.at;
  }

  // ---- a reply that is all here

  /** The borrowed reply, from the part at hand on. */
  private keepRest(): void {
    const { from } = this;
    this.reply = this.reply.slice(from, this.end);
    this.from = 0;
    this.at -= from;
    this.end -= from;
    this.limit -= from;
  }

  /** Called by the turn: goes on. */
  resume(): void {
    const { client } = this;
    if (this.part.client === null) return;
    if (this.walk()) this.session.sliced = null;
    else client.pool.turn.later(this);
  }

  private get turnBytes(): number {
    return this.client.pool.sliceArguments * ELEMENT_BYTES;
  }

  /** As far as this turn may go. True if all is done. */
  private walk(): boolean {
    const { asides } = this;
    this.limit = Math.max(this.limit, this.at + this.scan.needed) +
      this.turnBytes;
    for (;;) {
      if (!this.pass()) return false;
      if (this.nextAside === asides.length) {
        this.deliver();
        return true;
      }
      if (this.limit <= this.at) return false;
      this.limit -= ASIDE_BYTES;
      this.runAside();
      // What is held for it may have been too much.
      if (this.client.closed) return true;
    }
  }

  /** Elements up to the next place that is not the server's. */
  private get upTo(): number {
    return this.nextAside < this.asides.length ? this.asides[this.nextAside]!.before : this.count;
  }

  /** Walks the server's elements up to that place; false if that takes another turn. */
  private pass(): boolean {
    const { upTo } = this;
    while (this.seen < upTo && this.at < this.end) {
      const next = scanReply(this.reply, this.at, Math.min(this.end, this.limit), this.scan);
      if (next < 0) {
        if (this.limit >= this.end) throw new Error("EXEC's reply is whole, its elements are not");
        return false;
      }
      this.at = next;
      this.seen++;
    }
    return true;
  }

  private runAside(): void {
    const { client } = this;
    const { muted } = client;
    client.muted = this.parent.muted;
    this.rerun(client, this.asides[this.nextAside++]!.bytes);
    if (client.closed) return;
    // Not before the one behind it is in the queue: what leaves last must be the last.
    if (this.upTo > this.seen) this.nextPart();
    client.muted = muted;
  }

  private deliver(): void {
    const { client, parent, part, reply, from, at } = this;
    if (part !== parent) return client.deliver(part, reply, from, at);
    const head = encode(`*${this.count + this.asides.length}\r\n`);
    if (client.head === parent) {
      if (!parent.muted) client.sendPart(head, 0, head.length);
      return client.deliver(parent, reply, from, at);
    }
    const begin = new Uint8Array(head.length + at - from);
    copy(begin, copy(begin, 0, head, 0, head.length), reply, from, at);
    client.deliver(parent, begin, 0, begin.length);
  }
}
