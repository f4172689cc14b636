/**
 * When the loop rests for a moment after a turn, so that the next one finds more to do: what network cards do with interrupts.
 *
 *   nearly each request a turn:      wake, recv, send, wake the server, sleep, wake, recv, send, wake the client, …
 *   resting 50 µs after each turn:   what one wakeup and one send to a server cost is shared by eight requests
 *
 * Such small turns keep themselves alive where servers or clients share our cores: a server is woken for one request, before whoever
 * was about to send the next, answers it, and so wakes us for one reply. Measured (redis-benchmark, 50 clients, the proxy on one
 * core and all others on another): 1.7 requests a turn, 1.5 sends and 11.2 µs a request, 58,000 requests/s; with rests 8,
 * 1.07, 8.3 and 85,000. Where nobody lacks a core the same rests only cost: 50 clients of a faster kind fell from 118,000 to
 * 88,000, and at a fixed rate waited 0.30 ms instead of 0.14.
 *
 * Nothing that can be seen from here tells the two apart beforehand. So it is tried: a busy thread rests in every other of a
 * few windows, and goes on only if clearly more came in during those. That is looked at again every now and then.
 */

const WINDOW_MS = 10;
/** A trial is so many windows, every other with rests. */
const TRIAL_WINDOWS = 8;
/** Rests go on if this many times as many bytes came in with them: more than chance, at a rate that does not depend on us. */
const GAIN_MIN = 1.05;
/** How long what a trial has found is believed. After one without gain it doubles up to the second. */
const BELIEVED_MS = 1000;
const BELIEVED_MAX_MS = 16_000;
/** Less than this share of what came in during the trial, and it is not believed any more: small turns have begun since. */
const FALLEN = 0.75;
/** But not sooner than this: a load that comes and goes would be tried all the time. */
const TRIAL_PAUSE_MS = 500;
/** Only a thread that is busy for this share of a window rests; it may be less busy for resting. */
const BUSY_MIN = 0.5;
const BUSY_MIN_RESTING = 0.3;
/** After so long that was less busy than one that rests may be, what was found before is forgotten: another load begins then. */
const FORGET_MS = 200;
/**
 * Microseconds of rest for each socket heard from in a window. Of so many requests under way each keeps clients and servers
 * busy for about 10 µs, so this is not noticed. 4 cost 10 clients a sixth of their requests/s.
 */
const REST_PER_SOCKET_US = 2;
/** Less gathers nothing. */
const REST_MIN_US = 30;
/** 80 saved 500 clients another tenth of our time, and 20 clients lost by it. */
const REST_MAX_US = 50;
/** There is no rest after a turn that took longer than so many rests: enough is waiting (pipelines, large values). */
const LONG_TURN_RESTS = 4;

const FREE = 0;
const TRYING = 1;
const RESTING = 2;

/** Who reads bytes from somewhere; the pace keeps a note in it. */
export interface Heard {
  /** The last of the pace's windows in which it was heard from. */
  heardIn: number;
}

export class Pace {
  private mode: typeof FREE | typeof TRYING | typeof RESTING = FREE;
  /** Of this window. */
  private restUs = 0;
  private window = 1;
  private windowBeganMs = 0;
  private busyMs = 0;
  private heard = 0;
  private bytes = 0;
  /** Of the trial: windows done; bytes and ms without rests, and with them. */
  private tried = 0;
  private readonly triedBytes = [0, 0];
  private readonly triedMs = [0, 0];
  private believedMs = BELIEVED_MS;
  /** When the last trial ended whose finding is believed. */
  private triedAtMs = -Infinity;
  /** Bytes per ms that came in without rests. */
  private freely = 0;
  private lastBusyMs = 0;

  /** `count` bytes have been read from `socket`. */
  read(socket: Heard, count: number): void {
    this.bytes += count;
    if (socket.heardIn === this.window) return;
    socket.heardIn = this.window;
    this.heard++;
  }

  /**
   * To be told of every turn. Times in ms of one monotonic clock: when its events were there, and when it had done everything.
   * @returns whole microseconds to rest before the next turn; 0 = none
   */
  turnEnded(beganMs: number, endedMs: number): number {
    const tookMs = endedMs - beganMs;
    this.busyMs += tookMs;
    if (endedMs - this.windowBeganMs >= WINDOW_MS) this.windowEnded(endedMs);
    return tookMs * 1000 <= LONG_TURN_RESTS * this.restUs ? this.restUs : 0;
  }

  private windowEnded(nowMs: number): void {
    const lengthMs = nowMs - this.windowBeganMs;
    const busyMin = this.mode === FREE ? BUSY_MIN : BUSY_MIN_RESTING;
    const restUs = Math.min(this.heard * REST_PER_SOCKET_US, REST_MAX_US);
    const mayRest = restUs >= REST_MIN_US;
    // A load at a fixed rate is busy enough now and then: what was found lasts over its lulls, or it would be tried all the time.
    if (mayRest && this.busyMs >= lengthMs * BUSY_MIN_RESTING) this.lastBusyMs = nowMs;
    if (mayRest && this.busyMs >= lengthMs * busyMin) this.next(nowMs, lengthMs, restUs);
    else this.calm(nowMs);
    this.window++;
    this.windowBeganMs = nowMs;
    this.busyMs = this.heard = this.bytes = 0;
  }

  private calm(nowMs: number): void {
    this.mode = FREE;
    this.restUs = 0;
    if (nowMs - this.lastBusyMs < FORGET_MS) return;
    this.believedMs = BELIEVED_MS;
    this.triedAtMs = -Infinity;
  }

  /** Another window in which rests were possible, of `restUs` each, is over. */
  private next(nowMs: number, lengthMs: number, restUs: number): void {
    if (this.mode === TRYING) {
      const rested = this.restUs > 0 ? 1 : 0;
      this.triedBytes[rested]! += this.bytes;
      this.triedMs[rested]! += lengthMs;
      if (++this.tried === TRIAL_WINDOWS) this.conclude(nowMs);
    } else if (nowMs >= this.triedAtMs + (this.hasFallen(lengthMs) ? TRIAL_PAUSE_MS : this.believedMs)) {
      this.mode = TRYING;
      this.tried = 0;
      this.triedBytes.fill(0);
      this.triedMs.fill(0);
    }
    const rests = this.mode === RESTING || (this.mode === TRYING && this.tried % 2 === 1);
    this.restUs = rests ? restUs : 0;
  }

  private hasFallen(lengthMs: number): boolean {
    return this.bytes < lengthMs * this.freely * FALLEN;
  }

  private conclude(nowMs: number): void {
    const [freely, resting] = this.triedBytes.map((bytes, i) => bytes / this.triedMs[i]!);
    const pays = resting! >= freely! * GAIN_MIN;
    this.freely = freely!;
    this.triedAtMs = nowMs;
    this.believedMs = pays ? BELIEVED_MS : Math.min(this.believedMs * 2, BELIEVED_MAX_MS);
    this.mode = pays ? RESTING : FREE;
  }
}
