/**
 * The Debian package, in a root folder that has a shell and dpkg's list and nothing else: installed, started by its unit's command
 * lines, reloaded, upgraded under load, removed and purged.
 *
 *   dpkg --root=ROOT, in a mount namespace with ROOT/proc; the package's scripts run in a chroot of ROOT, without systemd
 *
 * chroot and mount are for root: without it the test is ignored, which RINGMASTER_NO_SKIPS=1 makes a failure.
 */
import { deepStrictEqual, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { debOf } from "../../conf/release/deb.ts";
import { copyTo, inNamespace, libraries, userIn } from "../lib/chroot.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process, run } from "../lib/process.ts";
import { released } from "../lib/released.ts";
import { exists, need } from "../lib/repo.ts";
import { ServiceManager } from "../lib/service_manager.ts";
import { underLoad } from "../soak/under_load.ts";

const IGNORE = Deno.uid() !== 0;
if (IGNORE) console.error("NOT TESTED: deb_test.ts needs root (chroot, mount)");

Deno.test({
  name: "the Debian package: installed, started, reloaded, upgraded under load, removed, purged (needs root)",
  ignore: IGNORE,
  async fn() {
    await using f = new Fixture();
    await Deno.chmod(f.dir, 0o755);
    const made = await released();
    const build = (version: string) => debOf({ ...made, out: f.dir, version, compression: "none" });
    const root = `${f.dir}/root`;
    await makeRoot(root);
    const before = await filesOf(root);
    const dpkg = async (...args: string[]) => {
      // Not a lock of this machine's own dpkg, nor its hooks; what ldconfig would do there is of no use in it.
      const flags = [`--root=${root}`, "--force-not-root", "--force-bad-path", "--log=/dev/null"];
      const result = await run(need("unshare"), inNamespace(root, [need("dpkg"), ...flags, ...args]));
      strictEqual(result.code, 0, result.stdout + result.stderr);
      return result.stdout + result.stderr;
    };

    const first = await build("0.1.0");
    await dpkg("--install", first);
    // Each takes the room of an executable.
    await Deno.remove(first);
    const second = await build("0.1.1~test");
    ok(!exists(`${root}/run/ringmaster`), "without systemd nothing is started");
    const unit = await Deno.readTextFile(`${root}/lib/systemd/system/ringmaster.service`);
    const lineOf = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)![1]!.split(" ");

    // What an operator does: its own addresses.
    const [port, admin] = [freePort(), freePort()];
    const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
    const file = `${root}/etc/ringmaster/ringmaster.yml`;
    const shipped = await Deno.readTextFile(file);
    const mine = shipped.replace("127.0.0.1:22121", `127.0.0.1:${port}`)
      .replace(
        /- 127\.0\.0\.1:6379:1 server1/,
        servers.map(({ address }) => `- ${address}:1`).join("\n    "),
      ) +
      `ringmaster:\n  admin: 127.0.0.1:${admin}\n`;
    await Deno.writeTextFile(file, mine);
    const tested = await run(need("unshare"), userIn(root, lineOf("ExecStartPre")));
    strictEqual(tested.code, 0, tested.stderr);

    // What systemd does: its folder, its socket, the command line.
    await Deno.mkdir(`${root}/run/ringmaster`);
    await Deno.chown(`${root}/run/ringmaster`, 65534, 65534);
    const manager = new ServiceManager(`${root}/run/notify`);
    await Deno.chmod(`${root}/run/notify`, 0o777);
    const pidFile = `${root}/run/ringmaster/ringmaster.pid`;
    let pid = 0;
    try {
      const line = [...lineOf("ExecStart"), "-s", String(freePort())];
      await using started = new Process(need("unshare"), userIn(root, line), {
        output: `${f.dir}/output`,
        env: { NOTIFY_SOCKET: "/run/notify" },
      });
      await manager.next(`MAINPID=${started.pid}`, 0);
      pid = started.pid;
      strictEqual(Number(await Deno.readTextFile(pidFile)), pid);

      const reload = await run(need("unshare"), userIn(root, lineOf("ExecReload")));
      strictEqual(reload.code, 0, reload.stderr);
      await Deno.writeTextFile(file, "cache: 1\n");
      const refused = await run(need("unshare"), userIn(root, lineOf("ExecReload")));
      strictEqual(refused.code, 1, refused.stdout);
      await Deno.writeTextFile(file, mine);

      await underLoad(f, { target: { port }, servers, exact: true }, async (someLoad) => {
        await someLoad();
        match(
          await dpkg("--install", second),
          new RegExp(`^process \\d+ has taken the place of ${pid}$`, "m"),
        );
        pid = Number(await Deno.readTextFile(pidFile));
        notStrictEqual(pid, started.pid);
        await manager.next(`MAINPID=${pid}`, 0);
        strictEqual((await started.exit).code, 0, started.stderr);
      });
      ok(!started.stderr.includes("cut off"), started.stderr);
      // What runs is what has been installed, with what the operator had written.
      const [running, installed] = await Promise.all(
        [`/proc/${pid}/exe`, `${root}/usr/bin/ringmaster`].map((path) => Deno.stat(path)),
      );
      deepStrictEqual([running!.dev, running!.ino], [installed!.dev, installed!.ino]);
      strictEqual(await Deno.readTextFile(file), mine);
      const health = ["/usr/bin/ringmaster", "health", "-c", "/etc/ringmaster/ringmaster.yml"];
      const { code, stderr } = await run(need("unshare"), userIn(root, health));
      strictEqual(code, 0, stderr);

      // One that cannot start leaves the package installed, and the old one running.
      await Deno.writeTextFile(file, "cache: 1\n");
      match(await dpkg("--install", second), new RegExp(`^ringmaster: process ${pid} goes on with`, "m"));
      strictEqual(Number(await Deno.readTextFile(pidFile)), pid);
      await Deno.writeTextFile(file, mine);

      // Not by systemd, so prerm ends it itself.
      await dpkg("--remove", "ringmaster");
      await poll(() => !exists(`/proc/${pid}/exe`), "it to have ended");
      pid = 0;
      ok(!exists(`${root}/usr/bin/ringmaster`) && exists(file), "the configuration stays until the purge");
    } finally {
      manager.close();
      try {
        if (pid > 0) Deno.kill(pid, "SIGKILL");
      } catch {
        // It has ended, and why is what the test says.
      }
    }
    await Deno.mkdir(`${root}/var/log/ringmaster`, { recursive: true });
    await Deno.writeTextFile(`${root}/var/log/ringmaster/proxy.log.1`, "old");
    await dpkg("--purge", "ringmaster");
    // The manager's own, which systemd takes away when a unit has ended.
    await Deno.remove(`${root}/run/notify`);
    await Deno.remove(`${root}/run/ringmaster`);
    deepStrictEqual(await filesOf(root), before);
  },
});

/** With what the package's scripts need, and dpkg. */
async function makeRoot(root: string): Promise<void> {
  for (const program of ["sh", "rm", "sleep", "readlink"]) {
    const path = need(program);
    await copyTo(root, path, `/usr/bin/${program}`);
    for (const library of await libraries(path)) await copyTo(root, library);
  }
  await Deno.symlink("usr/bin", `${root}/bin`);
  for (const dir of ["proc", "run", "tmp", "dev", "lib", "etc", "usr/share", "var/log"]) {
    await Deno.mkdir(`${root}/${dir}`, { recursive: true });
  }
  // dpkg takes folders away that nobody else has anything in.
  for (const file of ["dev/null", "etc/other", "usr/share/other", "lib/other", "var/log/other"]) {
    await Deno.writeTextFile(`${root}/${file}`, "");
  }
  for (const dir of ["info", "updates", "triggers", "alternatives", "parts"]) {
    await Deno.mkdir(`${root}/var/lib/dpkg/${dir}`, { recursive: true });
  }
  for (const file of ["status", "available"]) await Deno.writeTextFile(`${root}/var/lib/dpkg/${file}`, "");
  // So that even what dpkg keeps for itself can be compared.
  await run(need("dpkg"), [`--root=${root}`, "--clear-avail"]);
}

/** Everything in it, but dpkg's own lists. */
async function filesOf(root: string): Promise<string[]> {
  const { stdout } = await run(need("find"), [root]);
  return stdout.trim().split("\n").map((path) => path.slice(root.length))
    .filter((path) => !/^\/var\/lib\/dpkg\/(?!info\/ringmaster)/.test(path)).sort();
}
