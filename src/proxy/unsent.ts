/**
 * What may be asked of another connection when one ends: requests taken out of its queue, with their bytes.
 *
 *   in flight:   a    b    c    d    e             a, b, c: written; d, e: certainly not
 *                     └ a read that is kept
 *   taken out:        b         d    e   ──► behind whatever the next connection sends first (its handshake)
 *   left:        a         c               nobody knows what became of them: they fail
 *
 * Between two turns, and of shared connections only: of one that has a holder some of a request may be here and the rest not.
 */
import { Outbox } from "../bytes/outbox.ts";
import { isUnwanted, KeptRequest, type Request } from "./request.ts";

/** A connection's queue, as far as it matters here. */
export interface Flight {
  head: Request | null;
  tail: Request | null;
  /** The oldest request that has not timed out. */
  oldest: Request | null;
  /** Bytes ever put into the socket or the backlog. */
  written: number;
}

/** Requests that another connection may send, with their bytes; whoever has them owns them. */
export interface Unsent {
  /** Linked by `nextInFlight`, in order. */
  readonly first: Request;
  /** The oldest that has not timed out. */
  readonly oldest: Request | null;
  /** The bytes of all of them, in that order. */
  readonly bytes: Outbox;
}

/** Requests that go, as they are found. */
class Going {
  first: Request | null = null;
  last: Request | null = null;
  private oldest: Request | null = null;

  add(request: Request): void {
    if (this.last === null) this.first = request;
    else this.last.nextInFlight = request;
    this.last = request;
    request.nextInFlight = null;
    if (this.oldest === null && request.deadlineMs < Infinity && !isUnwanted(request)) this.oldest = request;
  }

  with(bytes: Outbox): Unsent | null {
    return this.first === null ? null : { first: this.first, oldest: this.oldest, bytes };
  }
}

/** Takes out the reads that are sent once more (retry_reads). @param begun a part of the head's reply has been passed on */
export function takeKept(flight: Flight, begun: boolean): Unsent | null {
  const bytes = new Outbox();
  const going = new Going();
  const { head } = flight;
  let before: Request | null = null;
  for (let r = head; r !== null;) {
    const next: Request | null = r.nextInFlight;
    if (!(r instanceof KeptRequest) || r.again || (begun && r === head) || isUnwanted(r)) before = r;
    else {
      if (before === null) flight.head = next;
      else before.nextInFlight = next;
      if (flight.oldest === r) flight.oldest = next;
      r.again = true;
      bytes.append(r.bytes, 0, r.bytes.length);
      going.add(r);
    }
    r = next;
  }
  flight.tail = before;
  return going.with(bytes);
}

/**
 * Takes out what certainly has not reached the server.
 * @param bytes all that was written behind the first `flight.written` bytes; owned from now on. The rest of a request of which some
 *   has left is dropped, and so is what the proxy itself asks
 */
export function takeUnwritten(flight: Flight, bytes: Outbox): Unsent | null {
  let last: Request | null = null;
  let first = flight.head;
  while (first !== null && (first.swallowed || first.sentAt - first.size < flight.written)) {
    last = first;
    first = first.nextInFlight;
  }
  if (last === null) flight.head = null;
  else last.nextInFlight = null;
  flight.tail = last;
  if (flight.oldest === null || !flight.oldest.swallowed) flight.oldest = null;
  if (first === null) return null;
  bytes.skip(first.sentAt - first.size - flight.written);
  return sift(flight, first, bytes);
}

/**
 * What the proxy itself asks is meant for this very process (CLIENT UNBLOCK), or is asked again elsewhere by whoever hears that it
 * has failed: it stays in the queue. So does what has timed out: its client has been told so, and may have asked for something else since.
 */
function sift(flight: Flight, unsent: Request, bytes: Outbox): Unsent | null {
  const going = new Going();
  let at = 0;
  let all: Uint8Array | null = null;
  let before: Request | null = null;
  for (let r: Request | null = unsent; r !== null;) {
    const next: Request | null = r.nextInFlight;
    // The two parts of a transaction go together: without EXEC what comes next there would be queued. (The first may have timed out.)
    const begins: boolean = next?.split?.endsRequestBefore === true;
    const goes: boolean = r.internal !== null
      ? begins
      : r.split?.endsRequestBefore === true
      ? before !== null && before === going.last
      : begins || !r.hasFailed;
    if (goes) {
      going.add(r);
      if (all !== null) bytes.append(all, at, at + r.size);
    } else {
      append(flight, r);
      r.nextInFlight = null;
      if (all === null) {
        all = new Uint8Array(bytes.size);
        bytes.moveTo(all);
        bytes.append(all, 0, at);
      }
    }
    at += r.size;
    before = r;
    r = next;
  }
  return going.with(bytes);
}

/** One behind the other. */
export function joinUnsent(first: Unsent | null, then: Unsent | null): Unsent | null {
  if (first === null || then === null) return first ?? then;
  let last = first.first;
  while (last.nextInFlight !== null) last = last.nextInFlight;
  last.nextInFlight = then.first;
  first.bytes.adopt(then.bytes);
  return { first: first.first, oldest: first.oldest ?? then.oldest, bytes: first.bytes };
}

/** Puts them behind what is in flight elsewhere, where their bytes are written next. Their deadlines stay. */
export function putBehind(flight: Flight, { first, oldest }: Unsent): void {
  append(flight, first);
  for (let r: Request | null = first; r !== null; r = r.nextInFlight) {
    flight.tail = r;
    r.sentAt = flight.written += r.size;
  }
  flight.oldest ??= oldest;
}

function append(flight: Flight, request: Request): void {
  if (flight.tail === null) flight.head = request;
  else flight.tail.nextInFlight = request;
  flight.tail = request;
}
