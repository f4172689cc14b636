/**
 * load.c and floor.c are compiled when first needed, with whatever C compiler is there; where there is none the cases that need
 * them are skipped, and said to be.
 */
import { run } from "../lib/process.ts";
import { ROOT, which } from "../lib/repo.ts";

export const COMPILER_HINT = "no C compiler: apt-get install -y gcc libc6-dev";

/** The compiler's name, or null. */
export function compiler(): string | null {
  return ["cc", "gcc", "clang", "tcc"].map(which).find((path) => path !== null) ?? null;
}

/** Compiles NAME.c of this folder into `dir` and returns the program's path. Throws if there is no compiler, or it refuses. */
export async function buildC(name: "load" | "floor", dir: string): Promise<string> {
  const program = `${dir}/${name}`;
  const cc = compiler();
  if (cc === null) throw new Error(COMPILER_HINT);
  const { code, stderr } = await run(cc, ["-O2", "-o", program, `${ROOT}/tests/bench/${name}.c`]);
  if (code !== 0) throw new Error(`${cc} could not compile ${name}.c:\n${stderr}`);
  return program;
}
