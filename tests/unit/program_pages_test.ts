/** Which lines of /proc/self/maps are the program's code. */
import { deepStrictEqual } from "node:assert/strict";
import { codeOf } from "../../src/runtime/program_pages.ts";

const MAPS = `00200000-01a39000 r--p 00000000 fe:00 5309617                            /opt/ring master
01a40000-0684a000 r-xp 01838000 fe:00 5309617                            /opt/ring master
0684a000-0685f000 rw-p 06641000 fe:00 5309617                            /opt/ring master
7f4198ad0000-7f41d8ad0000 rwxp 00000000 00:00 0
7f41d8e3b000-7f41d8f91000 r-xp 00026000 fe:00 339380                     /usr/lib/libc.so.6
7ffd6a7d5000-7ffd6a7d7000 r-xp 00000000 00:00 0                          [vdso]
`;

Deno.test("codeOf finds the program's code, not its data, its libraries or what the JIT has made", () => {
  deepStrictEqual(codeOf(MAPS, "/opt/ring master"), [{ at: 0x1a40000, size: 0x684a000 - 0x1a40000 }]);
  deepStrictEqual(codeOf(MAPS, "/opt/ring"), []);
  deepStrictEqual(codeOf("", "/opt/ring master"), []);
});
