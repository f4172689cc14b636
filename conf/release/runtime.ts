/**
 * The runtimes that executables are made of: taken from npm, with the digest that deno.lock has, and deaf to the two environment
 * variables that would turn an executable into something else (BUN_BE_BUN: into the runtime's own command line; BUN_OPTIONS: into one
 * that loads code of somebody's choice first).
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

const DEAF_TO = ["BUN_BE_BUN", "BUN_OPTIONS"];

/** A version of the runtime and its digests, by package. Throws if deno.lock has no such package. */
export function locked(lock: string, name: string): { readonly version: string; readonly integrity: string } {
  const { npm } = JSON.parse(lock) as { npm: Record<string, { integrity: string }> };
  const found = Object.keys(npm).find((key) => key.startsWith(`@oven/${name}@`));
  if (found === undefined) throw new Error(`deno.lock has no @oven/${name}`);
  return { version: found.slice(found.lastIndexOf("@") + 1), integrity: npm[found]!.integrity };
}

/**
 * Fetches the package into `dir` unless it is there, or installed: this machine's own is, deno has looked at its digest. Returns where the runtime's own executable is. Throws if
 * the digest is another.
 */
export async function runtimeOf(
  name: string,
  suffix: string,
  { root, dir }: { readonly root: string; readonly dir: string },
): Promise<string> {
  const { version, integrity } = locked(await Deno.readTextFile(`${root}/deno.lock`), name);
  const installed =
    `${root}/node_modules/.deno/@oven+${name}@${version}/node_modules/@oven/${name}/bin/bun${suffix}`;
  if (await exists(installed)) return installed;
  const program = `${dir}/${name}-${version}/package/bin/bun${suffix}`;
  if (await exists(program)) return program;
  await Deno.mkdir(`${dir}/${name}-${version}`, { recursive: true });
  const file = `${dir}/oven-${name}-${version}.tgz`;
  await run("npm", ["pack", "--silent", `@oven/${name}@${version}`, "--pack-destination", dir], dir);
  const digest = "sha512-" + createHash("sha512").update(await Deno.readFile(file)).digest("base64");
  if (digest !== integrity) {
    throw new Error(`@oven/${name}@${version}: deno.lock says ${integrity}, npm has sent ${digest}`);
  }
  await run("tar", ["-xzf", file, "-C", `${dir}/${name}-${version}`], dir);
  await Deno.remove(file);
  return program;
}

/** The same file, in which no environment variable that can be set from a shell has those names. Throws if one of them is not found. */
export function deafened(runtime: Uint8Array, what: string): Uint8Array {
  const bytes = runtime.slice();
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const name of DEAF_TO) {
    let count = 0;
    for (let at = view.indexOf(name); at >= 0; at = view.indexOf(name, at + name.length)) {
      bytes[at] = 0x3d; // '=', with which no name begins
      count++;
    }
    if (count === 0) throw new Error(`${what}: ${name} is not in it; is the runtime another?`);
  }
  return bytes;
}

/** Runs a program to its end, its output on ours. Throws if it fails. */
export async function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  const command = new Deno.Command(program, { args: [...args], cwd, stdout: "piped", stderr: "inherit" });
  const { code, stdout } = await command.output();
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}`);
  return new TextDecoder().decode(stdout);
}

export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}
