/**
 * `deno task deb`: a Debian package of an executable that carries its libraries, in dist/: it depends on nothing.
 *
 *   ringmaster_VERSION_amd64.deb   --only=linux-x64 or linux-arm64 (again for the other; this machine's by default)   --out=DIR
 *
 *   /usr/bin/ringmaster                        /lib/systemd/system/ringmaster.service   (conf/ringmaster.service)
 *   /etc/ringmaster/ringmaster.yml, /etc/logrotate.d/ringmaster   (conffiles, conf/deb/)
 *   /usr/share/{man,bash-completion,zsh,fish,doc}/…
 *
 * The same commit gives the same bytes where dpkg-deb and zlib are the same: all times are the commit's (SOURCE_DATE_EPOCH).
 */
import { gzipSync } from "node:zlib";
import { dirname } from "node:path";
import { VERSION } from "../../src/stats/version.ts";
import { linuxReleases, outOf } from "./linux.ts";
import { run } from "./runtime.ts";
import { sourceDate } from "./source_date.ts";
import type { Target } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const SCRIPTS = ["postinst", "prerm", "postrm"];

export interface Package {
  /** An executable of `deno task release` for `target`, and the bill of materials made with it. */
  readonly executable: string;
  readonly bill: string;
  readonly target: Target;
  readonly out: string;
  readonly version?: string;
  /** As dpkg-deb's -Z. gzip is what every dpkg can read. */
  readonly compression?: "gzip" | "none";
}

/** Makes one and returns its path. Throws if there is no dpkg-deb. */
export async function debOf(
  { executable, bill, target, out, version = VERSION, compression = "gzip" }: Package,
): Promise<string> {
  if (target.debian === undefined) throw new Error(`${target.name}: no architecture of Debian's`);
  const seconds = await sourceDate(ROOT);
  const name = `ringmaster_${version}_${target.debian}.deb`;
  const tree = `${out}/.${name}`;
  await Deno.remove(tree, { recursive: true }).catch(() => {});
  const put = async (path: string, content: Uint8Array | string, mode = 0o644) => {
    await Deno.mkdir(dirname(tree + path), { recursive: true });
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(tree + path, bytes);
    await Deno.chmod(tree + path, mode);
  };
  const text = (path: string) => Deno.readTextFile(`${ROOT}/${path}`);
  await put("/usr/bin/ringmaster", await Deno.readFile(executable), 0o755);
  await put("/lib/systemd/system/ringmaster.service", packagedUnit(await text("conf/ringmaster.service")));
  await put("/usr/share/man/man1/ringmaster.1.gz", zipped(await text("conf/ringmaster.1")));
  const completions = [
    ["ringmaster.bash", "bash-completion/completions/ringmaster"],
    ["_ringmaster", "zsh/vendor-completions/_ringmaster"],
    ["ringmaster.fish", "fish/vendor_completions.d/ringmaster.fish"],
  ];
  for (const [from, to] of completions) await put(`/usr/share/${to}`, await text(`conf/completions/${from}`));
  const doc = "/usr/share/doc/ringmaster";
  await put(`${doc}/copyright`, await text("conf/deb/copyright"));
  await put(`${doc}/changelog.gz`, zipped(await text("CHANGELOG.md")));
  await put(`${doc}/ringmaster.cdx.json`, await Deno.readFile(bill));
  await put(`${doc}/examples/ringmaster.yml`, await text("conf/ringmaster.yml"));
  const conffiles = {
    "/etc/ringmaster/ringmaster.yml": "conf/deb/ringmaster.yml",
    "/etc/logrotate.d/ringmaster": "conf/deb/ringmaster.logrotate",
  };
  for (const [to, from] of Object.entries(conffiles)) await put(to, await text(from));

  const common = await text("conf/deb/common.sh");
  for (const script of SCRIPTS) {
    await put(
      `/DEBIAN/${script}`,
      `#!/bin/sh\nset -e\n${common}\n${await text(`conf/deb/${script}`)}`,
      0o755,
    );
  }
  await put("/DEBIAN/conffiles", Object.keys(conffiles).map((path) => `${path}\n`).join(""));
  await put("/DEBIAN/control", control(version, target.debian, (await Deno.stat(executable)).size));
  await run("find", [tree, "-type", "d", "-exec", "chmod", "755", "{}", "+"], ROOT);
  const path = `${out}/${name}`;
  await run(
    "env",
    [
      `SOURCE_DATE_EPOCH=${seconds}`,
      "dpkg-deb",
      "--root-owner-group",
      `-Z${compression}`,
      "--build",
      tree,
      path,
    ],
    ROOT,
  );
  await Deno.remove(tree, { recursive: true });
  return path;
}

/** The unit as it stands in conf/, for an executable that is where packages have theirs. */
function packagedUnit(unit: string): string {
  const lines = unit.split("\n");
  const first = lines.findIndex((line) => !line.startsWith("#"));
  return "# Ringmaster. To change something: systemctl edit ringmaster\n" +
    lines.slice(first).join("\n").replaceAll("/usr/local/bin/", "/usr/bin/");
}

function control(version: string, architecture: string, bytes: number): string {
  return [
    "Package: ringmaster",
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    "Maintainer: the authors of Ringmaster <ringmaster@localhost>",
    `Installed-Size: ${Math.ceil(bytes / 1024)}`,
    "Suggests: logrotate",
    "Section: net",
    "Priority: optional",
    "Description: sharding proxy for Redis and memcached",
    " It listens where clients of Redis and memcached connect, and sends each request to",
    " the server that owns its key. Configuration files and flags of twemproxy",
    " (nutcracker) are understood as they are.",
    "",
  ].join("\n");
}

/** As gzip -9n: no name and no time. */
function zipped(text: string): Uint8Array {
  return gzipSync(text, { level: 9 });
}

if (import.meta.main) {
  const out = outOf(Deno.args);
  for (const made of await linuxReleases("deb", out)) console.log(await debOf({ ...made, out }));
}
