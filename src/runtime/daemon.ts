/**
 * -d: the program starts itself again in a session of its own, and leaves when that one serves, or has said why it does not.
 *
 *   starter ──spawn──► daemon: … listens ──► SERVES ──┐
 *      ▲                  ├── cannot start: why, end ─┼─► a pipe ──► exit code and standard error of the starter
 *      └──────────────────┴── nothing for 10 s ───────┘
 *
 * A running loop cannot be forked, so the second process is a new one, told by an environment variable that it is
 * the daemon, and where to say how it begins. The working directory is kept, as nutcracker keeps it.
 */
import { closeSync, writeSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import type { Clock } from "../net/net.ts";
import { builtin } from "../bytes/builtin.ts";

const processes = builtin<typeof import("node:child_process")>("node:child_process");

const MARK = "RINGMASTER_DAEMON";

/** Asked for at the start: a runtime that finds it out when it is first asked has it as "… (deleted)" once another file lies there. */
const PROGRAM = process.execPath;

/** Where the daemon's end of the pipe is. */
const PIPE_FD = 3;
const SERVES = "\0";
/** One that neither serves nor has ended after so long is left to itself: DNS, or a source of servers, may take its time. */
const BEGIN_MAX_MS = 10_000;
/** The starter's exit code then: EX_TEMPFAIL of sysexits.h. */
export const STARTS_STILL = 75;

/** Whether this process is the daemon. */
export const isDaemon = (): boolean => process.env[MARK] !== undefined;

/** How a daemon has begun, for whoever has started it. */
export interface Beginning {
  readonly code: number;
  /** What it has complained of. */
  readonly text: string;
}

/** To be called by another process than the daemon. Resolves when that serves, has ended, or takes too long. */
export function startDaemon(args: readonly string[], clock: Clock): Promise<Beginning> {
  const child = processes().spawn(PROGRAM, [...programArguments(), ...args], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    env: { ...process.env, [MARK]: String(PIPE_FD) },
  });
  return beginningOf(child, clock);
}

/** How a daemon begins that has just been started. */
export function beginningOf(child: ChildProcess, clock: Clock): Promise<Beginning> {
  return new Promise((resolve) => {
    let text = "";
    const leave = (code: number) => {
      clock.clearTimer(timer);
      child.unref();
      resolve({ code, text: text.replaceAll(SERVES, "") });
    };
    const timer = clock.setTimer(BEGIN_MAX_MS, () => {
      text += `ringmaster: process ${child.pid} does not serve yet, and goes on starting\n`;
      leave(STARTS_STILL);
    });
    const pipe = child.stdio[PIPE_FD] as Readable;
    pipe.on("error", () => {});
    pipe.on("data", (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      if (text.endsWith(SERVES)) leave(0);
    });
    child.on("error", (error) => {
      text += `${error.message}\n`;
      leave(1);
    });
    // When the pipe has been read to its end, too.
    child.on("close", (code, signal) => {
      const ended = unserved(code, signal, text);
      text = ended.text;
      leave(ended.code);
    });
  });
}

/** How a daemon has begun that has ended before it served: in whatever good order, that is a failure to who has started it. */
export function unserved(code: number | null, signal: string | null, text: string): Beginning {
  const why = signal === null ? "has ended before it served" : `was ended by ${signal}`;
  // One that fails has said why.
  const said = signal === null && text !== "";
  return { code: code || 1, text: said ? text : `${text}ringmaster: the daemon ${why}\n` };
}

/** In the daemon, while it begins: what whoever has started it is to read. Elsewhere, and later, of no effect. */
export function tellStarter(text: string): void {
  const fd = Number(process.env[MARK]);
  if (fd !== PIPE_FD) return;
  try {
    writeSync(fd, text);
  } catch {
    // It has not waited.
  }
}

/** In the daemon: it serves, and there is nothing more to say. */
export function tellStarterServes(): void {
  if (Number(process.env[MARK]) !== PIPE_FD) return;
  tellStarter(SERVES);
  process.env[MARK] = "1";
  closeSync(PIPE_FD);
}

/** How this program is started: the executable, and what comes before our own arguments. */
export function startingPoint(): { readonly program: string; readonly args: readonly string[] } {
  return { program: PROGRAM, args: programArguments() };
}

/** What comes between the executable and our arguments: nothing in the compiled one, the script else. */
function programArguments(): string[] {
  const script = process.argv[1] ?? "";
  if (script.startsWith("/$bunfs/")) return [];
  return "Deno" in globalThis ? ["run", "-A", script] : [script];
}
