/** Which parts of /proc/self/smaps are the program's own that never change. */
import { deepStrictEqual } from "node:assert/strict";
import { constantOf } from "../../src/runtime/program_pages.ts";

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
