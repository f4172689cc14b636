/**
 * An event loop of our own around Bun's: what epoll_net.ts and its clock run on.
 *
 *   ┌► epoll_wait ─► ready sockets ─► timers due ─► end of turn ─► rest (pace.ts) ─┐
 *   ├──────────────────── again, for HOST_EVERY_MS at most ◄───────────────────────┤
 *   └──────────────────── setImmediate: Bun's own loop ◄───────────────────────────┘
 *
 * Bun's sockets make an array for every read and let nobody choose where bytes go, which is most of what a proxy costs. So
 * sockets are ours, and wait in an epoll set of ours. Bun's own epoll descriptor waits in the same set: whatever wakes
 * Bun (signals, messages of other threads, names resolved, its own sockets) wakes us too, and then Bun has its own turn. Only
 * its timers cannot be seen; ours are kept here (`setTimer`), and for anybody else's we sleep SLEEP_MAX_MS at most.
 *
 * A turn of Bun's costs about ten microseconds, as much as a request of ours; so while one turn follows the other, it has its own
 * only every HOST_EVERY_MS. Promises go on then; nothing between clients and servers waits for one.
 *
 * Seen on Bun 1.4.5: each thread has one such descriptor, the one whose fdinfo names a socket that the thread opened.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_DATA_WORD,
  EPOLL_EVENT_WORDS,
  EPOLLIN,
  type Libc,
  type Pointer,
  PR_SET_TIMERSLACK,
} from "./libc.ts";
import { Pace } from "./pace.ts";
import { RunningTime } from "./running_time.ts";
import { Timers } from "./timers.ts";

/** Something with a descriptor that the loop watches. */
export interface Pollable {
  /** What `watch` returned: tells events of a closed descriptor from those of its successor with the same number. */
  watchId: number;
  /** @param events as epoll says; 0 if it asked for another call with `again` */
  ready(events: number): void;
}

const EVENTS_MAX = 512;
const SLEEP_MAX_MS = 1000;
/** How long Bun waits for its turn at most, while ours follow each other; */
const HOST_EVERY_MS = 5;
/** and so long we sleep at most meanwhile. */
const BUSY_SLEEP_MS = 1;
const EPOLL_CLOEXEC = 0x80000;

export class Loop {
  readonly pace = new Pace();
  /** Due by `nowMs`. */
  readonly timers = new Timers();
  private readonly time = new RunningTime(() => performance.now());
  private readonly epoll: number;
  private readonly events = new Int32Array(EVENTS_MAX * EPOLL_EVENT_WORDS);
  private readonly eventsAt: Pointer;
  private readonly event = new Int32Array(EPOLL_EVENT_WORDS);
  private readonly eventAt: Pointer;
  /** By descriptor. */
  private readonly watched: (Pollable | null)[] = [];
  private watchedCount = 0;
  private lastWatchId = 0;
  /** Events of this turn, and which is next: not 0 at a turn's begin only after a handler has thrown. */
  private eventCount = 0;
  private nextEvent = 0;
  /** Who wants another call without waiting. */
  private eager: Pollable[] = [];
  private spareEager: Pollable[] = [];
  private runs: (() => void)[] = [];
  private spareRuns: (() => void)[] = [];
  private scheduled = false;
  /** `nowMs` when this turn began; -1 = there is no turn of ours. */
  private turnMs = -1;
  /** Bun's own descriptor. */
  private readonly host: number;
  /** Something that Bun waits for has come. */
  private hostCalls = false;
  private readonly turn = () => this.run();

  /** @throws if the thread's own loop cannot be found */
  constructor(private readonly libc: Libc) {
    // Else a rest would be twice as long.
    libc.calls.prctl(PR_SET_TIMERSLACK, 1);
    this.eventsAt = libc.addressOf(this.events);
    this.eventAt = libc.addressOf(this.event);
    this.epoll = libc.calls.epoll_create1(EPOLL_CLOEXEC);
    this.host = findHostLoop();
    if (this.host < 0 || this.epoll < 0) throw new Error("no epoll descriptor of Bun's to be found");
    this.control(EPOLL_CTL_ADD, this.host, EPOLLIN, 0);
  }

  /** Starts watching a descriptor. */
  watch(fd: number, events: number, pollable: Pollable): void {
    pollable.watchId = this.lastWatchId = (this.lastWatchId + 1) | 0;
    this.watched[fd] = pollable;
    this.watchedCount++;
    this.control(EPOLL_CTL_ADD, fd, events, pollable.watchId);
    this.schedule();
  }

  /** Waits for other events from now on. */
  rewatch(fd: number, events: number, pollable: Pollable): void {
    this.control(EPOLL_CTL_MOD, fd, events, pollable.watchId);
  }

  /** The descriptor is about to be closed, which takes it out of the set. */
  unwatch(fd: number): void {
    if (this.watched[fd] === null) return;
    this.watched[fd] = null;
    this.watchedCount--;
  }

  /** Stops watching a descriptor that stays open. */
  forget(fd: number): void {
    this.control(EPOLL_CTL_DEL, fd, 0, 0);
    this.unwatch(fd);
  }

  /** Calls `pollable.ready(0)` in the next turn, which begins without waiting. */
  again(pollable: Pollable): void {
    this.eager.push(pollable);
    this.schedule();
  }

  /** Runs `run` at the end of this turn, after everything asked for earlier. Asked for at the end of a turn: next turn. */
  afterTurn(run: () => void): void {
    this.runs.push(run);
    this.schedule();
  }

  /** Monotonic; leaves out what a stop of the process takes. */
  nowMs(): number {
    return this.time.look(this.timers.nextMs);
  }

  /** When this turn began, which costs no reading: one is a third of a microsecond on some machines, and small turns are many. */
  turnNowMs(): number {
    return this.turnMs >= 0 ? this.turnMs : this.nowMs();
  }

  setTimer(afterMs: number, run: () => void): object {
    const timer = this.timers.add(this.nowMs() + Math.max(afterMs, 0), run);
    this.schedule();
    return timer;
  }

  /** For a thread that is about to end: calls `closeOne` for each descriptor watched, and closes its own. */
  close(closeOne: (fd: number) => void): void {
    for (let fd = 0; fd < this.watched.length; fd++) if (this.watched[fd]) closeOne(fd);
    this.libc.calls.close(this.epoll);
  }

  private control(op: number, fd: number, events: number, watchId: number): void {
    this.event[0] = events;
    this.event[EPOLL_DATA_WORD] = fd;
    this.event[EPOLL_DATA_WORD + 1] = watchId;
    this.libc.calls.epoll_ctl(this.epoll, op, fd, this.eventAt);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.turn);
  }

  private run(): void {
    // Nobody has to ask for the next turn meanwhile.
    this.scheduled = true;
    this.hostCalls = false;
    try {
      const beganMs = performance.now();
      let endedMs = this.oneTurn(SLEEP_MAX_MS, beganMs);
      while (
        this.eventCount > 0 && endedMs - beganMs < HOST_EVERY_MS && !this.hostCalls && this.isNeeded
      ) endedMs = this.oneTurn(BUSY_SLEEP_MS, endedMs);
    } finally {
      this.scheduled = false;
      if (this.isNeeded) this.schedule();
    }
  }

  /** @param realMs about now @returns when it was over, both as performance.now() has it */
  private oneTurn(sleepMaxMs: number, realMs: number): number {
    if (this.nextEvent === this.eventCount) this.poll(sleepMaxMs, realMs);
    const beganMs = performance.now();
    const turnMs = this.turnMs = this.time.look(this.timers.nextMs, beganMs);
    this.dispatch();
    this.timers.runDue(turnMs);
    this.endTurn();
    this.turnMs = -1;
    const endedMs = performance.now();
    const restUs = this.pace.turnEnded(beganMs, endedMs);
    if (restUs > 0 && !this.hasWork) this.libc.calls.usleep(restUs);
    return endedMs;
  }

  private get isNeeded(): boolean {
    return this.watchedCount > 0 || this.timers.size > 0 || this.hasWork;
  }

  private get hasWork(): boolean {
    return this.runs.length > 0 || this.eager.length > 0 || this.nextEvent < this.eventCount;
  }

  private poll(sleepMaxMs: number, realMs: number): void {
    const wait = this.hasWork ? 0 : this.sleepMs(sleepMaxMs, realMs);
    const count = this.libc.calls.epoll_wait(this.epoll, this.eventsAt, EVENTS_MAX, wait);
    // -1 is a signal: Bun tells of it.
    this.eventCount = Math.max(count, 0);
    this.nextEvent = 0;
  }

  private sleepMs(maxMs: number, realMs: number): number {
    const dueMs = this.timers.nextMs;
    if (dueMs === Infinity) return maxMs;
    return Math.min(Math.max(Math.ceil(dueMs - this.time.look(dueMs, realMs)), 0), maxMs);
  }

  private dispatch(): void {
    const { eager } = this;
    this.eager = this.spareEager;
    let done = 0;
    try {
      while (done < eager.length) eager[done++]!.ready(0);
    } finally {
      // Only after a throw: the others are called in the next turn.
      for (; done < eager.length; done++) this.eager.push(eager[done]!);
      eager.length = 0;
      this.spareEager = eager;
    }
    const { events } = this;
    while (this.nextEvent < this.eventCount) {
      const at = this.nextEvent++ * EPOLL_EVENT_WORDS;
      const fd = events[at + EPOLL_DATA_WORD]!;
      if (fd === this.host) this.hostCalls = true;
      const pollable = this.watched[fd];
      if (pollable && pollable.watchId === events[at + EPOLL_DATA_WORD + 1]) pollable.ready(events[at]!);
    }
  }

  private endTurn(): void {
    const due = this.runs;
    this.runs = this.spareRuns;
    let done = 0;
    try {
      while (done < due.length) due[done++]!();
    } finally {
      // Only after a throw: the others still get their turn, before anything they have asked for since.
      if (done < due.length) this.runs.unshift(...due.slice(done));
      due.length = 0;
      this.spareRuns = due;
    }
  }
}

/** The epoll descriptor on which this thread's runtime waits, or -1: it is the one that watches a socket this thread has opened. */
function findHostLoop(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  try {
    const { fd } = probe as unknown as { fd: number };
    const watches = new RegExp(`^tfd: +${fd} `, "m");
    for (const name of readdirSync("/proc/self/fd")) {
      try {
        if (!readlinkSync(`/proc/self/fd/${name}`).includes("[eventpoll]")) continue;
        if (watches.test(readFileSync(`/proc/self/fdinfo/${name}`, "latin1"))) return Number(name);
      } catch {
        // Another thread has closed it meanwhile.
      }
    }
    return -1;
  } finally {
    probe.stop(true);
  }
}
