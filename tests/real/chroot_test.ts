/**
 * dist/ringmaster needs nothing but its shared libraries and /proc, and an executable of `deno task release` not even those: it
 * serves from a folder that holds only these, as a user who owns nothing, which is what conf/Dockerfile makes an image of.
 *
 *   DIR/ringmaster  DIR/ringmaster.yml  DIR/lib…/*.so (what ldd names, or none)  DIR/proc (mounted for this process alone)
 *
 * chroot and mount are for root: without it the test is ignored, which RINGMASTER_NO_SKIPS=1 makes a failure.
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { Spec, Validation } from "cyclonedx";
import { VERSION } from "../../src/stats/version.ts";
import { copyTo, libraries, userIn } from "../lib/chroot.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, within } from "../lib/poll.ts";
import { Process, run } from "../lib/process.ts";
import { compiled, need } from "../lib/repo.ts";
import { freePort } from "../lib/ports.ts";
import { released } from "../lib/released.ts";
import { poolYml } from "../lib/servers.ts";

const IGNORE = Deno.uid() !== 0;
if (IGNORE) console.error("NOT TESTED: chroot_test.ts needs root (chroot, mount)");

/** The processes whose root folder is `dir`. */
function pidsIn(dir: string): number[] {
  const pids: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    try {
      if (/^\d+$/.test(name) && Deno.readLinkSync(`/proc/${name}/root`) === dir) pids.push(Number(name));
    } catch {
      // ended meanwhile
    }
  }
  return pids;
}

/** Resolves with the first connection. Asks every millisecond, where poll() would round what is reported. */
async function accepts(port: number, process: Process): Promise<void> {
  while (process.status === null) {
    try {
      (await Deno.connect({ port })).close();
      return;
    } catch {
      await delay(1);
    }
  }
}

Deno.test({
  name: "dist/ringmaster serves from a folder that holds only it and its libraries, as nobody (needs root)",
  ignore: IGNORE,
  async fn() {
    await using f = new Fixture();
    const program = await compiled();
    await serves(f, program, await libraries(program));
  },
});

Deno.test({
  name:
    "an executable of deno task release serves from a folder that holds nothing else, as nobody (needs root)",
  ignore: IGNORE,
  async fn() {
    await using f = new Fixture();
    const { executable: program, bill, sums } = await released();
    const { stdout: digests } = await run(need("sha256sum"), [program, bill]);
    strictEqual(await Deno.readTextFile(sums), digests.replaceAll(`${dirname(program)}/`, ""));
    const problem = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(
      await Deno.readTextFile(bill),
    );
    strictEqual(problem, null, "the bill of materials keeps to its schema");
    // Nobody can make a command line of the runtime of it, nor have it load other code first.
    await Deno.writeTextFile(`${f.dir}/first.js`, "console.log('loaded');");
    const env = { BUN_BE_BUN: "1", BUN_OPTIONS: `--preload=${f.dir}/first.js` };
    const { code, stdout } = await run(program, ["--version"], { env });
    strictEqual(code, 0);
    match(
      stdout,
      new RegExp(`^This is ringmaster-${VERSION}\\nbun \\S+, commit \\S+, linux-(x64|arm64)\\n$`),
    );
    await serves(f, program, []);
  },
});

/** @param beside files that it may have beside it */
async function serves(f: Fixture, program: string, beside: readonly string[]): Promise<void> {
  const root = `${f.dir}/root`;
  await copyTo(root, program, "/ringmaster");
  for (const library of beside) await copyTo(root, library);
  await Deno.mkdir(`${root}/proc`);
  const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
  const port = freePort();
  await Deno.writeTextFile(
    `${root}/ringmaster.yml`,
    poolYml({ alpha: { listen: `127.0.0.1:${port}`, servers } }),
  );
  await Deno.chmod(f.dir, 0o755);

  const args = userIn(root, ["/ringmaster", "-c", "/ringmaster.yml"]);
  args.push("-s", String(freePort()), "-a", "127.0.0.1");
  const startsMs: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startMs = performance.now();
    await using process = new Process(need("unshare"), args, { output: `${f.dir}/output` });
    await within(accepts(port, process), "the proxy in the chroot to accept");
    startsMs.push(performance.now() - startMs);
    strictEqual(process.status, null, process.stderr);

    const pids = pidsIn(root);
    deepStrictEqual(pids, [process.pid], "exec keeps the process");
    match(Deno.readTextFileSync(`/proc/${process.pid}/status`), /^Uid:\t65534\t65534\t65534\t65534$/m);
    const client = await f.client({ port });
    for (let key = 0; key < 20; key++) strictEqual(await client.command("SET", `k${key}`, key), "OK");
    deepStrictEqual(await client.command("MGET", "k0", "k19", "none"), ["0", "19", null]);
    client.close();
    strictEqual((await process.stop()).code, 0, process.stderr);
  }
  startsMs.sort((a, b) => a - b);
  const [fastest, median] = [startsMs[0], startsMs[1]].map((ms) => ms.toFixed(0));
  console.log(
    `start in the chroot, from unshare to the first connection: ${fastest} ms, median ${median} ms`,
  );

  // Nothing has been written into it, and nothing was there that was not named.
  const { stdout } = await run(need("find"), [root, "-type", "f"]);
  deepStrictEqual(
    stdout.trim().split("\n").map((path) => path.slice(root.length)).sort(),
    ["/ringmaster", "/ringmaster.yml", ...beside].sort(),
  );
}
