/** What `deno task release` does to the files of others: tests/real/chroot_test.ts runs what comes of it. */
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { Elf } from "../../conf/release/elf.ts";
import { withoutSignature } from "../../conf/release/macho.ts";
import { oneFile } from "../../conf/release/one_file.ts";
import { deafened, locked } from "../../conf/release/runtime.ts";
import { TARGETS } from "../../conf/release/targets.ts";
import { ROOT } from "../lib/repo.ts";

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
