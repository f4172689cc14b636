/**
 * The image of `deno task image`: each of its parts has the digest that it is known by, it is the same the second time, and
 * unpacked it runs under load by its own command line, as its own user, from a folder in which nothing can be written.
 *
 * chroot and mount are for root: without it the test is ignored, which RINGMASTER_NO_SKIPS=1 makes a failure. skopeo looks at it too,
 * where it is installed.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { createHash } from "node:crypto";
import { imageOf, type RunConfig } from "../../conf/release/image.ts";
import { userIn } from "../lib/chroot.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process, run } from "../lib/process.ts";
import { released } from "../lib/released.ts";
import { need, which } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";
import { underLoad } from "../soak/under_load.ts";

const IGNORE = Deno.uid() !== 0;
if (IGNORE) console.error("NOT TESTED: image_test.ts needs root (chroot, mount)");

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

Deno.test({
  name: "the OCI image: sound, reproducible, and serves read-only as nobody under load (needs root)",
  ignore: IGNORE,
  async fn() {
    await using f = new Fixture();
    await Deno.chmod(f.dir, 0o755);
    const { executable, target } = await released();
    const layout = await imageOf({ executable, target, out: `${f.dir}/one`, level: 1 });
    const { config, layer } = await parts(layout);
    const again = await imageOf({ executable, target, out: `${f.dir}/two`, level: 1 });
    strictEqual(
      await Deno.readTextFile(`${again}/index.json`),
      await Deno.readTextFile(`${layout}/index.json`),
    );
    await Deno.remove(again, { recursive: true });
    const skopeo = which("skopeo");
    if (skopeo !== null) {
      const { code, stderr } = await run(skopeo, ["inspect", `oci:${layout}:0.1.0`]);
      strictEqual(code, 0, stderr);
      const copied = await run(skopeo, [
        "--insecure-policy",
        "copy",
        `oci:${layout}:0.1.0`,
        `dir:${f.dir}/copied`,
      ]);
      strictEqual(copied.code, 0, copied.stderr);
    }

    const root = `${f.dir}/root`;
    await Deno.mkdir(`${root}/proc`, { recursive: true });
    strictEqual((await run(need("tar"), ["-xzf", layer, "-C", root])).code, 0);
    deepStrictEqual([...Deno.readDirSync(root)].map(({ name }) => name).sort(), ["proc", "ringmaster"]);
    await serves(f, root, config);
    await servesGiven(f, root, config);
  },
});

/** What it consists of, each part looked at. */
async function parts(layout: string): Promise<{ readonly config: RunConfig; readonly layer: string }> {
  const read = async (path: string) => JSON.parse(await Deno.readTextFile(`${layout}/${path}`));
  const pathOf = ({ digest }: Descriptor) => `blobs/${digest.replace(":", "/")}`;
  const checked = async (descriptor: Descriptor) => {
    const bytes = await Deno.readFile(`${layout}/${pathOf(descriptor)}`);
    strictEqual(bytes.length, descriptor.size);
    strictEqual(`sha256:${createHash("sha256").update(bytes).digest("hex")}`, descriptor.digest);
    return pathOf(descriptor);
  };
  deepStrictEqual(await read("oci-layout"), { imageLayoutVersion: "1.0.0" });
  const { manifests } = await read("index.json");
  const manifest = await read(await checked(manifests[0]));
  const whole = await read(await checked(manifest.config));
  const layer = `${layout}/${await checked(manifest.layers[0])}`;
  deepStrictEqual([manifests.length, manifest.layers.length, whole.rootfs.diff_ids.length], [1, 1, 1]);
  strictEqual([...Deno.readDirSync(`${layout}/blobs/sha256`)].length, 3);
  deepStrictEqual(manifests[0].platform, { architecture: whole.architecture, os: whole.os });
  const { stdout } = await run("/bin/sh", ["-c", 'gzip -dc "$0" | sha256sum', layer]);
  strictEqual(whole.rootfs.diff_ids[0], `sha256:${stdout.split(" ")[0]}`);
  return { config: whole.config, layer };
}

async function serves(f: Fixture, root: string, config: RunConfig): Promise<void> {
  strictEqual(config.User, "65534:65534", "the user that the chroot below has");
  strictEqual(config.StopSignal, "SIGTERM");
  const [port, other, admin] = [freePort(), freePort(), freePort()];
  // The container's own ports, which are this machine's here.
  const own = (word: string) => word.replace(/^(--admin=127\.0\.0\.1):\d+$/, `$1:${admin}`);
  const command = [...config.Entrypoint!, ...config.Cmd!].map(own);
  const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
  const file = `${root}${config.Cmd![1]}`;
  await Deno.mkdir(`${root}/etc/ringmaster`, { recursive: true });
  const yml = poolYml({ alpha: { listen: `127.0.0.1:${port}`, servers } });
  await Deno.writeTextFile(file, yml);
  await using started = new Process(
    need("unshare"),
    userIn(root, [...command, "-s", String(freePort())], true),
    {
      output: `${f.dir}/output`,
    },
  );
  const [kind, ...check] = config.Healthcheck!.Test.map(own);
  strictEqual(kind, "CMD");
  const health = () => run(need("unshare"), userIn(root, check));
  await poll(() => started.stderr.includes("listening on") || started.status !== null, "it to listen");
  strictEqual(started.status, null, started.stderr);
  match(await Deno.readTextFile(`/proc/${started.pid}/mounts`), /^\S+ \/ \S+ ro,/m);

  await underLoad(f, { target: { port }, servers, exact: true, ends: true }, async (someLoad) => {
    await someLoad();
    const ready = await health();
    deepStrictEqual([ready.code, ready.stdout], [0, "ready\n"], ready.stderr);
    await Deno.writeTextFile(file, yml + poolYml({ beta: { listen: `127.0.0.1:${other}`, servers } }));
    started.kill("SIGHUP");
    await poll(async () => {
      try {
        (await Deno.connect({ port: other })).close();
        return true;
      } catch {
        return false;
      }
    }, "the pool that a reload has brought");
    await someLoad();
    strictEqual((await started.stop()).code, 0, started.stderr);
  });
  ok(!started.stderr.includes("cut off"), started.stderr);
  strictEqual((await health()).code, 1, "nobody is there any more");
}

/** As `docker run IMAGE --listen=:PORT redis://…` starts it: no file, the servers on the command line. */
async function servesGiven(f: Fixture, root: string, config: RunConfig): Promise<void> {
  await Deno.remove(`${root}/etc`, { recursive: true });
  const [port, admin] = [freePort(), freePort()];
  const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
  const words = servers.map(({ address }) => `redis://${address}`);
  const command = [...config.Entrypoint!, `--listen=:${port}`, ...words];
  // The container's own ports, which are this machine's here.
  const own = [`--admin=127.0.0.1:${admin}`, "-s", String(freePort())];
  await using started = new Process(need("unshare"), userIn(root, [...command, ...own], true), {
    output: `${f.dir}/given`,
  });
  const check = config.Healthcheck!.Test.slice(1).map((word) => word.startsWith("--admin=") ? own[0]! : word);
  await poll(() => started.stderr.includes("listening on") || started.status !== null, "it to listen");
  const ready = await run(need("unshare"), userIn(root, check));
  deepStrictEqual([ready.code, ready.stdout], [0, "ready\n"], ready.stderr + started.stderr);
  const client = await f.client({ port });
  for (let i = 0; i < 20; i++) strictEqual(await client.command("SET", `k${i}`, String(i)), "OK");
  strictEqual(await client.command("DBSIZE"), 20);
  strictEqual((await started.stop()).code, 0, started.stderr);
}
