/**
 * Another process that takes this one's place: the same command line, the executable that lies there now, the same listening sockets.
 *
 *   ringmaster upgrade ──USR2──► this process ──start, with sockets──► successor
 *                                     ▲ ◄──── a pipe: why it cannot, or READY ────┘ listens, serves
 *                                     └─► tells the manager its pid, and finishes what is in flight, as at TERM
 *
 * If it ends before it is ready, this process goes on as if nothing had been. What a successor needs is in the environment:
 * RINGMASTER_SUCCESSOR is the descriptor through which it says so; runtime/heirloom.ts has the sockets.
 */
import type { ChildProcess } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { builtin } from "../bytes/builtin.ts";
import { ERR, type Log, NOTICE } from "../net/log.ts";
import type { Clock, TimerId } from "../net/net.ts";
import { startingPoint } from "../runtime/daemon.ts";
import { heirloomsFor } from "../runtime/heirloom.ts";
import type { Gathering } from "../service/questions.ts";
import type { ReloadOptions } from "./flags.ts";
import type { Io } from "./io.ts";
import { askProcess } from "./outcome.ts";

const processes = builtin<typeof import("node:child_process")>("node:child_process");

const VARIABLE = "RINGMASTER_SUCCESSOR";
/** What it says through the pipe when it serves; what comes before is what it complains of. */
const READY = "\0";
/** It has to be ready in this time, ms. */
const READY_MAX_MS = 30_000;
/** Descriptors below are standard input and output. */
const FIRST_FD = 3;

/** What the process around it does about it. */
export interface Predecessor {
  /** Whatever only one process can have is to be let go of: the admin side's address. */
  makeWay(): void;
  /** What the successor is told beside, as variables of its environment. */
  lastWords(): Readonly<Record<string, string>>;
  /** There is no successor: it is to be had again. */
  takeBack(): void;
  /** It is there, and this process has to end. */
  giveWay(pid: number): void;
  /** How it ended. @returns when whoever has asked can read it */
  tell(ok: boolean, text: string): Promise<void>;
}

/** This end of the pipe. */
interface Heard {
  on(event: "error", heard: () => void): void;
  on(event: "data", heard: (bytes: Uint8Array) => void): void;
}

export class Successor {
  /** From the moment it is asked for until it has failed; one that has taken over remains. */
  private begun = false;
  /** This process has been told to end. */
  private stopped = false;
  /** While it is not ready. */
  private child: ChildProcess | null = null;
  private timer: TimerId | null = null;

  /** @param argv this process's own arguments */
  constructor(
    private readonly argv: readonly string[],
    private readonly service: Gathering,
    private readonly around: Predecessor,
    private readonly log: Log,
    private readonly clock: Clock,
  ) {}

  /** Starts one, unless one is starting. @param cause for the log */
  async start(cause: string): Promise<void> {
    if (this.begun) return this.log.write(NOTICE, `${cause}: a successor is starting already`);
    this.begun = true;
    this.log.write(NOTICE, `${cause}: starting a successor`);
    const gathered = await this.service.gather("listeners", false);
    if (this.stopped) return;
    const sockets = gathered.flatMap(({ worker, answer }) =>
      answer.map(({ at, fd }) => ({ at, fd, place: worker }))
    );
    if (sockets.length === 0) {
      return this.fail("sockets cannot be handed on by this runtime; see docs/upgrading.md");
    }
    this.around.makeWay();
    const { program, args } = startingPoint();
    // A watchdog of the manager's is for whichever process it takes for the main one.
    const { WATCHDOG_PID: _, ...environment } = process.env;
    const pipeFd = FIRST_FD + sockets.length;
    try {
      this.child = processes().spawn(program, [...args, ...this.argv], {
        stdio: ["ignore", "inherit", "inherit", ...sockets.map(({ fd }) => fd), "pipe"],
        env: {
          ...environment,
          ...this.around.lastWords(),
          ...heirloomsFor(sockets, FIRST_FD),
          [VARIABLE]: String(pipeFd),
        },
        // A signal to the terminal's group is not meant for it.
        detached: true,
      });
    } catch (error) {
      this.around.takeBack();
      return this.fail((error as Error).message);
    }
    this.log.write(NOTICE, `process ${this.child.pid} is to take this one's place`);
    this.watch(this.child, pipeFd);
  }

  private watch(child: ChildProcess, pipeFd: number): void {
    let over = false;
    const end = (failure: string | null) => {
      if (over) return;
      over = true;
      if (this.timer !== null) this.clock.clearTimer(this.timer);
      this.timer = null;
      this.child = null;
      if (failure === null) {
        child.unref();
        const text = `process ${child.pid} has taken the place of ${process.pid}`;
        const told = this.around.tell(true, text);
        this.log.write(NOTICE, text);
        return void Promise.all([told, this.service.gather("listeners", true)])
          .then(() => this.around.giveWay(child.pid!));
      }
      child.kill("SIGKILL");
      if (this.stopped) return;
      this.around.takeBack();
      this.fail(failure);
    };
    child.on("error", (error) => end(error.message));
    let said = "";
    // When the pipe has been read to its end, too.
    child.on("close", (code, signal) => {
      const why = said === "" ? "; its log says why" : `:\n${said.trimEnd()}`;
      end(`its process has ended with ${code ?? signal} before it was ready${why}`);
    });
    const pipe = (child.stdio as unknown as Heard[])[pipeFd]!;
    pipe.on("error", () => {});
    pipe.on("data", (bytes) => {
      said += new TextDecoder().decode(bytes);
      if (said.endsWith(READY)) end(null);
    });
    this.timer = this.clock.setTimer(READY_MAX_MS, () => end(`it was not ready in ${READY_MAX_MS / 1000} s`));
  }

  /** This process has been told to end: so has whoever was to take its place and is not ready. */
  stop(): void {
    this.stopped = true;
    this.child?.kill("SIGKILL");
  }

  private fail(why: string): void {
    this.begun = false;
    const text = `no successor, this process goes on: ${why}`;
    for (const line of text.split("\n")) this.log.write(ERR, line);
    void this.around.tell(false, text);
  }
}

/** Where a process with this pid file says how an upgrade has ended. */
export function upgradeStatusFile(pidFile: string): string {
  return `${pidFile}.upgrade`;
}

/** `ringmaster upgrade`: asks the process of the pid file, and tells how it ended. @returns the exit code */
export function upgrade({ pidFile }: ReloadOptions, clock: Clock, io: Io): Promise<number> {
  const question = { command: "upgrade", signal: "SIGUSR2", statusFile: upgradeStatusFile(pidFile) } as const;
  return askProcess(pidFile, question, clock, io);
}

/** For a process that is to take another's place: tells it why it will not. Does nothing in any other, nor when it serves. */
export function tellPredecessor(text: string): void {
  const fd = pipeToPredecessor();
  if (fd === null) return;
  try {
    writeSync(fd, text);
  } catch {
    // It has ended meanwhile.
  }
}

/** For a process that takes another's place: tells it, once, that it may go. Does nothing in any other. */
export function sayReady(): void {
  const fd = pipeToPredecessor();
  if (fd === null) return;
  tellPredecessor(READY);
  delete process.env[VARIABLE];
  closeSync(fd);
}

function pipeToPredecessor(): number | null {
  const fd = Number(process.env[VARIABLE]);
  return fd >= FIRST_FD ? fd : null;
}
