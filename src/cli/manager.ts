/**
 * What a service manager is told of this process (systemd's Type=notify-reload), and how often that it lives.
 *
 *   starting ─ ready ─► READY=1      reloading ─► RELOADING=1 + the clock      reloaded ─► READY=1
 *            stopping ─► STOPPING=1, and while it drains EXTEND_TIMEOUT_USEC     WATCHDOG=1 twice in each WATCHDOG_USEC
 *
 * systemd 257 wants RELOADING=1 and MONOTONIC_USEC in one datagram, the clock later than its HUP, and READY=1 after it in each case:
 * a reload that was refused has ended as well, STATUS says how.
 */
import type { Clock, TimerId } from "../net/net.ts";
import type { Notify } from "../runtime/notify.ts";

/** How long the manager is asked to wait on, each time, and how often it is asked while clients end, ms. */
const EXTEND_MS = 5000;
const EXTEND_EVERY_MS = 1000;

export class Manager {
  private timer: TimerId | null = null;
  private everyMs = 0;
  private stopping = false;

  /**
   * @param notify null: nobody wants to be told, and nothing here does anything
   * @param watchdogUs WATCHDOG_USEC; NaN or 0 = no watchdog
   */
  constructor(
    private readonly notify: Notify | null,
    private readonly clock: Clock,
    watchdogUs: number,
  ) {
    if (notify !== null && watchdogUs > 0) {
      this.everyMs = watchdogUs / 2000;
      this.beat("WATCHDOG=1");
    }
  }

  /** @param status for `systemctl status` */
  ready(status: string): void {
    // A daemon (-d) is another process than the one that was started.
    this.send("READY=1", `MAINPID=${process.pid}`, `STATUS=${lineOf(status)}`);
  }

  reloading(): void {
    if (this.stopping || this.notify === null) return;
    this.send("RELOADING=1", `MONOTONIC_USEC=${this.notify.monotonicUs()}`, "STATUS=reloading");
  }

  /** @param status how it ended */
  reloaded(status: string): void {
    if (!this.stopping) this.send("READY=1", `STATUS=${lineOf(status)}`);
  }

  /** Another process takes this one's place. */
  handedOn(pid: number): void {
    this.send(`MAINPID=${pid}`, "READY=1", `STATUS=process ${pid} has taken over`);
    this.cancel();
    this.stopping = true;
  }

  failed(status: string): void {
    this.send(`STATUS=${lineOf(status)}`);
  }

  draining(): void {
    if (this.stopping || this.notify === null) return;
    this.stopping = true;
    this.send("STOPPING=1", "STATUS=finishing what is in flight", `EXTEND_TIMEOUT_USEC=${EXTEND_MS * 1000}`);
    this.cancel();
    this.everyMs = EXTEND_EVERY_MS;
    this.beat("WATCHDOG=1", `EXTEND_TIMEOUT_USEC=${EXTEND_MS * 1000}`);
  }

  /** Nothing more is said: the process is about to end. */
  stop(): void {
    this.cancel();
  }

  private beat(...lines: string[]): void {
    this.timer = this.clock.setTimer(this.everyMs, () => {
      this.send(...lines);
      this.beat(...lines);
    });
  }

  private cancel(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private send(...lines: string[]): void {
    this.notify?.send(lines);
  }
}

/** The first line: a status has one. */
function lineOf(text: string): string {
  return text.split("\n", 1)[0]!.slice(0, 200);
}
