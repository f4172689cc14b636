/**
 * How a command finds out what became of what it has asked a running process for by a signal: the process writes that to a file beside
 * its pid file, in one step, each time with another number.
 */
import { notRead, notWritten, reasonOf } from "../bytes/os_error.ts";
import { promises, readFileSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { ERR, type Log, WARN } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { Progress } from "./progress.ts";

/** How long a command waits for the process, and how often it looks, ms. */
const ANSWER_MAX_MS = 40_000;
const LOOK_MS = 50;

export interface Outcome {
  /** Counts up from 1 with each one of the process. */
  readonly serial: number;
  readonly pid: number;
  readonly ok: boolean;
  /** What there is to say, lines ended by a newline. */
  readonly text: string;
  /** When it was begun, ms since the epoch: who asked later waits for the next one. Absent: it is for whoever has asked. */
  readonly beganMs?: number;
}

/**
 * Written by the process, one after the other, and not on its own thread: in the place of another file a file is on the disk before its
 * name is (ext4), which has taken 100 ms where that was busy.
 */
export class OutcomeFile {
  private serial = 0;
  private removed = false;
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly path: string, private readonly log: Log) {}

  /** @param beganMs as of Outcome @returns when it is there, or the log says why it is not; never rejects */
  write(ok: boolean, text: string, beganMs?: number): Promise<void> {
    const outcome: Outcome = { serial: ++this.serial, pid: process.pid, ok, text, beganMs };
    return this.last = this.last.then(() => this.put(JSON.stringify(outcome)));
  }

  private async put(text: string): Promise<void> {
    const next = `${this.path}.new`;
    try {
      await promises.writeFile(next, text);
      if (!this.removed) await promises.rename(next, this.path);
    } catch (error) {
      this.log.write(ERR, `how a reload ends cannot be told: ${notWritten(this.path, error)}`);
    }
    if (this.removed) this.remove();
  }

  /** The process ends: nobody is told anything any more. */
  remove(): void {
    this.removed = true;
    for (const path of [this.path, `${this.path}.new`]) removeAtEnd(path, this.log);
  }
}

/** What this process has written; that it may not remove it (the folder is another's) is no reason to end badly. */
export function removeAtEnd(path: string, log: Log): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    log.write(WARN, `${path} stays behind, it cannot be removed: ${reasonOf(error)}`);
  }
}

export interface Question {
  /** As in `ringmaster COMMAND`. */
  readonly command: string;
  readonly signal: "SIGHUP" | "SIGUSR2";
  readonly statusFile: string;
}

/** Asks the process of the pid file, and prints how it ended. @returns the exit code */
export async function askProcess(pidFile: string, question: Question, clock: Clock, io: Io): Promise<number> {
  const { command, signal, statusFile } = question;
  let progress: Progress | null = null;
  const fail = (text: string) => {
    progress?.end();
    io.err(`ringmaster ${command}: ${text}\n`);
    return EXIT_FAILURE;
  };
  let pid: number;
  try {
    pid = Number(readFileSync(pidFile, "utf8").trim());
  } catch (error) {
    return fail(`cannot read the pid file: ${notRead(pidFile, error)}`);
  }
  if (!(Number.isSafeInteger(pid) && pid >= 1)) {
    return fail(`${pidFile}: found no process id, expected the pid file that a running one was given (-p)`);
  }
  const before = readOutcome(statusFile);
  const askedMs = clock.wallMs();
  if (!takesSignal(pid, signal)) {
    return fail(
      `process ${pid} of ${pidFile} is no Ringmaster that could ${command}: has the file been left behind?`,
    );
  }
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return fail(
      code === "ESRCH"
        ? `${pidFile} names process ${pid}, which does not run`
        : `process ${pid} of ${pidFile}: ${message}`,
    );
  }
  const until = clock.nowMs() + ANSWER_MAX_MS;
  progress = new Progress(() => clock.nowMs(), io);
  while (clock.nowMs() < until) {
    progress.tell(() =>
      `ringmaster ${command}: process ${pid} has been asked, and does not say yet how it ended`
    );
    // Its last word is there before it has ended.
    const there = isThere(pid);
    const outcome = readOutcome(statusFile);
    if (outcome !== null && isAnswer(outcome, { pid, before, askedMs })) {
      progress.end();
      if (outcome.ok) io.out(outcome.text);
      else io.err(outcome.text);
      return outcome.ok ? EXIT_OK : EXIT_FAILURE;
    }
    if (!there) return fail(`process ${pid} has ended`);
    await new Promise<void>((resolve) => clock.setTimer(LOOK_MS, resolve));
  }
  return fail(`process ${pid} has not answered in ${ANSWER_MAX_MS / 1000} s; its log may say why`);
}

/** Whether it tells how that has ended which process `pid` was asked for at `askedMs`, when `before` was there. */
export function isAnswer(
  outcome: Outcome,
  { pid, before, askedMs }: {
    readonly pid: number;
    readonly before: Outcome | null;
    readonly askedMs: number;
  },
): boolean {
  if (outcome.pid !== pid || outcome.serial === (before?.pid === pid ? before.serial : 0)) return false;
  return (outcome.beganMs ?? askedMs) >= askedMs;
}

function readOutcome(file: string): Outcome | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Outcome;
  } catch {
    return null;
  }
}

/**
 * Whether the process has something to do with the signal. A pid file that was left behind, by a crash or a power cut, names whoever has
 * that number now, and whoever does not take the signal would be ended by it. True where that cannot be told.
 */
function takesSignal(pid: number, signal: "SIGHUP" | "SIGUSR2"): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return true;
  }
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (caught === undefined) return true;
  return (BigInt(`0x${caught}`) >> BigInt(constants.signals[signal] - 1) & 1n) === 1n;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
