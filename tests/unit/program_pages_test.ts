/** Which parts of /proc/self/smaps are the program's own that never change, and where in its file the bundle is. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { constantOf, isUnwritten, mappedAt, sectionOf } from "../../src/runtime/program_pages.ts";

const head = (range: string, rights: string, name: string, anonymous: number) =>
  `${range} ${rights} 01838000 fe:00 5309617                            ${name}
Size:              79912 kB
Anonymous:         ${String(anonymous).padStart(5)} kB
VmFlags: rd ex mr mw me
`;

const SMAPS = head("00200000-01a39000", "r--p", "/opt/ring master", 0) +
  head("01a40000-0684a000", "r-xp", "/opt/ring master", 0) +
  head("0684a000-0685f000", "rw-p", "/opt/ring master", 0) +
  head("0685f000-06867000", "r--p", "/opt/ring master", 12) +
  head("7f4198ad0000-7f41d8ad0000", "rwxp", "", 0) +
  head("7f41d8e3b000-7f41d8f91000", "r-xp", "/usr/lib/libc.so.6", 0) +
  head("7ffd6a7d5000-7ffd6a7d7000", "r-xp", "[vdso]", 0);

Deno.test("constantOf finds the program's code and constants, not what was written to, its data, its libraries or what the JIT has made", () => {
  deepStrictEqual(constantOf(SMAPS, "/opt/ring master"), [
    { at: 0x200000, size: 0x1a39000 - 0x200000 },
    { at: 0x1a40000, size: 0x684a000 - 0x1a40000 },
  ]);
  deepStrictEqual(constantOf(SMAPS, "/opt/ring"), []);
  deepStrictEqual(constantOf("", "/opt/ring master"), []);
});

const BUNDLED = `06867000-07198000 rw-p 0665e000 fe:00 5809710                            /opt/ring master
Size:               9412 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Anonymous:           112 kB
`;

Deno.test("mappedAt finds the whole pages of a part of the file, in memory that can be written to", () => {
  const found = (smaps: string, at: number, size: number) =>
    mappedAt(smaps, "/opt/ring master", { at, size });
  deepStrictEqual(found(SMAPS + BUNDLED, 0x6819000, 0x683704), { at: 0x6a22000, size: 0x683000 });
  deepStrictEqual(
    found(BUNDLED, 0x6819001, 0x683704),
    { at: 0x6a23000, size: 0x682000 },
    "pages that it has a part of stay",
  );
  strictEqual(found(BUNDLED, 0x6819000, 0x10), null, "less than a page");
  strictEqual(found(BUNDLED, 0x600000, 0x10000), null, "not mapped");
  strictEqual(found(BUNDLED, 0x6f80000, 0x100000), null, "not mapped to its end");
  strictEqual(found(BUNDLED.replace("rw-p", "r--p"), 0x6819000, 0x683704), null, "constantOf's");
  strictEqual(found(BUNDLED.replace("4 kB", "64 kB"), 0x6819000, 0x683704), null, "large pages");
  strictEqual(mappedAt(BUNDLED, "/opt/ring", { at: 0x6819000, size: 0x683704 }), null, "another file's");
});

Deno.test("isUnwritten: pages that are the file's, or not there; none of the process's own", () => {
  const pages = (...flags: number[]) => Uint8Array.from(flags.flatMap((flag) => [1, 2, 3, 0, 0, 0, 0, flag]));
  strictEqual(isUnwritten(pages(0xa0, 0, 0xa1, 0x20)), true);
  strictEqual(isUnwritten(pages(0xa0, 0x80, 0xa0)), false, "private");
  strictEqual(isUnwritten(pages(0xa0, 0x40)), false, "in swap");
});

/** A file with these sections and their bytes. */
function elf(sections: Record<string, string>): Uint8Array {
  const names = ["", ".shstrtab", ...Object.keys(sections)].join("\0") + "\0";
  const bodies = ["", names, ...Object.values(sections)];
  const tableAt = 64 + bodies.join("").length;
  const bytes = new Uint8Array(tableAt + 64 * bodies.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  view.setBigUint64(40, BigInt(tableAt), true);
  [64, bodies.length, 1].forEach((value, i) => view.setUint16(58 + 2 * i, value, true));
  let at = 64;
  ["", ".shstrtab", ...Object.keys(sections)].forEach((name, row) => {
    const body = new TextEncoder().encode(bodies[row]);
    bytes.set(body, at);
    const start = tableAt + 64 * row;
    view.setUint32(start, name === "" ? 0 : names.indexOf(`\0${name}\0`) + 1, true);
    view.setBigUint64(start + 24, BigInt(at), true);
    view.setBigUint64(start + 32, BigInt(body.length), true);
    at += body.length;
  });
  return bytes;
}

Deno.test("sectionOf finds a section by its name", () => {
  const of = (bytes: Uint8Array, name: string) => sectionOf((at, size) => bytes.slice(at, at + size), name);
  const file = elf({ ".bundle": "no", ".bun": "the bundle", ".data": "x" });
  const found = of(file, ".bun")!;
  strictEqual(new TextDecoder().decode(file.slice(found.at, found.at + found.size)), "the bundle");
  strictEqual(of(file, ".bu"), null);
  strictEqual(of(file, ".text"), null);
  strictEqual(of(new Uint8Array(64), ".bun"), null, "no ELF");
});
