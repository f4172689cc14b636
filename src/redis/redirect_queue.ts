/**
 * What one client has under way with a cluster that a node has not answered itself: who comes first, and what waits.
 *
 *   begin(request) ──► going ──► wait(request, pause) ──► queue, in the order in which the client has asked
 *                                                           └──(one at a time, once no earlier one is going)──► request.tryAgain()
 *
 * While something is under way here the client sends nothing new (Client.settle). The order: redirect.ts.
 */
import type { TimerId } from "../net/net.ts";
import type { Client } from "../proxy/client.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { Postponed } from "../proxy/turn.ts";

/** Waits, or is tried again. */
export interface Waiting {
  /** Counts the client's: an earlier one has a lower number. */
  readonly number: number;
  /** Of its keys, as a node has told it; below 0: none has. */
  readonly slot: number;
  /** Who is asked now. */
  readonly at: Endpoint | null;
  tryAgain(): void;
}

export class ClientRedirects implements Postponed {
  /** What has been sent on to another node and is not over: the earliest first. */
  private readonly going = new Set<Waiting>();
  /** The first of the queue is to be tried when no earlier one is going any more. */
  private heldBack = false;
  /** What waits, or is tried again, in the order in which the client has asked for it. */
  private readonly queue: Waiting[] = [];
  /** Of the queue, what is being tried. */
  private trying: Waiting | null = null;
  private timer: TimerId | null = null;
  private postponed = false;
  private made = 0;
  /** Of requests that are under way here. */
  heldBytes = 0;

  /** @param waiting those of the pool that have something in their queue: it enters itself */
  constructor(private readonly waiting: Set<ClientRedirects>, private readonly client: Client) {}

  /** Of `bytes` bytes. @returns its number */
  begin(request: Waiting, bytes: number): number {
    this.heldBytes += bytes;
    this.going.add(request);
    return this.made++;
  }

  /** Need it not wait? It must if something earlier does, which it would overtake. */
  mayPass(request: Waiting): boolean {
    return this.queue.length === 0 || this.trying === request || request.number < this.queue[0]!.number;
  }

  /** May it go on to this node without a pause? Not if an earlier one of its slot is under way at another, which may be slower to send it here. */
  mayPassTo(request: Waiting, target: Endpoint): boolean {
    if (!this.mayPass(request)) return false;
    for (const { number, slot, at } of this.going) {
      if (number >= request.number) break;
      if (slot === request.slot && at !== target) return false;
    }
    return true;
  }

  /** It is tried again after a pause, ms, and after what was there before it. */
  wait(request: Waiting, pauseMs: number): void {
    const { queue } = this;
    if (this.trying === request) this.trying = null;
    else if (!queue.includes(request)) {
      let at = queue.length;
      while (at > 0 && queue[at - 1]!.number > request.number) at--;
      queue.splice(at, 0, request);
      this.going.delete(request);
      // What was held back is for it, if it is the earliest now.
      if (at === 0 && pauseMs > 0) this.heldBack = false;
    }
    this.waiting.add(this);
    this.client.settle();
    if (this.heldBack) return this.tryNow();
    if (this.trying !== null || this.timer !== null || this.postponed) return;
    if (pauseMs <= 0) return this.tryNow();
    this.timer = this.client.pool.setTimer(pauseMs, () => {
      this.timer = null;
      this.tryNext();
    });
  }

  /** Ends the pause, if it is one. */
  tryNow(): void {
    if (this.trying !== null || this.postponed || this.queue.length === 0) return;
    this.stopTimer();
    this.postponed = true;
    this.client.pool.turn.later(this);
  }

  /** Called by the turn. */
  resume(): void {
    this.postponed = false;
    this.tryNext();
  }

  private tryNext(): void {
    const first = this.queue[0];
    if (first === undefined || this.trying !== null) return;
    const [earliest] = this.going;
    // That may be refused again, and come behind it.
    this.heldBack = earliest !== undefined && earliest.number < first.number;
    if (this.heldBack) return;
    this.trying = first;
    first.tryAgain();
  }

  /** It has been answered, or nobody waits for it any more. */
  over(request: Waiting, bytes: number): void {
    this.heldBytes -= bytes;
    if (this.going.delete(request)) {
      if (this.heldBack) this.tryNow();
      return;
    }
    const at = this.queue.indexOf(request);
    if (at < 0) return;
    this.queue.splice(at, 1);
    if (this.trying === request) this.trying = null;
    if (this.queue.length === 0) {
      this.stopTimer();
      this.waiting.delete(this);
    } else this.tryNow();
  }

  /** The client is gone. */
  abandon(): void {
    this.stopTimer();
    this.queue.length = 0;
    this.going.clear();
    this.heldBack = false;
    this.trying = null;
    this.heldBytes = 0;
    this.waiting.delete(this);
  }

  private stopTimer(): void {
    if (this.timer !== null) this.client.pool.clearTimer(this.timer);
    this.timer = null;
  }
}
