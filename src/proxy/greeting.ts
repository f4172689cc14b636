/**
 * A connection from a load balancer whose PROXY header is not all here.
 *
 *   bytes ──► held ──► door.readPreface ──► pool.greeted: a Client ──► the bytes behind the header
 *
 * It has a place among the pool's clients, and is none. It ends when the header is wrong, or does not come in time.
 */
import { type NetError, REFUSED, type Socket, type TimerId } from "../net/net.ts";
import type { Door } from "./door.ts";
import type { Pool } from "./pool.ts";

/** A header is one packet, sent at once; this is time for it to be lost several times. */
const HEADER_MS = 10_000;

const NOTHING = new Uint8Array(0);

/** Whom an accepted connection belongs to: someone who is told what comes. */
export interface Guest {
  receive(bytes: Uint8Array): void;
  peerEnded(): void;
  drained(): void;
  wasClosed(error: NetError | null): void;
}

export class Greeting implements Guest {
  private held: Uint8Array = NOTHING;
  private over = false;
  private readonly timer: TimerId;

  constructor(readonly socket: Socket, private readonly pool: Pool, private readonly door: Door) {
    this.timer = pool.setTimer(HEADER_MS, () => this.fail(`no header after ${HEADER_MS} ms`));
  }

  get holdsBytes(): number {
    return this.held.length;
  }

  receive(view: Uint8Array): void {
    if (this.over) return;
    const before = this.held.length;
    const bytes = before === 0 ? view : new Uint8Array(before + view.length);
    if (before > 0) {
      bytes.set(this.held);
      bytes.set(view, before);
    }
    const header = this.door.readPreface(this.socket, bytes);
    if (header === REFUSED) this.leave();
    // What is borrowed is kept as a copy. It is at most a header, or would have been refused.
    else if (header === null) this.held = before === 0 ? view.slice() : bytes;
    else {
      this.end();
      const client = this.pool.greeted(this, header.client);
      if (header.size < bytes.length) client?.receive(bytes.subarray(header.size));
    }
  }

  peerEnded(): void {
    // Who only connects and closes looks whether the port is open.
    if (this.held.length > 0) this.fail("closed before the header was all here");
    else this.leave();
  }

  drained(): void {}

  wasClosed(): void {
    this.leave();
  }

  private fail(why: string): void {
    if (this.over) return;
    this.door.wrong(this.socket.peer(), why);
    this.leave();
  }

  /** Nobody comes of it. */
  leave(): void {
    if (this.over) return;
    this.end();
    this.socket.destroy();
    this.pool.greetingOver(this);
  }

  private end(): void {
    this.over = true;
    this.held = NOTHING;
    this.pool.clearTimer(this.timer);
  }
}
