/**
 * One pass of the event loop, and what is done once at its end.
 *
 *   ready sockets ──► handlers append to outboxes ──► end of turn: postponed work, then one flush a socket
 *
 * This is what shares a server's system calls among all clients that were ready together. Servers are flushed
 * before clients, so that they work while we write replies.
 */
import type { Clock } from "../net/net.ts";

/** A socket's owner that has bytes to flush. */
export interface Flushable {
  /** True while it is listed for the end of this turn. */
  dirty: boolean;
  /** Flushes the socket and looks at what the kernel left over. */
  flush(): void;
}

/** Work put off to the next turn so that one socket cannot hold up the others. */
export interface Postponed {
  resume(): void;
}

/** Who wants to know when a turn ends. */
export interface Told {
  turnEnds(): void;
}

/** When what belongs to one turn was read, and when what was sent of it was written: one for all, so that no request needs times of its own. */
export class Stamp {
  /** When its turn's servers were written to; -1 before. */
  writtenMs = -1;
  /** Its turn has come to its end: what is sent now is not written when it says. */
  over = false;

  /** @param readMs turn time */
  constructor(readonly readMs: number) {}

  /** As this one, but written when `other` says, whose turn is over. */
  writtenAs(other: Stamp): Stamp {
    const stamp = new Stamp(this.readMs);
    stamp.writtenMs = other.writtenMs;
    stamp.over = true;
    return stamp;
  }
}

/** Of what nobody has read yet. */
export const NO_STAMP: Stamp = new Stamp(-1);
NO_STAMP.over = true;

export class Turn {
  private readonly servers: Flushable[] = [];
  private readonly clients: Flushable[] = [];
  private postponed: Postponed[] = [];
  private readonly told: Told[] = [];
  private scheduled = false;
  private nowMs = -1;
  /** Of what is read in this turn. */
  private current: Stamp | null = null;
  /** Of what was read before, and is sent in this turn. */
  private readonly earlier: Stamp[] = [];
  /** When what servers were sent in this turn was written to them: read at its end, if there is anything. */
  flushMs = -1;
  private readonly atEnd = () => this.end();

  constructor(private readonly clock: Clock) {}

  /** Monotonic ms, read once a turn. */
  now(): number {
    if (this.nowMs < 0) {
      const { clock } = this;
      this.nowMs = clock.turnBeganMs === undefined ? clock.nowMs() : clock.turnBeganMs();
      this.schedule();
    }
    return this.nowMs;
  }

  /** For what is read now. */
  stamp(): Stamp {
    return this.current ??= new Stamp(this.now());
  }

  /** For what was read at `readMs`, and is sent now. */
  stampOf(readMs: number): Stamp {
    const { earlier } = this;
    const now = this.stamp();
    if (readMs === now.readMs) return now;
    const last = earlier[earlier.length - 1];
    if (last !== undefined && last.readMs === readMs) return last;
    const stamp = new Stamp(readMs);
    earlier.push(stamp);
    return stamp;
  }

  /** What is sent from now on is written in the next turn. */
  private endStamps(): void {
    const { earlier, flushMs } = this;
    if (this.current !== null) earlier.push(this.current);
    this.current = null;
    for (let i = 0; i < earlier.length; i++) {
      earlier[i]!.writtenMs = flushMs;
      earlier[i]!.over = true;
    }
    earlier.length = 0;
  }

  touchServer(owner: Flushable): void {
    owner.dirty = true;
    this.servers.push(owner);
    this.schedule();
  }

  touchClient(owner: Flushable): void {
    owner.dirty = true;
    this.clients.push(owner);
    this.schedule();
  }

  later(work: Postponed): void {
    this.postponed.push(work);
    this.schedule();
  }

  /** `who` is told once, when this turn's work has been done, and before clients have its replies. */
  tell(who: Told): void {
    this.told.push(who);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.clock.afterTurn(this.atEnd);
  }

  private end(): void {
    this.scheduled = false;
    if (this.postponed.length > 0) {
      const due = this.postponed;
      this.postponed = [];
      for (const work of due) work.resume();
    }
    if (this.servers.length > 0) this.flushMs = this.clock.nowMs();
    this.endStamps();
    flushAll(this.servers);
    const { told } = this;
    for (let i = 0; i < told.length; i++) told[i]!.turnEnds();
    told.length = 0;
    flushAll(this.clients);
    this.nowMs = -1;
    // Made since: what it is for is sent at the end of the next turn.
    if (this.current !== null) this.earlier.push(this.current);
    this.current = null;
    if (this.postponed.length > 0) this.schedule();
  }
}

function flushAll(owners: Flushable[]): void {
  for (let i = 0; i < owners.length; i++) {
    const owner = owners[i]!;
    owner.dirty = false;
    owner.flush();
  }
  owners.length = 0;
}
