/**
 * `deno task image`: what conf/Dockerfile makes, as an OCI image layout that needs no engine to be made, in dist/:
 *
 *   ringmaster-VERSION-linux-x64.oci/   --only=linux-x64 or linux-arm64 (again for the other; this machine's by default)   --out=DIR
 *     oci-layout  index.json ─► blobs/sha256/: manifest ─► configuration, one layer: /ringmaster
 *
 *   skopeo copy oci:dist/ringmaster-VERSION-linux-x64.oci:VERSION docker://registry.example.com/ringmaster:VERSION
 *
 * How it is run (user, ports, command line, health check) stands in the Dockerfile alone, and is read there. The same commit gives
 * the same bytes where zlib is the same: all times are the commit's.
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { VERSION } from "../../src/stats/version.ts";
import { linuxReleases, outOf } from "./linux.ts";
import { sourceDate } from "./source_date.ts";
import { tarOf } from "./tar.ts";
import type { Target } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

export interface Image {
  /** An executable of `deno task release` for `target`. */
  readonly executable: string;
  readonly target: Target;
  readonly out: string;
  /** Of gzip, 1 to 9. */
  readonly level?: number;
}

/** What an image says of how it is run. Healthcheck is Docker's; others ignore it. Times are ns. */
export interface RunConfig {
  User?: string;
  ExposedPorts?: Record<string, Record<string, never>>;
  Entrypoint?: string[];
  Cmd?: string[];
  StopSignal?: string;
  Healthcheck?: { Test: string[]; Interval?: number; Timeout?: number; StartPeriod?: number };
}

/** Makes one and returns its folder, which is empty before or not there. */
export async function imageOf({ executable, target, out, level = 6 }: Image): Promise<string> {
  if (target.debian === undefined) throw new Error(`${target.name}: there are no images for it`);
  const seconds = await sourceDate(ROOT);
  const created = new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
  const layout = `${out}/ringmaster-${VERSION}-${target.name}.oci`;
  await Deno.remove(layout, { recursive: true }).catch(() => {});
  await Deno.mkdir(`${layout}/blobs/sha256`, { recursive: true });
  const put = async (mediaType: string, content: Uint8Array | object) => {
    const bytes = content instanceof Uint8Array ? content : new TextEncoder().encode(JSON.stringify(content));
    const hex = digestOf(bytes);
    await Deno.writeFile(`${layout}/blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const tar = tarOf(
    [{ path: "ringmaster", mode: 0o755, bytes: await Deno.readFile(executable) }],
    seconds,
  );
  const layer = await put("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar, { level }));
  const platform = { architecture: target.debian, os: "linux" };
  const config = await put("application/vnd.oci.image.config.v1+json", {
    created,
    ...platform,
    config: runConfigOf(await Deno.readTextFile(`${ROOT}/conf/Dockerfile`)),
    rootfs: { type: "layers", diff_ids: [`sha256:${digestOf(tar)}`] },
    history: [{ created, created_by: "deno task image" }],
  });
  const manifest = await put(MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] });
  const annotations = { "org.opencontainers.image.ref.name": VERSION };
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{ ...manifest, platform, annotations }],
  };
  await Deno.writeTextFile(`${layout}/oci-layout`, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await Deno.writeTextFile(`${layout}/index.json`, JSON.stringify(index));
  return layout;
}

/** Of the last stage. Throws if it has an instruction that is not known here. */
export function runConfigOf(dockerfile: string): RunConfig {
  const lines = dockerfile.replaceAll("\\\n", " ").split("\n").filter((line) => !/^\s*(#|$)/.test(line));
  const from = lines.findLastIndex((line) => line.startsWith("FROM "));
  const config: RunConfig = {};
  for (const line of lines.slice(from + 1)) {
    const [, instruction, rest] = /^(\S+)\s+(.*)$/.exec(line)!;
    const words = () => JSON.parse(rest!) as string[];
    if (instruction === "USER") config.User = rest!;
    else if (instruction === "EXPOSE") {
      config.ExposedPorts = Object.fromEntries(rest!.split(/\s+/).map((port) => [`${port}/tcp`, {}]));
    } else if (instruction === "STOPSIGNAL") config.StopSignal = rest!;
    else if (instruction === "ENTRYPOINT") config.Entrypoint = words();
    else if (instruction === "CMD") config.Cmd = words();
    else if (instruction === "HEALTHCHECK") config.Healthcheck = healthcheckOf(rest!);
    else if (instruction !== "COPY") {
      throw new Error(`conf/Dockerfile: ${line}: not known to deno task image`);
    }
  }
  return config;
}

function healthcheckOf(text: string): RunConfig["Healthcheck"] {
  const [, flags, test] = /^(.*?)\s*CMD\s+(.*)$/.exec(text)!;
  const ns = (name: string) => {
    const seconds = new RegExp(`--${name}=(\\d+)s`).exec(flags!);
    return seconds === null ? undefined : Number(seconds[1]) * 1e9;
  };
  return {
    Test: ["CMD", ...JSON.parse(test!)],
    Interval: ns("interval"),
    Timeout: ns("timeout"),
    StartPeriod: ns("start-period"),
  };
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

if (import.meta.main) {
  const out = outOf(Deno.args);
  for (const made of await linuxReleases("image", out)) console.log(await imageOf({ ...made, out }));
}
