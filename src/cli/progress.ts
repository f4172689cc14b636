/**
 * How far something has come that takes longer than a second, on standard error.
 *
 * In a terminal it is one line, written over and gone at the end; elsewhere, where nobody waits for it, a line every ten seconds, for
 * whoever reads the log of a job.
 */
import type { Io } from "./io.ts";

/** Nothing is said of what takes less; ms. */
const FIRST_MS = { terminal: 1000, elsewhere: 10_000 };
const EVERY_MS = { terminal: 200, elsewhere: 10_000 };

export class Progress {
  private nextMs: number;
  private shown = false;

  /** @param terminal absent: as standard error is */
  constructor(
    private readonly nowMs: () => number,
    private readonly io: Pick<Io, "err">,
    private readonly terminal: boolean = process.stderr.isTTY === true,
  ) {
    this.nextMs = nowMs() + (terminal ? FIRST_MS.terminal : FIRST_MS.elsewhere);
  }

  /** Cheap: it may be called for every piece of the work. @param text without a line end; asked for only if it is shown */
  tell(text: () => string): void {
    const nowMs = this.nowMs();
    if (nowMs < this.nextMs) return;
    this.nextMs = nowMs + (this.terminal ? EVERY_MS.terminal : EVERY_MS.elsewhere);
    this.shown = true;
    this.io.err(this.terminal ? `\r\x1b[K${text()}` : `${text()}\n`);
  }

  /** It is over: the line makes way for what follows. */
  end(): void {
    if (this.shown && this.terminal) this.io.err("\r\x1b[K");
    this.shown = false;
  }
}
