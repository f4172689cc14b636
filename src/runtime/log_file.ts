/**
 * The log: lines on stderr or in a file that can be reopened after a rotation.
 *
 *   [2026-11-22 18:22:48.123] listening on '127.0.0.1:22121' in redis pool 'alpha' with 3 servers
 *
 * Times are local, as twemproxy's. A line is written whole and at once; a line break within a text is
 * written as `\n`, since texts may quote what a client sent. A disk that is full must not stop the proxy.
 */
import { notWritten } from "../bytes/os_error.ts";
import { closeSync, openSync, readlinkSync, writeSync } from "node:fs";
import { type Log, NOTICE } from "../net/log.ts";

/** A longer line is cut. */
const LINE_MAX = 1024;
const LEVEL_MAX = 11;

export class LogFile implements Log {
  private fd: number;

  /**
   * @param path "" or "stderr" = standard error
   * @throws what openSync throws
   */
  constructor(private path: string, public level: number = NOTICE, private json = false) {
    this.fd = this.open();
  }

  /** False if it goes to standard error. */
  get toFile(): boolean {
    return this.fd !== 2;
  }

  private open(): number {
    return this.path === "" || this.path === "stderr" ? 2 : openSync(this.path, "a", 0o644);
  }

  write(level: number, text: string): void {
    if (level > this.level) return;
    const line = this.json
      ? JSON.stringify({ time: new Date().toISOString(), level, text })
      // deno-lint-ignore no-control-regex -- a client's bytes must not forge lines or colours
      : `[${localTime(new Date())}] ${text.slice(0, LINE_MAX).replace(/[\x00-\x1f\x7f]/g, escape)}`;
    try {
      writeSync(this.fd, line + "\n");
    } catch {
      // Nowhere left to complain to.
    }
  }

  /** Opens the file anew, by name. Keeps the old one if that fails. */
  reopen(): void {
    if (this.fd === 2) return;
    const old = this.fd;
    this.fd = this.open();
    closeSync(old);
  }

  /** Why it could not go on at `path`; null = it could. */
  refusal(path: string): string | null {
    if (path === this.path || path === "" || path === "stderr") return null;
    try {
      closeSync(openSync(path, "a", 0o644));
      return null;
    } catch (error) {
      return `cannot open the log: ${notWritten(path, error)}`;
    }
  }

  /** Goes on elsewhere, in another form. @throws what openSync throws; nothing has changed then */
  adopt(path: string, json: boolean): void {
    if (path !== this.path) {
      const [oldPath, oldFd] = [this.path, this.fd];
      this.path = path;
      try {
        this.fd = this.open();
      } catch (error) {
        this.path = oldPath;
        throw error;
      }
      if (oldFd !== 2) closeSync(oldFd);
    }
    this.json = json;
  }

  raise(by: 1 | -1): void {
    this.level = Math.max(0, Math.min(LEVEL_MAX, this.level + by));
  }
}

function escape(c: string): string {
  return c === "\n" ? "\\n" : c === "\r" ? "\\r" : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** Where the local time is UTC, it need not be asked for: the tables of all zones take some ms, at the first line of a start. */
let local: ((t: Date) => string) | null = null;

function localTime(t: Date): string {
  local ??= isUtc() ? utcTime : zoneTime;
  return local(t);
}

/** That this is not certain means no. */
function isUtc(): boolean {
  const { TZ } = process.env;
  if (TZ !== undefined) return TZ === "UTC" || TZ === "Etc/UTC";
  try {
    return /\/(Etc\/)?UTC$/.test(readlinkSync("/etc/localtime"));
  } catch {
    return false;
  }
}

function utcTime(t: Date): string {
  return t.toISOString().slice(0, -1).replace("T", " ");
}

function zoneTime(t: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const ms = String(t.getMilliseconds()).padStart(3, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${
    two(t.getMinutes())
  }:${two(t.getSeconds())}.${ms}`;
}
