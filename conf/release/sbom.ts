/**
 * What an executable is made of, as CycloneDX 1.6 in JSON: the runtime, the packages of npm that are bundled, and the C library that the
 * executables for Linux carry. Digests of npm's are deno.lock's. The same tree gives the same text: no time, no random number.
 */
import { createHash } from "node:crypto";
import { VERSION } from "../../src/stats/version.ts";
import { locked } from "./runtime.ts";
import type { Target } from "./targets.ts";

interface Component {
  readonly type: "library" | "framework" | "application";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: "SHA-512"; readonly content: string }[];
  readonly licenses?: readonly { readonly license: { readonly id: string } }[];
}

/** @param root the project's folder @param commit what it was built from */
export async function billOfMaterials(
  root: string,
  commit: string,
  targets: readonly Target[],
): Promise<string> {
  const lock = await Deno.readTextFile(`${root}/deno.lock`);
  const { imports } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`)) as {
    imports: Record<string, string>;
  };
  const bundled = new Set<string>();
  for (const specifier of await importsOf(root)) {
    const npm = imports[specifier];
    if (npm !== undefined) bundled.add(npm.slice("npm:".length));
  }
  const packages = JSON.parse(lock).npm as Record<string, { integrity: string; dependencies?: string[] }>;
  // What they need themselves. A dependency stands there with its version if there are several.
  for (const name of bundled) {
    for (const each of packages[name]?.dependencies ?? []) {
      const found = Object.keys(packages).find((key) => key === each || key.startsWith(`${each}@`));
      if (found !== undefined) bundled.add(found);
    }
  }
  const components: Component[] = [...bundled].sort().map((spec) => {
    const at = spec.lastIndexOf("@");
    return npmComponent(spec.slice(0, at), spec.slice(at + 1), packages[spec]!.integrity, "library");
  });
  for (const { runtime } of targets) {
    const { version, integrity } = locked(lock, runtime);
    components.push(npmComponent(`@oven/${runtime}`, version, integrity, "framework"));
  }
  const libc = targets.some(({ linux }) => linux !== undefined) ? await libcVersion() : null;
  if (libc !== null) {
    components.push({
      type: "library",
      "bom-ref": `pkg:deb/debian/libc6@${libc}`,
      name: "libc6",
      version: libc,
      purl: `pkg:deb/debian/libc6@${encodeURIComponent(libc)}`,
      licenses: [{ license: { id: "LGPL-2.1-or-later" } }],
    });
  }
  const self = `pkg:generic/ringmaster@${VERSION}`;
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(`${commit} ${components.map((each) => each.purl).join(" ")}`)}`,
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": self,
        name: "ringmaster",
        version: VERSION,
        purl: self,
        properties: [{ name: "ringmaster:commit", value: commit }],
      },
    },
    components,
    dependencies: [
      { ref: self, dependsOn: components.map((each) => each["bom-ref"]) },
      ...components.map((each) => ({ ref: each["bom-ref"] })),
    ],
  };
  return JSON.stringify(document, null, 2) + "\n";
}

function npmComponent(name: string, version: string, integrity: string, type: Component["type"]): Component {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const content = Uint8Array.from(atob(integrity.slice("sha512-".length)), (char) => char.charCodeAt(0));
  const hex = [...content].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { type, "bom-ref": purl, name, version, purl, hashes: [{ alg: "SHA-512", content: hex }] };
}

/** The bare specifiers that main.ts and src/ import. */
async function importsOf(root: string): Promise<Set<string>> {
  const found = new Set<string>();
  const look = async (path: string) => {
    for (
      const [, specifier] of (await Deno.readTextFile(path)).matchAll(/(?:from|import) "([^".][^":]*)"/g)
    ) {
      found.add(specifier!);
    }
  };
  const walk = async (dir: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(dir)) {
      if (isDirectory) await walk(`${dir}/${name}`);
      else if (name.endsWith(".ts")) await look(`${dir}/${name}`);
    }
  };
  await look(`${root}/main.ts`);
  await walk(`${root}/src`);
  return found;
}

/** Of the building Debian; null elsewhere. */
async function libcVersion(): Promise<string | null> {
  try {
    const command = new Deno.Command("dpkg-query", {
      args: ["-W", "-f", "${Version}", "libc6"],
      stderr: "null",
    });
    const { code, stdout } = await command.output();
    return code === 0 ? new TextDecoder().decode(stdout) : null;
  } catch {
    return null;
  }
}

/** A name-based one (version 8): 122 bits of a digest. */
function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${
    hex.slice(20, 32)
  }`;
}
