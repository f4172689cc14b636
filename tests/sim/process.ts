/**
 * The process that the code under test runs in, which may be stopped for a while (SIGSTOP, a paused machine). Meanwhile the world
 * goes on: bytes arrive and wait, timers become due.
 *
 *   runs ── stop ──► what is for it waits ──► goes on: timers that are due, and then its sockets, as in a real loop
 */
import type { Address, Clock, Handler, Listener, ListenOptions, Net, Socket } from "../../src/net/net.ts";
import type { SimClock } from "./clock.ts";
import type { SimNet } from "./net.ts";

/** Sockets are read so much later than timers run. */
const READ_AFTER_MS = 0.001;

export class SimProcess implements Clock, Net {
  readonly name = "sim";
  private untilMs = -Infinity;

  constructor(private readonly below: SimClock, private readonly net: SimNet) {}

  get stopped(): boolean {
    return this.below.nowMs() < this.untilMs;
  }

  stop(forMs: number): void {
    this.untilMs = Math.max(this.untilMs, this.below.nowMs() + forMs);
  }

  /** Runs what one of its sockets has to say: now, or when it goes on. */
  forSocket(run: () => void): void {
    if (this.stopped) this.below.at(this.untilMs + READ_AFTER_MS, () => this.forSocket(run));
    else run();
  }

  private forTimer(run: () => void): void {
    if (this.stopped) this.below.at(this.untilMs, () => this.forTimer(run));
    else run();
  }

  // ---- its clock

  nowMs(): number {
    return this.below.nowMs();
  }

  wallMs(): number {
    return this.below.wallMs();
  }

  setTimer(afterMs: number, run: () => void): unknown {
    const timer = { run: run as (() => void) | null, event: null as unknown };
    timer.event = this.below.setTimer(afterMs, () => this.forTimer(() => timer.run?.()));
    return timer;
  }

  clearTimer(id: unknown): void {
    const timer = id as { run: (() => void) | null; event: unknown };
    timer.run = null;
    this.below.clearTimer(timer.event);
  }

  afterTurn(run: () => void): void {
    this.below.afterTurn(() => this.forTimer(run));
  }

  // ---- its sockets

  listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    this.net.processes.set(handler, this);
    return this.net.listen(address, handler, options);
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    this.net.processes.set(handler, this);
    return this.net.connect(address, handler, owner);
  }
}
