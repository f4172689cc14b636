/**
 * Where things are: the repository's folder, the runtimes, the programs of Debian packages the tests spawn.
 */
import { fileURLToPath } from "node:url";

/** The repository, without a slash at its end. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url).href).replace(/\/$/, "");
export const DENO = Deno.execPath();
export const BUN = `${ROOT}/node_modules/.bin/bun`;
export const COMPILED = `${ROOT}/dist/ringmaster`;
/** Debian's own Python, which sees Debian's python3-* packages; another one may come first on PATH. */
export const PYTHON = "/usr/bin/python3";

export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The full path of a program, looked for on PATH and in the sbin folders; null if it is not installed. */
export function which(program: string): string | null {
  const path = Deno.env.get("PATH") ?? "";
  for (const folder of [...path.split(":"), "/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin"]) {
    if (folder !== "" && exists(`${folder}/${program}`)) return `${folder}/${program}`;
  }
  return null;
}

/** As `which`, or an error that says what to type. */
export function need(program: string): string {
  const path = which(program);
  if (path === null) {
    throw new Error(`${program} is not installed; "deno task test" installs what the tests need`);
  }
  return path;
}

/** All files under `folder` (relative to ROOT), as paths relative to ROOT, sorted. */
export function filesUnder(folder: string, keep: (path: string) => boolean = () => true): string[] {
  const found: string[] = [];
  const walk = (path: string) => {
    for (const entry of Deno.readDirSync(`${ROOT}/${path}`)) {
      const inner = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory) walk(inner);
      else if (keep(inner)) found.push(inner);
    }
  };
  if (exists(`${ROOT}/${folder}`)) walk(folder);
  return found.sort();
}

/** Compiles dist/ringmaster if it is missing or older than the newest source, and returns its path. */
export function compiled(): Promise<string> {
  return compiling ??= compile();
}
let compiling: Promise<string> | null = null;

async function compile(): Promise<string> {
  const sources = [...filesUnder("src"), "main.ts", "deno.json"];
  const newest = Math.max(...sources.map((path) => Deno.statSync(`${ROOT}/${path}`).mtime?.getTime() ?? 0));
  const built = exists(COMPILED) ? Deno.statSync(COMPILED).mtime?.getTime() ?? 0 : -1;
  if (built > newest) return COMPILED;
  // The command is the task's own, written elsewhere first, so that a running executable is replaced in one step. The
  // file's own name is part of what is compiled and stays.
  const task: string = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)).tasks.compile.command;
  // One of its own: test files that run side by side are one process.
  const folder = `${ROOT}/dist/${crypto.randomUUID()}`;
  const args = task.split(" ").slice(1).map((arg) => arg.replace("dist/ringmaster", `${folder}/ringmaster`));
  Deno.mkdirSync(folder, { recursive: true });
  const { code, stdout, stderr } = await new Deno.Command(BUN, { args, cwd: ROOT, stdin: "null" }).output();
  if (code !== 0) {
    Deno.removeSync(folder, { recursive: true });
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    throw new Error(`"deno task compile" failed with ${code}:\n${text}`);
  }
  Deno.renameSync(`${folder}/ringmaster`, COMPILED);
  Deno.removeSync(folder, { recursive: true });
  return COMPILED;
}
