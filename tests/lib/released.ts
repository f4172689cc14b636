/** An executable of `deno task release` for this machine, made once for all tests, as `compiled` of repo.ts. */
import { release } from "../../conf/release/release.ts";
import { type Target, TARGETS } from "../../conf/release/targets.ts";
import { VERSION } from "../../src/stats/version.ts";
import { exists, filesUnder, ROOT } from "./repo.ts";

export interface Released {
  readonly target: Target;
  readonly executable: string;
  readonly bill: string;
  readonly sums: string;
}

/** Makes it if it is missing or older than the newest source. What is returned is not to be changed. */
export function released(): Promise<Released> {
  return releasing ??= make();
}
let releasing: Promise<Released> | null = null;

async function make(): Promise<Released> {
  const name = `linux-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  const target = TARGETS.find((each) => each.name === name)!;
  const dir = `${ROOT}/dist/released`;
  Deno.mkdirSync(dir, { recursive: true });
  // Files of tests that run side by side make it once: the second waits, and finds it made.
  using lock = Deno.openSync(`${dir}/lock`, { create: true, write: true });
  await lock.lock(true);
  const sources = [...filesUnder("src"), ...filesUnder("conf/release"), "main.ts", "deno.json", "deno.lock"];
  const newest = Math.max(...sources.map((path) => Deno.statSync(`${ROOT}/${path}`).mtime?.getTime() ?? 0));
  const sums = `${dir}/SHA256SUMS`;
  const built = exists(sums) ? Deno.statSync(sums).mtime?.getTime() ?? 0 : -1;
  if (built <= newest) await release({ out: dir, targets: [target], say: () => {} });
  return {
    target,
    executable: `${dir}/ringmaster-${VERSION}-${name}`,
    bill: `${dir}/ringmaster-${VERSION}.cdx.json`,
    sums,
  };
}
