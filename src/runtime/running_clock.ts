/** A clock of the time in which this thread ran (running_time.ts), on top of one that goes on always. */
import type { Clock, TimerId } from "../net/net.ts";
import { RunningTime } from "./running_time.ts";
import { Timers } from "./timers.ts";

/** An alarm that is later than this came while the thread did something else, or did not run. */
const LATE_MS = 0.5;
/** Who has not looked at the time for so long, ms, has slept until the alarm; or the thread did not run, and the alarm came in time. */
const ASLEEP_MS = 10;
/** So soon the sockets that are ready have been read. */
const READ_MS = 1;

export class RunningClock implements Clock {
  private readonly timers = new Timers();
  private readonly time: RunningTime;
  /** The timer of the clock below, and for when. */
  private alarm: TimerId | null = null;
  private alarmMs = Infinity;
  /** When it is to come, by the clock below. */
  private ringsAtMs = Infinity;
  /** The sockets that were ready when the alarm came too late have been read. */
  private hasRead = false;

  constructor(private readonly below: Clock) {
    this.time = new RunningTime(() => below.nowMs());
  }

  nowMs(): number {
    return this.time.look(this.timers.nextMs);
  }

  realMs(): number {
    return this.below.nowMs();
  }

  wallMs(): number {
    return this.below.wallMs();
  }

  setTimer(afterMs: number, run: () => void): TimerId {
    const timer = this.timers.add(this.nowMs() + Math.max(afterMs, 0), run);
    this.setAlarm();
    return timer;
  }

  clearTimer(id: TimerId): void {
    this.timers.remove(id as object);
    if (this.timers.size === 0) this.stopAlarm();
  }

  afterTurn(run: () => void): void {
    this.below.afterTurn(run);
  }

  /** One that comes too early sets the next. */
  private setAlarm(): void {
    const { nextMs } = this.timers;
    if (nextMs >= this.alarmMs) return;
    this.stopAlarm();
    this.alarmMs = nextMs;
    // Timers may be early by a fraction of a millisecond.
    const afterMs = Math.max(Math.ceil(nextMs - this.nowMs()), 0);
    this.ringsAtMs = this.below.nowMs() + afterMs;
    this.alarm = this.below.setTimer(afterMs, () => this.ring());
  }

  private stopAlarm(): void {
    if (this.alarm !== null) this.below.clearTimer(this.alarm);
    this.alarm = null;
    this.alarmMs = Infinity;
    this.hasRead = false;
  }

  /**
   * Runs what is due. These loops run timers before sockets: after a turn that was long what is ready is read first, so that nobody is
   * judged by what lies there already. So it is after a sleep, which a stop may have been that ended when the timer was due.
   */
  private ring(): void {
    this.alarm = null;
    this.alarmMs = Infinity;
    const realMs = this.below.nowMs();
    const mayLieThere = realMs - this.ringsAtMs > LATE_MS || realMs - this.time.lookedMs > ASLEEP_MS;
    const nowMs = this.nowMs();
    if (mayLieThere && !this.hasRead) {
      this.hasRead = true;
      this.alarmMs = nowMs;
      this.alarm = this.below.setTimer(READ_MS, () => this.ring());
      return;
    }
    this.hasRead = false;
    try {
      this.timers.runDue(nowMs);
    } finally {
      this.setAlarm();
    }
  }
}
