/**
 * Signals that come while the process starts, before it can follow them: kept, where each would have ended it. Sources are asked
 * meanwhile (DNS), which can take seconds. TERM and INT end it, as they should.
 */
const KEPT = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"] as const;

export class EarlySignals {
  private readonly heard = new Set<string>();
  private readonly hear = (signal: string) => void this.heard.add(signal);

  constructor() {
    for (const signal of KEPT) process.on(signal, this.hear);
  }

  /** Whoever follows them listens now: hears what has come, and everything from here on. */
  handOver(): void {
    for (const signal of KEPT) {
      process.off(signal, this.hear);
      if (this.heard.has(signal)) process.emit(signal, signal);
    }
  }
}
