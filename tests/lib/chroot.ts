/** Folders that processes have for their root. chroot and mount are for root. */
import { strictEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { run } from "./process.ts";
import { need } from "./repo.ts";

const NOBODY = 65534;

/** The files that the executable is linked with, as `ldd` finds them. */
export async function libraries(program: string): Promise<string[]> {
  const { code, stdout } = await run(need("ldd"), [program]);
  strictEqual(code, 0);
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path).sort();
}

export async function copyTo(dir: string, path: string, as = path): Promise<void> {
  await Deno.mkdir(dirname(dir + as), { recursive: true });
  await Deno.copyFile(path, dir + as);
  await Deno.chmod(dir + as, 0o755);
}

/**
 * Arguments of `unshare` that run a command line in `root` as nobody, and keep its process. Its /proc is mounted in a namespace of
 * its own: what is mounted in it goes with it.
 *
 * @param readOnly whether nothing in it can be written
 */
export function userIn(root: string, command: readonly string[], readOnly = false): string[] {
  return inNamespace(
    root,
    [need("chroot"), `--userspec=${NOBODY}:${NOBODY}`, root, ...command],
    readOnly,
  );
}

/** The same for a command that is not in `root`, as who it is. */
export function inNamespace(root: string, command: readonly string[], readOnly = false): string[] {
  const proc = '(mount -t proc proc "$0/proc" || mount --bind /proc "$0/proc")';
  const shut = readOnly ? 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ' : "";
  return ["-m", "/bin/sh", "-c", `${shut}${proc} && exec "$@"`, root, ...command];
}
