/**
 * -d: the program starts itself again in a session of its own and leaves.
 *
 * A running loop cannot be forked, so the second process is a new one, told by an environment variable that it is
 * the daemon. The working directory is kept, as nutcracker keeps it.
 */
import { builtin } from "../bytes/builtin.ts";

const processes = builtin<typeof import("node:child_process")>("node:child_process");

const MARK = "RINGMASTER_DAEMON";

/** Asked for at the start: a runtime that finds it out when it is first asked has it as "… (deleted)" once another file lies there. */
const PROGRAM = process.execPath;

/** True in the process that should leave; false in the daemon itself. */
export function startDaemon(args: readonly string[]): boolean {
  if (process.env[MARK] !== undefined) return false;
  const child = processes().spawn(PROGRAM, [...programArguments(), ...args], {
    detached: true,
    stdio: "ignore",
    env: { ...process.env, [MARK]: "1" },
  });
  child.unref();
  return true;
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
