/**
 * A child process that cannot be forgotten: its output goes to a file, it is stopped by TERM and then KILL, and
 * whatever still runs when this process ends is killed.
 */
import { exists } from "./repo.ts";
import { PATIENCE_MS, within } from "./poll.ts";

const running = new Set<Process>();
globalThis.addEventListener("unload", () => {
  for (const process of running) process.kill("SIGKILL");
});

export interface SpawnOptions {
  /** Where stdout and stderr go, together. */
  output: string;
  cwd?: string;
  env?: Record<string, string>;
}

export class Process implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when it has ended, however that came. */
  readonly exit: Promise<Deno.CommandStatus>;
  readonly #child: Deno.ChildProcess;
  readonly #output: string;
  #status: Deno.CommandStatus | null = null;

  constructor(readonly program: string, readonly args: string[], options: SpawnOptions) {
    this.#output = options.output;
    // `exec` keeps the pid; a file rather than a pipe keeps the output readable at any time and leaks nothing.
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$0" "$@" >>"$OUTPUT_OF_TEST" 2>&1', program, ...args],
      cwd: options.cwd,
      env: { ...options.env, OUTPUT_OF_TEST: options.output },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.pid = this.#child.pid;
    running.add(this);
    this.exit = this.#child.status.then((status) => {
      this.#status = status;
      running.delete(this);
      return status;
    });
  }

  /** Null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.#status;
  }

  /** What it has written to stdout and stderr so far. */
  get stderr(): string {
    return exists(this.#output) ? Deno.readTextFileSync(this.#output) : "";
  }

  /** Sends a signal; does nothing if the process has ended. */
  kill(signal: Deno.Signal): void {
    if (this.#status !== null) return;
    try {
      this.#child.kill(signal);
    } catch {
      // ended between the look and the signal
    }
  }

  /** TERM (or `signal`), then KILL if it does not end in `graceMs`. Returns how it ended. Idempotent. */
  async stop(signal: Deno.Signal = "SIGTERM", graceMs = PATIENCE_MS / 2): Promise<Deno.CommandStatus> {
    if (this.#status !== null) return this.#status;
    this.kill(signal);
    this.kill("SIGCONT");
    try {
      return await within(this.exit, `${this.program} to end`, graceMs);
    } catch {
      this.kill("SIGKILL");
      return await this.exit;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Runs a program to its end. `input` is given on stdin. Never throws for an exit code. */
export async function run(
  program: string,
  args: string[],
  { input, cwd, env }: { input?: string; cwd?: string; env?: Record<string, string> } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = new Deno.Command(program, {
    args,
    cwd,
    env,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input)).catch(() => {});
    await writer.close().catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
