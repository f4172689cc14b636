/** What `deno task release` does to the files of others: tests/real/chroot_test.ts runs what comes of it. */
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { Elf } from "../../conf/release/elf.ts";
import { withoutSignature } from "../../conf/release/macho.ts";
import { oneFile } from "../../conf/release/one_file.ts";
import { deafened, locked } from "../../conf/release/runtime.ts";
import { TARGETS } from "../../conf/release/targets.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { need, ROOT } from "../lib/repo.ts";

const latin = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const textOf = (bytes: Uint8Array) => String.fromCharCode(...bytes);

Deno.test("deafened() takes every mention of the variables out, changes nothing else, and tells a runtime without them", () => {
  const runtime = latin("a\0BUN_BE_BUN\0b BUN_OPTIONS\0BUN_OPTIONSBUN_INSPECT");
  strictEqual(textOf(deafened(runtime, "x")), "a\0=UN_BE_BUN\0b =UN_OPTIONS\0=UN_OPTIONSBUN_INSPECT");
  strictEqual(textOf(runtime).includes("BUN_BE_BUN"), true, "what it was given stays");
  throws(() => deafened(latin("BUN_BE_BUN"), "the/file"), /the\/file: BUN_OPTIONS is not in it/);
});

Deno.test("locked() knows each target's runtime by deno.lock", async () => {
  const lock = await Deno.readTextFile(`${ROOT}/deno.lock`);
  const versions = TARGETS.map(({ runtime }) => locked(lock, runtime).version);
  strictEqual(new Set(versions).size, 1);
  throws(() => locked(lock, "bun-amiga"), /no @oven\/bun-amiga/);
});

Deno.test("oneFile() and Elf refuse what is no dynamically linked executable", () => {
  const parts = { loader: new Uint8Array(4096), library: () => new Uint8Array(0) };
  throws(() => oneFile({ executable: latin("#!/bin/sh\n"), ...parts }), /not an ELF file/);
  throws(() => oneFile({ executable: elfOf(0), ...parts }), /names no interpreter/);
  deepStrictEqual([new Elf(elfOf(0), "x").machine, new Elf(elfOf(3), "x").segments.length], ["x64", 3]);
});

Deno.test("withoutSignature() takes one load command out and closes the gap", () => {
  const signed = machoOf([[0x19, 24], [0x1d, 16], [0x80000028, 24]]);
  const bare = withoutSignature(signed);
  const expected = machoOf([[0x19, 24], [0x80000028, 24]]);
  deepStrictEqual(bare.slice(0, expected.length), expected);
  deepStrictEqual(bare.length, signed.length);
  deepStrictEqual(withoutSignature(expected), expected);
  throws(() => withoutSignature(latin("MZ".padEnd(64))), /not an executable/);
});

/** The head of an ELF file for x86-64 with so many empty rows of segments. */
function elfOf(segments: number): Uint8Array {
  const bytes = new Uint8Array(64 + 56 * segments);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  view.setUint16(18, 62, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(56, segments, true);
  return bytes;
}

/** The head of an executable for macOS with these load commands, by kind and size. */
function machoOf(commands: readonly (readonly [number, number])[]): Uint8Array {
  const size = commands.reduce((sum, [, length]) => sum + length, 0);
  const bytes = new Uint8Array(32 + size);
  const view = new DataView(bytes.buffer);
  [0xfeedfacf, 0, 0, 2, commands.length, size].forEach((value, i) => view.setUint32(4 * i, value, true));
  let at = 32;
  for (const [kind, length] of commands) {
    view.setUint32(at, kind, true);
    view.setUint32(at + 4, length, true);
    bytes.fill(kind & 255, at + 8, at + length);
    at += length;
  }
  return bytes;
}

Deno.test("the logrotate snippet, without systemd, signals our program and no other, whatever stands in the pid file", async () => {
  const folder = await Deno.makeTempDir();
  const snippet = await Deno.readTextFile(`${ROOT}/conf/deb/ringmaster.logrotate`);
  const script = /postrotate\n([^]*?)endscript/.exec(snippet)![1]!
    .replaceAll("/run/ringmaster/ringmaster.pid", `${folder}/pid`)
    .replaceAll("/run/systemd/system", `${folder}/no-systemd`);
  await Deno.mkdir(`${folder}/usr/bin`, { recursive: true });
  const ours = `${folder}/usr/bin/ringmaster`;
  await Deno.copyFile(need("sleep"), ours);
  const [stranger, own] = [
    new Deno.Command(need("sleep"), { args: ["60"] }).spawn(),
    new Deno.Command(ours, { args: ["60"] }).spawn(),
  ];
  try {
    const rotate = async (pid: string) => {
      await Deno.writeTextFile(`${folder}/pid`, pid);
      const { code, stdout, stderr } = await run(need("sh"), ["-c", script]);
      deepStrictEqual([code, stdout, stderr], [0, "", ""], pid);
    };
    await poll(
      () => Promise.resolve(Deno.readLinkSync(`/proc/${own.pid}/exe`) === ours),
      "it to be our program",
    );
    for (const pid of [`${stranger.pid}\n`, "", "-1", "1 1", "x", `${own.pid}`]) await rotate(pid);
    strictEqual((await own.status).signal, "SIGHUP");
    strictEqual(await isRunning(stranger.pid), true);
  } finally {
    stranger.kill("SIGKILL");
    await stranger.status;
    await Deno.remove(folder, { recursive: true });
  }
});

async function isRunning(pid: number): Promise<boolean> {
  return /^State:\s+[RS]/m.test(await Deno.readTextFile(`/proc/${pid}/status`));
}
