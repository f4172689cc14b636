/** The access log: some of the requests, a line each, in a file of its own (access_log, access_log_rate). */
import { notWritten } from "../bytes/os_error.ts";
import { closeSync, openSync, writeSync } from "node:fs";
import { ERR, type Log } from "../net/log.ts";
import type { Sample } from "../stats/tapped.ts";
import { sampleLine } from "../stats/sample_line.ts";
import type { Tapping } from "./tapping.ts";

/** Who may read it: what clients ask for is not for everybody. */
const MODE = 0o640;

export interface AccessLogKeys {
  /** null: there is none. */
  readonly accessLog: string | null;
  /** Lines a second, at most. */
  readonly accessLogRate: number;
}

export class AccessLog {
  private keys: AccessLogKeys = { accessLog: null, accessLogRate: 0 };
  private fd = -1;
  private stopListening: (() => void) | null = null;

  constructor(private readonly tapping: Tapping, private readonly log: Log) {}

  /** These are in force. A file that cannot be opened is named in the log; requests go on. */
  adopt({ accessLog, accessLogRate }: AccessLogKeys): void {
    const { keys } = this;
    if (keys.accessLog === accessLog && keys.accessLogRate === accessLogRate) return;
    this.close();
    this.keys = { accessLog, accessLogRate };
    if (accessLog === null) return;
    this.open(accessLog);
    const filter = { pool: null, key: null, command: null, client: null, rate: accessLogRate };
    this.stopListening = this.tapping.listen(filter, (samples, lost) => this.write(samples, lost));
  }

  /** Why these cannot be in force; null = they can. */
  static refusal({ accessLog }: AccessLogKeys): string | null {
    if (accessLog === null) return null;
    try {
      closeSync(openSync(accessLog, "a", MODE));
      return null;
    } catch (error) {
      return `access_log: ${notWritten(accessLog, error)}`;
    }
  }

  /** The file has been moved away: begins a new one (HUP). */
  reopen(): void {
    if (this.keys.accessLog !== null) this.open(this.keys.accessLog);
  }

  close(): void {
    this.stopListening?.();
    this.stopListening = null;
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    this.keys = { accessLog: null, accessLogRate: 0 };
  }

  private open(path: string): void {
    try {
      const opened = openSync(path, "a", MODE);
      if (this.fd >= 0) closeSync(this.fd);
      this.fd = opened;
    } catch (error) {
      this.log.write(ERR, `access_log: ${notWritten(path, error)}`);
    }
  }

  private write(samples: readonly Sample[], lost: number): void {
    if (this.fd < 0) return;
    const text = samples.map(sampleLine).join("") + (lost > 0 ? `# ${lost} more\n` : "");
    try {
      writeSync(this.fd, text);
    } catch (error) {
      this.log.write(ERR, `access_log: ${notWritten(this.keys.accessLog!, error)}; it is closed until HUP`);
      closeSync(this.fd);
      this.fd = -1;
    }
  }
}
