/** What the tasks have in common that make something else of the executables for Linux: their arguments, and the executables. */
import { type Release, release } from "./release.ts";
import { type Target, TARGETS } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");

/** Those that the arguments ask for, made. Each executable and the bill of all. */
export async function linuxReleases(
  program: string,
  out: Release["out"],
): Promise<{ readonly target: Target; readonly executable: string; readonly bill: string }[]> {
  const only = Deno.args.filter((arg) => arg.startsWith("--only=")).map((arg) => arg.slice(7));
  const names = only.length > 0 ? only : [`linux-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`];
  const targets = TARGETS.filter(({ name, linux }) => linux !== undefined && names.includes(name));
  const unknown = Deno.args.find((arg) => !/^--(only|out)=./.test(arg));
  if (unknown !== undefined || targets.length !== new Set(names).size) {
    const linux = TARGETS.filter((target) => target.linux !== undefined).map(({ name }) => name);
    console.error(
      `${program}: ${unknown ?? names.join(", ")}: expected --out=DIR, or --only= of ${linux.join(", ")}`,
    );
    Deno.exit(2);
  }
  const made = await release({ out, targets, say: (line) => console.log(line) });
  return targets.map((target, i) => ({ target, executable: made[i]!, bill: made[targets.length]! }));
}

/** --out=DIR */
export function outOf(args: readonly string[]): string {
  return args.filter((arg) => arg.startsWith("--out=")).at(-1)?.slice(6) ?? `${ROOT}/dist`;
}
