/**
 * `deno task release`: an executable for each target of targets.ts, what they are made of, and their digests, in dist/:
 *
 *   ringmaster-VERSION-TARGET   ringmaster-VERSION.cdx.json (CycloneDX)   SHA256SUMS
 *
 *   --only=TARGET (again for another)   --out=DIR   --list
 *
 * The same commit gives the same bytes, wherever it is built: nothing of the machine, the folder or the time gets into them, but for
 * the C library of the building system, whose version stands in the bill of materials.
 */
import { createHash } from "node:crypto";
import { VERSION } from "../../src/stats/version.ts";
import { Elf } from "./elf.ts";
import { withoutSignature } from "./macho.ts";
import { oneFile } from "./one_file.ts";
import { deafened, exists, locked, run, runtimeOf } from "./runtime.ts";
import { billOfMaterials } from "./sbom.ts";
import { type Target, TARGETS } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const HERE = `${ROOT}/conf/release`;

export interface Release {
  readonly out: string;
  readonly targets: readonly Target[];
  readonly say: (line: string) => void;
}

/** Makes them, and returns their paths. Throws if a target cannot be made, with what is missing. */
export async function release({ out, targets, say }: Release): Promise<string[]> {
  const commit = await commitOf();
  const work = `${out}/.release`;
  await Deno.mkdir(work, { recursive: true });
  const made: string[] = [];
  for (const target of targets) {
    const base = await runtimeOf(target.runtime, target.suffix, { root: ROOT, dir: work });
    const deaf = `${work}/${target.name}.runtime`;
    await Deno.writeFile(deaf, deafened(await Deno.readFile(base), base), { mode: 0o755 });
    const path = `${out}/ringmaster-${VERSION}-${target.name}${target.suffix}`;
    await compile(target, deaf, path, commit);
    if (target.name === "darwin-x64") {
      await Deno.writeFile(path, withoutSignature(await Deno.readFile(path)));
    }
    if (target.linux !== undefined) await carryLibraries(target.linux, path, work, target.name);
    await Deno.chmod(path, 0o755);
    await Deno.remove(deaf);
    say(`${path} (${((await Deno.stat(path)).size / 1e6).toFixed(1)} MB)`);
    made.push(path);
  }
  const bill = `${out}/ringmaster-${VERSION}.cdx.json`;
  await Deno.writeTextFile(bill, await billOfMaterials(ROOT, commit, targets));
  made.push(bill);
  const sums = await Promise.all(
    made.map(async (path) => `${await digestOf(path)}  ${path.split("/").at(-1)}\n`),
  );
  await Deno.writeTextFile(`${out}/SHA256SUMS`, sums.join(""));
  return [...made, `${out}/SHA256SUMS`];
}

async function compile({ name, runtime }: Target, base: string, path: string, commit: string): Promise<void> {
  const flags = [
    "--compile",
    "--minify",
    "--bytecode",
    "--splitting",
    "--format=esm",
    "--no-compile-autoload-dotenv",
  ];
  await run(`${ROOT}/node_modules/.bin/bun`, [
    "build",
    ...flags,
    "--no-compile-autoload-bunfig",
    `--target=${runtime}`,
    `--compile-executable-path=${base}`,
    "--define",
    `RINGMASTER_COMMIT=${JSON.stringify(commit)}`,
    "--define",
    `RINGMASTER_TARGET=${JSON.stringify(name)}`,
    `--outfile=${path}`,
    "main.ts",
  ], ROOT);
}

/** See one_file.ts. */
async function carryLibraries(
  { compiler, libraries, packages }: NonNullable<Target["linux"]>,
  path: string,
  work: string,
  name: string,
): Promise<void> {
  const loader = `${work}/${name}.loader`;
  // A loop that copies is not to become a call of memcpy, which is not there.
  const flags = ["-O2", "-fPIC", "-ffreestanding", "-fno-builtin", "-fno-tree-loop-distribute-patterns"];
  const link = ["-nostdlib", "-static", `-Wl,-T,${HERE}/loader.ld`, "-Wl,--build-id=none"];
  try {
    await run(compiler, [...flags, "-fno-stack-protector", ...link, "-o", loader, `${HERE}/loader.c`], ROOT);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`${compiler} is not here. Type: apt-get install -y --no-install-recommends ${packages}`);
  }
  const find = async (library: string) => {
    for (const dir of libraries) if (await exists(`${dir}/${library}`)) return `${dir}/${library}`;
    throw new Error(`${library} is in none of ${libraries.join(", ")}: apt-get install ${packages}`);
  };
  const carried = new Map<string, Uint8Array>();
  for (
    const library of [
      "ld-linux-x86-64.so.2",
      "ld-linux-aarch64.so.1",
      "libc.so.6",
      "libm.so.6",
      "libpthread.so.0",
      "libdl.so.2",
    ]
  ) {
    if (library.startsWith("ld-") && library.includes("x86") !== compiler.startsWith("x86")) continue;
    carried.set(library, await Deno.readFile(await find(library)));
  }
  const whole = oneFile({
    executable: await Deno.readFile(path),
    loader: new Elf(await Deno.readFile(loader), loader).image(),
    library: (wanted) => {
      const bytes = carried.get(wanted);
      if (bytes === undefined) throw new Error(`it is linked with ${wanted}, which is not carried`);
      return bytes;
    },
  });
  await Deno.writeFile(path, whole);
  await Deno.remove(loader);
}

/** With "+" behind it if files are different from the commit's; "unknown" without git. */
async function commitOf(): Promise<string> {
  try {
    const commit = (await run("git", ["rev-parse", "--short=12", "HEAD"], ROOT)).trim();
    const changes = await run("git", ["status", "--porcelain", "--untracked-files=no"], ROOT);
    return changes === "" ? commit : `${commit}+`;
  } catch {
    return "unknown";
  }
}

async function digestOf(path: string): Promise<string> {
  return createHash("sha256").update(await Deno.readFile(path)).digest("hex");
}

if (import.meta.main) {
  const value = (name: string) =>
    Deno.args.filter((arg) => arg.startsWith(`--${name}=`)).map((arg) => arg.slice(name.length + 3));
  const unknown = Deno.args.find((arg) => !/^--(only|out)=./.test(arg) && arg !== "--list");
  const only = value("only");
  const missing = only.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown !== undefined || missing !== undefined) {
    const found = unknown === undefined ? `--only=${missing}` : unknown;
    console.error(
      `release: ${found}: expected --list, --out=DIR, or --only= of ${
        TARGETS.map(({ name }) => name).join(", ")
      }`,
    );
    Deno.exit(2);
  }
  if (Deno.args.includes("--list")) {
    const lock = await Deno.readTextFile(`${ROOT}/deno.lock`);
    for (const { name, runtime, note } of TARGETS) {
      console.log(`${name.padEnd(14)}bun ${locked(lock, runtime).version}  ${note}`);
    }
  } else {
    const targets = TARGETS.filter(({ name }) => only.length === 0 || only.includes(name));
    await release({ out: value("out").at(-1) ?? `${ROOT}/dist`, targets, say: (line) => console.log(line) });
  }
}
